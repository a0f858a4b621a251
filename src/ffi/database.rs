//! Database

use std::cell::Cell;
use std::ffi::{OsStr, c_char, c_void};
use std::mem::offset_of;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::borrow::{Handle, Struct, array_json};
use super::guard::{Call, guard};
use super::module::{
    CCache, CStore, anonymous_module, diamond_cache_module, diamond_store_module, read_cache, read_store,
};
use super::status::diamond_status;
use crate::database::{CacheChoice, Database, Durability, Lsn, OpenOptions, StoreChoice, VerifyReport};
use crate::error::{Error, Result};
use crate::memory;

/// An open database.
pub struct diamond_db {
    _opaque: (),
}

impl Handle for diamond_db {
    type Value = Database;
    const NAME: &'static str = "diamond_db";
    const MARK: u64 = u64::from_le_bytes(*b"diam.db\0");
}

/// diamond_options.durability: what a call that commits waits for, and so what its commit survives.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum anonymous_durability {
    /// A power cut. The default.
    DIAMOND_DURABILITY_SYNC = 0,
    /// The end of the process, kill -9 among the ways.
    DIAMOND_DURABILITY_OS = 1,
    /// Neither, until the next interval, diamond_flush or diamond_close.
    DIAMOND_DURABILITY_ASYNC = 2,
}

/// diamond_options.flags
#[repr(C)]
#[derive(Clone, Copy)]
pub enum anonymous_open {
    /// Do not make a database where there is none: NOT_FOUND.
    DIAMOND_OPEN_MUST_EXIST = 1,
    /// Every verb that writes answers UNSUPPORTED.
    DIAMOND_OPEN_READ_ONLY = 2,
    /// Start no thread; the host calls diamond_step.
    DIAMOND_OPEN_NO_THREADS = 4,
    /// Open on a network file system too, where locks and syncs may not keep their promises.
    DIAMOND_OPEN_FORCE_NETWORK = 8,
    /// Read clean pages by pread and not through a map: slower, but a bad sector is IO and not a SIGBUS.
    DIAMOND_OPEN_READ_WITH_PREAD = 16,
    /// Keep everything in memory, and nothing on disk: path is only a name, and may be empty.
    DIAMOND_OPEN_IN_MEMORY = 32,
}

/// How to open a database. All zeros but struct_size are the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct diamond_options {
    pub struct_size: usize,
    /// DIAMOND_OPEN_...
    pub flags: u64,
    /// DIAMOND_DURABILITY_...
    pub durability: i32,
    /// DIAMOND_DURABILITY_ASYNC syncs by itself this often. 0: 1,000 ms.
    pub interval_ms: u32,
    /// Bytes of changed memory that start a checkpoint. 0: an eighth of the machine's memory.
    pub dirty_soft: u64,
    /// Bytes of changed memory at which writers wait for the checkpoint. 0: a quarter of the machine's memory.
    pub dirty_hard: u64,
    /// Where the records lie. NULL: in the database's folder. With a store path is only a name, and may be empty.
    pub store: *const diamond_store_module,
    /// What remembers records nearer by. NULL: nothing, which is right for records in the folder.
    pub cache: *const diamond_cache_module,
    /// If not NULL, a failing diamond_open copies its sentence here.
    pub error: *mut c_char,
    /// Bytes at error, the final NUL included.
    pub error_size: usize,
    /// Bytes of memory for the built-in cache, of the records used last. 0: no such cache.
    pub cache_bytes: u64,
}

// SAFETY: as the trait asks; 0 and NULL are values of numbers and pointers.
unsafe impl Struct for diamond_options {
    const NAME: &'static str = "diamond_options";
    const REQUIRED_SIZE: usize = offset_of!(diamond_options, durability);
}

/// Opens the database in the folder at path, and makes both where they are missing. path is the bytes of a file
/// name, with no NUL inside. options may be NULL. A second open in this process shares what the first opened, and
/// each needs its close.
///
/// A store or a cache in the options is a module (above). Where a flag or one of the two is refused, neither is taken.
/// Else the structs are copied and each is destroyed once, also where the open fails for another reason. Every open
/// with a store is a database of its own.
///
/// BUSY: open in this process with other options. LOCKED: open in another process, whose pid the message tells.
/// NOT_FOUND: see DIAMOND_OPEN_MUST_EXIST. FORMAT, CORRUPT: the folder is not, or no longer, a database.
/// INVALID: a path or option without meaning.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_open(
    path: *const c_char,
    path_size: usize,
    options: *const diamond_options,
    db: *mut *mut diamond_db,
) -> diamond_status {
    guard("diamond_open", |call| {
        // SAFETY: the conventions.
        let (db, options, path) = unsafe {
            let db = call.handle_out(db, "db")?;
            (db, read_options(call, options)?, call.slice(path.cast::<u8>(), path_size, "path")?)
        };
        let opened = Database::open(checked_path(call, path, options.store == StoreChoice::Native)?, &options)?;
        call.holds(Arc::clone(opened.session()));
        db.put(opened);
        Ok(())
    })
}

unsafe fn read_options(call: &Call, options: *const diamond_options) -> Result<OpenOptions> {
    use anonymous_open::*;
    if options.is_null() {
        return Ok(OpenOptions::default());
    }
    // SAFETY: the caller's promise is ours; the options name their error buffer.
    let given = unsafe {
        let given = call.read(options, "options")?;
        call.tell(given.error, given.error_size);
        given
    };
    let known = [
        DIAMOND_OPEN_MUST_EXIST,
        DIAMOND_OPEN_READ_ONLY,
        DIAMOND_OPEN_NO_THREADS,
        DIAMOND_OPEN_FORCE_NETWORK,
        DIAMOND_OPEN_READ_WITH_PREAD,
        DIAMOND_OPEN_IN_MEMORY,
    ];
    call.check_flags(given.flags, known.iter().fold(0, |all, &flag| all | flag as u64), "options->flags")?;
    let has = |flag: anonymous_open| given.flags & flag as u64 != 0;
    if has(DIAMOND_OPEN_IN_MEMORY) && !given.store.is_null() {
        let text = format!("{}: DIAMOND_OPEN_IN_MEMORY goes with no `options->store`.", call.name);
        return Err(Error::Invalid(text.into()));
    }
    if given.cache_bytes > 0 && !given.cache.is_null() {
        let text = format!("{}: `options->cache_bytes` goes with no `options->cache`.", call.name);
        return Err(Error::Invalid(text.into()));
    }
    let durability = checked_durability(call, given.durability)?;
    // The modules last: who refuses one must not have taken another.
    // SAFETY: the conventions.
    let (cache, store) = unsafe {
        let (cache, store) = (given.cache, given.store);
        let cache = if cache.is_null() { None } else { Some(read_cache(call, cache, "options->cache")?) };
        let store = if store.is_null() { None } else { Some(read_store(call, store, "options->store")?) };
        (cache.map(CCache::take), store.map(CStore::take))
    };
    let cache = match cache {
        Some(cache) => CacheChoice::Module(cache),
        None if given.cache_bytes > 0 => CacheChoice::Lru(given.cache_bytes),
        None => CacheChoice::None,
    };
    let store = match store {
        Some(store) => StoreChoice::Module(store),
        None if has(DIAMOND_OPEN_IN_MEMORY) => StoreChoice::Memory,
        None => StoreChoice::Native,
    };
    Ok(OpenOptions {
        must_exist: has(DIAMOND_OPEN_MUST_EXIST),
        read_only: has(DIAMOND_OPEN_READ_ONLY),
        no_threads: has(DIAMOND_OPEN_NO_THREADS),
        force: has(DIAMOND_OPEN_FORCE_NETWORK),
        pread: has(DIAMOND_OPEN_READ_WITH_PREAD),
        durability,
        interval_ms: given.interval_ms,
        dirty_soft: given.dirty_soft,
        dirty_hard: given.dirty_hard,
        store,
        cache,
        sizes: Default::default(),
    })
}

fn checked_durability(call: &Call, durability: i32) -> Result<Durability> {
    use anonymous_durability::*;
    match durability {
        _ if durability == DIAMOND_DURABILITY_SYNC as i32 => Ok(Durability::Sync),
        _ if durability == DIAMOND_DURABILITY_OS as i32 => Ok(Durability::Os),
        _ if durability == DIAMOND_DURABILITY_ASYNC as i32 => Ok(Durability::Async),
        other => {
            let text = format!("{}: `options->durability` is {other}, not a DIAMOND_DURABILITY constant.", call.name);
            Err(Error::Invalid(text.into()))
        }
    }
}

fn checked_path<'a>(call: &Call, path: &'a [u8], is_folder: bool) -> Result<&'a OsStr> {
    let what = match path {
        [] if is_folder => "is empty",
        _ if path.contains(&0) => "has a NUL inside (path_size does not count a final one)",
        _ => return Ok(OsStr::from_bytes(path)),
    };
    Err(Error::Invalid(format!("{}: `path` {what}.", call.name).into()))
}

/// Closes it: waits for running calls, makes all that was committed durable, and says whether that went well. When
/// the database was opened more than once in this process, the last close does so. Its tables, batches, cursors and
/// snapshots answer CLOSED from now on, and need their own closes still. A pin counts as an opening: what was
/// committed is durable after this call, but the folder is unlocked by the last diamond_pin_close.
///
/// WRONG_THREAD: a module of it works only on the thread that opened it. It stays open, to be closed there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_close(db: *mut diamond_db) -> diamond_status {
    guard("diamond_close", |call| {
        // Closing would wait for the backup, which waits for its callback, which is here.
        if !db.is_null() && BACKED_UP.get() == db {
            return Err(call.misuse("db", "is being backed up by this thread: its progress callback must not close it"));
        }
        // A module that is bound to its thread must not end on another.
        // SAFETY: the conventions.
        let db = unsafe { call.take_if(db, "db", Database::refuse_elsewhere)? };
        db.map_or(Ok(()), Database::close)
    })
}

thread_local! {
    /// The database whose backup is calling out on this thread.
    static BACKED_UP: Cell<*mut diamond_db> = const { Cell::new(std::ptr::null_mut()) };
}

/// Makes all that was committed before the call durable against a power cut, whatever the durability.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_flush(db: *mut diamond_db) -> diamond_status {
    guard("diamond_flush", |call| {
        // SAFETY: the conventions.
        let db = unsafe { call.handle(db, "db")? };
        db.flush()
    })
}

/// Writes changed pages to their files and shortens the write-ahead log, so that the next opening is quick. The
/// library does so by itself; before a copy of the folder or a long rest one may ask for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_checkpoint(db: *mut diamond_db) -> diamond_status {
    guard("diamond_checkpoint", |call| {
        // SAFETY: the conventions.
        let db = unsafe { call.handle(db, "db")? };
        db.checkpoint()
    })
}

/// Does upkeep for about budget_us microseconds at most: what a database opened with DIAMOND_OPEN_NO_THREADS asks
/// of its host, for instance whenever its event loop is idle. more becomes 1 if work is left, else 0; NULL: not
/// wanted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_step(db: *mut diamond_db, budget_us: u32, more: *mut i32) -> diamond_status {
    guard("diamond_step", |call| {
        // SAFETY: the conventions.
        let (db, more) = unsafe { (call.handle(db, "db")?, call.out(more, "more")?) };
        more.put(db.step(Duration::from_micros(budget_us.into()))?.into());
        Ok(())
    })
}

/// Waits until the commit lsn, and with it every earlier one, is on disk; under DIAMOND_DURABILITY_OS, until the
/// operating system has it. lsn 0: all that is visible now, for who must not act on what a crash could take back.
/// timeout_ms 0 only asks, UINT32_MAX waits for ever. error may be NULL; else a failure copies its sentence to the
/// error_size bytes there.
///
/// TIMEOUT: not yet. COMMIT_UNKNOWN, POISONED: it will not become durable any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_wait_durable(
    db: *mut diamond_db,
    lsn: u64,
    timeout_ms: u32,
    error: *mut c_char,
    error_size: usize,
) -> diamond_status {
    guard("diamond_wait_durable", |call| {
        // SAFETY: the conventions.
        let db = unsafe {
            call.tell(error, error_size);
            call.handle(db, "db")?
        };
        db.wait_durable(Lsn(lsn), (timeout_ms != u32::MAX).then(|| Duration::from_millis(timeout_ms.into())))
    })
}

/// Reads everything and checks it. report becomes a JSON text,
/// {"tables": 1, "pages": 2, "records": 3, "findings": [{"file": "...", "message": "..."}, ...]}.
///
/// CORRUPT: there are findings; the report comes out nevertheless.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_verify(
    db: *mut diamond_db,
    report: *mut *mut c_char,
    size: *mut usize,
) -> diamond_status {
    guard("diamond_verify", |call| {
        // SAFETY: the conventions.
        let (db, report) = unsafe {
            let report = call.text_out(report, size, "report")?;
            (call.handle(db, "db")?, report)
        };
        let verified = db.verify()?;
        report.put(&report_json(&verified)?)?;
        judge(&verified)
    })
}

fn report_json(report: &VerifyReport) -> Result<String> {
    let VerifyReport { tables, pages, records, .. } = report;
    let findings = report.findings.iter().map(|it| json!({ "file": it.file, "message": it.message }));
    let findings = array_json(findings)?;
    let mut text = format!(r#"{{"tables":{tables},"pages":{pages},"records":{records},"findings":"#);
    text.try_reserve(findings.len() + 1).map_err(memory::refused("the report"))?;
    text.push_str(&findings);
    text.push('}');
    Ok(text)
}

fn judge(report: &VerifyReport) -> Result<()> {
    let Some(first) = report.findings.first() else { return Ok(()) };
    let count = report.findings.len();
    Err(Error::Corrupt(format!("{count} findings, the first in {}: {}", first.file, first.message).into()))
}

/// How to back up. All zeros but struct_size are the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct diamond_backup_options {
    pub struct_size: usize,
    /// None yet: 0.
    pub flags: u64,
    /// If not NULL, called before the first page is copied, after the last, and every few megabytes between, on the
    /// thread of the call and under no lock: so many bytes of so many are copied. Returns DIAMOND_MODULE_OK;
    /// whatever else calls the backup off. It must not use this database, nor throw or jump out.
    pub progress: Option<unsafe extern "C" fn(context: *mut c_void, done_bytes: u64, total_bytes: u64) -> i32>,
    /// Handed to progress.
    pub context: *mut c_void,
    /// If not NULL, a failing diamond_backup copies its sentence here.
    pub error: *mut c_char,
    /// Bytes at error, the final NUL included.
    pub error_size: usize,
}

// SAFETY: as the trait asks; 0 and NULL are values of numbers, pointers and optional functions.
unsafe impl Struct for diamond_backup_options {
    const NAME: &'static str = "diamond_backup_options";
    const REQUIRED_SIZE: usize = offset_of!(diamond_backup_options, progress);
}

/// Copies the database, as it is now, to the folder at path, which must be empty or not there yet and lie outside the
/// database's own. Commits, checkpoints and all else go on meanwhile and are not in the copy; pages that it still
/// needs while they change count as changed memory. What the copy holds is durable in the database, too. The copy is a
/// database of its own, cleanly closed. options may be NULL.
///
/// After an error the folder is as it was, as far as the disk allows. What a crash leaves there is refused by
/// diamond_open, unless the copy is whole.
///
/// CANCELLED: progress did not return DIAMOND_MODULE_OK. CORRUPT: a page does not match its checksum; the sentence
/// names it. INVALID: the folder is not empty, or lies in the database's. LOCKED: another backup goes there. FULL, IO:
/// the disk of the copy, or the database's. FORMAT: the folder holds a backup that was not finished; remove it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_backup(
    db: *mut diamond_db,
    path: *const c_char,
    path_size: usize,
    options: *const diamond_backup_options,
) -> diamond_status {
    guard("diamond_backup", |call| {
        // SAFETY: the conventions.
        let (options, database, path) = unsafe {
            let options = read_backup_options(call, options)?;
            (options, call.handle(db, "db")?, call.slice(path.cast::<u8>(), path_size, "path")?)
        };
        let progress = |done, total| {
            let Some((progress, context)) = options else { return ControlFlow::Continue(()) };
            let outer = BACKED_UP.replace(db);
            // SAFETY: the conventions: the caller's function may be called with the caller's context during the call.
            let answer = unsafe { progress(context, done, total) };
            BACKED_UP.set(outer);
            let goes_on = answer == anonymous_module::DIAMOND_MODULE_OK as i32;
            if goes_on { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        database.backup(checked_path(call, path, true)?, progress)
    })
}

/// A callback, and what it is handed.
type Told = (unsafe extern "C" fn(*mut c_void, u64, u64) -> i32, *mut c_void);

unsafe fn read_backup_options(call: &Call, options: *const diamond_backup_options) -> Result<Option<Told>> {
    if options.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise is ours; the options name their error buffer.
    let given = unsafe {
        let given = call.read(options, "options")?;
        call.tell(given.error, given.error_size);
        given
    };
    call.check_flags(given.flags, 0, "options->flags")?;
    Ok(given.progress.map(|progress| (progress, given.context)))
}

/// What the database has done and holds, as a JSON object in json. Its keys may grow with versions. What scans and
/// snapshots cost is in "snapshots" (how many are open), "oldest_snapshot_age_ms", "oldest_snapshot_lsn" and
/// "old_image_bytes"; what pins cost in "pins", "pin_bytes_kept" (memory) and "pin_bytes_mapped" (addresses).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_stats(
    db: *mut diamond_db,
    json: *mut *mut c_char,
    size: *mut usize,
) -> diamond_status {
    guard("diamond_stats", |call| {
        // SAFETY: the conventions.
        let (db, json) = unsafe {
            let json = call.text_out(json, size, "json")?;
            (call.handle(db, "db")?, json)
        };
        json.put(&db.stats_json()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Finding;

    #[test]
    fn a_report_without_findings_is_ok_and_one_with_them_is_corrupt() {
        let mut report = VerifyReport { tables: 1, pages: 2, records: 3, findings: Vec::new() };
        assert_eq!(report_json(&report).unwrap(), r#"{"tables":1,"pages":2,"records":3,"findings":[]}"#);
        assert_eq!(judge(&report), Ok(()));
        report.findings.push(Finding { file: "people.table".into(), message: "page 2 has another sum".into() });
        let text = report_json(&report).unwrap();
        assert!(text.ends_with(r#"[{"file":"people.table","message":"page 2 has another sum"}]}"#));
        assert_eq!(judge(&report).map_err(|error| error.status()), Err(501));
    }

    #[test]
    fn a_path_is_not_empty_and_has_no_nul() {
        guard("diamond_open", |call| {
            assert!(checked_path(call, b"", true).is_err());
            assert!(checked_path(call, b"folder\0", false).is_err());
            assert!(checked_path(call, b"folder \xff", true).is_ok());
            Ok(())
        });
    }
}
