//! Servers of the backends, as child processes.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::sleep;

use super::within;

/// A backend's server on a free port of loopback; killed, by its own id, when dropped.
#[derive(Debug)]
pub(crate) struct Backend {
    child: Child,
    port: u16,
}

impl Backend {
    /// A Redis server that answers.
    pub(crate) async fn redis() -> Self {
        Self::start("redis-server", |port| {
            format!("--port {port} --bind 127.0.0.1 --save --appendonly no")
        })
        .await
    }

    /// A NATS server that answers.
    pub(crate) async fn nats() -> Self {
        Self::start("nats-server", |port| format!("-a 127.0.0.1 -p {port}")).await
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// `scheme` and the server's address.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    async fn start(program: &str, arguments: impl Fn(u16) -> String) -> Self {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(arguments(port).split(' '))
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|problem| panic!("cannot start {program} ({problem}): install the Debian package {program}"));
        let mut backend = Self { child, port };
        within("the backend's server to answer", async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
                assert!(backend.child.try_wait().unwrap().is_none(), "{program} ended at once");
                sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        backend
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        assert!(killed.is_ok() || std::thread::panicking(), "{killed:?}");
    }
}
