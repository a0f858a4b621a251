//! Packed records: into a slot, out of it, and whether a stored slot keeps the rules.
//!
//! Saving is the hot path. So a record is copied whole and put right in place: what is null or padding is zeroed, and
//! only fields whose type has rules are looked at. Null fields are zeroed first, and zeros keep every rule: garbage in
//! a null field does no harm. Nothing is allocated unless the record is refused.

use super::field::{Field, FieldKind, text_size};
use super::layout::{Layout, Parts};
use crate::error::{Error, Result};
use crate::pages::Racing;

/// The state byte of a slot whose record is not there: never saved, or deleted.
pub(crate) const STATE_DEAD: u8 = 0;

/// The state byte of a slot whose record is there.
pub(crate) const STATE_LIVE: u8 = 1;

/// A packed record to read: the bytes of the C struct, and which fields are null (bit f % 8 of byte f / 8).
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// As many bytes as the layout's `record_size`.
    pub bytes: &'a [u8],
    /// At least as many bytes as the layout's `nulls_size`; None if no field is null.
    pub nulls: Option<&'a [u8]>,
}

/// Where to write a packed record.
#[derive(Debug)]
pub struct RecordMut<'a> {
    /// As many bytes as the layout's `record_size`.
    pub bytes: &'a mut [u8],
    /// At least as many bytes as the layout's `nulls_size`; None if nobody asks which fields are null.
    pub nulls: Option<&'a mut [u8]>,
}

impl RecordMut<'_> {
    /// True if it has room for a record and its null bits.
    #[inline]
    pub(super) fn fits(&self, parts: Parts) -> bool {
        self.bytes.len() == parts.record_size && self.nulls.as_ref().is_none_or(|nulls| nulls.len() >= parts.nulls_size)
    }

    /// The same place, for as long as this borrow.
    #[inline(always)]
    pub(super) fn reborrow(&mut self) -> RecordMut<'_> {
        RecordMut { bytes: &mut *self.bytes, nulls: self.nulls.as_deref_mut() }
    }
}

/// Whether the slot's record is there.
pub(crate) fn is_live(layout: &Layout, slot: &[u8]) -> bool {
    slot[layout.state_offset] == STATE_LIVE
}

/// Fills the slot, all `slot_size` bytes of it, with a packed record. After an error its bytes mean nothing.
pub(crate) fn encode_packed(layout: &Layout, table_name: &str, record: Record<'_>, slot: &mut [u8]) -> Result<()> {
    assert_eq!(slot.len(), layout.slot_size, "a slot has the size that its layout says");
    check_record_size(layout, table_name, record.bytes.len())?;
    let (copy, tail) = slot.split_at_mut(layout.record_size);
    copy.copy_from_slice(record.bytes);
    tail.fill(0);
    for gap in &layout.gaps {
        slot[gap.clone()].fill(0);
    }
    slot[layout.state_offset] = STATE_LIVE;
    if let Some(nulls) = record.nulls {
        encode_nulls(layout, table_name, nulls, slot)?;
    }
    for &index in &layout.checked {
        let field = &layout.fields[usize::from(index)];
        let bytes = field.of_mut(slot);
        if !put_right(field, bytes) {
            return Err(field.refusal(bytes).into_error(field, table_name));
        }
    }
    Ok(())
}

/// Copies the record out of its slot, padding as zeros, with its null bits if they are asked for.
pub(crate) fn decode_packed(layout: &Layout, table_name: &str, slot: &[u8], record: RecordMut<'_>) -> Result<()> {
    assert_eq!(slot.len(), layout.slot_size, "a slot has the size that its layout says");
    check_record_size(layout, table_name, record.bytes.len())?;
    if let Some(nulls) = &record.nulls {
        check_nulls_size(layout, table_name, nulls.len())?;
    }
    unpack(layout.parts(), Racing::of(slot), 0, record);
    Ok(())
}

/// The same from the slot at `at` in a page, into memory of the right sizes.
#[inline(always)]
pub(super) fn unpack(parts: Parts, page: Racing<'_>, at: usize, record: RecordMut<'_>) {
    if let Some(nulls) = record.nulls {
        page.copy(at + parts.nulls_offset, &mut nulls[..parts.nulls_size]);
    }
    page.copy(at, &mut record.bytes[..parts.record_size]);
    // Rule 3 of the layout: what a caller sees as padding is zero, though state and nulls may lie there.
    if parts.state_offset < parts.record_size {
        record.bytes[parts.state_offset..].fill(0);
    }
}

/// What in a stored slot breaks the rules, in words; for a report on the file that holds it.
pub(crate) fn check_slot(layout: &Layout, slot: &[u8]) -> std::result::Result<(), String> {
    if slot.len() != layout.slot_size {
        return Err(format!("the slot has {} bytes instead of {}", slot.len(), layout.slot_size));
    }
    match slot[layout.state_offset] {
        STATE_LIVE => {}
        STATE_DEAD => {
            return match slot.iter().position(|&byte| byte != 0) {
                None => Ok(()),
                Some(offset) => Err(format!("the record is not there, and yet byte {offset} of its slot is not zero")),
            };
        }
        state => return Err(format!("the state byte is {state}, neither 0 nor 1")),
    }
    check_padding(layout, slot)?;
    for (index, field) in layout.fields.iter().enumerate() {
        check_field(field, field.of(slot), is_null(layout, slot, index))?;
    }
    Ok(())
}

/// Whether the field is null in this slot.
pub(super) fn is_null(layout: &Layout, slot: &[u8], index: usize) -> bool {
    slot[layout.nulls_offset + index / 8] & (1 << (index % 8)) != 0
}

/// The refusal of a null where the schema wants a value.
#[cold]
pub(super) fn required_error(field: &Field, table_name: &str) -> Error {
    Error::Invalid(format!("Field {:?} of table {table_name:?} is required, so it cannot be null.", field.name).into())
}

/// Sets the null bits, and zeros the fields that are null.
fn encode_nulls(layout: &Layout, table_name: &str, nulls: &[u8], slot: &mut [u8]) -> Result<()> {
    check_nulls_size(layout, table_name, nulls.len())?;
    for (place, &byte) in nulls[..layout.nulls_size].iter().enumerate() {
        let is_last = place + 1 == layout.nulls_size;
        // Bits past the last field are the caller's, and mean nothing.
        let byte = if is_last { byte & layout.last_nulls_mask() } else { byte };
        slot[layout.nulls_offset + place] = byte;
        let mut bits = byte;
        while bits != 0 {
            let field = &layout.fields[place * 8 + bits.trailing_zeros() as usize];
            if field.required {
                return Err(required_error(field, table_name));
            }
            field.of_mut(slot).fill(0);
            bits &= bits - 1;
        }
    }
    Ok(())
}

/// Clears what follows a text's first NUL, and says whether the field's bytes keep the rules of its type.
#[inline]
fn put_right(field: &Field, bytes: &mut [u8]) -> bool {
    if field.kind != FieldKind::String {
        return field.holds(bytes);
    }
    let (text, rest) = bytes.split_at_mut(text_size(bytes));
    rest.fill(0);
    field.holds_text(text)
}

fn check_record_size(layout: &Layout, table_name: &str, given: usize) -> Result<()> {
    if given == layout.record_size {
        return Ok(());
    }
    let size = layout.record_size;
    Err(Error::Invalid(
        format!("A record of table {table_name:?} takes {size} bytes; the size given is {given}.").into(),
    ))
}

fn check_nulls_size(layout: &Layout, table_name: &str, given: usize) -> Result<()> {
    if given >= layout.nulls_size {
        return Ok(());
    }
    let size = layout.nulls_size;
    let message =
        format!("The null bitmap of table {table_name:?} needs {size} or more bytes; the size given is {given}.");
    Err(Error::Invalid(message.into()))
}

/// Rule 2 of the layout, for the bytes between and after what means something.
fn check_padding(layout: &Layout, slot: &[u8]) -> std::result::Result<(), String> {
    let is_taken = |offset: usize| offset == layout.state_offset || layout.nulls().contains(&offset);
    let after_record = layout.record_size..layout.slot_size;
    for offset in layout.gaps.iter().cloned().chain([after_record]).flatten() {
        if slot[offset] != 0 && !is_taken(offset) {
            return Err(format!("byte {offset} of the slot is padding and not zero"));
        }
    }
    if slot[layout.nulls_offset + layout.nulls_size - 1] & !layout.last_nulls_mask() != 0 {
        return Err("a null bit is set past the last field".to_owned());
    }
    Ok(())
}

fn check_field(field: &Field, bytes: &[u8], is_null: bool) -> std::result::Result<(), String> {
    let name = &field.name;
    if is_null {
        if field.required {
            return Err(format!("field {name:?} is required, and yet it is null"));
        }
        if bytes.iter().any(|&byte| byte != 0) {
            return Err(format!("field {name:?} is null, and yet its bytes are not zeros"));
        }
        return Ok(());
    }
    if field.kind == FieldKind::String && bytes[text_size(bytes)..].iter().any(|&byte| byte != 0) {
        return Err(format!("field {name:?} has bytes after its text that are not zeros"));
    }
    match field.holds(bytes) {
        true => Ok(()),
        false => Err(field.refusal(bytes).into_finding(field)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{Random, random_record, random_schema};
    use super::super::schema::Schema;
    use super::*;

    /// The slot of a packed record, or the sentence that refuses it.
    fn encode(schema: &str, bytes: &[u8], nulls: Option<&[u8]>) -> std::result::Result<Vec<u8>, String> {
        let schema = Schema::parse(schema).unwrap();
        // A slot is reused, so whatever was in it must not show.
        let mut slot = vec![0xAA; schema.layout().slot_size];
        match encode_packed(schema.layout(), "people", Record { bytes, nulls }, &mut slot) {
            Ok(()) => Ok(slot),
            Err(Error::Invalid(message)) => Err(message.into_owned()),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn accepts(schema: &str, bytes: &[u8]) -> bool {
        encode(schema, bytes, None).is_ok()
    }

    #[track_caller]
    fn assert_refused(schema: &str, bytes: &[u8], expected: &str) {
        assert_eq!(encode(schema, bytes, None).unwrap_err(), expected);
    }

    #[test]
    fn a_record_of_another_size_is_refused_with_both_sizes() {
        let expected = r#"A record of table "people" takes 8 bytes; the size given is 7."#;
        assert_refused(r#"{"a": ["i64"]}"#, &[0; 7], expected);
        assert!(!accepts(r#"{"a": ["i64"]}"#, &[0; 9]));
        assert!(!accepts(r#"{"a": ["i64"]}"#, &[]));
    }

    #[test]
    fn a_buffer_of_another_size_is_refused_when_reading() {
        let schema = Schema::parse(r#"{"a": ["i64"]}"#).unwrap();
        let slot = vec![0; schema.layout().slot_size];
        let read = |size: usize, nulls_size: usize| {
            let (bytes, nulls) = (&mut vec![0; size], &mut vec![0; nulls_size]);
            decode_packed(schema.layout(), "people", &slot, RecordMut { bytes, nulls: Some(nulls) })
        };
        assert!(read(8, 1).is_ok());
        assert!(read(8, 5).is_ok());
        let expected = r#"A record of table "people" takes 8 bytes; the size given is 9."#;
        assert_eq!(read(9, 1), Err(Error::Invalid(expected.into())));
        let expected = r#"The null bitmap of table "people" needs 1 or more bytes; the size given is 0."#;
        assert_eq!(read(8, 0), Err(Error::Invalid(expected.into())));
    }

    #[test]
    fn padding_is_stored_and_returned_as_zeros() {
        let schema = Schema::parse(r#"{"a": ["u8"], "b": ["i64"], "c": ["u8"]}"#).unwrap();
        let layout = schema.layout();
        assert_eq!((layout.record_size, layout.state_offset, layout.slot_size), (24, 17, 24));
        let mut slot = vec![0xAA; 24];
        let record = Record { bytes: &[0xFF; 24], nulls: Some(&[0b1111_1010]) };
        encode_packed(layout, "people", record, &mut slot).unwrap();
        let mut expected = [0u8; 24];
        expected[0] = 0xFF;
        expected[16] = 0xFF;
        expected[17] = STATE_LIVE;
        expected[18] = 0b010;
        assert_eq!(slot, expected);
        assert_eq!(check_slot(layout, &slot), Ok(()));
        let (mut bytes, mut nulls) = ([0xAA; 24], [0xAA; 2]);
        decode_packed(layout, "people", &slot, RecordMut { bytes: &mut bytes, nulls: Some(&mut nulls) }).unwrap();
        (expected[17], expected[18]) = (0, 0);
        assert_eq!(bytes, expected);
        assert_eq!(nulls, [0b010, 0xAA], "bytes past the bitmap stay as they are");
    }

    #[test]
    fn a_string_ends_at_its_first_nul_and_zeros_follow() {
        let slot = encode(r#"{"a": ["string", 8]}"#, b"ab\0cd\xFF\0x", None).unwrap();
        assert_eq!(&slot[..8], b"ab\0\0\0\0\0\0");
        assert!(accepts(r#"{"a": ["string", 8]}"#, b"12345678"));
        assert!(accepts(r#"{"a": ["string", 8]}"#, "éééé".as_bytes()));
        assert_refused(
            r#"{"a": ["string", 4]}"#,
            b"ab\xC3\0",
            concat!(
                r#"Value "ab�" is not valid for field "a" of table "people": "#,
                "text must be UTF-8, and byte 2 of this is not.",
            ),
        );
    }

    #[test]
    fn a_width_in_characters_counts_utf16_units_in_up_to_three_bytes_each() {
        let schema = r#"{"a": ["string", 3, "characters"]}"#;
        assert!(accepts(schema, "€€€".as_bytes()));
        assert!(accepts(schema, "🙂a\0\0\0\0".as_bytes()));
        assert_refused(
            schema,
            "🙂🙂\0".as_bytes(),
            r#"Value "🙂🙂" is too large for field "a" of table "people": it has 4 characters, and the width is 3."#,
        );
        assert!(!accepts(schema, b"abcd\0\0\0\0\0"));
        assert!(accepts(schema, b"abc\0d\0\0\0\0"));
    }

    #[test]
    fn numbers_are_finite_and_within_their_width() {
        let schema = r#"{"a": ["number", 3]}"#;
        for value in [0.0, -0.0, 999.0, -99.0, 0.1, 1.5, -9.0] {
            assert!(accepts(schema, &f64::to_le_bytes(value)), "{value}");
        }
        for value in [1000.0, -100.0, 0.12, 1e-7, 1e21, f64::NAN, f64::INFINITY] {
            assert!(!accepts(schema, &f64::to_le_bytes(value)), "{value}");
        }
        assert_refused(
            schema,
            &f64::to_le_bytes(1e21),
            concat!(
                r#"Value 1e+21 is too large for field "a" of table "people": "#,
                "its text has 5 characters, and the width is 3.",
            ),
        );
        assert_refused(
            schema,
            &f64::to_le_bytes(f64::NAN),
            r#"Value NaN is not valid for field "a" of table "people": a number is a finite number."#,
        );
        let wide = r#"{"a": ["number", 21]}"#;
        assert!(accepts(wide, &f64::to_le_bytes(123456789012345680000.0)));
        assert!(!accepts(wide, &f64::to_le_bytes(-123456789012345680000.0)));
    }

    #[test]
    fn floats_are_finite() {
        assert!(accepts(r#"{"a": ["f32"]}"#, &f32::MAX.to_le_bytes()));
        assert!(accepts(r#"{"a": ["f64"]}"#, &f64::MIN_POSITIVE.to_le_bytes()));
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(!accepts(r#"{"a": ["f32"]}"#, &value.to_le_bytes()));
            assert!(!accepts(r#"{"a": ["f64"]}"#, &f64::from(value).to_le_bytes()));
        }
    }

    #[test]
    fn a_bool_is_0_or_1() {
        assert!(accepts(r#"{"a": ["bool"]}"#, &[0]));
        assert!(accepts(r#"{"a": ["bool"]}"#, &[1]));
        assert_refused(
            r#"{"a": ["bool"]}"#,
            &[2],
            r#"Value 2 is not valid for field "a" of table "people": a bool is a byte that is 0 or 1."#,
        );
    }

    #[test]
    fn timestamps_lie_in_the_years_0000_to_9999() {
        let schema = r#"{"a": ["timestamp"]}"#;
        for (micros, is_accepted) in [
            (-62_167_219_200_000_000, true),
            (-62_167_219_200_000_001, false),
            (253_402_300_799_999_999, true),
            (253_402_300_800_000_000, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            assert_eq!(accepts(schema, &i64::to_le_bytes(micros)), is_accepted, "{micros}");
        }
    }

    #[test]
    fn garbage_in_a_null_field_does_no_harm() {
        let schema = r#"{"a": ["string", 3], "b": ["bool"], "c": ["bytes", 4]}"#;
        let slot = encode(schema, &[0xFF; 8], Some(&[0b111])).unwrap();
        assert_eq!(slot, [0, 0, 0, 0, 0, 0, 0, 0, STATE_LIVE, 0b111, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn bits_past_the_last_field_do_not_matter() {
        let schema = r#"{"a": ["u8"], "b": ["u8", "required"]}"#;
        let slot = encode(schema, &[1, 2], Some(&[0b1111_1101, 0xFF])).unwrap();
        assert_eq!(slot, [0, 2, STATE_LIVE, 0b01, 0, 0, 0, 0]);
    }

    #[test]
    fn a_required_field_is_not_null() {
        let schema = r#"{"a": ["u8"], "b": ["u8", "required"]}"#;
        assert!(encode(schema, &[1, 2], Some(&[0b01])).is_ok());
        let expected = r#"Field "b" of table "people" is required, so it cannot be null."#;
        assert_eq!(encode(schema, &[1, 2], Some(&[0b10])).unwrap_err(), expected);
    }

    #[test]
    fn a_bitmap_that_is_too_short_is_refused_with_both_sizes() {
        let schema: Vec<String> = (0..9).map(|index| format!("\"f{index}\":[\"u8\"]")).collect();
        let schema = format!("{{{}}}", schema.join(","));
        let expected = r#"The null bitmap of table "people" needs 2 or more bytes; the size given is 1."#;
        assert_eq!(encode(&schema, &[0; 9], Some(&[0])).unwrap_err(), expected);
    }

    #[test]
    fn a_record_of_1024_fields_keeps_every_null() {
        let fields: Vec<String> = (0..1024).map(|index| format!("\"f{index}\":[\"u8\"]")).collect();
        let schema = Schema::parse(&format!("{{{}}}", fields.join(","))).unwrap();
        let layout = schema.layout();
        let nulls: Vec<u8> = (0..128).collect();
        let mut slot = vec![0; layout.slot_size];
        let record = Record { bytes: &[7; 1024], nulls: Some(&nulls) };
        encode_packed(layout, "people", record, &mut slot).unwrap();
        for index in 0..1024 {
            let expected = nulls[index / 8] & (1 << (index % 8)) != 0;
            assert_eq!(is_null(layout, &slot, index), expected);
            assert_eq!(slot[index], if expected { 0 } else { 7 });
        }
        assert_eq!(check_slot(layout, &slot), Ok(()));
    }

    #[test]
    fn a_record_of_64_kib_goes_through_a_slot_unchanged() {
        let schema = Schema::parse(r#"{"a": ["bytes", 65536]}"#).unwrap();
        let layout = schema.layout();
        assert_eq!(layout.slot_size, 65544);
        let bytes: Vec<u8> = (0..65536).map(|index| (index % 251) as u8).collect();
        let (mut slot, mut copy) = (vec![0; layout.slot_size], vec![0; 65536]);
        encode_packed(layout, "people", Record { bytes: &bytes, nulls: None }, &mut slot).unwrap();
        decode_packed(layout, "people", &slot, RecordMut { bytes: &mut copy, nulls: None }).unwrap();
        assert!(copy == bytes);
    }

    #[test]
    fn a_dead_slot_is_all_zeros() {
        let schema = Schema::parse(r#"{"a": ["i64"]}"#).unwrap();
        assert_eq!(check_slot(schema.layout(), &[0; 16]), Ok(()));
        let mut slot = [0; 16];
        slot[3] = 1;
        let expected = "the record is not there, and yet byte 3 of its slot is not zero";
        assert_eq!(check_slot(schema.layout(), &slot), Err(expected.to_owned()));
    }

    #[test]
    fn every_broken_rule_of_a_stored_slot_is_found_and_named() {
        let schema = Schema::parse(concat!(
            r#"{"name": ["string", 4], "old": ["bool"], "age": ["number", 3], "at": ["timestamp"], "#,
            r#""ratio": ["f32"], "id": ["u8", "required"], "place": ["f64"]}"#,
        ))
        .unwrap();
        let layout = schema.layout();
        let mut good = vec![0; layout.slot_size];
        encode_packed(layout, "people", Record { bytes: &[0; 40], nulls: None }, &mut good).unwrap();
        assert_eq!(check_slot(layout, &good), Ok(()));
        assert_eq!((layout.state_offset, layout.nulls_offset, layout.slot_size), (40, 41, 48));
        for (offset, bytes, expected) in [
            (40, &[7][..], "the state byte is 7, neither 0 nor 1"),
            (0, b"a\0b", r#"field "name" has bytes after its text that are not zeros"#),
            (0, b"a\xFF", r#"value "a�" is not valid for field "name": text must be UTF-8, and byte 1 of this is not"#),
            (4, &[3], r#"value 3 is not valid for field "old": a bool is a byte that is 0 or 1"#),
            (5, &[1], "byte 5 of the slot is padding and not zero"),
            (29, &[1], "byte 29 of the slot is padding and not zero"),
            (42, &[1], "byte 42 of the slot is padding and not zero"),
            (47, &[1], "byte 47 of the slot is padding and not zero"),
            (
                8,
                &1234f64.to_le_bytes(),
                r#"value 1234 is too large for field "age": its text has 4 characters, and the width is 3"#,
            ),
            (32, &f64::INFINITY.to_le_bytes(), "value inf is not valid for field \"place\": an f64 is a finite number"),
            (41, &[0b1000_0000], "a null bit is set past the last field"),
            (41, &[0b10_0000], r#"field "id" is required, and yet it is null"#),
        ] {
            let mut slot = good.clone();
            slot[offset..offset + bytes.len()].copy_from_slice(bytes);
            assert_eq!(check_slot(layout, &slot), Err(expected.to_owned()));
        }
        let mut slot = good.clone();
        slot[16..24].copy_from_slice(&i64::MAX.to_le_bytes());
        let finding = check_slot(layout, &slot).unwrap_err();
        assert!(finding.starts_with(r#"value 9223372036854775807 is not valid for field "at": a timestamp is"#));
        let mut slot = good.clone();
        slot[24..28].copy_from_slice(&f32::NAN.to_le_bytes());
        let finding = check_slot(layout, &slot).unwrap_err();
        assert!(finding.starts_with(r#"value NaN is not valid for field "ratio": an f32 is a finite number from"#));
        let mut slot = good.clone();
        (slot[4], slot[41]) = (1, 0b10);
        let expected = r#"field "old" is null, and yet its bytes are not zeros"#;
        assert_eq!(check_slot(layout, &slot), Err(expected.to_owned()));
        assert_eq!(check_slot(layout, &good[1..]), Err("the slot has 47 bytes instead of 48".to_owned()));
    }

    #[test]
    fn random_records_go_through_a_slot_unchanged() {
        let mut random = Random(11);
        for _ in 0..2000 {
            let schema = random_schema(&mut random, 20);
            let layout = schema.layout();
            let (bytes, nulls) = random_record(&mut random, &schema);
            let mut slot = vec![0xAA; layout.slot_size];
            encode_packed(layout, "people", Record { bytes: &bytes, nulls: Some(&nulls) }, &mut slot).unwrap();
            assert_eq!(check_slot(layout, &slot), Ok(()));
            assert!(is_live(layout, &slot));
            let (mut bytes, mut nulls) = (vec![0xAA; layout.record_size], vec![0xAA; layout.nulls_size]);
            let record = RecordMut { bytes: &mut bytes, nulls: Some(&mut nulls) };
            decode_packed(layout, "people", &slot, record).unwrap();
            let mut again = vec![0x55; layout.slot_size];
            encode_packed(layout, "people", Record { bytes: &bytes, nulls: Some(&nulls) }, &mut again).unwrap();
            assert_eq!(slot, again);
        }
    }

    #[test]
    fn arbitrary_bytes_are_either_refused_or_stored_by_the_rules() {
        let mut random = Random(13);
        for _ in 0..5000 {
            let schema = random_schema(&mut random, 6);
            let layout = schema.layout();
            let bytes: Vec<u8> = (0..layout.record_size).map(|_| random.next() as u8).collect();
            let nulls: Vec<u8> = (0..layout.nulls_size).map(|_| random.next() as u8).collect();
            let mut slot = vec![0xAA; layout.slot_size];
            let record = Record { bytes: &bytes, nulls: Some(&nulls) };
            if encode_packed(layout, "people", record, &mut slot).is_ok() {
                assert_eq!(check_slot(layout, &slot), Ok(()));
            }
            // A slot of arbitrary bytes is judged without a panic.
            slot.fill_with(|| random.next() as u8);
            let _ = check_slot(layout, &slot);
        }
    }
}
