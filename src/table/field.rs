//! One field of a record: its type, where it lies, and which bytes it may hold.
//!
//! A field's bytes mean the same wherever they come from, a packed record, JSON or a file. So the rules are
//! written here once: `holds` says whether bytes keep them, fast and without words; `refusal` says in words why not.

use super::number;
use super::timestamp;
use crate::error::Error;
use std::ffi::CStr;

/// The type of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// UTF-8 text of a fixed room, zeros after it.
    String,
    /// Exactly as many bytes as the width says.
    Bytes,
    /// A double whose text in ECMAScript has at most as many characters as the width says.
    Number,
    /// A signed integer of 8 bits.
    I8,
    /// A signed integer of 16 bits.
    I16,
    /// A signed integer of 32 bits.
    I32,
    /// A signed integer of 64 bits.
    I64,
    /// An unsigned integer of 8 bits.
    U8,
    /// An unsigned integer of 16 bits.
    U16,
    /// An unsigned integer of 32 bits.
    U32,
    /// An unsigned integer of 64 bits.
    U64,
    /// A finite float of 32 bits.
    F32,
    /// A finite double.
    F64,
    /// A byte that is 0 or 1.
    Bool,
    /// Microseconds since 1970 UTC, in a signed integer of 64 bits.
    Timestamp,
}

impl FieldKind {
    /// Every type, in the order in which messages list them.
    pub(crate) const ALL: [FieldKind; 15] = [
        FieldKind::String,
        FieldKind::Bytes,
        FieldKind::Number,
        FieldKind::I8,
        FieldKind::I16,
        FieldKind::I32,
        FieldKind::I64,
        FieldKind::U8,
        FieldKind::U16,
        FieldKind::U32,
        FieldKind::U64,
        FieldKind::F32,
        FieldKind::F64,
        FieldKind::Bool,
        FieldKind::Timestamp,
    ];

    /// The name of the type in a schema.
    pub fn name(self) -> &'static str {
        match self {
            FieldKind::String => "string",
            FieldKind::Bytes => "bytes",
            FieldKind::Number => "number",
            FieldKind::I8 => "i8",
            FieldKind::I16 => "i16",
            FieldKind::I32 => "i32",
            FieldKind::I64 => "i64",
            FieldKind::U8 => "u8",
            FieldKind::U16 => "u16",
            FieldKind::U32 => "u32",
            FieldKind::U64 => "u64",
            FieldKind::F32 => "f32",
            FieldKind::F64 => "f64",
            FieldKind::Bool => "bool",
            FieldKind::Timestamp => "timestamp",
        }
    }

    /// The name with its article, for sentences.
    pub(crate) fn noun(self) -> String {
        match self {
            // "bytes" is a plural in English and one field here.
            FieldKind::Bytes => "a bytes field".to_owned(),
            kind if kind.name().starts_with(['i', 'f']) => format!("an {}", kind.name()),
            kind => format!("a {}", kind.name()),
        }
    }

    /// Whether the type takes a width in a schema.
    pub fn has_width(self) -> bool {
        matches!(self, FieldKind::String | FieldKind::Bytes | FieldKind::Number)
    }

    /// The alignment that a C compiler gives the type. Types without a width are as large as they are aligned.
    pub fn alignment(self) -> usize {
        match self {
            FieldKind::String | FieldKind::Bytes | FieldKind::I8 | FieldKind::U8 | FieldKind::Bool => 1,
            FieldKind::I16 | FieldKind::U16 => 2,
            FieldKind::I32 | FieldKind::U32 | FieldKind::F32 => 4,
            FieldKind::Number | FieldKind::I64 | FieldKind::U64 | FieldKind::F64 | FieldKind::Timestamp => 8,
        }
    }

    /// The least and the greatest integer of the type, if it is one of integers.
    pub(crate) fn integer_range(self) -> Option<(i128, i128)> {
        match self {
            FieldKind::I8 => Some((i8::MIN.into(), i8::MAX.into())),
            FieldKind::I16 => Some((i16::MIN.into(), i16::MAX.into())),
            FieldKind::I32 => Some((i32::MIN.into(), i32::MAX.into())),
            FieldKind::I64 => Some((i64::MIN.into(), i64::MAX.into())),
            FieldKind::U8 => Some((0, u8::MAX.into())),
            FieldKind::U16 => Some((0, u16::MAX.into())),
            FieldKind::U32 => Some((0, u32::MAX.into())),
            FieldKind::U64 => Some((0, u64::MAX.into())),
            FieldKind::Timestamp => Some((timestamp::MICROS_MIN.into(), timestamp::MICROS_MAX.into())),
            _ => None,
        }
    }
}

/// One field of a record's layout. Offsets and sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The field's name: 1 to 255 bytes, no control characters.
    pub name: String,
    /// Its type.
    pub kind: FieldKind,
    /// The width that the schema gives: bytes or characters; 0 for a type without one.
    pub width: u32,
    /// Whether the width of a string counts UTF-16 units instead of bytes.
    pub characters: bool,
    /// Whether the field refuses to be null.
    pub required: bool,
    /// Where the field starts in the record.
    pub offset: usize,
    /// The bytes it takes.
    pub size: usize,
}

impl Field {
    /// The bytes of this field in a record or a slot.
    pub(crate) fn of<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        &record[self.offset..self.offset + self.size]
    }

    /// The bytes of this field in a record or a slot, to be written.
    pub(crate) fn of_mut<'a>(&self, record: &'a mut [u8]) -> &'a mut [u8] {
        &mut record[self.offset..self.offset + self.size]
    }

    /// The type as a schema writes it, such as `["string",15,"required"]`.
    pub(crate) fn type_json(&self) -> String {
        let mut json = format!("[\"{}\"", self.kind.name());
        if self.kind.has_width() {
            json.push_str(&format!(",{}", self.width));
        }
        if self.characters {
            json.push_str(",\"characters\"");
        }
        if self.required {
            json.push_str(",\"required\"");
        }
        json.push(']');
        json
    }

    /// Whether some bytes break the rules of this type, so that they need to be looked at.
    pub(crate) fn is_checked(&self) -> bool {
        matches!(
            self.kind,
            FieldKind::String
                | FieldKind::Number
                | FieldKind::F32
                | FieldKind::F64
                | FieldKind::Bool
                | FieldKind::Timestamp
        )
    }

    /// Whether `bytes`, all of this field, keep the rules of its type. Zeros always do, as null fields are zeros.
    ///
    /// What follows a text's first NUL is not looked at here: saving clears it, and `check_slot` reports it.
    #[inline]
    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        match self.kind {
            FieldKind::String => self.holds_text(&bytes[..text_size(bytes)]),
            FieldKind::Number => number::fits(read_f64(bytes), self.width),
            FieldKind::F32 => read_f32(bytes).is_finite(),
            FieldKind::F64 => read_f64(bytes).is_finite(),
            FieldKind::Bool => bytes[0] <= 1,
            FieldKind::Timestamp => timestamp::is_in_range(i64::from_le_bytes(array(bytes))),
            _ => true,
        }
    }

    /// Whether a string field can hold this text, already cut at its first NUL.
    #[inline]
    pub(crate) fn holds_text(&self, text: &[u8]) -> bool {
        match std::str::from_utf8(text) {
            // No text has more UTF-16 units than bytes, so short texts need no counting.
            Ok(text) => !self.characters || text.len() <= self.width as usize || units(text) <= self.width as usize,
            Err(_) => false,
        }
    }

    /// Why `holds` says no.
    #[cold]
    pub(crate) fn refusal(&self, bytes: &[u8]) -> Refusal {
        match self.kind {
            FieldKind::String => {
                let text = &bytes[..text_size(bytes)];
                match std::str::from_utf8(text) {
                    Ok(text) => self.too_long(text),
                    Err(error) => {
                        let right = format!("text must be UTF-8, and byte {} of this is not", error.valid_up_to());
                        Refusal::not_valid(quote(&String::from_utf8_lossy(text)), right)
                    }
                }
            }
            FieldKind::Number => self.number_refusal(read_f64(bytes)),
            FieldKind::F32 => Refusal::not_valid(read_f32(bytes).to_string(), self.right()),
            FieldKind::F64 => Refusal::not_valid(read_f64(bytes).to_string(), self.right()),
            FieldKind::Bool => Refusal::not_valid(bytes[0].to_string(), "a bool is a byte that is 0 or 1".to_owned()),
            _ => Refusal::not_valid(read_integer(self.kind, bytes).to_string(), self.right()),
        }
    }

    /// Why a string field refuses this text, which is longer than its width.
    pub(crate) fn too_long(&self, text: &str) -> Refusal {
        let (count, unit) = match self.characters {
            true => (units(text), "characters"),
            false => (text.len(), "bytes"),
        };
        Refusal::too_large(quote(text), format!("it has {count} {unit}, and the width is {}", self.width))
    }

    /// Why a number field refuses this number.
    pub(crate) fn number_refusal(&self, number: f64) -> Refusal {
        if !number.is_finite() {
            return Refusal::not_valid(number.to_string(), self.right());
        }
        let text = number::text(number);
        let right = format!("its text has {} characters, and the width is {}", text.len(), self.width);
        Refusal::too_large(text, right)
    }

    /// What a JSON value for this field must be, for the end of a sentence.
    pub(crate) fn right(&self) -> String {
        let noun = self.kind.noun();
        match self.kind {
            FieldKind::String => format!("{noun} is text"),
            FieldKind::Bytes => format!("{noun} is text, its {} bytes as padded base64", self.width),
            FieldKind::Number | FieldKind::F64 => format!("{noun} is a finite number"),
            FieldKind::F32 => format!("{noun} is a finite number from -{F32_MAX} to {F32_MAX}"),
            FieldKind::Bool => format!("{noun} is true or false"),
            FieldKind::Timestamp => timestamp::RIGHT.to_owned(),
            _ => {
                let (least, greatest) = self.kind.integer_range().expect("the types left are those of integers");
                format!("{noun} is an integer from {least} to {greatest}")
            }
        }
    }
}

/// The greatest f32, as people write it.
const F32_MAX: &str = "3.4028235e38";

/// Why a value does not fit its field.
#[derive(Debug)]
pub(crate) struct Refusal {
    value: String,
    verdict: &'static str,
    right: String,
}

impl Refusal {
    /// `value` is not one of the type; `right` says what is.
    pub(crate) fn not_valid(value: String, right: String) -> Refusal {
        Refusal { value, verdict: "is not valid", right }
    }

    /// `value` is of the type and exceeds the width; `right` says by how much.
    pub(crate) fn too_large(value: String, right: String) -> Refusal {
        Refusal { value, verdict: "is too large", right }
    }

    /// The sentence that a caller reads.
    pub(crate) fn into_error(self, field: &Field, table_name: &str) -> Error {
        let Refusal { value, verdict, right } = self;
        let name = &field.name;
        Error::Invalid(format!("Value {value} {verdict} for field {name:?} of table {table_name:?}: {right}.").into())
    }

    /// The same without a table, for a finding about a stored slot.
    pub(crate) fn into_finding(self, field: &Field) -> String {
        let Refusal { value, verdict, right } = self;
        format!("value {value} {verdict} for field {:?}: {right}", field.name)
    }
}

/// Text in quotes for a message, cut to 40 characters.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((cut, _)) => format!("{:?}", format!("{}…", &text[..cut])),
    }
}

/// The size of the text in a string field: up to its first NUL, or all of it.
#[inline]
pub(crate) fn text_size(bytes: &[u8]) -> usize {
    // The standard library finds the NUL of a C string by words, not byte by byte.
    CStr::from_bytes_until_nul(bytes).map_or(bytes.len(), CStr::count_bytes)
}

/// The length of a text as JavaScript counts it.
pub(crate) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The bytes of an integer or float, whose size its type fixes.
pub(crate) fn array<const SIZE: usize>(bytes: &[u8]) -> [u8; SIZE] {
    bytes.try_into().expect("the layout gives each type its size")
}

pub(crate) fn read_f64(bytes: &[u8]) -> f64 {
    f64::from_le_bytes(array(bytes))
}

pub(crate) fn read_f32(bytes: &[u8]) -> f32 {
    f32::from_le_bytes(array(bytes))
}

/// The integer in a field of a type of integers.
pub(crate) fn read_integer(kind: FieldKind, bytes: &[u8]) -> i128 {
    match kind {
        FieldKind::I8 => i8::from_le_bytes(array(bytes)).into(),
        FieldKind::I16 => i16::from_le_bytes(array(bytes)).into(),
        FieldKind::I32 => i32::from_le_bytes(array(bytes)).into(),
        FieldKind::U8 => u8::from_le_bytes(array(bytes)).into(),
        FieldKind::U16 => u16::from_le_bytes(array(bytes)).into(),
        FieldKind::U32 => u32::from_le_bytes(array(bytes)).into(),
        FieldKind::U64 => u64::from_le_bytes(array(bytes)).into(),
        _ => i64::from_le_bytes(array(bytes)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_a_message_is_cut_to_40_characters_and_never_inside_one() {
        assert_eq!(quote("short"), "\"short\"");
        assert_eq!(quote(&"é".repeat(40)), format!("\"{}\"", "é".repeat(40)));
        assert_eq!(quote(&"🙂".repeat(41)), format!("\"{}…\"", "🙂".repeat(40)));
        assert_eq!(quote("a\u{0}b"), r#""a\0b""#);
    }

    #[test]
    fn a_text_ends_at_its_first_nul_or_fills_its_field() {
        assert_eq!(text_size(b"ab\0c"), 2);
        assert_eq!(text_size(b"abcd"), 4);
        assert_eq!(text_size(b"\0\0"), 0);
        for size in 0..70 {
            let mut bytes = vec![b'x'; 70];
            bytes[size] = 0;
            assert_eq!(text_size(&bytes), size);
        }
    }

    #[test]
    fn characters_are_counted_as_javascript_counts_them() {
        assert_eq!(units("aé€"), 3);
        assert_eq!(units("🙂"), 2);
    }
}
