//! What a node counts beside its layers: plain atomics, which it renders itself.

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
}

impl Counters {
    pub(super) fn count_refused(&self, refusal: &Refusal) {
        if let Some(counter) = self.refused.get(usize::from(refusal.code())) {
            counter.increment();
        }
    }

    /// Each code with the number of requests that were refused with it.
    pub(super) fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CODES.into_iter().zip(&self.refused).map(|(code, counter)| (code, counter.get()))
    }
}
