//! Memory for pages: a checkpoint gives back all that nobody needs, whatever became of the writes that took it.
//!
//! Where some is kept, writers stand still in the end: so after each leak that might be, a write must go through.

#![cfg(feature = "simulation")]

mod kit;

use diamonddb::os::simulated::SimulatedDisk;
use diamonddb::{Database, Durability, Error, OpenOptions, RecordId, Sizes};
use kit::{assert_error, figure, numbers, packed, replace, save, save_many, simulated};

/// With so much wal that no checkpoint runs by itself on its account.
fn options() -> OpenOptions {
    OpenOptions { sizes: Sizes { wal_soft: 1 << 30, ..kit::small_sizes() }, ..simulated(Durability::Os) }
}

/// Insists that a checkpoint leaves no page in memory, and that writing goes on.
#[track_caller]
fn assert_all_is_given_back(db: &Database) {
    db.checkpoint().unwrap();
    assert_eq!(figure(db, "dirty_bytes"), 0);
    let table = numbers(db, "other");
    let id = save(&table, 1).unwrap();
    replace(&table, id, 2).unwrap();
}

#[test]
fn the_pages_of_refused_batches_are_given_back() {
    let db = Database::open_on(SimulatedDisk::new(5), &options()).unwrap();
    let other = numbers(&db, "other");
    save(&other, 1).unwrap();
    for name in ["a", "b", "c"] {
        let table = numbers(&db, name);
        db.checkpoint().unwrap();
        let mut batch = db.batch().unwrap();
        batch.expect(&other, RecordId(0), packed(&99_i64.to_le_bytes())).unwrap();
        for value in 0..7900_i64 {
            batch.save(&table, packed(&value.to_le_bytes())).unwrap();
        }
        // All pages for it were brought in before it is found to be in vain.
        assert_error(batch.commit(false), Error::Conflict, &[]);
    }
    assert_all_is_given_back(&db);
}

#[test]
fn the_pages_of_dropped_tables_are_given_back_though_handles_are_kept() {
    let db = Database::open_on(SimulatedDisk::new(5), &options()).unwrap();
    let mut kept = Vec::new();
    for number in 0..8 {
        let name = format!("dropped{number}");
        let table = numbers(&db, &name);
        // Too short for a bulk append, so that all of it is in memory.
        for _ in 0..6 {
            save_many(&table, 0..500).unwrap();
        }
        assert!(figure(&db, "dirty_bytes") > 20_000);
        db.drop_table(&name).unwrap();
        kept.push(table);
        db.checkpoint().unwrap();
    }
    assert_all_is_given_back(&db);
    assert!(kept.iter().all(|table| save(table, 1).is_err()));
}

#[test]
fn the_pages_of_deletes_in_vain_are_given_back() {
    let disk = SimulatedDisk::new(5);
    let db = Database::open_on(disk.clone(), &options()).unwrap();
    let table = numbers(&db, "numbers");
    for _ in 0..10 {
        save_many(&table, 0..1600).unwrap();
    }
    let ids = || (0..1000).map(|page| RecordId(page * 16));
    ids().for_each(|id| table.delete(id).unwrap());
    db.close().unwrap();
    // All records are in files now, and each refused delete looks at a page of its own.
    let db = Database::open_on(disk.kill(), &options()).unwrap();
    let table = db.table("numbers").unwrap();
    ids().for_each(|id| assert_error(table.delete(id), Error::NotFound, &[]));
    assert_all_is_given_back(&db);
}
