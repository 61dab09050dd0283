//! The server as applications see it.

use std::{fmt, sync::Arc};

use serde::Serialize;

use super::{Broadcast, Dispatch, EmitError, Hub, Namespace, Rooms, handlers::States};

/// The server: its namespaces, and the sockets of all nodes. Cheap to clone.
///
/// What `to`, `emit` and so on mean is the namespace `/`; [`Io::of`] gives the others.
///
/// ```
/// use fanfare::{
///     engine::id::NodeTag,
///     hub::{Ack, Args, Config, Data, EmitError, Hub, Io, RegisterError, Socket},
/// };
///
/// async fn chat(socket: Socket, Data(text): Data<String>) -> Result<(), EmitError> {
///     socket.broadcast().emit("chat", &text)
/// }
///
/// async fn add(Args((a, b)): Args<(i64, i64)>, ack: Ack) -> Result<(), EmitError> {
///     ack.send(&(a + b))
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hub = Hub::new(Config::default(), NodeTag::random());
/// let io = Io::new(hub.clone(), hub);
/// io.sockets().on("chat", chat)?.on("add", add)?;
/// io.emit("news", &"hello")?;
/// assert!(io.emit("connect", &()).is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Io {
    hub: Arc<Hub>,
    dispatch: Arc<dyn Dispatch>,
}

impl Io {
    /// A server out of the hub of this node and what carries commands out: the hub itself, or the cluster around it.
    #[must_use]
    pub const fn new(hub: Arc<Hub>, dispatch: Arc<dyn Dispatch>) -> Self {
        Self { hub, dispatch }
    }

    /// A namespace, which is made if there is none of this name. A leading `/` is added if missing; a comma in the name, which the
    /// protocol cannot carry, makes a namespace that no client can join.
    #[must_use]
    pub fn of(&self, name: &str) -> Namespace {
        Namespace::new(self.hub.namespace(name), self.clone())
    }

    /// The namespace `/`.
    #[must_use]
    pub fn sockets(&self) -> Namespace {
        self.of("/")
    }

    /// Gives a value to handlers that are registered from now on, as [`State`](super::State). There is one of each type.
    pub fn provide<S: Send + Sync + 'static>(&self, state: S) -> &Self {
        self.states().insert(Arc::new(state));
        self
    }

    /// The sockets of the rooms.
    pub fn to(&self, rooms: impl Rooms) -> Broadcast {
        self.sockets().to(rooms)
    }

    /// The sockets of the rooms; the same as [`Io::to`].
    pub fn in_(&self, rooms: impl Rooms) -> Broadcast {
        self.to(rooms)
    }

    /// The sockets that are in none of the rooms.
    pub fn except(&self, rooms: impl Rooms) -> Broadcast {
        self.sockets().except(rooms)
    }

    /// The sockets on this node.
    pub fn local(&self) -> Broadcast {
        self.sockets().local()
    }

    /// All sockets, for events that may be dropped.
    pub fn volatile(&self) -> Broadcast {
        self.sockets().volatile()
    }

    /// Sends an event to all sockets: see [`Broadcast::emit`].
    ///
    /// # Errors
    /// As [`Broadcast::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.sockets().emit(event, args)
    }

    /// Sends the event `message` to all sockets.
    ///
    /// # Errors
    /// As [`Broadcast::emit`].
    pub fn send<T: Serialize + ?Sized>(&self, args: &T) -> Result<(), EmitError> {
        self.sockets().send(args)
    }

    /// Makes all sockets join rooms.
    pub fn sockets_join(&self, rooms: impl Rooms) {
        self.sockets().sockets_join(rooms);
    }

    /// Makes all sockets leave rooms.
    pub fn sockets_leave(&self, rooms: impl Rooms) {
        self.sockets().sockets_leave(rooms);
    }

    /// Disconnects all sockets: see [`Socket::disconnect`](super::Socket::disconnect).
    pub fn disconnect_sockets(&self, close: bool) {
        self.sockets().disconnect_sockets(close);
    }

    /// The hub of this node.
    #[must_use]
    pub const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub(super) const fn dispatch(&self) -> &Arc<dyn Dispatch> {
        &self.dispatch
    }

    pub(super) fn states(&self) -> &States {
        self.hub.states()
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Io")
    }
}
