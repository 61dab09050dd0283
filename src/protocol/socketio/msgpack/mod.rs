//! The msgpack parser: each packet is one binary message, a map of `type`, `data`, `nsp` and `id` (wire-compatible with
//! `socket.io-msgpack-parser` 3 of the reference, and so with `notepack.io` 2.2).
//!
//! # What becomes of values that JSON lacks
//! Msgpack is turned into the canonical [`Payload`](super::Payload), and back for the clients. `nil`, booleans, numbers, text, arrays and
//! maps are JSON; integers keep all of their 64 bits, and a float is written with a `.` or an `e`, so that it stays one. Everything else is
//! an attachment, and its placeholder says how it was written:
//!
//! | msgpack | in JavaScript | placeholder | read as a Rust value |
//! |---|---|---|---|
//! | bin | `Buffer` | `{"_placeholder":true,"num":0}` | bytes |
//! | ext 8, 16, 32 of type 0 | `ArrayBuffer` and the typed arrays | `{"_placeholder":true,"num":0,"ext":0}` | bytes |
//! | fixext 1 of type 0 | `undefined` | `{"_placeholder":true,"num":0,"msgpack":17}` | `None`, `()`; as a member of a map: missing |
//! | fixext 8 of type 0 | `Date` | the same | [`Date`](super::Date); an integer: milliseconds since 1970; else text as of `toISOString` |
//! | NaN, infinities | the same | the same | `f64` |
//! | other extensions | `[type, Buffer]` | the same | bytes, without the type |
//! | bin and ext beyond [`Limits::max_attachments`] | as above | the same | bytes |
//!
//! `msgpack` is the place of the value in the attachment, in which all such values of a packet stand one after the other as they were
//! sent. So a packet of hundreds of dates has one attachment, and what is forwarded is exact, byte for byte.
//!
//! The data of a CONNECT packet, and of a CONNECT_ERROR, is plain JSON: there dates are text, `undefined` members are left out, and
//! bytes are arrays of numbers.
//!
//! # Stricter than the reference
//! Event names are checked as by the default parser. A key of a map is text or an integer, text is UTF-8, `__proto__` is no key, and no map
//! with attachments beside it says that it is a placeholder.

#[cfg(test)]
mod date_tests;
mod from_json;
#[cfg(test)]
mod golden;
pub(super) mod reader;
#[cfg(test)]
mod tests;
mod to_json;

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Assembled, Attachments, DecodeError, Decoded, Encoded, Encoding, Kind, Limits, Message, Packet, Parser, RESERVED_EVENTS, Unencodable,
};
use from_json::Writer;
use reader::{Reader, Token};

/// The parser of clients that were given `socket.io-msgpack-parser`: see the [module](self).
///
/// ```
/// use std::sync::Arc;
///
/// use fanfare::hub::{Config, MsgpackParser};
///
/// let config = Config { parser: Arc::new(MsgpackParser), ..Config::default() };
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct MsgpackParser;

impl Parser for MsgpackParser {
    /// Members stand in the order in which the reference writes them.
    ///
    /// # Errors
    /// [`Unencodable`]: the payload is not JSON, as only a broken node of the cluster sends it, nests deeper than 127 levels, or is
    /// larger than 4 GiB.
    fn encode<'a>(&self, packet: &'a Packet<'_>, attachments: &'a [Bytes]) -> Result<Encoded<'a>, Unencodable> {
        encode(packet, attachments)
            .map(Encoded::Binary)
            .map_err(|error| Unencodable(error.to_string().into()))
    }

    /// # Errors
    /// [`DecodeError`].
    fn decode<'a>(&self, message: Message<'a>, limits: &Limits) -> Result<Decoded<'a>, DecodeError> {
        match message {
            Message::Text(_) => Err(DecodeError::UnexpectedText),
            Message::Binary(message) => decode(&message, limits).map(Decoded::Packet),
        }
    }

    fn encoding(&self) -> Encoding {
        Encoding::Msgpack
    }
}

fn encode(packet: &Packet<'_>, attachments: &[Bytes]) -> Result<Vec<u8>, serde_json::Error> {
    let data = packet.data.as_deref();
    let mut writer = Writer::with_capacity(48 + packet.namespace.len() + data.map_or(0, str::len));
    writer.map(2 + usize::from(data.is_some()) + usize::from(packet.id.is_some()))?;
    // The reference answers by a packet that begins with the id.
    let leads = packet.id.filter(|_| packet.kind == Kind::Ack);
    if let Some(id) = leads {
        writer.member("id", id)?;
    }
    writer.member("type", kind_number(packet.kind))?;
    if let Some(data) = data {
        writer.text("data")?;
        if packet.kind == Kind::Connect {
            writer.connect(data, has_pid(data))?;
        } else {
            writer.json(data, attachments)?;
        }
    }
    if let (Some(id), None) = (packet.id, leads) {
        writer.member("id", id)?;
    }
    writer.text("nsp")?;
    writer.text(&packet.namespace)?;
    Ok(writer.finish())
}

/// Whether the answer to a CONNECT says that the connection's state can be recovered.
fn has_pid(data: &str) -> bool {
    #[derive(Deserialize)]
    struct Answer {
        pid: Option<IgnoredAny>,
    }
    serde_json::from_str(data).is_ok_and(|answer: Answer| answer.pid.is_some())
}

const fn kind_number(kind: Kind) -> u64 {
    match kind {
        Kind::Connect => 0,
        Kind::Disconnect => 1,
        Kind::Event => 2,
        Kind::Ack => 3,
        Kind::ConnectError => 4,
    }
}

/// Where the members of a packet stand. Of a member given twice the last counts, as in JavaScript.
#[derive(Debug, Default)]
struct Members<'a> {
    kind: Option<Token<'a>>,
    namespace: Option<Token<'a>>,
    id: Option<Token<'a>>,
    /// The first token of the data, and the place where it stands.
    data: Option<(Token<'a>, usize)>,
}

impl<'a> Members<'a> {
    /// Reads the map of a packet; what belongs to no packet is passed over, as the stock client adds `options`.
    fn read(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(message);
        let Token::Map(count) = reader.token()? else {
            return Err(reader.flawed("not a map"));
        };
        let mut members = Self::default();
        for _ in 0..count {
            let Token::Text(key) = reader.token()? else {
                return Err(reader.flawed("a packet's member without a name"));
            };
            let place = reader.position();
            let value = reader.whole()?;
            match key {
                b"type" => members.kind = Some(value),
                b"nsp" => members.namespace = Some(value),
                b"id" => members.id = Some(value),
                b"data" => members.data = Some((value, place)),
                _ => {}
            }
        }
        if reader.is_at_end() {
            Ok(members)
        } else {
            Err(reader.flawed("more than a packet"))
        }
    }

    fn kind(&self) -> Result<Kind, DecodeError> {
        match self.kind.as_ref().and_then(Token::integer) {
            Some(0) => Ok(Kind::Connect),
            Some(1) => Ok(Kind::Disconnect),
            Some(2) => Ok(Kind::Event),
            Some(3) => Ok(Kind::Ack),
            Some(4) => Ok(Kind::ConnectError),
            _ => Err(DecodeError::Foreign(Cow::Borrowed("unknown Socket.IO packet type"))),
        }
    }

    fn namespace(&self) -> Result<Cow<'static, str>, DecodeError> {
        let Some(Token::Text(name)) = self.namespace else {
            return Err(DecodeError::Foreign(Cow::Borrowed("packet without a namespace")));
        };
        match str::from_utf8(name) {
            Ok("/") => Ok(Cow::Borrowed("/")),
            Ok(name) => Ok(Cow::Owned(name.to_owned())),
            Err(_) => Err(DecodeError::Foreign(Cow::Borrowed("namespace is not UTF-8"))),
        }
    }

    fn id(&self) -> Result<Option<u64>, DecodeError> {
        match &self.id {
            None | Some(Token::Undefined) => Ok(None),
            Some(id) => id.integer().filter(|id| *id < 1 << 53).map(Some).ok_or(DecodeError::IdTooLarge),
        }
    }
}

fn decode(message: &Bytes, limits: &Limits) -> Result<Assembled<'static>, DecodeError> {
    if message.len() > limits.max_bytes {
        return Err(DecodeError::TooLarge { max: limits.max_bytes });
    }
    let members = Members::read(message)?;
    let kind = members.kind()?;
    let namespace = members.namespace()?;
    let id = members.id()?;
    let invalid = || DecodeError::InvalidPayload(kind);
    let (data, attachments) = match (kind, members.data) {
        // python-socketio says nil where the stock client says nothing.
        (Kind::Connect | Kind::Disconnect, None | Some((Token::Undefined | Token::Nil, _))) => (None, Attachments::new()),
        (Kind::Connect | Kind::ConnectError, Some((Token::Map(_), place))) | (Kind::ConnectError, Some((Token::Text(_), place))) => {
            (Some(to_json::plain(message, place, limits)?), Attachments::new())
        }
        (Kind::Event, Some((Token::Array(count), place))) => {
            check_name(message, place, count)?;
            let (data, attachments) = to_json::canonical(message, place, limits)?;
            (Some(data), attachments)
        }
        (Kind::Ack, Some((Token::Array(_), place))) => {
            let (data, attachments) = to_json::canonical(message, place, limits)?;
            (Some(data), attachments)
        }
        _ => return Err(invalid()),
    };
    let packet = Packet {
        kind,
        namespace,
        id,
        attachments: attachments.len(),
        data: data.map(Cow::Owned),
    };
    Ok(Assembled { packet, attachments })
}

/// Checks that the array of an event begins with a name: text that is not reserved, or a number.
fn check_name(message: &[u8], place: usize, count: usize) -> Result<(), DecodeError> {
    let mut reader = Reader::at(message, place);
    reader.token()?;
    if count == 0 {
        return Err(DecodeError::InvalidPayload(Kind::Event));
    }
    match reader.token()? {
        Token::Text(name) => match RESERVED_EVENTS.into_iter().find(|reserved| reserved.as_bytes() == name) {
            Some(reserved) => Err(DecodeError::ReservedEvent(reserved)),
            None => Ok(()),
        },
        Token::Unsigned(_) | Token::Negative(_) => Ok(()),
        Token::Float(number) if number.is_finite() => Ok(()),
        _ => Err(DecodeError::InvalidPayload(Kind::Event)),
    }
}
