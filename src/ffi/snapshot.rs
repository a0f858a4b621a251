//! Snapshot
//!
//! A snapshot is all tables as they were when it was opened, whatever is written since. Its tables take every verb
//! that reads: fetch, scan, count, next id, name, schema, layout, pin. Every verb that writes is UNSUPPORTED.
//!
//! While a snapshot or a table of it is open, pages that are changed are kept in memory as they were, within
//! diamond_options.dirty_hard. Where that is full, writes answer FULL and name the oldest of those who hold memory.

use std::ffi::c_char;

use super::borrow::Handle;
use super::database::diamond_db;
use super::guard::guard;
use super::status::diamond_status;
use super::table::{OpenTable, diamond_table};
use crate::database::Snapshot;

/// An open snapshot.
pub struct diamond_snapshot {
    _opaque: (),
}

impl Handle for diamond_snapshot {
    type Value = Snapshot;
    const NAME: &'static str = "diamond_snapshot";
    const MARK: u64 = u64::from_le_bytes(*b"diam.sn\0");
}

/// Opens a snapshot of what is committed now. Waits for nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_snapshot_open(
    db: *mut diamond_db,
    snapshot: *mut *mut diamond_snapshot,
) -> diamond_status {
    guard("diamond_snapshot_open", |call| {
        // SAFETY: the conventions.
        let (snapshot, db) = unsafe { (call.handle_out(snapshot, "snapshot")?, call.handle(db, "db")?) };
        snapshot.put(db.snapshot()?);
        Ok(())
    })
}

/// Opens a table as of the snapshot, by the name that it had then. Close it as any other; until then it holds the
/// moment, even where the snapshot is closed before.
///
/// NOT_FOUND: there was none by that name, or it was dropped since, and its pages are gone. A handle of a table that
/// is dropped later answers the same from then on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_snapshot_table(
    snapshot: *mut diamond_snapshot,
    name: *const c_char,
    name_size: usize,
    table: *mut *mut diamond_table,
) -> diamond_status {
    guard("diamond_snapshot_table", |call| {
        // SAFETY: the conventions.
        let (table, snapshot, name) = unsafe {
            let table = call.handle_out(table, "table")?;
            let name = call.text(name, name_size, "name")?;
            (table, call.handle(snapshot, "snapshot")?, name)
        };
        table.put(OpenTable::new(snapshot.table(name)?));
        Ok(())
    })
}

/// Closes the snapshot.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_snapshot_close(snapshot: *mut diamond_snapshot) -> diamond_status {
    guard("diamond_snapshot_close", |call| {
        // SAFETY: the conventions.
        unsafe { call.take(snapshot, "snapshot") }.map(drop)
    })
}
