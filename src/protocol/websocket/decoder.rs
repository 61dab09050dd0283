//! Client frames (RFC 6455, sections 5.2 to 5.5 and 7.4).

use std::str;

use smallvec::SmallVec;

use super::{
    deflate,
    encoder::{MAX_CONTROL, Opcode},
    mask,
};

/// The longest header of a client frame: two bytes, eight of length, four of mask.
const MAX_CLIENT_HEADER: usize = 14;

/// A message or a control frame of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message, checked to be UTF-8.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// A ping of at most 125 bytes, to be answered by a pong with the same payload.
    Ping(&'a [u8]),
    /// A pong of at most 125 bytes.
    Pong(&'a [u8]),
    /// The client has closed, with a code that may be sent back, and a reason. What follows is swallowed.
    Close(Option<u16>, &'a str),
}

/// How a client broke the protocol. The connection is closed with [`Violation::close_code`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A reserved bit is set that no extension gives a meaning here.
    #[error("WebSocket frame with a reserved bit set")]
    ReservedBits,
    /// The opcode means nothing.
    #[error("WebSocket frame with reserved opcode {0}")]
    ReservedOpcode(u8),
    /// A client must mask its frames.
    #[error("WebSocket frame of a client is not masked")]
    Unmasked,
    /// A control frame in fragments.
    #[error("WebSocket control frame is fragmented")]
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    #[error("WebSocket control frame is longer than 125 bytes")]
    LongControl,
    /// A continuation, and no message had begun.
    #[error("WebSocket continuation frame without a message to continue")]
    UnexpectedContinuation,
    /// A new message before the last fragment of the one before.
    #[error("WebSocket message begins inside a fragmented one")]
    InterruptedMessage,
    /// The highest bit of the 64-bit length is set.
    #[error("WebSocket frame length has its highest bit set")]
    LengthOverflow,
    /// A close frame with half a code.
    #[error("WebSocket close frame with a payload of one byte")]
    CloseLength,
    /// A close code that must not be sent.
    #[error("WebSocket close frame with invalid code {0}")]
    CloseCode(u16),
    /// A text message or close reason that is not UTF-8.
    #[error("WebSocket text is not UTF-8")]
    InvalidUtf8,
    /// A compressed message that cannot be expanded.
    #[error("compressed WebSocket message cannot be expanded")]
    InvalidDeflate,
    /// The message is longer than the decoder allows: seen from a header, and nothing of that frame was buffered, or while it was expanded.
    #[error("WebSocket message of more than {max} bytes")]
    TooBig {
        /// The limit, in bytes.
        max: usize,
    },
}

impl Violation {
    /// The code to close the connection with: 1002, 1007 or 1009.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::InvalidUtf8 | Self::InvalidDeflate => 1007,
            Self::TooBig { .. } => 1009,
            _ => 1002,
        }
    }
}

/// Decodes what a client sends, from reads of any size.
///
/// A frame that is whole in the input is unmasked there and borrowed; anything else is gathered in a buffer which grows with what
/// arrives, never beyond `max_message` bytes (and 125 of a control frame), and is let go after the message. A compressed message is
/// expanded when it is whole, into a buffer of its own with the same bound.
#[derive(Debug)]
pub struct Decoder {
    max_message: usize,
    /// Whether messages may be compressed.
    inflates: bool,
    /// The part of a header that has arrived while its rest has not.
    header: SmallVec<[u8; MAX_CLIENT_HEADER]>,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// Whether a fragmented message has begun, and what it is.
    fragmented: Option<Opcode>,
    /// Whether the message that is being read is compressed: said by its first fragment.
    deflated: bool,
    /// The fragments so far; behind them what has arrived of a frame that is not whole yet.
    buffer: Vec<u8>,
    /// How much of `buffer` stays when the message that was borrowed last is no longer needed.
    keep: usize,
    /// Set by a close frame or a violation: nothing is decoded any more.
    ended: Option<Result<(), Violation>>,
}

/// A frame whose header has been read and accepted.
#[derive(Debug, Clone, Copy)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    /// The length of the whole payload.
    length: usize,
}

impl Decoder {
    /// A decoder that refuses messages of more than `max_message` bytes.
    #[must_use]
    pub fn new(max_message: usize) -> Self {
        Self {
            max_message,
            inflates: false,
            header: SmallVec::new(),
            frame: None,
            fragmented: None,
            deflated: false,
            buffer: Vec::new(),
            keep: 0,
            ended: None,
        }
    }

    /// The same for a connection on which permessage-deflate was negotiated: a compressed message counts with what it is expanded to.
    #[must_use]
    pub fn inflating(max_message: usize) -> Self {
        Self {
            inflates: true,
            ..Self::new(max_message)
        }
    }

    /// Takes bytes off the front of `input`, and says how many and which message they completed, if one.
    ///
    /// To be called with the rest of the input until it says that nothing was consumed: at least one byte of an input that is not
    /// empty is, and the call with an empty input lets go of the buffer of the message before.
    ///
    /// # Errors
    /// A [`Violation`]; it is repeated by every later call.
    pub fn decode<'a>(&'a mut self, input: &'a mut [u8]) -> Result<(usize, Option<Message<'a>>), Violation> {
        if let Some(ended) = self.ended {
            return ended.map(|()| (input.len(), None));
        }
        self.release();
        let mut consumed = self
            .read_header(input)
            .inspect_err(|violation| self.ended = Some(Err(*violation)))?;
        let Some(frame) = self.frame else {
            return Ok((consumed, None));
        };
        let buffered = self.buffer.len() - self.keep;
        let arrived = input.get_mut(consumed..).unwrap_or_default();
        let taken = arrived.len().min(frame.length - buffered);
        let (payload, _) = arrived.split_at_mut(taken);
        mask::apply(frame.mask, buffered, payload);
        consumed += taken;

        let whole = buffered + taken == frame.length;
        let alone = frame.opcode.is_control() || (frame.fin && self.fragmented.is_none());
        let mut borrowed = whole && alone && buffered == 0;
        if !borrowed {
            self.gather(payload);
        }
        if !whole {
            return Ok((consumed, None));
        }
        self.frame = None;
        let opcode = match frame.opcode {
            control if control.is_control() => control,
            _ if !frame.fin => {
                self.keep = self.buffer.len();
                self.fragmented.get_or_insert(frame.opcode);
                return Ok((consumed, None));
            }
            opcode => {
                self.keep = 0;
                self.fragmented.take().unwrap_or(opcode)
            }
        };
        if self.deflated && !opcode.is_control() {
            let packed = if borrowed { &*payload } else { self.buffer.as_slice() };
            let expanded = deflate::inflate(packed, self.max_message).inspect_err(|violation| self.ended = Some(Err(*violation)))?;
            self.buffer = expanded;
            borrowed = false;
        }
        let payload = if borrowed {
            &*payload
        } else {
            self.buffer.get(self.keep..).unwrap_or_default()
        };
        let message = interpret(opcode, payload).inspect_err(|violation| self.ended = Some(Err(*violation)))?;
        if matches!(message, Message::Close(..)) {
            self.ended = Some(Ok(()));
        }
        Ok((consumed, Some(message)))
    }

    /// Whether a message, or a frame between its fragments, has begun to come and is not whole.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.ended.is_none() && (self.frame.is_some() || self.fragmented.is_some() || !self.header.is_empty())
    }

    /// Drops what the message before was borrowed from.
    fn release(&mut self) {
        if self.frame.is_some() {
            return;
        }
        if self.keep == 0 {
            self.buffer = Vec::new();
        } else {
            self.buffer.truncate(self.keep);
        }
    }

    /// Appends a part of the current frame. The capacity doubles, so that tiny fragments do not copy the message over and over, up to
    /// the most that may ever be needed.
    fn gather(&mut self, part: &[u8]) {
        let needed = self.buffer.len() + part.len();
        if needed > self.buffer.capacity() {
            let bound = self.longest().saturating_add(MAX_CONTROL);
            let capacity = needed.max(bound.min(self.buffer.capacity() * 2));
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
        self.buffer.extend_from_slice(part);
    }

    /// Takes what the input has of a header, unless a frame is being read, and says how much that was.
    fn read_header(&mut self, input: &[u8]) -> Result<usize, Violation> {
        if self.frame.is_some() {
            return Ok(0);
        }
        let mut consumed = self.fill_header(2, input);
        let &[first, second, ..] = self.header.as_slice() else {
            return Ok(consumed);
        };
        let opcode = self.check(first, second)?;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        consumed += self.fill_header(2 + extended + 4, input.get(consumed..).unwrap_or_default());
        let Some((length, mask)) = self.header.get(2..).unwrap_or_default().split_at_checked(extended) else {
            return Ok(consumed);
        };
        let Ok(mask) = mask.try_into() else {
            return Ok(consumed);
        };
        let length = match extended {
            0 => u64::from(second & 0x7f),
            _ => length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        if length >> 63 == 1 {
            return Err(Violation::LengthOverflow);
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if matches!(opcode, Opcode::Text | Opcode::Binary) {
            self.deflated = first & deflate::COMPRESSED != 0;
        }
        if !opcode.is_control() && length > self.longest().saturating_sub(self.keep) {
            return Err(Violation::TooBig { max: self.max_message });
        }
        self.header.clear();
        self.frame = Some(Frame {
            fin: first & 0x80 != 0,
            opcode,
            mask,
            length,
        });
        Ok(consumed)
    }

    /// Bytes that the message under way may have on the wire.
    const fn longest(&self) -> usize {
        if self.deflated {
            deflate::longest(self.max_message)
        } else {
            self.max_message
        }
    }

    /// Completes the header to `size` bytes as far as the input goes.
    fn fill_header(&mut self, size: usize, input: &[u8]) -> usize {
        let taken = size.saturating_sub(self.header.len()).min(input.len());
        self.header.extend_from_slice(input.get(..taken).unwrap_or_default());
        taken
    }

    /// Checks what the first two bytes of a header say.
    fn check(&self, first: u8, second: u8) -> Result<Opcode, Violation> {
        // Only the first frame of a message says whether it is compressed.
        let may_say = self.inflates && matches!(first & 0x0f, 1 | 2);
        if first & 0x70 & !(if may_say { deflate::COMPRESSED } else { 0 }) != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = match first & 0x0f {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            other => return Err(Violation::ReservedOpcode(other)),
        };
        if second & 0x80 == 0 {
            return Err(Violation::Unmasked);
        }
        match opcode {
            _ if opcode.is_control() && first & 0x80 == 0 => Err(Violation::FragmentedControl),
            _ if opcode.is_control() && usize::from(second & 0x7f) > MAX_CONTROL => Err(Violation::LongControl),
            Opcode::Continuation if self.fragmented.is_none() => Err(Violation::UnexpectedContinuation),
            Opcode::Text | Opcode::Binary if self.fragmented.is_some() => Err(Violation::InterruptedMessage),
            _ => Ok(opcode),
        }
    }
}

/// What a whole payload means. A continuation never comes here: a message has the opcode of its first fragment.
fn interpret(opcode: Opcode, payload: &[u8]) -> Result<Message<'_>, Violation> {
    Ok(match opcode {
        Opcode::Text => Message::Text(str::from_utf8(payload).map_err(|_| Violation::InvalidUtf8)?),
        Opcode::Binary => Message::Binary(payload),
        Opcode::Ping => Message::Ping(payload),
        Opcode::Pong => Message::Pong(payload),
        Opcode::Continuation => return Err(Violation::UnexpectedContinuation),
        Opcode::Close => match payload {
            [] => Message::Close(None, ""),
            [_] => return Err(Violation::CloseLength),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !may_be_sent(code) {
                    return Err(Violation::CloseCode(code));
                }
                Message::Close(Some(code), str::from_utf8(reason).map_err(|_| Violation::InvalidUtf8)?)
            }
        },
    })
}

/// Whether a close code may stand in a frame: those of section 7.4.1 and of the IANA registry, and those of libraries and applications.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_grows_with_what_arrives_and_goes_after_the_message() {
        let mut decoder = Decoder::new(1 << 20);
        // A masked binary frame of a mebibyte, its mask zero.
        let mut header = [0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];
        assert_eq!(decoder.decode(&mut header), Ok((14, None)));
        assert_eq!(decoder.buffer.capacity(), 0, "an announcement takes no memory");
        let mut chunk = vec![7; 1 << 12];
        for arrived in 1..1 << 8 {
            assert_eq!(decoder.decode(&mut chunk), Ok((1 << 12, None)));
            assert!(decoder.buffer.capacity() <= 2 * arrived * (1 << 12));
        }
        assert_eq!(decoder.decode(&mut chunk), Ok((1 << 12, Some(Message::Binary(&[7; 1 << 20])))));
        assert_eq!(decoder.decode(&mut []), Ok((0, None)));
        assert_eq!(decoder.buffer.capacity(), 0);
    }
}
