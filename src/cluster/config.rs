//! What a cluster is told when it starts, and why it may refuse.

use std::time::Duration;

use super::{NameError, Secret};

/// The longest node name and advertised address, in bytes.
pub(super) const MAX_TEXT: usize = 255;

/// How a node takes part in its cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster's name, 1 to 64 characters of `A-Z a-z 0-9 _ -`: nodes of different names share a backend without hearing each other.
    pub name: String,
    /// What other nodes call this one in logs and pages; at most 255 bytes. One without a name is called by its
    /// tag, which is another one at each start.
    pub node: String,
    /// Secrets that the nodes share. The first signs, each is believed, so that a secret can be rotated; without any, nothing is
    /// signed and everything believed.
    pub secrets: Vec<Secret>,
    /// The time between two heartbeats.
    pub heartbeat: Duration,
    /// The silence after which a member is suspected, and this node holds itself for deaf; at least two heartbeats.
    pub suspect_after: Duration,
    /// The silence after which a member is removed; longer than `suspect_after`.
    pub remove_after: Duration,
    /// How long events for a recoverable namespace are held while its log is away; after that, emits are refused as busy until it takes
    /// them. Default: 10 s.
    pub hold_time: Duration,
    /// Bytes of events for one recoverable namespace that are held while its log is away; above it emits are refused as busy. Default:
    /// 8 MiB.
    pub hold_bytes: usize,
    /// How many of the newest entries of a recoverable namespace's log are kept in memory, so that who comes back soon is served without
    /// asking the log. Default: 4096.
    pub tail_entries: usize,
    /// How many bytes of them. Default: 4 MiB.
    pub tail_bytes: usize,
    /// Where other nodes reach this node's internal listener (`host:port`); at most 255 bytes, empty when they do not.
    pub advertise: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "fanfare".to_owned(),
            node: String::new(),
            secrets: Vec::new(),
            heartbeat: Duration::from_secs(1),
            suspect_after: Duration::from_millis(2500),
            remove_after: Duration::from_secs(10),
            hold_time: Duration::from_secs(10),
            hold_bytes: 8 << 20,
            tail_entries: 4096,
            tail_bytes: 4 << 20,
            advertise: String::new(),
        }
    }
}

/// Why a cluster cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The cluster's name is not one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The times do not fit together.
    #[error("expected 0 < 2 * heartbeat <= suspect_after < remove_after, got {heartbeat:?}, {suspect_after:?}, {remove_after:?}")]
    Times {
        /// [`Config::heartbeat`].
        heartbeat: Duration,
        /// [`Config::suspect_after`].
        suspect_after: Duration,
        /// [`Config::remove_after`].
        remove_after: Duration,
    },
    /// The node's name or its address is too long.
    #[error("the {0} is longer than {MAX_TEXT} bytes")]
    TooLong(&'static str),
    /// The adapter's inbox was taken before: an adapter serves one cluster.
    #[error("the adapter is in use already")]
    AdapterInUse,
    /// The hub has an observer already: it is in one cluster at most.
    #[error("the hub is in use already")]
    HubInUse,
}

impl Config {
    /// Checks what can be checked without starting anything.
    ///
    /// # Errors
    /// [`StartError::Name`], [`StartError::Times`], [`StartError::TooLong`].
    pub fn check(&self) -> Result<(), StartError> {
        super::topics::Topics::new(&self.name)?;
        let Self {
            heartbeat,
            suspect_after,
            remove_after,
            ..
        } = *self;
        if heartbeat.is_zero() || heartbeat.saturating_mul(2) > suspect_after || suspect_after >= remove_after {
            return Err(StartError::Times {
                heartbeat,
                suspect_after,
                remove_after,
            });
        }
        for (what, text) in [("node's name", &self.node), ("advertised address", &self.advertise)] {
            if text.len() > MAX_TEXT {
                return Err(StartError::TooLong(what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_cannot_work_is_refused() {
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            config.check()
        };
        assert_eq!(with(|_| ()), Ok(()));
        assert!(matches!(with(|config| config.name = "a.b".into()), Err(StartError::Name(_))));
        assert!(matches!(
            with(|config| config.heartbeat = Duration::ZERO),
            Err(StartError::Times { .. })
        ));
        assert!(matches!(
            with(|config| config.heartbeat = Duration::MAX),
            Err(StartError::Times { .. })
        ));
        assert!(matches!(
            with(|config| config.suspect_after = config.remove_after),
            Err(StartError::Times { .. })
        ));
        assert!(matches!(
            with(|config| config.advertise = "x".repeat(256)),
            Err(StartError::TooLong(_))
        ));
    }
}
