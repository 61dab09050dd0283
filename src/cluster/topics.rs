//! The names of a cluster's topics.
//!
//! `<cluster name>.v1.control` carries heartbeats and goodbyes, `<cluster name>.v1.ns.<token>` the commands of one namespace,
//! `<cluster name>.v1.requests` what is asked of all nodes, and `<cluster name>.v1.node.<tag>` what one node is replied. The name
//! stands first in each topic, so that clusters which share a backend never hear each other.

use std::fmt::Write as _;

use fanfare_adapters::Topic;
use ring::digest;

use crate::engine::id::NodeTag;

/// The longest token, in bytes; a namespace whose escaped form is longer is hashed. Leaves a topic room for a cluster name of
/// [`MAX_NAME`] bytes below the 255 that a topic may have.
const MAX_TOKEN: usize = 160;

/// The longest cluster name, in bytes.
pub(super) const MAX_NAME: usize = 64;

/// Makes the topics of one cluster.
#[derive(Debug, Clone)]
pub(super) struct Topics {
    name: String,
}

/// Why a string cannot name a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name a cluster: expected 1 to 64 characters of A-Z a-z 0-9 _ -")]
pub struct NameError(String);

impl Topics {
    /// Checks the cluster's name, which becomes the first token of each topic.
    pub(super) fn new(name: &str) -> Result<Self, NameError> {
        let fits = (1..=MAX_NAME).contains(&name.len());
        if fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
            Ok(Self { name: name.to_owned() })
        } else {
            Err(NameError(name.chars().take(80).collect()))
        }
    }

    /// The cluster's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where heartbeats and goodbyes are published.
    pub(super) fn control(&self) -> Topic {
        self.topic("control")
    }

    /// Where requests to all nodes are published.
    pub(super) fn requests(&self) -> Topic {
        self.topic("requests")
    }

    /// Where replies to the node with this tag are published.
    pub(super) fn node(&self, tag: NodeTag) -> Topic {
        self.topic(&format!("node.{tag}"))
    }

    /// Where the commands of the namespace with this token are published.
    pub(super) fn namespace(&self, token: &str) -> Topic {
        self.topic(&format!("ns.{token}"))
    }

    /// The log of the namespace with this token.
    pub(super) fn log(&self, token: &str) -> Topic {
        self.topic(&format!("log.{token}"))
    }

    /// The record of the session with this pid, characters of base64url.
    pub(super) fn session(&self, pid: &str) -> Topic {
        self.topic(&format!("session.{pid}"))
    }

    fn topic(&self, rest: &str) -> Topic {
        Topic::new(&format!("{}.v1.{rest}", self.name)).expect("a checked name and a token make a topic")
    }
}

/// Writes a namespace as one token of a topic, injectively: letters, digits and `-` stay, each other byte becomes `_` and two
/// lower-case hexadecimal digits. What would be too long becomes `_h` and its SHA-256, and the empty name `_`, which no escape is.
pub(super) fn token(namespace: &str) -> String {
    let mut token = String::with_capacity(namespace.len() + 8);
    for byte in namespace.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            token.push(char::from(byte));
        } else {
            hex(&mut token, "_", &[byte]);
        }
        if token.len() > MAX_TOKEN {
            token.clear();
            hex(&mut token, "_h", digest::digest(&digest::SHA256, namespace.as_bytes()).as_ref());
            return token;
        }
    }
    if token.is_empty() {
        token.push('_');
    }
    token
}

fn hex(into: &mut String, before: &str, bytes: &[u8]) {
    into.push_str(before);
    for byte in bytes {
        write!(into, "{byte:02x}").expect("a String takes everything");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn topics_are_readable_where_they_can_be() {
        let topics = Topics::new("fanfare").unwrap();
        assert_eq!(topics.control().as_str(), "fanfare.v1.control");
        assert_eq!(topics.namespace(&token("/")).as_str(), "fanfare.v1.ns._2f");
        assert_eq!(topics.namespace(&token("/chat")).as_str(), "fanfare.v1.ns._2fchat");
        assert_eq!(token("/a_b.c"), "_2fa_5fb_2ec");
        assert_eq!(token(""), "_");
    }

    #[test]
    fn a_long_namespace_is_hashed_within_the_bound_of_a_topic() {
        let topics = Topics::new(&"n".repeat(MAX_NAME)).unwrap();
        for namespace in ["/x".repeat(2000), "é".repeat(54), "a".repeat(MAX_TOKEN), "a".repeat(MAX_TOKEN + 1)] {
            assert!(topics.namespace(&token(&namespace)).as_str().len() <= 255);
        }
        assert_eq!(token(&"a".repeat(MAX_TOKEN)), "a".repeat(MAX_TOKEN));
        assert!(token(&"a".repeat(MAX_TOKEN + 1)).starts_with("_h"));
    }

    #[test]
    fn a_cluster_name_is_one_token() {
        for good in ["a", "fanfare", "A-b_9", &"n".repeat(64)] {
            assert!(Topics::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a.b", "a b", "ä", "a*", ">", &"n".repeat(65)] {
            assert!(Topics::new(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn different_namespaces_have_different_tokens(a in ".{0,40}", b in "[/_h0-9a-f]{0,6}", c in "[/_h0-9a-f]{0,6}") {
            let topics = Topics::new("c").unwrap();
            topics.namespace(&token(&a));
            prop_assert_eq!(b == c, token(&b) == token(&c));
        }
    }
}
