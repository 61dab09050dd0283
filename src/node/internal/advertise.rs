//! Whether others reach this node where it says they do: it asks itself there, once its listener is up.

use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::{client::ask, signature::Refusal};
use crate::{cluster::Origin, node::server::Shared};

/// Where a node says who it is.
pub(super) const IDENTITY: &str = "/identity";

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause between two attempts, doubled each time: a name may be known to resolvers only a while after the node is up.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Who a node is.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(super) struct Identity {
    tag: String,
    epoch: u64,
}

impl Identity {
    pub(super) fn of(origin: Origin) -> Self {
        Self {
            tag: origin.tag.to_string(),
            epoch: origin.epoch,
        }
    }
}

/// Asks until the node itself has answered; says in the log what is wrong when that changes.
pub(in crate::node) async fn verify(server: &Shared, address: &str) {
    let (mut pause, mut said) = (FIRST_PAUSE, String::new());
    loop {
        let Err(problem) = timeout(PATIENCE, attempt(server, address))
            .await
            .unwrap_or_else(|_| Err("it does not answer".into()))
        else {
            break;
        };
        if problem != said {
            tracing::warn!(address, problem, "other nodes may not reach this one at its cluster.advertise");
            said = problem;
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    server.counters().set_advertise_verified();
    if said.is_empty() {
        tracing::debug!(address, "this node has reached itself at its cluster.advertise");
    } else {
        tracing::info!(address, "this node reaches itself at its cluster.advertise now");
    }
}

async fn attempt(server: &Shared, address: &str) -> Result<(), String> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static(IDENTITY);
    let own = server.origin();
    server.internal.signer.sign(&mut request, Some(0), own.tag);
    let answer = ask(address, &server.internal.networks, request)
        .await
        .map_err(|error| error.to_string())?;
    match answer.status() {
        StatusCode::OK if serde_json::from_slice(answer.body()).is_ok_and(|told: Identity| told == Identity::of(own)) => Ok(()),
        StatusCode::FORBIDDEN if answer.body() == &Refusal::Target.to_string() => Err("another node is there".into()),
        StatusCode::FORBIDDEN => Err(String::from_utf8_lossy(answer.body()).into_owned()),
        status => Err(format!("what is there is not this node; it answers {status}")),
    }
}
