//! What a published message carries.

use std::time::Duration;

/// One message: who published it, the how-manyth of that publisher it is, and when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    /// Which publisher, from 0.
    pub(super) publisher: usize,
    /// Counts from 1 for each publisher.
    pub(super) sequence: u64,
    /// When it was due, since the beginning of the schedule. Latency is counted from here, so that a stalled publisher does not hide a stalled server.
    pub(super) due: Duration,
}

impl Message {
    /// The Engine.IO text of an EVENT, whose name is given as JSON, with this message as its one argument, padded to `size` bytes.
    pub(super) fn encode(&self, event: &str, size: usize) -> String {
        let mut argument = format!("{} {} {} ", self.publisher, self.sequence, self.due.as_micros());
        argument.extend(std::iter::repeat_n('.', size.saturating_sub(argument.len())));
        format!("42[{event},\"{argument}\"]")
    }

    /// Reads what [`Message::encode`] wrote; `None` for any other event.
    pub(super) fn decode(text: &str, event: &str) -> Option<Self> {
        let array = text.strip_prefix("42[")?;
        let arguments = array.strip_prefix(event).or_else(|| behind(array, event))?;
        let mut fields = arguments.strip_prefix(",\"")?.splitn(4, ' ');
        Some(Self {
            publisher: fields.next()?.parse().ok()?,
            sequence: fields.next()?.parse().ok()?,
            due: Duration::from_micros(fields.next()?.parse().ok()?),
        })
    }
}

/// What is behind the name of an event, if it is that of `event`. Servers need not escape it as this does.
fn behind<'a>(array: &'a str, event: &str) -> Option<&'a str> {
    let mut values = serde_json::Deserializer::from_str(array).into_iter::<String>();
    let name = values.next()?.ok()?;
    array
        .get(values.byte_offset()..)
        .filter(|_| serde_json::from_str::<String>(event).is_ok_and(|event| event == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_survives_the_way_there_and_back() {
        let message = Message {
            publisher: 3,
            sequence: 17,
            due: Duration::from_micros(12_345),
        };
        let text = message.encode(r#""msg""#, 128);
        assert_eq!(text.len(), r#"42["msg",""]"#.len() + 128);
        assert_eq!(Message::decode(&text, r#""msg""#), Some(message));
        assert_eq!(Message::decode(&text, r#""other""#), None);
        assert_eq!(Message::decode(r#"42["msg","x"]"#, r#""msg""#), None);
    }

    #[test]
    fn a_server_may_escape_the_name_of_the_event_as_it_likes() {
        let due = Duration::from_micros(9);
        let (publisher, sequence) = (0, 1);
        let message = Some(Message { publisher, sequence, due });
        let event = r#""a/\"b""#;
        for name in [event, r#""a\/\"b""#, r#""a\u002f\u0022b""#] {
            assert_eq!(Message::decode(&format!("42[{name},\"0 1 9 ..\"]"), event), message, "{name}");
        }
        assert_eq!(Message::decode(r#"42["a/","0 1 9 .."]"#, event), None);
    }
}
