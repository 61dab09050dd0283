//! The receiving half: the one task that reads the inbox, and owns what this node knows of the others.

mod hearing;
mod members;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use fanfare_adapters::{Delivery, Inbox, SubscribeError, Topic};
use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{FuturesOrdered, FuturesUnordered},
};
use tokio::sync::watch;

use self::hearing::Hearing;
use super::{
    Origin,
    channels::Channel,
    health::Standing,
    link::Link,
    membership::{Membership, Times},
    replying::Desk,
    said::Said,
    sequences::{Seen, Sequences, TopicId, Turn},
    tasks::Tasks,
    wire::{self, Envelope, Kind, WireError},
};
use crate::hub::{Command, Hub, Scope};

/// Deliveries that are worked off before other tasks get their turn.
const BATCH: usize = 64;

/// Sockets that are reached before other tasks get their turn.
const BATCH_SOCKETS: usize = 1024;

/// Bytes that are worked off before other tasks get their turn: far fewer than an outbox takes, or a burst would cut clients off
/// for which nobody has had the time to write.
const BATCH_BYTES: usize = 64 * 1024;

/// Heartbeats that are sent early, to answer a newcomer or to prove a subscription, keep this share of the usual distance.
const EARLY: u32 = 10;

#[derive(Debug)]
pub(super) struct Receiver {
    link: Arc<Link>,
    hub: Arc<Hub>,
    inbox: Inbox,
    membership: Membership,
    sequences: Sequences,
    standing: watch::Sender<Standing>,
    desk: Desk,
    /// Where requests are answered.
    tasks: Tasks,
    /// What was said in the log, so that it is said once.
    said: Said,
    confirming: FuturesUnordered<BoxFuture<'static, (TopicId, Result<(), SubscribeError>)>>,
    /// Rooms' topics that the backend was asked for, in order.
    hearing: FuturesOrdered<BoxFuture<'static, Hearing>>,
    /// When the backend is asked for more of them.
    hear_at: Option<Instant>,
    last_hearing: Instant,
    /// Confirmed subscriptions that are proven live by a canary with a number above this.
    proving: Vec<(TopicId, u64)>,
    last_heartbeat: Instant,
    next_heartbeat: Instant,
    /// Counts heartbeats.
    turn: usize,
    /// How often another tag was drawn.
    redraws: u8,
    /// Sockets reached since other tasks had their turn.
    reached: usize,
}

impl Receiver {
    pub(super) fn new(link: Arc<Link>, hub: Arc<Hub>, inbox: Inbox, standing: watch::Sender<Standing>, tasks: Tasks) -> Self {
        let now = now();
        let times = Times {
            suspect_after: link.config.suspect_after,
            remove_after: link.config.remove_after,
        };
        Self {
            membership: Membership::new(times, link.origin().tag, now),
            desk: Desk::new(link.clone(), hub.clone()),
            link,
            hub,
            inbox,
            sequences: Sequences::default(),
            standing,
            tasks,
            said: Said::default(),
            confirming: FuturesUnordered::new(),
            hearing: FuturesOrdered::new(),
            hear_at: None,
            last_hearing: now,
            proving: Vec::new(),
            last_heartbeat: now,
            next_heartbeat: now,
            turn: 0,
            redraws: 0,
            reached: 0,
        }
    }

    /// Runs until it is dropped, or the adapter is closed.
    pub(super) async fn run(mut self) {
        let link = self.link.clone();
        let (mut batch, mut bytes) = (0, 0);
        loop {
            let wakes = [self.membership.poll_timeout(), link.next_leave(), self.hear_at];
            let wake = wakes.into_iter().flatten().fold(self.next_heartbeat, Instant::min);
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(wake.into()) => self.tick(now()),
                () = link.wished.notified() => self.fulfil(now()),
                Some(batch) = self.hearing.next() => self.hears(batch),
                Some((topic, confirmed)) = self.confirming.next() => if confirmed.is_ok() {
                    self.proving.push((topic, link.control_sequence()));
                    self.hasten(now());
                },
                delivery = self.inbox.next() => match delivery {
                    Some(delivery) => bytes += self.deliver(delivery),
                    None => return,
                },
            }
            batch += 1;
            if batch >= BATCH || bytes >= BATCH_BYTES || self.reached >= BATCH_SOCKETS {
                (batch, bytes, self.reached) = (0, 0, 0);
                tokio::task::yield_now().await;
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        let events = self.membership.handle_timeout(now);
        self.changed(now, events);
        if self.hear_at.is_some_and(|at| at <= now) {
            self.hear(now);
        }
        self.link.leave_empty(now);
        if now < self.next_heartbeat {
            return;
        }
        self.tidy(now);
        self.link
            .heartbeat(self.turn, self.hub.counters().sockets.get(), self.membership.unaware());
        self.turn = self.turn.wrapping_add(1);
        (self.last_heartbeat, self.next_heartbeat) = (now, now + self.link.config.heartbeat);
    }

    /// Has a heartbeat sent before its time.
    fn hasten(&mut self, now: Instant) {
        let earliest = self.last_heartbeat + self.link.config.heartbeat / EARLY;
        self.next_heartbeat = self.next_heartbeat.min(earliest.max(now));
    }

    /// Answers the bytes of the message, if it is one.
    fn deliver(&mut self, delivery: Delivery) -> usize {
        let counters = &self.link.counters;
        match delivery {
            Delivery::Message { topic, payload } => {
                counters.received.increment();
                if let Err(error) = self.receive(&topic, &payload) {
                    self.refuse(&topic, &payload, &error);
                }
                return payload.len();
            }
            Delivery::Gap(cause) => {
                counters.gaps.increment();
                tracing::warn!(?cause, "messages of other nodes may be missing");
            }
            Delivery::Connected => {
                counters.connects.increment();
                tracing::info!("the backend is reachable");
                self.standing.send_modify(|standing| standing.connected = true);
                self.hasten(now());
            }
            Delivery::Disconnected => {
                counters.disconnects.increment();
                tracing::warn!("the backend is not reachable: other nodes are not heard");
                self.standing.send_modify(|standing| standing.connected = false);
            }
        }
        0
    }

    /// Decides by the header first; a payload is touched only for sockets of this node.
    fn receive(&mut self, topic: &Topic, message: &Bytes) -> Result<(), WireError> {
        let envelope = Envelope::open(message)?;
        let address = envelope.address;
        if address.cluster != self.link.config.name {
            return Err(WireError::Cluster);
        }
        let own = self.link.is_own(address.origin);
        if own && address.kind != Kind::Heartbeat {
            self.link.counters.own.increment();
            return Ok(());
        }
        envelope.verify(topic, &self.link.keys)?;
        if own {
            self.canary(address.origin, address.topic_sequence);
            return Ok(());
        }
        let Some(channel) = self.link.channel_of(topic) else {
            self.link.counters.unwanted.increment();
            return Ok(());
        };
        let counters = &self.link.counters;
        match self.sequences.message(address.origin, channel.id, address.topic_sequence) {
            Seen::New => {}
            Seen::Repeat => {
                counters.repeats.increment();
                return Ok(());
            }
            Seen::Hole(missing) => self.hole(address.origin, &channel, missing),
        }
        if channel.is_of_namespace() {
            match self.sequences.command(address.origin, channel.whole, address.namespace_sequence) {
                Turn::Next => return self.command(&envelope, &channel),
                Turn::Copy => counters.copies.increment(),
                // Out of order it is of no use: it counts as one that never arrived.
                Turn::Late => self.hole(address.origin, &channel, 1),
            }
            Ok(())
        } else if channel.id == self.link.control.id {
            self.control(&envelope)
        } else {
            self.request(&envelope)
        }
    }

    /// Another node asks this one, or replies to it.
    fn request(&mut self, envelope: &Envelope<'_>) -> Result<(), WireError> {
        let origin = envelope.address.origin;
        if envelope.address.kind == Kind::Reply {
            self.link.replied(origin, wire::open_reply(envelope)?);
            return Ok(());
        }
        if envelope.address.kind == Kind::Settle {
            let reply = self.desk.settle(origin.tag, wire::open_settle(envelope)?);
            reply.into_iter().for_each(|reply| self.tasks.spawn(reply));
        } else {
            let (reached, reply) = self.desk.take(origin.tag, &wire::open_request(envelope)?);
            self.reached += reached;
            reply.into_iter().for_each(|reply| self.tasks.spawn(reply));
        }
        Ok(())
    }

    fn command(&mut self, envelope: &Envelope<'_>, channel: &Channel) -> Result<(), WireError> {
        let received = wire::decode(envelope, &channel.namespace)?;
        let target = received.target();
        let journal = self.link.journal().filter(|_| self.hub.is_recoverable(&target.namespace));
        let Some(journal) = journal else {
            if !self.hub.interested(&target.namespace, &target.rooms) {
                self.link.counters.unwanted.increment();
                return Ok(());
            }
            let command = received.command(envelope)?;
            self.apply(&command);
            return Ok(());
        };
        let command = received.command(envelope)?;
        if !self.hub.is_logged(&command, Scope::Cluster) {
            self.apply(&command);
        } else if journal.append(&command, false).is_ok() {
            // Of a node whose log is another one: here it gets its place in this node's, for clients that are away, too.
            self.link.counters.applied.increment();
        }
        Ok(())
    }

    fn apply(&mut self, command: &Command) {
        self.reached += self.hub.apply(command);
        self.link.counters.applied.increment();
    }

    fn hole(&self, origin: Origin, channel: &Channel, missing: u64) {
        let counters = &self.link.counters;
        let counter = if channel.is_of_namespace() {
            &counters.holes
        } else if channel.id == self.link.control.id {
            &counters.heartbeats_missed
        } else {
            &counters.requests_missed
        };
        counter.add(missing);
        if missing > 0 {
            tracing::debug!(%origin, topic = %channel.topic, missing, "messages of another node never arrived");
        }
    }

    /// Counts an envelope that is not for this node to read, and says each reason once.
    fn refuse(&mut self, topic: &Topic, message: &Bytes, error: &WireError) {
        let counters = &self.link.counters;
        let (counter, reason) = match error {
            WireError::Version(_) => (&counters.foreign_version, Said::VERSION),
            WireError::Cluster => (&counters.foreign_cluster, Said::CLUSTER),
            WireError::Mac => (&counters.bad_mac, Said::MAC),
            WireError::Kind(_) | WireError::Flags(_) | WireError::Malformed(_) => (&counters.malformed, Said::MALFORMED),
        };
        counter.increment();
        if self.said.first(reason) {
            tracing::warn!(%topic, bytes = message.len(), %error, "an envelope is ignored, and so will be further ones like it");
        }
    }
}

impl Drop for Receiver {
    /// Nobody waits any more to hear anything.
    fn drop(&mut self) {
        self.link.set_heard(u64::MAX);
    }
}

/// The time by tokio's clock, which tests pause.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Milliseconds since 1970; what an epoch is made of.
pub(super) fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
