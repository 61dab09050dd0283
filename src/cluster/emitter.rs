//! Emits into a cluster from a process that is none of its nodes.

use std::{sync::Arc, time::Duration};

use fanfare_adapters::{Adapter, Inbox, PublishError};
use serde::Serialize;

use super::{Config, Origin, StartError, link::Link, receiver::clock, topics::Topics};
use crate::{
    engine::id::NodeTag,
    hub::{Command, EmitFlags, Rooms, Target, flags},
    protocol::socketio::{EncodeError, Payload},
};

/// Emits to the sockets of a cluster from any process: a job, a back end, a command line. It has no sockets, hears nothing, and is no
/// member: nobody waits for it.
///
/// What it says is signed as its nodes' is, and goes to every node that has the namespace. It is at most once, as everything in a live
/// namespace is.
///
/// ```no_run
/// # use std::{error::Error, sync::Arc, time::Duration};
/// use fanfare::cluster::{Config, Emitter};
/// use fanfare_adapters::redis::{self, RedisAdapter};
///
/// # async fn tell() -> Result<(), Box<dyn Error>> {
/// let adapter = RedisAdapter::start(redis::Config::new("redis://127.0.0.1:6379"))?;
/// let mut emitter = Emitter::new(Config::default(), Arc::new(adapter))?;
/// emitter.connected().await;
/// emitter.of("/").to("lobby").emit("news", &"hello")?;
/// emitter.close(Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Emitter {
    link: Link,
    adapter: Arc<dyn Adapter>,
    inbox: Inbox,
}

/// Some sockets of a namespace, chosen as by [`BroadcastOperator`](crate::hub::BroadcastOperator), and what to do to them.
#[derive(Debug, Clone)]
#[must_use = "operators do nothing by themselves"]
pub struct Emission<'a> {
    link: &'a Link,
    target: Target,
    flags: EmitFlags,
}

/// Why an [`Emitter`] did not hand over what it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitterError {
    /// The event's name is reserved, or its arguments cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The adapter does not take it.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl Emitter {
    /// One for the cluster of this name and these secrets; the rest of the configuration means nothing here. The adapter connects in the
    /// background, and is used for nothing else.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(config: Config, adapter: Arc<dyn Adapter>) -> Result<Self, StartError> {
        config.check()?;
        let topics = Topics::new(&config.name)?;
        let inbox = adapter.inbox().ok_or(StartError::AdapterInUse)?;
        let origin = Origin::started(NodeTag::random(), clock());
        Ok(Self {
            link: Link::new(config, topics, Arc::clone(&adapter), origin),
            adapter,
            inbox,
        })
    }

    /// Waits until the backend is reachable; for ever if it never is, unless the adapter is closed. What is emitted before waits for it, as
    /// long and as much as the adapter's configuration says.
    pub async fn connected(&mut self) {
        while !self.adapter.counters().connected && self.inbox.next().await.is_some() {}
    }

    /// The sockets of a namespace, on all nodes. A leading `/` is added if missing.
    pub fn of(&self, namespace: &str) -> Emission<'_> {
        let slash = if namespace.starts_with('/') { "" } else { "/" };
        Emission {
            link: &self.link,
            target: Target::namespace(format!("{slash}{namespace}").into()),
            flags: EmitFlags::default(),
        }
    }

    /// Sends what is queued, within `grace`, and ends the adapter. Gives how many messages the backend has taken.
    pub async fn close(self, grace: Duration) -> u64 {
        self.adapter.close(grace).await;
        self.adapter.counters().published
    }
}

impl Emission<'_> {
    /// Chooses the sockets of these rooms, beside those of rooms chosen before; each socket once.
    pub fn to(mut self, rooms: impl Rooms) -> Self {
        self.target.rooms.extend(rooms.into_rooms());
        self
    }

    /// Leaves out the sockets of these rooms.
    pub fn except(mut self, rooms: impl Rooms) -> Self {
        self.target.except.extend(rooms.into_rooms());
        self
    }

    /// Sends an event. A tuple gives as many arguments as it has elements, anything else one.
    ///
    /// # Errors
    /// [`EmitterError`].
    pub fn emit<T: Serialize + ?Sized>(self, event: &str, args: &T) -> Result<(), EmitterError> {
        let payload = Payload::event(event, args)?;
        let Self { link, target, flags } = self;
        Ok(link.try_publish(&Command::Emit { target, payload, flags })?)
    }

    /// Makes the sockets join rooms.
    ///
    /// # Errors
    /// [`EmitterError::Publish`].
    pub fn sockets_join(self, rooms: impl Rooms) -> Result<(), EmitterError> {
        let rooms = rooms.into_rooms().collect();
        Ok(self.link.try_publish(&Command::Join {
            target: self.target,
            rooms,
        })?)
    }

    /// Makes the sockets leave rooms.
    ///
    /// # Errors
    /// [`EmitterError::Publish`].
    pub fn sockets_leave(self, rooms: impl Rooms) -> Result<(), EmitterError> {
        let rooms = rooms.into_rooms().collect();
        Ok(self.link.try_publish(&Command::Leave {
            target: self.target,
            rooms,
        })?)
    }

    /// Disconnects the sockets; with `close` their whole connections.
    ///
    /// # Errors
    /// [`EmitterError::Publish`].
    pub fn disconnect_sockets(self, close: bool) -> Result<(), EmitterError> {
        Ok(self.link.try_publish(&Command::Disconnect {
            target: self.target,
            close,
        })?)
    }
}

flags!(Emission<'_>);
