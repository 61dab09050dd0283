//! Forms of amounts: times, sizes and counts.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

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

impl Size {
    /// As bytes a second.
    pub(in crate::config) fn rate(self) -> NonZeroU64 {
        NonZeroU64::new(self.0 as u64).unwrap_or(NonZeroU64::MIN)
    }
}

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

/// From how many bytes on something is compressed, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Compression(pub(in crate::config) Option<usize>);

impl Form for Compression {
    const EXPECTED: &'static str = "a size such as 1024 or \"4KiB\", or false for no compression";
    fn read(found: Found<'_>) -> Option<Self> {
        if found.boolean() == Some(false) {
            return Some(Self(None));
        }
        Size::read(found).map(|Size(bytes)| Self(Some(bytes)))
    }
}

/// No count needs to be larger.
const LARGEST_COUNT: u64 = 1_000_000_000;

/// How many of something there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Count(pub(in crate::config) usize);

impl Form for Count {
    const EXPECTED: &'static str = "a number from 1 to 1000000000";
    fn read(found: Found<'_>) -> Option<Self> {
        let count = found.integer().filter(|count| (1..=LARGEST_COUNT).contains(count))?;
        usize::try_from(count).ok().map(Self)
    }
}

/// How many of something there may be, if that is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Bound(pub(in crate::config) Option<NonZeroU32>);

impl Bound {
    /// The bound, or a number that nothing reaches.
    pub(in crate::config) fn or_none(self) -> usize {
        self.0
            .map_or(usize::MAX, |bound| usize::try_from(bound.get()).unwrap_or(usize::MAX))
    }
}

impl Form for Bound {
    const EXPECTED: &'static str = "a number up to 1000000000, or 0 for no bound";
    fn read(found: Found<'_>) -> Option<Self> {
        let count = found.integer().filter(|count| *count <= LARGEST_COUNT)?;
        u32::try_from(count).ok().map(|count| Self(NonZeroU32::new(count)))
    }
}

/// How many attachments a packet may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Attachments(pub(in crate::config) usize);

impl Form for Attachments {
    const EXPECTED: &'static str = "a number from 0 to 1000";
    fn read(found: Found<'_>) -> Option<Self> {
        let count = found.integer().filter(|count| *count <= 1000)?;
        usize::try_from(count).ok().map(Self)
    }
}

/// How deep JSON may nest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Depth(pub(in crate::config) usize);

impl Form for Depth {
    const EXPECTED: &'static str = "a number from 1 to 127";
    fn read(found: Found<'_>) -> Option<Self> {
        let depth = found.integer().filter(|depth| (1..=127).contains(depth))?;
        usize::try_from(depth).ok().map(Self)
    }
}
