//! One pair of connections to Redis.

use std::sync::Arc;

use fred::{
    interfaces::{EventInterface, PubsubInterface},
    types::{Message, Value},
};
use futures_util::future::try_join;
use tokio::sync::{Mutex, broadcast};

use super::{
    Config,
    connection::{Connection, fault},
    sentinel::Sentinels,
    topology::{Access, Address, Plan, Topology},
};
use crate::{
    ConfigError, GapCause, Pattern, Topic,
    core::Core,
    driver::{Backend, Fault, Session},
    outbound::Outgoing,
    stamp::{Seen, Stamp, Stamper},
};

/// Makes pairs of connections.
#[derive(Debug)]
pub(super) struct Redis {
    master: Master,
    access: Access,
    stamper: Arc<Mutex<Stamper>>,
}

/// Who is to be connected to.
#[derive(Debug)]
enum Master {
    At(Address),
    KnownTo(Sentinels),
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

impl Redis {
    pub(super) fn new(config: &Config, stamper: Stamper) -> Result<Self, ConfigError> {
        let Plan {
            topology,
            servers,
            sentinels,
        } = Plan::new(config)?;
        let master = match topology {
            Topology::Alone(address) => Master::At(address),
            Topology::Sentinels(addresses, name) => Master::KnownTo(Sentinels::new(addresses, sentinels, name)),
        };
        Ok(Self {
            master,
            access: servers,
            stamper: Arc::new(Mutex::new(stamper)),
        })
    }
}

impl Backend for Redis {
    type Session = Pair;
    const NAME: &'static str = "redis";

    async fn connect(&mut self, _core: &Arc<Core>) -> Result<Pair, Fault> {
        let address = match &self.master {
            Master::At(address) => address.clone(),
            Master::KnownTo(sentinels) => sentinels.master().await?,
        };
        let open = || Connection::open(&self.access, &address);
        let (publisher, listener) = try_join(open(), open()).await?;
        if matches!(self.master, Master::KnownTo(_)) && !publisher.is_master().await? {
            return Err(Fault::new(format_args!("{address} is no longer a master")));
        }
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
        try_join(self.listener.ping(), self.publisher.ping()).await.map(drop)
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
        self.publisher.abort();
        self.listener.abort();
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
