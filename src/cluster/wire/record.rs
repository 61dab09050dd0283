//! The record of a session, as it is kept.
//!
//! ```text
//! record = version (u8 = 1), MessagePack [namespace, id, generation, epoch, position, exact from, [[room, joined, left or nil]..],
//!          user or nil, data, [address or nil, milliseconds since 1970, [[key, JSON]..]]],
//!          then a MAC (16 bytes) over the key and all before it if the cluster has a secret
//! ```

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use fanfare_adapters::Topic;
use serde::Serialize;

use super::{TooLong, WireError, envelope::unpack};
use crate::cluster::keys::{Keys, MAC};
use crate::hub::{
    Room,
    recovery::{KeptHandshake, Offset, Record, Stay, Stays},
};

/// The version that this node writes and reads.
const VERSION: u8 = 1;

/// The longest record, in bytes: a socket in very many rooms cannot be recovered.
const MAX_RECORD: usize = 1 << 20;

type Written<'a> = (
    &'a str,
    &'a str,
    u64,
    u64,
    u64,
    u64,
    Vec<(&'a str, u64, Option<u64>)>,
    Option<&'a str>,
    &'a str,
    (Option<Cow<'a, str>>, u64, Vec<(&'a str, &'a str)>),
);

/// Writes a record under the key by which it is kept.
pub(in crate::cluster) fn seal_record(key: &Topic, record: &Record, keys: &Keys) -> Result<Bytes, TooLong> {
    let Record {
        namespace,
        id,
        generation,
        proven,
        stays,
        user,
        data,
        handshake,
    } = record;
    let KeptHandshake { address, issued, values } = &**handshake;
    let address = address.map(|address| Cow::from(address.to_string()));
    let exact_from = stays.exact_from();
    let stays = stays.list().map(|(room, stay)| (&**room, stay.joined, stay.left)).collect();
    let written: Written<'_> = (
        namespace,
        id,
        *generation,
        proven.epoch,
        proven.position,
        exact_from,
        stays,
        user.as_deref(),
        data,
        (address, *issued, values.iter().map(|(key, json)| (&**key, &**json)).collect()),
    );
    let mut bytes = vec![VERSION];
    written
        .serialize(&mut rmp_serde::Serializer::new(&mut bytes))
        .map_err(|_| TooLong)?;
    if bytes.len() > MAX_RECORD {
        return Err(TooLong);
    }
    if let Some(mac) = keys.sign(&[key.as_str().as_bytes(), &[0], &bytes]) {
        bytes.extend(mac);
    }
    Ok(bytes.into())
}

/// Reads a record that was kept under this key, and believes it if it is signed as it has to be.
pub(in crate::cluster) fn open_record(key: &Topic, bytes: &[u8], keys: &Keys) -> Result<Record, WireError> {
    let body = if keys.signs() {
        let (body, mac) = bytes.split_last_chunk::<MAC>().ok_or(WireError::Mac)?;
        if !keys.verify(&[key.as_str().as_bytes(), &[0], body], mac) {
            return Err(WireError::Mac);
        }
        body
    } else {
        bytes
    };
    let (&version, body) = body.split_first().ok_or(WireError::Malformed("record"))?;
    if version != VERSION {
        return Err(WireError::Version(version));
    }
    let written: Written<'_> = unpack(body).map_err(|_| WireError::Malformed("record"))?;
    let (namespace, id, generation, epoch, position, exact_from, stays, user, data, kept) = written;
    let (address, issued, values) = kept;
    let address = address.map(|address| address.parse()).transpose();
    let address = address.map_err(|_| WireError::Malformed("record"))?;
    let id: Room = id.into();
    let stays = stays
        .into_iter()
        .map(|(room, joined, left)| (Room::from(room), Stay { joined, left }));
    Ok(Record {
        namespace: namespace.into(),
        stays: Stays::from_list(Arc::clone(&id), exact_from, stays),
        id,
        generation,
        proven: Offset { epoch, position },
        user: user.map(Box::from),
        data: data.into(),
        handshake: Arc::new(KeptHandshake {
            address,
            issued,
            values: values.into_iter().map(|(key, json)| (key.into(), json.into())).collect(),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::keys::{Purpose, Secret};

    fn record() -> Record {
        Record {
            namespace: "/chat".into(),
            id: "AQIDabcdefghijklmnop".into(),
            generation: 3,
            proven: Offset {
                epoch: u64::MAX,
                position: 7,
            },
            stays: Stays::from_list(
                "AQIDabcdefghijklmnop".into(),
                1,
                [
                    ("lobby".into(), Stay { joined: 1, left: Some(2) }),
                    ("lobby".into(), Stay { joined: 4, left: None }),
                ],
            ),
            user: Some("ada".into()),
            data: r#"{"a":1}"#.into(),
            handshake: Arc::new(KeptHandshake {
                address: Some([10, 0, 0, 7].into()),
                issued: 1_795_801_760_000,
                values: [("query.a".into(), r#""b""#.into())].into(),
            }),
        }
    }

    fn keys(secrets: &[&str]) -> Keys {
        Keys::new(
            &secrets.iter().map(|secret| Secret::new(*secret)).collect::<Vec<_>>(),
            Purpose::Records,
        )
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let key = Topic::new("c.session.a").unwrap();
        for keys in [keys(&[]), keys(&["secret"])] {
            let bytes = seal_record(&key, &record(), &keys).unwrap();
            assert_eq!(open_record(&key, &bytes, &keys), Ok(record()));
        }
        // What the second secret has signed is believed while they are rotated.
        let bytes = seal_record(&key, &record(), &keys(&["old"])).unwrap();
        assert_eq!(open_record(&key, &bytes, &keys(&["new", "old"])), Ok(record()));
    }

    #[test]
    fn the_form_of_version_1_stays_readable() {
        let golden = "019aa52f63686174b4415149446162636465666768696a6b6c6d6e6f7003cfffffffffffffffff07019293a56c6f626279010293a56c6f62627904c0a3616461a77b2261223a317d93a831302e302e302e37cf000001a21e2041009192a771756572792e61a3226222";
        let key = Topic::new("c.session.a").unwrap();
        let bytes = seal_record(&key, &record(), &keys(&[])).unwrap();
        let written: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(written, golden);
        assert_eq!(open_record(&key, &bytes, &keys(&[])), Ok(record()));
    }

    #[test]
    fn what_is_not_signed_for_this_key_is_not_believed() {
        let (key, other) = (Topic::new("c.session.a").unwrap(), Topic::new("c.session.b").unwrap());
        let keys = keys(&["secret"]);
        let bytes = seal_record(&key, &record(), &keys).unwrap();
        assert_eq!(open_record(&other, &bytes, &keys), Err(WireError::Mac));
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            assert_eq!(open_record(&key, &changed, &keys), Err(WireError::Mac));
            assert_eq!(open_record(&key, &bytes[..at], &keys), Err(WireError::Mac));
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let (key, keys) = (Topic::new("c.session.a").unwrap(), keys(&[]));
        let bytes = seal_record(&key, &record(), &keys).unwrap();
        for length in 0..bytes.len() {
            assert!(open_record(&key, &bytes[..length], &keys).is_err());
        }
        assert_eq!(open_record(&key, &[2, 0], &keys), Err(WireError::Version(2)));
    }
}
