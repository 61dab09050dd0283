//! `fanfare-load compare`: measures servers against each other, by the same scenarios, in turns.
//!
//! | room | what it does |
//! |---|---|
//! | `flags` | the command line |
//! | `rows` | what is measured, as data |
//! | `peers` | the servers: found, built, started |
//! | `process` | child processes, which end with the comparison |
//! | `measure` | one run of a scenario against a server |
//! | `outcome` | medians, spreads, ratios, targets |
//! | `table` | the table, for people |
//! | `machine` | where it was measured, and what |
//! | `page` | the page with plots |

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

mod flags;
mod machine;
mod measure;
mod outcome;
mod page;
mod peers;
mod process;
mod rows;
mod table;

pub(crate) use flags::Compare;

use machine::Machine;
use outcome::{Outcome, Runs};
use peers::{Peer, Peers, PeersError};
use rows::Row;

/// Exit code of a comparison that could not be made (sysexits `EX_UNAVAILABLE`).
const FAILED: u8 = 69;
/// Exit code of one that was ended from outside, as shells have it.
const INTERRUPTED: u8 = 130;

/// Why a comparison could not be made. What a server could not do is a part of the result.
#[derive(Debug, thiserror::Error)]
enum CompareError {
    /// There is nothing to compare.
    #[error(transparent)]
    Peers(#[from] PeersError),
    /// The command line names a row that is none.
    #[error("no row {name:?}: expected {}", .known.join(", "))]
    Row {
        /// What it names.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// What became of it cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// There is no figure at all: whoever asks the exit code is not to take that for a comparison.
    #[error("nothing was measured: no run of any server has a report")]
    Nothing,
    /// Signals cannot be heard: then processes could outlive the comparison.
    #[error("cannot listen to signals: {0}")]
    Signals(io::Error),
}

/// All that was measured.
#[derive(Debug, Default, Serialize)]
struct Comparison {
    machine: Machine,
    servers: Vec<Peer>,
    rows: Vec<Outcome>,
    sweeps: Vec<Swept>,
}

impl Comparison {
    /// Those of the rows and of the steps of all sweeps.
    fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        let steps = self.sweeps.iter().flat_map(|sweep| sweep.steps.iter().map(|(_, outcome)| outcome));
        self.rows.iter().chain(steps)
    }
}

/// One figure against a number that grows.
#[derive(Debug, Serialize)]
struct Swept {
    name: &'static str,
    title: &'static str,
    axis: &'static str,
    steps: Vec<(u32, Outcome)>,
}

/// Makes a comparison, and prints it; all processes that it has started have ended then, also if it was interrupted.
pub(crate) async fn carry_out(args: &Compare) -> ExitCode {
    if args.rows.first().is_some_and(|name| name == "list") {
        print!("{}", list());
        return ExitCode::SUCCESS;
    }
    // Who is dropped here ends the processes that it has started.
    let made = tokio::select! {
        made = compare(args) => made,
        ended = interrupted() => match ended {
            Ok(()) => {
                eprintln!("fanfare-load: interrupted");
                return ExitCode::from(INTERRUPTED);
            }
            Err(error) => Err(CompareError::Signals(error)),
        },
    };
    match made.and_then(|comparison| publish(args, &comparison).and_then(|()| judge(&comparison))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fanfare-load: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Ready when somebody wants it to end.
async fn interrupted() -> io::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // Of a terminal that is closed.
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
    }
}

async fn compare(args: &Compare) -> Result<Comparison, CompareError> {
    let rows = chosen(args)?;
    let mut servers: Vec<Peer> = Vec::new();
    for peer in &args.servers {
        if !servers.contains(peer) {
            servers.push(*peer);
        }
    }
    let sweeps = if args.sweep { rows::sweeps() } else { Vec::new() };
    let peers = Peers::prepare(args.peers.as_deref(), &servers).await?;
    let rounds = args.rounds.get();
    let steps: usize = rows.len() + sweeps.iter().map(|sweep| sweep.steps.len()).sum::<usize>();
    let mut bench = Bench {
        peers: &peers,
        servers: &servers,
        rounds,
        done: 0,
        total: steps * rounds * servers.len(),
    };
    let mut comparison = Comparison {
        machine: Machine::of(peers.directory(), &servers, rounds).await,
        servers: servers.clone(),
        ..Comparison::default()
    };
    for row in &rows {
        comparison.rows.push(bench.row(row).await);
    }
    for sweep in &sweeps {
        let mut steps = Vec::new();
        for (at, row) in &sweep.steps {
            steps.push((*at, bench.row(row).await));
        }
        comparison.sweeps.push(Swept {
            name: sweep.name,
            title: sweep.title,
            axis: sweep.axis,
            steps,
        });
    }
    Ok(comparison)
}

/// The rows that the command line asks for.
fn chosen(args: &Compare) -> Result<Vec<Row>, CompareError> {
    let table = rows::table();
    if let Some(scenario) = &args.scenario {
        return Ok(vec![rows::of_user(scenario, args.nodes.get(), &args.flags)]);
    }
    if args.all {
        return Ok(table);
    }
    let find = |name: &String| {
        table
            .iter()
            .find(|row| row.name == *name)
            .cloned()
            .ok_or_else(|| CompareError::Row {
                name: name.clone(),
                known: table.iter().map(|row| row.name.clone()).collect(),
            })
    };
    args.rows.iter().map(find).collect()
}

/// The rows of the table, each with its scenario.
fn list() -> String {
    let line = |row: &Row| {
        let nodes = if row.nodes > 1 {
            format!("  ({} nodes over Redis)", row.nodes)
        } else {
            String::new()
        };
        let (name, title, flags) = (&row.name, &row.title, row.flags.join(" "));
        format!("{name:17}  {title}\n{:17}  {flags}{nodes}\n", "")
    };
    rows::table().iter().map(line).collect()
}

/// Measures one row after the other.
#[derive(Debug)]
struct Bench<'a> {
    peers: &'a Peers,
    servers: &'a [Peer],
    rounds: usize,
    done: usize,
    total: usize,
}

impl Bench<'_> {
    /// All servers in turns, as often as there are rounds; each round begins with another one.
    async fn row(&mut self, row: &Row) -> Outcome {
        let mut runs = Runs::new();
        let mut lacks = BTreeMap::new();
        for round in 0..self.rounds {
            for turn in 0..self.servers.len() {
                let Some(peer) = self.servers.get((round + turn) % self.servers.len()).copied() else {
                    continue;
                };
                self.done += 1;
                if let Some(why) = peer.lacks(row.nodes, &row.flags) {
                    lacks.insert(peer, why.to_owned());
                    continue;
                }
                let run = measure::measure(self.peers, peer, row).await;
                self.tell(row, round, peer, &run);
                runs.entry(peer).or_default().push(run);
            }
        }
        Outcome::new(row, self.servers, &runs, lacks)
    }

    fn tell(&self, row: &Row, round: usize, peer: Peer, run: &Result<measure::Run, String>) {
        let what = match run {
            Ok(run) => {
                let figures = if row.figures.is_empty() {
                    rows::figures_of(&run.report)
                } else {
                    row.figures.clone()
                };
                let figures = figures.iter().filter_map(|figure| {
                    let value = run.report.pointer(&figure.pointer)?.as_f64()?;
                    let named = if figure.name.is_empty() {
                        String::new()
                    } else {
                        format!("{} ", figure.name)
                    };
                    Some(format!("{named}{} {}", table::number(value), figure.unit))
                });
                let said = run.faults.iter().chain(&run.remarks).cloned();
                figures.chain(said).collect::<Vec<_>>().join(", ")
            }
            Err(error) => error.clone(),
        };
        eprintln!(
            "fanfare-load: {}/{}  {}, round {} of {}, {}: {what}",
            self.done,
            self.total,
            row.name,
            round + 1,
            self.rounds,
            peer.name(),
        );
    }
}

/// Prints a comparison, and writes it where it is wanted.
fn publish(args: &Compare, comparison: &Comparison) -> Result<(), CompareError> {
    let json = serde_json::json!(comparison).to_string();
    if let Some(directory) = &args.report {
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(directory)
                .and_then(|()| fs::write(path, text))
                .map_err(|source| CompareError::Write {
                    path: path.to_owned(),
                    source,
                })
        };
        write(&directory.join("compare.json"), &json)?;
        let page = directory.join("index.html");
        write(&page, &page::page(comparison))?;
        eprintln!("fanfare-load: {}", page.display());
    }
    if args.json {
        println!("{json}");
        return Ok(());
    }
    let Comparison {
        machine,
        servers,
        rows,
        sweeps,
    } = comparison;
    println!("{}\n", machine.lines().join("\n"));
    if !rows.is_empty() {
        println!("{}", table::table(rows, servers));
    }
    for sweep in sweeps {
        println!("{}\n\n{}", sweep.title, table::sweep(sweep, servers));
    }
    let said = [table::faults(comparison.outcomes()), table::remarks(comparison.outcomes())];
    for line in said.iter().flatten() {
        println!("* {line}");
    }
    Ok(())
}

/// What is printed without a figure tells why; it is no comparison all the same.
fn judge(comparison: &Comparison) -> Result<(), CompareError> {
    if comparison.outcomes().any(Outcome::has_reports) {
        Ok(())
    } else {
        Err(CompareError::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        compare: Compare,
    }

    fn read(line: &str) -> Result<Compare, String> {
        let line = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        Ok(line.compare)
    }

    #[test]
    fn rows_are_chosen_by_name_and_unknown_ones_refused_with_those_there_are() {
        let names = |line: &str| -> Result<Vec<String>, String> {
            let rows = chosen(&read(line)?).map_err(|error| error.to_string())?;
            Ok(rows.into_iter().map(|row| row.name).collect())
        };
        assert_eq!(names("compare --rows echo,light").unwrap(), ["echo", "light"]);
        assert_eq!(names("compare --all").unwrap().len(), rows::table().len());
        assert_eq!(names("compare --sweep").unwrap().len(), 0);
        assert!(
            names("compare --rows nothing")
                .unwrap_err()
                .starts_with("no row \"nothing\": expected saturated, light, echo,")
        );
        assert!(names("compare").is_err());
        assert!(names("compare --all --scenario echo").is_err());
    }

    #[test]
    fn a_comparison_without_a_report_is_none() {
        let measured = Comparison {
            rows: vec![outcome::tests::outcome()],
            ..Comparison::default()
        };
        assert!(judge(&measured).is_ok());
        let runs = Runs::from([(Peer::Node, vec![Err("cannot connect".to_owned())])]);
        let failed = Outcome::new(&rows::table().swap_remove(0), &[Peer::Node], &runs, BTreeMap::new());
        let nothing = Comparison {
            rows: vec![failed],
            ..Comparison::default()
        };
        assert!(judge(&nothing).unwrap_err().to_string().starts_with("nothing was measured"));
    }

    #[test]
    fn a_scenario_of_the_user_has_its_flags() {
        let args = read("compare --scenario fanout --nodes 3 --servers node,floor -- --rate 5 --connections 2").unwrap();
        let rows = chosen(&args).unwrap();
        assert_eq!(rows[0].flags, ["fanout", "--rate", "5", "--connections", "2"]);
        assert_eq!((rows[0].nodes, args.servers), (3, vec![Peer::Node, Peer::Floor]));
        assert!(read("compare --all -- --rate 5").is_err());
        assert!(read("compare --all --nodes 3").is_err());
    }
}
