//! Reads a whole database through its public face, into a model.

use std::sync::Arc;

use diamonddb::{Database, Error, JsonStyle, RecordId, RecordMut, ScanRange};

use super::model::{Kind, Model, NOT_FOUND, OUT_OF_RANGE, TableModel};

/// Everything that a database holds, with its own counts compared.
pub fn read(db: &Database) -> Result<Model, Error> {
    let wrong = |what: String| Error::Panic(what.into());
    let mut model = Model::default();
    for info in db.tables()? {
        let name = info.name;
        let table = db.table(&name)?;
        let kind = Kind::of(table.schema()).ok_or_else(|| wrong(format!("table {name} has a schema of nobody's")))?;
        let mut cursor = table.scan(ScanRange::default())?;
        let mut found = TableModel { kind, next_id: info.next_id, records: Default::default() };
        while let Some((id, json)) = cursor.next_json(JsonStyle::default())? {
            found.records.insert(id.0, json);
        }
        let (count, there) = (info.count, found.records.len());
        if count != there as u64 {
            return Err(wrong(format!("table {name} counts {count} records, and has {there}")));
        }
        model.tables.insert(name, Arc::new(found));
    }
    Ok(model)
}

/// Fetches every id of every table, in both forms, and verifies everything.
pub fn agree(db: &Database, model: &Model) -> Result<(), String> {
    for (name, expected) in &model.tables {
        let table = db.table(name).map_err(|error| format!("opening table {name}: {error}"))?;
        let mut packed = vec![0; table.layout().record_size];
        let mut null = [0];
        for id in 0..expected.next_id + 1 {
            let fetched = table.fetch_json(RecordId(id), JsonStyle::default());
            let record = RecordMut { bytes: &mut packed, nulls: Some(&mut null) };
            let plain = table.fetch(RecordId(id), record);
            let status = match (expected.records.get(&id), &fetched) {
                (Some(record), Ok(json)) if record == json => 0,
                (None, Err(_)) if id == expected.next_id => OUT_OF_RANGE,
                (None, Err(_)) => NOT_FOUND,
                (record, fetched) => return Err(format!("record {id} of {name} is {fetched:?}, not {record:?}")),
            };
            let status_of = |error: Option<&diamonddb::Error>| error.map_or(0, diamonddb::Error::status);
            if status_of(fetched.as_ref().err()) != status || status_of(plain.as_ref().err()) != status {
                return Err(format!("record {id} of {name}: {fetched:?} and {plain:?}, not status {status}"));
            }
        }
    }
    let report = db.verify().map_err(|error| format!("verify: {error}"))?;
    match report.findings.first() {
        None => Ok(()),
        Some(finding) => Err(format!("verify found in {}: {}", finding.file, finding.message)),
    }
}
