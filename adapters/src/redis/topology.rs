//! Which servers a URL names, and what they are to each other. The schemes are fred's; hosts stand in a list as Lettuce has them, and
//! the name of a master is the path, since a query or a fragment would mean other things elsewhere.

use std::fmt;

use fred::types::{
    RespVersion,
    config::{Config as FredConfig, ServerConfig},
};

use super::Config;
use crate::{
    ConfigError,
    config::{Endpoint, UrlForm, tls},
};

const EXPECTED: &str = "redis://[user:password@]host[:port][/database] for one server, \
    redis-sentinel://[user:password@]host[:port],host[:port]/master for the master that these sentinels know by that name, \
    redis-cluster://[user:password@]host[:port],host[:port] for a cluster with these servers; rediss in place of redis for TLS";

const ALONE: UrlForm = UrlForm {
    key: "url",
    plain: "redis",
    tls: "rediss",
    port: 6379,
    expected: EXPECTED,
};

const SENTINEL: UrlForm = UrlForm {
    plain: "redis-sentinel",
    tls: "rediss-sentinel",
    port: 26379,
    ..ALONE
};

const CLUSTER: UrlForm = UrlForm {
    plain: "redis-cluster",
    tls: "rediss-cluster",
    ..ALONE
};

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

/// Where the messages go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topology {
    /// One server.
    Alone(Address),
    /// Whichever server the sentinels hold for the master.
    Sentinels(Vec<Address>, String),
    /// The servers of a cluster, of which these are some.
    Cluster(Vec<Address>),
}

/// What it takes to connect.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) topology: Topology,
    /// For the servers that carry messages.
    pub(super) servers: Access,
    /// For the sentinels.
    pub(super) sentinels: Access,
}

/// How a kind of server lets the adapter in.
#[derive(Clone)]
pub(super) struct Access(FredConfig);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

// The login is a secret.
impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    /// The client library's configuration for the server at `address`.
    pub(super) fn to(&self, address: &Address) -> FredConfig {
        FredConfig {
            server: ServerConfig::new_centralized(address.host.clone(), address.port),
            ..self.0.clone()
        }
    }
}

impl Plan {
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let scheme = config.url.split("://").next().unwrap_or_default();
        let of = |form: UrlForm| scheme == form.plain || scheme == form.tls;
        let form = [SENTINEL, CLUSTER].into_iter().find(|form| of(*form)).unwrap_or(ALONE);
        let endpoints = endpoints(&config.url, form)?;
        let addresses = endpoints.iter().map(|Endpoint { host, port, .. }| Address {
            host: host.clone(),
            port: *port,
        });
        let addresses: Vec<_> = addresses.collect();
        let mut endpoints = endpoints.into_iter();
        let first = endpoints.next().ok_or_else(|| mistake("no host"))?;
        let (topology, database) = if of(SENTINEL) {
            (Topology::Sentinels(addresses, master(&first.path)?), None)
        } else if of(CLUSTER) {
            if !first.path.is_empty() {
                return Err(mistake("a path, which means nothing to a cluster"));
            }
            (Topology::Cluster(addresses), None)
        } else {
            (Topology::Alone(only(addresses)?), database(&first.path)?)
        };
        if !of(SENTINEL) && (config.sentinel_username.is_some() || config.sentinel_password.is_some()) {
            let problem = "the URL names no sentinels";
            return Err(ConfigError::new(
                "sentinel_password",
                problem,
                "it together with a redis-sentinel:// URL",
            ));
        }
        if config.tls_ca.is_some() && !first.tls {
            return Err(ConfigError::new(
                "tls_ca",
                "the URL asks for no TLS",
                "tls_ca together with a rediss:// URL",
            ));
        }
        let tls = first.tls.then(|| tls(config.tls_ca.as_deref())).transpose()?;
        let access = |username: Option<String>, password: Option<String>, database| {
            Access(FredConfig {
                fail_fast: true,
                username,
                password,
                version: RespVersion::RESP3,
                database,
                tls: tls.clone().map(|tls| fred::types::config::TlsConnector::from(tls).into()),
                ..FredConfig::default()
            })
        };
        Ok(Self {
            topology,
            servers: access(
                config.username.clone().or(first.username),
                config.password.clone().or(first.password),
                database,
            ),
            sentinels: access(config.sentinel_username.clone(), config.sentinel_password.clone(), None),
        })
    }
}

/// Reads a URL that may name several hosts, `scheme://[user:password@]host[:port],host[:port][/path]`: one endpoint for each.
fn endpoints(text: &str, form: UrlForm) -> Result<Vec<Endpoint>, ConfigError> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (login, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
    if !hosts.contains(',') {
        return Ok(vec![Endpoint::parse(text, form)?]);
    }
    let hosts = hosts.split(',');
    hosts
        .map(|host| Endpoint::parse(&format!("{scheme}://{login}{host}{path}"), form))
        .collect()
}

fn mistake(problem: &str) -> ConfigError {
    ConfigError::new("url", problem, EXPECTED)
}

fn only(addresses: Vec<Address>) -> Result<Address, ConfigError> {
    let [address] = <[Address; 1]>::try_from(addresses).map_err(|_| mistake("several hosts, but neither sentinels nor a cluster"))?;
    Ok(address)
}

fn database(path: &str) -> Result<Option<u8>, ConfigError> {
    let number = || path.parse().map_err(|_| mistake("a path that is no database number (0 to 255)"));
    (!path.is_empty()).then(number).transpose()
}

/// Sentinel's own rule for names.
fn master(path: &str) -> Result<String, ConfigError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if path.is_empty() || !path.bytes().all(allowed) {
        return Err(mistake("a path that is no name of a master (A-Z a-z 0-9 . - _)"));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology(url: &str) -> Topology {
        Plan::new(&Config::new(url)).unwrap().topology
    }

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    #[test]
    fn the_scheme_says_what_the_hosts_are() {
        assert_eq!(topology("redis://h/3"), Topology::Alone(address("h", 6379)));
        assert_eq!(
            topology("redis-sentinel://me:p@h1:1,h2/my-master"),
            Topology::Sentinels(vec![address("h1", 1), address("h2", 26379)], "my-master".into())
        );
        assert_eq!(
            topology("rediss-cluster://h1:1,h2"),
            Topology::Cluster(vec![address("h1", 1), address("h2", 6379)])
        );
    }

    #[test]
    fn hosts_share_what_else_the_url_says() {
        let all = endpoints("redis-cluster://me:p%2Cq@h1:1,h2,[::1]:3/x", CLUSTER).unwrap();
        let places: Vec<_> = all.iter().map(|endpoint| (endpoint.host.as_str(), endpoint.port)).collect();
        assert_eq!(places, [("h1", 1), ("h2", 6379), ("[::1]", 3)]);
        assert!(
            all.iter()
                .all(|endpoint| endpoint.path == "x" && endpoint.password.as_deref() == Some("p,q"))
        );
        for text in [
            "redis-cluster://h1,",
            "redis-cluster://,h1",
            "h1,h2",
            "redis-cluster://me:secret@h1,h2:70000",
        ] {
            let error = endpoints(text, CLUSTER).expect_err(text);
            assert!(!format!("{error}").contains("secret"), "{error}");
        }
    }

    #[test]
    fn mistakes_name_the_key_and_what_was_expected() {
        for (url, problem) in [
            ("http://h", "url: unknown scheme"),
            ("redis://h/x", "url: a path that is no database"),
            ("redis://h1,h2", "url: several hosts"),
            ("redis-sentinel://h1,h2", "url: a path that is no name of a master"),
            ("redis-sentinel://h1,h2/a/b", "url: a path that is no name of a master"),
            ("redis-sentinel://h1:x/m", "url: not a URL"),
            ("redis-cluster://h1,h2/0", "url: a path, which means nothing"),
            ("redis-cluster://", "url: no host"),
            ("redis-sentinel://h?master=m", "url: a query"),
        ] {
            let error = Plan::new(&Config::new(url)).unwrap_err().to_string();
            assert!(error.starts_with(problem), "{url}: {error}");
            assert!(error.contains("; expected redis://[user"), "{error}");
        }
    }

    #[test]
    fn sentinels_have_a_login_of_their_own() {
        let config = Config {
            sentinel_password: Some("other".into()),
            ..Config::new("redis-sentinel://me:p@h/m")
        };
        let plan = Plan::new(&config).unwrap();
        let login = |access: Access| (access.0.username, access.0.password);
        assert_eq!(login(plan.servers), (Some("me".into()), Some("p".into())));
        assert_eq!(login(plan.sentinels), (None, Some("other".into())));
        let error = Plan::new(&Config {
            url: "redis://h".into(),
            ..config
        });
        assert!(
            error
                .unwrap_err()
                .to_string()
                .starts_with("sentinel_password: the URL names no sentinels")
        );
    }
}
