//! The transport `polling`: one GET is always parked at the server, POSTs go beside it, one at a time.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::{
    Method, Uri,
    header::{COOKIE, HeaderMap, HeaderValue, SET_COOKIE},
};

use super::{
    ClientError, ENGINE, Open,
    http::{Answer, Ask, Lane},
    route::Route,
};

/// What stands between the packets of a payload.
const SEPARATOR: char = '\u{1e}';

/// One session over polling.
pub(super) struct Polling {
    pub(super) route: Route,
    sid: String,
    /// How many requests it has begun. Each is marked with its number, as stock clients mark theirs: so a server knows a poll again that a
    /// balancer sends once more.
    requests: u64,
    /// What the handshake's answer set: a balancer may know the session's server by it.
    cookie: Option<HeaderValue>,
    polls: Lane,
    posts: Lane,
    received: Payload,
    outgoing: VecDeque<String>,
    /// Bytes that a POST may have.
    max_payload: usize,
    /// No further poll is begun.
    paused: bool,
}

/// A polled payload whose packets are taken out one by one.
#[derive(Debug, Default)]
struct Payload(Bytes);

impl Polling {
    /// Opens a session.
    pub(super) async fn open(mut route: Route) -> Result<(Self, Open), ClientError> {
        let mut polls = Lane::new(route.targets());
        let way = route.next();
        let ask = Ask {
            method: Method::GET,
            uri: uri("", 0)?,
            headers: way.opening.headers(None),
            body: Bytes::new(),
        };
        polls.start(way, ask);
        let answer = std::future::poll_fn(|cx| polls.poll_answer(cx)).await?;
        let cookie = if route.affinity() { cookie(&answer.headers)? } else { None };
        let mut received = Payload(answer.body);
        let open = Open::read(&received.next().unwrap_or(Ok(String::new()))?)?;
        let session = Self {
            sid: open.sid.clone(),
            requests: 0,
            cookie,
            polls,
            posts: Lane::new(route.targets()),
            route,
            received,
            outgoing: VecDeque::new(),
            max_payload: open.max_payload,
            paused: false,
        };
        Ok((session, open))
    }

    /// The query by which a WebSocket takes the session over.
    pub(super) fn takeover(&self) -> String {
        format!("&sid={}", self.sid)
    }

    /// The cookie that goes with its requests.
    pub(super) fn cookie(&self) -> Option<HeaderValue> {
        self.cookie.clone()
    }

    /// Begins no further poll.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// Whether nothing is under way, and nothing waits.
    pub(super) fn is_quiet(&self) -> bool {
        self.polls.is_idle() && self.posts.is_idle() && self.outgoing.is_empty() && self.received.0.is_empty()
    }

    /// Queues a packet.
    pub(super) fn send(&mut self, packet: String) {
        self.outgoing.push_back(packet);
    }

    /// The next packet. Posts what is queued, too.
    pub(super) fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Result<String, ClientError>> {
        if let Poll::Ready(Err(error)) = self.poll_sent(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            if let Some(packet) = self.received.next() {
                return Poll::Ready(packet);
            }
            if self.polls.is_idle() {
                if self.paused {
                    return Poll::Pending;
                }
                let ask = self.ask(Method::GET, Bytes::new())?;
                self.polls.start(self.route.next(), ask);
            }
            self.received = Payload(ready!(self.polls.poll_answer(cx))?.body);
        }
    }

    /// Ready when the server has taken all that was queued.
    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        loop {
            if self.posts.is_idle() {
                let Some(payload) = self.payload() else {
                    return Poll::Ready(Ok(()));
                };
                let ask = self.ask(Method::POST, payload.into())?;
                self.posts.start(self.route.next(), ask);
            }
            let Answer { .. } = ready!(self.posts.poll_answer(cx))?;
        }
    }

    fn ask(&mut self, method: Method, body: Bytes) -> Result<Ask, ClientError> {
        self.requests += 1;
        Ok(Ask {
            method,
            uri: uri(&self.sid, self.requests)?,
            headers: self.cookie.iter().map(|cookie| (COOKIE, cookie.clone())).collect(),
            body,
        })
    }

    /// As many of the queued packets as one POST may have, but one at least.
    fn payload(&mut self) -> Option<String> {
        let mut payload = self.outgoing.pop_front()?;
        while let Some(next) = self
            .outgoing
            .pop_front_if(|next| payload.len() + 1 + next.len() <= self.max_payload)
        {
            payload.push(SEPARATOR);
            payload.push_str(&next);
        }
        Some(payload)
    }
}

impl Payload {
    fn next(&mut self) -> Option<Result<String, ClientError>> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|byte| char::from(*byte) == SEPARATOR);
        let packet = self.0.split_to(end.unwrap_or(self.0.len()));
        if end.is_some() {
            // The separator itself.
            self.0 = self.0.split_off(1);
        }
        Some(
            std::str::from_utf8(&packet)
                .map(str::to_owned)
                .map_err(|_| ClientError::Unexpected {
                    expected: "packets of text",
                    got: "something else".to_owned(),
                }),
        )
    }
}

/// Path and query of a session's request; the session is unnamed in the first.
fn uri(sid: &str, mark: u64) -> Result<Uri, ClientError> {
    let session = if sid.is_empty() { "" } else { "&sid=" };
    let uri = format!("{ENGINE}&transport=polling{session}{sid}&t={mark}");
    uri.parse().map_err(|_| ClientError::Request)
}

/// What the client sends back of the cookies that an answer sets.
fn cookie(headers: &HeaderMap) -> Result<Option<HeaderValue>, ClientError> {
    let pairs: Vec<_> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
        .map(str::trim)
        .collect();
    if pairs.is_empty() {
        return Ok(None);
    }
    Ok(Some(HeaderValue::from_str(&pairs.join("; "))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(payload: &'static str) -> Vec<String> {
        let mut payload = Payload(Bytes::from_static(payload.as_bytes()));
        std::iter::from_fn(|| payload.next())
            .map(|packet| packet.unwrap().to_string())
            .collect()
    }

    #[test]
    fn a_payload_is_split_at_its_separators() {
        assert_eq!(packets("6"), ["6"]);
        assert_eq!(
            packets("42[\"a\"]\u{1e}2\u{1e}42[\"\u{e9}\"]"),
            ["42[\"a\"]", "2", "42[\"\u{e9}\"]"]
        );
        assert!(packets("").is_empty());
    }

    #[test]
    fn a_post_has_as_many_packets_as_the_server_takes_and_every_request_its_mark() {
        let targets = vec!["a".to_owned()].into();
        let mut session = Polling {
            route: Route::new(&targets, 0, true),
            sid: "abc".to_owned(),
            requests: 0,
            cookie: None,
            polls: Lane::new(1),
            posts: Lane::new(1),
            received: Payload::default(),
            outgoing: ["40", "4abc", "4a longer one", "3"].map(str::to_owned).into(),
            max_payload: 7,
            paused: false,
        };
        let payloads: Vec<_> = std::iter::from_fn(|| session.payload()).collect();
        let marks = [(); 2].map(|()| session.ask(Method::GET, Bytes::new()).unwrap().uri.to_string());
        assert_eq!(
            marks,
            [1, 2].map(|mark| format!("/socket.io/?EIO=4&transport=polling&sid=abc&t={mark}"))
        );
        assert_eq!(payloads, ["40\u{1e}4abc", "4a longer one", "3"]);
    }

    #[test]
    fn cookies_come_back_without_their_attributes() {
        let mut headers = HeaderMap::new();
        assert_eq!(cookie(&headers).unwrap(), None);
        headers.append(SET_COOKIE, HeaderValue::from_static("io=abc; Path=/; HttpOnly"));
        headers.append(SET_COOKIE, HeaderValue::from_static("node=n1"));
        assert_eq!(cookie(&headers).unwrap().unwrap(), "io=abc; node=n1");
    }
}
