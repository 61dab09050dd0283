//! Who hears what.

use bytes::Bytes;

use crate::world::{Kind, Node, World, exact, prefix};

/// The publisher's last word: what it published before has arrived, or never will.
const END: &str = "end";

/// Everything that `node` hears until the publisher's last word.
async fn heard_until_end(node: &mut Node) -> Vec<(String, Bytes)> {
    let mut heard = Vec::new();
    loop {
        match node.message().await {
            (topic, _) if topic == END => return heard,
            message => heard.push(message),
        }
    }
}

fn message(topic: &str, payload: &'static str) -> (String, Bytes) {
    (topic.to_owned(), Bytes::from_static(payload.as_bytes()))
}

pub async fn delivers_to_an_exact_pattern_and_to_a_prefix(kind: Kind) {
    let world = World::new(kind).await;
    let (sender, mut receiver, mut other) = (world.node().await, world.node().await, world.node().await);
    receiver.subscribe(exact("a.b")).await;
    receiver.subscribe(exact(END)).await;
    other.subscribe(prefix("a")).await;
    other.subscribe(exact(END)).await;
    sender.publish("a.b", "1");
    sender.publish("a.c.d", "2");
    sender.publish(END, "");
    assert_eq!(heard_until_end(&mut receiver).await, [message("a.b", "1")]);
    assert_eq!(heard_until_end(&mut other).await, [message("a.b", "1"), message("a.c.d", "2")]);
}

pub async fn delivers_nothing_that_no_pattern_wants(kind: Kind) {
    let world = World::new(kind).await;
    let (sender, mut receiver) = (world.node().await, world.node().await);
    receiver.subscribe(prefix("a")).await;
    receiver.subscribe(exact("b.c")).await;
    receiver.subscribe(exact(END)).await;
    // A prefix is not its own child, nor the start of a longer token; an exact pattern has no children.
    for other in ["a", "ab.c", "b", "b.c.d", "A.b", "c"] {
        sender.publish(other, "unwanted");
    }
    sender.publish(END, "");
    assert_eq!(heard_until_end(&mut receiver).await, []);
}

pub async fn a_node_hears_its_own_messages(kind: Kind) {
    let world = World::new(kind).await;
    let mut node = world.node().await;
    node.subscribe(exact("own")).await;
    node.publish("own", "echo");
    assert_eq!(node.message().await, message("own", "echo"));
}

pub async fn one_copy_arrives_when_several_patterns_match(kind: Kind) {
    let world = World::new(kind).await;
    let (sender, mut receiver) = (world.node().await, world.node().await);
    for pattern in [exact("a.b.c"), prefix("a.b"), prefix("a"), exact(END)] {
        receiver.subscribe(pattern).await;
    }
    // Equal payloads are two messages, and a copy is none.
    for payload in ["same", "same", "other"] {
        sender.publish("a.b.c", payload);
    }
    sender.publish("a.x", "once");
    sender.publish(END, "");
    let expected = [
        message("a.b.c", "same"),
        message("a.b.c", "same"),
        message("a.b.c", "other"),
        message("a.x", "once"),
    ];
    assert_eq!(heard_until_end(&mut receiver).await, expected);
}

pub async fn an_unsubscribed_pattern_is_silent(kind: Kind) {
    let world = World::new(kind).await;
    let (sender, mut receiver) = (world.node().await, world.node().await);
    receiver.subscribe(exact("a.b")).await;
    receiver.subscribe(prefix("c")).await;
    sender.publish("a.b", "1");
    sender.publish("c.d", "2");
    assert_eq!(
        (receiver.message().await, receiver.message().await),
        (message("a.b", "1"), message("c.d", "2"))
    );
    receiver.adapter.unsubscribe(&exact("a.b"));
    receiver.adapter.unsubscribe(&prefix("c"));
    // A later wish is confirmed after an earlier one was withdrawn.
    receiver.subscribe(exact(END)).await;
    sender.publish("a.b", "3");
    sender.publish("c.d", "4");
    sender.publish(END, "");
    assert_eq!(heard_until_end(&mut receiver).await, []);
}

pub async fn a_pattern_can_be_wanted_again(kind: Kind) {
    let world = World::new(kind).await;
    let mut node = world.node().await;
    for round in 0..20 {
        node.subscribe(exact("a")).await;
        node.publish("a", round.to_string());
        assert_eq!(node.message().await, ("a".to_owned(), Bytes::from(round.to_string())));
        node.adapter.unsubscribe(&exact("a"));
    }
    // In one breath: the last word counts.
    node.adapter.unsubscribe(&exact("a"));
    drop(node.adapter.subscribe(exact("a")));
    node.adapter.unsubscribe(&exact("a"));
    node.subscribe(exact("a")).await;
    node.publish("a", "last");
    assert_eq!(node.message().await, message("a", "last"));
}

pub async fn any_bytes_arrive_unchanged(kind: Kind) {
    let world = World::new(kind).await;
    let mut node = world.node().await;
    node.subscribe(exact("a")).await;
    let payloads = [
        Bytes::new(),
        Bytes::from_static(b"\r\n+OK\r\n"),
        Bytes::from_static(&[0xff, 0x00, 0xfe, 0x80]),
        Bytes::from((0..=255).cycle().take(500_000).collect::<Vec<u8>>()),
    ];
    for payload in payloads {
        node.publish("a", payload.clone());
        assert_eq!(node.message().await.1, payload);
    }
}
