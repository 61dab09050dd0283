//! Which topics a command goes to.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use smallvec::SmallVec;
use tokio_util::sync::CancellationToken;

use super::{link::lock, topics::Part};
use crate::{
    engine::id::NodeTag,
    hub::{Room, Target},
};

/// The most topics that a command is published to one by one; for more, the whole namespace's is cheaper.
const MAX_PARTS: usize = 8;

/// Characters of a socket's id.
const ID: usize = 20;

/// Parts of a namespace, each once.
pub(super) type Parts = SmallVec<[Part; MAX_PARTS]>;

/// Rooms that sockets of other nodes were told to join, and of which not all nodes have confirmed that they hear them: what is sent to
/// one goes to the whole namespace.
///
/// They are confirmed in batches, one at a time, however many joins there are.
#[derive(Debug, Default)]
pub(super) struct Young {
    state: Mutex<Rooms>,
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Rooms {
    /// With the joins that have yet to be confirmed.
    rooms: HashMap<Place, usize>,
    /// The joins since the last batch was begun.
    next: Batch,
    /// Somebody sees to it that they are confirmed.
    running: bool,
}

type Place = (Arc<str>, Room);

/// Joins that are confirmed together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    places: Vec<Place>,
    /// Cancelled when they are.
    confirmed: CancellationToken,
}

impl Young {
    /// Sockets of other nodes were told to join rooms. Gives a token that is cancelled when that is confirmed; and whether the caller
    /// has to see to it that batches are: none is under way.
    pub(super) fn begin(&self, namespace: &Arc<str>, rooms: &[Room]) -> (CancellationToken, bool) {
        let mut young = lock(&self.state);
        for room in rooms {
            let place = (Arc::clone(namespace), Arc::clone(room));
            *young.rooms.entry(place.clone()).or_default() += 1;
            young.next.places.push(place);
        }
        self.count.store(young.rooms.len(), Relaxed);
        let idle = !std::mem::replace(&mut young.running, true);
        (young.next.confirmed.clone(), idle)
    }

    /// Takes the joins that are to be confirmed next; without any, nobody sees to it any more.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut young = lock(&self.state);
        young.running = !young.next.places.is_empty();
        young.running.then(|| std::mem::take(&mut young.next))
    }

    /// A batch is confirmed.
    pub(super) fn end(&self, batch: Batch) {
        let mut young = lock(&self.state);
        for place in batch.places {
            if let Some(times) = young.rooms.get_mut(&place) {
                *times -= 1;
                if *times == 0 {
                    young.rooms.remove(&place);
                }
            }
        }
        self.count.store(young.rooms.len(), Relaxed);
        drop(young);
        batch.confirmed.cancel();
    }

    fn has_any(&self, target: &Target) -> bool {
        if self.count.load(Relaxed) == 0 {
            return false;
        }
        let young = lock(&self.state);
        let mut rooms = target.rooms.iter();
        rooms.any(|room| young.rooms.contains_key(&(Arc::clone(&target.namespace), Arc::clone(room))))
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
        let drawn_by = NodeTag::of(room).filter(|tag| room.len() == ID && is_member(*tag));
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
    use super::*;

    fn target(rooms: &[&str]) -> Target {
        Target {
            rooms: rooms.iter().map(|room| Room::from(*room)).collect(),
            ..Target::namespace("/".into())
        }
    }

    #[test]
    fn a_target_goes_where_its_rooms_are() {
        let young = Young::default();
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
        for other in ["AAAA0123456789abcde", "BAAA0123456789abcdef"] {
            assert_eq!(parts(&[other]).unwrap().to_vec(), [Part::of_room(other)]);
        }
    }

    #[test]
    fn a_young_room_is_everywhere() {
        let young = Young::default();
        let namespace = Arc::from("/");
        let whole = |room| parts(&target(&["c", room]), &young, |_| false).is_none();
        let (first, idle) = young.begin(&namespace, &["a".into(), "b".into()]);
        assert!(idle);
        let batch = young.take().unwrap();
        let (second, idle) = young.begin(&namespace, &["a".into()]);
        assert!(!idle, "somebody sees to it already");
        assert_eq!(["a", "b", "c"].map(whole), [true, true, false]);
        young.end(batch);
        assert_eq!((first.is_cancelled(), second.is_cancelled()), (true, false));
        assert_eq!(["a", "b", "c"].map(whole), [true, false, false]);
        young.end(young.take().unwrap());
        assert!(second.is_cancelled() && !whole("a") && young.count.load(Relaxed) == 0);
        assert!(young.take().is_none() && young.begin(&namespace, &["a".into()]).1);
    }
}
