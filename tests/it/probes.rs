//! The internal listener: `/livez`, `/readyz`, `/metrics`.

use std::time::Duration;

use fanfare::node::{RunningNode, WhenDeaf};
use fanfare_adapters::memory::MemoryBus;
use serde_json::{Value, json};

use crate::dsl::{Polling, WebSocket, request, start, start_on, within};

async fn readyz(node: &RunningNode) -> (u16, Value) {
    let answer = request(node.internal_addr(), "GET", "/readyz", &[], b"").await;
    (answer.status, serde_json::from_slice(&answer.body).unwrap())
}

/// Asks until the node says so: the node's own clock decides when, so there is nothing to wait on but its answer.
async fn until(node: &RunningNode, what: &str, holds: impl Fn(u16, &Value) -> bool) {
    within(what, async {
        loop {
            let (status, body) = readyz(node).await;
            if holds(status, &body) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Times short enough to see a node go deaf.
fn hasty(config: &mut fanfare::node::Config, when_deaf: WhenDeaf) {
    config.server.cluster.heartbeat = Duration::from_millis(20);
    config.server.cluster.suspect_after = Duration::from_millis(100);
    config.server.cluster.remove_after = Duration::from_secs(60);
    config.server.ready.grace = Duration::from_millis(200);
    config.server.ready.when_deaf = when_deaf;
}

#[tokio::test]
async fn a_node_is_alive_and_ready_once_it_hears_its_canary() {
    let node = start().await;
    assert_eq!(request(node.internal_addr(), "GET", "/livez", &[], b"").await.status, 200);
    until(&node, "the first canary", |status, _| status == 200).await;
    let (_, mut body) = readyz(&node).await;
    assert!(body["heard_ms"].take().is_u64());
    assert_eq!(
        body,
        json!({"ready": true, "canary": "heard", "degraded": false, "draining": false, "deaf_ms": 0, "heard_ms": null})
    );
    node.shutdown().await;
}

#[tokio::test]
async fn always_means_not_ready_while_deaf_and_ready_again_after() {
    let bus = MemoryBus::new();
    let (node, _adapter) = start_on(&bus, |config| hasty(config, WhenDeaf::Always)).await;
    until(&node, "the first canary", |status, _| status == 200).await;
    bus.set_connected(false);
    until(&node, "deafness to count", |status, body| {
        status == 503 && body["canary"] == "missing"
    })
    .await;
    bus.set_connected(true);
    until(&node, "the canary to come back", |status, body| {
        status == 200 && body["canary"] == "heard"
    })
    .await;
    node.shutdown().await;
}

#[tokio::test]
async fn never_means_ready_and_degraded() {
    let bus = MemoryBus::new();
    let (node, _adapter) = start_on(&bus, |config| hasty(config, WhenDeaf::Never)).await;
    bus.set_connected(false);
    let long = |body: &Value| body["deaf_ms"].as_u64().is_some_and(|deaf| deaf > 400);
    until(&node, "deafness to last", |_, body| long(body)).await;
    let (status, body) = readyz(&node).await;
    assert_eq!((status, &body["ready"], &body["degraded"]), (200, &json!(true), &json!(true)));
    node.shutdown().await;
}

#[tokio::test]
async fn alone_asks_the_peers_whether_the_fault_is_its_own() {
    let bus = MemoryBus::new();
    let (deaf, adapter) = start_on(&bus, |config| hasty(config, WhenDeaf::Alone)).await;
    let (peer, peer_adapter) = start_on(&bus, |config| hasty(config, WhenDeaf::Alone)).await;
    for node in [&deaf, &peer] {
        until(node, "the first canary", |status, _| status == 200).await;
    }
    // Each must know of the other before it goes deaf, or there is nobody to ask.
    until_metric(&deaf, "fanfare_cluster_peers 1").await;

    adapter.set_connected(false);
    until(&deaf, "the node to find itself alone", |status, body| {
        status == 503 && body["canary"] == "missing"
    })
    .await;
    peer_adapter.set_connected(false);
    until(&deaf, "the whole cluster to be deaf", |status, body| {
        status == 200 && body["degraded"] == json!(true)
    })
    .await;
    bus.set_connected(true);
    until(&deaf, "the canary to come back", |status, body| {
        status == 200 && body["degraded"] == json!(false)
    })
    .await;
    deaf.shutdown().await;
    peer.shutdown().await;
}

/// A backend that has been away for long comes back to one node sooner than to another.
#[tokio::test]
async fn a_peer_counts_only_when_it_has_heard_for_as_long_as_the_grace() {
    const GRACE: Duration = Duration::from_secs(2);
    let bus = MemoryBus::new();
    let configure = |config: &mut fanfare::node::Config| {
        hasty(config, WhenDeaf::Alone);
        config.server.ready.grace = GRACE;
    };
    let (deaf, adapter) = start_on(&bus, configure).await;
    let (peer, peer_adapter) = start_on(&bus, configure).await;
    until_metric(&deaf, "fanfare_cluster_peers 1").await;
    adapter.set_connected(false);
    peer_adapter.set_connected(false);
    let long = |body: &Value| body["deaf_ms"].as_u64().is_some_and(|deaf| deaf > 2100);
    until(&deaf, "deafness to last", |_, body| long(body)).await;
    assert_eq!(readyz(&deaf).await.0, 200);
    let back = std::time::Instant::now();
    peer_adapter.set_connected(true);
    until(&deaf, "the node to find itself alone", |status, _| status == 503).await;
    assert!(back.elapsed() > GRACE, "after {:?}", back.elapsed());
    deaf.shutdown().await;
    peer.shutdown().await;
}

async fn metrics(node: &RunningNode) -> String {
    let answer = request(node.internal_addr(), "GET", "/metrics", &[], b"").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/plain; version=0.0.4"))
    );
    answer.text().to_owned()
}

async fn until_metric(node: &RunningNode, line: &str) {
    within(line, async {
        while !metrics(node).await.lines().any(|found| found == line) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn metrics_count_what_happens() {
    let node = start().await;
    let mut client = WebSocket::connect(node.public_addr()).await;
    let polling = Polling::connect(node.public_addr()).await;
    client.send(r#"42["echo",1]"#).await;
    client.text().await;
    let text = metrics(&node).await;
    for line in [
        "fanfare_sessions 2",
        "fanfare_sockets 2",
        "fanfare_sessions_opened_total 2",
        "fanfare_events_in_total 1",
        "fanfare_cluster_holes_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "no line {line:?} in:\n{text}");
    }
    assert!(!text.contains("target_info") && !text.contains("otel_scope"), "{text}");
    polling.send("1").await;
    until_metric(&node, r#"fanfare_sessions_closed_total{reason="transport close"} 1"#).await;
    until_metric(&node, "fanfare_sessions 1").await;
    node.shutdown().await;
}

#[tokio::test]
async fn every_metric_says_what_it_is_and_carries_the_prefix() {
    let node = start().await;
    let text = metrics(&node).await;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.starts_with("fanfare_"), "{line}");
        let name = line.split([' ', '{']).next().unwrap();
        assert!(
            text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")),
            "{name}"
        );
        assert_eq!(name.ends_with("_total"), text.contains(&format!("# TYPE {name} counter")), "{name}");
    }
    node.shutdown().await;
}
