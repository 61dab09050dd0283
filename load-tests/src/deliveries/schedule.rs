//! When the messages of an open loop are due.

use std::time::Duration;

/// When each message is due, since the beginning of the schedule: the publishers take turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    publishers: u64,
    /// Between two messages of all publishers together.
    interval: Duration,
    /// Messages of all publishers together.
    total: u64,
}

impl Schedule {
    /// `rate` messages a second of so many publishers together.
    pub(crate) fn new(publishers: usize, rate: f64, duration: Duration) -> Self {
        Self {
            publishers: publishers as u64,
            interval: Duration::from_secs_f64(1.0 / rate),
            total: ((duration.as_secs_f64() * rate).round() as u64).max(1),
        }
    }

    /// Messages of one publisher.
    pub(crate) fn total(&self, publisher: usize) -> u64 {
        self.total.saturating_sub(publisher as u64).div_ceil(self.publishers)
    }

    /// When message `sequence` (from 1) is due.
    pub(crate) fn due(&self, publisher: usize, sequence: u64) -> Duration {
        let before = sequence
            .saturating_sub(1)
            .saturating_mul(self.publishers)
            .saturating_add(publisher as u64);
        let nanos = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos.saturating_mul(before))
    }

    /// The first message that is not due before `since`: none of those from it on leaves earlier.
    pub(crate) fn not_before(&self, publisher: usize, since: Duration) -> u64 {
        let after = since.saturating_sub(self.due(publisher, 1)).as_nanos();
        let steps = after.div_ceil((self.interval.as_nanos() * u128::from(self.publishers)).max(1));
        u64::try_from(steps)
            .unwrap_or(u64::MAX)
            .saturating_add(1)
            .min(self.total(publisher) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn publishers_take_turns_at_the_rate_of_all_together() {
        let schedule = Schedule::new(2, 100.0, Duration::from_secs(1));
        assert_eq!(schedule.total(1), 50);
        assert_eq!((schedule.due(0, 1), schedule.due(1, 1)), (Duration::ZERO, 10 * MS));
        assert_eq!((schedule.due(0, 50), schedule.due(1, 50)), (980 * MS, 990 * MS));
    }

    #[test]
    fn publishers_that_are_many_do_not_make_the_schedule_longer() {
        let schedule = Schedule::new(20, 50.0, Duration::from_millis(500));
        let totals: Vec<_> = (0..20).map(|publisher| schedule.total(publisher)).collect();
        assert_eq!(totals.iter().sum::<u64>(), 25);
        assert_eq!((totals[4], totals[5], schedule.due(4, 2)), (2, 1, 480 * MS));
    }

    #[test]
    fn what_is_owed_since_a_moment_begins_with_the_first_message_that_is_due_then() {
        let schedule = Schedule::new(2, 200.0, Duration::from_secs(1));
        for sequence in [1, 2, 99, 100] {
            let due = schedule.due(1, sequence);
            assert_eq!(schedule.not_before(1, due - MS), sequence);
            assert_eq!(schedule.not_before(1, due), sequence);
            assert_eq!(schedule.not_before(1, due + MS), sequence + 1);
        }
        assert_eq!(schedule.not_before(0, Duration::from_secs(9)), 101);
    }
}
