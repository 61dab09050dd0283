//! Distributions of times.
//!
//! Every delivery of a run is recorded, by whatever thread it comes to, so recording is one addition to a counter that is nobody else's:
//! each thread has counters of its own, which are put together when somebody asks. They are for the threads and not for the clients, of
//! which there may be many thousands.

use std::{
    cell::Cell,
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Times are kept up to this; larger ones count as this one.
const LONGEST: Duration = Duration::from_secs(120);
/// Microseconds below 2 to this are counted each, larger ones with as many leading bits as distinguish 1024 steps: three digits.
const EXACT_BITS: u32 = 11;
/// Steps of each further doubling.
const STEPS: u64 = 1 << (EXACT_BITS - 1);
/// Of the curve: this many points for each halving of what is above, so many halvings.
const CURVE: (u32, u32) = (5, 12);

/// Times that many clients record.
#[derive(Debug)]
pub(crate) struct Latencies {
    /// One for each thread that can run at the same time. Threads beyond those share one, which is slower and as right.
    threads: Vec<Counters>,
}

/// How many times of each length one thread has recorded.
#[derive(Debug)]
struct Counters(Box<[AtomicU64]>);

/// A distribution, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    /// The median.
    pub(crate) p50: f64,
    /// 9 of 10 are at or below.
    pub(crate) p90: f64,
    /// 99 of 100 are at or below.
    pub(crate) p99: f64,
    /// 999 of 1000 are at or below.
    pub(crate) p999: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            threads: (0..threads).map(|_| Counters::new()).collect(),
        }
    }

    /// Records a time. Takes no lock, and waits for nobody.
    pub(crate) fn record(&self, time: Duration) {
        if let Some(counters) = self.threads.get(slot() % self.threads.len()) {
            counters.add(place(micros(time)));
        }
    }

    /// How many were recorded. It looks at all counters: a thing for progress and for the end.
    pub(crate) fn count(&self) -> u64 {
        self.threads.iter().map(Counters::count).sum()
    }

    /// All that were recorded.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let all = self.merged();
        let at = |quantile| ms(all.value_at_quantile(quantile));
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(all.max()),
        }
    }

    /// The whole distribution: quantiles, and the milliseconds at or below which that share of the times is. The points are the closer the
    /// nearer they are to 1, the last of which is the largest time; none if nothing was recorded.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        let all = self.merged();
        if all.is_empty() {
            return Vec::new();
        }
        let (points, halvings) = CURVE;
        let above = (0..halvings).flat_map(|halving| {
            let left = 0.5_f64.powi(halving.cast_signed());
            (0..points).map(move |point| left * (1.0 - f64::from(point) / f64::from(2 * points)))
        });
        let quantiles = above.map(|above| 1.0 - above).chain([1.0]);
        quantiles.map(|quantile| (quantile, ms(all.value_at_quantile(quantile)))).collect()
    }

    fn merged(&self) -> Histogram<u64> {
        let mut all = histogram();
        for counters in &self.threads {
            for (place, count) in counters.0.iter().enumerate() {
                let count = count.load(Relaxed);
                // None of a time would still make it the largest.
                if count > 0 {
                    all.saturating_record_n(lowest(place), count);
                }
            }
        }
        all
    }
}

impl Counters {
    fn new() -> Self {
        Self((0..places()).map(|_| AtomicU64::new(0)).collect())
    }

    fn add(&self, place: usize) {
        if let Some(counter) = self.0.get(place) {
            counter.fetch_add(1, Relaxed);
        }
    }

    fn count(&self) -> u64 {
        self.0.iter().map(|counter| counter.load(Relaxed)).sum()
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p90, p99, p999, max } = self;
        write!(f, "p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2} ms")
    }
}

/// The number of this thread among those that record.
fn slot() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SLOT: Cell<Option<usize>> = const { Cell::new(None) };
    }
    SLOT.with(|slot| {
        slot.get().unwrap_or_else(|| {
            let next = THREADS.fetch_add(1, Relaxed);
            slot.set(Some(next));
            next
        })
    })
}

/// The counter of a time: that of the first microsecond which shares it is [`lowest`].
fn place(micros: u64) -> usize {
    let micros = micros.min(self::micros(LONGEST));
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(EXACT_BITS);
    usize::try_from(STEPS * u64::from(shift) + (micros >> shift)).unwrap_or(usize::MAX)
}

/// The shortest time of a counter, in microseconds.
fn lowest(place: usize) -> u64 {
    let place = place as u64;
    let shift = (place / STEPS).saturating_sub(1);
    (place - STEPS * shift) << shift
}

/// How many counters there are.
fn places() -> usize {
    place(u64::MAX) + 1
}

/// An empty histogram of microseconds with three significant digits.
fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the constructor accepts")]
    Histogram::new_with_bounds(1, micros(LONGEST), 3).expect("valid bounds")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn ms(micros: u64) -> f64 {
    micros as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_many_threads_record_is_one_distribution() {
        let latencies = Latencies::new();
        std::thread::scope(|scope| {
            for part in 0..8 {
                let latencies = &latencies;
                scope.spawn(move || {
                    (1..=1000)
                        .skip(part)
                        .step_by(8)
                        .for_each(|ms| latencies.record(Duration::from_millis(ms)))
                });
            }
        });
        let Percentiles { p50, p90, p99, p999, max } = latencies.percentiles();
        assert_eq!(latencies.count(), 1000);
        for (got, wanted) in [(p50, 500.0), (p90, 900.0), (p99, 990.0), (p999, 999.0), (max, 1000.0)] {
            assert!((got - wanted).abs() <= wanted / 1000.0, "{got} instead of {wanted}");
        }
    }

    #[test]
    fn a_curve_rises_from_the_shortest_to_the_longest_and_has_the_percentiles_on_it() {
        let latencies = Latencies::new();
        assert!(latencies.curve().is_empty());
        (1..=10_000).for_each(|micros| latencies.record(Duration::from_micros(micros)));
        let curve = latencies.curve();
        assert_eq!(curve.len(), 61);
        assert!(curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{curve:?}");
        assert_eq!((curve[0].1, curve[5]), (0.001, (0.5, latencies.percentiles().p50)));
        assert_eq!(curve.last(), Some(&(1.0, latencies.percentiles().max)));
    }

    #[test]
    fn a_time_beyond_the_longest_counts_as_that() {
        let latencies = Latencies::new();
        latencies.record(Duration::MAX);
        assert!((latencies.percentiles().max - 120e3).abs() <= 120.0);
    }

    proptest! {
        /// The library, which does the same behind a lock, is the judge.
        #[test]
        fn the_counters_are_those_of_the_library(times in prop::collection::vec(prop_oneof![0..5000_u64, 0..200_000_000_u64], 1..50)) {
            let latencies = Latencies::new();
            let mut judge = histogram();
            for time in &times {
                latencies.record(Duration::from_micros(*time));
                judge.saturating_record((*time).min(micros(LONGEST)));
            }
            prop_assert!(latencies.merged() == judge, "{:?}", latencies.percentiles());
        }

        #[test]
        fn a_place_begins_with_its_lowest_time(micros in 0..120_000_000_u64) {
            let place = place(micros);
            prop_assert!(place < places());
            prop_assert!(lowest(place) <= micros && (micros < lowest(place + 1)));
            prop_assert_eq!(super::place(lowest(place)), place);
        }
    }
}
