//! The built-in cache: the records that were used last, as many as fit into so many bytes.
//!
//! Records are spread over shards by their keys. A shard is a table of its records, which are also linked in the order
//! of their use; its share of the bytes is all that it takes. A record that is deleted leaves its version behind, so
//! that an older one does not take its place.

use std::collections::HashMap;

use crate::os::sync::Mutex;

use super::{Cache, CacheFigures, CacheReply, Change, Fault, Habits, Key, Stamp, Value};

/// So that threads with different records seldom meet.
const SHARD_BITS: u32 = 4;

/// What a record takes beside its bytes: its place in the table and in the list.
const OVERHEAD: u64 = 128;

/// Records, the ones used last.
pub struct LruCache {
    shards: Box<[Mutex<Shard>]>,
}

struct Shard {
    limit: u64,
    bytes: u64,
    evicted: u64,
    places: HashMap<Key, usize>,
    records: Vec<Entry>,
    free: Vec<usize>,
    /// The record used last, and the one not used for longest.
    newest: usize,
    oldest: usize,
}

struct Entry {
    key: Key,
    stamp: Stamp,
    /// The record, then its null bitmap; none: it was deleted.
    bytes: Option<Box<[u8]>>,
    record_size: usize,
    newer: usize,
    older: usize,
}

/// No entry.
const NONE: usize = usize::MAX;

impl LruCache {
    /// At most so many bytes in all, what it needs for itself among them.
    pub fn new(bytes: u64) -> LruCache {
        let shard = || {
            let (places, records, free) = (HashMap::new(), Vec::new(), Vec::new());
            let limit = bytes >> SHARD_BITS;
            Mutex::new(Shard { limit, bytes: 0, evicted: 0, places, records, free, newest: NONE, oldest: NONE })
        };
        LruCache { shards: (0..1 << SHARD_BITS).map(|_| shard()).collect() }
    }

    fn shard(&self, key: Key) -> &Mutex<Shard> {
        &self.shards[key.list(SHARD_BITS)]
    }
}

impl Cache for LruCache {
    fn name(&self) -> String {
        "lru".to_owned()
    }

    fn habits(&self) -> Habits {
        Habits::default()
    }

    fn store(&self, change: &Change<'_>) -> Result<(), Fault> {
        let bytes: Option<Box<[u8]>> = match change.value {
            None => None,
            Some(Value { record, nulls }) => {
                let mut bytes = Vec::new();
                let refused = |_| Fault::Failed("no memory for a record".to_owned());
                bytes.try_reserve_exact(record.len() + nulls.len()).map_err(refused)?;
                bytes.extend_from_slice(record);
                bytes.extend_from_slice(nulls);
                Some(bytes.into_boxed_slice())
            }
        };
        let record_size = change.value.map_or(0, |value| value.record.len());
        self.shard(change.key).lock().put(change.key, change.stamp, bytes, record_size)
    }

    fn fetch(&self, key: Key, reply: &mut CacheReply<'_>) -> Result<(), Fault> {
        let mut shard = self.shard(key).lock();
        let Some(&place) = shard.places.get(&key) else { return Ok(()) };
        shard.unlink(place);
        shard.link(place);
        let entry = &shard.records[place];
        if let Some(bytes) = &entry.bytes {
            let (record, nulls) = bytes.split_at(entry.record_size);
            reply.put(entry.stamp, Value { record, nulls });
        }
        Ok(())
    }

    fn clear(&self) -> Result<(), Fault> {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let (limit, evicted) = (shard.limit, shard.evicted);
            let (places, records, free) = (HashMap::new(), Vec::new(), Vec::new());
            *shard = Shard { limit, bytes: 0, evicted, places, records, free, newest: NONE, oldest: NONE };
        }
        Ok(())
    }

    fn figures(&self) -> CacheFigures {
        self.shards.iter().fold(CacheFigures::default(), |figures, shard| {
            let shard = shard.lock();
            CacheFigures {
                records: figures.records + shard.places.len() as u64,
                bytes: figures.bytes + shard.bytes,
                evicted: figures.evicted + shard.evicted,
            }
        })
    }
}

impl Shard {
    fn put(&mut self, key: Key, stamp: Stamp, bytes: Option<Box<[u8]>>, record_size: usize) -> Result<(), Fault> {
        if let Some(&place) = self.places.get(&key) {
            if self.records[place].stamp.version > stamp.version {
                return Ok(());
            }
            self.take_out(place);
        }
        let size = size_of(bytes.as_deref());
        // One that is larger than all room is not kept, and what was kept of it is gone.
        if size > self.limit {
            return Ok(());
        }
        while self.bytes + size > self.limit {
            self.take_out(self.oldest);
            self.evicted += 1;
        }
        let refused = |_| Fault::Failed("no memory for a record".to_owned());
        self.places.try_reserve(1).map_err(refused)?;
        let entry = Entry { key, stamp, bytes, record_size, newer: NONE, older: NONE };
        let place = match self.free.pop() {
            Some(place) => {
                self.records[place] = entry;
                place
            }
            None => {
                self.records.try_reserve(1).map_err(refused)?;
                // To give a place back never needs memory.
                self.free.try_reserve(self.records.len() + 1).map_err(refused)?;
                self.records.push(entry);
                self.records.len() - 1
            }
        };
        self.places.insert(key, place);
        self.bytes += size;
        self.link(place);
        Ok(())
    }

    fn take_out(&mut self, place: usize) {
        self.unlink(place);
        let entry = &mut self.records[place];
        self.bytes -= size_of(entry.bytes.as_deref());
        entry.bytes = None;
        self.places.remove(&entry.key);
        self.free.push(place);
    }

    /// Puts it in front, as the one used last.
    fn link(&mut self, place: usize) {
        let second = std::mem::replace(&mut self.newest, place);
        self.records[place].newer = NONE;
        self.records[place].older = second;
        match second {
            NONE => self.oldest = place,
            second => self.records[second].newer = place,
        }
    }

    fn unlink(&mut self, place: usize) {
        let Entry { newer, older, .. } = self.records[place];
        match newer {
            NONE => self.newest = older,
            newer => self.records[newer].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.records[older].newer = newer,
        }
    }
}

fn size_of(bytes: Option<&[u8]>) -> u64 {
    OVERHEAD + bytes.map_or(0, <[u8]>::len) as u64
}
