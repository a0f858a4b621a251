//! What the tests of damage share: databases of several shapes, the faults that strike them, and a reading of all that
//! can still be read.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of this one")]

mod fault;
mod shape;

use std::collections::BTreeMap;

use diamonddb::{Database, Error, JsonStyle, RecordId, RecordMut, ScanRange};

pub use fault::Fault;
pub use shape::{Shape, options, shapes};

const CORRUPT: i32 = 501;
const IO: i32 = 500;
const NOT_FOUND: i32 = 200;

/// What a database holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    pub tables: BTreeMap<String, TableModel>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableModel {
    pub schema: String,
    pub next_id: u64,
    pub records: BTreeMap<u64, String>,
}

impl Model {
    /// Reads a sound database.
    pub fn of(db: &Database) -> Model {
        let reading = Reading::of(db);
        assert_eq!(reading.findings, Ok(0), "a sound database has no findings");
        let tables = reading.tables.into_iter().map(|(name, table)| {
            let records = table.fetched.into_iter().enumerate().filter_map(|(id, record)| match record {
                Ok(json) => Some((id as u64, json)),
                Err(error) if error.status() == NOT_FOUND => None,
                Err(error) => panic!("record {id} of {name}: {error:?}"),
            });
            let records = records.collect();
            (name, TableModel { schema: table.schema, next_id: table.next_id, records })
        });
        Model { tables: tables.collect() }
    }
}

/// Everything that a database answers when it is asked for all it has.
pub struct Reading {
    pub tables: BTreeMap<String, TableReading>,
    /// How much `verify` found; or why it could not go on.
    pub findings: Result<usize, Error>,
}

pub struct TableReading {
    schema: String,
    next_id: u64,
    count: u64,
    fetched: Vec<Result<String, Error>>,
    /// Packed reads that did not answer as the others did.
    differs: Option<String>,
    /// What scans gave before they ended or failed.
    scans: Vec<ScanReading>,
}

/// What a scan gave, and the error that ended it, if one did.
type ScanReading = (Vec<(u64, String)>, Option<Error>);

impl Reading {
    pub fn of(db: &Database) -> Reading {
        let mut tables = BTreeMap::new();
        for info in db.tables().expect("tables are listed from memory") {
            let table = db.table(&info.name).expect("a listed table opens");
            let mut packed = vec![0; table.layout().record_size];
            let (mut fetched, mut differs) = (Vec::new(), None);
            for id in 0..info.next_id {
                let json = table.fetch_json(RecordId(id), JsonStyle::default());
                let plain = table.fetch(RecordId(id), RecordMut { bytes: &mut packed, nulls: None });
                let status = |error: Option<&Error>| error.map_or(0, Error::status);
                if status(plain.as_ref().err()) != status(json.as_ref().err()) {
                    differs = Some(format!("record {id}: {plain:?} packed, {json:?} as JSON"));
                }
                fetched.push(json);
            }
            let mut scans = Vec::new();
            for reverse in [false, true] {
                let mut found = Vec::new();
                let mut cursor = table.scan(ScanRange { reverse, ..ScanRange::default() }).expect("a scan begins");
                let error = loop {
                    match cursor.next_json(JsonStyle::default()) {
                        Ok(Some((id, json))) => found.push((id.0, json)),
                        Ok(None) => break None,
                        Err(error) => break Some(error),
                    }
                };
                scans.push((found, error));
            }
            let schema = table.schema().to_json();
            let reading = TableReading { schema, next_id: info.next_id, count: info.count, fetched, differs, scans };
            tables.insert(info.name, reading);
        }
        Reading { tables, findings: db.verify().map(|report| report.findings.len()) }
    }

    /// True if nothing was reported.
    pub fn is_whole(&self) -> bool {
        let has_error = |table: &TableReading| {
            table.scans.iter().any(|(_, error)| error.is_some())
                || table.fetched.iter().any(|record| matches!(record, Err(error) if error.status() != NOT_FOUND))
        };
        self.findings == Ok(0) && !self.tables.values().any(has_error)
    }

    /// Every answer is the model's, or says that it is damaged; and if no answer does, so does `verify` not.
    pub fn agrees_with(&self, model: &Model) -> Result<(), String> {
        if !self.tables.keys().eq(model.tables.keys()) {
            return Err(format!("the tables are {:?}, not {:?}", self.tables.keys(), model.tables.keys()));
        }
        for (name, expected) in &model.tables {
            self.tables[name].agrees_with(expected).map_err(|what| format!("table {name}: {what}"))?;
        }
        match &self.findings {
            Ok(0) if !self.is_whole() => Err("reading fails, and verify finds nothing".into()),
            Err(error) if !is_damage(error) => Err(format!("verify says {error:?}")),
            _ => Ok(()),
        }
    }
}

impl TableReading {
    fn agrees_with(&self, expected: &TableModel) -> Result<(), String> {
        if (&self.schema, self.next_id) != (&expected.schema, expected.next_id) {
            let (schema, next) = (&expected.schema, expected.next_id);
            return Err(format!("{} with next id {}, not {schema} with {next}", self.schema, self.next_id));
        }
        if self.count != expected.records.len() as u64 {
            return Err(format!("it counts {} records", self.count));
        }
        for (id, found) in self.fetched.iter().enumerate() {
            let right = match (found, expected.records.get(&(id as u64))) {
                (Ok(json), Some(record)) => json == record,
                (Err(error), None) if error.status() == NOT_FOUND => true,
                (Err(error), _) => is_damage(error),
                (Ok(_), None) => false,
            };
            if !right {
                return Err(format!("record {id} is {found:?}, not {:?}", expected.records.get(&(id as u64))));
            }
        }
        if let Some(differs) = &self.differs {
            return Err(differs.clone());
        }
        for (number, (found, error)) in self.scans.iter().enumerate() {
            let mut all: Vec<_> = expected.records.iter().map(|(id, json)| (*id, json.clone())).collect();
            if number == 1 {
                all.reverse();
            }
            let is_right = match error {
                None => *found == all,
                Some(error) => is_damage(error) && all.starts_with(found),
            };
            if !is_right {
                return Err(format!("scan {number} gives {found:?} and {error:?}"));
            }
        }
        Ok(())
    }
}

/// True if an error says that something is damaged.
pub fn is_damage(error: &Error) -> bool {
    [CORRUPT, IO].contains(&error.status())
}
