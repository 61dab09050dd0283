//! What nodes ask of each other's internal listeners, and who else is refused there.

use std::{net::SocketAddr, time::Duration};

use fanfare::{
    cluster::Secret,
    node::{Config, Network, RunningNode, WhenDeaf},
};
use fanfare_adapters::memory::MemoryBus;

use crate::dsl::{Answer, metric, request, start_on, start_with, within};

fn secret(config: &mut Config) {
    config.server.cluster.secrets = vec![Secret::new("a secret of the cluster")];
}

async fn refused(internal: SocketAddr, reason: &str) -> u64 {
    metric(internal, &format!("fanfare_internal_refused_total{{reason=\"{reason}\"}}")).await
}

async fn verified(node: &RunningNode) -> u64 {
    metric(node.internal_addr(), "fanfare_advertise_verified").await
}

async fn until(what: &str, node: &RunningNode, name: &str) {
    within(what, async {
        while metric(node.internal_addr(), name).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn identity(internal: SocketAddr, headers: &[&str]) -> Answer {
    request(internal, "GET", "/identity", headers, b"").await
}

#[tokio::test]
async fn a_node_finds_out_that_it_is_where_it_says() {
    for configure in [|_: &mut Config| {}, secret] {
        let node = start_with(configure).await;
        until("the node to reach itself", &node, "fanfare_advertise_verified").await;
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_node_that_advertises_another_s_address_is_told_so() {
    let other = start_with(secret).await;
    let node = start_with(|config| {
        secret(config);
        config.server.cluster.advertise = other.internal_addr().to_string();
    })
    .await;
    let target = "fanfare_internal_refused_total{reason=\"target\"}";
    until("the other one to refuse", &other, target).await;
    assert_eq!((verified(&node).await, refused(node.internal_addr(), "target").await), (0, 0));
    for node in [node, other] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn an_address_outside_the_networks_is_neither_asked_nor_let_in() {
    let elsewhere = |config: &mut Config| {
        secret(config);
        config.server.cluster_networks = vec!["192.0.2.0/24".parse::<Network>().unwrap()];
    };
    let bus = MemoryBus::new();
    let (node, _adapter) = start_on(&bus, |config| {
        elsewhere(config);
        config.server.cluster.heartbeat = Duration::from_millis(20);
        config.server.cluster.suspect_after = Duration::from_millis(100);
        config.server.cluster.remove_after = Duration::from_secs(60);
        config.server.ready.grace = Duration::ZERO;
        config.server.ready.when_deaf = WhenDeaf::Alone;
    })
    .await;
    let (peer, _) = start_on(&bus, secret).await;
    until("the peer to be known", &node, "fanfare_cluster_peers").await;
    // Deaf, it would ask its peer whether it is alone; and itself, whether it is where it says.
    bus.set_connected(false);
    within("the node to want to ask", async {
        while metric(node.internal_addr(), "fanfare_peers_outside_total").await == 0 {
            request(node.internal_addr(), "GET", "/readyz", &[], b"").await;
        }
    })
    .await;
    assert_eq!((verified(&node).await, refused(peer.internal_addr(), "outside").await), (0, 0));
    // Who signs is looked at, wherever it asks from.
    let answer = identity(node.internal_addr(), &["fanfare-signature: v1 0 AAAAAAAAAAAAAAAA 1 AAAA AA"]).await;
    assert_eq!(
        (answer.status, answer.text()),
        (403, "the request comes from an address outside cluster.networks")
    );
    assert_eq!(refused(node.internal_addr(), "outside").await, 1);
    for node in [node, peer] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn who_claims_to_be_a_node_and_is_not_is_refused_and_counted() {
    let node = start_with(secret).await;
    let internal = node.internal_addr();
    let own = identity(internal, &[]).await;
    assert_eq!(own.status, 200, "from this machine, without a claim");
    let tag: serde_json::Value = serde_json::from_slice(&own.body).unwrap();
    let tag = tag["tag"].as_str().unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let claim = |time: u128, target: &str| format!("v1 {time} AAAAAAAAAAAAAAAA 1 {target} AAAAAAAAAAAAAAAAAAAAAA");
    for (claim, reason, told) in [
        ("nonsense".to_owned(), "malformed", "the header fanfare-signature cannot be read"),
        (claim(now, tag), "forged", "the request is not signed with a secret of this cluster"),
        (
            claim(now - 60_000, tag),
            "late",
            "the signature's time is more than 30 seconds from this node's",
        ),
        (
            claim(now, if tag == "AAAA" { "BBBB" } else { "AAAA" }),
            "target",
            "the request is signed for another node",
        ),
    ] {
        let answer = identity(internal, &[&format!("fanfare-signature: {claim}")]).await;
        assert_eq!(answer.status, 403, "{reason}");
        assert!(answer.text().starts_with(told), "{}", answer.text());
        assert_eq!(refused(internal, reason).await, 1, "{reason}");
    }
    assert_eq!(
        request(node.public_addr(), "GET", "/identity", &[], b"").await.status,
        404,
        "clients know nothing of it"
    );
    node.shutdown().await;
}
