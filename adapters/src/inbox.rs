//! The one way in: everything that a node hears from its backend.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::Topic;

/// Bytes that an inbox holds unless its adapter's configuration says otherwise.
pub const DEFAULT_INBOX_BYTES: usize = 64 * 1024 * 1024;

/// What a message costs beside its topic and payload: its own entry, and the run of signals that may follow it.
const OVERHEAD: usize = 4 * size_of::<Delivery>();

/// What an [`Inbox`] yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A message that some node, maybe this one, published.
    Message {
        /// Where it was published.
        topic: Topic,
        /// What was published, unchanged.
        payload: Bytes,
    },
    /// Messages may be missing between the delivery before this and the one after it.
    Gap(GapCause),
    /// The backend is reachable and every recorded subscription is confirmed; after each (re)connect.
    Connected,
    /// The backend is not reachable. From here to the next [`Delivery::Connected`] messages may be missing; what arrives in between
    /// belongs to subscriptions that were confirmed before the others.
    Disconnected,
}

/// Why messages may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// The connection to the backend was down.
    Reconnected,
    /// The inbox had reached its bound in bytes; what came then was dropped.
    InboxFull,
    /// The client library dropped messages before the adapter saw them.
    Lagged,
}

/// Everything that one adapter hears, in order.
///
/// Bounded in bytes; one message of any size may always wait. When it is full what arrives is dropped and one [`Delivery::Gap`] marks the place; whoever reads from the backend
/// is never blocked. Signals that nobody has read yet, with no message between them, are merged to the latest state and at most one
/// gap, so a backend that flaps cannot fill an unread inbox.
#[derive(Debug)]
pub struct Inbox {
    shared: Arc<Shared>,
}

/// The adapter's end of an [`Inbox`].
#[derive(Debug, Clone)]
pub(crate) struct InboxSender {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes the one reader. A permit is stored when nobody waits, so no wake-up is lost.
    filled: Notify,
    limit: usize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Delivery>,
    /// Bytes of the messages in `queue`.
    bytes: usize,
    received: u64,
    gaps: u64,
    /// No more deliveries: the adapter was closed, or the reader is gone.
    closed: bool,
}

/// Makes an inbox of `limit` bytes.
pub(crate) fn channel(limit: usize) -> (InboxSender, Inbox) {
    let shared = Arc::new(Shared {
        state: Mutex::default(),
        filled: Notify::new(),
        limit,
    });
    (InboxSender { shared: shared.clone() }, Inbox { shared })
}

impl Inbox {
    /// The next delivery; `None` when the adapter was closed and everything was read.
    ///
    /// Cancel safe: dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        loop {
            {
                let mut state = self.shared.lock();
                if let Some(delivery) = state.pop() {
                    return Some(delivery);
                }
                if state.closed {
                    return None;
                }
            }
            self.shared.filled.notified().await;
        }
    }

    /// The next delivery if one waits; `None` when there is nothing now, be the inbox open or closed.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.shared.lock().pop()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue = VecDeque::new();
        state.bytes = 0;
    }
}

impl InboxSender {
    /// Puts a message into the inbox, or drops it and marks the gap when the inbox is full.
    pub(crate) fn message(&self, topic: Topic, payload: Bytes) {
        let mut state = self.shared.lock();
        if state.closed {
            return;
        }
        let cost = cost(&topic, &payload);
        if state.bytes > 0 && state.bytes.saturating_add(cost) > self.shared.limit {
            state.signal(Delivery::Gap(GapCause::InboxFull));
        } else {
            state.bytes += cost;
            state.received += 1;
            state.queue.push_back(Delivery::Message { topic, payload });
        }
        drop(state);
        self.shared.filled.notify_one();
    }

    /// Says that messages may be missing here.
    pub(crate) fn gap(&self, cause: GapCause) {
        self.signal(Delivery::Gap(cause));
    }

    /// Says that the backend is there; after an outage with the gap that it left.
    pub(crate) fn connected(&self, after_outage: bool) {
        if after_outage {
            self.gap(GapCause::Reconnected);
        }
        self.signal(Delivery::Connected);
    }

    /// Says that the backend is away.
    pub(crate) fn disconnected(&self) {
        self.signal(Delivery::Disconnected);
    }

    /// Ends the inbox once everything in it was read.
    pub(crate) fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_one();
    }

    /// Messages put in, and gaps marked, so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = self.shared.lock();
        (state.received, state.gaps)
    }

    fn signal(&self, signal: Delivery) {
        let mut state = self.shared.lock();
        if state.closed {
            return;
        }
        state.signal(signal);
        drop(state);
        self.shared.filled.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.queue.pop_front()?;
        if let Delivery::Message { topic, payload } = &delivery {
            self.bytes = self.bytes.saturating_sub(cost(topic, payload));
        }
        Some(delivery)
    }

    /// Appends a signal, merged with the unread signals directly before it into at most `Disconnected`, `Gap`, `Connected`.
    fn signal(&mut self, signal: Delivery) {
        let (mut outage, mut gap, mut connected) = (false, None, false);
        let mut run = VecDeque::from([signal]);
        while let Some(last) = self.queue.pop_back_if(|last| !matches!(last, Delivery::Message { .. })) {
            run.push_front(last);
        }
        let gap_was_marked = run.iter().rev().skip(1).any(|delivery| matches!(delivery, Delivery::Gap(_)));
        for delivery in run {
            match delivery {
                Delivery::Gap(cause) => gap = Some(cause),
                Delivery::Connected => connected = true,
                Delivery::Disconnected => (outage, connected) = (true, false),
                Delivery::Message { .. } => {}
            }
        }
        self.gaps += u64::from(gap.is_some() && !gap_was_marked);
        self.queue.extend(outage.then_some(Delivery::Disconnected));
        self.queue.extend(gap.map(Delivery::Gap));
        self.queue.extend(connected.then_some(Delivery::Connected));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Shared")
            .field("waiting", &state.queue.len())
            .field("bytes", &state.bytes)
            .finish_non_exhaustive()
    }
}

fn cost(topic: &Topic, payload: &Bytes) -> usize {
    topic.as_str().len() + payload.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &'static [u8]) -> (Topic, Bytes) {
        (Topic::new("t").unwrap(), Bytes::from_static(payload))
    }

    #[test]
    fn a_full_inbox_drops_marks_one_gap_and_takes_messages_again_when_read() {
        let (topic, payload) = message(b"0123456789");
        let one = cost(&topic, &payload);
        let (sender, mut inbox) = channel(2 * one);
        for _ in 0..5 {
            sender.message(topic.clone(), payload.clone());
        }
        assert!(matches!(inbox.try_next(), Some(Delivery::Message { .. })));
        sender.message(topic.clone(), payload.clone());
        sender.message(topic, payload);
        assert!(matches!(inbox.try_next(), Some(Delivery::Message { .. })));
        assert_eq!(inbox.try_next(), Some(Delivery::Gap(GapCause::InboxFull)));
        assert!(matches!(inbox.try_next(), Some(Delivery::Message { .. })));
        assert_eq!(inbox.try_next(), Some(Delivery::Gap(GapCause::InboxFull)));
        assert_eq!(inbox.try_next(), None);
        assert_eq!(sender.counts(), (3, 2));
    }

    #[test]
    fn one_message_of_any_size_may_wait() {
        let (topic, payload) = message(b"0123456789");
        let (sender, mut inbox) = channel(1);
        for _ in 0..2 {
            sender.message(topic.clone(), payload.clone());
            sender.message(topic.clone(), payload.clone());
            assert!(matches!(inbox.try_next(), Some(Delivery::Message { .. })));
            assert_eq!(inbox.try_next(), Some(Delivery::Gap(GapCause::InboxFull)));
        }
    }

    #[test]
    fn unread_signals_of_a_flapping_backend_do_not_pile_up() {
        let (sender, mut inbox) = channel(1024);
        sender.connected(false);
        for _ in 0..1000 {
            sender.disconnected();
            sender.connected(true);
        }
        assert_eq!(inbox.try_next(), Some(Delivery::Disconnected));
        assert_eq!(inbox.try_next(), Some(Delivery::Gap(GapCause::Reconnected)));
        assert_eq!(inbox.try_next(), Some(Delivery::Connected));
        assert_eq!(inbox.try_next(), None);
    }

    #[tokio::test]
    async fn a_closed_inbox_is_read_to_its_end() {
        let (sender, mut inbox) = channel(1024);
        let (topic, payload) = message(b"last");
        sender.message(topic, payload);
        sender.close();
        sender.connected(false);
        assert!(matches!(inbox.next().await, Some(Delivery::Message { .. })));
        assert_eq!(inbox.next().await, None);
    }
}
