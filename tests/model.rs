//! Random operations, with reopening, checkpoints and killed processes between, against plain maps.
//!
//! On the simulated disk a run follows from its seed alone. On a real folder the engine's own threads write behind and
//! make checkpoints meanwhile. `DIAMOND_SEED` is the first seed, `DIAMOND_RUNS` how many there are.
#![cfg(feature = "simulation")]

mod support;

use diamonddb::os::simulated::{Rng, SimulatedDisk};
use diamonddb::{Database, Durability, OpenOptions};
use support::model::{Kind, Model};
use support::oracle;
use support::script::{Part, Run, Step};
use support::{number_from_env, small_sizes};

const STEP_COUNT: usize = 300;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[test]
fn a_simulated_database_answers_as_plain_maps_do() {
    let first = number_from_env("DIAMOND_SEED", 1);
    let count = number_from_env("DIAMOND_RUNS", 200);
    println!("DIAMOND_SEED={first} DIAMOND_RUNS={count}");
    for seed in first..first + count {
        let _told = Told(seed);
        let mut rng = Rng::new(seed);
        let durability = [Durability::Sync, Durability::Os, Durability::Async][rng.below(3) as usize];
        let mut run = Run::new(&small_sizes(durability), SimulatedDisk::new(seed));
        run.open().expect("an empty folder opens");
        for number in 0..STEP_COUNT {
            let step = random_step(&mut rng, &run.model(), 0);
            run.step(&step).unwrap_or_else(|error| panic!("step {number}, {step:?}: {error:?}"));
            if number % 50 == 49 {
                oracle::agree(run.db(), &run.model()).unwrap_or_else(|what| panic!("after step {number}: {what}"));
            }
        }
        run.step(&Step::Reopen).expect("a clean close");
        oracle::agree(run.db(), &run.model()).unwrap_or_else(|what| panic!("at the end: {what}"));
    }
}

#[test]
fn a_database_in_a_folder_answers_as_plain_maps_do() {
    let seed = number_from_env("DIAMOND_SEED", 1);
    println!("DIAMOND_SEED={seed}");
    let _told = Told(seed);
    let path = std::env::temp_dir().join(format!("diamonddb_model_{}", std::process::id()));
    let options = OpenOptions { no_threads: false, interval_ms: 5, ..small_sizes(Durability::Async) };
    let mut db = Database::open(&path, &options).expect("a new folder opens");
    let (mut rng, mut model, mut next) = (Rng::new(seed), Model::default(), 0);
    for number in 0..2000 {
        let step = random_step(&mut rng, &model, 1);
        let n = next;
        next += 100;
        if matches!(step, Step::Reopen | Step::Kill) {
            db.close().expect("a clean close");
            db = Database::open(&path, &options).expect("it opens again");
            continue;
        }
        let planned = model.after(&step, n);
        let done = support::script::call(&db, &step, n, &model);
        let status = done.as_ref().err().map_or(0, diamonddb::Error::status);
        assert_eq!(status, planned.as_ref().err().copied().unwrap_or(0), "step {number}, {step:?}: {done:?}");
        model = planned.unwrap_or(model);
        if number % 100 == 99 {
            let found = oracle::read(&db).expect("everything can be read");
            assert!(found == model, "after step {number}: {}", model.difference(&found));
            oracle::agree(&db, &model).unwrap_or_else(|what| panic!("after step {number}: {what}"));
        }
    }
    db.close().expect("a clean close");
    std::fs::remove_dir_all(&path).expect("the folder is ours");
}

/// Something to do, more often sensible than not. `depth` 1 has no steps with steps inside.
fn random_step(rng: &mut Rng, model: &Model, depth: u32) -> Step {
    let name = NAMES[rng.below(4) as usize].to_owned();
    let Some(table) = model.tables.get(&name) else {
        return match rng.below(8) {
            0 => Step::Save(name),
            1 => Step::Rename(NAMES[rng.below(4) as usize].to_owned(), name),
            _ => Step::Make(name, if rng.chance(1, 3) { Kind::Wide } else { Kind::Small }),
        };
    };
    let id = |rng: &mut Rng| {
        let beyond = u64::from(rng.chance(1, 10));
        rng.below(table.next_id + beyond)
    };
    match rng.below(60) {
        0..14 => Step::Save(name),
        14..17 => Step::SaveMany(name, rng.below(9) as usize),
        17..20 => Step::SaveMany(name, 10 + rng.below(60) as usize / if table.kind == Kind::Wide { 4 } else { 1 }),
        20..28 => Step::Replace(name, id(rng)),
        28..31 => Step::ReplaceIf(name, id(rng), rng.chance(3, 4)),
        31..35 => Step::Delete(name, id(rng)),
        35..37 => {
            let from = id(rng);
            Step::DeleteMany(name, (from..(from + 1 + rng.below(8)).min(table.next_id.max(1))).collect())
        }
        37..42 => Step::Batch(random_parts(rng, model)),
        42..44 => Step::BatchNoWait(random_parts(rng, model)),
        44 => Step::Drop(name),
        45 => Step::Rename(name, NAMES[rng.below(4) as usize].to_owned()),
        46 => Step::Make(name, Kind::Wide),
        47..49 => Step::Checkpoint,
        49 => Step::Flush,
        50..53 => Step::Upkeep,
        53 => Step::Reopen,
        54 => Step::Kill,
        _ if depth > 0 => Step::Save(name),
        55..57 => Step::During(rng.below(9) as usize, random_saves(rng, model)),
        _ => {
            let mut steps = random_saves(rng, model);
            steps.insert(rng.below(steps.len() as u64 + 1) as usize, Step::Checkpoint);
            if rng.chance(1, 2) { Step::Scanning(name, steps) } else { Step::Holding(name, steps) }
        }
    }
}

/// Saves and replaces: what is foretold before they begin stays right.
fn random_saves(rng: &mut Rng, model: &Model) -> Vec<Step> {
    let names: Vec<&String> = model.tables.keys().collect();
    let one = |rng: &mut Rng| {
        let name = names[rng.below(names.len() as u64) as usize].clone();
        let next = model.tables[&name].next_id;
        match rng.below(4) {
            0 => Step::SaveMany(name, rng.below(30) as usize),
            1 if next > 0 => Step::Replace(name, rng.below(next)),
            2 if next > 0 => Step::Delete(name, rng.below(next)),
            _ => Step::Save(name),
        }
    };
    (0..1 + rng.below(5)).map(|_| one(rng)).collect()
}

fn random_parts(rng: &mut Rng, model: &Model) -> Vec<Part> {
    let names: Vec<&String> = model.tables.keys().collect();
    let one = |rng: &mut Rng| {
        let name = names[rng.below(names.len() as u64) as usize].clone();
        let next = model.tables[&name].next_id;
        match rng.below(8) {
            _ if next == 0 => Part::Save(name),
            0 | 1 => Part::Replace(name, rng.below(next)),
            2 => Part::Delete(name, rng.below(next)),
            3 => Part::Expect(name, rng.below(next), rng.chance(7, 8)),
            _ => Part::Save(name),
        }
    };
    (0..1 + rng.below(6)).map(|_| one(rng)).collect()
}

struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a random run fails; repeat it with: DIAMOND_SEED={} DIAMOND_RUNS=1", self.0);
        }
    }
}
