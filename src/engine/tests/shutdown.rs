//! The end of all sessions.

use super::*;

#[tokio::test(start_paused = true)]
async fn everybody_is_told_and_no_task_stays() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    let (silent, _) = bench.poll_open().await;
    let (_, mut client) = bench.pipe().await;
    let start = tokio::time::Instant::now();
    let client = async {
        let code = next_close(&mut client).await;
        // Answers the close frame, as clients do.
        drop(client.close(None).await);
        code
    };
    let Routed::Poll(poll) = bench.route("GET", &query) else {
        panic!("no poll")
    };
    let (code, poll, ()) = tokio::join!(
        client,
        poll,
        bench.engine.close(CloseReason::ServerShuttingDown, Duration::from_secs(10))
    );
    assert_eq!((code, body(&poll)), (1005, "1"));
    // Only the client between two polls was waited for.
    assert_eq!(start.elapsed(), Duration::from_secs(2));
    for _ in 0..3 {
        assert_eq!(bench.closed().await, CloseReason::ServerShuttingDown);
    }
    assert!(silent.is_closed());
    assert_eq!(bench.engine.counters().open(), 0);
    let Routed::Open(admission) = bench.route("GET", "EIO=4&transport=polling") else {
        panic!("no handshake")
    };
    assert_eq!(admission.admit(arrival()).unwrap_err(), NoRoom::Closing);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_not_waited_for_beyond_the_grace() {
    let mut bench = Bench::new(Config::default());
    let (session, _client) = bench.pipe().await;
    session.push(&Outgoing::new(&[&"x".repeat(20_000)], &[]));
    let start = tokio::time::Instant::now();
    bench.engine.close(CloseReason::ServerShuttingDown, Duration::from_secs(1)).await;
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    assert_eq!(bench.closed().await, CloseReason::ServerShuttingDown);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test]
async fn a_hundred_engines_leave_nothing_behind() {
    for _ in 0..100 {
        let mut bench = Bench::new(Config::default());
        let (session, stream) = bench.tcp().await;
        session.push(&Outgoing::new(&["x"], &[]));
        drop(stream);
        bench.engine.close(CloseReason::ServerShuttingDown, Duration::from_secs(10)).await;
        let shared = Arc::downgrade(&session.0.shared);
        drop((session, bench));
        assert!(shared.upgrade().is_none(), "something still holds the engine's parts");
    }
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}
