//! NATS core pub/sub, over the client library async-nats.
//!
//! async-nats queues each subscription apart, so a publisher's order across topics is lost on the way in. Messages carry a stamp of
//! sixteen bytes (see `stamp`), by which it is restored: see `merge`.
//!
//! A flush of async-nats means "written", not "heard by the server"; so a message to a private subject follows each change of
//! subscriptions on the same connection, and its coming back proves them. The same is done every second, since the library's own
//! pings need three rounds to notice a silent server.
//!
//! A session is made with any server of the list, and with any that these have announced; when it ends, the next one is tried at once.
//! A subscription is confirmed by the server at hand. Those of the same cluster learn of it a moment later, but before anything that this
//! node publishes after the confirmation: who hears of it from the node itself finds it everywhere.
//!
//! A user with permissions needs to publish and subscribe `<cluster name>.>` and `_INBOX.>`, where those private subjects are.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use self::stamp::{STAMP, Stamper};
use crate::{Adapter, Counters, Inbox, Limits, PublishError, Subscribing, Topic, core::Core, driver};

mod config;
mod ears;
mod merge;
mod session;
mod stamp;
mod targets;

pub use crate::ConfigError;
pub use config::Config;

/// Moves messages through NATS. Dropping it ends its tasks and connections.
#[derive(Debug)]
pub struct NatsAdapter {
    core: Arc<Core>,
}

impl NatsAdapter {
    /// Starts the adapter; the connection is made in the background, and again whenever it is lost, for ever. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`ConfigError`] names the key that cannot be used. A server that cannot be reached is no error.
    #[expect(clippy::needless_pass_by_value, reason = "a configuration is used up by what it starts")]
    pub fn start(config: Config) -> Result<Self, ConfigError> {
        let backend = session::Nats::new(&config, Stamper::new())?;
        let core = Core::new(config.bounds(), STAMP);
        core.tasks.spawn(driver::run(backend, core.clone()));
        Ok(Self { core })
    }
}

impl Adapter for NatsAdapter {
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

impl Drop for NatsAdapter {
    fn drop(&mut self) {
        self.core.abort();
    }
}
