//! Dates, as JavaScript writes them into JSON.

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
    use super::*;

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
