//! What a fan-out finds, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::{latency::Percentiles, report::Findings};

/// Published messages and their deliveries.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Deliveries {
    /// Messages published.
    pub(crate) published: u64,
    /// In a closed loop: messages under way at any time.
    pub(crate) in_flight: Option<u32>,
    /// In a closed loop: messages that not everybody had in time, whose places were used again.
    pub(crate) given_up: u64,
    /// Messages that were sent more than 10 ms after they were due.
    pub(crate) overrun: u64,
    /// Deliveries that the published messages should have made, had no session ended: published times connected
    /// (in `rooms`, times the members of the room).
    pub(crate) expected: u64,
    /// First deliveries.
    pub(crate) delivered: u64,
    /// Expected deliveries that a living session should have had, and had not.
    pub(crate) lost: u64,
    /// Those of the lost behind which nothing came from the same publisher: with more patience they might have been late.
    pub(crate) lost_at_end: u64,
    /// Expected deliveries to receivers that had no session, or whose session was ending.
    pub(crate) missed: u64,
    /// Deliveries of what had been delivered before.
    pub(crate) duplicate: u64,
    /// First deliveries that came after a later message of the same publisher.
    pub(crate) out_of_order: u64,
    /// Deliveries a second, from the first publish to the last arrival.
    pub(crate) delivered_per_second: f64,
    /// From the moment a message was due to its arrival, in milliseconds.
    pub(crate) latency_ms: Percentiles,
    /// The whole of that distribution: pairs of a quantile and its milliseconds.
    pub(crate) latency_curve_ms: Vec<(f64, f64)>,
}

impl Findings for Deliveries {
    const SCENARIO: &'static str = "fanout";
    const EACH: &'static str = "delivery";
    const STAYS: bool = true;

    fn count(&self) -> u64 {
        self.delivered
    }

    fn flawed(&self) -> bool {
        self.lost + self.duplicate + self.out_of_order > 0
    }

    fn overrun(&self) -> Option<(u64, u64)> {
        self.in_flight.is_none().then_some((self.overrun, self.published))
    }
}

impl fmt::Display for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_flight {
            None => writeln!(f, "published      {} ({} sent late)", self.published, self.overrun)?,
            Some(places) => writeln!(
                f,
                "published      {}, {places} under way ({} given up)",
                self.published, self.given_up
            )?,
        }
        writeln!(
            f,
            "delivered      {} of {}, {:.0} a second",
            self.delivered, self.expected, self.delivered_per_second
        )?;
        match self.lost_at_end {
            0 => writeln!(f, "lost           {}", self.lost)?,
            end => writeln!(f, "lost           {} ({end} at the end: late, perhaps, see --patience)", self.lost)?,
        }
        if self.missed > 0 {
            writeln!(f, "missed         {}", self.missed)?;
        }
        writeln!(f, "duplicate      {}", self.duplicate)?;
        writeln!(f, "out of order   {}", self.out_of_order)?;
        writeln!(f, "latency        {}", self.latency_ms)
    }
}
