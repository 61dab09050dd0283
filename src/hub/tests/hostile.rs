//! Clients that ask for more and more: what the hub keeps for one of them has a bound.

use super::*;

#[tokio::test]
async fn a_client_that_asks_for_ever_new_namespaces_leaves_nothing_behind() {
    let io = server();
    let (mut peer, _) = Peer::joined(&io);
    for number in 0..5000 {
        let name = format!("/nowhere-{number}");
        assert_eq!(peer.send(&format!("0{name},")), Flow::Continue);
        assert_eq!(peer.got(), [format!(r#"4{name},{{"message":"Invalid namespace"}}"#)]);
    }
    let counters = io.hub().counters();
    assert_eq!((counters.namespaces.get(), counters.sockets.get(), io.hub().tasks()), (1, 1, 0));
    assert_eq!(counters.connects_refused.get(), 5000);
}

#[tokio::test]
async fn refusals_that_nobody_reads_end_the_session() {
    let io = server();
    let mut peer = Peer::open(&io);
    let name = "x".repeat(1000);
    let asked = (0..).take_while(|_| {
        assert_eq!(peer.send(&format!("0/{name},")), Flow::Continue);
        peer.tap.closed().is_none()
    });
    assert!(asked.count() < 2000, "more than an outbox takes");
    assert_eq!(peer.tap.closed(), Some(CloseReason::TransportError));
}

#[tokio::test]
async fn a_client_that_joins_and_leaves_for_ever_leaves_nothing_behind() {
    let io = server();
    io.sockets().on_disconnect(async || {}).unwrap();
    let mut peer = Peer::open(&io);
    for _ in 0..5000 {
        while peer.send("0") != Flow::Continue {
            quiet(&io).await;
        }
        while peer.send("1") != Flow::Continue {
            quiet(&io).await;
        }
        assert_eq!(peer.got().len(), 1);
        quiet(&io).await;
    }
    let counters = io.hub().counters();
    assert_eq!(
        (counters.sockets.get(), counters.connects.get(), counters.disconnects.get()),
        (0, 5000, 5000)
    );
}

#[tokio::test]
async fn answers_to_nothing_are_counted_and_forgotten() {
    let io = server();
    let (mut peer, _) = Peer::joined(&io);
    for id in 0..5000 {
        assert_eq!(peer.send(&format!("3{id}[]")), Flow::Continue);
    }
    assert_eq!(io.hub().counters().acks_unknown.get(), 5000);
    assert_eq!(io.hub().tasks(), 0);
}

/// It is held as long as the socket, once for each namespace.
#[tokio::test]
async fn auth_beyond_its_bound_is_refused_and_the_connection_kept() {
    let io = server_with(Config {
        max_auth_bytes: 20,
        ..Config::default()
    });
    let mut peer = Peer::open(&io);
    assert_eq!(peer.send(r#"0{"token":"123456789"}"#), Flow::Continue);
    assert_eq!(peer.got(), [r#"4{"message":"auth is too large"}"#]);
    peer.join(r#"0{"token":"12345678"}"#);
}
