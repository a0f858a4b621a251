//! How what a store accepted becomes durable: by one thread for all who wait, on the interval, and again after a
//! failure.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::memory;
use crate::os::sync::{AtomicBool, AtomicU64, Builder, Condvar, Mutex, Ordering, RwLock};
use crate::wal::Durability;

use super::Key;
use super::controller::Controller;
use super::queue::Queued;

/// What memory is for, in messages.
const AGAIN: &str = "what a store is to store again";

#[derive(Default)]
pub(super) struct Persisting {
    /// The last commit that was persisted.
    pub through: AtomicU64,
    pub running: Mutex<bool>,
    pub ended: Condvar,
    /// A persist failed: the store may have lost what it had queued.
    lost: AtomicBool,
    /// How often that was so.
    losses: AtomicU64,
    /// Shared by who adds a commit to the queue: a persist sees the commit and what is queued of it, or neither.
    accepting: RwLock<()>,
    /// A failure of the interval's that nobody has heard of.
    pub untold: Mutex<Option<Error>>,
    /// When it was last done.
    pub last: Mutex<Option<Instant>>,
}

#[derive(Default)]
pub(super) struct Stop {
    pub stop: Mutex<bool>,
    pub rung: Condvar,
}

impl Persisting {
    /// To be asked before a store is given a commit.
    pub fn losses(&self) -> u64 {
        self.losses.load(Ordering::SeqCst)
    }
}

struct PersistEnds<'a>(&'a Persisting);

impl Drop for PersistEnds<'_> {
    fn drop(&mut self) {
        *self.0.running.lock() = false;
        self.0.ended.notify_all();
    }
}

impl Controller {
    /// Waits as a commit in this database's mode does.
    pub fn wait_as_promised(&self, lsn: u64) -> Result<()> {
        if self.options.durability != Durability::Sync {
            return Ok(());
        }
        self.persist_through(lsn, None).map(|_| ()).map_err(|error| {
            let text = format!("the commit was accepted, and is not known to be durable: {}", error.message());
            Error::CommitUnknown(text.into())
        })
    }

    /// Persists unless all up to this commit is. False if that is not done in the time given.
    pub fn persist_through(&self, lsn: u64, timeout: Option<Duration>) -> Result<bool> {
        self.refuse_inside()?;
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            {
                let mut running = self.persisting.running.lock();
                loop {
                    if self.persisting.through.load(Ordering::SeqCst) >= lsn {
                        return Ok(true);
                    }
                    if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                        return Ok(false);
                    }
                    self.store.refuse_elsewhere()?;
                    if !*running {
                        *running = true;
                        break;
                    }
                    match deadline {
                        None => self.persisting.ended.wait(&mut running),
                        Some(deadline) => {
                            let left = deadline.saturating_duration_since(Instant::now());
                            self.persisting.ended.wait_for(&mut running, left);
                        }
                    }
                }
            }
            let _ended = PersistEnds(&self.persisting);
            self.persist()?;
        }
    }

    /// The store accepted a commit, which it was given when there had been so many `losses`: the commit's place among
    /// all.
    pub(super) fn accept_queued(&self, losses: u64, queued: impl Iterator<Item = (Key, Queued)>) -> u64 {
        let _accepting = self.persisting.accepting.read();
        let lsn = self.accept();
        queued.for_each(|(key, queued)| self.queue.add(key, queued.accepted(lsn)));
        // One that failed meanwhile may have lost it, and another that went well since has not stored it again.
        if self.persisting.losses() != losses {
            self.persisting.lost.store(true, Ordering::SeqCst);
        }
        lsn
    }

    /// By whoever has `running`.
    fn persist(&self) -> Result<()> {
        let _naming = self.naming.lock();
        let (through, is_lost) = {
            let _nobody_accepts = self.persisting.accepting.write();
            (self.accepted.load(Ordering::SeqCst), self.persisting.lost.swap(false, Ordering::SeqCst))
        };
        let result = if is_lost { self.store_again() } else { Ok(()) };
        let result = result
            .and_then(|()| self.update_meta())
            .and_then(|()| self.ask("persist_all", |store| store.persist_all()));
        *self.persisting.last.lock() = Some(Instant::now());
        match result {
            Ok(()) => {
                self.persisting.through.fetch_max(through, Ordering::SeqCst);
                self.queue.persisted(through);
                self.figures.persists.fetch_add(1, Ordering::Relaxed);
                for table in self.tables()?.iter().filter(|table| table.doubtful.swap(false, Ordering::AcqRel)) {
                    let _counting = table.counting.write();
                    table.counted.store(false, Ordering::Release);
                }
                Ok(())
            }
            Err(error) => {
                self.persisting.losses.fetch_add(1, Ordering::SeqCst);
                self.persisting.lost.store(true, Ordering::SeqCst);
                self.figures.persist_failures.fetch_add(1, Ordering::Relaxed);
                *self.figures.last_failure.lock() = Some(error.message().to_owned());
                Err(error)
            }
        }
    }

    /// After a failed persist: what the store may have lost of its queue.
    fn store_again(&self) -> Result<()> {
        let mut keys = self.queue.keys()?;
        // A store may refuse what is of a table that was dropped.
        let numbers: HashSet<u32> = self.tables.read().values().map(|table| table.number).collect();
        keys.retain(|key| numbers.contains(&key.table));
        // What was one commit stays one: where the store takes batches as one, it takes all at once.
        let size = if self.store.habits().atomic { keys.len().max(1) } else { 1 };
        for keys in keys.chunks(size) {
            let again = || {
                let mut queued = Vec::new();
                memory::reserve(&mut queued, keys.len(), AGAIN)?;
                for key in keys {
                    // It may have been persisted since.
                    queued.extend(self.queue.get(*key)?.map(|queued| (*key, queued)));
                }
                let changes = queued.iter().map(|(key, queued)| queued.change(*key));
                let changes = memory::collect(queued.len(), changes, AGAIN)?;
                if changes.is_empty() { Ok(()) } else { self.store_all(&changes) }
            };
            self.front.write(keys, again, |(), _| {})?;
        }
        Ok(())
    }

    /// Makes everything durable.
    pub fn flush(&self) -> Result<()> {
        if self.options.read_only {
            return self.refuse_inside();
        }
        // Whoever flushes hears of a failure by its own.
        let flushed = self.persist_through(self.accepted.load(Ordering::SeqCst), None);
        if flushed.is_ok() {
            *self.persisting.untold.lock() = None;
        }
        flushed.map(|_| ())
    }

    /// The upkeep of a database without a thread: persists if the interval is over. True if there is more to do.
    pub fn step(&self) -> Result<bool> {
        self.refuse_inside()?;
        if self.options.durability == Durability::Async && !self.options.read_only && self.is_due() {
            self.persist_through(self.last_lsn(), None)?;
        }
        Ok(false)
    }

    fn is_due(&self) -> bool {
        let waits = self.persisting.through.load(Ordering::SeqCst) < self.last_lsn();
        waits && self.persisting.last.lock().is_none_or(|last| last.elapsed() >= self.options.interval)
    }

    /// True if a thread of its own persists on the interval.
    pub(super) fn has_thread(&self) -> bool {
        let bound = self.store.habits().opening_thread || self.front.is_bound();
        let options = &self.options;
        options.durability == Durability::Async && !options.no_threads && !options.read_only && !bound
    }

    /// Starts that thread.
    pub(super) fn start(self: &Arc<Self>) -> Result<()> {
        let (weak, bell, interval) = (Arc::downgrade(self), Arc::clone(&self.bell), self.options.interval);
        let work = move || {
            loop {
                {
                    let mut stop = bell.stop.lock();
                    if !*stop {
                        bell.rung.wait_for(&mut stop, interval);
                    }
                    if *stop {
                        return;
                    }
                }
                let Some(controller) = weak.upgrade() else { return };
                if let Err(error) = controller.persist_through(controller.last_lsn(), None) {
                    controller.persisting.untold.lock().get_or_insert(error);
                }
            }
        };
        let thread = Builder::new().name("diamonddb-persist".to_owned()).spawn(work);
        *self.upkeep.lock() = Some(thread.map_err(|error| Error::io("start", "a thread", &error))?);
        Ok(())
    }
}
