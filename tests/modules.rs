//! Databases over every pair of store and cache: the same answers, nothing lost, nothing old.
#![cfg(feature = "simulation")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use diamonddb::modules::{
    Cache, CacheReply, Change, Fault, Fetched, Found, Habits, Item, Key, LruCache, MemoryStore, Stamp, Store, Value,
};
use diamonddb::os::simulated::Rng;
use diamonddb::{CacheChoice, Database, Durability, Error, OpenOptions, StoreChoice};
use support::model::Model;
use support::script::Step;
use support::{number_from_env, oracle, random, small_sizes};

/// A store that queues: it finds only what was persisted, and may lose its queue.
#[derive(Default)]
struct Queueing {
    inner: MemoryStore,
    queue: Mutex<Vec<Owned>>,
    fetches: AtomicU64,
    persists: AtomicU64,
    /// The next persist fails, and the queue is gone.
    loses: AtomicBool,
    is_atomic: bool,
}

struct Owned {
    key: Key,
    stamp: Stamp,
    value: Option<(Vec<u8>, Vec<u8>)>,
}

impl Owned {
    fn new(change: &Change<'_>) -> Owned {
        let value = change.value.map(|value| (value.record.to_vec(), value.nulls.to_vec()));
        Owned { key: change.key, stamp: change.stamp, value }
    }

    fn change(&self) -> Change<'_> {
        let value = self.value.as_ref().map(|(record, nulls)| Value { record, nulls });
        Change { key: self.key, stamp: self.stamp, value }
    }
}

impl Store for Queueing {
    fn name(&self) -> String {
        "queueing".into()
    }

    fn habits(&self) -> Habits {
        Habits { atomic: self.is_atomic, ..Habits::default() }
    }

    fn initialize(&self, found: &mut Found) -> Result<(), Fault> {
        self.inner.initialize(found)
    }

    fn make_table(&self, table: u32, meta: &str) -> Result<(), Fault> {
        self.inner.make_table(table, meta)
    }

    fn update_meta(&self, tables: &str) -> Result<(), Fault> {
        self.inner.update_meta(tables)
    }

    fn store(&self, changes: &[Change<'_>], _items: &mut [Item]) -> Result<(), Fault> {
        self.queue.lock().unwrap().extend(changes.iter().map(Owned::new));
        Ok(())
    }

    fn fetch(&self, table: u32, ids: &[u64], found: &mut Fetched<'_>) -> Result<(), Fault> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.inner.fetch(table, ids, found)
    }

    fn persist_all(&self) -> Result<(), Fault> {
        let queue = std::mem::take(&mut *self.queue.lock().unwrap());
        if self.loses.swap(false, Ordering::SeqCst) {
            return Err(Fault::Failed("the queue is gone".into()));
        }
        self.persists.fetch_add(1, Ordering::SeqCst);
        queue.iter().try_for_each(|change| self.inner.store(&[change.change()], &mut [Item::Done]))
    }
}

/// A cache that drops nearly everything.
struct Forgetful(LruCache, AtomicU64);

impl Forgetful {
    fn new() -> Forgetful {
        Forgetful(LruCache::new(1 << 20), AtomicU64::new(0))
    }
}

impl Cache for Forgetful {
    fn name(&self) -> String {
        "forgetful".into()
    }

    fn habits(&self) -> Habits {
        Habits::default()
    }

    fn store(&self, change: &Change<'_>) -> Result<(), Fault> {
        if self.1.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) { self.0.store(change) } else { self.0.clear() }
    }

    fn fetch(&self, key: Key, reply: &mut CacheReply<'_>) -> Result<(), Fault> {
        self.0.fetch(key, reply)
    }

    fn clear(&self) -> Result<(), Fault> {
        self.0.clear()
    }
}

fn queueing() -> Arc<Queueing> {
    Arc::new(Queueing { is_atomic: true, ..Queueing::default() })
}

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
        ("queueing", store(queueing())),
        ("queueing behind lru", OpenOptions { cache: lru, ..store(queueing()) }),
        ("queueing behind forgetful", OpenOptions { cache: forgetful(), ..store(queueing()) }),
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
