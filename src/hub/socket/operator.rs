//! One socket, and how events are sent to it.

use std::time::Duration;

use serde::Serialize;

use super::Socket;
use crate::hub::{
    AckRequest, BroadcastOperator, EmitError, EmitFlags,
    operators::{choosers, flags},
};

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

    /// The same as [`SocketOperator::send`].
    ///
    /// # Errors
    /// As [`Socket::emit`].
    pub fn write<T: Serialize + ?Sized>(self, args: &T) -> Result<(), EmitError> {
        self.send(args)
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
}

flags!(SocketOperator<'_>);
choosers!(SocketOperator<'_>, broadcast, "Everybody else");
