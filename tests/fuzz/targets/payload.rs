//! The body of a polling request, of both revisions: no panic, and the packets before the first broken one are encoded to the same
//! again.

#![no_main]

use fanfare::protocol::engineio::payload::{self, Form};
use libfuzzer_sys::fuzz_target;

#[path = "../../it/bad_inputs.rs"]
#[allow(dead_code)]
mod bad_inputs;
#[path = "../seeds.rs"]
#[allow(dead_code)]
mod seeds;

fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let bodies = bad_inputs::BODIES.iter().map(|(_, body)| body.to_vec());
    let texts = || bad_inputs::TEXT.iter().chain(bad_inputs::HARMLESS).filter(|text| !text.is_empty());
    let separated = texts().copied().collect::<Vec<_>>().join("\x1e");
    let counted: String = texts().map(|text| format!("{}:{text}", text.encode_utf16().count())).collect();
    let binary = b"\0\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04".to_vec();
    bodies.chain([separated.into(), counted.into(), binary])
}

fuzz_target!(init: seeds::plant(seeds()), |input: &[u8]| {
    for form in [Form::Separated, Form::Counted, Form::Binary] {
        let packets: Vec<_> = payload::decode(input, form).map_while(Result::ok).collect();
        let mut body = Vec::new();
        for packet in &packets {
            payload::push(&mut body, packet, form);
        }
        if !packets.is_empty() {
            assert_eq!(payload::decode(&body, form).collect::<Result<Vec<_>, _>>(), Ok(packets));
        }
    }
});
