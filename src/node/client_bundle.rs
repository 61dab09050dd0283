//! The JavaScript client, served below the path of the transports (Socket.IO `serveClient`).
//!
//! The build script embeds it; where it could not, the routes say why.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY},
};
use tokio::sync::OnceCell;

use super::coding::Coding;

mod embedded {
    //! What the build script found: `VERSION`, `ABSENT` (the reason), `FILES`.
    include!(concat!(env!("OUT_DIR"), "/client_bundle.rs"));
}

/// The codings that are offered, the best first.
const CODINGS: [Coding; 3] = [Coding::Brotli, Coding::Gzip, Coding::Deflate];

/// The file names that are served, whether or not the build embedded them.
const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// The files with what has been packed of them so far: each coding of a file once, when the first client asks for it.
#[derive(Debug)]
pub(super) struct ClientBundle {
    packed: [[OnceCell<Bytes>; CODINGS.len()]; NAMES.len()],
}

impl ClientBundle {
    pub(super) fn new() -> Self {
        Self {
            packed: std::array::from_fn(|_| std::array::from_fn(|_| OnceCell::new())),
        }
    }

    /// Whether a file of this name belongs to the bundle.
    pub(super) fn knows(name: &str) -> bool {
        NAMES.contains(&name)
    }

    /// Answers a GET for a file that the bundle [knows](Self::knows).
    pub(super) async fn serve(&self, name: &str, request: &HeaderMap) -> Response {
        let Some((_, content)) = embedded::FILES.iter().find(|(file, _)| *file == name) else {
            return absent();
        };
        let (mut answer, fresh) = head(name, request);
        if fresh {
            return answer;
        }
        let content = Bytes::from_static(content);
        let packed = match Coding::preferred(request, &CODINGS) {
            Some(coding) => self.packed(name, coding, &content).await.map(|body| (coding, body)),
            None => None,
        };
        *answer.body_mut() = Body::from(match packed {
            Some((coding, body)) => {
                answer.headers_mut().insert(CONTENT_ENCODING, coding.header());
                body
            }
            None => content,
        });
        answer
    }

    async fn packed(&self, name: &str, coding: Coding, content: &Bytes) -> Option<Bytes> {
        let row = self.packed.get(NAMES.iter().position(|known| *known == name)?)?;
        let cell = row.get(CODINGS.iter().position(|known| *known == coding)?)?;
        let pack = async || coding.pack_aside(content.clone()).await.map(Bytes::from);
        // What cannot be packed goes out as it is.
        cell.get_or_try_init(pack).await.ok().cloned()
    }
}

/// The answer without its body, and whether that is all because the client has the file already.
fn head(name: &str, request: &HeaderMap) -> (Response, bool) {
    let mut answer = Response::new(Body::empty());
    let headers = answer.headers_mut();
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", embedded::VERSION)) {
        headers.insert(ETAG, etag);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    headers.insert(VARY, HeaderValue::from(ACCEPT_ENCODING));
    if request
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|tags| names_version(tags, embedded::VERSION))
    {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return (answer, true);
    }
    let kind = if name.ends_with(".map") {
        "application/json; charset=utf-8"
    } else {
        "application/javascript; charset=utf-8"
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    (answer, false)
}

/// Whether `If-None-Match` (RFC 9110, 13.1.2; compared weakly) names the version that is embedded.
fn names_version(tags: &HeaderValue, version: &str) -> bool {
    tags.to_str().is_ok_and(|tags| {
        tags.split(',').map(str::trim).any(|tag| {
            let opaque = tag
                .strip_prefix("W/")
                .unwrap_or(tag)
                .strip_prefix('"')
                .and_then(|tag| tag.strip_suffix('"'));
            tag == "*" || opaque == Some(version)
        })
    })
}

fn absent() -> Response {
    let reason = embedded::ABSENT.unwrap_or("this file is not part of the embedded client bundle");
    let mut answer = Response::new(Body::from(format!("no client bundle here: {reason}\n")));
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match_is_compared_weakly_and_within_lists() {
        for hit in ["\"4.8.4\"", "W/\"4.8.4\"", "\"1\", W/\"4.8.4\"", "*"] {
            assert!(names_version(&HeaderValue::from_static(hit), "4.8.4"), "{hit}");
        }
        for miss in ["4.8.4", "\"4.8.3\"", "W/4.8.4", "\"\"", ""] {
            assert!(!names_version(&HeaderValue::from_static(miss), "4.8.4"), "{miss}");
        }
    }
}
