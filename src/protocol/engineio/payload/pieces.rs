//! Where one packet of a payload ends and the next begins.

use std::str;

use crate::protocol::engineio::{Packet, PacketError, Revision, decode_binary, decode_text};

/// One packet as it stands in a payload.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

/// The first packet of a payload, and what follows it: nothing when it was the last. No packet where the payload has none any more.
type Split<'a> = Result<(Option<Piece<'a>>, Option<&'a [u8]>), PacketError>;

impl<'a> Piece<'a> {
    pub(super) fn decode(self, revision: Revision) -> Result<Packet<'a>, PacketError> {
        match self {
            Self::Text(text) => decode_text(str::from_utf8(text).map_err(|_| PacketError::Utf8)?, revision),
            Self::Binary(data) => decode_binary(data, revision),
        }
    }
}

/// Splits at the record separator.
pub(super) fn separated(payload: &[u8]) -> Split<'_> {
    // 0x1e cannot be part of a longer UTF-8 sequence, so the split may come before the check.
    let mut pieces = payload.splitn(2, |byte| *byte == super::SEPARATOR as u8);
    Ok((pieces.next().map(Piece::Text), pieces.next()))
}

/// Splits behind `<length>:<packet>`. The reference skips packets of no length.
pub(super) fn counted(mut payload: &[u8]) -> Split<'_> {
    if payload.is_empty() {
        return Err(PacketError::Empty);
    }
    while !payload.is_empty() {
        let (length, packet) = number(payload, |byte| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            _ => None,
        })?;
        let rest = packet.strip_prefix(b":").ok_or(PacketError::Length)?;
        let (packet, rest) = split_utf16(rest, length)?;
        if !packet.is_empty() {
            return Ok((Some(Piece::Text(packet)), more(rest)));
        }
        payload = rest;
    }
    Ok((None, None))
}

/// Splits behind `<0 or 1><digits><255><packet>`.
pub(super) fn binary(payload: &[u8]) -> Split<'_> {
    let Some((kind, head)) = payload.split_first() else {
        return Ok((None, None));
    };
    let (length, packet) = number(head, |byte| (byte < 10).then_some(byte))?;
    let rest = packet.strip_prefix(&[255]).ok_or(PacketError::Length)?;
    let (packet, rest) = rest.split_at_checked(length).ok_or(PacketError::Length)?;
    let piece = match kind {
        0 => Piece::Text(packet),
        1 => Piece::Binary(packet),
        _ => return Err(PacketError::Length),
    };
    Ok((Some(piece), more(rest)))
}

fn more(rest: &[u8]) -> Option<&[u8]> {
    (!rest.is_empty()).then_some(rest)
}

/// The number at the head of `bytes`, one digit at least, and what follows it.
fn number(bytes: &[u8], digit: impl Fn(u8) -> Option<u8>) -> Result<(usize, &[u8]), PacketError> {
    let mut value = None;
    let mut rest = bytes;
    while let Some((byte, tail)) = rest.split_first()
        && let Some(digit) = digit(*byte)
    {
        let before = value.unwrap_or(0_usize).checked_mul(10);
        value = Some(
            before
                .and_then(|value| value.checked_add(digit.into()))
                .ok_or(PacketError::Length)?,
        );
        rest = tail;
    }
    Ok((value.ok_or(PacketError::Length)?, rest))
}

/// Splits behind so many UTF-16 code units of a text in UTF-8, which is checked later. Half of a surrogate pair is no character.
fn split_utf16(text: &[u8], length: usize) -> Result<(&[u8], &[u8]), PacketError> {
    let mut units = 0;
    let mut end = 0;
    for byte in text {
        let first = byte & 0xc0 != 0x80;
        if first && units >= length {
            break;
        }
        units += usize::from(first) + usize::from(matches!(byte, 0xf0..=0xf7));
        end += 1;
    }
    if units != length {
        return Err(PacketError::Length);
    }
    text.split_at_checked(end).ok_or(PacketError::Length)
}
