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
    /// Times that a peer was not asked, because its address is outside `cluster.networks`.
    pub(super) peers_outside: Counter,
    /// Whether this node has reached itself at its advertised address.
    advertise_verified: AtomicBool,
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
