//! A path that misbehaves: a relay before a server, which holds back what passes, freezes, or breaks.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// What happens to the bytes of one way.
#[derive(Debug, Clone, Copy, Default)]
struct Path {
    frozen: bool,
    /// Each piece is held back by a random part of this time, each connection by itself.
    delay: Duration,
}

/// Bytes to the server by which a connection is known.
const KNOWN_BY: usize = 4096;

/// One connection, while it stands.
#[derive(Debug, Default)]
struct Line {
    /// The first of what the client has said.
    said: Mutex<Vec<u8>>,
    frozen_to_server: watch::Sender<bool>,
    frozen_to_client: watch::Sender<bool>,
}

/// A relay to a server of loopback, on a port of its own. Dropped, it takes no connections any more and breaks those it has.
#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    to_server: watch::Sender<Path>,
    to_client: watch::Sender<Path>,
    /// Counts the times that all connections were broken.
    breaks: watch::Sender<u64>,
    lines: Arc<Mutex<Vec<Weak<Line>>>>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// A relay to the server at `server`, on a free port.
    pub(crate) async fn start(server: u16) -> Self {
        Self::listen(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(), server)
    }

    /// The same on a listener: a server may have to know the relay's port before it starts.
    pub(crate) fn listen(listener: TcpListener, server: u16) -> Self {
        let port = listener.local_addr().unwrap().port();
        let ((to_server, up), (to_client, down)) = (watch::channel(Path::default()), watch::channel(Path::default()));
        let (breaks, broken) = watch::channel(0);
        let lines = Arc::<Mutex<Vec<Weak<Line>>>>::default();
        let known = lines.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let line = Arc::new(Line::default());
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                known.retain(|line| line.strong_count() > 0);
                known.push(Arc::downgrade(&line));
                drop(known);
                let (mut broken, up, down) = (broken.clone(), up.clone(), down.clone());
                broken.mark_unchanged();
                tokio::spawn(async move {
                    let relayed = async {
                        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else {
                            return;
                        };
                        drop((client.set_nodelay(true), server.set_nodelay(true)));
                        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                        let up = (up, line.frozen_to_server.subscribe());
                        let down = (down, line.frozen_to_client.subscribe());
                        tokio::join!(
                            carry(from_client, to_server, up, |bytes| line.remember(bytes)),
                            carry(from_server, to_client, down, |_| {})
                        );
                    };
                    // The relay's end breaks them, too.
                    tokio::select! {
                        () = relayed => {}
                        _ = broken.changed() => {}
                    }
                });
            }
        });
        Self {
            port,
            to_server,
            to_client,
            breaks,
            lines,
            accepting,
        }
    }

    /// Where clients reach the server through the relay.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Holds back each piece, both ways, by a random time of at most `longest`.
    pub(crate) fn delay(&self, longest: Duration) {
        for way in [Way::ToServer, Way::ToClient] {
            self.path(way).send_modify(|path| path.delay = longest);
        }
    }

    /// From now on nothing passes this way; connections stay, also those that come.
    pub(crate) fn freeze(&self, way: Way) {
        self.path(way).send_modify(|path| path.frozen = true);
    }

    /// The same for those connections of now alone whose clients have said `word`, at the beginning. Answers how many they are.
    pub(crate) fn freeze_those_that_said(&self, word: &str, way: Way) -> usize {
        let those: Vec<_> = self.lines().into_iter().filter(|line| line.has_said(word)).collect();
        for line in &those {
            line.frozen(way).send_replace(true);
        }
        those.len()
    }

    /// What waits passes again, on all connections, and what comes after it.
    pub(crate) fn thaw(&self, way: Way) {
        self.path(way).send_modify(|path| path.frozen = false);
        for line in self.lines() {
            line.frozen(way).send_replace(false);
        }
    }

    /// Breaks all connections; new ones are taken.
    pub(crate) fn cut(&self) {
        self.breaks.send_modify(|breaks| *breaks += 1);
    }

    fn lines(&self) -> Vec<Arc<Line>> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter_map(Weak::upgrade).collect()
    }

    fn path(&self, way: Way) -> &watch::Sender<Path> {
        match way {
            Way::ToServer => &self.to_server,
            Way::ToClient => &self.to_client,
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Line {
    fn frozen(&self, way: Way) -> &watch::Sender<bool> {
        match way {
            Way::ToServer => &self.frozen_to_server,
            Way::ToClient => &self.frozen_to_client,
        }
    }

    fn remember(&self, bytes: &[u8]) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KNOWN_BY - said.len();
        said.extend(bytes.iter().take(room));
    }

    fn has_said(&self, word: &str) -> bool {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.windows(word.len()).any(|window| window == word.as_bytes())
    }
}

/// Carries bytes one way until either end closes, or the relay is gone. `passing` sees them go.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    (mut path, mut frozen): (watch::Receiver<Path>, watch::Receiver<bool>),
    passing: impl Fn(&[u8]),
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        // A frozen path leaves the bytes with the sender, whose window closes.
        if !open(&mut path, &mut frozen).await {
            return;
        }
        let Ok(length @ 1..) = from.read(&mut bytes).await else { break };
        let delay = path.borrow().delay;
        if !delay.is_zero() {
            sleep(delay.mul_f64(random())).await;
        }
        if !open(&mut path, &mut frozen).await {
            break;
        }
        passing(&bytes[..length]);
        if to.write_all(&bytes[..length]).await.is_err() {
            break;
        }
    }
    to.shutdown().await.ok();
}

/// Waits until neither the whole path is frozen nor the one connection; `false` when the relay is gone.
async fn open(path: &mut watch::Receiver<Path>, frozen: &mut watch::Receiver<bool>) -> bool {
    loop {
        if path.wait_for(|path| !path.frozen).await.is_err() || frozen.wait_for(|frozen| !frozen).await.is_err() {
            return false;
        }
        if !path.borrow().frozen {
            return true;
        }
    }
}

/// A number from 0 to 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}
