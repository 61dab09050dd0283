//! A bus inside one process: several nodes can live in one, with no backend to install.

use std::{
    collections::HashSet,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;

use self::store::Shelves;
use crate::{
    Adapter, Counters, Inbox, Limits, PublishError, Subscribing, Topic,
    inbox::{self, DEFAULT_INBOX_BYTES, InboxSender},
    wishes::Wishes,
};

mod book;
mod shelf;
mod store;

pub use self::store::{MemoryStore, StoreConfig};

/// Joins the adapters that it made. A value, not a global: two buses do not hear each other. Clones are the same bus.
///
/// A message is in every inbox when `publish` returns, so there is no queue and no `Full`; an inbox over its bound drops and says
/// `Gap`. The bus can be cut, for one adapter or for all, to rehearse an outage. It also keeps logs and records, which each node
/// reaches through a [`MemoryStore`].
#[derive(Clone, Default)]
pub struct MemoryBus {
    nodes: Arc<Mutex<Vec<Arc<Node>>>>,
    shelves: Arc<Shelves>,
}

/// What a node of a [`MemoryBus`] can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The inbox's bound in bytes; above it messages are dropped and a gap is marked. Default 64 MiB.
    pub inbox_bytes: usize,
}

/// One node's adapter of a [`MemoryBus`]. Dropping it takes the node off the bus.
pub struct MemoryAdapter {
    /// The bus. It holds nodes, never adapters, so this is no cycle.
    nodes: Arc<Mutex<Vec<Arc<Node>>>>,
    node: Arc<Node>,
    /// The reader's end, until somebody takes it.
    unread: Mutex<Option<Inbox>>,
}

struct Node {
    state: Mutex<State>,
    wishes: Wishes,
    inbox: InboxSender,
}

#[derive(Default)]
struct State {
    /// What is subscribed at the bus: follows the wishes while the node is connected.
    topics: HashSet<Topic>,
    connected: bool,
    closed: bool,
    published: u64,
    dropped: u64,
    connects: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            inbox_bytes: DEFAULT_INBOX_BYTES,
        }
    }
}

impl MemoryBus {
    /// A bus without nodes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A bus without nodes whose logs and records hold this much.
    #[must_use]
    pub fn with_store(config: StoreConfig) -> Self {
        Self {
            nodes: Arc::default(),
            shelves: Arc::new(Shelves::new(config)),
        }
    }

    /// One node's way to the bus's logs and records, connected from the start.
    #[must_use]
    pub fn store(&self) -> MemoryStore {
        self.shelves.store()
    }

    /// Has every log lose all its entries, as a backend without a disk does that is started anew: a new epoch begins.
    pub fn lose_logs(&self) {
        self.shelves.lose_logs();
    }

    /// Adds a node, connected from the start.
    #[must_use]
    pub fn adapter(&self, config: Config) -> MemoryAdapter {
        let (inbox, unread) = inbox::channel(config.inbox_bytes);
        let node = Arc::new(Node {
            state: Mutex::default(),
            wishes: Wishes::default(),
            inbox,
        });
        node.set_connected(true);
        lock(&self.nodes).push(node.clone());
        MemoryAdapter {
            nodes: self.nodes.clone(),
            node,
            unread: Mutex::new(Some(unread)),
        }
    }

    /// Cuts every node off, or brings all back, stores included: an outage of the whole backend. See
    /// [`MemoryAdapter::set_connected`].
    pub fn set_connected(&self, connected: bool) {
        for node in lock(&self.nodes).iter() {
            node.set_connected(connected);
        }
        self.shelves.set_connected(connected);
    }
}

impl MemoryAdapter {
    /// Cuts this node off the bus, or brings it back.
    ///
    /// While it is cut off its publishes are dropped and counted, it hears nothing, and new subscriptions wait for their
    /// confirmation. The inbox says `Disconnected`, then `Gap` and `Connected`.
    pub fn set_connected(&self, connected: bool) {
        // The bus is held, so that each publish meets all nodes in one state.
        let _held = lock(&self.nodes);
        self.node.set_connected(connected);
    }

    fn leave(&self) {
        lock(&self.nodes).retain(|node| !Arc::ptr_eq(node, &self.node));
        let mut state = lock(&self.node.state);
        state.closed = true;
        state.connected = false;
        drop(state);
        self.node.wishes.close();
        self.node.inbox.close();
    }
}

impl Adapter for MemoryAdapter {
    fn publish(&self, topic: &Topic, message: Bytes) -> Result<(), PublishError> {
        // Held while the message is handed out: what one publisher sends has one order for everybody.
        let nodes = lock(&self.nodes);
        if !lock(&self.node.state).connected {
            return self.node.drop_publish();
        }
        for node in nodes.iter() {
            let state = lock(&node.state);
            if state.connected && state.topics.contains(topic) {
                node.inbox.message(topic.clone(), message.clone());
            }
        }
        lock(&self.node.state).published += 1;
        Ok(())
    }

    fn subscribe(&self, topic: Topic) -> Subscribing {
        let subscribing = self.node.wishes.add(topic);
        self.node.follow_wishes();
        subscribing
    }

    fn unsubscribe(&self, topic: &Topic) {
        self.node.wishes.remove(topic);
        self.node.follow_wishes();
    }

    fn inbox(&self) -> Option<Inbox> {
        lock(&self.unread).take()
    }

    fn limits(&self) -> Limits {
        Limits {
            max_message: None,
            queue_bytes: usize::MAX,
            outage_age: Duration::ZERO,
        }
    }

    fn counters(&self) -> Counters {
        let (received, gaps) = self.node.inbox.counts();
        let state = lock(&self.node.state);
        let State {
            topics: _,
            connected,
            closed: _,
            published,
            dropped,
            connects,
        } = *state;
        Counters {
            published,
            dropped,
            received,
            gaps,
            malformed: 0,
            connects,
            connected: connected && self.node.wishes.all_confirmed(),
        }
    }

    fn fault(&self) -> Option<String> {
        (!lock(&self.node.state).connected).then(|| "cut off from the memory bus".to_owned())
    }

    fn close(&self, _grace: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async { self.leave() })
    }
}

impl Drop for MemoryAdapter {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Node {
    fn set_connected(&self, connected: bool) {
        let mut state = lock(&self.state);
        if state.closed || state.connected == connected {
            return;
        }
        state.connected = connected;
        if connected {
            self.wishes.restart();
            state.topics.clear();
            drop(state);
            self.follow_wishes();
            let mut state = lock(&self.state);
            state.connects += 1;
            self.inbox.connected(state.connects > 1);
        } else {
            self.inbox.disconnected();
        }
    }

    /// Brings the subscriptions up to the wishes, while connected.
    fn follow_wishes(&self) {
        let mut state = lock(&self.state);
        if !state.connected {
            return;
        }
        let changes = self.wishes.changes();
        for topic in &changes.unsubscribe {
            state.topics.remove(topic);
        }
        for topic in &changes.subscribe {
            state.topics.insert(topic.clone());
        }
        self.wishes.confirm(&changes.subscribe);
    }

    fn drop_publish(&self) -> Result<(), PublishError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(PublishError::Closed);
        }
        state.dropped += 1;
        Ok(())
    }
}

impl fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBus").field("nodes", &lock(&self.nodes).len()).finish()
    }
}

impl fmt::Debug for MemoryAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryAdapter")
            .field("counters", &self.counters())
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
