//! Connections that tell whether they have broken: on a connection between nodes many clients' requests are under way, and one that ends
//! with the connection was not given up by its client.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::engine::Carrier;

/// A connection that is watched: that it has broken, or that its other end has closed it, is known before the requests on it are given up. Where
/// HTTP gives it up, for an end that is silent, requests are given up first.
#[derive(Debug)]
pub(super) struct Watched {
    carrier: Ending,
    stream: TcpStream,
    /// What was read before HTTP got it, which is to be read first.
    read: Bytes,
}

/// Whatever ends a connection: what is still asked for on it later is not answered.
#[derive(Debug, Default)]
struct Ending(Carrier);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.breaks();
    }
}

impl Watched {
    /// `read` is what was read of it already.
    pub(super) fn new(stream: TcpStream, read: Bytes) -> Self {
        let carrier = Ending::default();
        Self { carrier, stream, read }
    }

    pub(super) fn carrier(&self) -> Carrier {
        self.carrier.0.clone()
    }

    fn note<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|_| self.carrier.0.breaks())
    }

    /// The connection, and what of it HTTP has not asked for.
    pub(super) fn into_parts(self) -> (TcpStream, Bytes) {
        (self.stream, self.read)
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let length = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        if room > 0 && buffer.filled().len() == before {
            self.carrier.0.breaks();
        }
        Poll::Ready(self.note(read))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes));
        Poll::Ready(self.note(written))
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices));
        Poll::Ready(self.note(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
