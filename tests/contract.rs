//! The contract of modules: the built-in ones keep it, and whoever breaks it is found out, by the promise that is
//! broken.
#![cfg(feature = "simulation")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use diamonddb::modules::{Cache, CheckedPromise, LruCache, MemoryStore, Store, check_cache, check_store, promises::*};
use diamonddb::{Database, NativeStore, OpenOptions, Schema, StoreChoice};
use support::broken::{CacheBreak, PlainCache, PlainStore, StoreBreak};
use support::modules::{Forgetful, Queueing};

/// A store, and another over the same records.
type Pair = (Arc<dyn Store>, Option<Arc<dyn Store>>);

fn stores() -> Vec<(&'static str, Pair)> {
    let memory = Arc::new(MemoryStore::new());
    let plain = PlainStore::pair(None);
    let queueing = |is_atomic| {
        let store = Queueing::new(is_atomic);
        let again = store.again();
        (Arc::new(store), Arc::new(again))
    };
    let (queue, queue_again) = queueing(false);
    let (batches, batches_again) = queueing(true);
    vec![
        ("memory", (Arc::clone(&memory) as _, Some(memory as _))),
        ("memory, opened once", (Arc::new(MemoryStore::new()), None)),
        ("plain", (plain.0, Some(plain.1 as _))),
        ("queueing", (queue, Some(queue_again as _))),
        ("queueing batches", (batches, Some(batches_again as _))),
    ]
}

fn caches() -> Vec<(&'static str, Arc<dyn Cache>)> {
    vec![
        ("lru", Arc::new(LruCache::new(64 << 20))),
        ("a small lru", Arc::new(LruCache::new(64 << 10))),
        ("an lru of a few records", Arc::new(LruCache::new(4 << 10))),
        ("forgetful", Arc::new(Forgetful::new())),
        ("plain", PlainCache::new(None)),
    ]
}

#[test]
fn stores_keep_their_promises() {
    for (name, (store, again)) in stores() {
        let habits = store.habits();
        let is_opened_again = again.is_some();
        let report = check_store(store, again);
        print(name, &report);
        assert_eq!(broken(&report), BTreeSet::new(), "{name}");
        let told: BTreeSet<&str> = report.iter().map(|it| it.promise).collect();
        assert_eq!(told.len(), report.len(), "{name}: each promise once");
        assert_eq!(told.contains(ALL_OR_NONE), habits.atomic, "{name}");
        assert_eq!(told.contains(AT_ONCE), habits.immediate, "{name}");
        assert_eq!(told.contains(SURVIVES), is_opened_again, "{name}");
    }
}

#[test]
fn the_native_store_as_a_module_keeps_its_promises() {
    let folder = std::env::temp_dir().join(format!("diamonddb_contract_{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let store = || NativeStore::new(&folder, &OpenOptions::default());
    let report = check_store(Arc::new(store()), Some(Arc::new(store())));
    print("native", &report);
    assert_eq!(broken(&report), BTreeSet::new());
    assert_eq!(report.len(), 20);

    // What the module made is a database like any other.
    let database = Database::open(&folder, &OpenOptions::default()).expect("it opens");
    assert!(database.verify().expect("it can be read").findings.is_empty());
    database.close().expect("a clean close");

    // A database over the module, over a database.
    let store = || StoreChoice::Module(Arc::new(NativeStore::new(folder.join("inner"), &OpenOptions::default())));
    let open = || Database::open("outer", &OpenOptions { store: store(), ..OpenOptions::default() });
    std::fs::create_dir_all(&folder).expect("a folder");
    let database = open().expect("it opens");
    let table = database.make_table("people", &Schema::parse(r#"{"name": ["string", 15]}"#).unwrap()).unwrap();
    let gone = database.make_table("gone", table.schema()).unwrap();
    gone.save_json(r#"{"name": "Bob"}"#).expect("saved");
    let id = table.save_json(r#"{"name": "Abby"}"#).expect("saved");
    table.delete(table.save_json(r#"{"name": "Cy"}"#).expect("saved")).expect("deleted");
    database.drop_table("gone").expect("dropped");
    database.close().expect("a clean close");
    let database = open().expect("it opens again");
    assert_eq!(database.tables().unwrap().iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["people"]);
    let table = database.table("people").expect("it is there");
    assert_eq!(table.fetch_json(id, Default::default()).unwrap(), r#"{"name":"Abby"}"#);
    assert_eq!((table.count().unwrap(), table.next_id().unwrap().0), (1, 2));
    drop((table, database));
    // The dropped table went from the database below.
    let below = Database::open(folder.join("inner"), &OpenOptions::default()).expect("it opens");
    assert_eq!(below.tables().unwrap().iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["1", "meta"]);
    drop(below);
    std::fs::remove_dir_all(&folder).expect("the folder was made above");
}

#[test]
fn caches_keep_their_promises() {
    for (name, cache) in caches() {
        let report = check_cache(cache);
        print(name, &report);
        assert_eq!(broken(&report), BTreeSet::new(), "{name}");
    }
}

#[test]
fn a_store_that_breaks_a_promise_is_found_out() {
    use StoreBreak::*;
    let table = [
        (NameMissing, NAMED),
        (Haunted, EMPTY),
        (FlipsABit, FAITHFUL),
        (KeepsOneByteOfNulls, FAITHFUL),
        (ForgetsTheSeal, FAITHFUL),
        (PanicsOverLargeRecords, FAITHFUL),
        (GivesTooMuch, FAITHFUL),
        (AnswersTwice, FAITHFUL),
        (AnswersBeyond, FAITHFUL),
        (SaysFailed, FAITHFUL),
        (MissingIsAFault, MISSING),
        (KeepsDeleted, DELETED),
        (KeepsTheFirst, NEWEST),
        (MixesTables, APART),
        (AnswersInItsOrder, IN_PLACE),
        (AnswersEachIdOnce, IN_PLACE),
        (CutsIds, ITSELF),
        (FindsLate, AT_ONCE),
        (NeverFindsTheLast, IN_THE_END),
        (MakesNothingEmpty, BEGINS_EMPTY),
        (DropsAll, OTHERS_STAY),
        (DoesHalf, TOGETHER),
        (StopsHalfway, ALL_OR_NONE),
        (AcceptsAnything, REFUSES),
        (LosesWhenBusy, THREADS),
        (KeepsTheFirstMeta, META),
        (LosesSome, SURVIVES),
        (ForgetsDeletedIds, HIGHEST),
        (ForgetsVersions, HIGHEST),
        (PersistFails, SURVIVES),
    ];
    for (breaks, promise) in table {
        let (store, again) = PlainStore::pair(Some(breaks));
        let report = check_store(store, Some(again));
        found_out(&format!("{breaks:?}"), promise, &report);
    }
}

#[test]
fn a_cache_that_breaks_a_promise_is_found_out() {
    use CacheBreak::*;
    let table = [
        (NameMissing, NAMED),
        (NeverFinds, HITS),
        (Fails, HITS),
        (FlipsABit, ANSWERS_TRULY),
        (KeepsOneByteOfNulls, ANSWERS_TRULY),
        (ForgetsTheSeal, ANSWERS_TRULY),
        (AnswersTwice, ANSWERS_TRULY),
        (GivesTooMuch, ANSWERS_TRULY),
        (PanicsOverLargeRecords, ANSWERS_TRULY),
        (KeepsTheFirst, NEWER_REPLACES),
        (KeepsTheLastTold, OLDER_IS_IGNORED),
        (KeepsDeleted, DELETED_IS_GONE),
        (ClearsNothing, CLEARS),
        (ClearFails, CLEARS),
        (MixesTables, CACHE_APART),
        (CutsIds, NO_OTHER),
        (MixesThreads, CACHE_THREADS),
    ];
    for (breaks, promise) in table {
        found_out(&format!("{breaks:?}"), promise, &check_cache(PlainCache::new(Some(breaks))));
    }
}

fn broken(report: &[CheckedPromise]) -> BTreeSet<&str> {
    report.iter().filter(|it| it.broken.is_some()).map(|it| it.promise).collect()
}

fn found_out(name: &str, promise: &str, report: &[CheckedPromise]) {
    let how = report.iter().find(|it| it.promise == promise).and_then(|it| it.broken.as_deref());
    println!("{name:24} {promise} -- {}", how.unwrap_or("kept"));
    assert!(how.is_some(), "{name} is not found out: {report:#?}");
}

fn print(name: &str, report: &[CheckedPromise]) {
    for CheckedPromise { promise, broken } in report {
        println!("{name:24} {promise} -- {}", broken.as_deref().unwrap_or("kept"));
    }
}
