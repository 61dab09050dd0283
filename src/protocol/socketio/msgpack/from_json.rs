//! From JSON text and attachments to msgpack.

use std::fmt;

use bytes::Bytes;
use rmp::{
    Marker,
    encode::{write_bin, write_bool, write_f64, write_map_len, write_nil, write_sint, write_str, write_uint},
};
use serde::de::{self, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Error;
use smallvec::SmallVec;

use crate::protocol::socketio::placeholder::{Budget, Original, Placeholder};

/// Writes a message.
#[derive(Debug)]
pub(super) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self {
            out: Vec::with_capacity(capacity),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// The head of a map.
    pub(super) fn map(&mut self, count: usize) -> Result<(), Error> {
        write_map_len(&mut self.out, length(count)?).map_err(Error::custom)?;
        Ok(())
    }

    pub(super) fn member(&mut self, key: &str, number: u64) -> Result<(), Error> {
        self.text(key)?;
        write_uint(&mut self.out, number).map_err(Error::custom)?;
        Ok(())
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), Error> {
        put_text(&mut self.out, text)
    }

    /// A value of JSON; placeholders become what they stand for.
    pub(super) fn json(&mut self, json: &str, attachments: &[Bytes]) -> Result<(), Error> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let value = Value {
            out: &mut self.out,
            attachments,
            budget: &Budget::of(attachments),
        };
        value.deserialize(&mut deserializer)?;
        deserializer.end()
    }

    /// The object of an answer to CONNECT, to which the reference adds an undefined `pid`.
    pub(super) fn connect(&mut self, json: &str, has_pid: bool) -> Result<(), Error> {
        let start = self.out.len();
        self.json(json, &[])?;
        // A map of fewer than 15 members says how many in its first byte.
        if let Some(head @ 0x80..0x8f) = self.out.get_mut(start).filter(|_| !has_pid) {
            *head += 1;
            self.text("pid")?;
            self.out.extend_from_slice(&[0xd4, 0, 0]);
        }
        Ok(())
    }
}

/// Writes one value of JSON, and what is in it; as deep as `serde_json` goes, 127 levels.
struct Value<'a> {
    out: &'a mut Vec<u8>,
    attachments: &'a [Bytes],
    budget: &'a Budget,
}

/// What an object has to know of its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    True,
    Number(u64),
    Other,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Written;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Written, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Written;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Written, E> {
        write_nil(self.out).map_err(E::custom)?;
        Ok(Written::Other)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Written, E> {
        write_bool(self.out, value).map_err(E::custom)?;
        Ok(if value { Written::True } else { Written::Other })
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Written, E> {
        write_uint(self.out, value).map_err(E::custom)?;
        Ok(Written::Number(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Written, E> {
        write_sint(self.out, value).map_err(E::custom)?;
        Ok(Written::Other)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Written, E> {
        write_f64(self.out, value).map_err(E::custom)?;
        Ok(Written::Other)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Written, E> {
        put_text(self.out, value)?;
        Ok(Written::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Written, A::Error> {
        let Self { out, attachments, budget } = self;
        let start = out.len();
        out.push(0);
        let mut count = 0;
        while elements.next_element_seed(Value { out, attachments, budget })?.is_some() {
            count += 1;
        }
        put_head(out, start, length(count)?, [0x90, 0xdc, 0xdd]);
        Ok(Written::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Written, A::Error> {
        let Self { out, attachments, budget } = self;
        let start = out.len();
        out.push(0);
        let mut count = 0;
        let mut placeholder = Placeholder::default();
        while let Some(key) = members.next_key_seed(Key { out })? {
            let value = members.next_value_seed(Value { out, attachments, budget })?;
            note(&mut placeholder, key, value);
            count += 1;
        }
        match placeholder.original(attachments).filter(|_| placeholder.is_marked) {
            None => put_head(out, start, length(count)?, [0x80, 0xde, 0xdf]),
            Some(original) => {
                if !budget.spend(original.len()) {
                    return Err(A::Error::custom("attachments are named more often than they were sent"));
                }
                out.truncate(start);
                put_original(out, original)?;
            }
        }
        Ok(Written::Other)
    }
}

/// Writes a key, and says whether a placeholder may have it.
struct Key<'a> {
    out: &'a mut Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    Placeholder,
    Number,
    Extension,
    Msgpack,
    Other,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Known;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Known, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Known;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Known, E> {
        put_text(self.out, key)?;
        Ok(match key {
            "_placeholder" => Known::Placeholder,
            "num" => Known::Number,
            "ext" => Known::Extension,
            "msgpack" => Known::Msgpack,
            _ => Known::Other,
        })
    }
}

fn note(placeholder: &mut Placeholder, key: Known, value: Written) {
    let number = match value {
        Written::Number(number) => Some(number),
        Written::True | Written::Other => None,
    };
    match key {
        Known::Placeholder => placeholder.is_marked = value == Written::True,
        Known::Number => placeholder.number = number,
        Known::Extension => placeholder.extension = number,
        Known::Msgpack => placeholder.place = number,
        Known::Other => {}
    }
}

fn put_original<E: de::Error>(out: &mut Vec<u8>, original: Original<'_>) -> Result<(), E> {
    match original {
        Original::Binary(data) => {
            length::<E>(data.len())?;
            write_bin(out, data).map_err(E::custom)?;
        }
        Original::Buffer(data) => {
            // With its length even where msgpack has a shorter form: that would be another type.
            let length = length::<E>(data.len())?.to_be_bytes();
            match length {
                [0, 0, 0, low] => out.extend_from_slice(&[Marker::Ext8.to_u8(), low]),
                [0, 0, high, low] => out.extend_from_slice(&[Marker::Ext16.to_u8(), high, low]),
                _ => {
                    out.push(Marker::Ext32.to_u8());
                    out.extend_from_slice(&length);
                }
            }
            out.push(0);
            out.extend_from_slice(data);
        }
        Original::Msgpack(raw, _) => out.extend_from_slice(raw),
    }
    Ok(())
}

/// Puts the head of an array or map in the place of the one byte that was left for it. What stands behind it moves when it is longer
/// than that, which is once for each level at most.
fn put_head(out: &mut Vec<u8>, start: usize, count: u32, [few, some, many]: [u8; 3]) {
    let mut head = SmallVec::<[u8; 5]>::new();
    match count.to_be_bytes() {
        [0, 0, 0, low @ ..16] => head.push(few | low),
        [0, 0, high, low] => head.extend_from_slice(&[some, high, low]),
        all => {
            head.push(many);
            head.extend_from_slice(&all);
        }
    }
    drop(out.splice(start..=start, head));
}

fn put_text<E: de::Error>(out: &mut Vec<u8>, text: &str) -> Result<(), E> {
    length::<E>(text.len())?;
    write_str(out, text).map_err(E::custom)
}

/// A length as msgpack can say it.
fn length<E: de::Error>(length: usize) -> Result<u32, E> {
    u32::try_from(length).map_err(|_| E::custom("longer than 4 GiB"))
}
