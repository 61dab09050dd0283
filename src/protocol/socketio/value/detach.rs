//! A serde serializer over another one, in which what JSON lacks is put aside and a placeholder is written in its place.

use std::cell::RefCell;

use bytes::Bytes;
use serde::{
    Serialize, Serializer,
    ser::{
        SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
    },
};

use super::{Attachments, Date, Encoding, date::NAME};

/// What has been put aside while values are written.
#[derive(Debug)]
pub(super) struct Aside {
    encoding: Encoding,
    stored: RefCell<Stored>,
}

#[derive(Debug)]
struct Stored {
    attachments: Attachments,
    /// Values in msgpack, one after the other, and which attachment they become.
    gathered: Vec<u8>,
    gathered_at: Option<usize>,
}

/// The object that holds a place.
#[derive(Serialize)]
struct Placeholder {
    _placeholder: bool,
    num: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    msgpack: Option<usize>,
}

impl Aside {
    /// Attachments that are there already are numbered first.
    pub(super) fn new(encoding: Encoding, attachments: Attachments) -> Self {
        Self {
            encoding,
            stored: RefCell::new(Stored {
                attachments,
                gathered: Vec::new(),
                gathered_at: None,
            }),
        }
    }

    pub(super) fn into_attachments(self) -> Attachments {
        let Stored {
            mut attachments,
            gathered,
            gathered_at,
        } = self.stored.into_inner();
        if let Some(slot) = gathered_at.and_then(|at| attachments.get_mut(at)) {
            *slot = gathered.into();
        }
        attachments
    }

    fn attach(&self, bytes: &[u8]) -> Placeholder {
        let attachments = &mut self.stored.borrow_mut().attachments;
        attachments.push(Bytes::copy_from_slice(bytes));
        Placeholder {
            _placeholder: true,
            num: attachments.len() - 1,
            msgpack: None,
        }
    }

    fn gather(&self, raw: &[u8]) -> Placeholder {
        let Stored {
            attachments,
            gathered,
            gathered_at,
        } = &mut *self.stored.borrow_mut();
        let num = *gathered_at.get_or_insert_with(|| {
            attachments.push(Bytes::new());
            attachments.len() - 1
        });
        let place = gathered.len();
        gathered.extend_from_slice(raw);
        Placeholder {
            _placeholder: true,
            num,
            msgpack: Some(place),
        }
    }
}

/// Writes what is not put aside to `inner`.
pub(super) struct Detach<'a, S> {
    inner: S,
    aside: &'a Aside,
}

impl<'a, S> Detach<'a, S> {
    pub(super) const fn new(inner: S, aside: &'a Aside) -> Self {
        Self { inner, aside }
    }
}

/// A value inside another.
struct Within<'a, T: ?Sized> {
    value: &'a T,
    aside: &'a Aside,
}

impl<T: Serialize + ?Sized> Serialize for Within<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Detach::new(serializer, self.aside))
    }
}

/// Methods that write what they are given as it is.
macro_rules! as_they_are {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {
        $(fn $method(self, $($name: $type),*) -> Result<S::Ok, S::Error> {
            self.inner.$method($($name),*)
        })*
    };
}

/// Methods that begin something with values in it.
macro_rules! containers {
    ($($method:ident($($name:ident: $type:ty),*) -> $container:ident;)*) => {
        $(fn $method(self, $($name: $type),*) -> Result<Self::$container, S::Error> {
            Ok(Detach::new(self.inner.$method($($name),*)?, self.aside))
        })*
    };
}

impl<'a, S: Serializer> Serializer for Detach<'a, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = Detach<'a, S::SerializeSeq>;
    type SerializeTuple = Detach<'a, S::SerializeTuple>;
    type SerializeTupleStruct = Detach<'a, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Detach<'a, S::SerializeTupleVariant>;
    type SerializeMap = Detach<'a, S::SerializeMap>;
    type SerializeStruct = Detach<'a, S::SerializeStruct>;
    type SerializeStructVariant = Detach<'a, S::SerializeStructVariant>;

    fn serialize_bytes(self, bytes: &[u8]) -> Result<S::Ok, S::Error> {
        self.aside.attach(bytes).serialize(self.inner)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        if name == NAME && self.aside.encoding == Encoding::Msgpack {
            // Serde carries nothing but what is written elsewhere, too: the text.
            let date = serde_json::to_value(value)
                .ok()
                .and_then(|text| text.as_str()?.parse::<Date>().ok());
            if let Some(date) = date {
                return self.aside.gather(&date.to_msgpack()).serialize(self.inner);
            }
        }
        let Self { inner, aside } = self;
        inner.serialize_newtype_struct(name, &Within { value, aside })
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let Self { inner, aside } = self;
        inner.serialize_some(&Within { value, aside })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let Self { inner, aside } = self;
        inner.serialize_newtype_variant(name, index, variant, &Within { value, aside })
    }

    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }

    as_they_are! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    containers! {
        serialize_seq(len: Option<usize>) -> SerializeSeq;
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeTupleVariant;
        serialize_map(len: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct;
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize) -> SerializeStructVariant;
    }
}

/// What has values in it: a method for each kind of them.
macro_rules! values {
    ($($trait:ident { $method:ident($($key:ident: $type:ty)?) $($rest:item)* })*) => {
        $(impl<S: $trait> $trait for Detach<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, $($key: $type,)? value: &T) -> Result<(), S::Error> {
                let aside = self.aside;
                self.inner.$method($($key,)? &Within { value, aside })
            }

            $($rest)*

            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

values! {
    SerializeSeq { serialize_element() }
    SerializeTuple { serialize_element() }
    SerializeTupleStruct { serialize_field() }
    SerializeTupleVariant { serialize_field() }
    SerializeStruct { serialize_field(key: &'static str) }
    SerializeStructVariant { serialize_field(key: &'static str) }
    SerializeMap {
        serialize_value()
        // A key is text: it has nothing to be put aside.
        fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), S::Error> {
            self.inner.serialize_key(key)
        }
    }
}
