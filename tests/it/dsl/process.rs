//! The binary as a process.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

/// The binary, without what the environment of the test would tell it.
pub(crate) fn fanfare(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fanfare"));
    command.args(words).env_clear().stdin(Stdio::null());
    command
}

/// A running binary; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: ChildStderr,
}

impl Running {
    pub(crate) fn start(words: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::spawn(fanfare(words).envs(variables.iter().copied()))
    }

    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// The next line on stdout; empty when there is no further.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// See [`freeze`].
    pub(crate) fn freeze(&self) {
        freeze(&self.child);
    }

    /// Waits for the end: the code and what was written to stderr. A binary that was told to stop says nothing more on stdout.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let (mut rest, mut log) = (String::new(), String::new());
        self.stdout.read_to_string(&mut rest).unwrap();
        assert!(!rest.contains("http://"), "{rest}");
        self.stderr.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone afterwards.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A file of this test run.
pub(crate) fn temporary(name: &str, content: &str) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

/// Sends a process a signal.
pub(super) fn signal(process: &Child, name: &str) {
    // The shell has it built in; a program of that name may be missing.
    let sent = Command::new("sh")
        .args(["-c", &format!("kill -s {name} {}", process.id())])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// Stops a process, clock and all, until it is told to go on (`CONT`). A thread that runs stops a moment after it was told to: this waits
/// until all of them have.
pub(super) fn freeze(process: &Child) {
    signal(process, "STOP");
    let threads = || fs::read_dir(format!("/proc/{}/task", process.id())).unwrap();
    // Behind the name, which is in parentheses, stands the state.
    let stands = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
    let stopped = || threads().all(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).is_ok_and(stands));
    for _ in 0..20_000 {
        if stopped() {
            return;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    panic!("process {} does not stop", process.id());
}
