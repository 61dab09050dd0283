//! Clients that send more events than they may.

use std::{num::NonZeroU32, time::Duration};

use tokio::sync::Semaphore;

use super::*;
use crate::hub::State;

fn limited(rate: u32) -> Io {
    let io = server_with(Config {
        events_per_second: NonZeroU32::new(rate),
        ..Config::default()
    });
    io.sockets().on("work", async || ()).unwrap();
    io
}

const EVENT: &str = r#"2["work"]"#;

/// Sends events until the connection is to be paused; gives how many.
fn fill(peer: &mut Peer) -> usize {
    (1..1000).find(|_| peer.send(EVENT) == Flow::Pause).expect("the rate is bounded")
}

/// Waits until the connection wants to be asked, and asks it.
async fn ask(peer: &mut Peer) -> Flow {
    let deadline = peer.connection.deadline().expect("it waits for something");
    tokio::time::sleep_until(deadline.into()).await;
    peer.connection.timeout()
}

#[tokio::test(start_paused = true)]
async fn a_fast_client_is_read_from_so_many_times_a_second() {
    let io = limited(20);
    let (mut peer, _) = Peer::joined(&io);
    let begun = tokio::time::Instant::now();
    assert_eq!(fill(&mut peer), 21, "a burst, and the event that was read already");
    let mut sent = 21;
    while begun.elapsed() < Duration::from_secs(10) {
        assert!(!peer.tap.resumed());
        assert_eq!(ask(&mut peer).await, Flow::Continue);
        assert!(peer.tap.resumed());
        sent += fill(&mut peer);
    }
    assert!((200..=240).contains(&sent), "{sent}");
    quiet(&io).await;
    assert_eq!(io.hub().counters().events_in.get(), sent as u64, "none is lost");
    assert!(io.hub().counters().throttles.get() > 50);
    assert_eq!(io.hub().counters().pauses.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_falls_back_is_closed_and_counted() {
    let io = limited(20);
    let (mut peer, _) = Peer::joined(&io);
    let begun = tokio::time::Instant::now();
    while peer.send(EVENT) != Flow::Close(CloseReason::ForcedClose) {
        if peer.connection.deadline().is_some() {
            assert_eq!(ask(&mut peer).await, Flow::Continue);
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it goes on for ever");
    }
    assert!(begun.elapsed() >= Config::default().stall_timeout, "{:?}", begun.elapsed());
    assert_eq!(io.hub().counters().too_fast.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_is_not_counted_and_without_a_bound_nothing_is() {
    let io = limited(1);
    drop(io.of("/other"));
    let (mut peer, _) = Peer::joined(&io);
    for _ in 0..100 {
        assert_eq!(peer.send("37[]"), Flow::Continue);
        peer.join("0/other,");
        assert_eq!(peer.send("1/other,"), Flow::Continue);
    }
    let io = server();
    let (mut peer, _) = Peer::joined(&io);
    for _ in 0..10 {
        assert_eq!(peer.send(EVENT), Flow::Continue);
        quiet(&io).await;
    }
    assert_eq!(peer.connection.deadline(), None);
}

/// A server whose handler of `slow` takes a permit for each event.
fn slow(config: Config) -> (Io, Arc<Semaphore>) {
    let io = server_with(config);
    io.provide(Semaphore::new(0));
    let handler = async |permits: State<Semaphore>| permits.acquire().await.map(tokio::sync::SemaphorePermit::forget);
    io.sockets().on("slow", handler).unwrap();
    let permits = io.states().get::<Semaphore>().unwrap();
    (io, permits)
}

const SLOW: &str = r#"2["slow"]"#;

#[tokio::test(start_paused = true)]
async fn handlers_that_catch_up_do_not_end_the_pause_of_a_client_that_is_too_fast() {
    let (io, permits) = slow(Config {
        events_per_second: NonZeroU32::new(4),
        queue_events: 4,
        ..Config::default()
    });
    let (mut peer, _) = Peer::joined(&io);
    for _ in 0..4 {
        assert_eq!(peer.send(SLOW), Flow::Continue);
    }
    assert_eq!(peer.send(SLOW), Flow::Pause, "the queue is full, and it was too fast");
    permits.add_permits(5);
    quiet(&io).await;
    assert!(!peer.tap.resumed());
    assert_eq!(ask(&mut peer).await, Flow::Continue);
    assert!(peer.tap.resumed());
}

#[tokio::test(start_paused = true)]
async fn time_that_passes_does_not_end_the_pause_of_a_client_whose_handlers_are_behind() {
    let (io, permits) = slow(Config {
        events_per_second: NonZeroU32::new(4),
        queue_events: 4,
        ..Config::default()
    });
    let (mut peer, _) = Peer::joined(&io);
    for _ in 0..4 {
        assert_eq!(peer.send(SLOW), Flow::Continue);
    }
    assert_eq!(peer.send(SLOW), Flow::Pause, "the queue is full, and it was too fast");
    assert_eq!(ask(&mut peer).await, Flow::Continue);
    assert!(!peer.tap.resumed());
    permits.add_permits(5);
    quiet(&io).await;
    assert!(peer.tap.resumed());
}
