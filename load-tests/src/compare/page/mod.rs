//! The page: the table and the plots in one file that needs no other, and no network.
//!
//! | room | what it does |
//! |---|---|
//! | `svg` | line charts |

mod svg;

use super::{
    Comparison, Swept,
    outcome::Outcome,
    peers::Peer,
    table::{self, number},
};
use svg::{Axis, Chart, Line, Point, Scale};

const STYLE: &str = include_str!("style.css");

/// The page of a comparison.
pub(super) fn page(comparison: &Comparison) -> String {
    let Comparison {
        machine,
        servers,
        rows,
        sweeps,
    } = comparison;
    let lines: Vec<_> = machine.lines().iter().map(|line| escape(line)).collect();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Socket.IO servers compared</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Socket.IO servers compared</h1>\n<p>{}</p>\n",
        lines.join("<br>\n"),
    );
    if !rows.is_empty() {
        page += &rows_table(rows, servers);
    }
    page += &section("Distribution of times", rows.iter().filter_map(|row| distribution(row, servers)));
    page += &section("How cost grows", sweeps.iter().map(|swept| growth(swept, servers)));
    page += &list("What went wrong", &table::faults(comparison.outcomes()));
    page += &list("What the generator had to say", &table::remarks(comparison.outcomes()));
    page + "</body>\n</html>\n"
}

/// Lines below a headline; nothing if there are none.
fn list(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items: String = lines.iter().map(|line| format!("<li>{}</li>\n", escape(line))).collect();
    format!("<h2>{title}</h2>\n<ul>\n{items}</ul>\n")
}

/// Charts below a headline; nothing if there are none.
fn section(title: &str, charts: impl Iterator<Item = Chart>) -> String {
    let figures: String = charts
        .filter_map(|chart| {
            let svg = chart.svg()?;
            Some(format!(
                "<figure><figcaption>{}</figcaption>\n{svg}</figure>\n",
                escape(&chart.title)
            ))
        })
        .collect();
    if figures.is_empty() {
        return String::new();
    }
    format!("<h2>{title}</h2>\n<div class=\"charts\">\n{figures}</div>\n")
}

fn rows_table(rows: &[Outcome], servers: &[Peer]) -> String {
    let heads = table::heads(servers)
        .iter()
        .map(|head| format!("<th>{}</th>", escape(head)))
        .collect::<String>();
    let mut html = format!("<div class=\"wide\"><table>\n<tr>{heads}</tr>\n");
    for row in rows {
        for figure in &row.figures {
            let mut cells = format!("<td>{}</td><td>{}</td>", escape(&table::title(row, figure)), escape(&figure.unit));
            for peer in servers {
                cells += &format!("<td>{}</td>", escape(&table::cell(row, figure, *peer)));
            }
            for peer in servers.iter().skip(1) {
                let ratio = figure.ratios.get(peer).map_or_else(|| "-".to_owned(), |ratio| number(ratio.median));
                cells += &format!("<td>{ratio}</td>");
            }
            let class = match figure.target.as_ref().and_then(|target| target.met) {
                Some(true) => "met",
                Some(false) => "missed",
                None => "none",
            };
            let verdict = figure.target.as_ref().map_or_else(|| "-".to_owned(), table::verdict);
            html += &format!("<tr>{cells}<td class=\"{class}\">{}</td></tr>\n", escape(&verdict));
        }
    }
    html + "</table></div>\n"
}

/// The percentile curves of a row; `None` if its times are nobody's figure.
fn distribution(row: &Outcome, servers: &[Peer]) -> Option<Chart> {
    let points = |curve: &Vec<(f64, f64)>| -> Vec<Point> {
        // A time of less than a microsecond was none.
        let drawn = curve.iter().filter(|(_, ms)| *ms > 0.0);
        drawn.map(|&(x, y)| Point { x, y, spread: None }).collect()
    };
    let lines: Vec<_> = servers
        .iter()
        .filter_map(|peer| Some((peer, row.curves.get(peer)?)))
        .map(|(peer, curve)| Line {
            name: peer.name(),
            points: points(curve),
            marked: false,
        })
        .collect();
    (!lines.is_empty()).then(|| Chart {
        title: row.title.clone(),
        x: Axis {
            label: "share of all at or below".to_owned(),
            scale: Scale::Quantile,
        },
        y: Axis {
            label: "milliseconds".to_owned(),
            scale: Scale::Logarithmic,
        },
        lines,
    })
}

fn growth(swept: &Swept, servers: &[Peer]) -> Chart {
    let point = |at: u32, outcome: &Outcome, peer: &Peer| {
        let spread = outcome.figures.first()?.servers.get(peer)?;
        Some(Point {
            x: f64::from(at),
            y: spread.median,
            spread: (spread.runs > 1 && spread.min > 0.0).then_some((spread.min, spread.max)),
        })
        .filter(|point| point.y > 0.0)
    };
    let unit = swept
        .steps
        .iter()
        .find_map(|(_, outcome)| outcome.figures.first())
        .map(|figure| figure.unit.clone());
    Chart {
        title: swept.title.to_owned(),
        x: Axis {
            label: swept.axis.to_owned(),
            scale: Scale::Logarithmic,
        },
        y: Axis {
            label: unit.unwrap_or_default(),
            scale: Scale::Logarithmic,
        },
        lines: servers
            .iter()
            .map(|peer| Line {
                name: peer.name(),
                points: swept.steps.iter().filter_map(|(at, outcome)| point(*at, outcome, peer)).collect(),
                marked: true,
            })
            .collect(),
    }
}

/// Text within HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::outcome::tests::outcome;

    #[test]
    fn the_page_has_the_table_the_curves_the_sweeps_and_what_went_wrong_and_names_nothing_outside_it() {
        let comparison = Comparison {
            servers: vec![Peer::Fanfare, Peer::Node, Peer::Socketioxide, Peer::Floor],
            rows: vec![outcome()],
            sweeps: vec![Swept {
                name: "connections",
                title: "CPU & connections",
                axis: "connections",
                steps: vec![(100, outcome()), (1000, outcome())],
            }],
            ..Comparison::default()
        };
        let page = page(&comparison);
        for wanted in [
            "<td>2.50 [2.00-3.00]</td>",
            "<td>5.00 [4.00-6.00] (lost)</td>",
            "<td class=\"none\">&lt;= 0.333 of socketioxide: 0.500, not clean</td>",
            "<figcaption>CPU &amp; connections</figcaption>",
            ">share of all at or below</text>",
            ">us CPU per delivery</text>",
            "socketioxide: run 1: 3 lost</li>",
            "fanfare: run 1: the generator was saturated</li>",
        ] {
            assert!(page.contains(wanted), "{wanted} in {page}");
        }
        assert_eq!(page.matches("<svg ").count(), 2);
        // Two servers were measured, in two charts, each named in its legend.
        assert_eq!(page.matches("class=\"line fanfare\"").count(), 4);
        for outside in ["http", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside} in {page}");
        }
    }
}
