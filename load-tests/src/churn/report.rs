//! What clients that come and go find, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::report::Findings;

/// Clients that come and go.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Turnover {
    /// Clients that came.
    pub(crate) arrivals: u64,
    /// Those that came more than 10 ms after they were due.
    pub(crate) overrun: u64,
    /// Those that got a session.
    #[serde(skip)]
    pub(crate) made: u64,
    /// Attempts that failed.
    #[serde(skip)]
    pub(crate) failed: u64,
    /// Clients whose session ended before its time, and had no other at its end.
    pub(crate) deserted: u64,
    /// Sessions a second.
    pub(crate) connected_per_second: f64,
    /// The whole distribution of the handshakes: pairs of a quantile and its milliseconds.
    pub(crate) handshake_curve_ms: Vec<(f64, f64)>,
    /// `RssAnon` of the servers before the first client came.
    pub(crate) server_rss_anon_kib_before: Option<u64>,
    /// The least of it within two seconds after the last had gone.
    pub(crate) server_rss_anon_kib_after: Option<u64>,
}

impl Findings for Turnover {
    const SCENARIO: &'static str = "churn";
    const EACH: &'static str = "connection";

    fn count(&self) -> u64 {
        self.made
    }

    fn flawed(&self) -> bool {
        self.failed + self.deserted > 0
    }

    fn overrun(&self) -> Option<(u64, u64)> {
        Some((self.overrun, self.arrivals))
    }

    fn fill(&mut self, servers: usize) {
        if servers > 0 {
            self.server_rss_anon_kib_before = Some(0);
            self.server_rss_anon_kib_after = Some(0);
        }
    }
}

impl fmt::Display for Turnover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "came           {} ({} late)", self.arrivals, self.overrun)?;
        writeln!(f, "connecting     {:.0} a second", self.connected_per_second)?;
        writeln!(f, "deserted       {}", self.deserted)?;
        if let (Some(before), Some(after)) = (self.server_rss_anon_kib_before, self.server_rss_anon_kib_after) {
            writeln!(f, "memory kept    {after} KiB anonymous after, {before} before")?;
        }
        Ok(())
    }
}
