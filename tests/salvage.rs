//! A salvage takes whatever verifies out of a damaged database, says what is lost, and leaves the source as it is.
//!
//! The databases and faults are those of `tests/damage.rs`. Each damaged copy is salvaged into a new database. Every
//! record that arrives there is one that the model knows: the current one, or, where something of the wal or of the
//! catalog is reported to be missing, one that some earlier commit left. Every record of the model that does not
//! arrive is on the list of what is lost.
//!
//! `DIAMOND_SALVAGES` (3,000 if not given) and `DIAMOND_SEED` change what is visited. A failure prints the
//! `DIAMOND_INJECTION` that repeats it alone.
#![cfg(feature = "simulation")]

mod ruin;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use diamonddb::os::simulated::{FailKind, Failure, Rng, SimulatedDisk};
use diamonddb::os::{Disk, Open, write_all_at};
use diamonddb::{Database, Error, Loss, OpenOptions, RecordId, SalvageOptions, SalvageReport, salvage, salvage_on};
use ruin::{Fault, Model, Shape, shapes};
use support::number_from_env;

const FORMAT: i32 = 503;
const IO: i32 = 500;

/// What a salvage made.
struct Outcome {
    report: SalvageReport,
    losses: Vec<Loss>,
    found: Model,
}

fn salvaged(source: &Arc<SimulatedDisk>, options: &SalvageOptions) -> Result<Outcome, Error> {
    let before = source.fingerprint();
    let (events, target) = (source.events(), SimulatedDisk::new(1));
    let mut losses = Vec::new();
    let result = salvage_on(Arc::clone(source) as _, Arc::clone(&target) as _, options, &mut |loss| losses.push(loss));
    assert_eq!(source.fingerprint(), before, "the source is as it was");
    assert!(source.events() <= events + 1, "a lock is all that happens to the source");
    let report = result?;
    assert_eq!(report.losses, losses.len() as u64);
    let db = Database::open_on(target as _, &OpenOptions { must_exist: true, ..OpenOptions::default() })?;
    let found = Model::of(&db);
    for table in &report.tables {
        assert_eq!(found.tables[&table.name].records.len() as u64, table.records, "{}", table.name);
    }
    assert_eq!(found.tables.len(), report.tables.len());
    Ok(Outcome { report, losses, found })
}

#[test]
fn a_sound_database_is_salvaged_whole() {
    for shape in shapes() {
        let outcome = salvaged(&shape.disk.kill(), &SalvageOptions::default()).expect("it is salvaged");
        assert_eq!(outcome.losses, [], "{}", shape.name);
        assert!(outcome.found == *shape.states.last().unwrap(), "{}: all is there, ids included", shape.name);
    }
}

#[test]
fn what_a_salvage_brings_was_saved_and_what_it_does_not_bring_is_listed() {
    let seed = number_from_env("DIAMOND_SEED", 0x5A17A6E);
    let shapes = shapes();
    if let Ok(text) = std::env::var("DIAMOND_INJECTION") {
        inject(&shapes, seed, text.parse().expect("DIAMOND_INJECTION is a number"), true);
        return;
    }
    let wanted = number_from_env("DIAMOND_SALVAGES", 3_000);
    let next = AtomicU64::new(0);
    let kept = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= wanted {
                        break;
                    }
                    kept.fetch_add(inject(&shapes, seed, number, false), Ordering::Relaxed);
                }
            });
        }
    });
    // One fault cannot cost much: a table at worst, where its one data file is gone.
    let kept = kept.into_inner() / wanted;
    println!("seed {seed:#x}: of each 1,000 records {kept} are kept on average");
    assert!(kept > 900, "of each 1,000 records only {kept} are kept");
}

/// Damages a copy of some database and salvages it. Returns how many of each thousand records are kept.
fn inject(shapes: &[Shape], seed: u64, number: u64, talkative: bool) -> u64 {
    let mut rng = Rng::new(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let shape = &shapes[rng.below(shapes.len() as u64) as usize];
    let fault = Fault::random(shape, &mut rng);
    let _told = Told { seed, number, what: format!("{}: {fault}", shape.name) };
    let disk = shape.disk.kill();
    fault.strike(&disk);
    let outcome = salvaged(&disk, &SalvageOptions::default()).expect("one fault leaves something");
    if talkative {
        println!("{}: {fault}: {:?} {:?}", shape.name, outcome.report, outcome.losses);
    }
    let last = shape.states.last().expect("there is a state");
    let is_cut_in_silence = shape.wal.lost_in_silence(&disk);
    let is_root = |file: &&str| file.starts_with("wal/") || ["MANIFEST", "data/1"].contains(file);
    let is_rootless = outcome.losses.iter().any(|loss| loss.table.is_none());
    assert!(!is_rootless || fault.files().iter().any(is_root), "damage to a table's files costs no commits");
    check(shape, last, &outcome, is_cut_in_silence);
    let count = |model: &Model| model.tables.values().map(|table| table.records.len()).sum::<usize>() as u64;
    1000 * count(&outcome.found) / count(last)
}

fn check(shape: &Shape, last: &Model, outcome: &Outcome, is_cut_in_silence: bool) {
    // Of commits that are missing it is only known that they are.
    let is_older = outcome.losses.iter().any(|loss| loss.table.is_none()) || is_cut_in_silence;
    let history = history(shape);
    for (name, table) in &outcome.found.tables {
        for (id, record) in &table.records {
            let current = last.tables.get(name).and_then(|table| table.records.get(id));
            let was = history.get(id).is_some_and(|records| records.contains(record));
            assert!(current == Some(record) || is_older && was, "record {id} of {name} is {record}, not {current:?}");
        }
    }
    if is_older {
        return;
    }
    for (name, table) in &last.tables {
        let is_lost = |id: u64| {
            let has = |loss: &Loss| loss.ids.is_none_or(|(first, last)| (first..=last).contains(&id));
            outcome.losses.iter().any(|loss| loss.table.as_deref() == Some(name) && has(loss))
        };
        let found = outcome.found.tables.get(name);
        assert_eq!(found.map(|found| found.next_id), Some(table.next_id), "{name} goes on with the same id");
        for (id, record) in &table.records {
            let there = found.and_then(|found| found.records.get(id));
            assert!(
                there == Some(record) || is_lost(*id),
                "record {id} of {name} is {there:?}, and not listed as lost"
            );
        }
    }
}

/// All that was ever saved under an id, in whatever table: tables are renamed.
fn history(shape: &Shape) -> BTreeMap<u64, BTreeSet<String>> {
    let mut history: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    for table in shape.history.iter().chain(&shape.states).flat_map(|state| state.tables.values()) {
        for (id, record) in &table.records {
            history.entry(*id).or_default().insert(record.clone());
        }
    }
    history
}

#[test]
fn pages_without_a_checksum_are_taken_only_when_asked_for() {
    let shapes = shapes();
    let shape = shapes.iter().find(|shape| shape.name.starts_with("tables of all kinds")).unwrap();
    let disk = shape.disk.kill();
    disk.remove("data/2.sum").unwrap();
    let careful = salvaged(&disk, &SalvageOptions::default()).unwrap();
    let bold = salvaged(&disk, &SalvageOptions { unverified: true }).unwrap();
    let name = careful.losses[0].table.clone().expect("the table is known");
    assert_eq!(careful.found.tables[&name].records.len(), 0);
    assert_eq!(bold.found.tables[&name].records, shape.states.last().unwrap().tables[&name].records);
    let table = bold.report.tables.iter().find(|table| table.name == name).unwrap();
    assert_eq!(table.unverified, table.records);
}

#[test]
fn any_bytes_are_refused_or_salvaged_and_never_more_than_that() {
    let shapes = shapes();
    let mut rng = Rng::new(number_from_env("DIAMOND_SEED", 99));
    for _ in 0..300 {
        let shape = &shapes[rng.below(shapes.len() as u64) as usize];
        let disk = shape.disk.kill();
        for _ in 0..1 + rng.below(12) {
            let fault = Fault::random(shape, &mut rng);
            let is_there = |name: &str| disk.open(name, Open::Read).is_ok();
            if shape.files.keys().all(|name| is_there(name)) {
                fault.strike(&disk);
            }
        }
        // Both slots of the manifest, now and then.
        if rng.chance(1, 4)
            && let Ok(file) = disk.open("MANIFEST", Open::Write)
        {
            write_all_at(&*file, &[7; 8192], 0).unwrap();
        }
        match salvaged(&disk, &SalvageOptions { unverified: rng.chance(1, 2) }) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.status(), FORMAT, "{error:?}"),
        }
    }
}

#[test]
fn a_call_that_fails_costs_what_it_was_to_read_and_no_more() {
    for shape in shapes() {
        let sound = shape.disk.kill();
        salvaged(&sound, &SalvageOptions::default()).expect("it is salvaged");
        let mut refused = 0;
        for at in (0..sound.calls()).step_by(3) {
            let disk = shape.disk.kill();
            disk.fail(Failure { at, kind: FailKind::InputOutput, from_then_on: false });
            match salvaged(&disk, &SalvageOptions::default()) {
                Ok(outcome) => check(&shape, shape.states.last().unwrap(), &outcome, false),
                Err(error) => {
                    assert_eq!(error.status(), IO, "call {at}: {error:?}");
                    refused += 1;
                }
            }
        }
        assert!(refused < 3, "{}: only the lock cannot do without a call", shape.name);
    }
}

#[test]
fn a_database_is_salvaged_without_its_manifest() {
    for shape in shapes() {
        let disk = shape.disk.kill();
        disk.remove("MANIFEST").unwrap();
        let outcome = salvaged(&disk, &SalvageOptions::default()).expect("it is salvaged");
        assert!(outcome.found == *shape.states.last().unwrap(), "{}: {:?}", shape.name, outcome.losses);
    }
}

#[test]
fn what_holds_nothing_of_a_database_is_refused() {
    let disk = SimulatedDisk::new(3);
    let target = SimulatedDisk::new(4);
    let answer = salvage_on(disk as _, Arc::clone(&target) as _, &SalvageOptions::default(), &mut |_| ());
    assert_eq!(answer.unwrap_err().status(), FORMAT);
    assert_eq!(target.events(), 0, "and nothing is made");
}

#[test]
fn an_interrupted_salvage_leaves_nothing_under_the_target_s_name() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("salvage-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (source, target) = (folder.join("db"), folder.join("new"));
    let db = Database::open(&source, &OpenOptions::default()).unwrap();
    let table = db.make_table("numbers", &diamonddb::Schema::parse(r#"{"n": ["i64"]}"#).unwrap()).unwrap();
    (0..10).for_each(|n| assert_eq!(table.save_json(&format!(r#"{{"n":{n}}}"#)).unwrap(), RecordId(n)));
    let run = |source: &std::path::Path| salvage(source, &target, &SalvageOptions::default(), &mut |_| ());
    let locked = 301;
    assert_eq!(run(&source).unwrap_err().status(), locked, "while it is being written");
    db.close().unwrap();
    // What an interruption leaves is not taken for the target, and is not written over.
    std::fs::create_dir(folder.join("new.salvaging")).unwrap();
    let refusal = run(&source).unwrap_err();
    assert!(refusal.message().contains("new.salvaging"), "{refusal}");
    assert!(!target.exists());
    std::fs::remove_dir(folder.join("new.salvaging")).unwrap();
    let missing = 200;
    assert_eq!(run(&folder.join("nowhere")).unwrap_err().status(), missing);
    assert_eq!(run(&source).unwrap().tables[0].records, 10);
    assert!(!folder.join("new.salvaging").exists());
    assert!(run(&source).unwrap_err().message().contains("not empty"), "a target is never written over");
    let inside = salvage(&source, source.join("inside"), &SalvageOptions::default(), &mut |_| ());
    assert!(inside.unwrap_err().message().contains("inside"));
    std::fs::remove_dir_all(folder).unwrap();
}

/// Tells how to repeat a failure, when there is one.
struct Told {
    seed: u64,
    number: u64,
    what: String,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a salvage fails: {}; repeat it with:", self.what);
            eprintln!("DIAMOND_SEED={:#x} DIAMOND_INJECTION={}", self.seed, self.number);
        }
    }
}
