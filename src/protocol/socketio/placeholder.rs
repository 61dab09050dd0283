//! The objects that hold the places of attachments in JSON, and what they stand for.

use bytes::Bytes;

use super::msgpack::reader::{Reader, Token};

/// What an object has said of being a placeholder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Placeholder {
    /// Whether `_placeholder` is `true`.
    pub is_marked: bool,
    /// `num`: which attachment.
    pub number: Option<u64>,
    /// `ext`: the attachment was an extension of this type, the msgpack of a JavaScript `ArrayBuffer`.
    pub extension: Option<u64>,
    /// `msgpack`: where in the attachment the value stands, in msgpack.
    pub place: Option<u64>,
}

/// What a placeholder stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Original<'a> {
    Binary(&'a Bytes),
    /// A JavaScript `ArrayBuffer` or typed array, where the parser makes a difference.
    Buffer(&'a Bytes),
    /// A value in msgpack: as it stands, and its first token.
    Msgpack(&'a [u8], Token<'a>),
}

impl Placeholder {
    /// What it stands for; nothing where the attachment does not exist.
    pub(super) fn original(self, attachments: &[Bytes]) -> Option<Original<'_>> {
        let attachment = attachments.get(usize::try_from(self.number?).ok()?)?;
        match (self.place, self.extension) {
            (Some(place), _) => {
                let rest = attachment.get(usize::try_from(place).ok()?..)?;
                let mut reader = Reader::at(rest, 0);
                let token = reader.whole().ok()?;
                Some(Original::Msgpack(rest.get(..reader.position())?, token))
            }
            (None, Some(0)) => Some(Original::Buffer(attachment)),
            (None, _) => Some(Original::Binary(attachment)),
        }
    }
}
