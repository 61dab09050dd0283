//! How the process ends.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | it did what was asked; a node: it was told to stop and has stopped |
//! | 1 | something outside failed, for example an address is in use |
//! | 64 | the command line or the configuration has mistakes (`EX_USAGE` of sysexits) |
//! | 128 + n | a second signal n ended it at once |

use std::{error::Error, process::ExitCode};

use fanfare::config::Mistakes;

/// The command line or the configuration has mistakes.
pub(super) const USAGE: u8 = 64;

/// Why a command failed, as it is told on stderr.
#[derive(Debug)]
pub(super) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// Something outside failed.
    pub(super) fn new(doing: &str, error: impl Error) -> Self {
        Self {
            code: 1,
            text: format!("{doing}: {}", chain(&error)),
        }
    }

    /// Something outside failed, and the error says what was tried.
    pub(super) fn of(error: impl Error) -> Self {
        Self {
            code: 1,
            text: chain(&error),
        }
    }

    /// Tells it on stderr.
    pub(super) fn report(self) -> ExitCode {
        eprintln!("fanfare: {}", self.text.trim_end());
        self.code.into()
    }
}

impl From<Mistakes> for Failure {
    fn from(mistakes: Mistakes) -> Self {
        Self {
            code: USAGE,
            text: mistakes.to_string(),
        }
    }
}

/// An error with what caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
