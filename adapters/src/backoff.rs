//! How long to wait before the next attempt to connect.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::Duration,
};

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(2);

/// Doubles from 100 ms to 2 s; each delay is drawn from its upper half, so that the nodes of a cluster do not come back at one
/// instant. There is no last attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    pub(crate) fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(LAST);
        let half = delay / 2;
        let jitter = random() % (u64::try_from(half.as_millis()).unwrap_or(u64::MAX).max(1));
        half + Duration::from_millis(jitter)
    }
}

/// Random bits from the standard library's hash keys: good enough to tell publishers apart, not for secrets.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_two_seconds_and_stay_there() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..20).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] >= FIRST / 2 && delays[0] <= FIRST);
        assert!(delays.iter().all(|delay| *delay <= LAST));
        assert!(delays[10..].iter().all(|delay| *delay >= LAST / 2));
    }
}
