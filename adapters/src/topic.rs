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
            Err(TopicError { text: text.chars().take(80).collect() })
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
            Self::Prefix(prefix) => {
                topic.as_str().strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('.'))
            }
        }
    }
}
