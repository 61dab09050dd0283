//! Where and of what a comparison was made: without it figures mean little.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;
use tokio::process::Command;

use super::peers::Peer;

/// The machine, and the versions of what was measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Machine {
    pub(super) cpu: String,
    pub(super) cores: usize,
    pub(super) memory_mib: u64,
    pub(super) kernel: String,
    /// Of the repository with the peers; `+` behind it: with changes that are in no commit.
    pub(super) commit: String,
    pub(super) versions: BTreeMap<&'static str, String>,
    /// Seconds since 1970.
    pub(super) unix_time: u64,
    pub(super) rounds: usize,
}

impl Machine {
    /// This one; what is not to be found is `unknown`.
    pub(super) async fn of(peers: &Path, servers: &[Peer], rounds: usize) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut versions = BTreeMap::new();
        let lock = std::fs::read_to_string(peers.join("Cargo.lock")).unwrap_or_default();
        let node: serde_json::Value = std::fs::read_to_string(peers.join("node/package-lock.json"))
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default();
        let of_npm = |name: &str| {
            let version = node
                .get("packages")
                .and_then(|all| all.get(format!("node_modules/{name}"))?.get("version")?.as_str());
            version.unwrap_or("unknown").to_owned()
        };
        for peer in servers {
            match peer {
                Peer::Fanfare => drop(versions.insert("fanfare", locked(&lock, "fanfare"))),
                Peer::Socketioxide => {
                    versions.insert("socketioxide", locked(&lock, "socketioxide"));
                    versions.insert("socketioxide-redis", locked(&lock, "socketioxide-redis"));
                }
                Peer::Node => {
                    versions.insert("Node.js", said(Command::new("node").arg("--version")).await);
                    versions.insert("socket.io", of_npm("socket.io"));
                    versions.insert("@socket.io/redis-adapter", of_npm("@socket.io/redis-adapter"));
                }
                Peer::Floor => {}
            }
        }
        versions.insert("rustc", said(Command::new("rustc").arg("--version")).await);
        versions.insert("redis-server", said(Command::new("redis-server").arg("--version")).await);
        let git = |words: &[&str]| {
            let mut git = Command::new("git");
            git.arg("-C").arg(peers).args(words);
            git
        };
        let commit = said(&mut git(&["rev-parse", "--short=12", "HEAD"])).await;
        let changed = !matches!(said(&mut git(&["status", "--porcelain"])).await.as_str(), "" | UNKNOWN);
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or(UNKNOWN).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: field(&read("/proc/meminfo"), "MemTotal")
                .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
                .unwrap_or_default()
                / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: if changed { commit + "+" } else { commit },
            versions,
            unix_time: std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            rounds,
        }
    }

    /// In lines, for people.
    pub(super) fn lines(&self) -> [String; 3] {
        let versions: Vec<_> = self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        let (cpu, cores, memory, kernel) = (&self.cpu, self.cores, self.memory_mib, &self.kernel);
        [
            format!("{cpu}, {cores} cores, {memory} MiB, Linux {kernel}; commit {}", self.commit),
            versions.join(", "),
            format!(
                "medians of {} rounds in turns, in brackets the smallest and largest; ratios are medians of those of the rounds",
                self.rounds
            ),
        ]
    }
}

const UNKNOWN: &str = "unknown";

/// The last line that a command prints.
async fn said(command: &mut Command) -> String {
    let output = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output().await;
    match output {
        Ok(output) if output.status.success() => version(String::from_utf8_lossy(&output.stdout).trim()),
        _ => UNKNOWN.to_owned(),
    }
}

/// Redis tells much around its version.
fn version(text: &str) -> String {
    let redis = text.split_once("v=").and_then(|(_, rest)| rest.split(' ').next());
    redis.unwrap_or(text).trim_start_matches("rustc ").to_owned()
}

/// The value of a field in a file of the form `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'))?;
    Some(line.trim())
}

/// The version of a package in a Cargo.lock.
fn locked(lock: &str, name: &str) -> String {
    let found = lock
        .split_once(&format!("name = \"{name}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split('"').next());
    found.unwrap_or(UNKNOWN).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_and_programs_tell_is_read() {
        assert_eq!(
            field("processor\t: 0\nmodel name\t: A CPU: fast\n", "model name"),
            Some("A CPU: fast")
        );
        assert_eq!(field("MemTotal:       24000 kB\n", "MemTotal"), Some("24000 kB"));
        assert_eq!(field("", "MemTotal"), None);
        let lock = "[[package]]\nname = \"socketioxide\"\nversion = \"0.18.9\"\n\n[[package]]\nname = \"socketioxide-redis\"\nversion = \"0.4.4\"\n";
        assert_eq!(
            (locked(lock, "socketioxide"), locked(lock, "x")),
            ("0.18.9".to_owned(), UNKNOWN.to_owned())
        );
        assert_eq!(version("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc"), "7.0.15");
        assert_eq!(version("v20.20.2"), "v20.20.2");
    }
}
