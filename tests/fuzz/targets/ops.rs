//! What a user does, one thing after another, on a database and on plain maps: the same answers, also after crashes.
//! With `DIAMOND_TELL` in the environment, each step is told, for one input that is repeated.
#![no_main]

use diamonddb::Durability;
use diamonddb::os::simulated::SimulatedDisk;
use diamonddb_fuzz::Feed;
use diamonddb_fuzz::support::crash::{Crashes, Effort};
use diamonddb_fuzz::support::model::{Kind, Model, TableModel};
use diamonddb_fuzz::support::script::{Part, Run, Step};
use diamonddb_fuzz::support::{oracle, small_sizes};
use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Steps of one run.
const STEPS: usize = 20;

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed(data);
    let (flags, seed) = (feed.byte(), u64::from(feed.byte()));
    let tells = std::env::var_os("DIAMOND_TELL").is_some();
    let durability = [Durability::Sync, Durability::Os, Durability::Async][usize::from(flags & 15) % 3];
    let mut run = Run::new(&small_sizes(durability), SimulatedDisk::new(seed));
    run.open().expect("an empty folder opens");
    for _ in 0..STEPS {
        if feed.is_empty() {
            break;
        }
        let step = step(&mut feed, &run.model(), 0);
        if tells {
            eprintln!("{step:?}");
        }
        run.step(&step).unwrap_or_else(|error| panic!("{step:?}: {error:?}"));
    }
    oracle::agree(run.db(), &run.model()).unwrap_or_else(|what| panic!("at the end: {what}"));
    if flags & 128 == 0 {
        run.step(&Step::Reopen).expect("a clean close");
    }
    let phases = run.finish();
    if flags & 96 == 96 {
        // What is left by a crash of a recovery is for tests/crash.rs.
        let effort = Effort { seed, samples: 0, all: false, again_one_in: 1 << 40, kill_one_in: 1 << 40 };
        let phase = usize::from(feed.byte()) % phases.len();
        Crashes::new("fuzz", effort).visit_some(&phases[phase..=phase], 1);
    }
});

/// Something to do, more often sensible than not. `depth` 1 has no steps with steps inside.
fn step(feed: &mut Feed<'_>, model: &Model, depth: u32) -> Step {
    let what = feed.below(64);
    let name = NAMES[feed.below(NAMES.len())].to_owned();
    let Some(table) = model.tables.get(&name) else {
        return match what {
            0..8 => Step::Save(name),
            8..12 => Step::Rename(NAMES[feed.below(NAMES.len())].to_owned(), name),
            12..32 => Step::Make(name, Kind::Wide),
            _ => Step::Make(name, Kind::Small),
        };
    };
    match what {
        0..10 => Step::Save(name),
        // Of nothing there is nothing to wait for, and the scripts take every success for a commit.
        10..16 => Step::SaveMany(name, 1 + feed.below(9)),
        16..20 => Step::SaveMany(name, 10 + feed.below(60) / if table.kind == Kind::Wide { 4 } else { 1 }),
        20..27 => Step::Replace(name, id(feed, table)),
        27..30 => Step::ReplaceIf(name, id(feed, table), feed.below(4) > 0),
        30..34 => Step::Delete(name, id(feed, table)),
        34..36 => {
            let from = id(feed, table);
            Step::DeleteMany(name, (from..from + 1 + feed.below(8) as u64).collect())
        }
        36..40 => Step::Batch(parts(feed, model)),
        40..42 => Step::BatchNoWait(parts(feed, model)),
        42 => Step::Drop(name),
        43 => Step::Rename(name, NAMES[feed.below(NAMES.len())].to_owned()),
        44 => Step::Make(name, Kind::Wide),
        45..49 => Step::Checkpoint,
        49 => Step::Flush,
        50..53 => Step::Upkeep,
        53..55 => Step::Reopen,
        55..58 => Step::Kill,
        _ if depth > 0 => Step::Save(name),
        58..61 => Step::During(feed.below(9), saves(feed, model)),
        _ => {
            let mut steps = saves(feed, model);
            steps.insert(feed.below(steps.len() + 1), Step::Checkpoint);
            Step::Scanning(name, steps)
        }
    }
}

/// An id of the table, or the one after the last.
fn id(feed: &mut Feed<'_>, table: &TableModel) -> u64 {
    feed.below(table.next_id as usize % 60_000 + 1) as u64
}

/// Saves, replaces and deletes: what is foretold before they begin stays right.
fn saves(feed: &mut Feed<'_>, model: &Model) -> Vec<Step> {
    let names: Vec<&String> = model.tables.keys().collect();
    let mut one = || {
        let name = names[feed.below(names.len())].clone();
        let next = model.tables[&name].next_id as usize;
        match feed.below(4) {
            0 => Step::SaveMany(name, 1 + feed.below(30)),
            1 if next > 0 => Step::Replace(name, feed.below(next) as u64),
            2 if next > 0 => Step::Delete(name, feed.below(next) as u64),
            _ => Step::Save(name),
        }
    };
    (0..3).map(|_| one()).collect()
}

fn parts(feed: &mut Feed<'_>, model: &Model) -> Vec<Part> {
    let names: Vec<&String> = model.tables.keys().collect();
    let count = 1 + feed.below(6);
    let mut one = || {
        let name = names[feed.below(names.len())].clone();
        let next = model.tables[&name].next_id as usize;
        match feed.below(8) {
            _ if next == 0 => Part::Save(name),
            0 | 1 => Part::Replace(name, feed.below(next) as u64),
            2 => Part::Delete(name, feed.below(next) as u64),
            3 => Part::Expect(name, feed.below(next) as u64, feed.below(8) > 0),
            _ => Part::Save(name),
        }
    };
    (0..count).map(|_| one()).collect()
}
