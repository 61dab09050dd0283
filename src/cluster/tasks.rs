//! The tasks of a cluster, which end with it.

use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Tasks that end together. A clone starts and ends the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Tasks {
    tracker: TaskTracker,
    cancelled: CancellationToken,
}

impl Tasks {
    /// Starts a task, which is dropped where it waits when all are told to end.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cancelled = self.cancelled.clone();
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = cancelled.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Whether all were told to end.
    pub(super) fn are_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    /// Ends when all are told to end.
    pub(super) fn cancelled(&self) -> impl Future<Output = ()> + Send + use<> {
        self.cancelled.clone().cancelled_owned()
    }

    /// Tells all to end when the guard is dropped.
    pub(super) fn cancel_on_drop(&self) -> DropGuard {
        self.cancelled.clone().drop_guard()
    }

    /// Ends them all.
    pub(super) async fn end(&self) {
        self.cancelled.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
