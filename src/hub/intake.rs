//! How much of a connection's events may wait for its handlers, and when the connection is not read from.

use std::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use super::shared::{lock, now};
use crate::engine::Handle;

/// Reading goes on up to so many times the ordinary bound while somebody waits for an ack of this connection: the ack may stand
/// behind the events, and the handler that waits for it in front of them.
const SLACK: usize = 4;

/// What an entry counts beside its payload, in bytes.
pub(super) const OVERHEAD: usize = 128;

/// Counts the events of one connection that wait in the lanes of its sockets, and its sockets that have ended while their handlers
/// still run: or a client that joins and leaves for ever would have any number of them. Bounded in events and bytes; when full, the
/// connection is paused, and resumed when half of it has drained.
#[derive(Debug)]
pub(super) struct Intake {
    handle: Handle,
    max_events: usize,
    max_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: usize,
    bytes: usize,
    /// Acks of this connection that are waited for.
    expected: usize,
    paused: Option<Instant>,
    /// Whether the connection is not read from for another reason too: it has sent too fast.
    throttled: bool,
}

impl Intake {
    pub(super) fn new(handle: Handle, max_events: usize, max_bytes: usize) -> Self {
        Self {
            handle,
            max_events,
            max_bytes,
            state: Mutex::default(),
        }
    }

    /// An event is about to be queued, or a socket has ended.
    pub(super) fn enter(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.events += 1;
        state.bytes += bytes;
    }

    /// Says whether reading must pause now; asked by the driver alone, when it has entered something or may soon.
    pub(super) fn pauses(&self) -> bool {
        let mut state = lock(&self.state);
        let slack = if state.expected == 0 { 1 } else { SLACK };
        if state.paused.is_none() && self.reaches(&state, slack, 1) {
            state.paused = Some(now());
            return true;
        }
        false
    }

    /// An event has been taken from the queue, or an ended socket has no handler any more.
    pub(super) fn leave(&self, bytes: usize) {
        let mut state = lock(&self.state);
        state.events = state.events.saturating_sub(1);
        state.bytes = state.bytes.saturating_sub(bytes);
        if state.paused.is_some() && !self.reaches(&state, 1, 2) {
            state.paused = None;
            self.resume(state);
        }
    }

    /// Somebody waits for an ack of this connection from now on.
    pub(super) fn expect(&self) {
        let mut state = lock(&self.state);
        state.expected += 1;
        if state.expected == 1 && state.paused.is_some() && !self.reaches(&state, SLACK, 1) {
            state.paused = None;
            self.resume(state);
        }
    }

    /// The connection is not read from, however empty the queue is, until [`Intake::release`].
    pub(super) fn throttle(&self) {
        lock(&self.state).throttled = true;
    }

    /// The connection may be read from again, unless its queue is full.
    pub(super) fn release(&self) {
        let mut state = lock(&self.state);
        if std::mem::take(&mut state.throttled) {
            self.resume(state);
        }
    }

    /// Ends the pause of the connection if there is no reason for it any more.
    fn resume(&self, state: MutexGuard<'_, State>) {
        let free = state.paused.is_none() && !state.throttled;
        drop(state);
        if free {
            self.handle.resume();
        }
    }

    /// What [`Intake::expect`] announced is no longer waited for.
    pub(super) fn settle(&self) {
        let mut state = lock(&self.state);
        state.expected = state.expected.saturating_sub(1);
    }

    /// Since when the connection is not read from.
    pub(super) fn paused_since(&self) -> Option<Instant> {
        lock(&self.state).paused
    }

    fn reaches(&self, state: &State, times: usize, part: usize) -> bool {
        state.events >= (self.max_events * times).div_ceil(part) || state.bytes >= (self.max_bytes * times).div_ceil(part)
    }
}
