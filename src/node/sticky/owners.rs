//! Connections to the owners of sessions: one of HTTP/2 to each, with a stream for each request that is under way.
//!
//! A node that is stopped keeps its connections open and says nothing, as does one that has nothing to say for a poll. So an owner that has
//! said nothing for a while is asked whether it lives before it gets a request.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::body::Body;
use http::{Request, Response, Uri, uri::PathAndQuery};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use tokio::time::{error::Elapsed, timeout};

use super::Owner;
use crate::node::internal::{AskError, Internal, resolved};

/// Requests that may be under way to one owner at one time.
pub(in crate::node) const STREAMS: u32 = 100_000;

/// Bytes of one body, either way, that may be under way to an end which does not take them: so few that all bodies together fit into the
/// largest window that a connection can have. A client that takes nothing holds back nobody else.
pub(in crate::node) const STREAM_WINDOW: u32 = CONNECTION_WINDOW / STREAMS;
pub(in crate::node) const CONNECTION_WINDOW: u32 = i32::MAX as u32;

/// How long the silence of a connection with requests under way may last before it is asked for a sign of life, and then until it is given
/// up: what is parked there is answered by then.
pub(super) const SILENCE: Duration = Duration::from_secs(5);

/// How long a connection is kept that nothing is under way on. The other end keeps it for longer.
pub(in crate::node) const UNUSED: Duration = Duration::from_secs(10);

/// What an owner is asked that was silent; it answers to whoever asks.
const SIGN_OF_LIFE: &str = "/livez";

/// Addresses whose last sign of life is remembered; all are forgotten when there are more.
const MAX_OWNERS: usize = 4096;

/// Why an owner has not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// It was not asked: nothing was sent to it that matters.
    #[error("the node cannot be asked: {0}")]
    Mute(AskError),
    /// It was asked, and may have taken the request.
    #[error("the node has not answered: {0}")]
    Broken(Error),
}

#[derive(Debug)]
pub(super) struct Owners {
    client: Client<HttpConnector, Body>,
    connect_timeout: Duration,
    /// When owners have answered last.
    alive: Mutex<HashMap<Arc<str>, Instant>>,
}

impl Owners {
    pub(super) fn new(connect_timeout: Duration) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(connect_timeout));
        let client = Client::builder(TokioExecutor::new())
            .http2_only(true)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_send_buf_size(STREAM_WINDOW as usize)
            // An answer may come after its client has given up, any number of times in the life of a connection.
            .http2_max_local_error_reset_streams(None)
            .http2_keep_alive_interval(SILENCE)
            .http2_keep_alive_timeout(SILENCE)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(UNUSED)
            // Of those that were never written: what was may have been taken, and is not sent again.
            .retry_canceled_requests(true)
            .build(connector);
        Self {
            client,
            connect_timeout,
            alive: Mutex::default(),
        }
    }

    pub(super) const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Signs a request and sends it to its owner, once.
    pub(super) async fn ask(
        &self,
        internal: &Internal,
        owner: &Owner,
        (mut request, length): (Request<Body>, Option<u64>),
    ) -> Result<Response<Incoming>, Unanswered> {
        let address = self.find(internal, owner).await?;
        self.ensure_alive(owner, address).await?;
        // Only what the other node reads is signed: its own name for itself is not.
        internal.signer.sign(&mut request, length, owner.tag);
        *request.uri_mut() = at(address, request.uri().path_and_query().cloned());
        let answer = self.client.request(request).await.map_err(Unanswered::Broken)?;
        self.lives(owner);
        Ok(answer)
    }

    /// Where it is.
    pub(super) async fn find(&self, internal: &Internal, owner: &Owner) -> Result<SocketAddr, Unanswered> {
        let found = timeout(self.connect_timeout, resolved(&owner.address, &internal.networks)).await;
        let late = |elapsed: Elapsed| Err(AskError::Resolve(owner.address.to_string(), elapsed.into()));
        found.unwrap_or_else(late).map_err(Unanswered::Mute)
    }

    /// Whether it has answered lately, or answers now.
    pub(super) async fn ensure_alive(&self, owner: &Owner, address: SocketAddr) -> Result<(), Unanswered> {
        let heard = self
            .alive
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&owner.address)
            .copied();
        if heard.is_some_and(|heard| heard.elapsed() < self.connect_timeout) {
            return Ok(());
        }
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = at(address, Some(PathAndQuery::from_static(SIGN_OF_LIFE)));
        match timeout(self.connect_timeout, self.client.request(request)).await {
            Ok(Ok(_)) => {
                self.lives(owner);
                Ok(())
            }
            Ok(Err(error)) => Err(Unanswered::Mute(AskError::Answer(address, error.into()))),
            Err(elapsed) => Err(Unanswered::Mute(AskError::Answer(address, elapsed.into()))),
        }
    }

    fn lives(&self, owner: &Owner) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        if alive.len() >= MAX_OWNERS && !alive.contains_key(&owner.address) {
            alive.clear();
        }
        alive.insert(Arc::clone(&owner.address), Instant::now());
    }
}

fn at(address: SocketAddr, path: Option<PathAndQuery>) -> Uri {
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let uri = Uri::builder()
        .scheme("http")
        .authority(address.to_string())
        .path_and_query(path)
        .build();
    // An address with its port is an authority.
    uri.unwrap_or_default()
}
