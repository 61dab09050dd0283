//! Processes that a comparison starts: each in a group of its own, so that what ends the comparison by the keyboard does not reach it
//! first, and each ended by its own id, at the latest when its value is dropped.

use std::{
    collections::VecDeque,
    io,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc,
};

/// How many lines are kept of what a process said last.
const KEPT: usize = 20;
/// How long a process may take from its start until it is ready.
const READY: Duration = Duration::from_secs(20);
/// Lines that were not asked for yet; more hold up nobody, and are kept for errors only.
const LINES: usize = 64;

/// Why a process is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProcessError {
    /// It was not started.
    #[error("cannot start {program}: {source}")]
    Start {
        /// Its file or name.
        program: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// It is not what it should be.
    #[error("{name}: {what}{said}")]
    Silent {
        /// What it is called here.
        name: String,
        /// What did not come.
        what: String,
        /// What came, behind a line end.
        said: String,
    },
}

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    pub(super) pid: u32,
    lines: mpsc::Receiver<String>,
    said: Arc<Mutex<VecDeque<String>>>,
}

impl Process {
    /// Starts one.
    ///
    /// # Errors
    /// [`ProcessError::Start`].
    pub(super) fn start(name: &str, mut command: Command) -> Result<Self, ProcessError> {
        let failed = |source, command: &Command| ProcessError::Start {
            program: command.as_std().get_program().display().to_string(),
            source,
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| failed(source, &command))?;
        let pid = child.id().ok_or_else(|| failed(io::ErrorKind::NotFound.into(), &command))?;
        let (sender, lines) = mpsc::channel(LINES);
        let said = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(listen(stdout, Arc::clone(&said), Some(sender)));
        }
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(listen(stderr, Arc::clone(&said), None));
        }
        Ok(Self {
            name: name.to_owned(),
            child,
            pid,
            lines,
            said,
        })
    }

    /// What stands behind `words` in the first line of its output that has them.
    ///
    /// # Errors
    /// [`ProcessError::Silent`] when it ends or takes too long.
    pub(super) async fn line(&mut self, words: &str) -> Result<String, ProcessError> {
        let found = async {
            while let Some(line) = self.lines.recv().await {
                if let Some((_, rest)) = line.split_once(words) {
                    return Some(rest.trim().to_owned());
                }
            }
            None
        };
        match tokio::time::timeout(READY, found).await {
            Ok(Some(rest)) => Ok(rest),
            Ok(None) => Err(self.silent(format!("ended without saying {words:?}"))),
            Err(_) => Err(self.silent(format!("did not say {words:?} within {} s", READY.as_secs()))),
        }
    }

    /// Whether it lives.
    ///
    /// # Errors
    /// [`ProcessError::Silent`] if it does not.
    pub(super) fn check(&mut self) -> Result<(), ProcessError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(self.silent(format!("ended by itself ({status})"))),
            Err(error) => Err(self.silent(error.to_string())),
        }
    }

    /// Ends it, and waits until it has ended.
    pub(super) async fn stop(mut self) {
        if let Err(error) = self.child.kill().await {
            eprintln!("fanfare-load: cannot end {} (process {}): {error}", self.name, self.pid);
        }
    }

    fn silent(&self, what: String) -> ProcessError {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        ProcessError::Silent {
            name: self.name.clone(),
            what,
            said: said.iter().map(|line| format!("\n    {line}")).collect(),
        }
    }
}

/// Reads lines until there are no more, so that the process never waits for who reads them.
async fn listen(stream: impl AsyncRead + Unpin, said: Arc<Mutex<VecDeque<String>>>, lines: Option<mpsc::Sender<String>>) {
    let mut stream = BufReader::new(stream).lines();
    while let Ok(Some(line)) = stream.next_line().await {
        {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push_back(line.clone());
            if said.len() > KEPT {
                said.pop_front();
            }
        }
        if let Some(lines) = &lines {
            // Full: nobody asks for lines any more.
            drop(lines.try_send(line));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("a shell", command).unwrap()
    }

    pub(in crate::compare) fn lives(pid: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // One that has ended, and whose end nobody has heard yet, is a zombie.
        !stat.is_empty() && !stat.contains(") Z ")
    }

    #[tokio::test]
    async fn what_a_process_says_is_found_and_its_end_told_with_what_it_said() {
        let mut process = shell("echo something; echo public http://here; echo 'no such thing' >&2; sleep 0.1");
        assert_eq!(process.line("public ").await.unwrap(), "http://here");
        let error = process.line("pid ").await.unwrap_err().to_string();
        assert!(
            error.contains("ended without saying \"pid \"") && error.contains("no such thing"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_process_ends_with_its_value_and_when_it_is_stopped() {
        let (dropped, stopped) = (shell("exec sleep 60"), shell("exec sleep 60"));
        let pids = [dropped.pid, stopped.pid];
        assert!(pids.into_iter().all(lives));
        drop(dropped);
        stopped.stop().await;
        tokio::time::timeout(Duration::from_secs(10), async {
            while pids.into_iter().any(lives) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named() {
        let error = Process::start("it", Command::new("/no/such/program")).unwrap_err().to_string();
        assert!(error.starts_with("cannot start /no/such/program: "), "{error}");
    }
}
