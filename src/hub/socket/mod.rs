//! A socket as applications see it.

mod core;
mod operator;

use std::{fmt, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

pub(super) use self::core::{Core, Standing, refusal};
pub use self::operator::SocketOperator;
use super::{
    AckRequest, BroadcastOperator, EmitError, EmitFlags, Io, JoinError, RegisterError, Room, Rooms, Target,
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
        self.emit_flagged(&Payload::event(event, args)?, EmitFlags::default())
    }

    /// Sends an event that is encoded already. What the parser cannot encode is dropped and counted.
    pub fn emit_payload(&self, event: &Payload) {
        // It was counted.
        drop(self.emit_flagged(event, EmitFlags::default()));
    }

    /// Sends the event `message`.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn send<T: Serialize + ?Sized>(&self, args: &T) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// The same as [`Socket::send`].
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn write<T: Serialize + ?Sized>(&self, args: &T) -> Result<(), EmitError> {
        self.send(args)
    }

    /// Sends an event and asks for an answer, which is awaited:
    ///
    /// ```no_run
    /// # use fanfare::hub::{AckError, Socket};
    /// # use std::time::Duration;
    /// async fn ask(socket: Socket) -> Result<(), AckError> {
    ///     let name: String = socket.timeout(Duration::from_secs(2)).emit_with_ack("who are you", &()).await?;
    ///     # drop(name);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// A mistake of the caller is an error of the answer.
    pub fn emit_with_ack<A>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> AckRequest<A> {
        self.operator().emit_with_ack(event, args)
    }

    /// The same socket for events that are dropped, and counted, if they cannot be written now.
    pub fn volatile(&self) -> SocketOperator<'_> {
        self.operator().volatile()
    }

    /// The same socket for events that may or may not be compressed.
    pub fn compress(&self, compress: bool) -> SocketOperator<'_> {
        self.operator().compress(compress)
    }

    /// The same socket for events whose answer is waited for so long.
    pub fn timeout(&self, timeout: Duration) -> SocketOperator<'_> {
        self.operator().timeout(timeout)
    }

    /// Everybody else in the namespace.
    pub fn broadcast(&self) -> BroadcastOperator {
        let target = Target {
            namespace: Arc::clone(self.namespace()),
            rooms: Vec::new(),
            except: vec![Arc::clone(self.id())],
        };
        BroadcastOperator::new(&self.io, target)
    }

    /// Everybody else in the rooms.
    pub fn to(&self, rooms: impl Rooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// Everybody else in the rooms; the same as [`Socket::to`].
    pub fn in_(&self, rooms: impl Rooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Everybody else who is in none of the rooms.
    pub fn except(&self, rooms: impl Rooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Everybody else on this node.
    pub fn local(&self) -> BroadcastOperator {
        self.broadcast().local()
    }

    /// Joins rooms. In a middleware this takes effect when the client is connected, and never if it is refused. After the client's
    /// disconnect it does nothing.
    ///
    /// # Errors
    /// [`JoinError`]: the socket is in as many rooms as it may be ([`Config::max_rooms`](super::Config::max_rooms)). It has joined those
    /// of the rooms for which there was a place, in their order; each of the others is counted.
    pub fn join(&self, rooms: impl Rooms) -> Result<(), JoinError> {
        let refused = rooms.into_rooms().map(|room| self.core.join(room)).filter(|joined| !joined).count();
        if refused == 0 { Ok(()) } else { Err(JoinError::TooManyRooms) }
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

    const fn operator(&self) -> SocketOperator<'_> {
        SocketOperator::new(self)
    }

    fn emit_flagged(&self, event: &Payload, flags: EmitFlags) -> Result<(), EmitError> {
        let message = self.core.namespace.event(event, None, flags)?;
        self.core.send(&message, flags.volatile);
        Ok(())
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
