//! Runs of which one call fails, and then the process dies: what may be answered meanwhile, and what must be there
//! after opening again and after power cuts.

use diamonddb::os::simulated::{FailKind, Failure, Rng, SimulatedDisk};
use diamonddb::{Error, OpenOptions};

use super::crash::{Crashes, Effort};
use super::script::{Phase, Run, Step, words::*};

pub const FULL: i32 = 302;
pub const COMMIT_UNKNOWN: i32 = 400;
pub const IO: i32 = 500;
pub const POISONED: i32 = 502;

/// What fails: a call of one of the disks that a run has, each killed process leaving the next.
#[derive(Clone, Copy, Debug)]
pub struct Struck {
    pub disk: usize,
    pub failure: Failure,
}

impl Struck {
    /// Some call, failing in some way. Where a checkpoint waits for room that only it can make, steps in its midst
    /// would wait for it: then the disk is not full.
    pub fn random(calls: &[u64], steps: &[Step], rng: &mut Rng) -> Struck {
        const KINDS: [FailKind; 5] =
            [FailKind::LostSync, FailKind::InputOutput, FailKind::ShortWrite, FailKind::Interrupted, FailKind::NoSpace];
        let has_midst = steps.iter().any(|step| matches!(step, Step::During(..) | Step::InFlush(..)));
        let kind = KINDS[rng.below(if has_midst { 4 } else { 5 }) as usize];
        let disk = rng.below(calls.len() as u64) as usize;
        Struck { disk, failure: Failure { at: rng.below(calls[disk]), kind, from_then_on: rng.chance(1, 3) } }
    }
}

/// How many calls a run makes of each of its disks if nothing fails.
pub fn calls(options: &OpenOptions, seed: u64, steps: &[Step]) -> Vec<u64> {
    let mut run = Run::new(options, SimulatedDisk::new(seed));
    run.open().expect("an empty folder opens");
    let mut calls = Vec::new();
    for step in steps {
        if is_new_disk(step) {
            calls.push(run.disk.calls());
        }
        run.step(step).unwrap_or_else(|error| panic!("{step:?}: {error}"));
    }
    calls.push(run.disk.calls());
    calls
}

/// Runs a script with a failure; `None` if that struck no call. After it the process is killed, the disk works again,
/// and the power is cut at some points of what follows. Returns how many states were visited.
pub fn run(name: &str, options: &OpenOptions, seed: u64, steps: &[Step], struck: Struck) -> Option<u64> {
    let _told = Told { name, seed, struck };
    let mut run = Run::new(options, SimulatedDisk::new(seed));
    let mut disks = 0;
    let plan = |run: &Run, disks: usize| {
        if disks == struck.disk {
            run.disk.fail(struck.failure);
        }
    };
    plan(&run, disks);
    let mut poisoned = false;
    // Of each answer: is it one that a failing disk may lead to? True from the poison on, until the next opening.
    let mut note = |run: &Run, what: &dyn std::fmt::Debug, is_change: bool, result: &Result<(), Error>| {
        let status = result.as_ref().err().map_or(0, Error::status);
        assert!(matches!(status, 0 | FULL | COMMIT_UNKNOWN | IO | POISONED), "{what:?}: {result:?}");
        assert!(status == 0 || run.disk.failed_calls() > 0, "{what:?} fails though no call did: {result:?}");
        if poisoned && is_change {
            assert_eq!(status, POISONED, "{what:?} is not refused after the poison: {result:?}");
        }
        poisoned |= matches!(status, COMMIT_UNKNOWN | POISONED);
        poisoned
    };
    // A failing read keeps a verification from its end, and what is there is verified after all failures.
    let steps = steps.iter().filter(|step| !matches!(step, Step::Verify));
    let opened = run.open();
    let mut is_over = note(&run, &"opening", false, &opened) || opened.is_err();
    // After the poison some more, to see that it is refused.
    let mut more = 3;
    for step in steps {
        let was_open = run.is_open();
        if is_over && (more == 0 || !was_open || is_new_disk(step) || matches!(step, Step::Reopen)) {
            break;
        }
        more -= usize::from(is_over);
        if is_new_disk(step) {
            if run.disk.failed_calls() > 0 {
                break;
            }
            match step {
                Step::PowerCut(back) => run.cut_power(*back),
                _ => run.kill(),
            }
            disks += 1;
            plan(&run, disks);
            let opened = run.open();
            is_over = note(&run, &"opening", false, &opened) || opened.is_err();
            continue;
        }
        let is_change = is_single_change(step) && was_open && run.model().after(step, 0).is_ok();
        let result = run.step(step);
        is_over |= note(&run, step, is_change, &result) || !run.is_open();
        // A close that failed has said so, and what is open now is not poisoned.
        if matches!(step, Step::Reopen) && result.is_err() {
            break;
        }
    }
    let was_struck = run.disk.failed_calls() > 0;
    was_struck.then(|| end(name, run, seed, struck))
}

/// The disk works again: what is there is right, and writing goes on. Gives what a power cut may strike.
pub fn recover(mut run: Run) -> Vec<Phase> {
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
    run.finish()
}

/// What is there is right, after a kill and after a power cut.
fn end(name: &str, run: Run, seed: u64, struck: Struck) -> u64 {
    let phases = recover(run);
    let effort = Effort { seed: seed ^ struck.failure.at, samples: 1, all: false, again_one_in: 100, kill_one_in: 50 };
    let mut crashes = Crashes::new(name, effort);
    crashes.visit_some(&phases, if struck.failure.kind == FailKind::LostSync { 12 } else { 4 });
    crashes.count()
}

fn is_new_disk(step: &Step) -> bool {
    matches!(step, Step::Kill | Step::PowerCut(..))
}

/// Tells what failed, when that breaks a promise.
struct Told<'a> {
    name: &'a str,
    seed: u64,
    struck: Struck,
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Told { name, seed, struck } = self;
            eprintln!("'{name}' breaks a promise with seed {seed:#x} and {struck:?}");
        }
    }
}

/// True for a step that a poisoned database must refuse, unless it refuses it anyhow.
fn is_single_change(step: &Step) -> bool {
    use Step::{Batch, Checkpoint, Delete, DeleteMany, Drop, Flush, Rename, Replace, Save, SaveMany, Upkeep};
    let changes = matches!(step, Save(_) | SaveMany(..) | Replace(..) | Delete(..) | DeleteMany(..) | Batch(_));
    // Whoever gives a table the name that it has writes nothing.
    let renames = matches!(step, Rename(from, to) if from != to);
    changes || renames || matches!(step, Drop(_) | Checkpoint | Flush | Upkeep)
}
