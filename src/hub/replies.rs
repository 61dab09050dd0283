//! Replies on their way: from whoever gives them, in any thread, to the one who waits.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll, Waker, ready},
    time::Instant,
};

use futures_util::Stream;
use tokio::time::Sleep;

use super::{Reply, shared::lock, socket};
use crate::protocol::socketio::Payload;

/// The replies to a [`Query`](super::Query): a stream that ends when all have come, or at its deadline. Then [`Replies::missing`] says
/// whether it is complete. Dropping it is safe at any time: what comes later is ignored.
///
/// Replies wait here until they are taken; answers of clients in at most so many bytes as
/// [`Config::ack_bytes`](super::Config::ack_bytes) says, further ones count as missing.
#[derive(Debug)]
#[must_use = "a stream does nothing unless it is polled"]
pub struct Replies {
    gathering: Arc<Gathering>,
    /// Who was asked for an answer, under one id.
    asked: Vec<Weak<socket::Core>>,
    id: u64,
    deadline: Instant,
    /// Made when it is first needed, since that takes a runtime.
    timer: Option<Pin<Box<Sleep>>>,
    lacking: Vec<Arc<str>>,
    /// Sockets that streams before this one were without.
    silent: usize,
    /// Streams that come after this one.
    rest: Vec<Self>,
}

/// What a stream of replies did not bring.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Missing {
    /// The nodes that did not reply, or were not asked, by name.
    pub nodes: Vec<Arc<str>>,
    /// How many sockets did not answer in time, or answered more than there is room for. One that has gone is not missing.
    pub sockets: usize,
}

impl Missing {
    /// Whether nothing is missing.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.nodes.is_empty() && self.sockets == 0
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} sockets did not answer in time", self.sockets)?;
        for (index, node) in self.nodes.iter().enumerate() {
            write!(f, "{}{node}", if index == 0 { ", nodes that were not heard: " } else { ", " })?;
        }
        Ok(())
    }
}

impl Replies {
    /// A stream of replies that are there already.
    pub(super) fn of(replies: impl IntoIterator<Item = Reply>, deadline: Instant) -> Self {
        let gathering = Gathering::new(0);
        lock(&gathering.0).replies.extend(replies);
        Self::new(gathering, 0, Vec::new(), deadline)
    }

    /// A stream of answers to the event of this id, which these sockets were sent.
    pub(super) const fn new(gathering: Arc<Gathering>, id: u64, asked: Vec<Weak<socket::Core>>, deadline: Instant) -> Self {
        Self {
            gathering,
            asked,
            id,
            deadline,
            timer: None,
            lacking: Vec::new(),
            silent: 0,
            rest: Vec::new(),
        }
    }

    /// These replies, and then others.
    pub(super) fn and(mut self, others: Self) -> Self {
        self.rest.push(others);
        self
    }

    /// Names nodes that these replies are without, so that nobody takes them for complete.
    pub fn without(mut self, nodes: impl IntoIterator<Item = Arc<str>>) -> Self {
        self.lacking.extend(nodes);
        self
    }

    /// Sets another deadline.
    pub(super) fn until(mut self, deadline: Instant) -> Self {
        (self.deadline, self.timer) = (deadline, None);
        self
    }

    /// No socket keeps the id any longer. Tells of each that would have.
    fn forget(&mut self, tell: impl Fn(&socket::Core)) {
        for socket in self.asked.drain(..).filter_map(|socket| socket.upgrade()) {
            if socket.forget(self.id) {
                tell(&socket);
            }
        }
    }

    /// What has not come so far; after the stream's end, what never will.
    #[must_use]
    pub fn missing(&self) -> Missing {
        let state = lock(&self.gathering.0);
        let mut missing = Missing {
            nodes: self.lacking.clone(),
            sockets: self.silent + state.awaited + state.lost,
        };
        drop(state);
        for rest in self.rest.iter().map(Self::missing) {
            missing.sockets += rest.sockets;
            missing.nodes.extend(rest.nodes);
        }
        missing.nodes.sort();
        missing.nodes.dedup();
        missing
    }

    /// The next reply of this stream alone.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        {
            let mut state = lock(&self.gathering.0);
            if let Some(reply) = state.replies.pop_front() {
                state.bytes -= reply.size();
                return Poll::Ready(Some(reply));
            }
            if state.awaited == 0 || state.over {
                return Poll::Ready(None);
            }
            state.waker = Some(cx.waker().clone());
        }
        let deadline = self.deadline;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into())));
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let mut state = lock(&self.gathering.0);
        state.over = true;
        // One may have come in between.
        let reply = state.replies.pop_front();
        state.bytes -= reply.as_ref().map_or(0, Reply::size);
        drop(state);
        self.forget(|socket| socket.shared().counters.acks_timed_out.increment());
        Poll::Ready(reply)
    }

    /// Goes on with the stream behind this one, which takes over what this one is without.
    fn proceed(&mut self) -> bool {
        let mut rest = std::mem::take(&mut self.rest);
        let Some(mut next) = rest.pop() else { return false };
        let missing = self.missing();
        next.silent += missing.sockets;
        next.lacking.extend(missing.nodes);
        next.rest.extend(rest);
        *self = next;
        true
    }
}

impl Stream for Replies {
    type Item = Reply;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        loop {
            let reply = ready!(self.poll_own(cx));
            if reply.is_some() || !self.proceed() {
                return Poll::Ready(reply);
            }
        }
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        lock(&self.gathering.0).over = true;
        self.forget(|_| {});
    }
}

/// Where replies meet. Each socket that is asked has a share in it.
#[derive(Debug)]
pub(super) struct Gathering(Mutex<State>);

#[derive(Debug)]
struct State {
    replies: VecDeque<Reply>,
    bytes: usize,
    max_bytes: usize,
    /// Sockets that have neither answered nor gone.
    awaited: usize,
    /// Answers for which there was no room.
    lost: usize,
    /// Nothing more is taken.
    over: bool,
    waker: Option<Waker>,
}

impl Gathering {
    /// One that holds at most so many bytes of answers.
    pub(super) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            replies: VecDeque::new(),
            bytes: 0,
            max_bytes,
            awaited: 0,
            lost: 0,
            over: false,
            waker: None,
        })))
    }

    /// One more socket is asked.
    pub(super) fn expect(&self) {
        lock(&self.0).awaited += 1;
    }

    /// A socket that was expected answers, or has gone. Says whether anybody still waits for it.
    pub(super) fn settle(&self, answer: Option<Payload>) -> bool {
        let mut state = lock(&self.0);
        if state.over {
            return false;
        }
        state.awaited = state.awaited.saturating_sub(1);
        if let Some(reply) = answer.map(Reply::Answer) {
            if state.bytes.saturating_add(reply.size()) > state.max_bytes {
                state.lost += 1;
            } else {
                state.bytes += reply.size();
                state.replies.push_back(reply);
            }
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl Reply {
    /// What it counts in a gathering, in bytes.
    fn size(&self) -> usize {
        match self {
            Self::Answer(payload) => payload.size() + size_of::<Self>(),
            Self::Socket(_) => 0,
        }
    }
}
