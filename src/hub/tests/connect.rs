//! From CONNECT to a socket, or not.

use std::time::Duration;

use tokio::sync::oneshot;

use super::*;
use crate::hub::{Ack, ConnectError, Data, RegisterError, Socket};

const REFUSED: Flow = Flow::Close(CloseReason::ForcedClose);

#[tokio::test]
async fn a_connect_is_answered_with_an_id_apart_from_the_sessions() {
    let io = server();
    let (peer, id) = Peer::joined(&io);
    assert_eq!(id.len(), 20);
    assert_ne!(id, peer.handle.id());
    assert_eq!(NodeTag::of(&id), Some(NodeTag([1, 2, 3])));
    assert_eq!(io.hub().counters().sockets.get(), 1);
}

#[tokio::test]
async fn the_answer_comes_before_what_the_connect_handler_emits() {
    let io = server();
    let handler = async |socket: Socket| socket.emit("news", &"hello");
    io.of("chat").on_connect(handler).unwrap();
    let mut peer = Peer::open(&io);
    assert_eq!(peer.send("0/chat,"), Flow::Continue);
    quiet(&io).await;
    let got = peer.got();
    assert!(got[0].starts_with(r#"0/chat,{"sid":""#), "{got:?}");
    assert_eq!(got[1..], [r#"2/chat,["news","hello"]"#]);
}

#[tokio::test]
async fn an_unknown_namespace_is_refused_and_the_connection_kept() {
    let io = server();
    let (mut peer, _) = Peer::joined(&io);
    for (asked, answer) in [
        ("0/nowhere,", r#"4/nowhere,{"message":"Invalid namespace"}"#),
        ("0/?a=b,", r#"4/?a=b,{"message":"Invalid namespace"}"#),
    ] {
        assert_eq!(peer.send(asked), Flow::Continue);
        assert_eq!(peer.got(), [answer]);
    }
    io.emit("still", &()).unwrap();
    assert_eq!(peer.got(), [r#"2["still"]"#]);
}

#[tokio::test]
async fn what_the_state_does_not_allow_closes_the_connection() {
    let io = server();
    drop(io.of("/other"));
    for packets in [
        &["0", "0"][..],
        &[r#"2["early"]"#],
        &["3[]"],
        &["1"],
        &["0", r#"2/other,["unjoined"]"#],
        &["0", "1", r#"2["left"]"#],
        &["0", r#"4{"message":"from a client"}"#],
        &["0", r#"2["connect"]"#],
        &["0", "9"],
        &["0", "2{}"],
        &["0", "51-[\"a\",{\"_placeholder\":true,\"num\":0}]", "2[\"text\"]"],
    ] {
        let mut peer = Peer::open(&io);
        let (last, before) = packets.split_last().unwrap();
        for packet in before {
            assert_eq!(peer.send(packet), Flow::Continue, "{packets:?}");
        }
        assert_eq!(peer.send(last), REFUSED, "{packets:?}");
        peer.close(CloseReason::ForcedClose);
    }
    let (mut peer, _) = Peer::joined(&io);
    assert_eq!(peer.send_binary(b"unannounced"), REFUSED);
    assert_eq!(io.hub().counters().protocol_errors.get(), 12);
}

#[tokio::test]
async fn a_namespace_can_be_left_and_joined_again() {
    let io = server();
    let (mut peer, first) = Peer::joined(&io);
    assert_eq!(peer.send("1"), Flow::Continue);
    assert_ne!(peer.join("0"), first);
    assert_eq!(io.hub().counters().sockets.get(), 1);
}

#[tokio::test]
async fn a_connection_without_a_namespace_is_closed_in_time() {
    let config = Config {
        connect_timeout: Duration::ZERO,
        ..Config::default()
    };
    let io = server_with(config);
    let mut silent = Peer::open(&io);
    assert!(silent.connection.deadline().is_some());
    assert_eq!(silent.connection.timeout(), REFUSED);
    assert_eq!(io.hub().counters().connect_timeouts.get(), 1);

    let (mut joined, _) = Peer::joined(&io);
    assert_eq!(joined.connection.deadline(), None);
    assert_eq!(joined.send("1"), Flow::Continue);
    assert_eq!(
        joined.connection.timeout(),
        REFUSED,
        "it counts anew from the end of the last namespace"
    );
    assert_eq!(io.hub().counters().connect_timeouts.get(), 2);
    drop(io.of("/other"));
    let (mut joined, _) = Peer::joined(&io);
    joined.join("0/other,");
    assert_eq!(joined.send("1"), Flow::Continue);
    assert_eq!(joined.connection.deadline(), None, "another namespace is left");

    io.sockets().with(async || Ok(())).unwrap();
    let mut late = Peer::open(&io);
    assert_eq!(late.send("0"), Flow::Continue);
    assert!(late.connection.deadline().is_some());
    quiet(&io).await;
    assert_eq!(late.connection.timeout(), Flow::Continue, "it has connected meanwhile");
    assert_eq!(late.connection.deadline(), None);
}

#[tokio::test]
async fn a_middleware_refuses_with_message_and_data_and_its_joins_are_undone() {
    let io = server();
    let check = async |socket: Socket, Data(auth): Data<serde_json::Value>| {
        socket.join("members")?;
        if auth["token"] == "good" {
            return Ok(());
        }
        Err(ConnectError::new("not authorized").with_data(serde_json::json!({"retry": false})))
    };
    io.sockets().with(check).unwrap();
    let mut peer = Peer::open(&io);
    assert_eq!(peer.send(r#"0{"token":"bad"}"#), Flow::Continue);
    quiet(&io).await;
    assert_eq!(peer.got(), [r#"4{"message":"not authorized","data":{"retry":false}}"#]);
    assert!(!io.hub().interested("/", &["members".into()]));

    assert_eq!(peer.send(r#"0{"token":"good"}"#), Flow::Continue);
    quiet(&io).await;
    assert!(peer.got()[0].starts_with(r#"0{"sid":""#));
    io.to("members").emit("hi", &()).unwrap();
    assert_eq!(peer.got(), [r#"2["hi"]"#]);
}

#[tokio::test]
async fn middlewares_run_in_order_and_a_panic_refuses() {
    let io = server();
    io.sockets().with(async || Ok(())).unwrap();
    io.sockets()
        .with(async |_: Socket| -> Result<(), ConnectError> { panic!("on purpose") })
        .unwrap();
    io.sockets().with(async || Err(ConnectError::new("never asked"))).unwrap();
    let mut peer = Peer::open(&io);
    assert_eq!(peer.send("0"), Flow::Continue);
    quiet(&io).await;
    assert_eq!(peer.got(), [r#"4{"message":"internal error"}"#]);
    assert_eq!(io.hub().counters().handler_panics.get(), 1);
}

#[tokio::test]
async fn a_client_that_goes_while_a_middleware_decides_never_connects() {
    let io = server();
    let (open, gate) = oneshot::channel::<()>();
    let gate = Arc::new(tokio::sync::Mutex::new(Some(gate)));
    let wait = move || {
        let gate = Arc::clone(&gate);
        async move {
            let gate = gate.lock().await.take();
            gate.unwrap().await.map_err(|error| ConnectError::new(error.to_string()))
        }
    };
    io.sockets().with(wait).unwrap();
    let mut peer = Peer::open(&io);
    assert_eq!(peer.send("0"), Flow::Continue);
    assert_eq!(peer.send("0"), REFUSED, "connecting counts from the packet on");
    peer.connection.closed(CloseReason::ForcedClose);
    open.send(()).unwrap();
    quiet(&io).await;
    assert!(peer.got().is_empty());
    assert_eq!(io.hub().counters().connects.get(), 0);
    assert!(!io.hub().interested("/", &[]));
}

#[tokio::test]
async fn a_connection_has_so_many_namespaces_and_no_more() {
    let config = Config {
        max_namespaces: 2,
        ..Config::default()
    };
    let io = server_with(config);
    for name in ["/a", "/b"] {
        drop(io.of(name));
    }
    let (mut peer, _) = Peer::joined(&io);
    peer.join("0/a,");
    assert_eq!(peer.send("0/b,"), Flow::Continue);
    assert_eq!(peer.got(), [r#"4/b,{"message":"Too many namespaces"}"#]);
    assert_eq!(peer.send("1/a,"), Flow::Continue);
    peer.join("0/b,");
}

#[tokio::test]
async fn a_socket_is_in_so_many_rooms_and_no_more() {
    let io = server_with(Config {
        max_rooms: 2,
        ..Config::default()
    });
    let join = async |socket: Socket, Data(rooms): Data<Vec<String>>, ack: Ack| {
        let joined = socket.join(rooms);
        ack.send(&(joined.is_ok(), socket.rooms().len()))
    };
    io.sockets().on("join", join).unwrap();
    let (mut peer, _) = Peer::joined(&io);
    for (rooms, answer) in [
        (r#"["a","a"]"#, "30[true,2]"),
        (r#"["b","c","a"]"#, "30[false,3]"),
        (r#"["a","b"]"#, "30[true,3]"),
    ] {
        assert_eq!(peer.send(&format!(r#"20["join",{rooms}]"#)), Flow::Continue);
        quiet(&io).await;
        assert_eq!(peer.got(), [answer], "{rooms}");
    }
    io.sockets_join(["d", "a"]);
    assert!(!io.hub().interested("/", &["d".into()]));
    io.sockets_leave("a");
    io.sockets_join("d");
    assert!(io.hub().interested("/", &["d".into()]));
    assert_eq!(io.hub().counters().joins_refused.get(), 2);

    io.of("/greedy")
        .with(async |socket: Socket| -> Result<(), ConnectError> {
            socket.join(["a", "b", "c"])?;
            Ok(())
        })
        .unwrap();
    assert_eq!(peer.send("0/greedy,"), Flow::Continue);
    quiet(&io).await;
    assert_eq!(peer.got(), [r#"4/greedy,{"message":"in too many rooms"}"#]);
}

#[tokio::test]
async fn registering_what_cannot_work_is_an_error() {
    let io = server();
    let takes_state = async |_: crate::hub::State<String>| {};
    assert!(matches!(io.sockets().on("a", takes_state), Err(RegisterError::MissingState(_))));
    assert!(matches!(
        io.sockets().on("disconnect", async || ()),
        Err(RegisterError::Reserved(_))
    ));
    io.provide(String::from("state"));
    assert!(io.sockets().on("a", takes_state).is_ok());
}
