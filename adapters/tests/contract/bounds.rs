//! What happens when something is full, or too large.

use std::time::Duration;

use bytes::Bytes;
use fanfare_adapters::{Delivery, GapCause, PublishError};
use tokio::time::sleep;

use crate::world::{Bounds, Kind, World, eventually, topic};

const KIB: usize = 1024;

pub async fn a_full_inbox_drops_and_marks_the_gap(kind: Kind) {
    let world = World::new(kind).await;
    let sender = world.node().await;
    let mut receiver = world
        .node_with(Bounds {
            inbox_bytes: 64 * KIB,
            ..Bounds::default()
        })
        .await;
    receiver.subscribe(topic("a")).await;
    for number in 0..500_u32 {
        let mut payload = vec![0; KIB];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        sender.publish_patiently(&topic("a"), payload.into()).await;
    }
    eventually(
        "the inbox says that it was full",
        || receiver.adapter.counters().gaps,
        |gaps| *gaps > 0,
    )
    .await;
    // What was kept is the beginning, in order, and within the bound.
    let mut kept = 0;
    while let Some(Delivery::Message { payload, .. }) = receiver.inbox.try_next() {
        assert_eq!(payload[..4], u32::try_from(kept).expect("small").to_be_bytes());
        kept += 1;
    }
    assert!((40..=63).contains(&kept), "{kept} messages of 1 KiB in 64 KiB");
    // The delivery that ended the loop was the gap. An inbox that is read takes messages again.
    sender.publish("a", "after");
    loop {
        match receiver.next().await {
            Delivery::Message { payload, .. } if payload == "after" => break,
            Delivery::Message { .. } | Delivery::Gap(GapCause::InboxFull) => {}
            other => panic!("unexpected {other:?}"),
        }
    }
}

pub async fn a_full_queue_refuses_and_old_messages_make_room(kind: Kind) {
    let world = World::asleep(kind);
    let node = world.start_node(Bounds {
        queue_bytes: 64 * KIB,
        ..Bounds::default()
    });
    let payload = Bytes::from(vec![0; KIB]);
    let mut taken = 0;
    let refused = loop {
        match node.adapter.publish(&topic("a"), payload.clone()) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, PublishError::Full);
    assert!((40..=63).contains(&taken), "{taken} messages of 1 KiB in 64 KiB");
    sleep(node.adapter.limits().outage_age + Duration::from_millis(200)).await;
    node.publish("a", payload);
    assert_eq!(node.adapter.counters().dropped, taken);
}

pub async fn one_message_larger_than_queue_and_inbox_passes(kind: Kind) {
    let world = World::new(kind).await;
    let mut node = world
        .node_with(Bounds {
            queue_bytes: 64 * KIB,
            inbox_bytes: 64 * KIB,
        })
        .await;
    node.subscribe(topic("a")).await;
    for round in 0..3 {
        node.publish_patiently(&topic("a"), vec![round; 512 * KIB].into()).await;
        assert_eq!(node.message().await.1, vec![round; 512 * KIB]);
    }
}

pub async fn what_is_too_large_for_the_backend_is_refused(kind: Kind) {
    let world = World::new(kind).await;
    let mut node = world.node().await;
    node.subscribe(topic("a")).await;
    let limit = node.adapter.limits().max_message.expect("known once connected");
    assert_eq!(limit, KIB * KIB - 16);
    let refused = node.adapter.publish(&topic("a"), vec![0; limit + 1].into());
    assert_eq!(
        refused,
        Err(PublishError::TooLarge {
            size: KIB * KIB + 1,
            limit: KIB * KIB
        })
    );
    node.publish("a", vec![1; limit]);
    assert_eq!(node.message().await.1.len(), limit);
}
