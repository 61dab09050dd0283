//! What a client that comes back gets.

use std::future::ready;

use super::*;
use crate::{
    hub::{ConnectError, DisconnectReason, Socket},
    protocol::socketio::{Decoded, Encoded, Kind, Limits, Message, MsgpackParser, Packet, Parser as _, text},
};

#[tokio::test(start_paused = true)]
async fn a_client_that_comes_back_gets_what_it_missed_after_the_connect_answer() {
    let node = Node::start(&MemoryBus::new());
    let mut client = Client::joined(&node).await;
    node.io.emit("n", &1).unwrap();
    client.read();
    let (sid, pid) = (client.sid.clone(), client.pid.clone());
    assert_eq!(client.saw(), said("n", [1]));
    client.cut();
    for number in 2..=4 {
        node.io.emit("n", &number).unwrap();
    }
    client.connect(&node).await;
    let frames = client.line().tap.frames();
    assert!(frames[0].0.starts_with("0{"), "the answer comes first: {frames:?}");
    for (text, _) in &frames {
        client.packet(text);
    }
    assert!(client.recovered);
    assert_eq!((&client.sid, &client.pid), (&sid, &pid), "it has the same id and the same pid");
    assert_eq!(client.saw(), said("n", 2..=4));
    node.io.emit("n", &5).unwrap();
    client.read();
    assert_eq!(client.saw(), said("n", [5]));
    assert_eq!(
        (node.counter("recoveries"), node.counter("replayed"), node.counter("sockets")),
        (1, 3, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_in_its_rooms_and_its_handlers_know() {
    let node = Node::start(&MemoryBus::new());
    node.io
        .sockets()
        .on_connect(async |socket: Socket| {
            if socket.recovered() {
                assert_eq!(socket.data::<String>().unwrap(), "kept");
                assert!(socket.rooms().iter().any(|room| &**room == "red"));
                socket.emit("welcome", &"back")
            } else {
                socket.join(["red", "blue"]).unwrap();
                socket.leave("blue");
                socket.set_data("kept")?;
                socket.emit("welcome", &"first")
            }
        })
        .unwrap();
    let mut client = Client::joined(&node).await;
    written().await;
    client.read();
    assert_eq!(client.saw(), ["welcome first"]);
    client.cut();
    node.io.to("red").emit("n", &1).unwrap();
    node.io.to("blue").emit("n", &2).unwrap();
    node.io.except("red").emit("n", &3).unwrap();
    node.io.to(client.sid.as_str()).emit("n", &4).unwrap();
    client.connect(&node).await;
    node.io.to("red").emit("n", &5).unwrap();
    node.io.to("blue").emit("n", &6).unwrap();
    settle().await;
    client.read();
    assert_eq!(client.saw(), ["n 1", "n 4", "welcome back", "n 5"]);
}

/// In the reference, too, `socket.handshake` is that of the new connection; of the first one nothing is left there.
#[tokio::test(start_paused = true)]
async fn what_is_named_of_the_first_handshake_goes_with_the_session_from_node_to_node() {
    let bus = MemoryBus::new();
    let recovery = Recovery {
        skip_middlewares: false,
        handshake_keep: vec!["query.device".parse().unwrap(), "query.absent".parse().unwrap()],
        ..Recovery::default()
    };
    let start = || Node::start_with(&bus, recovery.clone(), Config::default());
    let nodes = [start(), start()];
    let (tell, mut told) = tokio::sync::mpsc::channel(16);
    let (expire, mut expired) = tokio::sync::mpsc::channel(16);
    for node in &nodes {
        let (asked, connected, expire) = (tell.clone(), tell.clone(), expire.clone());
        let note = |who: &'static str, socket: &Socket| {
            let kept = socket.kept_handshake();
            let kept = kept.map(|kept| (kept.address, kept.value("query.device"), kept.values.len()));
            (who, socket.handshake().url().to_owned(), kept)
        };
        node.io
            .sockets()
            .with(move |socket: Socket| {
                asked.try_send(note("middleware", &socket)).unwrap();
                ready(Ok::<(), ConnectError>(()))
            })
            .unwrap()
            .on_connect(move |socket: Socket| {
                connected.try_send(note("handler", &socket)).unwrap();
                ready(())
            })
            .unwrap()
            .on_session_expired(move |session| {
                expire.try_send(session.handshake).unwrap();
                async {}
            });
    }
    let (first, second) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let mut client = Client {
        from: Some((first, "/socket.io/?device=phone&secret=1")),
        ..Client::default()
    };
    client.connect(&nodes[0]).await;
    client.read();
    let kept = Some((Some(first), Some(Value::from("phone")), 1));
    let url = "/socket.io/?device=phone&secret=1".to_owned();
    assert_eq!(told.try_recv().unwrap(), ("middleware", url.clone(), None), "it has no session yet");
    assert_eq!(told.try_recv().unwrap(), ("handler", url, kept.clone()));
    written().await;
    client.from = Some((second, "/socket.io/?device=desk"));
    for node in [&nodes[1], &nodes[1], &nodes[0]] {
        client.cut();
        written().await;
        client.connect(node).await;
        client.read();
        assert!(client.recovered);
        let url = "/socket.io/?device=desk".to_owned();
        assert_eq!(told.try_recv().unwrap(), ("middleware", url.clone(), kept.clone()));
        assert_eq!(told.try_recv().unwrap(), ("handler", url, kept.clone()));
    }
    client.cut();
    tokio::time::sleep(WAIT + Duration::from_secs(5)).await;
    let handshake = expired.try_recv().unwrap();
    assert_eq!(
        (handshake.address, handshake.value("query.device")),
        (Some(first), Some("phone".into()))
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_or_foreign_offset_counts_as_that_of_the_record() {
    let node = Node::start(&MemoryBus::new());
    node.io.emit("n", &1).unwrap();
    let mut client = Client::joined(&node).await;
    // It has seen nothing yet: the stock client has no offset to send.
    client.cut();
    node.io.emit("n", &2).unwrap();
    client.connect(&node).await;
    client.read();
    assert!(client.recovered);
    assert_eq!(client.saw(), said("n", [2]));
    // The stock client keeps the offset of a session that was not recovered; so does one that talked to another log.
    let foreign = crate::hub::recovery::Offset { epoch: 7, position: 99 }.to_string();
    for offset in [None, Some(Value::Null), Some(Value::from(foreign))] {
        client.answer_ping();
        client.cut();
        node.io.emit("n", &3).unwrap();
        let pid = client.pid.clone();
        client.connect_saying(&node, pid, offset.clone()).await;
        client.read();
        assert!(client.recovered, "{offset:?}");
        assert_eq!(client.saw(), said("n", [3]), "{offset:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_believed_makes_a_new_session() {
    let node = Node::start(&MemoryBus::new());
    for offset in [
        Value::from("garbage"),
        Value::from(7),
        serde_json::json!({ "a": 1 }),
        Value::from(""),
    ] {
        let mut client = Client::joined(&node).await;
        let (sid, pid) = (client.sid.clone(), client.pid.clone());
        client.cut();
        client.connect_saying(&node, pid, Some(offset.clone())).await;
        client.read();
        assert!(client.connected && !client.recovered, "{offset}");
        assert_ne!(client.sid, sid);
    }
    let mut client = Client::joined(&node).await;
    node.io.emit("n", &1).unwrap();
    client.read();
    let seen = crate::hub::recovery::Offset::parse(client.offset.as_deref().unwrap()).unwrap();
    let ahead = crate::hub::recovery::Offset {
        position: seen.position + 1,
        ..seen
    };
    client.cut();
    client.offset = Some(ahead.to_string());
    client.connect(&node).await;
    client.read();
    assert!(client.connected && !client.recovered);
    for pid in ["", "short", "AAAAAAAAAAAAAAAAAAAAAAAA"] {
        let mut client = Client::default();
        client.connect_saying(&node, Some(pid.to_owned()), None).await;
        client.read();
        assert!(client.connected && client.pid.is_some() && client.pid.as_deref() != Some(pid));
    }
}

/// Section 5, defect 2: in the reference a volatile event whose last argument is a text is taken for an offset.
#[tokio::test(start_paused = true)]
async fn volatile_and_local_events_poison_no_offset() {
    let node = Node::start(&MemoryBus::new());
    node.io
        .sockets()
        .on("poke", async |socket: Socket| socket.volatile().emit("direct", &"text"))
        .unwrap();
    let mut client = Client::joined(&node).await;
    client.send(r#"2["poke"]"#);
    settle().await;
    client.read();
    node.io.emit("n", &1).unwrap();
    client.read();
    client.send(r#"2["poke"]"#);
    settle().await;
    client.read();
    node.io.volatile().emit("v", &"text").unwrap();
    client.read();
    node.io.local().emit("l", &"text").unwrap();
    client.read();
    assert_eq!(client.saw(), ["direct text", "n 1", "direct text", "v text", "l text"]);
    client.cut();
    node.io.emit("n", &2).unwrap();
    client.connect(&node).await;
    client.read();
    assert!(client.recovered);
    assert_eq!(client.saw(), said("n", [2]));
}

/// Section 5, defect 3: in the reference a client that got no event for longer than a session waits is never recovered.
#[tokio::test(start_paused = true)]
async fn an_idle_client_recovers_however_long_it_was_idle() {
    let node = Node::start(&MemoryBus::new());
    node.io.sockets().on_connect(async |socket: Socket| socket.join("quiet")).unwrap();
    let mut client = Client::joined(&node).await;
    for number in 0..100 {
        // Others are busy meanwhile, so that the log forgets what was when the client connected.
        node.io.except("quiet").emit("other", &number).unwrap();
        tokio::time::sleep(Duration::from_secs(25)).await;
        client.answer_ping();
    }
    written().await;
    client.cut();
    node.io.to("quiet").emit("n", &1).unwrap();
    client.connect(&node).await;
    client.read();
    assert!(client.recovered);
    assert_eq!(client.saw(), said("n", [1]));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_come_back_in_time_expires_once() {
    let bus = MemoryBus::new();
    let (node, other) = (Node::start(&bus), Node::start(&bus));
    let (tell, mut expired) = tokio::sync::mpsc::channel(8);
    for node in [&node, &other] {
        let tell = tell.clone();
        node.io.sockets().on_session_expired(move |session| {
            tell.try_send(session).unwrap();
            async {}
        });
    }
    node.io.sockets().on_connect(async |socket: Socket| socket.join("red")).unwrap();
    let mut client = Client::joined(&node).await;
    written().await;
    client.cut();
    tokio::time::sleep(WAIT - Duration::from_secs(2)).await;
    assert!(expired.try_recv().is_err());
    assert_eq!(node.hub.sessions_waiting(), 1);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let session = expired.try_recv().unwrap();
    assert_eq!(*session.id, *client.sid);
    assert_eq!(session.rooms.iter().map(|room| &**room).collect::<Vec<_>>(), [&client.sid, "red"]);
    tokio::time::sleep(WAIT).await;
    assert!(expired.try_recv().is_err());
    assert_eq!(node.hub.sessions_waiting(), 0);
    client.connect(&node).await;
    client.read();
    assert!(client.connected && !client.recovered);
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn the_reason_decides_whether_a_session_waits() {
    let node = Node::start(&MemoryBus::new());
    for reason in CloseReason::ALL {
        let mut client = Client::joined(&node).await;
        client.cut_by(reason);
        written().await;
        client.connect(&node).await;
        client.read();
        assert_eq!(client.recovered, reason != CloseReason::ParseError, "{reason}");
        client.cut_by(CloseReason::ParseError);
    }
    assert!(DisconnectReason::ClientNamespaceDisconnect.to_string().contains("client"));
    // The client leaves the namespace.
    let mut client = Client::joined(&node).await;
    client.send("1");
    client.cut();
    client.connect(&node).await;
    client.read();
    assert!(!client.recovered);
    client.cut_by(CloseReason::ParseError);
    // The server disconnects it, while the records are away: they are deleted later.
    let mut client = Client::joined(&node).await;
    node.io.to(client.sid.as_str()).disconnect_sockets(false);
    client.read();
    client.cut();
    client.connect(&node).await;
    client.read();
    assert!(client.connected && !client.recovered);
    client.cut_by(CloseReason::ParseError);
    written().await;
    assert_eq!(
        fanfare_adapters::Records::counters(&*node.store).records,
        0,
        "nothing is left of any of them"
    );
}

#[tokio::test(start_paused = true)]
async fn clients_of_the_version_before_are_never_recovered_and_see_no_offsets() {
    let node = Node::start(&MemoryBus::new());
    let mut client = Client::default();
    // It is in the namespace `/` without having asked.
    client.open(&node, Revision::V3);
    settle().await;
    node.io.emit("n", &1).unwrap();
    node.io.volatile().emit("v", &2).unwrap();
    settle().await;
    let frames: Vec<String> = client.line().tap.frames().into_iter().map(|(text, _)| text).collect();
    assert!(!frames[0].contains("pid"), "{frames:?}");
    assert_eq!(frames[1..], [r#"2["n",1]"#]);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_live_has_no_sessions() {
    let recovery = Recovery {
        namespaces: Some(["/kept".to_owned()].into()),
        ..Recovery::default()
    };
    let node = Node::start_with(&MemoryBus::new(), recovery, Config::default());
    drop(node.io.of("/kept"));
    let mut client = Client::default();
    client.open(&node, Revision::V4);
    client.send("0");
    client.send("0/kept,");
    settle().await;
    node.io.emit("n", &1).unwrap();
    node.io.of("/kept").emit("n", &1).unwrap();
    let frames: Vec<String> = client.line().tap.frames().into_iter().map(|(text, _)| text).collect();
    assert!(!frames[0].contains("pid") && frames[1].contains("pid"), "{frames:?}");
    assert_eq!(frames[2], r#"2["n",1]"#);
    assert!(frames[3].starts_with(r#"2/kept,["n",1,""#), "{frames:?}");
}

#[tokio::test(start_paused = true)]
async fn who_has_missed_too_much_is_told_so() {
    let recovery = Recovery {
        max_events: 10,
        max_bytes: 2000,
        ..Recovery::default()
    };
    let node = Node::start_with(&MemoryBus::new(), recovery, Config::default());
    for (events, size, recovered) in [(10, 1, true), (11, 1, false), (2, 900, true), (2, 1100, false)] {
        let mut client = Client::joined(&node).await;
        client.cut();
        for _ in 0..events {
            node.io.emit("n", &"x".repeat(size)).unwrap();
        }
        client.connect(&node).await;
        client.read();
        assert!(client.connected);
        assert_eq!(client.recovered, recovered, "{events} of {size}");
        assert_eq!(client.saw().len(), if recovered { events } else { 0 });
        client.cut_by(CloseReason::ParseError);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_replay_is_paced_and_what_comes_meanwhile_follows_it() {
    let node = Node::start(&MemoryBus::new());
    let mut client = Client::joined(&node).await;
    client.cut();
    // Far more than an outbox takes.
    let text = "x".repeat(40_000);
    for number in 0..100 {
        node.io.emit(&format!("{number}"), &text).unwrap();
    }
    client.connect(&node).await;
    let mut most = 0;
    for number in 100..140 {
        node.io.emit(&format!("{number}"), &text).unwrap();
        node.io.local().emit("local", &"beside it").unwrap();
        most = most.max(client.line().handle.waiting());
        client.read();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.read();
    }
    assert!(client.recovered && most < 500_000, "{most} bytes waited");
    let seen: Vec<String> = client.saw();
    let logged: Vec<u64> = seen.iter().filter_map(|said| said.split(' ').next()?.parse().ok()).collect();
    assert_eq!(logged, (0..140).collect::<Vec<_>>());
    assert_eq!(seen.len(), 180);
    // The offsets of what came beside the replay were its own.
    client.cut();
    client.connect(&node).await;
    client.read();
    assert!(client.recovered);
    assert_eq!(client.saw(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_emit_is_confirmed_when_the_log_has_it() {
    let node = Node::start(&MemoryBus::new());
    let mut client = Client::joined(&node).await;
    node.io.sockets().all().emit_logged("n", &1).unwrap().await.unwrap();
    client.read();
    assert_eq!(client.saw(), said("n", [1]));
    assert_eq!(node.cluster.counters().appended.get(), 1);
    // What goes to no log is confirmed at once.
    node.io.local().emit_logged("n", &2).unwrap().await.unwrap();
    assert_eq!(node.cluster.counters().appended.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn clients_of_the_msgpack_parser_are_recovered_too() {
    let hub = hub::Config {
        parser: Arc::new(MsgpackParser),
        ..hub::Config::default()
    };
    let node = Node::start_hub(&MemoryBus::new(), Recovery::default(), Config::default(), hub);
    let mut client = Client::default();
    let mut numbers = 1_u64..;
    for round in 0..3 {
        let mut auth = serde_json::Map::new();
        auth.extend(client.pid.clone().map(|pid| ("pid".to_owned(), Value::from(pid))));
        auth.extend(client.offset.clone().map(|offset| ("offset".to_owned(), Value::from(offset))));
        let json = Value::from(auth).to_string();
        let packet = Packet::new(Kind::Connect, "/", Some(&json));
        let Ok(Encoded::Binary(message)) = MsgpackParser.encode(&packet, &[]) else {
            panic!("CONNECT cannot be encoded")
        };
        client.open(&node, Revision::V4);
        assert_eq!(client.line().connection.message(Incoming::Binary(message.into())), Flow::Continue);
        settle().await;
        node.io.emit("n", &numbers.next()).unwrap();
        for (_, message) in client.line().tap.frames() {
            let message = Message::Binary(message.into_iter().next().expect("a binary message"));
            let Ok(Decoded::Packet(decoded)) = MsgpackParser.decode(message, &Limits::default()) else {
                panic!("the server sent what is no packet")
            };
            client.packet(&text::encode(&decoded.packet));
        }
        assert_eq!(client.recovered, round > 0);
        client.cut();
        node.io.emit("n", &numbers.next()).unwrap();
    }
    assert_eq!(client.saw(), said("n", 1..=5));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_node_that_was_closed() {
    let bus = MemoryBus::new();
    let node = Node::start(&bus);
    let io = node.io.clone();
    node.io.sockets().on_session_expired(move |_| {
        drop(io.clone());
        async {}
    });
    let mut client = Client::joined(&node).await;
    let mut live = Client::joined(&node).await;
    client.cut();
    node.io.to(live.sid.as_str()).sockets_join("red");
    node.hub.close(Duration::from_secs(1)).await;
    node.cluster.close(Duration::from_secs(1)).await;
    live.cut();
    let Node { hub, io, cluster, store } = node;
    let (hub_left, store_left) = (Arc::downgrade(&hub), Arc::downgrade(&store));
    drop((hub, io, cluster, store));
    assert!(hub_left.upgrade().is_none() && store_left.upgrade().is_none());
    // Its sessions were written down: another node goes on with them.
    let other = Node::start(&bus);
    for client in [&mut client, &mut live] {
        client.connect(&other).await;
        client.read();
        assert!(client.recovered);
    }
}
