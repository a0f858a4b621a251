//! What a store is asked, and what it promises.

use super::{Change, Fault, Habits, Item, Key, Stamp, Value};

/// Where records lie.
///
/// A store promises, and [`super::check_store`] looks whether it does:
///
/// 1. It keeps what it is given: record, null bitmap and stamp, byte for byte, under the table's number and the id.
///    It copies what it keeps; the memory is the caller's.
/// 2. After `persist_all` everything that it accepted before is there for every later opening.
/// 3. `initialize` gives the meta-data of the last `update_meta` that was persisted, and tells of every table the
///    highest id and the highest version that were ever stored in it, deleted ones among them.
/// 4. A table that is made begins empty, whatever was under its number. A table that the meta-data leaves out was
///    dropped: its records may go once that is persisted.
/// 5. It never answers for one record with another, and a record that is not there is `Missing`, not an error.
/// 6. What it cannot do is a fault, or a failed item; where it does not know whether it was done, an ambiguous one.
///
/// The database calls it from any thread, many at once, as far as its [`Habits`] allow, and it must not call that
/// database. A panic is a failed call.
pub trait Store: Send + Sync {
    /// What messages call it.
    fn name(&self) -> String;

    /// How it may be called.
    fn habits(&self) -> Habits;

    /// The first call: says what is there.
    fn initialize(&self, found: &mut Found) -> Result<(), Fault>;

    /// A table begins. `meta` is what `update_meta` will say of it, a JSON object: `{"table": 1, "name": "people",
    /// "next_id": 0, "record_size": 40, "nulls_size": 1, "schema": {...}}`.
    fn make_table(&self, table: u32, meta: &str) -> Result<(), Fault>;

    /// What is to be known of all tables, after each was made, renamed or dropped, and before each `persist_all`: a
    /// JSON object. Only the newest counts.
    fn update_meta(&self, tables: &str) -> Result<(), Fault>;

    /// Keeps or queues some changes, of different records. `items` has a place for each, `Done` so far.
    fn store(&self, changes: &[Change<'_>], items: &mut [Item]) -> Result<(), Fault>;

    /// Copies records of one table to `found`, which has a place for each id.
    fn fetch(&self, table: u32, ids: &[u64], found: &mut Fetched<'_>) -> Result<(), Fault>;

    /// Makes everything durable that was accepted before.
    fn persist_all(&self) -> Result<(), Fault>;
}

/// What a store says that it has.
#[derive(Debug, Default)]
pub struct Found {
    pub(super) meta: Option<Vec<u8>>,
    /// By table: the highest id and the highest version.
    pub(super) stored: std::collections::BTreeMap<u32, (u64, u64)>,
}

impl Found {
    /// The meta-data that was persisted last. Not called by a store that has none.
    pub fn meta(&mut self, tables: &[u8]) {
        self.meta = Some(tables.to_vec());
    }

    /// A record with this id and version was once stored. Of each table the highest are enough, told at once or apart.
    pub fn stored(&mut self, key: Key, version: u64) {
        let (highest, newest) = self.stored.entry(key.table).or_default();
        *highest = key.id.max(*highest);
        *newest = version.max(*newest);
    }
}

/// Where fetched records go: slots of the table's form, or whatever takes them.
pub struct Fetched<'a> {
    pub(super) record_size: usize,
    pub(super) nulls_size: usize,
    /// So many bytes for each id: the record, then its null bitmap.
    pub(super) bytes: &'a mut [u8],
    pub(super) stamps: &'a mut [Stamp],
    pub(super) items: &'a mut [Item],
    /// What was wrong with an answer.
    pub(super) refusal: Option<String>,
    /// Why records cannot be told.
    pub(crate) reason: Option<String>,
}

impl Fetched<'_> {
    /// The record with the id at `index`. One that is never called for is missing. False: the answer is refused, and
    /// with it the whole call.
    pub fn put(&mut self, index: usize, stamp: Stamp, value: Value<'_>) -> bool {
        let (record, nulls) = (value.record.len(), value.nulls.len());
        let what = if index >= self.items.len() {
            format!("it answered for id number {index} of {}", self.items.len())
        } else if self.items[index] != Item::Missing {
            format!("it answered twice for id number {index}")
        } else if record != self.record_size || nulls != self.nulls_size {
            let (right, of) = (self.record_size, self.nulls_size);
            format!("it gave a record of {record} bytes and a null bitmap of {nulls}, and not of {right} and {of}")
        } else {
            let size = record + nulls;
            let place = &mut self.bytes[index * size..][..size];
            place[..record].copy_from_slice(value.record);
            place[record..].copy_from_slice(value.nulls);
            self.stamps[index] = stamp;
            self.items[index] = Item::Done;
            return true;
        };
        self.refusal.get_or_insert(what);
        false
    }

    /// True if the record with the id at `index` was put.
    pub fn is_there(&self, index: usize) -> bool {
        self.items.get(index) == Some(&Item::Done)
    }

    /// The record with the id at `index` cannot be told.
    pub fn fail(&mut self, index: usize) {
        if let Some(item) = self.items.get_mut(index) {
            *item = Item::Failed;
        }
    }
}
