//! From polling to WebSocket (Engine.IO protocol v4, "Upgrade"; protocol facts, 1.4).

use fanfare::node::RunningNode;

use crate::dsl::{Polling, Raw, WebSocket, frame, start, start_with, within};

async fn probe(node: &RunningNode, polling: &Polling) -> WebSocket {
    let mut websocket = WebSocket::dial(node.public_addr(), &format!("&sid={}", polling.sid)).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    websocket
}

#[tokio::test]
async fn a_parked_poll_is_released_with_a_noop() {
    let node = start().await;
    let polling = Polling::connect(node.public_addr()).await;
    let parked = tokio::spawn({
        let polling = polling.clone();
        async move { polling.get().await }
    });
    let mut websocket = probe(&node, &polling).await;
    let answer = within("the poll to be released", parked).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "6"));
    websocket.send("5").await;
    websocket.send(r#"42["echo","moved"]"#).await;
    assert_eq!(websocket.text().await, r#"42["echo","moved"]"#);
    node.shutdown().await;
}

#[tokio::test]
async fn nothing_is_lost_or_reordered_while_many_clients_move() {
    const CLIENTS: usize = 20;
    const EVENTS: usize = 300;
    let node = start().await;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(Polling::connect(node.public_addr()).await);
    }
    let emitter = tokio::spawn({
        let io = node.io().clone();
        async move {
            for number in 0..EVENTS {
                io.emit("tick", &number).unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    let moves: Vec<_> = clients
        .into_iter()
        .map(|polling| {
            let address = node.public_addr();
            tokio::spawn(async move {
                let ticks = |packets: &[String]| packets.iter().filter(|packet| packet.as_str() != "6").cloned().collect::<Vec<_>>();
                let mut seen = ticks(&polling.receive().await);
                let mut websocket = WebSocket::dial(address, &format!("&sid={}", polling.sid)).await;
                let poll = tokio::spawn({
                    let polling = polling.clone();
                    async move { polling.receive().await }
                });
                websocket.send("2probe").await;
                assert_eq!(websocket.text().await, "3probe");
                seen.extend(ticks(&within("the last poll", poll).await.unwrap()));
                websocket.send("5").await;
                while seen.len() < EVENTS {
                    seen.push(websocket.text().await);
                }
                seen
            })
        })
        .collect();
    emitter.await.unwrap();
    let expected: Vec<_> = (0..EVENTS).map(|number| format!(r#"42["tick",{number}]"#)).collect();
    for client in moves {
        assert_eq!(within("a client to see every event", client).await.unwrap(), expected);
    }
    node.shutdown().await;
}

#[tokio::test]
async fn a_second_websocket_is_accepted_and_closed_whether_the_first_probes_or_has_taken_over() {
    let node = start().await;
    let polling = Polling::connect(node.public_addr()).await;
    let mut websocket = probe(&node, &polling).await;
    let second = async || {
        let mut second = WebSocket::dial(node.public_addr(), &format!("&sid={}", polling.sid)).await;
        assert_eq!(second.closed().await, 1005);
    };
    second().await;
    websocket.send("5").await;
    websocket.send(r#"42["echo","moved"]"#).await;
    assert_eq!(websocket.text().await, r#"42["echo","moved"]"#);
    second().await;
    websocket.send(r#"42["echo","still here"]"#).await;
    assert_eq!(websocket.text().await, r#"42["echo","still here"]"#);
    node.shutdown().await;
}

#[tokio::test]
async fn a_failed_probe_closes_only_the_probe() {
    let node = start().await;
    for junk in ["2", "3probe", "4hello", "5x", "probe", "2probe2"] {
        let polling = Polling::connect(node.public_addr()).await;
        let mut websocket = WebSocket::dial(node.public_addr(), &format!("&sid={}", polling.sid)).await;
        websocket.send(junk).await;
        websocket.closed().await;
        polling.send(r#"42["echo","still here"]"#).await;
        assert_eq!(polling.receive().await, [r#"42["echo","still here"]"#], "after {junk:?}");
    }
    node.shutdown().await;
}

#[tokio::test]
async fn a_probe_that_never_ends_is_cut_and_the_session_goes_on() {
    let node = start_with(|config| config.server.engine.upgrade_timeout = std::time::Duration::from_millis(200)).await;
    let polling = Polling::connect(node.public_addr()).await;
    let mut websocket = probe(&node, &polling).await;
    websocket.closed().await;
    polling.send(r#"42["echo","still here"]"#).await;
    let mut packets = polling.receive().await;
    packets.retain(|packet| packet != "6");
    while packets.is_empty() {
        packets = polling.receive().await;
        packets.retain(|packet| packet != "6");
    }
    assert_eq!(packets, [r#"42["echo","still here"]"#]);
    node.shutdown().await;
}

#[tokio::test]
async fn frames_right_behind_the_upgrade_request_are_read() {
    let node = start().await;
    let behind = [frame(0x81, b"40"), frame(0x81, br#"42["echo","early"]"#)].concat();
    let mut client = Raw::upgrade(node.public_addr(), "", &behind).await;
    assert!(client.text().await.unwrap().starts_with("0{"));
    assert!(client.text().await.unwrap().starts_with("40{"));
    assert_eq!(client.text().await.unwrap(), r#"42["echo","early"]"#);
    node.shutdown().await;
}
