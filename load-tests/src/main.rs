//! `fanfare-load`: a load generator for Socket.IO servers.
//!
//! | room | what it does |
//! |---|---|
//! | `args` | the command line |
//! | `client` | one Socket.IO client over WebSocket |
//! | `fanout` | the scenario: a few publish, everybody receives |
//! | `message` | what a published message carries: publisher, sequence number, time |
//! | `tally` | counts lost, repeated and overtaken messages of one receiver |
//! | `cpu` | CPU time of processes, from `/proc` |
//! | `report` | the result, for people and as JSON |

mod args;
mod client;
mod cpu;
mod fanout;
mod message;
mod report;
mod tally;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Scenario};

/// Exit code of a run in which a message was lost.
const LOST: u8 = 1;
/// Exit code of a run that could not be made (sysexits `EX_UNAVAILABLE`).
const FAILED: u8 = 69;

#[tokio::main]
async fn main() -> ExitCode {
    let Scenario::Fanout(fanout) = Args::parse().scenario;
    match fanout::run(&fanout).await {
        Ok(report) => {
            if fanout.json {
                println!("{}", report.json());
            } else {
                print!("{report}");
            }
            if report.lost > 0 { ExitCode::from(LOST) } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("fanfare-load: {error}");
            ExitCode::from(FAILED)
        }
    }
}
