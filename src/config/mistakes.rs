//! What is wrong with a configuration, and where.

use std::{fmt, sync::Arc};

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A line of the configuration file, counted from 1.
    File(Arc<str>, usize),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nobody set it.
    Default,
}

impl Place {
    /// What places are sorted by.
    fn rank(&self) -> (u8, usize, &str) {
        match self {
            Self::File(_, line) => (0, *line, ""),
            Self::Variable(name) => (1, 0, name),
            Self::Flag(name) => (2, 0, name),
            Self::Default => (3, 0, ""),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(name, line) => write!(f, "{name}:{line}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One mistake: where it stands, which key it is about, what was found and what was expected. Secrets are masked in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub place: Place,
    /// The key, for example `engine.ping_interval`; empty for a mistake of syntax.
    pub key: String,
    /// What is wrong, in words.
    pub text: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}

/// Every mistake of a configuration, at least one: the file's in the order of its lines, then the variables', then the flags'.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// `Err` with the mistakes in order, or `Ok` when there are none.
    pub(super) fn check(mut mistakes: Vec<Mistake>) -> Result<(), Self> {
        if mistakes.is_empty() {
            return Ok(());
        }
        mistakes.sort_by(|a, b| a.place.rank().cmp(&b.place.rank()));
        mistakes.dedup();
        Err(Self(mistakes))
    }

    /// A single mistake, found outside of the table of keys.
    #[must_use]
    pub fn one(place: Place, key: &str, text: String) -> Self {
        Self(vec![Mistake {
            place,
            key: key.to_owned(),
            text,
        }])
    }

    /// The mistakes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        writeln!(f, "the configuration has {count} mistake{}:", if count == 1 { "" } else { "s" })?;
        self.0.iter().try_for_each(|mistake| writeln!(f, "  {mistake}"))
    }
}

impl std::error::Error for Mistakes {}
