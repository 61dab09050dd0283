//! A socket as applications see it.

mod core;

use std::{fmt, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

pub(super) use self::core::{Core, Standing, refusal};
use super::{
    AckRequest, Broadcast, EmitError, Io, RegisterError, Room, Rooms, Scope, Target,
    handlers::{Handler, OnEvent, Rejection, bind},
};
use crate::{
    engine::{Handshake, Transport},
    protocol::socketio::{Payload, is_reserved},
};

/// One client in one namespace. Cheap to clone; kept beyond the client's disconnect it does nothing.
///
/// ```no_run
/// use fanfare::hub::{Data, EmitError, Socket};
///
/// async fn chat(socket: Socket, Data(text): Data<String>) -> Result<(), EmitError> {
///     socket.emit("sent", &())?;
///     socket.broadcast().emit("chat", &text)
/// }
/// ```
#[derive(Clone)]
pub struct Socket {
    core: Arc<Core>,
    io: Io,
}

impl Socket {
    pub(super) const fn new(core: Arc<Core>, io: Io) -> Self {
        Self { core, io }
    }

    /// The socket's id: 20 characters, drawn apart from the session's. It is a room as well, with this socket in it.
    #[must_use]
    pub fn id(&self) -> &Room {
        &self.core.id
    }

    /// The name of the namespace.
    #[must_use]
    pub fn namespace(&self) -> &Arc<str> {
        &self.core.namespace.name
    }

    /// The server through which the handler was registered that got this socket.
    #[must_use]
    pub const fn io(&self) -> &Io {
        &self.io
    }

    /// The request that opened the session.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        &self.core.peer.handshake
    }

    /// The transport that the session uses now.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.core.peer.handle.transport()
    }

    /// What the client gave as `auth` when it connected; `{}` if nothing.
    ///
    /// # Errors
    /// [`Rejection`]: it is no `T`.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        let text = self.core.auth.as_deref().unwrap_or("{}");
        serde_json::from_str(text).map_err(|error| Rejection::new(error.to_string()))
    }

    /// Says who the client is, as a middleware has found out: for [`Socket::user`]. The first word counts; answers whether this is it.
    ///
    /// ```
    /// use fanfare::hub::{ConnectError, Data, Io, RegisterError, Socket};
    ///
    /// async fn log_in(socket: Socket, Data(auth): Data<serde_json::Value>) -> Result<(), ConnectError> {
    ///     let user = auth["user"].as_str().ok_or("who are you?")?;
    ///     socket.identify(user);
    ///     Ok(())
    /// }
    ///
    /// # fn serve(io: &Io) -> Result<(), RegisterError> {
    /// io.sockets()
    ///     .with(log_in)?
    ///     .on("whoami", async |socket: Socket| socket.emit("you are", &socket.user()))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn identify(&self, user: impl Into<Box<str>>) -> bool {
        self.core.user.set(user.into()).is_ok()
    }

    /// Who the client is, if a middleware has [said](Socket::identify) so.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.core.user.get().map(|user| &**user)
    }

    /// Whether the client is connected to the namespace: not yet in a middleware, no more in a disconnect handler.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.core.standing() == Standing::Connected
    }

    /// Sends an event to this client. A tuple gives as many arguments as it has elements, anything else one. If the client is not
    /// connected, or goes before it is sent, the event is dropped and counted.
    ///
    /// # Errors
    /// [`EmitError`]: the name is reserved, or the arguments cannot be encoded.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.core
            .send(&self.core.namespace.event(&Payload::event(event, args)?, None)?, false);
        Ok(())
    }

    /// Sends an event that is encoded already. What the parser cannot encode is dropped and counted.
    pub fn emit_payload(&self, event: &Payload) {
        if let Ok(message) = self.core.namespace.event(event, None) {
            self.core.send(&message, false);
        }
    }

    /// Sends the event `message`.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn send<T: Serialize + ?Sized>(&self, args: &T) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Sends an event and asks for an answer, which is awaited:
    ///
    /// ```no_run
    /// # use fanfare::hub::{AckError, Socket};
    /// # use std::time::Duration;
    /// async fn ask(socket: Socket) -> Result<(), AckError> {
    ///     let name: String = socket.emit_with_ack("who are you", &()).timeout(Duration::from_secs(2)).await?;
    ///     # drop(name);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// A mistake of the caller is an error of the answer.
    pub fn emit_with_ack<A>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> AckRequest<A> {
        AckRequest::new(&self.core, Payload::event(event, args))
    }

    /// The same socket for events that are dropped, and counted, if they cannot be written now.
    #[must_use]
    pub const fn volatile(&self) -> Volatile<'_> {
        Volatile(self)
    }

    /// Everybody else in the namespace.
    pub fn broadcast(&self) -> Broadcast {
        let target = Target {
            namespace: Arc::clone(self.namespace()),
            rooms: Vec::new(),
            except: vec![Arc::clone(self.id())],
        };
        Broadcast::new(&self.io, target)
    }

    /// Everybody else in the rooms.
    pub fn to(&self, rooms: impl Rooms) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// Everybody else in the rooms; the same as [`Socket::to`].
    pub fn in_(&self, rooms: impl Rooms) -> Broadcast {
        self.to(rooms)
    }

    /// Everybody else who is in none of the rooms.
    pub fn except(&self, rooms: impl Rooms) -> Broadcast {
        self.broadcast().except(rooms)
    }

    /// Everybody else on this node.
    pub fn local(&self) -> Broadcast {
        self.broadcast().scope(Scope::Local)
    }

    /// Joins rooms. In a middleware this takes effect when the client is connected, and never if it is refused.
    pub fn join(&self, rooms: impl Rooms) {
        for room in rooms.into_rooms() {
            self.core.join(room);
        }
    }

    /// Leaves rooms. The room of its own id cannot be left.
    pub fn leave(&self, rooms: impl Rooms) {
        for room in rooms.into_rooms() {
            self.core.leave(&room);
        }
    }

    /// The rooms it is in, that of its own id first; none after its end.
    #[must_use]
    pub fn rooms(&self) -> Vec<Room> {
        self.core.rooms()
    }

    /// Handles an event of this client, in place of the namespace's handler for it.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn on<A: 'static>(&self, event: &str, handler: impl Handler<OnEvent, A>) -> Result<&Self, RegisterError> {
        if is_reserved(event) {
            return Err(RegisterError::Reserved(event.into()));
        }
        self.core.on(event, bind(&self.io, handler)?);
        Ok(self)
    }

    /// Disconnects the client from the namespace, or, with `close`, from all its namespaces and from the server. It is told, so that the
    /// stock client does not reconnect. The state has changed when this returns; the disconnect handler runs after it. In a
    /// middleware this does nothing: refuse the client instead.
    pub fn disconnect(&self, close: bool) {
        if close && self.is_connected() {
            self.core.peer.disconnect();
        } else {
            self.core.disconnect();
        }
    }

    pub(super) fn answer(&self, id: u64, args: &Payload) {
        if let Ok(message) = self.core.namespace.ack(args, id) {
            self.core.send(&message, false);
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = self.core.id.get(..6).unwrap_or_default();
        write!(f, "Socket({}#{masked}…)", self.core.namespace.name)
    }
}

/// A socket for events that are dropped if they cannot be written now: see [`Socket::volatile`].
#[derive(Debug, Clone, Copy)]
pub struct Volatile<'a>(&'a Socket);

impl Volatile<'_> {
    /// Sends an event to this client if it can be written to now.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn emit<T: Serialize + ?Sized>(self, event: &str, args: &T) -> Result<(), EmitError> {
        let payload = Payload::event(event, args)?;
        let Self(Socket { core, .. }) = self;
        core.send(&core.namespace.event(&payload, None)?, true);
        Ok(())
    }

    /// Everybody else in the namespace.
    pub fn broadcast(self) -> Broadcast {
        self.0.broadcast().volatile()
    }

    /// Everybody else in the rooms.
    pub fn to(self, rooms: impl Rooms) -> Broadcast {
        self.0.to(rooms).volatile()
    }
}
