//! All sessions of one node: opening them, finding them, ending them.

use std::{
    borrow::Cow,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use smallvec::{SmallVec, smallvec};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::protocol::{
    engineio::{
        Revision,
        handshake::{Flaw, Open, Query, Refusal},
        jsonp::Callback,
    },
    websocket,
};

use super::{
    Application, Arrival, CloseReason, Config, Counters, Handle, Handshake, Io, Outgoing, Reply, Transport,
    addresses::{Addresses, Crowded, Place},
    carrier::{Carrier, Coming},
    dialect::Dialect,
    driver::{Driver, now},
    flusher::{Shared, gather},
    id::{OwnTag, new_id},
    mailbox::{Line, Mailbox},
    polling::{Answer, Poll, Post},
    registry::Registry,
    session::Session,
    websocket::Wire,
};

/// What an old client has to begin listening on its WebSocket. On loopback the reference's first packet comes about a millisecond
/// after its answer, which is too soon for one in four clients of a busy machine.
const HEAD_START: Duration = Duration::from_millis(10);

/// How long the shutdown waits for a polling client to come back and hear of it.
const LAST_POLL: Duration = Duration::from_secs(2);

/// The longest time between two closes of [`Engine::close_paced`].
const LONGEST_PAUSE: Duration = Duration::from_millis(10);

/// The sessions of one node, over both transports.
///
/// HTTP is somebody else's: [`Engine::request`] and [`Engine::upgrade`] take what a request says and give back what it is to be
/// answered.
pub struct Engine {
    tag: OwnTag,
    shared: Arc<Shared>,
    application: Arc<dyn Application>,
    registry: Arc<Registry>,
    /// The sessions of each client address.
    addresses: Arc<Addresses>,
    /// Spreads sessions over flushers.
    next: AtomicUsize,
    drivers: TaskTracker,
    flushers: TaskTracker,
    stop: CancellationToken,
}

/// What an HTTP request without an upgrade says, as far as sessions care.
#[derive(Debug, Clone, Copy, Default)]
pub struct Request<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The raw query, without `?`.
    pub query: &'a str,
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a [u8]>,
    /// Whether the page that the request comes from may use JSONP. Looked at for JSONP only.
    pub may_script: bool,
    /// The connection on which it comes, where that is not the client's own.
    pub carrier: Option<&'a Carrier>,
    /// When it came, if it was [early](Routed::Early) and is now to be taken as it is.
    pub since: Option<Instant>,
}

/// What becomes of a request without an upgrade.
#[derive(Debug)]
#[must_use]
pub enum Routed {
    /// It is refused; [`Reply::refused`] is the answer.
    Refused(Refusal),
    /// The answer is known.
    Reply(Reply),
    /// A client wants a session.
    Open(Admission),
    /// A poll: a future that ends with the answer. To drop it before is to abort the request, which ends the session.
    Poll(Poll),
    /// A poll, where another is under way over this carrier, or the same was answered over it: when it has broken, or a moment later, the
    /// request is to be made again, with the time of this one.
    Early(Carrier, Instant),
    /// A POST, whose body is to be read. To drop it before is to abort the request, which ends the session.
    Post(Post),
}

/// A client that may have a session.
#[derive(Debug)]
#[must_use]
pub struct Admission {
    engine: Arc<Engine>,
    transport: Transport,
    dialect: Dialect,
    callback: Option<Callback>,
}

/// A client that has a place for its session.
#[derive(Debug)]
#[must_use]
pub struct Admitted {
    admission: Admission,
    arrival: Arrival,
    place: Place,
}

/// Why a client whose request was found good gets no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdmitted {
    /// The node has as many sessions as it takes.
    Full,
    /// The node is shutting down.
    Closing,
    /// The client's address has as many as one may have.
    Address,
    /// The client speaks revision 3, which is not served. It hears that only when it may come at all, as from the reference.
    Revision,
}

/// A WebSocket that is welcome, to be answered 101.
#[derive(Debug)]
#[must_use]
pub enum Upgrade {
    /// It opens a session.
    Open(Admission),
    /// It wants to take over a session from polling.
    Probe(Candidate),
}

/// A WebSocket on its way to a session.
#[derive(Debug)]
#[must_use]
pub struct Candidate {
    session: Handle,
    /// How it wants its packets encoded.
    dialect: Dialect,
}

impl Engine {
    /// An engine and its flushers. `tag` is the head of every session id.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(config: Config, tag: impl Into<OwnTag>, application: Arc<dyn Application>) -> Arc<Self> {
        let workers = match config.flushers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let registry = Arc::new(Registry::new(config.max_sessions));
        let addresses = Addresses::new(config.max_sessions_per_address);
        let shared = Arc::new(Shared::new(config, workers));
        let (flushers, stop) = (TaskTracker::new(), CancellationToken::new());
        for number in 0..shared.flushers() {
            flushers.spawn(shared.clone().run_flusher(number, stop.clone()));
        }
        let (next, drivers) = (AtomicUsize::new(0), TaskTracker::new());
        Arc::new(Self {
            tag: tag.into(),
            shared,
            application,
            registry,
            addresses,
            next,
            drivers,
            flushers,
            stop,
        })
    }

    /// What was counted since the start.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// How many tasks of sessions run now: one for each session, and for each connection that outlives its session for its last bytes.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.drivers.len()
    }

    /// The intervals and bounds.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The open session of this id.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<Handle> {
        self.registry.get(id)
    }

    /// Routes a request without an upgrade, verified in the order of the reference server: transport, origin, session, method,
    /// protocol.
    pub fn request(self: &Arc<Self>, request: &Request<'_>) -> Routed {
        self.verify(request).unwrap_or_else(Routed::Refused)
    }

    fn verify(self: &Arc<Self>, request: &Request<'_>) -> Result<Routed, Refusal> {
        let query = Query::parse(request.query);
        let transport = self.transport(&query)?;
        check_origin(request.origin)?;
        if let Some(sid) = &query.sid {
            let handle = self.registry.get(sid).ok_or(Refusal::UnknownSession)?;
            if transport != Transport::Polling || handle.transport() != transport {
                return Err(Refusal::BadRequest(Flaw::TransportMismatch));
            }
            if handle.0.callback.is_some() && !request.may_script {
                return Err(Refusal::origin());
            }
            return match request.method {
                "GET" => {
                    let coming = Coming::new(query.mark.as_deref(), request.carrier, request.since);
                    Poll::begin(&handle, coming)
                }
                "POST" => Post::begin(&handle, request.content_type).map(|post| post.map_or_else(Routed::Reply, Routed::Post)),
                _ => Ok(Routed::Reply(Reply::empty(500))),
            };
        }
        if request.method != "GET" {
            return Err(Refusal::BadHandshakeMethod);
        }
        if transport != Transport::Polling {
            return Err(Refusal::BadRequest(Flaw::TransportHandshake));
        }
        let callback = self.callback(&query)?;
        if callback.is_some() && !request.may_script {
            return Err(Refusal::origin());
        }
        Ok(Routed::Open(Admission {
            engine: self.clone(),
            transport,
            dialect: Dialect {
                // There are no bytes in a script.
                base64: query.base64 || callback.is_some(),
                ..dialect(&query)
            },
            callback,
        }))
    }

    /// Decides on a request for a WebSocket, before it is answered.
    ///
    /// # Errors
    /// The refusal; its answer is [`Reply::refused_upgrade`].
    pub fn upgrade(self: &Arc<Self>, query: &str, origin: Option<&[u8]>) -> Result<Upgrade, Refusal> {
        let query = Query::parse(query);
        let transport = self.transport(&query)?;
        check_origin(origin)?;
        if transport != Transport::WebSocket {
            return Err(Refusal::BadRequest(Flaw::TransportHandshake));
        }
        if let Some(sid) = &query.sid {
            // Whether it may probe is the session's to say when it has the connection: one that cannot is answered 101, then closed.
            let session = self.registry.get(sid).ok_or(Refusal::UnknownSession)?;
            let dialect = Dialect {
                base64: query.base64,
                ..session.0.dialect
            };
            return Ok(Upgrade::Probe(Candidate { session, dialect }));
        }
        Ok(Upgrade::Open(Admission {
            engine: self.clone(),
            transport,
            dialect: dialect(&query),
            callback: None,
        }))
    }

    /// Takes no new sessions from now on; the open ones go on.
    pub fn drain(&self) {
        self.registry.close();
        self.drivers.close();
    }

    /// Ends when no session is left that was open at the [drain](Engine::drain), and their connections are gone.
    pub async fn drained(&self) {
        self.drivers.wait().await;
    }

    /// Takes no new sessions, and closes the open ones one after the other, evenly over `spread`, so that their clients do not come back
    /// all at once; few are closed faster, at least one every 10 ms. Their order is that of the registry, which is random. Ends when
    /// each was told: [`Engine::close`] waits for them.
    pub async fn close_paced(&self, reason: CloseReason, spread: Duration) {
        self.drain();
        let mut handles = Vec::new();
        self.registry.for_each(|handle| handles.push(handle.clone()));
        let share = spread.as_secs_f64() / handles.len().max(1) as f64;
        let pause = Duration::from_secs_f64(share).min(LONGEST_PAUSE);
        let mut due = tokio::time::Instant::now();
        for handle in handles {
            // The clock of the runtime is coarse: those that are due within one of its ticks go together.
            if due > tokio::time::Instant::now() {
                tokio::time::sleep_until(due).await;
            }
            handle.0.close(reason, Some(LAST_POLL));
            due += pause;
        }
    }

    /// Ends all sessions and takes no new ones: transports are closed, no message says so. Returns when every task of the engine has
    /// ended; after `grace` connections that are still there are reset.
    pub async fn close(&self, reason: CloseReason, grace: Duration) {
        self.drain();
        self.registry.for_each(|handle| handle.0.close(reason, Some(grace.min(LAST_POLL))));
        if tokio::time::timeout(grace, self.drivers.wait()).await.is_err() {
            self.registry.for_each(|handle| handle.0.kill(reason));
            // What lingers now is bounded by itself; a driver that never yields would be a defect of the application.
            tokio::time::timeout(self.shared.config.farewell_timeout, self.drivers.wait())
                .await
                .ok();
        }
        self.stop.cancel();
        self.flushers.close();
        self.flushers.wait().await;
    }

    fn transport(&self, query: &Query<'_>) -> Result<Transport, Refusal> {
        let offered = &self.shared.config.transports;
        let named = offered
            .iter()
            .find(|transport| query.transport.as_deref() == Some(transport.as_str()));
        named.copied().ok_or(Refusal::UnknownTransport)
    }

    fn callback(&self, query: &Query<'_>) -> Result<Option<Callback>, Refusal> {
        let Some(j) = &query.jsonp else { return Ok(None) };
        let callback = Callback::parse(j).filter(|_| self.shared.config.jsonp);
        callback.map(Some).ok_or(Refusal::BadRequest(Flaw::Jsonp))
    }
}

impl Upgrade {
    /// Decides on the extensions that the client offers: the values of its `Sec-WebSocket-Extensions`. Gives the value of the answer's, if
    /// there is to be one.
    pub fn negotiate<'a>(&mut self, offers: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
        let (config, dialect) = match self {
            Self::Open(admission) => (&admission.engine.shared.config, &mut admission.dialect),
            Self::Probe(candidate) => (&candidate.session.0.shared.config, &mut candidate.dialect),
        };
        let least = config.per_message_deflate?.least();
        let answer = websocket::negotiate(offers)?;
        dialect.deflate_from = Some(least);
        Some(answer)
    }
}

impl Admission {
    /// Takes a place for the session of this client.
    ///
    /// # Errors
    /// [`NotAdmitted`], counted; over HTTP its answer is [`Reply::not_admitted`].
    pub fn admit(self, arrival: Arrival) -> Result<Admitted, NotAdmitted> {
        let Engine {
            registry,
            addresses,
            shared,
            ..
        } = &*self.engine;
        let counters = &shared.counters;
        if self.dialect.revision == Revision::V3 && !shared.config.allow_eio3 {
            return Err(NotAdmitted::Revision);
        }
        registry.check_room().inspect_err(|_| counters.refused.increment())?;
        let place = addresses.enter(arrival.address()).map_err(|Crowded| {
            counters.crowded.increment();
            NotAdmitted::Address
        })?;
        Ok(Admitted {
            admission: self,
            arrival,
            place,
        })
    }
}

impl Admitted {
    /// Opens a session over polling. The answer is its first packets, or 503 if the last room was taken meanwhile.
    #[must_use]
    pub fn open_polling(self) -> Reply {
        let (dialect, callback) = (self.admission.dialect, self.admission.callback.clone());
        match self.open(None, &[]) {
            Ok(first) => Reply::payload(Answer::of(&first, dialect), callback.as_ref()),
            Err(not_admitted) => Reply::not_admitted(not_admitted),
        }
    }

    /// How long after the answer 101 the session is to be opened: programs written for revision 3 begin to listen when they are told
    /// that they are connected, and miss a packet that comes in one read with the answer.
    #[must_use]
    pub const fn head_start(&self) -> Option<Duration> {
        match self.admission.dialect.revision {
            Revision::V3 => Some(HEAD_START),
            Revision::V4 => None,
        }
    }

    /// Opens a session over a WebSocket that was answered 101. `read` is what was read of the connection beyond the request. The
    /// connection is dropped if the last room was taken meanwhile.
    pub fn open_websocket(self, io: Io, read: &[u8]) {
        self.open_unanswered(io, &[], read);
    }

    /// The same over one that is yet to be answered: the `answer`, the bytes of a whole 101, leaves together with the first packet.
    pub fn open_unanswered(self, io: Io, answer: &[u8], read: &[u8]) {
        let wire = Wire::new(io, read, &self.admission.engine.shared.config, self.admission.dialect);
        // Without room the connection has been dropped, which is all there is to say on a WebSocket.
        drop(self.open(Some(wire), answer));
    }

    /// Opens the session, and answers its first packets, which a WebSocket has in its outbox already, behind `answer`.
    fn open(self, wire: Option<Wire>, answer: &[u8]) -> Result<SmallVec<[Outgoing; 2]>, NotAdmitted> {
        let Self {
            admission:
                Admission {
                    engine,
                    transport,
                    dialect,
                    callback,
                },
            arrival,
            place,
        } = self;
        let Config {
            ping_interval,
            ping_timeout,
            max_http_buffer_size,
            allow_upgrades,
            initial_packet,
            transports,
            ..
        } = &engine.shared.config;
        let id = new_id(engine.tag.get());
        let line = match &wire {
            None => Line::Polling,
            Some(wire) => wire.tcp().map_or(Line::Boxed, |stream| Line::Tcp(stream.clone())),
        };
        let flusher = engine.next.fetch_add(1, Ordering::Relaxed) % engine.shared.flushers().max(1);
        let handle = Handle(Mailbox::new(
            id.as_str().into(),
            engine.shared.clone(),
            flusher,
            line,
            dialect,
            callback,
        ));
        engine
            .registry
            .insert(handle.clone())
            .inspect_err(|_| engine.shared.counters.refused.increment())?;
        engine.shared.counters.opened.increment();
        let upgradable = transport == Transport::Polling && *allow_upgrades && transports.contains(&Transport::WebSocket);
        let upgrades: &[&str] = if upgradable { &["websocket"] } else { &[] };
        let open = Open {
            sid: &id,
            upgrades,
            ping_interval: *ping_interval,
            ping_timeout: *ping_timeout,
            max_payload: *max_http_buffer_size as u64,
        };
        let mut first: SmallVec<[Outgoing; 2]> = smallvec![Outgoing::packet(&format!("0{}", open.json()))];
        first.extend(initial_packet.as_deref().map(|text| Outgoing::new(&[text], &[])));
        if wire.is_some() {
            // They leave in this moment, before the session runs: whatever becomes of it then, it was answered.
            gather(|| {
                if answer.is_empty() {
                    first.iter().for_each(|packet| Mailbox::push_own(&handle.0, packet.clone()));
                } else {
                    // As one, which the smallest outbox takes.
                    Mailbox::push_own(&handle.0, Outgoing::preamble(answer, &first));
                }
            });
        }
        let handshake = Arc::new(Handshake::new(&id, transport, dialect.revision, arrival));
        let connection = engine.application.opened(&handle, &handshake);
        let session = Session::new(Arc::clone(&engine.shared.timing), dialect.revision, transport, now());
        let driver = Driver::new(handle.0, session, connection, wire);
        let registry = engine.registry.clone();
        engine.drivers.spawn(driver.run(move |mailbox| {
            registry.remove(&mailbox.id);
            drop(place);
        }));
        Ok(first)
    }
}

impl NotAdmitted {
    /// How it is said in the protocol's own form, where it is the client's fault.
    #[must_use]
    pub const fn refusal(self) -> Option<Refusal> {
        match self {
            Self::Full | Self::Closing => None,
            Self::Address => Some(Refusal::Forbidden(Cow::Borrowed("Too many connections from this address"))),
            Self::Revision => Some(Refusal::UnsupportedProtocol),
        }
    }
}

impl Candidate {
    /// The session that is to be upgraded.
    #[must_use]
    pub const fn session(&self) -> &Handle {
        &self.session
    }

    /// Hands the session its WebSocket, which was answered 101. `read` is what was read of the connection beyond the request. While
    /// another candidate probes, or when the session has a WebSocket already, the connection is closed and the session goes on.
    pub fn probe(self, io: Io, read: &[u8]) {
        let mailbox = &self.session.0;
        let wire = Wire::new(io, read, &mailbox.shared.config, self.dialect);
        let mut probe = Some((Box::new(wire), self.dialect));
        mailbox.post(|mail| {
            if mail.probe.is_none() {
                mail.probe = probe.take();
            }
        });
        // One too many is dropped here, not under the lock.
        drop(probe);
    }
}

/// How the client of a session that is opened by this request wants its packets encoded.
fn dialect(query: &Query<'_>) -> Dialect {
    Dialect {
        revision: query.revision,
        base64: query.base64,
        deflate_from: None,
    }
}

/// The reference refuses an `Origin` that could not stand in a header of an answer.
fn check_origin(origin: Option<&[u8]>) -> Result<(), Refusal> {
    let valid = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    if origin.is_some_and(|origin| !origin.iter().all(valid)) {
        Err(Refusal::BadRequest(Flaw::InvalidOrigin))
    } else {
        Ok(())
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("tag", &self.tag)
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}
