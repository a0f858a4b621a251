//! Batch
//!
//! A batch is writes to any tables of one database, and expectations of what records still are. Commit does all
//! of it or none, also through a crash. Nothing is written, and no id given, before commit. So one reads, decides,
//! batches what follows together with an expectation for what was read, commits, and starts over at CONFLICT: no
//! lock is needed.
//!
//! One thread at a time. Records are copied into the batch and checked at once: a call that adds and fails adds
//! nothing.

use std::ffi::{c_char, c_void};
use std::sync::Mutex;

use super::borrow::Handle;
use super::database::diamond_db;
use super::guard::guard;
use super::status::diamond_status;
use super::table::diamond_table;
use crate::database::Batch;
use crate::error::Error;
use crate::table::RecordId;

/// An open batch.
pub struct diamond_batch {
    _opaque: (),
}

impl Handle for diamond_batch {
    type Value = Mutex<Batch>;
    const NAME: &'static str = "diamond_batch";
    const MARK: u64 = u64::from_le_bytes(*b"diam.bt\0");
}

/// Opens an empty batch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_batch_open(db: *mut diamond_db, batch: *mut *mut diamond_batch) -> diamond_status {
    guard("diamond_batch_open", |call| {
        // SAFETY: the conventions.
        let (batch, db) = unsafe { (call.handle_out(batch, "batch")?, call.handle(db, "db")?) };
        batch.put(Mutex::new(db.batch()?));
        Ok(())
    })
}

/// Adds the saving of a packed record; its id comes with the commit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_batch_save(
    batch: *mut diamond_batch,
    table: *mut diamond_table,
    record: *const c_void,
    record_size: usize,
    nulls: *const u8,
) -> diamond_status {
    guard("diamond_batch_save", |call| {
        // SAFETY: the conventions.
        let (mut batch, table, record) = unsafe {
            let table = call.handle(table, "table")?;
            let record = call.record(table.shape, record, record_size, nulls, "record")?;
            (call.alone(batch, "batch")?, table, record)
        };
        batch.save(&table.table, record)
    })
}

/// Adds the saving of a record as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_batch_save_json(
    batch: *mut diamond_batch,
    table: *mut diamond_table,
    json: *const c_char,
    json_size: usize,
) -> diamond_status {
    guard("diamond_batch_save_json", |call| {
        // SAFETY: the conventions.
        let (mut batch, table, json) = unsafe {
            let json = call.text(json, json_size, "json")?;
            (call.alone(batch, "batch")?, call.handle(table, "table")?, json)
        };
        batch.save_json(&table.table, json)
    })
}

/// Adds the replacing of a record by a packed one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_batch_replace(
    batch: *mut diamond_batch,
    table: *mut diamond_table,
    id: u64,
    record: *const c_void,
    record_size: usize,
    nulls: *const u8,
) -> diamond_status {
    guard("diamond_batch_replace", |call| {
        // SAFETY: the conventions.
        let (mut batch, table, record) = unsafe {
            let table = call.handle(table, "table")?;
            let record = call.record(table.shape, record, record_size, nulls, "record")?;
            (call.alone(batch, "batch")?, table, record)
        };
        batch.replace(&table.table, RecordId(id), record)
    })
}

/// Adds the replacing of a record by one as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_batch_replace_json(
    batch: *mut diamond_batch,
    table: *mut diamond_table,
    id: u64,
    json: *const c_char,
    json_size: usize,
) -> diamond_status {
    guard("diamond_batch_replace_json", |call| {
        // SAFETY: the conventions.
        let (mut batch, table, json) = unsafe {
            let json = call.text(json, json_size, "json")?;
            (call.alone(batch, "batch")?, call.handle(table, "table")?, json)
        };
        batch.replace_json(&table.table, RecordId(id), json)
    })
}

/// Adds the deleting of a record.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_batch_delete(
    batch: *mut diamond_batch,
    table: *mut diamond_table,
    id: u64,
) -> diamond_status {
    guard("diamond_batch_delete", |call| {
        // SAFETY: the conventions.
        let (mut batch, table) = unsafe { (call.alone(batch, "batch")?, call.handle(table, "table")?) };
        batch.delete(&table.table, RecordId(id))
    })
}

/// Adds an expectation: when the batch is committed, the record is what the caller read, else CONFLICT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_batch_expect(
    batch: *mut diamond_batch,
    table: *mut diamond_table,
    id: u64,
    record: *const c_void,
    record_size: usize,
    nulls: *const u8,
) -> diamond_status {
    guard("diamond_batch_expect", |call| {
        // SAFETY: the conventions.
        let (mut batch, table, record) = unsafe {
            let table = call.handle(table, "table")?;
            let record = call.record(table.shape, record, record_size, nulls, "record")?;
            (call.alone(batch, "batch")?, table, record)
        };
        batch.expect(&table.table, RecordId(id), record)
    })
}

/// diamond_batch_expect of a record as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_batch_expect_json(
    batch: *mut diamond_batch,
    table: *mut diamond_table,
    id: u64,
    json: *const c_char,
    json_size: usize,
) -> diamond_status {
    guard("diamond_batch_expect_json", |call| {
        // SAFETY: the conventions.
        let (mut batch, table, json) = unsafe {
            let json = call.text(json, json_size, "json")?;
            (call.alone(batch, "batch")?, call.handle(table, "table")?, json)
        };
        batch.expect_json(&table.table, RecordId(id), json)
    })
}

/// Flags of diamond_batch_commit.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum anonymous_commit {
    /// Do not wait until the commit is durable: diamond_wait_durable does, with its lsn, for it and all before it.
    DIAMOND_COMMIT_NO_WAIT = 1,
}

/// Commits: all of the batch or nothing. The ids of its saves, over all tables in the order in which they were
/// added, go to ids; ids_count is how many fit there (MISUSE if more are saved). lsn becomes the commit's place in
/// the order of all commits. Both may be NULL.
///
/// After OK the batch is empty and can be used again; after a 1xx, 2xx or 3xx it is as it was; after any other,
/// close it. CONFLICT: an expectation does not hold. NOT_FOUND, OUT_OF_RANGE: a record to replace or delete is not
/// there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_batch_commit(
    batch: *mut diamond_batch,
    flags: u32,
    ids: *mut u64,
    ids_count: usize,
    lsn: *mut u64,
) -> diamond_status {
    guard("diamond_batch_commit", |call| {
        // SAFETY: the conventions.
        let (mut batch, mut ids, lsn) = unsafe {
            let ids = call.wanted(ids, ids_count, "ids")?;
            (call.alone(batch, "batch")?, ids, call.out(lsn, "lsn")?)
        };
        let no_wait = anonymous_commit::DIAMOND_COMMIT_NO_WAIT as u32;
        call.check_flags(flags.into(), no_wait.into(), "flags")?;
        let saves = batch.save_count();
        if ids.as_ref().is_some_and(|ids| ids.len() < saves) {
            let text =
                format!("diamond_batch_commit: `ids` has room for {ids_count} ids, and there are {saves} saves.");
            return Err(Error::Misuse(text.into()));
        }
        let committed = batch.commit(flags & no_wait != 0)?;
        for (target, id) in ids.iter_mut().flat_map(|ids| ids.iter_mut()).zip(committed.ids) {
            *target = id.0;
        }
        lsn.put(committed.lsn.0);
        Ok(())
    })
}

/// Closes the batch. What was not committed is given up and leaves no trace.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_batch_close(batch: *mut diamond_batch) -> diamond_status {
    guard("diamond_batch_close", |call| {
        // SAFETY: the conventions.
        unsafe { call.take(batch, "batch") }.map(drop)
    })
}
