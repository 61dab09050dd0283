//! What this node has asked the others, and who still owes a reply. Sans-IO: no clock, no wire.
//!
//! Who owes one is known from the membership, never from a count of subscribers: a request ends as soon as the last living node has
//! replied. A member that is suspected, leaves or is removed is given up at once, and named as missing.

use std::{collections::HashMap, sync::Arc, time::Instant};

use super::{
    Member, Origin,
    wire::{FEATURE_REQUESTS, Sheet, Wanted},
};
use crate::hub::{Collector, Replies};

/// The most requests that wait for other nodes at a time.
const MAX_PENDING: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Requests {
    last: u64,
    pending: HashMap<u64, Pending>,
}

#[derive(Debug)]
struct Pending {
    /// Who was asked, in the collector's order.
    asked: Vec<Origin>,
    wanted: Wanted,
    collector: Collector,
}

impl Requests {
    /// Asks these members; answers the request's number, and what they will reply. Nothing is to be asked where there is no number:
    /// nobody can be, or too many requests wait already.
    ///
    /// A member that is suspected, or of a version that does not reply, is not waited for, but named as missing.
    pub(super) fn begin(&mut self, members: &[Member], wanted: Wanted, max_bytes: usize, deadline: Instant) -> (Option<u64>, Replies) {
        if self.pending.len() >= MAX_PENDING {
            self.pending.retain(|_, pending| !pending.collector.is_over());
        }
        let room = self.pending.len() < MAX_PENDING;
        let replies = |member: &&Member| room && !member.suspected && member.features & FEATURE_REQUESTS != 0;
        let (asked, others): (Vec<_>, Vec<_>) = members.iter().partition(replies);
        let names = asked.iter().map(|member| Arc::clone(&member.node));
        let (stream, collector) = Replies::of_nodes(names, max_bytes, deadline);
        let stream = stream.without(others.into_iter().map(|member| Arc::clone(&member.node)));
        if asked.is_empty() {
            return (None, stream);
        }
        self.last += 1;
        let pending = Pending {
            asked: asked.into_iter().map(|member| member.origin).collect(),
            wanted,
            collector,
        };
        self.pending.insert(self.last, pending);
        (Some(self.last), stream)
    }

    /// A member replies. What nobody waits for is ignored.
    pub(super) fn handle_reply(&mut self, origin: Origin, sheet: Sheet) {
        let Some(pending) = self.pending.get(&sheet.id) else { return };
        let Some(node) = pending.asked.iter().position(|asked| *asked == origin) else {
            return;
        };
        let collector = &pending.collector;
        if sheet.busy {
            collector.give_up(node);
        } else {
            if let Some(expected) = sheet.expected {
                collector.expect(node, expected as usize);
            }
            for item in sheet.items {
                let bytes = item.size();
                match item.reply(pending.wanted) {
                    Some(reply) => collector.give(node, reply, bytes),
                    None => collector.miss(node, 1),
                }
            }
            collector.forgo(node, sheet.forgone as usize);
            collector.miss(node, sheet.missing as usize);
        }
        if collector.is_over() {
            self.pending.remove(&sheet.id);
        }
    }

    /// Nobody waits for this member any longer.
    pub(super) fn give_up(&mut self, origin: Origin) {
        self.pending.retain(|_, pending| {
            if let Some(node) = pending.asked.iter().position(|asked| *asked == origin) {
                pending.collector.give_up(node);
            }
            !pending.collector.is_over()
        });
    }

    /// Nothing will be heard of a request: it could not be sent.
    pub(super) fn cancel(&mut self, id: u64) {
        if let Some(pending) = self.pending.remove(&id) {
            for node in 0..pending.asked.len() {
                pending.collector.give_up(node);
            }
        }
    }
}
