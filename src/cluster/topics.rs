//! The names of a cluster's topics.
//!
//! `<cluster name>.v1:control` carries heartbeats and goodbyes, `<cluster name>.v1:ns.<token>` the commands for a whole namespace,
//! `<cluster name>.v1:ns.<token>.r<number>` those for some of its rooms, `<cluster name>.v1:ns.<token>.n<tag>` those for sockets of one node,
//! `<cluster name>.v1:requests` what is asked of all nodes, and `<cluster name>.v1:node.<tag>` what one node is replied. The name
//! stands first in each topic, so that clusters which share a backend never hear each other.
//!
//! All these are one group: a heartbeat says which numbers were used before it, and a request may ask whether a command before it was
//! carried out, so neither may overtake a command, on no backend.

use std::fmt::{self, Write as _};

use fanfare_adapters::Topic;
use ring::digest;

use crate::engine::id::NodeTag;

/// The longest token, in bytes; a namespace whose escaped form is longer is hashed. Leaves a topic room for a cluster name of
/// [`MAX_NAME`] bytes below the 255 that a topic may have.
const MAX_TOKEN: usize = 160;

/// The longest cluster name, in bytes.
pub(super) const MAX_NAME: usize = 64;

/// Into how many topics the rooms of a namespace fold: what a node receives for rooms that it does not have grows with the rooms that
/// share a topic, what it subscribes is bounded by them. The same for all nodes.
pub(super) const ROOM_TOPICS: u16 = 4096;

/// A part of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Part {
    /// The rooms that fold into this topic, below [`ROOM_TOPICS`].
    Rooms(u16),
    /// The sockets whose ids were drawn by this node.
    Node(NodeTag),
}

impl Part {
    /// The part of a room.
    pub(super) fn of_room(room: &str) -> Self {
        // FNV-1a with a last mix: part of the wire, since all nodes must fold alike.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in room.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash ^= hash >> 32;
        Self::Rooms(u16::try_from(hash % u64::from(ROOM_TOPICS)).unwrap_or_default())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rooms(number) => write!(f, "r{number}"),
            Self::Node(tag) => write!(f, "n{tag}"),
        }
    }
}

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
        self.grouped("control")
    }

    /// Where requests to all nodes are published.
    pub(super) fn requests(&self) -> Topic {
        self.grouped("requests")
    }

    /// Where replies to the node with this tag are published.
    pub(super) fn node(&self, tag: NodeTag) -> Topic {
        self.grouped(&format!("node.{tag}"))
    }

    /// Where the commands of the namespace with this token are published.
    pub(super) fn namespace(&self, token: &str) -> Topic {
        self.grouped(&format!("ns.{token}"))
    }

    /// Where commands for a part of the namespace with this token are published.
    pub(super) fn part(&self, token: &str, part: Part) -> Topic {
        self.grouped(&format!("ns.{token}.{part}"))
    }

    /// The log of the namespace with this token.
    pub(super) fn log(&self, token: &str) -> Topic {
        self.apart(&format!("log.{token}"))
    }

    /// The record of the session with this pid, characters of base64url.
    pub(super) fn session(&self, pid: &str) -> Topic {
        self.apart(&format!("session.{pid}"))
    }

    /// What has an order with everything else.
    fn grouped(&self, rest: &str) -> Topic {
        Topic::grouped(&format!("{}.v1", self.name), rest).expect("a checked name and a token make a topic")
    }

    /// What stands by itself.
    fn apart(&self, rest: &str) -> Topic {
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

    /// Computed by another implementation.
    const GOLDEN: [usize; 3] = [4033, 1669, 1093];

    #[test]
    fn topics_are_readable_where_they_can_be() {
        let topics = Topics::new("fanfare").unwrap();
        assert_eq!(topics.control().as_str(), "fanfare.v1:control");
        assert_eq!(topics.namespace(&token("/")).as_str(), "fanfare.v1:ns._2f");
        assert_eq!(topics.namespace(&token("/chat")).as_str(), "fanfare.v1:ns._2fchat");
        assert_eq!(topics.part("_2f", Part::Rooms(12)).as_str(), "fanfare.v1:ns._2f.r12");
        assert_eq!(topics.part("_2f", Part::Node(NodeTag([0; 3]))).as_str(), "fanfare.v1:ns._2f.nAAAA");
        assert_eq!(token("/a_b.c"), "_2fa_5fb_2ec");
        assert_eq!(token(""), "_");
    }

    #[test]
    fn a_long_namespace_is_hashed_within_the_bound_of_a_topic() {
        let topics = Topics::new(&"n".repeat(MAX_NAME)).unwrap();
        for namespace in ["/x".repeat(2000), "é".repeat(54), "a".repeat(MAX_TOKEN), "a".repeat(MAX_TOKEN + 1)] {
            assert!(topics.part(&token(&namespace), Part::Rooms(ROOM_TOPICS - 1)).as_str().len() <= 255);
        }
        assert_eq!(token(&"a".repeat(MAX_TOKEN)), "a".repeat(MAX_TOKEN));
        assert!(token(&"a".repeat(MAX_TOKEN + 1)).starts_with("_h"));
    }

    #[test]
    fn rooms_fold_into_their_topics_evenly_and_for_ever_alike() {
        let fold = |room: &str| match Part::of_room(room) {
            Part::Rooms(number) => usize::from(number),
            Part::Node(_) => unreachable!(),
        };
        assert_eq!([fold(""), fold("lobby"), fold("\u{1f4a9}")], GOLDEN);
        let mut counts = vec![0_u32; usize::from(ROOM_TOPICS)];
        for number in 0..409_600 {
            counts[fold(&format!("room {number}"))] += 1;
        }
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(*least > 50 && *most < 160, "{least} to {most} where 100 are even");
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
