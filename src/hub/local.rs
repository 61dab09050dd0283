//! The hub: the namespaces of this node, and the local half of every command.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::{Duration, Instant},
};

use super::{
    Command, Config, Counters, DisconnectReason, Dispatch, NodeLeft, NotDispatched, Observer, Query, Replies, Room, Scope, Target,
    client::Client,
    directory::{Adopted, Directory},
    handlers::{States, Table},
    namespace::{self, Delivered, Guest},
    parents::{Decide, Parent},
    recovery::{self, Journal, Offset},
    shared::{Shared, lock},
};
use crate::engine::{
    Application, CloseReason, Connection, Handle, Handshake, id,
    id::{NodeTag, OwnTag},
};

/// The sockets of this node, by namespace. Runs on an engine's sessions, of which it is the [`Application`], and carries commands out
/// for the sockets of this node: alone it is a [`Dispatch`], and a cluster wraps it.
///
/// Handlers may own the hub through the [`Io`](super::Io) they use. [`Hub::close`] lets go of them, and of everything else.
pub struct Hub {
    me: Weak<Self>,
    shared: Arc<Shared>,
    /// Nothing when the hub is closed.
    directory: RwLock<Option<Directory>>,
    /// Held while the observer is told, so that it does not hear of the past after the present.
    telling: Mutex<()>,
    /// The application's functions that are told of new namespaces.
    heralds: RwLock<Vec<Arc<Herald>>>,
    /// Those that are told of nodes that leave.
    mourners: RwLock<Vec<Arc<Mourner>>>,
}

pub(super) type Mourner = dyn Fn(&NodeLeft) + Send + Sync;

pub(super) type Herald = dyn Fn(&Arc<namespace::Core>) + Send + Sync;

impl Hub {
    /// A hub with the namespace `/`. The tag is that of the node; the ids of its sockets bear it.
    #[must_use]
    pub fn new(config: Config, tag: impl Into<OwnTag>) -> Arc<Self> {
        let hub = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            shared: Arc::new(Shared::new(config, tag.into())),
            directory: RwLock::new(Some(Directory::default())),
            telling: Mutex::default(),
            heralds: RwLock::default(),
            mourners: RwLock::default(),
        });
        drop(hub.namespace("/"));
        hub
    }

    /// The tag of this node.
    #[must_use]
    pub fn tag(&self) -> NodeTag {
        self.shared.tag.get()
    }

    /// Draws another tag, with which ids begin from now on: another node has the one before. Sockets keep their ids, by which other nodes
    /// look for them at that node; so their rooms are wanted like those of sockets that came from there.
    pub fn redraw_tag(&self) -> NodeTag {
        let tag = self.shared.tag.redraw();
        for name in self.namespaces() {
            if let Some(namespace) = self.find(&name) {
                namespace.disown();
            }
        }
        tag
    }

    /// Does what a command says to the sockets of this node; nothing if the namespace does not exist here. Answers how many sockets
    /// were meant, so that who applies many commands knows when to let others work.
    pub fn apply(&self, command: &Command) -> usize {
        let namespace = self.find(&command.target().namespace);
        namespace.map_or(0, |namespace| namespace.apply(command))
    }

    /// Answers what another node asks, for the sockets and the application of this node; nothing if the namespace does not exist here.
    pub fn answer(&self, query: &Query, deadline: Instant) -> Replies {
        match self.find(&query.target().namespace) {
            Some(namespace) => namespace.request(query, deadline),
            None => Replies::of([], deadline),
        }
    }

    /// Whether any of `rooms` has a socket here; of none, whether the namespace has any.
    #[must_use]
    pub fn interested(&self, namespace: &str, rooms: &[Room]) -> bool {
        self.find(namespace).is_some_and(|namespace| namespace.has_any(rooms))
    }

    /// The names of the namespaces, in no order.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Arc<str>> {
        self.look(|directory| directory.names().cloned().collect()).unwrap_or_default()
    }

    /// Tells an observer of namespaces that are created from now on. There is one: says whether this is it.
    pub fn observe(&self, observer: Weak<dyn Observer>) -> bool {
        self.shared.set_observer(observer)
    }

    /// Whether events for this namespace go to a log: its delivery is recoverable, and there is a journal.
    #[must_use]
    pub fn is_recoverable(&self, namespace: &str) -> bool {
        let rules = self.shared.config.connection_state_recovery.as_ref();
        rules.is_some_and(|rules| rules.covers(namespace)) && self.shared.journal().is_some()
    }

    /// Whether a command goes to the log of its namespace: an event that is neither volatile nor local.
    #[must_use]
    pub fn is_logged(&self, command: &Command, scope: Scope) -> bool {
        let lasting = matches!(command, Command::Emit { flags, .. } if !flags.volatile);
        lasting && scope == Scope::Cluster && self.is_recoverable(&command.target().namespace)
    }

    /// Recovers sessions over this journal from now on. There is one: says whether this is it.
    pub fn use_journal(&self, journal: Weak<dyn Journal>) -> bool {
        self.shared.set_journal(journal)
    }

    /// The log of a namespace goes on elsewhere: the entries between are lost. So are the sessions that were to get them; their
    /// connections are cut, so that the clients learn of it.
    pub fn log_jumps(&self, namespace: &str, place: Offset) {
        if let Some(namespace) = self.find(namespace) {
            namespace.jump(place);
        }
    }

    /// The log of a namespace has come so far: what was there when it was followed first, and what a namespace has to be told that was
    /// made anew.
    pub fn log_continues(&self, namespace: &str, place: Offset) {
        if let Some(namespace) = self.find(namespace) {
            namespace.continue_log(place);
        }
    }

    /// Delivers an entry of a log to the sockets of this node: the next one after that before. Without a command, it is one that nobody
    /// gets. Nothing if the namespace does not exist here.
    pub fn deliver(&self, namespace: &str, offset: Offset, command: Option<&Command>) -> Option<Delivered> {
        Some(self.find(namespace)?.deliver(offset, command))
    }

    /// How many sessions wait for their clients to come back.
    #[must_use]
    pub fn sessions_waiting(&self) -> usize {
        let count = |directory: &Directory| {
            let ledgers = directory.live().filter_map(|namespace| namespace.ledger.as_ref());
            ledgers.map(recovery::Ledger::len).sum()
        };
        self.look(count).unwrap_or_default()
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
        let directory = self
            .directory
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .unwrap_or_default();
        for namespace in directory.live() {
            for socket in namespace.sockets(&Target::namespace(Arc::clone(&namespace.name))) {
                socket.end(DisconnectReason::Connection(CloseReason::ServerShuttingDown));
            }
        }
        let last_words = async {
            self.shared.idle().await;
            for namespace in directory.live() {
                recovery::flush(namespace).await;
            }
        };
        let ended = tokio::time::timeout(grace, last_words).await.is_ok();
        self.shared.cancel();
        if !ended {
            self.shared.idle().await;
        }
        self.shared.stop().await;
        for namespace in directory.live() {
            drop(namespace.change_handlers(std::mem::take));
            if let Some(ledger) = &namespace.ledger {
                ledger.clear();
            }
            self.shared.counters.namespaces.decrement();
        }
        for parent in directory.parents() {
            drop(parent.core.change_handlers(std::mem::take));
        }
        let heralds = std::mem::take(&mut *self.heralds.write().unwrap_or_else(PoisonError::into_inner));
        let mourners = std::mem::take(&mut *self.mourners.write().unwrap_or_else(PoisonError::into_inner));
        drop((directory, heralds, mourners));
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
        let opened = self.change(|directory| directory.open(&name, || self.make(&name)));
        let Some((namespace, new)) = opened else { return self.make(&name) };
        if new {
            self.announce(&namespace);
        }
        namespace
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<namespace::Core>> {
        self.look(|directory| directory.find(name).cloned()).flatten()
    }

    /// A client comes into a namespace, or asks for one that a parent may allow. The guest leaves when the socket has ended; the
    /// application's own namespaces count none.
    pub(super) fn enter(&self, name: &str) -> Option<(Arc<namespace::Core>, Option<Guest>)> {
        let visited = self.look(|directory| (directory.visit(name), directory.parents().is_empty()))?;
        let namespace = match visited {
            (Some(live), _) => live,
            (None, true) => return None,
            (None, false) => self
                .change(|directory| directory.enter(name, || self.make(&name.into())))
                .flatten()?,
        };
        let counted = !namespace.is_own();
        let guest = counted.then(|| Guest::new(Weak::clone(&self.me), Arc::clone(&namespace)));
        Some((namespace, guest))
    }

    /// The last guest of a namespace has left.
    pub(super) fn vacate(&self, namespace: &Arc<namespace::Core>) {
        let keep = !self.shared.config.cleanup_empty_child_namespaces;
        if !self.change(|directory| directory.vacate(namespace, keep)).unwrap_or_default() {
            return;
        }
        self.shared.counters.namespaces.decrement();
        drop(namespace.change_handlers(std::mem::take));
        self.tell(&namespace.name);
    }

    /// Tells the observer how things are with a namespace. Who tells last tells what is so.
    fn tell(&self, name: &Arc<str>) {
        if let Some(observer) = self.shared.observer() {
            let _telling = lock(&self.telling);
            if self.find(name).is_some() {
                observer.namespace_created(name);
            } else {
                observer.namespace_removed(name);
            }
        }
    }

    /// Adds a parent of namespaces that clients ask for.
    pub(super) fn add_parent(&self, decide: Box<Decide>) -> Arc<Parent> {
        let make = |number: usize, decide| Parent::new(self.make(&format!("/_{number}").into()), decide);
        let mut decide = Some(decide);
        let added = self.change(|directory| {
            let decide = decide.take()?;
            Some(directory.add_parent(|number| make(number, decide)))
        });
        let closed = || make(0, decide.unwrap_or_else(|| Box::new(|_, _| Box::pin(async { false }))));
        added.flatten().unwrap_or_else(closed)
    }

    /// In the order in which they are asked.
    pub(super) fn parents(&self) -> Vec<Arc<Parent>> {
        self.look(|directory| directory.parents().to_vec()).unwrap_or_default()
    }

    /// A parent allows a namespace that was asked for, which begins with its handlers. Says whether there is a place for it.
    pub(super) fn adopt(&self, namespace: &Arc<namespace::Core>, parent: &Arc<Parent>) -> bool {
        let handlers = parent.core.handlers(Table::clone);
        let most = self.shared.config.max_child_namespaces;
        let adopted = self.change(|directory| {
            let adopted = directory.adopt(namespace, parent, most);
            if adopted == Adopted::Born {
                namespace.inherit(handlers);
            }
            adopted
        });
        if adopted == Some(Adopted::Born) {
            self.announce(namespace);
        }
        matches!(adopted, Some(Adopted::Born | Adopted::Known))
    }

    /// Tells a function of namespaces that come to be from now on.
    pub(super) fn herald(&self, herald: Arc<Herald>) {
        self.heralds.write().unwrap_or_else(PoisonError::into_inner).push(herald);
    }

    /// Tells a function of nodes that leave from now on.
    pub(super) fn mourn(&self, mourner: Arc<Mourner>) {
        self.mourners.write().unwrap_or_else(PoisonError::into_inner).push(mourner);
    }

    /// Another node is gone: tells the application, in the caller's thread.
    pub fn node_left(&self, left: &NodeLeft) {
        let mourners = self.mourners.read().unwrap_or_else(PoisonError::into_inner).clone();
        for mourner in mourners {
            if catch_unwind(AssertUnwindSafe(|| mourner(left))).is_err() {
                self.shared.counters.handler_panics.increment();
                tracing::error!(node = &**left.node(), "a function that is told of nodes that leave panicked");
            }
        }
    }

    /// Tells of a namespace that is live from now on, with no lock held.
    fn announce(&self, namespace: &Arc<namespace::Core>) {
        self.shared.counters.namespaces.increment();
        self.tell(&namespace.name);
        let heralds = self.heralds.read().unwrap_or_else(PoisonError::into_inner).clone();
        for herald in heralds {
            if catch_unwind(AssertUnwindSafe(|| herald(namespace))).is_err() {
                namespace.panicked("a function that is told of new namespaces");
            }
        }
    }

    fn make(&self, name: &Arc<str>) -> Arc<namespace::Core> {
        Arc::new(namespace::Core::new(Arc::clone(name), Arc::clone(&self.shared)))
    }

    fn look<T>(&self, look: impl FnOnce(&Directory) -> T) -> Option<T> {
        let directory = self.directory.read().unwrap_or_else(PoisonError::into_inner);
        directory.as_ref().map(look)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Directory) -> T) -> Option<T> {
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        directory.as_mut().map(change)
    }

    pub(super) fn new_id(&self) -> Room {
        id::new_id(self.shared.tag.get()).into()
    }

    pub(super) fn states(&self) -> &States {
        &self.shared.states
    }
}

impl Dispatch for Hub {
    fn dispatch(&self, command: Command, _scope: Scope) -> Result<(), NotDispatched> {
        self.apply(&command);
        Ok(())
    }

    fn request(&self, query: Query, _scope: Scope, deadline: Instant) -> Replies {
        match query {
            // There are no other nodes.
            Query::Tell { .. } => Replies::of([], deadline),
            query => self.answer(&query, deadline),
        }
    }
}

impl Application for Hub {
    fn opened(&self, session: &Handle, handshake: &Arc<Handshake>) -> Box<dyn Connection> {
        self.shared.remember_runtime();
        let mut client = Client::new(Weak::clone(&self.me), Arc::clone(&self.shared), session, handshake);
        client.open();
        Box::new(client)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("tag", &self.tag())
            .field("namespaces", &self.namespaces())
            .finish_non_exhaustive()
    }
}
