//! One Engine.IO packet and its text form (Engine.IO protocol v4, Packet encoding).

use base64::{
    Engine as _, alphabet,
    engine::DecodePaddingMode,
    engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD},
};
use bytes::Bytes;

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
    /// `2`: a heartbeat of the server, or the `probe` of a client that upgrades.
    Ping(&'a str),
    /// `3`: the answer to a ping, with the ping's data.
    Pong(&'a str),
    /// `4`: a text message.
    Message(&'a str),
    /// A binary message. It has no type digit: a binary frame on WebSocket, `b` and base64 where only text can pass.
    Binary(Bytes),
    /// `5`: the client has finished the upgrade of its transport.
    Upgrade,
    /// `6`: releases a poll that waits.
    Noop,
}

/// Why a text is not an Engine.IO packet. The session closes with `parse error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// A packet without a type: an empty frame, or nothing between two separators of a payload.
    #[error("empty Engine.IO packet")]
    Empty,
    /// The first character is none of `0` to `6` and `b`.
    #[error("unknown Engine.IO packet type {0:?}")]
    UnknownType(char),
    /// What follows a `b` is not standard base64.
    #[error("Engine.IO binary packet is not base64")]
    Base64,
    /// A packet of a polling payload is not UTF-8. (A WebSocket text frame has been checked before it comes here.)
    #[error("Engine.IO packet is not UTF-8")]
    Utf8,
}

/// Decodes the text form of a packet: a WebSocket text frame, or one packet of a polling payload.
///
/// `b` and base64 is a binary message on every transport. Data behind `1`, `5` and `6` is ignored, as the reference does.
///
/// # Errors
/// [`PacketError`]; a binary packet allocates three quarters of its text at most.
pub fn decode_text(text: &str) -> Result<Packet<'_>, PacketError> {
    let mut characters = text.chars();
    let kind = characters.next().ok_or(PacketError::Empty)?;
    let data = characters.as_str();
    Ok(match kind {
        '0' => Packet::Open(data),
        '1' => Packet::Close,
        '2' => Packet::Ping(data),
        '3' => Packet::Pong(data),
        '4' => Packet::Message(data),
        '5' => Packet::Upgrade,
        '6' => Packet::Noop,
        'b' => Packet::Binary(BASE64.decode(data).map_err(|_| PacketError::Base64)?.into()),
        other => return Err(PacketError::UnknownType(other)),
    })
}

impl Packet<'_> {
    /// Appends the text form; a binary message becomes `b` and padded base64.
    pub fn encode_text(&self, out: &mut String) {
        let (kind, data) = match self {
            Packet::Open(data) => ('0', *data),
            Packet::Close => ('1', ""),
            Packet::Ping(data) => ('2', *data),
            Packet::Pong(data) => ('3', *data),
            Packet::Message(data) => ('4', *data),
            Packet::Binary(data) => return encode_binary(data, out),
            Packet::Upgrade => ('5', ""),
            Packet::Noop => ('6', ""),
        };
        out.push(kind);
        out.push_str(data);
    }
}

/// Appends the text form of a binary message: `b` and padded base64.
pub(super) fn encode_binary(data: &[u8], out: &mut String) {
    out.push('b');
    STANDARD.encode_string(data, out);
}
