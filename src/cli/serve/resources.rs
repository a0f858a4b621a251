//! What lies at which path, and what may be done with it.
//!
//! ```text
//! POST /query                the messages of the first version
//! GET  /tables               all tables: an array
//! GET  /tables/NAME          one table, with its schema
//! POST /tables/NAME          saves one record (an object) or many (an array) in one commit, all or none
//! GET  /tables/NAME/ID       one record
//! GET  /health               whether reads and writes are served
//! GET  /stats                figures since the start
//! ```
//!
//! Everything here may block, so it runs on threads where that is allowed.

use super::super::records::record_json;
use super::super::show::table_json;
use super::answer::Answer;
use super::query::{self, Style};
use diamonddb::{Database, RecordId, Table};
use hyper::header::{HeaderValue, LOCATION};
use hyper::{Method, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// How much the records of one request may take in the database. A short text can stand for many wide records.
const SAVED_SIZE_MAX: usize = 64 << 20;

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Resource {
    /// The messages of the first version, and how to reply.
    Query(Style),
    /// All tables.
    Tables,
    /// A table.
    Table(String),
    /// A record of a table.
    Record(String, RecordId),
    /// Whether all is well.
    Health,
    /// Figures.
    Stats,
}

impl Resource {
    /// What lies at the path.
    pub fn at(uri: &Uri) -> Result<Resource, Answer> {
        let path = uri.path();
        let parts = path.strip_prefix('/').unwrap_or(path).split('/').map(|part| decode(part, path));
        let parts: Vec<String> = parts.collect::<Result<_, _>>()?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts[..] {
            ["query"] => Ok(Resource::Query(style(uri.query().unwrap_or_default())?)),
            ["tables"] => Ok(Resource::Tables),
            ["tables", name] => Ok(Resource::Table(name.to_owned())),
            ["tables", name, id] => Ok(Resource::Record(name.to_owned(), record_id(id)?)),
            ["health"] => Ok(Resource::Health),
            ["stats"] => Ok(Resource::Stats),
            _ => {
                let places = "/query, /tables, /tables/NAME, /tables/NAME/ID, /health and /stats";
                let sentence = format!("There is nothing at {}; there are {places}.", cut(path));
                Err(Answer::refusal(StatusCode::NOT_FOUND, sentence))
            }
        }
    }

    /// The methods that it takes, as the header Allow lists them.
    pub fn methods(&self) -> &'static str {
        match self {
            Resource::Query(_) => "POST, OPTIONS",
            Resource::Table(_) => "GET, HEAD, POST, OPTIONS",
            Resource::Tables | Resource::Record(..) | Resource::Health | Resource::Stats => "GET, HEAD, OPTIONS",
        }
    }

    /// Refuses a method that it does not take.
    pub fn check(&self, method: &Method, path: &str) -> Result<(), Answer> {
        let allowed = self.methods();
        if allowed.split(", ").any(|name| name == method.as_str()) {
            return Ok(());
        }
        let sentence = format!("{} does not take {}; it takes {allowed}.", cut(path), cut(method.as_str()));
        Err(Answer::wrong_method(sentence, allowed))
    }

    /// Tells what lies here; `server` are the figures of the server.
    pub fn get(&self, database: &Database, server: impl FnOnce() -> Value) -> Result<Answer, Answer> {
        match self {
            Resource::Query(_) => unreachable!("/query takes POST only"),
            Resource::Tables => {
                let tables = database.tables()?;
                Ok(Answer::ok(Value::from_iter(tables.iter().map(table_json)).to_string()))
            }
            Resource::Table(name) => get_table(database, name),
            Resource::Record(name, id) => Ok(Answer::ok(record_json(&database.table(name)?, *id)?)),
            Resource::Health => health(database),
            Resource::Stats => {
                let figures = database.stats_json()?;
                Ok(Answer::ok(format!(r#"{{"server":{},"database":{figures}}}"#, server())))
            }
        }
    }

    /// Takes what was sent here.
    pub fn post(&self, database: &Database, body: &[u8], path: &str) -> Result<Answer, Answer> {
        match self {
            Resource::Query(style) => Ok(Answer::ok(query::reply(database, *style, body))),
            Resource::Table(name) => save(&database.table(name)?, body, path),
            _ => unreachable!("nothing else takes POST"),
        }
    }
}

fn decode(part: &str, path: &str) -> Result<String, Answer> {
    let text = percent_decode_str(part).decode_utf8().map_err(|_| {
        let sentence = format!("The path {} is not UTF-8 behind its percent signs.", cut(path));
        Answer::refusal(StatusCode::BAD_REQUEST, sentence)
    })?;
    Ok(text.into_owned())
}

fn record_id(text: &str) -> Result<RecordId, Answer> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(RecordId).ok_or_else(|| {
        let sentence = format!("{:?} is no id; an id is an integer from 0 to {}.", cut(text), u64::MAX);
        Answer::refusal(StatusCode::BAD_REQUEST, sentence)
    })
}

fn style(query: &str) -> Result<Style, Answer> {
    let reply = query.split('&').find_map(|pair| pair.strip_prefix("reply="));
    match reply {
        None => Ok(Style::Bare),
        Some("message") => Ok(Style::Message),
        Some(other) => {
            let sentence = format!("There is no reply={}; reply=message is the only one.", cut(other));
            Err(Answer::refusal(StatusCode::BAD_REQUEST, sentence))
        }
    }
}

fn get_table(database: &Database, name: &str) -> Result<Answer, Answer> {
    let table = database.table(name)?;
    let schema: Value = serde_json::from_str(&table.schema().to_json()).expect("a schema is JSON");
    let (records, next_id, record_size) = (table.count()?, table.next_id()?.0, table.layout().record_size);
    let table = json!({
        "name": name, "records": records, "next_id": next_id, "record_size": record_size, "schema": schema,
    });
    Ok(Answer::ok(table.to_string()))
}

/// After a failed sync the database still reads, and no longer writes.
fn health(database: &Database) -> Result<Answer, Answer> {
    #[derive(Deserialize)]
    struct Stats {
        poisoned: Option<String>,
    }
    let stats: Stats = serde_json::from_str(&database.stats_json()?).expect("statistics say whether writing ended");
    match stats.poisoned {
        None => Ok(Answer::ok(json!({"status": "ok", "version": diamonddb::VERSION}).to_string())),
        Some(why) => {
            let sentence = format!("Nothing more is written until the server is started again: {why}");
            Err(Answer::refusal(StatusCode::SERVICE_UNAVAILABLE, sentence))
        }
    }
}

fn save(table: &Table, body: &[u8], path: &str) -> Result<Answer, Answer> {
    let refusal = |problem: String| {
        let sentence = format!("The body is not valid JSON: {problem}.");
        Answer::refusal(StatusCode::BAD_REQUEST, sentence)
    };
    let text = str::from_utf8(body).map_err(|error| refusal(error.to_string()))?;
    if !text.trim_start().starts_with('[') {
        serde_json::from_str::<IgnoredAny>(text).map_err(|error| refusal(error.to_string()))?;
        let id = table.save_json(text)?.0;
        return Ok(created(json!({"id": id}).to_string(), &format!("{path}/{id}")));
    }
    // Things that take no memory, however many.
    let items: Vec<IgnoredAny> = serde_json::from_str(text).map_err(|error| refusal(error.to_string()))?;
    refuse_too_many(table, items.len())?;
    let (first, count) = table.save_many_json(text)?;
    let ids: Vec<u64> = (first.0..).take(count).collect();
    Ok(created(json!({"ids": ids}).to_string(), path))
}

fn refuse_too_many(table: &Table, count: usize) -> Result<(), Answer> {
    let slot_size = table.layout().slot_size;
    if count.saturating_mul(slot_size) <= SAVED_SIZE_MAX {
        return Ok(());
    }
    let sentence = format!(
        "{count} records of table {} take more than {SAVED_SIZE_MAX} bytes; save at most {} at once.",
        table.name(),
        SAVED_SIZE_MAX / slot_size
    );
    Err(Answer::refusal(StatusCode::PAYLOAD_TOO_LARGE, sentence))
}

fn created(json: String, location: &str) -> Answer {
    let answer = Answer::new(StatusCode::CREATED, json);
    match HeaderValue::from_str(location) {
        Ok(location) => answer.with(LOCATION, location),
        Err(_) => answer,
    }
}

/// A text of the client's for a sentence or a line of the log.
pub fn cut(text: &str) -> String {
    const SHOWN: usize = 120;
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &'static str) -> Result<Resource, StatusCode> {
        Resource::at(&Uri::from_static(path)).map_err(|answer| answer.status)
    }

    #[test]
    fn names_in_paths_are_decoded_after_the_path_is_split() {
        assert_eq!(at("/tables/a%2Fb%20%C3%A9"), Ok(Resource::Table("a/b é".into())));
        assert_eq!(at("/tables/people/7"), Ok(Resource::Record("people".into(), RecordId(7))));
        assert_eq!(at("/tables/a%FF"), Err(StatusCode::BAD_REQUEST));
        assert_eq!(at("/tables/a/b/7"), Err(StatusCode::NOT_FOUND));
        assert_eq!(at("/"), Err(StatusCode::NOT_FOUND));
    }

    #[test]
    fn an_id_is_digits_and_nothing_else() {
        assert_eq!(at("/tables/a/18446744073709551615"), Ok(Resource::Record("a".into(), RecordId(u64::MAX))));
        for path in ["/tables/a/", "/tables/a/-1", "/tables/a/+1", "/tables/a/1.0", "/tables/a/18446744073709551616"] {
            assert_eq!(at(path), Err(StatusCode::BAD_REQUEST), "{path}");
        }
    }

    #[test]
    fn a_reply_is_bare_unless_a_message_is_asked_for() {
        assert_eq!(at("/query"), Ok(Resource::Query(Style::Bare)));
        assert_eq!(at("/query?a=b&reply=message"), Ok(Resource::Query(Style::Message)));
        assert_eq!(at("/query?reply=xml"), Err(StatusCode::BAD_REQUEST));
    }
}
