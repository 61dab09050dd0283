//! A serde deserializer over JSON in which placeholders are the bytes of attachments.

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

/// A value, and the attachments that placeholders in it name. Its nesting is bounded by the parser that made the value.
pub(super) struct Attached<'a> {
    value: Value,
    attachments: &'a [Bytes],
}

impl<'a> Attached<'a> {
    pub(super) const fn new(value: Value, attachments: &'a [Bytes]) -> Self {
        Self { value, attachments }
    }

    /// The attachment, where the value is a placeholder.
    fn bytes(&self) -> Result<Option<&'a Bytes>, Error> {
        let Value::Object(object) = &self.value else {
            return Ok(None);
        };
        if object.get("_placeholder") != Some(&Value::Bool(true)) {
            return Ok(None);
        }
        let index = object
            .get("num")
            .and_then(Value::as_u64)
            .and_then(|index| usize::try_from(index).ok());
        let bytes = index.and_then(|index| self.attachments.get(index));
        bytes
            .map(Some)
            .ok_or_else(|| Error::custom("illegal attachments: a placeholder names none"))
    }
}

impl<'de> IntoDeserializer<'de, Error> for Attached<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Attached<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if let Some(bytes) = self.bytes()? {
            return visitor.visit_byte_buf(bytes.to_vec());
        }
        let attachments = self.attachments;
        match self.value {
            Value::Array(elements) => {
                let mut elements = SeqDeserializer::new(elements.into_iter().map(|value| Attached { value, attachments }));
                let value = visitor.visit_seq(&mut elements)?;
                elements.end()?;
                Ok(value)
            }
            Value::Object(object) => {
                let mut members = members(object, attachments);
                let value = visitor.visit_map(&mut members)?;
                members.end()?;
                Ok(value)
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    /// A sequence of numbers, e.g. a plain `Vec<u8>`, can be read from an attachment too.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.bytes()? {
            Some(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
            None => self.deserialize_any(visitor),
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
            Value::Object(object) if object.len() == 1 => visitor.visit_enum(MapAccessDeserializer::new(members(object, self.attachments))),
            value => value.deserialize_enum(name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map
        struct identifier ignored_any
    }
}

type Members<'de, 'a> = MapDeserializer<'de, std::vec::IntoIter<(Key, Attached<'a>)>, Error>;

fn members<'de>(object: Map<String, Value>, attachments: &[Bytes]) -> Members<'de, '_> {
    let members: Vec<_> = object
        .into_iter()
        .map(|(key, value)| (Key(key), Attached { value, attachments }))
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
