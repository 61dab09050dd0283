//! What an outage costs, and how it ends.

use std::{collections::BTreeSet, time::Duration};

use fanfare_adapters::{Delivery, GapCause};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    load::{self, Load},
    world::{Kind, Node, World, eventually, topic},
};

/// Remote deliveries resume within this time of the port's answering.
const RESUME: Duration = Duration::from_secs(5);

/// A `publish` never takes longer: it waits for nobody, but a busy machine may let it wait for its turn.
pub const PROMPT: Duration = Duration::from_millis(500);

/// The number of the next message; signals are put into `signals`.
async fn number(node: &mut Node, signals: &mut Vec<Delivery>) -> u64 {
    loop {
        match node.next().await {
            Delivery::Message { payload, .. } => return load::number(&payload),
            signal => signals.push(signal),
        }
    }
}

pub async fn a_backend_that_dies_under_load_and_comes_back(kind: Kind) {
    let mut world = World::new(kind).await;
    let (sender, mut receiver) = (world.node().await, world.node().await);
    for topic in load::topics("g") {
        receiver.subscribe(topic).await;
    }
    let load = Load::start(sender.adapter.clone(), "g");
    let mut signals = Vec::new();
    let mut heard = BTreeSet::new();
    let mut last = None;
    let mut hear = |number| {
        assert!(last.is_none_or(|last| number > last), "{number} after {last:?}");
        last = Some(number);
        heard.insert(number);
    };
    for _ in 0..300 {
        hear(number(&mut receiver, &mut signals).await);
    }
    assert_eq!(signals, []);

    let before = load.taken();
    world.kill().await;
    // Longer than a message may wait, so that some must be dropped.
    sleep(Duration::from_secs(2)).await;
    eventually("the sender notices", || sender.adapter.counters().connected, |connected| !connected).await;
    world.revive().await;
    let answering = Instant::now();

    // The receiver's story, while the load goes on: away, then a gap and back.
    let mut resumed = None;
    while resumed.is_none_or(|number| number + 100 > load.taken()) || !sender.adapter.counters().connected {
        let number = number(&mut receiver, &mut signals).await;
        hear(number);
        if resumed.is_none() && signals.last() == Some(&Delivery::Connected) {
            assert!(answering.elapsed() < RESUME, "resumed after {:?}", answering.elapsed());
            resumed = Some(load.taken());
        }
    }
    assert_eq!(
        signals,
        [Delivery::Disconnected, Delivery::Gap(GapCause::Reconnected), Delivery::Connected]
    );
    let after = eventually(
        "both ends are back",
        || load.taken(),
        |taken| resumed.is_some_and(|resumed| *taken > resumed + 500),
    )
    .await;

    let run = load.stop().await;
    assert!(run.slowest < PROMPT, "publish took {:?}", run.slowest);
    let taken = run.taken.len() as u64;
    while heard.last() != Some(&(taken - 1)) {
        let number = number(&mut receiver, &mut signals).await;
        heard.insert(number);
    }
    assert_eq!(signals.len(), 3, "{signals:?}");

    // Nothing is lost without a trace: each message was sent or counted as dropped, and what is missing is of the outage.
    let counters = eventually(
        "all is accounted for",
        || sender.adapter.counters(),
        |counters| counters.published + counters.dropped == taken,
    )
    .await;
    assert!(counters.dropped > 0);
    assert_eq!(counters.connects, 2);
    let missing: Vec<_> = (0..taken).filter(|number| !heard.contains(number)).collect();
    assert!(
        missing.len() as u64 + 200 >= counters.dropped,
        "{} missing, {counters:?}",
        missing.len()
    );
    assert!(
        missing.iter().all(|number| *number + 200 > before && *number < after),
        "before {before}, after {after}: {missing:?}"
    );
}

pub async fn a_frozen_backend_is_noticed(kind: Kind) {
    let world = World::new(kind).await;
    let mut node = world.node().await;
    node.subscribe(topic("a")).await;
    world.server().freeze().await;
    let frozen = Instant::now();
    assert_eq!(node.next().await, Delivery::Disconnected);
    assert!(frozen.elapsed() < Duration::from_secs(15), "noticed after {:?}", frozen.elapsed());
    assert!(node.adapter.fault().is_some());
    world.server().thaw().await;
    assert_eq!(node.next().await, Delivery::Gap(GapCause::Reconnected));
    assert_eq!(node.next().await, Delivery::Connected);
    node.publish("a", "again");
    assert_eq!(node.message().await.1, "again");
}

pub async fn every_outage_ends_however_many_there_are(kind: Kind) {
    let mut world = World::new(kind).await;
    let mut node = world.node().await;
    node.subscribe(topic("g:a")).await;
    for round in 0..4 {
        world.kill().await;
        assert_eq!(node.next().await, Delivery::Disconnected);
        // A wish of the outage is carried out when it ends.
        let during = format!("g:during.r{round}");
        let confirmed = node.adapter.subscribe(topic(&during));
        world.revive().await;
        let back = timeout(RESUME, async {
            assert_eq!(node.next().await, Delivery::Gap(GapCause::Reconnected));
            assert_eq!(node.next().await, Delivery::Connected);
        });
        assert!(back.await.is_ok(), "not back within {RESUME:?} in round {round}");
        confirmed.await.expect("confirmed with the rest");
        node.publish("g:a", "old");
        node.publish(&during, "new");
        assert_eq!((node.message().await.1, node.message().await.1), ("old".into(), "new".into()));
    }
}
