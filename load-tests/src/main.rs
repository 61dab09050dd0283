//! `fanfare-load`: a load generator for Socket.IO servers.
//!
//! | room | what it does |
//! |---|---|
//! | `args` | the command line |
//! | `client` | one Socket.IO client over polling, WebSocket, or the one and then the other |
//! | `connect` | makes the connections of a run, and those that take the place of lost ones |
//! | `deliveries` | what the scenarios share in which messages are delivered |
//! | `failures` | why connections were not made, or have ended |
//! | `threads` | the threads that clients live on |
//! | `fanout` | the scenario: a few publish, everybody receives |
//! | `rooms` | the scenario: everybody is in a room, publishes into it, and receives what is published there |
//! | `echo` | the scenario: everybody emits events with an ack, the next when an ack has come |
//! | `compare` | measures servers against each other by the scenarios |
//! | `idle` | the scenario: connections do nothing |
//! | `churn` | the scenario: clients come at a rate, stay for a while, and go |
//! | `storm` | the scenario: all connections are cut at once, and come back |
//! | `jitter` | the scenario: a fan-out to clients that are cut again and again |
//! | `keep` | keeps a client connected while something else goes on, and cuts it |
//! | `run` | why a run could not be made |
//! | `cpu`, `memory` | CPU time and memory of processes, from `/proc` |
//! | `latency` | distributions of times |
//! | `report` | what a run showed: for people, as JSON and CSV, against bounds |
//! | `progress` | shows on a terminal how far a run is |
//! | `server` | the server's side of one session, for tests |

mod args;
mod churn;
mod client;
mod compare;
mod connect;
mod cpu;
mod deliveries;
mod echo;
mod failures;
mod fanout;
mod idle;
mod jitter;
mod keep;
mod latency;
mod memory;
mod progress;
mod report;
mod rooms;
mod run;
#[cfg(test)]
mod server;
mod storm;
mod threads;

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
        Scenario::Idle(args) => carry_out(&args.connecting, idle::run(&args)).await,
        Scenario::Churn(args) => carry_out(&args.connecting, churn::run(&args)).await,
        Scenario::Storm(args) => carry_out(&args.connecting, storm::run(&args)).await,
        Scenario::Jitter(args) => carry_out(&args.fanout.connecting, jitter::run(&args)).await,
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
