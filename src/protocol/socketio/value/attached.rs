//! A serde deserializer over JSON in which placeholders are what they stand for.

use bytes::Bytes;
use serde::{
    Deserializer,
    de::{
        Error as _, IntoDeserializer, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Error, Map, Value};

use super::date_text;
use crate::protocol::socketio::{
    msgpack::reader::Token,
    placeholder::{Budget, Original, Placeholder},
};

/// A value, and the attachments that placeholders in it name. Its nesting is bounded by the parser that made the value.
pub(super) struct Attached<'a> {
    value: Value,
    store: &'a Store<'a>,
}

/// The attachments of a packet.
pub(super) struct Store<'a> {
    attachments: &'a [Bytes],
    budget: Budget,
}

impl<'a> Store<'a> {
    pub(super) fn new(attachments: &'a [Bytes]) -> Self {
        Self {
            attachments,
            budget: Budget::of(attachments),
        }
    }

    /// To be called before bytes are copied.
    fn spend(&self, bytes: &[u8]) -> Result<(), Error> {
        if self.budget.spend(bytes.len()) {
            Ok(())
        } else {
            Err(Error::custom("illegal attachments: they are named more often than they were sent"))
        }
    }
}

impl<'a> Attached<'a> {
    pub(super) const fn new(value: Value, store: &'a Store<'a>) -> Self {
        Self { value, store }
    }

    /// What the value stands for, where it is a placeholder.
    fn held(&self) -> Result<Option<Held<'a>>, Error> {
        let Value::Object(object) = &self.value else {
            return Ok(None);
        };
        if object.get("_placeholder") != Some(&Value::Bool(true)) {
            return Ok(None);
        }
        let number = |key| object.get(key).and_then(Value::as_u64);
        let placeholder = Placeholder {
            is_marked: true,
            number: number("num"),
            extension: number("ext"),
            place: number("msgpack"),
        };
        let original = placeholder.original(self.store.attachments);
        original
            .map(|original| Some(Held::from(original)))
            .ok_or_else(|| Error::custom("illegal attachments: a placeholder names none"))
    }
}

/// A value that JSON lacks.
enum Held<'a> {
    Bytes(&'a [u8]),
    Undefined,
    /// Milliseconds since 1970.
    Date(i64),
    Float(f64),
}

impl<'a> From<Original<'a>> for Held<'a> {
    fn from(original: Original<'a>) -> Self {
        match original {
            Original::Binary(bytes) | Original::Buffer(bytes) => Self::Bytes(bytes),
            Original::Msgpack(raw, token) => match token {
                Token::Binary(bytes) | Token::Buffer(bytes) | Token::Extension(bytes) => Self::Bytes(bytes),
                Token::Date(time) => Self::Date(time),
                Token::Float(number) => Self::Float(number),
                Token::Undefined => Self::Undefined,
                // A parser of ours puts nothing else there.
                _ => Self::Bytes(raw),
            },
        }
    }
}

impl<'de> IntoDeserializer<'de, Error> for Attached<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Methods of numbers, which a date can be read as.
macro_rules! dated {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.held()? {
                Some(Held::Date(time)) => visitor.visit_i64(time),
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Attached<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if let Some(held) = self.held()? {
            return match held {
                Held::Bytes(bytes) => {
                    self.store.spend(bytes)?;
                    visitor.visit_byte_buf(bytes.to_vec())
                }
                Held::Undefined => visitor.visit_unit(),
                Held::Date(time) => match date_text(time) {
                    Some(text) => visitor.visit_string(text),
                    None => visitor.visit_unit(),
                },
                Held::Float(number) => visitor.visit_f64(number),
            };
        }
        let store = self.store;
        match self.value {
            Value::Array(elements) => {
                let mut elements = SeqDeserializer::new(elements.into_iter().map(|value| Attached { value, store }));
                let value = visitor.visit_seq(&mut elements)?;
                elements.end()?;
                Ok(value)
            }
            Value::Object(object) => {
                let mut members = members(object, store);
                let value = visitor.visit_map(&mut members)?;
                members.end()?;
                Ok(value)
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() || matches!(self.held()?, Some(Held::Undefined)) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    /// A sequence of numbers, e.g. a plain `Vec<u8>`, can be read from an attachment too.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.held()? {
            Some(Held::Bytes(bytes)) => {
                self.store.spend(bytes)?;
                visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied()))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(object) if object.len() == 1 => visitor.visit_enum(MapAccessDeserializer::new(members(object, self.store))),
            value => value.deserialize_enum(name, variants, visitor),
        }
    }

    dated! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32
        deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        bool char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier ignored_any
    }
}

type Members<'de, 'a> = MapDeserializer<'de, std::vec::IntoIter<(Key, Attached<'a>)>, Error>;

fn members<'de, 'a>(object: Map<String, Value>, store: &'a Store<'a>) -> Members<'de, 'a> {
    let members: Vec<_> = object
        .into_iter()
        .map(|(key, value)| (Key(key), Attached { value, store }))
        // As in JavaScript's JSON: an undefined member is none.
        .filter(|(_, member)| !matches!(member.held(), Ok(Some(Held::Undefined))))
        .collect();
    MapDeserializer::new(members.into_iter())
}

/// An object's key: a string, which a map with numbers or booleans for keys reads as such.
struct Key(String);

impl<'de> IntoDeserializer<'de, Error> for Key {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Methods of keys that are written as strings but are none.
macro_rules! parsed {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match serde_json::from_str(&self.0) {
                Ok(value @ (Value::Number(_) | Value::Bool(_))) => value.deserialize_any(visitor),
                _ => visitor.visit_string(self.0),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Key {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.into_deserializer().deserialize_enum(name, variants, visitor)
    }

    parsed! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8 deserialize_u16
        deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
