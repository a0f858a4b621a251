//! Cursor
//!
//! A cursor walks a table in the order of its ids. It sees exactly what was committed when it was opened, whatever
//! is written meanwhile, and keeps no writer waiting. One thread at a time.

use std::ffi::{c_char, c_void};
use std::mem::offset_of;
use std::sync::Mutex;

use super::borrow::{Handle, Shape, Struct};
use super::guard::{Call, guard};
use super::status::diamond_status;
use super::table::{diamond_records, diamond_table, json_style};
use crate::database::Cursor;
use crate::error::{Error, Result};
use crate::table::{RecordId, ScanRange};

/// An open cursor.
pub struct diamond_cursor {
    _opaque: (),
}

pub(super) struct OpenCursor {
    cursor: Cursor,
    shape: Shape,
}

impl Handle for diamond_cursor {
    type Value = Mutex<OpenCursor>;
    const NAME: &'static str = "diamond_cursor";
    const MARK: u64 = u64::from_le_bytes(*b"diam.cs\0");
}

/// diamond_scan_options.flags
#[repr(C)]
#[derive(Clone, Copy)]
pub enum anonymous_scan {
    /// From the highest id down.
    DIAMOND_SCAN_REVERSE = 1,
}

/// Which records a cursor visits. All zeros but struct_size: all, from the lowest id up.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct diamond_scan_options {
    pub struct_size: usize,
    /// DIAMOND_SCAN_...
    pub flags: u64,
    /// The lowest id.
    pub first_id: u64,
    /// The id behind the highest. 0: all.
    pub end_id: u64,
}

// SAFETY: as the trait asks; 0 is a value of numbers.
unsafe impl Struct for diamond_scan_options {
    const NAME: &'static str = "diamond_scan_options";
    const REQUIRED_SIZE: usize = offset_of!(diamond_scan_options, first_id);
}

/// Opens a cursor before the first record. options may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_scan(
    table: *mut diamond_table,
    options: *const diamond_scan_options,
    cursor: *mut *mut diamond_cursor,
) -> diamond_status {
    guard("diamond_table_scan", |call| {
        // SAFETY: the conventions.
        let (cursor, table, range) = unsafe {
            let cursor = call.handle_out(cursor, "cursor")?;
            (cursor, call.handle(table, "table")?, read_range(call, options)?)
        };
        cursor.put(Mutex::new(OpenCursor { cursor: table.table.scan(range)?, shape: table.shape }));
        Ok(())
    })
}

unsafe fn read_range(call: &Call, options: *const diamond_scan_options) -> Result<ScanRange> {
    if options.is_null() {
        return Ok(ScanRange::default());
    }
    // SAFETY: the caller's promise is ours.
    let given = unsafe { call.read(options, "options")? };
    let reverse = anonymous_scan::DIAMOND_SCAN_REVERSE as u64;
    call.check_flags(given.flags, reverse, "options->flags")?;
    Ok(ScanRange {
        from: given.first_id,
        to: if given.end_id == 0 { u64::MAX } else { given.end_id },
        reverse: given.flags & reverse != 0,
    })
}

/// Copies the next record to record and nulls, as diamond_table_fetch does, and tells its id. END: there is none;
/// nothing is written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_cursor_next(
    cursor: *mut diamond_cursor,
    id: *mut u64,
    record: *mut c_void,
    record_size: usize,
    nulls: *mut u8,
) -> diamond_status {
    guard("diamond_cursor_next", |call| {
        // SAFETY: the conventions.
        let (mut cursor, id, record) = unsafe {
            let cursor = call.alone(cursor, "cursor")?;
            let record = call.record_mut(cursor.shape, record, record_size, nulls, "record")?;
            (cursor, call.out(id, "id")?, record)
        };
        id.put(cursor.cursor.next(record)?.ok_or_else(end)?.0);
        Ok(())
    })
}

/// Copies up to capacity next records and their ids; count becomes how many. Fewer than capacity does not mean that
/// there are no more. END: there are none, and count is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_cursor_next_many(
    cursor: *mut diamond_cursor,
    ids: *mut u64,
    capacity: usize,
    records: *const diamond_records,
    count: *mut usize,
) -> diamond_status {
    guard("diamond_cursor_next_many", |call| {
        // SAFETY: the conventions; a RecordId is a transparent u64.
        let (mut cursor, ids, records, count) = unsafe {
            let count = call.out(count, "count")?;
            let cursor = call.alone(cursor, "cursor")?;
            let records = call.records_mut(cursor.shape, records, capacity)?;
            (cursor, call.slice_mut(ids.cast::<RecordId>(), capacity, "ids")?, records, count)
        };
        count.put(0);
        if ids.is_empty() {
            return Err(call.misuse("capacity", "is 0, and at least 1 is needed"));
        }
        match cursor.cursor.next_many(ids, records)? {
            0 => Err(end()),
            visited => {
                count.put(visited);
                Ok(())
            }
        }
    })
}

/// The next record as a JSON object, and its id. END: there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_cursor_next_json(
    cursor: *mut diamond_cursor,
    flags: u32,
    id: *mut u64,
    json: *mut *mut c_char,
    size: *mut usize,
) -> diamond_status {
    guard("diamond_cursor_next_json", |call| {
        // SAFETY: the conventions.
        let (mut cursor, id, json) = unsafe {
            let json = call.text_out(json, size, "json")?;
            (call.alone(cursor, "cursor")?, call.out(id, "id")?, json)
        };
        let (next, text) = cursor.cursor.next_json(json_style(call, flags)?)?.ok_or_else(end)?;
        json.put(&text)?;
        id.put(next.0);
        Ok(())
    })
}

/// Closes the cursor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_cursor_close(cursor: *mut diamond_cursor) -> diamond_status {
    guard("diamond_cursor_close", |call| {
        // SAFETY: the conventions.
        unsafe { call.take(cursor, "cursor") }.map(drop)
    })
}

fn end() -> Error {
    Error::End("The cursor has no more records.".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroed_scan_options_visit_all() {
        guard("diamond_table_scan", |call| {
            let options = diamond_scan_options { struct_size: 32, flags: 0, first_id: 0, end_id: 0 };
            // SAFETY: the options are ours.
            let range = unsafe { read_range(call, &options) }?;
            assert_eq!((range.from, range.to, range.reverse), (0, u64::MAX, false));
            Ok(())
        });
    }
}
