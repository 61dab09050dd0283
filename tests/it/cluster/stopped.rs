//! A node that is stopped, a process with its clock: nobody waits for it any longer than it takes to suspect it, and until it is removed it
//! is named as missing.

use std::time::{Duration, Instant};

use fanfare::hub::{FetchError, Io};

use super::Bus;
use crate::dsl::{Running, WebSocket, metric, temporary, within};

/// By default: nodes wait for each other for six seconds, and suspect who was silent for two and a half.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_redis() {
    nobody_waits_for_a_node_that_is_stopped(Bus::redis().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_nats() {
    nobody_waits_for_a_node_that_is_stopped(Bus::nats().await).await;
}

async fn nobody_waits_for_a_node_that_is_stopped(bus: Bus) {
    let (kind, url) = match &bus {
        Bus::Redis(port, _) => ("redis", format!("redis://127.0.0.1:{port}")),
        Bus::Nats(port, _) => ("nats", format!("nats://127.0.0.1:{port}")),
        _ => unreachable!("no story is told of it"),
    };
    let nodes = bus.nodes(2, |_, _| {}).await;
    let file = temporary(
        "stopped.toml",
        &format!(
            "server.listen = \"127.0.0.1:0\"\ninternal.listen = \"127.0.0.1:0\"\ncluster.node = \"stopped\"\n\
             adapter.kind = \"{kind}\"\nadapter.{kind}.url = \"{url}\"\n"
        ),
    );
    let mut process = Running::start(&["serve", "--config", &file], &[]);
    let [public, internal] = ["public http://", "internal http://"].map(|begin| {
        let line = process.line();
        line.strip_prefix(begin).unwrap_or_else(|| panic!("{line:?}")).parse().unwrap()
    });
    let addresses = [nodes[0].public_addr(), nodes[1].public_addr(), public];
    let peers = async |count: u64| {
        for address in [nodes[0].internal_addr(), nodes[1].internal_addr()] {
            while metric(address, "fanfare_cluster_peers").await != count {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    within("the nodes to find each other", async {
        peers(2).await;
        while metric(internal, "fanfare_cluster_peers").await < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let mut clients = Vec::new();
    for address in addresses {
        clients.push(WebSocket::connect(address).await);
    }
    let (one, other) = (nodes[0].io(), nodes[1].io());
    assert_eq!(one.fetch_sockets().await.unwrap().len(), 3);

    process.freeze();
    // Who asks now is told when the node is suspected, not when the time is over.
    let (first, second) = tokio::join!(without_the_stopped(one), without_the_stopped(other));
    for waited in [first, second] {
        assert!(waited < REQUEST_TIMEOUT / 2, "{waited:?}");
    }
    // From now on nobody waits at all.
    for io in [one, other, one] {
        let waited = without_the_stopped(io).await;
        assert!(waited < REQUEST_TIMEOUT / 10, "{waited:?}");
    }
    within("the node to be removed", peers(1)).await;
    let asked = Instant::now();
    assert_eq!(one.fetch_sockets().await.unwrap().len(), 2, "it is no part of the cluster any more");
    assert!(asked.elapsed() < REQUEST_TIMEOUT / 10, "{:?}", asked.elapsed());

    process.signal("CONT");
    within("the node to be back", peers(2)).await;
    for io in [one, other] {
        assert_eq!(io.fetch_sockets().await.unwrap().len(), 3);
    }
    one.emit("e", &"all again").unwrap();
    for client in &mut clients {
        assert_eq!(client.text().await, r#"42["e","all again"]"#);
    }
    drop(clients);
    for node in nodes {
        within("a node to stop", node.shutdown()).await;
    }
}

/// Asks for all sockets; two are there, and the stopped node's is missing. Answers how long that took.
async fn without_the_stopped(io: &Io) -> Duration {
    let asked = Instant::now();
    match io.fetch_sockets().await {
        Err(FetchError::Partial { sockets, missing }) => assert_eq!((sockets.len(), &*missing.nodes), (2, &["stopped".into()][..])),
        other => panic!("{other:?}"),
    }
    asked.elapsed()
}
