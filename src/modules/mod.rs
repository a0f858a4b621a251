//! The two exchangeable parts of a database: where its records lie (a [`Store`]), and what remembers some of them
//! nearer by (a [`Cache`]).
//!
//! The database is the controller, as in DiamondDB's first version, and speaks the same protocol:
//!
//! | then | here |
//! |---|---|
//! | `INITIALIZE_PERSISTANCE` | [`Store::initialize`] |
//! | `MAKE_TABLE {tableData}` | [`Store::make_table`] |
//! | `UPDATE_META {tables}` | [`Store::update_meta`] |
//! | `STORE_RECORD {table, record, id}` | [`Store::store`], many at once, deletes among them; [`Cache::store`] |
//! | `FETCH_RECORD {table, id}` | [`Store::fetch`], many at once; [`Cache::fetch`] |
//! | `PERSIST_ALL` | [`Store::persist_all`] |
//! | `SUCCESS`, `FAILURE` | `Ok`, [`Fault::Failed`]; and [`Fault::Ambiguous`], which may have been done |
//!
//! A table has a number, which is never given again; its name is in its meta-data only. Every stored record bears a
//! [`Stamp`], which travels with it everywhere.
//!
//! ```text
//! controller.rs    a database over a store of somebody else's: its tables, and fetching
//! commit.rs        ids, versions, expectations, and what the store made of them
//! persist.rs       how what was accepted becomes durable
//! scan.rs          a scan fetches by ranges of ids
//! front.rs         what stands before a store: the cache, one fetch for many callers, writers of one record in turn
//! queue.rs         what a store has accepted and perhaps only queued
//! seat.rs          how a module is called: by which thread, how many at once, and not by itself
//! memory.rs  lru.rs  the built-in ones; the native store is the floors below
//! check.rs  check/  whether a module keeps its contract
//! ```

mod cache;
mod check;
mod commit;
mod controller;
mod front;
mod lru;
mod memory;
mod persist;
mod queue;
mod scan;
mod seat;
mod store;

use std::fmt;

pub use cache::{Cache, CacheFigures, CacheReply};
pub use check::{CheckedPromise, check_cache, check_store, promises};
pub use lru::LruCache;
pub use memory::MemoryStore;
pub use store::{Fetched, Found, Store};

pub(crate) use commit::{Step, What};
pub(crate) use controller::{Controller, ControllerOptions, KeptTable};
pub(crate) use front::{Front, Loaded};
pub(crate) use scan::KeptScan;
pub(crate) use seat::refuse_inside;

use crate::format::checksum::seal;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table's number.
    pub table: u32,
    /// The record's id.
    pub id: u64,
}

impl Key {
    /// Which of two to the power of `bits` lists it belongs in, so that threads with different records seldom meet.
    fn list(self, bits: u32) -> usize {
        let spread = (u64::from(self.table) << 32 ^ self.id).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (spread >> (64 - bits)) as usize
    }
}

/// What goes with a record wherever it goes, and comes back as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Grows with every change of the record.
    pub version: u64,
    /// The database's own: it tells a record from whatever else comes back.
    pub seal: u64,
}

impl Stamp {
    /// The stamp of a record that gets this version.
    pub(crate) fn new(key: Key, version: u64, value: Value<'_>) -> Stamp {
        Stamp { version, seal: seal([key.table.into(), key.id, version], value.record, value.nulls) }
    }

    /// True if this is what was once stamped so.
    pub(crate) fn fits(self, key: Key, value: Value<'_>) -> bool {
        self == Stamp::new(key, self.version, value)
    }
}

/// A record's bytes: as many as the table's packed records have, and its null bitmap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// The packed record.
    pub record: &'a [u8],
    /// Bit `f % 8` of byte `f / 8` is set where field `f` is null.
    pub nulls: &'a [u8],
}

/// A record that is stored, or one that is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Where.
    pub key: Key,
    /// Of the change.
    pub stamp: Stamp,
    /// `None`: the record is deleted.
    pub value: Option<Value<'a>>,
}

/// How a module fails. The text goes to whoever called the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It was not done.
    Failed(String),
    /// It may have been done.
    Ambiguous(String),
}

impl Fault {
    /// What the module says.
    pub fn text(&self) -> &str {
        match self {
            Fault::Failed(text) | Fault::Ambiguous(text) => text,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What became of one item of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// Done, or found.
    Done,
    /// No such record.
    Missing,
    /// Not done.
    Failed,
    /// Perhaps done.
    Ambiguous,
}

/// How a module may be called, and what it can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    /// Only on the thread that opened the database. Then the database has no threads of its own.
    pub opening_thread: bool,
    /// One call at a time.
    pub one_at_a_time: bool,
    /// A store does all changes of a call or none. Without it the database refuses commits of more than one change.
    pub atomic: bool,
    /// A store finds what it has accepted at once. Without it the database remembers what was not persisted yet.
    pub immediate: bool,
}
