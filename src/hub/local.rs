//! The hub: the namespaces of this node, and the local half of every command.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};

use super::{
    Command, Config, Counters, DisconnectReason, Dispatch, Observer, Query, Replies, Room, Scope, Target, client::Client, handlers::States,
    namespace, shared::Shared,
};
use crate::engine::{Application, CloseReason, Connection, Handle, Handshake, id, id::NodeTag};

/// The sockets of this node, by namespace. Runs on an engine's sessions, of which it is the [`Application`], and carries commands out
/// for the sockets of this node: alone it is a [`Dispatch`], and a cluster wraps it.
///
/// Handlers may own the hub through the [`Io`](super::Io) they use. [`Hub::close`] lets go of them, and of everything else.
#[derive(Debug)]
pub struct Hub {
    me: Weak<Self>,
    tag: NodeTag,
    shared: Arc<Shared>,
    /// Nothing when the hub is closed.
    namespaces: RwLock<Option<Namespaces>>,
    observer: OnceLock<Weak<dyn Observer>>,
}

type Namespaces = HashMap<Arc<str>, Arc<namespace::Core>>;

impl Hub {
    /// A hub with the namespace `/`. The tag is that of the node; the ids of its sockets bear it.
    #[must_use]
    pub fn new(config: Config, tag: NodeTag) -> Arc<Self> {
        let hub = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            tag,
            shared: Arc::new(Shared::new(config)),
            namespaces: RwLock::new(Some(HashMap::new())),
            observer: OnceLock::new(),
        });
        drop(hub.namespace("/"));
        hub
    }

    /// Does what a command says to the sockets of this node; nothing if the namespace does not exist here. Answers how many sockets
    /// were meant, so that who applies many commands knows when to let others work.
    pub fn apply(&self, command: &Command) -> usize {
        let namespace = self.find(&command.target().namespace);
        namespace.map_or(0, |namespace| namespace.apply(command))
    }

    /// Whether any of `rooms` has a socket here; of none, whether the namespace has any.
    #[must_use]
    pub fn interested(&self, namespace: &str, rooms: &[Room]) -> bool {
        self.find(namespace).is_some_and(|namespace| namespace.has_any(rooms))
    }

    /// The names of the namespaces, in no order.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Arc<str>> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.iter().flat_map(|namespaces| namespaces.keys()).cloned().collect()
    }

    /// Tells an observer of namespaces that are created from now on. There is one: says whether this is it.
    pub fn observe(&self, observer: Weak<dyn Observer>) -> bool {
        self.observer.set(observer).is_ok()
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// How many tasks of handlers and middlewares run now.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.shared.tasks()
    }

    /// Ends all sockets, waits for their handlers, at most for `grace`, then cancels those that still run. Lets go of all handlers,
    /// states and namespaces; the hub cannot be used again. The sessions are the engine's to close, before or after.
    pub async fn close(&self, grace: Duration) {
        self.shared.set_closed();
        let namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner).take();
        for namespace in namespaces.iter().flat_map(HashMap::values) {
            for socket in namespace.sockets(&Target::namespace(Arc::clone(&namespace.name))) {
                socket.end(DisconnectReason::Connection(CloseReason::ServerShuttingDown));
            }
        }
        if tokio::time::timeout(grace, self.shared.idle()).await.is_err() {
            self.shared.cancel();
            self.shared.idle().await;
        }
        for namespace in namespaces.into_iter().flat_map(HashMap::into_values) {
            drop(namespace.change_handlers(std::mem::take));
            self.shared.counters.namespaces.decrement();
        }
        self.shared.states.clear();
    }

    /// The namespace of this name, made if there is none. In a closed hub, one that nobody can join.
    pub(super) fn namespace(&self, name: &str) -> Arc<namespace::Core> {
        let name: Arc<str> = if name.starts_with('/') {
            name.into()
        } else {
            format!("/{name}").into()
        };
        if let Some(known) = self.find(&name) {
            return known;
        }
        let made = Arc::new(namespace::Core::new(Arc::clone(&name), Arc::clone(&self.shared)));
        {
            let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
            let Some(namespaces) = namespaces.as_mut() else { return made };
            if let Some(known) = namespaces.get(&name) {
                return Arc::clone(known);
            }
            namespaces.insert(Arc::clone(&name), Arc::clone(&made));
        }
        self.shared.counters.namespaces.increment();
        if let Some(observer) = self.observer.get().and_then(Weak::upgrade) {
            observer.namespace_created(&name);
        }
        made
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<namespace::Core>> {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        namespaces.as_ref()?.get(name).cloned()
    }

    pub(super) fn new_id(&self) -> Room {
        id::new_id(self.tag).into()
    }

    pub(super) fn states(&self) -> &States {
        &self.shared.states
    }
}

impl Dispatch for Hub {
    fn dispatch(&self, command: Command, _scope: Scope) {
        self.apply(&command);
    }

    fn request(&self, query: Query, _scope: Scope, deadline: Instant) -> Replies {
        match self.find(&query.target().namespace) {
            Some(namespace) => namespace.request(&query, deadline),
            None => Replies::of([], deadline),
        }
    }
}

impl Application for Hub {
    fn opened(&self, session: &Handle, handshake: &Arc<Handshake>) -> Box<dyn Connection> {
        self.shared.remember_runtime();
        Box::new(Client::new(Weak::clone(&self.me), Arc::clone(&self.shared), session, handshake))
    }
}
