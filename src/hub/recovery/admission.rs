//! From a CONNECT packet to a socket whose session can be recovered: a new one, or one that comes back.

use std::sync::{Arc, Mutex, Weak};

use serde_json::value::RawValue;
use tokio::time::timeout;

use super::{
    Claim, Journal, KeptHandshake, Ledger, NotKept, Offset, Pid, Record, Refusal, Session, Stays, ledger, replay, session::Fate,
    start_of_replay,
};
use crate::hub::{
    DisconnectReason, Hub, Room,
    connect::{admit, ask_all},
    namespace::{self, Guest},
    peer::Peer,
    shared::lock,
    socket,
};

/// How often a record is looked up again that somebody else has changed meanwhile.
const ATTEMPTS: usize = 4;

/// A client that came back, from its CONNECT packet to its answer: which socket it will have is not known yet.
#[derive(Debug)]
pub(in crate::hub) struct Restoring {
    pub(in crate::hub) namespace: Arc<str>,
    seat: Mutex<Seat>,
}

#[derive(Debug)]
enum Seat {
    /// Nobody, or a socket about which the middlewares are asked.
    Reserved(Option<Arc<socket::Core>>),
    /// It will be answered next.
    Taken(Arc<socket::Core>),
    /// The connection has ended.
    Gone(DisconnectReason),
}

impl Restoring {
    /// The socket, once it is known to be the one.
    pub(in crate::hub) fn taken(&self) -> Option<Arc<socket::Core>> {
        match &*lock(&self.seat) {
            Seat::Taken(socket) => Some(Arc::clone(socket)),
            Seat::Reserved(_) | Seat::Gone(_) => None,
        }
    }

    /// The connection has ended, and with it the socket, if there is one.
    pub(in crate::hub) fn end(&self, reason: DisconnectReason) {
        let seat = std::mem::replace(&mut *lock(&self.seat), Seat::Gone(reason));
        if let Seat::Reserved(Some(socket)) | Seat::Taken(socket) = seat {
            socket.end(reason);
        }
    }

    /// Seats a socket in place of the one before. One that comes too late is ended.
    fn seat(&self, socket: &Arc<socket::Core>, taken: bool) {
        let mut seat = lock(&self.seat);
        if let Seat::Gone(reason) = *seat {
            drop(seat);
            return socket.end(reason);
        }
        let socket = Arc::clone(socket);
        let before = std::mem::replace(&mut *seat, if taken { Seat::Taken(socket) } else { Seat::Reserved(Some(socket)) });
        drop(seat);
        drop(before);
    }
}

/// A CONNECT packet as it concerns recovery.
#[derive(Debug, serde::Deserialize)]
struct Comeback<'a> {
    #[serde(borrow)]
    pid: Option<&'a RawValue>,
    #[serde(borrow)]
    offset: Option<&'a RawValue>,
}

/// What a client gives to be recovered by; nothing if it does not ask for it.
pub(in crate::hub) fn comeback(auth: Option<&str>) -> Option<(Pid, Claim)> {
    let Comeback { pid, offset } = serde_json::from_str(auth?).ok()?;
    let pid: String = serde_json::from_str(pid?.get()).ok()?;
    let claim = match offset.map(RawValue::get) {
        None | Some("null") => Claim::None,
        Some(json) => {
            let text: Option<String> = serde_json::from_str(json).ok();
            text.and_then(|text| Offset::parse(&text)).map_or(Claim::Malformed, Claim::At)
        }
    };
    Some((Pid::parse(&pid)?, claim))
}

/// Somebody who comes back, and where to.
#[derive(Debug)]
pub(in crate::hub) struct Returning {
    hub: Weak<Hub>,
    namespace: Arc<namespace::Core>,
    /// Keeps the namespace while it is not known which socket there will be.
    guest: Option<Guest>,
    peer: Arc<Peer>,
    auth: Option<Box<str>>,
    pid: Pid,
    claim: Claim,
}

/// Recovers the session of a client that asks for it, or connects it as a new one.
pub(in crate::hub) fn restore(returning: Returning) -> Arc<Restoring> {
    let restoring = Arc::new(Restoring {
        namespace: Arc::clone(&returning.namespace.name),
        seat: Mutex::new(Seat::Reserved(None)),
    });
    let (seat, cancelled) = (Arc::clone(&restoring), Arc::clone(&restoring));
    let shared = Arc::clone(&returning.namespace.shared);
    let work = async move {
        if !returning.recover(&seat).await {
            returning.begin(&seat);
        }
    };
    shared.spawn(work, move || {
        if let Some(socket) = cancelled.taken() {
            socket.let_go();
        }
    });
    restoring
}

impl Returning {
    pub(in crate::hub) fn new(
        hub: &Arc<Hub>,
        (namespace, guest): (Arc<namespace::Core>, Option<Guest>),
        peer: Arc<Peer>,
        auth: Option<&str>,
        pid: Pid,
        claim: Claim,
    ) -> Self {
        Self {
            hub: Arc::downgrade(hub),
            namespace,
            guest,
            peer,
            auth: auth.map(Box::from),
            pid,
            claim,
        }
    }

    /// Connects the client as a new one.
    fn begin(&self, restoring: &Restoring) {
        let Some(hub) = self.hub.upgrade() else { return };
        self.namespace.shared.counters.recoveries_refused.increment();
        let Some(socket) = self.socket(hub.new_id()) else { return };
        self.peer.add(&socket);
        restoring.seat(&socket, true);
        admit(&socket, &hub);
    }

    /// A socket of this connection; none in a hub that is closed.
    fn socket(&self, id: Room) -> Option<Arc<socket::Core>> {
        let place = self.hub.upgrade()?.enter(&self.namespace.name)?;
        let socket = socket::Core::new(id, place, Arc::clone(&self.peer), self.auth.as_deref());
        Some(Arc::new(socket))
    }

    /// Recovers the session. Answers whether the client was dealt with.
    async fn recover(&self, restoring: &Restoring) -> bool {
        let (Some(ledger), Some(journal)) = (&self.namespace.ledger, self.namespace.shared.journal()) else {
            return false;
        };
        let finding = timeout(ledger.rules.replay_timeout, self.find(ledger, &*journal));
        let Ok(Some((record, _, start))) = finding.await else {
            return false;
        };
        let Some(socket) = self.socket(Arc::clone(&record.id)) else {
            return true;
        };
        socket.restore(&record);
        restoring.seat(&socket, false);
        if !ledger.rules.skip_middlewares {
            match ask_all(&socket, &self.hub).await {
                Ok(()) => {}
                Err(error) => {
                    socket.refuse(&error);
                    return true;
                }
            }
            if socket.user.get() != record.user.as_ref() {
                tracing::debug!(namespace = %self.namespace.name, "a session is not recovered: it is another user's");
                return false;
            }
        } else if let Some(user) = record.user {
            socket.user.get_or_init(|| user);
        }
        let Some(session) = self.take_over(ledger, &*journal, start).await else {
            return false;
        };
        self.peer.add(&socket);
        restoring.seat(&socket, true);
        enter(&socket, session, start, &*journal, self.guest.as_ref()).await;
        true
    }

    /// The record, its revision, and where the replay starts; nothing if the session is not to be recovered.
    async fn find(&self, ledger: &Ledger, journal: &dyn Journal) -> Option<(Record, u64, u64)> {
        let name = &self.namespace.name;
        let (mut record, revision) = journal.record(name, &self.pid).await.ok()??;
        // Where it was until now, more is known of it than was written.
        if let Some(known) = self.known(ledger, &record).filter(|known| known.generation() == record.generation) {
            if matches!(known.fate(), Fate::Doomed | Fate::Lost) {
                return None;
            }
            record = known.record();
        }
        let mut end = lock(self.namespace.shard(&record.id)).place;
        let mut start = start_of_replay(&record, self.claim, end);
        if let Err(Refusal::Ahead | Refusal::Epoch) = start {
            // This node may not have come so far.
            end = journal.end(name).await.ok()?;
            start = start_of_replay(&record, self.claim, end);
        }
        let start = match start {
            Ok(start) => replay::survey(journal, &ledger.rules, &record, start, end).await.map(|()| start),
            Err(refusal) => Err(refusal),
        };
        match start {
            Ok(start) => Some((record, revision, start)),
            Err(refusal) => {
                tracing::debug!(namespace = %name, %refusal, "a session is not recovered");
                None
            }
        }
    }

    /// The session as this node has or had it. It may be one that was taken over elsewhere, and has not learned of it yet.
    fn known(&self, ledger: &Ledger, record: &Record) -> Option<Arc<Session>> {
        let known = ledger.waiting(&self.pid).or_else(|| self.namespace.session(&record.id));
        known.filter(|known| known.pid == self.pid)
    }

    /// Makes the session this connection's: from the moment when the record is written nobody else can write it.
    async fn take_over(&self, ledger: &Ledger, journal: &dyn Journal, start: u64) -> Option<Session> {
        for _ in 0..ATTEMPTS {
            let (mut record, revision) = journal.record(&self.namespace.name, &self.pid).await.ok()??;
            let generation = record.generation;
            record.generation += 1;
            let revision = match journal.keep(&self.pid, &record, Some(revision), ledger.expiry()).await {
                Ok(revision) => revision,
                Err(NotKept::TakenOver) => continue,
                Err(NotKept::Away) => return None,
            };
            if let Some(known) = self.known(ledger, &record) {
                // The socket first: then nothing changes any more. Its own end finds the session lost.
                let doomed = known.fate() == Fate::Doomed;
                self.namespace.cut(&known);
                ledger.remove(&known);
                if known.generation() == generation {
                    record = Record {
                        generation: record.generation,
                        ..known.record()
                    };
                }
                if doomed || start < record.stays.exact_from() {
                    // If it is away the record expires, and so it is not recovered either.
                    journal.forget(&self.namespace.name, &self.pid, revision).await.ok();
                    return None;
                }
            }
            record.proven.position = record.proven.position.max(start);
            return Some(Session::new(self.pid.clone(), record, revision, true));
        }
        None
    }
}

/// Connects a new socket that the middlewares have agreed to, with a session that can be recovered; if that cannot be kept, without.
pub(in crate::hub) async fn connect(socket: &Arc<socket::Core>, journal: &dyn Journal) {
    let namespace = &socket.namespace;
    let Some(ledger) = &namespace.ledger else { return };
    let place = lock(namespace.shard(&socket.id)).place;
    if place == Offset::default() {
        // The log has not been reached yet.
        namespace.shared.counters.connects_unrecorded.increment();
        socket.connect(None);
        return;
    }
    let mut stays = Stays::from_list(Arc::clone(&socket.id), place.position, []);
    for room in socket.rooms() {
        stays.join(&room, place.position);
    }
    let record = Record {
        namespace: Arc::clone(&namespace.name),
        id: Arc::clone(&socket.id),
        generation: 0,
        proven: place,
        stays,
        user: socket.user.get().cloned(),
        data: socket.data().as_deref().unwrap_or_default().into(),
        handshake: Arc::new(KeptHandshake::new(
            &socket.peer.handshake,
            socket.auth.as_deref(),
            &ledger.rules.handshake_keep,
        )),
    };
    let pid = Pid::random();
    match journal.keep(&pid, &record, None, ledger.expiry()).await {
        Ok(revision) => enter(socket, Session::new(pid, record, revision, false), place.position, journal, None).await,
        Err(_) => {
            namespace.shared.counters.connects_unrecorded.increment();
            socket.connect(None);
        }
    }
}

/// Answers the CONNECT packet, then sends what was missed after `position`.
async fn enter(socket: &Arc<socket::Core>, session: Session, position: u64, journal: &dyn Journal, guest: Option<&Guest>) {
    let namespace = &socket.namespace;
    let session = Arc::new(session);
    if let Some(ledger) = &namespace.ledger {
        ledger::sweep(namespace, ledger);
    }
    if socket.connect(Some(&session)) {
        if session.recovered {
            namespace.shared.counters.recoveries.increment();
        }
        ledger::schedule(namespace, Arc::clone(&session));
        replay::catch_up(journal, socket, &session, position).await;
    } else {
        // The connection has ended meanwhile. A client that never learned its pid will not come back.
        ledger::end(namespace, &session, session.recovered, guest);
    }
}
