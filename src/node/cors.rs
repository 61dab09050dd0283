//! Cross-origin resource sharing, as the reference's `cors` option does it. Off unless origins are configured.
//!
//! A request of an origin that is not listed is answered like any other, only without the header that lets its page read the answer.

use std::time::Duration;

use axum::{body::Body, response::Response};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, VARY,
    },
};

use super::{BuildError, cookie::is_token, origins::is_origin};

/// Which web pages of other origins may talk to this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsConfig {
    /// Origins such as `https://example.org`, or the single entry `*` for all. Empty (default): no CORS headers at all.
    pub origins: Vec<String>,
    /// Whether pages may send cookies. Refused together with `*`.
    pub credentials: bool,
    /// The methods that pages may use, told in preflights. Empty (default): GET, HEAD, PUT, PATCH, POST and DELETE.
    pub methods: Vec<String>,
    /// The headers that pages may send, told in preflights. Empty (default): those that the preflight asks for.
    pub allowed_headers: Vec<String>,
    /// The headers of answers that pages may read, beside the few that they always may. Default: none.
    pub exposed_headers: Vec<String>,
    /// How long browsers may keep the answer to a preflight, in whole seconds. Default: as long as they like.
    pub max_age: Option<Duration>,
}

/// A checked [`CorsConfig`] that is on.
#[derive(Debug)]
pub(super) struct Cors {
    origins: Origins,
    credentials: bool,
    methods: HeaderValue,
    /// Without it, what a preflight asks for.
    allowed_headers: Option<HeaderValue>,
    exposed_headers: Option<HeaderValue>,
    max_age: Option<HeaderValue>,
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
        let methods = list("methods", &config.methods)?;
        Ok(Some(Self {
            origins,
            credentials: config.credentials,
            methods: methods.unwrap_or(HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE")),
            allowed_headers: list("allowed_headers", &config.allowed_headers)?,
            exposed_headers: list("exposed_headers", &config.exposed_headers)?,
            max_age: config.max_age.map(|age| age.as_secs().into()),
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
        if let Some(exposed) = &self.exposed_headers {
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }

    /// The answer to any `OPTIONS` request. The caller decorates it.
    ///
    /// The reference adds `Content-Length: 0`; hyper takes it out of a 204 again, as RFC 9110, 8.6 demands.
    pub(super) fn preflight(&self, request: &HeaderMap) -> Response {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        if let Some(allowed) = &self.allowed_headers {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
        } else if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.append(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        if let Some(age) = &self.max_age {
            headers.insert(ACCESS_CONTROL_MAX_AGE, age.clone());
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

/// A list of tokens (RFC 9110, 5.6.2) as it stands in a header; nothing for an empty one.
fn list(key: &'static str, items: &[String]) -> Result<Option<HeaderValue>, BuildError> {
    if let Some(wrong) = items.iter().find(|item| !is_token(item)) {
        return Err(BuildError::CorsList(key, wrong.clone()));
    }
    if items.is_empty() {
        return Ok(None);
    }
    HeaderValue::try_from(items.join(","))
        .map(Some)
        .map_err(|_| BuildError::CorsList(key, items.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decorated(origins: &[&str], credentials: bool, origin: &'static str) -> HeaderMap {
        let config = CorsConfig {
            origins: origins.iter().map(|&o| o.to_owned()).collect(),
            credentials,
            ..CorsConfig::default()
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
            ..CorsConfig::default()
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
                ..CorsConfig::default()
            };
            assert_eq!(Cors::new(&config).unwrap_err(), BuildError::Origin(bad.into()), "{bad:?}");
        }
    }

    #[test]
    fn a_preflight_tells_what_is_configured_or_what_it_asks_for() {
        let named = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
        let config = CorsConfig {
            origins: named(&["*"]),
            methods: named(&["GET", "POST"]),
            allowed_headers: named(&["X-One", "X-Two"]),
            exposed_headers: named(&["X-Served-By"]),
            max_age: Some(Duration::from_secs(600)),
            ..CorsConfig::default()
        };
        let asks = HeaderMap::from_iter([(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("x-three"))]);
        let cors = Cors::new(&config).unwrap().unwrap();
        let mut told = cors.preflight(&asks);
        cors.decorate(None, told.headers_mut());
        let told = told.headers();
        assert_eq!(told.get(ACCESS_CONTROL_ALLOW_METHODS).unwrap(), "GET,POST");
        assert_eq!(told.get(ACCESS_CONTROL_ALLOW_HEADERS).unwrap(), "X-One,X-Two");
        assert_eq!(told.get(ACCESS_CONTROL_EXPOSE_HEADERS).unwrap(), "X-Served-By");
        assert_eq!(told.get(ACCESS_CONTROL_MAX_AGE).unwrap(), "600");
        assert_eq!(told.get(VARY), None);

        let plain = CorsConfig {
            origins: named(&["*"]),
            ..CorsConfig::default()
        };
        let told = Cors::new(&plain).unwrap().unwrap().preflight(&asks);
        assert_eq!(told.headers().get(ACCESS_CONTROL_ALLOW_HEADERS).unwrap(), "x-three");
        assert_eq!(told.headers().get(ACCESS_CONTROL_MAX_AGE), None);

        let broken = CorsConfig {
            allowed_headers: named(&["X-One, X-Two"]),
            ..plain
        };
        assert_eq!(
            Cors::new(&broken).unwrap_err(),
            BuildError::CorsList("allowed_headers", "X-One, X-Two".into())
        );
    }
}
