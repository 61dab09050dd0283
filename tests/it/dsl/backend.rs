//! Servers of the backends, as child processes.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
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
                nodes(port)
            )
        };
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(Self::start("redis-server", server).await);
        }
        let cli = |arguments: &[String]| {
            let output = Command::new("redis-cli").args(arguments).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let mut create = vec!["--cluster".to_owned(), "create".to_owned()];
        create.extend(servers.iter().map(|server| format!("127.0.0.1:{}", server.port)));
        create.push("--cluster-yes".to_owned());
        cli(&create);
        for server in &servers {
            let info = ["-p", &server.port.to_string(), "cluster", "info"].map(str::to_owned);
            within("the servers to find each other", async {
                while !cli(&info).contains("cluster_state:ok") {
                    sleep(Duration::from_millis(20)).await;
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

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `scheme` and the server's address.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    async fn start(program: &str, arguments: impl Fn(u16) -> String) -> Self {
        let port = free_port();
        let child = Command::new(program)
            .args(arguments(port).split(' '))
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|problem| panic!("cannot start {program} ({problem}): install the Debian package {program}"));
        let mut backend = Self { child, port };
        within("the backend's server to answer", async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
                assert!(backend.child.try_wait().unwrap().is_none(), "{program} ended at once");
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        backend
    }
}

/// Where a server of a cluster keeps what it knows of the others.
fn nodes(port: u16) -> String {
    format!("nodes-{port}.conf")
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Drop for Backend {
    fn drop(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        // Only a server of a cluster has written one.
        drop(std::fs::remove_file(Path::new(env!("CARGO_TARGET_TMPDIR")).join(nodes(self.port))));
        assert!(killed.is_ok() || std::thread::panicking(), "{killed:?}");
    }
}
