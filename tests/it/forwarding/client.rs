//! Clients that reach their sessions through another node, and take or give no more than they must. Each holds one connection to that node.

use std::net::SocketAddr;

use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
};

use crate::dsl::{Polling, Raw, frame, within};

/// A connection on which little is under way: its window is small, and so are its segments, by which the other end sizes what it takes.
pub(super) async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    socket2::SockRef::from(&socket).set_tcp_mss(536).unwrap();
    within("a connection", socket.connect(address)).await.unwrap()
}

/// Sends the head of a request.
async fn ask(mut stream: TcpStream, head: &str) -> TcpStream {
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
    stream
}

/// Polls for what waits for a session, and reads nothing.
pub(super) async fn poll(session: &Polling, through: SocketAddr) -> TcpStream {
    let head = format!("GET {} HTTP/1.1\r\nHost: x", session.target());
    ask(narrow(through).await, &head).await
}

/// Posts, with this header for its body's length; the body is to follow.
pub(super) async fn post(session: &Polling, through: SocketAddr, length: &str) -> TcpStream {
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\n{length}", session.target());
    ask(TcpStream::connect(through).await.unwrap(), &head).await
}

/// Moves a session to a WebSocket that another node carries.
pub(super) async fn upgrade(session: &Polling, through: SocketAddr) -> TcpStream {
    let query = format!("&sid={}", session.sid);
    let mut raw = Raw::upgrade_on(narrow(through).await, &query, &frame(0x81, b"2probe")).await;
    assert_eq!(raw.text().await.as_deref(), Some("3probe"));
    raw.send(&frame(0x81, b"5")).await;
    raw.into_stream()
}
