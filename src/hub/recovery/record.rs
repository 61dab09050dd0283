//! What is kept of a session that may be recovered, and whether it is.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Claim, KeptHandshake, Offset, Stays};
use crate::hub::Room;

/// Bytes of randomness in a pid.
const PID_BYTES: usize = 18;

/// The private id of a session: who knows it takes the session over. 18 random bytes as 24 characters of base64url; never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Pid(Arc<str>);

impl Pid {
    /// Draws one.
    ///
    /// # Panics
    /// When the operating system has no randomness to give: a guessable pid would be worse.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; PID_BYTES];
        getrandom::fill(&mut bytes).expect("the operating system gives randomness");
        Self(URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// Reads what a client calls its pid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == PID_BYTES).then(|| Self(text.into()))
    }

    /// The text, for the client it belongs to and for the key of its record; for nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pid(..)")
    }
}

/// What is kept of a session, as plain data: enough for any node to go on with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The socket's id.
    pub id: Room,
    /// How often it was taken over.
    pub generation: u64,
    /// Up to where everything that the socket was meant to get has arrived, or was before its time.
    pub proven: Offset,
    /// In which rooms it was, and when.
    pub stays: Stays,
    /// Who the client is, if a middleware has said so.
    pub user: Option<Box<str>>,
    /// The socket's own data, a JSON text; empty if there is none.
    pub data: Box<str>,
    /// Of the handshake with which the session began.
    pub handshake: Arc<KeptHandshake>,
}

/// Why a session is not recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No server has told the client such an offset.
    #[error("the offset cannot be read")]
    Malformed,
    /// No server has told the client such an offset yet.
    #[error("the offset is ahead of the log")]
    Ahead,
    /// The log has lost what it had.
    #[error("the log has begun a new epoch")]
    Epoch,
    /// It went through more rooms than are remembered.
    #[error("its rooms at that time are not known any more")]
    Forgotten,
    /// The log does not go back so far.
    #[error("the log does not go back so far, or is away")]
    Trimmed,
    /// More was missed than is replayed.
    #[error("too much was missed")]
    TooMuch,
}

/// After which position the replay for a client starts: the later of what it claims to have seen and what it is known to have got.
///
/// A claim of another epoch counts as none: the stock client keeps the offset of a session that was not recovered. One of another
/// session of this epoch needs no rule of its own, for it lies before the new session's first position.
///
/// # Errors
/// [`Refusal`]: what was missed cannot be told.
pub fn start_of_replay(record: &Record, claim: Claim, end: Offset) -> Result<u64, Refusal> {
    let Record { proven, stays, .. } = record;
    if proven.epoch != end.epoch || proven.position > end.position {
        return Err(Refusal::Epoch);
    }
    let start = match claim {
        Claim::Malformed => return Err(Refusal::Malformed),
        Claim::At(offset) if offset.epoch == end.epoch && offset.position > end.position => return Err(Refusal::Ahead),
        Claim::At(offset) if offset.epoch == end.epoch => offset.position.max(proven.position),
        Claim::At(_) | Claim::None => proven.position,
    };
    if start < stays.exact_from() {
        return Err(Refusal::Forgotten);
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(position: u64) -> Record {
        Record {
            namespace: "/".into(),
            id: "id".into(),
            generation: 0,
            proven: Offset { epoch: 1, position },
            stays: Stays::new("id".into()),
            user: None,
            data: Box::default(),
            handshake: Arc::new(KeptHandshake {
                address: None,
                issued: 0,
                values: Box::default(),
            }),
        }
    }

    #[test]
    fn a_replay_starts_after_the_later_of_claim_and_record() {
        let end = Offset { epoch: 1, position: 20 };
        let at = |epoch, position| Claim::At(Offset { epoch, position });
        for (claim, expected) in [
            (Claim::None, Ok(10)),
            (at(1, 15), Ok(15)),
            (at(1, 20), Ok(20)),
            (at(1, 5), Ok(10)),
            (at(2, 15), Ok(10)),
            (at(2, 99), Ok(10)),
            (at(1, 21), Err(Refusal::Ahead)),
            (Claim::Malformed, Err(Refusal::Malformed)),
        ] {
            assert_eq!(start_of_replay(&record(10), claim, end), expected, "{claim:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let end = Offset { epoch: 1, position: 20 };
        let other = Offset { epoch: 2, position: 20 };
        assert_eq!(start_of_replay(&record(10), Claim::None, other), Err(Refusal::Epoch));
        assert_eq!(
            start_of_replay(&record(21), Claim::None, end),
            Err(Refusal::Epoch),
            "the log went backwards"
        );
        let hazy = Record {
            stays: Stays::from_list("id".into(), 12, []),
            ..record(10)
        };
        assert_eq!(start_of_replay(&hazy, Claim::None, end), Err(Refusal::Forgotten));
        let claim = Claim::At(Offset { epoch: 1, position: 12 });
        assert_eq!(start_of_replay(&hazy, claim, end), Ok(12));
    }

    #[test]
    fn a_pid_is_long_secret_and_checked() {
        let pid = Pid::random();
        assert_eq!(pid.reveal().len(), 24);
        assert_ne!(pid, Pid::random());
        assert_eq!(Pid::parse(pid.reveal()), Some(pid.clone()));
        assert!(!format!("{pid:?}").contains(pid.reveal()));
        for other in [
            "",
            "short",
            "AAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "AAAAAAAAAAAA AAAAAAAAAAA",
        ] {
            assert_eq!(Pid::parse(other), None);
        }
    }
}
