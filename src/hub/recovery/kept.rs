//! What is kept of the handshake of the connection with which a session began.

use std::{fmt, net::IpAddr, str::FromStr};

use serde_json::Value;

use crate::{engine::Handshake, hub::HandshakeObject};

/// The most bytes of keys and values (as JSON) that are kept of one handshake. A value that would go beyond is left out, whole.
pub const MAX_KEPT_BYTES: usize = 4096;

/// Names a value of a handshake that is kept with a session: `headers.<name>`, `query.<name>` or `auth.<key>`, as the value is found in
/// a [`HandshakeObject`].
///
/// ```
/// use fanfare::hub::recovery::{HandshakeKey, Recovery};
///
/// # fn main() -> Result<(), fanfare::hub::recovery::NoHandshakeKey> {
/// let recovery = Recovery {
///     handshake_keep: vec!["headers.user-agent".parse()?, "query.device".parse()?],
///     ..Recovery::default()
/// };
/// assert!("headers".parse::<HandshakeKey>().is_err());
/// # drop(recovery);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeKey {
    /// A header, by its name in lower case; several of one name are joined by `, `.
    Header(Box<str>),
    /// A pair of the query, by its name; of several the last.
    Query(Box<str>),
    /// A member of what the client gave as `auth`. Not `pid`, which is secret and changes hands in the record's own way.
    Auth(Box<str>),
}

/// A text that is no [`HandshakeKey`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no value of a handshake: expected headers.<name>, query.<name> or auth.<key>, and not auth.pid")]
pub struct NoHandshakeKey(Box<str>);

impl FromStr for HandshakeKey {
    type Err = NoHandshakeKey;

    fn from_str(text: &str) -> Result<Self, NoHandshakeKey> {
        match text.split_once('.') {
            Some((_, "")) | Some(("auth", "pid")) => None,
            Some(("headers", name)) => Some(Self::Header(name.to_ascii_lowercase().into())),
            Some(("query", name)) => Some(Self::Query(name.into())),
            Some(("auth", key)) => Some(Self::Auth(key.into())),
            _ => None,
        }
        .ok_or_else(|| NoHandshakeKey(text.into()))
    }
}

impl fmt::Display for HandshakeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "headers.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Auth(key) => write!(f, "auth.{key}"),
        }
    }
}

/// What is kept of the handshake of the connection with which a session began: it goes with the session from connection to connection,
/// and from node to node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptHandshake {
    /// The client's address, where it was known.
    pub address: Option<IpAddr>,
    /// When that connection was opened, in milliseconds since 1970.
    pub issued: u64,
    /// The values that were asked for and were there: the text of a [`HandshakeKey`], and JSON.
    pub values: Box<[(Box<str>, Box<str>)]>,
}

impl KeptHandshake {
    pub(in crate::hub) fn new(handshake: &Handshake, auth: Option<&str>, keys: &[HandshakeKey]) -> Self {
        let mut values = Vec::new();
        if !keys.is_empty() {
            let object = HandshakeObject::new(handshake, auth, true);
            let mut bytes = 0;
            for key in keys {
                let value = match key {
                    HandshakeKey::Header(name) => object.headers.get(&**name).map(|text| Value::from(&**text)),
                    HandshakeKey::Query(name) => object.query.get(&**name).map(|text| Value::from(&**text)),
                    HandshakeKey::Auth(key) => object.auth.get(&**key).cloned(),
                };
                let Some(value) = value else { continue };
                let (key, value) = (key.to_string(), value.to_string());
                if bytes + key.len() + value.len() > MAX_KEPT_BYTES {
                    tracing::debug!(%key, "a value of a handshake is not kept: there is no room for it");
                    continue;
                }
                bytes += key.len() + value.len();
                values.push((key.into(), value.into()));
            }
        }
        Self {
            address: handshake.address(),
            issued: handshake.issued_ms(),
            values: values.into(),
        }
    }

    /// The value that was kept under a key such as `headers.user-agent`: a text, or what `auth` had there.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<Value> {
        let (_, json) = self.values.iter().find(|(known, _)| **known == *key)?;
        serde_json::from_str(json).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Arrival, Revision, Transport};

    #[test]
    fn a_key_has_one_of_three_forms() {
        for text in ["headers.user-agent", "query.a.b", "auth.token", "auth.offset"] {
            assert_eq!(text.parse::<HandshakeKey>().unwrap().to_string(), text);
        }
        assert_eq!("headers.X-A".parse(), Ok(HandshakeKey::Header("x-a".into())));
        for text in ["", "headers", "headers.", "url.a", "auth.pid", "Headers.a", ".a"] {
            let error = text.parse::<HandshakeKey>().unwrap_err().to_string();
            assert!(error.contains("headers.<name>"), "{error}");
        }
    }

    #[test]
    fn what_is_named_is_kept_and_nothing_else_and_not_more_than_there_is_room_for() {
        let long = "x".repeat(MAX_KEPT_BYTES - 100);
        let headers: [(&str, &[u8]); 4] = [("cookie", b"id=1"), ("x-a", b"1"), ("x-a", b"2"), ("x-long", long.as_bytes())];
        let arrival = Arrival::new(Some([10, 0, 0, 1].into()), true, "/socket.io/?a=1&a=2&b=3", headers);
        let handshake = Handshake::new("id", Transport::Polling, Revision::V4, arrival);
        let keep = |keys: &[&str]| {
            let keys: Vec<HandshakeKey> = keys.iter().map(|key| key.parse().unwrap()).collect();
            KeptHandshake::new(&handshake, Some(r#"{"device":{"n":[1,"é"]}}"#), &keys)
        };
        let kept = keep(&["headers.x-a", "query.a", "auth.device", "auth.absent", "headers.absent"]);
        assert_eq!((kept.address, kept.issued), (Some([10, 0, 0, 1].into()), handshake.issued_ms()));
        assert_eq!(kept.values.len(), 3);
        assert_eq!(kept.value("headers.x-a"), Some("1, 2".into()));
        assert_eq!(kept.value("query.a"), Some("2".into()));
        assert_eq!(kept.value("auth.device"), Some(serde_json::json!({ "n": [1, "é"] })));
        assert_eq!(kept.value("headers.cookie"), None);
        assert_eq!(keep(&[]).values.len(), 0);
        let kept = keep(&["headers.x-long", "headers.x-long", "query.b"]);
        let names: Vec<&str> = kept.values.iter().map(|(key, _)| &**key).collect();
        assert_eq!(names, ["headers.x-long", "query.b"], "one of the large ones has no place");
    }
}
