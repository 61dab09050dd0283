//! A message on its way to clients, encoded once and shared by every recipient.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use crate::protocol::{
    engineio::{
        Revision, encode_base64,
        payload::{self, Form},
    },
    websocket::{self, Opcode},
};

use super::dialect::Dialect;

/// One text message with its binary attachments, or a binary message alone, pushed, sent or dropped as one unit.
///
/// The WebSocket form (all frames, one after the other) is made at once, in one allocation; the forms for polling and for clients of
/// Engine.IO 3 are made when the first recipient asks for them. A clone is a reference count.
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
    /// The forms that few ask for.
    rare: OnceLock<Box<Rare>>,
    /// An application's message, not a packet of the session's own.
    counts: bool,
    /// Whether it may be compressed, and an answer to a poll for its sake.
    compress: bool,
}

/// The forms of a message for clients of Engine.IO 3, for those that take binary messages as text only, and for those that take compressed ones.
#[derive(Debug, Clone, Default)]
struct Rare {
    /// Frames of revision 3, in which a type stands before each attachment.
    typed: OnceLock<Bytes>,
    /// Frames with the attachments as text, by revision.
    base64: [OnceLock<Bytes>; 2],
    /// A piece of a payload of revision 3 in text form, and in binary form.
    payload: [OnceLock<Bytes>; 2],
    /// The compressed frames of the plain form, of `typed`, and of `base64`; nothing where it was decided that they go as they are. What was
    /// decided stands: an outbox counts what it will write.
    deflated: [OnceLock<Option<Bytes>>; 4],
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
            rare: OnceLock::new(),
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
            rare: OnceLock::new(),
            counts: true,
            compress: true,
        }))
    }

    /// The same message, which is not compressed, nor is anything for its sake: the answer to a poll that carries no other goes out as it is
    /// (the reference's `compress(false)`).
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
            rare: OnceLock::new(),
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
            rare: OnceLock::new(),
            counts: false,
            compress: false,
        }))
    }

    /// What a WebSocket begins with: the answer to its opening handshake, and the first packets.
    pub(super) fn preamble(answer: &[u8], first: &[Self]) -> Self {
        let mut frames = answer.to_vec();
        first.iter().for_each(|packet| frames.extend_from_slice(packet.frames()));
        Self(Arc::new(Message {
            frames: frames.into(),
            packets: SmallVec::new(),
            polling: OnceLock::new(),
            rare: OnceLock::new(),
            counts: first.iter().any(Self::is_message),
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

    /// The WebSocket form for a session of that dialect. Nothing is compressed here, since mailboxes are locked meanwhile: what has
    /// not been [compressed](Self::deflate) before goes as it is.
    pub(super) fn frames_in(&self, dialect: Dialect) -> &Bytes {
        if dialect == Dialect::PLAIN {
            return &self.0.frames;
        }
        let deflated = self.deflated_in(dialect).and_then(|form| form.get_or_init(|| None).as_ref());
        deflated.unwrap_or_else(|| self.whole_frames_in(dialect))
    }

    /// Whether it is still to be decided if this message is compressed for sessions of that dialect.
    pub(super) fn is_to_be_deflated(&self, dialect: Dialect) -> bool {
        self.deflated_in(dialect).is_some_and(|form| form.get().is_none())
    }

    /// Compresses the frames for sessions of that dialect, unless it was decided before. Answers whether they were compressed now.
    pub(super) fn deflate(&self, dialect: Dialect) -> bool {
        let (Some(form), Some(least)) = (self.deflated_in(dialect), dialect.deflate_from) else {
            return false;
        };
        let mut now = false;
        form.get_or_init(|| {
            let least = usize::try_from(least.get()).unwrap_or(usize::MAX);
            let deflated = websocket::deflate_frames(self.whole_frames_in(dialect), least);
            now = deflated.is_some();
            deflated.map(Bytes::from)
        });
        now
    }

    /// Where the compressed form for sessions of that dialect stands, if this message may have one.
    fn deflated_in(&self, dialect: Dialect) -> Option<&OnceLock<Option<Bytes>>> {
        let least = dialect.deflate_from.filter(|_| self.0.compress)?;
        if self.whole_frames_in(dialect).len() < usize::try_from(least.get()).unwrap_or(usize::MAX) {
            return None;
        }
        let [plain, typed, base64_v3, base64_v4] = &self.rare().deflated;
        Some(match (dialect.base64, dialect.revision) {
            // A text looks the same to everybody.
            _ if !self.has_attachments() => plain,
            (false, Revision::V4) => plain,
            (false, Revision::V3) => typed,
            (true, Revision::V3) => base64_v3,
            (true, Revision::V4) => base64_v4,
        })
    }

    /// The frames for a session of that dialect, not compressed.
    fn whole_frames_in(&self, dialect: Dialect) -> &Bytes {
        let form = match (dialect.base64, dialect.revision) {
            _ if !self.has_attachments() => return &self.0.frames,
            (false, Revision::V4) => return &self.0.frames,
            (false, Revision::V3) => &self.rare().typed,
            (true, Revision::V3) => &self.rare().base64[0],
            (true, Revision::V4) => &self.rare().base64[1],
        };
        form.get_or_init(|| self.encode_frames(dialect))
    }

    fn rare(&self) -> &Rare {
        self.0.rare.get_or_init(Box::default)
    }

    /// The polling form: the packets joined by the record separator. Empty for a control frame.
    #[must_use]
    pub fn polling(&self) -> &Bytes {
        self.payload(Form::Separated)
    }

    /// The packets as a piece of a payload of that form. Empty for a control frame.
    pub(super) fn payload(&self, form: Form) -> &Bytes {
        let piece = match form {
            Form::Separated => &self.0.polling,
            Form::Counted => &self.rare().payload[0],
            Form::Binary => &self.rare().payload[1],
        };
        piece.get_or_init(|| self.encode_payload(form))
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

    /// Whether something in it is binary.
    pub(super) fn has_attachments(&self) -> bool {
        self.0.packets.len() > 1
    }

    fn encode_frames(&self, dialect: Dialect) -> Bytes {
        let mut frames = BytesMut::with_capacity(self.0.frames.len() + 2 * self.0.packets.len());
        if let Some(text) = self.0.packets.first().filter(|text| !text.is_empty()) {
            // Its frame stands at the head.
            frames.put_slice(self.0.frames.get(..text.end).unwrap_or_default());
        }
        for attachment in self.attachments() {
            if dialect.base64 {
                let mut text = String::new();
                encode_base64(&attachment, dialect.revision, &mut text);
                put_header(&mut frames, Opcode::Text, text.len());
                frames.put_slice(text.as_bytes());
            } else {
                put_header(&mut frames, Opcode::Binary, 1 + attachment.len());
                frames.put_u8(4);
                frames.put_slice(&attachment);
            }
        }
        frames.freeze()
    }

    fn encode_payload(&self, form: Form) -> Bytes {
        let Some(range) = self.0.packets.first() else {
            return Bytes::new();
        };
        let text = self.0.frames.slice(range.clone());
        if form == Form::Separated && !self.has_attachments() {
            return text;
        }
        let mut payload = Vec::with_capacity(self.0.frames.len() * 4 / 3 + 16 * self.0.packets.len());
        if !text.is_empty() {
            payload::push_text(&mut payload, std::str::from_utf8(&text).unwrap_or_default(), form);
        }
        for attachment in self.attachments() {
            payload::push_binary(&mut payload, &attachment, form);
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
    fn each_dialect_has_its_own_attachments() {
        let message = Outgoing::new(&["51-", "[\"e\"]"], &[Bytes::from_static(&[1, 2, 3, 4])]);
        let alone = Outgoing::binary(&[1, 2, 3, 4]);
        let text = &b"\x81\x09451-[\"e\"]"[..];
        for (revision, base64, attachment) in [
            (Revision::V4, false, &b"\x82\x04\x01\x02\x03\x04"[..]),
            (Revision::V4, true, b"\x81\x09bAQIDBA=="),
            (Revision::V3, false, b"\x82\x05\x04\x01\x02\x03\x04"),
            (Revision::V3, true, b"\x81\x0ab4AQIDBA=="),
        ] {
            let dialect = Dialect {
                revision,
                base64,
                ..Dialect::PLAIN
            };
            assert_eq!(message.frames_in(dialect), &[text, attachment].concat(), "{dialect:?}");
            assert_eq!(alone.frames_in(dialect), attachment, "{dialect:?}");
        }
        for (form, both, attachment) in [
            (Form::Separated, &b"451-[\"e\"]\x1ebAQIDBA=="[..], &b"bAQIDBA=="[..]),
            (Form::Counted, b"9:451-[\"e\"]10:b4AQIDBA==", b"10:b4AQIDBA=="),
            (
                Form::Binary,
                b"\0\x09\xff451-[\"e\"]\x01\x05\xff\x04\x01\x02\x03\x04",
                b"\x01\x05\xff\x04\x01\x02\x03\x04",
            ),
        ] {
            assert_eq!(message.payload(form), both, "{form:?}");
            assert_eq!(alone.payload(form), attachment, "{form:?}");
        }
    }

    #[test]
    fn forms_are_made_once_and_a_text_is_the_same_to_all() {
        let dialect = Dialect {
            revision: Revision::V3,
            ..Dialect::PLAIN
        };
        let message = Outgoing::new(&["51-[\"e\"]"], &[Bytes::from_static(&[1])]);
        assert_eq!(message.frames_in(dialect).as_ptr(), message.clone().frames_in(dialect).as_ptr());
        assert_eq!(
            message.payload(Form::Binary).as_ptr(),
            message.clone().payload(Form::Binary).as_ptr()
        );
        let text = Outgoing::new(&["2[\"e\"]"], &[]);
        assert_eq!(text.frames_in(dialect).as_ptr(), text.frames().as_ptr());
        assert_eq!(text.payload(Form::Counted), "7:42[\"e\"]");
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
