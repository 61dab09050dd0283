//! Which rooms a rule allows.

use std::{borrow::Cow, fmt};

use crate::hub::EmitError;

/// The longest name of a room that a client may use, in bytes.
pub const MAX_ROOM: usize = 128;

/// How many rooms a token may put a client into.
pub const MAX_ROOMS: usize = 256;

/// The length of a socket id.
const SOCKET_ID: usize = 20;

/// What stands for the user in a pattern.
const USER: &str = "{user}";

/// A pattern of room names, in which `*` stands for any text, also none, and `{user}` for the name of the client's user, letter by letter;
/// everything else stands for itself. With `{user}` in it, it covers nothing for a client without a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomPattern(String);

/// Why a text is not a [`RoomPattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is empty or longer than [`MAX_ROOM`].
    #[error("expected a room or a pattern such as \"chat-*\", 1 to {MAX_ROOM} bytes")]
    Length,
    /// It begins with `_`.
    #[error("expected a name without a leading _: such rooms are never open to clients")]
    Private,
    /// It has the form of a socket id, so that no client could ever use it.
    #[error(
        "expected a name that is not 20 letters, digits, - and _ long: that is the form of a socket id, which is never open to clients"
    )]
    SocketId,
    /// It has braces around something else, which would never be replaced.
    #[error("expected no braces but those of {USER}, which stands for the user that the client's token names")]
    Braces,
}

impl RoomPattern {
    /// Checks a pattern.
    ///
    /// # Errors
    /// [`PatternError`]
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        if pattern.is_empty() || pattern.len() > MAX_ROOM {
            Err(PatternError::Length)
        } else if pattern.starts_with('_') {
            Err(PatternError::Private)
        } else if is_socket_id(pattern) {
            Err(PatternError::SocketId)
        } else if pattern.replace(USER, "").contains(['{', '}']) {
            Err(PatternError::Braces)
        } else {
            Ok(Self(pattern.to_owned()))
        }
    }

    /// Whether `{user}` stands in it.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.0.contains(USER)
    }

    /// Whether the pattern covers a name, for a client of this user. Linear in pattern times name, whatever the pattern is.
    #[must_use]
    pub fn matches(&self, name: &str, user: Option<&str>) -> bool {
        if !self.has_user() {
            return covers(self.0.split('*').map(Cow::Borrowed), name);
        }
        // Between the stars, so that those of a user's name are letters like others.
        user.is_some_and(|user| covers(self.0.split('*').map(|piece| piece.replace(USER, user).into()), name))
    }
}

/// Whether a name consists of these pieces in this order, with any text between them.
fn covers<'a>(mut pieces: impl DoubleEndedIterator<Item = Cow<'a, str>>, name: &str) -> bool {
    let Some(head) = pieces.next() else { return false };
    let Some(mut name) = name.strip_prefix(&*head) else { return false };
    let Some(tail) = pieces.next_back() else {
        return name.is_empty();
    };
    for piece in pieces {
        // The first place is always a right one: what follows has the most text left.
        let Some((_, after)) = name.split_once(&*piece) else { return false };
        name = after;
    }
    name.ends_with(&*tail)
}

/// The rooms that a rule allows: those that a pattern covers, except the ids of sockets and names that begin with `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rooms(Vec<RoomPattern>);

/// Why a client may not use a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The event's first argument is missing, or no text.
    NoRoom,
    /// The name is empty or longer than [`MAX_ROOM`].
    Length,
    /// No rule of the event allows this room. Which of the reasons it is, clients are not told.
    NotAllowed,
    /// The client is in as many rooms as it may be.
    TooMany,
    /// The log of a recoverable namespace takes nothing now.
    Busy,
}

impl From<EmitError> for Denied {
    fn from(_: EmitError) -> Self {
        Self::Busy
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "the first argument must name a room",
            Self::Length => "the name of the room is empty or too long",
            Self::NotAllowed => "this room is not allowed",
            Self::TooMany => "in too many rooms",
            Self::Busy => "try again later",
        })
    }
}

impl Rooms {
    /// The rooms that any of `patterns` covers.
    #[must_use]
    pub const fn new(patterns: Vec<RoomPattern>) -> Self {
        Self(patterns)
    }

    /// Whether a client of this user may name this room.
    ///
    /// # Errors
    /// [`Denied::Length`] or [`Denied::NotAllowed`].
    pub fn check(&self, name: &str, user: Option<&str>) -> Result<(), Denied> {
        if name.is_empty() || name.len() > MAX_ROOM {
            Err(Denied::Length)
        } else if is_open(name) && self.0.iter().any(|pattern| pattern.matches(name, user)) {
            Ok(())
        } else {
            Err(Denied::NotAllowed)
        }
    }
}

/// Whether a room can be open to clients at all: 1 to [`MAX_ROOM`] bytes, no leading `_`, not the form of a socket id.
pub(super) fn is_open(name: &str) -> bool {
    (1..=MAX_ROOM).contains(&name.len()) && !name.starts_with('_') && !is_socket_id(name)
}

/// Whether a name has the form of a socket id: 20 characters, for clients of Socket.IO 2 with their namespace and `#` before them. It
/// cannot be known whether it is one: that socket may live on another node.
fn is_socket_id(name: &str) -> bool {
    let id = match name.rsplit_once('#') {
        Some((namespace, id)) if namespace.starts_with('/') => id,
        _ => name,
    };
    id.len() == SOCKET_ID && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rooms(patterns: &[&str]) -> Rooms {
        Rooms::new(patterns.iter().map(|pattern| RoomPattern::new(pattern).unwrap()).collect())
    }

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_is_special() {
        for (pattern, yes, no) in [
            ("chat", vec!["chat"], vec!["", "chats", "cha", "Chat"]),
            ("chat-*", vec!["chat-", "chat-1", "chat-*"], vec!["chat", "xchat-1"]),
            ("*", vec!["a", "chat-1"], vec![]),
            ("*-eu", vec!["-eu", "a-eu", "a-eu-eu"], vec!["a-eu-", "eu"]),
            ("a*b*c", vec!["abc", "aXbYc", "abbc", "abcbc"], vec!["ac", "acb", "bac"]),
            ("ab*ba", vec!["abba", "abXba"], vec!["aba"]),
            ("a.[b]?", vec!["a.[b]?"], vec!["axb", "a.b"]),
        ] {
            let pattern = RoomPattern::new(pattern).unwrap();
            yes.iter()
                .for_each(|name| assert!(pattern.matches(name, None), "{pattern:?} {name}"));
            no.iter()
                .for_each(|name| assert!(!pattern.matches(name, None), "{pattern:?} {name}"));
        }
    }

    #[test]
    fn private_names_and_socket_ids_are_never_allowed() {
        let all = rooms(&["*"]);
        assert_eq!(all.check("chat-1", None), Ok(()));
        assert_eq!(all.check("_admin", None), Err(Denied::NotAllowed));
        assert_eq!(all.check("AAAAbm9kZV9zb2NrZXQx", None), Err(Denied::NotAllowed));
        assert_eq!(all.check("/chat#AAAAbm9kZV9zb2NrZXQx", None), Err(Denied::NotAllowed));
        assert_eq!(all.check("chat#AAAAbm9kZV9zb2NrZXQx", None), Ok(()));
        assert_eq!(all.check("", None), Err(Denied::Length));
        assert_eq!(all.check(&"x".repeat(MAX_ROOM + 1), None), Err(Denied::Length));
        assert_eq!(rooms(&[]).check("chat-1", None), Err(Denied::NotAllowed));
    }

    #[test]
    fn a_pattern_that_no_name_could_use_is_refused() {
        assert_eq!(RoomPattern::new(""), Err(PatternError::Length));
        assert_eq!(RoomPattern::new("_x*"), Err(PatternError::Private));
        assert_eq!(RoomPattern::new("chat-room-number-123"), Err(PatternError::SocketId));
        assert_eq!(RoomPattern::new(&"x".repeat(MAX_ROOM + 1)), Err(PatternError::Length));
        for braces in ["inbox-{User}", "inbox-{}", "{user", "user}", "{{user}}", "{user}{"] {
            assert_eq!(RoomPattern::new(braces), Err(PatternError::Braces), "{braces}");
        }
    }

    #[test]
    fn a_user_stands_for_itself_letter_by_letter_and_nobody_for_nothing() {
        for (pattern, user, yes, no) in [
            (
                "inbox-{user}",
                "ann",
                vec!["inbox-ann"],
                vec!["inbox-", "inbox-anna", "inbox-{user}", "inbox-*"],
            ),
            ("inbox-{user}", "*", vec!["inbox-*"], vec!["inbox-", "inbox-ann", "inbox-**"]),
            ("*-{user}-*", "a*b", vec!["x-a*b-y", "-a*b-"], vec!["x-aXb-y", "x-ab-y"]),
            ("{user}:{user}", "{user}", vec!["{user}:{user}"], vec!["ann:ann", ":"]),
            ("{user}*", "ann", vec!["ann", "ann-1"], vec!["an", "xann"]),
        ] {
            let rooms = rooms(&[pattern]);
            for name in yes {
                assert_eq!(rooms.check(name, Some(user)), Ok(()), "{pattern} {user} {name}");
                assert_eq!(rooms.check(name, None), Err(Denied::NotAllowed), "{pattern} {name}");
            }
            for name in no {
                assert_eq!(rooms.check(name, Some(user)), Err(Denied::NotAllowed), "{pattern} {user} {name}");
            }
        }
        let all = rooms(&["{user}", "chat"]);
        for private in ["_admin", "AAAAbm9kZV9zb2NrZXQx"] {
            assert_eq!(
                all.check(private, Some(private)),
                Err(Denied::NotAllowed),
                "a user's name opens nothing private"
            );
        }
        assert_eq!(all.check("chat", None), Ok(()));
    }

    /// The textbook definition, exponential and plainly right.
    fn reference(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => reference(rest, name) || name.split_first().is_some_and(|(_, name)| reference(pattern, name)),
            (Some((a, pattern)), Some((b, name))) => a == b && reference(pattern, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_its_definition(pattern in "[ab*]{1,8}", name in "[ab]{0,10}") {
            prop_assert_eq!(RoomPattern::new(&pattern).unwrap().matches(&name, None), reference(pattern.as_bytes(), name.as_bytes()));
        }

        #[test]
        fn a_user_is_what_would_stand_there_in_a_pattern_of_letters(before in "[ab*]{0,4}", after in "[ab*]{0,4}", user in "[ab]{1,3}", name in "[ab]{0,10}") {
            let (with, written) = (format!("{before}{USER}{after}"), format!("{before}{user}{after}"));
            prop_assert_eq!(RoomPattern::new(&with).unwrap().matches(&name, Some(&user)), reference(written.as_bytes(), name.as_bytes()));
        }
    }
}
