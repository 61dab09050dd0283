//! Sequences against examples, and against a model that remembers every number.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::engine::id::NodeTag;

const A: TopicId = TopicId(0);
const B: TopicId = TopicId(1);

fn origin(tag: u8, epoch: u64) -> Origin {
    Origin::started(NodeTag([tag, 0, 0]), epoch)
}

fn armed() -> Sequences {
    let mut sequences = Sequences::default();
    sequences.arm(A);
    sequences.arm(B);
    sequences
}

#[test]
fn the_first_message_is_the_baseline_and_counts_nothing() {
    let mut sequences = armed();
    assert_eq!(sequences.message(origin(1, 1), A, 7), Seen::New);
    assert_eq!(sequences.message(origin(1, 1), A, 8), Seen::New);
    assert_eq!(sequences.message(origin(1, 1), A, 8), Seen::Repeat);
    assert_eq!(sequences.message(origin(1, 1), A, 3), Seen::Repeat);
    assert_eq!(sequences.message(origin(1, 1), A, 12), Seen::Hole(3));
    assert_eq!(sequences.message(origin(1, 1), B, 1), Seen::New);
}

#[test]
fn a_lost_tail_is_found_by_the_report_and_counted_once() {
    let mut sequences = armed();
    assert_eq!(sequences.reported(origin(1, 1), A, 0), 0);
    assert_eq!(sequences.message(origin(1, 1), A, 2), Seen::Hole(1));
    assert_eq!(sequences.reported(origin(1, 1), A, 5), 3);
    assert_eq!(sequences.reported(origin(1, 1), A, 5), 0);
    assert_eq!(sequences.message(origin(1, 1), A, 4), Seen::Repeat);
    assert_eq!(sequences.message(origin(1, 1), A, 6), Seen::New);
}

#[test]
fn a_report_is_no_baseline_before_the_subscription_is_live() {
    let mut sequences = Sequences::default();
    assert_eq!(sequences.reported(origin(1, 1), A, 10), 0);
    assert_eq!(
        sequences.message(origin(1, 1), A, 14),
        Seen::New,
        "11 to 13 were published before the subscription"
    );
    sequences.arm(A);
    assert_eq!(
        sequences.reported(origin(1, 1), A, 15),
        1,
        "what came through proves that the subscription was live"
    );
}

#[test]
fn a_new_epoch_starts_anew() {
    let mut sequences = armed();
    assert_eq!(sequences.message(origin(1, 1), A, 100), Seen::New);
    assert_eq!(sequences.message(origin(1, 2), A, 1), Seen::New);
    assert_eq!(sequences.message(origin(1, 2), A, 3), Seen::Hole(1));
    assert_eq!(
        sequences.message(origin(1, 1), A, 100),
        Seen::Repeat,
        "a repeat of the old epoch stays one"
    );
}

#[test]
fn what_is_missing_at_the_beginning_of_a_new_epoch_is_counted() {
    let mut sequences = armed();
    assert_eq!(sequences.message(origin(1, 1), A, 7), Seen::New);
    assert_eq!(sequences.message(origin(1, 2), A, 3), Seen::Hole(2));
    assert_eq!(sequences.message(origin(1, 2), B, 3), Seen::New, "it was not heard there before");
    assert_eq!(sequences.reported(origin(1, 3), A, 5), 5);
}

#[test]
fn who_was_held_for_gone_goes_on_counting() {
    let mut sequences = armed();
    let (before, after) = (origin(1, 1), origin(1, 1).returned());
    assert_eq!(sequences.message(before, A, 7), Seen::New);
    sequences.retire(before);
    assert_eq!(
        sequences.message(after, A, 12),
        Seen::Hole(4),
        "the last of before, and the first of after"
    );
    assert_eq!(sequences.message(before, A, 9), Seen::Repeat, "it was counted");
    assert_eq!(sequences.reported(before, A, 11), 0);
    sequences.readmit(after);
    for number in 2..=100 {
        sequences.message(origin(2, number), A, 1);
        sequences.retire(origin(2, number));
    }
    assert_eq!(
        sequences.message(after, A, 14),
        Seen::Hole(1),
        "it is not among those that are gone"
    );
}

#[test]
fn a_command_has_its_turn_whatever_its_topic() {
    let mut sequences = armed();
    let turns = [1, 1, 3, 2, 3, 4].map(|number| sequences.command(origin(1, 1), A, number));
    assert_eq!(turns, [Turn::Next, Turn::Copy, Turn::Next, Turn::Late, Turn::Copy, Turn::Next]);
    assert_eq!(sequences.command(origin(1, 2), A, 1), Turn::Next);
}

#[test]
fn a_retired_origin_is_remembered_for_its_repeats_while_there_is_room() {
    let mut sequences = armed();
    assert_eq!(sequences.message(origin(1, 1), A, 5), Seen::New);
    sequences.retire(origin(1, 1));
    assert_eq!(sequences.message(origin(1, 1), A, 5), Seen::Repeat);
    for epoch in 2..=100 {
        sequences.message(origin(2, epoch), A, 1);
        sequences.retire(origin(2, epoch));
    }
    assert_eq!(sequences.origins.len(), MAX_RETIRED);
}

#[test]
fn made_up_origins_do_not_grow_it_and_do_not_displace_who_is_heard() {
    let mut sequences = armed();
    for epoch in 0..10_000 {
        assert_eq!(sequences.message(origin(1, 1), A, epoch + 1), Seen::New);
        sequences.message(origin(9, epoch), A, 1);
        assert!(sequences.origins.len() <= MAX_ORIGINS);
    }
    assert_eq!(sequences.message(origin(1, 1), A, 10_002), Seen::Hole(1));
}

#[test]
fn numbers_at_the_end_of_their_range_do_not_overflow() {
    let mut sequences = armed();
    sequences.reported(origin(1, 1), A, 0);
    assert_eq!(sequences.message(origin(1, 1), A, u64::MAX), Seen::Hole(u64::MAX - 1));
    assert_eq!(sequences.message(origin(1, 1), A, 0), Seen::Repeat);
    assert_eq!(sequences.reported(origin(1, 1), A, u64::MAX), 0);
}

/// What happens to the link between one origin and the receiver, in the order in which it happens.
#[derive(Debug, Clone)]
enum Step {
    Publish { topic: u32, lost: bool, resent: bool },
    Report { lost: bool },
    Subscribe { topic: u32 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_u32, any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(topic, lost, resent)| Step::Publish { topic, lost, resent }),
        3 => prop::bool::weighted(0.3).prop_map(|lost| Step::Report { lost }),
        1 => (0..2_u32).prop_map(|topic| Step::Subscribe { topic }),
        1 => Just(Step::Restart),
    ]
}

/// Remembers each number as published or arrived, per topic of the current epoch.
#[derive(Default)]
struct Model {
    used: HashMap<u32, u64>,
    subscribed: HashSet<u32>,
    /// Numbers up to here are before the baseline.
    baseline: HashMap<u32, u64>,
    arrived: HashMap<u32, HashSet<u64>>,
    /// The last number that the receiver could know of.
    known: HashMap<u32, u64>,
}

impl Model {
    fn missing(&self, topic: u32) -> u64 {
        let Some(baseline) = self.baseline.get(&topic) else { return 0 };
        let known = self.known.get(&topic).copied().unwrap_or(0);
        let none = HashSet::new();
        let arrived = self.arrived.get(&topic).unwrap_or(&none);
        (baseline + 1..=known).filter(|number| !arrived.contains(number)).count() as u64
    }
}

proptest! {
    #[test]
    fn each_missing_message_is_counted_exactly_once(steps in prop::collection::vec(step(), 0..120)) {
        let mut sequences = Sequences::default();
        let (mut model, mut epoch, mut counted, mut before) = (Model::default(), 1, 0_u64, 0_u64);
        for step in steps {
            let from = origin(1, epoch);
            match step {
                Step::Publish { topic, lost, resent } => {
                    let used = model.used.entry(topic).or_default();
                    *used += 1;
                    let number = *used;
                    if lost || !model.subscribed.contains(&topic) {
                        continue;
                    }
                    match sequences.message(from, TopicId(topic), number) {
                        Seen::Repeat => prop_assert!(false, "{number} on {topic} was new"),
                        Seen::New => {}
                        Seen::Hole(missing) => counted += missing,
                    }
                    if resent {
                        prop_assert_eq!(sequences.message(from, TopicId(topic), number), Seen::Repeat);
                    }
                    model.baseline.entry(topic).or_insert(number - 1);
                    model.arrived.entry(topic).or_default().insert(number);
                    model.known.insert(topic, number);
                }
                Step::Report { lost: false } => for topic in 0..2 {
                    let used = model.used.get(&topic).copied().unwrap_or(0);
                    counted += sequences.reported(from, TopicId(topic), used);
                    if model.subscribed.contains(&topic) {
                        model.baseline.entry(topic).or_insert(used);
                        model.known.insert(topic, used);
                    }
                },
                Step::Report { lost: true } => {}
                Step::Subscribe { topic } => {
                    model.subscribed.insert(topic);
                    sequences.arm(TopicId(topic));
                }
                Step::Restart => {
                    before += model.missing(0) + model.missing(1);
                    // Who was heard before is heard from the first number on.
                    let baseline = model.baseline.into_keys().map(|topic| (topic, 0)).collect();
                    model = Model { subscribed: model.subscribed, baseline, ..Model::default() };
                    epoch += 1;
                }
            }
            prop_assert_eq!(counted, before + model.missing(0) + model.missing(1));
        }
    }
}
