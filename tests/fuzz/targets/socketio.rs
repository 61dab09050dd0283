//! Messages of a client through the assembler: no panic, and whatever is accepted can be forwarded, split and encoded again.
//!
//! Messages are separated by 0x1e; one that is not UTF-8 is binary.

#![no_main]

use bytes::Bytes;
use fanfare::protocol::socketio::{Assembler, JsonParser, Kind, Limits, Message, text};
use libfuzzer_sys::fuzz_target;

#[path = "../../it/bad_inputs.rs"]
#[allow(dead_code)]
mod bad_inputs;
#[path = "../seeds.rs"]
#[allow(dead_code)]
mod seeds;

fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let texts = bad_inputs::TEXT.iter().chain(bad_inputs::HARMLESS);
    let packets = texts.filter_map(|text| text.strip_prefix('4')).map(|text| text.as_bytes().to_vec());
    let attached = br#"52-/chat,12["e",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]"#;
    packets.chain([
        [&attached[..], b"\x1e\xff\x01\x1e\xfe"].concat(),
        br#"0/chat?a=b,{"token":"x"}"#.to_vec(),
        br#"2/chat,9007199254740991["e",{"a":[1.5e3,null,true,"\u00e4\ud83d\ude00"]}]"#.to_vec(),
        br#"61-3[{"_placeholder":true,"num":0}]"#.to_vec(),
        br#"4/chat,{"message":"no","data":{}}"#.to_vec(),
    ])
}

fuzz_target!(init: seeds::plant(seeds()), |input: &[u8]| {
    let limits = Limits {
        max_bytes: 4096,
        ..Limits::default()
    };
    let mut assembler = Assembler::new();
    for message in input.split(|byte| *byte == 0x1e) {
        let message = match std::str::from_utf8(message) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(Bytes::copy_from_slice(message)),
        };
        let Ok(Some(assembled)) = assembler.take(message, &JsonParser, &limits) else {
            continue;
        };
        let packet = assembled.packet.clone();
        // The canonical text can be longer, by the comma behind a namespace.
        let generous = Limits {
            max_bytes: usize::MAX,
            ..limits
        };
        assert_eq!(text::decode(&text::encode(&packet), &generous), Ok(packet.clone()));
        let payload = assembled.into_payload();
        assert!(payload.size() <= limits.max_bytes + 2);
        // One without data has no name, and nobody is meant by it.
        if packet.kind == Kind::Event && packet.data.is_some() {
            let (name, arguments) = payload.as_event().expect("an event has a name");
            assert!(arguments.to_event(&name).is_ok());
            drop(arguments.decode::<(Option<Bytes>, Option<u64>, Option<String>)>());
        }
    }
});
