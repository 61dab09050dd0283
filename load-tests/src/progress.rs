//! Shows on a terminal how far a run is.

use std::{
    fmt::Write,
    io::{self, IsTerminal},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::connect::Connector;

/// How often progress is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// A bar on a terminal, nothing elsewhere. `done` names what is counted, and so the phase: `connected`, `delivered`.
pub(crate) fn bar(total: u64, done: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(&format!(
        "{{bar:40}} {{human_pos}} of {{human_len}} {done}, {{rate}}, {{eta}} left{{msg}}"
    ));
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let rate = |state: &ProgressState, text: &mut dyn Write| {
        // Text that does not come to the terminal is not worth an end of the run.
        write!(text, "{:.0} a second", state.per_sec()).ok();
    };
    ProgressBar::new(total).with_style(style.with_key("rate", rate))
}

/// Moves a bar on, and tells beside it how many sessions there are and what has failed.
pub(crate) fn show(bar: &ProgressBar, position: u64, connector: &Connector) {
    if bar.is_hidden() {
        return;
    }
    let errors = connector.failures.total() + connector.ends.total();
    bar.set_message(format!("; {} sessions, {errors} errors", connector.living()));
    bar.set_position(position);
}
