//! Records of a table on their way out, in the order of a scan: as JSON, CSV or an aligned table.
//!
//! JSON is the library's own. The other two read packed records, many at a time.

use super::args::Format;
use super::failure::{Failure, Result};
use super::sheet::{Heading, Sheet};
use super::unpack::{is_numeric, unpack};
use diamonddb::{Cursor, JsonStyle, Layout, RecordId, RecordMut, RecordsMut, ScanRange, Table};
use std::io::Write;

/// How many records are read at a time, if they are not large.
const CHUNK_COUNT: usize = 1_024;
/// About how much memory they may take.
const CHUNK_SIZE: usize = 1 << 20;

/// How records are written.
pub struct Style<'a> {
    /// The form.
    pub format: Format,
    /// Each record's id goes first.
    pub with_ids: bool,
    /// What stands for null in CSV.
    pub null: &'a str,
    /// What stands between two fields of CSV.
    pub delimiter: u8,
}

impl Style<'_> {
    /// As records are printed for someone to see.
    pub fn shown(format: Format) -> Style<'static> {
        Style { format, with_ids: true, null: "", delimiter: b',' }
    }
}

/// Texts that were written and that import would read as null.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lookalikes {
    /// Values that read exactly as null was written.
    pub null: u64,
    /// Values that read NA, which import takes for null by default.
    pub not_available: u64,
}

/// Writes at most `limit` records of `range`, and reports after each chunk how many there are so far.
pub fn write_records(
    table: &Table,
    range: ScanRange,
    limit: u64,
    style: &Style<'_>,
    out: &mut dyn Write,
    mut reached: impl FnMut(u64),
) -> Result<Lookalikes> {
    if style.format == Format::Json {
        write_json(table, range, limit, style.with_ids, out, reached)?;
        return Ok(Lookalikes::default());
    }
    let layout = table.layout();
    let mut cursor = table.scan(range)?;
    let mut sheet = sheet(layout, style, out)?;
    let mut chunk = Chunk::new(layout, limit);
    let mut lookalikes = Lookalikes::default();
    let mut count = 0;
    while count < limit {
        // At most CHUNK_COUNT, so it fits.
        let wanted = (limit - count).min(chunk.ids.len() as u64) as usize;
        let found = chunk.fill(&mut cursor, wanted)?;
        if found == 0 {
            break;
        }
        for index in 0..found {
            let texts = chunk.texts(layout, index);
            lookalikes.count(&texts, style.null);
            sheet.row(with_id(style, chunk.ids[index], texts))?;
        }
        count += found as u64;
        reached(count);
    }
    sheet.finish()?;
    Ok(lookalikes)
}

/// Writes the one record `id`.
pub fn write_record(table: &Table, id: RecordId, style: &Style<'_>, out: &mut dyn Write) -> Result<()> {
    if style.format == Format::Json {
        return writeln!(out, "{}", record_json(table, id)?).map_err(|error| Failure::output(&error));
    }
    let layout = table.layout();
    let mut chunk = Chunk::new(layout, 1);
    table.fetch(id, RecordMut { bytes: &mut chunk.bytes, nulls: Some(&mut chunk.nulls) })?;
    let mut sheet = sheet(layout, style, out)?;
    sheet.row(with_id(style, id, chunk.texts(layout, 0)))?;
    sheet.finish()
}

/// The record `id` as a JSON object, its id first.
pub fn record_json(table: &Table, id: RecordId) -> diamonddb::Result<String> {
    let json = table.fetch_json(id, JsonStyle::default())?;
    Ok(json_with_id(&json, &id_name(table.layout(), "_id"), id))
}

fn write_json(
    table: &Table,
    range: ScanRange,
    limit: u64,
    with_ids: bool,
    out: &mut dyn Write,
    mut reached: impl FnMut(u64),
) -> Result<()> {
    let key = id_name(table.layout(), "_id");
    let mut cursor = table.scan(range)?;
    let mut count = 0;
    while count < limit {
        let Some((id, json)) = cursor.next_json(JsonStyle::default())? else { break };
        let written = match with_ids {
            true => writeln!(out, "{}", json_with_id(&json, &key, id)),
            false => writeln!(out, "{json}"),
        };
        written.map_err(|error| Failure::output(&error))?;
        count += 1;
        if count % CHUNK_COUNT as u64 == 0 {
            reached(count);
        }
    }
    out.flush().map_err(|error| Failure::output(&error))
}

/// The object with the id as its first member.
fn json_with_id(object: &str, key: &str, id: RecordId) -> String {
    let members = object.trim_start().strip_prefix('{').unwrap_or(object).trim_start();
    let comma = if members.starts_with('}') { "" } else { "," };
    format!("{{\"{key}\":{}{comma}{members}", id.0)
}

/// What the id is called: a field of the same name keeps it, and the id gets an underscore more.
fn id_name(layout: &Layout, wish: &str) -> String {
    let mut name = wish.to_owned();
    while layout.fields.iter().any(|field| field.name == name) {
        name.insert(0, '_');
    }
    name
}

fn sheet<'a>(layout: &Layout, style: &Style<'_>, out: &'a mut dyn Write) -> Result<Sheet<&'a mut dyn Write>> {
    let id = style.with_ids.then(|| Heading::number(id_name(layout, "id")));
    let fields = layout.fields.iter();
    let fields = fields.map(|field| Heading { name: field.name.clone(), numeric: is_numeric(field.kind) });
    let headings: Vec<_> = id.into_iter().chain(fields).collect();
    match style.format {
        Format::Table => Ok(Sheet::aligned(out, headings)),
        Format::Csv | Format::Json => Sheet::csv(out, &headings, style.delimiter, style.null),
    }
}

fn with_id(style: &Style<'_>, id: RecordId, mut texts: Vec<Option<String>>) -> Vec<Option<String>> {
    if style.with_ids {
        texts.insert(0, Some(id.0.to_string()));
    }
    texts
}

impl Lookalikes {
    fn count(&mut self, texts: &[Option<String>], null: &str) {
        for text in texts.iter().flatten() {
            self.null += u64::from(text == null);
            self.not_available += u64::from(text == "NA");
        }
    }

    /// What is worth saying about a file that import would not read back as it was, left to itself.
    pub fn note(&self, null: &str) -> Option<String> {
        match self {
            Lookalikes { null: count @ 1.., .. } => {
                Some(format!("{count} values read {null:?}, as null does here, and import would take them for null."))
            }
            _ if !matches!(null, "" | "NA") => Some(format!("Null is written as {null:?}; tell import by --null.")),
            Lookalikes { not_available: count @ 1.., .. } => {
                Some(format!("{count} values read \"NA\", which import takes for null unless told --null {null:?}."))
            }
            _ => None,
        }
    }
}

/// Room for some packed records.
struct Chunk {
    ids: Vec<RecordId>,
    bytes: Vec<u8>,
    nulls: Vec<u8>,
    record_size: usize,
    nulls_size: usize,
}

impl Chunk {
    fn new(layout: &Layout, limit: u64) -> Chunk {
        let record_size = layout.record_size;
        let nulls_size = layout.fields.len().div_ceil(8);
        let most = (CHUNK_SIZE / record_size.max(1)).clamp(1, CHUNK_COUNT);
        let count = usize::try_from(limit).map_or(most, |limit| limit.clamp(1, most));
        Chunk {
            ids: vec![RecordId(0); count],
            bytes: vec![0; count * record_size],
            nulls: vec![0; count * nulls_size],
            record_size,
            nulls_size,
        }
    }

    /// Reads up to `count` records; how many there were.
    fn fill(&mut self, cursor: &mut Cursor, count: usize) -> Result<usize> {
        let records = RecordsMut {
            bytes: &mut self.bytes,
            stride: self.record_size,
            nulls: Some(&mut self.nulls),
            null_stride: self.nulls_size,
        };
        Ok(cursor.next_many(&mut self.ids[..count], records)?)
    }

    fn texts(&self, layout: &Layout, index: usize) -> Vec<Option<String>> {
        let record = &self.bytes[index * self.record_size..][..self.record_size];
        let nulls = &self.nulls[index * self.nulls_size..][..self.nulls_size];
        unpack(layout, record, nulls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_the_first_member_of_an_object() {
        assert_eq!(json_with_id(r#"{"a":1}"#, "_id", RecordId(7)), r#"{"_id":7,"a":1}"#);
        assert_eq!(json_with_id("{}", "_id", RecordId(7)), r#"{"_id":7}"#);
        assert_eq!(json_with_id(r#"{ "a": {} }"#, "_id", RecordId(7)), r#"{"_id":7,"a": {} }"#);
    }
}
