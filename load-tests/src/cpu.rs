//! CPU time of processes, from `/proc`.

use std::{io, time::Duration};

use serde::Serialize;

/// The kernel reports in ticks of this length to user space (`USER_HZ`), on every architecture that Linux still supports but Alpha.
const TICK: Duration = Duration::from_millis(10);

/// Why CPU time cannot be measured.
#[derive(Debug, thiserror::Error)]
#[error("CPU time of process {pid}: {source}")]
pub(crate) struct CpuError {
    /// The process named on the command line.
    pid: u32,
    /// What the kernel says.
    source: io::Error,
}

/// CPU times at the beginning of a measurement.
#[derive(Debug)]
pub(crate) struct Meter {
    own: Duration,
    servers: Vec<(u32, Duration)>,
}

/// CPU time that was used for one of the things that a run counts, in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Used {
    /// By the generator.
    pub(crate) own: f64,
    /// By each of the servers' processes, in the order given; `None` for one that has ended meanwhile.
    pub(crate) by_pid: Vec<Option<f64>>,
}

impl Meter {
    /// Begins to measure this process, and those of the servers.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(crate) fn start(pids: &[u32]) -> Result<Self, CpuError> {
        let used = |pid| used(pid).map_err(|source| CpuError { pid, source });
        Ok(Self {
            own: used(std::process::id())?,
            servers: pids.iter().map(|pid| Ok((*pid, used(*pid)?))).collect::<Result<_, _>>()?,
        })
    }

    /// What was used since, for each of `count` things.
    pub(crate) fn stop(&self, count: u64) -> Used {
        let each = |before: Duration, now: Duration| now.saturating_sub(before).as_secs_f64() * 1e6 / count.max(1) as f64;
        Used {
            own: each(self.own, used(std::process::id()).unwrap_or_default()),
            by_pid: self
                .servers
                .iter()
                .map(|(pid, before)| used(*pid).ok().map(|now| each(*before, now)))
                .collect(),
        }
    }
}

impl Used {
    /// By all of the servers' processes together; `None` if there are none, or one has ended.
    pub(crate) fn servers(&self) -> Option<f64> {
        if self.by_pid.is_empty() {
            return None;
        }
        self.by_pid.iter().copied().sum()
    }
}

/// User and system time that process `pid` has used, all its threads together; resolution 10 ms.
///
/// # Errors
/// When there is no such process, or no `/proc`.
fn used(pid: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse(&stat).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not in the form expected")))
}

/// Fields 14 and 15. The second field is the program's name in parentheses and may hold anything, so counting starts behind the last one.
fn parse(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_ascii_whitespace().skip(11);
    let (user, system) = (times.next()?.parse::<u32>().ok()?, times.next()?.parse::<u32>().ok()?);
    Some(TICK * user + TICK * system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 5 0 0";
        assert_eq!(parse(stat), Some(Duration::from_secs(3)));
    }

    #[test]
    fn the_sum_is_of_all_that_live() {
        let used = |by_pid: &[Option<f64>]| Used {
            own: 1.0,
            by_pid: by_pid.to_vec(),
        };
        assert_eq!(used(&[Some(1.5), Some(2.0)]).servers(), Some(3.5));
        assert_eq!(used(&[Some(1.5), None]).servers(), None);
        assert_eq!(used(&[]).servers(), None);
    }

    #[test]
    fn a_process_that_has_ended_is_measured_no_more() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let meter = Meter::start(&[child.id(), std::process::id()]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let used = meter.stop(1);
        assert!(used.by_pid[0].is_none() && used.by_pid[1].is_some(), "{used:?}");
        assert!(Meter::start(&[u32::MAX]).is_err());
    }

    #[test]
    fn this_process_has_a_cpu_time_and_a_missing_one_an_error() {
        assert!(used(std::process::id()).is_ok());
        assert!(used(u32::MAX).is_err());
    }
}
