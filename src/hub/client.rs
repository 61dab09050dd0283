//! One connection: reads Socket.IO packets and keeps the state of its namespaces (Socket.IO protocol v5 and v4, Exchange protocol).

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use smallvec::SmallVec;
use url::form_urlencoded;

use super::{
    ConnectError, DisconnectReason, Hub,
    connect::admit,
    intake::{Intake, OVERHEAD},
    lane::{self, Event, Job, Queued},
    peer::Peer,
    rate::{Meters, Pace},
    recovery::{self, Restoring, Returning},
    shared::{Shared, now},
    socket,
    socket::{Standing, refusal},
};
use crate::{
    engine::{CloseReason, Connection, Flow, Handle, Handshake, Incoming, Transport},
    protocol::socketio::{Assembled, Assembler, Kind, Message, Packet},
};

/// The hub's end of a session, owned by the session's driver.
///
/// | packet | namespace not joined | middlewares decide | joined |
/// |---|---|---|---|
/// | CONNECT | joins, or CONNECT_ERROR | closes | closes |
/// | DISCONNECT, EVENT, ACK | closes | closes | acts |
/// | CONNECT_ERROR | closes | closes | closes |
///
/// A client of protocol 4, which comes over Engine.IO 3, is in `/` from the beginning, without a CONNECT of its own. It has no payload
/// in its CONNECT packets, but a query behind the namespace.
///
/// Closes with `forced close`, or `forced server close` where a polling client has yet to fetch what waits, as the reference. A
/// namespace from which the server has disconnected the client is joined in
/// this sense until the client joins it anew, or its packets that are on their way would cost it its other namespaces.
#[derive(Debug)]
pub(super) struct Client {
    hub: Weak<Hub>,
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    assembler: Assembler,
    /// One for each namespace asked for, at most so many as settings allow.
    sockets: SmallVec<[Arc<socket::Core>; 1]>,
    /// Namespaces whose socket is yet to be found; they count as asked for.
    restoring: SmallVec<[Arc<Restoring>; 0]>,
    /// When the connection ends unless it has joined a namespace; nothing while it has.
    deadline: Option<Instant>,
    /// When the attachment that is awaited is late.
    late: Option<Instant>,
    /// Its rates, where they are bounded.
    meters: Option<Box<Meters>>,
    /// When it is read from again, after it has sent too many events.
    throttled: Option<Instant>,
}

impl Client {
    pub(super) fn new(hub: Weak<Hub>, shared: Arc<Shared>, session: &Handle, handshake: &Arc<Handshake>) -> Self {
        let config = &shared.config;
        let intake = Intake::new(session.clone(), config.queue_events, config.queue_bytes);
        Self {
            hub,
            peer: Arc::new(Peer::new(session.clone(), Arc::clone(handshake), intake)),
            assembler: Assembler::new(),
            sockets: SmallVec::new(),
            restoring: SmallVec::new(),
            deadline: Some(now() + config.connect_timeout),
            late: None,
            meters: config
                .events_per_second
                .map(|rate| Box::new(Meters::new(rate, config.stall_timeout, config.max_namespaces))),
            throttled: None,
            shared,
        }
    }

    /// Joins what a client is in without asking.
    pub(super) fn open(&mut self) {
        if self.peer.is_legacy()
            && let Ok(Flow::Close(reason)) = self.connect("/", None)
        {
            self.peer.handle.close(reason);
        }
    }

    fn packet(&mut self, assembled: Assembled<'_>) -> Result<Flow, Violation> {
        let Packet {
            kind, namespace, id, data, ..
        } = &assembled.packet;
        let (namespace, query) = match namespace.split_once('?') {
            Some((namespace, query)) if self.peer.is_legacy() => (namespace, query),
            _ => (&**namespace, ""),
        };
        match kind {
            Kind::Connect if self.peer.is_legacy() => self.connect(namespace, Some(&auth(query))),
            Kind::Connect => self.connect(namespace, data.as_deref()),
            Kind::Event => {
                let pace = self.measure(namespace);
                let socket = self.joined(namespace)?;
                self.shared.counters.events_in.increment();
                if assembled.packet.data.is_none() {
                    // Without a name no handler can be meant.
                    return Ok(pace);
                }
                let ack = *id;
                let flow = receive(socket, assembled, ack);
                Ok(if pace == Flow::Continue { flow } else { pace })
            }
            Kind::Ack => {
                let socket = self.joined(namespace)?;
                // Without an id it answers nothing.
                if let Some(id) = *id {
                    socket.answered(id, || assembled.into_payload());
                }
                Ok(Flow::Continue)
            }
            Kind::Disconnect => {
                self.joined(namespace)?;
                self.leave(namespace);
                Ok(Flow::Continue)
            }
            Kind::ConnectError => Err(Violation),
        }
    }

    /// Whether the connection is read on after an event, for the rate of its events.
    fn measure(&mut self, namespace: &str) -> Flow {
        let Some(meters) = &mut self.meters else { return Flow::Continue };
        match meters.event(namespace, now()) {
            Pace::Even => Flow::Continue,
            Pace::Fast(until) => {
                self.shared.counters.throttles.increment();
                self.throttled = self.throttled.max(Some(until));
                self.peer.intake.throttle();
                Flow::Pause
            }
            Pace::Relentless => {
                self.shared.counters.too_fast.increment();
                Flow::Close(CloseReason::ForcedClose)
            }
        }
    }

    fn connect(&mut self, name: &str, auth: Option<&str>) -> Result<Flow, Violation> {
        if self.restoring.iter().any(|restoring| *restoring.namespace == *name) {
            return Err(Violation);
        }
        if let Some(place) = self.place(name) {
            match self.sockets.get(place).map(|socket| socket.standing()) {
                Some(Standing::Connecting | Standing::Connected) => return Err(Violation),
                _ => drop(self.sockets.swap_remove(place)),
            }
        }
        let Some(hub) = self.hub.upgrade().filter(|_| !self.shared.is_closed()) else {
            // No CONNECT_ERROR: it would keep the stock client from trying another node.
            return Ok(Flow::Close(CloseReason::ServerShuttingDown));
        };
        if auth.is_some_and(|auth| auth.len() > self.shared.config.max_auth_bytes) {
            return Ok(self.refuse(name, "auth is too large"));
        }
        let Some(place) = hub.enter(name) else {
            return Ok(self.refuse(name, "Invalid namespace"));
        };
        if self.sockets.len() >= self.shared.config.max_namespaces {
            self.sockets
                .retain(|socket| matches!(socket.standing(), Standing::Connecting | Standing::Connected));
        }
        if self.sockets.len() + self.restoring.len() >= self.shared.config.max_namespaces {
            return Ok(self.refuse(name, "Too many namespaces"));
        }
        // Of a namespace that is yet to be allowed nothing is remembered.
        let remembers = place.0.ledger.is_some() && place.0.is_settled() && !self.peer.is_legacy();
        if let Some((pid, claim)) = recovery::comeback(auth).filter(|_| remembers) {
            let returning = Returning::new(&hub, place, Arc::clone(&self.peer), auth, pid, claim);
            self.restoring.push(recovery::restore(returning));
            return Ok(Flow::Continue);
        }
        let id = self.peer.legacy_id(name).unwrap_or_else(|| hub.new_id());
        let socket = socket::Core::new(id, place, Arc::clone(&self.peer), auth);
        let socket = Arc::new(socket);
        self.peer.add(&socket);
        self.sockets.push(Arc::clone(&socket));
        admit(&socket, &hub);
        if socket.standing() == Standing::Connected {
            self.deadline = None;
        }
        // What it has left before may still keep handlers busy.
        Ok(flow(&socket))
    }

    fn refuse(&self, namespace: &str, message: &str) -> Flow {
        self.shared.counters.connects_refused.increment();
        refusal(&self.shared, &self.peer, namespace, &ConnectError::new(message).json());
        Flow::Continue
    }

    fn leave(&mut self, namespace: &str) {
        if let Some(place) = self.place(namespace) {
            self.sockets.swap_remove(place).end(DisconnectReason::ClientNamespaceDisconnect);
            let last = !self.sockets.iter().any(joined);
            self.deadline = last.then(|| now() + self.shared.config.connect_timeout);
        }
    }

    /// The socket of a namespace that was joined.
    fn joined(&self, namespace: &str) -> Result<&Arc<socket::Core>, Violation> {
        let socket = self.sockets.iter().find(|socket| *socket.namespace.name == *namespace);
        socket.filter(|socket| joined(socket)).ok_or(Violation)
    }

    fn place(&self, namespace: &str) -> Option<usize> {
        self.sockets.iter().position(|socket| *socket.namespace.name == *namespace)
    }

    fn stalled_at(&self) -> Option<Instant> {
        Some(self.peer.intake.paused_since()? + self.shared.config.stall_timeout)
    }

    /// Ends the sockets at once and closes the connection, which may take until a polling client has fetched what waits. The reference
    /// tells handlers of such a delay by the reason.
    fn expel(&mut self) -> Flow {
        let handle = &self.peer.handle;
        let delayed = handle.transport() == Transport::Polling && !handle.is_writable();
        self.end(if delayed {
            CloseReason::ForcedServerClose
        } else {
            CloseReason::ForcedClose
        });
        Flow::Close(CloseReason::ForcedClose)
    }

    fn end(&mut self, reason: CloseReason) {
        for restoring in self.restoring.drain(..) {
            restoring.end(DisconnectReason::Connection(reason));
        }
        for socket in self.sockets.drain(..) {
            socket.end(DisconnectReason::Connection(reason));
        }
    }

    /// Takes in the sockets that have been found meanwhile.
    fn settle(&mut self) {
        let sockets = &mut self.sockets;
        self.restoring.retain(|restoring| {
            let taken = restoring.taken();
            let found = taken.is_some();
            sockets.extend(taken);
            !found
        });
    }
}

/// The client did what the state of the connection does not allow.
#[derive(Debug)]
struct Violation;

impl Connection for Client {
    fn message(&mut self, message: Incoming<'_>) -> Flow {
        self.settle();
        let message = match message {
            Incoming::Text(text) => Message::Text(text),
            Incoming::Binary(bytes) => Message::Binary(bytes),
        };
        let config = &self.shared.config;
        let assembled = self.assembler.take(message, &*config.parser, &config.limits);
        self.late = self.assembler.is_pending().then(|| now() + self.shared.config.attachment_timeout);
        let outcome = match assembled {
            Ok(None) => return Flow::Continue,
            Ok(Some(assembled)) => self.packet(assembled),
            Err(error) => {
                tracing::debug!(%error, "a client sent what is no Socket.IO packet");
                Err(Violation)
            }
        };
        outcome.unwrap_or_else(|Violation| {
            self.shared.counters.protocol_errors.increment();
            self.expel()
        })
    }

    fn timeout(&mut self) -> Flow {
        let now = now();
        if self.stalled_at().is_some_and(|at| at <= now) {
            self.shared.counters.stalled.increment();
            return Flow::Close(CloseReason::ForcedClose);
        }
        if self.late.is_some_and(|at| at <= now) {
            self.shared.counters.protocol_errors.increment();
            return Flow::Close(CloseReason::ForcedClose);
        }
        if self.throttled.take_if(|at| *at <= now).is_some() {
            self.peer.intake.release();
        }
        if self.deadline.is_some_and(|at| at <= now) {
            self.settle();
            if !self.sockets.iter().any(joined) {
                self.shared.counters.connect_timeouts.increment();
                return Flow::Close(CloseReason::ForcedClose);
            }
            self.deadline = None;
        }
        Flow::Continue
    }

    fn deadline(&self) -> Option<Instant> {
        let fixed = self.late.into_iter().chain(self.throttled).chain(self.deadline);
        fixed.chain(self.stalled_at()).min()
    }

    fn asked(&mut self) {
        self.settle();
        for socket in &self.sockets {
            socket.asked();
        }
    }

    fn answered(&mut self) {
        for socket in &self.sockets {
            socket.proved();
        }
    }

    fn closed(&mut self, reason: CloseReason) {
        self.end(reason);
    }
}

impl Drop for Client {
    /// A driver that is dropped without having closed its session leaves no socket behind.
    fn drop(&mut self) {
        self.end(CloseReason::TransportClose);
    }
}

/// The query behind the namespace of a client of protocol 4 as what a later one gives as `auth`: an object of strings. Of a name
/// given twice the last counts.
fn auth(query: &str) -> String {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let object: serde_json::Map<_, _> = pairs.map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
    serde_json::Value::Object(object).to_string()
}

/// Whether the client takes the socket for joined: also one that the server has disconnected, of which it may not know yet.
fn joined(socket: &Arc<socket::Core>) -> bool {
    matches!(socket.standing(), Standing::Connected | Standing::Ended)
}

/// Queues an event for its handler.
fn receive(socket: &Arc<socket::Core>, assembled: Assembled<'_>, ack: Option<u64>) -> Flow {
    if socket.standing() == Standing::Ended {
        return Flow::Continue;
    }
    let payload = assembled.into_payload();
    let bytes = payload.size() + OVERHEAD;
    socket.peer.intake.enter(bytes);
    let queued = socket.lane.push(Job::Event(Event { payload, ack, bytes }));
    if let Queued::Refused = queued {
        // The server has disconnected the socket in this moment.
        socket.peer.intake.leave(bytes);
    }
    lane::work_off(socket, queued);
    flow(socket)
}

/// Whether the connection is read on.
fn flow(socket: &socket::Core) -> Flow {
    if socket.peer.intake.pauses() {
        socket.shared().counters.pauses.increment();
        return Flow::Pause;
    }
    Flow::Continue
}
