//! How often a line is logged of what clients can bring about as often as they like.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use super::shared::{lock, now};

const INTERVAL: Duration = Duration::from_secs(1);

/// Lets the first line through, and then at most one a second, which says how many were left out. What is left out behind the last line
/// is in the counters only.
#[derive(Debug, Default)]
pub(super) struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

/// A line may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    /// How many were not, since the last one; nothing where none was left out.
    pub(super) left_out: Option<u64>,
}

impl LogLimit {
    /// Whether a line may be written now; if not, it counts as left out.
    pub(super) fn admit(&self) -> Option<Line> {
        let now = now();
        let mut state = lock(&self.0);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        let left_out = std::mem::take(&mut state.left_out);
        Some(Line {
            left_out: (left_out > 0).then_some(left_out),
        })
    }
}
