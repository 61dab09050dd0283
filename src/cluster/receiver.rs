//! The receiving half: the one task that reads the inbox, and owns what this node knows of the others.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use fanfare_adapters::{Delivery, Inbox, SubscribeError, Subscribing, Topic};
use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{FuturesOrdered, FuturesUnordered},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Member, Origin,
    channels::Channel,
    health::Standing,
    link::{Link, Wish, lock},
    membership::{Event, Heard, Membership, Times},
    replying::Desk,
    said::Said,
    sequences::{Seen, Sequences, TopicId, Turn},
    wire::{self, Envelope, Flags, Goodbye, Heartbeat, Kind, WireError, unpack},
};
use crate::hub::{Command, Hub, NodeLeft, Scope};

/// Deliveries that are worked off before other tasks get their turn.
const BATCH: usize = 64;

/// Sockets that are reached before other tasks get their turn.
const BATCH_SOCKETS: usize = 1024;

/// Bytes that are worked off before other tasks get their turn: far fewer than an outbox takes, or a burst would cut clients off
/// for which nobody has had the time to write.
const BATCH_BYTES: usize = 64 * 1024;

/// Channels that are kept for nothing but their numbers before some are forgotten.
const MAX_IDLE: usize = if cfg!(test) { 16 } else { 4096 };

/// Heartbeats that are sent early, to answer a newcomer or to prove a subscription, keep this share of the usual distance.
const EARLY: u32 = 10;

/// How long joins are gathered before the backend is asked for their rooms: so long where there are few, and at least so long apart where
/// there are many, or each would cost the backend a round trip.
const GATHER: Duration = Duration::from_millis(5);
const GATHER_MORE: Duration = Duration::from_millis(40);

/// Rooms' topics that are heard from now on.
struct Hearing {
    topics: Vec<TopicId>,
    /// How many parts have become wanted with them.
    number: u64,
}

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
    tasks: TaskTracker,
    cancelled: CancellationToken,
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
    /// Sockets reached since other tasks had their turn.
    reached: usize,
}

impl Receiver {
    pub(super) fn new(
        link: Arc<Link>,
        hub: Arc<Hub>,
        inbox: Inbox,
        standing: watch::Sender<Standing>,
        (tasks, cancelled): (TaskTracker, CancellationToken),
    ) -> Self {
        let now = now();
        let times = Times {
            suspect_after: link.config.suspect_after,
            remove_after: link.config.remove_after,
        };
        Self {
            membership: Membership::new(times, link.tag, now),
            desk: Desk::new(link.clone(), hub.clone()),
            link,
            hub,
            inbox,
            sequences: Sequences::default(),
            standing,
            tasks,
            cancelled,
            said: Said::default(),
            confirming: FuturesUnordered::new(),
            hearing: FuturesOrdered::new(),
            hear_at: None,
            last_hearing: now,
            proving: Vec::new(),
            last_heartbeat: now,
            next_heartbeat: now,
            turn: 0,
            reached: 0,
        }
    }

    /// Runs until it is cancelled, or the adapter is closed. Nobody waits then to hear anything.
    pub(super) async fn run(self) {
        let link = self.link.clone();
        self.receive_all().await;
        link.set_heard(u64::MAX);
    }

    async fn receive_all(mut self) {
        let (link, cancelled) = (self.link.clone(), self.cancelled.clone());
        let (mut batch, mut bytes) = (0, 0);
        loop {
            let wakes = [self.membership.poll_timeout(), link.next_leave(), self.hear_at];
            let wake = wakes.into_iter().flatten().fold(self.next_heartbeat, Instant::min);
            tokio::select! {
                biased;
                () = cancelled.cancelled() => return,
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

    /// Deals with subscriptions that have begun or ended.
    fn fulfil(&mut self, now: Instant) {
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
    fn hear(&mut self, now: Instant) {
        (self.hear_at, self.last_hearing) = (None, now);
        let (number, confirmed) = self.link.hear_fresh();
        self.hearing.push_back(Box::pin(async move {
            let topics = confirmed.await;
            Hearing { topics, number }
        }));
    }

    /// The backend has confirmed that these topics are heard, and all before them.
    fn hears(&mut self, Hearing { topics, number }: Hearing) {
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
    fn tidy(&mut self, now: Instant) {
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
        self.link.heartbeat(self.turn, self.membership.unaware());
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
            reply.into_iter().for_each(|reply| self.spawn(reply));
        } else {
            let (reached, reply) = self.desk.take(origin.tag, &wire::open_request(envelope)?);
            self.reached += reached;
            reply.into_iter().for_each(|reply| self.spawn(reply));
        }
        Ok(())
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancelled = self.cancelled.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => {}
                () = work => {}
            }
        });
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

    fn control(&mut self, envelope: &Envelope<'_>) -> Result<(), WireError> {
        let (now, origin, flags) = (now(), envelope.address.origin, envelope.address.flags);
        let malformed = |_| WireError::Malformed("part");
        let events = match envelope.address.kind {
            Kind::Heartbeat => {
                let heartbeat: Heartbeat<'_> = unpack(envelope.part).map_err(malformed)?;
                self.account(origin, &heartbeat.used, flags);
                let us = self.link.origin();
                let heard = Heard {
                    node: shortened(heartbeat.node),
                    advertise: shortened(heartbeat.advertise),
                    version: heartbeat.version,
                    features: heartbeat.features,
                    removed_us: heartbeat.removed.iter().any(|(tag, epoch)| tag.0 == us.tag && *epoch == us.epoch),
                };
                self.membership.handle_heartbeat(now, origin, &heard)
            }
            Kind::Goodbye => {
                let goodbye: Goodbye<'_> = unpack(envelope.part).map_err(malformed)?;
                self.account(origin, &goodbye.used, flags);
                self.membership.handle_goodbye(origin).into_iter().collect()
            }
            kind => return Err(WireError::Kind(kind as u8)),
        };
        self.changed(now, events);
        Ok(())
    }

    /// Compares the last numbers that an origin has used with what was seen of it.
    fn account(&mut self, origin: Origin, used: &[(&str, u64)], flags: Flags) {
        for (channel, used) in self.link.reported(used, !flags.has(Flags::PARTIAL)) {
            let missing = self.sequences.reported(origin, channel.id, used);
            self.hole(origin, &channel, missing);
        }
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

    /// An own heartbeat has come back.
    fn canary(&mut self, origin: Origin, sequence: u64) {
        if origin != self.link.origin() || sequence > self.link.control_sequence() {
            return;
        }
        let now = now();
        self.link.counters.canaries.increment();
        let sequences = &mut self.sequences;
        self.proving.retain(|(topic, above)| {
            let live = sequence > *above;
            if live {
                sequences.arm(*topic);
            }
            !live
        });
        let events = self.membership.handle_canary(now, sequence);
        self.changed(now, events);
        self.standing.send_modify(|standing| standing.heard = self.membership.heard());
    }

    /// Draws the conclusions from what has changed in the membership.
    fn changed(&mut self, now: Instant, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let members: Vec<Member> = self.membership.members().cloned().collect();
        self.link.agree(&members);
        let before = self.standing.borrow().members.clone();
        self.standing.send_modify(|standing| standing.members = members);
        for event in events {
            if let Event::Left(gone) | Event::Removed(gone) = event
                && let Some(member) = before.iter().find(|member| member.origin == gone)
            {
                let left = NodeLeft::new(Arc::clone(&member.node), gone.tag, matches!(event, Event::Left(_)));
                self.hub.node_left(&left);
            }
            if let Event::Suspected(gone) | Event::Left(gone) | Event::Removed(gone) | Event::Restarted { gone, .. } = event {
                self.link.give_up(gone);
            }
            self.conclude(now, event);
        }
    }

    fn conclude(&mut self, now: Instant, event: Event) {
        let counters = &self.link.counters;
        match event {
            Event::Joined(member) => {
                counters.joined.increment();
                tracing::info!(origin = %member.origin, node = &*member.node, "a node has joined");
                self.sequences.readmit(member.origin);
                self.hasten(now);
            }
            Event::Restarted { gone, member } => {
                counters.joined.increment();
                tracing::info!(origin = %member.origin, node = &*member.node, "a node has begun a new epoch");
                self.sequences.retire(gone);
                self.sequences.readmit(member.origin);
                self.hasten(now);
            }
            Event::Suspected(origin) => {
                counters.suspected.increment();
                tracing::warn!(%origin, "nothing is heard of a node");
            }
            Event::Returned(origin) => tracing::info!(%origin, "a suspected node is heard again"),
            Event::Left(origin) => {
                counters.left.increment();
                tracing::info!(%origin, "a node has left");
                self.sequences.retire(origin);
            }
            Event::Removed(origin) => {
                counters.removed.increment();
                tracing::warn!(%origin, "a node was removed: nothing was heard of it for too long");
                self.sequences.retire(origin);
            }
            Event::RemovedUs(by) => self.come_back(now, by),
            Event::Clash(with) => {
                counters.clashes.increment();
                if self.said.first(Said::CLASH) {
                    tracing::error!(%with, "another node has the tag of this one; one of the two must be restarted");
                }
            }
            Event::Crowded(origin) => {
                counters.crowded.increment();
                if self.said.first(Said::CROWDED) {
                    tracing::error!(%origin, "a node is not admitted: there are too many");
                }
            }
        }
    }

    /// Another node holds this one for gone: comes back under a new epoch, in which its numbers go on.
    fn come_back(&mut self, now: Instant, by: Origin) {
        tracing::warn!(%by, "this node was held for gone, and begins a new epoch");
        self.begin_epoch(now, self.link.origin().returned());
    }

    /// Begins a new epoch, in which all numbers start at 1 again.
    fn count_anew(&mut self, now: Instant) {
        let origin = self.link.origin();
        let since = clock().max(origin.counting_since() + 1);
        self.begin_epoch(now, Origin::started(origin.tag, since));
        self.membership.count_anew();
        for (_, above) in &mut self.proving {
            *above = 0;
        }
    }

    fn begin_epoch(&mut self, now: Instant, origin: Origin) {
        self.link.counters.renewals.increment();
        self.link.renew(origin);
        self.hasten(now);
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

fn confirmation(topic: TopicId, subscribing: Subscribing) -> BoxFuture<'static, (TopicId, Result<(), SubscribeError>)> {
    Box::pin(async move { (topic, subscribing.await) })
}

/// What a peer calls itself, within the bound of what this node would.
fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(super::config::MAX_TEXT)).unwrap_or_default()
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
