//! One session from its handshake to its end under a list of operations: of the application, of a client that may be as clumsy or
//! as hostile as it likes, of the network, and of time, which is virtual. Runs as a fuzz target and among the ordinary tests.
//!
//! What holds whatever happens:
//! - The client hears, of the messages that were accepted for it, the first so many: none is lost, repeated or out of place, and an
//!   attachment follows its text. All of them, unless the session ended before.
//! - So does the application, of what the client sent.
//! - Both hear of the end once, and of nothing after it.
//! - Nothing is left of the session.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use fanfare::engine::{
    Arrival, CloseReason, Config, Engine, Handle, Io, Outgoing, Post, Pushed, Reply, Request, Routed, Upgrade, id::NodeTag,
};
use futures_util::FutureExt as _;

mod application;
mod script;
mod wire;

use application::Recorder;
pub(crate) use script::{Message, Operation, Script};
use wire::{Frame, Packet, Wire};

/// Runs a script to its end and looks at everything that must hold.
pub(crate) fn run(script: &Script) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(async {
        let mut world = World::open(script).await;
        for operation in &script.operations {
            world.act(operation).await;
            world.settle().await;
        }
        world.finish().await;
    });
}

struct World {
    engine: Arc<Engine>,
    seen: Recorder,
    session: Handle,
    revision_3: bool,
    capacity: usize,
    poll: Option<Pin<Box<dyn Future<Output = Reply>>>>,
    begun: Option<Post>,
    post: Option<Pin<Box<dyn Future<Output = Reply>>>>,
    /// The client does not wait for the answer to a POST whose body it has sent.
    abandoned: bool,
    wire: Option<Wire>,
    /// The WebSocket is the session's transport.
    upgraded: bool,
    /// `2probe` was sent on it; and `5` after that.
    probing: bool,
    switching: bool,
    /// What was accepted for the client, and what came.
    accepted: Vec<Packet>,
    came: usize,
    /// What the client sent that the application has to hear.
    sent: Vec<Packet>,
    pushed: usize,
    said: usize,
    /// The server has said good-bye.
    parted: bool,
    closing: bool,
    /// What the client has sent means anything.
    junk: bool,
    /// The session has a reason to end by itself.
    fault: bool,
    waited: bool,
}

impl World {
    async fn open(script: &Script) -> Self {
        let config = Config {
            allow_eio3: true,
            outbox_bytes: 1 << 16,
            // The answers to pings stand in it, too, and no operation says so.
            outbox_entries: 4096,
            max_http_buffer_size: 1 << 12,
            flushers: 1,
            ..Config::default()
        };
        let seen = Recorder::default();
        let engine = Engine::new(config, NodeTag::random(), Arc::new(seen.clone()));
        let arrival = Arrival::new(None, false, "/", []);
        let query = query(script.revision_3, script.websocket, "");
        let capacity = usize::from(script.capacity) + 1;
        let mut wire = None;
        let mut first = Vec::new();
        if script.websocket {
            let Ok(Upgrade::Open(admission)) = engine.upgrade(&query, None) else {
                panic!("a WebSocket is not welcome")
            };
            let (client, server) = tokio::io::duplex(capacity);
            admission
                .admit(arrival)
                .expect("there is room")
                .open_websocket(Io::Boxed(Box::new(server)), &[]);
            wire = Some(Wire::new(client, script.revision_3));
        } else {
            let Routed::Open(admission) = engine.request(&request("GET", &query)) else {
                panic!("a poll is not welcome")
            };
            let reply = admission.admit(arrival).expect("there is room").open_polling();
            first = packets(&reply, script.revision_3);
        }
        let session = seen.with(|seen| seen.session.clone()).expect("a session was opened");
        let mut world = Self {
            engine,
            seen,
            session,
            revision_3: script.revision_3,
            capacity,
            poll: None,
            begun: None,
            post: None,
            abandoned: false,
            upgraded: wire.is_some(),
            wire,
            probing: false,
            switching: false,
            accepted: Vec::new(),
            came: 0,
            sent: Vec::new(),
            pushed: 0,
            said: 0,
            parted: false,
            closing: false,
            junk: false,
            fault: false,
            waited: false,
        };
        first.iter().for_each(|packet| world.hear(packet));
        world
    }

    async fn act(&mut self, operation: &Operation) {
        match operation {
            Operation::Push {
                attachments,
                bytes,
                volatile,
            } => self.push(*attachments, *bytes, *volatile),
            Operation::PushBinary(bytes) => {
                let data = vec![b's'; usize::from(*bytes)];
                let pushed = self.session.push(&Outgoing::binary(&data));
                self.note(pushed, [Packet::Binary(data)]);
            }
            Operation::Close => {
                self.session.close(CloseReason::ForcedServerClose);
                self.closing = true;
            }
            Operation::Resume => self.session.resume(),
            Operation::Poll => self.begin_poll(),
            Operation::AbortPoll => self.fault |= self.poll.take().is_some(),
            Operation::Post(messages) if self.begun.is_none() && self.post.is_none() => {
                self.begin_post();
                self.finish_post(messages);
            }
            Operation::BeginPost => self.begin_post(),
            Operation::FinishPost(messages) => self.finish_post(messages),
            Operation::AbortPost => {
                self.fault |= self.begun.take().is_some();
                // A body that was handed in is taken all the same, and until then another POST is one too many.
                self.abandoned |= self.post.take().is_some();
            }
            Operation::PostJunk(body) => {
                self.begin_post();
                if let Some(post) = self.begun.take() {
                    (self.junk, self.fault) = (true, true);
                    self.post = Some(Box::pin(post.finish(Bytes::copy_from_slice(body))));
                }
            }
            Operation::Wait(milliseconds) => {
                self.waited = true;
                tokio::time::sleep(Duration::from_millis((*milliseconds).into())).await;
            }
            Operation::GoodBye if !self.upgraded => {
                self.begin_post();
                if let Some(post) = self.begun.take() {
                    self.fault = true;
                    let body = wire::payload(&[Packet::Text("1".into())], self.revision_3);
                    self.post = Some(Box::pin(post.finish(body.into())));
                }
            }
            Operation::Dial => self.dial(),
            Operation::Beat => self.beat(),
            Operation::Post(_) => {}
            on_wire => self.act_on_wire(on_wire),
        }
    }

    fn act_on_wire(&mut self, operation: &Operation) {
        let Some(wire) = &mut self.wire else { return };
        match operation {
            Operation::Probe => {
                wire.send(&Packet::Text("2probe".into()), 1);
                self.probing = true;
                self.fault |= self.upgraded || self.switching;
            }
            Operation::Switch => {
                wire.send(&Packet::Text("5".into()), 1);
                self.switching |= self.probing;
            }
            Operation::GoodBye => {
                wire.send(&Packet::Text("1".into()), 1);
                self.fault |= self.upgraded || self.switching;
            }
            Operation::Send(message, pieces) if self.upgraded => {
                let packet = self.says(*message);
                if let Some(wire) = &mut self.wire {
                    wire.send(&packet, usize::from(pieces % 4));
                }
                self.sent.push(packet);
            }
            Operation::PingFrame(bytes) => wire.send_frame(0x89, &vec![b'p'; usize::from(bytes % 126)]),
            Operation::CloseFrame => {
                wire.send_frame(0x88, &[]);
                self.fault |= self.upgraded || self.switching;
            }
            Operation::SendJunk(bytes) => {
                wire.send_raw(bytes);
                (self.junk, self.fault) = (true, true);
            }
            Operation::Read(bytes) => {
                wire.read(usize::from(*bytes));
            }
            Operation::Cut => {
                self.wire = None;
                self.fault |= self.upgraded || self.switching;
            }
            _ => {}
        }
    }

    fn push(&mut self, attachments: u8, bytes: u16, volatile: bool) {
        let number = self.pushed;
        self.pushed += 1;
        let text = format!("s{number}{}", "x".repeat(usize::from(bytes % 3000)));
        let attachments: Vec<Bytes> = (0..attachments % 5)
            .map(|attachment| Bytes::from(format!("{number}/{attachment}")))
            .collect();
        let message = Outgoing::new(&[&text], &attachments);
        let pushed = if volatile {
            self.session.push_volatile(&message)
        } else {
            self.session.push(&message)
        };
        let packets = attachments.iter().map(|data| Packet::Binary(data.to_vec()));
        self.note(pushed, std::iter::once(Packet::Text(format!("4{text}"))).chain(packets));
    }

    fn note(&mut self, pushed: Pushed, packets: impl IntoIterator<Item = Packet>) {
        match pushed {
            Pushed::Queued => {
                assert!(!self.closing && self.closed().is_none(), "accepted after the end");
                self.accepted.extend(packets);
            }
            Pushed::Overflow => self.fault = true,
            Pushed::Dropped => {}
            Pushed::Closed => assert!(self.session.is_closed()),
        }
    }

    fn says(&mut self, message: Message) -> Packet {
        let number = self.said;
        self.said += 1;
        match message {
            Message::Text => Packet::Text(format!("4c{number}")),
            Message::Astral => Packet::Text(format!("4\u{1f4a9}{number}")),
            Message::Pause => Packet::Text(format!("4p{number}")),
            Message::Binary => Packet::Binary(number.to_string().into()),
        }
    }

    fn begin_poll(&mut self) {
        let query = query(self.revision_3, false, self.session.id());
        match self.engine.request(&request("GET", &query)) {
            Routed::Poll(poll) if self.poll.is_none() => self.poll = Some(Box::pin(poll)),
            Routed::Poll(_) => panic!("two polls at a time"),
            Routed::Reply(reply) => {
                assert_eq!(reply.status, 400);
                // A poll beside another.
                self.fault |= self.poll.is_some();
            }
            // The session has ended, or has moved to its WebSocket.
            Routed::Refused(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn begin_post(&mut self) {
        let query = query(self.revision_3, false, self.session.id());
        match self.engine.request(&request("POST", &query)) {
            Routed::Post(post) if self.begun.is_none() => self.begun = Some(post),
            Routed::Post(_) => panic!("two POSTs at a time"),
            Routed::Reply(reply) => {
                assert_eq!(reply.status, 400);
                self.fault |= self.begun.is_some() || self.post.is_some() || self.abandoned;
            }
            Routed::Refused(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn finish_post(&mut self, messages: &[Message]) {
        let Some(post) = self.begun.take() else { return };
        // A payload is one packet at least.
        let packets: Vec<Packet> = messages
            .iter()
            .chain(messages.is_empty().then_some(&Message::Text))
            .map(|message| self.says(*message))
            .collect();
        let body = wire::payload(&packets, self.revision_3);
        if body.len() <= post.max_body() {
            self.sent.extend(packets);
        }
        self.post = Some(Box::pin(post.finish(body.into())));
    }

    fn dial(&mut self) {
        let query = query(self.revision_3, true, self.session.id());
        let Ok(upgrade) = self.engine.upgrade(&query, None) else {
            assert!(self.closed().is_some());
            return;
        };
        let Upgrade::Probe(candidate) = upgrade else {
            panic!("a second session")
        };
        let (client, server) = tokio::io::duplex(self.capacity);
        candidate.probe(Io::Boxed(Box::new(server)), &[]);
        // One beside another is closed, and nothing else happens.
        if self.wire.is_none() && !self.upgraded {
            self.wire = Some(Wire::new(client, self.revision_3));
            (self.probing, self.switching) = (false, false);
        }
    }

    /// The client's part of the heartbeat.
    fn beat(&mut self) {
        let packet = Packet::Text(if self.revision_3 { "2" } else { "3" }.into());
        match &mut self.wire {
            Some(wire) if self.upgraded => wire.send(&packet, 1),
            _ if self.upgraded || self.begun.is_some() || self.post.is_some() => {}
            _ => {
                self.begin_post();
                if let Some(post) = self.begun.take() {
                    self.post = Some(Box::pin(post.finish(wire::payload(&[packet], self.revision_3).into())));
                }
            }
        }
    }

    fn closed(&self) -> Option<CloseReason> {
        self.seen.with(|seen| seen.closed.first().copied())
    }

    /// Lets everybody act until nobody has anything to do.
    async fn settle(&mut self) {
        for _ in 0..4 {
            for _ in 0..6 {
                tokio::task::yield_now().await;
            }
            self.upgraded |= self.engine.counters().upgraded.get() > 0;
            if let Some(wire) = &mut self.wire {
                wire.pump();
            }
            if let Some(reply) = self.poll.as_mut().and_then(|poll| poll.now_or_never()) {
                self.poll = None;
                if reply.status == 200 {
                    packets(&reply, self.revision_3).iter().for_each(|packet| self.hear(packet));
                } else {
                    // One that still waits when the client has switched to its WebSocket is refused, as any later one.
                    assert!(reply.body.is_empty() && (self.closed().is_some() || self.switching), "{reply:?}");
                }
            }
            if self.post.as_mut().and_then(|post| post.now_or_never()).is_some() {
                self.post = None;
            }
            while let Some(frame) = self.wire.as_mut().and_then(Wire::frame) {
                self.hear_frame(frame);
            }
        }
        self.check();
    }

    fn hear_frame(&mut self, frame: Frame) {
        match frame {
            Frame::Packet(packet) if self.upgraded => self.hear(&packet),
            // What has not been told to be the transport is told nothing.
            Frame::Packet(packet) => assert_eq!(packet, Packet::Text("3probe".into())),
            // One that was sent before the session ended over polling is read whenever its client likes.
            Frame::Pong => assert!(!self.upgraded || !self.parted),
            Frame::Close if self.upgraded => {
                assert!(!self.parted, "two good-byes");
                self.parted = true;
            }
            Frame::Close => {
                self.wire = None;
            }
        }
    }

    fn hear(&mut self, packet: &Packet) {
        assert!(!self.parted, "{packet:?} after the good-bye");
        match packet {
            Packet::Text(text) if !text.starts_with('4') => match text.as_str() {
                "1" => self.parted = true,
                "2" => assert!(!self.revision_3),
                "3" => assert!(self.revision_3),
                "3probe" | "6" => {}
                open => assert!(open.starts_with("0{") && self.came == 0, "{open}"),
            },
            _ => {
                assert_eq!(
                    Some(packet),
                    self.accepted.get(self.came),
                    "packet {} of {}",
                    self.came,
                    self.accepted.len()
                );
                self.came += 1;
            }
        }
    }

    fn check(&self) {
        self.seen.with(|seen| {
            assert!(seen.closed.len() <= 1, "closed twice: {:?}", seen.closed);
            assert!(
                self.junk || self.sent.starts_with(&seen.heard),
                "heard {:?} of {:?}",
                seen.heard,
                self.sent
            );
            if let Some(reason) = seen.closed.first() {
                let expected = *reason == CloseReason::ForcedServerClose && self.closing;
                assert!(expected || self.fault || self.waited, "ended by itself: {reason}");
            }
        });
    }

    /// From here on the client behaves, until everything has come; then the server shuts down.
    async fn finish(mut self) {
        let was_closed = self.closed().is_some();
        if self.begun.is_some() {
            self.finish_post(&[]);
        }
        if !self.upgraded && !self.switching {
            self.wire = None;
        }
        let mut quiet = 0;
        while quiet < 8 {
            let before = (self.came, self.seen.with(|seen| seen.heard.len()));
            self.session.resume();
            if let Some(wire) = &mut self.wire {
                while wire.pump() | wire.read(4096) {
                    tokio::task::yield_now().await;
                }
            }
            if !self.upgraded && self.poll.is_none() && !self.parted {
                self.begin_poll();
            }
            self.settle().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
            let after = (self.came, self.seen.with(|seen| seen.heard.len()));
            quiet = if before == after { quiet + 1 } else { 0 };
        }
        let all = self.closed().is_none() || (!was_closed && !self.fault && !self.waited);
        if all {
            assert_eq!(self.came, self.accepted.len(), "lost on the way to the client");
        }
        if self.closed().is_none() && !self.closing && !self.junk {
            self.seen
                .with(|seen| assert_eq!(seen.heard, self.sent, "lost on the way to the application"));
        }
        // A shutdown has its own reason.
        self.fault = true;
        self.engine.close(CloseReason::ServerShuttingDown, Duration::from_secs(1)).await;
        if let Some(wire) = &mut self.wire {
            while wire.read(4096) {}
        }
        self.settle().await;
        assert_eq!(self.seen.with(|seen| seen.closed.len()), 1, "nobody was told of the end");
        assert_eq!((self.engine.counters().open(), self.engine.tasks()), (0, 0));
    }
}

fn query(revision_3: bool, websocket: bool, session: &str) -> String {
    let (revision, transport) = (if revision_3 { 3 } else { 4 }, if websocket { "websocket" } else { "polling" });
    format!("EIO={revision}&transport={transport}&sid={session}")
}

fn request<'a>(method: &'a str, query: &'a str) -> Request<'a> {
    Request {
        method,
        query,
        content_type: Some("text/plain;charset=UTF-8"),
        origin: None,
        may_script: false,
        ..Request::default()
    }
}

fn packets(reply: &Reply, revision_3: bool) -> Vec<Packet> {
    assert_eq!(reply.status, 200);
    wire::packets(&reply.body, reply.content_type == Some("application/octet-stream"), revision_3)
}
