//! A message on its way to clients, encoded once and shared by every recipient.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use crate::protocol::{
    engineio::payload,
    websocket::{self, Opcode},
};

/// One text message with its binary attachments, or a binary message alone, pushed, sent or dropped as one unit.
///
/// The WebSocket form (all frames, one after the other) is made at once, in one allocation; the polling form is made when the first
/// polling recipient asks for it. A clone is a reference count.
#[derive(Debug, Clone)]
pub struct Outgoing(Arc<Message>);

#[derive(Debug, Clone)]
struct Message {
    /// Every frame, ready to be written.
    frames: Bytes,
    /// Where in `frames` the payload of each packet stands: the text first (with its Engine.IO type; an empty range where there is no
    /// text), then the attachments. None for a control frame, which exists on WebSockets only.
    packets: SmallVec<[Range<usize>; 2]>,
    /// The packets as a piece of a polling payload.
    polling: OnceLock<Bytes>,
    /// An application's message, not a packet of the session's own.
    counts: bool,
    /// Whether an answer to a poll may be compressed for the sake of this message.
    compress: bool,
}

impl Outgoing {
    /// Encodes a message (Engine.IO protocol v4, packet type `message`). The text is the concatenation of `text`, so that a prefix
    /// (namespace, ack id) is spliced without a copy of its own; each attachment becomes a binary packet after it.
    #[must_use]
    pub fn new(text: &[&str], attachments: &[Bytes]) -> Self {
        let length = 1 + text.iter().map(|piece| piece.len()).sum::<usize>();
        let capacity = 10 + length + attachments.iter().map(|bytes| 10 + bytes.len()).sum::<usize>();
        let mut frames = BytesMut::with_capacity(capacity);
        let mut packets = SmallVec::with_capacity(1 + attachments.len());
        put_header(&mut frames, Opcode::Text, length);
        packets.push(frames.len()..frames.len() + length);
        frames.put_u8(b'4');
        for piece in text {
            frames.put_slice(piece.as_bytes());
        }
        for bytes in attachments {
            put_header(&mut frames, Opcode::Binary, bytes.len());
            packets.push(frames.len()..frames.len() + bytes.len());
            frames.put_slice(bytes);
        }
        Self(Arc::new(Message {
            frames: frames.freeze(),
            packets,
            polling: OnceLock::new(),
            counts: true,
            compress: true,
        }))
    }

    /// Encodes a binary message without a text (Engine.IO protocol v4, packet type `message`).
    #[must_use]
    pub fn binary(payload: &[u8]) -> Self {
        let mut frames = BytesMut::with_capacity(10 + payload.len());
        put_header(&mut frames, Opcode::Binary, payload.len());
        let packets = smallvec![0..0, frames.len()..frames.len() + payload.len()];
        frames.put_slice(payload);
        Self(Arc::new(Message {
            frames: frames.freeze(),
            packets,
            polling: OnceLock::new(),
            counts: true,
            compress: true,
        }))
    }

    /// The same message, for whose sake nothing is compressed: the answer to a poll that carries no other goes out as it is (the
    /// reference's `compress(false)`).
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        Arc::make_mut(&mut self.0).compress = false;
        self
    }

    /// A packet of the session's own (`2`, `0{..}`, `3probe`), complete with its type.
    pub(super) fn packet(text: &str) -> Self {
        let mut frames = BytesMut::with_capacity(10 + text.len());
        put_header(&mut frames, Opcode::Text, text.len());
        let packets = smallvec![frames.len()..frames.len() + text.len()];
        frames.put_slice(text.as_bytes());
        Self(Arc::new(Message {
            frames: frames.freeze(),
            packets,
            polling: OnceLock::new(),
            counts: false,
            compress: false,
        }))
    }

    /// A control frame of the WebSocket (pong, close; at most 125 bytes), which has no polling form.
    pub(super) fn control(opcode: Opcode, payload: &[u8]) -> Self {
        let mut frames = BytesMut::with_capacity(10 + payload.len());
        put_header(&mut frames, opcode, payload.len());
        frames.put_slice(payload);
        Self(Arc::new(Message {
            frames: frames.freeze(),
            packets: SmallVec::new(),
            polling: OnceLock::new(),
            counts: false,
            compress: false,
        }))
    }

    /// A close frame of the WebSocket; without a code the client sees 1005.
    pub(super) fn close(code: Option<u16>) -> Self {
        match code {
            Some(code) => Self::control(Opcode::Close, &code.to_be_bytes()),
            None => Self::control(Opcode::Close, &[]),
        }
    }

    /// The WebSocket form: every frame of the message.
    #[must_use]
    pub fn frames(&self) -> &Bytes {
        &self.0.frames
    }

    /// The polling form: the packets joined by the record separator. Empty for a control frame.
    #[must_use]
    pub fn polling(&self) -> &Bytes {
        self.0.polling.get_or_init(|| self.encode_polling())
    }

    /// The text of the message, without the type of the packet; empty where there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        let packet = self.0.packets.first().and_then(|range| self.0.frames.get(range.clone()));
        packet
            .and_then(|packet| packet.get(1..))
            .and_then(|text| std::str::from_utf8(text).ok())
            .unwrap_or_default()
    }

    /// The attachments of the message.
    pub fn attachments(&self) -> impl Iterator<Item = Bytes> {
        self.0.packets.iter().skip(1).map(|range| self.0.frames.slice(range.clone()))
    }

    /// Whether an answer to a poll may be compressed for the sake of this message.
    pub(super) fn may_be_compressed(&self) -> bool {
        self.0.compress
    }

    /// Whether this is an application's message rather than a packet of the session's own.
    pub(super) fn is_message(&self) -> bool {
        self.0.counts
    }

    fn encode_polling(&self) -> Bytes {
        let Message { frames, packets, .. } = &*self.0;
        let Some((text, attachments)) = packets.split_first() else {
            return Bytes::new();
        };
        let text = frames.slice(text.clone());
        if attachments.is_empty() {
            return text;
        }
        let mut payload = String::with_capacity(frames.len() * 4 / 3 + 4 * attachments.len());
        payload.push_str(std::str::from_utf8(&text).unwrap_or_default());
        for range in attachments {
            payload::push_binary(&mut payload, &frames.slice(range.clone()));
        }
        payload.into()
    }
}

fn put_header(frames: &mut BytesMut, opcode: Opcode, length: usize) {
    let mut header = [0; 10];
    let written = websocket::encode_header(opcode, length, &mut header);
    frames.put_slice(header.get(..written).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_carry_text_and_attachments() {
        let message = Outgoing::new(&["51-", "[\"e\"]"], &[Bytes::from_static(&[1, 2, 3, 4])]);
        assert_eq!(&message.frames()[..], b"\x81\x09451-[\"e\"]\x82\x04\x01\x02\x03\x04");
        assert_eq!(&message.polling()[..], b"451-[\"e\"]\x1ebAQIDBA==");
        assert_eq!(message.text(), "51-[\"e\"]");
        assert_eq!(message.attachments().collect::<Vec<_>>(), [Bytes::from_static(&[1, 2, 3, 4])]);
    }

    #[test]
    fn a_binary_message_has_no_text_in_either_form() {
        let message = Outgoing::binary(&[1, 2, 3, 4]);
        assert_eq!(&message.frames()[..], b"\x82\x04\x01\x02\x03\x04");
        assert_eq!(&message.polling()[..], b"bAQIDBA==");
        assert_eq!(message.text(), "");
        assert_eq!(message.attachments().collect::<Vec<_>>(), [Bytes::from_static(&[1, 2, 3, 4])]);
    }

    #[test]
    fn long_messages_have_long_headers() {
        let text = "x".repeat(70_000);
        let message = Outgoing::new(&[&text], &[]);
        assert_eq!(&message.frames()[..11], [0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x71, b'4']);
        assert_eq!(message.frames().len(), 10 + 1 + 70_000);
        assert_eq!(message.polling().len(), 1 + 70_000);
    }

    #[test]
    fn an_empty_message_is_its_type_alone() {
        let message = Outgoing::new(&[], &[]);
        assert_eq!(&message.frames()[..], b"\x81\x014");
        assert_eq!(message.text(), "");
    }
}
