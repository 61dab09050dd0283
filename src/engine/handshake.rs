//! What is known of a client from the request that opened its session.

use std::{
    borrow::Cow,
    net::IpAddr,
    ops::Range,
    time::{SystemTime, UNIX_EPOCH},
};

use url::form_urlencoded;

use super::Transport;
use crate::protocol::engineio::Revision;

/// The request that opened a session, as the server saw it before it had a session.
#[derive(Debug)]
pub struct Arrival {
    address: Option<IpAddr>,
    secure: bool,
    /// The URL, then the headers' names and values.
    text: Box<str>,
    /// Where the URL ends.
    url: u32,
    /// Where the name of each header ends, and its value.
    headers: Box<[[u32; 2]]>,
}

impl Arrival {
    /// Copies what is to be kept into one allocation, so that nothing of the HTTP server's buffers stays alive with the session.
    /// `url` is the path with its query; header values that are not UTF-8 are kept lossily.
    pub fn new<'a>(address: Option<IpAddr>, secure: bool, url: &str, headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut text = String::from(url);
        let mut ends = Vec::new();
        for (name, value) in headers {
            text.push_str(name);
            let middle = place(&text);
            text.push_str(&String::from_utf8_lossy(value));
            ends.push([middle, place(&text)]);
        }
        Self {
            address,
            secure,
            url: place(url),
            text: text.into_boxed_str(),
            headers: ends.into_boxed_slice(),
        }
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    fn slice(&self, range: Range<u32>) -> &str {
        self.text.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}

/// The end of a text, which is far shorter than 4 GiB.
fn place(text: &str) -> u32 {
    u32::try_from(text.len()).unwrap_or(u32::MAX)
}

/// The handshake of one session: who asked for it, how and when.
#[derive(Debug)]
pub struct Handshake {
    /// The id of the session: a secret between server and client.
    pub session_id: Box<str>,
    /// The transport on which the session was opened.
    pub transport: Transport,
    /// The revision of Engine.IO that the client speaks.
    pub revision: Revision,
    /// When the session was opened.
    pub issued: SystemTime,
    arrival: Arrival,
}

impl Handshake {
    /// A handshake out of its parts; the engine makes them, and tests of the layers above.
    #[must_use]
    pub fn new(session_id: &str, transport: Transport, revision: Revision, arrival: Arrival) -> Self {
        Self {
            session_id: session_id.into(),
            transport,
            revision,
            issued: SystemTime::now(),
            arrival,
        }
    }

    /// The address of the client, where the transport has one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.arrival.address
    }

    /// Whether the client came over TLS.
    #[must_use]
    pub fn secure(&self) -> bool {
        self.arrival.secure
    }

    /// Whether the request named an origin, as browsers do across domains.
    #[must_use]
    pub fn xdomain(&self) -> bool {
        self.header("origin").is_some()
    }

    /// When the session was opened, in milliseconds since 1970.
    #[must_use]
    pub fn issued_ms(&self) -> u64 {
        let issued = self.issued.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(issued.as_millis()).unwrap_or(u64::MAX)
    }

    /// Path and query of the request.
    #[must_use]
    pub fn url(&self) -> &str {
        self.arrival.slice(0..self.arrival.url)
    }

    /// The pairs of the query, decoded, in order.
    pub fn query(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        let query = self.url().split_once('?').map_or("", |(_, query)| query);
        form_urlencoded::parse(query.as_bytes())
    }

    /// The headers, names in lower case, in order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = self.arrival.url;
        self.arrival.headers.iter().map(move |&[middle, end]| {
            let header = (self.arrival.slice(start..middle), self.arrival.slice(middle..end));
            start = end;
            header
        })
    }

    /// The first header of that name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find_map(|(key, value)| (key == name).then_some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_keeps_url_query_and_headers() {
        let headers: [(&str, &[u8]); 2] = [("host", b"a.example"), ("origin", b"http://b.example")];
        let arrival = Arrival::new(None, false, "/socket.io/?EIO=4&token=a%20b", headers);
        let handshake = Handshake::new("id", Transport::Polling, Revision::V4, arrival);
        assert_eq!(handshake.url(), "/socket.io/?EIO=4&token=a%20b");
        assert_eq!(handshake.query().last(), Some(("token".into(), "a b".into())));
        assert_eq!(handshake.header("host"), Some("a.example"));
        assert!(handshake.xdomain() && !handshake.secure());
    }
}
