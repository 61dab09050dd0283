//! What this node wants to hear.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::Instant,
};

use fanfare_adapters::Topic;
use futures_util::future::join_all;

use super::{Link, Wish, lock, node_name, read};
use crate::{
    cluster::{channels::Channel, receiver::now, sequences::TopicId, topics::Part},
    engine::id::NodeTag,
    hub::{Observer, Room, recovery::Later},
};

impl Link {
    /// The channel of a topic that was heard.
    pub(in crate::cluster) fn channel_of(&self, topic: &Topic) -> Option<Arc<Channel>> {
        read(&self.channels)
            .of_topic(topic)
            .filter(|channel| channel.is_subscribed())
            .cloned()
    }

    /// What a list of last numbers says of this node's own channels: see [`Channels::reported`](crate::cluster::channels::Channels::reported).
    pub(in crate::cluster) fn reported(&self, used: &[(&str, u64)], complete: bool) -> Vec<(Arc<Channel>, u64)> {
        read(&self.channels).reported(used, complete)
    }

    /// Wants what is published on the channel; the receiving task learns when the backend has confirmed it. Idempotent.
    pub(in crate::cluster) fn subscribe(&self, channel: &Channel) {
        let marked = read(&self.channels).mark(channel, true);
        match marked {
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

    /// Wants what is meant for the rooms that have got sockets here. Gives how many parts have become wanted with them, and the topics that
    /// the backend has confirmed, once it has.
    pub(in crate::cluster) fn hear_fresh(&self) -> (u64, impl Future<Output = Vec<TopicId>> + Send + use<>) {
        let (fresh, number) = lock(&self.interest).take_fresh();
        let mut subscribing = Vec::new();
        for (namespace, part) in fresh {
            let channel = self.part(&namespace, part);
            if read(&self.channels).mark(&channel, true) == Some(true) {
                let confirmed = self.adapter.subscribe(channel.topic.clone());
                subscribing.push(async move { confirmed.await.ok().map(|()| channel.id) });
            }
        }
        // One that is withdrawn is not waited for.
        (number, async move { join_all(subscribing).await.into_iter().flatten().collect() })
    }

    /// Wants what is replied to the node of this tag.
    pub(in crate::cluster) fn hear_replies(&self, tag: NodeTag) {
        let name = node_name(tag);
        self.subscribe(&self.channel_or(&name.as_str().into(), |_| (self.topics.node(tag), name.clone())));
    }

    /// This node's tag is no longer `before`: wants what is meant for the new one, in these namespaces.
    pub(in crate::cluster) fn move_from(&self, before: NodeTag, namespaces: &[Arc<str>]) {
        let tag = self.origin().tag;
        self.hear_replies(tag);
        let channels = read(&self.channels);
        let old = namespaces.iter().filter_map(|name| channels.of_part(name, Part::Node(before)));
        let old: Vec<_> = channels.of(&node_name(before)).into_iter().chain(old).cloned().collect();
        drop(channels);
        for name in namespaces {
            self.subscribe(&self.part(name, Part::Node(tag)));
        }
        for channel in &old {
            self.unsubscribe(channel);
        }
    }

    /// Wants nothing any more for the rooms that have been empty for a while.
    pub(in crate::cluster) fn leave_empty(&self, now: Instant) {
        let left = lock(&self.interest).take_left(now);
        for (namespace, part) in left {
            let channel = read(&self.channels).of_part(&namespace, part).cloned();
            if let Some(channel) = channel {
                self.unsubscribe(&channel);
            }
        }
    }

    pub(in crate::cluster) fn has_fresh(&self) -> bool {
        lock(&self.interest).has_fresh()
    }

    /// When [`Link::leave_empty`] has something to do.
    pub(in crate::cluster) fn next_leave(&self) -> Option<Instant> {
        lock(&self.interest).poll_timeout()
    }

    /// So many of the parts that have become wanted are heard.
    pub(in crate::cluster) fn set_heard(&self, number: u64) {
        self.heard.send_modify(|heard| *heard = number.max(*heard));
    }

    /// Ends when everything is heard that is wanted now.
    pub(in crate::cluster) fn settled(&self) -> Later<()> {
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
    pub(in crate::cluster) fn idle(&self) -> usize {
        read(&self.channels).idle()
    }

    /// Forgets the channels on which nothing is counted now: see [`Channels::forget_idle`](crate::cluster::channels::Channels::forget_idle).
    pub(in crate::cluster) fn forget_idle(&self) -> Vec<TopicId> {
        let since = self.origin().counting_since();
        self.channels.write().unwrap_or_else(PoisonError::into_inner).forget_idle(since)
    }
}

impl Observer for Link {
    fn namespace_created(&self, name: &Arc<str>) {
        self.subscribe(&self.channel(name));
        // The tag may change in this moment, after the namespaces were listed that have to follow it.
        let mut tag = None;
        while tag != Some(self.origin().tag) {
            let now = self.origin().tag;
            self.subscribe(&self.part(name, Part::Node(now)));
            tag = Some(now);
        }
        if let Some(journal) = self.journal.get().and_then(Weak::upgrade) {
            journal.namespace_created(name);
        }
    }

    fn namespace_removed(&self, name: &Arc<str>) {
        let channels = read(&self.channels);
        let of = [
            channels.of(name).cloned(),
            channels.of_part(name, Part::Node(self.origin().tag)).cloned(),
        ];
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
