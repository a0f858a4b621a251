//! A checkpoint: the files become exactly the state at one cut, beside running commits.
//!
//! ```text
//! cut               the wal goes on in a new segment; C is the last LSN of the old one
//! wait              all up to C is applied (each stripe is locked once) and synced
//! piece by piece    take the pages' images as of C; log their sums and sync the wal; write pages and sums
//! sync              every file that was written
//! catalog           as of C, beside the one in force
//! manifest          the other slot: from now on recovery starts at C
//! free              frames that did not change since, old images, segments before the cut, dropped files
//! ```
//!
//! Until the manifest is synced, recovery starts at the checkpoint before. It then finds pages that this checkpoint
//! wrote, wholly or torn; the sums in the wal tell them from damage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::format::bytes::Put;
use crate::format::checksum::page_sum;
use crate::memory;
use crate::mutant::{Mutant, broken, heard_unless};
use crate::os::sync::Ordering;
use crate::os::{DiskFile, read_exact_at, retry, write_all_at};
use crate::wal::{Cut, Need, PoisonOnPanic};

use super::PagedFiles;
use super::cache::{PageKey, Stripe};
use super::file::{FileId, FileImage, PageMeta, PagedFile, Writer};
use super::redo::Redo;
use super::root;

/// What one checkpoint has to do.
struct Work {
    cut: Cut,
    /// The state of every file as of the cut.
    images: Vec<FileImage>,
    files: BTreeMap<FileId, Arc<PagedFile>>,
    /// How many files were dropped before the cut: the catalog's list begins with them, and their frames can go.
    dropped: usize,
    next_file: u32,
    /// Dirty pages as of the cut, ascending. The lists of the stripes keep them until the checkpoint is over.
    pages: Vec<PageKey>,
    /// How many pages of each file lie wholly below its length.
    full_pages: BTreeMap<FileId, u64>,
    /// How many of the pages have their sums in the wal.
    logged: usize,
    /// Bytes of pages that were written since the last sync of the files.
    unsynced: usize,
}

impl PagedFiles {
    /// Makes the files hold all that was committed before the call.
    pub fn checkpoint(&self) -> Result<()> {
        let _one = self.checkpointing.lock();
        self.checkpoint_locked()
    }

    /// A checkpoint by whoever holds `checkpointing`.
    pub(super) fn checkpoint_locked(&self) -> Result<()> {
        if self.wal.failure().is_some() {
            return Err(self.wal.poisoned());
        }
        if self.options.read_only {
            return Err(Error::Unsupported("the database was opened read-only: there is nothing to write".into()));
        }
        self.wanted.store(false, Ordering::Release);
        if !self.is_changed() {
            // It counts: a writer who waits for memory is to see that checkpoints do not help.
            *self.refused.lock() = None;
            self.stats.attempts.fetch_add(1, Ordering::Release);
            return Ok(());
        }
        let started = Instant::now();
        let _unfinished = PoisonOnPanic::new(&self.wal);
        let result = self.attempt_checkpoint();
        *self.refused.lock() = result.as_ref().err().cloned();
        self.stats.attempts.fetch_add(1, Ordering::Release);
        let work = result?;
        let time = started.elapsed().as_micros() as u64;
        self.stats.checkpoint_us_total.fetch_add(time, Ordering::Relaxed);
        self.stats.checkpoint_us_max.fetch_max(time, Ordering::Relaxed);
        self.stats.checkpoint_pages.fetch_add(work.pages.len() as u64, Ordering::Relaxed);
        self.stats.checkpoints.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn attempt_checkpoint(&self) -> Result<Work> {
        let mut work = self.begin_checkpoint()?;
        let result = self.gather(&mut work).and_then(|()| self.carry_out(&mut work));
        if result.is_ok() {
            self.free(&work);
        } else if self.wal.failure().is_none() {
            self.put_back(&work);
        }
        self.cache.end_checkpoint();
        result?;
        self.clean_up(&work)?;
        Ok(work)
    }

    /// Takes away the files that nobody needs any more. Where that fails they stay, and cost no more than their space.
    fn clean_up(&self, work: &Work) -> Result<()> {
        self.wal.recycle(work.cut.segment)?;
        // Numbers from here on may be on their way into the catalog; and what the manifest's catalog names stays,
        // though it be dropped by now, since a crash may still take the drop back.
        let is_held = |id| self.lock_catalog().dropped.iter().any(|file| file.id == id);
        let limit = if broken(Mutant::NewFilesRemoved) { u32::MAX } else { work.next_file };
        let at_once = |id| broken(Mutant::DroppedFilesRemovedAtOnce) && self.file(id).is_none();
        self.remove_files_without_entry(limit, |id| !at_once(id) && (work.files.contains_key(&id) || is_held(id)))
    }

    /// True if something was committed since the last checkpoint, or replayed, or if writers brought in much that
    /// they did not change, or if a backup has let go of a file that was dropped.
    pub(super) fn is_changed(&self) -> bool {
        self.wal.commits() != self.settled.load(Ordering::Acquire)
            || self.shared.dirty_bytes.load(Ordering::Relaxed) >= self.options.dirty_soft
            || self.lock_catalog().dropped.iter().any(|file| !file.is_held())
    }

    /// Draws the cut.
    fn begin_checkpoint(&self) -> Result<Work> {
        let before = self.wal.checkpoint_epoch();
        let mut images = Vec::new();
        let (cut, files, dropped, next_file) = loop {
            self.wal.prepare_cut()?;
            let catalog = self.lock_catalog();
            memory::reserve(&mut images, catalog.files.len(), "the catalog")?;
            let cut = self.wal.cut(|epoch| {
                self.cache.begin_checkpoint(epoch, before);
                images.extend(catalog.files.values().map(|file| file.image()));
            })?;
            if let Some(cut) = cut {
                break (cut, catalog.files.clone(), catalog.dropped.len(), catalog.next);
            }
        };
        self.settled.store(cut.commits, Ordering::Release);
        let full_pages = images.iter().map(|image| (image.id, image.length / u64::from(image.page_size))).collect();
        Ok(Work { cut, images, files, dropped, next_file, pages: Vec::new(), full_pages, logged: 0, unsynced: 0 })
    }

    /// Lists what was dirty at the cut.
    fn gather(&self, work: &mut Work) -> Result<()> {
        self.sync_wal(work.cut.lsn)?;
        for number in 0..self.cache.stripe_count() {
            // Whoever holds the stripe may still be applying a commit from before the cut.
            let stripe = self.cache.lock(number);
            memory::reserve(&mut work.pages, stripe.dirty.len(), "the list of what a checkpoint writes")?;
            let dirty = stripe.dirty.iter().filter(|(_, listed)| *listed <= work.cut.epoch);
            work.pages.extend(dirty.map(|(key, _)| *key));
        }
        work.pages.sort_unstable();
        Ok(())
    }

    fn carry_out(&self, work: &mut Work) -> Result<()> {
        let catalog = root::encode(&work.images, work.cut.lsn)?;
        // Taking space may fail without harm; a write after it may not.
        let catalog_file = self.root.open_catalog(self.shared.uuid, |file, header| {
            write_all_at(file, header, 0).map_err(|error| self.wal.unwritten("the catalog", &error))
        })?;
        let catalog_offset = self.root.allocate_catalog(&*catalog_file, catalog.len() as u64)?;
        for file in work.files.values() {
            self.write_late_sums(file)?;
            self.sync_crowd()?;
        }
        // An empty list is logged as well: the first block of the new segment must be on disk before a manifest
        // names it.
        loop {
            self.write_chunk(work)?;
            if work.logged == work.pages.len() {
                break;
            }
            // A written file stays open until it is synced, so not too many may be.
            self.sync_crowd()?;
            // What the device is given at once, the wal's next frames stand behind.
            if work.unsynced >= CHUNKS_AT_ONCE * self.options.chunk_size && !broken(Mutant::ManifestBeforeData) {
                self.sync_files(work.files.values().cloned())?;
                work.unsynced = 0;
            }
        }
        if !broken(Mutant::ManifestBeforeData) {
            self.sync_files(work.files.values().cloned())?;
        }
        let failed = |error: std::io::Error| self.broken("write", "the catalog", &error);
        root::write_catalog(&*catalog_file, &catalog, catalog_offset).map_err(failed)?;
        let failed = |error: std::io::Error| self.broken("sync the folder", "data", &error);
        if !broken(Mutant::DataFolderNotSynced) {
            retry(|| self.shared.disk.sync_folder("data")).map_err(failed)?;
        }
        if broken(Mutant::SegmentsFreedBeforeManifest) {
            self.wal.recycle(work.cut.segment)?;
        }
        // A bulk append, or a writer who synced the crowd, may have heard of what befell the pages written here: the
        // system tells one of those who sync a file, and the next that all is well. Those who are about to hear of it
        // are waited for.
        drop(self.shared.syncing.write());
        if self.wal.failure().is_some() && !broken(Mutant::OthersFailureIgnored) {
            return Err(self.wal.poisoned());
        }

        let changed = self.root.advance(|manifest| {
            manifest.clean = false;
            manifest.checkpoint = work.cut.lsn;
            manifest.wal_segment = work.cut.segment;
            manifest.wal_salt = work.cut.salt;
            manifest.catalog_offset = catalog_offset;
            manifest.catalog_size = catalog.len() as u64;
            manifest.catalog_sum = crate::format::checksum::xxh3(&catalog);
            manifest.next_file = u64::from(work.next_file);
        });
        let changed = heard_unless(Mutant::ManifestErrorIgnored, changed);
        changed.map_err(|error| self.broken("write", root::MANIFEST, &error))?;
        if broken(Mutant::ManifestBeforeData) {
            self.sync_files(work.files.values().cloned())?;
        }
        Ok(())
    }

    /// A sync that fails is no commit of the caller's with an unknown outcome: others hear of theirs themselves.
    fn sync_wal(&self, lsn: u64) -> Result<()> {
        self.wal.wait(lsn, Need::Synced, None).map(|_| ()).map_err(|_| self.wal.poisoned())
    }

    /// How many of these pages make up one piece of work: so many bytes, of so many files that all can be open.
    fn pages_in_chunk(&self, pages: &[PageKey], files: &BTreeMap<FileId, Arc<PagedFile>>) -> usize {
        let (mut size, mut file_count) = (0, 0);
        for (index, key) in pages.iter().enumerate() {
            size += files.get(&key.file).map_or(0, |file| file.page_size);
            file_count += usize::from(index == 0 || pages[index - 1].file != key.file);
            if index > 0 && (size > self.options.chunk_size || file_count > self.options.open_files / 2) {
                return index;
            }
        }
        pages.len()
    }

    /// Takes, logs and writes the next pages.
    fn write_chunk(&self, work: &mut Work) -> Result<()> {
        let rest = &work.pages[work.logged..];
        let pages = &rest[..self.pages_in_chunk(rest, &work.files)];
        let mut runs: Vec<PageRun> = Vec::new();
        for key in pages {
            // A file that was dropped before the cut has no state as of the cut.
            let Some(file) = work.files.get(&key.file) else { continue };
            let follows = runs.last().is_some_and(|run| run.id() == key.file && run.end() == key.page);
            if !follows {
                // Opening may fail without harm as long as nothing of this chunk is logged.
                let writer = file.writer()?;
                let (full, first) = (work.full_pages[&file.id], key.page);
                memory::reserve(&mut runs, 1, WRITES)?;
                runs.push(PageRun { writer, first, full, bytes: Vec::new(), sums: Vec::new() });
            }
            let run = runs.last_mut().expect("a run was just begun");
            self.take_image(*key, file, work.cut.epoch, &mut run.bytes)?;
            let image = &run.bytes[run.bytes.len() - file.page_size..];
            memory::reserve(&mut run.sums, 8, WRITES)?;
            run.sums.put_u64(page_sum(file.id.0, key.page, image));
        }
        // Before anything of this chunk is logged: it may fail without harm.
        for run in &runs {
            self.pins.keep(&run.writer.file, run.first..run.end())?;
        }
        let mut payload = Vec::new();
        payload.put_u64(work.cut.lsn);
        for run in runs.iter().filter(|_| !broken(Mutant::SumsNotLogged)) {
            Redo::Adopt { file: run.id(), first: run.first, sums: &run.sums }.put(&mut payload)?;
        }
        let mut blocks = Vec::new();
        let longest = runs.iter().map(|run| run.bytes.len()).max().unwrap_or(0);
        memory::reserve(&mut blocks, longest + 2 * BLOCK_SIZE as usize, WRITES)?;
        let lsn = self.wal.append_sums(&payload, pages.len() as u64)?;
        work.logged += pages.len();
        if !broken(Mutant::LoggedSumsNotSynced) {
            self.sync_wal(lsn)?;
        }
        for run in &runs {
            let written = heard_unless(Mutant::PageWriteErrorIgnored, run.write(&mut blocks));
            written.map_err(|failed| match failed {
                Failed::Before(error) => error,
                Failed::Write(error) => self.broken("write", &run.id().name(), &error),
            })?;
            work.unsynced += run.bytes.len();
        }
        Ok(())
    }

    fn sync_files(&self, files: impl IntoIterator<Item = Arc<PagedFile>>) -> Result<()> {
        for file in files {
            let _syncing = self.shared.syncing.read();
            let synced = heard_unless(Mutant::DataSyncErrorIgnored, file.sync());
            synced.map_err(|error| self.broken("sync", &file.id.name(), &error))?;
        }
        Ok(())
    }

    /// Syncs what is written where too many files are open, so that they can be closed.
    pub(super) fn sync_crowd(&self) -> Result<()> {
        self.sync_files(self.shared.descriptors.crowd())
    }

    /// Appends a page's image as of the cut to `out`.
    fn take_image(&self, key: PageKey, file: &PagedFile, epoch: u64, out: &mut Vec<u8>) -> Result<()> {
        let at = out.len();
        memory::reserve(out, file.page_size, WRITES)?;
        out.resize(at + file.page_size, 0);
        let stripe = self.cache.lock(self.cache.stripe_of(key));
        let older = stripe.image(key, epoch).filter(|_| !broken(Mutant::NewestImageWritten));
        if let Some(image) = older {
            image.bytes().copy(0, &mut out[at..]);
        } else {
            let framed = file.entry(key.page)?.read_frame(file.page_size, 0, &mut out[at..]);
            assert!(framed, "a dirty page has a frame until its checkpoint is over");
        }
        file.metas.get_or_make(key.page)?.taken.store(epoch, Ordering::Relaxed);
        Ok(())
    }

    /// Puts the sums of pages that were appended in bulk into the sum file.
    fn write_late_sums(&self, file: &PagedFile) -> Result<()> {
        let late = file.late_sums.lock().clone();
        if late.is_empty() {
            return Ok(());
        }
        let writer = file.writer()?;
        let bytes = late.values().flat_map(|sum| sum.to_le_bytes());
        let bytes = memory::collect(8 * late.len(), bytes, "the sums of bulk appends")?;
        let mut rest = &bytes[..];
        let mut pages = late.keys().copied().peekable();
        while let Some(first) = pages.next() {
            let mut end = first + 1;
            while pages.next_if_eq(&end).is_some() {
                end += 1;
            }
            let (run, behind) = rest.split_at(8 * (end - first) as usize);
            // A page that was changed since is written below, with a newer sum.
            write_all_at(&*writer.sums, run, BLOCK_SIZE + 8 * first)
                .map_err(|error| self.broken("write", &file.id.sums_name(), &error))?;
            rest = behind;
        }
        let mut left = file.late_sums.lock();
        left.retain(|page, sum| late.get(page) != Some(sum));
        Ok(())
    }

    /// Frees the frames that did not change since the cut: from now on the files have their pages.
    fn free(&self, work: &Work) {
        for image in &work.images {
            let file = &work.files[&image.id];
            file.disk_pages.fetch_max(file.pages_of(image.length), Ordering::AcqRel);
        }
        let mut held = 0;
        for _ in 0..work.dropped {
            let file = {
                let dropped = &mut self.lock_catalog().dropped;
                // A backup still copies it. Nobody begins to hold a file that was dropped.
                if dropped[held].is_held() {
                    held += 1;
                    continue;
                }
                dropped.remove(held).expect("only a checkpoint takes dropped files away")
            };
            self.free_all(&file);
        }
        for number in 0..self.cache.stripe_count() {
            let mut stripe = self.cache.lock(number);
            let Stripe { dirty, visitors, .. } = &mut *stripe;
            dirty.retain(|(key, listed)| {
                let settled = *listed <= work.cut.epoch;
                if settled {
                    self.free_page(work, *key);
                }
                !settled
            });
            visitors.retain(|key| {
                self.free_page(work, *key);
                // A file that was made since the cut is the next checkpoint's.
                key.file.0 >= work.next_file
            });
        }
    }

    /// Frees a page's frame, unless the page changed since the cut. Under its stripe.
    fn free_page(&self, work: &Work, key: PageKey) {
        let Some(file) = work.files.get(&key.file) else { return };
        let Some(entry) = file.entries.get(key.page) else { return };
        let changed = |meta: &PageMeta| meta.epoch.load(Ordering::Relaxed) > work.cut.epoch;
        if file.metas.get(key.page).is_some_and(changed) && !broken(Mutant::ChangedFrameFreed) {
            return;
        }
        // Also what was brought in for an append that came to nothing; one still to come brings it in again.
        if entry.retire(&file.pool).is_some() {
            self.shared.dirty_bytes.fetch_sub(file.page_size as u64, Ordering::Relaxed);
        }
    }

    /// Frees all frames of a dropped file, which a handle may still keep from being forgotten.
    fn free_all(&self, file: &PagedFile) {
        for (page, entry) in file.entries.iter() {
            let _stripe = self.cache.lock(self.cache.stripe_of(PageKey { file: file.id, page }));
            if entry.retire(&file.pool).is_some() {
                self.shared.dirty_bytes.fetch_sub(file.page_size as u64, Ordering::Relaxed);
            }
        }
    }

    /// A checkpoint that ran out of room or memory leaves everything to the next one.
    fn put_back(&self, work: &Work) {
        if broken(Mutant::PutBackOmitted) {
            return;
        }
        let epoch = self.wal.epoch();
        let (mut taken, mut kept) = (0, 0);
        for number in 0..self.cache.stripe_count() {
            self.cache.lock(number).dirty.retain_mut(|(key, listed)| {
                if *listed > work.cut.epoch {
                    return true;
                }
                taken += 1;
                // Of a file that was dropped before the cut nothing is written any more, and what was changed since
                // the cut is on the list again already.
                let meta = work.files.get(&key.file).and_then(|file| file.metas.get(key.page));
                let Some(meta) = meta.filter(|meta| meta.listed.load(Ordering::Relaxed) <= work.cut.epoch) else {
                    return false;
                };
                meta.listed.store(epoch, Ordering::Relaxed);
                *listed = epoch;
                kept += 1;
                true
            });
        }
        self.wal.keep_for_sums(kept - (taken - work.logged as i64));
        self.settled.store(u64::MAX, Ordering::Release);
    }

    /// Removes numbered files below `limit` that the manifest's catalog lacks: dropped ones, and those of creations
    /// that never came about.
    pub(super) fn remove_files_without_entry(&self, limit: u32, is_known: impl Fn(FileId) -> bool) -> Result<()> {
        let mut names = self.shared.disk.list("data").map_err(|error| Error::io("list", "data", &error))?;
        let is_stray = |name: &String| {
            let number: Option<FileId> = name.strip_suffix(".sum").unwrap_or(name).parse().ok().map(FileId);
            // A name that only reads as the same number (`007`) is not ours.
            let own = number.filter(|id| [id.name(), id.sums_name()].contains(&format!("data/{name}")));
            own.is_some_and(|id| id != root::CATALOG && id.0 < limit && !is_known(id))
        };
        names.retain(is_stray);
        for name in &names {
            let name = format!("data/{name}");
            self.shared.disk.remove(&name).map_err(|error| Error::io("remove", &name, &error))?;
        }
        if !names.is_empty() {
            let failed = |error: std::io::Error| self.broken("sync the folder", "data", &error);
            retry(|| self.shared.disk.sync_folder("data")).map_err(failed)?;
        }
        Ok(())
    }

    /// Promise 7: a failed write or sync ends all writing.
    pub(super) fn broken(&self, act: &str, name: &str, error: &std::io::Error) -> Error {
        if broken(Mutant::PoisonForgotten) {
            return self.wal.poisoned();
        }
        self.wal.broken(act, name, error)
    }
}

/// What memory of a checkpoint is for, in messages.
const WRITES: &str = "the pages that a checkpoint writes";

/// After so many chunks the files are synced.
const CHUNKS_AT_ONCE: usize = 4;

/// How the writing of pages fails: before it began, with the file or with what lies around them, or in it.
enum Failed {
    Before(Error),
    Write(std::io::Error),
}

/// Neighbouring pages of one file, to be written together.
struct PageRun {
    writer: Writer,
    first: u64,
    /// How many pages of the file lie wholly below its length.
    full: u64,
    bytes: Vec<u8>,
    sums: Vec<u8>,
}

impl PageRun {
    fn id(&self) -> FileId {
        self.writer.file.id
    }

    fn end(&self) -> u64 {
        self.first + self.sums.len() as u64 / 8
    }

    /// Writes pages and sums. `blocks` has room for all of it and two blocks more.
    fn write(&self, blocks: &mut Vec<u8>) -> std::result::Result<(), Failed> {
        let Writer { file, data, sums } = &self.writer;
        let page_size = file.page_size;
        let page_of = |number: u64| &self.bytes[(number - self.first) as usize * page_size..][..page_size];
        let is_hole = |number: u64| is_hole(number, self.full, page_of(number));
        let mut first = self.first;
        while first < self.end() {
            let hole = is_hole(first);
            let end = (first + 1..self.end()).find(|number| is_hole(*number) != hole).unwrap_or(self.end());
            let at = (first - self.first) as usize * page_size;
            let bytes = &self.bytes[at..][..(end - first) as usize * page_size];
            let _writing = file.writing.lock();
            if hole {
                retry(|| data.punch(file.offset(first), bytes.len() as u64)).map_err(Failed::Write)?;
            } else {
                let around = around(&**data, bytes, file.offset(first), blocks);
                let unread = |error| Failed::Before(Error::io("read", &file.id.name(), &error));
                let (bytes, offset) = around.map_err(unread)?;
                write_all_at(&**data, bytes, offset).map_err(Failed::Write)?;
            }
            first = end;
        }
        write_all_at(&**sums, &self.sums, BLOCK_SIZE + 8 * self.first).map_err(Failed::Write)
    }
}

/// Pages without a record give their blocks back, except where the next record goes: its room is reserved. `full` is
/// how many pages of the file lie wholly below its length.
pub(super) fn is_hole(page: u64, full: u64, bytes: &[u8]) -> bool {
    page < full && bytes.iter().all(|byte| *byte == 0)
}

/// Bytes with what surrounds them in their first and last block, and where all that lies: a write of whole blocks
/// needs no read by the system (seen: 135 µs against 6 for a cold page). It is put together in `blocks`, which has
/// room for it.
fn around<'a>(
    file: &dyn DiskFile,
    bytes: &'a [u8],
    offset: u64,
    blocks: &'a mut Vec<u8>,
) -> std::io::Result<(&'a [u8], u64)> {
    let end = offset + bytes.len() as u64;
    let (from, to) = (offset / BLOCK_SIZE * BLOCK_SIZE, end.next_multiple_of(BLOCK_SIZE).min(file.size()?));
    if from == offset && to <= end {
        return Ok((bytes, offset));
    }
    blocks.clear();
    blocks.resize((offset - from) as usize, 0);
    read_exact_at(file, blocks, from)?;
    blocks.extend_from_slice(bytes);
    if to > end {
        let head = blocks.len();
        blocks.resize((to - from) as usize, 0);
        read_exact_at(file, &mut blocks[head..], end)?;
    }
    Ok((blocks, from))
}
