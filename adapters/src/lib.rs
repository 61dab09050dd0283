//! Moves bytes between the nodes of a fanfare cluster.
//!
//! This package is the one hard wall of the project: it knows topics and bytes, and cannot name Socket.IO. The cluster layer above
//! sees the trait [`Adapter`] only; which backend stands behind it is chosen at run time.
//!
//! | adapter | backend | room |
//! |---|---|---|
//! | [`memory::MemoryBus`] | none: a bus inside one process | `memory` |
//! | `redis::RedisAdapter` | Redis or Valkey pub/sub: alone, behind sentinels, a cluster | `redis` (feature `redis`) |
//! | `nats::NatsAdapter` | NATS core pub/sub: alone or a cluster | `nats` (feature `nats`) |
//!
//! What the networked adapters share: `outbound` (the bounded queue to the one task that writes), `wishes` (the recorded subscriptions),
//! `inbox`, all held by `core`, `turn` (which server is tried next), and `driver`, which connects, serves one session until it ends, and
//! connects again. A client library stands behind two small traits of `driver` and never reconnects, queues or retries by itself.
//!
//! Delivery is at most once. Loss is never silent: an inbox that may have missed something yields [`Delivery::Gap`].
//!
//! Beside the adapter stand two optional traits for what must not be lost: [`Log`], an order for everybody that can be read again, and
//! [`Records`], small values changed by compare-and-set. [`memory::MemoryStore`] is both.

mod adapter;
mod follower;
mod inbox;
mod log;
mod records;
mod topic;

#[cfg(any(feature = "nats", feature = "redis"))]
mod backoff;
#[cfg(any(feature = "nats", feature = "redis"))]
mod config;
#[cfg(any(feature = "nats", feature = "redis"))]
mod core;
#[cfg(any(feature = "nats", feature = "redis"))]
mod driver;
#[cfg(any(feature = "nats", feature = "redis"))]
mod outbound;
#[cfg(any(feature = "nats", feature = "redis"))]
mod turn;
mod wishes;

pub mod memory;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "redis")]
pub mod redis;

pub use adapter::{Adapter, Counters, Limits, PublishError, SubscribeError, Subscribing};
#[cfg(any(feature = "nats", feature = "redis"))]
pub use config::{ConfigError, masked};
pub use follower::{Fed, Follower};
pub use inbox::{DEFAULT_INBOX_BYTES, Delivery, GapCause, Inbox};
pub use log::{
    AppendError, Appended, Appending, Away, Bound, Ending, Entry, Following, Log, LogCounters, MAX_ORIGIN, Page, Place, ReadError, Reading,
};
#[cfg(any(feature = "nats", feature = "redis"))]
pub use outbound::{DEFAULT_OUTAGE_AGE, DEFAULT_QUEUE_BYTES};
pub use records::{Deleting, Getting, Kept, PutError, Putting, RecordCounters, Records};
pub use topic::{MAX_TOPIC, Topic, TopicError};
