//! Operators: they choose sockets and build commands, and do nothing else.

use std::sync::Arc;

use serde::Serialize;

use super::{Command, Dispatch, EmitError, EmitFlags, Io, Room, Scope, Target};
use crate::protocol::socketio::Payload;

/// Some sockets of a namespace, chosen by operators, and what to do to them. Each operator gives a new one; nothing happens before the
/// last word, and what has been chosen may be kept, cloned and used again.
///
/// ```no_run
/// # use fanfare::hub::{EmitError, Io};
/// # fn tell(io: &Io) -> Result<(), EmitError> {
/// io.to(["lobby", "bar"]).except("admins").volatile().emit("news", &"a new guest")
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "operators do nothing by themselves"]
pub struct BroadcastOperator {
    dispatch: Arc<dyn Dispatch>,
    target: Target,
    scope: Scope,
    flags: EmitFlags,
}

impl BroadcastOperator {
    pub(super) fn new(io: &Io, target: Target) -> Self {
        Self {
            dispatch: Arc::clone(io.dispatch()),
            target,
            scope: Scope::Cluster,
            flags: EmitFlags::default(),
        }
    }

    /// Chooses the sockets of these rooms, beside those of rooms chosen before; each socket once.
    pub fn to(mut self, rooms: impl Rooms) -> Self {
        self.target.rooms.extend(rooms.into_rooms());
        self
    }

    /// The same as [`BroadcastOperator::to`] (`in` in JavaScript).
    pub fn in_(self, rooms: impl Rooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out the sockets of these rooms.
    pub fn except(mut self, rooms: impl Rooms) -> Self {
        self.target.except.extend(rooms.into_rooms());
        self
    }

    /// Means the sockets of this node only.
    pub const fn local(mut self) -> Self {
        self.scope = Scope::Local;
        self
    }

    /// Drops the event for sockets that cannot be written to now.
    pub const fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Whether the event may be compressed where the transport compresses; it may unless this says no. Worth a no for what is compressed
    /// already, such as pictures.
    pub const fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = compress;
        self
    }

    pub(super) const fn flags(mut self, flags: EmitFlags) -> Self {
        self.flags = flags;
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
            flags,
        } = self;
        dispatch.dispatch(Command::Emit { target, payload, flags }, scope);
    }

    /// Sends the event `message`.
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`].
    pub fn send<T: Serialize + ?Sized>(self, args: &T) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// The same as [`BroadcastOperator::send`].
    ///
    /// # Errors
    /// As [`BroadcastOperator::emit`].
    pub fn write<T: Serialize + ?Sized>(self, args: &T) -> Result<(), EmitError> {
        self.send(args)
    }

    /// Makes the sockets join rooms.
    pub fn sockets_join(self, rooms: impl Rooms) {
        let rooms = rooms.into_rooms().collect();
        let target = self.target;
        self.dispatch.dispatch(Command::Join { target, rooms }, self.scope);
    }

    /// Makes the sockets leave rooms.
    pub fn sockets_leave(self, rooms: impl Rooms) {
        let rooms = rooms.into_rooms().collect();
        let target = self.target;
        self.dispatch.dispatch(Command::Leave { target, rooms }, self.scope);
    }

    /// Disconnects the sockets, as [`Socket::disconnect`](super::Socket::disconnect) does.
    pub fn disconnect_sockets(self, close: bool) {
        let target = self.target;
        self.dispatch.dispatch(Command::Disconnect { target, close }, self.scope);
    }
}

/// The operators as methods of whatever has an `all()`: they begin with all its sockets.
macro_rules! operators {
    ($who:ident) => {
        impl $who {
            /// The sockets of the rooms.
            pub fn to(&self, rooms: impl $crate::hub::Rooms) -> $crate::hub::BroadcastOperator {
                self.all().to(rooms)
            }

            /// The sockets of the rooms; the same as `to` (`in` in JavaScript).
            pub fn in_(&self, rooms: impl $crate::hub::Rooms) -> $crate::hub::BroadcastOperator {
                self.to(rooms)
            }

            /// The sockets that are in none of the rooms.
            pub fn except(&self, rooms: impl $crate::hub::Rooms) -> $crate::hub::BroadcastOperator {
                self.all().except(rooms)
            }

            /// The sockets on this node.
            pub fn local(&self) -> $crate::hub::BroadcastOperator {
                self.all().local()
            }

            /// All sockets, for events that may be dropped: see [`BroadcastOperator::volatile`](crate::hub::BroadcastOperator::volatile).
            pub fn volatile(&self) -> $crate::hub::BroadcastOperator {
                self.all().volatile()
            }

            /// All sockets, for events that may or may not be compressed: see
            /// [`BroadcastOperator::compress`](crate::hub::BroadcastOperator::compress).
            pub fn compress(&self, compress: bool) -> $crate::hub::BroadcastOperator {
                self.all().compress(compress)
            }

            /// Sends an event to all sockets: see [`BroadcastOperator::emit`](crate::hub::BroadcastOperator::emit).
            ///
            /// # Errors
            /// [`EmitError`](crate::hub::EmitError): the name is reserved, or the arguments cannot be encoded.
            pub fn emit<T: serde::Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), $crate::hub::EmitError> {
                self.all().emit(event, args)
            }

            /// Sends the event `message` to all sockets.
            ///
            /// # Errors
            /// As `emit`.
            pub fn send<T: serde::Serialize + ?Sized>(&self, args: &T) -> Result<(), $crate::hub::EmitError> {
                self.all().send(args)
            }

            /// The same as `send`.
            ///
            /// # Errors
            /// As `emit`.
            pub fn write<T: serde::Serialize + ?Sized>(&self, args: &T) -> Result<(), $crate::hub::EmitError> {
                self.all().send(args)
            }

            /// Makes all sockets join rooms.
            pub fn sockets_join(&self, rooms: impl $crate::hub::Rooms) {
                self.all().sockets_join(rooms);
            }

            /// Makes all sockets leave rooms.
            pub fn sockets_leave(&self, rooms: impl $crate::hub::Rooms) {
                self.all().sockets_leave(rooms);
            }

            /// Disconnects all sockets: see [`Socket::disconnect`](crate::hub::Socket::disconnect).
            pub fn disconnect_sockets(&self, close: bool) {
                self.all().disconnect_sockets(close);
            }
        }
    };
}
pub(super) use operators;

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
