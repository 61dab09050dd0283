//! When connections are cut.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// How the times between two cuts are spread around their average.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Law {
    /// Evenly, from half the average to one and a half times it.
    #[default]
    Uniform,
    /// Exponentially, as cuts that know nothing of each other; eight times the average at the most.
    Exponential,
}

/// The longest of the exponential times, in averages: one in 3000 would be longer.
const LONGEST: f64 = 8.0;

impl Law {
    /// The time from the beginning of the run to the first cut, of a `chance` between 0 and 1: clients are not all as old as the run.
    pub(super) fn first(self, average: Duration, chance: f64) -> Duration {
        match self {
            Self::Uniform => average.mul_f64(chance),
            Self::Exponential => self.next(average, chance),
        }
    }

    /// The time to the next cut, from the moment when a client is back.
    pub(super) fn next(self, average: Duration, chance: f64) -> Duration {
        average.mul_f64(match self {
            Self::Uniform => 0.5 + chance,
            Self::Exponential => (-(1.0 - chance).ln()).clamp(0.0, LONGEST),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AVERAGE: Duration = Duration::from_secs(15);

    fn average(times: impl Fn(f64) -> Duration) -> f64 {
        (0..1000)
            .map(|step| times((f64::from(step) + 0.5) / 1000.0).as_secs_f64())
            .sum::<f64>()
            / 1000.0
    }

    #[test]
    fn each_law_keeps_the_average() {
        for law in [Law::Uniform, Law::Exponential] {
            let got = average(|chance| law.next(AVERAGE, chance));
            assert!((got - 15.0).abs() < 0.1, "{law:?}: {got}");
        }
        assert!((average(|chance| Law::Uniform.first(AVERAGE, chance)) - 7.5).abs() < 0.1);
        // What would be never.
        assert_eq!(Law::Exponential.next(AVERAGE, 1.0), AVERAGE * 8);
    }

    proptest! {
        #[test]
        fn times_are_bounded(chance in 0.0..=1.0_f64) {
            let seconds = |law: Law| law.next(AVERAGE, chance).as_secs_f64();
            prop_assert!((7.5..=22.5).contains(&seconds(Law::Uniform)));
            prop_assert!((0.0..=120.0).contains(&seconds(Law::Exponential)));
        }
    }
}
