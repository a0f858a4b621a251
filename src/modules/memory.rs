//! The built-in store that writes nothing to disk: what it has is gone with it.

use std::collections::{BTreeMap, HashMap};

use crate::memory;
use crate::os::sync::{Mutex, RwLock};

use super::{Change, Fault, Fetched, Found, Habits, Item, Key, Stamp, Store, Value};

/// Records in memory. Everything that is accepted is found at once, and batches are done wholly or not at all.
#[derive(Default)]
pub struct MemoryStore {
    tables: RwLock<BTreeMap<u32, Records>>,
    meta: Mutex<Option<String>>,
}

#[derive(Default)]
struct Records {
    by_id: HashMap<u64, Kept>,
    /// The highest id and version that were ever stored.
    highest: Option<(u64, u64)>,
}

/// A record: its bytes, then its null bitmap.
struct Kept {
    stamp: Stamp,
    bytes: Box<[u8]>,
    record_size: usize,
}

impl MemoryStore {
    /// An empty one.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }
}

impl Kept {
    fn new(change: &Change<'_>, value: Value<'_>) -> Result<Kept, Fault> {
        let Value { record, nulls } = value;
        let bytes = record.iter().chain(nulls).copied();
        let bytes = memory::collect(record.len() + nulls.len(), bytes, "a record").map_err(no_memory)?;
        Ok(Kept { stamp: change.stamp, bytes: bytes.into_boxed_slice(), record_size: record.len() })
    }
}

impl Store for MemoryStore {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn habits(&self) -> Habits {
        Habits { atomic: true, immediate: true, ..Habits::default() }
    }

    fn initialize(&self, found: &mut Found) -> Result<(), Fault> {
        if let Some(meta) = &*self.meta.lock() {
            found.meta(meta.as_bytes());
        }
        for (table, records) in &*self.tables.read() {
            if let Some((id, version)) = records.highest {
                found.stored(Key { table: *table, id }, version);
            }
        }
        Ok(())
    }

    fn make_table(&self, table: u32, _meta: &str) -> Result<(), Fault> {
        self.tables.write().insert(table, Records::default());
        Ok(())
    }

    fn update_meta(&self, tables: &str) -> Result<(), Fault> {
        *self.meta.lock() = Some(tables.to_owned());
        Ok(())
    }

    fn store(&self, changes: &[Change<'_>], _items: &mut [Item]) -> Result<(), Fault> {
        // What may be refused comes first: then nothing fails halfway.
        let mut kept = Vec::new();
        memory::reserve(&mut kept, changes.len(), "records").map_err(no_memory)?;
        for change in changes {
            kept.push(change.value.map(|value| Kept::new(change, value)).transpose()?);
        }
        let mut tables = self.tables.write();
        for change in changes {
            let records = tables.get_mut(&change.key.table).ok_or_else(|| no_table(change.key.table))?;
            records.by_id.try_reserve(changes.len()).map_err(|_| Fault::Failed("no memory for records".to_owned()))?;
        }
        for (change, kept) in changes.iter().zip(kept) {
            let records = tables.get_mut(&change.key.table).expect("it was there a moment ago");
            let (id, version) = records.highest.unwrap_or_default();
            records.highest = Some((id.max(change.key.id), version.max(change.stamp.version)));
            match kept {
                Some(kept) => records.by_id.insert(change.key.id, kept),
                None => records.by_id.remove(&change.key.id),
            };
        }
        Ok(())
    }

    fn fetch(&self, table: u32, ids: &[u64], found: &mut Fetched<'_>) -> Result<(), Fault> {
        let tables = self.tables.read();
        let records = tables.get(&table).ok_or_else(|| no_table(table))?;
        for (index, id) in ids.iter().enumerate() {
            if let Some(kept) = records.by_id.get(id) {
                let (record, nulls) = kept.bytes.split_at(kept.record_size);
                found.put(index, kept.stamp, Value { record, nulls });
            }
        }
        Ok(())
    }

    fn persist_all(&self) -> Result<(), Fault> {
        Ok(())
    }
}

fn no_table(table: u32) -> Fault {
    Fault::Failed(format!("there is no table {table}"))
}

fn no_memory(error: crate::error::Error) -> Fault {
    Fault::Failed(error.message().to_owned())
}
