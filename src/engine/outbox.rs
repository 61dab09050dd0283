//! What waits to be sent to one client: a bounded queue, a plain value.

use std::{cell::RefCell, collections::VecDeque};

use smallvec::SmallVec;

use super::{Outgoing, dialect::Dialect};

/// Messages in the order in which they were pushed. Two stand inline, more in a ring that exists only while it is needed.
///
/// Bounded by [`Limits`]; what is pushed beyond them is refused. What was taken to be written no longer counts until it is put back,
/// so that the bound may be exceeded by one batch.
#[derive(Debug)]
pub(super) struct Outbox {
    slots: [Option<Outgoing>; 2],
    ring: VecDeque<Outgoing>,
    /// Bytes that are to be written.
    bytes: usize,
    /// Bytes that are held for them: a message that goes out compressed is kept whole beside.
    held: usize,
    /// Bytes of the first message that have been written already.
    written: usize,
    /// Of the frames that are counted and written.
    dialect: Dialect,
}

/// How much an outbox takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of WebSocket frames, or of the messages where these go out compressed. One message of any size may always wait.
    pub(super) bytes: usize,
    /// Messages.
    pub(super) entries: usize,
}

/// The outbox is over its limits and gives the message back.
#[derive(Debug)]
pub(super) struct Full(#[expect(dead_code, reason = "carries the message out of the lock, to be dropped there")] Outgoing);

/// Messages on their way out, in order.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) entries: SmallVec<[Outgoing; 16]>,
    /// Bytes of the first entry that have been written already.
    pub(super) written: usize,
    dialect: Dialect,
}

impl Outbox {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            slots: [None, None],
            ring: VecDeque::new(),
            bytes: 0,
            held: 0,
            written: 0,
            dialect,
        }
    }

    /// How this message would have to be compressed before it is pushed, if that is not decided yet.
    pub(super) fn deflates(&self, message: &Outgoing) -> Option<Dialect> {
        Some(self.dialect).filter(|dialect| message.is_to_be_deflated(*dialect))
    }

    /// The dialect of what is written.
    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// What waits is to be written in that dialect from now on; nothing of it has been written yet.
    pub(super) fn speak(&mut self, dialect: Dialect) {
        self.dialect = dialect;
        let waiting = || self.slots.iter().flatten().chain(&self.ring);
        let bytes = waiting().map(|message| message.frames_in(dialect).len()).sum();
        self.held = waiting().map(|message| held(message, dialect)).sum();
        self.bytes = bytes;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots[0].is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.iter().flatten().count() + self.ring.len()
    }

    /// Bytes of WebSocket frames that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, message: Outgoing, limits: Limits) -> Result<(), Full> {
        let held = self.held.saturating_add(held(&message, self.dialect));
        if !self.is_empty() && (held > limits.bytes || self.len() >= limits.entries) {
            return Err(Full(message));
        }
        self.held = held;
        self.bytes = self.bytes.saturating_add(message.frames_in(self.dialect).len());
        match &mut self.slots {
            [slot @ None, _] | [_, slot @ None] => *slot = Some(message),
            _ => {
                if self.ring.capacity() == 0 {
                    self.ring = pool::take();
                }
                self.ring.push_back(message);
            }
        }
        Ok(())
    }

    /// Takes messages from the front, at least one where there is one, until they hold `bytes`.
    pub(super) fn take(&mut self, bytes: usize) -> Batch {
        let mut batch = Batch {
            entries: SmallVec::new(),
            written: std::mem::take(&mut self.written),
            dialect: self.dialect,
        };
        let mut taken = 0;
        while taken < bytes
            && let Some(message) = self.pop()
        {
            taken += message.frames_in(self.dialect).len();
            self.held = self.held.saturating_sub(held(&message, self.dialect));
            batch.entries.push(message);
        }
        self.bytes = self.bytes.saturating_sub(taken - batch.written.min(taken));
        if self.ring.is_empty() && self.ring.capacity() > 0 {
            pool::give(std::mem::take(&mut self.ring));
        }
        batch
    }

    /// Puts back what is left of a batch; it goes out before everything that was pushed since.
    pub(super) fn put_back(&mut self, mut batch: Batch) {
        if batch.entries.is_empty() {
            return;
        }
        self.written = batch.written;
        let bytes = batch
            .entries
            .iter()
            .map(|message| message.frames_in(self.dialect).len())
            .sum::<usize>();
        self.bytes += bytes.saturating_sub(batch.written);
        self.held += batch.entries.iter().map(|message| held(message, self.dialect)).sum::<usize>();
        // The inline slots stand before the ring, so what they hold moves there first, the second before the first.
        for slot in self.slots.iter_mut().rev() {
            if let Some(message) = slot.take() {
                self.ring.push_front(message);
            }
        }
        while let Some(message) = batch.entries.pop() {
            self.ring.push_front(message);
        }
        for slot in &mut self.slots {
            *slot = self.ring.pop_front();
        }
    }

    /// Drops everything but a message of which a part has been written: the peer must get the rest of it, or lose its place. What is
    /// dropped is returned, to be dropped where no lock is held.
    pub(super) fn discard(&mut self) -> Outbox {
        let mut dropped = std::mem::replace(self, Self::new(self.dialect));
        if dropped.written > 0 {
            let mut batch = dropped.take(1);
            batch.entries.truncate(1);
            self.put_back(batch);
        }
        dropped
    }

    fn pop(&mut self) -> Option<Outgoing> {
        let [first, second] = &mut self.slots;
        let message = first.take()?;
        // An empty slot before a ring that is not would let the next push overtake.
        *first = second.take().or_else(|| self.ring.pop_front());
        *second = self.ring.pop_front();
        Some(message)
    }
}

/// What a message that waits keeps in memory, whatever is shared with others.
fn held(message: &Outgoing, dialect: Dialect) -> usize {
    message.frames().len().max(message.frames_in(dialect).len())
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is left to be written, in order.
    pub(super) fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut skip = self.written;
        self.entries
            .iter()
            .filter_map(move |message| message.frames_in(self.dialect).get(std::mem::take(&mut skip)..))
    }

    /// Counts `bytes` more as written; answers how many application messages were completed.
    pub(super) fn advance(&mut self, bytes: usize) -> usize {
        self.written += bytes;
        let mut done = 0;
        let mut messages = 0;
        for message in &self.entries {
            let length = message.frames_in(self.dialect).len();
            if self.written < length {
                break;
            }
            self.written -= length;
            done += 1;
            messages += usize::from(message.is_message());
        }
        self.entries.drain(..done);
        messages
    }
}

/// Rings that are not needed now, kept by the thread that drained them: under load an outbox overflows its slots many times a second.
mod pool {
    use super::{Outgoing, RefCell, VecDeque};

    const RINGS: usize = 64;
    const ENTRIES: usize = 256;

    thread_local! {
        static POOL: RefCell<Vec<VecDeque<Outgoing>>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn take() -> VecDeque<Outgoing> {
        POOL.try_with(|pool| pool.borrow_mut().pop())
            .ok()
            .flatten()
            .unwrap_or_else(|| VecDeque::with_capacity(14))
    }

    /// `ring` is empty.
    pub(super) fn give(ring: VecDeque<Outgoing>) {
        if ring.capacity() <= ENTRIES {
            // A thread that is ending has no pool any more: then the ring is simply freed.
            POOL.try_with(|pool| {
                let mut pool = pool.borrow_mut();
                if pool.len() < RINGS {
                    pool.push(ring);
                }
            })
            .ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::engineio::Revision;

    const LIMITS: Limits = Limits { bytes: 1000, entries: 8 };

    fn message(number: usize) -> Outgoing {
        let attachments = vec![Bytes::from_static(b"attached attached attached attached"); number % 3 / 2];
        Outgoing::new(&[&number.to_string()], &attachments)
    }

    fn dialect() -> impl Strategy<Value = Dialect> {
        let revision = prop_oneof![Just(Revision::V3), Just(Revision::V4)];
        let least = prop_oneof![Just(None), (1_u32..40).prop_map(NonZeroU32::new)];
        (revision, any::<bool>(), least).prop_map(|(revision, base64, deflate_from)| Dialect {
            revision,
            base64,
            deflate_from,
        })
    }

    fn texts(batch: &Batch) -> Vec<&str> {
        batch.entries.iter().map(Outgoing::text).collect()
    }

    #[test]
    fn one_message_of_any_size_may_wait() {
        let mut outbox = Outbox::new(Dialect::PLAIN);
        assert!(outbox.push(Outgoing::new(&[&"x".repeat(5000)], &[]), LIMITS).is_ok());
        assert!(outbox.push(message(1), LIMITS).is_err());
        assert_eq!(outbox.take(1).entries.len(), 1);
        assert_eq!((outbox.bytes(), outbox.is_empty()), (0, true));
    }

    /// Else who takes nothing could have a hundred times the bound kept for him.
    #[test]
    fn a_compressed_message_counts_what_is_kept_of_it() {
        let dialect = Dialect {
            deflate_from: std::num::NonZeroU32::new(1),
            ..Dialect::PLAIN
        };
        let message = Outgoing::new(&[&"x".repeat(600)], &[]);
        assert!(message.deflate(dialect) && message.frames_in(dialect).len() < 60);
        let mut outbox = Outbox::new(dialect);
        outbox.push(message.clone(), LIMITS).unwrap();
        assert!(outbox.push(message.clone(), LIMITS).is_err());
        let batch = outbox.take(usize::MAX);
        outbox.push(message.clone(), LIMITS).unwrap();
        outbox.put_back(batch);
        assert!(outbox.push(message, LIMITS).is_err());
        assert_eq!((outbox.take(usize::MAX).entries.len(), outbox.held), (2, 0));
    }

    #[test]
    fn entries_are_bounded_too() {
        let mut outbox = Outbox::new(Dialect::PLAIN);
        let taken = (0..20).filter(|number| outbox.push(message(*number), LIMITS).is_ok()).count();
        assert_eq!(taken, LIMITS.entries);
    }

    #[test]
    fn what_was_begun_survives_a_discard() {
        let mut outbox = Outbox::new(Dialect::PLAIN);
        for number in 0..5 {
            outbox.push(message(number), LIMITS).unwrap();
        }
        let mut batch = outbox.take(usize::MAX);
        assert_eq!(batch.advance(5), 1);
        outbox.put_back(batch);
        assert_eq!(outbox.discard().len(), 3);
        let rest = outbox.take(usize::MAX);
        assert_eq!((texts(&rest), rest.written), (vec!["1"], 1));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push,
        /// Takes so many bytes and writes a part of them, in percent.
        Write(usize, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![3 => Just(Step::Push), 1 => (1..60_usize, 0..=100_usize).prop_map(|(take, part)| Step::Write(take, part))];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order_and_none_twice(before in 0..4_usize, steps in steps(), dialect in dialect()) {
            let (mut wire, mut expected, mut waiting) = (Vec::new(), Vec::new(), 0);
            let mut outbox = Outbox::new(Dialect::PLAIN);
            // What waits when a session is upgraded.
            for number in 0..before {
                let message = message(number);
                expected.extend_from_slice(message.frames_in(dialect));
                waiting += message.frames_in(dialect).len();
                outbox.push(message, LIMITS).unwrap();
            }
            outbox.speak(dialect);
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push => {
                        let message = message(number);
                        if number % 2 == 0 && outbox.deflates(&message).is_some() {
                            message.deflate(dialect);
                        }
                        if outbox.push(message.clone(), LIMITS).is_ok() {
                            expected.extend_from_slice(message.frames_in(dialect));
                            waiting += message.frames_in(dialect).len();
                        }
                    }
                    Step::Write(take, part) => {
                        let mut batch = outbox.take(take);
                        let bytes: Vec<u8> = batch.slices().flatten().copied().collect();
                        let written = bytes.len() * part / 100;
                        wire.extend_from_slice(&bytes[..written]);
                        waiting -= written;
                        batch.advance(written);
                        outbox.put_back(batch);
                    }
                }
                prop_assert_eq!(outbox.bytes(), waiting);
                prop_assert!(outbox.len() <= LIMITS.entries);
                prop_assert_eq!(outbox.is_empty(), waiting == 0);
            }
            wire.extend(outbox.take(usize::MAX).slices().flatten());
            prop_assert_eq!(wire, expected);
        }
    }
}
