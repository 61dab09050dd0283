//! Client frames, cut anywhere, broken anyhow.

use std::mem;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// A client's frame.
pub(super) fn frame(fin: bool, opcode: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode | if fin { 0x80 } else { 0 }];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A message that outlives its decoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.into()),
            Message::Binary(data) => Self::Binary(data.into()),
            Message::Ping(data) => Self::Ping(data.into()),
            Message::Pong(data) => Self::Pong(data.into()),
            Message::Close(code, reason) => Self::Close(code, reason.into()),
        }
    }
}

/// Feeds one read, and checks the promise that every call makes progress.
pub(super) fn feed(decoder: &mut Decoder, input: &[u8], messages: &mut Vec<Owned>) -> Result<(), Violation> {
    let mut input = input.to_vec();
    let mut rest = input.as_mut_slice();
    loop {
        let empty = rest.is_empty();
        let (consumed, message) = decoder.decode(rest)?;
        assert_eq!(consumed == 0, empty, "progress");
        messages.extend(message.map(Owned::from));
        if empty {
            return Ok(());
        }
        rest = &mut mem::take(&mut rest)[consumed..];
    }
}

fn decode_all(max: usize, reads: &[&[u8]]) -> (Vec<Owned>, Result<(), Violation>) {
    let mut decoder = Decoder::new(max);
    let mut messages = Vec::new();
    let result = reads.iter().try_for_each(|read| feed(&mut decoder, read, &mut messages));
    (messages, result)
}

pub(super) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

#[test]
fn examples_of_rfc_6455_section_5_7_decode() {
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode_all(5, &[&hello]), (vec![Owned::Text("Hello".into())], Ok(())));
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(decode_all(0, &[&pong]), (vec![Owned::Pong(b"Hello".into())], Ok(())));
}

#[test]
fn accept_key_is_the_example_of_rfc_6455_section_1_3() {
    assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(is_valid_key("dGhlIHNhbXBsZSBub25jZQ=="));
    for key in ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZSE=", "????????????????????????"] {
        assert!(!is_valid_key(key), "{key}");
    }
}

#[test]
fn header_has_the_shortest_length_form() {
    let mut out = [0; MAX_HEADER];
    for (len, expected) in [
        (0, &[0x81, 0][..]),
        (125, &[0x81, 125]),
        (126, &[0x81, 126, 0, 126]),
        (0xffff, &[0x81, 126, 0xff, 0xff]),
        (0x1_0000, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let length = encode_header(Opcode::Text, len, &mut out);
        assert_eq!(&out[..length], expected);
        assert_eq!(header_len(len), length);
    }
}

#[test]
fn control_frames_come_through_between_fragments() {
    let reads = [
        frame(false, 1, MASK, b"one "),
        frame(true, 9, MASK, b"ping"),
        frame(false, 0, MASK, b""),
        frame(true, 10, MASK, b""),
        frame(true, 0, MASK, b"two"),
        frame(true, 2, MASK, &[1, 2]),
    ]
    .concat();
    let expected = vec![
        Owned::Ping(b"ping".into()),
        Owned::Pong(vec![]),
        Owned::Text("one two".into()),
        Owned::Binary(vec![1, 2]),
    ];
    assert_eq!(decode_all(7, &[&reads]), (expected.clone(), Ok(())));
    let bytewise: Vec<_> = reads.chunks(1).collect();
    assert_eq!(decode_all(7, &bytewise), (expected, Ok(())));
}

#[test]
fn text_may_be_cut_inside_a_character() {
    let [first, second] = [&"é".as_bytes()[..1], &"é".as_bytes()[1..]];
    let reads = [frame(false, 1, MASK, first), frame(true, 0, MASK, second)].concat();
    assert_eq!(decode_all(2, &[&reads]), (vec![Owned::Text("é".into())], Ok(())));
}

#[test]
fn violations_have_the_close_codes_of_the_rfc() {
    let close = |payload: &[u8]| frame(true, 8, MASK, payload);
    let long = |length: [u8; 8]| [&[0x82, 0x80 | 127][..], &length, &MASK].concat();
    let table: [(Vec<u8>, Violation, u16); 16] = [
        (frame(true, 0x41, MASK, b""), Violation::ReservedBits, 1002),
        (frame(true, 3, MASK, b""), Violation::ReservedOpcode(3), 1002),
        (frame(true, 11, MASK, b""), Violation::ReservedOpcode(11), 1002),
        (vec![0x81, 0x02, b'h', b'i'], Violation::Unmasked, 1002),
        (frame(false, 9, MASK, b""), Violation::FragmentedControl, 1002),
        (frame(true, 9, MASK, &[0; 126]), Violation::LongControl, 1002),
        (frame(true, 0, MASK, b""), Violation::UnexpectedContinuation, 1002),
        (
            [frame(false, 1, MASK, b""), frame(true, 1, MASK, b"")].concat(),
            Violation::InterruptedMessage,
            1002,
        ),
        (long([0x80, 0, 0, 0, 0, 0, 0, 0]), Violation::LengthOverflow, 1002),
        (close(&[3]), Violation::CloseLength, 1002),
        (close(&1005_u16.to_be_bytes()), Violation::CloseCode(1005), 1002),
        (close(&[0x03, 0xe8, 0xff]), Violation::InvalidUtf8, 1007),
        (frame(true, 1, MASK, &[0xc3]), Violation::InvalidUtf8, 1007),
        (frame(true, 2, MASK, &[0; 11]), Violation::TooBig { max: 10 }, 1009),
        (
            long([0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Violation::TooBig { max: 10 },
            1009,
        ),
        (
            [frame(false, 2, MASK, &[0; 6]), frame(false, 0, MASK, &[0; 5])].concat(),
            Violation::TooBig { max: 10 },
            1009,
        ),
    ];
    for (input, violation, code) in table {
        assert_eq!(decode_all(10, &[&input]), (vec![], Err(violation)));
        assert_eq!(
            decode_all(10, &input.chunks(1).collect::<Vec<_>>()),
            (vec![], Err(violation)),
            "byte by byte"
        );
        assert_eq!(violation.close_code(), code);
    }
}

#[test]
fn message_too_big_is_refused_before_its_payload() {
    let header = &frame(true, 2, MASK, &[0; 200])[..8];
    assert_eq!(decode_all(199, &[header]).1, Err(Violation::TooBig { max: 199 }));
    assert_eq!(decode_all(200, &[header]).1, Ok(()));
}

#[test]
fn violation_is_repeated() {
    let mut decoder = Decoder::new(10);
    let mut messages = Vec::new();
    assert_eq!(feed(&mut decoder, &[0xf1], &mut messages), Ok(()), "one byte says nothing yet");
    for _ in 0..2 {
        assert_eq!(
            feed(&mut decoder, &frame(true, 1, MASK, b""), &mut messages),
            Err(Violation::ReservedBits)
        );
    }
}

#[test]
fn close_ends_the_stream() {
    let input = [frame(true, 8, MASK, b"\x0f\xa0bye"), frame(true, 1, MASK, b"late"), vec![0xff; 9]].concat();
    assert_eq!(decode_all(10, &[&input]), (vec![Owned::Close(Some(4000), "bye".into())], Ok(())));
    assert_eq!(
        decode_all(10, &[&frame(true, 8, MASK, b"")]),
        (vec![Owned::Close(None, String::new())], Ok(()))
    );
}

#[test]
fn whole_frame_is_borrowed_from_the_input() {
    let mut decoder = Decoder::new(100);
    let mut input = frame(true, 2, MASK, &[7; 50]);
    let range = input.as_ptr_range();
    let Ok((_, Some(Message::Binary(data)))) = decoder.decode(&mut input) else {
        panic!("a message")
    };
    assert!(range.contains(&data.as_ptr()));
    assert_eq!(data, [7; 50]);
}

fn owned() -> impl Strategy<Value = Owned> {
    prop_oneof![
        ".{0,200}".prop_map(Owned::Text),
        vec(any::<u8>(), 0..400).prop_map(Owned::Binary),
        vec(any::<u8>(), 65_530..65_540).prop_map(Owned::Binary),
        vec(any::<u8>(), 0..=125).prop_map(Owned::Ping),
        vec(any::<u8>(), 0..=125).prop_map(Owned::Pong),
    ]
}

/// The frames of messages, those that may be in two fragments where `cuts` says so.
fn frames(messages: &[(Owned, Option<Index>)], mask: [u8; 4]) -> Vec<u8> {
    let mut out = Vec::new();
    for (message, cut) in messages {
        let (opcode, payload, cut) = match message {
            Owned::Text(text) => (1, text.as_bytes(), *cut),
            Owned::Binary(data) => (2, data.as_slice(), *cut),
            Owned::Ping(data) => (9, data.as_slice(), None),
            Owned::Pong(data) => (10, data.as_slice(), None),
            Owned::Close(..) => continue,
        };
        if let Some(cut) = cut {
            let (first, second) = payload.split_at(cut.index(payload.len() + 1));
            out.extend(frame(false, opcode, mask, first));
            out.extend(frame(true, 0, mask, second));
        } else {
            out.extend(frame(true, opcode, mask, payload));
        }
    }
    out
}

/// Cuts bytes at the given places.
pub(super) fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    places.sort_unstable();
    places.windows(2).map(|places| &bytes[places[0]..places[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn messages_survive_any_fragmentation_and_any_reads(
        messages in vec((owned(), any::<Option<Index>>()), 0..6),
        mask: [u8; 4],
        cuts in vec(any::<Index>(), 0..12),
    ) {
        let bytes = frames(&messages, mask);
        let (decoded, result) = decode_all(1 << 20, &cut(&bytes, &cuts));
        prop_assert_eq!(result, Ok(()));
        let expected: Vec<_> = messages.into_iter().map(|(message, _)| message).collect();
        prop_assert_eq!(decoded, expected);
    }

    #[test]
    fn any_bytes_end_the_same_however_they_are_read(
        mut bytes in vec((owned(), any::<Option<Index>>()), 0..4).prop_map(|messages| frames(&messages, MASK)),
        noise in vec((any::<Index>(), any::<u8>()), 0..4),
        tail in vec(any::<u8>(), 0..40),
        cuts in vec(any::<Index>(), 0..12),
    ) {
        bytes.extend(tail);
        for (place, byte) in noise {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
        }
        prop_assert_eq!(decode_all(100_000, &[&bytes]), decode_all(100_000, &cut(&bytes, &cuts)));
    }

    #[test]
    fn server_header_is_what_a_client_reads(len in prop_oneof![0..300_usize, 65_000..66_000_usize, any::<u32>().prop_map(|len| len as usize)]) {
        let mut out = [0; MAX_HEADER];
        let written = encode_header(Opcode::Binary, len, &mut out);
        let read = match out[1] {
            126 => u64::from(u16::from_be_bytes([out[2], out[3]])),
            127 => u64::from_be_bytes(out[2..10].try_into().unwrap()),
            short => u64::from(short),
        };
        prop_assert_eq!((out[0], read, written), (0x82, len as u64, header_len(len)));
    }
}
