//! When a server of several dies.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fanfare_adapters::{Delivery, GapCause};
use tokio::time::{Instant, sleep};

use crate::{
    fleet::redis,
    world::{Bounds, Kind, Node, World, eventually, topic, within},
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
    receiver.subscribe(topic("a")).await;
    sender.publish("a", "before");
    assert_eq!(receiver.message().await.1, "before");
    let [master, replica] = &mut world.fleet().servers[..2] else {
        panic!("two servers")
    };
    master.kill().await;
    moves(&mut sender).await;
    moves(&mut receiver).await;
    reaches(&sender, &mut receiver).await;
    // The sentinels have a channel of their own there, sooner or later.
    let channels = redis(replica.port, &["pubsub", "channels"]).await;
    assert!(channels.lines().any(|channel| channel == "a"), "{channels}");
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
        node.subscribe(topic("a")).await;
    }
    let killed = Instant::now();
    world.fleet().servers[0].kill().await;
    moves(&mut told).await;
    moves(&mut learning).await;
    assert!(killed.elapsed() < Duration::from_secs(10), "after {:?}", killed.elapsed());
    learning.subscribe(topic("b")).await;
    reaches(&told, &mut learning).await;

    // And again, with what the second server has announced.
    world.fleet().servers[1].kill().await;
    let left = world.fleet().servers[2].port;
    let alone = Node::over(format!("nats://127.0.0.1:{left}"), Bounds::default());
    within("all nodes meet at the last server", reaches(&alone, &mut learning)).await;
}

pub async fn a_killed_master_ends_in_a_session_with_its_replica(kind: Kind) {
    let mut world = World::new(kind).await;
    let master = world.fleet().owner("a").await;
    world.fleet().add_replica(master).await;
    let (mut sender, mut receiver) = (world.node().await, world.node().await);
    receiver.subscribe(topic("a")).await;
    sender.publish("a", "before");
    assert_eq!(receiver.message().await.1, "before");
    world.fleet().servers[master].kill().await;
    moves(&mut receiver).await;
    sender.until(&Delivery::Connected).await;
    reaches(&sender, &mut receiver).await;
    let replica = &world.fleet().servers[3];
    assert_eq!(redis(replica.port, &["pubsub", "shardchannels"]).await.trim(), "{a}");
}

pub async fn a_slot_that_moves_takes_its_topics_along(kind: Kind) {
    let mut world = World::new(kind).await;
    let (sender, mut receiver) = (world.node().await, world.node().await);
    // The receiver publishes nothing, so nobody tells it that a message found the wrong server.
    for name in ["a:one", "a:two", "elsewhere"] {
        receiver.subscribe(topic(name)).await;
    }
    sender.publish("a:one", "before");
    assert_eq!(receiver.message().await.1, "before");
    let new = world.fleet().move_slot("a").await;
    moves(&mut receiver).await;
    let held = redis(world.fleet().servers[new].port, &["pubsub", "shardchannels", "{a}*"]).await;
    assert_eq!(held.lines().count(), 2, "{held}");
    within("a message arrives", async {
        loop {
            sender.publish("a:two", "after");
            sleep(Duration::from_millis(50)).await;
            if let Some(Delivery::Message { payload, .. }) = receiver.inbox.try_next() {
                return assert_eq!(payload, "after");
            }
        }
    })
    .await;
}

pub async fn a_slot_that_moves_under_load_breaks_no_order(kind: Kind) {
    let mut world = World::new(kind).await;
    let (sender, mut receiver) = (world.node().await, world.node().await);
    receiver.subscribe(topic("a")).await;
    let (adapter, done) = (sender.adapter.clone(), Arc::new(AtomicBool::new(false)));
    let load = tokio::spawn({
        let done = done.clone();
        async move {
            let mut taken = 0_u64;
            while !done.load(Ordering::Relaxed) {
                taken += u64::from(adapter.publish(&topic("a"), taken.to_be_bytes().to_vec().into()).is_ok());
                sleep(Duration::from_millis(1)).await;
            }
            taken
        }
    });
    let (mut last, mut heard) = (None, 0_u64);
    for round in 0..3 {
        let mut since_back = 0;
        while since_back < 100 {
            match receiver.next().await {
                Delivery::Message { payload, .. } => {
                    let number = u64::from_be_bytes(payload[..].try_into().expect("eight bytes"));
                    assert!(last.is_none_or(|last| number > last), "{number} after {last:?}");
                    (last, heard, since_back) = (Some(number), heard + 1, since_back + 1);
                }
                _ => since_back = 0,
            }
        }
        if round < 2 {
            let before = receiver.adapter.counters().connects;
            world.fleet().move_slot("a").await;
            eventually(
                "the receiver has followed",
                || receiver.adapter.counters().connects,
                |connects| *connects > before,
            )
            .await;
        }
    }
    done.store(true, Ordering::Relaxed);
    let taken = load.await.expect("the load does not panic");
    eventually(
        "all is accounted for",
        || sender.adapter.counters(),
        |counters| counters.published + counters.dropped == taken,
    )
    .await;
    assert!(heard < taken, "what was published meanwhile is lost, and said to be");
    assert!(receiver.adapter.counters().gaps >= 2);
}

pub async fn a_cluster_is_found_by_one_of_its_servers(kind: Kind) {
    let mut world = World::new(kind).await;
    let first = world.fleet().servers[0].port;
    let mut node = Node::over(format!("redis-cluster://127.0.0.1:{first}"), Bounds::default());
    assert_eq!(node.next().await, Delivery::Connected);
    // Of all servers some topic.
    for name in ["a", "b", "c", "d", "e", "f"] {
        node.subscribe(topic(name)).await;
        node.publish(name, name);
        assert_eq!(node.message().await.1, name);
    }
    let mut owners = BTreeSet::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        owners.insert(world.fleet().owner(name).await);
    }
    assert_eq!(owners.len(), 3);
}

pub async fn what_is_no_cluster_is_said(_kind: Kind) {
    let world = World::new(Kind::Redis).await;
    let node = Node::over(format!("redis-cluster://127.0.0.1:{}", world.server().port), Bounds::default());
    let fault = eventually("the fault is known", || node.adapter.fault(), Option::is_some)
        .await
        .expect("known");
    assert!(
        fault.contains("the server at 127.0.0.1:") && fault.contains("cluster support disabled"),
        "{fault}"
    );
}
