//! A store and a cache as plain maps, and how they break their contracts: each in one way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use diamonddb::modules::{Cache, CacheReply, Change, Fault, Fetched, Found, Habits, Item, Key, Store, Value};

use super::modules::Owned;

/// How a store breaks its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreBreak {
    NameMissing,
    Haunted,
    FlipsABit,
    KeepsOneByteOfNulls,
    ForgetsTheSeal,
    PanicsOverLargeRecords,
    GivesTooMuch,
    AnswersTwice,
    AnswersBeyond,
    SaysFailed,
    MissingIsAFault,
    KeepsDeleted,
    KeepsTheFirst,
    MixesTables,
    AnswersInItsOrder,
    AnswersEachIdOnce,
    CutsIds,
    FindsLate,
    NeverFindsTheLast,
    MakesNothingEmpty,
    DropsAll,
    DoesHalf,
    StopsHalfway,
    AcceptsAnything,
    LosesWhenBusy,
    KeepsTheFirstMeta,
    LosesSome,
    ForgetsDeletedIds,
    ForgetsVersions,
    PersistFails,
}

/// A store as plain maps.
pub struct PlainStore {
    kept: Arc<Mutex<Kept>>,
    breaks: Option<StoreBreak>,
    busy: AtomicBool,
    is_again: bool,
}

#[derive(Default)]
struct Kept {
    tables: BTreeSet<u32>,
    /// Deleted ones among them.
    records: BTreeMap<Key, Owned>,
    /// What a late one has not shown yet.
    queued: Vec<Owned>,
    meta: Option<String>,
}

impl PlainStore {
    /// An empty one, and one to be opened after it.
    pub fn pair(breaks: Option<StoreBreak>) -> (Arc<PlainStore>, Arc<PlainStore>) {
        let kept = Arc::<Mutex<Kept>>::default();
        let store = |is_again| {
            let (kept, busy) = (Arc::clone(&kept), AtomicBool::new(false));
            Arc::new(PlainStore { kept, breaks, busy, is_again })
        };
        (store(false), store(true))
    }

    fn is(&self, breaks: StoreBreak) -> bool {
        self.breaks == Some(breaks)
    }

    fn key(&self, key: Key) -> Key {
        Key {
            table: if self.is(StoreBreak::MixesTables) { key.table & !1 } else { key.table },
            id: if self.is(StoreBreak::CutsIds) { key.id & 0x3FF } else { key.id },
        }
    }

    fn is_late(&self) -> bool {
        self.is(StoreBreak::FindsLate) || self.is(StoreBreak::NeverFindsTheLast)
    }

    fn put(&self, kept: &mut Kept, change: Owned) {
        let key = self.key(change.key);
        let is_there = kept.records.get(&key).is_some_and(|there| there.value.is_some());
        let is_ignored = is_there
            && match change.value {
                None => self.is(StoreBreak::KeepsDeleted),
                Some(_) => self.is(StoreBreak::KeepsTheFirst),
            };
        if !is_ignored {
            kept.records.insert(key, change);
        }
    }
}

impl Store for PlainStore {
    fn name(&self) -> String {
        assert!(!self.is(StoreBreak::NameMissing), "it has no name");
        "plain".into()
    }

    fn habits(&self) -> Habits {
        let immediate = !self.is(StoreBreak::NeverFindsTheLast);
        Habits { atomic: true, immediate, ..Habits::default() }
    }

    fn initialize(&self, found: &mut Found) -> Result<(), Fault> {
        let mut kept = self.kept.lock().unwrap();
        if self.is(StoreBreak::Haunted) && !self.is_again {
            found.stored(Key { table: 3, id: 4 }, 5);
        }
        if let Some(meta) = &kept.meta {
            found.meta(meta.as_bytes());
        }
        if self.is(StoreBreak::LosesSome) && self.is_again {
            kept.records.retain(|key, _| key.id % 10 != 5);
        }
        for (key, there) in &kept.records {
            if there.value.is_some() || !self.is(StoreBreak::ForgetsDeletedIds) {
                found.stored(*key, if self.is(StoreBreak::ForgetsVersions) { 1 } else { there.stamp.version });
            }
        }
        Ok(())
    }

    fn make_table(&self, table: u32, _meta: &str) -> Result<(), Fault> {
        let mut kept = self.kept.lock().unwrap();
        kept.tables.insert(table);
        if !self.is(StoreBreak::MakesNothingEmpty) && !self.is(StoreBreak::MixesTables) {
            kept.records.retain(|key, _| key.table != table);
        }
        Ok(())
    }

    fn update_meta(&self, tables: &str) -> Result<(), Fault> {
        let mut kept = self.kept.lock().unwrap();
        if self.is(StoreBreak::KeepsTheFirstMeta) && kept.meta.is_some() {
            return Ok(());
        }
        let is_less = kept.meta.as_ref().is_some_and(|meta| tables.len() + 50 < meta.len());
        if is_less && self.is(StoreBreak::DropsAll) {
            kept.records.clear();
        }
        kept.meta = Some(tables.to_owned());
        Ok(())
    }

    fn store(&self, changes: &[Change<'_>], items: &mut [Item]) -> Result<(), Fault> {
        if self.is(StoreBreak::LosesWhenBusy) {
            if self.busy.swap(true, Ordering::SeqCst) {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_micros(100));
        }
        let mut kept = self.kept.lock().unwrap();
        let is_there = |kept: &Kept, change: &Change<'_>| kept.tables.contains(&change.key.table);
        let unknown = changes.iter().position(|change| !is_there(&kept, change));
        let mut done = changes;
        if let Some(index) = unknown {
            let refused = Err(Fault::Failed(format!("there is no table {}", changes[index].key.table)));
            match self.breaks {
                Some(StoreBreak::AcceptsAnything) => {}
                Some(StoreBreak::StopsHalfway) => done = &changes[..index],
                _ => return refused,
            }
        }
        if self.is(StoreBreak::DoesHalf) {
            done = &changes[..changes.len().div_ceil(2)];
        }
        for change in done {
            let size = change.value.map_or(0, |value| value.record.len());
            assert!(size < 50_000 || !self.is(StoreBreak::PanicsOverLargeRecords), "that is large");
            match self.is_late() {
                true => kept.queued.push(Owned::new(change)),
                false => self.put(&mut kept, Owned::new(change)),
            }
        }
        if self.is(StoreBreak::SaysFailed) {
            items[0] = Item::Failed;
        }
        self.busy.store(false, Ordering::SeqCst);
        if done.len() < changes.len() && self.is(StoreBreak::StopsHalfway) {
            return Err(Fault::Failed("there is no such table".into()));
        }
        Ok(())
    }

    fn fetch(&self, table: u32, ids: &[u64], found: &mut Fetched<'_>) -> Result<(), Fault> {
        let kept = self.kept.lock().unwrap();
        let mut ids = ids.to_vec();
        if self.is(StoreBreak::AnswersInItsOrder) {
            ids.sort_unstable();
        }
        let mut seen = BTreeSet::new();
        for (index, id) in ids.iter().enumerate() {
            let there = kept.records.get(&self.key(Key { table, id: *id }));
            let Some((there, (record, nulls))) = there.and_then(|there| Some((there, there.value.as_ref()?))) else {
                if self.is(StoreBreak::MissingIsAFault) {
                    return Err(Fault::Failed(format!("there is no record {id}")));
                }
                continue;
            };
            if !seen.insert(*id) && self.is(StoreBreak::AnswersEachIdOnce) {
                continue;
            }
            let (mut stamp, mut record, mut nulls) = (there.stamp, record.clone(), nulls.clone());
            match self.breaks {
                Some(StoreBreak::FlipsABit) => record[0] ^= 1,
                Some(StoreBreak::KeepsOneByteOfNulls) => nulls[1..].fill(0),
                Some(StoreBreak::ForgetsTheSeal) => stamp.seal = 0,
                Some(StoreBreak::GivesTooMuch) => record.push(0),
                _ => {}
            }
            let value = Value { record: &record, nulls: &nulls };
            found.put(index, stamp, value);
            if self.is(StoreBreak::AnswersTwice) {
                found.put(index, stamp, value);
            }
            if self.is(StoreBreak::AnswersBeyond) {
                found.put(ids.len() + index, stamp, value);
                found.fail(usize::MAX);
            }
        }
        Ok(())
    }

    fn persist_all(&self) -> Result<(), Fault> {
        if self.is(StoreBreak::PersistFails) {
            return Err(Fault::Failed("the disk is gone".into()));
        }
        let mut kept = self.kept.lock().unwrap();
        let mut queued = std::mem::take(&mut kept.queued);
        if self.is(StoreBreak::NeverFindsTheLast) {
            queued.pop();
        }
        queued.into_iter().for_each(|change| self.put(&mut kept, change));
        Ok(())
    }
}

/// How a cache breaks its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheBreak {
    NameMissing,
    NeverFinds,
    Fails,
    FlipsABit,
    KeepsOneByteOfNulls,
    ForgetsTheSeal,
    AnswersTwice,
    GivesTooMuch,
    PanicsOverLargeRecords,
    KeepsTheFirst,
    KeepsTheLastTold,
    KeepsDeleted,
    ClearsNothing,
    ClearFails,
    MixesTables,
    CutsIds,
    MixesThreads,
}

/// A cache as a plain map.
pub struct PlainCache {
    kept: Mutex<BTreeMap<Key, Owned>>,
    breaks: Option<CacheBreak>,
    /// The table and the id of the record that is being stored, where threads may mix them.
    storing: (AtomicU64, AtomicU64),
}

impl PlainCache {
    pub fn new(breaks: Option<CacheBreak>) -> Arc<PlainCache> {
        Arc::new(PlainCache { kept: Mutex::default(), breaks, storing: Default::default() })
    }

    fn is(&self, breaks: CacheBreak) -> bool {
        self.breaks == Some(breaks)
    }

    fn key(&self, key: Key) -> Key {
        Key {
            table: if self.is(CacheBreak::MixesTables) { 0 } else { key.table },
            id: if self.is(CacheBreak::CutsIds) { key.id & 0xFFF } else { key.id },
        }
    }
}

impl Cache for PlainCache {
    fn name(&self) -> String {
        assert!(!self.is(CacheBreak::NameMissing), "it has no name");
        "plain".into()
    }

    fn habits(&self) -> Habits {
        Habits::default()
    }

    fn store(&self, change: &Change<'_>) -> Result<(), Fault> {
        if self.is(CacheBreak::Fails) {
            return Err(Fault::Failed("not today".into()));
        }
        let size = change.value.map_or(0, |value| value.record.len());
        assert!(size < 50_000 || !self.is(CacheBreak::PanicsOverLargeRecords), "that is large");
        let mut key = self.key(change.key);
        if self.is(CacheBreak::MixesThreads) {
            self.storing.0.store(key.table.into(), Ordering::SeqCst);
            self.storing.1.store(key.id, Ordering::SeqCst);
            std::thread::yield_now();
            key =
                Key { table: self.storing.0.load(Ordering::SeqCst) as u32, id: self.storing.1.load(Ordering::SeqCst) };
        }
        let mut kept = self.kept.lock().unwrap();
        let is_ignored = match (kept.get(&key), self.breaks) {
            (None, _) | (Some(_), Some(CacheBreak::KeepsTheLastTold)) => false,
            (Some(there), Some(CacheBreak::KeepsTheFirst)) => change.value.is_some() && there.value.is_some(),
            (Some(there), Some(CacheBreak::KeepsDeleted)) if change.value.is_none() => there.value.is_some(),
            (Some(there), _) => there.stamp.version > change.stamp.version,
        };
        if !is_ignored {
            kept.insert(key, Owned::new(change));
        }
        Ok(())
    }

    fn fetch(&self, key: Key, reply: &mut CacheReply<'_>) -> Result<(), Fault> {
        let kept = self.kept.lock().unwrap();
        let there = kept.get(&self.key(key)).filter(|_| !self.is(CacheBreak::NeverFinds));
        if let Some((there, (record, nulls))) = there.and_then(|there| Some((there, there.value.as_ref()?))) {
            let (mut stamp, mut record, mut nulls) = (there.stamp, record.clone(), nulls.clone());
            match self.breaks {
                Some(CacheBreak::FlipsABit) => record[0] ^= 1,
                Some(CacheBreak::KeepsOneByteOfNulls) => nulls[1..].fill(0),
                Some(CacheBreak::ForgetsTheSeal) => stamp.seal = 0,
                Some(CacheBreak::GivesTooMuch) => record.push(0),
                _ => {}
            }
            reply.put(stamp, Value { record: &record, nulls: &nulls });
            if self.is(CacheBreak::AnswersTwice) {
                reply.put(stamp, Value { record: &record, nulls: &nulls });
            }
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), Fault> {
        match self.breaks {
            Some(CacheBreak::ClearsNothing) => {}
            Some(CacheBreak::ClearFails) => return Err(Fault::Failed("not today".into())),
            _ => self.kept.lock().unwrap().clear(),
        }
        Ok(())
    }
}
