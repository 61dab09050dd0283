//! Several servers that are one backend: a cluster of NATS or of Redis, a master of Redis with a replica and its sentinels.

use std::{
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use tokio::{process::Command, time::sleep};

use crate::{
    server::{Program, Server, free_port},
    world::{Kind, within},
};

/// The servers; those that messages go through come first, the one that a node connects to before all others.
pub struct Fleet {
    pub kind: Kind,
    pub servers: Vec<Server>,
}

/// How the sentinels call the master.
const MASTER: &str = "my-master";

impl Fleet {
    /// Chooses ports; nothing runs yet.
    pub fn new(kind: Kind) -> Self {
        let servers = match kind {
            Kind::Sentinel => sentinels(),
            Kind::RedisCluster => (0..3).map(|_| redis_cluster_node()).collect(),
            Kind::NatsCluster => nats_cluster(),
            Kind::Memory | Kind::Redis | Kind::Nats => panic!("{kind:?} is no fleet"),
        };
        Self { kind, servers }
    }

    /// The URL that names every server which a node may ask.
    pub fn url(&self) -> String {
        let all = |servers: &[Server], prefix: &str| {
            let places: Vec<_> = servers.iter().map(|server| format!("{prefix}127.0.0.1:{}", server.port)).collect();
            places.join(",")
        };
        match self.kind {
            Kind::Sentinel => format!("redis-sentinel://{}/{MASTER}", all(&self.servers[2..], "")),
            Kind::RedisCluster => format!("redis-cluster://{}", all(&self.servers, "")),
            _ => all(&self.servers, "nats://"),
        }
    }

    /// Starts what does not run, and waits until all have found each other.
    pub async fn start(&mut self) {
        for server in self.servers.iter_mut().filter(|server| !server.is_running()) {
            server.start().await;
        }
        if self.kind == Kind::RedisCluster
            && !redis(self.servers[0].port, &["cluster", "info"])
                .await
                .contains("cluster_known_nodes:3")
        {
            let places: Vec<_> = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
            let mut arguments = vec!["--cluster", "create"];
            arguments.extend(places.iter().map(String::as_str));
            arguments.push("--cluster-yes");
            redis(self.servers[0].port, &arguments).await;
        }
        for server in &self.servers {
            within("the servers find each other", async {
                while !self.is_complete(server).await {
                    sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
        }
    }

    /// Kills every server.
    pub async fn kill(&mut self) {
        for server in self.servers.iter_mut().filter(|server| server.is_running()) {
            server.kill().await;
        }
    }

    /// Whether the server knows all that it has to know of the others.
    async fn is_complete(&self, server: &Server) -> bool {
        match (self.kind, server.program) {
            (Kind::RedisCluster, _) => {
                let info = redis(server.port, &["cluster", "info"]).await;
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            }
            (Kind::NatsCluster, _) => announced(server.port) == self.servers.len(),
            (_, Program::Sentinel) => {
                let master = redis(server.port, &["sentinel", "master", MASTER]).await;
                let lines: Vec<_> = master.lines().collect();
                let is = |key: &str, value: &str| lines.windows(2).any(|pair| pair == [key, value]);
                is("num-slaves", "1") && is("num-other-sentinels", "2") && is("flags", "master")
            }
            _ => {
                let replication = redis(server.port, &["info", "replication"]).await;
                replication.contains("role:master") || replication.contains("master_link_status:up")
            }
        }
    }
}

/// What only a cluster of Redis has.
impl Fleet {
    /// Which server has the slot of this key.
    pub async fn owner(&self, key: &str) -> usize {
        for (index, server) in self.servers.iter().enumerate() {
            if !redis(server.port, &["get", key]).await.contains("MOVED") {
                return index;
            }
        }
        panic!("no server has the slot of {key}");
    }

    /// Gives the slot of this key, which must be empty, to the next server; answers which that is.
    pub async fn move_slot(&self, key: &str) -> usize {
        let from = self.owner(key).await;
        let to = (from + 1) % self.servers.len();
        let slot = redis(self.servers[0].port, &["cluster", "keyslot", key]).await;
        let (slot, source, target) = (slot.trim(), self.id(from).await, self.id(to).await);
        let set = async |server: usize, state: &str, id: &str| {
            let answer = redis(self.servers[server].port, &["cluster", "setslot", slot, state, id]).await;
            assert_eq!(answer.trim(), "OK");
        };
        set(to, "importing", &source).await;
        set(from, "migrating", &target).await;
        set(to, "node", &target).await;
        set(from, "node", &target).await;
        to
    }

    /// Adds a replica to one of the masters, and waits until all know of it and it is up to date.
    pub async fn add_replica(&mut self, master: usize) {
        let mut replica = redis_cluster_node();
        replica.start().await;
        let (own, known) = (replica.port, &self.servers[0]);
        let met = redis(own, &["cluster", "meet", "127.0.0.1", &known.port.to_string(), bus(known)]).await;
        assert_eq!(met.trim(), "OK");
        let id = self.id(master).await;
        within("the replica is accepted", async {
            while redis(own, &["cluster", "replicate", &id]).await.trim() != "OK" {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        self.servers.push(replica);
        let replica_id = self.id(self.servers.len() - 1).await;
        for server in &self.servers {
            within("the replica is known", async {
                loop {
                    let nodes = redis(server.port, &["cluster", "nodes"]).await;
                    let known = nodes
                        .lines()
                        .any(|line| line.starts_with(&replica_id) && line.contains("slave") && line.contains(&id));
                    if known && redis(own, &["info", "replication"]).await.contains("master_link_status:up") {
                        return;
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            })
            .await;
        }
    }

    async fn id(&self, server: usize) -> String {
        redis(self.servers[server].port, &["cluster", "myid"]).await.trim().to_owned()
    }
}

/// What `redis-cli` answers.
pub async fn redis(port: u16, arguments: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &port.to_string()]).args(arguments);
    let output = command.output().await;
    let output = output.unwrap_or_else(|problem| panic!("cannot start redis-cli ({problem}): install the Debian package redis-tools"));
    String::from_utf8_lossy(&output.stdout).replace('\r', "")
}

/// A server of a cluster that has not met the others.
fn redis_cluster_node() -> Server {
    let mut server = Server::of(Program::Redis);
    let port = free_port().to_string();
    let bus = [
        "--cluster-port",
        &port,
        "--cluster-enabled",
        "yes",
        "--cluster-node-timeout",
        "2000",
    ];
    server.arguments = bus
        .into_iter()
        .chain(["--repl-diskless-sync-delay", "0"])
        .map(str::to_owned)
        .collect();
    server
}

/// The port on which such a server talks to the others.
fn bus(server: &Server) -> &str {
    &server.arguments[1]
}

/// A master, its replica, three sentinels.
fn sentinels() -> Vec<Server> {
    let master = Server::of(Program::Redis);
    let mut replica = Server::of(Program::Redis);
    replica.arguments = ["--replicaof", "127.0.0.1", &master.port.to_string()].map(str::to_owned).into();
    let port = master.port;
    let mut servers = vec![master, replica];
    for server in &mut servers {
        server.arguments.extend(["--repl-diskless-sync-delay", "0"].map(str::to_owned));
    }
    servers.extend((0..3).map(|_| {
        let mut sentinel = Server::of(Program::Sentinel);
        sentinel.arguments = vec![
            format!("sentinel monitor {MASTER} 127.0.0.1 {port} 2"),
            format!("sentinel down-after-milliseconds {MASTER} 1000"),
            format!("sentinel failover-timeout {MASTER} 3000"),
        ];
        sentinel
    }));
    servers
}

/// Three servers, each with routes to all.
fn nats_cluster() -> Vec<Server> {
    let routes: Vec<_> = (0..3).map(|_| format!("nats://127.0.0.1:{}", free_port())).collect();
    let servers = routes.iter().map(|own| {
        let mut server = Server::of(Program::Nats);
        let arguments = ["--cluster_name", "contract", "--cluster", own, "--routes", &routes.join(",")];
        server.arguments = arguments.map(str::to_owned).into();
        server
    });
    servers.collect()
}

/// How many servers this one announces to those who connect.
fn announced(port: u16) -> usize {
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return 0;
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout above zero");
    let mut line = String::new();
    if BufReader::new(stream).read_line(&mut line).is_err() {
        return 0;
    }
    let urls = line.split("\"connect_urls\":[").nth(1).and_then(|rest| rest.split(']').next());
    urls.map_or(0, |urls| urls.split(',').count())
}
