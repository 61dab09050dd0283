//! Asks other nodes, over their internal listeners, whether they hear their own canaries.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use axum::body::Body;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::Request;
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpStream, sync::Mutex, time::timeout};

/// For all peers together; a probe's own timeout is a second in most orchestrators.
const DEADLINE: Duration = Duration::from_millis(800);
/// How long an answer counts, so that probes cannot multiply into the cluster.
const FRESH: Duration = Duration::from_secs(1);
/// One that hears is enough, so a sample of the peers is, too.
const ASKED: usize = 8;
/// The longest `/readyz` body that is read.
const BODY: usize = 4096;
/// What is asked. The query tells a deaf peer not to ask its own peers in turn.
pub(super) const QUESTION: &str = "/readyz?peers=no";

/// The last answer, and the right to ask again.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<Option<(Instant, bool)>>);

#[derive(Deserialize)]
struct Answer {
    canary: String,
}

impl Peers {
    /// Whether any peer hears its own canary; `false` when none answers in time. Asked once at a time, at most once a second.
    pub(super) async fn any_hears(&self, addresses: Vec<String>) -> bool {
        let mut last = self.0.lock().await;
        if let Some((asked, answer)) = *last
            && asked.elapsed() < FRESH
        {
            return answer;
        }
        let mut asking: FuturesUnordered<_> = addresses.into_iter().take(ASKED).map(hears).collect();
        let any = async {
            while let Some(answer) = asking.next().await {
                if answer.unwrap_or(false) {
                    return true;
                }
            }
            false
        };
        let answer = timeout(DEADLINE, any).await.unwrap_or(false);
        *last = Some((Instant::now(), answer));
        answer
    }
}

async fn hears(address: String) -> io::Result<bool> {
    let Some(address) = tokio::net::lookup_host(&address).await?.find(is_inside) else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    let stream = TcpStream::connect(address).await?;
    let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let ask = async {
        let request = Request::get(QUESTION)
            .header(http::header::HOST, address.to_string())
            .body(Body::empty())
            .map_err(io::Error::other)?;
        let answer = requests.send_request(request).await.map_err(io::Error::other)?;
        let body = Limited::new(answer.into_body(), BODY).collect().await.map_err(io::Error::other)?;
        let answer: Answer = serde_json::from_slice(&body.to_bytes())?;
        Ok(answer.canary == "heard")
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

/// A heartbeat could name any address: only private and loopback ones are asked.
fn is_inside(address: &SocketAddr) -> bool {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    }
}
