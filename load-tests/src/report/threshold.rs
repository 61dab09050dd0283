//! Bounds that a run must keep: `--fail-if 'latency_p99_ms>50'`.

use std::{fmt, str::FromStr};

use super::flat::Cell;

/// A bound on one of the numbers of a report.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Threshold {
    name: String,
    comparison: Comparison,
    bound: f64,
}

/// How a number is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

/// The longer ones come first: `<=` begins with `<`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected NAME>NUMBER, with a name as in --csv, and <, <=, >, >=, == or !=";
        let at = text.find(['<', '>', '=', '!']).ok_or(expected)?;
        let (name, rest) = text.split_at_checked(at).ok_or(expected)?;
        let (comparison, bound) = COMPARISONS
            .iter()
            .find_map(|(sign, comparison)| Some((*comparison, rest.strip_prefix(sign)?)))
            .ok_or(expected)?;
        let bound = bound.trim().parse().ok().filter(|bound: &f64| bound.is_finite()).ok_or(expected)?;
        let name = name.trim();
        if name.is_empty() {
            return Err(expected.to_owned());
        }
        Ok(Self {
            name: name.to_owned(),
            comparison,
            bound,
        })
    }
}

impl Threshold {
    /// Looks whether a report that is not filled in yet has such a number.
    ///
    /// # Errors
    /// What is wrong with the name, and which one may have been meant.
    pub(super) fn check(&self, blank: &[(String, Cell)]) -> Result<(), String> {
        let name = &self.name;
        match blank.iter().find(|(known, _)| known == name) {
            Some((_, Cell::Number(_))) => Ok(()),
            Some((_, Cell::Unknown)) => Err(format!(
                "--fail-if {self}: {name} is unknown in such a run; what is told of servers needs --server-pids"
            )),
            Some((_, Cell::Text(_))) => Err(format!("--fail-if {self}: {name} is no number")),
            None => {
                let numbers = blank.iter().filter(|(_, cell)| !matches!(cell, Cell::Text(_)));
                let near = numbers.max_by(|(one, _), (other, _)| likeness(name, one).total_cmp(&likeness(name, other)));
                let hint = near.map_or_else(String::new, |(near, _)| format!("; did you mean {near}?"));
                Err(format!("--fail-if {self}: the report of this scenario has no number {name}{hint}"))
            }
        }
    }

    /// What is to be said if the report breaks it. What is unknown at the end, as of a server that has died, keeps no bound.
    pub(super) fn broken(&self, report: &[(String, Cell)]) -> Option<String> {
        let Some((_, Cell::Number(number))) = report.iter().find(|(name, _)| *name == self.name) else {
            return Some(format!("--fail-if {self}: {} is unknown", self.name));
        };
        self.holds(*number).then(|| format!("--fail-if {self}: {} is {number}", self.name))
    }

    fn holds(&self, number: f64) -> bool {
        match self.comparison {
            Comparison::Less => number < self.bound,
            Comparison::LessOrEqual => number <= self.bound,
            #[expect(clippy::float_cmp, reason = "that is what was asked for")]
            Comparison::Equal => number == self.bound,
            #[expect(clippy::float_cmp, reason = "that is what was asked for")]
            Comparison::NotEqual => number != self.bound,
            Comparison::GreaterOrEqual => number >= self.bound,
            Comparison::Greater => number > self.bound,
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = COMPARISONS.iter().find(|(_, comparison)| *comparison == self.comparison);
        write!(f, "{}{}{}", self.name, sign.map_or("", |(sign, _)| sign), self.bound)
    }
}

fn likeness(one: &str, other: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(one, other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn threshold(text: &str) -> Threshold {
        text.parse().unwrap()
    }

    fn report() -> Vec<(String, Cell)> {
        let cells = [
            ("latency_p99_ms", Cell::Number(12.5)),
            ("lost", Cell::Number(0.0)),
            ("server_cpu_us_per_ack", Cell::Unknown),
            ("transport", Cell::Text("polling".to_owned())),
        ];
        cells.map(|(name, cell)| (name.to_owned(), cell)).into()
    }

    #[test]
    fn a_bound_is_broken_when_what_it_says_holds() {
        for (text, broken) in [
            ("latency_p99_ms>12", true),
            ("latency_p99_ms > 12.5", false),
            ("latency_p99_ms>=12.5", true),
            ("latency_p99_ms<12.5", false),
            ("latency_p99_ms<=12.5", true),
            ("lost==0", true),
            ("lost!=0", false),
        ] {
            assert_eq!(threshold(text).broken(&report()).is_some(), broken, "{text}");
        }
        assert_eq!(
            threshold("latency_p99_ms>12").broken(&report()).unwrap(),
            "--fail-if latency_p99_ms>12: latency_p99_ms is 12.5"
        );
    }

    #[test]
    fn what_is_unknown_at_the_end_keeps_no_bound() {
        let broken = threshold("server_cpu_us_per_ack>8").broken(&report());
        assert_eq!(
            broken.unwrap(),
            "--fail-if server_cpu_us_per_ack>8: server_cpu_us_per_ack is unknown"
        );
    }

    #[test]
    fn a_name_that_is_none_is_refused_with_the_one_that_is_nearest() {
        let refused = |text: &str| threshold(text).check(&report()).unwrap_err();
        assert!(threshold("lost>0").check(&report()).is_ok());
        assert!(refused("latency_p90_ms>1").ends_with("no number latency_p90_ms; did you mean latency_p99_ms?"));
        assert!(refused("los>0").ends_with("did you mean lost?"));
        assert!(refused("transport==1").ends_with("transport is no number"));
        assert!(refused("server_cpu_us_per_ack>8").contains("--server-pids"));
    }

    #[test]
    fn what_is_no_comparison_is_refused() {
        for wrong in [
            "lost", "lost>", ">3", "lost>x", "lost=>3", "lost=3", "lost>inf", "lost>NaN", "lost><3", "",
        ] {
            assert!(wrong.parse::<Threshold>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn of_each_two_opposites_one_is_broken(number in -5..5_i8, bound in -5..5_i8) {
            let report = [("n".to_owned(), Cell::Number(f64::from(number)))];
            for (one, other) in [("<", ">="), ("<=", ">"), ("==", "!=")] {
                let broken = [one, other].map(|sign| threshold(&format!("n{sign}{bound}")).broken(&report).is_some());
                prop_assert_ne!(broken[0], broken[1]);
            }
        }

        #[test]
        fn a_bound_reads_what_it_prints(bound in -1e9..1e9_f64, sign in 0..6_usize) {
            let text = format!("some_name{}{bound}", COMPARISONS[sign].0);
            prop_assert_eq!(threshold(&text).to_string(), text);
        }

        #[test]
        fn no_text_is_too_odd(text: String) {
            drop(text.parse::<Threshold>());
        }
    }
}
