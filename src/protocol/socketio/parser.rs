//! The seam between packets and what carries them: a parser (Socket.IO protocol v5, Packet encoding; "custom parsers" of the reference).
//!
//! Whatever the parser, a packet's payload is in one canonical form while it is on the server: the text of a JSON value, with
//! placeholders in the places of its attachments ([`Payload`](super::Payload)). A parser turns messages of Engine.IO into that and back.
//! All nodes of a cluster, and all clients, use the same one.

use std::{borrow::Cow, fmt::Debug};

use bytes::Bytes;

use super::{Assembled, DecodeError, Encoding, Limits, Packet};

/// How packets are carried by messages of Engine.IO. One value serves all connections.
///
/// A parser for clients that send each packet as one binary message, the default parser's text as it is:
///
/// ```
/// use std::{borrow::Cow, str};
///
/// use bytes::Bytes;
/// use fanfare::protocol::socketio::{
///     Assembled, Attachments, DecodeError, Decoded, Encoded, Limits, Message, Packet, Parser, Unencodable, text,
/// };
///
/// #[derive(Debug)]
/// struct Binary;
///
/// impl Parser for Binary {
///     fn encode<'a>(&self, packet: &'a Packet<'_>, _: &'a [Bytes]) -> Result<Encoded<'a>, Unencodable> {
///         if packet.attachments > 0 {
///             return Err(Unencodable(Cow::Borrowed("attachments")));
///         }
///         Ok(Encoded::Binary(text::encode(packet).into_bytes()))
///     }
///
///     fn decode<'a>(&self, message: Message<'a>, limits: &Limits) -> Result<Decoded<'a>, DecodeError> {
///         let Message::Binary(bytes) = message else {
///             return Err(DecodeError::Foreign(Cow::Borrowed("a text message")));
///         };
///         let text = str::from_utf8(&bytes).map_err(|_| DecodeError::Foreign(Cow::Borrowed("not UTF-8")))?;
///         // Checks the payload against its kind and the limits, too.
///         let packet = text::decode(text, limits)?;
///         if packet.attachments > 0 {
///             return Err(DecodeError::IllegalAttachments);
///         }
///         let packet = packet.into_owned();
///         Ok(Decoded::Packet(Assembled { packet, attachments: Attachments::new() }))
///     }
/// }
///
/// let packet = text::decode(r#"2["greet","you"]"#, &Limits::default())?;
/// let Encoded::Binary(message) = Binary.encode(&packet, &[]).unwrap() else { unreachable!() };
/// let Decoded::Packet(decoded) = Binary.decode(Message::Binary(message.into()), &Limits::default())? else { unreachable!() };
/// assert_eq!(decoded.packet, packet);
/// # Ok::<(), DecodeError>(())
/// ```
pub trait Parser: Debug + Send + Sync + 'static {
    /// Encodes a packet for its clients: once, however many they are. `attachments` are as many as the packet says. What is given may
    /// borrow, so that a payload is copied only into the message that all recipients share.
    ///
    /// # Errors
    /// [`Unencodable`]: the packet is dropped for all its recipients, and counted.
    fn encode<'a>(&self, packet: &'a Packet<'_>, attachments: &'a [Bytes]) -> Result<Encoded<'a>, Unencodable>;

    /// Decodes a message that stands at the beginning of a packet.
    ///
    /// What it gives is believed: the payload is well-formed JSON of the shape that [`text::decode`](super::text::decode) asks of its
    /// kind, within the limits, and placeholders name attachments that are there.
    ///
    /// # Errors
    /// [`DecodeError`]: the connection is closed, as the reference does.
    fn decode<'a>(&self, message: Message<'a>, limits: &Limits) -> Result<Decoded<'a>, DecodeError>;

    /// What the server's own values become before they are handed to [`Parser::encode`]: of what JSON lacks only bytes are attachments,
    /// unless this says that more can be carried. Always the same.
    fn encoding(&self) -> Encoding {
        Encoding::Json
    }
}

/// What is pushed to a client for one packet, as one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoded<'a> {
    /// A text message, and binary messages behind it.
    Text {
        /// The text up to the payload.
        head: String,
        /// The payload.
        body: Cow<'a, str>,
        /// One binary message each.
        attachments: Cow<'a, [Bytes]>,
    },
    /// One binary message.
    Binary(Vec<u8>),
}

/// Why a packet cannot be sent by this parser.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parser cannot encode it: {0}")]
pub struct Unencodable(pub Cow<'static, str>);

/// A message of Engine.IO, as a client sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(Bytes),
}

/// What a message was.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// The last, or only, message of a packet.
    Packet(Assembled<'a>),
    /// A message of a packet that is not complete: the next message of the connection goes there.
    Pending(Box<dyn Pending>),
}

/// A packet of which messages are still to come. There is none while a connection is idle.
pub trait Pending: Debug + Send {
    /// Takes the next message. The limits are of the whole packet; memory is taken for what has come, not for what is announced.
    ///
    /// # Errors
    /// [`DecodeError`]: the connection is closed.
    fn proceed(self: Box<Self>, message: Message<'_>, limits: &Limits) -> Result<Decoded<'static>, DecodeError>;
}
