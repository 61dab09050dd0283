//! The signature of a request to a node's internal listener: a keyed MAC over what is asked, of whom, when, and how often. The secret is
//! never sent.
//!
//! It stands in one header: `fanfare-signature: v1 <time> <sender> <number> <target> <mac>`: milliseconds since 1970; who has signed, 12
//! random bytes of its process; a number that it has not used before; the tag of the node that is asked; the MAC over method, path with
//! query, the body's length (`-` where only its end tells it), and these. Whatever else a header whose name begins with `fanfare-` says is
//! signed, too. A body's bytes are not, but for their number.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, request::Parts};

use super::replays::Sender;
use crate::{cluster::Keys, engine::id::NodeTag};

/// The header of the signature.
pub(in crate::node) const SIGNATURE: HeaderName = HeaderName::from_static("fanfare-signature");

/// What the names of all signed headers begin with: what nodes tell each other, and nobody else may.
pub(in crate::node) const SIGNED: &str = "fanfare-";

/// How far a signature's time may be from that of the node that is asked.
const LATE: Duration = Duration::from_secs(30);

const VERSION: &str = "v1";

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::node) enum Refusal {
    #[error("the request is not signed; expected a signature by cluster.secret, or the loopback address")]
    Unsigned,
    #[error("the header fanfare-signature cannot be read")]
    Malformed,
    #[error("the request is signed for another node")]
    Target,
    #[error("the signature's time is more than 30 seconds from this node's: is a clock wrong?")]
    Late,
    #[error("the request is not signed with a secret of this cluster")]
    Forged,
    #[error("the request was answered before")]
    Repeated,
    #[error("the request comes from an address outside cluster.networks")]
    Outside,
}

impl Refusal {
    /// All of them, in the order of their numbers.
    pub(in crate::node) const ALL: [Self; 7] = [
        Self::Unsigned,
        Self::Malformed,
        Self::Target,
        Self::Late,
        Self::Forged,
        Self::Repeated,
        Self::Outside,
    ];

    /// As a label.
    pub(in crate::node) const fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Malformed => "malformed",
            Self::Target => "target",
            Self::Late => "late",
            Self::Forged => "forged",
            Self::Repeated => "repeated",
            Self::Outside => "outside",
        }
    }
}

/// Signs this node's requests to others.
#[derive(Debug)]
pub(in crate::node) struct Signer {
    keys: Keys,
    sender: Sender,
    /// The last number used.
    last: AtomicU64,
}

/// What a signature says beside its MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Claims {
    time: u64,
    sender: Sender,
    number: u64,
    target: NodeTag,
}

impl Signer {
    pub(super) fn new(keys: Keys) -> Self {
        let mut sender = Sender::default();
        getrandom::fill(&mut sender).expect("the operating system gives randomness");
        Self {
            keys,
            sender,
            last: AtomicU64::new(0),
        }
    }

    /// Signs a request with a body of so many bytes, if that is known, for the node of this tag. Where there is no secret nothing is signed.
    pub(in crate::node) fn sign<B>(&self, request: &mut http::Request<B>, length: Option<u64>, target: NodeTag) {
        let claims = Claims {
            time: clock(),
            sender: self.sender,
            number: self.last.fetch_add(1, Relaxed) + 1,
            target,
        };
        let covered = claims.covered(request.method(), request.uri(), length, request.headers());
        let value = self
            .keys
            .sign(&[&covered])
            .map(|mac| format!("{claims} {}", URL_SAFE_NO_PAD.encode(mac)));
        if let Some(Ok(value)) = value.as_deref().map(HeaderValue::from_str) {
            request.headers_mut().insert(SIGNATURE, value);
        }
    }
}

/// Checks everything of a signature that a request itself can tell: who has signed it, under which number.
pub(super) fn verify(head: &Parts, length: Option<u64>, own: NodeTag, keys: &Keys) -> Result<(Sender, u64), Refusal> {
    let mut values = head.headers.get_all(SIGNATURE).iter();
    let value = values.next().ok_or(Refusal::Unsigned)?;
    if values.next().is_some() {
        return Err(Refusal::Malformed);
    }
    let text = value.to_str().map_err(|_| Refusal::Malformed)?;
    let (claims, mac) = text.rsplit_once(' ').ok_or(Refusal::Malformed)?;
    let claims = Claims::parse(claims).ok_or(Refusal::Malformed)?;
    let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| Refusal::Malformed)?;
    if claims.target != own {
        return Err(Refusal::Target);
    }
    if clock().abs_diff(claims.time) > LATE.as_millis() as u64 {
        return Err(Refusal::Late);
    }
    let covered = claims.covered(&head.method, &head.uri, length, &head.headers);
    if !keys.verify(&[&covered], &mac) {
        return Err(Refusal::Forged);
    }
    Ok((claims.sender, claims.number))
}

impl Claims {
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split(' ');
        let mut next = || fields.next();
        if next()? != VERSION {
            return None;
        }
        let time = next()?.parse().ok()?;
        let sender = URL_SAFE_NO_PAD.decode(next()?).ok()?.try_into().ok()?;
        let number = next()?.parse().ok()?;
        let target = next()?;
        let claims = Self {
            time,
            sender,
            number,
            target: NodeTag::of(target)?,
        };
        // In no other way of writing than its own.
        (next().is_none() && claims.to_string() == text).then_some(claims)
    }

    /// What the MAC is over: a line for each thing, none of which can contain a line's end.
    fn covered(&self, method: &Method, uri: &Uri, length: Option<u64>, headers: &HeaderMap) -> Vec<u8> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let length = length.map_or_else(|| "-".to_owned(), |length| length.to_string());
        let mut covered = format!("{self}\n{method}\n{path}\n{length}\n").into_bytes();
        let mut signed: Vec<_> = headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with(SIGNED) && **name != SIGNATURE)
            .collect();
        // Of one name in the order in which they came.
        signed.sort_by_key(|(name, _)| name.as_str());
        for (name, value) in signed {
            for piece in [name.as_str().as_bytes(), b":", value.as_bytes(), b"\n"] {
                covered.extend_from_slice(piece);
            }
        }
        covered
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, number, target, .. } = self;
        write!(f, "{VERSION} {time} {} {number} {target}", URL_SAFE_NO_PAD.encode(self.sender))
    }
}

/// Milliseconds since 1970.
fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::cluster::{Purpose, Secret};

    const OWN: NodeTag = NodeTag([1, 2, 3]);

    fn keys(secrets: &[&str]) -> Keys {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        Keys::new(&secrets, Purpose::Requests)
    }

    fn signed(signer: &Signer) -> Parts {
        signed_of_length(signer, Some(7))
    }

    fn signed_of_length(signer: &Signer, length: Option<u64>) -> Parts {
        let mut request = Request::post("/a/b?c=d").header("fanfare-client", "10.0.0.9").body(()).unwrap();
        signer.sign(&mut request, length, OWN);
        request.into_parts().0
    }

    #[test]
    fn a_signature_holds_for_what_was_signed_and_nothing_else() {
        let (ours, signer) = (keys(&["ours"]), Signer::new(keys(&["ours"])));
        let told = |head: &Parts| verify(head, Some(7), OWN, &ours);
        assert_eq!(told(&signed(&signer)), Ok((signer.sender, 1)));
        assert_eq!(told(&signed(&signer)), Ok((signer.sender, 2)), "no number twice");
        let changed = |change: fn(&mut Parts)| {
            let mut head = signed(&signer);
            change(&mut head);
            told(&head)
        };
        for change in [
            (|head| head.method = Method::PUT) as fn(&mut Parts),
            |head| head.uri = "/a/b?c=e".parse().unwrap(),
            |head| head.uri = "/a/b".parse().unwrap(),
            |head| drop(head.headers.insert("fanfare-client", HeaderValue::from_static("10.0.0.8"))),
            |head| drop(head.headers.remove("fanfare-client")),
            |head| assert!(!head.headers.append("fanfare-hop", HeaderValue::from_static("1"))),
            |head| assert!(head.headers.append("fanfare-client", HeaderValue::from_bytes(b"\xff").unwrap())),
        ] {
            assert_eq!(changed(change), Err(Refusal::Forged));
        }
        let unsigned = |head: &mut Parts| assert!(!head.headers.append("accept", HeaderValue::from_static("*/*")));
        assert!(changed(unsigned).is_ok(), "other headers are not signed");
        assert_eq!(verify(&signed(&signer), Some(8), OWN, &ours), Err(Refusal::Forged));
        assert_eq!(verify(&signed(&signer), None, OWN, &ours), Err(Refusal::Forged));
        let unknown = |length| verify(&signed_of_length(&signer, None), length, OWN, &ours);
        assert!(unknown(None).is_ok(), "a body whose end tells its length");
        assert_eq!((unknown(Some(0)), unknown(Some(7))), (Err(Refusal::Forged), Err(Refusal::Forged)));
        assert_eq!(verify(&signed(&signer), Some(7), NodeTag([1, 2, 4]), &ours), Err(Refusal::Target));
        let other = Signer::new(keys(&["other"]));
        assert_eq!(told(&signed(&other)), Err(Refusal::Forged));
        assert_eq!(told(&signed(&Signer::new(keys(&[])))), Err(Refusal::Unsigned));
    }

    #[test]
    fn while_a_secret_is_changed_both_are_believed() {
        let signer = Signer::new(keys(&["new", "old"]));
        for (secrets, believed) in [(&["old", "new"][..], true), (&["new"], true), (&["old"], false)] {
            assert_eq!(
                verify(&signed(&signer), Some(7), OWN, &keys(secrets)).is_ok(),
                believed,
                "{secrets:?}"
            );
        }
    }

    #[test]
    fn a_signature_that_cannot_be_read_or_is_late_is_refused() {
        let signer = Signer::new(keys(&["ours"]));
        let with = |value: &str| {
            let mut head = signed(&signer);
            head.headers.insert(SIGNATURE, HeaderValue::from_str(value).unwrap());
            verify(&head, Some(7), OWN, &keys(&["ours"])).unwrap_err()
        };
        let head = signed(&signer);
        let value = head.headers[SIGNATURE].to_str().unwrap();
        let (claims, mac) = value.rsplit_once(' ').unwrap();
        let fields: Vec<&str> = claims.split(' ').collect();
        let twice = {
            let mut head = head.clone();
            head.headers.append(SIGNATURE, head.headers[SIGNATURE].clone());
            verify(&head, Some(7), OWN, &keys(&["ours"]))
        };
        assert_eq!(twice, Err(Refusal::Malformed));
        for wrong in [
            "",
            "v1",
            claims,
            &value.replace("v1", "v2"),
            &format!("{claims} {mac}="),
            &format!("{claims} more {mac}"),
            &value.replace(fields[2], "AAAA"),
            &value.replace(&format!(" {} ", fields[3]), " +1 "),
            &value.replace(&format!(" {} ", fields[3]), " 01 "),
            &value.replace(&format!(" {} ", fields[3]), " 18446744073709551616 "),
        ] {
            assert_eq!(with(wrong), Refusal::Malformed, "{wrong:?}");
        }
        assert_eq!(with(&format!("{claims} {}", mac.get(..21).unwrap())), Refusal::Malformed);
        assert_eq!(with(&format!("{claims} {}", mac.get(..20).unwrap())), Refusal::Forged);
        for (time, refusal) in [
            (clock() - 31_000, Refusal::Late),
            (clock() + 31_000, Refusal::Late),
            (clock() - 29_000, Refusal::Forged),
        ] {
            assert_eq!(with(&value.replace(fields[1], &time.to_string())), refusal);
        }
    }
}
