//! Stores and caches for tests: such as users may have, and such as fail.

use std::collections::HashSet;
use std::sync::Arc;
#[cfg(not(shuttle))]
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

// The queue is held while the records behind it are called, where a scheduler may let others go on.
#[cfg(shuttle)]
use shuttle::sync::Mutex;

use diamonddb::modules::{
    Cache, CacheReply, Change, Fault, Fetched, Found, Habits, Item, Key, LruCache, MemoryStore, Stamp, Store, Value,
};

/// A store that queues: it finds only what was persisted, and may lose its queue.
#[derive(Default)]
pub struct Queueing {
    pub inner: Arc<MemoryStore>,
    tables: Arc<Mutex<HashSet<u32>>>,
    queue: Mutex<Vec<Owned>>,
    pub fetches: AtomicU64,
    pub persists: AtomicU64,
    /// The next persist fails, and the queue is gone.
    pub loses: AtomicBool,
    pub is_atomic: bool,
}

impl Queueing {
    pub fn new(is_atomic: bool) -> Queueing {
        Queueing { is_atomic, ..Queueing::default() }
    }

    /// Another one over the same records, with nothing in its queue.
    pub fn again(&self) -> Queueing {
        let (inner, tables) = (Arc::clone(&self.inner), Arc::clone(&self.tables));
        Queueing { inner, tables, is_atomic: self.is_atomic, ..Queueing::default() }
    }
}

/// A change that is kept.
pub struct Owned {
    pub key: Key,
    pub stamp: Stamp,
    pub value: Option<(Vec<u8>, Vec<u8>)>,
}

impl Owned {
    pub fn new(change: &Change<'_>) -> Owned {
        let value = change.value.map(|value| (value.record.to_vec(), value.nulls.to_vec()));
        Owned { key: change.key, stamp: change.stamp, value }
    }

    pub fn change(&self) -> Change<'_> {
        let value = self.value.as_ref().map(|(record, nulls)| Value { record, nulls });
        Change { key: self.key, stamp: self.stamp, value }
    }
}

impl Store for Queueing {
    fn name(&self) -> String {
        "queueing".into()
    }

    fn habits(&self) -> Habits {
        Habits { atomic: self.is_atomic, ..Habits::default() }
    }

    fn initialize(&self, found: &mut Found) -> Result<(), Fault> {
        self.inner.initialize(found)
    }

    fn make_table(&self, table: u32, meta: &str) -> Result<(), Fault> {
        self.inner.make_table(table, meta)?;
        self.tables.lock().unwrap().insert(table);
        Ok(())
    }

    fn update_meta(&self, tables: &str) -> Result<(), Fault> {
        self.inner.update_meta(tables)
    }

    fn store(&self, changes: &[Change<'_>], _items: &mut [Item]) -> Result<(), Fault> {
        let tables = self.tables.lock().unwrap();
        if let Some(change) = changes.iter().find(|change| !tables.contains(&change.key.table)) {
            return Err(Fault::Failed(format!("there is no table {}", change.key.table)));
        }
        self.queue.lock().unwrap().extend(changes.iter().map(Owned::new));
        Ok(())
    }

    fn fetch(&self, table: u32, ids: &[u64], found: &mut Fetched<'_>) -> Result<(), Fault> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.inner.fetch(table, ids, found)
    }

    fn persist_all(&self) -> Result<(), Fault> {
        // Whoever persists meanwhile waits until all is found.
        let mut queue = self.queue.lock().unwrap();
        let queued = std::mem::take(&mut *queue);
        if self.loses.swap(false, Ordering::SeqCst) {
            return Err(Fault::Failed("the queue is gone".into()));
        }
        self.persists.fetch_add(1, Ordering::SeqCst);
        queued.iter().try_for_each(|change| self.inner.store(&[change.change()], &mut [Item::Done]))
    }
}

/// A cache that drops nearly everything.
pub struct Forgetful(LruCache, AtomicU64);

impl Forgetful {
    pub fn new() -> Forgetful {
        Forgetful(LruCache::new(1 << 20), AtomicU64::new(0))
    }
}

impl Cache for Forgetful {
    fn name(&self) -> String {
        "forgetful".into()
    }

    fn habits(&self) -> Habits {
        Habits::default()
    }

    fn store(&self, change: &Change<'_>) -> Result<(), Fault> {
        if self.1.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) { self.0.store(change) } else { self.0.clear() }
    }

    fn fetch(&self, key: Key, reply: &mut CacheReply<'_>) -> Result<(), Fault> {
        self.0.fetch(key, reply)
    }

    fn clear(&self) -> Result<(), Fault> {
        self.0.clear()
    }
}
