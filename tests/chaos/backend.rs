//! What joins the nodes of a run: servers, and before one that is alone a relay for each node.

use crate::dsl::{Backend, Relay, Way};

use super::schedule::NODES;

/// Which backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Redis,
    Nats,
    /// A master and a replica of Redis, and three sentinels.
    Sentinel,
    /// Three masters.
    RedisCluster,
    /// Three servers; each node begins at another.
    NatsCluster,
}

impl Kind {
    /// By what the environment names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Nats => "nats",
            Self::Sentinel => "sentinel",
            Self::RedisCluster => "redis-cluster",
            Self::NatsCluster => "nats-cluster",
        }
    }
}

/// Its servers, and the nodes' paths to them.
#[derive(Debug)]
pub(super) struct Bus {
    kind: Kind,
    servers: Vec<Backend>,
    /// The place of the server that was killed.
    killed: Option<usize>,
    /// The servers of several name each other to the nodes, past any relay.
    relays: Vec<Relay>,
}

/// The master and its replica stand before the sentinels.
const SENTINELS: usize = 2;

/// A sentinel does without the master for a second before it holds it for gone, and asks often enough what has become of whom.
const SENTINEL: [&str; 2] = [
    "sentinel set master down-after-milliseconds 1000 failover-timeout 3000",
    "sentinel debug info-period 1000 publish-period 500",
];

impl Bus {
    pub(super) async fn start(kind: Kind) -> Self {
        let servers: Vec<Backend> = match kind {
            Kind::Redis => vec![Backend::redis().await],
            Kind::Nats => vec![Backend::nats().await],
            Kind::Sentinel => Backend::sentinels().await.into(),
            Kind::RedisCluster => Backend::redis_cluster().await.into(),
            Kind::NatsCluster => Backend::nats_cluster().await.into(),
        };
        if kind == Kind::Sentinel {
            for (sentinel, setting) in servers[SENTINELS..]
                .iter()
                .flat_map(|sentinel| SENTINEL.map(|setting| (sentinel, setting)))
            {
                assert_eq!(sentinel.cli(setting), "OK\n", "{setting}");
            }
        }
        let mut relays = Vec::new();
        if let [alone] = &*servers {
            for _ in 0..NODES {
                relays.push(Relay::start(alone.port()).await);
            }
        }
        Self {
            kind,
            servers,
            killed: None,
            relays,
        }
    }

    /// Whether each node has a path of its own, that can be frozen.
    pub(super) fn is_relayed(&self) -> bool {
        !self.relays.is_empty()
    }

    pub(super) fn relay(&self, place: usize) -> &Relay {
        &self.relays[place]
    }

    /// Freezes those connections of a node, on their way to the server, over which it publishes now.
    pub(super) fn stick(&self, place: usize) {
        let word = if self.kind == Kind::Redis { "PUBLISH" } else { "CONNECT" };
        let stuck = self.relays[place].freeze_those_that_said(word, Way::ToServer);
        assert!(stuck > 0, "nothing was published by the node at {place}");
    }

    /// The lines of a node's configuration that lead it to the backend.
    pub(super) fn adapter(&self, place: usize) -> String {
        let hosts = |servers: &[Backend]| {
            let hosts: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
            hosts.join(",")
        };
        let (kind, url) = match self.kind {
            Kind::Redis => ("redis", format!("redis://127.0.0.1:{}", self.relays[place].port())),
            Kind::Nats => ("nats", format!("nats://127.0.0.1:{}", self.relays[place].port())),
            Kind::Sentinel => ("redis", format!("redis-sentinel://{}/master", hosts(&self.servers[SENTINELS..]))),
            Kind::RedisCluster => ("redis", format!("redis-cluster://{}", hosts(&self.servers))),
            Kind::NatsCluster => ("nats", self.servers[place].url("nats")),
        };
        format!("kind = \"{kind}\"\n{kind}.url = \"{url}\"")
    }

    /// Kills a server: the only one, the master, or of equal ones this, but rather the one that carries everything.
    pub(super) fn kill(&mut self, which: usize) {
        let place = match self.kind {
            Kind::Redis | Kind::Nats => 0,
            Kind::Sentinel => self.master(),
            Kind::RedisCluster => {
                let carries = |server: &Backend| !server.cli("pubsub shardchannels").trim().is_empty();
                self.servers.iter().position(carries).filter(|_| which > 0).unwrap_or(which)
            }
            Kind::NatsCluster => which,
        };
        self.servers[place].kill();
        self.killed = Some(place);
    }

    /// Brings it back; a master for which there is another by now as its replica.
    pub(super) async fn restart(&mut self) {
        let Some(place) = self.killed.take() else { return };
        self.servers[place].restart().await;
        if self.kind == Kind::Sentinel {
            let master = self.master();
            let of = match self.servers[master].port() {
                _ if master == place => "no one".to_owned(),
                port => format!("127.0.0.1 {port}"),
            };
            self.servers[place].cli(&format!("replicaof {of}"));
        }
    }

    /// Whether the servers know each other, and all is as if none had been away.
    pub(super) fn is_whole(&self) -> bool {
        match self.kind {
            Kind::Redis | Kind::Nats => true,
            Kind::Sentinel => {
                let master = self.master();
                let named = |sentinel: &Backend| {
                    let address = sentinel.cli("sentinel get-master-addr-by-name master");
                    let replicas = sentinel.cli("sentinel replicas master");
                    address.contains(&self.servers[master].port().to_string())
                        && replicas.contains("flags\nslave\n")
                        && replicas.contains("master-link-status\nok\n")
                };
                self.servers[SENTINELS..].iter().all(named)
                    && self.servers[master].cli("role").starts_with("master\n")
                    && self.servers[master].cli("info replication").contains("state=online")
            }
            Kind::RedisCluster => self.servers.iter().all(|server| {
                let is_well = server.cli("cluster info").contains("cluster_state:ok");
                is_well && !server.cli("cluster nodes").contains("fail")
            }),
            Kind::NatsCluster => self.servers.iter().all(|server| server.announced() == self.servers.len()),
        }
    }

    /// The place of the master that the sentinels name.
    fn master(&self) -> usize {
        let told = self.servers[SENTINELS].cli("sentinel get-master-addr-by-name master");
        let is_named = |server: &Backend| told.lines().any(|line| line == server.port().to_string());
        self.servers.iter().position(is_named).unwrap_or_else(|| panic!("{told:?}"))
    }
}
