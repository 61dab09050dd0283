//! The internal listener, and what this node asks of others'. `/livez`, `/readyz` and `/metrics` answer to whoever reaches it; everything
//! else only to who is let in: see [`guard`]. The public listener knows none of these paths.

mod advertise;
mod client;
mod guard;
mod peers;
mod replays;
mod signature;

use std::{sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::{RawQuery, Request, State},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use http_body::Body as _;

pub(super) use self::{
    advertise::verify,
    client::{AskError, resolved},
    peers::Peers,
    signature::{Refusal, SIGNATURE, SIGNED, Signer},
};
use self::{
    advertise::{IDENTITY, Identity},
    guard::Guard,
};
use super::{network::Networks, server::Shared, sticky};
use crate::cluster::Keys;

/// Connections at one time: a few probes, a scraper, one of each other node for its polls, and those that are to become WebSockets.
pub(super) const PLACES: usize = 4096;

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
        .route(&format!("{}/{{*path}}", sticky::PREFIX), any(of_session))
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
    match admitted(&server, request) {
        Ok(_) => ([(CACHE_CONTROL, "no-store")], Json(Identity::of(server.origin()))).into_response(),
        Err(refusal) => refused(refusal),
    }
}

/// A client's request for a session of this node that has reached another one.
async fn of_session(State(server): State<Arc<Shared>>, request: Request) -> Response {
    let begun = Instant::now();
    let request = match admitted(&server, request) {
        Ok(request) => request,
        Err(refusal) => return refused(refusal),
    };
    let (head, body) = request.into_parts();
    if sticky::releases(&head) {
        server.release(&sticky::received(head));
        return StatusCode::NO_CONTENT.into_response();
    }
    server.counters().forwarded_here.increment();
    let mut answer = server.answer_here(Request::from_parts(sticky::received(head), body)).await;
    sticky::held(&mut answer, begun);
    answer
}

/// A request of who may ask for more than probes.
fn admitted(server: &Shared, request: Request) -> Result<Request, Refusal> {
    let (head, body) = request.into_parts();
    let admitted = server.internal.guard.admit(&head, body.size_hint().exact(), server.origin().tag);
    admitted.inspect_err(|refusal| server.counters().count_internal_refused(*refusal))?;
    Ok(Request::from_parts(head, body))
}

fn refused(refusal: Refusal) -> Response {
    (StatusCode::FORBIDDEN, refusal.to_string()).into_response()
}
