//! A backend's server as a child process of the test.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::world::Kind;

/// How long a server may take to answer on its port.
const START: Duration = Duration::from_secs(20);

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Redis,
    Sentinel,
    Nats,
}

/// A server of a fixed port that can be started more than once. The process is killed, by its own id, when this is dropped.
pub struct Server {
    pub program: Program,
    pub port: u16,
    /// Further arguments; of a sentinel, lines of its configuration.
    pub arguments: Vec<String>,
    login: Option<(&'static str, &'static str)>,
    /// A certificate and its key, when the server speaks TLS.
    identity: Option<(PathBuf, PathBuf)>,
    directory: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// Chooses a port; nothing runs yet. With a login, the server asks for it (Redis: the password alone).
    pub fn new(kind: Kind, login: Option<(&'static str, &'static str)>) -> Self {
        let program = if kind == Kind::Nats { Program::Nats } else { Program::Redis };
        let mut server = Self::of(program);
        server.login = login;
        server
    }

    /// A server that asks for nothing.
    pub fn of(program: Program) -> Self {
        let port = free_port();
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("contract-{port}"));
        std::fs::create_dir_all(&directory).expect("a directory for the server");
        Self {
            program,
            port,
            arguments: Vec::new(),
            login: None,
            identity: None,
            directory,
            child: None,
        }
    }

    /// Gives the server a fresh certificate for 127.0.0.1, and lets it speak TLS alone. Answers the certificate, its own authority.
    pub async fn identify(&mut self) -> PathBuf {
        let (certificate, key) = (self.directory.join("certificate.pem"), self.directory.join("key.pem"));
        let form = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
                    -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
        let mut command = Command::new("openssl");
        command
            .args(form.split_whitespace())
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key);
        let made = command.stderr(Stdio::null()).status().await;
        let made = made.unwrap_or_else(|problem| panic!("cannot start openssl ({problem}): install the Debian package openssl"));
        assert!(made.success(), "openssl: {made}");
        self.identity = Some((certificate.clone(), key));
        certificate
    }

    /// Starts the server and waits until its port answers.
    pub async fn start(&mut self) {
        let mut child = self.command().spawn().unwrap_or_else(|problem| {
            let name = self.binary();
            panic!("cannot start {name} ({problem}): install the Debian package {name}")
        });
        let deadline = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            if let Some(status) = child.try_wait().expect("the server's state") {
                panic!("the server ended at once: {status}");
            }
            assert!(Instant::now() < deadline, "the server does not answer on port {}", self.port);
            sleep(Duration::from_millis(20)).await;
        }
        self.child = Some(child);
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Kills the server, as a crash would.
    pub async fn kill(&mut self) {
        let mut child = self.child.take().expect("a running server");
        child.kill().await.expect("the server is killed");
    }

    /// Stops the server's clock: connections stay, nothing answers.
    pub async fn freeze(&self) {
        self.signal("-STOP").await;
    }

    /// Undoes [`Server::freeze`].
    pub async fn thaw(&self) {
        self.signal("-CONT").await;
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.as_ref().and_then(Child::id).expect("a running server").to_string();
        let sent = Command::new("kill").args([signal, &id]).status().await.expect("kill runs");
        assert!(sent.success());
    }

    fn binary(&self) -> &'static str {
        match self.program {
            Program::Redis | Program::Sentinel => "redis-server",
            Program::Nats => "nats-server",
        }
    }

    fn command(&self) -> Command {
        let port = self.port.to_string();
        let mut command = Command::new(self.binary());
        match self.program {
            Program::Redis => {
                command
                    .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
                    .arg(&self.directory);
                if let Some((_, password)) = self.login {
                    command.args(["--requirepass", password]);
                }
                if let Some((certificate, key)) = &self.identity {
                    command.args(["--port", "0", "--tls-auth-clients", "no", "--tls-port", &port]);
                    command.arg("--tls-cert-file").arg(certificate).arg("--tls-key-file").arg(key);
                    command.arg("--tls-ca-cert-file").arg(certificate);
                }
            }
            Program::Sentinel => {
                // Sentinel keeps what it knows in its configuration file.
                let file = self.directory.join("sentinel.conf");
                let text = format!(
                    "port {port}\nbind 127.0.0.1\ndir {}\n{}\n",
                    self.directory.display(),
                    self.arguments.join("\n")
                );
                std::fs::write(&file, text).expect("the sentinel's configuration");
                command.arg(file).arg("--sentinel");
            }
            Program::Nats => {
                command.args(["-a", "127.0.0.1", "-p", &port]);
                if let Some((user, password)) = self.login {
                    command.args(["--user", user, "--pass", password]);
                }
                if let Some((certificate, key)) = &self.identity {
                    command.arg("--tls").arg("--tlscert").arg(certificate).arg("--tlskey").arg(key);
                }
            }
        }
        if self.program != Program::Sentinel {
            command.args(&self.arguments);
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.take());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// A free port outside the range from which the system draws ports for outgoing connections: a client that knocks at a closed port of
/// that range may by chance be connected to itself.
pub fn free_port() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish();
        let port = 10_000 + u16::try_from(random % 20_000).expect("below 20000");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
