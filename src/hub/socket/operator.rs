//! One socket, and how events are sent to it.

use std::time::Duration;

use serde::Serialize;

use super::Socket;
use crate::hub::{AckRequest, BroadcastOperator, EmitError, EmitFlags, Rooms};

/// A socket with flags for what is emitted through it: see [`Socket::volatile`], [`Socket::compress`], [`Socket::timeout`].
///
/// ```no_run
/// # use fanfare::hub::{EmitError, Socket};
/// fn show(socket: &Socket) -> Result<(), EmitError> {
///     let position = socket.volatile().compress(false);
///     position.emit("position", &(1, 2))?;
///     position.to("watchers").emit("position", &(1, 2))
/// }
/// ```
#[derive(Debug, Clone, Copy)]
#[must_use = "operators do nothing by themselves"]
pub struct SocketOperator<'a> {
    socket: &'a Socket,
    flags: EmitFlags,
    timeout: Option<Duration>,
}

impl<'a> SocketOperator<'a> {
    pub(super) const fn new(socket: &'a Socket) -> Self {
        let flags = EmitFlags {
            volatile: false,
            compress: true,
        };
        Self {
            socket,
            flags,
            timeout: None,
        }
    }

    /// Drops, and counts, events that cannot be written now.
    pub const fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Whether events may be compressed where the transport compresses; they may unless this says no.
    pub const fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = compress;
        self
    }

    /// How long an answer is waited for; otherwise [`Config::ack_timeout`](crate::hub::Config::ack_timeout).
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends an event to this client.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn emit<T: Serialize + ?Sized>(self, event: &str, args: &T) -> Result<(), EmitError> {
        self.socket.emit_flagged(&self.socket.encoding().event(event, args)?, self.flags)
    }

    /// Sends the event `message`.
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn send<T: Serialize + ?Sized>(self, args: &T) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Sends an event and asks for an answer: see [`Socket::emit_with_ack`].
    pub fn emit_with_ack<A>(self, event: &str, args: &(impl Serialize + ?Sized)) -> AckRequest<A> {
        let payload = self.socket.encoding().event(event, args).map_err(EmitError::from);
        let request = AckRequest::new(&self.socket.core, payload, self.flags);
        match self.timeout {
            Some(timeout) => request.timeout(timeout),
            None => request,
        }
    }

    /// Everybody else in the namespace.
    pub fn broadcast(self) -> BroadcastOperator {
        self.socket.broadcast().flags(self.flags)
    }

    /// Everybody else in the rooms.
    pub fn to(self, rooms: impl Rooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// Everybody else in the rooms; the same as [`SocketOperator::to`].
    pub fn in_(self, rooms: impl Rooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Everybody else who is in none of the rooms.
    pub fn except(self, rooms: impl Rooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Everybody else on this node.
    pub fn local(self) -> BroadcastOperator {
        self.broadcast().local()
    }
}
