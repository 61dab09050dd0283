//! The body of a polling request, of both revisions: no panic, and the packets before the first broken one are encoded to the same
//! again.

#![no_main]

use fanfare::protocol::engineio::payload::{self, Form};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
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
