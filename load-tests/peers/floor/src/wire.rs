//! The upgrade to a WebSocket, and its frames (RFC 6455), as far as the floor speaks them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest as _, Sha1};

/// The longest head of a request.
const MAX_HEAD: usize = 16 * 1024;
/// The longest payload of a frame that is taken.
const MAX_PAYLOAD: usize = 1_000_000;
/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Close,
    Ping,
    Pong,
}

/// A frame of a client, its payload unmasked in place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    /// Where its payload stands.
    pub(crate) payload: std::ops::Range<usize>,
    /// Where the next frame begins.
    pub(crate) end: usize,
}

/// The answer to an upgrade and the length of its request; `None` if there is more of it to come.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn upgrade(input: &[u8]) -> Result<Option<(String, usize)>, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() <= MAX_HEAD => return Ok(None),
        Ok(httparse::Status::Partial) => return Err("the head of a request is too long"),
        Err(_) => return Err("what came is no request of HTTP/1.1"),
    };
    let path = request.path.unwrap_or_default();
    if !path.starts_with("/socket.io/?") || !path.contains("EIO=4") || !path.contains("transport=websocket") || path.contains("sid=") {
        return Err("the request is not for a new session over WebSocket (EIO=4&transport=websocket)");
    }
    let key = request
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("sec-websocket-key"));
    let key = key.ok_or("the request has no Sec-WebSocket-Key")?.value;
    let accept = STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    let answer =
        format!("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n");
    Ok(Some((answer, length)))
}

/// The first frame of `input`; `None` if there is more of it to come. Its payload is unmasked only when it is complete.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn frame(input: &mut [u8]) -> Result<Option<Frame>, &'static str> {
    let &mut [first, second, ref rest @ ..] = input else {
        return Ok(None);
    };
    let kind = match first {
        0x81 => Kind::Text,
        0x88 => Kind::Close,
        0x89 => Kind::Ping,
        0x8a => Kind::Pong,
        _ => return Err("a frame is binary, fragmented or of no known kind"),
    };
    if second & 0x80 == 0 {
        return Err("a frame of a client is not masked");
    }
    let (length, size) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 2),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            let length = u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
            (usize::try_from(length).unwrap_or(usize::MAX), 8)
        }
        (126 | 127, _) => return Ok(None),
        (length, _) => (usize::from(length), 0),
    };
    if length > MAX_PAYLOAD {
        return Err("a frame is too long");
    }
    let begin = 2 + size + 4;
    let payload = begin..begin + length;
    let Some(&[a, b, c, d]) = input.get(begin - 4..begin) else {
        return Ok(None);
    };
    let Some(bytes) = input.get_mut(payload.clone()) else {
        return Ok(None);
    };
    // In words of eight, as any server would.
    let mask = [a, b, c, d, a, b, c, d];
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ u64::from_ne_bytes(mask)).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    let end = payload.end;
    Ok(Some(Frame { kind, payload, end }))
}

/// Appends a frame whose payload is in parts.
pub(crate) fn write(output: &mut Vec<u8>, kind: Kind, parts: &[&[u8]]) {
    let opcode = match kind {
        Kind::Text => 0x81,
        Kind::Close => 0x88,
        Kind::Ping => 0x89,
        Kind::Pong => 0x8a,
    };
    output.push(opcode);
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => output.push(short),
        (_, Ok(medium)) => {
            output.push(126);
            output.extend(medium.to_be_bytes());
        }
        _ => {
            output.push(127);
            output.extend((length as u64).to_be_bytes());
        }
    }
    for part in parts {
        output.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    /// The frame as a client sends it.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            0..126 => frame.push(0x80 | payload.len() as u8),
            126..65_536 => frame.extend([&[0xfe][..], &(payload.len() as u16).to_be_bytes()].concat()),
            _ => frame.extend([&[0xff][..], &(payload.len() as u64).to_be_bytes()].concat()),
        }
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    #[test]
    fn frames_of_all_lengths_are_read_when_they_are_complete() {
        for length in [0, 1, 7, 8, 9, 125, 126, 127, 65_535, 65_536, 1_000_000] {
            let payload: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let mut input = masked(0x81, &payload);
            let whole = input.len();
            for missing in [whole, whole - 1, whole.min(6), whole.min(3), 1] {
                assert_eq!(frame(&mut input.clone()[..whole - missing]), Ok(None), "{length}, {missing}");
            }
            input.extend([0x81, 0x80]);
            let read = frame(&mut input).unwrap().unwrap();
            assert_eq!((read.kind, read.end), (Kind::Text, whole));
            assert_eq!(input[read.payload], payload);
        }
    }

    #[test]
    fn what_it_does_not_speak_is_refused() {
        for (first, second) in [(0x82, 0x80), (0x01, 0x80), (0x80, 0x80), (0x81, 0x00), (0xc1, 0x80)] {
            assert!(frame(&mut [first, second, 0, 0, 0, 0]).is_err(), "{first:x} {second:x}");
        }
        assert!(frame(&mut masked(0x81, &vec![0; MAX_PAYLOAD + 1])).is_err());
    }

    #[test]
    fn a_frame_is_written_with_the_shortest_form_of_its_length() {
        for (length, head) in [
            (5, vec![0x81, 5]),
            (126, vec![0x81, 126, 0, 126]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut output = Vec::new();
            write(&mut output, Kind::Text, &[&vec![7; length - 1], &[8]]);
            assert_eq!(output[..head.len()], head);
            assert_eq!((output.len(), output.last()), (head.len() + length, Some(&8)));
        }
    }

    #[test]
    fn an_upgrade_is_answered_as_the_rfc_has_it() {
        let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        let (answer, length) = upgrade(request.as_bytes()).unwrap().unwrap();
        assert!(
            answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{answer}"
        );
        assert_eq!(length, request.len());
        assert_eq!(upgrade(&request.as_bytes()[..length - 1]), Ok(None));
        assert!(upgrade(request.replace("websocket H", "polling H").as_bytes()).is_err());
        assert!(upgrade(&[b'x'; MAX_HEAD + 1]).is_err());
    }
}
