//! Counts lost, repeated and overtaken messages of one receiver.

use std::collections::BTreeSet;

/// What one receiver saw of all publishers.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    streams: Vec<Stream>,
    counts: Counts,
}

/// Deliveries by what was wrong with them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// First deliveries, in order or not.
    pub(crate) received: u64,
    /// Deliveries of a message that had been delivered before.
    pub(crate) duplicate: u64,
    /// First deliveries that came after one with a higher number.
    pub(crate) out_of_order: u64,
}

/// One publisher's messages at one receiver.
#[derive(Debug, Default)]
struct Stream {
    /// The highest number seen.
    highest: u64,
    /// Numbers below it that were not seen. Bounded by what the publisher sent.
    missing: BTreeSet<u64>,
}

impl Tally {
    /// Counts a delivery of message `sequence` (from 1) of `publisher`.
    pub(crate) fn delivered(&mut self, publisher: usize, sequence: u64) {
        if self.streams.len() <= publisher {
            self.streams.resize_with(publisher + 1, Stream::default);
        }
        let Some(stream) = self.streams.get_mut(publisher) else { return };
        if sequence > stream.highest {
            stream.missing.extend(stream.highest + 1..sequence);
            stream.highest = sequence;
        } else if stream.missing.remove(&sequence) {
            self.counts.out_of_order += 1;
        } else {
            self.counts.duplicate += 1;
            return;
        }
        self.counts.received += 1;
    }

    /// What was counted so far.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(sequences: &[u64]) -> Counts {
        let mut tally = Tally::default();
        for sequence in sequences {
            tally.delivered(0, *sequence);
        }
        tally.counts()
    }

    #[test]
    fn a_stream_in_order_is_clean() {
        assert_eq!(
            tally(&[1, 2, 3]),
            Counts {
                received: 3,
                duplicate: 0,
                out_of_order: 0
            }
        );
    }

    #[test]
    fn a_hole_is_not_received_and_a_late_one_is_out_of_order() {
        assert_eq!(
            tally(&[1, 4]),
            Counts {
                received: 2,
                duplicate: 0,
                out_of_order: 0
            }
        );
        assert_eq!(
            tally(&[1, 4, 2, 3]),
            Counts {
                received: 4,
                duplicate: 0,
                out_of_order: 2
            }
        );
    }

    #[test]
    fn a_repetition_is_a_duplicate_however_late() {
        assert_eq!(
            tally(&[1, 1, 3, 2, 2]),
            Counts {
                received: 3,
                duplicate: 2,
                out_of_order: 1
            }
        );
    }

    #[test]
    fn publishers_are_counted_apart() {
        let mut tally = Tally::default();
        tally.delivered(1, 1);
        tally.delivered(0, 1);
        assert_eq!(
            tally.counts(),
            Counts {
                received: 2,
                duplicate: 0,
                out_of_order: 0
            }
        );
    }
}
