//! What is done to a cluster: rounds of faults, drawn from a seed.
//!
//! A round that kills a node does nothing to the others' paths, and nothing to its own but freezing it until after the kill; or the backend is
//! away from before the kill until after it. Then what the others have got of the node is broken off at one place, and the checker knows what
//! they can know (see `checker`).

use std::time::Duration;

use super::random::Random;
use crate::dsl::Way;

/// How many nodes there are.
pub(super) const NODES: usize = 3;

/// How many servers are equal, where there are several.
const SERVERS: usize = 3;

/// What is done to a node, or to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// With SIGKILL.
    Kill(usize),
    /// Of a node that was killed: begins a new life.
    Start(usize),
    /// With SIGSTOP.
    Pause(usize),
    Continue(usize),
    /// The path between a node and its backend: nothing passes this way, and connections stay.
    Freeze(usize, Way),
    /// The same for the connections of now alone: the node gives them up, and what was stuck there comes after what it says over the next.
    Stick(usize),
    /// Both ways, all connections.
    Thaw(usize),
    /// The connections between a node and its backend.
    Cut(usize),
    /// A server of the backend, with SIGKILL; which, where several are equal.
    KillBackend(usize),
    StartBackend,
}

/// A round of faults, after which everything is in order again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Round {
    /// By the time since the round's begin.
    pub(super) actions: Vec<(Duration, Action)>,
    /// How long speakers go on after the last action.
    pub(super) after: Duration,
    /// Nothing is sent after the faults until every hole was counted: heartbeats alone must tell of what was lost last.
    pub(super) silent: bool,
}

/// What kinds of rounds there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kill,
    Pause,
    Freeze,
    Cut,
    Backend,
    Two,
    BackendAndNode,
    Stuck,
}

const KINDS: [Kind; 8] = [
    Kind::Kill,
    Kind::Pause,
    Kind::Freeze,
    Kind::Cut,
    Kind::Backend,
    Kind::Two,
    Kind::BackendAndNode,
    Kind::Stuck,
];

/// Rounds without end; among any eight from the first on there is one of each kind.
#[derive(Debug)]
pub(super) struct Schedule {
    random: Random,
    deck: Vec<Kind>,
    /// Whether nodes reach the backend through something that can be frozen.
    relayed: bool,
}

impl Schedule {
    pub(super) fn new(random: Random, relayed: bool) -> Self {
        Self {
            random,
            deck: Vec::new(),
            relayed,
        }
    }

    pub(super) fn next_round(&mut self) -> Round {
        if self.deck.is_empty() {
            self.deck = KINDS.to_vec();
            self.random.shuffle(&mut self.deck);
        }
        let kind = self.deck.pop().unwrap();
        let mut nodes: Vec<usize> = (0..NODES).collect();
        self.random.shuffle(&mut nodes);
        let begin = self.random.millis(200..800);
        let mut actions = match kind {
            Kind::Kill => self.kill(begin, nodes[0]),
            Kind::Pause => self.pause(begin, nodes[0]),
            Kind::Freeze => self.freeze(begin, nodes[0]),
            Kind::Cut => self.cuts(begin),
            Kind::Backend => self.backend(begin),
            Kind::Two => [self.either(begin, nodes[0]), self.overlapping(begin, nodes[1])].concat(),
            Kind::BackendAndNode => [self.backend(begin), self.overlapping(begin, nodes[0])].concat(),
            Kind::Stuck => self.stuck(begin, nodes[0]),
        };
        actions.sort_by_key(|(at, _)| *at);
        Round {
            actions,
            after: self.random.millis(0..500),
            silent: self.random.one_in(2),
        }
    }

    /// Below suspicion, below removal, above it, and rarely longer than a backend may take to answer.
    fn while_away(&mut self) -> Duration {
        match self.random.of(0..8) {
            0 | 1 => self.random.millis(50..500),
            2 | 3 => self.random.millis(700..1700),
            4..7 => self.random.millis(2300..3800),
            _ => self.random.millis(5200..6500),
        }
    }

    fn kill(&mut self, begin: Duration, node: usize) -> Vec<(Duration, Action)> {
        let kill = begin + self.random.millis(50..1500);
        let after = kill + self.random.millis(1..800);
        let start = after + self.random.millis(0..1500);
        let [before, made_good] = match self.random.of(0..if self.relayed { 6 } else { 3 }) {
            0 | 1 => [None, None],
            2 => [Some(Action::Pause(node)), None],
            3 | 4 => [Some(Action::Freeze(node, self.way())), Some(Action::Thaw(node))],
            _ => [Some(Action::KillBackend(0)), Some(Action::StartBackend)],
        };
        let before = before.map(|action| (begin, action));
        let made_good = made_good.map(|action| (after, action));
        let killed = [(kill, Action::Kill(node)), (start, Action::Start(node))];
        before.into_iter().chain(made_good).chain(killed).collect()
    }

    fn pause(&mut self, begin: Duration, node: usize) -> Vec<(Duration, Action)> {
        vec![(begin, Action::Pause(node)), (begin + self.while_away(), Action::Continue(node))]
    }

    fn freeze(&mut self, begin: Duration, node: usize) -> Vec<(Duration, Action)> {
        if !self.relayed {
            return self.pause(begin, node);
        }
        let mut actions = vec![(begin, Action::Freeze(node, self.way()))];
        let end = begin + self.while_away();
        // Both ways, but not from the same moment on.
        if self.random.one_in(2) {
            actions.push((begin + self.random.millis(0..50), Action::Freeze(node, self.way())));
        }
        actions.push((end, Action::Thaw(node)));
        actions
    }

    fn either(&mut self, begin: Duration, node: usize) -> Vec<(Duration, Action)> {
        if self.random.one_in(2) {
            self.pause(begin, node)
        } else {
            self.freeze(begin, node)
        }
    }

    fn overlapping(&mut self, begin: Duration, node: usize) -> Vec<(Duration, Action)> {
        let begin = begin + self.random.millis(0..1500);
        self.either(begin, node)
    }

    fn cuts(&mut self, begin: Duration) -> Vec<(Duration, Action)> {
        if !self.relayed {
            return self.backend(begin);
        }
        let mut at = begin;
        let cuts = (0..self.random.of(1..6)).map(|_| {
            at += self.random.millis(0..700);
            (at, Action::Cut(self.random.below(NODES)))
        });
        cuts.collect()
    }

    fn backend(&mut self, begin: Duration) -> Vec<(Duration, Action)> {
        let which = self.random.below(SERVERS);
        let end = begin + self.while_away();
        vec![(begin, Action::KillBackend(which)), (end, Action::StartBackend)]
    }

    /// A backend that does not answer for five seconds is given up.
    fn stuck(&mut self, begin: Duration, node: usize) -> Vec<(Duration, Action)> {
        if !self.relayed {
            return self.backend(begin);
        }
        let end = begin + self.random.millis(5200..6500);
        vec![(begin, Action::Stick(node)), (end, Action::Thaw(node))]
    }

    fn way(&mut self) -> Way {
        self.random.pick(&[Way::ToServer, Way::ToClient])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(seed: u64) -> Vec<Round> {
        let mut schedule = Schedule::new(Random::new(seed), true);
        (0..70).map(|_| schedule.next_round()).collect()
    }

    /// Whether the backend is away from before a node is killed until after it.
    fn around(actions: &[(Duration, Action)], node: usize) -> bool {
        let at = |wanted: fn(Action) -> bool| actions.iter().position(|(_, action)| wanted(*action));
        let away = at(|action| matches!(action, Action::KillBackend(_)));
        let killed = actions.iter().position(|(_, action)| *action == Action::Kill(node));
        let back = at(|action| action == Action::StartBackend);
        away < killed && killed < back
    }

    #[test]
    fn the_same_seed_makes_the_same_rounds() {
        assert_eq!(rounds(7), rounds(7));
        assert_ne!(rounds(7), rounds(8));
    }

    #[test]
    fn every_fault_is_made_good_in_its_round() {
        for Round { actions, .. } in (0..50).flat_map(rounds) {
            let mut open = Vec::new();
            for (_, action) in &actions {
                match action {
                    Action::Start(node) => open.retain(|opened| !matches!(opened, Action::Kill(of) | Action::Pause(of) if of == node)),
                    Action::Continue(node) => open.retain(|opened| *opened != Action::Pause(*node)),
                    Action::Thaw(node) => open.retain(|opened| !matches!(opened, Action::Freeze(of, _) | Action::Stick(of) if of == node)),
                    Action::StartBackend => open.retain(|opened| !matches!(opened, Action::KillBackend(_))),
                    Action::Cut(_) => {}
                    opening => open.push(*opening),
                }
            }
            assert!(open.is_empty(), "{actions:?} leaves {open:?}");
            let killed = actions.iter().find_map(|(_, action)| match action {
                Action::Kill(node) => Some(*node),
                _ => None,
            });
            let others = |node: usize| {
                actions.iter().any(|(_, action)| match action {
                    Action::Kill(of) | Action::Start(of) | Action::Pause(of) | Action::Freeze(of, _) | Action::Thaw(of) => *of != node,
                    Action::KillBackend(_) | Action::StartBackend => !around(&actions, node),
                    _ => true,
                })
            };
            assert!(!killed.is_some_and(others), "{actions:?} kills while something else is under way");
        }
    }
}
