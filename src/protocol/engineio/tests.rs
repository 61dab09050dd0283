//! Packets and payloads, to and fro, and what is none.

use std::time::Duration;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::{
    Packet, PacketError, Revision, decode_text,
    handshake::{Flaw, Open, Query, Refusal},
    payload,
};

fn text_of(packet: &Packet<'_>) -> String {
    let mut text = String::new();
    packet.encode_text(&mut text);
    text
}

#[test]
fn packets_are_the_literal_ones_of_the_reference() {
    for (packet, text) in [
        (Packet::Open("{}"), "0{}"),
        (Packet::Close, "1"),
        (Packet::Ping(""), "2"),
        (Packet::Ping("probe"), "2probe"),
        (Packet::Pong("probe"), "3probe"),
        (Packet::Message("hello"), "4hello"),
        (Packet::Message(""), "4"),
        (Packet::Upgrade, "5"),
        (Packet::Noop, "6"),
        (Packet::Binary(Bytes::from_static(&[1, 2, 3, 4])), "bAQIDBA=="),
        (Packet::Binary(Bytes::new()), "b"),
    ] {
        assert_eq!(text_of(&packet), text);
        assert_eq!(decode_text(text), Ok(packet));
    }
}

#[test]
fn broken_packets_name_what_is_wrong() {
    for (text, error) in [
        ("", PacketError::Empty),
        ("7", PacketError::UnknownType('7')),
        ("é", PacketError::UnknownType('é')),
        ("b!", PacketError::Base64),
        ("bAQIDBA==x", PacketError::Base64),
    ] {
        assert_eq!(decode_text(text), Err(error));
    }
    assert_eq!(
        decode_text("bAQIDBA"),
        Ok(Packet::Binary(Bytes::from_static(&[1, 2, 3, 4]))),
        "padding may be missing"
    );
}

#[test]
fn payload_is_the_literal_one_of_the_reference() {
    let mut body = String::new();
    payload::push(&mut body, &Packet::Message("hello"));
    payload::push_binary(&mut body, &[1, 2, 3, 4]);
    payload::push(&mut body, &Packet::Message(r#"2/chat,["a"]"#));
    assert_eq!(body, "4hello\x1ebAQIDBA==\x1e42/chat,[\"a\"]");
    assert_eq!(
        payload::decode(b"6\x1e1").collect::<Vec<_>>(),
        [Ok(Packet::Noop), Ok(Packet::Close)]
    );
}

#[test]
fn payload_ends_at_its_first_broken_packet() {
    for (body, error) in [
        (&b""[..], PacketError::Empty),
        (b"4a\x1e", PacketError::Empty),
        (b"4a\x1e\x1e4b", PacketError::Empty),
        (b"4a\x1e4\xff\x1e4b", PacketError::Utf8),
        (b"4a\x1ex\x1e4b", PacketError::UnknownType('x')),
    ] {
        let mut packets = payload::decode(body);
        if !body.is_empty() {
            assert_eq!(packets.next(), Some(Ok(Packet::Message("a"))));
        }
        assert_eq!(packets.next(), Some(Err(error)));
        assert_eq!(packets.next(), None);
    }
}

#[test]
fn query_takes_the_last_of_duplicates_and_an_empty_sid_for_none() {
    let query = Query::parse("EIO=3&transport=polling&t=x&sid=a&EIO=4&sid=b%2D&b64=1&j=3&j=4");
    assert_eq!(
        query,
        Query {
            revision: Revision::V4,
            transport: Some("polling".into()),
            sid: Some("b-".into()),
            base64: true,
            jsonp: Some("4".into()),
        }
    );
    assert_eq!(Query::parse("sid=a&sid=").sid, None);
    assert_eq!(Query::parse(""), Query::default());
    for raw in ["", "EIO=4&EIO=", "EIO=3", "EIO=04", "EIO=5"] {
        assert_eq!(Query::parse(raw).revision, Revision::V3, "{raw}");
    }
}

#[test]
fn open_has_the_keys_in_the_order_of_the_reference() {
    let open = Open {
        sid: "lv_VI97HAXpY6yYWAAAC",
        upgrades: &["websocket"],
        ping_interval: Duration::from_secs(25),
        ping_timeout: Duration::from_millis(20_000),
        max_payload: 1_000_000,
    };
    let json = r#"{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert_eq!(open.json(), json);
}

#[test]
fn refusals_are_those_of_the_reference() {
    for (refusal, status, json) in [
        (Refusal::UnknownTransport, 400, r#"{"code":0,"message":"Transport unknown"}"#),
        (Refusal::UnknownSession, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
        (Refusal::BadHandshakeMethod, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
        (
            Refusal::BadRequest(Flaw::InvalidOrigin),
            400,
            r#"{"code":3,"message":"Bad request"}"#,
        ),
        (Refusal::forbidden(), 403, r#"{"code":4,"message":"Forbidden"}"#),
        (
            Refusal::Forbidden("say \"please\"".into()),
            403,
            r#"{"code":4,"message":"say \"please\""}"#,
        ),
        (
            Refusal::UnsupportedProtocol,
            400,
            r#"{"code":5,"message":"Unsupported protocol version"}"#,
        ),
    ] {
        assert_eq!((refusal.status(), refusal.json().as_str()), (status, json));
    }
}

/// A packet, owned: its digit and its data.
fn packet() -> impl Strategy<Value = Result<(char, String), Bytes>> {
    prop_oneof![
        ("[0234]", "[^\x1e]{0,60}").prop_map(|(kind, data)| Ok((kind.chars().next().unwrap(), data))),
        "[156]".prop_map(|kind| Ok((kind.chars().next().unwrap(), String::new()))),
        vec(any::<u8>(), 0..60).prop_map(|data| Err(data.into())),
    ]
}

fn borrowed(packet: &Result<(char, String), Bytes>) -> Packet<'_> {
    match packet {
        Ok(('0', data)) => Packet::Open(data),
        Ok(('1', _)) => Packet::Close,
        Ok(('2', data)) => Packet::Ping(data),
        Ok(('3', data)) => Packet::Pong(data),
        Ok(('4', data)) => Packet::Message(data),
        Ok(('5', _)) => Packet::Upgrade,
        Ok(_) => Packet::Noop,
        Err(data) => Packet::Binary(data.clone()),
    }
}

proptest! {
    #[test]
    fn packets_and_payloads_survive_the_wire(packets in vec(packet(), 1..8)) {
        let packets: Vec<_> = packets.iter().map(borrowed).collect();
        let mut body = String::new();
        for packet in &packets {
            payload::push(&mut body, packet);
            let text = text_of(packet);
            prop_assert_eq!(decode_text(&text), Ok(packet.clone()));
        }
        prop_assert_eq!(payload::decode(body.as_bytes()).collect::<Result<Vec<_>, _>>(), Ok(packets));
    }

    #[test]
    fn no_body_panics_and_binary_stays_below_its_text(body in prop_oneof![
        vec(any::<u8>(), 0..200),
        "[b0-9A-Za-z+/=\x1e]{0,200}".prop_map(String::into_bytes),
    ]) {
        for packet in payload::decode(&body) {
            if let Ok(Packet::Binary(data)) = packet {
                prop_assert!(data.len() <= body.len() * 3 / 4);
            }
        }
    }

    #[test]
    fn no_query_panics(raw in ".{0,100}") {
        let query = Query::parse(&raw);
        prop_assert_ne!(query.sid.as_deref(), Some(""));
    }
}
