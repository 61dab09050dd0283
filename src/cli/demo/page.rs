//! The page: three files inside the binary.

use axum::{Router, http::header, response::IntoResponse, routing::get};

const HTML: &str = include_str!("index.html");
const STYLE: &str = include_str!("demo.css");
const SCRIPT: &str = include_str!("demo.js");

/// Nothing but what the nodes themselves serve.
const POLICY: &str = "default-src 'self'; img-src data:; connect-src 'self' http: ws:";

/// Where the page is told about the nodes.
const PLACE: &str = "{{demo}}";

/// Routes for the page, which connects to a node on each of `ports`.
pub(super) fn routes(ports: &[u16], bus: &str) -> Router {
    let nodes: Vec<_> = (1..)
        .zip(ports)
        .map(|(number, port)| serde_json::json!({ "number": number, "port": port }))
        .collect();
    let html = HTML.replace(PLACE, &serde_json::json!({ "bus": bus, "nodes": nodes }).to_string());
    Router::new()
        .route("/", get(move || async { file("text/html; charset=utf-8", html) }))
        .route("/demo.css", get(|| async { file("text/css; charset=utf-8", STYLE) }))
        .route("/demo.js", get(|| async { file("text/javascript; charset=utf-8", SCRIPT) }))
}

fn file(kind: &'static str, content: impl IntoResponse) -> impl IntoResponse {
    (
        [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "no-store"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
        ],
        content,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_one_place_for_what_it_is_told_and_loads_nothing_from_elsewhere() {
        assert_eq!(HTML.matches(PLACE).count(), 1);
        for foreign in ["https://", "//cdn", "//unpkg", "//fonts", "@import"] {
            assert!([HTML, STYLE, SCRIPT].iter().all(|text| !text.contains(foreign)), "{foreign}");
        }
    }
}
