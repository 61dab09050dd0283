//! The JavaScript client, served below the path of the transports (Socket.IO `serveClient`).
//!
//! The build script embeds it; where it could not, the routes say why.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};

mod embedded {
    //! What the build script found: `VERSION`, `ABSENT` (the reason), `FILES`.
    include!(concat!(env!("OUT_DIR"), "/client_bundle.rs"));
}

/// The file names that are served, whether or not the build embedded them.
pub(super) const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// Answers a GET for one of [`NAMES`].
pub(super) fn serve(name: &str, request: &HeaderMap) -> Response {
    let Some((_, content)) = embedded::FILES.iter().find(|(file, _)| *file == name) else {
        return absent();
    };
    let mut answer = Response::new(Body::empty());
    let headers = answer.headers_mut();
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", embedded::VERSION)) {
        headers.insert(ETAG, etag);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    if request
        .get_all(IF_NONE_MATCH)
        .iter()
        .any(|tags| names_version(tags, embedded::VERSION))
    {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        return answer;
    }
    let kind = if name.ends_with(".map") {
        "application/json; charset=utf-8"
    } else {
        "application/javascript; charset=utf-8"
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    *answer.body_mut() = Body::from(Bytes::from_static(content));
    answer
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
