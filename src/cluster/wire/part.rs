//! The parts of an envelope that differ by kind, as they stand on the wire.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, SeqAccess, Visitor},
};
use smallvec::SmallVec;

use super::TooLong;
use crate::engine::id::NodeTag;

/// The most rooms in one list.
pub(in crate::cluster) const MAX_ROOMS: usize = 16 * 1024;

/// The most attachments of an emit.
pub(in crate::cluster) const MAX_ATTACHMENTS: usize = 4096;

/// The most topics that one heartbeat reports; where more are used, heartbeats take turns.
pub(in crate::cluster) const MAX_REPORTED: usize = 1024;

/// The most removed members that one heartbeat names.
pub(in crate::cluster) const MAX_REMOVED: usize = 64;

/// The part of an emit, a join, a leave or a disconnect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cluster) struct Part<'a, T> {
    pub(in crate::cluster) namespace: &'a str,
    pub(in crate::cluster) rooms: Rooms<'a>,
    pub(in crate::cluster) except: Rooms<'a>,
    /// Lengths of the attachments, or rooms to join or leave, or nothing.
    pub(in crate::cluster) more: T,
}

/// Names of rooms.
pub(in crate::cluster) type Rooms<'a> = List<&'a str, MAX_ROOMS>;

/// What a node says of itself once per heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Heartbeat<'a> {
    pub(in crate::cluster) node: &'a str,
    pub(in crate::cluster) advertise: &'a str,
    pub(in crate::cluster) version: u8,
    pub(in crate::cluster) features: u64,
    /// The last sequence used on each topic, by the namespace's token.
    #[serde(borrow)]
    pub(in crate::cluster) used: List<(&'a str, u64), MAX_REPORTED>,
    /// Members that the sender removed and hears all the same.
    pub(in crate::cluster) removed: List<(Tag, u64), MAX_REMOVED>,
    /// The sender's sockets: its load. Only where all members have [`FEATURE_LOAD`](super::FEATURE_LOAD).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cluster) sockets: Option<u64>,
}

/// What a node says last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cluster) struct Goodbye<'a> {
    /// As in a [`Heartbeat`].
    #[serde(borrow)]
    pub(in crate::cluster) used: List<(&'a str, u64), MAX_REPORTED>,
}

/// A list of at most `MAX` entries; a longer one is neither written nor read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::cluster) struct List<T, const MAX: usize>(SmallVec<[T; 4]>);

impl<T, const MAX: usize> List<T, MAX> {
    pub(in crate::cluster) fn new(entries: impl IntoIterator<Item = T>) -> Result<Self, TooLong> {
        let list: SmallVec<[T; 4]> = entries.into_iter().take(MAX + 1).collect();
        if list.len() > MAX { Err(TooLong) } else { Ok(Self(list)) }
    }
}

impl<T, const MAX: usize> std::ops::Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Serialize, const MAX: usize> Serialize for List<T, MAX> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bounded<T, const MAX: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Bounded<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX} entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = SmallVec::new();
                while let Some(entry) = seq.next_element()? {
                    if list.len() == MAX {
                        return Err(A::Error::invalid_length(MAX + 1, &self));
                    }
                    list.push(entry);
                }
                Ok(List(list))
            }
        }

        from.deserialize_seq(Bounded(PhantomData))
    }
}

impl<T: Serialize> Serialize for Part<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.namespace, &self.rooms, &self.except, &self.more).serialize(to)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Part<'de, T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (namespace, rooms, except, more) = Deserialize::deserialize(from)?;
        Ok(Self {
            namespace,
            rooms,
            except,
            more,
        })
    }
}

/// A node's tag: three bytes of MessagePack bin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) struct Tag(pub(in crate::cluster) NodeTag);

impl Serialize for Tag {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0.0)
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(from)?;
        let tag = bytes
            .try_into()
            .map_err(|_| D::Error::invalid_length(bytes.len(), &"three bytes"))?;
        Ok(Self(NodeTag(tag)))
    }
}
