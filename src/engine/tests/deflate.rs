//! permessage-deflate: compressed once, for those who agreed on it, and expanded within the bounds.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    engine::{PerMessageDeflate, Pushed, Revision},
    protocol::websocket::deflate_frames,
};

const THRESHOLD: usize = 100;
/// Short, but it gets shorter.
const FIRST: &str = "4first first first first first first";
const OFFER: &str = "permessage-deflate; client_max_window_bits";

fn bench() -> Bench {
    Bench::new(Config {
        per_message_deflate: Some(PerMessageDeflate { threshold: THRESHOLD }),
        allow_eio3: true,
        ..Config::default()
    })
}

/// The bytes of a connection, as they are sent.
struct Raw(DuplexStream);

#[derive(Debug, PartialEq, Eq)]
struct Frame {
    /// The first byte: 0xc1 is a compressed text, 0x81 one that is not.
    first: u8,
    payload: Vec<u8>,
}

impl Frame {
    /// What was compressed, as another implementation reads it.
    fn message(&self) -> Vec<u8> {
        match self.first & 0x40 {
            0 => self.payload.clone(),
            _ => miniz_oxide::inflate::decompress_to_vec(&[&self.payload[..], &[0, 0, 0xff, 0xff, 3, 0]].concat()).unwrap(),
        }
    }
}

impl Raw {
    async fn frame(&mut self) -> Frame {
        let [first, length] = self.bytes::<2>().await;
        let length = match length {
            126 => u64::from(u16::from_be_bytes(self.bytes().await)),
            127 => u64::from_be_bytes(self.bytes().await),
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await.unwrap();
        Frame { first, payload }
    }

    async fn bytes<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        self.0.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// Sends a text, compressed; its mask is of zeros.
    async fn send(&mut self, text: &str) {
        let mut frame = vec![0x81, 127];
        frame.extend((text.len() as u64).to_be_bytes());
        frame.extend(text.as_bytes());
        let deflated = deflate_frames(&frame, 1).unwrap();
        let header = match deflated[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        self.send_frame(0xc1, &deflated[header..]).await;
    }

    async fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let mut frame = vec![first, 0xff];
        frame.extend((payload.len() as u64).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }
}

impl Bench {
    /// Opens a session, whose client agrees on compression or does not.
    async fn open_raw(&mut self, client: &str, deflates: bool) -> (Handle, Raw) {
        let (server, stream) = tokio::io::duplex(1 << 20);
        let mut upgrade = self.engine.upgrade(&format!("{client}&transport=websocket"), None).unwrap();
        assert_eq!(upgrade.negotiate(deflates.then_some(OFFER)).is_some(), deflates);
        let Upgrade::Open(admission) = upgrade else { panic!("{upgrade:?}") };
        admission.admit(arrival()).unwrap().open_websocket(Io::Boxed(Box::new(server)), &[]);
        let mut raw = Raw(stream);
        assert_eq!(raw.frame().await.first, 0x81, "the first packet is short");
        (self.opened().await, raw)
    }

    fn deflated(&self) -> u64 {
        self.engine.counters().messages_deflated.get()
    }
}

fn long() -> String {
    "a text with something to gain ".repeat(100)
}

#[tokio::test(start_paused = true)]
async fn nothing_is_agreed_on_unless_it_was_configured() {
    let bench = Bench::new(Config::default());
    let mut upgrade = bench.engine.upgrade("EIO=4&transport=websocket", None).unwrap();
    assert_eq!(upgrade.negotiate([OFFER]), None);
}

#[tokio::test(start_paused = true)]
async fn a_message_to_many_is_compressed_once_for_those_who_agreed() {
    let mut bench = bench();
    let mut sessions = Vec::new();
    for number in 0..10 {
        sessions.push(bench.open_raw(["EIO=4", "EIO=3"][number % 2], number % 5 != 0).await);
    }
    let message = Outgoing::new(&[&long()], &[]);
    for (session, _) in &sessions {
        assert_eq!(session.push(&message), Pushed::Queued);
    }
    assert_eq!(bench.deflated(), 1);
    let whole = message.frames().len();
    for (number, (session, _)) in sessions.iter().enumerate() {
        let waiting = session.waiting();
        assert!(
            if number % 5 == 0 { waiting == whole } else { waiting < whole / 10 },
            "{number}: {waiting}"
        );
    }
    let mut compressed = Vec::new();
    for (number, (_, client)) in sessions.iter_mut().enumerate() {
        let frame = client.frame().await;
        assert_eq!(frame.first, if number % 5 == 0 { 0x81 } else { 0xc1 }, "{number}");
        assert_eq!(String::from_utf8(frame.message()).unwrap(), format!("4{}", long()));
        compressed.extend((number % 5 != 0).then_some(frame));
    }
    assert!(compressed.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(bench.deflated(), 1);
}

#[tokio::test(start_paused = true)]
async fn short_messages_and_those_that_say_so_go_as_they_are() {
    let mut bench = bench();
    let (session, mut client) = bench.open_raw("EIO=4", true).await;
    for (message, compressed) in [
        (Outgoing::new(&[&"x".repeat(THRESHOLD - 2)], &[]), false),
        (Outgoing::new(&[&"x".repeat(THRESHOLD - 1)], &[]), true),
        (Outgoing::new(&[&long()], &[]).uncompressed(), false),
    ] {
        session.push(&message);
        let frame = client.frame().await;
        assert_eq!(frame.first, if compressed { 0xc1 } else { 0x81 });
        assert_eq!(frame.message(), format!("4{}", message.text()).into_bytes());
    }
    assert_eq!(bench.deflated(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_frame_of_a_message_decides_for_itself_in_every_dialect() {
    let mut bench = bench();
    let attachments = [Bytes::from(vec![7; 5000]), Bytes::from_static(b"short")];
    let message = Outgoing::new(&["52-", "[\"e\"]"], &attachments);
    let mut clients = Vec::new();
    for (client, firsts) in [
        ("EIO=4", [0x81, 0xc2, 0x82]),
        ("EIO=3", [0x81, 0xc2, 0x82]),
        ("EIO=4&b64=1", [0x81, 0xc1, 0x81]),
        ("EIO=3&b64=1", [0x81, 0xc1, 0x81]),
    ] {
        let (session, mut raw) = bench.open_raw(client, true).await;
        let (other, mut plain) = bench.open_raw(client, false).await;
        session.push(&message);
        other.push(&message);
        assert!(session.waiting() < 200 && other.waiting() > 5000, "{client}");
        for first in firsts {
            let frame = raw.frame().await;
            assert_eq!(frame.first, first, "{client}");
            assert_eq!(frame.message(), plain.frame().await.payload, "{client}");
        }
        clients.push((raw, plain));
    }
    assert_eq!(bench.deflated(), 4, "once a dialect");
}

#[tokio::test(start_paused = true)]
async fn a_volatile_message_that_is_dropped_is_not_compressed() {
    let mut bench = bench();
    let (session, mut client) = bench.open_raw("EIO=4", true).await;
    session.push(&Outgoing::new(&["waits"], &[]));
    assert_eq!(session.push_volatile(&Outgoing::new(&[&long()], &[])), Pushed::Dropped);
    assert_eq!(bench.deflated(), 0);
    assert_eq!(client.frame().await.payload, b"4waits");
    session.close(CloseReason::ForcedServerClose);
    assert_eq!(client.frame().await.first, 0x88);
    assert_eq!(session.push(&Outgoing::new(&[&long()], &[])), Pushed::Closed);
    assert_eq!(bench.deflated(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_agrees_for_itself_and_what_waited_goes_as_it_is() {
    let mut bench = bench();
    let (session, query) = bench.poll_open_as("EIO=3").await;
    session.push(&Outgoing::new(&[&long()], &[]));
    assert!(!session.deflates());
    let (server, stream) = tokio::io::duplex(1 << 20);
    let mut upgrade = bench.engine.upgrade(&query.replace("polling", "websocket"), None).unwrap();
    assert!(upgrade.negotiate([OFFER]).is_some());
    let Upgrade::Probe(candidate) = upgrade else {
        panic!("{upgrade:?}")
    };
    candidate.probe(Io::Boxed(Box::new(server)), &[]);
    let mut client = Raw(stream);
    client.send_frame(0x81, b"2probe").await;
    assert_eq!(client.frame().await.payload, b"3probe");
    client.send_frame(0x81, b"5").await;
    let frame = client.frame().await;
    assert_eq!((frame.first, frame.payload.len()), (0x81, 1 + long().len()));
    assert!(session.deflates());
    client.send(&format!("4{}", long())).await;
    let echo = client.frame().await;
    assert_eq!((echo.first, echo.message()), (0xc1, format!("4{}", long()).into_bytes()));
    assert_eq!(bench.engine.counters().upgraded.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_compressed_is_bounded_by_what_it_expands_to() {
    let bomb = deflate_frames(&[&[0x82, 127][..], &8_000_000_u64.to_be_bytes(), &[0; 8_000_000]].concat(), 1).unwrap();
    let bomb = &bomb[4..];
    for (first, payload, code) in [
        (0xc2, bomb, 1009_u16),
        (0xc1, b"garbage", 1007),
        (0xc9, b"", 1002),
        (0xa1, b"4x", 1002),
        (0xc0, b"", 1002),
    ] {
        let mut bench = bench();
        let (_, mut client) = bench.open_raw("EIO=4", true).await;
        client.send(FIRST).await;
        assert_eq!(client.frame().await.message(), FIRST.as_bytes());
        client.send_frame(first, payload).await;
        let frame = client.frame().await;
        assert_eq!((frame.first, frame.payload), (0x88, code.to_be_bytes().to_vec()), "{first:x}");
        assert_eq!(bench.closed().await, CloseReason::TransportError, "{first:x}");
    }
    let mut bench = bench();
    let (_, mut client) = bench.open_raw("EIO=4", false).await;
    client.send(FIRST).await;
    assert_eq!(client.frame().await.payload, 1002_u16.to_be_bytes(), "where it was not agreed on");
    assert_eq!(bench.closed().await, CloseReason::TransportError);
}

#[test]
fn a_message_that_was_counted_as_it_is_stays_so() {
    let dialect = |deflate_from| super::super::dialect::Dialect {
        revision: Revision::V4,
        base64: false,
        deflate_from: std::num::NonZeroU32::new(deflate_from),
    };
    let message = Outgoing::new(&[&long()], &[]);
    assert_eq!(message.frames_in(dialect(100)), message.frames());
    assert!(!message.deflate(dialect(100)));
    assert_eq!(message.frames_in(dialect(100)), message.frames());
    // What another threshold made of it stays, too, for all that compress it.
    let message = Outgoing::new(&[&long()], &[]);
    assert!(message.deflate(dialect(100)));
    assert!(!message.deflate(dialect(1000)));
    assert_eq!(message.frames_in(dialect(1000)).as_ptr(), message.frames_in(dialect(100)).as_ptr());
    assert_eq!(message.frames_in(dialect(100_000)), message.frames());
}
