//! What snapshots and pins promise: one moment of the database, whatever is written, checkpointed, renamed or dropped
//! meanwhile; memory that is counted, shown and given back; and pages that were verified before a pin shows them.
//!
//! `DIAMOND_SEED` is the first seed of the random runs, `DIAMOND_RUNS` how many there are, and `DIAMOND_STEPS` how many
//! steps each has.

mod kit;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use diamonddb::{
    Database, Error, JsonStyle, OpenOptions, Pin, RecordId, RecordMut, RecordsMut, ScanRange, Snapshot, Table,
};
use kit::{
    Folder, assert_error, database, fetch, figure, json, many, numbers, packed, quick, replace, save, save_many,
};
use kit::{scanned, scanned_range, schema, small_sizes};

/// Real files, small pages, and checkpoints only where the test makes one.
fn small_options() -> OpenOptions {
    OpenOptions { dirty_soft: 1 << 20, dirty_hard: 4 << 20, no_threads: true, sizes: small_sizes(), ..quick() }
}

fn small_database() -> (Folder, Database) {
    let folder = Folder::new();
    let db = Database::open(folder.path(), &small_options()).unwrap();
    (folder, db)
}

/// The records of a pin of a table of numbers, by id.
fn pinned(pin: &Pin) -> Vec<(u64, i64)> {
    let live = (0..pin.slot_count()).filter_map(|id| match pin.record(RecordId(id)) {
        Ok(record) => Some((id, i64::from_le_bytes(record.bytes[..8].try_into().unwrap()))),
        Err(Error::NotFound(_)) => None,
        Err(other) => panic!("record {id}: {other:?}"),
    });
    live.collect()
}

fn ids_and_values(values: impl IntoIterator<Item = i64>) -> Vec<(u64, i64)> {
    (0..).zip(values).collect()
}

#[test]
fn every_verb_that_reads_answers_as_of_the_snapshot() {
    let (_folder, db) = small_database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..500).unwrap();
    table.delete(RecordId(7)).unwrap();
    let snapshot = db.snapshot().unwrap();
    let then = snapshot.table("numbers").unwrap();

    // Changes, deletions of whole pages, single and bulk appends, each before and after a checkpoint.
    for round in 0..2 {
        for id in (0..400).filter(|id| *id != 7 && *id % 3 == round % 2) {
            replace(&table, RecordId(id), -1).unwrap();
        }
        table.delete_many(&(400 + 50 * round..450 + 50 * round).map(RecordId).collect::<Vec<_>>()).unwrap();
        save(&table, 1).unwrap();
        save_many(&table, 0..3000).unwrap();
        db.checkpoint().unwrap();
    }

    let expected: Vec<(u64, i64)> = ids_and_values(0..500).into_iter().filter(|(id, _)| *id != 7).collect();
    assert_eq!((then.name().as_str(), then.count().unwrap(), then.next_id().unwrap()), ("numbers", 499, RecordId(500)));
    assert_eq!(then.schema(), table.schema());
    assert_eq!(then.layout(), table.layout());
    assert_eq!(scanned(&then).unwrap(), expected);
    let backwards = scanned_range(&then, ScanRange { from: 5, to: 9, reverse: true }).unwrap();
    assert_eq!(backwards, [(8, 8), (6, 6), (5, 5)]);
    for (id, value) in &expected {
        assert_eq!(fetch(&then, RecordId(*id)).unwrap(), *value);
        assert_eq!(json(&then, RecordId(*id)).unwrap(), format!(r#"{{"value":{value}}}"#));
    }
    let (mut nulls, mut bytes) = ([9], [0; 8]);
    then.fetch(RecordId(400), RecordMut { bytes: &mut bytes, nulls: Some(&mut nulls) }).unwrap();
    assert_eq!((i64::from_le_bytes(bytes), nulls), (400, [0]));
    assert_error(fetch(&then, RecordId(7)), Error::NotFound, &["7", "numbers", "deleted"]);
    assert_error(fetch(&then, RecordId(500)), Error::OutOfRange, &["500", "numbers", "499"]);
    let ids = [6, 7, 450, 500].map(RecordId);
    let (mut records, mut statuses) = ([0; 32], [0; 4]);
    let places = RecordsMut { bytes: &mut records, stride: 8, nulls: None, null_stride: 0 };
    assert_error(then.fetch_many(&ids, places, Some(&mut statuses)), Error::NotFound, &["7"]);
    assert_eq!(statuses, [0, 200, 0, 201]);
    assert_eq!(records[16..24], 450_i64.to_le_bytes());
    let (text, first) = then.fetch_many_json(&ids[..2], JsonStyle::default(), None);
    assert_eq!(text, r#"[{"value":6},null]"#);
    assert_error(first, Error::NotFound, &["7"]);
    assert_eq!(pinned(&then.pin().unwrap()), expected);

    // And the table itself answers as of now.
    assert_eq!(table.next_id().unwrap(), RecordId(500 + 2 * 3001));
    assert_eq!(fetch(&table, RecordId(3)).unwrap(), -1);
}

#[test]
fn names_are_those_of_the_snapshot() {
    let (_folder, db) = small_database();
    for name in ["kept", "renamed", "dropped"] {
        save(&numbers(&db, name), 1).unwrap();
    }
    let snapshot = db.snapshot().unwrap();
    let (renamed, dropped) = (snapshot.table("renamed").unwrap(), snapshot.table("dropped").unwrap());
    db.rename_table("renamed", "other").unwrap();
    db.drop_table("dropped").unwrap();
    save(&numbers(&db, "made"), 2).unwrap();
    save(&numbers(&db, "dropped"), 3).unwrap();
    db.rename_table("kept", "renamed").unwrap();
    db.checkpoint().unwrap();

    assert_eq!(renamed.name(), "renamed");
    for name in ["kept", "renamed"] {
        let table = snapshot.table(name).unwrap();
        assert_eq!((table.name().as_str(), scanned(&table).unwrap()), (name, vec![(0, 1)]));
    }
    for name in ["other", "made", "nowhere"] {
        assert_error(snapshot.table(name).map(|_| ()), Error::NotFound, &[name, "when the snapshot was taken"]);
    }
    assert_error(snapshot.table("").map(|_| ()), Error::Invalid, &["name"]);
    // Its pages are gone, whatever bears the name now.
    let words = ["table dropped", "dropped since the snapshot", "pages are gone"];
    assert_error(snapshot.table("dropped").map(|_| ()), Error::NotFound, &words);
    assert_error(fetch(&dropped, RecordId(0)), Error::NotFound, &words);
    assert_error(dropped.count(), Error::NotFound, &words);
    assert_error(dropped.scan(ScanRange::default()).map(|_| ()), Error::NotFound, &words);
    assert_error(dropped.pin().map(|_| ()), Error::NotFound, &words);
    let now = db.snapshot().unwrap();
    assert_eq!(scanned(&now.table("dropped").unwrap()).unwrap(), [(0, 3)]);
    assert_eq!(scanned(&now.table("other").unwrap()).unwrap(), [(0, 1)]);
}

#[test]
fn every_verb_that_writes_refuses_a_table_of_a_snapshot() {
    let (_folder, db) = database();
    save(&numbers(&db, "numbers"), 5).unwrap();
    let snapshot = db.snapshot().unwrap();
    let table = snapshot.table("numbers").unwrap();
    let (id, text, bytes) = (RecordId(0), r#"{"value": 6}"#, 6_i64.to_le_bytes());
    let record = packed(&bytes);
    let mut batch = db.batch().unwrap();
    let refusals = [
        table.save(record).map(|_| ()),
        table.save_many(many(&bytes)).map(|_| ()),
        table.save_many(many(&[])).map(|_| ()),
        table.save_json(text).map(|_| ()),
        table.save_many_json("[]").map(|_| ()),
        table.replace(id, record),
        table.replace_if(id, record, record),
        table.replace_many(&[id, id], many(&bytes)),
        table.replace_json(id, text),
        table.replace_if_json(id, text, text),
        table.replace_many_json(&[id, id], "[]"),
        table.delete(id),
        table.delete_if(id, record),
        table.delete_many(&[]),
        batch.save(&table, record),
        batch.save_json(&table, text),
        batch.replace(&table, id, record),
        batch.replace_json(&table, id, text),
        batch.delete(&table, id),
        batch.expect(&table, id, record),
        batch.expect_json(&table, id, text),
    ];
    for refusal in refusals {
        assert_error(refusal, Error::Unsupported, &["table numbers of a snapshot", "only read"]);
    }
    assert!(batch.is_empty());
    assert_eq!(fetch(&table, id).unwrap(), 5);
}

#[test]
fn a_snapshot_costs_memory_that_is_shown_until_it_and_its_tables_are_closed() {
    let (_folder, db) = small_database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..500).unwrap();
    assert_eq!((figure(&db, "snapshots"), figure(&db, "old_image_bytes")), (0, 0));
    let stats =
        |name: &str| serde_json::from_str::<serde_json::Value>(&db.stats_json().unwrap()).unwrap()[name].clone();
    assert!(stats("oldest_snapshot_lsn").is_null());
    assert!(stats("oldest_snapshot_age_ms").is_null());

    let snapshot = db.snapshot().unwrap();
    let lsn = snapshot.lsn();
    let then = snapshot.table("numbers").unwrap();
    save(&table, 1).unwrap();
    let later = db.snapshot().unwrap();
    assert!(later.lsn() > lsn);
    assert_eq!((figure(&db, "snapshots"), figure(&db, "oldest_snapshot_lsn")), (2, lsn.0));
    assert!(stats("oldest_snapshot_age_ms").is_u64());
    (0..500).for_each(|id| replace(&table, RecordId(id), -1).unwrap());
    db.checkpoint().unwrap();
    let kept = figure(&db, "old_image_bytes");
    assert!(kept >= 4000, "{kept} bytes are kept");

    drop(later);
    // The table holds the moment, though the snapshot is closed.
    drop(snapshot);
    assert_eq!((figure(&db, "snapshots"), figure(&db, "oldest_snapshot_lsn")), (1, lsn.0));
    assert_eq!(scanned(&then).unwrap(), ids_and_values(0..500));
    let mut cursor = then.scan(ScanRange::default()).unwrap();
    drop(then);
    let mut bytes = [0; 8];
    assert_eq!(cursor.next(RecordMut { bytes: &mut bytes, nulls: None }).unwrap(), Some(RecordId(0)));
    assert_eq!(figure(&db, "snapshots"), 1, "a scan of a snapshot's table draws no cut of its own");
    drop(cursor);
    assert_eq!((figure(&db, "snapshots"), figure(&db, "old_image_bytes")), (0, 0));
}

#[test]
fn what_hangs_on_a_snapshot_answers_closed_once_the_database_is_closed() {
    let (folder, db) = database();
    save(&numbers(&db, "numbers"), 5).unwrap();
    let snapshot = db.snapshot().unwrap();
    let table = snapshot.table("numbers").unwrap();
    db.close().unwrap();
    assert_error(snapshot.table("numbers").map(|_| ()), Error::Closed, &["closed"]);
    assert_error(fetch(&table, RecordId(0)), Error::Closed, &["closed"]);
    assert_error(table.pin().map(|_| ()), Error::Closed, &["closed"]);
    // Neither keeps the folder from being opened with other options.
    let options = OpenOptions { no_threads: true, must_exist: true, ..quick() };
    Database::open(folder.path(), &options).unwrap().close().unwrap();
}

#[test]
fn a_pin_stands_still_while_its_table_is_written_and_dropped() {
    let (_folder, db) = small_database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..3000).unwrap();
    table.delete(RecordId(9)).unwrap();
    let first = table.pin().unwrap();
    let expected: Vec<(u64, i64)> = ids_and_values(0..3000).into_iter().filter(|(id, _)| *id != 9).collect();
    assert_eq!(pinned(&first), expected);
    let mapped = figure(&db, "pin_bytes_mapped");
    assert!(mapped >= 3000 * 16, "{mapped} bytes are mapped");
    assert_eq!((figure(&db, "pins"), figure(&db, "pin_bytes_kept")), (1, 0));

    // Some pages change; others become holes.
    (0..900).filter(|id| *id != 9).for_each(|id| replace(&table, RecordId(id), -1).unwrap());
    table.delete_many(&(1000..1800).map(RecordId).collect::<Vec<_>>()).unwrap();
    assert_eq!(pinned(&first), expected, "before a checkpoint");
    db.checkpoint().unwrap();
    assert_eq!(pinned(&first), expected, "after one");
    let kept = figure(&db, "pin_bytes_kept");
    assert!((1700 * 16..3000 * 16).contains(&kept), "{kept} bytes are kept");

    // A second pin has its own moment, and what one keeps costs the other nothing.
    let second = table.pin().unwrap();
    let later = scanned(&table).unwrap();
    assert_eq!(pinned(&second), later);
    assert_eq!((figure(&db, "pins"), figure(&db, "pin_bytes_kept")), (2, kept));
    (2000..3000).for_each(|id| replace(&table, RecordId(id), -2).unwrap());
    save_many(&table, 0..5000).unwrap();
    db.checkpoint().unwrap();
    db.drop_table("numbers").unwrap();
    db.checkpoint().unwrap();
    save_many(&numbers(&db, "numbers"), 5..5000).unwrap();
    db.checkpoint().unwrap();
    assert_eq!(pinned(&first), expected);
    assert_eq!(pinned(&second), later);

    assert_error(first.record(RecordId(9)).map(|_| ()), Error::NotFound, &["9", "numbers"]);
    assert_error(first.record(RecordId(3000)).map(|_| ()), Error::OutOfRange, &["3000", "numbers"]);
    assert_eq!(first.slots().unwrap().len(), 3000 * first.layout().slot_size);
    first.close().unwrap();
    second.close().unwrap();
    assert_eq!((figure(&db, "pins"), figure(&db, "pin_bytes_kept"), figure(&db, "pin_bytes_mapped")), (0, 0, 0));
}

#[test]
fn a_pin_of_a_snapshots_table_is_as_of_the_snapshot() {
    let (_folder, db) = small_database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..300).unwrap();
    let snapshot = db.snapshot().unwrap();
    (0..300).for_each(|id| replace(&table, RecordId(id), -1).unwrap());
    save_many(&table, 300..2000).unwrap();
    db.checkpoint().unwrap();
    (100..200).for_each(|id| replace(&table, RecordId(id), -2).unwrap());

    let pin = snapshot.table("numbers").unwrap().pin().unwrap();
    drop(snapshot);
    assert_eq!(figure(&db, "snapshots"), 0, "the pin needs no cut once it is made");
    assert_eq!(figure(&db, "old_image_bytes"), 0);
    assert!(figure(&db, "pin_bytes_kept") >= 300 * 16, "the old images were laid");
    (0..300).for_each(|id| replace(&table, RecordId(id), -3).unwrap());
    db.checkpoint().unwrap();
    assert_eq!(pinned(&pin), ids_and_values(0..300));
}

#[test]
fn pins_show_nulls_and_the_records_of_every_layout() {
    let (_folder, db) = small_database();
    // State and nulls in the tail padding, and behind the record.
    for json in [r#"{"value": ["i64"], "flag": ["bool"]}"#, r#"{"flag": ["bool"], "value": ["i64"]}"#] {
        let name = &json[2..6];
        let table = db.make_table(name, &schema(json)).unwrap();
        table.save_json(r#"{"value": 5}"#).unwrap();
        table.save_json(r#"{"flag": true}"#).unwrap();
        let pin = table.pin().unwrap();
        let layout = pin.layout();
        let field = |name: &str| layout.fields.iter().position(|field| field.name == name).unwrap();
        let (value, flag) = (field("value"), field("flag"));
        for (id, null, there) in [(0, flag, 5_i64), (1, value, 0)] {
            let record = pin.record(RecordId(id)).unwrap();
            let offset = layout.fields[value].offset;
            assert_eq!(record.bytes[offset..offset + 8], there.to_le_bytes());
            assert_eq!(record.nulls.unwrap(), [1 << null]);
            let slot = &pin.slots().unwrap()[id as usize * layout.slot_size..];
            assert_eq!((slot[layout.state_offset], slot[layout.nulls_offset]), (1, 1 << null));
        }
        assert_eq!(pin.schema(), table.schema());
    }
}

#[test]
fn an_empty_table_pins_without_a_slot() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    let pin = table.pin().unwrap();
    save(&table, 1).unwrap();
    db.checkpoint().unwrap();
    assert_eq!((pin.slot_count(), pin.slots().unwrap().len()), (0, 0));
    assert_error(pin.record(RecordId(0)).map(|_| ()), Error::OutOfRange, &["0"]);
    pin.close().unwrap();
}

#[test]
fn a_pin_outlives_the_close_and_the_folder_is_free_when_the_last_is_closed() {
    let (folder, db) = small_database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..100).unwrap();
    let (first, second) = (table.pin().unwrap(), table.pin().unwrap());
    save_many(&table, 100..200).unwrap();
    db.close().unwrap();
    assert_error(fetch(&table, RecordId(0)), Error::Closed, &["closed"]);
    assert_eq!(pinned(&first), ids_and_values(0..100));
    // The engine is still there: to be shared, and not to be opened otherwise.
    let other = OpenOptions { must_exist: true, ..quick() };
    assert_error(Database::open(folder.path(), &other).map(|_| ()), Error::Busy, &["other options"]);
    first.close().unwrap();
    assert_error(Database::open(folder.path(), &other).map(|_| ()), Error::Busy, &["other options"]);

    let again = Database::open(folder.path(), &small_options()).unwrap();
    let table = again.table("numbers").unwrap();
    (0..200).for_each(|id| replace(&table, RecordId(id), -1).unwrap());
    again.checkpoint().unwrap();
    assert_eq!(pinned(&second), ids_and_values(0..100));
    again.close().unwrap();
    assert_eq!(pinned(&second), ids_and_values(0..100));
    second.close().unwrap();

    let db = Database::open(folder.path(), &other).unwrap();
    assert_eq!(figure(&db, "recovered_frames"), 0, "the last close was a clean one");
    assert_eq!(scanned(&db.table("numbers").unwrap()).unwrap(), ids_and_values(vec![-1; 200]));
}

#[test]
fn a_damaged_page_cannot_be_pinned_and_is_named() {
    let folder = Folder::new();
    let db = Database::open(folder.path(), &small_options()).unwrap();
    let (whole, broken) = (numbers(&db, "whole"), numbers(&db, "broken"));
    save_many(&whole, 0..2000).unwrap();
    save_many(&broken, 0..2000).unwrap();
    db.close().unwrap();
    drop((whole, broken));
    let path = folder.path().join("data/3");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096 + 70 * 256 + 17] ^= 4;
    std::fs::write(&path, bytes).unwrap();
    for pread in [false, true] {
        let db = Database::open(folder.path(), &OpenOptions { pread, ..small_options() }).unwrap();
        let (whole, broken) = (db.table("whole").unwrap(), db.table("broken").unwrap());
        let words = ["table broken", "data/3", "page 70", "checksum"];
        assert_error(broken.pin().map(|_| ()), Error::Corrupt, &words);
        assert_error(db.snapshot().unwrap().table("broken").unwrap().pin().map(|_| ()), Error::Corrupt, &words);
        assert_eq!((figure(&db, "pins"), figure(&db, "pin_bytes_mapped")), (0, 0));
        let pin = whole.pin().unwrap();
        // A page that rots after it was read once is found as well.
        fetch(&whole, RecordId(0)).unwrap();
        let data = folder.path().join("data/2");
        let good = std::fs::read(&data).unwrap();
        let flip = |byte: u8| {
            use std::os::unix::fs::FileExt;
            std::fs::File::options().write(true).open(&data).unwrap().write_all_at(&[byte], 4096 + 3).unwrap();
        };
        flip(good[4096 + 3] ^ 1);
        assert_error(whole.pin().map(|_| ()), Error::Corrupt, &["table whole", "data/2", "page 0"]);
        flip(good[4096 + 3]);
        drop(pin);
        db.close().unwrap();
    }
}

#[test]
fn writers_that_are_refused_are_told_of_the_oldest_reader() {
    let folder = Folder::new();
    let options = OpenOptions { dirty_soft: 64 << 10, dirty_hard: 128 << 10, ..small_options() };
    let db = Database::open(folder.path(), &options).unwrap();
    let table = numbers(&db, "numbers");
    for from in 0..40 {
        save_many(&table, from * 400..(from + 1) * 400).unwrap();
    }
    db.checkpoint().unwrap();
    let fill = |value: i64| (0..16_000).find_map(|id| replace(&table, RecordId(id), value).err());
    let refused = |words: &[&str], value| {
        let error = fill(value).expect("memory is full at some time");
        assert_error(Err::<(), _>(error), Error::Full, words);
    };

    let oldest = db.snapshot().unwrap();
    let cursor = table.scan(ScanRange::default()).unwrap();
    let lsn = format!("the oldest is a snapshot as of LSN {}, ", oldest.lsn().0);
    refused(&[&lsn, "seconds old", "bytes of pages are kept", "dirty_hard", "131072", "close it"], -1);
    drop(oldest);
    refused(&["the oldest is a scan as of LSN"], -2);
    drop(cursor);
    assert!(fill(-3).is_none());

    let pin = table.pin().unwrap();
    let later = db.snapshot().unwrap();
    refused(&["the oldest is a pin as of LSN"], -4);
    drop(later);
    refused(&["the oldest is a pin as of LSN"], -5);
    assert_eq!(pinned(&pin), ids_and_values(vec![-3; 16_000]));
    drop(pin);
    assert!(fill(-6).is_none());
    db.checkpoint().unwrap();
    assert_eq!((figure(&db, "old_image_bytes"), figure(&db, "pin_bytes_kept")), (0, 0));
    // With threads of the engine's own the same.
    drop(table);
    db.close().unwrap();
    let db = Database::open(folder.path(), &OpenOptions { no_threads: false, ..options }).unwrap();
    let (table, pin) = (db.table("numbers").unwrap(), db.table("numbers").unwrap().pin().unwrap());
    let error = (0..16_000).find_map(|id| replace(&table, RecordId(id), -7).err()).expect("memory is full");
    assert_error(Err::<(), _>(error), Error::Full, &["the oldest is a pin"]);
    drop(pin);
    (0..16_000).for_each(|id| replace(&table, RecordId(id), -8).unwrap());
}

#[test]
fn a_step_is_not_asked_for_again_while_a_snapshot_holds_memory() {
    let folder = Folder::new();
    let options = OpenOptions { dirty_soft: 64 << 10, dirty_hard: 1 << 20, ..small_options() };
    let db = Database::open(folder.path(), &options).unwrap();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..16_000).unwrap();
    let (snapshot, pin) = (db.snapshot().unwrap(), table.pin().unwrap());
    (0..16_000).for_each(|id| replace(&table, RecordId(id), -1).unwrap());
    let budget = std::time::Duration::from_secs(60);
    for _ in 0..5 {
        db.step(budget).unwrap();
    }
    assert!(figure(&db, "old_image_bytes") > 64 << 10);
    assert!(figure(&db, "pin_bytes_kept") > 64 << 10);
    assert!(!db.step(budget).unwrap(), "no checkpoint gives back what readers hold");
    drop((snapshot, pin));
}

#[test]
fn a_database_that_is_only_read_has_snapshots_and_pins() {
    let (folder, db) = small_database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..700).unwrap();
    save(&numbers(&db, "new"), 5).unwrap();
    db.checkpoint().unwrap();
    // Not in the files yet: changes, a page that grows, pages adopted, and a table without a file.
    (0..100).for_each(|id| replace(&table, RecordId(id), -1).unwrap());
    save_many(&table, 700..3000).unwrap();
    save(&numbers(&db, "newer"), 6).unwrap();
    db.flush().unwrap();
    let copy = folder.copy();
    let expected = scanned(&table).unwrap();
    let options = OpenOptions { read_only: true, ..small_options() };
    std::fs::write(copy.path().join("LOCK"), "").unwrap();
    let before = kit::files(copy.path());
    for pread in [false, true] {
        let db = Database::open(copy.path(), &OpenOptions { pread, ..options.clone() }).unwrap();
        let snapshot = db.snapshot().unwrap();
        for table in [db.table("numbers").unwrap(), snapshot.table("numbers").unwrap()] {
            assert_eq!(scanned(&table).unwrap(), expected);
            let pin = table.pin().unwrap();
            assert_eq!(pinned(&pin), expected);
        }
        assert_eq!(pinned(&snapshot.table("newer").unwrap().pin().unwrap()), [(0, 6)]);
        db.close().unwrap();
    }
    assert!(kit::files(copy.path()) == before, "nothing was written");
}

#[test]
fn where_maps_are_unwanted_a_pin_is_a_copy_within_the_limit_of_memory() {
    let folder = Folder::new();
    let options = OpenOptions { pread: true, dirty_soft: 64 << 10, dirty_hard: 128 << 10, ..small_options() };
    let db = Database::open(folder.path(), &options).unwrap();
    let (small, large) = (numbers(&db, "small"), numbers(&db, "large"));
    save_many(&small, 0..1000).unwrap();
    save_many(&large, 0..10_000).unwrap();
    let pin = small.pin().unwrap();
    let kept = figure(&db, "pin_bytes_kept");
    assert!((16_000..20_000).contains(&kept), "{kept} bytes are kept");
    assert_error(large.pin().map(|_| ()), Error::Full, &["table large", "data/3", "dirty_hard", "131072"]);
    assert_eq!((figure(&db, "pins"), figure(&db, "pin_bytes_kept")), (1, kept));
    (0..1000).for_each(|id| replace(&small, RecordId(id), -1).unwrap());
    db.checkpoint().unwrap();
    assert_eq!(pinned(&pin), ids_and_values(0..1000));
    assert_eq!(figure(&db, "pin_bytes_kept"), kept, "a copy keeps nothing more");
}

#[test]
fn pages_kept_here_and_there_do_not_use_up_the_maps_of_the_process() {
    let (_folder, db) = small_database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..100_000).unwrap();
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
    let pin = table.pin().unwrap();
    let before = maps();
    // Each in a block of its own, and none in its neighbours.
    for first in 0..2 {
        (first..195).step_by(2).for_each(|block| replace(&table, RecordId(block * 512), -1).unwrap());
        db.checkpoint().unwrap();
    }
    assert_eq!(pinned(&pin), ids_and_values(0..100_000));
    // Other tests of this process map a few files meanwhile.
    assert!(maps() < before + 60, "{} maps, {before} before", maps());
}

/// Moves one from a record to another, in one commit.
fn transfer(db: &Database, from: (&Table, u64), to: (&Table, u64)) {
    loop {
        let (left, right) = (fetch(from.0, RecordId(from.1)).unwrap(), fetch(to.0, RecordId(to.1)).unwrap());
        let mut batch = db.batch().unwrap();
        batch.expect(from.0, RecordId(from.1), packed(&left.to_le_bytes())).unwrap();
        batch.expect(to.0, RecordId(to.1), packed(&right.to_le_bytes())).unwrap();
        batch.replace(from.0, RecordId(from.1), packed(&(left - 1).to_le_bytes())).unwrap();
        batch.replace(to.0, RecordId(to.1), packed(&(right + 1).to_le_bytes())).unwrap();
        match batch.commit(false) {
            Ok(_) => return,
            Err(Error::Conflict(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn snapshots_and_pins_see_one_moment_while_threads_write_and_make_checkpoints() {
    const COUNT: u64 = 2000;
    // Where there are no slow syncs, more happens in between.
    let folder = Folder::in_memory();
    let options = OpenOptions { no_threads: false, dirty_soft: 256 << 10, dirty_hard: 16 << 20, ..small_options() };
    let db = Database::open(folder.path(), &options).unwrap();
    let (left, right) = (numbers(&db, "left"), numbers(&db, "right"));
    save_many(&left, (0..COUNT).map(|_| 100)).unwrap();
    save_many(&right, (0..COUNT).map(|_| 100)).unwrap();
    let stop = AtomicBool::new(false);
    let rounds = kit_number("DIAMOND_RUNS", 20);
    let total = |found: &[(u64, i64)]| found.iter().map(|(_, value)| value).sum::<i64>();
    std::thread::scope(|scope| {
        for seed in 1..3_u64 {
            let (db, left, right, stop) = (&db, &left, &right, &stop);
            scope.spawn(move || {
                let mut random = Random(seed);
                while !stop.load(Ordering::Relaxed) {
                    transfer(db, (left, random.below(COUNT)), (right, random.below(COUNT)));
                    match random.below(20) {
                        0 => {
                            save(left, 0).unwrap();
                        }
                        1 if right.next_id().unwrap().0 < 20_000 => {
                            save_many(right, (0..2000).map(|_| 0)).unwrap();
                        }
                        _ => {}
                    }
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                db.checkpoint().unwrap();
            }
        });
        // Where an assertion fails, the others are to stop as well.
        let _stop = StopAtEnd(&stop);
        let mut pins = Vec::new();
        for round in 0..rounds {
            let snapshot = db.snapshot().unwrap();
            let (one, other) = (snapshot.table("left").unwrap(), snapshot.table("right").unwrap());
            let (first, second) = (scanned(&one).unwrap(), scanned(&other).unwrap());
            assert_eq!(total(&first) + total(&second), 200 * COUNT as i64, "round {round} mixes two moments");
            assert_eq!(one.count().unwrap(), first.len() as u64);
            assert_eq!(other.next_id().unwrap().0, second.len() as u64);
            let pin = if round % 2 == 0 { one.pin().unwrap() } else { left.pin().unwrap() };
            let seen = pinned(&pin);
            if round % 2 == 0 {
                assert!(seen == first, "round {round}: a pin of a snapshot is another moment");
            }
            assert!(scanned(&one).unwrap() == first, "round {round}: a snapshot moved");
            (0..COUNT).for_each(|id| assert_eq!(fetch(&other, RecordId(id)).unwrap(), second[id as usize].1));
            pins.push((pin, seen));
            if pins.len() > 5 {
                let (pin, seen) = pins.remove(0);
                assert!(pinned(&pin) == seen, "round {round}: a pin moved");
            }
        }
        for (pin, seen) in &pins {
            assert!(pinned(pin) == *seen, "a pin moved");
        }
    });
    drop((left, right));
    assert_eq!((figure(&db, "pins"), figure(&db, "pin_bytes_kept"), figure(&db, "snapshots")), (0, 0, 0));
    db.checkpoint().unwrap();
    assert_eq!(figure(&db, "old_image_bytes"), 0);
}

struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Tables of numbers as plain maps: by name the records, and the next id.
type Model = BTreeMap<String, (BTreeMap<u64, i64>, u64)>;

/// A moment that is held, and what it was.
struct Held {
    snapshot: Option<Snapshot>,
    tables: Vec<(String, Table)>,
    pins: Vec<(String, Pin)>,
    then: Model,
    /// Tables dropped since: their pages are gone, but not from pins.
    dropped: Vec<String>,
    /// What the others were called then, and are called now.
    now: Vec<(String, String)>,
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

fn kit_number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Held {
    fn check(&self, what: &str) {
        let list = |name: &String| self.then[name].0.iter().map(|(id, value)| (*id, *value)).collect::<Vec<_>>();
        let named = self.snapshot.iter().flat_map(|snapshot| {
            let there = self.then.keys().filter(|name| !self.dropped.contains(name));
            there.map(|name| (name.clone(), snapshot.table(name).unwrap()))
        });
        let opened = self.tables.iter().filter(|(name, _)| !self.dropped.contains(name)).cloned();
        for (name, table) in named.chain(opened) {
            let (records, next) = &self.then[&name];
            assert_eq!(scanned(&table).unwrap(), list(&name), "{what}: a scan of {name}");
            assert_eq!(table.count().unwrap(), records.len() as u64, "{what}: the count of {name}");
            assert_eq!(table.next_id().unwrap().0, *next, "{what}: the next id of {name}");
            for id in (0..*next + 1).step_by(7) {
                let found = fetch(&table, RecordId(id)).ok();
                assert_eq!(found, records.get(&id).copied(), "{what}: record {id} of {name}");
            }
        }
        for (name, pin) in &self.pins {
            assert_eq!(pinned(pin), list(name), "{what}: the pin of {name}");
            assert_eq!(pin.slot_count(), self.then[name].1, "{what}: the slots of {name}");
        }
        if let Some(snapshot) = &self.snapshot {
            for name in &self.dropped {
                assert_error(snapshot.table(name).map(|_| ()), Error::NotFound, &["dropped since"]);
            }
        }
    }
}

/// One random change of the database and of the model.
fn change(db: &Database, model: &mut Model, held: &mut [Held], random: &mut Random) {
    let name = NAMES[random.below(3) as usize].to_owned();
    let Some((records, next)) = model.get_mut(&name) else {
        numbers(db, &name);
        model.insert(name, Default::default());
        return;
    };
    let table = db.table(&name).unwrap();
    let (id, value) = (random.below((*next).max(1)), random.below(1 << 40) as i64);
    match random.below(100) {
        0..30 => {
            let found = replace(&table, RecordId(id), value).is_ok();
            assert_eq!(found, records.contains_key(&id));
            if found {
                records.insert(id, value);
            }
        }
        30..45 => assert_eq!(table.delete(RecordId(id)).is_ok(), records.remove(&id).is_some()),
        45..50 => {
            let ids: Vec<u64> = (id..(id + 60).min(*next)).filter(|id| records.contains_key(id)).collect();
            table.delete_many(&ids.iter().copied().map(RecordId).collect::<Vec<_>>()).unwrap();
            records.retain(|id, _| !ids.contains(id));
        }
        50..75 => {
            assert_eq!(save(&table, value).unwrap().0, *next);
            records.insert(*next, value);
            *next += 1;
        }
        75..85 => {
            let count = [20, 1100][random.below(2) as usize];
            assert_eq!(save_many(&table, (0..count).map(|index| value + index)).unwrap().0, *next);
            records.extend((*next..).zip((0..count).map(|index| value + index)));
            *next += count as u64;
        }
        85..96 => db.checkpoint().unwrap(),
        96..98 => {
            if let Some(free) = NAMES.iter().find(|name| !model.contains_key(**name)) {
                db.rename_table(&name, free).unwrap();
                let moved = model.remove(&name).unwrap();
                model.insert((*free).to_owned(), moved);
                held.iter_mut().for_each(|held| held.follow(&name, free));
            }
        }
        _ => {
            db.drop_table(&name).unwrap();
            model.remove(&name);
            held.iter_mut().for_each(|held| held.lose(&name));
        }
    }
}

impl Held {
    /// A table that is called `from` in the database is called `to` from now on.
    fn follow(&mut self, from: &str, to: &str) {
        self.now.iter_mut().filter(|(_, now)| now == from).for_each(|(_, now)| *now = to.to_owned());
    }

    fn lose(&mut self, name: &str) {
        let lost = self.now.iter().filter(|(_, now)| now == name).map(|(then, _)| then.clone());
        self.dropped.extend(lost);
        self.now.retain(|(_, now)| now != name);
    }
}

fn hold(db: &Database, model: &Model, random: &mut Random) -> Held {
    let snapshot = db.snapshot().unwrap();
    let tables: Vec<(String, Table)> = model.keys().map(|name| (name.clone(), snapshot.table(name).unwrap())).collect();
    let mut pins = Vec::new();
    for (name, table) in &tables {
        match random.below(4) {
            0 => pins.push((name.clone(), table.pin().unwrap())),
            1 => pins.push((name.clone(), db.table(name).unwrap().pin().unwrap())),
            _ => {}
        }
    }
    let now = model.keys().map(|name| (name.clone(), name.clone())).collect();
    let snapshot = (random.below(2) == 0).then_some(snapshot);
    Held { snapshot, tables, pins, then: model.clone(), dropped: Vec::new(), now }
}

fn compare_with_model(db: &Database, seed: u64, steps: u64) {
    let (mut random, mut model, mut held) = (Random(seed), Model::default(), Vec::new());
    for step in 0..steps {
        change(db, &mut model, &mut held, &mut random);
        if random.below(20) == 0 {
            held.push(hold(db, &model, &mut random));
        }
        if step % 50 == 49 && !held.is_empty() {
            let chosen = random.below(held.len() as u64) as usize;
            held[chosen].check(&format!("step {step}"));
            // A pin of an older moment, made late.
            let Held { tables, pins, dropped, .. } = &mut held[chosen];
            if let Some((name, table)) = tables.first().filter(|(name, _)| !dropped.contains(name)) {
                pins.push((name.clone(), table.pin().unwrap()));
            }
            held[chosen].check(&format!("step {step}, pinned"));
            if held.len() > 4 {
                held.swap_remove(chosen);
            }
        }
    }
    held.iter().for_each(|held| held.check("at the end"));
    drop(held);
    db.checkpoint().unwrap();
    for name in ["snapshots", "old_image_bytes", "pins", "pin_bytes_kept", "pin_bytes_mapped"] {
        assert_eq!(figure(db, name), 0, "{name}");
    }
    for (name, (records, _)) in &model {
        let expected: Vec<(u64, i64)> = records.iter().map(|(id, value)| (*id, *value)).collect();
        assert_eq!(scanned(&db.table(name).unwrap()).unwrap(), expected);
    }
    assert_eq!(db.verify().unwrap().findings, []);
}

struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a random run fails; repeat it with: DIAMOND_SEED={} DIAMOND_RUNS=1", self.0);
        }
    }
}

fn for_each_seed(runs: u64, mut act: impl FnMut(u64, u64)) {
    let (first, count) = (kit_number("DIAMOND_SEED", 1), kit_number("DIAMOND_RUNS", runs));
    let steps = kit_number("DIAMOND_STEPS", 600);
    println!("DIAMOND_SEED={first} DIAMOND_RUNS={count} DIAMOND_STEPS={steps}");
    for seed in first..first + count {
        let _told = Told(seed);
        act(seed, steps);
    }
}

#[test]
fn held_moments_of_a_folder_stay_as_the_model_was() {
    for_each_seed(8, |seed, steps| {
        let folder = Folder::in_memory();
        // With the engine's own threads at work, and without.
        let options = OpenOptions { no_threads: seed % 2 == 0, dirty_hard: 64 << 20, ..small_options() };
        let options = OpenOptions { dirty_soft: 32 << 10, pread: seed % 4 == 3, ..options };
        let db = Database::open(folder.path(), &options).unwrap();
        compare_with_model(&db, seed, steps);
        db.close().unwrap();
    });
}

#[cfg(feature = "simulation")]
#[test]
fn held_moments_of_a_simulated_disk_stay_as_the_model_was() {
    use diamonddb::Durability;
    use diamonddb::os::simulated::SimulatedDisk;

    for_each_seed(8, |seed, steps| {
        let options = OpenOptions { dirty_hard: 64 << 20, ..kit::simulated(Durability::Os) };
        let db = Database::open_on(SimulatedDisk::new(seed), &options).unwrap();
        compare_with_model(&db, seed, steps);
        db.close().unwrap();
    });
}

#[cfg(feature = "simulation")]
#[test]
fn a_poisoned_database_still_has_snapshots_and_pins() {
    use diamonddb::Durability;
    use diamonddb::os::simulated::{FailKind, Failure, SimulatedDisk};

    let disk = SimulatedDisk::new(7);
    let db = Database::open_on(disk.clone(), &kit::simulated(Durability::Os)).unwrap();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..900).unwrap();
    db.checkpoint().unwrap();
    (0..100).for_each(|id| replace(&table, RecordId(id), -1).unwrap());
    let expected = scanned(&table).unwrap();
    // Somewhere in the midst of a checkpoint.
    disk.fail(Failure { at: disk.calls() + 8, kind: FailKind::InputOutput, from_then_on: false });
    assert!(db.checkpoint().is_err());
    assert_error(save(&table, 1), Error::Poisoned, &[]);
    let snapshot = db.snapshot().unwrap();
    assert_eq!(pinned(&table.pin().unwrap()), expected);
    assert_eq!(pinned(&snapshot.table("numbers").unwrap().pin().unwrap()), expected);
}

#[test]
fn a_table_opens_while_others_save_into_it() {
    let folder = Folder::new();
    let db = Database::open(folder.path(), &quick()).unwrap();
    let table = numbers(&db, "numbers");
    let ended = AtomicBool::new(false);
    let opened = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                save(&table, 1).unwrap();
            }
        });
        let open = || db.snapshot()?.table("numbers").and_then(|_| db.table("numbers")).map(drop);
        let opened = (0..1000).try_for_each(|_| open());
        ended.store(true, Ordering::Relaxed);
        opened
    });
    assert_eq!(opened, Ok(()));
}
