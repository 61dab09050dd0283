//! The binary's own accept loop.
//!
//! `axum::serve` sets neither a header timeout nor `TCP_NODELAY`, and counts nothing. Everything that a client can hold here is
//! bounded: connections that speak HTTP by a semaphore (WebSockets leave it, the engine bounds sessions), all together by the
//! process's file descriptors, of which some are left to the rest of the node; a request's head by size and time, an HTTP/2 connection
//! by its streams, resets and header lists, unread answers by `TCP_USER_TIMEOUT`.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::ConnectInfo};
use hyper::{Request, body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// From the accepted connection, or the last answer, to the end of the next request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long written bytes may stay unacknowledged, or a closed window closed, before the kernel gives a connection up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after the process ran out of file descriptors: the listener would be ready again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// File descriptors that clients leave to probes, scrapers, peers and the backend: at most so many, and at most an eighth of all.
const SPARE: u64 = 64;
/// hyper's buffer per connection while HTTP is spoken; also bounds a request's head.
const BUFFER: usize = 16 * 1024;
/// HTTP/2: streams at one time, and streams reset before they were served.
const STREAMS: u32 = 100;
const RESETS: usize = 20;

/// Whose connections a listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of clients, who may not have the last file descriptors.
    Clients,
    /// Of those who run the node.
    Operators,
}

/// A listener with its connections.
#[derive(Debug)]
pub(super) struct Accepting {
    address: SocketAddr,
    stop: CancellationToken,
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl Accepting {
    /// Serves `router` to at most `places` connections at one time.
    pub(super) fn start(listener: TcpListener, address: SocketAddr, router: Router, places: usize, whose: Whose) -> Self {
        let accepting = Self {
            address,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let connections = Connections {
            http: Arc::new(http()),
            router,
            places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
            descriptors: match whose {
                Whose::Clients => max_descriptors().map(|max| max - SPARE.min(max / 8)),
                Whose::Operators => None,
            },
            stop: accepting.stop.clone(),
            cut: accepting.cut.clone(),
            tasks: accepting.tasks.clone(),
        };
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

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(RESETS)
        .max_header_list_size(16 * 1024)
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(HEADER_TIMEOUT)
        .keep_alive_timeout(HEADER_TIMEOUT);
    http
}

/// What the accept loop owns.
struct Connections {
    http: Arc<auto::Builder<TokioExecutor>>,
    router: Router,
    places: Arc<Semaphore>,
    /// A connection is taken if its descriptor, which is the lowest that was free, is below.
    descriptors: Option<u64>,
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
                            self.serve(stream, peer, place);
                        }
                        Ok((stream, _)) => {
                            drop(stream);
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

    fn serve(&self, stream: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        // A socket that refuses an option is gone already, and says so at the first read.
        if stream.set_nodelay(true).is_err() || set_write_timeout(&stream).is_err() {
            return;
        }
        let begun = Arc::new(AtomicBool::new(false));
        let service = Requests {
            router: TowerToHyperService::new(self.router.clone()),
            peer,
            begun: Arc::clone(&begun),
        };
        let (http, stop, cut) = (Arc::clone(&self.http), self.stop.clone(), self.cut.clone());
        self.tasks.spawn(async move {
            let _place = place;
            let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
            tokio::pin!(connection);
            // While it tells HTTP/1 from HTTP/2, hyper-util watches no clock.
            let first_request = sleep(HEADER_TIMEOUT);
            tokio::pin!(first_request);
            let (mut stopping, mut waiting) = (false, true);
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
                        if !begun.load(Ordering::Relaxed) {
                            return;
                        }
                        connection.as_mut().graceful_shutdown();
                    }
                    () = first_request.as_mut(), if waiting => {
                        waiting = false;
                        if !begun.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                    () = cut.cancelled() => return,
                }
            }
        });
    }
}

/// The router as one connection sees it: requests carry the peer's address.
struct Requests {
    router: TowerToHyperService<Router>,
    peer: SocketAddr,
    begun: Arc<AtomicBool>,
}

impl Service<Request<Incoming>> for Requests {
    type Response = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Response;
    type Error = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Error;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.begun.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        self.router.call(request)
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

#[cfg(target_os = "linux")]
fn set_write_timeout(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_tcp_user_timeout(Some(WRITE_TIMEOUT))
}

/// Elsewhere the retransmission limit of the system applies.
#[cfg(not(target_os = "linux"))]
fn set_write_timeout(_: &TcpStream) -> io::Result<()> {
    let _ = WRITE_TIMEOUT;
    Ok(())
}
