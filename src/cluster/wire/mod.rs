//! The native wire, version 1: what nodes of fanfare say to each other.
//!
//! ```text
//! envelope = version (u8 = 1), length of the header (u32, big endian), header, payload
//! header   = MessagePack [cluster name, origin tag (bin 3), epoch, namespace sequence, topic sequence, kind, flags,
//!                         part (bin), MAC (bin 16) or nil]
//! part     = MessagePack, by kind:
//!   emit        [namespace, rooms, except, lengths of the attachments]
//!   join, leave [namespace, rooms, except, rooms to join or leave]
//!   disconnect  [namespace, rooms, except, nil]
//!   heartbeat   [node, advertised address, newest wire version, features, [[token, last topic sequence]..], [[tag, epoch]..]]
//!   goodbye     [[[token, last topic sequence]..]]
//!   ask, tell   [namespace, rooms, except, [request, milliseconds, lengths of the attachments]]
//!   sockets, count, rooms
//!               [namespace, rooms, except, [request, milliseconds, []]]
//!   settle      [request]
//!   reply       [request, replies to come or nil, of them forgone, of them missing, [[length..]..]]
//! payload  = of an emit, an ask or a tell: the JSON, then the attachments, back to back; of a reply: its items one after the other, each
//!            the JSON and its attachments, with their lengths in the part; otherwise empty
//! ```
//!
//! An epoch is the time of a node's start, in milliseconds since 1970, times 65 536, and one more each time that it came back after others had
//! held it for gone. Sequences count from 1 since the start, in all its epochs.
//!
//! A request is answered to the topic of the node that asks, within so many milliseconds; request 0 wants no reply. The first reply
//! says how many items there will be in all, unless the node is busy.
//!
//! The payload is sliced out of the message, never copied. The MAC stands last in the header and covers the topic and every other
//! byte of the envelope. Whatever a peer sends is bounded before it is read, and an error names who would have to change.

mod command;
mod envelope;
mod part;
mod record;
mod reply;
mod request;

pub(super) use command::{Body, decode, encode, pieces};
pub(super) use envelope::{Address, Envelope, seal, unpack};
use part::Part;
pub(super) use part::{Goodbye, Heartbeat, List, MAX_REMOVED, MAX_REPORTED, Tag};
pub(super) use record::{open_record, seal_record};
pub(super) use reply::{Item, Sheet, Wanted, open_reply};
pub(super) use request::{Request, open_request, open_settle, seal_request};

/// The version that this node writes, and the newest that it reads.
pub(super) const VERSION: u8 = 1;

/// The features that this node has, a bit each. One is used when all living members have it, or old ones would refuse what it says.
pub(super) const FEATURES: u64 = FEATURE_COMPRESS | FEATURE_REQUESTS | FEATURE_PARTS | FEATURE_LOAD;

/// Reads [`Flags::UNCOMPRESSED`].
pub(super) const FEATURE_COMPRESS: u64 = 1;

/// Answers requests.
pub(super) const FEATURE_REQUESTS: u64 = 1 << 1;

/// Hears the topics of the rooms that it has sockets in, and replies when it does.
pub(super) const FEATURE_PARTS: u64 = 1 << 2;

/// Reads [`Heartbeat::sockets`].
pub(super) const FEATURE_LOAD: u64 = 1 << 3;

/// The longest header, in bytes.
pub(super) const MAX_HEADER: usize = 256 * 1024;

/// What an envelope says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Emit = 0,
    Join = 1,
    Leave = 2,
    Disconnect = 3,
    Heartbeat = 4,
    Goodbye = 5,
    Ask = 6,
    Sockets = 7,
    Count = 8,
    Rooms = 9,
    Tell = 10,
    Reply = 11,
    Settle = 12,
}

impl TryFrom<u8> for Kind {
    type Error = WireError;

    fn try_from(kind: u8) -> Result<Self, WireError> {
        Ok(match kind {
            0 => Self::Emit,
            1 => Self::Join,
            2 => Self::Leave,
            3 => Self::Disconnect,
            4 => Self::Heartbeat,
            5 => Self::Goodbye,
            6 => Self::Ask,
            7 => Self::Sockets,
            8 => Self::Count,
            9 => Self::Rooms,
            10 => Self::Tell,
            11 => Self::Reply,
            12 => Self::Settle,
            _ => return Err(WireError::Kind(kind)),
        })
    }
}

/// What qualifies an envelope; a bit that is not named here is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags(u8);

impl Flags {
    /// Of an emit or an ask: a socket that cannot be written to now goes without it.
    pub(super) const VOLATILE: Self = Self(1);
    /// Of a disconnect: the whole connection is closed.
    pub(super) const CLOSE: Self = Self(1 << 1);
    /// Of a heartbeat or goodbye: it does not list all topics that were used.
    pub(super) const PARTIAL: Self = Self(1 << 2);
    /// Of an emit or an ask: it is not to be compressed. Only for members with [`FEATURE_COMPRESS`].
    pub(super) const UNCOMPRESSED: Self = Self(1 << 3);

    /// Of a reply: the node takes no more requests, and this one not.
    pub(super) const BUSY: Self = Self(1 << 4);

    /// These flags if `set`.
    pub(super) fn when(self, set: bool) -> Self {
        if set { self } else { Self::default() }
    }

    /// Both these flags and others.
    fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(super) fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    fn bits(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Flags {
    type Error = WireError;

    fn try_from(bits: u8) -> Result<Self, WireError> {
        let known = Self::VOLATILE.0 | Self::CLOSE.0 | Self::PARTIAL.0 | Self::UNCOMPRESSED.0 | Self::BUSY.0;
        if bits & !known == 0 {
            Ok(Self(bits))
        } else {
            Err(WireError::Flags(bits))
        }
    }
}

/// Why an envelope was not understood or not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("wire version {0} is not known")]
    Version(u8),
    #[error("it is of another cluster")]
    Cluster,
    #[error("kind {0} is not known")]
    Kind(u8),
    #[error("flags {0:#b} are not known")]
    Flags(u8),
    #[error("it carries no MAC, or is not signed with a secret of this cluster")]
    Mac,
    #[error("its {0} is malformed")]
    Malformed(&'static str),
}

/// An envelope that cannot be made: its header would be longer than [`MAX_HEADER`], or a list in it too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many or too long rooms for one envelope")]
pub(super) struct TooLong;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
