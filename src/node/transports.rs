//! HTTP to Engine.IO and back: one route for everything at and below `<path>/`.
//!
//! What is answered is decided by the engine; here requests are read, within bounds, and its values become answers. There are no
//! tower layers on the way: they would cost every handshake.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::any,
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ORIGIN, RETRY_AFTER, SET_COOKIE, UPGRADE, X_CONTENT_TYPE_OPTIONS},
    request::Parts,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::{
    BuildError, HttpCompression,
    client_bundle::ClientBundle,
    cookie::Cookie,
    cors::Cors,
    counters::Counters,
    gate::Gate,
    hooks::Hooks,
    internal::SIGNED,
    manner::Manner,
    origins::OriginRule,
    proxies::{Peer, Proxies},
    sticky::{self, Owner, Sticky},
    upgrade,
};
use crate::{
    engine::{self, Admission, Arrival, Carrier, Engine, NotAdmitted, Post, Reply, Routed},
    protocol::engineio::handshake::{Query, Refusal},
};

/// What the routes of the transports share.
#[derive(Debug)]
pub(super) struct Transports {
    /// Without the trailing slash.
    pub(super) path: String,
    /// Whether only what is below the path is served, not the path itself.
    pub(super) add_trailing_slash: bool,
    pub(super) engine: Arc<Engine>,
    pub(super) proxies: Proxies,
    pub(super) origins: OriginRule,
    pub(super) gate: Gate,
    pub(super) cors: Option<Cors>,
    pub(super) cookie: Option<Cookie>,
    pub(super) hooks: Hooks,
    pub(super) compression: Option<HttpCompression>,
    /// The JavaScript client, where it is served.
    pub(super) bundle: Option<ClientBundle>,
    /// A body that takes longer is given up, and its session with it.
    pub(super) body_timeout: Duration,
    pub(super) counters: Arc<Counters>,
    /// Hands requests for other nodes' sessions to them, where there are other nodes.
    pub(super) sticky: Option<Sticky>,
}

/// The routes: the path, a slash, and anything below.
pub(super) fn router(transports: &Arc<Transports>) -> Router {
    let path = &transports.path;
    let mut router = Router::new()
        // A configured path may have segments that began a pattern in older versions of axum.
        .without_v07_checks()
        .route(&format!("{path}/"), any(serve))
        .route(&format!("{path}/{{*below}}"), any(serve));
    if !transports.add_trailing_slash && !path.is_empty() {
        router = router.route(path, any(serve));
    }
    router.with_state(Arc::clone(transports))
}

/// Routes for an application of bare Engine.IO sessions, without Socket.IO: the transports of `engine` at and below `path`, and a slash.
/// Neither cookies nor CORS headers are set, and every client may open a session.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use fanfare::{
///     engine::{Application, Config, Engine, id::NodeTag},
///     node::engine_router,
/// };
///
/// # async fn serve(application: Arc<dyn Application>) -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::new(Config::default(), NodeTag::random(), application);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// axum::serve(listener, engine_router("/engine.io", engine)?).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`BuildError::Path`].
pub fn engine_router(path: &str, engine: Arc<Engine>) -> Result<Router, BuildError> {
    let path = checked_path(path)?;
    Ok(router(&Arc::new(Transports::bare(path, engine))))
}

async fn serve(State(transports): State<Arc<Transports>>, mut request: Request) -> Response {
    transports.strip(request.headers_mut());
    // What is done to every answer here is done in `opening`, too.
    let Some(cors) = &transports.cors else {
        return transports.answer(request, transports.sticky.as_ref()).await;
    };
    let origin = request.headers().get(ORIGIN).cloned();
    let mut answer = match *request.method() {
        Method::OPTIONS => cors.preflight(request.headers()),
        _ => transports.answer(request, transports.sticky.as_ref()).await,
    };
    cors.decorate(origin.as_ref(), answer.headers_mut());
    answer
}

impl Transports {
    /// The transports of this engine, and nothing beside them.
    pub(super) fn bare(path: String, engine: Arc<Engine>) -> Self {
        Self {
            path,
            add_trailing_slash: true,
            engine,
            proxies: Proxies::default(),
            origins: OriginRule::default(),
            gate: Gate::default(),
            cors: None,
            cookie: None,
            hooks: Hooks::default(),
            compression: None,
            bundle: None,
            body_timeout: Duration::from_secs(30),
            counters: Arc::default(),
            sticky: None,
        }
    }

    /// Answers a request. One for a session that is not here goes to its owner, where there may be one.
    pub(super) async fn answer(&self, request: Request, sticky: Option<&Sticky>) -> Response {
        let below = request
            .uri()
            .path()
            .strip_prefix(self.path.as_str())
            .and_then(|rest| rest.strip_prefix('/'));
        if let Some(bundle) = &self.bundle
            && let Some(name) = below.filter(|below| ClientBundle::knows(below))
            && matches!(*request.method(), Method::GET | Method::HEAD)
        {
            return bundle.serve(name, request.headers()).await;
        }
        if lists(request.headers(), &UPGRADE, "websocket") {
            return upgrade::answer(self, request, sticky).await;
        }
        let (head, body) = request.into_parts();
        if head.method == Method::POST && is_encoded(&head) {
            return response(Reply::empty(StatusCode::UNSUPPORTED_MEDIA_TYPE.as_u16()));
        }
        let asked = engine::Request {
            method: head.method.as_str(),
            query: head.uri.query().unwrap_or_default(),
            content_type: head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()),
            origin: head.headers.get(ORIGIN).map(HeaderValue::as_bytes),
            may_script: self.engine.config().jsonp && self.origins.allows_script(&head, self.proxies.host(&head)),
            carrier: head.extensions.get::<Carrier>(),
            since: None,
        };
        let routed = self.route(asked).await;
        let manner = Manner::of(&head, self.compression);
        match routed {
            Routed::Refused(Refusal::UnknownSession) if let Some((sticky, owner)) = owner(sticky, &head) => {
                self.counters.session_requests.increment();
                sticky.forward(&owner, &head, body, self.client(&head)).await
            }
            Routed::Refused(refusal) => self.refused(&refusal, &head),
            Routed::Reply(reply) => {
                self.counters.session_requests.increment();
                self.of_session(manner.answer(reply).await, Some(&head))
            }
            // It has waited.
            Routed::Early(..) => response(Reply::empty(StatusCode::BAD_REQUEST.as_u16())),
            Routed::Open(admission) => self.open(admission, &head, manner).await,
            Routed::Poll(poll) => {
                self.counters.session_requests.increment();
                // A parked poll may wait for long: it needs nothing of its request any more, unless a hook does.
                drop(body);
                let head = self.hooks.keep(head);
                self.of_session(manner.answer(poll.await).await, head.as_ref())
            }
            Routed::Post(post) => {
                self.counters.session_requests.increment();
                let head = self.hooks.keep(head);
                self.of_session(manner.answer(take(post, body, self.body_timeout).await).await, head.as_ref())
            }
        }
    }

    /// Routes a request. When a node dies, a poll that was on its way there may come again through another one before it is known here that
    /// the connection to the dead node has broken: it waits for the news.
    async fn route(&self, asked: engine::Request<'_>) -> Routed {
        match self.engine.request(&asked) {
            Routed::Early(carrier, since) => {
                tokio::time::timeout(sticky::NEWS, carrier.broken()).await.ok();
                let since = Some(since);
                self.engine.request(&engine::Request { since, ..asked })
            }
            routed => routed,
        }
    }

    /// Takes off what only nodes may say.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        let said = headers.keys().filter(|name| name.as_str().starts_with(SIGNED));
        let said: Vec<HeaderName> = said.cloned().collect();
        if !said.is_empty() {
            self.counters.spoofed.increment();
        }
        for name in &said {
            headers.remove(name);
        }
    }

    /// Whether the session that a request names is here.
    pub(super) fn has(&self, head: &Parts) -> bool {
        let query = Query::parse(head.uri.query().unwrap_or_default());
        query.sid.is_some_and(|sid| self.engine.session(&sid).is_some())
    }

    /// Answers the poll that waits for the session which a request names.
    pub(super) fn release(&self, head: &Parts) {
        let query = Query::parse(head.uri.query().unwrap_or_default());
        if let Some(session) = query.sid.and_then(|sid| self.engine.session(&sid)) {
            session.release_poll();
        }
    }

    /// Who a request is from.
    pub(super) fn client<'a>(&'a self, head: &'a Parts) -> sticky::Client<'a> {
        sticky::Client {
            address: self.proxies.peer(head).address,
            host: self.proxies.host(head),
        }
    }

    async fn open(&self, admission: Admission, head: &Parts, manner: Manner) -> Response {
        if let Err(refusal) = self.check(head).await {
            return self.refused(&refusal, head);
        }
        let reply = match admission.admit(self.arrival(head)) {
            Ok(admitted) => admitted.open_polling(),
            Err(not_admitted) => {
                self.count_not_admitted(not_admitted, head);
                Reply::not_admitted(not_admitted)
            }
        };
        let mut answer = manner.answer(reply).await;
        // One that is refused for want of room is to find another node.
        if answer.status().is_success() {
            self.greet(&mut answer, head);
        }
        answer
    }

    /// Whether a request may open a session, or upgrade one.
    pub(super) async fn check(&self, head: &Parts) -> Result<(), Refusal> {
        self.origins.check(head, self.proxies.host(head))?;
        self.gate.pass(head).await
    }

    /// What the session keeps of the request that opens it.
    pub(super) fn arrival(&self, head: &Parts) -> Arrival {
        let Peer { address, secure } = self.proxies.peer(head);
        let url = head.uri.path_and_query().map_or("/", |url| url.as_str());
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Arrival::new(address, secure, url, headers)
    }

    /// Completes the first answer of a session: the affinity cookie, if there is one, and what the application adds.
    pub(super) fn greet(&self, answer: &mut Response, head: &Parts) {
        if let Some(cookie) = &self.cookie {
            let secure = self.proxies.peer(head).secure;
            answer
                .headers_mut()
                .extend(cookie.header(secure).map(|cookie| (SET_COOKIE, cookie)));
        }
        self.hooks.first(answer.headers_mut(), head);
    }

    /// Counts a refusal and tells the application.
    pub(super) fn note(&self, refusal: &Refusal, head: &Parts) {
        self.counters.count_refused(refusal);
        self.hooks.refused(refusal, head);
    }

    /// The same for a session that finds no room, where that is the client's fault.
    pub(super) fn count_not_admitted(&self, not_admitted: NotAdmitted, head: &Parts) {
        if let Some(refusal) = not_admitted.refusal() {
            self.note(&refusal, head);
        }
    }

    fn refused(&self, refusal: &Refusal, head: &Parts) -> Response {
        self.note(refusal, head);
        response(Reply::refused(refusal))
    }

    fn of_session(&self, mut answer: Response, head: Option<&Parts>) -> Response {
        if answer.status().is_success() {
            self.hooks.every(answer.headers_mut(), head);
        }
        answer
    }
}

/// Reads the body of a POST and hands it to its session.
async fn take(mut post: Post, body: Body, patience: Duration) -> Reply {
    let max = post.max_body();
    let read = tokio::select! {
        read = read(body, max, patience) => read,
        reply = post.abandoned() => return reply,
    };
    match read {
        Ok(body) => post.finish(body).await,
        Err(Unread::TooLarge) => post.too_large(),
        // Dropping the post ends the session.
        Err(unread) => Reply::empty(unread.status().as_u16()),
    }
}

/// The owner of the session that a request names, where it is to be asked.
pub(super) fn owner<'a>(sticky: Option<&'a Sticky>, head: &Parts) -> Option<(&'a Sticky, Owner)> {
    let sticky = sticky?;
    Some((sticky, sticky.owner(head.uri.query()?)?))
}

/// An answer of the engine, in HTTP.
pub(super) fn response(reply: Reply) -> Response {
    let Reply {
        status,
        content_type,
        no_store,
        nosniff,
        compress: _,
        retry_after,
        body,
    } = reply;
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(kind) = content_type {
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if no_store {
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    if nosniff {
        answer
            .headers_mut()
            .insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    answer
}

/// Whether the headers that make up a list have this token (RFC 9110, 5.3 and 5.6.1).
pub(super) fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let mut items = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','));
    items.any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// Bodies are taken as they are: what is unpacked has no bound that a client could know.
fn is_encoded(head: &Parts) -> bool {
    head.headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Why a body was not read.
enum Unread {
    TooLarge,
    TooSlow,
    /// The client went, or broke HTTP.
    Aborted,
}

impl Unread {
    const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Aborted => StatusCode::BAD_REQUEST,
        }
    }
}

async fn read(body: Body, max: usize, time: Duration) -> Result<Bytes, Unread> {
    let announced = http_body::Body::size_hint(&body);
    if announced.lower() > max as u64 {
        return Err(Unread::TooLarge);
    }
    match tokio::time::timeout(time, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => {
            let body = body.to_bytes();
            // A stream of HTTP/2 that is reset without an error looks like one that has ended.
            let whole = announced.exact().is_none_or(|length| length == body.len() as u64);
            whole.then_some(body).ok_or(Unread::Aborted)
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Unread::TooLarge),
        Ok(Err(_)) => Err(Unread::Aborted),
        Err(_) => Err(Unread::TooSlow),
    }
}

/// A path below which routes can be laid: with a leading slash, without a trailing one, and without what a pattern would read.
pub(super) fn checked_path(path: &str) -> Result<String, BuildError> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@%/".contains(&byte);
    let below_root = trimmed.starts_with('/') && trimmed.bytes().all(plain) && !trimmed.contains("//") && !trimmed.ends_with('/');
    if path == "/" || below_root {
        Ok(trimmed.to_owned())
    } else {
        Err(BuildError::Path(path.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_given_with_or_without_its_last_slash() {
        for (given, kept) in [
            ("/socket.io", "/socket.io"),
            ("/socket.io/", "/socket.io"),
            ("/a/b", "/a/b"),
            ("/", ""),
        ] {
            assert_eq!(checked_path(given).unwrap(), kept);
        }
        for wrong in ["", "socket.io", "//", "/a//", "/a//b", "/a?b", "/{a}", "/a b", "/*a", "/\u{e4}"] {
            assert_eq!(checked_path(wrong), Err(BuildError::Path(wrong.into())), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn every_path_that_is_checked_can_be_routed() {
        for path in ["/:a", "/a/:b", "/$a/(b)/-", "/a:b"] {
            let path = checked_path(path).unwrap();
            drop(crate::node::Server::builder().path(path).build().unwrap().router());
        }
    }

    #[test]
    fn tokens_are_found_in_lists_whatever_their_case() {
        let mut headers = HeaderMap::new();
        assert!(!lists(&headers, &UPGRADE, "websocket"));
        headers.append(UPGRADE, HeaderValue::from_static("websockets, h2c"));
        assert!(!lists(&headers, &UPGRADE, "websocket"));
        headers.append(UPGRADE, HeaderValue::from_static("TLS/1.0, WebSocket"));
        assert!(lists(&headers, &UPGRADE, "websocket"));
    }
}
