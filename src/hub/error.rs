//! What can go wrong, one type for each operation.

use super::{Missing, Rejection, RemoteSocket};
use crate::protocol::socketio::{ArgumentError, EncodeError, Unencodable};

/// An event was not emitted: by the mistake of the caller, or, in a recoverable namespace, because its log does not take it. What happens
/// to an event on its way is counted, not returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The name is reserved, or the arguments cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The log of the namespace does not take it.
    #[error(transparent)]
    Log(#[from] NotDispatched),
}

impl From<Unencodable> for EmitError {
    fn from(error: Unencodable) -> Self {
        Self::Encode(error.into())
    }
}

/// The log of a recoverable namespace does not take an event. Nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotDispatched {
    /// The log is away, for so long or with so much waiting for it that nothing more is held.
    #[error("the log of the namespace is away: try again later")]
    Busy,
    /// The event is larger than the log takes.
    #[error("the event is too large for the log of the namespace")]
    TooLarge,
}

/// A client's ack did not come.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The event was not emitted.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The client did not answer in time.
    #[error("operation has timed out")]
    Timeout,
    /// The socket is not connected, or ended before the client answered.
    #[error("the socket is disconnected")]
    Disconnected,
    /// The client answered something else than was asked for.
    #[error("the answer cannot be decoded")]
    Decode(#[from] ArgumentError),
}

/// A room could not be joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The socket is in as many rooms as it may be.
    #[error("in too many rooms")]
    TooManyRooms,
}

/// An event was emitted to many clients with the request to answer it, and not all did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastAckError<T> {
    /// The event was not emitted.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// Some did not answer in time, or not with a `T`. Those that did are here.
    #[error("operation has timed out: {missing}, {unreadable} answers cannot be decoded")]
    Partial {
        /// The answers that came, in no order.
        answers: Vec<T>,
        /// Who did not answer.
        missing: Missing,
        /// How many answers are no `T`.
        unreadable: usize,
    },
}

/// Some nodes did not reply in time, or could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not all nodes have replied: {missing}")]
pub struct Partial<T> {
    /// What the others replied.
    pub known: T,
    /// Who did not reply.
    pub missing: Missing,
}

/// Which sockets there are is not known, or not fully.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// Some nodes did not reply in time, or could not be asked. What the others replied is here.
    #[error("not all sockets are known: {missing}")]
    Partial {
        /// The sockets that are known, in no order.
        sockets: Vec<RemoteSocket>,
        /// Who did not reply.
        missing: Missing,
    },
    /// It was asked of a [`ParentNamespace`](super::ParentNamespace), as with the reference.
    #[error("a parent of namespaces has no sockets: ask its children")]
    Parent,
}

/// Why an event of a client was not handled, or another handler failed: what an `on_error` handler is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// A packet middleware refused it.
    #[error("a packet middleware refused the event: {0}")]
    Refused(String),
    /// The arguments of the handler could not be read.
    #[error("the arguments cannot be read: {0}")]
    Rejected(#[from] Rejection),
    /// The handler returned this error.
    #[error("{0}")]
    Failed(String),
    /// The handler panicked.
    #[error("the handler panicked")]
    Panicked,
}

/// A handler could not be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The handler takes a [`State`](super::State) that was not given to [`Io::provide`](super::Io::provide) before.
    #[error("the handler takes State<{0}>, which was not provided before")]
    MissingState(&'static str),
    /// A client cannot send an event of this name; see `on_connect` and `on_disconnect`.
    #[error("the event name {0:?} is reserved")]
    Reserved(String),
}

/// Why a client may not join a namespace: what a middleware returns, and what the client gets in CONNECT_ERROR.
#[derive(Debug, Clone, PartialEq, serde::Serialize, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<serde_json::Value>,
}

impl ConnectError {
    /// A refusal with this message, which the client sees as `err.message`.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            data: None,
        }
    }

    /// Adds what the client sees as `err.data`.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<serde_json::Value>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// What a client gets.
    pub(super) fn json(&self) -> String {
        // Text and JSON values only, which cannot fail.
        serde_json::to_string(self).unwrap_or_else(|_| r#"{"message":"refused"}"#.into())
    }

    /// What a client of protocol 4 gets from a middleware: the data, or else the message. Data that JavaScript takes for nothing is
    /// none.
    pub(super) fn legacy_json(&self) -> String {
        let nothing = ["null", "false", "0", "-0", "0.0", "-0.0", "\"\""];
        let data = self.data.as_ref().map(ToString::to_string);
        data.filter(|data| !nothing.contains(&data.as_str()))
            .unwrap_or_else(|| serde_json::Value::from(self.message.as_str()).to_string())
    }
}

impl From<JoinError> for ConnectError {
    fn from(error: JoinError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<&str> for ConnectError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for ConnectError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}
