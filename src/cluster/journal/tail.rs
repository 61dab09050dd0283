//! The newest entries of one log, as they were delivered here: a plain value.

use std::{collections::VecDeque, sync::Arc};

use fanfare_adapters::Bound;

use crate::hub::recovery::Logged;

/// Entries without a hole, up to the newest. Above its bounds it forgets the oldest.
#[derive(Debug)]
pub(super) struct Tail {
    most: Bound,
    entries: VecDeque<(Arc<Logged>, usize)>,
    bytes: usize,
}

impl Tail {
    pub(super) const fn new(most: Bound) -> Self {
        Self {
            most,
            entries: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The next entry was delivered, which has so many bytes. If it is not the next, what was before is forgotten.
    pub(super) fn push(&mut self, entry: Arc<Logged>, bytes: usize) {
        if self.entries.back().is_some_and(|(last, _)| last.position + 1 != entry.position) {
            self.clear();
        }
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
        while self.entries.len() > self.most.entries || self.bytes > self.most.bytes {
            let Some((_, bytes)) = self.entries.pop_front() else { break };
            self.bytes -= bytes;
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// The entries after a position, at most so many and at most about so many bytes; nothing unless it has the next one.
    pub(super) fn after(&self, position: u64, page: Bound) -> Option<Vec<Arc<Logged>>> {
        let (first, _) = self.entries.front()?;
        let skipped = usize::try_from((position + 1).checked_sub(first.position)?).ok()?;
        let mut bytes = 0;
        let fits = |(_, size): &&(Arc<Logged>, usize)| {
            let fits = bytes == 0 || bytes + size <= page.bytes;
            bytes += size;
            fits
        };
        let entries = self.entries.iter().skip(skipped).take(page.entries).take_while(fits);
        let entries: Vec<_> = entries.map(|(entry, _)| Arc::clone(entry)).collect();
        (!entries.is_empty()).then_some(entries)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(position: u64) -> Arc<Logged> {
        Arc::new(Logged { position, command: None })
    }

    proptest! {
        /// What it has is the end of all that was pushed since the last hole, as long as its bounds allow, and a page is the beginning of what
        /// comes after a position.
        #[test]
        fn has_the_newest_entries_without_a_hole(
            pushed in prop::collection::vec((1..100_usize, prop::bool::weighted(0.05)), 1..100),
            entries in 1..30_usize,
            bytes in 50..1000_usize,
            page_entries in 1..20_usize,
            page_bytes in 1..500_usize,
        ) {
            let mut tail = Tail::new(Bound { entries, bytes });
            let mut all: Vec<(u64, usize)> = Vec::new();
            let mut position = 10;
            for (size, hole) in pushed {
                position += 1;
                if hole {
                    position += 5;
                    all.clear();
                }
                tail.push(entry(position), size);
                all.push((position, size));
                let kept = (0..=all.len()).rev().find(|kept| {
                    let rest = &all[all.len() - kept..];
                    *kept <= entries && rest.iter().map(|(_, size)| size).sum::<usize>() <= bytes
                });
                let kept = &all[all.len() - kept.unwrap()..];
                prop_assert_eq!(tail.entries.len(), kept.len());
                for after in position.saturating_sub(40)..position + 3 {
                    let page = tail.after(after, Bound { entries: page_entries, bytes: page_bytes });
                    let known = kept.iter().position(|(position, _)| *position == after + 1);
                    prop_assert_eq!(page.is_some(), known.is_some());
                    let (Some(page), Some(known)) = (page, known) else { continue };
                    prop_assert!(page.len() <= page_entries);
                    let sizes = |count: usize| kept[known..known + count].iter().map(|(_, size)| size).sum::<usize>();
                    prop_assert!(page.len() == 1 || sizes(page.len()) <= page_bytes);
                    let full = page.len() == page_entries || known + page.len() == kept.len() || sizes(page.len() + 1) > page_bytes;
                    prop_assert!(full, "{} entries after {after}", page.len());
                    for (entry, (position, _)) in page.iter().zip(&kept[known..]) {
                        prop_assert_eq!(entry.position, *position);
                    }
                }
            }
        }
    }
}
