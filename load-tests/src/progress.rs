//! Shows on a terminal how far a run is.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often progress is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn bar(total: u64, done: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(&format!(
        "{{bar:40}} {{human_pos}} of {{human_len}} {done}, {{per_sec}}, {{eta}} left"
    ));
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
