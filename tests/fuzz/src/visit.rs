//! What is done to every folder: it is opened, all of it is read, it is written, closed and opened again.

use std::collections::BTreeMap;
use std::sync::Arc;

use diamonddb::os::simulated::SimulatedDisk;
use diamonddb::{
    Database, Durability, Error, JsonStyle, OpenOptions, Record, RecordId, RecordMut, ScanRange, Schema, Table,
};

use crate::support::model::Model;
use crate::support::small_sizes;

/// Of so many ids of each table, from the first on, every one is fetched.
const FETCHED: u64 = 80;

const NOT_FOUND: i32 = 200;
const OUT_OF_RANGE: i32 = 201;
const IO: i32 = 500;
const CORRUPT: i32 = 501;
const POISONED: i32 = 502;
const FORMAT: i32 = 503;

/// A table as it was found: a record's JSON, or the status of what was said instead.
#[derive(Clone, Debug, PartialEq)]
struct Found {
    next_id: u64,
    records: BTreeMap<u64, Result<String, i32>>,
}

type Tables = BTreeMap<String, Found>;

/// A folder whose checksums may have been made to fit: whatever is found there is found again.
pub fn forged(disk: &Arc<SimulatedDisk>, read_only: bool) {
    visit(disk, read_only, None);
}

/// A folder with damage to which no checksum was made to fit: what is read is `CORRUPT`, or of one of these states.
pub fn damaged(disk: &Arc<SimulatedDisk>, read_only: bool, states: &[Model]) {
    visit(disk, read_only, Some(states));
}

fn visit(disk: &Arc<SimulatedDisk>, read_only: bool, states: Option<&[Model]>) {
    let seen = if read_only { look(disk, states) } else { None };
    let options = small_sizes(Durability::Sync);
    let Some(db) = opened(disk, &options) else { return };
    let found = read_all(&db);
    check_states(&found, states);
    if let Some(seen) = seen {
        check_same(&seen, &found, states, "who only looks sees what a writer sees");
    }
    let report = db.verify().map_err(refused).ok();
    let is_sound = report.is_some_and(|report| report.findings.is_empty());

    let mut expected = found.clone();
    let made = Schema::parse(r#"{"n": ["i64"]}"#).expect("a schema of ours");
    match db.make_table("made", &made) {
        Ok(_) => drop(expected.insert("made".to_owned(), Found { next_id: 0, records: BTreeMap::new() })),
        // A manifest may say that all numbers of files were given.
        Err(Error::TooLarge(_)) => {}
        Err(error) => drop(refused(error)),
    }
    for (name, found) in &mut expected {
        if let Ok(table) = db.table(name) {
            change(&table, found);
        }
    }
    check_same(&expected, &read_all(&db), states, "what was written is read back, and the rest is as it was");
    let written = [db.checkpoint(), db.close()].into_iter().all(|result| result.map_err(refused).is_ok());
    match opened(disk, &options) {
        Some(db) if written => {
            check_same(&expected, &read_all(&db), states, "what a clean close leaves is found again");
            assert!(!is_sound || db.verify().expect("it can be read").findings.is_empty(), "it is as sound as before");
        }
        Some(db) => {
            check_states(&read_all(&db), None);
        }
        None => assert!(!(written && is_sound), "what was sound and closed cleanly opens"),
    }
}

/// Opens it to read and reads it, which changes nothing.
fn look(disk: &Arc<SimulatedDisk>, states: Option<&[Model]>) -> Option<Tables> {
    let before = disk.fingerprint();
    let options = OpenOptions { read_only: true, ..small_sizes(Durability::Sync) };
    let found = opened(disk, &options).map(|db| read_all(&db));
    assert_eq!(before, disk.fingerprint(), "who only looks writes nothing");
    if let Some(found) = &found {
        check_states(found, states);
    }
    found
}

fn opened(disk: &Arc<SimulatedDisk>, options: &OpenOptions) -> Option<Database> {
    match Database::open_on(Arc::clone(disk) as _, options) {
        Ok(db) => Some(db),
        Err(error) => {
            refused(error);
            None
        }
    }
}

/// Promise 3.
fn refused(error: Error) -> i32 {
    sentence(&error);
    let status = error.status();
    assert!([NOT_FOUND, IO, CORRUPT, POISONED, FORMAT].contains(&status), "{status} is not for this: {error}");
    status
}

/// An error is a sentence: some words, on one line, not endless.
pub fn sentence(error: &Error) {
    let text = error.to_string();
    assert!(error.status() != 601, "{text}");
    assert!(text.contains(' ') && text.len() < 1000 && !text.contains('\n'), "this is no sentence: {text:?}");
}

fn read_all(db: &Database) -> Tables {
    let mut tables = Tables::new();
    for info in db.tables().expect("an open database lists its tables") {
        let found = match db.table(&info.name) {
            Ok(table) => read_table(&table, info.next_id),
            Err(error) => panic!("table {:?} is listed and cannot be opened: {error}", info.name),
        };
        tables.insert(info.name, found);
    }
    tables
}

fn read_table(table: &Table, next_id: u64) -> Found {
    let mut records = BTreeMap::new();
    let mut packed = vec![0; table.layout().record_size];
    let mut nulls = vec![0; table.layout().nulls_size];
    for id in (0..next_id.min(FETCHED)).chain(next_id.saturating_sub(2).max(FETCHED)..next_id.saturating_add(1)) {
        let json = table.fetch_json(RecordId(id), JsonStyle::default());
        let plain = table.fetch(RecordId(id), RecordMut { bytes: &mut packed, nulls: Some(&mut nulls) });
        let json = json.map_err(|error| {
            sentence(&error);
            error.status()
        });
        assert_eq!(plain.err().map(|error| error.status()), json.clone().err(), "both forms of record {id}");
        if let Err(status) = json {
            assert!([NOT_FOUND, OUT_OF_RANGE, CORRUPT].contains(&status), "{status} is not for a record");
            assert_eq!(status == OUT_OF_RANGE, id >= next_id, "record {id} of {next_id}");
        }
        records.insert(id, json);
    }
    records.remove(&next_id);
    scan(table, &records);
    Found { next_id, records }
}

/// A scan meets the records that were fetched, until it meets damage.
fn scan(table: &Table, records: &BTreeMap<u64, Result<String, i32>>) {
    let mut fetched = records.iter().filter(|(_, found)| !matches!(found, Err(NOT_FOUND)));
    let mut cursor = table.scan(ScanRange { to: FETCHED, ..ScanRange::default() }).expect("a scan begins");
    loop {
        match (cursor.next_json(JsonStyle::default()), fetched.next()) {
            (Ok(Some((id, json))), Some((expected, found))) => assert_eq!((&id.0, &Ok(json)), (expected, found)),
            (Ok(None), Some((id, _))) if *id >= FETCHED => return,
            (Ok(None), None) => return,
            (Err(error), Some((_, Err(status)))) => return assert_eq!(refused(error), *status),
            (scanned, fetched) => panic!("a scan gives {scanned:?}, a fetch {fetched:?}"),
        }
    }
}

/// Promise 4: there is one state with which all agree that could be read.
fn check_states(found: &Tables, states: Option<&[Model]>) {
    let Some(states) = states else { return };
    let is_so = |state: &Model| {
        state.tables.keys().eq(found.keys())
            && found.iter().all(|(name, found)| {
                state.tables[name].next_id == found.next_id
                    && found.records.iter().all(|(id, record)| agrees(state, name, *id, record))
            })
    };
    if !states.iter().any(is_so) {
        let last = states.last().expect("there is a first state");
        panic!("this was never so: {found:?}\nbut at last: {last:?}");
    }
}

/// True if a record is as it was in this state, or known to be lost.
fn agrees(state: &Model, name: &str, id: u64, found: &Result<String, i32>) -> bool {
    let once = state.tables.get(name).and_then(|table| table.records.get(&id));
    match found {
        Err(CORRUPT) => true,
        Ok(json) => once == Some(json),
        Err(_) => once.is_none(),
    }
}

/// What was lost may come back, if it is what once was there: a file that was cut grows again by zeros, and ended so.
fn check_same(expected: &Tables, found: &Tables, states: Option<&[Model]>, promise: &str) {
    assert!(expected.keys().eq(found.keys()), "{promise}: {:?}, not {:?}", found.keys(), expected.keys());
    for (name, expected) in expected {
        let found = &found[name];
        assert_eq!(expected.next_id, found.next_id, "{promise}: the next id of table {name:?}");
        for id in expected.records.keys().chain(found.records.keys()) {
            let (expected, found) = (expected.records.get(id), found.records.get(id));
            if let (Some(Err(CORRUPT)), Some(found)) = (expected, found) {
                let is_right = |states: &[Model]| states.iter().any(|state| agrees(state, name, *id, found));
                assert!(states.is_none_or(is_right), "{promise}: record {id} of table {name:?} was never {found:?}");
                continue;
            }
            assert_eq!(expected, found, "{promise}: record {id} of table {name:?}");
        }
    }
}

/// Saves, replaces and deletes a record of zeros, and notes what is to be found then. What is refused changes nothing.
fn change(table: &Table, found: &mut Found) {
    let bytes = vec![0; table.layout().record_size];
    let record = Record { bytes: &bytes, nulls: None };
    let count = table.count().expect("the count of an open table");
    let written = |result: Result<(), Error>| result.map_err(refused).is_ok();
    if let Ok(id) = table.save(record).map_err(refused) {
        assert_eq!(id.0, found.next_id, "ids are dense");
        let json = table.fetch_json(id, JsonStyle::default()).expect("what was saved is there");
        found.next_id += 1;
        found.records.insert(id.0, Ok(json));
        assert_eq!(table.count().expect("a count"), count + 1, "a save is counted");
    }
    let there = |found: &Found| found.records.iter().find(|(_, json)| json.is_ok()).map(|(id, _)| *id);
    if let Some(id) = there(found)
        && written(table.replace(RecordId(id), record))
    {
        found.records.insert(id, table.fetch_json(RecordId(id), JsonStyle::default()).map_err(refused));
        if written(table.delete(RecordId(id))) {
            found.records.insert(id, Err(NOT_FOUND));
        }
    }
    // Only the first and the last are kept in sight.
    let (first, last) = (FETCHED, found.next_id.saturating_sub(2));
    found.records.retain(|id, _| *id < first || *id >= last);
}
