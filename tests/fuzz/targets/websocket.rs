//! Client frames, read at once and in two parts: no panic, progress at every call, and the same messages.

#![no_main]

use std::mem;

use fanfare::protocol::websocket::{Decoder, Violation};
use libfuzzer_sys::fuzz_target;

/// Longer than the longest control frame, short enough to be exceeded by a fuzzer's inputs.
const MAX_MESSAGE: usize = 200;

fn feed(decoder: &mut Decoder, bytes: &[u8], messages: &mut Vec<String>) -> Result<(), Violation> {
    let mut bytes = bytes.to_vec();
    let mut rest = bytes.as_mut_slice();
    loop {
        let empty = rest.is_empty();
        let (consumed, message) = decoder.decode(rest)?;
        assert_eq!(consumed == 0, empty, "a call made no progress");
        messages.extend(message.map(|message| format!("{message:?}")));
        if empty {
            return Ok(());
        }
        rest = &mut mem::take(&mut rest)[consumed..];
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&place, bytes)) = input.split_first() else { return };
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    let at_once = feed(&mut Decoder::new(MAX_MESSAGE), bytes, &mut whole);
    let (first, second) = bytes.split_at(usize::from(place).min(bytes.len()));
    let mut decoder = Decoder::new(MAX_MESSAGE);
    let in_parts = feed(&mut decoder, first, &mut parts).and_then(|()| feed(&mut decoder, second, &mut parts));
    assert_eq!((at_once, whole), (in_parts, parts));
});
