//! The sessions of a namespace whose connections have ended, and the records of all.

use std::{
    collections::HashMap,
    fmt,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::sleep;

use super::{
    KeptHandshake, Later, NotKept, Pid, Recovery, Session,
    session::{Errand, Fate},
};
use crate::hub::{
    Room, namespace,
    namespace::Guest,
    shared::{lock, now},
};

/// How long a change waits for others before the record is written.
const WRITE_DELAY: Duration = Duration::from_millis(50);

/// A record of a live session is written anew when it is so old: it must outlive its node by the time that its client has.
const REFRESH: Duration = Duration::from_secs(60);

/// How often it is looked for what has expired, or could not be written.
const SWEEP: Duration = Duration::from_secs(1);

/// Every so many sweeps live sessions are looked at, too.
const SWEEPS_TO_REFRESH: u32 = 10;

/// What a recoverable namespace has besides.
pub(in crate::hub) struct Ledger {
    pub(super) rules: Recovery,
    /// Sessions that wait for their clients, or for the deletion of their record. Each has a record, and those are bounded by who
    /// keeps them.
    ended: Mutex<HashMap<Pid, Ended>>,
    swept: AtomicBool,
}

/// A session whose socket has ended. It keeps a namespace that clients have brought about: nobody could come back to it otherwise.
#[derive(Debug)]
struct Ended {
    session: Arc<Session>,
    /// Dropped without any lock held.
    _guest: Option<Guest>,
}

/// Is called for each session that has expired.
#[derive(Clone)]
pub(in crate::hub) struct OnExpired(Arc<dyn Fn(Expired) -> Later<()> + Send + Sync>);

/// A session whose client has not come back in time: see [`Namespace::on_session_expired`](crate::hub::Namespace::on_session_expired).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expired {
    /// The id that the socket had.
    pub id: Room,
    /// The rooms in which it was, its own first.
    pub rooms: Vec<Room>,
    /// Who the client was, if a middleware had said so.
    pub user: Option<Box<str>>,
    /// The socket's own data, a JSON text; empty if there was none.
    pub data: Box<str>,
    /// What was kept of the handshake with which the session began.
    pub handshake: Arc<KeptHandshake>,
}

impl Ledger {
    pub(in crate::hub) fn new(rules: &Recovery) -> Self {
        Self {
            ended: Mutex::default(),
            swept: AtomicBool::new(false),
            rules: rules.clone(),
        }
    }

    /// How long a record that is written now is kept.
    pub(super) fn expiry(&self) -> Duration {
        self.rules.max_disconnection_duration + 2 * REFRESH
    }

    /// How old a record of a live session may grow.
    pub(in crate::hub) const fn refresh() -> Duration {
        REFRESH
    }

    /// How many sessions wait.
    pub(in crate::hub) fn len(&self) -> usize {
        lock(&self.ended).len()
    }

    /// The session of this pid whose socket has ended here, if it may be recovered.
    pub(super) fn waiting(&self, pid: &Pid) -> Option<Arc<Session>> {
        lock(&self.ended).get(pid).map(|ended| Arc::clone(&ended.session))
    }

    pub(super) fn remove(&self, session: &Arc<Session>) {
        let same = |known: &Ended| Arc::ptr_eq(&known.session, session);
        let mut ended = lock(&self.ended);
        let removed = ended.get(&session.pid).is_some_and(same).then(|| ended.remove(&session.pid));
        drop(ended);
        drop(removed);
    }

    fn sessions(&self) -> Vec<Arc<Session>> {
        lock(&self.ended).values().map(|ended| Arc::clone(&ended.session)).collect()
    }

    /// Lets go of everything.
    pub(in crate::hub) fn clear(&self) {
        let ended = std::mem::take(&mut *lock(&self.ended));
        drop(ended);
    }
}

/// The socket of a session has ended, whose guest keeps the namespace. A session that may be recovered waits for its client; of another the
/// record is deleted.
pub(in crate::hub) fn end(namespace: &Arc<namespace::Core>, session: &Arc<Session>, recoverable: bool, guest: Option<&Guest>) {
    let Some(ledger) = &namespace.ledger else { return };
    let until = now() + ledger.rules.max_disconnection_duration;
    let fate = if recoverable { Fate::Waiting(until) } else { Fate::Doomed };
    if !session.decide(fate) {
        return;
    }
    let ended = Ended {
        session: Arc::clone(session),
        _guest: guest.cloned(),
    };
    let before = lock(&ledger.ended).insert(session.pid.clone(), ended);
    drop(before);
    let (namespace, session) = (Arc::clone(namespace), Arc::clone(session));
    let shared = Arc::clone(&namespace.shared);
    shared.background(async move { write(&namespace, &session).await });
}

/// Has a record written soon, with whatever else changes until then.
pub(in crate::hub) fn schedule(namespace: &Arc<namespace::Core>, session: Arc<Session>) {
    let shared = Arc::clone(&namespace.shared);
    let namespace = Arc::clone(namespace);
    shared.background(async move {
        sleep(WRITE_DELAY).await;
        write(&namespace, &session).await;
    });
}

/// Writes what has changed of a session, or deletes its record if nobody may recover it.
async fn write(namespace: &Arc<namespace::Core>, session: &Arc<Session>) {
    let (Some(ledger), Some(journal)) = (&namespace.ledger, namespace.shared.journal()) else {
        return;
    };
    while let Some(errand) = session.begin_errand() {
        let outcome = match errand {
            Errand::Keep(record, revision) => journal.keep(&session.pid, &record, Some(revision), ledger.expiry()).await,
            Errand::Forget(revision) => match journal.forget(&namespace.name, &session.pid, revision).await {
                // If it was not there under this revision, somebody has taken it over before: then it is his.
                Ok(_) => {
                    session.lose();
                    ledger.remove(session);
                    return;
                }
                Err(_) => Err(NotKept::Away),
            },
        };
        session.end_errand(outcome);
        match outcome {
            Ok(_) => {}
            Err(NotKept::Away) => return namespace.shared.counters.records_unwritten.increment(),
            Err(NotKept::TakenOver) => {
                ledger.remove(session);
                namespace.cut(session);
            }
        }
    }
}

/// Writes what has changed of the sessions that have ended.
pub(in crate::hub) async fn flush(namespace: &Arc<namespace::Core>) {
    let Some(ledger) = &namespace.ledger else { return };
    for session in ledger.sessions() {
        write(namespace, &session).await;
    }
}

/// Starts to look after what has expired, once.
pub(super) fn sweep(namespace: &Arc<namespace::Core>, ledger: &Ledger) {
    if !ledger.swept.swap(true, Relaxed) {
        namespace.shared.background(run_sweeps(Arc::downgrade(namespace)));
    }
}

async fn run_sweeps(namespace: Weak<namespace::Core>) {
    for round in 1_u32.. {
        sleep(SWEEP).await;
        let Some(namespace) = namespace.upgrade() else { return };
        let Some(ledger) = &namespace.ledger else { return };
        for session in ledger.sessions() {
            match session.begin_expiry() {
                Some(revision) => expire(&namespace, ledger, &session, revision).await,
                None => write(&namespace, &session).await,
            }
        }
        if round % SWEEPS_TO_REFRESH == 0 {
            for session in namespace.sessions() {
                session.is_stale(REFRESH);
                write(&namespace, &session).await;
            }
        }
    }
}

/// Ends a session whose client has not come back. Whoever deletes its record is the one who says so.
async fn expire(namespace: &Arc<namespace::Core>, ledger: &Ledger, session: &Arc<Session>, revision: u64) {
    let Some(journal) = namespace.shared.journal() else { return };
    let Ok(deleted) = journal.forget(&namespace.name, &session.pid, revision).await else {
        return session.end_errand(Err(NotKept::Away));
    };
    session.lose();
    // With its last session a namespace may go, and its handlers with it.
    let handler = namespace.handlers(|table| table.expired.clone());
    ledger.remove(session);
    if !deleted {
        return;
    }
    namespace.shared.counters.sessions_expired.increment();
    let Some(OnExpired(handler)) = handler else { return };
    let record = session.record();
    let rooms = std::iter::once(Arc::clone(&session.id)).chain(session.rooms()).collect();
    let expired = Expired {
        id: record.id,
        rooms,
        user: record.user,
        data: record.data,
        handshake: record.handshake,
    };
    let shared = Arc::clone(&namespace.shared);
    let work = async move {
        if AssertUnwindSafe(async { handler(expired).await }).catch_unwind().await.is_err() {
            shared.counters.handler_panics.increment();
            tracing::error!("a handler of expired sessions panicked");
        }
    };
    namespace.shared.spawn(work, || ());
}

impl OnExpired {
    pub(in crate::hub) fn new<F: Future<Output = ()> + Send + 'static>(handler: impl Fn(Expired) -> F + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |expired| Box::pin(handler(expired))))
    }
}

impl fmt::Debug for OnExpired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnExpired")
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("rules", &self.rules)
            .field("ended", &lock(&self.ended).len())
            .finish_non_exhaustive()
    }
}
