//! The wire against golden bytes, round trips, and whatever a peer could send.

mod requests;

use std::{fmt::Write as _, iter, sync::Arc};

use bytes::Bytes;
use fanfare_adapters::Topic;
use proptest::prelude::*;

use super::*;
use crate::{
    cluster::{
        Origin,
        keys::{Keys, Purpose, Secret},
    },
    engine::id::NodeTag,
    hub::{Command, EmitFlags, Room, Target},
    protocol::socketio::Payload,
};

const TAG: NodeTag = NodeTag([0xf0, 0x0d, 0x01]);
const ORIGIN: Origin = Origin {
    tag: TAG,
    epoch: 1_700_000_000_000,
};

fn address(kind: Kind, flags: Flags) -> Address<'static> {
    Address {
        cluster: "fanfare",
        origin: ORIGIN,
        namespace_sequence: 7,
        topic_sequence: 300,
        kind,
        flags,
    }
}

fn topic() -> Topic {
    Topic::new("fanfare.v1.ns._2f").unwrap()
}

fn secret() -> Keys {
    Keys::new(&[Secret::new("golden")], Purpose::Envelopes)
}

fn target(rooms: &[&str], except: &[&str]) -> Target {
    let names = |rooms: &[&str]| rooms.iter().map(|room| Room::from(*room)).collect();
    Target {
        namespace: "/".into(),
        rooms: names(rooms),
        except: names(except),
    }
}

fn seal_body<'a>(body: &Body, payload: impl Iterator<Item = &'a [u8]> + Clone, keys: &Keys) -> Bytes {
    seal(&topic(), &address(body.kind, body.flags), &body.part, payload, keys).unwrap()
}

fn seal_command(command: &Command, keys: &Keys) -> Bytes {
    seal_body(&encode(command, FEATURES).unwrap(), pieces(command), keys)
}

fn receive(message: &Bytes, keys: &Keys) -> Result<Command, WireError> {
    let envelope = Envelope::open(message)?;
    envelope.verify(&topic(), keys)?;
    decode(&envelope, &Arc::from("/"))?.command(&envelope)
}

fn emit(json: &'static str, attachments: &[&'static [u8]], flags: EmitFlags) -> Command {
    let attachments: Vec<Bytes> = attachments.iter().map(|bytes| Bytes::from_static(bytes)).collect();
    Command::Emit {
        target: target(&["a", "b"], &["c"]),
        payload: Payload::from_parts(json.into(), attachments).unwrap(),
        flags,
    }
}

/// Commands have no equality, since no application needs one; their wire form has.
fn same(a: &Command, b: &Command) -> bool {
    seal_command(a, &Keys::default()) == seal_command(b, &Keys::default()) && a.target() == b.target()
}

fn heartbeat(sockets: Option<u64>) -> Body {
    let heartbeat = Heartbeat {
        node: "one",
        advertise: "10.0.0.1:3001",
        version: 1,
        features: 0,
        used: List::new([("_2f", 300), ("_2fchat", 1)]).unwrap(),
        removed: List::new([(Tag(NodeTag([1, 2, 3])), 9)]).unwrap(),
        sockets,
    };
    Body::new(Kind::Heartbeat, Flags::default(), &heartbeat).unwrap()
}

fn goodbye() -> Body {
    let used = List::new([("_2f", 300)]).unwrap();
    Body::new(Kind::Goodbye, Flags::PARTIAL, &Goodbye { used }).unwrap()
}

fn commands() -> [Command; 5] {
    let rooms = vec![Room::from("x"), Room::from("y")];
    [
        emit(
            r#"["news",{"_placeholder":true,"num":0}]"#,
            &[b"\x01\x02\x03", b""],
            EmitFlags {
                volatile: true,
                compress: true,
            },
        ),
        Command::Join {
            target: target(&["a"], &[]),
            rooms: rooms.clone(),
        },
        Command::Leave {
            target: target(&[], &["c"]),
            rooms,
        },
        Command::Disconnect {
            target: target(&["a"], &[]),
            close: true,
        },
        Command::Disconnect {
            target: target(&[], &[]),
            close: false,
        },
    ]
}

fn uncompressed() -> Command {
    let flags = EmitFlags {
        volatile: false,
        compress: false,
    };
    emit(r#"["e"]"#, &[], flags)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Bytes {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).unwrap() as u8;
    text.as_bytes()
        .chunks(2)
        .map(|pair| digit(&pair[0]) << 4 | digit(&pair[1]))
        .collect()
}

#[test]
fn golden_bytes_of_version_1() {
    let (plain, signed) = (Keys::default(), secret());
    let body = |command: Command| (encode(&command, FEATURES).unwrap(), Some(command));
    let bodies = commands().into_iter().map(body);
    let bodies = bodies.chain([(heartbeat(None), None), (goodbye(), None), body(uncompressed())]);
    for ((body, command), (name, unsigned, mac)) in bodies.zip(golden::V1) {
        for (keys, golden) in [(&plain, unsigned), (&signed, mac)] {
            let written = match &command {
                Some(command) => seal_command(command, keys),
                None => seal_body(&body, iter::empty(), keys),
            };
            assert_eq!(hex(&written), golden, "{name}");
            let message = unhex(golden);
            let envelope = Envelope::open(&message).unwrap();
            envelope.verify(&topic(), keys).unwrap();
            assert_eq!(envelope.address, address(body.kind, body.flags), "{name}");
            assert_eq!(envelope.part, body.part, "{name}");
            if let Some(command) = &command {
                assert!(same(&receive(&message, keys).unwrap(), command), "{name}");
            }
        }
    }
}

#[test]
fn what_an_older_member_would_refuse_is_left_out() {
    let flags = |common| encode(&uncompressed(), common).unwrap().flags;
    assert_eq!((flags(FEATURES), flags(0)), (Flags::UNCOMPRESSED, Flags::default()));
}

#[test]
fn a_heartbeat_is_read_back() {
    let body = heartbeat(None);
    let read: Heartbeat<'_> = unpack(&body.part).unwrap();
    assert_eq!((read.node, read.advertise, read.version), ("one", "10.0.0.1:3001", 1));
    assert_eq!(&*read.used, [("_2f", 300), ("_2fchat", 1)]);
    assert_eq!(&*read.removed, [(Tag(NodeTag([1, 2, 3])), 9)]);
    assert_eq!(read.sockets, None);
    let told = heartbeat(Some(70_000)).part;
    assert_eq!(unpack::<Heartbeat<'_>>(&told).unwrap().sockets, Some(70_000));
    // What stands before it is as it was.
    assert_eq!(told[1..body.part.len()], body.part[1..]);
}

#[test]
fn a_payload_is_a_slice_of_the_message() {
    let Command::Emit { payload, .. } = emit(r#"["e"]"#, &[b"attached"], EmitFlags::default()) else {
        unreachable!()
    };
    let message = seal_command(&emit(r#"["e"]"#, &[b"attached"], EmitFlags::default()), &Keys::default());
    let Command::Emit { payload: read, .. } = receive(&message, &Keys::default()).unwrap() else {
        unreachable!()
    };
    assert_eq!(read, payload);
    let within = message.as_ptr_range();
    assert!(within.contains(&read.json_bytes().as_ptr()) && within.contains(&read.attachments()[0].as_ptr()));
}

#[test]
fn only_a_mac_of_an_accepted_secret_is_believed() {
    let command = emit(r#"["e"]"#, &[], EmitFlags::default());
    let (old, new) = (Secret::new("old"), Secret::new("new"));
    let by = |secrets: &[Secret]| seal_command(&command, &Keys::new(secrets, Purpose::Envelopes));
    let rotating = Keys::new(&[new.clone(), old.clone()], Purpose::Envelopes);
    assert!(receive(&by(std::slice::from_ref(&old)), &rotating).is_ok());
    assert!(receive(&by(std::slice::from_ref(&new)), &rotating).is_ok());
    assert_eq!(by(&[new.clone(), old.clone()]), by(std::slice::from_ref(&new)), "the first signs");
    let mac = |message: &Bytes, keys: &Keys| receive(message, keys).unwrap_err();
    assert_eq!(mac(&by(&[Secret::new("other")]), &rotating), WireError::Mac);
    assert_eq!(mac(&by(&[]), &rotating), WireError::Mac, "unsigned");
    assert!(
        receive(&by(&[old]), &Keys::default()).is_ok(),
        "without a secret everything is believed"
    );

    let message = by(std::slice::from_ref(&new));
    let elsewhere = Topic::new("fanfare.v1.ns._2fchat").unwrap();
    assert_eq!(
        Envelope::open(&message).unwrap().verify(&elsewhere, &rotating),
        Err(WireError::Mac),
        "on another topic"
    );
    for index in 0..message.len() {
        let mut changed = message.to_vec();
        changed[index] ^= 1;
        assert!(receive(&changed.into(), &rotating).is_err(), "byte {index}");
    }
}

#[test]
fn what_is_not_known_is_named() {
    let message = seal_command(&emit(r#"["e"]"#, &[], EmitFlags::default()), &Keys::default());
    let with = |kind: u8, flags: u8| {
        let mut bytes = message.to_vec();
        // Kind and flags stand after the array's head, the name, the tag, the epoch and the two sequences.
        let at = 5 + 1 + 8 + 5 + 9 + 1 + 3;
        bytes[at] = kind;
        bytes[at + 1] = flags;
        receive(&bytes.into(), &Keys::default()).map(drop)
    };
    assert_eq!(with(0, 0), Ok(()));
    assert_eq!(with(6, 0), Err(WireError::Kind(6)));
    assert_eq!(with(4, 0), Err(WireError::Kind(4)), "a heartbeat is not a command");
    assert_eq!(with(13, 0), Err(WireError::Kind(13)));
    assert_eq!(with(0, 32), Err(WireError::Flags(32)));
    let mut version = message.to_vec();
    version[0] = 2;
    assert_eq!(receive(&version.into(), &Keys::default()).unwrap_err(), WireError::Version(2));
    let namespace = |name: &str| decode(&Envelope::open(&message).unwrap(), &Arc::from(name)).map(drop);
    assert_eq!(namespace("/other"), Err(WireError::Malformed("namespace")));
}

#[test]
fn lists_and_headers_are_bounded_both_ways() {
    let with_rooms = |count: usize, length: usize| {
        let room = "r".repeat(length);
        let rooms: Vec<&str> = iter::repeat_n(room.as_str(), count).collect();
        let target = target(&rooms, &[]);
        encode(&Command::Disconnect { target, close: false }, FEATURES)
    };
    assert!(with_rooms(16 * 1024, 1).is_ok());
    assert_eq!(with_rooms(16 * 1024 + 1, 1).unwrap_err(), TooLong);
    let long = with_rooms(1, MAX_HEADER).unwrap();
    let address = address(long.kind, long.flags);
    assert_eq!(seal(&topic(), &address, &long.part, iter::empty(), &Keys::default()), Err(TooLong));

    let names: Vec<&str> = iter::repeat_n("", 16 * 1024 + 1).collect();
    let part = rmp_serde::to_vec(&("/", names, (), ())).unwrap();
    let message = seal(
        &topic(),
        &Address {
            kind: Kind::Disconnect,
            ..address
        },
        &part,
        iter::empty(),
        &Keys::default(),
    )
    .unwrap();
    assert_eq!(receive(&message, &Keys::default()).unwrap_err(), WireError::Malformed("part"));
    // A length of the header beyond the message, and beyond the bound.
    for length in [message.len() as u32, MAX_HEADER as u32 + 1, u32::MAX] {
        let mut message = message.to_vec();
        message[1..5].copy_from_slice(&length.to_be_bytes());
        assert_eq!(
            receive(&message.into(), &Keys::default()).unwrap_err(),
            WireError::Malformed("length")
        );
    }
}

#[test]
fn attachments_longer_than_the_payload_are_malformed() {
    for lengths in [vec![6_u32], vec![u32::MAX; 4096]] {
        let part = rmp_serde::to_vec(&("/", Vec::<&str>::new(), Vec::<&str>::new(), lengths)).unwrap();
        let payload: &[u8] = b"[1]12";
        let message = seal(
            &topic(),
            &address(Kind::Emit, Flags::default()),
            &part,
            iter::once(payload),
            &Keys::default(),
        )
        .unwrap();
        assert_eq!(receive(&message, &Keys::default()).unwrap_err(), WireError::Malformed("payload"));
    }
}

#[test]
fn deep_nesting_is_refused() {
    let mut part = vec![0x91; 200_000];
    part.push(0xc0);
    let message = seal(
        &topic(),
        &address(Kind::Emit, Flags::default()),
        &part,
        iter::empty(),
        &Keys::default(),
    )
    .unwrap();
    assert_eq!(receive(&message, &Keys::default()).unwrap_err(), WireError::Malformed("part"));
}

fn any_command() -> impl Strategy<Value = Command> {
    let rooms = || prop::collection::vec(".{0,12}".prop_map(Room::from), 0..5);
    let target = || {
        (rooms(), rooms()).prop_map(|(rooms, except)| Target {
            namespace: "/".into(),
            rooms,
            except,
        })
    };
    let attachments = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from), 0..4);
    prop_oneof![
        (target(), ".{0,60}", attachments, any::<(bool, bool)>()).prop_map(|(target, json, attachments, (volatile, compress))| {
            Command::Emit {
                target,
                payload: Payload::from_parts(json.into(), attachments).unwrap(),
                flags: EmitFlags { volatile, compress },
            }
        }),
        (target(), rooms()).prop_map(|(target, rooms)| Command::Join { target, rooms }),
        (target(), rooms()).prop_map(|(target, rooms)| Command::Leave { target, rooms }),
        (target(), any::<bool>()).prop_map(|(target, close)| Command::Disconnect { target, close }),
    ]
}

proptest! {
    #[test]
    fn what_was_sealed_is_received(command in any_command(), signed in any::<bool>()) {
        let keys = if signed { secret() } else { Keys::default() };
        prop_assert!(same(&receive(&seal_command(&command, &keys), &keys).unwrap(), &command));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), prefixed in any::<bool>()) {
        let mut message = bytes;
        if prefixed && message.len() > 5 {
            let length = (message.len() - 5) as u32;
            message[0] = VERSION;
            message[1..5].copy_from_slice(&length.to_be_bytes());
        }
        drop(receive(&message.clone().into(), &secret()));
        drop(unpack::<Heartbeat<'_>>(&message));
        drop(unpack::<Goodbye<'_>>(&message));
    }

    #[test]
    fn damaged_envelopes_never_panic(command in any_command(), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        let mut message = seal_command(&command, &Keys::default()).to_vec();
        for (at, byte) in damage {
            let at = at.index(message.len());
            message[at] = byte;
        }
        drop(receive(&Bytes::copy_from_slice(&message[..cut.index(message.len())]), &Keys::default()));
        drop(receive(&message.into(), &Keys::default()));
    }
}
