//! A path that misbehaves: a relay before a server, which holds back what passes, freezes, or breaks.

use std::{net::Ipv4Addr, time::Duration};

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

/// A relay to a server of loopback, on a port of its own. Dropped, it takes no connections any more and breaks those it has.
#[derive(Debug)]
pub(crate) struct Relay {
    port: u16,
    to_server: watch::Sender<Path>,
    to_client: watch::Sender<Path>,
    /// Counts the times that all connections were broken.
    breaks: watch::Sender<u64>,
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
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut broken, up, down) = (broken.clone(), up.clone(), down.clone());
                broken.mark_unchanged();
                tokio::spawn(async move {
                    let relayed = async {
                        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await else {
                            return;
                        };
                        drop((client.set_nodelay(true), server.set_nodelay(true)));
                        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                        tokio::join!(carry(from_client, to_server, up), carry(from_server, to_client, down));
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

    /// What waits passes again, and what comes after it.
    pub(crate) fn thaw(&self, way: Way) {
        self.path(way).send_modify(|path| path.frozen = false);
    }

    /// Breaks all connections; new ones are taken.
    pub(crate) fn cut(&self) {
        self.breaks.send_modify(|breaks| *breaks += 1);
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

/// Carries bytes one way until either end closes, or the relay is gone.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut path: watch::Receiver<Path>) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        // A frozen path leaves the bytes with the sender, whose window closes.
        if path.wait_for(|path| !path.frozen).await.is_err() {
            return;
        }
        let Ok(length @ 1..) = from.read(&mut bytes).await else { break };
        let delay = path.borrow().delay;
        if !delay.is_zero() {
            sleep(delay.mul_f64(random())).await;
        }
        if path.wait_for(|path| !path.frozen).await.is_err() || to.write_all(&bytes[..length]).await.is_err() {
            break;
        }
    }
    to.shutdown().await.ok();
}

/// A number from 0 to 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).unwrap();
    f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX)
}
