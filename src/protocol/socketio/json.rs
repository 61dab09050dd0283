//! Reads the structure of JSON text without decoding it: is it well-formed, how deep does it nest, where do an array's elements stand,
//! and do placeholders of attachments name attachments that exist.
//!
//! One pass, no recursion. What it accepts is what `serde_json` skips over: a lone surrogate in an escape or a number beyond a
//! double is well-formed, and is forwarded; only who decodes it gets an error.

use std::borrow::Cow;

use smallvec::SmallVec;

/// The deepest nesting that `serde_json` decodes.
pub(super) const MAX_DEPTH: usize = 127;

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Not JSON; the offset in bytes.
    Malformed(usize),
    /// Nested deeper than allowed.
    TooDeep,
    /// A placeholder names no attachment.
    Placeholder,
}

/// What is asked of a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The deepest nesting.
    pub depth: usize,
    /// How many attachments there are, where placeholders mean something.
    pub attachments: Option<usize>,
}

/// The elements of an array, or a list of values between commas, as text.
#[derive(Debug, Clone)]
pub(super) struct Elements<'a> {
    scanner: Scanner<'a>,
    rules: Rules,
    /// Whether an element must follow: a comma stood before.
    due: bool,
}

impl<'a> Elements<'a> {
    /// The elements between the brackets of an array. The array is a level of its own.
    pub(super) fn of_array(text: &'a str, rules: Rules) -> Result<Self, Flaw> {
        let end = text.trim_end_matches(SPACE);
        let start = end.len() - end.trim_start_matches(SPACE).len();
        if end.as_bytes().get(start) != Some(&b'[') {
            return Err(Flaw::Malformed(start));
        }
        let inner = end
            .strip_suffix(']')
            .filter(|inner| inner.len() > start)
            .ok_or(Flaw::Malformed(end.len()))?;
        let depth = rules.depth.checked_sub(1).ok_or(Flaw::TooDeep)?;
        Ok(Self {
            scanner: Scanner {
                text: inner,
                position: start + 1,
            },
            rules: Rules { depth, ..rules },
            due: false,
        })
    }

    /// The values of a list without brackets.
    pub(super) const fn of_list(text: &'a str, rules: Rules) -> Self {
        Self {
            scanner: Scanner { text, position: 0 },
            rules,
            due: false,
        }
    }

    /// The text behind the last element's comma, unchecked.
    pub(super) fn rest(&self) -> &'a str {
        self.scanner.since(self.scanner.position).trim_matches(SPACE)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a str, Flaw>;

    /// To be left alone after an error.
    fn next(&mut self) -> Option<Self::Item> {
        let scanner = &mut self.scanner;
        scanner.skip_space();
        if scanner.peek().is_none() && !self.due {
            return None;
        }
        let start = scanner.position;
        if let Err(flaw) = scanner.value(self.rules) {
            return Some(Err(flaw));
        }
        let element = scanner.text.get(start..scanner.position).unwrap_or_default();
        scanner.skip_space();
        self.due = scanner.take(b',');
        if !self.due && scanner.peek().is_some() {
            return Some(Err(scanner.malformed()));
        }
        Some(Ok(element))
    }
}

/// Checks a whole text to be one value.
pub(super) fn check(text: &str, rules: Rules) -> Result<(), Flaw> {
    let mut scanner = Scanner { text, position: 0 };
    scanner.value(rules)?;
    scanner.skip_space();
    scanner.peek().map_or(Ok(()), |_| Err(scanner.malformed()))
}

/// The string of a value that is a well-formed string; `None` where it is none, or has a lone surrogate.
pub(super) fn string(value: &str) -> Option<Cow<'_, str>> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// What JSON calls white space.
pub(super) const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

#[derive(Debug, Clone)]
struct Scanner<'a> {
    text: &'a str,
    position: usize,
}

/// A container that has begun.
#[derive(Debug)]
enum Open {
    Array,
    Object(Object),
}

/// What an object has said of being a placeholder. Of a key given twice the last counts, as in JavaScript.
#[derive(Debug, Default)]
struct Object {
    key: Key,
    /// Whether `_placeholder` is `true`.
    placeholder: bool,
    /// `num`, where it is a whole number.
    number: Option<usize>,
}

/// The key before the value that comes next.
#[derive(Debug, Default, Clone, Copy)]
enum Key {
    Placeholder,
    Number,
    #[default]
    Other,
}

impl Object {
    /// Takes notice of a member's value.
    fn note(&mut self, value: &str) {
        match self.key {
            Key::Placeholder => self.placeholder = value == "true",
            Key::Number => self.number = value.parse().ok(),
            Key::Other => {}
        }
    }

    fn is_illegal(&self, rules: Rules) -> bool {
        self.placeholder
            && rules
                .attachments
                .is_some_and(|count| self.number.is_none_or(|number| number >= count))
    }
}

impl<'a> Scanner<'a> {
    /// Skips one value, and the white space before it.
    fn value(&mut self, rules: Rules) -> Result<(), Flaw> {
        let mut open = SmallVec::<[Open; 16]>::new();
        loop {
            self.skip_space();
            let start = self.position;
            let first = self.peek().ok_or_else(|| self.malformed())?;
            if matches!(first, b'[' | b'{') {
                self.note(&mut open, "");
                if self.begin(first, &mut open, rules)? {
                    continue;
                }
            } else {
                self.scalar(first)?;
                self.note(&mut open, self.text.get(start..self.position).unwrap_or_default());
            }
            if self.end(&mut open, rules)? {
                return Ok(());
            }
        }
    }

    /// Enters a container; false where it was empty and is left already.
    fn begin(&mut self, first: u8, open: &mut SmallVec<[Open; 16]>, rules: Rules) -> Result<bool, Flaw> {
        if open.len() >= rules.depth {
            return Err(Flaw::TooDeep);
        }
        self.position += 1;
        self.skip_space();
        if first == b'[' {
            if self.take(b']') {
                return Ok(false);
            }
            open.push(Open::Array);
        } else {
            if self.take(b'}') {
                return Ok(false);
            }
            open.push(Open::Object(Object {
                key: self.key()?,
                ..Object::default()
            }));
        }
        Ok(true)
    }

    /// After a value: leaves the containers that end here. True when the outermost value has ended, false when another value follows.
    fn end(&mut self, open: &mut SmallVec<[Open; 16]>, rules: Rules) -> Result<bool, Flaw> {
        while let Some(container) = open.last_mut() {
            self.skip_space();
            match (container, self.peek()) {
                (Open::Array, Some(b',')) => {
                    self.position += 1;
                    return Ok(false);
                }
                (Open::Object(object), Some(b',')) => {
                    self.position += 1;
                    object.key = self.key()?;
                    return Ok(false);
                }
                (Open::Object(object), Some(b'}')) if object.is_illegal(rules) => return Err(Flaw::Placeholder),
                (Open::Array, Some(b']')) | (Open::Object(_), Some(b'}')) => self.position += 1,
                _ => return Err(self.malformed()),
            }
            open.pop();
        }
        Ok(true)
    }

    fn note(&self, open: &mut SmallVec<[Open; 16]>, value: &str) {
        if let Some(Open::Object(object)) = open.last_mut() {
            object.note(value);
        }
    }

    /// Skips a key and its colon.
    fn key(&mut self) -> Result<Key, Flaw> {
        self.skip_space();
        let start = self.position;
        self.string()?;
        let key = string(self.text.get(start..self.position).unwrap_or_default());
        self.skip_space();
        if !self.take(b':') {
            return Err(self.malformed());
        }
        Ok(match key.as_deref() {
            Some("_placeholder") => Key::Placeholder,
            Some("num") => Key::Number,
            _ => Key::Other,
        })
    }

    fn scalar(&mut self, first: u8) -> Result<(), Flaw> {
        let literal = match first {
            b'"' => return self.string(),
            b't' => "true",
            b'f' => "false",
            b'n' => "null",
            _ => return self.number(),
        };
        if !self.since(self.position).starts_with(literal) {
            return Err(self.malformed());
        }
        self.position += literal.len();
        Ok(())
    }

    fn string(&mut self) -> Result<(), Flaw> {
        if !self.take(b'"') {
            return Err(self.malformed());
        }
        loop {
            let rest = self.since(self.position).as_bytes();
            let plain = rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b'\\' | ..0x20))
                .unwrap_or(rest.len());
            self.position += plain;
            match rest.get(plain..) {
                Some([b'"', ..]) => {
                    self.position += 1;
                    return Ok(());
                }
                Some([b'\\', b'u', a, b, c, d, ..]) if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => self.position += 6,
                Some([b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..]) => self.position += 2,
                _ => return Err(self.malformed()),
            }
        }
    }

    fn number(&mut self) -> Result<(), Flaw> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Skips at least one digit.
    fn digits(&mut self) -> Result<(), Flaw> {
        let digits = self.since(self.position).bytes().take_while(u8::is_ascii_digit).count();
        self.position += digits;
        if digits == 0 { Err(self.malformed()) } else { Ok(()) }
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.position += usize::from(found);
        found
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.position).copied()
    }

    /// The text from a position on. Positions are always between characters.
    fn since(&self, position: usize) -> &'a str {
        self.text.get(position..).unwrap_or_default()
    }

    const fn malformed(&self) -> Flaw {
        Flaw::Malformed(self.position)
    }
}
