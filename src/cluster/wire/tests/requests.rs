//! Requests and replies.

use std::time::Duration;

use super::*;
use crate::{
    cluster::wire::golden::{REQUESTS_V1, SETTLE_V1},
    hub::{HandshakeObject, Query, Reply, SocketRecord},
};

fn payload(json: &'static str, attachments: &[&'static [u8]]) -> Payload {
    let attachments: Vec<Bytes> = attachments.iter().map(|bytes| Bytes::from_static(bytes)).collect();
    Payload::from_parts(json.into(), attachments).unwrap()
}

fn request(query: Query) -> Request {
    Request {
        id: 300,
        patience: Duration::from_millis(5000),
        query,
    }
}

fn requests() -> [Request; 6] {
    let everybody = || target(&[], &[]);
    let told = |answer| Query::Tell {
        target: everybody(),
        payload: payload(r#"["t"]"#, &[]),
        answer,
    };
    [
        request(Query::Ask {
            target: target(&["a"], &["c"]),
            payload: payload(r#"["e",{"_placeholder":true,"num":0}]"#, &[b"\x01\x02"]),
            flags: EmitFlags {
                volatile: true,
                compress: false,
            },
        }),
        request(Query::Sockets {
            target: target(&["a"], &[]),
        }),
        request(Query::Count { target: everybody() }),
        request(Query::Rooms { target: everybody() }),
        request(told(true)),
        Request {
            id: 0,
            ..request(told(false))
        },
    ]
}

fn record() -> SocketRecord {
    SocketRecord {
        id: "id".into(),
        handshake: HandshakeObject {
            headers: [("host".into(), "localhost".into())].into(),
            time: "Fri Nov 27 2026 17:49:20 GMT+0000 (Coordinated Universal Time)".into(),
            address: "192.0.2.1".into(),
            xdomain: false,
            secure: true,
            issued: 1_795_801_760_000,
            url: "/socket.io/?EIO=4".into(),
            query: [("EIO".into(), "4".into())].into(),
            auth: serde_json::json!({}),
        },
        rooms: vec!["id".into(), "a".into()],
        data: serde_json::json!({"_placeholder": true, "num": 0}),
    }
}

fn sheets() -> [Sheet; 3] {
    let answers = [
        Reply::Answer(payload(r#"[{"_placeholder":true,"num":0}]"#, &[b"\x01"])),
        Reply::Answer(payload("[2]", &[])),
    ];
    [
        Sheet {
            id: 300,
            expected: Some(4),
            forgone: 1,
            missing: 1,
            busy: false,
            items: answers.iter().filter_map(Item::new).collect(),
        },
        Sheet {
            id: 300,
            items: vec![Item::new(&Reply::Rooms(vec![("a".into(), 2)])).unwrap()],
            ..Sheet::default()
        },
        Sheet {
            id: 300,
            busy: true,
            ..Sheet::default()
        },
    ]
}

fn seal_asked(request: &Request) -> Bytes {
    seal_body(&seal_request(request, FEATURES).unwrap(), request.pieces(), &Keys::default())
}

fn seal_sheet(sheet: &Sheet) -> Bytes {
    seal_body(&sheet.body().unwrap(), sheet.pieces(), &Keys::default())
}

fn asked(message: &Bytes) -> Result<Request, WireError> {
    open_request(&Envelope::open(message)?)
}

fn replied(message: &Bytes) -> Result<Sheet, WireError> {
    open_reply(&Envelope::open(message)?)
}

#[test]
fn golden_bytes_of_requests() {
    let written = requests()
        .iter()
        .map(seal_asked)
        .chain(sheets().iter().map(seal_sheet))
        .collect::<Vec<_>>();
    for (bytes, (name, golden)) in written.iter().zip(REQUESTS_V1) {
        assert_eq!(hex(bytes), golden, "{name}");
    }
    for ((_, golden), request) in REQUESTS_V1.iter().zip(requests()) {
        let read = asked(&unhex(golden)).unwrap();
        assert_eq!((read.id, read.patience), (request.id, request.patience));
        assert_eq!(format!("{:?}", read.query), format!("{:?}", request.query));
    }
    for ((name, golden), sheet) in REQUESTS_V1.iter().skip(6).zip(sheets()) {
        let read = replied(&unhex(golden)).unwrap();
        assert_eq!(format!("{read:?}"), format!("{sheet:?}"), "{name}");
    }
}

#[test]
fn golden_bytes_of_a_question_for_confirmation() {
    let (name, golden) = SETTLE_V1;
    let body = Body::new(Kind::Settle, Flags::default(), &(300_u64,)).unwrap();
    assert_eq!(hex(&seal_body(&body, iter::empty(), &Keys::default())), golden, "{name}");
    let message = unhex(golden);
    assert_eq!(open_settle(&Envelope::open(&message).unwrap()), Ok(300));
}

#[test]
fn a_reply_is_what_was_wanted_or_nothing() {
    for (reply, wanted) in [
        (Reply::Answer(payload("[1]", &[])), Wanted::Answers),
        (Reply::Socket(record()), Wanted::Sockets),
        (Reply::Count(7), Wanted::Count),
        (Reply::Rooms(vec![("a".into(), 2), ("\u{1f4a9}".into(), 1)]), Wanted::Rooms),
    ] {
        let sheet = Sheet {
            items: vec![Item::new(&reply).unwrap()],
            ..Sheet::default()
        };
        let [item] = &*replied(&seal_sheet(&sheet)).unwrap().items else {
            panic!("one item")
        };
        assert_eq!(format!("{:?}", item.clone().reply(wanted).unwrap()), format!("{reply:?}"));
        for other in [Wanted::Sockets, Wanted::Count, Wanted::Rooms]
            .into_iter()
            .filter(|other| *other != wanted)
        {
            assert!(item.clone().reply(other).is_none(), "{reply:?} is no {other:?}");
        }
    }
    assert!(asked(&seal_sheet(&sheets()[0])).is_err() && replied(&seal_asked(&requests()[0])).is_err());
}

#[test]
fn items_that_are_longer_or_shorter_than_the_payload_are_malformed() {
    let with = |lengths: &[u32], payload: &'static [u8]| {
        let part = rmp_serde::to_vec(&(1, (), 0, 0, vec![lengths])).unwrap();
        let address = address(Kind::Reply, Flags::default());
        let message = seal(&topic(), &address, &part, iter::once(payload), &Keys::default()).unwrap();
        replied(&message).map(|sheet| sheet.items.len())
    };
    assert_eq!(with(&[2, 1], b"[]1"), Ok(1));
    for (lengths, payload) in [(&[2, 2][..], &b"[]1"[..]), (&[2], b"[]1"), (&[u32::MAX, u32::MAX], b"")] {
        assert_eq!(with(lengths, payload), Err(WireError::Malformed("payload")), "{lengths:?}");
    }
    // One without JSON is no reply.
    let none = || Item::new(&Reply::Count(1)).unwrap();
    assert!(none().reply(Wanted::Count).is_some());
}

proptest! {
    #[test]
    fn damaged_requests_and_replies_never_panic(
        which in 0..9_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut message = requests().iter().map(seal_asked).chain(sheets().iter().map(seal_sheet)).nth(which).unwrap().to_vec();
        for (at, byte) in damage {
            let at = at.index(message.len());
            message[at] = byte;
        }
        for message in [Bytes::copy_from_slice(&message[..cut.index(message.len())]), message.into()] {
            drop(asked(&message));
            for item in replied(&message).into_iter().flat_map(|sheet| sheet.items) {
                for wanted in [Wanted::Answers, Wanted::Sockets, Wanted::Count, Wanted::Rooms] {
                    drop(item.clone().reply(wanted));
                }
            }
        }
    }
}
