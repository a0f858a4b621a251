//! Crash safety: whatever a power cut leaves of a workload opens, as a prefix of its commits that has all that was
//! acknowledged.
//!
//! Each workload runs once on a simulated disk. Then, for the moment before each of the disk's events, the states that
//! a power cut there may leave are opened and compared with the model: all of them where at most ten things are
//! pending, and seeded samples beyond. Some of them are cut again while they recover, and again while that recovers;
//! at some moments the process is killed, and the power cut while the next one recovers. The same is done to workloads
//! of which one call fails, and to random ones, a seed each.
//!
//! What the environment changes:
//!
//! - `DIAMOND_SEED`: what is visited, and the first of the random workloads;
//! - `DIAMOND_STATES`: samples at each point, 12 if not given;
//! - `DIAMOND_ROUNDS`: how many random workloads there are, 24 if not given;
//! - `DIAMOND_SECONDS`: goes on through seeds for so long, whatever the rounds. Each seed is told when all before it
//!   are done too, so that a later run can go on there;
//! - `DIAMOND_WORKLOAD`: only the scripted workloads whose names hold this.
//!
//! A failure prints the `DIAMOND_REPLAY` that repeats it alone.
#![cfg(feature = "simulation")]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diamonddb::OpenOptions;
use diamonddb::os::simulated::Rng;
use support::crash::{Crashes, Effort};
use support::failing::{self, Struck};
use support::number_from_env;
use support::script::{self, Step};
use support::workloads::{self, WORKLOADS, Workload};

/// A default run visits at least so many different states of scripted workloads.
const STATE_COUNT_MIN: u64 = 200_000;

/// What a failure says of a random workload instead of a name.
const RANDOM: &str = "random";

#[test]
fn whatever_a_crash_leaves_opens_as_a_prefix_with_all_that_was_acknowledged() {
    let (seed, samples) = (seed(), number_from_env("DIAMOND_STATES", 12));
    println!("DIAMOND_SEED={seed:#x} DIAMOND_STATES={samples}");
    if let Ok(text) = std::env::var("DIAMOND_REPLAY") {
        return replay(seed, &text);
    }
    let only = std::env::var("DIAMOND_WORKLOAD").unwrap_or_default();
    let workloads: Vec<&Workload> = WORKLOADS.iter().filter(|workload| workload.name.contains(&only)).collect();
    let (next, total) = (AtomicUsize::new(0), AtomicU64::new(0));
    on_two_threads(|| {
        while let Some(workload) = workloads.get(next.fetch_add(1, Ordering::Relaxed)) {
            let count = crash(workload, seed, samples, true);
            println!("{count:7} states: {}", workload.name);
            total.fetch_add(count, Ordering::Relaxed);
        }
    });
    let total = total.into_inner();
    println!("{total} different crash states of {} workloads", workloads.len());
    if only.is_empty() {
        assert!(total >= STATE_COUNT_MIN, "only {total} different states were visited");
    }
}

#[test]
fn whichever_call_of_a_workload_fails_a_crash_after_it_leaves_a_prefix() {
    if is_elsewhere() {
        return;
    }
    let (seed, rounds) = (seed(), number_from_env("DIAMOND_ROUNDS", 24));
    let (next, runs, states) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(0));
    on_two_threads(|| {
        while let Some(workload) = WORKLOADS.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (struck, count) = fail(workload.name, seed, &workload.options(), &(workload.steps)(), rounds);
            runs.fetch_add(struck, Ordering::Relaxed);
            states.fetch_add(count, Ordering::Relaxed);
        }
    });
    println!("{} runs with a failure, {} crash states of them", runs.into_inner(), states.into_inner());
}

#[test]
fn whatever_random_workloads_do_a_crash_leaves_a_prefix() {
    if is_elsewhere() {
        return;
    }
    let (first, rounds) = (seed(), number_from_env("DIAMOND_ROUNDS", 24));
    let seconds = number_from_env("DIAMOND_SECONDS", 0);
    let begun = Instant::now();
    let goes_on = |round: u64| match seconds {
        0 => round < rounds,
        _ => begun.elapsed() < Duration::from_secs(seconds),
    };
    let (next, progress) = (AtomicU64::new(0), Mutex::new(Progress::default()));
    on_two_threads(|| {
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if !goes_on(round) {
                break;
            }
            let seed = first.wrapping_add(round);
            let mut count = crash_random(seed);
            // A longer run also sees the scripted workloads with other samples.
            if seconds > 0 {
                count += crash(&WORKLOADS[round as usize % WORKLOADS.len()], seed, 3, false);
            }
            progress.lock().unwrap().note(round, count, |done, total| {
                let (seed, next) = (first.wrapping_add(done), first.wrapping_add(done + 1));
                let rate = total as f64 / begun.elapsed().as_secs_f64().max(0.001);
                println!("seed {seed:#x}: {total} states, {rate:.0} a second; go on with DIAMOND_SEED={next:#x}");
            });
        }
    });
    let total = progress.into_inner().unwrap().total;
    println!("{total} different crash states of {} seeds", next.into_inner() - 2);
}

/// Which rounds are done, though they end in no order.
#[derive(Default)]
struct Progress {
    done: u64,
    total: u64,
    early: BTreeMap<u64, u64>,
}

impl Progress {
    /// Tells of each round when all before it are done too.
    fn note(&mut self, round: u64, count: u64, tell: impl Fn(u64, u64)) {
        self.early.insert(round, count);
        while let Some(count) = self.early.remove(&self.done) {
            self.total += count;
            tell(self.done, self.total);
            self.done += 1;
        }
    }
}

/// Crashes a scripted workload at each of its events; returns how many states that left.
fn crash(workload: &Workload, seed: u64, samples: u64, all: bool) -> u64 {
    let effort = Effort { seed, samples, all, again_one_in: workload.again_one_in, kill_one_in: 24 };
    let mut crashes = Crashes::new(workload.name, effort);
    crashes.visit(&script::run(&workload.options(), seed, &(workload.steps)()));
    crashes.count()
}

/// Crashes the random workload of a seed at each of its events, and after failing calls.
fn crash_random(seed: u64) -> u64 {
    let _told = Told { name: RANDOM, seed };
    let (options, steps) = workloads::random(seed);
    let mut crashes = Crashes::new(RANDOM, random_effort(seed));
    crashes.visit(&script::run(&options, seed, &steps));
    let (_, states) = fail(RANDOM, seed, &options, &steps, 6);
    crashes.count() + states
}

fn random_effort(seed: u64) -> Effort {
    Effort { seed, samples: 3, all: false, again_one_in: 300, kill_one_in: 40 }
}

/// Lets some calls of a workload fail, a run each; returns how many did and how many states that left.
fn fail(name: &str, seed: u64, options: &OpenOptions, steps: &[Step], rounds: u64) -> (u64, u64) {
    let mut rng = Rng::new(!seed);
    let calls = failing::calls(options, seed, steps);
    let (mut runs, mut states) = (0, 0);
    for _ in 0..rounds {
        let struck = Struck::random(&calls, steps, &mut rng);
        if let Some(count) = failing::run(name, options, seed, steps, struck) {
            runs += 1;
            states += count;
        }
    }
    (runs, states)
}

fn replay(seed: u64, text: &str) {
    let (name, path) = text.split_once(':').expect("the workload stands before the event");
    let effort = Effort { samples: 0, ..random_effort(seed) };
    let (options, steps) = match name {
        RANDOM => workloads::random(seed),
        _ => (Workload::named(name).options(), (Workload::named(name).steps)()),
    };
    Crashes::new(name, effort).replay(&script::run(&options, seed, &steps), path);
}

fn seed() -> u64 {
    number_from_env("DIAMOND_SEED", 0xD1A0)
}

/// True if the environment asks for something else than the tests after the first.
fn is_elsewhere() -> bool {
    ["DIAMOND_REPLAY", "DIAMOND_WORKLOAD"].into_iter().any(|name| std::env::var_os(name).is_some())
}

fn on_two_threads(work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        let threads = [scope.spawn(&work), scope.spawn(&work)];
        // The failure itself was told where it happened.
        let failed = threads.into_iter().map(|thread| thread.join().is_err()).fold(false, |one, other| one | other);
        assert!(!failed, "a crash state is wrong; see above");
    });
}

/// Tells which seed a failure is of, where no single state is to blame.
struct Told {
    name: &'static str,
    seed: u64,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the {} workload of one seed fails; repeat it with: DIAMOND_SEED={:#x}", self.name, self.seed);
        }
    }
}
