//! One session, one socket: who has it when several want it.

use std::sync::Mutex;

use super::*;
use crate::hub::{ConnectError, Data, DisconnectReason, Socket};

/// A node that notes why sockets end.
fn noting(bus: &MemoryBus) -> (Node, Arc<Mutex<Vec<String>>>) {
    let node = Node::start(bus);
    let reasons = Arc::<Mutex<Vec<String>>>::default();
    let noted = Arc::clone(&reasons);
    node.io
        .sockets()
        .on_disconnect(move |reason: DisconnectReason| {
            noted.lock().unwrap().push(reason.to_string());
            async {}
        })
        .unwrap();
    (node, reasons)
}

/// Section 5, defect 4: in the reference a second live socket has the same id.
#[tokio::test(start_paused = true)]
async fn a_connection_that_seems_alive_loses_its_socket_once() {
    let (node, reasons) = noting(&MemoryBus::new());
    let mut client = Client::joined(&node).await;
    node.io.to(client.sid.as_str()).sockets_join("red");
    node.io.emit("n", &1).unwrap();
    client.read();
    let mut old = client.lose_touch();
    node.io.emit("n", &2).unwrap();
    client.connect(&node).await;
    client.read();
    assert!(client.recovered);
    assert_eq!(client.saw(), said("n", [1, 2]));
    assert_eq!(*reasons.lock().unwrap(), ["transport error"]);
    assert_eq!(old.tap.closed(), Some(CloseReason::TransportError));
    assert_eq!(node.counter("sockets"), 1);
    drop(old.tap.frames());
    node.io.to("red").emit("n", &3).unwrap();
    assert_eq!(old.tap.frames().len(), 0);
    old.connection.closed(CloseReason::TransportError);
    settle().await;
    client.read();
    assert_eq!(client.saw(), said("n", [3]));
    assert_eq!(reasons.lock().unwrap().len(), 1, "its end is told once");
    // The end of the old connection has not ended the session.
    client.cut();
    client.connect(&node).await;
    client.read();
    assert!(client.recovered);
}

#[tokio::test(start_paused = true)]
async fn of_many_who_come_at_once_one_has_the_session() {
    let node = Node::start(&MemoryBus::new());
    for _ in 0..20 {
        let mut first = Client::joined(&node).await;
        first.cut();
        let (pid, sid) = (first.pid.clone(), first.sid.clone());
        let mut clients: Vec<Client> = (0..6).map(|_| Client::default()).collect();
        for client in &mut clients {
            client.pid.clone_from(&pid);
            client.open(&node, Revision::V4);
            client.send(&format!(r#"0{{"pid":"{}"}}"#, pid.as_deref().unwrap()));
        }
        settle().await;
        node.io.emit("n", &1).unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut alive = 0;
        for client in &mut clients {
            client.read();
            if client.line().tap.closed().is_none() && client.sid == sid {
                alive += 1;
                assert_eq!(client.saw(), said("n", [1]));
            }
        }
        assert_eq!(alive, 1);
        let closed = clients.iter_mut().filter_map(|client| client.line().tap.closed()).count();
        assert_eq!(node.counter("sockets"), 6 - closed as u64);
        for client in &mut clients {
            client.cut_by(CloseReason::ParseError);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_recovers_on_another_node_of_the_same_log() {
    let bus = MemoryBus::new();
    let (node, other) = (Node::start(&bus), Node::start(&bus));
    let mut client = Client::joined(&node).await;
    node.io.to(client.sid.as_str()).sockets_join("red");
    node.io.emit("n", &1).unwrap();
    client.read();
    written().await;
    client.cut();
    settle().await;
    other.io.to("red").emit("n", &2).unwrap();
    node.io.to("red").emit("n", &3).unwrap();
    client.connect(&other).await;
    node.io.to("red").emit("n", &4).unwrap();
    settle().await;
    client.read();
    assert!(client.recovered);
    assert_eq!(client.saw(), said("n", 1..=4));
    // The node that it left does not end it a second time.
    tokio::time::sleep(2 * WAIT).await;
    assert_eq!((node.counter("sessions_expired"), other.counter("sessions_expired")), (0, 0));
    assert_eq!(
        (node.hub.sessions_waiting(), node.counter("sockets"), other.counter("sockets")),
        (0, 0, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_undetected_connection_on_another_node_is_cut_when_it_learns() {
    let bus = MemoryBus::new();
    let ((node, reasons), other) = (noting(&bus), Node::start(&bus));
    let mut client = Client::joined(&node).await;
    written().await;
    let mut old = client.lose_touch();
    client.connect(&other).await;
    client.read();
    assert!(client.recovered);
    // It seems alive: it even answers pings.
    for _ in 0..4 {
        old.connection.asked();
        old.connection.answered();
        tokio::time::sleep(Duration::from_secs(25)).await;
    }
    assert_eq!(old.tap.closed(), Some(CloseReason::TransportError));
    assert_eq!(*reasons.lock().unwrap(), ["transport error"]);
    assert_eq!((node.counter("sockets"), other.counter("sockets")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_while_it_is_recovered_leaves_the_session_waiting() {
    let node = Node::start(&MemoryBus::new());
    let mut client = Client::joined(&node).await;
    client.cut();
    node.io.emit("n", &1).unwrap();
    for _ in 0..5 {
        client.open(&node, Revision::V4);
        let auth = format!(r#"0{{"pid":"{}"}}"#, client.pid.clone().unwrap());
        client.send(&auth);
        // Before a task has had its turn, and after it.
        client.cut();
        settle().await;
        client.open(&node, Revision::V4);
        client.send(&auth);
        settle().await;
        client.cut();
    }
    assert_eq!((node.counter("sockets"), node.hub.sessions_waiting()), (0, 1));
    client.connect(&node).await;
    client.read();
    assert!(client.recovered);
    assert_eq!(client.saw(), said("n", [1]));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_being_recovered_counts_as_asked_for() {
    let node = Node::start(&MemoryBus::new());
    let mut client = Client::joined(&node).await;
    client.cut();
    let refused = Flow::Close(CloseReason::ForcedClose);
    for packet in ["0", r#"2["early"]"#, "1", "3[]"] {
        client.open(&node, Revision::V4);
        let auth = format!(r#"0{{"pid":"{}"}}"#, client.pid.clone().unwrap());
        assert_eq!(client.send(&auth), Flow::Continue);
        assert_eq!(client.send(packet), refused, "{packet}");
        client.cut();
        settle().await;
    }
    client.connect(&node).await;
    client.read();
    assert!(client.recovered);
    assert_eq!(client.send(r#"2["now"]"#), Flow::Continue);
}

#[tokio::test(start_paused = true)]
async fn middlewares_are_asked_again_unless_they_are_skipped() {
    for skip_middlewares in [true, false] {
        let recovery = Recovery {
            skip_middlewares,
            ..Recovery::default()
        };
        let node = Node::start_with(&MemoryBus::new(), recovery, Config::default());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        node.io
            .sockets()
            .with(move |socket: Socket, Data(auth): Data<Value>| {
                noted.lock().unwrap().push(socket.recovered());
                let refused = auth["refuse"] == true;
                socket.join("asked").unwrap();
                async move { if refused { Err(ConnectError::new("no")) } else { Ok(()) } }
            })
            .unwrap();
        let mut client = Client::joined(&node).await;
        client.cut();
        let auth = format!(r#"0{{"pid":"{}","refuse":true}}"#, client.pid.clone().unwrap());
        client.open(&node, Revision::V4);
        client.send(&auth);
        settle().await;
        let answer = client.line().tap.frames().remove(0).0;
        if skip_middlewares {
            assert_eq!(*asked.lock().unwrap(), [false]);
            assert!(answer.starts_with("0{"), "{answer}");
        } else {
            assert_eq!(*asked.lock().unwrap(), [false, true]);
            assert_eq!(answer, r#"4{"message":"no"}"#);
            // The session waits on, for who is let in.
            client.cut();
            client.connect(&node).await;
            client.read();
            assert!(client.recovered);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_not_given_to_another_user() {
    let recovery = Recovery {
        skip_middlewares: false,
        ..Recovery::default()
    };
    let node = Node::start_with(&MemoryBus::new(), recovery, Config::default());
    node.io
        .sockets()
        .with(async |socket: Socket, Data(auth): Data<Value>| {
            socket.identify(auth["user"].as_str().unwrap_or("nobody"));
            Ok(())
        })
        .unwrap();
    let mut client = Client::joined(&node).await;
    client.cut();
    node.io.emit("n", &1).unwrap();
    let mut thief = Client::default();
    thief.pid.clone_from(&client.pid);
    thief.open(&node, Revision::V4);
    thief.send(&format!(r#"0{{"pid":"{}","user":"somebody"}}"#, client.pid.clone().unwrap()));
    settle().await;
    thief.read();
    assert!(thief.connected && !thief.recovered && thief.sid != client.sid);
    assert_eq!(thief.saw(), Vec::<String>::new());
    client.connect(&node).await;
    client.read();
    assert!(client.recovered);
    assert_eq!(client.saw(), said("n", [1]));
}
