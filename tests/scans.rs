//! What a scan promises: one cut, in id order, whatever is written, checkpointed or dropped meanwhile, and its memory
//! given back when it ends.
//!
//! Values move between records in such a way that their sum stays; a scan that mixes two moments sees another sum.

mod kit;

use std::sync::atomic::{AtomicBool, Ordering};

use diamonddb::{Database, Error, JsonStyle, OpenOptions, RecordId, RecordMut, RecordsMut, ScanRange, Table};
use kit::{Folder, assert_error, database, fetch, figure, numbers, packed, replace, save, save_many, scanned};
use kit::{scanned_range, small_sizes};

/// Real files, small pages and a small memory, so that a few records are many pages and checkpoints are frequent.
fn small_database() -> (Folder, Database) {
    let folder = Folder::new();
    let options = OpenOptions { dirty_soft: 256 << 10, dirty_hard: 4 << 20, sizes: small_sizes(), ..kit::quick() };
    let db = Database::open(folder.path(), &options).unwrap();
    (folder, db)
}

/// The rest of an open scan.
fn rest(cursor: &mut diamonddb::Cursor) -> Vec<(u64, i64)> {
    let (mut found, mut bytes) = (Vec::new(), [0; 8]);
    while let Some(id) = cursor.next(RecordMut { bytes: &mut bytes, nulls: None }).unwrap() {
        found.push((id.0, i64::from_le_bytes(bytes)));
    }
    found
}

/// Moves one from a record to another, in one commit; tries until nobody comes between.
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
fn a_scan_sees_one_cut_while_writers_and_checkpoints_go_on() {
    let (_folder, db) = small_database();
    let table = numbers(&db, "numbers");
    const COUNT: u64 = 500;
    save_many(&table, (0..COUNT).map(|_| 100)).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2_u64 {
            let (db, table, stop) = (&db, &table, &stop);
            scope.spawn(move || {
                let mut place = seed;
                while !stop.load(Ordering::Relaxed) {
                    place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let (from, to) = ((place >> 33) % COUNT, (place >> 13) % COUNT);
                    if from != to {
                        transfer(db, (table, from), (table, to));
                    }
                    // New records are zeros, and so do not change the sum either.
                    if place % 7 == 0 {
                        save(table, 0).unwrap();
                    }
                }
            });
        }
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                db.checkpoint().unwrap();
            }
        });
        for round in 0..60 {
            let reverse = round % 2 == 1;
            let mut found = scanned_range(&table, ScanRange { reverse, ..ScanRange::default() }).unwrap();
            if reverse {
                found.reverse();
            }
            assert!(found.iter().map(|(id, _)| *id).eq(0..found.len() as u64), "ids are in order without holes");
            let sum: i64 = found.iter().map(|(_, value)| value).sum();
            assert_eq!(sum, 100 * COUNT as i64, "round {round} mixes two moments");
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(figure(&db, "old_image_bytes"), 0);
}

#[test]
fn a_scan_goes_on_with_its_cut_across_checkpoints_deletes_and_saves() {
    let (_folder, db) = small_database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..300).unwrap();
    db.checkpoint().unwrap();
    let mut early = table.scan(ScanRange::default()).unwrap();
    let mut bytes = [0; 8];
    assert_eq!(early.next(RecordMut { bytes: &mut bytes, nulls: None }).unwrap(), Some(RecordId(0)));
    for id in 0..300 {
        replace(&table, RecordId(id), -1).unwrap();
    }
    let mut middle = table.scan(ScanRange::default()).unwrap();
    db.checkpoint().unwrap();
    table.delete_many(&(0..300).map(RecordId).collect::<Vec<_>>()).unwrap();
    save_many(&table, 1000..2000).unwrap();
    db.checkpoint().unwrap();
    let late = scanned(&table).unwrap();
    assert!(figure(&db, "old_image_bytes") > 0, "the images that the open scans need are kept");
    assert_eq!(rest(&mut early), (1..300).map(|id| (id, id as i64)).collect::<Vec<_>>());
    assert_eq!(rest(&mut middle), (0..300).map(|id| (id, -1)).collect::<Vec<_>>());
    assert_eq!(late, (0..1000).map(|index| (300 + index, 1000 + index as i64)).collect::<Vec<_>>());
    drop(early);
    assert!(figure(&db, "old_image_bytes") > 0, "one of the scans is still open");
    drop(middle);
    assert_eq!(figure(&db, "old_image_bytes"), 0);
}

#[test]
fn a_scan_is_not_disturbed_by_the_dropping_of_other_tables() {
    let (_folder, db) = small_database();
    let (kept, gone) = (numbers(&db, "kept"), numbers(&db, "gone"));
    save_many(&kept, 0..300).unwrap();
    save_many(&gone, 0..300).unwrap();
    let mut scan = kept.scan(ScanRange::default()).unwrap();
    let mut lost = gone.scan(ScanRange::default()).unwrap();
    for id in 0..300 {
        replace(&gone, RecordId(id), 5).unwrap();
        replace(&kept, RecordId(id), 5).unwrap();
    }
    db.drop_table("gone").unwrap();
    db.checkpoint().unwrap();
    assert_error(lost.next_json(JsonStyle::default()), Error::NotFound, &["gone", "dropped"]);
    assert_eq!(rest(&mut scan), (0..300).map(|id| (id, id as i64)).collect::<Vec<_>>());
    drop((scan, lost));
    assert_eq!(figure(&db, "old_image_bytes"), 0);
}

#[test]
fn a_range_is_from_and_to_in_either_direction() {
    let (_folder, db) = small_database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..100).unwrap();
    table.delete_many(&[RecordId(0), RecordId(10), RecordId(20), RecordId(99)]).unwrap();
    let live = |id: &u64| !matches!(id, 0 | 10 | 20 | 99);
    for (from, to) in [(0, u64::MAX), (0, 100), (10, 21), (10, 11), (5, 5), (7, 3), (99, 200), (100, 200), (16, 32)] {
        let expected: Vec<u64> = (from..to.min(100)).filter(live).collect();
        let ids = |reverse| {
            let found = scanned_range(&table, ScanRange { from, to, reverse }).unwrap();
            assert!(found.iter().all(|(id, value)| *id as i64 == *value));
            found.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
        };
        assert_eq!(ids(false), expected, "{from}..{to}");
        assert_eq!(ids(true), expected.iter().rev().copied().collect::<Vec<_>>(), "{from}..{to} reversed");
    }
    let far = ScanRange { from: u64::MAX, to: u64::MAX, reverse: true };
    assert_eq!(scanned_range(&table, far).unwrap(), []);
    assert_eq!(scanned(&numbers(&db, "empty")).unwrap(), []);
}

#[test]
fn many_records_of_a_scan_come_at_once_with_their_ids() {
    let (_folder, db) = small_database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..100).unwrap();
    table.delete(RecordId(3)).unwrap();
    let mut cursor = table.scan(ScanRange::default()).unwrap();
    let (mut ids, mut bytes, mut found) = ([RecordId(0); 7], [0xEE; 7 * 16], Vec::new());
    loop {
        let room = RecordsMut { bytes: &mut bytes, stride: 16, nulls: None, null_stride: 0 };
        let count = cursor.next_many(&mut ids, room).unwrap();
        for (index, id) in ids[..count].iter().enumerate() {
            assert_eq!(bytes[index * 16..][..8], (id.0 as i64).to_le_bytes());
            assert_eq!(bytes[index * 16 + 8..][..8], [0xEE; 8]);
            found.push(id.0);
        }
        if count == 0 {
            break;
        }
    }
    assert_eq!(found, (0..100).filter(|id| *id != 3).collect::<Vec<_>>());
    let room = RecordsMut { bytes: &mut bytes, stride: 16, nulls: None, null_stride: 0 };
    assert_eq!(cursor.next_many(&mut ids, room).unwrap(), 0, "the end stays the end");
    let none = RecordsMut { bytes: &mut [], stride: 0, nulls: None, null_stride: 0 };
    assert_eq!(cursor.next_many(&mut [], none).unwrap(), 0);
}

#[test]
fn memory_too_small_is_refused_and_the_scan_loses_no_record_by_it() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..5).unwrap();
    let mut cursor = table.scan(ScanRange::default()).unwrap();
    let mut ids = [RecordId(0); 3];
    assert_error(cursor.next(RecordMut { bytes: &mut [0; 7], nulls: None }), Error::Invalid, &["numbers", "8"]);
    let small = RecordMut { bytes: &mut [0; 8], nulls: Some(&mut []) };
    assert_error(cursor.next(small), Error::Invalid, &["numbers"]);
    let small = RecordsMut { bytes: &mut [0; 23], stride: 8, nulls: None, null_stride: 0 };
    assert_error(cursor.next_many(&mut ids, small), Error::Invalid, &["numbers"]);
    let small = RecordsMut { bytes: &mut [0; 24], stride: 8, nulls: Some(&mut [0; 2]), null_stride: 1 };
    assert_error(cursor.next_many(&mut ids, small), Error::Invalid, &["numbers"]);
    assert_eq!(rest(&mut cursor), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]);
}

#[test]
fn values_that_move_together_between_tables_are_seen_together() {
    let (_folder, db) = small_database();
    let (left, right) = (numbers(&db, "left"), numbers(&db, "right"));
    save_many(&left, (0..200).map(|_| 7)).unwrap();
    save_many(&right, (0..200).map(|_| 7)).unwrap();
    // The records of one table lie far apart, so that the batch crosses pages, stripes and files.
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut value = 8_i64;
            while !stop.load(Ordering::Relaxed) {
                let mut batch = db.batch().unwrap();
                for table in [&left, &right] {
                    for id in [0, 99, 199] {
                        batch.replace(table, RecordId(id), packed(&value.to_le_bytes())).unwrap();
                    }
                }
                batch.commit(false).unwrap();
                value += 1;
            }
        });
        for _ in 0..300 {
            for table in [&left, &right] {
                let found = scanned(table).unwrap();
                assert_eq!((found[0].1, found[99].1), (found[99].1, found[199].1));
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn scans_that_hold_too_much_memory_make_writers_say_so_until_they_are_closed() {
    let folder = Folder::new();
    let options = OpenOptions {
        dirty_soft: 64 << 10,
        dirty_hard: 128 << 10,
        no_threads: true,
        sizes: small_sizes(),
        ..kit::quick()
    };
    let db = Database::open(folder.path(), &options).unwrap();
    let table = numbers(&db, "numbers");
    for from in 0..40 {
        save_many(&table, from * 400..(from + 1) * 400).unwrap();
    }
    let mut cursor = table.scan(ScanRange::default()).unwrap();
    let refused = (0..16_000).find_map(|id| replace(&table, RecordId(id), -1).err());
    assert_error(refused.map_or(Ok(()), Err), Error::Full, &["scans", "close"]);
    assert_eq!(rest(&mut cursor).len(), 16_000);
    drop(cursor);
    for id in 0..16_000 {
        replace(&table, RecordId(id), -2).unwrap();
    }
    assert_eq!(figure(&db, "old_image_bytes"), 0);
    assert!(scanned(&table).unwrap().iter().all(|(_, value)| *value == -2));
}

#[test]
fn a_writer_is_refused_and_not_held_up_where_a_checkpoint_finds_nothing_to_write() {
    let folder = Folder::new();
    let options = OpenOptions { dirty_soft: 64 << 10, dirty_hard: 128 << 10, sizes: small_sizes(), ..kit::quick() };
    let db = Database::open(folder.path(), &options).unwrap();
    let table = numbers(&db, "numbers");
    for from in 0..40 {
        save_many(&table, from * 400..(from + 1) * 400).unwrap();
    }
    let cursor = table.scan(ScanRange::default()).unwrap();
    let refused = (0..16_000).find_map(|id| replace(&table, RecordId(id), -1).err());
    assert_error(refused.map_or(Ok(()), Err), Error::Full, &["scans", "close"]);
    // Now everything is in the files, and only the scan holds memory.
    db.checkpoint().unwrap();
    for _ in 0..3 {
        assert_error(replace(&table, RecordId(0), -1), Error::Full, &["scans", "close"]);
    }
    drop(cursor);
    replace(&table, RecordId(0), -1).unwrap();
}

#[cfg(feature = "simulation")]
#[test]
fn a_scan_goes_on_where_a_read_failed() {
    use diamonddb::Durability;
    use diamonddb::os::simulated::{FailKind, Failure, SimulatedDisk};

    let (disk, options) = (SimulatedDisk::new(3), kit::simulated(Durability::Sync));
    let db = Database::open_on(disk.clone(), &options).unwrap();
    save_many(&numbers(&db, "numbers"), 0..100).unwrap();
    db.close().unwrap();
    for reverse in [false, true] {
        let db = Database::open_on(disk.clone(), &options).unwrap();
        let table = db.table("numbers").unwrap();
        let mut cursor = table.scan(ScanRange { reverse, ..ScanRange::default() }).unwrap();
        let (mut found, mut failures, mut bytes) = (Vec::new(), 0, [0; 8]);
        loop {
            // The next read of the disk fails, and the one after it does not.
            disk.clear_failures();
            if failures < found.len() / 10 {
                disk.fail(Failure { at: disk.calls(), kind: FailKind::InputOutput, from_then_on: false });
            }
            match cursor.next(RecordMut { bytes: &mut bytes, nulls: None }) {
                Ok(Some(id)) => found.push(id.0),
                Ok(None) => break,
                Err(Error::Io(_)) => failures += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        disk.clear_failures();
        if reverse {
            found.reverse();
        }
        assert!(failures > 2, "{failures} reads failed");
        assert!(found.iter().copied().eq(0..100), "{found:?}");
    }
}
