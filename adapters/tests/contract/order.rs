//! In which order.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::time::sleep;

use crate::world::{Kind, World, topic};

const TOPICS: u64 = 8;
const MESSAGES: u64 = 20_000;
const PUBLISHERS: u64 = 2;

/// Messages that a publisher may be ahead of the receiver: enough to fill every queue on the way, too few to overflow one.
const WINDOW: u64 = 1500;

/// Of backends that are not divided.
pub async fn what_one_publisher_sends_arrives_in_order_across_topics(kind: Kind) {
    arrives_in_order(&World::new(kind).await, "load.t").await;
}

pub async fn what_one_publisher_sends_arrives_in_order_across_the_topics_of_a_group(kind: Kind) {
    let mut world = World::new(kind).await;
    if kind == Kind::RedisCluster {
        // Hashed as they are, these topics would be on several servers.
        let mut owners = BTreeSet::new();
        for index in 0..TOPICS {
            owners.insert(world.fleet().owner(&format!("load:t{index}")).await);
        }
        assert!(owners.len() > 1);
    }
    arrives_in_order(&world, "load:t").await;
}

async fn arrives_in_order(world: &World, name: &'static str) {
    let name = move |index: u64| topic(&format!("{name}{index}"));
    let mut receiver = world.node().await;
    for index in 0..TOPICS {
        receiver.subscribe(name(index)).await;
    }
    let heard: Arc<Vec<AtomicU64>> = Arc::new((0..PUBLISHERS).map(|_| AtomicU64::new(0)).collect());
    let mut publishers = Vec::new();
    for publisher in 0..PUBLISHERS {
        let (node, heard) = (world.node().await, heard.clone());
        publishers.push(tokio::spawn(async move {
            let topics: Vec<_> = (0..TOPICS).map(name).collect();
            for number in 0..MESSAGES {
                while number > heard[publisher as usize].load(Ordering::Relaxed) + WINDOW {
                    sleep(Duration::from_micros(200)).await;
                }
                // Jumps between the topics without a pattern that batches would follow.
                let topic = &topics[(number * 7 % 11 % TOPICS) as usize];
                let payload = [publisher.to_be_bytes(), number.to_be_bytes()].concat();
                node.publish_patiently(topic, Bytes::from(payload)).await;
            }
            node
        }));
    }
    for _ in 0..MESSAGES * PUBLISHERS {
        let (_, payload) = receiver.message().await;
        let publisher = u64::from_be_bytes(payload[..8].try_into().expect("eight bytes"));
        let number = u64::from_be_bytes(payload[8..].try_into().expect("eight bytes"));
        let expected = heard[publisher as usize].fetch_add(1, Ordering::Relaxed);
        assert_eq!(number, expected, "of publisher {publisher}");
    }
    for publisher in publishers {
        let node = publisher.await.expect("a publisher that does not panic");
        assert_eq!(node.adapter.counters().dropped, 0);
    }
    assert_eq!(receiver.adapter.counters().received, MESSAGES * PUBLISHERS);
}
