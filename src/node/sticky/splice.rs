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
    engine::{Config, READ_BYTES, Reply, for_read},
    node::{counters::Counters, internal::AskError, transports::response},
};

/// Bytes that wait in each direction of one connection, at most, while the other end does not take them.
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
                let place = Place::new(&self.counters, place);
                let ends = Ends {
                    owner: owner.clone(),
                    address,
                    owners: Arc::clone(&self.owners),
                    patience: self.patience,
                };
                let theirs = hyper::upgrade::on(&mut answer);
                let ours = hyper::upgrade::on(Request::from_parts(head, body));
                let leaving = self.leaving.clone();
                tokio::spawn(async move {
                    let _place = place;
                    let carrying = async {
                        if let (Ok(ours), Ok(theirs)) = tokio::join!(ours, theirs) {
                            carry(ours, theirs, &ends).await;
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

/// The place of a WebSocket that is carried, and one in the gauge.
struct Place {
    counters: Arc<Counters>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(counters: &Arc<Counters>, permit: OwnedSemaphorePermit) -> Self {
        counters.carried.increment();
        Self {
            counters: Arc::clone(counters),
            _permit: permit,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.counters.carried.decrement();
    }
}

/// How long the ends of a WebSocket that is carried may do nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long the owner may be silent: it pings its client, or answers its pings, much more often.
    silence: Duration,
    /// How long the client may take nothing.
    untaken: Duration,
}

impl From<&Config> for Patience {
    fn from(config: &Config) -> Self {
        Self {
            silence: config.ping_interval.saturating_add(config.ping_timeout).saturating_mul(2),
            untaken: config.write_timeout,
        }
    }
}

/// What is known of the ends of a WebSocket that is carried.
struct Ends {
    owner: Owner,
    address: SocketAddr,
    owners: Arc<Owners>,
    patience: Patience,
}

impl Ends {
    /// Fails if the owner does not live: a session may leave its client unread for long, but its node answers.
    async fn check_owner(&self) -> io::Result<()> {
        let lives = self.owners.ensure_alive(&self.owner, self.address).await;
        lives.map_err(|unanswered| io::Error::new(io::ErrorKind::TimedOut, unanswered))
    }
}

/// Carries bytes both ways. However it ends, both connections end with it.
async fn carry(client: Upgraded, owner: Upgraded, ends: &Ends) {
    let ((from_client, to_client), (from_owner, to_owner)) = (split(TokioIo::new(client)), split(TokioIo::new(owner)));
    let (up, down) = (up(from_client, to_owner, ends), down(from_owner, to_client, ends));
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

/// Carries the client's bytes to the owner until their end, which is told.
async fn up(mut client: impl AsyncRead + Unpin, mut owner: impl AsyncWrite + Unpin, ends: &Ends) -> io::Result<()> {
    loop {
        match poll_fn(|cx| pass(cx, &mut client, &mut owner)).await? {
            Passed::All => {}
            Passed::But(left) => {
                let taken = owner.write_all(&left);
                tokio::pin!(taken);
                loop {
                    match timeout(SILENCE, &mut taken).await {
                        Ok(taken) => break taken?,
                        Err(_) => ends.check_owner().await?,
                    }
                }
            }
            Passed::End => return owner.shutdown().await,
        }
    }
}

/// Carries the owner's bytes to the client until their end, which is told.
async fn down(mut owner: impl AsyncRead + Unpin, mut client: impl AsyncWrite + Unpin, ends: &Ends) -> io::Result<()> {
    let Patience { silence, untaken } = ends.patience;
    loop {
        match timeout(silence, poll_fn(|cx| pass(cx, &mut owner, &mut client))).await {
            Ok(passed) => match passed? {
                Passed::All => {}
                Passed::But(left) => {
                    let mut left = &*left;
                    while !left.is_empty() {
                        let taken = timeout(untaken, client.write(left)).await??;
                        left = left.get(taken..).filter(|_| taken > 0).ok_or(io::ErrorKind::WriteZero)?;
                    }
                }
                Passed::End => return client.shutdown().await,
            },
            // A session that lives is heard of more often.
            Err(silent) => return Err(silent.into()),
        }
    }
}

/// What became of the bytes of one read.
enum Passed {
    /// The other end has taken them.
    All,
    /// It has taken them, but for these.
    But(Vec<u8>),
    /// There were none, and there will be none.
    End,
}

const _: () = assert!(BUFFER <= READ_BYTES);

/// Reads once, and writes what is taken at once. The buffer is the thread's, so that a connection on which nothing happens has none.
fn pass(cx: &mut Context<'_>, from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> Poll<io::Result<Passed>> {
    for_read(|buffer| {
        let mut read = ReadBuf::new(buffer.split_at_mut(BUFFER).0);
        ready!(Pin::new(from).poll_read(cx, &mut read))?;
        let mut bytes = read.filled();
        if bytes.is_empty() {
            return Poll::Ready(Ok(Passed::End));
        }
        while let Poll::Ready(written) = Pin::new(&mut *to).poll_write(cx, bytes) {
            match bytes.get(written?..) {
                Some([]) => return Poll::Ready(Ok(Passed::All)),
                Some(left) if left.len() < bytes.len() => bytes = left,
                _ => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            }
        }
        Poll::Ready(Ok(Passed::But(bytes.to_vec())))
    })
}
