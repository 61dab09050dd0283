//! Who may ask this node for more than its probes.

use std::sync::{Mutex, PoisonError};

use http::request::Parts;

use super::{
    replays::Replays,
    signature::{self, Refusal, SIGNATURE},
};
use crate::{
    cluster::Keys,
    engine::id::NodeTag,
    node::{network::Networks, proxies},
};

/// Lets in who has signed with a secret of the cluster, or asks from this machine, and comes from where nodes are.
#[derive(Debug)]
pub(super) struct Guard {
    keys: Keys,
    networks: Networks,
    replays: Mutex<Replays>,
}

impl Guard {
    pub(super) fn new(keys: Keys, networks: Networks) -> Self {
        Self {
            keys,
            networks,
            replays: Mutex::default(),
        }
    }

    /// Admits a request with a body of this length to the node of this tag, once.
    pub(super) fn admit(&self, head: &Parts, length: Option<u64>, own: NodeTag) -> Result<(), Refusal> {
        let peer = proxies::connected(head);
        let claims_nothing = !head.headers.contains_key(SIGNATURE);
        if claims_nothing && peer.is_some_and(|peer| peer.is_loopback()) {
            return Ok(());
        }
        if peer.is_some_and(|peer| !self.networks.contains(peer)) {
            return Err(Refusal::Outside);
        }
        let (sender, number) = signature::verify(head, length, own, &self.keys)?;
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        if replays.first(sender, number) {
            Ok(())
        } else {
            Err(Refusal::Repeated)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use axum::extract::ConnectInfo;
    use http::Request;

    use super::*;
    use crate::{
        cluster::{Purpose, Secret},
        node::{Network, internal::signature::Signer},
    };

    const OWN: NodeTag = NodeTag([1, 2, 3]);

    fn keys(secret: &str) -> Keys {
        Keys::new(&[Secret::new(secret)], Purpose::Requests)
    }

    fn request(from: &str, signer: Option<&Signer>) -> Parts {
        let mut request = Request::get("/identity").body(()).unwrap();
        if let Some(signer) = signer {
            signer.sign(&mut request, Some(0), OWN);
        }
        let from: IpAddr = from.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((from, 4711))));
        request.into_parts().0
    }

    #[test]
    fn who_has_signed_is_let_in_once() {
        let guard = Guard::new(keys("ours"), Networks::new(Network::inside()));
        let (ours, other) = (Signer::new(keys("ours")), Signer::new(keys("other")));
        let told = |head: &Parts| guard.admit(head, Some(0), OWN);
        let recorded = request("10.0.0.1", Some(&ours));
        assert_eq!(told(&recorded), Ok(()));
        assert_eq!(told(&recorded), Err(Refusal::Repeated));
        assert_eq!(told(&request("10.0.0.1", None)), Err(Refusal::Unsigned));
        assert_eq!(told(&request("10.0.0.1", Some(&other))), Err(Refusal::Forged));
        assert_eq!(told(&request("203.0.113.1", Some(&ours))), Err(Refusal::Outside));
    }

    #[test]
    fn who_asks_from_this_machine_needs_no_signature_but_no_wrong_one() {
        let guard = Guard::new(keys("ours"), Networks::default());
        let told = |head: &Parts| guard.admit(head, Some(0), OWN);
        for loopback in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(told(&request(loopback, None)), Ok(()));
        }
        let other = Signer::new(keys("other"));
        let everywhere = Guard::new(keys("ours"), Networks::new(Network::inside()));
        assert_eq!(everywhere.admit(&request("::1", Some(&other)), Some(0), OWN), Err(Refusal::Forged));
    }

    #[test]
    fn without_a_secret_nobody_else_is_let_in() {
        let guard = Guard::new(Keys::default(), Networks::new(Network::inside()));
        assert_eq!(guard.admit(&request("10.0.0.1", None), Some(0), OWN), Err(Refusal::Unsigned));
        let signer = Signer::new(keys("guessed"));
        assert_eq!(guard.admit(&request("10.0.0.1", Some(&signer)), Some(0), OWN), Err(Refusal::Forged));
    }
}
