//! Membership under virtual time: examples, and whole clusters with loss, pauses and restarts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const TIMES: Times = Times {
    suspect_after: Duration::from_millis(2500),
    remove_after: Duration::from_secs(10),
};
const HEARD: Heard<'static> = Heard {
    node: "n",
    advertise: "",
    version: 1,
    features: 0,
    sockets: None,
    removed_us: false,
};

fn origin(tag: u8, epoch: u64) -> Origin {
    Origin {
        tag: NodeTag([tag, 0, 0]),
        epoch,
    }
}

#[test]
fn a_member_without_a_name_is_called_by_its_tag() {
    let mut bench = Bench::new();
    let nameless = Heard { node: "", ..HEARD };
    for (tag, heard, name) in [(1, HEARD, "n"), (2, nameless, "AgAA")] {
        match &bench.membership.handle_heartbeat(bench.now, origin(tag, 1), &heard)[..] {
            [Event::Joined(member)] => assert_eq!(&*member.node, name),
            other => panic!("{other:?}"),
        }
    }
}

/// A membership of node 0 that has heard its canary for as long as it lives, and its clock.
struct Bench {
    membership: Membership,
    now: Instant,
    sequence: u64,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            membership: Membership::new(TIMES, NodeTag([0; 3]), now),
            now,
            sequence: 0,
        }
    }

    /// A second passes, in which the canary is heard or not.
    fn second(&mut self, hearing: bool) -> Vec<Event> {
        self.now += SECOND;
        self.sequence += 1;
        let mut events = self.membership.handle_timeout(self.now);
        if hearing {
            events.extend(self.membership.handle_canary(self.now, self.sequence));
        }
        events
    }

    fn heartbeat(&mut self, from: Origin) -> Vec<Event> {
        self.membership.handle_heartbeat(self.now, from, &HEARD)
    }
}

#[test]
fn a_silent_member_is_suspected_then_removed() {
    let mut bench = Bench::new();
    assert!(matches!(bench.heartbeat(origin(1, 1)).as_slice(), [Event::Joined(member)] if member.origin == origin(1, 1)));
    assert_eq!(bench.membership.poll_timeout(), Some(bench.now + TIMES.suspect_after));
    let events: Vec<_> = (0..12).map(|_| bench.second(true)).collect();
    assert_eq!(events[2], [Event::Suspected(origin(1, 1))]);
    assert_eq!(events[9], [Event::Removed(origin(1, 1))]);
    assert_eq!(events.concat().len(), 2);
    assert_eq!(bench.membership.members().len(), 0);
}

#[test]
fn a_suspected_member_that_is_heard_returns() {
    let mut bench = Bench::new();
    bench.heartbeat(origin(1, 1));
    let suspected = (0..5).flat_map(|_| bench.second(true)).collect::<Vec<_>>();
    assert_eq!(suspected, [Event::Suspected(origin(1, 1))]);
    assert_eq!(bench.heartbeat(origin(1, 1)), [Event::Returned(origin(1, 1))]);
    assert_eq!(bench.heartbeat(origin(1, 1)), []);
}

#[test]
fn a_node_without_its_canary_removes_nobody_and_nobody_on_its_return() {
    let mut bench = Bench::new();
    bench.heartbeat(origin(1, 1));
    let deaf: Vec<_> = (0..60).flat_map(|_| bench.second(false)).collect();
    assert_eq!(deaf, [Event::Suspected(origin(1, 1))]);
    let back: Vec<_> = (0..9).flat_map(|_| bench.second(true)).collect();
    assert_eq!(back, [], "the silence counts only from when this node hears again");
    assert_eq!(
        (0..2).flat_map(|_| bench.second(true)).collect::<Vec<_>>(),
        [Event::Removed(origin(1, 1))]
    );
}

#[test]
fn hearing_lasts_over_a_short_break_and_begins_anew_after_a_long_one() {
    let mut bench = Bench::new();
    let since = |bench: &Bench| bench.membership.heard().1;
    assert_eq!(since(&bench), None);
    bench.second(true);
    let first = bench.now;
    for hearing in [true, false, true, true] {
        bench.second(hearing);
        assert_eq!(since(&bench), Some(first));
    }
    for hearing in [false, false, true, true] {
        bench.second(hearing);
    }
    assert_eq!(since(&bench), Some(bench.now - SECOND));
}

#[test]
fn goodbye_removes_at_once_and_only_the_epoch_that_said_it() {
    let mut bench = Bench::new();
    bench.heartbeat(origin(1, 5));
    assert_eq!(bench.membership.handle_goodbye(origin(1, 4)), None);
    assert_eq!(bench.membership.handle_goodbye(origin(1, 5)), Some(Event::Left(origin(1, 5))));
    assert_eq!(bench.membership.handle_goodbye(origin(1, 5)), None);
}

#[test]
fn a_new_epoch_replaces_the_old_one_which_then_is_ignored() {
    let mut bench = Bench::new();
    bench.heartbeat(origin(1, 5));
    assert!(matches!(bench.heartbeat(origin(1, 6)).as_slice(), [Event::Restarted { gone, .. }] if *gone == origin(1, 5)));
    assert_eq!(bench.heartbeat(origin(1, 5)), []);
    assert_eq!(bench.membership.members().next().unwrap().origin, origin(1, 6));
}

#[test]
fn a_removed_member_that_is_heard_is_told_and_comes_back_under_a_new_epoch() {
    let mut bench = Bench::new();
    bench.heartbeat(origin(1, 1));
    (0..12).for_each(|_| drop(bench.second(true)));
    assert_eq!(bench.membership.unaware().count(), 0, "nobody is told who is not heard");
    assert_eq!(bench.heartbeat(origin(1, 1)), []);
    assert_eq!(bench.membership.unaware().collect::<Vec<_>>(), [origin(1, 1)]);
    assert!(matches!(bench.heartbeat(origin(1, 2)).as_slice(), [Event::Joined(_)]));
    assert_eq!(bench.membership.unaware().count(), 0);
}

#[test]
fn a_second_node_with_the_same_tag_is_a_clash() {
    let mut bench = Bench::new();
    assert_eq!(bench.heartbeat(origin(0, 7)), [Event::Clash(origin(0, 7))]);
    assert_eq!(bench.membership.members().len(), 0);
}

#[test]
fn made_up_members_are_refused_above_the_bound() {
    let mut bench = Bench::new();
    for n in 1..=MAX_MEMBERS as u64 + 1 {
        let [_, .., a, b] = n.to_be_bytes();
        let tag = NodeTag([1, a, b]);
        let events = bench.heartbeat(Origin { tag, epoch: 1 });
        assert_eq!(matches!(events.as_slice(), [Event::Crowded(_)]), n > MAX_MEMBERS as u64);
    }
    assert_eq!(bench.membership.members().len(), MAX_MEMBERS);
}

/// What befalls the cluster in one second.
#[derive(Debug, Clone)]
enum Fault {
    None,
    /// The node hears nothing of what is published, its canary included.
    Deaf(usize),
    /// Of what the first publishes the second hears nothing.
    Cut(usize, usize),
    /// The node does nothing for so many seconds; what was sent to it waits.
    Pause(usize, u8),
    /// The node dies and starts again at once.
    Restart(usize),
    /// The node dies.
    Kill(usize),
    /// Three of ten heartbeats are lost, each by itself; the number chooses which.
    Lossy(u64),
    /// The node hears a second later what was published before that.
    Late(usize),
    /// The node's clock is so many seconds further at once, as after a machine slept.
    Jump(usize, u8),
}

const NODES: usize = 4;

fn fault() -> impl Strategy<Value = Fault> {
    let node = 0..NODES;
    prop_oneof![
        4 => Just(Fault::None),
        2 => node.clone().prop_map(Fault::Deaf),
        2 => (node.clone(), node.clone()).prop_map(|(from, to)| Fault::Cut(from, to)),
        1 => (node.clone(), 1..30_u8).prop_map(|(node, seconds)| Fault::Pause(node, seconds)),
        1 => node.clone().prop_map(Fault::Restart),
        1 => node.clone().prop_map(Fault::Kill),
        3 => any::<u64>().prop_map(Fault::Lossy),
        2 => node.clone().prop_map(Fault::Late),
        // A shorter one is not to be told from a slow second, and counts as one.
        1 => (node, 3..60_u8).prop_map(|(node, seconds)| Fault::Jump(node, seconds)),
    ]
}

/// A heartbeat under way: who sent it, its number, and whom it lists as removed.
type Sent = (Origin, u64, Vec<Origin>);

struct SimulatedNode {
    origin: Origin,
    membership: Membership,
    sent: u64,
    inbox: VecDeque<Sent>,
    paused: u8,
    /// Seconds since its canary was heard.
    deaf: u32,
    /// How far its clock is ahead.
    ahead: Duration,
    /// When something was heard of a node last, in seconds that have really passed.
    heard: BTreeMap<Origin, u32>,
    second: u32,
    /// Of those that it removed in this second: for how many it had heard nothing of them.
    silences: Vec<u32>,
}

impl SimulatedNode {
    fn start(index: usize, epoch: u64, now: Instant) -> Self {
        let origin = origin(index as u8, epoch);
        Self {
            origin,
            membership: Membership::new(TIMES, origin.tag, now),
            sent: 0,
            inbox: VecDeque::new(),
            paused: 0,
            deaf: 0,
            ahead: Duration::ZERO,
            heard: BTreeMap::new(),
            second: 0,
            silences: Vec::new(),
        }
    }

    /// Works off the inbox; says which members it removed.
    fn run(&mut self, now: Instant, fresh: &mut u64) -> Vec<Event> {
        let now = now + self.ahead;
        let mut events = self.membership.handle_timeout(now);
        self.deaf += 1;
        for (from, number, removed) in std::mem::take(&mut self.inbox) {
            if from == self.origin {
                self.deaf = 0;
                let removed = self.membership.handle_canary(now, number);
                for event in &removed {
                    if let Event::Removed(gone) = event {
                        self.silences.push(self.second - self.heard[gone]);
                    }
                }
                events.extend(removed);
            } else if from.tag != self.origin.tag {
                let heard = Heard {
                    removed_us: removed.contains(&self.origin),
                    ..HEARD
                };
                self.heard.insert(from, self.second);
                events.extend(self.membership.handle_heartbeat(now, from, &heard));
            }
        }
        if events.iter().any(|event| matches!(event, Event::RemovedUs(_))) {
            *fresh += 1;
            self.origin.epoch = *fresh;
            self.sent = 0;
            self.membership.count_anew(self.origin.tag);
        }
        events
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn a_cluster_agrees_again_after_any_faults(faults in prop::collection::vec(fault(), 0..60)) {
        let mut now = Instant::now();
        let mut fresh = 1;
        let mut nodes: BTreeMap<usize, SimulatedNode> =
            (0..NODES).map(|index| (index, SimulatedNode::start(index, 1, now))).collect();
        let calm = std::iter::repeat_n(Fault::None, 60);
        for fault in faults.into_iter().chain(calm) {
            now += SECOND;
            match fault {
                Fault::Restart(index) => {
                    fresh += 1;
                    nodes.insert(index, SimulatedNode::start(index, fresh, now));
                }
                Fault::Kill(index) => drop(nodes.remove(&index)),
                Fault::Jump(index, seconds) => if let Some(node) = nodes.get_mut(&index) { node.ahead += SECOND * u32::from(seconds); },
                Fault::Pause(index, seconds) => if let Some(node) = nodes.get_mut(&index) { node.paused = seconds; },
                _ => {}
            }
            let sent: Vec<(usize, Sent)> = nodes.iter_mut().filter(|(_, node)| node.paused == 0).map(|(index, node)| {
                node.sent += 1;
                (*index, (node.origin, node.sent, node.membership.unaware().collect()))
            }).collect();
            for (index, node) in &mut nodes {
                let lost = |from: usize| match fault {
                    Fault::Deaf(deaf) => deaf == *index,
                    Fault::Cut(a, b) => a == from && b == *index,
                    // Bits that are as good as thrown for each pair.
                    Fault::Lossy(seed) => seed.rotate_left(u32::try_from(from * NODES + *index).unwrap() * 3) % 10 < 3,
                    _ => false,
                };
                node.second += 1;
                let late = matches!(fault, Fault::Late(late) if late == *index);
                let before = std::mem::take(&mut node.inbox);
                let published = sent.iter().filter(|(from, _)| !lost(*from)).map(|(_, sent)| sent.clone());
                // What is late now comes with what is published next.
                let (mut comes, mut waits) = (before, VecDeque::new());
                if late { waits.extend(published) } else { comes.extend(published) }
                node.inbox = comes;
                if node.paused > 0 {
                    node.paused -= 1;
                    node.inbox.append(&mut waits);
                    continue;
                }
                let deaf = node.deaf;
                let events = node.run(now, &mut fresh);
                node.inbox = waits;
                let removes = events.iter().any(|event| matches!(event, Event::Removed(_)));
                prop_assert!(!removes || deaf <= 2, "a node that was deaf for {deaf} s removed somebody");
                for silence in node.silences.drain(..) {
                    prop_assert!(silence >= 10, "a node was removed after {silence} s of silence");
                }
            }
        }
        let alive: BTreeSet<Origin> = nodes.values().map(|node| node.origin).collect();
        for node in nodes.values() {
            let mut seen: BTreeSet<Origin> = node.membership.members().map(|member| member.origin).collect();
            seen.insert(node.origin);
            prop_assert_eq!(&seen, &alive, "as {:?} sees it", node.origin);
            prop_assert!(node.membership.members().all(|member| !member.suspected));
        }
    }
}
