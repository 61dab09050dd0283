//! A message on its way to clients, encoded once and shared by every recipient.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

/// One text message with its binary attachments, pushed, sent or dropped as one unit.
///
/// The WebSocket form (all frames, one after the other) is made at once, in one allocation; the polling form is made when the first
/// polling recipient asks for it. A clone is a reference count.
#[derive(Debug, Clone)]
pub struct Outgoing(Arc<Message>);

#[derive(Debug)]
struct Message {
    /// Every frame, ready to be written.
    frames: Bytes,
    /// Where in `frames` the payload of each packet stands: the text first (with its Engine.IO type `4`), then the attachments.
    packets: SmallVec<[Range<usize>; 2]>,
    /// The packets as a piece of a polling payload.
    polling: OnceLock<Bytes>,
}

impl Outgoing {
    /// Encodes a message. The text is the concatenation of `text`, so that a prefix (namespace, ack id) is spliced without a copy of
    /// its own; each attachment becomes a binary packet after it.
    #[must_use]
    pub fn new(text: &[&str], attachments: &[Bytes]) -> Self {
        let text_length = 1 + text.iter().map(|piece| piece.len()).sum::<usize>();
        let _ = (text_length, attachments, BytesMut::new().remaining_mut());
        unimplemented!("engine team: finish with protocol::websocket::encode_header")
    }

    /// The WebSocket form: every frame of the message.
    #[must_use]
    pub fn frames(&self) -> &Bytes {
        &self.0.frames
    }

    /// The polling form: the packets joined by the record separator.
    #[must_use]
    pub fn polling(&self) -> &Bytes {
        self.0.polling.get_or_init(|| unimplemented!("engine team; uses {:?}", self.0.packets))
    }
}
