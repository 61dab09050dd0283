//! Who hears what.

use bytes::Bytes;

use crate::world::{Kind, Node, World, topic};

/// The publisher's last word: what it published before has arrived, or never will.
const END: &str = "g:end";

/// Everything that `node` hears until the publisher's last word.
async fn heard_until_end(node: &mut Node) -> Vec<(String, Bytes)> {
    let mut heard = Vec::new();
    loop {
        match node.message().await {
            (name, _) if name == END => return heard,
            message => heard.push(message),
        }
    }
}

fn message(name: &str, payload: &'static str) -> (String, Bytes) {
    (name.to_owned(), Bytes::from_static(payload.as_bytes()))
}

pub async fn delivers_to_those_who_have_subscribed(kind: Kind) {
    let world = World::new(kind).await;
    let (sender, mut receiver, mut other) = (world.node().await, world.node().await, world.node().await);
    receiver.subscribe(topic("g:a.b")).await;
    other.subscribe(topic("g:a.b")).await;
    other.subscribe(topic("g:a.c.d")).await;
    for node in [&receiver, &other] {
        node.subscribe(topic(END)).await;
    }
    // Equal payloads are two messages.
    for (name, payload) in [("g:a.b", "1"), ("g:a.c.d", "2"), ("g:a.b", "1"), (END, "")] {
        sender.publish(name, payload);
    }
    assert_eq!(heard_until_end(&mut receiver).await, [message("g:a.b", "1"), message("g:a.b", "1")]);
    let all = [message("g:a.b", "1"), message("g:a.c.d", "2"), message("g:a.b", "1")];
    assert_eq!(heard_until_end(&mut other).await, all);
}

pub async fn delivers_nothing_that_nobody_wants(kind: Kind) {
    let world = World::new(kind).await;
    let (sender, mut receiver) = (world.node().await, world.node().await);
    receiver.subscribe(topic("g:b.c")).await;
    receiver.subscribe(topic(END)).await;
    for other in ["g:b", "g:b.c.d", "g:B.c", "g:c", "g:b-c", "g"] {
        sender.publish(other, "unwanted");
    }
    sender.publish(END, "");
    assert_eq!(heard_until_end(&mut receiver).await, []);
}

pub async fn a_node_hears_its_own_messages(kind: Kind) {
    let world = World::new(kind).await;
    let mut node = world.node().await;
    node.subscribe(topic("own")).await;
    node.publish("own", "echo");
    assert_eq!(node.message().await, message("own", "echo"));
}

pub async fn an_unsubscribed_topic_is_silent(kind: Kind) {
    let world = World::new(kind).await;
    let (sender, mut receiver) = (world.node().await, world.node().await);
    for name in ["g:a", "g:b"] {
        receiver.subscribe(topic(name)).await;
    }
    sender.publish("g:a", "1");
    sender.publish("g:b", "2");
    assert_eq!(
        (receiver.message().await, receiver.message().await),
        (message("g:a", "1"), message("g:b", "2"))
    );
    receiver.adapter.unsubscribe(&topic("g:a"));
    // A later wish is confirmed after an earlier one was withdrawn.
    receiver.subscribe(topic(END)).await;
    for (name, payload) in [("g:a", "3"), ("g:b", "4"), (END, "")] {
        sender.publish(name, payload);
    }
    assert_eq!(heard_until_end(&mut receiver).await, [message("g:b", "4")]);
}

pub async fn a_topic_can_be_wanted_again(kind: Kind) {
    let world = World::new(kind).await;
    let mut node = world.node().await;
    for round in 0..20 {
        node.subscribe(topic("a")).await;
        node.publish("a", round.to_string());
        assert_eq!(node.message().await, ("a".to_owned(), Bytes::from(round.to_string())));
        node.adapter.unsubscribe(&topic("a"));
    }
    // In one breath: the last word counts.
    node.adapter.unsubscribe(&topic("a"));
    drop(node.adapter.subscribe(topic("a")));
    node.adapter.unsubscribe(&topic("a"));
    node.subscribe(topic("a")).await;
    node.publish("a", "last");
    assert_eq!(node.message().await, message("a", "last"));
}

pub async fn any_bytes_arrive_unchanged(kind: Kind) {
    let world = World::new(kind).await;
    let mut node = world.node().await;
    node.subscribe(topic("a")).await;
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
