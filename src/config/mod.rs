//! Configuration: one table of keys, three places where a value may stand, and every mistake reported at once.
//!
//! A key is declared once, in `settings`: its path, its form, its default and its documentation. From that declaration come the
//! typed value, the key of the file, the `FANFARE_…` variable, the commented file of `fanfare config default`, and the texts of
//! mistakes. A flag wins over a variable, a variable over the file, the file over the default; all of them are checked, also those that
//! lose.
//!
//! This is an own table over the `toml` crate because a newcomer with five typing errors should run the binary twice, not six times:
//! the layered-config crates (figment, config, confique) stop at the first error of a source, so none of them can list all mistakes with
//! file and line.
//!
//! Configuration as typed (`Settings`) and as used ([`Config`]) are two types. Nothing here reads the process environment or the
//! configuration file: [`Sources`] are values, so tests need neither. (Files that keys name, such as certificates, are looked at.)

mod checks;
mod default_file;
mod document;
mod forms;
mod mistakes;
mod namespaces;
mod reader;
mod settings;
mod sources;
mod suggest;
mod used;

pub use default_file::default_file;
pub use mistakes::{Mistake, Mistakes, Place};
pub use reader::{Loaded, SetKey};
pub use sources::{File, Flag, Sources};
pub use used::{AdapterConfig, Config};

#[cfg(test)]
mod checks_tests;
#[cfg(test)]
mod login_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod used_tests;
