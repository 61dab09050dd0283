//! permessage-deflate: which offers are taken, and what other implementations make of compressed messages, and we of theirs.

use miniz_oxide::{
    MZFlush,
    deflate::{core::CompressorOxide, stream::deflate},
    inflate::decompress_to_vec,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{
    tests::{MASK, Owned, cut, feed, frame},
    *,
};

const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const WINDOW: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

#[test]
fn the_first_offer_that_can_be_taken_is() {
    let table: &[(&[&str], Option<&str>)] = &[
        // What browsers, `ws` and aiohttp offer.
        (&["permessage-deflate; client_max_window_bits"], Some(PLAIN)),
        (&["permessage-deflate"], Some(PLAIN)),
        (
            &["  permessage-deflate ;server_no_context_takeover;client_no_context_takeover  "],
            Some(PLAIN),
        ),
        (&["permessage-deflate; client_max_window_bits=8"], Some(PLAIN)),
        (&["permessage-deflate; client_max_window_bits = \"1\\0\""], Some(PLAIN)),
        (&["permessage-deflate; server_max_window_bits=15"], Some(WINDOW)),
        (
            &["permessage-deflate; server_max_window_bits=\"15\"; client_max_window_bits"],
            Some(WINDOW),
        ),
        // Windows that would need a compressed form of their own, and none that there is.
        (&["permessage-deflate; server_max_window_bits=14"], None),
        (&["permessage-deflate; server_max_window_bits=8"], None),
        (&["permessage-deflate; server_max_window_bits=16"], None),
        (&["permessage-deflate; server_max_window_bits=015"], None),
        (&["permessage-deflate; server_max_window_bits"], None),
        (&["permessage-deflate; client_max_window_bits=7"], None),
        (&["permessage-deflate; client_max_window_bits=08"], None),
        (&["permessage-deflate; client_max_window_bits="], None),
        // A fallback, in one line or two.
        (&["permessage-deflate; server_max_window_bits=10, permessage-deflate"], Some(PLAIN)),
        (
            &[
                "permessage-deflate; server_max_window_bits=10",
                "x-webkit-deflate-frame, permessage-deflate; server_max_window_bits=15",
            ],
            Some(WINDOW),
        ),
        // The first counts.
        (&["permessage-deflate, permessage-deflate; server_max_window_bits=15"], Some(PLAIN)),
        // Parameters that are unknown, come twice, or have a value that they do not have.
        (&["permessage-deflate; level=9"], None),
        (&["permessage-deflate; Server_No_Context_Takeover"], None),
        (&["permessage-deflate; client_max_window_bits; client_max_window_bits"], None),
        (
            &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"],
            None,
        ),
        (&["permessage-deflate; server_no_context_takeover=true"], None),
        (&["permessage-deflate; client_no_context_takeover=\"\""], None),
        (&["permessage-deflate;"], None),
        (&["permessage-deflate; client_max_window_bits=\"15"], None),
        (&["permessage-deflate; client_max_window_bits=\"15\"x"], None),
        // What stands in quotes separates nothing.
        (&["other; a=\"1, permessage-deflate\""], None),
        (&["other; a=\"\\\", permessage-deflate\", permessage-deflate"], Some(PLAIN)),
        (&["permessage-bzip2"], None),
        (&["permessage-deflate-2"], None),
        (&["PERMESSAGE-DEFLATE"], None),
        (&[""], None),
        (&[",,"], None),
        (&[], None),
    ];
    for (offers, answer) in table {
        assert_eq!(negotiate(offers.iter().copied()), *answer, "{offers:?}");
    }
}

/// The messages of a connection with compression, and how it ended.
fn decode_all(max: usize, reads: &[&[u8]]) -> (Vec<Owned>, Result<(), Violation>) {
    let mut decoder = Decoder::inflating(max);
    let mut messages = Vec::new();
    let result = reads.iter().try_for_each(|read| feed(&mut decoder, read, &mut messages));
    (messages, result)
}

fn bytewise(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.chunks(1).collect()
}

#[test]
fn examples_of_rfc_7692_section_7_2_3_decode() {
    let hello = || vec![Owned::Text("Hello".into())];
    let packed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let whole = frame(true, 0x41, MASK, &packed);
    let fragments = [frame(false, 0x41, MASK, &packed[..3]), frame(true, 0, MASK, &packed[3..])].concat();
    // A block without compression, one that says that it is the last, two blocks.
    let stored = frame(
        true,
        0x41,
        MASK,
        &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
    );
    let last = frame(true, 0x41, MASK, &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00]);
    let two = frame(
        true,
        0x41,
        MASK,
        &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
    );
    for bytes in [whole, fragments, stored, last, two] {
        assert_eq!(decode_all(5, &[&bytes]), (hello(), Ok(())), "{bytes:x?}");
        assert_eq!(decode_all(5, &bytewise(&bytes)), (hello(), Ok(())), "{bytes:x?}");
    }
    for empty in [&[0x00][..], &[]] {
        let bytes = frame(true, 0x41, MASK, empty);
        assert_eq!(decode_all(0, &[&bytes]), (vec![Owned::Text(String::new())], Ok(())), "{empty:x?}");
    }
}

#[test]
fn compressed_and_plain_messages_and_control_frames_come_in_any_order() {
    let packed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let reads = [
        frame(false, 0x42, MASK, &packed[..2]),
        frame(true, 9, MASK, b"ping"),
        frame(true, 0, MASK, &packed[2..]),
        frame(false, 1, MASK, b"pl"),
        frame(true, 0, MASK, b"ain"),
        frame(true, 0x41, MASK, &packed),
        frame(true, 1, MASK, b"plain"),
    ]
    .concat();
    let expected = vec![
        Owned::Ping(b"ping".into()),
        Owned::Binary(b"Hello".into()),
        Owned::Text("plain".into()),
        Owned::Text("Hello".into()),
        Owned::Text("plain".into()),
    ];
    assert_eq!(decode_all(20, &[&reads]), (expected.clone(), Ok(())));
    assert_eq!(decode_all(20, &bytewise(&reads)), (expected, Ok(())));
}

#[test]
fn what_is_not_as_agreed_has_the_close_codes_of_the_rfcs() {
    let packed = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let zeros = packed_by_miniz(&[0; 101], MZFlush::Sync);
    let table = [
        // The bit of compression where it has no meaning, and the other two bits.
        (frame(true, 0x49, MASK, b""), Violation::ReservedBits, 1002),
        (frame(true, 0x48, MASK, b""), Violation::ReservedBits, 1002),
        (
            [frame(false, 0x41, MASK, &packed[..2]), frame(true, 0x40, MASK, &packed[2..])].concat(),
            Violation::ReservedBits,
            1002,
        ),
        (frame(true, 0x21, MASK, b""), Violation::ReservedBits, 1002),
        (frame(true, 0x51, MASK, b""), Violation::ReservedBits, 1002),
        (frame(true, 0x61, MASK, &packed), Violation::ReservedBits, 1002),
        (frame(true, 0x43, MASK, b""), Violation::ReservedBits, 1002),
        // No deflate, deflate that is cut off, a reach before the message.
        (frame(true, 0x41, MASK, b"garbage"), Violation::InvalidDeflate, 1007),
        (frame(true, 0x41, MASK, &packed[..3]), Violation::InvalidDeflate, 1007),
        (frame(true, 0x41, MASK, &[0xff; 20]), Violation::InvalidDeflate, 1007),
        (frame(true, 0x42, MASK, &[0x02, 0x13, 0x00, 0x00]), Violation::InvalidDeflate, 1007),
        (
            frame(true, 0x41, MASK, &packed_by_miniz(&[0xc3], MZFlush::Sync)),
            Violation::InvalidUtf8,
            1007,
        ),
        (frame(true, 0x42, MASK, &zeros), Violation::TooBig { max: 100 }, 1009),
        (frame(true, 0x42, MASK, &[0; 165]), Violation::TooBig { max: 100 }, 1009),
        (frame(true, 0x02, MASK, &[0; 101]), Violation::TooBig { max: 100 }, 1009),
    ];
    for (input, violation, code) in table {
        assert_eq!(decode_all(100, &[&input]), (vec![], Err(violation)), "{input:x?}");
        assert_eq!(decode_all(100, &bytewise(&input)), (vec![], Err(violation)), "{input:x?}");
        assert_eq!(violation.close_code(), code);
    }
    let mut plain = Decoder::new(100);
    let refused = feed(&mut plain, &frame(true, 0x41, MASK, &packed), &mut Vec::new());
    assert_eq!(refused, Err(Violation::ReservedBits), "without the agreement");
    assert_eq!(
        decode_all(101, &[&frame(true, 0x42, MASK, &zeros)]),
        (vec![Owned::Binary(vec![0; 101])], Ok(()))
    );
}

#[test]
fn what_gets_no_shorter_may_be_as_long_as_any_message() {
    const MAX: usize = 1_000_000;
    let mut state = 1_u64;
    let noise: Vec<u8> = (0..MAX)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .collect();
    let packed = packed_by_miniz(&noise, MZFlush::Sync);
    assert!(packed.len() > MAX);
    let (messages, result) = decode_all(MAX, &[&frame(true, 0x42, MASK, &packed)]);
    assert_eq!(result, Ok(()));
    assert!(messages == [Owned::Binary(noise)]);
}

#[test]
fn a_bomb_takes_no_more_memory_than_a_message_may() {
    const MAX: usize = 100_000;
    let bomb = packed_by_miniz(&vec![0; 64 << 20], MZFlush::Sync);
    assert!(bomb.len() < MAX);
    assert_eq!(deflate::inflate(&bomb, MAX), Err(Violation::TooBig { max: MAX }));
    let allowed = packed_by_miniz(&vec![0; MAX], MZFlush::Sync);
    let expanded = deflate::inflate(&allowed, MAX).unwrap();
    assert_eq!(expanded.len(), MAX);
    assert!(expanded.capacity() <= MAX + 1, "{}", expanded.capacity());
}

#[test]
fn only_what_is_long_enough_and_gets_shorter_is_compressed() {
    let plain = |opcode, payload: &[u8]| {
        let mut header = [0; MAX_HEADER];
        let written = encode_header(opcode, payload.len(), &mut header);
        [&header[..written], payload].concat()
    };
    let text = "long enough ".repeat(10);
    let noise: Vec<u8> = (0..200_u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    assert_eq!(
        deflate_frames(&plain(Opcode::Text, text.as_bytes()), 121),
        None,
        "below the threshold"
    );
    assert_eq!(deflate_frames(&plain(Opcode::Binary, &noise), 1), None, "it would get longer");
    assert_eq!(
        deflate_frames(&plain(Opcode::Ping, &[0; 100]), 1),
        None,
        "control frames are never compressed"
    );
    assert_eq!(deflate_frames(&plain(Opcode::Text, b""), 0), None);
    assert_eq!(deflate_frames(b"", 0), None);
    // Each frame of a message for itself.
    let frames = [
        plain(Opcode::Text, text.as_bytes()),
        plain(Opcode::Binary, &noise),
        plain(Opcode::Binary, b"short"),
        plain(Opcode::Binary, &[7; 70_000]),
    ]
    .concat();
    let deflated = deflate_frames(&frames, 120).unwrap();
    assert_eq!(deflated[0], 0xc1);
    assert!(deflated.len() < noise.len() + 300, "{}", deflated.len());
    let messages = read_by_miniz(&deflated);
    assert_eq!(
        messages,
        [
            (true, text.into_bytes()),
            (false, noise),
            (false, b"short".to_vec()),
            (true, vec![7; 70_000])
        ]
    );
}

/// What another implementation makes of a message.
fn packed_by_miniz(message: &[u8], flush: MZFlush) -> Vec<u8> {
    let mut packed = vec![0; message.len() + message.len() / 8 + 64];
    let mut compressor = CompressorOxide::default();
    compressor.set_format_and_level(miniz_oxide::DataFormat::Raw, 6);
    let result = deflate(&mut compressor, message, &mut packed, flush);
    assert_eq!(result.bytes_consumed, message.len());
    packed.truncate(result.bytes_written);
    if flush == MZFlush::Sync {
        assert!(packed.ends_with(&[0, 0, 0xff, 0xff]));
        packed.truncate(packed.len() - 4);
    }
    packed
}

/// Server frames as another implementation reads them: whether each was compressed, and its message.
fn read_by_miniz(mut frames: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut messages = Vec::new();
    while let [first, second, rest @ ..] = frames {
        let (length, rest) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            short => (usize::from(*short), rest),
        };
        let compressed = first & 0x40 != 0;
        let payload = &rest[..length];
        frames = &rest[length..];
        let message = match compressed {
            true => decompress_to_vec(&[payload, &[0, 0, 0xff, 0xff, 3, 0]].concat()).unwrap(),
            false => payload.to_vec(),
        };
        messages.push((compressed, message));
    }
    messages
}

/// Bytes with something to gain, and without.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        vec(0_u8..4, 0..3000),
        (vec(any::<u8>(), 1..40), 1..2000_usize).prop_map(|(piece, times)| piece.repeat(times)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn another_implementation_reads_what_is_compressed(payloads in vec((payload(), any::<bool>()), 0..4), threshold in 0..200_usize) {
        let mut frames = Vec::new();
        for (payload, text) in &payloads {
            let mut header = [0; MAX_HEADER];
            let written = encode_header(if *text { Opcode::Text } else { Opcode::Binary }, payload.len(), &mut header);
            frames.extend_from_slice(&header[..written]);
            frames.extend_from_slice(payload);
        }
        let deflated = deflate_frames(&frames, threshold);
        let messages = read_by_miniz(deflated.as_deref().unwrap_or(&frames));
        prop_assert_eq!(messages.len(), payloads.len());
        prop_assert_eq!(deflated.is_some(), messages.iter().any(|(compressed, _)| *compressed));
        for ((compressed, message), (payload, _)) in messages.iter().zip(&payloads) {
            prop_assert!(!compressed || payload.len() >= threshold);
            prop_assert_eq!(message, payload);
        }
        if let Some(deflated) = deflated {
            prop_assert!(deflated.len() < frames.len());
        }
    }

    #[test]
    fn what_another_implementation_compresses_is_read(
        payloads in vec((payload(), any::<bool>(), any::<Index>()), 1..4),
        finish: bool,
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (payload, fragmented, place) in payloads {
            // Also where the last block says that it is the last, and nothing follows it.
            let packed = packed_by_miniz(&payload, if finish { MZFlush::Finish } else { MZFlush::Sync });
            if fragmented {
                let (first, second) = packed.split_at(place.index(packed.len() + 1));
                bytes.extend(frame(false, 0x42, MASK, first));
                bytes.extend(frame(true, 0, MASK, second));
            } else {
                bytes.extend(frame(true, 0x42, MASK, &packed));
            }
            expected.push(Owned::Binary(payload));
        }
        prop_assert_eq!(decode_all(100_000, &cut(&bytes, &cuts)), (expected, Ok(())));
    }

    #[test]
    fn any_bytes_are_bounded_and_end_the_same_however_they_are_read(
        mut packed in payload().prop_map(|payload| packed_by_miniz(&payload, MZFlush::Sync)),
        noise in vec((any::<Index>(), any::<u8>()), 0..4),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        for (place, byte) in noise {
            if !packed.is_empty() {
                let place = place.index(packed.len());
                packed[place] = byte;
            }
        }
        let bytes = frame(true, 0x42, MASK, &packed);
        let (messages, result) = decode_all(5000, &[&bytes]);
        let fits = |message: &Owned| matches!(message, Owned::Binary(bytes) if bytes.len() <= 5000);
        prop_assert!(messages.iter().all(fits));
        prop_assert_eq!(decode_all(5000, &cut(&bytes, &cuts)), (messages, result));
    }
}
