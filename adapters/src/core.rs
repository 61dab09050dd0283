//! What every networked adapter is made of, whatever its client library: the queue out, the wishes, the inbox, the counters. The
//! public adapters are a [`Core`] and the [`crate::driver`] that serves it.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Counters, Inbox, Limits, PublishError, Subscribing, Topic,
    inbox::{self, InboxSender},
    outbound::Outbound,
    wishes::Wishes,
};

/// Shared between the adapter's handle and its tasks.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) outbound: Outbound,
    pub(crate) wishes: Wishes,
    pub(crate) inbox: InboxSender,
    /// Ends every task.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    /// The reader's end, until somebody takes it.
    unread: Mutex<Option<Inbox>>,
    /// The backend's bound in bytes for a message without the stamp; `usize::MAX` while unknown.
    max_message: AtomicUsize,
    stamp: usize,
    malformed: AtomicU64,
    connects: AtomicU64,
    /// Connected, and everything that was wished for at that moment is confirmed.
    connected: AtomicBool,
    /// Why the backend cannot be reached now; never holds a secret.
    fault: Mutex<Option<String>>,
}

/// The bounds of one adapter, in bytes and time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) queue_bytes: usize,
    pub(crate) outage_age: Duration,
    pub(crate) inbox_bytes: usize,
}

impl Core {
    /// `stamp` is what the adapter adds to each message, in bytes.
    pub(crate) fn new(bounds: Bounds, stamp: usize) -> Arc<Self> {
        let (inbox, unread) = inbox::channel(bounds.inbox_bytes);
        Arc::new(Self {
            outbound: Outbound::new(bounds.queue_bytes, bounds.outage_age),
            wishes: Wishes::default(),
            inbox,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            unread: Mutex::new(Some(unread)),
            max_message: AtomicUsize::new(usize::MAX),
            stamp,
            malformed: AtomicU64::new(0),
            connects: AtomicU64::new(0),
            connected: AtomicBool::new(false),
            fault: Mutex::new(None),
        })
    }

    pub(crate) fn publish(&self, topic: &Topic, message: Bytes) -> Result<(), PublishError> {
        let limit = self.max_message.load(Ordering::Relaxed);
        if message.len() > limit {
            let stamp = self.stamp;
            return Err(PublishError::TooLarge {
                size: message.len().saturating_add(stamp),
                limit: limit.saturating_add(stamp),
            });
        }
        self.outbound.push(topic.clone(), message)
    }

    pub(crate) fn subscribe(&self, topic: Topic) -> Subscribing {
        self.wishes.add(topic)
    }

    pub(crate) fn take_inbox(&self) -> Option<Inbox> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn limits(&self) -> Limits {
        let limit = self.max_message.load(Ordering::Relaxed);
        self.outbound.limits((limit != usize::MAX).then_some(limit))
    }

    /// The backend's bound for a whole message, with the stamp.
    pub(crate) fn set_max_payload(&self, bytes: usize) {
        self.max_message.store(bytes.saturating_sub(self.stamp), Ordering::Relaxed);
    }

    pub(crate) fn counters(&self) -> Counters {
        let (published, dropped) = self.outbound.counts();
        let (received, gaps) = self.inbox.counts();
        Counters {
            published,
            dropped,
            received,
            gaps,
            malformed: self.malformed.load(Ordering::Relaxed),
            connects: self.connects.load(Ordering::Relaxed),
            connected: self.connected.load(Ordering::Relaxed) && self.wishes.all_confirmed(),
        }
    }

    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers why the backend cannot be reached; answers whether that is news.
    pub(crate) fn set_fault(&self, fault: String) -> bool {
        let mut known = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let news = known.as_deref() != Some(&*fault);
        *known = Some(fault);
        news
    }

    /// A message came that no adapter of this kind has sent.
    pub(crate) fn count_malformed(&self) {
        self.malformed.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything that was wished for is confirmed. Answers whether this ends an outage rather than the start.
    pub(crate) fn set_connected(&self) -> bool {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.connected.store(true, Ordering::Relaxed);
        let after_outage = self.connects.fetch_add(1, Ordering::Relaxed) > 0;
        self.inbox.connected(after_outage);
        after_outage
    }

    /// The connection is gone.
    pub(crate) fn set_disconnected(&self) {
        if self.connected.swap(false, Ordering::Relaxed) {
            self.inbox.disconnected();
        }
    }

    /// See [`crate::Adapter::close`].
    pub(crate) fn close(&self, grace: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            self.outbound.close();
            // What is older than the outage age is dropped anyhow, so there is nothing to wait for beyond it.
            let patience = if self.connected.load(Ordering::Relaxed) {
                grace
            } else {
                grace.min(self.outbound.limits(None).outage_age)
            };
            if tokio::time::timeout(patience, self.outbound.drained()).await.is_err() {
                tracing::debug!("closing with messages unsent");
            }
            self.abort();
            self.tasks.wait().await;
            self.outbound.abandon();
        })
    }

    /// Ends everything now, without waiting for it.
    pub(crate) fn abort(&self) {
        self.outbound.close();
        self.stop.cancel();
        self.tasks.close();
        self.wishes.close();
        self.connected.store(false, Ordering::Relaxed);
        self.inbox.close();
    }
}
