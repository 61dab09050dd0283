//! Sixteen bytes before each message on the wire: who published it, and the how manieth it was.
//!
//! async-nats queues each subscription apart. With the stamp the receiving adapter restores the publisher's order across topics; the
//! layer above never sees it.

use bytes::{BufMut, Bytes, BytesMut};

use crate::backoff::random;

/// Bytes that the stamp adds to a message.
pub(super) const STAMP: usize = 16;

/// Stamps the messages of one publisher. Owned by the one task that writes.
#[derive(Debug)]
pub(super) struct Stamper {
    publisher: u64,
    sequence: u64,
}

/// A stamp that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Stamp {
    pub(super) publisher: u64,
    pub(super) sequence: u64,
}

impl Stamper {
    pub(super) fn new() -> Self {
        Self {
            publisher: random(),
            sequence: 0,
        }
    }

    /// `payload` behind the next stamp.
    pub(super) fn stamp(&mut self, payload: &[u8]) -> Bytes {
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
    pub(super) fn split(mut message: Bytes) -> Option<(Self, Bytes)> {
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
}
