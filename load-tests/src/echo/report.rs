//! The result of a run with acks, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::{client::Transport, latency::Percentiles};

/// What a run showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report {
    /// How the clients reached the servers.
    pub(crate) transport: Transport,
    /// Connections that were made.
    pub(crate) connected: usize,
    /// Clients that had no session at the end of the run.
    pub(crate) disconnected: usize,
    /// Sessions that took the place of one that had ended.
    pub(crate) reconnects: u64,
    /// Why the session of a client ended, of the first that did.
    pub(crate) first_end: Option<String>,
    /// Time from TCP connect to the CONNECT answer, in milliseconds.
    pub(crate) handshake_ms: Percentiles,
    /// Time from the end of a session to the CONNECT answer of the next, in milliseconds.
    pub(crate) away_ms: Percentiles,
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
    /// CPU of the generator per ack, in microseconds.
    pub(crate) own_cpu_us_per_ack: f64,
    /// CPU of the servers per ack, in microseconds; absent unless their processes were named and lived until the end.
    pub(crate) server_cpu_us_per_ack: Option<f64>,
    /// The same of each process, in the order in which they were named.
    pub(crate) server_cpu_us_per_ack_by_pid: Vec<Option<f64>>,
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
        writeln!(f, "latency        {}", self.latency_ms)?;
        writeln!(f, "generator CPU  {:.2} us per ack", self.own_cpu_us_per_ack)?;
        if let Some(server) = self.server_cpu_us_per_ack {
            writeln!(f, "server CPU     {server:.2} us per ack")?;
        }
        Ok(())
    }
}
