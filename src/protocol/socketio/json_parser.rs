//! The default parser: a text message, and a binary message for each attachment (Socket.IO protocol v5, Packet encoding).

use std::borrow::Cow;

use bytes::Bytes;

use super::{Assembled, Attachments, DecodeError, Decoded, Encoded, Limits, Message, Packet, Parser, Pending, Unencodable, text};

/// The parser of a client that was given no other: `socket.io-parser` of the reference.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonParser;

impl Parser for JsonParser {
    /// The head is all that is allocated.
    ///
    /// # Errors
    /// Never.
    fn encode<'a>(&self, packet: &'a Packet<'_>, attachments: &'a [Bytes]) -> Result<Encoded<'a>, Unencodable> {
        Ok(Encoded::Text {
            head: text::head(packet.kind, &packet.namespace, packet.id, attachments.len()),
            body: Cow::Borrowed(packet.data.as_deref().unwrap_or_default()),
            attachments: Cow::Borrowed(attachments),
        })
    }

    /// Borrows the packet from its message.
    ///
    /// # Errors
    /// Those of [`text::decode`]; [`DecodeError::UnexpectedBinary`].
    fn decode<'a>(&self, message: Message<'a>, limits: &Limits) -> Result<Decoded<'a>, DecodeError> {
        let Message::Text(text) = message else {
            return Err(DecodeError::UnexpectedBinary);
        };
        let packet = text::decode(text, limits)?;
        let attachments = Attachments::new();
        if packet.attachments == 0 {
            return Ok(Decoded::Packet(Assembled { packet, attachments }));
        }
        Ok(Decoded::Pending(Box::new(Awaiting {
            packet: packet.into_owned(),
            attachments,
            budget: limits.max_bytes.saturating_sub(text.len()),
        })))
    }
}

/// A packet whose attachments come. One that is announced takes no memory before.
#[derive(Debug)]
struct Awaiting {
    packet: Packet<'static>,
    attachments: Attachments,
    /// How many bytes may still come.
    budget: usize,
}

impl Pending for Awaiting {
    fn proceed(mut self: Box<Self>, message: Message<'_>, limits: &Limits) -> Result<Decoded<'static>, DecodeError> {
        let Message::Binary(data) = message else {
            return Err(DecodeError::AttachmentsMissing);
        };
        self.budget = self
            .budget
            .checked_sub(data.len())
            .ok_or(DecodeError::TooLarge { max: limits.max_bytes })?;
        self.attachments.push(data);
        if self.attachments.len() < self.packet.attachments {
            return Ok(Decoded::Pending(self));
        }
        let Self { packet, attachments, .. } = *self;
        Ok(Decoded::Packet(Assembled { packet, attachments }))
    }
}
