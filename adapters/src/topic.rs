//! Topics: what a message is published to, and what an adapter subscribes to.

use std::{fmt, sync::Arc};

/// The longest topic, in bytes.
pub const MAX_TOPIC: usize = 255;

/// A name that messages are published to: tokens of `[A-Za-z0-9_-]` joined by single dots, at most [`MAX_TOPIC`] bytes, so that it
/// is at once a Redis channel and a NATS subject without any escaping. One colon between two tokens ends the name of a group.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

/// Why a string is not a [`Topic`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a topic: expected tokens of A-Z a-z 0-9 _ - joined by single dots, one colon after the group if there is one, at most {MAX_TOPIC} bytes"
)]
pub struct TopicError {
    text: String,
}

impl Topic {
    /// Checks `text` and makes it a topic.
    ///
    /// # Errors
    /// [`TopicError`] when `text` is empty, too long, or has an empty token or another character.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        let token = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        let mut parts = text.splitn(2, ':');
        if text.len() <= MAX_TOPIC && parts.all(|part| part.split('.').all(token)) {
            Ok(Self(text.into()))
        } else {
            Err(TopicError {
                text: text.chars().take(80).collect(),
            })
        }
    }

    /// The topic `rest` of a group: `group:rest`.
    ///
    /// A publisher's messages to the topics of one group arrive in its order even where the backend is divided: a Redis Cluster keeps
    /// a group on one of its shards. Groups spread over them, so what has no need of an order should have groups of its own.
    ///
    /// # Errors
    /// [`TopicError`] when that is no topic: see [`Topic::new`].
    pub fn grouped(group: &str, rest: &str) -> Result<Self, TopicError> {
        Self::new(&format!("{group}:{rest}"))
    }

    /// The group that the topic belongs to; that of a topic without a group is the topic itself.
    #[must_use]
    pub fn group(&self) -> &str {
        self.0.split(':').next().unwrap_or(&self.0)
    }

    /// The topic as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_topic_is_refused() {
        for text in [
            "", ".", "a.", ".a", "a..b", "a b", "a*", "a.>", "a/b", "\u{e9}", "a\r\n", ":", "a:", ":a", "a:b:c", "a.:b",
        ] {
            let error = Topic::new(text).unwrap_err();
            assert!(error.to_string().contains("is not a topic: expected"), "{error}");
        }
        assert!(Topic::new(&"x".repeat(MAX_TOPIC)).is_ok());
        let error = Topic::new(&"x".repeat(10_000_000)).unwrap_err();
        assert!(error.to_string().len() < 300, "an error repeats a part of the text only");
    }

    #[test]
    fn a_topic_has_a_group_or_is_one() {
        let grouped = Topic::grouped("a.b", "c.d").unwrap();
        assert_eq!((grouped.as_str(), grouped.group()), ("a.b:c.d", "a.b"));
        assert_eq!(Topic::new("a.b:c.d").unwrap(), grouped);
        assert_eq!(Topic::new("a.b").unwrap().group(), "a.b");
        assert!(Topic::grouped("a:b", "c").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_topic_or_refused(text in any::<String>()) {
            if let Ok(topic) = Topic::new(&text) {
                prop_assert_eq!(topic.as_str(), &text);
            }
        }

        #[test]
        fn a_topic_means_the_same_to_every_backend(text in "[A-Za-z0-9_-]{1,20}(\\.[A-Za-z0-9_-]{1,20}){0,5}(:[A-Za-z0-9_-]{1,20})?") {
            let topic = Topic::new(&text).unwrap();
            // Neither a wildcard of NATS, nor a glob of Redis, nor anything that a line protocol would end at.
            let special = ['*', '>', '?', '[', ']', '\\', '{', '}', ' ', '\r', '\n'];
            prop_assert!(!topic.as_str().contains(special));
        }
    }
}
