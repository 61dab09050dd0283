//! Clients of Socket.IO 1 and 2 over real sockets (Engine.IO protocol v3, Socket.IO protocol v4; protocol facts, 2.2, 2.4 and 2.7).

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use fanfare::node::RunningNode;

use crate::dsl::{Answer, Polling, WebSocket, request, start_with, within};

async fn start() -> RunningNode {
    let node = start_with(|config| config.server.engine.allow_eio3 = true).await;
    drop(node.io().of("/custom"));
    node
}

/// A session over polling, in which bytes are sent and read as they are.
#[derive(Debug, Clone)]
struct Client {
    address: SocketAddr,
    sid: String,
}

impl Client {
    async fn open(node: &RunningNode, query: &str) -> Self {
        let address = node.public_addr();
        let target = format!("/socket.io/?EIO=3&transport=polling{query}");
        let answer = request(address, "GET", &target, &[], b"").await;
        let (length, packet) = answer.text().split_once(':').unwrap();
        assert_eq!(length.parse(), Ok(packet.len()), "{}", answer.text());
        let open: serde_json::Value = serde_json::from_str(packet.strip_prefix('0').unwrap()).unwrap();
        let sid = open["sid"].as_str().unwrap().to_owned();
        assert_eq!(open["upgrades"], serde_json::json!(["websocket"]));
        Self { address, sid }
    }

    /// Opens a session and takes the CONNECT packet that it did not ask for.
    async fn connect(node: &RunningNode, query: &str) -> Self {
        let client = Self::open(node, query).await;
        assert_eq!(client.get().await.text(), "2:40");
        client
    }

    fn target(&self) -> String {
        format!("/socket.io/?EIO=3&transport=polling&sid={}", self.sid)
    }

    async fn get(&self) -> Answer {
        let answer = request(self.address, "GET", &self.target(), &[], b"").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }

    async fn post(&self, content_type: &str, body: &[u8]) {
        let header = format!("Content-Type: {content_type}");
        let answer = request(self.address, "POST", &self.target(), &[&header], body).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"));
    }

    async fn send(&self, payload: &str) {
        self.post("text/plain;charset=UTF-8", payload.as_bytes()).await;
    }

    async fn probe(&self) -> WebSocket {
        let mut websocket = WebSocket::dial(self.address, &format!("&EIO=3&sid={}", self.sid)).await;
        websocket.send("2probe").await;
        assert_eq!(websocket.text().await, "3probe");
        websocket
    }
}

#[tokio::test]
async fn the_transcript_over_polling_with_an_upgrade() {
    let node = start().await;
    let client = Client::connect(&node, "").await;
    client.send("14:40/custom?a=b,").await;
    assert_eq!(client.get().await.text(), "10:40/custom,");
    client.send("1:2").await;
    assert_eq!(client.get().await.text(), "1:3");
    client.send("24:42[\"echo\",\"\u{e9}\u{20ac}\u{1f600}1234567\"]").await;
    assert_eq!(client.get().await.text(), "24:42[\"echo\",\"\u{e9}\u{20ac}\u{1f600}1234567\"]");
    let parked = tokio::spawn({
        let client = client.clone();
        async move { client.get().await }
    });
    let mut websocket = client.probe().await;
    assert_eq!(within("the poll to be released", parked).await.unwrap().text(), "1:6");
    websocket.send("5").await;
    websocket.send("420[\"ack\",1]").await;
    assert_eq!(websocket.text().await, "430[1]");
    websocket.send("2").await;
    assert_eq!(websocket.text().await, "3");
    node.shutdown().await;
}

#[tokio::test]
async fn binary_travels_with_its_type_in_either_form_of_payload() {
    let node = start().await;
    let event = r#"451-["echo",{"_placeholder":true,"num":0}]"#;
    let digits = [&[0][..], b"\x04\x02\xff", event.as_bytes()].concat();
    let binary = [&digits[..], b"\x01\x03\xff\x04\x01\x02"].concat();
    let text = format!("{}:{event}6:b4AQI=", event.len());
    let (client, base64) = (Client::connect(&node, "").await, Client::connect(&node, "&b64=1").await);
    for (client, answered, kind) in [
        (&client, &binary[..], "application/octet-stream"),
        (&base64, text.as_bytes(), "text/plain; charset=UTF-8"),
    ] {
        for (posted, posted_as) in [
            (&binary[..], "application/octet-stream"),
            (text.as_bytes(), "text/plain;charset=UTF-8"),
        ] {
            client.post(posted_as, posted).await;
            let answer = client.get().await;
            assert_eq!(answer.body, answered);
            assert_eq!(answer.header("content-type"), Some(kind));
            assert_eq!(answer.header("content-length"), Some(answered.len().to_string().as_str()));
        }
    }
    node.shutdown().await;
}

#[tokio::test]
async fn the_transcript_over_a_websocket() {
    let node = start().await;
    for (query, base64) in [("&EIO=3", false), ("&EIO=3&b64=1", true)] {
        let mut client = WebSocket::dial(node.public_addr(), query).await;
        assert!(client.text().await.starts_with("0{\"sid\":"));
        assert_eq!(client.text().await, "40");
        client.send("40/custom?token=abc,").await;
        assert_eq!(client.text().await, "40/custom,");
        client.send(r#"451-["echo",{"_placeholder":true,"num":0}]"#).await;
        client.send_binary(&[4, 1, 2]).await;
        assert_eq!(client.text().await, r#"451-["echo",{"_placeholder":true,"num":0}]"#);
        if base64 {
            assert_eq!(client.text().await, "b4AQI=");
        } else {
            assert_eq!(client.binary().await, [4, 1, 2]);
        }
        client.send("40/nope,").await;
        assert_eq!(client.text().await, r#"44/nope,{"message":"Invalid namespace"}"#);
        // What it has it does not ask for.
        client.send("40").await;
        assert_eq!(client.closed().await, 1005);
    }
    node.shutdown().await;
}

/// The official suite listens for the first packet when the WebSocket has told it that it is open.
#[tokio::test]
async fn an_old_client_has_a_moment_to_begin_listening() {
    let node = start().await;
    let begun = Instant::now();
    let mut client = WebSocket::dial(node.public_addr(), "&EIO=3").await;
    assert!(client.text().await.starts_with("0{\"sid\":"));
    assert!(begun.elapsed() >= Duration::from_millis(10));
    node.shutdown().await;
}

#[tokio::test]
async fn old_and_new_clients_hear_the_same_broadcast() {
    let node = start().await;
    let old = Client::connect(&node, "").await;
    let mut old_websocket = WebSocket::dial(node.public_addr(), "&EIO=3").await;
    for _ in ["open", "CONNECT"] {
        old_websocket.text().await;
    }
    let new = Polling::connect(node.public_addr()).await;
    let mut new_websocket = WebSocket::connect(node.public_addr()).await;
    new_websocket.send(r#"451-["everyone",{"_placeholder":true,"num":0}]"#).await;
    new_websocket.send_binary(&[1, 2]).await;
    let event = r#"451-["everyone",{"_placeholder":true,"num":0}]"#;
    for websocket in [&mut old_websocket, &mut new_websocket] {
        assert_eq!(websocket.text().await, event);
    }
    assert_eq!(old_websocket.binary().await, [4, 1, 2]);
    assert_eq!(new_websocket.binary().await, [1, 2]);
    assert_eq!(new.receive_some(2).await, [event, "bAQI="]);
    let expected = [&[0][..], b"\x04\x06\xff", event.as_bytes(), b"\x01\x03\xff\x04\x01\x02"].concat();
    assert_eq!(old.get().await.body, expected);
    node.shutdown().await;
}

#[tokio::test]
async fn a_kicked_client_is_told_in_its_revision() {
    let node = start().await;
    let client = Client::connect(&node, "").await;
    node.io().sockets().disconnect_sockets(true);
    assert_eq!(client.get().await.text(), "2:41");
    assert_eq!(client.get().await.text(), "1:61:1");
    node.shutdown().await;
}
