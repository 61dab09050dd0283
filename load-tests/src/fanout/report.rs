//! The result of a fan-out, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::{client::Transport, latency::Percentiles};

/// What a run showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// How the receivers reached the servers.
    pub(crate) transport: Transport,
    /// Receiving connections that were made.
    pub(crate) connected: usize,
    /// Receivers that had no session at the end of the run.
    pub(crate) disconnected: usize,
    /// Sessions that took the place of one that had ended.
    pub(crate) reconnects: u64,
    /// Why the session of a receiver ended, of the first that did.
    pub(crate) first_end: Option<String>,
    /// Time from TCP connect to the CONNECT answer, in milliseconds.
    pub(crate) handshake_ms: Percentiles,
    /// Time from the end of a session to the CONNECT answer of the next, in milliseconds.
    pub(crate) away_ms: Percentiles,
    /// Messages published.
    pub(crate) published: u64,
    /// Messages that were sent more than 10 ms after they were due.
    pub(crate) overrun: u64,
    /// Deliveries that the published messages should have made, had no session ended: published times connected.
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
    /// CPU of the generator per delivery, in microseconds.
    pub(crate) own_cpu_us_per_delivery: f64,
    /// CPU of the servers per delivery, in microseconds; absent unless their processes were named and lived until the end.
    pub(crate) server_cpu_us_per_delivery: Option<f64>,
    /// The same of each process, in the order in which they were named.
    pub(crate) server_cpu_us_per_delivery_by_pid: Vec<Option<f64>>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "connected      {} ({} had no session at the end)",
            self.connected, self.disconnected
        )?;
        if let Some(why) = &self.first_end {
            writeln!(f, "reconnects     {} (the first session ended: {why})", self.reconnects)?;
        }
        writeln!(f, "handshake      {}", self.handshake_ms)?;
        if self.reconnects > 0 {
            writeln!(f, "away           {}", self.away_ms)?;
        }
        writeln!(f, "published      {} ({} sent late)", self.published, self.overrun)?;
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
        writeln!(f, "latency        {}", self.latency_ms)?;
        writeln!(f, "generator CPU  {:.2} us per delivery", self.own_cpu_us_per_delivery)?;
        if let Some(server) = self.server_cpu_us_per_delivery {
            writeln!(f, "server CPU     {server:.2} us per delivery")?;
        }
        Ok(())
    }
}
