//! Asking clients.

use std::time::Duration;

use tokio::sync::mpsc;

use super::*;
use crate::hub::{AckError, Socket};

/// A server whose connected sockets are handed out.
fn handing_out() -> (Io, mpsc::Receiver<Socket>) {
    let io = server();
    let (sender, sockets) = mpsc::channel(8);
    io.sockets()
        .on_connect(move |socket: Socket| {
            let sent = sender.try_send(socket).map_err(|_| "the test is over");
            async move { sent }
        })
        .unwrap();
    (io, sockets)
}

#[tokio::test]
async fn an_answer_resolves_the_ack_of_its_id_once() {
    let (io, mut sockets) = handing_out();
    let (mut peer, _) = Peer::joined(&io);
    let socket = sockets.recv().await.unwrap();
    let first = socket.emit_with_ack::<String>("who", &());
    let second = socket.emit_with_ack::<(u8, Bytes)>("what", &1);
    assert_eq!(peer.got(), [r#"20["who"]"#, r#"21["what",1]"#]);
    assert_eq!(peer.send(r#"61-1[9,{"_placeholder":true,"num":0}]"#), Flow::Continue);
    assert_eq!(peer.send_binary(b"x"), Flow::Continue);
    assert_eq!(peer.send(r#"30["me","more"]"#), Flow::Continue);
    assert_eq!(peer.send(r#"30["again"]"#), Flow::Continue);
    assert_eq!(peer.send(r#"399["unknown"]"#), Flow::Continue);
    assert_eq!(first.await.unwrap(), "me");
    assert_eq!(second.await.unwrap(), (9, Bytes::from_static(b"x")));
    let counters = io.hub().counters();
    assert_eq!((counters.acks_in.get(), counters.acks_unknown.get()), (2, 2));
}

#[tokio::test]
async fn ids_are_drawn_per_namespace() {
    let (io, mut sockets) = handing_out();
    let (a, _) = Peer::joined(&io);
    let (b, _) = Peer::joined(&io);
    drop(sockets.recv().await.unwrap().emit_with_ack::<()>("x", &()));
    drop(sockets.recv().await.unwrap().emit_with_ack::<()>("x", &()));
    assert_eq!((a.got(), b.got()), (vec![r#"20["x"]"#.to_owned()], vec![r#"21["x"]"#.to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_a_timeout() {
    let (io, mut sockets) = handing_out();
    let (mut peer, _) = Peer::joined(&io);
    let socket = sockets.recv().await.unwrap();
    let started = tokio::time::Instant::now();
    assert!(matches!(socket.emit_with_ack::<()>("a", &()).await, Err(AckError::Timeout)));
    assert_eq!(started.elapsed(), Duration::from_secs(10));
    let short = socket.emit_with_ack::<()>("b", &()).timeout(Duration::from_millis(5));
    assert!(matches!(short.await, Err(AckError::Timeout)));
    let started = tokio::time::Instant::now();
    let shorter = socket.timeout(Duration::from_millis(3)).emit_with_ack::<()>("c", &());
    assert!(matches!(shorter.await, Err(AckError::Timeout)));
    assert_eq!(started.elapsed(), Duration::from_millis(3));
    assert_eq!(peer.send("30[]"), Flow::Continue, "too late is not an error");
    let counters = io.hub().counters();
    assert_eq!((counters.acks_timed_out.get(), counters.acks_unknown.get()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn acks_of_a_client_that_goes_resolve_at_once() {
    let (io, mut sockets) = handing_out();
    let (peer, _) = Peer::joined(&io);
    let socket = sockets.recv().await.unwrap();
    let pending = socket.emit_with_ack::<()>("a", &()).timeout(LONG);
    peer.close(CloseReason::TransportClose);
    assert!(matches!(pending.await, Err(AckError::Disconnected)));
    assert!(matches!(socket.emit_with_ack::<()>("b", &()).await, Err(AckError::Disconnected)));
    assert!(matches!(socket.emit_with_ack::<()>("connect", &()).await, Err(AckError::Emit(_))));
}

#[tokio::test]
async fn an_answer_of_another_type_is_an_error() {
    let (io, mut sockets) = handing_out();
    let (mut peer, _) = Peer::joined(&io);
    let socket = sockets.recv().await.unwrap();
    let pending = socket.emit_with_ack::<u8>("a", &());
    assert_eq!(peer.send(r#"30["text"]"#), Flow::Continue);
    assert!(matches!(pending.await, Err(AckError::Decode(_))));
}
