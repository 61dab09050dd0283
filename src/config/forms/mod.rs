//! The forms that a value may have: how it is read, and how the expected form is told to a person.

mod amounts;
mod names;
mod places;
mod words;

use std::fmt;

use toml::de::DeValue;

pub(super) use amounts::{Attachments, Bound, Compression, Count, Depth, Positive, Size};
pub(super) use names::{ClusterName, CookieName, CookiePath, FilePath, HandshakeKeys, HttpPath, Name, NodeName, Secret, Tokens};
pub(super) use places::{Advertise, AllowedOrigins, Endpoint, NatsUrls, Networks, Origins, RedisUrl};
pub(super) use words::{AdapterKind, LogFilter, ParserKind, Transports};

/// A value as it was found, before it has a type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Found<'a> {
    /// In a file (or a default): TOML has types of its own.
    Toml(&'a DeValue<'a>),
    /// In a variable or a flag: a word is all there is. A list is separated by commas.
    Word(&'a str),
}

impl<'a> Found<'a> {
    fn text(self) -> Option<&'a str> {
        match self {
            Self::Toml(value) => value.as_str(),
            Self::Word(word) => Some(word),
        }
    }

    fn boolean(self) -> Option<bool> {
        match self {
            Self::Toml(value) => value.as_bool(),
            Self::Word(word) => word.parse().ok(),
        }
    }

    fn integer(self) -> Option<u64> {
        match self {
            Self::Toml(value) => value.as_integer().and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok()),
            Self::Word(word) => word.parse().ok(),
        }
    }

    fn list(self) -> Option<Vec<&'a str>> {
        match self {
            Self::Toml(value) => value.as_array()?.iter().map(|item| item.get_ref().as_str()).collect(),
            Self::Word(word) => Some(word.split(',').map(str::trim).filter(|item| !item.is_empty()).collect()),
        }
    }
}

/// The value as a person wrote it, shortened.
impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        let quoted = |f: &mut fmt::Formatter<'_>, text: &str| {
            let short: String = text.chars().take(LONGEST).collect();
            write!(f, "{short:?}{}", if short.len() < text.len() { "…" } else { "" })
        };
        match self {
            Self::Word(word) => quoted(f, word),
            Self::Toml(DeValue::String(text)) => quoted(f, text),
            Self::Toml(DeValue::Integer(integer)) => write!(f, "{}", integer.as_str()),
            Self::Toml(DeValue::Float(float)) => write!(f, "{}", float.as_str()),
            Self::Toml(DeValue::Boolean(boolean)) => write!(f, "{boolean}"),
            Self::Toml(DeValue::Datetime(_)) => f.write_str("a date"),
            Self::Toml(DeValue::Table(_)) => f.write_str("a table"),
            Self::Toml(DeValue::Array(items)) => {
                f.write_str("[")?;
                for (n, item) in items.iter().take(8).enumerate() {
                    write!(f, "{}{}", if n > 0 { ", " } else { "" }, Found::Toml(item.get_ref()))?;
                }
                f.write_str(if items.len() > 8 { ", …]" } else { "]" })
            }
        }
    }
}

/// A type that a key can have.
pub(super) trait Form: Sized {
    /// The expected form, in words that complete "expected …".
    const EXPECTED: &'static str;

    /// The value, or `None` when what was found has not the expected form.
    fn read(found: Found<'_>) -> Option<Self>;

    /// What was found, as it may be shown: a form that can hold a secret masks it.
    fn show(found: Found<'_>) -> String {
        found.to_string()
    }
}
