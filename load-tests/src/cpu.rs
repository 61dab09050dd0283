//! CPU time of processes, from `/proc`.

use std::{io, time::Duration};

/// The kernel reports in ticks of this length to user space (`USER_HZ`), on every architecture that Linux still supports but Alpha.
const TICK: Duration = Duration::from_millis(10);

/// User and system time that process `pid` has used, all its threads together; resolution 10 ms.
///
/// # Errors
/// When there is no such process, or no `/proc`.
pub(crate) fn used(pid: u32) -> io::Result<Duration> {
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
    fn this_process_has_a_cpu_time_and_a_missing_one_an_error() {
        assert!(used(std::process::id()).is_ok());
        assert!(used(u32::MAX).is_err());
    }
}
