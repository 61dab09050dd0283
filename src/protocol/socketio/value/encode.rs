//! From serde values to JSON and attachments.

use std::{
    fmt::{self, Display},
    io,
};

use bytes::Bytes;
use serde::{
    Serialize, Serializer,
    ser::{self, Impossible},
};
use serde_json::ser::Formatter;

use super::{Attachments, Payload};
use crate::protocol::socketio::{
    Unencodable, is_reserved,
    json::{self, Flaw, Rules},
};

/// Why arguments cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The event's name is one of [`RESERVED_EVENTS`](crate::protocol::socketio::RESERVED_EVENTS).
    #[error("event name {0:?} is reserved")]
    Reserved(String),
    /// A value has no JSON form.
    #[error("arguments have no JSON form")]
    Json(#[source] serde_json::Error),
    /// A value beside binary ones looks like the placeholder of an attachment that is not there; a client would close its connection
    /// over it.
    #[error("arguments contain the placeholder of an attachment that is not there")]
    Placeholder,
    /// The hub's parser has no form for the packet.
    #[error(transparent)]
    Parser(#[from] Unencodable),
}

/// An event: `["name",…]`.
pub(super) fn event<T: Serialize + ?Sized>(name: &str, args: &T) -> Result<Payload, EncodeError> {
    finish(begin(name)?, args)
}

/// An event whose arguments have been encoded before.
pub(super) fn raw_event(name: &str, elements: &str, attachments: Attachments) -> Result<Payload, EncodeError> {
    let mut json = begin(name)?;
    if !elements.is_empty() {
        json.push(b',');
        json.extend_from_slice(elements.as_bytes());
    }
    json.push(b']');
    Ok(Payload::new(utf8(json)?, attachments))
}

/// An acknowledgement: `[…]`.
pub(super) fn ack<T: Serialize + ?Sized>(args: &T) -> Result<Payload, EncodeError> {
    finish(vec![b'['], args)
}

/// The array of an event, up to its name.
fn begin(name: &str) -> Result<Vec<u8>, EncodeError> {
    if is_reserved(name) {
        return Err(EncodeError::Reserved(name.to_owned()));
    }
    let mut json = vec![b'['];
    serde_json::to_writer(&mut json, name).map_err(EncodeError::Json)?;
    Ok(json)
}

/// Appends the arguments to an array that has begun, and ends it.
fn finish<T: Serialize + ?Sized>(mut json: Vec<u8>, args: &T) -> Result<Payload, EncodeError> {
    let mut attachments = Attachments::new();
    let named = json.len() > 1;
    let spread = Spread::of(args);
    let bracket = json.len();
    match spread {
        Spread::None => {}
        // The tuple's text is an array: its bracket becomes the comma behind the name, or takes the place of the one that stands there.
        Spread::Elements if !named => json.clear(),
        Spread::One if named => json.push(b','),
        Spread::Elements | Spread::One => {}
    }
    if spread != Spread::None {
        let detach = Detach {
            attachments: &mut attachments,
        };
        args.serialize(&mut serde_json::Serializer::with_formatter(&mut json, detach))
            .map_err(EncodeError::Json)?;
    }
    match (spread, json.get_mut(bracket)) {
        (Spread::Elements, Some(bracket)) if named => *bracket = b',',
        (Spread::Elements, _) => {}
        (Spread::None | Spread::One, _) => json.push(b']'),
    }
    let json = utf8(json)?;
    let rules = Rules {
        depth: usize::MAX,
        attachments: Some(attachments.len()),
    };
    if !attachments.is_empty() && json::check(&json, rules) == Err(Flaw::Placeholder) {
        return Err(EncodeError::Placeholder);
    }
    Ok(Payload::new(json, attachments))
}

/// The text of what a JSON serializer wrote; that it is UTF-8 cannot be seen from its type.
fn utf8(json: Vec<u8>) -> Result<String, EncodeError> {
    String::from_utf8(json).map_err(|_| EncodeError::Json(ser::Error::custom("not UTF-8")))
}

/// Compact JSON, but bytes are put aside and a placeholder is written in their place.
struct Detach<'a> {
    attachments: &'a mut Attachments,
}

impl Formatter for Detach<'_> {
    fn write_byte_array<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: &[u8]) -> io::Result<()> {
        write!(writer, r#"{{"_placeholder":true,"num":{}}}"#, self.attachments.len())?;
        self.attachments.push(Bytes::copy_from_slice(value));
        Ok(())
    }
}

/// How many arguments a value is: found out by looking at the first thing it says to a serializer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spread {
    /// `()` or an empty tuple.
    None,
    /// A tuple.
    Elements,
    /// Anything else.
    One,
}

impl Spread {
    fn of<T: Serialize + ?Sized>(args: &T) -> Self {
        match args.serialize(Probe) {
            Ok(never) => match never {},
            Err(spread) => spread,
        }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Spread {}

impl ser::Error for Spread {
    fn custom<T: Display>(_: T) -> Self {
        // The value fails by itself; encoding it as one argument tells why.
        Self::One
    }
}

/// What a [`Probe`] never gives.
enum Never {}

/// Answers the first call with an error that says how many arguments the value is.
struct Probe;

/// Methods of values that are one argument.
macro_rules! one {
    ($($method:ident($($argument:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$ok, Spread> {
            Err(Spread::One)
        })*
    };
}

impl Serializer for Probe {
    type Ok = Never;
    type Error = Spread;
    type SerializeSeq = Impossible<Never, Spread>;
    type SerializeTuple = Impossible<Never, Spread>;
    type SerializeTupleStruct = Impossible<Never, Spread>;
    type SerializeTupleVariant = Impossible<Never, Spread>;
    type SerializeMap = Impossible<Never, Spread>;
    type SerializeStruct = Impossible<Never, Spread>;
    type SerializeStructVariant = Impossible<Never, Spread>;

    fn serialize_unit(self) -> Result<Never, Spread> {
        Err(Spread::None)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, Spread> {
        Err(if len == 0 { Spread::None } else { Spread::Elements })
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<Never, Spread> {
        Err(Spread::One)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<Never, Spread> {
        Err(Spread::One)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(self, _: &'static str, _: u32, _: &'static str, _: &T) -> Result<Never, Spread> {
        Err(Spread::One)
    }

    fn collect_str<T: Display + ?Sized>(self, _: &T) -> Result<Never, Spread> {
        Err(Spread::One)
    }

    one! {
        serialize_bool(bool) -> Never;
        serialize_i8(i8) -> Never;
        serialize_i16(i16) -> Never;
        serialize_i32(i32) -> Never;
        serialize_i64(i64) -> Never;
        serialize_i128(i128) -> Never;
        serialize_u8(u8) -> Never;
        serialize_u16(u16) -> Never;
        serialize_u32(u32) -> Never;
        serialize_u64(u64) -> Never;
        serialize_u128(u128) -> Never;
        serialize_f32(f32) -> Never;
        serialize_f64(f64) -> Never;
        serialize_char(char) -> Never;
        serialize_str(&str) -> Never;
        serialize_bytes(&[u8]) -> Never;
        serialize_none() -> Never;
        serialize_unit_struct(&'static str) -> Never;
        serialize_unit_variant(&'static str, u32, &'static str) -> Never;
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}
