//! Whether a module keeps its contract: the suite that runs over the built-in modules, and that users run over theirs.
//!
//! The suite calls a module as a database would, through its seat, and looks at what comes back. Each promise is a
//! sentence of [`promises`]; it is kept, or it is broken and the report says how. What a module does cannot end the
//! suite: errors, panics, answers that nobody asked for and answers of a wrong size break a promise and no more. Only a
//! call that never returns keeps it waiting.
//!
//! Each promise has tables of its own, so that a broken one does not take others with it.

mod cache;
mod store;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

pub use cache::check_cache;
pub use store::check_store;

use super::{Change, Habits, Key, Stamp, Value};

/// A promise, and whether a module keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedPromise {
    /// The promise, in a sentence: one of [`promises`].
    pub promise: &'static str,
    /// How it was broken; `None`: it was kept.
    pub broken: Option<String>,
}

/// The promises, each in a sentence.
pub mod promises {
    /// Of both.
    pub const NAMED: &str = "It says its name, and how it may be called.";

    /// Of a store.
    pub const EMPTY: &str = "A store that is empty says that it holds nothing.";
    /// Of a store.
    pub const FAITHFUL: &str = "What is stored is fetched byte for byte, with its null bitmap and its stamp.";
    /// Of a store.
    pub const MISSING: &str = "A record that was never stored is missing, which is no error.";
    /// Of a store.
    pub const DELETED: &str = "A record that was deleted is missing.";
    /// Of a store.
    pub const NEWEST: &str = "Of a record that was stored again the newest is fetched.";
    /// Of a store.
    pub const APART: &str = "The same id in two tables is two records.";
    /// Of a store.
    pub const IN_PLACE: &str = "Of many ids each is answered in its place, whatever their order, also twice.";
    /// Of a store.
    pub const ITSELF: &str = "Of many records each is itself.";
    /// Of a store.
    pub const COPIES: &str = "It copies what it is given.";
    /// Of a store that says that it is immediate.
    pub const AT_ONCE: &str = "What it accepted is found at once.";
    /// Of a store that does not.
    pub const IN_THE_END: &str = "What it accepted is found after persist_all at the latest.";
    /// Of a store.
    pub const BEGINS_EMPTY: &str = "A table that is made begins empty, though its number was in use.";
    /// Of a store.
    pub const OTHERS_STAY: &str = "When a table is dropped the others stay.";
    /// Of a store that says that it is atomic.
    pub const TOGETHER: &str = "All changes of one call are done, in several tables, deletes among them.";
    /// Of a store that says that it is atomic.
    pub const ALL_OR_NONE: &str = "A call of which one change cannot be done changes nothing.";
    /// Of a store.
    pub const REFUSES: &str = "A change in a table that is not there is refused.";
    /// Of a store.
    pub const THREADS: &str = "Calls from four threads lose and mix nothing.";
    /// Of a store, where it is opened again.
    pub const META: &str = "Opened again it has the newest meta-data that were persisted.";
    /// Of a store, where it is opened again.
    pub const SURVIVES: &str = "Opened again it has what was persisted, and goes on.";
    /// Of a store, where it is opened again.
    pub const HIGHEST: &str =
        "Opened again it tells of each table the highest id and version, deleted ones among them.";

    /// Of a cache.
    pub const HITS: &str = "A record that was just stored is found; a cache that never finds any is of no use.";
    /// Of a cache.
    pub const ANSWERS_TRULY: &str = "What it finds is byte for byte what it was told, with null bitmap and stamp.";
    /// Of a cache.
    pub const NEWER_REPLACES: &str = "A newer version of a record replaces an older one.";
    /// Of a cache.
    pub const OLDER_IS_IGNORED: &str = "An older version of a record does not replace a newer one.";
    /// Of a cache.
    pub const DELETED_IS_GONE: &str = "A record that was deleted is not found.";
    /// Of a cache.
    pub const CLEARS: &str = "After clear it has nothing, and goes on.";
    /// Of a cache.
    pub const CACHE_APART: &str = "It tells the records of two tables apart.";
    /// Of a cache.
    pub const NO_OTHER: &str = "It never answers for one record with another, however many there are.";
    /// Of a cache.
    pub const CACHE_COPIES: &str = "It copies what it is told.";
    /// Of a cache.
    pub const CACHE_THREADS: &str = "Calls from four threads mix nothing.";
}

/// How a promise is broken, if it is.
type Look = Result<(), String>;

/// The promises that were looked into.
#[derive(Default)]
struct Checks(Vec<CheckedPromise>);

impl Checks {
    fn note(&mut self, promise: &'static str, look: Look) {
        self.0.push(CheckedPromise { promise, broken: look.err() });
    }
}

/// A module's name and habits, which it is asked for before it has a seat.
fn introduced(
    checks: &mut Checks,
    name: impl FnOnce() -> String,
    habits: impl FnOnce() -> Habits,
) -> Option<(String, Habits)> {
    let told = catch_unwind(AssertUnwindSafe(|| (name(), habits())));
    let look = match &told {
        Err(_) => Err("it panicked".to_owned()),
        Ok((name, _)) if name.is_empty() => Err("its name is empty".to_owned()),
        Ok(_) => Ok(()),
    };
    checks.note(promises::NAMED, look);
    told.ok()
}

/// The form of a table's records: all fields are of the kind `bytes`, all but the last of one byte.
#[derive(Clone, Copy)]
struct Form {
    record_size: usize,
    field_count: usize,
}

impl Form {
    const fn new(record_size: usize, field_count: usize) -> Form {
        Form { record_size, field_count }
    }

    fn nulls_size(self) -> usize {
        self.field_count.div_ceil(8)
    }
}

/// From the smallest record to the largest, and bitmaps of 1 to 128 bytes.
const FORMS: [Form; 14] = [
    Form::new(1, 1),
    Form::new(2, 2),
    Form::new(3, 1),
    Form::new(7, 7),
    Form::new(8, 8),
    Form::new(9, 9),
    Form::new(64, 17),
    Form::new(1000, 1000),
    Form::new(1023, 1),
    Form::new(4096, 1024),
    Form::new(4097, 20),
    Form::new(40_000, 9),
    Form::new(65_535, 1),
    Form::new(65_536, 1024),
];

/// What most promises are looked into with.
const PLAIN: Form = Form::new(24, 5);

/// A record as it was given to a module.
#[derive(Clone, PartialEq, Eq)]
struct Sample {
    key: Key,
    stamp: Stamp,
    record: Vec<u8>,
    nulls: Vec<u8>,
}

impl Sample {
    /// A record whose bytes follow from its key and version: some zeros, some ones, most of them neither.
    fn new(key: Key, version: u64, form: Form) -> Sample {
        let mut state = (u64::from(key.table) << 40) ^ (key.id << 20) ^ version;
        let mut byte = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (mixed >> 56) as u8
        };
        let mut fill = |size: usize| match key.id % 8 {
            6 => vec![0; size],
            7 => vec![0xFF; size],
            _ => (0..size).map(|_| byte()).collect::<Vec<u8>>(),
        };
        let (record, mut nulls) = (fill(form.record_size), fill(form.nulls_size()));
        // No bit stands for a field that is not there.
        let spare = form.nulls_size() * 8 - form.field_count;
        if let Some(last) = nulls.last_mut() {
            *last &= 0xFF >> spare;
        }
        let stamp = Stamp::new(key, version, Value { record: &record, nulls: &nulls });
        Sample { key, stamp, record, nulls }
    }

    fn change(&self) -> Change<'_> {
        let value = Value { record: &self.record, nulls: &self.nulls };
        Change { key: self.key, stamp: self.stamp, value: Some(value) }
    }
}

/// The change that deletes a record.
fn deletion(key: Key, version: u64) -> Change<'static> {
    Change { key, stamp: Stamp { version, seal: 0 }, value: None }
}

/// Compares what was fetched with what was stored; `None`: it is not there.
fn compare(key: Key, found: Option<&Sample>, stored: Option<&Sample>) -> Look {
    let Key { table, id } = key;
    let what = match (found, stored) {
        (None, None) => return Ok(()),
        (None, Some(_)) => "is missing".to_owned(),
        (Some(found), None) => format!("is found, with version {}", found.stamp.version),
        (Some(found), Some(stored)) if found == stored => return Ok(()),
        (Some(found), Some(stored)) => {
            let (has, had) = (found.stamp.version, stored.stamp.version);
            if has != had {
                format!("has version {has}, not {had}")
            } else if found.record != stored.record {
                "has other bytes than were stored".to_owned()
            } else if found.nulls != stored.nulls {
                "has another null bitmap than was stored".to_owned()
            } else {
                "has another seal than was stored".to_owned()
            }
        }
    };
    Err(format!("record {id} of table {table} {what}"))
}

/// Does the same on four threads at once.
fn on_threads(act: impl Fn(u64) -> Look + Sync) -> Look {
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for number in 0..4 {
            let act = &act;
            match thread::Builder::new().spawn_scoped(scope, move || act(number)) {
                Ok(thread) => threads.push(thread),
                Err(error) => return Err(format!("not looked into: no thread can be started: {error}")),
            }
        }
        let ended = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("it panicked".to_owned())));
        // All are waited for.
        ended.fold(Ok(()), Result::and)
    })
}
