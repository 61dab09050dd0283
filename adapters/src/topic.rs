//! Topics: what a message is published to, and what an adapter subscribes to.

use std::{fmt, sync::Arc};

/// The longest topic, in bytes.
pub const MAX_TOPIC: usize = 255;

/// A name that messages are published to: tokens of `[A-Za-z0-9_-]` joined by single dots, at most [`MAX_TOPIC`] bytes, so that it
/// is at once a Redis channel and a NATS subject without any escaping.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

/// Why a string is not a [`Topic`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a topic: expected tokens of A-Z a-z 0-9 _ - joined by single dots, at most {MAX_TOPIC} bytes")]
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
        if text.len() <= MAX_TOPIC && text.split('.').all(token) {
            Ok(Self(text.into()))
        } else {
            Err(TopicError {
                text: text.chars().take(80).collect(),
            })
        }
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

/// What an adapter subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// This topic alone.
    Exact(Topic),
    /// Every topic below this one: `a.b` matches `a.b.c` and `a.b.c.d`, not `a.b` itself.
    Prefix(Topic),
}

impl Pattern {
    /// Whether a message published to `topic` is wanted by this pattern.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        match self {
            Self::Exact(own) => own == topic,
            Self::Prefix(prefix) => topic
                .as_str()
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.starts_with('.')),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::patterns::PatternSet;

    /// Topics of few short tokens, so that prefixes are often met.
    fn topics() -> impl Strategy<Value = Topic> {
        "[ab_-]{1,2}(\\.[ab_-]{1,2}){0,3}".prop_map(|text| Topic::new(&text).unwrap())
    }

    fn patterns() -> impl Strategy<Value = Pattern> {
        prop_oneof![topics().prop_map(Pattern::Exact), topics().prop_map(Pattern::Prefix)]
    }

    #[test]
    fn what_is_no_topic_is_refused() {
        for text in ["", ".", "a.", ".a", "a..b", "a b", "a*", "a.>", "a/b", "\u{e9}", "a\r\n"] {
            let error = Topic::new(text).unwrap_err();
            assert!(error.to_string().contains("is not a topic: expected"), "{error}");
        }
        assert!(Topic::new(&"x".repeat(MAX_TOPIC)).is_ok());
        let error = Topic::new(&"x".repeat(10_000_000)).unwrap_err();
        assert!(error.to_string().len() < 300, "an error repeats a part of the text only");
    }

    proptest! {
        #[test]
        fn any_text_is_a_topic_or_refused(text in any::<String>()) {
            if let Ok(topic) = Topic::new(&text) {
                prop_assert_eq!(topic.as_str(), &text);
            }
        }

        #[test]
        fn a_topic_means_the_same_to_every_backend(text in "[A-Za-z0-9_-]{1,20}(\\.[A-Za-z0-9_-]{1,20}){0,5}") {
            let topic = Topic::new(&text).unwrap();
            // Neither a wildcard of NATS, nor a glob of Redis, nor anything that a line protocol would end at.
            prop_assert!(!topic.as_str().contains(['*', '>', '?', '[', ']', '\\', ' ', '\r', '\n']));
        }

        #[test]
        fn a_prefix_matches_exactly_what_stands_below_it(prefix in topics(), topic in topics()) {
            let tokens = |topic: &Topic| topic.as_str().split('.').map(str::to_owned).collect::<Vec<_>>();
            let (above, below) = (tokens(&prefix), tokens(&topic));
            let expected = below.len() > above.len() && below[..above.len()] == above[..];
            prop_assert_eq!(Pattern::Prefix(prefix).matches(&topic), expected);
        }

        #[test]
        fn a_set_matches_what_one_of_its_patterns_matches(
            kept in prop::collection::vec(patterns(), 0..6),
            removed in prop::collection::vec(patterns(), 0..3),
            topic in topics(),
        ) {
            let mut set = PatternSet::default();
            for pattern in kept.iter().chain(&removed) {
                set.insert(pattern.clone());
            }
            for pattern in &removed {
                set.remove(pattern);
            }
            let expected = kept.iter().any(|pattern| !removed.contains(pattern) && pattern.matches(&topic));
            prop_assert_eq!(set.matches(&topic), expected);
        }
    }
}
