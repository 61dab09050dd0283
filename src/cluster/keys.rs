//! Keyed MACs: HMAC-SHA256, cut to 16 bytes, under keys that are derived from the cluster's secrets for one purpose each.

use std::fmt;

use ring::hmac;

/// Bytes of a MAC.
pub(crate) const MAC: usize = 16;

/// What a key is derived for: what is signed for one purpose says nothing for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Envelopes between nodes, and the entries of logs.
    Envelopes,
    /// Records of sessions.
    Records,
    /// Requests to another node's internal listener.
    Requests,
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Envelopes => b"fanfare envelope v1",
            Self::Records => b"fanfare record v1",
            Self::Requests => b"fanfare request v1",
        }
    }
}

/// A secret that the nodes of a cluster share. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the secret's text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The keys of a cluster: the first signs, each is believed. Without any nothing is signed, and nothing signed is checked.
#[derive(Clone, Default)]
pub(crate) struct Keys(Vec<hmac::Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    pub(crate) fn new(secrets: &[Secret], purpose: Purpose) -> Self {
        let derive = |secret: &Secret| {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret.0.as_bytes());
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, purpose.label()).as_ref())
        };
        Self(secrets.iter().map(derive).collect())
    }

    pub(crate) fn signs(&self) -> bool {
        !self.0.is_empty()
    }

    /// The MAC of what the pieces make together, by the first key.
    pub(crate) fn sign(&self, pieces: &[&[u8]]) -> Option<[u8; MAC]> {
        self.0.first().and_then(|key| mac(key, pieces))
    }

    /// Whether the MAC is that of one of the keys.
    pub(crate) fn verify(&self, pieces: &[&[u8]], claimed: &[u8]) -> bool {
        self.0.iter().filter_map(|key| mac(key, pieces)).any(|own| same(&own, claimed))
    }
}

fn mac(key: &hmac::Key, pieces: &[&[u8]]) -> Option<[u8; MAC]> {
    let mut context = hmac::Context::with_key(key);
    for piece in pieces {
        context.update(piece);
    }
    context.sign().as_ref().first_chunk().copied()
}

/// Compares without telling by its time how much is right.
fn same(a: &[u8; MAC], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b)));
    differ == 0 && b.len() == MAC
}
