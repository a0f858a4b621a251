//! The verbs that only look: get, scan, schema, tables, stats, verify.

use super::args::{DatabaseArguments, Format, GetArguments, ScanArguments, SchemaArguments, TablesArguments};
use super::failure::{Code, Failure, Result};
use super::open::open_to_read;
use super::records::{Style, write_record, write_records};
use super::sheet::{Heading, Sheet};
use diamonddb::{Layout, RecordId, ScanRange, TableInfo};
use serde_json::{Value, json};
use std::io::{self, BufWriter, StdoutLock, Write};

/// Prints one record.
pub fn get(arguments: &GetArguments) -> Result<()> {
    let database = open_to_read(&arguments.place.database)?;
    let table = database.table(&arguments.place.table)?;
    let mut out = results();
    write_record(&table, RecordId(arguments.id), &Style::shown(arguments.format), &mut out)?;
    flush(out)
}

/// Prints records in the order of their ids.
pub fn scan(arguments: &ScanArguments) -> Result<()> {
    let database = open_to_read(&arguments.place.database)?;
    let table = database.table(&arguments.place.table)?;
    let range = ScanRange { from: arguments.from, to: arguments.to, reverse: arguments.reverse };
    let mut out = results();
    write_records(&table, range, arguments.limit, &Style::shown(arguments.format), &mut out, |_| ())?;
    flush(out)
}

/// Prints a schema, or where each field lies.
pub fn schema(arguments: &SchemaArguments) -> Result<()> {
    let database = open_to_read(&arguments.place.database)?;
    let table = database.table(&arguments.place.table)?;
    match arguments.layout {
        true => print_layout(table.layout()),
        false => print(&table.schema().to_json()),
    }
}

/// Lists the tables.
pub fn tables(arguments: &TablesArguments) -> Result<()> {
    let tables = open_to_read(&arguments.database)?.tables()?;
    let headings = || {
        let numbers = ["records", "next_id", "record_size"].map(Heading::number);
        std::iter::once(Heading::text("name")).chain(numbers).collect::<Vec<_>>()
    };
    let sheet = match arguments.format {
        Format::Json => return tables.iter().try_for_each(|table| print(&table_json(table).to_string())),
        Format::Csv => Sheet::csv(results(), &headings(), b',', "")?,
        Format::Table => Sheet::aligned(results(), headings()),
    };
    print_sheet(sheet, tables.iter().map(table_texts))
}

/// Prints what the database says about itself.
pub fn stats(arguments: &DatabaseArguments) -> Result<()> {
    let json = open_to_read(&arguments.database)?.stats_json()?;
    match serde_json::from_str::<Value>(&json) {
        Ok(statistics) => print(&format!("{statistics:#}")),
        // Better plain than not at all.
        Err(_) => print(&json),
    }
}

/// Reads everything, and prints what is wrong with it. Damage has an exit code of its own.
pub fn verify(arguments: &DatabaseArguments) -> Result<()> {
    let report = open_to_read(&arguments.database)?.verify()?;
    let (tables, pages, records, findings) = (report.tables, report.pages, report.records, report.findings.len());
    let mut out = results();
    let written = report.findings.iter().try_for_each(|finding| writeln!(out, "{}: {}", finding.file, finding.message));
    written
        .and_then(|()| writeln!(out, "tables {tables}, pages {pages}, records {records}, findings {findings}"))
        .map_err(|error| Failure::output(&error))?;
    flush(out)?;
    if findings == 0 {
        return Ok(());
    }
    let message = format!("{} is damaged; findings: {findings}.", arguments.database.display());
    Err(Failure::new(Code::Damage, message))
}

fn table_texts(table: &TableInfo) -> Vec<Option<String>> {
    let numbers = [table.count, table.next_id, table.record_size].map(|number| Some(number.to_string()));
    std::iter::once(Some(table.name.clone())).chain(numbers).collect()
}

/// What a list of tables says of each, as JSON.
pub fn table_json(table: &TableInfo) -> Value {
    json!({
        "name": table.name,
        "records": table.count,
        "next_id": table.next_id,
        "record_size": table.record_size,
    })
}

fn print_layout(layout: &Layout) -> Result<()> {
    let headings = vec![
        Heading::number("offset"),
        Heading::number("size"),
        Heading::text("type"),
        Heading::text("required"),
        Heading::text("name"),
    ];
    let field_texts = layout.fields.iter().map(|field| {
        let (kind, required) = (format!("{:?}", field.kind).to_lowercase(), if field.required { "yes" } else { "no" });
        let texts = [field.offset.to_string(), field.size.to_string(), kind, required.into(), field.name.clone()];
        texts.map(Some).to_vec()
    });
    print_sheet(Sheet::aligned(results(), headings), field_texts)?;
    let (record_size, alignment, slot_size) = (layout.record_size, layout.alignment, layout.slot_size);
    print(&format!("record size {record_size}, alignment {alignment}, slot size {slot_size}"))
}

fn print_sheet<W: Write>(mut sheet: Sheet<W>, rows: impl Iterator<Item = Vec<Option<String>>>) -> Result<()> {
    for texts in rows {
        sheet.row(texts)?;
    }
    sheet.finish()
}

fn print(line: &str) -> Result<()> {
    let mut out = results();
    writeln!(out, "{line}").map_err(|error| Failure::output(&error))?;
    flush(out)
}

/// Standard output, for many small writes.
pub fn results() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

fn flush(mut out: impl Write) -> Result<()> {
    out.flush().map_err(|error| Failure::output(&error))
}
