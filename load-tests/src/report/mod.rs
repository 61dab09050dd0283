//! What a run showed: the part that all scenarios tell, and where it goes.
//!
//! | room | what it does |
//! |---|---|
//! | `flat` | a report as a list of names and values |
//! | `threshold` | bounds that a run must keep: `--fail-if` |
//! | `output` | JSON, CSV |
//!
//! A report has three parts: the connections, what the scenario found, and what it cost. In JSON their fields stand beside each other.

use std::{
    fmt::{self, Display},
    process::ExitCode,
};

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    client::Transport,
    connect::Connector,
    cpu::{self, Used},
    failures::{ByReason, Refusals},
    latency::{Latencies, Percentiles},
};

mod flat;
mod output;
mod threshold;

pub(crate) use output::Reporting;

use flat::flatten;

/// Exit code of a run in which something was lost, repeated, swapped or wrong.
const FLAWED: u8 = 1;
/// Exit code of a run that was not flawed, and broke a bound of `--fail-if`.
const BROKEN: u8 = 3;
/// Exit code of a run that could not be made (sysexits `EX_UNAVAILABLE`).
const FAILED: u8 = 69;
/// The generator is saturated when one of its threads keeps this share of a core busy: a client stays on one thread,
/// or it and the servers together this share of all cores: then they wait for each other,
const BUSY: f64 = 0.9;
/// or when more than this share of what it sends is late.
const OVERRUN: f64 = 0.01;

/// What one scenario finds, beside what all tell.
pub(crate) trait Findings: Serialize + Display + Default {
    /// The scenario's name on the command line.
    const SCENARIO: &'static str;
    /// What costs are told for, as in `server_cpu_us_per_delivery`.
    const EACH: &'static str;
    /// Whether every client is to have a session at the end, whatever the scenario finds; those that come back are to have one anyway.
    const STAYS: bool = false;

    /// How many of those there were.
    fn count(&self) -> u64;

    /// Whether the servers did something wrong.
    fn flawed(&self) -> bool;

    /// How much of an open loop left late, and of how much; `None` if it is closed.
    fn overrun(&self) -> Option<(u64, u64)>;

    /// Puts numbers where there are some if there are servers' processes to be looked at. It is for a report that only shows names.
    fn fill(&mut self, _servers: usize) {}
}

/// What a run showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Report<F> {
    scenario: &'static str,
    #[serde(flatten)]
    connections: Connections,
    #[serde(flatten)]
    pub(crate) findings: F,
    #[serde(flatten)]
    costs: Costs,
}

/// What became of the connections that are counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Connections {
    /// How they reach the servers.
    pub(crate) transport: Transport,
    /// How many were made in the beginning.
    pub(crate) connected: usize,
    /// Clients that had no session at the end of the run.
    pub(crate) disconnected: usize,
    /// Sessions that took the place of one that had ended.
    pub(crate) reconnects: u64,
    /// Why the session of a client ended, of the first that did.
    pub(crate) first_end: Option<String>,
    /// Sessions that ended, by reason; not those that the run itself ended.
    pub(crate) ends: ByReason,
    /// Attempts to connect that failed and did not end the run.
    pub(crate) failed: u64,
    /// Why they failed.
    pub(crate) failures: ByReason,
    /// How often servers answered them with which HTTP status.
    pub(crate) refusals: Vec<Refusals>,
    /// Why the first of them failed.
    pub(crate) first_failure: Option<String>,
    /// Time from TCP connect to the CONNECT answer, in milliseconds.
    pub(crate) handshake_ms: Percentiles,
    /// Time from the CONNECT answer until a WebSocket had taken the session over, in milliseconds; of those made in the beginning.
    pub(crate) upgrade_ms: Percentiles,
    /// Time from the end of a session to the CONNECT answer of the next, in milliseconds.
    pub(crate) away_ms: Percentiles,
    /// Whether a client without a session is one that should have come back.
    #[serde(skip)]
    pub(crate) comes_back: bool,
}

/// What a run cost the processes.
#[derive(Debug, Clone, PartialEq)]
struct Costs {
    each: &'static str,
    count: u64,
    used: Used,
    /// Those of the machine, which the servers have as well.
    own_cores: usize,
    /// In which ways the generator was saturated, for people.
    saturated: Vec<String>,
}

impl Connections {
    /// `connected` of them, of which `disconnected` had no session at the end.
    pub(crate) fn of(connector: &Connector, connected: usize, disconnected: usize, handshakes: &Latencies) -> Self {
        Self {
            transport: connector.transport,
            connected,
            disconnected,
            reconnects: connector.away.count(),
            first_end: connector.ends.first(),
            ends: connector.ends.by_reason(),
            failed: connector.failures.total(),
            failures: connector.failures.by_reason(),
            refusals: connector.failures.refusals(),
            first_failure: connector.failures.first(),
            handshake_ms: handshakes.percentiles(),
            upgrade_ms: connector.upgrades.percentiles(),
            away_ms: connector.away.percentiles(),
            comes_back: connector.reconnect,
        }
    }
}

impl<F: Findings> Report<F> {
    /// Puts the parts together; `used` is what was used from the beginning to the end of what the findings count.
    pub(crate) fn new(connections: Connections, findings: F, used: Used) -> Self {
        let own_cores = cpu::cores();
        Self {
            scenario: F::SCENARIO,
            connections,
            costs: Costs {
                each: F::EACH,
                count: findings.count(),
                own_cores,
                saturated: saturation(&used, own_cores, findings.overrun()),
                used,
            },
            findings,
        }
    }

    /// One with the names of all values, of so many servers' processes.
    fn blank(servers: usize) -> Self {
        let connections = Connections {
            transport: Transport::Websocket,
            connected: 0,
            disconnected: 0,
            reconnects: 0,
            first_end: None,
            ends: ByReason::default(),
            failed: 0,
            failures: ByReason::default(),
            refusals: Vec::new(),
            first_failure: None,
            handshake_ms: Percentiles::default(),
            upgrade_ms: Percentiles::default(),
            away_ms: Percentiles::default(),
            comes_back: false,
        };
        let used = Used {
            servers: vec![Some(crate::cpu::UsedBy::default()); servers],
            ..Used::default()
        };
        let mut findings = F::default();
        findings.fill(servers);
        let mut report = Self::new(connections, findings, used);
        // What is told for each is a number where there is one of them.
        report.costs.count = 1;
        report
    }

    /// Whether the servers did something wrong.
    fn flawed(&self) -> bool {
        self.findings.flawed() || ((F::STAYS || self.connections.comes_back) && self.connections.disconnected > 0)
    }
}

/// Looks whether what is to become of a report can be had of this scenario.
///
/// # Errors
/// What cannot.
pub(crate) fn check<F: Findings>(reporting: &Reporting, servers: usize) -> Result<(), String> {
    reporting.check(&flatten(&Report::<F>::blank(servers)))
}

/// Prints a report; the exit code.
pub(crate) fn conclude<F: Findings>(report: Result<Report<F>, impl Display>, reporting: &Reporting) -> ExitCode {
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            eprintln!("fanfare-load: {error}");
            return ExitCode::from(FAILED);
        }
    };
    let flat = flatten(&report);
    if reporting.json {
        println!("{}", serde_json::json!(report));
    } else if reporting.csv == Some(None) {
        print!("{}", output::csv(&flat));
    } else {
        print!("{report}");
    }
    let saturated = report.costs.saturated.join(", ");
    if !saturated.is_empty() {
        eprintln!("fanfare-load: warning: the generator was saturated ({saturated}): times are its own, not the servers'");
    }
    if let Err(error) = reporting.append(&flat) {
        eprintln!("fanfare-load: {error}");
        return ExitCode::from(FAILED);
    }
    let broken: Vec<_> = reporting.fail_if.iter().filter_map(|threshold| threshold.broken(&flat)).collect();
    for bound in &broken {
        eprintln!("fanfare-load: {bound}");
    }
    match (report.flawed(), broken.is_empty()) {
        (true, _) => ExitCode::from(FLAWED),
        (false, false) => ExitCode::from(BROKEN),
        (false, true) => ExitCode::SUCCESS,
    }
}

impl<F: Findings> Display for Report<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.connections, self.findings, self.costs)
    }
}

impl Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "connected      {} ({} had no session at the end)",
            self.connected, self.disconnected
        )?;
        if let Some(why) = &self.first_end {
            writeln!(f, "reconnects     {} (the first session ended: {why})", self.reconnects)?;
        }
        if let Some(why) = &self.first_failure {
            writeln!(
                f,
                "failed         {} attempts ({}; the first: {why})",
                self.failed,
                self.failures.list()
            )?;
        }
        writeln!(f, "handshake      {}", self.handshake_ms)?;
        if self.transport == Transport::Upgrade {
            writeln!(f, "upgrade        {}", self.upgrade_ms)?;
        }
        if self.reconnects > 0 {
            writeln!(f, "away           {}", self.away_ms)?;
        }
        Ok(())
    }
}

impl Costs {
    /// Microseconds of a CPU time for each of what is counted; `None` if there was nothing to count.
    fn each(&self, cpu: std::time::Duration) -> Option<f64> {
        (self.count > 0).then(|| cpu.as_secs_f64() * 1e6 / self.count as f64)
    }

    /// The same, for people.
    fn told(&self, cpu: std::time::Duration) -> String {
        let each = self.each;
        self.each(cpu)
            .map_or_else(|| format!("no {each} to be counted for"), |cpu| format!("{cpu:.2} us per {each}"))
    }
}

/// In which ways a generator was saturated, if it was.
fn saturation(used: &Used, cores: usize, overrun: Option<(u64, u64)>) -> Vec<String> {
    let mut ways = Vec::new();
    let thread = used.cores(used.busiest);
    if thread >= BUSY {
        ways.push(format!("one of its threads kept {thread:.2} of a core busy"));
    }
    let all = used.cores(used.by_all());
    if all >= cores as f64 * BUSY {
        let whose = if used.servers.is_empty() { "it" } else { "it and the servers" };
        ways.push(format!("{whose} kept {all:.2} of the machine's {cores} cores busy"));
    }
    if let Some((late, all)) = overrun.filter(|(late, all)| *late as f64 > *all as f64 * OVERRUN) {
        ways.push(format!("{late} of {all} left late"));
    }
    ways
}

impl Serialize for Costs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (used, each) = (&self.used, self.each);
        let all = used.by_servers();
        let by_pid = |of: fn(&crate::cpu::UsedBy) -> u64| -> Vec<_> { used.servers.iter().map(|one| one.as_ref().map(of)).collect() };
        let cpu_by_pid: Vec<_> = used.servers.iter().map(|one| one.and_then(|one| self.each(one.cpu))).collect();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(&format!("own_cpu_us_per_{each}"), &self.each(used.own))?;
        map.serialize_entry("own_cpu_cores", &used.cores(used.own))?;
        map.serialize_entry("own_cores", &self.own_cores)?;
        map.serialize_entry("own_busiest_thread_cores", &used.cores(used.busiest))?;
        map.serialize_entry("own_saturated", &!self.saturated.is_empty())?;
        map.serialize_entry(&format!("server_cpu_us_per_{each}"), &all.and_then(|all| self.each(all.cpu)))?;
        map.serialize_entry(&format!("server_cpu_us_per_{each}_by_pid"), &cpu_by_pid)?;
        map.serialize_entry("server_cpu_cores", &all.map(|all| used.cores(all.cpu)))?;
        map.serialize_entry("server_rss_kib", &all.map(|all| all.memory.resident))?;
        map.serialize_entry("server_rss_kib_by_pid", &by_pid(|one| one.memory.resident))?;
        map.serialize_entry("server_rss_anon_kib", &all.map(|all| all.memory.anonymous))?;
        map.serialize_entry("server_rss_anon_kib_by_pid", &by_pid(|one| one.memory.anonymous))?;
        map.end()
    }
}

impl Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = &self.used;
        let (own, cores, busiest) = (self.told(used.own), used.cores(used.own), used.cores(used.busiest));
        writeln!(
            f,
            "generator CPU  {own}, {cores:.2} of {} cores, {busiest:.2} by one thread",
            self.own_cores
        )?;
        let Some(all) = used.by_servers() else { return Ok(()) };
        let (cpu, cores) = (self.told(all.cpu), used.cores(all.cpu));
        writeln!(f, "server CPU     {cpu}, {cores:.2} cores")?;
        let mib = |kib: u64| kib as f64 / 1024.0;
        let (resident, anonymous) = (mib(all.memory.resident), mib(all.memory.anonymous));
        writeln!(f, "server memory  {resident:.1} MiB resident, {anonymous:.1} MiB of it anonymous")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{cpu::UsedBy, memory::Memory};

    /// A scenario that counts apples.
    #[derive(Debug, Default, Serialize)]
    struct Apples {
        apples: u64,
        late: u64,
        bad: u64,
    }

    impl Findings for Apples {
        const SCENARIO: &'static str = "apples";
        const EACH: &'static str = "apple";

        fn count(&self) -> u64 {
            self.apples
        }

        fn flawed(&self) -> bool {
            self.bad > 0
        }

        fn overrun(&self) -> Option<(u64, u64)> {
            Some((self.late, self.apples))
        }
    }

    impl Display for Apples {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            writeln!(f, "apples         {}", self.apples)
        }
    }

    fn report(findings: Apples, own: f64) -> Report<Apples> {
        let mut report = Report::<Apples>::blank(0);
        report.connections.connected = 5;
        let server = |millis, resident| UsedBy {
            cpu: Duration::from_millis(millis),
            memory: Memory {
                resident,
                anonymous: resident / 2,
            },
        };
        let used = Used {
            took: Duration::from_secs(10),
            own: Duration::from_secs_f64(own * 10.0),
            busiest: Duration::from_secs_f64(own * 5.0),
            servers: vec![Some(server(100, 1000)), Some(server(300, 3000))],
        };
        Report::new(report.connections, findings, used)
    }

    fn apples(apples: u64, late: u64, bad: u64) -> Apples {
        Apples { apples, late, bad }
    }

    #[test]
    fn what_all_scenarios_tell_stands_beside_what_one_does() {
        let json = serde_json::json!(report(apples(1000, 0, 0), 0.05));
        let value = |name: &str| json[name].as_f64().unwrap();
        assert_eq!(
            (json["scenario"].as_str(), value("connected"), value("apples")),
            (Some("apples"), 5.0, 1000.0)
        );
        assert_eq!((value("server_cpu_us_per_apple"), value("own_cpu_us_per_apple")), (400.0, 500.0));
        assert_eq!(json["server_cpu_us_per_apple_by_pid"], serde_json::json!([100.0, 300.0]));
        assert_eq!((value("server_rss_kib"), value("server_rss_anon_kib")), (4000.0, 2000.0));
        assert_eq!((value("own_cpu_cores"), value("server_cpu_cores")), (0.05, 0.04));
    }

    #[test]
    fn for_each_of_nothing_nothing_is_told() {
        let report = report(apples(0, 0, 0), 0.05);
        let json = serde_json::json!(report);
        assert!(
            json["server_cpu_us_per_apple"].is_null() && json["own_cpu_us_per_apple"].is_null(),
            "{json}"
        );
        assert_eq!(json["server_cpu_us_per_apple_by_pid"], serde_json::json!([null, null]));
        assert_eq!(json["server_cpu_cores"], 0.04);
        assert!(
            report.to_string().contains("server CPU     no apple to be counted for, 0.04 cores"),
            "{report}"
        );
    }

    #[test]
    fn a_blank_report_has_the_names_of_the_one_that_comes() {
        let names = |report: &Report<Apples>| flatten(report).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(&Report::blank(2)), names(&report(apples(1, 0, 0), 0.0)));
    }

    #[test]
    fn who_is_late_or_has_a_thread_or_a_machine_without_a_core_left_is_saturated() {
        let saturated = |busiest: f64, own: f64, server: f64, late| {
            let seconds = |cores: f64| Duration::from_secs_f64(cores * 10.0);
            let cpu = seconds(server);
            let used = Used {
                took: Duration::from_secs(10),
                own: seconds(own),
                busiest: seconds(busiest),
                // Of one that has ended nobody knows.
                servers: vec![Some(UsedBy { cpu, ..UsedBy::default() }), None],
            };
            saturation(&used, 2, Some((late, 1000)))
        };
        assert!(saturated(0.8, 0.9, 0.8, 10).is_empty());
        // As many cores are left as are busy.
        assert_eq!(saturated(0.95, 1.0, 0.0, 0), ["one of its threads kept 0.95 of a core busy"]);
        // The servers have the other one.
        assert_eq!(
            saturated(0.5, 0.9, 1.0, 0),
            ["it and the servers kept 1.90 of the machine's 2 cores busy"]
        );
        assert_eq!(saturated(0.5, 0.5, 0.5, 11), ["11 of 1000 left late"]);
        let alone = Used {
            took: Duration::from_secs(1),
            own: Duration::from_secs(2),
            ..Used::default()
        };
        assert_eq!(saturation(&alone, 2, None), ["it kept 2.00 of the machine's 2 cores busy"]);
    }

    #[test]
    fn the_exit_code_tells_flaws_broken_bounds_and_what_could_not_be_made() {
        let bound = |text: &str| Reporting {
            json: true,
            csv: None,
            fail_if: vec![text.parse().unwrap()],
        };
        let code = |findings, text: &str| format!("{:?}", conclude(Ok::<_, String>(report(findings, 0.0)), &bound(text)));
        let wanted = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(apples(9, 0, 0), "apples<9"), wanted(0));
        assert_eq!(code(apples(9, 0, 0), "apples<10"), wanted(BROKEN));
        assert_eq!(code(apples(9, 0, 1), "apples<10"), wanted(FLAWED));
        let failed: Result<Report<Apples>, _> = Err("no server");
        assert_eq!(format!("{:?}", conclude(failed, &bound("apples<9"))), wanted(FAILED));
        assert!(check::<Apples>(&bound("apple<9"), 0).unwrap_err().ends_with("did you mean apples?"));
        assert!(check::<Apples>(&bound("server_cpu_us_per_apple<9"), 1).is_ok());
    }

    #[test]
    fn a_client_that_should_have_come_back_and_has_not_is_a_flaw() {
        let mut report = report(apples(1, 0, 0), 0.0);
        report.connections.disconnected = 1;
        assert!(!report.flawed());
        report.connections.comes_back = true;
        assert!(report.flawed());
    }

    /// Nothing may have been on its way to it: then nothing was lost.
    #[test]
    fn a_client_that_was_lost_is_a_flaw_where_all_are_to_stay() {
        fn flawed<F: Findings>(disconnected: usize) -> bool {
            let mut report = Report::<F>::blank(0);
            report.connections.disconnected = disconnected;
            report.flawed()
        }
        use crate::{echo::Acknowledged, fanout::Deliveries, rooms::RoomDeliveries};
        let all = [flawed::<Deliveries>, flawed::<RoomDeliveries>, flawed::<Acknowledged>];
        assert_eq!(all.map(|flawed| (flawed(0), flawed(1))), [(false, true); 3]);
        assert!(!flawed::<Apples>(1));
    }
}
