//! What a client writes and reads, by itself: payloads of both revisions, frames of its WebSocket. Nothing here is the code under test.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// A packet: a text with its type, or the data of a binary message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Packet {
    Text(String),
    Binary(Vec<u8>),
}

/// The text form of a packet.
fn text(packet: &Packet, revision_3: bool) -> String {
    match packet {
        Packet::Text(text) => text.clone(),
        Packet::Binary(data) => format!("b{}{}", if revision_3 { "4" } else { "" }, STANDARD.encode(data)),
    }
}

fn packet(text: &str, revision_3: bool) -> Packet {
    let binary = text.strip_prefix(if revision_3 { "b4" } else { "b" });
    match binary {
        Some(data) => Packet::Binary(STANDARD.decode(data).expect("base64 of the server")),
        None => Packet::Text(text.to_owned()),
    }
}

/// The body of a POST.
pub(super) fn payload(packets: &[Packet], revision_3: bool) -> Vec<u8> {
    let texts = packets.iter().map(|packet| text(packet, revision_3));
    if revision_3 {
        let counted = texts.map(|text| format!("{}:{text}", text.encode_utf16().count()));
        return counted.collect::<String>().into_bytes();
    }
    texts.collect::<Vec<_>>().join("\x1e").into_bytes()
}

/// The packets of an answer to a poll.
pub(super) fn packets(body: &[u8], binary: bool, revision_3: bool) -> Vec<Packet> {
    if binary {
        return binary_packets(body);
    }
    let body = std::str::from_utf8(body).expect("text of the server");
    if !revision_3 {
        return body.split('\x1e').map(|text| packet(text, false)).collect();
    }
    let mut found = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (length, behind) = rest.split_once(':').expect("a length before a packet");
        let length: usize = length.parse().expect("a length in digits");
        let mut units = 0;
        let whole = behind.char_indices().find_map(|(at, character)| {
            let here = (units >= length).then_some(at);
            units += character.len_utf16();
            here
        });
        let (one, more) = behind.split_at(whole.unwrap_or(behind.len()));
        assert_eq!(one.encode_utf16().count(), length, "{body:?}");
        found.push(packet(one, true));
        rest = more;
    }
    found
}

/// Of revision 3: a byte, 0 for text; the digits of the length as bytes; 255; the packet.
fn binary_packets(mut body: &[u8]) -> Vec<Packet> {
    let mut found = Vec::new();
    while let Some((kind, rest)) = body.split_first() {
        let digits = rest.iter().position(|byte| *byte == 255).expect("the end of a length");
        let length = rest[..digits].iter().fold(0, |length, digit| length * 10 + usize::from(*digit));
        let (one, more) = rest[digits + 1..].split_at(length);
        found.push(match kind {
            0 => Packet::Text(String::from_utf8(one.to_vec()).expect("text of the server")),
            _ => Packet::Binary(one.strip_prefix(&[4]).expect("a message").to_vec()),
        });
        body = more;
    }
    found
}

/// What came in a frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Packet(Packet),
    Pong,
    Close,
}

/// The client's end of a WebSocket: bytes go as far as they can, and come when they are asked for.
#[derive(Debug)]
pub(super) struct Wire {
    stream: DuplexStream,
    unsent: Vec<u8>,
    unread: Vec<u8>,
    revision_3: bool,
    pub(super) ended: bool,
}

impl Wire {
    pub(super) fn new(stream: DuplexStream, revision_3: bool) -> Self {
        Self {
            stream,
            unsent: Vec::new(),
            unread: Vec::new(),
            revision_3,
            ended: false,
        }
    }

    /// Sends a packet, in so many frames.
    pub(super) fn send(&mut self, packet: &Packet, pieces: usize) {
        let (opcode, payload) = match packet {
            Packet::Text(text) => (1, text.as_bytes().to_vec()),
            Packet::Binary(data) if self.revision_3 => (2, [&[4], data.as_slice()].concat()),
            Packet::Binary(data) => (2, data.clone()),
        };
        let size = payload.len().div_ceil(pieces.max(1)).max(1);
        let mut parts: Vec<&[u8]> = payload.chunks(size).collect();
        if parts.is_empty() {
            parts.push(&[]);
        }
        for (number, part) in parts.iter().enumerate() {
            let last = if number + 1 == parts.len() { 0x80 } else { 0 };
            self.send_frame(last | if number == 0 { opcode } else { 0 }, part);
        }
    }

    /// Sends a frame, masked with zeros.
    pub(super) fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.unsent.push(first);
        match u8::try_from(payload.len()) {
            Ok(length @ 0..=125) => self.unsent.push(0x80 | length),
            _ => {
                self.unsent.push(0xfe);
                self.unsent
                    .extend(u16::try_from(payload.len()).expect("short frames").to_be_bytes());
            }
        }
        self.unsent.extend([0; 4]);
        self.unsent.extend(payload);
    }

    pub(super) fn send_raw(&mut self, bytes: &[u8]) {
        self.unsent.extend(bytes);
    }

    /// Writes what the connection takes now; says whether it took anything.
    pub(super) fn pump(&mut self) -> bool {
        let before = self.unsent.len();
        while !self.unsent.is_empty()
            && let Some(Ok(written)) = self.stream.write(&self.unsent).now_or_never()
            && written > 0
        {
            self.unsent.drain(..written);
        }
        self.unsent.len() < before
    }

    /// Reads so many bytes at most; says whether there were any.
    pub(super) fn read(&mut self, most: usize) -> bool {
        let mut buffer = vec![0; most];
        match self.stream.read(&mut buffer).now_or_never() {
            Some(Ok(length)) if length > 0 => {
                self.unread.extend(&buffer[..length]);
                true
            }
            Some(_) if most > 0 => {
                self.ended = true;
                false
            }
            _ => false,
        }
    }

    /// The next whole frame of those that were read.
    pub(super) fn frame(&mut self) -> Option<Frame> {
        let [first, second, ..] = *self.unread.as_slice() else {
            return None;
        };
        let (header, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(*self.unread.get(2..)?.first_chunk()?))),
            127 => (
                10,
                usize::try_from(u64::from_be_bytes(*self.unread.get(2..)?.first_chunk()?)).expect("a length"),
            ),
            short => (2, usize::from(short)),
        };
        let payload = self.unread.get(header..header + length)?.to_vec();
        self.unread.drain(..header + length);
        assert_eq!(first & 0xf0, 0x80, "frames of the server are final");
        Some(match first & 0x0f {
            1 => {
                let text = String::from_utf8(payload).expect("text of the server");
                Frame::Packet(Packet::Text(text))
            }
            2 if self.revision_3 => Frame::Packet(Packet::Binary(payload.strip_prefix(&[4]).expect("a message").to_vec())),
            2 => Frame::Packet(Packet::Binary(payload)),
            8 => Frame::Close,
            10 => Frame::Pong,
            other => panic!("a frame of opcode {other}"),
        })
    }
}
