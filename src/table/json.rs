//! Records as JSON: into a slot and out of it.
//!
//! JSON is read straight into the slot, one value at a time, with no tree between. Null bits start as ones and are
//! cleared by values, so that a key left out is null. A refused value does not end the reading: what follows is
//! skipped, because text that is no JSON at all is better called that.
//!
//! A `number` has one text, ECMAScript's, here and in its width; that text of -0 is `0`, so JSON loses its sign.

use super::field::{Field, FieldKind, Refusal, array, quote, read_f32, read_f64, read_integer, text_size, units};
use super::layout::{FIELD_COUNT_MAX, Layout};
use super::number;
use super::record::{STATE_LIVE, is_null, required_error};
use super::schema::{Schema, invalid, told};
use super::timestamp;
use crate::error::{Error, Result};
use crate::memory;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt::{self, Write};

/// How records look as JSON. 64-bit integers beyond 2^53 are always text, as a JavaScript number cannot hold them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JsonStyle {
    /// Every i64 and u64 is text, whatever its value.
    pub int64_as_text: bool,
}

/// Fills the slot, all `slot_size` bytes of it, from a JSON object. After an error its bytes mean nothing.
pub(crate) fn encode_json(schema: &Schema, table_name: &str, json: &str, slot: &mut [u8]) -> Result<()> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let result = RecordSeed { schema, table_name, slot }.deserialize(&mut reader);
    match result.and_then(|outcome| reader.end().map(|()| outcome)) {
        Ok(outcome) => outcome,
        Err(error) => Err(json_error(&error, format!("The record for table {table_name:?}"))),
    }
}

/// Encodes each object of a JSON array into a slot, hands it to `each` with its index, and returns the count.
///
/// `each` has seen the slots before a refused one, so it keeps them until the count is there. Its own errors are
/// returned as they are, unless what follows is not JSON; errors in the JSON name the index of the object.
pub(crate) fn encode_json_many(
    schema: &Schema,
    table_name: &str,
    json: &str,
    each: impl FnMut(usize, &[u8]) -> Result<()>,
) -> Result<usize> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let mut slot = memory::zeros(schema.layout().slot_size, "a record")?;
    let mut reached = None;
    let seed = RecordsSeed { schema, table_name, slot: &mut slot, reached: &mut reached, each };
    let result = seed.deserialize(&mut reader);
    match result.and_then(|outcome| reader.end().map(|()| outcome)) {
        Ok(outcome) => outcome,
        Err(error) => {
            let what = match reached {
                Some(index) => format!("Record {index} of the array for table {table_name:?}"),
                None => format!("The array of records for table {table_name:?}"),
            };
            Err(json_error(&error, what))
        }
    }
}

/// Appends the record of a live slot to `out` as a JSON object: fields in schema order, null ones as null.
///
/// The slot kept the rules when it was saved. One that breaks them still becomes JSON of some kind, never a panic.
pub(crate) fn decode_json(schema: &Schema, slot: &[u8], style: JsonStyle, out: &mut String) -> Result<()> {
    let layout = schema.layout();
    for (index, field) in layout.fields.iter().enumerate() {
        let key = schema.key(index);
        reserve(out, key.len() + PLAIN_VALUE_SIZE_MAX)?;
        out.push_str(key);
        match is_null(layout, slot, index) {
            true => out.push_str("null"),
            false => write_value(field, field.of(slot), style, out)?,
        }
    }
    reserve(out, 1)?;
    out.push('}');
    Ok(())
}

/// No value but text and bytes is longer than that.
const PLAIN_VALUE_SIZE_MAX: usize = 64;

fn reserve(out: &mut String, size: usize) -> Result<()> {
    out.try_reserve(size).map_err(memory::refused("records as JSON"))
}

/// The text of a JSON error as a sentence of ours.
fn json_error(error: &serde_json::Error, what: String) -> Error {
    let problem = match error.is_data() {
        true => "is not what it should be",
        false => "is not valid JSON",
    };
    invalid(format!("{what} {problem}: {}.", told(error)))
}

/// Reads one record. Outside, errors of the JSON; inside, what the schema refuses.
struct RecordSeed<'a> {
    schema: &'a Schema,
    table_name: &'a str,
    slot: &'a mut [u8],
}

impl<'de> DeserializeSeed<'de> for RecordSeed<'_> {
    type Value = Result<()>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Result<()>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RecordSeed<'_> {
    type Value = Result<()>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object of the record's fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Result<()>, A::Error> {
        let (schema, table_name) = (self.schema, self.table_name);
        let mut filling = Filling::start(schema.layout(), table_name, self.slot);
        while let Some(key) = map.next_key_seed(KeySeed { schema, guess: filling.guess })? {
            let outcome = match filling.claim(key) {
                Ok(index) => {
                    let field = &schema.layout().fields[index];
                    let bytes = field.of_mut(filling.slot);
                    let stored = map.next_value_seed(ValueSeed { field, bytes })?;
                    stored.map(|stored| filling.mark(index, stored)).map_err(|no| no.into_error(field, table_name))
                }
                Err(error) => {
                    map.next_value::<IgnoredAny>()?;
                    Err(error)
                }
            };
            if outcome.is_err() {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(outcome);
            }
        }
        Ok(filling.finish())
    }
}

/// Reads an array of records.
struct RecordsSeed<'a, Each> {
    schema: &'a Schema,
    table_name: &'a str,
    slot: &'a mut [u8],
    /// The index of the record being read, for the message of a JSON error.
    reached: &'a mut Option<usize>,
    each: Each,
}

impl<'de, Each: FnMut(usize, &[u8]) -> Result<()>> DeserializeSeed<'de> for RecordsSeed<'_, Each> {
    type Value = Result<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Result<usize>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, Each: FnMut(usize, &[u8]) -> Result<()>> Visitor<'de> for RecordsSeed<'_, Each> {
    type Value = Result<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON array of objects, one for each record")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> std::result::Result<Result<usize>, A::Error> {
        let (schema, table_name) = (self.schema, self.table_name);
        for index in 0.. {
            *self.reached = Some(index);
            let outcome = match items.next_element_seed(RecordSeed { schema, table_name, slot: &mut *self.slot })? {
                None => return Ok(Ok(index)),
                Some(Ok(())) => (self.each)(index, self.slot),
                Some(Err(error)) => Err(in_array(error, index)),
            };
            if let Err(error) = outcome {
                // A JSON error further on has no index that we count.
                *self.reached = None;
                while items.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(Err(error));
            }
        }
        unreachable!("memory ends before the integers do")
    }
}

/// The refusal of a record, with its place in the array.
fn in_array(error: Error, index: usize) -> Error {
    Error::Invalid(format!("Record {index} of the array: {}", error.message()).into())
}

/// Reads a key: the index of its field, or the key in quotes if there is none.
struct KeySeed<'a> {
    schema: &'a Schema,
    guess: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = std::result::Result<usize, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = std::result::Result<usize, String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E>(self, key: &str) -> std::result::Result<Self::Value, E> {
        Ok(self.schema.find(key, self.guess).ok_or_else(|| quote(key)))
    }
}

/// A slot on its way from empty to a whole record.
struct Filling<'a> {
    layout: &'a Layout,
    table_name: &'a str,
    slot: &'a mut [u8],
    /// Which fields have had their key, in the bits that nulls have: a null given twice is given twice.
    seen: [u8; FIELD_COUNT_MAX / 8],
    /// Where the next key probably is.
    guess: usize,
}

impl<'a> Filling<'a> {
    /// A live slot in which every field is null.
    fn start(layout: &'a Layout, table_name: &'a str, slot: &'a mut [u8]) -> Filling<'a> {
        assert_eq!(slot.len(), layout.slot_size, "a slot has the size that its layout says");
        slot.fill(0);
        slot[layout.state_offset] = STATE_LIVE;
        let nulls = &mut slot[layout.nulls()];
        nulls.fill(u8::MAX);
        nulls[layout.nulls_size - 1] = layout.last_nulls_mask();
        Filling { layout, table_name, slot, seen: [0; FIELD_COUNT_MAX / 8], guess: 0 }
    }

    /// The index that a key stands for, if it may stand there.
    fn claim(&mut self, key: std::result::Result<usize, String>) -> Result<usize> {
        let table_name = self.table_name;
        let index = key.map_err(|key| invalid(format!("No key {key} in the schema of table {table_name:?}.")))?;
        let bit = 1 << (index % 8);
        if self.seen[index / 8] & bit != 0 {
            let name = &self.layout.fields[index].name;
            return Err(invalid(format!("Key {name:?} is in the record for table {table_name:?} twice.")));
        }
        self.seen[index / 8] |= bit;
        self.guess = index + 1;
        Ok(index)
    }

    /// Keeps the null bit of a field, or clears it.
    fn mark(&mut self, index: usize, stored: Stored) {
        if stored == Stored::Value {
            self.slot[self.layout.nulls_offset + index / 8] &= !(1 << (index % 8));
        }
    }

    /// Refuses the record if what it leaves out is required.
    fn finish(self) -> Result<()> {
        let fields = self.layout.fields.iter().enumerate();
        match fields.filter(|(_, field)| field.required).find(|&(index, _)| is_null(self.layout, self.slot, index)) {
            None => Ok(()),
            Some((_, field)) => Err(required_error(field, self.table_name)),
        }
    }
}

/// What a field's key came with.
#[derive(Debug, PartialEq, Eq)]
enum Stored {
    Null,
    Value,
}

/// A JSON value as a field sees it. Integers beyond those of 64 bits arrive as floats.
enum Scalar<'a> {
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(&'a str),
    Array,
    Object,
}

impl Scalar<'_> {
    /// The value as messages show it.
    fn shown(&self) -> String {
        match self {
            Scalar::Bool(value) => value.to_string(),
            Scalar::Integer(value) => value.to_string(),
            Scalar::Float(value) => number::text(*value),
            Scalar::Text(text) => quote(text),
            Scalar::Array => "[…]".to_owned(),
            Scalar::Object => "{…}".to_owned(),
        }
    }
}

/// Reads the value of one field into its bytes, which are zeros.
struct ValueSeed<'a> {
    field: &'a Field,
    bytes: &'a mut [u8],
}

impl ValueSeed<'_> {
    fn take<E>(self, value: Scalar<'_>) -> std::result::Result<std::result::Result<Stored, Refusal>, E> {
        Ok(store(self.field, &value, self.bytes).map(|()| Stored::Value))
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = std::result::Result<Stored, Refusal>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = std::result::Result<Stored, Refusal>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the value of a field")
    }

    fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
        Ok(Ok(Stored::Null))
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Self::Value, E> {
        self.take(Scalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Self::Value, E> {
        self.take(Scalar::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Self::Value, E> {
        self.take(Scalar::Integer(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Self::Value, E> {
        self.take(Scalar::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Self::Value, E> {
        self.take(Scalar::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        self.take(Scalar::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.take(Scalar::Object)
    }
}

/// Writes a value into the bytes of its field, if it is one of the field's type.
fn store(field: &Field, value: &Scalar<'_>, bytes: &mut [u8]) -> std::result::Result<(), Refusal> {
    match (field.kind, value) {
        (FieldKind::String, Scalar::Text(text)) => store_text(field, text, bytes),
        (FieldKind::Bytes, Scalar::Text(text)) => store_bytes(field, text, bytes),
        (FieldKind::Bool, Scalar::Bool(value)) => {
            bytes[0] = u8::from(*value);
            Ok(())
        }
        (FieldKind::Number, Scalar::Integer(value)) => store_number(field, *value as f64, bytes),
        (FieldKind::Number, Scalar::Float(value)) => store_number(field, *value, bytes),
        (FieldKind::F64, Scalar::Integer(value)) => store_exact(&(*value as f64).to_le_bytes(), bytes),
        (FieldKind::F64, Scalar::Float(value)) => store_exact(&value.to_le_bytes(), bytes),
        (FieldKind::F32, Scalar::Integer(value)) => store_exact(&(*value as f32).to_le_bytes(), bytes),
        (FieldKind::F32, Scalar::Float(double)) => match f32_of(*double) {
            single if single.is_finite() => store_exact(&single.to_le_bytes(), bytes),
            _ => Err(Refusal::not_valid(value.shown(), field.right())),
        },
        (FieldKind::Timestamp, Scalar::Text(text)) if !is_decimal(text) => match timestamp::parse(text) {
            Ok(micros) => store_exact(&micros.to_le_bytes(), bytes),
            Err(right) => Err(Refusal::not_valid(quote(text), right.to_owned())),
        },
        _ => store_integer(field, value, bytes),
    }
}

fn store_text(field: &Field, text: &str, bytes: &mut [u8]) -> std::result::Result<(), Refusal> {
    if text.contains('\0') {
        return Err(Refusal::not_valid(quote(text), "the text of a string has no NUL, as that ends it".to_owned()));
    }
    let size = if field.characters { units(text) } else { text.len() };
    if size > field.width as usize {
        return Err(field.too_long(text));
    }
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Ok(())
}

fn store_bytes(field: &Field, text: &str, bytes: &mut [u8]) -> std::result::Result<(), Refusal> {
    // The size first, so that a huge text is refused without being decoded.
    let is_sized = text.len() == bytes.len().div_ceil(3) * 4;
    match is_sized.then(|| BASE64.decode_slice(text, bytes)) {
        Some(Ok(size)) if size == bytes.len() => Ok(()),
        _ => Err(Refusal::not_valid(quote(text), field.right())),
    }
}

fn store_number(field: &Field, value: f64, bytes: &mut [u8]) -> std::result::Result<(), Refusal> {
    match number::fits(value, field.width) {
        true => store_exact(&value.to_le_bytes(), bytes),
        false => Err(field.number_refusal(value)),
    }
}

/// Copies what is known to fit. The `Ok` lets the table of types above read evenly.
fn store_exact(value: &[u8], bytes: &mut [u8]) -> std::result::Result<(), Refusal> {
    bytes.copy_from_slice(value);
    Ok(())
}

/// Any value that is not an integer, for any field, is refused here.
fn store_integer(field: &Field, value: &Scalar<'_>, bytes: &mut [u8]) -> std::result::Result<(), Refusal> {
    let integer = match value {
        Scalar::Integer(integer) => Some(*integer),
        Scalar::Text(text) if is_decimal(text) => text.parse().ok(),
        Scalar::Float(float) if float.trunc() == *float && float.abs() <= number::EXACT_MAX => Some(*float as i128),
        _ => None,
    };
    match (integer, field.kind.integer_range()) {
        (Some(integer), Some((least, greatest))) if (least..=greatest).contains(&integer) => {
            // Two's complement: the low bytes of a larger integer are the smaller one.
            bytes.copy_from_slice(&integer.to_le_bytes()[..bytes.len()]);
            Ok(())
        }
        _ => Err(Refusal::not_valid(value.shown(), field.right())),
    }
}

/// Whether a text is an integer in decimal, such as `-12`.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The f32 nearest to the decimal that a double was read from.
///
/// Rounding the double again can end at a neighbour: 7.038531e-26 is an f32's own text, and as a double it is the very
/// middle of two. So decimals of up to 15 digits, which a double gives back, are rounded once, from their text.
fn f32_of(double: f64) -> f32 {
    number::text(double).parse().expect("the text of a finite number is one in Rust too")
}

fn write_value(field: &Field, bytes: &[u8], style: JsonStyle, out: &mut String) -> Result<()> {
    match field.kind {
        FieldKind::String => write_text(&bytes[..text_size(bytes)], out)?,
        FieldKind::Bytes => {
            reserve(out, bytes.len().div_ceil(3) * 4 + 2)?;
            out.push('"');
            BASE64.encode_string(bytes, out);
            out.push('"');
        }
        FieldKind::Number | FieldKind::F64 => write_float(read_f64(bytes), out),
        FieldKind::F32 => write_float(read_f32(bytes), out),
        FieldKind::Bool => out.push_str(if bytes[0] == 0 { "false" } else { "true" }),
        FieldKind::Timestamp => {
            out.push('"');
            timestamp::write(i64::from_le_bytes(array(bytes)), out);
            out.push('"');
        }
        kind => write_integer(kind, read_integer(kind, bytes), style, out),
    }
    Ok(())
}

/// Bytes that are no text become the sign for that.
fn write_text(bytes: &[u8], out: &mut String) -> Result<()> {
    let is_escaped = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    // Without an exit inside a chunk, the compiler looks at many bytes at once.
    let has_escapes = |chunk: &[u8]| chunk.iter().fold(false, |found, byte| found | is_escaped(byte));
    out.push('"');
    let escapes = bytes.chunks(64).any(has_escapes);
    for part in bytes.utf8_chunks() {
        // An escape has six bytes at most; behind the text there are the sign above and the end.
        reserve(out, part.valid().len() * if escapes { 6 } else { 1 } + 4)?;
        if escapes {
            part.valid().chars().for_each(|character| write_character(character, out));
        } else {
            out.push_str(part.valid());
        }
        if !part.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
    out.push('"');
    Ok(())
}

fn write_character(character: char, out: &mut String) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        control if control < ' ' => write!(out, "\\u{:04x}", u32::from(control)).expect("a string takes all text"),
        other => out.push(other),
    }
}

/// The ECMAScript text, or null for what a valid slot does not hold.
fn write_float(value: impl ryu_js::Float + Into<f64> + Copy, out: &mut String) {
    match value.into().is_finite() {
        true => out.push_str(ryu_js::Buffer::new().format_finite(value)),
        false => out.push_str("null"),
    }
}

fn write_integer(kind: FieldKind, value: i128, style: JsonStyle, out: &mut String) {
    let is_wide = matches!(kind, FieldKind::I64 | FieldKind::U64);
    let is_text = is_wide && (style.int64_as_text || value.unsigned_abs() > 1 << 53);
    if is_text {
        out.push('"');
    }
    match i64::try_from(value) {
        // An integer of 64 bits is written in half the time of one of 128.
        Ok(value) => write!(out, "{value}"),
        Err(_) => write!(out, "{value}"),
    }
    .expect("a string takes all text");
    if is_text {
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::{Random, random_record, random_schema};
    use super::super::record::{Record, RecordMut, check_slot, decode_packed, encode_packed};
    use super::*;

    const PLAIN: JsonStyle = JsonStyle { int64_as_text: false };
    const AS_TEXT: JsonStyle = JsonStyle { int64_as_text: true };

    fn encode(schema: &str, json: &str) -> std::result::Result<Vec<u8>, String> {
        let schema = Schema::parse(schema).unwrap();
        let mut slot = vec![0xAA; schema.layout().slot_size];
        match encode_json(&schema, "people", json, &mut slot) {
            Ok(()) => {
                assert_eq!(check_slot(schema.layout(), &slot), Ok(()));
                Ok(slot)
            }
            Err(Error::Invalid(message)) => Err(message.into_owned()),
            Err(other) => panic!("{other:?}"),
        }
    }

    fn decode(schema: &str, slot: &[u8], style: JsonStyle) -> String {
        let mut json = String::new();
        decode_json(&Schema::parse(schema).unwrap(), slot, style, &mut json).unwrap();
        json
    }

    /// What comes out of field `a` of this type when `value` went in.
    fn through(definition: &str, value: &str) -> std::result::Result<String, String> {
        let schema = format!("{{\"a\":{definition}}}");
        let slot = encode(&schema, &format!("{{\"a\":{value}}}"))?;
        let json = decode(&schema, &slot, PLAIN);
        Ok(json.strip_prefix("{\"a\":").unwrap().strip_suffix('}').unwrap().to_owned())
    }

    #[track_caller]
    fn assert_through(definition: &str, value: &str, expected: &str) {
        assert_eq!(through(definition, value).as_deref(), Ok(expected));
    }

    /// That `value` is refused with this verdict and reason.
    #[track_caller]
    fn assert_refused(definition: &str, value: &str, shown: &str, reason: &str) {
        let (verdict, reason) = reason.split_once(": ").unwrap();
        let expected = format!("Value {shown} {verdict} for field \"a\" of table \"people\": {reason}.");
        assert_eq!(through(definition, value), Err(expected));
    }

    #[test]
    fn a_record_comes_back_in_the_order_of_the_schema() {
        let schema = r#"{"name": ["string", 15], "age": ["number", 3], "x": ["i8"]}"#;
        let slot = encode(schema, r#" { "age" : 29 , "name" : "Abby" } "#).unwrap();
        assert_eq!(decode(schema, &slot, PLAIN), r#"{"name":"Abby","age":29,"x":null}"#);
    }

    #[test]
    fn a_missing_key_and_a_null_are_the_same() {
        let schema = r#"{"a": ["string", 3], "b": ["f64"]}"#;
        assert_eq!(encode(schema, "{}"), encode(schema, r#"{"b": null, "a": null}"#));
        assert_eq!(decode(schema, &encode(schema, "{}").unwrap(), PLAIN), r#"{"a":null,"b":null}"#);
        let empty = encode(schema, r#"{"a": "", "b": 0}"#).unwrap();
        assert_eq!(decode(schema, &empty, PLAIN), r#"{"a":"","b":0}"#);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let schema = r#"{"age": ["number", 3]}"#;
        let expected = r#"No key "agg" in the schema of table "people"."#;
        assert_eq!(encode(schema, r#"{"agg": 29}"#).unwrap_err(), expected);
        assert_eq!(encode(schema, r#"{"age": 1, "agg": {"x": [1, 2]}, "age": 3}"#).unwrap_err(), expected);
        let long = encode(schema, &format!("{{\"{}\": 1}}", "k".repeat(1000))).unwrap_err();
        assert_eq!(long, format!("No key \"{}…\" in the schema of table \"people\".", "k".repeat(40)));
    }

    #[test]
    fn a_key_given_twice_is_refused_even_as_null() {
        let schema = r#"{"a": ["i64"], "b": ["i64"]}"#;
        let expected = r#"Key "a" is in the record for table "people" twice."#;
        for json in [r#"{"a": 1, "a": 2}"#, r#"{"a": null, "b": 3, "a": null}"#, r#"{"a": 1, "\u0061": 1}"#] {
            assert_eq!(encode(schema, json).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_required_field_needs_a_value() {
        let schema = r#"{"a": ["i64"], "b": ["string", 5, "required"]}"#;
        let expected = r#"Field "b" of table "people" is required, so it cannot be null."#;
        assert_eq!(encode(schema, "{}").unwrap_err(), expected);
        assert_eq!(encode(schema, r#"{"b": null}"#).unwrap_err(), expected);
        assert!(encode(schema, r#"{"b": ""}"#).is_ok());
    }

    #[test]
    fn what_is_no_record_is_refused_with_its_place() {
        let schema = r#"{"a": ["i64"]}"#;
        for (json, expected) in [
            ("", "is not valid JSON: EOF while parsing a value at line 1 column 0."),
            (r#"{"a": 1"#, "is not valid JSON: EOF while parsing an object at line 1 column 7."),
            (r#"{"a": 1} x"#, "is not valid JSON: trailing characters at line 1 column 10."),
            (r#"{"a": 1e400}"#, "is not valid JSON: number out of range at line 1 column 11."),
            // Not JSON at all comes before what the schema says.
            (r#"{"b": 1, "a"}"#, "is not valid JSON: expected `:` at line 1 column 13."),
        ] {
            assert_eq!(encode(schema, json).unwrap_err(), format!("The record for table \"people\" {expected}"));
        }
        for json in ["[]", "3", "null", "\"a\"", "true"] {
            let error = encode(schema, json).unwrap_err();
            assert!(error.starts_with("The record for table \"people\" is not what it should be: invalid type: "));
            assert!(error.contains("expected a JSON object of the record's fields"), "{error}");
        }
    }

    #[test]
    fn deep_and_broken_json_is_refused_without_harm() {
        let schema = r#"{"a": ["i64"]}"#;
        for open in ["[", "{\"a\":", "{\"b\":"] {
            assert!(encode(schema, &open.repeat(200_000)).is_err());
            assert!(encode(schema, &format!("{{\"a\":{}", open.repeat(200_000))).is_err());
        }
    }

    #[test]
    fn a_string_takes_text_up_to_its_width() {
        assert_through(r#"["string", 8]"#, r#""12345678""#, r#""12345678""#);
        assert_through(r#"["string", 9]"#, r#""éé\n\"\\/\u0001""#, r#""éé\n\"\\/\u0001""#);
        assert_through(r#"["string", 8]"#, r#""\ud83d\ude42""#, r#""🙂""#);
        assert_refused(
            r#"["string", 8]"#,
            r#""030719861""#,
            r#""030719861""#,
            "is too large: it has 9 bytes, and the width is 8",
        );
        assert_refused(r#"["string", 1]"#, r#""é""#, r#""é""#, "is too large: it has 2 bytes, and the width is 1");
        assert_refused(
            r#"["string", 8]"#,
            r#""a\u0000b""#,
            r#""a\0b""#,
            "is not valid: the text of a string has no NUL, as that ends it",
        );
        for value in ["3", "true", "[1]", "{\"x\":1}"] {
            let shown = match value.as_bytes()[0] {
                b'[' => "[…]",
                b'{' => "{…}",
                _ => value,
            };
            assert_refused(r#"["string", 8]"#, value, shown, "is not valid: a string is text");
        }
        assert!(through(r#"["string", 8]"#, r#""\ud83d""#).is_err());
    }

    #[test]
    fn a_width_in_characters_counts_as_javascript_does() {
        let definition = r#"["string", 4, "characters"]"#;
        assert_through(definition, r#""€€€€""#, r#""€€€€""#);
        assert_through(definition, r#""🙂🙂""#, r#""🙂🙂""#);
        let reason = "is too large: it has 5 characters, and the width is 4";
        assert_refused(definition, r#""🙂🙂a""#, r#""🙂🙂a""#, reason);
        assert_refused(definition, r#""abcde""#, r#""abcde""#, reason);
    }

    #[test]
    fn bytes_are_padded_base64_of_exactly_the_width() {
        assert_through(r#"["bytes", 4]"#, r#""AP+AAQ==""#, r#""AP+AAQ==""#);
        assert_through(r#"["bytes", 3]"#, r#""////""#, r#""////""#);
        for value in [r#""AP+A""#, r#""AP+AAQ""#, r#""AP-AAQ==""#, r#""AP+AAQI=""#, r#""AP+AAR==""#, r#""""#] {
            let reason = "is not valid: a bytes field is text, its 4 bytes as padded base64";
            assert_refused(r#"["bytes", 4]"#, value, value, reason);
        }
        assert!(through(r#"["bytes", 4]"#, "[0, 255, 128, 1]").is_err());
    }

    #[test]
    fn a_number_is_measured_and_written_as_ecmascript_does() {
        for (value, expected, width) in [
            ("0", "0", 1),
            ("-0", "0", 1),
            ("0.1", "0.1", 3),
            ("1.0", "1", 1),
            ("1e3", "1000", 4),
            ("1e21", "1e+21", 5),
            ("1e-7", "1e-7", 4),
            ("123456789012345680000", "123456789012345680000", 21),
            ("18446744073709551615", "18446744073709552000", 20),
            ("-1.5", "-1.5", 4),
        ] {
            assert_through(&format!("[\"number\", {width}]"), value, expected);
            if width > 1 {
                let reason = format!("is too large: its text has {width} characters, and the width is {}", width - 1);
                assert_refused(&format!("[\"number\", {}]", width - 1), value, expected, &reason);
            }
        }
        assert_refused(r#"["number", 9]"#, r#""12""#, r#""12""#, "is not valid: a number is a finite number");
    }

    #[test]
    fn integers_are_exact_to_their_last_value() {
        for (kind, least, greatest) in [
            ("i8", "-128", "127"),
            ("i16", "-32768", "32767"),
            ("i32", "-2147483648", "2147483647"),
            ("u8", "0", "255"),
            ("u16", "0", "65535"),
            ("u32", "0", "4294967295"),
        ] {
            let definition = format!("[\"{kind}\"]");
            assert_through(&definition, least, least);
            assert_through(&definition, greatest, greatest);
            assert_through(&definition, &format!("\"{greatest}\""), greatest);
            let noun = if kind.starts_with('i') { "an" } else { "a" };
            let reason = format!("is not valid: {noun} {kind} is an integer from {least} to {greatest}");
            let over = (greatest.parse::<i64>().unwrap() + 1).to_string();
            let under = (least.parse::<i64>().unwrap() - 1).to_string();
            for value in [over.as_str(), under.as_str(), "\"x\"", "\"\"", "\"+1\"", "\"1.0\"", "\" 1\"", "true"] {
                assert_refused(&definition, value, value, &reason);
            }
            assert_refused(&definition, "0.5", "0.5", &reason);
        }
        assert_through(r#"["i64"]"#, "-9223372036854775808", r#""-9223372036854775808""#);
        assert_through(r#"["i64"]"#, r#""9223372036854775807""#, r#""9223372036854775807""#);
        assert_through(r#"["u64"]"#, "18446744073709551615", r#""18446744073709551615""#);
        assert!(through(r#"["i64"]"#, "9223372036854775808").is_err());
        assert!(through(r#"["i64"]"#, "\"-9223372036854775809\"").is_err());
        assert!(through(r#"["u64"]"#, "18446744073709551616").is_err());
        assert!(through(r#"["u64"]"#, "-1").is_err());
        assert!(through(r#"["u64"]"#, &format!("\"{}\"", "9".repeat(60))).is_err());
    }

    #[test]
    fn a_whole_float_is_an_integer_as_far_as_floats_are_exact() {
        assert_through(r#"["i32"]"#, "1.0", "1");
        assert_through(r#"["i32"]"#, "1e3", "1000");
        assert_through(r#"["i32"]"#, "-0.0", "0");
        assert_through(r#"["i64"]"#, "9007199254740992.0", "9007199254740992");
        assert!(through(r#"["i64"]"#, "9007199254740994.0").is_err());
        assert!(through(r#"["i64"]"#, "1e300").is_err());
        assert!(through(r#"["i64"]"#, "1.5").is_err());
    }

    #[test]
    fn integers_beyond_2_to_the_53_are_text() {
        assert_through(r#"["i64"]"#, "9007199254740992", "9007199254740992");
        assert_through(r#"["i64"]"#, "9007199254740993", r#""9007199254740993""#);
        assert_through(r#"["i64"]"#, "-9007199254740992", "-9007199254740992");
        assert_through(r#"["i64"]"#, "-9007199254740993", r#""-9007199254740993""#);
        assert_through(r#"["u64"]"#, "9007199254740993", r#""9007199254740993""#);
        let schema = r#"{"a": ["i64"], "b": ["u64"], "c": ["u32"], "d": ["number", 1]}"#;
        let slot = encode(schema, r#"{"a": -1, "b": 2, "c": 3, "d": 4}"#).unwrap();
        assert_eq!(decode(schema, &slot, AS_TEXT), r#"{"a":"-1","b":"2","c":3,"d":4}"#);
    }

    #[test]
    fn floats_come_back_in_their_shortest_text() {
        assert_through(r#"["f32"]"#, "0.1", "0.1");
        assert_through(r#"["f32"]"#, "16777217", "16777216");
        assert_through(r#"["f32"]"#, "3.4028235e38", "3.4028235e+38");
        assert_through(r#"["f32"]"#, "-1e-45", "-1e-45");
        assert_through(r#"["f64"]"#, "0.30000000000000004", "0.30000000000000004");
        assert_through(r#"["f64"]"#, "1.7976931348623157e308", "1.7976931348623157e+308");
        assert_through(r#"["f64"]"#, "5e-324", "5e-324");
        assert_refused(
            r#"["f32"]"#,
            "3.5e38",
            "3.5e+38",
            "is not valid: an f32 is a finite number from -3.4028235e38 to 3.4028235e38",
        );
        assert_refused(r#"["f64"]"#, r#""1""#, r#""1""#, "is not valid: an f64 is a finite number");
    }

    #[test]
    fn an_f32_whose_text_is_halfway_between_two_as_a_double_comes_back() {
        let value = f32::from_bits(0x15ae43fd);
        assert_ne!(value.to_string().parse::<f64>().unwrap() as f32, value, "rounding twice misses it");
        assert_through(r#"["f32"]"#, "7.038531e-26", "7.038531e-26");
    }

    #[test]
    fn a_bool_is_true_or_false() {
        assert_through(r#"["bool"]"#, "true", "true");
        assert_through(r#"["bool"]"#, "false", "false");
        for value in ["1", "0", "\"true\""] {
            assert_refused(r#"["bool"]"#, value, value, "is not valid: a bool is true or false");
        }
    }

    #[test]
    fn a_timestamp_is_a_time_or_its_microseconds() {
        let definition = r#"["timestamp"]"#;
        assert_through(definition, r#""2024-02-29T13:30:00.25+01:00""#, r#""2024-02-29T12:30:00.250Z""#);
        assert_through(definition, "1709209800250000", r#""2024-02-29T12:30:00.250Z""#);
        assert_through(definition, r#""-1""#, r#""1969-12-31T23:59:59.999999Z""#);
        assert_through(definition, "1e6", r#""1970-01-01T00:00:01Z""#);
        assert_through(definition, r#""9999-12-31T23:59:59.999999Z""#, r#""9999-12-31T23:59:59.999999Z""#);
        for value in ["253402300800000000", "0.5", "true", r#""yesterday""#, r#""2024-02-29T12:30:00""#] {
            assert_refused(definition, value, value, &format!("is not valid: {}", timestamp::RIGHT));
        }
        assert_refused(
            definition,
            r#""2016-12-31T23:59:60Z""#,
            r#""2016-12-31T23:59:60Z""#,
            "is not valid: leap seconds are not kept, so a second is one of 00 to 59",
        );
    }

    #[test]
    fn a_long_value_is_shortened_in_its_message() {
        let error = through(r#"["string", 5]"#, &format!("\"{}\"", "é".repeat(1000))).unwrap_err();
        let expected = "\" is too large for field \"a\" of table \"people\": it has 2000 bytes, and the width is 5.";
        assert_eq!(error, format!("Value \"{}…{expected}", "é".repeat(40)));
    }

    #[test]
    fn an_array_is_encoded_item_by_item() {
        let schema = Schema::parse(r#"{"a": ["i64"], "b": ["string", 2]}"#).unwrap();
        let mut seen = Vec::new();
        let count = encode_json_many(&schema, "people", r#"[{"a": 1, "b": "xy"}, {}, {"a": 3}]"#, |index, slot| {
            let mut json = format!("{index} ");
            decode_json(&schema, slot, PLAIN, &mut json).unwrap();
            seen.push(json);
            Ok(())
        });
        assert_eq!(count, Ok(3));
        assert_eq!(seen, [r#"0 {"a":1,"b":"xy"}"#, r#"1 {"a":null,"b":null}"#, r#"2 {"a":3,"b":null}"#]);
        assert_eq!(encode_json_many(&schema, "people", "[]", |_, _| panic!("nothing to see")), Ok(0));
    }

    #[test]
    fn an_error_in_an_array_names_the_index() {
        let schema = Schema::parse(r#"{"a": ["i8"]}"#).unwrap();
        for (json, expected) in [
            (
                r#"[{"a": 1}, {"a": 300}, {"a": 2}]"#,
                "Record 1 of the array: Value 300 is not valid for field \"a\" of table \"people\": \
                 an i8 is an integer from -128 to 127.",
            ),
            (
                r#"[{"a": 1}, 5]"#,
                "Record 1 of the array for table \"people\" is not what it should be: invalid type: integer `5`, \
                 expected a JSON object of the record's fields at line 1 column 12.",
            ),
            (
                r#"[{"a": 1}, {"a"}]"#,
                "Record 1 of the array for table \"people\" is not valid JSON: expected `:` at line 1 column 16.",
            ),
            (
                r#"{"a": 1}"#,
                "The array of records for table \"people\" is not what it should be: invalid type: map, \
                 expected a JSON array of objects, one for each record at line 1 column 0.",
            ),
        ] {
            let result = encode_json_many(&schema, "people", json, |_, _| Ok(()));
            assert_eq!(result, Err(Error::Invalid(expected.into())));
        }
    }

    #[test]
    fn an_error_of_the_receiver_is_returned_as_it_is_and_ends_the_array() {
        let schema = Schema::parse(r#"{"a": ["i8"]}"#).unwrap();
        let full = Error::Full("No room.".into());
        let mut calls = 0;
        let result = encode_json_many(&schema, "people", r#"[{"a": 1}, {"a": 2}, {"a": 3}]"#, |index, _| {
            calls += 1;
            if index == 1 { Err(full.clone()) } else { Ok(()) }
        });
        assert_eq!(result, Err(full.clone()));
        assert_eq!(calls, 2);
    }

    #[test]
    fn random_records_come_through_json_unchanged() {
        let mut random = Random(17);
        for round in 0..3000 {
            let schema = random_schema(&mut random, 20);
            let layout = schema.layout();
            let (bytes, nulls) = random_record(&mut random, &schema);
            let mut slot = vec![0; layout.slot_size];
            encode_packed(layout, "people", Record { bytes: &bytes, nulls: Some(&nulls) }, &mut slot).unwrap();
            // JSON has one zero, as ECMAScript writes it.
            drop_signs_of_zeros(&schema, &mut slot);
            let mut json = String::new();
            decode_json(&schema, &slot, JsonStyle { int64_as_text: round % 2 == 0 }, &mut json).unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
            let mut again = vec![0xAA; layout.slot_size];
            encode_json(&schema, "people", &json, &mut again).unwrap();
            assert_eq!(slot, again, "{json}");
        }
    }

    fn drop_signs_of_zeros(schema: &Schema, slot: &mut [u8]) {
        for field in &schema.layout().fields {
            let bytes = field.of_mut(slot);
            let is_zero = match field.kind {
                FieldKind::Number | FieldKind::F64 => read_f64(bytes) == 0.0,
                FieldKind::F32 => read_f32(bytes) == 0.0,
                _ => false,
            };
            if is_zero {
                bytes.fill(0);
            }
        }
    }

    #[test]
    fn a_slot_of_arbitrary_bytes_becomes_json_of_some_kind() {
        let mut random = Random(19);
        for _ in 0..3000 {
            let schema = random_schema(&mut random, 10);
            let slot: Vec<u8> = (0..schema.layout().slot_size).map(|_| random.next() as u8).collect();
            let mut json = String::new();
            decode_json(&schema, &slot, PLAIN, &mut json).unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
        }
    }

    #[test]
    fn damaged_json_is_refused_or_stored_by_the_rules() {
        let mut random = Random(23);
        for _ in 0..5000 {
            let schema = random_schema(&mut random, 5);
            let layout = schema.layout();
            let (bytes, nulls) = random_record(&mut random, &schema);
            let mut slot = vec![0; layout.slot_size];
            encode_packed(layout, "people", Record { bytes: &bytes, nulls: Some(&nulls) }, &mut slot).unwrap();
            let mut json = String::new();
            decode_json(&schema, &slot, PLAIN, &mut json).unwrap();
            let mut damaged: Vec<char> = json.chars().collect();
            for _ in 0..1 + random.below(3) {
                let place = random.below(damaged.len());
                damaged[place] = ['0', '"', ',', 'e', '9', '-', '.', '\\', '}', 'x'][random.below(10)];
            }
            let damaged: String = damaged.into_iter().collect();
            if encode_json(&schema, "people", &damaged, &mut slot).is_ok() {
                assert_eq!(check_slot(layout, &slot), Ok(()), "{damaged}");
            }
        }
    }

    #[test]
    fn a_record_of_1024_fields_and_one_of_64_kib_come_through_json() {
        let fields: Vec<String> = (0..1024).map(|index| format!("\"f{index}\":[\"u16\"]")).collect();
        let schema = Schema::parse(&format!("{{{}}}", fields.join(","))).unwrap();
        // Every third field, the last ones first.
        let values: Vec<String> = (0..1024).rev().step_by(3).map(|index| format!("\"f{index}\":{index}")).collect();
        let mut slot = vec![0; schema.layout().slot_size];
        encode_json(&schema, "people", &format!("{{{}}}", values.join(",")), &mut slot).unwrap();
        let (mut bytes, mut nulls) = (vec![0; 2048], vec![0; 128]);
        let record = RecordMut { bytes: &mut bytes, nulls: Some(&mut nulls) };
        decode_packed(schema.layout(), "people", &slot, record).unwrap();
        for index in 0..1024usize {
            let is_given = index % 3 == 0;
            assert_eq!(nulls[index / 8] & (1 << (index % 8)) == 0, is_given);
            let expected = if is_given { index as u16 } else { 0 };
            assert_eq!(bytes[2 * index..2 * index + 2], expected.to_le_bytes());
        }
        assert_through(
            r#"["string", 65536]"#,
            &format!("\"{}\"", "x".repeat(65536)),
            &format!("\"{}\"", "x".repeat(65536)),
        );
        assert!(through(r#"["string", 65536]"#, &format!("\"{}\"", "x".repeat(65537))).is_err());
    }
}
