//! Databases over every pair of store and cache: the same answers, nothing lost, nothing old.
#![cfg(feature = "simulation")]

mod support;

use std::sync::Arc;

use diamonddb::modules::{MemoryStore, Store};
use diamonddb::os::simulated::Rng;
use diamonddb::{CacheChoice, Database, Durability, Error, OpenOptions, StoreChoice};
use support::model::Model;
use support::modules::{Forgetful, Queueing};
use support::script::Step;
use support::{number_from_env, oracle, random, small_sizes};

/// How a database is opened, and opened again.
fn pairs() -> Vec<(&'static str, OpenOptions)> {
    let store = |store: Arc<dyn Store>| OpenOptions { store: StoreChoice::Module(store), ..OpenOptions::default() };
    let lru = CacheChoice::Lru(20_000);
    let forgetful = || CacheChoice::Module(Arc::new(Forgetful::new()));
    vec![
        ("native", OpenOptions::default()),
        ("native behind lru", OpenOptions { cache: lru.clone(), ..OpenOptions::default() }),
        ("native behind forgetful", OpenOptions { cache: forgetful(), ..OpenOptions::default() }),
        ("memory", store(Arc::new(MemoryStore::new()))),
        ("memory behind lru", OpenOptions { cache: lru.clone(), ..store(Arc::new(MemoryStore::new())) }),
        ("queueing", store(Arc::new(Queueing::new(true)))),
        ("queueing behind lru", OpenOptions { cache: lru, ..store(Arc::new(Queueing::new(true))) }),
        ("queueing behind forgetful", OpenOptions { cache: forgetful(), ..store(Arc::new(Queueing::new(true))) }),
    ]
}

#[test]
fn every_pair_of_store_and_cache_answers_as_plain_maps_do() {
    let first = number_from_env("DIAMOND_SEED", 1);
    let runs = number_from_env("DIAMOND_RUNS", 6);
    for (seed, (name, options)) in (first..first + runs).flat_map(|seed| pairs().into_iter().map(move |it| (seed, it)))
    {
        let mut rng = Rng::new(seed);
        let durability = [Durability::Sync, Durability::Os, Durability::Async][rng.below(3) as usize];
        let sizes = small_sizes(durability);
        let options = OpenOptions { durability, no_threads: rng.chance(1, 2), sizes: sizes.sizes, ..options };
        println!("{name}, {durability:?}, DIAMOND_SEED={seed}");
        let path = std::env::temp_dir().join(format!("diamonddb_modules_{}", std::process::id()));
        let mut db = Database::open(&path, &options).expect("a new database opens");
        let (mut model, mut next) = (Model::default(), 0);
        for number in 0..600 {
            let step = random::step(&mut rng, &model, 1);
            let n = next;
            next += 100;
            if matches!(step, Step::Reopen | Step::Kill) {
                db.close().expect("a clean close");
                db = Database::open(&path, &options).expect("it opens again");
                continue;
            }
            let planned = model.after(&step, n);
            let done = support::script::call(&db, &step, n, &model);
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
        let _ = std::fs::remove_dir_all(&path);
    }
}
