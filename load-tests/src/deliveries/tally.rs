//! Counts lost, missed, repeated and overtaken messages of one receiver.
//!
//! A receiver has one session after the other. Of each publisher's messages, numbered from 1, each one ends as received, lost or missed.
//! One that never came is judged by the first session that got beyond it: if that session was alive when it was published, it is lost,
//! else it is missed. A session is known to be alive from what was published after its CONNECT answer on, or from the first message that
//! it got, whichever is earlier; and to its last message, or to the end if it lives until then.

use std::{
    collections::BTreeMap,
    ops::{AddAssign, RangeInclusive},
};

/// What one receiver saw of all publishers.
#[derive(Debug)]
pub(crate) struct Tally {
    streams: Vec<Stream>,
    /// How many messages each publisher sends at the most.
    limit: u64,
    counts: Counts,
}

/// Messages by what became of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// First deliveries, in order or not.
    pub(crate) received: u64,
    /// Deliveries of a message that had been delivered before.
    pub(crate) duplicate: u64,
    /// First deliveries that came after one with a higher number.
    pub(crate) out_of_order: u64,
    /// Messages that a living session should have had, and had not.
    pub(crate) lost: u64,
    /// Those of them behind which nothing came: they may have been late.
    pub(crate) lost_at_end: u64,
    /// Messages that did not come because there was no session.
    pub(crate) missed: u64,
}

/// One publisher's messages at one receiver.
#[derive(Debug, Default)]
struct Stream {
    /// The highest number seen.
    highest: u64,
    /// From this number on the present session should have all.
    owed: u64,
    /// Numbers below the highest that were not seen, by the first of each run.
    gaps: BTreeMap<u64, Gap>,
}

/// Numbers that follow each other and were not seen.
#[derive(Debug, Clone, Copy)]
struct Gap {
    /// The first number behind it.
    end: u64,
    /// Whether no session was alive when they were published.
    missed: bool,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self {
            received,
            duplicate,
            out_of_order,
            lost,
            lost_at_end,
            missed,
        } = other;
        self.received += received;
        self.duplicate += duplicate;
        self.out_of_order += out_of_order;
        self.lost += lost;
        self.lost_at_end += lost_at_end;
        self.missed += missed;
    }
}

impl Tally {
    /// Of so many publishers, each of which sends `limit` messages at the most, and a session that has begun before the first.
    pub(crate) fn new(publishers: usize, limit: u64) -> Self {
        Self {
            streams: (0..publishers).map(|_| Stream::default()).collect(),
            limit,
            counts: Counts::default(),
        }
    }

    /// A new session has begun; `owed` says from which message of a publisher on it should have all.
    pub(crate) fn begin_session(&mut self, owed: impl Fn(usize) -> u64) {
        for (publisher, stream) in self.streams.iter_mut().enumerate() {
            stream.owed = owed(publisher);
        }
    }

    /// Counts a delivery of message `sequence` (from 1) of `publisher`; whether it is the first. Of a publisher or a number that is not
    /// of this run it counts nothing.
    pub(crate) fn deliver(&mut self, publisher: usize, sequence: u64) -> bool {
        let Some(stream) = self.streams.get_mut(publisher).filter(|_| (1..=self.limit).contains(&sequence)) else {
            return false;
        };
        stream.owed = stream.owed.min(sequence);
        if sequence > stream.highest {
            stream.pass(sequence);
            stream.highest = sequence;
        } else if stream.fill(sequence) {
            self.counts.out_of_order += 1;
        } else {
            self.counts.duplicate += 1;
            return false;
        }
        self.counts.received += 1;
        true
    }

    /// Whether that message was delivered.
    pub(crate) fn has(&self, publisher: usize, sequence: u64) -> bool {
        self.streams
            .get(publisher)
            .is_some_and(|stream| (1..=stream.highest).contains(&sequence) && stream.gap(sequence).is_none())
    }

    /// The highest number that came from a publisher.
    pub(crate) fn highest(&self, publisher: usize) -> u64 {
        self.streams.get(publisher).map_or(0, |stream| stream.highest)
    }

    /// What was counted, at the end, when each publisher has sent so many. What has not come yet is judged by the last session if it is
    /// `alive`, and else missed; and missed is what is in `doubt`: of these numbers of a publisher nobody knows whether they reached a
    /// server.
    pub(crate) fn finish<'a>(
        mut self,
        alive: bool,
        sent: impl Fn(usize) -> u64,
        doubt: impl Fn(usize) -> &'a [RangeInclusive<u64>],
    ) -> Counts {
        for (publisher, stream) in self.streams.iter_mut().enumerate() {
            // What was delivered was sent, whatever the publisher has counted.
            let end = sent(publisher).max(stream.highest) + 1;
            if !alive {
                stream.owed = end;
            }
            stream.pass(end);
            for (first, gap) in &stream.gaps {
                let length = gap.end - first;
                if gap.missed {
                    self.counts.missed += length;
                    continue;
                }
                let doubted = doubt(publisher)
                    .iter()
                    .map(|doubt| gap.shared(*first, doubt))
                    .sum::<u64>()
                    .min(length);
                self.counts.missed += doubted;
                let length = length - doubted;
                self.counts.lost += length;
                if *first > stream.highest {
                    self.counts.lost_at_end += length;
                }
            }
        }
        self.counts
    }
}

impl Gap {
    /// How many of its numbers, from `first` on, are in a range.
    fn shared(&self, first: u64, range: &RangeInclusive<u64>) -> u64 {
        self.end.min(range.end() + 1).saturating_sub(first.max(*range.start()))
    }
}

impl Stream {
    /// Remembers what is between the highest number and `end` as not seen.
    fn pass(&mut self, end: u64) {
        let first = self.highest + 1;
        let owed = self.owed.clamp(first, end);
        for (from, to, missed) in [(first, owed, true), (owed, end, false)] {
            if from < to {
                self.gaps.insert(from, Gap { end: to, missed });
            }
        }
    }

    /// The gap that a number is in.
    fn gap(&self, sequence: u64) -> Option<(u64, Gap)> {
        let (&first, &gap) = self.gaps.range(..=sequence).next_back()?;
        (sequence < gap.end).then_some((first, gap))
    }

    /// Takes a number out of the gap that it is in, if it is in one.
    fn fill(&mut self, sequence: u64) -> bool {
        let Some((first, gap)) = self.gap(sequence) else {
            return false;
        };
        self.gaps.remove(&first);
        if first < sequence {
            self.gaps.insert(first, Gap { end: sequence, ..gap });
        }
        if sequence + 1 < gap.end {
            self.gaps.insert(sequence + 1, gap);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What one publisher's messages were to a receiver.
    #[derive(Debug, Clone)]
    enum Event {
        Deliver(u64),
        /// A new session, which should have all from this one on.
        Session(u64),
    }
    use Event::{Deliver, Session};

    fn tally(total: u64, events: &[Event], alive: bool) -> Counts {
        let mut tally = Tally::new(1, total);
        for event in events {
            match event {
                Deliver(sequence) => drop(tally.deliver(0, *sequence)),
                Session(owed) => tally.begin_session(|_| *owed),
            }
        }
        tally.finish(alive, |_| total, |_| &[])
    }

    fn counts(received: u64, duplicate: u64, out_of_order: u64, [lost, lost_at_end]: [u64; 2], missed: u64) -> Counts {
        Counts {
            received,
            duplicate,
            out_of_order,
            lost,
            lost_at_end,
            missed,
        }
    }

    #[test]
    fn a_stream_in_order_is_clean() {
        assert_eq!(tally(3, &[1, 2, 3].map(Deliver), true), counts(3, 0, 0, [0, 0], 0));
    }

    #[test]
    fn a_hole_is_lost_and_a_late_one_is_out_of_order() {
        assert_eq!(tally(4, &[1, 4].map(Deliver), true), counts(2, 0, 0, [2, 0], 0));
        assert_eq!(tally(4, &[1, 4, 2, 3].map(Deliver), true), counts(4, 0, 2, [0, 0], 0));
    }

    #[test]
    fn a_repetition_is_a_duplicate_however_late() {
        assert_eq!(tally(3, &[1, 1, 3, 2, 2].map(Deliver), true), counts(3, 2, 1, [0, 0], 0));
    }

    #[test]
    fn publishers_are_counted_apart_and_strangers_not_at_all() {
        let mut tally = Tally::new(2, 1);
        assert!(tally.deliver(1, 1) && tally.deliver(0, 1));
        assert!(!tally.deliver(2, 1) && !tally.deliver(0, 2) && !tally.deliver(0, 0));
        assert!(tally.has(0, 1) && tally.has(1, 1) && !tally.has(0, 2) && !tally.has(0, 0) && !tally.has(2, 1));
        assert_eq!(tally.finish(true, |_| 1, |_| &[]), counts(2, 0, 0, [0, 0], 0));
    }

    #[test]
    fn what_was_published_between_two_sessions_is_missed() {
        // The first session ends behind 2. Whatever was published after the CONNECT answer is from 6 on.
        assert_eq!(
            tally(8, &[Deliver(1), Deliver(2), Session(6), Deliver(6), Deliver(7), Deliver(8)], true),
            counts(5, 0, 0, [0, 0], 3)
        );
        assert_eq!(
            tally(
                8,
                &[Deliver(1), Deliver(2), Session(6), Deliver(5), Deliver(6), Deliver(7), Deliver(8)],
                true
            ),
            counts(6, 0, 0, [0, 0], 2)
        );
    }

    #[test]
    fn a_hole_within_a_session_is_lost_whether_it_is_the_first_or_a_later_one() {
        let holes = [Deliver(1), Deliver(3), Session(7), Deliver(7), Deliver(9)];
        assert_eq!(tally(9, &holes, true), counts(4, 0, 0, [2, 0], 3));
    }

    #[test]
    fn a_new_session_that_is_told_nothing_has_lost_what_was_published_since() {
        assert_eq!(tally(9, &[Deliver(1), Session(4)], true), counts(1, 0, 0, [6, 6], 2));
        assert_eq!(tally(9, &[Deliver(1), Session(4), Deliver(6)], true), counts(2, 0, 0, [5, 3], 2));
    }

    #[test]
    fn the_end_is_lost_to_a_living_session_and_missed_by_a_dead_one() {
        assert_eq!(tally(9, &[Deliver(1), Deliver(2)], true), counts(2, 0, 0, [7, 7], 0));
        assert_eq!(tally(9, &[Deliver(1), Deliver(2)], false), counts(2, 0, 0, [0, 0], 7));
    }

    #[test]
    fn what_may_never_have_reached_a_server_is_missed_and_not_lost() {
        let mut tally = Tally::new(1, 20);
        assert!([1, 6, 10].map(|sequence| tally.deliver(0, sequence)).iter().all(|first| *first));
        assert_eq!(
            [1, 2, 5, 6, 9, 10, 11].map(|sequence| tally.has(0, sequence)),
            [true, false, false, true, false, true, false]
        );
        // 2 to 5 and 7 to 9 have not come, nor have 11 and 12; and 6 has come all the same.
        let counted = tally.finish(true, |_| 12, |_| &[4..=7, 12..=12]);
        assert_eq!(counted, counts(3, 0, 0, [5, 1], 4));
    }

    /// The rules of the head of this file, word by word.
    fn naive(total: u64, events: &[Event], alive: bool) -> Counts {
        let mut sessions = vec![(1, Vec::new())];
        for event in events {
            match event {
                Session(owed) => sessions.push((*owed, Vec::new())),
                Deliver(sequence) => sessions.last_mut().unwrap().1.push(*sequence),
            }
        }
        let all: Vec<_> = sessions.iter().flat_map(|(_, delivered)| delivered.iter().copied()).collect();
        let mut result = Counts::default();
        for (at, sequence) in all.iter().enumerate() {
            if all[..at].contains(sequence) {
                result.duplicate += 1;
                continue;
            }
            result.received += 1;
            result.out_of_order += u64::from(all[..at].iter().any(|before| before > sequence));
        }
        let last = sessions.len() - 1;
        for sequence in (1..=total).filter(|sequence| !all.contains(sequence)) {
            let judge = sessions
                .iter()
                .enumerate()
                .find(|(number, (_, delivered))| delivered.iter().any(|other| *other > sequence) || (*number == last && alive));
            let lost = judge.is_some_and(|(_, (owed, delivered))| sequence >= delivered.first().map_or(*owed, |first| *first.min(owed)));
            *(if lost { &mut result.lost } else { &mut result.missed }) += 1;
            result.lost_at_end += u64::from(lost && all.iter().all(|other| *other < sequence));
        }
        result
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        // Mostly in order, as a server sends; the rest whatever it may be.
        let event = prop_oneof![
            6 => (1..3_u64).prop_map(|step| (0, step)),
            2 => (1..=20_u64).prop_map(|any| (1, any)),
            1 => (1..=21_u64).prop_map(|owed| (2, owed)),
        ];
        prop::collection::vec(event, 0..40).prop_map(|steps| {
            let mut highest = 0;
            steps
                .into_iter()
                .map(|(kind, number)| match kind {
                    0 => {
                        highest = (highest + number).min(20);
                        Deliver(highest)
                    }
                    1 => Deliver(number),
                    _ => Session(number),
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_counts_are_those_of_the_rules(events in events(), alive: bool) {
            let counted = tally(20, &events, alive);
            prop_assert_eq!(counted, naive(20, &events, alive));
            prop_assert_eq!(counted.received + counted.lost + counted.missed, 20);
        }
    }
}
