//! Packets, to and fro, and what is none; what is said in the handshake.

use std::time::Duration;

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::{
    Packet, PacketError, Revision, decode_binary, decode_text,
    handshake::{Flaw, Open, Query, Refusal},
};

fn text_of(packet: &Packet<'_>, revision: Revision) -> String {
    let mut text = String::new();
    packet.encode_text(revision, &mut text);
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
    ] {
        for revision in [Revision::V3, Revision::V4] {
            assert_eq!(text_of(&packet, revision), text);
            assert_eq!(decode_text(text, revision), Ok(packet.clone()));
        }
    }
    for (data, revision, text, frame) in [
        (&[1, 2, 3, 4][..], Revision::V4, "bAQIDBA==", &[1, 2, 3, 4][..]),
        (&[], Revision::V4, "b", &[]),
        (&[1, 2, 3, 4], Revision::V3, "b4AQIDBA==", &[4, 1, 2, 3, 4]),
        (&[], Revision::V3, "b4", &[4]),
    ] {
        let packet = Packet::Binary(Bytes::from_static(data));
        assert_eq!(text_of(&packet, revision), text);
        assert_eq!(decode_text(text, revision), Ok(packet.clone()));
        assert_eq!(decode_binary(frame, revision), Ok(packet));
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
        assert_eq!(decode_text(text, Revision::V4), Err(error));
    }
    for (text, error) in [
        ("", PacketError::Empty),
        ("b", PacketError::Empty),
        ("7", PacketError::UnknownType('7')),
        ("b7AQIDBA==", PacketError::UnknownType('7')),
        ("bAQIDBA==", PacketError::UnknownType('A')),
        ("b4!", PacketError::Base64),
    ] {
        assert_eq!(decode_text(text, Revision::V3), Err(error));
    }
    for (frame, error) in [
        (&[][..], PacketError::Empty),
        (&[7, 1], PacketError::UnknownType('7')),
        (b"4", PacketError::UnknownType('d')),
        (&[255], PacketError::UnknownType('\u{ff}')),
    ] {
        assert_eq!(decode_binary(frame, Revision::V3), Err(error));
    }
    let padding_may_be_missing = decode_text("bAQIDBA", Revision::V4);
    assert_eq!(padding_may_be_missing, Ok(Packet::Binary(Bytes::from_static(&[1, 2, 3, 4]))));
}

#[test]
fn data_of_what_is_no_message_is_dropped_in_binary_packets() {
    for (kind, packet) in [
        (0, Packet::Open("")),
        (1, Packet::Close),
        (2, Packet::Ping("")),
        (3, Packet::Pong("")),
        (5, Packet::Upgrade),
        (6, Packet::Noop),
    ] {
        assert_eq!(decode_binary(&[kind, 1, 2], Revision::V3), Ok(packet.clone()));
        assert_eq!(decode_text(&format!("b{kind}AQI="), Revision::V3), Ok(packet));
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
            mark: Some("x".into()),
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

proptest! {
    #[test]
    fn no_packet_panics_and_binary_stays_below_its_text(text in "[b4]{0,2}[0-9A-Za-z+/=\u{80}-\u{ff}]{0,200}", frame in vec(any::<u8>(), 0..60)) {
        for revision in [Revision::V3, Revision::V4] {
            if let Ok(Packet::Binary(data)) = decode_text(&text, revision) {
                prop_assert!(data.len() <= text.len() * 3 / 4);
            }
            if let Ok(Packet::Binary(data)) = decode_binary(&frame, revision) {
                prop_assert_eq!(Some(&data[..]), frame.get(usize::from(revision == Revision::V3)..));
            }
        }
    }

    #[test]
    fn no_query_panics(raw in ".{0,100}") {
        let query = Query::parse(&raw);
        prop_assert_ne!(query.sid.as_deref(), Some(""));
    }
}
