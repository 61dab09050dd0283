//! A recoverable namespace: what comes from its log, and what goes beside it. See [`recovery`](crate::hub::recovery).

use std::{sync::Arc, time::Duration};

use super::{Core, Tally, push};
use crate::{
    engine::{CloseReason, Outgoing},
    hub::{
        Command, DisconnectReason, EmitFlags, Target,
        recovery::{Offset, Session},
        shared::lock,
        socket,
    },
    protocol::socketio::{Payload, Unencodable},
};

/// From one connection that is cut because of a hole in the log to the next: they come back all at once otherwise.
const PACE: Duration = Duration::from_millis(1);

impl Core {
    /// Delivers the next entry of the log to those who were meant, but for sockets to which a replay brings it.
    pub(in crate::hub) fn deliver(self: &Arc<Self>, offset: Offset, command: Option<&Command>) -> Delivered {
        let mut tally = Tally::default();
        let mut meant = 0;
        let watching = self.is_watched();
        let mut watched = Vec::new();
        let mut event = match command {
            Some(Command::Emit { target, payload, flags }) => Some((target, Forms::new(self, payload, *flags))),
            _ => None,
        };
        if let Some((target, forms)) = &mut event {
            forms.deflate(target, || Some(offset));
        }
        for shard in self.shards() {
            let mut shard = lock(shard);
            shard.place = offset;
            let Some((target, forms)) = &mut event else { continue };
            shard.select(&target.rooms, &target.except, |_, member| {
                let message = match &member.session {
                    Some(session) if session.is_live_at(offset.position) => forms.at(offset),
                    Some(_) => return,
                    None => forms.plain(),
                };
                meant += 1;
                if watching {
                    watched.push(Arc::clone(&member.socket));
                }
                if let Ok(message) = message {
                    tally.add(push(&member.handle, message, false));
                }
            });
        }
        tally.count(&self.shared.counters);
        let telling = event.filter(|_| !watched.is_empty());
        let telling = telling.map(|(_, forms)| (Arc::clone(self), watched, forms.payload.clone()));
        Delivered { meant, telling }
    }

    /// Sends an event that is in no log. It carries how far its socket has come, so that a client which remembers that comes back there.
    pub(super) fn emit_unlogged(&self, target: &Target, payload: &Payload, flags: EmitFlags) -> usize {
        let mut forms = Forms::new(self, payload, flags);
        forms.deflate(target, || self.shards().first().map(|shard| lock(shard).place));
        let mut tally = Tally::default();
        let mut meant = 0;
        let watching = self.is_watched();
        let mut watched = Vec::new();
        for shard in self.shards() {
            let mut shard = lock(shard);
            let place = shard.place;
            shard.select(&target.rooms, &target.except, |_, member| {
                meant += 1;
                if watching {
                    watched.push(Arc::clone(&member.socket));
                }
                let message = match member.session.as_ref().map(|session| session.sent(place.position)) {
                    Some(Some(position)) => forms.at(Offset { position, ..place }),
                    // It is about to be cut.
                    Some(None) => return,
                    None => forms.plain(),
                };
                if let Ok(message) = message {
                    tally.add(push(&member.handle, message, flags.volatile));
                }
            });
        }
        tally.count(&self.shared.counters);
        self.tell_watchers(&watched, payload);
        meant
    }

    /// The message of an event that stands at this offset of the log, or goes beside it there.
    pub(in crate::hub) fn event_at(&self, payload: &Payload, flags: EmitFlags, offset: Offset) -> Result<Outgoing, Unencodable> {
        self.event(&payload.with_last(&offset.to_string()), None, flags)
    }

    /// The log goes on elsewhere: see [`Hub::log_jumps`](crate::hub::Hub::log_jumps).
    pub(in crate::hub) fn jump(self: &Arc<Self>, place: Offset) {
        let mut lost = Vec::new();
        for shard in self.shards() {
            let mut shard = lock(shard);
            shard.place = place;
            shard.select(&[], &[], |_, member| {
                lost.extend(member.session.clone().filter(|session| session.lose()));
            });
        }
        if lost.is_empty() {
            return;
        }
        let namespace = Arc::clone(self);
        self.shared.background(async move {
            for session in lost {
                namespace.cut(&session);
                tokio::time::sleep(PACE).await;
            }
        });
    }

    /// The log has come so far; nobody who is here has heard of it.
    pub(in crate::hub) fn continue_log(&self, place: Offset) {
        for shard in self.shards() {
            lock(shard).place = place;
        }
    }

    /// Takes a session away from the socket that has it, if one has; its connection is cut.
    pub(in crate::hub) fn cut(&self, session: &Arc<Session>) {
        session.lose();
        let socket = {
            let shard = lock(self.shard(&session.id));
            let member = shard.find(&session.id);
            let member = member.filter(|member| member.session.as_ref().is_some_and(|own| Arc::ptr_eq(own, session)));
            member.map(|member| Arc::clone(&member.socket))
        };
        if let Some(socket) = socket {
            self.shared.counters.sessions_cut.increment();
            socket.end(DisconnectReason::Connection(CloseReason::TransportError));
            socket.peer.handle.cut(CloseReason::TransportError);
        }
    }

    /// The session of the socket of this id, if it has one here.
    pub(in crate::hub) fn session(&self, id: &str) -> Option<Arc<Session>> {
        lock(self.shard(id)).find(id)?.session.clone()
    }

    /// The sessions of the sockets that are here.
    pub(in crate::hub) fn sessions(&self) -> Vec<Arc<Session>> {
        let mut sessions = Vec::new();
        for shard in self.shards() {
            lock(shard).select(&[], &[], |_, member| sessions.extend(member.session.clone()));
        }
        sessions
    }
}

/// What became of an entry of a log.
#[derive(Debug)]
#[must_use = "those who watch what is sent have to be told"]
pub struct Delivered {
    meant: usize,
    /// Who is to be told that these sockets were sent this.
    telling: Option<(Arc<Core>, Vec<Arc<socket::Core>>, Payload)>,
}

impl Delivered {
    /// How many sockets it was for.
    #[must_use]
    pub const fn meant(&self) -> usize {
        self.meant
    }

    /// Tells those who watch what is sent: code of the application, so the caller holds no lock.
    pub fn tell(self) {
        if let Some((namespace, sockets, payload)) = self.telling {
            namespace.tell_watchers(&sockets, &payload);
        }
    }
}

/// The messages of one event: with an offset for who has a session, without for others. Each is encoded once, if anybody gets it.
struct Forms<'a> {
    namespace: &'a Core,
    payload: &'a Payload,
    flags: EmitFlags,
    plain: Option<Result<Outgoing, Unencodable>>,
    at: Option<(Offset, Result<Outgoing, Unencodable>)>,
}

impl<'a> Forms<'a> {
    const fn new(namespace: &'a Core, payload: &'a Payload, flags: EmitFlags) -> Self {
        Self {
            namespace,
            payload,
            flags,
            plain: None,
            at: None,
        }
    }

    /// Has the message with this offset, which nearly all get, compressed if it is long and somebody gets it so.
    fn deflate(&mut self, target: &Target, offset: impl FnOnce() -> Option<Offset>) {
        if let Some(session) = self.namespace.deflating(target, self.payload, self.flags)
            && let Some(offset) = offset()
            && let Ok(message) = self.at(offset)
        {
            session.deflate(message);
        }
    }

    fn plain(&mut self) -> Result<&Outgoing, &Unencodable> {
        let make = || self.namespace.event(self.payload, None, self.flags);
        self.plain.get_or_insert_with(make).as_ref()
    }

    fn at(&mut self, offset: Offset) -> Result<&Outgoing, &Unencodable> {
        // Shards have come equally far, but for the moment of a delivery.
        self.at.take_if(|(known, _)| *known != offset);
        let make = || (offset, self.namespace.event_at(self.payload, self.flags, offset));
        self.at.get_or_insert_with(make).1.as_ref()
    }
}
