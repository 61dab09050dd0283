//! The binary `fanfare`: a node of a clustered Socket.IO broker.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
