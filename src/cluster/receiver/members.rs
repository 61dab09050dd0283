//! What nodes say of themselves, and what this one concludes.

use std::{sync::Arc, time::Instant};

use super::{Receiver, clock, now};
use crate::{
    cluster::{
        Member, Origin, config,
        membership::{Event, Heard},
        said::Said,
        wire::{Envelope, Flags, Goodbye, Heartbeat, Kind, WireError, unpack},
    },
    hub::NodeLeft,
};

/// How often another tag is drawn; what clashes with all of them is no accident.
const MAX_REDRAWS: u8 = 8;

impl Receiver {
    pub(super) fn control(&mut self, envelope: &Envelope<'_>) -> Result<(), WireError> {
        let (now, origin, flags) = (now(), envelope.address.origin, envelope.address.flags);
        let malformed = |_| WireError::Malformed("part");
        let events = match envelope.address.kind {
            Kind::Heartbeat => {
                let heartbeat: Heartbeat<'_> = unpack(envelope.part).map_err(malformed)?;
                self.account(origin, &heartbeat.used, flags);
                let us = self.link.origin();
                let heard = Heard {
                    node: shortened(heartbeat.node),
                    advertise: shortened(heartbeat.advertise),
                    version: heartbeat.version,
                    features: heartbeat.features,
                    sockets: heartbeat.sockets,
                    removed_us: heartbeat.removed.iter().any(|(tag, epoch)| tag.0 == us.tag && *epoch == us.epoch),
                };
                self.note_load(origin, heartbeat.sockets);
                self.membership.handle_heartbeat(now, origin, &heard)
            }
            Kind::Goodbye => {
                let goodbye: Goodbye<'_> = unpack(envelope.part).map_err(malformed)?;
                self.account(origin, &goodbye.used, flags);
                self.membership.handle_goodbye(origin).into_iter().collect()
            }
            kind => return Err(WireError::Kind(kind as u8)),
        };
        self.changed(now, events);
        Ok(())
    }

    /// Compares the last numbers that an origin has used with what was seen of it.
    fn account(&mut self, origin: Origin, used: &[(&str, u64)], flags: Flags) {
        for (channel, used) in self.link.reported(used, !flags.has(Flags::PARTIAL)) {
            let missing = self.sequences.reported(origin, channel.id, used);
            self.hole(origin, &channel, missing);
        }
    }

    /// What changes with every heartbeat wakes nobody.
    fn note_load(&self, origin: Origin, sockets: Option<u64>) {
        self.standing.send_if_modified(|standing| {
            let member = standing.members.iter_mut().find(|member| member.origin == origin);
            member.into_iter().for_each(|member| member.sockets = sockets);
            false
        });
    }

    /// An own heartbeat has come back.
    pub(super) fn canary(&mut self, origin: Origin, sequence: u64) {
        if origin != self.link.origin() || sequence > self.link.control_sequence() {
            return;
        }
        let now = now();
        self.link.counters.canaries.increment();
        let sequences = &mut self.sequences;
        self.proving.retain(|(topic, above)| {
            let live = sequence > *above;
            if live {
                sequences.arm(*topic);
            }
            !live
        });
        let events = self.membership.handle_canary(now, sequence);
        self.changed(now, events);
        self.standing
            .send_modify(|standing| (standing.heard, standing.hearing_since) = self.membership.heard());
    }

    /// Draws the conclusions from what has changed in the membership.
    pub(super) fn changed(&mut self, now: Instant, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        let members: Vec<Member> = self.membership.members().cloned().collect();
        self.link.agree(&members);
        let before = self.standing.borrow().members.clone();
        self.standing.send_modify(|standing| standing.members = members);
        for event in events {
            if let Event::Left(gone) | Event::Removed(gone) = event
                && let Some(member) = before.iter().find(|member| member.origin == gone)
            {
                let left = NodeLeft::new(Arc::clone(&member.node), gone.tag, matches!(event, Event::Left(_)));
                self.hub.node_left(&left);
            }
            if let Event::Suspected(gone) | Event::Left(gone) | Event::Removed(gone) | Event::Restarted { gone, .. } = event {
                self.link.give_up(gone);
            }
            self.conclude(now, event);
        }
    }

    fn conclude(&mut self, now: Instant, event: Event) {
        let counters = &self.link.counters;
        match event {
            Event::Joined(member) => {
                counters.joined.increment();
                tracing::info!(origin = %member.origin, node = &*member.node, "a node has joined");
                self.sequences.readmit(member.origin);
                self.hasten(now);
            }
            Event::Restarted { gone, member } => {
                counters.joined.increment();
                tracing::info!(origin = %member.origin, node = &*member.node, "a node has begun a new epoch");
                self.sequences.retire(gone);
                self.sequences.readmit(member.origin);
                self.hasten(now);
            }
            Event::Suspected(origin) => {
                counters.suspected.increment();
                tracing::warn!(%origin, "nothing is heard of a node");
            }
            Event::Returned(origin) => tracing::info!(%origin, "a suspected node is heard again"),
            Event::Left(origin) => {
                counters.left.increment();
                tracing::info!(%origin, "a node has left");
                self.sequences.retire(origin);
            }
            Event::Removed(origin) => {
                counters.removed.increment();
                tracing::warn!(%origin, "a node was removed: nothing was heard of it for too long");
                self.sequences.retire(origin);
            }
            Event::RemovedUs(by) => self.come_back(now, by),
            Event::Clash(with) => {
                counters.clashes.increment();
                if with.epoch < self.link.origin().epoch {
                    self.redraw(now, with);
                } else if self.said.first(Said::CLASH) {
                    tracing::warn!(%with, "a node that started later has the tag of this one, and is to draw another");
                }
            }
            Event::Crowded(origin) => {
                counters.crowded.increment();
                if self.said.first(Said::CROWDED) {
                    tracing::error!(%origin, "a node is not admitted: there are too many");
                }
            }
        }
    }

    /// Another node holds this one for gone: comes back under a new epoch, in which its numbers go on.
    fn come_back(&mut self, now: Instant, by: Origin) {
        tracing::warn!(%by, "this node was held for gone, and begins a new epoch");
        self.begin_epoch(now, self.link.origin().returned());
    }

    /// Another node, which started before, has this one's tag: draws another. Others take this one for a later epoch of that node, until it
    /// says goodbye. It is this one that gives way because it has the fewer clients yet.
    fn redraw(&mut self, now: Instant, with: Origin) {
        if self.redraws >= MAX_REDRAWS {
            if self.said.first(Said::CLASH) {
                tracing::error!(%with, "another node has the tag of this one, again and again; one of the two must be restarted");
            }
            return;
        }
        self.redraws += 1;
        let before = self.link.origin().tag;
        self.link.goodbye();
        let tag = self.hub.redraw_tag();
        tracing::warn!(%with, %tag, "another node has the tag of this one, which has drawn another");
        self.count_anew(now);
        self.link.move_from(before, &self.hub.namespaces());
    }

    /// Begins a new epoch, in which all numbers start at 1 again, under the tag that the node has now.
    pub(super) fn count_anew(&mut self, now: Instant) {
        let since = clock().max(self.link.origin().counting_since() + 1);
        let origin = Origin::started(self.hub.tag(), since);
        self.begin_epoch(now, origin);
        self.membership.count_anew(origin.tag);
        for (_, above) in &mut self.proving {
            *above = 0;
        }
    }

    fn begin_epoch(&mut self, now: Instant, origin: Origin) {
        self.link.counters.renewals.increment();
        self.link.renew(origin);
        self.hasten(now);
    }
}

/// What a peer calls itself, within the bound of what this node would.
fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(config::MAX_TEXT)).unwrap_or_default()
}
