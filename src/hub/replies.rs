//! Replies on their way: from whoever gives them, sockets of this node and other nodes, in any thread, to the one who waits.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll, Waker},
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
    /// How many replies there would be if everybody gave one.
    expected: usize,
    deadline: Instant,
    /// Made when it is first needed, since that takes a runtime.
    timer: Option<Pin<Box<Sleep>>>,
    lacking: Vec<Arc<str>>,
    /// Streams that run beside this one, and are part of it.
    others: Vec<Self>,
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
        let replies: VecDeque<_> = replies.into_iter().map(|reply| (reply, 0)).collect();
        let expected = replies.len();
        lock(&gathering.0).replies = replies;
        let mut stream = Self::new(gathering, 0, Vec::new(), deadline);
        stream.expected = expected;
        stream
    }

    /// A stream of answers to the event of this id, which these sockets were sent.
    pub(super) const fn new(gathering: Arc<Gathering>, id: u64, asked: Vec<Weak<socket::Core>>, deadline: Instant) -> Self {
        Self {
            gathering,
            expected: asked.len(),
            asked,
            id,
            deadline,
            timer: None,
            lacking: Vec::new(),
            others: Vec::new(),
        }
    }

    /// A stream of one answer, which is expected already.
    pub(super) const fn one(gathering: Arc<Gathering>, deadline: Instant) -> Self {
        let mut stream = Self::new(gathering, 0, Vec::new(), deadline);
        stream.expected = 1;
        stream
    }

    /// A stream of what other nodes reply, which this collector brings. At most `max_bytes` of it wait here.
    pub fn of_nodes(nodes: impl IntoIterator<Item = Arc<str>>, max_bytes: usize, deadline: Instant) -> (Self, Collector) {
        let gathering = Gathering::new(max_bytes);
        let nodes = nodes.into_iter().map(|name| Node { name, debt: Debt::Unheard });
        lock(&gathering.0).nodes = nodes.collect();
        let collector = Collector(Arc::clone(&gathering));
        (Self::new(gathering, 0, Vec::new(), deadline), collector)
    }

    /// These replies and others, as they come.
    pub fn and(mut self, others: Self) -> Self {
        self.others.push(others);
        self
    }

    /// Names nodes that these replies are without, so that nobody takes them for complete.
    pub fn without(mut self, nodes: impl IntoIterator<Item = Arc<str>>) -> Self {
        self.lacking.extend(nodes);
        self
    }

    /// Sets another deadline.
    pub(super) fn until(&mut self, deadline: Instant) {
        (self.deadline, self.timer) = (deadline, None);
        for other in &mut self.others {
            other.until(deadline);
        }
    }

    /// How many replies of this node there would be if everybody gave one.
    #[must_use]
    pub const fn expected(&self) -> usize {
        self.expected
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
        let mut missing = state.missing();
        drop(state);
        missing.nodes.extend(self.lacking.iter().cloned());
        for other in self.others.iter().map(Self::missing) {
            missing.sockets += other.sockets;
            missing.nodes.extend(other.nodes);
        }
        missing.nodes.sort();
        missing.nodes.dedup();
        missing
    }

    /// The next reply of this stream alone.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        {
            let mut state = lock(&self.gathering.0);
            if let Some(reply) = state.take() {
                return Poll::Ready(Some(reply));
            }
            if state.over || state.is_complete() {
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
        let reply = state.take();
        drop(state);
        self.forget(|socket| socket.shared().counters.acks_timed_out.increment());
        Poll::Ready(reply)
    }
}

impl Stream for Replies {
    type Item = Reply;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Reply>> {
        let own = self.poll_own(cx);
        let mut waiting = match own {
            Poll::Ready(Some(_)) => return own,
            Poll::Ready(None) => false,
            Poll::Pending => true,
        };
        for other in &mut self.others {
            match Pin::new(other).poll_next(cx) {
                reply @ Poll::Ready(Some(_)) => return reply,
                Poll::Ready(None) => {}
                Poll::Pending => waiting = true,
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(None) }
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        lock(&self.gathering.0).over = true;
        self.forget(|_| {});
    }
}

/// Brings the replies of other nodes to a stream. The nodes are those that the stream was made with, by their place.
///
/// A node says first how many replies it will give, and then gives them; one that has given them all is no longer waited for.
#[derive(Debug)]
pub struct Collector(Arc<Gathering>);

impl Collector {
    /// A node will give so many replies.
    pub fn expect(&self, node: usize, replies: usize) {
        self.0.change(|state| {
            if let Some(Node {
                debt: debt @ Debt::Unheard,
                ..
            }) = state.nodes.get_mut(node)
            {
                *debt = Debt::Replies(replies);
            }
        });
    }

    /// A node gives a reply that came in so many bytes.
    pub fn give(&self, node: usize, reply: Reply, bytes: usize) {
        self.0.change(|state| {
            state.pay(node, 1);
            state.keep(reply, bytes);
        });
    }

    /// So many of a node's replies will not come: those who would have given them are gone.
    pub fn forgo(&self, node: usize, replies: usize) {
        self.0.change(|state| state.pay(node, replies));
    }

    /// So many of a node's replies are missing: they did not come in time, or could not be carried.
    pub fn miss(&self, node: usize, replies: usize) {
        self.0.change(|state| {
            state.pay(node, replies);
            state.lost += replies;
        });
    }

    /// A node is no longer waited for: what it has not given is missing.
    pub fn give_up(&self, node: usize) {
        self.0.change(|state| {
            if let Some(node) = state.nodes.get_mut(node).filter(|node| node.debt != Debt::Replies(0)) {
                if let Debt::Replies(replies) = node.debt {
                    state.lost += replies;
                }
                node.debt = Debt::Lost;
            }
        });
    }

    /// Whether nothing more is waited for.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let state = lock(&self.0.0);
        state.over || state.is_complete()
    }
}

/// Where replies meet. Each socket that is asked has a share in it.
#[derive(Debug)]
pub(super) struct Gathering(Mutex<State>);

#[derive(Debug)]
struct State {
    /// With the bytes that each counts.
    replies: VecDeque<(Reply, usize)>,
    bytes: usize,
    max_bytes: usize,
    /// Sockets of this node that have neither answered nor gone.
    awaited: usize,
    /// Other nodes that were asked.
    nodes: Vec<Node>,
    /// Answers for which there was no room.
    lost: usize,
    /// Nothing more is taken.
    over: bool,
    waker: Option<Waker>,
}

/// A node that was asked.
#[derive(Debug)]
struct Node {
    name: Arc<str>,
    debt: Debt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Debt {
    /// It has yet to say how many replies it will give.
    Unheard,
    /// It has yet to give so many.
    Replies(usize),
    /// It will give nothing more.
    Lost,
}

impl State {
    fn is_complete(&self) -> bool {
        self.awaited == 0 && self.nodes.iter().all(|node| matches!(node.debt, Debt::Replies(0) | Debt::Lost))
    }

    fn missing(&self) -> Missing {
        let mut missing = Missing {
            nodes: Vec::new(),
            sockets: self.awaited + self.lost,
        };
        for node in &self.nodes {
            match node.debt {
                Debt::Unheard | Debt::Lost => missing.nodes.push(Arc::clone(&node.name)),
                Debt::Replies(replies) => missing.sockets += replies,
            }
        }
        missing
    }

    /// A node owes so many replies less.
    fn pay(&mut self, node: usize, replies: usize) {
        if let Some(Node {
            debt: Debt::Replies(owed), ..
        }) = self.nodes.get_mut(node)
        {
            *owed = owed.saturating_sub(replies);
        }
    }

    fn keep(&mut self, reply: Reply, bytes: usize) {
        if self.bytes.saturating_add(bytes) > self.max_bytes {
            self.lost += 1;
        } else {
            self.bytes += bytes;
            self.replies.push_back((reply, bytes));
        }
    }

    fn take(&mut self) -> Option<Reply> {
        let (reply, bytes) = self.replies.pop_front()?;
        self.bytes -= bytes;
        Some(reply)
    }
}

impl Gathering {
    /// One that holds at most so many bytes of answers.
    pub(super) fn new(max_bytes: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            replies: VecDeque::new(),
            bytes: 0,
            max_bytes,
            awaited: 0,
            nodes: Vec::new(),
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
        self.change(|state| {
            state.awaited = state.awaited.saturating_sub(1);
            if let Some(payload) = answer {
                let bytes = payload.size() + size_of::<Reply>();
                state.keep(Reply::Answer(payload), bytes);
            }
        })
    }

    /// Changes what has come, and wakes who waits for it. Says whether anybody does; nothing is changed for nobody.
    fn change(&self, change: impl FnOnce(&mut State)) -> bool {
        let mut state = lock(&self.0);
        if state.over {
            return false;
        }
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}
