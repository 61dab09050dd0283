//! Servers of the backends, as child processes.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener, TcpStream},
    ops::RangeInclusive,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::sleep;

use super::within;

/// A backend's server on a free port of loopback; killed, by its own id, when dropped.
#[derive(Debug)]
pub(crate) struct Backend {
    child: Child,
    port: u16,
    program: String,
    arguments: String,
}

impl Backend {
    /// A Redis server that answers.
    pub(crate) async fn redis() -> Self {
        Self::start("redis-server", |port| {
            format!("--port {port} --bind 127.0.0.1 --save --appendonly no")
        })
        .await
    }

    /// A Redis Cluster of three masters that has all its slots.
    pub(crate) async fn redis_cluster() -> [Self; 3] {
        let server = |port| {
            let bus = free_port();
            format!(
                "--port {port} --bind 127.0.0.1 --save --appendonly no --cluster-enabled yes --cluster-port {bus} --cluster-node-timeout 2000 --cluster-config-file {}",
                notes(port)
            )
        };
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(Self::start("redis-server", server).await);
        }
        let places = servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
        let places = places.collect::<Vec<_>>().join(" ");
        servers[0].cli(&format!("--cluster create {places} --cluster-yes"));
        for server in &servers {
            within("the servers to find each other", async {
                while !server.cli("cluster info").contains("cluster_state:ok") {
                    sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
        servers.try_into().unwrap()
    }

    /// A Redis server and its replica, then three sentinels, all of which know of each other. The sentinels call the master `master`.
    pub(crate) async fn sentinels() -> [Self; 5] {
        let master = Self::redis().await;
        let port = master.port;
        let replica = Self::start("redis-server", |own| {
            format!("--port {own} --bind 127.0.0.1 --save --appendonly no --repl-diskless-sync-delay 0 --replicaof 127.0.0.1 {port}")
        })
        .await;
        let mut servers = vec![master, replica];
        for _ in 0..3 {
            // A sentinel keeps what it knows in its configuration file.
            let sentinel = |own| {
                let text = format!("port {own}\nbind 127.0.0.1\nsentinel monitor master 127.0.0.1 {port} 2\n");
                std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(notes(own)), text).unwrap();
                format!("{} --sentinel", notes(own))
            };
            servers.push(Self::start("redis-server", sentinel).await);
        }
        for sentinel in &servers[2..] {
            within("the sentinels to find each other", async {
                let known = ["num-slaves\n1\n", "num-other-sentinels\n2\n"];
                while !known.iter().all(|known| sentinel.cli("sentinel master master").contains(known)) {
                    sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
        }
        servers.try_into().unwrap()
    }

    /// A NATS server that answers.
    pub(crate) async fn nats() -> Self {
        Self::start("nats-server", |port| format!("-a 127.0.0.1 -p {port}")).await
    }

    /// Three NATS servers with routes to each other.
    pub(crate) async fn nats_cluster() -> [Self; 3] {
        let routes = [(); 3].map(|()| format!("nats://127.0.0.1:{}", free_port()));
        let mut servers = Vec::new();
        for own in &routes {
            let server = |port| {
                let routes = routes.join(",");
                format!("-a 127.0.0.1 -p {port} --cluster_name it --cluster {own} --routes {routes}")
            };
            servers.push(Self::start("nats-server", server).await);
        }
        for server in &servers {
            within("the servers to find each other", async {
                while server.announced() < servers.len() {
                    sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
        servers.try_into().unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `scheme` and the server's address.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// What `redis-cli` answers; the server is one of Redis.
    pub(crate) fn cli(&self, command: &str) -> String {
        let mut cli = Command::new("redis-cli");
        let output = cli.args(["-p", &self.port.to_string()]).args(command.split(' ')).output().unwrap();
        String::from_utf8(output.stdout).unwrap().replace('\r', "")
    }

    /// The masters of a Redis Cluster as this server of it tells their addresses: the port of each, and the slots that it has.
    pub(crate) fn masters(&self) -> Vec<(u16, Vec<RangeInclusive<u16>>)> {
        let nodes = self.cli("cluster nodes");
        let master = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            let port = words[1].split(['@', ':']).nth(1).unwrap().parse().unwrap();
            let slots = words[8..].iter().map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                first.parse().unwrap()..=last.parse().unwrap()
            });
            (port, slots.collect())
        };
        nodes.lines().filter(|line| line.contains("master")).map(master).collect()
    }

    /// How many servers of NATS this one names to those who connect, itself included.
    pub(crate) fn announced(&self) -> usize {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let mut greeting = String::new();
        BufReader::new(stream).read_line(&mut greeting).unwrap();
        let urls = greeting.split("\"connect_urls\":[").nth(1).and_then(|rest| rest.split(']').next());
        urls.map_or(0, |urls| urls.split(',').count())
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().and_then(|()| self.child.wait()).unwrap();
    }

    /// Starts it again after it was killed: the same server, that has forgotten everything.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.program, &self.arguments);
        self.answers().await;
    }

    async fn start(program: &str, arguments: impl Fn(u16) -> String) -> Self {
        let port = free_port();
        let arguments = arguments(port);
        let mut backend = Self {
            child: spawn(program, &arguments),
            port,
            program: program.to_owned(),
            arguments,
        };
        backend.answers().await;
        backend
    }

    async fn answers(&mut self) {
        within("the backend's server to answer", async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
                assert!(self.child.try_wait().unwrap().is_none(), "{} ended at once", self.program);
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

fn spawn(program: &str, arguments: &str) -> Child {
    Command::new(program)
        .args(arguments.split(' '))
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|problem| panic!("cannot start {program} ({problem}): install the Debian package {program}"))
}

/// Where a server of several keeps what it knows of the others.
fn notes(port: u16) -> String {
    format!("notes-{port}.conf")
}

/// A free port outside the range from which the system draws ports for outgoing connections: one of those could be taken while a server is
/// away, or a client that knocks there be connected to itself.
fn free_port() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish();
        let port = 10_000 + u16::try_from(random % 20_000).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        // Only a server of several has written one.
        drop(std::fs::remove_file(Path::new(env!("CARGO_TARGET_TMPDIR")).join(notes(self.port))));
        assert!(killed.is_ok() || std::thread::panicking(), "{killed:?}");
    }
}
