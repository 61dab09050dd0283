//! What a node says of itself in numbers.

use std::{net::SocketAddr, time::Duration};

use fanfare::node::RunningNode;

use super::{request, within};

/// What a client can hold of a node: each of these gauges is at zero when nobody is there.
const HELD: [&str; 4] = ["fanfare_sessions", "fanfare_sockets", "fanfare_tasks", "fanfare_http_connections"];

/// The value of a metric, its labels included in the name; zero where there is none.
pub(crate) async fn metric(internal: SocketAddr, name: &str) -> u64 {
    let answer = request(internal, "GET", "/metrics", &[], b"").await;
    let mut values = answer.text().lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    values.next().map_or(0, |value| value.parse::<f64>().unwrap() as u64)
}

/// Waits until each of the nodes knows all others.
pub(crate) async fn acquainted(nodes: &[RunningNode]) {
    within("the nodes to find each other", async {
        for node in nodes {
            while metric(node.internal_addr(), "fanfare_cluster_peers").await < nodes.len() as u64 - 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    })
    .await;
}

/// Waits until clients hold nothing of the node any more.
pub(crate) async fn until_empty(internal: SocketAddr) {
    within("every gauge to be back at zero", async {
        for name in HELD {
            while metric(internal, name).await > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    })
    .await;
}
