//! The sending half: numbers what this node says, puts it into envelopes and offers it to the adapter. What it wants to hear stands in
//! `hearing`, what it says of itself in `heartbeat`, requests and replies in `asking`.

mod asking;
mod hearing;
mod heartbeat;

use std::{
    collections::{HashSet, VecDeque},
    fmt, iter,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use fanfare_adapters::{Adapter, PublishError, Subscribing, Topic};
use smallvec::SmallVec;
use tokio::sync::{Notify, watch};

use super::{
    Config, Counters, Member, Origin,
    channels::{Channel, Channels},
    interest::Interest,
    journal::Journal,
    keys::{Keys, Purpose},
    requests::Requests,
    routes::{Parts, Young, parts},
    sequences::TopicId,
    topics::{Part, Topics, token},
    wire::{self, Address, Body, Kind, TooLong},
};
use crate::{engine::id::NodeTag, hub::Command};

/// What the dispatching threads and the receiving task share.
pub(super) struct Link {
    pub(super) config: Config,
    pub(super) keys: Keys,
    pub(super) counters: Counters,
    pub(super) control: Arc<Channel>,
    /// Where all nodes are asked.
    pub(super) requests: Arc<Channel>,
    /// What this node has asked.
    pending: Mutex<Requests>,
    /// What parts of namespaces this node has sockets for. Locked under the lock of a shard.
    interest: Mutex<Interest>,
    /// How many of the parts that have become wanted so far are heard.
    heard: watch::Sender<u64>,
    /// Rooms that not all nodes hear yet.
    pub(super) young: Young,
    /// The tags of the living nodes.
    tags: RwLock<HashSet<NodeTag>>,
    topics: Topics,
    adapter: Arc<dyn Adapter>,
    /// Read per envelope, written when the node was removed, or its tag drawn again.
    own: RwLock<Own>,
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

/// Who this node is.
#[derive(Debug)]
struct Own {
    /// Its present tag and epoch.
    origin: Origin,
    /// What it was before, the last one last.
    past: VecDeque<Origin>,
}

/// What the receiving task has to do about a subscription.
pub(super) enum Wish {
    /// Await it.
    Confirm(TopicId, Subscribing),
    /// Forget what was heard on it: it has ended.
    Forget(TopicId),
}

/// The name of the channel of requests, and the token by which heartbeats report it: no namespace has such a name, nor such a token.
const REQUESTS: &str = "@requests";

/// The same for the replies to a node.
fn node_name(tag: NodeTag) -> String {
    format!("@{tag}")
}

/// The copies of a command for several parts take at most one such share of the adapter's queue.
const COPIES_SHARE: usize = 4;

/// Channels above which no new ones are made for parts that are only published to.
const MAX_CHANNELS: usize = 64 * 1024;

/// Past origins that are remembered, to know what comes late as one's own.
const PAST: usize = 8;

impl Link {
    pub(super) fn new(config: Config, topics: Topics, adapter: Arc<dyn Adapter>, origin: Origin) -> Self {
        let mut channels = Channels::default();
        let control = channels.add("".into(), topics.control(), String::new());
        let requests = channels.add(REQUESTS.into(), topics.requests(), REQUESTS.to_owned());
        Self {
            keys: Keys::new(&config.secrets, Purpose::Envelopes),
            config,
            counters: Counters::default(),
            control,
            requests,
            pending: Mutex::default(),
            interest: Mutex::default(),
            heard: watch::Sender::new(0),
            young: Young::new(),
            tags: RwLock::default(),
            topics,
            adapter,
            own: RwLock::new(Own {
                origin,
                past: VecDeque::new(),
            }),
            common: AtomicU64::new(wire::FEATURES),
            channels: RwLock::new(channels),
            wishes: Mutex::default(),
            wished: Notify::new(),
            journal: OnceLock::new(),
        }
    }

    /// This node under its present epoch.
    pub(super) fn origin(&self) -> Origin {
        read(&self.own).origin
    }

    /// Whether the origin is this node, now or under a tag or an epoch before.
    pub(super) fn is_own(&self, origin: Origin) -> bool {
        let own = read(&self.own);
        origin == own.origin || own.past.contains(&origin)
    }

    /// Begins the epoch of this origin, maybe under another tag.
    pub(super) fn renew(&self, origin: Origin) {
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        if own.past.len() == PAST {
            own.past.pop_front();
        }
        let before = std::mem::replace(&mut own.origin, origin);
        own.past.push_back(before);
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
        let is_member = |tag| read(&self.tags).contains(&tag);
        let parts = (self.common.load(Relaxed) & wire::FEATURE_PARTS != 0)
            .then(|| parts(command.target(), &self.young, is_member))
            .flatten()
            .filter(|parts| self.has_room(command, parts));
        self.publish_to(command, parts.as_ref());
    }

    /// The same to every node that has the namespace, whatever rooms are meant.
    pub(super) fn publish_widely(&self, command: &Command) {
        self.publish_to(command, None);
    }

    /// Whether a command is to be published to each of several parts: not where its copies would take too much of the adapter's queue,
    /// or new channels too much memory.
    fn has_room(&self, command: &Command, parts: &Parts) -> bool {
        let channels = read(&self.channels);
        let known = |part: &Part| channels.of_part(&command.target().namespace, *part).is_some();
        let bytes: usize = wire::pieces(command).map(<[u8]>::len).sum();
        let share = self.adapter.limits().queue_bytes / COPIES_SHARE;
        (parts.len() < 2 || bytes.saturating_mul(parts.len()) <= share) && (channels.len() < MAX_CHANNELS || parts.iter().all(known))
    }

    /// The same, and tells whether it was offered: of a link that is no node's, to which nothing is subscribed.
    pub(super) fn try_publish(&self, command: &Command) -> Result<(), PublishError> {
        let channel = self.channel(&command.target().namespace);
        self.offer(
            std::slice::from_ref(&channel),
            wire::encode(command, self.common.load(Relaxed)),
            &wire::pieces(command),
        )
    }

    fn publish_to(&self, command: &Command, parts: Option<&Parts>) {
        let namespace = &command.target().namespace;
        let channels: SmallVec<[_; 8]> = match parts {
            Some(parts) => parts.iter().map(|part| self.part(namespace, *part)).collect(),
            None => iter::once(self.channel(namespace)).collect(),
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
        let origin = self.origin();
        if numbers.ended == Some(origin.tag) || numbers.forgotten {
            return Err(PublishError::Closed);
        }
        let since = origin.counting_since();
        let namespace_sequence = numbers.next(since);
        let mut outcome = Ok(());
        for channel in channels {
            // A number is used up also by what cannot be offered.
            let topic_sequence = channel.next(since);
            let Ok(body) = &body else { continue };
            if body.kind == Kind::Goodbye {
                numbers.ended = Some(origin.tag);
            }
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
        self.control.used(self.origin().counting_since())
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

    /// The channel of a part of a namespace, made when it is new.
    fn part(&self, namespace: &Arc<str>, part: Part) -> Arc<Channel> {
        if let Some(channel) = read(&self.channels).of_part(namespace, part) {
            return channel.clone();
        }
        loop {
            let whole = self.channel(namespace);
            let topic = self.topics.part(&whole.token, part);
            let mut channels = self.channels.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(channel) = channels.of_part(namespace, part) {
                return channel.clone();
            }
            // Unless it was forgotten in between.
            if channels.of(namespace).is_some_and(|known| Arc::ptr_eq(known, &whole)) {
                return channels.add_part(&whole, part, topic);
            }
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

/// Locks, also after a panic elsewhere: what these locks guard is consistent between any two statements.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(locked: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    locked.read().unwrap_or_else(PoisonError::into_inner)
}
