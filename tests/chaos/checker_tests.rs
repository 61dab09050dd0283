//! A history with one thing wrong fails, whatever else is in it.

use proptest::prelude::*;

use super::*;
use crate::chaos::random::Random;

/// Three nodes that live from the start, each with a witness; one listener in each room.
const NODES: u32 = 3;

fn witness(at: u32) -> Client {
    Client(at)
}

fn speaker(at: u32) -> Client {
    Client(10 + at)
}

fn listener(room: u8) -> Client {
    Client(20 + u32::from(room))
}

fn connected(client: Client, at: u32, role: Role, rooms: &[u8]) -> Entry {
    Entry::Connected {
        client,
        at: Life(at),
        role,
        rooms: rooms.to_vec(),
    }
}

/// A history as a good cluster makes it: some events are lost on the way to some nodes, some nodes are killed and others come, and whatever
/// is missing is counted.
struct World {
    random: Random,
    history: Vec<Entry>,
    living: Vec<u32>,
    begun: u32,
    sent: BTreeMap<u32, u64>,
    holes: BTreeMap<u32, u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            random: Random::new(seed),
            history: Vec::new(),
            living: Vec::new(),
            begun: 0,
            sent: BTreeMap::new(),
            holes: BTreeMap::new(),
        };
        for _ in 0..NODES {
            world.begin();
        }
        for room in 0..3 {
            world.history.push(connected(listener(room), 0, Role::Listener, &[room]));
        }
        world.settle();
        world
    }

    fn begin(&mut self) {
        let at = self.begun;
        self.begun += 1;
        self.history.push(connected(speaker(at), at, Role::Speaker, &[]));
        self.history.push(connected(witness(at), at, Role::Witness, &[0, 1, 2]));
        self.living.push(at);
        self.sent.insert(at, 0);
        self.holes.insert(at, 0);
    }

    /// Sends an event; it reaches each other node unless `lost` says that it does not, which is counted.
    fn send(&mut self, from: u32, audience: Audience, mut lost: impl FnMut(&mut Random) -> bool) {
        let number = self.sent[&from];
        self.sent.insert(from, number + 1);
        let event = Event {
            from: Life(from),
            number,
            audience,
        };
        self.history.push(Entry::Sent(event));
        for at in self.living.clone() {
            if at != from && lost(&mut self.random) {
                *self.holes.get_mut(&at).unwrap() += 1;
                continue;
            }
            let client = witness(at);
            self.history.push(Entry::Got { client, event });
            if at == 0 {
                let others = (0..3).filter(|room| audience == Audience::Everyone || audience == Audience::Room(*room));
                let others = others.map(|room| Entry::Got {
                    client: listener(room),
                    event,
                });
                self.history.extend(others);
            }
        }
    }

    fn settle(&mut self) {
        for from in self.living.clone() {
            for audience in Audience::ALL {
                self.send(from, audience, |_| false);
            }
            self.history.push(Entry::Dealt {
                from: Life(from),
                count: self.sent[&from],
            });
        }
        let holes = self.living.iter().map(|at| (Life(*at), self.holes[at])).collect();
        self.history.push(Entry::Settled { holes });
    }

    fn round(&mut self) {
        for _ in 0..self.random.of(1..40) {
            let from = self.random.pick(&self.living.clone());
            let audience = self.random.pick(&Audience::ALL);
            self.send(from, audience, |random| random.one_in(3));
        }
        // The first listener's node stays, so that it hears everything that this node does.
        if self.random.one_in(3) {
            let place = 1 + self.random.below(self.living.len() - 1);
            let killed = self.living[place];
            for audience in Audience::ALL {
                self.send(killed, audience, |_| false);
            }
            let tail = self.random.of(0..3);
            let living = self.living.clone();
            for _ in 0..tail {
                let audience = self.random.pick(&Audience::ALL);
                self.send(killed, audience, |_| true);
                // Nobody can know of it.
                for at in living.iter().filter(|at| **at != killed) {
                    *self.holes.get_mut(at).unwrap() -= 1;
                }
            }
            self.history.push(Entry::Killed(Life(killed)));
            self.living.remove(place);
            self.begin();
        }
        self.settle();
    }
}

fn clean(seed: u64, rounds: usize) -> Vec<Entry> {
    let mut world = World::new(seed);
    (0..rounds).for_each(|_| world.round());
    world.history
}

/// The places of the deliveries for which `wanted` holds.
fn places(history: &[Entry], wanted: impl Fn(Client, Event) -> bool) -> Vec<usize> {
    let is_wanted = |entry: &Entry| matches!(entry, Entry::Got { client, event } if wanted(*client, *event));
    (0..history.len()).filter(|place| is_wanted(&history[*place])).collect()
}

/// Deliveries to witnesses of nodes that are not the event's own and are not killed in that round, nor new in it.
fn comparable(history: &[Entry]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    let (mut round, mut killed) = (Vec::new(), BTreeSet::new());
    for (place, entry) in history.iter().enumerate() {
        match entry {
            Entry::Got { client, event } if client.0 < 10 && Life(client.0) != event.from => {
                round.push((place, Life(client.0), event.from));
            }
            Entry::Killed(life) => drop(killed.insert(*life)),
            Entry::Settled { holes } => {
                let lived = |life: &Life| known.contains(life) && !killed.contains(life);
                found.extend(
                    round
                        .drain(..)
                        .filter(|(_, at, from)| lived(at) && lived(from))
                        .map(|(place, ..)| place),
                );
                known = holes.keys().copied().collect();
                killed.clear();
            }
            _ => {}
        }
    }
    found
}

#[test]
fn what_nobody_heard_of_a_killed_node_is_not_held_against_those_who_live() {
    let mut world = World::new(1);
    world.send(2, Audience::Everyone, |_| false);
    world.send(2, Audience::Everyone, |_| true);
    world.send(2, Audience::Everyone, |_| false);
    world.send(2, Audience::Everyone, |_| true);
    for at in [0, 1] {
        *world.holes.get_mut(&at).unwrap() -= 1;
    }
    world.history.push(Entry::Killed(Life(2)));
    world.living.pop();
    world.settle();
    let figures = Checker::check(&world.history).unwrap();
    assert_eq!(
        (figures.missing, figures.counted, figures.unknown),
        (2, 2, 0),
        "its own witness heard the last"
    );
}

#[test]
fn what_a_node_owes_its_own_clients_is_not_excused() {
    let mut history = clean(3, 2);
    let own = places(&history, |client, event| client.0 < 10 && client.0 == event.from.0);
    history.remove(own[own.len() / 2]);
    let wrong = Checker::check(&history).unwrap_err();
    assert!(matches!(wrong, Wrong::Withheld { .. } | Wrong::Malformed(_)), "{wrong}");
}

proptest! {
    #[test]
    fn a_clean_history_passes(seed: u64, rounds in 1_usize..6) {
        let figures = Checker::check(&clean(seed, rounds)).unwrap();
        prop_assert_eq!(figures.missing, figures.counted);
        prop_assert_eq!(figures.settlings, rounds as u64 + 1);
    }

    #[test]
    fn one_planted_loss_fails(seed: u64, rounds in 1_usize..6, which: prop::sample::Index) {
        let mut history = clean(seed, rounds);
        let places = comparable(&history);
        history.remove(places[which.index(places.len())]);
        let wrong = Checker::check(&history).unwrap_err();
        // The last of an audience that is missing is no settling.
        let told = matches!(wrong, Wrong::Miscounted { .. }) || matches!(&wrong, Wrong::Malformed(why) if why.contains("the last of"));
        prop_assert!(told, "{}", wrong);
    }

    #[test]
    fn one_hole_too_many_or_too_few_fails(seed: u64, rounds in 1_usize..6, which: prop::sample::Index, more: bool) {
        let mut history = clean(seed, rounds);
        let mut known: BTreeSet<Life> = BTreeSet::new();
        let mut counts = Vec::new();
        for (place, entry) in history.iter().enumerate() {
            let Entry::Settled { holes } = entry else { continue };
            counts.extend(holes.keys().filter(|life| known.contains(life)).map(|life| (place, *life)));
            known = holes.keys().copied().collect();
        }
        let (place, life) = counts[which.index(counts.len())];
        let Entry::Settled { holes } = &mut history[place] else { unreachable!() };
        let count = holes.get_mut(&life).unwrap();
        *count = if more { *count + 1 } else { count.wrapping_sub(1) };
        let wrong = Checker::check(&history).unwrap_err();
        prop_assert!(matches!(wrong, Wrong::Miscounted { .. }), "{}", wrong);
    }

    #[test]
    fn one_planted_repetition_fails(seed: u64, rounds in 1_usize..6, which: prop::sample::Index, later in 0_usize..50) {
        let mut history = clean(seed, rounds);
        let places = places(&history, |_, _| true);
        let place = places[which.index(places.len())];
        let (repeated, at) = (history[place].clone(), (place + 1 + later).min(history.len()));
        history.insert(at, repeated);
        let wrong = Checker::check(&history).unwrap_err();
        // One that comes after a settling is only known to be old.
        prop_assert!(matches!(wrong, Wrong::Repeated(..) | Wrong::Disordered { .. }), "{}", wrong);
    }

    #[test]
    fn one_planted_swap_fails(seed: u64, rounds in 1_usize..6, which: prop::sample::Index) {
        let mut history = clean(seed, rounds);
        let all = places(&history, |_, _| true);
        let first = all[which.index(all.len())];
        let Entry::Got { client, event } = history[first] else { unreachable!() };
        let of_the_same = places(&history, |other, of| other == client && of.from == event.from);
        let settlings: Vec<usize> = (0..history.len()).filter(|place| matches!(history[*place], Entry::Settled { .. })).collect();
        let of_the_round = |place: usize| settlings.iter().filter(|settled| **settled < place).count();
        let second = of_the_same.into_iter().find(|place| *place > first && of_the_round(*place) == of_the_round(first));
        prop_assume!(second.is_some());
        // The later one arrives in the earlier one's place, after it was sent: so the earlier one is put off.
        let earlier = history.remove(first);
        history.insert(second.unwrap(), earlier);
        let wrong = Checker::check(&history).unwrap_err();
        prop_assert!(matches!(wrong, Wrong::Disordered { .. }), "{}", wrong);
    }

    #[test]
    fn one_planted_leak_fails(seed: u64, rounds in 1_usize..6, which: prop::sample::Index, to in 0_u8..3, a_speaker: bool) {
        let mut history = clean(seed, rounds);
        let of_others = |audience| matches!(audience, Audience::Room(room) if a_speaker || room != to);
        let places = places(&history, |client, event| client.0 < 10 && client.0 == event.from.0 && of_others(event.audience));
        let place = places[which.index(places.len())];
        let Entry::Got { event, .. } = history[place] else { unreachable!() };
        let client = if a_speaker { speaker(u32::from(to)) } else { listener(to) };
        history.insert(place, Entry::Got { client, event });
        let wrong = Checker::check(&history).unwrap_err();
        prop_assert_eq!(wrong, Wrong::Leaked(client, event));
    }
}
