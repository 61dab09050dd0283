//! A node as a process of its own.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use super::history::{Life, ROOMS};
use crate::dsl::{request, within};

/// A running node. Killed when it is dropped; its log is kept if the test has failed.
#[derive(Debug)]
pub(super) struct Process {
    running: Running,
    pub(super) public: SocketAddr,
    internal: SocketAddr,
    #[expect(dead_code, reason = "removed with this")]
    files: Files,
}

/// Ends with this value.
#[derive(Debug)]
struct Running(Child);

/// Its configuration and its log.
#[derive(Debug)]
struct Files {
    config: PathBuf,
    log: PathBuf,
}

impl Process {
    /// A node that serves; `adapter` is what joins it to the others, lines of the table.
    pub(super) async fn start(life: Life, adapter: &str) -> Self {
        let files = Files {
            config: files(&format!("{}.toml", life.0)),
            log: files(&format!("{}.log", life.0)),
        };
        fs::write(&files.config, config(adapter)).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_fanfare"))
            .arg("serve")
            .arg("--config")
            .arg(&files.config)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&files.log).unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let running = Running(child);
        let lines = tokio::task::spawn_blocking(move || [lines.next(), lines.next()]);
        let lines = within("a node's addresses", lines).await.unwrap();
        let [public, internal] = ["public http://", "internal http://"].map(|begin| {
            let line = lines.iter().flatten().flatten().find_map(|line| line.strip_prefix(begin));
            line.and_then(|address| address.parse().ok())
                .unwrap_or_else(|| panic!("{lines:?}, see {}", files.log.display()))
        });
        Self {
            running,
            public,
            internal,
            files,
        }
    }

    /// Kills it as the kernel would.
    pub(super) fn kill(&mut self) {
        self.running.0.kill().unwrap();
        self.running.0.wait().unwrap();
    }

    /// Stops its clock, or has it go on.
    pub(super) fn signal(&self, name: &str) {
        let id = self.running.0.id();
        // The shell has it built in; a program of that name may be missing.
        let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {id}")]).status().unwrap();
        assert!(sent.success());
    }

    /// Whether it has ended by itself, which it must not.
    pub(super) fn has_ended(&mut self) -> bool {
        self.running.0.try_wait().unwrap().is_some()
    }

    /// What it says of itself in numbers, those without labels.
    pub(super) async fn numbers(&self) -> HashMap<String, u64> {
        let answer = request(self.internal, "GET", "/metrics", &[], b"").await;
        let numbers = answer.text().lines().filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.parse::<f64>().ok()? as u64))
        });
        numbers.collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop((fs::remove_file(&self.config), fs::remove_file(&self.log)));
        }
    }
}

/// A file of this run.
pub(super) fn files(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{}-{name}", std::process::id()))
}

/// The times are short, so that a round can be: suspected after 600 ms, removed after two seconds.
fn config(adapter: &str) -> String {
    let rooms = ROOMS.map(|room| format!("{room:?}")).join(", ");
    format!(
        r#"
[server]
listen = "127.0.0.1:0"
[internal]
listen = "127.0.0.1:0"
[engine]
ping_interval = "1h"
[log]
level = "info,fanfare::cluster=debug,fanfare_adapters=debug"
[cluster]
name = "chaos"
secret = "that nobody else in this test knows"
heartbeat = "200ms"
suspect_after = "600ms"
remove_after = "2s"
[adapter]
{adapter}
[[namespace]]
name = "/"
rule = [
  {{ event = "all", action = "emit" }},
  {{ event = "say", action = "room", rooms = [{rooms}] }},
  {{ event = "join", action = "join", rooms = [{rooms}] }},
]
"#
    )
}
