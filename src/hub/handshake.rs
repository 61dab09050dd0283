//! The handshake as it is told to others, in the reference's form.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::Handshake;

/// How a socket came: what the reference's applications know as `socket.handshake`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HandshakeObject {
    /// The headers of the request that opened the session, by their names in lower case; several of one name joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// When the session was opened, as JavaScript writes a date, in UTC.
    pub time: String,
    /// The client's address; empty where it is not known.
    pub address: String,
    /// Whether the request named an origin.
    pub xdomain: bool,
    /// Whether the client came over TLS.
    pub secure: bool,
    /// When the session was opened, in milliseconds since 1970.
    pub issued: u64,
    /// Path and query of the request.
    pub url: String,
    /// The query, decoded; of several pairs of one name the last.
    pub query: BTreeMap<String, String>,
    /// What the client gave when it connected to the namespace; without the `pid` of its session where credentials are withheld.
    pub auth: Value,
}

/// Headers whose values say who the client is. What stands in their place when they are withheld.
const CREDENTIALS: [&str; 3] = ["cookie", "authorization", "proxy-authorization"];
const WITHHELD: &str = "(withheld)";

impl HandshakeObject {
    /// Of a session's handshake, and the auth of one socket. `bare` keeps cookies, authorization and pid as they are.
    pub(super) fn new(handshake: &Handshake, auth: Option<&str>, bare: bool) -> Self {
        let mut headers = BTreeMap::<String, String>::new();
        for (name, value) in handshake.headers() {
            let value = if bare || !CREDENTIALS.contains(&name) { value } else { WITHHELD };
            headers
                .entry(name.to_owned())
                .and_modify(|before| {
                    before.push_str(", ");
                    before.push_str(value);
                })
                .or_insert_with(|| value.to_owned());
        }
        let mut auth: Value = serde_json::from_str(auth.unwrap_or("{}")).unwrap_or_default();
        if !bare && let Some(auth) = auth.as_object_mut() {
            // Who knows the pid of a session takes it over.
            auth.remove("pid");
        }
        Self {
            headers,
            time: date(handshake.issued),
            address: handshake.address().map(|address| address.to_string()).unwrap_or_default(),
            xdomain: handshake.xdomain(),
            secure: handshake.secure(),
            issued: handshake.issued_ms(),
            url: handshake.url().to_owned(),
            query: handshake
                .query()
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
            auth,
        }
    }
}

/// A time as JavaScript writes it: `Fri Nov 27 2026 17:49:20 GMT+0000 (Coordinated Universal Time)`.
fn date(time: SystemTime) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (mut day, second) = (seconds / 86_400, seconds % 86_400);
    let weekday = name(&WEEKDAYS, day % 7);
    let mut year = 1970;
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    while day >= 365 + u64::from(leap(year)) {
        day -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 0;
    for days in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let (month, day) = (name(&MONTHS, month), day + 1);
    format!("{weekday} {month} {day:02} {year} {hour:02}:{minute:02}:{second:02} GMT+0000 (Coordinated Universal Time)")
}

fn name(names: &[&'static str], index: u64) -> &'static str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index).copied())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Arrival, Revision, Transport};

    #[test]
    fn dates_are_those_of_javascript() {
        for (seconds, expected) in [
            (0, "Thu Jan 01 1970 00:00:00"),
            (951_782_399, "Mon Feb 28 2000 23:59:59"),
            (951_782_400, "Tue Feb 29 2000 00:00:00"),
            (978_307_199, "Sun Dec 31 2000 23:59:59"),
            (1_795_801_760, "Fri Nov 27 2026 17:49:20"),
            (4_107_542_400, "Mon Mar 01 2100 00:00:00"),
        ] {
            let text = date(UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(text, format!("{expected} GMT+0000 (Coordinated Universal Time)"));
        }
    }

    #[test]
    fn a_handshake_is_told_without_credentials_unless_they_are_wanted() {
        let headers: [(&str, &[u8]); 4] = [("cookie", b"id=1"), ("x-a", b"1"), ("x-a", b"2"), ("origin", b"http://b.example")];
        let address = [127, 0, 0, 1].into();
        let arrival = Arrival::new(Some(address), true, "/socket.io/?EIO=4&a=1&a=2", headers);
        let handshake = Handshake::new("id", Transport::Polling, Revision::V4, arrival);
        let told = HandshakeObject::new(&handshake, Some(r#"{"token":1,"pid":"secret"}"#), false);
        assert_eq!(
            (told.headers["cookie"].as_str(), told.headers["x-a"].as_str()),
            ("(withheld)", "1, 2")
        );
        assert_eq!((told.address.as_str(), told.query["a"].as_str()), ("127.0.0.1", "2"));
        assert!(told.secure && told.xdomain && told.time.ends_with("GMT+0000 (Coordinated Universal Time)"));
        assert_eq!(told.auth, serde_json::json!({ "token": 1 }), "the pid is withheld too");
        let bare = HandshakeObject::new(&handshake, None, true);
        assert_eq!((bare.headers["cookie"].as_str(), bare.auth.to_string()), ("id=1", "{}".to_owned()));
        let read: HandshakeObject = serde_json::from_value(serde_json::to_value(&told).unwrap()).unwrap();
        assert_eq!(read, told);
    }
}
