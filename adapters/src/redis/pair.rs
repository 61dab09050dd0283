//! Two connections to one server of Redis: one publishes, one hears.

use std::{
    collections::HashSet,
    sync::{Mutex as StdMutex, MutexGuard, PoisonError},
};

use fred::{
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::{Message, Value},
};
use futures_util::future::{try_join, try_join_all};
use tokio::sync::{Mutex, broadcast};

use super::{
    connection::{Connection, command, fault},
    topology::{Access, Address},
};
use crate::{GapCause, Topic, core::Core, driver::Fault, outbound::Outgoing};

/// How a server hands out messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// To whom it is connected to: PUBLISH, SUBSCRIBE.
    Plain,
    /// To whom is connected to the shard that has the channel's slot: SPUBLISH, SSUBSCRIBE.
    Sharded,
}

/// The connections, and what was subscribed over them.
#[derive(Debug)]
pub(super) struct Pair {
    publisher: Connection,
    listener: Connection,
    heard: Mutex<broadcast::Receiver<Message>>,
    delivery: Delivery,
    /// The topics that the server has confirmed; kept where it may drop them by itself.
    held: StdMutex<HashSet<Topic>>,
}

impl Pair {
    pub(super) async fn open(access: &Access, address: &Address, delivery: Delivery) -> Result<Self, Fault> {
        let open = || Connection::open(access, address);
        let (publisher, listener) = try_join(open(), open()).await?;
        // Before the first subscription, so nothing is missed.
        let heard = Mutex::new(listener.client.message_rx());
        Ok(Self {
            publisher,
            listener,
            heard,
            delivery,
            held: StdMutex::default(),
        })
    }

    /// See [`Connection::is_master`].
    pub(super) async fn is_master(&self) -> Result<bool, Fault> {
        self.publisher.is_master().await
    }

    /// Carries what arrives into the inbox until one of the connections ends. Called once.
    pub(super) async fn receive(&self, core: &Core) -> Fault {
        let mut heard = self.heard.lock().await;
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
                    Ok(message) => deliver(message, core),
                    Err(broadcast::error::RecvError::Lagged(_)) => core.inbox.gap(GapCause::Lagged),
                    Err(broadcast::error::RecvError::Closed) => return Fault::new("the connection was closed"),
                },
                fault = &mut ended => return fault,
            }
        }
    }

    pub(super) async fn subscribe(&self, topics: Vec<Topic>) -> Result<(), Fault> {
        let client = &self.listener.client;
        match self.delivery {
            Delivery::Plain => client.subscribe(channels(&topics)).await.map_err(|error| fault(&error)),
            Delivery::Sharded => {
                // One channel a command: fred takes the first of several replies for the whole answer.
                let pipeline = client.pipeline();
                for topic in &topics {
                    let channel = vec![Value::from(sharded(topic))];
                    let queued = pipeline.custom::<Value, _>(command("SSUBSCRIBE"), channel).await;
                    queued.map_err(|error| fault(&error))?;
                }
                answered(topics.len(), pipeline.try_all().await)?;
                self.held().extend(topics);
                Ok(())
            }
        }
    }

    pub(super) async fn unsubscribe(&self, topics: Vec<Topic>) -> Result<(), Fault> {
        let client = &self.listener.client;
        match self.delivery {
            Delivery::Plain => client.unsubscribe(channels(&topics)).await.map_err(|error| fault(&error)),
            Delivery::Sharded => {
                // All channels of one command must have one slot.
                try_join_all(topics.iter().map(|topic| client.sunsubscribe(sharded(topic))))
                    .await
                    .map_err(|error| fault(&error))?;
                let mut held = self.held();
                for topic in &topics {
                    held.remove(topic);
                }
                Ok(())
            }
        }
    }

    /// A round trip over both connections.
    pub(super) async fn prove(&self) -> Result<(), Fault> {
        try_join(self.prove_listener(), self.publisher.ping()).await.map(drop)
    }

    /// A server whose slot moves drops the subscriptions to it, and fred its notice: so it is asked how many there are.
    async fn prove_listener(&self) -> Result<(), Fault> {
        if self.delivery == Delivery::Plain {
            return self.listener.ping().await;
        }
        let answer = self.listener.ask("CLIENT", vec!["INFO".into()]).await?;
        let text = answer.as_str().unwrap_or_default();
        let count = text.split_ascii_whitespace().find_map(|word| word.strip_prefix("ssub="));
        match count.and_then(|count| count.parse::<usize>().ok()) {
            Some(count) if count == self.held().len() => Ok(()),
            Some(_) => Err(Fault::new("a slot has moved to another server")),
            None => Err(Fault::new(
                "CLIENT INFO does not tell of sharded subscriptions: Redis 7.0.3 or later is needed",
            )),
        }
    }

    /// Sends a batch in its order; answers how many of it the server took. After an error none of it counts as taken.
    pub(super) async fn publish(&self, batch: Vec<Outgoing>) -> Result<u64, Fault> {
        let size = batch.len();
        let pipeline = self.publisher.client.pipeline();
        for Outgoing { topic, payload, .. } in batch {
            // Only queues into the pipeline.
            let queued = match self.delivery {
                Delivery::Plain => pipeline.publish::<Value, _, _>(topic.as_str(), payload).await,
                Delivery::Sharded => pipeline.spublish::<Value, _, _>(sharded(&topic), payload).await,
            };
            queued.map_err(|error| fault(&error))?;
        }
        let answers = pipeline.try_all::<Value>().await;
        if self.delivery == Delivery::Sharded {
            // A refusal means that the slot is elsewhere, or nowhere.
            return answered(size, answers).map(|()| size as u64);
        }
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

    /// Cuts both connections at once.
    pub(super) fn abort(&self) {
        self.publisher.abort();
        self.listener.abort();
    }

    fn held(&self) -> MutexGuard<'_, HashSet<Topic>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a pipeline of this many commands was answered, and nothing refused.
fn answered(commands: usize, answers: Vec<Result<Value, fred::error::Error>>) -> Result<(), Fault> {
    let answered = answers.len();
    for answer in answers {
        answer.map_err(|error| fault(&error))?;
    }
    if answered == commands {
        Ok(())
    } else {
        Err(Fault::new("a batch was answered in part"))
    }
}

fn channels(topics: &[Topic]) -> Vec<String> {
    topics.iter().map(|topic| topic.as_str().to_owned()).collect()
}

/// The channel of a topic on a cluster, whose slot is that of the braced part.
fn sharded(topic: &Topic) -> String {
    let group = topic.group();
    let rest = topic.as_str().strip_prefix(group).unwrap_or_default();
    format!("{{{group}}}{rest}")
}

fn deliver(message: Message, core: &Core) {
    let Message { channel, value, .. } = message;
    match (topic(&channel), value.into_bytes()) {
        (Some(topic), Some(payload)) => core.inbox.message(topic, payload),
        _ => core.count_malformed(),
    }
}

fn topic(channel: &str) -> Option<Topic> {
    let braced = channel.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    let topic = braced.map_or_else(|| Topic::new(channel), |(group, rest)| Topic::new(&format!("{group}{rest}")));
    topic.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_hashed_by_its_group_and_read_back() {
        for (text, channel) in [("a.b", "{a.b}"), ("a.b:c", "{a.b}:c")] {
            let own = Topic::new(text).unwrap();
            assert_eq!(sharded(&own), channel);
            assert_eq!([topic(channel), topic(text)], [Some(own.clone()), Some(own)]);
        }
        assert_eq!(topic("{a"), None);
        assert_eq!(topic("not a topic"), None);
    }
}
