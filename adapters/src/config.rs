//! What the configurations of the networked adapters have in common: errors that name the key, URLs that hide their secrets, TLS.

use std::{fmt, fs, path::Path};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use url::Url;

/// A key of an adapter's configuration has a value that cannot be used. The text never repeats a value that may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}; expected {expected}")]
pub struct ConfigError {
    key: &'static str,
    problem: String,
    expected: &'static str,
}

impl ConfigError {
    pub(crate) fn new(key: &'static str, problem: impl fmt::Display, expected: &'static str) -> Self {
        Self {
            key,
            problem: problem.to_string(),
            expected,
        }
    }

    /// The key below `adapter.redis` or `adapter.nats`, as the broker's configuration calls it.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.key
    }
}

/// A parsed backend URL whose secrets were taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) tls: bool,
    /// As the client library wants it: brackets around an IPv6 address are kept.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path: String,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

/// The scheme without and with TLS, the default port, and how a URL of this backend looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UrlForm {
    pub(crate) key: &'static str,
    pub(crate) plain: &'static str,
    pub(crate) tls: &'static str,
    pub(crate) port: u16,
    pub(crate) expected: &'static str,
}

impl Endpoint {
    pub(crate) fn parse(text: &str, form: UrlForm) -> Result<Self, ConfigError> {
        let error = |problem: &dyn fmt::Display| ConfigError::new(form.key, problem, form.expected);
        let url = Url::parse(text).map_err(|problem| error(&format_args!("not a URL ({problem})")))?;
        let tls = match url.scheme() {
            scheme if scheme == form.plain => false,
            scheme if scheme == form.tls => true,
            scheme => return Err(error(&format_args!("unknown scheme {scheme:?}"))),
        };
        let host = url
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or_else(|| error(&"no host"))?
            .to_owned();
        if url.query().is_some() || url.fragment().is_some() {
            return Err(error(&"a query or fragment, which means nothing here"));
        }
        let decoded = |text: &str| decode(text).ok_or_else(|| error(&"a user name or password whose percent-encoding is broken"));
        Ok(Self {
            tls,
            host,
            port: url.port().unwrap_or(form.port),
            path: url.path().trim_matches('/').to_owned(),
            username: (!url.username().is_empty()).then(|| decoded(url.username())).transpose()?,
            password: url.password().map(decoded).transpose()?,
        })
    }
}

/// The text of a URL, or of several separated by commas, without what could be a user, a password or a token: what stands before an `@`,
/// and what follows a `?`. It need not be a URL, so that mistakes can be shown too.
///
/// ```
/// assert_eq!(fanfare_adapters::masked("redis-sentinel://me:secret@a:1,b:2/m"), "redis-sentinel://***@a:1,b:2/m");
/// ```
#[must_use]
pub fn masked(text: &str) -> String {
    let mut urls: Vec<String> = Vec::new();
    for part in text.split(',') {
        match urls.last_mut() {
            // A comma between hosts, or in a password.
            Some(url) if !part.contains("://") => *url = format!("{url},{part}"),
            _ => urls.push(part.to_owned()),
        }
    }
    let masked = urls.iter().map(|url| {
        let (scheme, rest) = url.find("://").map_or(("", url.as_str()), |at| url.split_at(at + 3));
        let (secret, place) = rest.rsplit_once('@').map_or(("", rest), |(_, place)| ("***@", place));
        let (place, query) = place.split_once('?').map_or((place, ""), |(place, _)| (place, "?***"));
        format!("{scheme}{secret}{place}{query}")
    });
    masked.collect::<Vec<_>>().join(",")
}

/// A URL for `Debug`: [`masked`], and nothing of a text that is no URL, which may be a secret in the wrong place.
pub(crate) fn shown(text: &str) -> String {
    if text.contains("://") {
        masked(text)
    } else {
        "(not a URL)".to_owned()
    }
}

/// Shows that a secret is set, not which.
pub(crate) fn hidden(secret: Option<&String>) -> Option<&'static str> {
    secret.map(|_| "***")
}

/// The client side of TLS, over ring alone: trusts the system's certificates, or those of `authorities` (PEM) in their place.
pub(crate) fn tls(authorities: Option<&Path>) -> Result<ClientConfig, ConfigError> {
    const KEY: &str = "tls_ca";
    const EXPECTED: &str = "a readable file with at least one PEM certificate";
    let mut roots = RootCertStore::empty();
    if let Some(path) = authorities {
        let pem = fs::read(path).map_err(|problem| ConfigError::new(KEY, format_args!("{}: {problem}", path.display()), EXPECTED))?;
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|problem| ConfigError::new(KEY, problem, EXPECTED))?;
            roots.add(certificate).map_err(|problem| ConfigError::new(KEY, problem, EXPECTED))?;
        }
        if roots.is_empty() {
            return Err(ConfigError::new(
                KEY,
                format_args!("no certificate in {}", path.display()),
                EXPECTED,
            ));
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|problem| ConfigError::new(KEY, problem, "a TLS library with TLS 1.2 or 1.3"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: UrlForm = UrlForm {
        key: "url",
        plain: "redis",
        tls: "rediss",
        port: 6379,
        expected: "redis://host",
    };

    #[test]
    fn a_url_is_taken_apart() {
        let endpoint = Endpoint::parse("rediss://me:p%40ss@example.org:7000/2", FORM).unwrap();
        assert_eq!(
            endpoint,
            Endpoint {
                tls: true,
                host: "example.org".into(),
                port: 7000,
                path: "2".into(),
                username: Some("me".into()),
                password: Some("p@ss".into())
            }
        );
        assert_eq!(Endpoint::parse("redis://localhost", FORM).unwrap().port, 6379);
    }

    #[test]
    fn errors_and_masks_never_repeat_a_secret() {
        for text in [
            "redis://me:secret@host:port",
            "http://me:secret@host",
            "redis://me:secret@host?x=secret",
            "redis://me:%zzsecret@host",
            "secret",
            "redis://:secret@",
        ] {
            let error = Endpoint::parse(text, FORM).expect_err(text);
            assert_eq!(error.key(), "url");
            assert!(!format!("{error} {error:?} {}", shown(text)).contains("secret"), "{error}");
        }
        assert_eq!(masked("nats://token@host:1"), "nats://***@host:1");
        assert_eq!(masked("nats://me:p,q@h:1, nats://t@i"), "nats://***@h:1, nats://***@i");
        assert_eq!(
            masked("redis-cluster://me:p,q/r?s@h:1,i:2/x?y"),
            "redis-cluster://***@h:1,i:2/x?***"
        );
    }

    #[test]
    fn a_certificate_file_that_holds_none_is_refused() {
        let error = tls(Some(Path::new("/dev/null"))).unwrap_err();
        assert!(error.to_string().starts_with("tls_ca: no certificate in"), "{error}");
    }
}
