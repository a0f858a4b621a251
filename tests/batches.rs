//! What a batch promises: all of it or nothing, across tables, with ids and expectations.
//!
//! Where a batch is refused, the test looks at three things: the error, the tables, and the batch itself, which must
//! be as it was so that its owner can read again and try once more.

mod kit;

use std::time::Duration;

use diamonddb::{Database, Durability, Error, Lsn, OpenOptions, Record, RecordId, Sizes};
use kit::{Folder, assert_error, database, fetch, numbers, packed, replace, save, scanned, schema};

const ONE: [u8; 8] = 1_i64.to_le_bytes();
const TWO: [u8; 8] = 2_i64.to_le_bytes();
const NINE: [u8; 8] = 9_i64.to_le_bytes();

#[test]
fn a_batch_changes_several_tables_in_one_commit_and_then_knows_its_ids() {
    let (folder, db) = database();
    let (one, two) = (numbers(&db, "one"), numbers(&db, "two"));
    save(&one, 1).unwrap();
    save(&one, 2).unwrap();
    let commits = kit::figure(&db, "commits");
    let mut batch = db.batch().unwrap();
    assert!(batch.is_empty());
    batch.save(&two, packed(&ONE)).unwrap();
    batch.save(&one, packed(&NINE)).unwrap();
    batch.expect(&one, RecordId(0), packed(&ONE)).unwrap();
    batch.replace(&one, RecordId(0), packed(&NINE)).unwrap();
    batch.save_json(&two, r#"{"value": 5}"#).unwrap();
    batch.delete(&one, RecordId(1)).unwrap();
    batch.expect_json(&one, RecordId(1), r#"{"value": 2}"#).unwrap();
    assert_eq!((batch.len(), batch.save_count()), (7, 3));
    // Nothing is there before the commit.
    assert_eq!(scanned(&one).unwrap(), [(0, 1), (1, 2)]);
    assert_eq!(scanned(&two).unwrap(), []);
    let committed = batch.commit(false).unwrap();
    assert_eq!(committed.ids, [RecordId(0), RecordId(2), RecordId(1)]);
    assert_eq!(kit::figure(&db, "commits"), commits + 1);
    assert!(batch.is_empty());
    assert_eq!(scanned(&one).unwrap(), [(0, 9), (2, 9)]);
    assert_eq!(scanned(&two).unwrap(), [(0, 1), (1, 5)]);
    assert_eq!((one.count().unwrap(), two.count().unwrap()), (2, 2));
    // The handle serves for the next batch.
    batch.save(&one, packed(&ONE)).unwrap();
    let next = batch.commit(false).unwrap();
    assert_eq!(next.ids, [RecordId(3)]);
    assert!(next.lsn > committed.lsn);
    let killed = folder.copy();
    db.close().unwrap();
    for folder in [folder, killed] {
        let db = Database::open(folder.path(), &kit::quick()).unwrap();
        assert_eq!(scanned(&db.table("one").unwrap()).unwrap(), [(0, 9), (2, 9), (3, 1)]);
        assert_eq!(scanned(&db.table("two").unwrap()).unwrap(), [(0, 1), (1, 5)]);
    }
}

#[test]
fn a_batch_of_nothing_commits_and_one_of_expectations_only_checks() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    save(&table, 1).unwrap();
    let mut batch = db.batch().unwrap();
    assert_eq!(batch.commit(false).unwrap().ids, []);
    batch.expect(&table, RecordId(0), packed(&ONE)).unwrap();
    batch.commit(false).unwrap();
    batch.expect(&table, RecordId(0), packed(&TWO)).unwrap();
    assert_error(batch.commit(false), Error::Conflict, &["0", "numbers"]);
}

#[test]
fn a_conflict_changes_nothing_and_leaves_the_batch_as_it_was() {
    let (_folder, db) = database();
    let (one, two) = (numbers(&db, "one"), numbers(&db, "two"));
    save(&one, 2).unwrap();
    save(&two, 1).unwrap();
    let mut batch = db.batch().unwrap();
    batch.save(&two, packed(&NINE)).unwrap();
    batch.replace(&two, RecordId(0), packed(&NINE)).unwrap();
    batch.expect(&one, RecordId(0), packed(&ONE)).unwrap();
    for _ in 0..2 {
        assert_error(batch.commit(false), Error::Conflict, &["0", "one"]);
        assert_eq!((batch.len(), batch.save_count()), (3, 1));
        assert_eq!(scanned(&two).unwrap(), [(0, 1)]);
        assert_eq!(two.next_id().unwrap(), RecordId(1));
    }
    // Once what was expected holds, the same batch goes through.
    replace(&one, RecordId(0), 1).unwrap();
    assert_eq!(batch.commit(false).unwrap().ids, [RecordId(1)]);
    assert_eq!(scanned(&two).unwrap(), [(0, 9), (1, 9)]);
}

#[test]
fn a_batch_whose_record_was_deleted_meanwhile_is_refused_whole() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    let (gone, kept) = (save(&table, 1).unwrap(), save(&table, 1).unwrap());
    for step in 0..3 {
        let mut batch = db.batch().unwrap();
        batch.replace(&table, kept, packed(&NINE)).unwrap();
        match step {
            0 => batch.replace(&table, gone, packed(&NINE)).unwrap(),
            1 => batch.delete(&table, gone).unwrap(),
            _ => batch.expect(&table, gone, packed(&ONE)).unwrap(),
        }
        if step == 0 {
            table.delete(gone).unwrap();
        }
        let kind = if step == 2 { Error::Conflict } else { Error::NotFound };
        assert_error(batch.commit(false), kind, &["0", "numbers"]);
        assert_eq!(batch.len(), 2);
        assert_eq!(scanned(&table).unwrap(), [(1, 1)]);
    }
}

#[test]
fn steps_apply_in_their_order_and_expectations_look_at_what_was_before() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    let id = save(&table, 1).unwrap();
    let mut batch = db.batch().unwrap();
    batch.replace(&table, id, packed(&TWO)).unwrap();
    batch.expect(&table, id, packed(&ONE)).unwrap();
    batch.replace(&table, id, packed(&NINE)).unwrap();
    batch.commit(false).unwrap();
    assert_eq!(fetch(&table, id).unwrap(), 9);
    batch.replace(&table, id, packed(&TWO)).unwrap();
    batch.delete(&table, id).unwrap();
    batch.commit(false).unwrap();
    assert_error(fetch(&table, id), Error::NotFound, &[]);
    assert_eq!(table.count().unwrap(), 0);
}

#[test]
fn a_record_that_the_batch_deletes_is_not_brought_back_by_a_later_step() {
    let (_folder, db) = database();
    let (table, other) = (numbers(&db, "numbers"), numbers(&db, "other"));
    let id = save(&table, 1).unwrap();
    save(&other, 1).unwrap();
    let mut batch = db.batch().unwrap();
    batch.delete(&table, id).unwrap();
    assert_error(batch.replace(&table, id, packed(&TWO)), Error::NotFound, &["0", "numbers"]);
    assert_error(batch.replace_json(&table, id, "{}"), Error::NotFound, &["0", "numbers"]);
    assert_error(batch.delete(&table, id), Error::NotFound, &["0", "numbers"]);
    // The same id of another table is another record.
    batch.replace(&other, id, packed(&TWO)).unwrap();
    assert_eq!(batch.len(), 2);
    batch.commit(false).unwrap();
    assert_eq!((table.count().unwrap(), fetch(&other, id).unwrap()), (0, 2));
}

#[test]
fn a_refused_step_leaves_the_batch_as_it_was() {
    let (_folder, db) = database();
    let table = db.make_table("flags", &schema(r#"{"flag": ["bool", "required"]}"#)).unwrap();
    let mut batch = db.batch().unwrap();
    batch.save_json(&table, r#"{"flag": true}"#).unwrap();
    let bad = Record { bytes: &[2], nulls: None };
    assert_error(batch.save(&table, bad), Error::Invalid, &["flag", "flags"]);
    assert_error(batch.save_json(&table, "{}"), Error::Invalid, &["flag", "flags"]);
    assert_error(batch.save_json(&table, "["), Error::Invalid, &["flags"]);
    for id in [0, 1, u64::MAX] {
        let word = id.to_string();
        assert_error(batch.replace(&table, RecordId(id), bad), Error::OutOfRange, &["flags", &word]);
        assert_error(batch.delete(&table, RecordId(id)), Error::OutOfRange, &["flags", &word]);
        assert_error(batch.expect(&table, RecordId(id), bad), Error::OutOfRange, &["flags", &word]);
    }
    assert_eq!((batch.len(), batch.save_count()), (1, 1));
    assert_eq!(batch.commit(false).unwrap().ids, [RecordId(0)]);
    assert_eq!(table.fetch_json(RecordId(0), Default::default()).unwrap(), r#"{"flag":true}"#);
}

#[test]
fn a_batch_too_large_is_refused_before_anything_happens() {
    let folder = Folder::new();
    let sizes = Sizes { commit_max: 4096, ..Sizes::default() };
    let db = Database::open(folder.path(), &OpenOptions { sizes, ..kit::quick() }).unwrap();
    let table = numbers(&db, "numbers");
    let mut batch = db.batch().unwrap();
    let mut count = 0;
    let refused = loop {
        match batch.save(&table, packed(&ONE)) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert_error(Err::<(), _>(refused), Error::TooLarge, &["4096"]);
    assert_eq!((count, batch.len()), (256, 256));
    // The frame that holds the records is larger than they are: that limit is told by the commit.
    assert_error(batch.commit(false), Error::TooLarge, &["4096", "split"]);
    assert_eq!((batch.len(), table.next_id().unwrap()), (256, RecordId(0)));
    assert_eq!(scanned(&table).unwrap(), []);
    batch.clear();
    batch.save(&table, packed(&ONE)).unwrap();
    assert_eq!(batch.commit(false).unwrap().ids, [RecordId(0)]);
}

#[test]
fn a_batch_that_touches_more_pages_than_memory_allows_is_refused_whole() {
    let folder = Folder::new();
    let db = Database::open(folder.path(), &OpenOptions { dirty_hard: 256 << 10, ..kit::quick() }).unwrap();
    let table = numbers(&db, "numbers");
    kit::save_many(&table, 0..40_000).unwrap();
    let mut batch = db.batch().unwrap();
    for page in 0..30 {
        batch.replace(&table, RecordId(page * 1024), packed(&NINE)).unwrap();
    }
    assert_error(batch.commit(false), Error::TooLarge, &["split"]);
    assert_eq!(batch.len(), 30);
    assert!(scanned(&table).unwrap().iter().all(|(id, value)| *id as i64 == *value));
}

#[test]
fn a_batch_that_is_dropped_or_cleared_leaves_no_holes() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    let id = save(&table, 1).unwrap();
    {
        let mut batch = db.batch().unwrap();
        batch.save(&table, packed(&NINE)).unwrap();
        batch.delete(&table, id).unwrap();
    }
    let mut batch = db.batch().unwrap();
    batch.save(&table, packed(&NINE)).unwrap();
    batch.delete(&table, id).unwrap();
    batch.clear();
    // What was cleared is forgotten: the record may be replaced again.
    batch.replace(&table, id, packed(&TWO)).unwrap();
    batch.commit(false).unwrap();
    assert_eq!(save(&table, 3).unwrap(), RecordId(1));
    assert_eq!(scanned(&table).unwrap(), [(0, 2), (1, 3)]);
}

#[test]
fn a_table_of_another_database_in_a_batch_is_misuse() {
    let ((_one, db), (_other, other)) = (database(), database());
    let (ours, theirs) = (numbers(&db, "ours"), numbers(&other, "theirs"));
    save(&theirs, 1).unwrap();
    let mut batch = db.batch().unwrap();
    assert_error(batch.save(&theirs, packed(&ONE)), Error::Misuse, &["theirs", "another database"]);
    assert_error(batch.delete(&theirs, RecordId(0)), Error::Misuse, &["theirs"]);
    assert_error(batch.expect(&theirs, RecordId(0), packed(&ONE)), Error::Misuse, &["theirs"]);
    assert!(batch.is_empty());
    // A second opening of the same database is the same database.
    let shared = Database::open(_one.path(), &kit::quick()).unwrap();
    batch.save(&shared.table("ours").unwrap(), packed(&ONE)).unwrap();
    batch.commit(false).unwrap();
    assert_eq!(fetch(&ours, RecordId(0)).unwrap(), 1);
}

#[test]
fn a_batch_with_a_table_that_was_dropped_meanwhile_is_refused_whole() {
    let (_folder, db) = database();
    let (kept, gone) = (numbers(&db, "kept"), numbers(&db, "gone"));
    let mut batch = db.batch().unwrap();
    batch.save(&kept, packed(&ONE)).unwrap();
    batch.save(&gone, packed(&ONE)).unwrap();
    db.drop_table("gone").unwrap();
    assert_error(batch.commit(false), Error::NotFound, &["gone", "dropped"]);
    assert_eq!((batch.len(), kept.next_id().unwrap()), (2, RecordId(0)));
}

#[test]
fn a_commit_that_does_not_wait_is_durable_once_its_lsn_was_waited_for() {
    let folder = Folder::new();
    let db = Database::open(folder.path(), &OpenOptions::default()).unwrap();
    let table = numbers(&db, "numbers");
    let mut batch = db.batch().unwrap();
    let mut lsns = Vec::new();
    for _ in 0..100 {
        batch.save(&table, packed(&ONE)).unwrap();
        lsns.push(batch.commit(true).unwrap().lsn);
    }
    assert!(lsns.is_sorted());
    let newest = *lsns.last().unwrap();
    assert_error(db.wait_durable(Lsn(newest.0 + 1000), None), Error::Invalid, &["1"]);
    db.wait_durable(newest, Some(Duration::from_secs(600))).unwrap();
    db.wait_durable(lsns[0], Some(Duration::ZERO)).unwrap();
    db.wait_durable(Lsn(0), None).unwrap();
    assert!(kit::figure(&db, "syncs") < 100, "one sync serves many commits");
    let killed = folder.copy();
    let db = Database::open(killed.path(), &OpenOptions::default()).unwrap();
    assert_eq!(db.table("numbers").unwrap().count().unwrap(), 100);
}

#[test]
fn waiting_makes_an_async_commit_durable_too() {
    let folder = Folder::new();
    let options =
        OpenOptions { durability: Durability::Async, interval_ms: u32::MAX, no_threads: true, ..Default::default() };
    let db = Database::open(folder.path(), &options).unwrap();
    let table = numbers(&db, "numbers");
    let mut batch = db.batch().unwrap();
    batch.save(&table, packed(&ONE)).unwrap();
    let lsn = batch.commit(false).unwrap().lsn;
    // Whoever only asks does none of the work.
    assert_error(db.wait_durable(lsn, Some(Duration::ZERO)), Error::Timeout, &[]);
    assert_eq!(kit::figure(&db, "syncs"), 0);
    db.wait_durable(lsn, None).unwrap();
    assert_eq!(kit::figure(&db, "syncs"), 1);
    db.wait_durable(lsn, Some(Duration::ZERO)).unwrap();
    let db = Database::open(folder.copy().path(), &options).unwrap();
    assert_eq!(db.table("numbers").unwrap().count().unwrap(), 1);
}

#[test]
fn read_modify_write_by_expectations_loses_no_update() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    let id = save(&table, 0).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut done = 0;
                while done < 100 {
                    let seen = fetch(&table, id).unwrap();
                    let mut batch = db.batch().unwrap();
                    batch.expect(&table, id, packed(&seen.to_le_bytes())).unwrap();
                    batch.replace(&table, id, packed(&(seen + 1).to_le_bytes())).unwrap();
                    match batch.commit(false) {
                        Ok(_) => done += 1,
                        Err(Error::Conflict(_)) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    assert_eq!(fetch(&table, id).unwrap(), 400);
}
