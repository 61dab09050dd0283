//! Clients that hold what they have and give nothing back. Each function is one of them, from its connect until the node has cut it off.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{TcpSocket, TcpStream},
    time::sleep,
};

use crate::dsl::{Polling, Raw, frame, within};

/// From one byte of a slow client to its next.
pub(super) const PACE: Duration = Duration::from_millis(20);

/// A connection whose window closes after a few kilobytes.
pub(super) async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    within("a connection", socket.connect(address)).await.unwrap()
}

/// Sends a byte at a time, for ever, and returns what the node said before it ended the connection. `bytes` are repeated.
pub(super) async fn drip(stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let (mut reader, mut writer) = stream.into_split();
    let mut said = Vec::new();
    let dripping = async {
        for byte in bytes.iter().cycle() {
            // An error is the end, of which the reader knows more.
            let _ended = writer.write_all(&[*byte]).await;
            sleep(PACE).await;
        }
    };
    let reading = within("the node to end a slow connection", reader.read_to_end(&mut said));
    tokio::select! {
        () = dripping => {}
        // A reset is an end too.
        _ended = reading => {}
    }
    said
}

/// Waits, without reading a byte, until the node has ended the connection.
pub(super) async fn until_ended(stream: TcpStream) {
    within("the node to end a connection that nobody reads", async {
        // Readiness to read stays, since nobody reads: only the news of the end is asked for.
        while !stream
            .ready(Interest::READABLE | Interest::WRITABLE)
            .await
            .unwrap()
            .is_read_closed()
        {
            sleep(PACE).await;
        }
    })
    .await;
}

/// The head of a request, a byte at a time.
pub(super) async fn slow_head(address: SocketAddr) {
    let stream = TcpStream::connect(address).await.unwrap();
    drip(stream, b"GET / HTTP/1.1\r\nX-Filler: x\r\n").await;
}

/// The body of a POST to a session of its own, a byte at a time; returns the answer.
pub(super) async fn slow_body(address: SocketAddr) -> Vec<u8> {
    let session = Polling::connect(address).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", session.target());
    stream.write_all(head.as_bytes()).await.unwrap();
    drip(stream, b"4").await
}

/// One WebSocket frame, a byte at a time.
pub(super) async fn slow_frame(address: SocketAddr) {
    let mut stream = Raw::connect(address).await.into_stream();
    stream.write_all(b"\x82\xfe\x7f\xff\0\0\0\0").await.unwrap();
    drip(stream, b"x").await;
}

/// One WebSocket message without end, in whole fragments with whole pings between them.
pub(super) async fn endless_fragments(address: SocketAddr) {
    let mut stream = Raw::connect(address).await.into_stream();
    stream.write_all(&frame(0x01, b"42[\"")).await.unwrap();
    let more = [frame(0x00, b"x"), frame(0x89, b"")].concat();
    drip(stream, &more).await;
}

/// Connects, has the node send it more than every buffer on the way takes, and reads none of it. The connection is returned: a kernel
/// that gives one up tells the other side nothing.
pub(super) async fn stalled_websocket(address: SocketAddr) -> TcpStream {
    let mut raw = Raw::connect_on(narrow(address).await).await;
    raw.send(&frame(0x81, br#"42["flood"]"#)).await;
    raw.into_stream()
}

/// Polls for more than every buffer on the way takes, and reads none of the answer.
pub(super) async fn stalled_poll(address: SocketAddr) -> TcpStream {
    let session = Polling::connect(address).await;
    session.send(r#"42["flood"]"#).await;
    let mut stream = narrow(address).await;
    let poll = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", session.target());
    stream.write_all(poll.as_bytes()).await.unwrap();
    stream
}

/// Opens a session, then polls on ever new connections and reads none of the answers, however short.
pub(super) async fn unread_polls(address: SocketAddr) {
    let session = Polling::connect(address).await;
    let poll = format!("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", session.target());
    let mut polls = Vec::new();
    for _ in 0..3 {
        session.send(r#"42["echo",1]"#).await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(poll.as_bytes()).await.unwrap();
        // The answer has come when there is something to read.
        within("an answer", stream.readable()).await.unwrap();
        polls.push(stream);
    }
    for stream in polls {
        until_ended(stream).await;
    }
}

/// Hears pings over WebSocket and answers none, nor the close frame that follows.
pub(super) async fn no_pong(address: SocketAddr) {
    let stream = Raw::connect(address).await.into_stream();
    until_ended(stream).await;
}

/// Opens a session over polling and never comes back.
pub(super) async fn no_poll(address: SocketAddr) {
    Polling::connect(address).await;
}

/// Opens a session over polling, and a WebSocket beside it on which the upgrade is never finished.
pub(super) async fn half_upgrade(address: SocketAddr) {
    let session = Polling::connect(address).await;
    let mut probe = Raw::upgrade(address, &format!("&sid={}", session.sid), &frame(0x81, b"2probe")).await;
    assert_eq!(probe.text().await.as_deref(), Some("3probe"));
    until_ended(probe.into_stream()).await;
}

/// Opens a session and joins no namespace.
pub(super) async fn no_namespace(address: SocketAddr) {
    let stream = Raw::upgrade(address, "", b"").await.into_stream();
    until_ended(stream).await;
}

/// An HTTP/2 connection that asks for one thing and then only answers pings.
pub(super) async fn idle_http2(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    // GET / of an authority "x": stream 1, its headers in their static and literal forms.
    let headers = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01x";
    stream
        .write_all(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], settings, headers].concat())
        .await
        .unwrap();
    within("the node to end an idle connection", async {
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            if stream.read_exact(&mut payload).await.is_err() {
                return;
            }
            let answer: &[u8] = match head {
                [_, _, _, 6, 0, ..] => &[&b"\0\0\x08\x06\x01\0\0\0\0"[..], &payload].concat(),
                [_, _, _, 4, 0, ..] => b"\0\0\0\x04\x01\0\0\0\0",
                _ => continue,
            };
            let _ended = stream.write_all(answer).await;
        }
    })
    .await;
}
