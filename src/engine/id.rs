//! Ids: 20 characters of base64url, of which the first four name the node that drew them.

use std::{
    cell::RefCell,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Three random bytes which name a node for the length of one start. Four characters of base64url as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeTag(pub [u8; 3]);

/// The tag that a node has now, which its layers share: ids begin with it. Another is drawn when another node turns out to have the same.
#[derive(Debug, Clone)]
pub struct OwnTag(Arc<AtomicU32>);

/// Characters of a tag, at the head of every id of its node.
const TAG_CHARS: usize = 4;

/// Characters of an id.
const ID_CHARS: usize = 20;

impl NodeTag {
    /// Draws a tag.
    ///
    /// # Panics
    /// When the operating system has no randomness to give, which it tells at start or never.
    #[must_use]
    pub fn random() -> Self {
        let mut tag = [0; 3];
        fill(&mut tag);
        Self(tag)
    }

    /// The tag of the node that drew `id`, or of a tag's own text form. Nothing when the head of `id` is not base64url.
    #[must_use]
    pub fn of(id: &str) -> Option<Self> {
        let mut tag = [0; 3];
        let written = URL_SAFE_NO_PAD.decode_slice(id.get(..TAG_CHARS)?, &mut tag).ok()?;
        (written == tag.len()).then_some(Self(tag))
    }
}

impl NodeTag {
    /// The tag of the node that drew what may be the id of a socket: 20 characters, before which clients of protocol 4 have the namespace
    /// and `#`.
    #[must_use]
    pub fn of_socket(id: &str) -> Option<Self> {
        let drawn = id.rsplit_once('#').map_or(id, |(_, drawn)| drawn);
        if drawn.len() == ID_CHARS { Self::of(drawn) } else { None }
    }
}

impl OwnTag {
    /// Draws a tag.
    ///
    /// # Panics
    /// As [`NodeTag::random`].
    #[must_use]
    pub fn random() -> Self {
        NodeTag::random().into()
    }

    /// The tag.
    #[must_use]
    pub fn get(&self) -> NodeTag {
        let [_, a, b, c] = self.0.load(Relaxed).to_be_bytes();
        NodeTag([a, b, c])
    }

    /// Draws another one, which every clone has from now on.
    ///
    /// # Panics
    /// As [`NodeTag::random`].
    pub fn redraw(&self) -> NodeTag {
        loop {
            let tag = NodeTag::random();
            if tag != self.get() {
                self.0.store(number(tag), Relaxed);
                return tag;
            }
        }
    }
}

impl From<NodeTag> for OwnTag {
    fn from(tag: NodeTag) -> Self {
        Self(Arc::new(AtomicU32::new(number(tag))))
    }
}

const fn number(NodeTag([a, b, c]): NodeTag) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

impl fmt::Display for NodeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

/// Draws an id for a session or a socket: the tag, then twelve random bytes. It names its owner and is a capability.
///
/// # Panics
/// When the operating system has no randomness to give: a guessable id would be worse.
#[must_use]
pub fn new_id(tag: NodeTag) -> String {
    let NodeTag([a, b, c]) = tag;
    let mut bytes = [0; 15];
    fill(&mut bytes);
    if let Some(head) = bytes.first_chunk_mut() {
        *head = [a, b, c];
    }
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Random bytes that a thread has asked for and not used yet: a session and its socket need two ids, and a system call costs as much as all
/// else of an id.
struct Drawn {
    bytes: [u8; 240],
    used: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; 240], used: 240 }) };
}

fn fill(bytes: &mut [u8]) {
    let system = |bytes: &mut [u8]| getrandom::fill(bytes).expect("the operating system gives randomness");
    let drawn = DRAWN.try_with(|drawn| {
        let Drawn { bytes: pool, used } = &mut *drawn.borrow_mut();
        if pool.len() - *used < bytes.len() {
            system(pool);
            *used = 0;
        }
        let fresh = pool.get_mut(*used..*used + bytes.len())?;
        bytes.copy_from_slice(fresh);
        // What has become an id is not kept beside it.
        fresh.fill(0);
        *used += bytes.len();
        Some(())
    });
    // More than is drawn at once, or a thread that is ending.
    if !matches!(drawn, Ok(Some(()))) {
        system(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_twenty_characters_and_names_its_node() {
        let tag = NodeTag::random();
        let id = new_id(tag);
        assert_eq!(id.len(), 20);
        assert_eq!(NodeTag::of(&id), Some(tag));
        assert_eq!(NodeTag::of(&tag.to_string()), Some(tag));
        assert_ne!(new_id(tag), id);
    }

    #[test]
    fn a_tag_that_is_drawn_again_is_another_for_everybody() {
        let (tag, first) = (OwnTag::from(NodeTag([1, 2, 3])), NodeTag([1, 2, 3]));
        let shared = tag.clone();
        assert_eq!(shared.get(), first);
        let drawn = tag.redraw();
        assert!(drawn != first && shared.get() == drawn);
    }

    #[test]
    fn what_no_node_drew_has_no_tag() {
        for id in ["", "abc", "ab+/xxxx", "\u{e9}\u{e9}\u{e9}"] {
            assert_eq!(NodeTag::of(id), None, "{id}");
        }
    }
}
