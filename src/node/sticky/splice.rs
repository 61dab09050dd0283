//! A WebSocket that reaches another node than its session's: the owner is asked for the upgrade over a connection of its own, and when it
//! has answered 101, bytes are carried both ways until either end closes.
//!
//! What waits on the way is bounded: an end from which nobody takes is not read from. An owner that takes nothing is asked whether it lives.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{body::Body, response::Response};
use http::{Request, StatusCode, header::HOST, request::Parts};
use hyper::{client::conn::http1, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, split},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::timeout,
};

use super::{
    Forwarded, Owner, Owners, Sticky, Unanswered,
    owners::SILENCE,
    request::{Client, returned, upgrading},
};
use crate::{
    engine::{Reply, for_read},
    node::{counters::Counters, internal::AskError, transports::response},
};

/// Bytes that are under way in each direction of one connection, at most.
const BUFFER: usize = 16 * 1024;

/// How long one way is still carried when the other has ended.
const FAREWELL: Duration = SILENCE;

impl Sticky {
    /// Hands a request that wants to become a WebSocket to the owner of its session, and gives back its answer. After 101 the client's bytes
    /// go to the owner, and the owner's to the client.
    pub(in crate::node) async fn upgrade(&self, owner: &Owner, request: Request<Body>, client: Client<'_>) -> Response {
        self.notice();
        let unavailable = || response(Reply::empty(StatusCode::SERVICE_UNAVAILABLE.as_u16()));
        let Ok(place) = self.upgrades.clone().try_acquire_owned() else {
            self.count(Forwarded::Crowded);
            return unavailable();
        };
        let (head, body) = request.into_parts();
        match self.ask_upgrade(owner, &head, client).await {
            Ok((mut answer, address)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                self.count(Forwarded::Upgraded);
                let carried = Carried::new(&self.counters, place);
                let taker = Taker {
                    owner: owner.clone(),
                    address,
                    owners: Arc::clone(&self.owners),
                };
                let theirs = hyper::upgrade::on(&mut answer);
                let ours = hyper::upgrade::on(Request::from_parts(head, body));
                let leaving = self.leaving.clone();
                tokio::spawn(async move {
                    let _carried = carried;
                    let carrying = async {
                        if let (Ok(ours), Ok(theirs)) = tokio::join!(ours, theirs) {
                            carry(ours, theirs, &taker).await;
                        }
                    };
                    // A node that has left carries nothing: both ends are closed.
                    leaving.run_until_cancelled(carrying).await;
                });
                let (parts, _) = answer.into_parts();
                Response::from_parts(parts, Body::empty())
            }
            Ok((answer, _)) => {
                self.count(Forwarded::Answered);
                returned(answer).0
            }
            Err(unanswered) => {
                self.unanswered(owner, &unanswered);
                unavailable()
            }
        }
    }

    /// What the owner answers, and where it is.
    async fn ask_upgrade(
        &self,
        owner: &Owner,
        head: &Parts,
        client: Client<'_>,
    ) -> Result<(Response<hyper::body::Incoming>, SocketAddr), Unanswered> {
        let address = self.owners.find(&self.internal, owner).await?;
        let failed = |error: axum::BoxError| Unanswered::Mute(AskError::Answer(address, error));
        let mut request = upgrading(head, client);
        self.internal.signer.sign(&mut request, Some(0), owner.tag);
        if let Ok(host) = address.to_string().parse() {
            request.headers_mut().insert(HOST, host);
        }
        let asked = async {
            let stream = TcpStream::connect(address).await.map_err(|error| failed(error.into()))?;
            stream.set_nodelay(true).map_err(|error| failed(error.into()))?;
            let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(error.into()))?;
            // Ends with the answer: what follows it is the upgraded connection's.
            tokio::spawn(connection.with_upgrades());
            let answer = requests.send_request(request).await.map_err(|error| failed(error.into()))?;
            Ok((answer, address))
        };
        // An upgrade is answered at once.
        timeout(self.owners.connect_timeout(), asked)
            .await
            .unwrap_or_else(|elapsed| Err(failed(elapsed.into())))
    }
}

/// A WebSocket that is carried: its place, and one in the gauge.
struct Carried {
    counters: Arc<Counters>,
    _place: OwnedSemaphorePermit,
}

impl Carried {
    fn new(counters: &Arc<Counters>, place: OwnedSemaphorePermit) -> Self {
        counters.carried.increment();
        Self {
            counters: Arc::clone(counters),
            _place: place,
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.counters.carried.decrement();
    }
}

/// The owner as one that takes bytes.
struct Taker {
    owner: Owner,
    address: SocketAddr,
    owners: Arc<Owners>,
}

impl Taker {
    /// Fails if the owner does not live: a session may leave its client unread for long, but its node answers.
    async fn check(&self) -> io::Result<()> {
        let lives = self.owners.ensure_alive(&self.owner, self.address).await;
        lives.map_err(|unanswered| io::Error::new(io::ErrorKind::TimedOut, unanswered))
    }
}

/// Carries bytes both ways. However it ends, both connections end with it.
async fn carry(client: Upgraded, owner: Upgraded, taker: &Taker) {
    let ((from_client, to_client), (from_owner, to_owner)) = (split(TokioIo::new(client)), split(TokioIo::new(owner)));
    let up = one_way(from_client, to_owner, Some(taker));
    // A client that takes nothing is the kernel's to give up, as on any connection of the listener.
    let down = one_way(from_owner, to_client, None);
    tokio::pin!(up, down);
    let ended = tokio::select! {
        ended = &mut up => ended.map(|()| true),
        ended = &mut down => ended.map(|()| false),
    };
    // The other end is told, and may say its last words; an owner that does not live says nothing for ever.
    match ended {
        Ok(true) => drop(timeout(FAREWELL, down).await),
        Ok(false) => drop(timeout(FAREWELL, up).await),
        Err(_) => {}
    }
}

/// Carries bytes until their end, which is told.
async fn one_way(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, taker: Option<&Taker>) -> io::Result<()> {
    loop {
        let passing = poll_fn(|cx| for_read(|buffer| pass(cx, &mut from, &mut to, buffer.split_at_mut(BUFFER).0)));
        let Some(left) = passing.await? else {
            return to.shutdown().await;
        };
        if left.is_empty() {
            continue;
        }
        let taken = to.write_all(&left);
        tokio::pin!(taken);
        loop {
            match (timeout(SILENCE, &mut taken).await, taker) {
                (Ok(taken), _) => break taken?,
                (Err(_), Some(taker)) => taker.check().await?,
                (Err(_), None) => {}
            }
        }
    }
}

/// Reads once, and writes what is taken at once: what is left, or nothing at the end. The buffer is the thread's, so that a connection on
/// which nothing happens has none.
fn pass(
    cx: &mut Context<'_>,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    buffer: &mut [u8],
) -> Poll<io::Result<Option<Vec<u8>>>> {
    let mut read = ReadBuf::new(buffer);
    ready!(Pin::new(from).poll_read(cx, &mut read))?;
    let mut bytes = read.filled();
    if bytes.is_empty() {
        return Poll::Ready(Ok(None));
    }
    while let Poll::Ready(written) = Pin::new(&mut *to).poll_write(cx, bytes) {
        match bytes.get(written?..) {
            Some(left @ [_, ..]) if left.len() < bytes.len() => bytes = left,
            Some([]) => return Poll::Ready(Ok(Some(Vec::new()))),
            _ => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        }
    }
    Poll::Ready(Ok(Some(bytes.to_vec())))
}
