//! Liveness and readiness: what `/livez` and `/readyz` say.
//!
//! A node is ready while it hears its own canary, a heartbeat that went out through the ordinary publish path and came back. What
//! happens when it is deaf for long is [`WhenDeaf`]: local clients are served in any case, so a cluster whose backend is away stays
//! ready, and only a node that is deaf alone asks its balancer to go round it.

use std::time::Duration;

use serde::Serialize;

/// When a node stops calling itself ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyConfig {
    /// How long the node's own canary may be missing before that counts. Default 30 s.
    pub grace: Duration,
    /// What a node does that has been deaf for longer than `grace`.
    pub when_deaf: WhenDeaf,
}

impl Default for ReadyConfig {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(30),
            when_deaf: WhenDeaf::Alone,
        }
    }
}

/// What a node does that no longer hears its own canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenDeaf {
    /// Not ready only if a peer hears its own canary, and has for longer than `grace`: then the fault is this node's, not the backend's,
    /// and not that of a backend which has just come back, to some nodes sooner than to others.
    #[default]
    Alone,
    /// Not ready.
    Always,
    /// Ready, and says `degraded`.
    Never,
}

/// What a node knows of its own canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Canary {
    /// It came back in time, and has for this long.
    Heard(Duration),
    /// It came back this long ago for the first time: the answers of the other nodes to the newcomer may still be on their way.
    Fresh(Duration),
    /// It has been missing for this long, and was heard before.
    Missing(Duration),
    /// It was never heard since the node started, this long ago.
    Awaited(Duration),
}

/// The body of `/readyz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Readiness {
    /// Whether a balancer should send clients here.
    pub(super) ready: bool,
    /// `heard` or `missing`; what peers that ask look at.
    pub(super) canary: &'static str,
    /// Ready, although other nodes cannot be reached.
    pub(super) degraded: bool,
    /// Shutting down: never ready again.
    pub(super) draining: bool,
    /// How long the canary has been missing; 0 when it is heard.
    pub(super) deaf_ms: u64,
    /// How long the canary has been heard without a break; 0 while it is missing. Peers that ask look at it, too.
    pub(super) heard_ms: u64,
}

impl ReadyConfig {
    /// Whether the answer depends on what peers hear.
    pub(super) fn must_ask_peers(&self, canary: Canary) -> bool {
        self.when_deaf == WhenDeaf::Alone
            && match canary {
                Canary::Heard(_) | Canary::Fresh(_) => false,
                Canary::Missing(time) | Canary::Awaited(time) => time > self.grace,
            }
    }

    /// Judges a node that is not draining. `peer_hears` is whether a peer was found that has heard its canary for longer than `grace`,
    /// `false` when nobody was asked.
    ///
    /// A node that starts is not ready before its first canary and a heartbeat more, until `grace` is over: otherwise a balancer sends it
    /// clients whose broadcasts reach nobody else, and requests for sessions of nodes that it does not know yet.
    pub(super) fn judge(&self, canary: Canary, peer_hears: bool) -> Readiness {
        let (heard, deaf, starting) = match canary {
            Canary::Heard(time) => (Some(time), Duration::ZERO, false),
            Canary::Fresh(time) => (Some(time), Duration::ZERO, true),
            Canary::Missing(time) => (None, time, false),
            Canary::Awaited(time) => (None, time, true),
        };
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let ready = heard.is_some() && !starting
            || match self.when_deaf {
                WhenDeaf::Never => true,
                _ if deaf <= self.grace => !starting,
                WhenDeaf::Always => false,
                WhenDeaf::Alone => !peer_hears,
            };
        Readiness {
            ready,
            canary: if heard.is_some() { "heard" } else { "missing" },
            degraded: ready && heard.is_none(),
            draining: false,
            deaf_ms: milliseconds(deaf),
            heard_ms: heard.map_or(0, milliseconds),
        }
    }
}

impl Readiness {
    /// The same node while it shuts down.
    pub(super) fn draining(self) -> Self {
        Self {
            ready: false,
            degraded: false,
            draining: true,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_secs(29);
    const LONG: Duration = Duration::from_secs(31);

    fn ready(when_deaf: WhenDeaf, canary: Canary, peer_hears: bool) -> (bool, bool) {
        let readiness = ReadyConfig { grace: GRACE, when_deaf }.judge(canary, peer_hears);
        (readiness.ready, readiness.degraded)
    }

    #[test]
    fn a_node_that_hears_its_canary_is_ready() {
        for when_deaf in [WhenDeaf::Alone, WhenDeaf::Always, WhenDeaf::Never] {
            assert_eq!(ready(when_deaf, Canary::Heard(SHORT), true), (true, false));
        }
    }

    #[test]
    fn within_the_grace_a_deaf_node_is_ready_but_degraded() {
        for when_deaf in [WhenDeaf::Alone, WhenDeaf::Always, WhenDeaf::Never] {
            assert_eq!(ready(when_deaf, Canary::Missing(SHORT), true), (true, true));
        }
    }

    #[test]
    fn after_the_grace_the_configuration_decides() {
        assert_eq!(ready(WhenDeaf::Alone, Canary::Missing(LONG), true), (false, false));
        assert_eq!(ready(WhenDeaf::Alone, Canary::Missing(LONG), false), (true, true));
        assert_eq!(ready(WhenDeaf::Always, Canary::Missing(LONG), false), (false, false));
        assert_eq!(ready(WhenDeaf::Never, Canary::Missing(LONG), true), (true, true));
    }

    #[test]
    fn a_starting_node_waits_for_its_first_canary_within_the_grace() {
        assert_eq!(ready(WhenDeaf::Alone, Canary::Awaited(SHORT), false), (false, false));
        assert_eq!(ready(WhenDeaf::Alone, Canary::Awaited(LONG), false), (true, true));
        assert_eq!(ready(WhenDeaf::Always, Canary::Awaited(LONG), false), (false, false));
        assert_eq!(ready(WhenDeaf::Never, Canary::Awaited(SHORT), false), (true, true));
        assert_eq!(ready(WhenDeaf::Alone, Canary::Fresh(SHORT), false), (false, false));
        assert_eq!(ready(WhenDeaf::Never, Canary::Fresh(SHORT), false), (true, false));
    }

    #[test]
    fn peers_are_asked_only_when_their_answer_decides() {
        let alone = ReadyConfig {
            grace: GRACE,
            when_deaf: WhenDeaf::Alone,
        };
        assert!(alone.must_ask_peers(Canary::Missing(LONG)));
        assert!(!alone.must_ask_peers(Canary::Missing(SHORT)));
        assert!(!alone.must_ask_peers(Canary::Heard(SHORT)));
        assert!(
            !ReadyConfig {
                when_deaf: WhenDeaf::Always,
                ..alone
            }
            .must_ask_peers(Canary::Missing(LONG))
        );
    }
}
