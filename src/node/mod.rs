//! A node: the HTTP face of everything below it.
//!
//! Knows axum, addresses and HTTP statuses; does not know packet syntax, wire encoding or a backend's client library. [`Server`] is
//! a node without listeners, for programs that have an axum application of their own; [`Node::start`] is the whole thing.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare_adapters::Adapter;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use self::accept::{Accepting, Bounds, Whose};
use crate::hub::{Io, RegisterError};

mod accept;
mod checks;
mod client_bundle;
mod coding;
mod cookie;
mod cors;
mod counters;
mod gate;
mod health;
mod hooks;
mod internal;
mod manner;
mod metrics;
mod network;
mod opening;
mod options;
mod origins;
mod proxies;
mod server;
mod sticky;
mod transports;
mod upgrade;
mod watched;

pub use self::{
    cookie::{CookieConfig, SameSite},
    cors::CorsConfig,
    gate::Forbidden,
    health::{ReadyConfig, WhenDeaf},
    hooks::ConnectionError,
    manner::HttpCompression,
    network::{Network, NetworkError},
    origins::Origins,
    server::{BuildError, Builder, Server, ServerConfig},
    sticky::ForwardConfig,
    transports::engine_router,
};

/// How a node listens; what it serves stands in [`ServerConfig`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect. Port 0 takes a free one. Default `0.0.0.0:3000`.
    pub listen: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` answer. Port 0 takes a free one. Default `127.0.0.1:3001`.
    pub internal_listen: SocketAddr,
    /// How long [`RunningNode::shutdown`] lets open sessions go on while it refuses new ones: as long as balancers take to learn that the
    /// node is not ready. Over when none is left. Default zero.
    pub drain: Duration,
    /// How long [`RunningNode::shutdown`] waits for what is under way before it cuts it off; begins when all sessions have been told.
    /// Default 10 s.
    pub shutdown_grace: Duration,
    /// Connections of clients that speak HTTP at one time; above it new ones wait in the kernel's backlog. A WebSocket no longer counts
    /// here, sessions have their own bound in the engine. All of them together leave some file descriptors to the rest of the node: a
    /// connection beyond is closed at once. Default 100 000.
    pub max_connections: usize,
    /// From an accepted connection, or from its last answer, to the end of the next request's head; a connection that takes longer is
    /// closed. Default 30 s.
    pub header_timeout: Duration,
    /// How long the peer of a connection, a WebSocket too, may leave what was sent to it unacknowledged, or its window closed, before
    /// the kernel resets the connection (`TCP_USER_TIMEOUT`; only on Linux). Default 30 s.
    pub send_timeout: Duration,
    /// The same for each client address (an IPv6 client counts by its /64 network): a connection beyond is answered 403, code 4, and
    /// closed. Those of [trusted proxies](ServerConfig::trusted_proxies) are not counted. Default: unbounded, as in the reference.
    pub max_connections_per_address: usize,
    /// What the node serves, and with whom.
    pub server: ServerConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 3000)),
            internal_listen: SocketAddr::from(([127, 0, 0, 1], 3001)),
            drain: Duration::ZERO,
            shutdown_grace: Duration::from_secs(10),
            max_connections: 100_000,
            header_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(30),
            max_connections_per_address: usize::MAX,
            server: ServerConfig::default(),
        }
    }
}

/// Why a node did not start. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An address could not be bound.
    #[error("cannot listen on {address} ({listener} listener)")]
    Listen {
        /// `public` or `internal`.
        listener: &'static str,
        /// The address as configured.
        address: SocketAddr,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The configuration contradicts itself.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A handler could not be registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// Starts nodes; has no values of its own.
#[derive(Debug)]
pub enum Node {}

impl Node {
    /// Binds both listeners, joins the cluster through `adapter` and serves. Waits for neither the backend nor other nodes.
    ///
    /// Where `server.cluster.advertise` is empty, peers are told the address of the internal listener, unless that is a wildcard. The node
    /// asks itself there, again and again until it was answered; what is wrong stands in the log, and the metric
    /// `fanfare_advertise_verified` is 0 until then.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(config: Config, adapter: Arc<dyn Adapter>) -> Result<RunningNode, StartError> {
        Self::start_with(config, adapter, |_| Ok(())).await
    }

    /// The same, with handlers that `prepare` registers before the first client is accepted: one that reconnects at once finds its
    /// namespaces.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start_with(
        config: Config,
        adapter: Arc<dyn Adapter>,
        prepare: impl FnOnce(&Io) -> Result<(), RegisterError>,
    ) -> Result<RunningNode, StartError> {
        checks::check_node(&config)?;
        let Config {
            listen,
            internal_listen,
            drain,
            shutdown_grace,
            max_connections,
            header_timeout,
            send_timeout,
            max_connections_per_address,
            mut server,
        } = config;
        let (public, public_addr) = bind("public", listen).await?;
        let (internal, internal_addr) = bind("internal", internal_listen).await?;
        if server.cluster.advertise.is_empty() && !internal_addr.ip().is_unspecified() {
            server.cluster.advertise = internal_addr.to_string();
        }
        let advertise = server.cluster.advertise.clone();
        let server = Server::builder().config(server).adapter(adapter).build()?;
        if let Err(error) = prepare(server.io()) {
            server.close(Duration::ZERO).await;
            return Err(error.into());
        }
        let bounds = |whose, places| Bounds {
            whose,
            places,
            header_timeout,
            send_timeout,
        };
        let clients = bounds(server.clients(max_connections_per_address), max_connections);
        let public = Accepting::start(public, public_addr, server.router(), clients, server.http_connections());
        let internal = Accepting::start(
            internal,
            internal_addr,
            server.internal_router(),
            bounds(Whose::Operators, internal::PLACES),
            Arc::default(),
        );
        Ok(RunningNode {
            verifying: AbortOnDropHandle::new(tokio::spawn(server.verify_advertise(advertise))),
            server,
            public,
            internal,
            drain,
            grace: shutdown_grace,
        })
    }
}

async fn bind(listener: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = async {
        let bound = TcpListener::bind(address).await?;
        let address = bound.local_addr()?;
        Ok((bound, address))
    };
    bound.await.map_err(|source| StartError::Listen { listener, address, source })
}

/// A node that serves. End it with [`RunningNode::shutdown`]: dropping it closes the listeners, but says goodbye to nobody.
#[derive(Debug)]
#[must_use = "a node that is dropped stops serving"]
pub struct RunningNode {
    /// Ends with the node.
    verifying: AbortOnDropHandle<()>,
    server: Server,
    public: Accepting,
    internal: Accepting,
    drain: Duration,
    grace: Duration,
}

impl RunningNode {
    /// Namespaces, rooms and sockets: where handlers are registered and events are emitted.
    #[must_use]
    pub fn io(&self) -> &Io {
        self.server.io()
    }

    /// Where clients connect.
    #[must_use]
    pub fn public_addr(&self) -> SocketAddr {
        self.public.address()
    }

    /// Where `/livez`, `/readyz` and `/metrics` answer.
    #[must_use]
    pub fn internal_addr(&self) -> SocketAddr {
        self.internal.address()
    }

    /// Answers `/readyz` with 503 and opens no session any more; after [`drain`](Config::drain) ends every one with `server shutting
    /// down`, one after the other, so that clients come back elsewhere and not all at once; then, within the configured grace, stops
    /// accepting, says goodbye to the other nodes, and ends every task and connection.
    pub async fn shutdown(self) {
        self.verifying.abort();
        self.server.drain(self.drain).await;
        self.server.pace_sessions().await;
        let deadline = Instant::now() + self.grace;
        let left = || deadline.saturating_duration_since(Instant::now());
        self.server.close_sessions(left() / 2).await;
        self.server.release_forwarded();
        self.public.stop();
        self.server.close(left()).await;
        self.public.finished(left()).await;
        // Last, so that probes hear a reason and not a refused connection as long as clients are served.
        self.internal.stop();
        self.internal.finished(Duration::ZERO).await;
    }
}
