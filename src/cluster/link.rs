//! The sending half: numbers what this node says, puts it into envelopes and offers it to the adapter.

use std::{
    fmt, iter,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use fanfare_adapters::{Adapter, Pattern, PublishError, Subscribing, Topic};
use tokio::sync::{Notify, watch};

use super::{
    Config, Counters, Member, Origin,
    channels::{Channel, Channels},
    health::Standing,
    journal::Journal,
    receiver::now,
    requests::Requests,
    sequences::TopicId,
    topics::{Topics, token},
    wire::{
        self, Address, Body, Flags, Goodbye, Heartbeat, Keys, Kind, List, MAX_REMOVED, MAX_REPORTED, Request, Sheet, Tag, TooLong, Wanted,
    },
};
use crate::{
    engine::id::NodeTag,
    hub::{Command, Observer, Query, Replies},
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
    }

    /// Offers a command to the other nodes. What cannot be offered is counted, and its number is used up, so that receivers count it too.
    pub(super) fn publish(&self, command: &Command) {
        let channel = self.channel(&command.target().namespace);
        match self.offer(&channel, wire::encode(command, self.common.load(Relaxed)), wire::pieces(command)) {
            Ok(()) => self.counters.published.increment(),
            Err(PublishError::Full) => self.counters.publish_full.increment(),
            Err(PublishError::TooLarge { .. }) => self.counters.publish_too_large.increment(),
            // It was idle for long, and forgotten in this moment.
            Err(_) if lock(&channel.numbers).forgotten => self.publish(command),
            Err(_) => self.counters.publish_closed.increment(),
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
        match self.offer(&self.requests, body, request.pieces()) {
            Ok(()) => self.counters.requests.increment(),
            Err(error) => {
                self.counters.requests_unsent.increment();
                tracing::debug!(%error, "other nodes are not asked");
                lock(&self.pending).cancel(request.id);
            }
        }
        replies
    }

    /// Offers a reply to the node that has asked.
    pub(super) fn reply(&self, to: NodeTag, sheet: &Sheet) -> Result<(), PublishError> {
        let channel = self.channel_or(&node_name(to).into(), |name| (self.topics.node(to), name.to_owned()));
        match self.offer(&channel, sheet.body(), sheet.pieces()) {
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
        if self.offer(&self.control, body, iter::empty()).is_ok() {
            self.counters.heartbeats.increment();
        }
    }

    /// Says goodbye, with the last numbers used.
    pub(super) fn goodbye(&self) {
        let used = self.used(0);
        let body = used
            .list()
            .and_then(|list| Body::new(Kind::Goodbye, used.flags, &Goodbye { used: list }));
        if let Err(error) = self.offer(&self.control, body, iter::empty()) {
            tracing::debug!(%error, "other nodes were not told goodbye");
        }
    }

    /// Draws the next number of the channel, and offers the envelope under it.
    fn offer<'a>(
        &self,
        channel: &Channel,
        body: Result<Body, TooLong>,
        payload: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Result<(), PublishError> {
        let too_large = |_| PublishError::TooLarge {
            size: usize::MAX,
            limit: wire::MAX_HEADER,
        };
        let mut numbers = lock(&channel.numbers);
        if numbers.ended || numbers.forgotten {
            return Err(PublishError::Closed);
        }
        let origin = self.origin();
        numbers.next(origin.epoch);
        let body = body.map_err(too_large)?;
        numbers.ended = body.kind == Kind::Goodbye;
        let address = Address {
            cluster: self.topics.name(),
            origin,
            namespace_sequence: numbers.namespace,
            topic_sequence: numbers.topic,
            kind: body.kind,
            flags: body.flags,
        };
        let message = wire::seal(&channel.topic, &address, &body.part, payload, &self.keys).map_err(too_large)?;
        self.adapter.publish(&channel.topic, message)
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
        lock(&self.control.numbers).topic
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
                let subscribing = self.adapter.subscribe(Pattern::Exact(channel.topic.clone()));
                self.wish(Wish::Confirm(channel.id, subscribing));
            }
            Some(false) => {}
            // It was forgotten in this moment, before it was marked.
            None => self.subscribe(&self.channel(&channel.namespace)),
        }
    }

    /// Wants nothing of a namespace any more. Idempotent.
    fn unsubscribe(&self, namespace: &str) {
        let channels = read(&self.channels);
        let Some(channel) = channels.of(namespace).cloned() else { return };
        let changed = channels.mark(&channel, false);
        drop(channels);
        if changed == Some(true) {
            self.adapter.unsubscribe(&Pattern::Exact(channel.topic.clone()));
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
        self.subscribe(&self.channel(name));
        if let Some(journal) = self.journal.get().and_then(Weak::upgrade) {
            journal.namespace_created(name);
        }
    }

    fn namespace_removed(&self, name: &Arc<str>) {
        self.unsubscribe(name);
        if let Some(journal) = self.journal() {
            journal.namespace_removed(name);
        }
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

fn read(channels: &RwLock<Channels>) -> std::sync::RwLockReadGuard<'_, Channels> {
    channels.read().unwrap_or_else(PoisonError::into_inner)
}
