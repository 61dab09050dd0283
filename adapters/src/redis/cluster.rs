//! Asks the servers of a Redis Cluster which of them has which slot.

use std::sync::{Mutex, PoisonError};

use super::{
    connection::{Connection, within},
    layout::Layout,
    topology::{Access, Address},
};
use crate::{driver::Fault, turn::Turn};

/// Servers that are remembered of an answer.
const KNOWN: usize = 1024;

/// The servers of one cluster, as far as they are known.
#[derive(Debug)]
pub(super) struct Cluster {
    configured: Vec<Address>,
    /// By the last answer.
    learnt: Mutex<Vec<Address>>,
    access: Access,
    turn: Turn,
}

impl Cluster {
    pub(super) fn new(configured: Vec<Address>, access: Access) -> Self {
        Self {
            configured,
            learnt: Mutex::default(),
            access,
            turn: Turn::default(),
        }
    }

    /// Who has which slot, by the first server that answers. It may be behind the times: a server that does not have a slot says so.
    pub(super) async fn layout(&self) -> Result<Layout, Fault> {
        let mut servers = self.configured.clone();
        let learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner).clone();
        servers.extend(learnt.into_iter().filter(|server| !self.configured.contains(server)));
        self.turn.try_all(&servers, |server| self.ask(server)).await
    }

    async fn ask(&self, server: Address) -> Result<Layout, Fault> {
        let asking = async {
            let connection = Connection::open(&self.access, &server).await?;
            let version = connection.version().await?;
            if version < 7 {
                return Err(Fault::new(format_args!(
                    "Redis {version} has no sharded pub/sub: a cluster needs Redis 7.0.3 or later, or the redis:// URL of one of its servers"
                )));
            }
            let answer = connection.ask("CLUSTER", vec!["SLOTS".into()]).await?;
            Layout::read(answer, &server).ok_or_else(|| Fault::new("an answer that is no list of slots"))
        };
        let (layout, mut known) = within(&format!("the server at {server}"), asking).await?;
        known.truncate(KNOWN);
        *self.learnt.lock().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(layout)
    }
}
