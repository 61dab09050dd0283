//! Sixteen bytes before each message on the wire: who published it, and the how manieth it was.
//!
//! Redis sends one copy of a message for each pattern that matches, and async-nats queues each subscription apart. With the stamp the
//! receiving adapter drops the copies and restores the publisher's order across topics; the layer above never sees it.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hasher, RandomState},
};

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes that the stamp adds to a message.
pub(crate) const STAMP: usize = 16;

/// Publishers whose last sequence is remembered. At the bound all are forgotten: a copy that arrives just then is delivered twice.
const PUBLISHERS: usize = 4096;

/// Stamps the messages of one publisher. Owned by the one task that writes.
#[derive(Debug)]
pub(crate) struct Stamper {
    publisher: u64,
    sequence: u64,
}

/// A stamp that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    pub(crate) publisher: u64,
    pub(crate) sequence: u64,
}

/// Tells copies from news.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    last: HashMap<u64, u64>,
}

impl Stamper {
    pub(crate) fn new() -> Self {
        Self {
            publisher: random(),
            sequence: 0,
        }
    }

    /// `payload` behind the next stamp.
    pub(crate) fn stamp(&mut self, payload: &[u8]) -> Bytes {
        self.sequence += 1;
        let mut stamped = BytesMut::with_capacity(STAMP + payload.len());
        stamped.put_u64(self.publisher);
        stamped.put_u64(self.sequence);
        stamped.put_slice(payload);
        stamped.freeze()
    }
}

impl Stamp {
    /// Splits a message into its stamp and its payload; `None` when it is too short to have a stamp, or the stamp cannot be one.
    pub(crate) fn split(mut message: Bytes) -> Option<(Self, Bytes)> {
        let (publisher, rest) = message.split_first_chunk()?;
        let (sequence, _) = rest.split_first_chunk()?;
        let stamp = Self {
            publisher: u64::from_be_bytes(*publisher),
            sequence: u64::from_be_bytes(*sequence),
        };
        // Sequences start at one.
        (stamp.sequence > 0).then(|| (stamp, message.split_off(STAMP)))
    }
}

impl Seen {
    /// Whether this is the first time that the message comes. Expects each publisher's messages in order.
    pub(crate) fn is_new(&mut self, stamp: Stamp) -> bool {
        if let Some(last) = self.last.get_mut(&stamp.publisher) {
            let new = stamp.sequence > *last;
            *last = stamp.sequence.max(*last);
            return new;
        }
        if self.last.len() >= PUBLISHERS {
            self.last.clear();
        }
        self.last.insert(stamp.publisher, stamp.sequence);
        true
    }
}

/// Random bits from the standard library's hash keys: good enough to tell publishers apart, not for secrets.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_and_a_short_message_has_none() {
        let mut stamper = Stamper::new();
        let (first, payload) = Stamp::split(stamper.stamp(b"hello")).unwrap();
        let (second, _) = Stamp::split(stamper.stamp(b"")).unwrap();
        assert_eq!((first.sequence, second.sequence, &payload[..]), (1, 2, &b"hello"[..]));
        assert_eq!(first.publisher, second.publisher);
        assert!(Stamp::split(Bytes::from_static(b"fifteen bytes..")).is_none());
        assert!(Stamp::split(Bytes::from_static(&[0; 16])).is_none());
    }

    #[test]
    fn copies_are_told_from_news() {
        let mut seen = Seen::default();
        let stamp = |publisher, sequence| Stamp { publisher, sequence };
        assert!(seen.is_new(stamp(1, 5)));
        assert!(!seen.is_new(stamp(1, 5)));
        assert!(seen.is_new(stamp(2, 1)));
        assert!(seen.is_new(stamp(1, 6)));
        for publisher in 0..100_000 {
            seen.is_new(stamp(publisher, 1));
        }
        assert!(seen.last.len() <= PUBLISHERS);
    }
}
