//! What nodes reply to each other.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

use super::{Body, Envelope, Flags, Kind, List, TooLong, WireError, envelope::unpack};
use crate::{
    hub::{Query, Reply},
    protocol::socketio::{Attachments, Payload},
};

/// The most items of one reply.
pub(in crate::cluster) const MAX_ITEMS: usize = 1024;

/// What kind of items a request is replied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) enum Wanted {
    Answers,
    Sockets,
    Count,
    Rooms,
    /// Not even one.
    Nothing,
}

impl From<&Query> for Wanted {
    fn from(query: &Query) -> Self {
        match query {
            Query::Ask { .. } | Query::Tell { .. } => Self::Answers,
            Query::Sockets { .. } => Self::Sockets,
            Query::Count { .. } => Self::Count,
            Query::Rooms { .. } => Self::Rooms,
        }
    }
}

/// One reply, as it stands in the payload: JSON, and the attachments of an answer.
#[derive(Debug, Clone)]
pub(in crate::cluster) struct Item(SmallVec<[Bytes; 1]>);

impl Item {
    /// Nothing if it has no JSON form.
    pub(in crate::cluster) fn new(reply: &Reply) -> Option<Self> {
        let json = match reply {
            Reply::Answer(payload) => {
                let json = payload.json_bytes().clone();
                return Some(Self([json].into_iter().chain(payload.attachments().iter().cloned()).collect()));
            }
            Reply::Socket(record) => serde_json::to_vec(record),
            Reply::Count(count) => serde_json::to_vec(count),
            Reply::Rooms(rooms) => serde_json::to_vec(rooms),
        };
        Some(Self(smallvec![json.ok()?.into()]))
    }

    /// What it was, if it is of the kind that is wanted.
    pub(in crate::cluster) fn reply(self, wanted: Wanted) -> Option<Reply> {
        let mut pieces = self.0.into_iter();
        let json = pieces.next()?;
        match wanted {
            Wanted::Answers => Payload::from_parts(json, pieces.collect::<Attachments>()).ok().map(Reply::Answer),
            Wanted::Sockets => serde_json::from_slice(&json).ok().map(Reply::Socket),
            Wanted::Count => serde_json::from_slice(&json).ok().map(Reply::Count),
            Wanted::Rooms => serde_json::from_slice(&json).ok().map(Reply::Rooms),
            Wanted::Nothing => None,
        }
    }

    /// Its bytes, without those that say where it ends.
    pub(in crate::cluster) fn size(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

/// A reply to a request, or a part of one.
#[derive(Debug, Default)]
pub(in crate::cluster) struct Sheet {
    /// The request's number.
    pub(in crate::cluster) id: u64,
    /// How many items there will be in all; once, and first.
    pub(in crate::cluster) expected: Option<u32>,
    /// How many of them will not come, because those who would have given them are gone.
    pub(in crate::cluster) forgone: u32,
    /// How many of them are missing.
    pub(in crate::cluster) missing: u32,
    /// The node is busy and does not reply.
    pub(in crate::cluster) busy: bool,
    pub(in crate::cluster) items: Vec<Item>,
}

type Items = List<List<u32, { super::part::MAX_ATTACHMENTS + 1 }>, MAX_ITEMS>;

#[derive(Serialize, Deserialize)]
struct Part {
    id: u64,
    expected: Option<u32>,
    forgone: u32,
    missing: u32,
    items: Items,
}

impl Sheet {
    pub(in crate::cluster) fn body(&self) -> Result<Body, TooLong> {
        let lengths = |item: &Item| List::new(item.0.iter().map(|piece| u32::try_from(piece.len()).unwrap_or(u32::MAX)));
        let items = self.items.iter().map(lengths).collect::<Result<Vec<_>, _>>()?;
        let part = Part {
            id: self.id,
            expected: self.expected,
            forgone: self.forgone,
            missing: self.missing,
            items: List::new(items)?,
        };
        Body::new(Kind::Reply, Flags::BUSY.when(self.busy), &part)
    }

    /// The payload, in pieces.
    pub(in crate::cluster) fn pieces(&self) -> impl Iterator<Item = &[u8]> + Clone {
        self.items.iter().flat_map(|item| &item.0).map(|piece| &**piece)
    }
}

/// Reads a reply, with its items sliced out of the envelope.
pub(in crate::cluster) fn open_reply(envelope: &Envelope<'_>) -> Result<Sheet, WireError> {
    if envelope.address.kind != Kind::Reply {
        return Err(WireError::Kind(envelope.address.kind as u8));
    }
    let part: Part = unpack(envelope.part).map_err(|_| WireError::Malformed("part"))?;
    let mut rest = envelope.payload();
    let mut piece = |length: &u32| {
        let length = usize::try_from(*length).ok().filter(|length| *length <= rest.len());
        Some(rest.split_to(length?))
    };
    let items = part
        .items
        .iter()
        .map(|lengths| lengths.iter().map(&mut piece).collect::<Option<_>>().map(Item));
    let items = items.collect::<Option<Vec<_>>>().filter(|_| rest.is_empty());
    let items = items.ok_or(WireError::Malformed("payload"))?;
    Ok(Sheet {
        id: part.id,
        expected: part.expected,
        forgone: part.forgone,
        missing: part.missing,
        busy: envelope.address.flags.has(Flags::BUSY),
        items,
    })
}
