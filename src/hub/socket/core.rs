//! A socket as the hub keeps it: one client in one namespace, from its CONNECT packet to its end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
};

use super::own::Own;
use crate::{
    engine::{CloseReason, Outgoing},
    hub::{
        AckError, ConnectError, DisconnectReason, EmitError, EmitFlags, HandshakeObject, Replies, Room, SocketRecord,
        handlers::{Bound, Found, Listener, Listeners, OnError},
        intake::OVERHEAD,
        lane::{self, Farewell, Job, Lane, Queued},
        namespace,
        namespace::{Guest, Tally, push},
        peer::Peer,
        recovery::{self, Journal, KeptHandshake, Ledger, Offset, Record, Session},
        replies::Gathering,
        shared::{Shared, lock, now},
    },
    protocol::socketio::{Kind, Packet, Payload, Unencodable},
};

#[derive(Debug)]
pub(in crate::hub) struct Core {
    pub(in crate::hub) id: Room,
    pub(in crate::hub) namespace: Arc<namespace::Core>,
    pub(in crate::hub) peer: Arc<Peer>,
    /// The JSON object of the CONNECT packet, if it had one.
    pub(in crate::hub) auth: Option<Box<str>>,
    /// Who the client is, once a middleware has said so.
    pub(in crate::hub) user: OnceLock<Box<str>>,
    pub(in crate::hub) lane: Lane,
    /// What of it can be recovered; set before it is connected, if at all.
    pub(in crate::hub) session: OnceLock<Arc<Session>>,
    /// It is that of a session that was there before: what was kept of the handshake with which that began.
    restored: OnceLock<Arc<KeptHandshake>>,
    /// Taken before the lock of a shard.
    state: Mutex<State>,
    /// What this socket alone has; made when it is first needed.
    own: OnceLock<Box<Own>>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Events that the client was asked to answer. Each entry has somebody who waits, for a bounded time.
    acks: HashMap<u64, Arc<Gathering>>,
    /// Keeps a namespace that clients have brought about, until the last handler has run.
    guest: Option<Guest>,
}

#[derive(Debug)]
enum Phase {
    /// Middlewares decide; the rooms are joined when they have agreed.
    Connecting { rooms: Vec<Room> },
    /// The namespace has it.
    Connected { slot: u32 },
    /// A middleware refused it, or its connection ended before it was connected.
    Refused,
    /// It was connected and is no more; the rooms are those that it has left, while handlers want to know them.
    Ended { rooms: Vec<Room> },
    /// The last of its handlers has run.
    Gone,
}

/// How far a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::hub) enum Standing {
    Connecting,
    Connected,
    Refused,
    Ended,
}

impl Core {
    pub(in crate::hub) fn new(
        id: Room,
        (namespace, guest): (Arc<namespace::Core>, Option<Guest>),
        peer: Arc<Peer>,
        auth: Option<&str>,
    ) -> Self {
        Self {
            id,
            namespace,
            peer,
            auth: auth.map(Box::from),
            user: OnceLock::new(),
            lane: Lane::default(),
            session: OnceLock::new(),
            restored: OnceLock::new(),
            state: Mutex::new(State {
                phase: Phase::Connecting { rooms: Vec::new() },
                acks: HashMap::new(),
                guest,
            }),
            own: OnceLock::new(),
        }
    }

    pub(in crate::hub) fn shared(&self) -> &Shared {
        &self.namespace.shared
    }

    /// Counts a panic of something that the application has registered.
    pub(in crate::hub) fn panicked(&self, what: &str) {
        self.namespace.panicked(what);
    }

    pub(in crate::hub) fn standing(&self) -> Standing {
        match lock(&self.state).phase {
            Phase::Connecting { .. } => Standing::Connecting,
            Phase::Connected { .. } => Standing::Connected,
            Phase::Refused => Standing::Refused,
            Phase::Ended { .. } | Phase::Gone => Standing::Ended,
        }
    }

    /// Who keeps what can be recovered of this socket, if anything can: never of one who speaks protocol 4 of Socket.IO.
    pub(in crate::hub) fn journal(&self) -> Option<Arc<dyn Journal>> {
        self.namespace.ledger.as_ref().filter(|_| !self.peer.is_legacy())?;
        self.shared().journal()
    }

    /// It is to be the socket of a session that was there before.
    pub(in crate::hub) fn restore(&self, record: &Record) {
        self.restored.get_or_init(|| Arc::clone(&record.handshake));
        if let Phase::Connecting { rooms } = &mut lock(&self.state).phase {
            rooms.extend(record.stays.rooms().cloned());
        }
        if !record.data.is_empty() {
            self.set_data((&*record.data).into());
        }
    }

    pub(in crate::hub) fn recovered(&self) -> bool {
        self.restored.get().is_some()
    }

    /// What is kept of the handshake with which its session began, if it has one that can be recovered.
    pub(in crate::hub) fn kept_handshake(&self) -> Option<Arc<KeptHandshake>> {
        let restored = self.restored.get().cloned();
        restored.or_else(|| self.session.get().map(|session| session.handshake()))
    }

    /// Whether it can be written to.
    pub(in crate::hub) fn is_open(&self) -> bool {
        self.standing() == Standing::Connected && !self.peer.handle.is_closed()
    }

    /// Whether events for it go to the log of its namespace, from which it gets them now or when it comes back.
    pub(in crate::hub) fn is_logged(&self) -> bool {
        let waits = || self.session.get().is_some_and(|session| session.is_waiting());
        self.namespace.ledger.is_some() && self.shared().journal().is_some() && (self.standing() == Standing::Connected || waits())
    }

    /// Everybody agreed: answers the CONNECT packet and takes the socket into the namespace, with a session if it has one. Nothing
    /// happens if the connection has ended meanwhile; answers whether it has not.
    pub(in crate::hub) fn connect(self: &Arc<Self>, session: Option<&Arc<Session>>) -> bool {
        let json = match session {
            Some(session) => Some(format!(r#"{{"sid":"{}","pid":"{}"}}"#, self.id, session.pid.reveal())),
            None if self.peer.is_legacy() => None,
            None => Some(format!(r#"{{"sid":"{}"}}"#, self.id)),
        };
        let answer = self
            .shared()
            .encode(&Packet::new(Kind::Connect, &self.namespace.name, json.as_deref()), &[]);
        let Ok(answer) = answer else {
            self.refuse(&ConnectError::new("internal error"));
            return false;
        };
        if let Some(session) = session {
            self.session.get_or_init(|| Arc::clone(session));
            if let Some(data) = self.data() {
                session.set_data(&data);
            }
        }
        let handler = self.namespace.handlers(|table| table.connect.clone());
        let mut state = lock(&self.state);
        let Phase::Connecting { rooms } = &state.phase else {
            return false;
        };
        let Some(slot) = self.namespace.admit(self, &answer, rooms) else {
            return false;
        };
        state.phase = Phase::Connected { slot };
        // Under the lock, before any event and the end.
        let queued = handler.map_or(Queued::Waits, |handler| self.lane.push(Job::Connect(handler)));
        // Also under the lock: a gauge that the end lowers before it was raised shows nonsense.
        let counters = &self.shared().counters;
        counters.connects.increment();
        counters.sockets.increment();
        drop(state);
        lane::start(self, queued);
        true
    }

    /// Somebody refused: says so to the client. Nothing happens if the connection has ended meanwhile.
    pub(in crate::hub) fn refuse(&self, error: &ConnectError) {
        let mut state = lock(&self.state);
        if !matches!(state.phase, Phase::Connecting { .. }) {
            return;
        }
        // The packet first: once refused, the next CONNECT of the client may be answered.
        let json = if self.peer.is_legacy() { error.legacy_json() } else { error.json() };
        refusal(self.shared(), &self.peer, &self.namespace.name, &json);
        state.phase = Phase::Refused;
        drop(state);
        self.shared().counters.connects_refused.increment();
        self.let_go();
    }

    /// Sends a message, in order with whatever else the caller sends; counts what cannot be sent.
    pub(in crate::hub) fn send(&self, message: &Outgoing, volatile: bool) {
        let state = lock(&self.state);
        let counters = &self.shared().counters;
        if !matches!(state.phase, Phase::Connected { .. }) {
            return counters.unconnected_dropped.increment();
        }
        let pushed = push(&self.peer.handle, message, volatile);
        drop(state);
        let mut tally = Tally::default();
        tally.add(pushed);
        tally.count(counters);
    }

    /// Sends an event that is in no log; tells those who watch what is sent.
    pub(in crate::hub) fn emit(self: &Arc<Self>, payload: &Payload, flags: EmitFlags) -> Result<(), Unencodable> {
        match self.session.get() {
            Some(session) => self.send_beside_log(session, payload, flags)?,
            None => self.send(&self.namespace.event(payload, None, flags)?, flags.volatile),
        }
        self.namespace.tell_watchers(std::slice::from_ref(self), payload);
        Ok(())
    }

    fn send_beside_log(&self, session: &Session, payload: &Payload, flags: EmitFlags) -> Result<(), Unencodable> {
        let state = lock(&self.state);
        if !matches!(state.phase, Phase::Connected { .. }) {
            self.shared().counters.unconnected_dropped.increment();
            return Ok(());
        }
        // Nothing logged comes between the look at where the socket is and the push.
        let shard = lock(self.namespace.shard(&self.id));
        let message = match session.sent(shard.place.position) {
            Some(position) => self.namespace.event_at(payload, flags, Offset { position, ..shard.place })?,
            None => self.namespace.event(payload, None, flags)?,
        };
        let pushed = push(&self.peer.handle, &message, flags.volatile);
        drop((shard, state));
        let mut tally = Tally::default();
        tally.add(pushed);
        tally.count(&self.shared().counters);
        Ok(())
    }

    /// Sends an event that asks for an answer.
    pub(in crate::hub) fn ask(self: &Arc<Self>, payload: &Payload, flags: EmitFlags) -> Result<Replies, AckError> {
        let id = self.namespace.next_ack();
        let message = self.namespace.event(payload, Some(id), flags).map_err(EmitError::from)?;
        let gathering = Gathering::new(usize::MAX);
        if !self.ask_for(&gathering, id, &message, flags.volatile) {
            return Err(AckError::Disconnected);
        }
        self.namespace.tell_watchers(std::slice::from_ref(self), payload);
        let deadline = now() + self.shared().config.ack_timeout;
        Ok(Replies::new(gathering, id, vec![Arc::downgrade(self)], deadline))
    }

    /// Sends a message that asks for an answer, which goes to `gathering`. Says whether the socket is connected; whoever asks calls
    /// [`Core::forget`] when it no longer waits.
    pub(in crate::hub) fn ask_for(&self, gathering: &Arc<Gathering>, id: u64, message: &Outgoing, volatile: bool) -> bool {
        let mut state = lock(&self.state);
        if !matches!(state.phase, Phase::Connected { .. }) {
            return false;
        }
        gathering.expect();
        state.acks.insert(id, Arc::clone(gathering));
        drop(state);
        self.peer.intake.expect();
        self.send(message, volatile);
        true
    }

    /// An answer is no longer waited for. Says whether it was.
    pub(in crate::hub) fn forget(&self, id: u64) -> bool {
        let waiting = lock(&self.state).acks.remove(&id);
        if waiting.is_some() {
            self.peer.intake.settle();
        }
        waiting.is_some()
    }

    /// The client answers. Unknown, repeated and late answers are ignored.
    pub(in crate::hub) fn answered(&self, id: u64, payload: impl FnOnce() -> Payload) {
        let waiting = lock(&self.state).acks.remove(&id);
        let counters = &self.shared().counters;
        let Some(waiting) = waiting else {
            return counters.acks_unknown.increment();
        };
        self.peer.intake.settle();
        if waiting.settle(Some(payload())) {
            counters.acks_in.increment();
        } else {
            counters.acks_unknown.increment();
        }
    }

    /// What is told of the socket to those who do not have it.
    pub(in crate::hub) fn record(&self) -> SocketRecord {
        let bare = self.shared().config.expose_credentials;
        SocketRecord {
            id: Arc::clone(&self.id),
            handshake: HandshakeObject::new(&self.peer.handshake, self.auth.as_deref(), bare),
            rooms: self.rooms(),
            data: serde_json::from_str(self.data().as_deref().unwrap_or("{}")).unwrap_or_default(),
        }
    }

    /// Joins a room; answers whether there was a place for it.
    pub(in crate::hub) fn join(&self, room: Room) -> bool {
        let most = self.shared().config.max_rooms;
        let mut state = lock(&self.state);
        let fits = match &mut state.phase {
            Phase::Connecting { rooms } if rooms.contains(&room) => true,
            Phase::Connecting { rooms } if rooms.len() < most => {
                rooms.push(room);
                true
            }
            Phase::Connecting { .. } => false,
            Phase::Connected { slot } => {
                let mut shard = lock(self.namespace.shard(&self.id));
                let fits = shard.join(*slot, &room, most);
                if fits {
                    self.note(|session| session.join(&room, shard.place.position));
                }
                fits
            }
            Phase::Refused | Phase::Ended { .. } | Phase::Gone => true,
        };
        drop(state);
        if !fits {
            self.shared().counters.joins_refused.increment();
        }
        fits
    }

    pub(in crate::hub) fn leave(&self, room: &str) {
        let mut state = lock(&self.state);
        match &mut state.phase {
            Phase::Connecting { rooms } => rooms.retain(|joined| **joined != *room),
            Phase::Connected { slot } => {
                let mut shard = lock(self.namespace.shard(&self.id));
                shard.leave(*slot, room);
                self.note(|session| session.leave(&room.into(), shard.place.position));
            }
            Phase::Refused | Phase::Ended { .. } | Phase::Gone => {}
        }
    }

    /// Changes what is kept of the session, if there is one; `change` answers whether it has to be written.
    pub(in crate::hub) fn note(&self, change: impl FnOnce(&Session) -> bool) {
        if let Some(session) = self.session.get()
            && change(session)
        {
            recovery::schedule(&self.namespace, Arc::clone(session));
        }
    }

    /// The client is about to be asked for a sign of life.
    pub(in crate::hub) fn asked(&self) {
        if let Some(session) = self.session.get() {
            let shard = lock(self.namespace.shard(&self.id));
            session.asked(shard.place.position);
        }
    }

    /// The client has given it.
    pub(in crate::hub) fn proved(&self) {
        self.note(|session| session.answered(Ledger::refresh()));
    }

    pub(in crate::hub) fn rooms(&self) -> Vec<Room> {
        let state = lock(&self.state);
        match &state.phase {
            Phase::Connecting { rooms } => std::iter::once(&self.id).chain(rooms).cloned().collect(),
            Phase::Connected { slot } => lock(self.namespace.shard(&self.id)).rooms_of(*slot),
            Phase::Ended { rooms } => rooms.clone(),
            Phase::Refused | Phase::Gone => Vec::new(),
        }
    }

    /// The server disconnects the socket, and tells the client.
    pub(in crate::hub) fn disconnect(self: &Arc<Self>) {
        let farewell = self
            .shared()
            .encode(&Packet::new(Kind::Disconnect, &self.namespace.name, None), &[]);
        match farewell {
            Ok(farewell) => self.finish(DisconnectReason::ServerNamespaceDisconnect, Some(&farewell)),
            // A client that cannot be told must not go on as if nothing had happened.
            Err(_) => self.peer.handle.close(CloseReason::ForcedServerClose),
        }
    }

    /// The socket ends: it leaves its rooms and its acks resolve at once; the disconnect handler runs after what was received before.
    pub(in crate::hub) fn end(self: &Arc<Self>, reason: DisconnectReason) {
        self.finish(reason, None);
    }

    fn finish(self: &Arc<Self>, reason: DisconnectReason, farewell: Option<&Outgoing>) {
        let farewell_handlers = self.namespace.handlers(|table| Farewell {
            disconnecting: table.listeners.disconnecting.clone(),
            disconnect: table.listeners.disconnect.clone(),
        });
        let mut state = lock(&self.state);
        let slot = match state.phase {
            // Only a connection that is gone ends a socket before it is connected.
            Phase::Connecting { .. } if farewell.is_none() => {
                state.phase = Phase::Refused;
                drop(state);
                return self.let_go();
            }
            Phase::Connecting { .. } | Phase::Refused | Phase::Ended { .. } | Phase::Gone => return,
            Phase::Connected { slot } => slot,
        };
        // Before the shard lets go of it: whoever looks for the session finds it at any time.
        if let Some(session) = self.session.get() {
            recovery::end(&self.namespace, session, reason.is_recoverable(), state.guest.as_ref());
        }
        let acks = std::mem::take(&mut state.acks);
        let (member, rooms) = {
            let mut shard = lock(self.namespace.shard(&self.id));
            // Under the shard's lock, so that no broadcast follows the farewell.
            if let Some(farewell) = farewell {
                let _: crate::engine::Pushed = self.peer.handle.push(farewell);
            }
            let rooms = shard.rooms_of(slot);
            (shard.remove(slot), rooms)
        };
        state.phase = Phase::Ended { rooms };
        self.peer.intake.enter(OVERHEAD);
        let queued = self.lane.push(Job::Disconnect(reason, farewell_handlers));
        drop(state);
        drop(member);
        for waiting in acks.into_values() {
            self.peer.intake.settle();
            waiting.settle(None);
        }
        let counters = &self.shared().counters;
        counters.sockets.decrement();
        counters.disconnects.increment();
        lane::start(self, queued);
    }

    /// What the namespace, and the socket itself, have for an event.
    pub(in crate::hub) fn find(&self, event: &Payload) -> (Found, Found) {
        let name = event.as_event().map(|(name, _)| name).unwrap_or_default();
        let own = self.own_listeners(|own| own.find(&name)).unwrap_or_default();
        (self.namespace.handlers(|table| table.listeners.find(&name)), own)
    }

    /// Whether a handler of the socket's own, or the namespace's, may be called now: one that is for once is taken out.
    pub(in crate::hub) fn claim(&self, event: &Payload, listener: &Listener) -> bool {
        if !listener.once {
            return true;
        }
        let name = event.as_event().map(|(name, _)| name).unwrap_or_default();
        let own = self.own_listeners(|own| own.claim(&name, listener)).flatten();
        let claimed = own.or_else(|| self.namespace.change_handlers(|table| table.listeners.claim(&name, listener)));
        claimed.is_some()
    }

    /// Whom to tell what went wrong: the socket's own handler, or the namespace's.
    pub(in crate::hub) fn error_handler(&self) -> Option<Arc<Bound<OnError>>> {
        let own = self.own_listeners(|own| own.error.clone()).flatten();
        own.or_else(|| self.namespace.handlers(|table| table.listeners.error.clone()))
    }

    /// The listeners of this socket alone, if it ever had any.
    pub(in crate::hub) fn own_listeners<T>(&self, look: impl FnOnce(&mut Listeners) -> T) -> Option<T> {
        self.own.get().map(|own| look(&mut lock(&own.listeners)))
    }

    /// Changes the listeners of this socket alone, until its last handler has run. What is replaced is dropped without any lock held.
    pub(in crate::hub) fn register<T>(&self, change: impl FnOnce(&mut Listeners) -> T) {
        let changed = self.unless_gone(|own| self.namespace.register_in(&mut lock(&own.listeners), change));
        drop(changed);
    }

    /// Gives the socket a value of its own, until its last handler has run.
    pub(in crate::hub) fn extend<T: Send + Sync + 'static>(&self, value: Arc<T>) {
        let before = self.unless_gone(|own| own.extensions.insert(value));
        drop(before);
    }

    pub(in crate::hub) fn extension<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.own.get()?.extensions.get()
    }

    /// The JSON that the application keeps with the socket.
    pub(in crate::hub) fn data(&self) -> Option<Arc<str>> {
        lock(&self.own.get()?.data).clone()
    }

    pub(in crate::hub) fn set_data(&self, json: Arc<str>) {
        self.note(|session| session.set_data(&json));
        let before = lock(&self.own.get_or_init(Box::default).data).replace(json);
        drop(before);
    }

    /// What it owns may own the socket, so nothing is added for good.
    fn unless_gone<T>(&self, change: impl FnOnce(&Own) -> T) -> Option<T> {
        let state = lock(&self.state);
        let gone = matches!(state.phase, Phase::Refused | Phase::Gone);
        (!gone).then(|| change(self.own.get_or_init(Box::default)))
    }

    /// The rooms that it was in before its end are forgotten.
    pub(in crate::hub) fn vacate(&self) {
        if let Phase::Ended { rooms } = &mut lock(&self.state).phase {
            rooms.clear();
        }
    }

    /// Drops the handlers and values of this socket alone: what they own may own the socket.
    pub(in crate::hub) fn let_go(&self) {
        let mut state = lock(&self.state);
        if let Phase::Ended { .. } = state.phase {
            state.phase = Phase::Gone;
        }
        let guest = state.guest.take();
        drop(state);
        if let Some(own) = self.own.get() {
            let listeners = std::mem::take(&mut *lock(&own.listeners));
            drop(listeners);
            own.extensions.clear();
        }
        drop(guest);
    }
}

/// Sends CONNECT_ERROR (Socket.IO protocol v5, Connection to a namespace), which protocol 4 calls ERROR.
pub(in crate::hub) fn refusal(shared: &Shared, peer: &Peer, namespace: &str, json: &str) {
    if let Ok(message) = shared.encode(&Packet::new(Kind::ConnectError, namespace, Some(json)), &[]) {
        let _: crate::engine::Pushed = peer.handle.push(&message);
    }
}
