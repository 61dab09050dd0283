//! Clients of Socket.IO 1 and 2: protocol 4 of Socket.IO, which comes over Engine.IO 3.

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::hub::{ConnectError, Socket};

const REFUSED: Flow = Flow::Close(CloseReason::ForcedClose);

fn open(io: &Io) -> Peer {
    Peer::open_as(io, Revision::V3)
}

#[tokio::test]
async fn a_client_is_in_the_main_namespace_without_asking() {
    let io = server();
    io.of("/")
        .on_connect(async |socket: Socket| socket.emit("welcome", socket.id().as_ref()))
        .unwrap();
    let mut peer = open(&io);
    quiet(&io).await;
    let session = peer.handle.id().to_owned();
    assert_eq!(peer.got(), ["0".to_owned(), format!(r#"2["welcome","{session}"]"#)]);
    // The connect timeout is satisfied by it.
    assert_eq!(peer.connection.deadline(), None);
    // It does not ask for what it has.
    assert_eq!(peer.send("0"), REFUSED);
}

#[tokio::test]
async fn ids_come_of_the_sessions_and_are_rooms() {
    let io = server();
    drop(io.of("/custom"));
    let (mut peer, mut other) = (open(&io), open(&io));
    for peer in [&mut peer, &mut other] {
        assert_eq!(peer.send("0/custom?token=abc,"), Flow::Continue);
        assert_eq!(peer.got(), ["0", "0/custom,"]);
    }
    let session = peer.handle.id().to_owned();
    let id = format!("/custom#{session}");
    io.to(session.as_str()).emit("main", &()).unwrap();
    io.of("/custom").to(id.as_str()).emit("custom", &()).unwrap();
    io.of("/custom").except(id.as_str()).emit("others", &()).unwrap();
    assert_eq!(peer.got(), [r#"2["main"]"#, r#"2/custom,["custom"]"#]);
    assert_eq!(other.got(), [r#"2/custom,["others"]"#]);
    io.of("/custom").to(id.as_str()).sockets_join("room");
    io.of("/custom").to("room").emit("joined", &()).unwrap();
    assert_eq!(peer.got(), [r#"2/custom,["joined"]"#]);
    // Who leaves and comes back has the same id.
    assert_eq!(peer.send("1/custom,"), Flow::Continue);
    io.of("/custom").to(id.as_str()).emit("gone", &()).unwrap();
    assert_eq!(peer.send("0/custom,"), Flow::Continue);
    io.of("/custom").to(id.as_str()).emit("again", &()).unwrap();
    assert_eq!(peer.got(), ["0/custom,", r#"2/custom,["again"]"#]);
}

#[tokio::test]
async fn the_query_behind_the_namespace_is_what_later_clients_give_as_auth() {
    let io = server();
    let (sender, mut seen) = mpsc::channel(8);
    let remember = move |socket: Socket| {
        let sender = sender.clone();
        async move { sender.send(socket.auth::<Value>().unwrap()).await.unwrap() }
    };
    io.of("/custom").with(remember.clone()).unwrap();
    io.of("/").with(remember).unwrap();
    for (asked, auth) in [
        ("0/custom,", json!({})),
        ("0/custom?,", json!({})),
        ("0/custom?token=a%20b&n=1&n=2&flag,", json!({"token": "a b", "n": "2", "flag": ""})),
        // It has no payload, whatever it sends.
        (r#"0/custom?a=%C3%A9,{"token":1}"#, json!({"a": "\u{e9}"})),
    ] {
        let mut peer = open(&io);
        assert_eq!(seen.recv().await, Some(json!({})));
        quiet(&io).await;
        assert_eq!(peer.send(asked), Flow::Continue);
        assert_eq!(seen.recv().await, Some(auth), "{asked}");
        quiet(&io).await;
        assert_eq!(peer.got(), ["0", "0/custom,"]);
        // Its other packets may bear the query, too.
        assert_eq!(peer.send(r#"2/custom?token=abc,["event"]"#), Flow::Continue);
    }
}

#[tokio::test]
async fn a_refusal_is_what_the_middleware_says_and_an_unknown_namespace_an_object() {
    let io = server();
    let refusals: [(&str, ConnectError, &str); 5] = [
        (
            "/code",
            ConnectError::new("no").with_data(json!({"code": 42})),
            r#"4/code,{"code":42}"#,
        ),
        ("/text", ConnectError::new("nope"), r#"4/text,"nope""#),
        ("/quoted", ConnectError::new("\"no\""), r#"4/quoted,"\"no\"""#),
        ("/zero", ConnectError::new("zero").with_data(0), r#"4/zero,"zero""#),
        ("/list", ConnectError::new("list").with_data(json!([])), "4/list,[]"),
    ];
    let mut peer = open(&io);
    assert_eq!(peer.got(), ["0"]);
    for (name, error, answer) in refusals {
        let middleware = move |_: Socket| {
            let error = error.clone();
            async move { Err::<(), _>(error) }
        };
        io.of(name).with(middleware).unwrap();
        assert_eq!(peer.send(&format!("0{name}?a=b,")), Flow::Continue);
        quiet(&io).await;
        assert_eq!(peer.got(), [answer]);
    }
    assert_eq!(peer.send("0/nope?a=b,"), Flow::Continue);
    assert_eq!(peer.got(), [r#"4/nope,{"message":"Invalid namespace"}"#]);
    // Nor is it if somebody had to be asked.
    drop(io.of_pattern("/yes-*"));
    assert_eq!(peer.send("0/nope?a=b,"), Flow::Continue);
    quiet(&io).await;
    assert_eq!(peer.got(), [r#"4/nope,{"message":"Invalid namespace"}"#]);
    // The same to a later client.
    let (mut later, _) = Peer::joined(&io);
    assert_eq!(later.send("0/code,"), Flow::Continue);
    quiet(&io).await;
    assert_eq!(later.got(), [r#"4/code,{"message":"no","data":{"code":42}}"#]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_the_main_namespace_refuses_has_its_time() {
    let io = server();
    io.of("/")
        .with(async |_: Socket| Err::<(), _>(ConnectError::new("nobody")))
        .unwrap();
    let mut peer = open(&io);
    quiet(&io).await;
    assert_eq!(peer.got(), [r#"4"nobody""#]);
    let deadline = peer.connection.deadline().expect("the connect timeout still runs");
    tokio::time::sleep_until(deadline.into()).await;
    assert_eq!(peer.connection.timeout(), REFUSED);
    assert_eq!(io.hub().counters().connect_timeouts.get(), 1);
}

#[tokio::test]
async fn events_and_acks_go_as_in_protocol_5() {
    let io = server();
    io.of("/custom")
        .on(
            "ask",
            async |crate::hub::Data(word): crate::hub::Data<String>, ack: crate::hub::Ack| ack.send(&word),
        )
        .unwrap();
    let mut peer = open(&io);
    peer.send("0/custom,");
    assert_eq!(peer.send(r#"2/custom,7["ask","x"]"#), Flow::Continue);
    quiet(&io).await;
    assert_eq!(peer.got(), ["0", "0/custom,", r#"3/custom,7["x"]"#]);
    assert_eq!(peer.send("41"), REFUSED);
}

#[tokio::test]
async fn a_closed_hub_lets_go_of_who_comes() {
    let io = server();
    io.hub().close(Duration::from_secs(1)).await;
    let peer = open(&io);
    assert_eq!((peer.tap.closed(), peer.got()), (Some(CloseReason::ServerShuttingDown), vec![]));
}
