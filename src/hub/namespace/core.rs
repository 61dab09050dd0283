//! A namespace as the hub keeps it: its sockets on this node, and what is done to them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, hash_map::RandomState},
    fmt::{Debug, Display},
    hash::BuildHasher,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use super::kin::{Guests, Kin};
use crate::{
    engine::{Handle, Outgoing, Pushed},
    hub::{
        Command, EmitFlags, Query, Replies, Reply, Room, Target,
        counters::Counters,
        handlers::{Listeners, Raw, Table},
        log_limit::{Line, LogLimit},
        parents::Parent,
        recovery::{self, Ledger, Session},
        replies::Gathering,
        rooms::{Interest, Shard},
        server::{self, ServerEvent},
        shared::{Shared, lock},
        socket,
        socket::Standing,
    },
    protocol::socketio::{Kind, Packet, Payload, Unencodable},
};

/// Rooms are told in replies of so many: one of all might be larger than a backend takes.
const ROOMS_A_REPLY: usize = 256;

#[derive(Debug)]
pub(in crate::hub) struct Core {
    pub(in crate::hub) name: Arc<str>,
    pub(in crate::hub) shared: Arc<Shared>,
    /// The sessions to be recovered, where delivery is recoverable.
    pub(in crate::hub) ledger: Option<Ledger>,
    /// The sockets, by the hash of their ids. One shard is locked at a time, after a socket's own lock and before a mailbox's.
    shards: Box<[Mutex<Shard<Member>>]>,
    hasher: RandomState,
    /// The id of the next event that asks for an ack.
    ack_ids: AtomicU64,
    table: RwLock<Table>,
    /// Whether anybody ever watched what is sent to its sockets. A fan-out looks no further while nobody did.
    watched: AtomicBool,
    /// Where it comes from; not set while parents decide whether it may exist.
    kin: OnceLock<Kin>,
    pub(in crate::hub) guests: Guests,
    /// Lines about panics, and about handlers that failed. Namespaces of one parent share the parent's: clients make as many as they like.
    panic_lines: LogLimit,
    failure_lines: LogLimit,
}

/// A connected socket. The handle stands beside it so that a fan-out touches nothing else.
#[derive(Debug)]
pub(in crate::hub) struct Member {
    pub(super) handle: Handle,
    pub(super) socket: Arc<socket::Core>,
    /// What of it can be recovered.
    pub(super) session: Option<Arc<Session>>,
}

impl Core {
    pub(in crate::hub) fn new(name: Arc<str>, shared: Arc<Shared>) -> Self {
        let rules = shared.config.connection_state_recovery.as_ref();
        Self {
            ledger: rules.filter(|rules| rules.covers(&name)).map(Ledger::new),
            shards: (0..shared.config.shards.max(1))
                .map(|_| {
                    let (namespace, shared) = (Arc::clone(&name), Arc::clone(&shared));
                    Mutex::new(Shard::observed(Interest { namespace, shared }))
                })
                .collect(),
            name,
            shared,
            hasher: RandomState::new(),
            ack_ids: AtomicU64::new(0),
            table: RwLock::default(),
            watched: AtomicBool::new(false),
            kin: OnceLock::new(),
            guests: Guests::default(),
            panic_lines: LogLimit::default(),
            failure_lines: LogLimit::default(),
        }
    }

    /// It may exist: the first answer counts.
    pub(in crate::hub) fn settle(&self, kin: Kin) {
        self.kin.get_or_init(|| kin);
    }

    /// Whether it may exist.
    pub(in crate::hub) fn is_settled(&self) -> bool {
        self.kin.get().is_some()
    }

    /// Whether the application named it.
    pub(in crate::hub) fn is_own(&self) -> bool {
        matches!(self.kin.get(), Some(Kin::Own))
    }

    pub(in crate::hub) fn parent(&self) -> Option<&Arc<Parent>> {
        match self.kin.get() {
            Some(Kin::Child(parent)) => Some(parent),
            Some(Kin::Own) | None => None,
        }
    }

    /// Begins with the handlers of a parent.
    pub(in crate::hub) fn inherit(&self, handlers: Table) {
        self.watched.store(!handlers.listeners.outgoing.is_empty(), Ordering::Relaxed);
        // It had none, so nothing is dropped under a lock.
        self.change_handlers(|table| *table = handlers);
    }

    /// Counts a panic of something that the application has registered.
    pub(in crate::hub) fn panicked(&self, what: &str) {
        self.shared.counters.handler_panics.increment();
        if let Some(Line { left_out }) = self.elder().panic_lines.admit() {
            tracing::error!(namespace = %self.name, what, left_out, "the application panicked");
        }
    }

    /// Counts an error of a handler.
    pub(in crate::hub) fn failed(&self, handler: &dyn Debug, failure: &dyn Display) {
        self.shared.counters.handler_errors.increment();
        if let Some(Line { left_out }) = self.elder().failure_lines.admit() {
            tracing::warn!(namespace = %self.name, ?handler, %failure, left_out, "a handler failed");
        }
    }

    /// The parent, or itself where it has none.
    fn elder(&self) -> &Self {
        self.parent().map_or(self, |parent| &parent.core)
    }

    /// Does what a command says to the sockets of this node; answers how many were meant.
    pub(in crate::hub) fn apply(self: &Arc<Self>, command: &Command) -> usize {
        match command {
            Command::Emit { target, payload, flags } if self.ledger.is_some() => self.emit_unlogged(target, payload, *flags),
            Command::Emit { target, payload, flags } => self.emit(target, payload, *flags),
            Command::Join { target, rooms } => {
                let Shared { config, counters, .. } = &*self.shared;
                let join = |shard: &mut Shard<Member>, slot, room: &Room| {
                    let fits = shard.join(slot, room, config.max_rooms);
                    if !fits {
                        counters.joins_refused.increment();
                    }
                    fits
                };
                self.regroup(target, rooms, join, Session::join)
            }
            Command::Leave { target, rooms } => {
                let leave = |shard: &mut Shard<Member>, slot, room: &Room| {
                    shard.leave(slot, room);
                    true
                };
                self.regroup(target, rooms, leave, Session::leave)
            }
            Command::Disconnect { target, close } => {
                let sockets = self.sockets(target);
                for socket in &sockets {
                    if *close { socket.peer.disconnect() } else { socket.disconnect() }
                }
                sockets.len()
            }
        }
    }

    /// Encodes the event once, if anybody gets it, and pushes the one message to all, in the caller's thread.
    fn emit(&self, target: &Target, payload: &Payload, flags: EmitFlags) -> usize {
        let mut message = self.deflating(target, payload, flags).map(|session| {
            let message = self.event(payload, None, flags);
            message.inspect(|message| session.deflate(message))
        });
        let mut tally = Tally::default();
        let mut meant = 0;
        let watching = self.watched.load(Ordering::Relaxed);
        let mut watched = Vec::new();
        for shard in &self.shards {
            lock(shard).select(&target.rooms, &target.except, |_, member| {
                meant += 1;
                if watching {
                    watched.push(Arc::clone(&member.socket));
                }
                if let Ok(message) = message.get_or_insert_with(|| self.event(payload, None, flags)) {
                    tally.add(push(&member.handle, message, flags.volatile));
                }
            });
        }
        tally.count(&self.shared.counters);
        self.tell_watchers(&watched, payload);
        meant
    }

    /// Whether anybody ever watched what is sent.
    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Tells those who watch what is sent to these sockets, with no lock held.
    pub(in crate::hub) fn tell_watchers(&self, sockets: &[Arc<socket::Core>], payload: &Payload) {
        if sockets.is_empty() || !self.watched.load(Ordering::Relaxed) {
            return;
        }
        let event = Raw::new(payload.clone());
        let of_all = self.handlers(|table| table.listeners.outgoing.clone());
        for socket in sockets.iter().filter(|socket| socket.standing() == Standing::Connected) {
            let own = socket.own_listeners(|own| own.outgoing.clone()).unwrap_or_default();
            for watcher in of_all.iter().chain(own.iter()) {
                watcher.tell(socket, &event);
            }
        }
    }

    /// Asks the sockets, or the application, of this node.
    pub(in crate::hub) fn request(self: &Arc<Self>, query: &Query, deadline: Instant) -> Replies {
        match query {
            Query::Ask { target, payload, flags } => self.ask(target, payload, *flags, deadline),
            Query::Sockets { target } => {
                let sockets = self.sockets(target);
                Replies::of(sockets.iter().map(|socket| Reply::Socket(socket.record())), deadline)
            }
            Query::Count { target } => Replies::of([Reply::Count(self.count_of(target))], deadline),
            Query::Rooms { target } => {
                let rooms = self.rooms_of(target);
                Replies::of(rooms.chunks(ROOMS_A_REPLY).map(|rooms| Reply::Rooms(rooms.to_vec())), deadline)
            }
            Query::Tell { payload, answer, .. } => self.tell(payload, *answer, deadline),
        }
    }

    fn count_of(&self, target: &Target) -> usize {
        let mut count = 0;
        for shard in &self.shards {
            lock(shard).select(&target.rooms, &target.except, |_, _| count += 1);
        }
        count
    }

    fn rooms_of(&self, target: &Target) -> Vec<(Room, usize)> {
        if target.rooms.is_empty() && target.except.is_empty() {
            return self.rooms().into_iter().collect();
        }
        let mut rooms = BTreeMap::new();
        for socket in self.sockets(target) {
            for room in socket.rooms().into_iter().filter(|room| *room != socket.id) {
                *rooms.entry(room).or_default() += 1;
            }
        }
        rooms.into_iter().collect()
    }

    /// Another node tells the application an event.
    fn tell(self: &Arc<Self>, payload: &Payload, answer: bool, deadline: Instant) -> Replies {
        let gathering = answer.then(|| Gathering::new(self.shared.config.ack_bytes));
        let event = ServerEvent::new(payload.clone(), gathering.as_ref());
        let handler = payload
            .as_event()
            .and_then(|(name, _)| self.handlers(|table| table.server.get(&*name).cloned()));
        match handler {
            Some(handler) => self.shared.spawn(server::run(Arc::clone(self), handler, event), || {}),
            None => self.shared.counters.events_unhandled.increment(),
        }
        gathering.map_or_else(|| Replies::of([], deadline), |gathering| Replies::one(gathering, deadline))
    }

    /// Sends an event that asks for answers, under one id.
    fn ask(&self, target: &Target, payload: &Payload, flags: EmitFlags, deadline: Instant) -> Replies {
        let id = self.next_ack();
        let Ok(message) = self.event(payload, Some(id), flags) else {
            // It was counted.
            return Replies::of([], deadline);
        };
        let gathering = Gathering::new(self.shared.config.ack_bytes);
        let mut sockets = self.sockets(target);
        sockets.retain(|socket| socket.ask_for(&gathering, id, &message, flags.volatile));
        self.tell_watchers(&sockets, payload);
        Replies::new(gathering, id, sockets.iter().map(Arc::downgrade).collect(), deadline)
    }

    /// The rooms on this node that have members, and how many; a socket's own is not among them.
    pub(in crate::hub) fn rooms(&self) -> BTreeMap<Room, usize> {
        let mut rooms = BTreeMap::new();
        for shard in &self.shards {
            for (room, members) in lock(shard).rooms() {
                *rooms.entry(Arc::clone(room)).or_default() += members;
            }
        }
        rooms
    }

    /// How many sockets are connected on this node.
    pub(in crate::hub) fn count(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Changes the rooms of sockets; `change` answers whether it did, and `note` whether the session's record has to be written then.
    fn regroup(
        self: &Arc<Self>,
        target: &Target,
        rooms: &[Room],
        change: impl Fn(&mut Shard<Member>, u32, &Room) -> bool,
        note: impl Fn(&Session, &Room, u64) -> bool,
    ) -> usize {
        let mut slots = Vec::new();
        let mut meant = 0;
        for shard in &self.shards {
            let mut changed = Vec::new();
            let mut shard = lock(shard);
            shard.select(&target.rooms, &target.except, |slot, member| {
                slots.push((slot, member.session.clone()))
            });
            meant += slots.len();
            for (slot, session) in slots.drain(..) {
                let position = shard.place.position;
                let mut noted = false;
                for room in rooms {
                    if change(&mut shard, slot, room)
                        && let Some(session) = &session
                    {
                        noted |= note(session, room, position);
                    }
                }
                changed.extend(session.filter(|_| noted));
            }
            drop(shard);
            changed.into_iter().for_each(|session| recovery::schedule(self, session));
        }
        meant
    }

    /// The sockets that a target means.
    pub(in crate::hub) fn sockets(&self, target: &Target) -> Vec<Arc<socket::Core>> {
        let mut sockets = Vec::new();
        for shard in &self.shards {
            lock(shard).select(&target.rooms, &target.except, |_, member| sockets.push(Arc::clone(&member.socket)));
        }
        sockets
    }

    /// Whether any of `rooms` has a socket here; of none, whether there is any socket.
    pub(in crate::hub) fn has_any(&self, rooms: &[Room]) -> bool {
        self.shards.iter().any(|shard| lock(shard).has_any(rooms))
    }

    /// Writes the CONNECT answer and takes the socket in, at once: no broadcast can come between them. Gives the socket's slot,
    /// or nothing if the hub is closed.
    pub(in crate::hub) fn admit(&self, socket: &Arc<socket::Core>, answer: &Outgoing, rooms: &[Room]) -> Option<u32> {
        let session = socket.session.get().cloned();
        let member = Member {
            handle: socket.peer.handle.clone(),
            socket: Arc::clone(socket),
            session: session.clone(),
        };
        let mut shard = lock(self.shard(&socket.id));
        if self.shared.is_closed() {
            return None;
        }
        // A session that has ended meanwhile ends its sockets too, right after this.
        let _: Pushed = member.handle.push(answer);
        let slot = shard.insert(Arc::clone(&socket.id), member);
        for room in rooms {
            // There are no more of them than a socket may be in.
            shard.join(slot, room, usize::MAX);
        }
        if let Some(session) = session {
            session.agree(rooms, shard.place.position);
        }
        Some(slot)
    }

    /// See [`Shard::disown`].
    pub(in crate::hub) fn disown(&self) {
        for shard in &self.shards {
            lock(shard).disown();
        }
    }

    /// The shard in which a socket of this id stands.
    #[expect(
        clippy::indexing_slicing,
        reason = "a remainder is below the divisor, and there is a shard at least"
    )]
    pub(in crate::hub) fn shard(&self, id: &str) -> &Mutex<Shard<Member>> {
        let position = self.hasher.hash_one(id) % self.shards.len() as u64;
        &self.shards[position as usize]
    }

    pub(super) fn shards(&self) -> &[Mutex<Shard<Member>>] {
        &self.shards
    }

    /// The message of an event.
    pub(in crate::hub) fn event(&self, payload: &Payload, ack: Option<u64>, flags: EmitFlags) -> Result<Outgoing, Unencodable> {
        let message = self.message(Kind::Event, ack, payload)?;
        Ok(if flags.compress { message } else { message.uncompressed() })
    }

    /// The message of an answer.
    pub(in crate::hub) fn ack(&self, payload: &Payload, id: u64) -> Result<Outgoing, Unencodable> {
        self.message(Kind::Ack, Some(id), payload)
    }

    fn message(&self, kind: Kind, id: Option<u64>, payload: &Payload) -> Result<Outgoing, Unencodable> {
        let packet = Packet {
            kind,
            namespace: Cow::Borrowed(&self.name),
            id,
            attachments: payload.attachments().len(),
            data: Some(Cow::Borrowed(payload.json())),
        };
        self.shared.encode(&packet, payload.attachments())
    }

    pub(in crate::hub) fn next_ack(&self) -> u64 {
        self.ack_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Reads from the handlers.
    pub(in crate::hub) fn handlers<T>(&self, read: impl FnOnce(&Table) -> T) -> T {
        read(&self.table.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes listeners, of the namespace or of one of its sockets.
    pub(in crate::hub) fn register_in<T>(&self, listeners: &mut Listeners, change: impl FnOnce(&mut Listeners) -> T) -> T {
        let changed = change(listeners);
        if !listeners.outgoing.is_empty() {
            self.watched.store(true, Ordering::Relaxed);
        }
        changed
    }

    /// Changes the handlers; what is replaced is dropped by the caller, outside of the lock.
    pub(in crate::hub) fn change_handlers<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        change(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Pushes a message to one socket.
pub(in crate::hub) fn push(handle: &Handle, message: &Outgoing, volatile: bool) -> Pushed {
    if volatile {
        handle.push_volatile(message)
    } else {
        handle.push(message)
    }
}

/// What became of the pushes of one message.
#[derive(Debug, Default)]
pub(in crate::hub) struct Tally {
    queued: u64,
    dropped: u64,
    overflowed: u64,
    closed: u64,
}

impl Tally {
    pub(in crate::hub) const fn add(&mut self, pushed: Pushed) {
        match pushed {
            Pushed::Queued => self.queued += 1,
            Pushed::Dropped => self.dropped += 1,
            Pushed::Overflow => self.overflowed += 1,
            Pushed::Closed => self.closed += 1,
        }
    }

    pub(in crate::hub) fn count(&self, counters: &Counters) {
        counters.messages_out.add(self.queued);
        counters.volatile_dropped.add(self.dropped);
        counters.overflows.add(self.overflowed);
        counters.unconnected_dropped.add(self.closed);
    }
}
