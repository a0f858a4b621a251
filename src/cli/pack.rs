//! Texts of a row to a packed record: the way in.
//!
//! The library checks every record again. The checks here come first because only here a value still has a line and
//! a column to be named by. What is accepted is what the library accepts as JSON, written as CSV writes it:
//! text as it stands, base64 for bytes, RFC 3339 or whole microseconds for a timestamp.

use super::failure::{Code, Failure, Result};
use super::input::{BadRow, Dialect, Row};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use diamonddb::{Field, FieldKind, Layout};
use std::fmt::Display;

/// The first and the last microsecond of the years 0000 to 9999.
const TIMESTAMPS: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

/// Turns the rows of one file into records of one table.
pub struct Packer<'a> {
    layout: &'a Layout,
    dialect: &'a Dialect,
    /// For each field the column that feeds it; a field without one is null.
    columns: Vec<Option<usize>>,
}

impl<'a> Packer<'a> {
    /// Matches columns and fields by name, in whatever order. A column that the table lacks is refused; a field that
    /// the file lacks is null.
    pub fn new(layout: &'a Layout, dialect: &'a Dialect, columns: &[String]) -> Result<Packer<'a>> {
        let is_field = |column: &String| layout.fields.iter().any(|field| field.name == *column);
        let extra: Vec<_> = columns.iter().filter(|column| !is_field(column)).map(|name| format!("{name:?}")).collect();
        if !extra.is_empty() {
            let message = format!("The table has no field for these columns of the file: {}.", extra.join(", "));
            return Err(Failure::new(Code::Input, message));
        }
        let column_of = |field: &Field| columns.iter().position(|column| *column == field.name);
        let feeds: Vec<_> = layout.fields.iter().map(column_of).collect();
        let is_starved = |(field, feed): &(&Field, &Option<usize>)| field.required && feed.is_none();
        if let Some((field, _)) = layout.fields.iter().zip(&feeds).find(is_starved) {
            let message = format!("The table requires the field {:?}, and the file has no such column.", field.name);
            return Err(Failure::new(Code::Input, message));
        }
        Ok(Packer { layout, dialect, columns: feeds })
    }

    /// How many bytes of nulls accompany a record.
    pub fn nulls_size(&self) -> usize {
        self.layout.fields.len().div_ceil(8)
    }

    /// Writes the row into `record` and `nulls`, both of their size and zeroed.
    pub fn pack(&self, row: Row<'_>, record: &mut [u8], nulls: &mut [u8]) -> std::result::Result<(), BadRow> {
        for (index, (field, column)) in self.layout.fields.iter().zip(&self.columns).enumerate() {
            let text = column.map(|column| &row.texts[column]).filter(|text| !self.dialect.is_null(text));
            let result = match text {
                Some(text) => pack_text(field, text, &mut record[field.offset..field.offset + field.size]),
                None if field.required => Err("is null, and the table requires a value.".into()),
                None => {
                    nulls[index / 8] |= 1 << (index % 8);
                    Ok(())
                }
            };
            result.map_err(|reason| BadRow { line: row.line, column: format!("{:?}", field.name), reason })?;
        }
        Ok(())
    }
}

/// Writes one value into its zeroed place, or says why it does not fit.
fn pack_text(field: &Field, text: &str, place: &mut [u8]) -> std::result::Result<(), String> {
    match field.kind {
        FieldKind::String => pack_string(field, text, place),
        FieldKind::Bytes => pack_bytes(field, text, place),
        FieldKind::Number => {
            let value = finite(text)?;
            let length = ryu_js::Buffer::new().format_finite(value).len();
            if length > field.width as usize {
                return Err(format!("{} has {length} characters, the field takes {}.", shown(text), field.width));
            }
            place.copy_from_slice(&value.to_le_bytes());
            Ok(())
        }
        FieldKind::I8 => pack_integer(text, i8::MIN, i8::MAX, i8::to_le_bytes, place),
        FieldKind::I16 => pack_integer(text, i16::MIN, i16::MAX, i16::to_le_bytes, place),
        FieldKind::I32 => pack_integer(text, i32::MIN, i32::MAX, i32::to_le_bytes, place),
        FieldKind::I64 => pack_integer(text, i64::MIN, i64::MAX, i64::to_le_bytes, place),
        FieldKind::U8 => pack_integer(text, u8::MIN, u8::MAX, u8::to_le_bytes, place),
        FieldKind::U16 => pack_integer(text, u16::MIN, u16::MAX, u16::to_le_bytes, place),
        FieldKind::U32 => pack_integer(text, u32::MIN, u32::MAX, u32::to_le_bytes, place),
        FieldKind::U64 => pack_integer(text, u64::MIN, u64::MAX, u64::to_le_bytes, place),
        FieldKind::F32 => {
            // Rounded once, from the text, and not by way of a wider float.
            let value = text.parse::<f32>().ok().filter(|value| value.is_finite());
            let value = value.ok_or_else(|| format!("{} is not a finite number of 32 bits.", shown(text)))?;
            place.copy_from_slice(&value.to_le_bytes());
            Ok(())
        }
        FieldKind::F64 => {
            place.copy_from_slice(&finite(text)?.to_le_bytes());
            Ok(())
        }
        FieldKind::Bool => {
            let value = match text {
                "1" => true,
                "0" => false,
                _ if text.eq_ignore_ascii_case("true") => true,
                _ if text.eq_ignore_ascii_case("false") => false,
                _ => return Err(format!("{} is neither true nor false.", shown(text))),
            };
            place[0] = value.into();
            Ok(())
        }
        FieldKind::Timestamp => {
            place.copy_from_slice(&microseconds(text)?.to_le_bytes());
            Ok(())
        }
    }
}

fn pack_string(field: &Field, text: &str, place: &mut [u8]) -> std::result::Result<(), String> {
    let (length, unit) = match field.characters {
        true => (text.encode_utf16().count(), "characters"),
        false => (text.len(), "bytes"),
    };
    if length > field.width as usize {
        return Err(format!("{} has {length} {unit}, the field takes {}.", shown(text), field.width));
    }
    if text.contains('\0') {
        return Err(format!("{} has a NUL inside.", shown(text)));
    }
    place[..text.len()].copy_from_slice(text.as_bytes());
    Ok(())
}

fn pack_bytes(field: &Field, text: &str, place: &mut [u8]) -> std::result::Result<(), String> {
    let bytes = BASE64.decode(text).map_err(|_| format!("{} is not padded base64.", shown(text)))?;
    if bytes.len() != place.len() {
        return Err(format!("{} is {} bytes, the field takes exactly {}.", shown(text), bytes.len(), field.width));
    }
    place.copy_from_slice(&bytes);
    Ok(())
}

fn pack_integer<I: std::str::FromStr + Display, const SIZE: usize>(
    text: &str,
    smallest: I,
    largest: I,
    to_bytes: fn(I) -> [u8; SIZE],
    place: &mut [u8],
) -> std::result::Result<(), String> {
    let value =
        text.parse().map_err(|_| format!("{} is not a whole number from {smallest} to {largest}.", shown(text)))?;
    place.copy_from_slice(&to_bytes(value));
    Ok(())
}

fn finite(text: &str) -> std::result::Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
    value.ok_or_else(|| format!("{} is not a finite number.", shown(text)))
}

fn microseconds(text: &str) -> std::result::Result<i64, String> {
    let from_time = || {
        let nanoseconds = text.parse::<jiff::Timestamp>().ok()?.as_nanosecond();
        // Down to the microsecond before, on both sides of 1970.
        i64::try_from(nanoseconds.div_euclid(1_000)).ok()
    };
    let value = text.parse().ok().or_else(from_time).filter(|value| TIMESTAMPS.contains(value));
    value.ok_or_else(|| format!("{} is not a time such as 2013-01-01T10:00:00Z.", shown(text)))
}

/// The text in quotes, cut where it would flood the message: a lost quote can make a field of half a file.
fn shown(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csv::StringRecord;
    use diamonddb::Schema;

    fn field(name: &str, kind: FieldKind, width: u32, offset: usize, size: usize) -> Field {
        Field { name: name.into(), kind, width, characters: false, required: false, offset, size }
    }

    fn packed(kind: FieldKind, width: u32, size: usize, text: &str) -> std::result::Result<Vec<u8>, String> {
        let mut place = vec![0; size];
        pack_text(&field("x", kind, width, 0, size), text, &mut place).map(|()| place)
    }

    fn layout(schema: &str) -> Layout {
        Schema::parse(schema).unwrap().layout().clone()
    }

    #[test]
    fn text_is_padded_with_zeros_and_counted_in_bytes() {
        assert_eq!(packed(FieldKind::String, 4, 4, "aé"), Ok(b"a\xc3\xa9\0".to_vec()));
        assert!(packed(FieldKind::String, 4, 4, "aéé").unwrap_err().contains("5 bytes, the field takes 4"));
        assert!(packed(FieldKind::String, 4, 4, "a\0").unwrap_err().contains("NUL"));
    }

    #[test]
    fn a_field_of_characters_counts_utf16_units() {
        let characters = Field { characters: true, ..field("x", FieldKind::String, 2, 0, 6) };
        let mut place = [0; 6];
        assert_eq!(pack_text(&characters, "éé", &mut place), Ok(()));
        assert!(pack_text(&characters, "é😀", &mut place).unwrap_err().contains("3 characters"));
    }

    #[test]
    fn whole_numbers_are_little_endian_and_within_their_range() {
        assert_eq!(packed(FieldKind::I16, 0, 2, "-2"), Ok(vec![0xfe, 0xff]));
        assert_eq!(packed(FieldKind::U64, 0, 8, "18446744073709551615"), Ok(vec![0xff; 8]));
        assert!(packed(FieldKind::U8, 0, 1, "256").unwrap_err().contains("from 0 to 255"));
        assert!(packed(FieldKind::I64, 0, 8, "1.5").is_err());
    }

    #[test]
    fn a_number_is_refused_when_its_text_is_too_wide() {
        assert_eq!(packed(FieldKind::Number, 3, 8, "1e2"), Ok(100_f64.to_le_bytes().to_vec()));
        assert!(packed(FieldKind::Number, 3, 8, "1000").unwrap_err().contains("4 characters"));
    }

    #[test]
    fn floats_are_finite() {
        assert_eq!(packed(FieldKind::F32, 0, 4, "0.1"), Ok(0.1_f32.to_le_bytes().to_vec()));
        assert_eq!(packed(FieldKind::F64, 0, 8, "1e5"), Ok(1e5_f64.to_le_bytes().to_vec()));
        for text in ["NaN", "inf", "1e999", "", "x"] {
            assert!(packed(FieldKind::F64, 0, 8, text).is_err(), "{text}");
            assert!(packed(FieldKind::F32, 0, 4, text).is_err(), "{text}");
        }
    }

    #[test]
    fn bools_bytes_and_times_are_what_they_say() {
        assert_eq!(packed(FieldKind::Bool, 0, 1, "TRUE"), Ok(vec![1]));
        assert!(packed(FieldKind::Bool, 0, 1, "yes").is_err());
        assert_eq!(packed(FieldKind::Bytes, 3, 3, "AQID"), Ok(vec![1, 2, 3]));
        assert!(packed(FieldKind::Bytes, 4, 4, "AQID").unwrap_err().contains("exactly 4"));
        assert_eq!(packed(FieldKind::Timestamp, 0, 8, "1970-01-01T01:00:01+01:00"), Ok(micros(1_000_000)));
        assert_eq!(packed(FieldKind::Timestamp, 0, 8, "1969-12-31T23:59:59.9999999Z"), Ok(micros(-1)));
        assert_eq!(packed(FieldKind::Timestamp, 0, 8, "-5"), Ok(micros(-5)));
        assert!(packed(FieldKind::Timestamp, 0, 8, "2013-01-01T10:00:00").is_err());
        assert!(packed(FieldKind::Timestamp, 0, 8, "9223372036854775807").is_err());
    }

    fn micros(count: i64) -> Vec<u8> {
        count.to_le_bytes().to_vec()
    }

    #[test]
    fn columns_find_their_fields_by_name_and_missing_ones_are_null() {
        let layout = layout(r#"{"name": ["string", 4], "gap": ["u8"], "age": ["u8"]}"#);
        let dialect = Dialect::new(b',', &[], 0);
        let packer = Packer::new(&layout, &dialect, &["age".into(), "name".into()]).unwrap();
        let (mut record, mut nulls) = ([0; 6], [0; 1]);
        let texts = StringRecord::from(vec!["29", "Abby"]);
        packer.pack(Row { line: 2, texts: &texts }, &mut record, &mut nulls).unwrap();
        assert_eq!((&record, nulls), (b"Abby\0\x1d", [0b010]));

        let texts = StringRecord::from(vec!["old", "NA"]);
        let bad = packer.pack(Row { line: 3, texts: &texts }, &mut record, &mut nulls).unwrap_err();
        assert_eq!(bad.to_string(), "line 3, column \"age\": \"old\" is not a whole number from 0 to 255.");
    }

    #[test]
    fn a_column_without_a_field_is_refused_by_name() {
        let (layout, dialect) = (layout(r#"{"a": ["u8"]}"#), Dialect::new(b',', &[], 0));
        let refusal = Packer::new(&layout, &dialect, &["a".into(), "b".into(), "c".into()]).err().unwrap();
        assert_eq!(refusal.code, Code::Input);
        assert!(refusal.message.ends_with("of the file: \"b\", \"c\"."));
    }

    #[test]
    fn a_required_field_needs_a_column_and_a_value_in_every_row() {
        let (layout, dialect) = (layout(r#"{"a": ["u8", "required"], "b": ["u8"]}"#), dialect());
        assert!(Packer::new(&layout, &dialect, &["b".into()]).err().unwrap().message.contains("requires"));
        let packer = Packer::new(&layout, &dialect, &["a".into()]).unwrap();
        let texts = StringRecord::from(vec!["NA"]);
        let bad = packer.pack(Row { line: 9, texts: &texts }, &mut [0; 2], &mut [0]).unwrap_err();
        assert!(bad.to_string().starts_with("line 9, column \"a\": is null"));
    }

    fn dialect() -> Dialect {
        Dialect::new(b',', &[], 0)
    }
}
