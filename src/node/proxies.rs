//! Behind balancers: whose word on a client's address, scheme and host is believed, and what is then believed.

use std::net::{IpAddr, SocketAddr};

use axum::extract::ConnectInfo;
use http::{
    HeaderMap,
    header::{HOST, HeaderName},
    request::Parts,
};

use super::network::{Network, Networks};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Where a request comes from, as far as that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) address: Option<IpAddr>,
    /// Whether the client speaks TLS, to whom ever.
    pub(super) secure: bool,
}

/// The networks of proxies whose `X-Forwarded-*` headers are believed.
#[derive(Debug, Clone, Default)]
pub(super) struct Proxies(Networks);

impl Proxies {
    pub(super) fn new(networks: Vec<Network>) -> Self {
        Self(Networks::new(networks))
    }

    /// Whether connections from there are a proxy's.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.contains(address)
    }

    /// Who the client is: the peer of the connection, unless that is a trusted proxy. Then `X-Forwarded-For` is read from its end,
    /// where the nearest proxy wrote, up to the first address that is no trusted proxy: what stands before it anybody may have written.
    pub(super) fn peer(&self, head: &Parts) -> Peer {
        let Some(connected) = connected(head) else {
            return Peer {
                address: None,
                secure: false,
            };
        };
        if !self.trusts(connected) {
            return Peer {
                address: Some(connected),
                secure: false,
            };
        }
        let mut client = connected;
        let lists: Vec<&str> = texts(&head.headers, &FORWARDED_FOR).collect();
        let hops = lists.iter().rev().flat_map(|list| list.rsplit(','));
        for hop in hops {
            let Some(address) = address(hop.trim()) else { break };
            client = address;
            if !self.trusts(client) {
                break;
            }
        }
        Peer {
            address: Some(client),
            secure: last(&head.headers, &FORWARDED_PROTO)
                .is_some_and(|scheme| ["https", "wss"].iter().any(|secure| scheme.eq_ignore_ascii_case(secure))),
        }
    }

    /// The host that the client asked for, with its port where that is not the scheme's own.
    pub(super) fn host<'a>(&self, head: &'a Parts) -> Option<&'a str> {
        let forwarded = connected(head)
            .filter(|connected| self.trusts(*connected))
            .and_then(|_| last(&head.headers, &FORWARDED_HOST));
        forwarded
            .or_else(|| head.uri.authority().map(|authority| authority.as_str()))
            .or_else(|| texts(&head.headers, &HOST).next())
    }
}

/// The other end of the connection, where the server tells.
pub(super) fn connected(head: &Parts) -> Option<IpAddr> {
    let ConnectInfo(peer) = head.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(peer.ip().to_canonical())
}

/// An entry of `X-Forwarded-For`; some proxies add the port.
fn address(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']')).unwrap_or(hop);
    let address = bare
        .parse()
        .ok()
        .or_else(|| hop.parse().ok().map(|socket: SocketAddr| socket.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

/// The last entry of a list: what the nearest proxy wrote.
fn last<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let last = texts(headers, name).last()?.rsplit(',').next()?.trim();
    (!last.is_empty()).then_some(last)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn proxies(networks: &[&str]) -> Proxies {
        Proxies::new(networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn head(connected: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/socket.io/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        let peer: IpAddr = connected.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((peer, 4711))));
        request.into_parts().0
    }

    #[test]
    fn only_a_trusted_proxy_is_believed_and_only_what_it_wrote() {
        let proxies = proxies(&["10.0.0.0/8", "fd00::/8"]);
        for (connected, forwarded, client) in [
            // Nobody speaks for a client that came directly.
            ("203.0.113.1", &["198.51.100.1"][..], "203.0.113.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1"], "198.51.100.1"),
            // What the client wrote itself stands before what the proxy added.
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", &["198.51.100.1, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.1, unknown, 10.0.0.2"], "10.0.0.2"),
            ("::ffff:10.0.0.1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("fd00::1", &["[2001:db8::7]"], "2001:db8::7"),
            ("fd00::1", &["2001:db8::7"], "2001:db8::7"),
        ] {
            let headers: Vec<_> = forwarded.iter().map(|list| ("x-forwarded-for", *list)).collect();
            let peer = proxies.peer(&head(connected, &headers));
            assert_eq!(peer.address, Some(client.parse().unwrap()), "{connected} {forwarded:?}");
        }
    }

    #[test]
    fn scheme_and_host_are_the_nearest_proxy_s_word() {
        let proxies = proxies(&["10.0.0.0/8"]);
        let headers = [
            ("host", "inner"),
            ("x-forwarded-proto", "http, HTTPS"),
            ("x-forwarded-host", "evil.example, outer.example"),
        ];
        let trusted = head("10.0.0.1", &headers);
        assert!(proxies.peer(&trusted).secure);
        assert_eq!(proxies.host(&trusted), Some("outer.example"));
        let direct = head("203.0.113.1", &headers);
        assert!(!proxies.peer(&direct).secure);
        assert_eq!(proxies.host(&direct), Some("inner"));
        assert!(!proxies.peer(&head("10.0.0.1", &[("x-forwarded-proto", "https, http")])).secure);
    }

    #[test]
    fn without_a_known_peer_nobody_is_believed() {
        let mut head = head("10.0.0.1", &[("x-forwarded-for", "198.51.100.1"), ("x-forwarded-proto", "https")]);
        head.extensions.clear();
        let peer = proxies(&["0.0.0.0/0"]).peer(&head);
        assert_eq!((peer.address, peer.secure), (None, false));
    }
}
