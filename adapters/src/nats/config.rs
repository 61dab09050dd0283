//! What a NATS adapter can be told.

use std::{fmt, fs, path::PathBuf, time::Duration};

use async_nats::{ConnectOptions, ServerAddr};

use crate::{
    ConfigError, DEFAULT_INBOX_BYTES, DEFAULT_OUTAGE_AGE, DEFAULT_QUEUE_BYTES,
    config::{Endpoint, UrlForm, hidden, shown, tls},
    core::Bounds,
};

const FORM: UrlForm = UrlForm {
    key: "url",
    plain: "nats",
    tls: "tls",
    port: 4222,
    expected: "nats://[user:password@ or token@]host[:port], or tls:// for TLS; several separated by commas",
};

/// What a NATS adapter can be told. Secrets are not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// `nats://[user:password@]host[:port]`, `nats://token@host`, or `tls://` for TLS; several are tried in turn, and an entry may be
    /// several separated by commas. Servers that a cluster announces are tried after them, with the login and the scheme of the server
    /// that has announced them.
    pub urls: Vec<String>,
    /// Takes precedence over the URL's.
    pub user: Option<String>,
    /// Takes precedence over the URL's.
    pub password: Option<String>,
    /// Takes precedence over the URL's.
    pub token: Option<String>,
    /// A credentials file of NATS (user JWT and seed).
    pub creds_file: Option<PathBuf>,
    /// A PEM file with the authorities to trust in place of the system's; implies TLS.
    pub tls_ca: Option<PathBuf>,
    /// Demands TLS whatever the URL says. Default no; a server that demands it gets it anyhow.
    pub tls: bool,
    /// Bytes of messages that may wait to be sent; above it `publish` answers `Full`. One message of any size that the backend
    /// takes may always wait. Default 1 MiB.
    pub queue_bytes: usize,
    /// A message that could not be sent within this time is dropped and counted. Default 1 s.
    pub outage_age: Duration,
    /// The inbox's bound in bytes; above it messages are dropped and a gap is marked. One message of any size may always wait.
    /// Default 64 MiB.
    pub inbox_bytes: usize,
}

/// Who the adapter is to the server. Not `Debug`: holds secrets.
#[derive(Clone)]
pub(super) struct Login {
    user: Option<(String, String)>,
    token: Option<String>,
    credentials: Option<String>,
}

/// A server, and who the adapter is to it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: ServerAddr,
    pub(super) login: Login,
}

impl Config {
    /// The defaults, with this URL or comma-separated list of URLs.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            user: None,
            password: None,
            token: None,
            creds_file: None,
            tls_ca: None,
            tls: false,
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
        self.targets()?;
        self.tls_config().map(drop)
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            queue_bytes: self.queue_bytes,
            outage_age: self.outage_age,
            inbox_bytes: self.inbox_bytes,
        }
    }

    pub(super) fn requires_tls(&self) -> bool {
        self.tls || self.tls_ca.is_some()
    }

    pub(super) fn tls_config(&self) -> Result<rustls::ClientConfig, ConfigError> {
        tls(self.tls_ca.as_deref())
    }

    /// At least one unless there is an error. The addresses are stripped of secrets, since the client library logs them.
    pub(super) fn targets(&self) -> Result<Vec<Target>, ConfigError> {
        let credentials = self.credentials()?;
        if self.urls.is_empty() {
            return Err(ConfigError::new("url", "no server at all", FORM.expected));
        }
        self.urls
            .iter()
            .flat_map(|urls| urls.split(','))
            .map(|url| {
                let Endpoint {
                    tls,
                    host,
                    port,
                    path,
                    username,
                    password,
                } = Endpoint::parse(url.trim(), FORM)?;
                if !path.is_empty() {
                    return Err(ConfigError::new("url", "a path, which means nothing here", FORM.expected));
                }
                let address = format!("{}://{host}:{port}", if tls { FORM.tls } else { FORM.plain })
                    .parse()
                    .map_err(|problem| ConfigError::new("url", problem, FORM.expected))?;
                // A lone user name in a URL of NATS is a token.
                let (username, token) = if password.is_some() { (username, None) } else { (None, username) };
                let login = Login {
                    user: pair(self.user.clone().or(username), self.password.clone().or(password))?,
                    token: self.token.clone().or(token),
                    credentials: credentials.clone(),
                };
                Ok(Target { address, login })
            })
            .collect()
    }

    fn credentials(&self) -> Result<Option<String>, ConfigError> {
        const EXPECTED: &str = "a readable NATS credentials file with a user JWT and a seed";
        let Some(path) = &self.creds_file else { return Ok(None) };
        let error =
            |problem: &dyn fmt::Display| ConfigError::new("credentials_file", format_args!("{}: {problem}", path.display()), EXPECTED);
        let text = fs::read_to_string(path).map_err(|problem| error(&problem))?;
        // The library's own words might repeat a part of the file.
        ConnectOptions::new().credentials(&text).map_err(|_| error(&"not in that form"))?;
        Ok(Some(text))
    }
}

impl Login {
    #[cfg(test)]
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|(user, _)| user.as_str())
    }

    /// Presents itself in `options`.
    pub(super) fn apply(self, mut options: ConnectOptions) -> std::io::Result<ConnectOptions> {
        if let Some((user, password)) = self.user {
            options = options.user_and_password(user, password);
        }
        if let Some(token) = self.token {
            options = options.token(token);
        }
        match self.credentials {
            Some(credentials) => options.credentials(&credentials),
            None => Ok(options),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new("nats://127.0.0.1:4222")
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            urls,
            user,
            password,
            token,
            creds_file,
            tls_ca,
            tls,
            queue_bytes,
            outage_age,
            inbox_bytes,
        } = self;
        f.debug_struct("Config")
            .field(
                "urls",
                &urls
                    .iter()
                    .flat_map(|urls| urls.split(','))
                    .map(|url| shown(url.trim()))
                    .collect::<Vec<_>>(),
            )
            .field("user", user)
            .field("password", &hidden(password.as_ref()))
            .field("token", &hidden(token.as_ref()))
            .field("creds_file", creds_file)
            .field("tls_ca", tls_ca)
            .field("tls", tls)
            .field("queue_bytes", queue_bytes)
            .field("outage_age", outage_age)
            .field("inbox_bytes", inbox_bytes)
            .finish()
    }
}

fn pair(user: Option<String>, password: Option<String>) -> Result<Option<(String, String)>, ConfigError> {
    match (user, password) {
        (Some(user), Some(password)) => Ok(Some((user, password))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(ConfigError::new("password", "missing", "a password to go with the user")),
        (None, Some(_)) => Err(ConfigError::new("user", "missing", "a user to go with the password")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_the_key() {
        let error = |config: Config| config.check().unwrap_err().to_string();
        assert!(error(Config::new("redis://h")).starts_with("url: unknown scheme"));
        assert!(error(Config::new("nats://h, nats://h/path")).starts_with("url: a path"));
        assert!(
            error(Config {
                user: Some("me".into()),
                ..Config::default()
            })
            .starts_with("password: missing")
        );
        assert!(
            error(Config {
                password: Some("secret".into()),
                ..Config::default()
            })
            .starts_with("user: missing")
        );
        assert!(
            error(Config {
                creds_file: Some("/dev/null".into()),
                ..Config::default()
            })
            .starts_with("credentials_file: /dev/null")
        );
    }

    #[test]
    fn secrets_are_taken_from_the_url_and_shown_nowhere() {
        let config = Config {
            token: Some("secret".into()),
            ..Config::new("nats://me:secret@h1, tls://secret@h2:5")
        };
        assert!(!format!("{config:?}").contains("secret"));
        let targets = Config::new("nats://me:secret@h1, tls://secret@h2:5").targets().unwrap();
        assert_eq!(targets[0].login.user, Some(("me".to_owned(), "secret".to_owned())));
        assert_eq!(targets[1].login.token.as_deref(), Some("secret"));
        assert!(targets.iter().all(|target| !format!("{:?}", target.address).contains("secret")));
    }
}
