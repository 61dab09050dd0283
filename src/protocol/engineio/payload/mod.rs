//! The body of a polling request or answer: several packets in one (Engine.IO protocol v4 and v3, Payload).

use std::iter::FusedIterator;

use super::{Packet, PacketError, Revision, encode_base64};

mod pieces;
#[cfg(test)]
mod tests;

/// What stands between two packets in revision 4. It never occurs inside one: JSON escapes it, base64 does not contain it.
pub const SEPARATOR: char = '\x1e';

/// How packets stand in a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Revision 4: packets in text form, joined by [`SEPARATOR`].
    Separated,
    /// Revision 3: `<length>:<packet>` for each, the packets in text form, the length in UTF-16 code units.
    Counted,
    /// Revision 3, of content type `application/octet-stream`: for each packet a byte, 0 for a text and 1 for a binary one, the
    /// digits of its length in bytes as bytes 0 to 9, the byte 255, and the packet.
    Binary,
}

impl Form {
    /// The form of text packets in a revision.
    #[must_use]
    pub const fn of(revision: Revision) -> Self {
        match revision {
            Revision::V3 => Self::Counted,
            Revision::V4 => Self::Separated,
        }
    }

    /// The revision of which the form is.
    #[must_use]
    pub const fn revision(self) -> Revision {
        match self {
            Self::Separated => Revision::V4,
            Self::Counted | Self::Binary => Revision::V3,
        }
    }
}

/// The packets of a body, in order, decoded as they are asked for and borrowed from it.
///
/// What stands before a broken packet is still yielded, then the error, then nothing more: the reference processes a payload up to
/// its first broken packet. An empty body is one empty packet, hence an error, unless it is [binary](Form::Binary); `0:` is no
/// packet. The caller bounds the body; there are at most `body.len() + 1` packets.
#[must_use]
pub const fn decode(body: &[u8], form: Form) -> Packets<'_> {
    Packets { form, rest: Some(body) }
}

/// Appends a packet to a body.
pub fn push(body: &mut Vec<u8>, packet: &Packet<'_>, form: Form) {
    if let Packet::Binary(data) = packet {
        return push_binary(body, data, form);
    }
    let mut text = String::new();
    packet.encode_text(form.revision(), &mut text);
    push_text(body, &text, form);
}

/// Appends a packet that is in its text form already.
pub fn push_text(body: &mut Vec<u8>, packet: &str, form: Form) {
    match form {
        Form::Separated => return append(body, packet.as_bytes(), form),
        Form::Counted => body.extend_from_slice(format!("{}:", utf16_length(packet)).as_bytes()),
        Form::Binary => push_header(body, 0, packet.len()),
    }
    body.extend_from_slice(packet.as_bytes());
}

/// Appends a binary message.
pub fn push_binary(body: &mut Vec<u8>, data: &[u8], form: Form) {
    if form == Form::Binary {
        push_header(body, 1, 1 + data.len());
        body.push(4);
        return body.extend_from_slice(data);
    }
    let mut text = String::new();
    encode_base64(data, form.revision(), &mut text);
    push_text(body, &text, form);
}

/// Appends packets that were encoded in this form already, one or more.
pub fn append(body: &mut Vec<u8>, packets: &[u8], form: Form) {
    if form == Form::Separated && !body.is_empty() {
        body.push(SEPARATOR as u8);
    }
    body.extend_from_slice(packets);
}

/// The iterator of [`decode`].
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    form: Form,
    /// What has not been decoded yet; `None` after the last packet and after an error.
    rest: Option<&'a [u8]>,
}

impl<'a> Packets<'a> {
    /// The bytes that have not been decoded yet; nothing after the last packet and after an error.
    #[must_use]
    pub const fn rest(&self) -> Option<&'a [u8]> {
        self.rest
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, PacketError>;

    fn next(&mut self) -> Option<Self::Item> {
        let split = match self.form {
            Form::Separated => pieces::separated(self.rest?),
            Form::Counted => pieces::counted(self.rest?),
            Form::Binary => pieces::binary(self.rest?),
        };
        let decoded = split.and_then(|(piece, rest)| {
            self.rest = rest;
            piece.map(|piece| piece.decode(self.form.revision())).transpose()
        });
        if decoded.is_err() {
            self.rest = None;
        }
        decoded.transpose()
    }
}

impl FusedIterator for Packets<'_> {}

fn push_header(body: &mut Vec<u8>, kind: u8, length: usize) {
    body.push(kind);
    body.extend(length.to_string().bytes().map(|digit| digit - b'0'));
    body.push(255);
}

fn utf16_length(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.encode_utf16().count() }
}
