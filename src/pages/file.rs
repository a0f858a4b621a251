//! One paged file: an array of bytes, read without locks.
//!
//! ```text
//! data/N      | header, 4 KiB | page 0 | page 1 | ...            pages of `page_size` bytes
//! data/N.sum  | header, 4 KiB | sum of page 0, 8 bytes | sum of page 1 | ...
//! ```
//!
//! Where a page is:
//!
//! 1. in its frame, while it is dirty or visited by a writer;
//! 2. otherwise in the data file, if its number is below `disk_pages`;
//! 3. otherwise nowhere: it reads as zeros, whatever the data file holds there.
//!
//! The files are made at the first need for room, opened at the first touch, and closed when too many are open.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock, Weak};

use crossbeam::utils::CachePadded;

use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::format::checksum::page_sum;
use crate::format::header::{Contents, Header};
use crate::memory;
use crate::mutant::{Mutant, broken};
use crate::os::sync::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Mutex, Ordering, RwLock, spin_loop, yield_now};
use crate::os::{Disk, DiskFile, ForkMark, Open, memory_limit, read_exact_at, retry, write_all_at};
use crate::wal::Wal;

use super::copy::{FramePool, Mapping, PageEntry, Racing, Seen, Source};

/// The number that is a file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u32);

impl FileId {
    /// The name of the data file.
    pub fn name(self) -> String {
        format!("data/{}", self.0)
    }

    /// The name of the file with its sums.
    pub fn sums_name(self) -> String {
        format!("data/{}.sum", self.0)
    }
}

/// An array of bytes in pages, whose changes are commits.
pub struct PagedFile {
    /// Its number.
    pub id: FileId,
    /// What it holds, as the floor above counts it.
    pub kind: u32,
    /// The size of a page in bytes.
    pub page_size: usize,
    pub(super) shared: Arc<FileShared>,
    me: Weak<PagedFile>,
    /// What the floor above wants to remember of it.
    pub(super) meta: Mutex<Arc<Vec<u8>>>,
    /// The length in bytes that readers see.
    pub(super) length: AtomicU64,
    /// The length as of the newest frame; moves under the wal's lock. Like the tally, on a cache line that readers
    /// do not look at.
    pub(super) committed: CachePadded<AtomicU64>,
    /// A count that commits add to; moves under the wal's lock.
    pub(super) tally: CachePadded<AtomicI64>,
    /// Held by whoever appends, from taking the offset to publishing the length.
    pub(super) tail: Mutex<()>,
    pub(super) entries: Growing<PageEntry>,
    pub(super) metas: Growing<PageMeta>,
    pub(super) disk_pages: AtomicU64,
    pub(super) mapping: Mapping,
    pub(super) pool: Arc<FramePool>,
    pub(super) dropped: AtomicBool,
    /// How many backups copy the file.
    pub(super) holders: AtomicU32,
    /// Sums of pages that were written past the length, until a checkpoint puts them into the sum file.
    pub(super) late_sums: Mutex<BTreeMap<u64, u64>>,
    /// Held while blocks that two pages share are read and written.
    pub(super) writing: Mutex<()>,
    handles: Mutex<Handles>,
    growing: Mutex<()>,
    allocated_pages: AtomicU64,
}

/// What all files of a database have in common.
pub struct FileShared {
    /// The database's folder.
    pub disk: Arc<dyn Disk>,
    /// Ends all writing where a file's header cannot be written.
    pub wal: Arc<Wal>,
    /// The database's identity.
    pub uuid: [u8; 16],
    /// Read with `read_at` only, never through a map.
    pub pread: bool,
    /// How many bytes a file grows at least.
    pub growth_min: u64,
    /// How many bytes a file grows at most.
    pub growth_max: u64,
    /// Which files have descriptors open.
    pub descriptors: Descriptors,
    /// Bytes of private memory in frames and old images.
    pub dirty_bytes: AtomicU64,
    /// Pages that had to be read from a file, by a first touch or by a writer.
    pub page_loads: AtomicU64,
    /// Shared by whoever syncs a data file, until it is known everywhere that the sync failed, if it did.
    pub syncing: RwLock<()>,
    /// In a forked child nothing is touched, not even to clean up: another thread may have held its lock.
    pub mark: ForkMark,
}

/// What writers and checkpoints know of a page. Changed only under the page's stripe lock.
#[derive(Default)]
pub(super) struct PageMeta {
    /// The epoch of the last change.
    pub epoch: AtomicU64,
    /// The epoch in which the page was put on its stripe's list of dirty pages.
    pub listed: AtomicU64,
    /// The last checkpoint's cut for which the page's image was taken.
    pub taken: AtomicU64,
}

#[derive(Default)]
struct Handles {
    data: Option<Arc<dyn DiskFile>>,
    sums: Option<Arc<dyn DiskFile>>,
    /// The files exist and carry their headers.
    made: bool,
    /// How many write them at this moment.
    writers: u64,
    /// How many have written them, and for how many of these a sync was done. While these differ, or someone writes,
    /// they must stay open, or an error could be lost.
    written: u64,
    synced: u64,
}

impl Handles {
    fn slot(&mut self, contents: Contents) -> &mut Option<Arc<dyn DiskFile>> {
        match contents {
            Contents::Data => &mut self.data,
            Contents::Sums => &mut self.sums,
        }
    }
}

/// A file longer than this was not written by us. Offsets in shorter ones do not overflow.
pub(super) const LENGTH_LIMIT: u64 = 1 << 60;

/// Pages larger than this were not written by us.
const PAGE_SIZE_LIMIT: u32 = 128 << 10;

/// How many bytes a walk through the pages has read ahead at a time.
const READ_AHEAD: usize = 1 << 20;

/// A file's state as a checkpoint knew it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileImage {
    /// Its number.
    pub id: FileId,
    /// What it holds.
    pub kind: u32,
    /// The size of a page.
    pub page_size: u32,
    /// Its logical length in bytes.
    pub length: u64,
    /// Its tally.
    pub tally: i64,
    /// What the floor above remembers of it.
    pub meta: Arc<Vec<u8>>,
}

impl FileImage {
    /// False for numbers that we never write, however well the checksum around them matches.
    pub(super) fn is_possible(&self) -> bool {
        let is_numbered = 1 < self.id.0 && self.id.0 < u32::MAX;
        let is_paged = (8..=PAGE_SIZE_LIMIT).contains(&self.page_size) && self.page_size.is_multiple_of(8);
        is_numbered && is_paged && self.length <= LENGTH_LIMIT
    }
}

impl PagedFile {
    /// A file as a checkpoint left it; nothing is opened yet.
    pub(super) fn new(shared: Arc<FileShared>, image: FileImage, pool: Arc<FramePool>) -> Arc<PagedFile> {
        let page_size = image.page_size as usize;
        let disk_pages = image.length.div_ceil(page_size as u64);
        Arc::new_cyclic(|me| PagedFile {
            id: image.id,
            kind: image.kind,
            page_size,
            shared,
            me: me.clone(),
            meta: Mutex::new(image.meta),
            length: AtomicU64::new(image.length),
            committed: CachePadded::new(AtomicU64::new(image.length)),
            tally: CachePadded::new(AtomicI64::new(image.tally)),
            tail: Mutex::new(()),
            entries: Growing::default(),
            metas: Growing::default(),
            disk_pages: AtomicU64::new(disk_pages),
            mapping: Mapping::default(),
            pool,
            dropped: AtomicBool::new(false),
            holders: AtomicU32::new(0),
            late_sums: Mutex::default(),
            writing: Mutex::new(()),
            handles: Mutex::new(Handles { made: disk_pages > 0, ..Handles::default() }),
            growing: Mutex::new(()),
            allocated_pages: AtomicU64::new(disk_pages),
        })
    }

    /// The length in bytes that a reader may touch.
    #[inline]
    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// The sum of what commits added to the tally.
    pub fn tally(&self) -> i64 {
        self.tally.load(Ordering::Acquire)
    }

    /// What the floor above remembers of the file.
    pub fn meta(&self) -> Arc<Vec<u8>> {
        Arc::clone(&self.meta.lock())
    }

    /// True once the file was dropped.
    pub fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Acquire)
    }

    /// True while the page has a frame: a hint, but under its stripe lock.
    #[inline]
    pub(super) fn has_frame(&self, page: u64) -> bool {
        self.entries.get(page).is_some_and(PageEntry::has_frame)
    }

    /// A page to copy from, which must lie below the length; none if somebody is in the way: then `read` has it.
    #[inline(always)]
    pub fn look(&self, page: u64) -> Option<Racing<'_>> {
        self.entries.get(page)?.look(Source { mapping: &self.mapping, page, page_size: self.page_size }).ok()
    }

    /// True if what was copied is as one commit left it, and the file was still there.
    #[inline(always)]
    pub fn stood_still(&self, page: Racing<'_>) -> bool {
        page.stood_still() && !self.is_dropped()
    }

    /// Copies bytes of one page, from `at` on, as one commit left them. The page must lie below the length.
    #[inline]
    pub fn read(&self, page: u64, at: usize, out: &mut [u8]) -> Result<()> {
        if let Some(seen) = self.look(page) {
            seen.copy(at, out);
            if self.stood_still(seen) {
                return Ok(());
            }
        }
        self.read_again(page, at, out)
    }

    /// The rest of `read`, where the first look was not enough.
    #[cold]
    #[inline(never)]
    fn read_again(&self, page: u64, at: usize, out: &mut [u8]) -> Result<()> {
        let source = Source { mapping: &self.mapping, page, page_size: self.page_size };
        let mut spins = 0;
        loop {
            let seen = self.entries.get(page).map_or(Err(Seen::Unverified), |entry| entry.look(source));
            let is_copied = seen.is_ok_and(|page| {
                page.copy(at, out);
                page.stood_still()
            });
            // The frames of a dropped file are freed, and then the map shows what an older checkpoint wrote.
            if self.is_dropped() {
                return Err(Error::NotFound("the table was dropped".into()));
            }
            if is_copied {
                return Ok(());
            }
            match seen.err().unwrap_or(Seen::Changed) {
                // A large commit changes a page for longer than it is worth to wait awake, and so does a writer who
                // was interrupted.
                Seen::Changed if spins == 100 => yield_now(),
                Seen::Changed => {
                    spins += 1;
                    spin_loop();
                }
                Seen::Unverified => self.verify_page(page)?,
                Seen::Elsewhere => {
                    if self.map_page(page)? {
                        continue;
                    }
                    if self.read_directly(page, at, out)? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Brings what a later read or write needs near: first the page's entry, then its bytes, so many from a place on.
    #[inline]
    pub fn prefetch(&self, page: u64, bytes: Option<(usize, usize)>) {
        if let Some(entry) = self.entries.get(page) {
            match bytes {
                None => entry.prefetch(),
                Some((at, size)) => {
                    let source = Source { mapping: &self.mapping, page, page_size: self.page_size };
                    entry.prefetch_bytes(source, at, size);
                }
            }
        }
    }

    /// Has the system read what a walk through the pages, upwards or downwards, comes to behind this one.
    #[inline]
    pub fn read_ahead(&self, page: u64, is_downwards: bool) {
        // Once in so many pages, for twice as many.
        let pages = (READ_AHEAD / self.page_size).max(1) as u64;
        let is_first = page % pages == if is_downwards { pages - 1 } else { 0 };
        if is_first {
            let first = if is_downwards { (page + 1).saturating_sub(2 * pages) } else { page };
            self.mapping.will_need(first, 2 * pages, self.page_size);
        }
    }

    /// Pages that were written past the length belong to the file from now on.
    pub(super) fn adopt(&self, first: u64, sums: &[u8]) {
        self.keep_sums(first, sums);
        self.disk_pages.fetch_max(first + sums.len() as u64 / 8, Ordering::AcqRel);
    }

    /// Keeps the sums of pages that were written past the length for the next checkpoint.
    pub(super) fn keep_sums(&self, first: u64, sums: &[u8]) {
        self.late_sums.lock().extend((first..).zip(super::redo::sums_of(sums)));
    }

    /// Reads a whole page from the data file and checks its sum.
    pub(super) fn load_verified(&self, page: u64, bytes: &mut [u8]) -> Result<()> {
        self.load(page, bytes)?;
        let expected = self.stored_sum(page)?;
        if page_sum(self.id.0, page, bytes) == expected || broken(Mutant::PageSumNotCompared) {
            return Ok(());
        }
        Err(self.damaged(page))
    }

    /// The error for a page whose bytes do not match their sum.
    pub(super) fn damaged(&self, page: u64) -> Error {
        let what = format!("page {page} does not match its checksum");
        Error::corrupt(&self.id.name(), what)
    }

    /// Reads a whole page from the data file, unchecked.
    pub(super) fn load(&self, page: u64, bytes: &mut [u8]) -> Result<()> {
        self.shared.page_loads.fetch_add(1, Ordering::Relaxed);
        match read_exact_at(&*self.data()?, bytes, self.offset(page)) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(self.ends_before(page)),
            other => other.map_err(|error| Error::io("read", &self.id.name(), &error)),
        }
    }

    /// The sum that page `page` should have.
    pub(super) fn stored_sum(&self, page: u64) -> Result<u64> {
        if let Some(sum) = self.late_sums.lock().get(&page) {
            return Ok(*sum);
        }
        let mut bytes = [0; 8];
        match read_exact_at(&*self.sums()?, &mut bytes, BLOCK_SIZE + 8 * page) {
            Ok(()) => Ok(u64::from_le_bytes(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                let what = format!("it ends before the sum of page {page}");
                Err(Error::corrupt(&self.id.sums_name(), what))
            }
            Err(error) => Err(Error::io("read", &self.id.sums_name(), &error)),
        }
    }

    /// Where a page lies in the data file.
    pub(super) fn offset(&self, page: u64) -> u64 {
        BLOCK_SIZE + page * self.page_size as u64
    }

    /// How many pages a length needs.
    pub(super) fn pages_of(&self, length: u64) -> u64 {
        length.div_ceil(self.page_size as u64)
    }

    /// The entry of a page, made if it is the first touch. A page that the data file should have and has not gets
    /// none: a length that nothing stands behind costs no memory.
    pub(super) fn entry(&self, page: u64) -> Result<&PageEntry> {
        if let Some(entry) = self.entries.get(page) {
            return Ok(entry);
        }
        let should_be = page < self.disk_pages.load(Ordering::Acquire);
        if should_be && page >= self.pages_there()? {
            return Err(self.ends_before(page));
        }
        self.entries.get_or_make(page)
    }

    /// How many whole pages the data file has room for, whatever they should be.
    pub(super) fn pages_there(&self) -> Result<u64> {
        let name = self.id.name();
        let size = self.data()?.size().map_err(|error| Error::io("ask the size of", &name, &error))?;
        Ok(size.saturating_sub(BLOCK_SIZE) / self.page_size as u64)
    }

    /// The first page that the data file should have and has no room for.
    pub fn lost_from(&self) -> Result<Option<u64>> {
        let pages = self.disk_pages.load(Ordering::Acquire);
        let there = match self.pages_there() {
            _ if pages == 0 => 0,
            Err(Error::Corrupt(_)) => 0,
            other => other?,
        };
        Ok((there < pages).then_some(there))
    }

    fn ends_before(&self, page: u64) -> Error {
        Error::corrupt(&self.id.name(), format!("it ends before page {page}"))
    }

    /// First touch of a page that was on disk when the database was opened (or is not there at all).
    #[cold]
    fn verify_page(&self, page: u64) -> Result<()> {
        let entry = self.entry(page)?;
        if entry.version() != 0 {
            return Ok(());
        }
        if page >= self.disk_pages.load(Ordering::Acquire) {
            // Below the length, yet neither framed nor on disk: its first commit is being applied at this moment.
            yield_now();
            return Ok(());
        }
        let mut bytes = memory::zeros(self.page_size, "a page")?;
        if let Err(error) = self.load_verified(page, &mut bytes) {
            // A writer may have taken the page meanwhile, and a checkpoint may be writing it: then the entry says so.
            return if entry.version() == 0 { Err(error) } else { Ok(()) };
        }
        entry.set_verified();
        Ok(())
    }

    /// Lets the map cover a page. False where there are no maps.
    #[cold]
    fn map_page(&self, page: u64) -> Result<bool> {
        if self.shared.pread || page >= self.disk_pages.load(Ordering::Acquire) {
            return Ok(false);
        }
        let pages = self.disk_pages.load(Ordering::Acquire);
        let needed = self.offset(pages);
        if self.mapping.size() < needed {
            const ALIGNMENT: u64 = 2 << 20;
            let size = if needed < ALIGNMENT { ALIGNMENT } else { (needed + needed / 2).next_multiple_of(ALIGNMENT) };
            // Where mapping fails, for want of address space or of maps, reading goes on without.
            match self.data()?.map(size) {
                Ok(Some(mut map)) => {
                    // What is read beside a page would drive out others before anyone wants it.
                    if needed > memory_limit() / 2 {
                        map.advise_random();
                    }
                    self.mapping.replace(map);
                }
                Ok(None) | Err(_) => return Ok(false),
            }
        }
        self.mapping.extend(pages, self.page_size);
        Ok(self.mapping.pages() > page)
    }

    /// Reads a page that has no frame by a system call. False if it changed meanwhile.
    #[cold]
    fn read_directly(&self, page: u64, at: usize, out: &mut [u8]) -> Result<bool> {
        let entry = self.entry(page)?;
        let version = entry.version();
        if version & 1 == 0 || entry.has_frame() {
            return Ok(false);
        }
        let data = self.data()?;
        let result = read_exact_at(&*data, out, self.offset(page) + at as u64);
        if entry.version() != version {
            return Ok(false);
        }
        result.map(|()| true).map_err(|error| Error::io("read", &self.id.name(), &error))
    }

    /// Takes disk space for the first `pages` pages and their sums. The place where a table says `Full`.
    pub(super) fn allocate(&self, pages: u64) -> Result<()> {
        if pages <= self.allocated_pages.load(Ordering::Acquire) {
            return Ok(());
        }
        let _growing = self.growing.lock();
        let have = self.allocated_pages.load(Ordering::Acquire);
        if pages <= have {
            return Ok(());
        }
        let page_size = self.page_size as u64;
        let step = (have * page_size / 8).clamp(self.shared.growth_min, self.shared.growth_max) / page_size;
        let wanted = pages.max(have + step.max(1));
        let writer = self.writer()?;
        if self.pages_there()? < have {
            // What is lost must not come back as zeros.
            return Err(self.ends_before(have - 1));
        }
        let take = |pages: u64| -> Result<()> {
            let (from, to) = (self.offset(have), self.offset(pages));
            retry(|| writer.data.allocate(from, to - from))
                .map_err(|error| Error::allocation("make room in", &self.id.name(), &error))?;
            retry(|| writer.sums.allocate(BLOCK_SIZE + 8 * have, 8 * (pages - have)))
                .map_err(|error| Error::allocation("make room in", &self.id.sums_name(), &error))
        };
        // Generously at first; where the disk has no room for that, just what is needed.
        let got = match take(wanted) {
            Ok(()) => wanted,
            Err(Error::Full(_)) if pages < wanted => take(pages).map(|()| pages)?,
            Err(error) => return Err(error),
        };
        self.allocated_pages.store(got, Ordering::Release);
        Ok(())
    }

    /// True if the first `pages` pages have disk space.
    pub(super) fn has_room(&self, pages: u64) -> bool {
        pages <= self.allocated_pages.load(Ordering::Acquire)
    }

    /// The data file for reading.
    pub(super) fn data(&self) -> Result<Arc<dyn DiskFile>> {
        self.open_existing(Contents::Data)
    }

    fn sums(&self) -> Result<Arc<dyn DiskFile>> {
        self.open_existing(Contents::Sums)
    }

    fn open_existing(&self, contents: Contents) -> Result<Arc<dyn DiskFile>> {
        let mut handles = self.handles.lock();
        if let Some(file) = handles.slot(contents) {
            return Ok(Arc::clone(file));
        }
        self.shared.descriptors.reserve()?;
        let name = self.name(contents);
        let how = if self.shared.descriptors.read_only { Open::Read } else { Open::Write };
        let file = self.shared.disk.open(&name, how).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound if self.is_dropped() => Error::NotFound("the table was dropped".into()),
            std::io::ErrorKind::NotFound => Error::corrupt(&name, "it is missing"),
            _ => Error::io("open", &name, &error),
        })?;
        let mut block = vec![0; BLOCK_SIZE as usize];
        match read_exact_at(&*file, &mut block, 0) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(Error::corrupt(&name, "it is shorter than its header"));
            }
            other => other.map_err(|error| Error::io("read", &name, &error))?,
        }
        self.header(contents).check(&block).map_err(|what| Error::corrupt(&name, what))?;
        *handles.slot(contents) = Some(Arc::clone(&file));
        drop(handles);
        self.shared.descriptors.touch(&self.me);
        Ok(file)
    }

    /// Both files for writing, made if they do not exist yet, and kept open until they are synced.
    pub(super) fn writer(&self) -> Result<Writer> {
        let made = self.handles.lock().made;
        let (data, sums) =
            if made { (self.data()?, self.sums()?) } else { (self.make(Contents::Data)?, self.make(Contents::Sums)?) };
        self.shared.descriptors.reserve()?;
        let file = self.me.upgrade().expect("whoever calls has it");
        let mut handles = self.handles.lock();
        // They may have been closed meanwhile.
        let is_news = handles.data.is_none() || handles.sums.is_none();
        (handles.data, handles.sums) = (Some(Arc::clone(&data)), Some(Arc::clone(&sums)));
        handles.made = true;
        handles.writers += 1;
        handles.written += u64::from(broken(Mutant::DataSyncCoversWhatFollows));
        drop(handles);
        if is_news {
            self.shared.descriptors.touch(&self.me);
        }
        Ok(Writer { file, data, sums })
    }

    /// Makes or empties one of the files and gives it its header.
    fn make(&self, contents: Contents) -> Result<Arc<dyn DiskFile>> {
        let name = self.name(contents);
        let file = self.shared.disk.open(&name, Open::Create);
        let file = file.map_err(|error| Error::allocation("make", &name, &error))?;
        let block = self.header(contents).encode();
        write_all_at(&*file, &block, 0).map_err(|error| self.shared.wal.unwritten(&name, &error))?;
        Ok(file)
    }

    /// Recovery found that the data file was made after the last checkpoint and synced, which its sums were not.
    pub(super) fn recover_made(&self) -> Result<()> {
        if self.handles.lock().made {
            return Ok(());
        }
        self.shared.descriptors.reserve()?;
        let sums = self.make(Contents::Sums)?;
        let mut handles = self.handles.lock();
        handles.sums = Some(sums);
        handles.made = true;
        handles.written += 1;
        drop(handles);
        self.shared.descriptors.touch(&self.me);
        Ok(())
    }

    /// Makes durable what was written by those who are done with it.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        let (data, sums, written) = {
            let handles = self.handles.lock();
            if handles.written == handles.synced {
                return Ok(());
            }
            (handles.data.clone(), handles.sums.clone(), handles.written)
        };
        let data = data.filter(|_| !broken(Mutant::DataNotSynced));
        let sums = sums.filter(|_| !broken(Mutant::SumFileNotSynced));
        for file in [data, sums].into_iter().flatten() {
            retry(|| file.sync())?;
        }
        let mut handles = self.handles.lock();
        handles.synced = handles.synced.max(written);
        Ok(())
    }

    /// Gives back the space that was taken ahead of need. After a checkpoint, with no one writing.
    pub(super) fn cut_to_size(&self) -> std::io::Result<()> {
        let pages = self.pages_of(self.committed.load(Ordering::Acquire));
        if pages >= self.allocated_pages.load(Ordering::Acquire) || !self.handles.lock().made {
            return Ok(());
        }
        let (Ok(data), Ok(sums)) = (self.data(), self.sums()) else { return Ok(()) };
        data.set_size(self.offset(pages))?;
        sums.set_size(BLOCK_SIZE + 8 * pages)?;
        retry(|| data.sync())?;
        retry(|| sums.sync())?;
        self.allocated_pages.store(pages, Ordering::Release);
        Ok(())
    }

    /// Closes the descriptors if nothing unsynced hangs on them. True if they are closed now.
    fn close_idle(&self) -> bool {
        let Some(mut handles) = self.handles.try_lock() else { return false };
        let idle = handles.writers == 0 && handles.written == handles.synced;
        if idle {
            handles.data = None;
            handles.sums = None;
        }
        idle
    }

    /// True if descriptors are open.
    fn is_open(&self) -> bool {
        self.handles.try_lock().is_none_or(|handles| handles.data.is_some() || handles.sums.is_some())
    }

    fn name(&self, contents: Contents) -> String {
        match contents {
            Contents::Data => self.id.name(),
            Contents::Sums => self.id.sums_name(),
        }
    }

    fn header(&self, contents: Contents) -> Header {
        let page_size = self.page_size as u32;
        Header { contents, page_size, file: self.id.0, uuid: self.shared.uuid }
    }
}

/// Both files of a [`PagedFile`] in the hands of someone who writes them. Until this is dropped nothing that it wrote
/// counts as synced: a sync beside it may have come too early.
pub(super) struct Writer {
    pub file: Arc<PagedFile>,
    pub data: Arc<dyn DiskFile>,
    pub sums: Arc<dyn DiskFile>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut handles = self.file.handles.lock();
        handles.writers -= 1;
        handles.written += u64::from(!broken(Mutant::DataSyncCoversWhatFollows));
    }
}

impl Drop for PagedFile {
    /// Nobody can read the file any more: its frames go back to their pool.
    fn drop(&mut self) {
        if self.shared.mark.forked() {
            return;
        }
        for (_, entry) in self.entries.iter() {
            if entry.retire(&self.pool).is_some() {
                self.shared.dirty_bytes.fetch_sub(self.page_size as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Keeps the number of open files below what the process may have. A file that was written stays open until it is
/// synced; where these are too many, [`Descriptors::crowd`] names them.
pub struct Descriptors {
    /// Open files for reading only.
    pub read_only: bool,
    limit: usize,
    open: Mutex<VecDeque<Weak<PagedFile>>>,
}

impl Descriptors {
    /// At most about `limit` files stay open.
    pub fn new(limit: usize, read_only: bool) -> Descriptors {
        Descriptors { read_only, limit, open: Mutex::default() }
    }

    /// Memory for the next notes: for many, since other threads may make theirs first.
    fn reserve(&self) -> Result<()> {
        self.open.lock().try_reserve(64).map_err(memory::refused("the list of open files"))
    }

    /// Notes that `file` may have descriptors open, and closes those of the files opened longest ago.
    fn touch(&self, file: &Weak<PagedFile>) {
        let mut open = self.open.lock();
        open.push_back(Weak::clone(file));
        for _ in 0..open.len() {
            if open.len() <= self.limit {
                break;
            }
            let Some(oldest) = open.pop_front() else { break };
            if oldest.upgrade().is_some_and(|file| file.is_open() && !file.close_idle()) {
                open.push_back(oldest);
            }
        }
    }

    /// The files that must be synced before they can be closed, if more are open than should be.
    pub fn crowd(&self) -> Vec<Arc<PagedFile>> {
        let open = self.open.lock();
        if open.len() <= self.limit { Vec::new() } else { open.iter().filter_map(Weak::upgrade).collect() }
    }
}

/// An array that grows in place, so that its items can be read while it does: each chunk is twice the one before.
pub(super) struct Growing<T> {
    chunks: [OnceLock<Box<[T]>>; 48],
}

const FIRST_CHUNK_BITS: u32 = 4;

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Growing { chunks: [const { OnceLock::new() }; 48] }
    }
}

impl<T: Default> Growing<T> {
    /// The item, if its chunk was made.
    #[inline(always)]
    pub fn get(&self, index: u64) -> Option<&T> {
        let (chunk, at) = Self::place(index);
        self.chunks.get(chunk)?.get()?.get(at)
    }

    /// The item.
    pub fn get_or_make(&self, index: u64) -> Result<&T> {
        let (chunk, at) = Self::place(index);
        let refused = || Error::NoMemory("no memory for the list of pages".into());
        let slot = self.chunks.get(chunk).ok_or_else(refused)?;
        if slot.get().is_none() {
            let count = 1_usize << (chunk as u32 + FIRST_CHUNK_BITS);
            let mut items = Vec::new();
            items.try_reserve_exact(count).map_err(|_| refused())?;
            items.resize_with(count, T::default);
            // Losing the race to another thread is fine: the items are the same.
            let _ = slot.set(items.into_boxed_slice());
        }
        slot.get().and_then(|items| items.get(at)).ok_or_else(refused)
    }

    /// All items made so far, with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        let chunks = self.chunks.iter().enumerate().filter_map(|(chunk, items)| Some((chunk, items.get()?)));
        chunks.flat_map(|(chunk, items)| {
            let first = ((1 << chunk) - 1) << FIRST_CHUNK_BITS;
            (first..).zip(items)
        })
    }

    #[inline(always)]
    fn place(index: u64) -> (usize, usize) {
        let shifted = index + (1 << FIRST_CHUNK_BITS);
        let high = 63 - shifted.leading_zeros();
        ((high - FIRST_CHUNK_BITS) as usize, (shifted - (1 << high)) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_array_gives_every_index_its_own_item() {
        let array: Growing<AtomicU64> = Growing::default();
        assert!(array.get(5).is_none());
        for index in 0..10_000 {
            array.get_or_make(index).expect("memory").store(index + 1, Ordering::Relaxed);
        }
        for index in 0..10_000 {
            assert_eq!(array.get(index).expect("made").load(Ordering::Relaxed), index + 1);
        }
    }
}
