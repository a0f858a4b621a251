//! Modules that calls are given, and the scenes in which calls of a module are made.
//!
//! A *kept* module does what a module should, over lists in here. Its context is a number by which they are found, so
//! that a call may be given any other, and how often each was destroyed is counted.
//!
//! In a *scene* a function of a module is called, and does what a test asks for, with its reply.

#![allow(unsafe_code, reason = "the other side of the C interface")]
#![allow(dead_code, reason = "each test file uses its own part of this one")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::c_calls::{JSON, MODULE_OK, OK, SCHEMA, filled, invoke, message};
use crate::c_header::Header;

const FAILURE: i32 = 0;
const MISS: i32 = 0x4D49;

/// As `diamond_change` lies.
#[repr(C)]
pub struct Change {
    table: u32,
    kind: i32,
    id: u64,
    stamp: [u64; 2],
    record: *const u8,
    record_size: usize,
    nulls: *const u8,
    nulls_size: usize,
    reserved: [u64; 2],
}

/// What a kept module remembers of a record: its stamp, and unless it is deleted its bytes and null bitmap.
type Kept = ([u64; 2], Option<(Vec<u8>, Vec<u8>)>);

#[derive(Default)]
struct Lists {
    tables: std::collections::BTreeSet<u32>,
    records: BTreeMap<(u32, u64), Kept>,
    /// By table: the highest id and version.
    stored: BTreeMap<u32, (u64, u64)>,
    meta: Option<Vec<u8>>,
    persisted: Option<Vec<u8>>,
}

#[derive(Default)]
struct Contexts {
    count: u64,
    lists: BTreeMap<u64, Arc<Mutex<Lists>>>,
    destroyed: BTreeMap<u64, u32>,
}

static CONTEXTS: Mutex<Option<Contexts>> = Mutex::new(None);

fn with_contexts<T>(act: impl FnOnce(&mut Contexts) -> T) -> T {
    act(CONTEXTS.lock().unwrap_or_else(|stopped| stopped.into_inner()).get_or_insert_default())
}

/// The context of a new kept module, with nothing in it.
pub fn context() -> u64 {
    add_context(Arc::default())
}

/// Of another kept module, over the same lists.
pub fn context_beside(other: u64) -> u64 {
    add_context(with_contexts(|all| Arc::clone(&all.lists[&other])))
}

fn add_context(lists: Arc<Mutex<Lists>>) -> u64 {
    with_contexts(|all| {
        all.count += 1;
        let context = 0x00DD_0000_0000 + 16 * all.count;
        all.lists.insert(context, lists);
        context
    })
}

/// How often it was destroyed.
pub fn destroyed(context: u64) -> u32 {
    with_contexts(|all| all.destroyed.get(&context).copied().unwrap_or(0))
}

/// The function of a kept module that goes into this field.
pub fn function(module: &str, field: &str) -> u64 {
    let function = match (module, field) {
        ("diamond_store_module", "initialize") => initialize as *const (),
        ("diamond_store_module", "make_table") => make_table as *const (),
        ("diamond_store_module", "update_meta") => update_meta as *const (),
        ("diamond_store_module", "store") => store_many as *const (),
        ("diamond_store_module", "fetch") => fetch_many as *const (),
        ("diamond_store_module", "persist_all") => persist_all as *const (),
        ("diamond_cache_module", "store") => store_one as *const (),
        ("diamond_cache_module", "fetch") => fetch_one as *const (),
        ("diamond_cache_module", "clear") => clear as *const (),
        (_, "destroy") => destroy as *const (),
        _ => panic!("{module}: no function for `{field}`; tests/kit/c_modules.rs needs one"),
    };
    function as u64
}

/// What a function does with the lists of its context; it fails where there are none.
fn with_lists(context: u64, reply: u64, act: impl FnOnce(&mut MutexGuard<Lists>) -> bool) -> i32 {
    let lists = with_contexts(|all| all.lists.get(&context).cloned());
    let done = lists.map(|lists| act(&mut lists.lock().unwrap_or_else(|stopped| stopped.into_inner())));
    if done == Some(true) {
        return MODULE_OK;
    }
    let text = if done.is_none() { "it is handed another context" } else { "it is asked for what makes no sense" };
    invoke("diamond_reply_error", &[reply, text.as_ptr() as u64, text.len() as u64]);
    FAILURE
}

/// What lies where a call points to.
fn bytes(start: *const u8, size: usize) -> Vec<u8> {
    // SAFETY: the library says that so many bytes lie there.
    if size == 0 { Vec::new() } else { unsafe { std::slice::from_raw_parts(start, size) }.to_vec() }
}

impl Change {
    /// What is to be kept of it, if it is as the header says.
    fn read(&self) -> Option<Kept> {
        let Change { record, record_size, nulls, nulls_size, .. } = *self;
        let is_there = match self.kind {
            0 if !record.is_null() && !nulls.is_null() => true,
            1 if record.is_null() && nulls.is_null() && (record_size, nulls_size) == (0, 0) => false,
            _ => return None,
        };
        let value = is_there.then(|| (bytes(record, record_size), bytes(nulls, nulls_size)));
        (self.reserved == [0; 2]).then_some((self.stamp, value))
    }
}

fn give(reply: u64, index: usize, (stamp, value): &Kept) -> bool {
    let Some((record, nulls)) = value else { return true };
    let (record, nulls) = ([record.as_ptr() as u64, record.len() as u64], [nulls.as_ptr() as u64, nulls.len() as u64]);
    let arguments = [reply, index as u64, stamp.as_ptr() as u64, record[0], record[1], nulls[0], nulls[1]];
    invoke("diamond_reply_record", &arguments) == OK
}

extern "C" fn initialize(context: u64, reply: u64) -> i32 {
    with_lists(context, reply, |lists| {
        let told = lists.stored.iter().all(|(table, (id, version))| {
            invoke("diamond_reply_stored", &[reply, (*table).into(), *id, *version]) == OK
        });
        let Some(meta) = &lists.persisted else { return told };
        told && invoke("diamond_reply_meta", &[reply, meta.as_ptr() as u64, meta.len() as u64]) == OK
    })
}

extern "C" fn make_table(context: u64, table: u32, meta: *const u8, size: usize, reply: u64) -> i32 {
    with_lists(context, reply, |lists| {
        lists.tables.insert(table);
        lists.records.retain(|(other, _), _| *other != table);
        lists.stored.remove(&table);
        bytes(meta, size).starts_with(b"{")
    })
}

extern "C" fn update_meta(context: u64, tables: *const u8, size: usize, reply: u64) -> i32 {
    with_lists(context, reply, |lists| {
        lists.meta = Some(bytes(tables, size));
        true
    })
}

extern "C" fn store_many(context: u64, changes: *const Change, count: usize, items: *mut i32, reply: u64) -> i32 {
    // SAFETY: the library says that there are so many of both.
    let (changes, items) =
        unsafe { (std::slice::from_raw_parts(changes, count), std::slice::from_raw_parts(items, count)) };
    with_lists(context, reply, |lists| {
        if changes.iter().any(|change| !lists.tables.contains(&change.table)) {
            return false;
        }
        let kept: Option<Vec<Kept>> = changes.iter().map(Change::read).collect();
        let Some(kept) = kept.filter(|_| items.iter().all(|it| *it == MODULE_OK)) else { return false };
        for (change, kept) in changes.iter().zip(kept) {
            let (id, version) = lists.stored.entry(change.table).or_default();
            (*id, *version) = ((*id).max(change.id), (*version).max(change.stamp[0]));
            lists.records.insert((change.table, change.id), kept);
        }
        true
    })
}

extern "C" fn fetch_many(context: u64, table: u32, ids: *const u64, count: usize, items: *mut i32, reply: u64) -> i32 {
    // SAFETY: the library says that there are so many of both.
    let (ids, items) = unsafe { (std::slice::from_raw_parts(ids, count), std::slice::from_raw_parts(items, count)) };
    with_lists(context, reply, |lists| {
        let found = ids.iter().enumerate().filter_map(|(index, id)| Some((index, lists.records.get(&(table, *id))?)));
        items.iter().all(|it| *it == MISS) && found.into_iter().all(|(index, kept)| give(reply, index, kept))
    })
}

extern "C" fn persist_all(context: u64, reply: u64) -> i32 {
    with_lists(context, reply, |lists| {
        lists.persisted = lists.meta.clone();
        true
    })
}

extern "C" fn store_one(context: u64, change: *const Change, reply: u64) -> i32 {
    // SAFETY: the library says that it lies there.
    let change = unsafe { &*change };
    with_lists(context, reply, |lists| {
        let Some(kept) = change.read() else { return false };
        let last = lists.records.entry((change.table, change.id)).or_default();
        if last.0[0] < kept.0[0] {
            *last = kept;
        }
        true
    })
}

extern "C" fn fetch_one(context: u64, table: u32, id: u64, reply: u64) -> i32 {
    let mut is_there = true;
    let status = with_lists(context, reply, |lists| match lists.records.get(&(table, id)) {
        Some(kept @ (_, Some(_))) => give(reply, 0, kept),
        _ => {
            is_there = false;
            true
        }
    });
    if is_there { status } else { MISS }
}

extern "C" fn clear(context: u64, reply: u64) -> i32 {
    with_lists(context, reply, |lists| {
        lists.records.clear();
        true
    })
}

extern "C" fn destroy(context: u64) {
    with_contexts(|all| {
        all.lists.remove(&context);
        *all.destroyed.entry(context).or_default() += 1;
    });
}

/// Which function of a module is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    Initialize,
    MakeTable,
    UpdateMeta,
    Store,
    StoreFetch,
    PersistAll,
    CacheStore,
    CacheFetch,
    Clear,
}

impl Scene {
    pub const ALL: [Scene; 9] = [
        Scene::Initialize,
        Scene::MakeTable,
        Scene::UpdateMeta,
        Scene::Store,
        Scene::StoreFetch,
        Scene::PersistAll,
        Scene::CacheStore,
        Scene::CacheFetch,
        Scene::Clear,
    ];

    /// Those in which nothing is asked: a module only says how it went.
    pub const TOLD: [Scene; 6] =
        [Scene::MakeTable, Scene::UpdateMeta, Scene::Store, Scene::PersistAll, Scene::CacheStore, Scene::Clear];

    fn is_of_cache(self) -> bool {
        [Scene::CacheStore, Scene::CacheFetch, Scene::Clear].contains(&self)
    }
}

struct Play<'a> {
    scene: Scene,
    act: &'a mut dyn FnMut(u64) -> i32,
    is_over: bool,
}

/// Has a module's function called in a database of its own, and `act` do what it does there: it is given the reply,
/// and what it returns the function returns. Gives the first status that is not OK of the calls of that database:
/// open, make, save, fetch and, for `PersistAll` to come at last, flush.
pub fn play(header: &Header, scene: Scene, act: &mut dyn FnMut(u64) -> i32) -> i32 {
    let mut play = Play { scene, act, is_over: false };
    let status = perform(header, &raw mut play);
    assert!(play.is_over, "{scene:?} was not called: {status}: {}", message());
    status
}

fn perform(header: &Header, play: *mut Play) -> i32 {
    // SAFETY: it is the caller's, who looks at it after this call.
    let scene = unsafe { (*play).scene };
    let context = ("context", play as u64);
    let store = [
        // It finds at once what it has accepted, so that the database asks it.
        ("flags", 8),
        context,
        ("initialize", in_initialize as *const () as u64),
        ("make_table", in_make_table as *const () as u64),
        ("update_meta", in_update_meta as *const () as u64),
        ("store", in_store as *const () as u64),
        ("fetch", in_fetch as *const () as u64),
        ("persist_all", in_persist_all as *const () as u64),
    ];
    let cache = [
        context,
        ("store", in_cache_store as *const () as u64),
        ("fetch", in_cache_fetch as *const () as u64),
        ("clear", in_clear as *const () as u64),
    ];
    let is_cache = scene.is_of_cache();
    let (kind, field) = if is_cache { ("diamond_cache_module", "cache") } else { ("diamond_store_module", "store") };
    let module = filled(header, kind, if is_cache { &cache } else { &store });
    // No threads; in memory where the store is not ours.
    let flags = if is_cache { 4 | 32 } else { 4 };
    let options = filled(header, "diamond_options", &[("flags", flags), (field, module.as_ptr() as u64)]);
    let mut db = 0u64;
    let status = invoke("diamond_open", &[0, 0, options.as_ptr() as u64, &raw mut db as u64]);
    if status != OK {
        return status;
    }
    let status = use_table(db, play);
    // What it persists at last may fail again.
    let closed = invoke("diamond_close", &[db]);
    assert!(closed == OK || status != OK, "{scene:?}: {}", message());
    status
}

/// Makes a table, saves a record and has it looked for, until the scene is over.
fn use_table(db: u64, play: *const Play) -> i32 {
    let (name, mut table) = ("people", 0u64);
    let schema = [SCHEMA.as_ptr() as u64, SCHEMA.len() as u64];
    let made = [db, name.as_ptr() as u64, name.len() as u64, schema[0], schema[1], &raw mut table as u64];
    let status = invoke("diamond_table_make", &made);
    if status != OK {
        return status;
    }
    let (mut text, mut id) = (0u64, 0u64);
    let save = [table, JSON.as_ptr() as u64, JSON.len() as u64, &raw mut id as u64];
    let fetch = [table, 0, 0, &raw mut text as u64, 0];
    let calls: [(&str, &[u64]); 4] = [
        // A cache is cleared, and so may be told, once it was asked.
        ("diamond_table_save_json", &save),
        ("diamond_table_fetch_json", &fetch),
        ("diamond_table_save_json", &save),
        ("diamond_flush", &[db]),
    ];
    let mut first = OK;
    for (name, arguments) in calls {
        let status = invoke(name, arguments);
        invoke("diamond_free", &[std::mem::take(&mut text)]);
        // SAFETY: it is the caller's of `perform`; nobody writes to it now.
        let is_over = unsafe { (*play).is_over };
        // The store of a scene keeps nothing, so what is not there was never kept.
        if status != OK && (is_over || status / 100 != 2) {
            first = status;
            break;
        }
        if is_over {
            break;
        }
    }
    assert_eq!(invoke("diamond_table_close", &[table]), OK);
    first
}

/// A function of the module is called: if it is the one of the scene, what is to happen there happens, once.
fn enter(play: *mut Play, scene: Scene, reply: u64, otherwise: i32) -> i32 {
    // SAFETY: `perform` gave it as the context, and the thread that waits there is the one that calls.
    let play = unsafe { &mut *play };
    if play.scene != scene || play.is_over {
        return otherwise;
    }
    play.is_over = true;
    (play.act)(reply)
}

extern "C" fn in_initialize(play: *mut Play, reply: u64) -> i32 {
    enter(play, Scene::Initialize, reply, MODULE_OK)
}

extern "C" fn in_make_table(play: *mut Play, _table: u32, _meta: u64, _size: usize, reply: u64) -> i32 {
    enter(play, Scene::MakeTable, reply, MODULE_OK)
}

extern "C" fn in_update_meta(play: *mut Play, _tables: u64, _size: usize, reply: u64) -> i32 {
    enter(play, Scene::UpdateMeta, reply, MODULE_OK)
}

extern "C" fn in_store(play: *mut Play, _changes: u64, _count: usize, _items: u64, reply: u64) -> i32 {
    enter(play, Scene::Store, reply, MODULE_OK)
}

extern "C" fn in_fetch(play: *mut Play, _table: u32, _ids: u64, _count: usize, _items: u64, reply: u64) -> i32 {
    enter(play, Scene::StoreFetch, reply, MODULE_OK)
}

extern "C" fn in_persist_all(play: *mut Play, reply: u64) -> i32 {
    enter(play, Scene::PersistAll, reply, MODULE_OK)
}

extern "C" fn in_cache_store(play: *mut Play, _change: u64, reply: u64) -> i32 {
    enter(play, Scene::CacheStore, reply, MODULE_OK)
}

extern "C" fn in_cache_fetch(play: *mut Play, _table: u32, _id: u64, reply: u64) -> i32 {
    enter(play, Scene::CacheFetch, reply, MISS)
}

extern "C" fn in_clear(play: *mut Play, reply: u64) -> i32 {
    enter(play, Scene::Clear, reply, MODULE_OK)
}
