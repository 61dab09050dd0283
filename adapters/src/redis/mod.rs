//! Redis (or Valkey) pub/sub, over the client library fred: a server alone, the master that sentinels name, or a cluster.
//!
//! Two connections to a server, both RESP3: one publishes, one hears. What is published goes over the wire as it is.
//!
//! fred answers a SUBSCRIBE when it is written, not when Redis has heard it, and drops Redis' reply; so a PING follows on the same
//! connection, whose answer comes after the subscription stands, and an error in place of a reply surfaces there. Its watch over
//! silent servers is asleep when nothing waits for an answer, and cannot act while a write blocks; so both connections are PINGed
//! every second, and one that does not answer for 5 s is cut.
//!
//! Behind sentinels each session begins with the question which server is the master now, and ends with it. What was published shortly
//! before a failover may be lost with the old master, as everything else that pub/sub had under way.
//!
//! On a cluster, channels are sharded: SPUBLISH and SSUBSCRIBE go to the master that has the slot of the topic's group, so messages cost
//! the rest of the cluster nothing. fred's client for clusters is not used: it would follow a slot to another server, and send there what
//! it still holds, without a word. Here a session has its own map of the slots, a pair of connections to each master that has something
//! of this node, and ends as a whole when one of them ends, or is told that a slot is elsewhere. A server that gives a slot away drops
//! the subscriptions to it; fred hides its notice, so the server is asked every second how many there are. While a slot has no master
//! the whole adapter is away. Servers are reached at the addresses that the cluster announces (`cluster-announce-hostname`,
//! `cluster-preferred-endpoint-type`), which their certificates must name.
//!
//! Redis closes the connection of a subscriber for which more waits than `client-output-buffer-limit pubsub` allows (32 MiB, or 8 MiB
//! for a minute, by default): what waited is a hole, and the adapter connects anew. With messages of megabytes, raise it. Redis'
//! `maxmemory` is no bound on pub/sub. A user with an ACL needs `+@connection +@pubsub` and the channels `&<cluster name>.*`; on a
//! cluster also `+cluster|slots`, and the channels are `&{<cluster name>.*`.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{Adapter, Counters, Inbox, Limits, PublishError, Subscribing, Topic, core::Core, driver};

mod cluster;
mod config;
mod connection;
mod layout;
mod pair;
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
        let backend = session::Redis::new(&config)?;
        let core = Core::new(config.bounds(), 0);
        core.set_max_payload(MAX_ARGUMENT);
        core.tasks.spawn(driver::run(backend, core.clone()));
        Ok(Self { core })
    }
}

impl Adapter for RedisAdapter {
    fn publish(&self, topic: &Topic, message: Bytes) -> Result<(), PublishError> {
        self.core.publish(topic, message)
    }

    fn subscribe(&self, topic: Topic) -> Subscribing {
        self.core.subscribe(topic)
    }

    fn unsubscribe(&self, topic: &Topic) {
        self.core.wishes.remove(topic);
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
