//! Where a report goes.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use clap::Args as Group;

use super::{flat::Cell, threshold::Threshold};

/// What every scenario says of its report.
#[derive(Debug, Group)]
pub(crate) struct Reporting {
    /// Prints the result as one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Prints the result as CSV: a line of names and a line of values; or adds it to FILE, with the names if that is new. A file that has
    /// other names is refused before the run begins.
    ///
    /// Names are those of JSON; what is in a group there has the group's name first and its unit last: latency_p99_ms. Lists are
    /// only in JSON, but for those of each server's process.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = false)]
    pub(crate) csv: Option<Option<PathBuf>>,
    /// Makes the exit code 3 if this holds at the end: a name of --csv, one of < <= > >= == !=, and a number, as latency_p99_ms>50 or
    /// server_cpu_us_per_delivery>8. Yes is 1 there: own_saturated>0. May be given more than once; what holds is told.
    #[arg(long, value_name = "BOUND")]
    pub(crate) fail_if: Vec<Threshold>,
}

impl Reporting {
    /// Looks whether what is asked for can be had of a report like `blank`.
    ///
    /// # Errors
    /// What cannot.
    pub(super) fn check(&self, blank: &[(String, Cell)]) -> Result<(), String> {
        if self.json && self.csv == Some(None) {
            return Err("--json and --csv both print: give --csv a FILE, or leave one of them out".to_owned());
        }
        for threshold in &self.fail_if {
            threshold.check(blank)?;
        }
        let Some(Some(path)) = &self.csv else { return Ok(()) };
        match begins(path).map_err(|error| format!("--csv {}: {error}", path.display()))? {
            Some(line) if line != names(blank) => Err(format!(
                "--csv {}: its first line has other names than this run has; expected a new file, or one of the same scenario and as many \
                 --server-pids",
                path.display()
            )),
            _ => Ok(()),
        }
    }

    /// Adds to the file, if there is one.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn append(&self, report: &[(String, Cell)]) -> Result<(), String> {
        let Some(Some(path)) = &self.csv else { return Ok(()) };
        append(path, report).map_err(|error| format!("--csv {}: {error}", path.display()))
    }
}

/// Both lines.
pub(super) fn csv(report: &[(String, Cell)]) -> String {
    format!("{}\n{}\n", names(report), values(report))
}

fn names(report: &[(String, Cell)]) -> String {
    let names: Vec<_> = report.iter().map(|(name, _)| name.as_str()).collect();
    names.join(",")
}

fn values(report: &[(String, Cell)]) -> String {
    let values: Vec<_> = report.iter().map(|(_, cell)| cell.field()).collect();
    values.join(",")
}

/// The first line of a file; `None` if there is no file or nothing in it.
fn begins(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut line = String::new();
    BufReader::new(file).read_line(&mut line)?;
    Ok((!line.is_empty()).then(|| line.trim_end().to_owned()))
}

fn append(path: &Path, report: &[(String, Cell)]) -> io::Result<()> {
    let text = match begins(path)? {
        Some(_) => format!("{}\n", values(report)),
        None => csv(report),
    };
    OpenOptions::new().create(true).append(true).open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lost: f64) -> Vec<(String, Cell)> {
        let cells = [("first_end", Cell::Text("a, b".to_owned())), ("lost", Cell::Number(lost))];
        cells.map(|(name, cell)| (name.to_owned(), cell)).into()
    }

    fn to(path: &Path) -> Reporting {
        Reporting {
            json: false,
            csv: Some(Some(path.to_owned())),
            fail_if: Vec::new(),
        }
    }

    #[test]
    fn a_file_gets_the_names_once_and_each_run_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let reporting = to(&directory.path().join("runs.csv"));
        for lost in [0.0, 3.0] {
            reporting.check(&report(0.0)).unwrap();
            reporting.append(&report(lost)).unwrap();
        }
        let written = std::fs::read_to_string(directory.path().join("runs.csv")).unwrap();
        assert_eq!(written, "first_end,lost\n\"a, b\",0\n\"a, b\",3\n");
        assert_eq!(csv(&report(3.0)), "first_end,lost\n\"a, b\",3\n");
    }

    #[test]
    fn a_file_of_other_runs_and_one_that_cannot_be_are_refused_before_the_run() {
        let directory = tempfile::tempdir().unwrap();
        let other = directory.path().join("other.csv");
        std::fs::write(&other, "something,else\n1,2\n").unwrap();
        assert!(to(&other).check(&report(0.0)).unwrap_err().contains("other names"));
        // A directory.
        assert!(to(directory.path()).check(&report(0.0)).is_err());
    }
}
