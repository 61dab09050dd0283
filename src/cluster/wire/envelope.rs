//! The envelope: the fixed header around a command's part and payload.

use bytes::Bytes;
use fanfare_adapters::Topic;
use serde::{Deserialize, Serialize, de::Error as _};

use super::{Flags, Kind, MAX_HEADER, TooLong, VERSION, WireError, part::Tag};
use crate::cluster::Origin;
use crate::cluster::keys::{Keys, MAC};

/// Bytes before the header: version and the header's length.
const PREFIX: usize = 5;

/// Nesting of MessagePack that is read: the header is 1 deep, a part 3.
pub(super) const MAX_DEPTH: usize = 6;

/// Who says it, and which one it is: the head of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cluster) struct Address<'a> {
    pub(in crate::cluster) cluster: &'a str,
    pub(in crate::cluster) origin: Origin,
    pub(in crate::cluster) namespace_sequence: u64,
    pub(in crate::cluster) topic_sequence: u64,
    pub(in crate::cluster) kind: Kind,
    pub(in crate::cluster) flags: Flags,
}

/// The header as it stands on the wire.
#[derive(Serialize, Deserialize)]
struct Header<'a> {
    cluster: &'a str,
    tag: Tag,
    epoch: u64,
    namespace_sequence: u64,
    topic_sequence: u64,
    kind: u8,
    flags: u8,
    #[serde(borrow, serialize_with = "bin")]
    part: &'a [u8],
    #[serde(borrow, serialize_with = "optional_bin")]
    mac: Option<&'a [u8]>,
}

fn bin<S: serde::Serializer>(bytes: &&[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_bytes(bytes)
}

fn optional_bin<S: serde::Serializer>(bytes: &Option<&[u8]>, to: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => to.serialize_bytes(bytes),
        None => to.serialize_none(),
    }
}

/// A received envelope of which the header was read, and nothing believed yet.
#[derive(Debug)]
pub(in crate::cluster) struct Envelope<'a> {
    /// Who says it.
    pub(in crate::cluster) address: Address<'a>,
    /// The command's own part, not decoded.
    pub(in crate::cluster) part: &'a [u8],
    message: &'a Bytes,
    signed: bool,
    /// Where the payload begins.
    payload: usize,
}

impl<'a> Envelope<'a> {
    /// Reads the header of a message.
    pub(in crate::cluster) fn open(message: &'a Bytes) -> Result<Self, WireError> {
        let (&[version, a, b, c, d], rest) = message.split_first_chunk::<PREFIX>().ok_or(WireError::Malformed("prefix"))?;
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d]))
            .ok()
            .filter(|length| *length <= MAX_HEADER);
        let bytes = length.and_then(|length| rest.get(..length)).ok_or(WireError::Malformed("length"))?;
        let header: Header<'a> = unpack(bytes).map_err(|_| WireError::Malformed("header"))?;
        let signed = header.mac.is_some();
        if header.mac.is_some_and(|mac| mac.len() != MAC || !bytes.ends_with(mac)) {
            return Err(WireError::Malformed("MAC"));
        }
        let address = Address {
            cluster: header.cluster,
            origin: Origin {
                tag: header.tag.0,
                epoch: header.epoch,
            },
            namespace_sequence: header.namespace_sequence,
            topic_sequence: header.topic_sequence,
            kind: header.kind.try_into()?,
            flags: header.flags.try_into()?,
        };
        Ok(Self {
            address,
            part: header.part,
            message,
            signed,
            payload: PREFIX + bytes.len(),
        })
    }

    /// Believes it, or not: with keys, a MAC of one of them is demanded.
    pub(in crate::cluster) fn verify(&self, topic: &Topic, keys: &Keys) -> Result<(), WireError> {
        if !keys.signs() {
            return Ok(());
        }
        let (head, payload) = self.message.split_at(self.payload);
        let (covered, mac) = self
            .signed
            .then(|| head.split_last_chunk::<MAC>())
            .flatten()
            .ok_or(WireError::Mac)?;
        if keys.verify(&[topic.as_str().as_bytes(), &[0], covered, payload], mac) {
            Ok(())
        } else {
            Err(WireError::Mac)
        }
    }

    /// The payload: a slice of the message.
    pub(in crate::cluster) fn payload(&self) -> Bytes {
        self.message.slice(self.payload..)
    }
}

/// Makes an envelope, signed if there are keys. One allocation, one copy of the payload.
pub(in crate::cluster) fn seal<'a>(
    topic: &Topic,
    address: &Address<'_>,
    part: &[u8],
    payload: impl Iterator<Item = &'a [u8]> + Clone,
    keys: &Keys,
) -> Result<Bytes, TooLong> {
    const FIXED: usize = 64;
    let unsigned = [0; MAC];
    let header = Header {
        cluster: address.cluster,
        tag: Tag(address.origin.tag),
        epoch: address.origin.epoch,
        namespace_sequence: address.namespace_sequence,
        topic_sequence: address.topic_sequence,
        kind: address.kind as u8,
        flags: address.flags.bits(),
        part,
        mac: keys.signs().then_some(&unsigned),
    };
    let payload_length = payload.clone().map(<[u8]>::len).sum::<usize>();
    let mut message = Vec::with_capacity(PREFIX + FIXED + MAC + address.cluster.len() + part.len() + payload_length);
    message.extend([VERSION, 0, 0, 0, 0]);
    rmp_serde::encode::write(&mut message, &header).map_err(|_| TooLong)?;
    let length = message.len() - PREFIX;
    let written = u32::try_from(length).ok().filter(|_| length <= MAX_HEADER).ok_or(TooLong)?;
    if let Some(place) = message.get_mut(1..PREFIX) {
        place.copy_from_slice(&written.to_be_bytes());
    }
    for piece in payload {
        message.extend_from_slice(piece);
    }
    sign(topic, &mut message, PREFIX + length, keys);
    Ok(message.into())
}

/// Writes the MAC into the last bytes before `payload`.
fn sign(topic: &Topic, message: &mut [u8], payload: usize, keys: &Keys) {
    let Some((head, payload)) = message.split_at_mut_checked(payload) else {
        return;
    };
    let Some((covered, place)) = head.split_last_chunk_mut::<MAC>() else {
        return;
    };
    if let Some(mac) = keys.sign(&[topic.as_str().as_bytes(), &[0], covered, payload]) {
        *place = mac;
    }
}

/// Reads one MessagePack value that fills `bytes`, bounded in depth.
pub(in crate::cluster) fn unpack<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, rmp_serde::decode::Error> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(MAX_DEPTH);
    T::deserialize(&mut deserializer).map_err(|error| rmp_serde::decode::Error::custom(error.to_string()))
}
