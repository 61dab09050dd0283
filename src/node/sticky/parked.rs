//! The polls of this node's sessions that came through other nodes, as long as they wait.
//!
//! When a node dies, its balancer sends a poll again that was on its way there, and it may be here before it is noticed that the connection
//! to the dead node has broken. Such a poll is no second one: it waits for a moment until the first is gone.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::request::Parts;
use tokio::{sync::Notify, time::timeout};

use crate::{node::watched::Broken, protocol::engineio::handshake::Query};

/// How long a poll waits for the end of another: as long as it takes to hear of a connection's end. One that overlaps another all the same
/// breaks the protocol.
const MOMENT: Duration = Duration::from_secs(1);

/// The sessions whose polls have come from other nodes and wait.
#[derive(Debug, Clone, Default)]
pub(in crate::node) struct HandedOnPolls(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    sessions: Mutex<HashSet<Box<str>>>,
    /// Wakes whoever waits for the end of one.
    ended: Notify,
}

/// One of them, as long as it waits.
#[derive(Debug)]
pub(in crate::node) struct HandedOn {
    session: Box<str>,
    broken: Broken,
    waiting: Arc<Waiting>,
}

impl HandedOnPolls {
    /// Notes a poll that has come over a connection from another node; nothing if it came from its client.
    pub(in crate::node) fn parked(&self, head: &Parts) -> Option<HandedOn> {
        let broken = head.extensions.get::<Broken>()?.clone();
        let session: Box<str> = session(head)?.into();
        self.0.lock().insert(session.clone());
        Some(HandedOn {
            session,
            broken,
            waiting: Arc::clone(&self.0),
        })
    }

    /// Ends when none of the session that the request names waits, or after a moment.
    pub(in crate::node) async fn none_of(&self, head: &Parts) {
        if self.0.lock().is_empty() {
            return;
        }
        let Some(session) = session(head) else { return };
        let ended = async {
            loop {
                let ended = self.0.ended.notified();
                tokio::pin!(ended);
                ended.as_mut().enable();
                if !self.0.lock().contains(&*session) {
                    return;
                }
                ended.await;
            }
        };
        // Whether there is none is looked at again by the session.
        timeout(MOMENT, ended).await.ok();
    }
}

impl HandedOn {
    /// Whether the connection has broken.
    pub(in crate::node) fn is_broken(&self) -> bool {
        self.broken.is_so()
    }
}

impl Drop for HandedOn {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.session);
        self.waiting.ended.notify_waiters();
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, HashSet<Box<str>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn session(head: &Parts) -> Option<String> {
    let query = Query::parse(head.uri.query()?);
    query.sid.map(|sid| sid.into_owned())
}
