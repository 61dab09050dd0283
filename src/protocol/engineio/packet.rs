//! One Engine.IO packet and its forms on the wire (Engine.IO protocol v4 and v3, Packet encoding).

use base64::{
    Engine as _, alphabet,
    engine::DecodePaddingMode,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
};
use bytes::Bytes;

use super::Revision;

/// Clients pad; those that do not are understood all the same.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An Engine.IO packet. A text message is borrowed from the frame or payload it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0`: the server opens a session; the JSON of [`handshake::Open`](super::handshake::Open).
    Open(&'a str),
    /// `1`: the transport is to be closed.
    Close,
    /// `2`: a heartbeat of the server (in revision 3, of the client), or the `probe` of a client that upgrades.
    Ping(&'a str),
    /// `3`: the answer to a ping, with the ping's data.
    Pong(&'a str),
    /// `4`: a text message.
    Message(&'a str),
    /// A binary message. In revision 4 it has no type: a binary frame on WebSocket, `b` and base64 where only text can pass. In
    /// revision 3 its type stands before it: the byte 4 in a binary frame, `b4` before the base64.
    Binary(Bytes),
    /// `5`: the client has finished the upgrade of its transport.
    Upgrade,
    /// `6`: releases a poll that waits.
    Noop,
}

/// Why bytes are not an Engine.IO packet. The session closes with `parse error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// A packet without a type: an empty frame, or nothing between two separators of a payload.
    #[error("empty Engine.IO packet")]
    Empty,
    /// The type is none of `0` to `6` and `b`.
    #[error("unknown Engine.IO packet type {0:?}")]
    UnknownType(char),
    /// What follows a `b` is not standard base64.
    #[error("Engine.IO binary packet is not base64")]
    Base64,
    /// A packet of a polling payload is not UTF-8. (A WebSocket text frame has been checked before it comes here.)
    #[error("Engine.IO packet is not UTF-8")]
    Utf8,
    /// What says the length of a packet in a payload of revision 3 is no number, or not the length of what follows.
    #[error("Engine.IO packet has not the length that its payload says")]
    Length,
}

/// Decodes the text form of a packet: a WebSocket text frame, or one packet of a polling payload.
///
/// `b` and base64 is a binary message on every transport. Data behind `1`, `5` and `6` is ignored, as the reference does.
///
/// # Errors
/// [`PacketError`]; a binary packet allocates three quarters of its text at most.
pub fn decode_text(text: &str, revision: Revision) -> Result<Packet<'_>, PacketError> {
    let mut characters = text.chars();
    let kind = characters.next().ok_or(PacketError::Empty)?;
    let data = characters.as_str();
    Ok(match kind {
        'b' if revision == Revision::V3 => {
            let kind = characters.next().ok_or(PacketError::Empty)?;
            typed(kind, || decode_base64(characters.as_str()))?
        }
        '0' => Packet::Open(data),
        '1' => Packet::Close,
        '2' => Packet::Ping(data),
        '3' => Packet::Pong(data),
        '4' => Packet::Message(data),
        '5' => Packet::Upgrade,
        '6' => Packet::Noop,
        'b' => Packet::Binary(decode_base64(data)?),
        other => return Err(PacketError::UnknownType(other)),
    })
}

/// Decodes a binary frame of a WebSocket, or a binary packet of a payload of revision 3, of which it copies the data.
///
/// In revision 3 the type stands before the data; data of a type that is no message is ignored.
///
/// # Errors
/// [`PacketError::Empty`] and [`PacketError::UnknownType`], of revision 3; in revision 4 any frame is a message.
pub fn decode_binary(frame: &[u8], revision: Revision) -> Result<Packet<'static>, PacketError> {
    if revision == Revision::V4 {
        return Ok(Packet::Binary(Bytes::copy_from_slice(frame)));
    }
    let (kind, data) = frame.split_first().ok_or(PacketError::Empty)?;
    let kind = char::from(kind.saturating_add(b'0'));
    typed(kind, || Ok(Bytes::copy_from_slice(data)))
}

/// A packet of revision 3 with binary data.
fn typed(kind: char, data: impl FnOnce() -> Result<Bytes, PacketError>) -> Result<Packet<'static>, PacketError> {
    Ok(match kind {
        '0' => Packet::Open(""),
        '1' => Packet::Close,
        '2' => Packet::Ping(""),
        '3' => Packet::Pong(""),
        '4' => Packet::Binary(data()?),
        '5' => Packet::Upgrade,
        '6' => Packet::Noop,
        other => return Err(PacketError::UnknownType(other)),
    })
}

fn decode_base64(text: &str) -> Result<Bytes, PacketError> {
    Ok(BASE64.decode(text).map_err(|_| PacketError::Base64)?.into())
}

impl Packet<'_> {
    /// Appends the text form; a binary message becomes `b` (`b4` in revision 3) and padded base64.
    pub fn encode_text(&self, revision: Revision, out: &mut String) {
        let (kind, data) = match self {
            Packet::Open(data) => ('0', *data),
            Packet::Close => ('1', ""),
            Packet::Ping(data) => ('2', *data),
            Packet::Pong(data) => ('3', *data),
            Packet::Message(data) => ('4', *data),
            Packet::Binary(data) => return encode_base64(data, revision, out),
            Packet::Upgrade => ('5', ""),
            Packet::Noop => ('6', ""),
        };
        out.push(kind);
        out.push_str(data);
    }
}

/// Appends the text form of a binary message: `b` (`b4` in revision 3) and padded base64.
pub fn encode_base64(data: &[u8], revision: Revision, out: &mut String) {
    out.push_str(match revision {
        Revision::V3 => "b4",
        Revision::V4 => "b",
    });
    STANDARD.encode_string(data, out);
}
