//! What a node says of itself.

use std::{
    iter,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{Link, read};
use crate::cluster::{
    Origin,
    channels::Channel,
    wire::{self, Body, Flags, Goodbye, Heartbeat, Kind, List, MAX_REMOVED, MAX_REPORTED, Tag, TooLong},
};

/// The last numbers used, by channel.
struct Used {
    channels: Vec<(Arc<Channel>, u64)>,
    flags: Flags,
}

impl Link {
    /// Sends a heartbeat of a node with so many sockets. `turn` chooses which topics are reported when they are too many for one.
    pub(in crate::cluster) fn heartbeat(&self, turn: usize, sockets: u64, unaware: impl Iterator<Item = Origin>) {
        let told = self.common.load(Relaxed) & wire::FEATURE_LOAD != 0;
        let used = self.used(turn);
        let body = used.list().and_then(|list| {
            let heartbeat = Heartbeat {
                node: &self.config.node,
                advertise: &self.config.advertise,
                version: wire::VERSION,
                features: wire::FEATURES,
                used: list,
                removed: List::new(unaware.take(MAX_REMOVED).map(|origin| (Tag(origin.tag), origin.epoch)))?,
                sockets: told.then_some(sockets),
            };
            Body::new(Kind::Heartbeat, used.flags, &heartbeat)
        });
        if self.offer(std::slice::from_ref(&self.control), body, &iter::empty()).is_ok() {
            self.counters.heartbeats.increment();
        }
    }

    /// Says goodbye, with the last numbers used. Nothing is published to members' own topic afterwards, but under another tag.
    pub(in crate::cluster) fn goodbye(&self) {
        let used = self.used(0);
        let body = used
            .list()
            .and_then(|list| Body::new(Kind::Goodbye, used.flags, &Goodbye { used: list }));
        if let Err(error) = self.offer(std::slice::from_ref(&self.control), body, &iter::empty()) {
            tracing::debug!(%error, "other nodes were not told goodbye");
        }
    }

    fn used(&self, turn: usize) -> Used {
        let since = self.origin().counting_since();
        let channels: Vec<_> = read(&self.channels).iter().cloned().collect();
        let used = channels.into_iter().map(|channel| {
            let used = channel.used(since);
            (channel, used)
        });
        let mut used: Vec<_> = used.filter(|(_, used)| *used > 0).collect();
        let rounds = used.len().div_ceil(MAX_REPORTED).max(1);
        if rounds > 1 {
            used.sort_unstable_by(|(one, _), (other, _)| one.token.cmp(&other.token));
        }
        Used {
            channels: used.into_iter().skip(turn % rounds * MAX_REPORTED).take(MAX_REPORTED).collect(),
            flags: Flags::PARTIAL.when(rounds > 1),
        }
    }
}

impl Used {
    fn list(&self) -> Result<List<(&str, u64), MAX_REPORTED>, TooLong> {
        List::new(self.channels.iter().map(|(channel, used)| (&*channel.token, *used)))
    }
}
