//! The body of a polling request: no panic, and the packets before the first broken one are encoded to the same again.

#![no_main]

use fanfare::protocol::engineio::payload;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let packets: Vec<_> = payload::decode(input).map_while(Result::ok).collect();
    let mut body = String::new();
    for packet in &packets {
        payload::push(&mut body, packet);
    }
    if !packets.is_empty() {
        assert_eq!(payload::decode(body.as_bytes()).collect::<Result<Vec<_>, _>>(), Ok(packets));
    }
});
