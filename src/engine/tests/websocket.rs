//! WebSockets: over pipes with a paused clock, and over real TCP, where flushers write.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::engine::Pushed;

#[tokio::test(start_paused = true)]
async fn messages_of_any_kind_are_echoed() {
    let mut bench = Bench::new(Config::default());
    let (session, mut client) = bench.pipe().await;
    send(&mut client, "4hello").await;
    assert_eq!(next_text(&mut client).await, "4hello");
    client.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(next_text(&mut client).await, "4binary");
    assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(vec![1, 2, 3]));
    send(&mut client, "bAQID").await;
    assert_eq!(next_text(&mut client).await, "4binary");
    assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(vec![1, 2, 3]));
    session.push(&Outgoing::binary(&[1, 2, 3]));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(vec![1, 2, 3]));
    client.send(Message::Ping(Bytes::from_static(b"x"))).await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong(Bytes::from_static(b"x")));
    let long = "x".repeat(500_000);
    send(&mut client, &format!("4{long}")).await;
    assert_eq!(next_text(&mut client).await.len(), 500_001);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_come_an_interval_after_the_pong() {
    let mut bench = Bench::new(Config::default());
    let start = tokio::time::Instant::now();
    let (_, mut client) = bench.pipe().await;
    for round in 1..=3 {
        assert_eq!(next_text(&mut client).await, "2");
        assert_eq!(start.elapsed().as_secs(), 25 * round);
        send(&mut client, "3").await;
    }
    assert_eq!(next_text(&mut client).await, "2");
    assert_eq!(bench.closed().await, CloseReason::PingTimeout);
    assert_eq!(start.elapsed().as_secs(), 120);
    assert_eq!(next_close(&mut client).await, 1005);
}

#[tokio::test(start_paused = true)]
async fn what_breaks_the_rules_is_closed_with_its_code() {
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let invalid = || Message::Frame(Frame::message(Bytes::from_static(b"4\xff"), OpCode::Data(Data::Text), true));
    for (message, code, reason) in [
        (Message::text("9"), 1005, CloseReason::ParseError),
        (Message::text(""), 1005, CloseReason::ParseError),
        (Message::text("2"), 1005, CloseReason::TransportError),
        (Message::text("1"), 1005, CloseReason::TransportClose),
        (Message::text("4".repeat(1_000_001)), 1009, CloseReason::TransportError),
        (invalid(), 1007, CloseReason::TransportError),
        (Message::Close(None), 1005, CloseReason::TransportClose),
    ] {
        let mut bench = Bench::new(Config::default());
        let (_, client) = bench.pipe().await;
        let (mut sink, mut stream) = client.split();
        let told = format!("{message:?}").chars().take(30).collect::<String>();
        // Of the largest message the end is never read.
        let (_, answer) = tokio::join!(sink.send(message), stream.next());
        match answer {
            Some(Ok(Message::Close(frame))) => assert_eq!(frame.map_or(1005, |frame| frame.code.into()), code, "{told}"),
            other => panic!("{told}: {other:?}"),
        }
        assert_eq!(bench.closed().await, reason, "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_is_noticed() {
    let mut bench = Bench::new(Config::default());
    let (session, client) = bench.pipe().await;
    drop(client);
    assert_eq!(bench.closed().await, CloseReason::TransportClose);
    assert_eq!(session.push(&Outgoing::new(&["x"], &[])), Pushed::Closed);
    assert!(bench.engine.session(session.id()).is_none());
    assert_eq!(bench.engine.counters().closed(CloseReason::TransportClose), 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_by_the_server_follows_what_waits() {
    let mut bench = Bench::new(Config::default());
    let (session, mut client) = bench.pipe().await;
    let long = "x".repeat(20_000);
    for _ in 0..10 {
        session.push(&Outgoing::new(&[&long], &[]));
    }
    session.close(CloseReason::ForcedServerClose);
    assert_eq!(session.push(&Outgoing::new(&["late"], &[])), Pushed::Closed);
    for _ in 0..10 {
        assert_eq!(next_text(&mut client).await.len(), 20_001);
    }
    assert_eq!(next_close(&mut client).await, 1005);
    assert_eq!(bench.closed().await, CloseReason::ForcedServerClose);
}

#[tokio::test(start_paused = true)]
async fn a_paused_session_reads_nothing_until_it_is_resumed() {
    let mut bench = Bench::new(Config::default());
    let (session, mut client) = bench.pipe().await;
    for text in ["4a", "4pause", "4b", "4c"] {
        send(&mut client, text).await;
    }
    assert_eq!(next_text(&mut client).await, "4a");
    assert!(tokio::time::timeout(Duration::from_secs(20), client.next()).await.is_err());
    session.resume();
    assert_eq!(next_text(&mut client).await, "4b");
    assert_eq!(next_text(&mut client).await, "4c");
}

#[tokio::test(start_paused = true)]
async fn the_application_has_its_timer() {
    let mut bench = Bench::new(Config::default());
    let start = tokio::time::Instant::now();
    let (_, mut client) = bench.pipe().await;
    send(&mut client, "4timer").await;
    assert_eq!(next_text(&mut client).await, "4timeout");
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_reset() {
    let mut bench = Bench::new(Config {
        ping_interval: Duration::from_secs(500),
        ..Config::default()
    });
    let start = tokio::time::Instant::now();
    let (session, mut client) = bench.pipe().await;
    session.push(&Outgoing::new(&[&"x".repeat(20_000)], &[]));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
    assert_eq!(start.elapsed().as_secs(), 20);
    assert_eq!(bench.engine.counters().write_timeouts.get(), 1);
    assert!(client.next().await.unwrap().is_err(), "cut off in the middle of a frame");
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_the_handshake_are_heard() {
    let mut bench = Bench::new(Config::default());
    let (server, client) = tokio::io::duplex(4096);
    let Ok(Upgrade::Open(admission)) = bench.engine.upgrade("EIO=4&transport=websocket", None) else {
        panic!("not admitted")
    };
    // "4hi", masked with zeros.
    let admitted = admission.admit(arrival()).unwrap();
    admitted.open_websocket(Io::Boxed(Box::new(server)), b"\x81\x83\0\0\0\x004hi");
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    bench.opened().await;
    assert!(next_text(&mut client).await.starts_with('0'));
    assert_eq!(next_text(&mut client).await, "4hi");
}

/// Takes `count` text frames of a raw stream, and of each the number behind its type.
async fn read_numbers(client: &mut WebSocketStream<TcpStream>, count: usize) -> Vec<(usize, usize)> {
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        let text = next_text(client).await;
        let (from, number) = text.strip_prefix('4').unwrap().split_once(':').unwrap();
        numbers.push((from.parse().unwrap(), number.split(' ').next().unwrap().parse().unwrap()));
    }
    numbers
}

async fn client_of(stream: TcpStream) -> WebSocketStream<TcpStream> {
    let mut client = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
    assert!(next_text(&mut client).await.starts_with('0'));
    client
}

/// Many threads push to few sessions, while their drivers echo: each pusher's messages arrive in its order, none is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_pushes_keep_each_pushers_order() {
    const PUSHERS: usize = 4;
    const EACH: usize = 3000;
    let mut bench = Bench::new(Config {
        outbox_bytes: 64 << 20,
        outbox_entries: 1 << 20,
        ..Config::default()
    });
    let mut sessions = Vec::new();
    let mut readers = Vec::new();
    for _ in 0..3 {
        let (session, stream) = bench.tcp().await;
        sessions.push(session);
        readers.push(tokio::spawn(async move {
            let mut client = client_of(stream).await;
            read_numbers(&mut client, PUSHERS * EACH).await
        }));
    }
    let pushers: Vec<_> = (0..PUSHERS)
        .map(|pusher| {
            let sessions = sessions.clone();
            std::thread::spawn(move || {
                for number in 0..EACH {
                    // Every size: gathered, and as a slice of its own.
                    let filler = "x".repeat(if number % 7 == 0 { 3000 } else { number % 50 });
                    let message = Outgoing::new(&[&format!("{pusher}:{number} "), &filler], &[]);
                    crate::engine::gather(|| {
                        for session in &sessions {
                            assert_eq!(session.push(&message), Pushed::Queued);
                        }
                    });
                }
            })
        })
        .collect();
    for reader in readers {
        let numbers = reader.await.unwrap();
        for pusher in 0..PUSHERS {
            let own: Vec<usize> = numbers
                .iter()
                .filter(|(from, _)| *from == pusher)
                .map(|(_, number)| *number)
                .collect();
            assert!(own.iter().copied().eq(0..EACH), "pusher {pusher}");
        }
    }
    pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
    bench.engine.close(CloseReason::ServerShuttingDown, Duration::from_secs(10)).await;
    assert_eq!(bench.engine.counters().messages_out.get(), (3 * PUSHERS * EACH) as u64);
}

/// The kernel's buffers are full many times over; what was written in part is continued, not repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_reaches_a_slow_reader_whole() {
    const COUNT: usize = 400;
    let mut bench = Bench::new(Config {
        outbox_bytes: 64 << 20,
        ..Config::default()
    });
    let (session, mut stream) = bench.tcp().await;
    let filler = "x".repeat(50_000);
    for number in 0..COUNT {
        assert_eq!(
            session.push(&Outgoing::new(&[&format!("0:{number} "), &filler], &[])),
            Pushed::Queued
        );
    }
    session.close(CloseReason::ForcedServerClose);
    let mut bytes = Vec::new();
    let mut piece = vec![0; 9973];
    loop {
        let length = stream.read(&mut piece).await.unwrap();
        if length == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..length]);
        tokio::task::yield_now().await;
    }
    stream.shutdown().await.unwrap();
    let mut rest = bytes.as_slice();
    for number in 0..=COUNT {
        let (header, length) = match rest[1] {
            length @ ..=125 => (2, usize::from(length)),
            _ => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
        };
        let text = std::str::from_utf8(&rest[header..header + length]).unwrap();
        assert!(
            number == 0 || text.starts_with(&format!("40:{} ", number - 1)),
            "{number}: {text:.20}"
        );
        rest = &rest[header + length..];
    }
    assert_eq!(rest, b"\x88\0", "then the close frame");
    assert_eq!(bench.closed().await, CloseReason::ForcedServerClose);
}

#[tokio::test]
async fn a_tcp_peer_that_takes_nothing_is_reset() {
    let mut bench = Bench::new(Config {
        outbox_bytes: 64 << 20,
        write_timeout: Duration::from_millis(300),
        ..Config::default()
    });
    let (session, mut stream) = bench.tcp().await;
    let message = Outgoing::new(&[&"x".repeat(1 << 20)], &[]);
    (0..20).for_each(|_| assert_eq!(session.push(&message), Pushed::Queued));
    assert_eq!(bench.closed().await, CloseReason::TransportError);
    // A reset connection gives up what the kernel still held.
    let mut sink = Vec::new();
    assert!(stream.read_to_end(&mut sink).await.is_err());
}

#[tokio::test]
async fn a_panic_of_the_application_ends_its_session_alone() {
    let mut bench = Bench::new(Config::default());
    let (session, stream) = bench.tcp().await;
    let (_, mut other) = bench.pipe().await;
    let mut client = client_of(stream).await;
    send(&mut client, "4panic").await;
    assert!(
        !matches!(client.next().await, Some(Ok(_))),
        "the connection is gone although the handle lives"
    );
    assert_eq!(session.push(&Outgoing::new(&["x"], &[])), Pushed::Closed);
    assert!(bench.engine.session(session.id()).is_none());
    send(&mut other, "4still here").await;
    assert_eq!(next_text(&mut other).await, "4still here");
}

#[tokio::test]
async fn a_tcp_session_echoes_and_lets_its_socket_go() {
    let mut bench = Bench::new(Config::default());
    let (session, stream) = bench.tcp().await;
    let mut client = client_of(stream).await;
    for number in 0..200 {
        send(&mut client, &format!("4{number}")).await;
    }
    for number in 0..200 {
        assert_eq!(next_text(&mut client).await, format!("4{number}"));
    }
    send(&mut client, "4close").await;
    assert_eq!(next_close(&mut client).await, 1005);
    // The end of the stream comes although the handle lives.
    assert!(client.next().await.is_none());
    assert_eq!(bench.closed().await, CloseReason::ForcedServerClose);
    assert!(session.is_closed());
}
