//! Names that rules may use.

use std::fmt;

use crate::hub::RESERVED_EVENTS;

/// The longest name of an event or a namespace, in bytes.
pub const MAX_NAME: usize = 128;

/// The name of an event: 1 to [`MAX_NAME`] bytes, not one of [`RESERVED_EVENTS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventName(String);

/// The name of a namespace: `/`, or `/` and a name, at most [`MAX_NAME`] bytes, without `,`, `?`, space or control character. With a `*`,
/// which stands for any text, it is a pattern: every namespace that it covers comes to be when a client asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceName(String);

/// Why a text is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Socket.IO keeps the name for itself.
    #[error(
        "expected an event that clients can send; reserved are connect, connect_error, disconnect, disconnecting, newListener and removeListener"
    )]
    Reserved,
    /// An event's name is empty or too long.
    #[error("expected the name of an event, 1 to {MAX_NAME} bytes")]
    Event,
    /// A namespace's name has not its form.
    #[error(
        "expected a namespace such as \"/\" or \"/chat\", or a pattern such as \"/tenant-*\": it begins with /, has no comma, question mark or space, and at most {MAX_NAME} bytes"
    )]
    Namespace,
}

impl EventName {
    /// Checks the name of an event.
    ///
    /// # Errors
    /// [`NameError::Reserved`] or [`NameError::Event`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        if RESERVED_EVENTS.contains(&name) {
            Err(NameError::Reserved)
        } else if name.is_empty() || name.len() > MAX_NAME {
            Err(NameError::Event)
        } else {
            Ok(Self(name.to_owned()))
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl NamespaceName {
    /// Checks the name of a namespace.
    ///
    /// # Errors
    /// [`NameError::Namespace`].
    pub fn new(name: &str) -> Result<Self, NameError> {
        let plain = |c: char| !matches!(c, ',' | '?') && !c.is_whitespace() && !c.is_control();
        if name.starts_with('/') && name.len() <= MAX_NAME && name.chars().all(plain) {
            Ok(Self(name.to_owned()))
        } else {
            Err(NameError::Namespace)
        }
    }

    /// Whether it is a pattern.
    #[must_use]
    pub fn is_pattern(&self) -> bool {
        self.0.contains('*')
    }

    /// The name, with its leading `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for NamespaceName {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_empty_and_endless_event_names_are_refused() {
        for reserved in RESERVED_EVENTS {
            assert_eq!(EventName::new(reserved), Err(NameError::Reserved), "{reserved}");
        }
        assert_eq!(EventName::new(""), Err(NameError::Event));
        assert_eq!(EventName::new(&"x".repeat(MAX_NAME + 1)), Err(NameError::Event));
        for name in ["message", "chat message", "connection", "error", &"x".repeat(MAX_NAME)] {
            assert_eq!(EventName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_namespace_begins_with_a_slash_and_fits_into_a_packet() {
        for name in ["/", "/chat", "/a/b", "/caf\u{e9}"] {
            assert_eq!(NamespaceName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "chat", "/a,b", "/a?b", "/a b", "/a\n", &format!("/{}", "x".repeat(MAX_NAME))] {
            assert_eq!(NamespaceName::new(name), Err(NameError::Namespace), "{name:?}");
        }
    }
}
