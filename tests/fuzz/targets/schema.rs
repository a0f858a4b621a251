//! The JSON of a schema.
#![no_main]

use diamonddb::{Error, Schema};
use diamonddb_fuzz::visit::sentence;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Schema::parse(text) {
        Ok(schema) => check(&schema),
        Err(error) => {
            sentence(&error);
            assert!(matches!(error, Error::Invalid(_) | Error::TooLarge(_)), "{error:?}");
        }
    }
});

fn check(schema: &Schema) {
    let text = schema.to_json();
    let again = Schema::parse(&text).expect("what a schema says of itself is a schema");
    assert_eq!(schema, &again);
    assert_eq!(text, again.to_json(), "equal schemas give the same text");
    assert_eq!(schema.difference(&again), None);
    let layout = schema.layout();
    let mut end = 0;
    for field in &layout.fields {
        assert!(end <= field.offset, "fields do not overlap");
        end = field.offset + field.size;
    }
    assert!(end <= layout.record_size && layout.record_size <= 65536, "a record has all of its fields");
    assert!(layout.record_size.is_multiple_of(layout.alignment) && layout.slot_size.is_multiple_of(8));
    assert!(layout.state_offset >= end && layout.nulls_offset + layout.nulls_size <= layout.slot_size);
    assert!(layout.nulls_size * 8 >= layout.fields.len());
    assert!(layout.to_json().starts_with('{'));
}
