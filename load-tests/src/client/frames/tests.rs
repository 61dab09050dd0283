//! Frames against tungstenite as the judge.

use std::io::{self, Cursor, Read, Write};

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

use super::*;

/// What came out, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Close,
}

/// Everything that is read, in pieces of these sizes, one after the other; and whether it broke the protocol.
fn decode(bytes: &[u8], pieces: &[usize]) -> (Vec<Seen>, Option<FrameError>) {
    let mut decoder = Decoder::default();
    let mut seen = Vec::new();
    let mut rest = bytes;
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap_or(&1)));
        rest = behind;
        let decoded = decoder.decode(piece, &mut |frame| {
            seen.push(match frame {
                Frame::Text(text) => Seen::Text(text.to_owned()),
                Frame::Binary(bytes) => Seen::Binary(bytes.to_vec()),
                Frame::Ping(bytes) => Seen::Ping(bytes.to_vec()),
                Frame::Close => Seen::Close,
            });
        });
        if let Err(error) = decoded {
            return (seen, Some(error));
        }
    }
    // The parts of a text are not looked at before the last one has come.
    let begun = decoder.fragments.filter(|fragments| fragments.kind == TEXT);
    let wrong = begun.is_some_and(|fragments| std::str::from_utf8(&fragments.payload).is_err_and(|error| error.error_len().is_some()));
    (seen, wrong.then_some(FrameError::Utf8))
}

/// A connection whose other end has said this, and nothing more.
struct Said(Cursor<Vec<u8>>);

impl Read for Said {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            read => Ok(read),
        }
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What tungstenite sees of the same bytes, as `role`; and whether it found them to break the protocol.
fn judge(bytes: &[u8], role: Role) -> (Vec<Seen>, bool) {
    let config = WebSocketConfig::default()
        .max_message_size(Some(64 << 20))
        .max_frame_size(Some(64 << 20));
    let mut judge = WebSocket::from_raw_socket(Said(Cursor::new(bytes.to_vec())), role, Some(config));
    let mut seen = Vec::new();
    loop {
        match judge.read() {
            Ok(Message::Text(text)) => seen.push(Seen::Text(text.to_string())),
            Ok(Message::Binary(bytes)) => seen.push(Seen::Binary(bytes.to_vec())),
            Ok(Message::Ping(bytes)) => seen.push(Seen::Ping(bytes.to_vec())),
            Ok(Message::Close(_)) => {
                seen.push(Seen::Close);
                return (seen, false);
            }
            Ok(_) => {}
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (seen, false),
            Err(_) => return (seen, true),
        }
    }
}

/// The bytes of a frame of a server, whatever its bits say.
fn raw(first: u8, payload: &[u8], form: u8) -> Vec<u8> {
    let mut bytes = vec![first];
    match (form, payload.len()) {
        (0, short @ 0..=125) => bytes.push(short as u8),
        (0 | 1, medium @ 0..=0xffff) => {
            bytes.push(126);
            bytes.extend((medium as u16).to_be_bytes());
        }
        (_, long) => {
            bytes.push(127);
            bytes.extend((long as u64).to_be_bytes());
        }
    }
    bytes.extend(payload);
    bytes
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => "[a-zé€]{0,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..140),
        1 => (0..70_000_usize).prop_map(|length| vec![b'x'; length]),
    ]
}

/// Frames as servers send them: whole messages, and fragmented ones with control frames between the parts.
fn sensible() -> impl Strategy<Value = Vec<u8>> {
    let control = || prop_oneof![Just(PING), Just(PONG)].prop_map(|kind| raw(FIN | kind, b"beat", 0));
    let whole =
        (prop_oneof![Just(TEXT), Just(BINARY)], payload(), 0..3_u8).prop_map(|(kind, payload, form)| raw(FIN | kind, &payload, form));
    let parts = (
        prop_oneof![Just(TEXT), Just(BINARY)],
        prop::collection::vec((payload(), prop::option::of(control())), 2..5),
    )
        .prop_map(|(kind, parts)| {
            let last = parts.len() - 1;
            let part = |(number, (payload, control)): (usize, (Vec<u8>, Option<Vec<u8>>))| {
                let kind = if number == 0 { kind } else { CONTINUATION };
                let mut bytes = raw(if number == last { FIN | kind } else { kind }, &payload, 0);
                bytes.extend(control.unwrap_or_default());
                bytes
            };
            parts.into_iter().enumerate().flat_map(part).collect()
        });
    prop_oneof![6 => whole, 2 => parts, 1 => control(), 1 => Just(raw(FIN | CLOSE, &1000_u16.to_be_bytes(), 0))]
}

/// Frames with any bits.
fn odd() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop_oneof![Just(CONTINUATION), Just(TEXT), Just(BINARY), Just(PING), Just(PONG), 0..16_u8];
    let first = (kinds, any::<bool>(), prop_oneof![9 => Just(0_u8), 1 => any::<u8>()])
        .prop_map(|(kind, fin, reserved)| kind | if fin { FIN } else { 0 } | reserved & 0x70);
    (first, payload(), 0..3_u8, prop_oneof![15 => Just(0_u8), 1 => Just(0x80)]).prop_map(|(first, payload, form, masked)| {
        let mut bytes = raw(first, &payload, form);
        bytes[1] |= masked;
        if masked != 0 {
            // The key, somewhere.
            bytes.extend([0; 4]);
        }
        bytes
    })
}

/// Up to the first close frame: behind it nothing counts.
fn until_close(mut seen: Vec<Seen>) -> Vec<Seen> {
    if let Some(close) = seen.iter().position(|one| *one == Seen::Close) {
        seen.truncate(close + 1);
    }
    seen
}

proptest! {
    #[test]
    fn what_is_read_is_what_tungstenite_reads_however_it_is_split(
        frames in prop::collection::vec(prop_oneof![9 => sensible(), 1 => odd()], 0..8),
        pieces in prop::collection::vec(prop_oneof![1..6_usize, 1..300_usize, 1..100_000_usize], 1..6),
    ) {
        let bytes = frames.concat();
        let (seen, error) = decode(&bytes, &pieces);
        let (judged, broken) = judge(&bytes, Role::Client);
        let mut seen = until_close(seen);
        if broken && seen.last() == Some(&Seen::Close) {
            // It wants close frames to say what is right; here one is the end whatever it says.
            seen.pop();
        } else {
            prop_assert_eq!(error.is_some() && seen.last() != Some(&Seen::Close), broken, "{:?}", error);
        }
        if broken {
            // It looks at each part of a text, where this waits for the whole: control frames between the parts are still seen.
            prop_assert!(seen.starts_with(&judged), "{:?} {:?}", seen, judged);
            prop_assert!(seen[judged.len()..].iter().all(|one| matches!(one, Seen::Ping(_))), "{:?} {:?}", seen, judged);
        } else {
            prop_assert_eq!(seen, judged);
        }
    }

    #[test]
    fn what_is_sent_is_what_tungstenite_reads(messages in prop::collection::vec((any::<bool>(), payload()), 0..6)) {
        let (mut bytes, mut sent) = (Vec::new(), Vec::new());
        for (ping, payload) in messages {
            if ping && payload.len() <= 125 {
                pong(&mut bytes, &payload);
            } else if let Ok(payload) = String::from_utf8(payload) {
                text(&mut bytes, &payload);
                sent.push(Seen::Text(payload));
            }
        }
        close(&mut bytes);
        sent.push(Seen::Close);
        prop_assert_eq!(judge(&bytes, Role::Server), (sent, false));
    }
}

#[test]
fn masks_differ_and_no_buffer_is_kept_for_a_large_message() {
    assert_ne!(mask(), mask());
    let mut decoder = Decoder::default();
    let large = raw(FIN | TEXT, &[b'x'; 100_000], 0);
    let mut seen = 0;
    for piece in large.chunks(60_000) {
        decoder.decode(piece, &mut |_| seen += 1).unwrap();
    }
    assert_eq!((seen, decoder.kept.capacity()), (1, 0));
}

#[test]
fn a_message_beyond_the_bound_is_refused_before_it_is_read() {
    let mut bytes = vec![FIN | TEXT, 127];
    bytes.extend((LARGEST + 1).to_be_bytes());
    assert_eq!(decode(&bytes, &[3]).1, Some(FrameError::TooLarge(LARGEST + 1)));
}
