//! The objects that hold the places of attachments in JSON, and what they stand for.

use std::cell::Cell;

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
    /// A value in msgpack: as it stands, and what it is. Neither an array nor a map.
    Msgpack(&'a [u8], Token<'a>),
}

impl Original<'_> {
    /// How many bytes a copy takes.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Binary(bytes) | Self::Buffer(bytes) => bytes.len(),
            Self::Msgpack(raw, _) => raw.len(),
        }
    }
}

/// How much may be copied out of attachments. Placeholders of a peer may all name the same large one, but together they get no more
/// than was sent.
#[derive(Debug)]
pub(super) struct Budget(Cell<usize>);

impl Budget {
    pub(super) fn of(attachments: &[Bytes]) -> Self {
        Self(Cell::new(attachments.iter().map(Bytes::len).sum()))
    }

    /// Whether so many bytes may be copied; if so, they are counted.
    pub(super) fn spend(&self, bytes: usize) -> bool {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.unwrap_or_default());
        left.is_some()
    }
}

impl Placeholder {
    /// What it stands for; nothing where the attachment does not exist.
    pub(super) fn original(self, attachments: &[Bytes]) -> Option<Original<'_>> {
        let attachment = attachments.get(usize::try_from(self.number?).ok()?)?;
        match (self.place, self.extension) {
            (Some(place), _) => {
                let rest = attachment.get(usize::try_from(place).ok()?..)?;
                let mut reader = Reader::at(rest, 0);
                match reader.token().ok()? {
                    // No parser puts these there, and to read them again for each placeholder would cost whatever a peer likes.
                    Token::Array(_) | Token::Map(_) => None,
                    token => Some(Original::Msgpack(rest.get(..reader.position())?, token)),
                }
            }
            (None, Some(0)) => Some(Original::Buffer(attachment)),
            (None, _) => Some(Original::Binary(attachment)),
        }
    }
}
