//! Passes places round the connections: who holds one emits an event, and when its ack has come the place goes to the next connection.
//!
//! So all connections have their turn, however few the places are. The next connection is one of the same thread as long as there is one:
//! to wake another thread for each ack would cost more than the ack.

use tokio::sync::mpsc::{Receiver, Sender, channel};

/// All connections, in a ring.
#[derive(Debug)]
pub(super) struct Ring {
    /// By connection: how many places it is given. A channel that is as long as there are places is never full.
    connections: Vec<Sender<usize>>,
    threads: usize,
}

/// What one connection is given.
#[derive(Debug)]
pub(super) struct Given(Receiver<usize>);

impl Ring {
    /// One with so many places, dealt to the connections in turn; and what each of those is given.
    pub(super) fn new(connections: usize, places: usize, threads: usize) -> (Self, Vec<Option<Given>>) {
        let (senders, given): (Vec<_>, Vec<_>) = (0..connections).map(|_| channel(places.max(1))).unzip();
        let ring = Self {
            connections: senders,
            threads,
        };
        for connection in 0..connections {
            let share = places / connections + usize::from(connection < places % connections);
            ring.give(connection, share);
        }
        (ring, given.into_iter().map(|given| Some(Given(given))).collect())
    }

    /// Gives places of a connection to the next one that takes any. Where there is none they are of no use any more.
    pub(super) fn pass(&self, from: usize, places: usize) {
        let mut to = from;
        for _ in 0..self.connections.len() {
            to = self.next(to);
            if self.give(to, places) {
                return;
            }
        }
    }

    fn give(&self, to: usize, places: usize) -> bool {
        places == 0 || self.connections.get(to).is_some_and(|to| to.try_send(places).is_ok())
    }

    /// The next of the same thread; behind the last one of a thread the first of the next thread. Connection i is on thread i mod n.
    fn next(&self, connection: usize) -> usize {
        let all = self.connections.len();
        let next = connection + self.threads;
        if next < all {
            next
        } else {
            (connection % self.threads + 1) % self.threads.min(all)
        }
    }
}

impl Given {
    /// How many places there are, as soon as there are some. Cancel safe.
    pub(super) async fn next(&mut self) -> usize {
        match self.0.recv().await {
            Some(places) => places + self.waiting(),
            // The run is over.
            None => std::future::pending().await,
        }
    }

    /// Takes no more; how many there were.
    pub(super) fn close(&mut self) -> usize {
        self.0.close();
        self.waiting()
    }

    fn waiting(&mut self) -> usize {
        std::iter::from_fn(|| self.0.try_recv().ok()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where one place has been after so many turns.
    fn turns(connections: usize, threads: usize, count: usize) -> Vec<usize> {
        let (ring, _given) = Ring::new(connections, 1, threads);
        std::iter::successors(Some(0), |at| Some(ring.next(*at))).take(count).collect()
    }

    #[test]
    fn a_place_comes_to_all_connections_one_thread_after_the_other() {
        assert_eq!(turns(5, 2, 6), [0, 2, 4, 1, 3, 0]);
        assert_eq!(turns(3, 8, 4), [0, 1, 2, 0]);
        assert_eq!(turns(1, 2, 2), [0, 0]);
    }

    #[test]
    fn places_are_dealt_in_turn_and_passed_over_who_takes_none() {
        let (ring, given) = Ring::new(3, 4, 1);
        let mut given: Vec<_> = given.into_iter().flatten().collect();
        assert_eq!(given.iter_mut().map(Given::waiting).collect::<Vec<_>>(), [2, 1, 1]);
        assert_eq!(given[1].close(), 0);
        ring.pass(0, 3);
        assert_eq!((given[2].waiting(), given[0].waiting()), (3, 0));
        given[2].close();
        // There is nobody else.
        ring.pass(0, 2);
        assert_eq!(given[0].waiting(), 2);
        given[0].close();
        ring.pass(0, 2);
    }
}
