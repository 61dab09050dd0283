//! When a server of several dies.

use std::time::Duration;

use fanfare_adapters::{Delivery, GapCause};
use tokio::time::{Instant, sleep};

use crate::{
    fleet::redis,
    world::{Bounds, Kind, Node, World, eventually, exact, within},
};

/// A session ends and another one is made, which the inbox tells.
async fn moves(node: &mut Node) {
    assert_eq!(node.next().await, Delivery::Disconnected);
    assert_eq!(node.next().await, Delivery::Gap(GapCause::Reconnected));
    assert_eq!(node.next().await, Delivery::Connected);
}

/// Publishes until the other node hears it: what it takes until all servers know of each other's subscriptions.
async fn reaches(from: &Node, to: &mut Node) {
    within("a message arrives", async {
        loop {
            from.publish("a", "again");
            sleep(Duration::from_millis(50)).await;
            if let Some(Delivery::Message { payload, .. }) = to.inbox.try_next() {
                assert_eq!(payload, "again");
                return;
            }
        }
    })
    .await;
}

pub async fn a_killed_master_ends_in_a_session_with_its_successor(kind: Kind) {
    let mut world = World::new(kind).await;
    let (mut sender, mut receiver) = (world.node().await, world.node().await);
    receiver.subscribe(exact("a")).await;
    sender.publish("a", "before");
    assert_eq!(receiver.message().await.1, "before");
    let [master, replica] = &mut world.fleet().servers[..2] else {
        panic!("two servers")
    };
    master.kill().await;
    moves(&mut sender).await;
    moves(&mut receiver).await;
    reaches(&sender, &mut receiver).await;
    assert_eq!(redis(replica.port, &["pubsub", "channels"]).await.trim(), "a");
    // The old master comes back as a replica, and changes nothing.
    let old = master.port;
    master.start().await;
    within("the old master is a replica", async {
        while !redis(old, &["info", "replication"]).await.contains("role:slave") {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    reaches(&sender, &mut receiver).await;
    assert_eq!((sender.adapter.counters().connects, receiver.adapter.counters().connects), (2, 2));
}

pub async fn a_name_that_no_sentinel_knows_is_said(kind: Kind) {
    let mut world = World::new(kind).await;
    let url = world.fleet().url().replace("my-master", "another");
    let node = Node::over(url, Bounds::default());
    let fault = eventually("the fault is known", || node.adapter.fault(), Option::is_some)
        .await
        .expect("known");
    assert!(
        fault.contains("the sentinel at 127.0.0.1:") && fault.contains("knows no master \"another\""),
        "{fault}"
    );
}

pub async fn a_killed_server_ends_in_a_session_with_another(kind: Kind) {
    let mut world = World::new(kind).await;
    // One node knows all servers, the other one learns of them.
    let first = format!("nats://127.0.0.1:{}", world.fleet().servers[0].port);
    let (mut told, mut learning) = (world.node().await, Node::over(first, Bounds::default()));
    assert_eq!(learning.next().await, Delivery::Connected);
    for node in [&told, &learning] {
        node.subscribe(exact("a")).await;
    }
    let killed = Instant::now();
    world.fleet().servers[0].kill().await;
    moves(&mut told).await;
    moves(&mut learning).await;
    assert!(killed.elapsed() < Duration::from_secs(10), "after {:?}", killed.elapsed());
    learning.subscribe(exact("b")).await;
    reaches(&told, &mut learning).await;

    // And again, with what the second server has announced.
    world.fleet().servers[1].kill().await;
    let left = world.fleet().servers[2].port;
    let alone = Node::over(format!("nats://127.0.0.1:{left}"), Bounds::default());
    within("all nodes meet at the last server", reaches(&alone, &mut learning)).await;
}
