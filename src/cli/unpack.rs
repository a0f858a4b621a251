//! A packed record to texts: the way out, and the reverse of [`pack`](super::pack).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use diamonddb::{Field, FieldKind, Layout};

/// The texts of a packed record's fields, `None` where the value is null.
pub fn unpack(layout: &Layout, record: &[u8], nulls: &[u8]) -> Vec<Option<String>> {
    let text = |(index, field): (usize, &Field)| {
        let is_null = nulls[index / 8] & (1 << (index % 8)) != 0;
        (!is_null).then(|| text(field, &record[field.offset..field.offset + field.size]))
    };
    layout.fields.iter().enumerate().map(text).collect()
}

/// Whether a column of such values reads best with its digits below each other.
pub fn is_numeric(kind: FieldKind) -> bool {
    !matches!(kind, FieldKind::String | FieldKind::Bytes | FieldKind::Bool | FieldKind::Timestamp)
}

fn text(field: &Field, place: &[u8]) -> String {
    match field.kind {
        FieldKind::String => {
            let end = place.iter().position(|&byte| byte == 0).unwrap_or(place.len());
            // The library lets no other text in, and a damaged page is an error long before this.
            str::from_utf8(&place[..end]).expect("a stored string is UTF-8").to_owned()
        }
        FieldKind::Bytes => BASE64.encode(place),
        FieldKind::Number => decimal(f64::from_le_bytes(fixed(place))),
        // ECMAScript, whose text a `number` has, writes -0 without its sign.
        FieldKind::F64 if f64::from_le_bytes(fixed(place)).to_bits() == (-0.0_f64).to_bits() => "-0".to_owned(),
        FieldKind::F64 => decimal(f64::from_le_bytes(fixed(place))),
        FieldKind::F32 if f32::from_le_bytes(fixed(place)).to_bits() == (-0.0_f32).to_bits() => "-0".to_owned(),
        FieldKind::F32 => decimal(f32::from_le_bytes(fixed(place))),
        FieldKind::I8 => i8::from_le_bytes(fixed(place)).to_string(),
        FieldKind::I16 => i16::from_le_bytes(fixed(place)).to_string(),
        FieldKind::I32 => i32::from_le_bytes(fixed(place)).to_string(),
        FieldKind::I64 => i64::from_le_bytes(fixed(place)).to_string(),
        FieldKind::U8 => u8::from_le_bytes(fixed(place)).to_string(),
        FieldKind::U16 => u16::from_le_bytes(fixed(place)).to_string(),
        FieldKind::U32 => u32::from_le_bytes(fixed(place)).to_string(),
        FieldKind::U64 => u64::from_le_bytes(fixed(place)).to_string(),
        FieldKind::Bool => (place[0] != 0).to_string(),
        FieldKind::Timestamp => {
            let microseconds = i64::from_le_bytes(fixed(place));
            // The last hours of the year 9999 are a time to the library and none to jiff; import takes the number too.
            jiff::Timestamp::from_microsecond(microseconds)
                .map_or_else(|_| microseconds.to_string(), |time| time.to_string())
        }
    }
}

/// The shortest text that reads back as the same float, as ECMAScript writes it: `90000`, `1e+21`.
fn decimal(value: impl ryu_js::Float) -> String {
    ryu_js::Buffer::new().format(value).to_owned()
}

fn fixed<const SIZE: usize>(place: &[u8]) -> [u8; SIZE] {
    place.try_into().expect("a field has the size of its type")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(kind: FieldKind, place: &[u8]) -> String {
        let (width, size) = (place.len() as u32, place.len());
        let field = Field { name: "x".into(), kind, width, characters: false, required: false, offset: 0, size };
        text(&field, place)
    }

    #[test]
    fn values_are_written_so_that_import_reads_the_same() {
        assert_eq!(text_of(FieldKind::String, b"caf\xc3\xa9\0\0\0"), "café");
        assert_eq!(text_of(FieldKind::Bytes, &[1, 2, 3]), "AQID");
        assert_eq!(text_of(FieldKind::F64, &90000_f64.to_le_bytes()), "90000");
        assert_eq!(text_of(FieldKind::F32, &0.1_f32.to_le_bytes()), "0.1");
        assert_eq!(text_of(FieldKind::F64, &(-0.0_f64).to_le_bytes()), "-0");
        assert_eq!(text_of(FieldKind::F32, &(-0.0_f32).to_le_bytes()), "-0");
        assert_eq!(text_of(FieldKind::I8, &[0xff]), "-1");
        assert_eq!(text_of(FieldKind::U64, &[0xff; 8]), "18446744073709551615");
        assert_eq!(text_of(FieldKind::Bool, &[1]), "true");
        assert_eq!(text_of(FieldKind::Timestamp, &1_500_000_i64.to_le_bytes()), "1970-01-01T00:00:01.5Z");
        assert_eq!(text_of(FieldKind::Timestamp, &253_402_300_799_999_999_i64.to_le_bytes()), "253402300799999999");
    }

    #[test]
    fn a_null_has_no_text() {
        let schema = diamonddb::Schema::parse(r#"{"a": ["u8"], "b": ["u8"]}"#).unwrap();
        assert_eq!(unpack(schema.layout(), &[7, 0], &[0b10]), [Some("7".to_owned()), None]);
    }
}
