//! What may be done in a time: a bucket of tokens, looked at from its other end. A plain value.

use std::time::{Duration, Instant};

/// What was done, as the time that it is worth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// When all that was done will have been worth its time.
    paid: Instant,
}

impl Bucket {
    pub(super) const fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// Whether all that was done has been worth its time.
    pub(super) fn is_at_rest(&self, now: Instant) -> bool {
        self.paid <= now
    }

    /// Something was done, or is about to be, that is worth so much time. Answers when all that was done before has been worth its time,
    /// and when this will have been, too.
    pub(super) fn spend(&mut self, worth: Duration, now: Instant) -> (Instant, Instant) {
        let before = self.paid.max(now);
        self.paid = before + worth;
        (before, self.paid)
    }
}
