//! What joining a room gives.

use std::{fmt, future::IntoFuture, sync::Arc};

use super::{recovery::Later, shared::Shared};

/// A room was joined: at once, as far as this node is concerned, so that what it emits to the room from now on reaches the socket.
/// Awaited, it resolves when the same is true of what other nodes emit, which takes a round trip to the backend and a few milliseconds
/// in which joins are gathered; while the backend is away, it waits. It may be dropped.
///
/// ```no_run
/// # use fanfare::hub::{JoinError, Socket};
/// async fn enter(socket: Socket) -> Result<(), JoinError> {
///     socket.join("lobby")?.await;
///     Ok(())
/// }
/// ```
pub struct Joined(Confirmed);

enum Confirmed {
    /// By this node's subscriptions.
    Here(Arc<Shared>),
    /// By those of all nodes.
    Everywhere(Later<()>),
}

impl Joined {
    pub(super) const fn here(shared: Arc<Shared>) -> Self {
        Self(Confirmed::Here(shared))
    }

    pub(super) const fn everywhere(settled: Later<()>) -> Self {
        Self(Confirmed::Everywhere(settled))
    }
}

impl IntoFuture for Joined {
    type Output = ();
    type IntoFuture = Later<()>;

    fn into_future(self) -> Later<()> {
        match self.0 {
            Confirmed::Here(shared) => match shared.observer() {
                Some(observer) => observer.settled(),
                None => Box::pin(std::future::ready(())),
            },
            Confirmed::Everywhere(settled) => settled,
        }
    }
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Joined")
    }
}
