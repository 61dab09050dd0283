//! Forms of amounts: times and sizes.

use std::time::Duration;

use super::{Form, Found};

/// No key needs a longer time, and an instant plus this never overflows.
const LONGEST_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

impl Form for Duration {
    const EXPECTED: &'static str = "a duration with its unit such as \"250ms\", \"10s\", \"5m\" or \"1h\", at most 24h";
    fn read(found: Found<'_>) -> Option<Self> {
        let text = found.text()?;
        let (digits, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
        let milliseconds = match unit.trim() {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let duration = Self::from_millis(digits.parse::<u64>().ok()?.checked_mul(milliseconds)?);
        (duration <= LONGEST_DURATION).then_some(duration)
    }
}

/// A duration above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) struct Positive(pub(in crate::config) Duration);

impl Form for Positive {
    const EXPECTED: &'static str = "a duration above zero with its unit such as \"250ms\", \"10s\", \"5m\" or \"1h\", at most 24h";
    fn read(found: Found<'_>) -> Option<Self> {
        Duration::read(found).filter(|duration| !duration.is_zero()).map(Self)
    }
}

/// A number of bytes above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) struct Size(pub(in crate::config) usize);

impl Form for Size {
    const EXPECTED: &'static str = "a size above zero such as 1000000, \"64KiB\", \"1MB\" (1000000) or \"1MiB\" (1048576), at most 4GiB";
    fn read(found: Found<'_>) -> Option<Self> {
        const LARGEST: u64 = 4 << 30;
        let bytes = found.integer().or_else(|| {
            let text = found.text()?;
            let (digits, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
            let factor = match unit.trim() {
                "B" => 1,
                "kB" | "KB" => 1000,
                "MB" => 1_000_000,
                "GB" => 1_000_000_000,
                "KiB" => 1 << 10,
                "MiB" => 1 << 20,
                "GiB" => 1 << 30,
                _ => return None,
            };
            digits.parse::<u64>().ok()?.checked_mul(factor)
        })?;
        (1..=LARGEST).contains(&bytes).then(|| usize::try_from(bytes).ok().map(Self))?
    }
}
