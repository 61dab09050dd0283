//! WebSockets that are carried to another node end when one of their ends does nothing for too long, though neither closes.

use std::time::Duration;

use fanfare::node::RunningNode;
use fanfare_adapters::memory::MemoryBus;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::{nodes, stop};
use crate::dsl::{Polling, WebSocket, metric, start_on, within};

/// Longer than any test: what ends a connection is something else.
const LONG: Duration = Duration::from_secs(600);

async fn carried(node: &RunningNode) -> u64 {
    metric(node.internal_addr(), "fanfare_forwarded_upgrades").await
}

async fn until_none_is_carried(node: &RunningNode) {
    within("the node to carry nothing any more", async {
        while carried(node).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_no_place() {
    let nodes = nodes(2, |config| {
        config.send_timeout = LONG;
        config.server.engine.write_timeout = Duration::from_secs(1);
    })
    .await;
    let polling = Polling::connect(nodes[0].public_addr()).await;
    let mut websocket = WebSocket::dial(nodes[1].public_addr(), &format!("&sid={}", polling.sid)).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    websocket.send("5").await;
    assert_eq!(carried(&nodes[1]).await, 1);
    // More than the buffers on the way take, until its session ends for it; nothing of it is read.
    let large = "x".repeat(500_000);
    within("the session to end", async {
        while metric(nodes[0].internal_addr(), "fanfare_sessions").await > 0 {
            nodes[0].io().emit("flood", &large).unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    until_none_is_carried(&nodes[1]).await;
    drop(websocket);
    stop(nodes).await;
}

#[tokio::test]
async fn an_owner_that_says_nothing_holds_no_place() {
    // Takes the WebSocket, and that is all.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let bus = MemoryBus::new();
    let here = start_on(&bus, |config| {
        let engine = &mut config.server.engine;
        (engine.ping_interval, engine.ping_timeout) = (Duration::from_millis(300), Duration::from_millis(200));
    })
    .await
    .0;
    let owner = start_on(&bus, |config| {
        config.server.cluster.advertise = mute.local_addr().unwrap().to_string()
    })
    .await
    .0;
    within("the owner to be known", async {
        while metric(here.internal_addr(), "fanfare_cluster_peers").await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let session = Polling::connect(owner.public_addr()).await;
    let mut client = TcpStream::connect(here.public_addr()).await.unwrap();
    let request = format!(
        "GET /socket.io/?EIO=4&transport=websocket&sid={} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        session.sid
    );
    client.write_all(request.as_bytes()).await.unwrap();
    let mut silent = loop {
        let mut asked = within("the owner to be asked", mute.accept()).await.unwrap().0;
        let mut head = vec![0; 4096];
        let length = asked.read(&mut head).await.unwrap();
        // Whether the owner is where it says is asked, too.
        if String::from_utf8_lossy(&head[..length]).contains("/sessions/") {
            break asked;
        }
    };
    silent
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await
        .unwrap();
    let mut end = Vec::new();
    within("the client to be told", client.read_to_end(&mut end)).await.unwrap();
    assert!(end.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&end));
    until_none_is_carried(&here).await;
    stop(vec![here, owner]).await;
    drop(silent);
}
