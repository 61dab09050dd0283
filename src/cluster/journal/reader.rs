//! One recoverable namespace: what comes back from its log is delivered in order; what was left out is read first.

use std::{sync::Arc, time::Duration};

use fanfare_adapters::{Bound, Entry, Fed, Follower, Place, ReadError};
use futures_util::FutureExt;
use tokio::time::sleep;

use super::{Journal, PAGE, book::Book, offset, tail::Tail};
use crate::{
    cluster::link::lock,
    hub::{Delivered, recovery::Page},
};

/// After how long it is tried again to reach a log that is away.
const RETRY: Duration = Duration::from_millis(100);

/// Entries that are delivered before other tasks get their turn.
const BATCH: usize = 64;

/// Sockets that are reached before other tasks get their turn.
const BATCH_SOCKETS: usize = 1024;

/// How far this node has come in a log. Whoever has the lock delivers; so entries come in order, whoever they wake.
#[derive(Debug)]
pub(super) struct Reader {
    follower: Follower,
    /// The last entry that was delivered.
    place: Place,
    /// What comes next was left out, and has to be read.
    gap: bool,
    tail: Tail,
}

/// Follows the log of a namespace from now on; at once if it can be reached at once.
pub(super) fn open(journal: &Arc<Journal>, book: &Arc<Book>) {
    let followed = journal.store.log.follow(&book.topic).now_or_never().and_then(Result::ok);
    let open = followed.is_some();
    if let Some((follower, place)) = followed {
        begin(journal, book, follower, place);
    }
    let (own, book) = (Arc::clone(journal), Arc::clone(book));
    journal.spawn(async move {
        tokio::select! {
            biased;
            () = book.gone.cancelled() => {}
            () = follow(&own, &book, open) => {}
        }
    });
}

fn begin(journal: &Journal, book: &Book, follower: Follower, place: Place) {
    // The lock is held over it: nobody delivers before the hub knows where the log begins.
    let mut reader = lock(&book.reader);
    journal.hub.log_continues(&book.namespace, offset(place));
    *reader = Some(Reader {
        follower,
        place,
        gap: false,
        tail: Tail::new(Bound {
            entries: journal.config().tail_entries,
            bytes: journal.config().tail_bytes,
        }),
    });
}

async fn follow(journal: &Arc<Journal>, book: &Book, open: bool) {
    if !open {
        let (follower, place) = loop {
            match journal.store.log.follow(&book.topic).await {
                Ok(followed) => break followed,
                Err(_) => sleep(RETRY).await,
            }
        };
        begin(journal, book, follower, place);
    }
    loop {
        let filled = match lock(&book.reader).as_ref() {
            Some(reader) if !reader.follower.is_closed() => reader.follower.filled(),
            _ => return,
        };
        filled.await;
        while book.drain(journal, BATCH) {
            tokio::task::yield_now().await;
        }
        fill(journal, book).await;
    }
}

/// Reads what was left out.
async fn fill(journal: &Journal, book: &Book) {
    loop {
        let place = match lock(&book.reader).as_ref() {
            Some(reader) if reader.gap => reader.place,
            _ => return,
        };
        let outcome = journal.read_page(book, place.position).await;
        let lost = match outcome {
            Ok(page) if page.end.epoch == place.epoch => {
                let mut told = Vec::new();
                if let Some(reader) = lock(&book.reader).as_mut() {
                    for entry in &page.entries {
                        reader.deliver(journal, book, entry, &mut told);
                    }
                    reader.gap = reader.place.position < page.end.position;
                }
                told.into_iter().for_each(Delivered::tell);
                None
            }
            Ok(page) => Some(page.end),
            Err(ReadError::Trimmed { first }) => Some(Place {
                position: first.saturating_sub(1),
                ..place
            }),
            Err(ReadError::Ahead { .. }) => journal.store.log.end(&book.topic).await.ok(),
            Err(_) => {
                sleep(RETRY).await;
                None
            }
        };
        if let Some(place) = lost
            && let Some(reader) = lock(&book.reader).as_mut()
        {
            reader.jump(journal, book, place);
        }
        tokio::task::yield_now().await;
        while book.drain(journal, BATCH) {
            tokio::task::yield_now().await;
        }
    }
}

impl Reader {
    /// Delivers what has been fed, at most so many entries; answers whether there is more. Stops where something is missing.
    /// What was delivered is to be told with the lock released.
    pub(super) fn drain(&mut self, journal: &Journal, book: &Book, entries: usize, told: &mut Vec<Delivered>) -> bool {
        let (mut delivered, mut reached) = (0, 0);
        while delivered < entries && (reached < BATCH_SOCKETS || entries == usize::MAX) {
            if self.gap {
                return false;
            }
            delivered += 1;
            match self.follower.try_next() {
                None => return false,
                Some(Fed::Entry(entry)) => reached += self.deliver(journal, book, &entry, told),
                Some(Fed::Gap) => self.gap = true,
                Some(Fed::Epoch(place)) => self.jump(journal, book, place),
            }
        }
        true
    }

    /// Delivers the next entry. One that was delivered before is passed over; one behind a hole waits until the hole was read.
    /// Answers how many sockets it was for.
    fn deliver(&mut self, journal: &Journal, book: &Book, entry: &Entry, told: &mut Vec<Delivered>) -> usize {
        match entry.position.checked_sub(self.place.position) {
            Some(1) => {
                self.place.position = entry.position;
                let logged = journal.logged(book, entry);
                let delivered = journal.hub.deliver(&book.namespace, offset(self.place), logged.command.as_ref());
                self.tail.push(logged, entry.entry.len());
                let meant = delivered.as_ref().map_or(0, Delivered::meant);
                told.extend(delivered);
                meant
            }
            None | Some(0) => 0,
            Some(_) => {
                self.gap = true;
                0
            }
        }
    }

    /// A page of what was delivered after a position, if all of it is still here.
    pub(super) fn recent(&self, after: u64) -> Option<Page> {
        Some(Page {
            entries: self.tail.after(after, PAGE)?,
            end: offset(self.place),
        })
    }

    /// Tells the hub how far its namespace has come, without saying that anything was lost.
    pub(super) fn remind(&self, journal: &Journal, book: &Book) {
        journal.hub.log_continues(&book.namespace, offset(self.place));
    }

    /// Goes on elsewhere: what lies between is lost, and with it the sessions that were to get it.
    fn jump(&mut self, journal: &Journal, book: &Book, place: Place) {
        tracing::warn!(namespace = %book.namespace, "a log has lost entries: its sessions are not recovered");
        journal.link.counters.log_holes.increment();
        self.place = place;
        self.gap = true;
        self.tail.clear();
        journal.hub.log_jumps(&book.namespace, offset(place));
    }
}
