//! Moves bytes between the nodes of a fanfare cluster.
//!
//! This package is the one hard wall of the project: it knows topics and bytes, and cannot name Socket.IO. The cluster layer above
//! sees the trait [`Adapter`] only; which backend stands behind it is chosen at run time.
//!
//! | adapter | backend | room |
//! |---|---|---|
//! | [`memory::MemoryBus`] | none: a bus inside one process | `memory` |
//! | `redis::RedisAdapter` | Redis or Valkey pub/sub | `redis` (feature `redis`) |
//! | `nats::NatsAdapter` | NATS core pub/sub | `nats` (feature `nats`) |
//!
//! Delivery is at most once. Loss is never silent: an inbox that may have missed something yields [`Delivery::Gap`].

mod adapter;
mod inbox;
mod topic;

pub mod memory;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "redis")]
pub mod redis;

pub use adapter::{Adapter, Counters, Limits, PublishError, SubscribeError, Subscribing};
pub use inbox::{Delivery, GapCause, Inbox};
pub use topic::{Pattern, Topic, TopicError};
