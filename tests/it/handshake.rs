//! Opening a session (Engine.IO protocol v4, "Handshake"; Socket.IO protocol v5, "Connection to a namespace").

use std::time::Duration;

use serde_json::json;

use crate::dsl::{Polling, WebSocket, request, start, start_with};

#[tokio::test]
async fn a_polling_client_is_told_what_it_needs() {
    let node = start().await;
    let answer = request(node.public_addr(), "GET", "/socket.io/?EIO=4&transport=polling", &[], b"").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("set-cookie"), None);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let keys = ["sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"];
    let places: Vec<_> = keys.iter().map(|key| answer.text().find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "keys in the reference's order: {}", answer.text());

    let open = Polling::open(node.public_addr()).await.open;
    assert_eq!(open["sid"].as_str().unwrap().len(), 20);
    assert_eq!(open["upgrades"], json!(["websocket"]));
    assert_eq!((&open["pingInterval"], &open["pingTimeout"]), (&json!(25_000), &json!(20_000)));
    assert_eq!(open["maxPayload"], json!(1_000_000));
    node.shutdown().await;
}

#[tokio::test]
async fn a_websocket_client_is_told_that_it_cannot_upgrade_further() {
    let node = start().await;
    let (_client, open) = WebSocket::open(node.public_addr()).await;
    assert_eq!(open["upgrades"], json!([]));
    assert_eq!(open["sid"].as_str().unwrap().len(), 20);
    node.shutdown().await;
}

#[tokio::test]
async fn configured_intervals_and_sizes_are_told() {
    let node = start_with(|config| {
        config.server.engine.ping_interval = Duration::from_millis(1500);
        config.server.engine.ping_timeout = Duration::from_millis(700);
        config.server.engine.max_http_buffer_size = 4096;
    })
    .await;
    let open = Polling::open(node.public_addr()).await.open;
    assert_eq!(
        (&open["pingInterval"], &open["pingTimeout"], &open["maxPayload"]),
        (&json!(1500), &json!(700), &json!(4096))
    );
    node.shutdown().await;
}

#[tokio::test]
async fn anything_below_the_path_is_the_path() {
    let node = start_with(|config| config.server.path = "/live/chat/".into()).await;
    for path in ["/live/chat/", "/live/chat/foo/bar", "/live/chat/%7Bfoo%7D"] {
        let answer = request(node.public_addr(), "GET", &format!("{path}?EIO=4&transport=polling"), &[], b"").await;
        assert_eq!(answer.status, 200, "{path}");
    }
    for path in ["/live/chat", "/live/chatter/", "/socket.io/", "/"] {
        let answer = request(node.public_addr(), "GET", &format!("{path}?EIO=4&transport=polling"), &[], b"").await;
        assert_eq!(answer.status, 404, "{path}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn the_public_listener_knows_no_internal_path() {
    let node = start().await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(request(node.public_addr(), "GET", path, &[], b"").await.status, 404, "{path}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn both_transports_reach_the_namespace() {
    let node = start().await;
    Polling::connect(node.public_addr()).await;
    let mut client = WebSocket::connect(node.public_addr()).await;
    client.send("40/nowhere,").await;
    assert_eq!(client.text().await, r#"44/nowhere,{"message":"Invalid namespace"}"#);
    node.shutdown().await;
}
