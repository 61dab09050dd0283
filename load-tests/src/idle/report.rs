//! What idle connections cost, for people and as JSON.

use std::fmt;

use serde::Serialize;

use crate::{memory::Memory, report::Findings};

/// Connections that do nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Idleness {
    /// How many there were: what the CPU time of the beginning is told for.
    #[serde(skip)]
    pub(crate) connections: u64,
    /// Handshakes a second, from the first TCP connect to the last CONNECT answer; with upgrades, to the end of the last.
    pub(crate) connected_per_second: f64,
    /// The whole distribution of the handshakes: pairs of a quantile and its milliseconds.
    pub(crate) handshake_curve_ms: Vec<(f64, f64)>,
    /// How long they were idle.
    pub(crate) seconds: f64,
    /// Sessions that ended meanwhile.
    pub(crate) ended: u64,
    /// Clients without a session at the end.
    #[serde(skip)]
    pub(crate) disconnected: u64,
    /// What `RssAnon` of the servers' processes has grown by until the end, for each connection.
    pub(crate) server_rss_anon_kib_per_connection: Option<f64>,
    /// What all their resident memory has grown by.
    pub(crate) server_rss_kib_per_connection: Option<f64>,
    /// CPU of the servers while they were idle.
    pub(crate) server_idle_cpu_us_per_connection_second: Option<f64>,
    /// CPU of the generator meanwhile.
    pub(crate) own_idle_cpu_us_per_connection_second: f64,
}

impl Findings for Idleness {
    const SCENARIO: &'static str = "idle";
    const EACH: &'static str = "connection";

    fn count(&self) -> u64 {
        self.connections
    }

    fn flawed(&self) -> bool {
        self.disconnected > 0
    }

    fn overrun(&self) -> Option<(u64, u64)> {
        None
    }

    fn fill(&mut self, servers: usize) {
        if servers > 0 {
            self.server_rss_anon_kib_per_connection = Some(0.0);
            self.server_rss_kib_per_connection = Some(0.0);
            self.server_idle_cpu_us_per_connection_second = Some(0.0);
        }
    }
}

impl fmt::Display for Idleness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "connecting     {:.0} a second", self.connected_per_second)?;
        writeln!(f, "idle           {:.1} s, {} sessions ended", self.seconds, self.ended)?;
        let own = self.own_idle_cpu_us_per_connection_second;
        match self.server_idle_cpu_us_per_connection_second {
            Some(cpu) => writeln!(f, "CPU while idle {cpu:.2} us per connection and second; the generator's {own:.2}")?,
            None => writeln!(f, "CPU while idle the generator's {own:.2} us per connection and second")?,
        }
        if let (Some(anonymous), Some(resident)) = (self.server_rss_anon_kib_per_connection, self.server_rss_kib_per_connection) {
            writeln!(
                f,
                "memory grown   {anonymous:.2} KiB anonymous per connection, {resident:.2} KiB resident"
            )?;
        }
        Ok(())
    }
}

/// What the memory of all processes together has grown by, in KiB; `None` if there are none, or one has ended.
pub(super) fn grown(before: &[Option<Memory>], after: &[Option<Memory>], of: impl Fn(Memory) -> u64) -> Option<f64> {
    if before.is_empty() {
        return None;
    }
    let pairs = before.iter().zip(after);
    pairs
        .map(|(before, after)| Some(of((*after)?) as f64 - of((*before)?) as f64))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_by_what_all_processes_have_more() {
        let memory = |anonymous| Some(Memory { resident: 9, anonymous });
        let grown = |before: &[_], after: &[_]| grown(before, after, |memory| memory.anonymous);
        assert_eq!(grown(&[memory(10), memory(20)], &[memory(15), memory(18)]), Some(3.0));
        assert_eq!(grown(&[memory(10)], &[None]), None);
        assert_eq!(grown(&[], &[]), None);
    }
}
