//! permessage-deflate (RFC 7692): what is agreed on, and compressing and expanding single messages.
//!
//! Neither side keeps its window from one message to the next (`no_context_takeover`), and the server's is always of 2^15 bytes: so one
//! compressed form serves all who have agreed. The compressor and the expander belong to the thread, and a connection has neither.

use std::{borrow::Cow, cell::Cell, thread::LocalKey};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{
    Violation,
    encoder::{MAX_HEADER, Opcode, encode_header},
};

/// Says that a frame, or the message which it begins, is compressed.
pub(super) const COMPRESSED: u8 = 0x40;

/// What a sender takes off the end of a message.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The same, and an empty last block: an expander that does not come to its end with this was not at the end of a block.
const LAST: [u8; 6] = [0, 0, 0xff, 0xff, 3, 0];

/// Measured on JSON of 1 KiB to 1 MB: the default, 6, takes up to half as long again, and makes of it 0.5 to 2 % less.
const LEVEL: u32 = 5;

/// What is reserved for the first bytes of a message that is expanded, for each byte of it that has come.
const EXPECTED_RATIO: usize = 4;

/// Decides on the offers of a client: the values of its `Sec-WebSocket-Extensions`, several lines of which are one list. Gives the value of
/// the answer's, or nothing if none of the offers can be taken; the connection does without compression then.
///
/// An offer that asks for a window of the server below 2^15 bytes is not taken, since the others' compressed form would not do for it. The
/// client may use any window, whether it offers to be told one (`client_max_window_bits`) or not.
pub fn negotiate<'a>(offers: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
    offers.into_iter().flat_map(|list| split(list, ',')).find_map(answer)
}

/// The answer to one offer, if it is one that can be taken.
fn answer(offer: &str) -> Option<&'static str> {
    let mut parameters = split(offer, ';').map(str::trim);
    if parameters.next() != Some("permessage-deflate") {
        return None;
    }
    let mut window = false;
    let mut seen: Vec<&str> = Vec::new();
    for parameter in parameters {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(unquoted(value.trim_start())?)),
            None => (parameter, None),
        };
        match (name, value.as_deref()) {
            _ if seen.contains(&name) => return None,
            ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
            ("client_max_window_bits", Some("8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")) => {}
            ("server_max_window_bits", Some("15")) => window = true,
            _ => return None,
        }
        seen.push(name);
    }
    Some(if window {
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15"
    } else {
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    })
}

/// The parts of a list between separators that do not stand in quotes.
fn split(list: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    list.split(move |character| {
        let separates = !quoted && character == separator;
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => {}
        }
        separates
    })
}

/// What a value says, in quotes or not; nothing if the quotes are not closed.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else {
        return Some(Cow::Borrowed(value));
    };
    let mut text = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(Cow::Owned(text)),
            '\\' => text.push(characters.next()?),
            character => text.push(character),
        }
    }
}

/// Compresses the messages among `frames`, which are whole frames of this encoder, whose payload has at least `threshold` bytes and gets
/// shorter by it; the others stay as they are. Nothing if none is compressed.
#[must_use]
pub fn deflate_frames(frames: &[u8], threshold: usize) -> Option<Vec<u8>> {
    let mut deflated = Vec::new();
    let mut packed = Vec::new();
    let mut any = false;
    let mut rest = frames;
    while let Some((opcode, header, length)) = begun(rest) {
        let (frame, others) = rest.split_at_checked(header + length)?;
        rest = others;
        let payload = frame.get(header..).unwrap_or_default();
        if length >= threshold.max(1) && with_thread_own(&DEFLATER, |deflater| deflater.deflate(payload, &mut packed)) {
            let mut header = [0; MAX_HEADER];
            let written = encode_header(opcode, packed.len(), &mut header);
            header[0] |= COMPRESSED;
            deflated.extend_from_slice(header.get(..written).unwrap_or_default());
            deflated.extend_from_slice(&packed);
            any = true;
        } else {
            deflated.extend_from_slice(frame);
        }
    }
    deflated.shrink_to_fit();
    any.then_some(deflated)
}

/// The header at the front of frames of this encoder: what it announces, how long it is, and how long the payload.
fn begun(frames: &[u8]) -> Option<(Opcode, usize, usize)> {
    let &[first, second, ref extended @ ..] = frames else { return None };
    let opcode = match first {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        _ => return None,
    };
    let wide = match second {
        126 => 2,
        127 => 8,
        short => return Some((opcode, 2, usize::from(short))),
    };
    let length = extended
        .get(..wide)?
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    Some((opcode, 2 + wide, length))
}

/// Bytes that a message of `max` bytes may have when it is compressed: a little more where it gets no shorter, as senders of what cannot be
/// compressed send it nevertheless. More than what zlib calls the bound.
pub(super) const fn longest(max: usize) -> usize {
    max.saturating_add(max / 1024 + 64)
}

/// Expands the payload of a message into at most `max` bytes.
pub(super) fn inflate(payload: &[u8], max: usize) -> Result<Vec<u8>, Violation> {
    with_thread_own(&INFLATER, |inflater| inflater.inflate(payload, max))
}

thread_local! {
    static DEFLATER: Cell<Option<Deflater>> = const { Cell::new(None) };
    static INFLATER: Cell<Option<Inflater>> = const { Cell::new(None) };
}

/// Runs `work` with what this thread has of its kind, made at the first time.
fn with_thread_own<T: Default, R>(place: &'static LocalKey<Cell<Option<T>>>, work: impl FnOnce(&mut T) -> R) -> R {
    // A thread that is ending has no place for it any more: then it is made for this once.
    let mut own = place.try_with(Cell::take).ok().flatten().unwrap_or_default();
    let result = work(&mut own);
    place.try_with(|place| place.set(Some(own))).ok();
    result
}

struct Deflater(Compress);

impl Default for Deflater {
    fn default() -> Self {
        Self(Compress::new(Compression::new(LEVEL), false))
    }
}

impl Deflater {
    /// Compresses a message. Answers whether it got shorter by it: else what stands in `packed` is of no use.
    fn deflate(&mut self, payload: &[u8], packed: &mut Vec<u8>) -> bool {
        self.0.reset();
        packed.clear();
        // What fills so much is no shorter, once its end is taken off, and there is nothing to be gained by going on.
        let most = payload.len() + TAIL.len();
        packed.reserve_exact(most);
        let done = self.0.compress_vec(payload, packed, FlushCompress::Sync).is_ok();
        if !done || packed.len() >= most || self.0.total_in() != payload.len() as u64 || !packed.ends_with(&TAIL) {
            return false;
        }
        packed.truncate(packed.len() - TAIL.len());
        packed.len() < payload.len()
    }
}

struct Inflater(Decompress);

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompress::new(false))
    }
}

impl Inflater {
    fn inflate(&mut self, payload: &[u8], max: usize) -> Result<Vec<u8>, Violation> {
        self.0.reset(false);
        let mut expanded = Vec::new();
        if payload.is_empty() {
            // It should be one byte, and other servers take it as it is meant.
            return Ok(expanded);
        }
        expanded.reserve_exact(payload.len().saturating_mul(EXPECTED_RATIO).min(max.saturating_add(1)));
        let mut last = self.feed(payload, &mut expanded, max)?;
        if !last {
            last = self.feed(&LAST, &mut expanded, max)?;
        }
        if last { Ok(expanded) } else { Err(Violation::InvalidDeflate) }
    }

    /// Expands a part of a message. Answers whether it ended with a block that says that it is the last.
    fn feed(&mut self, part: &[u8], expanded: &mut Vec<u8>, max: usize) -> Result<bool, Violation> {
        let mut rest = part;
        loop {
            if expanded.len() == expanded.capacity() {
                // One byte more than is allowed, to see that there is more.
                let capacity = (2 * expanded.len()).clamp(64, max.saturating_add(1).max(64));
                expanded.reserve_exact(capacity.saturating_sub(expanded.len()).max(1));
            }
            let (taken, length) = (self.0.total_in(), expanded.len());
            let status = self
                .0
                .decompress_vec(rest, expanded, FlushDecompress::Sync)
                .map_err(|_| Violation::InvalidDeflate)?;
            let taken = usize::try_from(self.0.total_in() - taken).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            if expanded.len() > max {
                return Err(Violation::TooBig { max });
            }
            match status {
                Status::StreamEnd if rest.is_empty() => return Ok(true),
                // A sender may end any block so, and go on.
                Status::StreamEnd => self.0.reset(false),
                Status::Ok | Status::BufError if rest.is_empty() && expanded.len() < expanded.capacity() => return Ok(false),
                Status::Ok | Status::BufError if taken == 0 && expanded.len() == length && length < expanded.capacity() => {
                    return Err(Violation::InvalidDeflate);
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}
