//! What a node counts beside its layers: plain atomics, which it renders itself.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::internal;
use crate::{engine::Counter, protocol::engineio::handshake::Refusal};

/// The codes of refusals, as labels.
const CODES: [&str; 6] = ["0", "1", "2", "3", "4", "5"];

/// What happened before there was a session.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Requests refused, by code.
    refused: [Counter; CODES.len()],
    /// Connections refused because their address had as many as one may have.
    pub(super) crowded: Counter,
    /// Connections refused because the file descriptors that clients may have were used up.
    pub(super) exhausted: Counter,
    /// Requests to the internal listener that were refused, by reason.
    internal_refused: [Counter; internal::Refusal::ALL.len()],
    /// Requests of clients with headers that only nodes may send.
    pub(super) spoofed: Counter,
    /// Times that a peer was not asked, because its address is outside `cluster.networks`.
    pub(super) peers_outside: Counter,
    /// Requests of sessions, of this node's and of others', upgrades included.
    pub(super) session_requests: Counter,
    /// Requests for sessions of other nodes, by what became of them.
    forwarded: [Counter; Forwarded::ALL.len()],
    /// Gauge: WebSockets that are carried to the sessions of other nodes.
    pub(super) carried: Counter,
    /// Requests for this node's sessions that other nodes have handed on.
    pub(super) forwarded_here: Counter,
    /// Whether it was said that another node refuses what is handed to it.
    said_forward_refused: AtomicBool,
    /// Whether this node has reached itself at its advertised address.
    advertise_verified: AtomicBool,
}

/// What became of a request for a session of another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forwarded {
    /// The owner has answered, whatever it was.
    Answered,
    /// The owner has taken an upgrade.
    Upgraded,
    /// The owner could not be asked.
    Mute,
    /// The owner was asked, and has not answered.
    Broken,
    /// The owner does not believe this node.
    Refused,
    /// As many upgrades were carried as may be.
    Crowded,
}

impl Forwarded {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 6] = [
        Self::Answered,
        Self::Upgraded,
        Self::Mute,
        Self::Broken,
        Self::Refused,
        Self::Crowded,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Upgraded => "upgraded",
            Self::Mute => "mute",
            Self::Broken => "broken",
            Self::Refused => "refused",
            Self::Crowded => "crowded",
        }
    }
}

impl Counters {
    pub(super) fn count_refused(&self, refusal: &Refusal) {
        if let Some(counter) = self.refused.get(usize::from(refusal.code())) {
            counter.increment();
        }
    }

    pub(super) fn count_internal_refused(&self, refusal: internal::Refusal) {
        if let Some(counter) = self.internal_refused.get(refusal as usize) {
            counter.increment();
        }
    }

    /// Each reason with the number of requests to the internal listener that were refused for it.
    pub(super) fn internal_refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let reasons = internal::Refusal::ALL.into_iter().zip(&self.internal_refused);
        reasons.map(|(refusal, counter)| (refusal.as_str(), counter.get()))
    }

    pub(super) fn count_forwarded(&self, outcome: Forwarded) {
        if let Some(counter) = self.forwarded.get(outcome as usize) {
            counter.increment();
        }
    }

    /// Each outcome with the number of requests for other nodes' sessions that had it.
    pub(super) fn forwarded(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let outcomes = Forwarded::ALL.into_iter().zip(&self.forwarded);
        outcomes.map(|(outcome, counter)| (outcome.as_str(), counter.get()))
    }

    /// Whether it is to be said that another node refuses what is handed to it: once.
    pub(super) fn say_forward_refused(&self) -> bool {
        !self.said_forward_refused.swap(true, Relaxed)
    }

    pub(super) fn set_advertise_verified(&self) {
        self.advertise_verified.store(true, Relaxed);
    }

    pub(super) fn advertise_verified(&self) -> bool {
        self.advertise_verified.load(Relaxed)
    }

    /// Each code with the number of requests that were refused with it.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CODES.into_iter().zip(&self.refused).map(|(code, counter)| (code, counter.get()))
    }
}
