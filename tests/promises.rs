//! The seven promises of the README, each by its number, each by a test that fails if it is broken.
//!
//! The disk is a simulated one wherever power cuts, kills and failing calls are needed, and a real folder where files
//! are damaged or threads race. A *story* is a fixed list of steps on a database; it remembers what the database was
//! after each step, when the step began and what had been promised by then. Whatever a crash leaves is compared with
//! that: at least what was promised, at most what was begun, and exactly the state after some step.

#![cfg(feature = "simulation")]

mod kit;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use diamonddb::os::simulated::{FailKind, Failure, Rng, SimulatedDisk};
use diamonddb::{
    Database, Durability, Error, JsonStyle, Lsn, OpenOptions, Record, RecordId, RecordMut, Records, RecordsMut,
    ScanRange, Schema, Table,
};
use kit::meddler::{Gate, Meddler, Room};
use kit::{Folder, assert_error, fetch, numbers, packed, replace, save, save_many, scanned, simulated};

/// All that a database holds: for each table its next id and its records.
type State = BTreeMap<String, (u64, Vec<(u64, i64)>)>;

fn state(db: &Database) -> Result<State, Error> {
    db.tables()?
        .into_iter()
        .map(|info| {
            let table = db.table(&info.name)?;
            let records = scanned(&table)?;
            assert_eq!(records.len() as u64, info.count, "the count of table {} is right", info.name);
            Ok((info.name, (info.next_id, records)))
        })
        .collect()
}

type Step = fn(&Database) -> Result<(), Error>;

/// Every kind of change, each a commit of its own, with checkpoints between.
const STEPS: &[Step] = &[
    |db| db.make_table("a", &kit::schema(r#"{"value": ["i64"]}"#)).map(|_| ()),
    |db| save(&db.table("a")?, 1).map(|_| ()),
    |db| db.make_table("b", &kit::schema(r#"{"value": ["i64"]}"#)).map(|_| ()),
    |db| {
        let (a, b) = (db.table("a")?, db.table("b")?);
        let mut batch = db.batch()?;
        batch.replace(&a, RecordId(0), packed(&10_i64.to_le_bytes()))?;
        for value in 0..40_i64 {
            batch.save(if value % 2 == 0 { &a } else { &b }, packed(&value.to_le_bytes()))?;
        }
        batch.commit(false).map(|_| ())
    },
    |db| db.checkpoint(),
    |db| db.table("a")?.delete(RecordId(3)),
    |db| replace(&db.table("b")?, RecordId(0), -1),
    // Over the limit from which full pages are written past the end, and from the middle of a page.
    |db| save_many(&db.table("a")?, 1000..1700).map(|_| ()),
    |db| replace(&db.table("a")?, RecordId(400), -2),
    |db| db.table("a")?.delete_many(&(16..48).map(RecordId).collect::<Vec<_>>()),
    |db| db.rename_table("b", "c"),
    |db| db.checkpoint(),
    |db| {
        let (a, c) = (db.table("a")?, db.table("c")?);
        let mut batch = db.batch()?;
        batch.delete(&a, RecordId(0))?;
        batch.replace(&c, RecordId(1), packed(&7_i64.to_le_bytes()))?;
        batch.save(&c, packed(&8_i64.to_le_bytes()))?;
        batch.commit(false).map(|_| ())
    },
    |db| save_many(&db.table("c")?, 0..100).map(|_| ()),
    |db| db.drop_table("a"),
    |db| db.make_table("a", &kit::schema(r#"{"value": ["i64"]}"#)).map(|_| ()),
    |db| save(&db.table("a")?, 5).map(|_| ()),
    |db| db.checkpoint(),
    |db| save(&db.table("a")?, 6).map(|_| ()),
];

/// What happened, and what was promised when.
struct Story {
    disk: Arc<SimulatedDisk>,
    /// The state after each step; the first is before all, where there may be no database yet.
    states: Vec<State>,
    /// For each state, how many events there were when its step began.
    begun: Vec<usize>,
    /// From so many events on, this state, or a later one, is promised.
    promised: Vec<(usize, usize)>,
}

impl Story {
    /// Tells the whole story. `promise` is called after each step and says whether all so far is promised now.
    fn tell(options: &OpenOptions, mut promise: impl FnMut(&Database, usize) -> bool) -> Story {
        let disk = SimulatedDisk::new(1);
        let mut story = Story { disk, states: vec![State::new()], begun: vec![0], promised: vec![(0, 0)] };
        let db = Database::open_on(story.disk.clone(), options).unwrap();
        for (number, step) in STEPS.iter().enumerate() {
            story.begun.push(story.disk.events());
            step(&db).unwrap();
            story.states.push(state(&db).unwrap());
            if promise(&db, number) {
                story.promised.push((story.disk.events(), number + 1));
            }
        }
        // The power fails before anything is closed.
        std::mem::forget(db);
        story
    }

    /// Insists that a crash before event `index` left what it may leave.
    #[track_caller]
    fn check(&self, index: usize, found: &State, how: &str) {
        let least = self.promised.iter().rev().find(|(events, _)| *events <= index).map_or(0, |(_, state)| *state);
        let most = self.begun.iter().rposition(|begun| *begun <= index).unwrap_or(0);
        let fits = self.states[least..=most].contains(found);
        assert!(fits, "{how} before event {index}: states {least} to {most} may be there, found was {found:?}");
    }
}

fn reopened_state(disk: Arc<SimulatedDisk>, options: &OpenOptions) -> State {
    let db = Database::open_on(disk, options).unwrap();
    let found = state(&db).unwrap();
    assert_eq!(db.verify().unwrap().findings, []);
    found
}

/// Cuts the power at every event, and looks at what that may leave.
fn cut_the_power_everywhere(story: &Story, options: &OpenOptions, random_count: usize) {
    let recording = story.disk.recording();
    let mut rng = Rng::new(7);
    for point in recording.walk() {
        let mut choices = vec![point.choice(true), point.choice(false)];
        choices.extend((0..random_count).map(|_| point.random_choice(&mut rng)));
        for choice in choices {
            let found = reopened_state(point.state(&choice), options);
            story.check(point.index(), &found, &format!("power cut {choice}"));
        }
    }
}

#[test]
fn promise_1_a_synced_commit_survives_a_power_cut_at_any_event() {
    let options = simulated(Durability::Sync);
    let story = Story::tell(&options, |_, _| true);
    assert!(story.disk.events() > 150, "the story is worth telling");
    cut_the_power_everywhere(&story, &options, 1);
}

#[test]
fn promise_1_in_os_mode_a_commit_survives_a_kill_at_any_event() {
    let options = simulated(Durability::Os);
    let story = Story::tell(&options, |_, _| true);
    for point in story.disk.recording().walk() {
        story.check(point.index(), &reopened_state(point.killed(), &options), "kill");
    }
}

/// What a child process does for the test below: saves, says each id once it is acknowledged, and is killed.
#[test]
fn child_that_saves_until_it_is_killed() {
    let Ok(folder) = std::env::var("PROMISE_1_FOLDER") else { return };
    let db = Database::open(folder, &kit::quick()).unwrap();
    let table = numbers(&db, "numbers");
    for value in 0.. {
        println!("saved {}", save(&table, value).unwrap().0);
    }
}

#[test]
fn promise_1_in_os_mode_what_a_killed_process_was_told_is_there() {
    use std::io::{BufRead, BufReader};
    let folder = Folder::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_saves_until_it_is_killed", "--exact", "--nocapture"])
        .env("PROMISE_1_FOLDER", folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut told = lines.filter_map(|line| line.strip_prefix("saved ").and_then(|id| id.parse::<u64>().ok()));
    let mut last = told.by_ref().nth(2000).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // What it still said before it died counts as well.
    last = told.last().unwrap_or(last);
    let db = Database::open(folder.path(), &kit::quick()).unwrap();
    let found = scanned(&db.table("numbers").unwrap()).unwrap();
    assert!(found.len() as u64 > last, "{last} was acknowledged, and {} records are there", found.len());
    assert!(found.iter().enumerate().all(|(index, record)| *record == (index as u64, index as i64)));
    assert_eq!(db.verify().unwrap().findings, []);
}

#[test]
fn promise_1_in_os_mode_a_commit_waits_for_its_own_write_and_not_for_the_sync_of_others() {
    let (gate, options) = (Arc::new(Gate::default()), simulated(Durability::Os));
    let db = Database::open_on(Meddler::new(SimulatedDisk::new(1), gate.clone()), &options).unwrap();
    let table = numbers(&db, "numbers");
    save(&table, 1).unwrap();
    gate.shut_after(0);
    let saved = std::thread::scope(|scope| {
        let flushing = scope.spawn(|| db.flush());
        while gate.held() == 0 {
            std::thread::yield_now();
        }
        let (tell, told) = mpsc::channel();
        scope.spawn(move || tell.send(save(&table, 2)));
        let saved = told.recv_timeout(Duration::from_secs(60));
        gate.open();
        flushing.join().unwrap().unwrap();
        saved
    });
    saved.expect("the commit waited for the flush").unwrap();
}

#[test]
fn promise_1_in_async_mode_what_was_flushed_survives_a_power_cut() {
    let options = OpenOptions { interval_ms: u32::MAX, ..simulated(Durability::Async) };
    let story = Story::tell(&options, |db, number| {
        let flushes = number % 3 == 2;
        if flushes {
            db.flush().unwrap();
        }
        flushes
    });
    cut_the_power_everywhere(&story, &options, 1);
}

#[test]
fn promise_1_in_async_mode_what_is_older_than_the_interval_survives_a_power_cut() {
    let options = OpenOptions { interval_ms: 1, ..simulated(Durability::Async) };
    let story = Story::tell(&options, |db, _| {
        std::thread::sleep(Duration::from_millis(2));
        db.step(Duration::ZERO).unwrap();
        true
    });
    cut_the_power_everywhere(&story, &options, 0);
}

#[test]
fn promise_2_a_crash_leaves_a_prefix_and_a_batch_wholly_or_not_at_all() {
    // Nothing is promised here, so that everything since the checkpoints is at stake at every event; and still only
    // states that were there after some step, in both tables at once, may be found.
    let options = OpenOptions { interval_ms: u32::MAX, ..simulated(Durability::Async) };
    let story = Story::tell(&options, |_, _| false);
    cut_the_power_everywhere(&story, &options, 3);
}

#[test]
fn promise_2_of_many_writers_at_once_a_crash_leaves_whole_batches_and_a_prefix_of_each() {
    // Every thread saves its own numbers in order, the same into both tables by one batch.
    let disk = SimulatedDisk::new(2);
    let options = OpenOptions { no_threads: false, ..simulated(Durability::Sync) };
    let db = Database::open_on(disk.clone(), &options).unwrap();
    let (a, b) = (numbers(&db, "a"), numbers(&db, "b"));
    let made = disk.events();
    std::thread::scope(|scope| {
        for thread in 0..4_i64 {
            let (db, a, b) = (&db, &a, &b);
            scope.spawn(move || {
                for round in 0..25 {
                    let value = (thread * 1000 + round).to_le_bytes();
                    let mut batch = db.batch().unwrap();
                    batch.save(a, packed(&value)).unwrap();
                    batch.save(b, packed(&value)).unwrap();
                    batch.commit(false).unwrap();
                }
            });
        }
    });
    let recording = disk.recording();
    let mut rng = Rng::new(3);
    for point in recording.walk().filter(|point| point.index() >= made).step_by(3) {
        let found = reopened_state(point.state(&point.random_choice(&mut rng)), &simulated(Durability::Sync));
        let values = |name: &str| found[name].1.iter().map(|(_, value)| *value).collect::<Vec<_>>();
        let (a, b) = (values("a"), values("b"));
        let sorted = |values: &[i64]| {
            let mut values = values.to_vec();
            values.sort_unstable();
            values
        };
        assert_eq!(sorted(&a), sorted(&b), "event {}: a batch is in both tables or in none", point.index());
        for thread in 0..4 {
            let own: Vec<i64> = a.iter().copied().filter(|value| value / 1000 == thread).collect();
            assert!(own.iter().copied().eq(thread * 1000..thread * 1000 + own.len() as i64), "{own:?} has no hole");
        }
    }
}

#[test]
fn promise_3_no_reader_sees_half_of_a_commit() {
    let folder = Folder::new();
    // Commits wait for nothing, so that a writer writes all the time.
    let options = OpenOptions { durability: Durability::Async, sizes: kit::small_sizes(), ..OpenOptions::default() };
    let db = Database::open(folder.path(), &options).unwrap();
    // One record, all of whose words are the same: its state in tail padding, behind the record, far behind it; and in
    // one page after the other. The longer a copy takes, the more often a writer comes between.
    let shapes = [("small", 7, 20_000), ("middle", 250, 10_000), ("large", 7_500, 4_000)];
    for ((name, words, rounds), checkpoints) in shapes.into_iter().flat_map(|shape| [(shape, false), (shape, true)]) {
        let fields: Vec<String> = match words {
            // More fields than a schema may have are one field of bytes.
            7_500 => vec![format!(r#""bytes": ["bytes", {}]"#, words * 8)],
            _ => (0..words).map(|word| format!(r#""w{word}": ["i64"]"#)).collect(),
        };
        let nulls_size = fields.len().div_ceil(8);
        let table = db.make_table(name, &kit::schema(&format!("{{{}}}", fields.join(",")))).unwrap();
        let contents = [1_i64, -1].map(|value| value.to_le_bytes().repeat(words));
        for _ in 0..2 {
            table.save(Record { bytes: &contents[0], nulls: None }).unwrap();
        }
        let stop = AtomicBool::new(false);
        let is_whole = |bytes: &[u8]| contents.iter().any(|content| content == bytes);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        for content in &contents {
                            table.replace(RecordId(1), Record { bytes: content, nulls: None }).unwrap();
                        }
                    }
                });
            }
            if checkpoints {
                // Pages go to the file and come back.
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        db.checkpoint().unwrap();
                    }
                });
            }
            let readers: Vec<_> = (0..3)
                .map(|reader| {
                    let (table, is_whole) = (&table, &is_whole);
                    scope.spawn(move || {
                        let (mut bytes, mut nulls) = (vec![0; words * 8], vec![0; nulls_size]);
                        for _ in 0..rounds {
                            let nulls = (reader == 1).then_some(&mut nulls[..]);
                            if reader < 2 {
                                table.fetch(RecordId(1), RecordMut { bytes: &mut bytes, nulls }).unwrap();
                            } else {
                                let mut cursor = table.scan(ScanRange { from: 1, ..ScanRange::default() }).unwrap();
                                cursor.next(RecordMut { bytes: &mut bytes, nulls }).unwrap().unwrap();
                            }
                            assert!(is_whole(&bytes), "{name}: reader {reader} saw half of a commit");
                        }
                    })
                })
                .collect();
            let results: Vec<_> = readers.into_iter().map(|reader| reader.join()).collect();
            stop.store(true, Ordering::Relaxed);
            assert!(results.iter().all(Result::is_ok));
        });
        db.drop_table(name).unwrap();
    }
}

/// A database with several pages, a bulk append and several segments of wal behind it, in a real folder. Returns the
/// folder as a kill leaves it, with every frame vouched for by a later one, and as a clean close leaves it.
fn killed_and_closed() -> (Folder, Folder) {
    let folder = Folder::in_memory();
    let options = OpenOptions { dirty_soft: 1 << 20, dirty_hard: 2 << 20, ..simulated(Durability::Sync) };
    let options = OpenOptions { sizes: diamonddb::Sizes { wal_soft: 1 << 20, ..kit::small_sizes() }, ..options };
    let db = Database::open(folder.path(), &options).unwrap();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..100).unwrap();
    db.checkpoint().unwrap();
    save_many(&table, 100..750).unwrap();
    for value in 750..900 {
        save(&table, value).unwrap();
    }
    for id in 0..900 {
        if id % 50 == 0 {
            replace(&table, RecordId(id), 10_000 + id as i64).unwrap();
        }
    }
    // An idle writer leaves a watermark: it says that all before it was synced.
    db.step(Duration::ZERO).unwrap();
    let killed = folder.copy();
    db.close().unwrap();
    (killed, folder)
}

/// Reads everything there is to read. The first error, if any; a wrong value is no error but a failure.
fn read_all(path: &Path, how: &str) -> Result<(), Error> {
    let options = OpenOptions { must_exist: true, ..simulated(Durability::Sync) };
    let db = Database::open(path, &options)?;
    let table = db.table("numbers")?;
    let right = |id: u64| if id.is_multiple_of(50) { 10_000 + id as i64 } else { id as i64 };
    assert_eq!((table.next_id()?.0, table.count()?), (900, 900), "{how}");
    let mut first = Ok(());
    for id in 0..900 {
        match fetch(&table, RecordId(id)) {
            Ok(value) => assert_eq!(value, right(id), "{how}: record {id}"),
            Err(error) => first = first.and(Err(error)),
        }
    }
    match scanned(&table) {
        Ok(found) => assert!(found.iter().copied().eq((0..900).map(|id| (id, right(id)))), "{how}"),
        Err(error) => first = first.and(Err(error)),
    }
    // What is damaged is found by verifying too, and nothing else is.
    let report = db.verify()?;
    assert!(!(first.is_err() && report.findings.is_empty()), "{how}: {first:?} is not among the findings");
    first
}

#[test]
fn promise_4_a_flipped_bit_in_any_file_gives_right_values_or_corrupt() {
    let (killed, closed) = killed_and_closed();
    for (kind, folder) in [("killed", killed), ("closed", closed)] {
        read_all(folder.copy().path(), kind).unwrap();
        let files = kit::files(folder.path());
        let copy = Folder::in_memory();
        let (mut noticed, mut harmless) = (0, 0);
        for (name, bytes) in &files {
            if name == "LOCK" {
                continue;
            }
            // Dense where headers and the first frames are, every so often elsewhere.
            let places = (0..bytes.len()).filter(|at| at % 331 == 0 || at % 4096 < 64 && at % 8 == 3);
            for at in places {
                for (name, bytes) in &files {
                    let path = copy.path().join(name);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, bytes).unwrap();
                }
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << (at % 8);
                fs::write(copy.path().join(name), damaged).unwrap();
                match read_all(copy.path(), &format!("{kind}, byte {at} of {name}")) {
                    Ok(()) => harmless += 1,
                    Err(Error::Corrupt(_)) => noticed += 1,
                    Err(other) => panic!("{kind}, byte {at} of {name}: {other:?}"),
                }
                fs::remove_dir_all(copy.path()).unwrap();
            }
        }
        assert!(noticed > 50, "{kind}: {noticed} were noticed, {harmless} did not matter");
    }
}

/// Where the frames of a segment begin and end.
fn frames(segment: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = 4096;
    while at + 32 <= segment.len() {
        let size = u32::from_le_bytes(segment[at..at + 4].try_into().unwrap()) as usize;
        if size < 32 {
            break;
        }
        found.push(at..(at + size).next_multiple_of(8));
        at = found.last().unwrap().end;
    }
    found
}

#[test]
fn promise_4_a_torn_tail_is_told_apart_from_damage() {
    let folder = Folder::new();
    let options = simulated(Durability::Sync);
    let db = Database::open(folder.path(), &options).unwrap();
    let table = numbers(&db, "numbers");
    for value in 0..20 {
        save(&table, value).unwrap();
    }
    let killed = folder.copy();
    drop(db);
    let name = kit::files(killed.path()).into_keys().find(|name| name == "wal/1").unwrap();
    let segment = fs::read(killed.path().join(&name)).unwrap();
    let frames = frames(&segment);
    assert_eq!(frames.len(), 21, "one for the table and one for each record");
    for (index, frame) in frames.iter().enumerate() {
        for kept in [frame.start, frame.start + 1, frame.start + 31, frame.end - 9] {
            // The frame is torn in the middle; what comes after it is there.
            let copy = killed.copy();
            let mut torn = segment.clone();
            torn[kept..frame.end].fill(0);
            fs::write(copy.path().join(&name), torn).unwrap();
            let opened = Database::open(copy.path(), &options);
            if index + 1 < frames.len() {
                // A later frame says that this one had been synced.
                assert_error(opened.map(|_| ()), Error::Corrupt, &["wal/1"]);
                continue;
            }
            let found = scanned(&opened.unwrap().table("numbers").unwrap()).unwrap();
            assert!(found.iter().copied().eq((0..19).map(|id| (id, id as i64))), "all but the torn frame is there");
        }
    }
}

#[test]
fn promise_5_absurd_arguments_are_refused_and_nothing_else_happens() {
    let (_folder, db) = kit::database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..10).unwrap();
    let long = "x".repeat(10 << 20);
    for name in ["", "\0", "\u{7f}", &long] {
        assert!(db.make_table(name, table.schema()).is_err());
        assert!(db.rename_table("numbers", name).is_err());
        assert!(db.drop_table(name).is_err());
        assert!(db.table(name).is_err());
    }
    let deep = |open: &str| open.repeat(200_000);
    let many: String = (0..5000).map(|field| format!(r#""f{field}": ["u8"],"#)).collect();
    for text in [
        "",
        "null",
        "{}",
        "{",
        &long,
        &deep("["),
        &deep(r#"{"a":"#),
        &format!(r#"{{"a": {}"#, deep("[")),
        &format!("{{{}\"z\": [\"u8\"]}}", many),
        r#"{"a": ["string", 18446744073709551616]}"#,
        r#"{"a": ["string", -1]}"#,
        r#"{"a": ["string", 1e308]}"#,
        r#"{"a": ["bytes", 4294967297]}"#,
        r#"{"a": ["string", 65536, "characters"]}"#,
        &format!(r#"{{"{long}": ["u8"]}}"#),
    ] {
        assert!(Schema::parse(text).is_err(), "{}", &text[..text.len().min(50)]);
    }
    for text in [
        &*long,
        &deep("["),
        &deep(r#"{"value":"#),
        &format!(r#"{{"value": {}"#, deep("[")),
        &format!(r#"{{"value": {}1{}}}"#, deep("["), deep("]")),
        &format!(r#"{{"value": {}}}"#, "9".repeat(1 << 20)),
        &format!(r#"{{"value": 1e{}}}"#, "9".repeat(1000)),
        &format!(r#"{{"{long}": 1}}"#),
        &format!(r#"{{{}"value": 1}}"#, r#""value": 1,"#.repeat(100_000)),
        "{\"value\": \"\u{0}\"}",
    ] {
        for result in [table.save_json(text).map(|_| ()), table.replace_json(RecordId(0), text)] {
            let error = result.unwrap_err();
            assert!(error.message().len() < 1000, "a message does not repeat all that it was given");
        }
        assert!(table.save_many_json(text).is_err());
    }
    let huge = [usize::MAX, usize::MAX / 2 + 1, isize::MAX as usize, 1 << 40];
    for count in huge {
        for stride in [0, 1, 7, 8, 1 << 32, usize::MAX] {
            let records = |nulls| Records { bytes: &[0; 64], stride, nulls, null_stride: stride, count };
            for nulls in [None, Some(&[0; 8][..])] {
                assert!(table.save_many(records(nulls)).is_err());
                assert!(table.replace_many(&[RecordId(0)], records(nulls)).is_err());
            }
        }
    }
    for (bytes, stride, count) in [(0, 8, 1), (7, 8, 1), (15, 8, 2), (16, 7, 2), (64, 0, 2), (64, usize::MAX, 2)] {
        let memory = vec![0; bytes];
        let records = Records { bytes: &memory, stride, nulls: None, null_stride: 0, count };
        assert_error(table.save_many(records), Error::Invalid, &["numbers"]);
        let (mut memory, ids) = (memory.clone(), vec![RecordId(0); count]);
        let room = RecordsMut { bytes: &mut memory, stride, nulls: None, null_stride: 0 };
        assert_error(table.fetch_many(&ids, room, None), Error::Invalid, &["numbers"]);
    }
    let nulls = Records { bytes: &[0; 16], stride: 8, nulls: Some(&[0]), null_stride: 1, count: 2 };
    assert_error(table.save_many(nulls), Error::Invalid, &["numbers"]);
    // One record needs no stride at all, and none needs nothing.
    let one = Records { bytes: &[0; 8], stride: usize::MAX, nulls: Some(&[0]), null_stride: usize::MAX, count: 1 };
    let none = Records { bytes: &[], stride: usize::MAX, nulls: None, null_stride: usize::MAX, count: 0 };
    assert_eq!(table.save_many(one).unwrap(), RecordId(10));
    assert_eq!(table.save_many(none).unwrap(), RecordId(11));
    for from in [0, 5, 11, 1 << 60, u64::MAX] {
        for to in [0, 5, 11, 1 << 60, u64::MAX] {
            for reverse in [false, true] {
                let found = kit::scanned_range(&table, ScanRange { from, to, reverse }).unwrap();
                assert_eq!(found.len() as u64, to.min(11).saturating_sub(from.min(11)));
            }
        }
    }
    for lsn in [1 << 40, u64::MAX] {
        assert_error(db.wait_durable(Lsn(lsn), Some(Duration::MAX)), Error::Invalid, &[]);
    }
    db.wait_durable(Lsn(0), Some(Duration::MAX)).unwrap();
    assert!(!db.step(Duration::MAX).unwrap());
    assert_eq!(db.verify().unwrap().findings, []);
}

#[test]
fn promise_5_absurd_options_are_refused_or_work() {
    for dirty in [1, 100, 4096, 20_000, u64::MAX] {
        for no_threads in [false, true] {
            let folder = Folder::new();
            let options = OpenOptions { dirty_hard: dirty, no_threads, interval_ms: u32::MAX, ..kit::quick() };
            let Ok(db) = Database::open(folder.path(), &options) else { continue };
            // Records may be refused as too large, but nothing hangs and nothing is lost.
            let table = numbers(&db, "numbers");
            let saved = (0..100).filter(|value| save(&table, *value).is_ok()).count();
            assert_eq!(scanned(&table).unwrap().len(), saved);
            db.close().unwrap();
            let db = Database::open(folder.path(), &kit::quick()).unwrap();
            assert_eq!(scanned(&db.table("numbers").unwrap()).unwrap().len(), saved);
        }
    }
    let refused = OpenOptions { dirty_soft: 2 << 20, dirty_hard: 1 << 20, ..OpenOptions::default() };
    assert_error(Database::open(Folder::new().path(), &refused).map(|_| ()), Error::Invalid, &["dirty_soft"]);
}

#[test]
fn promise_5_paths_that_are_no_folders_are_errors() {
    let folder = Folder::new();
    fs::create_dir(folder.path()).unwrap();
    let inside = |name: &str| folder.path().join(name);
    fs::write(inside("file"), "text").unwrap();
    symlink(inside("loop"), inside("loop")).unwrap();
    let long = "x".repeat(5000);
    for path in ["", "/", "/proc", "/dev/null", "/proc/self/mem", "a\0b", "no/such/parent", &long] {
        assert!(Database::open(path, &OpenOptions::default()).is_err(), "{path:?}");
    }
    for name in ["file", "loop", "file/db", "none/db"] {
        assert!(Database::open(inside(name), &OpenOptions::default()).is_err(), "{name:?}");
    }
    assert_eq!(fs::read(inside("file")).unwrap(), b"text");
}

/// Uses everything of whatever opens. Errors are fine; panics and hangs are not.
fn use_up(path: &Path) {
    for read_only in [true, false] {
        let options = OpenOptions { read_only, ..simulated(Durability::Sync) };
        let Ok(db) = Database::open(path, &options) else { continue };
        for info in db.tables().unwrap() {
            let Ok(table) = db.table(&info.name) else { continue };
            for id in [0, 1, info.next_id / 2, info.next_id.wrapping_sub(1), info.next_id, u64::MAX] {
                let _ = kit::json(&table, RecordId(id));
            }
            for reverse in [false, true] {
                let Ok(mut cursor) = table.scan(ScanRange { reverse, ..ScanRange::default() }) else { continue };
                (0..200).find(|_| !matches!(cursor.next_json(JsonStyle::default()), Ok(Some(_))));
            }
            // A table that claims more than its file has is not walked to its end.
            if !read_only && info.next_id < 100_000 {
                let _ = (table.save_json("{}"), table.replace_json(RecordId(0), "{}"), table.delete(RecordId(1)));
                let _ = db.verify();
            }
        }
        let _ = (db.checkpoint(), db.flush(), db.close());
    }
}

#[test]
fn promise_5_arbitrary_files_as_a_database_never_abort_or_hang_the_host() {
    let (killed, closed) = killed_and_closed();
    let mut rng = Rng::new(5);
    for folder in [killed, closed] {
        let files = kit::files(folder.path());
        for (name, bytes) in &files {
            let path = |copy: &Folder| copy.path().join(name);
            // Missing, empty, cut, longer, a folder, a link, garbage of the same size, another of the files.
            let copy = folder.copy();
            fs::remove_file(path(&copy)).unwrap();
            use_up(copy.path());
            for size in [0, 1, 100, 4096, 8191, bytes.len().saturating_sub(1), bytes.len() / 2] {
                let copy = folder.copy();
                fs::write(path(&copy), &bytes[..size.min(bytes.len())]).unwrap();
                use_up(copy.path());
            }
            let copy = folder.copy();
            fs::write(path(&copy), [&bytes[..], &[0xAA; 10_000]].concat()).unwrap();
            use_up(copy.path());
            for target in ["/dev/zero", "/dev/null", "/", "nowhere", "LOCK"] {
                let copy = folder.copy();
                fs::remove_file(path(&copy)).unwrap();
                symlink(target, path(&copy)).unwrap();
                use_up(copy.path());
            }
            let copy = folder.copy();
            fs::remove_file(path(&copy)).unwrap();
            fs::create_dir(path(&copy)).unwrap();
            use_up(copy.path());
            for _ in 0..3 {
                let copy = folder.copy();
                fs::write(path(&copy), bytes.iter().map(|_| rng.next() as u8).collect::<Vec<_>>()).unwrap();
                use_up(copy.path());
            }
            for other in files.values() {
                let copy = folder.copy();
                fs::write(path(&copy), other).unwrap();
                use_up(copy.path());
            }
        }
    }
    // Names that only look like ours are neither read nor removed.
    let (folder, _) = killed_and_closed();
    let strangers = ["wal/18446744073709551615", "wal/007", "wal/+7", "wal/x", "data/+9", "data/0100", "data/x.sum"];
    for name in strangers {
        fs::write(folder.path().join(name), "not yours").unwrap();
    }
    read_all(folder.path(), "with strangers").unwrap();
    read_all(folder.path(), "again").unwrap();
    for name in strangers {
        assert_eq!(fs::read(folder.path().join(name)).unwrap(), b"not yours", "{name}");
    }
    for name in ["MANIFEST", "LOCK", "wal", "data", "wal/1", "data/1", "MANIFEST.new"] {
        let folder = Folder::in_memory();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![0x5A; 20_000]).unwrap();
        use_up(folder.path());
        let _ = fs::remove_file(&path);
        let _ = fs::create_dir_all(path.parent().unwrap());
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|status| status.success()));
        use_up(folder.path());
    }
}

/// Seals a block as the manifest and the headers are sealed.
fn seal(block: &mut [u8]) {
    let sum = xxhash_rust::xxh3::xxh3_64(&block[..4088]);
    block[4088..4096].copy_from_slice(&sum.to_le_bytes());
}

const ABSURD: [u64; 3] = [7, 1 << 41, u64::MAX];

#[test]
fn promise_5_files_with_right_checksums_and_absurd_numbers_are_survived() {
    let (killed, closed) = killed_and_closed();
    for folder in [&killed, &closed] {
        let manifest = fs::read(folder.path().join("MANIFEST")).unwrap();
        let generation = |slot: usize| u64::from_le_bytes(manifest[slot * 4096 + 16..][..8].try_into().unwrap());
        let slot = usize::from(generation(1) > generation(0));
        for at in (8..120).step_by(8) {
            for absurd in ABSURD {
                let copy = folder.copy();
                let mut forged = manifest.clone();
                let block = &mut forged[slot * 4096..][..4096];
                block[at..at + 8].copy_from_slice(&absurd.to_le_bytes());
                seal(block);
                fs::write(copy.path().join("MANIFEST"), forged).unwrap();
                use_up(copy.path());
            }
        }
        // The catalog, and the manifest that vouches for it.
        let word = |at: usize| u64::from_le_bytes(manifest[slot * 4096 + at..][..8].try_into().unwrap()) as usize;
        let (place, size) = (word(88), word(96));
        let catalog = fs::read(folder.path().join("data/1")).unwrap();
        for at in (0..size - 8).step_by(8) {
            for absurd in ABSURD {
                let copy = folder.copy();
                let mut forged = catalog.clone();
                forged[place + at..][..8].copy_from_slice(&absurd.to_le_bytes());
                let sum = xxhash_rust::xxh3::xxh3_64(&forged[place..place + size]);
                fs::write(copy.path().join("data/1"), &forged).unwrap();
                let mut forged = manifest.clone();
                let block = &mut forged[slot * 4096..][..4096];
                block[104..112].copy_from_slice(&sum.to_le_bytes());
                seal(block);
                fs::write(copy.path().join("MANIFEST"), forged).unwrap();
                use_up(copy.path());
            }
        }
    }
    // The last frames of the wal: payloads of commits.
    let segments = kit::files(killed.path()).into_keys().filter(|name| name.starts_with("wal/"));
    for name in segments {
        let segment = fs::read(killed.path().join(&name)).unwrap();
        for frame in frames(&segment).into_iter().rev().filter(|frame| frame.len() > 32).take(2) {
            let size = u32::from_le_bytes(segment[frame.start..][..4].try_into().unwrap()) as usize;
            for at in (frame.start + 32..frame.start + size - 7).step_by(8) {
                for absurd in ABSURD {
                    let copy = killed.copy();
                    let mut forged = segment.clone();
                    forged[at..at + 8].copy_from_slice(&absurd.to_le_bytes());
                    let mut crc = crc32c::crc32c(&forged[frame.start + 32..frame.start + size]);
                    crc = crc32c::crc32c_append(crc, &forged[frame.start..][..4]);
                    crc = crc32c::crc32c_append(crc, &forged[frame.start + 8..][..24]);
                    forged[frame.start + 4..][..4].copy_from_slice(&crc.to_le_bytes());
                    fs::write(copy.path().join(&name), forged).unwrap();
                    use_up(copy.path());
                }
            }
        }
    }
}

/// Reads everything in a thread of its own, and insists that it ends although others wait for the disk.
fn reads_end(db: &Database, tables: &[Table], how: &str) {
    std::thread::scope(|scope| {
        let (done, ended) = mpsc::channel();
        scope.spawn(move || {
            for table in tables {
                let next = table.next_id().unwrap().0;
                for id in 0..next {
                    fetch(table, RecordId(id)).unwrap();
                    kit::json(table, RecordId(id)).unwrap();
                }
                assert_eq!(scanned(table).unwrap().len() as u64, table.count().unwrap());
                assert_eq!(db.table(&table.name()).unwrap().next_id().unwrap().0, next);
            }
            assert!(db.tables().unwrap().len() >= tables.len());
            db.stats_json().unwrap();
            done.send(()).unwrap();
        });
        // Long enough for any machine; a reader that waits would wait for ever.
        let result = ended.recv_timeout(Duration::from_secs(30));
        if result.is_err() {
            eprintln!("reads wait for a disk: {how}");
            std::process::abort();
        }
    });
}

/// A database whose pages lie in files and were not touched since it was opened, on a disk with a gate.
fn gated(options: &OpenOptions) -> (Arc<Gate>, Database, [Table; 2]) {
    let disk = SimulatedDisk::new(6);
    let db = Database::open_on(disk.clone(), options).unwrap();
    for name in ["a", "b"] {
        save_many(&numbers(&db, name), 0..300).unwrap();
    }
    db.close().unwrap();
    let gate = Arc::new(Gate::default());
    let db = Database::open_on(Meddler::new(disk, gate.clone()), options).unwrap();
    let tables = ["a", "b"].map(|name| db.table(name).unwrap());
    (gate, db, tables)
}

#[test]
fn promise_6_reads_do_not_wait_for_a_writers_sync() {
    type Write = fn(&Database) -> Result<(), Error>;
    let writes: [(&str, Write); 7] = [
        ("save", |db| save(&db.table("a")?, 1).map(|_| ())),
        ("replace", |db| replace(&db.table("a")?, RecordId(5), 1)),
        ("bulk", |db| save_many(&db.table("a")?, 0..1000).map(|_| ())),
        ("make", |db| db.make_table("c", &kit::schema(r#"{"value": ["i64"]}"#)).map(|_| ())),
        ("rename", |db| db.rename_table("b", "d")),
        ("drop", |db| {
            db.make_table("c", &kit::schema(r#"{"value": ["i64"]}"#))?;
            db.drop_table("c")
        }),
        ("flush", |db| {
            let mut batch = db.batch()?;
            batch.save(&db.table("a")?, packed(&[0; 8]))?;
            batch.commit(true)?;
            db.flush()
        }),
    ];
    for (name, write) in writes {
        // Held at its first sync, at its second, and so on, until it comes through.
        for passed in 0.. {
            let (gate, db, tables) = gated(&simulated(Durability::Sync));
            gate.shut_after(passed);
            let held = std::thread::scope(|scope| {
                let writer = scope.spawn(|| write(&db));
                while gate.held() == 0 && !writer.is_finished() {
                    std::thread::yield_now();
                }
                let held = !writer.is_finished();
                reads_end(&db, &tables, &format!("{name} at its sync {passed}"));
                gate.open();
                writer.join().unwrap().unwrap();
                held
            });
            if !held {
                assert!(passed > 0, "{name} syncs nothing");
                break;
            }
        }
    }
}

#[test]
fn promise_6_reads_do_not_wait_for_a_checkpoint() {
    for passed in 0.. {
        let (gate, db, tables) = gated(&simulated(Durability::Os));
        for id in (0..300).step_by(7) {
            replace(&tables[0], RecordId(id), -1).unwrap();
        }
        save_many(&tables[1], 0..50).unwrap();
        gate.shut_after(passed);
        let held = std::thread::scope(|scope| {
            let checkpoint = scope.spawn(|| db.checkpoint());
            while gate.held() == 0 && !checkpoint.is_finished() {
                std::thread::yield_now();
            }
            let held = !checkpoint.is_finished();
            reads_end(&db, &tables, &format!("a checkpoint at its sync {passed}"));
            gate.open();
            checkpoint.join().unwrap().unwrap();
            held
        });
        if !held {
            assert!(passed > 4, "a checkpoint syncs wal, data, sums, catalog and manifest");
            return;
        }
    }
}

/// Tells the story with one failure planned. Returns what it was told when, up to the first error.
fn fail_once(options: &OpenOptions, failure: Failure) -> Option<(Story, Database, Error)> {
    let disk = SimulatedDisk::new(1);
    let mut story = Story { disk, states: vec![State::new()], begun: vec![0], promised: vec![(0, 0)] };
    let db = Database::open_on(story.disk.clone(), options).unwrap();
    story.disk.fail(failure);
    for (number, step) in STEPS.iter().enumerate() {
        story.begun.push(story.disk.events());
        let done = step(&db);
        // The planned failure may strike the reading as well; it strikes once.
        story.states.push(state(&db).or_else(|_| state(&db)).unwrap());
        match done {
            Ok(()) => story.promised.push((story.disk.events(), number + 1)),
            Err(error) => return Some((story, db, error)),
        }
    }
    let lost = failure.kind == FailKind::LostSync && story.disk.failed_calls() > 0;
    assert!(!lost, "the sync of call {} failed, and nobody was told", failure.at);
    None
}

/// How many calls opening and the whole story make.
fn calls_of_the_story(options: &OpenOptions) -> std::ops::Range<u64> {
    let disk = SimulatedDisk::new(1);
    let db = Database::open_on(disk.clone(), options).unwrap();
    let opened = disk.calls();
    for step in STEPS {
        step(&db).unwrap();
        // As `fail_once` does, which reads between the steps.
        state(&db).unwrap();
    }
    let calls = opened..disk.calls();
    drop(db);
    calls
}

#[test]
fn promise_7_after_a_failed_sync_nothing_is_written_and_reopening_recovers() {
    let options = simulated(Durability::Sync);
    let mut rng = Rng::new(9);
    let mut failures = 0;
    for kind in [FailKind::LostSync, FailKind::InputOutput] {
        let calls = calls_of_the_story(&options);
        for at in calls.step_by(if kind == FailKind::LostSync { 1 } else { 3 }) {
            let Some((mut story, db, error)) = fail_once(&options, Failure { at, kind, from_then_on: false }) else {
                continue;
            };
            failures += 1;
            let step = story.states.len() - 2;
            let how = format!("{kind:?} of call {at} in step {step}: {error:?}");
            let told = matches!(error, Error::CommitUnknown(_) | Error::Poisoned(_));
            if kind == FailKind::InputOutput && !told {
                // A read or an allocation failed: nothing changed, and all goes on.
                assert!(matches!(error, Error::Io(_)), "{how}");
                assert_eq!(story.states[step + 1], story.states[step], "{how}");
                STEPS[step](&db).unwrap_or_else(|error| panic!("{how}, and then {error:?}"));
                continue;
            }
            assert!(told, "{how}");
            // Writes say so, reads go on.
            let later = db.make_table("later", &kit::schema(r#"{"a": ["u8"]}"#)).map(|_| ());
            assert_error(later, Error::Poisoned, &["opened again"]);
            for name in story.states[step + 1].keys() {
                let table = db.table(name).unwrap();
                assert_error(save(&table, 1), Error::Poisoned, &["opened again"]);
                assert_error(save_many(&table, 0..1000), Error::Poisoned, &["opened again"]);
            }
            assert_error(db.checkpoint(), Error::Poisoned, &["opened again"]);
            assert_error(db.flush(), Error::Poisoned, &["opened again"]);
            assert_eq!(state(&db).unwrap(), story.states[step + 1], "{how}: reads go on");
            assert!(db.stats_json().unwrap().contains("opened again"), "the figures say so as well");
            assert_error(db.close(), Error::Poisoned, &["opened again"]);
            story.states.truncate(step + 2);
            // A power cut leaves what was acknowledged, or also the step that failed.
            let end = story.disk.recording();
            let point = end.at(end.len());
            for choice in [point.choice(false), point.choice(true), point.random_choice(&mut rng)] {
                story.check(point.index(), &reopened_state(point.state(&choice), &options), &how);
            }
            // So does reopening on the machine that runs on; and what that finds is safe from a power cut afterwards,
            // although the system showed it bytes that the device may never have had.
            let disk = story.disk.kill();
            let db = Database::open_on(disk.clone(), &options).unwrap();
            let found = state(&db).unwrap();
            story.check(point.index(), &found, &how);
            let after = disk.recording();
            let point = after.at(after.len());
            std::mem::forget(db);
            let choice = point.choice(false);
            assert_eq!(reopened_state(point.state(&choice), &options), found, "{how}: reopened, then a power cut");
        }
    }
    assert!(failures > 50, "{failures} failures were seen");
}

#[test]
fn promise_7_everyone_who_waits_for_a_failed_sync_hears_of_it() {
    let disk = SimulatedDisk::new(4);
    let options = OpenOptions { no_threads: false, ..simulated(Durability::Sync) };
    let gate = Arc::new(Gate::default());
    let db = Database::open_on(Meddler::new(disk.clone(), gate.clone()), &options).unwrap();
    let table = numbers(&db, "numbers");
    save(&table, 0).unwrap();
    gate.shut_after(0);
    let results: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (1..=8)
            .map(|value| {
                scope.spawn({
                    let table = &table;
                    move || save(table, value)
                })
            })
            .collect();
        // All are visible, and wait, in the group that is held up or in the next.
        while table.count().unwrap() < 9 {
            std::thread::yield_now();
        }
        disk.fail(Failure { at: disk.calls(), kind: FailKind::InputOutput, from_then_on: true });
        gate.open();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    disk.clear_failures();
    for result in results {
        assert_error(result, Error::CommitUnknown, &["next opening"]);
    }
    assert_error(save(&table, 9), Error::Poisoned, &["opened again"]);
    assert_eq!(scanned(&table).unwrap().len(), 9);
    assert_error(db.close(), Error::Poisoned, &[]);
    let db = Database::open_on(disk.kill(), &options).unwrap();
    let found = scanned(&db.table("numbers").unwrap()).unwrap();
    assert_eq!(found[0], (0, 0));
    assert!(found.len() <= 9);
}

#[test]
fn promise_7_a_full_disk_is_full_and_writing_resumes_when_there_is_room() {
    for no_threads in [true, false] {
        for passed in 0..12 {
            let disk = SimulatedDisk::new(8);
            let room = Arc::new(Room(AtomicI64::new(i64::MAX)));
            let options = OpenOptions { no_threads, ..simulated(Durability::Sync) };
            let db = Database::open_on(Meddler::new(disk.clone(), room.clone()), &options).unwrap();
            let tables = [numbers(&db, "a"), numbers(&db, "b")];
            let mut saved: [Vec<i64>; 2] = Default::default();
            let fill = |saved: &mut [Vec<i64>; 2], limit: usize| {
                for index in 0..limit {
                    let which = index % 2;
                    let count = if index % 10 == 9 { 700 } else { 1 };
                    let next = saved[which].len() as i64;
                    save_many(&tables[which], next..next + count)?;
                    saved[which].extend(next..next + count);
                }
                Ok(())
            };
            fill(&mut saved, 10).unwrap();
            room.0.store(passed, Ordering::SeqCst);
            let how = format!("room for {passed} more, no_threads: {no_threads}");
            for _ in 0..3 {
                match fill(&mut saved, 2000) {
                    Err(Error::Full(text)) => assert!(text.contains("room") || text.contains("make"), "{how}: {text}"),
                    other => panic!("{how}: {other:?}"),
                }
            }
            let found = |db: &Database| ["a", "b"].map(|name| scanned(&db.table(name).unwrap()).unwrap());
            let is_right = |db: &Database, saved: &[Vec<i64>; 2]| {
                for (found, saved) in found(db).iter().zip(saved) {
                    assert!(found.iter().map(|(_, value)| value).eq(saved), "{how}");
                }
            };
            is_right(&db, &saved);
            // Nothing acknowledged is lost, should the machine die now.
            is_right(&Database::open_on(disk.kill(), &simulated(Durability::Sync)).unwrap(), &saved);
            room.0.store(i64::MAX, Ordering::SeqCst);
            fill(&mut saved, 40).unwrap_or_else(|error| panic!("{how}: {error:?}"));
            is_right(&db, &saved);
            db.close().unwrap();
            is_right(&Database::open_on(disk.kill(), &simulated(Durability::Sync)).unwrap(), &saved);
        }
    }
}

#[test]
fn promise_7_room_for_the_next_record_is_kept_although_all_are_deleted() {
    use std::os::unix::fs::MetadataExt;
    let folder = Folder::new();
    let db = Database::open(folder.path(), &OpenOptions::default()).unwrap();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..300).unwrap();
    db.checkpoint().unwrap();
    let data = folder.path().join("data/2");
    let before = data.metadata().unwrap().blocks();
    let ids: Vec<RecordId> = (0..300).map(RecordId).collect();
    table.delete_many(&ids).unwrap();
    db.checkpoint().unwrap();
    // A page that lost all its records becomes a hole, but not the one that the next save goes to.
    assert_eq!(data.metadata().unwrap().blocks(), before);
}
