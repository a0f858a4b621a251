//! A database over a store of somebody else's: it gives ids and versions, compares expectations, and sees to it that
//! what was acknowledged is found and becomes durable.
//!
//! ```text
//! commit    turns of the records that are there -> are they as expected? -> ids, versions, stamps
//!           -> the store -> the queue, unless the store finds at once -> the cache -> turns end -> wait as promised
//! fetch     the queue -> the cache -> one fetch of the store for all who ask -> does it fit its stamp? -> the cache
//! persist   what a failed persist may have lost is stored again -> meta-data -> persist_all -> the queue forgets
//! ```
//!
//! A commit's LSN is its place in the order in which the store accepted commits. `sync` waits for a persist, which one
//! thread does for all who wait; `os` for the store's acceptance; `async` as well, and a persist follows on the
//! interval. A persist that fails there is told to the next who writes, and nothing is lost: the queue stores it again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::memory;
use crate::os::sync::{AtomicBool, AtomicI64, AtomicU64, JoinHandle, Mutex, Ordering, RwLock};
use crate::table::{RecordId, ScanRange, Schema, TableForm};
use crate::wal::Durability;

use super::front::{Front, Loaded};
use super::persist::{Persisting, Stop};
use super::queue::{Known, Queue};
use super::scan::KeptScan;
use super::seat::{Seat, refuse_inside};
use super::{Cache, Fault, Fetched, Found, Item, Key, Stamp, Store, Value};

/// How a database over a store works.
#[derive(Clone, Debug)]
pub(crate) struct ControllerOptions {
    pub durability: Durability,
    pub interval: Duration,
    pub read_only: bool,
    pub must_exist: bool,
    pub no_threads: bool,
    /// Bytes in the queue at which whoever writes persists first.
    pub queue_max: u64,
    /// Bytes of records that a commit has at most.
    pub commit_max: u64,
}

/// A database over a store.
pub(crate) struct Controller {
    pub(super) store: Seat<Arc<dyn Store>>,
    pub(super) front: Front,
    pub(super) queue: Queue,
    pub options: ControllerOptions,
    /// Whoever makes, drops or renames a table holds it, and whoever persists: what is persisted names no table that
    /// is half made, and leaves out none that is half dropped.
    pub(super) naming: Mutex<()>,
    pub(super) tables: RwLock<BTreeMap<Arc<str>, Arc<KeptTable>>>,
    pub(super) next_table: AtomicU64,
    pub(super) version: AtomicU64,
    /// The last commit that the store accepted.
    pub(super) accepted: AtomicU64,
    pub(super) persisting: Persisting,
    pub(super) upkeep: Mutex<Option<JoinHandle<()>>>,
    pub(super) bell: Arc<Stop>,
    pub(super) figures: Figures,
    /// Why nothing is written any more.
    pub(super) poisoned: Mutex<Option<String>>,
}

#[derive(Default)]
pub(super) struct Figures {
    pub(super) commits: AtomicU64,
    pub(super) store_failures: AtomicU64,
    pub(super) persists: AtomicU64,
    pub(super) persist_failures: AtomicU64,
    pub(super) last_failure: Mutex<Option<String>>,
}

/// A table over a store.
pub(crate) struct KeptTable {
    pub number: u32,
    pub form: Arc<TableForm>,
    pub(super) next: AtomicU64,
    pub(super) dropped: AtomicBool,
    /// Records that are there, once they were counted; commits change it.
    pub(super) count: AtomicI64,
    pub(super) counted: AtomicBool,
    /// Nobody knows what became of a commit, and a store that queues may not show it yet.
    pub(super) doubtful: AtomicBool,
    /// Held by whoever counts, and shared by commits, which take those of many tables in the order of their numbers.
    pub(super) counting: RwLock<()>,
}

/// What the meta-data says of all tables.
#[derive(Serialize, Deserialize)]
struct Meta {
    format: u32,
    next_table: u64,
    version: u64,
    tables: Vec<TableMeta>,
}

#[derive(Serialize, Deserialize)]
struct TableMeta {
    table: u32,
    name: String,
    next_id: u64,
    record_size: usize,
    nulls_size: usize,
    schema: serde_json::Value,
}

/// The form of the meta-data.
const META_FORMAT: u32 = 1;

/// How many records a verification fetches at once.
const BATCH: usize = 256;

/// What memory of a fetch is for, in messages.
const FETCH: &str = "fetched records";

impl Controller {
    /// Asks the store what is there.
    pub fn open(
        store: Arc<dyn Store>,
        cache: Option<Arc<dyn Cache>>,
        options: ControllerOptions,
    ) -> Result<Arc<Controller>> {
        let bell: Arc<Stop> = Arc::default();
        // As good as any number: no two databases that are open have the same.
        let database = Arc::as_ptr(&bell) as usize;
        let (name, habits) = (format!("the store {}", store.name()), store.habits());
        let store = Seat::new(store, name, habits, database);
        let mut found = Found::default();
        let answer = store.call(|store| store.initialize(&mut found))?;
        answer.map_err(|fault| failed(store.name(), "initialize", &fault))?;
        let controller = Controller {
            front: Front::new(cache, database)?,
            queue: Queue::new()?,
            naming: Mutex::new(()),
            tables: RwLock::default(),
            next_table: AtomicU64::new(1),
            version: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            persisting: Persisting::default(),
            upkeep: Mutex::new(None),
            bell,
            figures: Figures::default(),
            poisoned: Mutex::new(None),
            store,
            options,
        };
        controller.take_over(found)?;
        let controller = Arc::new(controller);
        if controller.has_thread() {
            controller.start()?;
        }
        Ok(controller)
    }

    /// The tables that the store has, with ids and versions above all that it ever had.
    fn take_over(&self, found: Found) -> Result<()> {
        let Some(meta) = &found.meta else {
            if let Some(table) = found.stored.keys().next() {
                let what = format!("it has records of table {table}, and no meta-data that names a table");
                return Err(self.broken("initialize", &what));
            }
            if self.options.must_exist || self.options.read_only {
                return Err(Error::NotFound(format!("{} holds no database", self.store.name()).into()));
            }
            return Ok(());
        };
        let wrong =
            |what: &dyn std::fmt::Display| self.broken("initialize", &format!("its meta-data is wrong: {what}"));
        let meta: Meta = serde_json::from_slice(meta).map_err(|error| wrong(&error))?;
        if meta.format != META_FORMAT {
            let text = format!(
                "{} holds meta-data of form {}; this library knows {META_FORMAT}",
                self.store.name(),
                meta.format
            );
            return Err(Error::Format(text.into()));
        }
        let (mut next_table, mut version) = (meta.next_table, meta.version);
        let mut tables = self.tables.write();
        for table in meta.tables {
            let schema = Schema::parse(&table.schema.to_string()).map_err(|error| wrong(&error.message()))?;
            let layout = schema.layout();
            if (layout.record_size, layout.nulls_size) != (table.record_size, table.nulls_size) {
                return Err(wrong(&format_args!("the sizes of table {} do not go with its schema", table.name)));
            }
            let stored = found.stored.get(&table.table).copied();
            let next = stored.map_or(0, |(id, _)| id.saturating_add(1)).max(table.next_id);
            next_table = next_table.max(u64::from(table.table) + 1);
            let name: Arc<str> = Arc::from(table.name);
            let kept = KeptTable::new(table.table, Arc::clone(&name), schema, next);
            if tables.values().any(|other| other.number == table.table) || tables.contains_key(&name) {
                return Err(wrong(&format_args!("it names table {name} twice, or its number")));
            }
            tables.insert(name, Arc::new(kept));
        }
        version = found.stored.values().map(|(_, version)| *version).fold(version, u64::max);
        if next_table > u64::from(u32::MAX) || version > u64::MAX / 2 {
            return Err(wrong(&"its numbers are larger than any that were given"));
        }
        drop(tables);
        self.next_table.store(next_table, Ordering::SeqCst);
        self.version.store(version, Ordering::SeqCst);
        Ok(())
    }

    /// What messages call the store.
    pub fn store_name(&self) -> &str {
        self.store.name()
    }

    /// Refuses what a module asks of the database that is calling it.
    pub fn refuse_inside(&self) -> Result<()> {
        refuse_inside(Arc::as_ptr(&self.bell) as usize)
    }

    /// Refuses a thread on which a module cannot be called.
    pub fn refuse_elsewhere(&self) -> Result<()> {
        self.store.refuse_elsewhere().and_then(|()| self.front.refuse_elsewhere())
    }

    /// The table `name`.
    pub fn table(&self, name: &str) -> Option<Arc<KeptTable>> {
        self.tables.read().get(name).cloned()
    }

    /// All tables, by name.
    pub fn tables(&self) -> Result<Vec<Arc<KeptTable>>> {
        let tables = self.tables.read();
        memory::collect(tables.len(), tables.values().cloned(), "the list of all tables")
    }

    /// The table `name`, made if it is not there.
    pub fn make_table(&self, name: &str, schema: &Schema) -> Result<(Arc<KeptTable>, u64)> {
        self.admit_writer()?;
        let _naming = self.naming.lock();
        if let Some(table) = self.table(name) {
            table.form.expect_schema(schema)?;
            return Ok((table, self.last_lsn()));
        }
        TableForm::admit(self.tables.read().len())?;
        let number = u32::try_from(self.next_table.fetch_add(1, Ordering::SeqCst));
        let number = number.map_err(|_| Error::TooLarge("this database has made as many tables as it can".into()))?;
        let table = Arc::new(KeptTable::new(number, Arc::from(name), schema.clone(), 0));
        table.counted.store(true, Ordering::Release);
        let meta = serde_json::to_string(&table.meta()?).map_err(|error| Error::Invalid(error.to_string().into()))?;
        self.ask("make_table", |store| store.make_table(number, &meta))?;
        self.tables.write().insert(Arc::from(name), Arc::clone(&table));
        if let Err(error) = self.update_meta() {
            self.tables.write().remove(name);
            // Somebody may have it already.
            table.dropped.store(true, Ordering::SeqCst);
            return Err(error);
        }
        Ok((table, self.accept()))
    }

    /// Drops a table: the meta-data leave it out from now on.
    pub fn drop_table(&self, name: &str, missing: impl FnOnce() -> Error) -> Result<()> {
        self.admit_writer()?;
        let lsn = {
            let _naming = self.naming.lock();
            let table = self.tables.write().remove(name).ok_or_else(missing)?;
            if let Err(error) = self.update_meta() {
                self.tables.write().insert(Arc::from(name), table);
                return Err(error);
            }
            table.dropped.store(true, Ordering::SeqCst);
            self.accept()
        };
        self.wait_as_promised(lsn)
    }

    /// Gives a table another name, which must be free.
    pub fn rename_table(&self, from: &str, to: &str, missing: impl FnOnce() -> Error) -> Result<()> {
        self.admit_writer()?;
        let lsn = {
            let _naming = self.naming.lock();
            let table = self.table(from).ok_or_else(missing)?;
            if from == to {
                return Ok(());
            }
            let rename = |from: &str, to: &str| {
                let mut tables = self.tables.write();
                tables.remove(from);
                table.form.set_name(to);
                tables.insert(Arc::from(to), Arc::clone(&table));
            };
            if self.tables.read().contains_key(to) {
                return Err(table.form.name_taken(to));
            }
            rename(from, to);
            if let Err(error) = self.update_meta() {
                rename(to, from);
                return Err(error);
            }
            self.accept()
        };
        self.wait_as_promised(lsn)
    }

    /// Copies a record into a slot.
    pub fn fetch(&self, table: &Arc<KeptTable>, id: RecordId, slot: &mut [u8]) -> Result<()> {
        self.refuse_inside()?;
        table.check(id)?;
        let key = table.key(id);
        match self.queue.fetch(key, &table.form, slot) {
            Known::Copied => Ok(()),
            Known::Deleted => Err(table.form.deleted(id)),
            Known::Nothing => {
                let load = || {
                    let mut loaded = self.load_newest(table, &[id.0])?;
                    loaded.pop().expect("one was asked for")
                };
                self.front.fetch(key, &table.form, slot, || self.store.refuse_elsewhere(), load)
            }
        }
    }

    /// Copies records into slots, and says of each how that went.
    pub fn fetch_many(&self, table: &Arc<KeptTable>, ids: &[RecordId], slots: &mut [u8]) -> Result<Vec<Result<()>>> {
        self.refuse_inside()?;
        let size = table.form.layout().slot_size;
        let mut results = memory::collect(ids.len(), ids.iter().map(|id| table.check(*id)), FETCH)?;
        let mut asked = Vec::new();
        memory::reserve(&mut asked, ids.len(), FETCH)?;
        for (index, id) in ids.iter().enumerate().filter(|(index, _)| results[*index].is_ok()).collect::<Vec<_>>() {
            match self.queue.fetch(table.key(*id), &table.form, &mut slots[index * size..][..size]) {
                Known::Copied => {}
                Known::Deleted => results[index] = Err(table.form.deleted(*id)),
                Known::Nothing => asked.push(index),
            }
        }
        if asked.is_empty() {
            return Ok(results);
        }
        let keys = memory::collect(asked.len(), asked.iter().map(|index| table.key(ids[*index])), FETCH)?;
        let mut found = memory::zeros(asked.len() * size, FETCH)?;
        let load = |keys: &[Key]| {
            let ids = memory::collect(keys.len(), keys.iter().map(|key| key.id), FETCH)?;
            self.load_newest(table, &ids)
        };
        let may_load = || self.store.refuse_elsewhere();
        let fetched = self.front.fetch_many(&keys, &table.form, &mut found, may_load, load)?;
        for ((index, result), slot) in asked.into_iter().zip(fetched).zip(found.chunks_exact(size)) {
            slots[index * size..][..size].copy_from_slice(slot);
            results[index] = result;
        }
        Ok(results)
    }

    /// The same past the cache, which a scan is not to fill.
    pub fn read_many(&self, table: &KeptTable, ids: &[RecordId], slots: &mut [u8]) -> Result<Vec<Result<()>>> {
        self.refuse_inside()?;
        let wanted = memory::collect(ids.len(), ids.iter().map(|id| id.0), FETCH)?;
        let loaded = self.load_newest(table, &wanted)?.into_iter();
        let slots = slots.chunks_exact_mut(table.form.layout().slot_size);
        let restore = |(loaded, slot): (Result<Loaded>, &mut [u8])| {
            loaded.map(|loaded| table.form.restore(&loaded.record, &loaded.nulls, slot))
        };
        memory::collect(ids.len(), loaded.zip(slots).map(restore), FETCH)
    }

    /// Records for all who want them: what is queued by now is newer than what the store finds.
    fn load_newest(&self, table: &KeptTable, ids: &[u64]) -> Result<Vec<Result<Loaded>>> {
        let mut queued = memory::collect(ids.len(), ids.iter().map(|_| None), FETCH)?;
        for (id, queued) in ids.iter().zip(&mut queued) {
            *queued = self.queue.get(table.key(RecordId(*id)))?;
        }
        let is_asked = |(_, queued): &(&u64, &Option<_>)| queued.is_none();
        let asked = ids.iter().zip(&queued).filter(is_asked).map(|(id, _)| *id);
        let asked = memory::collect(ids.len(), asked, FETCH)?;
        let mut stored = if asked.is_empty() { Vec::new() } else { self.load(table, &asked)? }.into_iter();
        let newest = ids.iter().zip(queued).map(|(id, queued)| match queued {
            None => stored.next().expect("the store was asked for it"),
            Some(queued) => queued.loaded().ok_or_else(|| table.form.deleted(RecordId(*id))),
        });
        memory::collect(ids.len(), newest, FETCH)
    }

    /// Records as the store has them, in the order of the ids. Nobody else is asked.
    pub(super) fn load(&self, table: &KeptTable, ids: &[u64]) -> Result<Vec<Result<Loaded>>> {
        let layout = table.form.layout();
        let (record_size, nulls_size) = (layout.record_size, layout.nulls_size);
        let size = record_size + nulls_size;
        let mut bytes = memory::zeros(ids.len() * size, FETCH)?;
        let mut stamps = memory::collect(ids.len(), ids.iter().map(|_| Stamp::default()), FETCH)?;
        let mut items = memory::collect(ids.len(), ids.iter().map(|_| Item::Missing), FETCH)?;
        let mut found = Fetched {
            record_size,
            nulls_size,
            bytes: &mut bytes,
            stamps: &mut stamps,
            items: &mut items,
            refusal: None,
            reason: None,
        };
        let answer = self.store.call(|store| store.fetch(table.number, ids, &mut found))?;
        let (refusal, reason) = (found.refusal.take(), found.reason.take());
        let name = table.form.name();
        let act = || format!("fetch from table {name}");
        if let Err(fault) = answer {
            return Err(self.count_failure(failed(self.store.name(), &act(), &fault)));
        }
        if let Some(what) = refusal {
            return Err(self.count_failure(self.broken(&act(), &what)));
        }
        let one = |index: usize| {
            let (id, bytes) = (ids[index], &bytes[index * size..][..size]);
            let (record, nulls) = bytes.split_at(record_size);
            let key = Key { table: table.number, id };
            match items[index] {
                Item::Missing => Err(table.form.deleted(RecordId(id))),
                Item::Done if !stamps[index].fits(key, Value { record, nulls }) => {
                    let text = format!(
                        "record {id} of table {name} does not fit its stamp: {} gave other bytes than it was given",
                        self.store.name()
                    );
                    Err(self.count_failure(Error::Corrupt(text.into())))
                }
                Item::Done => Ok(Loaded { stamp: stamps[index], record: record.to_vec(), nulls: nulls.to_vec() }),
                Item::Failed | Item::Ambiguous => {
                    let why = reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
                    let text = format!("{} could not fetch record {id} of table {name}{why}", self.store.name());
                    Err(self.count_failure(Error::Module(text.into())))
                }
            }
        };
        memory::collect(ids.len(), (0..ids.len()).map(one), FETCH)
    }

    /// How many records of a table are there. Counts them where that was not done since the opening.
    pub fn count(self: &Arc<Self>, table: &Arc<KeptTable>) -> Result<u64> {
        self.refuse_inside()?;
        if !table.counted.load(Ordering::Acquire) {
            self.store.refuse_elsewhere()?;
            let _counting = table.counting.write();
            if !table.counted.load(Ordering::Acquire) {
                let mut scan = KeptScan::new(self, table, ScanRange::default())?;
                let mut count = 0;
                while scan.next_slot()?.is_some() {
                    count += 1;
                }
                table.count.store(count, Ordering::Release);
                table.counted.store(true, Ordering::Release);
            }
        }
        Ok(table.count.load(Ordering::Acquire).max(0) as u64)
    }

    /// The last commit that the store accepted.
    pub fn last_lsn(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Persists, and lets the modules go.
    pub fn shut_down(&self) -> Result<()> {
        self.refuse_inside()?;
        *self.bell.stop.lock() = true;
        self.bell.rung.notify_all();
        if let Some(thread) = self.upkeep.lock().take() {
            let _ = thread.join();
        }
        let flushed = self.flush();
        self.store.close();
        self.front.close();
        flushed
    }

    /// Figures as JSON.
    pub fn stats(&self) -> serde_json::Value {
        let figure = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Figures { commits, store_failures, persists, persist_failures, last_failure } = &self.figures;
        let mut stats = serde_json::json!({
            "store": self.store.name(),
            "tables": self.tables.read().len(),
            "commits": figure(commits),
            "store_failures": figure(store_failures),
            "persists": figure(persists),
            "persist_failures": figure(persist_failures),
            "last_persist_failure": *last_failure.lock(),
            "unpersisted_commits": self.last_lsn() - figure(&self.persisting.through).min(self.last_lsn()),
            "queued_bytes": self.queue.bytes(),
        });
        if let Some(figures) = self.front.figures() {
            stats["cache"] = figures.json();
        }
        stats
    }

    /// Reads every record, and tells of each that is wrong.
    pub fn verify(self: &Arc<Self>, mut tell: impl FnMut(&str, Option<Error>) -> Result<()>) -> Result<()> {
        for table in self.tables()? {
            let name = format!("table {}", table.form.name());
            let next = table.next.load(Ordering::SeqCst);
            let mut slots = memory::zeros(BATCH * table.form.layout().slot_size, "the records that are verified")?;
            for first in (0..next).step_by(BATCH) {
                let ids: Vec<RecordId> = (first..next.min(first + BATCH as u64)).map(RecordId).collect();
                for result in self.read_many(&table, &ids, &mut slots)? {
                    match result {
                        Ok(()) => tell(&name, None)?,
                        Err(Error::NotFound(_)) => {}
                        Err(error) => tell(&name, Some(error))?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends all writing, after a defect that may have left something half done.
    pub fn poison(&self, why: &str) {
        self.poisoned.lock().get_or_insert_with(|| why.to_owned());
    }

    /// What every writer must pass. A persist of the interval's that failed is told to the first who comes.
    pub(super) fn admit_writer(&self) -> Result<()> {
        self.refuse_inside()?;
        // Before it waits for anyone: who is in the store may wait for this thread.
        self.store.refuse_elsewhere()?;
        if self.options.read_only {
            return Err(Error::Unsupported("the database was opened read-only; open it for writing".into()));
        }
        if let Some(why) = &*self.poisoned.lock() {
            let text = format!("nothing more is written until the database is opened again, because {why}");
            return Err(Error::Poisoned(text.into()));
        }
        match self.persisting.untold.lock().take() {
            None => Ok(()),
            Some(error) => {
                let text = format!("nothing was written, and an earlier persist failed: {}", error.message());
                Err(Error::Module(text.into()))
            }
        }
    }

    /// A change was accepted: its place among all.
    pub(super) fn accept(&self) -> u64 {
        self.accepted.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn update_meta(&self) -> Result<()> {
        let mut tables = Vec::new();
        for table in self.tables()? {
            tables.push(table.meta()?);
        }
        let (next_table, version) = (self.next_table.load(Ordering::SeqCst), self.version.load(Ordering::SeqCst));
        let meta = Meta { format: META_FORMAT, next_table, version, tables };
        let meta = serde_json::to_string(&meta).map_err(|error| Error::Invalid(error.to_string().into()))?;
        self.ask("update_meta", |store| store.update_meta(&meta))
    }

    pub(super) fn ask(
        &self,
        act: &str,
        call: impl FnOnce(&Arc<dyn Store>) -> std::result::Result<(), Fault>,
    ) -> Result<()> {
        self.store.call(call)?.map_err(|fault| self.count_failure(failed(self.store.name(), act, &fault)))
    }

    pub(super) fn count_failure(&self, error: Error) -> Error {
        self.figures.store_failures.fetch_add(1, Ordering::Relaxed);
        error
    }

    pub(super) fn broken(&self, act: &str, what: &str) -> Error {
        Error::Module(format!("{} breaks its contract in {act}: {what}", self.store.name()).into())
    }
}

pub(super) fn failed(name: &str, act: &str, fault: &Fault) -> Error {
    Error::Module(format!("{name} failed in {act}: {fault}").into())
}

impl KeptTable {
    fn new(number: u32, name: Arc<str>, schema: Schema, next: u64) -> KeptTable {
        KeptTable {
            number,
            form: Arc::new(TableForm::new(name, schema)),
            next: AtomicU64::new(next),
            dropped: AtomicBool::new(false),
            count: AtomicI64::new(0),
            counted: AtomicBool::new(false),
            doubtful: AtomicBool::new(false),
            counting: RwLock::new(()),
        }
    }

    pub(super) fn key(&self, id: RecordId) -> Key {
        Key { table: self.number, id: id.0 }
    }

    /// True once it was dropped.
    pub fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// The id that the next save gets.
    pub fn next_id(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Refuses an id that was never given.
    pub fn check(&self, id: RecordId) -> Result<()> {
        let next = self.next_id();
        if self.is_dropped() {
            Err(self.form.dropped())
        } else if id.0 < next {
            Ok(())
        } else {
            Err(self.form.out_of_range(id, next))
        }
    }

    /// Nobody knows what became of a commit: its records are counted again.
    pub(super) fn doubt(&self) {
        self.counted.store(false, Ordering::Release);
        self.doubtful.store(true, Ordering::Release);
    }

    fn meta(&self) -> Result<TableMeta> {
        let layout = self.form.layout();
        let schema = serde_json::from_str(&self.form.schema().to_json());
        Ok(TableMeta {
            table: self.number,
            name: self.form.name().to_string(),
            next_id: self.next_id(),
            record_size: layout.record_size,
            nulls_size: layout.nulls_size,
            schema: schema.map_err(|error| Error::Invalid(error.to_string().into()))?,
        })
    }
}
