//! One call of a handler: what its extractors read from.

use std::sync::Arc;

use super::{Answer, Draft};
use crate::{
    hub::{DisconnectReason, EventError, Socket, shared::lock},
    protocol::socketio::Payload,
};

/// What is known when a handler is called; [`Extract`](super::Extract) reads from it.
#[derive(Debug)]
pub struct Call {
    pub(super) socket: Socket,
    pub(super) payload: Option<Payload>,
    pub(super) answer: Option<Answer>,
    /// Of a packet middleware: what it may change.
    pub(super) draft: Option<Draft>,
    pub(super) reason: Option<DisconnectReason>,
    pub(super) error: Option<EventError>,
}

impl Call {
    /// A call for a connect handler or a middleware.
    pub(in crate::hub) const fn new(socket: Socket) -> Self {
        Self {
            socket,
            payload: None,
            answer: None,
            draft: None,
            reason: None,
            error: None,
        }
    }

    pub(in crate::hub) fn event(socket: Socket, payload: Payload, answer: Option<Answer>) -> Self {
        Self {
            payload: Some(payload),
            answer,
            ..Self::new(socket)
        }
    }

    /// A call for a packet middleware.
    pub(in crate::hub) fn packet(socket: Socket, draft: &Draft, answer: Option<Answer>) -> Self {
        Self {
            draft: Some(Arc::clone(draft)),
            ..Self::event(socket, lock(draft).clone(), answer)
        }
    }

    pub(in crate::hub) fn disconnect(socket: Socket, reason: DisconnectReason) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(socket)
        }
    }

    /// A call for an error handler.
    pub(in crate::hub) fn error(socket: Socket, payload: Option<Payload>, error: EventError) -> Self {
        Self {
            payload,
            error: Some(error),
            ..Self::new(socket)
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
