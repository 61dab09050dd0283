//! The sending half: numbers what this node says, puts it into envelopes and offers it to the adapter.

use std::{
    collections::HashMap,
    fmt, iter,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use fanfare_adapters::{Adapter, Pattern, PublishError, Subscribing, Topic};
use tokio::sync::Notify;

use super::{
    Config, Counters, Member, Origin,
    sequences::TopicId,
    topics::{Topics, token},
    wire::{self, Address, Body, Flags, Goodbye, Heartbeat, Keys, Kind, List, MAX_REMOVED, MAX_REPORTED, Tag, TooLong},
};
use crate::{
    engine::id::NodeTag,
    hub::{Command, Observer},
};

/// What the dispatching threads and the receiving task share.
pub(super) struct Link {
    pub(super) config: Config,
    pub(super) tag: NodeTag,
    pub(super) keys: Keys,
    pub(super) counters: Counters,
    pub(super) control: Arc<Channel>,
    topics: Topics,
    adapter: Arc<dyn Adapter>,
    /// Epochs of this node, the present one last. Read per envelope, written when the node was removed.
    epoch: AtomicU64,
    past_epochs: Mutex<Vec<u64>>,
    /// The features that all living members have, this node included.
    common: AtomicU64,
    /// Grows by the namespaces of this node, and never shrinks.
    channels: RwLock<Channels>,
    /// Subscriptions that the receiving task has yet to await; bounded by the namespaces.
    pub(super) subscribing: Mutex<Vec<(TopicId, Subscribing)>>,
    /// Wakes the receiving task for `subscribing`.
    pub(super) subscribed: Notify,
}

/// One topic, and the numbers of what this node has published there.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: TopicId,
    pub(super) topic: Topic,
    /// Empty for the control topic.
    pub(super) namespace: Arc<str>,
    token: String,
    /// Whether it is subscribed; publishing alone needs no subscription.
    subscribed: AtomicBool,
    /// Held while a number is drawn AND its envelope offered to the adapter: so numbers arrive in order, and what a heartbeat reports
    /// was published before it.
    numbers: Mutex<Numbers>,
}

#[derive(Debug, Default)]
struct Numbers {
    epoch: u64,
    /// As long as a namespace has one topic, both are the same.
    namespace: u64,
    topic: u64,
    /// A goodbye was said, and nothing may follow it: other nodes would hold this one for a newcomer.
    ended: bool,
}

#[derive(Debug, Default)]
struct Channels {
    by_id: Vec<Arc<Channel>>,
    by_namespace: HashMap<Arc<str>, Arc<Channel>>,
    by_topic: HashMap<Topic, Arc<Channel>>,
    by_token: HashMap<String, TopicId>,
}

/// The last numbers used, by channel.
struct Used {
    channels: Vec<(Arc<Channel>, u64)>,
    flags: Flags,
}

/// Past epochs that are remembered, to know what comes late as one's own.
const PAST_EPOCHS: usize = 8;

impl Link {
    pub(super) fn new(config: Config, topics: Topics, adapter: Arc<dyn Adapter>, origin: Origin) -> Self {
        let control = Arc::new(Channel {
            id: TopicId(0),
            topic: topics.control(),
            namespace: "".into(),
            token: String::new(),
            subscribed: AtomicBool::new(false),
            numbers: Mutex::default(),
        });
        let mut channels = Channels::default();
        channels.by_topic.insert(control.topic.clone(), control.clone());
        channels.by_id.push(control.clone());
        Self {
            keys: Keys::new(&config.secrets),
            config,
            tag: origin.tag,
            counters: Counters::default(),
            control,
            topics,
            adapter,
            epoch: AtomicU64::new(origin.epoch),
            past_epochs: Mutex::default(),
            common: AtomicU64::new(wire::FEATURES),
            channels: RwLock::new(channels),
            subscribing: Mutex::default(),
            subscribed: Notify::new(),
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
            Err(_) => self.counters.publish_closed.increment(),
        }
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
        if numbers.ended {
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

    /// The last number used on the control topic.
    pub(super) fn control_sequence(&self) -> u64 {
        lock(&self.control.numbers).topic
    }

    fn used(&self, turn: usize) -> Used {
        let epoch = self.origin().epoch;
        let channels: Vec<_> = read(&self.channels).by_id.iter().skip(1).cloned().collect();
        let used = channels.into_iter().map(|channel| {
            let used = lock(&channel.numbers).used(epoch);
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
        if let Some(channel) = read(&self.channels).by_namespace.get(namespace) {
            return channel.clone();
        }
        let token = token(namespace);
        let topic = self.topics.namespace(&token);
        let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.by_namespace.get(namespace) {
            return channel.clone();
        }
        let channel = Arc::new(Channel {
            id: TopicId(u32::try_from(channels.by_id.len()).unwrap_or(u32::MAX)),
            topic,
            namespace: namespace.clone(),
            token,
            subscribed: AtomicBool::new(false),
            numbers: Mutex::default(),
        });
        channels.by_namespace.insert(namespace.clone(), channel.clone());
        channels.by_topic.insert(channel.topic.clone(), channel.clone());
        channels.by_token.insert(channel.token.clone(), channel.id);
        channels.by_id.push(channel.clone());
        channel
    }

    /// The channel of a topic that was heard.
    pub(super) fn channel_of(&self, topic: &Topic) -> Option<Arc<Channel>> {
        read(&self.channels).by_topic.get(topic).cloned()
    }

    /// What a list of last numbers says of this node's own channels. A complete list says of a topic that it does not name that
    /// nothing was published there.
    pub(super) fn reported(&self, used: &[(&str, u64)], complete: bool) -> Vec<(TopicId, u64)> {
        let channels = read(&self.channels);
        let mut by_id = vec![complete.then_some(0); channels.by_id.len()];
        for (token, used) in used {
            if let Some(slot) = channels.by_token.get(*token).and_then(|id| by_id.get_mut(id.0 as usize)) {
                *slot = Some(*used);
            }
        }
        let reported = channels.by_id.iter().zip(by_id).skip(1);
        reported.filter_map(|(channel, used)| Some((channel.id, used?))).collect()
    }

    /// Wants nothing of a namespace any more.
    fn unsubscribe(&self, namespace: &Arc<str>) {
        let Some(channel) = read(&self.channels).by_namespace.get(namespace).cloned() else {
            return;
        };
        if channel.subscribed.swap(false, Relaxed) {
            self.adapter.unsubscribe(&Pattern::Exact(channel.topic.clone()));
        }
    }

    /// Wants what is published on the channel; the receiving task learns when the backend has confirmed it. Idempotent.
    pub(super) fn subscribe(&self, channel: &Channel) {
        if !channel.subscribed.swap(true, Relaxed) {
            let subscribing = self.adapter.subscribe(Pattern::Exact(channel.topic.clone()));
            lock(&self.subscribing).push((channel.id, subscribing));
            self.subscribed.notify_one();
        }
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
    }

    fn namespace_removed(&self, name: &Arc<str>) {
        self.unsubscribe(name);
    }
}

impl Numbers {
    /// Draws the next numbers, from 1 in a new epoch.
    fn next(&mut self, epoch: u64) {
        if self.epoch != epoch {
            (self.epoch, self.namespace, self.topic) = (epoch, 0, 0);
        }
        self.namespace += 1;
        self.topic += 1;
    }

    /// The last number of this epoch. Changes nothing: the caller's epoch may be the one before.
    fn used(&self, epoch: u64) -> u64 {
        if self.epoch == epoch { self.topic } else { 0 }
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
