//! What a recovered client has missed, up to the moment when its socket is live.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, sleep_until, timeout};

use super::{Journal, Ledger, Offset, Pace, Page, Record, Recovery, Refusal, Session, Unread};
use crate::{
    engine::Pushed,
    hub::{
        Command, namespace,
        shared::{lock, now},
        socket,
    },
};

/// Bytes that may wait in the outbox of a client while more is pushed to it. Far below what an outbox takes.
const AHEAD_BYTES: usize = 128 << 10;

/// How long a client with so much before it is left alone.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks through what a session has missed after `start`, so that a client is told at once when it is too much.
pub(super) async fn survey(journal: &dyn Journal, rules: &Recovery, record: &Record, start: u64, end: Offset) -> Result<(), Refusal> {
    let most_bytes = rules.most_bytes();
    let (mut events, mut bytes, mut position) = (0, 0, start);
    while position < end.position {
        let page = journal.read(&record.namespace, position).await;
        let page = page.map_err(|_| Refusal::Trimmed)?;
        if page.end.epoch != end.epoch || page.entries.is_empty() {
            return Err(Refusal::Epoch);
        }
        for entry in page.entries {
            position = entry.position;
            if let Some(Command::Emit { target, payload, .. }) = &entry.command
                && record.stays.hears(target, position)
            {
                events += 1;
                bytes += payload.size() as u64;
            }
        }
        if events > rules.max_events || bytes > most_bytes {
            return Err(Refusal::TooMuch);
        }
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Pushes to a socket what it has missed after `position`, until it has come as far as its shard; from then on it is live. What cannot be
/// read any more, or not be sent in time, costs it its connection: a part is never all that it gets.
pub(super) async fn catch_up(journal: &dyn Journal, socket: &Arc<socket::Core>, session: &Arc<Session>, position: u64) {
    let namespace = &socket.namespace;
    let Some(ledger) = &namespace.ledger else { return };
    let replaying = replay(journal, ledger, socket, session, position);
    if timeout(ledger.rules.replay_timeout, replaying).await.is_err() {
        namespace.shared.counters.replays_given_up.increment();
        namespace.cut(session);
    }
}

async fn replay(journal: &dyn Journal, ledger: &Ledger, socket: &Arc<socket::Core>, session: &Arc<Session>, mut position: u64) {
    let namespace = &socket.namespace;
    let mut pace = Pace::new(ledger.rules.replay_rate, now());
    loop {
        let reached = {
            let shard = lock(namespace.shard(&session.id));
            if position >= shard.place.position {
                session.go_live(position);
                return;
            }
            shard.place
        };
        let page = match journal.read(&namespace.name, position).await {
            Ok(page) if page.end.epoch == reached.epoch && !page.entries.is_empty() => page,
            // It is still there, and so is the connection: the pages of a log that is away for a moment come later.
            Err(Unread::Away) if socket.is_open() => {
                sleep(100 * PAUSE).await;
                continue;
            }
            _ => return namespace.cut(session),
        };
        match push(socket, session, page, reached, &mut pace).await {
            Some(pushed) => position = pushed,
            // The connection has ended; the session goes on without it.
            None => return,
        }
        tokio::task::yield_now().await;
    }
}

/// Pushes a page, as fast as the client takes it and may get it; gives the position that was reached, or nothing if the connection has ended.
async fn push(socket: &Arc<socket::Core>, session: &Session, page: Page, reached: Offset, pace: &mut Pace) -> Option<u64> {
    let namespace: &namespace::Core = &socket.namespace;
    let mut position = None;
    for entry in page.entries {
        // Where the shard has not been, the socket may still come and go.
        if entry.position > reached.position {
            break;
        }
        if let Some(Command::Emit { target, payload, flags }) = &entry.command
            && session.hears(target, entry.position)
        {
            let (bytes, now) = (payload.size(), now());
            let due = pace.take(bytes, now).max(lock(&namespace.shared.replays).take(bytes, now));
            if due > now {
                sleep_until(due.into()).await;
            }
            while socket.peer.handle.waiting() > AHEAD_BYTES {
                sleep(PAUSE).await;
            }
            let offset = Offset {
                position: entry.position,
                ..reached
            };
            if let Ok(message) = namespace.event_at(payload, *flags, offset) {
                match socket.peer.handle.push(&message) {
                    Pushed::Queued => {
                        namespace.shared.counters.replayed.increment();
                        namespace.tell_watchers(std::slice::from_ref(socket), payload);
                    }
                    Pushed::Dropped | Pushed::Overflow | Pushed::Closed => return None,
                }
            }
        }
        session.replayed(entry.position);
        position = Some(entry.position);
    }
    position
}
