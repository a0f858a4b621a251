//! DiamondDB keeps data in one folder, inside your process: no server, no SQL.
//!
//! A table holds records of fixed width, laid out as C lays out a struct, found by a dense integer id. A batch
//! writes to several tables at once or not at all. A cursor walks a table as it was at one moment, a snapshot holds
//! all tables so, and a pin lays one open in memory.
//!
//! ```text
//!     diamond_db *db;
//!     diamond_table *people;
//!     struct { char name[15]; double age; } abby = {"Abby", 29}, back;
//!     const char *schema = "{\"name\": [\"string\", 15], \"age\": [\"number\", 3]}";
//!     uint64_t id;
//!
//!     if (diamond_open("folder", 6, NULL, &db) ||
//!         diamond_table_make(db, "people", 6, schema, strlen(schema), &people) ||
//!         diamond_table_save(people, &abby, sizeof abby, NULL, &id) ||
//!         diamond_table_fetch(people, id, &back, sizeof back, NULL)) puts(diamond_error_message());
//! ```
//!
//! Conventions
//!
//! Status. A call that can fail returns a diamond_status: 0 is OK, the hundreds of any other say what to do about
//! it. diamond_error_message() then gives a sentence that names the table, field, id, file or argument concerned.
//! Each function's comment lists the statuses that are its own. Any call may also return MISUSE, CLOSED, FORKED,
//! NO_MEMORY and PANIC; one that reads data IO and CORRUPT; one that writes data FULL, POISONED, COMMIT_UNKNOWN
//! and, where the database is read-only, UNSUPPORTED.
//!
//! Results leave through pointers, which come last. NULL there says "not wanted", except where a handle or a
//! record comes out. After an error, handles and texts that should have come out are NULL, and the size of such a
//! text is 0; other memory is untouched where the comment does not say otherwise.
//!
//! Handles (diamond_db, diamond_table, diamond_batch, diamond_cursor, diamond_snapshot, diamond_pin) are opaque.
//! Each open, make or scan needs its close, in any order. A close consumes its handle even when it returns an error;
//! closing NULL is OK and does nothing. After the close of a database, its tables, batches, cursors and snapshots
//! answer CLOSED until they are closed too; a pin goes on. Using a handle during or after its own close is
//! undefined, as with free(); the library catches what it can as MISUSE. Using a handle with one of another database
//! is MISUSE.
//!
//! Threads. A database, its tables, snapshots and pins may be used from every thread at once. A batch or a cursor
//! may be used from every thread, one at a time; while a call is inside, another answers MISUSE. After fork() the
//! child answers FORKED; it opens the database itself once the parent has closed it, or has ended. Where other
//! threads ran at the fork, it opens with DIAMOND_OPEN_NO_THREADS: what they were in the midst of, nobody ends in the
//! child.
//!
//! Bytes and text travel as pointer and size, both in and out; NULL with size 0 is empty. Text is UTF-8 and needs
//! no final NUL. A text that comes out (char **) has one, not counted in its size, and is yours: free it with
//! diamond_free. All else that you pass in stays yours, is copied where needed and not kept after the call.
//!
//! Memory. A pointer is valid for all that its size, count or struct says, and aligned as C aligns its type; else
//! MISUSE where the library can tell. Records and null bitmaps are bytes and may lie anywhere. What a call
//! writes to overlaps nothing else that it is given.
//!
//! Structs passed by pointer open with struct_size: set it to sizeof the struct and zero the rest; zeros are the
//! defaults. 0 is MISUSE, and so is a size that ends amid a field. An older, smaller struct is accepted down to
//! the fields that the call cannot do without, and of a newer, larger one the library reads what it knows. Flags
//! are ors of constants; bits and values that the library does not know are INVALID.
//!
//! Records and nulls. A packed record is the C struct of the table's schema: fields in declared order, naturally
//! aligned, and its size is given with it (INVALID when it is not the table's). Its null bitmap is an array of
//! (fields + 7) / 8 bytes: bit f % 8 of byte f / 8 is set where field f is null; a NULL bitmap says "none" when
//! saving and "not wanted" when fetching. Null fields, padding, and text after its first NUL are stored and
//! returned as zeros.
//!
//! Ids are dense: 0, 1, 2 ... in each table, given when a record is committed, and not used again. Only what a
//! crash took back (possible for the latest commits under DIAMOND_DURABILITY_OS and DIAMOND_DURABILITY_ASYNC, and
//! after DIAMOND_COMMIT_NO_WAIT) gives its ids back too, and those can be given again.
//!
//! Limits: 64 KiB a record, 1,024 fields a table, 65,536 tables a database. Linux, 64-bit, little-endian.
//!
//! A defect of the library stops at its border: the call returns PANIC. Its database then writes nothing more
//! (POISONED) and goes on answering reads; close it and open it again, which recovers it. Other databases go on.

// How this room is built: an export does three things, borrow, call, report, inside the closure that it hands to
// `guard`. What it borrows goes through `borrow`, the only code here that reads a caller's memory. No macro makes
// a function, since the header's generator would not see it. `tests/header.rs` makes the header of these files,
// in the order of the `mod` lines below: a file's `//!` lines head its section, and its `///` lines are the
// manual. So those speak C.
//
// Room 3 of the three that may hold unsafe code: the callers are C, and their promises are in the text above.
// SAFETY comments call it "the conventions".
#![allow(unsafe_code, non_camel_case_types)]

mod borrow;
mod guard;

mod status;

mod module;

mod database;

mod table;

mod batch;

mod cursor;

mod snapshot;

mod pin;

#[cfg(feature = "simulation")]
pub use guard::simulated::panic_at_border_point;
