//! The subscriptions of one connection, and which of them have something.

use std::{
    collections::HashMap,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use async_nats::{Message, Subscriber};
use futures_util::Stream;
use tokio::sync::Notify;

use crate::Topic;

/// Messages that async-nats may hold for each subscription. Full: the newest are dropped and the library says `SlowConsumer`, which
/// becomes `Gap(Lagged)`. A pass takes at most as many of each, which is everything that was there when the pass began.
pub(super) const QUEUE: usize = 4096;

/// The subscriptions of one connection.
///
/// A pass must look at every queue that has something and should not look at the thousands that have not; so each queue has a waker
/// of its own that puts it on a list. (The ready-made collections of streams may stop early, to be fair to other tasks. A pass that
/// does would break the order: see `merge`.)
#[derive(Debug, Default)]
pub(super) struct Ears {
    by_topic: HashMap<Topic, u64>,
    by_id: HashMap<u64, Ear>,
    next_id: u64,
    woken: Arc<Woken>,
}

/// Which subscriptions were woken; shared with their wakers.
#[derive(Debug, Default)]
pub(super) struct Woken {
    /// Each subscription at most once.
    list: Mutex<Vec<u64>>,
    lagged: AtomicBool,
    /// Wakes the one receiver.
    some: Notify,
}

#[derive(Debug)]
struct Ear {
    subscriber: Subscriber,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Puts its subscription on the list.
#[derive(Debug)]
struct Bell {
    id: u64,
    /// Already on the list.
    rung: AtomicBool,
    woken: Arc<Woken>,
}

/// A subscription has ended, and with it the connection.
#[derive(Debug)]
pub(super) struct Ended;

impl Ears {
    pub(super) fn woken(&self) -> Arc<Woken> {
        self.woken.clone()
    }

    pub(super) fn contains(&self, topic: &Topic) -> bool {
        self.by_topic.contains_key(topic)
    }

    pub(super) fn insert(&mut self, topic: Topic, subscriber: Subscriber) {
        self.next_id += 1;
        let id = self.next_id;
        let bell = Arc::new(Bell {
            id,
            rung: AtomicBool::new(false),
            woken: self.woken.clone(),
        });
        // Nobody has polled the subscription yet, so it cannot ring by itself.
        bell.ring();
        self.by_id.insert(
            id,
            Ear {
                subscriber,
                waker: bell.clone().into(),
                bell,
            },
        );
        self.by_topic.insert(topic, id);
    }

    pub(super) fn remove(&mut self, topic: &Topic) -> Option<Subscriber> {
        let id = self.by_topic.remove(topic)?;
        self.by_id.remove(&id).map(|ear| ear.subscriber)
    }

    /// One pass: everything that waits in the queues that were woken.
    pub(super) fn pass(&mut self) -> Result<Vec<Message>, Ended> {
        let mut found = Vec::new();
        // A statement of its own: the list must be free again while the queues are emptied, since they may ring.
        let woken = std::mem::take(&mut *self.woken.lock());
        for id in woken {
            if let Some(ear) = self.by_id.get_mut(&id) {
                ear.empty(&mut found)?;
            }
        }
        Ok(found)
    }
}

impl Ear {
    fn empty(&mut self, found: &mut Vec<Message>) -> Result<(), Ended> {
        // Before the queue is looked at: what comes later rings again.
        self.bell.rung.store(false, Ordering::Release);
        let mut context = Context::from_waker(&self.waker);
        for _ in 0..QUEUE {
            match Pin::new(&mut self.subscriber).poll_next(&mut context) {
                Poll::Ready(Some(message)) => found.push(message),
                Poll::Ready(None) => return Err(Ended),
                Poll::Pending => return Ok(()),
            }
        }
        self.bell.ring();
        Ok(())
    }
}

impl Woken {
    /// Waits until some subscription may have something, or lags. A permit is stored while nobody waits, so nothing is overlooked; a
    /// wake-up may find nothing. Cancel safe.
    pub(super) async fn some(&self) {
        self.some.notified().await;
    }

    /// A subscription's queue was full and messages were dropped.
    pub(super) fn lag(&self) {
        self.lagged.store(true, Ordering::Release);
        self.some.notify_one();
    }

    /// Whether messages were dropped since the last call.
    pub(super) fn has_lagged(&self) -> bool {
        self.lagged.swap(false, Ordering::AcqRel)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.woken.lock().push(self.id);
            self.woken.some.notify_one();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// Runs `pass` outside of tokio's cooperative budget, under which a queue that has messages may claim to be empty.
pub(super) async fn in_full<T>(mut pass: impl FnMut() -> T) -> T {
    tokio::task::unconstrained(poll_fn(|_| Poll::Ready(pass()))).await
}
