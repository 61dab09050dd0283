//! One Socket.IO client: Engine.IO 4, default parser, the namespace `/`.
//!
//! | room | what it does |
//! |---|---|
//! | `route`, `opening` | where the requests of one client go, and how its connections are opened |
//! | `session` | what a client knows of its session, to get it back |
//! | `http` | requests of HTTP/1.1, one after the other |
//! | `frames` | WebSocket frames, without I/O |
//! | `polling`, `websocket`, `upgrade` | the transports |
//!
//! A client belongs to one task, and both of its directions go on whenever it is asked for the next packet.

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    future::{Future, poll_fn},
    hash::{BuildHasher, RandomState},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Sleep};

mod frames;
mod http;
mod opening;
mod polling;
mod route;
mod session;
mod upgrade;
mod websocket;

pub(crate) use opening::Opening;
pub(crate) use route::Route;
pub(crate) use session::Session;

use frames::FrameError;
use polling::Polling;
use upgrade::{Step, Upgrade};
use websocket::WebSocket;

/// Path and query that every request begins with.
const ENGINE: &str = "/socket.io/?EIO=4";

/// The longest that connecting may take, from the TCP connection to the CONNECT answer; and as long again the WebSocket of an upgrade.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a client that leaves waits until the server has heard it.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);

/// How clients reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// WebSocket from the start.
    Websocket,
    /// HTTP long-polling: a GET that waits, and POSTs beside it.
    Polling,
    /// Polling first, then a WebSocket takes the session over, as stock clients do by default.
    Upgrade,
}

/// A connected client.
pub(crate) struct Client {
    wire: Wire,
    /// When the CONNECT answer had come.
    connected: Instant,
    heartbeat: Heartbeat,
    /// What came while nobody asked for it.
    early: VecDeque<String>,
    session: Session,
}

/// What carries the packets of a session.
enum Wire {
    WebSocket(Box<WebSocket>),
    Polling(Box<Polling>),
    Upgrade(Box<Upgrade>),
}

/// Ends when the server has been silent for too long.
struct Heartbeat {
    timer: Pin<Box<Sleep>>,
    silence: Duration,
}

/// What a server tells in its `open` packet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    sid: String,
    /// Milliseconds.
    ping_interval: u64,
    /// Milliseconds.
    ping_timeout: u64,
    /// Bytes. Servers before Engine.IO 6.1 do not tell it, and take a million.
    #[serde(default = "max_payload")]
    max_payload: usize,
}

/// Why a connection was not made or has ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The TCP connection was not made.
    #[error(transparent)]
    Dial(#[from] io::Error),
    /// A connection failed that had been made.
    #[error("the connection broke: {0}")]
    Broken(#[source] io::Error),
    /// The WebSocket failed.
    #[error("WebSocket: {0}")]
    WebSocket(#[from] FrameError),
    /// A request failed.
    #[error("HTTP request: {}", chain(.0))]
    Http(#[from] hyper::Error),
    /// A request was answered with an error.
    #[error("HTTP status {status}: {body}")]
    Status {
        /// The answer's status.
        status: u16,
        /// The answer's body, cut to 200 characters.
        body: String,
    },
    /// What the server told or the command line names makes no request.
    #[error("no valid request can be made of the target or of what the server told")]
    Request,
    /// The server answered something else than the protocol has there.
    #[error("expected {expected}, got {got:?}")]
    Unexpected {
        /// What the protocol has.
        expected: &'static str,
        /// What came, cut to 200 characters.
        got: String,
    },
    /// Something took too long.
    #[error("not {0} within {secs} s", secs = .1.as_secs())]
    Timeout(&'static str, Duration),
    /// No ping for as long as the server said.
    #[error("no ping within {secs} s", secs = .0.as_secs_f64())]
    Silent(Duration),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The server took the client out of the namespace.
    #[error("the server disconnected the client")]
    Disconnected,
}

impl Client {
    /// Connects by `transport`, and to the namespace `/`. An upgrade has just begun then.
    pub(crate) async fn connect(route: Route, transport: Transport) -> Result<Self, ClientError> {
        Self::come_back(route, transport, None).await
    }

    /// The same, and asks for an earlier session again, if there is one. Whether it was given, [`Client::session`] tells.
    pub(crate) async fn come_back(route: Route, transport: Transport, earlier: Option<&Session>) -> Result<Self, ClientError> {
        tokio::time::timeout(CONNECT_TIMEOUT, Self::handshake(route, transport, earlier))
            .await
            .unwrap_or(Err(ClientError::Timeout("connected", CONNECT_TIMEOUT)))
    }

    async fn handshake(mut route: Route, transport: Transport, earlier: Option<&Session>) -> Result<Self, ClientError> {
        let (wire, open) = match transport {
            Transport::Websocket => {
                let mut websocket = WebSocket::open(&route.next(), "", None).await?;
                let open = Open::read(&websocket.next().await?)?;
                (Wire::WebSocket(Box::new(websocket)), open)
            }
            Transport::Polling | Transport::Upgrade => {
                let (polling, open) = Polling::open(route).await?;
                (Wire::Polling(Box::new(polling)), open)
            }
        };
        let silence = Duration::from_millis(open.ping_interval.saturating_add(open.ping_timeout));
        let mut client = Self {
            wire,
            connected: Instant::now(),
            heartbeat: Heartbeat {
                timer: Box::pin(tokio::time::sleep(silence)),
                silence,
            },
            early: VecDeque::new(),
            session: Session::default(),
        };
        client.send(earlier.map_or_else(|| "40".to_owned(), Session::connect));
        let mut replayed = VecDeque::new();
        let answer = loop {
            let packet = client.next().await?;
            // What an earlier session missed comes before the answer that gives it back.
            if earlier.is_none() || !packet.starts_with("42") {
                break packet;
            }
            replayed.push_back(packet);
        };
        client.session = Session::read(&answer, earlier).ok_or_else(|| ClientError::Unexpected {
            expected: "the CONNECT answer",
            got: cut(&answer),
        })?;
        // What came with the answer is behind that.
        replayed.append(&mut client.early);
        client.early = replayed;
        client.connected = Instant::now();
        if transport == Transport::Upgrade
            && let Wire::Polling(polling) = client.wire
        {
            client.wire = Wire::Upgrade(Box::new(Upgrade::new(*polling)));
        }
        Ok(client)
    }

    /// What is known of the session.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// When the CONNECT answer had come.
    pub(crate) fn connected(&self) -> std::time::Instant {
        self.connected.into_std()
    }

    /// Waits for the end of the upgrade, if there is one under way. What comes meanwhile is kept.
    pub(crate) async fn settle(&mut self) -> Result<(), ClientError> {
        while let Wire::Upgrade(_) = self.wire {
            poll_fn(|cx| match self.poll_early(cx) {
                Poll::Pending if matches!(self.wire, Wire::Upgrade(_)) => Poll::Pending,
                Poll::Pending => Poll::Ready(Ok(())),
                ready => ready,
            })
            .await?;
        }
        Ok(())
    }

    /// Queues an Engine.IO text, which leaves while the next message is awaited.
    pub(crate) fn send(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        match &mut self.wire {
            Wire::WebSocket(websocket) => websocket.send(text),
            Wire::Polling(polling) => polling.send(text.to_owned()),
            Wire::Upgrade(upgrade) => upgrade.send(text.to_owned()),
        }
    }

    /// The next message of the server. Pings are answered. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<String, ClientError> {
        loop {
            if let Some(text) = self.early.pop_front() {
                return Ok(text);
            }
            poll_fn(|cx| self.poll_early(cx)).await?;
        }
    }

    /// The same as [`Client::next`], or `None` as soon as all that was queued has left: it was written, or its POST answered.
    pub(crate) async fn next_or_sent(&mut self) -> Result<Option<String>, ClientError> {
        poll_fn(|cx| {
            loop {
                if let Some(text) = self.early.pop_front() {
                    return Poll::Ready(Ok(Some(text)));
                }
                if self.poll_early(cx)?.is_pending() {
                    return self.poll_sent(cx).map_ok(|()| None);
                }
            }
        })
        .await
    }

    /// Gives all messages of one read to `each`, where they lie; there may be none. Pings are answered, and what is queued leaves.
    pub(crate) fn poll_receive(&mut self, cx: &mut Context<'_>, mut each: impl FnMut(&str)) -> Poll<Result<(), ClientError>> {
        if self.early.is_empty() {
            return self.poll_wire(cx, &mut each);
        }
        self.early.drain(..).for_each(|text| each(&text));
        Poll::Ready(Ok(()))
    }

    /// Tells the server that the client goes, and waits a moment until it has heard that: else it may keep the session until a timeout.
    pub(crate) async fn leave(mut self) {
        // The client leaves the namespace, and the session ends.
        self.send("41");
        match &mut self.wire {
            Wire::WebSocket(websocket) => websocket.close(),
            Wire::Polling(_) | Wire::Upgrade(_) => self.send("1"),
        }
        let left = poll_fn(|cx| {
            // What comes meanwhile is of no interest; but a connection that is closed with unread data is reset.
            while let Poll::Ready(received) = self.poll_receive(cx, |_| {}) {
                if received.is_err() {
                    return Poll::Ready(());
                }
            }
            match &self.wire {
                Wire::WebSocket(_) => Poll::Pending,
                Wire::Polling(_) | Wire::Upgrade(_) => self.poll_sent(cx).map(drop),
            }
        });
        // It goes anyhow.
        drop(tokio::time::timeout(LEAVE_TIMEOUT, left).await);
    }

    /// Receives into [`Client::early`].
    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        let mut early = std::mem::take(&mut self.early);
        let received = self.poll_wire(cx, &mut |text| early.push_back(text.to_owned()));
        self.early = early;
        received
    }

    /// Ready when all that was queued has left: it was written, or its POST answered.
    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        match &mut self.wire {
            Wire::WebSocket(websocket) => websocket.poll_sent(cx),
            Wire::Polling(polling) => polling.poll_sent(cx),
            Wire::Upgrade(upgrade) => upgrade.poll_sent(cx),
        }
    }

    fn poll_wire(&mut self, cx: &mut Context<'_>, each: &mut impl FnMut(&str)) -> Poll<Result<(), ClientError>> {
        loop {
            let (mut seen, mut pinged, mut ended) = (false, false, None);
            let polled = self.poll_packets(cx, &mut |packet| match packet.as_bytes() {
                b"2" => pinged = true,
                b"6" => {}
                b"1" => ended = ended.take().or(Some(ClientError::Closed)),
                b"41" => ended = ended.take().or(Some(ClientError::Disconnected)),
                _ => {
                    seen = true;
                    each(packet);
                }
            });
            if pinged {
                let silent_at = Instant::now() + self.heartbeat.silence;
                self.heartbeat.timer.as_mut().reset(silent_at);
                self.send("3");
            }
            if let Some(ended) = ended {
                return Poll::Ready(Err(ended));
            }
            match polled {
                Poll::Ready(Ok(())) if seen => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(self.heartbeat.timer.as_mut().poll(cx));
                    return Poll::Ready(Err(ClientError::Silent(self.heartbeat.silence)));
                }
            }
        }
    }

    fn poll_packets(&mut self, cx: &mut Context<'_>, each: &mut impl FnMut(&str)) -> Poll<Result<(), ClientError>> {
        loop {
            let step = match &mut self.wire {
                Wire::WebSocket(websocket) => return websocket.poll_packets(cx, each),
                Wire::Polling(polling) => ready!(polling.poll_packet(cx)).map(Step::Packet),
                Wire::Upgrade(upgrade) => ready!(upgrade.poll_step(cx)),
            };
            match step? {
                Step::Packet(packet) => {
                    each(&packet);
                    return Poll::Ready(Ok(()));
                }
                Step::Done(websocket) => self.wire = Wire::WebSocket(websocket),
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("connected", &self.connected).finish_non_exhaustive()
    }
}

impl Open {
    fn read(packet: &str) -> Result<Self, ClientError> {
        let json = packet.strip_prefix('0').and_then(|json| serde_json::from_str(json).ok());
        json.ok_or_else(|| ClientError::Unexpected {
            expected: "the Engine.IO open packet",
            got: cut(packet),
        })
    }
}

fn max_payload() -> usize {
    1_000_000
}

/// An error and what is behind it.
fn chain(error: &hyper::Error) -> String {
    let sources = std::iter::successors(error.source(), |&error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

/// A number by chance.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// The first 200 characters.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use tokio::net::TcpListener;
    use tokio_tungstenite::tungstenite::Message;

    use super::*;

    /// Time passes as soon as nothing else is to be done.
    #[tokio::test(start_paused = true)]
    async fn connecting_to_a_server_that_says_nothing_ends() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let targets = vec![silent.local_addr().unwrap().to_string()].into();
        for transport in [Transport::Websocket, Transport::Polling, Transport::Upgrade] {
            let begun = Instant::now();
            let error = Client::connect(Route::new(&targets, 0, true), transport).await.unwrap_err();
            assert!(matches!(error, ClientError::Timeout(..)), "{error}");
            assert!(begun.elapsed() <= CONNECT_TIMEOUT, "after {:?}", begun.elapsed());
        }
    }

    /// As socketioxide does.
    #[tokio::test]
    async fn a_ping_together_with_the_open_packet_is_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let targets = vec![listener.local_addr().unwrap().to_string()].into();
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut session = tokio_tungstenite::accept_async(stream).await.unwrap();
            let open = r#"0{"sid":"a","upgrades":[],"pingInterval":60000,"pingTimeout":60000}"#;
            session.feed(Message::text(open)).await.unwrap();
            session.feed(Message::text("2")).await.unwrap();
            session.flush().await.unwrap();
            let mut heard = [session.next().await.unwrap().unwrap(), session.next().await.unwrap().unwrap()];
            session.send(Message::text(r#"40{"sid":"b"}"#)).await.unwrap();
            heard.sort_by_key(|message| message.to_text().unwrap().to_owned());
            assert_eq!(heard, [Message::text("3"), Message::text("40")]);
            session
        };
        let (client, _session) = tokio::join!(Client::connect(Route::new(&targets, 0, true), Transport::Websocket), server);
        client.unwrap();
    }
}
