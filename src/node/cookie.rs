//! The affinity cookie: tells a balancer which node a client's session lives on.

use http::HeaderValue;

use super::BuildError;

/// The affinity cookie. Its value is the node's tag, never a session id; it is always `HttpOnly`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieConfig {
    /// The cookie's name. Default `io`.
    pub name: String,
    /// The path it is sent for. Default `/`.
    pub path: String,
    /// Which cross-site requests carry it. Default [`SameSite::Lax`].
    pub same_site: SameSite,
    /// Whether it is always sent over TLS only; forced by [`SameSite::None`]. Without it the cookie follows the client's scheme, as far
    /// as a trusted proxy tells. Default `false`.
    pub secure: bool,
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self {
            name: "io".into(),
            path: "/".into(),
            same_site: SameSite::Lax,
            secure: false,
        }
    }
}

/// The `SameSite` attribute (RFC 6265bis).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SameSite {
    /// Same-site requests only.
    Strict,
    /// Same-site requests and top-level navigation.
    #[default]
    Lax,
    /// All requests; forces `Secure`.
    None,
}

/// The `Set-Cookie` header of every handshake of this node.
#[derive(Debug)]
pub(super) struct Cookie {
    plain: HeaderValue,
    secure: HeaderValue,
}

impl Cookie {
    /// Checks the configuration; the value is `tag`.
    pub(super) fn new(config: &CookieConfig, tag: &str) -> Result<Self, BuildError> {
        let secure = CookieConfig {
            secure: true,
            ..config.clone()
        };
        Ok(Self {
            plain: set_cookie(config, tag)?,
            secure: set_cookie(&secure, tag)?,
        })
    }

    /// For a client that came over TLS, or did not, or of whom it is not known.
    pub(super) fn header(&self, secure: bool) -> HeaderValue {
        if secure { &self.secure } else { &self.plain }.clone()
    }
}

fn set_cookie(config: &CookieConfig, tag: &str) -> Result<HeaderValue, BuildError> {
    if !is_token(&config.name) {
        return Err(BuildError::Cookie("name"));
    }
    if !config.path.starts_with('/') || !config.path.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';') {
        return Err(BuildError::Cookie("path"));
    }
    let same_site = match config.same_site {
        SameSite::Strict => "Strict",
        SameSite::Lax => "Lax",
        SameSite::None => "None",
    };
    let secure = if config.secure || config.same_site == SameSite::None {
        "; Secure"
    } else {
        ""
    };
    let text = format!(
        "{}={tag}; Path={}; HttpOnly; SameSite={same_site}{secure}",
        config.name, config.path
    );
    HeaderValue::try_from(text).map_err(|_| BuildError::Cookie("name"))
}

/// Whether a text is a `token` (RFC 9110, 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// A `token` character (RFC 9110, 5.6.2), of which cookie names are made.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_cookie_looks_like_the_references_but_for_its_value() {
        assert_eq!(
            set_cookie(&CookieConfig::default(), "Tagg").unwrap(),
            "io=Tagg; Path=/; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn same_site_none_forces_secure() {
        let config = CookieConfig {
            same_site: SameSite::None,
            ..CookieConfig::default()
        };
        assert_eq!(
            set_cookie(&config, "Tagg").unwrap(),
            "io=Tagg; Path=/; HttpOnly; SameSite=None; Secure"
        );
    }

    #[test]
    fn the_cookie_of_a_client_over_tls_stays_there() {
        let cookie = Cookie::new(&CookieConfig::default(), "Tagg").unwrap();
        assert_eq!(cookie.header(false), "io=Tagg; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(cookie.header(true), "io=Tagg; Path=/; HttpOnly; SameSite=Lax; Secure");
    }

    #[test]
    fn an_attribute_cannot_be_smuggled_in() {
        let name = CookieConfig {
            name: "io; Domain=x".into(),
            ..CookieConfig::default()
        };
        assert_eq!(set_cookie(&name, "Tagg"), Err(BuildError::Cookie("name")));
        let path = CookieConfig {
            path: "/; Domain=x".into(),
            ..CookieConfig::default()
        };
        assert_eq!(set_cookie(&path, "Tagg"), Err(BuildError::Cookie("path")));
    }
}
