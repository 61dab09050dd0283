//! Static keys, compared so that the time it takes tells nothing about them.

use std::fmt;

use ring::{hmac, rand::SystemRandom};

use super::{KeyError, MAX_TOKEN};

/// The shortest static key, in bytes.
pub const MIN_KEY: usize = 16;

/// A text that lets in whoever shows it: [`MIN_KEY`] to [`MAX_TOKEN`] bytes. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticKey(Box<str>);

impl StaticKey {
    /// Checks a key.
    ///
    /// # Errors
    /// [`KeyError::Static`]: it is too short or too long. [`KeyError::PemStatic`]: it is something else.
    pub fn new(key: &str) -> Result<Self, KeyError> {
        if key.starts_with("-----") {
            Err(KeyError::PemStatic)
        } else if (MIN_KEY..=MAX_TOKEN).contains(&key.len()) {
            Ok(Self(key.into()))
        } else {
            Err(KeyError::Static)
        }
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The keys of a namespace. Authentication codes are compared, under a key that was drawn when this was made: nobody can choose
/// a text whose code agrees with another in its first bytes.
pub(super) struct Keyring {
    mac: hmac::Key,
    codes: Vec<hmac::Tag>,
}

impl Keyring {
    pub(super) fn new(keys: &[StaticKey]) -> Self {
        // The system's source does not fail once it has begun; a code under an empty key is still one that nobody can turn around.
        let mac = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, b""));
        let codes = keys.iter().map(|StaticKey(key)| hmac::sign(&mac, key.as_bytes())).collect();
        Self { mac, codes }
    }

    /// Whether the token is one of the keys. All of them are compared, so that it cannot be told which.
    pub(super) fn has(&self, token: &str) -> bool {
        let codes = self.codes.iter();
        codes.fold(false, |found, code| {
            found | hmac::verify(&self.mac, token.as_bytes(), code.as_ref()).is_ok()
        })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({} keys)", self.codes.len())
    }
}
