//! What an outage costs, and how it ends.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fanfare_adapters::{Adapter, Delivery, GapCause, PublishError};
use tokio::time::{Instant, sleep, timeout};

use crate::world::{Kind, Node, World, eventually, topic};

/// Remote deliveries resume within this time of the port's answering.
const RESUME: Duration = Duration::from_secs(5);

/// Publishes numbered messages for ever, whatever the backend does.
struct Load {
    stop: Arc<AtomicBool>,
    /// Messages that `publish` has taken; their numbers are `0..taken`.
    taken: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<Duration>,
}

impl Load {
    fn start(adapter: Arc<dyn Adapter>) -> Self {
        let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (stop.clone(), taken.clone());
        let task = tokio::spawn(async move {
            let topics = ["g:one", "g:two", "g:three"].map(topic);
            let mut slowest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let number = counter.load(Ordering::Relaxed);
                let payload = Bytes::from([&number.to_be_bytes()[..], &[0; 100]].concat());
                let since = Instant::now();
                let result = adapter.publish(&topics[(number % 3) as usize], payload);
                slowest = slowest.max(since.elapsed());
                match result {
                    Ok(()) => drop(counter.fetch_add(1, Ordering::Relaxed)),
                    Err(refused) => assert_eq!(refused, PublishError::Full),
                }
                sleep(Duration::from_millis(1)).await;
            }
            slowest
        });
        Self { stop, taken, task }
    }

    fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Stops, and answers how long the slowest `publish` took.
    async fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the load does not panic")
    }
}

/// The number of the next message; signals are put into `signals`.
async fn number(node: &mut Node, signals: &mut Vec<Delivery>) -> u64 {
    loop {
        match node.next().await {
            Delivery::Message { payload, .. } => return u64::from_be_bytes(payload[..8].try_into().expect("eight bytes")),
            signal => signals.push(signal),
        }
    }
}

pub async fn a_backend_that_dies_under_load_and_comes_back(kind: Kind) {
    let mut world = World::new(kind).await;
    let (sender, mut receiver) = (world.node().await, world.node().await);
    for name in ["g:one", "g:two", "g:three"] {
        receiver.subscribe(topic(name)).await;
    }
    let load = Load::start(sender.adapter.clone());
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

    let taken = load.taken.clone();
    let slowest = load.stop().await;
    assert!(slowest < Duration::from_millis(500), "publish took {slowest:?}");
    let taken = taken.load(Ordering::Relaxed);
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
