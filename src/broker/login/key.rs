//! The key that tokens are checked with.
//!
//! Public keys are read as `openssl` writes them: PEM (RFC 7468) with a `SubjectPublicKeyInfo` (RFC 5280) or, for RSA, the bare key
//! of PKCS #1 (RFC 8017). That is a handful of lengths and identifiers; what they hold is checked as far as it can be without a signature.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{hmac, signature};

use super::{MAX_TOKEN, MIN_KEY};

/// The shortest secret of HS256, in bytes (RFC 7518, 3.2).
const MIN_SECRET: usize = 32;

/// The sizes of RSA keys that are taken, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// How tokens are signed (RFC 7518, 3.1 and RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with SHA-256: whoever can check a token can make one.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Their names in tokens and configurations.
    pub const WORDS: [&str; 4] = ["HS256", "RS256", "ES256", "EdDSA"];

    /// Its name in tokens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// The one key of a namespace's tokens, and with it their algorithm. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct JwtKey {
    algorithm: Algorithm,
    /// The secret; the key of PKCS #1; the point, uncompressed; the 32 bytes.
    bytes: Box<[u8]>,
}

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A static key that could be guessed, or that no token is as long as.
    #[error("expected a text of {MIN_KEY} to {MAX_TOKEN} bytes that nobody can guess")]
    Static,
    /// A key that is for an algorithm, and no text that clients show.
    #[error("expected a text that clients show, not a key in PEM: such a key is for an algorithm")]
    PemStatic,
    /// A secret that is shorter than its algorithm is strong.
    #[error("expected a secret of at least {MIN_SECRET} bytes for HS256")]
    Secret,
    /// A key of the other kind: tokens signed with HS256 and a public key as the secret could be made by anybody.
    #[error("expected a secret for HS256, not a key in PEM; a public key is for RS256, ES256 or EdDSA")]
    PemSecret,
    /// No PEM.
    #[error("expected a public key in PEM, which begins with -----BEGIN PUBLIC KEY-----")]
    NoPem,
    /// It could sign tokens, which no node should be able to.
    #[error("expected a public key, not a private one: openssl pkey -in PRIVATE -pubout makes one of it")]
    Private,
    /// A certificate has a key inside.
    #[error("expected a public key, not a certificate: openssl x509 -in CERTIFICATE -noout -pubkey takes it out")]
    Certificate,
    /// The PEM is no public key.
    #[error("expected a public key in PEM; this one cannot be read")]
    Unreadable,
    /// It is a key for another algorithm, or of another size.
    #[error("expected {0}")]
    Other(&'static str),
}

impl JwtKey {
    /// A key out of its text: the secret for HS256 (a line break at its end does not count), else a public key in PEM.
    ///
    /// # Errors
    /// [`KeyError`]
    pub fn new(algorithm: Algorithm, text: &str) -> Result<Self, KeyError> {
        let bytes = match algorithm {
            Algorithm::Hs256 => secret(text)?,
            _ => public(algorithm, &pem(text)?)?,
        };
        Ok(Self { algorithm, bytes })
    }

    /// The algorithm of this key.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether this key's owner has signed the message.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = |algorithm: &'static dyn signature::VerificationAlgorithm| {
            signature::UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature)
        };
        let outcome = match self.algorithm {
            Algorithm::Hs256 => hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &self.bytes), message, signature),
            Algorithm::Rs256 => public(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Es256 => public(&signature::ECDSA_P256_SHA256_FIXED),
            Algorithm::EdDsa => public(&signature::ED25519),
        };
        outcome.is_ok()
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(***)", self.algorithm.name())
    }
}

fn secret(text: &str) -> Result<Box<[u8]>, KeyError> {
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.contains("-----BEGIN ") {
        Err(KeyError::PemSecret)
    } else if secret.len() < MIN_SECRET {
        Err(KeyError::Secret)
    } else {
        Ok(secret.as_bytes().into())
    }
}

/// What stands in a PEM text: a `SubjectPublicKeyInfo`, or a bare RSA key.
enum Pem {
    Public(Vec<u8>),
    Rsa(Vec<u8>),
}

fn pem(text: &str) -> Result<Pem, KeyError> {
    let (_, rest) = text.split_once("-----BEGIN ").ok_or(KeyError::NoPem)?;
    let (label, rest) = rest.split_once("-----").ok_or(KeyError::NoPem)?;
    let kind: fn(Vec<u8>) -> Pem = match label {
        "PUBLIC KEY" => Pem::Public,
        "RSA PUBLIC KEY" => Pem::Rsa,
        "CERTIFICATE" => return Err(KeyError::Certificate),
        label if label.ends_with("PRIVATE KEY") => return Err(KeyError::Private),
        _ => return Err(KeyError::NoPem),
    };
    let (body, _) = rest.split_once("-----END ").ok_or(KeyError::Unreadable)?;
    let body: String = body.split_ascii_whitespace().collect();
    STANDARD.decode(body).map(kind).map_err(|_| KeyError::Unreadable)
}

fn public(algorithm: Algorithm, pem: &Pem) -> Result<Box<[u8]>, KeyError> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
    let found = match pem {
        Pem::Public(info) => subject_public_key(info).ok_or(KeyError::Unreadable)?,
        Pem::Rsa(key) => Subject {
            algorithm: RSA,
            curve: None,
            key,
        },
    };
    let fits = match algorithm {
        Algorithm::Rs256 => found.algorithm == RSA && rsa_bits(found.key).is_some_and(|bits| RSA_BITS.contains(&bits)),
        Algorithm::Es256 => found.algorithm == EC && found.curve == Some(P256) && found.key.len() == 65 && found.key.first() == Some(&4),
        Algorithm::EdDsa => found.algorithm == ED25519 && found.key.len() == 32,
        Algorithm::Hs256 => false,
    };
    if fits {
        return Ok(found.key.into());
    }
    Err(KeyError::Other(match algorithm {
        Algorithm::Rs256 => "an RSA key of 2048 to 8192 bits for RS256",
        Algorithm::Es256 => "a P-256 key (prime256v1), uncompressed, for ES256",
        Algorithm::EdDsa => "an Ed25519 key for EdDSA",
        Algorithm::Hs256 => "a secret for HS256",
    }))
}

/// What a `SubjectPublicKeyInfo` says (RFC 5280, 4.1.2.7).
struct Subject<'a> {
    algorithm: &'a [u8],
    /// The first parameter that is an identifier: of an elliptic key, its curve.
    curve: Option<&'a [u8]>,
    key: &'a [u8],
}

fn subject_public_key(info: &[u8]) -> Option<Subject<'_>> {
    let mut info = Der(info);
    let mut inner = Der(info.only(SEQUENCE)?);
    let mut algorithm = Der(inner.next(SEQUENCE)?);
    let (unused, key) = inner.only(BIT_STRING)?.split_first()?;
    (*unused == 0).then_some(Subject {
        algorithm: algorithm.next(IDENTIFIER)?,
        curve: algorithm.next(IDENTIFIER),
        key,
    })
}

/// The size of an RSA key's modulus (RFC 8017, A.1.1).
fn rsa_bits(key: &[u8]) -> Option<usize> {
    let mut key = Der(key);
    let mut inner = Der(key.only(SEQUENCE)?);
    let modulus = inner.next(INTEGER)?;
    inner.only(INTEGER)?;
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let first = modulus.first()?;
    (modulus.len() * 8).checked_sub(first.leading_zeros() as usize)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// Values of DER one after the other, as far as keys need it: lengths below 64 KiB.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next value, which must have this tag.
    fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let rest = self.0.strip_prefix(&[tag])?;
        let (length, rest) = match *rest {
            [length @ 0..=0x7f, ref rest @ ..] => (usize::from(length), rest),
            [0x81, length, ref rest @ ..] => (usize::from(length), rest),
            [0x82, high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(contents)
    }

    /// The contents of the next value, which must be the last.
    fn only(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next(tag).filter(|_| self.0.is_empty())
    }
}
