//! The messages of the first version: TABLE_CREATE, SAVE and FETCH, as its programs send them.
//!
//! A reply is bare as its manual has it (`1`, the id, the record), or a message as its code had it. What fails is a
//! message either way, `{"operation":"FAILURE","data":"…"}`. The words of the first version are kept where it had any;
//! elsewhere the library's own sentences stand. The status is always 200, as it was.
//!
//! Its schemas were `{field: ["string" | "number", length]}`, and lengths counted characters. So `["string", 15]` here
//! becomes `["string", 15, "characters"]`, and a number of any length is taken; all else in a schema means what it
//! means today. It kept values as texts, so a text that is a number is as good as the number, and the other way round.

use super::super::records::record_json;
use super::resources::cut;
use diamonddb::{Database, Error, Field, FieldKind, RecordId, Schema, Table};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::fmt;

/// The widest number that a schema may name. A greater length of the first version holds every number.
const NUMBER_WIDTH_MAX: u64 = 24;

/// How to reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `1`, the id, the record.
    Bare,
    /// `{"operation", "data"}`.
    Message,
}

/// Does what the message says, and replies.
pub fn reply(database: &Database, style: Style, body: &[u8]) -> String {
    let failure = |sentence| json!({"operation": "FAILURE", "data": sentence}).to_string();
    perform(database, style, body).unwrap_or_else(failure)
}

/// A message. What an operation does not need is left alone, as it was.
#[derive(Deserialize)]
struct Message<'a> {
    operation: Option<String>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
}

#[derive(Default, Deserialize)]
struct Data<'a> {
    name: Option<String>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    table: Option<String>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    record: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

fn perform(database: &Database, style: Style, body: &[u8]) -> Result<String, String> {
    let message: Message<'_> = serde_json::from_slice(body).map_err(|error| {
        let form = r#"{"operation": "FETCH", "data": {"table": "people", "id": 0}}"#;
        format!("A message is JSON such as {form}, and this is not one: {}.", cut(&error.to_string()))
    })?;
    let data = message.data.unwrap_or_default();
    match message.operation.as_deref() {
        Some("TABLE_CREATE") => make(database, style, &data),
        Some("SAVE") => save(database, style, &data),
        Some("FETCH") => fetch(database, style, &data),
        other => {
            let problem = other.map_or("A message has an operation".to_owned(), |other| {
                format!("There is no operation {:?}", cut(other))
            });
            Err(format!("{problem}; the operations are TABLE_CREATE, SAVE and FETCH."))
        }
    }
}

fn make(database: &Database, style: Style, data: &Data<'_>) -> Result<String, String> {
    let name = wanted(data.name.as_deref(), "TABLE_CREATE", "name", "a text")?;
    let text = wanted(data.schema, "TABLE_CREATE", "schema", "an object")?.get();
    let schema = match serde_json::from_str(text) {
        Ok(members) => Schema::parse(&in_characters(members)),
        Err(_) => Schema::parse(text),
    };
    let schema = schema.map_err(sentence)?;
    // Made by another program, a table may count bytes; its own schema is the same all the same.
    let is_there = database.table(name).is_ok_and(|table| {
        let given = Schema::parse(text);
        is_same(table.schema(), &schema) || given.is_ok_and(|given| is_same(table.schema(), &given))
    });
    if !is_there {
        database.make_table(name, &schema).map_err(sentence)?;
    }
    match style {
        Style::Bare => Ok("1".to_owned()),
        Style::Message => Ok(r#"{"operation":"SUCCESS"}"#.to_owned()),
    }
}

/// Whether two schemas have the same fields. Their order did not count.
fn is_same(one: &Schema, other: &Schema) -> bool {
    let fields = |schema: &Schema| serde_json::from_str::<Map<String, Value>>(&schema.to_json()).ok();
    fields(one) == fields(other)
}

fn save(database: &Database, style: Style, data: &Data<'_>) -> Result<String, String> {
    let table = table(database, data, "SAVE")?;
    let record = match (data.body, data.record) {
        (Some(_), Some(_)) => return Err("SAVE takes data.body or data.record, not both.".to_owned()),
        (body, record) => wanted(body.or(record), "SAVE", "body", "the record")?.get(),
    };
    let id = match table.save_json(record) {
        // Nothing was saved, so it may be tried once more.
        Err(refusal @ Error::Invalid(_)) => save_as_before(&table, record, refusal)?,
        saved => saved.map_err(sentence)?,
    };
    match style {
        Style::Bare => Ok(id.0.to_string()),
        Style::Message => match record_json(&table, id) {
            Ok(record) => Ok(success(&record)),
            Err(error) => Err(format!("Saved as record {}, which cannot be read back: {error}", id.0)),
        },
    }
}

fn fetch(database: &Database, style: Style, data: &Data<'_>) -> Result<String, String> {
    let table = table(database, data, "FETCH")?;
    let text = wanted(data.id, "FETCH", "id", "an integer from 0")?.get();
    // As JavaScript has it, "6" is as good as 6.
    let digits = text.trim_matches('"');
    let none = || format!("ERROR: no record at index {} in table {}", cut(digits), table.name());
    if digits.strip_prefix('-').unwrap_or(digits).bytes().any(|byte| !byte.is_ascii_digit()) || digits.is_empty() {
        return Err(format!("The id is {}; an id is an integer from 0.", cut(text)));
    }
    let id = digits.parse().map_err(|_| none())?;
    match (record_json(&table, RecordId(id)), style) {
        (Ok(record), Style::Bare) => Ok(record),
        (Ok(record), Style::Message) => Ok(success(&record)),
        (Err(Error::OutOfRange(_)), _) => Err(none()),
        (Err(error), _) => Err(sentence(error)),
    }
}

fn success(record: &str) -> String {
    format!(r#"{{"operation":"SUCCESS","data":{record}}}"#)
}

fn table(database: &Database, data: &Data<'_>, operation: &str) -> Result<Table, String> {
    let name = wanted(data.table.as_deref(), operation, "table", "the name of a table")?;
    database.table(name).map_err(sentence)
}

fn wanted<T>(given: Option<T>, operation: &str, name: &str, what: &str) -> Result<T, String> {
    given.ok_or_else(|| format!("{operation} needs data.{name}, {what}."))
}

fn sentence(error: Error) -> String {
    error.message().to_owned()
}

/// The members of a JSON object as they come: a name that is there twice stays so, and the library refuses it.
struct Members(Vec<(String, Value)>);

impl Members {
    fn to_json(&self) -> String {
        let members = self.0.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
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

/// The schema with what the first version counted in characters counted so.
fn in_characters(mut schema: Members) -> String {
    for (_, definition) in &mut schema.0 {
        let Value::Array(items) = definition else { continue };
        match (items.first().and_then(Value::as_str), items.get(1).and_then(Value::as_u64), items.len()) {
            (Some("string"), Some(_), 2) => items.push("characters".into()),
            (Some("number"), Some(length), 2) if length > NUMBER_WIDTH_MAX => *items = vec!["f64".into()],
            _ => {}
        }
    }
    schema.to_json()
}

/// Saves a record that the library refused, if the first version would have taken it; else says why not, in the first
/// version's words where it had any.
fn save_as_before(table: &Table, record: &str, refusal: Error) -> Result<RecordId, String> {
    let Ok(mut record) = serde_json::from_str::<Members>(record) else { return Err(sentence(refusal)) };
    let mut is_changed = false;
    for (key, value) in &mut record.0 {
        let Some(field) = table.layout().fields.iter().find(|field| field.name == *key) else {
            return Err(format!("No key \"{}\" in schema.", cut(key)));
        };
        let Some(text) = text(value) else { continue };
        if is_too_long(field, &text) {
            return Err(format!("Value \"{}\" too large for property \"{key}\".", cut(&text)));
        }
        if let Some(converted) = converted(field, value, text) {
            *value = converted;
            is_changed = true;
        }
    }
    match is_changed {
        true => table.save_json(&record.to_json()).map_err(sentence),
        false => Err(sentence(refusal)),
    }
}

/// A value as JavaScript writes it, if it is no object and no null.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(ryu_js::Buffer::new().format(number.as_f64()?).to_owned()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_too_long(field: &Field, text: &str) -> bool {
    let size = if field.characters { text.encode_utf16().count() } else { text.len() };
    matches!(field.kind, FieldKind::String | FieldKind::Number) && size > field.width as usize
}

/// The value as one of the field's type, if it is not one yet and can be.
fn converted(field: &Field, value: &Value, text: String) -> Option<Value> {
    match (field.kind, value) {
        (FieldKind::String, Value::Number(_) | Value::Bool(_)) => Some(text.into()),
        (FieldKind::Number | FieldKind::F64, Value::String(_)) => {
            let text = text.trim();
            // Rust reads inf and nan as well.
            let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            let number = text.parse::<f64>().ok().filter(|number| is_decimal && number.is_finite())?;
            Some(number.into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(schema: &str) -> String {
        in_characters(serde_json::from_str(schema).unwrap())
    }

    #[test]
    fn lengths_of_the_first_version_count_characters_and_all_else_stays() {
        let schema = r#"{"z":["string",15],"n":["number",3],"wide":["number",99],"s":["string",5,"required"]}"#;
        let wanted = r#"{"z":["string",15,"characters"],"n":["number",3],"wide":["f64"],"s":["string",5,"required"]}"#;
        assert_eq!(adapted(schema), wanted);
        assert!(Schema::parse(wanted).is_ok());
    }

    #[test]
    fn a_field_that_is_named_twice_is_not_lost() {
        let error = Schema::parse(&adapted(r#"{"a":["string",5],"a":["number",3]}"#)).unwrap_err();
        assert!(error.message().contains("twice"), "{error}");
    }
}
