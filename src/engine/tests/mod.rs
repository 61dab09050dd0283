//! The engine as a whole, with an echo on top: requests as values, WebSockets over pipes and over real TCP.

mod carried;
mod deflate;
mod eio3;
mod hostile;
mod polling;
mod shutdown;
mod upgrade;
mod websocket;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message, tungstenite::protocol::Role};

use super::{
    Application, Arrival, CloseReason, Config, Connection, Engine, Flow, Handle, Handshake, Incoming, Io, NotAdmitted, Outgoing, Reply,
    Request, Routed, Transport, Upgrade, id::NodeTag,
};

/// What the application saw.
#[derive(Debug)]
enum Seen {
    Opened(Handle),
    Closed(CloseReason),
}

/// Echoes messages, but for a few that tell it to do something else.
#[derive(Debug)]
struct Echo(mpsc::Sender<Seen>);

#[derive(Debug)]
struct EchoConnection {
    session: Handle,
    seen: mpsc::Sender<Seen>,
    deadline: Arc<Mutex<Option<Instant>>>,
}

impl Application for Echo {
    fn opened(&self, session: &Handle, handshake: &Arc<Handshake>) -> Box<dyn Connection> {
        assert_eq!(session.id(), &*handshake.session_id);
        self.0.try_send(Seen::Opened(session.clone())).unwrap();
        Box::new(EchoConnection {
            session: session.clone(),
            seen: self.0.clone(),
            deadline: Arc::default(),
        })
    }
}

impl Connection for EchoConnection {
    fn message(&mut self, message: Incoming<'_>) -> Flow {
        match message {
            Incoming::Text("close") => return Flow::Close(CloseReason::ForcedServerClose),
            Incoming::Text("panic") => panic!("the application panics, as a test asks it to"),
            Incoming::Text("pause") => return Flow::Pause,
            Incoming::Text("timer") => *self.deadline.lock().unwrap() = Some(super::driver::now() + Duration::from_secs(5)),
            Incoming::Text(text) => {
                self.session.push(&Outgoing::new(&[text], &[]));
            }
            Incoming::Binary(bytes) => {
                self.session.push(&Outgoing::new(&["binary"], &[bytes]));
            }
        }
        Flow::Continue
    }

    fn timeout(&mut self) -> Flow {
        *self.deadline.lock().unwrap() = None;
        self.session.push(&Outgoing::new(&["timeout"], &[]));
        Flow::Continue
    }

    fn deadline(&self) -> Option<Instant> {
        *self.deadline.lock().unwrap()
    }

    fn closed(&mut self, reason: CloseReason) {
        self.seen.try_send(Seen::Closed(reason)).unwrap();
    }
}

/// An engine with an echo, and what the echo saw.
struct Bench {
    engine: Arc<Engine>,
    seen: mpsc::Receiver<Seen>,
}

impl Bench {
    fn new(config: Config) -> Self {
        let (sender, seen) = mpsc::channel(10_000);
        Self {
            engine: Engine::new(config, NodeTag::random(), Arc::new(Echo(sender))),
            seen,
        }
    }

    /// The handle of the session that has just been opened.
    async fn opened(&mut self) -> Handle {
        match self.seen.recv().await {
            Some(Seen::Opened(handle)) => handle,
            other => panic!("no session was opened, but {other:?}"),
        }
    }

    async fn closed(&mut self) -> CloseReason {
        match self.seen.recv().await {
            Some(Seen::Closed(reason)) => reason,
            other => panic!("no session was closed, but {other:?}"),
        }
    }

    fn route(&self, method: &str, query: &str) -> Routed {
        let request = Request {
            method,
            query,
            content_type: None,
            origin: None,
            may_script: true,
            ..Request::default()
        };
        match self.engine.request(&request) {
            Routed::Refused(refusal) => Routed::Reply(Reply::refused(&refusal)),
            routed => routed,
        }
    }

    /// Opens a session over polling.
    async fn poll_open(&mut self) -> (Handle, String) {
        self.poll_open_as("EIO=4").await
    }

    async fn poll_open_as(&mut self, client: &str) -> (Handle, String) {
        let query = format!("{client}&transport=polling");
        let Routed::Open(admission) = self.route("GET", &query) else {
            panic!("no handshake")
        };
        let reply = admission.admit(arrival()).unwrap().open_polling();
        assert_eq!(
            (reply.status, reply.content_type, reply.no_store),
            (200, Some("text/plain; charset=UTF-8"), true)
        );
        let handle = self.opened().await;
        let query = format!("{query}&sid={}", handle.id());
        (handle, query)
    }

    /// A poll up to its answer.
    async fn get(&self, query: &str) -> Reply {
        match self.route("GET", query) {
            Routed::Poll(poll) => poll.await,
            Routed::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    async fn post(&self, query: &str, body: &'static str) -> Reply {
        match self.route("POST", query) {
            Routed::Post(post) => post.finish(Bytes::from_static(body.as_bytes())).await,
            Routed::Reply(reply) => reply,
            other => panic!("{other:?}"),
        }
    }

    /// A WebSocket over a pipe, and its client.
    async fn pipe(&mut self) -> (Handle, WebSocketStream<DuplexStream>) {
        self.pipe_as("EIO=4").await
    }

    async fn pipe_as(&mut self, client: &str) -> (Handle, WebSocketStream<DuplexStream>) {
        let (server, stream) = tokio::io::duplex(4096);
        self.admit_as(client, Io::Boxed(Box::new(server)));
        let mut client = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
        let open = next_text(&mut client).await;
        let handle = self.opened().await;
        assert!(
            open.starts_with(&format!("0{{\"sid\":\"{}\",\"upgrades\":[],", handle.id())),
            "{open}"
        );
        (handle, client)
    }

    /// A WebSocket over real TCP, and its client, before anything was read of it.
    async fn tcp(&mut self) -> (Handle, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        self.admit(Io::Tcp(server));
        (self.opened().await, client)
    }

    fn admit(&self, io: Io) {
        self.admit_as("EIO=4", io);
    }

    fn admit_as(&self, client: &str, io: Io) {
        match self.engine.upgrade(&format!("{client}&transport=websocket"), None) {
            Ok(Upgrade::Open(admission)) => admission.admit(arrival()).unwrap().open_websocket(io, &[]),
            other => panic!("{other:?}"),
        }
    }
}

fn arrival() -> Arrival {
    Arrival::new(None, false, "/socket.io/?EIO=4", [])
}

fn body(reply: &Reply) -> &str {
    std::str::from_utf8(&reply.body).unwrap()
}

async fn next_text<S: AsyncRead + AsyncWrite + Unpin>(client: &mut WebSocketStream<S>) -> String {
    match client.next().await {
        Some(Ok(Message::Text(text))) => text.as_str().to_owned(),
        other => panic!("no text, but {other:?}"),
    }
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(client: &mut WebSocketStream<S>, text: &str) {
    client.send(Message::text(text)).await.unwrap();
}

/// The code of the close frame that comes next: 1005 when it has none.
async fn next_close<S: AsyncRead + AsyncWrite + Unpin>(client: &mut WebSocketStream<S>) -> u16 {
    match client.next().await {
        Some(Ok(Message::Close(frame))) => frame.map_or(1005, |frame| frame.code.into()),
        other => panic!("no close frame, but {other:?}"),
    }
}
