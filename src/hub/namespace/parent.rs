//! Dynamic namespaces as applications see them.

use std::{fmt, sync::Arc};

use crate::hub::{
    BroadcastOperator, Io, RegisterError, Target,
    handlers::{Handler, Listeners, OnConnect, OnMiddleware, bind, registrations},
    operators::operators,
    parents::Parent,
    recovery::{Expired, OnExpired},
};

/// The namespaces that come to be when a client asks for one: see [`Io::of_dynamic`]. What is sent goes to all of them that exist on
/// this node, and to their sockets on other nodes.
#[derive(Clone)]
pub struct ParentNamespace {
    parent: Arc<Parent>,
    io: Io,
}

impl ParentNamespace {
    pub(in crate::hub) const fn new(parent: Arc<Parent>, io: Io) -> Self {
        Self { parent, io }
    }

    /// The names of its namespaces on this node, in order.
    #[must_use]
    pub fn children(&self) -> Vec<Arc<str>> {
        self.parent.children()
    }

    /// Runs a handler for each socket that connects: see [`Namespace::on_connect`](crate::hub::Namespace::on_connect).
    ///
    /// # Errors
    /// [`RegisterError::MissingState`].
    pub fn on_connect<A: 'static>(&self, handler: impl Handler<OnConnect, A>) -> Result<&Self, RegisterError> {
        let handler = bind(&self.io, handler)?;
        drop(self.parent.core.change_handlers(|table| table.connect.replace(handler)));
        Ok(self)
    }

    /// Adds a middleware: see [`Namespace::with`](crate::hub::Namespace::with).
    ///
    /// # Errors
    /// [`RegisterError::MissingState`].
    pub fn with<A: 'static>(&self, middleware: impl Handler<OnMiddleware, A>) -> Result<&Self, RegisterError> {
        let middleware = bind(&self.io, middleware)?;
        self.parent.core.change_handlers(|table| table.middlewares.push(middleware));
        Ok(self)
    }

    /// Runs a handler for each session whose client has not come back in time: see
    /// [`Namespace::on_session_expired`](crate::hub::Namespace::on_session_expired).
    pub fn on_session_expired<F: Future<Output = ()> + Send + 'static>(
        &self,
        handler: impl Fn(Expired) -> F + Send + Sync + 'static,
    ) -> &Self {
        let handler = OnExpired::new(handler);
        drop(self.parent.core.change_handlers(|table| table.expired.replace(handler)));
        self
    }

    fn register<T>(&self, change: impl FnOnce(&mut Listeners) -> T) {
        let core = &self.parent.core;
        drop(core.change_handlers(|table| core.register_in(&mut table.listeners, change)));
    }

    fn listeners<T>(&self, look: impl FnOnce(&Listeners) -> T) -> T {
        self.parent.core.handlers(|table| look(&table.listeners))
    }

    /// All sockets of all its namespaces.
    pub fn all(&self) -> BroadcastOperator {
        let target = Target::namespace(Arc::clone(&self.parent.core.name));
        BroadcastOperator::new(&self.io, target).of_children(Arc::clone(&self.parent))
    }
}

operators!(ParentNamespace);
registrations!(ParentNamespace, "the sockets of namespaces that are made from now on");

impl fmt::Debug for ParentNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ParentNamespace({})", self.parent.core.name)
    }
}
