//! A commit: from edits to a frame of the wal and changed pages.
//!
//! ```text
//! tails of the files appended to    the offsets are known now, and with them the frame
//!   stripes of the pages touched    the pages are in frames, the expectations hold
//!     wal                           the frame gets its LSN; lengths move
//!   the pages change
//! lengths become visible
//! ```
//!
//! Whatever is missing on the way down (a page in memory, room in a file or in the wal) is not waited for: all locks
//! are released, the thing is provided, and the commit starts again. So only what was provided before can fail, and
//! nothing fails after the LSN is taken: by then even the lists of the stripes have the pages, and a commit that is
//! called off takes them back before it lets go of the stripes.

use std::cell::Cell;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::checksum::{crc32c, page_sum};
use crate::memory;
use crate::mutant::{Mutant, broken};
use crate::os::sync::{MutexGuard, Ordering, thread_local};
use crate::os::{retry, write_all_at};
use crate::wal::{Append, PoisonOnPanic};

use super::PagedFiles;
use super::cache::{OldImage, PageKey, Stripe};
use super::copy::PageEntry;
use super::file::{PageMeta, PagedFile};
use super::redo::Redo;

/// One part of a commit.
#[derive(Clone, Copy)]
pub enum Edit<'a> {
    /// These bytes replace what is at `offset`, below the length.
    Write {
        /// The file.
        file: &'a Arc<PagedFile>,
        /// Where, in bytes.
        offset: u64,
        /// What.
        bytes: &'a [u8],
        /// Only if the byte at this place among those to be replaced has this value.
        given: Option<(usize, u8)>,
        /// Added to the file's tally.
        tally: i64,
    },
    /// These bytes go to the end of the file.
    Append {
        /// The file.
        file: &'a Arc<PagedFile>,
        /// What.
        bytes: &'a [u8],
        /// Added to the file's tally.
        tally: i64,
    },
    /// Full pages at the end, which lie in the data file already, belong to the file from now on.
    Adopt {
        /// The file.
        file: &'a Arc<PagedFile>,
        /// The sum of each page, as bytes.
        sums: &'a [u8],
        /// Added to the file's tally.
        tally: i64,
    },
    /// The commit happens only if these bytes are at `offset` before it. They lie in one page, below the length.
    Expect {
        /// The file.
        file: &'a Arc<PagedFile>,
        /// Where, in bytes.
        offset: u64,
        /// What.
        bytes: &'a [u8],
    },
}

/// What became of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has this LSN.
    Done(u64),
    /// The edit with this index expected something else. Nothing happened.
    Refused(usize),
}

/// The part of an edit that lies in one page.
#[derive(Clone, Copy)]
struct Piece {
    edit: u32,
    stripe: u32,
    page: u64,
    /// Where in the page.
    at: u32,
    /// Where in the edit's bytes.
    start: u32,
    size: u32,
}

impl Piece {
    fn entry<'a>(&self, edits: &'a [Edit<'_>]) -> &'a PageEntry {
        edits[self.edit as usize].file().entries.get(self.page).expect("a framed page has an entry")
    }
}

/// The pages of a commit while they change. A page that it changes twice is seen by nobody in between.
struct Settling<'a> {
    edits: &'a [Edit<'a>],
    pieces: &'a [Piece],
}

impl Drop for Settling<'_> {
    fn drop(&mut self) {
        self.pieces.iter().for_each(|piece| piece.entry(self.edits).settle());
    }
}

/// How many pieces ahead a commit brings near what it will look at.
const AHEAD: usize = 8;

/// A page whose state changed because of a commit that may still be called off.
struct Marked {
    piece: usize,
    epoch: u64,
    listed: u64,
    /// It was put on its stripe's list of dirty pages.
    dirtied: bool,
    /// A copy of it was left for an older cut.
    copied: bool,
}

/// Buffers that every commit of a thread uses again.
#[derive(Default)]
struct Scratch {
    payload: Vec<u8>,
    pieces: Vec<Piece>,
    /// Of the pages that are adopted, then of all.
    stripes: Vec<u32>,
    marked: Vec<Marked>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
    /// A page on its way into a frame.
    static PAGE: Cell<Vec<u8>> = Cell::default();
}

/// Why an attempt went no further.
enum Stop {
    Missing(Missing),
    Refused(usize),
}

/// What an attempt found missing.
enum Missing {
    Pages,
    FileRoom(Arc<PagedFile>, u64),
    WalRoom(usize, u64),
    Nothing,
}

impl PagedFiles {
    /// Commits all edits or, where one expects something else, none. Does not wait for durability. `placed` is told
    /// the offset that each `Append` got. Edits of one commit apply in their order; expectations look at the state
    /// before all of them.
    pub fn commit(&self, edits: &[Edit<'_>], placed: impl FnMut(usize, u64)) -> Result<Outcome> {
        self.commit_holding(edits, None, placed)
    }

    fn commit_holding(
        &self,
        edits: &[Edit<'_>],
        held: Option<&Arc<PagedFile>>,
        mut placed: impl FnMut(usize, u64),
    ) -> Result<Outcome> {
        self.admit_writer()?;
        // A destructor of this thread may call us when the scratch is gone: then a new one serves.
        let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
        let result = self.commit_with(&mut scratch, edits, held, &mut placed);
        // One large commit must not keep its memory for the life of the thread.
        if scratch.payload.capacity() <= 1 << 20 {
            let _ = SCRATCH.try_with(|kept| kept.set(scratch));
        }
        result
    }

    fn commit_with(
        &self,
        scratch: &mut Scratch,
        edits: &[Edit<'_>],
        held: Option<&Arc<PagedFile>>,
        placed: &mut impl FnMut(usize, u64),
    ) -> Result<Outcome> {
        loop {
            match self.attempt(edits, held, scratch, placed)? {
                Ok(outcome) => return Ok(outcome),
                Err(Missing::Nothing) => {}
                Err(Missing::Pages) => {
                    for piece in &scratch.pieces {
                        let file = edits[piece.edit as usize].file();
                        if !file.has_frame(piece.page) {
                            self.bring_in(file, piece.page)?;
                        }
                    }
                }
                Err(Missing::FileRoom(file, pages)) => self.make_file_room(&file, pages)?,
                Err(Missing::WalRoom(size, dirtied)) => self.make_wal_room(size, dirtied)?,
            }
        }
    }

    fn attempt(
        &self,
        edits: &[Edit<'_>],
        held: Option<&Arc<PagedFile>>,
        scratch: &mut Scratch,
        placed: &mut impl FnMut(usize, u64),
    ) -> Result<std::result::Result<Outcome, Missing>> {
        let tails = Tails::lock(edits, held)?;
        scratch.payload.clear();
        scratch.pieces.clear();
        scratch.marked.clear();
        scratch.stripes.clear();
        if let Some(missing) = self.lay_out(edits, scratch)? {
            return Ok(Err(missing));
        }
        // A look without the locks: where the first page is not there, most of the rest is in vain.
        if scratch.pieces.first().is_some_and(|piece| !edits[piece.edit as usize].file().has_frame(piece.page)) {
            return Ok(Err(Missing::Pages));
        }
        let crc = crc32c(0, &scratch.payload);
        let mut stripes = Stripes::lock(self, scratch)?;
        let epoch = self.wal.epoch();
        if edits.iter().any(|edit| edit.file().is_dropped()) {
            // After the epoch was read: a drop from here on moves it.
            return Ok(Err(Missing::Nothing));
        }
        let stop = self.examine(edits, scratch, &mut stripes, epoch);
        if !matches!(stop, Ok(None)) {
            self.undo(edits, scratch, &mut stripes);
        }
        match stop? {
            None => {}
            Some(Stop::Missing(missing)) => return Ok(Err(missing)),
            Some(Stop::Refused(edit)) => return Ok(Ok(Outcome::Refused(edit))),
        }
        if scratch.payload.is_empty() {
            return Ok(Ok(Outcome::Done(self.wal.last())));
        }
        let dirtied = scratch.marked.iter().filter(|marked| marked.dirtied).count() as u64;
        let appended = self.wal.append(&scratch.payload, crc, epoch, dirtied, |_| move_lengths(edits));
        let lsn = match appended {
            Append::Done(lsn) => lsn,
            other => {
                self.undo(edits, scratch, &mut stripes);
                return match other {
                    Append::NeedRoom => Ok(Err(Missing::WalRoom(scratch.payload.len(), dirtied))),
                    Append::EpochMoved => Ok(Err(Missing::Nothing)),
                    _ => Err(self.wal.poisoned()),
                };
            }
        };

        // From here on nothing can fail; should something panic, the pages are not what the wal says.
        let _unfinished = PoisonOnPanic::new(&self.wal);
        let settling = Settling { edits, pieces: &scratch.pieces };
        for piece in &scratch.pieces {
            let edit = &edits[piece.edit as usize];
            if let Some(bytes) = edit.written() {
                let (entry, page_size) = (piece.entry(edits), edit.file().page_size);
                entry.write(page_size, piece.at as usize, &bytes[piece.start as usize..][..piece.size as usize]);
            }
        }
        drop(settling);
        self.publish(edits, placed);
        drop(stripes);
        drop(tails);
        self.stats.page_writes.add(scratch.pieces.len() as i64);
        Ok(Ok(Outcome::Done(lsn)))
    }

    /// The pages hold their bytes: readers may see the new lengths. Under the tails and the stripes.
    fn publish(&self, edits: &[Edit<'_>], placed: &mut impl FnMut(usize, u64)) {
        for (index, edit) in edits.iter().enumerate().filter(|(_, edit)| edit.growth() > 0) {
            let file = edit.file();
            let offset = file.length.load(Ordering::Relaxed);
            if let Edit::Adopt { sums, .. } = edit {
                let first = offset / file.page_size as u64;
                file.disk_pages.fetch_max(first + sums.len() as u64 / 8, Ordering::AcqRel);
                self.free_forerunners(file, first..first + sums.len() as u64 / 8);
            }
            placed(index, offset);
            file.length.store(offset + edit.growth(), Ordering::Release);
        }
    }

    /// Takes away the empty frames of pages that the data file has from now on: an append that came to nothing may
    /// have brought some in. Nobody can do so any more, since the pages count as on disk; and a scan, which sees them
    /// since the frame has its LSN, waits for the stripes, so it finds no empty page. Under the stripes.
    fn free_forerunners(&self, file: &PagedFile, pages: std::ops::Range<u64>) {
        for page in pages {
            if file.entries.get(page).is_some_and(|entry| entry.retire(&file.pool).is_some()) {
                self.shared.dirty_bytes.fetch_sub(file.page_size as u64, Ordering::Relaxed);
            }
        }
    }

    /// Under the stripes: are all pages in frames, do the expectations hold? Marks the pages that will change.
    fn examine(
        &self,
        edits: &[Edit<'_>],
        scratch: &mut Scratch,
        stripes: &mut Stripes<'_>,
        epoch: u64,
    ) -> Result<Option<Stop>> {
        for (index, piece) in scratch.pieces.iter().enumerate() {
            if let Some(later) = scratch.pieces.get(index + AHEAD) {
                let bytes = (later.at as usize, later.size as usize);
                edits[later.edit as usize].file().prefetch(later.page, Some(bytes));
            }
            let edit = &edits[piece.edit as usize];
            let file = edit.file();
            let Some(entry) = file.entries.get(piece.page).filter(|entry| entry.has_frame()) else {
                return Ok(Some(Stop::Missing(Missing::Pages)));
            };
            if let Edit::Expect { bytes, .. } = edit {
                let expected = &bytes[piece.start as usize..][..piece.size as usize];
                if !entry.frame_holds(file.page_size, piece.at as usize, expected) {
                    return Ok(Some(Stop::Refused(piece.edit as usize)));
                }
                continue;
            }
            if let Edit::Write { given: Some((place, byte)), .. } = edit {
                let here = piece.start as usize..(piece.start + piece.size) as usize;
                let at = (piece.at as usize + place).wrapping_sub(here.start);
                if here.contains(place) && !entry.frame_holds(file.page_size, at, &[*byte]) {
                    return Ok(Some(Stop::Refused(piece.edit as usize)));
                }
            }
            let meta = file.metas.get_or_make(piece.page)?;
            if meta.epoch.load(Ordering::Relaxed) < epoch {
                memory::reserve(&mut scratch.marked, 1, "the pages of a commit")?;
                scratch.marked.push(self.mark(file, piece, meta, stripes.get(piece.stripe), epoch, index)?);
            }
        }
        Ok(None)
    }

    /// Finds the place of every edit, and writes the frame's payload. Says what room is missing.
    fn lay_out(&self, edits: &[Edit<'_>], scratch: &mut Scratch) -> Result<Option<Missing>> {
        let mut ends = Ends::default();
        for (index, edit) in edits.iter().enumerate() {
            let file = edit.file();
            if file.is_dropped() {
                return Err(Error::NotFound("the table was dropped".into()));
            }
            match *edit {
                Edit::Write { offset, bytes, .. } => {
                    Redo::Write { file: file.id, offset, bytes }.put(&mut scratch.payload)?;
                    self.cut_into_pieces(index, file, offset, bytes.len(), scratch)?;
                }
                Edit::Append { bytes, .. } => {
                    let offset = ends.take(file, bytes.len() as u64)?;
                    let pages = file.pages_of(offset + bytes.len() as u64);
                    if !file.has_room(pages) {
                        return Ok(Some(Missing::FileRoom(Arc::clone(file), pages)));
                    }
                    Redo::Write { file: file.id, offset, bytes }.put(&mut scratch.payload)?;
                    self.cut_into_pieces(index, file, offset, bytes.len(), scratch)?;
                }
                Edit::Adopt { sums, .. } => {
                    let size = sums.len() as u64 / 8 * file.page_size as u64;
                    let offset = ends.take(file, size)?;
                    let first = offset / file.page_size as u64;
                    debug_assert!(offset % file.page_size as u64 == 0);
                    Redo::Adopt { file: file.id, first, sums }.put(&mut scratch.payload)?;
                    let pages = first..first + (sums.len() as u64 / 8).min(u64::from(self.cache.stripe_count()));
                    let stripe_of = |page| self.cache.stripe_of(PageKey { file: file.id, page });
                    memory::reserve(&mut scratch.stripes, (pages.end - pages.start) as usize, "the pages of a commit")?;
                    scratch.stripes.extend(pages.map(stripe_of));
                }
                Edit::Expect { offset, bytes, .. } => {
                    self.cut_into_pieces(index, file, offset, bytes.len(), scratch)?;
                }
            }
        }
        for_each_file(edits, |file, growth, tally| {
            if growth > 0 && !broken(Mutant::LengthNotLogged) {
                // The tail is held, so nobody else moves the length.
                let length = file.committed.load(Ordering::Relaxed) + growth;
                Redo::Length { file: file.id, length }.put(&mut scratch.payload)?;
            }
            if tally != 0 && !broken(Mutant::TallyNotLogged) {
                Redo::Tally { file: file.id, added: tally }.put(&mut scratch.payload)?;
            }
            Ok(())
        })?;
        let size = scratch.payload.len() as u64;
        if size > self.options.commit_max {
            let limit = self.options.commit_max;
            let text = format!("a commit of {size} bytes is larger than the limit of {limit}; split it");
            return Err(Error::TooLarge(text.into()));
        }
        self.refuse_too_many_pages(edits, scratch)?;
        Ok(None)
    }

    /// All pages of a commit are in memory at once; more than writers may use together can never be.
    fn refuse_too_many_pages(&self, edits: &[Edit<'_>], scratch: &Scratch) -> Result<()> {
        let size = |piece: &Piece| edits[piece.edit as usize].file().page_size as u64;
        let limit = self.options.dirty_hard / 2;
        if scratch.pieces.len() as u64 * scratch.pieces.iter().map(size).max().unwrap_or(0) <= limit {
            return Ok(());
        }
        let of_page = |piece: &Piece| (edits[piece.edit as usize].file().id.0, piece.page, size(piece));
        let pages = scratch.pieces.iter().map(of_page);
        let mut pages = memory::collect(scratch.pieces.len(), pages, "the pages of a commit")?;
        pages.sort_unstable();
        pages.dedup();
        let bytes: u64 = pages.iter().map(|(_, _, size)| size).sum();
        if bytes <= limit {
            return Ok(());
        }
        let text = format!("a commit that touches {bytes} bytes of pages is over the limit of {limit}; split it");
        Err(Error::TooLarge(text.into()))
    }

    fn cut_into_pieces(
        &self,
        edit: usize,
        file: &PagedFile,
        offset: u64,
        size: usize,
        scratch: &mut Scratch,
    ) -> Result<()> {
        let page_size = file.page_size as u64;
        memory::reserve(&mut scratch.pieces, size / file.page_size + 2, "the pages of a commit")?;
        let mut start = 0;
        while start < size {
            let page = (offset + start as u64) / page_size;
            let at = (offset + start as u64) % page_size;
            let count = (size - start).min((page_size - at) as usize);
            let stripe = self.cache.stripe_of(PageKey { file: file.id, page });
            scratch.pieces.push(Piece {
                edit: edit as u32,
                stripe,
                page,
                at: at as u32,
                start: start as u32,
                size: count as u32,
            });
            start += count;
        }
        Ok(())
    }

    /// Notes that a page changes in this epoch for the first time: on its stripe's list of dirty pages, and with a
    /// copy of it for a cut that needs one. After an error nothing is noted.
    fn mark(
        &self,
        file: &PagedFile,
        piece: &Piece,
        meta: &PageMeta,
        stripe: &mut Stripe,
        epoch: u64,
        index: usize,
    ) -> Result<Marked> {
        let key = PageKey { file: file.id, page: piece.page };
        let last = meta.epoch.load(Ordering::Relaxed);
        let listed = meta.listed.load(Ordering::Relaxed);
        // Should a cut be made from here on, the epoch moves and all is undone.
        let dirtied = listed <= self.wal.checkpoint_epoch() && !(listed > 0 && broken(Mutant::DirtyPageNotListedAgain));
        let copied = self.cache.needs_copy(last, listed, meta.taken.load(Ordering::Relaxed));
        memory::reserve(&mut stripe.dirty, 1, "the list of dirty pages")?;
        if copied {
            let page = Arc::new(file.pool.twin(file.entry(piece.page)?)?);
            self.cache.leave(stripe, key, OldImage { first: last, last: epoch - 1, page })?;
        }
        meta.epoch.store(epoch, Ordering::Relaxed);
        if dirtied {
            meta.listed.store(epoch, Ordering::Relaxed);
            stripe.dirty.push((key, epoch));
        }
        Ok(Marked { piece: index, epoch: last, listed, dirtied, copied })
    }

    /// Takes back the marks of an attempt that was called off, the last one first. Under the same stripes.
    fn undo(&self, edits: &[Edit<'_>], scratch: &mut Scratch, stripes: &mut Stripes<'_>) {
        for marked in scratch.marked.drain(..).rev() {
            let piece = &scratch.pieces[marked.piece];
            let file = edits[piece.edit as usize].file();
            let stripe = stripes.get(piece.stripe);
            if marked.dirtied {
                stripe.dirty.pop();
            }
            if marked.copied {
                self.cache.take_back(stripe, PageKey { file: file.id, page: piece.page });
            }
            if let Some(meta) = file.metas.get(piece.page) {
                meta.epoch.store(marked.epoch, Ordering::Relaxed);
                meta.listed.store(marked.listed, Ordering::Relaxed);
            }
        }
    }

    /// Gives a page a frame with its bytes, so that it can be changed under the stripe lock without a wait.
    pub(super) fn bring_in(&self, file: &Arc<PagedFile>, page: u64) -> Result<()> {
        let mut bytes = PAGE.try_with(Cell::take).unwrap_or_default();
        if bytes.len() < file.page_size {
            bytes = memory::zeros(file.page_size, "a page")?;
        }
        let result = self.bring_in_by_way_of(&mut bytes[..file.page_size], file, page);
        let _ = PAGE.try_with(|kept| kept.set(bytes));
        result
    }

    fn bring_in_by_way_of(&self, bytes: &mut [u8], file: &Arc<PagedFile>, page: u64) -> Result<()> {
        let entry = file.entry(page)?;
        let version = entry.version();
        let on_disk = page < file.disk_pages.load(Ordering::Acquire);
        if !on_disk {
            bytes.fill(0);
        } else {
            // Verified also where it was before: what rotted since must not get a new sum.
            match file.load_verified(page, bytes) {
                // Another writer brought it in, so a checkpoint may be writing it: half new, it matches no sum.
                Err(_) if entry.has_frame() || entry.version() != version => return Ok(()),
                other => other?,
            }
        }
        let frame = file.pool.frame(bytes)?;
        let key = PageKey { file: file.id, page };
        let mut stripe = self.cache.lock(self.cache.stripe_of(key));
        let still = entry.version() == version || version == 0 && entry.version() == 1;
        if still
            && !entry.has_frame()
            && !file.is_dropped()
            && on_disk == (page < file.disk_pages.load(Ordering::Acquire))
        {
            memory::reserve(&mut stripe.visitors, 1, "the list of pages in memory")?;
            entry.install(frame);
            stripe.visitors.push(key);
            let before = self.shared.dirty_bytes.fetch_add(file.page_size as u64, Ordering::Relaxed);
            if before >= self.options.dirty_soft {
                self.request_checkpoint();
            }
        }
        Ok(())
    }

    /// Appends `size` bytes, whose full pages go straight to the data file if they are many. `fill` is asked for
    /// the bytes piece by piece, in order, and may refuse; then nothing has happened. Returns the offset and LSN.
    pub fn append_in_bulk(
        &self,
        file: &Arc<PagedFile>,
        size: u64,
        tally: i64,
        mut fill: impl FnMut(u64, &mut [u8]) -> Result<()>,
    ) -> Result<(u64, u64)> {
        const PIECE: u64 = 2 << 20;
        self.admit_writer()?;
        let page_size = file.page_size as u64;
        loop {
            let tail = file.tail.lock();
            if file.is_dropped() {
                return Err(Error::NotFound("the table was dropped".into()));
            }
            let start = file.committed.load(Ordering::Acquire);
            let pages = file.pages_of(start + size);
            if !file.has_room(pages) {
                drop(tail);
                self.make_file_room(file, pages)?;
                continue;
            }
            let head = (start.next_multiple_of(page_size) - start).min(size);
            let full = (size - head) / page_size;
            let mut head_bytes = memory::zeros(head as usize, "a bulk append")?;
            fill(0, &mut head_bytes)?;
            let mut sums = memory::zeros(full as usize * 8, "the sums of a bulk append")?;
            let first = (start + head) / page_size;
            let mut buffer = memory::zeros((PIECE + page_size).min(full * page_size) as usize, "a bulk append")?;
            let writer = file.writer()?;
            let failed = |error: std::io::Error| {
                self.wal.fail(format!("it could not write {}: {error}", file.id.name()).into());
                self.wal.poisoned()
            };
            let (mut done, mut held) = (0, 0);
            let mut offset = file.offset(first);
            while done < full {
                // Pieces end at multiples of their size in the file, so that the kernel caches each in one huge page,
                // which the map then shows as one.
                let piece = PIECE - offset % PIECE;
                let count = (piece - held).div_ceil(page_size).min(full - done);
                let bytes = &mut buffer[held as usize..(held + count * page_size) as usize];
                fill(head + done * page_size, bytes)?;
                for (index, page) in bytes.chunks_exact(page_size as usize).enumerate() {
                    let number = done as usize + index;
                    let sum = page_sum(file.id.0, first + number as u64, page);
                    sums[number * 8..][..8].copy_from_slice(&sum.to_le_bytes());
                }
                done += count;
                held += count * page_size;
                let written = if done < full { piece } else { held };
                let _writing = file.writing.lock();
                write_all_at(&*writer.data, &buffer[..written as usize], offset).map_err(failed)?;
                writer.data.start_writeback(offset, written);
                buffer.copy_within(written as usize..held as usize, 0);
                held -= written;
                offset += written;
            }
            let mut tail_bytes = memory::zeros((size - head - full * page_size) as usize, "a bulk append")?;
            fill(head + full * page_size, &mut tail_bytes)?;
            if full > 0 && !broken(Mutant::BulkDataNotSynced) && !broken(Mutant::BulkFrameBeforeData) {
                let _syncing = self.shared.syncing.read();
                retry(|| writer.data.sync()).map_err(failed)?;
            }
            if full > 0 && !broken(Mutant::BulkNameNotSynced) {
                // The name must be as durable as what the frame will say of the file.
                retry(|| self.shared.disk.sync_folder("data")).map_err(failed)?;
            }
            let edits = [
                Edit::Append { file, bytes: &head_bytes, tally: 0 },
                Edit::Adopt { file, sums: &sums, tally },
                Edit::Append { file, bytes: &tail_bytes, tally: 0 },
            ];
            // Before the frame: a checkpoint whose line comes behind it must find the sums.
            if !broken(Mutant::BulkSumsNotKept) {
                file.keep_sums(first, &sums);
            }
            let outcome = self.commit_holding(&edits, Some(file), |_, _| {})?;
            if broken(Mutant::BulkFrameBeforeData) {
                self.flush()?;
                retry(|| writer.data.sync()).map_err(failed)?;
            }
            drop(tail);
            return match outcome {
                Outcome::Done(lsn) => Ok((start, lsn)),
                Outcome::Refused(_) => unreachable!("a bulk append expects nothing"),
            };
        }
    }
}

impl<'a> Edit<'a> {
    fn file(&self) -> &'a Arc<PagedFile> {
        match self {
            Edit::Write { file, .. }
            | Edit::Append { file, .. }
            | Edit::Adopt { file, .. }
            | Edit::Expect { file, .. } => file,
        }
    }

    /// The bytes that go into pages.
    fn written(&self) -> Option<&'a [u8]> {
        match self {
            Edit::Write { bytes, .. } | Edit::Append { bytes, .. } => Some(bytes),
            Edit::Adopt { .. } | Edit::Expect { .. } => None,
        }
    }

    /// How many bytes the file grows by.
    fn growth(&self) -> u64 {
        match self {
            Edit::Append { bytes, .. } => bytes.len() as u64,
            Edit::Adopt { file, sums, .. } => sums.len() as u64 / 8 * file.page_size as u64,
            Edit::Write { .. } | Edit::Expect { .. } => 0,
        }
    }

    fn tally(&self) -> i64 {
        match self {
            Edit::Write { tally, .. } | Edit::Append { tally, .. } | Edit::Adopt { tally, .. } => *tally,
            Edit::Expect { .. } => 0,
        }
    }
}

/// Where the next append to each file goes, while a frame is laid out.
#[derive(Default)]
struct Ends {
    one: Option<(u32, u64)>,
    more: std::collections::HashMap<u32, u64>,
}

impl Ends {
    /// The offset for `size` more bytes of `file`.
    fn take(&mut self, file: &PagedFile, size: u64) -> Result<u64> {
        let end = match &mut self.one {
            Some((id, end)) if *id == file.id.0 => end,
            None => &mut self.one.insert((file.id.0, file.committed.load(Ordering::Relaxed))).1,
            Some(_) => {
                self.more.try_reserve(1).map_err(memory::refused("the tables of a commit"))?;
                self.more.entry(file.id.0).or_insert_with(|| file.committed.load(Ordering::Relaxed))
            }
        };
        let offset = *end;
        *end += size;
        Ok(offset)
    }
}

/// Calls `act` once for every file among the edits, with the growth of its length and the change of its tally.
fn for_each_file(edits: &[Edit<'_>], mut act: impl FnMut(&PagedFile, u64, i64) -> Result<()>) -> Result<()> {
    if let [edit] = edits {
        return act(edit.file(), edit.growth(), edit.tally());
    }
    let mut sums: Vec<(&Arc<PagedFile>, u64, i64)> = Vec::new();
    for edit in edits.iter().filter(|edit| edit.growth() > 0 || edit.tally() != 0) {
        memory::reserve(&mut sums, 1, "the tables of a commit")?;
        let index = sums.iter().rposition(|(file, ..)| Arc::ptr_eq(file, edit.file())).unwrap_or_else(|| {
            sums.push((edit.file(), 0, 0));
            sums.len() - 1
        });
        sums[index].1 += edit.growth();
        sums[index].2 += edit.tally();
    }
    sums.into_iter().try_for_each(|(file, growth, tally)| act(file, growth, tally))
}

/// Under the wal's lock: from now on a cut sees these lengths.
fn move_lengths(edits: &[Edit<'_>]) {
    for edit in edits {
        if edit.growth() > 0 {
            edit.file().committed.fetch_add(edit.growth(), Ordering::Release);
        }
        if edit.tally() != 0 {
            edit.file().tally.fetch_add(edit.tally(), Ordering::AcqRel);
        }
    }
}

/// The tails of all files that a commit appends to, locked by ascending number.
struct Tails<'a> {
    _one: Option<MutexGuard<'a, ()>>,
    _more: Vec<MutexGuard<'a, ()>>,
}

impl<'a> Tails<'a> {
    fn lock(edits: &[Edit<'a>], held: Option<&Arc<PagedFile>>) -> Result<Tails<'a>> {
        let mut files = Vec::new();
        for edit in edits.iter().filter(|edit| edit.growth() > 0) {
            let file = edit.file();
            if edits.len() == 1 {
                return Ok(Tails { _one: held.is_none().then(|| file.tail.lock()), _more: Vec::new() });
            }
            if !held.is_some_and(|held| Arc::ptr_eq(held, file)) {
                memory::reserve(&mut files, 1, "the tables of a commit")?;
                files.push(file);
            }
        }
        files.sort_unstable_by_key(|file| file.id);
        files.dedup_by_key(|file| file.id);
        let locked = files.iter().map(|file| file.tail.lock());
        Ok(Tails { _one: None, _more: memory::collect(files.len(), locked, "the tables of a commit")? })
    }
}

/// The stripes of all pages that a commit touches, locked in ascending order.
enum Stripes<'a> {
    One(MutexGuard<'a, Stripe>),
    Many(Vec<(u32, MutexGuard<'a, Stripe>)>),
}

impl<'a> Stripes<'a> {
    fn lock(files: &'a PagedFiles, scratch: &mut Scratch) -> Result<Stripes<'a>> {
        if let ([piece], []) = (scratch.pieces.as_slice(), scratch.stripes.as_slice()) {
            return Ok(Stripes::One(files.cache.lock(piece.stripe)));
        }
        memory::reserve(&mut scratch.stripes, scratch.pieces.len(), "the pages of a commit")?;
        scratch.stripes.extend(scratch.pieces.iter().map(|piece| piece.stripe));
        scratch.stripes.sort_unstable();
        scratch.stripes.dedup();
        let locked = scratch.stripes.iter().map(|stripe| (*stripe, files.cache.lock(*stripe)));
        Ok(Stripes::Many(memory::collect(scratch.stripes.len(), locked, "the pages of a commit")?))
    }

    fn get(&mut self, stripe: u32) -> &mut Stripe {
        match self {
            Stripes::One(guard) => guard,
            Stripes::Many(guards) => {
                let index = guards.binary_search_by_key(&stripe, |(number, _)| *number);
                &mut guards[index.expect("every touched stripe is locked")].1
            }
        }
    }
}
