//! The short way of a WebSocket: a connection whose first read is one whole opening request for a session of this node is answered here,
//! without an HTTP server around it, and the answer leaves together with the session's first packet.
//!
//! What is answered is decided where it always is; a connection that begins in any other way goes to the HTTP server with what was read.
//! (The HTTP server costs a handshake more CPU than all the rest of it: `load-tests/README.md`.)

use std::{future::pending, io, net::SocketAddr, time::SystemTime};

use axum::{extract::ConnectInfo, response::Response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONTENT_LENGTH, ORIGIN, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::TcpStream,
};

use super::{
    transports::{Transports, lists, owner},
    upgrade::{Taker, decide},
};
use crate::engine::{self, Io};

/// Headers of a request, at most; hyper takes no more either.
const HEADERS: usize = 100;
/// Bytes of a request's head, as of the HTTP server.
const HEAD_BYTES: usize = super::accept::BUFFER;

/// What a connection began with.
#[derive(Debug)]
pub(super) enum First {
    /// A request for a WebSocket of this node.
    Opening(Box<Opening>),
    /// These bytes.
    Other(Bytes),
}

/// A request that opens a WebSocket on this node, and what was read beyond it.
#[derive(Debug)]
pub(super) struct Opening {
    head: Parts,
    rest: Vec<u8>,
}

/// Reads a connection's first bytes, once.
///
/// # Errors
/// What the connection fails with.
pub(super) async fn read(stream: &TcpStream, peer: SocketAddr, transports: &Transports) -> io::Result<First> {
    loop {
        stream.readable().await?;
        let first: io::Result<First> = engine::for_read(|buffer| {
            // No longer head is taken, and what is read beyond one is kept until it is asked for.
            let buffer = buffer.get_mut(..HEAD_BYTES).unwrap_or_default();
            let length = engine::read_tcp(stream, buffer)?;
            let read = buffer.get(..length).unwrap_or_default();
            Ok(match Opening::parse(read, peer, transports) {
                Ok(opening) => First::Opening(Box::new(opening)),
                Err(NoOpening) => First::Other(Bytes::copy_from_slice(read)),
            })
        });
        match first {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            first => return first,
        }
    }
}

/// The connection begins in another way, which is the HTTP server's affair, be it wrong or right.
#[derive(Debug)]
struct NoOpening;

impl Opening {
    /// Answers, and hands the connection to the engine, if it is not refused.
    ///
    /// # Errors
    /// What the connection fails with.
    pub(super) async fn answer(mut self: Box<Self>, mut stream: TcpStream, transports: &Transports) -> io::Result<()> {
        transports.strip(&mut self.head.headers);
        let mut decided = tokio::select! {
            biased;
            decided = decide(transports, &self.head) => decided,
            () = gone(&stream) => return Ok(()),
        };
        if let Some(cors) = &transports.cors {
            let (Ok((_, answer)) | Err(answer)) = &mut decided;
            cors.decorate(self.head.headers.get(ORIGIN), answer.headers_mut());
        }
        let Self { head, rest } = *self;
        drop(head);
        match decided {
            Ok((Taker::Session(admitted), answer)) if admitted.head_start().is_none() => {
                admitted.open_unanswered(Io::Tcp(stream), &encode(answer).await, &rest);
            }
            Ok((taker, answer)) => {
                stream.write_all(&encode(answer).await).await?;
                taker.take(Io::Tcp(stream), &rest).await;
            }
            Err(refused) => {
                stream.write_all(&encode(refused).await).await?;
                stream.shutdown().await?;
            }
        }
        Ok(())
    }

    fn parse(read: &[u8], peer: SocketAddr, transports: &Transports) -> Result<Self, NoOpening> {
        let mut space = [httparse::EMPTY_HEADER; HEADERS];
        let mut request = httparse::Request::new(&mut space);
        let Ok(httparse::Status::Complete(length)) = request.parse(read) else {
            return Err(NoOpening);
        };
        let url = request.path.filter(|url| {
            let path = url.split_once('?').map_or(*url, |(path, _)| path);
            path.strip_prefix(&*transports.path) == Some("/")
        });
        let (Some(url), Some("GET"), Some(1)) = (url, request.method, request.version) else {
            return Err(NoOpening);
        };
        // One allocation for all values: they are slices of it.
        let bytes = Bytes::copy_from_slice(read.get(..length).unwrap_or_default());
        let mut headers = HeaderMap::with_capacity(request.headers.len());
        for header in &*request.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| NoOpening)?;
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(within(read, &bytes, header.value))).map_err(|_| NoOpening)?;
            headers.append(name, value);
        }
        let opens = lists(&headers, &UPGRADE, "websocket");
        if !opens || headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) {
            return Err(NoOpening);
        }
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = Method::GET;
        head.version = Version::HTTP_11;
        head.uri = Uri::from_maybe_shared(bytes.slice_ref(within(read, &bytes, url.as_bytes()))).map_err(|_| NoOpening)?;
        head.headers = headers;
        head.extensions.insert(ConnectInfo(peer));
        // What belongs to another node is carried there by the HTTP server.
        if owner(transports.sticky.as_ref(), &head).is_some() && !transports.has(&head) {
            return Err(NoOpening);
        }
        Ok(Self {
            head,
            rest: read.get(length..).unwrap_or_default().to_vec(),
        })
    }
}

/// Ends when the client has gone, while nothing is read from it.
async fn gone(stream: &TcpStream) {
    match stream.ready(Interest::READABLE).await {
        Ok(ready) if !ready.is_read_closed() => pending().await,
        Ok(_) | Err(_) => {}
    }
}

/// The same piece of a copy.
fn within<'a>(read: &[u8], copy: &'a [u8], piece: &[u8]) -> &'a [u8] {
    let start = (piece.as_ptr() as usize).saturating_sub(read.as_ptr() as usize);
    copy.get(start..start + piece.len()).unwrap_or_default()
}

/// An answer as HTTP/1.1 has it. A body, which only a refusal has, is whole in memory.
async fn encode(answer: Response) -> Vec<u8> {
    let (head, body) = answer.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let mut bytes = Vec::with_capacity(256 + body.len());
    let reason = head.status.canonical_reason().unwrap_or_default();
    bytes.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", head.status.as_u16()).as_bytes());
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    if !head.status.is_informational() {
        let date = httpdate::HttpDate::from(SystemTime::now());
        bytes.extend_from_slice(format!("content-length: {}\r\ndate: {date}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&body);
    bytes
}
