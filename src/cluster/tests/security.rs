//! Who is believed, and that what a stranger publishes does no harm.

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use fanfare_adapters::{
    Adapter as _, Delivery, Topic,
    memory::{self, MemoryBus},
};

use super::bench::{Node, heartbeats, settle};
use crate::cluster::{Config, Secret, link::lock};

fn with(secrets: &[&str]) -> Config {
    Config {
        secrets: secrets.iter().map(|secret| Secret::new(*secret)).collect(),
        ..Config::default()
    }
}

/// What is logged in this thread while the guard lives.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn capture() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines_with(&self, text: &str) -> usize {
        String::from_utf8_lossy(&lock(&self.0))
            .lines()
            .filter(|line| line.contains(text))
            .count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_secret_is_ignored_counted_and_said_once() {
    let (log, _guard) = Log::capture();
    let bus = MemoryBus::new();
    let (ours, other) = (Node::start(&bus, with(&["ours"])).await, Node::start(&bus, with(&["other"])).await);
    let open = Node::start(&bus, Config::default()).await;
    let client = ours.client("/").await;
    for node in [&other, &open] {
        node.io.emit("e", "not for you").unwrap();
    }
    heartbeats(5).await;
    assert_eq!(client.events().await, [""; 0]);
    assert_eq!((ours.cluster.members().len(), other.cluster.members().len()), (0, 0));
    assert!(ours.count("bad_mac") > 10 && ours.count("holes") == 0);
    assert_eq!(
        log.lines_with("is not signed with a secret of this cluster"),
        2,
        "once in each of the two nodes that have a secret"
    );
    assert!(!ours.cluster.health().degraded, "it hears itself");
}

#[tokio::test(start_paused = true)]
async fn a_secret_is_rotated_node_by_node() {
    let bus = MemoryBus::new();
    let steps = [&["old"][..], &["old", "new"], &["new", "old"], &["new"]];
    for pair in steps.windows(2) {
        let (one, two) = (Node::start(&bus, with(pair[0])).await, Node::start(&bus, with(pair[1])).await);
        let (at_one, at_two) = (one.client("/").await, two.client("/").await);
        one.io.emit("e", "one").unwrap();
        two.io.emit("e", "two").unwrap();
        assert_eq!((at_one.events().await.len(), at_two.events().await.len()), (2, 2), "{pair:?}");
        assert_eq!((one.count("bad_mac"), two.count("bad_mac")), (0, 0));
        for node in [one, two] {
            node.cluster.close(std::time::Duration::ZERO).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_recorded_and_is_played_again_is_dropped() {
    let bus = MemoryBus::new();
    let (one, two) = (Node::start(&bus, with(&["s"])).await, Node::start(&bus, with(&["s"])).await);
    let client = two.client("/").await;
    let recorder = bus.adapter(memory::Config::default());
    let (control, root) = (Topic::new("fanfare.v1:control").unwrap(), Topic::new("fanfare.v1:ns._2f").unwrap());
    for topic in [&control, &root] {
        drop(recorder.subscribe(topic.clone()));
    }
    let mut tape = recorder.inbox().unwrap();
    one.io.emit("e", "once").unwrap();
    heartbeats(2).await;
    one.cluster.close(std::time::Duration::ZERO).await;
    settle().await;
    assert_eq!(client.events().await, [r#"["e","once"]"#]);
    // The whole tape first: the recorder hears what it plays.
    let tape: Vec<Delivery> = std::iter::from_fn(|| tape.try_next()).collect();
    for delivery in tape {
        let Delivery::Message { topic, payload } = delivery else { continue };
        let elsewhere = if topic == root { &control } else { &root };
        recorder.publish(elsewhere, payload.clone()).unwrap();
        recorder.publish(&topic, payload).unwrap();
    }
    settle().await;
    assert_eq!(client.events().await, [""; 0]);
    assert_eq!(two.cluster.members(), [], "nobody comes back from the dead");
    assert!(two.count("repeats") >= 3 && two.count("bad_mac") >= 3);
}

#[tokio::test(start_paused = true)]
async fn garbage_on_the_topics_is_counted_and_changes_nothing() {
    let (log, _guard) = Log::capture();
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let client = two.client("/").await;
    let stranger = bus.adapter(memory::Config::default());
    let garbage: [&[u8]; 6] = [
        b"",
        b"\x01",
        b"\x01\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\x01\xc0",
        b"\x02anything",
        b"{\"json\":true}",
    ];
    for topic in ["fanfare.v1:control", "fanfare.v1:ns._2f"] {
        for bytes in garbage {
            stranger.publish(&Topic::new(topic).unwrap(), Bytes::from_static(bytes)).unwrap();
        }
    }
    one.io.emit("e", "heard").unwrap();
    assert_eq!(client.events().await, [r#"["e","heard"]"#]);
    assert_eq!((two.count("malformed"), two.count("foreign_version")), (8, 4));
    assert_eq!(log.lines_with("an envelope is ignored"), 4, "each reason once in each node");
    assert_eq!(two.count("holes"), 0);
}
