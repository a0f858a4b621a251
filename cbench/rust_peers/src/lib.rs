//! The benchmark's peers that are written in Rust: the functions of `struct engine` (bench.h) for each.
//!
//! Whatever fails ends the program with a sentence, as in the C files.

#![allow(clippy::missing_safety_doc)]

mod fjall;
mod redb;

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt::Display;

/// `enum durability`.
pub const ASYNC: c_uint = 0;
/// `enum durability`.
pub const DURABLE: c_uint = 2;

/// `struct setup`.
#[repr(C)]
pub struct Setup {
    folder: *const c_char,
    durability: c_uint,
    record_count: u64,
    memory_limit: u64,
}

/// `visitor`.
pub type Visitor = unsafe extern "C" fn(argument: *mut c_void, id: u64, record: *const u8);

unsafe extern "C" {
    safe static record_size: usize;
    fn cache_size(setup: *const Setup) -> u64;
    fn bench_make_record(id: u64, record: *mut u8);
    fn fail(format: *const c_char, ...) -> !;
}

impl Setup {
    /// A file of this name in the folder.
    fn path(&self, name: &str) -> String {
        // SAFETY: the harness gives text that ends in NUL.
        let folder = unsafe { CStr::from_ptr(self.folder) };
        format!("{}/{name}", folder.to_str().expect("a folder of the harness is UTF-8"))
    }

    fn cache_size(&self) -> u64 {
        // SAFETY: it only reads the setup.
        unsafe { cache_size(self) }
    }
}

/// What came out well, or the end of the program.
fn good<T, E: Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| {
        let text = error.to_string();
        // SAFETY: a format and what it takes.
        unsafe { fail(c"a Rust peer: %.*s".as_ptr(), text.len() as c_int, text.as_ptr()) }
    })
}

/// The record of an id at version 0.
fn new_record(id: u64, record: &mut Vec<u8>) {
    record.resize(record_size, 0);
    // SAFETY: there is room for a record.
    unsafe { bench_make_record(id, record.as_mut_ptr()) }
}

/// Copies what was found to `room`.
///
/// # Safety
/// There is room for a record.
unsafe fn put_record(found: &[u8], room: *mut u8) -> *const u8 {
    assert_eq!(found.len(), record_size);
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(found.as_ptr(), room, found.len()) };
    room
}

/// The ids and records of a write, side by side.
///
/// # Safety
/// Both are there.
unsafe fn writes<'a>(ids: *const u64, count: usize, records: *const u8) -> impl Iterator<Item = (u64, &'a [u8])> {
    // SAFETY: the caller's promise.
    let (ids, records) =
        unsafe { (std::slice::from_raw_parts(ids, count), std::slice::from_raw_parts(records, count * record_size)) };
    ids.iter().copied().zip(records.chunks_exact(record_size))
}
