//! The sending half: numbers what this node says, puts it into envelopes and offers it to the adapter.

use std::{
    collections::HashSet,
    fmt, iter,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use fanfare_adapters::{Adapter, PublishError, Subscribing, Topic};
use futures_util::{StreamExt as _, future::join_all};
use smallvec::SmallVec;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Config, Counters, Member, Origin,
    channels::{Channel, Channels},
    health::Standing,
    interest::Interest,
    journal::Journal,
    receiver::now,
    requests::Requests,
    routes::{Parts, Young, parts},
    sequences::TopicId,
    topics::{Part, Topics, token},
    wire::{
        self, Address, Body, Flags, Goodbye, Heartbeat, Keys, Kind, List, MAX_REMOVED, MAX_REPORTED, Request, Sheet, Tag, TooLong, Wanted,
    },
};
use crate::{
    engine::id::NodeTag,
    hub::{Command, Observer, Query, Replies, Room, recovery::Later},
};

/// What the dispatching threads and the receiving task share.
pub(super) struct Link {
    pub(super) config: Config,
    pub(super) tag: NodeTag,
    pub(super) keys: Keys,
    pub(super) counters: Counters,
    pub(super) control: Arc<Channel>,
    /// Where all nodes are asked.
    pub(super) requests: Arc<Channel>,
    /// Where this node is replied to.
    pub(super) own: Arc<Channel>,
    /// What this node has asked.
    pending: Mutex<Requests>,
    /// What parts of namespaces this node has sockets for. Locked under the lock of a shard.
    interest: Mutex<Interest>,
    /// How many of the parts that have become wanted so far are heard.
    heard: watch::Sender<u64>,
    /// Rooms that not all nodes hear yet.
    young: Young,
    /// The tags of the living nodes.
    tags: RwLock<HashSet<NodeTag>>,
    topics: Topics,
    adapter: Arc<dyn Adapter>,
    /// Epochs of this node, the present one last. Read per envelope, written when the node was removed.
    epoch: AtomicU64,
    past_epochs: Mutex<Vec<u64>>,
    /// The features that all living members have, this node included.
    common: AtomicU64,
    /// Grows with the namespaces of this node; those that are idle are forgotten from time to time.
    channels: RwLock<Channels>,
    /// Subscriptions that have begun or ended and with which the receiving task has yet to deal, in their order.
    pub(super) wishes: Mutex<Vec<Wish>>,
    /// Wakes the receiving task for `wishes`.
    pub(super) wished: Notify,
    /// Told of new namespaces, too.
    journal: OnceLock<Weak<Journal>>,
}

/// What the receiving task has to do about a subscription.
pub(super) enum Wish {
    /// Await it.
    Confirm(TopicId, Subscribing),
    /// Forget what was heard on it: it has ended.
    Forget(TopicId),
}

/// The last numbers used, by channel.
struct Used {
    channels: Vec<(Arc<Channel>, u64)>,
    flags: Flags,
}

/// The name of the channel of requests, and the token by which heartbeats report it: no namespace has such a name, nor such a token.
const REQUESTS: &str = "@requests";

/// The same for the replies to a node.
fn node_name(tag: NodeTag) -> String {
    format!("@{tag}")
}

/// How long a node is waited for to hear the rooms that its sockets were told to join; it is not to be relied on for them before.
const JOIN_PATIENCE: Duration = Duration::from_secs(10);

/// Past epochs that are remembered, to know what comes late as one's own.
const PAST_EPOCHS: usize = 8;

impl Link {
    pub(super) fn new(config: Config, topics: Topics, adapter: Arc<dyn Adapter>, origin: Origin) -> Self {
        let mut channels = Channels::default();
        let control = channels.add("".into(), topics.control(), String::new());
        let requests = channels.add(REQUESTS.into(), topics.requests(), REQUESTS.to_owned());
        let own = node_name(origin.tag);
        let own = channels.add(own.as_str().into(), topics.node(origin.tag), own);
        Self {
            keys: Keys::new(&config.secrets),
            config,
            tag: origin.tag,
            counters: Counters::default(),
            control,
            requests,
            own,
            pending: Mutex::default(),
            interest: Mutex::default(),
            heard: watch::Sender::new(0),
            young: Young::default(),
            tags: RwLock::default(),
            topics,
            adapter,
            epoch: AtomicU64::new(origin.epoch),
            past_epochs: Mutex::default(),
            common: AtomicU64::new(wire::FEATURES),
            channels: RwLock::new(channels),
            wishes: Mutex::default(),
            wished: Notify::new(),
            journal: OnceLock::new(),
        }
    }

    /// This node under its present epoch.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            tag: self.tag,
            epoch: self.epoch.load(Relaxed),
        }
    }

    /// Whether the origin is this node, now or under an epoch before.
    pub(super) fn is_own(&self, origin: Origin) -> bool {
        origin.tag == self.tag && (origin.epoch == self.epoch.load(Relaxed) || lock(&self.past_epochs).contains(&origin.epoch))
    }

    /// Begins a new epoch: all numbers start at 1 again.
    pub(super) fn renew(&self, epoch: u64) {
        let mut past = lock(&self.past_epochs);
        if past.len() == PAST_EPOCHS {
            past.remove(0);
        }
        past.push(self.epoch.swap(epoch, Relaxed));
    }

    /// Uses those features from now on that all of `members` have.
    pub(super) fn agree(&self, members: &[Member]) {
        let common = members.iter().fold(wire::FEATURES, |common, member| common & member.features);
        self.common.store(common, Relaxed);
        *self.tags.write().unwrap_or_else(PoisonError::into_inner) = members.iter().map(|member| member.origin.tag).collect();
    }

    /// Offers a command to the other nodes, to those that may have sockets it is meant for. What cannot be offered is counted, and its
    /// numbers are used up, so that receivers count it too.
    pub(super) fn publish(&self, command: &Command) {
        let target = command.target();
        let is_member = |tag| read(&self.tags).contains(&tag);
        let parts = (self.common.load(Relaxed) & wire::FEATURE_PARTS != 0)
            .then(|| parts(target, &self.young, is_member))
            .flatten();
        self.publish_to(command, parts.as_ref());
    }

    /// The same to every node that has the namespace, whatever rooms are meant.
    pub(super) fn publish_widely(&self, command: &Command) {
        self.publish_to(command, None);
    }

    fn publish_to(&self, command: &Command, parts: Option<&Parts>) {
        let whole = self.channel(&command.target().namespace);
        let channels: SmallVec<[_; 8]> = match parts {
            Some(parts) => parts.iter().map(|part| self.part(&whole, *part)).collect(),
            None => iter::once(whole).collect(),
        };
        match self.offer(&channels, wire::encode(command, self.common.load(Relaxed)), &wire::pieces(command)) {
            Ok(()) => self.counters.published.increment(),
            Err(PublishError::Full) => self.counters.publish_full.increment(),
            Err(PublishError::TooLarge { .. }) => self.counters.publish_too_large.increment(),
            // It was idle for long, and forgotten in this moment.
            Err(_) if channels.iter().any(|channel| lock(&channel.numbers).forgotten) => self.publish_to(command, parts),
            Err(_) => self.counters.publish_closed.increment(),
        }
    }

    /// Makes sockets of other nodes join rooms, which are young until all nodes hear them. As [`Young::begin`].
    pub(super) fn publish_join(&self, command: &Command, rooms: &[Room]) -> (CancellationToken, bool) {
        self.publish(command);
        self.young.begin(&command.target().namespace, rooms)
    }

    /// Has joins confirmed until there are none, each within [`JOIN_PATIENCE`].
    pub(super) async fn confirm_joins(self: Arc<Self>, standing: watch::Receiver<Standing>) {
        while let Some(batch) = self.young.take() {
            let replies = self.ask_settled(&standing);
            replies.for_each(|_| std::future::ready(())).await;
            self.young.end(batch);
        }
    }

    /// Asks all other nodes. What cannot be asked is named as missing; nothing waits for the backend.
    pub(super) fn ask(&self, query: Query, standing: &watch::Receiver<Standing>, max_bytes: usize, deadline: Instant) -> Replies {
        let wants_none = matches!(query, Query::Tell { answer: false, .. });
        // Who changes the members takes this lock after that change: a member that goes now is either not asked, or given up.
        let mut pending = lock(&self.pending);
        let members = if wants_none {
            Vec::new()
        } else {
            standing.borrow().members.clone()
        };
        let (id, replies) = pending.begin(&members, Wanted::from(&query), max_bytes, deadline);
        drop(pending);
        if id.is_none() && !wants_none {
            return replies;
        }
        let request = Request {
            id: id.unwrap_or_default(),
            patience: deadline.saturating_duration_since(now()),
            query,
        };
        let body = wire::seal_request(&request, self.common.load(Relaxed));
        self.send_request(request.id, body, &request.pieces());
        replies
    }

    /// Asks all other nodes to reply when they hear what is meant for the rooms that they have sockets in now.
    fn ask_settled(&self, standing: &watch::Receiver<Standing>) -> Replies {
        let mut pending = lock(&self.pending);
        let members = standing.borrow().members.clone();
        let (id, replies) = pending.begin(&members, Wanted::Nothing, 0, now() + JOIN_PATIENCE);
        drop(pending);
        if let Some(id) = id {
            self.send_request(id, Body::new(Kind::Settle, Flags::default(), &(id,)), &iter::empty());
        }
        replies
    }

    fn send_request<'a>(&self, id: u64, body: Result<Body, TooLong>, payload: &(impl Iterator<Item = &'a [u8]> + Clone)) {
        match self.offer(std::slice::from_ref(&self.requests), body, payload) {
            Ok(()) => self.counters.requests.increment(),
            Err(error) => {
                self.counters.requests_unsent.increment();
                tracing::debug!(%error, "other nodes are not asked");
                lock(&self.pending).cancel(id);
            }
        }
    }

    /// Offers a reply to the node that has asked.
    pub(super) fn reply(&self, to: NodeTag, sheet: &Sheet) -> Result<(), PublishError> {
        let channel = self.channel_or(&node_name(to).into(), |name| (self.topics.node(to), name.to_owned()));
        match self.offer(std::slice::from_ref(&channel), sheet.body(), &sheet.pieces()) {
            // It was idle for long, and forgotten in this moment.
            Err(_) if lock(&channel.numbers).forgotten => self.reply(to, sheet),
            outcome => outcome,
        }
    }

    /// Another node has replied.
    pub(super) fn replied(&self, origin: Origin, sheet: Sheet) {
        lock(&self.pending).handle_reply(origin, sheet);
    }

    /// Nobody waits for replies of this node any longer.
    pub(super) fn give_up(&self, origin: Origin) {
        lock(&self.pending).give_up(origin);
    }

    /// Sends a heartbeat. `turn` chooses which topics are reported when they are too many for one.
    pub(super) fn heartbeat(&self, turn: usize, unaware: impl Iterator<Item = Origin>) {
        let used = self.used(turn);
        let body = used.list().and_then(|list| {
            let heartbeat = Heartbeat {
                node: &self.config.node,
                advertise: &self.config.advertise,
                version: wire::VERSION,
                features: wire::FEATURES,
                used: list,
                removed: List::new(unaware.take(MAX_REMOVED).map(|origin| (Tag(origin.tag), origin.epoch)))?,
            };
            Body::new(Kind::Heartbeat, used.flags, &heartbeat)
        });
        if self.offer(std::slice::from_ref(&self.control), body, &iter::empty()).is_ok() {
            self.counters.heartbeats.increment();
        }
    }

    /// Says goodbye, with the last numbers used.
    pub(super) fn goodbye(&self) {
        let used = self.used(0);
        let body = used
            .list()
            .and_then(|list| Body::new(Kind::Goodbye, used.flags, &Goodbye { used: list }));
        if let Err(error) = self.offer(std::slice::from_ref(&self.control), body, &iter::empty()) {
            tracing::debug!(%error, "other nodes were not told goodbye");
        }
    }

    /// Draws the next numbers of channels of one namespace, and offers the envelope under them to each; the first error is told.
    fn offer<'a>(
        &self,
        channels: &[Arc<Channel>],
        body: Result<Body, TooLong>,
        payload: &(impl Iterator<Item = &'a [u8]> + Clone),
    ) -> Result<(), PublishError> {
        let too_large = |_| PublishError::TooLarge {
            size: usize::MAX,
            limit: wire::MAX_HEADER,
        };
        let Some(first) = channels.first() else { return Ok(()) };
        let mut numbers = lock(&first.numbers);
        if numbers.ended || numbers.forgotten {
            return Err(PublishError::Closed);
        }
        let origin = self.origin();
        let namespace_sequence = numbers.next(origin.epoch);
        let mut outcome = Ok(());
        for channel in channels {
            // A number is used up also by what cannot be offered.
            let topic_sequence = channel.next(origin.epoch);
            let Ok(body) = &body else { continue };
            numbers.ended = body.kind == Kind::Goodbye;
            let address = Address {
                cluster: self.topics.name(),
                origin,
                namespace_sequence,
                topic_sequence,
                kind: body.kind,
                flags: body.flags,
            };
            let sealed = wire::seal(&channel.topic, &address, &body.part, payload.clone(), &self.keys).map_err(too_large);
            outcome = outcome.and(sealed.and_then(|message| self.adapter.publish(&channel.topic, message)));
        }
        body.map_err(too_large).and(outcome)
    }

    /// Tells a journal of the namespaces that are created from now on.
    pub(super) fn tell_of_namespaces(&self, journal: Weak<Journal>) {
        // There is one: who has set it before has told so.
        self.journal.set(journal).ok();
    }

    /// Who keeps logs and records here, if somebody does.
    pub(super) fn journal(&self) -> Option<Arc<Journal>> {
        self.journal.get()?.upgrade()
    }

    /// The name of a namespace's log.
    pub(super) fn log_topic(&self, namespace: &str) -> Topic {
        self.topics.log(&token(namespace))
    }

    /// The key of a session's record.
    pub(super) fn session_topic(&self, pid: &str) -> Topic {
        self.topics.session(pid)
    }

    /// The last number used on the control topic.
    pub(super) fn control_sequence(&self) -> u64 {
        self.control.used(self.origin().epoch)
    }

    fn used(&self, turn: usize) -> Used {
        let epoch = self.origin().epoch;
        let channels: Vec<_> = read(&self.channels).iter().cloned().collect();
        let used = channels.into_iter().map(|channel| {
            let used = channel.used(epoch);
            (channel, used)
        });
        let used: Vec<_> = used.filter(|(_, used)| *used > 0).collect();
        let rounds = used.len().div_ceil(MAX_REPORTED).max(1);
        Used {
            channels: used.into_iter().skip(turn % rounds * MAX_REPORTED).take(MAX_REPORTED).collect(),
            flags: Flags::PARTIAL.when(rounds > 1),
        }
    }

    /// The channel of a namespace, made when it is new.
    pub(super) fn channel(&self, namespace: &Arc<str>) -> Arc<Channel> {
        self.channel_or(namespace, |namespace| {
            let token = token(namespace);
            (self.topics.namespace(&token), token)
        })
    }

    /// The channel of this name, made of a topic and a token when it is new.
    fn channel_or(&self, name: &Arc<str>, make: impl FnOnce(&str) -> (Topic, String)) -> Arc<Channel> {
        if let Some(channel) = read(&self.channels).of(name) {
            return channel.clone();
        }
        let (topic, token) = make(name);
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.of(name) {
            return channel.clone();
        }
        channels.add(name.clone(), topic, token)
    }

    /// The channel of a part of the namespace that `whole` is of, made when it is new.
    fn part(&self, whole: &Channel, part: Part) -> Arc<Channel> {
        if let Some(channel) = read(&self.channels).of_part(&whole.namespace, part) {
            return channel.clone();
        }
        let topic = self.topics.part(&whole.token, part);
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.of_part(&whole.namespace, part) {
            return channel.clone();
        }
        channels.add_part(whole, part, topic)
    }

    /// The channel of a topic that was heard.
    pub(super) fn channel_of(&self, topic: &Topic) -> Option<Arc<Channel>> {
        read(&self.channels)
            .of_topic(topic)
            .filter(|channel| channel.is_subscribed())
            .cloned()
    }

    /// What a list of last numbers says of this node's own channels: see [`Channels::reported`].
    pub(super) fn reported(&self, used: &[(&str, u64)], complete: bool) -> Vec<(Arc<Channel>, u64)> {
        read(&self.channels).reported(used, complete)
    }

    /// Wants what is published on the channel; the receiving task learns when the backend has confirmed it. Idempotent.
    pub(super) fn subscribe(&self, channel: &Channel) {
        match read(&self.channels).mark(channel, true) {
            Some(true) => {
                let subscribing = self.adapter.subscribe(channel.topic.clone());
                self.wish(Wish::Confirm(channel.id, subscribing));
            }
            Some(false) => {}
            // It was forgotten in this moment, before it was marked. (So was a part, which its namespace brings back.)
            None if channel.id == channel.whole => self.subscribe(&self.channel(&channel.namespace)),
            None => {}
        }
    }

    /// Wants what is meant for the rooms that have got sockets here; the future ends when the backend has confirmed it. With it, the
    /// topics and how many parts have become wanted with them.
    pub(super) fn hear_fresh(&self) -> (Vec<TopicId>, u64, impl Future<Output = ()> + Send + use<>) {
        let (fresh, number) = lock(&self.interest).take_fresh();
        let (mut topics, mut subscribing) = (Vec::new(), Vec::new());
        for (namespace, part) in fresh {
            let channel = self.part(&self.channel(&namespace), part);
            if read(&self.channels).mark(&channel, true) == Some(true) {
                topics.push(channel.id);
                subscribing.push(self.adapter.subscribe(channel.topic.clone()));
            }
        }
        // One that is withdrawn is not waited for.
        (topics, number, async move { drop(join_all(subscribing).await) })
    }

    /// Wants nothing any more for the rooms that have been empty for a while.
    pub(super) fn leave_empty(&self, now: Instant) {
        let left = lock(&self.interest).take_left(now);
        for (namespace, part) in left {
            let channel = read(&self.channels).of_part(&namespace, part).cloned();
            if let Some(channel) = channel {
                self.unsubscribe(&channel);
            }
        }
    }

    pub(super) fn has_fresh(&self) -> bool {
        lock(&self.interest).has_fresh()
    }

    /// When [`Link::leave_empty`] has something to do.
    pub(super) fn next_leave(&self) -> Option<Instant> {
        lock(&self.interest).poll_timeout()
    }

    /// So many of the parts that have become wanted are heard.
    pub(super) fn set_heard(&self, number: u64) {
        self.heard.send_modify(|heard| *heard = number.max(*heard));
    }

    /// Ends when everything is heard that is wanted now.
    pub(super) fn settled(&self) -> Later<()> {
        let number = lock(&self.interest).number();
        let mut heard = self.heard.subscribe();
        // Without a sender there is no node any more that could hear anything.
        Box::pin(async move { drop(heard.wait_for(|heard| *heard >= number).await) })
    }

    /// Wants nothing of a channel any more. Idempotent.
    fn unsubscribe(&self, channel: &Arc<Channel>) {
        if read(&self.channels).mark(channel, false) == Some(true) {
            self.adapter.unsubscribe(&channel.topic);
            self.wish(Wish::Forget(channel.id));
        }
    }

    fn wish(&self, wish: Wish) {
        lock(&self.wishes).push(wish);
        self.wished.notify_one();
    }

    /// How many channels are kept for nothing but their numbers.
    pub(super) fn idle(&self) -> usize {
        read(&self.channels).idle()
    }

    /// Forgets the channels whose numbers nobody has seen in this epoch: see [`Channels::forget_idle`].
    pub(super) fn forget_idle(&self) -> Vec<TopicId> {
        let epoch = self.origin().epoch;
        self.channels.write().unwrap_or_else(PoisonError::into_inner).forget_idle(epoch)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.origin();
        f.debug_struct("Link")
            .field("cluster", &self.topics.name())
            .field("origin", &origin)
            .field("adapter", &self.adapter)
            .finish_non_exhaustive()
    }
}

impl Observer for Link {
    fn namespace_created(&self, name: &Arc<str>) {
        let whole = self.channel(name);
        self.subscribe(&whole);
        self.subscribe(&self.part(&whole, Part::Node(self.tag)));
        if let Some(journal) = self.journal.get().and_then(Weak::upgrade) {
            journal.namespace_created(name);
        }
    }

    fn namespace_removed(&self, name: &Arc<str>) {
        let channels = read(&self.channels);
        let of = [channels.of(name).cloned(), channels.of_part(name, Part::Node(self.tag)).cloned()];
        drop(channels);
        for channel in of.iter().flatten() {
            self.unsubscribe(channel);
        }
        if let Some(journal) = self.journal() {
            journal.namespace_removed(name);
        }
    }

    fn room_wanted(&self, namespace: &Arc<str>, room: &Room) {
        if lock(&self.interest).wanted(namespace, Part::of_room(room)) {
            self.wished.notify_one();
        }
    }

    fn room_unwanted(&self, namespace: &Arc<str>, room: &Room) {
        lock(&self.interest).unwanted(namespace, Part::of_room(room), now());
    }

    fn settled(&self) -> Later<()> {
        Self::settled(self)
    }
}

impl Used {
    fn list(&self) -> Result<List<(&str, u64), MAX_REPORTED>, TooLong> {
        List::new(self.channels.iter().map(|(channel, used)| (&*channel.token, *used)))
    }
}

/// Locks, also after a panic elsewhere: what these locks guard is consistent between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(locked: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    locked.read().unwrap_or_else(PoisonError::into_inner)
}
