//! A request that becomes a WebSocket (RFC 6455, section 4.2).

use axum::{extract::Request, response::Response};
use http::{
    HeaderMap, HeaderValue, StatusCode, Version,
    header::{CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE},
    request::Parts,
};
use hyper::upgrade::Upgraded;
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::net::TcpStream;

use super::{
    sticky::Sticky,
    transports::{Transports, owner, response},
    watched::Watched,
};
use crate::{
    engine::{self, Admitted, Candidate, Io, Reply},
    protocol::engineio::handshake::{Flaw, Refusal},
};

/// Who gets the connection when it is a WebSocket.
pub(super) enum Taker {
    Session(Admitted),
    Probe(Candidate),
}

impl Taker {
    /// Hands over a connection on which 101 was answered. `read` is what was read of it beyond the request.
    pub(super) async fn take(self, io: Io, read: &[u8]) {
        match self {
            Self::Session(admitted) => {
                if let Some(head_start) = admitted.head_start() {
                    tokio::time::sleep(head_start).await;
                }
                admitted.open_websocket(io, read);
            }
            Self::Probe(candidate) => candidate.probe(io, read),
        }
    }
}

/// Answers 101, and hands the connection to the engine as soon as HTTP lets go of it; or refuses.
pub(super) async fn answer(transports: &Transports, request: Request, sticky: Option<&Sticky>) -> Response {
    let (head, body) = request.into_parts();
    if let Some((sticky, owner)) = owner(sticky, &head).filter(|_| !transports.has(&head)) {
        transports.counters.session_requests.increment();
        if let Err(refusal) = transports.check(&head).await {
            transports.note(&refusal, &head);
            return closing(response(Reply::refused_upgrade(&refusal)));
        }
        let client = head.clone();
        let request = Request::from_parts(head, body);
        let answer = sticky.upgrade(&owner, request, transports.client(&client)).await;
        return match answer.status() {
            StatusCode::SWITCHING_PROTOCOLS => answer,
            _ => closing(answer),
        };
    }
    let (taker, answer) = match decide(transports, &head).await {
        Ok(decided) => decided,
        Err(refused) => return refused,
    };
    let connection = hyper::upgrade::on(Request::from_parts(head, body));
    tokio::spawn(async move {
        if let Ok(upgraded) = connection.await {
            let (io, read) = recover(upgraded);
            taker.take(io, &read).await;
        }
    });
    answer
}

/// Who takes the connection, and the whole answer 101; or the answer that it is not to be.
pub(super) async fn decide(transports: &Transports, head: &Parts) -> Result<(Taker, Response), Response> {
    let refused = |refusal: Refusal| {
        transports.note(&refusal, head);
        closing(response(Reply::refused_upgrade(&refusal)))
    };
    if head.method != http::Method::GET {
        return Err(refused(Refusal::BadHandshakeMethod));
    }
    let origin = head.headers.get(ORIGIN).map(HeaderValue::as_bytes);
    let query = head.uri.query().unwrap_or_default();
    let mut upgrade = transports.engine.upgrade(query, origin).map_err(refused)?;
    let mut answer = switching(head).ok_or_else(|| {
        let mut answer = refused(Refusal::BadRequest(Flaw::TransportHandshake));
        answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        answer
    })?;
    transports.check(head).await.map_err(refused)?;
    if let Some(protocol) = subprotocol(&head.headers) {
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let offers = head.headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
    if let Some(extensions) = upgrade.negotiate(offers.iter().filter_map(|offers| offers.to_str().ok())) {
        answer
            .headers_mut()
            .insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(extensions));
    }
    match upgrade {
        engine::Upgrade::Probe(candidate) => {
            transports.hooks.every(answer.headers_mut(), Some(head));
            Ok((Taker::Probe(candidate), answer))
        }
        engine::Upgrade::Open(admission) => match admission.admit(transports.arrival(head)) {
            Ok(admitted) => {
                transports.greet(&mut answer, head);
                Ok((Taker::Session(admitted), answer))
            }
            Err(not_admitted) => Err(match not_admitted.refusal() {
                Some(refusal) => refused(refusal),
                None => closing(response(Reply::not_admitted(not_admitted))),
            }),
        },
    }
}

/// The connection below HTTP, and a copy of what was read beyond the request: hyper's buffer of 8 KiB and more is not kept alive.
fn recover(upgraded: Upgraded) -> (Io, Vec<u8>) {
    match auto::upgrade::downcast::<TokioIo<Watched>>(upgraded) {
        Ok(parts) => {
            let (stream, unread) = parts.io.into_inner().into_parts();
            (Io::Tcp(stream), [parts.read_buf, unread].concat())
        }
        // A server that does not tell HTTP/1 from HTTP/2 by itself, or a connection that is not plain TCP.
        Err(upgraded) => match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Io::Tcp(parts.io.into_inner()), parts.read_buf.to_vec()),
            Err(upgraded) => (Io::Boxed(Box::new(TokioIo::new(upgraded))), Vec::new()),
        },
    }
}

/// The answer 101 to a complete opening handshake.
fn switching(head: &Parts) -> Option<Response> {
    let values = |name| head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let accept = engine::accept(values).filter(|_| head.version == Version::HTTP_11)?;
    let accept = HeaderValue::try_from(accept).ok()?;
    let mut answer = response(Reply::empty(StatusCode::SWITCHING_PROTOCOLS.as_u16()));
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Some(answer)
}

/// The first subprotocol on offer, which the reference takes whatever it is: browsers fail a WebSocket whose offer is not answered.
fn subprotocol(request: &HeaderMap) -> Option<HeaderValue> {
    let offered = request.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let first = offered.split(',').next()?.trim();
    HeaderValue::from_str(first).ok().filter(|first| !first.is_empty())
}

/// The client wanted to speak something else: HTTP ends here.
fn closing(mut answer: Response) -> Response {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
