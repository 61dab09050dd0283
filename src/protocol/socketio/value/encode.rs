//! From serde values to JSON and attachments.

use std::fmt::{self, Display};

use serde::{
    Serialize, Serializer,
    ser::{self, Impossible},
};

use super::{
    Attachments, Payload,
    detach::{Aside, Detach},
};
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

/// How values become payloads: what the [parser](crate::protocol::socketio::Parser::encoding) can carry that JSON lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Nothing: a [`Date`](super::Date) is text.
    #[default]
    Json,
    /// What msgpack has: a [`Date`](super::Date) stays one.
    Msgpack,
}

impl Encoding {
    /// An event with its arguments: `["name",…]`.
    ///
    /// # Errors
    /// [`EncodeError`]: the name is reserved, or a value has no JSON form (e.g. a map whose keys are lists).
    pub fn event<T: Serialize + ?Sized>(self, name: &str, args: &T) -> Result<Payload, EncodeError> {
        self.finish(begin(name)?, args)
    }

    /// The arguments of an acknowledgement: `[…]`.
    ///
    /// # Errors
    /// [`EncodeError`]: a value has no JSON form.
    pub fn ack<T: Serialize + ?Sized>(self, args: &T) -> Result<Payload, EncodeError> {
        self.finish(vec![b'['], args)
    }

    /// An event with another value in the place of its `index`th argument (0 is the one after the name); those that are missing before it
    /// are null. An attachment that was named there stays, and nothing names it.
    ///
    /// # Errors
    /// [`EncodeError`]: the value has no JSON form.
    pub fn with_arg<T: Serialize + ?Sized>(self, event: &Payload, index: usize, value: &T) -> Result<Payload, EncodeError> {
        let mut elements = event.arguments().iter();
        let mut json = vec![b'['];
        for _ in 0..=index {
            json.extend_from_slice(elements.next().unwrap_or("null").as_bytes());
            json.push(b',');
        }
        // The argument that goes.
        elements.next();
        let aside = Aside::new(self, event.attachments().into());
        aside.write(&mut json, value)?;
        for element in elements {
            json.push(b',');
            json.extend_from_slice(element.as_bytes());
        }
        json.push(b']');
        aside.close(json)
    }

    /// Appends the arguments to an array that has begun, and ends it.
    fn finish<T: Serialize + ?Sized>(self, mut json: Vec<u8>, args: &T) -> Result<Payload, EncodeError> {
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
        let aside = Aside::new(self, Attachments::new());
        if spread != Spread::None {
            aside.write(&mut json, args)?;
        }
        match (spread, json.get_mut(bracket)) {
            (Spread::Elements, Some(bracket)) if named => *bracket = b',',
            (Spread::Elements, _) => {}
            (Spread::None | Spread::One, _) => json.push(b']'),
        }
        aside.close(json)
    }
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

/// The array of an event, up to its name.
fn begin(name: &str) -> Result<Vec<u8>, EncodeError> {
    if is_reserved(name) {
        return Err(EncodeError::Reserved(name.to_owned()));
    }
    let mut json = vec![b'['];
    serde_json::to_writer(&mut json, name).map_err(EncodeError::Json)?;
    Ok(json)
}

impl Aside {
    /// Writes a value.
    fn write<T: Serialize + ?Sized>(&self, json: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
        let mut writer = serde_json::Serializer::new(json);
        value.serialize(Detach::new(&mut writer, self)).map_err(EncodeError::Json)
    }

    /// The payload of what has been written.
    fn close(self, json: Vec<u8>) -> Result<Payload, EncodeError> {
        let attachments = self.into_attachments();
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
}

/// The text of what a JSON serializer wrote; that it is UTF-8 cannot be seen from its type.
fn utf8(json: Vec<u8>) -> Result<String, EncodeError> {
    String::from_utf8(json).map_err(|_| EncodeError::Json(ser::Error::custom("not UTF-8")))
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
