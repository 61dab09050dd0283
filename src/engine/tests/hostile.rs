//! Whatever a peer sends, the session ends or goes on; nothing panics and nobody else notices.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll},
};

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::*;
use crate::engine::Pushed;

/// Bytes that are likelier than chance to be frames and packets.
fn junk() -> impl Strategy<Value = Vec<u8>> {
    let frame = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(opcode, payload)| {
        // Masked with zeros, so that the payload stands as it is.
        let mut frame = vec![0x80 | (opcode % 11), 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
        frame.extend(payload);
        frame
    });
    let piece = prop_oneof![
        frame,
        prop::collection::vec(any::<u8>(), 0..20),
        Just(b"\x81\x82\0\0\0\x004x".to_vec())
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn junk_on_a_websocket_ends_that_session_at_most(bytes in junk()) {
        paused().block_on(async {
            let mut bench = Bench::new(Config::default());
            let (server, mut client) = tokio::io::duplex(1 << 16);
            bench.admit(Io::Boxed(Box::new(server)));
            bench.opened().await;
            client.write_all(&bytes).await.ok();
            drop(client);
            bench.closed().await;
            let (_, mut other) = bench.pipe().await;
            send(&mut other, "4hello").await;
            assert_eq!(next_text(&mut other).await, "4hello");
            drop(other);
            bench.engine.close(CloseReason::ServerShuttingDown, Duration::from_secs(10)).await;
            assert_eq!(bench.engine.counters().open(), 0);
        });
    }

    #[test]
    fn junk_in_a_post_is_answered_ok(bytes in junk()) {
        paused().block_on(async {
            let mut bench = Bench::new(Config::default());
            let (_, query) = bench.poll_open().await;
            let Routed::Post(post) = bench.route("POST", &query) else { panic!("no post") };
            assert_eq!(post.finish(Bytes::from(bytes)).await.status, 200);
            bench.engine.close(CloseReason::ServerShuttingDown, Duration::from_secs(10)).await;
            assert_eq!(bench.engine.counters().open(), 0);
        });
    }

    #[test]
    fn junk_on_a_probe_ends_the_probe_at_most(bytes in junk()) {
        paused().block_on(async {
            let mut bench = Bench::new(Config::default());
            let (session, query) = bench.poll_open().await;
            let Ok(Upgrade::Probe(candidate)) = bench.engine.upgrade(&query.replace("polling", "websocket"), None) else { panic!() };
            let (server, mut client) = tokio::io::duplex(1 << 16);
            candidate.probe(Io::Boxed(Box::new(server)), &[]);
            client.write_all(&bytes).await.ok();
            drop(client);
            assert_eq!(bench.post(&query, "4a").await.status, 200);
            assert_eq!((body(&bench.get(&query).await), session.transport()), ("4a", Transport::Polling));
        });
    }
}

/// A peer that has always sent more before it was read: empty fragments of one message.
struct Flood(Arc<AtomicUsize>);

impl AsyncRead for Flood {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.0.fetch_add(1, Relaxed) {
            0 => buffer.put_slice(b"\x01\x80\0\0\0\0"),
            // Else a test that fails would not end.
            1..2000 => buffer.put_slice(&b"\0\x80\0\0\0\0".repeat(buffer.remaining() / 6)),
            _ => {}
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_without_end_leaves_the_thread_to_others() {
    let mut bench = Bench::new(Config::default());
    let reads = Arc::new(AtomicUsize::new(0));
    bench.admit(Io::Boxed(Box::new(Flood(reads.clone()))));
    bench.opened().await;
    while reads.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(reads.load(Relaxed) <= 64, "{} reads without a yield", reads.load(Relaxed));
}

/// A client that sends a message in fragments without end: the pings between them are whole, and change nothing.
#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_come_to_its_end_ends_the_session() {
    let mut bench = Bench::new(Config {
        ping_interval: Duration::from_secs(500),
        ..Config::default()
    });
    let (server, mut client) = tokio::io::duplex(4096);
    bench.admit(Io::Boxed(Box::new(server)));
    bench.opened().await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    let start = tokio::time::Instant::now();
    client.write_all(b"\x01\x81\0\0\0\x004").await.unwrap();
    let more = async {
        while client.write_all(b"\0\x81\0\0\0\0x\x89\x80\0\0\0\0").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
    };
    let closed = tokio::select! {
        () = more => bench.closed().await,
        reason = bench.closed() => reason,
    };
    assert_eq!((closed, start.elapsed().as_secs()), (CloseReason::TransportError, 60));
}

/// A peer that does not close its side, and takes nothing any more, is not left to the kernel with what it was sent.
#[tokio::test]
async fn a_farewell_that_is_not_heard_ends_in_a_reset() {
    let mut bench = Bench::new(Config {
        outbox_bytes: 64 << 20,
        farewell_timeout: Duration::from_millis(200),
        ..Config::default()
    });
    let (session, mut stream) = bench.tcp().await;
    let message = Outgoing::new(&[&"x".repeat(1 << 20)], &[]);
    (0..20).for_each(|_| assert_eq!(session.push(&message), Pushed::Queued));
    // Until the kernel takes no more.
    let (mut before, out) = (0, &bench.engine.counters().bytes_out);
    while before < 1 << 20 || out.get() > before {
        before = out.get();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A client that breaks the rules is not waited for.
    stream.write_all(b"\x81\x81\0\0\0\x002").await.unwrap();
    assert_eq!(bench.closed().await, CloseReason::TransportError);
    bench.engine.close(CloseReason::ServerShuttingDown, Duration::from_secs(10)).await;
    let mut sink = Vec::new();
    assert!(
        stream.read_to_end(&mut sink).await.is_err(),
        "an ordinary end after {} bytes",
        sink.len()
    );
}

/// Pongs wait in the outbox like everything else.
#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_whose_pongs_nobody_reads_ends_the_session() {
    let mut bench = Bench::new(Config {
        outbox_entries: 1000,
        ..Config::default()
    });
    let (server, mut client) = tokio::io::duplex(4096);
    bench.admit(Io::Boxed(Box::new(server)));
    bench.opened().await;
    let mut pings = 0;
    while client.write_all(b"\x89\x80\0\0\0\0").await.is_ok() {
        pings += 1;
        assert!(pings < 5000, "more than an outbox takes");
    }
    assert_eq!(bench.closed().await, CloseReason::TransportError);
    assert_eq!(bench.engine.counters().slow_consumers.get(), 1);
}
