//! Resident memory of processes, from `/proc`.

/// What a process has in memory, in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// All of it (`VmRSS`).
    pub(crate) resident: u64,
    /// What is of no file (`RssAnon`): heap and stacks. It is what connections cost; the rest is mostly the program itself.
    pub(crate) anonymous: u64,
}

impl Memory {
    /// Of process `pid`; `None` if there is no such process, or no `/proc`.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }

    /// The larger of two, each by itself.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            anonymous: self.anonymous.max(other.anonymous),
        }
    }

    fn parse(status: &str) -> Option<Self> {
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().strip_suffix(" kB")?.parse().ok()
        };
        Some(Self {
            resident: field("VmRSS")?,
            anonymous: field("RssAnon")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_read_from_what_the_kernel_prints() {
        let status = "Name:\tRssAnon: 1 kB\nVmRSS:\t    5120 kB\nRssAnon:\t     812 kB\nRssFile:\t    4308 kB\n";
        let memory = Memory {
            resident: 5120,
            anonymous: 812,
        };
        assert_eq!(Memory::parse(status), Some(memory));
        assert_eq!(Memory::parse("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_has_some_and_a_missing_one_none() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.anonymous > 0 && memory.resident > memory.anonymous, "{memory:?}");
        assert_eq!(Memory::of(u32::MAX), None);
    }
}
