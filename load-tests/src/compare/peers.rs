//! The servers that are compared: where they are, how they are built, and how they are started.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::SystemTime,
};

use clap::ValueEnum;
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process_group},
};
use serde::Serialize;
use tokio::process::{Child, Command};

use super::process::{Process, ProcessError};

/// A server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Peer {
    /// The library of this repository.
    Fanfare,
    /// The reference server on Node.js.
    Node,
    /// socketioxide, served by axum.
    Socketioxide,
    /// A bare loop on one thread: what the kernel takes.
    Floor,
}

/// Why there are no peers.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeersError {
    /// They are nowhere.
    #[error(
        "no peers (a folder with Cargo.toml and node/server.mjs) in {looked}: run this in a clone of the repository, or say --peers DIR"
    )]
    Nowhere {
        /// Where they were looked for.
        looked: String,
    },
    /// A program that builds them is missing or failed.
    #[error("{command}: {why}")]
    Build {
        /// What was run.
        command: String,
        /// What became of it.
        why: String,
    },
}

/// Servers that can be started.
#[derive(Debug)]
pub(super) struct Peers {
    directory: PathBuf,
    /// Those in Rust.
    programs: BTreeMap<Peer, PathBuf>,
}

/// A process of a server that listens.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) process: Process,
    pub(super) url: String,
}

impl Peer {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fanfare => "fanfare",
            Self::Node => "node",
            Self::Socketioxide => "socketioxide",
            Self::Floor => "floor",
        }
    }

    /// Why it cannot do a row, if it cannot.
    pub(super) fn lacks(self, nodes: usize, flags: &[String]) -> Option<&'static str> {
        match self {
            Self::Floor if nodes > 1 => Some("no cluster"),
            Self::Floor if flags.iter().any(|flag| flag == "polling" || flag == "upgrade") => Some("no polling"),
            _ => None,
        }
    }
}

impl Peers {
    /// Finds them, and builds those that are wanted.
    ///
    /// # Errors
    /// [`PeersError`].
    pub(super) async fn prepare(given: Option<&Path>, wanted: &[Peer]) -> Result<Self, PeersError> {
        let directory = find(given)?;
        let mut programs = BTreeMap::new();
        if wanted.iter().any(|peer| *peer != Peer::Node) {
            programs = build(&directory, wanted).await?;
        }
        if wanted.contains(&Peer::Node) {
            install(&directory.join("node")).await?;
        }
        Ok(Self { directory, programs })
    }

    /// Where they are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts a process of `peer` on a free port, and waits until it listens; `redis` is the URL of what joins it to others.
    ///
    /// # Errors
    /// [`ProcessError`].
    pub(super) async fn start(&self, peer: Peer, redis: Option<&str>) -> Result<Node, ProcessError> {
        let mut command = match self.programs.get(&peer) {
            Some(program) => Command::new(program),
            None => {
                let mut node = Command::new("node");
                node.arg(self.directory.join("node/server.mjs")).env("NODE_ENV", "production");
                node
            }
        };
        command.env("PORT", "0").env_remove("REDIS").env_remove("NATS");
        if let Some(url) = redis {
            command.env("REDIS", url);
        }
        let mut process = Process::start(peer.name(), command)?;
        match process.line("public ").await {
            Ok(url) => Ok(Node { process, url }),
            Err(error) => {
                process.stop().await;
                Err(error)
            }
        }
    }
}

/// The folder of the peers.
fn find(given: Option<&Path>) -> Result<PathBuf, PeersError> {
    let candidates: Vec<PathBuf> = match given {
        Some(given) => vec![given.to_owned()],
        None => {
            let here = env::current_dir().unwrap_or_default();
            let above = here.ancestors().map(|folder| folder.join("load-tests/peers"));
            above.chain([Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")]).collect()
        }
    };
    let is_it = |folder: &&PathBuf| folder.join("Cargo.toml").is_file() && folder.join("node/server.mjs").is_file();
    let found = candidates.iter().find(is_it).and_then(|folder| folder.canonicalize().ok());
    found.ok_or_else(|| PeersError::Nowhere {
        looked: candidates
            .iter()
            .map(|folder| folder.display().to_string())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// Builds those in Rust, and asks Cargo where they are: that depends on its configuration. The lock file need not be that of the commit: who
/// tries another dependency of fanfare wants to measure it.
async fn build(directory: &Path, wanted: &[Peer]) -> Result<BTreeMap<Peer, PathBuf>, PeersError> {
    let wanted: Vec<_> = wanted.iter().filter(|peer| **peer != Peer::Node).collect();
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--release",
        "--message-format",
        "json-render-diagnostics",
        "--manifest-path",
    ]);
    cargo.arg(directory.join("Cargo.toml"));
    for peer in &wanted {
        cargo.args(["-p", &format!("peer-{}", peer.name())]);
    }
    let told = run("building the servers (the first time takes minutes)", cargo.current_dir(directory)).await?;
    let mut programs = BTreeMap::new();
    for line in told.lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let name = message.pointer("/target/name").and_then(serde_json::Value::as_str);
        let path = message.get("executable").and_then(serde_json::Value::as_str);
        if let Some(path) = path
            && let Some(peer) = wanted.iter().find(|peer| Some(peer.name()) == name)
        {
            programs.insert(**peer, PathBuf::from(path));
        }
    }
    match wanted.iter().find(|peer| !programs.contains_key(peer)) {
        None => Ok(programs),
        Some(missing) => Err(PeersError::Build {
            command: "cargo build".to_owned(),
            why: format!("it does not say where the program {} is", missing.name()),
        }),
    }
}

/// Installs what the reference needs, unless it is there.
async fn install(directory: &Path) -> Result<(), PeersError> {
    let changed = |path: &str| directory.join(path).metadata().and_then(|file| file.modified());
    let installed = changed("node_modules/.package-lock.json").unwrap_or(SystemTime::UNIX_EPOCH);
    if changed("package-lock.json").is_ok_and(|wanted| wanted <= installed) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(directory);
    run("installing the reference server", &mut npm).await.map(drop)
}

/// Runs a command to its end, and shows what it says of its work; what it printed.
async fn run(what: &str, command: &mut Command) -> Result<String, PeersError> {
    let words: Vec<_> = std::iter::once(command.as_std().get_program())
        .chain(command.as_std().get_args())
        .map(|word| word.display().to_string())
        .collect();
    let failed = |why: String| PeersError::Build {
        command: words.join(" "),
        why,
    };
    eprintln!("fanfare-load: {what}: {}", words.join(" "));
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn().map_err(|error| failed(format!("cannot be started: {error}")))?;
    let mut group = Group::of(&child);
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    group.leader = None;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed(format!("failed ({})", output.status)))
    }
}

/// The group of a process that has children of its own, as Cargo and npm have: ended together, unless the first of them ends before.
struct Group {
    leader: Option<Pid>,
}

impl Group {
    /// That of a child which has been given one.
    fn of(child: &Child) -> Self {
        let leader = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        Self { leader }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader
            && let Err(error) = kill_process_group(leader, Signal::KILL)
            && error != Errno::SRCH
        {
            eprintln!("fanfare-load: cannot end the processes of group {leader}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::compare::process::tests::lives;

    #[test]
    fn the_peers_of_this_repository_are_found_and_others_missed_by_name() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        assert_eq!(find(None).unwrap(), here);
        let error = find(Some(Path::new("/nowhere"))).unwrap_err().to_string();
        assert!(error.contains("in /nowhere: ") && error.contains("--peers DIR"), "{error}");
    }

    #[test]
    fn what_the_floor_cannot_do_is_said() {
        let flags = ["idle", "--transport", "polling"].map(str::to_owned);
        assert_eq!(Peer::Floor.lacks(1, &flags), Some("no polling"));
        assert_eq!(Peer::Floor.lacks(3, &[]), Some("no cluster"));
        assert_eq!(Peer::Floor.lacks(1, &[]), None);
        assert_eq!(Peer::Node.lacks(3, &flags), None);
    }

    #[tokio::test]
    async fn a_command_that_is_not_awaited_any_more_ends_with_the_processes_that_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 60 & echo $! > pid; wait"]).current_dir(directory.path());
        let child = async {
            loop {
                let written = std::fs::read_to_string(directory.path().join("pid")).unwrap_or_default();
                if let Some(pid) = written.strip_suffix('\n') {
                    return pid.parse::<u32>().unwrap();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let bound = Duration::from_secs(10);
        let child = tokio::select! {
            ended = run("building", &mut shell) => panic!("it has ended: {ended:?}"),
            child = tokio::time::timeout(bound, child) => child.unwrap(),
        };
        tokio::time::timeout(bound, async {
            while lives(child) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_command_that_fails_or_is_missing_is_named() {
        let mut failing = Command::new("false");
        let error = run("failing", failing.arg("x")).await.unwrap_err().to_string();
        assert!(error.starts_with("false x: failed (exit status: 1)"), "{error}");
        let error = run("failing", &mut Command::new("/no/such")).await.unwrap_err().to_string();
        assert!(error.starts_with("/no/such: cannot be started: "), "{error}");
    }
}
