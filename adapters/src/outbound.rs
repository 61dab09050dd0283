//! The queue between `publish` and the one task that writes to the backend.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use crate::{Limits, PublishError, Topic};

/// Bytes that may wait to be sent unless the configuration says otherwise.
pub const DEFAULT_QUEUE_BYTES: usize = 1024 * 1024;

/// How long a message may wait to be sent unless the configuration says otherwise.
pub const DEFAULT_OUTAGE_AGE: Duration = Duration::from_secs(1);

/// What a message costs beside its topic and payload.
const OVERHEAD: usize = size_of::<Outgoing>();

/// A message that waits to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) topic: Topic,
    pub(crate) payload: Bytes,
    queued_at: Instant,
}

/// First in, first out, bounded in bytes and in age. One message of any size may always wait, or what is larger than the bound could
/// never be sent.
///
/// Full: what is older than `age` makes room and is counted as dropped; if that is not enough the new message is refused.
#[derive(Debug)]
pub(crate) struct Outbound {
    state: Mutex<State>,
    /// Wakes the one writer.
    filled: Notify,
    /// Wakes whoever waits for the queue to be empty and sent.
    drained: Notify,
    limit: usize,
    age: Duration,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    /// Messages that were taken and are not yet settled.
    in_flight: u64,
    published: u64,
    dropped: u64,
    closed: bool,
}

impl Outbound {
    pub(crate) fn new(limit: usize, age: Duration) -> Self {
        Self {
            state: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
            limit,
            age,
        }
    }

    /// Queues a message, never waits.
    pub(crate) fn push(&self, topic: Topic, payload: Bytes) -> Result<(), PublishError> {
        let now = Instant::now();
        let mut state = self.lock();
        if state.closed {
            return Err(PublishError::Closed);
        }
        let message = Outgoing {
            topic,
            payload,
            queued_at: now,
        };
        let cost = message.cost();
        let is_full = |state: &State| !state.queue.is_empty() && state.bytes.saturating_add(cost) > self.limit;
        if is_full(&state) {
            state.expire(now, self.age);
            if is_full(&state) {
                return Err(PublishError::Full);
            }
        }
        state.bytes += cost;
        state.queue.push_back(message);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes everything that waits and is not too old; waits until there is something. Cancel safe. Each batch must be settled with
    /// [`Outbound::settle`] before the next is taken.
    pub(crate) async fn take(&self) -> Vec<Outgoing> {
        loop {
            {
                let mut state = self.lock();
                state.expire(Instant::now(), self.age);
                if !state.queue.is_empty() {
                    let batch: Vec<_> = std::mem::take(&mut state.queue).into();
                    state.bytes = 0;
                    state.in_flight = count(&batch);
                    return batch;
                }
            }
            self.drained.notify_waiters();
            self.filled.notified().await;
        }
    }

    /// Says what became of the batch that was taken: the backend has taken `published` of it, the rest is lost.
    pub(crate) fn settle(&self, published: u64) {
        let mut state = self.lock();
        let batch = std::mem::take(&mut state.in_flight);
        state.published += published.min(batch);
        state.dropped += batch.saturating_sub(published);
        drop(state);
        self.drained.notify_waiters();
    }

    /// Refuses messages from now on.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Resolves when nothing waits and nothing is in flight.
    pub(crate) async fn drained(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            if self.is_settled() {
                return;
            }
            drained.await;
        }
    }

    /// Drops everything that still waits.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.dropped += state.queue.len() as u64;
        state.queue.clear();
        state.bytes = 0;
    }

    /// Messages sent, and messages dropped, so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let mut state = self.lock();
        state.expire(Instant::now(), self.age);
        (state.published, state.dropped)
    }

    /// The bounds, for [`crate::Adapter::limits`].
    pub(crate) fn limits(&self, max_message: Option<usize>) -> Limits {
        Limits {
            max_message,
            queue_bytes: self.limit,
            outage_age: self.age,
        }
    }

    fn is_settled(&self) -> bool {
        let mut state = self.lock();
        state.expire(Instant::now(), self.age);
        state.queue.is_empty() && state.in_flight == 0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outgoing {
    fn cost(&self) -> usize {
        self.topic.as_str().len() + self.payload.len() + OVERHEAD
    }
}

impl State {
    fn expire(&mut self, now: Instant, age: Duration) {
        while let Some(old) = self.queue.pop_front_if(|first| now.duration_since(first.queued_at) > age) {
            self.bytes = self.bytes.saturating_sub(old.cost());
            self.dropped += 1;
        }
    }
}

/// How many messages a batch has, in the unit of the counters.
pub(crate) fn count<T>(batch: &[T]) -> u64 {
    batch.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        Topic::new("t").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn old_messages_make_room_and_are_counted() {
        let payload = Bytes::from(vec![0; 1000]);
        let outbound = Outbound::new(2500, Duration::from_secs(1));
        outbound.push(topic(), payload.clone()).unwrap();
        outbound.push(topic(), payload.clone()).unwrap();
        assert_eq!(outbound.push(topic(), payload.clone()), Err(PublishError::Full));
        tokio::time::advance(Duration::from_millis(1100)).await;
        outbound.push(topic(), payload).unwrap();
        assert_eq!(outbound.counts(), (0, 2));
        assert_eq!(outbound.take().await.len(), 1);
    }

    #[tokio::test]
    async fn one_message_of_any_size_may_wait() {
        let outbound = Outbound::new(2500, Duration::from_secs(1));
        outbound.push(topic(), Bytes::from(vec![0; 10_000])).unwrap();
        assert_eq!(outbound.push(topic(), Bytes::from_static(b"x")), Err(PublishError::Full));
        assert_eq!(outbound.take().await.len(), 1);
        outbound.push(topic(), Bytes::from_static(b"x")).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn drained_waits_for_what_is_in_flight() {
        let outbound = Outbound::new(2500, Duration::from_secs(1));
        outbound.drained().await;
        outbound.push(topic(), Bytes::from_static(b"x")).unwrap();
        let batch = outbound.take().await;
        let settled = async {
            tokio::task::yield_now().await;
            outbound.settle(count(&batch));
        };
        let ((), ()) = tokio::join!(outbound.drained(), settled);
        assert_eq!(outbound.counts(), (1, 0));
        outbound.close();
        assert_eq!(outbound.push(topic(), Bytes::new()), Err(PublishError::Closed));
    }
}
