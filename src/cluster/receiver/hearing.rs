//! What this node hears of: subscriptions that begin, are proven and end.

use std::time::{Duration, Instant};

use fanfare_adapters::{SubscribeError, Subscribing};
use futures_util::future::BoxFuture;

use super::Receiver;
use crate::cluster::{
    link::{Wish, lock},
    sequences::TopicId,
};

/// Channels that are kept for nothing but their numbers before some are forgotten.
const MAX_IDLE: usize = if cfg!(test) { 16 } else { 4096 };

/// How long joins are gathered before the backend is asked for their rooms: so long where there are few, and at least so long apart where
/// there are many, or each would cost the backend a round trip.
const GATHER: Duration = Duration::from_millis(5);
const GATHER_MORE: Duration = Duration::from_millis(40);

/// Rooms' topics that are heard from now on.
pub(super) struct Hearing {
    topics: Vec<TopicId>,
    /// How many parts have become wanted with them.
    number: u64,
}

impl Receiver {
    /// Deals with subscriptions that have begun or ended.
    pub(super) fn fulfil(&mut self, now: Instant) {
        if self.link.has_fresh() {
            self.hear_at.get_or_insert((now + GATHER).max(self.last_hearing + GATHER_MORE));
        }
        let wishes = std::mem::take(&mut *lock(&self.link.wishes));
        for wish in wishes {
            match wish {
                Wish::Confirm(topic, subscribing) => self.confirming.push(confirmation(topic, subscribing)),
                Wish::Forget(topic) => self.forget(topic),
            }
        }
    }

    /// Asks the backend for the rooms that have got sockets since it was asked last.
    pub(super) fn hear(&mut self, now: Instant) {
        (self.hear_at, self.last_hearing) = (None, now);
        let (number, confirmed) = self.link.hear_fresh();
        self.hearing.push_back(Box::pin(async move {
            let topics = confirmed.await;
            Hearing { topics, number }
        }));
    }

    /// The backend has confirmed that these topics are heard, and all before them.
    pub(super) fn hears(&mut self, Hearing { topics, number }: Hearing) {
        let above = self.link.control_sequence();
        self.proving.extend(topics.into_iter().map(|topic| (topic, above)));
        self.link.set_heard(number);
    }

    fn forget(&mut self, topic: TopicId) {
        self.sequences.forget(topic);
        self.proving.retain(|(proving, _)| *proving != topic);
    }

    /// Forgets channels that clients have made this node use and that nobody needs, once there are many. Numbers that others have seen
    /// can only be forgotten when all are counted anew, in another epoch.
    pub(super) fn tidy(&mut self, now: Instant) {
        if self.link.idle() <= MAX_IDLE {
            return;
        }
        self.fulfil(now);
        let mut forgotten = self.link.forget_idle();
        if self.link.idle() > MAX_IDLE {
            tracing::info!("many namespaces have come and gone: this node begins a new epoch");
            self.count_anew(now);
            forgotten.extend(self.link.forget_idle());
        }
        for topic in forgotten {
            self.forget(topic);
        }
    }
}

fn confirmation(topic: TopicId, subscribing: Subscribing) -> BoxFuture<'static, (TopicId, Result<(), SubscribeError>)> {
    Box::pin(async move { (topic, subscribing.await) })
}
