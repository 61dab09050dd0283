//! Restores each publisher's order across subscriptions that are queued apart.
//!
//! One task of the client library reads the connection and puts each message into the queue of its subscription, one after the other.
//! A *pass* empties every queue that has something. Say a pass found message B, and A of the same publisher was sent before B: then A
//! was in its queue before B was in its own, so it is found by the end of the NEXT pass at the latest. Hence a message may be
//! delivered when a second pass has followed the one that found it: together with everything older that the second pass has found.

use std::collections::HashMap;

use bytes::Bytes;

use super::stamp::Stamp;
use crate::Topic;

/// A message that a subscription has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) stamp: Stamp,
    pub(super) topic: Topic,
    pub(super) payload: Bytes,
}

/// Holds the messages of the last pass until the next one is done.
#[derive(Debug, Default)]
pub(super) struct Merge {
    /// What the last pass has found and may not be delivered yet: at most one pass, which is bounded by the library's queues.
    held: Vec<Heard>,
}

impl Merge {
    /// Takes what a pass has found and answers what may be delivered: each publisher's messages in order.
    pub(super) fn pass(&mut self, mut found: Vec<Heard>) -> Vec<Heard> {
        let mut ripe = std::mem::take(&mut self.held);
        let mut latest = HashMap::new();
        for Heard { stamp, .. } in &ripe {
            let known = latest.entry(stamp.publisher).or_insert(stamp.sequence);
            *known = stamp.sequence.max(*known);
        }
        let is_ripe = |heard: &mut Heard| {
            latest
                .get(&heard.stamp.publisher)
                .is_some_and(|latest| heard.stamp.sequence <= *latest)
        };
        ripe.extend(found.extract_if(.., is_ripe));
        self.held = found;
        // Stable, and nearly sorted already.
        ripe.sort_by_key(|heard| heard.stamp);
        ripe
    }

    /// Whether something waits for the next pass, which must then not wait for new messages.
    pub(super) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const QUEUES: usize = 4;

    fn heard(publisher: u64, sequence: u64) -> Heard {
        Heard {
            stamp: Stamp { publisher, sequence },
            topic: Topic::new("t").unwrap(),
            payload: Bytes::new(),
        }
    }

    #[test]
    fn an_older_message_of_the_second_pass_goes_first() {
        let mut merge = Merge::default();
        assert_eq!(merge.pass(vec![heard(1, 2)]), []);
        assert_eq!(merge.pass(vec![heard(1, 1), heard(1, 3)]), [heard(1, 1), heard(1, 2)]);
        assert!(merge.is_holding());
        assert_eq!(merge.pass(Vec::new()), [heard(1, 3)]);
        assert!(!merge.is_holding());
    }

    proptest! {
        /// Any interleaving of the library's one reader with passes that visit the queues in any order.
        #[test]
        fn every_interleaving_yields_each_publishers_messages_in_order(
            // The reader's work: which publisher's next message, into which queue.
            sent in prop::collection::vec((0..3_u64, 0..QUEUES), 0..200),
            // How many messages the reader delivers before each visit, and in which order each pass visits the queues.
            pace in prop::collection::vec(0..4_usize, 1..200),
            orders in prop::collection::vec(Just((0..QUEUES).collect::<Vec<_>>()).prop_shuffle(), 1..20),
        ) {
            let mut next = HashMap::new();
            let mut reader: VecDeque<_> = sent.iter().map(|(publisher, queue)| {
                let sequence = next.entry(*publisher).or_insert(0_u64);
                *sequence += 1;
                (heard(*publisher, *sequence), *queue)
            }).collect();
            let expected: Vec<_> = reader.iter().map(|(heard, _)| heard.stamp).collect();
            let mut queues = vec![Vec::new(); QUEUES];
            let mut pace = pace.into_iter().cycle();
            let mut merge = Merge::default();
            let mut delivered = Vec::new();
            // `pace` may be all zeros: the reader then moves once a pass.
            for order in orders.iter().cycle() {
                let idle = reader.is_empty() && !merge.is_holding() && queues.iter().all(Vec::is_empty);
                if idle {
                    break;
                }
                let mut found = Vec::new();
                for queue in order {
                    for _ in 0..pace.next().unwrap_or(1) {
                        if let Some((heard, into)) = reader.pop_front() {
                            queues[into].push(heard);
                        }
                    }
                    found.append(&mut queues[*queue]);
                }
                if let Some((heard, into)) = reader.pop_front() {
                    queues[into].push(heard);
                }
                delivered.extend(merge.pass(found).into_iter().map(|heard| heard.stamp));
            }
            for publisher in 0..3 {
                let of = |stamps: &[Stamp]| stamps.iter().filter(|stamp| stamp.publisher == publisher).copied().collect::<Vec<_>>();
                prop_assert_eq!(of(&delivered), of(&expected));
            }
        }
    }
}
