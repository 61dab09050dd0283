//! The msgpack parser against what the reference's sends, and against whatever a peer may send.

use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};

use super::{golden::VALUES, *};
use crate::protocol::socketio::{Payload, json};

const LIMITS: Limits = Limits {
    max_attachments: 10,
    max_depth: 64,
    max_bytes: 1_000_000,
};

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
    pairs.collect()
}

/// The event `e` with one argument, given in msgpack.
pub(super) fn event(argument: &[u8]) -> Vec<u8> {
    [&bytes("83 a474797065 02 a464617461 92 a165"), argument, &bytes("a36e7370 a12f")].concat()
}

fn take(message: impl Into<Bytes>) -> Result<Assembled<'static>, DecodeError> {
    take_within(message, &LIMITS)
}

fn take_within(message: impl Into<Bytes>, limits: &Limits) -> Result<Assembled<'static>, DecodeError> {
    match MsgpackParser.decode(Message::Binary(message.into()), limits)? {
        Decoded::Packet(assembled) => Ok(assembled),
        Decoded::Pending(pending) => panic!("a packet is one message: {pending:?}"),
    }
}

pub(super) fn payload(message: impl Into<Bytes>) -> Payload {
    take(message).unwrap().into_payload()
}

fn give(packet: &Packet<'_>, attachments: &[Bytes]) -> Vec<u8> {
    match MsgpackParser.encode(packet, attachments) {
        Ok(Encoded::Binary(message)) => message,
        other => panic!("{other:?}"),
    }
}

pub(super) fn give_event(payload: &Payload) -> Vec<u8> {
    let packet = Packet {
        attachments: payload.attachments().len(),
        ..Packet::new(Kind::Event, "/", Some(payload.json()))
    };
    give(&packet, payload.attachments())
}

#[test]
fn packets_are_those_of_the_reference() {
    // What a server of socket.io 4.8.4 with socket.io-msgpack-parser 3.0.2 sends.
    let with_id = |kind, id, data| Packet {
        id: Some(id),
        ..Packet::new(kind, "/", Some(data))
    };
    for (packet, hex) in [
        (
            Packet::new(Kind::Connect, "/", Some(r#"{"sid":"KHK9hlKN_l-nNzpeAAAA"}"#)),
            "83a47479706500a46461746182a3736964b44b484b39686c4b4e5f6c2d6e4e7a706541414141a3706964d40000a36e7370a12f",
        ),
        (
            Packet::new(Kind::ConnectError, "/mw", Some(r#"{"message":"no","data":{"retry":false}}"#)),
            "83a47479706504a46461746182a76d657373616765a26e6fa46461746181a57265747279c2a36e7370a32f6d77",
        ),
        (
            with_id(Kind::Ack, 7, r#"[5,"y"]"#),
            "84a2696407a47479706503a4646174619205a179a36e7370a12f",
        ),
        (
            Packet::new(Kind::Event, "/", Some(r#"["ev",1]"#)),
            "83a47479706502a46461746192a2657601a36e7370a12f",
        ),
        (
            with_id(Kind::Event, 0, r#"["q",1]"#),
            "84a47479706502a46461746192a17101a2696400a36e7370a12f",
        ),
        (Packet::new(Kind::Disconnect, "/", None), "82a47479706501a36e7370a12f"),
    ] {
        assert_eq!(give(&packet, &[]), bytes(hex), "{packet:?}");
        let assembled = take(bytes(hex)).unwrap();
        assert_eq!(assembled.packet, packet);
        assert!(assembled.attachments.is_empty());
    }
    // With recovery the pid is there.
    let recoverable = Packet::new(Kind::Connect, "/", Some(r#"{"sid":"S","pid":"P"}"#));
    assert_eq!(
        give(&recoverable, &[]),
        bytes("83a47479706500a46461746182a3736964a153a3706964a150a36e7370a12f")
    );
    // The order of the members is free: a broadcast that asks for acks, an unknown namespace.
    assert_eq!(
        take(bytes("84a47479706502a46461746192a4616c6c7101a36e7370a12fa2696401"))
            .unwrap()
            .packet,
        with_id(Kind::Event, 1, r#"["allq",1]"#)
    );
    assert_eq!(
        take(bytes(
            "83a47479706504a36e7370a52f6e6f7065a46461746181a76d657373616765b1496e76616c6964206e616d657370616365"
        ))
        .unwrap()
        .packet,
        Packet::new(Kind::ConnectError, "/nope", Some(r#"{"message":"Invalid namespace"}"#))
    );
}

#[test]
fn values_of_the_reference_are_read_and_forwarded_byte_by_byte() {
    for (source, hex, json, attachments) in VALUES {
        let message = event(&bytes(hex));
        let payload = payload(message.clone());
        assert_eq!(payload.json(), format!("[\"e\",{json}]"), "{source}");
        let expected: Vec<_> = attachments.iter().map(|hex| Bytes::from(bytes(hex))).collect();
        assert_eq!(payload.attachments(), expected, "{source}");
        assert_eq!(give_event(&payload), message, "{source}");
    }
}

#[test]
fn lengths_are_written_in_the_shortest_form() {
    let element = |head: &str, element: &[u8], count: usize| [bytes(head), element.repeat(count)].concat();
    let members = |head: &str, count: usize| {
        let members = (0..count).flat_map(|key| [vec![0xa5], format!("{key:05}").into_bytes(), vec![0]].concat());
        bytes(head).into_iter().chain(members).collect::<Vec<_>>()
    };
    for value in [
        element("d9ff", b"a", 255),
        element("da0100", b"a", 256),
        element("daffff", b"a", 65_535),
        element("db00010000", b"a", 65_536),
        element("c4ff", b"a", 255),
        element("c50100", b"a", 256),
        element("c600010000", b"a", 65_536),
        element("c7ff00", b"a", 255),
        element("c8010000", b"a", 256),
        element("c90001000000", b"a", 65_536),
        element("9f", &[0], 15),
        element("dc0010", &[0], 16),
        element("dcffff", &[0], 65_535),
        element("dd00010000", &[0], 65_536),
        members("8f", 15),
        members("de0010", 16),
        members("deffff", 65_535),
        members("df00010000", 65_536),
    ] {
        let message = event(&value);
        assert_eq!(give_event(&payload(message.clone())), message, "{:02x?}", value.get(..6));
    }
}

#[test]
fn what_other_encoders_write_is_understood() {
    for (hex, json, forwarded) in [
        ("ca3fc00000", "1.5", "cb3ff8000000000000"),
        ("cb3ff0000000000000", "1.0", "cb3ff0000000000000"),
        ("cb8000000000000000", "-0.0", "cb8000000000000000"),
        ("cf0000000000000005", "5", "05"),
        ("d30000000000000005", "5", "05"),
        ("d3ffffffffffffffff", "-1", "ff"),
        ("cfffffffffffffffff", "18446744073709551615", "cfffffffffffffffff"),
        ("d38000000000000000", "-9223372036854775808", "d38000000000000000"),
        ("cf0020000000000001", "9007199254740993", "cf0020000000000001"),
        ("d90161", "\"a\"", "a161"),
        ("da000161", "\"a\"", "a161"),
        ("dc000101", "[1]", "9101"),
        ("de0001a16101", "{\"a\":1}", "81a16101"),
        ("8205a1611ff6", "{\"5\":\"a\",\"31\":-10}", "82a135a161a23331f6"),
        ("81ff01", "{\"-1\":1}", "81a22d3101"),
        ("82a16101a16102", "{\"a\":1,\"a\":2}", "82a16101a16102"),
    ] {
        let payload = payload(event(&bytes(hex)));
        assert_eq!(payload.json(), format!("[\"e\",{json}]"), "{hex}");
        assert_eq!(give_event(&payload), event(&bytes(forwarded)), "{hex}");
    }
    // Extensions of others, as they are.
    for hex in [
        "d4ff01",
        "d50001 02",
        "d6ff00000001",
        "d7ff0000000000000001",
        "d80000000000000000000000000000000001",
        "c70105ff",
        "c7000c",
    ] {
        let message = event(&bytes(hex));
        let payload = payload(message.clone());
        assert_eq!(payload.json(), r#"["e",{"_placeholder":true,"num":0,"msgpack":0}]"#, "{hex}");
        assert_eq!(payload.attachments(), [Bytes::from(bytes(hex))]);
        assert_eq!(give_event(&payload), message);
    }
}

#[test]
fn members_of_a_packet_are_read_as_javascript_reads_them() {
    let event = Packet::new(Kind::Event, "/a,b", Some("[\"e\"]"));
    for (hex, id) in [
        // The stock client says how to send it.
        (
            "84 a474797065 02 a464617461 91a165 a36e7370 a42f612c62 a76f7074696f6e73 81a8636f6d7072657373c3",
            None,
        ),
        ("83 a474797065 cb4000000000000000 a464617461 91a165 a36e7370 a42f612c62", None),
        ("84 a474797065 02 a464617461 91a165 a36e7370 a42f612c62 a26964 d40000", None),
        (
            "84 a474797065 02 a464617461 91a165 a36e7370 a42f612c62 a26964 cb4014000000000000",
            Some(5),
        ),
        (
            "84 a474797065 02 a464617461 91a165 a36e7370 a42f612c62 a26964 cf001fffffffffffff",
            Some((1 << 53) - 1),
        ),
        ("84 a464617461 91a178 a474797065 02 a464617461 91a165 a36e7370 a42f612c62", None),
    ] {
        assert_eq!(take(bytes(hex)).unwrap().packet, Packet { id, ..event.clone() }, "{hex}");
    }
    let empty = Packet::new(Kind::Connect, "/", None);
    assert_eq!(
        take(bytes("83 a474797065 00 a464617461 d40000 a36e7370 a12f")).unwrap().packet,
        empty
    );
    assert_eq!(take(bytes("82 a474797065 00 a36e7370 a12f")).unwrap().packet, empty);
    assert_eq!(take(bytes("83 a474797065 00 a464617461 c0 a36e7370 a12f")).unwrap().packet, empty);
    let leave = Packet::new(Kind::Disconnect, "/", None);
    assert_eq!(take(bytes("83 a474797065 01 a464617461 c0 a36e7370 a12f")).unwrap().packet, leave);
}

#[test]
fn what_is_no_packet_is_refused_by_name() {
    use DecodeError::*;
    let named = |hex: &str| take(bytes(hex)).map(drop);
    assert_eq!(named("82a47479706502a36e7370a12f"), Err(InvalidPayload(Kind::Event)));
    assert_eq!(
        named("83a47479706502a46461746191a7636f6e6e656374a36e7370a12f"),
        Err(ReservedEvent("connect"))
    );
    assert_eq!(named("84a47479706502a46461746191a165a36e7370a12fa26964ff"), Err(IdTooLarge));
    assert_eq!(
        named("c1"),
        Err(InvalidMsgpack {
            offset: 1,
            flaw: "a byte that begins no value"
        })
    );
    assert_eq!(
        MsgpackParser.decode(Message::Text("2[\"e\"]"), &LIMITS).map(drop),
        Err(UnexpectedText)
    );
    for reserved in RESERVED_EVENTS {
        let data = json!({"type": 2, "data": [reserved], "nsp": "/"});
        assert_eq!(take(rmp_serde::to_vec(&data).unwrap()).map(drop), Err(ReservedEvent(reserved)));
    }
    // Every packet of the reference, cut short or followed by something.
    for (_, hex, _, _) in VALUES {
        let message = event(&bytes(hex));
        for end in 0..message.len() {
            assert!(take(message[..end].to_vec()).is_err());
        }
        assert!(take([&message[..], &[0]].concat()).is_err());
    }
}

#[test]
fn limits_hold_before_anything_is_taken_in() {
    let nested = |depth: usize| event(&[vec![0x91; depth - 2], vec![0x90]].concat());
    assert!(take(nested(64)).is_ok());
    assert_eq!(take(nested(65)), Err(DecodeError::TooDeep { max: 64 }));
    assert_eq!(take(nested(900_000)), Err(DecodeError::TooDeep { max: 64 }));
    let maps = |depth: usize| event(&[b"\x81\xa1a".repeat(depth - 2), vec![0x80]].concat());
    assert!(take(maps(64)).is_ok());
    assert_eq!(take(maps(65)), Err(DecodeError::TooDeep { max: 64 }));
    // What JSON lacks is a placeholder or, in the data of a CONNECT, an array of bytes: one level more.
    let below = |levels: usize, value: &str| [vec![0x91; levels], bytes(value)].concat();
    for value in ["c40101", "c7010001", "d40000", "cb7ff8000000000000"] {
        assert!(take(event(&below(62, value))).is_ok(), "{value}");
        assert_eq!(take(event(&below(63, value))), Err(DecodeError::TooDeep { max: 64 }), "{value}");
    }
    let connect = |value: &[u8]| [&bytes("83a47479706500a464617461 81a161"), value, &bytes("a36e7370a12f")].concat();
    assert!(take(connect(&below(62, "c40101"))).is_ok());
    assert_eq!(take(connect(&below(63, "c40101"))), Err(DecodeError::TooDeep { max: 64 }));
    assert!(take(connect(&below(63, "d40000"))).is_ok(), "nil there");
    let generous = Limits {
        max_depth: usize::MAX,
        ..LIMITS
    };
    let deepest = take_within(nested(127), &generous).unwrap().into_payload();
    assert_eq!(give_event(&deepest), nested(127), "what is accepted can be forwarded");
    assert_eq!(take_within(nested(128), &generous), Err(DecodeError::TooDeep { max: 127 }));

    let small = Limits { max_bytes: 100, ..LIMITS };
    let refused = Err(DecodeError::TooLarge { max: 100 });
    assert_eq!(take_within(event(&[0; 100]), &small), refused);
    assert!(
        take_within(event(&bytes("92d40000d40000")), &small).is_ok(),
        "two placeholders in 100 bytes"
    );
    assert_eq!(take_within(event(&bytes("93d40000d40000d40000")), &small), refused, "and not three");
    assert_eq!(
        take_within(event(&bytes("93c0c0c0")), &Limits { max_bytes: 20, ..LIMITS }).map(drop),
        Err(DecodeError::TooLarge { max: 20 })
    );
}

#[test]
fn more_values_than_attachments_are_gathered_in_one() {
    let buffers: Vec<u8> = (0..14).flat_map(|number| [0xc4, 1, number]).collect();
    let message = event(&[&[0x9e][..], &buffers].concat());
    let payload = payload(message.clone());
    assert_eq!(payload.attachments().len(), 11);
    assert_eq!(payload.attachments().last().unwrap(), &buffers[30..]);
    assert!(payload.json().ends_with(r#"{"_placeholder":true,"num":9},{"_placeholder":true,"num":10,"msgpack":0},{"_placeholder":true,"num":10,"msgpack":3},{"_placeholder":true,"num":10,"msgpack":6},{"_placeholder":true,"num":10,"msgpack":9}]]"#));
    assert_eq!(give_event(&payload), message);
    let read: Vec<Bytes> = payload.arg(0).unwrap();
    assert_eq!(read, (0..14).map(|number| Bytes::from(vec![number])).collect::<Vec<_>>());

    let large = [&bytes("c600010000")[..], &[7; 65_536]].concat();
    let (json, _) = to_json::canonical(&event(&large).into(), 12, &LIMITS).unwrap();
    assert!(json.capacity() < 1000, "what is attached is not held twice");

    let dates = 1000;
    let message = event(&[bytes("dc03e8"), bytes("d7000000000000000001").repeat(dates)].concat());
    let payload = take(message.clone()).unwrap().into_payload();
    assert_eq!(payload.attachments().len(), 1);
    assert_eq!(give_event(&payload), message);
}

#[test]
fn typed_values_read_what_json_lacks() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Note {
        at: i64,
        written: String,
        to: Option<String>,
        #[serde(default)]
        count: u32,
        data: Bytes,
        ratio: f64,
    }
    // {at: new Date(1), written: new Date(1), to: undefined, count: undefined, data: new Uint8Array([1]), ratio: Infinity}
    let note = bytes(
        "86 a26174 d7000000000000000001 a77772697474656e d7000000000000000001 a2746f d40000 a5636f756e74 d40000 a464617461 c7010001 \
         a5726174696f cb7ff0000000000000",
    );
    let expected = Note {
        at: 1,
        written: "1970-01-01T00:00:00.001Z".into(),
        to: None,
        count: 0,
        data: Bytes::from_static(&[1]),
        ratio: f64::INFINITY,
    };
    assert_eq!(payload(event(&note)).args::<Note>(), Ok(expected));

    let undefined = payload(event(&bytes("d40000")));
    assert_eq!(undefined.args::<Option<String>>(), Ok(None));
    assert_eq!(undefined.args::<((),)>(), Ok(((),)));
    assert_eq!(undefined.args::<Value>(), Ok(Value::Null));
    assert!(undefined.args::<String>().is_err());
    let mixed = payload(event(&bytes(
        "83 a161 d40000 a162 d7000000000000000001 a163 93 d40000 cb7ff8000000000000 c0",
    )));
    assert_eq!(
        mixed.args::<Value>(),
        Ok(json!({"b": "1970-01-01T00:00:00.001Z", "c": [null, null, null]})),
        "as JSON.stringify"
    );
    let date = payload(event(&bytes("d700ffffffffffffffff")));
    assert_eq!(date.args::<i64>(), Ok(-1));
    assert_eq!(date.args::<Option<f64>>(), Ok(Some(-1.0)));
    assert_eq!(date.args::<String>(), Ok("1969-12-31T23:59:59.999Z".into()));
    assert!(date.args::<u64>().is_err());
    let array = payload(event(&bytes("c7020001ff")));
    assert_eq!(array.args::<Bytes>(), Ok(Bytes::from_static(&[1, 255])));
    assert_eq!(array.args::<Vec<u8>>(), Ok(vec![1, 255]));
}

#[test]
fn typed_values_are_written_as_the_reference_writes_them() {
    for (payload, hex) in [
        (Payload::event("e", &Bytes::from_static(&[1, 2])), "c4020102"),
        (Payload::event("e", &None::<u8>), "c0"),
        (
            Payload::event("e", &json!({"a": [1, -1, 1.5, "x", null, true]})),
            "81a1619601ffcb3ff8000000000000a178c0c3",
        ),
        (Payload::event("e", &u64::MAX), "cfffffffffffffffff"),
        (Payload::event("e", &i64::MIN), "d38000000000000000"),
        (Payload::event("e", &"\u{1f600}\"\n"), "a6f09f9880220a"),
        // Numbers beyond 64 bits are what they are to JavaScript.
        (Payload::event("e", &u128::MAX), "cb47f0000000000000"),
    ] {
        assert_eq!(give_event(&payload.unwrap()), event(&bytes(hex)), "{hex}");
    }
}

#[test]
fn connect_data_is_plain_json() {
    let connect = |data: &str| take(bytes(&format!("83 a474797065 00 a464617461 {data} a36e7370 a12f")));
    for (hex, json) in [
        ("80", "{}"),
        ("81a161d40000", "{}"),
        ("83a161d40000a16201a163d40000", r#"{"b":1}"#),
        ("82a161 92d4000001 a162d40000", r#"{"a":[null,1]}"#),
        ("82a16180a16281a163d40000", r#"{"a":{},"b":{}}"#),
        ("81a161d7000000000000000001", r#"{"a":"1970-01-01T00:00:00.001Z"}"#),
        ("81a161d7007fffffffffffffff", r#"{"a":null}"#),
        ("82a161cb7ff8000000000000a162c4020102", r#"{"a":null,"b":[1,2]}"#),
        ("82a161c7000001 a162 c4 00", r#"{"a":[],"b":[]}"#),
    ] {
        let hex = hex.replace("c7000001", "c70000");
        let assembled = connect(&hex).unwrap();
        assert_eq!(
            (assembled.packet.data.as_deref(), assembled.attachments.len()),
            (Some(json), 0),
            "{hex}"
        );
    }
    for hex in ["90", "c2", "a0", "01", "c400", "c70000", "d7000000000000000001"] {
        assert_eq!(connect(hex), Err(DecodeError::InvalidPayload(Kind::Connect)), "{hex}");
    }
}

#[test]
fn maps_that_pretend_to_be_placeholders_are_never_taken_for_one() {
    let fake = "82 ac5f706c616365686f6c646572 c3 a36e756d 00";
    let alone = event(&bytes(fake));
    let payload = payload(alone.clone());
    assert_eq!(payload.args::<Value>(), Ok(json!({"_placeholder": true, "num": 0})));
    assert_eq!(give_event(&payload), alone, "without attachments it is a map as any other");
    assert_eq!(
        take(event(&bytes(&format!("92 {fake} c40101")))),
        Err(DecodeError::IllegalAttachments)
    );
    assert!(
        take(event(&bytes("92 82 ac5f706c616365686f6c646572 c2 a36e756d 00 c40101"))).is_ok(),
        "not true"
    );
}

#[test]
fn what_comes_from_a_node_with_another_parser_or_a_broken_one_breaks_nothing() {
    let attachments = [Bytes::from_static(&[1])];
    for (json, attachments, hex) in [
        // An attachment that is not there, places that are none, members of a placeholder in another order.
        (
            r#"["e",{"_placeholder":true,"num":1}]"#,
            &attachments[..],
            Some("82ac5f706c616365686f6c646572c3a36e756d01"),
        ),
        (r#"["e",{"num":0,"x":1,"_placeholder":true}]"#, &attachments, Some("c40101")),
        (
            r#"["e",{"_placeholder":true,"num":0,"msgpack":9}]"#,
            &attachments,
            Some("83ac5f706c616365686f6c646572c3a36e756d00a76d73677061636b09"),
        ),
        (r#"["e",{"_placeholder":true,"num":0,"msgpack":0}]"#, &attachments, Some("01")),
        // An array in an attachment, an attachment named twice.
        (
            r#"["e",{"_placeholder":true,"num":0,"msgpack":0}]"#,
            &[Bytes::from_static(&[0x90])],
            Some("83ac5f706c616365686f6c646572c3a36e756d00a76d73677061636b00"),
        ),
        (
            r#"["e",[{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]]"#,
            &attachments,
            None,
        ),
        (r#"["e",1"#, &[], None),
        ("", &[], None),
        (r#"["e",1]]"#, &[], None),
        (r#"["e","\ud800"]"#, &[], None),
    ] {
        let packet = Packet::new(Kind::Event, "/", Some(json));
        match (MsgpackParser.encode(&packet, attachments), hex) {
            (Ok(Encoded::Binary(message)), Some(hex)) => assert_eq!(message, event(&bytes(hex)), "{json}"),
            (Err(Unencodable(_)), None) => {}
            (other, _) => panic!("{json}: {other:?}"),
        }
    }
    let deep = format!("[\"e\",{}{}]", "[".repeat(200), "]".repeat(200));
    assert!(MsgpackParser.encode(&Packet::new(Kind::Event, "/", Some(&deep)), &[]).is_err());
    // A client of a default-parser node gets such a payload as a packet that its parser takes.
    let foreign = payload(event(&bytes("93d40000c40101c7010002")));
    let head = crate::protocol::socketio::text::head(Kind::Event, "/", None, foreign.attachments().len());
    assert!(crate::protocol::socketio::text::decode(&(head + foreign.json()), &LIMITS).is_ok());
}

/// Any value that notepack can write.
fn value() -> impl Strategy<Value = Vec<u8>> {
    use rmp::encode::*;
    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }
    let sized = |head: [&'static [u8]; 2], data: Vec<u8>| [head[0], &[data.len() as u8], head[1], &data].concat();
    let leaf = prop_oneof![
        Just(bytes("c0")),
        Just(bytes("c2")),
        Just(bytes("c3")),
        Just(bytes("d40000")),
        any::<u64>().prop_map(|number| written(|out| {
            write_uint(out, number).unwrap();
        })),
        any::<u8>().prop_map(|number| written(|out| {
            write_uint(out, number.into()).unwrap();
        })),
        any::<i64>().prop_map(|number| written(|out| {
            write_sint(out, number).unwrap();
        })),
        any::<i16>().prop_map(|number| written(|out| {
            write_sint(out, number.into()).unwrap();
        })),
        any::<f64>().prop_map(|number| written(|out| write_f64(out, number).unwrap())),
        any::<i64>().prop_map(|time| [&[0xd7, 0][..], &time.to_be_bytes()].concat()),
        ".{0,40}".prop_map(|text| written(|out| write_str(out, &text).unwrap())),
        vec(any::<u8>(), 0..40).prop_map(move |data| sized([&[0xc4], &[]], data)),
        vec(any::<u8>(), 0..40).prop_map(move |data| sized([&[0xc7], &[0]], data)),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(|list| {
                let head = written(|out| {
                    write_array_len(out, list.len() as u32).unwrap();
                });
                [head, list.concat()].concat()
            }),
            vec(("[a-z_\"]{0,6}", inner), 0..20).prop_map(|members| {
                let mut out = written(|out| {
                    write_map_len(out, members.len() as u32).unwrap();
                });
                for (key, value) in members {
                    write_str(&mut out, &key).unwrap();
                    out.extend(value);
                }
                out
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_is_forwarded_byte_by_byte(value in value()) {
        let message = event(&value);
        let payload = payload(message.clone());
        prop_assert_eq!(give_event(&payload), message);
        prop_assert!(payload.arg::<serde::de::IgnoredAny>(0).is_ok());
        // The attachments are those of a packet that the default parser takes, too.
        let rules = json::Rules { depth: 127, attachments: Some(payload.attachments().len()) };
        prop_assert!(json::check(payload.json(), rules).is_ok());
    }

    #[test]
    fn no_message_panics_and_what_is_taken_can_be_forwarded(message in prop_oneof![
        vec(any::<u8>(), 0..60),
        vec(any::<u8>(), 0..60).prop_map(|value| event(&value)),
    ]) {
        digest(message)?;
    }

    #[test]
    fn no_mutation_of_a_packet_panics(value in value(), edits in vec((any::<Index>(), any::<u8>()), 1..4)) {
        let mut message = event(&value);
        for (place, byte) in edits {
            let place = place.index(message.len());
            message[place] = byte;
        }
        digest(message)?;
    }
}

/// What is taken is within the limits, has the shape of its kind, and comes back the same when it is forwarded.
fn digest(message: Vec<u8>) -> Result<(), TestCaseError> {
    let limits = Limits { max_bytes: 2000, ..LIMITS };
    let Ok(assembled) = take_within(message, &limits) else {
        return Ok(());
    };
    let forwarded = give(&assembled.packet, &assembled.attachments);
    let again = take(forwarded).unwrap();
    if assembled.packet.kind != Kind::Connect {
        prop_assert_eq!(&again, &assembled);
    }
    let payload = assembled.clone().into_payload();
    prop_assert!(payload.size() <= 2000 + 200, "one value beyond the limit at most");
    if assembled.packet.kind == Kind::Event {
        prop_assert!(payload.as_event().is_some());
        drop(payload.args::<(Option<Bytes>, Option<i64>, Option<Value>)>());
    }
    Ok(())
}
