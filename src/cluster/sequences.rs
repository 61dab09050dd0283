//! What was seen of each origin: drops repeats and counts holes, exactly once each.
//!
//! Each origin numbers what it publishes to a topic, from 1. What one origin published arrives in its order, so a number that is not
//! the next one is either a repeat (client libraries may resend after a reconnect) or stands behind a hole. Heartbeats carry the
//! last number used, so that a lost tail is found too.
//!
//! Nothing is counted before there is a baseline: the first message of an origin, or what its heartbeat reports while the
//! subscription of the topic is known to be live (see [`Sequences::arm`]). A node that was held for gone goes on counting in its new epoch, so
//! what was missed before, between and after is known by the next number. In an epoch in which an origin numbers from 1 again, who has heard
//! it on a topic before misses whatever stands before the first message of the new one.

use std::{cmp::Ordering, collections::HashMap};

use super::Origin;
use crate::engine::id::NodeTag;

/// Which topic of this node; made by the caller, dense from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TopicId(pub(super) u32);

/// What a sequence number tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The next one, or the first of its origin.
    New,
    /// Seen before, or already counted as missing: to be dropped.
    Repeat,
    /// New, and so many before it are missing.
    Hole(u64),
}

/// What a command's number in its namespace tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is in its turn.
    Next,
    /// It has come on another topic.
    Copy,
    /// Later ones have come before it on other topics: it was stuck on a connection that was given up, while others went over the next one.
    Late,
}

/// The most origins that are remembered. A further one replaces a retired one, or else the one heard least recently.
const MAX_ORIGINS: usize = 1024;

/// The most retired origins that are remembered, so that repeats of theirs are still known.
const MAX_RETIRED: usize = 64;

/// The last number seen of each origin on each topic.
#[derive(Debug, Default)]
pub(super) struct Sequences {
    origins: HashMap<Counting, Known>,
    /// Topics whose subscription is known to be live.
    armed: Vec<bool>,
    /// Counts calls; orders origins by when they were heard.
    now: u64,
}

/// What one start of a node publishes, whatever its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Counting {
    tag: NodeTag,
    since: u64,
}

impl From<Origin> for Counting {
    fn from(origin: Origin) -> Self {
        Self {
            tag: origin.tag,
            since: origin.counting_since(),
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    /// By the namespace's own topic, the last number seen in it on any of its topics.
    namespaces: Vec<u64>,
    /// By topic; 0 is no baseline yet (numbers start at 1), except where the origin reported that it had used none.
    last: Vec<Option<u64>>,
    heard: u64,
    retired: bool,
}

impl Sequences {
    /// The subscription of `topic` is live for everything that is taken from the inbox from now on: a report may be its baseline.
    pub(super) fn arm(&mut self, topic: TopicId) {
        *slot(&mut self.armed, topic) = true;
    }

    /// A message with this number has arrived.
    pub(super) fn message(&mut self, origin: Origin, topic: TopicId, sequence: u64) -> Seen {
        let last = slot(&mut self.known(origin).last, topic);
        match *last {
            _ if sequence == 0 => Seen::Repeat,
            Some(seen) if sequence <= seen => Seen::Repeat,
            Some(seen) => {
                *last = Some(sequence);
                match sequence - seen - 1 {
                    0 => Seen::New,
                    missing => Seen::Hole(missing),
                }
            }
            None => {
                *last = Some(sequence);
                Seen::New
            }
        }
    }

    /// A command with this number in its namespace has come, which is new on its topic. Commands come in the order of these numbers,
    /// whatever their topics, and the copies of one command, each on another topic, follow each other.
    pub(super) fn command(&mut self, origin: Origin, whole: TopicId, sequence: u64) -> Turn {
        let last = slot(&mut self.known(origin).namespaces, whole);
        let turn = match sequence.cmp(last) {
            Ordering::Greater => Turn::Next,
            Ordering::Equal => Turn::Copy,
            Ordering::Less => Turn::Late,
        };
        *last = sequence.max(*last);
        turn
    }

    /// The origin says that `used` is the last number it has used on `topic`. Returns how many are newly known to be missing.
    pub(super) fn reported(&mut self, origin: Origin, topic: TopicId, used: u64) -> u64 {
        let armed = *slot(&mut self.armed, topic);
        let last = slot(&mut self.known(origin).last, topic);
        match *last {
            Some(seen) if used > seen => {
                *last = Some(used);
                used - seen
            }
            None if armed => {
                *last = Some(used);
                0
            }
            _ => 0,
        }
    }

    /// The subscription of `topic` has ended, or the topic has become another one: nothing is known of it any more.
    pub(super) fn forget(&mut self, topic: TopicId) {
        let index = topic.0 as usize;
        if let Some(armed) = self.armed.get_mut(index) {
            *armed = false;
        }
        for known in self.origins.values_mut() {
            if let Some(last) = known.last.get_mut(index) {
                *last = None;
            }
            if let Some(last) = known.namespaces.get_mut(index) {
                *last = 0;
            }
        }
    }

    /// The origin has left: what is known of it may be replaced first.
    pub(super) fn retire(&mut self, origin: Origin) {
        if let Some(known) = self.origins.get_mut(&origin.into()) {
            known.retired = true;
        }
        let retired = self.origins.values().filter(|known| known.retired).count();
        if retired > MAX_RETIRED {
            self.replace();
        }
    }

    /// The origin is there, maybe again.
    pub(super) fn readmit(&mut self, origin: Origin) {
        if let Some(known) = self.origins.get_mut(&origin.into()) {
            known.retired = false;
        }
    }

    fn known(&mut self, origin: Origin) -> &mut Known {
        let counting = Counting::from(origin);
        if !self.origins.contains_key(&counting) {
            let last = self.baselines(counting);
            if self.origins.len() >= MAX_ORIGINS {
                self.replace();
            }
            self.origins.insert(counting, Known { last, ..Known::default() });
        }
        self.now += 1;
        let known = self.origins.entry(counting).or_default();
        known.heard = self.now;
        known
    }

    /// What a new origin starts with: 0 on each topic on which it was heard when it counted before.
    fn baselines(&self, counting: Counting) -> Vec<Option<u64>> {
        let before = self
            .origins
            .iter()
            .filter(|(known, _)| known.tag == counting.tag && known.since < counting.since);
        let last = before.max_by_key(|(known, _)| known.since).map(|(_, known)| &known.last);
        last.into_iter().flatten().map(|last| last.map(|_| 0)).collect()
    }

    /// Drops the retired origin, or else the origin, that was heard least recently.
    fn replace(&mut self) {
        let oldest = self
            .origins
            .iter()
            .min_by_key(|(_, known)| (!known.retired, known.heard))
            .map(|(origin, _)| *origin);
        if let Some(origin) = oldest {
            self.origins.remove(&origin);
        }
    }
}

/// The place of `topic`, made when it is new. Topics are this node's own, so the vector is bounded by its namespaces.
fn slot<T: Default + Clone>(of: &mut Vec<T>, topic: TopicId) -> &mut T {
    let index = topic.0 as usize;
    if of.len() <= index {
        of.resize(index + 1, T::default());
    }
    #[expect(clippy::indexing_slicing, reason = "the vector was just made long enough")]
    &mut of[index]
}

#[cfg(test)]
#[path = "sequences_tests.rs"]
mod tests;
