//! The application's word on who may open a session: the reference's `allowRequest`, error code 4.

use std::{borrow::Cow, fmt, future::Future, pin::Pin, sync::Arc};

use http::request::Parts;

use crate::protocol::engineio::handshake::Refusal;

/// The refusal of a request that wanted to open a session, or to upgrade one. Over HTTP the client is told 403 with code 4 and the message, over
/// WebSocket 400 with the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden(Cow<'static, str>);

impl Forbidden {
    /// A refusal with a message that the client gets to see; the default is `Forbidden`.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self(message.into())
    }
}

impl Default for Forbidden {
    fn default() -> Self {
        Self::new("Forbidden")
    }
}

type Ask = dyn Fn(&Parts) -> Verdict + Send + Sync;
type Verdict = Pin<Box<dyn Future<Output = Result<(), Forbidden>> + Send>>;

/// Asked about each request that would open a session or upgrade one; open to all unless the application says otherwise.
#[derive(Clone, Default)]
pub(super) struct Gate(Option<Arc<Ask>>);

impl Gate {
    pub(super) fn new<F, V>(allow: F) -> Self
    where
        F: Fn(&Parts) -> V + Send + Sync + 'static,
        V: Future<Output = Result<(), Forbidden>> + Send + 'static,
    {
        Self(Some(Arc::new(move |head| Box::pin(allow(head)))))
    }

    pub(super) async fn pass(&self, head: &Parts) -> Result<(), Refusal> {
        // The future is made before it is awaited, so that nothing borrowed from the request lives as long.
        let Some(verdict) = self.0.as_ref().map(|allow| allow(head)) else {
            return Ok(());
        };
        verdict.await.map_err(|Forbidden(message)| Refusal::Forbidden(message))
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Gate(asks)" } else { "Gate(open)" })
    }
}
