//! Where everything of a record lies.
//!
//! Fields lie as a C compiler would lay out the struct: in declared order, each at the next multiple of its alignment,
//! and the whole a multiple of the largest alignment. A slot adds what C has no place for:
//!
//! ```text
//!      0                    end of the last field     record_size        slot_size, a multiple of 8
//!      | fields and gaps ...| tail padding            |                  |
//!      | ...                | state | nulls | 0 ...   | 0 ...            |    if both fit in the tail padding
//!      | ...                | 0 ...                   | state | nulls | 0 ... |    if not
//! ```
//!
//! The state byte is 1 for a record that is there and 0 for one that is not; then the whole slot is zeros. Bit f % 8 of
//! byte f / 8 of the nulls is set if field f is null.
//!
//! What always holds here:
//!
//! 1. State and nulls stay together: both in the tail padding, or both right after the record.
//! 2. Every byte of a slot that no field, state or null bit takes is zero, and so are null fields.
//! 3. Padding leaves a slot as zeros, even where it holds the state and the nulls.

use super::field::{Field, FieldKind};
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::ops::Range;

/// The size of the largest record.
pub const RECORD_SIZE_MAX: usize = 64 * 1024;

/// The most fields that a record can have.
pub const FIELD_COUNT_MAX: usize = 1024;

/// Slots are copied in words of this size.
const SLOT_ALIGNMENT: usize = 8;

/// Where everything of a record lies, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The fields in declared order, which is their order in memory.
    pub fields: Vec<Field>,
    /// The size of the C struct, its tail padding included.
    pub record_size: usize,
    /// The alignment of the C struct.
    pub alignment: usize,
    /// From one slot to the next.
    pub slot_size: usize,
    /// Where the state byte lies in a slot.
    pub state_offset: usize,
    /// Where the null bits start in a slot.
    pub nulls_offset: usize,
    /// The bytes that the null bits take.
    pub nulls_size: usize,
    /// Which fields have rules to check; the bytes of the others are all valid.
    pub(super) checked: Vec<u16>,
    /// Padding between fields and after the last one, up to `record_size`.
    pub(super) gaps: Vec<Range<usize>>,
}

/// Where the parts of a slot lie, in bytes: as in its `Layout`, but small enough for registers.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    pub record_size: usize,
    pub state_offset: usize,
    pub nulls_offset: usize,
    pub nulls_size: usize,
}

impl Layout {
    /// Where the parts of a slot lie.
    #[inline(always)]
    pub(super) fn parts(&self) -> Parts {
        let Layout { record_size, state_offset, nulls_offset, nulls_size, .. } = *self;
        Parts { record_size, state_offset, nulls_offset, nulls_size }
    }

    /// Lays the fields out: gives each its offset and size.
    pub(super) fn new(mut fields: Vec<Field>) -> Result<Layout> {
        let mut gaps = Vec::new();
        let mut alignment = 1;
        let mut end = 0usize;
        for field in &mut fields {
            field.offset = end.next_multiple_of(field.kind.alignment());
            field.size = size_of_field(field);
            gaps.push(end..field.offset);
            alignment = alignment.max(field.kind.alignment());
            end = field.offset + field.size;
        }
        let record_size = end.next_multiple_of(alignment);
        if record_size > RECORD_SIZE_MAX {
            let message = format!("A record of this schema takes {record_size} bytes; the limit is {RECORD_SIZE_MAX}.");
            return Err(Error::TooLarge(message.into()));
        }
        gaps.push(end..record_size);
        gaps.retain(|gap| !gap.is_empty());
        let nulls_size = fields.len().div_ceil(8);
        // Rule 1.
        let state_offset = if end + 1 + nulls_size <= record_size { end } else { record_size };
        let nulls_offset = state_offset + 1;
        let slot_size = record_size.max(nulls_offset + nulls_size).next_multiple_of(SLOT_ALIGNMENT);
        let checked = (0u16..).zip(&fields).filter(|(_, field)| field.is_checked()).map(|(index, _)| index).collect();
        Ok(Layout { fields, record_size, alignment, slot_size, state_offset, nulls_offset, nulls_size, checked, gaps })
    }

    /// The layout as JSON, for bindings that build their own decoders.
    ///
    /// `{"record_size", "alignment", "slot_size", "state_offset", "nulls_offset", "nulls_size", "fields": [{"name",
    /// "type", "offset", "size", "width", "characters", "required"}]}`: `width` only for types that have one, the
    /// options only if true.
    pub fn to_json(&self) -> String {
        json!({
            "record_size": self.record_size,
            "alignment": self.alignment,
            "slot_size": self.slot_size,
            "state_offset": self.state_offset,
            "nulls_offset": self.nulls_offset,
            "nulls_size": self.nulls_size,
            "fields": self.fields.iter().map(field_json).collect::<Vec<Value>>(),
        })
        .to_string()
    }

    /// Where the null bits lie in a slot.
    pub(super) fn nulls(&self) -> Range<usize> {
        self.nulls_offset..self.nulls_offset + self.nulls_size
    }

    /// The bits of the last byte of the nulls that belong to fields.
    pub(super) fn last_nulls_mask(&self) -> u8 {
        u8::MAX >> (self.nulls_size * 8 - self.fields.len())
    }
}

fn size_of_field(field: &Field) -> usize {
    match field.kind {
        // A UTF-16 unit takes at most 3 bytes of UTF-8; 2 units, a surrogate pair, take 4.
        FieldKind::String if field.characters => 3 * field.width as usize,
        FieldKind::String | FieldKind::Bytes => field.width as usize,
        kind => kind.alignment(),
    }
}

fn field_json(field: &Field) -> Value {
    let mut json = json!({
        "name": field.name,
        "type": field.kind.name(),
        "offset": field.offset,
        "size": field.size,
    });
    if field.kind.has_width() {
        json["width"] = field.width.into();
    }
    if field.characters {
        json["characters"] = true.into();
    }
    if field.required {
        json["required"] = true.into();
    }
    json
}

#[cfg(test)]
mod tests {
    use super::super::random::{Random, random_schema};
    use super::super::schema::Schema;
    use super::*;
    use std::fmt::Write;
    use std::process::Command;

    fn layout(schema: &str) -> Layout {
        Schema::parse(schema).unwrap().layout().clone()
    }

    #[test]
    fn state_and_nulls_lie_in_the_tail_padding_where_both_fit() {
        let both_fit = layout(r#"{"a": ["i64"], "b": ["u8"]}"#);
        assert_eq!((both_fit.record_size, both_fit.slot_size), (16, 16));
        assert_eq!((both_fit.state_offset, both_fit.nulls_offset, both_fit.nulls_size), (9, 10, 1));
        // One byte of padding has room for the state only, so both go after the record.
        let one_byte = layout(r#"{"a": ["i16"], "b": ["u8"]}"#);
        assert_eq!((one_byte.record_size, one_byte.slot_size), (4, 8));
        assert_eq!((one_byte.state_offset, one_byte.nulls_offset), (4, 5));
    }

    #[test]
    fn a_record_without_padding_is_followed_by_state_and_nulls() {
        let layout = layout(r#"{"a": ["i64"], "b": ["i64"]}"#);
        assert_eq!((layout.record_size, layout.slot_size), (16, 24));
        assert_eq!((layout.state_offset, layout.nulls_offset), (16, 17));
    }

    #[test]
    fn the_layout_as_json_says_all_that_a_decoder_needs() {
        let layout = layout(r#"{"name": ["string", 5, "characters", "required"], "age": ["number", 3]}"#);
        assert_eq!(
            layout.to_json(),
            concat!(
                r#"{"record_size":24,"alignment":8,"slot_size":32,"state_offset":24,"nulls_offset":25,"nulls_size":1,"#,
                r#""fields":[{"name":"name","type":"string","offset":0,"size":15,"width":5,"characters":true,"#,
                r#""required":true},{"name":"age","type":"number","offset":16,"size":8,"width":3}]}"#,
            )
        );
    }

    #[test]
    fn a_record_of_64_kib_is_the_largest() {
        assert_eq!(layout(r#"{"a": ["bytes", 65528], "b": ["i64"]}"#).record_size, RECORD_SIZE_MAX);
        let error = Schema::parse(r#"{"a": ["bytes", 65529], "b": ["i64"]}"#).unwrap_err();
        let expected = "A record of this schema takes 65544 bytes; the limit is 65536.";
        assert_eq!(error, Error::TooLarge(expected.into()));
    }

    #[test]
    fn the_layout_is_the_one_of_a_c_compiler() {
        let mut random = Random(7);
        let layouts: Vec<Layout> = (0..60).map(|_| random_schema(&mut random, 24).layout().clone()).collect();
        let folder = std::env::temp_dir().join(format!("diamonddb_layout_{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (source, program) = (folder.join("layout.c"), folder.join("layout"));
        std::fs::write(&source, c_program(&layouts)).unwrap();
        match Command::new("cc").arg("-o").arg(&program).arg(&source).status() {
            Ok(status) => {
                assert!(status.success());
                let output = Command::new(&program).output().unwrap();
                assert_eq!(String::from_utf8(output.stdout).unwrap(), expected_output(&layouts));
            }
            Err(error) => println!("skipped: there is no C compiler called cc: {error}"),
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// A program that prints what the compiler made of each struct.
    fn c_program(layouts: &[Layout]) -> String {
        let mut c = String::from("#include <stddef.h>\n#include <stdint.h>\n#include <stdio.h>\n");
        for (number, layout) in layouts.iter().enumerate() {
            writeln!(c, "struct s{number} {{").unwrap();
            for (index, field) in layout.fields.iter().enumerate() {
                writeln!(c, "  {};", c_declaration(field, index)).unwrap();
            }
            c.push_str("};\n");
        }
        c.push_str("int main(void) {\n");
        for (number, layout) in layouts.iter().enumerate() {
            writeln!(c, "  printf(\"%zu %zu\", sizeof(struct s{number}), _Alignof(struct s{number}));").unwrap();
            for index in 0..layout.fields.len() {
                writeln!(c, "  printf(\" %zu\", offsetof(struct s{number}, f{index}));").unwrap();
            }
            c.push_str("  printf(\"\\n\");\n");
        }
        c.push_str("  return 0;\n}\n");
        c
    }

    /// Written from the table of types in the manual, not from our own sizes.
    fn c_declaration(field: &Field, index: usize) -> String {
        let width = field.width;
        match field.kind {
            FieldKind::String if field.characters => format!("char f{index}[3 * {width}]"),
            FieldKind::String => format!("char f{index}[{width}]"),
            FieldKind::Bytes => format!("uint8_t f{index}[{width}]"),
            FieldKind::Number | FieldKind::F64 => format!("double f{index}"),
            FieldKind::I8 => format!("int8_t f{index}"),
            FieldKind::I16 => format!("int16_t f{index}"),
            FieldKind::I32 => format!("int32_t f{index}"),
            FieldKind::I64 | FieldKind::Timestamp => format!("int64_t f{index}"),
            FieldKind::U8 | FieldKind::Bool => format!("uint8_t f{index}"),
            FieldKind::U16 => format!("uint16_t f{index}"),
            FieldKind::U32 => format!("uint32_t f{index}"),
            FieldKind::U64 => format!("uint64_t f{index}"),
            FieldKind::F32 => format!("float f{index}"),
        }
    }

    fn expected_output(layouts: &[Layout]) -> String {
        let mut text = String::new();
        for layout in layouts {
            write!(text, "{} {}", layout.record_size, layout.alignment).unwrap();
            for field in &layout.fields {
                write!(text, " {}", field.offset).unwrap();
            }
            text.push('\n');
        }
        text
    }
}
