//! The transport `websocket`: the opening handshake, and both directions of the connection.
//!
//! A connection reads into a buffer of its thread, where frames are taken apart, so that an idle one has no buffer at all. What is sent
//! while a client has the turn leaves with one write.

use std::{
    cell::Cell,
    collections::VecDeque,
    future::poll_fn,
    io::{self, Read},
    task::{Context, Poll, ready},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::header::HeaderValue;
use ring::digest;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::TcpStream,
};

use super::{
    ClientError, ENGINE, cut,
    frames::{self, Decoder, Frame},
    route::Way,
};

/// Bytes that are read at once.
const SCRATCH: usize = 128 << 10;
/// How often a connection that has more to read than that goes on, before others have their turn.
const READS: usize = 4;
/// A buffer that has grown beyond this is given back when it is empty.
const KEPT: usize = 16 << 10;
/// Bytes that the answer to the opening handshake may have.
const LONGEST_ANSWER: usize = 16 << 10;
/// What is hashed with the key of the handshake (RFC 6455, section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

thread_local! {
    /// Taken by the connection that reads, and put back.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// One WebSocket.
pub(super) struct WebSocket {
    stream: TcpStream,
    decoder: Decoder,
    /// What was read behind the answer to the opening handshake.
    early: Vec<u8>,
    /// Packets that came together with one that was asked for alone.
    waiting: VecDeque<String>,
    /// Frames that the kernel has not taken yet.
    outgoing: Vec<u8>,
    /// How much of them has left.
    written: usize,
}

impl WebSocket {
    /// Opens one, with `query` behind the transport's own.
    pub(super) async fn open(way: &Way, query: &str, cookie: Option<HeaderValue>) -> Result<Self, ClientError> {
        let (target, mut stream) = way.dial().await?;
        let key = BASE64_STANDARD.encode(std::array::from_fn::<u8, 16, _>(|_| super::random() as u8));
        let host = way.address(target);
        let mut request = format!("GET {ENGINE}&transport=websocket{query} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
        let needed = format!("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n");
        request.extend_from_slice(needed.as_bytes());
        for (name, value) in &way.opening.headers(cookie.as_ref()) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                request.extend_from_slice(part);
            }
        }
        request.extend_from_slice(b"\r\n");
        stream.write_all(&request).await.map_err(ClientError::Broken)?;
        let mut answer = Vec::with_capacity(1024);
        let end = loop {
            if stream.read_buf(&mut answer).await.map_err(ClientError::Broken)? == 0 {
                return Err(ClientError::Closed);
            }
            if let Some(end) = accepted(&answer, &key)? {
                break end;
            }
        };
        let early = answer.split_off(end);
        Ok(Self {
            stream,
            decoder: Decoder::default(),
            early,
            waiting: VecDeque::new(),
            outgoing: Vec::new(),
            written: 0,
        })
    }

    /// The next packet. Those that came together with it wait: there are servers that ping at once.
    pub(super) async fn next(&mut self) -> Result<String, ClientError> {
        let mut packets = VecDeque::new();
        poll_fn(|cx| self.poll_packets(cx, &mut |packet| packets.push_back(packet.to_owned()))).await?;
        let next = packets.pop_front();
        self.waiting = packets;
        next.ok_or(ClientError::Closed)
    }

    /// Queues a packet.
    pub(super) fn send(&mut self, packet: &str) {
        frames::text(&mut self.outgoing, packet);
    }

    /// Queues the end.
    pub(super) fn close(&mut self) {
        frames::close(&mut self.outgoing);
    }

    /// Reads once, and gives every packet that is complete to `each`; how many there were, one at least. Writes what is queued, too.
    pub(super) fn poll_packets(&mut self, cx: &mut Context<'_>, each: &mut impl FnMut(&str)) -> Poll<Result<(), ClientError>> {
        if let Poll::Ready(Err(error)) = self.poll_sent(cx) {
            return Poll::Ready(Err(error));
        }
        if !self.waiting.is_empty() {
            self.waiting.drain(..).for_each(|packet| each(&packet));
            return Poll::Ready(Ok(()));
        }
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            if self.decode(&early, each)? {
                return Poll::Ready(Ok(()));
            }
        }
        let mut buffer = BUFFER.take();
        buffer.resize(SCRATCH, 0);
        let read = self.poll_read(cx, &mut buffer, each);
        BUFFER.set(buffer);
        read
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8], each: &mut impl FnMut(&str)) -> Poll<Result<(), ClientError>> {
        let mut some = false;
        for _ in 0..READS {
            let length = match read(&self.stream, buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if some {
                        return Poll::Ready(Ok(()));
                    }
                    ready!(self.stream.poll_read_ready(cx)).map_err(ClientError::Broken)?;
                    continue;
                }
                length => length.map_err(ClientError::Broken)?,
            };
            if length == 0 {
                // The packets before the end have been seen; the end comes again.
                return Poll::Ready(if some { Ok(()) } else { Err(ClientError::Closed) });
            }
            some |= self.decode(buffer.get(..length).unwrap_or_default(), each)?;
            if some && length < buffer.len() {
                return Poll::Ready(Ok(()));
            }
        }
        if some {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether there was a packet.
    fn decode(&mut self, read: &[u8], each: &mut impl FnMut(&str)) -> Result<bool, ClientError> {
        let Self { decoder, outgoing, .. } = self;
        let (mut some, mut ended) = (false, false);
        decoder.decode(read, &mut |frame| match frame {
            Frame::Text(text) if !ended => {
                some = true;
                each(text);
            }
            Frame::Ping(payload) => frames::pong(outgoing, payload),
            Frame::Close => ended = true,
            Frame::Text(_) | Frame::Binary(_) => {}
        })?;
        if ended {
            return Err(ClientError::Closed);
        }
        Ok(some)
    }

    /// Ready when the kernel has all that was queued.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        while let Some(left) = self.outgoing.get(self.written..).filter(|left| !left.is_empty()) {
            match self.stream.try_write(left) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_write_ready(cx)).map_err(ClientError::Broken)?;
                }
                Err(error) => return Poll::Ready(Err(ClientError::Broken(error))),
            }
        }
        self.written = 0;
        if self.outgoing.capacity() > KEPT {
            self.outgoing = Vec::new();
        }
        self.outgoing.clear();
        Poll::Ready(Ok(()))
    }
}

/// Reads what there is. A read that does not fill the buffer has emptied the socket: the readiness is given up in the same step, which
/// saves the system call that would find nothing.
fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = None;
    let outcome = stream.try_io(Interest::READABLE, || {
        let length = (&*SockRef::from(stream)).read(buffer)?;
        read = Some(length);
        if length > 0 && length < buffer.len() {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(length)
        }
    });
    read.map_or(outcome, Ok)
}

/// Where the answer to the opening handshake ends, once it is there, if it is the right one.
fn accepted(answer: &[u8], key: &str) -> Result<Option<usize>, ClientError> {
    let unexpected = || ClientError::Unexpected {
        expected: "the answer to a WebSocket's opening handshake",
        got: cut(&String::from_utf8_lossy(answer)),
    };
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = response.parse(answer).map_err(|_| unexpected())? else {
        return if answer.len() > LONGEST_ANSWER {
            Err(unexpected())
        } else {
            Ok(None)
        };
    };
    let status = response.code.unwrap_or_default();
    if status != 101 {
        return Err(ClientError::Status {
            status,
            body: cut(&String::from_utf8_lossy(answer.get(end..).unwrap_or_default())),
        });
    }
    let mut hash = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(key.as_bytes());
    hash.update(GUID);
    let accept = BASE64_STANDARD.encode(hash.finish());
    let answered =
        |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("sec-websocket-accept") && header.value == accept.as_bytes();
    response.headers.iter().find(answered).map(|_| Some(end)).ok_or_else(unexpected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_answer_to_a_handshake_is_taken_and_what_is_behind_it_is_left() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let all = format!("{answer}\u{1}");
        assert_eq!(accepted(all.as_bytes(), key).unwrap(), Some(answer.len()));
        assert_eq!(accepted(&answer.as_bytes()[..answer.len() - 1], key).unwrap(), None);
        let error = accepted(all.as_bytes(), "another").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("expected the answer to a WebSocket's opening handshake, got \"HTTP/1.1 101"),
            "{error}"
        );
        let error = accepted(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", key).unwrap_err();
        assert_eq!(error.to_string(), "HTTP status 403: no");
        assert!(accepted(b"SSH-2.0-OpenSSH\r\n\r\n", key).is_err());
    }
}
