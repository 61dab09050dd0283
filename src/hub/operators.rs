//! Operators: they choose sockets and build commands, and do nothing else.

use std::sync::Arc;

use serde::Serialize;

use super::{Command, Dispatch, EmitError, Io, Room, Scope, Target};
use crate::protocol::socketio::Payload;

/// Some sockets of a namespace, chosen by operators, and what to do to them.
///
/// ```no_run
/// # use fanfare::hub::{EmitError, Io};
/// # fn tell(io: &Io) -> Result<(), EmitError> {
/// io.to(["lobby", "bar"]).except("admins").volatile().emit("news", &"a new guest")
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "operators do nothing by themselves"]
pub struct Broadcast {
    dispatch: Arc<dyn Dispatch>,
    target: Target,
    scope: Scope,
    volatile: bool,
}

impl Broadcast {
    pub(super) fn new(io: &Io, target: Target) -> Self {
        Self {
            dispatch: Arc::clone(io.dispatch()),
            target,
            scope: Scope::Cluster,
            volatile: false,
        }
    }

    /// Chooses the sockets of these rooms, beside those of rooms chosen before; each socket once.
    pub fn to(mut self, rooms: impl Rooms) -> Self {
        self.target.rooms.extend(rooms.into_rooms());
        self
    }

    /// The same as [`Broadcast::to`] (`in` in JavaScript).
    pub fn in_(self, rooms: impl Rooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out the sockets of these rooms.
    pub fn except(mut self, rooms: impl Rooms) -> Self {
        self.target.except.extend(rooms.into_rooms());
        self
    }

    /// Means the sockets of this node only.
    pub fn local(self) -> Self {
        self.scope(Scope::Local)
    }

    /// Drops the event for sockets that cannot be written to now.
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    pub(super) const fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Sends an event. A tuple gives as many arguments as it has elements, anything else one. It is with the sockets' sessions on this
    /// node when this returns, and queued for other nodes; it never waits.
    ///
    /// # Errors
    /// [`EmitError`]: the name is reserved, or the arguments cannot be encoded.
    pub fn emit<T: Serialize + ?Sized>(self, event: &str, args: &T) -> Result<(), EmitError> {
        let payload = Payload::event(event, args)?;
        self.emit_payload(payload);
        Ok(())
    }

    /// Sends an event that is encoded already, for example [`Raw::payload`](super::Raw::payload).
    pub fn emit_payload(self, payload: Payload) {
        let Self {
            dispatch,
            target,
            scope,
            volatile,
        } = self;
        dispatch.dispatch(Command::Emit { target, payload, volatile }, scope);
    }

    /// Sends the event `message`.
    ///
    /// # Errors
    /// As [`Broadcast::emit`].
    pub fn send<T: Serialize + ?Sized>(self, args: &T) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Makes the sockets join rooms.
    pub fn sockets_join(self, rooms: impl Rooms) {
        let rooms = rooms.into_rooms().collect();
        self.dispatch.dispatch(
            Command::Join {
                target: self.target,
                rooms,
            },
            self.scope,
        );
    }

    /// Makes the sockets leave rooms.
    pub fn sockets_leave(self, rooms: impl Rooms) {
        let rooms = rooms.into_rooms().collect();
        self.dispatch.dispatch(
            Command::Leave {
                target: self.target,
                rooms,
            },
            self.scope,
        );
    }

    /// Disconnects the sockets, as [`Socket::disconnect`](super::Socket::disconnect) does.
    pub fn disconnect_sockets(self, close: bool) {
        self.dispatch.dispatch(
            Command::Disconnect {
                target: self.target,
                close,
            },
            self.scope,
        );
    }
}

/// One room, or several: a name, or an array, slice or `Vec` of names.
pub trait Rooms {
    /// The rooms' names.
    fn into_rooms(self) -> impl Iterator<Item = Room>;
}

impl Rooms for &str {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.into())
    }
}

impl Rooms for String {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.into())
    }
}

impl Rooms for &String {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self.as_str().into())
    }
}

impl Rooms for Room {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(self)
    }
}

impl Rooms for &Room {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        std::iter::once(Arc::clone(self))
    }
}

impl<R: Into<Room>, const N: usize> Rooms for [R; N] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

impl<R: Into<Room>> Rooms for Vec<R> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

impl<R: Clone + Into<Room>> Rooms for &[R] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.iter().cloned().map(Into::into)
    }
}
