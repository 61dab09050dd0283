//! Asks another node's internal listener: one request, one connection, no redirects.

use std::{io, net::SocketAddr};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::HOST};
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::node::network::Networks;

/// The longest body that is read, in bytes.
const BODY: usize = 4096;

/// Why another node was not asked, or did not answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::node) enum AskError {
    #[error("the address {0:?} cannot be resolved: {1}")]
    Resolve(String, io::Error),
    /// A heartbeat could name any address.
    #[error("the address {0} is outside cluster.networks")]
    Outside(String),
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, io::Error),
    #[error("{0} does not answer: {1}")]
    Answer(SocketAddr, Box<dyn std::error::Error + Send + Sync>),
}

/// Where the node at `address` (`host:port`) is, if it is where nodes are.
pub(in crate::node) async fn resolved(address: &str, networks: &Networks) -> Result<SocketAddr, AskError> {
    let inside = |to: &SocketAddr| networks.contains(to.ip());
    let outside = || AskError::Outside(address.to_owned());
    if let Ok(to) = address.parse() {
        return Some(to).filter(inside).ok_or_else(outside);
    }
    let resolved = tokio::net::lookup_host(address).await;
    let mut resolved = resolved.map_err(|error| AskError::Resolve(address.to_owned(), error))?;
    resolved.find(inside).ok_or_else(outside)
}

/// Asks the node at `address` (`host:port`). The caller bounds the time.
pub(super) async fn ask(address: &str, networks: &Networks, mut request: Request<Body>) -> Result<Response<Bytes>, AskError> {
    let to = resolved(address, networks).await?;
    let stream = TcpStream::connect(to).await.map_err(|error| AskError::Connect(to, error))?;
    let answer = |error: Box<dyn std::error::Error + Send + Sync>| AskError::Answer(to, error);
    let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| answer(error.into()))?;
    if let Ok(host) = HeaderValue::from_str(&to.to_string()) {
        request.headers_mut().insert(HOST, host);
    }
    let ask = async {
        let (head, body) = requests
            .send_request(request)
            .await
            .map_err(|error| answer(error.into()))?
            .into_parts();
        let body = Limited::new(body, BODY).collect().await.map_err(answer)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    // The connection is driven here and dropped with the answer: no task outlives the question. When it ends first, `ask` has either
    // all it needs or its error.
    let drive = async {
        drop(connection.await);
        std::future::pending().await
    };
    tokio::select! {
        answer = ask => answer,
        never = drive => never,
    }
}
