//! Three nodes behave as one server, whatever joins them: the same stories over memory, Redis, its sentinels, a Redis Cluster, NATS and a
//! cluster of it, for clients of either parser. What outages of a real backend cost them stands in `outage`.

mod answers;
mod churn;
mod emitter;
mod operations;
mod order;
mod outage;
mod stopped;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare::{
    hub::Io,
    node::{Config, Node, RunningNode},
};
use fanfare_adapters::{
    Adapter,
    memory::{self, MemoryBus},
    nats::{self, NatsAdapter},
    redis::{self, RedisAdapter},
};

use crate::dsl::{Backend, Client, Dialect, acquainted, loopback, within};

/// What joins the nodes.
enum Bus {
    Memory(MemoryBus),
    /// At this port, which is the server's, or that of something in front of it.
    Redis(u16, Backend),
    Sentinel([Backend; 5]),
    /// Found by what answers at this port, as with Redis.
    RedisCluster(u16, [Backend; 3]),
    Nats(u16, Backend),
    /// And how many adapters there were: each is at another server, so that what one publishes crosses a route.
    NatsCluster([Backend; 3], AtomicUsize),
}

impl Bus {
    #[expect(clippy::unused_async, reason = "as the others")]
    async fn memory() -> Self {
        Self::Memory(MemoryBus::new())
    }

    async fn redis() -> Self {
        let server = Backend::redis().await;
        Self::Redis(server.port(), server)
    }

    async fn sentinel() -> Self {
        Self::Sentinel(Backend::sentinels().await)
    }

    async fn redis_cluster() -> Self {
        let servers = Backend::redis_cluster().await;
        Self::RedisCluster(servers[0].port(), servers)
    }

    async fn nats() -> Self {
        let server = Backend::nats().await;
        Self::Nats(server.port(), server)
    }

    async fn nats_cluster() -> Self {
        Self::NatsCluster(Backend::nats_cluster().await, AtomicUsize::new(0))
    }

    /// Nothing is lost in these stories, however long a busy machine lets a message wait.
    fn adapter(&self) -> Arc<dyn Adapter> {
        let outage_age = Duration::from_secs(60);
        let redis = |url: String| {
            let config = redis::Config::new(url);
            Arc::new(RedisAdapter::start(redis::Config { outage_age, ..config }).unwrap())
        };
        let nats = |url: String| {
            let config = nats::Config::new(url);
            Arc::new(NatsAdapter::start(nats::Config { outage_age, ..config }).unwrap())
        };
        let places = |servers: &[Backend]| {
            let places: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port())).collect();
            places.join(",")
        };
        match self {
            Self::Memory(bus) => Arc::new(bus.adapter(memory::Config::default())),
            Self::Redis(port, _) => redis(format!("redis://127.0.0.1:{port}")),
            Self::Sentinel(servers) => redis(format!("redis-sentinel://{}/master", places(&servers[2..]))),
            Self::RedisCluster(port, _) => redis(format!("redis-cluster://127.0.0.1:{port}")),
            Self::Nats(port, _) => nats(format!("nats://127.0.0.1:{port}")),
            Self::NatsCluster(servers, count) => nats(servers[count.fetch_add(1, Ordering::Relaxed) % 3].url("nats")),
        }
    }

    /// Nodes that know each other.
    async fn nodes(&self, count: usize, configure: impl Fn(usize, &mut Config)) -> Vec<RunningNode> {
        let mut nodes = Vec::new();
        for number in 0..count {
            let mut config = loopback();
            config.server.cluster.node = format!("node {number}");
            configure(number, &mut config);
            nodes.push(Node::start(config, self.adapter()).await.unwrap());
        }
        acquainted(&nodes).await;
        nodes
    }
}

/// Nodes, and two clients on each: client `n` and client `n + 3` on node `n`.
struct Cluster {
    nodes: Vec<RunningNode>,
    clients: Vec<Client>,
    #[expect(dead_code, reason = "ends after the nodes")]
    bus: Bus,
}

impl Cluster {
    /// Each client hears `greeting` before the next one comes.
    async fn start(bus: Bus, dialect: Dialect, register: impl Fn(usize, &Io), greeting: &str) -> Self {
        let nodes = bus.nodes(3, |_, config| config.server.hub.parser = dialect.parser()).await;
        let mut clients = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            register(number, node.io());
        }
        for node in nodes.iter().chain(&nodes) {
            let mut client = Client::connect(node.public_addr(), dialect).await;
            assert_eq!(client.text().await, greeting);
            clients.push(client);
        }
        Self { nodes, clients, bus }
    }

    fn io(&self, node: usize) -> &Io {
        self.nodes[node].io()
    }

    /// These clients get this next; all have then got what was sent before.
    async fn hear(&mut self, clients: impl IntoIterator<Item = usize>, packet: &str) {
        for client in clients {
            assert_eq!(self.clients[client].text().await, packet, "client {client}");
        }
    }

    /// These get this packet next, and its one attachment.
    async fn hear_file(&mut self, clients: impl IntoIterator<Item = usize>, packet: &str, attachment: &[u8]) {
        for client in clients {
            self.hear([client], packet).await;
            assert_eq!(self.clients[client].binary().await, attachment, "client {client}");
        }
    }

    async fn stop(self) {
        for client in self.clients {
            drop(client);
        }
        for node in self.nodes {
            within("a node to stop", node.shutdown()).await;
        }
    }
}

/// Makes a test of a story over each of these buses, in one dialect.
macro_rules! over {
    ($name:ident, $story:ident, $dialect:ident, [$($bus:ident),*]) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $bus() {
                    let bus = crate::cluster::Bus::$bus().await;
                    super::super::$story(bus, crate::dsl::Dialect::$dialect).await;
                }
            )*
        }
    };
}
use over;

/// Makes a test of a story over every kind of bus, for clients of either parser.
macro_rules! over_every_bus {
    ($story:ident) => {
        mod $story {
            use crate::cluster::over;

            over!(
                in_json,
                $story,
                Json,
                [memory, redis, sentinel, redis_cluster, nats, nats_cluster]
            );
            over!(in_msgpack, $story, Msgpack, [memory, redis, redis_cluster, nats]);
        }
    };
}
use over_every_bus;
