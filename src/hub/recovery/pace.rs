//! How fast is replayed: so many bytes a second to one client, and to all clients of this node together. A plain value.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use crate::hub::bucket::Bucket;

/// How much may be replayed at once: what may be in this time.
const BURST: Duration = Duration::from_millis(100);

/// Bytes that are replayed, at a rate.
#[derive(Debug)]
pub(in crate::hub) struct Pace {
    /// Bytes a second.
    rate: NonZeroU64,
    sent: Bucket,
}

impl Pace {
    pub(in crate::hub) const fn new(rate: NonZeroU64, now: Instant) -> Self {
        Self {
            rate,
            sent: Bucket::new(now),
        }
    }

    /// So many bytes are to be sent: says from when on they may be. They have their place in the order of those who ask.
    pub(in crate::hub) fn take(&mut self, bytes: usize, now: Instant) -> Instant {
        let nanoseconds = u128::from(bytes as u64) * Duration::from_secs(1).as_nanos() / u128::from(self.rate.get());
        let worth = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let (before, _) = self.sent.spend(worth, now);
        before.checked_sub(BURST).map_or(now, |due| due.max(now))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever waits as told, sends in no stretch of time more than that time is worth, a burst and one; and loses no time if he is always busy.
        #[test]
        fn no_stretch_of_time_has_more_bytes_than_it_is_worth(
            rate in 1..10_000_u64,
            sizes in prop::collection::vec((0..3000_usize, 0..500_u64), 1..60),
        ) {
            let begun = Instant::now();
            let mut pace = Pace::new(NonZeroU64::new(rate).unwrap(), begun);
            let (mut now, mut sent, mut idle) = (begun, Vec::new(), Duration::ZERO);
            for (size, wait) in sizes {
                let wait = Duration::from_millis(wait / 100 * wait);
                now += wait;
                idle += wait;
                now = pace.take(size, now);
                sent.push((now, size));
            }
            for (first, (begun, _)) in sent.iter().enumerate() {
                let mut bytes = 0;
                for (ended, size) in &sent[first..] {
                    // The last one may begin while what was before is all but worth its time.
                    let worth = (*ended - *begun + BURST).as_secs_f64() * rate as f64;
                    prop_assert!(bytes as f64 <= worth + 1.0, "{bytes} bytes before the last in {:?}", *ended - *begun);
                    bytes += size;
                }
            }
            let total: usize = sent.iter().map(|(_, size)| size).sum();
            let busy = Duration::from_secs_f64(total as f64 / rate as f64);
            prop_assert!(now - begun <= busy + idle);
        }
    }
}
