//! Which topics a command goes to.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use smallvec::SmallVec;
use tokio::sync::{Notify, watch};

use super::{link::lock, topics::Part};
use crate::{
    engine::id::NodeTag,
    hub::{Room, Target},
};

/// The most topics that a command is published to one by one; for more, the whole namespace's is cheaper.
const MAX_PARTS: usize = 8;

/// Parts of a namespace, each once.
pub(super) type Parts = SmallVec<[Part; MAX_PARTS]>;

/// The most rooms that are told apart; above, every room is young.
const MAX_YOUNG: usize = 64 * 1024;

/// Rooms that sockets of other nodes were told to join, and of which not all nodes have confirmed that they hear them: what is sent to
/// one goes to the whole namespace.
///
/// Joins are numbered, and confirmed up to a number, however many there are.
#[derive(Debug)]
pub(super) struct Young {
    state: Mutex<Rooms>,
    /// Whether there is any; looked at without the lock.
    any: AtomicBool,
    /// Wakes who has joins confirmed.
    joined: Notify,
    /// Of which joins the nodes that could be asked have confirmed that they hear them.
    attempted: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Rooms {
    /// With the number of their last join.
    rooms: HashMap<(Arc<str>, Room), u64>,
    /// Every room is young until this join is confirmed.
    all: u64,
    last: u64,
}

impl Young {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            any: AtomicBool::new(false),
            joined: Notify::new(),
            attempted: watch::Sender::new(0),
        }
    }

    /// Sockets of other nodes were told to join rooms. What this gives ends when the nodes that can be asked have confirmed it.
    pub(super) fn begin(&self, namespace: &Arc<str>, rooms: &[Room]) -> impl Future<Output = ()> + Send + use<> {
        let mut young = lock(&self.state);
        young.last += 1;
        let number = young.last;
        if young.rooms.len() + rooms.len() > MAX_YOUNG {
            young.all = number;
            young.rooms.clear();
        } else {
            let places = rooms.iter().map(|room| ((Arc::clone(namespace), Arc::clone(room)), number));
            young.rooms.extend(places);
        }
        self.any.store(true, Relaxed);
        drop(young);
        self.joined.notify_one();
        let mut attempted = self.attempted.subscribe();
        async move { drop(attempted.wait_for(|attempted| *attempted >= number).await) }
    }

    /// Waits for joins that have yet to be confirmed; gives the number of the last.
    pub(super) async fn joins(&self) -> u64 {
        loop {
            let joined = self.joined.notified();
            if self.any.load(Relaxed) {
                return lock(&self.state).last;
            }
            joined.await;
        }
    }

    /// The nodes that could be asked have confirmed the joins up to this one; `all` of them, or those that could not be are asked again.
    pub(super) fn confirm(&self, number: u64, all: bool) {
        if all {
            let mut young = lock(&self.state);
            young.rooms.retain(|_, joined| *joined > number);
            if young.all <= number {
                young.all = 0;
            }
            let any = !young.rooms.is_empty() || young.all > 0;
            self.any.store(any, Relaxed);
        }
        self.attempted.send_replace(number);
    }

    fn has_any(&self, target: &Target) -> bool {
        if !self.any.load(Relaxed) {
            return false;
        }
        let young = lock(&self.state);
        let mut rooms = target.rooms.iter();
        young.all > 0 || rooms.any(|room| young.rooms.contains_key(&(Arc::clone(&target.namespace), Arc::clone(room))))
    }
}

/// The parts of the namespace to which what is meant for a target goes; nothing if it goes to the whole namespace.
///
/// What may be a socket's id goes to the node that has drawn it, and to its room like any other: a session may have been taken over
/// elsewhere. `is_member` knows the nodes.
pub(super) fn parts(target: &Target, young: &Young, is_member: impl Fn(NodeTag) -> bool) -> Option<Parts> {
    if target.rooms.is_empty() || young.has_any(target) {
        return None;
    }
    let mut parts = Parts::new();
    for room in &target.rooms {
        let drawn_by = NodeTag::of_socket(room).filter(|tag| is_member(*tag));
        for part in drawn_by.map(Part::Node).into_iter().chain([Part::of_room(room)]) {
            if !parts.contains(&part) {
                if parts.len() == MAX_PARTS {
                    return None;
                }
                parts.push(part);
            }
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn target(rooms: &[&str]) -> Target {
        Target {
            rooms: rooms.iter().map(|room| Room::from(*room)).collect(),
            ..Target::namespace("/".into())
        }
    }

    #[test]
    fn a_target_goes_where_its_rooms_are() {
        let young = Young::new();
        let parts = |rooms: &[&str]| parts(&target(rooms), &young, |tag| tag == NodeTag([0; 3]));
        assert_eq!(parts(&[]), None);
        assert_eq!(parts(&["a", "a"]).unwrap().to_vec(), [Part::of_room("a")]);
        assert_eq!(parts(&["a", "b"]).unwrap().len(), 2);
        let names: Vec<String> = (0..9).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(parts(names.get(..8).unwrap()).unwrap().len(), 8);
        assert_eq!(parts(&names), None, "that many are cheaper for all at once");
        let id = "AAAA0123456789abcdef";
        assert_eq!(parts(&[id]).unwrap().to_vec(), [Part::Node(NodeTag([0; 3])), Part::of_room(id)]);
        let legacy = "/chat#AAAA0123456789abcdef";
        assert_eq!(
            parts(&[legacy]).unwrap().to_vec(),
            [Part::Node(NodeTag([0; 3])), Part::of_room(legacy)]
        );
        for other in ["AAAA0123456789abcde", "BAAA0123456789abcdef"] {
            assert_eq!(parts(&[other]).unwrap().to_vec(), [Part::of_room(other)]);
        }
    }

    #[test]
    fn a_young_room_is_everywhere() {
        let young = Young::new();
        let namespace = Arc::from("/");
        let whole = |room| parts(&target(&["c", room]), &young, |_| false).is_none();
        let mut first = Box::pin(young.begin(&namespace, &["a".into(), "b".into()]));
        assert_eq!(young.joins().now_or_never(), Some(1));
        let mut second = Box::pin(young.begin(&namespace, &["a".into()]));
        assert_eq!(["a", "b", "c"].map(whole), [true, true, false]);
        assert!(first.as_mut().now_or_never().is_none());
        young.confirm(1, true);
        assert!(first.now_or_never().is_some() && second.as_mut().now_or_never().is_none());
        assert_eq!(["a", "b", "c"].map(whole), [true, false, false]);
        young.confirm(2, false);
        assert!(
            second.now_or_never().is_some() && whole("a"),
            "a node that did not confirm still has to be reached"
        );
        young.confirm(2, true);
        assert!(!whole("a") && young.joins().now_or_never().is_none());
    }

    #[test]
    fn of_too_many_young_rooms_all_are_young() {
        let young = Young::new();
        let namespace = Arc::from("/");
        let rooms: Vec<Room> = (0..=MAX_YOUNG).map(|number| number.to_string().into()).collect();
        let whole = |room| parts(&target(&[room]), &young, |_| false).is_none();
        drop(young.begin(&namespace, &rooms));
        assert!(whole("any") && lock(&young.state).rooms.is_empty());
        drop(young.begin(&namespace, &["a".into()]));
        young.confirm(1, true);
        assert_eq!(["a", "any"].map(whole), [true, false]);
    }
}
