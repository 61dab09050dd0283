//! A socket as applications see it.

mod core;
mod operator;
mod own;

use std::{fmt, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

pub(super) use self::core::{Core, Standing, refusal};
pub use self::operator::SocketOperator;
use super::{
    AckRequest, BroadcastOperator, Command, EmitError, EmitFlags, HandshakeObject, Io, JoinError, Joined, Room, Rooms, Scope, Target,
    handlers::{Listeners, Rejection, registrations},
    operators::choosers,
    recovery::KeptHandshake,
};
use crate::{
    engine::{Handshake, Transport},
    protocol::socketio::{EncodeError, Encoding, Payload},
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

    /// The socket's id: 20 characters, drawn apart from the session's. It is a room as well, with this socket in it. A client of
    /// Socket.IO 1 or 2 knows its id from the session's, so that there it is the session's id in `/`, and `<namespace>#<session's id>`
    /// elsewhere.
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

    /// The request that opened the session of Engine.IO: for a socket that was [recovered](Socket::recovered) that of the new connection,
    /// as in the reference.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        &self.core.peer.handshake
    }

    /// The same in the reference's form, with the auth: `socket.handshake` of JavaScript. Nothing is withheld.
    #[must_use]
    pub fn handshake_object(&self) -> HandshakeObject {
        HandshakeObject::new(self.handshake(), self.core.auth.as_deref(), true)
    }

    /// What is kept of the handshake with which the session began that this socket has, over all its connections: address, time, and the
    /// values that [`Recovery::handshake_keep`] names. Of a socket that was recovered it is known to the middlewares already. Nothing
    /// where the session cannot be recovered.
    ///
    /// ```
    /// use fanfare::hub::{ConnectError, Socket};
    ///
    /// /// A middleware: a session does not move from one device to another.
    /// async fn same_device(socket: Socket) -> Result<(), ConnectError> {
    ///     let device = socket.handshake().header("user-agent").map(serde_json::Value::from);
    ///     match socket.kept_handshake() {
    ///         Some(first) if socket.recovered() && first.value("headers.user-agent") != device => Err("another device".into()),
    ///         _ => Ok(()),
    ///     }
    /// }
    /// # drop(same_device);
    /// ```
    ///
    /// [`Recovery::handshake_keep`]: super::recovery::Recovery::handshake_keep
    #[must_use]
    pub fn kept_handshake(&self) -> Option<Arc<KeptHandshake>> {
        self.core.kept_handshake()
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

    /// Whether the client has got back the session of a connection that broke: its id, its rooms and its data are those of before, and what
    /// it has missed is on its way. See [`recovery`](super::recovery).
    #[must_use]
    pub fn recovered(&self) -> bool {
        self.core.recovered()
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
        self.emit_payload(&self.encoding().event(event, args)?)
    }

    /// Sends an event that is encoded already.
    ///
    /// # Errors
    /// [`EmitError`]: the parser cannot encode it, or the log of the namespace does not take it.
    pub fn emit_payload(&self, event: &Payload) -> Result<(), EmitError> {
        self.emit_flagged(event, EmitFlags::default())
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

    /// Joins rooms. In a middleware this takes effect when the client is connected, and never if it is refused. After the client's
    /// disconnect it does nothing. [`Joined`] may be awaited: then what other nodes emit reaches the socket, too.
    ///
    /// # Errors
    /// [`JoinError`]: the socket is in as many rooms as it may be ([`Config::max_rooms`](super::Config::max_rooms)). It has joined those
    /// of the rooms for which there was a place, in their order; each of the others is counted.
    pub fn join(&self, rooms: impl Rooms) -> Result<Joined, JoinError> {
        let refused = rooms.into_rooms().map(|room| self.core.join(room)).filter(|joined| !joined).count();
        if refused == 0 {
            Ok(Joined::here(Arc::clone(&self.core.namespace.shared)))
        } else {
            Err(JoinError::TooManyRooms)
        }
    }

    /// Leaves rooms. The room of its own id cannot be left.
    pub fn leave(&self, rooms: impl Rooms) {
        for room in rooms.into_rooms() {
            self.core.leave(&room);
        }
    }

    /// The rooms it is in, that of its own id first. After its end, those it was in until its `on_disconnecting` handlers have run; none from
    /// then on.
    #[must_use]
    pub fn rooms(&self) -> Vec<Room> {
        self.core.rooms()
    }

    /// Gives the socket a value of its own, in place of one of the same type: handlers take it as
    /// [`Extension<T>`](super::Extension). It stays on this node, and is dropped when the disconnect handlers have run; given later, at
    /// once.
    ///
    /// ```no_run
    /// use fanfare::hub::{Data, EmitError, Extension, Io, RegisterError, Socket};
    ///
    /// struct User {
    ///     name: String,
    /// }
    ///
    /// async fn say(socket: Socket, user: Extension<User>, Data(text): Data<String>) -> Result<(), EmitError> {
    ///     socket.broadcast().emit("said", &(&user.name, text))
    /// }
    ///
    /// fn serve(io: &Io) -> Result<(), RegisterError> {
    ///     let chat = io.of("/chat");
    ///     chat.on_connect(async |socket: Socket, Data(name): Data<String>| socket.extend(User { name }))?;
    ///     chat.on("say", say)?;
    ///     Ok(())
    /// }
    /// ```
    pub fn extend<T: Send + Sync + 'static>(&self, value: T) {
        self.core.extend(Arc::new(value));
    }

    /// A value given to [`Socket::extend`].
    #[must_use]
    pub fn extension<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.core.extension()
    }

    /// What the application keeps with the socket as JSON, decoded; `{}` before [`Socket::set_data`]. Unlike an
    /// [extension](Socket::extend) it goes where the socket is known: other nodes see it in what `fetch_sockets` gives.
    ///
    /// # Errors
    /// [`Rejection`]: it is no `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        let json = self.core.data();
        serde_json::from_str(json.as_deref().unwrap_or("{}")).map_err(|error| Rejection::new(error.to_string()))
    }

    /// Keeps data with the socket, in place of what was kept before.
    ///
    /// # Errors
    /// [`EncodeError::Json`]: it has no JSON form.
    pub fn set_data<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), EmitError> {
        let json = serde_json::to_string(data).map_err(EncodeError::Json)?;
        self.core.set_data(json.into());
        Ok(())
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

    fn register<T>(&self, change: impl FnOnce(&mut Listeners) -> T) {
        self.core.register(change);
    }

    fn listeners<T: Default>(&self, look: impl FnOnce(&Listeners) -> T) -> T {
        self.core.own_listeners(|own| look(own)).unwrap_or_default()
    }

    /// Counts a panic of something that the application has registered.
    pub(super) fn panicked(&self, what: &str) {
        self.core.panicked(what);
    }

    /// How values become payloads.
    pub(super) fn encoding(&self) -> Encoding {
        self.core.shared().config.parser.encoding()
    }

    const fn operator(&self) -> SocketOperator<'_> {
        SocketOperator::new(self)
    }

    fn emit_flagged(&self, event: &Payload, flags: EmitFlags) -> Result<(), EmitError> {
        if flags.volatile || !self.core.is_logged() {
            return Ok(self.core.emit(event, flags)?);
        }
        // To whichever connection the session has when it comes back from the log.
        let target = Target {
            rooms: vec![Arc::clone(self.id())],
            ..Target::namespace(Arc::clone(self.namespace()))
        };
        let payload = event.clone();
        let command = Command::Emit { target, payload, flags };
        Ok(self.io.dispatch().dispatch(command, Scope::Cluster)?)
    }

    pub(super) fn answer(&self, id: u64, args: &Payload) {
        if let Ok(message) = self.core.namespace.ack(args, id) {
            self.core.send(&message, false);
        }
    }
}

choosers!(Socket, broadcast, "Everybody else");
registrations!(Socket, "this socket");

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = self.core.id.get(..6).unwrap_or_default();
        write!(f, "Socket({}#{masked}…)", self.core.namespace.name)
    }
}
