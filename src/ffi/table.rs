//! Table
//!
//! A schema is a JSON object, its keys the fields in the order of the C struct:
//! {"name": ["string", 15, "required"], "age": ["number", 3], "seen": ["timestamp"]}
//!
//! ```text
//!     type                             in C                 in JSON
//!     ["string", n]                    char[n]              string of at most n bytes of UTF-8
//!     ["string", n, "characters"]      char[3 * n]          string of at most n UTF-16 units
//!     ["bytes", n]                     uint8_t[n]           standard base64 with padding
//!     ["number", n], n up to 24        double               number whose shortest text has at most n characters
//!     ["i8"] ... ["i64"]               int8_t ... int64_t   integer, or its decimal text
//!     ["u8"] ... ["u64"]               uint8_t ...          the same
//!     ["f32"], ["f64"]                 float, double        number, finite
//!     ["bool"]                         uint8_t, 0 or 1      true, false
//!     ["timestamp"]                    int64_t              RFC 3339 text with offset, or an integer
//! ```
//!
//! A timestamp is microseconds since 1970 UTC. "required" as the last element refuses null. In JSON a record is an
//! object; a field that it leaves out is null, a key that the schema does not have is refused. Packed and JSON
//! records are held to the same rules. In what comes out as JSON, integers beyond 2^53 are always text.
//!
//! A verb on an id that was never given answers OUT_OF_RANGE, on a deleted one NOT_FOUND. A record that the schema
//! refuses is INVALID, by field and value, and takes no id.

use std::ffi::{c_char, c_void};
use std::mem::offset_of;

use serde_json::json;

use super::borrow::{Handle, Shape, Struct, array_json, peek, place_for};
use super::database::diamond_db;
use super::guard::{Call, guard, guard_hot};
use super::status::diamond_status;
use crate::database::Table;
use crate::database::TableInfo;
use crate::error::Result;
use crate::table::{JsonStyle, RecordId, Schema};

/// An open table.
pub struct diamond_table {
    _opaque: (),
}

pub(super) struct OpenTable {
    pub(super) table: Table,
    /// Beside the table, so that hot calls need not look for it.
    pub(super) shape: Shape,
}

impl Handle for diamond_table {
    type Value = OpenTable;
    const NAME: &'static str = "diamond_table";
    const MARK: u64 = u64::from_le_bytes(*b"diam.tb\0");
}

impl OpenTable {
    pub(super) fn new(table: Table) -> OpenTable {
        OpenTable { shape: Shape::of(&table), table }
    }
}

/// Opens the table, and makes it where there is none by that name. Names are UTF-8.
///
/// SCHEMA_DIFFERS: it exists with another schema (the order counts); the message says how. INVALID: the name or
/// the schema. TOO_LARGE: a limit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_make(
    db: *mut diamond_db,
    name: *const c_char,
    name_size: usize,
    schema: *const c_char,
    schema_size: usize,
    table: *mut *mut diamond_table,
) -> diamond_status {
    guard("diamond_table_make", |call| {
        // SAFETY: the conventions.
        let (table, db, name, schema) = unsafe {
            let table = call.handle_out(table, "table")?;
            let name = call.text(name, name_size, "name")?;
            (table, call.handle(db, "db")?, name, call.text(schema, schema_size, "schema")?)
        };
        table.put(OpenTable::new(db.make_table(name, &Schema::parse(schema)?)?));
        Ok(())
    })
}

/// Opens a table that is there. NOT_FOUND: it is not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_open(
    db: *mut diamond_db,
    name: *const c_char,
    name_size: usize,
    table: *mut *mut diamond_table,
) -> diamond_status {
    guard("diamond_table_open", |call| {
        // SAFETY: the conventions.
        let (table, db, name) = unsafe {
            let table = call.handle_out(table, "table")?;
            (table, call.handle(db, "db")?, call.text(name, name_size, "name")?)
        };
        table.put(OpenTable::new(db.table(name)?));
        Ok(())
    })
}

/// Closes the handle; the table stays. A handle from diamond_snapshot_table lets go of its moment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_close(table: *mut diamond_table) -> diamond_status {
    guard("diamond_table_close", |call| {
        // SAFETY: the conventions.
        unsafe { call.take(table, "table") }.map(drop)
    })
}

/// Deletes the table with all its records, and gives its room on disk back. Handles of it answer NOT_FOUND from
/// then on. NOT_FOUND: there is none by that name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_drop(
    db: *mut diamond_db,
    name: *const c_char,
    name_size: usize,
) -> diamond_status {
    guard("diamond_table_drop", |call| {
        // SAFETY: the conventions.
        let (db, name) = unsafe { (call.handle(db, "db")?, call.text(name, name_size, "name")?) };
        db.drop_table(name)
    })
}

/// Gives the table another name. Its handles stay open.
///
/// CONFLICT: the new name is taken. NOT_FOUND: there is none by the old one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_rename(
    db: *mut diamond_db,
    name: *const c_char,
    name_size: usize,
    new_name: *const c_char,
    new_name_size: usize,
) -> diamond_status {
    guard("diamond_table_rename", |call| {
        // SAFETY: the conventions.
        let (db, name, new_name) = unsafe {
            let name = call.text(name, name_size, "name")?;
            (call.handle(db, "db")?, name, call.text(new_name, new_name_size, "new_name")?)
        };
        db.rename_table(name, new_name)
    })
}

/// All tables by name, as JSON in json:
/// [{"name": "people", "next_id": 3, "count": 2, "record_size": 24, "slot_size": 32}, ...]; sizes in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_list(
    db: *mut diamond_db,
    json: *mut *mut c_char,
    size: *mut usize,
) -> diamond_status {
    guard("diamond_table_list", |call| {
        // SAFETY: the conventions.
        let (db, json) = unsafe {
            let json = call.text_out(json, size, "json")?;
            (call.handle(db, "db")?, json)
        };
        json.put(&list_json(&db.tables()?)?)
    })
}

fn list_json(tables: &[TableInfo]) -> Result<String> {
    let entry = |it: &TableInfo| {
        json!({
            "name": it.name,
            "next_id": it.next_id,
            "count": it.count,
            "record_size": it.record_size,
            "slot_size": it.slot_size,
        })
    };
    array_json(tables.iter().map(entry))
}

/// The table's name at this moment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_name(
    table: *mut diamond_table,
    name: *mut *mut c_char,
    size: *mut usize,
) -> diamond_status {
    guard("diamond_table_name", |call| {
        // SAFETY: the conventions.
        let (table, name) = unsafe {
            let name = call.text_out(name, size, "name")?;
            (call.handle(table, "table")?, name)
        };
        table.table.read()?;
        name.put(&table.table.name())
    })
}

/// The table's schema, as diamond_table_make takes it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_schema(
    table: *mut diamond_table,
    json: *mut *mut c_char,
    size: *mut usize,
) -> diamond_status {
    guard("diamond_table_schema", |call| {
        // SAFETY: the conventions.
        let (table, json) = unsafe {
            let json = call.text_out(json, size, "json")?;
            (call.handle(table, "table")?, json)
        };
        table.table.read()?;
        json.put(&table.table.schema().to_json())
    })
}

/// Where everything in a packed record lies, as a JSON object: "record_size", "alignment" and "nulls_size";
/// "slot_size", "state_offset" and "nulls_offset" for who reads slots in place; and "fields", an array with "name",
/// "type", "offset" and "size" of each, "width" where its type has one, "characters" and "required" where they are
/// true. All in bytes. Other languages build their decoders from it; a C program can hold its struct against it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_layout(
    table: *mut diamond_table,
    json: *mut *mut c_char,
    size: *mut usize,
) -> diamond_status {
    guard("diamond_table_layout", |call| {
        // SAFETY: the conventions.
        let (table, json) = unsafe {
            let json = call.text_out(json, size, "json")?;
            (call.handle(table, "table")?, json)
        };
        table.table.read()?;
        json.put(&table.table.layout().to_json())
    })
}

/// How many records the table has: saved and not deleted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_count(table: *mut diamond_table, count: *mut u64) -> diamond_status {
    guard("diamond_table_count", |call| {
        // SAFETY: the conventions.
        let (table, count) = unsafe { (call.handle(table, "table")?, call.out(count, "count")?) };
        count.put(table.table.count()?);
        Ok(())
    })
}

/// The id that the next save will get, if no other save comes before it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_next_id(table: *mut diamond_table, id: *mut u64) -> diamond_status {
    guard("diamond_table_next_id", |call| {
        // SAFETY: the conventions.
        let (table, id) = unsafe { (call.handle(table, "table")?, call.out(id, "id")?) };
        id.put(table.table.next_id()?.0);
        Ok(())
    })
}

/// Saves a packed record, commits it, and tells its id. nulls may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_save(
    table: *mut diamond_table,
    record: *const c_void,
    record_size: usize,
    nulls: *const u8,
    id: *mut u64,
) -> diamond_status {
    guard("diamond_table_save", |call| {
        // SAFETY: the conventions.
        let (table, record, id) = unsafe {
            let table = call.handle(table, "table")?;
            (table, call.record(table.shape, record, record_size, nulls, "record")?, call.out(id, "id")?)
        };
        id.put(table.table.save(record)?.0);
        Ok(())
    })
}

/// Copies the record into the record_size bytes at record, and which of its fields are null into nulls, if that is
/// not NULL. After an error both may hold anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_fetch(
    table: *mut diamond_table,
    id: u64,
    record: *mut c_void,
    record_size: usize,
    nulls: *mut u8,
) -> diamond_status {
    guard_hot(
        "diamond_table_fetch",
        // SAFETY: the conventions.
        || unsafe {
            let table = peek(table)?;
            Some(table.table.fetch_at_once(RecordId(id), &mut place_for(table.shape, record, record_size, nulls)?))
        },
        |call| {
            // SAFETY: the conventions.
            let (table, record) = unsafe {
                let table = call.handle(table, "table")?;
                (table, call.record_mut(table.shape, record, record_size, nulls, "record")?)
            };
            table.table.fetch(RecordId(id), record)
        },
    )
}

/// Replaces the record by another, and commits.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_replace(
    table: *mut diamond_table,
    id: u64,
    record: *const c_void,
    record_size: usize,
    nulls: *const u8,
) -> diamond_status {
    guard("diamond_table_replace", |call| {
        // SAFETY: the conventions.
        let (table, record) = unsafe {
            let table = call.handle(table, "table")?;
            (table, call.record(table.shape, record, record_size, nulls, "record")?)
        };
        table.table.replace(RecordId(id), record)
    })
}

/// Replaces the record only if it still is what the caller read. CONFLICT: it is not; read it again and decide.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_replace_if(
    table: *mut diamond_table,
    id: u64,
    expected: *const c_void,
    expected_size: usize,
    expected_nulls: *const u8,
    record: *const c_void,
    record_size: usize,
    nulls: *const u8,
) -> diamond_status {
    guard("diamond_table_replace_if", |call| {
        // SAFETY: the conventions.
        let (table, expected, record) = unsafe {
            let table = call.handle(table, "table")?;
            let expected = call.record(table.shape, expected, expected_size, expected_nulls, "expected")?;
            (table, expected, call.record(table.shape, record, record_size, nulls, "record")?)
        };
        table.table.replace_if(RecordId(id), expected, record)
    })
}

/// Deletes the record, and commits. Its id is not given again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_delete(table: *mut diamond_table, id: u64) -> diamond_status {
    guard("diamond_table_delete", |call| {
        // SAFETY: the conventions.
        let table = unsafe { call.handle(table, "table")? };
        table.table.delete(RecordId(id))
    })
}

/// Deletes the record only if it still is what the caller read. CONFLICT: it is not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_delete_if(
    table: *mut diamond_table,
    id: u64,
    expected: *const c_void,
    expected_size: usize,
    expected_nulls: *const u8,
) -> diamond_status {
    guard("diamond_table_delete_if", |call| {
        // SAFETY: the conventions.
        let (table, expected) = unsafe {
            let table = call.handle(table, "table")?;
            (table, call.record(table.shape, expected, expected_size, expected_nulls, "expected")?)
        };
        table.table.delete_if(RecordId(id), expected)
    })
}

/// Many packed records in the caller's memory, stride bytes apart; how many is said beside it. A stride of 0 says
/// that nothing lies between: the record size, and (fields + 7) / 8 for nulls. What a longer stride leaves between
/// two is neither read nor written. A call that saves or replaces only reads them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct diamond_records {
    pub struct_size: usize,
    pub records: *mut c_void,
    pub record_stride: usize,
    /// Their null bitmaps, or NULL.
    pub nulls: *mut u8,
    pub null_stride: usize,
}

// SAFETY: as the trait asks; 0 and NULL are values of numbers and pointers.
unsafe impl Struct for diamond_records {
    const NAME: &'static str = "diamond_records";
    const REQUIRED_SIZE: usize = offset_of!(diamond_records, record_stride);
}

/// Saves count records in one commit: all or none. Their ids follow each other from first_id on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_save_many(
    table: *mut diamond_table,
    records: *const diamond_records,
    count: usize,
    first_id: *mut u64,
) -> diamond_status {
    guard("diamond_table_save_many", |call| {
        // SAFETY: the conventions.
        let (table, records, first_id) = unsafe {
            let table = call.handle(table, "table")?;
            (table, call.records(table.shape, records, count)?, call.out(first_id, "first_id")?)
        };
        first_id.put(table.table.save_many(records)?.0);
        Ok(())
    })
}

/// Fetches count records, tries each, and returns the first failure. statuses may be NULL; else each of its count
/// elements becomes the status of its record. A record whose status is not OK may hold anything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_fetch_many(
    table: *mut diamond_table,
    ids: *const u64,
    count: usize,
    records: *const diamond_records,
    statuses: *mut diamond_status,
) -> diamond_status {
    guard("diamond_table_fetch_many", |call| {
        // SAFETY: the conventions.
        let (table, ids, records, statuses) = unsafe {
            let table = call.handle(table, "table")?;
            let records = call.records_mut(table.shape, records, count)?;
            (table, call.ids(ids, count, "ids")?, records, call.wanted(statuses, count, "statuses")?)
        };
        table.table.fetch_many(ids, records, statuses)
    })
}

/// Replaces count records in one commit: all or none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_replace_many(
    table: *mut diamond_table,
    ids: *const u64,
    count: usize,
    records: *const diamond_records,
) -> diamond_status {
    guard("diamond_table_replace_many", |call| {
        // SAFETY: the conventions.
        let (table, ids, records) = unsafe {
            let table = call.handle(table, "table")?;
            (table, call.ids(ids, count, "ids")?, call.records(table.shape, records, count)?)
        };
        table.table.replace_many(ids, records)
    })
}

/// Deletes count records in one commit: all or none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_delete_many(
    table: *mut diamond_table,
    ids: *const u64,
    count: usize,
) -> diamond_status {
    guard("diamond_table_delete_many", |call| {
        // SAFETY: the conventions.
        let (table, ids) = unsafe { (call.handle(table, "table")?, call.ids(ids, count, "ids")?) };
        table.table.delete_many(ids)
    })
}

/// Flags of the calls that give JSON.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum anonymous_json {
    /// Every i64 and u64 as text, not only those beyond 2^53.
    DIAMOND_JSON_INT64_AS_TEXT = 1,
}

pub(super) fn json_style(call: &Call, flags: u32) -> Result<JsonStyle> {
    let int64_as_text = anonymous_json::DIAMOND_JSON_INT64_AS_TEXT as u32;
    call.check_flags(flags.into(), int64_as_text.into(), "flags")?;
    Ok(JsonStyle { int64_as_text: flags & int64_as_text != 0 })
}

/// diamond_table_save of a record as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_save_json(
    table: *mut diamond_table,
    json: *const c_char,
    json_size: usize,
    id: *mut u64,
) -> diamond_status {
    guard("diamond_table_save_json", |call| {
        // SAFETY: the conventions.
        let (table, json, id) = unsafe {
            let json = call.text(json, json_size, "json")?;
            (call.handle(table, "table")?, json, call.out(id, "id")?)
        };
        id.put(table.table.save_json(json)?.0);
        Ok(())
    })
}

/// diamond_table_save_many of records as a JSON array of objects; count becomes how many there were. TOO_LARGE: they
/// take more than 256 MiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_save_many_json(
    table: *mut diamond_table,
    json: *const c_char,
    json_size: usize,
    first_id: *mut u64,
    count: *mut usize,
) -> diamond_status {
    guard("diamond_table_save_many_json", |call| {
        // SAFETY: the conventions.
        let (table, json, first_id, count) = unsafe {
            let json = call.text(json, json_size, "json")?;
            (call.handle(table, "table")?, json, call.out(first_id, "first_id")?, call.out(count, "count")?)
        };
        let (id, saved) = table.table.save_many_json(json)?;
        first_id.put(id.0);
        count.put(saved);
        Ok(())
    })
}

/// The record as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_fetch_json(
    table: *mut diamond_table,
    id: u64,
    flags: u32,
    json: *mut *mut c_char,
    size: *mut usize,
) -> diamond_status {
    guard("diamond_table_fetch_json", |call| {
        // SAFETY: the conventions.
        let (table, json) = unsafe {
            let json = call.text_out(json, size, "json")?;
            (call.handle(table, "table")?, json)
        };
        json.put(&table.table.fetch_json(RecordId(id), json_style(call, flags)?)?)
    })
}

/// count records as a JSON array, null where one could not be fetched; else as diamond_table_fetch_many. When some
/// fail, the first failure is returned and the array comes out nevertheless: free it if it is not NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_fetch_many_json(
    table: *mut diamond_table,
    ids: *const u64,
    count: usize,
    flags: u32,
    json: *mut *mut c_char,
    size: *mut usize,
    statuses: *mut diamond_status,
) -> diamond_status {
    guard("diamond_table_fetch_many_json", |call| {
        // SAFETY: the conventions.
        let (table, ids, json, statuses) = unsafe {
            let json = call.text_out(json, size, "json")?;
            let ids = call.ids(ids, count, "ids")?;
            (call.handle(table, "table")?, ids, json, call.wanted(statuses, count, "statuses")?)
        };
        let (text, outcome) = table.table.fetch_many_json(ids, json_style(call, flags)?, statuses);
        if !text.is_empty() {
            json.put(&text)?;
        }
        outcome
    })
}

/// diamond_table_replace by a record as a JSON object.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_replace_json(
    table: *mut diamond_table,
    id: u64,
    json: *const c_char,
    json_size: usize,
) -> diamond_status {
    guard("diamond_table_replace_json", |call| {
        // SAFETY: the conventions.
        let (table, json) = unsafe { (call.handle(table, "table")?, call.text(json, json_size, "json")?) };
        table.table.replace_json(RecordId(id), json)
    })
}

/// diamond_table_replace_if of records as JSON objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_replace_if_json(
    table: *mut diamond_table,
    id: u64,
    expected: *const c_char,
    expected_size: usize,
    json: *const c_char,
    json_size: usize,
) -> diamond_status {
    guard("diamond_table_replace_if_json", |call| {
        // SAFETY: the conventions.
        let (table, expected, json) = unsafe {
            let expected = call.text(expected, expected_size, "expected")?;
            (call.handle(table, "table")?, expected, call.text(json, json_size, "json")?)
        };
        table.table.replace_if_json(RecordId(id), expected, json)
    })
}

/// diamond_table_replace_many by records as a JSON array of count objects. TOO_LARGE: they take more than 256 MiB.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_replace_many_json(
    table: *mut diamond_table,
    ids: *const u64,
    count: usize,
    json: *const c_char,
    json_size: usize,
) -> diamond_status {
    guard("diamond_table_replace_many_json", |call| {
        // SAFETY: the conventions.
        let (table, ids, json) = unsafe {
            let ids = call.ids(ids, count, "ids")?;
            (call.handle(table, "table")?, ids, call.text(json, json_size, "json")?)
        };
        table.table.replace_many_json(ids, json)
    })
}

/// What diamond_table_save_by needs and gives, in one struct: for languages in which each argument costs. Kept and
/// used again by one thread, it saves building them.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct diamond_save_request {
    pub struct_size: usize,
    pub table: *mut diamond_table,
    pub record: *const c_void,
    pub record_size: usize,
    pub nulls: *const u8,
    /// Becomes the record's id.
    pub id: u64,
    /// If not NULL, a failure copies its sentence here.
    pub error: *mut c_char,
    /// Bytes at error, the final NUL included.
    pub error_size: usize,
}

// SAFETY: as the trait asks; 0 and NULL are values of numbers and pointers.
unsafe impl Struct for diamond_save_request {
    const NAME: &'static str = "diamond_save_request";
    const REQUIRED_SIZE: usize = offset_of!(diamond_save_request, error);
}

/// diamond_table_save of what request names; the new id goes into it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_save_by(request: *mut diamond_save_request) -> diamond_status {
    guard("diamond_table_save_by", |call| {
        // SAFETY: the conventions; the request names its error buffer, and is large enough to hold an id.
        let (table, record, id) = unsafe {
            let given = call.read(request, "request")?;
            call.tell(given.error, given.error_size);
            let table = call.handle(given.table, "request->table")?;
            let (record, size) = (given.record, given.record_size);
            let record = call.record(table.shape, record, size, given.nulls, "request->record")?;
            (table, record, call.out(&raw mut (*request).id, "request->id")?)
        };
        id.put(table.table.save(record)?.0);
        Ok(())
    })
}

/// What diamond_table_fetch_by needs, in one struct; see diamond_save_request.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct diamond_fetch_request {
    pub struct_size: usize,
    pub table: *mut diamond_table,
    pub id: u64,
    pub record: *mut c_void,
    pub record_size: usize,
    pub nulls: *mut u8,
    /// If not NULL, a failure copies its sentence here.
    pub error: *mut c_char,
    /// Bytes at error, the final NUL included.
    pub error_size: usize,
}

// SAFETY: as the trait asks; 0 and NULL are values of numbers and pointers.
unsafe impl Struct for diamond_fetch_request {
    const NAME: &'static str = "diamond_fetch_request";
    const REQUIRED_SIZE: usize = offset_of!(diamond_fetch_request, nulls);
}

/// diamond_table_fetch of what request names.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_table_fetch_by(request: *const diamond_fetch_request) -> diamond_status {
    guard("diamond_table_fetch_by", |call| {
        // SAFETY: the conventions; the request names its error buffer.
        let (table, id, record) = unsafe {
            let given = call.read(request, "request")?;
            call.tell(given.error, given.error_size);
            let table = call.handle(given.table, "request->table")?;
            let (record, size) = (given.record, given.record_size);
            (table, given.id, call.record_mut(table.shape, record, size, given.nulls, "request->record")?)
        };
        table.table.fetch(RecordId(id), record)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_every_table() {
        let people = TableInfo { name: "people".into(), next_id: 3, count: 2, record_size: 24, slot_size: 32 };
        let expected = r#"[{"name":"people","next_id":3,"count":2,"record_size":24,"slot_size":32}]"#;
        assert_eq!(list_json(&[people]).unwrap(), expected);
        assert_eq!(list_json(&[]).unwrap(), "[]");
    }

    #[test]
    fn a_flag_that_is_not_known_is_invalid() {
        assert_eq!(guard("diamond_table_fetch_json", |call| json_style(call, 2).map(drop)), 104);
        assert_eq!(guard("diamond_table_fetch_json", |call| json_style(call, 1).map(drop)), 0);
    }
}
