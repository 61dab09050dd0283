//! From a CONNECT packet to a connected socket: the middlewares are asked one after the other.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt;

use super::{
    ConnectError, Hub, Socket,
    handlers::{Bound, Call, Failure, OnMiddleware},
    parents::decide,
    socket,
};

/// Connects a socket: at once if there is nobody to ask, else in a task of its own. A connection that ends meanwhile makes the outcome
/// void. Middlewares may take as long as a connection may be without a namespace.
pub(super) fn admit(socket: &Arc<socket::Core>, hub: &Arc<Hub>) {
    let settled = socket.namespace.is_settled();
    if settled && socket.namespace.handlers(|table| table.middlewares.is_empty()) {
        return socket.connect();
    }
    let (asking, cancelled) = (Arc::clone(socket), Arc::clone(socket));
    let hub = Arc::downgrade(hub);
    let work = async move {
        let limit = asking.shared().config.connect_timeout;
        let verdict = async {
            if !settled {
                decide(&hub, &asking).await?;
            }
            let middlewares = asking.namespace.handlers(|table| table.middlewares.clone());
            ask(&asking, &middlewares).await
        };
        match tokio::time::timeout(limit, verdict).await {
            Ok(Ok(())) => asking.connect(),
            Ok(Err(error)) => asking.refuse(&error),
            Err(_) => asking.refuse(&ConnectError::new("timeout")),
        }
    };
    socket.shared().spawn(work, move || cancelled.let_go());
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
