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
    assert_eq!(admission.admit(arrival()).unwrap_err(), NotAdmitted::Closing);
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_closed_is_not_waited_for() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    assert_eq!(body(&bench.post(&query, "1").await), "ok");
    assert_eq!(bench.closed().await, CloseReason::TransportClose);
    let start = tokio::time::Instant::now();
    bench.engine.close(CloseReason::ServerShuttingDown, Duration::from_secs(10)).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
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

/// What a shutdown costs the other nodes is spread over time, and few clients do not have to wait for it.
#[tokio::test(start_paused = true)]
async fn sessions_are_closed_one_after_the_other() {
    for (sessions, spread, took) in [(200_u32, 1000, 995), (10, 1000, 90), (3, 0, 0), (0, 1000, 0)] {
        let mut bench = Bench::new(Config::default());
        let mut handles = Vec::new();
        for _ in 0..sessions {
            handles.push(bench.poll_open().await.0);
        }
        let start = tokio::time::Instant::now();
        let closed = async {
            let mut left: Vec<Duration> = Vec::new();
            while left.len() < handles.len() {
                let gone = handles.iter().filter(|handle| handle.is_closed()).count();
                left.resize(gone, start.elapsed());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            left
        };
        let spread = Duration::from_millis(spread);
        let ((), left) = tokio::join!(bench.engine.close_paced(CloseReason::ServerShuttingDown, spread), closed);
        let last = left.last().map_or(0, Duration::as_millis);
        assert!((took..=took + 2).contains(&last), "{sessions} took {last} ms");
        // At no time more than their share, give or take a tick of the clock.
        for (number, elapsed) in left.iter().enumerate() {
            let due = took as f64 * number as f64 / f64::from(sessions.max(2) - 1);
            assert!(
                (elapsed.as_millis() as f64 - due).abs() <= 2.0,
                "{number} of {sessions} after {elapsed:?}"
            );
        }
        bench.engine.close(CloseReason::ServerShuttingDown, Duration::from_secs(10)).await;
        for _ in 0..sessions {
            assert_eq!(bench.closed().await, CloseReason::ServerShuttingDown);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_drained_engine_opens_nothing_and_lets_go_on_what_is_open() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    bench.engine.drain();
    let Routed::Open(admission) = bench.route("GET", "EIO=4&transport=polling") else {
        panic!("no handshake")
    };
    let refused = Reply::not_admitted(admission.admit(arrival()).unwrap_err());
    assert_eq!((refused.status, refused.retry_after), (503, Some(1)));
    assert_eq!(body(&bench.post(&query, "4a").await), "ok");
    assert_eq!(body(&bench.get(&query).await), "4a");
    assert!(tokio::time::timeout(Duration::from_secs(1), bench.engine.drained()).await.is_err());
    assert_eq!(body(&bench.post(&query, "1").await), "ok");
    bench.engine.drained().await;
    assert_eq!(bench.closed().await, CloseReason::TransportClose);
}

#[test]
fn connections_end_with_the_runtime_though_handles_live_on() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (bench, handle, client) = runtime.block_on(async {
        let mut bench = Bench::new(Config::default());
        let (handle, client) = bench.tcp().await;
        (bench, handle, client.into_std().unwrap())
    });
    drop(runtime);
    client.set_nonblocking(false).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    std::io::copy(&mut &client, &mut std::io::sink()).expect("the connection is closed");
    assert!(handle.is_closed());
    drop(bench);
}
