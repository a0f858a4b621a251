//! What comes after a kill or a power cut: any history that the engine itself wrote opens again, with all that was
//! acknowledged, and the recovered database is as good as one that was never stopped.

#![cfg(feature = "simulation")]

mod kit;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use diamonddb::os::simulated::{FailKind, Failure, Rng, SimulatedDisk};
use diamonddb::{Database, Durability, Error, OpenOptions, Record, RecordId, Sizes};
use kit::meddler::{ManifestUnsynced, Meddler, OpenFiles, SumsLost};
use kit::{Folder, assert_error, numbers, replace, save, save_many, scanned, simulated};

#[test]
fn a_recovered_database_outlives_many_checkpoints() {
    for sizes in [Sizes::default(), kit::small_sizes()] {
        let folder = Folder::in_memory();
        let options = OpenOptions { no_threads: true, sizes, ..OpenOptions::default() };
        let db = Database::open(folder.path(), &options).unwrap();
        let table = numbers(&db, "numbers");
        for value in 0..100 {
            save(&table, value).unwrap();
        }
        let killed = folder.copy();
        let recovered = Database::open(killed.path(), &options).unwrap();
        let table = recovered.table("numbers").unwrap();
        // Enough for every segment that recovery left to be used again, and for those made since.
        for round in 0..20 {
            for value in 0..200 {
                save(&table, 100 + round * 200 + value).unwrap();
            }
            recovered.checkpoint().unwrap();
        }
        assert!(scanned(&table).unwrap().into_iter().eq((0..4100).map(|value| (value as u64, value))));
        assert_eq!(recovered.verify().unwrap().findings, []);
    }
}

/// Forty bytes that verify as a frame of the wal, from far in the future, which says that all before it was synced.
fn frame_from_the_future() -> [u8; 40] {
    let (lsn, payload) = (1_u64 << 62, [0; 8]);
    let mut header = [0; 32];
    header[0..4].copy_from_slice(&40_u32.to_le_bytes());
    header[8..16].copy_from_slice(&lsn.to_le_bytes());
    header[16..24].copy_from_slice(&(lsn - 1).to_le_bytes());
    // The salt, which no record can know, stays zeros.
    header[28..32].copy_from_slice(&1_u32.to_le_bytes());
    let parts = [&header[0..4], &header[8..32]];
    let crc = parts.into_iter().fold(crc32c::crc32c(&payload), crc32c::crc32c_append);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
    let mut frame = [0; 40];
    frame[..32].copy_from_slice(&header);
    frame
}

#[test]
fn a_record_that_looks_like_a_frame_keeps_no_database_from_opening() {
    let options = simulated(Durability::Sync);
    let disk = SimulatedDisk::new(1);
    let db = Database::open_on(disk.clone(), &options).unwrap();
    let table = db.make_table("records", &kit::schema(r#"{"bytes": ["bytes", 40]}"#)).unwrap();
    let frame = frame_from_the_future();
    // Until segments are used again, whose later parts still hold such records.
    for _ in 0..12 {
        for _ in 0..250 {
            table.save(Record { bytes: &frame, nulls: None }).unwrap();
        }
        db.checkpoint().unwrap();
    }
    for _ in 0..5 {
        table.save(Record { bytes: &[0; 40], nulls: None }).unwrap();
    }
    let recovered = Database::open_on(disk.kill(), &options).unwrap();
    assert_eq!(recovered.table("records").unwrap().count().unwrap(), 3005);
    assert_eq!(recovered.verify().unwrap().findings, []);
}

#[test]
fn recoverys_own_first_segment_survives_a_lost_sync_and_then_a_power_cut() {
    let options = simulated(Durability::Sync);
    let mut states = 0;
    for at in 0.. {
        let disk = SimulatedDisk::new(at);
        let db = Database::open_on(disk.clone(), &options).unwrap();
        let table = numbers(&db, "numbers");
        for value in 0..10 {
            save(&table, value).unwrap();
        }
        let killed = disk.kill();
        // Everything that was open stays open, as in a process that died.
        std::mem::forget(db);
        // One sync of the recovery fails, and what it should have made durable is dropped.
        killed.fail(Failure { at, kind: FailKind::LostSync, from_then_on: false });
        std::mem::forget(Database::open_on(killed.clone(), &options));
        if killed.failed_calls() == 0 {
            if killed.calls() <= at {
                break;
            }
            continue;
        }
        // The next one finds in the cache what never reached the device, until the power is cut.
        let killed = killed.kill();
        std::mem::forget(Database::open_on(killed.clone(), &options));
        for point in killed.recording().walk() {
            let recovered = Database::open_on(point.state(&point.choice(false)), &options)
                .unwrap_or_else(|error| panic!("lost sync {at}, power cut before event {}: {error}", point.index()));
            let found = scanned(&recovered.table("numbers").unwrap()).unwrap();
            assert!(found.into_iter().eq((0..10).map(|value| (value as u64, value))));
            states += 1;
        }
    }
    assert!(states > 100, "only {states} power cuts were looked at");
}

#[test]
fn after_a_drop_beside_writers_and_a_kill_the_database_opens() {
    let options = simulated(Durability::Os);
    for round in 0..300 {
        let disk = SimulatedDisk::new(round);
        let db = Database::open_on(disk.clone(), &options).unwrap();
        let table = numbers(&db, "numbers");
        save_many(&table, 0..20).unwrap();
        let written = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let (table, written) = (&table, &written);
                scope.spawn(move || {
                    let outcome = (0..).try_for_each(|value| {
                        replace(table, RecordId(writer * 5), value)?;
                        written.fetch_add(1, Ordering::SeqCst);
                        Ok(())
                    });
                    assert_error(outcome, Error::NotFound, &[]);
                });
            }
            // Each time at another moment of theirs.
            while written.load(Ordering::SeqCst) < round % 100 {
                std::hint::spin_loop();
            }
            db.drop_table("numbers").unwrap();
        });
        // All that the writers were told of is in the wal by now, and replay goes over it.
        let recovered = Database::open_on(disk.kill(), &options).unwrap_or_else(|error| panic!("{round}: {error}"));
        assert_eq!(recovered.tables().unwrap().len(), 0);
    }
}

#[test]
fn thousands_of_pages_whose_sums_were_lost_are_all_recovered() {
    const PAGES: u64 = 2000;
    let options = OpenOptions {
        dirty_soft: 1 << 29,
        dirty_hard: 1 << 30,
        sizes: Sizes { page: 1024, ..Sizes::default() },
        ..simulated(Durability::Os)
    };
    let (disk, sums_lost) = (SimulatedDisk::new(7), Arc::new(SumsLost::default()));
    let db = Database::open_on(Meddler::new(disk.clone(), sums_lost.clone()), &options).unwrap();
    let table = numbers(&db, "numbers");
    let count = PAGES as i64 * 64;
    save_many(&table, 0..count).unwrap();
    db.checkpoint().unwrap();
    for value in (0..count).step_by(64) {
        replace(&table, RecordId(value as u64), -value).unwrap();
    }
    sums_lost.0.store(true, Ordering::SeqCst);
    assert_error(db.checkpoint(), Error::Poisoned, &[]);
    // New pages lie beside old sums, and only the wal knows that they are right.
    let recovered = Database::open_on(disk.kill(), &options).unwrap();
    let table = recovered.table("numbers").unwrap();
    let expected = (0..count).map(|value| (value as u64, if value % 64 == 0 { -value } else { value }));
    assert!(scanned(&table).unwrap().into_iter().eq(expected));
    assert_eq!(recovered.verify().unwrap().findings, []);
}

#[test]
fn a_database_whose_making_was_cut_short_opens_after_every_power_cut() {
    let options = simulated(Durability::Sync);
    let mut rng = Rng::new(0xC07);
    for at in 0.. {
        let disk = SimulatedDisk::new(at);
        disk.fail(Failure { at, kind: FailKind::InputOutput, from_then_on: true });
        let opened = Database::open_on(disk.clone(), &options);
        let failed = disk.failed_calls() > 0;
        drop(opened);
        // Another process finds what is to be seen, which the device need not have.
        let disk = disk.kill();
        let db = Database::open_on(disk.clone(), &options).unwrap();
        let table = numbers(&db, "numbers");
        save(&table, 4711).unwrap();
        let acknowledged = disk.events();
        for (event, point) in disk.recording().walk().enumerate() {
            let choices = [point.choice(false), point.choice(true), point.random_choice(&mut rng)];
            for choice in choices {
                let db = Database::open_on(point.state(&choice), &options);
                let db = db.unwrap_or_else(|error| panic!("call {at} failed, power cut before {event}: {error:?}"));
                assert!(event < acknowledged || scanned(&db.table("numbers").unwrap()).unwrap() == [(0, 4711)]);
            }
        }
        if !failed {
            break;
        }
    }
}

#[test]
fn a_manifest_that_could_not_be_synced_is_no_damage() {
    let (disk, unsynced) = (SimulatedDisk::new(6), Arc::new(ManifestUnsynced::default()));
    let db = Database::open_on(Meddler::new(disk.clone(), unsynced.clone()), &simulated(Durability::Sync)).unwrap();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..100).unwrap();
    db.checkpoint().unwrap();
    save_many(&table, 100..200).unwrap();
    unsynced.0.store(true, Ordering::SeqCst);
    assert_error(db.checkpoint(), Error::Poisoned, &["MANIFEST"]);
    assert_eq!(db.verify().unwrap().findings, []);
    drop(db);
    let recovered = Database::open_on(disk.kill(), &simulated(Durability::Sync)).unwrap();
    assert_eq!(scanned(&recovered.table("numbers").unwrap()).unwrap().len(), 200);
    assert_eq!(recovered.verify().unwrap().findings, []);
}

#[test]
fn a_bulk_append_that_fills_no_page_survives_although_its_data_file_does_not() {
    let mut options = simulated(Durability::Sync);
    options.sizes.bulk_min = 8;
    let disk = SimulatedDisk::new(1);
    let db = Database::open_on(disk.clone(), &options).unwrap();
    save_many(&numbers(&db, "numbers"), 0..2).unwrap();
    // Of what was not synced nothing survives, the names of new files among it.
    let point = disk.recording().at(disk.events());
    let recovered = Database::open_on(point.state(&point.choice(false)), &options).unwrap();
    assert_eq!(scanned(&recovered.table("numbers").unwrap()).unwrap(), [(0, 0), (1, 1)]);
    assert_eq!(recovered.verify().unwrap().findings, []);
}

#[test]
fn recovery_opens_no_more_files_at_once_than_writing_did() {
    let options = simulated(Durability::Sync);
    let [written, recovered] = [const { OpenFiles::new() }; 2].map(Arc::new);
    let disk = SimulatedDisk::new(9);
    let db = Database::open_on(Meddler::new(disk.clone(), written.clone()), &options).unwrap();
    for number in 0..100 {
        save_many(&numbers(&db, &number.to_string()), 0..1000).unwrap();
    }
    let again = Database::open_on(Meddler::new(disk.kill(), recovered.clone()), &options).unwrap();
    assert_eq!(scanned(&again.table("99").unwrap()).unwrap().len(), 1000);
    assert_eq!(again.verify().unwrap().findings, []);
    let (written, recovered) = (written.most(), recovered.most());
    assert!(recovered <= written + 4, "{recovered} files were open at once, and {written} before");
}
