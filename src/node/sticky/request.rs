//! What of a client's request its session's owner is told, and how the owner reads it: built anew from what was parsed, with the headers
//! that matter. Who the client is stands in headers that are signed with the request.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use axum::{body::Body, extract::ConnectInfo, response::Response};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, REFERER,
        SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE, USER_AGENT,
    },
    request::Parts,
};
use http_body::Body as _;

use crate::node::internal::SIGNATURE;

/// Where an internal listener takes requests for its node's sessions; the client's own path follows.
pub(in crate::node) const PREFIX: &str = "/sessions";

/// The client's address and the host that it asked for.
const CLIENT: HeaderName = HeaderName::from_static("fanfare-client");
const CLIENT_HOST: HeaderName = HeaderName::from_static("fanfare-host");

/// Of a request: it is not the client's, but asks the owner to answer the poll of the session that waits.
const RELEASE: HeaderName = HeaderName::from_static("fanfare-release");

/// Of an answer: for how many microseconds the owner had the request. One without it is not of a session.
pub(super) const HELD: HeaderName = HeaderName::from_static("fanfare-held");

/// What an owner looks at, and an application's hooks may.
const PASSED: [HeaderName; 9] = [
    ACCEPT,
    ACCEPT_ENCODING,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    ORIGIN,
    REFERER,
    USER_AGENT,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-mode"),
];

/// The same of an upgrade.
const OF_UPGRADE: [HeaderName; 6] = [
    CONNECTION,
    UPGRADE,
    SEC_WEBSOCKET_EXTENSIONS,
    SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION,
];

/// What an answer says of one connection, or of one hop.
const OF_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    HELD,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Who a request is from, as the node knows that the client has reached.
#[derive(Debug, Clone, Copy)]
pub(in crate::node) struct Client<'a> {
    pub(in crate::node) address: Option<IpAddr>,
    /// The host that it asked for.
    pub(in crate::node) host: Option<&'a str>,
}

/// A client's request as its owner gets it, and its body's length where the client tells.
pub(super) fn forwarded(head: &Parts, body: Body, client: Client<'_>) -> (Request<Body>, Option<u64>) {
    let length = body.size_hint().exact();
    let mut request = rebuilt(head, client, &PASSED).map(|()| body);
    if let Some(length) = length.filter(|_| head.method == Method::POST) {
        request.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    (request, length)
}

/// Asks the owner of a client's poll to answer it.
pub(super) fn releasing(head: &Parts, client: Client<'_>) -> (Request<Body>, Option<u64>) {
    let mut request = rebuilt(head, client, &PASSED).map(|()| Body::empty());
    request.headers_mut().insert(RELEASE, HeaderValue::from_static("1"));
    (request, Some(0))
}

/// Whether a request that a node has sent asks for no more than that.
pub(in crate::node) fn releases(head: &Parts) -> bool {
    head.headers.contains_key(RELEASE)
}

/// The same of a request that wants to become a WebSocket.
pub(super) fn upgrading(head: &Parts, client: Client<'_>) -> Request<Body> {
    let mut request = rebuilt(head, client, &PASSED);
    copy(&head.headers, request.headers_mut(), &OF_UPGRADE);
    request.map(|()| Body::empty())
}

fn rebuilt(head: &Parts, Client { address, host }: Client<'_>, passed: &[HeaderName]) -> Request<()> {
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::new(());
    *request.method_mut() = head.method.clone();
    // A path that has been parsed is one with something before it, too.
    *request.uri_mut() = format!("{PREFIX}{path}").parse().unwrap_or_default();
    let headers = request.headers_mut();
    copy(&head.headers, headers, passed);
    let told = [
        (CLIENT, address.map(|address| address.to_string())),
        (CLIENT_HOST, host.map(str::to_owned)),
    ];
    for (name, value) in told {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    }
    request
}

fn copy(from: &HeaderMap, to: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name, value.clone());
        }
    }
}

/// The client's request, of one that a node has handed on; that it may be believed was looked at.
pub(in crate::node) fn received(mut head: Parts) -> Parts {
    let path = head.uri.path_and_query().and_then(|path| path.as_str().strip_prefix(PREFIX));
    head.uri = path.and_then(|path| path.parse().ok()).unwrap_or_else(|| Uri::from_static("/"));
    let address = head
        .headers
        .get(CLIENT)
        .and_then(|value| value.to_str().ok()?.parse::<IpAddr>().ok());
    head.extensions.remove::<ConnectInfo<SocketAddr>>();
    if let Some(address) = address {
        head.extensions.insert(ConnectInfo(SocketAddr::from((address, 0))));
    }
    match head.headers.remove(CLIENT_HOST) {
        Some(host) => drop(head.headers.insert(HOST, host)),
        None => drop(head.headers.remove(HOST)),
    }
    head.headers.remove(CLIENT);
    head.headers.remove(SIGNATURE);
    head
}

/// Notes how long the owner had a request that it has had since `begun`.
pub(in crate::node) fn held(answer: &mut Response, begun: Instant) {
    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
    answer.headers_mut().insert(HELD, micros.into());
}

/// An owner's answer as the client gets it, and for how long the owner had the request.
pub(super) fn returned<B>(answer: Response<B>) -> (Response, Duration)
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let held = answer.headers().get(HELD).and_then(|held| held.to_str().ok()?.parse().ok());
    let mut answer = answer.map(Body::new);
    for name in &OF_CONNECTION {
        answer.headers_mut().remove(name);
    }
    (answer, Duration::from_micros(held.unwrap_or(0)))
}
