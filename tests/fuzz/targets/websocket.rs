//! Client frames, with and without permessage-deflate, read at once and in any parts: no panic, progress at every call, no message beyond
//! the bound, and the same messages.
//!
//! The input is a number of cuts (and 16 more where compression was agreed on), the distance of each from the one before, and the bytes that
//! are cut.

#![no_main]

use std::mem;

use fanfare::protocol::websocket::{Decoder, Message, Violation, deflate_frames};
use libfuzzer_sys::fuzz_target;

#[path = "../../it/bad_inputs.rs"]
#[allow(dead_code)]
mod bad_inputs;
#[path = "../seeds.rs"]
mod seeds;

/// Of the first byte: messages may be compressed.
const INFLATES: u8 = 16;

/// Longer than the longest control frame, short enough to be exceeded by a fuzzer's inputs.
const MAX_MESSAGE: usize = 200;

fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let broken = bad_inputs::FRAMES.iter().map(|(_, frames, _)| {
        let bytes: Vec<u8> = frames.iter().flat_map(|(first, payload)| seeds::frame(*first, payload)).collect();
        [&[2, 1, 3][..], &bytes].concat()
    });
    let good = [
        seeds::frame(0x81, b"42[\"a\"]"),
        [seeds::frame(0x01, b"4"), seeds::frame(0x89, b"p"), seeds::frame(0x80, b"2")].concat(),
        seeds::frame(0x82, &[7; 190]),
        seeds::frame(0x88, b"\x03\xe8bye"),
    ];
    let text = b"42[\"again\",\"and again and again and again and again\"]";
    let packed = deflate_frames(&[&[0x81, text.len() as u8][..], text].concat(), 1).unwrap_or_default();
    let packed = packed.get(2..).unwrap_or_default();
    let compressed = [
        seeds::frame(0xc1, packed),
        [seeds::frame(0x42, &packed[..9]), seeds::frame(0x89, b"p"), seeds::frame(0x80, &packed[9..])].concat(),
        // "Hello" in a block that says that it is the last, in one without compression, and in two.
        seeds::frame(0xc1, b"\xf3\x48\xcd\xc9\xc9\x07\0\0"),
        seeds::frame(0xc1, b"\0\x05\0\xfa\xffHello\0"),
        seeds::frame(0xc1, b"\xf2\x48\x05\0\0\0\xff\xff\xca\xc9\xc9\x07\0"),
    ];
    let compressed = compressed.into_iter().map(|bytes| [&[INFLATES | 1, 2][..], &bytes].concat());
    broken
        .chain(good.into_iter().map(|bytes| [&[1, 2][..], &bytes].concat()))
        .chain(compressed)
}

fn decoder(inflates: bool) -> Decoder {
    if inflates {
        Decoder::inflating(MAX_MESSAGE)
    } else {
        Decoder::new(MAX_MESSAGE)
    }
}

fn feed(decoder: &mut Decoder, bytes: &[u8], messages: &mut Vec<String>) -> Result<(), Violation> {
    let mut bytes = bytes.to_vec();
    let mut rest = bytes.as_mut_slice();
    loop {
        let empty = rest.is_empty();
        let (consumed, message) = decoder.decode(rest)?;
        assert_eq!(consumed == 0, empty, "a call made no progress");
        if let Some(Message::Text(text)) = message {
            assert!(text.len() <= MAX_MESSAGE);
        }
        if let Some(Message::Binary(bytes)) = message {
            assert!(bytes.len() <= MAX_MESSAGE);
        }
        messages.extend(message.map(|message| format!("{message:?}")));
        if empty {
            return Ok(());
        }
        rest = &mut mem::take(&mut rest)[consumed..];
    }
}

fuzz_target!(init: seeds::plant(seeds()), |input: &[u8]| {
    let Some((&count, rest)) = input.split_first() else { return };
    let (cuts, mut bytes) = rest.split_at(usize::from(count % 16).min(rest.len()));
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    let inflates = count & INFLATES != 0;
    let mut alone = decoder(inflates);
    let at_once = feed(&mut alone, bytes, &mut whole);
    let mut decoder = decoder(inflates);
    let mut in_parts = Ok(());
    for cut in cuts {
        let (part, rest) = bytes.split_at(usize::from(*cut).min(bytes.len()));
        bytes = rest;
        in_parts = in_parts.and_then(|()| feed(&mut decoder, part, &mut parts));
    }
    in_parts = in_parts.and_then(|()| feed(&mut decoder, bytes, &mut parts));
    assert_eq!((at_once, whole, alone.is_pending()), (in_parts, parts, decoder.is_pending()));
});
