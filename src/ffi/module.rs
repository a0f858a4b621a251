//! Module
//!
//! Where the records of a database lie, and what remembers some of them nearer by, can be exchanged: a store and a
//! cache of the caller's own, as structs of functions (diamond_options.store and .cache), stand in the place of the
//! built-in ones. diamond_check_store_module and diamond_check_cache_module try whether one keeps its promises.
//!
//! A module's functions answer DIAMOND_MODULE_OK; whatever else they return, but for what a function's comment names,
//! is a failure, and the caller of the database gets MODULE with the text of diamond_reply_error. What they are given
//! is theirs to read during the call only. They must not throw or jump out, nor call the database that is calling
//! them: MISUSE. Without flags they are called from any thread, many at once. Each answer is checked as any other
//! input is, and where one in initialize or fetch is refused, that call has failed, whatever it returns.

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::mem::offset_of;
use std::ptr::{null, null_mut, without_provenance_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::borrow::Struct;
use super::guard::{Call, guard};
use super::status::diamond_status;
use crate::error::{Error, Result};
use crate::memory;
use crate::modules::{
    Cache, CacheReply, Change, CheckedPromise, Fault, Fetched, Found, Habits, Item, Key, Stamp, Store, Value,
    check_cache, check_store,
};

/// What a module's function, or any other callback, returns. Success is not 0, so that one that failed halfway, as a
/// script's may, never says it by accident.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum anonymous_module {
    /// Done, or found.
    DIAMOND_MODULE_OK = 0x4F4B,
    /// There is no such record. An answer of a cache's fetch, and of an item of a store's.
    DIAMOND_MODULE_MISS = 0x4D49,
    /// It may have been done: COMMIT_UNKNOWN.
    DIAMOND_MODULE_AMBIGUOUS = 0x4155,
}

/// diamond_store_module.flags, diamond_cache_module.flags
#[repr(C)]
#[derive(Clone, Copy)]
pub enum anonymous_module_flags {
    /// It is called only on the thread that opened the database; calls of the database that need it are WRONG_THREAD
    /// on others, diamond_close among them. The database then has no thread that persists on the interval:
    /// diamond_step does.
    DIAMOND_MODULE_OPENING_THREAD = 1,
    /// One call at a time.
    DIAMOND_MODULE_ONE_AT_A_TIME = 2,
    /// A store does all changes of a call or none. Without it a commit of more than one change is UNSUPPORTED.
    DIAMOND_MODULE_ATOMIC = 4,
    /// A store finds what it has accepted at once. Without it the database remembers all that was not persisted yet.
    DIAMOND_MODULE_IMMEDIATE = 8,
}

/// diamond_change.kind
#[repr(C)]
#[derive(Clone, Copy)]
pub enum anonymous_change {
    /// The record is as it says from now on.
    DIAMOND_CHANGE_STORE = 0,
    /// The record is gone. record and nulls are NULL.
    DIAMOND_CHANGE_DELETE = 1,
}

/// What goes with a record wherever it goes, and comes back as it was: 16 bytes to keep.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct diamond_stamp {
    /// Grows with every change of the record.
    pub version: u64,
    /// The database's own: it tells a record from whatever else comes back.
    pub seal: u64,
}

/// A change of one record.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct diamond_change {
    /// The table's number.
    pub table: u32,
    /// DIAMOND_CHANGE_...
    pub kind: i32,
    pub id: u64,
    pub stamp: diamond_stamp,
    pub record: *const c_void,
    pub record_size: usize,
    pub nulls: *const u8,
    pub nulls_size: usize,
    /// Zeros, room for later.
    pub reserved: [u64; 2],
}

/// Where a module's function puts its answer: it is copied at once, so that nobody has to keep it. Good until that
/// function returns, on its thread; MISUSE elsewhere.
pub struct diamond_reply {
    _opaque: (),
}

/// A store. Tables have numbers; whoever keeps records by number and id needs nothing else of them.
///
/// It promises: (1) It keeps what it is given, record, nulls and stamp, byte for byte, and copies what it keeps.
/// (2) After persist_all everything that it accepted before is there for every later opening. (3) initialize gives the
/// text of the last update_meta that was persisted, and tells of each table the highest id and version that were ever
/// stored, deleted ones among them. (4) A table that is made begins empty, whatever was under its number; one that
/// update_meta leaves out was dropped. (5) It never answers for one record with another, and a record that is not
/// there is a miss and no failure. (6) What it cannot do fails; where it does not know, it says AMBIGUOUS.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct diamond_store_module {
    pub struct_size: usize,
    /// DIAMOND_MODULE_...
    pub flags: u64,
    /// Handed to every function.
    pub context: *mut c_void,
    /// What messages call it: text that ends in NUL, copied. NULL or empty: "of the caller".
    pub name: *const c_char,
    /// The first call: diamond_reply_meta and diamond_reply_stored say what is there.
    pub initialize: Option<unsafe extern "C" fn(context: *mut c_void, reply: *mut diamond_reply) -> i32>,
    /// A table begins. meta is a JSON object: {"table": 1, "name": "people", "next_id": 0, "record_size": 40,
    /// "nulls_size": 1, "schema": {...}}.
    pub make_table: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            table: u32,
            meta: *const c_char,
            meta_size: usize,
            reply: *mut diamond_reply,
        ) -> i32,
    >,
    /// What is to be known of all tables, as JSON text: after each was made, renamed or dropped, and before each
    /// persist_all. Only the newest counts.
    pub update_meta: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            tables: *const c_char,
            tables_size: usize,
            reply: *mut diamond_reply,
        ) -> i32,
    >,
    /// Keeps or queues changes, each of another record. items has a place for each, DIAMOND_MODULE_OK so far: whatever
    /// is put there else says that this one was not done, or that it may have been (DIAMOND_MODULE_AMBIGUOUS).
    pub store: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            changes: *const diamond_change,
            count: usize,
            items: *mut i32,
            reply: *mut diamond_reply,
        ) -> i32,
    >,
    /// Gives each record that is there to diamond_reply_record, with the index of its id. items has a place for each,
    /// DIAMOND_MODULE_MISS so far: whatever is put there else says that this one could not be looked for.
    pub fetch: Option<
        unsafe extern "C" fn(
            context: *mut c_void,
            table: u32,
            ids: *const u64,
            count: usize,
            items: *mut i32,
            reply: *mut diamond_reply,
        ) -> i32,
    >,
    /// Makes everything durable that was accepted before.
    pub persist_all: Option<unsafe extern "C" fn(context: *mut c_void, reply: *mut diamond_reply) -> i32>,
    /// The last call, if not NULL: when the database is closed, after all that ran has returned, or when a diamond_open
    /// that took the module fails.
    pub destroy: Option<unsafe extern "C" fn(context: *mut c_void)>,
    /// Room for groups of functions to come: NULL.
    pub logs: *const c_void,
    /// The same.
    pub documents: *const c_void,
}

// SAFETY: as the trait asks; 0 and NULL are values of numbers, pointers and optional functions.
unsafe impl Struct for diamond_store_module {
    const NAME: &'static str = "diamond_store_module";
    const REQUIRED_SIZE: usize = offset_of!(diamond_store_module, destroy);
}

/// A cache.
///
/// It promises: (1) What it has of a record is the newest change that it was told, byte for byte; a change older than
/// what it has is ignored, and a deleted record is a miss. (2) It may forget whatever it likes, but never answers for
/// one record with another. (3) After clear it has nothing. (4) It copies what it keeps.
///
/// It is never the truth: where it fails it is bypassed, and counted in diamond_stats. Before its first use it is
/// cleared, and so it is after a change that it failed to hear of.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct diamond_cache_module {
    pub struct_size: usize,
    /// DIAMOND_MODULE_OPENING_THREAD, DIAMOND_MODULE_ONE_AT_A_TIME
    pub flags: u64,
    /// Handed to every function.
    pub context: *mut c_void,
    /// What messages call it: text that ends in NUL, copied. NULL or empty: "of the caller".
    pub name: *const c_char,
    /// A record was saved, fetched or deleted.
    pub store: Option<
        unsafe extern "C" fn(context: *mut c_void, change: *const diamond_change, reply: *mut diamond_reply) -> i32,
    >,
    /// Gives the record to diamond_reply_record, with index 0, or answers DIAMOND_MODULE_MISS.
    pub fetch:
        Option<unsafe extern "C" fn(context: *mut c_void, table: u32, id: u64, reply: *mut diamond_reply) -> i32>,
    /// Forgets everything.
    pub clear: Option<unsafe extern "C" fn(context: *mut c_void, reply: *mut diamond_reply) -> i32>,
    /// The last call, if not NULL: as a store's.
    pub destroy: Option<unsafe extern "C" fn(context: *mut c_void)>,
}

// SAFETY: as the trait asks; 0 and NULL are values of numbers, pointers and optional functions.
unsafe impl Struct for diamond_cache_module {
    const NAME: &'static str = "diamond_cache_module";
    const REQUIRED_SIZE: usize = offset_of!(diamond_cache_module, destroy);
}

const OK: i32 = anonymous_module::DIAMOND_MODULE_OK as i32;
const MISS: i32 = anonymous_module::DIAMOND_MODULE_MISS as i32;
const AMBIGUOUS: i32 = anonymous_module::DIAMOND_MODULE_AMBIGUOUS as i32;

/// What a module is asked, and what it has said of it.
///
/// 1. A `diamond_reply *` is a number that looks like an address. It is compared with those of the calls that are
///    under way on this thread, and never followed. So whatever a module gives for one is the right one or MISUSE.
/// 2. They are in a list, since a module may use another database, whose modules are asked meanwhile.
/// 3. Nobody borrows a reply while a module runs, but `answer`, which calls nobody.
struct Reply<'a, 'b> {
    number: usize,
    /// The one that this thread was asked before, and has not answered.
    outer: *mut Reply<'static, 'static>,
    what: Answer<'a, 'b>,
    error: Option<String>,
    /// An answer was refused, and why.
    is_refused: bool,
    refusal: Option<String>,
}

/// What is asked for.
enum Answer<'a, 'b> {
    Nothing,
    Found(&'a mut Found),
    Fetched(&'a mut Fetched<'b>),
    /// What it says of changes that it did not store.
    Stored(&'a mut Option<String>),
    Cached(&'a mut CacheReply<'b>),
}

thread_local! {
    /// The reply of the innermost call under way. It needs no destructor, so it is there until the thread has ended.
    static INNERMOST: Cell<*mut Reply<'static, 'static>> = const { Cell::new(null_mut()) };
}

/// The number that the next reply gets.
static NEXT: AtomicUsize = AtomicUsize::new(NUMBER_STEP);

/// No number is given twice, and a number that is a little off is not another's.
const NUMBER_STEP: usize = 64;

/// How much of its own sentence a module may say.
const ERROR_SIZE_MAX: usize = 4096;

/// Calls a module's function, and says what came of it.
fn ask(what: Answer<'_, '_>, act: impl FnOnce(*mut diamond_reply) -> i32) -> std::result::Result<(), Fault> {
    let number = NEXT.fetch_add(NUMBER_STEP, Ordering::Relaxed);
    let mut reply = Reply { number, outer: INNERMOST.get(), what, error: None, is_refused: false, refusal: None };
    let under_way = UnderWay::enter(&mut reply);
    let status = act(without_provenance_mut(number));
    drop(under_way);
    reply.end(status)
}

/// A reply, while it is in the list.
struct UnderWay<'r> {
    outer: *mut Reply<'static, 'static>,
    reply: PhantomData<&'r mut ()>,
}

impl<'r> UnderWay<'r> {
    fn enter(reply: &'r mut Reply<'_, '_>) -> UnderWay<'r> {
        let outer = reply.outer;
        INNERMOST.set(std::ptr::from_mut(reply).cast());
        UnderWay { outer, reply: PhantomData }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        INNERMOST.set(self.outer);
    }
}

impl Reply<'_, '_> {
    /// What a module's status means, and what it has said.
    fn end(self, status: i32) -> std::result::Result<(), Fault> {
        let reason =
            |said: Option<String>| said.unwrap_or_else(|| format!("it answered {status:#x} and gave no reason"));
        match status {
            // What it was to do it may have done: only what was asked can be lost with an answer.
            OK if self.is_refused && !matches!(self.what, Answer::Nothing | Answer::Stored(_)) => {
                Err(Fault::Failed(self.refusal.unwrap_or_else(|| "an answer of it was lost".to_owned())))
            }
            // It may have done only a part.
            OK => {
                match self.what {
                    Answer::Fetched(found) => found.reason = self.error,
                    Answer::Stored(reason) => *reason = self.error,
                    Answer::Nothing | Answer::Found(_) | Answer::Cached(_) => {}
                }
                Ok(())
            }
            AMBIGUOUS => Err(Fault::Ambiguous(reason(self.error))),
            _ => Err(Fault::Failed(reason(self.error.or(self.refusal)))),
        }
    }
}

/// Has a module's answer taken by `act`, if the reply is one of a call under way on this thread.
fn answer(call: &Call, reply: *mut diamond_reply, act: impl FnOnce(&mut Reply<'_, '_>) -> Result<()>) -> Result<()> {
    let mut place = INNERMOST.get();
    // SAFETY: what is in the list is alive (`UnderWay`), and rule 3: nobody else borrows it.
    while let Some(found) = unsafe { place.as_mut() } {
        if found.number != reply.addr() {
            place = found.outer;
            continue;
        }
        // Until it is known to be taken, so that a panic counts as well.
        let was_refused = std::mem::replace(&mut found.is_refused, true);
        #[cfg(feature = "simulation")]
        super::guard::simulated::pass();
        let taken = act(found);
        match &taken {
            Ok(()) => found.is_refused = was_refused,
            Err(error) => _ = found.refusal.get_or_insert_with(|| error.message().to_owned()),
        }
        return taken;
    }
    Err(call.misuse("reply", if reply.is_null() { "is NULL" } else { "is not of a call under way on this thread" }))
}

/// Says why a module's function fails, in 4,096 bytes at most; the rest is left out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_reply_error(
    reply: *mut diamond_reply,
    text: *const c_char,
    size: usize,
) -> diamond_status {
    guard("diamond_reply_error", |call| {
        answer(call, reply, |reply| {
            // SAFETY: the conventions.
            let text = unsafe { call.slice(text.cast::<u8>(), size, "text")? };
            let cut = text.len().min(ERROR_SIZE_MAX);
            // A letter goes on with bytes of these two bits.
            let cut = (0..=cut).rev().find(|&at| text.get(at).is_none_or(|byte| byte & 0xC0 != 0x80)).unwrap_or(0);
            reply.error = Some(String::from_utf8_lossy(&text[..cut]).into_owned());
            Ok(())
        })
    })
}

/// In initialize: the text of the last update_meta that was persisted. Not called where there was none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_reply_meta(
    reply: *mut diamond_reply,
    tables: *const c_char,
    size: usize,
) -> diamond_status {
    guard("diamond_reply_meta", |call| {
        answer(call, reply, |reply| {
            let Answer::Found(found) = &mut reply.what else { return Err(elsewhere(call, "initialize")) };
            // SAFETY: the conventions.
            found.meta(unsafe { call.slice(tables.cast::<u8>(), size, "tables")? });
            Ok(())
        })
    })
}

/// In initialize: a record with this id and version was once stored in this table. The highest of each are enough,
/// told at once or apart.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_reply_stored(
    reply: *mut diamond_reply,
    table: u32,
    id: u64,
    version: u64,
) -> diamond_status {
    guard("diamond_reply_stored", |call| {
        answer(call, reply, |reply| {
            let Answer::Found(found) = &mut reply.what else { return Err(elsewhere(call, "initialize")) };
            found.stored(Key { table, id }, version);
            Ok(())
        })
    })
}

/// In fetch: the record with the id at index.
///
/// INVALID: its sizes are not those of the table's records, or there is an answer for that id already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_reply_record(
    reply: *mut diamond_reply,
    index: usize,
    stamp: *const diamond_stamp,
    record: *const c_void,
    record_size: usize,
    nulls: *const u8,
    nulls_size: usize,
) -> diamond_status {
    guard("diamond_reply_record", |call| {
        answer(call, reply, |reply| {
            // SAFETY: the conventions.
            let (stamp, value) = unsafe {
                let stamp = call.slice(stamp, 1, "stamp")?[0];
                let record = call.bytes(record, record_size, "record")?;
                let nulls = call.slice(nulls, nulls_size, "nulls")?;
                (Stamp { version: stamp.version, seal: stamp.seal }, Value { record, nulls })
            };
            let taken = match &mut reply.what {
                Answer::Fetched(fetched) => fetched.put(index, stamp, value),
                Answer::Cached(cached) => index == 0 && cached.put(stamp, value),
                Answer::Nothing | Answer::Found(_) | Answer::Stored(_) => return Err(elsewhere(call, "fetch")),
            };
            if taken {
                return Ok(());
            }
            let (name, sizes) = (call.name, format!("{record_size} bytes and {nulls_size} of nulls"));
            let text = format!("{name}: the answer number {index}, of {sizes}, does not fit the call.");
            Err(Error::Invalid(text.into()))
        })
    })
}

fn elsewhere(call: &Call, place: &str) -> Error {
    call.misuse("reply", &format!("is not of a call of {place}"))
}

/// Tries a store. again is another over the same data, or NULL: it is initialized after module was destroyed, to see
/// what it finds. Both are destroyed in the end. module is one for a new, empty place, and what is there afterwards is
/// of no use.
///
/// report becomes a JSON text, {"module": "...", "promises": [{"promise": "...", "kept": true, "broken": null}, ...]};
/// broken says how. Free it with diamond_free.
///
/// MODULE: a promise is broken; the sentence names the first, and the report comes out nevertheless. UNSUPPORTED,
/// INVALID: a struct is not one of a module; none is destroyed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_check_store_module(
    module: *const diamond_store_module,
    again: *const diamond_store_module,
    report: *mut *mut c_char,
    size: *mut usize,
) -> diamond_status {
    guard("diamond_check_store_module", |call| {
        // SAFETY: the conventions.
        let (report, store, again) = unsafe {
            let report = call.text_out(report, size, "report")?;
            let again = if again.is_null() { None } else { Some(read_store(call, again, "again")?) };
            (report, read_store(call, module, "module")?, again)
        };
        let (store, again) = (store.take(), again.map(CStore::take));
        let name = store.name();
        let promises = check_store(store, again);
        report.put(&told(&name, &promises))?;
        judge(&name, &promises)
    })
}

/// Tries a cache, and destroys it. report as that of diamond_check_store_module.
///
/// MODULE: a promise is broken; the sentence names the first, and the report comes out nevertheless. UNSUPPORTED,
/// INVALID: a struct is not one of a module; none is destroyed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_check_cache_module(
    module: *const diamond_cache_module,
    report: *mut *mut c_char,
    size: *mut usize,
) -> diamond_status {
    guard("diamond_check_cache_module", |call| {
        // SAFETY: the conventions.
        let (report, cache) = unsafe {
            let report = call.text_out(report, size, "report")?;
            (report, read_cache(call, module, "module")?)
        };
        let cache = cache.take();
        let name = cache.name();
        let promises = check_cache(cache);
        report.put(&told(&name, &promises))?;
        judge(&name, &promises)
    })
}

fn told(name: &str, promises: &[CheckedPromise]) -> String {
    let promises = promises.iter();
    let promises = promises.map(|it| json!({"promise": it.promise, "kept": it.broken.is_none(), "broken": it.broken}));
    json!({ "module": name, "promises": promises.collect::<Vec<_>>() }).to_string()
}

fn judge(name: &str, promises: &[CheckedPromise]) -> Result<()> {
    let broken = promises.iter().filter_map(|it| Some((it.promise, it.broken.as_ref()?)));
    let (count, all) = (broken.clone().count(), promises.len());
    let Some((promise, how)) = broken.into_iter().next() else { return Ok(()) };
    let text = format!("{name} breaks {count} of {all} promises, the first: {promise}: {how}");
    Err(Error::Module(text.into()))
}

/// A caller's store, copied and checked, and not taken yet: while something else of the call may be refused, it is
/// the caller's.
pub(super) unsafe fn read_store(call: &Call, module: *const diamond_store_module, argument: &str) -> Result<CStore> {
    // SAFETY: the caller's promise is ours.
    let module = unsafe { call.read(module, argument)? };
    let all = [
        anonymous_module_flags::DIAMOND_MODULE_OPENING_THREAD,
        anonymous_module_flags::DIAMOND_MODULE_ONE_AT_A_TIME,
        anonymous_module_flags::DIAMOND_MODULE_ATOMIC,
        anonymous_module_flags::DIAMOND_MODULE_IMMEDIATE,
    ];
    check_flags(call, module.flags, &all, argument)?;
    for (room, field) in [(module.logs, "logs"), (module.documents, "documents")] {
        if !room.is_null() {
            let text = format!("{}: `{argument}->{field}` must be NULL: this version has no such group.", call.name);
            return Err(Error::Unsupported(text.into()));
        }
    }
    let missing = |field: &str| missing(call, argument, field);
    let initialize = module.initialize.ok_or_else(|| missing("initialize"))?;
    let make_table = module.make_table.ok_or_else(|| missing("make_table"))?;
    let update_meta = module.update_meta.ok_or_else(|| missing("update_meta"))?;
    let store = module.store.ok_or_else(|| missing("store"))?;
    let fetch = module.fetch.ok_or_else(|| missing("fetch"))?;
    let persist_all = module.persist_all.ok_or_else(|| missing("persist_all"))?;
    // SAFETY: the caller's promise is ours.
    let name = unsafe { read_name(call, module.name, argument)? };
    let owner = Owner::new(module.context, name, module.flags, module.destroy);
    Ok(CStore { owner, initialize, make_table, update_meta, store, fetch, persist_all })
}

/// A caller's cache, as `read_store` has a store.
pub(super) unsafe fn read_cache(call: &Call, module: *const diamond_cache_module, argument: &str) -> Result<CCache> {
    // SAFETY: the caller's promise is ours.
    let module = unsafe { call.read(module, argument)? };
    let all =
        [anonymous_module_flags::DIAMOND_MODULE_OPENING_THREAD, anonymous_module_flags::DIAMOND_MODULE_ONE_AT_A_TIME];
    check_flags(call, module.flags, &all, argument)?;
    let missing = |field: &str| missing(call, argument, field);
    let store = module.store.ok_or_else(|| missing("store"))?;
    let fetch = module.fetch.ok_or_else(|| missing("fetch"))?;
    let clear = module.clear.ok_or_else(|| missing("clear"))?;
    // SAFETY: the caller's promise is ours.
    let name = unsafe { read_name(call, module.name, argument)? };
    Ok(CCache { owner: Owner::new(module.context, name, module.flags, module.destroy), store, fetch, clear })
}

fn check_flags(call: &Call, flags: u64, known: &[anonymous_module_flags], argument: &str) -> Result<()> {
    let known = known.iter().fold(0, |all, flag| all | *flag as u64);
    call.check_flags(flags, known, &format!("{argument}->flags"))
}

fn missing(call: &Call, argument: &str, field: &str) -> Error {
    let text = format!("{}: `{argument}->{field}` is NULL, and a module must have that function.", call.name);
    Error::Unsupported(text.into())
}

/// What messages call a module.
unsafe fn read_name(call: &Call, name: *const c_char, argument: &str) -> Result<String> {
    if name.is_null() {
        return Ok("of the caller".to_owned());
    }
    // SAFETY: the conventions: the name is text that ends in NUL.
    let name = unsafe { CStr::from_ptr(name) };
    let size = name.count_bytes();
    let what = match name.to_str() {
        _ if size > NAME_SIZE_MAX => format!("has {size} bytes, and a module's name has at most {NAME_SIZE_MAX}"),
        Ok("") => return Ok("of the caller".to_owned()),
        Ok(name) => return Ok(name.to_owned()),
        Err(error) => format!("is not UTF-8 at byte {} of {size}", error.valid_up_to()),
    };
    Err(Error::Invalid(format!("{}: `{argument}->name` {what}.", call.name).into()))
}

const NAME_SIZE_MAX: usize = 255;

/// The caller's context: once it is taken, until it is destroyed.
struct Owner {
    context: *mut c_void,
    name: String,
    habits: Habits,
    destroy: Option<unsafe extern "C" fn(context: *mut c_void)>,
    is_taken: bool,
}

// SAFETY: the conventions: a module's functions may be called with its context from any thread, many at once, as far
// as its flags allow; and who calls keeps to these.
unsafe impl Send for Owner {}
// SAFETY: the same.
unsafe impl Sync for Owner {}

impl Owner {
    fn new(
        context: *mut c_void,
        name: String,
        flags: u64,
        destroy: Option<unsafe extern "C" fn(context: *mut c_void)>,
    ) -> Owner {
        let has = |flag: anonymous_module_flags| flags & flag as u64 != 0;
        let habits = Habits {
            opening_thread: has(anonymous_module_flags::DIAMOND_MODULE_OPENING_THREAD),
            one_at_a_time: has(anonymous_module_flags::DIAMOND_MODULE_ONE_AT_A_TIME),
            atomic: has(anonymous_module_flags::DIAMOND_MODULE_ATOMIC),
            immediate: has(anonymous_module_flags::DIAMOND_MODULE_IMMEDIATE),
        };
        #[cfg(feature = "simulation")]
        super::guard::simulated::pass();
        Owner { context, name, habits, destroy, is_taken: false }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy.filter(|_| self.is_taken) {
            // SAFETY: the conventions; it is the last call.
            unsafe { destroy(self.context) }
        }
    }
}

/// A store of the caller's.
pub(super) struct CStore {
    owner: Owner,
    initialize: unsafe extern "C" fn(*mut c_void, *mut diamond_reply) -> i32,
    make_table: unsafe extern "C" fn(*mut c_void, u32, *const c_char, usize, *mut diamond_reply) -> i32,
    update_meta: unsafe extern "C" fn(*mut c_void, *const c_char, usize, *mut diamond_reply) -> i32,
    store: unsafe extern "C" fn(*mut c_void, *const diamond_change, usize, *mut i32, *mut diamond_reply) -> i32,
    fetch: unsafe extern "C" fn(*mut c_void, u32, *const u64, usize, *mut i32, *mut diamond_reply) -> i32,
    persist_all: unsafe extern "C" fn(*mut c_void, *mut diamond_reply) -> i32,
}

/// A cache of the caller's.
pub(super) struct CCache {
    owner: Owner,
    store: unsafe extern "C" fn(*mut c_void, *const diamond_change, *mut diamond_reply) -> i32,
    fetch: unsafe extern "C" fn(*mut c_void, u32, u64, *mut diamond_reply) -> i32,
    clear: unsafe extern "C" fn(*mut c_void, *mut diamond_reply) -> i32,
}

impl CStore {
    /// From here on it is destroyed when it is dropped.
    pub(super) fn take(mut self) -> Arc<dyn Store> {
        self.owner.is_taken = true;
        Arc::new(self)
    }
}

impl CCache {
    /// The same.
    pub(super) fn take(mut self) -> Arc<dyn Cache> {
        self.owner.is_taken = true;
        Arc::new(self)
    }
}

/// A change as C has it.
fn change_for_c(change: &Change<'_>) -> diamond_change {
    use anonymous_change::{DIAMOND_CHANGE_DELETE, DIAMOND_CHANGE_STORE};
    let Stamp { version, seal } = change.stamp;
    let (kind, value) = match change.value {
        Some(value) => (DIAMOND_CHANGE_STORE as i32, value),
        None => (DIAMOND_CHANGE_DELETE as i32, Value { record: &[], nulls: &[] }),
    };
    let is_there = change.value.is_some();
    diamond_change {
        table: change.key.table,
        kind,
        id: change.key.id,
        stamp: diamond_stamp { version, seal },
        record: if is_there { value.record.as_ptr().cast() } else { null() },
        record_size: value.record.len(),
        nulls: if is_there { value.nulls.as_ptr() } else { null() },
        nulls_size: value.nulls.len(),
        reserved: [0; 2],
    }
}

fn no_memory(error: Error) -> Fault {
    Fault::Failed(error.message().to_owned())
}

impl Store for CStore {
    fn name(&self) -> String {
        self.owner.name.clone()
    }

    fn habits(&self) -> Habits {
        self.owner.habits
    }

    fn initialize(&self, found: &mut Found) -> std::result::Result<(), Fault> {
        // SAFETY: the conventions: the functions may be called so.
        ask(Answer::Found(found), |reply| unsafe { (self.initialize)(self.owner.context, reply) })
    }

    fn make_table(&self, table: u32, meta: &str) -> std::result::Result<(), Fault> {
        let (text, size) = (meta.as_ptr().cast(), meta.len());
        // SAFETY: as above.
        ask(Answer::Nothing, |reply| unsafe { (self.make_table)(self.owner.context, table, text, size, reply) })
    }

    fn update_meta(&self, tables: &str) -> std::result::Result<(), Fault> {
        let (text, size) = (tables.as_ptr().cast(), tables.len());
        // SAFETY: as above.
        ask(Answer::Nothing, |reply| unsafe { (self.update_meta)(self.owner.context, text, size, reply) })
    }

    fn store(&self, changes: &[Change<'_>], items: &mut [Item]) -> std::result::Result<(), Fault> {
        const WHAT: &str = "the changes of a commit";
        let count = changes.len();
        let changes = memory::collect(count, changes.iter().map(change_for_c), WHAT).map_err(no_memory)?;
        let mut answers = memory::collect(count, std::iter::repeat(OK), WHAT).map_err(no_memory)?;
        let mut reason = None;
        let answered = ask(Answer::Stored(&mut reason), |reply| {
            // SAFETY: as above; there are as many items as changes.
            unsafe { (self.store)(self.owner.context, changes.as_ptr(), count, answers.as_mut_ptr(), reply) }
        });
        for (item, answer) in items.iter_mut().zip(answers) {
            *item = match answer {
                OK => Item::Done,
                AMBIGUOUS => Item::Ambiguous,
                _ => Item::Failed,
            };
        }
        let is_done = items.iter().all(|item| *item == Item::Done);
        match reason.filter(|_| !is_done) {
            None => answered,
            // Each of them says that it was not done: so nothing was.
            Some(reason) if items.iter().all(|item| *item == Item::Failed) => Err(Fault::Failed(reason)),
            Some(reason) => Err(Fault::Ambiguous(reason)),
        }
    }

    fn fetch(&self, table: u32, ids: &[u64], found: &mut Fetched<'_>) -> std::result::Result<(), Fault> {
        let (ids, count) = (ids.as_ptr(), ids.len());
        let answers = memory::collect(count, std::iter::repeat(MISS), "the ids of a fetch");
        let mut answers = answers.map_err(no_memory)?;
        let items = answers.as_mut_ptr();
        let answered = ask(Answer::Fetched(found), |reply| {
            // SAFETY: as above; there are as many items as ids.
            unsafe { (self.fetch)(self.owner.context, table, ids, count, items, reply) }
        });
        // One that is found is known by its record: who says so gives it.
        for (index, answer) in answers.into_iter().enumerate() {
            let is_told = answer == MISS || answer == OK && found.is_there(index);
            if !is_told {
                found.fail(index);
            }
        }
        answered
    }

    fn persist_all(&self) -> std::result::Result<(), Fault> {
        // SAFETY: as above.
        ask(Answer::Nothing, |reply| unsafe { (self.persist_all)(self.owner.context, reply) })
    }
}

impl Cache for CCache {
    fn name(&self) -> String {
        self.owner.name.clone()
    }

    fn habits(&self) -> Habits {
        self.owner.habits
    }

    fn store(&self, change: &Change<'_>) -> std::result::Result<(), Fault> {
        let change = change_for_c(change);
        // SAFETY: as above.
        ask(Answer::Nothing, |reply| unsafe { (self.store)(self.owner.context, &change, reply) })
    }

    fn fetch(&self, key: Key, reply: &mut CacheReply<'_>) -> std::result::Result<(), Fault> {
        let mut missed = false;
        let answered = ask(Answer::Cached(reply), |reply| {
            // SAFETY: as above.
            let status = unsafe { (self.fetch)(self.owner.context, key.table, key.id, reply) };
            missed = status == MISS;
            if missed { OK } else { status }
        });
        match (answered, missed, reply.is_there()) {
            (Ok(()), false, false) => Err(Fault::Failed("it found the record and did not give it".to_owned())),
            (Ok(()), true, true) => Err(Fault::Failed("it gave a record that it says is not there".to_owned())),
            (answered, ..) => answered,
        }
    }

    fn clear(&self) -> std::result::Result<(), Fault> {
        // SAFETY: as above.
        ask(Answer::Nothing, |reply| unsafe { (self.clear)(self.owner.context, reply) })
    }
}
