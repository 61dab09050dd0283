//! Cross-origin resource sharing, as the reference's `cors` option does it. Off unless origins are configured.
//!
//! A request of an origin that is not listed is answered like any other, only without the header that lets its page read the answer.

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_REQUEST_HEADERS, VARY,
    },
};

use super::{BuildError, origins::is_origin};

/// Which web pages of other origins may talk to this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsConfig {
    /// Origins such as `https://example.org`, or the single entry `*` for all. Empty (default): no CORS headers at all.
    pub origins: Vec<String>,
    /// Whether pages may send cookies. Refused together with `*`.
    pub credentials: bool,
}

/// A checked [`CorsConfig`] that is on.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Origins,
    credentials: bool,
}

#[derive(Debug)]
enum Origins {
    Any,
    Listed(Vec<HeaderValue>),
}

impl Cors {
    /// Checks the configuration; `None` when CORS is off.
    pub(super) fn new(config: &CorsConfig) -> Result<Option<Self>, BuildError> {
        if config.origins.is_empty() {
            return Ok(None);
        }
        let origins = if config.origins.iter().any(|origin| origin == "*") {
            if config.credentials {
                return Err(BuildError::CredentialsForAnyOrigin);
            }
            Origins::Any
        } else {
            Origins::Listed(config.origins.iter().map(|origin| listed(origin)).collect::<Result<_, _>>()?)
        };
        Ok(Some(Self {
            origins,
            credentials: config.credentials,
        }))
    }

    /// Adds what a page's browser needs to see in the answer to a request of this origin.
    pub(super) fn decorate(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        match &self.origins {
            Origins::Any => {
                answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Origins::Listed(listed) => {
                answer.append(VARY, HeaderValue::from_static("Origin"));
                if let Some(origin) = origin.filter(|origin| listed.contains(origin)) {
                    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                }
            }
        }
        if self.credentials {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// The answer to any `OPTIONS` request. The caller decorates it.
    ///
    /// The reference adds `Content-Length: 0`; hyper takes it out of a 204 again, as RFC 9110, 8.6 demands.
    pub(super) fn preflight(request: &HeaderMap) -> Response {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"),
        );
        if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.append(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        answer
    }
}

/// An origin as browsers write it: scheme, host, port if it is not the scheme's own, and nothing after it.
fn listed(origin: &str) -> Result<HeaderValue, BuildError> {
    HeaderValue::from_str(origin)
        .ok()
        .filter(|_| is_origin(origin))
        .ok_or_else(|| BuildError::Origin(origin.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decorated(origins: &[&str], credentials: bool, origin: &'static str) -> HeaderMap {
        let config = CorsConfig {
            origins: origins.iter().map(|&o| o.to_owned()).collect(),
            credentials,
        };
        let mut answer = HeaderMap::new();
        Cors::new(&config)
            .unwrap()
            .unwrap()
            .decorate(Some(&HeaderValue::from_static(origin)), &mut answer);
        answer
    }

    #[test]
    fn a_listed_origin_is_reflected_and_another_is_not() {
        let good = decorated(&["https://a.example", "https://b.example"], true, "https://b.example");
        assert_eq!(good.get(ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "https://b.example");
        assert_eq!(good.get(ACCESS_CONTROL_ALLOW_CREDENTIALS).unwrap(), "true");
        assert_eq!(good.get(VARY).unwrap(), "Origin");

        let other = decorated(&["https://a.example"], false, "https://b.example");
        assert_eq!(other.get(ACCESS_CONTROL_ALLOW_ORIGIN), None);
        assert_eq!(other.get(VARY).unwrap(), "Origin");
    }

    #[test]
    fn any_origin_needs_no_vary_and_refuses_credentials() {
        let any = decorated(&["*"], false, "https://b.example");
        assert_eq!(any.get(ACCESS_CONTROL_ALLOW_ORIGIN).unwrap(), "*");
        assert_eq!(any.get(VARY), None);

        let config = CorsConfig {
            origins: vec!["*".into()],
            credentials: true,
        };
        assert_eq!(Cors::new(&config).unwrap_err(), BuildError::CredentialsForAnyOrigin);
    }

    #[test]
    fn what_no_browser_sends_is_refused_as_origin() {
        for bad in [
            "example.org",
            "https://example.org/",
            "https://*.example.org",
            "https://",
            "https://a b",
            "https://a\n",
        ] {
            let config = CorsConfig {
                origins: vec![bad.into()],
                credentials: false,
            };
            assert_eq!(Cors::new(&config).unwrap_err(), BuildError::Origin(bad.into()), "{bad:?}");
        }
    }
}
