//! One run: starts a server, and a scenario against it, and ends both.

use std::{net::TcpListener, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::process::Command;

use super::{
    peers::{Node, Peer, Peers},
    process::Process,
    rows::Row,
};
use crate::client::{Client, Route, Transport};

/// How long a scenario may take beyond what its duration says.
const LONGEST: Duration = Duration::from_secs(600);
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
}

/// Measures one server by one row; why it could not be measured, if it could not.
pub(super) async fn measure(peers: &Peers, peer: Peer, row: &Row) -> Result<Run, String> {
    let text = |error: super::process::ProcessError| error.to_string();
    let backend = if row.nodes > 1 { Some(redis().await?) } else { None };
    let url = backend.as_ref().map(|backend| backend.url.as_str());
    let mut nodes = try_join_all((0..row.nodes).map(|_| peers.start(peer, url))).await.map_err(text)?;
    if row.nodes > 1 {
        acquaint(&nodes).await?;
    }
    let mut pids: Vec<_> = nodes.iter().map(|node| node.process.pid).collect();
    pids.extend(backend.as_ref().map(|backend| backend.process.pid));
    let run = scenario(&row.flags, &nodes, &pids).await;
    // That one of them has ended explains more than what the scenario says of it.
    for node in &mut nodes {
        node.process.check().map_err(text)?;
    }
    for process in nodes.into_iter().chain(backend).map(|node| node.process) {
        process.stop().await;
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
            Err(error) => failure = error.to_string(),
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
    // Its progress is for nobody, and its end is that of the comparison.
    let child = command.process_group(0).kill_on_drop(true).output();
    let output = tokio::time::timeout(LONGEST, child)
        .await
        .map_err(|_| format!("the scenario took more than {} s", LONGEST.as_secs()))?
        .map_err(|error| format!("the scenario: {error}"))?;
    let report: Option<Value> = serde_json::from_slice(&output.stdout).ok();
    let Some(report) = report else {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.trim().trim_start_matches("fanfare-load: ").to_owned());
    };
    let faults = faults(&report);
    Ok(Run { report, faults })
}

/// What a report says of things that went wrong.
fn faults(report: &Value) -> Vec<String> {
    let counted = [
        ("lost", "lost"),
        ("duplicate", "twice"),
        ("out_of_order", "out of order"),
        ("stray", "in the wrong room"),
        ("unexpected", "unexpected"),
        ("wrong", "wrong"),
        ("failed", "failed"),
        ("disconnected", "disconnected"),
    ];
    let count = |field| report.get(field).and_then(Value::as_u64).unwrap_or_default();
    let mut faults: Vec<_> = counted
        .iter()
        .filter(|(field, _)| count(field) > 0)
        .map(|(field, what)| format!("{} {what}", count(field)))
        .collect();
    let missing = report.get("server_cpu_cores").is_some_and(Value::is_null);
    faults.extend(missing.then(|| "a process of the server ended".to_owned()));
    faults
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_went_wrong_is_told_and_what_did_not_is_not() {
        let good = json!({ "lost": 0, "delivered": 7, "disconnected": 0, "server_cpu_cores": 0.5 });
        assert!(faults(&good).is_empty());
        let bad = json!({ "lost": 3, "out_of_order": 1, "disconnected": 0, "server_cpu_cores": null });
        assert_eq!(faults(&bad), ["3 lost", "1 out of order", "a process of the server ended"]);
    }
}
