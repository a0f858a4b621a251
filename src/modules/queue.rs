//! What a store has accepted and perhaps only queued: until it was persisted the database remembers it, so that it is
//! found though the store does not find it yet and the cache has dropped it, and can be stored again where a failed
//! persist has lost it.

use std::collections::HashMap;

use crate::error::Result;
use crate::memory;
use crate::os::sync::{AtomicU64, Mutex, Ordering};
use crate::table::TableForm;

use super::{Change, Key, Loaded, Stamp, Value};

/// It has two to this power parts.
const STRIPE_BITS: u32 = 6;

/// What a change takes beside its bytes.
const OVERHEAD: u64 = 96;

/// Changes that are not known to be persisted, the newest of each record.
pub(super) struct Queue {
    stripes: Box<[Mutex<HashMap<Key, Queued>>]>,
    bytes: AtomicU64,
}

/// A change, with the place of its commit in the order of all.
pub(super) struct Queued {
    pub lsn: u64,
    pub stamp: Stamp,
    /// The record, then its null bitmap; none: it was deleted.
    bytes: Option<Box<[u8]>>,
    record_size: usize,
}

impl Queued {
    /// The change as it was accepted.
    pub fn change(&self, key: Key) -> Change<'_> {
        let value = self.bytes.as_deref().map(|bytes| {
            let (record, nulls) = bytes.split_at(self.record_size);
            Value { record, nulls }
        });
        Change { key, stamp: self.stamp, value }
    }

    /// The record as a fetch would give it; none: it was deleted.
    pub fn loaded(self) -> Option<Loaded> {
        let mut record = self.bytes?.into_vec();
        let nulls = record.split_off(self.record_size);
        Some(Loaded { stamp: self.stamp, record, nulls })
    }

    /// The same, accepted as this commit.
    pub fn accepted(self, lsn: u64) -> Queued {
        Queued { lsn, ..self }
    }

    fn size(&self) -> u64 {
        OVERHEAD + self.bytes.as_ref().map_or(0, |bytes| bytes.len()) as u64
    }
}

/// What the queue knows of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    Copied,
    Deleted,
}

impl Queue {
    pub fn new() -> Result<Queue> {
        let stripes = memory::collect(1 << STRIPE_BITS, std::iter::repeat_with(Mutex::default), "the modules")?;
        Ok(Queue { stripes: stripes.into_boxed_slice(), bytes: AtomicU64::new(0) })
    }

    /// Bytes of memory in it.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A change that is about to be handed to the store, so that nothing can fail once that accepted it.
    pub fn prepare(change: &Change<'_>) -> Result<Queued> {
        let (bytes, record_size) = match change.value {
            None => (None, 0),
            Some(Value { record, nulls }) => {
                let bytes = record.iter().chain(nulls).copied();
                let bytes = memory::collect(record.len() + nulls.len(), bytes, "a record that is queued")?;
                (Some(bytes.into_boxed_slice()), record.len())
            }
        };
        Ok(Queued { lsn: 0, stamp: change.stamp, bytes, record_size })
    }

    /// Room for one more change of this record.
    pub fn reserve(&self, key: Key) -> Result<()> {
        self.stripe(key).lock().try_reserve(1).map_err(memory::refused("what a store has queued"))
    }

    /// The store has accepted it. In the record's turn, with room reserved.
    pub fn add(&self, key: Key, queued: Queued) {
        self.bytes.fetch_add(queued.size(), Ordering::Relaxed);
        if let Some(older) = self.stripe(key).lock().insert(key, queued) {
            self.bytes.fetch_sub(older.size(), Ordering::Relaxed);
        }
    }

    /// Copies what it has of a record into a slot.
    pub fn fetch(&self, key: Key, form: &TableForm, slot: &mut [u8]) -> Known {
        let stripe = self.stripe(key).lock();
        match stripe.get(&key) {
            None => Known::Nothing,
            Some(queued) => match queued.change(key).value {
                None => Known::Deleted,
                Some(Value { record, nulls }) => {
                    form.restore(record, nulls, slot);
                    Known::Copied
                }
            },
        }
    }

    /// All changes of commits up to this one were persisted.
    pub fn persisted(&self, lsn: u64) {
        for stripe in &self.stripes {
            let mut stripe = stripe.lock();
            let mut freed = 0;
            stripe.retain(|_, queued| {
                let stays = queued.lsn > lsn;
                freed += if stays { 0 } else { queued.size() };
                stays
            });
            self.bytes.fetch_sub(freed, Ordering::Relaxed);
        }
    }

    /// The records whose changes it has, in the order of their commits.
    pub fn keys(&self) -> Result<Vec<Key>> {
        let mut all = Vec::new();
        for stripe in &self.stripes {
            let stripe = stripe.lock();
            memory::reserve(&mut all, stripe.len(), "what a store has queued")?;
            all.extend(stripe.iter().map(|(key, queued)| (queued.lsn, *key)));
        }
        all.sort_unstable();
        memory::collect(all.len(), all.into_iter().map(|(_, key)| key), "what a store has queued")
    }

    /// A copy of the change of a record.
    pub fn get(&self, key: Key) -> Result<Option<Queued>> {
        let stripe = self.stripe(key).lock();
        let Some(queued) = stripe.get(&key) else { return Ok(None) };
        Ok(Some(Queued { lsn: queued.lsn, ..Queue::prepare(&queued.change(key))? }))
    }

    fn stripe(&self, key: Key) -> &Mutex<HashMap<Key, Queued>> {
        &self.stripes[key.list(STRIPE_BITS)]
    }
}
