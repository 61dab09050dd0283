//! Connects, serves one connection until it ends, and connects again, for ever; the same for every client library.
//!
//! The libraries' own reconnecting, offline queues and retries are not used: a [`Session`] lives as long as its connections, and what
//! the library still holds when it ends goes with it. So nothing is sent late, twice or out of order, and "confirmed" is always about
//! the connection at hand. Another client library is one more [`Backend`].

use std::{fmt, future::Future, sync::Arc, time::Duration};

use tokio::{sync::Notify, time};
use tokio_util::sync::CancellationToken;

use crate::{
    Topic,
    backoff::Backoff,
    core::Core,
    outbound::{Outgoing, count},
};

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(10);

/// How often an idle connection is proven to be alive.
const PROBE: Duration = Duration::from_secs(1);

/// A backend that does not answer for this long is away.
pub(crate) const UNRESPONSIVE: Duration = Duration::from_secs(5);

/// Makes connections to one backend.
pub(crate) trait Backend: Send + Sync + 'static {
    /// What it makes.
    type Session: Session;
    /// For logs.
    const NAME: &'static str;

    /// Makes one attempt. Dropping the future leaves nothing behind.
    fn connect(&mut self, core: &Arc<Core>) -> impl Future<Output = Result<Self::Session, Fault>> + Send;
}

/// One connection to a backend (or several: to publish and to hear, to each part of it) that ends as a whole.
pub(crate) trait Session: Send + Sync + 'static {
    /// Carries what arrives into the inbox until the connection ends. Called once.
    fn receive(&self, core: &Core) -> impl Future<Output = Fault> + Send;

    /// Asks the backend for `topics`; [`Session::prove`] then tells whether it has heard.
    fn subscribe(&self, topics: &[Topic]) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Asks the backend for `topics` no longer.
    fn unsubscribe(&self, topics: &[Topic]) -> impl Future<Output = Result<(), Fault>> + Send;

    /// A round trip over every connection of the session: the backend has done what it was asked before.
    fn prove(&self) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Sends a batch in its order; answers how many of it the backend took. After an error none of it counts as taken.
    fn publish(&self, batch: Vec<Outgoing>) -> impl Future<Output = Result<u64, Fault>> + Send;

    /// Cuts the connection at once; everything that waits on it fails.
    fn abort(&self);
}

/// Why a connection could not be made, or has ended. Never holds a secret.
#[derive(Debug, Clone)]
pub(crate) struct Fault(String);

impl Fault {
    pub(crate) fn new(text: impl fmt::Display) -> Self {
        Self(text.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The one task that owns the adapter's connection; ends when the core is stopped.
pub(crate) async fn run<B: Backend>(mut backend: B, core: Arc<Core>) {
    let mut backoff = Backoff::default();
    loop {
        let attempt = time::timeout(CONNECT, backend.connect(&core));
        let connected = tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            connected = attempt => connected.unwrap_or_else(|_| Err(Fault::new(format_args!("no connection within {CONNECT:?}")))),
        };
        let end = match connected {
            Ok(session) => {
                let since = time::Instant::now();
                let end = serve(&Arc::new(session), &core).await;
                if since.elapsed() > UNRESPONSIVE {
                    backoff = Backoff::default();
                }
                end
            }
            Err(fault) => Some(fault),
        };
        let Some(fault) = end else { return };
        let news = core.set_fault(fault.to_string());
        // Who hears of the outage can ask for its cause.
        core.set_disconnected();
        if news {
            tracing::warn!(backend = B::NAME, %fault, "the backend is away; trying again for ever");
        } else {
            tracing::debug!(backend = B::NAME, %fault, "the backend is still away");
        }
        tokio::select! {
            biased;
            () = core.stop.cancelled() => return,
            () = time::sleep(backoff.next_delay()) => {}
        }
    }
}

/// Serves one connection; `None` when the adapter was stopped.
async fn serve<S: Session>(session: &Arc<S>, core: &Arc<Core>) -> Option<Fault> {
    let ended = CancellationToken::new();
    // Publishing starts when the subscriptions stand, so that a node hears what it says itself.
    let ready = Arc::new(Notify::new());
    let mut writer = core.tasks.spawn(write(session.clone(), core.clone(), ready.clone(), ended.clone()));
    let mut writing = true;
    let end = tokio::select! {
        biased;
        () = core.stop.cancelled() => None,
        written = &mut writer => {
            writing = false;
            Some(written.unwrap_or_else(|panic| Fault::new(format_args!("the writer failed: {panic}"))))
        }
        fault = session.receive(core) => Some(fault),
        fault = tend(&**session, core, &ready) => Some(fault),
    };
    ended.cancel();
    session.abort();
    if writing && writer.await.is_err() {
        tracing::error!("the writer panicked");
    }
    end
}

/// Carries wishes to the backend, says when all stand, and proves the connection alive while there is nothing to do.
async fn tend<S: Session>(session: &S, core: &Core, ready: &Notify) -> Fault {
    core.wishes.restart();
    let mut announced = false;
    let mut proven = None::<time::Instant>;
    loop {
        let changes = core.wishes.changes();
        // What is unsubscribed needs no proof.
        let prove = !changes.subscribe.is_empty() || proven.is_none_or(|at| at.elapsed() >= PROBE);
        let round = async {
            if !changes.subscribe.is_empty() {
                session.subscribe(&changes.subscribe).await?;
            }
            if !changes.unsubscribe.is_empty() {
                session.unsubscribe(&changes.unsubscribe).await?;
            }
            if prove { session.prove().await } else { Ok(()) }
        };
        match time::timeout(UNRESPONSIVE, round).await {
            Ok(Ok(())) => {
                core.wishes.confirm(&changes.subscribe);
                if prove {
                    proven = Some(time::Instant::now());
                }
            }
            Ok(Err(fault)) => return fault,
            Err(_) => return Fault::new(format_args!("no answer within {UNRESPONSIVE:?}")),
        }
        if !announced {
            announced = true;
            let after_outage = core.set_connected();
            tracing::info!(after_outage, "the backend is there, all subscriptions are confirmed");
            ready.notify_one();
        }
        tokio::select! {
            () = core.wishes.changed() => {}
            () = time::sleep(PROBE) => {}
        }
    }
}

/// The one task that writes: takes everything that waits and sends it in one go. Ends with the connection.
async fn write<S: Session>(session: Arc<S>, core: Arc<Core>, ready: Arc<Notify>, ended: CancellationToken) -> Fault {
    let ended = async || {
        ended.cancelled().await;
        Fault::new("the connection has ended")
    };
    tokio::select! {
        fault = ended() => return fault,
        () = ready.notified() => {}
    }
    loop {
        let batch = tokio::select! {
            biased;
            fault = ended() => return fault,
            batch = core.outbound.take() => batch,
        };
        let size = count(&batch);
        let sent = match time::timeout(UNRESPONSIVE, session.publish(batch)).await {
            Ok(sent) => sent,
            Err(_) => Err(Fault::new(format_args!("{size} messages not taken within {UNRESPONSIVE:?}"))),
        };
        core.outbound.settle(*sent.as_ref().unwrap_or(&0));
        if let Err(fault) = sent {
            return fault;
        }
    }
}
