//! Random steps, as a model of the database may meet them.

use std::path::Path;

use diamonddb::os::simulated::Rng;
use diamonddb::{Database, Error, OpenOptions};

use super::model::{Kind, Model};
use super::oracle;
use super::script::{Part, Step, call};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Does random steps in a new folder, and in a model beside it; both answer the same.
pub fn agree(path: &Path, options: &OpenOptions, rng: &mut Rng, steps: u64) {
    let mut db = Database::open(path, options).expect("a new folder opens");
    let (mut model, mut next) = (Model::default(), 0);
    for number in 0..steps {
        let step = step(rng, &model, 1);
        let n = next;
        next += 100;
        if matches!(step, Step::Reopen | Step::Kill) {
            db.close().expect("a clean close");
            db = Database::open(path, options).expect("it opens again");
            continue;
        }
        let planned = model.after(&step, n);
        let done = call(&db, &step, n, &model);
        let status = done.as_ref().err().map_or(0, Error::status);
        assert_eq!(status, planned.as_ref().err().copied().unwrap_or(0), "step {number}, {step:?}: {done:?}");
        model = planned.unwrap_or(model);
        if number % 60 == 59 {
            let found = oracle::read(&db).expect("everything can be read");
            assert!(found == model, "after step {number}: {}", model.difference(&found));
            oracle::agree(&db, &model).unwrap_or_else(|what| panic!("after step {number}: {what}"));
        }
    }
    db.close().expect("a clean close");
    // A database in memory has made none.
    let _ = std::fs::remove_dir_all(path);
}

/// Something to do, more often sensible than not. `depth` 1 has no steps with steps inside.
pub fn step(rng: &mut Rng, model: &Model, depth: u32) -> Step {
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
        37..42 => Step::Batch(parts(rng, model)),
        42..44 => Step::BatchNoWait(parts(rng, model)),
        44 => Step::Drop(name),
        45 => Step::Rename(name, NAMES[rng.below(4) as usize].to_owned()),
        46 => Step::Make(name, Kind::Wide),
        47..49 => Step::Checkpoint,
        49 => Step::Flush,
        50..53 => Step::Upkeep,
        53 => Step::Reopen,
        54 => Step::Kill,
        _ if depth > 0 => Step::Save(name),
        55..57 => Step::During(rng.below(9) as usize, saves(rng, model)),
        _ => {
            let mut steps = saves(rng, model);
            steps.insert(rng.below(steps.len() as u64 + 1) as usize, Step::Checkpoint);
            if rng.chance(1, 2) { Step::Scanning(name, steps) } else { Step::Holding(name, steps) }
        }
    }
}

/// Saves and replaces: what is foretold before they begin stays right.
fn saves(rng: &mut Rng, model: &Model) -> Vec<Step> {
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

fn parts(rng: &mut Rng, model: &Model) -> Vec<Part> {
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
