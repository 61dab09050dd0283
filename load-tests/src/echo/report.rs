//! What a run with acks finds, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::{latency::Percentiles, report::Findings};

/// Emitted events and their acks.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Acknowledged {
    /// Events emitted.
    pub(crate) emitted: u64,
    /// Acks that came in time, with what had been sent.
    pub(crate) acked: u64,
    /// Events without an ack in time.
    pub(crate) lost: u64,
    /// Events under way when the session of a client that was to come back ended.
    pub(crate) missed: u64,
    /// Acks that came after they had been counted as lost.
    pub(crate) late: u64,
    /// Acks of what had been acknowledged, or never emitted.
    pub(crate) unexpected: u64,
    /// Acks in time with other arguments than those sent.
    pub(crate) wrong: u64,
    /// Acks a second, from the first emit to the last ack.
    pub(crate) acked_per_second: f64,
    /// From the emit to the ack, in milliseconds.
    pub(crate) latency_ms: Percentiles,
    /// The whole of that distribution: pairs of a quantile and its milliseconds.
    pub(crate) latency_curve_ms: Vec<(f64, f64)>,
}

impl Findings for Acknowledged {
    const SCENARIO: &'static str = "echo";
    const EACH: &'static str = "ack";
    const STAYS: bool = true;

    fn count(&self) -> u64 {
        self.acked
    }

    fn flawed(&self) -> bool {
        self.lost + self.unexpected + self.wrong > 0
    }

    fn overrun(&self) -> Option<(u64, u64)> {
        None
    }
}

impl fmt::Display for Acknowledged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "acked          {} of {}, {:.0} a second",
            self.acked, self.emitted, self.acked_per_second
        )?;
        writeln!(f, "lost           {}", self.lost)?;
        for (name, count) in [
            ("missed", self.missed),
            ("late", self.late),
            ("unexpected", self.unexpected),
            ("wrong", self.wrong),
        ] {
            if count > 0 {
                writeln!(f, "{name:<14} {count}")?;
            }
        }
        writeln!(f, "latency        {}", self.latency_ms)
    }
}
