//! The internal listener, and what this node asks of others'. `/livez`, `/readyz` and `/metrics` answer to whoever reaches it; everything
//! else only to who is let in: see [`guard`]. The public listener knows none of these paths.

mod advertise;
mod client;
mod guard;
mod peers;
mod replays;
mod signature;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{RawQuery, Request, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body::Body as _;

pub(super) use self::{
    advertise::verify,
    peers::Peers,
    signature::{Refusal, Signer},
};
use self::{
    advertise::{IDENTITY, Identity},
    guard::Guard,
};
use super::{network::Networks, server::Shared};
use crate::cluster::Keys;

/// Connections at one time: a few probes, a scraper, and the peers that ask.
pub(super) const PLACES: usize = 256;

/// What a node needs to ask others and to be asked.
#[derive(Debug)]
pub(super) struct Internal {
    pub(super) signer: Signer,
    guard: Guard,
    /// Where nodes are: nobody else is asked, or let in.
    pub(super) networks: Networks,
}

impl Internal {
    pub(super) fn new(keys: Keys, networks: Networks) -> Self {
        Self {
            signer: Signer::new(keys.clone()),
            guard: Guard::new(keys, networks.clone()),
            networks,
        }
    }
}

pub(super) fn router(server: Arc<Shared>) -> Router {
    Router::new()
        .route("/livez", get(async || ([(CACHE_CONTROL, "no-store")], "ok\n")))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route(IDENTITY, get(identity))
        .with_state(server)
}

/// 200 or 503, and why. With `?peers=no` peers are not asked: that is how they ask.
async fn readyz(State(server): State<Arc<Shared>>, RawQuery(query): RawQuery) -> Response {
    let may_ask = query.as_deref() != peers::QUESTION.split_once('?').map(|(_, query)| query);
    let readiness = server.readiness(may_ask).await;
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, [(CACHE_CONTROL, "no-store")], Json(readiness)).into_response()
}

async fn metrics(State(server): State<Arc<Shared>>) -> Response {
    match server.metrics.render() {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Who this node is, for who is let in.
async fn identity(State(server): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let origin = server.origin();
    match server.internal.guard.admit(&head, body.size_hint().exact(), origin.tag) {
        Ok(()) => ([(CACHE_CONTROL, "no-store")], Json(Identity::of(origin))).into_response(),
        Err(refusal) => {
            server.counters().count_internal_refused(refusal);
            (StatusCode::FORBIDDEN, refusal.to_string()).into_response()
        }
    }
}
