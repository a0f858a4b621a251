//! Mutants: each step of what keeps the promises is broken, one at a time, and something notices.
//!
//! For every mutant of `src/mutant.rs` it is said here what catches it: a workload that is crashed, or whose calls
//! fail, a database that is damaged, or a small test below, for what only threads or a full disk show. The catcher
//! looks at states until a promise is broken. With no mutant all of them find nothing.
//!
//! The table of mutants and catchers is printed as the README shows it. `DIAMOND_MUTANT` runs those mutants alone
//! whose names it holds (with commas between), and `DIAMOND_STATES` changes how many states are looked at before a
//! mutant counts as not caught (20,000 if not given).
#![cfg(feature = "simulation")]

mod kit;
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use diamonddb::mutant::{Mutant, interrupt_next_read, switch};
use diamonddb::os::simulated::{FailKind, Failure, Rng, SimulatedDisk};
use diamonddb::{Database, Durability, Error, JsonStyle, RecordId, RecordsMut, ScanRange, Table};
use kit::meddler::{Full, Gate, Meddler};
use kit::{fetch, numbers};
use support::crash::{Crashes, Effort};
use support::damage::Victim;
use support::failing::{self, Struck};
use support::script::{Run, Step, words::*};
use support::watched::{Moment, WatchedDisk};
use support::workloads::Workload;
use support::{number_from_env, script, small_sizes};

/// What notices a mutant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Catcher {
    /// The workload whose name begins so is crashed.
    Crash(&'static str),
    /// Calls of the workload whose name begins so fail.
    Failing(&'static str),
    /// A database is damaged.
    Damage,
    /// A test below, by its name.
    Test(&'static str),
}

use Catcher::{Crash, Damage, Failing, Test};

/// The tests below, each of which looks at one state.
const TESTS: [(&str, fn()); 12] = [
    ("whoever waits for another's sync hears of its failure", everyone_hears_of_a_failed_sync),
    ("a full disk keeps no checkpoint from making room", a_checkpoint_needs_no_new_room),
    ("a full disk keeps no checkpoint from logging its sums", the_sums_of_all_dirty_pages_have_their_room),
    ("a scan reads as of its cut while the page changes under it", a_scan_reads_as_of_its_cut),
    ("a page is never read from memory that another one got", a_read_is_of_its_own_page),
    ("a checkpoint that finds no room leaves its pages to the next", a_refused_checkpoint_forgets_nothing),
    ("a failed read is never the end of the wal", a_failed_read_is_an_error),
    ("what an earlier life left in a reused place is no frame of this one", an_earlier_lifes_frames_stay_dead),
    ("a checkpoint frees no segment that the manifest still names", a_checkpoint_keeps_the_wal_until_its_manifest),
    ("a checkpoint hears of a failure that the system told somebody else", a_checkpoint_hears_of_others_failures),
    ("what is written beside a sync is synced after it", what_is_written_beside_a_sync_is_synced),
    ("a checkpoint without its manifest frees nothing, however much follows", a_failed_checkpoint_frees_nothing),
];

fn catcher(mutant: Mutant) -> Catcher {
    use Mutant::*;
    match mutant {
        AcknowledgedEarly | WalNotSynced | SegmentNameNotSynced | FrameSumNotCompared => Crash("saved records"),
        MakeNotWaitedFor => Crash("saved records"),
        DraftNotSynced | ManifestNamedFirst => Crash("a database is made"),
        OnlyNewestSegmentSynced => Crash("the wal rolls"),
        SegmentsFreedBeforeManifest => Test(TESTS[8].0),
        SyncCoversWhatFollows => Crash("a flush covers"),
        SyncBehindCoversWhatFollows => Crash("in os mode a flush covers"),
        FlushNotSynced => Crash("in async mode"),
        WalWriteErrorIgnored | WalSyncErrorIgnored | WalSyncTriedAgain => Failing("saved records"),
        ShortWriteTakenForWhole => Failing("replaced records"),
        ReadErrorEndsWal => Test(TESTS[6].0),
        FollowerHearsNothing => Test(TESTS[0].0),
        LastSegmentTaken => Test(TESTS[1].0),
        SumsSpaceNotKept => Test(TESTS[2].0),
        ScanVersionNotCompared => Test(TESTS[3].0),
        VersionKeptOnRetirement | ReadVersionNotCompared => Test(TESTS[4].0),
        FirstSegmentNotSynced | CleanMarkNotWithdrawn => Crash("a clean close"),
        ClosedWithoutCheckpoint => Crash("a clean close"),
        SaltNeverChanges | FrameSaltNotCompared => Test(TESTS[7].0),
        WatermarkOmitted | FrameOrderNotCompared | DamageTakenForTornTail | MissingWalIsEmpty => Damage,
        SuspectsForgiven | CatalogSumNotCompared | PageSumNotCompared | PageSumNotKeyed => Damage,
        FileHeaderNotCompared | CutSegmentTaken | MissingSegmentEndsWal => Damage,
        TornTailTakenForDamage | FramesVouchTooMuch => Crash("a batch across tables"),
        LengthNotLogged | TallyNotLogged => Crash("saved records"),
        CheckpointCopyOmitted | NewestImageWritten => Crash("a page that changes"),
        DirtyPageNotListedAgain | ChangedFrameFreed => Crash("commits in the midst"),
        ScanCopyOmitted | OldImagesThrownAway => Crash("a scan that is open"),
        BulkDataNotSynced | BulkFrameBeforeData | BulkNameNotSynced | BulkSumsNotKept => Crash("bulk appends"),
        DropNotWaitedFor | RenameNotWaitedFor => Crash("tables are made, renamed"),
        SumsNotLogged | LoggedSumsNotSynced | DataNotSynced | SumFileNotSynced => Crash("checkpoints between"),
        CatalogOverOneInForce | CatalogNotSynced | DataFolderNotSynced => Crash("checkpoints between"),
        ManifestBeforeData | ManifestOverOneInForce | ManifestNotSynced => Crash("checkpoints between"),
        OlderManifestTaken => Crash("upkeep makes"),
        BlockSumNotCompared => Crash("a clean close"),
        PageWriteErrorIgnored | DataSyncErrorIgnored | PoisonForgotten => Failing("a checkpoint that fails"),
        OthersFailureIgnored => Test(TESTS[9].0),
        DataSyncCoversWhatFollows => Test(TESTS[10].0),
        ManifestErrorIgnored => Test(TESTS[11].0),
        PutBackOmitted => Test(TESTS[5].0),
        DroppedFilesRemovedAtOnce => Crash("what is dropped in the midst"),
        NewFilesRemoved => Crash("tables made and dropped in the midst"),
        RootNamesNotMadeCertain => Failing("a database is made"),
        WalNotWrittenAgain => Crash("another process"),
        ManifestNotWrittenAgain | WalWrittenAgainNotSynced => Failing("a recovery that fails"),
        ReplaySkipsWhatIsThere => Failing("a checkpoint that fails"),
        PagesPastLengthRead => Crash("tables grow"),
    }
}

/// States are not crashed again while they recover.
const NO_RECOVERY: Effort =
    Effort { seed: 0, samples: 1, all: false, again_one_in: u64::MAX >> 8, kill_one_in: u64::MAX >> 16 };

#[test]
fn every_step_that_is_broken_is_noticed() {
    let count = number_from_env("DIAMOND_STATES", 20_000);
    let only = std::env::var("DIAMOND_MUTANT").unwrap_or_default();
    let is_wanted = |mutant: &Mutant| only.is_empty() || only.split(',').any(|name| name == format!("{mutant:?}"));
    let mutants: Vec<Mutant> = Mutant::ALL.iter().copied().filter(is_wanted).collect();
    // As many states as any mutant needed show nothing where there is none.
    let mut controls = std::collections::BTreeMap::new();
    let mut missed = Vec::new();
    println!("| what is broken | what notices |\n|---|---|");
    for mutant in mutants {
        let catcher = catcher(mutant);
        match catcher.look(Some(mutant), count) {
            Err(states) => {
                let most = controls.entry(catcher).or_insert(0);
                *most = states.max(*most);
                println!("{}", row(mutant));
            }
            Ok(states) => {
                println!("{mutant:?} is not noticed in {states} states: {}", row(mutant));
                missed.push(mutant);
            }
        }
    }
    for (catcher, states) in controls {
        let found = catcher.look(None, states);
        assert!(found.is_ok(), "a promise is broken without any mutant: {}; see above", catcher.describe());
    }
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}

#[test]
fn the_readme_tells_of_every_step_and_what_notices_it() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let told = |line: &&str| Catcher::KINDS.iter().any(|kind| line.contains(&format!(" | {kind}")));
    let told: Vec<&str> = readme.lines().filter(told).collect();
    let rows: Vec<String> = Mutant::ALL.iter().map(|mutant| row(*mutant)).collect();
    assert_eq!(told, rows, "the other test prints the table as it should be");
}

/// A mutant's line of the table.
fn row(mutant: Mutant) -> String {
    format!("| {} | {} |", mutant.what().trim_end_matches('.'), catcher(mutant).describe())
}

impl Catcher {
    /// How the descriptions begin.
    const KINDS: [&str; 4] = ["power cuts: ", "failing calls: ", "damage: ", "a test: "];

    fn describe(self) -> String {
        match self {
            Crash(start) => format!("power cuts: {}", Workload::named(start).name),
            Failing(start) => format!("failing calls: {}", Workload::named(start).name),
            Damage => "damage: it is reported or without effect".to_owned(),
            Test(name) => format!("a test: {name}"),
        }
    }

    /// Looks at so many states while a mutant is switched on. `Err` if a promise is broken, after how many.
    fn look(self, mutant: Option<Mutant>, count: u64) -> Result<u64, u64> {
        let seen = AtomicU64::new(0);
        let is_quiet = mutant.is_some() && std::env::var_os("DIAMOND_LOUD").is_none();
        let hook = is_quiet.then(take_hook);
        if is_quiet {
            set_hook(Box::new(|_| {}));
        }
        switch(mutant);
        let result = catch_unwind(AssertUnwindSafe(|| self.go_on(count, &seen)));
        switch(None);
        if let Some(hook) = hook {
            set_hook(hook);
        }
        result.map(|()| seen.load(Ordering::Relaxed)).map_err(|_| seen.load(Ordering::Relaxed))
    }

    /// Panics where a promise is broken.
    fn go_on(self, count: u64, seen: &AtomicU64) {
        const SEED: u64 = 0x3A7A;
        match self {
            Crash(start) => {
                let workload = Workload::named(start);
                let phases = script::run(&workload.options(), SEED, &(workload.steps)());
                let again_one_in = workload.again_one_in;
                let effort = Effort { seed: SEED, samples: 3, all: false, again_one_in, kill_one_in: 40 };
                let mut crashes = Crashes::new(workload.name, effort);
                let result = catch_unwind(AssertUnwindSafe(|| crashes.visit_up_to(&phases, count)));
                seen.store(crashes.count(), Ordering::Relaxed);
                result.unwrap_or_else(|panic| resume_unwind(panic));
            }
            Failing(start) => {
                let workload = Workload::named(start);
                let (options, steps) = (workload.options(), (workload.steps)());
                let calls = failing::calls(&options, SEED, &steps);
                let mut rng = Rng::new(SEED);
                while seen.load(Ordering::Relaxed) < count {
                    let struck = Struck::random(&calls, &steps, &mut rng);
                    let states = failing::run(workload.name, &options, SEED, &steps, struck).unwrap_or(0);
                    seen.fetch_add(states + 1, Ordering::Relaxed);
                }
            }
            Damage => {
                let mut victim = Victim::new(&small_sizes(Durability::Sync), SEED);
                while seen.load(Ordering::Relaxed) < count {
                    seen.fetch_add(1, Ordering::Relaxed);
                    victim.suffer();
                }
            }
            Test(name) => {
                seen.store(1, Ordering::Relaxed);
                let (_, test) = TESTS.iter().find(|(known, _)| *known == name).expect("the test is in the list");
                test();
            }
        }
    }
}

fn everyone_hears_of_a_failed_sync() {
    let options = small_sizes(Durability::Sync);
    // Whoever has not yet begun to wait hears by another way; of eight some wait.
    let (disk, gate) = (SimulatedDisk::new(1), Arc::new(Gate::default()));
    let db = Database::open_on(Meddler::new(disk.clone(), gate.clone()), &options).unwrap();
    let table = numbers(&db, "numbers");
    for round in 0..3 {
        kit::save(&table, round).unwrap();
    }
    gate.shut_after(0);
    let results: Vec<Result<RecordId, Error>> = std::thread::scope(|scope| {
        let table = &table;
        let writers: Vec<_> = (0..8).map(|value| scope.spawn(move || kit::save(table, value))).collect();
        while table.count().unwrap() < 11 {
            std::thread::yield_now();
        }
        disk.fail(Failure { at: disk.calls(), kind: FailKind::InputOutput, from_then_on: true });
        gate.open();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    for result in results {
        assert_eq!(result.expect_err("nobody's commit is durable").status(), failing::COMMIT_UNKNOWN);
    }
}

/// A table of so many records, each of which has its room, and a disk on which no file grows once that is set.
fn on_a_disk_that_fills(count: usize) -> (Arc<Full>, Database, Table) {
    let mut options = small_sizes(Durability::Sync);
    options.sizes.wal_soft = 1 << 30;
    let (disk, full) = (SimulatedDisk::new(2), Arc::new(Full::default()));
    let db = Database::open_on(Meddler::new(disk, full.clone()), &options).unwrap();
    let table = numbers(&db, "numbers");
    // Enough checkpoints for both places of the catalog.
    for _ in 0..count / 100 {
        kit::save_many(&table, 0..100).unwrap();
        db.checkpoint().unwrap();
    }
    (full, db, table)
}

fn a_checkpoint_needs_no_new_room() {
    let (full, db, table) = on_a_disk_that_fills(1000);
    let replace = |count| (0..count).for_each(|value| kit::replace(&table, RecordId(1), value).unwrap());
    // So many segments that, when they are used again, one follows another before the next checkpoint.
    replace(500);
    db.checkpoint().unwrap();
    full.0.store(true, Ordering::SeqCst);
    replace(3000);
}

fn the_sums_of_all_dirty_pages_have_their_room() {
    let (full, db, table) = on_a_disk_that_fills(6000);
    for id in (0..6000).step_by(4) {
        kit::replace(&table, RecordId(id), 1).unwrap();
    }
    full.0.store(true, Ordering::SeqCst);
    db.checkpoint().unwrap();
}

fn a_scan_reads_as_of_its_cut() {
    let watched = WatchedDisk::new(SimulatedDisk::new(3));
    let db = Arc::new(Database::open_on(Arc::clone(&watched) as _, &small_sizes(Durability::Sync)).unwrap());
    let table = numbers(&db, "numbers");
    kit::save(&table, 1).unwrap();
    db.checkpoint().unwrap();
    assert_eq!(fetch(&table, RecordId(0)).unwrap(), 1);
    let mut cursor = table.scan(ScanRange::default()).unwrap();
    // While the scan reads the page, it is changed, and comes to rest again.
    let (changed, other) = (Arc::clone(&db), table.clone());
    let act = move || {
        kit::replace(&other, RecordId(0), 2).unwrap();
        changed.checkpoint().unwrap();
    };
    watched.during(Moment::DataRead, 0, Box::new(act));
    let found = cursor.next_json(JsonStyle::default()).unwrap();
    assert!(watched.call_off().is_none(), "a page at rest is read from its file");
    assert_eq!(found, Some((RecordId(0), r#"{"value":1}"#.to_owned())));
}

fn a_read_is_of_its_own_page() {
    let as_json = |table: &Table| {
        let json = table.fetch_json(RecordId(0), JsonStyle::default())?;
        Ok(i64::from(json == r#"{"value":1}"#))
    };
    let scanned = |table: &Table| {
        let (mut bytes, mut ids) = ([0; 8], [RecordId(9)]);
        let records = RecordsMut { bytes: &mut bytes, stride: 8, nulls: None, null_stride: 0 };
        let count = table.scan(ScanRange::default()).and_then(|mut scan| scan.next_many(&mut ids, records))?;
        assert_eq!((count, ids), (1, [RecordId(0)]));
        Ok(i64::from_le_bytes(bytes))
    };
    a_read_of_its_own_page(|table| fetch(table, RecordId(0)));
    a_read_of_its_own_page(as_json);
    a_read_of_its_own_page(scanned);
}

fn a_read_of_its_own_page(read: impl Fn(&Table) -> diamonddb::Result<i64>) {
    let db = Arc::new(Database::open_on(SimulatedDisk::new(4), &small_sizes(Durability::Sync)).unwrap());
    let (still, busy) = (numbers(&db, "still"), numbers(&db, "busy"));
    kit::save_many(&busy, 0..40).unwrap();
    kit::save(&still, 1).unwrap();
    let other = Arc::clone(&db);
    // Between finding the page's memory and copying from it: the memory is freed, and is other pages'.
    interrupt_next_read(move || {
        other.checkpoint().unwrap();
        (0..40).for_each(|id| kit::replace(&busy, RecordId(id), 2).unwrap());
    });
    assert_eq!(read(&still).unwrap(), 1);
}

/// What changes in the midst of the next checkpoint is a page that the refused one had on its list.
fn a_refused_checkpoint_forgets_nothing() {
    let mut refused = 0;
    for (call, inside) in (0..40).flat_map(|call| [0, 1, 2, 3, 4].map(|inside| (call, inside))) {
        let mut run = ready_for_a_checkpoint();
        run.disk.fail(Failure { at: run.disk.calls() + call, kind: FailKind::NoSpace, from_then_on: false });
        let result = run.step(&Step::Checkpoint);
        run.disk.clear_failures();
        if !matches!(result, Err(Error::Full(_))) {
            continue;
        }
        refused += 1;
        let changes = (0..12).step_by(2).map(|id| replace("a", id));
        for step in [save("a"), during(inside, changes), save("a")] {
            run.step(&step).unwrap();
        }
        let phases = run.finish();
        Crashes::new("a refused checkpoint", Effort { samples: 8, ..NO_RECOVERY }).visit_last(&phases, 40);
    }
    assert!(refused > 0, "a checkpoint takes room");
}

/// A run with more dirty pages than a checkpoint takes at once.
fn ready_for_a_checkpoint() -> Run {
    let mut run = Run::new(&small_sizes(Durability::Sync), SimulatedDisk::new(5));
    run.open().unwrap();
    let changes = (0..12).step_by(2).map(|id| replace("a", id));
    let steps = [make("a"), save_many("a", 12), Step::Checkpoint].into_iter().chain(changes);
    steps.for_each(|step| run.step(&step).unwrap());
    run
}

/// A bulk append goes to the file that a checkpoint writes: of the two who sync it, one hears of errors.
fn a_checkpoint_hears_of_others_failures() {
    for (inside, call) in (0..6).flat_map(|inside| (0..30).map(move |call| (inside, call))) {
        let mut run = ready_for_a_checkpoint();
        let at = run.disk.calls() + call;
        run.disk.fail(Failure { at, kind: FailKind::LostSync, from_then_on: false });
        let _ = run.step(&during(inside, [save_many("a", 40)]));
        run.disk.clear_failures();
        Crashes::new("a failure", Effort { samples: 2, ..NO_RECOVERY }).visit_last(&run.finish(), 1);
    }
}

/// With few descriptors a writer syncs all files, also the one that a checkpoint is about to write.
fn what_is_written_beside_a_sync_is_synced() {
    let mut options = small_sizes(Durability::Sync);
    options.sizes.open_files = 2;
    for call in 0..12 {
        let tables = ["a", "b", "c"];
        let made = tables.into_iter().flat_map(|name| [make(name), save(name)]);
        let inside = [save_many("b", 9), save_many("c", 9)];
        let rounds = [Step::Checkpoint, replace("a", 0), replace("b", 0), during(call, inside)];
        let phases = script::run(&options, call as u64, &made.chain(rounds).collect::<Vec<_>>());
        Crashes::new("beside a sync", Effort { samples: 4, ..NO_RECOVERY }).visit_last(&phases, 20);
    }
}

/// So much follows that a segment which was freed would be used again.
fn a_failed_checkpoint_frees_nothing() {
    for call in 0.. {
        let mut run = ready_for_a_checkpoint();
        run.disk.fail(Failure { at: run.disk.calls() + call, kind: FailKind::InputOutput, from_then_on: false });
        let made = run.step(&Step::Checkpoint);
        if run.disk.failed_calls() == 0 {
            break;
        }
        if made.is_ok() {
            (0..300).for_each(|id| run.step(&replace("a", id % 10)).unwrap());
        }
        run.kill();
        run.open().unwrap();
    }
}

fn a_failed_read_is_an_error() {
    let options = small_sizes(Durability::Sync);
    let disk = SimulatedDisk::new(6);
    let db = Database::open_on(disk.clone(), &options).unwrap();
    let table = numbers(&db, "numbers");
    (0..5).for_each(|value| _ = kit::save(&table, value).unwrap());
    for at in 0.. {
        let killed = disk.kill();
        killed.fail(Failure { at, kind: FailKind::InputOutput, from_then_on: false });
        match Database::open_on(killed.clone(), &options) {
            Ok(db) => assert_eq!(db.table("numbers").unwrap().count().unwrap(), 5),
            Err(error) => assert!([failing::IO, failing::POISONED].contains(&error.status()), "{error:?}"),
        }
        if killed.failed_calls() == 0 {
            break;
        }
    }
}

/// A first life leaves frames on the device behind one that is lost. A second life takes up their place in another
/// segment, and their LSNs: its first frame is as long as three of the other and recovery's own.
fn an_earlier_lifes_frames_stay_dead() {
    let (batch, saves) = (vec![in_save("a"), in_replace("a", 20)], [save("a"), save_many("a", 4)]);
    let setup = [make("a"), save_many("a", 12), save_many("a", 12), Step::Reopen, Step::Batch(batch)];
    let rest = (0..6).map(|_| save("a")).chain([Step::Upkeep, Step::PowerCut(0), save_many("a", 12), Step::Upkeep]);
    let steps: Vec<Step> = setup.into_iter().chain(saves).chain(rest).collect();
    for seed in 0..200 {
        let phases = script::run(&small_sizes(Durability::Async), seed, &steps);
        let effort = Effort { seed, samples: 10, ..NO_RECOVERY };
        Crashes::new("an earlier life", effort).visit_last(&phases, 1);
    }
}

/// So long a wal that not all its segments are kept for reuse.
fn a_checkpoint_keeps_the_wal_until_its_manifest() {
    let mut steps = vec![make("a")];
    steps.extend((0..150).map(|_| save_many("a", 12)));
    steps.push(Step::Checkpoint);
    let phases = script::run(&small_sizes(Durability::Sync), 7, &steps);
    Crashes::new("a long wal", NO_RECOVERY).visit_last(&phases, 40);
}
