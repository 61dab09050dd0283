//! Reads msgpack token by token: no allocation, no recursion, and a length that is longer than what is there costs nothing.

use rmp::Marker;

use crate::protocol::socketio::DecodeError;

/// A value, or the beginning of an array or map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::protocol::socketio) enum Token<'a> {
    Nil,
    /// Fixext 1 of type 0.
    Undefined,
    Bool(bool),
    Unsigned(u64),
    /// Below zero.
    Negative(i64),
    Float(f64),
    /// Not checked to be UTF-8.
    Text(&'a [u8]),
    Binary(&'a [u8]),
    /// Ext 8, 16 or 32 of type 0.
    Buffer(&'a [u8]),
    /// Fixext 8 of type 0: milliseconds since 1970.
    Date(i64),
    /// Any other extension, without its type.
    Extension(&'a [u8]),
    /// With so many values behind it, at least one byte for each.
    Array(usize),
    /// With so many keys, each with a value, behind it, at least a byte for each.
    Map(usize),
}

impl Token<'_> {
    /// How many values, keys included, stand behind it and belong to it.
    const fn inside(&self) -> usize {
        match *self {
            Self::Array(count) => count,
            Self::Map(count) => 2 * count,
            _ => 0,
        }
    }

    /// The number, where it is whole and not negative: JavaScript makes no difference between 1 and 1.0.
    pub(super) fn integer(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(number) => Some(number),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "checked to be a whole number below 2^53"
            )]
            Self::Float(number) if number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&number) => Some(number as u64),
            _ => None,
        }
    }
}

/// Reads from the front of a message.
#[derive(Debug, Clone)]
pub(in crate::protocol::socketio) struct Reader<'a> {
    length: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self {
            length: message.len(),
            rest: message,
        }
    }

    /// A reader of what stands from `place` on; of nothing where that is behind the end.
    pub(in crate::protocol::socketio) fn at(message: &'a [u8], place: usize) -> Self {
        Self {
            length: message.len(),
            rest: message.get(place..).unwrap_or_default(),
        }
    }

    pub(in crate::protocol::socketio) const fn position(&self) -> usize {
        self.length - self.rest.len()
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The error that what was just read is none of what was expected.
    pub(super) const fn flawed(&self, flaw: &'static str) -> DecodeError {
        DecodeError::InvalidMsgpack {
            offset: self.position(),
            flaw,
        }
    }

    /// Reads a value; of an array or map only the head.
    pub(in crate::protocol::socketio) fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        let [marker] = self.bytes()?;
        Ok(match Marker::from_u8(marker) {
            Marker::FixPos(number) => Token::Unsigned(number.into()),
            Marker::FixNeg(number) => Token::Negative(number.into()),
            Marker::FixMap(count) => self.map(count.into())?,
            Marker::FixArray(count) => self.array(count.into())?,
            Marker::FixStr(length) => Token::Text(self.take(length.into())?),
            Marker::Null => Token::Nil,
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::Bin8 => Token::Binary(self.counted::<1>()?),
            Marker::Bin16 => Token::Binary(self.counted::<2>()?),
            Marker::Bin32 => Token::Binary(self.counted::<4>()?),
            Marker::Ext8 => self.count::<1>().and_then(|length| self.extension(length, true))?,
            Marker::Ext16 => self.count::<2>().and_then(|length| self.extension(length, true))?,
            Marker::Ext32 => self.count::<4>().and_then(|length| self.extension(length, true))?,
            Marker::FixExt1 => self.extension(1, false)?,
            Marker::FixExt2 => self.extension(2, false)?,
            Marker::FixExt4 => self.extension(4, false)?,
            Marker::FixExt8 => self.extension(8, false)?,
            Marker::FixExt16 => self.extension(16, false)?,
            Marker::F32 => Token::Float(f32::from_be_bytes(self.bytes()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.bytes()?)),
            Marker::U8 => Token::Unsigned(u8::from_be_bytes(self.bytes()?).into()),
            Marker::U16 => Token::Unsigned(u16::from_be_bytes(self.bytes()?).into()),
            Marker::U32 => Token::Unsigned(u32::from_be_bytes(self.bytes()?).into()),
            Marker::U64 => Token::Unsigned(u64::from_be_bytes(self.bytes()?)),
            Marker::I8 => signed(i8::from_be_bytes(self.bytes()?).into()),
            Marker::I16 => signed(i16::from_be_bytes(self.bytes()?).into()),
            Marker::I32 => signed(i32::from_be_bytes(self.bytes()?).into()),
            Marker::I64 => signed(i64::from_be_bytes(self.bytes()?)),
            Marker::Str8 => Token::Text(self.counted::<1>()?),
            Marker::Str16 => Token::Text(self.counted::<2>()?),
            Marker::Str32 => Token::Text(self.counted::<4>()?),
            Marker::Array16 => self.count::<2>().and_then(|count| self.array(count))?,
            Marker::Array32 => self.count::<4>().and_then(|count| self.array(count))?,
            Marker::Map16 => self.count::<2>().and_then(|count| self.map(count))?,
            Marker::Map32 => self.count::<4>().and_then(|count| self.map(count))?,
            Marker::Reserved => return Err(self.flawed("a byte that begins no value")),
        })
    }

    /// Reads a value with all that is in it; gives its first token.
    pub(super) fn whole(&mut self) -> Result<Token<'a>, DecodeError> {
        let first = self.token()?;
        let mut due = first.inside();
        while due > 0 {
            due = (due - 1).saturating_add(self.token()?.inside());
        }
        Ok(first)
    }

    fn array(&self, count: usize) -> Result<Token<'a>, DecodeError> {
        if count > self.rest.len() {
            return Err(self.flawed("an array longer than the message"));
        }
        Ok(Token::Array(count))
    }

    fn map(&self, count: usize) -> Result<Token<'a>, DecodeError> {
        if count > self.rest.len() / 2 {
            return Err(self.flawed("a map longer than the message"));
        }
        Ok(Token::Map(count))
    }

    /// An extension; `sized` where its length stood before it.
    fn extension(&mut self, length: usize, sized: bool) -> Result<Token<'a>, DecodeError> {
        let [kind] = self.bytes()?;
        let data = self.take(length)?;
        Ok(match (kind, sized, data) {
            (0, true, data) => Token::Buffer(data),
            (0, false, [_]) => Token::Undefined,
            (0, false, data) => match <[u8; 8]>::try_from(data) {
                Ok(time) => Token::Date(i64::from_be_bytes(time)),
                Err(_) => Token::Extension(data),
            },
            (_, _, data) => Token::Extension(data),
        })
    }

    /// The length of `N` bytes that stands here, and as many bytes behind it.
    fn counted<const N: usize>(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.count::<N>()?;
        self.take(length)
    }

    fn count<const N: usize>(&mut self) -> Result<usize, DecodeError> {
        let bytes: [u8; N] = self.bytes()?;
        Ok(bytes.into_iter().fold(0, |count, byte| count << 8 | usize::from(byte)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.flawed("a value longer than the message"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.flawed("the end of the message inside of a value"));
        };
        self.rest = rest;
        Ok(*bytes)
    }
}

fn signed<'a>(number: i64) -> Token<'a> {
    u64::try_from(number).map_or(Token::Negative(number), Token::Unsigned)
}
