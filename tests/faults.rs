//! Every call that the engine makes of a file or folder fails, once and from then on, in every way, in each
//! durability mode: while it opens, recovers, works, makes checkpoints beside commits, scans and closes.
//!
//! Whatever fails: each call of the database returns, done or with an error; nothing acknowledged is lost, and
//! nothing is found that was refused; only an unknown commit may be either. A failed sync, and a failed write for
//! another reason than want of room, end all writing, and nothing else does: then writes say `Poisoned`, reads go on,
//! and opening again recovers, by a process on the same machine, and after a power cut, also one while that process
//! works. Every other failure passes without a trace.
//!
//! `DIAMOND_FAULTS` says how many failures are visited (a number, or `all`), `DIAMOND_SEED` which, and a test that
//! fails prints the `DIAMOND_REPLAY` that repeats it alone.
#![cfg(feature = "simulation")]

#[path = "kit/sampling.rs"]
mod sampling;
mod support;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use diamonddb::os::simulated::{FailKind, Failure, SimulatedDisk};
use diamonddb::{Durability, Error};
use support::crash::{Crashes, Effort};
use support::failing::recover;
use support::oracle;
use support::script::{Run, Step, words::*};
use support::small_sizes;

const KINDS: [FailKind; 5] =
    [FailKind::InputOutput, FailKind::NoSpace, FailKind::Interrupted, FailKind::ShortWrite, FailKind::LostSync];

const DURABILITIES: [Durability; 3] = [Durability::Sync, Durability::Os, Durability::Async];

const FULL: i32 = 302;
const COMMIT_UNKNOWN: i32 = 400;
const IO: i32 = 500;
const POISONED: i32 = 502;

/// One failure.
#[derive(Clone, Copy, Debug)]
struct Place {
    durability: Durability,
    at: u64,
    kind: FailKind,
    lasting: bool,
}

/// Something of everything.
fn steps() -> Vec<Step> {
    vec![
        make("a"),
        save("a"),
        make_wide("b"),
        Step::Batch(vec![in_save("a"), in_save("b"), in_save("a")]),
        replace("a", 1),
        Step::Checkpoint,
        save_many("a", 15),
        replace("a", 3),
        Step::Batch(vec![in_save("b"), in_expect("a", 0, false)]),
        delete_many("a", 4..8),
        scanning("a", [replace("a", 2), Step::Checkpoint, save("b")]),
        rename("b", "c"),
        save_many("c", 5),
        replace("a", 9),
        during(2, [replace("a", 9), save("c"), save_many("a", 20)]),
        Step::BatchNoWait(vec![in_save("a"), in_replace("a", 0)]),
        Step::Flush,
        Step::Reopen,
        // What a copy for a backup reads: everything, from files, while others write.
        scanning("a", [scanning("c", [replace("c", 1), save("a")])]),
        save("a"),
        during(1, [drop_table("c"), make("d"), save_many("d", 4)]),
        make("b"),
        save_many("b", 30),
        Step::Upkeep,
        save_many("a", 14),
        Step::Kill,
        replace("a", 12),
        save("b"),
        Step::Flush,
        during(4, [rename("d", "e"), delete("e", 1)]),
        Step::Reopen,
        delete("b", 2),
        save("a"),
        Step::Reopen,
    ]
}

/// Where the disk is full, a writer makes a checkpoint to have room. In the midst of one, by the same thread, it would
/// wait for the checkpoint that waits for it: so there the steps come before it.
fn steps_for(kind: FailKind) -> Vec<Step> {
    let apart = |step| match step {
        Step::During(_, inner) if kind == FailKind::NoSpace => inner.into_iter().chain([Step::Checkpoint]).collect(),
        other => vec![other],
    };
    steps().into_iter().flat_map(apart).collect()
}

#[test]
fn whichever_call_fails_the_promises_are_kept() {
    let seed = sampling::seed(0xFA11);
    println!("DIAMOND_SEED={seed:#x}");
    if let Some(text) = sampling::replay() {
        fail_at(seed, Place::read(&text));
        return;
    }
    let mut places = Vec::new();
    for durability in DURABILITIES {
        for kind in KINDS {
            // With `from_then_on` a run ends early; so the longest runs are those in which nothing fails.
            let calls = calls_without_failure(seed, durability, kind);
            let both = |at| [false, true].map(|lasting| Place { durability, at, kind, lasting });
            places.extend((0..calls).flat_map(both));
        }
    }
    let chosen = sampling::places(places.len() as u64, 10_000, seed);
    // All that fails is told, since one cause shows in many places.
    let [runs, states, broken] = [const { AtomicU64::new(0) }; 3];
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(number) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            match std::panic::catch_unwind(|| fail_at(seed, places[*number as usize])) {
                Ok(count) => {
                    runs.fetch_add(u64::from(count.is_some()), Ordering::Relaxed);
                    states.fetch_add(count.unwrap_or(0), Ordering::Relaxed);
                }
                Err(_) => {
                    broken.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().for_each(|thread| thread.join().expect("failures are caught"));
    });
    let (runs, states, all) = (runs.into_inner(), states.into_inner(), places.len());
    println!("{} of {all} places, {runs} runs with a failure, {states} crash states of them", chosen.len());
    assert_eq!(broken.into_inner(), 0, "promises were broken; see above");
}

/// The pages of a table lie in one file with what is appended to it in bulk: of those who sync it, one hears of errors.
#[test]
fn a_checkpoint_beside_a_bulk_append_that_could_not_be_synced_loses_nothing() {
    let seed = 0xFA12;
    let mut failed = 0;
    for (inside, call) in (0..6).flat_map(|inside| (0..30).map(move |call| (inside, call))) {
        let mut run = Run::new(&small_sizes(Durability::Sync), SimulatedDisk::new(seed));
        run.open().expect("an empty folder opens");
        let changes = (0..12).map(|id| replace("a", id));
        let steps = [make("a"), save_many("a", 12), Step::Checkpoint].into_iter().chain(changes);
        steps.for_each(|step| run.step(&step).expect("nothing fails yet"));
        let at = run.disk.calls() + call;
        run.disk.fail(Failure { at, kind: FailKind::LostSync, from_then_on: false });
        let _ = run.step(&during(inside, [save_many("a", 40)]));
        if run.disk.failed_calls() > 0 {
            failed += 1;
            let place = Place { durability: Durability::Sync, at, kind: FailKind::LostSync, lasting: false };
            end(run, seed, place);
        }
    }
    assert!(failed > 50, "of a checkpoint's calls, {failed} are syncs");
}

/// How many calls the script makes of its disks if all goes well.
fn calls_without_failure(seed: u64, durability: Durability, kind: FailKind) -> u64 {
    let mut run = Run::new(&small_sizes(durability), SimulatedDisk::new(seed));
    let mut calls = 0;
    run.open().expect("an empty folder opens");
    for step in steps_for(kind) {
        if matches!(step, Step::Kill) {
            calls += run.disk.calls();
        }
        run.step(&step).expect("nothing fails");
    }
    calls + run.disk.calls()
}

/// Runs the script with a failure; `None` if no call was struck. Returns how many crash states were visited.
fn fail_at(seed: u64, place: Place) -> Option<u64> {
    let _told = Told { seed, place };
    let Place { durability, at, kind, lasting } = place;
    let mut run = Run::new(&small_sizes(durability), SimulatedDisk::new(seed));
    // Calls are counted by disk, and a killed process leaves a new one.
    let mut before = 0;
    let plan = |run: &Run, before: u64| {
        if at >= before {
            run.disk.fail(Failure { at: at - before, kind, from_then_on: lasting });
        }
    };
    plan(&run, before);
    let mut driver = Driver { lasting, struck: 0, poisoned: false };
    let opened = run.open();
    driver.note(&run, None, false, &opened);
    for step in steps_for(kind) {
        if matches!(step, Step::Kill) {
            if driver.struck > 0 {
                break;
            }
            before += run.disk.calls();
            run.kill();
            plan(&run, before);
            let opened = run.open();
            driver.poisoned = false;
            driver.note(&run, None, false, &opened);
            continue;
        }
        let was_struck = driver.struck > 0;
        let is_reopening = matches!(step, Step::Reopen) || !run.is_open();
        let was_poisoned = driver.poisoned;
        let is_foretold = is_change(&step) && run.model().after(&step, 0).is_ok();
        let result = run.step(&step);
        if is_reopening {
            driver.poisoned = false;
        }
        driver.note(&run, Some(&step), is_foretold && !is_reopening, &result);
        if was_struck && !lasting && !was_poisoned {
            assert!(result.is_ok(), "{step:?} fails after the failure is over: {result:?}");
        }
    }
    if driver.struck == 0 {
        return None;
    }
    Some(end(run, seed, place))
}

/// True for a step that a poisoned database must refuse, unless it refuses it anyhow.
fn is_change(step: &Step) -> bool {
    use Step::{Batch, Checkpoint, Delete, DeleteMany, Drop, Flush, Rename, Replace, Save, SaveMany, Upkeep};
    let changes = matches!(step, Save(_) | SaveMany(..) | Replace(..) | Delete(..) | DeleteMany(..) | Batch(_));
    changes || matches!(step, Drop(_) | Rename(..) | Checkpoint | Flush | Upkeep)
}

struct Driver {
    lasting: bool,
    struck: u64,
    poisoned: bool,
}

impl Driver {
    /// Is this an answer that a failing disk may lead to?
    fn note(&mut self, run: &Run, step: Option<&Step>, is_write: bool, result: &Result<(), Error>) {
        let was_struck = self.struck > 0;
        self.struck = run.disk.failed_calls();
        let status = result.as_ref().err().map_or(0, Error::status);
        let what = step.map_or("opening".to_owned(), |step| format!("{step:?}"));
        assert!(matches!(status, 0 | FULL | COMMIT_UNKNOWN | IO | POISONED), "{what}: {result:?}");
        assert!(status == 0 || self.struck > 0, "{what} fails though no call did: {result:?}");
        if self.poisoned && is_write {
            assert_eq!(status, POISONED, "{what} is not refused after the poison: {result:?}");
        }
        if run.is_open() {
            let stats: serde_json::Value = serde_json::from_str(&run.db().stats_json().unwrap()).unwrap();
            self.poisoned = !stats["poisoned"].is_null();
            if let Some(expected) = run.must_be_poisoned() {
                assert_eq!(self.poisoned, expected, "after {what}: {result:?}, {stats}");
            }
        }
        if !self.lasting && self.struck > 0 && run.is_open() {
            let found = oracle::read(run.db()).unwrap_or_else(|error| panic!("after {what}, reading: {error:?}"));
            assert!(found == run.model(), "after {what}: {}", run.model().difference(&found));
            if !was_struck {
                let report = run.db().verify().unwrap_or_else(|error| panic!("after {what}, verifying: {error:?}"));
                assert_eq!(report.findings, [], "a failure is no damage, after {what}");
            }
        }
    }
}

/// What is there is right, after a kill and after a power cut.
fn end(run: Run, seed: u64, place: Place) -> u64 {
    let phases = recover(run);
    let effort = Effort { seed: seed ^ place.at, samples: 1, all: false, again_one_in: 200, kill_one_in: 2000 };
    let mut crashes = Crashes::new("faults", effort);
    crashes.visit_some(&phases, if place.kind == FailKind::LostSync { 12 } else { 3 });
    crashes.count()
}

struct Told {
    seed: u64,
    place: Place,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Told { seed, place: Place { durability, at, kind, lasting } } = self;
            eprintln!("a failing call breaks a promise; repeat it with:");
            eprintln!("DIAMOND_SEED={seed:#x} DIAMOND_REPLAY={durability:?}:{at}:{kind:?}:{lasting}");
        }
    }
}

impl Place {
    fn read(text: &str) -> Place {
        let parts: Vec<&str> = text.split(':').collect();
        let [durability, at, kind, lasting] = parts[..] else { panic!("{text} is no place") };
        let is_durability = |known: &Durability| format!("{known:?}") == durability;
        let durability = DURABILITIES.into_iter().find(is_durability).expect("a durability mode");
        let kind = KINDS.into_iter().find(|known| format!("{known:?}") == kind).expect("one of the five kinds");
        Place { durability, at: at.parse().expect("the call is a number"), kind, lasting: lasting == "true" }
    }
}
