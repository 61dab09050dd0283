//! A WebSocket that is the first thing on its connection goes the short way, past the HTTP server. What it is answered must not depend on
//! that: the same request as the second on a connection goes the long way.

use std::net::SocketAddr;

use fanfare::node::{Config, CookieConfig, CorsConfig, RunningNode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::dsl::{Answer, Polling, frame, start_with, within};

const KEY: &str = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket";

/// A node with everything on that puts something into answers.
async fn node(configure: impl FnOnce(&mut Config)) -> RunningNode {
    start_with(|config| {
        config.server.cookie = Some(CookieConfig::default());
        config.server.cors = CorsConfig {
            origins: vec!["https://a.example".into()],
            credentials: true,
            ..CorsConfig::default()
        };
        configure(config);
    })
    .await
}

/// Both ways: alone on a connection, and behind a request that the HTTP server answers.
async fn both_ways(address: SocketAddr, request: &str) -> [Answer; 2] {
    let mut bytes = request.as_bytes().to_vec();
    // Ends a WebSocket, and so the exchange.
    bytes.extend(frame(0x88, &1000_u16.to_be_bytes()));
    let mut short = TcpStream::connect(address).await.unwrap();
    short.write_all(&bytes).await.unwrap();
    let short = rest(&mut short).await;

    let mut long = TcpStream::connect(address).await.unwrap();
    long.write_all(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut first = Vec::new();
    while !first.ends_with(b"\r\n\r\n") {
        within("the HTTP server to answer", long.read_buf(&mut first)).await.unwrap();
    }
    assert!(first.starts_with(b"HTTP/1.1 404 "));
    long.write_all(&bytes).await.unwrap();
    let long = rest(&mut long).await;
    [Answer::parse(&short), Answer::parse(&long)]
}

async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // A server that closes with the rest unread resets the connection: what it said counts.
    let _reset = within("the server to answer and close", stream.read_to_end(&mut answer)).await;
    answer
}

/// What must be the same: all but the time, and what names a session.
fn essence(answer: &Answer) -> (u16, Vec<(&str, &str)>, String) {
    let mut headers: Vec<_> = answer.all_headers().filter(|(name, _)| *name != "date").collect();
    headers.sort_unstable();
    let body = if answer.status == 101 {
        String::new()
    } else {
        answer.text().to_owned()
    };
    (answer.status, headers, body)
}

#[tokio::test]
async fn the_answer_is_the_same_on_the_short_way_and_on_the_long_one() {
    let node = node(|config| config.server.engine.allow_eio3 = true).await;
    let address = node.public_addr();
    let open = "/socket.io/?EIO=4&transport=websocket";
    let get = |target: &str, lines: &str| format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n{lines}\r\n\r\n");
    let session = Polling::connect(address).await.sid;
    let protocol = "Sec-WebSocket-Protocol: one, two";
    for (request, status) in [
        (get(open, &format!("{UPGRADE}\r\n{KEY}")), 101),
        (get(open, &format!("{UPGRADE}\r\n{KEY}\r\n{protocol}")), 101),
        (get(open, &format!("Origin: https://a.example\r\n{UPGRADE}\r\n{KEY}")), 101),
        (get(open, &format!("Origin: https://b.example\r\n{UPGRADE}\r\n{KEY}")), 101),
        (get(open, &format!("fanfare-signature: forged\r\n{UPGRADE}\r\n{KEY}")), 101),
        (get("/socket.io/?EIO=3&transport=websocket", &format!("{UPGRADE}\r\n{KEY}")), 101),
        (get(&format!("{open}&sid={session}"), &format!("{UPGRADE}\r\n{KEY}")), 101),
        (
            get(&format!("{open}&sid=AAAAAAAAAAAAAAAAAAAA"), &format!("{UPGRADE}\r\n{KEY}")),
            400,
        ),
        (
            get("/socket.io/?EIO=4&transport=carrier-pigeon", &format!("{UPGRADE}\r\n{KEY}")),
            400,
        ),
        (get(open, &format!("{UPGRADE}\r\nSec-WebSocket-Version: 8")), 400),
        (get(open, UPGRADE), 400),
        (get(&format!("{open}&EIO=9"), &format!("{UPGRADE}\r\n{KEY}")), 101),
        (
            get("/socket.io/below/?EIO=4&transport=websocket", &format!("{UPGRADE}\r\n{KEY}")),
            101,
        ),
        (
            format!("POST {open} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n{KEY}\r\nContent-Length: 0\r\n\r\n"),
            400,
        ),
        (format!("GET {open} HTTP/1.0\r\nHost: x\r\n{UPGRADE}\r\n{KEY}\r\n\r\n"), 400),
        (
            get(
                "/elsewhere/?EIO=4&transport=websocket",
                &format!("{UPGRADE}\r\n{KEY}\r\nConnection: close"),
            ),
            404,
        ),
    ] {
        let [short, long] = both_ways(address, &request).await;
        assert_eq!(essence(&short), essence(&long), "{request}");
        assert_eq!(short.status, status, "{request}");
    }
    node.shutdown().await;
}

/// A refusal for want of room is no less whole.
#[tokio::test]
async fn a_full_node_refuses_both_ways() {
    let node = node(|config| config.server.engine.max_sessions = 0).await;
    let request = format!("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n{KEY}\r\n\r\n");
    let [short, long] = both_ways(node.public_addr(), &request).await;
    assert_eq!(short.status, 503);
    assert_eq!(essence(&short), essence(&long));
    node.shutdown().await;
}

/// What comes right behind the request, in the same packet, is the session's.
#[tokio::test]
async fn frames_behind_the_request_are_read() {
    let node = node(|_| {}).await;
    let mut stream = TcpStream::connect(node.public_addr()).await.unwrap();
    let request = format!("GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n{KEY}\r\n\r\n");
    let frames = [
        frame(0x81, b"40"),
        frame(0x81, br#"42["echo","early"]"#),
        frame(0x88, &1000_u16.to_be_bytes()),
    ];
    stream.write_all(&[request.as_bytes(), &frames.concat()].concat()).await.unwrap();
    let answer = Answer::parse(&rest(&mut stream).await);
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 101);
    assert!(body.contains("0{\"sid\"") && body.contains("40{\"sid\""), "{body}");
    node.shutdown().await;
}
