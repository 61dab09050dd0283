//! Which numbers of which senders were seen: none is taken twice. A window behind each sender's highest number (RFC 4303, section 3.4.3),
//! so that what overtakes each other on several connections is told from what is repeated. A plain value.

use std::collections::HashMap;

/// Who has signed: random, drawn by each process at its start.
pub(super) type Sender = [u8; 12];

/// Numbers behind a sender's highest that are still told apart; what is older counts as seen. A multiple of 64.
const WINDOW: u64 = 8192;

/// Words of a window.
const WORDS: usize = (WINDOW / 64) as usize;

/// The most senders, of which each costs a kibibyte. A further one replaces the one heard least recently: only who has the cluster's
/// secret becomes a sender at all.
const MAX_SENDERS: usize = 1024;

/// What was seen of each sender.
#[derive(Debug, Default)]
pub(super) struct Replays {
    senders: HashMap<Sender, Window>,
    /// Counts calls; orders senders by when they were heard.
    now: u64,
}

#[derive(Debug)]
struct Window {
    highest: u64,
    /// A bit for each of the last numbers, at its number modulo the window.
    seen: Box<[u64; WORDS]>,
    heard: u64,
}

impl Replays {
    /// Whether this number of the sender is new; it is not from then on.
    pub(super) fn first(&mut self, sender: Sender, number: u64) -> bool {
        self.now += 1;
        if self.senders.len() >= MAX_SENDERS && !self.senders.contains_key(&sender) {
            self.forget_oldest();
        }
        let window = self.senders.entry(sender).or_insert_with(|| Window {
            highest: 0,
            seen: Box::new([0; WORDS]),
            heard: 0,
        });
        window.heard = self.now;
        window.first(number)
    }

    fn forget_oldest(&mut self) {
        let oldest = self
            .senders
            .iter()
            .min_by_key(|(_, window)| window.heard)
            .map(|(sender, _)| *sender);
        if let Some(oldest) = oldest {
            self.senders.remove(&oldest);
        }
    }
}

impl Window {
    fn first(&mut self, number: u64) -> bool {
        if number > self.highest {
            // The places between hold what is a window older.
            let passed = number - self.highest;
            if passed >= WINDOW {
                self.seen.fill(0);
            } else {
                for between in self.highest + 1..number {
                    self.mark(between, false);
                }
            }
            self.highest = number;
        } else if self.highest - number >= WINDOW || self.mark(number, true) {
            return false;
        }
        self.mark(number, true);
        true
    }

    /// Notes a number as seen or not; says what it was.
    fn mark(&mut self, number: u64, seen: bool) -> bool {
        let (place, bit) = (number % WINDOW, 1 << (number % 64));
        let Some(word) = self.seen.get_mut((place / 64) as usize) else {
            return true;
        };
        let before = *word & bit != 0;
        *word = if seen { *word | bit } else { *word & !bit };
        before
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const ONE: Sender = [1; 12];
    const TWO: Sender = [2; 12];

    #[test]
    fn each_number_is_taken_once_in_any_order() {
        let mut replays = Replays::default();
        for number in [3, 1, 2, WINDOW + 1, 5] {
            assert!(replays.first(ONE, number), "{number}");
        }
        for number in [3, 1, 2, WINDOW + 1, 5] {
            assert!(!replays.first(ONE, number), "{number}");
        }
        assert!(replays.first(TWO, 3), "another sender's is another number");
        assert!(!replays.first(ONE, 1), "too old to tell");
        assert!(replays.first(ONE, u64::MAX) && !replays.first(ONE, u64::MAX) && replays.first(ONE, u64::MAX - 1));
    }

    #[test]
    fn memory_is_bounded() {
        let mut replays = Replays::default();
        for sender in 0..=MAX_SENDERS {
            let mut name = [0; 12];
            name[..8].copy_from_slice(&sender.to_be_bytes());
            assert!(replays.first(name, 1));
            assert!(!replays.first(ONE, 1) || sender == 0, "one that is heard stays");
        }
        assert_eq!(replays.senders.len(), MAX_SENDERS);
    }

    proptest! {
        /// Against a set of everything that was seen.
        #[test]
        fn a_window_tells_what_a_set_tells(numbers in prop::collection::vec(1..3 * WINDOW, 1..2000)) {
            let (mut replays, mut seen, mut highest) = (Replays::default(), HashSet::new(), 0);
            for number in numbers {
                let (known, too_old) = (seen.contains(&number), highest >= number + WINDOW);
                prop_assert_eq!(replays.first(ONE, number), !known && !too_old, "{} of {}", number, highest);
                seen.insert(number);
                highest = highest.max(number);
            }
        }
    }
}
