//! Forms of addresses and URLs.

use std::{fmt, net::SocketAddr};

use fanfare_adapters::masked;
use url::Url;

use super::{Form, Found};
use crate::node;

impl Form for SocketAddr {
    const EXPECTED: &'static str = "an IP address and a port such as \"0.0.0.0:3000\" or \"[::1]:3000\" (port 0: any free one)";
    fn read(found: Found<'_>) -> Option<Self> {
        found.text()?.parse().ok()
    }
}

/// Origins that browsers may connect from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::config) struct Origins(pub(in crate::config) Vec<String>);

impl Form for Origins {
    const EXPECTED: &'static str = "a list of origins such as [\"https://example.com\", \"http://localhost:8080\"], or [\"*\"]";
    fn read(found: Found<'_>) -> Option<Self> {
        let origin = |text: &str| text == "*" || Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text);
        let origins = found.list()?;
        origins
            .iter()
            .all(|text| origin(text))
            .then(|| Self(origins.into_iter().map(str::to_owned).collect()))
    }
}

/// Origins whose pages may open sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct AllowedOrigins(pub(in crate::config) node::Origins);

impl Form for AllowedOrigins {
    const EXPECTED: &'static str = "\"same-host\", \"any\", or a list of origins such as [\"https://example.com\"]";
    fn read(found: Found<'_>) -> Option<Self> {
        match found.text() {
            Some("same-host") => Some(Self(node::Origins::SameHost)),
            Some("any") => Some(Self(node::Origins::Any)),
            _ => {
                let Origins(list) = Origins::read(found)?;
                let named = !list.is_empty() && list.iter().all(|origin| origin != "*");
                named.then_some(Self(node::Origins::List(list)))
            }
        }
    }
}

/// Networks of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Networks(pub(in crate::config) Vec<node::Network>);

impl Form for Networks {
    const EXPECTED: &'static str = "a list of addresses and networks such as [\"10.0.0.0/8\", \"192.0.2.7\"]";
    fn read(found: Found<'_>) -> Option<Self> {
        let networks = found.list()?.into_iter().map(|text| text.parse().ok());
        networks.collect::<Option<_>>().map(Self)
    }
}

/// Where a backend is: one URL, or several separated by commas. User and password in it are never shown.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::config) struct RedisUrl(pub(in crate::config) String);

impl Form for RedisUrl {
    const EXPECTED: &'static str = "a URL such as \"redis://127.0.0.1:6379\", \"redis-sentinel://host:26379,host:26379/master\" or \
                                    \"redis-cluster://host:6379,host:6379\"; \"rediss…\" for TLS";
    fn read(found: Found<'_>) -> Option<Self> {
        let text = found.text()?;
        // What else is wrong with several hosts the adapter says.
        let several = ["redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];
        let several = text.split_once("://").is_some_and(|(scheme, _)| several.contains(&scheme));
        (several || backend(text, &["redis", "rediss"])).then(|| Self(text.to_owned()))
    }
    fn show(found: Found<'_>) -> String {
        found.text().map_or_else(|| found.to_string(), |text| format!("{:?}", masked(text)))
    }
}

/// See [`RedisUrl`].
#[derive(Clone, PartialEq, Eq)]
pub(in crate::config) struct NatsUrls(pub(in crate::config) Vec<String>);

impl Form for NatsUrls {
    const EXPECTED: &'static str = "a URL such as \"nats://127.0.0.1:4222\", or \"tls://…\" for TLS; several separated by commas";
    fn read(found: Found<'_>) -> Option<Self> {
        let urls: Vec<String> = found.text()?.split(',').map(|url| url.trim().to_owned()).collect();
        urls.iter().all(|url| backend(url, &["nats", "tls"])).then_some(Self(urls))
    }
    fn show(found: Found<'_>) -> String {
        found.text().map_or_else(|| found.to_string(), |text| format!("{:?}", masked(text)))
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&masked(&self.0), f)
    }
}

impl fmt::Debug for NatsUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|url| masked(url))).finish()
    }
}

fn backend(text: &str, schemes: &[&str]) -> bool {
    Url::parse(text).is_ok_and(|url| schemes.contains(&url.scheme()) && url.has_host())
}

/// Where other nodes reach this one's internal listener: empty to find out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::config) struct Advertise(pub(in crate::config) Option<String>);

impl Form for Advertise {
    const EXPECTED: &'static str = "a host or IP address and a port such as \"10.0.0.7:3001\"; empty to use internal.listen";
    fn read(found: Found<'_>) -> Option<Self> {
        let text = found.text()?;
        if text.is_empty() {
            return Some(Self(None));
        }
        let (host, port) = text.rsplit_once(':')?;
        let named = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        let reachable = port.parse::<u16>().is_ok_and(|port| port > 0) && (named || text.parse::<SocketAddr>().is_ok());
        reachable.then(|| Self(Some(text.to_owned())))
    }
}

/// Where traces are sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::config) struct Endpoint(pub(in crate::config) Option<String>);

impl Form for Endpoint {
    const EXPECTED: &'static str = "the URL of an OTLP/gRPC collector such as \"http://127.0.0.1:4317\"; empty for none";
    fn read(found: Found<'_>) -> Option<Self> {
        let text = found.text()?;
        let usable = |url: Url| url.scheme() == "http" && url.has_host() && url.username().is_empty() && url.password().is_none();
        if text.is_empty() {
            return Some(Self(None));
        }
        Url::parse(text).is_ok_and(usable).then(|| Self(Some(text.to_owned())))
    }
    fn show(found: Found<'_>) -> String {
        found.text().map_or_else(|| found.to_string(), |text| format!("{:?}", masked(text)))
    }
}
