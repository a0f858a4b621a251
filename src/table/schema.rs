//! A schema: the names and types of a record's fields, in the order of the layout.
//!
//! As JSON it is an object, `{"name": ["string", 15, "required"], "age": ["number", 3]}`: for each field its type, the
//! width where the type takes one, and options. The order of the fields is the layout, so it is kept, and a name that
//! is given twice is refused: a JSON parser that keeps the last one would silently drop a field.

use super::field::{Field, FieldKind, quote};
use super::layout::{FIELD_COUNT_MAX, Layout, RECORD_SIZE_MAX};
use super::number;
use crate::error::{Error, Result};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::collections::HashSet;
use std::fmt;

/// The longest name of a field, in bytes.
const NAME_SIZE_MAX: usize = 255;

/// Names and types of a record's fields, in the order of the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    layout: Layout,
    /// For each field its name as the key of a JSON object, with the mark before it: `{"name":` or `,"age":`.
    keys: Vec<Box<str>>,
    /// The indexes of the fields, sorted by name.
    by_name: Vec<u16>,
}

impl Schema {
    /// From JSON such as `{"name": ["string", 15], "age": ["number", 3]}`.
    pub fn parse(json: &str) -> Result<Schema> {
        let Members(members) = serde_json::from_str(json).map_err(|error| {
            invalid(format!("A schema is a JSON object of fields, and this is not one: {}.", told(&error)))
        })?;
        match members.len() {
            0 => return Err(invalid("A schema has at least one field.".to_owned())),
            count if count > FIELD_COUNT_MAX => {
                let message = format!("This schema has {count} fields; the limit is {FIELD_COUNT_MAX}.");
                return Err(Error::TooLarge(message.into()));
            }
            _ => {}
        }
        let mut names = HashSet::new();
        if let Some((twice, _)) = members.iter().find(|(name, _)| !names.insert(name)) {
            return Err(invalid(format!("Field {} is in the schema twice; a name is used once.", quote(twice))));
        }
        let fields: Vec<Field> =
            members.iter().map(|(name, definition)| parse_field(name, definition)).collect::<Result<_>>()?;
        Ok(Schema::new(Layout::new(fields)?))
    }

    fn new(layout: Layout) -> Schema {
        let fields = &layout.fields;
        let key = |(index, field): (usize, &Field)| {
            let mark = if index == 0 { '{' } else { ',' };
            format!("{mark}{}:", json_text(&field.name)).into_boxed_str()
        };
        let keys = fields.iter().enumerate().map(key).collect();
        let mut by_name: Vec<u16> = (0u16..).zip(fields).map(|(index, _)| index).collect();
        by_name.sort_by_key(|&index| &fields[usize::from(index)].name);
        Schema { layout, keys, by_name }
    }

    /// The schema as JSON. Equal schemas give the same text.
    pub fn to_json(&self) -> String {
        let mut json = String::new();
        for (key, field) in self.keys.iter().zip(&self.layout.fields) {
            json.push_str(key);
            json.push_str(&field.type_json());
        }
        json.push('}');
        json
    }

    /// Where everything of a record lies.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// How `given` differs from this schema, the one that a table has: a sentence about the first field that does.
    pub fn difference(&self, given: &Schema) -> Option<String> {
        let (ours, theirs) = (&self.layout.fields, &given.layout.fields);
        for index in 0..ours.len().max(theirs.len()) {
            let sentence = match (ours.get(index), theirs.get(index)) {
                (Some(our), Some(their)) if our.name == their.name => {
                    if our == their {
                        continue;
                    }
                    // An earlier field would have been reported, so only the type can differ.
                    let (name, our, their) = (&our.name, our.type_json(), their.type_json());
                    format!("Field {name:?} is {our} in the table and {their} in the schema given.")
                }
                (Some(our), _) if given.find(&our.name, 0).is_none() => {
                    format!("Field {:?} of the table is missing from the schema given.", our.name)
                }
                (_, Some(their)) if self.find(&their.name, 0).is_none() => {
                    format!("Field {:?} of the schema given is not in the table.", their.name)
                }
                (Some(our), Some(their)) => {
                    let (place, our, their) = (index + 1, &our.name, &their.name);
                    format!(
                        "Field {place} is {our:?} in the table and {their:?} in the schema given; the order counts."
                    )
                }
                _ => unreachable!("names are used once, so the longer schema has one that the shorter lacks"),
            };
            return Some(sentence);
        }
        None
    }

    /// The index of the field of this name, looked for at `guess` first: records mostly come in the schema's order.
    pub(super) fn find(&self, name: &str, guess: usize) -> Option<usize> {
        let fields = &self.layout.fields;
        if fields.get(guess).is_some_and(|field| field.name == name) {
            return Some(guess);
        }
        let place = self.by_name.binary_search_by_key(&name, |&index| &fields[usize::from(index)].name).ok()?;
        Some(self.by_name[place].into())
    }

    /// The field's name as the key of a JSON object, with the mark before it.
    pub(super) fn key(&self, index: usize) -> &str {
        &self.keys[index]
    }
}

/// The members of a JSON object as they come, duplicates too.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Members, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object such as {\"name\": [\"string\", 15]}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

/// One field of a schema, not yet placed.
fn parse_field(name: &str, definition: &Value) -> Result<Field> {
    check_name(name)?;
    let Value::Array(items) = definition else {
        let given = quote_json(definition);
        return Err(invalid(format!("Field {name:?} is {given}; it must be an array such as [\"string\", 15].")));
    };
    let (kind, rest) = parse_kind(name, items)?;
    let (width, options) = match kind.has_width() {
        true => (rest.first(), rest.get(1..).unwrap_or_default()),
        false => (None, rest),
    };
    let mut field =
        Field { name: name.to_owned(), kind, width: 0, characters: false, required: false, offset: 0, size: 0 };
    parse_options(&mut field, options)?;
    if kind.has_width() {
        field.width = parse_width(&field, width)?;
    }
    Ok(field)
}

fn check_name(name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(invalid("A field has an empty name; a name has at least one character.".to_owned()));
    }
    if name.len() > NAME_SIZE_MAX {
        let (name, size) = (quote(name), name.len());
        return Err(invalid(format!("The field name {name} has {size} bytes; the limit is {NAME_SIZE_MAX}.")));
    }
    if name.contains(char::is_control) {
        return Err(invalid(format!("The field name {} has a control character; a name has none.", quote(name))));
    }
    Ok(())
}

/// The type that a definition starts with, and what follows it.
fn parse_kind<'a>(name: &str, items: &'a [Value]) -> Result<(FieldKind, &'a [Value])> {
    let given = items.first().unwrap_or(&Value::Null);
    let kind = FieldKind::ALL.into_iter().find(|kind| given.as_str() == Some(kind.name()));
    match (kind, items) {
        (Some(kind), [_, rest @ ..]) => Ok((kind, rest)),
        _ => {
            let (given, names) = (quote_json(given), FieldKind::ALL.map(FieldKind::name).join(", "));
            Err(invalid(format!("Field {name:?} has the unknown type {given}; the types are {names}.")))
        }
    }
}

fn parse_width(field: &Field, given: Option<&Value>) -> Result<u32> {
    let width_max = match field.kind {
        FieldKind::Number => number::WIDTH_MAX,
        _ if field.characters => RECORD_SIZE_MAX as u32 / 3,
        _ => RECORD_SIZE_MAX as u32,
    };
    let width = given.and_then(Value::as_u64).and_then(|width| u32::try_from(width).ok());
    match width {
        Some(width) if (1..=width_max).contains(&width) => Ok(width),
        _ => {
            let (name, type_name) = (&field.name, field.kind.name());
            let problem = given.map_or("no width".to_owned(), |given| format!("the width {}", quote_json(given)));
            let right = format!("[\"{type_name}\", n] takes an integer n from 1 to {width_max}");
            Err(invalid(format!("Field {name:?} has {problem}; {right}.")))
        }
    }
}

fn parse_options(field: &mut Field, options: &[Value]) -> Result<()> {
    for option in options {
        let is_string = field.kind == FieldKind::String;
        let given_before = match option.as_str() {
            Some("required") => std::mem::replace(&mut field.required, true),
            Some("characters") if is_string => std::mem::replace(&mut field.characters, true),
            _ => {
                let (name, option, type_name) = (&field.name, quote_json(option), field.kind.name());
                let known = if is_string { "\"required\" and \"characters\"" } else { "\"required\" only" };
                let message = format!("Field {name:?} has the unknown option {option}; {type_name} takes {known}.");
                return Err(invalid(message));
            }
        };
        if given_before {
            return Err(invalid(format!("Field {:?} has the option {option} twice; once is enough.", field.name)));
        }
    }
    Ok(())
}

/// A text as JSON, with its quotes.
fn json_text(text: &str) -> String {
    serde_json::to_string(text).expect("every text has a form in JSON")
}

/// What is wrong with JSON. The parser's words may quote all of a long text, and are cut then.
pub(super) fn told(error: &serde_json::Error) -> String {
    const SHOWN: usize = 160;
    let text = error.to_string();
    match text.char_indices().nth(SHOWN) {
        None => text,
        Some((cut, _)) => format!("{}… at line {} column {}", &text[..cut], error.line(), error.column()),
    }
}

/// A JSON value for a message: text in quotes, anything else as it is, and neither of them long.
fn quote_json(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(_) => "[…]".to_owned(),
        Value::Object(_) => "{…}".to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn invalid(message: String) -> Error {
    Error::Invalid(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Schema {
        Schema::parse(json).unwrap()
    }

    #[track_caller]
    fn assert_refused(json: &str, expected: &str) {
        match Schema::parse(json) {
            Err(Error::Invalid(message)) => assert_eq!(message, expected),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_schema_keeps_the_order_of_its_fields() {
        let schema = parse(r#"{"z": ["i64"], "a": ["string", 15, "required"], "m": ["number", 3]}"#);
        let names: Vec<&str> = schema.layout().fields.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["z", "a", "m"]);
    }

    #[test]
    fn equal_schemas_have_the_same_text() {
        let one = parse(r#"{"a": ["string", 15, "characters", "required"], "b\"": ["u8", "required"]}"#);
        let other = parse(r#" {"\u0061":["string",15,"required","characters"],"b\"":["u8","required"]} "#);
        assert_eq!(one, other);
        assert_eq!(one.to_json(), r#"{"a":["string",15,"characters","required"],"b\"":["u8","required"]}"#);
        assert_eq!(one.to_json(), other.to_json());
        assert_eq!(parse(&one.to_json()), one);
    }

    #[test]
    fn every_type_is_known_by_its_name() {
        for kind in FieldKind::ALL {
            let width = if kind.has_width() { ",5" } else { "" };
            let json = format!("{{\"a\":[\"{}\"{width}]}}", kind.name());
            let schema = parse(&json);
            assert_eq!(schema.layout().fields[0].kind, kind);
            assert_eq!(schema.to_json(), json);
        }
    }

    #[test]
    fn a_name_that_is_given_twice_is_refused_by_name() {
        assert_refused(
            r#"{"a": ["i64"], "b": ["i64"], "a": ["i8"]}"#,
            r#"Field "a" is in the schema twice; a name is used once."#,
        );
    }

    #[test]
    fn a_schema_is_an_object_with_fields() {
        assert_refused("{}", "A schema has at least one field.");
        for json in ["", "[]", "3", "null", "{\"a\": [\"i64\"]", "{\"a\": [\"i64\"]} x", "{\"a\":}"] {
            let error = Schema::parse(json).unwrap_err();
            assert!(
                error.message().starts_with("A schema is a JSON object of fields, and this is not one: "),
                "{json}"
            );
        }
        assert!(Schema::parse(&"[".repeat(100_000)).is_err());
        assert!(Schema::parse(&format!("{{\"a\":{}", "[".repeat(100_000))).is_err());
    }

    #[test]
    fn names_have_1_to_255_bytes_and_no_control_characters() {
        parse(&format!("{{\"{}\": [\"i8\"]}}", "é".repeat(127)));
        assert_refused(r#"{"": ["i8"]}"#, "A field has an empty name; a name has at least one character.");
        assert_refused(
            &format!("{{\"{}\": [\"i8\"]}}", "é".repeat(128)),
            &format!("The field name \"{}…\" has 256 bytes; the limit is 255.", "é".repeat(40)),
        );
        assert_refused(r#"{"a\u0000b": ["i8"]}"#, r#"The field name "a\0b" has a control character; a name has none."#);
    }

    #[test]
    fn definitions_that_are_none_are_refused_with_what_would_be_right() {
        assert_refused(r#"{"a": "i64"}"#, r#"Field "a" is "i64"; it must be an array such as ["string", 15]."#);
        let types =
            "the types are string, bytes, number, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, bool, timestamp.";
        assert_refused(r#"{"a": ["nmber", 3]}"#, &format!(r#"Field "a" has the unknown type "nmber"; {types}"#));
        assert_refused(r#"{"a": []}"#, &format!(r#"Field "a" has the unknown type null; {types}"#));
        assert_refused(r#"{"a": [5]}"#, &format!(r#"Field "a" has the unknown type 5; {types}"#));
    }

    #[test]
    fn widths_have_limits() {
        let string = r#"["string", n] takes an integer n from 1 to 65536."#;
        assert_refused(r#"{"a": ["string"]}"#, &format!(r#"Field "a" has no width; {string}"#));
        assert_refused(r#"{"a": ["string", 0]}"#, &format!(r#"Field "a" has the width 0; {string}"#));
        assert_refused(r#"{"a": ["string", 65537]}"#, &format!(r#"Field "a" has the width 65537; {string}"#));
        assert_refused(r#"{"a": ["string", -1]}"#, &format!(r#"Field "a" has the width -1; {string}"#));
        assert_refused(r#"{"a": ["string", 4294967297]}"#, &format!(r#"Field "a" has the width 4294967297; {string}"#));
        assert_refused(
            r#"{"a": ["string", "required", 5]}"#,
            r#"Field "a" has the unknown option 5; string takes "required" and "characters"."#,
        );
        assert_refused(
            r#"{"a": ["string", 21846, "characters"]}"#,
            r#"Field "a" has the width 21846; ["string", n] takes an integer n from 1 to 21845."#,
        );
        assert_refused(
            r#"{"a": ["number", 25]}"#,
            r#"Field "a" has the width 25; ["number", n] takes an integer n from 1 to 24."#,
        );
        assert_eq!(parse(r#"{"a": ["string", 65536]}"#).layout().record_size, 65536);
        assert_eq!(parse(r#"{"a": ["string", 21845, "characters"]}"#).layout().record_size, 65535);
    }

    #[test]
    fn unknown_and_repeated_options_are_refused() {
        assert_refused(r#"{"a": ["i64", 8]}"#, r#"Field "a" has the unknown option 8; i64 takes "required" only."#);
        assert_refused(
            r#"{"a": ["bytes", 8, "characters"]}"#,
            r#"Field "a" has the unknown option "characters"; bytes takes "required" only."#,
        );
        assert_refused(
            r#"{"a": ["i64", "required", "required"]}"#,
            r#"Field "a" has the option "required" twice; once is enough."#,
        );
    }

    #[test]
    fn a_refusal_is_short_however_long_what_it_refuses_is() {
        let long = "x".repeat(100_000);
        let error = Schema::parse(&format!("{long:?}")).unwrap_err();
        assert!(error.message().len() < 300 && error.message().ends_with("x… at line 1 column 100002."), "{error}");
        let error = Schema::parse(&format!("{{{long:?}: [{long:?}], {long:?}: 1}}")).unwrap_err();
        assert!(error.message().len() < 300, "{error}");
    }

    #[test]
    fn a_schema_has_at_most_1024_fields() {
        let json = |count: usize| {
            let fields: Vec<String> = (0..count).map(|index| format!("\"f{index}\":[\"u8\"]")).collect();
            format!("{{{}}}", fields.join(","))
        };
        let schema = parse(&json(1024));
        assert_eq!(schema.layout().nulls_size, 128);
        assert!((0..1024).all(|index| schema.find(&format!("f{index}"), 0) == Some(index)));
        assert_eq!(schema.find("f1024", 0), None);
        let expected = "This schema has 1025 fields; the limit is 1024.";
        assert_eq!(Schema::parse(&json(1025)), Err(Error::TooLarge(expected.into())));
    }

    #[test]
    fn a_difference_names_the_first_field_that_differs() {
        let table = parse(r#"{"a": ["string", 15], "b": ["i64"]}"#);
        for (given, expected) in [
            (r#"{"a": ["string", 15], "b": ["i64"]}"#, None),
            (
                r#"{"a": ["string", 16], "b": ["i64"]}"#,
                Some(r#"Field "a" is ["string",15] in the table and ["string",16] in the schema given."#),
            ),
            (
                r#"{"a": ["string", 15], "b": ["i64", "required"]}"#,
                Some(r#"Field "b" is ["i64"] in the table and ["i64","required"] in the schema given."#),
            ),
            (r#"{"a": ["string", 15]}"#, Some(r#"Field "b" of the table is missing from the schema given."#)),
            (r#"{"b": ["i64"]}"#, Some(r#"Field "a" of the table is missing from the schema given."#)),
            (
                r#"{"a": ["string", 15], "b": ["i64"], "c": ["i8"]}"#,
                Some(r#"Field "c" of the schema given is not in the table."#),
            ),
            (
                r#"{"c": ["i8"], "a": ["string", 15], "b": ["i64"]}"#,
                Some(r#"Field "c" of the schema given is not in the table."#),
            ),
            (
                r#"{"b": ["i64"], "a": ["string", 15]}"#,
                Some(r#"Field 1 is "a" in the table and "b" in the schema given; the order counts."#),
            ),
        ] {
            assert_eq!(table.difference(&parse(given)).as_deref(), expected);
        }
    }
}
