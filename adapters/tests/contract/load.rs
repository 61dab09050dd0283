//! Numbered messages without end, and a receiver that keeps account of them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use fanfare_adapters::{Adapter, Counters, Delivery, PublishError, Topic};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::world::{Node, topic, within};

/// The topics of a load, each in its turn.
pub fn topics(group: &str) -> [Topic; 3] {
    ["one", "two", "three"].map(|name| topic(&format!("{group}:{name}")))
}

/// Publishes numbered messages for ever, whatever the backend does.
pub struct Load {
    stop: Arc<AtomicBool>,
    /// Messages that `publish` has taken; their numbers are `0..taken`.
    taken: Arc<AtomicU64>,
    task: JoinHandle<Run>,
}

/// What a load has done.
pub struct Run {
    /// How long the slowest `publish` took.
    pub slowest: Duration,
    /// When each message was taken, by its number.
    pub taken: Vec<Instant>,
    /// How many were refused as too many.
    pub refused: u64,
}

impl Load {
    /// A message of 108 bytes each millisecond, to the topics of this group.
    pub fn start(adapter: Arc<dyn Adapter>, group: &str) -> Self {
        Self::of(adapter, group, 108, Duration::from_millis(1))
    }

    /// The same of so many bytes, at least eight, each `pause`.
    pub fn of(adapter: Arc<dyn Adapter>, group: &str, bytes: usize, pause: Duration) -> Self {
        let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counter) = (stop.clone(), taken.clone());
        let topics = topics(group);
        let task = tokio::spawn(async move {
            let mut run = Run {
                slowest: Duration::ZERO,
                taken: Vec::new(),
                refused: 0,
            };
            while !stopped.load(Ordering::Relaxed) {
                let number = counter.load(Ordering::Relaxed);
                let mut payload = vec![0; bytes];
                payload[..8].copy_from_slice(&number.to_be_bytes());
                let since = Instant::now();
                let result = adapter.publish(&topics[(number % 3) as usize], payload.into());
                run.slowest = run.slowest.max(since.elapsed());
                match result {
                    Ok(()) => {
                        run.taken.push(since);
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(refused) => {
                        assert_eq!(refused, PublishError::Full);
                        run.refused += 1;
                    }
                }
                sleep(pause).await;
            }
            run
        });
        Self { stop, taken, task }
    }

    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    pub async fn stop(self) -> Run {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the load does not panic")
    }
}

/// The number of a load's message.
pub fn number(payload: &Bytes) -> u64 {
    u64::from_be_bytes(payload[..8].try_into().expect("eight bytes"))
}

/// Reads a node's inbox for ever. A number that comes twice ends it.
pub struct Account {
    /// Ends with this.
    adapter: Arc<dyn Adapter>,
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

/// What a node was delivered.
#[derive(Debug, Default, Clone)]
pub struct Heard {
    pub numbers: BTreeSet<u64>,
    /// Those that came after a higher one.
    pub late: Vec<u64>,
    pub signals: Vec<Delivery>,
}

impl Account {
    /// Subscribes the load's topics and begins.
    pub async fn open(node: Node, group: &str) -> Self {
        let Node { adapter, mut inbox } = node;
        for topic in topics(group) {
            within("a subscription is confirmed", adapter.subscribe(topic))
                .await
                .expect("confirmed");
        }
        let heard = Arc::<Mutex<Heard>>::default();
        let known = heard.clone();
        let task = tokio::spawn(async move {
            while let Some(delivery) = inbox.next().await {
                let mut known = lock(&known);
                match delivery {
                    Delivery::Message { payload, .. } => {
                        let number = number(&payload);
                        let highest = known.numbers.last().copied();
                        if highest.is_some_and(|highest| number < highest) {
                            known.late.push(number);
                        }
                        assert!(known.numbers.insert(number), "{number} came twice");
                    }
                    signal => known.signals.push(signal),
                }
            }
        });
        Self { adapter, heard, task }
    }

    /// What was heard so far.
    pub fn heard(&self) -> Heard {
        assert!(!self.task.is_finished(), "the account was closed: see above");
        lock(&self.heard).clone()
    }

    /// The adapter's account of itself.
    pub fn counters(&self) -> Counters {
        self.adapter.counters()
    }

    /// The highest number so far.
    pub fn highest(&self) -> Option<u64> {
        assert!(!self.task.is_finished(), "the account was closed: see above");
        lock(&self.heard).numbers.last().copied()
    }

    pub fn signals(&self) -> Vec<Delivery> {
        self.heard().signals
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}
