//! How one session wants its packets encoded.

use std::num::NonZeroU32;

use crate::protocol::engineio::{Revision, payload::Form};

use super::Outgoing;

/// The revision that the client of a session speaks, whether binary messages can reach it as such, and from where on they are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) revision: Revision,
    /// Binary messages are to be sent as text, on WebSockets too (`b64=1`).
    pub(super) base64: bool,
    /// On a WebSocket on which permessage-deflate was negotiated: the bytes of the shortest payload that is compressed.
    pub(super) deflate_from: Option<NonZeroU32>,
}

impl Dialect {
    /// What almost everybody speaks, and messages are encoded for beforehand.
    pub(super) const PLAIN: Self = Self {
        revision: Revision::V4,
        base64: false,
        deflate_from: None,
    };

    /// The form of a payload of these messages. It is binary only where the client can read that and something in it is binary.
    pub(super) fn form(self, messages: &[Outgoing]) -> Form {
        match self.revision {
            Revision::V3 if !self.base64 && messages.iter().any(Outgoing::has_attachments) => Form::Binary,
            revision => Form::of(revision),
        }
    }
}
