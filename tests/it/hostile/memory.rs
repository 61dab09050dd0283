//! A thousand hostile clients: what they leave behind in a node is nothing, down to its memory.
//!
//! The node is a process of its own, and its resident memory is what is measured. It is read twice when no client is there and every gauge
//! is at zero: after a warm-up, in which the allocator, the thread pool and the metrics take what they keep for good, and after the rounds.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use super::{client::*, flood};
use crate::dsl::{NodeProcess, metric, serve, start_with, until_empty};

/// Tells this executable that it is the node.
const ROLE: &str = "FANFARE_TEST_HOSTILE_NODE";

const WARM_UP: usize = 250;
const ROUNDS: usize = 1000;
/// Clients at one time.
const TOGETHER: usize = 120;
/// The bounds of the node: short, but long enough for a client to get where it wants to be hostile.
const BOUND: Duration = Duration::from_millis(1500);
/// From one client to the next.
const STAGGER: Duration = Duration::from_millis(10);

#[tokio::test(flavor = "multi_thread")]
async fn after_a_thousand_hostile_clients_a_node_holds_as_little_as_before() {
    if std::env::var_os(ROLE).is_some() {
        return be_the_node().await;
    }
    let this = concat!(
        module_path!(),
        "::after_a_thousand_hostile_clients_a_node_holds_as_little_as_before"
    );
    let node = NodeProcess::start(this, (ROLE, ""));
    rounds(&node, WARM_UP).await;
    let before = node.resident();
    rounds(&node, ROUNDS).await;
    let after = node.resident();
    let sessions = metric(node.internal, "fanfare_sessions_opened_total").await;
    let connects = metric(node.internal, "fanfare_connects_total").await;
    assert!(
        after * 100 <= before * 120,
        "resident: {before} KiB after {WARM_UP} clients, {after} KiB after {ROUNDS} more"
    );
    // Each socket that was connected has ended, and its handler has counted it.
    assert_eq!(connects, metric(node.internal, "fanfare_disconnects_total").await);
    assert!(sessions as usize > ROUNDS / 2, "{sessions} sessions");
}

/// So many clients of every kind, and then silence.
async fn rounds(node: &NodeProcess, count: usize) {
    let places = Arc::new(Semaphore::new(TOGETHER));
    let mut clients = JoinSet::new();
    for round in 0..count {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let address = node.public;
        clients.spawn(async move {
            let _place = place;
            one(round, address).await;
        });
        sleep(STAGGER).await;
    }
    // On a busy machine the node may cut one off before it is as hostile as it means to be, which its client takes for a failure.
    let mut early = 0;
    while let Some(ended) = clients.join_next().await {
        early += usize::from(ended.is_err());
    }
    assert!(early * 5 <= count, "{early} of {count} clients never came as far as they should");
    until_empty(node.internal).await;
}

async fn one(round: usize, address: SocketAddr) {
    match round % 12 {
        0 | 1 => {
            let stalled = match round % 12 {
                0 => stalled_websocket(address).await,
                _ => stalled_poll(address).await,
            };
            sleep(BOUND * 3).await;
            drop(stalled);
        }
        2 => slow_head(address).await,
        3 => drop(slow_body(address).await),
        4 => slow_frame(address).await,
        5 => endless_fragments(address).await,
        6 => unread_polls(address).await,
        7 => no_pong(address).await,
        8 => no_poll(address).await,
        9 => half_upgrade(address).await,
        10 => no_namespace(address).await,
        _ => idle_http2(address).await,
    }
}

/// Serves until the test closes standard input.
async fn be_the_node() {
    let node = start_with(|config| {
        (config.header_timeout, config.send_timeout) = (BOUND, BOUND);
        config.server.body_timeout = BOUND;
        let engine = &mut config.server.engine;
        (engine.ping_interval, engine.ping_timeout, engine.upgrade_timeout) = (BOUND, BOUND, BOUND);
        (engine.write_timeout, engine.message_timeout, engine.close_timeout) = (BOUND, BOUND, BOUND);
        (engine.farewell_timeout, engine.outbox_bytes) = (BOUND, 32 << 20);
        config.server.hub.connect_timeout = BOUND * 2;
    })
    .await;
    node.io().sockets().on("flood", flood).unwrap();
    serve(node).await;
}
