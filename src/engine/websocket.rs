//! The WebSocket below a session: its opening handshake, reading it into borrowed messages, and writing where no flusher can.

use std::{
    fmt,
    io::{self, IoSlice, Read},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use crate::protocol::websocket::{self, Decoder};

use super::{Config, dialect::Dialect};

/// A connection after the answer 101.
pub enum Io {
    /// A plain TCP connection: the fast path.
    Tcp(TcpStream),
    /// Anything else: TLS, a wrapped connection, a pipe of a test.
    Boxed(Box<dyn Duplex>),
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Tcp",
            Self::Boxed(_) => "Boxed",
        })
    }
}

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Verifies the opening handshake of a WebSocket (RFC 6455, section 4.2.1); `headers` looks the values of a header up by its name in
/// lower case: a list may be split over several headers (RFC 9110, 5.3).
/// Answers the value of `Sec-WebSocket-Accept`, or nothing when the request is not one for a WebSocket of version 13.
pub fn accept<'a, Values: Iterator<Item = &'a str>>(headers: impl Fn(&'static str) -> Values) -> Option<String> {
    let lists = |name, token| {
        let mut items = headers(name).flat_map(|value| value.split(','));
        items.any(|item| item.trim().eq_ignore_ascii_case(token))
    };
    let key = headers("sec-websocket-key").next()?.trim();
    let valid = lists("upgrade", "websocket")
        && lists("connection", "upgrade")
        && headers("sec-websocket-version")
            .next()
            .is_some_and(|version| version.trim() == "13")
        && websocket::is_valid_key(key);
    valid.then(|| websocket::accept_key(key))
}

/// A connection with its decoder.
pub(super) struct Wire {
    stream: Stream,
    pub(super) decoder: Decoder,
    /// When the message that has begun to come is late.
    pub(super) due: Option<Instant>,
    /// Bytes that were read and not decoded yet: what came behind the handshake, or what a pause left.
    unread: Vec<u8>,
    /// How many of them have been decoded.
    decoded: usize,
    /// What was written may still stand in a buffer of the boxed connection.
    unflushed: bool,
}

enum Stream {
    Tcp(Arc<TcpStream>),
    Boxed(Box<dyn Duplex>),
}

impl Wire {
    /// `read` is what was read of the connection beyond the handshake.
    pub(super) fn new(io: Io, read: &[u8], config: &Config, dialect: Dialect) -> Self {
        let stream = match io {
            Io::Tcp(stream) => Stream::Tcp(Arc::new(stream)),
            Io::Boxed(stream) => Stream::Boxed(stream),
        };
        Self {
            stream,
            decoder: match dialect.deflate_from {
                Some(_) => Decoder::inflating(config.max_http_buffer_size),
                None => Decoder::new(config.max_http_buffer_size),
            },
            due: None,
            unread: read.to_vec(),
            decoded: 0,
            unflushed: false,
        }
    }

    /// The plain connection, if it is one.
    pub(super) fn tcp(&self) -> Option<&Arc<TcpStream>> {
        match &self.stream {
            Stream::Tcp(stream) => Some(stream),
            Stream::Boxed(_) => None,
        }
    }

    /// Notices, between two frames and at the end of what was read, whether a message is under way, which has `time` from its first byte.
    pub(super) fn watch(&mut self, now: Instant, time: Duration) {
        if self.decoder.is_pending() {
            self.due.get_or_insert(now + time);
        } else {
            self.due = None;
        }
    }

    /// Takes the bytes that were read before, with the number of them that are done with.
    pub(super) fn take_unread(&mut self) -> Option<(Vec<u8>, usize)> {
        if self.unread.is_empty() {
            return None;
        }
        Some((std::mem::take(&mut self.unread), std::mem::take(&mut self.decoded)))
    }

    /// Keeps bytes for later of which `decoded` are done with.
    pub(super) fn keep_unread(&mut self, bytes: Vec<u8>, decoded: usize) {
        if decoded < bytes.len() {
            (self.unread, self.decoded) = (bytes, decoded);
        }
    }

    /// Reads once. Zero bytes are the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Tcp(stream) => loop {
                match read_tcp(stream, buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(stream.poll_read_ready(cx))?,
                    result => return Poll::Ready(result),
                }
            },
            Stream::Boxed(stream) => {
                let mut buffer = ReadBuf::new(buffer);
                ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
                Poll::Ready(Ok(buffer.filled().len()))
            }
        }
    }

    /// Writes to a boxed connection as far as it goes; `WouldBlock` where it does not.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let Stream::Boxed(stream) = &mut self.stream else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        self.unflushed = true;
        match Pin::new(stream).poll_write_vectored(cx, slices) {
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes the frames of a WebSocket that probes, which has no outbox yet.
    pub(super) fn poll_write_probe(&mut self, cx: &mut Context<'_>, frames: &mut Vec<u8>) -> Poll<io::Result<()>> {
        while !frames.is_empty() {
            let written = match &mut self.stream {
                Stream::Tcp(stream) => match stream.try_write(frames) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        ready!(stream.poll_write_ready(cx))?;
                        continue;
                    }
                    result => result?,
                },
                Stream::Boxed(stream) => ready!(Pin::new(stream).poll_write(cx, frames))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            frames.drain(..written.min(frames.len()));
        }
        self.poll_flush(cx)
    }

    /// Has a boxed connection write what it buffers.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Stream::Boxed(stream) = &mut self.stream
            && self.unflushed
        {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until a plain connection takes bytes again.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            Stream::Tcp(stream) => stream.poll_write_ready(cx),
            Stream::Boxed(_) => Poll::Ready(Ok(())),
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Tcp(stream) => Poll::Ready(SockRef::from(&**stream).shutdown(std::net::Shutdown::Write)),
            Stream::Boxed(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Has the connection reset when it is dropped, whatever still waits in the kernel.
    pub(super) fn reset_on_drop(&self) {
        if let Stream::Tcp(stream) = &self.stream {
            // Where the option cannot be set the connection is closed in the ordinary way.
            drop(SockRef::from(&**stream).set_linger(Some(Duration::ZERO)));
        }
    }
}

/// Reads what there is. A read that does not fill the buffer has emptied the socket: the readiness is given up in the same step,
/// which saves the system call that would find nothing. (As tokio's own `poll_read` does, which needs the stream for itself.)
pub(crate) fn read_tcp(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_opening_handshake_is_accepted() {
        let good = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        fn look<'a>(headers: &'a [(&str, &'static str)], name: &'static str) -> impl Iterator<Item = &'static str> + use<'a> {
            headers.iter().filter(move |(key, _)| *key == name).map(|(_, value)| *value)
        }
        assert_eq!(accept(|name| look(&good, name)).as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        for (place, wrong) in [(0, "h2c"), (1, "close"), (2, "8"), (3, "short")] {
            let mut bad = good;
            bad[place].1 = wrong;
            assert_eq!(accept(|name| look(&bad, name)), None, "{wrong}");
        }
    }
}
