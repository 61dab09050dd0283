//! In which rooms a socket was, and when: decides which entries of the log it was meant to get.

use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use crate::hub::{Room, Target};

/// How many ended stays are remembered between two proofs of what has arrived.
const MAX_PAST: usize = 1024;

/// The stays of one socket. A join or leave takes effect between two positions of the log: a stay from 3 to 7 hears the entries 4 to 7.
/// The room of its own id a socket never leaves; of it nothing is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stays {
    id: Room,
    rooms: HashMap<Room, SmallVec<[Stay; 1]>>,
    /// Rooms by where their ended stays ended, to forget them in this order; at most [`MAX_PAST`].
    past: BTreeSet<(u64, Room)>,
    /// What lies before was forgotten.
    exact_from: u64,
}

/// A time in a room. A room's stays stand in order and do not overlap; only the last may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// The position after which it began.
    pub joined: u64,
    /// The last position that it heard; nothing while it goes on.
    pub left: Option<u64>,
}

impl Stays {
    /// A socket in no room but its own.
    #[must_use]
    pub fn new(id: Room) -> Self {
        Self {
            id,
            rooms: HashMap::new(),
            past: BTreeSet::new(),
            exact_from: 0,
        }
    }

    /// Stays as they were [listed](Stays::list). What cannot be so is left out.
    #[must_use]
    pub fn from_list(id: Room, exact_from: u64, list: impl IntoIterator<Item = (Room, Stay)>) -> Self {
        let mut stays = Self {
            exact_from,
            ..Self::new(id)
        };
        for (room, stay) in list {
            stays.join(&room, stay.joined);
            if let Some(left) = stay.left {
                stays.leave(&room, left);
            }
        }
        stays
    }

    /// Every stay, of each room in order.
    pub fn list(&self) -> impl Iterator<Item = (&Room, Stay)> {
        self.rooms
            .iter()
            .flat_map(|(room, stays)| stays.iter().map(move |stay| (room, *stay)))
    }

    /// The position from which these stays are complete.
    #[must_use]
    pub const fn exact_from(&self) -> u64 {
        self.exact_from
    }

    /// The rooms it is in now, but for its own.
    pub fn rooms(&self) -> impl Iterator<Item = &Room> {
        let lasting = |stays: &SmallVec<[Stay; 1]>| stays.last().is_some_and(|stay| stay.left.is_none());
        self.rooms.iter().filter(move |(_, stays)| lasting(stays)).map(|(room, _)| room)
    }

    /// It joins a room after the entry at `position`. Nothing changes when it is in it. Answers whether something changed.
    pub fn join(&mut self, room: &Room, position: u64) -> bool {
        if *room == self.id {
            return false;
        }
        let stays = self.rooms.entry(room.clone()).or_default();
        match stays.last_mut() {
            Some(Stay { left: None, .. }) => return false,
            // Left and joined again between the same two entries: it was never away.
            Some(stay) if stay.left.is_some_and(|left| left >= position) => {
                if let Some(left) = stay.left.take() {
                    self.past.remove(&(left, room.clone()));
                }
            }
            _ => stays.push(Stay {
                joined: position,
                left: None,
            }),
        }
        true
    }

    /// It leaves a room after the entry at `position`. Nothing changes when it is not in it. Answers whether something changed.
    pub fn leave(&mut self, room: &Room, position: u64) -> bool {
        let Some(stays) = self.rooms.get_mut(room) else { return false };
        let Some(stay) = stays.last_mut().filter(|stay| stay.left.is_none()) else {
            return false;
        };
        if stay.joined >= position {
            // It has heard nothing in there.
            stays.pop();
            if stays.is_empty() {
                self.rooms.remove(room);
            }
            return true;
        }
        stay.left = Some(position);
        self.past.insert((position, room.clone()));
        if self.past.len() > MAX_PAST
            && let Some(&(earliest, _)) = self.past.first()
        {
            self.forget(earliest);
            self.exact_from = self.exact_from.max(earliest);
        }
        true
    }

    /// Entries up to `position` will not be asked about any more.
    pub fn forget(&mut self, position: u64) {
        while self.past.first().is_some_and(|(left, _)| *left <= position)
            && let Some((_, room)) = self.past.pop_first()
        {
            if let Some(stays) = self.rooms.get_mut(&room) {
                stays.retain(|stay| stay.left.is_none_or(|left| left > position));
                if stays.is_empty() {
                    self.rooms.remove(&room);
                }
            }
        }
    }

    /// Whether the socket was meant by an entry at `position` with this target.
    #[must_use]
    pub fn hears(&self, target: &Target, position: u64) -> bool {
        let Target { rooms, except, .. } = target;
        (rooms.is_empty() || rooms.iter().any(|room| self.was_in(room, position))) && !except.iter().any(|room| self.was_in(room, position))
    }

    fn was_in(&self, room: &Room, position: u64) -> bool {
        let within = |stay: &Stay| stay.joined < position && stay.left.is_none_or(|left| position <= left);
        *room == self.id || self.rooms.get(room).is_some_and(|stays| stays.iter().any(within))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Entry(Vec<u8>, Vec<u8>),
        Join(u8),
        Leave(u8),
        /// So many of the newest entries are still asked about.
        Forget(u64),
        Store,
    }

    fn step() -> impl Strategy<Value = Step> {
        let rooms = || prop::collection::vec(0_u8..5, 0..3);
        prop_oneof![
            4 => (rooms(), rooms()).prop_map(|(rooms, except)| Step::Entry(rooms, except)),
            3 => (0_u8..5).prop_map(Step::Join),
            3 => (0_u8..5).prop_map(Step::Leave),
            1 => (0_u64..10).prop_map(Step::Forget),
            1 => Just(Step::Store),
        ]
    }

    /// 0 is the socket's own room.
    fn room(number: u8) -> Room {
        format!("room{number}").into()
    }

    proptest! {
        /// Asked later about any entry that was not forgotten, the stays say what a set of rooms said when the entry came.
        #[test]
        fn an_entry_is_heard_by_who_was_in_its_rooms_at_that_time(steps in prop::collection::vec(step(), 1..200)) {
            let mut stays = Stays::new(room(0));
            let mut now = BTreeSet::from([room(0)]);
            let mut log: Vec<(Target, bool)> = Vec::new();
            let mut forgotten = 0;
            for step in steps {
                let position = log.len() as u64;
                match step {
                    Step::Entry(rooms, except) => {
                        let target = Target {
                            namespace: "/".into(),
                            rooms: rooms.into_iter().map(room).collect(),
                            except: except.into_iter().map(room).collect(),
                        };
                        let meant = target.rooms.is_empty() || target.rooms.iter().any(|room| now.contains(room));
                        let heard = meant && !target.except.iter().any(|room| now.contains(room));
                        log.push((target, heard));
                    }
                    Step::Join(number) => prop_assert_eq!(stays.join(&room(number), position), now.insert(room(number))),
                    Step::Leave(number) => {
                        let leaves = number != 0 && now.remove(&room(number));
                        prop_assert_eq!(stays.leave(&room(number), position), leaves);
                    }
                    Step::Forget(left) => {
                        forgotten = position.saturating_sub(left).max(forgotten);
                        stays.forget(forgotten);
                    }
                    Step::Store => stays = {
                        let mut list: Vec<_> = stays.list().map(|(room, stay)| (room.clone(), stay)).collect();
                        list.sort_by_key(|(_, stay)| stay.joined);
                        Stays::from_list(room(0), stays.exact_from(), list)
                    },
                }
                for ((target, heard), position) in log.iter().zip(1..).filter(|(_, position)| *position > forgotten) {
                    prop_assert_eq!(stays.hears(target, position), *heard, "{:?} at {}", target, position);
                }
                let mut rooms: BTreeSet<Room> = stays.rooms().cloned().collect();
                rooms.insert(room(0));
                prop_assert_eq!(&rooms, &now);
            }
            stays.forget(log.len() as u64);
            prop_assert!(stays.past.is_empty());
            prop_assert_eq!(stays.rooms.len(), now.len() - 1);
        }
    }

    #[test]
    fn who_comes_and_goes_for_ever_is_remembered_for_a_while() {
        let mut stays = Stays::new(room(0));
        for position in 0..3000 {
            stays.join(&room(1), 2 * position);
            stays.leave(&room(1), 2 * position + 1);
        }
        assert!(stays.list().count() <= MAX_PAST);
        let target = Target {
            rooms: vec![room(1)],
            ..Target::namespace("/".into())
        };
        let exact = stays.exact_from();
        assert!(exact > 3000);
        assert!((exact + 1..6000).all(|position| stays.hears(&target, position) == (position % 2 == 1)));
    }
}
