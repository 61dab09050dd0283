//! The messages under way of a closed loop.
//!
//! So many places, each of which holds one message at a time. A message is done when every living receiver of its room has had it; then
//! the next publisher in turn gets the place. Receivers count in shards, one for each thread that they live on, so that they do not wait
//! for each other: a shard tells the place once, when the last of its own has the message. What is not done in time is given up, so nothing can hold a place for ever.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicU32, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use tokio::sync::mpsc;

use super::{Message, Tally};
use crate::threads;

/// Bits of a place's state that count shards; the others are the message's number.
const SHARD_BITS: u32 = 8;
/// So many may be counted.
const SHARDS: usize = 255;

/// The places of a run.
#[derive(Debug)]
pub(crate) struct Flight {
    places: Vec<Place>,
    shards: Vec<Mutex<Shard>>,
    /// By room: how many shards have receivers with a session.
    living: Vec<AtomicU32>,
    /// By publisher: the places that it is to fill. There is room for all of them.
    turns: Vec<mpsc::Sender<usize>>,
    /// Places whose publisher had no session. They are dealt again a little later, not at once: there may be nobody who has one.
    returned: Mutex<Vec<usize>>,
    /// The number of the last message.
    emitted: AtomicU64,
    retired: AtomicUsize,
    given_up: AtomicU64,
    last_done: AtomicU64,
    until: Duration,
    patience: Duration,
}

/// Holds one message at a time.
#[derive(Debug, Default)]
struct Place {
    /// The number of its message, and how many shards have not told yet that all their receivers have it.
    state: AtomicU64,
    room: AtomicUsize,
    /// Microseconds since the beginning of the run.
    emitted: AtomicU64,
    /// How often it was given to a publisher.
    turn: AtomicUsize,
}

/// What some of the receivers still await.
#[derive(Debug, Default)]
struct Shard {
    /// By place.
    awaited: Vec<Awaited>,
    /// By room: receivers with a session, by the number of the last message that was emitted before it began.
    receivers: Vec<BTreeMap<u64, u32>>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Awaited {
    number: u64,
    publisher: usize,
    sequence: u64,
    /// Receivers that have not had it.
    left: u32,
}

/// A shard in use.
#[derive(Debug)]
pub(crate) struct Counting<'a> {
    flight: &'a Flight,
    shard: MutexGuard<'a, Shard>,
}

impl Flight {
    /// `places` messages under way for `until`, of so many publishers, dealt to so many rooms; and each publisher's turns.
    pub(crate) fn new(
        places: usize,
        publishers: usize,
        rooms: usize,
        until: Duration,
        patience: Duration,
    ) -> (Self, Vec<mpsc::Receiver<usize>>) {
        let (turns, receivers) = (0..publishers).map(|_| mpsc::channel(places)).unzip();
        let shard = || Shard {
            awaited: vec![Awaited::default(); places],
            receivers: vec![BTreeMap::new(); rooms],
        };
        let flight = Self {
            places: (0..places).map(|_| Place::default()).collect(),
            shards: (0..threads::count().min(SHARDS)).map(|_| Mutex::new(shard())).collect(),
            living: (0..rooms).map(|_| AtomicU32::new(0)).collect(),
            turns,
            returned: Mutex::default(),
            emitted: AtomicU64::new(0),
            retired: AtomicUsize::new(0),
            given_up: AtomicU64::new(0),
            last_done: AtomicU64::new(0),
            until,
            patience,
        };
        (flight, receivers)
    }

    /// Has every place filled for the first time.
    pub(crate) fn begin(&self) {
        (0..self.places.len()).for_each(|place| self.deal(place, Duration::ZERO));
    }

    /// Fills a place with the message `sequence` of `publisher`; nothing when the time is over.
    pub(crate) fn emit(&self, place: usize, publisher: usize, sequence: u64, now: Duration) -> Option<Message> {
        let filled = self.places.get(place)?;
        if now >= self.until {
            self.retired.fetch_add(1, AcqRel);
            return None;
        }
        let room = publisher % self.living.len();
        let number = self.emitted.fetch_add(1, AcqRel) + 1;
        // Without any receiver it waits until it is given up: a loop that nothing holds would never pause.
        let shards = self.living.get(room).map_or(0, |living| living.load(Acquire)).max(1);
        filled.room.store(room, Relaxed);
        filled.emitted.store(micros(now), Relaxed);
        filled.state.store(number << SHARD_BITS | u64::from(shards), Release);
        Some(Message {
            publisher,
            sequence,
            due: now,
            place,
            number,
        })
    }

    /// Takes a place back that its publisher cannot fill.
    pub(crate) fn put_back(&self, place: usize) {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    }

    /// The shard of the receiver of that number.
    pub(crate) fn count(&self, receiver: usize) -> Option<Counting<'_>> {
        let shard = self.shards.get(receiver % self.shards.len())?;
        Some(Counting {
            flight: self,
            shard: shard.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    /// Gives up what has taken too long, and deals out what came back; whether all is over. To be called now and then.
    pub(crate) fn look_after(&self, now: Duration) -> bool {
        let returned = std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner));
        for place in returned {
            self.deal(place, now);
        }
        for (number, place) in self.places.iter().enumerate() {
            let state = place.state.load(Acquire);
            let late = now.saturating_sub(Duration::from_micros(place.emitted.load(Relaxed))) > self.patience;
            let given_up = state & !mask();
            if late && state != given_up && place.state.compare_exchange(state, given_up, AcqRel, Relaxed).is_ok() {
                self.given_up.fetch_add(1, Relaxed);
                self.deal(number, now);
            }
        }
        // A publisher that does not write any more may sit on a place.
        self.retired.load(Acquire) >= self.places.len() || now > self.until + 2 * self.patience
    }

    /// How many messages were given up.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up.load(Relaxed)
    }

    /// When the last message was done.
    pub(crate) fn last_done(&self) -> Duration {
        Duration::from_micros(self.last_done.load(Relaxed))
    }

    /// Gives a place to the publisher whose turn it is: each place goes round all of them, in steps of the number of places.
    fn deal(&self, number: usize, now: Duration) {
        let Some(place) = self.places.get(number) else { return };
        if now >= self.until {
            self.retired.fetch_add(1, AcqRel);
            return;
        }
        let turn = place.turn.fetch_add(1, Relaxed);
        let publisher = number.wrapping_add(turn.wrapping_mul(self.places.len())) % self.turns.len();
        if self.turns.get(publisher).is_none_or(|turns| turns.try_send(number).is_err()) {
            self.put_back(number);
        }
    }

    /// A shard's receivers have all had the message of that number.
    fn told(&self, number: usize, message: u64, now: Duration) {
        let Some(place) = self.places.get(number) else { return };
        let told = place.state.fetch_update(AcqRel, Acquire, |state| {
            (state >> SHARD_BITS == message && state & mask() > 0).then(|| state - 1)
        });
        if told.is_ok_and(|before| before & mask() == 1) {
            self.last_done.fetch_max(micros(now), Relaxed);
            self.deal(number, now);
        }
    }
}

impl Counting<'_> {
    /// A receiver has a session in that room; what [`Counting::delivered`] and [`Counting::ended`] must be told of it.
    pub(crate) fn began(&mut self, room: usize) -> u64 {
        let since = self.flight.emitted.load(Acquire);
        if let (Some(receivers), Some(living)) = (self.shard.receivers.get_mut(room), self.flight.living.get(room)) {
            if receivers.is_empty() {
                living.fetch_add(1, AcqRel);
            }
            *receivers.entry(since).or_default() += 1;
        }
        since
    }

    /// A receiver has had a message for the first time.
    pub(crate) fn delivered(&mut self, message: &Message, since: u64, now: Duration) {
        let Shard { awaited, receivers } = &mut *self.shard;
        let room = message.publisher % self.flight.living.len();
        let (Some(awaited), Some(receivers)) = (awaited.get_mut(message.place), receivers.get(room)) else {
            return;
        };
        if awaited.number < message.number {
            *awaited = Awaited {
                number: message.number,
                publisher: message.publisher,
                sequence: message.sequence,
                left: receivers.range(..message.number).map(|(_, count)| count).sum(),
            };
        }
        // A message that was given up may still come; and who came back later is not awaited.
        if awaited.number == message.number && since < message.number && awaited.left > 0 {
            awaited.left -= 1;
            if awaited.left == 0 {
                self.flight.told(message.place, message.number, now);
            }
        }
    }

    /// The session of a receiver has ended: nobody waits for what it has not had.
    pub(crate) fn ended(&mut self, room: usize, since: u64, has: impl Fn(usize, u64) -> bool, now: Duration) {
        let Shard { awaited, receivers } = &mut *self.shard;
        let Some(receivers) = receivers.get_mut(room) else { return };
        if let Some(count) = receivers.get_mut(&since) {
            *count -= 1;
            if *count == 0 {
                receivers.remove(&since);
            }
        }
        if receivers.is_empty()
            && let Some(living) = self.flight.living.get(room)
        {
            living.fetch_sub(1, AcqRel);
        }
        for (number, (awaited, place)) in awaited.iter_mut().zip(&self.flight.places).enumerate() {
            let message = place.state.load(Acquire) >> SHARD_BITS;
            if place.room.load(Relaxed) != room || message == 0 {
                continue;
            }
            if awaited.number == message && awaited.left > 0 && since < message && !has(awaited.publisher, awaited.sequence) {
                awaited.left -= 1;
            } else if awaited.number < message && receivers.is_empty() {
                // No delivery will tell of this one here any more.
                awaited.number = message;
                awaited.left = 0;
            } else {
                continue;
            }
            if awaited.left == 0 {
                self.flight.told(number, message, now);
            }
        }
    }
}

impl Flight {
    /// For [`Counting::ended`]: what a tally has, when its publishers are those of one room.
    pub(crate) fn has<'a>(&self, tally: &'a Tally) -> impl Fn(usize, u64) -> bool + use<'a> {
        let rooms = self.living.len();
        move |publisher, sequence| tally.has(publisher / rooms, sequence)
    }
}

fn mask() -> u64 {
    (1 << SHARD_BITS) - 1
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A flight and what its publishers see of it.
    struct Bench {
        flight: Flight,
        turns: Vec<mpsc::Receiver<usize>>,
        sequences: Vec<u64>,
    }

    impl Bench {
        fn new(places: usize, publishers: usize, rooms: usize) -> Self {
            let (flight, turns) = Flight::new(places, publishers, rooms, 1000 * MS, 100 * MS);
            Self {
                flight,
                turns,
                sequences: vec![0; publishers],
            }
        }

        /// Every publisher fills the places that it was given.
        fn publish(&mut self, now: Duration) -> Vec<Message> {
            let mut messages = Vec::new();
            for (publisher, turns) in self.turns.iter_mut().enumerate() {
                while let Ok(place) = turns.try_recv() {
                    self.sequences[publisher] += 1;
                    messages.extend(self.flight.emit(place, publisher, self.sequences[publisher], now));
                }
            }
            messages
        }

        fn begin(&self, receiver: usize, room: usize) -> u64 {
            self.flight.count(receiver).unwrap().began(room)
        }

        fn deliver(&self, receiver: usize, message: &Message, since: u64) {
            self.flight.count(receiver).unwrap().delivered(message, since, MS);
        }

        fn end(&self, receiver: usize, room: usize, since: u64, has: bool) {
            self.flight.count(receiver).unwrap().ended(room, since, |_, _| has, MS);
        }
    }

    #[test]
    fn the_next_message_leaves_when_every_receiver_has_the_last_one() {
        let mut bench = Bench::new(2, 1, 1);
        (0..20).for_each(|receiver| assert_eq!(bench.begin(receiver, 0), 0));
        bench.flight.begin();
        let first = bench.publish(MS);
        assert_eq!(
            first.iter().map(|message| (message.place, message.number)).collect::<Vec<_>>(),
            [(0, 1), (1, 2)]
        );
        for receiver in 0..19 {
            bench.deliver(receiver, &first[1], 0);
        }
        assert!(bench.publish(MS).is_empty());
        bench.deliver(19, &first[1], 0);
        let next = bench.publish(MS);
        assert_eq!(
            next.iter().map(|message| (message.place, message.number)).collect::<Vec<_>>(),
            [(1, 3)]
        );
    }

    #[test]
    fn places_go_round_all_publishers() {
        let mut bench = Bench::new(3, 4, 2);
        (0..2).for_each(|receiver| assert_eq!(bench.begin(receiver, receiver), 0));
        bench.flight.begin();
        let mut publishers = Vec::new();
        for _ in 0..4 {
            for message in bench.publish(MS) {
                publishers.push(message.publisher);
                bench.deliver(message.publisher % 2, &message, 0);
            }
        }
        publishers.sort_unstable();
        assert_eq!(publishers, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
    }

    #[test]
    fn nobody_waits_for_a_receiver_whose_session_ended() {
        // It was the last one to have it, in its shard or of a shard whose others have it; or it had it before.
        let shards = threads::count();
        for (others, had) in [([0, 1], false), ([0, shards], false), ([0, shards], true)] {
            let mut bench = Bench::new(1, 1, 1);
            for receiver in others.iter().chain(&[2 * shards]) {
                assert_eq!(bench.begin(*receiver, 0), 0);
            }
            bench.flight.begin();
            let message = bench.publish(MS)[0];
            bench.deliver(others[0], &message, 0);
            if had {
                bench.deliver(2 * shards, &message, 0);
            }
            bench.end(2 * shards, 0, 0, had);
            assert!(bench.publish(MS).is_empty());
            bench.deliver(others[1], &message, 0);
            assert_eq!(bench.publish(MS).len(), 1, "{others:?} {had}");
        }
        // Its shard had heard nothing yet.
        let mut bench = Bench::new(1, 1, 1);
        (0..2).for_each(|receiver| assert_eq!(bench.begin(receiver, 0), 0));
        bench.flight.begin();
        let message = bench.publish(MS)[0];
        bench.deliver(0, &message, 0);
        bench.end(1, 0, 0, false);
        assert_eq!(bench.publish(MS).len(), 1);
    }

    #[test]
    fn who_comes_back_is_awaited_for_what_is_emitted_from_then_on() {
        let mut bench = Bench::new(1, 1, 1);
        (0..2).for_each(|receiver| assert_eq!(bench.begin(threads::count() * receiver, 0), 0));
        bench.flight.begin();
        let message = bench.publish(MS)[0];
        bench.end(threads::count(), 0, 0, false);
        let since = bench.begin(threads::count(), 0);
        // It may get it all the same.
        bench.deliver(threads::count(), &message, since);
        assert!(bench.publish(MS).is_empty());
        bench.deliver(0, &message, 0);
        let message = bench.publish(MS)[0];
        bench.deliver(0, &message, 0);
        assert!(bench.publish(MS).is_empty());
        bench.deliver(threads::count(), &message, since);
        assert_eq!(bench.publish(MS).len(), 1);
    }

    #[test]
    fn what_is_not_done_in_time_is_given_up_and_may_still_come() {
        let mut bench = Bench::new(1, 1, 1);
        (0..2).for_each(|receiver| assert_eq!(bench.begin(receiver, 0), 0));
        bench.flight.begin();
        let lost = bench.publish(MS)[0];
        assert!(!bench.flight.look_after(101 * MS));
        assert!(bench.publish(101 * MS).is_empty());
        assert!(!bench.flight.look_after(102 * MS));
        let next = bench.publish(102 * MS);
        assert_eq!((next.len(), bench.flight.given_up()), (1, 1));
        (0..2).for_each(|receiver| bench.deliver(receiver, &lost, 0));
        assert!(bench.publish(MS).is_empty());
        (0..2).for_each(|receiver| bench.deliver(receiver, &next[0], 0));
        assert_eq!(bench.publish(MS).len(), 1);
    }

    #[test]
    fn without_receivers_or_publishers_the_loop_pauses_and_it_is_over_in_the_end() {
        let mut bench = Bench::new(3, 2, 1);
        bench.flight.begin();
        assert_eq!(bench.publish(MS).len(), 3);
        assert!(!bench.flight.look_after(50 * MS));
        assert!(bench.publish(50 * MS).is_empty());
        assert!(!bench.flight.look_after(102 * MS));
        // One publisher has no session, the other is gone.
        bench.turns[1].close();
        for turns in &mut bench.turns {
            while let Ok(place) = turns.try_recv() {
                bench.flight.put_back(place);
            }
        }
        assert!(!bench.flight.look_after(103 * MS));
        assert!(bench.publish(1000 * MS).is_empty());
        assert!(bench.flight.look_after(1000 * MS));
    }

    #[test]
    fn a_publisher_that_sits_on_its_place_does_not_hold_the_end() {
        let bench = Bench::new(1, 1, 1);
        bench.flight.begin();
        assert!(!bench.flight.look_after(1200 * MS));
        assert!(bench.flight.look_after(1201 * MS));
    }
}
