//! The affinity cookie: tells a balancer which node a client's session lives on.

use http::HeaderValue;

use super::BuildError;
use crate::engine::id::OwnTag;

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
    name: String,
    /// Whose tag is the value.
    tag: OwnTag,
    plain: String,
    secure: String,
}

impl Cookie {
    /// Checks the configuration; the value is the node's tag.
    pub(super) fn new(config: &CookieConfig, tag: OwnTag) -> Result<Self, BuildError> {
        if !is_token(&config.name) {
            return Err(BuildError::Cookie("name"));
        }
        let secure = CookieConfig {
            secure: true,
            ..config.clone()
        };
        Ok(Self {
            name: config.name.clone(),
            tag,
            plain: attributes(config)?,
            secure: attributes(&secure)?,
        })
    }

    /// For a client that came over TLS, or did not, or of whom it is not known.
    pub(super) fn header(&self, secure: bool) -> Option<HeaderValue> {
        let attributes = if secure { &self.secure } else { &self.plain };
        // Its parts were looked at when the node started.
        HeaderValue::try_from(format!("{}={}; {attributes}", self.name, self.tag.get())).ok()
    }
}

/// What stands behind the value.
fn attributes(config: &CookieConfig) -> Result<String, BuildError> {
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
    Ok(format!("Path={}; HttpOnly; SameSite={same_site}{secure}", config.path))
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
    use crate::engine::id::NodeTag;

    const TAG: NodeTag = NodeTag([0x4d, 0xa8, 0x20]);

    /// The headers for a client of whom it is not known, and for one over TLS.
    fn headers(config: &CookieConfig) -> Result<[HeaderValue; 2], BuildError> {
        let cookie = Cookie::new(config, TAG.into())?;
        Ok([false, true].map(|secure| cookie.header(secure).unwrap()))
    }

    #[test]
    fn the_default_cookie_looks_like_the_references_but_for_its_value() {
        let [plain, secure] = headers(&CookieConfig::default()).unwrap();
        assert_eq!(plain, "io=Tagg; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(
            secure, "io=Tagg; Path=/; HttpOnly; SameSite=Lax; Secure",
            "what came over TLS stays there"
        );
    }

    #[test]
    fn same_site_none_forces_secure() {
        let config = CookieConfig {
            same_site: SameSite::None,
            ..CookieConfig::default()
        };
        assert_eq!(headers(&config).unwrap()[0], "io=Tagg; Path=/; HttpOnly; SameSite=None; Secure");
    }

    #[test]
    fn the_value_is_the_tag_that_the_node_has_now() {
        let tag = OwnTag::from(TAG);
        let cookie = Cookie::new(&CookieConfig::default(), tag.clone()).unwrap();
        let drawn = tag.redraw().to_string();
        assert!(
            cookie
                .header(false)
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&format!("io={drawn}; "))
        );
    }

    #[test]
    fn an_attribute_cannot_be_smuggled_in() {
        let name = CookieConfig {
            name: "io; Domain=x".into(),
            ..CookieConfig::default()
        };
        assert_eq!(headers(&name), Err(BuildError::Cookie("name")));
        let path = CookieConfig {
            path: "/; Domain=x".into(),
            ..CookieConfig::default()
        };
        assert_eq!(headers(&path), Err(BuildError::Cookie("path")));
    }
}
