//! Logins: the token that a client must show before it may join a namespace, and what the token says about the client.
//!
//! Whether a token is good is decided here alone, from values: no clock, no socket. The algorithm is that of the configured key; what the
//! token says of it is compared and believed in nothing else.

mod jwt;
mod key;
mod keyring;

use std::time::SystemTime;

use super::rooms::{MAX_ROOMS, is_open};
pub use jwt::Jwt;
pub use key::{Algorithm, JwtKey, KeyError};
pub use keyring::{MIN_KEY, StaticKey};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 8 << 10;

/// What a client must show to join a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Where the token is looked for; the first place that has one counts.
    pub from: Vec<TokenPlace>,
    /// Which tokens are good.
    pub token: Token,
}

/// Where a client may put its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPlace {
    /// `auth.token` of the CONNECT packet: `io(url, { auth: { token } })`.
    Auth,
    /// The header `Authorization: Bearer …` of the request that opened the session. Browsers send none with a WebSocket.
    Header,
    /// `token` in the query of the request that opened the session.
    Query,
}

impl TokenPlace {
    /// The words that stand for places in a configuration.
    pub const WORDS: [&str; 3] = ["auth", "header", "query"];
}

/// Which tokens are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// One of these texts. They name no user.
    Keys(Vec<StaticKey>),
    /// A JSON Web Token (RFC 7519) that this accepts.
    Jwt(Jwt),
}

/// Whom a good token is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Who it is, where the token says so.
    pub user: Option<String>,
    /// The rooms that the client is in from the start.
    pub rooms: Vec<String>,
}

/// Why a client may not join. What it is told says no more than it knows, or than its signed token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// There is no token where it is looked for.
    #[error("a token is needed")]
    Missing,
    /// It is none that is accepted; [`Flaw`] is for the log.
    #[error("the token is not valid")]
    Invalid(Flaw),
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// It will be good (`nbf`).
    #[error("the token is not valid yet")]
    Early,
    /// It is good, and has a user or rooms that nobody can be or be in.
    #[error("the token names a user or rooms that are not allowed")]
    Claims,
}

/// What is wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It is longer than [`MAX_TOKEN`].
    Length,
    /// It is none of the static keys.
    Unknown,
    /// It is not three parts of base64url, or they are no JSON objects.
    Malformed,
    /// Its header names another algorithm than the configured key's.
    Algorithm,
    /// Its header asks for an extension (`crit`), and none is known.
    Extension,
    /// Somebody else signed it, or it was changed.
    Signature,
    /// It has no `exp` that is a time.
    NoExpiry,
    /// `nbf` is no time.
    NotBefore,
    /// `iss` is not the configured issuer.
    Issuer,
    /// `aud` does not have the configured audience; or it has any while none is configured (RFC 7519, 4.1.3).
    Audience,
}

impl Denial {
    /// What programs tell denials apart by: `data.code` of the error that the client gets.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Invalid(_) => "token_invalid",
            Self::Expired => "token_expired",
            Self::Early => "token_early",
            Self::Claims => "token_claims",
        }
    }
}

/// A [`Login`] that is ready to look at tokens.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) from: Vec<TokenPlace>,
    token: Ready,
}

#[derive(Debug)]
enum Ready {
    Keys(keyring::Keyring),
    Jwt(Jwt),
}

impl Verifier {
    pub(super) fn new(login: &Login) -> Self {
        Self {
            from: login.from.clone(),
            token: match &login.token {
                Token::Keys(keys) => Ready::Keys(keyring::Keyring::new(keys)),
                Token::Jwt(jwt) => Ready::Jwt(jwt.clone()),
            },
        }
    }

    /// Looks at a token.
    pub(super) fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, Denial> {
        if token.len() > MAX_TOKEN {
            return Err(Denial::Invalid(Flaw::Length));
        }
        match &self.token {
            Ready::Keys(keys) if keys.has(token) => Ok(Identity::default()),
            Ready::Keys(_) => Err(Denial::Invalid(Flaw::Unknown)),
            Ready::Jwt(jwt) => jwt.verify(token, now),
        }
    }
}

/// Whether claims may put a client into these rooms: what no rule could allow, no token can.
fn are_rooms(rooms: &[String]) -> bool {
    rooms.len() <= MAX_ROOMS && rooms.iter().all(|room| is_open(room))
}

#[cfg(test)]
mod tests;
