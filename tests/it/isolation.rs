//! Two clusters that share one backend: `cluster.name` alone keeps them apart.

use std::sync::Arc;

use fanfare::node::{Node, RunningNode};
use fanfare_adapters::{
    Adapter,
    nats::{self, NatsAdapter},
    redis::{self, RedisAdapter},
};

use crate::dsl::{Backend, WebSocket, application, loopback, request, within};

#[tokio::test]
async fn clusters_that_share_a_redis_server_do_not_hear_each_other() {
    let server = Backend::redis().await;
    keeps_apart(|| Arc::new(RedisAdapter::start(redis::Config::new(server.url("redis"))).unwrap())).await;
}

/// Each of them through one of several servers.
#[tokio::test]
async fn clusters_that_share_a_redis_cluster_do_not_hear_each_other() {
    let servers = Backend::redis_cluster().await;
    let url = servers[0].url("redis-cluster");
    keeps_apart(|| Arc::new(RedisAdapter::start(redis::Config::new(url.clone())).unwrap())).await;
}

#[tokio::test]
async fn clusters_that_share_a_nats_server_do_not_hear_each_other() {
    let server = Backend::nats().await;
    keeps_apart(|| Arc::new(NatsAdapter::start(nats::Config::new(server.url("nats"))).unwrap())).await;
}

/// One of the clusters, with a client on each node.
struct Cluster {
    name: &'static str,
    nodes: Vec<RunningNode>,
    clients: Vec<WebSocket>,
}

impl Cluster {
    async fn start(name: &'static str, adapter: &impl Fn() -> Arc<dyn Adapter>) -> Self {
        let (mut nodes, mut clients) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let mut config = loopback();
            config.server.cluster.name = name.into();
            let node = Node::start(config, adapter()).await.unwrap();
            application(node.io());
            clients.push(WebSocket::connect(node.public_addr()).await);
            nodes.push(node);
        }
        Self { name, nodes, clients }
    }

    fn emit(&self, events: impl Iterator<Item = u32>) {
        for event in events {
            self.nodes[0].io().emit(self.name, &event).unwrap();
        }
    }

    /// Each client gets these of its own cluster, and nothing before or between them.
    async fn expect(&mut self, events: impl Iterator<Item = u32> + Clone) {
        for client in &mut self.clients {
            for event in events.clone() {
                assert_eq!(client.text().await, format!(r#"42["{}",{event}]"#, self.name));
            }
        }
    }

    /// The other living nodes, as each node sees them.
    async fn peers(&self) -> Vec<String> {
        let mut peers = Vec::new();
        for node in &self.nodes {
            let metrics = request(node.internal_addr(), "GET", "/metrics", &[], b"").await;
            let metrics = String::from_utf8(metrics.body).unwrap();
            let line = metrics.lines().find(|line| line.starts_with("fanfare_cluster_peers")).unwrap();
            peers.push(line.rsplit(' ').next().unwrap().to_owned());
        }
        peers
    }
}

async fn keeps_apart(adapter: impl Fn() -> Arc<dyn Adapter>) {
    let mut clusters = [Cluster::start("blue", &adapter).await, Cluster::start("green", &adapter).await];
    for cluster in &clusters {
        // A node speaks once its subscriptions stand, so nodes that know each other hear everything.
        within("the nodes of a cluster to find each other", async {
            while cluster.peers().await != ["1", "1"] {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    for cluster in &clusters {
        cluster.emit(0..20);
    }
    for cluster in &mut clusters {
        cluster.expect(0..20).await;
    }
    // The backend has handed out all of the above: whatever had strayed would come before what follows.
    for cluster in &clusters {
        cluster.emit(20..21);
    }
    for cluster in &mut clusters {
        cluster.expect(20..21).await;
        assert_eq!(cluster.peers().await, ["1", "1"]);
    }
    for node in clusters.into_iter().flat_map(|cluster| cluster.nodes) {
        within("a node to stop", node.shutdown()).await;
    }
}
