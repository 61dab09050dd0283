//! What a fan-out to clients that are cut again and again finds, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::{fanout::Deliveries, report::Findings};

/// Deliveries to clients that come and go.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Jittered {
    /// Sessions that the run cut.
    pub(crate) cuts: u64,
    /// Sessions that the server gave back.
    pub(crate) recovered: u64,
    /// With `--recover`, sessions in whose place there came a new one.
    pub(crate) not_recovered: u64,
    /// Sessions that ended without being cut.
    pub(crate) ended: u64,
    /// Whether sessions are asked for again.
    #[serde(skip)]
    pub(crate) recovers: bool,
    /// Whether sessions that end without being cut are no flaw.
    #[serde(skip)]
    pub(crate) tolerant: bool,
    /// The messages. Latencies are those of replayed ones, too.
    #[serde(flatten)]
    pub(crate) deliveries: Deliveries,
}

impl Findings for Jittered {
    const SCENARIO: &'static str = "jitter";
    const EACH: &'static str = "delivery";

    fn count(&self) -> u64 {
        self.deliveries.count()
    }

    fn flawed(&self) -> bool {
        let broken = self.recovers && self.not_recovered + self.deliveries.missed > 0;
        self.deliveries.flawed() || broken || (self.ended > 0 && !self.tolerant)
    }

    fn overrun(&self) -> Option<(u64, u64)> {
        self.deliveries.overrun()
    }
}

impl fmt::Display for Jittered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cuts           {}", self.cuts)?;
        if self.recovers {
            write!(f, ", {} sessions recovered, {} not", self.recovered, self.not_recovered)?;
        }
        writeln!(f)?;
        if self.ended > 0 {
            writeln!(f, "ended          {} sessions without a cut", self.ended)?;
        }
        self.deliveries.fmt(f)
    }
}
