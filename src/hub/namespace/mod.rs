//! A namespace as applications see it.

mod core;

use std::{fmt, sync::Arc};

use serde::Serialize;

pub(super) use self::core::{Core, Tally, push};
use super::{
    Broadcast, EmitError, Io, RegisterError, Rooms, Target,
    handlers::{Handler, OnConnect, OnDisconnect, OnEvent, OnMiddleware, bind},
};
use crate::protocol::socketio::is_reserved;

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

    /// Runs a handler for each socket that has ended, after its events. There is one, as with [`Namespace::on_connect`].
    ///
    /// # Errors
    /// [`RegisterError::MissingState`].
    pub fn on_disconnect<A: 'static>(&self, handler: impl Handler<OnDisconnect, A>) -> Result<&Self, RegisterError> {
        let handler = bind(&self.io, handler)?;
        drop(self.core.change_handlers(|table| table.disconnect.replace(handler)));
        Ok(self)
    }

    /// Runs a handler for each event of that name. The events of a socket are handled in order, each when the one before is finished.
    /// There is one handler for each name: a later one takes the place of an earlier one.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn on<A: 'static>(&self, event: &str, handler: impl Handler<OnEvent, A>) -> Result<&Self, RegisterError> {
        if is_reserved(event) {
            return Err(RegisterError::Reserved(event.into()));
        }
        let handler = bind(&self.io, handler)?;
        drop(self.core.change_handlers(|table| table.events.insert(event.into(), handler)));
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

    /// All sockets of the namespace.
    pub fn all(&self) -> Broadcast {
        Broadcast::new(&self.io, Target::namespace(Arc::clone(&self.core.name)))
    }

    /// The sockets of the rooms.
    pub fn to(&self, rooms: impl Rooms) -> Broadcast {
        self.all().to(rooms)
    }

    /// The sockets of the rooms; the same as [`Namespace::to`].
    pub fn in_(&self, rooms: impl Rooms) -> Broadcast {
        self.to(rooms)
    }

    /// The sockets that are in none of the rooms.
    pub fn except(&self, rooms: impl Rooms) -> Broadcast {
        self.all().except(rooms)
    }

    /// The sockets on this node.
    pub fn local(&self) -> Broadcast {
        self.all().local()
    }

    /// All sockets, for events that may be dropped.
    pub fn volatile(&self) -> Broadcast {
        self.all().volatile()
    }

    /// Sends an event to all sockets: see [`Broadcast::emit`].
    ///
    /// # Errors
    /// As [`Broadcast::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.all().emit(event, args)
    }

    /// Sends the event `message` to all sockets.
    ///
    /// # Errors
    /// As [`Broadcast::emit`].
    pub fn send<T: Serialize + ?Sized>(&self, args: &T) -> Result<(), EmitError> {
        self.all().send(args)
    }

    /// Makes all sockets join rooms.
    pub fn sockets_join(&self, rooms: impl Rooms) {
        self.all().sockets_join(rooms);
    }

    /// Makes all sockets leave rooms.
    pub fn sockets_leave(&self, rooms: impl Rooms) {
        self.all().sockets_leave(rooms);
    }

    /// Disconnects all sockets: see [`Socket::disconnect`](super::Socket::disconnect).
    pub fn disconnect_sockets(&self, close: bool) {
        self.all().disconnect_sockets(close);
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({})", self.core.name)
    }
}
