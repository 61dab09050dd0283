//! From msgpack to JSON text and attachments. One pass without recursion; no memory is taken for what is only announced.

use std::fmt::Write as _;

use bytes::Bytes;
use smallvec::SmallVec;

use super::reader::{Reader, Token};
use crate::protocol::socketio::{Attachments, DecodeError, Limits, json, value::date_text};

/// The value at `place` in its canonical form: see the [module](super).
pub(super) fn canonical(message: &Bytes, place: usize, limits: &Limits) -> Result<(String, Attachments), DecodeError> {
    let mut transcoder = Transcoder::new(message, place, limits, Form::Canonical);
    transcoder.value()?;
    let Transcoder {
        json,
        mut attachments,
        gathered,
        gathered_at,
        pretends,
        ..
    } = transcoder;
    if let Some(slot) = gathered_at.and_then(|at| attachments.get_mut(at)) {
        *slot = gathered.into();
    }
    if pretends && !attachments.is_empty() {
        return Err(DecodeError::IllegalAttachments);
    }
    Ok((json, attachments))
}

/// The value at `place` as JSON alone.
pub(super) fn plain(message: &Bytes, place: usize, limits: &Limits) -> Result<String, DecodeError> {
    let mut transcoder = Transcoder::new(message, place, limits, Form::Plain);
    transcoder.value()?;
    Ok(transcoder.json)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Canonical,
    Plain,
}

#[derive(Debug)]
struct Transcoder<'a> {
    message: &'a Bytes,
    reader: Reader<'a>,
    limits: &'a Limits,
    form: Form,
    json: String,
    attachments: Attachments,
    /// The bytes of all attachments.
    attached: usize,
    /// Values as they were sent, one after the other.
    gathered: Vec<u8>,
    /// Which attachment they become.
    gathered_at: Option<usize>,
    /// Whether a map says that it is a placeholder.
    pretends: bool,
}

/// An array or map that has begun.
#[derive(Debug)]
struct Open {
    is_map: bool,
    is_empty: bool,
    due: usize,
}

impl<'a> Transcoder<'a> {
    fn new(message: &'a Bytes, place: usize, limits: &'a Limits, form: Form) -> Self {
        Self {
            message,
            reader: Reader::at(message, place),
            limits,
            form,
            // Grows with what is read: most of a large message may be attachments.
            json: String::with_capacity(message.len().min(512)),
            attachments: Attachments::new(),
            attached: 0,
            gathered: Vec::new(),
            gathered_at: None,
            pretends: false,
        }
    }

    fn value(&mut self) -> Result<(), DecodeError> {
        let depth = self.limits.max_depth.min(json::MAX_DEPTH);
        let mut open = SmallVec::<[Open; 16]>::new();
        loop {
            if self.json.len() + self.attached > self.limits.max_bytes {
                return Err(DecodeError::TooLarge {
                    max: self.limits.max_bytes,
                });
            }
            let before = self.json.len();
            let mut placeholder = false;
            if let Some(container) = open.last_mut() {
                if container.due == 0 {
                    self.json.push(if container.is_map { '}' } else { ']' });
                    open.pop();
                    if open.is_empty() {
                        return Ok(());
                    }
                    continue;
                }
                container.due -= 1;
                if !container.is_empty {
                    self.json.push(',');
                }
                if container.is_map {
                    placeholder = self.key()?;
                }
            }
            let start = self.reader.position();
            let token = self.reader.token()?;
            self.pretends |= placeholder && token == Token::Bool(true);
            let (bracket, is_map, due) = match token {
                Token::Array(count) => ('[', false, count),
                Token::Map(count) => ('{', true, count),
                Token::Undefined if self.form == Form::Plain && open.last().is_some_and(|container| container.is_map) => {
                    // As JavaScript: the member is not there.
                    self.json.truncate(before);
                    continue;
                }
                scalar => {
                    if open.len() >= depth && self.nests(scalar) {
                        return Err(DecodeError::TooDeep { max: depth });
                    }
                    self.scalar(scalar, start)?;
                    let Some(container) = open.last_mut() else {
                        return Ok(());
                    };
                    container.is_empty = false;
                    continue;
                }
            };
            if open.len() >= depth {
                return Err(DecodeError::TooDeep { max: depth });
            }
            self.json.push(bracket);
            if let Some(container) = open.last_mut() {
                container.is_empty = false;
            }
            open.push(Open {
                is_map,
                is_empty: true,
                due,
            });
        }
    }

    /// Writes a key and its colon; says whether it is that of a placeholder.
    fn key(&mut self) -> Result<bool, DecodeError> {
        let mut placeholder = false;
        match self.reader.token()? {
            Token::Text(key) => {
                // JavaScript takes it for the prototype of the object.
                if key == b"__proto__" {
                    return Err(self.reader.flawed("a key that is __proto__"));
                }
                placeholder = key == b"_placeholder";
                self.text(key)?;
            }
            // A JavaScript object has no other keys than text.
            Token::Unsigned(number) => self.put(format_args!("\"{number}\"")),
            Token::Negative(number) => self.put(format_args!("\"{number}\"")),
            _ => return Err(self.reader.flawed("a key that is neither text nor an integer")),
        }
        self.json.push(':');
        Ok(placeholder)
    }

    /// Whether what is neither array nor map becomes a level of the JSON: a placeholder, or an array of bytes.
    fn nests(&self, token: Token<'_>) -> bool {
        match token {
            Token::Binary(_) | Token::Buffer(_) | Token::Extension(_) => true,
            Token::Float(number) if number.is_finite() => false,
            Token::Float(_) | Token::Date(_) | Token::Undefined => self.form == Form::Canonical,
            _ => false,
        }
    }

    /// Writes what is neither array nor map. It begins at `start` in the message.
    fn scalar(&mut self, token: Token<'a>, start: usize) -> Result<(), DecodeError> {
        match token {
            Token::Nil => self.json.push_str("null"),
            Token::Bool(value) => self.json.push_str(if value { "true" } else { "false" }),
            Token::Unsigned(number) => self.put(format_args!("{number}")),
            Token::Negative(number) => self.put(format_args!("{number}")),
            // With a `.` or an `e`, always.
            Token::Float(number) if number.is_finite() => self.put(format_args!("{number:?}")),
            Token::Text(text) => self.text(text)?,
            other if self.form == Form::Plain => self.plain(other)?,
            Token::Binary(data) if self.attachments.len() < self.limits.max_attachments => self.attach(data, ""),
            Token::Buffer(data) if self.attachments.len() < self.limits.max_attachments => self.attach(data, ",\"ext\":0"),
            _ => self.gather(start),
        }
        Ok(())
    }

    /// Writes what JSON lacks the way JavaScript would, but for bytes.
    fn plain(&mut self, token: Token<'a>) -> Result<(), DecodeError> {
        match token {
            Token::Date(time) => match date_text(time) {
                Some(text) => self.put(format_args!("\"{text}\"")),
                None => self.json.push_str("null"),
            },
            Token::Binary(data) | Token::Buffer(data) | Token::Extension(data) => {
                if data.len() > self.limits.max_bytes / 4 {
                    return Err(DecodeError::TooLarge {
                        max: self.limits.max_bytes,
                    });
                }
                self.json.push('[');
                for (index, byte) in data.iter().enumerate() {
                    self.put(format_args!("{}{byte}", if index == 0 { "" } else { "," }));
                }
                self.json.push(']');
            }
            _ => self.json.push_str("null"),
        }
        Ok(())
    }

    /// Puts bytes aside as an attachment of their own.
    fn attach(&mut self, data: &'a [u8], extra: &str) {
        let number = self.attachments.len();
        self.put(format_args!(r#"{{"_placeholder":true,"num":{number}{extra}}}"#));
        self.attached += data.len();
        // A slice keeps the whole message alive: who keeps a small attachment shall not keep a large message.
        let attachment = if data.len() < self.message.len() / 4 {
            Bytes::copy_from_slice(data)
        } else {
            self.message.slice_ref(data)
        };
        self.attachments.push(attachment);
    }

    /// Puts the value that was read last aside as it was sent.
    fn gather(&mut self, start: usize) {
        let number = *self.gathered_at.get_or_insert_with(|| {
            self.attachments.push(Bytes::new());
            self.attachments.len() - 1
        });
        let place = self.gathered.len();
        self.put(format_args!(r#"{{"_placeholder":true,"num":{number},"msgpack":{place}}}"#));
        let raw = self.message.get(start..self.reader.position()).unwrap_or_default();
        self.attached += raw.len();
        self.gathered.extend_from_slice(raw);
    }

    fn text(&mut self, text: &[u8]) -> Result<(), DecodeError> {
        let text = str::from_utf8(text).map_err(|_| self.reader.flawed("text that is not UTF-8"))?;
        if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
            // Text can always be written.
            self.json.push_str(&serde_json::to_string(text).unwrap_or_default());
        } else {
            self.json.push('"');
            self.json.push_str(text);
            self.json.push('"');
        }
        Ok(())
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        let written = self.json.write_fmt(text);
        debug_assert!(written.is_ok(), "a string takes everything");
    }
}
