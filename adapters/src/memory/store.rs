//! Logs and records of a memory bus, as one node has them.

use std::{
    collections::{BTreeMap, hash_map::RandomState},
    fmt,
    future::ready,
    hash::BuildHasher,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    book::{Book, Retention},
    lock,
    shelf::{Shelf, expiry},
};
use crate::{
    AppendError, Appended, Appending, Away, Bound, DEFAULT_INBOX_BYTES, Deleting, Ending, Entry, Fed, Following, Getting, Log, LogCounters,
    PutError, Putting, ReadError, Reading, RecordCounters, Records, Topic,
    follower::{self, Feed},
};

/// So many logs are never looked through for those that nobody needs.
const FEW: usize = 64;

/// What the logs and records of a [`MemoryBus`](super::MemoryBus) may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreConfig {
    /// Bytes of each log; above it the oldest entries are trimmed. Default 64 MiB.
    pub log_bytes: usize,
    /// How long an entry is kept. Default 5 minutes.
    pub log_age: Duration,
    /// Bytes that may wait in each follower of a log; above it the follower has a gap. Default 64 MiB.
    pub follower_bytes: usize,
    /// Bytes of all records together; above it there is no room. Default 64 MiB.
    pub record_bytes: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            log_bytes: 64 << 20,
            log_age: Duration::from_secs(300),
            follower_bytes: DEFAULT_INBOX_BYTES,
            record_bytes: 64 << 20,
        }
    }
}

/// Logs and records of a [`MemoryBus`](super::MemoryBus), which all stores of the bus share.
///
/// What is asked is done when the call returns, and the future is ready: an entry is with every follower then. A store can be cut off,
/// alone or with the whole bus, to rehearse an outage: it answers `Away`, and its followers hear nothing, then of a gap.
pub struct MemoryStore {
    shelves: Arc<Shelves>,
    node: Arc<Node>,
}

/// What all stores of a bus share.
#[derive(Default)]
pub(super) struct Shelves {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    config: StoreConfig,
    logs: BTreeMap<Topic, Shelved>,
    /// With so many logs it is looked for those that nobody needs.
    crowded: usize,
    records: Shelf,
    nodes: Vec<Weak<Node>>,
}

/// A log with those who follow it.
struct Shelved {
    book: Book,
    feeds: Vec<(Weak<Node>, Feed)>,
}

/// One node's connection.
struct Node {
    line: Mutex<Line>,
}

#[derive(Default)]
struct Line {
    away: bool,
    appended: u64,
}

impl Shelves {
    pub(super) fn new(config: StoreConfig) -> Self {
        Self {
            state: Mutex::new(State {
                config,
                ..State::default()
            }),
        }
    }

    pub(super) fn store(self: &Arc<Self>) -> MemoryStore {
        let node = Arc::new(Node { line: Mutex::default() });
        let mut state = lock(&self.state);
        state.nodes.retain(|node| node.strong_count() > 0);
        state.nodes.push(Arc::downgrade(&node));
        drop(state);
        MemoryStore {
            shelves: Arc::clone(self),
            node,
        }
    }

    pub(super) fn set_connected(&self, connected: bool) {
        let mut state = lock(&self.state);
        for node in state.nodes.clone().iter().filter_map(Weak::upgrade) {
            state.set_connected(&node, connected);
        }
    }

    /// Every log loses what it holds and begins a new epoch.
    pub(super) fn lose_logs(&self) {
        for shelved in lock(&self.state).logs.values_mut() {
            shelved.book = Book::new(epoch());
            let begun = Fed::Epoch(shelved.book.end());
            shelved.feeds.retain(|(_, feed)| feed.push(begun.clone()));
        }
    }
}

impl State {
    fn set_connected(&mut self, node: &Arc<Node>, connected: bool) {
        let mut line = lock(&node.line);
        if line.away != connected {
            return;
        }
        line.away = !connected;
        if connected {
            for shelved in self.logs.values() {
                for (_, feed) in shelved.feeds.iter().filter(|(of, _)| std::ptr::eq(of.as_ptr(), Arc::as_ptr(node))) {
                    feed.push(Fed::Gap);
                }
            }
        }
    }

    /// The log, made if there is none; what is too old is trimmed.
    fn log(&mut self, log: &Topic, now: Instant) -> &mut Shelved {
        let retention = self.retention();
        let shelved = self.logs.entry(log.clone()).or_insert_with(|| Shelved {
            book: Book::new(epoch()),
            feeds: Vec::new(),
        });
        shelved.book.trim(retention, now);
        shelved
    }

    /// Forgets the logs that nobody follows and that have forgotten everything themselves; now and then, when there are many.
    fn tidy(&mut self, now: Instant) {
        if self.logs.len() < self.crowded.max(FEW) {
            return;
        }
        let retention = self.retention();
        self.logs.retain(|_, Shelved { book, feeds }| {
            feeds.retain(|(_, feed)| feed.is_followed());
            book.trim(retention, now);
            !feeds.is_empty() || !book.is_forgotten()
        });
        self.crowded = 2 * self.logs.len();
    }

    const fn retention(&self) -> Retention {
        Retention {
            bytes: self.config.log_bytes,
            age: self.config.log_age,
        }
    }
}

impl MemoryStore {
    /// Cuts this node off the store, or brings it back.
    pub fn set_connected(&self, connected: bool) {
        lock(&self.shelves.state).set_connected(&self.node, connected);
    }

    /// Does something while the store is not cut off.
    fn reach<T>(&self, act: impl FnOnce(&mut State, Instant) -> T) -> Result<T, Away> {
        let mut state = lock(&self.shelves.state);
        if lock(&self.node.line).away {
            return Err(Away);
        }
        Ok(act(&mut state, Instant::now()))
    }
}

impl Log for MemoryStore {
    fn append(&self, log: &Topic, origin: &str, sequence: u64, entry: Bytes) -> Appending {
        let appended = self.reach(|state, now| {
            let retention = state.retention();
            let shelved = state.log(log, now);
            let appended = shelved.book.append(origin, sequence, entry.clone(), now)?;
            if let Appended::At(position) = appended {
                shelved.book.trim(retention, now);
                shelved.feeds.retain(|(node, feed)| {
                    let away = node.upgrade().is_none_or(|node| lock(&node.line).away);
                    let entry = entry.clone();
                    away || feed.push(Fed::Entry(Entry { position, entry }))
                });
                lock(&self.node.line).appended += 1;
            }
            Ok(appended)
        });
        Box::pin(ready(appended.unwrap_or(Err(AppendError::Away))))
    }

    fn read(&self, log: &Topic, after: u64, bound: Bound) -> Reading {
        let read = self.reach(|state, now| state.log(log, now).book.read(after, bound));
        Box::pin(ready(read.unwrap_or(Err(ReadError::Away))))
    }

    fn end(&self, log: &Topic) -> Ending {
        Box::pin(ready(self.reach(|state, now| state.log(log, now).book.end())))
    }

    fn follow(&self, log: &Topic) -> Following {
        let followed = self.reach(|state, now| {
            state.tidy(now);
            let (feed, follower) = follower::channel(state.config.follower_bytes);
            let shelved = state.log(log, now);
            shelved.feeds.push((Arc::downgrade(&self.node), feed));
            (follower, shelved.book.end())
        });
        Box::pin(ready(followed))
    }

    fn counters(&self) -> LogCounters {
        let now = Instant::now();
        let mut state = lock(&self.shelves.state);
        let retention = state.retention();
        let mut counters = LogCounters {
            appended: lock(&self.node.line).appended,
            ..LogCounters::default()
        };
        for Shelved { book, .. } in state.logs.values_mut() {
            book.trim(retention, now);
            counters.entries += book.entries() as u64;
            counters.bytes += book.bytes() as u64;
            counters.trimmed += book.trimmed();
        }
        counters
    }
}

impl Records for MemoryStore {
    fn get(&self, key: &Topic) -> Getting {
        Box::pin(ready(self.reach(|state, now| {
            state.records.expire(now);
            state.records.get(key)
        })))
    }

    fn put(&self, key: &Topic, value: Bytes, revision: Option<u64>, expires_in: Duration) -> Putting {
        let put = self.reach(|state, now| {
            let limit = state.config.record_bytes;
            state.records.expire(now);
            state.records.put(key, value, revision, expiry(now, expires_in), limit)
        });
        Box::pin(ready(put.unwrap_or(Err(PutError::Away))))
    }

    fn delete(&self, key: &Topic, revision: u64) -> Deleting {
        Box::pin(ready(self.reach(|state, now| {
            state.records.expire(now);
            state.records.delete(key, revision)
        })))
    }

    fn counters(&self) -> RecordCounters {
        let mut state = lock(&self.shelves.state);
        state.records.expire(Instant::now());
        RecordCounters {
            records: state.records.records() as u64,
            bytes: state.records.bytes() as u64,
        }
    }
}

impl Drop for MemoryStore {
    /// Its followers end.
    fn drop(&mut self) {
        for shelved in lock(&self.shelves.state).logs.values_mut() {
            shelved.feeds.retain(|(node, feed)| {
                let own = std::ptr::eq(node.as_ptr(), Arc::as_ptr(&self.node));
                if own {
                    feed.close();
                }
                !own
            });
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("log", &Log::counters(self))
            .field("records", &Records::counters(self))
            .finish()
    }
}

/// A number that no other epoch has, as far as chance goes: the standard library's own source of randomness for hash tables.
fn epoch() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryBus;

    #[tokio::test(start_paused = true)]
    async fn logs_that_nobody_follows_are_forgotten_with_their_entries() {
        let store = MemoryBus::new().store();
        let topic = |number: usize| Topic::new(&format!("log.{number}")).unwrap();
        let (kept, place) = store.follow(&topic(0)).await.unwrap();
        for number in 1..2000 {
            drop(store.follow(&topic(number)).await.unwrap());
            store.append(&topic(number), "me", 1, Bytes::from_static(b"x")).await.unwrap();
        }
        let logs = || lock(&store.shelves.state).logs.len();
        assert_eq!(logs(), 2000, "they can still be read");
        tokio::time::sleep(StoreConfig::default().log_age + Duration::from_secs(1)).await;
        for number in 2000..4100 {
            drop(store.follow(&topic(number)).await.unwrap());
        }
        assert!(logs() <= 200, "{} logs", logs());
        assert_eq!(store.end(&topic(0)).await.unwrap(), place, "one that is followed stays as it is");
        drop(kept);
    }
}
