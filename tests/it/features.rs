//! What applications do with sockets, over real connections.

use std::time::Duration;

use fanfare::{
    hub::{DisconnectReason, Io, Socket},
    node::RunningNode,
};
use tokio::sync::mpsc;

use crate::dsl::{Polling, WebSocket, request, start, start_with, within};

#[tokio::test]
async fn an_event_that_is_compressed_already_is_not_compressed_again() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    let coding = async || {
        let answer = request(node.public_addr(), "GET", &client.target(), &["Accept-Encoding: gzip"], b"").await;
        answer.header("content-encoding").map(str::to_owned)
    };
    let picture = "x".repeat(5000);
    node.io().emit("e", &picture).unwrap();
    assert_eq!(coding().await.as_deref(), Some("gzip"));
    node.io().compress(false).emit("e", &picture).unwrap();
    assert_eq!(coding().await, None);
    node.io().compress(false).emit("e", &picture).unwrap();
    node.io().emit("e", &picture).unwrap();
    assert_eq!(
        coding().await.as_deref(),
        Some("gzip"),
        "an answer is compressed for the sake of one message"
    );
    node.shutdown().await;
}

/// Why sockets of the node end, as the disconnect handler hears it.
fn reasons(io: &Io) -> mpsc::Receiver<&'static str> {
    let (sender, reasons) = mpsc::channel(16);
    let told = move |socket: Socket, reason: DisconnectReason| {
        let sent = if socket.is_connected() {
            Err(())
        } else {
            sender.try_send(reason.as_str()).map_err(drop)
        };
        async move { sent.map_err(|()| "nobody listens") }
    };
    io.sockets().on_disconnect(told).unwrap();
    reasons
}

async fn reason(reasons: &mut mpsc::Receiver<&'static str>) -> &'static str {
    within("a socket to end", reasons.recv()).await.unwrap()
}

#[tokio::test]
async fn every_reason_for_a_disconnect_comes_about() {
    let node = start().await;
    let address = node.public_addr();
    let mut reasons = reasons(node.io());
    node.io()
        .sockets()
        .on("leave", async |socket: Socket| socket.disconnect(false))
        .unwrap();

    let mut client = WebSocket::connect(address).await;
    client.send("41").await;
    assert_eq!(reason(&mut reasons).await, "client namespace disconnect");
    client.send("40").await;
    client.text().await;
    client.send(r#"42["leave"]"#).await;
    assert_eq!(reason(&mut reasons).await, "server namespace disconnect");

    let client = Polling::connect(address).await;
    client.send("1").await;
    assert_eq!(reason(&mut reasons).await, "transport close");

    let client = Polling::connect(address).await;
    let overlapping = async {
        loop {
            // Until both are there at once.
            let (one, other) = tokio::join!(client.get(), client.get());
            if one.status != 200 || other.status != 200 {
                return;
            }
        }
    };
    within("a poll to be refused", overlapping).await;
    assert_eq!(reason(&mut reasons).await, "transport error");

    let mut client = WebSocket::connect(address).await;
    client.send("9").await;
    assert_eq!(reason(&mut reasons).await, "parse error");

    let mut client = WebSocket::connect(address).await;
    client.send("40").await;
    assert_eq!(reason(&mut reasons).await, "forced close");

    let client = Polling::connect(address).await;
    client.send("40").await;
    assert_eq!(
        reason(&mut reasons).await,
        "forced server close",
        "nobody polls: the close waits, the sockets do not"
    );

    let _client = WebSocket::connect(address).await;
    node.shutdown().await;
    assert_eq!(reason(&mut reasons).await, "server shutting down");

    let node = impatient().await;
    let mut reasons = self::reasons(node.io());
    let _client = WebSocket::connect(node.public_addr()).await;
    assert_eq!(reason(&mut reasons).await, "ping timeout");
    node.shutdown().await;
}

/// A node that soon misses a pong.
async fn impatient() -> RunningNode {
    start_with(|config| {
        config.server.engine.ping_interval = Duration::from_millis(300);
        config.server.engine.ping_timeout = Duration::from_millis(200);
    })
    .await
}

#[tokio::test]
async fn clients_of_a_dynamic_namespace_are_asked_fetched_and_sent_away() {
    let node = start().await;
    let address = node.public_addr();
    let tenants = node.io().of_pattern("/tenant-*");
    tenants
        .on_connect(async |socket: Socket| {
            socket.set_data(socket.namespace())?;
            socket.emit("ready", &())
        })
        .unwrap();
    let (mut websocket, _) = WebSocket::open(address).await;
    websocket.send("40/tenant-a,").await;
    assert!(websocket.text().await.starts_with(r#"40/tenant-a,{"sid":""#));
    assert_eq!(websocket.text().await, r#"42/tenant-a,["ready"]"#);
    websocket.send("40/else,").await;
    assert_eq!(websocket.text().await, r#"44/else,{"message":"Invalid namespace"}"#);
    let polling = Polling::open(address).await;
    polling.send("40/tenant-a,").await;
    assert_eq!(polling.receive_some(2).await[1], r#"42/tenant-a,["ready"]"#);

    let tenant = node.io().of("/tenant-a");
    let votes = tenant.timeout(Duration::from_secs(60)).emit_with_ack::<u8>("vote", &());
    assert_eq!(websocket.text().await, r#"42/tenant-a,0["vote"]"#);
    websocket.send("43/tenant-a,0[1]").await;
    assert_eq!(polling.receive().await, [r#"42/tenant-a,0["vote"]"#]);
    polling.send("43/tenant-a,0[2]").await;
    let mut votes = within("all votes", votes.into_future()).await.unwrap();
    votes.sort_unstable();
    assert_eq!(votes, [1, 2]);

    let sockets = tenant.fetch_sockets().await.unwrap();
    assert_eq!(sockets.len(), 2);
    assert!(sockets.iter().all(|socket| socket.data::<String>().unwrap() == "/tenant-a"));
    tenants.emit("bye", &()).unwrap();
    tenants.disconnect_sockets(false);
    assert_eq!(websocket.text().await, r#"42/tenant-a,["bye"]"#);
    assert_eq!(websocket.text().await, "41/tenant-a,");
    assert_eq!(polling.receive_some(2).await, [r#"42/tenant-a,["bye"]"#, "41/tenant-a,"]);
    node.shutdown().await;
}

#[tokio::test]
async fn a_volatile_event_waits_for_nobody_and_is_lost_as_a_whole() {
    let node = start().await;
    let client = Polling::connect(node.public_addr()).await;
    // Nobody polls: the event is dropped, with its attachment, and counted.
    node.io().volatile().emit("e", &serde_bytes::Bytes::new(b"lost")).unwrap();
    node.io().emit("kept", &()).unwrap();
    assert_eq!(client.receive().await, [r#"42["kept"]"#]);
    assert_eq!(node.io().hub().counters().volatile_dropped.get(), 1);
    let emit = async {
        // Until the poll is there.
        while node.io().hub().counters().volatile_dropped.get() < 1_000_000 {
            let before = node.io().hub().counters().volatile_dropped.get();
            node.io().volatile().emit("e", &serde_bytes::Bytes::new(b"here")).unwrap();
            if node.io().hub().counters().volatile_dropped.get() == before {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("no poll came");
    };
    let (packets, ()) = within("a poll", async { tokio::join!(client.receive(), emit) }).await;
    assert_eq!(packets, [r#"451-["e",{"_placeholder":true,"num":0}]"#, "baGVyZQ=="]);
    node.shutdown().await;
}
