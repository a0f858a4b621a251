//! The schema that a file's own texts suggest, after one pass over all of them.
//!
//! A column gets the narrowest of these types that keeps every text of it, in the sense that the text can be had back:
//!
//! ```text
//! true, false                          ["bool"]
//! 7, -3; within 64 bits                ["i64"], or ["u64"] where one is beyond i64
//! 7, -3.25, 1e5; finite                ["f64"]
//! 2013-01-01T10:00:00Z, any offset     ["timestamp"]
//! anything else                        ["string", n], n the longest text, a quarter more, up to a multiple of 8
//! only nulls                           ["string", 8], for want of anything to go by
//! ```
//!
//! So `007`, `+5`, `NaN`, a whole number beyond 64 bits and a time finer than a microsecond stay strings.
//!
//! No column is made `required`, even if it has no null: that this file has no gap is no promise about the next one.

use super::failure::{Code, Failure, Result};
use super::input::{Dialect, Rows};
use super::progress::Progress;
use diamonddb::Schema;
use serde_json::{Map, Value, json};
use std::io::BufRead;

/// The width of a string column that has no text to measure.
const NARROWEST: usize = 8;
/// Beyond this, a 64-bit float no longer holds every whole number.
const LARGEST_EXACT: i128 = 1 << 53;

/// The schema of the rows, and what is worth saying about how it came to be. Bad rows do not count.
pub fn guess<R: BufRead>(
    rows: &mut Rows<R>,
    dialect: &Dialect,
    skip_bad: bool,
    progress: &Progress,
) -> Result<(Schema, Vec<String>)> {
    let name = rows.name().to_owned();
    let mut columns = vec![Column::default(); rows.columns().len()];
    loop {
        let position = rows.position();
        match rows.next()? {
            None => break,
            Some(Ok(row)) => {
                for (column, text) in columns.iter_mut().zip(row.texts) {
                    match dialect.is_null(text) {
                        true => column.see_null(text),
                        false => column.see(text),
                    }
                }
                progress.reach(position);
            }
            Some(Err(_)) if skip_bad => {}
            Some(Err(bad)) => return Err(Failure::new(Code::Input, format!("{name}, {bad} Nothing was imported."))),
        }
    }
    let fields: Map<_, _> = rows.columns().iter().cloned().zip(columns.iter().map(Column::kind)).collect();
    let schema = Schema::parse(&Value::Object(fields).to_string())
        .map_err(|error| Failure::new(Code::Input, format!("{name} makes no schema: {error}")))?;
    let notes = rows.columns().iter().zip(&columns).filter_map(|(name, column)| column.note(name)).collect();
    Ok((schema, notes))
}

/// What all texts of a column have in common so far.
#[derive(Clone, Debug)]
struct Column {
    texts: u64,
    /// Nulls that are written as something, such as `NA`, and the first of these texts.
    marked_nulls: u64,
    mark: String,
    longest: usize,
    bools: bool,
    integers: bool,
    /// Numbers that a 64-bit float holds as exactly as they are written.
    decimals: bool,
    timestamps: bool,
    smallest: i128,
    largest: i128,
}

impl Default for Column {
    fn default() -> Column {
        Column {
            texts: 0,
            marked_nulls: 0,
            mark: String::new(),
            longest: 0,
            bools: true,
            integers: true,
            decimals: true,
            timestamps: true,
            smallest: 0,
            largest: 0,
        }
    }
}

impl Column {
    fn see_null(&mut self, text: &str) {
        if !text.is_empty() {
            if self.marked_nulls == 0 {
                text.clone_into(&mut self.mark);
            }
            self.marked_nulls += 1;
        }
    }

    fn see(&mut self, text: &str) {
        self.texts += 1;
        self.longest = self.longest.max(text.len());
        self.bools = self.bools && matches!(text, "true" | "false");
        self.timestamps = self.timestamps && is_timestamp(text);
        if self.decimals || self.integers {
            match integer(text) {
                Some(value) => {
                    self.smallest = self.smallest.min(value);
                    self.largest = self.largest.max(value);
                }
                None => {
                    self.integers = false;
                    self.decimals = self.decimals && is_decimal(text);
                }
            }
        }
    }

    fn kind(&self) -> Value {
        let (smallest, largest) = (self.smallest, self.largest);
        match self {
            Column { texts: 0, .. } => json!(["string", NARROWEST]),
            Column { bools: true, .. } => json!(["bool"]),
            Column { integers: true, .. } if smallest >= i64::MIN.into() && largest <= i64::MAX.into() => {
                json!(["i64"])
            }
            Column { integers: true, .. } if smallest >= 0 && largest <= u64::MAX.into() => json!(["u64"]),
            // Whole numbers alone never become floats: what is too long for 64 bits is rather a name than a number.
            Column { integers: false, decimals: true, .. }
                if smallest >= -LARGEST_EXACT && largest <= LARGEST_EXACT =>
            {
                json!(["f64"])
            }
            Column { timestamps: true, .. } => json!(["timestamp"]),
            _ => json!(["string", comfortable(self.longest)]),
        }
    }

    fn note(&self, name: &str) -> Option<String> {
        if self.texts == 0 {
            return Some(format!("Column {name:?} is null in every row, so its type is only a guess."));
        }
        // Among other words, NA may well be one: the code of Namibia, say.
        let is_text = self.kind()[0] == "string";
        (is_text && self.marked_nulls > 0).then(|| {
            let (mark, count) = (&self.mark, self.marked_nulls);
            format!("Column {name:?} is text, and {mark:?} was taken for null {count} times; --null '' keeps it.")
        })
    }
}

/// The longest text, a quarter more, up to a multiple of 8.
fn comfortable(longest: usize) -> usize {
    (longest + longest / 4).next_multiple_of(8).max(NARROWEST)
}

/// A whole number written the usual way: no plus, no leading zeros, and no `-0`, which would lose its sign.
fn integer(text: &str) -> Option<i128> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = match digits.as_bytes() {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    // Longer ones are no numbers of ours either way.
    if plain { text.parse().ok() } else { None }
}

/// A number with a point or an exponent that a 64-bit float can hold.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let all_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let exponent_is_number = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    let has_point_or_exponent = fraction.is_some() || exponent.is_some() || text == "-0";
    has_point_or_exponent
        && exponent_is_number
        && all_digits(whole)
        && fraction.is_none_or(all_digits)
        && !(whole.is_empty() && fraction.is_none_or(str::is_empty))
        && !(whole.len() > 1 && whole.starts_with('0'))
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// An RFC 3339 time with an offset, no finer than a microsecond.
fn is_timestamp(text: &str) -> bool {
    let looks_alike = text.len() >= "2013-01-01T10:00:00Z".len()
        && text.as_bytes()[4] == b'-'
        && matches!(text.as_bytes()[10], b'T' | b't')
        && text.as_bytes()[..4].iter().all(u8::is_ascii_digit);
    looks_alike && text.parse::<jiff::Timestamp>().is_ok_and(|time| time.subsec_nanosecond() % 1_000 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(texts: &[&str]) -> String {
        let mut column = Column::default();
        texts.iter().for_each(|text| column.see(text));
        column.kind().to_string()
    }

    #[test]
    fn whole_numbers_are_i64_and_only_beyond_it_u64() {
        assert_eq!(kind_of(&["0", "-7", "9223372036854775807"]), r#"["i64"]"#);
        assert_eq!(kind_of(&["0", "9223372036854775808"]), r#"["u64"]"#);
        assert_eq!(kind_of(&["-9223372036854775808"]), r#"["i64"]"#);
    }

    #[test]
    fn whole_numbers_that_no_type_holds_stay_text() {
        assert_eq!(kind_of(&["-1", "9223372036854775808"]), r#"["string",24]"#);
        assert_eq!(kind_of(&["18446744073709551616"]), r#"["string",32]"#);
        assert_eq!(kind_of(&["0.5", "9007199254740993"]), r#"["string",24]"#);
        assert_eq!(kind_of(&["9".repeat(60).as_str()]), r#"["string",80]"#);
    }

    #[test]
    fn a_point_or_an_exponent_makes_a_column_f64() {
        assert_eq!(kind_of(&["1", "2.5", "-0.25"]), r#"["f64"]"#);
        assert_eq!(kind_of(&["1e5", "1E-5", ".5", "5.", "-0"]), r#"["f64"]"#);
    }

    #[test]
    fn what_only_resembles_a_number_stays_text() {
        for text in
            ["007", "+5", "NaN", "inf", "-", ".", "1e", "1e999", "00.5", "0x10", "1_000", " 1", "1,5", "-.", "e5"]
        {
            assert_eq!(kind_of(&["1", text]), r#"["string",8]"#, "{text}");
        }
    }

    #[test]
    fn bools_are_true_and_false_and_nothing_else() {
        assert_eq!(kind_of(&["true", "false"]), r#"["bool"]"#);
        assert_eq!(kind_of(&["true", "FALSE"]), r#"["string",8]"#);
        assert_eq!(kind_of(&["true", "1"]), r#"["string",8]"#);
    }

    #[test]
    fn times_with_an_offset_are_timestamps() {
        assert_eq!(kind_of(&["2013-01-01T10:00:00Z", "2013-01-01T10:00:00.123456+02:00"]), r#"["timestamp"]"#);
        for text in [
            "2013-01-01",
            "2013-01-01T10:00:00",
            "2013-13-01T10:00:00Z",
            "2013-01-01T10:00:00.1234567Z",
            "2013-01-01 ünd 10:00",
        ] {
            assert!(kind_of(&[text]).starts_with(r#"["string""#), "{text}");
        }
    }

    #[test]
    fn a_string_column_has_room_to_grow_and_counts_bytes() {
        assert_eq!(kind_of(&["IR", "US"]), r#"["string",8]"#);
        assert_eq!(kind_of(&["12345678x"]), r#"["string",16]"#);
        assert_eq!(kind_of(&["Zīr Ābā"]), r#"["string",16]"#);
        assert_eq!(kind_of(&["x".repeat(57).as_str()]), r#"["string",72]"#);
    }

    #[test]
    fn a_column_of_nulls_is_a_narrow_string_and_says_so() {
        let mut column = Column::default();
        column.see_null("");
        assert_eq!(column.kind().to_string(), r#"["string",8]"#);
        assert!(column.note("gap").unwrap().contains("null in every row"));
    }

    #[test]
    fn a_null_among_words_is_worth_a_note_and_one_among_numbers_is_not() {
        let mut words = Column::default();
        words.see("IR");
        words.see_null("NA");
        assert!(words.note("country").unwrap().contains(r#""NA" was taken for null 1 times"#));
        let mut numbers = Column::default();
        numbers.see("1");
        numbers.see_null("NA");
        assert_eq!(numbers.note("delay"), None);
    }
}
