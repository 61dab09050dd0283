//! What is lost between nodes is counted: each missing command once, at each receiver.

use std::time::Duration;

use fanfare_adapters::{PublishError, memory::MemoryBus};
use proptest::prelude::*;

use super::bench::{Fate, Node, heartbeats, settle, until};
use crate::{cluster::Config, engine::id::NodeTag};

#[test]
fn holes_are_exactly_what_was_lost() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(24));
    let losses = prop::collection::vec(prop::bool::weighted(0.3), 1..60);
    runner
        .run(&losses, |lost| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(lose(lost));
            Ok(())
        })
        .unwrap();
}

/// Sends a message for each entry, loses those that are true, and compares.
async fn lose(lost: Vec<bool>) {
    let bus = MemoryBus::new();
    let one = Node::start(&bus, Config::default()).await;
    let (two, three) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let (at_two, at_three) = (two.client("/").await, three.client("/").await);
    let missing = lost.iter().filter(|lost| **lost).count();
    let sent = lost.len();
    let mut fates = lost.into_iter();
    one.adapter
        .commands(move || if fates.next().unwrap_or(false) { Fate::Lost } else { Fate::Sent });
    for n in 0..sent {
        one.io.emit("n", &n).unwrap();
    }
    heartbeats(2).await;
    for (node, client) in [(&two, &at_two), (&three, &at_three)] {
        assert_eq!(client.events().await.len(), sent - missing);
        assert_eq!(node.count("holes"), missing as u64);
        assert_eq!((node.count("heartbeats_missed"), node.count("repeats")), (0, 0));
    }
    assert_eq!(one.count("holes"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_delivered_here_and_counted_on_both_ends() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let (here, there) = (one.client("/").await, two.client("/").await);
    let mut errors = [
        PublishError::Full,
        PublishError::TooLarge { size: 2, limit: 1 },
        PublishError::Closed,
    ]
    .into_iter();
    one.adapter.commands(move || errors.next().map_or(Fate::Sent, Fate::Refused));
    for n in 0..4 {
        one.io.emit("n", &n).unwrap();
    }
    assert_eq!(here.events().await.len(), 4);
    assert_eq!(there.events().await, [r#"["n",3]"#]);
    let refused = ["publish_full", "publish_too_large", "publish_closed", "published"].map(|name| one.count(name));
    assert_eq!((refused, two.count("holes")), ([1; 4], 3));
}

#[tokio::test(start_paused = true)]
async fn rooms_that_no_envelope_holds_stay_here_and_are_counted() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let (here, there) = (one.client("/").await, two.client("/").await);
    let long = "r".repeat(300_000);
    one.io.except([long.as_str(), "other"]).emit("e", &()).unwrap();
    let many: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
    one.io.except(many).emit("e", &()).unwrap();
    assert_eq!(here.events().await.len(), 2);
    assert_eq!(there.events().await, [""; 0]);
    heartbeats(2).await;
    assert_eq!((one.count("publish_too_large"), two.count("holes")), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_backend_is_counted_exactly_and_local_delivery_goes_on() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let (here, there) = (one.client("/").await, two.client("/").await);
    for n in 0..300_u32 {
        match n {
            100 => bus.set_connected(false),
            200 => bus.set_connected(true),
            _ => {}
        }
        one.io.emit("n", &n).unwrap();
        assert_eq!(here.events().await, [format!(r#"["n",{n}]"#)], "at once, whatever the backend does");
        tokio::time::sleep(Duration::from_millis(50)).await;
        if n == 199 {
            let health = one.cluster.health();
            assert!(health.degraded && !health.connected && health.deaf_since.is_some());
        }
    }
    heartbeats(2).await;
    let arrived = there.events().await.len() as u64;
    assert_eq!((arrived, two.count("holes")), (200, 100));
    assert_eq!((two.count("disconnects"), two.count("gaps"), two.count("removed")), (1, 1, 0));
    let health = two.cluster.health();
    assert_eq!((health.degraded, health.deaf_since, health.peers), (false, None, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_a_node_came_is_no_hole() {
    let bus = MemoryBus::new();
    let one = Node::start(&bus, Config::default()).await;
    for n in 0..10 {
        one.io.emit("n", &n).unwrap();
    }
    let two = Node::start(&bus, Config::default()).await;
    let client = two.client("/").await;
    assert_eq!(two.count("holes"), 0);
    one.adapter.commands(|| Fate::Lost);
    one.io.emit("n", &10).unwrap();
    one.adapter.commands(|| Fate::Sent);
    one.io.emit("n", &11).unwrap();
    assert_eq!(client.events().await, [r#"["n",11]"#]);
    assert_eq!(two.count("holes"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_first_message_of_a_namespace_is_missed_when_it_is_lost() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let (_, _) = (one.io.of("/late"), two.io.of("/late"));
    heartbeats(2).await;
    one.adapter.commands(|| Fate::Lost);
    one.io.of("/late").emit("e", &()).unwrap();
    heartbeats(2).await;
    assert_eq!(two.count("holes"), 1, "the heartbeats had said that nothing was sent there");
}

#[tokio::test(start_paused = true)]
async fn more_topics_than_one_heartbeat_reports_take_turns() {
    const NAMESPACES: u64 = 2500;
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    for n in 0..NAMESPACES {
        let (_, _) = (one.io.of(&format!("/{n}")), two.io.of(&format!("/{n}")));
    }
    heartbeats(2).await;
    one.adapter.commands(|| Fate::Lost);
    for n in 0..NAMESPACES {
        one.io.of(&format!("/{n}")).emit("e", &()).unwrap();
    }
    heartbeats(4).await;
    assert_eq!(two.count("holes"), NAMESPACES);
}

#[tokio::test(start_paused = true)]
async fn a_lost_heartbeat_is_no_lost_command() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    one.adapter.all(|_| Fate::Lost);
    heartbeats(2).await;
    one.adapter.all(|_| Fate::Sent);
    heartbeats(2).await;
    assert_eq!((two.count("heartbeats_missed"), two.count("holes")), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn the_tail_of_a_node_that_says_goodbye_is_counted() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    one.adapter.commands(|| Fate::Lost);
    one.io.emit("e", &()).unwrap();
    one.cluster.close(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!((two.count("holes"), two.count("left")), (1, 1));
}

/// Guards the lock around drawing a number and offering its envelope: without it a heartbeat could report what is not published yet,
/// or a later number overtake an earlier one, and what then arrives would be dropped as a repeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_that_emit_while_heartbeats_flow_make_no_holes() {
    const THREADS: u64 = 4;
    const EACH: u64 = 2000;
    let config = Config {
        heartbeat: Duration::from_millis(2),
        ..Config::default()
    };
    let bus = MemoryBus::new();
    let start = || Node::start_now(&bus, config.clone(), NodeTag::random());
    let (one, two) = (start(), start());
    until(|| one.count("joined") + two.count("joined") == 2).await;
    let client = two.client("/").await;
    let emitters = (0..THREADS).map(|thread| {
        let io = one.io.clone();
        std::thread::spawn(move || (0..EACH).for_each(|n| io.emit("n", &(thread, n)).unwrap()))
    });
    let emitters: Vec<_> = emitters.collect();
    until(|| two.count("applied") == THREADS * EACH && emitters.iter().all(std::thread::JoinHandle::is_finished)).await;
    assert_eq!(
        (two.count("holes"), two.count("repeats"), two.count("heartbeats_missed")),
        (0, 0, 0)
    );
    assert_eq!(client.events().await.len() as u64, THREADS * EACH);
    assert!(one.count("heartbeats") > 10);
}

/// A node that was held for gone says nothing more under its old epoch; so who was away then must learn from the new one what it missed.
#[tokio::test(start_paused = true)]
async fn who_was_away_while_another_came_back_under_a_new_epoch_counts_what_it_missed_of_both() {
    let bus = MemoryBus::new();
    let (one, two, three) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let client = three.client("/").await;
    one.io.emit("n", &0).unwrap();
    assert_eq!(client.events().await.len(), 1);
    for node in [&one, &three] {
        node.adapter.inner.set_connected(false);
    }
    one.io.emit("n", &1).unwrap();
    heartbeats(12).await;
    one.adapter.inner.set_connected(true);
    one.io.emit("n", &2).unwrap();
    heartbeats(3).await;
    assert_eq!(one.count("renewals"), 1);
    one.io.emit("n", &3).unwrap();
    heartbeats(1).await;
    three.adapter.inner.set_connected(true);
    one.io.emit("n", &4).unwrap();
    assert_eq!(client.events().await, [r#"["n",4]"#]);
    heartbeats(3).await;
    assert_eq!((two.count("holes"), three.count("holes"), one.count("holes")), (1, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_later_events_on_another_topic_is_dropped_and_counted() {
    let bus = MemoryBus::new();
    let (one, two) = (
        Node::start(&bus, Config::default()).await,
        Node::start(&bus, Config::default()).await,
    );
    let (_here, there) = (one.client("/").await, two.client("/").await);
    two.io.local().sockets_join(["a", "b"]).await;
    heartbeats(2).await;
    let mut fates = [Fate::Sent, Fate::Late, Fate::Sent].into_iter();
    one.adapter.commands(move || fates.next().unwrap_or(Fate::Sent));
    for (number, room) in ["a", "b", "a", "b"].into_iter().enumerate() {
        one.io.to(room).emit("n", &number).unwrap();
    }
    assert_eq!(there.events().await, [r#"["n",0]"#, r#"["n",2]"#, r#"["n",3]"#]);
    heartbeats(2).await;
    assert_eq!((two.count("holes"), two.count("copies"), two.count("repeats")), (1, 0, 0));
}
