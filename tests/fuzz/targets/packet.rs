//! Engine.IO packets of both revisions, as text and as the data of a binary frame: no panic, and what is accepted is encoded to what
//! is accepted as the same.

#![no_main]

use fanfare::protocol::engineio::{Packet, Revision, decode_binary, decode_text};
use libfuzzer_sys::fuzz_target;

#[path = "../../it/bad_inputs.rs"]
#[allow(dead_code)]
mod bad_inputs;
#[path = "../seeds.rs"]
#[allow(dead_code)]
mod seeds;

fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let texts = bad_inputs::TEXT.iter().chain(bad_inputs::HARMLESS);
    texts.chain(&["2probe", "3probe", "5", "6", "1", "bAQIDBA==", "b4AQIDBA=="]).map(|text| text.as_bytes().to_vec())
}

fuzz_target!(init: seeds::plant(seeds()), |input: &[u8]| {
    for revision in [Revision::V3, Revision::V4] {
        if let Ok(Packet::Binary(data)) = decode_binary(input, revision) {
            assert!(data.len() <= input.len());
        }
        let Some(packet) = std::str::from_utf8(input).ok().and_then(|text| decode_text(text, revision).ok()) else {
            continue;
        };
        let mut text = String::new();
        packet.encode_text(revision, &mut text);
        assert_eq!(decode_text(&text, revision), Ok(packet));
    }
});
