//! The binary's own accept loop.
//!
//! `axum::serve` sets neither a header timeout nor `TCP_NODELAY`, and counts nothing. Everything that a client can hold here is
//! bounded: connections that speak HTTP by a semaphore and by their address (WebSockets leave both, the engine bounds sessions), all
//! together by the process's file descriptors, of which some are left to the rest of the node; a request's head by size and time, a
//! connection without requests by time, an HTTP/2 connection by its streams, resets and header lists, unread answers by
//! `TCP_USER_TIMEOUT`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use bytes::Bytes;
use hyper::{Request, body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    opening::{self, First},
    sticky,
    transports::Transports,
    watched::Watched,
};
use crate::engine::{Addresses, Carrier, Counter, Crowded, NotAdmitted, Place, Reply};

/// Pause after the process ran out of file descriptors: the listener would be ready again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// File descriptors that clients leave to probes, scrapers, peers and the backend: at most so many, and at most an eighth of all.
const SPARE: u64 = 64;
/// hyper's buffer per connection while HTTP is spoken; also bounds a request's head.
pub(super) const BUFFER: usize = 16 * 1024;
/// HTTP/2, of a client: streams at one time, and streams reset before they were served.
const STREAMS: u32 = 100;
const RESETS: usize = 20;

/// Connections that are told why they are refused, at one time; others are closed without a word.
const FAREWELLS: usize = 64;
/// How long such a connection is kept: closed before its request was read it would be reset, and the answer lost.
const FAREWELL: Duration = Duration::from_secs(1);

/// Whose connections a listener takes.
#[derive(Debug, Clone)]
pub(super) enum Whose {
    /// Of clients, who may not have the last file descriptors, nor any number of connections from one address; but whatever comes
    /// from a trusted proxy is many clients'.
    Clients {
        addresses: Arc<Addresses>,
        transports: Arc<Transports>,
    },
    /// Of those who run the node.
    Operators,
}

impl Whose {
    /// Other nodes give up a connection that is not used before it is closed here: no request is to meet its end.
    fn patience(&self, configured: Duration) -> Duration {
        match self {
            Self::Clients { .. } => configured,
            Self::Operators => configured.max(sticky::UNUSED * 3),
        }
    }

    /// How long they may leave unacknowledged what was sent.
    fn send_timeout(&self, configured: Duration) -> Duration {
        match self {
            Self::Clients { .. } => configured,
            Self::Operators => configured.min(sticky::UNACKNOWLEDGED),
        }
    }

    /// How HTTP is spoken with them.
    fn http(&self, header_timeout: Duration) -> auto::Builder<TokioExecutor> {
        let mut http = http(header_timeout);
        match self {
            Self::Clients { .. } => http
                .http2()
                .max_concurrent_streams(STREAMS)
                .max_pending_accept_reset_streams(RESETS)
                .max_local_error_reset_streams(RESETS),
            // The requests of many clients share a connection: it does not end for what some of them do, and none waits for another.
            Self::Operators => http
                .http2()
                .max_concurrent_streams(sticky::STREAMS)
                .max_pending_accept_reset_streams(sticky::STREAMS as usize)
                .max_local_error_reset_streams(None)
                .initial_stream_window_size(sticky::STREAM_WINDOW)
                .initial_connection_window_size(sticky::CONNECTION_WINDOW),
        };
        http
    }
}

/// A listener with its connections.
#[derive(Debug)]
pub(super) struct Accepting {
    address: SocketAddr,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

/// What a listener lets its connections hold.
#[derive(Debug)]
pub(super) struct Bounds {
    pub(super) whose: Whose,
    /// Connections that speak HTTP at one time.
    pub(super) places: usize,
    /// From the accepted connection, or the last answer, to the end of the next request's head.
    pub(super) header_timeout: Duration,
    /// How long written bytes may stay unacknowledged, or a closed window closed, before the kernel gives a connection up.
    pub(super) send_timeout: Duration,
}

impl Accepting {
    /// Serves `router` within `bounds`; `open` is the gauge of connections that speak HTTP now.
    pub(super) fn start(listener: TcpListener, address: SocketAddr, router: Router, bounds: Bounds, open: Arc<Counter>) -> Self {
        let Bounds {
            whose,
            places,
            header_timeout,
            send_timeout,
        } = bounds;
        let header_timeout = whose.patience(header_timeout);
        let accepting = Self {
            address,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let connections = Connections {
            http: Arc::new(whose.http(header_timeout)),
            router,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            descriptors: match whose {
                Whose::Clients { .. } => max_descriptors().map(|max| max - SPARE.min(max / 8)),
                Whose::Operators => None,
            },
            header_timeout,
            send_timeout: whose.send_timeout(send_timeout),
            open,
            whose,
            farewells: Arc::new(Semaphore::new(FAREWELLS)),
            stop: accepting.stop.clone(),
            cut: accepting.cut.clone(),
            tasks: accepting.tasks.clone(),
        };
        if let Err(error) = set_options(&SockRef::from(&listener), connections.send_timeout) {
            tracing::warn!(%address, %error, "the listener takes no options: connections may be slow to send, or to end");
        }
        accepting.tasks.spawn(connections.accept(listener));
        accepting
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener; connections end when their present request is answered.
    pub(super) fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
    }

    /// Waits until every connection has ended, and cuts them off after `grace`. Call after [`Accepting::stop`].
    pub(super) async fn finished(&self, grace: Duration) {
        if timeout(grace, self.tasks.wait()).await.is_err() {
            self.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

impl Drop for Accepting {
    fn drop(&mut self) {
        self.stop.cancel();
        self.cut.cancel();
    }
}

fn http(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(BUFFER);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(16 * 1024)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(header_timeout)
        .keep_alive_timeout(header_timeout);
    http
}

/// What the accept loop owns.
struct Connections {
    http: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    places: Arc<Semaphore>,
    /// A connection is taken if its descriptor, which is the lowest that was free, is below.
    descriptors: Option<u64>,
    header_timeout: Duration,
    send_timeout: Duration,
    open: Arc<Counter>,
    whose: Whose,
    farewells: Arc<Semaphore>,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Connections {
    async fn accept(self, listener: TcpListener) {
        let stop = self.stop.clone();
        let _stopped = stop
            .run_until_cancelled(async {
                // Said once, not for each connection.
                let mut full = false;
                loop {
                    let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                        return;
                    };
                    match listener.accept().await {
                        Ok((stream, peer)) if self.has_descriptors(&stream) => {
                            full = false;
                            match self.whose.enter(peer.ip()) {
                                Ok(counted) => self.serve(stream, peer, (place, counted)),
                                Err(Crowded) => self.turn_away(stream),
                            }
                        }
                        Ok((stream, _)) => {
                            drop(stream);
                            self.whose.count_exhausted();
                            if !std::mem::replace(&mut full, true) {
                                tracing::warn!("refusing connections: the file descriptors for clients are used up");
                            }
                        }
                        // The peer's fault, and gone with it.
                        Err(error) if is_peers(&error) => {}
                        Err(error) => {
                            if !std::mem::replace(&mut full, true) {
                                tracing::warn!(%error, "cannot accept connections");
                            }
                            sleep(ACCEPT_PAUSE).await;
                        }
                    }
                }
            })
            .await;
    }

    #[cfg(unix)]
    fn has_descriptors(&self, stream: &TcpStream) -> bool {
        let descriptor = std::os::fd::AsRawFd::as_raw_fd(stream);
        self.descriptors
            .is_none_or(|max| u64::try_from(descriptor).is_ok_and(|descriptor| descriptor < max))
    }

    #[cfg(not(unix))]
    fn has_descriptors(&self, _: &TcpStream) -> bool {
        self.descriptors.is_none()
    }

    /// Says why, if it is not said to many others already, and closes the connection.
    fn turn_away(&self, mut stream: TcpStream) {
        let Ok(farewell) = Arc::clone(&self.farewells).try_acquire_owned() else {
            return;
        };
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let _farewell = farewell;
            let said = async {
                let Reply { status, body, .. } = Reply::not_admitted(NotAdmitted::Address);
                let head = format!(
                    "HTTP/1.1 {status} Forbidden\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(&[head.as_bytes(), &body].concat()).await?;
                stream.shutdown().await?;
                let mut ignored = [0; 1024];
                while stream.read(&mut ignored).await? > 0 {}
                io::Result::Ok(())
            };
            // Whether the client took the answer is its own affair.
            drop(stop.run_until_cancelled(timeout(FAREWELL, said)).await);
        });
    }

    fn serve(&self, stream: TcpStream, peer: SocketAddr, places: (OwnedSemaphorePermit, Place)) {
        let open = Open::new(&self.open, places);
        let transports = match &self.whose {
            Whose::Clients { transports, .. } => Some(Arc::clone(transports)),
            Whose::Operators => None,
        };
        // From now on, whoever reads the first head.
        let first_head = Instant::now() + self.header_timeout;
        let http = Http {
            builder: Arc::clone(&self.http),
            router: self.router.clone(),
            peer,
            header_timeout: self.header_timeout,
            send_timeout: self.send_timeout,
            stop: self.stop.clone(),
            cut: self.cut.clone(),
        };
        self.tasks.spawn(async move {
            let _open = open;
            let Some(transports) = transports else {
                // Of another node: if it breaks, its clients have not gone.
                let stream = Watched::new(stream, Bytes::new());
                let carrier = stream.carrier();
                return http.serve(stream, Some(carrier), first_head).await;
            };
            let first = tokio::select! {
                biased;
                first = opening::read(&stream, peer, &transports) => first,
                () = http.stop.cancelled() => return,
                () = sleep_until(first_head) => return,
            };
            let ended = match first {
                Ok(First::Other(read)) => return http.serve(Watched::new(stream, read), None, first_head).await,
                Ok(First::Opening(opening)) => tokio::select! {
                    biased;
                    ended = opening.answer(stream, &transports) => ended,
                    () = http.cut.cancelled() => return,
                },
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "connection ended");
            }
        });
    }
}

/// How HTTP is spoken on one connection.
struct Http {
    builder: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    peer: SocketAddr,
    header_timeout: Duration,
    send_timeout: Duration,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Http {
    /// Serves a connection to its end, or until it is something else than HTTP. `carrier` is that of a connection between nodes; the first
    /// request has until `first_head` to begin.
    async fn serve(self, stream: Watched, carrier: Option<Carrier>, first_head: Instant) {
        let Self {
            builder,
            router,
            peer,
            header_timeout,
            send_timeout,
            stop,
            cut,
        } = self;
        let requests = Arc::<Requests>::default();
        let service = Answering {
            carrier,
            router: TowerToHyperService::new(router),
            peer,
            requests: Arc::clone(&requests),
        };
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // hyper-util watches no clock while it tells HTTP/1 from HTTP/2, and on HTTP/2 none over a connection without requests.
        let idle = sleep_until(first_head);
        tokio::pin!(idle);
        let (mut stopping, mut seen) = (false, 0);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                    return;
                }
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    if requests.begun() == 0 {
                        return;
                    }
                    connection.as_mut().graceful_shutdown();
                }
                () = idle.as_mut() => {
                    let over = requests.over();
                    if over == requests.begun() && over == seen {
                        // One that was told to end, and cannot send its last answers, is not waited for any longer.
                        if over == 0 || stopping {
                            return;
                        }
                        stopping = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    seen = over;
                    let wait = if stopping { send_timeout } else { header_timeout };
                    idle.as_mut().reset(Instant::now() + wait);
                }
                () = cut.cancelled() => return,
            }
        }
    }
}

impl Whose {
    /// Counts a connection that found no file descriptor.
    fn count_exhausted(&self) {
        if let Self::Clients { transports, .. } = self {
            transports.counters.exhausted.increment();
        }
    }

    /// Counts a connection of this address.
    fn enter(&self, address: IpAddr) -> Result<Place, Crowded> {
        let Self::Clients { addresses, transports } = self else {
            return Ok(Place::uncounted());
        };
        let counted = Some(address).filter(|address| !transports.proxies.trusts(*address));
        addresses
            .enter(counted)
            .inspect_err(|Crowded| transports.counters.crowded.increment())
    }
}

/// A connection that speaks HTTP: its place, and one in the gauge.
struct Open {
    gauge: Arc<Counter>,
    _places: (OwnedSemaphorePermit, Place),
}

impl Open {
    fn new(gauge: &Arc<Counter>, places: (OwnedSemaphorePermit, Place)) -> Self {
        gauge.increment();
        Self {
            gauge: Arc::clone(gauge),
            _places: places,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.decrement();
    }
}

/// How many requests of one connection have begun, and how many of them are over.
#[derive(Debug, Default)]
struct Requests {
    begun: AtomicU64,
    over: AtomicU64,
}

impl Requests {
    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn over(&self) -> u64 {
        self.over.load(Ordering::Relaxed)
    }
}

/// A request under way: it is over when it was answered, or given up.
struct UnderWay(Arc<Requests>);

impl UnderWay {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.begun.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(requests))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.over.fetch_add(1, Ordering::Relaxed);
    }
}

/// The router as one connection sees it: requests carry the peer's address.
struct Answering {
    router: TowerToHyperService<Router>,
    peer: SocketAddr,
    /// Of a connection between nodes.
    carrier: Option<Carrier>,
    requests: Arc<Requests>,
}

impl Service<Request<Incoming>> for Answering {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let under_way = UnderWay::new(&self.requests);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        if let Some(carrier) = &self.carrier {
            request.extensions_mut().insert(carrier.clone());
        }
        let answer = self.router.call(request);
        Box::pin(async move {
            let _under_way = under_way;
            answer.await
        })
    }
}

fn is_peers(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// How many files this process may have open, where the system tells.
fn max_descriptors() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    soft.split_whitespace().next()?.parse().ok()
}

/// Sets what every connection is to have on its listener, from which they inherit it: small packets leave at once, and who acknowledges
/// nothing for so long is given up.
#[cfg(target_os = "linux")]
fn set_options(listener: &SockRef<'_>, send_timeout: Duration) -> io::Result<()> {
    listener.set_tcp_nodelay(true)?;
    listener.set_tcp_user_timeout(Some(send_timeout))
}

/// Elsewhere the retransmission limit of the system applies.
#[cfg(not(target_os = "linux"))]
fn set_options(listener: &SockRef<'_>, _: Duration) -> io::Result<()> {
    listener.set_tcp_nodelay(true)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_have_the_options_of_their_listener() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let patience = Duration::from_secs(7);
        set_options(&SockRef::from(&listener), patience).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let options = SockRef::from(&accepted);
        assert!(options.tcp_nodelay().unwrap());
        assert_eq!(options.tcp_user_timeout().unwrap(), Some(patience));
    }
}
