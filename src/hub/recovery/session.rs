//! What outlives the connection of a socket.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{KeptHandshake, NotKept, Pid, Record};
use crate::hub::{
    Room, Target,
    shared::{lock, now},
};

/// A recoverable session, for as long as one socket has it. Who takes it over makes another of its [`Record`].
#[derive(Debug)]
pub(in crate::hub) struct Session {
    pub(in crate::hub) pid: Pid,
    pub(in crate::hub) id: Room,
    /// Whether it was taken over when its socket connected.
    pub(in crate::hub) recovered: bool,
    /// Entries up to this position are not pushed to the socket as they come: its client has them, or a replay pushes them. `u64::MAX`
    /// while a replay runs, and when the session is lost. Changed under the lock of the socket's shard.
    hears_after: AtomicU64,
    /// Taken after the lock of the socket's shard, and before no other.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What is to be kept of it, as it is now.
    record: Record,
    /// How far the replay has come; nothing while live.
    replayed: Option<u64>,
    /// How far the socket had come when its client was asked for a sign of life.
    asked: Option<u64>,
    /// Of the record as last written.
    revision: u64,
    written: Instant,
    /// What was last written is older than this.
    changed: bool,
    /// Somebody will write it.
    scheduled: bool,
    writing: bool,
    fate: Fate,
}

/// What is to become of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Fate {
    /// A socket has it.
    Live,
    /// It waits for its client until then.
    Waiting(Instant),
    /// Its record is to be deleted: nobody may recover it.
    Doomed,
    /// Another socket has it, or nobody any more.
    Lost,
}

/// What is to be done about a record.
#[derive(Debug)]
pub(super) enum Errand {
    Keep(Record, u64),
    Forget(u64),
}

impl Session {
    /// A session out of its record, which was just written under `revision`.
    pub(super) fn new(pid: Pid, record: Record, revision: u64, recovered: bool) -> Self {
        Self {
            pid,
            id: Arc::clone(&record.id),
            recovered,
            hears_after: AtomicU64::new(u64::MAX),
            state: Mutex::new(State {
                replayed: Some(record.proven.position),
                record,
                asked: None,
                revision,
                written: now(),
                changed: false,
                scheduled: false,
                writing: false,
                fate: Fate::Live,
            }),
        }
    }

    /// What is known of it now.
    pub(super) fn record(&self) -> Record {
        lock(&self.state).record.clone()
    }

    /// How often it had been taken over when it became this.
    pub(super) fn generation(&self) -> u64 {
        lock(&self.state).record.generation
    }

    /// What is kept of the handshake with which it began.
    pub(in crate::hub) fn handshake(&self) -> Arc<KeptHandshake> {
        Arc::clone(&lock(&self.state).record.handshake)
    }

    /// Whether an entry at this position is for the socket to get as it comes.
    pub(in crate::hub) fn is_live_at(&self, position: u64) -> bool {
        self.hears_after.load(Relaxed) < position
    }

    /// Up to where the socket has got what it was meant to get, and nothing behind that. Asked under the lock of its shard, which has
    /// come to `position`. Nothing when the session is lost.
    pub(in crate::hub) fn sent(&self, position: u64) -> Option<u64> {
        let live = position.max(self.hears_after.load(Relaxed));
        if live < u64::MAX { Some(live) } else { lock(&self.state).replayed }
    }

    /// The replay has come to an end at this position, which is not before that of the shard. Under the shard's lock.
    pub(in crate::hub) fn go_live(&self, position: u64) {
        let mut state = lock(&self.state);
        if state.fate != Fate::Lost {
            state.replayed = None;
            self.hears_after.store(position, Relaxed);
        }
    }

    /// The replay has come so far.
    pub(super) fn replayed(&self, position: u64) {
        let mut state = lock(&self.state);
        if state.fate != Fate::Lost {
            state.replayed = Some(position);
        }
    }

    /// The socket joins a room. Under its shard's lock, as leaving is. Answers whether the record has to be written.
    pub(in crate::hub) fn join(&self, room: &Room, position: u64) -> bool {
        let mut state = lock(&self.state);
        state.record.stays.join(room, position) && state.change()
    }

    /// The socket leaves a room.
    pub(in crate::hub) fn leave(&self, room: &Room, position: u64) -> bool {
        let mut state = lock(&self.state);
        state.record.stays.leave(room, position) && state.change()
    }

    /// The socket has just been taken into its shard, and is in these rooms.
    pub(in crate::hub) fn agree(&self, rooms: &[Room], position: u64) {
        let mut state = lock(&self.state);
        let left: Vec<Room> = state.record.stays.rooms().filter(|room| !rooms.contains(room)).cloned().collect();
        let mut changed = false;
        for room in &left {
            changed |= state.record.stays.leave(room, position);
        }
        for room in rooms {
            changed |= state.record.stays.join(room, position);
        }
        state.changed |= changed;
    }

    /// The rooms it is in, but for its own.
    pub(in crate::hub) fn rooms(&self) -> Vec<Room> {
        lock(&self.state).record.stays.rooms().cloned().collect()
    }

    /// Whether the socket was meant by an entry.
    pub(super) fn hears(&self, target: &Target, position: u64) -> bool {
        lock(&self.state).record.stays.hears(target, position)
    }

    /// The client is about to be asked for a sign of life. Under the lock of the shard, which has come to `position`.
    pub(in crate::hub) fn asked(&self, position: u64) {
        let sent = self.sent(position);
        lock(&self.state).asked = sent;
    }

    /// The client has answered: what was sent before the question has arrived. Answers whether the record has to be written: when it has
    /// changed, or is so old that it would expire.
    pub(in crate::hub) fn answered(&self, refresh: Duration) -> bool {
        let mut state = lock(&self.state);
        let arrived = state.asked.take().filter(|arrived| *arrived > state.record.proven.position);
        if let Some(arrived) = arrived {
            state.record.proven.position = arrived;
            state.record.stays.forget(arrived);
        }
        (arrived.is_some() || state.written + refresh <= now()) && state.change()
    }

    /// Keeps data of the socket with the record. Answers whether it has to be written.
    pub(in crate::hub) fn set_data(&self, data: &str) -> bool {
        let mut state = lock(&self.state);
        *state.record.data != *data && {
            state.record.data = data.into();
            state.change()
        }
    }

    /// The record is older than `refresh`: answers whether it has to be written.
    pub(super) fn is_stale(&self, refresh: Duration) -> bool {
        let mut state = lock(&self.state);
        state.fate == Fate::Live && state.written + refresh <= now() && state.change()
    }

    pub(super) fn fate(&self) -> Fate {
        lock(&self.state).fate
    }

    /// Whether it waits for its client.
    pub(in crate::hub) fn is_waiting(&self) -> bool {
        matches!(self.fate(), Fate::Waiting(_))
    }

    /// Decides what becomes of it. What is lost or doomed stays so. Answers whether this decided it.
    pub(super) fn decide(&self, fate: Fate) -> bool {
        let mut state = lock(&self.state);
        let decided = match state.fate {
            Fate::Live => true,
            Fate::Waiting(_) => fate != Fate::Live,
            Fate::Doomed => fate == Fate::Lost,
            Fate::Lost => false,
        };
        if decided {
            state.fate = fate;
            state.changed |= fate == Fate::Doomed;
        }
        decided
    }

    /// Nothing logged is for its socket any more, and its record is not its own. Answers whether it was not lost before.
    pub(in crate::hub) fn lose(&self) -> bool {
        let mut state = lock(&self.state);
        self.hears_after.store(u64::MAX, Relaxed);
        state.replayed = None;
        std::mem::replace(&mut state.fate, Fate::Lost) != Fate::Lost
    }

    /// A write that was scheduled begins. Nothing if there is nothing to write, or if somebody writes: then he goes on with it.
    pub(super) fn begin_errand(&self) -> Option<Errand> {
        let mut state = lock(&self.state);
        state.scheduled = false;
        if state.writing || !state.changed || state.fate == Fate::Lost {
            return None;
        }
        state.writing = true;
        state.changed = false;
        Some(match state.fate {
            Fate::Doomed => Errand::Forget(state.revision),
            _ => Errand::Keep(state.record.clone(), state.revision),
        })
    }

    /// Its time has come, and nobody writes: what follows is the write that ends it, of which the revision is told.
    pub(super) fn begin_expiry(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        let due = matches!(state.fate, Fate::Waiting(until) if until <= now());
        (due && !std::mem::replace(&mut state.writing, true)).then_some(state.revision)
    }

    /// What became of the write. An error of [`NotKept::Away`] leaves it to be done.
    pub(super) fn end_errand(&self, outcome: Result<u64, NotKept>) {
        let mut state = lock(&self.state);
        state.writing = false;
        match outcome {
            Ok(revision) => {
                state.revision = revision;
                state.written = now();
            }
            Err(NotKept::Away) => state.changed = true,
            Err(NotKept::TakenOver) => {}
        }
    }
}

impl State {
    /// The record is to be written. Answers whether somebody has to be found who does.
    fn change(&mut self) -> bool {
        self.changed = true;
        self.fate != Fate::Lost && !std::mem::replace(&mut self.scheduled, true)
    }
}
