//! JSON Web Tokens (RFC 7519) in their compact form (RFC 7515, 7.1), checked and never made.
//!
//! Over `ring`, which is here anyway, rather than over a crate for tokens: those that need no C compiler bring some hundred packages of
//! primitives with them, and what is left to do is small. It is kept small: one key, whose algorithm is the only one; an expiry without
//! which nothing is accepted; no key that a token brings or names.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Denial, Flaw, Identity, JwtKey, are_rooms};
use crate::broker::rooms::MAX_ROOM;

/// Which tokens are accepted, and what is read from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwt {
    /// The key that has signed them.
    pub key: JwtKey,
    /// How far the clocks of who signs and who checks may be apart, for `exp` and `nbf`.
    pub leeway: Duration,
    /// What `iss` must be, if anything.
    pub issuer: Option<String>,
    /// What `aud` must be, or have among others. Without it, no token that has an `aud` is accepted.
    pub audience: Option<String>,
    /// The claim that names the user: a text or an integer. A token may do without it.
    pub user: String,
    /// The claim that lists the rooms the client is in from the start, if one does. A token may do without it.
    pub rooms: Option<String>,
}

/// What is read from a token's header. What else stands there, such as keys, is not looked at.
#[derive(Debug, Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    crit: Option<Value>,
}

impl Jwt {
    /// Checks a token and reads whom it is about.
    ///
    /// # Errors
    /// [`Denial`]
    pub fn verify(&self, token: &str, now: SystemTime) -> Result<Identity, Denial> {
        let claims = self.signed(token).map_err(Denial::Invalid)?;
        self.in_time(&claims, now)?;
        self.for_us(&claims).map_err(Denial::Invalid)?;
        self.identity(claims)
    }

    /// The claims of a token that the key has signed.
    fn signed(&self, token: &str) -> Result<Map<String, Value>, Flaw> {
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Flaw::Malformed);
        let (message, signature) = token.rsplit_once('.').ok_or(Flaw::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(Flaw::Malformed)?;
        let (header, signature) = (decode(header)?, decode(signature)?);
        let header: Header<'_> = serde_json::from_slice(&header).map_err(|_| Flaw::Malformed)?;
        if header.alg != self.key.algorithm().name() {
            return Err(Flaw::Algorithm);
        }
        if header.crit.is_some() {
            return Err(Flaw::Extension);
        }
        if !self.key.has_signed(message.as_bytes(), &signature) {
            return Err(Flaw::Signature);
        }
        serde_json::from_slice(&decode(claims)?).map_err(|_| Flaw::Malformed)
    }

    fn in_time(&self, claims: &Map<String, Value>, now: SystemTime) -> Result<(), Denial> {
        // Before 1970 it is 1970: nothing has expired then that could have been made.
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let earliest = now.saturating_sub(self.leeway).as_secs_f64();
        let latest = now.saturating_add(self.leeway).as_secs_f64();
        let expiry = claims.get("exp").and_then(Value::as_f64).ok_or(Denial::Invalid(Flaw::NoExpiry))?;
        if earliest >= expiry {
            return Err(Denial::Expired);
        }
        let Some(begin) = claims.get("nbf") else { return Ok(()) };
        match begin.as_f64() {
            Some(begin) if begin <= latest => Ok(()),
            Some(_) => Err(Denial::Early),
            None => Err(Denial::Invalid(Flaw::NotBefore)),
        }
    }

    /// Whether the token is of the issuer, and for the audience, that are configured.
    fn for_us(&self, claims: &Map<String, Value>) -> Result<(), Flaw> {
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(Flaw::Issuer);
        }
        let meant = match (claims.get("aud"), self.audience.as_deref()) {
            (None, None) => true,
            (Some(Value::String(one)), Some(us)) => one == us,
            (Some(Value::Array(several)), Some(us)) => several.iter().any(|one| one.as_str() == Some(us)),
            _ => false,
        };
        if meant { Ok(()) } else { Err(Flaw::Audience) }
    }

    fn identity(&self, mut claims: Map<String, Value>) -> Result<Identity, Denial> {
        let user = match claims.get(&self.user) {
            None | Some(Value::Null) => None,
            Some(Value::String(user)) if (1..=MAX_ROOM).contains(&user.len()) => Some(user.clone()),
            Some(Value::Number(user)) if user.is_i64() || user.is_u64() => Some(user.to_string()),
            Some(_) => return Err(Denial::Claims),
        };
        let rooms = match self.rooms.as_ref().and_then(|claim| claims.remove(claim)) {
            None | Some(Value::Null) => Vec::new(),
            Some(rooms) => serde_json::from_value(rooms).map_err(|_| Denial::Claims)?,
        };
        if are_rooms(&rooms) {
            Ok(Identity { user, rooms })
        } else {
            Err(Denial::Claims)
        }
    }
}
