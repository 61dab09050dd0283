//! Three nodes behave as one server, whatever joins them: the same stories over memory, Redis, a Redis Cluster and NATS.

mod churn;
mod emitter;
mod operations;
mod order;

use std::sync::Arc;

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

use crate::dsl::{Backend, WebSocket, loopback, metric, within};

/// What joins the nodes.
enum Bus {
    Memory(MemoryBus),
    /// At this port, which is the server's, or that of something in front of it.
    Redis(u16, Backend),
    RedisCluster([Backend; 3]),
    Nats(u16, Backend),
}

impl Bus {
    fn memory() -> Self {
        Self::Memory(MemoryBus::new())
    }

    async fn redis() -> Self {
        let server = Backend::redis().await;
        Self::Redis(server.port(), server)
    }

    async fn redis_cluster() -> Self {
        Self::RedisCluster(Backend::redis_cluster().await)
    }

    async fn nats() -> Self {
        let server = Backend::nats().await;
        Self::Nats(server.port(), server)
    }

    fn adapter(&self) -> Arc<dyn Adapter> {
        match self {
            Self::Memory(bus) => Arc::new(bus.adapter(memory::Config::default())),
            Self::Redis(port, _) => Arc::new(RedisAdapter::start(redis::Config::new(format!("redis://127.0.0.1:{port}"))).unwrap()),
            Self::RedisCluster(servers) => {
                let config = redis::Config::new(servers[0].url("redis-cluster"));
                Arc::new(RedisAdapter::start(config).unwrap())
            }
            Self::Nats(port, _) => Arc::new(NatsAdapter::start(nats::Config::new(format!("nats://127.0.0.1:{port}"))).unwrap()),
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
        within("the nodes to find each other", async {
            for node in &nodes {
                while metric(node.internal_addr(), "fanfare_cluster_peers").await < count as u64 - 1 {
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        nodes
    }
}

/// Nodes, and two clients on each: client `n` and client `n + 3` on node `n`.
struct Cluster {
    nodes: Vec<RunningNode>,
    clients: Vec<WebSocket>,
    #[expect(dead_code, reason = "ends after the nodes")]
    bus: Bus,
}

impl Cluster {
    /// Each client hears `greeting` before the next one comes.
    async fn start(bus: Bus, register: impl Fn(usize, &Io), greeting: &str) -> Self {
        let nodes = bus.nodes(3, |_, _| {}).await;
        let mut clients = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            register(number, node.io());
        }
        for node in nodes.iter().chain(&nodes) {
            let mut client = WebSocket::connect(node.public_addr()).await;
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

    async fn stop(self) {
        for client in self.clients {
            drop(client);
        }
        for node in self.nodes {
            within("a node to stop", node.shutdown()).await;
        }
    }
}

/// Defines a test over each kind of bus.
macro_rules! over_every_bus {
    ($story:ident) => {
        mod $story {
            use super::super::Bus;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_memory() {
                super::$story(Bus::memory()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_redis() {
                super::$story(Bus::redis().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_a_redis_cluster() {
                super::$story(Bus::redis_cluster().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn over_nats() {
                super::$story(Bus::nats().await).await;
            }
        }
    };
}
use over_every_bus;
