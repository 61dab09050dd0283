//! A node as a process of its own, this test's executable again: what is measured of it is nothing of the clients'.
//!
//! The allocator is told to give what is freed back to the system: what it keeps of a flood otherwise, for the next one, is three times what
//! the node holds, and would hide a leak.

use std::{
    io::{BufRead as _, BufReader, Lines},
    net::SocketAddr,
    process::{Child, ChildStdout, Command, Stdio},
};

use fanfare::node::RunningNode;

use super::process::{freeze, signal};

/// What stands before the addresses in the node's output.
const ADDRESSES: &str = "the node listens on ";

/// The node; its process ends when this is dropped.
#[derive(Debug)]
pub(crate) struct NodeProcess {
    child: Child,
    /// What the test harness still has to say in it must find a reader.
    _stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) public: SocketAddr,
    pub(crate) internal: SocketAddr,
}

impl NodeProcess {
    /// Runs this test alone, which finds `role` in its environment and is to call [`serve`].
    pub(crate) fn start(test: &str, role: (&str, &str)) -> Self {
        // Without the name of the crate.
        let (_, test) = test.split_once("::").unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .envs([
                role,
                ("MALLOC_MMAP_THRESHOLD_", "65536"),
                ("MALLOC_TRIM_THRESHOLD_", "65536"),
                ("MALLOC_ARENA_MAX", "2"),
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addresses = lines
            .by_ref()
            .find_map(|line| Some(line.unwrap().split_once(ADDRESSES)?.1.to_owned()));
        let addresses = addresses.expect("the node says where it listens");
        let (public, internal) = addresses.split_once(' ').unwrap();
        Self {
            child,
            _stdout: lines,
            public: public.parse().unwrap(),
            internal: internal.parse().unwrap(),
        }
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it was.
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// See [`freeze`].
    pub(crate) fn freeze(&self) {
        freeze(&self.child);
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        value.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        // Standard input ends, and with it the node; one that hangs is killed.
        drop(self.child.stdin.take());
        let killed = self.child.kill().and_then(|()| self.child.wait());
        assert!(killed.is_ok() || std::thread::panicking(), "{killed:?}");
    }
}

/// Serves until the test that has started this process closes standard input.
pub(crate) async fn serve(node: RunningNode) {
    println!("{ADDRESSES}{} {}", node.public_addr(), node.internal_addr());
    let end = tokio::task::spawn_blocking(|| std::io::stdin().lines().next().is_none());
    assert!(end.await.unwrap());
    node.shutdown().await;
}
