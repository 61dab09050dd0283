//! What a client knows of its session, to get it back (Socket.IO connection state recovery).

use serde::{Deserialize, Serialize};

/// A session in the namespace `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Session {
    sid: String,
    /// By which it is asked for again; none if the server gives no session back.
    pid: Option<String>,
    /// Of the last event that came and had one.
    offset: Option<String>,
    /// Whether it is an earlier one that was given back.
    pub(crate) recovered: bool,
}

/// What a server tells in its CONNECT answer.
#[derive(Debug, Deserialize)]
struct Answer {
    sid: String,
    pid: Option<String>,
}

/// What a client asks for in its CONNECT.
#[derive(Debug, Serialize)]
struct Claim<'a> {
    pid: &'a str,
    offset: &'a str,
}

impl Session {
    /// The CONNECT that asks for it again. Without an offset there is nothing that a server could go on from.
    pub(super) fn connect(&self) -> String {
        match (&self.pid, &self.offset) {
            (Some(pid), Some(offset)) => format!("40{}", serde_json::json!(Claim { pid, offset })),
            _ => "40".to_owned(),
        }
    }

    /// Reads a CONNECT answer; `None` if it is none.
    pub(super) fn read(answer: &str, earlier: Option<&Self>) -> Option<Self> {
        let Answer { sid, pid } = serde_json::from_str(answer.strip_prefix("40")?).ok()?;
        let earlier = earlier.filter(|earlier| pid.is_some() && earlier.pid == pid && earlier.sid == sid);
        Some(Self {
            sid,
            pid,
            offset: earlier.and_then(|earlier| earlier.offset.clone()),
            recovered: earlier.is_some(),
        })
    }

    /// Takes note of an event that has come, as stock clients do: its last argument is the offset, if that is a string. What it
    /// is where the server gives no session back does not matter.
    pub(crate) fn note(&mut self, text: &str) {
        let arguments = text
            .strip_prefix("42")
            .and_then(|array| serde_json::from_str::<Vec<serde_json::Value>>(array).ok());
        if let Some(serde_json::Value::String(offset)) = arguments.and_then(|mut arguments| arguments.pop()) {
            self.offset = Some(offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_asked_for_with_the_last_offset() {
        let mut session = Session::read(r#"40{"sid":"s","pid":"p"}"#, None).unwrap();
        assert_eq!(session.connect(), "40");
        session.note(r#"42["msg","0 1 9 ..","o1"]"#);
        session.note(r#"42["msg","0 2 9 ..","o\"2"]"#);
        session.note(r#"42["msg","0 3 9 ..",7]"#);
        session.note(r#"43["o3"]"#);
        assert_eq!(session.connect(), r#"40{"offset":"o\"2","pid":"p"}"#);
    }

    #[test]
    fn a_server_that_gives_none_back_is_not_asked() {
        let mut session = Session::read(r#"40{"sid":"s"}"#, None).unwrap();
        session.note(r#"42["msg","0 1 9 .."]"#);
        assert_eq!(session.connect(), "40");
    }

    #[test]
    fn it_is_recovered_if_both_ids_are_those_of_before() {
        let mut earlier = Session::read(r#"40{"sid":"s","pid":"p"}"#, None).unwrap();
        earlier.note(r#"42["msg","x","o"]"#);
        let read = |answer: &str| Session::read(answer, Some(&earlier));
        let same = read(r#"40{"sid":"s","pid":"p"}"#).unwrap();
        assert!(same.recovered && same.connect() == earlier.connect());
        for other in [r#"40{"sid":"t","pid":"p"}"#, r#"40{"sid":"s","pid":"q"}"#, r#"40{"sid":"s"}"#] {
            let session = read(other).unwrap();
            assert!(!session.recovered && session.connect() == "40", "{other}");
        }
        assert_eq!(read(r#"44{"message":"no"}"#), None);
        assert_eq!(read("40"), None);
    }
}
