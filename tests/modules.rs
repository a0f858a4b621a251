//! Databases over every pair of store and cache: the same answers, nothing lost, nothing old.
#![cfg(feature = "simulation")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use diamonddb::modules::{
    Cache, CacheReply, Change, Fault, Fetched, Found, Habits, Item, Key, LruCache, MemoryStore, Stamp, Store, Value,
};
use diamonddb::os::simulated::Rng;
use diamonddb::{
    CacheChoice, Database, Durability, Error, OpenOptions, RecordId, RecordsMut, ScanRange, Schema, StoreChoice, Table,
};
use support::hooked::{Asked, Gate, HookedCache, HookedStore, Told};
use support::modules::{Forgetful, Queueing};
use support::{number_from_env, random, small_sizes};

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
        random::agree(&path, &options, &mut rng, 600);
    }
}

#[test]
#[cfg(feature = "cli")]
fn the_tables_of_the_quickstart_read_and_change_over_every_pair_as_over_the_native_store() {
    let folder = std::env::temp_dir().join(format!("diamonddb_real_{}", std::process::id()));
    let data = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for (table, file) in [("cities", "cities.csv"), ("flights", "flights-2013-01.csv")] {
        let mut tool = std::process::Command::new(env!("CARGO_BIN_EXE_diamonddb"));
        tool.args(["import", "--quiet", "--null", ""]).arg(data.join(file)).arg(&folder).arg(table);
        assert!(tool.status().expect("the tool is built").success(), "{file}");
    }
    let native = Database::open(&folder, &OpenOptions::default()).unwrap();
    for name in ["cities", "flights"] {
        let table = native.table(name).unwrap();
        let imported = rows(&table);
        let mut copies = Vec::new();
        for (pair, options) in pairs().into_iter().filter(|(pair, _)| !pair.starts_with("native")) {
            let db = Database::open("", &options).unwrap();
            let copy = db.make_table(name, table.schema()).unwrap();
            for rows in imported.chunks(5000) {
                let rows: Vec<&str> = rows.iter().map(|(_, row)| row.as_str()).collect();
                copy.save_many_json(&format!("[{}]", rows.join(","))).unwrap();
            }
            assert!(rows(&copy) == imported, "{name} as imported, over {pair}");
            copies.push((pair, db, copy));
        }
        let change = |table: &Table| {
            for (id, row) in imported.iter().step_by(7) {
                table.replace_json(RecordId((id.0 * 31) % imported.len() as u64), row).unwrap();
            }
            let gone: Vec<RecordId> = imported.iter().skip(3).step_by(11).map(|(id, _)| *id).collect();
            table.delete_many(&gone).unwrap();
        };
        change(&table);
        let changed = rows(&table);
        for (pair, db, copy) in copies {
            change(&copy);
            assert!(rows(&copy) == changed, "{name} as changed, over {pair}");
            assert_eq!(copy.count().unwrap(), table.count().unwrap(), "{name} over {pair}");
            assert_eq!(db.verify().unwrap().findings, [], "{name} over {pair}");
            db.close().unwrap();
        }
    }
    native.close().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

/// All records, as JSON.
#[cfg(feature = "cli")]
fn rows(table: &Table) -> Vec<(RecordId, String)> {
    let mut cursor = table.scan(ScanRange::default()).unwrap();
    std::iter::from_fn(|| cursor.next_json(diamonddb::JsonStyle::default()).unwrap()).collect()
}

#[test]
fn a_record_that_the_store_has_queued_and_the_cache_has_dropped_is_found() {
    let store = Arc::new(Queueing::new(true));
    let cache = Arc::new(LruCache::new(1 << 20));
    let (db, people) = open(over(store.clone()).os().cache(cache.clone()));
    let id = save(&people, 1);
    replace(&people, id, 2);
    cache.clear().unwrap();
    assert_eq!(fetch(&people, id), Ok(2));
    assert_eq!(store.persists.load(Ordering::SeqCst), 0, "nothing was persisted yet");
    people.delete(id).unwrap();
    cache.clear().unwrap();
    assert_eq!(fetch(&people, id), Err(200));
    db.close().unwrap();
}

#[test]
fn a_failed_persist_is_told_by_flush_and_loses_nothing() {
    let store = Arc::new(Queueing::new(true));
    let (db, people) = open(over(store.clone()).os());
    let (kept, gone) = (save(&people, 1), save(&people, 2));
    people.delete(gone).unwrap();
    store.loses.store(true, Ordering::SeqCst);
    assert_eq!(db.flush().unwrap_err().status(), 602);
    assert_eq!(fetch(&people, kept), Ok(1));
    db.flush().expect("the queue is stored again");
    db.close().unwrap();
    let (_db, people) = open(over(Arc::new(store.again())));
    assert_eq!((fetch(&people, kept), fetch(&people, gone)), (Ok(1), Err(200)));
}

#[test]
fn a_failed_persist_of_the_interval_is_told_to_the_next_writer_and_only_to_that() {
    let store = Arc::new(Queueing::new(true));
    let options = OpenOptions { interval_ms: 5, ..over(store.clone()) };
    let (db, people) = open(OpenOptions { durability: Durability::Async, ..options });
    store.loses.store(true, Ordering::SeqCst);
    let id = save(&people, 1);
    // The interval comes, fails, comes again and stores the queue again.
    let persists = store.persists.load(Ordering::SeqCst);
    until(|| store.persists.load(Ordering::SeqCst) > persists && !store.loses.load(Ordering::SeqCst));
    until(|| people.replace_json(id, r#"{"n": 2}"#).map_err(|error| error.status()) == Err(602));
    assert_eq!(fetch(&people, id), Ok(1), "the writer that heard of it wrote nothing");
    replace(&people, id, 3);
    db.close().unwrap();
    let (_db, people) = open(over(Arc::new(store.again())));
    assert_eq!(fetch(&people, id), Ok(3));
}

#[test]
fn a_record_that_the_store_accepts_while_a_persist_fails_is_not_lost() {
    let store = Arc::new(Queueing::new(true));
    let gate = Arc::new(Gate::default());
    let hooked = HookedStore::new(store.clone()).after({
        let gate = gate.clone();
        move |asked| {
            // It is in the store's queue, and the database has not heard of that.
            if matches!(asked, Asked::Store(changes) if changes[0].key.id == 1) {
                gate.pass();
            }
            Ok(())
        }
    });
    let (db, people) = open(over(Arc::new(hooked)));
    save(&people, 1);
    thread::scope(|scope| {
        let saving = scope.spawn(|| save(&people, 2));
        gate.wait_for(1);
        store.loses.store(true, Ordering::SeqCst);
        // Something to persist, for another table's making is accepted.
        assert!(db.make_table("other", people.schema()).is_err(), "its persist fails");
        db.flush().expect("this one goes well");
        gate.open();
        saving.join().expect("it was acknowledged");
    });
    // The database ends here, as a crash would end it: what was acknowledged is in the store.
    let (_again, people) = open(over(Arc::new(store.again())));
    assert_eq!((fetch(&people, RecordId(0)), fetch(&people, RecordId(1))), (Ok(1), Ok(2)));
}

#[test]
fn what_was_queued_for_a_table_that_is_dropped_is_not_stored_again() {
    let store = Arc::new(Queueing::new(true));
    let dropped = Arc::new(AtomicBool::new(false));
    let hooked = HookedStore::new(store.clone()).before({
        let dropped = dropped.clone();
        move |asked| match asked {
            Asked::Store(changes) if dropped.load(Ordering::SeqCst) && changes.iter().any(|it| it.key.table == 2) => {
                Err(Fault::Failed("there is no table 2".into()))
            }
            _ => Ok(()),
        }
    });
    let (db, people) = open(over(Arc::new(hooked)).os());
    let brief = db.make_table("brief", people.schema()).unwrap();
    let id = save(&people, 1);
    save(&brief, 2);
    db.drop_table("brief").unwrap();
    dropped.store(true, Ordering::SeqCst);
    store.loses.store(true, Ordering::SeqCst);
    assert_eq!(db.flush().unwrap_err().status(), 602);
    db.flush().expect("what is left is stored again");
    db.close().unwrap();
    let (_db, people) = open(over(Arc::new(store.again())));
    assert_eq!(fetch(&people, id), Ok(1));
}

#[test]
fn a_table_that_is_half_dropped_is_in_the_meta_data_that_are_persisted() {
    let (gate, is_armed) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
    let memory = Arc::new(MemoryStore::new());
    let hooked = HookedStore::new(memory.clone()).before({
        let (gate, is_armed) = (gate.clone(), is_armed.clone());
        move |asked| {
            if matches!(asked, Asked::UpdateMeta) && is_armed.swap(false, Ordering::SeqCst) {
                gate.pass();
                return Err(Fault::Failed("not today".into()));
            }
            Ok(())
        }
    });
    let (db, people) = open(over(Arc::new(hooked)).os());
    let id = save(&people, 1);
    is_armed.store(true, Ordering::SeqCst);
    let flushed = AtomicBool::new(false);
    thread::scope(|scope| {
        let dropping = scope.spawn(|| db.drop_table("people").map_err(|error| error.status()));
        gate.wait_for(1);
        scope.spawn(|| {
            db.flush().expect("it waits until the table is dropped or not");
            flushed.store(true, Ordering::SeqCst);
        });
        // Long enough for a flush that does not wait.
        thread::sleep(Duration::from_millis(50));
        assert!(!flushed.load(Ordering::SeqCst), "it was persisted without the table");
        gate.open();
        assert_eq!(dropping.join().unwrap(), Err(602));
    });
    assert_eq!(fetch(&people, id), Ok(1));
}

#[test]
fn many_callers_who_miss_one_record_make_one_fetch() {
    let (gate, fetches) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
    let hooked = HookedStore::new(Arc::new(MemoryStore::new())).before({
        let (gate, fetches) = (gate.clone(), fetches.clone());
        move |asked| {
            if matches!(asked, Asked::Fetch(_)) {
                fetches.fetch_add(1, Ordering::SeqCst);
                gate.pass();
            }
            Ok(())
        }
    });
    let (asking, cache) = (Arc::new(AtomicUsize::new(0)), Arc::new(LruCache::new(1 << 20)));
    let hooked_cache = HookedCache::new(cache.clone()).after({
        let asking = asking.clone();
        move |told| {
            asking.fetch_add(usize::from(matches!(told, Told::Fetch(_))), Ordering::SeqCst);
            Ok(())
        }
    });
    let (_db, people) = open(over(Arc::new(hooked)).cache(Arc::new(hooked_cache)));
    let id = save(&people, 7);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(|| fetch(&people, id))).collect();
        gate.wait_for(1);
        // The first clears the cache before it asks it; others may find it being cleared, and ask nothing.
        thread::sleep(Duration::from_millis(200));
        gate.open();
        callers.into_iter().for_each(|caller| assert_eq!(caller.join().unwrap(), Ok(7)));
    });
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    assert_eq!(fetch(&people, id), Ok(7));
    assert_eq!(fetches.load(Ordering::SeqCst), 1, "the cache has it now");
}

#[test]
fn whoever_waits_for_a_fetch_that_fails_hears_why() {
    let gate = Arc::new(Gate::default());
    let hooked = HookedStore::new(Arc::new(MemoryStore::new())).before({
        let gate = gate.clone();
        move |asked| match asked {
            Asked::Fetch(_) => {
                gate.pass();
                Err(Fault::Failed("the line is dead".into()))
            }
            _ => Ok(()),
        }
    });
    let (_db, people) = open(over(Arc::new(hooked)));
    let id = save(&people, 7);
    thread::scope(|scope| {
        let ask = || {
            let records = RecordsMut { bytes: &mut [0; 8], stride: 8, nulls: None, null_stride: 0 };
            people.fetch_many(&[id], records, None).unwrap_err().message().to_owned()
        };
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        gate.wait_for(1);
        thread::sleep(Duration::from_millis(100));
        gate.open();
        for caller in callers {
            let what = caller.join().unwrap();
            assert!(what.contains("the line is dead"), "{what}");
        }
    });
}

#[test]
fn a_fetch_that_fills_the_cache_never_overwrites_a_newer_save() {
    for newer in [Some(2), None] {
        let gate = Arc::new(Gate::default());
        // It has read, and has not answered.
        let hooked = HookedStore::new(Arc::new(MemoryStore::new()))
            .after(pass_at(&gate, |asked| matches!(asked, Asked::Fetch(ids) if ids[0] == 0)));
        let cache = Arc::new(Naive::default());
        let (_db, people) = open(over(Arc::new(hooked)).cache(cache));
        let other = {
            save(&people, 1);
            save(&people, 9)
        };
        assert_eq!(fetch(&people, other), Ok(9), "the cache is clear and in use");
        let id = RecordId(0);
        thread::scope(|scope| {
            let fetching = scope.spawn(|| fetch(&people, id));
            gate.wait_for(1);
            // A delete looks whether the record is there, which passes the gate, too.
            let changing = scope.spawn(|| change(&people, id, newer));
            thread::sleep(Duration::from_millis(50));
            gate.open();
            let fetched = fetching.join().unwrap();
            assert!(fetched == Ok(1) || fetched == newer.ok_or(200), "{fetched:?}");
            changing.join().unwrap();
        });
        assert_eq!(fetch(&people, id), newer.ok_or(200));
        assert_eq!(fetch(&people, id), newer.ok_or(200));
    }
}

#[test]
fn whoever_fetches_while_a_record_is_queued_does_not_bring_back_the_one_before() {
    let store = Arc::new(Queueing::new(true));
    let (gate, is_armed) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
    let cache = Arc::new(Naive::default());
    let hooked = HookedCache::new(cache.clone()).after({
        let (gate, is_armed) = (gate.clone(), is_armed.clone());
        move |told| {
            if matches!(told, Told::Fetch(_)) && is_armed.swap(false, Ordering::SeqCst) {
                gate.pass();
            }
            Ok(())
        }
    });
    let (db, people) = open(over(store).os().cache(Arc::new(hooked)));
    let id = save(&people, 1);
    db.flush().unwrap();
    assert_eq!(fetch(&people, id), Ok(1));
    cache.clear().unwrap();
    is_armed.store(true, Ordering::SeqCst);
    thread::scope(|scope| {
        // Nothing was queued when it began, and the cache has nothing.
        let fetching = scope.spawn(|| fetch(&people, id));
        gate.wait_for(1);
        replace(&people, id, 2);
        cache.clear().unwrap();
        gate.open();
        fetching.join().unwrap().expect("either is right");
    });
    assert_eq!(fetch(&people, id), Ok(2));
    db.flush().unwrap();
    assert_eq!(fetch(&people, id), Ok(2), "the cache was filled with the older one");
}

#[test]
fn a_deleted_record_never_comes_back_from_the_cache_of_the_native_store() {
    let gate = Arc::new(Gate::default());
    let hooked = HookedCache::new(Arc::new(Naive::default())).before({
        let gate = gate.clone();
        move |told| {
            // The save is on its way to the cache. Whoever deletes has time, unless it waits for its turn.
            if matches!(told, Told::Store(change) if change.key.id == 1 && change.value.is_some()) {
                gate.pass_or_go_on(Duration::from_millis(300));
            }
            Ok(())
        }
    });
    let folder = std::env::temp_dir().join(format!("diamonddb_modules_front_{}", std::process::id()));
    let options = OpenOptions::default().cache(Arc::new(hooked));
    let db = Database::open(&folder, &options).unwrap();
    let people = db.make_table("people", &schema()).unwrap();
    save(&people, 1);
    assert_eq!(fetch(&people, RecordId(0)), Ok(1), "the cache is clear and in use");
    thread::scope(|scope| {
        scope.spawn(|| save(&people, 2));
        gate.wait_for(1);
        people.delete(RecordId(1)).unwrap();
        gate.open();
    });
    assert_eq!(fetch(&people, RecordId(1)), Err(200));
    db.close().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_a_store_cannot_do_is_unsupported_and_names_it() {
    let (db, people) = open(over(Arc::new(Queueing::new(false))));
    let (id, other) = (save(&people, 1), save(&people, 1));
    let refused = |error: Error| {
        assert_eq!(error.status(), 105, "{error}");
        assert!(error.message().contains("queueing"), "{error}");
    };
    let mut batch = db.batch().unwrap();
    batch.save_json(&people, r#"{"n": 1}"#).unwrap();
    batch.delete(&people, id).unwrap();
    refused(batch.commit(false).unwrap_err());
    refused(people.save_many_json(r#"[{"n": 1}, {"n": 2}]"#).unwrap_err());
    refused(people.delete_many(&[id, other]).map_or_else(|error| error, |()| panic!("done")));
    refused(db.snapshot().map(drop).unwrap_err());
    refused(people.pin().map(drop).unwrap_err());
    refused(db.backup(std::env::temp_dir().join("never"), |_, _| std::ops::ControlFlow::Continue(())).unwrap_err());
    assert_eq!((people.count().unwrap(), people.next_id().unwrap()), (2, RecordId(2)), "nothing was done");
    // One change, with expectations, is no batch.
    people.replace_if_json(id, r#"{"n": 1}"#, r#"{"n": 2}"#).unwrap();
    assert_eq!(fetch(&people, id), Ok(2));
}

#[test]
fn a_module_that_calls_its_database_is_told_that_it_must_not() {
    static INSIDE: OnceLock<Mutex<Vec<(&str, i32)>>> = OnceLock::new();
    let handles: Arc<OnceLock<(Database, Table)>> = Arc::default();
    let meddle = |handles: &Arc<OnceLock<(Database, Table)>>| {
        let handles: Weak<OnceLock<(Database, Table)>> = Arc::downgrade(handles);
        move || {
            let Some(handles) = handles.upgrade() else { return };
            let Some((db, people)) = handles.get() else { return };
            let status = |result: Result<(), Error>| result.map_or_else(|error| error.status(), |()| 0);
            let id = RecordId(0);
            let told = [
                ("save", status(people.save_json(r#"{"n": 1}"#).map(drop))),
                ("fetch", status(people.fetch_json(id, Default::default()).map(drop))),
                ("delete", status(people.delete(id))),
                ("count", status(people.count().map(drop))),
                ("scan", status(people.scan(ScanRange::default()).map(drop))),
                ("flush", status(db.flush())),
                ("table", status(db.table("people").map(drop))),
                ("make", status(db.make_table("more", &schema()).map(drop))),
                ("stats", status(db.stats_json().map(drop))),
            ];
            INSIDE.get_or_init(Mutex::default).lock().unwrap().extend(told);
        }
    };
    let one_at_a_time = Habits { one_at_a_time: true, immediate: true, atomic: true, ..Habits::default() };
    let from_store = meddle(&handles);
    let store = HookedStore::new(Arc::new(MemoryStore::new())).habits(one_at_a_time).before(move |asked| {
        if !matches!(asked, Asked::UpdateMeta) {
            from_store();
        }
        Ok(())
    });
    let from_cache = meddle(&handles);
    let cache = HookedCache::new(Arc::new(LruCache::new(1 << 20))).habits(one_at_a_time).before(move |_| {
        from_cache();
        Ok(())
    });
    let (db, people) = open(over(Arc::new(store)).cache(Arc::new(cache)));
    let id = save(&people, 1);
    assert!(handles.set((db, people)).is_ok());
    let (db, people) = handles.get().unwrap();
    assert_eq!(fetch(people, id), Ok(1));
    save(people, 2);
    db.flush().unwrap();
    let inside = INSIDE.get().expect("modules were called").lock().unwrap();
    assert!(inside.len() >= 18, "{inside:?}");
    assert!(inside.iter().all(|(_, status)| *status == 100), "{inside:?}");
}

#[test]
fn a_module_of_the_opening_thread_is_not_called_by_another() {
    let bound = |habits: Habits| Habits { opening_thread: true, ..habits };
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let store = HookedStore::new(memory.clone()).habits(bound(memory.habits()));
    let (db, people) = open(over(Arc::new(store)));
    let id = save(&people, 1);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let saved = people.save_json(r#"{"n": 2}"#).unwrap_err().status();
            (saved, fetch(&people, id), db.flush().map_err(|error| error.status()))
        });
        let (saved, fetched, flushed) = other.join().unwrap();
        assert_eq!((saved, fetched), (103, Err(103)));
        assert_eq!(flushed, Ok(()), "there is nothing to persist");
    });
    assert_eq!((fetch(&people, id), people.next_id().unwrap()), (Ok(1), RecordId(1)));

    // A cache of that kind is passed by, and does not keep what it did not hear of.
    let cache: Arc<dyn Cache> = Arc::new(LruCache::new(1 << 20));
    let cache = HookedCache::new(cache).habits(bound(Habits::default()));
    let (_db, people) = open(over(Arc::new(MemoryStore::new())).cache(Arc::new(cache)));
    let id = save(&people, 1);
    assert_eq!((fetch(&people, id), fetch(&people, id)), (Ok(1), Ok(1)));
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(fetch(&people, id), Ok(1));
            replace(&people, id, 2);
            assert_eq!(fetch(&people, id), Ok(2));
        });
    });
    assert_eq!(fetch(&people, id), Ok(2));
}

#[test]
fn who_may_not_call_a_store_does_not_wait_for_who_is_in_it() {
    static INSIDE: OnceLock<Mutex<Vec<(&str, i32)>>> = OnceLock::new();
    let handles: Arc<OnceLock<(Database, Table)>> = Arc::default();
    let weak = Arc::downgrade(&handles);
    // A store that waits for a thread which wants the same: as one may that shows its work in a window.
    let elsewhere = move |_: &Asked<'_>| {
        let Some(handles) = weak.upgrade() else { return Ok(()) };
        let Some((db, people)) = handles.get() else { return Ok(()) };
        let status = |result: Result<(), Error>| result.map_or_else(|error| error.status(), |()| 0);
        let other = || {
            let id = RecordId(0);
            [
                ("save", status(people.save_json(r#"{"n": 1}"#).map(drop))),
                ("fetch", status(people.fetch_json(id, Default::default()).map(drop))),
                ("fetch many", status(people.fetch_many_json(&[id], Default::default(), None).1)),
                ("delete", status(people.delete(id))),
                ("count", status(people.count().map(drop))),
                ("flush", status(db.flush())),
                ("make", status(db.make_table("more", &schema()).map(drop))),
                ("drop", status(db.drop_table("people"))),
            ]
        };
        let told = thread::scope(|scope| scope.spawn(other).join().unwrap());
        INSIDE.get_or_init(Mutex::default).lock().unwrap().extend(told);
        Ok(())
    };
    let memory: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let (db, people) = open(over(Arc::clone(&memory)));
    let id = save(&people, 1);
    db.close().unwrap();
    let habits = Habits { opening_thread: true, ..memory.habits() };
    let (db, people) = open(over(Arc::new(HookedStore::new(memory).habits(habits).before(elsewhere))));
    assert!(handles.set((db, people)).is_ok());
    let (db, people) = handles.get().unwrap();
    assert_eq!(people.count().unwrap(), 1);
    assert_eq!(fetch(people, id), Ok(1));
    replace(people, id, 2);
    db.flush().unwrap();
    let inside = INSIDE.get().expect("the store was called").lock().unwrap();
    assert!(inside.len() >= 5 * 8, "{inside:?}");
    // What is known needs no store.
    let is_known = |asked: &str, status: i32| status == 0 && matches!(asked, "count" | "flush");
    assert!(inside.iter().all(|(asked, status)| *status == 103 || is_known(asked, *status)), "{inside:?}");
    assert!(inside.contains(&("count", 103)) && inside.contains(&("flush", 103)), "{inside:?}");
}

#[test]
fn a_module_is_let_go_by_close_which_waits_for_running_calls() {
    let gate = Arc::new(Gate::default());
    let store: Arc<dyn Store> = Arc::new(
        HookedStore::new(Arc::new(MemoryStore::new())).before(pass_at(&gate, |asked| matches!(asked, Asked::Fetch(_)))),
    );
    let cache: Arc<dyn Cache> = Arc::new(LruCache::new(1 << 20));
    let (store_left, cache_left) = (Arc::downgrade(&store), Arc::downgrade(&cache));
    let (db, people) = open(over(store).cache(cache));
    let id = save(&people, 1);
    let scan = people.scan(ScanRange::default()).unwrap();
    let is_closed = AtomicBool::new(false);
    thread::scope(|scope| {
        let fetching = scope.spawn(|| fetch(&people, id));
        gate.wait_for(1);
        let closing = scope.spawn(|| {
            db.close().unwrap();
            is_closed.store(true, Ordering::SeqCst);
            (store_left.strong_count(), cache_left.strong_count())
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!is_closed.load(Ordering::SeqCst), "it waits for the fetch");
        gate.open();
        let fetched = fetching.join().unwrap();
        assert!(fetched == Ok(1) || fetched == Err(101), "{fetched:?}");
        assert_eq!(closing.join().unwrap(), (0, 0), "the modules are gone when close returns");
    });
    assert_eq!(fetch(&people, id), Err(101));
    drop((scan, people));
}

#[test]
fn an_ambiguous_commit_is_unknown_and_the_cache_does_not_answer_with_the_record_before() {
    let is_armed = Arc::new(AtomicBool::new(false));
    let hooked = HookedStore::new(Arc::new(MemoryStore::new())).after({
        let is_armed = is_armed.clone();
        move |asked| match asked {
            Asked::Store(_) if is_armed.swap(false, Ordering::SeqCst) => Err(Fault::Ambiguous("who knows".into())),
            _ => Ok(()),
        }
    });
    let (_db, people) = open(over(Arc::new(hooked)).cache(Arc::new(LruCache::new(1 << 20))));
    let id = save(&people, 1);
    assert_eq!((fetch(&people, id), fetch(&people, id)), (Ok(1), Ok(1)));
    is_armed.store(true, Ordering::SeqCst);
    assert_eq!(people.replace_json(id, r#"{"n": 2}"#).unwrap_err().status(), 400);
    assert_eq!(fetch(&people, id), Ok(2), "the store did it");
    is_armed.store(true, Ordering::SeqCst);
    assert_eq!(people.save_json(r#"{"n": 3}"#).unwrap_err().status(), 400);
    assert_eq!(people.count().unwrap(), 2, "it is counted as it is there");
    is_armed.store(true, Ordering::SeqCst);
    assert_eq!(people.delete(id).unwrap_err().status(), 400);
    assert_eq!((fetch(&people, id), people.count().unwrap()), (Err(200), 1));
    assert_eq!(save(&people, 4), RecordId(2), "no id is given twice");
}

#[test]
fn expectations_hold_under_eight_threads() {
    for (store, is_atomic) in
        [(Arc::new(MemoryStore::new()) as Arc<dyn Store>, true), (Arc::new(Queueing::new(false)), false)]
    {
        let (db, people) = open(over(store).os().cache(Arc::new(LruCache::new(1 << 20))));
        let counters = [save(&people, 0), save(&people, 0)];
        let json = |n: u64| format!(r#"{{"n":{n}}}"#);
        thread::scope(|scope| {
            for number in 0..8 {
                let (db, people) = (&db, &people);
                scope.spawn(move || {
                    let mut done = 0;
                    while done < 100 {
                        let (one, other) = (fetch(people, counters[0]).unwrap(), fetch(people, counters[1]).unwrap());
                        let committed = if number % 2 == 0 || !is_atomic {
                            people.replace_if_json(counters[0], &json(one), &json(one + 1))
                        } else {
                            // Both at once, and only if both are as they were read.
                            let mut batch = db.batch().unwrap();
                            batch.expect_json(people, counters[0], &json(one)).unwrap();
                            batch.expect_json(people, counters[1], &json(other)).unwrap();
                            batch.replace_json(people, counters[0], &json(one + 1)).unwrap();
                            batch.replace_json(people, counters[1], &json(other + 1)).unwrap();
                            batch.commit(false).map(drop)
                        };
                        match committed {
                            Ok(()) => done += 1,
                            Err(error) => assert_eq!(error.status(), 203, "{error}"),
                        }
                    }
                });
            }
        });
        let both = if is_atomic { 400 } else { 0 };
        assert_eq!((fetch(&people, counters[0]), fetch(&people, counters[1])), (Ok(800), Ok(both)));
    }
}

#[test]
fn records_are_counted_after_opening_again_while_others_write() {
    let store = Arc::new(MemoryStore::new());
    let (db, people) = open(over(store.clone()));
    let other = db.make_table("other", people.schema()).unwrap();
    for n in 0..600 {
        save(&people, n);
        save(&other, n);
    }
    (0..100).for_each(|id| people.delete(RecordId(id * 5)).unwrap());
    db.close().unwrap();
    for round in 0..20 {
        let (db, people) = open(over(store.clone()));
        let other = db.table("other").unwrap();
        let batch = |one: &Table, two: &Table| {
            let mut batch = db.batch().unwrap();
            batch.save_json(one, r#"{"n": 1}"#).unwrap();
            batch.save_json(two, r#"{"n": 1}"#).unwrap();
            batch.commit(false).unwrap();
        };
        thread::scope(|scope| {
            scope.spawn(|| (0..10).for_each(|_| batch(&people, &other)));
            scope.spawn(|| (0..10).for_each(|_| batch(&other, &people)));
            scope.spawn(|| people.count().unwrap());
            scope.spawn(|| other.count().unwrap());
        });
        let more = (round + 1) * 20;
        assert_eq!((people.count().unwrap(), other.count().unwrap()), (500 + more, 600 + more));
        db.close().unwrap();
    }
}

#[test]
fn in_async_mode_the_interval_persists_by_its_thread_or_by_step() {
    for no_threads in [false, true] {
        let store = Arc::new(Queueing::new(true));
        let options = OpenOptions { durability: Durability::Async, interval_ms: 5, no_threads, ..over(store.clone()) };
        let (db, people) = open(options);
        let id = save(&people, 1);
        let step = || no_threads && db.step(Duration::from_millis(1)).unwrap();
        until(|| step() | (store.persists.load(Ordering::SeqCst) > 0));
        let found = || open(over(Arc::new(store.again()))).1.fetch_json(id, Default::default()).is_ok();
        until(|| step() | found());
    }
}

#[test]
fn a_change_of_tables_that_the_meta_data_do_not_take_changes_nothing() {
    let is_armed = Arc::new(AtomicBool::new(false));
    let hooked = HookedStore::new(Arc::new(MemoryStore::new())).before({
        let is_armed = is_armed.clone();
        move |asked| match asked {
            Asked::UpdateMeta if is_armed.load(Ordering::SeqCst) => Err(Fault::Failed("not today".into())),
            _ => Ok(()),
        }
    });
    let (db, people) = open(over(Arc::new(hooked)).os());
    let id = save(&people, 1);
    is_armed.store(true, Ordering::SeqCst);
    assert_eq!(db.make_table("more", &schema()).map(drop).unwrap_err().status(), 602);
    assert_eq!(db.rename_table("people", "persons").unwrap_err().status(), 602);
    assert_eq!(db.drop_table("people").unwrap_err().status(), 602);
    let names = || db.tables().unwrap().into_iter().map(|table| table.name).collect::<Vec<_>>();
    assert_eq!((names(), people.name()), (vec!["people".to_owned()], "people".to_owned()));
    is_armed.store(false, Ordering::SeqCst);
    assert_eq!(fetch(&people, id), Ok(1));
    save(&people, 2);
    db.make_table("more", &schema()).unwrap();
    db.rename_table("people", "persons").unwrap();
    assert_eq!((names(), people.name()), (vec!["more".to_owned(), "persons".to_owned()], "persons".to_owned()));
    db.drop_table("persons").unwrap();
    assert_eq!(fetch(&people, id), Err(200));
}

#[test]
fn no_fault_of_a_store_or_a_cache_gives_a_wrong_record() {
    let seed = number_from_env("DIAMOND_SEED", 1);
    for (round, is_queueing) in [false, true, false, true].into_iter().enumerate() {
        let seed = seed + round as u64;
        println!("DIAMOND_SEED={seed}");
        let faults = Arc::new(Faults::new(seed));
        let inner: Arc<dyn Store> = match is_queueing {
            false => Arc::new(MemoryStore::new()),
            true => Arc::new(Queueing::new(true)),
        };
        let store = FaultyStore { inner: inner.clone(), faults: faults.clone() };
        let cache = FaultyCache { inner: LruCache::new(20_000), faults: faults.clone() };
        let options = over(Arc::new(store)).cache(Arc::new(cache));
        let durability = [Durability::Sync, Durability::Os, Durability::Async][seed as usize % 3];
        let (db, people) = open(OpenOptions { durability, interval_ms: 3, ..options });
        assert_eq!(save(&people, 0), RecordId(0));
        faults.strike(true);
        let until = Instant::now() + Duration::from_millis(1500);
        let models: Vec<MayBe> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    let people = &people;
                    scope.spawn(move || work(people, Rng::new(seed * 8 + number), until))
                })
                .collect();
            let flushing = scope.spawn(|| {
                while Instant::now() < until {
                    let _ = db.flush();
                    let _ = db.stats_json();
                    thread::sleep(Duration::from_millis(2));
                }
            });
            flushing.join().expect("no flush panics");
            threads.into_iter().map(|thread| thread.join().expect("no thread breaks a promise")).collect()
        });
        faults.strike(false);
        // All that works again; the first of these may still hear of a persist that failed.
        let _ = db.flush();
        db.flush().expect("nothing is wrong any more");
        let look = |people: &Table| {
            for (id, may_be) in models.iter().flatten() {
                let found = fetch(people, RecordId(*id)).map_or_else(|status| (status, None), |n| (0, Some(n)));
                assert!(matches!(found.0, 0 | 200), "record {id}: {found:?}");
                assert!(may_be.contains(&found.1), "record {id} is {found:?}, and may be {may_be:?}");
            }
        };
        look(&people);
        let (count, records) = (people.count().unwrap(), models.iter().map(MayBe::len).sum::<usize>());
        println!("{} calls struck, {records} records, {count} there", faults.struck.load(Ordering::SeqCst));
        db.close().expect("nothing is wrong any more");
        if !is_queueing {
            let (_db, people) = open(over(inner));
            look(&people);
            assert_eq!(people.count().unwrap(), count);
        }
    }
}

/// What each record of a thread may be by now; `None`: it is not there.
type MayBe = std::collections::BTreeMap<u64, Vec<Option<u64>>>;

/// Saves, changes and reads records that nobody else changes.
fn work(people: &Table, mut rng: Rng, until: Instant) -> MayBe {
    let mut model = MayBe::new();
    let mut next = rng.below(1 << 20) << 20;
    while Instant::now() < until {
        next += 1;
        let ids: Vec<u64> = model.keys().copied().collect();
        if ids.len() < 3 || rng.chance(1, 10) {
            // The id of one whose fate is unknown is nobody's.
            if let Ok(id) = people.save_json(&format!(r#"{{"n": {next}}}"#)) {
                assert!(model.insert(id.0, vec![Some(next)]).is_none(), "id {} was given before", id.0);
            }
            continue;
        }
        let id = ids[rng.below(ids.len() as u64) as usize];
        let may_be = model.get_mut(&id).expect("it was listed");
        if rng.chance(2, 3) {
            // Who asks may hear of a fault, and never of a record that was not there.
            match fetch(people, RecordId(id)) {
                Ok(n) => assert!(may_be.contains(&Some(n)), "record {id} is {n}, and may be {may_be:?}"),
                Err(200) => assert!(may_be.contains(&None), "record {id} is gone, and may be {may_be:?}"),
                Err(status) => assert!(matches!(status, 501 | 602), "record {id}: {status}"),
            }
            continue;
        }
        let new = (!rng.chance(1, 6)).then_some(next);
        let done = match new {
            Some(n) => people.replace_json(RecordId(id), &format!(r#"{{"n": {n}}}"#)),
            None => people.delete(RecordId(id)),
        };
        match done.map_err(|error| error.status()) {
            Ok(()) => *may_be = vec![new],
            Err(400) => may_be.push(new),
            Err(200) => assert!(may_be.contains(&None), "record {id} is gone, and may be {may_be:?}"),
            Err(status) => assert!(matches!(status, 501 | 602), "record {id}: {status}"),
        }
    }
    model
}

/// Which calls are struck, and how.
struct Faults {
    rng: Mutex<Rng>,
    is_on: AtomicBool,
    struck: AtomicUsize,
}

impl Faults {
    fn new(seed: u64) -> Faults {
        Faults { rng: Mutex::new(Rng::new(seed)), is_on: AtomicBool::new(false), struck: AtomicUsize::new(0) }
    }

    fn strike(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::SeqCst);
    }

    /// One of so many kinds of faults, for one call in 12.
    fn next(&self, kinds: u64) -> Option<u64> {
        if !self.is_on.load(Ordering::SeqCst) {
            return None;
        }
        let mut rng = self.rng.lock().unwrap();
        let fault = rng.chance(1, 12).then(|| rng.below(kinds))?;
        self.struck.fetch_add(1, Ordering::SeqCst);
        Some(fault)
    }
}

fn failed() -> Fault {
    Fault::Failed("struck".into())
}

fn ambiguous() -> Fault {
    Fault::Ambiguous("struck".into())
}

/// What panics says nothing, so that the output stays readable.
fn panics() -> ! {
    std::panic::resume_unwind(Box::new("struck"))
}

fn slow() {
    thread::sleep(Duration::from_millis(1));
}

struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Arc<Faults>,
}

impl Store for FaultyStore {
    fn name(&self) -> String {
        "faulty".into()
    }

    fn habits(&self) -> Habits {
        self.inner.habits()
    }

    fn initialize(&self, found: &mut Found) -> Result<(), Fault> {
        self.inner.initialize(found)
    }

    fn make_table(&self, table: u32, meta: &str) -> Result<(), Fault> {
        self.inner.make_table(table, meta)
    }

    fn update_meta(&self, tables: &str) -> Result<(), Fault> {
        if self.faults.next(10) == Some(0) { Err(failed()) } else { self.inner.update_meta(tables) }
    }

    fn store(&self, changes: &[Change<'_>], items: &mut [Item]) -> Result<(), Fault> {
        match self.faults.next(8) {
            Some(0) => return Err(failed()),
            Some(1) => return Err(ambiguous()),
            Some(2) => return self.inner.store(changes, items).and(Err(ambiguous())),
            Some(3) => panics(),
            Some(4) => {
                self.inner.store(changes, items)?;
                panics()
            }
            Some(5) => items.fill(Item::Failed),
            Some(6) => {
                self.inner.store(changes, items)?;
                items.fill(Item::Ambiguous);
            }
            Some(_) => {
                slow();
                return self.inner.store(changes, items);
            }
            None => return self.inner.store(changes, items),
        }
        Ok(())
    }

    fn fetch(&self, table: u32, ids: &[u64], found: &mut Fetched<'_>) -> Result<(), Fault> {
        let garbage = Stamp { version: 1, seal: 2 };
        match self.faults.next(9) {
            Some(0) => return Err(failed()),
            Some(1) => return Err(ambiguous()),
            Some(2) => panics(),
            // Another record, which nobody changes.
            Some(3) => return self.inner.fetch(table, &vec![0; ids.len()], found),
            Some(4) => _ = found.put(0, garbage, Value { record: &[7; 8], nulls: &[0] }),
            Some(5) => _ = found.put(0, garbage, Value { record: &[7; 9], nulls: &[] }),
            Some(6) => {
                self.inner.fetch(table, ids, found)?;
                return self
                    .inner
                    .fetch(table, ids, found)
                    .map(|()| _ = found.put(77, garbage, Value { record: &[7; 8], nulls: &[0] }));
            }
            Some(7) => found.fail(0),
            Some(_) => {
                slow();
                return self.inner.fetch(table, ids, found);
            }
            None => return self.inner.fetch(table, ids, found),
        }
        Ok(())
    }

    fn persist_all(&self) -> Result<(), Fault> {
        match self.faults.next(4) {
            Some(0) => Err(failed()),
            Some(1) => panics(),
            Some(2) => self.inner.persist_all().and(Err(ambiguous())),
            _ => self.inner.persist_all(),
        }
    }
}

struct FaultyCache {
    inner: LruCache,
    faults: Arc<Faults>,
}

impl Cache for FaultyCache {
    fn name(&self) -> String {
        "faulty".into()
    }

    fn habits(&self) -> Habits {
        Habits::default()
    }

    fn store(&self, change: &Change<'_>) -> Result<(), Fault> {
        match self.faults.next(20) {
            Some(0) => Err(failed()),
            Some(1) => panics(),
            Some(2) => {
                slow();
                self.inner.store(change)
            }
            _ => self.inner.store(change),
        }
    }

    fn fetch(&self, key: Key, reply: &mut CacheReply<'_>) -> Result<(), Fault> {
        let garbage = Stamp { version: 1, seal: 2 };
        match self.faults.next(7) {
            Some(0) => Err(failed()),
            Some(1) => panics(),
            Some(2) => self.inner.fetch(Key { id: key.id ^ 1, ..key }, reply),
            Some(3) => {
                reply.put(garbage, Value { record: &[7; 8], nulls: &[0] });
                Ok(())
            }
            Some(4) => {
                reply.put(garbage, Value { record: &[7; 7], nulls: &[0] });
                Ok(())
            }
            Some(5) => self.inner.fetch(key, reply).and_then(|()| self.inner.fetch(key, reply)),
            Some(_) => Ok(()),
            None => self.inner.fetch(key, reply),
        }
    }

    fn clear(&self) -> Result<(), Fault> {
        if self.faults.next(3) == Some(0) { Err(failed()) } else { self.inner.clear() }
    }
}

/// A cache that makes nothing of versions.
#[derive(Default)]
struct Naive(Mutex<std::collections::HashMap<Key, support::modules::Owned>>);

impl Cache for Naive {
    fn name(&self) -> String {
        "naive".into()
    }

    fn habits(&self) -> Habits {
        Habits::default()
    }

    fn store(&self, change: &Change<'_>) -> Result<(), Fault> {
        let mut kept = self.0.lock().unwrap();
        match change.value {
            Some(_) => kept.insert(change.key, support::modules::Owned::new(change)),
            None => kept.remove(&change.key),
        };
        Ok(())
    }

    fn fetch(&self, key: Key, reply: &mut CacheReply<'_>) -> Result<(), Fault> {
        if let Some(there) = self.0.lock().unwrap().get(&key) {
            reply.put(there.stamp, there.change().value.expect("deleted ones are removed"));
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), Fault> {
        self.0.lock().unwrap().clear();
        Ok(())
    }
}

/// Options in the words of these tests.
trait With {
    fn os(self) -> Self;
    fn cache(self, cache: Arc<dyn Cache>) -> Self;
}

impl With for OpenOptions {
    fn os(self) -> OpenOptions {
        OpenOptions { durability: Durability::Os, ..self }
    }

    fn cache(self, cache: Arc<dyn Cache>) -> OpenOptions {
        OpenOptions { cache: CacheChoice::Module(cache), ..self }
    }
}

fn over(store: Arc<dyn Store>) -> OpenOptions {
    OpenOptions { store: StoreChoice::Module(store), ..OpenOptions::default() }
}

fn schema() -> Schema {
    Schema::parse(r#"{"n": ["u64"]}"#).unwrap()
}

fn open(options: OpenOptions) -> (Database, Table) {
    let db = Database::open("modules", &options).expect("it opens");
    let people = db.make_table("people", &schema()).expect("the table is made or there");
    (db, people)
}

fn save(table: &Table, n: u64) -> RecordId {
    table.save_json(&format!(r#"{{"n": {n}}}"#)).expect("saved")
}

fn replace(table: &Table, id: RecordId, n: u64) {
    table.replace_json(id, &format!(r#"{{"n": {n}}}"#)).expect("replaced");
}

fn change(table: &Table, id: RecordId, n: Option<u64>) {
    match n {
        Some(n) => replace(table, id, n),
        None => table.delete(id).expect("deleted"),
    }
}

/// The number in a record, or the status of the error.
fn fetch(table: &Table, id: RecordId) -> Result<u64, i32> {
    let json = table.fetch_json(id, Default::default()).map_err(|error| error.status())?;
    Ok(json.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().expect("a number"))
}

/// A hook that waits at a gate where it is asked this.
fn pass_at(
    gate: &Arc<Gate>,
    is_it: impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static,
) -> impl Fn(&Asked<'_>) -> Result<(), Fault> + Send + Sync + 'static {
    let gate = Arc::clone(gate);
    move |asked| {
        if is_it(asked) {
            gate.pass();
        }
        Ok(())
    }
}

/// Waits until it is so.
fn until(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(20), "it never comes");
        thread::sleep(Duration::from_millis(1));
    }
}
