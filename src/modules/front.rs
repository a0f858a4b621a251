//! What stands before a store: the cache, one fetch for many callers, and the writers of a record in turn.
//!
//! What always holds here:
//!
//! 1. Of the writers of one record one at a time is under way; the store hears of them in the order of their versions.
//! 2. Whoever fetches a record after a write of it was acknowledged does not join a fetch that began before.
//! 3. A fetch fills the cache in its turn among the writers, and not if one of them came since it began. So an older
//!    fill never replaces a newer save, whatever the cache makes of versions.
//! 4. What the cache answers is used only if it fits its stamp. A cache that failed to hear of a change is asked
//!    nothing until it was cleared.
//! 5. No lock is held while a module is called: a turn and a fetch under way are entries in a list, and whoever waits
//!    for one waits for that record alone.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::memory;
use crate::os::sync::{AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, Ordering};
use crate::table::TableForm;

use super::cache::{Cache, CacheFigures, CacheReply};
use super::seat::{Seat, refuse_inside};
use super::{Change, Key, Stamp, Value};

/// How often a cache that failed is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// What memory of a fetch is for, in messages.
const FETCHES: &str = "a fetch of many records";

/// There are two to this power lists.
const STRIPE_BITS: u32 = 6;
const STRIPES: usize = 1 << STRIPE_BITS;

/// A fetched record as it goes into a slot.
pub(crate) struct Loaded {
    pub stamp: Stamp,
    pub record: Vec<u8>,
    pub nulls: Vec<u8>,
}

impl Loaded {
    pub fn value(&self) -> Value<'_> {
        Value { record: &self.record, nulls: &self.nulls }
    }
}

/// What stands before the store of one database.
pub(crate) struct Front {
    cache: Option<Seat<Arc<dyn Cache>>>,
    database: usize,
    stripes: Box<[Stripe]>,
    /// How often the cache missed a change, and up to which of these it was cleared: where they differ it is not asked.
    missed: AtomicU64,
    cleared: AtomicU64,
    /// How many are clearing it at this moment.
    clearing: AtomicUsize,
    /// When it was to be cleared and could not.
    tried: Mutex<Option<Instant>>,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    fills: AtomicU64,
    failures: AtomicU64,
    bypassed: AtomicU64,
}

#[derive(Default)]
struct Stripe {
    /// How many of its records were written; grows under the lock.
    written: AtomicU64,
    lists: Mutex<Lists>,
    moved: Condvar,
}

#[derive(Default)]
struct Lists {
    /// Records that are being written.
    turns: HashSet<Key>,
    /// Records that are being fetched.
    flights: HashMap<Key, Arc<Flight>>,
}

/// A fetch under way.
#[derive(Default)]
struct Flight {
    /// A writer came since it began.
    overtaken: AtomicBool,
    landed: Mutex<Option<Result<Arc<Loaded>>>>,
    arrival: Condvar,
}

/// Figures of a cache, and of how it was asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrontFigures {
    pub cache: String,
    pub hits: u64,
    pub misses: u64,
    pub fills: u64,
    pub failures: u64,
    pub bypassed: u64,
    pub own: CacheFigures,
}

impl Front {
    /// With this cache, or with none. `database` is what `refuse_inside` knows the database by.
    pub fn new(cache: Option<Arc<dyn Cache>>, database: usize) -> Result<Front> {
        let cache = cache.map(|cache| {
            let (name, habits) = (format!("the cache {}", cache.name()), cache.habits());
            Seat::new(cache, name, habits, database)
        });
        let stripes = memory::collect(STRIPES, std::iter::repeat_with(Stripe::default), "the modules")?;
        Ok(Front {
            cache,
            database,
            stripes: stripes.into_boxed_slice(),
            // Whatever it remembers from an earlier opening is not ours.
            missed: AtomicU64::new(1),
            cleared: AtomicU64::new(0),
            clearing: AtomicUsize::new(0),
            tried: Mutex::new(None),
            counts: Counts::default(),
        })
    }

    /// Refuses a thread on which the cache cannot be called.
    pub fn refuse_elsewhere(&self) -> Result<()> {
        self.cache.as_ref().map_or(Ok(()), Seat::refuse_elsewhere)
    }

    /// True if its calls are bound to the thread that opened the database.
    pub fn is_bound(&self) -> bool {
        self.cache.as_ref().is_some_and(|cache| cache.habits().opening_thread)
    }

    /// Copies a record into a slot: from the cache, or as `load` gives it. `may_load` is asked before it waits for
    /// another who loads: where this thread may not, that one may be waiting for it.
    pub fn fetch(
        &self,
        key: Key,
        form: &TableForm,
        slot: &mut [u8],
        may_load: impl FnOnce() -> Result<()>,
        load: impl FnOnce() -> Result<Loaded>,
    ) -> Result<()> {
        refuse_inside(self.database)?;
        if self.ask_cache(key, form, slot) {
            return Ok(());
        }
        may_load()?;
        let loaded = match self.join(key)? {
            Joined::Following(flight) => flight.wait()?,
            Joined::Leading(lead) => self.land(&lead, load())?,
        };
        form.restore(&loaded.record, &loaded.nulls, slot);
        Ok(())
    }

    /// Copies records of one table into slots, and says of each how that went. `load` is asked once, for all that
    /// neither the cache nor another fetch has; it answers for each. `may_load` as in `fetch`.
    pub fn fetch_many(
        &self,
        keys: &[Key],
        form: &TableForm,
        slots: &mut [u8],
        may_load: impl Fn() -> Result<()>,
        load: impl FnOnce(&[Key]) -> Result<Vec<Result<Loaded>>>,
    ) -> Result<Vec<Result<()>>> {
        refuse_inside(self.database)?;
        let size = form.layout().slot_size;
        let mut results = memory::collect(keys.len(), keys.iter().map(|_| Ok(())), FETCHES)?;
        let (mut leads, mut followed, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
        for (index, key) in keys.iter().enumerate() {
            if self.ask_cache(*key, form, &mut slots[index * size..][..size]) {
                continue;
            }
            may_load()?;
            memory::reserve(&mut leads, 1, FETCHES)?;
            memory::reserve(&mut followed, 1, FETCHES)?;
            memory::reserve(&mut wanted, 1, FETCHES)?;
            match self.join(*key)? {
                Joined::Following(flight) => followed.push((index, flight)),
                Joined::Leading(lead) => {
                    leads.push((index, lead));
                    wanted.push(*key);
                }
            }
        }
        let mut put = |index: usize, result: Result<Arc<Loaded>>| {
            let slot = &mut slots[index * size..][..size];
            results[index] = result.map(|loaded| form.restore(&loaded.record, &loaded.nulls, slot));
        };
        if !wanted.is_empty() {
            let loaded = match load(&wanted) {
                Ok(loaded) => loaded,
                Err(error) => {
                    // Whoever waits hears why.
                    leads.iter().for_each(|(_, lead)| _ = lead.land(Err(error.clone())));
                    return Err(error);
                }
            };
            for ((index, lead), loaded) in leads.into_iter().zip(loaded) {
                put(index, self.land(&lead, loaded));
            }
        }
        // After our own have landed, which those may wait for whom we wait for.
        for (index, flight) in followed {
            put(index, flight.wait());
        }
        Ok(results)
    }

    /// Tells all who wait, and the cache.
    fn land(&self, lead: &Lead<'_>, loaded: Result<Loaded>) -> Result<Arc<Loaded>> {
        let loaded = lead.land(loaded.map(Arc::new))?;
        self.fill(lead, &loaded);
        Ok(loaded)
    }

    /// Writes records, those that are there each in its turn, and tells the cache what became of them: `tell` gives it
    /// what `act` returned. Where nobody knows what `act` did, the cache is asked nothing until it was cleared.
    pub fn write<T>(
        &self,
        keys: &[Key],
        act: impl FnOnce() -> Result<T>,
        mut tell: impl FnMut(&T, &mut dyn FnMut(Change<'_>)),
    ) -> Result<T> {
        refuse_inside(self.database)?;
        let turns = self.take_turns(keys)?;
        let written = self.written();
        let result = act();
        for key in &turns.keys {
            let stripe = self.stripe(*key);
            let mut lists = stripe.lists.lock();
            stripe.written.fetch_add(1, Ordering::SeqCst);
            if let Some(flight) = lists.flights.remove(key) {
                flight.overtaken.store(true, Ordering::SeqCst);
            }
        }
        match &result {
            Ok(done) => tell(done, &mut |change| match turns.keys.binary_search(&change.key) {
                Ok(_) => self.tell_cache(&change),
                Err(_) => self.tell_new(&change, &written),
            }),
            // Nobody knows what the store has now: it must be asked.
            Err(Error::CommitUnknown(_)) => _ = self.missed.fetch_add(1, Ordering::SeqCst),
            Err(_) => {}
        }
        result
    }

    /// The record from the cache, if it has it and what it has is right.
    fn ask_cache(&self, key: Key, form: &TableForm, slot: &mut [u8]) -> bool {
        let Some(cache) = &self.cache else { return false };
        if !self.is_fresh(cache) {
            self.counts.bypassed.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let layout = form.layout();
        // The record lies in the slot as it is; only its null bitmap has another place there.
        let size = layout.record_size + layout.nulls_size;
        let (mut small, mut large) = ([0; 512], Vec::new());
        let bytes = match size <= small.len() {
            true => &mut small[..size],
            false => {
                large.resize(size, 0);
                &mut large[..]
            }
        };
        let mut reply = CacheReply { record_size: layout.record_size, bytes, stamp: None, refused: false };
        let answer = cache.call(|cache| cache.fetch(key, &mut reply));
        let CacheReply { stamp, refused, bytes, .. } = reply;
        let (record, nulls) = bytes.split_at(layout.record_size);
        let value = Value { record, nulls };
        match (answer, stamp) {
            (Ok(Ok(())), Some(stamp)) if !refused && stamp.fits(key, value) => {
                self.counts.hits.fetch_add(1, Ordering::Relaxed);
                form.restore(record, nulls, slot);
                true
            }
            (Ok(Ok(())), None) if !refused => {
                self.counts.misses.fetch_add(1, Ordering::Relaxed);
                false
            }
            _ => {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    /// Rule 4: true if the cache heard of every change, or was cleared since.
    fn is_fresh(&self, cache: &Seat<Arc<dyn Cache>>) -> bool {
        let missed = self.missed.load(Ordering::SeqCst);
        if self.cleared.load(Ordering::SeqCst) == missed {
            return true;
        }
        {
            // Whoever clears it keeps others from doing so meanwhile.
            let mut tried = self.tried.lock();
            if tried.is_some_and(|at| at.elapsed() < RETRY) {
                return false;
            }
            *tried = Some(Instant::now());
        }
        // From here on it hears of all changes again: one that comes after an older version of its record did, and
        // before all know that the cache is clear, must not pass it by.
        self.clearing.fetch_add(1, Ordering::SeqCst);
        let is_clear = matches!(cache.call(|cache| cache.clear()), Ok(Ok(())));
        if is_clear {
            self.cleared.fetch_max(missed, Ordering::SeqCst);
            *self.tried.lock() = None;
        } else {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
        }
        self.clearing.fetch_sub(1, Ordering::SeqCst);
        is_clear
    }

    fn tell_cache(&self, change: &Change<'_>) {
        let Some(cache) = &self.cache else { return };
        // In this order: where it was not being cleared, it is known to be clear, or is not clear yet.
        let is_clearing = self.clearing.load(Ordering::SeqCst) > 0;
        if !is_clearing && self.cleared.load(Ordering::SeqCst) != self.missed.load(Ordering::SeqCst) {
            return;
        }
        if !matches!(cache.call(|cache| cache.store(change)), Ok(Ok(()))) {
            self.missed.fetch_add(1, Ordering::SeqCst);
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many records of each list were written.
    fn written(&self) -> [u64; STRIPES] {
        match self.cache {
            None => [0; STRIPES],
            Some(_) => std::array::from_fn(|stripe| self.stripes[stripe].written.load(Ordering::SeqCst)),
        }
    }

    /// Rule 3, for a record that got its id in a write: others knew of it before its writer had a turn.
    fn tell_new(&self, change: &Change<'_>, written: &[u64; STRIPES]) {
        if self.cache.is_none() {
            return;
        }
        let Ok(_turn) = self.take_turns(&[change.key]) else { return };
        let stripe = change.key.list(STRIPE_BITS);
        if self.stripes[stripe].written.load(Ordering::SeqCst) == written[stripe] {
            self.tell_cache(change);
        }
    }

    /// Rule 3.
    fn fill(&self, lead: &Lead<'_>, loaded: &Loaded) {
        if self.cache.is_none() {
            return;
        }
        let Ok(_turn) = self.take_turns(&[lead.key]) else { return };
        if !lead.flight.overtaken.load(Ordering::SeqCst) {
            self.counts.fills.fetch_add(1, Ordering::Relaxed);
            self.tell_cache(&Change { key: lead.key, stamp: loaded.stamp, value: Some(loaded.value()) });
        }
    }

    fn join(&self, key: Key) -> Result<Joined<'_>> {
        let mut lists = self.stripe(key).lists.lock();
        if let Some(flight) = lists.flights.get(&key) {
            return Ok(Joined::Following(Arc::clone(flight)));
        }
        lists.flights.try_reserve(1).map_err(memory::refused("a fetch"))?;
        let flight: Arc<Flight> = Arc::default();
        lists.flights.insert(key, Arc::clone(&flight));
        Ok(Joined::Leading(Lead { front: self, key, flight }))
    }

    /// Waits until nobody else writes these records. Whoever wants many takes them in one order.
    fn take_turns(&self, keys: &[Key]) -> Result<Turns<'_>> {
        let mut wanted = memory::collect(keys.len(), keys.iter().copied(), "the records of a commit")?;
        wanted.sort_unstable();
        wanted.dedup();
        let mut turns = Turns { front: self, keys: Vec::new() };
        memory::reserve(&mut turns.keys, wanted.len(), "the records of a commit")?;
        for key in wanted {
            let stripe = self.stripe(key);
            let mut lists = stripe.lists.lock();
            while lists.turns.contains(&key) {
                stripe.moved.wait(&mut lists);
            }
            lists.turns.try_reserve(1).map_err(memory::refused("the records of a commit"))?;
            lists.turns.insert(key);
            turns.keys.push(key);
        }
        Ok(turns)
    }

    fn stripe(&self, key: Key) -> &Stripe {
        &self.stripes[key.list(STRIPE_BITS)]
    }

    /// Lets the cache go.
    pub fn close(&self) {
        if let Some(cache) = &self.cache {
            cache.close();
        }
    }

    pub fn figures(&self) -> Option<FrontFigures> {
        let cache = self.cache.as_ref()?;
        let own = cache.call(|cache| Ok(cache.figures())).ok().and_then(std::result::Result::ok).unwrap_or_default();
        let figure = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let Counts { hits, misses, fills, failures, bypassed } = &self.counts;
        Some(FrontFigures {
            cache: cache.name().to_owned(),
            hits: figure(hits),
            misses: figure(misses),
            fills: figure(fills),
            failures: figure(failures),
            bypassed: figure(bypassed),
            own,
        })
    }
}

enum Joined<'a> {
    Leading(Lead<'a>),
    Following(Arc<Flight>),
}

/// The one who fetches, for all who want the same record.
struct Lead<'a> {
    front: &'a Front,
    key: Key,
    flight: Arc<Flight>,
}

impl Lead<'_> {
    /// Tells the others.
    fn land(&self, result: Result<Arc<Loaded>>) -> Result<Arc<Loaded>> {
        *self.flight.landed.lock() = Some(result.clone());
        self.flight.arrival.notify_all();
        result
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        {
            let mut lists = self.front.stripe(self.key).lists.lock();
            if lists.flights.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
                lists.flights.remove(&self.key);
            }
        }
        // Nobody waits for one who panicked.
        let mut landed = self.flight.landed.lock();
        landed.get_or_insert_with(|| Err(Error::Module("the fetch that this one waited for panicked".into())));
        drop(landed);
        self.flight.arrival.notify_all();
    }
}

impl Flight {
    fn wait(&self) -> Result<Arc<Loaded>> {
        let mut landed = self.landed.lock();
        loop {
            if let Some(result) = &*landed {
                return result.clone();
            }
            self.arrival.wait(&mut landed);
        }
    }
}

/// Records that this thread alone writes, until it is dropped.
struct Turns<'a> {
    front: &'a Front,
    keys: Vec<Key>,
}

impl Drop for Turns<'_> {
    fn drop(&mut self) {
        for key in &self.keys {
            let stripe = self.front.stripe(*key);
            stripe.lists.lock().turns.remove(key);
            stripe.moved.notify_all();
        }
    }
}

impl FrontFigures {
    /// As statistics show them.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.cache,
            "hits": self.hits,
            "misses": self.misses,
            "hit_rate": (self.hits + self.misses > 0).then(|| self.hits as f64 / (self.hits + self.misses) as f64),
            "fills": self.fills,
            "failures": self.failures,
            "bypassed": self.bypassed,
            "records": self.own.records,
            "bytes": self.own.bytes,
            "evicted": self.own.evicted,
        })
    }
}
