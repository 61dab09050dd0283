//! The packets of one connection, joined from its messages.

use std::borrow::Cow;

use super::{Attachments, DecodeError, Decoded, Limits, Message, Packet, Parser, Payload, Pending};

/// A packet with all of its attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled<'a> {
    /// The packet; of the default parser, borrowed from its text message unless it had to wait for attachments.
    pub packet: Packet<'a>,
    /// The attachments, as many as the packet says.
    pub attachments: Attachments,
}

impl Assembled<'_> {
    /// The arguments to keep, queue or forward. Copies the text unless the packet owns it. A packet without a payload has the empty
    /// array.
    #[must_use]
    pub fn into_payload(self) -> Payload {
        let json = self.packet.data.map_or_else(|| "[]".into(), Cow::into_owned);
        Payload::new(json, self.attachments)
    }
}

/// The decoder of one connection. Holds at most one packet that waits for further messages, within the [`Limits`]. After an error
/// nothing waits any more.
#[derive(Debug, Default)]
pub struct Assembler {
    /// The packet that waits; most connections never have one.
    pending: Option<Box<dyn Pending>>,
}

impl Assembler {
    /// A decoder for one connection.
    #[must_use]
    pub const fn new() -> Self {
        Self { pending: None }
    }

    /// Takes a message; gives the packet if it is complete with it. Parser and limits are the same for all messages of a connection.
    ///
    /// # Errors
    /// Those of the parser.
    pub fn take<'a>(&mut self, message: Message<'a>, parser: &dyn Parser, limits: &Limits) -> Result<Option<Assembled<'a>>, DecodeError> {
        let decoded = match self.pending.take() {
            Some(pending) => pending.proceed(message, limits),
            None => parser.decode(message, limits),
        };
        match decoded? {
            Decoded::Packet(assembled) => Ok(Some(assembled)),
            Decoded::Pending(pending) => {
                self.pending = Some(pending);
                Ok(None)
            }
        }
    }

    /// Whether a packet waits for further messages.
    #[must_use]
    pub const fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}
