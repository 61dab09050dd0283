//! One call of a handler: what its extractors read from.

use crate::{
    hub::{DisconnectReason, Socket},
    protocol::socketio::Payload,
};

/// What is known when a handler is called; [`Extract`](super::Extract) reads from it.
#[derive(Debug)]
pub struct Call {
    pub(super) socket: Socket,
    pub(super) payload: Option<Payload>,
    pub(super) ack: Option<u64>,
    pub(super) reason: Option<DisconnectReason>,
}

impl Call {
    /// A call for a connect handler or a middleware.
    pub(in crate::hub) const fn new(socket: Socket) -> Self {
        Self {
            socket,
            payload: None,
            ack: None,
            reason: None,
        }
    }

    pub(in crate::hub) const fn event(socket: Socket, payload: Payload, ack: Option<u64>) -> Self {
        Self {
            socket,
            payload: Some(payload),
            ack,
            reason: None,
        }
    }

    pub(in crate::hub) const fn disconnect(socket: Socket, reason: DisconnectReason) -> Self {
        Self {
            socket,
            payload: None,
            ack: None,
            reason: Some(reason),
        }
    }

    /// The socket that is concerned.
    #[must_use]
    pub const fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The event with its arguments; none where no event is handled.
    #[must_use]
    pub const fn payload(&self) -> Option<&Payload> {
        self.payload.as_ref()
    }
}
