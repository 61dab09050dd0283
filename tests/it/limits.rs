//! Clients that send more events than they may, and more clients than there may be, over real sockets.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

use fanfare::node::RunningNode;

use crate::dsl::{Polling, WebSocket, metric, request, start_with, upgrade, within};

const RATE: u32 = 100;

/// A burst, and what takes more than a second after it.
const EVENTS: usize = 250;

async fn limited() -> RunningNode {
    start_with(|config| config.server.hub.events_per_second = NonZeroU32::new(RATE)).await
}

fn event(number: usize) -> String {
    format!(r#"42["echo",{number}]"#)
}

/// What a client of [`limited`] has sent came as slowly as it may, and the node knows.
async fn was_slowed_down(node: RunningNode, begun: Instant) {
    let allowed = Duration::from_secs(1) * (EVENTS as u32 - RATE) / RATE;
    assert!(begun.elapsed() > allowed - Duration::from_millis(100), "{:?}", begun.elapsed());
    let counters = node.io().hub().counters();
    assert_eq!(counters.events_in.get(), EVENTS as u64);
    assert!(counters.throttles.get() > 0);
    node.shutdown().await;
}

#[tokio::test]
async fn a_fast_client_over_websocket_is_slowed_down_and_loses_nothing() {
    let node = limited().await;
    let mut client = WebSocket::connect(node.public_addr()).await;
    let begun = Instant::now();
    for number in 0..EVENTS {
        client.send(&event(number)).await;
    }
    for number in 0..EVENTS {
        assert_eq!(client.text().await, event(number));
    }
    was_slowed_down(node, begun).await;
}

#[tokio::test]
async fn a_fast_client_over_polling_is_slowed_down_and_loses_nothing() {
    let node = limited().await;
    let client = Polling::connect(node.public_addr()).await;
    let begun = Instant::now();
    let events: Vec<String> = (0..EVENTS).map(event).collect();
    let payload = events.join("\x1e");
    let ((), got) = tokio::join!(client.send(&payload), client.receive_some(EVENTS));
    assert_eq!(got, events);
    was_slowed_down(node, begun).await;
}

#[tokio::test]
async fn a_client_that_keeps_on_is_closed_and_another_does_not_notice() {
    let node = start_with(|config| {
        config.server.hub.events_per_second = NonZeroU32::new(RATE);
        config.server.hub.stall_timeout = Duration::from_millis(500);
    })
    .await;
    let mut other = WebSocket::connect(node.public_addr()).await;
    let mut client = WebSocket::connect(node.public_addr()).await;
    for number in 0..10 * EVENTS {
        client.send(&event(number)).await;
    }
    within("the end of it", client.closed()).await;
    assert_eq!(node.io().hub().counters().too_fast.get(), 1);
    other.send(&event(1)).await;
    assert_eq!(other.text().await, event(1));
    node.shutdown().await;
}

#[tokio::test]
async fn a_node_that_is_full_refuses_new_sessions_and_stays_ready() {
    let node = start_with(|config| config.server.engine.max_sessions = 2).await;
    let (public, internal) = (node.public_addr(), node.internal_addr());
    within("the node to be ready", async {
        while request(internal, "GET", "/readyz", &[], b"").await.status != 200 {}
    })
    .await;
    let mut client = WebSocket::connect(public).await;
    let other = Polling::connect(public).await;
    let refused = [
        request(public, "GET", "/socket.io/?EIO=4&transport=polling", &[], b"").await,
        upgrade(public, "EIO=4&transport=websocket", &[]).await,
    ];
    assert_eq!(refused.map(|answer| answer.status), [503, 503]);
    assert_eq!(metric(internal, "fanfare_sessions_refused_total").await, 2);
    // A balancer that took it out of service would cut off those whom it serves.
    let ready = request(internal, "GET", "/readyz", &[], b"").await;
    assert_eq!(ready.status, 200);
    assert!(
        ready.text().contains(r#""ready":true"#) && ready.text().contains(r#""degraded":false"#),
        "{}",
        ready.text()
    );
    client.send(&event(1)).await;
    assert_eq!(client.text().await, event(1));
    // Who goes makes room.
    other.send("1").await;
    within("a place", async {
        while request(public, "GET", "/socket.io/?EIO=4&transport=polling", &[], b"").await.status != 200 {}
    })
    .await;
    node.shutdown().await;
}
