//! WebSocket frames as a client sees them (RFC 6455, section 5): those of the server are taken apart where they were read, those of the
//! client are put together.
//!
//! Knows no socket. Nothing is allocated or copied for a frame that was read whole; only one that is split over two reads is kept.

use std::{cell::Cell, hash::BuildHasher};

/// The largest message that is taken.
const LARGEST: u64 = 64 << 20;
/// A buffer that has grown beyond this is given back when it is empty: there may be many thousands of connections.
const KEPT: usize = 4096;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
/// The last frame of a message.
const FIN: u8 = 0x80;

/// What a server sends, with the parts of a message put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    /// Is to be answered by a pong with the same payload.
    Ping(&'a [u8]),
    Close,
}

/// How a server breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// Extensions were not negotiated.
    #[error("a frame with reserved bits set")]
    Reserved,
    /// Servers do not mask.
    #[error("a masked frame")]
    Masked,
    /// Not one of RFC 6455.
    #[error("a frame of the unknown kind {0}")]
    Kind(u8),
    /// Fragmented, or longer than 125 bytes.
    #[error("a control frame that is fragmented or too long")]
    Control,
    /// A continuation of nothing, or another message in the middle of one.
    #[error("the parts of messages are mixed up")]
    Fragments,
    /// Beyond the bound.
    #[error("a message of {0} bytes, more than {LARGEST}")]
    TooLarge(u64),
    /// A text that is none.
    #[error("a text that is not UTF-8")]
    Utf8,
}

/// Takes the frames of one connection apart.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The beginning of a frame whose rest has not been read.
    kept: Vec<u8>,
    /// The message whose last frame has not come.
    fragments: Option<Box<Fragments>>,
}

#[derive(Debug)]
struct Fragments {
    kind: u8,
    payload: Vec<u8>,
}

/// The beginning of a frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    fin: bool,
    kind: u8,
    /// Where the payload begins, and where it ends.
    begin: usize,
    end: usize,
}

impl Head {
    /// Reads one; `None` if there are too few bytes.
    fn read(bytes: &[u8]) -> Result<Option<Self>, FrameError> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(FrameError::Reserved);
        }
        if second & 0x80 != 0 {
            return Err(FrameError::Masked);
        }
        let (fin, kind) = (first & FIN != 0, first & 0x0f);
        let (begin, length) = match second {
            126 => match rest.first_chunk() {
                Some(length) => (4, u64::from(u16::from_be_bytes(*length))),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(length) => (10, u64::from_be_bytes(*length)),
                None => return Ok(None),
            },
            short => (2, u64::from(short)),
        };
        match kind {
            CONTINUATION | TEXT | BINARY => {}
            CLOSE | PING | PONG if fin && length <= 125 => {}
            CLOSE | PING | PONG => return Err(FrameError::Control),
            _ => return Err(FrameError::Kind(kind)),
        }
        if length > LARGEST {
            return Err(FrameError::TooLarge(length));
        }
        let end = begin + usize::try_from(length).map_err(|_| FrameError::TooLarge(length))?;
        Ok(Some(Self { fin, kind, begin, end }))
    }
}

impl Decoder {
    /// Takes apart what was read; `each` sees every message and control frame that is complete.
    pub(super) fn decode(&mut self, mut read: &[u8], each: &mut impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        if !self.kept.is_empty() {
            let Some(rest) = self.complete(read, each)? else { return Ok(()) };
            read = rest;
        }
        while let Some(head) = Head::read(read)? {
            let Some((frame, rest)) = read.split_at_checked(head.end) else {
                break;
            };
            let payload = frame.get(head.begin..).unwrap_or_default();
            self.frame(head, payload, each)?;
            read = rest;
        }
        self.kept.extend_from_slice(read);
        Ok(())
    }

    /// Takes out of `read` what the frame lacks that is kept; the rest, or nothing if that does not suffice.
    fn complete<'a>(&mut self, mut read: &'a [u8], each: &mut impl FnMut(Frame<'_>)) -> Result<Option<&'a [u8]>, FrameError> {
        let head = loop {
            match Head::read(&self.kept)? {
                Some(head) => break head,
                // The head is of 10 bytes at the most.
                None => match read.split_first() {
                    Some((byte, rest)) => {
                        self.kept.push(*byte);
                        read = rest;
                    }
                    None => return Ok(None),
                },
            }
        };
        let lacking = head.end.saturating_sub(self.kept.len());
        let (taken, rest) = read.split_at(lacking.min(read.len()));
        self.kept.reserve_exact(lacking);
        self.kept.extend_from_slice(taken);
        if taken.len() < lacking {
            return Ok(None);
        }
        let mut frame = std::mem::take(&mut self.kept);
        self.frame(head, frame.get(head.begin..head.end).unwrap_or_default(), each)?;
        if frame.capacity() <= KEPT {
            frame.clear();
            self.kept = frame;
        }
        Ok(Some(rest))
    }

    fn frame(&mut self, head: Head, payload: &[u8], each: &mut impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        match head.kind {
            CLOSE => each(Frame::Close),
            PING => each(Frame::Ping(payload)),
            PONG => {}
            CONTINUATION => {
                let mut fragments = self.fragments.take().ok_or(FrameError::Fragments)?;
                let length = (fragments.payload.len() + payload.len()) as u64;
                if length > LARGEST {
                    return Err(FrameError::TooLarge(length));
                }
                fragments.payload.extend_from_slice(payload);
                if head.fin {
                    message(fragments.kind, &fragments.payload, each)?;
                } else {
                    self.fragments = Some(fragments);
                }
            }
            _ if self.fragments.is_some() => return Err(FrameError::Fragments),
            kind if head.fin => message(kind, payload, each)?,
            kind => {
                self.fragments = Some(Box::new(Fragments {
                    kind,
                    payload: payload.to_vec(),
                }));
            }
        }
        Ok(())
    }
}

fn message(kind: u8, payload: &[u8], each: &mut impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
    each(if kind == TEXT {
        Frame::Text(std::str::from_utf8(payload).map_err(|_| FrameError::Utf8)?)
    } else {
        Frame::Binary(payload)
    });
    Ok(())
}

/// Puts a message of text behind `out`.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    frame(out, TEXT, text.as_bytes());
}

/// Puts the answer to a ping behind `out`.
pub(super) fn pong(out: &mut Vec<u8>, payload: &[u8]) {
    frame(out, PONG, payload);
}

/// Puts a close frame behind `out`, with the status "normal closure".
pub(super) fn close(out: &mut Vec<u8>) {
    frame(out, CLOSE, &1000_u16.to_be_bytes());
}

fn frame(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    const MASKED: u8 = 0x80;
    out.reserve(payload.len() + 14);
    out.push(FIN | kind);
    match payload.len() {
        short @ 0..=125 => out.push(MASKED | short as u8),
        medium @ 126..=0xffff => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let mask = mask();
    out.extend_from_slice(&mask.to_ne_bytes());
    let wide = (u64::from(mask) << 32 | u64::from(mask)).to_ne_bytes();
    let (words, rest) = payload.as_chunks::<8>();
    for word in words {
        out.extend_from_slice(&(u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(wide)).to_ne_bytes());
    }
    out.extend(rest.iter().zip(wide).map(|(byte, mask)| byte ^ mask));
}

/// The key of the next frame (xorshift). It keeps proxies from mistaking payloads for requests; nothing here is secret.
fn mask() -> u32 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(std::hash::RandomState::new().hash_one(0) | 1);
    }
    STATE.with(|state| {
        let mut next = state.get();
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        state.set(next);
        (next >> 32) as u32
    })
}

#[cfg(test)]
mod tests;
