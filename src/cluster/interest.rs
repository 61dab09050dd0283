//! Which parts of which namespaces this node has sockets for. A plain value.
//!
//! A part is wanted from the first of its rooms that has a socket to a second and a bit after the last of them has none: who comes back soon, or
//! moves between rooms that share a topic, costs the backend nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use super::topics::Part;

/// How long a part is heard after its last socket has left, and so long more as parts are gathered, to be given up together.
const LINGER: Duration = Duration::from_secs(1);
const SWEEP: Duration = Duration::from_millis(250);

type Place = (Arc<str>, Part);

#[derive(Debug, Default)]
pub(super) struct Interest {
    parts: HashMap<Place, Held>,
    /// Parts that are wanted and of which the backend has yet to hear, in order.
    fresh: Vec<Place>,
    /// How many parts have become wanted so far.
    number: u64,
    /// Parts that nobody is in any more, by when they are given up. One that is wanted again stands here until then, and is kept.
    lingering: BTreeMap<Instant, Vec<Place>>,
}

#[derive(Debug)]
struct Held {
    rooms: usize,
    /// When the last room was emptied.
    emptied: Option<Instant>,
}

impl Interest {
    /// A room of a part has got its first socket. Says whether the part is fresh.
    pub(super) fn wanted(&mut self, namespace: &Arc<str>, part: Part) -> bool {
        let place = (Arc::clone(namespace), part);
        if let Some(held) = self.parts.get_mut(&place) {
            (held.rooms, held.emptied) = (held.rooms + 1, None);
            return false;
        }
        self.parts.insert(place.clone(), Held { rooms: 1, emptied: None });
        self.fresh.push(place);
        self.number += 1;
        true
    }

    /// A room of a part has lost its last socket.
    pub(super) fn unwanted(&mut self, namespace: &Arc<str>, part: Part, now: Instant) {
        let place = (Arc::clone(namespace), part);
        let Some(held) = self.parts.get_mut(&place) else { return };
        held.rooms = held.rooms.saturating_sub(1);
        if held.rooms == 0 {
            held.emptied = Some(now);
            self.lingering.entry(now + LINGER).or_default().push(place);
        }
    }

    /// Takes the parts that the backend is to be asked for, and how many there have been with them.
    pub(super) fn take_fresh(&mut self) -> (Vec<Place>, u64) {
        let mut fresh = std::mem::take(&mut self.fresh);
        // One that was given up before anybody took it is not asked for.
        fresh.retain(|place| self.parts.contains_key(place));
        (fresh, self.number)
    }

    pub(super) fn has_fresh(&self) -> bool {
        !self.fresh.is_empty()
    }

    /// How many parts have become wanted so far.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Gives up the parts that nobody has come back to, once it is time.
    pub(super) fn take_left(&mut self, now: Instant) -> Vec<Place> {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return Vec::new();
        }
        let later = self.lingering.split_off(&(now + Duration::from_nanos(1)));
        let due = std::mem::replace(&mut self.lingering, later).into_values().flatten();
        let mut left = Vec::new();
        for place in due {
            let gone = self
                .parts
                .get(&place)
                .and_then(|held| held.emptied)
                .is_some_and(|emptied| emptied + LINGER <= now);
            if gone {
                self.parts.remove(&place);
                left.push(place);
            }
        }
        left
    }

    /// When [`Interest::take_left`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.lingering.keys().next().map(|due| *due + SWEEP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Part = Part::Rooms(7);

    #[test]
    fn a_part_is_asked_for_once_and_kept_a_while() {
        let (mut interest, namespace, start) = (Interest::default(), Arc::from("/"), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert!(interest.wanted(&namespace, PART));
        assert!(!interest.wanted(&namespace, PART));
        assert_eq!(interest.take_fresh(), (vec![(namespace.clone(), PART)], 1));
        assert!(!interest.has_fresh());
        interest.unwanted(&namespace, PART, after(0));
        assert_eq!(interest.poll_timeout(), None, "another of its rooms has a socket");
        interest.unwanted(&namespace, PART, after(0));
        assert_eq!(interest.poll_timeout(), Some(after(1250)));
        assert_eq!(interest.take_left(after(1249)), []);
        assert!(!interest.wanted(&namespace, PART), "somebody has come back in time");
        assert_eq!(interest.take_left(after(1250)), []);
        interest.unwanted(&namespace, PART, after(1500));
        assert_eq!(interest.take_left(after(2750)), [(namespace.clone(), PART)]);
        assert!(interest.wanted(&namespace, PART) && interest.number() == 2);
    }

    #[test]
    fn who_comes_and_goes_again_is_waited_for_from_the_last_time() {
        let (mut interest, namespace, start) = (Interest::default(), Arc::from("/"), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        interest.wanted(&namespace, PART);
        for ms in [0, 600] {
            interest.unwanted(&namespace, PART, after(ms));
            interest.wanted(&namespace, PART);
        }
        interest.unwanted(&namespace, PART, after(1200));
        assert_eq!(interest.take_left(after(2199)), []);
        assert_eq!(interest.take_left(after(2450)), [(namespace, PART)]);
        assert!(interest.parts.is_empty() && interest.lingering.is_empty());
    }
}
