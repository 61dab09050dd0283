//! What a Redis adapter can be told.

use std::{fmt, path::PathBuf, time::Duration};

use super::topology::Plan;
use crate::{
    ConfigError, DEFAULT_INBOX_BYTES, DEFAULT_OUTAGE_AGE, DEFAULT_QUEUE_BYTES,
    config::{hidden, shown},
    core::Bounds,
};

/// What a Redis adapter can be told. Secrets are not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Where Redis is. A password without a user is written `:password@`; with `rediss` in place of `redis`, TLS is spoken.
    ///
    /// * `redis://[user:password@]host[:port][/database]`: one server. The database is selected but does not matter: Redis' pub/sub
    ///   knows no databases.
    /// * `redis-sentinel://[user:password@]host[:port],host[:port]/master`: the server that one of these sentinels names as the master
    ///   of that name, asked anew for each session. User and password are the server's.
    /// * `redis-cluster://[user:password@]host[:port],host[:port]`: a cluster of Redis 7.0.3 or later, of which these are some servers.
    pub url: String,
    /// Takes precedence over the URL's.
    pub username: Option<String>,
    /// Takes precedence over the URL's.
    pub password: Option<String>,
    /// Who the adapter is to the sentinels, if they ask; the server's login is never shown to them.
    pub sentinel_username: Option<String>,
    /// See `sentinel_username`; a password may stand alone.
    pub sentinel_password: Option<String>,
    /// A PEM file with the authorities to trust in place of the system's; with TLS only.
    pub tls_ca: Option<PathBuf>,
    /// Bytes of messages that may wait to be sent; above it `publish` answers `Full`. One message of any size that the backend
    /// takes may always wait. Default 1 MiB.
    pub queue_bytes: usize,
    /// A message that could not be sent within this time is dropped and counted. Default 1 s.
    pub outage_age: Duration,
    /// The inbox's bound in bytes; above it messages are dropped and a gap is marked. One message of any size may always wait.
    /// Default 64 MiB.
    pub inbox_bytes: usize,
}

impl Config {
    /// The defaults, with this URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            username: None,
            password: None,
            sentinel_username: None,
            sentinel_password: None,
            tls_ca: None,
            queue_bytes: DEFAULT_QUEUE_BYTES,
            outage_age: DEFAULT_OUTAGE_AGE,
            inbox_bytes: DEFAULT_INBOX_BYTES,
        }
    }

    /// Whether every key can be used, without connecting.
    ///
    /// # Errors
    /// [`ConfigError`] for the first key that cannot.
    pub fn check(&self) -> Result<(), ConfigError> {
        Plan::new(self).map(drop)
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            queue_bytes: self.queue_bytes,
            outage_age: self.outage_age,
            inbox_bytes: self.inbox_bytes,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new("redis://127.0.0.1:6379")
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            username,
            password,
            sentinel_username,
            sentinel_password,
            tls_ca,
            queue_bytes,
            outage_age,
            inbox_bytes,
        } = self;
        f.debug_struct("Config")
            .field("url", &shown(url))
            .field("username", username)
            .field("password", &hidden(password.as_ref()))
            .field("sentinel_username", sentinel_username)
            .field("sentinel_password", &hidden(sentinel_password.as_ref()))
            .field("tls_ca", tls_ca)
            .field("queue_bytes", queue_bytes)
            .field("outage_age", outage_age)
            .field("inbox_bytes", inbox_bytes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_the_key() {
        let error = |config: Config| config.check().unwrap_err().to_string();
        assert!(error(Config::new("http://h")).starts_with("url: unknown scheme"));
        let tls_ca = Some("/nowhere/ca.pem".into());
        assert!(
            error(Config {
                tls_ca: tls_ca.clone(),
                ..Config::new("redis://h")
            })
            .starts_with("tls_ca: the URL asks for no TLS")
        );
        assert!(
            error(Config {
                tls_ca,
                ..Config::new("rediss://h")
            })
            .starts_with("tls_ca: /nowhere/ca.pem")
        );
    }

    #[test]
    fn debug_hides_secrets() {
        let config = Config {
            password: Some("secret".into()),
            sentinel_password: Some("secret".into()),
            ..Config::new("redis-sentinel://me:secret@h,i/m")
        };
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn tls_needs_no_installed_provider() {
        Config::new("rediss://h").check().unwrap();
    }
}
