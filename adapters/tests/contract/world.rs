//! A backend with its nodes, and the words that the tests are written in.

use std::{
    fmt::Debug,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use fanfare_adapters::{
    Adapter, Delivery, Inbox, Log, PublishError, Records, Topic,
    memory::{self, MemoryBus, MemoryStore, StoreConfig},
    nats::{self, NatsAdapter},
    redis::{self, RedisAdapter},
};
use tokio::time::{sleep, timeout};

use crate::{fleet::Fleet, server::Server};

/// How long anything may take that must happen: generous, so that a busy machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Redis,
    Nats,
    /// A master of Redis that sentinels watch.
    Sentinel,
    /// A cluster of Redis: three masters.
    RedisCluster,
    /// A cluster of NATS.
    NatsCluster,
}

/// The bounds that a test wants to reach.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub queue_bytes: usize,
    pub inbox_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            queue_bytes: 1024 * 1024,
            inbox_bytes: 64 * 1024 * 1024,
        }
    }
}

/// One backend.
pub enum World {
    Memory(MemoryBus, Mutex<Vec<Arc<MemoryStore>>>),
    Server(Kind, Box<Server>),
    Fleet(Fleet),
}

/// Few enough bytes that a test reaches the bounds.
const STORE: StoreConfig = StoreConfig {
    log_bytes: 100_000,
    log_age: Duration::from_secs(600),
    follower_bytes: 100_000,
    record_bytes: 100_000,
};

impl World {
    /// A backend that runs.
    pub async fn new(kind: Kind) -> Self {
        let mut world = Self::asleep(kind);
        if kind != Kind::Memory {
            world.revive().await;
        }
        world
    }

    /// A backend that does not run yet (the memory bus always does).
    pub fn asleep(kind: Kind) -> Self {
        match kind {
            Kind::Memory => Self::Memory(MemoryBus::with_store(STORE), Mutex::default()),
            Kind::Redis | Kind::Nats => Self::Server(kind, Box::new(Server::new(kind, None))),
            Kind::Sentinel | Kind::RedisCluster | Kind::NatsCluster => Self::Fleet(Fleet::new(kind)),
        }
    }

    /// A node whose adapter has started and may not be connected.
    pub fn start_node(&self, bounds: Bounds) -> Node {
        match self {
            Self::Memory(bus, _) => Node::new(Arc::new(bus.adapter(memory::Config {
                inbox_bytes: bounds.inbox_bytes,
            }))),
            Self::Server(Kind::Redis, server) => Node::over(format!("redis://127.0.0.1:{}", server.port), bounds),
            Self::Server(_, server) => Node::over(format!("nats://127.0.0.1:{}", server.port), bounds),
            Self::Fleet(fleet) => Node::over(fleet.url(), bounds),
        }
    }

    /// A node that is connected.
    pub async fn node(&self) -> Node {
        self.node_with(Bounds::default()).await
    }

    pub async fn node_with(&self, bounds: Bounds) -> Node {
        let mut node = self.start_node(bounds);
        assert_eq!(node.next().await, Delivery::Connected);
        node
    }

    /// The backend dies.
    pub async fn kill(&mut self) {
        match self {
            Self::Memory(bus, _) => bus.set_connected(false),
            Self::Server(_, server) => server.kill().await,
            Self::Fleet(fleet) => fleet.kill().await,
        }
    }

    /// The backend is back, and answers on its port when this returns.
    pub async fn revive(&mut self) {
        match self {
            Self::Memory(bus, _) => bus.set_connected(true),
            Self::Server(_, server) => server.start().await,
            Self::Fleet(fleet) => fleet.start().await,
        }
    }

    /// A node's log and records.
    pub fn store(&self) -> (Arc<dyn Log>, Arc<dyn Records>) {
        match self {
            Self::Memory(bus, stores) => {
                let store = Arc::new(bus.store());
                stores.lock().expect("no panic").push(Arc::clone(&store));
                (Arc::clone(&store) as _, store)
            }
            Self::Server(kind, _) | Self::Fleet(Fleet { kind, .. }) => panic!("{kind:?} keeps no logs"),
        }
    }

    /// Cuts the node off whose log this is.
    pub fn cut(&self, log: &Arc<dyn Log>) {
        self.set_connected(log, false);
    }

    /// Brings it back.
    pub fn mend(&self, log: &Arc<dyn Log>) {
        self.set_connected(log, true);
    }

    fn set_connected(&self, log: &Arc<dyn Log>, connected: bool) {
        let Self::Memory(_, stores) = self else { panic!("no logs here") };
        let stores = stores.lock().expect("no panic");
        let own = stores.iter().find(|store| Arc::as_ptr(store).addr() == Arc::as_ptr(log).addr());
        own.expect("a log of this world").set_connected(connected);
    }

    /// Lets go of the stores, so that who else has them is the last.
    pub fn forget_stores(&self) {
        if let Self::Memory(_, stores) = self {
            stores.lock().expect("no panic").clear();
        }
    }

    /// The backend loses what was appended.
    #[expect(clippy::unused_async, reason = "a backend with a server has to be waited for")]
    pub async fn lose_logs(&self) {
        match self {
            Self::Memory(bus, _) => bus.lose_logs(),
            Self::Server(kind, _) | Self::Fleet(Fleet { kind, .. }) => panic!("{kind:?} keeps no logs"),
        }
    }

    pub fn server(&self) -> &Server {
        match self {
            Self::Memory(..) | Self::Fleet(_) => panic!("not one server"),
            Self::Server(_, server) => server,
        }
    }

    pub fn fleet(&mut self) -> &mut Fleet {
        match self {
            Self::Fleet(fleet) => fleet,
            Self::Memory(..) | Self::Server(..) => panic!("no fleet"),
        }
    }
}

/// A node of the cluster, as far as the adapter knows.
pub struct Node {
    pub adapter: Arc<dyn Adapter>,
    pub inbox: Inbox,
}

impl Node {
    pub fn new(adapter: Arc<dyn Adapter>) -> Self {
        let inbox = adapter.inbox().expect("the first call gets the inbox");
        assert!(adapter.inbox().is_none());
        Self { adapter, inbox }
    }

    /// A node whose adapter has this URL, and may not be connected.
    pub fn over(url: String, bounds: Bounds) -> Self {
        let Bounds { queue_bytes, inbox_bytes } = bounds;
        Self::new(if url.starts_with("nats") {
            let config = nats::Config {
                queue_bytes,
                inbox_bytes,
                ..nats::Config::new(url)
            };
            Arc::new(NatsAdapter::start(config).expect("a valid configuration"))
        } else {
            let config = redis::Config {
                queue_bytes,
                inbox_bytes,
                ..redis::Config::new(url)
            };
            Arc::new(RedisAdapter::start(config).expect("a valid configuration"))
        })
    }

    pub async fn subscribe(&self, topic: Topic) {
        within("a subscription is confirmed", self.adapter.subscribe(topic))
            .await
            .expect("confirmed");
    }

    pub fn publish(&self, topic_name: &str, message: impl Into<Bytes>) {
        self.adapter.publish(&topic(topic_name), message.into()).expect("queued");
    }

    /// Publishes, and waits while the queue is full.
    pub async fn publish_patiently(&self, topic: &Topic, message: Bytes) {
        while let Err(refused) = self.adapter.publish(topic, message.clone()) {
            assert_eq!(refused, PublishError::Full);
            sleep(Duration::from_millis(1)).await;
        }
    }

    pub async fn next(&mut self) -> Delivery {
        within("a delivery", self.inbox.next()).await.expect("an open inbox")
    }

    /// The next delivery, which must be a message.
    pub async fn message(&mut self) -> (String, Bytes) {
        match self.next().await {
            Delivery::Message { topic, payload } => (topic.as_str().to_owned(), payload),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// Waits for one delivery and skips what comes before.
    pub async fn until(&mut self, wanted: &Delivery) {
        while self.next().await != *wanted {}
    }
}

pub fn topic(name: &str) -> Topic {
    Topic::new(name).expect("a valid topic")
}

/// What must happen, happens.
pub async fn within<F: Future>(what: &str, future: F) -> F::Output {
    timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

/// Waits until a value that changes by itself is as wanted.
pub async fn eventually<T: Debug>(what: &str, mut value: impl FnMut() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let mut last = value();
    let waited = timeout(PATIENCE, async {
        while !wanted(&last) {
            sleep(Duration::from_millis(5)).await;
            last = value();
        }
    });
    let done = waited.await.is_ok();
    assert!(done, "not within {PATIENCE:?}: {what}; the last value was {last:?}");
    last
}
