//! What an application adds to answers, and what it hears of refusals: the reference's events `initial_headers`, `headers` and
//! `connection_error`.

use std::{borrow::Cow, fmt, sync::Arc};

use http::{HeaderMap, request::Parts};
use url::form_urlencoded;

use crate::protocol::engineio::handshake::{Flaw, Refusal};

type Headers = dyn Fn(&mut HeaderMap, &Parts) + Send + Sync;
type Refused = dyn Fn(&ConnectionError<'_>) + Send + Sync;

/// A request that was refused before it had to do with a session: the reference's event `connection_error`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionError<'a> {
    /// The request, without its body.
    pub request: &'a Parts,
    /// 0 to 5, as the client sees it.
    pub code: u8,
    /// What the client is told.
    pub message: &'a str,
    /// What was wrong, in the reference's words: `transport`, `sid`, `method`, `protocol`, `message`, or `name` and more. The values
    /// are the client's.
    pub context: Vec<(&'static str, Cow<'a, str>)>,
}

/// The application's hooks; each may be absent.
#[derive(Clone, Default)]
pub(super) struct Hooks {
    pub(super) initial_headers: Option<Arc<Headers>>,
    pub(super) headers: Option<Arc<Headers>>,
    pub(super) connection_error: Option<Arc<Refused>>,
}

impl Hooks {
    /// A request's head, if it is needed when the answer goes out.
    pub(super) fn keep(&self, head: Parts) -> Option<Parts> {
        self.headers.is_some().then_some(head)
    }

    /// Adds to the first answer of a session.
    pub(super) fn first(&self, answer: &mut HeaderMap, head: &Parts) {
        if let Some(add) = &self.initial_headers {
            add(answer, head);
        }
        self.every(answer, Some(head));
    }

    /// Adds to any answer of a session.
    pub(super) fn every(&self, answer: &mut HeaderMap, head: Option<&Parts>) {
        if let (Some(add), Some(head)) = (&self.headers, head) {
            add(answer, head);
        }
    }

    /// Tells that a request was refused.
    pub(super) fn refused(&self, refusal: &Refusal, head: &Parts) {
        if let Some(hear) = &self.connection_error {
            hear(&ConnectionError {
                request: head,
                code: refusal.code(),
                message: refusal.message(),
                context: context(refusal, head),
            });
        }
    }
}

fn context<'a>(refusal: &'a Refusal, head: &'a Parts) -> Vec<(&'static str, Cow<'a, str>)> {
    let asked = |name: &str| {
        let query = head.uri.query().unwrap_or_default();
        let values = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
        values.last().map_or_else(Cow::default, |(_, value)| value)
    };
    match refusal {
        Refusal::UnknownTransport => vec![("transport", asked("transport"))],
        Refusal::UnknownSession => vec![("sid", asked("sid"))],
        Refusal::BadHandshakeMethod => vec![("method", head.method.as_str().into())],
        Refusal::BadRequest(flaw) => {
            let mut context = vec![("name", flaw.as_str().into())];
            match flaw {
                Flaw::InvalidOrigin => {
                    let origin = head
                        .headers
                        .get(http::header::ORIGIN)
                        .map(|origin| String::from_utf8_lossy(origin.as_bytes()));
                    context.push(("origin", origin.unwrap_or_default()));
                }
                Flaw::TransportMismatch => context.push(("transport", asked("transport"))),
                Flaw::TransportHandshake | Flaw::Jsonp => {}
            }
            context
        }
        Refusal::Forbidden(message) => vec![("message", Cow::Borrowed(message))],
        Refusal::UnsupportedProtocol => vec![("protocol", asked("EIO"))],
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("initial_headers", &self.initial_headers.is_some())
            .field("headers", &self.headers.is_some())
            .field("connection_error", &self.connection_error.is_some())
            .finish()
    }
}
