//! The hub over real mailboxes: what clients send goes in as the engine would hand it over, what they get is read from their outboxes.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;

use super::{Config, Hub, Io};
use crate::engine::{
    Application, Arrival, CloseReason, Connection, Flow, Handle, Handshake, Incoming, Revision, Tap, Transport, id::NodeTag,
};

mod acks;
mod backpressure;
mod broadcast;
mod connect;
mod disconnect;
mod dynamic;
mod flush;
mod handlers;
mod hostile;
mod legacy;
mod listeners;
mod logging;
mod parser;
mod rate;
mod requests;
mod sessions;

/// A client at the other end of a session.
struct Peer {
    handle: Handle,
    tap: Tap,
    connection: Box<dyn Connection>,
}

impl Peer {
    /// Opens a session.
    fn open(io: &Io) -> Self {
        Self::open_as(io, Revision::V4)
    }

    fn open_as(io: &Io, revision: Revision) -> Self {
        let (handle, tap) = Handle::detached();
        let arrival = Arrival::new(None, false, "/socket.io/?EIO=4", [("host", &b"localhost"[..])]);
        let handshake = Arc::new(Handshake::new(handle.id(), Transport::WebSocket, revision, arrival));
        let connection = io.hub().opened(&handle, &handshake);
        Self { handle, tap, connection }
    }

    /// Opens a session, joins `/` and gives the id of the socket.
    fn joined(io: &Io) -> (Self, String) {
        let mut peer = Self::open(io);
        let id = peer.join("0");
        (peer, id)
    }

    /// Sends a CONNECT packet to a namespace without middlewares.
    fn join(&mut self, packet: &str) -> String {
        assert_eq!(self.send(packet), Flow::Continue);
        let answer = self.got().pop().expect("CONNECT is answered");
        let (_, rest) = answer.split_once(r#"{"sid":""#).expect("with a sid");
        rest.trim_end_matches("\"}").to_owned()
    }

    fn send(&mut self, text: &str) -> Flow {
        self.connection.message(Incoming::Text(text))
    }

    fn send_binary(&mut self, bytes: &'static [u8]) -> Flow {
        self.connection.message(Incoming::Binary(Bytes::from_static(bytes)))
    }

    /// The texts of what was sent to the client since the last time.
    fn got(&self) -> Vec<String> {
        self.tap.frames().into_iter().map(|(text, _)| text).collect()
    }

    fn close(mut self, reason: CloseReason) {
        self.connection.closed(reason);
    }
}

fn server() -> Io {
    server_with(Config {
        shards: 3,
        ..Config::default()
    })
}

fn server_with(config: Config) -> Io {
    let hub = Hub::new(config, NodeTag([1, 2, 3]));
    Io::new(Arc::clone(&hub), hub)
}

/// Waits until something is so; fails after far longer than it could take.
async fn until(what: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it did not come to pass");
        tokio::task::yield_now().await;
    }
}

/// Waits until no handler runs.
async fn quiet(io: &Io) {
    until(|| io.hub().tasks() == 0).await;
}

/// What handlers saw.
#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn add(&self, entry: impl std::fmt::Display) {
        self.0.lock().unwrap().push(entry.to_string());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn logging() -> (Io, Arc<Log>) {
    let io = server();
    io.provide(Log::default());
    let log = io.states().get::<Log>().unwrap();
    (io, log)
}

const LONG: Duration = Duration::from_secs(3600);
