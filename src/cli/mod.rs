//! The command line: what a person or an orchestrator can ask of the binary.
//!
//! The only reader of the process environment and of the configuration file, and the place where everything is composed.

mod config;
mod demo;
mod emit;
mod exit;
mod flags;
mod serve;
mod signals;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand, error::ErrorKind};

use self::{demo::DemoFlags, emit::EmitFlags, exit::Failure, flags::NodeFlags};

/// A clustered Socket.IO broker: an emit on any node reaches the clients of every node.
#[derive(Debug, Parser)]
#[command(name = "fanfare", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a node, until SIGTERM or SIGINT; a second one ends it at once
    Serve(NodeFlags),
    /// Prints or checks a configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Sends one event to the sockets of a running cluster
    Emit(EmitFlags),
    /// Runs three nodes in this process, each with a page that shows what they do
    Demo(DemoFlags),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints the configuration file with every key at its default and what it means
    Default,
    /// Reports every mistake of a configuration, or what it sets; starts nothing
    Check(NodeFlags),
}

/// Parses the command line and does what it says.
pub(crate) fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let outcome = match cli.command {
        Command::Serve(flags) => serve::run(&flags),
        Command::Config(ConfigCommand::Default) => config::default(),
        Command::Config(ConfigCommand::Check(flags)) => config::check(&flags),
        Command::Emit(flags) => emit::run(&flags),
        Command::Demo(flags) => demo::run(&flags),
    };
    outcome.unwrap_or_else(Failure::report)
}

/// Prints what clap has to say: help and version were asked for, everything else is a mistake.
fn usage(error: &clap::Error) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    match error.print() {
        Ok(()) if asked => ExitCode::SUCCESS,
        _ => exit::USAGE.into(),
    }
}

/// Prints what was asked for.
fn print(text: &str) -> Result<ExitCode, Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // Whoever reads stopped early, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(Failure::new("cannot write to stdout", error)),
    }
}

/// A runtime for a command that serves. Each client takes a file descriptor, so the process asks for all that it may have: the limit
/// that a shell or a service starts it with is often 1024, far below the one that it is allowed to set itself.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    // Refused, it serves fewer clients; the accept loop says so when it comes to that.
    drop(rlimit::increase_nofile_limit(u64::MAX));
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start the runtime", error))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mistakes_of_the_command_line_are_64_and_help_is_not() {
        let code = |words: &[&str]| format!("{:?}", usage(&Cli::try_parse_from(words).unwrap_err()));
        assert_eq!(
            code(&["fanfare", "serve", "--lissten", "x"]),
            format!("{:?}", ExitCode::from(exit::USAGE))
        );
        assert_eq!(code(&["fanfare", "dance"]), format!("{:?}", ExitCode::from(exit::USAGE)));
        assert_eq!(code(&["fanfare", "--version"]), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(code(&["fanfare", "serve", "--help"]), format!("{:?}", ExitCode::SUCCESS));
    }
}
