//! How sockets, and hubs, end.

use std::sync::Mutex;

use super::*;
use crate::hub::{Data, DisconnectReason, Socket, State};

type Reasons = Mutex<Vec<&'static str>>;

fn noting() -> (Io, Arc<Reasons>) {
    let io = server();
    io.provide(Reasons::default());
    for name in ["/", "/other"] {
        io.of(name)
            .on_disconnect(async |socket: Socket, reason: DisconnectReason, reasons: State<Reasons>| {
                assert!(!socket.is_connected() && socket.rooms().is_empty());
                reasons.lock().unwrap().push(reason.as_str());
            })
            .unwrap()
            .on("leave", async |socket: Socket, Data(close): Data<bool>| socket.disconnect(close))
            .unwrap();
    }
    let reasons = io.states().get::<Reasons>().unwrap();
    (io, reasons)
}

async fn noted(io: &Io, reasons: &Reasons) -> Vec<&'static str> {
    quiet(io).await;
    std::mem::take(&mut reasons.lock().unwrap())
}

#[tokio::test]
async fn the_state_changes_at_once_and_the_handler_gets_the_reason() {
    let (io, reasons) = noting();
    let (mut peer, id) = Peer::joined(&io);
    io.sockets_join("room");
    assert_eq!(peer.send("1"), Flow::Continue);
    assert!(!io.hub().interested("/", &["room".into()]) && !io.hub().interested("/", &[id.into()]));
    assert_eq!(noted(&io, &reasons).await, ["client namespace disconnect"]);

    peer.join("0");
    peer.close(CloseReason::TransportError);
    assert_eq!(noted(&io, &reasons).await, ["transport error"]);
    assert_eq!(io.hub().counters().disconnects.get(), 2);
}

#[tokio::test]
async fn a_server_side_disconnect_tells_the_client_and_spares_its_other_namespaces() {
    let (io, reasons) = noting();
    let (mut peer, _) = Peer::joined(&io);
    peer.join("0/other,");
    assert_eq!(peer.send(r#"2["leave",false]"#), Flow::Continue);
    assert_eq!(noted(&io, &reasons).await, ["server namespace disconnect"]);
    io.emit("unheard", &()).unwrap();
    assert_eq!(peer.got(), ["1"]);
    // What the client had sent before it knew.
    assert_eq!(peer.send(r#"2["leave",false]"#), Flow::Continue);
    io.of("/other").emit("heard", &()).unwrap();
    assert_eq!(peer.got(), [r#"2/other,["heard"]"#]);
    assert_eq!(peer.tap.closed(), None);
    peer.join("0");
}

#[tokio::test]
async fn a_disconnect_that_closes_says_farewell_in_all_namespaces() {
    let (io, reasons) = noting();
    let (mut peer, _) = Peer::joined(&io);
    peer.join("0/other,");
    assert_eq!(peer.send(r#"2["leave",true]"#), Flow::Continue);
    assert_eq!(noted(&io, &reasons).await, ["server namespace disconnect"; 2]);
    let mut got = peer.got();
    got.sort();
    assert_eq!(got, ["1", "1/other,"]);
    assert_eq!(peer.tap.closed(), Some(CloseReason::ForcedServerClose));
    peer.close(CloseReason::ForcedServerClose);
    assert!(noted(&io, &reasons).await.is_empty(), "a socket ends once");
}

#[tokio::test]
async fn sockets_of_a_target_are_disconnected_from_a_thread_without_a_runtime() {
    let (io, reasons) = noting();
    let (peer, id) = Peer::joined(&io);
    let (other, _) = Peer::joined(&io);
    let outside = io.clone();
    std::thread::spawn(move || outside.to(id).disconnect_sockets(false)).join().unwrap();
    assert_eq!(noted(&io, &reasons).await, ["server namespace disconnect"]);
    assert_eq!((peer.got(), other.got()), (vec!["1".to_owned()], vec![]));
}

#[tokio::test]
async fn handlers_outlive_the_runtime_of_whoever_disconnects() {
    let (io, reasons) = noting();
    let (_peer, id) = Peer::joined(&io);
    let elsewhere = io.clone();
    let brief = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { elsewhere.to(id).disconnect_sockets(false) });
    };
    std::thread::spawn(brief).join().unwrap();
    assert_eq!(noted(&io, &reasons).await, ["server namespace disconnect"]);
}

#[tokio::test]
async fn a_connection_that_is_dropped_unclosed_leaves_no_socket() {
    let (io, reasons) = noting();
    let (peer, _) = Peer::joined(&io);
    drop(peer);
    assert_eq!(noted(&io, &reasons).await, ["transport close"]);
    assert_eq!(io.hub().counters().sockets.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_starts_and_stops_leave_nothing_alive() {
    for round in 0..100 {
        let (io, reasons) = noting();
        let own = io.clone();
        io.sockets()
            .on("own", move |socket: Socket| {
                // A handler that owns the server, and one that owns its own socket.
                let (_own, held) = (own.clone(), socket.clone());
                async move {
                    socket
                        .on("held", move || {
                            let held = held.clone();
                            async move { held.leave("any") }
                        })
                        .map(drop)
                }
            })
            .unwrap()
            .on("hang", async |_: Socket| std::future::pending::<()>().await)
            .unwrap();
        let mut peers: Vec<Peer> = (0..3).map(|_| Peer::joined(&io).0).collect();
        for (number, peer) in peers.iter_mut().enumerate() {
            peer.join("0/other,");
            assert_eq!(peer.send(r#"2["own"]"#), Flow::Continue);
            if (number + round) % 2 == 0 {
                assert_eq!(peer.send(r#"2["hang"]"#), Flow::Continue);
            }
        }
        if round % 3 == 0 {
            quiet(&server()).await;
            tokio::task::yield_now().await;
        }
        let hub = Arc::downgrade(io.hub());
        io.hub().close(Duration::from_secs(1)).await;
        assert!(!reasons.lock().unwrap().is_empty());
        assert!(reasons.lock().unwrap().iter().all(|reason| *reason == "server shutting down"));
        let counters = io.hub().counters();
        assert_eq!((counters.sockets.get(), counters.namespaces.get(), io.hub().tasks()), (0, 0, 0));
        assert!(io.hub().namespaces().is_empty());
        let late = &mut peers[0];
        assert_eq!(late.send("0"), Flow::Close(CloseReason::ServerShuttingDown));
        drop((io, peers));
        assert!(hub.upgrade().is_none(), "somebody still owns the hub");
    }
}
