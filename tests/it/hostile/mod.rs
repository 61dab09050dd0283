//! Clients that hold what they have and give nothing back: each is gone within the time that was configured for its case, its handlers
//! have run, and the node holds nothing of it any more.
//!
//! In each test one bound is short and the others are far away, so that it is this one that ends the client.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use fanfare::{
    hub::{DisconnectReason, EmitError, Socket},
    node::{Config, RunningNode},
};
use tokio::{net::TcpStream, sync::mpsc};

use crate::dsl::{Raw, WebSocket, frame, metric, start_with, until_empty, within};

mod client;
mod memory;

use self::client::*;

/// The bound under test.
const SHORT: Duration = Duration::from_millis(400);
/// Every other one.
const LONG: Duration = Duration::from_secs(300);

/// A node on which a client has all the time in the world, but for what the test says.
struct Patient {
    node: RunningNode,
    reasons: mpsc::Receiver<String>,
    begun: Instant,
}

impl Patient {
    async fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let node = start_with(|config| {
            (config.header_timeout, config.send_timeout) = (LONG, LONG);
            config.server.body_timeout = LONG;
            let engine = &mut config.server.engine;
            (engine.ping_interval, engine.ping_timeout, engine.upgrade_timeout) = (LONG, LONG, LONG);
            (engine.write_timeout, engine.message_timeout, engine.close_timeout) = (LONG, LONG, LONG);
            (engine.farewell_timeout, engine.pause_timeout) = (SHORT, LONG);
            (engine.outbox_bytes, engine.max_http_buffer_size) = (256 << 20, 1 << 20);
            let hub = &mut config.server.hub;
            (hub.connect_timeout, hub.stall_timeout, hub.attachment_timeout) = (LONG, LONG, LONG);
            configure(config);
        })
        .await;
        let (noted, reasons) = mpsc::channel(8);
        let note = move |reason: DisconnectReason| {
            noted.try_send(reason.to_string()).unwrap();
            std::future::ready(())
        };
        node.io().sockets().on_disconnect(note).unwrap().on("flood", flood).unwrap();
        Self {
            node,
            reasons,
            begun: Instant::now(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.node.public_addr()
    }

    /// The client is gone: not before its bound, its handlers have run for `reason` (or never, where it had joined nothing), and
    /// nothing of it is left.
    async fn ends(mut self, reason: Option<&str>) {
        if let Some(reason) = reason {
            assert_eq!(within("the disconnect handler", self.reasons.recv()).await.unwrap(), reason);
        }
        until_empty(self.node.internal_addr()).await;
        // The clocks of client and server are the same one; a little is left to the grain of timers.
        let took = self.begun.elapsed();
        assert!(took + Duration::from_millis(5) >= SHORT && took < LONG / 10, "{took:?}");
        assert!(self.reasons.try_recv().is_err(), "a handler ran twice, or for nobody");
        within("the shutdown", self.node.shutdown()).await;
    }
}

/// More than the kernel takes for a client that does not read.
async fn flood(socket: Socket) -> Result<(), EmitError> {
    let filler = "x".repeat(512 << 10);
    for _ in 0..16 {
        socket.emit("flood", &filler)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stalled_reader_is_reset_after_the_write_timeout_while_others_get_every_broadcast() {
    let patient = Patient::start(|config| config.server.engine.write_timeout = SHORT).await;
    let (address, internal) = (patient.address(), patient.node.internal_addr());
    let mut bystander = WebSocket::connect(address).await;
    let stalled = Raw::connect_on(narrow(address).await).await;
    let filler = "x".repeat(100_000);
    for tick in 0..200 {
        patient.node.io().emit("tick", &(tick, &filler)).unwrap();
        assert!(bystander.text().await.starts_with(&format!("42[\"tick\",{tick},")));
    }
    until_ended(stalled.into_stream()).await;
    assert_eq!(metric(internal, "fanfare_write_timeouts_total").await, 1);
    let io = patient.node.io().clone();
    io.emit("tick", &"last").unwrap();
    assert_eq!(bystander.text().await, r#"42["tick","last"]"#);
    // What is left is the bystander, who says good-bye.
    let mut patient = patient;
    assert_eq!(
        within("a disconnect handler", patient.reasons.recv()).await.unwrap(),
        "transport error"
    );
    bystander.send("41").await;
    assert_eq!(
        within("a disconnect handler", patient.reasons.recv()).await.unwrap(),
        "client namespace disconnect"
    );
    drop(bystander);
    patient.ends(None).await;
}

/// The kernel has taken everything, so the node itself does not see that nobody reads; such a client may even answer pings.
#[tokio::test]
async fn a_stalled_reader_of_little_is_reset_by_the_kernel_after_the_send_timeout() {
    let patient = Patient::start(|config| config.send_timeout = SHORT).await;
    let stalled = Raw::connect_on(narrow(patient.address()).await).await;
    patient.node.io().emit("tick", &"x".repeat(100_000)).unwrap();
    patient.ends(Some("transport close")).await;
    drop(stalled);
}

#[tokio::test]
async fn a_stalled_reader_is_reset_when_more_waits_for_it_than_an_outbox_takes() {
    let patient = Patient::start(|config| config.server.engine.outbox_bytes = 1 << 20).await;
    let internal = patient.node.internal_addr();
    tokio::time::sleep(SHORT).await;
    until_ended(stalled_websocket(patient.address()).await).await;
    assert_eq!(metric(internal, "fanfare_slow_consumers_total").await, 1);
    patient.ends(Some("transport error")).await;
}

#[tokio::test]
async fn a_head_of_one_byte_a_time_is_given_up_after_the_header_timeout() {
    let patient = Patient::start(|config| config.header_timeout = SHORT).await;
    slow_head(patient.address()).await;
    patient.ends(None).await;
}

#[tokio::test]
async fn a_body_of_one_byte_a_time_is_answered_408_after_the_body_timeout() {
    let patient = Patient::start(|config| config.server.body_timeout = SHORT).await;
    let answer = slow_body(patient.address()).await;
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    patient.ends(Some("transport error")).await;
}

#[tokio::test]
async fn a_frame_of_one_byte_a_time_ends_its_session_after_the_message_timeout() {
    let patient = Patient::start(|config| config.server.engine.message_timeout = SHORT).await;
    slow_frame(patient.address()).await;
    patient.ends(Some("transport error")).await;
}

#[tokio::test]
async fn fragments_without_end_end_their_session_after_the_message_timeout() {
    let patient = Patient::start(|config| config.server.engine.message_timeout = SHORT).await;
    endless_fragments(patient.address()).await;
    patient.ends(Some("transport error")).await;
}

/// A client that has a message under way all the time, none of them for long, is welcome.
#[tokio::test]
async fn a_slow_client_that_finishes_its_messages_is_left_alone() {
    let patient = Patient::start(|config| config.server.engine.message_timeout = SHORT * 5).await;
    let mut client = Raw::connect(patient.address()).await;
    let event = frame(0x81, br#"42["echo",1]"#);
    // Each write ends a message and begins the next.
    for round in 0..12 {
        let (head, tail) = event.split_at(5);
        if round == 0 {
            client.send(head).await;
        }
        tokio::time::sleep(SHORT / 2).await;
        client.send(&[tail, head].concat()).await;
        assert_eq!(client.text().await.as_deref(), Some(r#"42["echo",1]"#));
    }
    drop(client);
    patient.ends(Some("transport close")).await;
}

#[tokio::test]
async fn a_poll_whose_answer_nobody_reads_is_given_up_after_the_send_timeout() {
    let patient = Patient::start(|config| {
        config.send_timeout = SHORT;
        config.server.engine.ping_interval = SHORT;
        config.server.engine.ping_timeout = SHORT;
    })
    .await;
    let stalled = stalled_poll(patient.address()).await;
    patient.ends(Some("ping timeout")).await;
    drop(stalled);
}

#[tokio::test]
async fn polls_whose_short_answers_nobody_reads_are_gone_after_the_header_timeout() {
    let patient = Patient::start(|config| {
        config.header_timeout = SHORT;
        config.server.engine.ping_interval = SHORT;
        config.server.engine.ping_timeout = SHORT;
    })
    .await;
    unread_polls(patient.address()).await;
    patient.ends(Some("ping timeout")).await;
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_gone_after_the_ping_timeout() {
    let hasty = |config: &mut Config| {
        config.server.engine.ping_interval = SHORT / 2;
        config.server.engine.ping_timeout = SHORT / 2;
    };
    let patient = Patient::start(hasty).await;
    no_pong(patient.address()).await;
    patient.ends(Some("ping timeout")).await;

    let patient = Patient::start(hasty).await;
    no_poll(patient.address()).await;
    patient.ends(Some("ping timeout")).await;
}

#[tokio::test]
async fn an_upgrade_that_is_never_finished_is_gone_after_the_upgrade_timeout_and_its_session_lives() {
    let patient = Patient::start(|config| config.server.engine.upgrade_timeout = SHORT).await;
    let internal = patient.node.internal_addr();
    half_upgrade(patient.address()).await;
    assert_eq!(metric(internal, "fanfare_sessions").await, 1);
    patient.node.io().sockets().all().disconnect_sockets(true);
    within("the shutdown", patient.node.shutdown()).await;
}

#[tokio::test]
async fn a_client_that_joins_no_namespace_is_gone_after_the_connect_timeout() {
    let patient = Patient::start(|config| config.server.hub.connect_timeout = SHORT).await;
    no_namespace(patient.address()).await;
    patient.ends(None).await;
}

#[tokio::test]
async fn connections_without_requests_are_gone_after_the_header_timeout() {
    let patient = Patient::start(|config| config.header_timeout = SHORT).await;
    let silent = TcpStream::connect(patient.address()).await.unwrap();
    tokio::join!(idle_http2(patient.address()), until_ended(silent));
    patient.ends(None).await;
}
