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
    Method, Request, Response, Uri,
    body::Incoming,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST, HeaderMap, HeaderValue, InvalidHeaderValue},
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
    pub(super) headers: HeaderMap,
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
    pub(super) fn start(&mut self, mut way: Way, ask: Ask) {
        let mut kept = self.idle.get_mut(way.first).and_then(Option::take).and_then(Connection::usable);
        let mut tries = if ask.method == Method::GET { way.tries() } else { 1 };
        self.under_way = Some(
            async move {
                loop {
                    let mut connection = match kept.take() {
                        Some(connection) => connection,
                        None => Connection::open(&way).await?,
                    };
                    tries -= 1;
                    match connection.send(&ask).await {
                        Ok(head) => {
                            let answer = connection.receive(head).await?;
                            return Ok((connection, answer));
                        }
                        Err(_) if tries > 0 => way.after(connection.target),
                        Err(error) => return Err(error),
                    }
                }
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

    /// Sends a request, and awaits the beginning of its answer.
    async fn send(&mut self, ask: &Ask) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::builder().method(&ask.method).uri(ask.uri.clone()).header(HOST, &self.host);
        if ask.method == Method::POST {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
        }
        let mut request = request.body(Full::new(ask.body.clone())).map_err(|_| ClientError::Request)?;
        request.headers_mut().extend(ask.headers.clone());
        // The last answer may leave the connection's state one step behind.
        let ready = self.requests.ready();
        drive(&mut self.driver, &mut self.ended, ready).await?;
        let sent = self.requests.send_request(request);
        drive(&mut self.driver, &mut self.ended, sent).await
    }

    /// Awaits the rest of an answer.
    async fn receive(&mut self, answer: Response<Incoming>) -> Result<Answer, ClientError> {
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

#[cfg(test)]
mod tests {
    use hyper::header::COOKIE;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::client::Route;

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

    /// A lane, and the server at its other end, which the test plays.
    struct Bench {
        listener: TcpListener,
        route: Route,
        lane: Lane,
    }

    impl Bench {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let targets = vec![listener.local_addr().unwrap().to_string()].into();
            Self {
                listener,
                route: Route::new(&targets, 0, true),
                lane: Lane::new(1),
            }
        }

        /// A POST that must come over the `kept` connection, or over a new one if there is none, and is answered there.
        async fn post(&mut self, kept: Option<TcpStream>, answer: &str) -> (Result<Bytes, ClientError>, TcpStream) {
            let ask = Ask {
                method: Method::POST,
                uri: Uri::from_static("/socket.io/?EIO=4"),
                headers: [(COOKIE, HeaderValue::from_static("a=b"))].into_iter().collect(),
                body: Bytes::from_static(b"4hello"),
            };
            self.lane.start(self.route.next(), ask);
            let Self { listener, lane, .. } = self;
            let serve = async {
                let mut connection = match kept {
                    Some(connection) => connection,
                    None => listener.accept().await.unwrap().0,
                };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n4hello") {
                    request.push(connection.read_u8().await.unwrap());
                }
                let request = String::from_utf8(request).unwrap();
                assert!(request.starts_with("POST /socket.io/?EIO=4 HTTP/1.1\r\n"), "{request}");
                for header in ["host: 127.0.0.1:", "content-length: 6\r\n", "cookie: a=b\r\n"] {
                    assert!(request.contains(header), "{request}");
                }
                connection.write_all(answer.as_bytes()).await.unwrap();
                connection
            };
            let both = async { tokio::join!(poll_fn(|cx| lane.poll_answer(cx)), serve) };
            let (answer, connection) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("a request there");
            (answer.map(|answer| answer.body), connection)
        }
    }

    #[tokio::test]
    async fn requests_follow_each_other_on_one_connection() {
        let mut bench = Bench::new().await;
        let mut kept = None;
        for _ in 0..3 {
            let (answer, connection) = bench.post(kept, OK).await;
            assert_eq!(answer.unwrap(), "ok");
            kept = Some(connection);
        }
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n42\r\n3\r\n[1]\r\n0\r\n\r\n";
        assert_eq!(bench.post(kept, chunked).await.0.unwrap(), "42[1]");
    }

    #[tokio::test]
    async fn a_connection_that_the_server_has_closed_is_replaced() {
        let mut bench = Bench::new().await;
        let (_, connection) = bench.post(None, OK).await;
        drop(connection);
        // It was closed before the next request, and the client could know.
        let idle = bench.lane.idle[0].as_mut().expect("a kept connection");
        let closed = tokio::time::timeout(Duration::from_secs(20), poll_fn(|cx| idle.driver.poll_unpin(cx)));
        closed.await.expect("an end").unwrap();
        let last = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        let (answer, _open) = bench.post(None, last).await;
        assert_eq!(answer.unwrap(), "ok");
        assert_eq!(bench.post(None, OK).await.0.unwrap(), "ok");
    }

    #[tokio::test]
    async fn a_connection_that_was_idle_for_long_is_replaced() {
        let mut bench = Bench::new().await;
        let (_, _open) = bench.post(None, OK).await;
        tokio::time::pause();
        tokio::time::advance(KEPT).await;
        tokio::time::resume();
        assert_eq!(bench.post(None, OK).await.0.unwrap(), "ok");
    }

    #[tokio::test]
    async fn an_answer_with_an_error_is_one_and_so_is_a_connection_that_ends() {
        let mut bench = Bench::new().await;
        let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 18\r\n\r\nSession ID unknown";
        let error = bench.post(None, refusal).await.0.unwrap_err();
        assert_eq!(error.to_string(), "HTTP status 400: Session ID unknown");
        for part in ["", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no"] {
            let mut bench = Bench::new().await;
            let lane = &mut bench.lane;
            let ask = Ask {
                method: Method::GET,
                uri: Uri::from_static("/"),
                headers: HeaderMap::new(),
                body: Bytes::new(),
            };
            lane.start(bench.route.next(), ask);
            let answered = poll_fn(|cx| lane.poll_answer(cx));
            let cut = async {
                let mut connection = bench.listener.accept().await.unwrap().0;
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(connection.read_u8().await.unwrap());
                }
                connection.write_all(part.as_bytes()).await.unwrap();
            };
            let both = async { tokio::join!(answered, cut) };
            let (answer, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("an end");
            assert!(matches!(answer, Err(ClientError::Http(_) | ClientError::Closed)), "{answer:?}");
        }
    }
}
