//! One recoverable namespace: what is appended to its log, and held while the log does not take it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use fanfare_adapters::{AppendError, Topic};
use futures_util::{FutureExt, future::join_all};
use tokio::{sync::oneshot, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Journal, offset, reader::Reader, reads::Reads};
use crate::{
    cluster::{link::lock, receiver::now},
    hub::{
        Command, Delivered, NotDispatched,
        recovery::{Page, Unread},
    },
};

/// How many held entries are sent at once.
const WINDOW: usize = 64;

/// After how long it is tried again to append.
const RETRY: Duration = Duration::from_millis(100);

/// Resolves when an entry stands in the log; never if it will not.
pub(in crate::cluster) type Confirming = oneshot::Receiver<()>;

/// See the module. Lock order: `held`, then `reader`, `reads` alone; none while anything is awaited.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) namespace: Arc<str>,
    pub(super) topic: Topic,
    held: Mutex<Held>,
    /// Nothing until the log is followed.
    pub(super) reader: Mutex<Option<Reader>>,
    reads: Mutex<Reads>,
    /// Nobody follows the log here any more.
    pub(super) gone: CancellationToken,
}

/// Entries in the order in which they were emitted, from the first that is not confirmed.
#[derive(Debug)]
struct Held {
    /// Who numbers them.
    origin: String,
    /// The number of the next entry.
    next: u64,
    queue: VecDeque<HeldEntry>,
    /// Bytes in the queue, bounded by [`Config::hold_bytes`](crate::cluster::Config::hold_bytes).
    bytes: usize,
}

#[derive(Debug)]
struct HeldEntry {
    sequence: u64,
    entry: Bytes,
    since: Instant,
    confirm: Option<oneshot::Sender<()>>,
}

impl Book {
    pub(super) fn new(namespace: &Arc<str>, topic: Topic, origin: String) -> Self {
        Self {
            namespace: Arc::clone(namespace),
            topic,
            held: Mutex::new(Held {
                origin,
                next: 1,
                queue: VecDeque::new(),
                bytes: 0,
            }),
            reader: Mutex::default(),
            reads: Mutex::default(),
            gone: CancellationToken::new(),
        }
    }

    /// Appends an entry, or holds it behind those that are held already.
    pub(super) fn append(
        self: &Arc<Self>,
        journal: &Journal,
        command: &Command,
        confirm: bool,
    ) -> Result<Option<Confirming>, NotDispatched> {
        let counters = &journal.link.counters;
        let mut held = lock(&self.held);
        let late = held
            .queue
            .front()
            .is_some_and(|first| first.since + journal.config().hold_time <= now());
        let sequence = held.next;
        let entry = journal.encode(&self.topic, command, sequence);
        let entry = entry.inspect_err(|_| counters.append_too_large.increment())?;
        let bytes = held.bytes + entry.len();
        if late || (bytes > journal.config().hold_bytes && !held.queue.is_empty()) {
            counters.append_busy.increment();
            return Err(NotDispatched::Busy);
        }
        held.next += 1;
        let (sender, confirming) = if confirm {
            let (sender, confirming) = oneshot::channel();
            (Some(sender), Some(confirming))
        } else {
            (None, None)
        };
        if held.queue.is_empty() {
            // The lock is held over the call, so that entries are taken in the order of their numbers.
            let appending = journal.store.log.append(&self.topic, &held.origin, sequence, entry.clone());
            if let Some(Ok(_)) = appending.now_or_never() {
                drop(held);
                counters.appended.increment();
                if let Some(sender) = sender {
                    // Who does not wait for it any more need not know.
                    sender.send(()).ok();
                }
                return Ok(confirming);
            }
        }
        let start = held.queue.is_empty();
        held.bytes = bytes;
        held.queue.push_back(HeldEntry {
            sequence,
            entry,
            since: now(),
            confirm: sender,
        });
        drop(held);
        if start && let Some(own) = journal.me.upgrade() {
            journal.spawn(Arc::clone(self).send_held(own));
        }
        Ok(confirming)
    }

    pub(super) fn holds_nothing(&self) -> bool {
        lock(&self.held).queue.is_empty()
    }

    /// Delivers what has come back, at most so many entries; answers whether there is more.
    pub(super) fn drain(&self, journal: &Journal, entries: usize) -> bool {
        let mut told = Vec::new();
        let more = lock(&self.reader)
            .as_mut()
            .is_some_and(|reader| reader.drain(journal, self, entries, &mut told));
        told.into_iter().for_each(Delivered::tell);
        more
    }

    /// Tells the hub, if the log is followed already, how far its namespace has come.
    pub(super) fn remind(&self, journal: &Journal) {
        if let Some(reader) = lock(&self.reader).as_ref() {
            reader.remind(journal, self);
        }
    }

    /// A page of what was delivered here after a position, if all of it is still in memory.
    pub(super) fn recent(&self, after: u64) -> Option<Page> {
        lock(&self.reader).as_ref()?.recent(after)
    }

    /// Reads a page after a position, in one read with others who want what is in it.
    pub(super) fn read(self: &Arc<Self>, journal: &Journal, after: u64) -> oneshot::Receiver<Result<Page, Unread>> {
        let (told, start) = lock(&self.reads).ask(after);
        if start && let Some(own) = journal.me.upgrade() {
            journal.spawn(Arc::clone(self).serve_reads(own));
        }
        told
    }

    async fn serve_reads(self: Arc<Self>, journal: Arc<Journal>) {
        loop {
            let Some(after) = lock(&self.reads).next() else { return };
            journal.link.counters.replay_reads.increment();
            let page = journal.read_page(&self, after).await;
            let part = page.map(|page| {
                let entries = page.entries.iter().map(|entry| journal.logged(&self, entry));
                (entries.collect(), offset(page.end))
            });
            lock(&self.reads).answer(after, &part);
        }
    }

    /// Appends what is held, until nothing is.
    async fn send_held(self: Arc<Self>, journal: Arc<Journal>) {
        loop {
            let batch: Vec<_> = {
                let held = lock(&self.held);
                let first = held.queue.iter().take(WINDOW);
                first
                    .map(|entry| {
                        journal
                            .store
                            .log
                            .append(&self.topic, &held.origin, entry.sequence, entry.entry.clone())
                    })
                    .collect()
            };
            let outcomes = join_all(batch).await;
            let mut failed = None;
            for outcome in outcomes {
                match outcome {
                    Ok(_) => journal.link.counters.appended.increment(),
                    Err(AppendError::TooLarge { .. }) => journal.link.counters.append_too_large.increment(),
                    Err(error) => {
                        failed = Some(error);
                        break;
                    }
                }
                if lock(&self.held).confirmed(outcome.is_ok()) {
                    return;
                }
            }
            match failed {
                None => {}
                // The log has lost entries that it had confirmed, and will not take the next number of this origin: another begins.
                Some(AppendError::OutOfOrder { .. }) => lock(&self.held).origin = journal.new_origin(),
                Some(_) => sleep(RETRY).await,
            }
        }
    }
}

impl Held {
    /// The first entry stands in the log, or never will. Answers whether it was the last.
    fn confirmed(&mut self, stands: bool) -> bool {
        if let Some(first) = self.queue.pop_front() {
            self.bytes -= first.entry.len();
            if let Some(confirm) = first.confirm.filter(|_| stands) {
                confirm.send(()).ok();
            }
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        self.queue.is_empty()
    }
}
