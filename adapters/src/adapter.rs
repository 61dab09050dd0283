//! The trait that every backend implements.

use std::{fmt, future::Future, pin::Pin};

use bytes::Bytes;

use crate::{Inbox, Topic};

/// Moves bytes between nodes, at most once.
///
/// An adapter starts without its backend, connects in the background and reconnects for ever; it never buffers for longer than
/// [`Limits::outage_age`].
///
/// What one publisher sent arrives in its order in each node's one [`Inbox`]: the messages of one group of topics always, those of all
/// topics where the backend is not divided (everywhere but on a Redis Cluster). See [`Topic::grouped`]. One exception cannot be
/// prevented: what was under way on a connection when it was given up, at most one queue, may still arrive, once, and then after what
/// was published later over the next connection. Who cannot have that numbers what it publishes.
pub trait Adapter: Send + Sync + fmt::Debug + 'static {
    /// Offers a message to the backend. Synchronous, never blocks and never waits: the message is queued for the one task that
    /// writes, or refused.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was queued then.
    fn publish(&self, topic: &Topic, message: Bytes) -> Result<(), PublishError>;

    /// Wants messages of `topic` from now on, also after each reconnect. The wish is recorded before this returns; the returned
    /// future resolves when the backend has confirmed it, and may be dropped.
    fn subscribe(&self, topic: Topic) -> Subscribing;

    /// No longer wants messages of `topic`. Messages under way may still arrive.
    fn unsubscribe(&self, topic: &Topic);

    /// The one inbox of this adapter: the first call gets it, later ones get `None`.
    fn inbox(&self) -> Option<Inbox>;

    /// What the backend allows, as far as it is known now.
    fn limits(&self) -> Limits;

    /// What happened so far.
    fn counters(&self) -> Counters;

    /// Why the backend cannot be reached now, in one line without secrets; `None` while it can.
    fn fault(&self) -> Option<String>;

    /// Sends what is queued, within `grace`, then ends every task and connection of this adapter. Idempotent.
    fn close(&self, grace: std::time::Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Resolves when the backend has confirmed a subscription. Dropping it changes nothing.
pub type Subscribing = Pin<Box<dyn Future<Output = Result<(), SubscribeError>> + Send>>;

/// Why a message was not queued. The message is lost for other nodes: the caller counts it, and receivers see the hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The queue of unsent messages has reached its bound in bytes.
    #[error("the adapter's queue is full")]
    Full,
    /// The backend refuses messages of this size.
    #[error("the message has {size} bytes, the backend takes at most {limit}")]
    TooLarge {
        /// Bytes of the message, with what the adapter adds.
        size: usize,
        /// What the backend takes.
        limit: usize,
    },
    /// The adapter was closed.
    #[error("the adapter is closed")]
    Closed,
}

/// Why a subscription was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The adapter was closed, or the topic unsubscribed, before the backend answered.
    #[error("the subscription was withdrawn before the backend confirmed it")]
    Withdrawn,
}

/// What a backend allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message that can be published, in bytes; `None` while unknown or unbounded.
    pub max_message: Option<usize>,
    /// Bytes that may wait to be sent; above it `publish` answers [`PublishError::Full`]. One message of any size up to
    /// `max_message` may always wait.
    pub queue_bytes: usize,
    /// A message that could not be sent within this time is dropped and counted.
    pub outage_age: std::time::Duration,
}

/// What an adapter counted since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages that the backend has confirmed to have taken.
    pub published: u64,
    /// Messages dropped on the way to the backend: too old, or of a batch that was lost with the connection. Of the latter some may
    /// have arrived; they are never sent again. `published + dropped` is what `publish` took and is not waiting.
    pub dropped: u64,
    /// Messages put into the inbox.
    pub received: u64,
    /// Times the inbox said [`crate::Delivery::Gap`].
    pub gaps: u64,
    /// Messages dropped on arrival, because no adapter of this kind has sent them.
    pub malformed: u64,
    /// Times a connection to the backend was made.
    pub connects: u64,
    /// Whether publishing and receiving connections are up and all subscriptions are confirmed.
    pub connected: bool,
}
