//! Which web pages may connect: the `origins` rule.
//!
//! CORS only keeps a page from reading an answer, and a WebSocket is not subject to it at all: whoever relies on cookies has to look at
//! the origin itself.

use std::sync::atomic::{AtomicBool, Ordering};

use http::{
    HeaderMap,
    header::{COOKIE, HeaderName, ORIGIN, REFERER},
    request::Parts,
};

use super::BuildError;
use crate::protocol::engineio::handshake::Refusal;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The pages that may open sessions and upgrade them. A request that names no origin comes from no page, and is none of this rule's
/// business; only JSONP is known to come from one.
///
/// Who is not allowed is refused with code 4 and the message `Forbidden by the origins rule`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origins {
    /// All, as in the reference. Said once in the log when a page of another host comes with cookies: its user may not know of it.
    #[default]
    Any,
    /// Pages of the host that the request is for, whatever their scheme.
    SameHost,
    /// These and no others, each such as `https://example.org`: not even pages of the same host, which an attacker's name may be made to
    /// point to. What CORS allows has to be listed here, too.
    List(Vec<String>),
}

/// A checked [`Origins`].
#[derive(Debug, Default)]
pub(super) struct OriginRule {
    origins: Origins,
    warned: AtomicBool,
}

/// The page that a script request comes from.
enum Page<'a> {
    /// One of the same origin as the request.
    Own,
    /// None: the user typed the address.
    Nobody,
    Of(&'a str),
    /// The browser does not tell.
    Unknown,
}

impl OriginRule {
    pub(super) fn new(origins: Origins) -> Result<Self, BuildError> {
        if let Origins::List(list) = &origins
            && let Some(wrong) = list.iter().find(|origin| !is_origin(origin))
        {
            return Err(BuildError::OriginRule(wrong.clone()));
        }
        Ok(Self {
            origins,
            warned: AtomicBool::new(false),
        })
    }

    /// Whether a request for `host` may open a session or upgrade one.
    pub(super) fn check(&self, head: &Parts, host: Option<&str>) -> Result<(), Refusal> {
        let Some(origin) = text(&head.headers, &ORIGIN) else {
            // One that is no text is nobody's who may.
            return verdict(!head.headers.contains_key(ORIGIN) || self.origins == Origins::Any);
        };
        verdict(match &self.origins {
            Origins::Any => {
                self.warn(head, origin, host);
                true
            }
            Origins::SameHost => is_same_host(origin, host),
            Origins::List(list) => lists(list, origin),
        })
    }

    /// Whether a page may do what it does by a script tag or a form (JSONP): those name no origin everywhere.
    pub(super) fn allows_script(&self, head: &Parts, host: Option<&str>) -> bool {
        match (&self.origins, page(&head.headers)) {
            (Origins::Any, _) | (Origins::SameHost, Page::Own) | (_, Page::Nobody) => true,
            (Origins::SameHost, Page::Of(origin)) => is_same_host(origin, host),
            (Origins::List(list), Page::Own) => list.iter().any(|origin| is_same_host(origin, host)),
            (Origins::List(list), Page::Of(origin)) => lists(list, origin),
            (_, Page::Unknown) => false,
        }
    }

    fn warn(&self, head: &Parts, origin: &str, host: Option<&str>) {
        if head.headers.contains_key(COOKIE) && !is_same_host(origin, host) && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                origin = origin.get(..128).unwrap_or(origin),
                "a page of another host connected with its user's cookies: set the origins rule if they mean anything"
            );
        }
    }
}

/// Whether a text is an origin as browsers write it: scheme, host, port if it is not the scheme's own, and nothing after it; or `null`.
pub(super) fn is_origin(text: &str) -> bool {
    let authority = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty());
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    printable && (text == "null" || authority.is_some_and(|(_, host)| is_authority(host)))
}

fn is_authority(host: &str) -> bool {
    !host.is_empty() && !host.bytes().any(|byte| matches!(byte, b'/' | b'?' | b'#' | b'*'))
}

fn verdict(allowed: bool) -> Result<(), Refusal> {
    if allowed { Ok(()) } else { Err(Refusal::origin()) }
}

fn lists(list: &[String], origin: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(origin))
}

/// Whether an origin's host and port are those of a request. Behind a balancer the scheme may be another, so its port is not looked at
/// where it is a usual one.
fn is_same_host(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| without_usual_port(authority));
    authority
        .zip(host.map(without_usual_port))
        .is_some_and(|(page, asked)| page.eq_ignore_ascii_case(asked))
}

fn without_usual_port(authority: &str) -> &str {
    let bare = authority.strip_suffix(":80").or_else(|| authority.strip_suffix(":443"));
    bare.unwrap_or(authority)
}

fn page(headers: &HeaderMap) -> Page<'_> {
    match text(headers, &SEC_FETCH_SITE) {
        Some("same-origin") => return Page::Own,
        Some("none") => return Page::Nobody,
        _ => {}
    }
    let origin = text(headers, &ORIGIN).or_else(|| text(headers, &REFERER).and_then(origin_of));
    origin.map_or(Page::Unknown, Page::Of)
}

/// The origin of a URL.
fn origin_of(url: &str) -> Option<&str> {
    let begin = url.find("://")? + 3;
    let authority = url.get(begin..)?;
    let length = authority.find(['/', '?', '#']).unwrap_or(authority.len());
    url.get(..begin + length)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const HOST: Option<&str> = Some("a.example");

    fn rule(origins: Origins) -> OriginRule {
        OriginRule::new(origins).unwrap()
    }

    fn list() -> Origins {
        Origins::List(vec!["https://b.example".into(), "http://a.example".into()])
    }

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_page_connects_where_the_rule_lets_it() {
        for (origins, allowed, refused) in [
            (Origins::Any, &["https://a.example", "https://b.example", "null"][..], &[][..]),
            (
                Origins::SameHost,
                &["https://a.example", "http://A.example", "http://a.example:80"],
                &[
                    "https://b.example",
                    "https://a.example.evil",
                    "https://a.example:8443",
                    "null",
                    "",
                    "a.example",
                ],
            ),
            (
                list(),
                &["https://b.example", "http://a.example"],
                &["https://a.example", "https://b.example:444", "null", "https://c.example"],
            ),
        ] {
            let rule = rule(origins);
            for origin in allowed {
                assert_eq!(rule.check(&head(&[("origin", origin)]), HOST), Ok(()), "{origin}");
            }
            for origin in refused {
                assert_eq!(rule.check(&head(&[("origin", origin)]), HOST), Err(Refusal::origin()), "{origin}");
            }
            assert_eq!(rule.check(&head(&[]), HOST), Ok(()), "no page");
        }
        let foreign = head(&[("origin", "https://a.example")]);
        assert_eq!(
            rule(Origins::SameHost).check(&foreign, None),
            Err(Refusal::origin()),
            "no host is no page's host"
        );
    }

    #[test]
    fn a_port_that_is_not_the_scheme_s_own_belongs_to_the_host() {
        let rule = rule(Origins::SameHost);
        let page = head(&[("origin", "http://localhost:3000")]);
        assert_eq!(rule.check(&page, Some("localhost:3000")), Ok(()));
        assert_eq!(rule.check(&page, Some("localhost:3001")), Err(Refusal::origin()));
        assert_eq!(rule.check(&head(&[("origin", "http://[::1]:3000")]), Some("[::1]:3000")), Ok(()));
    }

    #[test]
    fn a_script_is_known_by_what_the_browser_says_of_its_page() {
        let same_origin = [("sec-fetch-site", "same-origin")];
        let typed = [("sec-fetch-site", "none")];
        let own = [("sec-fetch-site", "cross-site"), ("referer", "https://a.example/page?x=1")];
        let other = [("referer", "https://b.example")];
        let disguised = [("referer", "https://c.example/?https://a.example/")];
        let form = [("origin", "https://c.example"), ("referer", "https://a.example/")];
        for (origins, verdicts) in [
            (Origins::Any, [true; 7]),
            (Origins::SameHost, [true, true, true, false, false, false, false]),
            (list(), [true, true, false, true, false, false, false]),
        ] {
            let rule = rule(origins.clone());
            let pages: [&[(&str, &str)]; 7] = [&same_origin, &typed, &own, &other, &disguised, &form, &[]];
            for (page, allowed) in pages.iter().zip(verdicts) {
                assert_eq!(rule.allows_script(&head(page), HOST), allowed, "{origins:?} {page:?}");
            }
        }
    }

    #[test]
    fn what_no_browser_sends_cannot_be_listed() {
        for wrong in [
            "",
            "example.org",
            "https://example.org/",
            "https://",
            "https://a b",
            "https://*",
            "https://a\n",
        ] {
            let origins = Origins::List(vec!["https://a.example".into(), wrong.into()]);
            assert_eq!(
                OriginRule::new(origins).unwrap_err(),
                BuildError::OriginRule(wrong.into()),
                "{wrong:?}"
            );
        }
    }
}
