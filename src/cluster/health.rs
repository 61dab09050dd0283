//! How a node stands in its cluster, for those who ask.

use std::time::{Duration, Instant};

use super::Member;

/// How a node hears its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// How long ago this node heard its own heartbeat through the backend; nothing when it never did. A healthy node's is below two
    /// heartbeats.
    pub canary_age: Option<Duration>,
    /// Since when this node has heard nothing of itself (its start, if it never did), once that is longer than `suspect_after`.
    pub deaf_since: Option<Instant>,
    /// Since when this node has heard its own heartbeats without a break of more than `suspect_after`; nothing while it is deaf.
    pub hearing_since: Option<Instant>,
    /// Whether the adapter says that its backend is reachable and its subscriptions confirmed.
    pub connected: bool,
    /// Other living nodes, the suspected ones among them.
    pub peers: usize,
    /// Nodes among `peers` of which nothing was heard for `suspect_after`.
    pub suspected: usize,
    /// Deaf or not connected: what is emitted here does not reach other nodes, or theirs not this one.
    pub degraded: bool,
}

/// What the receiving task last knew; health is computed from it when it is asked for.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub(super) started: Instant,
    pub(super) heard: Option<Instant>,
    pub(super) hearing_since: Option<Instant>,
    pub(super) connected: bool,
    pub(super) members: Vec<Member>,
}

impl Standing {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            heard: None,
            hearing_since: None,
            connected: false,
            members: Vec::new(),
        }
    }

    pub(super) fn health(&self, now: Instant, suspect_after: Duration) -> Health {
        let since = self.heard.unwrap_or(self.started);
        let deaf = now.saturating_duration_since(since) > suspect_after;
        Health {
            canary_age: self.heard.map(|heard| now.saturating_duration_since(heard)),
            deaf_since: deaf.then_some(since),
            hearing_since: self.hearing_since.filter(|_| !deaf),
            connected: self.connected,
            peers: self.members.len(),
            suspected: self.members.iter().filter(|member| member.suspected).count(),
            degraded: deaf || !self.connected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_deaf_once_its_canary_is_overdue() {
        let (start, limit) = (Instant::now(), Duration::from_millis(2500));
        let after = |ms| start + Duration::from_millis(ms);
        let mut standing = Standing::new(start);
        standing.connected = true;
        assert_eq!(standing.health(after(2500), limit).deaf_since, None);
        assert_eq!(standing.health(after(2501), limit).deaf_since, Some(start));
        (standing.heard, standing.hearing_since) = (Some(after(3000)), Some(after(2000)));
        assert_eq!(standing.health(after(4000), limit).hearing_since, Some(after(2000)));
        assert_eq!(standing.health(after(6000), limit).hearing_since, None);
        let health = standing.health(after(4000), limit);
        assert_eq!(
            (health.canary_age, health.deaf_since, health.degraded),
            (Some(Duration::from_secs(1)), None, false)
        );
        assert!(standing.health(after(6000), limit).degraded);
        standing.connected = false;
        assert!(standing.health(after(4000), limit).degraded);
    }
}
