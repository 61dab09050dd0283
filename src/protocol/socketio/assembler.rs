//! Joins a packet with the binary messages that follow it (Socket.IO protocol v5, Binary).

use std::borrow::Cow;

use bytes::Bytes;

use super::{Attachments, DecodeError, Limits, Packet, Payload, text};

/// A packet with all of its attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled<'a> {
    /// The packet; borrowed from its text message unless it had to wait for attachments.
    pub packet: Packet<'a>,
    /// The attachments, as many as the packet announced.
    pub attachments: Attachments,
}

impl Assembled<'_> {
    /// The arguments to keep, queue or forward. Copies the text unless the packet had to wait for attachments. A packet without a
    /// payload has the empty array.
    #[must_use]
    pub fn into_payload(self) -> Payload {
        let json = self.packet.data.map_or_else(|| "[]".into(), Cow::into_owned);
        Payload::new(json, self.attachments)
    }
}

/// The decoder of one connection. Holds at most one packet, of at most [`Limits::max_bytes`], that waits for attachments; an announced
/// attachment takes no memory before it has come. After an error nothing waits any more.
#[derive(Debug)]
pub struct Assembler {
    limits: Limits,
    /// The packet that waits; boxed because most connections never have one.
    pending: Option<Box<Pending>>,
}

#[derive(Debug)]
struct Pending {
    packet: Packet<'static>,
    attachments: Attachments,
    /// How many bytes may still come.
    budget: usize,
}

impl Assembler {
    /// A decoder for one connection.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, pending: None }
    }

    /// Takes a text message; gives the packet unless it waits for attachments.
    ///
    /// # Errors
    /// Those of [`text::decode`]; [`DecodeError::AttachmentsMissing`] when the packet before was not complete.
    pub fn text<'a>(&mut self, text: &'a str) -> Result<Option<Assembled<'a>>, DecodeError> {
        if self.pending.take().is_some() {
            return Err(DecodeError::AttachmentsMissing);
        }
        let packet = text::decode(text, &self.limits)?;
        let attachments = Attachments::new();
        if packet.attachments == 0 {
            return Ok(Some(Assembled { packet, attachments }));
        }
        let budget = self.limits.max_bytes.saturating_sub(text.len());
        self.pending = Some(Box::new(Pending {
            packet: packet.into_owned(),
            attachments,
            budget,
        }));
        Ok(None)
    }

    /// Takes a binary message; gives the packet if this was its last attachment.
    ///
    /// # Errors
    /// [`DecodeError::UnexpectedBinary`], [`DecodeError::TooLarge`].
    pub fn binary(&mut self, data: Bytes) -> Result<Option<Assembled<'static>>, DecodeError> {
        let mut pending = self.pending.take().ok_or(DecodeError::UnexpectedBinary)?;
        pending.budget = pending.budget.checked_sub(data.len()).ok_or(DecodeError::TooLarge {
            max: self.limits.max_bytes,
        })?;
        pending.attachments.push(data);
        if pending.attachments.len() < pending.packet.attachments {
            self.pending = Some(pending);
            return Ok(None);
        }
        let Pending {
            packet,
            attachments,
            budget: _,
        } = *pending;
        Ok(Some(Assembled { packet, attachments }))
    }

    /// Whether a packet waits for attachments.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}
