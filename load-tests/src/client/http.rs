//! Requests of HTTP/1.1, one after the other, over connections that are kept alive.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Uri,
    client::conn::http1,
    header::{CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderValue, InvalidHeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

use super::{ClientError, route::Way};

/// A connection that was idle for longer is not used again: servers close those that are (the reference after 5 s), and a request that
/// meets the end of its connection would be lost.
const KEPT: Duration = Duration::from_secs(3);

type Driver = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// Sends requests one after the other, over at most one connection to each target.
pub(super) struct Lane {
    /// The connections that are not in use, by the number of their target.
    idle: Vec<Option<Connection>>,
    under_way: Option<BoxFuture<'static, Result<(Connection, Answer), ClientError>>>,
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) method: Method,
    /// Path and query.
    pub(super) uri: Uri,
    pub(super) cookie: Option<HeaderValue>,
    pub(super) body: Bytes,
}

/// What a server answers with status 200.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// One connection. Nobody but the request on it drives it: no task stands between a client and its socket.
struct Connection {
    /// The number of the target.
    target: usize,
    host: HeaderValue,
    requests: http1::SendRequest<Full<Bytes>>,
    driver: Driver,
    ended: bool,
    used: Instant,
}

impl Lane {
    /// One without connections, to so many targets.
    pub(super) fn new(targets: usize) -> Self {
        Self {
            idle: (0..targets).map(|_| None).collect(),
            under_way: None,
        }
    }

    /// Whether no request is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }

    /// Begins a request, which must be the only one.
    pub(super) fn start(&mut self, way: Way, ask: Ask) {
        let kept = self.idle.get_mut(way.first).and_then(Option::take).and_then(Connection::usable);
        self.under_way = Some(
            async move {
                let mut connection = match kept {
                    Some(connection) => connection,
                    None => Connection::open(&way).await?,
                };
                let answer = connection.exchange(ask).await?;
                Ok((connection, answer))
            }
            .boxed(),
        );
    }

    /// The answer to the request that is under way.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, ClientError>> {
        let Some(under_way) = &mut self.under_way else {
            return Poll::Pending;
        };
        let finished = std::task::ready!(under_way.poll_unpin(cx));
        self.under_way = None;
        Poll::Ready(finished.map(|(connection, answer)| {
            if let Some(place) = self.idle.get_mut(connection.target) {
                *place = (!connection.ended).then_some(connection);
            }
            answer
        }))
    }
}

impl Connection {
    async fn open(way: &Way) -> Result<Self, ClientError> {
        let (target, stream) = way.dial().await?;
        let (requests, driver) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            target,
            host: HeaderValue::from_str(way.address(target))?,
            requests,
            driver,
            ended: false,
            used: Instant::now(),
        })
    }

    /// The connection, if it may be used once more.
    fn usable(mut self) -> Option<Self> {
        if self.used.elapsed() >= KEPT {
            return None;
        }
        // Nobody has driven it since the last answer: this reads whether the server has closed it.
        let end = self.driver.poll_unpin(&mut Context::from_waker(Waker::noop()));
        (end.is_pending() && !self.requests.is_closed()).then_some(self)
    }

    async fn exchange(&mut self, ask: Ask) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(&ask.method).uri(ask.uri).header(HOST, &self.host);
        if ask.method == Method::POST {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
        }
        if let Some(cookie) = ask.cookie {
            request = request.header(COOKIE, cookie);
        }
        let request = request.body(Full::new(ask.body)).map_err(|_| ClientError::Request)?;
        // The last answer may leave the connection's state one step behind.
        let ready = self.requests.ready();
        drive(&mut self.driver, &mut self.ended, ready).await?;
        let sent = self.requests.send_request(request);
        let answer = drive(&mut self.driver, &mut self.ended, sent).await?;
        let (head, body) = answer.into_parts();
        let body = drive(&mut self.driver, &mut self.ended, body.collect()).await?.to_bytes();
        self.used = Instant::now();
        if head.status != 200 {
            return Err(ClientError::Status {
                status: head.status.as_u16(),
                body: String::from_utf8_lossy(&body).chars().take(200).collect(),
            });
        }
        Ok(Answer {
            headers: head.headers,
            body,
        })
    }
}

/// Awaits something that a connection brings about, and drives the connection meanwhile.
async fn drive<T>(driver: &mut Driver, ended: &mut bool, awaited: impl Future<Output = Result<T, hyper::Error>>) -> Result<T, ClientError> {
    let mut awaited = pin!(awaited);
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(result) = awaited.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(ClientError::from));
            }
            if *ended {
                return Poll::Ready(Err(ClientError::Closed));
            }
            match driver.poll_unpin(cx) {
                Poll::Pending => return awaited.as_mut().poll(cx).map_err(ClientError::from),
                // What it has read is still there to be taken.
                Poll::Ready(Ok(())) => *ended = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
            }
        }
    })
    .await
}

impl From<InvalidHeaderValue> for ClientError {
    fn from(_: InvalidHeaderValue) -> Self {
        Self::Request
    }
}
