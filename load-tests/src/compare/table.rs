//! The table, for people: Markdown whose columns stand below each other.

use std::collections::BTreeMap;

use super::{
    Swept,
    outcome::{Compared, Judged, Outcome, Spread},
    peers::Peer,
};

/// Puts the rows of the table together; the last columns are the ratios and the target.
pub(super) fn table(outcomes: &[Outcome], servers: &[Peer]) -> String {
    let Some(first) = servers.first() else { return String::new() };
    let mut lines = vec![heads(servers)];
    for outcome in outcomes {
        for figure in &outcome.figures {
            let mut cells = vec![title(outcome, figure), figure.unit.clone()];
            cells.extend(servers.iter().map(|peer| cell(outcome, figure, *peer)));
            let others = servers.iter().filter(|peer| *peer != first);
            cells.extend(others.map(|peer| figure.ratios.get(peer).map_or_else(|| "-".to_owned(), |ratio| number(ratio.median))));
            cells.push(figure.target.as_ref().map_or_else(|| "-".to_owned(), verdict));
            lines.push(cells);
        }
        if outcome.figures.is_empty() {
            let mut cells = vec![outcome.title.clone(), "-".to_owned()];
            cells.extend(servers.iter().map(|peer| nothing(outcome, *peer)));
            cells.resize(lines.first().map_or(0, Vec::len), "-".to_owned());
            lines.push(cells);
        }
    }
    align(&lines)
}

/// The steps of a sweep, a line each.
pub(super) fn sweep(sweep: &Swept, servers: &[Peer]) -> String {
    let mut lines = vec![vec![sweep.axis.to_owned()]];
    if let Some(heads) = lines.first_mut() {
        heads.extend(servers.iter().map(|peer| peer.name().to_owned()));
    }
    for (at, outcome) in &sweep.steps {
        let mut cells = vec![at.to_string()];
        let cell = |peer: &Peer| {
            outcome
                .figures
                .first()
                .map_or_else(|| nothing(outcome, *peer), |figure| cell(outcome, figure, *peer))
        };
        cells.extend(servers.iter().map(cell));
        lines.push(cells);
    }
    align(&lines)
}

/// What went wrong, a line for each server and row.
pub(super) fn faults<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Vec<String> {
    by_run(outcomes, |outcome| &outcome.faults)
}

/// What the generator had to say, a line for each server and row.
pub(super) fn remarks<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Vec<String> {
    by_run(outcomes, |outcome| &outcome.remarks)
}

fn by_run<'a>(
    outcomes: impl IntoIterator<Item = &'a Outcome>,
    of: impl Fn(&'a Outcome) -> &'a BTreeMap<Peer, BTreeMap<usize, Vec<String>>>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for outcome in outcomes {
        for (peer, runs) in of(outcome) {
            let runs: Vec<_> = runs
                .iter()
                .map(|(number, said)| format!("run {number}: {}", said.join(", ")))
                .collect();
            lines.push(format!("{}, {}: {}", outcome.title, peer.name(), runs.join("; ")));
        }
    }
    lines
}

pub(super) fn heads(servers: &[Peer]) -> Vec<String> {
    let mut heads = vec!["scenario".to_owned(), "unit".to_owned()];
    heads.extend(servers.iter().map(|peer| peer.name().to_owned()));
    let first = servers.first().map_or("", |first| first.name());
    heads.extend(servers.iter().skip(1).map(|peer| format!("{first} / {}", peer.name())));
    heads.push("target".to_owned());
    heads
}

pub(super) fn title(outcome: &Outcome, figure: &Compared) -> String {
    match figure.name.as_str() {
        "" => outcome.title.clone(),
        name => format!("{}, {name}", outcome.title),
    }
}

/// What was measured of a server, and that not all was well; or why nothing was.
pub(super) fn cell(outcome: &Outcome, figure: &Compared, peer: Peer) -> String {
    let Some(spread) = figure.servers.get(&peer) else {
        return nothing(outcome, peer);
    };
    let Spread { median, min, max, runs } = *spread;
    let measured = if runs > 1 {
        format!("{} [{}-{}]", number(median), number(min), number(max))
    } else {
        number(median)
    };
    match outcome.faults.get(&peer) {
        Some(faults) => format!("{measured} ({})", kinds(faults.values().flatten())),
        None => measured,
    }
}

fn nothing(outcome: &Outcome, peer: Peer) -> String {
    match (outcome.lacks.get(&peer), outcome.faults.contains_key(&peer)) {
        (Some(why), _) => why.clone(),
        (None, true) => "failed".to_owned(),
        (None, false) => "-".to_owned(),
    }
}

/// Faults without their numbers, each once.
fn kinds<'a>(faults: impl Iterator<Item = &'a String>) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for fault in faults {
        let kind = match fault.split_once(' ') {
            // Why it did is told in full below.
            Some(("failed:", _)) => "a run failed",
            Some((count, kind)) if count.parse::<u64>().is_ok() => kind,
            _ => fault,
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.join(", ")
}

pub(super) fn verdict(judged: &Judged) -> String {
    let Judged { of, at_most, reached, met } = judged;
    let target = match of {
        Some(of) => format!("<= {} of {}", number(*at_most), of.name()),
        None => format!("<= {}", number(*at_most)),
    };
    match (met, reached) {
        (Some(true), Some(reached)) => format!("{target}: {}, met", number(*reached)),
        (Some(false), Some(reached)) => format!("{target}: {}, MISSED", number(*reached)),
        (None, Some(reached)) => format!("{target}: {}, not clean", number(*reached)),
        (_, None) => format!("{target}: not measured"),
    }
}

/// With three digits that mean something.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        lines
            .iter()
            .filter_map(|cells| cells.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, cells) in lines.iter().enumerate() {
        let cells: Vec<_> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += &format!("| {} |\n", cells.join(" | "));
        if number == 0 {
            let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text += &format!("|-{}-|\n", rule.join("-|-"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::outcome::tests::outcome;

    const ALL: [Peer; 4] = [Peer::Fanfare, Peer::Node, Peer::Socketioxide, Peer::Floor];

    #[test]
    fn the_table_shows_what_was_measured_and_why_the_rest_was_not() {
        let table = table(&[outcome()], &ALL);
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        let cells: Vec<_> = lines[2].trim_matches('|').split('|').map(str::trim).collect();
        let wanted = [
            "saturated fan-out: 500 connections, 32 broadcasts in flight",
            "us CPU per delivery",
            "2.50 [2.00-3.00]",
            "failed",
            "5.00 [4.00-6.00] (lost)",
            "no such thing",
            "-",
            "0.500",
            "-",
            "<= 0.333 of socketioxide: 0.500, not clean",
        ];
        assert_eq!(cells, wanted);
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{table}");
    }

    #[test]
    fn faults_are_told_by_run() {
        let title = "saturated fan-out: 500 connections, 32 broadcasts in flight";
        let wanted = [
            format!("{title}, node: run 1: failed: cannot connect; run 2: failed: cannot connect"),
            format!("{title}, socketioxide: run 1: 3 lost"),
        ];
        assert_eq!(faults(&[outcome()]), wanted);
        assert_eq!(
            remarks(&[outcome()]),
            [format!("{title}, fanfare: run 1: the generator was saturated")]
        );
    }

    #[test]
    fn a_verdict_says_what_was_reached_and_whether_that_may_be_judged() {
        let text = |reached, met| {
            verdict(&Judged {
                of: None,
                at_most: 4.0,
                reached,
                met,
            })
        };
        assert_eq!(text(Some(3.0), Some(true)), "<= 4.00: 3.00, met");
        assert_eq!(text(Some(5.0), Some(false)), "<= 4.00: 5.00, MISSED");
        assert_eq!(text(Some(3.0), None), "<= 4.00: 3.00, not clean");
        assert_eq!(text(None, None), "<= 4.00: not measured");
    }

    #[test]
    fn a_cell_names_each_kind_of_fault_once_and_no_reason_at_length() {
        let faults = [
            "3 lost",
            "7 lost",
            "failed: 24 of 1000 clients did not",
            "a process of the server ended",
        ]
        .map(str::to_owned);
        assert_eq!(kinds(faults.iter()), "lost, a run failed, a process of the server ended");
    }

    #[test]
    fn numbers_have_three_digits_that_mean_something() {
        let texts = [0.3333, 1.6149, 14.66, 794.3, 0.0].map(number);
        assert_eq!(texts, ["0.333", "1.61", "14.7", "794", "0.000"]);
    }
}
