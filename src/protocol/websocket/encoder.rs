//! Server frames, and the answer to the opening handshake (RFC 6455, sections 4.2.2, 5.2 and 5.5).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest;

/// The longest header of a server frame, in bytes.
pub const MAX_HEADER: usize = 10;

/// The longest payload of a control frame, in bytes.
pub(super) const MAX_CONTROL: usize = 125;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0,
    /// A text message, or its first fragment.
    Text = 1,
    /// A binary message, or its first fragment.
    Binary = 2,
    /// The last frame of a peer.
    Close = 8,
    /// Asks for a pong.
    Ping = 9,
    /// Answers a ping, with its payload.
    Pong = 10,
}

impl Opcode {
    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Writes the header of a final, unmasked frame with a payload of `len` bytes, and says how many bytes it has (2, 4 or 10).
#[expect(clippy::cast_possible_truncation, reason = "each arm's range fits the width it is written in")]
pub fn encode_header(opcode: Opcode, len: usize, out: &mut [u8; MAX_HEADER]) -> usize {
    let [first, second, extended @ ..] = out;
    *first = 0x80 | opcode as u8;
    match len {
        0..=125 => *second = len as u8,
        126..=0xffff => {
            *second = 126;
            let [high, low, ..] = extended;
            [*high, *low] = (len as u16).to_be_bytes();
        }
        _ => {
            *second = 127;
            *extended = (len as u64).to_be_bytes();
        }
    }
    header_len(len)
}

/// The length of the header of a server frame with a payload of `len` bytes.
#[must_use]
pub const fn header_len(len: usize) -> usize {
    match len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => MAX_HEADER,
    }
}

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_key(key: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(context.finish())
}

/// Whether a `Sec-WebSocket-Key` is the base64 of 16 bytes, as section 4.2.1 asks of it.
#[must_use]
pub fn is_valid_key(key: &str) -> bool {
    key.len() == 24 && STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}
