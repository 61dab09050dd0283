//! The logs of this node's recoverable namespaces, and the records of their sessions: the hub's [`Journal`](crate::hub::recovery::Journal) over
//! the traits [`Log`] and [`Records`].
//!
//! | room | what it does |
//! |---|---|
//! | `book` | one namespace: what is appended, and held while the log is away |
//! | `reader` | one namespace: what comes back is delivered in the order of the log; what was left out is read |
//! | `tail` | the newest entries, from which clients that come back get what they missed without a read |
//! | `reads` | those who need older entries: one read at a time, for all whom it serves |
//!
//! A log is shared by all nodes, or private to this one. With a private log each node keeps its own order: an emit is appended here
//! and published to the others, which append it there; a client recovers on the node that it left.

mod book;
mod reader;
mod reads;
mod tail;

use std::{
    collections::HashMap,
    future::ready,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use fanfare_adapters::{
    Bound, Entry, Log, PutError, Reading, Records, Topic,
    memory::{MemoryBus, StoreConfig},
};
use futures_util::FutureExt;

use self::book::Book;
pub(super) use self::book::Confirming;
use super::{
    Config, Origin,
    keys::{Keys, Purpose},
    link::Link,
    tasks::Tasks,
    wire::{self, Address, Envelope, Kind},
};
use crate::hub::{
    Command, Hub, NotDispatched,
    recovery::{self, Away, Later, Logged, NotKept, Offset, Page, Pid, Record, Recovery, Unread},
};

/// The most that is read at once: of bytes far fewer than an outbox takes, or a burst would cut clients off for which nobody has had the
/// time to write.
const PAGE: Bound = Bound {
    entries: 1024,
    bytes: 64 << 10,
};

/// How much longer a log in memory keeps an entry than a session waits: the time from the last proof of what has arrived to the moment
/// when a connection is held for broken.
const LOG_SLACK: Duration = Duration::from_secs(120);

/// Where a node's logs and records are kept.
#[derive(Debug, Clone)]
pub struct Store {
    /// The logs.
    pub log: Arc<dyn Log>,
    /// The records.
    pub records: Arc<dyn Records>,
    /// Whether every node of the cluster has the same ones.
    pub shared: bool,
}

impl Store {
    /// A store in the memory of this node alone, that remembers for as long as sessions wait for their clients.
    #[must_use]
    pub fn of_this_node(recovery: &Recovery) -> Self {
        let config = StoreConfig {
            log_age: recovery.max_disconnection_duration + LOG_SLACK,
            ..StoreConfig::default()
        };
        let store = Arc::new(MemoryBus::with_store(config).store());
        Self {
            log: Arc::clone(&store) as _,
            records: store,
            shared: false,
        }
    }
}

/// See the module.
pub(super) struct Journal {
    me: Weak<Self>,
    hub: Arc<Hub>,
    link: Arc<Link>,
    store: Store,
    record_keys: Keys,
    books: RwLock<HashMap<Arc<str>, Arc<Book>>>,
    /// How many names for entries' origins were made.
    origins: AtomicU64,
    /// The cluster's.
    tasks: Tasks,
}

impl Journal {
    pub(super) fn new(hub: Arc<Hub>, link: Arc<Link>, store: Store, tasks: Tasks) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            hub,
            record_keys: Keys::new(&link.config.secrets, Purpose::Records),
            link,
            store,
            books: RwLock::default(),
            origins: AtomicU64::new(0),
            tasks,
        })
    }

    /// Appends an emit. It is with the sockets of this node when this returns, if the log answers at once; it is held while the log is
    /// away.
    pub(super) fn append(&self, command: &Command, confirm: bool) -> Result<Option<Confirming>, NotDispatched> {
        let Some(book) = self.book(&command.target().namespace) else {
            return Err(NotDispatched::Busy);
        };
        let confirming = book.append(self, command, confirm)?;
        book.drain(self, usize::MAX);
        Ok(confirming)
    }

    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// Whether other nodes have the same log.
    pub(super) const fn is_shared(&self) -> bool {
        self.store.shared
    }

    /// Opens the log of a namespace, if its delivery is recoverable.
    pub(super) fn namespace_created(&self, name: &Arc<str>) {
        if self.hub.is_recoverable(name)
            && let Some(book) = self.book(name)
        {
            // One of this name may have been here before.
            book.remind(self);
        }
    }

    /// A namespace is no more here: its log is followed no longer. Where something is held for it the book stays, so that nothing overtakes
    /// that if the namespace comes again.
    pub(super) fn namespace_removed(&self, name: &Arc<str>) {
        let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
        let idle = books.get(name).is_some_and(|book| book.holds_nothing());
        let removed = idle.then(|| books.remove(name)).flatten();
        drop(books);
        if let Some(book) = removed {
            book.gone.cancel();
        }
    }

    /// How many logs are followed.
    pub(super) fn logs(&self) -> usize {
        self.books.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Who numbers entries from 1 on: nobody who has done so before, or the log would take them for repeats.
    fn new_origin(&self) -> String {
        format!("{}.{}", self.link.origin(), self.origins.fetch_add(1, Relaxed))
    }

    /// The book of a namespace, opened when it is new; nothing once the journal is closed.
    fn book(&self, namespace: &Arc<str>) -> Option<Arc<Book>> {
        if let Some(book) = self.books.read().unwrap_or_else(PoisonError::into_inner).get(namespace) {
            return Some(Arc::clone(book));
        }
        let mut books = self.books.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(book) = books.get(namespace) {
            return Some(Arc::clone(book));
        }
        if self.tasks.are_cancelled() {
            return None;
        }
        let journal = self.me.upgrade()?;
        let book = Arc::new(Book::new(namespace, self.link.log_topic(namespace), self.new_origin()));
        books.insert(Arc::clone(namespace), Arc::clone(&book));
        drop(books);
        reader::open(&journal, &book);
        Some(book)
    }

    fn origin(&self) -> Origin {
        self.link.origin()
    }

    fn config(&self) -> &Config {
        &self.link.config
    }

    /// Starts a task that ends with the cluster.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Appends nothing more. Its tasks have ended.
    pub(super) fn close(&self) {
        let books = std::mem::take(&mut *self.books.write().unwrap_or_else(PoisonError::into_inner));
        drop(books);
    }

    /// What an entry says; nothing, and a count, where it cannot be read or believed.
    fn decode(&self, topic: &Topic, namespace: &Arc<str>, entry: &Bytes) -> Option<Command> {
        let decoded = Envelope::open(entry).and_then(|envelope| {
            if envelope.address.cluster != self.config().name {
                return Err(wire::WireError::Cluster);
            }
            envelope.verify(topic, &self.link.keys)?;
            wire::decode(&envelope, namespace)?.command(&envelope)
        });
        decoded
            .inspect_err(|error| {
                self.link.counters.log_malformed.increment();
                tracing::debug!(%error, "an entry of a log is passed over");
            })
            .ok()
    }

    /// The bytes of an entry.
    fn encode(&self, topic: &Topic, command: &Command, sequence: u64) -> Result<Bytes, NotDispatched> {
        let body = wire::encode(command, wire::FEATURES).map_err(|_| NotDispatched::TooLarge)?;
        let address = Address {
            cluster: &self.config().name,
            origin: self.origin(),
            namespace_sequence: sequence,
            topic_sequence: sequence,
            kind: Kind::Emit,
            flags: body.flags,
        };
        let pieces = wire::pieces(command);
        wire::seal(topic, &address, &body.part, pieces, &self.link.keys).map_err(|_| NotDispatched::TooLarge)
    }

    fn logged(&self, book: &Book, entry: &Entry) -> Arc<Logged> {
        Arc::new(Logged {
            position: entry.position,
            command: self.decode(&book.topic, &book.namespace, &entry.entry),
        })
    }

    /// A page of a log.
    fn read_page(&self, book: &Book, after: u64) -> Reading {
        self.store.log.read(&book.topic, after, PAGE)
    }
}

impl recovery::Journal for Journal {
    fn read(&self, namespace: &Arc<str>, after: u64) -> Later<Result<Page, Unread>> {
        let counters = &self.link.counters;
        let Some(book) = self.book(namespace) else {
            return Box::pin(ready(Err(Unread::Away)));
        };
        if let Some(page) = book.recent(after) {
            counters.replay_recent.increment();
            return Box::pin(ready(Ok(page)));
        }
        let reading = book.read(self, after);
        Box::pin(reading.map(|told| told.unwrap_or(Err(Unread::Away))))
    }

    fn end(&self, namespace: &Arc<str>) -> Later<Result<Offset, Away>> {
        let end = self.store.log.end(&self.link.log_topic(namespace));
        Box::pin(end.map(|end| end.map(offset).map_err(|_| Away)))
    }

    fn record(&self, namespace: &Arc<str>, pid: &Pid) -> Later<Result<Option<(Record, u64)>, Away>> {
        let key = self.link.session_topic(pid.reveal());
        let getting = self.store.records.get(&key);
        let (journal, namespace) = (Weak::clone(&self.me), Arc::clone(namespace));
        Box::pin(async move {
            let kept = getting.await.map_err(|_| Away)?;
            let journal = journal.upgrade().ok_or(Away)?;
            Ok(kept.and_then(|kept| {
                let record = wire::open_record(&key, &kept.value, &journal.record_keys);
                let record = record
                    .inspect_err(|error| tracing::warn!(%error, "a session's record cannot be read"))
                    .ok()?;
                (record.namespace == namespace).then_some((record, kept.revision))
            }))
        })
    }

    fn keep(&self, pid: &Pid, record: &Record, revision: Option<u64>, expires_in: Duration) -> Later<Result<u64, NotKept>> {
        let key = self.link.session_topic(pid.reveal());
        let Ok(value) = wire::seal_record(&key, record, &self.record_keys) else {
            return Box::pin(std::future::ready(Err(NotKept::Away)));
        };
        let putting = self.store.records.put(&key, value, revision, expires_in);
        Box::pin(putting.map(|put| {
            put.map_err(|error| match error {
                PutError::Conflict => NotKept::TakenOver,
                _ => NotKept::Away,
            })
        }))
    }

    fn forget(&self, _namespace: &Arc<str>, pid: &Pid, revision: u64) -> Later<Result<bool, Away>> {
        let deleting = self.store.records.delete(&self.link.session_topic(pid.reveal()), revision);
        Box::pin(deleting.map(|deleted| deleted.map_err(|_| Away)))
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("store", &self.store).finish_non_exhaustive()
    }
}

const fn offset(place: fanfare_adapters::Place) -> Offset {
    Offset {
        epoch: place.epoch,
        position: place.position,
    }
}
