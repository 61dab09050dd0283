//! One run: starts a server, and a scenario against it, and ends both.

use std::{net::TcpListener, sync::Arc, time::Duration};

use futures_util::future::{join_all, try_join_all};
use serde_json::Value;
use tokio::process::Command;

use super::{
    peers::{Node, Peer, Peers},
    process::Process,
    rows::Row,
};
use crate::client::{Client, Route, Transport};

/// How long the nodes of a cluster are given to find each other.
const ACQUAINTED: Duration = Duration::from_secs(20);
/// How often redis-server is started when its port has been taken by somebody else meanwhile.
const ATTEMPTS: usize = 3;

/// What a run showed.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// The scenario's own report.
    pub(super) report: Value,
    /// What was wrong with what the server did, for people.
    pub(super) faults: Vec<String>,
    /// Whether a target may be judged by it.
    pub(super) soundness: Soundness,
    /// What the generator says of the run, and of itself.
    pub(super) remarks: Vec<String>,
}

/// How far what a server did was what it should do. Who loses or repeats something does less, or more, than what its CPU is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Soundness {
    #[default]
    Clean,
    /// Everything came, once, and some of it in another order.
    Swapped,
    Spoiled,
}

/// What a report counts of things that went wrong.
const COUNTED: [(&str, &str, Soundness); 12] = [
    ("lost", "lost", Soundness::Spoiled),
    ("missed", "missed", Soundness::Spoiled),
    ("duplicate", "twice", Soundness::Spoiled),
    ("out_of_order", "out of order", Soundness::Swapped),
    ("given_up", "given up", Soundness::Spoiled),
    ("stray", "in the wrong room", Soundness::Spoiled),
    ("unexpected", "unexpected", Soundness::Spoiled),
    ("wrong", "wrong", Soundness::Spoiled),
    ("failed", "failed", Soundness::Spoiled),
    ("disconnected", "disconnected", Soundness::Spoiled),
    ("deserted", "deserted", Soundness::Spoiled),
    ("not_recovered", "not recovered", Soundness::Spoiled),
];

/// Measures one server by one row; why it could not be measured, if it could not.
pub(super) async fn measure(peers: &Peers, peer: Peer, row: &Row) -> Result<Run, String> {
    let backend = if row.nodes > 1 { Some(redis().await?) } else { None };
    let url = backend.as_ref().map(|backend| backend.url.as_str());
    let (mut nodes, mut failure) = (Vec::new(), None);
    for started in join_all((0..row.nodes).map(|_| peers.start(peer, url))).await {
        match started {
            Ok(node) => nodes.push(node),
            Err(error) => failure = Some(error.to_string()),
        }
    }
    let run = match failure {
        Some(error) => Err(error),
        None => run(row, &mut nodes, backend.as_ref()).await,
    };
    // Whatever came of it: the next server has the machine to itself.
    for process in nodes.into_iter().chain(backend).map(|node| node.process) {
        process.stop().await;
    }
    run
}

/// Runs a row's scenario against servers that listen.
async fn run(row: &Row, nodes: &mut [Node], backend: Option<&Node>) -> Result<Run, String> {
    if row.nodes > 1 {
        acquaint(nodes).await?;
    }
    let mut pids: Vec<_> = nodes.iter().map(|node| node.process.pid).collect();
    pids.extend(backend.map(|backend| backend.process.pid));
    let run = scenario(&row.flags, nodes, &pids).await;
    // That one of them has ended explains more than what the scenario says of it.
    for node in nodes {
        node.process.check().map_err(|error| error.to_string())?;
    }
    run
}

/// redis-server on a free port, with nothing on disk.
async fn redis() -> Result<Node, String> {
    let mut failure = String::new();
    for _ in 0..ATTEMPTS {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = free.map_err(|error| format!("no free port: {error}"))?.port();
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        let mut process = Process::start("redis-server", command).map_err(|error| error.to_string())?;
        match process.line("Ready to accept connections").await {
            Ok(_) => {
                return Ok(Node {
                    process,
                    url: format!("redis://127.0.0.1:{port}"),
                });
            }
            Err(error) => {
                failure = error.to_string();
                process.stop().await;
            }
        }
    }
    Err(failure)
}

/// Waits until what a client of any node publishes reaches the clients of all.
async fn acquaint(nodes: &[Node]) -> Result<(), String> {
    let targets: Arc<[String]> = nodes.iter().map(|node| node.url.trim_start_matches("http://").to_owned()).collect();
    let connect = |number| Client::connect(Route::new(&targets, number, true), Transport::Websocket);
    let mut clients = try_join_all((0..nodes.len()).map(connect))
        .await
        .map_err(|error| error.to_string())?;
    let all = async {
        // What was published before the others listened is lost: so it is said again until they do.
        let mut again = tokio::time::interval(Duration::from_millis(50));
        let mut strangers = clients.len() * clients.len();
        let mut heard = vec![vec![false; clients.len()]; clients.len()];
        while strangers > 0 {
            again.tick().await;
            for (number, client) in clients.iter_mut().enumerate() {
                client.send(format!("42[\"pub\",\"{number}\"]"));
            }
            for (client, heard) in clients.iter_mut().zip(&mut heard) {
                while let Ok(text) = tokio::time::timeout(Duration::from_millis(10), client.next()).await {
                    let text = text.map_err(|error| error.to_string())?;
                    let number = text.trim_start_matches("42[\"msg\",\"").trim_end_matches("\"]").parse::<usize>();
                    if let Some(heard) = number.ok().and_then(|number| heard.get_mut(number)) {
                        strangers -= usize::from(!*heard);
                        *heard = true;
                    }
                }
            }
        }
        Ok(())
    };
    tokio::time::timeout(ACQUAINTED, all)
        .await
        .unwrap_or_else(|_| Err(format!("its nodes do not hear each other within {} s", ACQUAINTED.as_secs())))
}

/// Runs a scenario as a process of its own.
async fn scenario(flags: &[String], nodes: &[Node], pids: &[u32]) -> Result<Run, String> {
    let join = |texts: Vec<String>| texts.join(",");
    let targets = join(nodes.iter().map(|node| node.url.clone()).collect());
    let pids = join(pids.iter().map(u32::to_string).collect());
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let mut command = Command::new(program);
    command.args(flags).args(["--targets", &targets, "--server-pids", &pids, "--json"]);
    // Its progress is for nobody, and its end is that of the comparison. How long it takes is its own affair: it waits for nothing without
    // a bound, and may have been asked for hours.
    let child = command.process_group(0).kill_on_drop(true).output();
    let output = child.await.map_err(|error| format!("the scenario: {error}"))?;
    let report: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let Some(report) = report else {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.trim().trim_start_matches("fanfare-load: ").to_owned());
    };
    let (faults, soundness) = faults(&report);
    let remarks = remarks(&report, &String::from_utf8_lossy(&output.stderr));
    Ok(Run {
        report,
        faults,
        soundness,
        remarks,
    })
}

/// What a report says of things that went wrong, and the worst of it.
fn faults(report: &Value) -> (Vec<String>, Soundness) {
    let (mut faults, mut worst) = (Vec::new(), Soundness::Clean);
    for (field, what, soundness) in COUNTED {
        let count = report.get(field).and_then(Value::as_u64).unwrap_or_default();
        if count > 0 {
            faults.push(format!("{count} {what}"));
            worst = worst.max(soundness);
        }
    }
    if report.get("server_cpu_cores").is_some_and(Value::is_null) {
        faults.push("a process of the server ended".to_owned());
        worst = Soundness::Spoiled;
    }
    (faults, worst)
}

/// What is no fault of the server: its generator was saturated, or late, or a bound of `--fail-if` was broken.
fn remarks(report: &Value, said: &str) -> Vec<String> {
    let lines = said
        .lines()
        .map(|line| line.trim_start_matches("fanfare-load: ").trim_start_matches("warning: "));
    let mut remarks: Vec<_> = lines.map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    let late = report.get("overrun").and_then(Value::as_u64).filter(|late| *late > 0);
    remarks.extend(late.map(|late| format!("{late} left late")));
    remarks
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_went_wrong_is_told_and_what_did_not_is_not() {
        let good = json!({ "lost": 0, "delivered": 7, "disconnected": 0, "server_cpu_cores": 0.5 });
        assert_eq!(faults(&good), (Vec::new(), Soundness::Clean));
        let bad = json!({ "lost": 3, "out_of_order": 1, "disconnected": 0, "server_cpu_cores": null });
        let wanted = ["3 lost", "1 out of order", "a process of the server ended"].map(str::to_owned);
        assert_eq!(faults(&bad), (wanted.to_vec(), Soundness::Spoiled));
        let swapped = json!({ "lost": 0, "out_of_order": 2, "server_cpu_cores": 0.5 });
        assert_eq!(faults(&swapped), (vec!["2 out of order".to_owned()], Soundness::Swapped));
    }

    #[test]
    fn whatever_makes_a_figure_be_of_less_than_was_asked_for_spoils_it() {
        for (field, text) in [
            ("missed", "2 missed"),
            ("given_up", "2 given up"),
            ("deserted", "2 deserted"),
            ("not_recovered", "2 not recovered"),
        ] {
            let report = json!({ field: 2, "server_cpu_cores": 0.5 });
            assert_eq!(faults(&report), (vec![text.to_owned()], Soundness::Spoiled), "{field}");
        }
    }

    #[test]
    fn what_the_generator_says_of_itself_is_a_remark_and_no_fault() {
        let report = json!({ "own_saturated": true, "overrun": 7, "server_cpu_cores": 0.5 });
        assert!(faults(&report).0.is_empty());
        let said = "fanfare-load: warning: the generator was saturated\n\nfanfare-load: --fail-if lost<1: lost is 0\n";
        assert_eq!(
            remarks(&report, said),
            ["the generator was saturated", "--fail-if lost<1: lost is 0", "7 left late"]
        );
        assert!(remarks(&json!({ "overrun": 0 }), "").is_empty());
    }
}
