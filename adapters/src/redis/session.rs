//! One pair of connections to Redis.

use std::{sync::Arc, task::Poll, time::Duration};

use fred::{
    clients::Client,
    error::Error,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{
        ConnectHandle, Message, Value,
        config::{Config as FredConfig, ConnectionConfig, PerformanceConfig, TcpConfig, UnresponsiveConfig},
    },
};
use futures_util::{future::try_join, poll};
use tokio::{
    sync::{Mutex, broadcast},
    task::AbortHandle,
};

use super::Config;
use crate::{
    ConfigError, GapCause, Pattern, Topic,
    core::Core,
    driver::{Backend, Fault, Session, UNRESPONSIVE},
    outbound::Outgoing,
    stamp::{Seen, Stamp, Stamper},
};

/// Messages that fred may hold before the adapter takes them. Full: the oldest are dropped and the inbox says `Gap(Lagged)`.
const HEARD: usize = 8192;

/// Commands that fred may hold: a batch counts as one, so this is never reached. Full: the command fails, and with it the session.
const COMMANDS: usize = 1024;

/// Makes pairs of connections.
#[derive(Debug)]
pub(super) struct Redis {
    config: FredConfig,
    stamper: Arc<Mutex<Stamper>>,
}

/// One pair of connections.
#[derive(Debug)]
pub(super) struct Pair {
    publisher: Connection,
    listener: Connection,
    heard: Mutex<broadcast::Receiver<Message>>,
    /// Goes on counting from one session to the next.
    stamper: Arc<Mutex<Stamper>>,
}

/// A connection, and the fred task that drives it.
#[derive(Debug)]
struct Connection {
    client: Client,
    /// Taken by the one that waits for the end.
    driver: Mutex<Option<ConnectHandle>>,
    cut: Cut,
}

/// Ends the fred task when dropped; fred would otherwise stay in a blocked write.
#[derive(Debug)]
struct Cut(AbortHandle);

impl Redis {
    pub(super) fn new(config: &Config, stamper: Stamper) -> Result<Self, ConfigError> {
        Ok(Self {
            config: config.to_fred()?,
            stamper: Arc::new(Mutex::new(stamper)),
        })
    }
}

impl Backend for Redis {
    type Session = Pair;
    const NAME: &'static str = "redis";

    async fn connect(&mut self, _core: &Arc<Core>) -> Result<Pair, Fault> {
        let (publisher, listener) = try_join(Connection::open(&self.config), Connection::open(&self.config)).await?;
        // Before the first subscription, so nothing is missed.
        let heard = Mutex::new(listener.client.message_rx());
        Ok(Pair {
            publisher,
            listener,
            heard,
            stamper: self.stamper.clone(),
        })
    }
}

impl Session for Pair {
    async fn receive(&self, core: &Core) -> Fault {
        let mut heard = self.heard.lock().await;
        let mut seen = Seen::default();
        let ended = async {
            tokio::select! {
                fault = self.publisher.ended() => fault,
                fault = self.listener.ended() => fault,
            }
        };
        tokio::pin!(ended);
        loop {
            tokio::select! {
                message = heard.recv() => match message {
                    Ok(message) => deliver(message, &mut seen, core),
                    Err(broadcast::error::RecvError::Lagged(_)) => core.inbox.gap(GapCause::Lagged),
                    Err(broadcast::error::RecvError::Closed) => return Fault::new("the connection was closed"),
                },
                fault = &mut ended => return fault,
            }
        }
    }

    async fn subscribe(&self, patterns: &[Pattern]) -> Result<(), Fault> {
        let (channels, globs) = split(patterns);
        if !channels.is_empty() {
            self.listener.client.subscribe(channels).await.map_err(|error| fault(&error))?;
        }
        if !globs.is_empty() {
            self.listener.client.psubscribe(globs).await.map_err(|error| fault(&error))?;
        }
        Ok(())
    }

    async fn unsubscribe(&self, patterns: &[Pattern]) -> Result<(), Fault> {
        // Without arguments both commands would mean everything.
        let (channels, globs) = split(patterns);
        if !channels.is_empty() {
            self.listener.client.unsubscribe(channels).await.map_err(|error| fault(&error))?;
        }
        if !globs.is_empty() {
            self.listener.client.punsubscribe(globs).await.map_err(|error| fault(&error))?;
        }
        Ok(())
    }

    async fn prove(&self) -> Result<(), Fault> {
        let ping = async |connection: &Connection| connection.client.ping::<Value>(None).await.map_err(|error| fault(&error));
        try_join(ping(&self.listener), ping(&self.publisher)).await.map(drop)
    }

    async fn publish(&self, batch: Vec<Outgoing>) -> Result<u64, Fault> {
        let size = batch.len();
        let pipeline = self.publisher.client.pipeline();
        let mut stamper = self.stamper.lock().await;
        for Outgoing { topic, payload, .. } in batch {
            let stamped = stamper.stamp(&payload);
            // Only queues into the pipeline.
            pipeline
                .publish::<Value, _, _>(topic.as_str(), stamped)
                .await
                .map_err(|error| fault(&error))?;
        }
        let answers = pipeline.try_all::<Value>().await;
        let refused = answers.iter().find_map(|answer| answer.as_ref().err());
        if answers.len() != size {
            // One answer for all: the connection is gone.
            return Err(refused.map_or_else(|| Fault::new("a batch was answered in part"), fault));
        }
        if let Some(error) = refused {
            tracing::warn!(%error, "Redis refused messages");
        }
        Ok(answers.iter().filter(|answer| answer.is_ok()).count() as u64)
    }

    fn abort(&self) {
        self.publisher.cut.0.abort();
        self.listener.cut.0.abort();
    }
}

impl Connection {
    async fn open(config: &FredConfig) -> Result<Self, Fault> {
        let performance = PerformanceConfig {
            broadcast_channel_capacity: HEARD,
            ..PerformanceConfig::default()
        };
        let connection = ConnectionConfig {
            connection_timeout: UNRESPONSIVE,
            internal_command_timeout: UNRESPONSIVE,
            max_command_attempts: 1,
            max_command_buffer_len: COMMANDS,
            tcp: TcpConfig {
                nodelay: Some(true),
                ..TcpConfig::default()
            },
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(UNRESPONSIVE),
                interval: Duration::from_secs(1),
            },
            ..ConnectionConfig::default()
        };
        // No reconnect policy: this client lives as long as its connection, the driver makes the next one.
        let client = Client::new(config.clone(), Some(performance), Some(connection), None);
        let waiter = client.clone();
        let waiting = waiter.wait_for_connect();
        tokio::pin!(waiting);
        // Subscribes to the outcome before there can be one.
        if let Poll::Ready(Err(error)) = poll!(waiting.as_mut()) {
            return Err(fault(&error));
        }
        let mut driver = client.connect();
        let cut = Cut(driver.abort_handle());
        tokio::select! {
            biased;
            ended = &mut driver => return Err(ending(ended)),
            connected = waiting => connected.map_err(|error| fault(&error))?,
        }
        Ok(Self {
            client,
            driver: Mutex::new(Some(driver)),
            cut,
        })
    }

    async fn ended(&self) -> Fault {
        match self.driver.lock().await.take() {
            Some(driver) => ending(driver.await),
            None => Fault::new("the connection has ended"),
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn deliver(message: Message, seen: &mut Seen, core: &Core) {
    let Message { channel, value, .. } = message;
    let stamped = value.into_bytes().and_then(Stamp::split);
    let (Some((stamp, payload)), Ok(topic)) = (stamped, Topic::new(&channel)) else {
        core.count_malformed();
        return;
    };
    // Copies of one publish follow each other on the connection, so a publisher's messages are in order.
    if seen.is_new(stamp) {
        core.inbox.message(topic, payload);
    }
}

/// Channels and glob patterns. No character of a topic means something in a glob.
fn split(patterns: &[Pattern]) -> (Vec<String>, Vec<String>) {
    let (mut channels, mut globs) = (Vec::new(), Vec::new());
    for pattern in patterns {
        match pattern {
            Pattern::Exact(topic) => channels.push(topic.as_str().to_owned()),
            Pattern::Prefix(topic) => globs.push(format!("{topic}.*")),
        }
    }
    (channels, globs)
}

fn ending(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Fault {
    match ended {
        Ok(Err(error)) => fault(&error),
        _ => Fault::new("the connection was closed"),
    }
}

fn fault(error: &Error) -> Fault {
    Fault::new(error)
}
