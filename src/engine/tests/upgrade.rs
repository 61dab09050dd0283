//! The upgrade of a session from polling to a WebSocket.

use std::{
    pin::Pin,
    task::{Context, Poll as Progress},
};

use tokio::io::ReadBuf;

use super::{
    super::polling::{Poll, Post},
    *,
};
use crate::protocol::engineio::handshake::Refusal;

impl Bench {
    async fn probe(&self, query: &str) -> WebSocketStream<DuplexStream> {
        let (server, client) = tokio::io::duplex(4096);
        match self.engine.upgrade(&query.replace("polling", "websocket"), None) {
            Ok(Upgrade::Probe(candidate)) => candidate.probe(Io::Boxed(Box::new(server)), &[]),
            other => panic!("{other:?}"),
        }
        WebSocketStream::from_raw_socket(client, Role::Client, None).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_releases_the_poll_at_once_and_keeps_the_order() {
    let mut bench = Bench::new(Config::default());
    let start = tokio::time::Instant::now();
    let (session, query) = bench.poll_open().await;
    let Routed::Poll(poll) = bench.route("GET", &query) else {
        panic!("no poll")
    };
    let mut client = bench.probe(&query).await;
    send(&mut client, "2probe").await;
    assert_eq!(next_text(&mut client).await, "3probe");
    assert_eq!(body(&poll.await), "6");
    assert_eq!(body(&bench.get(&query).await), "6", "a poll that comes in the meantime");
    assert!(start.elapsed() < Duration::from_millis(50));
    assert_eq!(session.transport(), Transport::Polling);
    session.push(&Outgoing::new(&["1"], &[]));
    send(&mut client, "5").await;
    session.push(&Outgoing::new(&["2"], &[]));
    send(&mut client, "43").await;
    for expected in ["41", "42", "43"] {
        assert_eq!(next_text(&mut client).await, expected);
    }
    assert_eq!(session.transport(), Transport::WebSocket);
    assert_eq!(body(&bench.get(&query).await), "{\"code\":3,\"message\":\"Bad request\"}");
    assert_eq!(bench.engine.counters().upgraded.get(), 1);
}

#[tokio::test]
async fn what_waited_goes_out_by_the_switch_alone() {
    for plain in [true, false] {
        let mut bench = Bench::new(Config::default());
        let (session, query) = bench.poll_open().await;
        session.push(&Outgoing::new(&["waits"], &[]));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let server = listener.accept().await.unwrap().0;
        let Ok(Upgrade::Probe(candidate)) = bench.engine.upgrade(&query.replace("polling", "websocket"), None) else {
            panic!()
        };
        candidate.probe(if plain { Io::Tcp(server) } else { Io::Boxed(Box::new(server)) }, &[]);
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        for packet in ["2probe", "5"] {
            send(&mut client, packet).await;
        }
        assert_eq!(next_text(&mut client).await, "3probe");
        // Within the time before a ping would push it on.
        let waited = tokio::time::timeout(Duration::from_secs(15), next_text(&mut client)).await;
        assert_eq!(waited.as_deref(), Ok("4waits"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_waits_at_the_switch_is_refused() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let mut client = bench.probe(&query).await;
    send(&mut client, "2probe").await;
    send(&mut client, "5").await;
    let poll = bench.get(&query).await;
    assert_eq!((poll.status, body(&poll)), (400, ""));
    assert_eq!(next_text(&mut client).await, "3probe");
    send(&mut client, "4a").await;
    assert_eq!(next_text(&mut client).await, "4a");
    assert_eq!(session.transport(), Transport::WebSocket);
}

/// The client sends `5`, then polls on another connection, and the poll is read first: as the official suite of the protocol does.
#[tokio::test(start_paused = true)]
async fn a_poll_that_overtakes_the_end_of_the_upgrade_is_refused() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    let mut client = bench.probe(&query).await;
    send(&mut client, "2probe").await;
    assert_eq!(next_text(&mut client).await, "3probe");
    let Routed::Poll(poll) = bench.route("GET", &query) else {
        panic!("no poll")
    };
    let poll = tokio::spawn(poll);
    tokio::time::sleep(Duration::from_millis(10)).await;
    send(&mut client, "5").await;
    let poll = poll.await.unwrap();
    assert_eq!((poll.status, body(&poll)), (400, ""));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_probe_is_closed_and_the_session_goes_on() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    for wrong in [
        Message::text("4hello"),
        Message::text("2"),
        Message::text("5"),
        Message::binary(vec![1]),
        Message::Close(None),
    ] {
        let mut client = bench.probe(&query).await;
        client.send(wrong).await.unwrap();
        assert_eq!(next_close(&mut client).await, 1005);
    }
    assert_eq!(body(&bench.post(&query, "4a").await), "ok");
    assert_eq!(body(&bench.get(&query).await), "4a");
}

#[tokio::test(start_paused = true)]
async fn a_second_probe_and_a_late_one_are_closed() {
    let mut bench = Bench::new(Config::default());
    let start = tokio::time::Instant::now();
    let (_, query) = bench.poll_open().await;
    let mut first = bench.probe(&query).await;
    send(&mut first, "2probe").await;
    assert_eq!(next_text(&mut first).await, "3probe");
    let mut second = bench.probe(&query).await;
    assert_eq!(next_close(&mut second).await, 1005);
    assert!(!matches!(first.next().await, Some(Ok(_))));
    assert_eq!(start.elapsed().as_secs(), 10, "the first had its time");
    assert_eq!(body(&bench.post(&query, "4a").await), "ok");
    assert_eq!(body(&bench.get(&query).await), "4a");
}

/// Its client was refused before the 101, which a browser shows as an error, where the reference closes a WebSocket.
#[tokio::test(start_paused = true)]
async fn a_websocket_that_comes_after_the_upgrade_is_closed_and_the_session_goes_on() {
    let mut bench = Bench::new(Config::default());
    let (_, query) = bench.poll_open().await;
    let mut client = bench.probe(&query).await;
    for packet in ["2probe", "5", "4a"] {
        send(&mut client, packet).await;
    }
    for expected in ["3probe", "4a"] {
        assert_eq!(next_text(&mut client).await, expected);
    }
    let mut second = bench.probe(&query).await;
    assert_eq!(next_close(&mut second).await, 1005);
    send(&mut client, "4b").await;
    assert_eq!(next_text(&mut client).await, "4b");
}

#[tokio::test(start_paused = true)]
async fn upgrades_are_refused_before_they_are_answered() {
    let bench = Bench::new(Config::default());
    for (query, message) in [
        ("EIO=4", "Transport unknown"),
        ("EIO=4&transport=polling", "Bad request"),
        ("EIO=4&transport=websocket&sid=nobody", "Session ID unknown"),
    ] {
        let reply = Reply::refused_upgrade(&bench.engine.upgrade(query, None).unwrap_err());
        assert_eq!((reply.status, reply.content_type, body(&reply)), (400, Some("text/html"), message));
    }
}

/// The reference loses its pong timer in the upgrade, and such a session lives for ever.
#[tokio::test(start_paused = true)]
async fn a_session_that_upgraded_with_a_ping_unanswered_still_ends() {
    let mut bench = Bench::new(Config::default());
    let start = tokio::time::Instant::now();
    let (_, query) = bench.poll_open().await;
    assert_eq!(body(&bench.get(&query).await), "2");
    let mut client = bench.probe(&query).await;
    for packet in ["2probe", "5"] {
        send(&mut client, packet).await;
    }
    assert_eq!(bench.closed().await, CloseReason::PingTimeout);
    assert_eq!(start.elapsed().as_secs(), 45);
}

/// Upgrades over real TCP while numbered messages flow.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upgrade_under_load_loses_and_swaps_nothing() {
    const COUNT: usize = 2000;
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let pusher = std::thread::spawn(move || {
        for number in 0..COUNT {
            session.push(&Outgoing::new(&[&number.to_string()], &[]));
            std::thread::yield_now();
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut numbers = Vec::new();
    let mut take = |payload: &str| {
        let messages = payload.split('\x1e').filter_map(|packet| packet.strip_prefix('4'));
        numbers.extend(messages.map(|number| number.parse::<usize>().unwrap()));
        numbers.len()
    };
    take(body(&bench.get(&query).await));
    let Ok(Upgrade::Probe(candidate)) = bench.engine.upgrade(&query.replace("polling", "websocket"), None) else {
        panic!()
    };
    candidate.probe(Io::Tcp(listener.accept().await.unwrap().0), &[]);
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    send(&mut client, "2probe").await;
    let (pong, poll) = tokio::join!(next_text(&mut client), bench.get(&query));
    assert_eq!(pong, "3probe");
    take(body(&poll));
    send(&mut client, "5").await;
    while take("") < COUNT {
        let text = next_text(&mut client).await;
        take(&text);
    }
    pusher.join().unwrap();
    assert!(numbers.iter().copied().eq(0..COUNT));
}

/// A client whose `3probe` is late polls again at once, again and again.
#[tokio::test(start_paused = true)]
async fn a_client_that_polls_on_while_it_probes_is_not_answered_without_a_pause() {
    let mut bench = Bench::new(Config::default());
    let start = tokio::time::Instant::now();
    let (_, query) = bench.poll_open().await;
    let mut client = bench.probe(&query).await;
    send(&mut client, "2probe").await;
    assert_eq!(next_text(&mut client).await, "3probe");
    for _ in 0..41 {
        assert_eq!(body(&bench.get(&query).await), "6");
    }
    let took = start.elapsed();
    assert!((900..=1100).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_comes_after_the_switch_is_refused() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let mut client = bench.probe(&query).await;
    for packet in ["2probe", "5", "4a"] {
        send(&mut client, packet).await;
    }
    for expected in ["3probe", "4a"] {
        assert_eq!(next_text(&mut client).await, expected);
    }
    // As when the switch comes between the look at the transport and the parking.
    assert!(matches!(
        Poll::begin(&session, crate::engine::carrier::Coming::default()),
        Err(Refusal::BadRequest(_))
    ));
    assert!(matches!(Post::begin(&session, None), Err(Refusal::BadRequest(_))));
}

/// A connection that looks, when it is dropped, at its session from another thread.
struct Nosy(DuplexStream, Handle, std::sync::mpsc::Sender<bool>);

impl Drop for Nosy {
    fn drop(&mut self) {
        let (done, looked) = std::sync::mpsc::channel();
        let handle = self.1.clone();
        std::thread::spawn(move || done.send(handle.is_closed()));
        let free = looked.recv_timeout(Duration::from_secs(10)).is_ok();
        self.2.send(free).ok();
    }
}

impl AsyncRead for Nosy {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Progress<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Nosy {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Progress<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Progress<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Progress<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_probe_too_many_is_dropped_without_a_lock() {
    let mut bench = Bench::new(Config::default());
    let (session, query) = bench.poll_open().await;
    let (dropped, drops) = std::sync::mpsc::channel();
    for _ in 0..2 {
        let Ok(Upgrade::Probe(candidate)) = bench.engine.upgrade(&query.replace("polling", "websocket"), None) else {
            panic!()
        };
        let pipe = tokio::io::duplex(64).0;
        candidate.probe(Io::Boxed(Box::new(Nosy(pipe, session.clone(), dropped.clone()))), &[]);
    }
    assert_eq!(drops.try_recv(), Ok(true));
}
