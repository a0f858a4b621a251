//! Damage: whatever one fault of a device does to the files of a database, it is reported or without effect. Nobody
//! ever reads a record that was not saved, or misses one that was, without being told.
//!
//! Each injection damages a copy of one of several databases, opens it, and reads everything in every way there is.
//! What is read must be what the undamaged database says, or `CORRUPT`; an opening may be refused with `CORRUPT`,
//! `FORMAT` or `IO`; and where the opening succeeds and `verify` finds nothing, all must be right. Some copies are
//! then written to and closed: damage that was reported must not be accepted in silence afterwards.
//!
//! `LOCK` is exempt, since nothing is read from it. And of the newest commits before a kill there is one copy, in the
//! wal: damage to it that leaves no later frame as a witness looks like what a crash may tear, and is cut off as such.
//! `Wal::lost_in_silence` says exactly when.
//!
//! `DIAMOND_INJECTIONS` (20,000 if not given) and `DIAMOND_SEED` change what is visited. A failure prints the
//! `DIAMOND_INJECTION` that repeats it alone.
#![cfg(feature = "simulation")]

mod ruin;
mod support;

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use diamonddb::os::simulated::{Rng, SimulatedDisk};
use diamonddb::{Database, OpenOptions, RecordId, RecordMut, Records, Schema};
use ruin::{Fault, Model, Reading, Shape, options, shapes};
use support::number_from_env;

const CORRUPT: i32 = 501;
const FORMAT: i32 = 503;
const IO: i32 = 500;
const POISONED: i32 = 502;
const NOT_FOUND: i32 = 200;

#[test]
fn damage_is_reported_or_without_effect() {
    let seed = number_from_env("DIAMOND_SEED", 0xDA3A6E);
    let shapes = shapes();
    if let Ok(text) = std::env::var("DIAMOND_INJECTION") {
        let number = text.parse().expect("DIAMOND_INJECTION is a number");
        let fate = inject(&shapes, seed, number, true);
        println!("injection {number}: {fate:?}");
        return;
    }
    let wanted = number_from_env("DIAMOND_INJECTIONS", 20_000);
    let (next, seen) = (AtomicU64::new(0), Mutex::new(HashSet::new()));
    let counts: [AtomicU64; 3] = Default::default();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while (seen.lock().unwrap().len() as u64) < wanted {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let (fingerprint, fate) = inject(&shapes, seed, number, false);
                    if fate != Fate::None && seen.lock().unwrap().insert(fingerprint) {
                        counts[fate as usize].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let [refused, reported, harmless] = counts.map(AtomicU64::into_inner);
    println!("seed {seed:#x}: {refused} openings refused, {reported} times reported, {harmless} times without effect");
    assert!(refused + reported + harmless >= wanted);
    assert!(refused.min(reported).min(harmless) > wanted / 20, "the injections are one-sided");
}

#[test]
fn a_segment_of_the_wal_that_is_missing_or_cut_short_is_damage_and_not_its_end() {
    for shape in shapes().iter().filter(|shape| shape.name.starts_with("killed")) {
        let file = shape.wal.newest_file();
        let cuts = (0..shape.files[file].len() as u64).step_by(100);
        let cuts = cuts.map(|size| Fault::Truncated { file: file.to_owned(), size });
        let mut refused = 0;
        for fault in cuts.chain([Fault::Removed { file: file.to_owned() }]) {
            let disk = shape.disk.kill();
            fault.strike(&disk);
            match Database::open_on(disk as _, &options()) {
                // Behind the last frame nothing counts, and nothing is missed.
                Ok(db) => assert_eq!(Reading::of(&db).agrees_with(shape.states.last().unwrap()), Ok(()), "{fault}"),
                Err(error) => {
                    assert_eq!(error.status(), CORRUPT, "{fault}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 40, "{}: {refused} were refused", shape.name);
    }
}

#[test]
fn a_data_file_that_was_cut_off_is_an_error_and_no_signal() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("damage-{}", std::process::id()));
    let db = Database::open(&folder, &OpenOptions::default()).unwrap();
    let table = db.make_table("numbers", &Schema::parse(r#"{"n": ["i64"]}"#).unwrap()).unwrap();
    let records: Vec<u8> = (0..3000_u64).flat_map(u64::to_le_bytes).collect();
    let records = Records { bytes: &records, stride: 8, nulls: None, null_stride: 0, count: 3000 };
    table.save_many(records).unwrap();
    db.close().unwrap();
    let file = folder.join("data/2");
    let size = std::fs::metadata(&file).unwrap().len();
    // From the end on: a file that is cut is not made longer again.
    for size in [size, size - 1, 40_000, 36_864, 20_481, 20_480, 20_479, 4096, 100, 0] {
        std::fs::File::options().write(true).open(&file).unwrap().set_len(size).unwrap();
        // Clean pages are read through a map here.
        let db = Database::open(&folder, &OpenOptions { read_only: true, ..OpenOptions::default() }).unwrap();
        let table = db.table("numbers").unwrap();
        for id in 0..3000 {
            let mut bytes = [0; 8];
            let fetched = table.fetch(RecordId(id), RecordMut { bytes: &mut bytes, nulls: None });
            // A page has 512 slots of 16 bytes.
            let is_there = 4096 + (id / 512 + 1) * 8192 <= size;
            match fetched {
                Ok(()) => assert!(is_there && u64::from_le_bytes(bytes) == id, "record {id} of {size} bytes"),
                Err(error) => assert!(!is_there && error.status() == CORRUPT, "record {id} of {size} bytes: {error:?}"),
            }
        }
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// What came of an injection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The opening was refused.
    Refused,
    /// Some reads were, or `verify` found something.
    Reported,
    /// Everything was there.
    Harmless,
    /// The fault changed nothing.
    None,
}

/// Damages a copy of some database and looks at what can be read of it. Returns what tells the copy from others.
fn inject(shapes: &[Shape], seed: u64, number: u64, talkative: bool) -> (u64, Fate) {
    let mut rng = Rng::new(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let shape = &shapes[rng.below(shapes.len() as u64) as usize];
    let fault = Fault::random(shape, &mut rng);
    let _told = Told { seed, number, shape: shape.name, fault: &fault };
    let disk = shape.disk.kill();
    fault.strike(&disk);
    let fingerprint = disk.fingerprint();
    if talkative {
        println!("{}: {fault}", shape.name);
    }
    if fingerprint == shape.fingerprint {
        return (fingerprint, Fate::None);
    }
    let read_only = rng.chance(1, 4);
    let options = OpenOptions { read_only, ..options() };
    let db = match Database::open_on(Arc::clone(&disk) as _, &options) {
        Ok(db) => db,
        // MANIFEST gone: who only reads is told that there is no database; who writes, that there is something else.
        Err(error) if read_only && error.status() == NOT_FOUND => return (fingerprint, Fate::Refused),
        Err(error) => {
            assert!([CORRUPT, FORMAT, IO].contains(&error.status()), "the opening says {error:?}");
            return (fingerprint, Fate::Refused);
        }
    };
    let reading = Reading::of(&db);
    let expected = expected(shape, &fault, &disk, &reading);
    let is_whole = reading.is_whole();
    if !read_only && rng.chance(1, 3) {
        write_on(db, &disk, expected.clone(), &mut rng);
    }
    (fingerprint, if is_whole { Fate::Harmless } else { Fate::Reported })
}

/// The state of the database that was found: the last one, unless the wal has lost its end in silence.
fn expected<'a>(shape: &'a Shape, fault: &Fault, disk: &Arc<SimulatedDisk>, reading: &Reading) -> &'a Model {
    let (last, earlier) = shape.states.split_last().expect("there is a state");
    let Err(difference) = reading.agrees_with(last) else { return last };
    let found = earlier.iter().rev().find(|state| reading.agrees_with(state).is_ok());
    // A segment's size is known, and so is the next one: what is cut off or missing altogether is noticed.
    let is_cut = matches!(fault, Fault::Truncated { .. } | Fault::Removed { .. });
    let is_exempt = !is_cut && shape.wal.lost_in_silence(disk);
    match found {
        Some(state) if is_exempt => state,
        Some(_) => panic!("{fault}: newest commits are missing, though the wal has witnesses: {difference}"),
        None => panic!("{fault}: {difference}"),
    }
}

/// Writes to a damaged database, closes it, and reads it again: nothing that was damaged has become something else.
fn write_on(db: Database, disk: &Arc<SimulatedDisk>, mut model: Model, rng: &mut Rng) {
    let is_refusal = |status| [CORRUPT, FORMAT, IO, POISONED].contains(&status);
    for (name, expected) in &mut model.tables {
        let table = db.table(name).expect("a table that was read opens");
        let Some(json) = expected.records.values().next().cloned() else { continue };
        for _ in 0..rng.below(4) {
            let id = rng.below(expected.next_id + 1);
            let json = json.clone();
            let written = match rng.below(3) {
                0 => table.save_json(&json).map(|id| {
                    assert_eq!(id.0, expected.next_id, "ids are dense");
                    expected.records.insert(id.0, json);
                    expected.next_id += 1;
                }),
                1 => table.replace_json(RecordId(id), &json).map(|()| {
                    let before = expected.records.insert(id, json);
                    assert!(before.is_some(), "record {id} of {name} was not there to be replaced");
                }),
                _ => table.delete(RecordId(id)).map(|()| {
                    assert!(expected.records.remove(&id).is_some(), "record {id} of {name} was not there");
                }),
            };
            if let Err(error) = written {
                let is_right = !expected.records.contains_key(&id) && (200..202).contains(&error.status());
                assert!(is_right || is_refusal(error.status()), "writing to {name} says {error:?}");
            }
        }
    }
    if rng.chance(1, 2)
        && let Err(error) = db.checkpoint()
    {
        assert!(is_refusal(error.status()), "the checkpoint says {error:?}");
    }
    if let Err(error) = db.close() {
        assert!(is_refusal(error.status()), "the close says {error:?}");
    }
    match Database::open_on(Arc::clone(disk) as _, &options()) {
        Ok(db) => {
            let difference = Reading::of(&db).agrees_with(&model);
            assert_eq!(difference, Ok(()), "after writing to the damaged database");
        }
        Err(error) => assert!(is_refusal(error.status()), "opening again says {error:?}"),
    }
}

/// Tells how to repeat a failure, when there is one.
struct Told<'a> {
    seed: u64,
    number: u64,
    shape: &'a str,
    fault: &'a Fault,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("an injection fails: {}: {}; repeat it with:", self.shape, self.fault);
            eprintln!("DIAMOND_SEED={:#x} DIAMOND_INJECTION={}", self.seed, self.number);
        }
    }
}
