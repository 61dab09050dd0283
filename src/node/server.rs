//! The library's face: a node without listeners.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::Request, response::Response};
use fanfare_adapters::{
    Adapter,
    memory::{self, MemoryBus},
};
use http::{HeaderMap, request::Parts};

use super::{
    ConnectionError, CookieConfig, CorsConfig, HttpCompression, Network, Origins, ReadyConfig,
    accept::Whose,
    checks,
    client_bundle::ClientBundle,
    cookie::Cookie,
    cors::Cors,
    counters::Counters,
    gate::{Forbidden, Gate},
    health::{Canary, Readiness},
    hooks::Hooks,
    internal::{self, Internal, Peers},
    metrics::{Layers, Metrics},
    network::Networks,
    origins::OriginRule,
    proxies::Proxies,
    sticky::{ForwardConfig, Sticky},
    transports::{self, Transports},
};
use crate::{
    cluster::{self, Cluster, Keys, Origin, Purpose, Store},
    engine::{self, Addresses, CloseReason, Counter, Engine, id::OwnTag},
    hub::{self, Hub, Io},
};

/// What a server serves. `ServerConfig::default()` is the reference's behaviour.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where the transports answer: this path, a slash, and anything below. Default `/socket.io`.
    pub path: String,
    /// Whether only what is below the path is served. Without it the bare path (`/socket.io`) is, too; not what merely begins like it
    /// (`/socket.iofoo`), as it would be in the reference. Default `true`.
    pub add_trailing_slash: bool,
    /// Intervals and bounds of Engine.IO sessions.
    pub engine: engine::Config,
    /// Bounds of Socket.IO connections.
    pub hub: hub::Config,
    /// With whom, and how often, this node talks about itself.
    pub cluster: cluster::Config,
    /// Where nodes are: other addresses are neither asked, whatever a peer says, nor let in where only nodes may ask. Default: private and
    /// loopback networks ([`Network::inside`]).
    pub cluster_networks: Vec<Network>,
    /// How requests for sessions of other nodes are handed to them.
    pub forward: ForwardConfig,
    /// Which web pages may open sessions and upgrade them. Default: all, as in the reference.
    pub origins: Origins,
    /// Whose `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host` are believed: the networks of the proxies in front of the
    /// node. The last entry counts that is no such proxy's. Default: nobody's. `Forwarded` (RFC 7239) is not read.
    pub trusted_proxies: Vec<Network>,
    /// Which web pages of other origins may read answers. Default: no CORS headers.
    pub cors: CorsConfig,
    /// The affinity cookie. Default `None`: no cookie.
    pub cookie: Option<CookieConfig>,
    /// Whether the JavaScript client is served below the path, for example as `/socket.io/socket.io.js`. Default `true`.
    pub serve_client: bool,
    /// Compression of answers to polls. Default: of payloads from 1024 bytes on; `None`: of none.
    pub http_compression: Option<HttpCompression>,
    /// Over how long the sessions are closed at the end, one after the other, so that their clients do not all come back at once. Few
    /// take less: at least one goes every 10 ms. Default 5 s; zero closes all at once, as the reference does.
    pub drain_spread: Duration,
    /// When the node stops calling itself ready.
    pub ready: ReadyConfig,
    /// How long the body of a POST may take; a slower one is answered 408, and its session ends. Default 30 s.
    pub body_timeout: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            path: "/socket.io".into(),
            add_trailing_slash: true,
            engine: engine::Config::default(),
            hub: hub::Config::default(),
            cluster: cluster::Config::default(),
            cluster_networks: Network::inside(),
            forward: ForwardConfig::default(),
            origins: Origins::default(),
            trusted_proxies: Vec::new(),
            cors: CorsConfig::default(),
            cookie: None,
            serve_client: true,
            http_compression: Some(HttpCompression::default()),
            drain_spread: Duration::from_secs(5),
            ready: ReadyConfig::default(),
            body_timeout: Duration::from_secs(30),
        }
    }
}

/// Why a server could not be built from its configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The path is not usable in a URL.
    #[error("server.path is {0:?}; expected a path such as \"/socket.io\"")]
    Path(String),
    /// Not an origin as browsers send it.
    #[error("cors.origins has {0:?}; expected a scheme, \"://\", a host and nothing after it, or \"*\"")]
    Origin(String),
    /// The same, in the origins rule.
    #[error("origins has {0:?}; expected a scheme, \"://\", a host and nothing after it")]
    OriginRule(String),
    /// Browsers refuse credentials together with `*`.
    #[error("cors.credentials cannot be combined with the origin \"*\": name the origins")]
    CredentialsForAnyOrigin,
    /// Not a name that can stand in a header.
    #[error("cors.{0} has {1:?}; expected letters, digits and any of ! # $ % & ' * + - . ^ _ ` | ~")]
    CorsList(&'static str, String),
    /// A cookie attribute has characters that a header cannot carry.
    #[error("cookie.{0} has characters that a Set-Cookie header cannot carry")]
    Cookie(&'static str),
    /// The cluster's configuration cannot work, or the adapter serves another node already.
    #[error(transparent)]
    Cluster(#[from] cluster::StartError),
    /// An option has a value with which the server could not serve.
    #[error("{option} is {found}; expected {expected}")]
    Option {
        /// The option, as the builder's method or the field is called.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The metrics could not be registered.
    #[error("cannot register metrics: {0}")]
    Metrics(String),
}

/// A node without listeners: [`Server::router`] goes to axum, [`Server::io`] to the application. A clone is the same server.
#[derive(Debug, Clone)]
pub struct Server(Arc<Shared>);

/// What a server's routes share.
#[derive(Debug)]
pub(super) struct Shared {
    io: Io,
    layers: Layers,
    transports: Arc<Transports>,
    pub(super) metrics: Metrics,
    drain_spread: Duration,
    ready: ReadyConfig,
    pub(super) internal: Arc<Internal>,
    peers: Peers,
    /// Set once, when this node has heard itself for a heartbeat, in which the others have answered it.
    acquainted: AtomicBool,
    /// Set once, when the shutdown begins.
    draining: AtomicBool,
    started: Instant,
}

/// Builds a [`Server`].
#[derive(Debug, Default)]
pub struct Builder {
    pub(super) config: ServerConfig,
    adapter: Option<Arc<dyn Adapter>>,
    store: Option<Store>,
    gate: Gate,
    hooks: Hooks,
}

impl Builder {
    /// Replaces the whole configuration.
    #[must_use]
    pub fn config(mut self, config: ServerConfig) -> Self {
        self.config = config;
        self
    }

    /// Serves under another path than `/socket.io`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.config.path = path.into();
        self
    }

    /// Joins the other nodes through this adapter. Without one the server is a cluster of its own.
    #[must_use]
    pub fn adapter(mut self, adapter: Arc<dyn Adapter>) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// Keeps the logs of recoverable namespaces, and the records of their sessions, in this store. Without one they are kept in the
    /// memory of this node, and clients recover on the node that they left.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.store = Some(store);
        self
    }

    /// Asks `allow` about each request that would open a session, over both transports, and about each upgrade of a session; not about
    /// the polls of one. So for a client that upgrades it is asked twice (the reference asks once): the second time the query has a
    /// `sid`, and a refusal costs the client its upgrade, not its session. A refusal is answered with the reference's code 4. The
    /// clients wait for the verdict, so it is for `allow` to bound its time.
    ///
    /// ```
    /// use fanfare::{Server, node::Forbidden};
    ///
    /// let server = Server::builder().allow_request(|request| {
    ///     let known = request.headers.get("x-api-key").is_some_and(|key| key == "open sesame");
    ///     async move { if known { Ok(()) } else { Err(Forbidden::new("an API key is missing")) } }
    /// });
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn allow_request<F, V>(mut self, allow: F) -> Self
    where
        F: Fn(&Parts) -> V + Send + Sync + 'static,
        V: Future<Output = Result<(), Forbidden>> + Send + 'static,
    {
        self.gate = Gate::new(allow);
        self
    }

    /// Has `add` put headers into the first answer of each session, over both transports: the reference's event `initial_headers`. It
    /// is called after the affinity cookie was set, before [`Builder::headers`], and must not block.
    ///
    /// ```
    /// use fanfare::Server;
    /// use http::HeaderValue;
    ///
    /// let server = Server::builder().initial_headers(|headers, _request| {
    ///     headers.append("set-cookie", HeaderValue::from_static("seen=yes; Path=/"));
    /// });
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn initial_headers(mut self, add: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        self.hooks.initial_headers = Some(Arc::new(add));
        self
    }

    /// Has `add` put headers into every answer of a session (not into refusals), the first included: the reference's event `headers`. It
    /// must not block. With it a poll that waits keeps its request's head in memory.
    ///
    /// ```
    /// use fanfare::Server;
    /// use http::HeaderValue;
    ///
    /// let server = Server::builder().headers(|headers, _request| {
    ///     headers.insert("x-served-by", HeaderValue::from_static("fanfare"));
    /// });
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn headers(mut self, add: impl Fn(&mut HeaderMap, &Parts) + Send + Sync + 'static) -> Self {
        self.hooks.headers = Some(Arc::new(add));
        self
    }

    /// Tells `hear` of every request that is refused with a code: the reference's event `connection_error`. It must not block. The
    /// metric `fanfare_connection_errors_total` counts them, too.
    ///
    /// ```
    /// use fanfare::Server;
    ///
    /// let server = Server::builder().on_connection_error(|error| {
    ///     eprintln!("{} refused: {} ({})", error.request.uri, error.message, error.code);
    /// });
    /// # drop(server);
    /// ```
    #[must_use]
    pub fn on_connection_error(mut self, hear: impl Fn(&ConnectionError<'_>) + Send + Sync + 'static) -> Self {
        self.hooks.connection_error = Some(Arc::new(hear));
        self
    }

    /// Starts the server. Must be called within a tokio runtime; until [`Server::close`] it runs tasks there.
    ///
    /// # Errors
    /// [`BuildError`]; nothing runs then.
    pub fn build(self) -> Result<Server, BuildError> {
        let Self {
            config,
            adapter,
            store,
            gate,
            hooks,
        } = self;
        checks::check(&config)?;
        let adapter = adapter.unwrap_or_else(|| Arc::new(MemoryBus::new().adapter(memory::Config::default())));
        let ServerConfig {
            path,
            add_trailing_slash,
            engine,
            hub,
            cluster,
            cluster_networks,
            forward,
            origins,
            trusted_proxies,
            cors,
            cookie,
            serve_client,
            http_compression,
            drain_spread,
            ready,
            body_timeout,
        } = config;

        // Everything that can be wrong is looked at before anything runs.
        let tag = OwnTag::random();
        let path = transports::checked_path(&path)?;
        let cors = Cors::new(&cors)?;
        let cookie = cookie.map(|cookie| Cookie::new(&cookie, tag.clone())).transpose()?;
        let origins = OriginRule::new(origins)?;

        let internal = Internal::new(Keys::new(&cluster.secrets, Purpose::Requests), Networks::new(cluster_networks));
        let internal = Arc::new(internal);
        let recovery = hub.connection_state_recovery.as_ref();
        let store = recovery.map(|recovery| store.unwrap_or_else(|| Store::of_this_node(recovery)));
        let hub = Hub::new(hub, tag.clone());
        let cluster = Cluster::start(cluster, Arc::clone(&hub), Arc::clone(&adapter))?;
        if let Some(store) = store {
            cluster.keep(store)?;
        }
        let engine = Engine::new(engine, tag, Arc::clone(&hub) as _);
        let io = Io::new(Arc::clone(&hub), Arc::clone(&cluster) as _);
        let layers = Layers {
            engine,
            hub,
            cluster,
            adapter,
            http_connections: Arc::default(),
            node: Arc::default(),
        };
        let metrics = Metrics::new(&layers)?;
        let sticky = Sticky::new(&forward, &layers, &internal, metrics.forward_seconds());
        Ok(Server(Arc::new(Shared {
            io,
            metrics,
            transports: Arc::new(Transports {
                add_trailing_slash,
                proxies: Proxies::new(trusted_proxies),
                origins,
                gate,
                cors,
                cookie,
                hooks,
                compression: http_compression,
                body_timeout,
                bundle: serve_client.then(ClientBundle::new),
                counters: Arc::clone(&layers.node),
                sticky: Some(sticky),
                ..Transports::bare(path, Arc::clone(&layers.engine))
            }),
            layers,
            drain_spread,
            ready,
            internal,
            peers: Peers::default(),
            acquainted: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            started: Instant::now(),
        })))
    }
}

impl Server {
    /// A server with the default configuration and no other nodes, until told otherwise.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Namespaces, rooms and sockets: where handlers are registered and events are emitted.
    #[must_use]
    pub fn io(&self) -> &Io {
        &self.0.io
    }

    /// Routes for the transports and the JavaScript client; to be served as it is or merged into an application's own router.
    ///
    /// What the application's router does not know, an upgrade included, is its own to answer: the reference's `destroyUpgrade` has no
    /// place here. Layers around these routes see every request, as the reference's `engine.use` does.
    ///
    /// Clients' addresses are known when it is served with
    /// [`into_make_service_with_connect_info`](Router::into_make_service_with_connect_info).
    pub fn router(&self) -> Router {
        transports::router(&self.0.transports)
    }

    /// Whose connections a listener for clients takes.
    pub(super) fn clients(&self, max_per_address: usize) -> Whose {
        let transports = &self.0.transports;
        Whose::Clients {
            addresses: Addresses::new(max_per_address),
            transports: Arc::clone(transports),
        }
    }

    /// Routes for `/livez`, `/readyz` and `/metrics`, and for what other nodes ask. They belong on a listener that clients cannot reach, and
    /// want to know their peers' addresses, as [`Server::router`] does.
    ///
    /// A [`Node`](crate::node::Node) serves them better than `axum::serve` can: there the polls that come from one other node share an HTTP/2
    /// connection of hyper's defaults, 200 of them at one time, and one beyond waits for another to be answered; clients that take nothing
    /// may hold up the others; and a session whose poll came through a node that dies ends with that node.
    pub fn internal_router(&self) -> Router {
        super::internal::router(Arc::clone(&self.0))
    }

    /// Finds out whether other nodes can reach this one at this address, if it has told them one.
    pub(super) fn verify_advertise(&self, address: String) -> impl Future<Output = ()> + Send + use<> {
        let server = Arc::clone(&self.0);
        async move {
            if !address.is_empty() {
                internal::verify(&server, &address).await;
            }
        }
    }

    /// The gauge of connections that speak HTTP, for whoever accepts them.
    pub(super) fn http_connections(&self) -> Arc<Counter> {
        Arc::clone(&self.0.layers.http_connections)
    }

    /// Begins a shutdown: from now on `/readyz` says no, and a client that wants a session is answered 503 with `Retry-After`. Sessions
    /// that are open go on, for `time`, or until none is left; then this returns, and [`Server::close`] is next. (The reference has no
    /// such phase.)
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn stop(server: fanfare::Server) {
    /// // Balancers learn meanwhile that this node is not ready.
    /// server.drain(Duration::from_secs(15)).await;
    /// server.close(Duration::from_secs(10)).await;
    /// # }
    /// ```
    pub async fn drain(&self, time: Duration) {
        self.0.draining.store(true, Ordering::Relaxed);
        let engine = &self.0.layers.engine;
        engine.drain();
        // Without a time the sessions hear of it as soon as the probes do: no wait stands between.
        if !time.is_zero() {
            // Sessions that are still there at the end of the time are no failure.
            tokio::time::timeout(time, engine.drained()).await.ok();
        }
    }

    /// Tells all sessions `server shutting down`, one after the other. A polling client hears it in its next poll: whoever listens for
    /// clients goes on until [`Server::close_sessions`] returns.
    pub(super) async fn pace_sessions(&self) {
        let Shared { layers, drain_spread, .. } = &*self.0;
        layers.engine.close_paced(CloseReason::ServerShuttingDown, *drain_spread).await;
    }

    /// Lets go of what was handed to other nodes: polls are answered and WebSockets closed, and their clients find another way there.
    pub(super) fn release_forwarded(&self) {
        if let Some(sticky) = &self.0.transports.sticky {
            sticky.release();
        }
    }

    /// Waits for the end of all sessions, and ends them within `grace`.
    pub(super) async fn close_sessions(&self, grace: Duration) {
        self.0.layers.engine.close(CloseReason::ServerShuttingDown, grace).await;
    }

    /// Ends every session with `server shutting down` (clients come back, to another node), over the time of
    /// [`drain_spread`](ServerConfig::drain_spread); then says goodbye to the other nodes, and ends every task, all within `grace`.
    /// Idempotent.
    pub async fn close(&self, grace: Duration) {
        self.drain(Duration::ZERO).await;
        self.pace_sessions().await;
        let begun = Instant::now();
        let until = |part: Duration| (begun + part).saturating_duration_since(Instant::now());
        let Layers { hub, cluster, .. } = &self.0.layers;
        // Top down, so that what a disconnect handler emits still goes out; a handler that hangs leaves time for the goodbye.
        self.close_sessions(until(grace / 2)).await;
        self.release_forwarded();
        hub.close(until(grace * 3 / 4)).await;
        cluster.close(until(grace)).await;
        self.0.metrics.close();
    }
}

impl Shared {
    /// Answers the poll that waits for the session which a request names.
    pub(super) fn release(&self, head: &Parts) {
        self.transports.release(head);
    }

    /// Answers a request for a session of this node, and of no other.
    pub(super) async fn answer_here(&self, request: Request) -> Response {
        self.transports.answer(request, None).await
    }

    /// What `/readyz` says now.
    pub(super) async fn readiness(&self, may_ask_peers: bool) -> Readiness {
        let canary = self.canary();
        let peer_hears = may_ask_peers && self.ready.must_ask_peers(canary) && self.any_peer_hears().await;
        let readiness = self.ready.judge(canary, peer_hears);
        if self.draining.load(Ordering::Relaxed) {
            readiness.draining()
        } else {
            readiness
        }
    }

    async fn any_peer_hears(&self) -> bool {
        let outside = &self.layers.node.peers_outside;
        let (addresses, networks) = (self.peer_addresses(), &self.internal.networks);
        self.peers.any_hears(&addresses, self.ready.grace, networks, outside).await
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.layers.node
    }

    /// Who this node is to the others.
    pub(super) fn origin(&self) -> Origin {
        self.layers.cluster.origin()
    }

    fn canary(&self) -> Canary {
        let health = self.layers.cluster.health();
        match (health.deaf_since, health.canary_age) {
            (None, Some(_)) => {
                let time = health.hearing_since.map(|since| since.elapsed()).unwrap_or_default();
                if time >= self.layers.cluster.config().heartbeat {
                    self.acquainted.store(true, Ordering::Relaxed);
                }
                if self.acquainted.load(Ordering::Relaxed) {
                    Canary::Heard(time)
                } else {
                    Canary::Fresh(time)
                }
            }
            (Some(since), Some(_)) => Canary::Missing(since.elapsed()),
            (_, None) => Canary::Awaited(self.started.elapsed()),
        }
    }

    fn peer_addresses(&self) -> Vec<String> {
        let members = self.layers.cluster.members();
        members
            .iter()
            .map(|member| member.advertise.to_string())
            .filter(|address| !address.is_empty())
            .collect()
    }
}
