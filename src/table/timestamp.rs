//! Timestamps: microseconds since 1970 UTC, to and from RFC 3339 text.
//!
//! Strict on the way in, since what a parser forgives it silently changes: an offset must be there, a leap second and
//! a seventh digit after the point are refused instead of rounded away. Only the calendar is jiff's: its own moments
//! end a day before the year 9999 does.

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};
use std::fmt::Write;

/// 0000-01-01T00:00:00Z.
pub(crate) const MICROS_MIN: i64 = -62_167_219_200_000_000;

/// 9999-12-31T23:59:59.999999Z.
pub(crate) const MICROS_MAX: i64 = 253_402_300_799_999_999;

/// What a timestamp is, for the end of a sentence.
pub(crate) const RIGHT: &str = "a timestamp is RFC 3339 text with an offset, such as \"2024-02-29T12:30:00.250Z\", \
    or the integer of µs since 1970 UTC, and lies in the years 0000 to 9999";

const LEAP_SECOND: &str = "leap seconds are not kept, so a second is one of 00 to 59";
const NO_SUCH_TIME: &str = "there is no such date, time of day or offset";
const TOO_FINE: &str = "a timestamp keeps microseconds, so at most 6 digits follow the point";
const OTHER_YEAR: &str = "a timestamp lies in the years 0000 to 9999, UTC";

const EPOCH: Date = Date::constant(1970, 1, 1);
const MICROS_PER_SECOND: i64 = 1_000_000;

/// Whether the moment lies in the years 0000 to 9999.
#[inline]
pub(crate) fn is_in_range(micros: i64) -> bool {
    (MICROS_MIN..=MICROS_MAX).contains(&micros)
}

/// The moment that a text such as `2024-02-29T12:30:00.250+01:00` names; or what would be right.
pub(crate) fn parse(text: &str) -> Result<i64, &'static str> {
    let time = Parts::read(text.as_bytes()).ok_or(RIGHT)?;
    if time.second == 60 {
        return Err(LEAP_SECOND);
    }
    if time.hour > 23 || time.minute > 59 || time.second > 59 || time.offset_hour > 23 || time.offset_minute > 59 {
        return Err(NO_SUCH_TIME);
    }
    // Two digits fit an i8 and four an i16.
    let date = Date::new(time.year as i16, time.month as i8, time.day as i8).map_err(|_| NO_SUCH_TIME)?;
    let offset = time.offset_sign * (time.offset_hour * 3600 + time.offset_minute * 60);
    let day_seconds = time.hour * 3600 + time.minute * 60 + time.second - offset;
    let seconds = date.duration_since(EPOCH).as_secs() + day_seconds;
    let micros = seconds * MICROS_PER_SECOND + time.micros.ok_or(TOO_FINE)?;
    match is_in_range(micros) {
        true => Ok(micros),
        false => Err(OTHER_YEAR),
    }
}

/// Writes the moment in UTC, its fraction with 0, 3 or 6 digits. One out of range is written as its integer.
pub(crate) fn write(micros: i64, out: &mut String) {
    if !is_in_range(micros) {
        write!(out, "{micros}").expect("a string takes all text");
        return;
    }
    let time = DateTime::from_parts(EPOCH, jiff::civil::Time::midnight())
        .checked_add(SignedDuration::from_secs(micros.div_euclid(MICROS_PER_SECOND)))
        .expect("the calendar covers the years 0000 to 9999");
    let (year, month, day) = (time.year(), time.month(), time.day());
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}").expect("a string takes all text");
    match micros.rem_euclid(MICROS_PER_SECOND) {
        0 => Ok(()),
        fraction if fraction % 1000 == 0 => write!(out, ".{:03}", fraction / 1000),
        fraction => write!(out, ".{fraction:06}"),
    }
    .expect("a string takes all text");
    out.push('Z');
}

/// The numbers of an RFC 3339 text, as written: not yet a time that exists.
struct Parts {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    /// The fraction; None if it is finer than microseconds.
    micros: Option<i64>,
    offset_sign: i64,
    offset_hour: i64,
    offset_minute: i64,
}

impl Parts {
    /// None if the text does not have the shape of RFC 3339.
    fn read(text: &[u8]) -> Option<Parts> {
        let mut rest = Reader(text);
        let year = rest.number(4)?;
        rest.one_of(b"-")?;
        let month = rest.number(2)?;
        rest.one_of(b"-")?;
        let day = rest.number(2)?;
        // RFC 3339 lets applications write a space here, and many do.
        rest.one_of(b"Tt ")?;
        let hour = rest.number(2)?;
        rest.one_of(b":")?;
        let minute = rest.number(2)?;
        rest.one_of(b":")?;
        let second = rest.number(2)?;
        let micros = rest.fraction()?;
        let (offset_sign, offset_hour, offset_minute) = match rest.one_of(b"Zz+-")? {
            b'Z' | b'z' => (1, 0, 0),
            sign => {
                let hour = rest.number(2)?;
                rest.one_of(b":")?;
                (if sign == b'-' { -1 } else { 1 }, hour, rest.number(2)?)
            }
        };
        let is_whole = rest.0.is_empty();
        let parts = Parts { year, month, day, hour, minute, second, micros, offset_sign, offset_hour, offset_minute };
        is_whole.then_some(parts)
    }
}

/// What is left of a text being read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// A number of exactly `count` digits.
    fn number(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))
    }

    /// The next byte, if it is one of these.
    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        wanted.contains(&first).then_some(first)
    }

    /// The microseconds after a point, if there is one: `Some(None)` if they do not say all of the fraction.
    fn fraction(&mut self) -> Option<Option<i64>> {
        let Some(rest) = self.0.strip_prefix(b".") else { return Some(Some(0)) };
        let size = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = rest.split_at(size);
        self.0 = rest;
        if digits.is_empty() {
            return None;
        }
        if digits.iter().skip(6).any(|&digit| digit != b'0') {
            return Some(None);
        }
        let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(6);
        Some(Some(padded.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0'))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(micros: i64) -> String {
        let mut out = String::new();
        write(micros, &mut out);
        out
    }

    #[test]
    fn a_time_is_written_in_utc_with_as_many_digits_as_it_needs() {
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (1_709_209_800_250_000, "2024-02-29T12:30:00.250Z"),
            (1_709_209_800_250_001, "2024-02-29T12:30:00.250001Z"),
            (MICROS_MIN, "0000-01-01T00:00:00Z"),
            (MICROS_MAX, "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(text(micros), expected);
            assert_eq!(parse(expected), Ok(micros));
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut micros = MICROS_MIN;
        while micros < MICROS_MAX {
            assert_eq!(parse(&text(micros)), Ok(micros));
            micros += 86_399_123_456 * 367;
        }
    }

    #[test]
    fn an_offset_is_taken_off() {
        assert_eq!(parse("1970-01-01T01:00:00+01:00"), Ok(0));
        assert_eq!(parse("1969-12-31T18:30:00-05:30"), Ok(0));
        assert_eq!(parse("1970-01-01 00:00:00-00:00"), Ok(0));
        assert_eq!(parse("1970-01-01t00:00:00z"), Ok(0));
    }

    #[test]
    fn digits_after_the_sixth_must_be_zeros() {
        assert_eq!(parse("1970-01-01T00:00:00.1Z"), Ok(100_000));
        assert_eq!(parse("1970-01-01T00:00:00.000001000Z"), Ok(1));
        assert_eq!(parse("1970-01-01T00:00:00.0000001Z"), Err(TOO_FINE));
    }

    #[test]
    fn a_leap_second_is_refused_by_name() {
        assert_eq!(parse("2016-12-31T23:59:60Z"), Err(LEAP_SECOND));
    }

    #[test]
    fn times_that_do_not_exist_are_refused() {
        for text in [
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:61Z",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+00:60",
        ] {
            assert_eq!(parse(text), Err(NO_SUCH_TIME), "{text}");
        }
    }

    #[test]
    fn an_offset_does_not_lead_out_of_the_years_0000_to_9999() {
        assert_eq!(parse("0000-01-01T00:30:00+01:00"), Err(OTHER_YEAR));
        assert_eq!(parse("9999-12-31T23:30:00-01:00"), Err(OTHER_YEAR));
        assert!(parse("9999-12-31T23:30:00+01:00").is_ok());
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in [
            "",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00,5Z",
            "2024-01-01T00:00:00Z ",
            "2024-01-01T00:00:00+0100",
            "2024-01-01T00:00:00+01",
            "2024-01-01T00:00:00Z[UTC]",
            "+2024-01-01T00:00:00Z",
            "20240101T000000Z",
            "2024-1-1T00:00:00Z",
            "２０２４-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), Err(RIGHT), "{text}");
        }
    }
}
