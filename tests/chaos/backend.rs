//! What joins the nodes of a run: servers, and for each node a relay of its own before them.

use crate::dsl::{Backend, Relay};

use super::schedule::NODES;

/// Which backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Redis,
    Nats,
}

impl Kind {
    /// By what the environment names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Nats => "nats",
        }
    }
}

/// Its servers, and the nodes' paths to them.
#[derive(Debug)]
pub(super) struct Bus {
    kind: Kind,
    server: Backend,
    relays: Vec<Relay>,
}

impl Bus {
    pub(super) async fn start(kind: Kind) -> Self {
        let server = match kind {
            Kind::Redis => Backend::redis().await,
            Kind::Nats => Backend::nats().await,
        };
        let mut relays = Vec::new();
        for _ in 0..NODES {
            relays.push(Relay::start(server.port()).await);
        }
        Self { kind, server, relays }
    }

    /// Whether each node has a path of its own, that can be frozen.
    pub(super) fn is_relayed(&self) -> bool {
        !self.relays.is_empty()
    }

    pub(super) fn relay(&self, place: usize) -> &Relay {
        &self.relays[place]
    }

    /// The lines of a node's configuration that lead it to the backend.
    pub(super) fn adapter(&self, place: usize) -> String {
        let (kind, port) = (self.kind.name(), self.relays[place].port());
        format!("kind = \"{kind}\"\n{kind}.url = \"{kind}://127.0.0.1:{port}\"")
    }

    /// Kills a server.
    pub(super) fn kill(&mut self) {
        self.server.kill();
    }

    /// Brings it back.
    pub(super) async fn restart(&mut self) {
        self.server.restart().await;
    }
}
