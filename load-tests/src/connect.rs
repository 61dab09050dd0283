//! Makes the connections of a run, and those that take the place of lost ones.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;

use crate::{
    args::Connecting,
    client::{Client, ClientError, Opening, Route, Session, Transport, random},
    failures::Failures,
    latency::Latencies,
    progress, threads,
};

/// What stock clients wait on average before they first try to come back; twice as long before each further attempt.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The longest that they wait.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// How connections are made.
#[derive(Debug)]
pub(crate) struct Connector {
    targets: Arc<[String]>,
    /// Of the clients that are counted.
    pub(crate) transport: Transport,
    affinity: bool,
    at_once: usize,
    /// Connections a second that are begun at the most.
    rate: Option<f64>,
    opening: Arc<Opening>,
    /// Whether a client whose session has ended comes back.
    pub(crate) reconnect: bool,
    /// From the CONNECT answer to the end of the upgrade, of connections that are upgraded before they are used.
    pub(crate) upgrades: Latencies,
    /// From the end of a session to the CONNECT answer of the next.
    pub(crate) away: Latencies,
    /// Why attempts to connect that may fail have failed.
    pub(crate) failures: Failures,
    /// Why sessions have ended.
    pub(crate) ends: Failures,
    /// Sessions that were made, and those that the run has ended.
    made: AtomicU64,
    cut: AtomicU64,
}

/// A connection was not made.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {target}: {source}")]
pub(crate) struct ConnectError {
    /// Which server.
    target: String,
    /// Why not.
    source: ClientError,
}

impl Connector {
    /// Makes connections as the command line says, but to other servers where there are any.
    pub(crate) fn elsewhere(args: &Connecting, targets: &[String]) -> Self {
        let mut connector = Self::new(args);
        if !targets.is_empty() {
            connector.targets = targets.into();
        }
        connector
    }

    /// Makes connections as the command line says.
    pub(crate) fn new(args: &Connecting) -> Self {
        Self {
            targets: args.targets.as_slice().into(),
            transport: args.transport,
            affinity: !args.no_affinity,
            at_once: args.handshakes.get(),
            rate: args.connect_rate,
            opening: Arc::new(Opening::new(args.header_bytes as usize, false)),
            reconnect: args.reconnect,
            upgrades: Latencies::new(),
            away: Latencies::new(),
            failures: Failures::default(),
            ends: Failures::default(),
            made: AtomicU64::new(0),
            cut: AtomicU64::new(0),
        }
    }

    /// The same, whose clients come back whatever the command line says.
    pub(crate) fn returning(mut self) -> Self {
        self.reconnect = true;
        self
    }

    /// How many sessions there are.
    pub(crate) fn living(&self) -> u64 {
        let ended = self.cut.load(Relaxed) + self.ends.total();
        self.made.load(Relaxed).saturating_sub(ended)
    }

    /// Counts a session that the run has ended.
    pub(crate) fn cut(&self) {
        self.cut.fetch_add(1, Relaxed);
    }

    /// The same, whose connections are reset when they are dropped, not closed.
    pub(crate) fn abrupt(mut self, args: &Connecting) -> Self {
        self.opening = Arc::new(Opening::new(args.header_bytes as usize, true));
        self
    }

    /// Looks whether each target accepts connections: one that does not would be passed over later on.
    pub(crate) async fn reach(&self) -> Result<(), ConnectError> {
        for (number, target) in self.targets.iter().enumerate() {
            Route::new(&self.targets, number, true)
                .reach()
                .await
                .map_err(|source| ConnectError {
                    target: target.clone(),
                    source,
                })?;
        }
        Ok(())
    }

    /// Makes `count` connections, dealt to the targets in turn from the first on, and gives each with its number to `each` as soon as it
    /// is there, whatever the number, since one that nobody asks for packets answers no ping; the times of their handshakes. Each is best
    /// given to a task on the thread of its number ([`threads::of`]), where its connection is.
    pub(crate) async fn connect(
        &self,
        count: usize,
        transport: Transport,
        mut each: impl FnMut(usize, Client),
    ) -> Result<Latencies, ConnectError> {
        if !self.affinity {
            self.reach().await?;
        }
        let handshakes = Latencies::new();
        let progress = progress::bar(count as u64, "connected");
        let begun = Instant::now();
        let mut connecting = stream::iter(0..count)
            .map(|number| async move {
                if let Some(rate) = self.rate {
                    tokio::time::sleep_until((begun + Duration::from_secs_f64(number as f64 / rate)).into()).await;
                }
                self.one(number, transport).await
            })
            .buffer_unordered(self.at_once);
        while let Some((number, client, took)) = connecting.try_next().await? {
            handshakes.record(took);
            progress::show(&progress, self.made.fetch_add(1, Relaxed) + 1, self);
            each(number, client);
        }
        progress.finish_and_clear();
        Ok(handshakes)
    }

    /// Makes one, on the thread of its number.
    async fn one(&self, number: usize, transport: Transport) -> Result<(usize, Client, Duration), ConnectError> {
        let begun = Instant::now();
        let route = self.route(number);
        let connecting = threads::of(number).spawn(async move {
            let mut client = Client::connect(route, transport).await?;
            let took = client.connected().duration_since(begun);
            client.settle().await?;
            let settled = client.connected().elapsed();
            Ok((number, client, took, settled))
        });
        let connected = connecting
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        let (number, client, took, settled) = connected.map_err(|source| ConnectError {
            target: self.targets.get(number % self.targets.len()).cloned().unwrap_or_default(),
            source,
        })?;
        if transport == Transport::Upgrade {
            self.upgrades.record(settled);
        }
        Ok((number, client, took))
    }

    fn route(&self, start: usize) -> Route {
        Route::new(&self.targets, start, self.affinity).opening(&self.opening)
    }

    async fn settle(&self, client: &mut Client, transport: Transport) -> Result<(), ClientError> {
        client.settle().await?;
        if transport == Transport::Upgrade {
            self.upgrades.record(client.connected().elapsed());
        }
        Ok(())
    }

    /// One attempt to connect, to the target of that number. It fails without an end of the run, and is counted.
    pub(crate) async fn attempt(&self, number: usize) -> Result<Client, ClientError> {
        let connected = async {
            let mut client = Client::connect(self.route(number), self.transport).await?;
            self.settle(&mut client, self.transport).await?;
            Ok(client)
        };
        let client = connected.await.inspect_err(|error| self.failures.count(error))?;
        self.made.fetch_add(1, Relaxed);
        Ok(client)
    }

    /// A new session of a client whose last one has ended; `None` if it is not to come back. It comes back as stock clients do: the first
    /// attempt after 0.5 to 1.5 s. Cancel safe.
    pub(crate) async fn come_back(&self, why: &ClientError) -> Option<Client> {
        self.come_back_to(why, None).await
    }

    /// The same, which asks for its earlier session, if there is one.
    pub(crate) async fn come_back_to(&self, why: &ClientError, earlier: Option<&Session>) -> Option<Client> {
        let ended = Instant::now();
        self.ends.count(why);
        if !self.reconnect {
            return None;
        }
        tokio::time::sleep(delay(0, random())).await;
        Some(self.return_since(ended, earlier).await)
    }

    /// A new session of a client that has had none since `ended`, or an earlier one that the server gives back. It is attempted at once,
    /// and then as stock clients do, until it succeeds. The first attempt goes to a target by chance, and each further one to the next: the
    /// one of before may be gone. Cancel safe.
    pub(crate) async fn return_since(&self, ended: Instant, earlier: Option<&Session>) -> Client {
        let first = usize::try_from(random() % self.targets.len() as u64).unwrap_or_default();
        let mut attempt = 0;
        loop {
            match Client::come_back(self.route(first + attempt), self.transport, earlier).await {
                Ok(client) => {
                    self.made.fetch_add(1, Relaxed);
                    self.away.record(client.connected().duration_since(ended));
                    return client;
                }
                Err(error) => self.failures.count(&error),
            }
            attempt += 1;
            tokio::time::sleep(delay(attempt, random())).await;
        }
    }
}

/// Has clients tell their servers that they go, each on the thread of its number; waits until that is heard.
pub(crate) async fn leave(clients: impl IntoIterator<Item = (usize, Client)>) {
    let mut leaving = JoinSet::new();
    for (number, client) in clients {
        drop(leaving.spawn_on(client.leave(), &threads::of(number)));
    }
    leaving.join_all().await;
}

/// What is waited before an attempt to come back: half to one and a half times the average.
fn delay(attempt: usize, random: u64) -> Duration {
    // From the fifth on it is longer than the longest, whatever comes by chance.
    let average = FIRST_DELAY * (1 << attempt.min(4));
    average.mul_f64(0.5 + random as f64 / u64::MAX as f64).min(LONGEST_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_waits_as_stock_clients_do() {
        let seconds = |attempt, random| delay(attempt, random).as_secs_f64();
        assert_eq!((seconds(0, 0), seconds(0, u64::MAX)), (0.5, 1.5));
        assert_eq!((seconds(1, 0), seconds(1, u64::MAX)), (1.0, 3.0));
        assert_eq!((seconds(2, 0), seconds(2, u64::MAX)), (2.0, 5.0));
        assert_eq!((seconds(99, 0), seconds(99, u64::MAX)), (5.0, 5.0));
        assert_ne!(random(), random());
    }
}
