//! What the runs of a row come to: medians, spreads, ratios.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    measure::{Run, Soundness},
    peers::Peer,
    rows::{self, Figure, Row, Target},
};

/// A row that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) title: String,
    nodes: usize,
    flags: Vec<String>,
    pub(super) figures: Vec<Compared>,
    /// What went wrong, by server: each run that was not clean, from 1 on.
    pub(super) faults: BTreeMap<Peer, BTreeMap<usize, Vec<String>>>,
    /// What the generator said of runs, in the same way.
    pub(super) remarks: BTreeMap<Peer, BTreeMap<usize, Vec<String>>>,
    /// Why a server was not measured at all.
    pub(super) lacks: BTreeMap<Peer, String>,
    /// The distribution of times, of the run whose median is the median of all; pairs of a quantile and milliseconds.
    pub(super) curves: BTreeMap<Peer, Vec<(f64, f64)>>,
    /// The reports of the runs.
    reports: BTreeMap<Peer, Vec<Option<Value>>>,
}

/// One figure of all servers.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    pub(super) name: String,
    pub(super) unit: String,
    pub(super) servers: BTreeMap<Peer, Spread>,
    /// The first server's figure divided by that of each other: the median of the rounds' ratios.
    pub(super) ratios: BTreeMap<Peer, Spread>,
    pub(super) target: Option<Judged>,
}

/// Several measurements of the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) runs: usize,
}

/// A target, and whether it was met.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Judged {
    /// `null`: a number by itself.
    pub(super) of: Option<Peer>,
    pub(super) at_most: f64,
    pub(super) reached: Option<f64>,
    /// `null` though something was reached: a run was not clean, so that the figures are not of the same work.
    pub(super) met: Option<bool>,
}

/// The runs of one row: of each server as many as there were rounds, in their order.
pub(super) type Runs = BTreeMap<Peer, Vec<Result<Run, String>>>;

impl Outcome {
    /// Of the runs of a row; `servers` in the order of the command line.
    pub(super) fn new(row: &Row, servers: &[Peer], runs: &Runs, lacks: BTreeMap<Peer, String>) -> Self {
        let reports: BTreeMap<Peer, Vec<Option<Value>>> = runs
            .iter()
            .map(|(peer, runs)| {
                (
                    *peer,
                    runs.iter().map(|run| run.as_ref().ok().map(|run| run.report.clone())).collect(),
                )
            })
            .collect();
        let mut figures = row.figures.clone();
        if figures.is_empty() {
            figures = reports
                .values()
                .flatten()
                .flatten()
                .next()
                .map(rows::figures_of)
                .unwrap_or_default();
        }
        let faults = |run: &Result<Run, String>| {
            run.as_ref()
                .map_or_else(|error| vec![format!("failed: {error}")], |run| run.faults.clone())
        };
        let sound = |peer: Peer| sound(runs, peer, servers.first() == Some(&peer));
        Self {
            name: row.name.clone(),
            title: row.title.clone(),
            nodes: row.nodes,
            flags: row.flags.clone(),
            figures: figures
                .iter()
                .map(|figure| Compared::new(figure, servers, &reports, sound))
                .collect(),
            faults: by_run(runs, faults),
            remarks: by_run(runs, |run| run.as_ref().map(|run| run.remarks.clone()).unwrap_or_default()),
            lacks,
            curves: reports
                .iter()
                .filter_map(|(peer, reports)| Some((*peer, curve(reports)?)))
                .collect(),
            reports,
        }
    }

    /// Whether a scenario told anything of any server.
    pub(super) fn has_reports(&self) -> bool {
        self.reports.values().flatten().any(Option::is_some)
    }
}

/// What is to be said of runs, by server and number, of those of which there is something to say.
fn by_run(runs: &Runs, of: impl Fn(&Result<Run, String>) -> Vec<String>) -> BTreeMap<Peer, BTreeMap<usize, Vec<String>>> {
    let of_server = |runs: &Vec<Result<Run, String>>| -> BTreeMap<usize, Vec<String>> {
        let numbered = runs.iter().enumerate().map(|(number, run)| (number + 1, of(run)));
        numbered.filter(|(_, said)| !said.is_empty()).collect()
    };
    let all = runs.iter().map(|(peer, runs)| (*peer, of_server(runs)));
    all.filter(|(_, said)| !said.is_empty()).collect()
}

/// Whether a verdict may rest on the runs of a server. Of one that another is measured by, order is not asked for: socketioxide is known to
/// swap messages, and what is out of order has been sent and is counted like the rest. Nor do its failed runs matter: they are in no ratio.
fn sound(runs: &Runs, peer: Peer, judged: bool) -> bool {
    let worst = if judged { Soundness::Clean } else { Soundness::Swapped };
    runs.get(&peer)
        .into_iter()
        .flatten()
        .all(|run| run.as_ref().map_or(!judged, |run| run.soundness <= worst))
}

impl Compared {
    fn new(figure: &Figure, servers: &[Peer], reports: &BTreeMap<Peer, Vec<Option<Value>>>, sound: impl Fn(Peer) -> bool) -> Self {
        let read = |report: &Option<Value>| report.as_ref().and_then(|report| report.pointer(&figure.pointer)?.as_f64());
        let values: BTreeMap<Peer, Vec<Option<f64>>> = reports
            .iter()
            .map(|(peer, reports)| (*peer, reports.iter().map(read).collect()))
            .collect();
        let own = servers.first();
        let first = own.and_then(|own| values.get(own));
        let ratios: BTreeMap<Peer, Spread> = servers
            .iter()
            .skip(1)
            .filter_map(|peer| Some((*peer, Spread::of(ratios(first?, values.get(peer)?))?)))
            .collect();
        let spreads: BTreeMap<Peer, Spread> = values
            .iter()
            .filter_map(|(peer, values)| Some((*peer, Spread::of(values.iter().copied().flatten())?)))
            .collect();
        Self {
            name: figure.name.clone(),
            unit: figure.unit.clone(),
            // Targets are fanfare's; of others there are only ratios.
            target: figure.target.filter(|_| own == Some(&Peer::Fanfare)).map(|target| {
                let (of, at_most, reached) = match target {
                    Target::Ratio(of, at_most) => (Some(of), at_most, ratios.get(&of)),
                    Target::AtMost(at_most) => (None, at_most, own.and_then(|own| spreads.get(own))),
                };
                let reached = reached.map(|spread| spread.median);
                Judged {
                    of,
                    at_most,
                    reached,
                    met: reached
                        .filter(|_| own.is_none_or(|own| sound(*own)) && of.is_none_or(&sound))
                        .map(|reached| reached <= at_most),
                }
            }),
            servers: spreads,
            ratios,
        }
    }
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (middle, odd) = (values.len() / 2, values.len() % 2 == 1);
        let upper = *values.get(middle)?;
        Some(Self {
            median: if odd {
                upper
            } else {
                f64::midpoint(*values.get(middle - 1)?, upper)
            },
            min: *values.first()?,
            max: *values.last()?,
            runs: values.len(),
        })
    }
}

/// Of each round in which both were measured.
fn ratios(these: &[Option<f64>], those: &[Option<f64>]) -> Vec<f64> {
    let pairs = these.iter().zip(those);
    pairs
        .filter_map(|(this, that)| Some(((*this)?, (*that)?)))
        .filter(|(_, that)| *that > 0.0)
        .map(|(this, that)| this / that)
        .collect()
}

/// The curve of the run in the middle, by its median.
fn curve(reports: &[Option<Value>]) -> Option<Vec<(f64, f64)>> {
    let mut curves: Vec<Vec<(f64, f64)>> = reports
        .iter()
        .flatten()
        .filter_map(|report| report.get("latency_curve_ms").or_else(|| report.get("handshake_curve_ms")))
        .filter_map(|curve| serde_json::from_value(curve.clone()).ok())
        .filter(|curve: &Vec<_>| !curve.is_empty())
        .collect();
    let median = |curve: &[(f64, f64)]| curve.iter().find(|(quantile, _)| *quantile >= 0.5).map_or(f64::MAX, |(_, ms)| *ms);
    curves.sort_by(|a, b| median(a).total_cmp(&median(b)));
    let middle = curves.len() / 2;
    (middle < curves.len()).then(|| curves.swap_remove(middle))
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// An outcome of two rounds, as if it had been measured: CPU of 2 and 3 against 4, 6 and none, a run that lost, one that failed, and
    /// one of which the generator had something to say.
    pub(in crate::compare) fn outcome() -> Outcome {
        let run = |cpu: f64, faults: &[&str]| {
            let curve = [[0.0, cpu / 10.0], [0.5, cpu], [0.9, cpu * 2.0], [1.0, cpu * 9.0]];
            let report = json!({ "server_cpu_us_per_delivery": cpu, "latency_curve_ms": curve });
            let soundness = if faults.is_empty() { Soundness::Clean } else { Soundness::Spoiled };
            let faults = faults.iter().map(|fault| (*fault).to_owned()).collect();
            let remarks = if cpu > 2.0 {
                Vec::new()
            } else {
                vec!["the generator was saturated".to_owned()]
            };
            Ok(Run {
                report,
                faults,
                soundness,
                remarks,
            })
        };
        let runs = BTreeMap::from([
            (Peer::Fanfare, vec![run(2.0, &[]), run(3.0, &[])]),
            (Peer::Socketioxide, vec![run(4.0, &["3 lost"]), run(6.0, &[])]),
            (Peer::Node, vec![Err("cannot connect".to_owned()), Err("cannot connect".to_owned())]),
        ]);
        let row = rows::table().swap_remove(0);
        let servers = [Peer::Fanfare, Peer::Node, Peer::Socketioxide, Peer::Floor];
        Outcome::new(&row, &servers, &runs, BTreeMap::from([(Peer::Floor, "no such thing".to_owned())]))
    }

    #[test]
    fn a_median_is_in_the_middle_or_between_the_two_there() {
        let of = |values: &[f64]| Spread::of(values.iter().copied()).map(|spread| (spread.median, spread.min, spread.max, spread.runs));
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0, 3)));
        assert_eq!(of(&[4.0, 1.0, 2.0, 9.0]), Some((3.0, 1.0, 9.0, 4)));
        assert_eq!(of(&[5.0]), Some((5.0, 5.0, 5.0, 1)));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn ratios_are_of_pairs_and_not_of_medians() {
        // Medians of 2 and 30 would make it 0.07.
        assert_eq!(
            ratios(&[Some(1.0), Some(2.0), Some(30.0)], &[Some(2.0), Some(30.0), Some(30.0)]),
            [0.5, 2.0 / 30.0, 1.0]
        );
        assert_eq!(ratios(&[Some(1.0), None, Some(3.0)], &[None, Some(1.0), Some(2.0)]), [1.5]);
        assert!(ratios(&[Some(1.0)], &[Some(0.0)]).is_empty());
    }

    #[test]
    fn a_row_has_what_was_measured_and_says_what_was_not() {
        let outcome = outcome();
        let figure = &outcome.figures[0];
        assert_eq!(
            (figure.servers[&Peer::Fanfare].median, figure.servers[&Peer::Socketioxide].median),
            (2.5, 5.0)
        );
        assert_eq!(figure.ratios[&Peer::Socketioxide].median, 0.5);
        assert!(!figure.servers.contains_key(&Peer::Node) && !figure.ratios.contains_key(&Peer::Node));
        let judged = figure.target.as_ref().unwrap();
        assert_eq!(
            (judged.of, judged.reached, judged.met),
            (Some(Peer::Socketioxide), Some(0.5), None),
            "of what lost something nothing is said"
        );
        let remarks = BTreeMap::from([(1, vec!["the generator was saturated".to_owned()])]);
        assert_eq!(outcome.remarks, BTreeMap::from([(Peer::Fanfare, remarks)]));
        assert_eq!(
            outcome.faults[&Peer::Socketioxide],
            BTreeMap::from([(1, vec!["3 lost".to_owned()])])
        );
        assert_eq!(outcome.faults[&Peer::Node].len(), 2);
        assert!(!outcome.faults.contains_key(&Peer::Fanfare));
        assert_eq!(outcome.curves[&Peer::Fanfare][1], (0.5, 3.0));
    }

    #[test]
    fn a_target_is_met_at_its_bound_and_unknown_without_the_server_that_it_is_of() {
        let figure = |target| Figure {
            pointer: "/a".to_owned(),
            name: String::new(),
            unit: String::new(),
            target: Some(target),
        };
        let reports = BTreeMap::from([(Peer::Fanfare, vec![Some(json!({ "a": 4.0 }))])]);
        let judged = |target| {
            Compared::new(&figure(target), &[Peer::Fanfare, Peer::Floor], &reports, |_| true)
                .target
                .unwrap()
                .met
        };
        assert_eq!(judged(Target::AtMost(4.0)), Some(true));
        assert_eq!(judged(Target::AtMost(3.9)), Some(false));
        assert_eq!(judged(Target::Ratio(Peer::Floor, 1.3)), None);
        let of_another = Compared::new(&figure(Target::AtMost(4.0)), &[Peer::Node, Peer::Fanfare], &reports, |_| true);
        assert_eq!(of_another.target, None);
        // A number by itself needs nobody else.
        let alone = |sound: fn(Peer) -> bool| {
            let judged = Compared::new(&figure(Target::AtMost(4.0)), &[Peer::Fanfare, Peer::Floor], &reports, sound);
            judged.target.unwrap().met
        };
        assert_eq!(alone(|peer| peer == Peer::Fanfare), Some(true));
        assert_eq!(alone(|peer| peer != Peer::Fanfare), None);
    }

    #[test]
    fn a_verdict_stays_open_when_either_side_was_not_clean_but_for_the_order_of_the_other() {
        let run = |soundness| {
            Ok(Run {
                report: json!({ "server_cpu_us_per_delivery": 1.0 }),
                faults: Vec::new(),
                soundness,
                remarks: Vec::new(),
            })
        };
        let failed = || Err("cannot connect".to_owned());
        let met = |own: Result<Run, String>, other: Result<Run, String>| {
            let runs = BTreeMap::from([
                (Peer::Fanfare, vec![run(Soundness::Clean), own]),
                (Peer::Socketioxide, vec![run(Soundness::Clean), other]),
            ]);
            let outcome = Outcome::new(
                &rows::table().swap_remove(0),
                &[Peer::Fanfare, Peer::Socketioxide],
                &runs,
                BTreeMap::new(),
            );
            let judged = outcome.figures[0].target.clone().unwrap();
            assert_eq!(judged.reached, Some(1.0));
            judged.met
        };
        let judged = Some(false);
        assert_eq!(met(run(Soundness::Clean), run(Soundness::Clean)), judged);
        assert_eq!(met(run(Soundness::Clean), run(Soundness::Swapped)), judged);
        assert_eq!(met(run(Soundness::Clean), failed()), judged);
        assert_eq!(met(run(Soundness::Clean), run(Soundness::Spoiled)), None);
        assert_eq!(met(run(Soundness::Swapped), run(Soundness::Clean)), None);
        assert_eq!(met(run(Soundness::Spoiled), run(Soundness::Clean)), None);
        assert_eq!(met(failed(), run(Soundness::Clean)), None);
    }
}
