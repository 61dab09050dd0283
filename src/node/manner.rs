//! How a request wants to be answered, kept while its answer is on the way: of a poll that waits nothing else is.

use axum::response::Response;
use http::{
    HeaderValue,
    header::{CONTENT_ENCODING, HeaderName, USER_AGENT},
    request::Parts,
};

use super::{coding::Coding, transports::response};
use crate::engine::Reply;

/// Of Internet Explorer's filter, which took answers of polling for an attack.
const XSS_PROTECTION: HeaderName = HeaderName::from_static("x-xss-protection");

/// Compression of answers to polls (the reference's `httpCompression`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpCompression {
    /// Payloads of fewer bytes go out as they are. Default 1024.
    pub threshold: usize,
}

impl Default for HttpCompression {
    fn default() -> Self {
        Self { threshold: 1024 }
    }
}

/// What the answer to a polling request takes from the request.
#[derive(Debug)]
pub(super) struct Manner {
    /// The coding that the client likes best, and from how many bytes on it is worth it.
    coding: Option<(Coding, HttpCompression)>,
    old_browser: bool,
}

impl Manner {
    pub(super) fn of(head: &Parts, compression: Option<HttpCompression>) -> Self {
        let coding = compression.and_then(|compression| {
            let coding = Coding::preferred(&head.headers, &[Coding::Gzip, Coding::Deflate])?;
            Some((coding, compression))
        });
        let agent = head.headers.get(USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
        Self {
            coding,
            old_browser: contains(agent, b";MSIE") || contains(agent, b"Trident/"),
        }
    }

    /// The answer in HTTP.
    pub(super) async fn answer(self, mut reply: Reply) -> Response {
        let coding = self
            .coding
            .filter(|(_, compression)| reply.compress && reply.body.len() >= compression.threshold);
        let mut packed = None;
        if let Some((coding, _)) = coding {
            // In the unlikely case that it cannot be packed it goes out as it is.
            if let Ok(body) = coding.pack_aside(reply.body.clone()).await {
                reply.body = body.into();
                packed = Some(coding);
            }
        }
        // Only what belongs to a session says so.
        let of_session = reply.no_store;
        let mut answer = response(reply);
        if let Some(coding) = packed {
            answer.headers_mut().insert(CONTENT_ENCODING, coding.header());
        }
        if of_session && self.old_browser {
            answer.headers_mut().insert(XSS_PROTECTION, HeaderValue::from_static("0"));
        }
        answer
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
