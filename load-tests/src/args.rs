//! The command line.

use std::{
    num::{NonZeroU16, NonZeroUsize},
    time::Duration,
};

use clap::{Args as Group, CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::{client::Transport, compare::Compare, jitter::Law, keep::Cut, report::Reporting};

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
    /// A few publish at a rate or in a closed loop, every connection receives every message.
    ///
    /// The servers must send what a client emits as EVENT to all clients of all nodes, the sender too (in fanfare: the rule
    /// `event = "msg", action = "emit"`). Exits with 1 when a message was lost, came twice or after a later one of its publisher, or a
    /// receiver that had to come back was away at the end, with 3 when a bound of `--fail-if` was
    /// broken, with 69 when the run could not be made.
    Fanout(Fanout),
    /// Every connection is in one of some rooms, publishes into it, and receives every message that is published there.
    ///
    /// The servers must put a client that emits `join(room)` into that room, and send `pubroom(room, message)` to all who are in the
    /// room, on all nodes, the sender too, as `msg(message)`. Connection i is in room i mod ROOMS. Exits with 1 when a message was lost,
    /// came twice, after a later one of its publisher or to who is not in its room, or a client that had to come back was away at the
    /// end, with 3 when a bound of `--fail-if` was broken, with 69 when the run could not be made.
    Rooms(Rooms),
    /// Every connection emits events with an ack, the next when an ack has come.
    ///
    /// The servers must answer EVENT by an ack with the arguments that came (in fanfare: the rule `event = "echo", action = "ack"`).
    /// Exits with 1 when an ack was lost, wrong or unexpected (a second one, or of nothing that was emitted), or a client that had to come
    /// back was away at the end, with 3 when a bound of `--fail-if` was
    /// broken, with 69 when the run could not be made.
    Echo(Echo),
    /// Measures servers against each other by these scenarios, in turns, and prints medians and ratios.
    ///
    /// It builds and starts the servers of load-tests/peers (it needs cargo; npm and Node.js 20 for the reference server; redis-server for
    /// clusters), runs each scenario against each of them as often as there are `--rounds`, and reads their CPU time and memory, and that
    /// of the backend, from /proc. What a server could not do, or did wrong, is told in its place. Exits with 69 when no comparison could
    /// be made, with 130 when it was interrupted; all that it has started has ended then.
    Compare(Compare),
    /// Connections do nothing but answer pings.
    ///
    /// Any server will do. Tells the times of the handshakes, the servers' CPU time for each of them (from the first TCP connect to the last
    /// CONNECT answer), and, with `--server-pids`, memory for each connection and CPU time for each connection and second idle. Exits with 1
    /// when a client has no session at the end, with 69 when the run could not be made.
    Idle(Idle),
    /// Clients come at a rate, stay for a while, and go.
    ///
    /// Any server will do. Tells the times of the handshakes, the servers' CPU time for each connection, and their memory before and after.
    /// Exits with 1 when a connection was not made or ended before its time, with 69 when the run could not be made.
    Churn(Churn),
    /// All connections are cut at the same moment, and come back at once.
    ///
    /// Any server will do. Tells how long it takes until all are back, and why attempts failed. A client whose attempt fails tries again as
    /// stock clients do: after 1 to 3 s, then 2 to 5 s. Exits with 1 when some were not back within `--patience`, or a session ended without
    /// a storm, unless `--reconnect` allows for that; with 69 when the run could not be made.
    Storm(Storm),
    /// What a fan-out delivers to connections that are cut again and again, and stay away for a while.
    ///
    /// The servers must do as for `fanout`. Tells what was delivered and lost, and what was missed by who was away. With `--recover` clients
    /// ask for their session again (connection state recovery: in fanfare namespaces with `delivery = "recoverable"`, in the reference
    /// `connectionStateRecovery`), and nothing may be missing. Exits with 1 when a message was lost, came twice or out of order, with
    /// `--recover` also when one was missed or a session not given back, when a client was not back at the end, or when a session ended
    /// that was not cut, unless `--reconnect` allows for that; with 69 when the run could not be made.
    Jitter(Jitter),
}

/// What every scenario says of its connections.
#[derive(Debug, Group)]
pub(crate) struct Connecting {
    /// Servers, as http://HOST:PORT, separated by commas; connections are dealt to them in turn, from the first on.
    #[arg(long, value_delimiter = ',', required = true, value_parser = target)]
    pub(crate) targets: Vec<String>,
    /// How the connections reach the servers. Cookies that a balancer sets are sent back.
    #[arg(long, value_enum, default_value = "websocket")]
    pub(crate) transport: Transport,
    /// Sends each request of a client (each poll, each POST, the WebSocket of an upgrade) to the next of the targets, as a balancer does
    /// that knows nothing of sessions. A target that accepts no connection is passed over, a poll whose connection ends before the answer
    /// begins is sent again to the next one, and cookies are not sent back.
    ///
    /// Needs two targets or more, and a transport other than `websocket`, which is one request. With a balancer as the one target it is
    /// for the balancer to decide. Publishers whose `--publisher-targets` are only one stay there.
    #[arg(long)]
    pub(crate) no_affinity: bool,
    /// Connections that are counted.
    #[arg(long, default_value = "100")]
    pub(crate) connections: NonZeroUsize,
    /// Handshakes under way at the same time in the beginning; each is given 20 s, and an upgrade as long again.
    #[arg(long, default_value = "64")]
    pub(crate) handshakes: NonZeroUsize,
    /// Connections a second that are begun in the beginning at the most, 0.01 to 1000000 [default: as many as `--handshakes` allows].
    #[arg(long, value_parser = rate)]
    pub(crate) connect_rate: Option<f64>,
    /// Bytes of headers that browsers send (cookies, user agent), 18 to 65536, in the request that opens a session or a WebSocket, beside
    /// those that are needed.
    #[arg(long, default_value = "0", hide_default_value = true, value_parser = header_bytes)]
    pub(crate) header_bytes: u32,
    /// Makes a client whose session ends come back after 0.5 to 1.5 s, later after failed attempts (up to 5 s), to a target by chance.
    /// What it could not get between its sessions counts as missed, not as lost.
    #[arg(long)]
    pub(crate) reconnect: bool,
    /// Processes of the servers (and their backend), separated by commas: their CPU time and memory are read from /proc.
    #[arg(long, value_delimiter = ',')]
    pub(crate) server_pids: Vec<u32>,
    /// What becomes of the result.
    #[command(flatten)]
    pub(crate) reporting: Reporting,
}

/// `fanfare-load fanout`
#[derive(Debug, Group)]
pub(crate) struct Fanout {
    /// Where and how to connect.
    #[command(flatten)]
    pub(crate) connecting: Connecting,
    /// Publishing connections, dealt to the targets from the first on; they receive nothing that is counted, and a run ends with the
    /// session of any.
    #[arg(long, default_value = "1")]
    pub(crate) publishers: NonZeroUsize,
    /// Where the publishing connections go, as `--targets` [default: there]: past a balancer, say, to a server of its own.
    #[arg(long, value_delimiter = ',', value_parser = target)]
    pub(crate) publisher_targets: Vec<String>,
    /// How the publishing connections reach the servers [default: as the others].
    #[arg(long, value_enum)]
    pub(crate) publisher_transport: Option<Transport>,
    /// What is published, and when.
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// The event that publishers emit [default: as `--event`].
    #[arg(long)]
    pub(crate) publish_event: Option<String>,
}

/// What is published, and when.
#[derive(Debug, Group)]
pub(crate) struct Pace {
    /// Messages a second, all publishers together, 0.01 to 1000000. A message that cannot be sent in time is sent late and counted as
    /// overrun; over polling all that are due leave with the next POST.
    #[arg(long, default_value = "100", value_parser = rate)]
    pub(crate) rate: f64,
    /// Instead of a rate: messages under way at any time, all publishers together, 1 to 100000. When one has reached every receiver that
    /// has a session, the next one leaves at once, from the publisher whose turn it is; one that has not within `--patience` is given up,
    /// and its place used again. Latency is counted from the emit.
    #[arg(long, conflicts_with = "rate", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) in_flight: Option<u32>,
    /// Seconds for which messages are published, 0.1 to 86400.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Bytes of a message's one argument, 48 to 1000000.
    #[arg(long, default_value = "128", value_parser = clap::value_parser!(u32).range(48..=1_000_000))]
    pub(crate) size: u32,
    /// The event that is awaited.
    #[arg(long, default_value = "msg")]
    pub(crate) event: String,
    /// How long stragglers are awaited after the last message was sent, in seconds without any arrival, 0.1 to 86400; with `--in-flight`,
    /// how long each message may take.
    #[arg(long, default_value = "3", value_parser = seconds)]
    pub(crate) patience: Duration,
}

/// `fanfare-load rooms`
#[derive(Debug, Group)]
pub(crate) struct Rooms {
    /// Where and how to connect.
    #[command(flatten)]
    pub(crate) connecting: Connecting,
    /// What is published, and when.
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// Rooms, 1 to as many as there are connections.
    #[arg(long, default_value = "10")]
    pub(crate) rooms: NonZeroUsize,
    /// The event by which a client joins a room, its one argument.
    #[arg(long, default_value = "join")]
    pub(crate) join_event: String,
    /// The event by which a client publishes into a room: the room and the message.
    #[arg(long, default_value = "pubroom")]
    pub(crate) publish_event: String,
}

/// `fanfare-load echo`
#[derive(Debug, Group)]
pub(crate) struct Echo {
    /// Where and how to connect.
    #[command(flatten)]
    pub(crate) connecting: Connecting,
    /// Events whose ack is awaited at any time, of all connections together, which have their turns, 1 to 1000000 [default: as many as there
    /// are connections].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) in_flight: Option<u32>,
    /// Seconds for which events are emitted, 0.1 to 86400.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Bytes of an event's one argument, 16 to 1000000.
    #[arg(long, default_value = "128", value_parser = clap::value_parser!(u32).range(16..=1_000_000))]
    pub(crate) size: u32,
    /// The event that is emitted.
    #[arg(long, default_value = "echo")]
    pub(crate) event: String,
    /// Seconds after which an ack counts as lost, 0.1 to 86400.
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) patience: Duration,
}

/// `fanfare-load idle`
#[derive(Debug, Group)]
pub(crate) struct Idle {
    /// Where and how to connect.
    #[command(flatten)]
    pub(crate) connecting: Connecting,
    /// Seconds for which the connections stay, 0.1 to 86400.
    #[arg(long, default_value = "30", value_parser = seconds)]
    pub(crate) duration: Duration,
}

/// `fanfare-load churn`
#[derive(Debug, Group)]
pub(crate) struct Churn {
    /// Where and how to connect; `--connections` is how many there may be at a time: who finds no place comes late, and counts as overrun.
    #[command(flatten)]
    pub(crate) connecting: Connecting,
    /// Clients that come in a second, 0.01 to 1000000. One that cannot come in time comes late and is counted as overrun.
    #[arg(long, default_value = "50", value_parser = rate)]
    pub(crate) rate: f64,
    /// Seconds for which clients come, 0.1 to 86400.
    #[arg(long, default_value = "10", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Seconds for which each stays, from its CONNECT answer on, 0.1 to 86400.
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub(crate) lifetime: Duration,
    /// How they go.
    #[arg(long, value_enum, default_value = "goodbye")]
    pub(crate) cut: Cut,
}

/// `fanfare-load storm`
#[derive(Debug, Group)]
pub(crate) struct Storm {
    /// Where and how to connect.
    #[command(flatten)]
    pub(crate) connecting: Connecting,
    /// How the connections are cut.
    #[arg(long, value_enum, default_value = "reset")]
    pub(crate) cut: Cut,
    /// Seconds over which the first attempts to come back are spread evenly by chance, 0 to 86400: 0 is all at once.
    #[arg(long, default_value = "0", value_parser = seconds_or_none)]
    pub(crate) spread: Duration,
    /// Storms, 1 to 1000.
    #[arg(long, default_value = "1", value_parser = rounds)]
    pub(crate) rounds: NonZeroU16,
    /// Seconds before each storm, 0 to 86400.
    #[arg(long, default_value = "2", value_parser = seconds_or_none)]
    pub(crate) pause: Duration,
    /// Messages a second that one more connection publishes meanwhile, 0.01 to 1000000 [default: none]. It is not cut, and a run ends with
    /// its session. The servers must do as for `fanout` then.
    #[arg(long, value_parser = rate)]
    pub(crate) publish_rate: Option<f64>,
    /// The event that is published and awaited.
    #[arg(long, default_value = "msg")]
    pub(crate) event: String,
    /// Bytes of a message's one argument, 48 to 1000000.
    #[arg(long, default_value = "128", value_parser = clap::value_parser!(u32).range(48..=1_000_000))]
    pub(crate) size: u32,
    /// Seconds within which all must be back, 0.1 to 86400. After a storm in which they are not there is no further one.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub(crate) patience: Duration,
}

/// `fanfare-load jitter`
#[derive(Debug, Group)]
pub(crate) struct Jitter {
    /// The fan-out.
    #[command(flatten)]
    pub(crate) fanout: Fanout,
    /// Seconds from the moment when a client is back to its next cut, on average, 0.1 to 86400. The first one comes after up to as long by
    /// chance, so that they are not all cut together.
    #[arg(long, default_value = "15", value_parser = seconds)]
    pub(crate) every: Duration,
    /// How these times are spread.
    #[arg(long, value_enum, default_value = "uniform")]
    pub(crate) law: Law,
    /// Seconds for which a client stays away, 0 to 86400.
    #[arg(long, default_value = "2", value_parser = seconds_or_none)]
    pub(crate) away: Duration,
    /// How the connections are cut.
    #[arg(long, value_enum, default_value = "reset")]
    pub(crate) cut: Cut,
    /// Asks for the session of before, from the last event that had come.
    #[arg(long)]
    pub(crate) recover: bool,
}

impl Args {
    /// Reads the command line; ends the process when there is something wrong with it.
    pub(crate) fn read() -> Self {
        Self::checked(Self::parse()).unwrap_or_else(|error| error.exit())
    }

    /// Ends the process with what is wrong with the command line.
    pub(crate) fn refuse(message: &str) -> ! {
        Self::command().error(ErrorKind::ValueValidation, message).exit()
    }

    /// Finds flags that contradict each other.
    fn checked(self) -> Result<Self, clap::Error> {
        let (connecting, publisher_transport, publisher_targets) = match &self.scenario {
            Scenario::Fanout(fanout) => (&fanout.connecting, fanout.publisher_transport, fanout.publisher_targets.len()),
            Scenario::Rooms(rooms) => (&rooms.connecting, None, 0),
            Scenario::Echo(echo) => (&echo.connecting, None, 0),
            Scenario::Compare(_) => return Ok(self),
            Scenario::Idle(idle) => (&idle.connecting, None, 0),
            Scenario::Churn(churn) => (&churn.connecting, None, 0),
            Scenario::Storm(storm) => (&storm.connecting, None, 0),
            Scenario::Jitter(Jitter { fanout, .. }) => (&fanout.connecting, fanout.publisher_transport, fanout.publisher_targets.len()),
        };
        let conflict = |message: &str| Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        if let Scenario::Rooms(rooms) = &self.scenario
            && rooms.rooms > connecting.connections
        {
            return conflict("--rooms must not be more than --connections: a room needs a member");
        }
        if let Scenario::Churn(churn) = &self.scenario
            && churn.rate * churn.lifetime.as_secs_f64() > connecting.connections.get() as f64
        {
            return conflict(
                "--rate times --lifetime must not be more than --connections: so many are there at a time, and some more that connect",
            );
        }
        if let Scenario::Jitter(jitter) = &self.scenario {
            if jitter.fanout.pace.in_flight.is_some() {
                return conflict("jitter publishes at a --rate: with --in-flight nothing would be published that somebody misses");
            }
            if jitter.recover && jitter.cut == Cut::Goodbye {
                return conflict("--recover needs --cut reset or close: a server does not keep the session of a client that says goodbye");
            }
        }
        if connecting.no_affinity && connecting.targets.len() == 1 {
            return conflict(
                "--no-affinity needs two --targets or more: with one, every request goes there, and behind a balancer it is for the balancer to decide",
            );
        }
        let publishers_stay = publisher_transport.unwrap_or(connecting.transport) == Transport::Websocket || publisher_targets == 1;
        if connecting.no_affinity && connecting.transport == Transport::Websocket && publishers_stay {
            return conflict(
                "--no-affinity needs --transport polling or upgrade, or such publishers with two targets or more: a WebSocket is one request and stays where it is",
            );
        }
        Ok(self)
    }
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
        _ => Err("expected how many a second, 0.01 to 1000000".to_owned()),
    }
}

fn header_bytes(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(bytes) if bytes == 0 || (18..=65_536).contains(&bytes) => Ok(bytes),
        _ => Err("expected bytes, 18 to 65536, or 0 for none".to_owned()),
    }
}

fn rounds(text: &str) -> Result<NonZeroU16, String> {
    let rounds = text.parse().ok().filter(|rounds: &NonZeroU16| rounds.get() <= 1000);
    rounds.ok_or_else(|| "expected storms, 1 to 1000".to_owned())
}

fn seconds_or_none(text: &str) -> Result<Duration, String> {
    match text.trim_end_matches('s').parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("expected seconds, 0 to 86400".to_owned()),
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

    fn read(line: &str) -> Result<Scenario, String> {
        let args = Args::try_parse_from(line.split(' ')).and_then(Args::checked);
        args.map(|args| args.scenario).map_err(|error| error.to_string())
    }

    fn fanout(flags: &str) -> Result<Fanout, String> {
        match read(&format!("fanfare-load fanout {flags}"))? {
            Scenario::Fanout(fanout) => Ok(fanout),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_command_line_as_the_readme_has_it_parses() {
        let fanout = fanout("--targets http://127.0.0.1:1,http://[::1]:2/ --connections 9 --rate 2.5 --duration 3 --json").unwrap();
        assert_eq!(fanout.connecting.targets, ["127.0.0.1:1", "[::1]:2"]);
        assert_eq!(fanout.connecting.transport, Transport::Websocket);
        assert_eq!(fanout.pace.duration, Duration::from_secs(3));
        assert!(fanout.connecting.reporting.json && !fanout.connecting.reconnect);
    }

    #[test]
    fn a_room_without_a_member_is_refused_with_the_reason() {
        let read = |flags: &str| read(&format!("fanfare-load rooms --targets http://a:1 --connections 5 {flags}"));
        assert!(matches!(read("--rooms 5 --in-flight 3").unwrap(), Scenario::Rooms(rooms) if rooms.pace.in_flight == Some(3)));
        assert!(
            read("--rooms 6")
                .unwrap_err()
                .contains("--rooms must not be more than --connections")
        );
    }

    #[test]
    fn receivers_and_publishers_may_have_different_transports() {
        let fanout = fanout("--targets http://a:1,http://b:1 --transport polling --publisher-transport websocket --no-affinity").unwrap();
        assert_eq!(fanout.connecting.transport, Transport::Polling);
        assert_eq!(fanout.publisher_transport, Some(Transport::Websocket));
        assert!(fanout.publisher_targets.is_empty());
        assert!(fanout.connecting.no_affinity);
    }

    #[test]
    fn clients_that_come_and_go_must_find_place_and_headers_must_be_some() {
        let churn = |flags: &str| read(&format!("fanfare-load churn --targets http://a:1 {flags}"));
        assert!(churn("--rate 50 --lifetime 2").is_ok());
        assert!(churn("--rate 51 --lifetime 2").unwrap_err().contains("--connections"));
        assert!(churn("--rate 51 --lifetime 2 --connections 102").is_ok());
        for wrong in ["--header-bytes 17", "--header-bytes 65537", "--cut politely", "--connect-rate 0"] {
            assert!(churn(wrong).is_err(), "{wrong}");
        }
        assert!(matches!(churn("--header-bytes 18").unwrap(), Scenario::Churn(churn) if churn.cut == Cut::Goodbye));
    }

    #[test]
    fn storms_are_one_or_more_and_may_follow_each_other_at_once() {
        let storm = |flags: &str| read(&format!("fanfare-load storm --targets http://a:1 {flags}"));
        assert!(matches!(storm("--pause 0").unwrap(), Scenario::Storm(storm) if storm.cut == Cut::Reset && storm.rounds.get() == 1));
        for wrong in ["--rounds 0", "--rounds 1001", "--spread -1", "--patience 0"] {
            assert!(storm(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn clients_that_are_cut_are_published_to_at_a_rate_and_recover_only_without_a_goodbye() {
        let jitter = |flags: &str| read(&format!("fanfare-load jitter --targets http://a:1 {flags}"));
        let Scenario::Jitter(plain) = jitter("--recover --rate 5").unwrap() else {
            panic!("another scenario")
        };
        assert_eq!((plain.every, plain.away), (Duration::from_secs(15), Duration::from_secs(2)));
        assert_eq!((plain.cut, plain.law), (Cut::Reset, Law::Uniform));
        assert!(jitter("--in-flight 3").unwrap_err().contains("--in-flight"));
        assert!(jitter("--recover --cut goodbye").unwrap_err().contains("--recover needs"));
        assert!(jitter("--cut goodbye").is_ok());
    }

    #[test]
    fn a_target_that_is_no_server_and_a_rate_of_nothing_are_refused() {
        for wrong in [
            "--targets 127.0.0.1:1",
            "--targets http://a/b",
            "--targets http://a:1 --rate 0",
            "--targets http://a:1 --size 9",
            "--targets http://a:1 --transport webtransport",
            "--targets http://a:1 --in-flight 0",
            "--targets http://a:1 --in-flight 3 --rate 100",
        ] {
            assert!(fanout(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_affinity_where_it_means_nothing_is_refused_with_the_reason() {
        let error = |flags: &str| fanout(flags).unwrap_err();
        assert!(error("--targets http://a:1 --transport polling --no-affinity").contains("two --targets"));
        assert!(error("--targets http://a:1,http://b:1 --no-affinity").contains("--transport polling or upgrade"));
        let publishers = "--targets http://a:1,http://b:1 --no-affinity --publisher-transport upgrade";
        assert!(fanout(publishers).is_ok());
        assert!(fanout(&format!("{publishers} --publisher-targets http://c:1,http://d:1")).is_ok());
        assert!(error(&format!("{publishers} --publisher-targets http://c:1")).contains("two targets"));
        // The receivers do move.
        assert!(fanout(&format!("{publishers} --publisher-targets http://c:1 --transport polling")).is_ok());
    }
}
