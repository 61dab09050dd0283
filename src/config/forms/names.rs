//! Forms of texts: secrets, names and paths.

use std::{fmt, path::PathBuf};

use super::{Form, Found};
use crate::hub::recovery::HandshakeKey;

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub(in crate::config) struct Secret(String);

impl Secret {
    /// The secret itself; `None` when it is empty, which means that there is none.
    #[must_use]
    pub(in crate::config) fn reveal(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "***" })
    }
}

impl Form for Secret {
    const EXPECTED: &'static str = "a text; empty for none";
    fn read(found: Found<'_>) -> Option<Self> {
        found.text().map(|text| Self(text.to_owned()))
    }
    fn show(found: Found<'_>) -> String {
        if found.text() == Some("") {
            "\"\"".to_owned()
        } else {
            "***".to_owned()
        }
    }
}

/// A user name and the like: empty for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::config) struct Name(pub(in crate::config) Option<String>);

impl Form for Name {
    const EXPECTED: &'static str = "a text; empty for none";
    fn read(found: Found<'_>) -> Option<Self> {
        found.text().map(|text| Self(Some(text.to_owned()).filter(|text| !text.is_empty())))
    }
}

/// The path of a file that is read when the node starts: empty for none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::config) struct FilePath(pub(in crate::config) Option<PathBuf>);

impl Form for FilePath {
    const EXPECTED: &'static str = "the path of a file; empty for none";
    fn read(found: Found<'_>) -> Option<Self> {
        found.text().map(|text| Self((!text.is_empty()).then(|| PathBuf::from(text))))
    }
}

/// The path at which the transports are served, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct HttpPath(pub(in crate::config) String);

impl Form for HttpPath {
    const EXPECTED: &'static str = "a path such as \"/socket.io\": it begins with / and has letters, digits, and any of . _ ~ - /";
    fn read(found: Found<'_>) -> Option<Self> {
        let path = found.text()?.trim_end_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-' | '/');
        (path.starts_with('/') && path.chars().all(plain) && !path.contains("//")).then(|| Self(path.to_owned()))
    }
}

/// The name of a cluster: one token of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct ClusterName(pub(in crate::config) String);

impl Form for ClusterName {
    const EXPECTED: &'static str = "1 to 64 of the characters A-Z a-z 0-9 _ -";
    fn read(found: Found<'_>) -> Option<Self> {
        let name = found.text()?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        ((1..=64).contains(&name.len()) && name.bytes().all(plain)).then(|| Self(name.to_owned()))
    }
}

/// The name of a node, as it is written in logs: empty for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct NodeName(pub(in crate::config) String);

impl Form for NodeName {
    const EXPECTED: &'static str = "a text of at most 255 bytes on one line; empty for none";
    fn read(found: Found<'_>) -> Option<Self> {
        let name = found.text()?;
        (name.len() <= 255 && !name.contains(char::is_control)).then(|| Self(name.to_owned()))
    }
}

/// Names of headers or methods: tokens of RFC 9110.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Tokens(pub(in crate::config) Vec<String>);

impl Form for Tokens {
    const EXPECTED: &'static str = "a list of names: letters, digits, and any of ! # $ % & ' * + - . ^ _ ` | ~";
    fn read(found: Found<'_>) -> Option<Self> {
        let names = found.list()?;
        let tokens = names.iter().all(|name| !name.is_empty() && name.chars().all(is_token));
        tokens.then(|| Self(names.into_iter().map(str::to_owned).collect()))
    }
}

/// Values of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct HandshakeKeys(pub(in crate::config) Vec<HandshakeKey>);

impl Form for HandshakeKeys {
    const EXPECTED: &'static str = "a list of \"headers.<name>\", \"query.<name>\" and \"auth.<key>\", without \"auth.pid\"";
    fn read(found: Found<'_>) -> Option<Self> {
        let keys: Result<_, _> = found.list()?.into_iter().map(str::parse).collect();
        keys.ok().map(Self)
    }
}

/// The name of a cookie: a token of RFC 6265.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct CookieName(pub(in crate::config) String);

impl Form for CookieName {
    const EXPECTED: &'static str = "a cookie name: letters, digits, and any of ! # $ % & ' * + - . ^ _ ` | ~";
    fn read(found: Found<'_>) -> Option<Self> {
        let name = found.text()?;
        (!name.is_empty() && name.len() <= 64 && name.chars().all(is_token)).then(|| Self(name.to_owned()))
    }
}

/// The path of a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct CookiePath(pub(in crate::config) String);

impl Form for CookiePath {
    const EXPECTED: &'static str = "a path that begins with / and has no semicolon, comma, space or control character";
    fn read(found: Found<'_>) -> Option<Self> {
        let path = found.text()?;
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, ';' | ',');
        (path.starts_with('/') && path.chars().all(plain)).then(|| Self(path.to_owned()))
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}
