//! What nodes ask each other.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Body, Envelope, Flags, Kind, Part, TooLong, WireError,
    command::{self, Lengths},
    envelope::unpack,
};
use crate::hub::{Query, Target};

/// A question, and how it is to be answered.
#[derive(Debug)]
pub(in crate::cluster) struct Request {
    /// The number under which replies come; 0 wants none.
    pub(in crate::cluster) id: u64,
    /// For how long replies are waited for.
    pub(in crate::cluster) patience: Duration,
    pub(in crate::cluster) query: Query,
}

#[derive(Debug, Serialize, Deserialize)]
struct More {
    id: u64,
    patience: u32,
    lengths: Lengths,
}

/// The body of a request. Its payload is in [`Request::pieces`]. `common` as in [`encode`](super::encode).
pub(in crate::cluster) fn seal_request(request: &Request, common: u64) -> Result<Body, TooLong> {
    let query = &request.query;
    let (kind, flags, payload) = match query {
        Query::Ask { payload, flags, .. } => (Kind::Ask, command::emit_flags(*flags, common), Some(payload)),
        Query::Sockets { .. } => (Kind::Sockets, Flags::default(), None),
        Query::Count { .. } => (Kind::Count, Flags::default(), None),
        Query::Rooms { .. } => (Kind::Rooms, Flags::default(), None),
        Query::Tell { payload, .. } => (Kind::Tell, Flags::default(), Some(payload)),
    };
    let more = More {
        id: request.id,
        patience: u32::try_from(request.patience.as_millis()).unwrap_or(u32::MAX),
        lengths: payload.map_or_else(|| Ok(Lengths::default()), command::attached)?,
    };
    Body::new(kind, flags, &command::part(query.target(), more)?)
}

impl Request {
    /// The payload, in pieces.
    pub(in crate::cluster) fn pieces(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let payload = match &self.query {
            Query::Ask { payload, .. } | Query::Tell { payload, .. } => Some(payload),
            Query::Sockets { .. } | Query::Count { .. } | Query::Rooms { .. } => None,
        };
        payload.into_iter().flat_map(command::pieces_of)
    }
}

/// Reads a request, with the payload sliced out of the envelope.
pub(in crate::cluster) fn open_request(envelope: &Envelope<'_>) -> Result<Request, WireError> {
    let part: Part<'_, More> = unpack(envelope.part).map_err(|_| WireError::Malformed("part"))?;
    let namespace: Arc<str> = part.namespace.into();
    let target = Target {
        namespace,
        rooms: command::rooms(&part.rooms),
        except: command::rooms(&part.except),
    };
    let More { id, patience, lengths } = part.more;
    let payload = || command::split(&envelope.payload(), &lengths);
    let query = match envelope.address.kind {
        Kind::Ask => Query::Ask {
            payload: payload()?,
            flags: command::read_flags(envelope.address.flags),
            target,
        },
        Kind::Sockets => Query::Sockets { target },
        Kind::Count => Query::Count { target },
        Kind::Rooms => Query::Rooms { target },
        Kind::Tell => Query::Tell {
            payload: payload()?,
            answer: id != 0,
            target,
        },
        kind => return Err(WireError::Kind(kind as u8)),
    };
    Ok(Request {
        id,
        patience: Duration::from_millis(patience.into()),
        query,
    })
}

/// Reads the number of a request to reply when everything is heard that is wanted now.
pub(in crate::cluster) fn open_settle(envelope: &Envelope<'_>) -> Result<u64, WireError> {
    let (id,) = unpack(envelope.part).map_err(|_| WireError::Malformed("part"))?;
    Ok(id)
}
