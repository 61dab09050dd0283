//! Dates, as JavaScript has them and writes them into JSON.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Unexpected, Visitor},
};

/// The name by which a serializer of payloads knows a date.
pub(super) const NAME: &str = "fanfare::Date";

/// A point in time in milliseconds, as a JavaScript `Date`: at most 100 000 000 days before or after 1970.
///
/// As an argument of an event or acknowledgement, or anywhere in one, it is a `Date` for clients with the msgpack parser, and for others
/// the text that `JSON.stringify` makes of one. It is read from both, and from a number of milliseconds. What serde writes elsewhere is the
/// text.
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use fanfare::hub::Date;
///
/// let date = Date::from(SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_801_200_123));
/// assert_eq!(date.to_string(), "2026-11-27T17:40:00.123Z");
/// assert_eq!(serde_json::to_string(&date).unwrap(), r#""2026-11-27T17:40:00.123Z""#);
/// assert_eq!("2026-11-27T18:40:00.123+01:00".parse(), Ok(date));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i64);

/// A text that is no [`Date`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a date; expected one as RFC 3339 writes it, such as 2026-11-27T17:40:00.123Z")]
pub struct NotADate;

impl Date {
    /// From milliseconds since 1970; nothing for what JavaScript calls an invalid date.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Option<Self> {
        if millis >= -MAX && millis <= MAX {
            Some(Self(millis))
        } else {
            None
        }
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The same for the standard library; nothing where the platform has no such time.
    #[must_use]
    pub fn to_system_time(self) -> Option<SystemTime> {
        let distance = Duration::from_millis(self.0.unsigned_abs());
        if self.0 < 0 {
            UNIX_EPOCH.checked_sub(distance)
        } else {
            UNIX_EPOCH.checked_add(distance)
        }
    }

    /// As `notepack.io` 2 writes it: an extension of type 0 with 8 bytes.
    pub(super) fn to_msgpack(self) -> [u8; 10] {
        let mut message = [0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        if let Some((_, millis)) = message.split_first_chunk_mut::<2>() {
            millis.copy_from_slice(&self.0.to_be_bytes());
        }
        message
    }
}

/// Rounds down to a millisecond. What is too far from 1970 becomes the last date, or the first.
impl From<SystemTime> for Date {
    fn from(time: SystemTime) -> Self {
        let millis = |distance: u128| i64::try_from(distance).unwrap_or(MAX).min(MAX);
        Self(match time.duration_since(UNIX_EPOCH) {
            Ok(after) => millis(after.as_millis()),
            Err(before) => -millis(before.duration().as_nanos().div_ceil(1_000_000)),
        })
    }
}

/// What `toISOString` gives.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&date_text(self.0).unwrap_or_default())
    }
}

/// Reads what [`Display`](fmt::Display) writes, and RFC 3339: with any fraction of a second, of which less than a millisecond is cut off,
/// and any offset.
impl FromStr for Date {
    type Err = NotADate;

    fn from_str(text: &str) -> Result<Self, NotADate> {
        read(text).and_then(Self::from_millis).ok_or(NotADate)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(NAME, &format_args!("{self}"))
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;

        impl Visitor<'_> for Form {
            type Value = Date;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Date, E> {
                text.parse().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }

            fn visit_i64<E: de::Error>(self, millis: i64) -> Result<Date, E> {
                Date::from_millis(millis).ok_or_else(|| E::invalid_value(Unexpected::Signed(millis), &self))
            }

            fn visit_u64<E: de::Error>(self, millis: u64) -> Result<Date, E> {
                let date = i64::try_from(millis).ok().and_then(Date::from_millis);
                date.ok_or_else(|| E::invalid_value(Unexpected::Unsigned(millis), &self))
            }
        }

        deserializer.deserialize_any(Form)
    }
}

/// Milliseconds since 1970 of a date in RFC 3339.
fn read(text: &str) -> Option<i64> {
    let (day, clock) = text.split_once(['T', 't', ' '])?;
    let (year, month_day) = split_year(day)?;
    let [month, day] = numbers(month_day, '-')?;
    let (clock, offset) = match clock.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let (clock, offset) = clock.split_at_checked(clock.find(['+', '-'])?)?;
            let sign = if offset.starts_with('-') { -1 } else { 1 };
            let [hours, minutes] = numbers(offset.get(1..)?, ':').filter(|[hours, minutes]| *hours < 24 && *minutes < 60)?;
            (clock, sign * (hours * 60 + minutes))
        }
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hours, minutes, seconds] = numbers(clock, ':')?;
    let is_whole = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    // No leap seconds: JavaScript has none either.
    let fits = is_whole && hours < 24 && minutes < 60 && seconds < 60;
    let millis = digits(format!("{fraction:0<3}").get(..3)?)?;
    let days = days(year, month, day).filter(|_| fits)?;
    Some(days * DAY + ((hours * 60 + minutes - offset) * 60 + seconds) * 1000 + millis)
}

/// The year of four digits, or of six with a sign, and what is behind it.
fn split_year(date: &str) -> Option<(i64, &str)> {
    let signed = date.strip_prefix('+').or_else(|| date.strip_prefix('-'));
    let (year, rest) = match signed {
        Some(date) => date.split_at_checked(6)?,
        None => date.split_at_checked(4)?,
    };
    let number = digits(year)?;
    let is_negative = date.starts_with('-');
    // There is one year 0.
    (!is_negative || number > 0).then_some(())?;
    Some((if is_negative { -number } else { number }, rest.strip_prefix('-')?))
}

/// So many numbers of two digits, with a separator between them.
fn numbers<const N: usize>(text: &str, separator: char) -> Option<[i64; N]> {
    let mut numbers = [0; N];
    let mut parts = text.split(separator);
    for number in &mut numbers {
        let part = parts.next().filter(|part| part.len() == 2)?;
        *number = digits(part)?;
    }
    parts.next().is_none().then_some(numbers)
}

/// The number that digits are.
fn digits(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The days from 1970 to a day of the Gregorian calendar; nothing where there is no such day. The reverse of [`civil`].
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let (shifted, month_from_march) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    (civil(days) == (year, month, day)).then_some(days)
}

/// The most milliseconds before and after 1970 that a JavaScript `Date` can be; beyond it is an invalid date.
const MAX: i64 = 8_640_000_000_000_000;

const DAY: i64 = 86_400_000;

/// What `toISOString` gives for a time in milliseconds since 1970, e.g. `2026-11-27T17:40:00.000Z`; nothing for an invalid date.
pub(in crate::protocol::socketio) fn date_text(time: i64) -> Option<String> {
    if !(-MAX..=MAX).contains(&time) {
        return None;
    }
    let (year, month, day) = civil(time.div_euclid(DAY));
    let within = time.rem_euclid(DAY);
    let (hours, minutes) = (within / 3_600_000, within / 60_000 % 60);
    let (seconds, millis) = (within / 1000 % 60, within % 1000);
    // A year of other than four digits has six, and a sign.
    let year = match year {
        0..=9999 => format!("{year:04}"),
        year => format!("{}{:06}", if year < 0 { '-' } else { '+' }, year.abs()),
    };
    Some(format!(
        "{year}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z"
    ))
}

/// Year, month and day of a day counted from 1970, in the Gregorian calendar. Years begin in March here, so that the day that leap
/// years add is their last.
const fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let day_of_era = day.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_date_is_read_as_it_was_written(millis in -MAX..=MAX) {
            let date = Date::from_millis(millis).unwrap();
            prop_assert_eq!(date.to_string().parse(), Ok(date));
            prop_assert_eq!(serde_json::from_str::<Date>(&serde_json::to_string(&date).unwrap()).unwrap(), date);
            prop_assert_eq!(serde_json::from_str::<Date>(&millis.to_string()).unwrap(), date);
            prop_assert_eq!(Date::from(date.to_system_time().unwrap()), date);
        }

        #[test]
        fn no_text_panics(text in "[-+0-9TZ:. é]{0,30}") {
            if let Ok(date) = text.parse::<Date>() {
                prop_assert_eq!(date.to_string().parse(), Ok(date));
            }
        }
    }

    #[test]
    fn dates_of_others_are_read_and_what_is_none_is_refused() {
        let read = |text: &str| text.parse().map(Date::millis);
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01t00:00:00.5z", 500),
            ("1970-01-01 00:00:00.123999999Z", 123),
            ("1969-12-31T18:59:59.999-05:00", -1),
            ("1970-01-01T05:30:00+05:30", 0),
            ("+275760-09-13T00:00:00.000Z", MAX),
            ("-271821-04-20T00:00:00.000Z", -MAX),
            ("2000-02-29T00:00:00.000Z", 951_782_400_000),
        ] {
            assert_eq!(read(text), Ok(millis), "{text}");
        }
        for text in [
            "",
            "now",
            "1970-01-01",
            "1970-01-01T00:00:00",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00.xZ",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:60:00Z",
            "1970-01-01T00:00:60Z",
            "1970-13-01T00:00:00Z",
            "1970-00-01T00:00:00Z",
            "1970-01-00T00:00:00Z",
            "1970-02-29T00:00:00Z",
            "1970-1-01T00:00:00Z",
            "1970-01-01-01T00:00:00Z",
            "70-01-01T00:00:00Z",
            "-000000-01-01T00:00:00Z",
            "+275760-09-13T00:00:00.001Z",
            "1970-01-01T00:00:00+5:30",
            "1970-01-01T00:00:00+24:00",
            "1970-01-01T00:00:00é",
            "é970-01-01T00:00:00Z",
        ] {
            assert_eq!(read(text), Err(NotADate), "{text}");
        }
        assert!(serde_json::from_str::<Date>("9e15").is_err() && serde_json::from_str::<Date>("8640000000000001").is_err());
        assert!(serde_json::from_str::<Date>("true").is_err() && serde_json::from_str::<Date>("18446744073709551615").is_err());
    }

    #[test]
    fn a_time_is_rounded_down_and_kept_within_bounds() {
        let (micro, far) = (Duration::from_micros(1), Duration::from_secs(1 << 55));
        assert_eq!(Date::from(UNIX_EPOCH + micro).millis(), 0);
        assert_eq!(Date::from(UNIX_EPOCH - micro).millis(), -1);
        assert_eq!(Date::from(UNIX_EPOCH + far).millis(), MAX);
        assert_eq!(Date::from(UNIX_EPOCH - far).millis(), -MAX);
    }

    #[test]
    fn dates_are_written_as_javascript_writes_them() {
        // From `new Date(n).toISOString()` of Node 20.
        for (time, text) in [
            (0, Some("1970-01-01T00:00:00.000Z")),
            (-1, Some("1969-12-31T23:59:59.999Z")),
            (951_782_400_000, Some("2000-02-29T00:00:00.000Z")),
            (951_868_800_000, Some("2000-03-01T00:00:00.000Z")),
            (4_107_542_399_999, Some("2100-02-28T23:59:59.999Z")),
            (1_795_801_200_123, Some("2026-11-27T17:40:00.123Z")),
            (253_402_300_799_999, Some("9999-12-31T23:59:59.999Z")),
            (253_402_300_800_000, Some("+010000-01-01T00:00:00.000Z")),
            (-62_198_755_200_000, Some("-000001-01-01T00:00:00.000Z")),
            (-62_167_219_200_000, Some("0000-01-01T00:00:00.000Z")),
            (MAX, Some("+275760-09-13T00:00:00.000Z")),
            (-MAX, Some("-271821-04-20T00:00:00.000Z")),
            (MAX + 1, None),
            (i64::MIN, None),
        ] {
            assert_eq!(date_text(time).as_deref(), text, "{time}");
        }
    }
}
