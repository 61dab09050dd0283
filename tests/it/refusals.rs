//! Every refusal of the reference, with its status and body (protocol facts, 1.2).

use fanfare::node::RunningNode;

use crate::dsl::{Answer, Polling, WebSocket, exchange, request, start, start_with};

const UPGRADE: [&str; 3] = [
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

async fn refused(node: &RunningNode, method: &str, query: &str, headers: &[&str]) -> (u16, String) {
    let answer = request(node.public_addr(), method, &format!("/socket.io/{query}"), headers, b"").await;
    assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {query}");
    (answer.status, answer.text().to_owned())
}

/// An upgrade request by hand: a client library would hide the body.
async fn refused_upgrade(node: &RunningNode, query: &str, headers: &[&str]) -> (u16, String) {
    let mut bytes = format!("GET /socket.io/{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n");
    for header in UPGRADE.iter().chain(headers) {
        bytes += &format!("{header}\r\n");
    }
    let answer = Answer::parse(&exchange(node.public_addr(), (bytes + "\r\n").as_bytes()).await);
    assert_eq!(answer.header("connection"), Some("close"), "{query}");
    assert_eq!(answer.header("content-type"), Some("text/html"), "{query}");
    (answer.status, answer.text().to_owned())
}

#[tokio::test]
async fn over_http_a_refusal_is_json_with_the_references_code() {
    let node = start().await;
    let polling = Polling::open(node.public_addr()).await;
    let known = format!("?EIO=4&transport=websocket&sid={}", polling.sid);
    let cases = [
        ("GET", "", 0, "Transport unknown"),
        ("GET", "?EIO=4", 0, "Transport unknown"),
        ("GET", "?EIO=4&transport=pigeon", 0, "Transport unknown"),
        ("GET", "?EIO=4&transport=webtransport", 0, "Transport unknown"),
        ("GET", "?EIO=4&transport=polling&transport=pigeon", 0, "Transport unknown"),
        ("GET", "?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", 1, "Session ID unknown"),
        ("POST", "?EIO=4&transport=polling&sid=%F0%9F", 1, "Session ID unknown"),
        ("POST", "?EIO=4&transport=polling", 2, "Bad handshake method"),
        ("PUT", "?EIO=4&transport=polling&sid=", 2, "Bad handshake method"),
        ("OPTIONS", "?EIO=4&transport=polling", 2, "Bad handshake method"),
        ("GET", "?EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", known.as_str(), 3, "Bad request"),
        ("GET", "?EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "?transport=polling", 5, "Unsupported protocol version"),
        ("GET", "?EIO=5&transport=polling", 5, "Unsupported protocol version"),
    ];
    for (method, query, code, message) in cases {
        let expected = (400, format!("{{\"code\":{code},\"message\":\"{message}\"}}"));
        assert_eq!(refused(&node, method, query, &[]).await, expected, "{method} {query}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn over_websocket_a_refusal_is_text_before_the_101() {
    let node = start().await;
    let cases = [
        ("?EIO=4", "Transport unknown"),
        ("?EIO=4&transport=pigeon", "Transport unknown"),
        ("?EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAA", "Session ID unknown"),
        ("?EIO=3&transport=websocket", "Unsupported protocol version"),
        ("?transport=websocket", "Unsupported protocol version"),
    ];
    for (query, message) in cases {
        assert_eq!(refused_upgrade(&node, query, &[]).await, (400, message.into()), "{query}");
    }
    node.shutdown().await;
}

/// RFC 6455, 4.2.1 asks for HTTP/1.1: below it there is nothing to switch from.
#[tokio::test]
async fn an_upgrade_over_http_1_0_is_refused() {
    let node = start().await;
    let request = format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.0\r\nHost: x\r\nConnection: Upgrade\r\n{}\r\n\r\n",
        UPGRADE.join("\r\n")
    );
    let answer = Answer::parse(&exchange(node.public_addr(), request.as_bytes()).await);
    assert_eq!((answer.status, answer.text()), (400, "Bad request"));
    node.shutdown().await;
}

#[tokio::test]
async fn a_disabled_transport_is_unknown() {
    let node = start_with(|config| config.server.engine.transports.truncate(1)).await;
    let expected = (400, "Transport unknown".to_owned());
    assert_eq!(refused_upgrade(&node, "?EIO=4&transport=websocket", &[]).await, expected);
    assert_eq!(Polling::open(node.public_addr()).await.open["upgrades"], serde_json::json!([]));
    node.shutdown().await;
}

#[tokio::test]
async fn an_upgraded_session_takes_no_polls() {
    let node = start().await;
    let polling = Polling::open(node.public_addr()).await;
    let mut websocket = WebSocket::dial(node.public_addr(), &format!("&sid={}", polling.sid)).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    websocket.send("5").await;
    websocket.send("40").await;
    assert!(websocket.text().await.starts_with("40"));
    let answer = polling.get().await;
    assert_eq!((answer.status, answer.text()), (400, r#"{"code":3,"message":"Bad request"}"#));
    node.shutdown().await;
}

#[tokio::test]
async fn methods_other_than_get_and_post_on_a_session_are_500_and_empty() {
    let node = start().await;
    let polling = Polling::open(node.public_addr()).await;
    for method in ["PUT", "DELETE", "OPTIONS"] {
        let answer = request(node.public_addr(), method, &polling.target(), &[], b"").await;
        assert_eq!((answer.status, answer.body.len()), (500, 0), "{method}");
    }
    node.shutdown().await;
}
