//! CPU time of processes, from `/proc`, and what it was used for.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use crate::memory::Memory;

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

/// What processes had used at the beginning of a measurement.
#[derive(Debug)]
pub(crate) struct Meter {
    begun: Instant,
    own: Duration,
    /// Of each thread of this process, by its id.
    own_threads: BTreeMap<u32, Duration>,
    servers: Vec<Server>,
}

/// One of the servers' processes at the beginning.
#[derive(Debug)]
struct Server {
    pid: u32,
    cpu: Duration,
    memory: Option<Memory>,
}

/// What processes used between the beginning and the end of a measurement.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Used {
    /// How long that was.
    pub(crate) took: Duration,
    /// CPU time of the generator.
    pub(crate) own: Duration,
    /// Of that of its threads which used most.
    pub(crate) busiest: Duration,
    /// Of each of the servers' processes, in the order given; `None` for one that has ended meanwhile.
    pub(crate) servers: Vec<Option<UsedBy>>,
}

/// What one process used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct UsedBy {
    /// CPU time.
    pub(crate) cpu: Duration,
    /// Its memory, at the beginning or at the end, whichever was more.
    pub(crate) memory: Memory,
}

impl Meter {
    /// Begins to measure this process, and those of the servers.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub(crate) fn start(pids: &[u32]) -> Result<Self, CpuError> {
        let cpu = |pid| used(pid).map_err(|source| CpuError { pid, source });
        Ok(Self {
            begun: Instant::now(),
            own: cpu(std::process::id())?,
            own_threads: own_threads(),
            servers: pids
                .iter()
                .map(|pid| {
                    Ok(Server {
                        pid: *pid,
                        cpu: cpu(*pid)?,
                        memory: Memory::of(*pid),
                    })
                })
                .collect::<Result<_, _>>()?,
        })
    }

    /// What was used since.
    pub(crate) fn stop(&self) -> Used {
        Used {
            took: self.begun.elapsed(),
            own: used(std::process::id()).unwrap_or_default().saturating_sub(self.own),
            busiest: busiest(&self.own_threads, &own_threads()),
            servers: self.servers.iter().map(Server::used).collect(),
        }
    }
}

impl Server {
    fn used(&self) -> Option<UsedBy> {
        let cpu = used(self.pid).ok()?.saturating_sub(self.cpu);
        let memory = Memory::of(self.pid)?;
        Some(UsedBy {
            cpu,
            memory: self.memory.map_or(memory, |before| before.max(memory)),
        })
    }
}

impl Used {
    /// By all of the servers' processes together; `None` if there are none, or one has ended.
    pub(crate) fn by_servers(&self) -> Option<UsedBy> {
        if self.servers.is_empty() {
            return None;
        }
        self.servers.iter().try_fold(UsedBy::default(), |sum, one| {
            let one = (*one)?;
            Some(UsedBy {
                cpu: sum.cpu + one.cpu,
                memory: Memory {
                    resident: sum.memory.resident + one.memory.resident,
                    anonymous: sum.memory.anonymous + one.memory.anonymous,
                },
            })
        })
    }

    /// By the generator and those of the servers' processes that live.
    pub(crate) fn by_all(&self) -> Duration {
        self.own + self.servers.iter().flatten().map(|one| one.cpu).sum::<Duration>()
    }

    /// The same, used within `took`: what was waited for in vain afterwards took no CPU.
    pub(crate) fn within(self, took: Duration) -> Self {
        Self {
            took: took.min(self.took),
            ..self
        }
    }

    /// How many cores a CPU time kept busy.
    pub(crate) fn cores(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

/// How many cores the kernel gives the generator. Servers on this machine have the same ones.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What each thread of this process has used, by its id. One that ends meanwhile is left out: clients' threads do not.
fn own_threads() -> BTreeMap<u32, Duration> {
    let read = |entry: io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, parse(&stat)?))
    };
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    threads.filter_map(read).collect()
}

/// The most that one thread used; one that was not there before has begun with nothing.
fn busiest(before: &BTreeMap<u32, Duration>, after: &BTreeMap<u32, Duration>) -> Duration {
    let used = |(id, cpu): (&u32, &Duration)| cpu.saturating_sub(before.get(id).copied().unwrap_or_default());
    after.iter().map(used).max().unwrap_or_default()
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
        let by = |seconds, resident, anonymous| {
            Some(UsedBy {
                cpu: Duration::from_secs(seconds),
                memory: Memory { resident, anonymous },
            })
        };
        let sum = |servers: &[Option<UsedBy>]| {
            let servers = servers.to_vec();
            Used {
                servers,
                ..Used::default()
            }
            .by_servers()
        };
        assert_eq!(sum(&[by(1, 5, 2), by(2, 7, 4)]), by(3, 12, 6));
        assert_eq!(sum(&[by(1, 5, 2), None]), None);
        assert_eq!(sum(&[]), None);
    }

    #[test]
    fn the_busiest_thread_is_that_which_used_most_meanwhile() {
        let seconds = |threads: &[(u32, u64)]| threads.iter().map(|(id, cpu)| (*id, Duration::from_secs(*cpu))).collect();
        let busiest = |before: &[_], after: &[_]| super::busiest(&seconds(before), &seconds(after)).as_secs();
        // The first has used more, and before.
        assert_eq!(busiest(&[(1, 90), (2, 5)], &[(1, 91), (2, 9)]), 4);
        assert_eq!(busiest(&[(1, 9)], &[(1, 10), (2, 3)]), 3);
        assert_eq!(busiest(&[(1, 9)], &[]), 0);
    }

    #[test]
    fn what_was_waited_for_in_vain_does_not_count_as_time() {
        let used = Used {
            took: Duration::from_secs(10),
            ..Used::default()
        };
        let cores = |took| used.clone().within(Duration::from_secs(took)).cores(Duration::from_secs(2));
        assert_eq!((cores(4), cores(10), cores(20)), (0.5, 0.2, 0.2));
    }

    #[test]
    fn a_process_that_has_ended_is_measured_no_more() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let meter = Meter::start(&[child.id(), std::process::id()]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let used = meter.stop();
        assert!(used.servers[0].is_none() && used.servers[1].is_some(), "{used:?}");
        assert!(Meter::start(&[u32::MAX]).is_err());
    }

    #[test]
    fn of_two_threads_that_are_busy_one_is_told() {
        let meter = Meter::start(&[]).unwrap();
        let barrier = std::sync::Barrier::new(3);
        let spin = || {
            while parse(&std::fs::read_to_string("/proc/thread-self/stat").unwrap()).unwrap() < TICK * 20 {}
            // Both are to be there when they are looked at.
            barrier.wait();
            barrier.wait();
        };
        let used = std::thread::scope(|scope| {
            scope.spawn(spin);
            scope.spawn(spin);
            barrier.wait();
            let used = meter.stop();
            barrier.wait();
            used
        });
        assert!(used.busiest >= TICK * 20 && used.busiest * 3 < used.own * 2, "{used:?}");
    }

    #[test]
    fn a_process_that_is_busy_takes_a_core_and_holds_what_it_has_touched() {
        let meter = Meter::start(&[std::process::id()]).unwrap();
        let begun = Instant::now();
        let mut touched = vec![0_u8; 32 << 20];
        while begun.elapsed() < Duration::from_millis(300) {
            touched.iter_mut().step_by(4096).for_each(|byte| *byte = byte.wrapping_add(1));
        }
        let used = meter.stop();
        let all = used.by_servers().unwrap();
        assert!(used.own > Duration::ZERO && used.cores(used.own) > 0.0, "{used:?}");
        assert!(all.memory.anonymous > 32 << 10, "{used:?}");
        drop(touched);
    }
}
