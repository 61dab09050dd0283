//! What a Socket.IO packet is, whatever parser carries it (Socket.IO protocol v5, Packet types).

use std::borrow::Cow;

/// Event names that only the library itself uses: a client that sends one is closed, an emit of one is refused.
pub const RESERVED_EVENTS: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// Whether an event of this name can be neither sent nor received.
#[must_use]
pub fn is_reserved(event: &str) -> bool {
    RESERVED_EVENTS.contains(&event)
}

/// How much a peer may send in one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most attachments of one packet. A packet in msgpack is not refused for having more: what goes beyond stands together in one
    /// further attachment.
    pub max_attachments: usize,
    /// The deepest nesting of arrays and objects in a payload; the payload's own array is the first level. More than 127 count as
    /// 127.
    pub max_depth: usize,
    /// The most bytes of one packet, its text and its attachments together. Of a packet in msgpack this bounds both what comes and the
    /// [`Payload`](super::Payload) that it becomes.
    pub max_bytes: usize,
}

impl Default for Limits {
    /// 10 attachments, as the reference; 64 levels; 11 MB: a text and ten attachments, each as large as Engine.IO's default lets a
    /// message be, so that nothing which the reference takes is refused.
    fn default() -> Self {
        Self {
            max_attachments: 10,
            max_depth: 64,
            max_bytes: 11_000_000,
        }
    }
}

/// What a packet is. Whether it has attachments is no matter of its kind: the digits `5` and `6` of the text form are
/// [`Kind::Event`] and [`Kind::Ack`] too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Joins a namespace, or says that it was joined.
    Connect,
    /// Leaves a namespace.
    Disconnect,
    /// An event with its arguments; one with an id wants an acknowledgement.
    Event,
    /// Acknowledges the event of the same id.
    Ack,
    /// A namespace was not joined, and why.
    ConnectError,
}

/// A packet whose attachments, if it has any, come or have come after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: Kind,
    /// The namespace, as it was sent: with its query if it has one. `/` where the packet names none.
    pub namespace: Cow<'a, str>,
    /// The id that an event and its acknowledgement share; below 2^53.
    pub id: Option<u64>,
    /// How many attachments belong to it.
    pub attachments: usize,
    /// The JSON text of the payload, with placeholders in the attachments' places.
    pub data: Option<Cow<'a, str>>,
}

impl<'a> Packet<'a> {
    /// A packet without id and attachments.
    #[must_use]
    pub const fn new(kind: Kind, namespace: &'a str, data: Option<&'a str>) -> Self {
        Self {
            kind,
            namespace: Cow::Borrowed(namespace),
            id: None,
            attachments: 0,
            data: match data {
                Some(data) => Some(Cow::Borrowed(data)),
                None => None,
            },
        }
    }

    /// The same packet, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> Packet<'static> {
        Packet {
            kind: self.kind,
            namespace: Cow::Owned(self.namespace.into_owned()),
            id: self.id,
            attachments: self.attachments,
            data: self.data.map(|data| Cow::Owned(data.into_owned())),
        }
    }
}

/// Why what a client sent is not a Socket.IO packet. The reference closes the connection, and so does this broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// An empty message.
    #[error("empty Socket.IO packet")]
    Empty,
    /// The first character is none of `0` to `6`.
    #[error("unknown Socket.IO packet type {0:?}")]
    UnknownType(char),
    /// The number of attachments is not digits before a `-`, or a placeholder names an attachment that is not announced.
    #[error("illegal attachments")]
    IllegalAttachments,
    /// More attachments are announced than [`Limits::max_attachments`].
    #[error("too many attachments: more than {max}")]
    TooManyAttachments {
        /// The limit.
        max: usize,
    },
    /// An acknowledgement id of 2^53 or more, which JavaScript cannot count with.
    #[error("acknowledgement id of 2^53 or more")]
    IdTooLarge,
    /// The payload is not JSON.
    #[error("payload is not JSON at byte {offset}")]
    InvalidJson {
        /// Where, in bytes from the payload's first.
        offset: usize,
    },
    /// The payload nests deeper than [`Limits::max_depth`].
    #[error("payload nests deeper than {max} levels")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// The payload is missing, is there where none may be, or has another shape than the kind asks for.
    #[error("invalid payload of a {0:?} packet")]
    InvalidPayload(Kind),
    /// The event's name is one of [`RESERVED_EVENTS`].
    #[error("reserved event name {0:?}")]
    ReservedEvent(&'static str),
    /// The packet and its attachments are more than [`Limits::max_bytes`].
    #[error("packet of more than {max} bytes")]
    TooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// A text message while attachments were still to come.
    #[error("text message while attachments are awaited")]
    AttachmentsMissing,
    /// A binary message that no packet announced.
    #[error("binary message that no packet announced")]
    UnexpectedBinary,
    /// A text message to a parser whose packets are binary.
    #[error("text message where packets are binary")]
    UnexpectedText,
    /// A binary message that is not msgpack, or not a packet in msgpack.
    #[error("not a msgpack packet at byte {offset}: {flaw}")]
    InvalidMsgpack {
        /// Where, in bytes from the message's first.
        offset: usize,
        /// What was found there.
        flaw: &'static str,
    },
    /// What an application's own parser, or the msgpack one, has to say beside that.
    #[error("{0}")]
    Foreign(Cow<'static, str>),
}
