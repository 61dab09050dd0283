//! Namespaces that come to be when a client asks for them: who decides, and what they inherit.

use std::{
    collections::BTreeSet,
    fmt,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
};

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::{ConnectError, Hub, namespace, shared::lock, socket, socket::Standing};

/// The longest name of a namespace that a client may bring about, in bytes.
const MAX_NAME: usize = 255;

/// Decides which namespaces may come to be, and is what they are made like.
pub(super) struct Parent {
    /// Has the handlers that children begin with, and no sockets.
    pub(super) core: Arc<namespace::Core>,
    decide: Box<Decide>,
    /// The names of its children on this node; as many as settings allow.
    children: Mutex<BTreeSet<Arc<str>>>,
}

pub(super) type Decide = dyn Fn(Arc<str>, Value) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync;

impl Parent {
    pub(super) fn new(core: Arc<namespace::Core>, decide: Box<Decide>) -> Arc<Self> {
        Arc::new(Self {
            core,
            decide,
            children: Mutex::default(),
        })
    }

    pub(super) fn children(&self) -> Vec<Arc<str>> {
        lock(&self.children).iter().cloned().collect()
    }

    pub(super) fn gain(&self, child: &Arc<str>) {
        lock(&self.children).insert(Arc::clone(child));
    }

    pub(super) fn lose(&self, child: &Arc<str>) {
        lock(&self.children).remove(child);
    }

    /// Whether the namespace may exist, for the sake of this client. A panic is counted, and is a no.
    async fn allows(&self, socket: &Arc<socket::Core>, auth: Value) -> bool {
        let name = Arc::clone(&socket.namespace.name);
        let verdict = AssertUnwindSafe(async { (self.decide)(name, auth).await }).catch_unwind().await;
        verdict.unwrap_or_else(|_| {
            socket.panicked("the decision about a dynamic namespace");
            false
        })
    }
}

impl fmt::Debug for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parent({})", self.core.name)
    }
}

/// Asks the parents in the order in which they were made whether the namespace of a socket may exist; the first who allows it adopts it.
pub(super) async fn decide(hub: &Weak<Hub>, socket: &Arc<socket::Core>) -> Result<(), ConnectError> {
    let unknown = || no_place(socket, "Invalid namespace");
    if socket.namespace.name.len() > MAX_NAME {
        return Err(unknown());
    }
    let parents = hub.upgrade().map(|hub| hub.parents()).unwrap_or_default();
    let auth: Value = serde_json::from_str(socket.auth.as_deref().unwrap_or("{}")).unwrap_or_default();
    for parent in parents {
        if !parent.allows(socket, auth.clone()).await {
            continue;
        }
        // A client that has gone brings nothing about.
        let hub = hub.upgrade().filter(|_| socket.standing() == Standing::Connecting);
        let hub = hub.ok_or_else(unknown)?;
        return if hub.adopt(&socket.namespace, &parent) {
            Ok(())
        } else {
            socket.shared().counters.children_refused.increment();
            Err(no_place(socket, "Too many namespaces"))
        };
    }
    Err(unknown())
}

/// There is no such namespace. Clients of protocol 4 are told so in the form of protocol 5: of a refusal they get the data.
fn no_place(socket: &socket::Core, message: &str) -> ConnectError {
    let error = ConnectError::new(message);
    if socket.peer.is_legacy() {
        error.with_data(json!({ "message": message }))
    } else {
        error
    }
}

/// Whether a name matches a pattern, in which each `*` stands for any characters, also none.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name) in [
            ("/a", "/a"),
            ("/chat-*", "/chat-"),
            ("/chat-*", "/chat-1/2"),
            ("*", "/"),
            ("/*-*/x", "/a-b-c/x"),
            ("/a*b*", "/aab"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("/a", "/ab"),
            ("/a", "/"),
            ("/chat-*", "/chat"),
            ("/*/x", "/x"),
            ("/a*a", "/a"),
            ("", "/"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    proptest! {
        /// Agrees with the plain definition.
        #[test]
        fn matches_what_a_naive_matcher_matches(pattern in "[ab*]{0,8}", name in "[ab]{0,10}") {
            fn naive(pattern: &[u8], name: &[u8]) -> bool {
                match pattern.split_first() {
                    None => name.is_empty(),
                    Some((b'*', rest)) => (0..=name.len()).any(|at| naive(rest, &name[at..])),
                    Some((letter, rest)) => name.first() == Some(letter) && naive(rest, &name[1..]),
                }
            }
            prop_assert_eq!(matches(&pattern, &name), naive(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
