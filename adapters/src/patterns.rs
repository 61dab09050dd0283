//! A set of patterns that is asked which topics it matches.

use std::{borrow::Borrow, collections::HashSet};

use crate::{Pattern, Topic};

/// Answers in the number of a topic's tokens, however many patterns there are.
#[derive(Debug, Default)]
pub(crate) struct PatternSet {
    exact: HashSet<Topic>,
    prefixes: HashSet<Topic>,
}

impl PatternSet {
    pub(crate) fn insert(&mut self, pattern: Pattern) {
        match pattern {
            Pattern::Exact(topic) => self.exact.insert(topic),
            Pattern::Prefix(topic) => self.prefixes.insert(topic),
        };
    }

    pub(crate) fn remove(&mut self, pattern: &Pattern) {
        match pattern {
            Pattern::Exact(topic) => self.exact.remove(topic),
            Pattern::Prefix(topic) => self.prefixes.remove(topic),
        };
    }

    pub(crate) fn matches(&self, topic: &Topic) -> bool {
        let above = std::iter::successors(topic.as_str().rsplit_once('.'), |(above, _)| above.rsplit_once('.'));
        self.exact.contains(topic) || above.into_iter().any(|(above, _)| self.prefixes.contains(above))
    }
}

impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}
