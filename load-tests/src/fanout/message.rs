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
    /// The Engine.IO text of an EVENT with this message as its one argument, padded to `size` bytes.
    pub(super) fn encode(&self, event: &str, size: usize) -> String {
        let mut argument = format!("{} {} {} ", self.publisher, self.sequence, self.due.as_micros());
        argument.extend(std::iter::repeat_n('.', size.saturating_sub(argument.len())));
        format!("42[{},\"{argument}\"]", serde_json::Value::from(event))
    }

    /// Reads what [`Message::encode`] wrote; `None` for any other event.
    pub(super) fn decode(text: &str, event: &str) -> Option<Self> {
        let rest = text.strip_prefix("42[\"")?.strip_prefix(event)?.strip_prefix("\",\"")?;
        let mut fields = rest.splitn(4, ' ');
        Some(Self {
            publisher: fields.next()?.parse().ok()?,
            sequence: fields.next()?.parse().ok()?,
            due: Duration::from_micros(fields.next()?.parse().ok()?),
        })
    }
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
        let text = message.encode("msg", 128);
        assert_eq!(text.len(), "42[\"msg\",\"\"]".len() + 128);
        assert_eq!(Message::decode(&text, "msg"), Some(message));
        assert_eq!(Message::decode(&text, "other"), None);
        assert_eq!(Message::decode("42[\"msg\",\"x\"]", "msg"), None);
    }
}
