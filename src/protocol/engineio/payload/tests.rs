//! Payloads of both revisions, to and fro, and what is none.

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};

use super::*;

const FORMS: [Form; 3] = [Form::Separated, Form::Counted, Form::Binary];

fn payload(packets: &[Packet<'_>], form: Form) -> Vec<u8> {
    let mut body = Vec::new();
    for packet in packets {
        push(&mut body, packet, form);
    }
    body
}

#[test]
fn payloads_are_the_literal_ones_of_the_reference() {
    let bytes = || Packet::Binary(Bytes::from_static(&[1, 2, 3, 4]));
    let unicode = Packet::Message("2[\"u\",\"é€😀\",\"Q82YcpM\"]");
    for (form, packets, body) in [
        (
            Form::Separated,
            &[Packet::Message("hello"), bytes(), Packet::Message(r#"2/chat,["a"]"#)][..],
            &b"4hello\x1ebAQIDBA==\x1e42/chat,[\"a\"]"[..],
        ),
        (Form::Separated, &[Packet::Noop, Packet::Close], b"6\x1e1"),
        (Form::Counted, &[Packet::Noop], b"1:6"),
        (Form::Counted, &[Packet::Message("0")], b"2:40"),
        (
            Form::Counted,
            &[Packet::Message("0/custom?a=b,"), Packet::Ping("")],
            b"14:40/custom?a=b,1:2",
        ),
        (Form::Counted, &[bytes()], b"10:b4AQIDBA=="),
        (
            Form::Counted,
            std::slice::from_ref(&unicode),
            "24:42[\"u\",\"é€😀\",\"Q82YcpM\"]".as_bytes(),
        ),
        (
            Form::Binary,
            &[Packet::Message("hello"), bytes()],
            b"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04",
        ),
        // The length is that of the text in UTF-8.
        (
            Form::Binary,
            &[Packet::Message("\u{e9}\u{20ac}\u{1f600}")],
            b"\x00\x01\x00\xff4\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
        ),
        (Form::Binary, &[], b""),
    ] {
        let encoded = payload(packets, form);
        assert_eq!(encoded, body, "{packets:?}");
        let decoded: Result<Vec<_>, _> = decode(&encoded, form).collect();
        assert_eq!(decoded.as_deref(), Ok(packets));
    }
}

#[test]
fn a_payload_ends_at_its_first_broken_packet() {
    use PacketError::{Empty, Length, UnknownType, Utf8};
    for (form, begun, rest, error) in [
        (Form::Separated, &b"4a\x1e"[..], &b""[..], Empty),
        (Form::Separated, b"4a\x1e", b"\x1e4b", Empty),
        (Form::Separated, b"4a\x1e", b"4\xff\x1e4b", Utf8),
        (Form::Separated, b"4a\x1e", b"x\x1e4b", UnknownType('x')),
        (Form::Counted, b"2:4a", b"2", Length),
        (Form::Counted, b"2:4a", b"x:4b", Length),
        (Form::Counted, b"2:4a", b":4b", Length),
        (Form::Counted, b"2:4a", b"-1:4b", Length),
        (Form::Counted, b"2:4a", b"3:4b", Length),
        (Form::Counted, b"2:4a", "2:4\u{1f600}1:2".as_bytes(), Length),
        (Form::Counted, b"2:4a", b"99999999999999999999999:4b", Length),
        (Form::Counted, b"2:4a", b"2:4\xff2:4b", Utf8),
        (Form::Counted, b"2:4a", b"1:\x80", Length),
        (Form::Counted, b"2:4a", b"1:x2:4b", UnknownType('x')),
        (Form::Counted, b"2:4a", b"1:b2:4b", Empty),
        (Form::Binary, b"\0\x02\xff4a", b"\0", Length),
        (Form::Binary, b"\0\x02\xff4a", b"\0\xff4b", Length),
        (Form::Binary, b"\0\x02\xff4a", b"\0\x0a\xff4b", Length),
        (Form::Binary, b"\0\x02\xff4a", b"\0\x03\xff4b", Length),
        (Form::Binary, b"\0\x02\xff4a", b"\x02\x02\xff4b", Length),
        (Form::Binary, b"\0\x02\xff4a", b"\x01\0\xff", Empty),
        (Form::Binary, b"\0\x02\xff4a", b"\0\x02\xff4\xff", Utf8),
        (Form::Binary, b"\0\x02\xff4a", b"\x01\x02\xff\x07a", UnknownType('7')),
    ] {
        let body = [begun, rest].concat();
        let mut packets = decode(&body, form);
        assert_eq!(packets.next(), Some(Ok(Packet::Message("a"))), "{form:?} {body:?}");
        assert_eq!(packets.rest(), Some(rest));
        assert_eq!(packets.next(), Some(Err(error)), "{form:?} {body:?}");
        assert_eq!((packets.next(), packets.rest()), (None, None));
    }
}

#[test]
fn an_empty_payload_is_broken_or_holds_nothing() {
    for (form, body, first) in [
        (Form::Separated, "", Some(Err(PacketError::Empty))),
        (Form::Counted, "", Some(Err(PacketError::Empty))),
        (Form::Counted, "0:", None),
        (Form::Counted, "0:00:1:6", Some(Ok(Packet::Noop))),
        (Form::Binary, "", None),
    ] {
        assert_eq!(decode(body.as_bytes(), form).next(), first, "{form:?} {body}");
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
    fn payloads_survive_the_wire(packets in vec(packet(), 1..8), cut in 0_usize..8) {
        let packets: Vec<_> = packets.iter().map(borrowed).collect();
        for form in FORMS {
            let body = payload(&packets, form);
            prop_assert_eq!(decode(&body, form).collect::<Result<Vec<_>, _>>(), Ok(packets.clone()));
            // A payload may be joined from parts, and read in parts.
            let (head, tail) = packets.split_at(cut.min(packets.len()));
            let mut joined = payload(head, form);
            if !tail.is_empty() {
                append(&mut joined, &payload(tail, form), form);
            }
            prop_assert_eq!(&joined, &body);
            let mut read = decode(&body, form);
            prop_assert_eq!(read.by_ref().take(head.len()).count(), head.len());
            let rest: Vec<_> = read.rest().into_iter().flat_map(|rest| decode(rest, form)).map(Result::unwrap).collect();
            prop_assert_eq!(rest, tail);
        }
    }

    #[test]
    fn no_body_panics_and_binary_stays_below_its_text(body in prop_oneof![
        vec(any::<u8>(), 0..200),
        "[b0-9A-Za-z+/=\x1e]{0,200}".prop_map(String::into_bytes),
        "([0-9]{0,3}:[b4é😀]{0,10}){0,20}".prop_map(String::into_bytes),
        vec(prop_oneof![Just(0_u8), Just(1), Just(4), Just(255), any::<u8>()], 0..200),
    ]) {
        for form in FORMS {
            let mut left = body.len() + 1;
            let mut packets = decode(&body, form);
            while let Some(packet) = packets.next() {
                if let Ok(Packet::Binary(data)) = packet {
                    prop_assert!(data.len() < body.len());
                }
                let rest = packets.rest().map_or(0, |rest| rest.len() + 1);
                prop_assert!(rest < left, "a packet of no bytes");
                left = rest;
            }
        }
    }
}
