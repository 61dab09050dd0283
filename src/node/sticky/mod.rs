//! Sessions of other nodes: a request that names one is handed to the node that owns it, over the nodes' internal listeners, so that polling
//! works behind any balancer. Who owns a session is what its id begins with.
//!
//! | file | what it does |
//! |---|---|
//! | `request` | what of a client's request its owner is told, and how the owner reads it |
//! | `owners` | connections to owners, and whether they answer |
//! | `splice` | WebSockets, whose bytes are carried both ways |
//!
//! A request that was handed on is never handed on again, and none is sent twice.

mod owners;
mod request;
mod splice;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum::{body::Body, response::Response};
use http::{Method, StatusCode, request::Parts};
use opentelemetry::metrics::Histogram;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub(super) use self::{
    owners::{CONNECTION_WINDOW, STREAM_WINDOW, STREAMS, UNUSED},
    request::{Client, PREFIX, held, received, releases},
};
use self::{
    owners::{Owners, Unanswered},
    request::{HELD, forwarded, releasing, returned},
    splice::Patience,
};
use super::{
    counters::{Counters, Forwarded},
    internal::{AskError, Internal},
    metrics::Layers,
    transports::response,
};
use crate::{
    cluster::Cluster,
    engine::{Reply, id::NodeTag},
    protocol::engineio::handshake::Query,
};

/// How requests for sessions of other nodes are handed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardConfig {
    /// How long a node that owns a session may take to be connected with, or to say that it lives, before the client is answered 503.
    /// Default 1 s; above zero.
    pub connect_timeout: Duration,
    /// WebSockets at one time that are carried to the sessions of other nodes; one beyond is answered 503. Default 10 000.
    pub max_upgrades: usize,
}

impl Default for ForwardConfig {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            max_upgrades: 10_000,
        }
    }
}

/// How long another node may leave unacknowledged what was sent to it: so soon is it known that a connection leads nowhere.
pub(super) const UNACKNOWLEDGED: Duration = Duration::from_secs(4);

/// How long a poll waits for news of the one before: until the answer to that has been acknowledged, or its connection has broken. One that
/// overlaps another all the same breaks the protocol.
pub(super) const NEWS: Duration = Duration::from_secs(5);

/// Requests of sessions, after which it is looked at how many are other nodes'.
const ENOUGH: u64 = 1000;

/// Knows the owners of sessions, and hands requests to them.
#[derive(Debug)]
pub(super) struct Sticky {
    cluster: Arc<Cluster>,
    internal: Arc<Internal>,
    owners: Arc<Owners>,
    /// A place for each WebSocket that is carried.
    upgrades: Arc<Semaphore>,
    patience: Patience,
    counters: Arc<Counters>,
    /// What the way to the owner and back took, in seconds.
    added: Histogram<f64>,
    /// The node shuts down: whose poll is under way is to poll elsewhere, and no WebSocket is carried any longer.
    leaving: CancellationToken,
    /// Requests handed on, until there were enough to tell whether there is stickiness.
    handed: AtomicU64,
}

/// The node that has a session.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    tag: NodeTag,
    address: Arc<str>,
}

impl Sticky {
    /// `added` is where it is recorded what a way to an owner and back takes, in seconds.
    pub(super) fn new(config: &ForwardConfig, layers: &Layers, internal: &Arc<Internal>, added: Histogram<f64>) -> Self {
        Self {
            owners: Arc::new(Owners::new(config.connect_timeout)),
            upgrades: Arc::new(Semaphore::new(config.max_upgrades.min(Semaphore::MAX_PERMITS))),
            patience: layers.engine.config().into(),
            cluster: Arc::clone(&layers.cluster),
            internal: Arc::clone(internal),
            counters: Arc::clone(&layers.node),
            added,
            leaving: CancellationToken::new(),
            handed: AtomicU64::new(0),
        }
    }

    /// The living node that owns the session which a query names, as far as the membership is known; nothing if that is this node.
    pub(super) fn owner(&self, query: &str) -> Option<Owner> {
        let tag = NodeTag::of(Query::parse(query).sid.as_deref()?)?;
        let address = self.cluster.member(tag)?.advertise;
        (!address.is_empty()).then_some(Owner { tag, address })
    }

    /// Hands a request that is no upgrade to the owner of its session, and gives back its answer.
    pub(super) async fn forward(&self, owner: &Owner, head: &Parts, body: Body, client: Client<'_>) -> Response {
        self.notice();
        let begun = Instant::now();
        let asking = self.owners.ask(&self.internal, owner, forwarded(head, body, client));
        tokio::pin!(asking);
        let answer = tokio::select! {
            // Asked first, and then to be answered.
            biased;
            answer = &mut asking => answer,
            () = self.leaving.cancelled(), if head.method == Method::GET => {
                // If it cannot be had, the poll is given up with the connection.
                self.owners.ask(&self.internal, owner, releasing(head, client)).await.ok();
                asking.await
            }
        };
        match answer {
            Ok(answer) if answer.status() == StatusCode::FORBIDDEN && !answer.headers().contains_key(HELD) => {
                self.count(Forwarded::Refused);
                self.refused(owner);
                response(Reply::empty(StatusCode::SERVICE_UNAVAILABLE.as_u16()))
            }
            Ok(answer) => {
                self.count(Forwarded::Answered);
                let (answer, held) = returned(answer);
                self.added.record(begun.elapsed().saturating_sub(held).as_secs_f64(), &[]);
                answer
            }
            Err(unanswered) => {
                self.unanswered(owner, &unanswered);
                response(Reply::empty(StatusCode::SERVICE_UNAVAILABLE.as_u16()))
            }
        }
    }

    /// Has the polls answered that are under way, and closes the WebSockets that are carried.
    pub(super) fn release(&self) {
        self.leaving.cancel();
    }

    fn count(&self, outcome: Forwarded) {
        self.counters.count_forwarded(outcome);
    }

    fn unanswered(&self, owner: &Owner, unanswered: &Unanswered) {
        self.count(match unanswered {
            Unanswered::Mute(_) => Forwarded::Mute,
            Unanswered::Broken(_) => Forwarded::Broken,
        });
        if let Unanswered::Mute(AskError::Outside(_)) = unanswered {
            self.counters.peers_outside.increment();
        }
        tracing::debug!(owner = %owner.tag, address = &*owner.address, %unanswered, "a request for a session of another node is not answered");
    }

    fn refused(&self, owner: &Owner) {
        if self.counters.say_forward_refused() {
            tracing::warn!(
                address = &*owner.address,
                "another node refuses requests for its sessions: all nodes need one cluster.secret, and clocks within 30 seconds"
            );
        }
    }

    /// Says once that clients do not stick to their nodes.
    fn notice(&self) {
        if self.handed.fetch_add(1, Relaxed) == ENOUGH {
            let all = self.counters.session_requests.get();
            tracing::info!(
                forwarded = ENOUGH,
                of = all,
                "many requests reach another node than that of their session: a balancer that keeps a client on its node saves the way"
            );
        }
    }
}
