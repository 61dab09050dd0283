//! How far a client has come in the log of its namespace.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Characters of an epoch.
const EPOCH_CHARS: usize = 11;

/// A place in the log of a namespace: the entries up to `position` lie behind it.
///
/// As text it is opaque to clients: the epoch as eleven characters of base64url, then the position in hexadecimal digits. It is the last
/// argument of each logged event; the stock client remembers the last one and sends it back in its next CONNECT packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Offset {
    /// Which life of the log.
    pub epoch: u64,
    /// The position of an entry, from 1 up; 0 is before the first.
    pub position: u64,
}

impl Offset {
    /// Reads the text form, and no other spelling of it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, position) = text.split_at_checked(EPOCH_CHARS)?;
        let epoch = URL_SAFE_NO_PAD.decode(epoch).ok()?;
        let canonical = match position.as_bytes() {
            [b'0'] => true,
            [first, ..] => {
                *first != b'0' && position.len() <= 16 && position.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            }
            [] => false,
        };
        Some(Self {
            epoch: u64::from_be_bytes(epoch.try_into().ok()?),
            position: u64::from_str_radix(position, 16).ok().filter(|_| canonical)?,
        })
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:x}", URL_SAFE_NO_PAD.encode(self.epoch.to_be_bytes()), self.position)
    }
}

/// What a client says of how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: it has seen no event.
    None,
    /// The text of an offset.
    At(Offset),
    /// Something that no server has told it.
    Malformed,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_offset_has_one_spelling() {
        let offset = Offset { epoch: 1, position: 0x1f };
        assert_eq!(offset.to_string(), "AAAAAAAAAAE1f");
        for other in [
            "",
            "AAAAAAAAAAE",
            "AAAAAAAAAAE01",
            "AAAAAAAAAAE1F",
            "AAAAAAAAAAE+1",
            "AAAAAAAAAAF1f",
            "AAAAAAAAAAE1f ",
            "AAAAAAAAAé1f",
            "AAAAAAAAAAE11111111111111111",
        ] {
            assert_eq!(Offset::parse(other), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn the_text_of_an_offset_is_read_as_that_offset(epoch: u64, position: u64) {
            let offset = Offset { epoch, position };
            prop_assert_eq!(Offset::parse(&offset.to_string()), Some(offset));
        }

        #[test]
        fn whatever_is_read_is_spelled_the_same(text in "[A-Za-z0-9_-]{10,12}[0-9a-f]{0,17}") {
            if let Some(offset) = Offset::parse(&text) {
                prop_assert_eq!(offset.to_string(), text);
            }
        }
    }
}
