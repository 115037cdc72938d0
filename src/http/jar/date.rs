//! The dates of cookies (RFC 6265 section 5.1.1): whatever order and separators a framework writes, read as browsers do.

const MONTHS: [&[u8]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

/// Seconds since 1970; `None` for what browsers ignore.
pub(super) fn parse(text: &[u8]) -> Option<i64> {
    let is_delimiter = |byte: &u8| matches!(byte, b'\t' | b' '..=b'/' | b';'..=b'@' | b'['..=b'`' | b'{'..=b'~');
    let (mut time, mut day, mut month, mut year) = (None, None, None, None);
    for token in text.split(is_delimiter).filter(|token| !token.is_empty()) {
        if time.is_none()
            && let Some(found) = time_of_day(token)
        {
            time = Some(found);
        } else if day.is_none()
            && let Some(found) = number(token, 1, 2)
        {
            day = Some(found);
        } else if month.is_none()
            && let Some(found) = month_of(token)
        {
            month = Some(found);
        } else if year.is_none()
            && let Some(found) = number(token, 2, 4)
        {
            year = Some(match found {
                0..=69 => found + 2000,
                70..=99 => found + 1900,
                _ => found,
            });
        }
    }
    let (time, day, month, year) = (time?, day?, month?, year?);
    if !(1..=31).contains(&day) || year < 1601 {
        return None;
    }
    Some(days_since_1970(year, month, day) * 86_400 + time)
}

/// `hh:mm:ss` in seconds.
fn time_of_day(token: &[u8]) -> Option<i64> {
    let mut parts = token.split(|byte| *byte == b':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (hours, minutes, seconds) = (number(hours, 1, 2)?, number(minutes, 1, 2)?, number(seconds, 1, 2)?);
    (hours < 24 && minutes < 60 && seconds < 60).then_some(hours * 3600 + minutes * 60 + seconds)
}

/// The month's number, from 1.
fn month_of(token: &[u8]) -> Option<i64> {
    let start = token.get(..3)?.to_ascii_lowercase();
    (1_i64..).zip(MONTHS).find_map(|(number, month)| (month == start).then_some(number))
}

/// The number that a token begins with, when it has that many digits and then no more.
fn number(token: &[u8], fewest: usize, most: usize) -> Option<i64> {
    let digits = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits < fewest || digits > most {
        return None;
    }
    std::str::from_utf8(token.get(..digits)?).ok()?.parse().ok()
}

/// Days from 1970-01-01 in the Gregorian calendar, with years that begin in March so that the leap day is the last one.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year;
    days - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_as_browsers_read_them() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 01-Jan-1970 00:00:01 GMT", Some(1)),
            ("Wed, 09 Jun 2021 10:18:14 GMT", Some(1_623_233_894)),
            ("Wednesday, 09-Jun-21 10:18:14 GMT", Some(1_623_233_894)),
            ("Wed Jun  9 10:18:14 2021", Some(1_623_233_894)),
            ("29 Feb 2024 23:59:59", Some(1_709_251_199)),
            ("1 Mar 2000 0:0:0", Some(951_868_800)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("01 Jan 69 00:00:00", Some(3_124_224_000)),
            ("01 Jan 1601 00:00:00", Some(-11_644_473_600)),
            ("01 Jan 1600 00:00:00", None),
            ("0 Jan 2020 00:00:00", None),
            ("32 Jan 2020 00:00:00", None),
            ("01 Jan 2020 24:00:00", None),
            ("01 Jan 2020", None),
            ("01 Foo 2020 00:00:00", None),
            ("0", None),
            ("", None),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
    }
}
