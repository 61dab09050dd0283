//! The internal listener: `/livez`, `/readyz` and `/metrics`. The public listener knows none of these paths.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{
    StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use super::{peers, server::Shared};

/// Connections at one time: a few probes, a scraper, and the peers that ask.
pub(super) const PLACES: usize = 256;

pub(super) fn router(server: Arc<Shared>) -> Router {
    Router::new()
        .route("/livez", get(async || ([(CACHE_CONTROL, "no-store")], "ok\n")))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
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
