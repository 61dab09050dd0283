//! Typed values and what they are on the wire: a JSON array with placeholders, and the bytes that belong into them.
//!
//! # Arguments
//! Socket.IO events and acknowledgements have any number of arguments; a Rust value is one. The rule, in both directions:
//!
//! | Rust | arguments |
//! |---|---|
//! | a tuple `(a, b, c)`, and `(a,)` | its elements |
//! | `()` | none |
//! | anything else: scalars, strings, structs, enums, options, maps, `Vec`s and slices | one |
//!
//! References and boxes are as what they point to. A Rust array `[T; N]` is a tuple to serde and so is spread too; a `Vec`, a
//! slice, a tuple struct and a newtype struct are one argument. `serde_json::Value::Null` is a unit to serde, so alone it is no
//! argument: `(Value::Null,)` sends a null.
//!
//! # Binary
//! What serde calls bytes ([`bytes::Bytes`], the types of `serde_bytes`), nested anywhere, becomes an attachment; its place in the JSON
//! is held by `{"_placeholder":true,"num":0}`. A plain `Vec<u8>` is written as an array of numbers; it can read both. A
//! `serde_json::Value` cannot hold bytes: decoding an argument with attachments into one fails.
//! Placeholders may name an attachment twice, but of what they name no more bytes are copied than all attachments have: the rest is an
//! error.
//!
//! # Dates
//! A [`Date`] is text (RFC 3339, as `toISOString` writes it) where the parser carries JSON, as `JSON.stringify` makes of a JavaScript
//! `Date`, and a JavaScript `Date` where it carries msgpack. It can be read from either.
//!
//! A client with the msgpack parser can send what JSON lacks. `undefined` is read as a null, and as a member of an object it is missing;
//! a `Date` is read as an integer (milliseconds since 1970) where the type asks for a number, and as text (RFC 3339, as `toISOString`
//! writes it) elsewhere; typed arrays are bytes.

mod attached;
mod date;
mod decode;
mod detach;
mod encode;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, str};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use smallvec::SmallVec;

use super::{json, text};

pub(super) use date::date_text;
pub use date::{Date, NotADate};
pub use decode::{ArgumentError, Arguments};
pub use encode::{EncodeError, Encoding};

/// The attachments of one packet, in the order of their numbers.
pub type Attachments = SmallVec<[Bytes; 1]>;

/// The payload of an event or acknowledgement: the text of a JSON array, and its attachments. A clone is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload {
    /// UTF-8, always.
    json: Bytes,
    attachments: Attachments,
}

/// Bytes that cannot be the JSON of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("payload is not UTF-8")]
pub struct NotUtf8;

impl Payload {
    /// An event with its arguments, `["name",…]`, in a form for every parser: see [`Encoding::event`].
    ///
    /// # Errors
    /// [`EncodeError`]: the name is reserved, or a value has no JSON form (e.g. a map whose keys are lists).
    pub fn event<T: Serialize + ?Sized>(name: &str, args: &T) -> Result<Self, EncodeError> {
        Encoding::Json.event(name, args)
    }

    /// The arguments of an acknowledgement, `[…]`, in a form for every parser.
    ///
    /// # Errors
    /// [`EncodeError`]: a value has no JSON form.
    pub fn ack<T: Serialize + ?Sized>(args: &T) -> Result<Self, EncodeError> {
        Encoding::Json.ack(args)
    }

    pub(super) fn new(json: String, attachments: Attachments) -> Self {
        Self {
            json: json.into(),
            attachments,
        }
    }

    /// A payload that was encoded before: by a client whose packet was checked by [`text::decode`], or by
    /// another node. Only checked to be UTF-8; typed decoding finds out about the rest.
    ///
    /// # Errors
    /// [`NotUtf8`].
    pub fn from_parts(json: Bytes, attachments: impl Into<Attachments>) -> Result<Self, NotUtf8> {
        str::from_utf8(&json).map_err(|_| NotUtf8)?;
        Ok(Self {
            json,
            attachments: attachments.into(),
        })
    }

    /// The JSON array.
    #[must_use]
    pub fn json(&self) -> &str {
        // Checked again because the field cannot say so in its type; that is a pass at memory speed, once per broadcast.
        str::from_utf8(&self.json).unwrap_or_default()
    }

    /// The JSON array as shared bytes.
    #[must_use]
    pub const fn json_bytes(&self) -> &Bytes {
        &self.json
    }

    /// The attachments, in the order of their numbers.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        &self.attachments
    }

    /// The length of the JSON and of all attachments, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// The same event or acknowledgement with one more argument, a string.
    #[must_use]
    pub fn with_last(&self, last: &str) -> Self {
        let json = self.json().trim_end_matches(json::SPACE);
        let elements = json.strip_suffix(']').unwrap_or(json);
        let mut longer = String::with_capacity(json.len() + last.len() + 3);
        longer.push_str(elements);
        if elements.trim_end_matches(json::SPACE) != "[" {
            longer.push(',');
        }
        longer.push_str(&serde_json::Value::from(last).to_string());
        longer.push(']');
        Self::new(longer, self.attachments.clone())
    }

    /// The same event under another name.
    ///
    /// # Errors
    /// [`EncodeError::Reserved`].
    pub fn renamed(&self, name: &str) -> Result<Self, EncodeError> {
        self.as_event()
            .map_or_else(|| Encoding::Json.event(name, &()), |(_, arguments)| arguments.to_event(name))
    }

    /// The name of an event, and its arguments. `None` where the payload is not that of an event.
    #[must_use]
    pub fn as_event(&self) -> Option<(Cow<'_, str>, Arguments<'_>)> {
        let (name, elements) = text::event_name(self.json())?;
        Some((name, Arguments::new(elements, &self.attachments)))
    }

    /// All elements of the array: the arguments of an acknowledgement.
    #[must_use]
    pub fn arguments(&self) -> Arguments<'_> {
        let array = self.json().trim_matches(json::SPACE);
        let elements = array.strip_prefix('[').and_then(|array| array.strip_suffix(']'));
        Arguments::new(elements.unwrap_or_default(), &self.attachments)
    }

    /// The `index`th argument of an event (0 is the one after the name), decoded.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn arg<T: DeserializeOwned>(&self, index: usize) -> Result<T, ArgumentError> {
        self.as_event().ok_or(ArgumentError::NotArguments)?.1.get(index)
    }

    /// All arguments of an event, decoded by the rule of this module.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        self.as_event().ok_or(ArgumentError::NotArguments)?.1.decode()
    }
}
