//! Commands cross from node to node, to whom they are meant for and once.

use bytes::Bytes;
use fanfare_adapters::{Topic, memory::MemoryBus};
use serde_bytes::ByteBuf;

use super::bench::{Fate, Node, settle};
use crate::cluster::Config;

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_the_sockets_of_every_node_once_and_in_order() {
    let bus = MemoryBus::new();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(Node::start(&bus, Config::default()).await);
    }
    let mut clients = Vec::new();
    for node in nodes.iter().chain(&nodes) {
        clients.push(node.client("/").await);
    }
    for (n, node) in (1..=100).zip(nodes.iter().take(1).cycle()) {
        node.io.emit("n", &n).unwrap();
    }
    let expected: Vec<String> = (1..=100).map(|n| format!(r#"["n",{n}]"#)).collect();
    for client in &clients {
        assert_eq!(client.events().await, expected);
    }
    assert_eq!(
        nodes[0].count("own"),
        100,
        "what a node publishes comes back, and is dropped by its header"
    );
    assert_eq!(nodes.iter().map(|node| node.count("applied")).collect::<Vec<_>>(), [0, 100, 100]);
}

#[tokio::test(start_paused = true)]
async fn binary_arguments_cross() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let client = two.client("/").await;
    one.io
        .emit("file", &("name", ByteBuf::from(vec![0, 255, 1]), ByteBuf::new()))
        .unwrap();
    let placeholders = r#"["file","name",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#.to_owned();
    assert_eq!(
        client.messages().await,
        [(placeholders, vec![Bytes::from_static(&[0, 255, 1]), Bytes::new()])]
    );
}

#[tokio::test(start_paused = true)]
async fn rooms_except_and_local_hold_across_nodes() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let near = one.client("/").await;
    two.io.local().sockets_join("never");
    let far = two.client("/").await;
    one.io.sockets_join(["everywhere", "also"]);
    two.io.local().sockets_join("far").await;
    one.io.to("far").emit("e", "to far").unwrap();
    one.io.to(["far", "everywhere"]).emit("e", "to both once").unwrap();
    one.io.except("far").emit("e", "all but far").unwrap();
    two.io.to("everywhere").except("far").emit("e", "everywhere but far").unwrap();
    one.io.local().emit("e", "here").unwrap();
    one.io.to("never").emit("e", "nobody").unwrap();
    one.io.volatile().emit("e", "perhaps").unwrap();
    settle().await;
    one.io.sockets_leave("everywhere");
    settle().await;
    two.io.to("everywhere").emit("e", "nobody any more").unwrap();
    let texts = |events: Vec<String>| -> Vec<String> {
        events
            .iter()
            .map(|event| event.trim_start_matches(r#"["e",""#).trim_end_matches(r#""]"#).to_owned())
            .collect()
    };
    let near = texts(near.events().await);
    assert!(
        near.iter()
            .filter(|text| *text != "perhaps")
            .eq(&["to both once", "all but far", "here", "everywhere but far"]),
        "{near:?}"
    );
    let far = texts(far.events().await);
    assert!(
        far.iter().filter(|text| *text != "perhaps").eq(&["to far", "to both once"]),
        "{far:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn sockets_of_another_node_are_disconnected() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let (stays, goes) = (two.client("/").await, two.client("/").await);
    two.io.local().sockets_join("all");
    one.io.disconnect_sockets(false);
    settle().await;
    for client in [stays, goes] {
        let frames = client.tap.frames();
        assert!(
            frames.iter().any(|(text, _)| text.ends_with('1')),
            "a DISCONNECT packet: {frames:?}"
        );
    }
    one.io.emit("e", &()).unwrap();
    settle().await;
    assert_eq!(two.count("unwanted"), 1, "nobody is left there");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_made_later_is_heard() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let (_, _) = (one.io.of("/chat"), two.io.of("/chat"));
    let (chat, root) = (two.client("/chat").await, two.client("/").await);
    one.io.of("/chat").emit("e", "chat").unwrap();
    assert_eq!(chat.events().await, [r#"["e","chat"]"#]);
    assert_eq!(root.events().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn other_tasks_get_their_turn_between_large_fan_outs() {
    const EVENTS: usize = 20;
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let mut clients = Vec::new();
    for _ in 0..1500 {
        clients.push(two.client("/").await);
    }
    for n in 0..EVENTS {
        one.io.emit("n", &n).unwrap();
    }
    let mut turns = 0;
    while two.count("applied") < EVENTS as u64 {
        tokio::task::yield_now().await;
        turns += 1;
    }
    assert!(turns >= EVENTS, "{turns} turns in {EVENTS} fan-outs");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_wants_here_is_decided_by_the_header() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    one.io.emit("e", "nobody there").unwrap();
    settle().await;
    assert_eq!((two.count("unwanted"), two.count("applied"), two.count("holes")), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn clusters_of_different_names_share_a_bus_without_hearing_each_other() {
    let bus = MemoryBus::new();
    let named = |name: &str| Config {
        name: name.to_owned(),
        ..Config::default()
    };
    let (blue, green) = (Node::start(&bus, named("blue")).await, Node::start(&bus, named("green")).await);
    let other = green.client("/").await;
    blue.io.emit("e", &()).unwrap();
    assert_eq!(other.events().await, [""; 0]);
    assert_eq!((blue.cluster.members().len(), green.cluster.members().len()), (0, 0));
    assert_eq!(green.count("received"), green.count("canaries"), "it hears nothing but itself");
}

#[tokio::test(start_paused = true)]
async fn an_envelope_of_another_cluster_on_our_topic_is_ignored() {
    let bus = MemoryBus::new();
    let node = Node::start(&bus, Config::default()).await;
    let stray = Node::start(
        &bus,
        Config {
            name: "stray".to_owned(),
            ..Config::default()
        },
    )
    .await;
    // Whatever the stray node says comes out on our topic.
    let bridge = bus.adapter(fanfare_adapters::memory::Config::default());
    let topic = |name: &str| Topic::new(&format!("{name}.v1:control")).unwrap();
    drop(fanfare_adapters::Adapter::subscribe(&bridge, topic("stray")));
    let mut inbox = fanfare_adapters::Adapter::inbox(&bridge).unwrap();
    super::bench::heartbeats(2).await;
    while let Some(delivery) = inbox.try_next() {
        if let fanfare_adapters::Delivery::Message { payload, .. } = delivery {
            fanfare_adapters::Adapter::publish(&bridge, &topic("fanfare"), payload).unwrap();
        }
    }
    settle().await;
    assert!(node.count("foreign_cluster") >= 2);
    assert_eq!(node.cluster.members(), []);
    drop(stray);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_twice_is_delivered_once() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let client = two.client("/").await;
    one.adapter.commands(|| Fate::SentTwice);
    for n in 0..3 {
        one.io.emit("n", &n).unwrap();
    }
    assert_eq!(client.events().await, [r#"["n",0]"#, r#"["n",1]"#, r#"["n",2]"#]);
    assert_eq!((two.count("repeats"), two.count("holes")), (3, 0));
}
