//! The way in from a log: what is appended, in order.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use tokio::sync::Notify;

use crate::{Entry, Place};

/// What an entry costs beside its bytes.
const OVERHEAD: usize = 2 * size_of::<Fed>();

/// What a [`Follower`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fed {
    /// An entry was appended. Positions grow; where one is left out a [`Fed::Gap`] stood before.
    Entry(Entry),
    /// Entries may be missing here: they are to be read.
    Gap,
    /// The log has begun a new epoch here.
    Epoch(Place),
}

/// Everything that is appended to a log, in order.
///
/// Bounded in bytes; one entry of any size may always wait. When it is full what is appended is left out and one [`Fed::Gap`] marks the
/// place: whoever appends is never blocked, and a reader that was slow reads the log.
#[derive(Debug)]
pub struct Follower(Arc<Shared>);

/// The log's end of a [`Follower`].
#[derive(Debug, Clone)]
pub(crate) struct Feed(Weak<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the one reader. A permit is stored when nobody waits, so no wake-up is lost.
    filled: Notify,
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Fed>,
    bytes: usize,
    /// The log is no more.
    closed: bool,
}

/// Makes a follower that holds `limit` bytes.
pub(crate) fn channel(limit: usize) -> (Feed, Follower) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        filled: Notify::new(),
        limit,
    });
    (Feed(Arc::downgrade(&shared)), Follower(shared))
}

impl Follower {
    /// What comes next; `None` when the log was closed.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Fed> {
        loop {
            if let Some(fed) = self.try_next() {
                return Some(fed);
            }
            if self.0.lock().closed {
                return None;
            }
            self.0.filled.notified().await;
        }
    }

    /// What comes next if it is there already.
    pub fn try_next(&mut self) -> Option<Fed> {
        let mut state = self.0.lock();
        let fed = state.queue.pop_front()?;
        if let Fed::Entry(entry) = &fed {
            state.bytes = state.bytes.saturating_sub(entry.entry.len() + OVERHEAD);
        }
        Some(fed)
    }

    /// Whether the log was closed; what it fed before may still be there.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// Resolves when something is there, or the log was closed; at times also when there is nothing. Does not borrow the follower, so
    /// that it may stand behind a lock and be read by several. One at a time waits. Cancel safe.
    pub fn filled(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::clone(&self.0);
        async move {
            let waits = {
                let state = shared.lock();
                state.queue.is_empty() && !state.closed
            };
            if waits {
                shared.filled.notified().await;
            }
        }
    }
}

impl Feed {
    /// Whether there still is a follower.
    pub(crate) fn is_followed(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Feeds the follower; says whether there still is one.
    pub(crate) fn push(&self, fed: Fed) -> bool {
        let Some(shared) = self.0.upgrade() else { return false };
        let mut state = shared.lock();
        match &fed {
            Fed::Entry(entry) => {
                let bytes = state.bytes.saturating_add(entry.entry.len() + OVERHEAD);
                if state.bytes > 0 && bytes > shared.limit {
                    state.gap();
                } else {
                    state.bytes = bytes;
                    state.queue.push_back(fed);
                }
            }
            Fed::Gap => state.gap(),
            Fed::Epoch(_) => {
                // What was fed of the epoch before tells nothing any more.
                *state = State::default();
                state.queue.push_back(fed);
            }
        }
        drop(state);
        shared.filled.notify_one();
        true
    }

    /// Ends the follower once everything was read.
    pub(crate) fn close(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.lock().closed = true;
            shared.filled.notify_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn gap(&mut self) {
        if self.queue.back() != Some(&Fed::Gap) {
            self.queue.push_back(Fed::Gap);
        }
    }
}
