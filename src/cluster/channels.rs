//! The topics of this node's namespaces and of their parts, and the numbers of what it has published there.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use fanfare_adapters::Topic;

use crate::engine::id::NodeTag;

use super::{link::lock, sequences::TopicId, topics::Part};

/// One topic, and the numbers of what this node has published there.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) id: TopicId,
    /// That of the whole namespace; its own, where it is that.
    pub(super) whole: TopicId,
    pub(super) topic: Topic,
    /// Of a namespace's; another has a name that no namespace has.
    pub(super) namespace: Arc<str>,
    pub(super) token: String,
    /// Whether it is subscribed; publishing alone needs no subscription. Changed under a lock of the channels.
    subscribed: AtomicBool,
    /// Shared by the channels of a namespace. Held while numbers are drawn AND their envelopes offered to the adapter: so numbers arrive
    /// in order, and what a heartbeat reports was published before it.
    pub(super) numbers: Arc<Mutex<Numbers>>,
    /// The last number drawn on this topic. Changed while `numbers` is locked.
    used: Mutex<Used>,
}

/// The last number drawn in a namespace.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    used: Used,
    /// The tag under which a goodbye was said, and nothing may follow it, in no epoch: other nodes would hold this one for a newcomer.
    pub(super) ended: Option<NodeTag>,
    /// The channels of the namespace were forgotten: it has others, if any.
    pub(super) forgotten: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Used {
    /// When the counting began: see [`Origin::counting_since`](super::Origin).
    since: u64,
    last: u64,
}

/// All channels: those of namespaces that exist here, and some of others.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// By number; the first is the control channel.
    slots: Vec<Option<Arc<Channel>>>,
    free: Vec<TopicId>,
    by_namespace: HashMap<Arc<str>, TopicId>,
    by_part: HashMap<(TopicId, Part), TopicId>,
    by_topic: HashMap<Topic, TopicId>,
}

impl Channel {
    /// Whether it carries the commands of a namespace.
    pub(super) fn is_of_namespace(&self) -> bool {
        self.namespace.starts_with('/')
    }

    pub(super) fn is_subscribed(&self) -> bool {
        self.subscribed.load(Relaxed)
    }

    /// The last number used since this counting began.
    pub(super) fn used(&self, since: u64) -> u64 {
        // In this order, so that what is being published has been when its number is told.
        let _numbers = lock(&self.numbers);
        lock(&self.used).since(since)
    }

    /// Draws the next number on this topic; the caller holds `numbers`.
    pub(super) fn next(&self, since: u64) -> u64 {
        lock(&self.used).next(since)
    }
}

impl Numbers {
    /// Draws the next number of the namespace, from 1 when a new counting begins.
    pub(super) fn next(&mut self, since: u64) -> u64 {
        self.used.next(since)
    }
}

impl Used {
    fn next(&mut self, since: u64) -> u64 {
        if self.since != since {
            *self = Self { since, last: 0 };
        }
        self.last += 1;
        self.last
    }

    /// The last number of this counting. Changes nothing: the caller's may be the one before.
    fn since(self, since: u64) -> u64 {
        if self.since == since { self.last } else { 0 }
    }
}

impl Channels {
    pub(super) fn of(&self, namespace: &str) -> Option<&Arc<Channel>> {
        self.get(*self.by_namespace.get(namespace)?)
    }

    pub(super) fn of_part(&self, namespace: &str, part: Part) -> Option<&Arc<Channel>> {
        self.get(*self.by_part.get(&(*self.by_namespace.get(namespace)?, part))?)
    }

    pub(super) fn of_topic(&self, topic: &Topic) -> Option<&Arc<Channel>> {
        self.get(*self.by_topic.get(topic)?)
    }

    /// The channels of namespaces and their parts, in an order that stays while none is added or forgotten.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Channel>> {
        self.slots.iter().skip(1).flatten()
    }

    /// Adds one, which is not subscribed.
    pub(super) fn add(&mut self, namespace: Arc<str>, topic: Topic, token: String) -> Arc<Channel> {
        let id = self.free_id();
        self.by_namespace.insert(namespace.clone(), id);
        self.insert(id, id, namespace, topic, token, Arc::default())
    }

    /// Adds one of a part of the namespace that `whole` is of.
    pub(super) fn add_part(&mut self, whole: &Channel, part: Part, topic: Topic) -> Arc<Channel> {
        let id = self.free_id();
        self.by_part.insert((whole.id, part), id);
        let (namespace, token) = (whole.namespace.clone(), format!("{}.{part}", whole.token));
        self.insert(id, whole.id, namespace, topic, token, whole.numbers.clone())
    }

    fn free_id(&mut self) -> TopicId {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            TopicId(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
        })
    }

    fn insert(
        &mut self,
        id: TopicId,
        whole: TopicId,
        namespace: Arc<str>,
        topic: Topic,
        token: String,
        numbers: Arc<Mutex<Numbers>>,
    ) -> Arc<Channel> {
        let channel = Arc::new(Channel {
            id,
            whole,
            topic,
            namespace,
            token,
            subscribed: AtomicBool::new(false),
            numbers,
            used: Mutex::default(),
        });
        self.by_topic.insert(channel.topic.clone(), id);
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            *slot = Some(channel.clone());
        }
        channel
    }

    /// Marks a channel as subscribed or not; says whether it was the other way round. Nothing is marked that was forgotten.
    pub(super) fn mark(&self, channel: &Channel, subscribed: bool) -> Option<bool> {
        let known = self.get(channel.id).filter(|known| std::ptr::eq(Arc::as_ptr(known), channel));
        known.map(|known| known.subscribed.swap(subscribed, Relaxed) != subscribed)
    }

    /// What a list of last numbers says of the channels that are subscribed. A complete list says of a topic that it does not name that
    /// nothing was published there; another, which is in order, says so of those between its first and its last.
    pub(super) fn reported(&self, used: &[(&str, u64)], complete: bool) -> Vec<(Arc<Channel>, u64)> {
        let named: HashMap<&str, u64> = used.iter().copied().collect();
        let ends = used.first().zip(used.last());
        let spoken_of = |token: &str| complete || ends.is_some_and(|((first, _), (last, _))| (*first..=*last).contains(&token));
        let subscribed = self.iter().filter(|channel| channel.is_subscribed());
        let reported = subscribed.filter_map(|channel| {
            let used = named.get(&*channel.token).copied();
            let used = used.or_else(|| spoken_of(&channel.token).then_some(0))?;
            Some((Arc::clone(channel), used))
        });
        reported.collect()
    }

    /// How many channels there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many namespaces are not subscribed, but still known.
    pub(super) fn idle(&self) -> usize {
        let whole = self.iter().filter(|channel| channel.id == channel.whole);
        whole.filter(|channel| !channel.is_subscribed()).count()
    }

    /// Forgets the namespaces of which no channel is subscribed and nothing was published since this counting began, and gives their ids to
    /// others: a number that was drawn there would be drawn again. The caller sees to it that nobody remembers what belonged to the ids.
    pub(super) fn forget_idle(&mut self, since: u64) -> Vec<TopicId> {
        let mut kept = vec![false; self.slots.len()];
        for channel in self.iter().filter(|channel| channel.is_subscribed()) {
            if let Some(kept) = kept.get_mut(channel.whole.0 as usize) {
                *kept = true;
            }
        }
        let mut forgotten = Vec::new();
        for slot in self.slots.iter_mut().skip(1) {
            let idle = slot.take_if(|channel| {
                let mut numbers = lock(&channel.numbers);
                let used = numbers.used.since(since) > 0;
                let kept = kept.get(channel.whole.0 as usize).copied().unwrap_or(true);
                let idle = !kept && !used && numbers.ended.is_none();
                numbers.forgotten |= idle;
                idle
            });
            if let Some(channel) = idle {
                if channel.id == channel.whole {
                    self.by_namespace.remove(&channel.namespace);
                }
                self.by_topic.remove(&channel.topic);
                forgotten.push(channel.id);
            }
        }
        let slots = &self.slots;
        self.by_part.retain(|_, id| slots.get(id.0 as usize).is_some_and(Option::is_some));
        self.free.extend(&forgotten);
        forgotten
    }

    fn get(&self, id: TopicId) -> Option<&Arc<Channel>> {
        self.slots.get(id.0 as usize)?.as_ref()
    }
}
