//! Clients that send faster than their handlers work.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::*;
use crate::hub::{Socket, State};

const BOUND: usize = 8;

fn bounded() -> Config {
    Config {
        queue_events: BOUND,
        ..Config::default()
    }
}

/// A server whose handler of `work` takes a permit for each event, and whose `ask` asks the client.
fn slow(config: Config) -> (Io, Arc<Semaphore>) {
    let io = server_with(config);
    io.provide(Semaphore::new(0));
    io.sockets()
        .on("work", async |permits: State<Semaphore>| {
            permits.acquire().await.map(tokio::sync::SemaphorePermit::forget)
        })
        .unwrap()
        .on("ask", async |socket: Socket| {
            let answer = socket.emit_with_ack::<u8>("asked", &()).await;
            answer.map(drop)
        })
        .unwrap();
    let permits = io.states().get::<Semaphore>().unwrap();
    (io, permits)
}

/// Sends events until the connection is to be paused; gives how many were sent.
fn fill(peer: &mut Peer) -> usize {
    (1..1000)
        .find(|_| peer.send(r#"2["work"]"#) == Flow::Pause)
        .expect("the queue is bounded")
}

#[tokio::test]
async fn a_full_queue_pauses_and_half_a_queue_resumes() {
    let (io, permits) = slow(bounded());
    let (mut peer, _) = Peer::joined(&io);
    // One is taken for the handler that waits, the others wait.
    assert_eq!(fill(&mut peer), 1 + BOUND);
    assert!(peer.connection.deadline().is_some());
    tokio::task::yield_now().await;
    assert!(!peer.tap.resumed());
    permits.add_permits(1 + BOUND / 2);
    until(|| peer.tap.resumed()).await;
    permits.add_permits(BOUND / 2);
    quiet(&io).await;
    assert_eq!(peer.send(r#"2["work"]"#), Flow::Continue);
    assert_eq!(io.hub().counters().pauses.get(), 1);
}

#[tokio::test]
async fn bytes_count_as_well_as_events() {
    let (io, _permits) = slow(Config {
        queue_bytes: 2000,
        ..bounded()
    });
    let (mut peer, _) = Peer::joined(&io);
    assert_eq!(peer.send(r#"2["work"]"#), Flow::Continue);
    assert_eq!(peer.send(&format!(r#"2["work","{}"]"#, "x".repeat(2000))), Flow::Pause);
}

#[tokio::test]
async fn reading_goes_on_while_a_handler_waits_for_an_ack() {
    let (io, permits) = slow(bounded());
    let (mut peer, _) = Peer::joined(&io);
    assert_eq!(peer.send(r#"2["ask"]"#), Flow::Continue);
    until(|| !peer.got().is_empty()).await;
    for _ in 0..2 * BOUND {
        assert_eq!(peer.send(r#"2["work"]"#), Flow::Continue);
    }
    // The ack stands behind the events, and ends what they wait for.
    assert_eq!(peer.send("30[1]"), Flow::Continue);
    permits.add_permits(2 * BOUND);
    quiet(&io).await;
    assert_eq!(io.hub().counters().handler_errors.get(), 0);

    // A bound there is.
    assert_eq!(peer.send(r#"2["ask"]"#), Flow::Continue);
    until(|| !peer.got().is_empty()).await;
    assert_eq!(fill(&mut peer), 4 * BOUND);
}

#[tokio::test]
async fn an_ack_that_is_no_longer_waited_for_counts_no_more() {
    let (io, _permits) = slow(bounded());
    let (mut peer, _) = Peer::joined(&io);
    assert_eq!(peer.send(r#"2["ask"]"#), Flow::Continue);
    until(|| !peer.got().is_empty()).await;
    assert_eq!(peer.send("30[1]"), Flow::Continue);
    quiet(&io).await;
    assert_eq!(fill(&mut peer), 1 + BOUND);
}

#[tokio::test]
async fn a_handler_that_begins_to_wait_for_an_ack_ends_the_pause() {
    let (io, permits) = slow(bounded());
    let (mut peer, _) = Peer::joined(&io);
    assert_eq!(peer.send(r#"2["work"]"#), Flow::Continue);
    assert_eq!(peer.send(r#"2["ask"]"#), Flow::Continue);
    assert_eq!(fill(&mut peer), BOUND - 1);
    assert!(!peer.tap.resumed());
    permits.add_permits(1);
    until(|| peer.tap.resumed()).await;
    assert_eq!(peer.send("30[1]"), Flow::Continue);
}

#[tokio::test]
async fn a_connection_that_stays_paused_is_closed() {
    let (io, _permits) = slow(Config {
        stall_timeout: Duration::ZERO,
        ..bounded()
    });
    let (mut peer, _) = Peer::joined(&io);
    assert_eq!(peer.connection.timeout(), Flow::Continue);
    fill(&mut peer);
    assert_eq!(peer.connection.timeout(), Flow::Close(CloseReason::ForcedClose));
    assert_eq!(io.hub().counters().stalled.get(), 1);
}

/// Else a client could have a packet of any size that is allowed held for as long as it answers pings.
#[tokio::test(start_paused = true)]
async fn a_connection_whose_attachment_does_not_come_is_closed() {
    let io = server();
    let (mut peer, _) = Peer::joined(&io);
    assert_eq!(peer.connection.timeout(), Flow::Continue);
    let begin = |peer: &mut Peer| peer.send(r#"52-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#);

    assert_eq!(begin(&mut peer), Flow::Continue);
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(peer.send_binary(b"one"), Flow::Continue);
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(peer.connection.timeout(), Flow::Continue);
    assert_eq!(peer.send_binary(b"two"), Flow::Continue);
    assert_eq!(peer.connection.deadline(), None);

    assert_eq!(begin(&mut peer), Flow::Continue);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(peer.connection.deadline() <= Some(tokio::time::Instant::now().into_std()));
    assert_eq!(peer.connection.timeout(), Flow::Close(CloseReason::ForcedClose));
}

#[tokio::test]
async fn a_client_that_joins_and_leaves_for_ever_is_paused_while_its_handlers_run() {
    let (io, permits) = slow(bounded());
    io.sockets()
        .on_connect(async |permits: State<Semaphore>| permits.acquire().await.map(tokio::sync::SemaphorePermit::forget))
        .unwrap();
    let mut peer = Peer::open(&io);
    let mut rounds = 0;
    while peer.send("0") == Flow::Continue {
        assert_eq!(peer.send("1"), Flow::Continue);
        tokio::task::yield_now().await;
        rounds += 1;
        assert!(rounds < 100, "{} handlers run for one client", io.hub().tasks());
    }
    assert_eq!(rounds, BOUND);
    permits.add_permits(BOUND / 2 + 1);
    until(|| peer.tap.resumed()).await;
    permits.add_permits(BOUND);
    quiet(&io).await;
    assert_eq!(peer.send("1"), Flow::Continue);
    quiet(&io).await;
    assert_eq!(peer.send("0"), Flow::Continue);
}
