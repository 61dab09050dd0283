//! What is measured: the rows of the table, and the steps of the sweeps, as data.

use super::peers::Peer;

/// One thing that all servers are measured by.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Its name on the command line and in JSON.
    pub(super) name: String,
    /// What it is, for people.
    pub(super) title: String,
    /// Processes of each server; more than one are a cluster over Redis.
    pub(super) nodes: usize,
    /// The scenario and its flags.
    pub(super) flags: Vec<String>,
    /// What is read from its report.
    pub(super) figures: Vec<Figure>,
}

/// One number of a report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    /// Where it stands in the report (RFC 6901).
    pub(super) pointer: String,
    /// What it is called where a row has several.
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) target: Option<Target>,
}

/// What the first server is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Target {
    /// So many times the figure of another server, at most.
    Ratio(Peer, f64),
    /// So much, at most.
    AtMost(f64),
}

/// The scenarios in which something is delivered for so many seconds: at two seconds of a server's CPU a tick of the kernel's clock is half
/// a percent.
const SECONDS: &str = "5";

const CPU: &str = "/server_cpu_us_per_delivery";
const MICROSECONDS: &str = "us CPU per delivery";

/// The rows of the table.
pub(super) fn table() -> Vec<Row> {
    [alone(), clusters()].concat()
}

/// So many times what socketioxide takes, at most.
const fn ratio(at_most: f64) -> Target {
    Target::Ratio(Peer::Socketioxide, at_most)
}

/// Of one process.
fn alone() -> Vec<Row> {
    vec![
        row(
            "saturated",
            "saturated fan-out: 500 connections, 32 broadcasts in flight",
            1,
            &format!("fanout --publish-event pub --connections 500 --in-flight 32 --duration {SECONDS}"),
            [figure(CPU, "", MICROSECONDS, ratio(1.0 / 3.0))],
        ),
        row(
            "light",
            "light fan-out: 1000 connections, 2 in flight",
            1,
            &format!("fanout --publish-event pub --connections 1000 --in-flight 2 --duration {SECONDS}"),
            [figure(CPU, "", MICROSECONDS, ratio(0.65))],
        ),
        row(
            "echo",
            "echo with ack: 200 connections, 100 in flight",
            1,
            &format!("echo --connections 200 --in-flight 100 --duration {SECONDS}"),
            [figure(
                "/server_cpu_us_per_ack",
                "",
                "us CPU per ack",
                Target::Ratio(Peer::Floor, 1.3),
            )],
        ),
        row(
            "rooms",
            "rooms: 1000 connections in 100 rooms of 10, 20 in flight",
            1,
            &format!("rooms --connections 1000 --rooms 100 --in-flight 20 --duration {SECONDS}"),
            [figure(CPU, "", MICROSECONDS, ratio(0.65))],
        ),
        // So many that a tick is at most two percent of what the floor takes.
        row(
            "handshake",
            "handshake, from TCP connect to CONNECT acknowledged",
            1,
            "idle --connections 10000 --duration 0.1",
            [figure("/server_cpu_us_per_connection", "", "us CPU per connection", ratio(0.6))],
        ),
        row(
            "idle",
            "5000 idle WebSockets, 1 KiB of request headers",
            1,
            "idle --connections 5000 --header-bytes 1024 --duration 3",
            [figure(MEMORY, "", KIB, Target::AtMost(4.0))],
        ),
        row(
            "idle-polling",
            "5000 idle clients over polling, 1 KiB of request headers",
            1,
            "idle --transport polling --connections 5000 --header-bytes 1024 --duration 3",
            [figure(MEMORY, "", KIB, Target::AtMost(20.0))],
        ),
    ]
}

/// Of three processes over Redis, with whose CPU time is counted that of Redis.
fn clusters() -> Vec<Row> {
    vec![
        row(
            "cluster-saturated",
            "cluster of 3 over Redis, its CPU counted: saturated fan-out to 501",
            3,
            &format!("fanout --publish-event pub --connections 501 --publishers 3 --in-flight 32 --duration {SECONDS}"),
            [figure(CPU, "", MICROSECONDS, ratio(1.0 / 3.0))],
        ),
        row(
            "cluster-rooms",
            "cluster of 3 over Redis, its CPU counted: 100 rooms of 10",
            3,
            &format!("rooms --connections 1000 --rooms 100 --in-flight 20 --duration {SECONDS}"),
            [figure(CPU, "", MICROSECONDS, ratio(0.5))],
        ),
        row(
            "cluster-latency",
            "cluster of 3 over Redis: 30 connections, 1 in flight, end to end",
            3,
            &format!("fanout --publish-event pub --connections 30 --publishers 3 --in-flight 1 --duration {SECONDS}"),
            [
                figure("/latency_ms/p50", "p50", "ms", ratio(0.7)),
                figure("/latency_ms/p99", "p99", "ms", ratio(0.7)),
            ],
        ),
    ]
}

const MEMORY: &str = "/server_rss_anon_kib_per_connection";
const KIB: &str = "KiB RssAnon per connection";

/// One figure against a number that grows.
#[derive(Debug)]
pub(super) struct Sweep {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// What grows.
    pub(super) axis: &'static str,
    /// The number, and what is measured there.
    pub(super) steps: Vec<(u32, Row)>,
}

/// All sweeps. Each step is short: the line through them counts.
pub(super) fn sweeps() -> Vec<Sweep> {
    let sweep = |name, title, axis, steps: &[u32], flags: &dyn Fn(u32) -> String, figure: &Figure| {
        let step = |at: &u32| {
            (
                *at,
                row(&format!("{name}-{at}"), &format!("{title}: {at}"), 1, &flags(*at), [figure.clone()]),
            )
        };
        Sweep {
            name,
            title,
            axis,
            steps: steps.iter().map(step).collect(),
        }
    };
    let figure = |pointer: &str, unit: &str| Figure {
        pointer: pointer.to_owned(),
        name: String::new(),
        unit: unit.to_owned(),
        target: None,
    };
    vec![
        sweep(
            "in-flight",
            "CPU per delivery against messages in flight, 500 connections",
            "broadcasts in flight",
            &[1, 2, 4, 8, 16, 32, 64],
            &|at| format!("fanout --publish-event pub --connections 500 --in-flight {at} --duration 2"),
            &figure(CPU, MICROSECONDS),
        ),
        sweep(
            "connections",
            "CPU per delivery against connections, 2 broadcasts in flight",
            "connections",
            &[100, 200, 500, 1000, 2000, 5000, 10_000],
            &|at| format!("fanout --publish-event pub --connections {at} --in-flight 2 --duration 2"),
            &figure(CPU, MICROSECONDS),
        ),
        sweep(
            "memory",
            "memory per idle connection against connections, 1 KiB of request headers",
            "connections",
            &[500, 1000, 2000, 5000, 10_000],
            &|at| format!("idle --connections {at} --header-bytes 1024 --duration 2"),
            &figure(MEMORY, KIB),
        ),
    ]
}

/// A row for a scenario of the user, in which everything that can be compared is.
pub(super) fn of_user(scenario: &str, nodes: usize, flags: &[String]) -> Row {
    let all = std::iter::once(scenario).chain(flags.iter().map(String::as_str));
    Row {
        name: scenario.to_owned(),
        title: all.clone().collect::<Vec<_>>().join(" "),
        nodes,
        flags: all.map(|flag| flag.to_owned()).collect(),
        figures: Vec::new(),
    }
}

/// What can be compared in a report whose row names no figures.
pub(super) fn figures_of(report: &serde_json::Value) -> Vec<Figure> {
    let Some(fields) = report.as_object() else { return Vec::new() };
    let mut found = Vec::new();
    let mut add = |pointer: String, name: String, unit: &str| {
        // What is zero did not happen: nobody was away.
        if report
            .pointer(&pointer)
            .and_then(serde_json::Value::as_f64)
            .is_some_and(|value| value > 0.0)
        {
            found.push(Figure {
                pointer,
                name,
                unit: unit.to_owned(),
                target: None,
            });
        }
    };
    for field in fields.keys() {
        if let Some(each) = field.strip_prefix("server_cpu_us_per_") {
            add(format!("/{field}"), "CPU".to_owned(), &format!("us CPU per {each}"));
        } else if let Some(times) = field.strip_suffix("_ms") {
            for percentile in ["p50", "p99"] {
                add(format!("/{field}/{percentile}"), format!("{times} {percentile}"), "ms");
            }
        } else if let Some(what) = field.strip_suffix("_per_second") {
            add(format!("/{field}"), what.to_owned(), "per second");
        }
    }
    add(MEMORY.to_owned(), "memory".to_owned(), KIB);
    add("/server_rss_anon_kib".to_owned(), "memory of the servers".to_owned(), "KiB RssAnon");
    found
}

fn row(name: &str, title: &str, nodes: usize, flags: &str, figures: impl Into<Vec<Figure>>) -> Row {
    Row {
        name: name.to_owned(),
        title: title.to_owned(),
        nodes,
        flags: flags.split(' ').map(|flag| flag.to_owned()).collect(),
        figures: figures.into(),
    }
}

fn figure(pointer: &'static str, name: &'static str, unit: &'static str, target: Target) -> Figure {
    Figure {
        pointer: pointer.to_owned(),
        name: name.to_owned(),
        unit: unit.to_owned(),
        target: Some(target),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::Args;

    #[test]
    fn of_a_report_everything_is_compared_that_was_measured() {
        let report = json!({
            "server_cpu_us_per_ack": 3.5, "server_cpu_us_per_ack_by_pid": [3.5], "own_cpu_us_per_ack": 1.0, "acked_per_second": 70.0,
            "latency_ms": { "p50": 1.0, "p99": 2.0 }, "away_ms": { "p50": 0.0, "p99": 0.0 }, "latency_curve_ms": [[0.5, 1.0]],
            "server_rss_anon_kib": null,
        });
        let mut figures: Vec<_> = figures_of(&report)
            .into_iter()
            .map(|figure| (figure.pointer, figure.name))
            .collect();
        figures.sort();
        let wanted = [
            ("/acked_per_second", "acked"),
            ("/latency_ms/p50", "latency p50"),
            ("/latency_ms/p99", "latency p99"),
            ("/server_cpu_us_per_ack", "CPU"),
        ];
        assert_eq!(figures, wanted.map(|(pointer, name)| (pointer.to_owned(), name.to_owned())));
    }

    #[test]
    fn the_command_line_takes_the_flags_of_every_row_and_step() {
        let sweeps = sweeps();
        let steps = sweeps.iter().flat_map(|sweep| sweep.steps.iter().map(|(_, row)| row.clone()));
        for row in table().into_iter().chain(steps) {
            let program = std::iter::once("fanfare-load").chain(row.flags.iter().map(String::as_str));
            // What a comparison gives to each.
            let line = program.chain(["--targets", "http://127.0.0.1:1", "--server-pids", "1", "--json"]);
            if let Err(error) = Args::try_parse_from(line) {
                panic!("{}: {error}", row.name);
            }
        }
    }

    #[test]
    fn every_row_and_step_has_a_name_of_its_own() {
        let sweeps = sweeps();
        let steps = sweeps.iter().flat_map(|sweep| sweep.steps.iter().map(|(_, row)| row.name.clone()));
        let mut names: Vec<_> = table().into_iter().map(|row| row.name).chain(steps).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
