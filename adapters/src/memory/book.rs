//! One log in memory: a plain value.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{AppendError, Appended, Bound, Entry, Page, Place, ReadError};

/// What an entry costs beside its bytes.
const OVERHEAD: usize = size_of::<Line>();

/// How much a log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retention {
    pub(super) bytes: usize,
    pub(super) age: Duration,
}

/// The entries that are kept, in order and without a hole, and where each origin stands.
#[derive(Debug)]
pub(super) struct Book {
    epoch: u64,
    /// The position of the newest entry.
    last: u64,
    lines: VecDeque<Line>,
    bytes: usize,
    trimmed: u64,
    origins: HashMap<Arc<str>, Origin>,
}

#[derive(Debug)]
struct Line {
    entry: Bytes,
    appended: Instant,
}

/// The last that an origin has appended.
#[derive(Debug)]
struct Origin {
    sequence: u64,
    heard: Instant,
}

impl Book {
    pub(super) fn new(epoch: u64) -> Self {
        Self {
            epoch,
            last: 0,
            lines: VecDeque::new(),
            bytes: 0,
            trimmed: 0,
            origins: HashMap::new(),
        }
    }

    pub(super) fn end(&self) -> Place {
        Place {
            epoch: self.epoch,
            position: self.last,
        }
    }

    /// Whether a new log would serve as well.
    pub(super) fn is_forgotten(&self) -> bool {
        self.lines.is_empty() && self.origins.is_empty()
    }

    pub(super) fn entries(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn trimmed(&self) -> u64 {
        self.trimmed
    }

    pub(super) fn append(&mut self, origin: &str, sequence: u64, entry: Bytes, now: Instant) -> Result<Appended, AppendError> {
        match self.origins.get_mut(origin) {
            Some(known) if sequence <= known.sequence => return Ok(Appended::Before),
            Some(known) if sequence > known.sequence + 1 => {
                let expected = known.sequence + 1;
                return Err(AppendError::OutOfOrder { expected });
            }
            Some(known) => *known = Origin { sequence, heard: now },
            None => drop(self.origins.insert(origin.into(), Origin { sequence, heard: now })),
        }
        self.last += 1;
        self.bytes += entry.len() + OVERHEAD;
        self.lines.push_back(Line { entry, appended: now });
        Ok(Appended::At(self.last))
    }

    /// Forgets what is too old, and the oldest of what is too much. The newest entry of any size stays until it is too old.
    pub(super) fn trim(&mut self, retention: Retention, now: Instant) {
        let old = |then: Instant| now.saturating_duration_since(then) > retention.age;
        while let Some(line) = self
            .lines
            .pop_front_if(|line| old(line.appended) || (self.bytes > retention.bytes && self.bytes > line.entry.len() + OVERHEAD))
        {
            self.bytes -= line.entry.len() + OVERHEAD;
            self.trimmed += 1;
        }
        if self.lines.is_empty() {
            self.lines = VecDeque::new();
        }
        // An origin is asked for again within the seconds for which it holds what was not confirmed.
        self.origins.retain(|_, origin| !old(origin.heard));
    }

    pub(super) fn read(&self, after: u64, bound: Bound) -> Result<Page, ReadError> {
        if after > self.last {
            return Err(ReadError::Ahead { end: self.last });
        }
        let first = self.last - self.lines.len() as u64 + 1;
        let skipped = (after + 1).checked_sub(first).ok_or(ReadError::Trimmed { first })?;
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0_usize;
        for (line, position) in self.lines.iter().skip(skipped).zip(after + 1..) {
            bytes = bytes.saturating_add(line.entry.len());
            if !entries.is_empty() && (entries.len() >= bound.entries || bytes > bound.bytes) {
                break;
            }
            entries.push(Entry {
                position,
                entry: line.entry.clone(),
            });
        }
        Ok(Page { entries, end: self.end() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// An origin appends under its last number plus this minus two, so many bytes.
        Append(u8, u64, usize),
        Read(u64, usize, usize),
        /// Seconds.
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => (0_u8..3, prop_oneof![6 => Just(3_u64), 1 => 0_u64..6], 0_usize..200).prop_map(|(who, next, size)| Step::Append(who, next, size)),
            3 => (0_u64..60, 0_usize..8, 0_usize..500).prop_map(|(after, entries, bytes)| Step::Read(after, entries, bytes)),
            1 => (0_u64..40).prop_map(Step::Wait),
        ]
    }

    /// Remembers everything for ever, and what is too old or too much by counting from the end.
    #[derive(Default)]
    struct Model {
        all: Vec<(Vec<u8>, Instant)>,
        kept: usize,
        sequences: HashMap<u8, (u64, Instant)>,
    }

    proptest! {
        /// A log agrees with a list that forgets nothing, whatever is done to it; only what the retention allows is missing.
        #[test]
        fn reads_what_a_naive_model_reads(steps in prop::collection::vec(step(), 1..150)) {
            let retention = Retention { bytes: 1500, age: Duration::from_secs(60) };
            let mut now = Instant::now();
            let (mut book, mut model) = (Book::new(7), Model::default());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Append(who, next, size) => {
                        let entry = vec![u8::try_from(number % 256).unwrap(); size];
                        let known = model.sequences.get(&who).copied();
                        let sequence = known.map_or(next, |(last, _)| (last + next).saturating_sub(2));
                        let outcome = book.append(&who.to_string(), sequence, entry.clone().into(), now);
                        match known {
                            Some((last, _)) if sequence <= last => prop_assert_eq!(outcome, Ok(Appended::Before)),
                            Some((last, _)) if sequence != last + 1 => prop_assert_eq!(outcome, Err(AppendError::OutOfOrder { expected: last + 1 })),
                            _ => {
                                model.all.push((entry, now));
                                model.kept += 1;
                                model.sequences.insert(who, (sequence, now));
                                prop_assert_eq!(outcome, Ok(Appended::At(model.all.len() as u64)));
                            }
                        }
                    }
                    Step::Wait(seconds) => now += Duration::from_secs(seconds),
                    Step::Read(after, entries, bytes) => {
                        let outcome = book.read(after, Bound { entries, bytes });
                        let end = model.all.len() as u64;
                        let first = end - model.kept as u64 + 1;
                        if after > end {
                            prop_assert_eq!(outcome, Err(ReadError::Ahead { end }));
                        } else if after + 1 < first {
                            prop_assert_eq!(outcome, Err(ReadError::Trimmed { first }));
                        } else {
                            let page = outcome.unwrap();
                            prop_assert_eq!(page.end, Place { epoch: 7, position: end });
                            let rest = &model.all[usize::try_from(after).unwrap()..];
                            prop_assert_eq!(page.entries.is_empty(), rest.is_empty());
                            prop_assert!(page.entries.len() <= entries.max(1));
                            let read: usize = page.entries.iter().map(|entry| entry.entry.len()).sum();
                            prop_assert!(page.entries.len() < 2 || read <= bytes);
                            for (entry, ((expected, _), position)) in page.entries.iter().zip(rest.iter().zip(after + 1..)) {
                                prop_assert_eq!((&*entry.entry, entry.position), (&**expected, position));
                            }
                        }
                    }
                }
                book.trim(retention, now);
                model.sequences.retain(|_, (_, heard)| now - *heard <= retention.age);
                let fits = |kept: usize| {
                    let rest = &model.all[model.all.len() - kept..];
                    let bytes: usize = rest.iter().map(|(entry, _)| entry.len() + OVERHEAD).sum();
                    kept == 0 || (now - rest[0].1 <= retention.age && (bytes <= retention.bytes || kept == 1))
                };
                while !fits(model.kept) {
                    model.kept -= 1;
                }
                prop_assert_eq!(book.entries(), model.kept);
                prop_assert_eq!(book.entries() as u64 + book.trimmed(), model.all.len() as u64);
            }
        }
    }
}
