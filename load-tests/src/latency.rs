//! Distributions of times.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Times are kept up to this; larger ones count as this one.
const LONGEST: Duration = Duration::from_secs(120);
/// Clients share a histogram between so many, so that they rarely wait for each other.
const HISTOGRAMS: usize = 16;

/// Times that many clients record.
#[derive(Debug)]
pub(crate) struct Latencies {
    histograms: Vec<Mutex<Histogram<u64>>>,
    count: AtomicU64,
}

/// A distribution, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    /// The median.
    pub(crate) p50: f64,
    /// 99 of 100 are at or below.
    pub(crate) p99: f64,
    /// The largest.
    pub(crate) max: f64,
}

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            histograms: (0..HISTOGRAMS).map(|_| Mutex::new(histogram())).collect(),
            count: AtomicU64::new(0),
        }
    }

    /// Records a time of the client of that number.
    pub(crate) fn record(&self, client: usize, time: Duration) {
        self.count.fetch_add(1, Relaxed);
        if let Some(histogram) = self.histograms.get(client % HISTOGRAMS) {
            let micros = micros(time);
            histogram.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros);
        }
    }

    /// How many were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// All that were recorded.
    pub(crate) fn percentiles(&self) -> Percentiles {
        let mut all = histogram();
        for one in &self.histograms {
            all += &*one.lock().unwrap_or_else(PoisonError::into_inner);
        }
        let ms = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1e3;
        Percentiles {
            p50: ms(all.value_at_quantile(0.5)),
            p99: ms(all.value_at_quantile(0.99)),
            max: ms(all.max()),
        }
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.2}  p99 {:.2}  max {:.2} ms", self.p50, self.p99, self.max)
    }
}

/// An empty histogram of microseconds with three significant digits.
fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the constructor accepts")]
    Histogram::new_with_bounds(1, micros(LONGEST), 3).expect("valid bounds")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_clients_record_is_one_distribution() {
        let latencies = Latencies::new();
        for (client, ms) in (1..=100).enumerate() {
            latencies.record(client, Duration::from_millis(ms));
        }
        let Percentiles { p50, p99, max } = latencies.percentiles();
        assert_eq!(latencies.count(), 100);
        for (got, wanted) in [(p50, 50.0), (p99, 99.0), (max, 100.0)] {
            assert!((got - wanted).abs() < 0.2, "{got} instead of {wanted}");
        }
    }
}
