//! Who is in which room: one shard of a namespace's index.
//!
//! Members stand in a slab and are named by their slot; a room's name is interned, and a room is the list of its members' slots. Each
//! member knows where it stands in the lists of its rooms, so joining and leaving cost the same however large a room is. A member's own
//! id is a room of which nothing is stored.

use std::{collections::HashMap, sync::Arc};

use smallvec::SmallVec;

use super::{Room, recovery::Offset, shared::Shared};
use crate::engine::id::NodeTag;

/// One shard: a plain value, its owner locks it. No member is dropped in here but with the shard itself.
#[derive(Debug)]
pub(super) struct Shard<T> {
    /// How far its members have come in the log of a recoverable namespace.
    pub(super) place: Offset,
    slots: Vec<Option<Entry<T>>>,
    free_slots: Vec<u32>,
    ids: HashMap<Room, u32>,
    rooms: Vec<Members>,
    free_rooms: Vec<u32>,
    names: HashMap<Room, u32>,
    /// A bit for each slot, used within a selection; kept so that it is not allocated for each.
    marks: Vec<u64>,
    interest: Option<Interest>,
}

/// Tells the namespace's observer of the rooms that have members in a shard.
#[derive(Debug)]
pub(super) struct Interest {
    pub(super) namespace: Arc<str>,
    pub(super) shared: Arc<Shared>,
}

impl Interest {
    fn wanted(&self, room: &Room) {
        if let Some(observer) = self.shared.observer() {
            observer.room_wanted(&self.namespace, room);
        }
    }

    fn unwanted(&self, room: &Room) {
        if let Some(observer) = self.shared.observer() {
            observer.room_unwanted(&self.namespace, room);
        }
    }

    /// Whether an id was drawn by another node, from which a session was taken over, or under a tag that this node had before.
    fn is_foreign(&self, id: &str) -> bool {
        NodeTag::of_socket(id) != Some(self.shared.tag.get())
    }
}

#[derive(Debug)]
struct Entry<T> {
    id: Room,
    /// Whether its id's room is told to the observer.
    foreign: bool,
    member: T,
    rooms: SmallVec<[Membership; 2]>,
}

/// A member's place in a room: `rooms[room].slots[at]` is the member's slot.
#[derive(Debug, Clone, Copy)]
struct Membership {
    room: u32,
    at: u32,
}

/// A room. An unused one has no slots and is listed in `free_rooms`.
#[derive(Debug)]
struct Members {
    name: Room,
    slots: Vec<u32>,
}

impl<T> Default for Shard<T> {
    fn default() -> Self {
        Self {
            place: Offset::default(),
            slots: Vec::new(),
            free_slots: Vec::new(),
            ids: HashMap::new(),
            rooms: Vec::new(),
            free_rooms: Vec::new(),
            names: HashMap::new(),
            marks: Vec::new(),
            interest: None,
        }
    }
}

impl<T> Shard<T> {
    /// One whose rooms are told to an observer.
    pub(super) fn observed(interest: Interest) -> Self {
        Self {
            interest: Some(interest),
            ..Self::default()
        }
    }

    /// Adds a member, which is in no room but its own. Gives the slot that names it until it is removed.
    pub(super) fn insert(&mut self, id: Room, member: T) -> u32 {
        let foreign = self.interest.as_ref().filter(|interest| interest.is_foreign(&id));
        if let Some(interest) = foreign {
            interest.wanted(&id);
        }
        let entry = Some(Entry {
            id: id.clone(),
            foreign: foreign.is_some(),
            member,
            rooms: SmallVec::new(),
        });
        let slot = match self.free_slots.pop() {
            Some(slot) => {
                if let Some(place) = self.slots.get_mut(slot as usize) {
                    *place = entry;
                }
                slot
            }
            None => {
                self.slots.push(entry);
                index(self.slots.len() - 1)
            }
        };
        self.ids.insert(id, slot);
        slot
    }

    /// The node's tag has changed: what was drawn under it before is foreign now.
    pub(super) fn disown(&mut self) {
        let Some(interest) = &self.interest else { return };
        for entry in self.slots.iter_mut().flatten().filter(|entry| !entry.foreign) {
            entry.foreign = interest.is_foreign(&entry.id);
            if entry.foreign {
                interest.wanted(&entry.id);
            }
        }
    }

    /// Takes a member out of the shard and of all its rooms. The caller drops it, outside of the lock.
    pub(super) fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.slots.get_mut(slot as usize)?.take()?;
        self.ids.remove(&entry.id);
        if let Some(interest) = self.interest.as_ref().filter(|_| entry.foreign) {
            interest.unwanted(&entry.id);
        }
        self.free_slots.push(slot);
        for membership in entry.rooms {
            self.vacate(membership);
        }
        Some(entry.member)
    }

    /// The member of this id.
    pub(super) fn find(&self, id: &str) -> Option<&T> {
        let slot = *self.ids.get(id)?;
        Some(&self.slots.get(slot as usize)?.as_ref()?.member)
    }

    /// Adds a member to a room; does nothing when it is in it, or when the room is its own. Answers whether there was a place for it:
    /// a member is in `most` rooms at most, its own not counted.
    pub(super) fn join(&mut self, slot: u32, room: &Room, most: usize) -> bool {
        let Some(Some(entry)) = self.slots.get(slot as usize) else {
            return true;
        };
        let known = self.names.get(room).copied();
        let is_in = known.is_some_and(|number| entry.rooms.iter().any(|membership| membership.room == number));
        if is_in || entry.id == *room {
            return true;
        }
        if entry.rooms.len() >= most {
            return false;
        }
        let number = known.unwrap_or_else(|| self.intern(room));
        if let (Some(Some(entry)), Some(members)) = (self.slots.get_mut(slot as usize), self.rooms.get_mut(number as usize)) {
            entry.rooms.push(Membership {
                room: number,
                at: index(members.slots.len()),
            });
            members.slots.push(slot);
        }
        true
    }

    /// Takes a member out of a room; does nothing when it is not in it, or when the room is its own.
    pub(super) fn leave(&mut self, slot: u32, room: &str) {
        let Some(&number) = self.names.get(room) else { return };
        let Some(Some(entry)) = self.slots.get_mut(slot as usize) else {
            return;
        };
        if let Some(place) = entry.rooms.iter().position(|membership| membership.room == number) {
            let membership = entry.rooms.swap_remove(place);
            self.vacate(membership);
        }
    }

    /// The rooms of a member, its own id first.
    pub(super) fn rooms_of(&self, slot: u32) -> Vec<Room> {
        let Some(Some(entry)) = self.slots.get(slot as usize) else {
            return Vec::new();
        };
        let named = entry.rooms.iter().filter_map(|membership| self.rooms.get(membership.room as usize));
        std::iter::once(entry.id.clone())
            .chain(named.map(|members| members.name.clone()))
            .collect()
    }

    /// Calls `visit` once for each member in any of `rooms` (each member at all when there is none) that is in none of `except`.
    pub(super) fn select(&mut self, rooms: &[Room], except: &[Room], mut visit: impl FnMut(u32, &T)) {
        if except.is_empty() && rooms.len() < 2 {
            match rooms.first() {
                None => self.everybody().for_each(|(slot, member)| visit(slot, member)),
                Some(room) => self.room(room).for_each(|(slot, member)| visit(slot, member)),
            }
            return;
        }
        let mut marks = std::mem::take(&mut self.marks);
        marks.clear();
        marks.resize(self.slots.len().div_ceil(64), 0);
        for room in except {
            self.room(room).for_each(|(slot, _)| {
                mark(&mut marks, slot);
            });
        }
        if rooms.is_empty() {
            self.everybody()
                .filter(|&(slot, _)| mark(&mut marks, slot))
                .for_each(|(slot, member)| visit(slot, member));
        }
        for room in rooms {
            for (slot, member) in self.room(room) {
                if mark(&mut marks, slot) {
                    visit(slot, member);
                }
            }
        }
        self.marks = marks;
    }

    /// The rooms that have members, and how many; own ids are not among them.
    pub(super) fn rooms(&self) -> impl Iterator<Item = (&Room, usize)> {
        let numbered = self.names.iter();
        numbered.filter_map(|(name, &number)| Some((name, self.rooms.get(number as usize)?.slots.len())))
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether any of `rooms` has a member; of none, whether there is any member.
    pub(super) fn has_any(&self, rooms: &[Room]) -> bool {
        if rooms.is_empty() {
            return !self.ids.is_empty();
        }
        rooms
            .iter()
            .any(|room| self.names.contains_key(room) || self.ids.contains_key(room))
    }

    /// How many rooms have a member, own ids not counted.
    #[cfg(test)]
    pub(super) fn room_count(&self) -> usize {
        self.names.len()
    }

    fn everybody(&self) -> impl Iterator<Item = (u32, &T)> {
        let entries = self.slots.iter().enumerate();
        entries.filter_map(|(slot, entry)| Some((index(slot), &entry.as_ref()?.member)))
    }

    /// The members of a room; whose own room it is comes last, and cannot have joined it, so that nobody comes twice.
    fn room(&self, name: &str) -> impl Iterator<Item = (u32, &T)> {
        let members = self.names.get(name).and_then(|&number| self.rooms.get(number as usize));
        let joined = members.map_or(&[][..], |members| members.slots.as_slice());
        let slots = joined.iter().chain(self.ids.get(name)).copied();
        slots.filter_map(|slot| Some((slot, &self.slots.get(slot as usize)?.as_ref()?.member)))
    }

    /// Makes a room; gives its number.
    fn intern(&mut self, room: &Room) -> u32 {
        let members = Members {
            name: room.clone(),
            slots: Vec::new(),
        };
        let number = match self.free_rooms.pop() {
            Some(number) => {
                if let Some(place) = self.rooms.get_mut(number as usize) {
                    *place = members;
                }
                number
            }
            None => {
                self.rooms.push(members);
                index(self.rooms.len() - 1)
            }
        };
        self.names.insert(room.clone(), number);
        if let Some(interest) = &self.interest {
            interest.wanted(room);
        }
        number
    }

    /// Removes one place from a room's list; the last of the list moves there and is told. An empty room is forgotten.
    fn vacate(&mut self, Membership { room, at }: Membership) {
        let Some(members) = self.rooms.get_mut(room as usize) else { return };
        members.slots.swap_remove(at as usize);
        if let Some(&moved) = members.slots.get(at as usize) {
            let entry = self.slots.get_mut(moved as usize).and_then(Option::as_mut);
            if let Some(membership) = entry.and_then(|entry| entry.rooms.iter_mut().find(|membership| membership.room == room)) {
                membership.at = at;
            }
        } else if members.slots.is_empty() {
            members.slots = Vec::new();
            self.names.remove(&members.name);
            if let Some(interest) = &self.interest {
                interest.unwanted(&members.name);
            }
            self.free_rooms.push(room);
        }
    }
}

/// Sets the bit of a slot; says whether it was not set before.
fn mark(marks: &mut [u64], slot: u32) -> bool {
    let Some(word) = marks.get_mut(slot as usize / 64) else {
        return false;
    };
    let bit = 1 << (slot % 64);
    let fresh = *word & bit == 0;
    *word |= bit;
    fresh
}

/// A position in a list of members or rooms; sockets and rooms of a node are far fewer than 2^32.
fn index(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Insert,
        Remove(usize),
        Join(usize, u8),
        Leave(usize, u8),
        Select(Vec<u8>, Vec<u8>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let room = 0_u8..12;
        prop_oneof![
            3 => Just(Step::Insert),
            1 => (0_usize..64).prop_map(Step::Remove),
            6 => ((0_usize..64), room.clone()).prop_map(|(who, room)| Step::Join(who, room)),
            2 => ((0_usize..64), room.clone()).prop_map(|(who, room)| Step::Leave(who, room)),
            4 => (prop::collection::vec(room.clone(), 0..4), prop::collection::vec(room, 0..3)).prop_map(|(rooms, except)| Step::Select(rooms, except)),
        ]
    }

    /// Names 0 to 7 are rooms, the others the ids of the first members, so that own rooms and joins to another's id are met as well.
    fn name(room: u8) -> Room {
        if room < 8 {
            format!("room{room}").into()
        } else {
            id(u32::from(room) - 8)
        }
    }

    fn id(number: u32) -> Room {
        format!("id{number}").into()
    }

    /// Rooms that a member may be in, fewer than there are.
    const MOST: usize = 3;

    proptest! {
        /// The index agrees with a map from members to sets of names, whatever is done to it.
        #[test]
        fn selects_what_a_naive_model_selects(steps in prop::collection::vec(step(), 1..120)) {
            let mut shard = Shard::default();
            let mut model: BTreeMap<u32, (u32, BTreeSet<Room>)> = BTreeMap::new();
            let mut born = 0;
            for step in steps {
                let chosen = |who: usize| model.iter().nth(who % model.len().max(1)).map(|(&number, &(slot, _))| (number, slot));
                match step {
                    Step::Insert => {
                        let slot = shard.insert(id(born), born);
                        model.insert(born, (slot, BTreeSet::from([id(born)])));
                        born += 1;
                    }
                    Step::Remove(who) => if let Some((number, slot)) = chosen(who) {
                        prop_assert_eq!(shard.remove(slot), Some(number));
                        model.remove(&number);
                    },
                    Step::Join(who, room) => if let Some((number, slot)) = chosen(who) {
                        let set = &mut model.get_mut(&number).unwrap().1;
                        // Its own is one of the set.
                        let fits = set.contains(&name(room)) || set.len() <= MOST;
                        prop_assert_eq!(shard.join(slot, &name(room), MOST), fits);
                        if fits {
                            set.insert(name(room));
                        }
                    },
                    Step::Leave(who, room) => if let Some((number, slot)) = chosen(who) {
                        shard.leave(slot, &name(room));
                        if name(room) != id(number) {
                            model.get_mut(&number).unwrap().1.remove(&name(room));
                        }
                    },
                    Step::Select(rooms, except) => {
                        let rooms: Vec<Room> = rooms.into_iter().map(name).collect();
                        let except: Vec<Room> = except.into_iter().map(name).collect();
                        let mut seen = Vec::new();
                        shard.select(&rooms, &except, |_, &number| seen.push(number));
                        seen.sort_unstable();
                        let meant = |set: &BTreeSet<Room>| (rooms.is_empty() || rooms.iter().any(|room| set.contains(room)))
                            && !except.iter().any(|room| set.contains(room));
                        let expected: Vec<u32> = model.iter().filter(|(_, (_, set))| meant(set)).map(|(&number, _)| number).collect();
                        prop_assert_eq!(seen, expected);
                        let occupied = model.values().any(|(_, set)| rooms.is_empty() || rooms.iter().any(|room| set.contains(room)));
                        prop_assert_eq!(shard.has_any(&rooms), occupied);
                    }
                }
                for (slot, set) in model.values() {
                    prop_assert_eq!(&shard.rooms_of(*slot).into_iter().collect::<BTreeSet<_>>(), set);
                }
            }
            for (slot, _) in model.values() {
                shard.remove(*slot);
            }
            prop_assert_eq!(shard.room_count(), 0);
        }
    }
}
