//! A namespace as applications see it.

mod core;
mod deflated;
mod kin;
mod logged;
mod parent;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub(super) use self::{
    core::{Core, Tally, push},
    kin::{Guest, Kin},
};
pub use self::{logged::Delivered, parent::ParentNamespace};
use super::{
    BroadcastOperator, Io, RegisterError, Room, ServerEvent, Target,
    handlers::{Handler, Listeners, OnConnect, OnMiddleware, bind, check_name, registrations},
    operators::operators,
    recovery::{Expired, OnExpired},
    server::OnServer,
};

/// A namespace: its handlers on this node, and its sockets on all nodes. Got by [`Io::of`].
///
/// ```no_run
/// use fanfare::hub::{Data, EmitError, Io, RegisterError, Socket};
///
/// async fn say(socket: Socket, Data(text): Data<String>) -> Result<(), EmitError> {
///     socket.to("lobby").emit("said", &text)
/// }
///
/// fn serve(io: &Io) -> Result<(), RegisterError> {
///     io.of("/chat")
///         .on_connect(async |socket: Socket| socket.join("lobby"))?
///         .on("say", say)?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Namespace {
    core: Arc<Core>,
    io: Io,
}

impl Namespace {
    pub(super) const fn new(core: Arc<Core>, io: Io) -> Self {
        Self { core, io }
    }

    /// Its name, with the leading `/`.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.core.name
    }

    /// Runs a handler for each socket that connects, before its events. There is one: a later one takes the place of an earlier one.
    ///
    /// # Errors
    /// [`RegisterError::MissingState`].
    pub fn on_connect<A: 'static>(&self, handler: impl Handler<OnConnect, A>) -> Result<&Self, RegisterError> {
        let handler = bind(&self.io, handler)?;
        drop(self.core.change_handlers(|table| table.connect.replace(handler)));
        Ok(self)
    }

    /// Adds a middleware: it is asked, after those added before, whether a client may connect. Its error is sent to the client.
    ///
    /// # Errors
    /// [`RegisterError::MissingState`].
    pub fn with<A: 'static>(&self, middleware: impl Handler<OnMiddleware, A>) -> Result<&Self, RegisterError> {
        let middleware = bind(&self.io, middleware)?;
        self.core.change_handlers(|table| table.middlewares.push(middleware));
        Ok(self)
    }

    fn register<T>(&self, change: impl FnOnce(&mut Listeners) -> T) {
        drop(
            self.core
                .change_handlers(|table| self.core.register_in(&mut table.listeners, change)),
        );
    }

    fn listeners<T>(&self, look: impl FnOnce(&Listeners) -> T) -> T {
        self.core.handlers(|table| look(&table.listeners))
    }

    /// The rooms that have members on this node, and how many; a socket's own is not among them.
    #[must_use]
    pub fn rooms(&self) -> BTreeMap<Room, usize> {
        self.core.rooms()
    }

    /// How many sockets are connected on this node.
    #[must_use]
    pub fn count(&self) -> usize {
        self.core.count()
    }

    /// Runs a handler for each session whose client has not come back in time, on one node of those that have its records; only where
    /// delivery is [recoverable](super::recovery). There is one, as with [`Namespace::on_connect`].
    ///
    /// ```no_run
    /// # use fanfare::hub::{Io, recovery::Expired};
    /// # fn watch(io: &Io) {
    /// io.sockets().on_session_expired(async |session: Expired| println!("{} did not come back", session.id));
    /// # }
    /// ```
    pub fn on_session_expired<F: Future<Output = ()> + Send + 'static>(
        &self,
        handler: impl Fn(Expired) -> F + Send + Sync + 'static,
    ) -> &Self {
        let handler = OnExpired::new(handler);
        drop(self.core.change_handlers(|table| table.expired.replace(handler)));
        self
    }

    /// Runs a handler for each event of that name which the application of another node sends with `server_side_emit`: see
    /// [`ServerEvent`]. There is one for each name, a later one takes the place of an earlier one. Each call is a task of its own.
    ///
    /// # Errors
    /// [`RegisterError::Reserved`].
    pub fn on_server_event<F: Future<Output = ()> + Send + 'static>(
        &self,
        event: &str,
        handler: impl Fn(ServerEvent) -> F + Send + Sync + 'static,
    ) -> Result<&Self, RegisterError> {
        check_name(event)?;
        let handler = OnServer::new(handler);
        drop(self.core.change_handlers(|table| table.server.insert(event.into(), handler)));
        Ok(self)
    }

    /// Removes the handler of other nodes' events of that name.
    pub fn off_server_event(&self, event: &str) -> &Self {
        drop(self.core.change_handlers(|table| table.server.remove(event)));
        self
    }

    /// All sockets of the namespace.
    pub fn all(&self) -> BroadcastOperator {
        BroadcastOperator::new(&self.io, Target::namespace(Arc::clone(&self.core.name)))
    }
}

operators!(Namespace);
registrations!(Namespace, "the namespace's sockets");

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({})", self.core.name)
    }
}
