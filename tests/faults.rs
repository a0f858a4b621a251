//! Every call that the engine makes of a file or folder fails, once and from then on, in every way.
//!
//! Whatever fails: each call of the database returns, done or with an error; nothing acknowledged is lost, and
//! nothing is found that was refused; only an unknown commit may be either. One failure that is no failed write or
//! sync passes without a trace. After one that is, writes say `Poisoned`, reads go on, and opening again recovers:
//! by a process on the same machine, and after a power cut, also one while that process works.
//!
//! `DIAMOND_SEED` changes what is sampled; a failure prints the `DIAMOND_REPLAY` that repeats it alone.
#![cfg(feature = "simulation")]

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use diamonddb::os::simulated::{FailKind, Failure, SimulatedDisk};
use diamonddb::{Durability, Error};
use support::crash::{Crashes, Effort};
use support::oracle;
use support::script::{Run, Step, words::*};
use support::{number_from_env, small_sizes};

const KINDS: [FailKind; 5] =
    [FailKind::InputOutput, FailKind::NoSpace, FailKind::Interrupted, FailKind::ShortWrite, FailKind::LostSync];

const FULL: i32 = 302;
const COMMIT_UNKNOWN: i32 = 400;
const IO: i32 = 500;
const POISONED: i32 = 502;

/// Something of everything, but for steps in the midst of a checkpoint: where the disk is full they would wait for
/// the checkpoint that waits for them.
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
        Step::Checkpoint,
        Step::Reopen,
        save("a"),
        drop_table("c"),
        make("b"),
        save_many("b", 30),
        Step::Upkeep,
        save_many("a", 14),
        Step::Kill,
        replace("a", 12),
        save("b"),
        Step::Flush,
        Step::Reopen,
        delete("b", 2),
        save("a"),
    ]
}

#[test]
fn whichever_call_fails_the_promises_are_kept() {
    let seed = number_from_env("DIAMOND_SEED", 0xFA11);
    println!("DIAMOND_SEED={seed:#x}");
    if let Ok(text) = std::env::var("DIAMOND_REPLAY") {
        let (at, kind, lasting) = read_place(&text);
        fail_at(seed, at, kind, lasting);
        return;
    }
    // All that fails is told, since one cause shows in many places.
    let [next, runs, states, broken] = [const { AtomicU64::new(0) }; 4];
    let work = || {
        // With `from_then_on` a run ends early; so the longest runs are those in which nothing fails.
        let calls = calls_without_failure(seed);
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= calls {
                return;
            }
            for (kind, lasting) in KINDS.into_iter().flat_map(|kind| [(kind, false), (kind, true)]) {
                match std::panic::catch_unwind(|| fail_at(seed, at, kind, lasting)) {
                    Ok(count) => {
                        runs.fetch_add(u64::from(count.is_some()), Ordering::Relaxed);
                        states.fetch_add(count.unwrap_or(0), Ordering::Relaxed);
                    }
                    Err(_) => {
                        broken.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.into_iter().for_each(|thread| thread.join().expect("failures are caught"));
    });
    println!("{} runs with a failure, {} crash states of them", runs.into_inner(), states.into_inner());
    assert_eq!(broken.into_inner(), 0, "promises were broken; see above");
}

/// How many calls the script makes of its disks if all goes well.
fn calls_without_failure(seed: u64) -> u64 {
    let mut run = Run::new(&small_sizes(Durability::Sync), SimulatedDisk::new(seed));
    let mut calls = 0;
    run.open().expect("an empty folder opens");
    for step in steps() {
        if matches!(step, Step::Kill) {
            calls += run.disk.calls();
        }
        run.step(&step).expect("nothing fails");
    }
    calls + run.disk.calls()
}

/// Runs the script with a failure; `None` if no call was struck. Returns how many crash states were visited.
fn fail_at(seed: u64, at: u64, kind: FailKind, lasting: bool) -> Option<u64> {
    let _told = Told { seed, at, kind, lasting };
    let mut run = Run::new(&small_sizes(Durability::Sync), SimulatedDisk::new(seed));
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
    for step in steps() {
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
        driver.note(&run, Some(&step), is_foretold && !is_reopening, &result);
        if is_reopening {
            driver.poisoned = false;
        }
        if was_struck && !lasting && !was_poisoned && kind != FailKind::LostSync {
            assert!(result.is_ok(), "{step:?} fails after the failure is over: {result:?}");
        }
    }
    if driver.struck == 0 {
        return None;
    }
    Some(end(run, seed, at, kind))
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
        self.struck = run.disk.failed_calls();
        let status = result.as_ref().err().map_or(0, Error::status);
        let what = step.map_or("opening".to_owned(), |step| format!("{step:?}"));
        assert!(matches!(status, 0 | FULL | COMMIT_UNKNOWN | IO | POISONED), "{what}: {result:?}");
        assert!(status == 0 || self.struck > 0, "{what} fails though no call did: {result:?}");
        if self.poisoned && is_write {
            assert_eq!(status, POISONED, "{what} is not refused after the poison: {result:?}");
        }
        let is_closing = matches!(step, Some(Step::Reopen)) || step.is_none();
        if !is_closing && matches!(status, COMMIT_UNKNOWN | POISONED) {
            self.poisoned = true;
        }
        if !self.lasting && self.struck > 0 && run.is_open() {
            let found = oracle::read(run.db()).unwrap_or_else(|error| panic!("after {what}, reading: {error:?}"));
            assert!(found == run.model(), "after {what}: {}", run.model().difference(&found));
        }
    }
}

/// The disk works again: what is there is right, after a kill and after a power cut, and writing goes on.
fn end(mut run: Run, seed: u64, at: u64, kind: FailKind) -> u64 {
    run.disk.clear_failures();
    run.kill();
    run.open().unwrap_or_else(|error| panic!("opening after all failures: {error:?}"));
    let table = run.model().tables.keys().next().cloned();
    let more = match &table {
        None => vec![make("z"), save("z")],
        Some(name) => vec![save(name), save_many(name, 14), Step::Verify, Step::Checkpoint, save(name)],
    };
    for step in more {
        run.step(&step).unwrap_or_else(|error| panic!("{step:?} after all failures: {error:?}"));
    }
    let phases = run.finish();
    let effort = Effort { seed: seed ^ at, samples: 1, all: false, again_one_in: 200 };
    let mut crashes = Crashes::new("faults", effort);
    crashes.visit_some(&phases, if kind == FailKind::LostSync { 12 } else { 3 });
    crashes.count()
}

struct Told {
    seed: u64,
    at: u64,
    kind: FailKind,
    lasting: bool,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Told { seed, at, kind, lasting } = self;
            eprintln!("a failing call breaks a promise; repeat it with:");
            eprintln!("DIAMOND_SEED={seed:#x} DIAMOND_REPLAY={at}:{kind:?}:{lasting}");
        }
    }
}

fn read_place(text: &str) -> (u64, FailKind, bool) {
    let parts: Vec<&str> = text.split(':').collect();
    let kind = KINDS.into_iter().find(|kind| format!("{kind:?}") == parts[1]).expect("the kind is one of the five");
    (parts[0].parse().expect("the call is a number"), kind, parts[2] == "true")
}
