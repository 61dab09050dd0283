//! Asks other nodes, over their internal listeners, whether they hear their own canaries, and for how long they have.

use std::time::{Duration, Instant};

use axum::body::Body;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::Request;
use serde::Deserialize;
use tokio::{sync::Mutex, time::timeout};

use super::client::{AskError, ask};
use crate::{engine::Counter, node::network::Networks};

/// For all peers together; a probe's own timeout is a second in most orchestrators.
const DEADLINE: Duration = Duration::from_millis(800);
/// How long an answer counts, so that probes cannot multiply into the cluster.
const FRESH: Duration = Duration::from_secs(1);
/// One that hears is enough, so a sample of the peers is, too.
const ASKED: usize = 8;
/// What is asked. The query tells a deaf peer not to ask its own peers in turn.
pub(super) const QUESTION: &str = "/readyz?peers=no";

/// The last answer, and the right to ask again.
#[derive(Debug, Default)]
pub(in crate::node) struct Peers(Mutex<Option<(Instant, bool)>>);

#[derive(Deserialize)]
struct Answer {
    canary: String,
    heard_ms: u64,
}

impl Peers {
    /// Whether any peer has heard its own canary for longer than `time`; `false` when none answers in time. Asked once at a time, at most
    /// once a second. Addresses outside `networks` are not asked, and counted.
    pub(in crate::node) async fn any_hears(&self, addresses: &[String], time: Duration, networks: &Networks, outside: &Counter) -> bool {
        let mut last = self.0.lock().await;
        if let Some((asked, answer)) = *last
            && asked.elapsed() < FRESH
        {
            return answer;
        }
        let mut asking: FuturesUnordered<_> = addresses.iter().take(ASKED).map(|address| hears(address, time, networks)).collect();
        let any = async {
            while let Some(answer) = asking.next().await {
                if let Err(AskError::Outside(_)) = &answer {
                    outside.increment();
                }
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

async fn hears(address: &str, time: Duration, networks: &Networks) -> Result<bool, AskError> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = http::Uri::from_static(QUESTION);
    let answer = ask(address, networks, request).await?;
    let answer: Option<Answer> = serde_json::from_slice(answer.body()).ok();
    Ok(answer.is_some_and(|answer| answer.canary == "heard" && Duration::from_millis(answer.heard_ms) > time))
}
