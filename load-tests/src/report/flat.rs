//! A report as a list of names and values: what `--csv` prints, and what `--fail-if` compares.

use serde::Serialize;
use serde_json::Value;

/// What stands under one name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    /// A number; yes is 1, no is 0.
    Number(f64),
    /// A word.
    Text(String),
    /// Nothing is known.
    Unknown,
}

/// The values of a report, by name and in the order of the names. What is in a group has the name of the group first, and the unit last:
/// `latency_p99_ms`. What is told of each process has its number behind it: `server_rss_kib_by_pid_1`. Other lists have no place here: how
/// long they are is not known before the run.
pub(super) fn flatten(report: &impl Serialize) -> Vec<(String, Cell)> {
    let mut cells = Vec::new();
    add(String::new(), &serde_json::json!(report), &mut cells);
    cells.sort_by(|(one, _), (other, _)| one.cmp(other));
    cells
}

fn add(name: String, value: &Value, cells: &mut Vec<(String, Cell)>) {
    match value {
        Value::Object(members) if name.is_empty() => members.iter().for_each(|(member, value)| add(member.clone(), value, cells)),
        Value::Object(members) => {
            let (group, unit) = name.strip_suffix("_ms").map_or((name.as_str(), ""), |group| (group, "_ms"));
            members
                .iter()
                .for_each(|(member, value)| add(format!("{group}_{member}{unit}"), value, cells));
        }
        Value::Array(items) if name.ends_with("_by_pid") => {
            let numbered = (1..).zip(items);
            numbered.for_each(|(number, item)| add(format!("{name}_{number}"), item, cells));
        }
        Value::Array(_) => {}
        Value::Null => cells.push((name, Cell::Unknown)),
        Value::Bool(yes) => cells.push((name, Cell::Number(f64::from(u8::from(*yes))))),
        Value::Number(number) => cells.push((name, number.as_f64().map_or(Cell::Unknown, Cell::Number))),
        Value::String(text) => cells.push((name, Cell::Text(text.clone()))),
    }
}

impl Cell {
    /// As a field of a CSV file (RFC 4180).
    pub(super) fn field(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) if text.contains(['"', ',', '\n', '\r']) => format!("\"{}\"", text.replace('"', "\"\"")),
            Self::Text(text) => text.clone(),
            Self::Unknown => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_give_their_name_and_processes_their_number() {
        let report = json!({
            "lost": 3, "transport": "polling", "own_saturated": true, "server_cpu_us_per_ack": null,
            "latency_ms": { "p50": 1.5, "max": 2.0 },
            "failures": { "refused": 2 },
            "rss_by_pid": [7, null],
            "latency_curve_ms": [[0.5, 1.5]],
            "all_back_ms_by_round": [3.0, 4.0],
            "refusals": [{ "status": 503, "count": 2 }],
        });
        let flat = flatten(&report);
        let wanted = [
            ("failures_refused", Cell::Number(2.0)),
            ("latency_max_ms", Cell::Number(2.0)),
            ("latency_p50_ms", Cell::Number(1.5)),
            ("lost", Cell::Number(3.0)),
            ("own_saturated", Cell::Number(1.0)),
            ("rss_by_pid_1", Cell::Number(7.0)),
            ("rss_by_pid_2", Cell::Unknown),
            ("server_cpu_us_per_ack", Cell::Unknown),
            ("transport", Cell::Text("polling".to_owned())),
        ];
        assert_eq!(flat, wanted.map(|(name, cell)| (name.to_owned(), cell)));
    }

    #[test]
    fn a_field_that_would_break_the_line_is_quoted() {
        let field = |text: &str| Cell::Text(text.to_owned()).field();
        assert_eq!(field("closed"), "closed");
        assert_eq!(
            field("HTTP status 503: \"busy\", later"),
            "\"HTTP status 503: \"\"busy\"\", later\""
        );
        assert_eq!(
            (Cell::Number(3.0).field(), Cell::Number(0.25).field(), Cell::Unknown.field()),
            ("3".to_owned(), "0.25".to_owned(), String::new())
        );
    }
}
