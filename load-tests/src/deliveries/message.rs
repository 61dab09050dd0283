//! What a published message carries.

use std::time::Duration;

/// One message: who published it, the how-manyth of that publisher it is, and when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    /// Which publisher, from 0.
    pub(crate) publisher: usize,
    /// Counts from 1 for each publisher.
    pub(crate) sequence: u64,
    /// When it was due, since the beginning of the run. Latency is counted from here, so that a stalled publisher does not hide a stalled
    /// server.
    pub(crate) due: Duration,
    /// In a closed loop the place that it takes of those under way.
    pub(crate) place: usize,
    /// In a closed loop the how-manyth of all messages it is, from 1.
    pub(crate) number: u64,
}

/// An event, as it is awaited or emitted: everything before the text that carries the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    name: String,
    head: String,
    run: String,
}

impl Event {
    /// One with these arguments before the message; `run` tells the messages of this run from those of another one that goes on at the
    /// same servers.
    pub(crate) fn new(name: &str, arguments: &[&str], run: u16) -> Self {
        let strings = std::iter::once(&name).chain(arguments);
        let strings: Vec<_> = strings.map(|text| serde_json::Value::from(*text).to_string()).collect();
        let run = format!("{run:04x} ");
        Self {
            name: name.to_owned(),
            head: format!("42[{},\"{run}", strings.join(",")),
            run,
        }
    }

    /// What is behind the head of the event, if a packet is of this event and its only argument a string. Servers need not escape the
    /// name as this does.
    fn argument<'a>(&self, text: &'a str) -> Option<&'a str> {
        text.strip_prefix(self.head.as_str()).or_else(|| {
            let array = text.strip_prefix("42[")?;
            let mut values = serde_json::Deserializer::from_str(array).into_iter::<String>();
            let name = values.next()?.ok()?;
            let rest = array.get(values.byte_offset()..)?;
            rest.strip_prefix(",\"")?.strip_prefix(&self.run).filter(|_| name == self.name)
        })
    }
}

impl Message {
    /// The Engine.IO text of an event with this message as its last argument, padded to `size` bytes.
    pub(crate) fn encode(&self, event: &Event, size: usize) -> String {
        let Self {
            publisher,
            sequence,
            due,
            place,
            number,
        } = self;
        let mut text = String::with_capacity(event.head.len() + size + 2);
        text.push_str(&event.head);
        text.push_str(&format!("{publisher} {sequence} {} {place} {number} ", due.as_micros()));
        let length = (event.head.len() - event.run.len()) + size;
        text.extend(std::iter::repeat_n('.', length.saturating_sub(text.len())));
        text.push_str("\"]");
        text
    }

    /// Reads what [`Message::encode`] wrote; `None` for any other event.
    pub(crate) fn decode(text: &str, event: &Event) -> Option<Self> {
        let mut rest = event.argument(text)?.as_bytes();
        Some(Self {
            publisher: usize::try_from(number(&mut rest)?).ok()?,
            sequence: number(&mut rest)?,
            due: Duration::from_micros(number(&mut rest)?),
            place: usize::try_from(number(&mut rest)?).ok()?,
            number: number(&mut rest)?,
        })
    }
}

/// Takes a decimal number and the space behind it.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (digits, byte) in rest.iter().enumerate() {
        match byte {
            b'0'..=b'9' => value = value.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            b' ' if digits > 0 => {
                *rest = rest.get(digits + 1..)?;
                return Some(value);
            }
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Message = Message {
        publisher: 3,
        sequence: 17,
        due: Duration::from_micros(12_345),
        place: 4,
        number: 99,
    };

    #[test]
    fn a_message_survives_the_way_there_and_back() {
        let text = MESSAGE.encode(&Event::new("msg", &[], 7), 128);
        assert_eq!(text.len(), r#"42["msg",""]"#.len() + 128);
        assert_eq!(Message::decode(&text, &Event::new("msg", &[], 7)), Some(MESSAGE));
        assert_eq!(Message::decode(&text, &Event::new("other", &[], 7)), None);
        assert_eq!(Message::decode(&text, &Event::new("msg", &[], 8)), None);
        let overflow = format!("42[\"msg\",\"0007 0 {}0 9 0 0 ..\"]", u64::MAX);
        for wrong in [
            r#"42["msg","x"]"#,
            r#"42["msg","0007 0  9 0 0 ..\"]"#,
            r#"42["msg",7]"#,
            overflow.as_str(),
        ] {
            assert_eq!(Message::decode(wrong, &Event::new("msg", &[], 7)), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_published_may_have_another_name_and_arguments_before_the_message() {
        let text = MESSAGE.encode(&Event::new("pub\"room", &["r1"], 7), 128);
        assert_eq!(text.len(), r#"42["pub\"room","r1",""]"#.len() + 128);
        let delivered = text.replace(r#""pub\"room","r1""#, r#""msg""#);
        assert_eq!(Message::decode(&delivered, &Event::new("msg", &[], 7)), Some(MESSAGE));
    }

    #[test]
    fn a_server_may_escape_the_name_of_the_event_as_it_likes() {
        let event = Event::new("a/\"b", &[], 7);
        for name in [r#""a/\"b""#, r#""a\/\"b""#, r#""a\u002f\u0022b""#] {
            assert_eq!(
                Message::decode(&format!("42[{name},\"0007 3 17 12345 4 99 ..\"]"), &event),
                Some(MESSAGE),
                "{name}"
            );
        }
        assert_eq!(Message::decode(r#"42["a/","0007 3 17 12345 4 99 .."]"#, &event), None);
    }
}
