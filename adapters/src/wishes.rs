//! What a node wants to hear, apart from what the backend has confirmed so far.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};

use crate::{SubscribeError, Subscribing, Topic};

/// The recorded subscriptions. They outlive every connection; each new one starts from all of them.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    state: Mutex<State>,
    /// Wakes the one task that carries changes to the backend.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    wishes: BTreeMap<Topic, Wish>,
    /// Topics whose wish changed since the connection last looked; at most one entry a topic.
    dirty: BTreeSet<Topic>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Wish {
    confirmed: bool,
    /// Callers that wait for the confirmation; those that gave up are removed when the next one comes.
    waiting: Vec<oneshot::Sender<()>>,
}

/// What the connection has to do.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) subscribe: Vec<Topic>,
    pub(crate) unsubscribe: Vec<Topic>,
}

impl Wishes {
    /// Records a wish; the future resolves when it is confirmed.
    pub(crate) fn add(&self, topic: Topic) -> Subscribing {
        let mut state = self.lock();
        if state.closed {
            return Box::pin(std::future::ready(Err(SubscribeError::Withdrawn)));
        }
        let wish = state.wishes.entry(topic.clone()).or_default();
        if wish.confirmed {
            return Box::pin(std::future::ready(Ok(())));
        }
        let (sender, receiver) = oneshot::channel();
        wish.waiting.retain(|waiting| !waiting.is_closed());
        wish.waiting.push(sender);
        state.dirty.insert(topic);
        drop(state);
        self.changed.notify_one();
        Box::pin(async move { receiver.await.map_err(|_| SubscribeError::Withdrawn) })
    }

    /// Withdraws a wish; who waits for it hears so.
    pub(crate) fn remove(&self, topic: &Topic) {
        let mut state = self.lock();
        if state.wishes.remove(topic).is_some() {
            state.dirty.insert(topic.clone());
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Starts from the beginning: nothing is confirmed, everything has to be subscribed.
    pub(crate) fn restart(&self) {
        let mut state = self.lock();
        let State { wishes, dirty, closed: _ } = &mut *state;
        dirty.clear();
        for (topic, wish) in wishes {
            wish.confirmed = false;
            dirty.insert(topic.clone());
        }
    }

    /// What changed since the last call.
    pub(crate) fn changes(&self) -> Changes {
        let mut state = self.lock();
        let mut changes = Changes::default();
        for topic in std::mem::take(&mut state.dirty) {
            let list = if state.wishes.contains_key(&topic) {
                &mut changes.subscribe
            } else {
                &mut changes.unsubscribe
            };
            list.push(topic);
        }
        changes
    }

    /// Waits until [`Wishes::changes`] may have something. Cancel safe.
    #[cfg(any(feature = "nats", feature = "redis"))]
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The backend has confirmed `topics`.
    pub(crate) fn confirm(&self, topics: &[Topic]) {
        let mut state = self.lock();
        for topic in topics {
            if let Some(wish) = state.wishes.get_mut(topic) {
                wish.confirmed = true;
                for waiting in wish.waiting.drain(..) {
                    // Who waited may be gone, which is no loss.
                    let _gone = waiting.send(()).is_err();
                }
            }
        }
    }

    /// Whether the backend has confirmed every wish.
    pub(crate) fn all_confirmed(&self) -> bool {
        self.lock().wishes.values().all(|wish| wish.confirmed)
    }

    /// Withdraws everything and takes no more wishes.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.wishes.clear();
        state.dirty.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        Topic::new("a").unwrap()
    }

    #[tokio::test]
    async fn a_wish_is_confirmed_once_and_again_after_a_restart() {
        let wishes = Wishes::default();
        let waiting = wishes.add(topic());
        assert_eq!(wishes.changes().subscribe, [topic()]);
        assert_eq!(wishes.changes().subscribe, []);
        wishes.confirm(&[topic()]);
        waiting.await.unwrap();
        wishes.add(topic()).await.unwrap();
        wishes.restart();
        assert!(!wishes.all_confirmed());
        assert_eq!(wishes.changes().subscribe, [topic()]);
    }

    #[tokio::test]
    async fn a_withdrawn_wish_tells_who_waits() {
        let wishes = Wishes::default();
        let waiting = wishes.add(topic());
        wishes.remove(&topic());
        assert_eq!(waiting.await, Err(SubscribeError::Withdrawn));
        assert_eq!(wishes.changes().unsubscribe, [topic()]);
        let waiting = wishes.add(topic());
        wishes.close();
        assert_eq!(waiting.await, Err(SubscribeError::Withdrawn));
        assert_eq!(wishes.add(topic()).await, Err(SubscribeError::Withdrawn));
    }
}
