//! What opens a session: the query of a request, the answer to a handshake, and how a request is refused
//! (Engine.IO protocol v4, Handshake; the reference's `server.ts`, `verify` and `abortRequest`).

use std::{borrow::Cow, time::Duration};

use serde::{Serialize, Serializer};
use url::form_urlencoded;

/// A revision of the Engine.IO protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Revision {
    /// Revision 3, of Socket.IO 1 and 2: the client sends the pings. A request that does not say `EIO=4` means it.
    #[default]
    V3,
    /// Revision 4, of Socket.IO 3 and later: the server sends the pings.
    V4,
}

/// The parameters of a request that mean something to Engine.IO. Of a parameter given twice the last counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `EIO`: the protocol's revision.
    pub revision: Revision,
    /// `transport`: the name of the transport.
    pub transport: Option<Cow<'a, str>>,
    /// `sid`: the session; an empty one counts as none.
    pub sid: Option<Cow<'a, str>>,
    /// `b64`: the client wants binary messages as text, on WebSocket too. Any value but an empty one says so.
    pub base64: bool,
    /// `j`: the number of a JSONP callback.
    pub jsonp: Option<Cow<'a, str>>,
    /// `t`: what tells a poll from all others of the client, so that no cache answers it.
    pub mark: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    /// Reads a raw query string (without `?`). Percent-encoding that is not UTF-8 becomes U+FFFD; nothing is an error here.
    #[must_use]
    pub fn parse(raw: &'a str) -> Self {
        let mut query = Self::default();
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            match &*name {
                "EIO" => query.revision = if value == "4" { Revision::V4 } else { Revision::V3 },
                "transport" => query.transport = Some(value),
                "sid" => query.sid = (!value.is_empty()).then_some(value),
                "j" => query.jsonp = Some(value),
                "t" => query.mark = (!value.is_empty()).then_some(value),
                "b64" => query.base64 = !value.is_empty(),
                _ => {}
            }
        }
        query
    }
}

/// The data of the `open` packet, the first of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Open<'a> {
    /// The session's id.
    pub sid: &'a str,
    /// The names of the transports to which the session may be upgraded.
    pub upgrades: &'a [&'a str],
    /// The time between two pings; in milliseconds on the wire.
    #[serde(serialize_with = "milliseconds")]
    pub ping_interval: Duration,
    /// How long the server waits for a pong; in milliseconds on the wire.
    #[serde(serialize_with = "milliseconds")]
    pub ping_timeout: Duration,
    /// The most bytes the client may put into one polling payload.
    pub max_payload: u64,
}

impl Open<'_> {
    /// The JSON, its keys in the order of the reference.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("strings and integers always have a JSON form")
    }
}

/// Why a request is refused before there is a session, or because there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The transport is missing, unknown or disabled.
    UnknownTransport,
    /// No session of that id lives on this node.
    UnknownSession,
    /// A handshake that is not a GET.
    BadHandshakeMethod,
    /// The request contradicts itself or its session.
    BadRequest(Flaw),
    /// The application said no, with this message.
    Forbidden(Cow<'static, str>),
    /// Revision 3 of the protocol, which is not allowed here.
    UnsupportedProtocol,
}

/// What is wrong with a request that is refused with code 3. Clients are not told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// An `Origin` with characters that no header may have.
    InvalidOrigin,
    /// Another transport than the session's.
    TransportMismatch,
    /// `websocket` without an upgrade, or an upgrade without `websocket`.
    TransportHandshake,
    /// JSONP where that is off, or with a callback that is no number.
    Jsonp,
}

impl Flaw {
    /// The name that the reference gives to its applications; JSONP has none there.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidOrigin => "INVALID_ORIGIN",
            Self::TransportMismatch => "TRANSPORT_MISMATCH",
            Self::TransportHandshake => "TRANSPORT_HANDSHAKE_ERROR",
            Self::Jsonp => "JSONP",
        }
    }
}

impl Refusal {
    /// [`Refusal::Forbidden`] with the reference's message.
    #[must_use]
    pub const fn forbidden() -> Self {
        Self::Forbidden(Cow::Borrowed("Forbidden"))
    }

    /// [`Refusal::Forbidden`] for a page that may not connect.
    #[must_use]
    pub const fn origin() -> Self {
        Self::Forbidden(Cow::Borrowed("Forbidden by the origins rule"))
    }

    /// The code that clients see, 0 to 5.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSession => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest(_) => 3,
            Self::Forbidden(_) => 4,
            Self::UnsupportedProtocol => 5,
        }
    }

    /// The message that clients see; the whole body of the answer to a WebSocket upgrade.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSession => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest(_) => "Bad request",
            Self::Forbidden(message) => message,
            Self::UnsupportedProtocol => "Unsupported protocol version",
        }
    }

    /// The HTTP status of the answer to a polling request. (A WebSocket upgrade is always refused with 400.)
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Forbidden(_) => 403,
            _ => 400,
        }
    }

    /// The body of the answer to a polling request: `{"code":1,"message":"Session ID unknown"}`.
    #[must_use]
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            code: u8,
            message: &'a str,
        }
        let body = Body {
            code: self.code(),
            message: self.message(),
        };
        serde_json::to_string(&body).expect("strings and integers always have a JSON form")
    }
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
