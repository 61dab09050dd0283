//! `fanfare config`.

use std::process::ExitCode;

use fanfare::config::{Loaded, SetKey, default_file};

use super::{exit::Failure, flags::NodeFlags, print};

/// `fanfare config default`
pub(super) fn default() -> Result<ExitCode, Failure> {
    print(&default_file())
}

/// `fanfare config check`: what was set and by whom, or every mistake.
pub(super) fn check(flags: &NodeFlags) -> Result<ExitCode, Failure> {
    let Loaded { set, notes, config } = flags.sources()?.load()?;
    for note in notes {
        eprintln!("note: {note}");
    }
    let lines: String = set
        .iter()
        .map(|SetKey { key, value, place }| format!("{key} = {value}  # {place}\n"))
        .collect();
    let rules: usize = config.rules.namespaces.iter().map(|namespace| namespace.rules.len()).sum();
    print(&format!(
        "{lines}# no mistakes; keys set: {}, rules: {rules}, namespaces: {}\n",
        set.len(),
        config.rules.namespaces.len()
    ))
}
