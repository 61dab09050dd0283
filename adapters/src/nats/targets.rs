//! The servers that a session may be made with: those that were configured, then those that a cluster has announced.

use std::sync::{Arc, Mutex, PoisonError};

use async_nats::ServerAddr;

use super::config::{Login, Target};

/// Servers that are remembered of an announcement.
const ANNOUNCED: usize = 64;

/// The servers that are configured, and those that are announced.
pub(super) struct Targets {
    configured: Vec<Target>,
    announced: Arc<Announced>,
}

/// The servers of a cluster, by the last announcement of the server at hand.
#[derive(Default)]
pub(super) struct Announced(Mutex<Vec<Target>>);

impl Targets {
    pub(super) fn new(configured: Vec<Target>) -> Self {
        Self {
            configured,
            announced: Arc::default(),
        }
    }

    pub(super) fn announced(&self) -> Arc<Announced> {
        self.announced.clone()
    }

    /// Those that were configured come first.
    pub(super) fn all(&self) -> Vec<Target> {
        let mut all = self.configured.clone();
        let announced = self.announced.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |target: &&Target| !self.configured.iter().any(|known| known.address == target.address);
        all.extend(announced.iter().filter(is_new).cloned());
        all
    }
}

impl Announced {
    /// The server at `address` has announced `servers`, each `host:port`. They are taken to want the same login, and the same scheme.
    pub(super) fn hear(&self, servers: &[String], address: &ServerAddr, login: &Login) {
        let targets = servers.iter().take(ANNOUNCED).filter_map(|server| {
            let address = format!("{}://{server}", address.scheme()).parse().ok()?;
            let login = login.clone();
            Some(Target { address, login })
        });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = targets.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats::Config;

    #[test]
    fn announced_servers_follow_the_configured_ones_once_each_with_their_login_and_scheme() {
        let targets = Targets::new(Config::new("tls://me:secret@h1:1,tls://me:secret@h2:2").targets().unwrap());
        let first = targets.all().remove(0);
        let hear = |servers: &[String]| targets.announced().hear(servers, &first.address, &first.login);
        hear(&["h2:2", "h3:3", "not a server"].map(str::to_owned));
        let all = targets.all();
        let addresses: Vec<_> = all.iter().map(|target| target.address.clone().into_inner().to_string()).collect();
        assert_eq!(addresses, ["tls://h1:1", "tls://h2:2", "tls://h3:3"]);
        assert_eq!(all[2].login.user(), Some("me"));
        hear(&(0..10_000).map(|port| format!("h:{port}")).collect::<Vec<_>>());
        assert_eq!(targets.all().len(), 2 + ANNOUNCED);
    }
}
