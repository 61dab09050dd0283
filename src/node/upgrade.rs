//! A request that becomes a WebSocket (RFC 6455, section 4.2).

use axum::{extract::Request, response::Response};
use http::{
    HeaderMap, HeaderValue, StatusCode, Version,
    header::{CONNECTION, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE},
};
use hyper::upgrade::Upgraded;
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::net::TcpStream;

use super::transports::{Transports, arrival, response};
use crate::{
    engine::{self, Io, Reply},
    protocol::engineio::handshake::Refusal,
};

/// Answers 101, and hands the connection to the engine as soon as HTTP lets go of it; or refuses.
pub(super) async fn answer(transports: &Transports, request: Request) -> Response {
    if request.method() != http::Method::GET {
        return refused(&Refusal::BadHandshakeMethod);
    }
    let origin = request.headers().get(ORIGIN).map(HeaderValue::as_bytes);
    let upgrade = match transports.engine.upgrade(request.uri().query().unwrap_or_default(), origin) {
        Ok(upgrade) => upgrade,
        Err(refusal) => return refused(&refusal),
    };
    let values = |name| request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
    let accept = engine::accept(values).filter(|_| request.version() == Version::HTTP_11);
    let Some(accept) = accept.and_then(|accept| HeaderValue::try_from(accept).ok()) else {
        let mut answer = refused(&Refusal::BadRequest);
        answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return answer;
    };
    let (head, body) = request.into_parts();
    if let engine::Upgrade::Open(_) = upgrade
        && let Err(refusal) = transports.gate.pass(&head).await
    {
        return refused(&refusal);
    }
    let mut request = Request::from_parts(head, body);
    let mut answer = switching(accept);
    if let Some(protocol) = subprotocol(request.headers()) {
        answer.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let connection = hyper::upgrade::on(&mut request);
    match upgrade {
        engine::Upgrade::Open(admission) => {
            if !admission.has_room() {
                return closing(response(Reply::empty(StatusCode::SERVICE_UNAVAILABLE.as_u16())));
            }
            let arrival = arrival(&request.into_parts().0);
            transports.set_cookie(&mut answer);
            tokio::spawn(async move {
                if let Ok(upgraded) = connection.await {
                    let (io, read) = recover(upgraded);
                    admission.open_websocket(io, &read, arrival);
                }
            });
        }
        engine::Upgrade::Probe(candidate) => {
            tokio::spawn(async move {
                if let Ok(upgraded) = connection.await {
                    let (io, read) = recover(upgraded);
                    candidate.probe(io, &read);
                }
            });
        }
    }
    answer
}

/// The connection below HTTP, and a copy of what was read beyond the request: hyper's buffer of 8 KiB and more is not kept alive.
fn recover(upgraded: Upgraded) -> (Io, Vec<u8>) {
    match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => (Io::Tcp(parts.io.into_inner()), parts.read_buf.to_vec()),
        // A server that does not tell HTTP/1 from HTTP/2 by itself, or a connection that is not plain TCP.
        Err(upgraded) => match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Io::Tcp(parts.io.into_inner()), parts.read_buf.to_vec()),
            Err(upgraded) => (Io::Boxed(Box::new(TokioIo::new(upgraded))), Vec::new()),
        },
    }
}

fn switching(accept: HeaderValue) -> Response {
    let mut answer = response(Reply::empty(StatusCode::SWITCHING_PROTOCOLS.as_u16()));
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// The first subprotocol on offer, which the reference takes whatever it is: browsers fail a WebSocket whose offer is not answered.
fn subprotocol(request: &HeaderMap) -> Option<HeaderValue> {
    let offered = request.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let first = offered.split(',').next()?.trim();
    HeaderValue::from_str(first).ok().filter(|first| !first.is_empty())
}

fn refused(refusal: &Refusal) -> Response {
    closing(response(Reply::refused_upgrade(refusal)))
}

/// The client wanted to speak something else: HTTP ends here.
fn closing(mut answer: Response) -> Response {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}
