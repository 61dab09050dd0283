//! How an adapter begins and ends.

use std::time::Duration;

use bytes::Bytes;
use fanfare_adapters::{Delivery, PublishError, SubscribeError};
use tokio::runtime::Handle;

use crate::world::{Bounds, Kind, Node, PATIENCE, World, eventually, topic, within};

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

pub async fn close_sends_what_is_queued_and_ends_everything(kind: Kind) {
    let world = World::new(kind).await;
    let mut receiver = world.node().await;
    receiver.subscribe(topic("a")).await;
    let before = tasks();
    let Node { adapter, mut inbox } = world.node().await;
    for number in 0..1000 {
        adapter.publish(&topic("a"), Bytes::from(number.to_string())).expect("queued");
    }
    within("close", adapter.close(PATIENCE)).await;
    for number in 0..1000 {
        assert_eq!(receiver.message().await.1, number.to_string());
    }
    assert_eq!(within("the inbox ends", inbox.next()).await, None);
    assert_eq!(adapter.publish(&topic("a"), Bytes::new()), Err(PublishError::Closed));
    assert_eq!(adapter.subscribe(topic("b")).await, Err(SubscribeError::Withdrawn));
    assert!(!adapter.counters().connected);
    within("close is idempotent", adapter.close(Duration::ZERO)).await;
    eventually("its tasks end", tasks, |now| *now <= before).await;
}

pub async fn a_dropped_adapter_ends_everything(kind: Kind) {
    let world = World::new(kind).await;
    let before = tasks();
    let Node { adapter, mut inbox } = world.node().await;
    drop(adapter);
    assert_eq!(within("the inbox ends", inbox.next()).await, None);
    eventually("its tasks end", tasks, |now| *now <= before).await;
}

pub async fn an_adapter_that_starts_before_its_backend_connects_later(kind: Kind) {
    let mut world = World::asleep(kind);
    let mut node = world.start_node(Bounds::default());
    if kind == Kind::Memory {
        assert_eq!(node.next().await, Delivery::Connected);
        world.kill().await;
        assert_eq!(node.next().await, Delivery::Disconnected);
    }
    let confirmed = node.adapter.subscribe(topic("a"));
    eventually("it says what is wrong", || node.adapter.fault(), Option::is_some).await;
    assert!(!node.adapter.counters().connected);
    assert_eq!(node.inbox.try_next(), None);
    world.revive().await;
    within("the subscription is confirmed", confirmed).await.expect("confirmed");
    node.until(&Delivery::Connected).await;
    assert_eq!(node.adapter.fault(), None);
    node.publish("a", "hello");
    assert_eq!(node.message().await.1, "hello");
}
