//! Who is in the cluster, as this node sees it. Sans-IO: takes what was heard and the time, returns what changed and when to wake.
//!
//! Each node sends a heartbeat, and hears its own again through the backend: its canary. A member is suspected once nothing was
//! heard of it for `suspect_after`, and removed after `remove_after`. Only time in which this node heard its own canary counts
//! towards a removal, so that a node which is deaf, or was paused, removes nobody; suspicion goes by the wall and is harmless.
//!
//! A member that was removed and is heard again is told so in this node's heartbeats, and comes back under a new epoch.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Origin;
use crate::engine::id::NodeTag;

/// The most members; the heartbeats of further ones are refused.
const MAX_MEMBERS: usize = 1024;

/// The most removed members that are remembered.
const MAX_REMOVED: usize = 64;

/// The times that membership goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) suspect_after: Duration,
    pub(super) remove_after: Duration,
}

/// Another node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its tag and start epoch.
    pub origin: Origin,
    /// The name it was given; its tag, where it was given none.
    pub node: Arc<str>,
    /// Where its internal listener is reached; empty when it does not say.
    pub advertise: Arc<str>,
    /// The newest wire version it reads.
    pub version: u8,
    /// The features it has, a bit each.
    pub features: u64,
    /// How many sockets it has, as it said last: its load. Nothing where it does not say.
    pub sockets: Option<u64>,
    /// Whether nothing was heard of it for `suspect_after`: it still gets broadcasts, but nobody waits for it.
    pub suspected: bool,
}

/// What a heartbeat says of its sender.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard<'a> {
    pub(super) node: &'a str,
    pub(super) advertise: &'a str,
    pub(super) version: u8,
    pub(super) features: u64,
    pub(super) sockets: Option<u64>,
    /// Whether it lists this node, under its present epoch, as removed.
    pub(super) removed_us: bool,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A member was heard for the first time.
    Joined(Member),
    /// A member was heard under a new epoch; the old one is gone.
    Restarted {
        /// The epoch that is gone.
        gone: Origin,
        /// Who is there now.
        member: Member,
    },
    /// Nothing was heard of a member for `suspect_after`.
    Suspected(Origin),
    /// A suspected member was heard again.
    Returned(Origin),
    /// A member said goodbye.
    Left(Origin),
    /// Nothing was heard of a member for `remove_after`.
    Removed(Origin),
    /// The sender of this heartbeat has removed this node: it is to come back under a new epoch.
    RemovedUs(Origin),
    /// Another node has the tag of this one.
    Clash(Origin),
    /// A heartbeat was refused, since there are too many members.
    Crowded(Origin),
}

/// The members, and this node's own hearing.
#[derive(Debug)]
pub(super) struct Membership {
    times: Times,
    own: NodeTag,
    members: HashMap<NodeTag, Tracked>,
    removed: HashMap<NodeTag, Removed>,
    canary: Canary,
}

#[derive(Debug)]
struct Tracked {
    member: Member,
    heard: Instant,
    /// When it was heard, on the clock that runs only while the canary is heard.
    heard_hearing: Duration,
}

#[derive(Debug)]
struct Removed {
    origin: Origin,
    at: Instant,
    /// Whether it was heard since, and so does not know.
    unaware: bool,
}

#[derive(Debug)]
struct Canary {
    started: Instant,
    heard: Option<Instant>,
    /// Since when it has been heard without a break.
    since: Option<Instant>,
    sequence: u64,
    /// How long this node has heard its canary without a break, all together.
    hearing: Duration,
}

impl Canary {
    /// How long it has been heard until now, if it is heard now. A break of more than `longest` does not count.
    fn hearing_at(&self, now: Instant, longest: Duration) -> Duration {
        let passed = now.saturating_duration_since(self.heard.unwrap_or(self.started));
        if passed <= longest { self.hearing + passed } else { self.hearing }
    }
}

impl Membership {
    pub(super) fn new(times: Times, own: NodeTag, now: Instant) -> Self {
        let canary = Canary {
            started: now,
            heard: None,
            since: None,
            sequence: 0,
            hearing: Duration::ZERO,
        };
        Self {
            times,
            own,
            members: HashMap::new(),
            removed: HashMap::new(),
            canary,
        }
    }

    /// A member's heartbeat was heard. At most two events come of it.
    pub(super) fn handle_heartbeat(&mut self, now: Instant, origin: Origin, heard: &Heard<'_>) -> Vec<Event> {
        let mut events = Vec::new();
        if origin.tag == self.own {
            events.push(Event::Clash(origin));
            return events;
        }
        if heard.removed_us {
            events.push(Event::RemovedUs(origin));
        }
        if let Some(removed) = self.removed.get_mut(&origin.tag) {
            if origin.epoch <= removed.origin.epoch {
                removed.unaware = origin.epoch == removed.origin.epoch;
                return events;
            }
            self.removed.remove(&origin.tag);
        }
        events.extend(self.admit(now, origin, heard));
        events
    }

    fn admit(&mut self, now: Instant, origin: Origin, heard: &Heard<'_>) -> Option<Event> {
        let full = self.members.len() >= MAX_MEMBERS;
        let hearing = self.canary.hearing_at(now, self.times.suspect_after);
        let known = self.members.get_mut(&origin.tag);
        match known {
            Some(known) if origin.epoch < known.member.origin.epoch => return None,
            Some(known) if origin == known.member.origin => {
                (known.heard, known.heard_hearing) = (now, hearing);
                if *known.member.advertise != *heard.advertise {
                    known.member.advertise = heard.advertise.into();
                }
                (known.member.features, known.member.sockets) = (heard.features, heard.sockets);
                return std::mem::take(&mut known.member.suspected).then_some(Event::Returned(origin));
            }
            None if full => return Some(Event::Crowded(origin)),
            _ => {}
        }
        let member = Member {
            origin,
            node: if heard.node.is_empty() {
                origin.tag.to_string().into()
            } else {
                heard.node.into()
            },
            advertise: heard.advertise.into(),
            version: heard.version,
            features: heard.features,
            sockets: heard.sockets,
            suspected: false,
        };
        let tracked = Tracked {
            member: member.clone(),
            heard: now,
            heard_hearing: hearing,
        };
        Some(match self.members.insert(origin.tag, tracked) {
            Some(before) => Event::Restarted {
                gone: before.member.origin,
                member,
            },
            None => Event::Joined(member),
        })
    }

    /// A member said goodbye: it is gone at once.
    pub(super) fn handle_goodbye(&mut self, origin: Origin) -> Option<Event> {
        let known = self.members.get(&origin.tag).is_some_and(|known| known.member.origin == origin);
        known.then(|| {
            self.members.remove(&origin.tag);
            Event::Left(origin)
        })
    }

    /// This node's own heartbeat with this number was heard. The members of whom nothing was heard for `remove_after` are removed.
    pub(super) fn handle_canary(&mut self, now: Instant, sequence: u64) -> Vec<Event> {
        let canary = &mut self.canary;
        if sequence <= canary.sequence {
            return Vec::new();
        }
        let unbroken = |heard| now.saturating_duration_since(heard) <= self.times.suspect_after;
        canary.since = canary.since.filter(|_| canary.heard.is_some_and(unbroken)).or(Some(now));
        canary.hearing = canary.hearing_at(now, self.times.suspect_after);
        (canary.sequence, canary.heard) = (sequence, Some(now));
        self.remove_silent(now)
    }

    fn remove_silent(&mut self, now: Instant) -> Vec<Event> {
        let (hearing, remove_after) = (self.canary.hearing, self.times.remove_after);
        let silent = |known: &Tracked| hearing.saturating_sub(known.heard_hearing) >= remove_after;
        let gone: Vec<_> = self
            .members
            .values()
            .filter(|known| silent(known))
            .map(|known| known.member.origin)
            .collect();
        for origin in &gone {
            self.members.remove(&origin.tag);
            self.remember_removed(now, *origin);
        }
        gone.into_iter().map(Event::Removed).collect()
    }

    fn remember_removed(&mut self, now: Instant, origin: Origin) {
        if self.removed.len() >= MAX_REMOVED {
            let oldest = self
                .removed
                .values()
                .min_by_key(|removed| removed.at)
                .map(|removed| removed.origin.tag);
            oldest.and_then(|tag| self.removed.remove(&tag));
        }
        let removed = Removed {
            origin,
            at: now,
            unaware: false,
        };
        self.removed.insert(origin.tag, removed);
    }

    /// Time has passed: finds who is to be suspected.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<Event> {
        let suspect_after = self.times.suspect_after;
        let silent = |known: &&mut Tracked| !known.member.suspected && now.saturating_duration_since(known.heard) >= suspect_after;
        let newly = self.members.values_mut().filter(silent);
        newly
            .map(|known| {
                known.member.suspected = true;
                Event::Suspected(known.member.origin)
            })
            .collect()
    }

    /// When [`Membership::handle_timeout`] is to be called at the latest.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let unsuspected = self.members.values().filter(|known| !known.member.suspected);
        unsuspected.map(|known| known.heard + self.times.suspect_after).min()
    }

    /// This node numbers its heartbeats from 1 again, maybe under another tag.
    pub(super) fn count_anew(&mut self, own: NodeTag) {
        self.own = own;
        self.canary.sequence = 0;
    }

    /// Who was removed, is heard all the same, and so is to be told.
    pub(super) fn unaware(&self) -> impl Iterator<Item = Origin> {
        self.removed
            .values()
            .filter(|removed| removed.unaware)
            .map(|removed| removed.origin)
    }

    /// The members, in no order.
    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values().map(|known| &known.member)
    }

    /// When the canary was heard last, and since when it has been without a break of more than `suspect_after`.
    pub(super) fn heard(&self) -> (Option<Instant>, Option<Instant>) {
        (self.canary.heard, self.canary.since)
    }
}

#[cfg(test)]
#[path = "membership_tests.rs"]
mod tests;
