//! Crash safety: whatever a power cut leaves of a workload opens, as a prefix of its commits that has all that was
//! acknowledged.
//!
//! Each workload runs once on a simulated disk. Then, for the moment before each of the disk's events, the states that
//! a power cut there may leave are opened and compared with the model: all of them where at most ten things are
//! pending, and seeded samples beyond; some of them are cut again while they recover.
//!
//! `DIAMOND_SEED` and `DIAMOND_STATES` (samples at each point, 12 if not given) change what is visited. A failure
//! prints the `DIAMOND_REPLAY` that repeats it alone.
#![cfg(feature = "simulation")]

mod support;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use diamonddb::Durability;
use support::crash::{Crashes, Effort};
use support::script::{self, Phase, Step, words::*};
use support::{number_from_env, small_sizes};

/// A default run visits at least so many different states.
const STATE_COUNT_MIN: u64 = 100_000;

struct Workload {
    /// What must hold, in a sentence.
    name: &'static str,
    durability: Durability,
    /// One state in so many is cut again during its recovery.
    again_one_in: u64,
    steps: fn() -> Vec<Step>,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "a database is made whole or not at all",
        durability: Durability::Sync,
        again_one_in: 8,
        steps: || vec![],
    },
    Workload {
        name: "saved records survive one by one",
        durability: Durability::Sync,
        again_one_in: 60,
        steps: || join([vec![make("a")], times(14, || save("a"))]),
    },
    Workload {
        name: "replaced records are the old ones or the new ones",
        durability: Durability::Sync,
        again_one_in: 60,
        steps: || {
            let replaces = [1, 0, 4, 4, 2].map(|id| replace("a", id));
            let expecting = [replace_if("a", 3, true), replace_if("a", 3, false), replace_if("a", 0, true)];
            let setup = vec![make("a"), save_many("a", 6), Step::Checkpoint];
            join([setup, replaces.to_vec(), vec![Step::Checkpoint], expecting.to_vec(), vec![Step::Reopen]])
        },
    },
    Workload {
        name: "deleted records stay deleted and whole pages of them become holes",
        durability: Durability::Sync,
        again_one_in: 80,
        steps: || {
            vec![
                make("a"),
                save_many("a", 9),
                delete("a", 0),
                delete("a", 1),
                Step::Checkpoint,
                delete_many("a", 3..8),
                delete("a", 3),
                Step::Checkpoint,
                save("a"),
                delete_many("a", [2, 8, 9]),
                Step::Checkpoint,
                save("a"),
                Step::Reopen,
                save_many("a", 2),
            ]
        },
    },
    Workload {
        name: "a batch across tables is there wholly or not at all",
        durability: Durability::Sync,
        again_one_in: 80,
        steps: || {
            let first = vec![in_save("a"), in_save("b"), in_save("a"), in_save("b")];
            let second = vec![in_expect("a", 0, true), in_replace("a", 0), in_delete("b", 1), in_save("a")];
            let refused = vec![in_save("a"), in_save("b"), in_expect("b", 0, false)];
            let third = vec![in_replace("b", 0), in_replace("b", 0), in_delete("a", 1), in_save("b"), in_save("a")];
            vec![
                make("a"),
                make_wide("b"),
                Step::Batch(first),
                Step::Batch(second.clone()),
                Step::Batch(refused),
                Step::Checkpoint,
                Step::Batch(third),
                Step::BatchNoWait(vec![in_save("a"), in_save("b")]),
                Step::BatchNoWait(vec![in_replace("a", 2), in_save("b")]),
                Step::Flush,
                Step::Reopen,
                Step::Batch(second),
            ]
        },
    },
    Workload {
        name: "tables are made, renamed and dropped whole",
        durability: Durability::Sync,
        again_one_in: 60,
        steps: || {
            vec![
                make("a"),
                save("a"),
                make_wide("b"),
                rename("a", "c"),
                Step::Checkpoint,
                save_many("b", 3),
                drop_table("c"),
                make("a"),
                save("a"),
                Step::Upkeep,
                rename("b", "c"),
                drop_table("a"),
                make_wide("a"),
                rename("c", "c"),
                save("a"),
                Step::Checkpoint,
                drop_table("c"),
                Step::Reopen,
                make("c"),
                save("c"),
                drop_table("a"),
                Step::Checkpoint,
            ]
        },
    },
    Workload {
        name: "checkpoints between commits lose no page",
        durability: Durability::Sync,
        again_one_in: 150,
        steps: || {
            let round = |id| [save("a"), replace("a", id), Step::Checkpoint, save_many("a", 3), save("b")];
            let setup = vec![make("a"), make_wide("b"), save_many("a", 8)];
            join([setup, (0..5).flat_map(round).collect(), vec![Step::Checkpoint, Step::Checkpoint]])
        },
    },
    Workload {
        name: "commits in the midst of a checkpoint belong to the next one",
        durability: Durability::Sync,
        again_one_in: 100,
        steps: || {
            let setup = vec![make("a"), make_wide("b"), save_many("a", 5), save("b"), Step::Checkpoint];
            let rounds = (0..7).flat_map(|call| {
                let inside = [save("a"), replace("a", 1), replace("a", call as u64), save("b")];
                [replace("a", 0), replace("a", 2), save("b"), during(call, inside)]
            });
            join([setup, rounds.collect(), vec![Step::Checkpoint, Step::Reopen, save("a")]])
        },
    },
    Workload {
        name: "tables made and dropped in the midst of a checkpoint are whole",
        durability: Durability::Sync,
        again_one_in: 100,
        steps: || {
            let rounds = (0..7).flat_map(|call| {
                let inside = [drop_table("a"), make("c"), save("c"), rename("c", "d"), drop_table("d")];
                [make("a"), save_many("a", 3), make("b"), save("b"), during(call, inside), drop_table("b")]
            });
            join([rounds.collect(), vec![Step::Checkpoint]])
        },
    },
    Workload {
        name: "what is dropped in the midst of a checkpoint comes back if the drop was not durable",
        durability: Durability::Async,
        again_one_in: 100,
        steps: || {
            let rounds = (0..7).flat_map(|call| {
                let inside = [drop_table("a"), make("b"), save("b")];
                [make("a"), save_many("a", 3), Step::Checkpoint, save("a"), during(call, inside), drop_table("b")]
            });
            join([rounds.collect(), vec![Step::Flush]])
        },
    },
    Workload {
        name: "tables grow over many pages and files",
        durability: Durability::Sync,
        again_one_in: 400,
        steps: || {
            let round = || vec![save_many("a", 11), save_many("b", 3)];
            let rounds = (0..6).flat_map(|_| round());
            join([vec![make("a"), make_wide("b")], rounds.collect(), vec![Step::Checkpoint], round(), round()])
        },
    },
    Workload {
        name: "the wal rolls over many segments",
        durability: Durability::Sync,
        again_one_in: 400,
        steps: || {
            let round = |_| [save_many("b", 2), replace("b", 0), save_many("a", 10), replace("a", 3)];
            join([vec![make("a"), make_wide("b"), save("b")], (0..20).flat_map(round).collect()])
        },
    },
    Workload {
        name: "upkeep makes checkpoints by itself and segments are used again",
        durability: Durability::Sync,
        again_one_in: 500,
        steps: || {
            let round = |_| [save_many("b", 3), replace("b", 0), save_many("a", 10), replace("a", 5), Step::Upkeep];
            join([vec![make("a"), make_wide("b"), save("b")], (0..36).flat_map(round).collect()])
        },
    },
    Workload {
        name: "bulk appends reach the file before their frame does",
        durability: Durability::Sync,
        again_one_in: 150,
        steps: || {
            vec![
                make("a"),
                make_wide("b"),
                save_many("a", 15),
                save_many("a", 20),
                replace("a", 16),
                save("a"),
                save_many("b", 9),
                Step::Checkpoint,
                save_many("a", 33),
                delete_many("a", 40..50),
                Step::During(1, vec![save("a"), save_many("a", 16), replace("a", 3)]),
                save_many("b", 5),
                Step::Reopen,
                save_many("a", 14),
                Step::Checkpoint,
            ]
        },
    },
    Workload {
        name: "a bulk append follows commits that were refused",
        durability: Durability::Sync,
        again_one_in: 60,
        steps: || {
            vec![
                make("a"),
                save_many("a", 2),
                Step::Batch(vec![in_save("a"), in_expect("a", 0, false)]),
                save_many("a", 20),
                Step::Verify,
                Step::Checkpoint,
                Step::Batch(vec![in_save("a"), in_expect("a", 0, false)]),
                save_many("a", 20),
                Step::Verify,
                replace("a", 22),
                Step::Checkpoint,
                Step::Verify,
            ]
        },
    },
    Workload {
        name: "a scan that is open while all is written sees none of it",
        durability: Durability::Sync,
        again_one_in: 200,
        steps: || {
            let inside = vec![replace("a", 0), delete("a", 3), save_many("a", 15), Step::Checkpoint, replace("a", 1)];
            let nested = scanning("a", vec![replace("a", 2), Step::Checkpoint, save("a"), delete("a", 5)]);
            vec![make("a"), save_many("a", 7), scanning("a", join([inside, vec![nested]])), Step::Reopen, save("a")]
        },
    },
    Workload {
        name: "snapshots and pins that are open over checkpoints stand still and take nothing from a crash",
        durability: Durability::Sync,
        again_one_in: 200,
        steps: || {
            let inside = vec![replace("a", 0), delete("a", 3), save_many("a", 15), Step::Checkpoint, replace("a", 1)];
            let nested = holding("a", vec![replace("a", 2), during(3, [save("a"), delete("a", 5)]), Step::Checkpoint]);
            let dropped = holding("a", vec![save("a"), drop_table("a"), make_wide("a"), Step::Checkpoint, save("a")]);
            vec![make("a"), save_many("a", 7), holding("a", join([inside, vec![nested]])), Step::Reopen, dropped]
        },
    },
    Workload {
        name: "a clean close is withdrawn before the first commit after it",
        durability: Durability::Sync,
        again_one_in: 40,
        steps: || {
            vec![
                make("a"),
                save("a"),
                Step::Reopen,
                Step::Reopen,
                save("a"),
                Step::Reopen,
                replace("a", 0),
                Step::Checkpoint,
                Step::Reopen,
                delete("a", 9),
                Step::Reopen,
                Step::Batch(vec![in_save("a"), in_expect("a", 0, false)]),
                Step::Reopen,
                save_many("a", 14),
                Step::Reopen,
                drop_table("a"),
            ]
        },
    },
    Workload {
        name: "recovery is cut short again and again",
        durability: Durability::Sync,
        again_one_in: 6,
        steps: || {
            vec![
                make("a"),
                save_many("a", 5),
                Step::Checkpoint,
                replace("a", 1),
                save_many("a", 14),
                drop_table("a"),
                make_wide("a"),
                save("a"),
            ]
        },
    },
    Workload {
        name: "another process goes on where one was killed",
        durability: Durability::Sync,
        again_one_in: 100,
        steps: || {
            vec![
                make("a"),
                save_many("a", 5),
                Step::Kill,
                save("a"),
                Step::Checkpoint,
                replace("a", 2),
                Step::BatchNoWait(vec![in_save("a")]),
                Step::Kill,
                Step::Kill,
                save_many("a", 16),
                Step::Reopen,
                save("a"),
                Step::Kill,
                replace("a", 0),
            ]
        },
    },
    Workload {
        name: "in os mode a killed process loses nothing, and a power cut leaves a prefix",
        durability: Durability::Os,
        again_one_in: 100,
        steps: || {
            vec![
                make("a"),
                save("a"),
                save("a"),
                Step::Flush,
                replace("a", 0),
                save_many("a", 15),
                save("a"),
                Step::Kill,
                replace("a", 1),
                save("a"),
                make_wide("b"),
                save_many("b", 2),
                Step::Checkpoint,
                delete("a", 2),
                save("b"),
                Step::Kill,
                save("a"),
                drop_table("b"),
                Step::Reopen,
                save("a"),
            ]
        },
    },
    Workload {
        name: "in async mode a crash leaves a prefix that has all that was flushed",
        durability: Durability::Async,
        again_one_in: 100,
        steps: || {
            let round = |id| [save("a"), replace("a", id), save_many("a", 8), Step::Upkeep];
            let rounds: Vec<Step> = (0..4).flat_map(round).collect();
            let middle = vec![Step::Flush, save("a"), save_many("a", 14), Step::Kill];
            let end = vec![Step::Checkpoint, save("a"), delete("a", 0), Step::Reopen, save("a")];
            join([vec![make("a")], rounds.clone(), middle, rounds, end])
        },
    },
];

#[test]
fn whatever_a_crash_leaves_opens_as_a_prefix_with_all_that_was_acknowledged() {
    let seed = number_from_env("DIAMOND_SEED", 0xD1A0);
    let samples = number_from_env("DIAMOND_STATES", 12);
    println!("DIAMOND_SEED={seed:#x} DIAMOND_STATES={samples}");
    if let Ok(text) = std::env::var("DIAMOND_REPLAY") {
        return replay(seed, &text);
    }
    let only = std::env::var("DIAMOND_WORKLOAD").unwrap_or_default();
    let workloads: Vec<&Workload> = WORKLOADS.iter().filter(|workload| workload.name.contains(&only)).collect();
    let (next, total) = (AtomicUsize::new(0), AtomicU64::new(0));
    let work = || {
        while let Some(workload) = workloads.get(next.fetch_add(1, Ordering::Relaxed)) {
            let phases = run(workload, seed);
            let events: usize = phases.iter().map(|phase| phase.recording.len()).sum();
            let effort = Effort { seed, samples, all: true, again_one_in: workload.again_one_in };
            let mut crashes = Crashes::new(workload.name, effort);
            crashes.visit(&phases);
            println!("{:7} states of {events:5} events: {}", crashes.count(), workload.name);
            total.fetch_add(crashes.count(), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        // The failure itself was told where it happened.
        let failed = threads.into_iter().map(|thread| thread.join().is_err()).fold(false, |one, other| one | other);
        assert!(!failed, "a crash state is wrong; see above");
    });
    let total = total.into_inner();
    println!("{total} different crash states of {} workloads", workloads.len());
    if only.is_empty() {
        assert!(total >= STATE_COUNT_MIN, "only {total} different states were visited");
    }
}

fn run(workload: &Workload, seed: u64) -> Vec<Phase> {
    script::run(&small_sizes(workload.durability), seed, &(workload.steps)())
}

fn replay(seed: u64, text: &str) {
    let (name, path) = text.split_once(':').expect("the workload stands before the event");
    let workload = WORKLOADS.iter().find(|workload| workload.name == name).expect("the workload is there");
    let effort = Effort { seed, samples: 0, all: false, again_one_in: 0 };
    Crashes::new(name, effort).replay(&run(workload, seed), path);
}

fn join<const N: usize>(parts: [Vec<Step>; N]) -> Vec<Step> {
    parts.concat()
}

fn times(count: usize, step: impl Fn() -> Step) -> Vec<Step> {
    (0..count).map(|_| step()).collect()
}
