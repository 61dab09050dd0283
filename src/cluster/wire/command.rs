//! Commands of the hub, to and from the parts and payloads of envelopes.

use std::{iter, sync::Arc};

use bytes::Bytes;
use serde::Serialize;

use super::{
    Envelope, FEATURE_COMPRESS, Flags, Kind, List, Part, TooLong, WireError,
    envelope::unpack,
    part::{MAX_ATTACHMENTS, Rooms},
};
use crate::{
    hub::{Command, EmitFlags, Room, Target},
    protocol::socketio::{Attachments, Payload},
};

pub(super) type Lengths = List<u32, MAX_ATTACHMENTS>;

/// What an envelope is to say, but for its address.
#[derive(Debug)]
pub(in crate::cluster) struct Body {
    pub(in crate::cluster) kind: Kind,
    pub(in crate::cluster) flags: Flags,
    pub(in crate::cluster) part: Vec<u8>,
}

impl Body {
    /// A body without payload, of anything that has a form on the wire.
    pub(in crate::cluster) fn new(kind: Kind, flags: Flags, part: &impl Serialize) -> Result<Self, TooLong> {
        let part = rmp_serde::to_vec(part).map_err(|_| TooLong)?;
        Ok(Self { kind, flags, part })
    }
}

/// The body of a command. Its payload is that of [`pieces`].
///
/// `common` are the features of all living members: what another of them would refuse is left out where it is a mere wish.
pub(in crate::cluster) fn encode(command: &Command, common: u64) -> Result<Body, TooLong> {
    match command {
        Command::Emit { target, payload, flags } => Body::new(Kind::Emit, emit_flags(*flags, common), &part(target, attached(payload)?)?),
        Command::Join { target, rooms } => Body::new(Kind::Join, Flags::default(), &part(target, names(rooms)?)?),
        Command::Leave { target, rooms } => Body::new(Kind::Leave, Flags::default(), &part(target, names(rooms)?)?),
        Command::Disconnect { target, close } => Body::new(Kind::Disconnect, Flags::CLOSE.when(*close), &part(target, ())?),
    }
}

/// The payload of a command, in pieces.
pub(in crate::cluster) fn pieces(command: &Command) -> impl Iterator<Item = &[u8]> + Clone {
    let payload = match command {
        Command::Emit { payload, .. } => Some(payload),
        Command::Join { .. } | Command::Leave { .. } | Command::Disconnect { .. } => None,
    };
    payload.into_iter().flat_map(pieces_of)
}

/// The JSON of a payload, and its attachments.
pub(super) fn pieces_of(payload: &Payload) -> impl Iterator<Item = &[u8]> + Clone {
    iter::once(&**payload.json_bytes()).chain(payload.attachments().iter().map(|bytes| &**bytes))
}

/// The lengths of a payload's attachments.
pub(super) fn attached(payload: &Payload) -> Result<Lengths, TooLong> {
    let lengths = payload.attachments().iter().map(|bytes| u32::try_from(bytes.len()));
    Lengths::new(lengths.collect::<Result<Vec<_>, _>>().map_err(|_| TooLong)?)
}

pub(super) fn emit_flags(flags: EmitFlags, common: u64) -> Flags {
    let uncompressed = !flags.compress && common & FEATURE_COMPRESS != 0;
    Flags::VOLATILE.when(flags.volatile).and(Flags::UNCOMPRESSED.when(uncompressed))
}

pub(super) fn read_flags(flags: Flags) -> EmitFlags {
    EmitFlags {
        volatile: flags.has(Flags::VOLATILE),
        compress: !flags.has(Flags::UNCOMPRESSED),
    }
}

pub(super) fn part<T>(target: &Target, more: T) -> Result<Part<'_, T>, TooLong> {
    let Target { namespace, rooms, except } = target;
    let (rooms, except) = (names(rooms)?, names(except)?);
    Ok(Part {
        namespace,
        rooms,
        except,
        more,
    })
}

fn names(rooms: &[Room]) -> Result<Rooms<'_>, TooLong> {
    List::new(rooms.iter().map(|room| &**room))
}

/// A received command whose payload was not touched yet.
#[derive(Debug)]
pub(in crate::cluster) struct Received {
    target: Target,
    more: More,
}

#[derive(Debug)]
enum More {
    Emit { lengths: Lengths, flags: EmitFlags },
    Join(Vec<Room>),
    Leave(Vec<Room>),
    Disconnect { close: bool },
}

/// Reads what a command that came on the topic of `namespace` is about.
pub(in crate::cluster) fn decode(envelope: &Envelope<'_>, namespace: &Arc<str>) -> Result<Received, WireError> {
    let flags = envelope.address.flags;
    let (target, more) = match envelope.address.kind {
        Kind::Emit => {
            let (target, lengths) = read::<Lengths>(envelope, namespace)?;
            let flags = read_flags(flags);
            (target, More::Emit { lengths, flags })
        }
        Kind::Join => read::<Rooms<'_>>(envelope, namespace).map(|(target, joined)| (target, More::Join(rooms(&joined))))?,
        Kind::Leave => read::<Rooms<'_>>(envelope, namespace).map(|(target, left)| (target, More::Leave(rooms(&left))))?,
        Kind::Disconnect => {
            let (target, ()) = read(envelope, namespace)?;
            let close = flags.has(Flags::CLOSE);
            (target, More::Disconnect { close })
        }
        kind => return Err(WireError::Kind(kind as u8)),
    };
    Ok(Received { target, more })
}

fn read<'a, T: serde::Deserialize<'a>>(envelope: &Envelope<'a>, namespace: &Arc<str>) -> Result<(Target, T), WireError> {
    let part: Part<'a, T> = unpack(envelope.part).map_err(|_| WireError::Malformed("part"))?;
    if *part.namespace != **namespace {
        return Err(WireError::Malformed("namespace"));
    }
    let target = Target {
        namespace: namespace.clone(),
        rooms: rooms(&part.rooms),
        except: rooms(&part.except),
    };
    Ok((target, part.more))
}

pub(super) fn rooms(names: &Rooms<'_>) -> Vec<Room> {
    names.iter().map(|name| Room::from(*name)).collect()
}

impl Received {
    /// Who is meant.
    pub(in crate::cluster) fn target(&self) -> &Target {
        &self.target
    }

    /// The command, with the payload sliced out of the envelope.
    pub(in crate::cluster) fn command(self, envelope: &Envelope<'_>) -> Result<Command, WireError> {
        let target = self.target;
        Ok(match self.more {
            More::Emit { lengths, flags } => {
                let payload = split(&envelope.payload(), &lengths)?;
                Command::Emit { target, payload, flags }
            }
            More::Join(rooms) => Command::Join { target, rooms },
            More::Leave(rooms) => Command::Leave { target, rooms },
            More::Disconnect { close } => Command::Disconnect { target, close },
        })
    }
}

/// Splits a payload into the JSON and the attachments of these lengths behind it.
pub(super) fn split(payload: &Bytes, lengths: &[u32]) -> Result<Payload, WireError> {
    let attached: u64 = lengths.iter().map(|length| u64::from(*length)).sum();
    let json = usize::try_from(attached)
        .ok()
        .and_then(|attached| payload.len().checked_sub(attached));
    let json = json.ok_or(WireError::Malformed("payload"))?;
    let mut rest = payload.slice(json..);
    // Each length fits, since their sum does.
    let attachments: Attachments = lengths.iter().map(|length| rest.split_to(*length as usize)).collect();
    Payload::from_parts(payload.slice(..json), attachments).map_err(|_| WireError::Malformed("payload"))
}
