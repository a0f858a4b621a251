//! Random operations, with reopening, checkpoints and killed processes between, against plain maps.
//!
//! On the simulated disk a run follows from its seed alone. On a real folder the engine's own threads write behind and
//! make checkpoints meanwhile. `DIAMOND_SEED` is the first seed, `DIAMOND_RUNS` how many there are.
#![cfg(feature = "simulation")]

mod support;

use diamonddb::os::simulated::{Rng, SimulatedDisk};
use diamonddb::{Durability, OpenOptions};
use support::script::{Run, Step};
use support::{number_from_env, oracle, random, small_sizes};

const STEP_COUNT: usize = 300;

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
            let step = random::step(&mut rng, &run.model(), 0);
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
    random::agree(&path, &options, &mut Rng::new(seed), 2000);
}

struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a random run fails; repeat it with: DIAMOND_SEED={} DIAMOND_RUNS=1", self.0);
        }
    }
}
