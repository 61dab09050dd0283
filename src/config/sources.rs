//! Where values come from, as plain values.

use std::ffi::OsString;

/// Everything that says what a node is.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The configuration file, if there is one.
    pub file: Option<File>,
    /// The environment; only names beginning with `FANFARE_` are looked at.
    pub variables: Vec<(OsString, OsString)>,
    /// Flags of the command line; they win over everything.
    pub flags: Vec<Flag>,
}

/// A configuration file that was read.
#[derive(Debug, Clone)]
pub struct File {
    /// The name that mistakes are reported under.
    pub name: String,
    /// The TOML text.
    pub text: String,
}

/// A flag of the command line that stands for a key.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The flag as it is typed, for example `--listen`.
    pub name: &'static str,
    /// The key that it sets, for example `server.listen`.
    pub key: &'static str,
    /// What the person typed.
    pub value: String,
}
