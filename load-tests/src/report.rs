//! The result of a run, for people and as JSON.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

/// What a run showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// Receiving connections that were made.
    pub(crate) connected: usize,
    /// Receiving connections that ended before the run did.
    pub(crate) disconnected: usize,
    /// Median and largest time from TCP connect to the CONNECT answer, in milliseconds.
    pub(crate) handshake_ms: Percentiles,
    /// Messages published.
    pub(crate) published: u64,
    /// Messages that were sent more than 10 ms after they were due.
    pub(crate) overrun: u64,
    /// Deliveries that the published messages should have made: published times connected.
    pub(crate) expected: u64,
    /// First deliveries.
    pub(crate) delivered: u64,
    /// Expected deliveries that did not come.
    pub(crate) lost: u64,
    /// Deliveries of what had been delivered before.
    pub(crate) duplicate: u64,
    /// First deliveries that came after a later message of the same publisher.
    pub(crate) out_of_order: u64,
    /// Deliveries a second, from the first publish to the last arrival.
    pub(crate) delivered_per_second: f64,
    /// From the moment a message was due to its arrival, in milliseconds.
    pub(crate) latency_ms: Percentiles,
    /// CPU of the generator per delivery, in microseconds.
    pub(crate) own_cpu_us_per_delivery: f64,
    /// CPU of the servers per delivery, in microseconds; absent unless their processes were named.
    pub(crate) server_cpu_us_per_delivery: Option<f64>,
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

impl From<&Histogram<u64>> for Percentiles {
    /// From a histogram of microseconds.
    fn from(micros: &Histogram<u64>) -> Self {
        let ms = |micros: u64| Duration::from_micros(micros).as_secs_f64() * 1e3;
        Self {
            p50: ms(micros.value_at_quantile(0.5)),
            p99: ms(micros.value_at_quantile(0.99)),
            max: ms(micros.max()),
        }
    }
}

impl Report {
    /// The report as one line of JSON.
    pub(crate) fn json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.2}  p99 {:.2}  max {:.2} ms", self.p50, self.p99, self.max)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "connected      {} ({} ended early)", self.connected, self.disconnected)?;
        writeln!(f, "handshake      {}", self.handshake_ms)?;
        writeln!(f, "published      {} ({} sent late)", self.published, self.overrun)?;
        writeln!(
            f,
            "delivered      {} of {}, {:.0} a second",
            self.delivered, self.expected, self.delivered_per_second
        )?;
        writeln!(f, "lost           {}", self.lost)?;
        writeln!(f, "duplicate      {}", self.duplicate)?;
        writeln!(f, "out of order   {}", self.out_of_order)?;
        writeln!(f, "latency        {}", self.latency_ms)?;
        writeln!(f, "generator CPU  {:.2} us per delivery", self.own_cpu_us_per_delivery)?;
        if let Some(server) = self.server_cpu_us_per_delivery {
            writeln!(f, "server CPU     {server:.2} us per delivery")?;
        }
        Ok(())
    }
}
