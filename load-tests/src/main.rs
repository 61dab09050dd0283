//! `fanfare-load`: a load generator for Socket.IO servers.
//!
//! | room | what it does |
//! |---|---|
//! | `args` | the command line |
//! | `client` | one Socket.IO client over polling, WebSocket, or the one and then the other |
//! | `connect` | makes the connections of a run, and those that take the place of lost ones |
//! | `deliveries` | what the scenarios share in which messages are delivered |
//! | `fanout` | the scenario: a few publish, everybody receives |
//! | `rooms` | the scenario: everybody is in a room, publishes into it, and receives what is published there |
//! | `echo` | the scenario: everybody emits events with an ack, the next when an ack has come |
//! | `compare` | measures servers against each other by the scenarios |
//! | `cpu`, `memory` | CPU time and memory of processes, from `/proc` |
//! | `latency` | distributions of times |
//! | `report` | what a run showed: for people, as JSON and CSV, against bounds |
//! | `progress` | shows on a terminal how far a run is |
//! | `server` | the server's side of one session, for tests |

mod args;
mod client;
mod compare;
mod connect;
mod cpu;
mod deliveries;
mod echo;
mod fanout;
mod latency;
mod memory;
mod progress;
mod report;
mod rooms;
#[cfg(test)]
mod server;

use std::{fmt::Display, future::Future, process::ExitCode};

use args::{Args, Connecting, Scenario};
use report::{Findings, Report};

#[tokio::main]
async fn main() -> ExitCode {
    // A client may have two connections to each target. If the limit stays, the connections that are too many are refused with the reason.
    drop(rlimit::increase_nofile_limit(u64::MAX));
    match Args::read().scenario {
        Scenario::Fanout(args) => carry_out(&args.connecting, fanout::run(&args)).await,
        Scenario::Rooms(args) => carry_out(&args.connecting, rooms::run(&args)).await,
        Scenario::Echo(args) => carry_out(&args.connecting, echo::run(&args)).await,
        Scenario::Compare(args) => compare::carry_out(&args).await,
    }
}

/// Makes a run and tells what it showed; ends the process before if that could not be told as asked.
async fn carry_out<F: Findings>(args: &Connecting, run: impl Future<Output = Result<Report<F>, impl Display>>) -> ExitCode {
    let reporting = &args.reporting;
    if let Err(message) = report::check::<F>(reporting, args.server_pids.len()) {
        Args::refuse(&message);
    }
    report::conclude(run.await, reporting)
}
