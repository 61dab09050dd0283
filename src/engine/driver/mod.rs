//! The one task that owns a session: it reads, keeps the time, and writes where no flusher can.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use tokio::time::{Sleep, sleep_until};

use crate::protocol::{
    engineio::{
        decode_binary, decode_text,
        payload::{self, Form},
    },
    websocket::{Message, Opcode},
};

use super::{
    CloseReason, Connection, Flow, Incoming, Outgoing,
    carrier::Parked,
    flusher::{finish_write, flush, gather},
    mailbox::{Mail, Mailbox, Pen},
    polling::Answer,
    scratch,
    session::{End, Heard, Session, Step},
    websocket::Wire,
};

mod farewell;
mod probe;

use probe::Probe;

/// Frames or packets read, or rounds made, between two yields. A part of a frame counts as one: else a peer that sends fragments of a
/// message without end, faster than they are read, would keep the thread for itself.
const UNITS: usize = 64;

/// Bytes that one answer to a poll takes from the outbox.
const POLL_BYTES: usize = 256 << 10;

static PING: LazyLock<Outgoing> = LazyLock::new(|| Outgoing::packet("2"));
static PONG: LazyLock<Outgoing> = LazyLock::new(|| Outgoing::packet("3"));
static PROBE_PONG: LazyLock<Outgoing> = LazyLock::new(|| Outgoing::packet("3probe"));

/// The driver of one session.
pub(super) struct Driver {
    mailbox: Arc<Mailbox>,
    session: Session,
    connection: Box<dyn Connection>,
    /// The session's WebSocket, when that is its transport.
    wire: Option<Box<Wire>>,
    /// The WebSocket that probes.
    probe: Option<Box<Probe>>,
    post: Option<Box<Post>>,
    /// When the peer will have taken nothing for too long.
    stalled: Option<Instant>,
    /// What the mailbox was told of the session's time.
    expires: Option<Instant>,
    peer: Peer,
}

/// Takes the session off the books when its driver ends, even by a panic of the application or with the runtime.
struct Leaving<F: FnOnce(&Mailbox)> {
    mailbox: Arc<Mailbox>,
    gone: Option<F>,
    counted: bool,
}

impl<F: FnOnce(&Mailbox)> Leaving<F> {
    fn count(&mut self, reason: CloseReason) {
        if !std::mem::replace(&mut self.counted, true) {
            self.mailbox.shared.counters.count_closed(reason);
        }
    }

    /// Takes it off the books, once.
    fn go(&mut self) {
        if let Some(gone) = self.gone.take() {
            gone(&self.mailbox);
        }
    }
}

impl<F: FnOnce(&Mailbox)> Drop for Leaving<F> {
    fn drop(&mut self) {
        if !self.counted {
            drop(self.mailbox.end(false));
        }
        self.count(CloseReason::TransportError);
        self.go();
    }
}

/// What is known of the other end of the WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Listening,
    /// It sent a close frame with this code, waits for ours, and then for the end of the connection.
    Closing(Option<u16>),
    /// It is gone, or the connection broke.
    Gone,
}

/// A posted payload of which a part has not been handed to the application yet.
struct Post {
    body: Bytes,
    form: Form,
    /// Where the next packet begins.
    position: usize,
}

/// How the bytes of a read were used up.
enum Decoded {
    All,
    /// The application, the budget or the end of the session stopped it after so many bytes.
    Part(usize),
}

impl Drop for Driver {
    /// However it ended: handles that live on must not keep the connection open.
    fn drop(&mut self) {
        drop(self.mailbox.let_go());
    }
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl Driver {
    pub(super) fn new(mailbox: Arc<Mailbox>, session: Session, connection: Box<dyn Connection>, wire: Option<Wire>) -> Self {
        let wire = wire.map(Box::new);
        Self {
            mailbox,
            session,
            connection,
            wire,
            probe: None,
            post: None,
            stalled: None,
            expires: None,
            peer: Peer::Listening,
        }
    }

    /// Runs the session to its end. `gone` is called when nothing can reach the session any more; the connection may linger after it.
    // Not an `async fn`: that would keep every argument twice, where it came in and where it is used.
    pub(super) fn run(mut self, gone: impl FnOnce(&Mailbox)) -> impl Future<Output = ()> {
        let mut leaving = Leaving {
            mailbox: self.mailbox.clone(),
            gone: Some(gone),
            counted: false,
        };
        async move {
            let end = {
                let mut sleep = pin!(sleep_until(tokio::time::Instant::now()));
                poll_fn(|cx| gather(|| self.poll(cx, sleep.as_mut()))).await
            };
            self.leave(end);
            leaving.count(end.reason);
            self.connection.closed(end.reason);
            if end.late_poll {
                let timeout = self.mailbox.shared.config.farewell_timeout;
                // Whether it came or not: the session is over.
                tokio::time::timeout(timeout, poll_fn(|cx| self.mailbox.poll_late(cx))).await.ok();
            }
            leaving.go();
            let mut parted = !end.reset;
            if parted && self.wire.is_some() && self.peer != Peer::Gone {
                let mut sleep = pin!(tokio::time::sleep(self.mailbox.shared.config.farewell_timeout));
                parted = poll_fn(|cx| gather(|| self.poll_farewell(cx, sleep.as_mut()))).await;
            }
            if let Some(wire) = self.wire.as_ref().filter(|_| !parted) {
                // Else the kernel would keep for it what it has not taken, for minutes after the session.
                wire.reset_on_drop();
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut sleep: Pin<&mut Sleep>) -> Poll<End> {
        let mut budget = UNITS;
        loop {
            let now = now();
            let mut progress = false;
            if let Some(mail) = self.mailbox.collect(cx.waker()) {
                self.read_mail(*mail, cx, now);
                progress = true;
            }
            if self.connection.deadline().is_some_and(|deadline| deadline <= now) {
                let flow = self.connection.timeout();
                apply(flow, &mut self.session, &self.mailbox, now);
                progress = true;
            }
            progress |= self.read_post(now, &mut budget);
            progress |= self.read_wire(cx, now, &mut budget);
            if self.wire.as_ref().and_then(|wire| wire.due).is_some_and(|due| due <= now) {
                self.session.violated(None);
            }
            progress |= self.read_probe(cx, &mut budget);
            if self.session.take_answered() {
                self.connection.answered();
            }
            progress |= self.write(cx, now);
            self.take_steps(now);
            if let Some(end) = self.session.ended() {
                return Poll::Ready(end);
            }
            budget = budget.saturating_sub(1);
            if budget == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !progress && self.poll_timer(cx, sleep.as_mut(), now).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn read_mail(&mut self, mail: Mail, cx: &mut Context<'_>, now: Instant) {
        let Mail {
            close,
            kill,
            violation,
            resume,
            broken,
            post,
            probe,
        } = mail;
        if let Some(reason) = kill {
            self.session.reset(reason);
        }
        if broken {
            self.peer = Peer::Gone;
            self.session.transport_closed();
        }
        if violation {
            self.session.violated(None);
        }
        if resume {
            self.session.resume(now);
        }
        if let Some((reason, linger)) = close {
            self.session.close(reason, linger, now);
        }
        if let Some((body, form)) = post {
            self.post = Some(Box::new(Post { body, form, position: 0 }));
        }
        match probe {
            Some((wire, dialect)) if self.session.probe_opened(now) => self.probe = Some(Box::new(Probe::new(*wire, dialect))),
            Some((wire, dialect)) => Probe::new(*wire, dialect).decline(cx),
            None => {}
        }
    }

    /// Hands packets of a posted payload to the application, and answers the POST when all were taken.
    fn read_post(&mut self, now: Instant, budget: &mut usize) -> bool {
        let Self {
            mailbox,
            session,
            connection,
            post: slot,
            ..
        } = self;
        let Some(post) = slot else { return false };
        if !session.is_reading() {
            return false;
        }
        let mut packets = payload::decode(post.body.get(post.position..).unwrap_or_default(), post.form);
        let mut finished = true;
        while session.ended().is_none() {
            if *budget == 0 || !session.is_reading() {
                finished = packets.rest().is_none();
                break;
            }
            let Some(packet) = packets.next() else { break };
            *budget -= 1;
            if let Some(heard) = session.received(packet, now) {
                deliver(heard, session, connection.as_mut(), mailbox, now);
            }
        }
        post.position = post.body.len() - packets.rest().map_or(0, <[u8]>::len);
        if finished {
            *slot = None;
            // What it has posted counts from the moment in which it is told so.
            self.tell_expiry();
            if let Some(answer) = self.mailbox.end_post() {
                // The client may have gone: its next poll tells.
                answer.send(()).ok();
            }
        }
        true
    }

    /// Reads the WebSocket until it has no more, or the budget is used up.
    fn read_wire(&mut self, cx: &mut Context<'_>, now: Instant, budget: &mut usize) -> bool {
        let mut progress = false;
        while *budget > 0 && self.session.is_reading() && self.session.ended().is_none() {
            let Some(wire) = &mut self.wire else { break };
            if let Some((mut bytes, start)) = wire.take_unread() {
                progress = true;
                let decoded = self.decode(bytes.get_mut(start..).unwrap_or_default(), now, budget);
                if let (Decoded::Part(length), Some(wire)) = (decoded, &mut self.wire) {
                    wire.keep_unread(bytes, start + length);
                }
                continue;
            }
            let read = scratch::for_read(|buffer| {
                let Some(wire) = &mut self.wire else { return Poll::Pending };
                match wire.poll_read(cx, buffer) {
                    Poll::Pending => Poll::Pending,
                    Poll::Ready(Ok(length)) if length > 0 => {
                        let bytes = buffer.get_mut(..length).unwrap_or_default();
                        if let (Decoded::Part(used), Some(wire)) = (self.decode(bytes, now, budget), &mut self.wire) {
                            wire.keep_unread(buffer.get(used..length).unwrap_or_default().to_vec(), 0);
                        }
                        Poll::Ready(true)
                    }
                    Poll::Ready(_) => Poll::Ready(false),
                }
            });
            match read {
                Poll::Pending => break,
                Poll::Ready(true) => progress = true,
                Poll::Ready(false) => {
                    self.peer = Peer::Gone;
                    self.session.transport_closed();
                    return true;
                }
            }
        }
        progress
    }

    fn decode(&mut self, bytes: &mut [u8], now: Instant, budget: &mut usize) -> Decoded {
        let Self {
            mailbox,
            session,
            connection,
            wire,
            peer,
            ..
        } = self;
        let Some(wire) = wire else { return Decoded::All };
        let time = mailbox.shared.config.message_timeout;
        let mut used = 0;
        while let Some(rest) = bytes.get_mut(used..).filter(|rest| !rest.is_empty()) {
            wire.watch(now, time);
            if *budget == 0 || !session.is_reading() || session.ended().is_some() {
                // What the application was given is not kept while it takes no more.
                wire.decoder.decode(&mut []).ok();
                return Decoded::Part(used);
            }
            let (length, message) = match wire.decoder.decode(rest) {
                Ok(decoded) => decoded,
                Err(violation) => {
                    session.violated(Some(violation.close_code()));
                    return Decoded::All;
                }
            };
            used += length;
            if length == 0 {
                break;
            }
            let size = match message {
                Some(Message::Text(text)) => text.len(),
                Some(Message::Binary(bytes)) => bytes.len(),
                _ => 0,
            };
            // A compressed message may be as much work as many reads.
            *budget = budget.saturating_sub(1 + size / scratch::READ_BYTES);
            let Some(message) = message else { continue };
            let packet = match message {
                Message::Text(text) => decode_text(text, mailbox.dialect.revision),
                Message::Binary(bytes) => decode_binary(bytes, mailbox.dialect.revision),
                Message::Ping(payload) => {
                    Mailbox::push_own(mailbox, Outgoing::control(Opcode::Pong, payload));
                    continue;
                }
                Message::Pong(_) => continue,
                Message::Close(code, _) => {
                    *peer = Peer::Closing(code);
                    session.transport_closed();
                    return Decoded::All;
                }
            };
            if let Some(heard) = session.received(packet, now) {
                deliver(heard, session, connection.as_mut(), mailbox, now);
            }
        }
        // Lets go of the buffer of a message that came in parts.
        wire.decoder.decode(&mut []).ok();
        wire.watch(now, time);
        Decoded::All
    }

    /// Writes what is the driver's turn to write, and watches that the peer takes it.
    fn write(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(wire) = &mut self.wire else { return false };
        let mut progress = false;
        let mut blocked = false;
        // Ends: each round writes something, or finds nothing to write, or blocks.
        for _ in 0..UNITS {
            let pen = self.mailbox.lock().pen;
            let wrote = match (wire.tcp().is_some(), pen) {
                (true, Pen::Blocked) => match wire.poll_writable(cx) {
                    Poll::Pending => false,
                    Poll::Ready(_) => {
                        // Not writable after all: the stream has been told, and the next round waits for it.
                        progress |= flush(&self.mailbox, Pen::Blocked);
                        continue;
                    }
                },
                (false, Pen::Queued | Pen::Blocked) => match self.mailbox.begin_write(pen) {
                    Some((batch, _)) => finish_write(&self.mailbox, batch, true, |slices| wire.write(cx, slices)),
                    None => false,
                },
                _ => break,
            };
            if !wrote {
                blocked = self.mailbox.lock().pen == Pen::Blocked;
                break;
            }
            progress = true;
        }
        if let Poll::Ready(Err(_)) = wire.poll_flush(cx) {
            self.peer = Peer::Gone;
            self.session.transport_closed();
        }
        let timeout = self.mailbox.shared.config.write_timeout;
        match self.stalled {
            _ if !blocked => self.stalled = None,
            None => self.stalled = Some(now + timeout),
            Some(_) if progress => self.stalled = Some(now + timeout),
            Some(until) if now >= until => {
                self.mailbox.shared.counters.write_timeouts.increment();
                self.session.reset(CloseReason::TransportError);
            }
            Some(_) => {}
        }
        progress
    }

    fn take_steps(&mut self, now: Instant) {
        loop {
            let (waiting, polled) = self.mailbox.waiting();
            match self.session.step(now, waiting, polled) {
                None => break,
                Some(Step::Ping) => {
                    self.connection.asked();
                    Mailbox::push_own(&self.mailbox, PING.clone());
                }
                Some(Step::AnswerMessages) => self.answer_poll(),
                Some(Step::AnswerNoop) => {
                    let poll = self.mailbox.lock().poll.take();
                    self.release(poll, &["6"]);
                }
                Some(Step::CloseProbe) => self.probe = None,
            }
        }
        self.tell_expiry();
    }

    /// Answers the poll with what waits.
    fn answer_poll(&mut self) {
        let mut batch = {
            let mut state = self.mailbox.lock();
            if state.poll.is_none() {
                return;
            }
            state.outbox.take(POLL_BYTES)
        };
        let answer = Answer::of(&batch.entries, self.mailbox.dialect);
        // In one step: a poll that comes now finds the one that waits, or its answer.
        let (poll, before) = {
            let mut state = self.mailbox.lock();
            let Some(poll) = state.poll.take() else {
                state.outbox.put_back(batch);
                return;
            };
            let kept = poll.kept(&answer);
            (poll, std::mem::replace(&mut state.carried, kept))
        };
        drop(before);
        let counters = &self.mailbox.shared.counters;
        counters.bytes_out.add(answer.body.len() as u64);
        counters.messages_out.add(batch.advance(usize::MAX) as u64);
        if poll.deliver(answer).is_err() {
            // The request was given up in this very moment, and what it was to carry is lost.
            self.session.violated(None);
        }
    }

    /// Has requests refused from when the session's time is up.
    fn tell_expiry(&mut self) {
        let expires = self.session.expires();
        if expires != self.expires {
            self.expires = expires;
            self.mailbox.expire_at(expires);
        }
    }

    /// Answers a poll, if there is one, with packets of the session's own.
    fn release(&self, poll: Option<Parked>, packets: &[&str]) {
        if let Some(poll) = poll {
            poll.release(Answer::packets(packets, Form::of(self.mailbox.dialect.revision)));
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, mut sleep: Pin<&mut Sleep>, now: Instant) -> Poll<()> {
        let due = self.wire.as_ref().and_then(|wire| wire.due);
        let deadlines = [self.session.deadline(), self.connection.deadline(), self.stalled, due];
        let Some(deadline) = deadlines.into_iter().flatten().min() else {
            return Poll::Pending;
        };
        if deadline <= now {
            return Poll::Ready(());
        }
        let deadline = tokio::time::Instant::from_std(deadline);
        // A timer that is set too early is cheaper than one that is set anew for each pong; one that has fired must be set anew.
        if sleep.is_elapsed() || sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.poll(cx)
    }
}

fn deliver(heard: Heard<'_>, session: &mut Session, connection: &mut dyn Connection, mailbox: &Arc<Mailbox>, now: Instant) {
    let message = match heard {
        Heard::Message(message) => message,
        Heard::Ping => return Mailbox::push_own(mailbox, PONG.clone()),
    };
    let counters = &mailbox.shared.counters;
    counters.messages_in.increment();
    counters.bytes_in.add(match &message {
        Incoming::Text(text) => text.len() as u64,
        Incoming::Binary(bytes) => bytes.len() as u64,
    });
    apply(connection.message(message), session, mailbox, now);
}

fn apply(flow: Flow, session: &mut Session, mailbox: &Mailbox, now: Instant) {
    match flow {
        Flow::Continue => {}
        Flow::Pause => session.pause(now),
        Flow::Close(reason) => {
            mailbox.close(reason, None);
            session.close(reason, None, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Config, Handle, Revision, Transport, session::Timing};

    #[derive(Debug)]
    struct Deaf;

    impl Connection for Deaf {
        fn message(&mut self, _: Incoming<'_>) -> Flow {
            Flow::Continue
        }
        fn timeout(&mut self) -> Flow {
            Flow::Continue
        }
        fn deadline(&self) -> Option<Instant> {
            None
        }
        fn closed(&mut self, _: CloseReason) {}
    }

    /// What a session costs while nothing happens is multiplied by every client.
    #[test]
    fn an_idle_session_is_small() {
        let mailbox = Handle::detached().0.0;
        let session = Session::new(
            Arc::new(Timing::from(&Config::default())),
            Revision::V4,
            Transport::Polling,
            Instant::now(),
        );
        let driver = Driver::new(mailbox, session, Box::new(Deaf), None);
        let task = size_of_val(&driver.run(|_| ()));
        let sizes = (task, size_of::<Mailbox>(), size_of::<Wire>());
        assert!(sizes.0 <= 448 && sizes.1 <= 256 && sizes.2 <= 192, "task, mailbox, wire: {sizes:?}");
    }
}
