//! Sockets that may be on other nodes.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use super::{AckRequest, BroadcastOperator, EmitError, HandshakeObject, Joined, Rejection, Room, Rooms, SocketRecord};

/// A socket as `fetch_sockets` gives it: what was known of it then, and the way to it now, on whatever node it is. Cheap to clone.
///
/// ```no_run
/// # use fanfare::hub::{FetchError, Io};
/// async fn tidy(io: &Io) -> Result<(), FetchError> {
///     for socket in io.to("lobby").fetch_sockets().await? {
///         if socket.rooms().len() > 10 {
///             socket.leave("lobby");
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct RemoteSocket {
    record: Arc<SocketRecord>,
    operator: BroadcastOperator,
}

impl RemoteSocket {
    /// `operator` means the namespace, as far as the socket was looked for.
    pub(super) fn new(record: SocketRecord, operator: &BroadcastOperator) -> Self {
        Self {
            operator: operator.clone().to(Arc::clone(&record.id)),
            record: Arc::new(record),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &Room {
        &self.record.id
    }

    /// How it came. Cookies and authorization are withheld unless
    /// [`Config::expose_credentials`](super::Config::expose_credentials) says otherwise.
    #[must_use]
    pub fn handshake(&self) -> &HandshakeObject {
        &self.record.handshake
    }

    /// The rooms it was in, that of its own id first.
    #[must_use]
    pub fn rooms(&self) -> &[Room] {
        &self.record.rooms
    }

    /// What the application keeps with it: see [`Socket::set_data`](super::Socket::set_data).
    ///
    /// # Errors
    /// [`Rejection`]: it is no `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        T::deserialize(&self.record.data).map_err(|error| Rejection::new(error.to_string()))
    }

    /// The same socket, whose answers are waited for so long.
    #[must_use]
    pub fn timeout(&self, timeout: Duration) -> Self {
        Self {
            record: Arc::clone(&self.record),
            operator: self.operator.clone().timeout(timeout),
        }
    }

    /// Sends it an event: see [`BroadcastOperator::emit`].
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.operator.clone().emit(event, args)
    }

    /// Sends it an event and asks for its one answer: see [`Socket::emit_with_ack`](super::Socket::emit_with_ack). Its node waits as long as
    /// [`RemoteSocket::timeout`] says, from now on; [`AckRequest::timeout`] can only shorten that.
    pub fn emit_with_ack<A>(&self, event: &str, args: &(impl Serialize + ?Sized)) -> AckRequest<A> {
        let (replies, timeout) = self.operator.clone().ask(event, args);
        AckRequest::of(replies.map_err(Into::into), timeout)
    }

    /// Makes it join rooms: see [`BroadcastOperator::sockets_join`].
    pub fn join(&self, rooms: impl Rooms) -> Joined {
        self.operator.clone().sockets_join(rooms)
    }

    /// Makes it leave rooms.
    pub fn leave(&self, rooms: impl Rooms) {
        self.operator.clone().sockets_leave(rooms);
    }

    /// Disconnects it: see [`Socket::disconnect`](super::Socket::disconnect).
    pub fn disconnect(&self, close: bool) {
        self.operator.clone().disconnect_sockets(close);
    }
}

impl fmt::Debug for RemoteSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RemoteSocket({}…)", self.record.id.get(..6).unwrap_or_default())
    }
}
