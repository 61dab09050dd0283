//! How connections are opened, and what closing them looks like to the server.

use hyper::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};

/// The least that headers may have to make: one cookie.
const LEAST: usize = 18;
/// What browsers send beside cookies; some of it, if it must be less.
const BROWSER: [(&str, &str); 4] = [
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    ("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
    ("cache-control", "no-cache"),
    ("pragma", "no-cache"),
];

/// How all connections of a run are opened.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    /// Headers of the requests that open a session or a WebSocket.
    pub(super) headers: HeaderMap,
    /// Whether what is dropped is reset, not closed.
    pub(super) abrupt: bool,
}

impl Opening {
    /// With so many bytes of headers beside those that are needed, names and line ends counted.
    pub(crate) fn new(header_bytes: usize, abrupt: bool) -> Self {
        let mut headers = HeaderMap::new();
        let mut left = header_bytes;
        for (name, value) in BROWSER {
            let line = name.len() + value.len() + ": \r\n".len();
            if left >= line + LEAST {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
                left -= line;
            }
        }
        let cookie = format!("session={}", "x".repeat(left.saturating_sub("cookie: session=\r\n".len())));
        if let Some(cookie) = HeaderValue::from_str(&cookie).ok().filter(|_| left > 0) {
            headers.insert(COOKIE, cookie);
        }
        Self { headers, abrupt }
    }

    /// Its headers, and a cookie that a server has set.
    pub(super) fn headers(&self, cookie: Option<&HeaderValue>) -> HeaderMap {
        let mut headers = self.headers.clone();
        let Some(cookie) = cookie else { return headers };
        let both = headers.get(COOKIE).map_or_else(
            || Ok(cookie.clone()),
            |own| HeaderValue::from_bytes(&[own.as_bytes(), b"; ", cookie.as_bytes()].concat()),
        );
        if let Ok(both) = both {
            headers.insert(COOKIE, both);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(headers: &HeaderMap) -> usize {
        let lines = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
        lines.sum()
    }

    #[test]
    fn a_cookie_of_a_server_stands_beside_those_of_the_run() {
        let cookie = HeaderValue::from_static("node=n1");
        let of = |bytes, cookie| {
            Opening::new(bytes, false)
                .headers(cookie)
                .get(COOKIE)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(of(0, None), None);
        assert_eq!(of(0, Some(&cookie)).unwrap(), "node=n1");
        assert_eq!(of(20, Some(&cookie)).unwrap(), "session=xx; node=n1");
    }

    proptest! {
        #[test]
        fn headers_have_as_many_bytes_as_they_are_to_have(wanted in 18..20_000_usize) {
            prop_assert_eq!(bytes(&Opening::new(wanted, false).headers), wanted);
        }
    }
}
