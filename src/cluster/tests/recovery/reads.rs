//! How often the log is read for clients that come back.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use bytes::Bytes;
use fanfare_adapters::{Appending, Bound, Ending, Following, LogCounters, Reading, Topic};

use super::*;

/// How long a read takes.
const LATENCY: Duration = Duration::from_millis(5);

/// The log of a memory bus, whose reads take their time and are counted.
#[derive(Debug)]
struct Counted {
    inner: Arc<MemoryStore>,
    reads: AtomicU64,
    /// How many are under way, and the most that ever were.
    now: Arc<AtomicU64>,
    most: AtomicU64,
}

impl Log for Counted {
    fn append(&self, log: &Topic, origin: &str, sequence: u64, entry: Bytes) -> Appending {
        self.inner.append(log, origin, sequence, entry)
    }

    fn read(&self, log: &Topic, after: u64, bound: Bound) -> Reading {
        self.reads.fetch_add(1, Relaxed);
        self.most.fetch_max(self.now.fetch_add(1, Relaxed) + 1, Relaxed);
        let (reading, now) = (self.inner.read(log, after, bound), self.now.clone());
        Box::pin(async move {
            tokio::time::sleep(LATENCY).await;
            now.fetch_sub(1, Relaxed);
            reading.await
        })
    }

    fn end(&self, log: &Topic) -> Ending {
        self.inner.end(log)
    }

    fn follow(&self, log: &Topic) -> Following {
        self.inner.follow(log)
    }

    fn counters(&self) -> LogCounters {
        Log::counters(&*self.inner)
    }
}

fn start(tail_entries: usize) -> (Node, Arc<Counted>) {
    let mut log = None;
    let config = Config {
        tail_entries,
        ..Config::default()
    };
    let node = Node::start_over(&MemoryBus::new(), Recovery::default(), config, hub::Config::default(), |inner| {
        let counted = Counted {
            inner,
            reads: AtomicU64::new(0),
            now: Arc::default(),
            most: AtomicU64::new(0),
        };
        log.insert(Arc::new(counted)).clone()
    });
    (node, log.unwrap())
}

/// All come back at the same time; each has seen the events up to the number beside it, and there are `last`.
async fn all_come_back(node: &Node, clients: &mut [(Client, u64)], last: u64) {
    for (client, _) in &mut *clients {
        client.open(node, Revision::V4);
        let pid = client.pid.as_deref().unwrap();
        let auth = match &client.offset {
            Some(offset) => serde_json::json!({ "pid": pid, "offset": offset }),
            None => serde_json::json!({ "pid": pid }),
        };
        client.send(&format!("0{auth}"));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (client, seen) in clients {
        client.read();
        assert!(client.recovered);
        assert_eq!(client.saw(), said("n", *seen + 1..=last));
    }
}

/// Clients that were cut after events whose numbers `cut_after` gives; `last` events in all, and as many for others behind each.
async fn cut_off(node: &Node, cut_after: impl IntoIterator<Item = u64>, last: u64) -> Vec<(Client, u64)> {
    let mut clients = Vec::new();
    for seen in cut_after {
        clients.push((Client::joined(node).await, seen));
    }
    written().await;
    for number in 0..=last {
        if number > 0 {
            node.io.emit("n", &number).unwrap();
            node.io.to("nobody").emit("other", &"x".repeat(5000)).unwrap();
        }
        for (client, _) in clients.iter_mut().filter(|(_, seen)| *seen == number) {
            client.read();
            assert_eq!(client.saw(), said("n", 1..=number));
            client.cut();
        }
    }
    written().await;
    clients
}

#[tokio::test(start_paused = true)]
async fn a_thousand_recent_sessions_come_back_without_a_read_of_the_log() {
    let (node, log) = start(4096);
    let mut clients = cut_off(&node, (0..1000).map(|number| number % 50), 50).await;
    all_come_back(&node, &mut clients, 50).await;
    assert_eq!(log.reads.load(Relaxed), 0);
    assert_eq!(node.cluster.counters().replay_reads.get(), 0);
    assert!(
        node.cluster.counters().replay_recent.get() >= 2000,
        "what is looked through, and what is sent"
    );
}

#[tokio::test(start_paused = true)]
async fn a_thousand_older_sessions_share_few_reads_one_at_a_time() {
    // The log has some 12 of these pairs in a page.
    let (node, log) = start(20);
    let mut clients = cut_off(&node, std::iter::repeat_n(0, 1000), 60).await;
    all_come_back(&node, &mut clients, 60).await;
    let reads = log.reads.load(Relaxed);
    assert!(
        (8..=12).contains(&reads),
        "twice through five pages, the last of which is in memory: {reads} reads"
    );
    assert_eq!((log.most.load(Relaxed), node.cluster.counters().replay_reads.get()), (1, reads));
}

#[tokio::test(start_paused = true)]
async fn older_sessions_from_many_positions_share_reads_too() {
    let (node, log) = start(20);
    let mut clients = cut_off(&node, (0..1000).map(|number| number * 37 % 58), 60).await;
    all_come_back(&node, &mut clients, 60).await;
    let reads = log.reads.load(Relaxed);
    assert!(reads <= 20, "{reads} reads");
    assert_eq!(log.most.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_read_while_the_log_goes_away_is_told() {
    let (node, log) = start(1);
    let mut clients = cut_off(&node, [0, 5, 9], 10).await;
    for (client, _) in &mut clients {
        client.open(&node, Revision::V4);
        client.send(&format!(r#"0{{"pid":"{}"}}"#, client.pid.as_deref().unwrap()));
    }
    tokio::time::sleep(LATENCY / 2).await;
    assert_eq!(log.now.load(Relaxed), 1);
    node.store.set_connected(false);
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (client, _) in &mut clients {
        client.read();
        assert!(client.connected, "with a new session, or with none");
    }
    assert!(log.reads.load(Relaxed) <= 6);
}
