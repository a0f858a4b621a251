//! On a full disk: whoever needs more room is told so, and all that has its room already goes on.

#![cfg(feature = "simulation")]

mod kit;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use diamonddb::os::simulated::SimulatedDisk;
use diamonddb::os::{Disk, RealDisk};
use diamonddb::{Database, Durability, Error, OpenOptions, RecordId, Sizes};
use kit::meddler::{Full, Meddler, Room};
use kit::{Folder, assert_error, fetch, numbers, replace, save, save_many, scanned, simulated};

/// What a power cut leaves of record 1, if nothing survives that was not synced.
fn record_1_after_a_power_cut(disk: &SimulatedDisk, options: &OpenOptions) -> i64 {
    let point = disk.recording().at(disk.events());
    let db = Database::open_on(point.state(&point.choice(false)), options).unwrap();
    fetch(&db.table("numbers").unwrap(), RecordId(1)).unwrap()
}

#[test]
fn on_a_full_disk_the_interval_and_the_close_still_sync_what_was_written() {
    let options = OpenOptions { interval_ms: 1, ..simulated(Durability::Async) };
    let (disk, full) = (SimulatedDisk::new(3), Arc::new(Full::default()));
    let db = Database::open_on(Meddler::new(disk.clone(), full.clone()), &options).unwrap();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..100).unwrap();
    db.flush().unwrap();
    full.0.store(true, Ordering::SeqCst);
    // One step a millisecond after the other: the interval is over each time.
    let step = || {
        std::thread::sleep(Duration::from_millis(2));
        db.step(Duration::ZERO)
    };
    // So many that a new segment is wanted, while the old one has room left.
    for value in 0..60 {
        replace(&table, RecordId(1), value).unwrap();
    }
    assert_error(step(), Error::Full, &["room"]);
    assert_eq!(record_1_after_a_power_cut(&disk, &options), 59);
    replace(&table, RecordId(1), 4711).unwrap();
    assert_error(step(), Error::Full, &["room"]);
    assert_eq!(record_1_after_a_power_cut(&disk, &options), 4711);
    replace(&table, RecordId(1), 4712).unwrap();
    db.close().unwrap();
    assert_eq!(record_1_after_a_power_cut(&disk, &options), 4712);
}

#[test]
fn on_a_full_disk_records_are_replaced_checkpoints_made_and_dropped_tables_removed() {
    let mut options = simulated(Durability::Sync);
    // Each new segment is to be larger than those that could be used again.
    options.sizes.segment_max = 1 << 20;
    options.sizes.wal_soft = 1 << 30;
    let (disk, full) = (SimulatedDisk::new(4), Arc::new(Full::default()));
    let db = Database::open_on(Meddler::new(disk.clone(), full.clone()), &options).unwrap();
    let (table, big) = (numbers(&db, "numbers"), numbers(&db, "big"));
    save_many(&table, 0..100).unwrap();
    save_many(&big, 0..1000).unwrap();
    for _ in 0..3 {
        (0..50).for_each(|id| replace(&table, RecordId(id), 7).unwrap());
        db.checkpoint().unwrap();
    }
    full.0.store(true, Ordering::SeqCst);
    // Many times what the segments hold: they are used again and again, though each is smaller than is liked.
    (0..5000).for_each(|value| replace(&table, RecordId(1), value).unwrap());
    db.checkpoint().unwrap();
    // What needs a larger file is refused each time, and leaves all else as it was.
    let refused = |value| (0..1000).try_for_each(|_| save(&table, value).map(|_| ()));
    assert_error(refused(1), Error::Full, &["room"]);
    let count = table.count().unwrap();
    assert_error(refused(2), Error::Full, &["room"]);
    assert_eq!(table.count().unwrap(), count);
    db.checkpoint().unwrap();
    let files = disk.list("data").unwrap().len();
    db.drop_table("big").unwrap();
    db.checkpoint().unwrap();
    assert!(disk.list("data").unwrap().len() < files, "the files of a dropped table are gone");
    replace(&table, RecordId(1), 4711).unwrap();
    let recovered = Database::open_on(disk.kill(), &options).unwrap();
    assert_eq!(fetch(&recovered.table("numbers").unwrap(), RecordId(1)).unwrap(), 4711);
    full.0.store(false, Ordering::SeqCst);
    save_many(&table, 0..1000).unwrap();
    assert_eq!(table.count().unwrap(), count + 1000);
}

#[test]
fn on_a_full_disk_a_writer_at_the_memory_limit_hears_of_it_and_does_not_wait() {
    let (folder, room) = (Folder::new(), Arc::new(Room(AtomicI64::new(i64::MAX))));
    let real = Arc::new(RealDisk::open(folder.path(), true).unwrap());
    let options = OpenOptions {
        durability: Durability::Os,
        dirty_soft: 256 << 10,
        dirty_hard: 512 << 10,
        sizes: Sizes { segment_min: 4 << 20, ..Sizes::default() },
        ..OpenOptions::default()
    };
    let db = Database::open_on(Meddler::new(real, room.clone()), &options).unwrap();
    let table = numbers(&db, "numbers");
    for _ in 0..8 {
        save_many(&table, 0..6000).unwrap();
    }
    db.checkpoint().unwrap();
    // No checkpoint can be made, not even one that needs no more than is there.
    room.0.store(0, Ordering::SeqCst);
    let (tell, told) = mpsc::channel();
    let writer = std::thread::spawn({
        let table = table.clone();
        // All over the table, so that more pages become dirty than there is memory for.
        move || {
            let outcome = (0..100_000).try_for_each(|step| replace(&table, RecordId(step * 521 % 48_000), 1));
            let _ = tell.send(outcome);
        }
    });
    let outcome = told.recv_timeout(Duration::from_secs(20));
    // Also where it still waits, it gets to its end now.
    room.0.store(i64::MAX, Ordering::SeqCst);
    assert_error(outcome.expect("the writer waits for ever"), Error::Full, &[]);
    writer.join().unwrap();
    // With room again, everything goes on.
    db.checkpoint().unwrap();
    (0..48_000).for_each(|id| replace(&table, RecordId(id), 2).unwrap());
    assert!(scanned(&table).unwrap().iter().all(|(_, value)| *value == 2));
}

#[test]
fn on_a_full_disk_a_checkpoint_begins_a_segment_that_has_room_for_all_sums() {
    let mut options = simulated(Durability::Sync);
    options.dirty_soft = 1 << 20;
    options.dirty_hard = 2 << 20;
    options.sizes.wal_soft = 1 << 30;
    // However many pages had been dirty, and so however large segments are, when few or many more become so.
    for (first, then) in
        (100..1000).step_by(100).flat_map(|first| (100..1000).step_by(50).map(move |then| (first, then)))
    {
        let (disk, full) = (SimulatedDisk::new(8), Arc::new(Full::default()));
        let db = Database::open_on(Meddler::new(disk, full.clone()), &options).unwrap();
        let table = numbers(&db, "numbers");
        for _ in 0..16 {
            save_many(&table, 0..1000).unwrap();
            db.checkpoint().unwrap();
        }
        // A page has sixteen records.
        let replace_one_a_page = |count| (0..count).for_each(|page| replace(&table, RecordId(page * 16), 1).unwrap());
        replace_one_a_page(first);
        db.checkpoint().unwrap();
        replace_one_a_page(then);
        full.0.store(true, Ordering::SeqCst);
        db.checkpoint().unwrap_or_else(|error| panic!("{first} pages, then {then}: {error}"));
    }
}
