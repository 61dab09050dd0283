//! The events of one client whose acks are awaited, and what became of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::AddAssign,
    time::{Duration, Instant},
};

/// The events of one client.
#[derive(Debug)]
pub(super) struct Acks {
    event: String,
    size: usize,
    next: u64,
    /// When each was emitted.
    under_way: BTreeMap<u64, Instant>,
    /// Those whose ack may still come, though nobody waits for it.
    given_up: BTreeSet<u64>,
    counts: Counts,
}

/// Events and acks by what became of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) emitted: u64,
    pub(super) acked: u64,
    pub(super) lost: u64,
    pub(super) missed: u64,
    pub(super) late: u64,
    pub(super) unexpected: u64,
    pub(super) wrong: u64,
}

impl Acks {
    /// None yet; of `event` with one argument of `size` bytes.
    pub(super) fn new(event: &str, size: usize) -> Self {
        Self {
            event: serde_json::Value::from(event).to_string(),
            size,
            next: 0,
            under_way: BTreeMap::new(),
            given_up: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// The Engine.IO text of the next event, which is under way from `now` on.
    pub(super) fn emit(&mut self, now: Instant) -> String {
        let id = self.next;
        self.next += 1;
        self.under_way.insert(id, now);
        self.counts.emitted += 1;
        format!("42{id}[{},\"{}\"]", self.event, self.argument(id))
    }

    fn argument(&self, id: u64) -> String {
        let mut argument = String::with_capacity(self.size.max(21));
        argument.push_str(&id.to_string());
        argument.push(' ');
        let left = self.size.saturating_sub(argument.len());
        argument.extend(std::iter::repeat_n('.', left));
        argument
    }

    /// Whether these are the arguments of that event, and nothing else. There is nothing in them that a server may escape.
    fn is_argument(&self, id: u64, arguments: &str) -> bool {
        let inner = arguments.strip_prefix("[\"").and_then(|rest| rest.strip_suffix("\"]"));
        let Some((number, dots)) = inner.and_then(|inner| inner.split_once(' ')) else {
            return false;
        };
        number.len() + 1 + dots.len() == self.size.max(number.len() + 1)
            && number.parse() == Ok(id)
            && dots.bytes().all(|byte| byte == b'.')
    }

    /// Counts what came: after which time, if it is the ack of an event under way, with what was sent or not.
    pub(super) fn receive(&mut self, text: &str, now: Instant) -> Option<Duration> {
        let (id, arguments) = ack(text)?;
        let Some(emitted) = self.under_way.remove(&id) else {
            let counted = if self.given_up.remove(&id) {
                &mut self.counts.late
            } else {
                &mut self.counts.unexpected
            };
            *counted += 1;
            return None;
        };
        if self.is_argument(id, arguments) {
            self.counts.acked += 1;
        } else {
            self.counts.wrong += 1;
        }
        Some(now.duration_since(emitted))
    }

    /// When the oldest of those under way was emitted.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.under_way.first_key_value().map(|(_, emitted)| *emitted)
    }

    /// Gives up what was emitted before `before`; how many.
    pub(super) fn give_up(&mut self, before: Instant) -> usize {
        let mut count = 0;
        // Ids are given in the order of time.
        while let Some(entry) = self.under_way.first_entry().filter(|entry| *entry.get() <= before) {
            self.given_up.insert(entry.remove_entry().0);
            self.counts.lost += 1;
            count += 1;
        }
        count
    }

    /// The session has ended: no ack will come of what was emitted in it; of how many events.
    pub(super) fn end_session(&mut self, comes_back: bool) -> usize {
        let count = self.under_way.len();
        *(if comes_back {
            &mut self.counts.missed
        } else {
            &mut self.counts.lost
        }) += count as u64;
        self.under_way.clear();
        self.given_up.clear();
        count
    }

    /// What was counted so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }
}

/// Id and arguments of an ACK in `/`.
fn ack(text: &str) -> Option<(u64, &str)> {
    let rest = text.strip_prefix("43")?;
    let (id, arguments) = rest.split_at_checked(rest.find('[')?)?;
    Some((id.parse().ok()?, arguments))
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self {
            emitted,
            acked,
            lost,
            missed,
            late,
            unexpected,
            wrong,
        } = other;
        self.emitted += emitted;
        self.acked += acked;
        self.lost += lost;
        self.missed += missed;
        self.late += late;
        self.unexpected += unexpected;
        self.wrong += wrong;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// The ack that a server sends for an event.
    fn echo(event: &str) -> String {
        event.replacen("42", "43", 1).replace("\"e\",", "")
    }

    #[test]
    fn an_ack_in_time_is_counted_once_and_timed() {
        let (begin, mut acks) = (Instant::now(), Acks::new("e", 20));
        let event = acks.emit(begin);
        assert_eq!(event, "420[\"e\",\"0 ..................\"]");
        assert_eq!(acks.receive(&echo(&event), begin + 3 * MS), Some(3 * MS));
        assert_eq!(acks.receive(&echo(&event), begin + 4 * MS), None);
        assert_eq!(acks.receive("42[\"e\",\"0\"]", begin), None);
        let (emitted, acked, unexpected) = (1, 1, 1);
        let wanted = Counts {
            emitted,
            acked,
            unexpected,
            ..Counts::default()
        };
        assert_eq!(acks.counts(), wanted);
    }

    #[test]
    fn an_ack_with_other_arguments_is_wrong() {
        let (begin, mut acks) = (Instant::now(), Acks::new("e", 16));
        let (first, second) = (acks.emit(begin), acks.emit(begin));
        assert!(acks.receive(&echo(&first).replacen("430", "431", 1), begin).is_some());
        assert!(acks.receive("430[]", begin).is_some());
        assert!(acks.receive(&echo(&second), begin).is_none());
        assert_eq!((acks.counts().acked, acks.counts().wrong, acks.counts().unexpected), (0, 2, 1));
    }

    #[test]
    fn what_is_not_acknowledged_in_time_is_lost_and_its_ack_late() {
        let (begin, mut acks) = (Instant::now(), Acks::new("e", 16));
        let early = acks.emit(begin);
        acks.emit(begin + 5 * MS);
        assert_eq!(acks.oldest(), Some(begin));
        assert_eq!(acks.give_up(begin + MS), 1);
        assert_eq!(acks.oldest(), Some(begin + 5 * MS));
        assert_eq!(acks.receive(&echo(&early), begin + 9 * MS), None);
        assert_eq!((acks.counts().lost, acks.counts().late, acks.counts().acked), (1, 1, 0));
    }

    #[test]
    fn what_was_under_way_when_the_session_ended_is_missed_only_by_who_comes_back() {
        for (comes_back, lost, missed) in [(true, 0, 2), (false, 2, 0)] {
            let (begin, mut acks) = (Instant::now(), Acks::new("e", 16));
            acks.emit(begin);
            acks.emit(begin);
            acks.end_session(comes_back);
            assert_eq!((acks.counts().lost, acks.counts().missed, acks.oldest()), (lost, missed, None));
        }
    }
}
