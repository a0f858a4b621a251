//! Crash-safe files: arrays of bytes whose writes are atomic, ordered and durable, many files in one commit.
//!
//! Everything that the database keeps is a layout on these files, and this is the one mechanism that survives
//! crashes. [`PagedFiles`] is the only door: read, commit, checkpoint, recover.
//!
//! What always holds here:
//!
//! 1. A page's bytes change only under its stripe's lock, between two steps of its version.
//! 2. A dirty page reaches its file after the wal that holds its changes is synced, and after its sum is logged.
//! 3. Maps are read-only. All writing of data files goes through `DiskFile::write_at`, by the one checkpoint that
//!    runs at a time and keeps for pins what it overwrites, or past the length, by the one appender that holds the
//!    file's tail.
//! 4. No lock is held across a wait for a disk, but for a file's tail during a bulk append, and the lock that makes
//!    checkpoints follow one another.
//! 5. Lock order: checkpoint, catalog, tails by file number, stripes ascending, wal, live cuts.

mod backup;
mod cache;
mod checkpoint;
mod commit;
pub mod copy;
mod file;
mod pin;
mod recovery;
mod redo;
mod root;
mod salvage;
mod snapshot;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::memory;
use crate::mutant::{Mutant, broken};
use crate::os::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, sleep};
use crate::os::{Bell, Lanes};
use crate::wal::{Durability, Need, Wal, WalOptions};

pub use backup::{Progress, UNFINISHED, unfinished_backup};
use cache::Cache;
pub use commit::{Edit, Outcome};
pub use copy::Racing;
use copy::{FramePool, PageEntry};
use file::FileShared;
pub use file::{FileId, FileImage, PagedFile};
use pin::Pins;
pub use pin::{Pin, PinFigures};
pub use recovery::NewDatabase;
use root::Root;
pub use salvage::Remains;
pub use snapshot::{Reader, ReaderKind, Snapshot};

/// Sizes and habits. The simulation runs the same paths with small numbers.
#[derive(Clone, Debug)]
pub struct PageOptions {
    /// The wal's.
    pub wal: WalOptions,
    /// Write nothing: recover into memory.
    pub read_only: bool,
    /// Read clean pages with `read_at`, never through a map.
    pub pread: bool,
    /// Locks of the page cache.
    pub stripe_count: usize,
    /// Dirty memory that starts a checkpoint, in bytes.
    pub dirty_soft: u64,
    /// Dirty memory at which writers wait, in bytes.
    pub dirty_hard: u64,
    /// Bytes of the wal that start a checkpoint.
    pub wal_soft: u64,
    /// How many bytes a data file grows at least.
    pub growth_min: u64,
    /// How many bytes a data file grows at most.
    pub growth_max: u64,
    /// Full pages appended at once, in bytes, from which they are written straight to the file.
    pub bulk_min: u64,
    /// The largest frame of one commit, in bytes.
    pub commit_max: u64,
    /// The largest piece that a checkpoint writes at once, in bytes.
    pub chunk_size: usize,
    /// How many data files stay open.
    pub open_files: usize,
    /// The engine has no threads of its own: a writer at the hard limit does the upkeep.
    pub no_threads: bool,
}

/// The files of one database.
pub struct PagedFiles {
    shared: Arc<FileShared>,
    options: PageOptions,
    wal: Arc<Wal>,
    cache: Cache,
    root: Arc<Root>,
    catalog: Mutex<Catalog>,
    pools: Mutex<HashMap<usize, Arc<FramePool>>>,
    pins: Pins,
    /// Held by the one checkpoint that runs.
    checkpointing: Mutex<()>,
    /// Someone asked for a checkpoint.
    wanted: AtomicBool,
    /// Wakes whoever makes checkpoints.
    bell: Bell,
    /// How many commits the last checkpoint covered; the largest number where replayed ones are to be covered.
    settled: AtomicU64,
    /// Why the last checkpoint came to nothing, if so.
    refused: Mutex<Option<Error>>,
    stats: PageStats,
}

/// Writers wait so long for a scan, a snapshot or a pin to end, from its beginning on, before they are refused.
const PATIENCE: Duration = Duration::from_secs(1);

/// The files by number, and the number that the next one gets.
#[derive(Default)]
struct Catalog {
    files: BTreeMap<FileId, Arc<PagedFile>>,
    /// Files that were dropped since the cut of the last checkpoint that came to its end, in their order.
    dropped: VecDeque<Arc<PagedFile>>,
    next: u32,
}

/// Counters since opening.
#[derive(Default)]
struct PageStats {
    checkpoints: AtomicU64,
    /// Checkpoints that ended, well or not.
    attempts: AtomicU64,
    checkpoint_us_total: AtomicU64,
    checkpoint_us_max: AtomicU64,
    checkpoint_pages: AtomicU64,
    throttled: AtomicU64,
    recovered_frames: AtomicU64,
    page_writes: Lanes,
}

/// Figures about the files, for `stats`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// The wal's.
    pub wal: crate::wal::WalStats,
    /// Bytes of dirty pages and visitors.
    pub dirty_bytes: u64,
    /// Bytes of old images, kept for scans, snapshots and a running checkpoint.
    pub old_bytes: u64,
    /// Scans and snapshots that are open.
    pub snapshots: usize,
    /// The oldest of them.
    pub oldest: Option<Reader>,
    /// The pins.
    pub pins: PinFigures,
    /// Checkpoints since opening.
    pub checkpoints: u64,
    /// Their time in all, in microseconds.
    pub checkpoint_us_total: u64,
    /// The longest of them, in microseconds.
    pub checkpoint_us_max: u64,
    /// Pages written by them.
    pub checkpoint_pages: u64,
    /// How often a writer had to wait for dirty memory.
    pub throttled: u64,
    /// Pages that had to be read from a file, by a first touch or by a writer.
    pub page_loads: u64,
    /// Pages that commits changed.
    pub page_writes: u64,
    /// Frames replayed when the database was opened.
    pub recovered_frames: u64,
}

impl PagedFiles {
    /// All files, by number.
    pub fn files(&self) -> Result<Vec<Arc<PagedFile>>> {
        let files = &self.catalog.lock().files;
        memory::collect(files.len(), files.values().cloned(), "the list of all files")
    }

    /// The file with this number.
    pub fn file(&self, id: FileId) -> Option<Arc<PagedFile>> {
        self.catalog.lock().files.get(&id).cloned()
    }

    /// The options it was opened with.
    pub fn options(&self) -> &PageOptions {
        &self.options
    }

    /// The newest LSN.
    pub fn last_lsn(&self) -> u64 {
        self.wal.last()
    }

    /// Waits until `lsn` is as durable as `need` says; false if it is not after `time`.
    pub fn wait(&self, lsn: u64, need: Need, time: Option<Duration>) -> Result<bool> {
        let deadline = time.and_then(|time| std::time::Instant::now().checked_add(time));
        self.wal.wait(lsn, need, deadline)
    }

    /// Waits as a commit in this database's mode does.
    pub fn wait_as_promised(&self, lsn: u64) -> Result<()> {
        match self.options.wal.durability {
            Durability::Sync if broken(Mutant::AcknowledgedEarly) => {
                self.wal.wait(lsn, Need::Written, None).map(|_| ())
            }
            Durability::Sync => self.wal.wait(lsn, Need::Synced, None).map(|_| ()),
            Durability::Os => self.wal.wait(lsn, Need::Written, None).map(|_| ()),
            Durability::Async => Ok(()),
        }
    }

    /// Tells the background writer of a commit that nobody waits for.
    pub fn nudge(&self) {
        match self.options.wal.durability {
            Durability::Async => self.wal.ring_if_asleep(),
            Durability::Sync | Durability::Os => self.wal.ring(),
        }
    }

    /// Syncs all that was committed.
    pub fn flush(&self) -> Result<()> {
        if self.wal.failure().is_some() {
            return Err(self.wal.poisoned());
        }
        let need = if broken(Mutant::FlushNotSynced) { Need::Written } else { Need::Synced };
        self.wal.wait(self.wal.last(), need, None).map(|_| ())
    }

    /// Why nothing is written any more, if so.
    pub fn failure(&self) -> Option<Error> {
        self.wal.failure().map(|_| self.wal.poisoned())
    }

    /// Ends all writing, for example after a panic.
    pub fn poison(&self, why: &str) {
        self.wal.fail(why.to_owned().into());
    }

    /// Makes an empty file. Returns it with the LSN to wait for.
    pub fn create_file(&self, kind: u32, page_size: usize, meta: Arc<Vec<u8>>) -> Result<(Arc<PagedFile>, u64)> {
        let pool = self.pool(page_size);
        self.change_catalog(
            meta.len() + 64,
            || {},
            |catalog, payload| {
                let id = FileId(catalog.next);
                if id.0 == u32::MAX {
                    return Err(Error::TooLarge("all numbers of files are used up".into()));
                }
                let page_size = page_size as u32;
                redo::Redo::Create { file: id, kind, page_size, meta: &meta }.put(payload)?;
                let meta = Arc::clone(&meta);
                let image = file::FileImage { id, kind, page_size, length: 0, tally: 0, meta };
                let file = PagedFile::new(Arc::clone(&self.shared), image, Arc::clone(&pool));
                let made = Arc::clone(&file);
                Ok((file, move |catalog: &mut Catalog| {
                    catalog.next += 1;
                    catalog.files.insert(id, made);
                }))
            },
        )
    }

    /// Changes what the floor above remembers of a file. Returns the LSN to wait for.
    pub fn describe_file(&self, file: &Arc<PagedFile>, meta: Arc<Vec<u8>>) -> Result<u64> {
        let ((), lsn) = self.change_catalog(
            meta.len() + 64,
            || {},
            |_, payload| {
                redo::Redo::Describe { file: file.id, meta: &meta }.put(payload)?;
                let meta = Arc::clone(&meta);
                Ok(((), move |_: &mut Catalog| *file.meta.lock() = meta))
            },
        )?;
        Ok(lsn)
    }

    /// Drops a file. Its space is given back by the next checkpoint. Returns the LSN to wait for.
    pub fn drop_file(&self, file: &Arc<PagedFile>) -> Result<u64> {
        // Under the wal's lock, so that no commit to the file gets a later LSN: replay would not know the file.
        let logged = || {
            file.dropped.store(true, Ordering::Release);
            self.wal.begin_epoch();
        };
        let ((), lsn) = self.change_catalog(64, logged, |catalog, payload| {
            catalog.dropped.try_reserve(1).map_err(memory::refused("the list of dropped tables"))?;
            redo::Redo::Drop { file: file.id }.put(payload)?;
            Ok(((), move |catalog: &mut Catalog| {
                catalog.dropped.extend(catalog.files.remove(&file.id));
            }))
        })?;
        Ok(lsn)
    }

    /// Compares what the disk has of the manifest and the catalog with their checksums.
    pub fn verify_root(&self) -> Result<()> {
        let _one = self.checkpointing.lock();
        self.root.verify()
    }

    /// Compares some pages of the data file with their sums, from `page` on, and gives each result to `each`.
    /// Returns the page to go on with. Pages that are in memory are checked as they are read. Of pages beyond the
    /// end of the data file, only the first is given.
    pub fn verify_pages(
        &self,
        file: &PagedFile,
        page: u64,
        mut each: impl FnMut(u64, Result<()>) -> Result<()>,
    ) -> Result<Option<u64>> {
        const COUNT: u64 = 256;
        let _one = self.checkpointing.lock();
        let end = file.disk_pages.load(Ordering::Acquire);
        let end = if page < end { end.min(file.pages_there()?.saturating_add(1)) } else { end };
        let mut bytes = memory::zeros(file.page_size, "a page")?;
        for page in page..end.min(page + COUNT) {
            if !file.entries.get(page).is_some_and(PageEntry::has_frame) {
                each(page, file.load_verified(page, &mut bytes))?;
            }
        }
        Ok((page + COUNT < end).then_some(page + COUNT))
    }

    /// Asks for a checkpoint soon.
    pub fn request_checkpoint(&self) {
        if !self.wanted.swap(true, Ordering::AcqRel) {
            self.bell.ring();
        }
    }

    /// Sleeps until a checkpoint is asked for, or `wake` is called.
    pub fn await_request(&self) {
        self.bell.wait(None);
    }

    /// Wakes both background threads, so that they see that they are to stop.
    pub fn wake(&self) {
        self.bell.ring();
        self.wal.ring();
    }

    /// Figures for `stats`.
    pub fn figures(&self) -> Figures {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (snapshots, oldest) = self.cache.readers();
        Figures {
            wal: self.wal.stats(),
            dirty_bytes: count(&self.shared.dirty_bytes),
            old_bytes: self.cache.old_bytes(),
            snapshots,
            oldest,
            pins: self.pins.figures(),
            checkpoints: count(&self.stats.checkpoints),
            checkpoint_us_total: count(&self.stats.checkpoint_us_total),
            checkpoint_us_max: count(&self.stats.checkpoint_us_max),
            checkpoint_pages: count(&self.stats.checkpoint_pages),
            throttled: count(&self.stats.throttled),
            page_loads: count(&self.shared.page_loads),
            page_writes: self.stats.page_writes.sum() as u64,
            recovered_frames: count(&self.stats.recovered_frames),
        }
    }

    /// One round of the background writer: writes and syncs what waits, prepares segments, leaves a watermark.
    /// `sync`: the interval is over.
    pub fn tend_wal(&self, sync: bool) -> Result<()> {
        if self.wal.failure().is_some() {
            return Err(self.wal.poisoned());
        }
        let last = self.wal.last();
        if self.wal.buffered() > 0 {
            // In async mode nobody else does; otherwise these are commits that nobody waited for.
            let need = if self.options.wal.durability == Durability::Sync { Need::Synced } else { Need::Written };
            self.wal.wait(last, need, None)?;
        }
        // A full disk keeps nobody from writing and syncing what has its room already.
        let stocked = self.wal.stock();
        if self.wants_checkpoint() {
            self.request_checkpoint();
        }
        if sync {
            self.wal.wait(last, Need::Synced, None)?;
        }
        self.wal.watermark()?;
        stocked.map(|_| ())
    }

    /// True if a checkpoint is due.
    pub fn wants_checkpoint(&self) -> bool {
        self.wal.failure().is_none()
            && !self.options.read_only
            && (self.wanted.load(Ordering::Acquire)
                || self.shared.dirty_bytes.load(Ordering::Relaxed) >= self.options.dirty_soft
                || self.wal.live_bytes() >= self.options.wal_soft)
    }

    /// The wal, for the background writer to sleep on.
    pub fn wal(&self) -> &Wal {
        &self.wal
    }

    /// Bytes of private memory that only a checkpoint gives back, or whoever reads as of an earlier moment.
    fn private_bytes(&self) -> u64 {
        self.shared.dirty_bytes.load(Ordering::Relaxed) + self.held_bytes()
    }

    /// The part of it that no checkpoint gives back, but for old images of the one that runs.
    fn held_bytes(&self) -> u64 {
        self.cache.old_bytes() + self.pins.kept()
    }

    fn pool(&self, page_size: usize) -> Arc<FramePool> {
        let mut pools = self.pools.lock();
        Arc::clone(pools.entry(page_size).or_insert_with(|| Arc::new(FramePool::new(page_size))))
    }

    /// Logs a change of the catalog and makes it in memory, in this order, under the catalog's lock.
    fn change_catalog<T, F: FnOnce(&mut Catalog)>(
        &self,
        size: usize,
        logged: impl Fn(),
        change: impl Fn(&mut Catalog, &mut Vec<u8>) -> Result<(T, F)>,
    ) -> Result<(T, u64)> {
        self.admit_writer()?;
        loop {
            {
                let mut catalog = self.catalog.lock();
                let mut payload = Vec::new();
                let (made, apply) = change(&mut catalog, &mut payload)?;
                let crc = crate::format::checksum::crc32c(0, &payload);
                match self.wal.append(&payload, crc, self.wal.epoch(), 0, |_| logged()) {
                    crate::wal::Append::Done(lsn) => {
                        apply(&mut catalog);
                        return Ok((made, lsn));
                    }
                    crate::wal::Append::EpochMoved => continue,
                    crate::wal::Append::Failed => return Err(self.wal.poisoned()),
                    crate::wal::Append::NeedRoom => {}
                }
            }
            self.make_wal_room(size, 0)?;
        }
    }

    /// A full wal starts a checkpoint, so that writing resumes by itself (promise 7).
    fn make_wal_room(&self, payload_size: usize, dirtied: u64) -> Result<()> {
        self.or_make_room(|| self.wal.make_room(payload_size, dirtied))
    }

    /// Disk space for the first `pages` pages of a file.
    fn make_file_room(&self, file: &PagedFile, pages: u64) -> Result<()> {
        self.sync_crowd()?;
        self.or_make_room(|| file.allocate(pages))
    }

    /// Runs a step that takes disk space; where there is none, a checkpoint may free some.
    fn or_make_room<T>(&self, step: impl Fn() -> Result<T>) -> Result<T> {
        match step() {
            Err(Error::Full(text)) => {
                if !self.options.no_threads {
                    self.request_checkpoint();
                    return Err(Error::Full(text));
                }
                self.checkpoint()?;
                step()
            }
            other => other,
        }
    }

    /// What every writer must pass: not read-only, not poisoned, and memory for dirty pages.
    fn admit_writer(&self) -> Result<()> {
        if self.options.read_only {
            return Err(Error::Unsupported("the database was opened read-only; open it for writing".into()));
        }
        if self.wal.failure().is_some() {
            return Err(self.wal.poisoned());
        }
        if self.options.no_threads && self.wal.live_bytes() >= 4 * self.options.wal_soft {
            // The host takes no steps: the writer does the upkeep itself.
            self.checkpoint()?;
        }
        let (soft, hard) = (self.options.dirty_soft, self.options.dirty_hard);
        if self.private_bytes() < soft.midpoint(hard) {
            return Ok(());
        }
        self.throttle(hard)
    }

    /// Slows a writer down by short waits, the shorter the more room is left, until a checkpoint has caught up.
    #[cold]
    fn throttle(&self, hard: u64) -> Result<()> {
        self.stats.throttled.fetch_add(1, Ordering::Relaxed);
        self.request_checkpoint();
        if self.options.no_threads {
            return if self.private_bytes() < hard { Ok(()) } else { self.checkpoint_or_name_what_holds() };
        }
        sleep(Duration::from_micros(50));
        let mut attempts = self.stats.attempts.load(Ordering::Acquire);
        let mut useless = 0;
        while self.private_bytes() >= hard {
            if self.wal.failure().is_some() {
                return Err(self.wal.poisoned());
            }
            let ended = self.stats.attempts.load(Ordering::Acquire);
            if ended >= attempts + 2 {
                // A whole checkpoint ran since the writer came, and did not help.
                attempts = ended;
                useless += 1;
                if let Some(refusal) = self.refused.lock().clone() {
                    return Err(refusal);
                }
                // A reader who has just begun may be about to end.
                let is_young = self.oldest_reader().is_some_and(|oldest| oldest.since.elapsed() < PATIENCE);
                if (self.held_bytes() * 2 > hard || useless > 8) && !is_young {
                    return Err(self.memory_is_full());
                }
            }
            self.request_checkpoint();
            sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    fn checkpoint_or_name_what_holds(&self) -> Result<()> {
        self.checkpoint()?;
        if self.private_bytes() >= self.options.dirty_hard { Err(self.memory_is_full()) } else { Ok(()) }
    }

    /// Why a checkpoint did not help: the oldest of those who hold memory is the one to close first.
    fn memory_is_full(&self) -> Error {
        let (held, limit) = (self.held_bytes(), self.options.dirty_hard);
        let text = match self.oldest_reader() {
            Some(oldest) => format!(
                "{held} bytes of pages are kept for scans, snapshots and pins, and memory for changes is limited to \
                 {limit} bytes (dirty_hard); the oldest is {oldest}: close it to write on"
            ),
            None => format!("memory for changes is limited to {limit} bytes (dirty_hard), and checkpoints lag behind"),
        };
        Error::Full(text.into())
    }

    /// The oldest of those who may hold memory.
    fn oldest_reader(&self) -> Option<Reader> {
        [self.cache.readers().1, self.pins.oldest()].into_iter().flatten().min_by_key(|reader| reader.since)
    }

    fn lock_catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock()
    }
}
