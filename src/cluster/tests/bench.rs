//! Nodes over one memory bus, clients over detached sessions, and adapters that can be told to lose what they are given.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use fanfare_adapters::{
    Adapter, Counters as AdapterCounters, Inbox, Limits, PublishError, Subscribing, Topic,
    memory::{self, MemoryAdapter, MemoryBus},
};

use crate::{
    cluster::{Cluster, Config, link::lock},
    engine::{Application as _, Arrival, Connection, Handle, Handshake, Incoming, Revision, Tap, Transport, id::NodeTag},
    hub::{self, Hub, Io},
};

/// One node: a hub, and the cluster around it.
pub(super) struct Node {
    pub(super) hub: Arc<Hub>,
    pub(super) io: Io,
    pub(super) cluster: Arc<Cluster>,
    pub(super) adapter: Arc<Faulty>,
}

impl Node {
    /// A node that has heard its canary and everybody who was there before it.
    pub(super) async fn start(bus: &MemoryBus, config: Config) -> Self {
        let node = Self::start_now(bus, config, NodeTag::random());
        heartbeats(2).await;
        node
    }

    pub(super) fn start_now(bus: &MemoryBus, config: Config, tag: NodeTag) -> Self {
        Self::start_with(bus, config, tag, hub::Config::default())
    }

    pub(super) fn start_with(bus: &MemoryBus, config: Config, tag: NodeTag, hub: hub::Config) -> Self {
        let adapter = Arc::new(Faulty::new(bus));
        let hub = Hub::new(hub, tag);
        let cluster = Cluster::start(config, hub.clone(), adapter.clone()).unwrap();
        let io = Io::new(hub.clone(), cluster.clone());
        Self { hub, io, cluster, adapter }
    }

    /// A client in a namespace of this node.
    pub(super) async fn client(&self, namespace: &str) -> Client {
        let (handle, tap) = Handle::detached();
        let handshake = Handshake::new(
            handle.id(),
            Transport::WebSocket,
            Revision::V4,
            Arrival::new(None, false, "/socket.io/", []),
        );
        let mut connection = self.hub.opened(&handle, &Arc::new(handshake));
        let connect = if namespace == "/" {
            "0".to_owned()
        } else {
            format!("0{namespace},")
        };
        connection.message(Incoming::Text(&connect));
        settle().await;
        let client = Client { tap, connection };
        assert_eq!(client.tap.frames().len(), 1, "the answer to CONNECT");
        client
    }

    pub(super) fn count(&self, name: &str) -> u64 {
        let snapshot = self.cluster.counters().snapshot();
        snapshot.into_iter().find(|(counter, _)| *counter == name).expect(name).1
    }
}

/// A connected client.
pub(super) struct Client {
    pub(super) tap: Tap,
    connection: Box<dyn Connection>,
}

impl Client {
    /// Sends a packet.
    pub(super) fn say(&mut self, packet: &str) {
        self.connection.message(Incoming::Text(packet));
    }

    /// The events that have arrived since it was asked last: the JSON.
    pub(super) async fn events(&self) -> Vec<String> {
        self.messages().await.into_iter().map(|(json, _)| json).collect()
    }

    /// The events with their attachments.
    pub(super) async fn messages(&self) -> Vec<(String, Vec<Bytes>)> {
        settle().await;
        let json = |text: String| text.get(text.find('[').unwrap_or(0)..).unwrap_or_default().to_owned();
        self.tap
            .frames()
            .into_iter()
            .map(|(text, attachments)| (json(text), attachments))
            .collect()
    }
}

/// Lets every task run until it waits; the clock is paused, so this takes no time that anybody could wait for.
pub(super) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Lets so many heartbeats pass.
pub(super) async fn heartbeats(count: u32) {
    tokio::time::sleep(Duration::from_secs(1) * count + Duration::from_millis(1)).await;
}

/// Waits for what other threads do, by a clock that runs.
pub(super) async fn until(reached: impl Fn() -> bool) {
    let reached = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reached)
        .await
        .expect("reached within a minute");
}

/// What happens to a message that is published.
pub(super) enum Fate {
    Sent,
    Lost,
    SentTwice,
    /// Sent behind the next one that is sent.
    Late,
    Refused(PublishError),
}

type Fates = Box<dyn FnMut(&Topic) -> Fate + Send>;

/// A memory adapter that does with each message what the test says.
pub(super) struct Faulty {
    pub(super) inner: MemoryAdapter,
    fates: Mutex<Fates>,
    late: Mutex<Vec<(Topic, Bytes)>>,
}

impl Faulty {
    fn new(bus: &MemoryBus) -> Self {
        Self {
            inner: bus.adapter(memory::Config::default()),
            fates: Mutex::new(Box::new(|_| Fate::Sent)),
            late: Mutex::default(),
        }
    }

    /// Decides on what is published from now on to namespaces; heartbeats are sent.
    pub(super) fn commands(&self, mut fates: impl FnMut() -> Fate + Send + 'static) {
        self.all(move |topic| {
            if topic.as_str().ends_with(":control") {
                Fate::Sent
            } else {
                fates()
            }
        });
    }

    /// Decides on what is published from now on.
    pub(super) fn all(&self, fates: impl FnMut(&Topic) -> Fate + Send + 'static) {
        *lock(&self.fates) = Box::new(fates);
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl Adapter for Faulty {
    fn publish(&self, topic: &Topic, message: Bytes) -> Result<(), PublishError> {
        let fate = lock(&self.fates)(topic);
        match fate {
            Fate::Sent => {
                self.inner.publish(topic, message)?;
                let mut late = std::mem::take(&mut *lock(&self.late)).into_iter();
                late.try_for_each(|(topic, message)| self.inner.publish(&topic, message))
            }
            Fate::Late => {
                lock(&self.late).push((topic.clone(), message));
                Ok(())
            }
            Fate::Lost => Ok(()),
            Fate::SentTwice => {
                self.inner.publish(topic, message.clone())?;
                self.inner.publish(topic, message)
            }
            Fate::Refused(error) => Err(error),
        }
    }

    fn subscribe(&self, topic: Topic) -> Subscribing {
        self.inner.subscribe(topic)
    }

    fn unsubscribe(&self, topic: &Topic) {
        self.inner.unsubscribe(topic);
    }

    fn inbox(&self) -> Option<Inbox> {
        self.inner.inbox()
    }

    /// As a backend's: the bus has no queue.
    fn limits(&self) -> Limits {
        Limits {
            queue_bytes: 1 << 20,
            ..self.inner.limits()
        }
    }

    fn counters(&self) -> AdapterCounters {
        self.inner.counters()
    }

    fn fault(&self) -> Option<String> {
        self.inner.fault()
    }

    fn close(&self, grace: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.inner.close(grace)
    }
}
