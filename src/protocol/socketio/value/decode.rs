//! From JSON and attachments to serde values: the arguments of a packet.

use std::{fmt::Display, marker::PhantomData};

use bytes::Bytes;
use serde::{
    Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, SeqAccess, Visitor},
    forward_to_deserialize_any,
};

use super::{
    EncodeError, Payload,
    attached::{Attached, Store},
    encode,
};
use crate::protocol::socketio::json::{Elements, MAX_DEPTH, Rules};

/// Why arguments are not what a handler asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// There are fewer arguments. (A missing argument is `None` to an `Option` and `()` to a unit.)
    #[error("argument {index} is missing")]
    Missing {
        /// Which one, counted from 0.
        index: usize,
    },
    /// The argument is of another type.
    #[error("argument {index}: {message}")]
    Mismatch {
        /// Which one, counted from 0.
        index: usize,
        /// What serde found and what it expected; may quote the argument.
        message: String,
    },
    /// The payload is not a JSON array (or, of an event, has no name).
    #[error("payload is not an array of arguments")]
    NotArguments,
}

/// The arguments of an event or acknowledgement, undecoded.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a> {
    /// The elements' text, without the array's brackets: `1,[2]`.
    elements: &'a str,
    attachments: &'a [Bytes],
}

impl<'a> Arguments<'a> {
    /// Arguments from the text between the array's brackets, e.g. the second part of
    /// [`event_name`](crate::protocol::socketio::event_name).
    #[must_use]
    pub const fn new(elements: &'a str, attachments: &'a [Bytes]) -> Self {
        Self { elements, attachments }
    }

    /// The text of the elements, without brackets.
    #[must_use]
    pub const fn text(&self) -> &'a str {
        self.elements
    }

    /// The attachments that placeholders in the text name.
    #[must_use]
    pub const fn attachments(&self) -> &'a [Bytes] {
        self.attachments
    }

    /// The JSON text of the first argument, and the arguments behind it; of all of them the attachments. `None` where there is none.
    #[must_use]
    pub fn split_first(&self) -> Option<(&'a str, Self)> {
        let mut elements = self.elements();
        let first = elements.next()?.ok()?;
        Some((
            first,
            Self {
                elements: elements.rest(),
                attachments: self.attachments,
            },
        ))
    }

    /// An acknowledgement with these arguments, as they stand.
    #[must_use]
    pub fn to_ack(&self) -> Payload {
        Payload::new(format!("[{}]", self.elements), self.attachments.into())
    }

    /// An event with these arguments, as they stand.
    ///
    /// # Errors
    /// [`EncodeError::Reserved`].
    pub fn to_event(&self, name: &str) -> Result<Payload, EncodeError> {
        encode::raw_event(name, self.elements, self.attachments.into())
    }

    /// The JSON text of each argument, in order; ends early where the text is not JSON.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.elements().map_while(Result::ok)
    }

    const fn elements(&self) -> Elements<'a> {
        Elements::of_list(
            self.elements,
            Rules {
                depth: MAX_DEPTH,
                attachments: None,
            },
        )
    }

    /// The `index`th argument (from 0), decoded.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T, ArgumentError> {
        decode_one(PhantomData, self.iter().nth(index), index, self.attachments)
    }

    /// All arguments, decoded by the rule of [`value`](crate::protocol::socketio::value): a tuple takes as many as it has elements, `()`
    /// none, anything else the first. Further arguments are ignored, as a JavaScript function would.
    ///
    /// # Errors
    /// [`ArgumentError`].
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        match T::deserialize(Spread { arguments: *self }) {
            Err(Unspread::One) => self.get(0),
            Err(Unspread::Argument(error)) => Err(error),
            Ok(arguments) => Ok(arguments),
        }
    }
}

/// Decodes one argument, or what a missing one is to its type.
fn decode_one<'de, S: DeserializeSeed<'de>>(
    seed: S,
    argument: Option<&'de str>,
    index: usize,
    attachments: &[Bytes],
) -> Result<S::Value, ArgumentError> {
    let decoded = match argument {
        None => return seed.deserialize(Missing { index }),
        Some(text) if attachments.is_empty() => seed.deserialize(&mut serde_json::Deserializer::from_str(text)),
        Some(text) => serde_json::from_str(text).and_then(|value| seed.deserialize(Attached::new(value, &Store::new(attachments)))),
    };
    decoded.map_err(|error| ArgumentError::Mismatch {
        index,
        message: error.to_string(),
    })
}

/// All arguments, to a type that takes several: a tuple or `()`. Any other type is told that it takes one.
struct Spread<'a> {
    arguments: Arguments<'a>,
}

/// Why a type did not take arguments from a [`Spread`].
#[derive(Debug, thiserror::Error)]
enum Unspread {
    #[error("one argument")]
    One,
    #[error(transparent)]
    Argument(ArgumentError),
}

impl de::Error for Unspread {
    fn custom<T: Display>(message: T) -> Self {
        Self::Argument(ArgumentError::custom(message))
    }
}

impl de::Error for ArgumentError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Mismatch {
            index: 0,
            message: message.to_string(),
        }
    }
}

impl<'de> Deserializer<'de> for Spread<'de> {
    type Error = Unspread;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Unspread> {
        Err(Unspread::One)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unspread> {
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Unspread> {
        let attachments = self.arguments.attachments;
        visitor.visit_seq(Sequence {
            arguments: self.arguments.iter(),
            attachments,
            index: 0,
            len,
        })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct newtype_struct seq
        tuple_struct map struct enum identifier ignored_any
    }
}

/// As many arguments as a tuple has elements, those that are not there too.
struct Sequence<'a, I> {
    arguments: I,
    attachments: &'a [Bytes],
    index: usize,
    len: usize,
}

impl<'de, I: Iterator<Item = &'de str>> SeqAccess<'de> for Sequence<'de, I> {
    type Error = Unspread;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Unspread> {
        if self.index == self.len {
            return Ok(None);
        }
        let index = self.index;
        self.index += 1;
        decode_one(seed, self.arguments.next(), index, self.attachments)
            .map(Some)
            .map_err(Unspread::Argument)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.len - self.index)
    }
}

/// An argument that is not there.
struct Missing {
    index: usize,
}

impl<'de> Deserializer<'de> for Missing {
    type Error = ArgumentError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ArgumentError> {
        Err(ArgumentError::Missing { index: self.index })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ArgumentError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf seq tuple tuple_struct map struct enum
        identifier ignored_any
    }
}
