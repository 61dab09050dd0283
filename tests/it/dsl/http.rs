//! HTTP/1.1 by hand, so that a test sees and sends exact bytes.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::within;

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of the first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// The values of all headers of this name.
    pub(crate) fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        self.all_headers()
            .filter_map(move |(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
    }

    /// All headers, in order.
    pub(crate) fn all_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head.lines().skip(1).filter_map(|line| line.split_once(": "))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Takes an answer apart.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let end = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head,
            body: bytes[end + 4..].to_vec(),
        }
    }
}

/// Sends these bytes on a new connection and reads until the server closes it.
pub(crate) async fn exchange(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    within("the server to answer and close", async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server that refuses early may close before it has read everything: what it said counts.
        let _written = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer).await;
        answer
    })
    .await
}

/// One request on a connection of its own. `headers` are whole lines without line ends.
pub(crate) async fn request(address: SocketAddr, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n").into_bytes();
    if !body.is_empty() || method == "POST" {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
    }
    for line in headers {
        bytes.extend(line.bytes().chain(*b"\r\n"));
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    Answer::parse(&exchange(address, &bytes).await)
}

/// A complete WebSocket handshake with this query, on a connection of its own. `headers` are whole lines without line ends. What the
/// server sends behind its answer is part of the body.
pub(crate) async fn upgrade(address: SocketAddr, query: &str, headers: &[&str]) -> Answer {
    let mut bytes = format!(
        "GET /socket.io/?{query} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    .into_bytes();
    for line in headers {
        bytes.extend(line.bytes().chain(*b"\r\n"));
    }
    bytes.extend(b"\r\n");
    // A close frame behind the request, so that the server ends the connection.
    bytes.extend(super::frame(0x88, &1000_u16.to_be_bytes()));
    Answer::parse(&exchange(address, &bytes).await)
}

/// A whole request after others were written: listeners accept in order, so those have been taken up when this returns.
pub(crate) async fn settle(address: SocketAddr) {
    assert_eq!(request(address, "GET", "/nowhere", &[], b"").await.status, 404);
}
