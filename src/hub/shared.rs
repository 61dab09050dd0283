//! What the parts of one hub share: settings, counters, the application's states, and its tasks.

use std::{
    future::{Future, poll_fn},
    num::NonZeroU64,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
    time::Instant,
};

use bytes::Bytes;
use tokio::runtime;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Config, Counters, Observer,
    handlers::States,
    log_limit::{Line, LogLimit},
    recovery::{Journal, Pace},
};
use crate::{
    engine::{Outgoing, gather, id::OwnTag},
    protocol::socketio::{Encoded, Packet, Unencodable},
};

#[derive(Debug)]
pub(super) struct Shared {
    /// Of the node: ids that are drawn here begin with it.
    pub(super) tag: OwnTag,
    pub(super) config: Config,
    pub(super) counters: Counters,
    pub(super) states: States,
    /// Lanes and connects under way.
    tasks: TaskTracker,
    /// Ends the tasks that have not ended by themselves when the hub is closed.
    cancelled: CancellationToken,
    /// Who is told of namespaces and rooms, if somebody is.
    observer: OnceLock<Weak<dyn Observer>>,
    /// Who keeps logs and records, if sessions can be recovered.
    journal: OnceLock<Weak<dyn Journal>>,
    /// What is replayed to clients that have come back, of all namespaces.
    pub(super) replays: Mutex<Pace>,
    /// Tasks that no handler waits in: they write records. They end with the hub.
    background: TaskTracker,
    stopped: CancellationToken,
    /// Where tasks are started: the first runtime seen. A caller may be in none, or in one that ends before the task.
    runtime: OnceLock<runtime::Handle>,
    closed: AtomicBool,
    /// Lines about packets that are not sent.
    unsent_lines: LogLimit,
}

impl Shared {
    pub(super) fn new(config: Config, tag: OwnTag) -> Self {
        let rate = config
            .connection_state_recovery
            .as_ref()
            .map_or(NonZeroU64::MAX, |rules| rules.node_replay_rate);
        let shared = Self {
            tag,
            config,
            replays: Mutex::new(Pace::new(rate, now())),
            counters: Counters::default(),
            states: States::default(),
            tasks: TaskTracker::new(),
            cancelled: CancellationToken::new(),
            observer: OnceLock::new(),
            journal: OnceLock::new(),
            background: TaskTracker::new(),
            stopped: CancellationToken::new(),
            runtime: OnceLock::new(),
            closed: AtomicBool::new(false),
            unsent_lines: LogLimit::default(),
        };
        shared.remember_runtime();
        shared
    }

    /// Lets other callers, for example a thread that disconnects sockets, start tasks in the runtime of this caller.
    pub(super) fn remember_runtime(&self) {
        if self.runtime.get().is_none()
            && let Ok(handle) = runtime::Handle::try_current()
        {
            self.runtime.get_or_init(|| handle);
        }
    }

    /// Starts a task, which is cancelled when the hub has been closed for long enough. `cancelled` runs in its place then. Without any
    /// runtime there is nobody to run handlers, and no client either: `cancelled` runs at once.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static, cancelled: impl FnOnce() + Send + 'static) {
        self.remember_runtime();
        let Some(runtime) = self.runtime.get() else {
            return cancelled();
        };
        let token = self.cancelled.clone();
        let task = self.tasks.track_future(async move {
            let mut work = pin!(work);
            // A handler's answer to its client goes out at the end of the poll, without a detour through a flusher.
            let work = poll_fn(|cx| gather(|| work.as_mut().poll(cx)));
            tokio::select! {
                // In this order a task that ends without waiting never touches the token, which all tasks share.
                biased;
                () = work => {}
                () = token.cancelled() => cancelled(),
            }
        });
        drop(runtime.spawn(task));
    }

    /// The same for work that rarely waits: it begins at once, in the caller's poll, and becomes a task only when it has to wait. To be called
    /// where no code of the application is on the stack, and no lock held.
    pub(super) fn begin(&self, work: impl Future<Output = ()> + Send + 'static, cancelled: impl FnOnce() + Send + 'static) {
        // Whoever closes the hub waits for it, as for a task.
        let _counted = self.tasks.token();
        let mut work = Box::pin(work);
        // Who would wake it is not told here, but when the task polls it again, which it does first of all.
        let mut cx = Context::from_waker(Waker::noop());
        if gather(|| work.as_mut().poll(&mut cx)).is_pending() {
            self.spawn(work, cancelled);
        }
    }

    /// Starts a task in which no code of the application runs; it is cancelled at the end of [`Shared::stop`].
    pub(super) fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.remember_runtime();
        let Some(runtime) = self.runtime.get() else { return };
        let stopped = self.stopped.clone();
        let task = self.background.track_future(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = work => {}
            }
        });
        drop(runtime.spawn(task));
    }

    /// Ends the tasks in the background.
    pub(super) async fn stop(&self) {
        self.stopped.cancel();
        self.background.close();
        self.background.wait().await;
    }

    /// Who is told of namespaces and rooms, once there is somebody.
    pub(super) fn observer(&self) -> Option<Arc<dyn Observer>> {
        self.observer.get()?.upgrade()
    }

    /// There is one observer: says whether this is it.
    pub(super) fn set_observer(&self, observer: Weak<dyn Observer>) -> bool {
        self.observer.set(observer).is_ok()
    }

    /// Who keeps logs and records, once there is somebody.
    pub(super) fn journal(&self) -> Option<Arc<dyn Journal>> {
        self.journal.get()?.upgrade()
    }

    /// There is one journal: says whether this is it.
    pub(super) fn set_journal(&self, journal: Weak<dyn Journal>) -> bool {
        self.journal.set(journal).is_ok()
    }

    /// How many tasks run now.
    pub(super) fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Ends when all tasks have ended.
    pub(super) async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// No socket is connected any more. Set before the shards are searched for the last time and read under a shard's lock, so that
    /// none slips through.
    pub(super) fn set_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The one message that all recipients of a packet share. What cannot be encoded is counted here.
    pub(super) fn encode(&self, packet: &Packet<'_>, attachments: &[Bytes]) -> Result<Outgoing, Unencodable> {
        match self.config.parser.encode(packet, attachments) {
            Ok(Encoded::Text { head, body, attachments }) => Ok(Outgoing::new(&[&head, &body], &attachments)),
            Ok(Encoded::Binary(message)) => Ok(Outgoing::binary(&message)),
            Err(error) => {
                self.counters.unencodable.increment();
                if let Some(Line { left_out }) = self.unsent_lines.admit() {
                    tracing::warn!(kind = ?packet.kind, namespace = %packet.namespace, %error, left_out, "a packet is not sent");
                }
                Err(error)
            }
        }
    }

    pub(super) fn cancel(&self) {
        self.cancelled.cancel();
    }
}

/// The time, as the drivers of the sessions tell it.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Locks, also when a thread has panicked with the lock held: no user code runs under a lock of the hub, and its values are
/// consistent between any two statements that could panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
