//! Whatever a client sends: it gets the reference's answer or close, the node lives, and no other client notices.

use std::net::SocketAddr;

use fanfare::node::RunningNode;

use crate::{
    bad_inputs::{BODIES, FRAMES, HARMLESS, TEXT},
    dsl::{Polling, Raw, WebSocket, exchange, frame, request, start_with},
};

/// Small, so that the oversized is quick to send.
const MAX: usize = 10_000;

/// A node with a client on it that gets a numbered stream: whatever is done to the node, the stream stays whole.
struct Watched {
    node: RunningNode,
    bystander: WebSocket,
    poller: Polling,
    ticks: usize,
}

impl Watched {
    async fn start() -> Self {
        let node = start_with(|config| config.server.engine.max_http_buffer_size = MAX).await;
        let bystander = WebSocket::connect(node.public_addr()).await;
        let poller = Polling::connect(node.public_addr()).await;
        Self {
            node,
            bystander,
            poller,
            ticks: 0,
        }
    }

    fn address(&self) -> SocketAddr {
        self.node.public_addr()
    }

    /// Sends a few numbers of the stream; both bystanders must get exactly these next.
    async fn check(&mut self, after: &str) {
        let expected: Vec<_> = (self.ticks..self.ticks + 3).map(|tick| format!(r#"42["tick",{tick}]"#)).collect();
        for tick in self.ticks..self.ticks + 3 {
            self.node.io().emit("tick", &tick).unwrap();
        }
        self.ticks += 3;
        assert_eq!(self.poller.receive_some(expected.len()).await, expected, "after {after}");
        for tick in expected {
            assert_eq!(self.bystander.text().await, tick, "after {after}");
        }
    }

    /// The bystanders still talk, and a newcomer is welcome.
    async fn end(mut self) {
        self.bystander.send(r#"42["echo","alive"]"#).await;
        assert_eq!(self.bystander.text().await, r#"42["echo","alive"]"#);
        self.poller.send(r#"42["echo","alive"]"#).await;
        assert_eq!(self.poller.receive().await, [r#"42["echo","alive"]"#]);
        WebSocket::connect(self.address()).await;
        self.node.shutdown().await;
    }
}

#[tokio::test]
async fn a_bad_packet_over_websocket_closes_its_session_only() {
    let mut watched = Watched::start().await;
    for text in TEXT {
        let mut client = Raw::connect(watched.address()).await;
        client.send(&frame(0x81, text.as_bytes())).await;
        client.closed().await;
        watched.check(text).await;
    }
    watched.end().await;
}

#[tokio::test]
async fn a_bad_packet_over_polling_is_taken_and_closes_its_session_only() {
    let mut watched = Watched::start().await;
    for text in TEXT {
        let client = Polling::connect(watched.address()).await;
        let answer = client.post(text.as_bytes()).await;
        assert!(matches!(answer.status, 200 | 400), "{text:?}: {}", answer.status);
        // A closed session is unknown, or says goodbye first.
        let after = client.get().await;
        assert!(
            after.status == 400 || after.text().split('\x1e').any(|packet| packet == "1"),
            "{text:?}: {after:?}"
        );
        watched.check(text).await;
    }
    watched.end().await;
}

#[tokio::test]
async fn what_the_reference_ignores_or_answers_leaves_the_session_alone() {
    let mut watched = Watched::start().await;
    for text in HARMLESS {
        let mut client = Raw::connect(watched.address()).await;
        client
            .send(&[frame(0x81, text.as_bytes()), frame(0x81, br#"42["echo","alive"]"#)].concat())
            .await;
        let mut answer = client.text().await.unwrap_or_else(|| panic!("closed by {text:?}"));
        if answer.starts_with("44/nowhere,") {
            answer = client.text().await.unwrap();
        }
        assert_eq!(answer, r#"42["echo","alive"]"#, "after {text:?}");
        watched.check(text).await;
    }
    watched.end().await;
}

#[tokio::test]
async fn deep_nesting_is_refused_without_a_deep_stack() {
    let mut watched = Watched::start().await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = MAX / (open.len() + close.len()) - 10;
        let text = format!("42[\"echo\",{}1{}]", open.repeat(depth), close.repeat(depth));
        let mut client = Raw::connect(watched.address()).await;
        client.send(&frame(0x81, text.as_bytes())).await;
        client.closed().await;
        let unclosed = format!("42[\"echo\",{}", open.repeat(depth));
        let mut client = Raw::connect(watched.address()).await;
        client.send(&frame(0x81, unclosed.as_bytes())).await;
        client.closed().await;
        watched.check(open).await;
    }
    watched.end().await;
}

#[tokio::test]
async fn a_broken_frame_closes_with_the_code_of_the_rfc() {
    let mut watched = Watched::start().await;
    let unmasked = [&[0x81, 2][..], b"40"].concat();
    let announced = |length: u64| [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4], b"4"].concat();
    let cases: [(&str, Vec<u8>, &[u16]); 5] = [
        ("an unmasked frame", unmasked, &[1002]),
        ("an oversized message", frame(0x81, &[b'4'; MAX + 1]), &[1009]),
        (
            "an oversized message in pieces",
            [frame(0x01, &[b'4'; MAX]), frame(0x80, &[b'4'; 2])].concat(),
            &[1009],
        ),
        ("a length beyond all memory", announced(1 << 40), &[1009]),
        ("a negative length", announced(u64::MAX), &[1002, 1009]),
    ];
    let short = FRAMES.iter().map(|(what, frames, codes)| {
        let bytes = frames.iter().flat_map(|(first, payload)| frame(*first, payload)).collect();
        (*what, bytes, *codes)
    });
    for (what, bytes, codes) in cases.into_iter().chain(short) {
        let mut client = Raw::connect(watched.address()).await;
        client.send(&bytes).await;
        let code = client.closed().await;
        assert!(codes.contains(&code), "{what}: {code}");
        watched.check(what).await;
    }
    watched.end().await;
}

#[tokio::test]
async fn a_connection_that_ends_in_the_middle_is_just_gone() {
    let mut watched = Watched::start().await;
    let whole = frame(0x81, br#"42["echo","never finished"]"#);
    for cut in [1, 2, 5, 6, whole.len() - 1] {
        let mut client = Raw::connect(watched.address()).await;
        client.send(&whole[..cut]).await;
        client.finish().await;
        assert!(matches!(client.closed().await, 1005 | 1006), "cut after {cut} bytes");
        watched.check("a truncated frame").await;
    }
    watched.end().await;
}

#[tokio::test]
async fn attachments_that_do_not_come_as_announced_close_the_session() {
    let mut watched = Watched::start().await;
    let announced = frame(0x81, br#"451-["echo",{"_placeholder":true,"num":0}]"#);
    let text_instead = [announced.clone(), frame(0x81, br#"42["echo",1]"#)].concat();
    let unannounced = frame(0x82, b"bytes");
    let wrong_number = [frame(0x81, br#"451-["echo",{"_placeholder":true,"num":5}]"#), frame(0x82, b"bytes")].concat();
    for (what, bytes) in [
        ("text instead", text_instead),
        ("unannounced", unannounced),
        ("wrong number", wrong_number),
    ] {
        let mut client = Raw::connect(watched.address()).await;
        client.send(&bytes).await;
        client.closed().await;
        watched.check(what).await;
    }
    // One that never comes holds nothing up: the session is alive, and ends with its connection.
    let mut client = Raw::connect(watched.address()).await;
    client.send(&announced).await;
    watched.check("an attachment that never comes").await;
    client.send(&frame(0x82, b"late")).await;
    let mut next = client.text().await.unwrap();
    while next.contains("tick") {
        next = client.text().await.unwrap();
    }
    assert_eq!(next, r#"451-["echo",{"_placeholder":true,"num":0}]"#);
    client.finish().await;
    client.closed().await;
    watched.end().await;
}

#[tokio::test]
async fn a_bad_body_is_answered_and_harms_its_session_at_most() {
    let mut watched = Watched::start().await;
    let long = [("separators only", vec![0x1e; MAX]), ("oversized", vec![b'4'; MAX + 1])];
    let short = BODIES.iter().map(|(what, body)| (*what, body.to_vec()));
    for (what, body) in long.into_iter().chain(short) {
        let client = Polling::connect(watched.address()).await;
        let answer = client.post(&body).await;
        assert!(matches!(answer.status, 200 | 400 | 413), "{what}: {}", answer.status);
        watched.check(what).await;
    }
    watched.end().await;
}

#[tokio::test]
async fn junk_instead_of_http_is_refused_or_cut() {
    let mut watched = Watched::start().await;
    let get = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let sid = Polling::connect(watched.address()).await.sid;
    let post = format!("POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    let cases: [(&str, Vec<u8>); 12] = [
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20)),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec()),
        ("no version", b"GET / HTTP/9.9\r\n\r\n".to_vec()),
        ("junk pipelined behind a request", [get.as_bytes(), b"\x00\xff\x00\xff"].concat()),
        (
            "a head without end",
            format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(100_000)).into_bytes(),
        ),
        (
            "headers without end",
            format!("GET / HTTP/1.1\r\n{}", "a: b\r\n".repeat(10_000)).into_bytes(),
        ),
        (
            "a path without end",
            format!("GET /socket.io/{} HTTP/1.1\r\n\r\n", "x".repeat(100_000)).into_bytes(),
        ),
        (
            "two lengths",
            format!("{post}Content-Length: 1\r\nContent-Length: 2\r\n\r\n44").into_bytes(),
        ),
        ("a negative length", format!("{post}Content-Length: -1\r\n\r\n4").into_bytes()),
        (
            "a length of all memory",
            format!("{post}Content-Length: 18446744073709551615\r\n\r\n4").into_bytes(),
        ),
        (
            "a bad chunk",
            format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n4\r\n0\r\n\r\n").into_bytes(),
        ),
        (
            "HTTP/2 with junk frames",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff".to_vec(),
        ),
    ];
    for (what, bytes) in cases {
        exchange(watched.address(), &bytes).await;
        watched.check(what).await;
    }
    watched.end().await;
}

#[tokio::test]
async fn a_bad_websocket_handshake_is_refused() {
    let mut watched = Watched::start().await;
    let target = "/socket.io/?EIO=4&transport=websocket";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let cases: [&[&str]; 5] = [
        &["Upgrade: websocket", "Sec-WebSocket-Version: 13"],
        &["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"],
        &["Upgrade: websocket", "Sec-WebSocket-Version: 12", key],
        &["Upgrade: websocket", key],
        &["Upgrade: h2c", "Sec-WebSocket-Version: 13", key],
    ];
    for headers in cases {
        // The DSL says `Connection: close`; a second `Connection` header joins it.
        let headers = [headers, &["Connection: Upgrade"]].concat();
        let answer = request(watched.address(), "GET", target, &headers, b"").await;
        assert!(matches!(answer.status, 400 | 426), "{headers:?}: {}", answer.status);
        watched.check("a bad handshake").await;
    }
    watched.end().await;
}

#[tokio::test]
async fn random_bytes_are_survived() {
    let mut watched = Watched::start().await;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..60 {
        let bytes: Vec<u8> = (0..1 + random.next() % 700).map(|_| random.next().to_be_bytes()[0]).collect();
        match round % 4 {
            // As frames: whatever they mean, the connection ends when we do.
            0 => {
                let mut client = Raw::connect(watched.address()).await;
                client.send(&bytes).await;
                client.finish().await;
                client.closed().await;
            }
            // As a well-framed message, text or binary.
            1 => {
                let mut client = Raw::connect(watched.address()).await;
                client.send(&frame(0x81 + (round / 4 % 2) as u8, &bytes)).await;
                client.finish().await;
                client.closed().await;
            }
            2 => drop(Polling::connect(watched.address()).await.post(&bytes).await),
            _ => drop(exchange_and_finish(watched.address(), &bytes).await),
        }
        watched.check("random bytes").await;
    }
    watched.end().await;
}

/// A fixed sequence (xorshift), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// As `exchange`, but tells the server that nothing more comes.
async fn exchange_and_finish(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    crate::dsl::within("the server to close", async {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let _sent = (stream.write_all(bytes).await, stream.shutdown().await);
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer).await;
        answer
    })
    .await
}
