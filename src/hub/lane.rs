//! The queue of what a socket's handlers have to do, done one after the other.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use super::{
    DisconnectReason,
    events::{handle, run},
    handlers::{Bound, Call, Listeners, OnConnect, OnDisconnect},
    intake::OVERHEAD,
    shared::lock,
    socket,
};
use crate::protocol::socketio::Payload;

/// A lane yields to other tasks after so many handlers that did not wait for anything.
const BUDGET: usize = 64;

/// Jobs wait here in order; a task does them and is gone when there are none. How many events may wait is bounded by the connection's
/// [`Intake`](super::intake::Intake); besides them there is one connect and one disconnect.
#[derive(Debug, Default)]
pub(super) struct Lane(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Whether a task does the jobs.
    running: bool,
    /// Whether the last job has been queued.
    closed: bool,
}

#[derive(Debug)]
pub(super) enum Job {
    Connect(Arc<Bound<OnConnect>>),
    Event(Event),
    /// The last one; counts [`OVERHEAD`] in the connection's intake until it is done.
    Disconnect(DisconnectReason, Farewell),
}

/// The namespace's handlers for the end of a socket.
#[derive(Debug)]
pub(super) struct Farewell {
    pub(super) disconnecting: Option<Arc<Bound<OnDisconnect>>>,
    pub(super) disconnect: Option<Arc<Bound<OnDisconnect>>>,
}

/// An event of the client, not yet decoded.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) payload: Payload,
    pub(super) ack: Option<u64>,
    /// What it counts in the connection's intake.
    pub(super) bytes: usize,
}

/// What became of a job.
#[derive(Debug)]
#[must_use]
pub(super) enum Queued {
    /// Nobody is at work: whoever queued it has to see that it is done, and what is queued behind it.
    First(Job),
    /// It waits for those before it.
    Waits,
    /// It came after the last one.
    Refused,
}

impl Lane {
    /// Queues a job; the caller [starts](start) the lane, when it holds no lock.
    pub(super) fn push(&self, job: Job) -> Queued {
        let mut state = lock(&self.0);
        if state.closed {
            return Queued::Refused;
        }
        state.closed = matches!(job, Job::Disconnect(..));
        if !std::mem::replace(&mut state.running, true) {
            return Queued::First(job);
        }
        state.jobs.push_back(job);
        Queued::Waits
    }

    /// The next job; without one the task ends.
    fn next(&self) -> Option<Job> {
        let mut state = lock(&self.0);
        let job = state.jobs.pop_front();
        if job.is_none() {
            state.running = false;
            state.jobs = VecDeque::new();
        }
        job
    }

    /// Drops what waits and takes nothing more.
    fn abandon(&self) {
        let mut state = lock(&self.0);
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        drop(state);
        drop(jobs);
    }
}

/// Does a job that was queued, and those behind it, if nobody does: at once, and in a task from when a handler waits. A task for each event
/// would cost as much as the rest of it. Called by the connection's driver alone: no code of the application is on the stack.
pub(super) fn work_off(socket: &Arc<socket::Core>, queued: Queued) {
    if let Queued::First(job) = queued {
        let (lane, cancelled) = (Arc::clone(socket), Arc::clone(socket));
        socket.shared().begin(work(lane, job), move || {
            cancelled.lane.abandon();
            cancelled.let_go();
        });
    }
}

/// Starts a task for a job that was queued, if there is none.
pub(super) fn start(socket: &Arc<socket::Core>, queued: Queued) {
    if let Queued::First(job) = queued {
        let (lane, cancelled) = (Arc::clone(socket), Arc::clone(socket));
        socket.shared().spawn(work(lane, job), move || {
            cancelled.lane.abandon();
            cancelled.let_go();
        });
    }
}

async fn work(socket: Arc<socket::Core>, first: Job) {
    let mut done = 0;
    let mut job = Some(first);
    while let Some(present) = job {
        perform(&socket, present).await;
        done += 1;
        if done % BUDGET == 0 {
            tokio::task::yield_now().await;
        }
        job = socket.lane.next();
    }
}

async fn perform(socket: &Arc<socket::Core>, job: Job) {
    match job {
        Job::Connect(handler) => run(socket, &handler, Call::new).await,
        Job::Event(event) => {
            socket.peer.intake.leave(event.bytes);
            handle(socket, event).await;
        }
        Job::Disconnect(reason, farewell) => {
            let own = |choose: fn(&mut Listeners) -> &mut Option<_>| socket.own_listeners(|own| choose(own).take()).flatten();
            for handler in farewell.disconnecting.into_iter().chain(own(|own| &mut own.disconnecting)) {
                run(socket, &handler, |socket| Call::disconnect(socket, reason)).await;
            }
            socket.vacate();
            for handler in farewell.disconnect.into_iter().chain(own(|own| &mut own.disconnect)) {
                run(socket, &handler, |socket| Call::disconnect(socket, reason)).await;
            }
            socket.let_go();
            socket.peer.intake.leave(OVERHEAD);
        }
    }
}
