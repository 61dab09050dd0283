//! The command line.

use std::{num::NonZeroUsize, time::Duration};

use clap::{Args as Group, Parser, Subcommand};

/// A load generator for Socket.IO servers.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Args {
    /// What is done to the servers.
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// What is done to the servers.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// A few publish at a rate, every connection receives every message.
    ///
    /// The servers must send what a client emits as EVENT to all clients of all nodes, the sender too (in fanfare: the rule
    /// `event = "msg", action = "emit"`). Exits with 1 when a message was lost, with 69 when the run could not be made.
    Fanout(Fanout),
}

/// `fanfare-load fanout`
#[derive(Debug, Group)]
pub(crate) struct Fanout {
    /// Servers, as http://HOST:PORT, separated by commas; connections and publishers are dealt to them in turn.
    #[arg(long, value_delimiter = ',', required = true, value_parser = target)]
    pub(crate) targets: Vec<String>,
    /// Receiving connections.
    #[arg(long, default_value = "100")]
    pub(crate) connections: NonZeroUsize,
    /// Publishing connections; they receive nothing that is counted.
    #[arg(long, default_value = "1")]
    pub(crate) publishers: NonZeroUsize,
    /// Messages a second, all publishers together. A message that cannot be sent in time is sent late and counted as overrun.
    #[arg(long, default_value = "100", value_parser = rate)]
    pub(crate) rate: f64,
    /// Seconds for which messages are published.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Bytes of a message's one argument, at least 48.
    #[arg(long, default_value = "128", value_parser = clap::value_parser!(u32).range(48..=1_000_000))]
    pub(crate) size: u32,
    /// The event that is emitted and awaited.
    #[arg(long, default_value = "msg")]
    pub(crate) event: String,
    /// Handshakes under way at the same time.
    #[arg(long, default_value = "64")]
    pub(crate) handshakes: NonZeroUsize,
    /// How long stragglers are awaited after the last message was sent, in seconds without any arrival.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub(crate) patience: Duration,
    /// Processes of the servers (and their backend): their CPU time is read from /proc.
    #[arg(long, value_delimiter = ',')]
    pub(crate) server_pids: Vec<u32>,
    /// Prints the result as one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

fn target(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("ws://"));
    match rest.map(|rest| rest.trim_end_matches('/')) {
        Some(address) if !address.is_empty() && !address.contains('/') => Ok(address.to_owned()),
        _ => Err("expected http://HOST:PORT".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && (0.01..=1e6).contains(&rate) => Ok(rate),
        _ => Err("expected messages a second, 0.01 to 1000000".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.trim_end_matches('s').parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && (0.1..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds, 0.1 to 86400".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_as_the_readme_has_it_parses() {
        let args = Args::try_parse_from(
            "fanfare-load fanout --targets http://127.0.0.1:1,http://[::1]:2/ --connections 9 --rate 2.5 --duration 3 --json".split(' '),
        )
        .unwrap();
        let Scenario::Fanout(fanout) = args.scenario;
        assert_eq!(fanout.targets, ["127.0.0.1:1", "[::1]:2"]);
        assert_eq!(fanout.duration, Duration::from_secs(3));
        assert!(fanout.json);
    }

    #[test]
    fn a_target_that_is_no_server_and_a_rate_of_nothing_are_refused() {
        for wrong in [
            "--targets 127.0.0.1:1",
            "--targets http://a/b",
            "--targets http://a:1 --rate 0",
            "--targets http://a:1 --size 9",
        ] {
            assert!(
                Args::try_parse_from(format!("fanfare-load fanout {wrong}").split(' ')).is_err(),
                "{wrong}"
            );
        }
    }
}
