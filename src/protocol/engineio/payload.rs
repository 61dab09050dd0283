//! The body of a polling request or answer: packets in text form, joined by the record separator (Engine.IO protocol v4, Payload).

use std::{iter::FusedIterator, str};

use super::{Packet, PacketError, decode_text, packet::encode_binary};

/// What stands between two packets. It never occurs inside one: JSON escapes it, base64 does not contain it.
pub const SEPARATOR: char = '\x1e';

/// The packets of a body, in order, decoded as they are asked for and borrowed from it.
///
/// What stands before a broken packet is still yielded, then the error, then nothing more: the reference processes a payload up to
/// its first broken packet. An empty body is one empty packet, hence an error. The caller bounds the body; there are at most
/// `body.len() + 1` packets.
#[must_use]
pub fn decode(body: &[u8]) -> Packets<'_> {
    Packets { rest: Some(body) }
}

/// Appends a packet to a body, with a separator unless it is the first.
pub fn push(body: &mut String, packet: &Packet<'_>) {
    separate(body);
    packet.encode_text(body);
}

/// Appends a binary message.
pub fn push_binary(body: &mut String, data: &[u8]) {
    separate(body);
    encode_binary(data, body);
}

/// The iterator of [`decode`].
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    /// What has not been decoded yet; `None` after the last packet and after an error.
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        // 0x1e cannot be part of a longer UTF-8 sequence, so the split may come before the check.
        let mut pieces = self.rest?.splitn(2, |byte| *byte == SEPARATOR as u8);
        let packet = pieces.next()?;
        self.rest = pieces.next();
        let decoded = str::from_utf8(packet).map_err(|_| PacketError::Utf8).and_then(decode_text);
        if decoded.is_err() {
            self.rest = None;
        }
        Some(decoded)
    }
}

impl FusedIterator for Packets<'_> {}

fn separate(body: &mut String) {
    if !body.is_empty() {
        body.push(SEPARATOR);
    }
}
