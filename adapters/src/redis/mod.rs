//! Redis (or Valkey) pub/sub, over the client library fred: a standalone server, or the master that sentinels name.
//!
//! Two connections, both RESP3: one publishes, one hears. Messages carry a stamp of sixteen bytes (see `stamp`), by which the copies
//! are dropped that Redis sends when several patterns match.
//!
//! fred answers a SUBSCRIBE when it is written, not when Redis has heard it, and drops Redis' reply; so a PING follows on the same
//! connection, whose answer comes after the subscription stands, and an error in place of a reply surfaces there. Its watch over
//! silent servers is asleep when nothing waits for an answer, and cannot act while a write blocks; so both connections are PINGed
//! every second, and one that does not answer for 5 s is cut.
//!
//! Behind sentinels each session begins with the question which server is the master now, and ends with it. What was published shortly
//! before a failover may be lost with the old master, as everything else that pub/sub had under way.
//!
//! Redis closes the connection of a subscriber for which more waits than `client-output-buffer-limit pubsub` allows (32 MiB, or 8 MiB
//! for a minute, by default): what waited is a hole, and the adapter connects anew. With messages of megabytes, raise it. Redis'
//! `maxmemory` is no bound on pub/sub. A user with an ACL needs `+@connection +@pubsub` and the channels `&<cluster name>.*`.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    Adapter, Counters, Inbox, Limits, Pattern, PublishError, Subscribing, Topic,
    core::Core,
    driver,
    stamp::{STAMP, Stamper},
};

mod config;
mod connection;
mod sentinel;
mod session;
mod topology;

pub use crate::ConfigError;
pub use config::Config;

/// Bytes that Redis takes in one argument (`proto-max-bulk-len`); at more it closes the connection.
const MAX_ARGUMENT: usize = 512 * 1024 * 1024;

/// Moves messages through Redis. Dropping it ends its tasks and connections.
#[derive(Debug)]
pub struct RedisAdapter {
    core: Arc<Core>,
}

impl RedisAdapter {
    /// Starts the adapter; the connection is made in the background, and again whenever it is lost, for ever. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that cannot be used. A server that cannot be reached is no error.
    #[expect(clippy::needless_pass_by_value, reason = "a configuration is used up by what it starts")]
    pub fn start(config: Config) -> Result<Self, ConfigError> {
        let backend = session::Redis::new(&config, Stamper::new())?;
        let core = Core::new(config.bounds(), STAMP);
        core.set_max_payload(MAX_ARGUMENT);
        core.tasks.spawn(driver::run(backend, core.clone()));
        Ok(Self { core })
    }
}

impl Adapter for RedisAdapter {
    fn publish(&self, topic: &Topic, message: Bytes) -> Result<(), PublishError> {
        self.core.publish(topic, message)
    }

    fn subscribe(&self, pattern: Pattern) -> Subscribing {
        self.core.subscribe(pattern)
    }

    fn unsubscribe(&self, pattern: &Pattern) {
        self.core.wishes.remove(pattern);
    }

    fn inbox(&self) -> Option<Inbox> {
        self.core.take_inbox()
    }

    fn limits(&self) -> Limits {
        self.core.limits()
    }

    fn counters(&self) -> Counters {
        self.core.counters()
    }

    fn fault(&self) -> Option<String> {
        self.core.fault()
    }

    fn close(&self, grace: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.core.close(grace)
    }
}

impl Drop for RedisAdapter {
    fn drop(&mut self) {
        self.core.abort();
    }
}
