//! A pin: the pages of one file as of one cut, in one piece of memory, for as long as its owner likes.
//!
//! ```text
//! memory:  | header, 4 KiB | page 0 | page 1 | page 2 | ...           the data file's offsets
//!            the file's      laid     the     kept                     by whom the bytes are owned
//!            (map)                    file's
//! ```
//!
//! The memory is a private map of the data file. A page is *laid* over it where the file does not have the page as of
//! the cut: an old image, a page of a frame. All other pages stay the file's until a checkpoint is about to overwrite
//! one: it first *keeps* the page, which makes the map's part of it the pin's own. So any number of pins may hold a
//! file, each at its own cut, and nobody waits. Where the disk has no maps, or reads go by `read_at` only, every page
//! is laid.
//!
//! What always holds here:
//!
//! 1. A pin is made under the lock of checkpoints, and registered before it is released: from then on nobody writes
//!    or punches a page of the data file below the pin's length without keeping it first. (Bulk appends write behind
//!    the length of every cut.)
//! 2. A page that is not laid was compared with its sum, read by a system call, before anyone sees the pin; and one
//!    that is kept meanwhile was compared by the writer who brought it in to change it.
//! 3. Laid and kept pages are private memory: they count where dirty pages do.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::memory;
use crate::os::StillMap;
use crate::os::sync::{AtomicU64, Mutex, Ordering};

use super::PagedFiles;
use super::copy::still;
use super::file::{FileId, PagedFile};
use super::snapshot::{Reader, ReaderKind, Snapshot};

/// The pages of a file as of a cut, in memory. They stay when the file is changed, and even when it is dropped.
pub struct Pin {
    files: Arc<PagedFiles>,
    pinned: Arc<Pinned>,
}

/// What a checkpoint has to know of a pin.
struct Pinned {
    file: FileId,
    page_size: usize,
    /// The file's length at the cut, in bytes.
    length: usize,
    reader: Reader,
    /// None where there is no page.
    memory: Option<StillMap>,
    /// Which pages are the pin's own: laid or kept.
    own: Mutex<Vec<bool>>,
    /// Those pages in bytes, and those of all pins.
    owned: AtomicU64,
    total: Arc<AtomicU64>,
}

/// All pins of a database.
#[derive(Default)]
pub(super) struct Pins {
    live: Mutex<Vec<Arc<Pinned>>>,
    /// Rule 3.
    kept: Arc<AtomicU64>,
}

/// What pins cost, for `stats`.
#[derive(Clone, Copy, Debug, Default)]
pub struct PinFigures {
    /// How many there are.
    pub count: u64,
    /// Their private memory, in bytes.
    pub kept: u64,
    /// Their addresses, in bytes.
    pub mapped: u64,
}

/// How many pages of a new pin are verified before a checkpoint may come between.
const VERIFIED_AT_ONCE: u64 = 256;

impl PagedFiles {
    /// Pins the pages of a file as of a snapshot, where it had this length.
    pub fn pin(self: &Arc<PagedFiles>, snapshot: &Snapshot, file: &Arc<PagedFile>, length: u64) -> Result<Pin> {
        let pin = {
            let _one = self.checkpointing.lock();
            // What it does not write is laid: its failure, which writers hear of, only makes the pin dearer.
            let _ = self.checkpoint_locked();
            self.make_pin(snapshot, file, length)?
        };
        self.verify_pin(&pin, file)?;
        Ok(pin)
    }

    /// Maps the file, lays what it lacks, and registers the pin. Under the lock of checkpoints (rule 1).
    fn make_pin(self: &Arc<PagedFiles>, snapshot: &Snapshot, file: &Arc<PagedFile>, length: u64) -> Result<Pin> {
        if file.is_dropped() {
            // Its frames may be freed, and then the data file shows what an older checkpoint wrote. After a drop from
            // here on they stay until the next checkpoint.
            return Err(Error::NotFound("the table was dropped".into()));
        }
        let count = file.pages_of(length);
        let on_disk = file.disk_pages.load(Ordering::Acquire).min(count);
        let (mut memory, mapped) = map(file, on_disk, count)?;
        let mut own = Vec::new();
        own.try_reserve_exact(count as usize).map_err(|_| no_memory(file, count))?;
        let mut bytes = memory::zeros(file.page_size, "a page")?;
        let mut owned = 0;
        for page in 0..count {
            let differs = page >= on_disk || snapshot.differs_from_disk(file, page)?;
            own.push(differs || page >= mapped);
            let (Some(true), Some(memory)) = (own.last(), &mut memory) else { continue };
            owned += file.page_size as u64;
            self.leave_room_for_writers(file, owned)?;
            match differs {
                true => snapshot.read(file, page, 0, &mut bytes)?,
                false => file.load_verified(page, &mut bytes)?,
            }
            let refused = |error: std::io::Error| Error::io("lay pages over a map of", &file.id.name(), &error);
            memory.lay(place(page, file.page_size), &bytes).map_err(refused)?;
        }
        self.pins.kept.fetch_add(owned, Ordering::Relaxed);
        let pinned = Arc::new(Pinned {
            file: file.id,
            page_size: file.page_size,
            length: length as usize,
            reader: Reader { kind: ReaderKind::Pin, since: Instant::now(), ..snapshot.reader() },
            memory,
            own: Mutex::new(own),
            owned: AtomicU64::new(owned),
            total: Arc::clone(&self.pins.kept),
        });
        self.pins.live.lock().push(Arc::clone(&pinned));
        Ok(Pin { files: Arc::clone(self), pinned })
    }

    /// Rule 3: what a pin takes for itself, writers cannot use.
    fn leave_room_for_writers(&self, file: &PagedFile, kept: u64) -> Result<()> {
        let (used, limit) = (self.private_bytes(), self.options.dirty_hard);
        if self.options.read_only || used + kept <= limit {
            return Ok(());
        }
        let name = file.id.name();
        let text = format!(
            "a pin of {name} needs more private memory than dirty_hard ({limit} bytes) leaves: {used} bytes are in \
             use, and {kept} did not do"
        );
        Err(Error::Full(text.into()))
    }

    /// Rule 2, a few pages at a time, so that a checkpoint never waits long.
    fn verify_pin(&self, pin: &Pin, file: &PagedFile) -> Result<()> {
        let count = pin.pinned.own.lock().len() as u64;
        let mut bytes = memory::zeros(file.page_size, "a page")?;
        for first in (0..count).step_by(VERIFIED_AT_ONCE as usize) {
            let _one = self.checkpointing.lock();
            for page in first..count.min(first + VERIFIED_AT_ONCE) {
                if !pin.pinned.owns(page) {
                    file.load_verified(page, &mut bytes)?;
                }
            }
        }
        Ok(())
    }
}

impl Pin {
    /// The file's bytes, up to its length at the cut.
    pub fn bytes(&self) -> &[u8] {
        self.pinned.memory.as_ref().map_or(&[], |memory| still(memory, BLOCK_SIZE as usize, self.pinned.length))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        // In a forked child another thread may have held the lock.
        if !self.files.shared.mark.forked() {
            self.files.pins.live.lock().retain(|pinned| !Arc::ptr_eq(pinned, &self.pinned));
        }
    }
}

impl Pins {
    /// Rule 1: called by whoever is about to overwrite pages of a data file, and before it says so anywhere.
    pub fn keep(&self, file: &PagedFile, pages: Range<u64>) -> Result<()> {
        // The system may have to read the pages first: not under the lock of the list.
        let pins: Vec<_> = self.live.lock().iter().filter(|pin| pin.file == file.id).cloned().collect();
        for pin in pins {
            pin.keep(&pages).map_err(|error| {
                let name = file.id.name();
                let text = format!("the pages of {name} that {} sees cannot be kept for it: {error}", pin.reader);
                Error::Full(text.into())
            })?;
        }
        Ok(())
    }

    /// The private memory of all pins, in bytes.
    pub fn kept(&self) -> u64 {
        self.kept.load(Ordering::Relaxed)
    }

    pub fn figures(&self) -> PinFigures {
        let live = self.live.lock();
        let mapped = live.iter().filter_map(|pin| pin.memory.as_ref()).map(|memory| memory.size() as u64).sum();
        PinFigures { count: live.len() as u64, kept: self.kept(), mapped }
    }

    /// The oldest pin that has private memory.
    pub fn oldest(&self) -> Option<Reader> {
        let live = self.live.lock();
        let holding = live.iter().filter(|pin| pin.owned.load(Ordering::Relaxed) > 0);
        holding.map(|pin| pin.reader).min_by_key(|it| it.since)
    }
}

impl Pinned {
    fn owns(&self, page: u64) -> bool {
        self.own.lock()[page as usize]
    }

    /// Makes these pages the pin's own, as they are in the file now.
    fn keep(&self, pages: &Range<u64>) -> std::io::Result<()> {
        let Some(memory) = &self.memory else { return Ok(()) };
        let mut own = self.own.lock();
        let end = pages.end.min(own.len() as u64);
        let mut page = pages.start;
        while page < end {
            let run = own[page as usize..end as usize].iter().take_while(|own| !**own).count();
            if run > 0 {
                memory.keep(place(page, self.page_size), run * self.page_size)?;
                own[page as usize..][..run].fill(true);
                let bytes = (run * self.page_size) as u64;
                self.owned.fetch_add(bytes, Ordering::Relaxed);
                self.total.fetch_add(bytes, Ordering::Relaxed);
            }
            page += run.max(1) as u64;
        }
        Ok(())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.total.fetch_sub(*self.owned.get_mut(), Ordering::Relaxed);
    }
}

/// Memory for `count` pages, and how many of them show the file: those on disk, or none where there are no maps.
fn map(file: &PagedFile, on_disk: u64, count: u64) -> Result<(Option<StillMap>, u64)> {
    if count == 0 {
        return Ok((None, 0));
    }
    let refused = |_| no_memory(file, count);
    if on_disk > 0
        && !file.shared.pread
        && let Some(map) = file.data()?.map_still(file.offset(on_disk), file.offset(count)).map_err(refused)?
    {
        return Ok((Some(map), on_disk));
    }
    Ok((Some(StillMap::new(file.offset(count) as usize).map_err(refused)?), 0))
}

/// Where a page lies in the memory.
fn place(page: u64, page_size: usize) -> usize {
    BLOCK_SIZE as usize + page as usize * page_size
}

fn no_memory(file: &PagedFile, count: u64) -> Error {
    let bytes = count * file.page_size as u64;
    Error::NoMemory(format!("no memory, or no addresses, for a pin of the {bytes} bytes of {}", file.id.name()).into())
}
