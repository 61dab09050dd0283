//! `fanfare-load`: a load generator for Socket.IO servers.
//!
//! | room | what it does |
//! |---|---|
//! | `args` | the command line |
//! | `client` | one Socket.IO client over polling, WebSocket, or the one and then the other |
//! | `connect` | makes the connections of a run, and those that take the place of lost ones |
//! | `fanout` | the scenario: a few publish, everybody receives |
//! | `echo` | the scenario: everybody emits events with an ack, the next when an ack has come |
//! | `cpu` | CPU time of processes, from `/proc` |
//! | `latency` | distributions of times |
//! | `progress` | shows on a terminal how far a run is |
//! | `server` | the server's side of one session, for tests |

mod args;
mod client;
mod connect;
mod cpu;
mod echo;
mod fanout;
mod latency;
mod progress;
#[cfg(test)]
mod server;

use std::{fmt::Display, process::ExitCode};

use serde::Serialize;

use args::{Args, Scenario};

/// Exit code of a run in which something was lost, repeated, swapped or wrong.
const FLAWED: u8 = 1;
/// Exit code of a run that could not be made (sysexits `EX_UNAVAILABLE`).
const FAILED: u8 = 69;

#[tokio::main]
async fn main() -> ExitCode {
    // A client may have two connections to each target. If the limit stays, the connections that are too many are refused with the reason.
    drop(rlimit::increase_nofile_limit(u64::MAX));
    match Args::read().scenario {
        Scenario::Fanout(args) => {
            let report = fanout::run(&args).await;
            conclude(report, args.connecting.json, |report| {
                report.lost + report.duplicate + report.out_of_order == 0 && (report.disconnected == 0 || !args.connecting.reconnect)
            })
        }
        Scenario::Echo(args) => {
            let report = echo::run(&args).await;
            conclude(report, args.connecting.json, |report| {
                report.lost + report.unexpected + report.wrong == 0 && (report.disconnected == 0 || !args.connecting.reconnect)
            })
        }
    }
}

/// Prints a report; the exit code.
fn conclude<R: Display + Serialize>(report: Result<R, impl Display>, json: bool, good: impl Fn(&R) -> bool) -> ExitCode {
    match report {
        Ok(report) => {
            if json {
                println!("{}", serde_json::json!(report));
            } else {
                print!("{report}");
            }
            if good(&report) { ExitCode::SUCCESS } else { ExitCode::from(FLAWED) }
        }
        Err(error) => {
            eprintln!("fanfare-load: {error}");
            ExitCode::from(FAILED)
        }
    }
}
