//! From a CONNECT packet to a connected socket: the middlewares are asked one after the other.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
};

use futures_util::FutureExt;

use super::{
    ConnectError, Hub, Socket,
    handlers::{Bound, Call, Failure, OnMiddleware},
    parents::decide,
    recovery, socket,
};

/// Connects a socket: at once if there is nobody to ask, else in a task of its own. A connection that ends meanwhile makes the outcome
/// void.
pub(super) fn admit(socket: &Arc<socket::Core>, hub: &Arc<Hub>) {
    let settled = socket.namespace.is_settled();
    if settled && socket.journal().is_none() && socket.namespace.handlers(|table| table.middlewares.is_empty()) {
        socket.connect(None);
        return;
    }
    let (asking, cancelled) = (Arc::clone(socket), Arc::clone(socket));
    let hub = Arc::downgrade(hub);
    let work = async move {
        match (ask_all(&asking, &hub).await, asking.journal()) {
            (Ok(()), Some(journal)) => recovery::connect(&asking, &*journal).await,
            (Ok(()), None) => drop(asking.connect(None)),
            (Err(error), _) => asking.refuse(&error),
        }
    };
    socket.shared().spawn(work, move || cancelled.let_go());
}

/// Asks the parents of a namespace that is yet to be allowed, then the middlewares, which may take as long as a connection may be without
/// a namespace.
pub(super) async fn ask_all(socket: &Arc<socket::Core>, hub: &Weak<Hub>) -> Result<(), ConnectError> {
    let verdict = async {
        if !socket.namespace.is_settled() {
            decide(hub, socket).await?;
        }
        let middlewares = socket.namespace.handlers(|table| table.middlewares.clone());
        ask(socket, &middlewares).await
    };
    tokio::time::timeout(socket.shared().config.connect_timeout, verdict)
        .await
        .unwrap_or_else(|_| Err(ConnectError::new("timeout")))
}

async fn ask(socket: &Arc<socket::Core>, middlewares: &[Arc<Bound<OnMiddleware>>]) -> Result<(), ConnectError> {
    for middleware in middlewares {
        let call = Call::new(Socket::new(Arc::clone(socket), middleware.io.clone()));
        let outcome = AssertUnwindSafe(async { middleware.handler.call(call).await }).catch_unwind().await;
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(Failure::Refused(error))) => return Err(error),
            Ok(Err(Failure::Rejected(rejection))) => {
                tracing::debug!(namespace = %socket.namespace.name, %rejection, "a client's auth cannot be read");
                return Err(ConnectError::new("invalid auth"));
            }
            Ok(Err(Failure::Failed(message))) => return Err(ConnectError::new(message)),
            Err(_) => {
                socket.panicked("a middleware");
                return Err(ConnectError::new("internal error"));
            }
        }
    }
    Ok(())
}
