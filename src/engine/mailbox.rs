//! The meeting point of a session's driver with everybody else: one mutex, what waits behind it, and whose turn it is to act.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{net::TcpStream, sync::oneshot};

use crate::protocol::engineio::{
    Revision,
    handshake::{Flaw, Refusal},
    jsonp::Callback,
    payload::Form,
};

use super::{
    Carrier, CloseReason, Outgoing, Pushed,
    carrier::{Before, Carried, Coming, Marks, Parked},
    dialect::Dialect,
    driver::now,
    flusher::{self, Shared},
    outbox::{Batch, Limits, Outbox},
    polling::Answer,
    websocket::Wire,
};

/// Bytes that one write takes from an outbox.
pub(super) const BATCH_BYTES: usize = 64 << 10;

/// What a session's driver shares with the world. Lock order: the registry, then a mailbox; never two mailboxes.
///
/// Under the lock nothing is woken, no message dropped and no code of an application called: such things are handed out of it.
pub(super) struct Mailbox {
    pub(super) id: Box<str>,
    pub(super) shared: Arc<Shared>,
    /// Which flusher writes for this session.
    pub(super) flusher: usize,
    /// How packets are encoded, over polling and on a WebSocket that opened the session.
    pub(super) dialect: Dialect,
    /// The callback that payloads are handed to, where the client polls by JSONP.
    pub(super) callback: Option<Callback>,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) outbox: Outbox,
    pub(super) line: Line,
    pub(super) pen: Pen,
    pub(super) phase: Phase,
    /// The driver, while it sleeps.
    waker: Option<Waker>,
    /// The poll that waits for an answer. Its receiver is the HTTP request.
    pub(super) poll: Option<Parked>,
    /// The one before, if it was carried.
    pub(super) carried: Option<Box<Carried>>,
    marks: Marks,
    /// A POST is under way, from its head to its answer: the HTTP request has the receiver, and learns from it when the session ends.
    pub(super) posting: Option<oneshot::Sender<()>>,
    pub(super) mail: Option<Box<Mail>>,
    /// The session has ended; one more poll is answered with a noop, and no error.
    late_poll: bool,
    /// When the client's time for its part of the heartbeat is up. A request after it finds no session, also while the driver's timer is
    /// late.
    expires: Option<Instant>,
}

/// Over what the outbox goes out, and who writes.
pub(super) enum Line {
    /// The answer to a poll; the driver gives it.
    Polling,
    /// A plain WebSocket, whose write half stands here; flushers write.
    Tcp(Arc<TcpStream>),
    /// A WebSocket over something else; the driver has it and writes.
    Boxed,
    /// Nothing: a detached session.
    Tap,
}

/// Who is to write what waits on a WebSocket. There is one writer at a time, so that what was taken can be put back in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pen {
    /// Nothing waits.
    Idle,
    /// A flusher has it on its list, or the driver (of a boxed WebSocket) has been woken for it.
    Queued,
    /// Somebody is writing a batch.
    Writing,
    /// The transport takes no more: the driver waits for it to become writable.
    Blocked,
}

/// How far the session has come in its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Takes no message; what waits is still to be sent.
    Closing,
    /// Over. The driver alone may push, a close frame.
    Ended,
}

/// Rare requests to the driver, bounded by having one place for each.
#[derive(Default)]
pub(super) struct Mail {
    /// Close when what waits has been sent; a polling session waits that long for its next poll instead of `close_timeout`.
    pub(super) close: Option<(CloseReason, Option<Duration>)>,
    /// End now and reset the connection.
    pub(super) kill: Option<CloseReason>,
    /// An HTTP request broke the rules or was aborted: the session ends with `transport error`.
    pub(super) violation: bool,
    pub(super) resume: bool,
    /// The transport failed in the hands of a flusher.
    pub(super) broken: bool,
    /// A body that was posted.
    pub(super) post: Option<(Bytes, Form)>,
    /// A WebSocket that wants to probe, and how it wants its packets encoded.
    pub(super) probe: Option<(Box<Wire>, Dialect)>,
}

/// What becomes of a poll.
#[derive(Debug)]
pub(super) enum Parking {
    /// It waits for its answer.
    Parked,
    /// It is to come again when this carrier has broken, or a moment later.
    Early(Carrier),
    /// It was answered before, and this is the answer.
    Answered(Answer),
    /// It breaks the rules, or what it would have got is lost: the session ends.
    Violation,
}

/// What is to be done once the lock is released.
#[must_use]
enum Rouse {
    Nobody,
    Driver(Option<Waker>),
    Flusher,
}

impl Mailbox {
    pub(super) fn new(
        id: Box<str>,
        shared: Arc<Shared>,
        flusher: usize,
        line: Line,
        dialect: Dialect,
        callback: Option<Callback>,
    ) -> Arc<Self> {
        let state = State {
            // What waits for a poll is encoded when it is answered.
            outbox: Outbox::new(if matches!(line, Line::Polling) { Dialect::PLAIN } else { dialect }),
            line,
            pen: Pen::Idle,
            phase: Phase::Open,
            waker: None,
            poll: None,
            carried: None,
            marks: Marks::Unknown,
            posting: None,
            mail: None,
            late_poll: false,
            expires: None,
        };
        Arc::new(Self {
            id,
            shared,
            flusher,
            dialect,
            callback,
            state: Mutex::new(state),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(this: &Arc<Self>, message: Outgoing, volatile: bool) -> Pushed {
        let mut state = this.lock();
        if let Some(dialect) = state.outbox.deflates(&message).filter(|_| state.takes(volatile)) {
            // Once for all who get it, by who sends it, and with no lock held.
            drop(state);
            this.deflate(&message, dialect);
            state = this.lock();
        }
        if state.phase != Phase::Open {
            return Pushed::Closed;
        }
        if volatile && !state.is_writable() {
            drop(state);
            this.shared.counters.volatile_dropped.increment();
            return Pushed::Dropped;
        }
        if let Err(full) = state.outbox.push(message, this.shared.limits()) {
            let dropped = (full, state.overflow());
            let waker = state.waker.take();
            drop(state);
            this.shared.counters.slow_consumers.increment();
            Rouse::Driver(waker).act(this);
            drop(dropped);
            return Pushed::Overflow;
        }
        let rouse = state.rouse();
        drop(state);
        rouse.act(this);
        Pushed::Queued
    }

    /// Compresses a message for sessions of that dialect, unless another was faster.
    pub(super) fn deflate(&self, message: &Outgoing, dialect: Dialect) {
        if message.deflate(dialect) {
            self.shared.counters.messages_deflated.increment();
        }
    }

    /// Queues a packet of the session's own.
    pub(super) fn push_own(this: &Arc<Self>, packet: Outgoing) {
        let mut state = this.lock();
        let (rouse, dropped) = match state.outbox.push(packet, this.shared.limits()) {
            Ok(()) => (state.rouse(), None),
            Err(full) => (Rouse::Driver(state.waker.take()), Some((full, state.overflow()))),
        };
        drop(state);
        rouse.act(this);
        if dropped.is_some() {
            this.shared.counters.slow_consumers.increment();
        }
    }

    pub(super) fn close(&self, reason: CloseReason, linger: Option<Duration>) {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            // One that lingers for a late poll does so no longer.
            let waker = std::mem::take(&mut state.late_poll).then(|| state.waker.take()).flatten();
            drop(state);
            return wake(waker);
        }
        state.phase = Phase::Closing;
        state.mail().close = Some((reason, linger));
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// Hands the driver of a session that has not ended a request and wakes it.
    pub(super) fn post(&self, write: impl FnOnce(&mut Mail)) {
        let mut state = self.lock();
        if state.phase == Phase::Ended {
            return;
        }
        write(state.mail());
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// Parks a poll, unless another is parked already, or it is one that was answered.
    pub(super) fn park(&self, poll: Parked, coming: Coming<'_>) -> Result<Parking, Refusal> {
        let mut state = self.lock();
        if std::mem::take(&mut state.late_poll) {
            let waker = state.waker.take();
            drop(state);
            wake(waker);
            poll.release(Answer::packets(&["6"], Form::of(self.dialect.revision)));
            return Ok(Parking::Parked);
        }
        state.check_polled()?;
        let parking = state.look_before(coming);
        let refused = match parking {
            Parking::Parked => (state.poll.replace(poll), state.carried.take()),
            Parking::Violation => {
                state.mail().violation = true;
                (Some(poll), None)
            }
            Parking::Early(_) | Parking::Answered(_) => (Some(poll), None),
        };
        let waker = state.waker.take();
        drop(state);
        wake(waker);
        drop(refused);
        Ok(parking)
    }

    /// Answers the poll that waits, if one does, with a noop.
    pub(super) fn release_poll(&self) {
        let poll = self.lock().poll.take();
        if let Some(poll) = poll {
            poll.release(Answer::packets(&["6"], Form::of(self.dialect.revision)));
        }
    }

    /// Takes back the poll that waits, if it has come over this carrier, which has broken.
    pub(super) fn withdraw_poll(&self, carrier: &Carrier) {
        let poll = self.lock().poll.take_if(|poll| poll.carrier().is_some_and(|its| its.is(carrier)));
        drop(poll);
    }

    /// Begins a POST, and answers in which form its payload will be. Nothing if it is a violation: another is under way already, or
    /// this one is `binary` where the revision knows no such payload.
    pub(super) fn begin_post(&self, answer: oneshot::Sender<()>, binary: bool) -> Result<Option<Form>, Refusal> {
        let form = match (self.dialect.revision, binary) {
            (Revision::V3, true) => Some(Form::Binary),
            (Revision::V4, true) => None,
            (revision, false) => Some(Form::of(revision)),
        };
        let mut state = self.lock();
        state.check_polled()?;
        if form.is_none() || state.posting.is_some() {
            state.mail().violation = true;
            let waker = state.waker.take();
            drop(state);
            wake(waker);
            return Ok(None);
        }
        state.posting = Some(answer);
        Ok(form)
    }

    /// Ends a POST: the next one may begin. Hands out where its answer goes.
    pub(super) fn end_post(&self) -> Option<oneshot::Sender<()>> {
        self.lock().posting.take()
    }

    /// When the client's time is up, as the driver sees it.
    pub(super) fn expire_at(&self, expires: Option<Instant>) {
        self.lock().expires = expires;
    }

    /// Has the session end now, whatever waits.
    pub(super) fn kill(&self, reason: CloseReason) {
        self.post(|mail| mail.kill = Some(reason));
    }

    /// The driver takes its mail and leaves its waker, in one step, so that nothing falls between.
    pub(super) fn collect(&self, waker: &Waker) -> Option<Box<Mail>> {
        let mut state = self.lock();
        let mail = state.mail.take();
        let before = match &state.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => state.waker.replace(waker.clone()),
        };
        drop(state);
        drop(before);
        mail
    }

    /// Queues the close frame of a session that has ended.
    pub(super) fn push_last(this: &Arc<Self>, frame: Outgoing) {
        let mut state = this.lock();
        // Behind the rest of a message that was begun there is always room for this.
        let unlimited = Limits {
            bytes: usize::MAX,
            entries: usize::MAX,
        };
        let pushed = state.outbox.push(frame, unlimited);
        let rouse = state.rouse();
        drop(state);
        drop(pushed);
        rouse.act(this);
    }

    /// Tells the driver that the connection broke under a flusher.
    pub(super) fn broke(&self) {
        let mut state = self.lock();
        state.mail().broken = true;
        let waker = state.waker.take();
        drop(state);
        wake(waker);
    }

    /// The session's transport is a WebSocket from now on, over which what waits is sent. Hands out the poll that still waits.
    pub(super) fn switch(this: &Arc<Self>, tcp: Option<Arc<TcpStream>>, dialect: Dialect) -> Option<Parked> {
        let mut state = this.lock();
        state.outbox.speak(dialect);
        state.line = tcp.map_or(Line::Boxed, Line::Tcp);
        let rouse = if state.outbox.is_empty() { Rouse::Nobody } else { state.rouse() };
        let (poll, carried) = (state.poll.take(), state.carried.take());
        drop(state);
        drop(carried);
        rouse.act(this);
        poll
    }

    /// Whether something waits to be sent or is being sent, and whether a poll waits for it.
    pub(super) fn waiting(&self) -> (bool, bool) {
        let state = self.lock();
        (!state.outbox.is_empty() || state.pen != Pen::Idle, state.poll.is_some())
    }

    /// The session is over: nobody pushes, polls or asks any more, but for the one poll that may be late. Hands out the poll that waits,
    /// and what is to be dropped; with that a POST under way learns of it.
    pub(super) fn end(&self, late_poll: bool) -> (Option<Parked>, impl Sized + use<>) {
        let mut state = self.lock();
        state.phase = Phase::Ended;
        let poll = state.poll.take();
        state.late_poll = late_poll && poll.is_none();
        let dropped = (
            state.outbox.discard(),
            state.mail.take(),
            state.posting.take(),
            state.carried.take(),
        );
        (poll, dropped)
    }

    /// Ends when the poll that may be late was answered.
    pub(super) fn poll_late(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.late_poll {
            return Poll::Ready(());
        }
        let before = state.waker.replace(cx.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// The connection is over, too. Hands out what is left of it, to be dropped.
    pub(super) fn let_go(&self) -> impl Sized + use<> {
        let mut state = self.lock();
        let line = match state.line {
            // A handle that lives on must not keep the socket open.
            Line::Tcp(_) => std::mem::replace(&mut state.line, Line::Boxed),
            Line::Polling | Line::Boxed | Line::Tap => Line::Tap,
        };
        (
            std::mem::replace(&mut state.outbox, Outbox::new(Dialect::PLAIN)),
            line,
            state.mail.take(),
            state.waker.take(),
        )
    }

    /// Takes a batch to write, if writing is `turn`'s turn and something waits; and the plain connection to write it to, if it is one.
    pub(super) fn begin_write(&self, turn: Pen) -> Option<(Batch, Option<Arc<TcpStream>>)> {
        let mut state = self.lock();
        if state.pen != turn {
            return None;
        }
        let batch = state.outbox.take(BATCH_BYTES);
        state.pen = if batch.is_empty() { Pen::Idle } else { Pen::Writing };
        let stream = match &state.line {
            Line::Tcp(stream) => Some(stream.clone()),
            Line::Polling | Line::Boxed | Line::Tap => None,
        };
        (!batch.is_empty()).then_some((batch, stream))
    }

    /// Puts back what was not written. `next` is whose turn it is if something waits. The driver is woken for what is its part, unless
    /// it wrote itself.
    pub(super) fn end_write(this: &Arc<Self>, batch: Batch, next: Pen, by_driver: bool) {
        let mut state = this.lock();
        state.outbox.put_back(batch);
        state.pen = if state.outbox.is_empty() { Pen::Idle } else { next };
        let rouse = match state.pen {
            Pen::Queued if matches!(state.line, Line::Tcp(_)) => Rouse::Flusher,
            Pen::Blocked if !by_driver => Rouse::Driver(state.waker.take()),
            // A driver that closes waits for the outbox to run empty.
            Pen::Idle if !by_driver && state.phase != Phase::Open => Rouse::Driver(state.waker.take()),
            _ => Rouse::Nobody,
        };
        drop(state);
        rouse.act(this);
    }
}

impl State {
    /// Whether a request of a polling client is welcome: looked at under the lock under which it is taken, for the session may have
    /// moved to its WebSocket, or ended, since the request was routed. Nobody would answer it there.
    fn check_polled(&self) -> Result<(), Refusal> {
        match (self.phase, &self.line) {
            (Phase::Ended, _) => Err(Refusal::UnknownSession),
            (_, Line::Polling) if self.expires.is_some_and(|expires| expires <= now()) => Err(Refusal::UnknownSession),
            (_, Line::Polling) => Ok(()),
            _ => Err(Refusal::BadRequest(Flaw::TransportMismatch)),
        }
    }

    /// What a poll that comes now is, by the one before.
    fn look_before(&mut self, coming: Coming<'_>) -> Parking {
        if let Some(poll) = &self.poll {
            return match poll.carrier() {
                // It was withdrawn, or is about to be.
                Some(carrier) if carrier.has_broken() => Parking::Parked,
                Some(carrier) if coming.since.is_none() => Parking::Early(carrier.clone()),
                Some(_) if poll.is(coming, self.marks) => Parking::Parked,
                _ => Parking::Violation,
            };
        }
        let Some(carried) = &mut self.carried else { return Parking::Parked };
        match carried.judge(coming, &mut self.marks) {
            Before::Unanswered(answer) => {
                carried.again(coming.carrier);
                Parking::Answered(answer)
            }
            Before::Lost => Parking::Violation,
            Before::Same(carrier) => Parking::Early(carrier),
            Before::Answered => Parking::Parked,
        }
    }

    /// Whether a volatile message may go: the transport would take it now, and it would overtake nothing.
    pub(super) fn is_writable(&self) -> bool {
        let ready = match self.line {
            Line::Polling => self.poll.is_some(),
            Line::Tcp(_) | Line::Boxed => self.pen == Pen::Idle,
            Line::Tap => true,
        };
        ready && self.outbox.is_empty()
    }

    /// Whether a message that is pushed now would be taken, but for a full outbox.
    fn takes(&self, volatile: bool) -> bool {
        self.phase == Phase::Open && (!volatile || self.is_writable())
    }

    /// Somebody has to act on what was just pushed; says who.
    fn rouse(&mut self) -> Rouse {
        match self.line {
            Line::Polling if self.poll.is_some() => Rouse::Driver(self.waker.take()),
            Line::Tcp(_) if self.pen == Pen::Idle => {
                self.pen = Pen::Queued;
                Rouse::Flusher
            }
            Line::Boxed if self.pen == Pen::Idle => {
                self.pen = Pen::Queued;
                Rouse::Driver(self.waker.take())
            }
            _ => Rouse::Nobody,
        }
    }

    /// The peer is too slow: the session is over. Returns what is to be dropped without the lock.
    fn overflow(&mut self) -> Outbox {
        self.phase = Phase::Closing;
        self.mail().kill = Some(CloseReason::TransportError);
        self.outbox.discard()
    }

    pub(super) fn mail(&mut self) -> &mut Mail {
        self.mail.get_or_insert_default()
    }
}

impl Rouse {
    fn act(self, mailbox: &Arc<Mailbox>) {
        match self {
            Self::Nobody => {}
            Self::Driver(waker) => wake(waker),
            Self::Flusher => flusher::schedule(mailbox),
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").field("flusher", &self.flusher).finish_non_exhaustive()
    }
}
