//! The command line of `fanfare-load compare`.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{ArgGroup, Args as Group};

use super::peers::Peer;

/// `fanfare-load compare`
#[derive(Debug, Group)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["all", "rows", "sweep", "scenario"]))]
pub(crate) struct Compare {
    /// Measures all rows of the table.
    #[arg(long, conflicts_with_all = ["rows", "scenario"])]
    pub(super) all: bool,
    /// Measures these rows of the table, separated by commas; `--rows list` prints them, with the flags of each.
    #[arg(long, value_delimiter = ',', value_name = "NAME", conflicts_with = "scenario")]
    pub(super) rows: Vec<String>,
    /// Measures CPU per delivery with more and more messages under way, and with more and more connections, and memory with more and more
    /// connections.
    #[arg(long, conflicts_with = "scenario")]
    pub(super) sweep: bool,
    /// Measures this scenario, with the flags of it that stand behind `--`.
    #[arg(long, value_name = "NAME")]
    pub(super) scenario: Option<String>,
    /// How often each server is measured, in turns with the others.
    #[arg(long, default_value = "5")]
    pub(super) rounds: NonZeroUsize,
    /// Which servers, separated by commas; ratios are of the first to each of the others.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["fanfare", "node", "socketioxide", "floor"])]
    pub(super) servers: Vec<Peer>,
    /// Processes of each server, for `--scenario`; more than one are a cluster over a redis-server that is started for them.
    #[arg(long, default_value = "1", conflicts_with_all = ["all", "rows", "sweep"])]
    pub(super) nodes: NonZeroUsize,
    /// Where the peers are [default: load-tests/peers in this folder or one above it, else where this program was built].
    #[arg(long, value_name = "DIR")]
    pub(super) peers: Option<PathBuf>,
    /// Prints what was measured as one line of JSON, each run included.
    #[arg(long)]
    pub(super) json: bool,
    /// Writes it to DIR as a page with plots, `index.html`, which needs nothing else, and as `compare.json`.
    #[arg(long, value_name = "DIR")]
    pub(super) report: Option<PathBuf>,
    /// Flags of the scenario; `--targets`, `--server-pids` and `--json` are given to it.
    #[arg(last = true, conflicts_with_all = ["all", "rows", "sweep"])]
    pub(super) flags: Vec<String>,
}
