//! What storms find, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::report::Findings;

/// All connections cut at once, once or more often.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Storms {
    /// Storms that there were to be.
    pub(crate) rounds: u64,
    /// Storms after which all came back in time. There is no further one after the first of which that is not true.
    pub(crate) weathered: u64,
    /// Clients that came back, in all storms together.
    pub(crate) back: u64,
    /// Attempts to come back that failed, and were followed by another one.
    pub(crate) retries: u64,
    /// From the cut to the CONNECT answer, the whole distribution: pairs of a quantile and its milliseconds.
    pub(crate) away_curve_ms: Vec<(f64, f64)>,
    /// From the cut until all were back, of the storm that took longest.
    pub(crate) all_back_ms: f64,
    /// The same of each storm.
    pub(crate) all_back_ms_by_round: Vec<f64>,
    /// Messages that were published meanwhile.
    pub(crate) published: u64,
    /// Messages that came to clients; who is to have them is not counted here.
    pub(crate) delivered: u64,
    /// Sessions that ended without a storm.
    pub(crate) ended: u64,
    /// Clients without a session at the end.
    #[serde(skip)]
    pub(crate) disconnected: u64,
    /// Whether sessions that end without a storm are no flaw.
    #[serde(skip)]
    pub(crate) tolerant: bool,
}

impl Findings for Storms {
    const SCENARIO: &'static str = "storm";
    const EACH: &'static str = "reconnect";

    fn count(&self) -> u64 {
        self.back
    }

    fn flawed(&self) -> bool {
        self.weathered < self.rounds || self.disconnected > 0 || (self.ended > 0 && !self.tolerant)
    }

    fn overrun(&self) -> Option<(u64, u64)> {
        None
    }
}

impl fmt::Display for Storms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "storms         {} of {} weathered", self.weathered, self.rounds)?;
        writeln!(f, "back           {}, after {} retries", self.back, self.retries)?;
        writeln!(f, "all back       {:.0} ms after the cut, at the longest", self.all_back_ms)?;
        if self.published > 0 {
            writeln!(f, "published      {}, {} deliveries", self.published, self.delivered)?;
        }
        if self.ended > 0 {
            writeln!(f, "ended          {} sessions without a storm", self.ended)?;
        }
        Ok(())
    }
}
