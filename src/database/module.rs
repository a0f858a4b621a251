//! The native store as a module: a store like those of others, over a database of its own.
//!
//! A database that is to lie in files needs none of this: it is faster without. But what stands between a database and
//! a module can so be tried on the engine that is trusted most, and a store of somebody else's may keep a part of its
//! tables here.
//!
//! ```text
//! meta          | total | 4,000 bytes |       the meta-data in pieces; their size is in the first
//! 7             | version | seal | state | nulls | record |          table 7, the record as it is given
//! 7 rest        | bytes |                     what no longer fits into a record of ours
//! ```
//!
//! What always holds here:
//!
//! 1. Record `id` of a table is record `id` of ours: where ids are left out, records of the state `ABSENT` are saved.
//! 2. Both tables of one grow in one commit.
//! 3. Whoever fetches holds the table's lock, shared, and whoever stores holds it alone: so what is in two tables
//!    fits together.
//! 4. Nothing waits for a disk before `persist_all`. A table that the meta-data leave out goes after that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::memory;
use crate::modules::{Change, Fault, Fetched, Found, Habits, Item, Key, Stamp, Store, Value};
use crate::os::sync::{Mutex, RwLock};
use crate::table::{Record, RecordId, RecordMut, ScanRange, Schema};

use super::{Batch, CacheChoice, Database, Durability, OpenOptions, StoreChoice, Table};

/// A store over a database in a folder.
pub struct NativeStore {
    path: PathBuf,
    options: OpenOptions,
    opened: RwLock<Option<Opened>>,
}

struct Opened {
    tables: RwLock<BTreeMap<u32, Arc<Kept>>>,
    meta: Mutex<Meta>,
    database: Database,
}

struct Meta {
    table: Table,
    newest: Option<String>,
    /// Tables that it left out, and that are still there.
    dropped: BTreeSet<u32>,
}

/// What is read of the meta-data.
#[derive(Deserialize)]
struct MetaNumbers {
    tables: Vec<MetaNumber>,
}

#[derive(Deserialize)]
struct MetaNumber {
    table: u32,
}

/// What is read of a table's.
#[derive(Deserialize)]
struct Sizes {
    record_size: usize,
    nulls_size: usize,
}

/// A table.
struct Kept {
    table: Table,
    rest: Option<Table>,
    nulls_size: usize,
    /// How much of a record is in `table`.
    head_size: usize,
    /// Rule 3.
    lock: RwLock<()>,
}

/// A record that is only there so that those behind it have their ids.
const ABSENT: u8 = 0;
const LIVE: u8 = 1;
const DELETED: u8 = 2;

/// Where the state lies, and where the nulls begin.
const STATE: usize = 16;
const NULLS: usize = 17;

/// The most of a record that lies in the first table: with what stands before it, and padding, 64 KiB.
const HEAD_MAX: usize = (64 << 10) - 256;

/// The bytes of the meta-data in one record.
const PIECE: usize = 4000;

/// How many ids in a row may be left out.
const ABSENT_MAX: u64 = 1 << 20;

/// What memory is for, in messages.
const RECORDS: &str = "the records of this call";

impl NativeStore {
    /// A store over the database in the folder `path`, which is opened by the first call and closed when the store is
    /// let go. Of the options, durability, store and cache do not count.
    pub fn new(path: impl AsRef<Path>, options: &OpenOptions) -> NativeStore {
        let options = OpenOptions {
            durability: Durability::Async,
            store: StoreChoice::Native,
            cache: CacheChoice::None,
            ..options.clone()
        };
        NativeStore { path: path.as_ref().to_owned(), options, opened: RwLock::new(None) }
    }

    fn with<T>(&self, act: impl FnOnce(&Opened) -> Result<T>) -> std::result::Result<T, Fault> {
        let opened = self.opened.read();
        let opened = opened.as_ref().ok_or_else(|| Fault::Failed("it was not initialized".to_owned()))?;
        act(opened).map_err(fault)
    }
}

impl Store for NativeStore {
    fn name(&self) -> String {
        "native".to_owned()
    }

    fn habits(&self) -> Habits {
        Habits { atomic: true, immediate: true, ..Habits::default() }
    }

    fn initialize(&self, found: &mut Found) -> std::result::Result<(), Fault> {
        let opened = Opened::open(&self.path, &self.options, found).map_err(fault)?;
        *self.opened.write() = Some(opened);
        Ok(())
    }

    fn make_table(&self, table: u32, meta: &str) -> std::result::Result<(), Fault> {
        self.with(|opened| opened.make_table(table, meta))
    }

    fn update_meta(&self, tables: &str) -> std::result::Result<(), Fault> {
        self.with(|opened| opened.update_meta(tables))
    }

    fn store(&self, changes: &[Change<'_>], _items: &mut [Item]) -> std::result::Result<(), Fault> {
        self.with(|opened| opened.store(changes))
    }

    fn fetch(&self, table: u32, ids: &[u64], found: &mut Fetched<'_>) -> std::result::Result<(), Fault> {
        self.with(|opened| opened.kept(table)?.fetch(ids, found))
    }

    fn persist_all(&self) -> std::result::Result<(), Fault> {
        self.with(Opened::persist_all)
    }
}

fn fault(error: Error) -> Fault {
    match error {
        Error::CommitUnknown(text) => Fault::Ambiguous(text.into_owned()),
        error => Fault::Failed(error.message().to_owned()),
    }
}

impl Opened {
    fn open(path: &Path, options: &OpenOptions, found: &mut Found) -> Result<Opened> {
        let database = Database::open(path, options)?;
        let schema = Schema::parse(&format!(r#"{{"total": ["u64"], "piece": ["bytes", {PIECE}]}}"#))?;
        let meta = match options.read_only {
            true => database.table("meta")?,
            false => database.make_table("meta", &schema)?,
        };
        let newest = read_meta(&meta)?;
        if let Some(newest) = &newest {
            found.meta(newest.as_bytes());
        }
        let mut tables = BTreeMap::new();
        for info in database.tables()? {
            let Ok(number) = info.name.parse() else { continue };
            // Rule 2; a crash between the makings of both leaves one, which has no records.
            let Some(kept) = Kept::open(&database, number)? else { continue };
            if let Some((id, version)) = kept.highest()? {
                found.stored(Key { table: number, id }, version);
            }
            tables.insert(number, Arc::new(kept));
        }
        let meta = Meta { table: meta, newest, dropped: BTreeSet::new() };
        Ok(Opened { tables: RwLock::new(tables), meta: Mutex::new(meta), database })
    }

    fn kept(&self, table: u32) -> Result<Arc<Kept>> {
        let no_table = || Error::NotFound(format!("there is no table {table}").into());
        self.tables.read().get(&table).cloned().ok_or_else(no_table)
    }

    fn make_table(&self, table: u32, meta: &str) -> Result<()> {
        let sizes: Sizes = serde_json::from_str(meta).map_err(|error| Error::Invalid(error.to_string().into()))?;
        self.tables.write().remove(&table);
        self.meta.lock().dropped.remove(&table);
        drop_both(&self.database, table)?;
        let kept = Kept::make(&self.database, table, &sizes)?;
        self.tables.write().insert(table, Arc::new(kept));
        Ok(())
    }

    fn update_meta(&self, tables: &str) -> Result<()> {
        let mut meta = self.meta.lock();
        if meta.newest.as_deref() == Some(tables) {
            return Ok(());
        }
        let mut batch = self.database.batch()?;
        let there = meta.table.next_id()?.0;
        for (id, piece) in (0..).zip(tables.as_bytes().chunks(PIECE)) {
            let mut record = memory::zeros(meta.table.layout().record_size, RECORDS)?;
            record[..8].copy_from_slice(&(tables.len() as u64).to_le_bytes());
            record[8..][..piece.len()].copy_from_slice(piece);
            match id < there {
                true => batch.replace(&meta.table, RecordId(id), plain(&record))?,
                false => batch.save(&meta.table, plain(&record))?,
            }
        }
        batch.commit(true)?;
        let (before, now) = (numbers(meta.newest.as_deref()), numbers(Some(tables)));
        meta.dropped.extend(before.difference(&now).copied());
        meta.dropped.retain(|table| !now.contains(table));
        meta.newest = Some(tables.to_owned());
        Ok(())
    }

    fn store(&self, changes: &[Change<'_>]) -> Result<()> {
        let mut sorted = memory::collect(changes.len(), changes.iter().copied(), RECORDS)?;
        sorted.sort_by_key(|change| change.key);
        let mut parts: Vec<(Arc<Kept>, &[Change<'_>])> = Vec::new();
        for changes in sorted.chunk_by(|one, other| one.key.table == other.key.table) {
            parts.push((self.kept(changes[0].key.table)?, changes));
        }
        // In the order of their numbers, as everybody takes them.
        let _locks: Vec<_> = parts.iter().map(|(kept, _)| kept.lock.write()).collect();
        let mut batch = self.database.batch()?;
        for (kept, changes) in &parts {
            kept.make_room(&self.database, changes)?;
            kept.add(&mut batch, changes)?;
        }
        batch.commit(true).map(|_| ())
    }

    fn persist_all(&self) -> Result<()> {
        let dropped = self.meta.lock().dropped.clone();
        self.database.flush()?;
        for table in dropped {
            // Rule 4. It may have come back meanwhile.
            let mut meta = self.meta.lock();
            if meta.dropped.remove(&table) {
                self.tables.write().remove(&table);
                drop_both(&self.database, table)?;
            }
        }
        Ok(())
    }
}

/// The numbers of all tables that the meta-data name.
fn numbers(meta: Option<&str>) -> BTreeSet<u32> {
    let read = meta.and_then(|meta| serde_json::from_str::<MetaNumbers>(meta).ok());
    read.map_or_else(BTreeSet::new, |meta| meta.tables.iter().map(|table| table.table).collect())
}

fn read_meta(table: &Table) -> Result<Option<String>> {
    let mut record = memory::zeros(table.layout().record_size, RECORDS)?;
    let (mut meta, mut total) = (Vec::new(), 0);
    for id in 0..table.next_id()?.0 {
        table.fetch(RecordId(id), RecordMut { bytes: &mut record, nulls: None })?;
        if id == 0 {
            total = number_at(&record, 0) as usize;
        }
        let piece = PIECE.min(total - meta.len());
        memory::reserve(&mut meta, piece, RECORDS)?;
        meta.extend_from_slice(&record[8..][..piece]);
    }
    match meta.is_empty() {
        true => Ok(None),
        false => String::from_utf8(meta).map(Some).map_err(|error| Error::corrupt("the meta-data", error)),
    }
}

/// What has no nulls of ours.
fn plain(bytes: &[u8]) -> Record<'_> {
    Record { bytes, nulls: None }
}

fn number_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn rest_name(number: u32) -> String {
    format!("{number} rest")
}

fn drop_both(database: &Database, number: u32) -> Result<()> {
    for name in [number.to_string(), rest_name(number)] {
        match database.drop_table(&name) {
            Ok(()) | Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Kept {
    fn make(database: &Database, number: u32, sizes: &Sizes) -> Result<Kept> {
        let Sizes { record_size, nulls_size } = *sizes;
        let head_size = record_size.min(HEAD_MAX);
        let rest = match record_size - head_size {
            0 => None,
            size => {
                let schema = Schema::parse(&format!(r#"{{"bytes": ["bytes", {size}]}}"#))?;
                Some(database.make_table(&rest_name(number), &schema)?)
            }
        };
        let schema = Schema::parse(&format!(
            r#"{{"version": ["u64"], "seal": ["u64"], "state": ["u8"],
                "nulls": ["bytes", {nulls_size}], "record": ["bytes", {head_size}]}}"#
        ))?;
        let table = database.make_table(&number.to_string(), &schema)?;
        Ok(Kept { table, rest, nulls_size, head_size, lock: RwLock::new(()) })
    }

    fn open(database: &Database, number: u32) -> Result<Option<Kept>> {
        let table = database.table(&number.to_string())?;
        let sizes: Vec<usize> = table.layout().fields.iter().map(|field| field.size).collect();
        let [8, 8, 1, nulls_size, head_size] = sizes[..] else { return Ok(None) };
        let rest = match database.table(&rest_name(number)) {
            Err(Error::NotFound(_)) => None,
            rest => Some(rest?),
        };
        Ok(Some(Kept { table, rest, nulls_size, head_size, lock: RwLock::new(()) }))
    }

    /// The highest id and version that were ever stored.
    fn highest(&self) -> Result<Option<(u64, u64)>> {
        let mut highest: Option<(u64, u64)> = None;
        let mut record = memory::zeros(self.table.layout().record_size, RECORDS)?;
        let mut scan = self.table.scan(ScanRange::default())?;
        while let Some(id) = scan.next(RecordMut { bytes: &mut record, nulls: None })? {
            if record[STATE] != ABSENT {
                let (_, version) = highest.unwrap_or_default();
                highest = Some((id.0, version.max(number_at(&record, 0))));
            }
        }
        Ok(highest)
    }

    /// Rule 1: unless the new ones follow each other and all that is there, all up to the last are made, absent.
    fn make_room(&self, database: &Database, changes: &[Change<'_>]) -> Result<()> {
        let next = self.table.next_id()?.0;
        let last = changes.last().map_or(0, |change| change.key.id);
        let new = changes.iter().map(|change| change.key.id).filter(|id| *id >= next);
        if last < next || new.eq(next..=last) {
            return Ok(());
        }
        if last - next > ABSENT_MAX {
            let text = format!("record {last} is too far behind the last one, {next} in all; ids are to be dense");
            return Err(Error::TooLarge(text.into()));
        }
        let record = memory::zeros(self.table.layout().record_size, RECORDS)?;
        let rest = memory::zeros(self.rest.as_ref().map_or(0, |rest| rest.layout().record_size), RECORDS)?;
        let at_once = ((1 << 20) / (record.len() + rest.len())).max(1);
        let mut batch = database.batch()?;
        for id in next..=last {
            batch.save(&self.table, plain(&record))?;
            if let Some(table) = &self.rest {
                batch.save(table, plain(&rest))?;
            }
            if (id + 1 - next).is_multiple_of(at_once as u64) {
                batch.commit(true)?;
            }
        }
        batch.commit(true).map(|_| ())
    }

    fn add(&self, batch: &mut Batch, changes: &[Change<'_>]) -> Result<()> {
        let next = self.table.next_id()?.0;
        for change in changes {
            let id = change.key.id;
            let mut record = memory::zeros(self.table.layout().record_size, RECORDS)?;
            let mut rest = memory::zeros(self.rest.as_ref().map_or(0, |rest| rest.layout().record_size), RECORDS)?;
            record[..8].copy_from_slice(&change.stamp.version.to_le_bytes());
            record[8..16].copy_from_slice(&change.stamp.seal.to_le_bytes());
            record[STATE] = DELETED;
            if let Some(value) = change.value {
                if value.record.len() != self.head_size + rest.len() || value.nulls.len() != self.nulls_size {
                    let text = format!("record {id} of table {} has another size than the table's", change.key.table);
                    return Err(Error::Invalid(text.into()));
                }
                record[STATE] = LIVE;
                record[NULLS..][..self.nulls_size].copy_from_slice(value.nulls);
                let (first, second) = value.record.split_at(self.head_size);
                record[NULLS + self.nulls_size..][..self.head_size].copy_from_slice(first);
                rest.copy_from_slice(second);
            }
            for (table, bytes) in [(Some(&self.table), &record), (self.rest.as_ref(), &rest)] {
                let Some(table) = table else { continue };
                match id < next {
                    true => batch.replace(table, RecordId(id), plain(bytes))?,
                    false => batch.save(table, plain(bytes))?,
                }
            }
        }
        Ok(())
    }

    fn fetch(&self, ids: &[u64], found: &mut Fetched<'_>) -> Result<()> {
        let mut record = memory::zeros(self.table.layout().record_size, RECORDS)?;
        let rest_size = self.rest.as_ref().map_or(0, |rest| rest.layout().record_size);
        let mut whole = memory::zeros(self.head_size + rest_size, RECORDS)?;
        let _lock = self.lock.read();
        let next = self.table.next_id()?.0;
        for (index, id) in ids.iter().enumerate().filter(|(_, id)| **id < next) {
            self.table.fetch(RecordId(*id), RecordMut { bytes: &mut record, nulls: None })?;
            if record[STATE] != LIVE {
                continue;
            }
            let stamp = Stamp { version: number_at(&record, 0), seal: number_at(&record, 8) };
            let (nulls, value) = record[NULLS..].split_at(self.nulls_size);
            let (first, second) = whole.split_at_mut(self.head_size);
            first.copy_from_slice(&value[..self.head_size]);
            if let Some(rest) = &self.rest {
                rest.fetch(RecordId(*id), RecordMut { bytes: second, nulls: None })?;
            }
            found.put(index, stamp, Value { record: &whole, nulls });
        }
        Ok(())
    }
}
