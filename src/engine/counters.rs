//! Counters of one engine: plain atomics, which the node renders.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::CloseReason;

/// What an engine has done since it was made. Values only grow; sessions that are open are `opened` less the sum of `closed`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Sessions opened.
    pub opened: Counter,
    /// Sessions closed, one counter a reason; read with [`Counters::closed`].
    closed: [Counter; CloseReason::ALL.len()],
    /// Upgrades from polling to WebSocket that were completed.
    pub upgraded: Counter,
    /// Messages taken from peers.
    pub messages_in: Counter,
    /// Bytes of the messages taken from peers, without framing.
    pub bytes_in: Counter,
    /// Messages written to peers (an attachment is part of its message).
    pub messages_out: Counter,
    /// Bytes written to peers, with framing.
    pub bytes_out: Counter,
    /// Messages compressed for WebSockets, each once for all that get it.
    pub messages_deflated: Counter,
    /// Volatile messages dropped because the transport was not writable.
    pub volatile_dropped: Counter,
    /// Sessions closed because more waited for them than an outbox takes.
    pub slow_consumers: Counter,
    /// Polls given once more the answer of the same poll before, which was lost with the connection that carried it.
    pub polls_repeated: Counter,
    /// Connections reset because the peer took nothing for `write_timeout`.
    pub write_timeouts: Counter,
    /// Handshakes refused for want of room, or during the shutdown.
    pub refused: Counter,
    /// Handshakes refused because the client's address had as many sessions as one may have.
    pub crowded: Counter,
}

impl Counters {
    /// Sessions closed for `reason`.
    #[must_use]
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed.get(reason as usize).map_or(0, Counter::get)
    }

    /// Sessions that are open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(Counter::get).sum();
        self.opened.get().saturating_sub(closed)
    }

    pub(super) fn count_closed(&self, reason: CloseReason) {
        if let Some(counter) = self.closed.get(reason as usize) {
            counter.increment();
        }
    }
}

/// One number: it only grows, but for those that are declared as gauges.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    pub(crate) fn add(&self, amount: u64) {
        if amount != 0 {
            self.0.fetch_add(amount, Relaxed);
        }
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// Of a gauge.
    pub(crate) fn decrement(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Declares the counters of a layer above: a struct `Counters` with one [`Counter`] for each name.
macro_rules! counters {
    ($(#[$about:meta])* pub struct Counters { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: $crate::engine::Counter,)*
        }

        impl Counters {
            /// Name and value of each, in the order of declaration.
            #[must_use]
            pub fn snapshot(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get())),*]
            }
        }
    };
}

pub(crate) use counters;
