//! Messages of a client that speaks msgpack: no panic, and whatever is accepted is within the limits, has the shape of its kind, and
//! comes back the same when it is forwarded.

#![no_main]

use bytes::Bytes;
use fanfare::protocol::socketio::{Assembled, Decoded, Encoded, Kind, Limits, Message, MsgpackParser, Parser as _};
use libfuzzer_sys::fuzz_target;

#[path = "../../it/bad_inputs.rs"]
#[allow(dead_code)]
mod bad_inputs;
#[path = "../../../src/protocol/socketio/msgpack/golden.rs"]
mod golden;
#[path = "../seeds.rs"]
#[allow(dead_code)]
mod seeds;

const LIMITS: Limits = Limits {
    max_attachments: 3,
    max_depth: 16,
    max_bytes: 2000,
};

/// Bad packets; and as the argument of an event and alone, every value of the reference and those that are none.
fn seeds() -> impl Iterator<Item = Vec<u8>> {
    let packets = bad_inputs::MSGPACK.iter().chain(bad_inputs::MSGPACK_STATES).map(|(_, hex)| bytes(hex));
    let good = golden::VALUES.iter().map(|(_, hex, _, _)| *hex);
    let values = good.chain(bad_inputs::MSGPACK_VALUES.iter().map(|(_, hex)| *hex)).map(bytes);
    packets.chain(values.flat_map(|value| {
        let event = [b"\x83\xa4type\x02\xa4data\x92\xa1e", value.as_slice(), b"\xa3nsp\xa1/"].concat();
        [event, value]
    }))
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter_map(|digit| char::from(digit).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn take(message: Vec<u8>, limits: &Limits) -> Option<Assembled<'static>> {
    match MsgpackParser.decode(Message::Binary(message.into()), limits) {
        Ok(Decoded::Packet(assembled)) => Some(assembled),
        Ok(Decoded::Pending(pending)) => panic!("a packet is one message: {pending:?}"),
        Err(_) => None,
    }
}

fuzz_target!(init: seeds::plant(seeds()), |input: &[u8]| {
    let Some(assembled) = take(input.to_vec(), &LIMITS) else { return };
    let Ok(Encoded::Binary(forwarded)) = MsgpackParser.encode(&assembled.packet, &assembled.attachments) else {
        panic!("cannot be forwarded: {assembled:?}")
    };
    let generous = Limits {
        max_bytes: 1 << 16,
        ..LIMITS
    };
    let again = take(forwarded, &generous);
    // The data of a CONNECT is plain JSON, which is written otherwise than it was read.
    if assembled.packet.kind == Kind::Connect {
        assert!(again.is_some(), "{assembled:?}");
    } else {
        assert_eq!(again.as_ref(), Some(&assembled));
    }
    let kind = assembled.packet.kind;
    let payload = assembled.into_payload();
    assert!(payload.size() <= LIMITS.max_bytes + 200, "one value beyond the limit at most");
    if kind == Kind::Event {
        let (_, arguments) = payload.as_event().expect("an event has a name");
        drop(arguments.decode::<(Option<Bytes>, Option<i64>, Option<String>)>());
    }
});
