//! Backup: the files as of one cut, copied to another disk beside running commits and checkpoints.
//!
//! ```text
//! mark       MANIFEST.unfinished, and its folder is synced: nobody takes what follows for a database
//! lock       LOCK, so that nobody makes a database there meanwhile
//! cut        a snapshot; the files that are there as of it are held, also where they are dropped from now on
//! files      page by page, written in large pieces; each is synced
//! catalog    data/1, as a checkpoint writes it
//! manifest   written into the mark and synced; the folders are synced
//! name       the mark is renamed to MANIFEST, and its folder synced
//! ```
//!
//! What always holds here:
//!
//! 1. The copy has no MANIFEST until everything that it leads to is durable, and loses none of that while it may have
//!    one. So whatever a crash leaves is the whole copy, or is refused by name, or is an empty folder.
//! 2. A page without a frame is read by `read_at` and matches its sum: what rotted gets no new sum, and a sector that
//!    cannot be read is an error.
//! 3. What the copy holds is durable in the source, so no crash leaves the source behind its backup.
//! 4. No lock is held while a disk is waited for or the caller is told how far it has come.
//!
//! The copy is a database of its own, with a uuid of its own: a file that is moved between the two is refused by its
//! header, whereas with one uuid an old `data/7` with its old `data/7.sum` would be taken for the present one. Numbers
//! of files, ids and LSNs go on where the source was.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::format::checksum::{page_sum, xxh3};
use crate::format::header::{Contents, Header};
use crate::format::manifest::{Features, Manifest};
use crate::memory;
use crate::os::sync::{Ordering, yield_now};
use crate::os::{Disk, DiskFile, DiskLock, ForkMark, Open, retry, write_all_at};
use crate::wal::Need;

use super::PagedFiles;
use super::cache::PageKey;
use super::checkpoint::is_hole;
use super::copy::PageEntry;
use super::file::{FileImage, PagedFile};
use super::recovery::make_folders;
use super::root::{self, CATALOG, MANIFEST};
use super::snapshot::{ReaderKind, Snapshot};

/// Told how many bytes are copied and of how many. `Break` calls the backup off.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// The name of a copy's manifest until the copy is whole. A folder with it is no database.
pub const UNFINISHED: &str = "MANIFEST.unfinished";

impl PagedFiles {
    /// Copies all files as they are now to an empty disk.
    pub fn backup(self: &Arc<PagedFiles>, target: &dyn Disk, progress: Progress<'_>) -> Result<()> {
        if self.root.manifest().features.read_only_compatible != 0 {
            let text = "the database uses features that this library can only leave alone, so a copy would lack them";
            return Err(Error::Unsupported(text.into()));
        }
        let mut draft = Draft::begin(target, self.shared.mark, self.options.chunk_size)?;
        let cut = BackupCut::draw(self)?;
        let mut told = Told::new(&cut, progress, self.options.chunk_size as u64, self.shared.mark);
        told.tell()?;
        for (image, file) in cut.images.iter().zip(&cut.held) {
            copy_file(&cut, image, file, &mut draft, &mut told)?;
        }
        told.tell_the_rest()?;
        let catalog = root::encode(&cut.images, cut.lsn)?;
        let mut stream = draft.stream(&CATALOG.name())?;
        stream.put(&header(Contents::Data, CATALOG.0, BLOCK_SIZE as u32, draft.uuid))?;
        stream.put(&catalog)?;
        stream.finish()?;
        let manifest = Manifest {
            checkpoint: cut.lsn,
            catalog_offset: BLOCK_SIZE,
            catalog_size: catalog.len() as u64,
            catalog_sum: xxh3(&catalog),
            next_file: u64::from(cut.next_file),
            features: Features::default(),
            ..Manifest::first(draft.uuid)
        };
        draft.publish(&manifest)
    }
}

/// Copies the pages of one file, with their sums. One that has no page has no files either.
fn copy_file(
    cut: &BackupCut,
    image: &FileImage,
    file: &PagedFile,
    draft: &mut Draft<'_>,
    told: &mut Told<'_>,
) -> Result<()> {
    let page_size = u64::from(image.page_size);
    let (pages, full_pages) = (image.length.div_ceil(page_size), image.length / page_size);
    if pages == 0 {
        return Ok(());
    }
    let mut data = draft.stream(&image.id.name())?;
    let mut sums = draft.stream(&image.id.sums_name())?;
    data.put(&header(Contents::Data, image.id.0, image.page_size, draft.uuid))?;
    sums.put(&header(Contents::Sums, image.id.0, image.page_size, draft.uuid))?;
    let mut bytes = memory::zeros(image.page_size as usize, "a page")?;
    for page in 0..pages {
        cut.read_page(file, page, &mut bytes)?;
        sums.put(&page_sum(image.id.0, page, &bytes).to_le_bytes())?;
        if is_hole(page, full_pages, &bytes) {
            data.skip(page_size)?;
        } else {
            data.put(&bytes)?;
        }
        told.add(page_size)?;
    }
    data.finish()?;
    sums.finish()
}

fn header(contents: Contents, file: u32, page_size: u32, uuid: [u8; 16]) -> Vec<u8> {
    Header { contents, page_size, file, uuid }.encode()
}

/// What a backup copies: a snapshot, and the catalog as of its line.
struct BackupCut {
    files: Arc<PagedFiles>,
    snapshot: Snapshot,
    images: Vec<FileImage>,
    /// The files of the images, in the same order. A checkpoint leaves them alone though they be dropped.
    held: Vec<Arc<PagedFile>>,
    next_file: u32,
    /// No commit of the cut has a higher LSN.
    lsn: u64,
}

impl BackupCut {
    fn draw(files: &Arc<PagedFiles>) -> Result<BackupCut> {
        let mut cut = {
            let catalog = files.lock_catalog();
            let held: Vec<Arc<PagedFile>> = catalog.files.values().cloned().collect();
            held.iter().for_each(|file| file.hold());
            let mut images = Vec::with_capacity(held.len());
            let snapshot = files.snapshot(ReaderKind::Backup, || images.extend(held.iter().map(|file| file.image())));
            BackupCut { files: Arc::clone(files), snapshot, images, held, next_file: catalog.next, lsn: 0 }
        };
        // A commit that has its LSN is applied without a wait for any disk. Until it is, pages that a bulk append
        // wrote may still be hidden by empty frames.
        for (image, file) in cut.images.iter().zip(&cut.held) {
            while file.length() < image.length {
                if files.wal.failure().is_some() {
                    return Err(files.wal.poisoned());
                }
                yield_now();
            }
        }
        cut.lsn = files.wal.last();
        // Rule 3.
        files.wal.wait(cut.lsn, Need::Synced, None).map_err(|_| files.wal.poisoned())?;
        Ok(cut)
    }

    /// Copies a page as it was at the cut. Rule 2.
    fn read_page(&self, file: &PagedFile, page: u64, out: &mut [u8]) -> Result<()> {
        let key = PageKey { file: file.id, page };
        let version = || file.entries.get(page).map_or(0, PageEntry::version);
        loop {
            // Commits before the cut that are still being applied hold the stripe; so this waits for them.
            let stripe = self.files.cache.lock(self.files.cache.stripe_of(key));
            if let Some(image) = stripe.image(key, self.snapshot.epoch) {
                drop(stripe);
                image.bytes().copy(0, out);
                return Ok(());
            }
            if file.entries.get(page).is_some_and(|entry| entry.read_frame(file.page_size, 0, out)) {
                return Ok(());
            }
            let before = version();
            drop(stripe);
            let read = file.load_verified(page, out);
            // Where the page has moved meanwhile, a checkpoint may have been writing it.
            if version() == before {
                return read;
            }
        }
    }
}

impl Drop for BackupCut {
    fn drop(&mut self) {
        if self.files.shared.mark.forked() {
            return;
        }
        self.held.iter().for_each(|file| file.let_go());
        if self.held.iter().any(|file| file.is_dropped()) {
            // What was kept of it only for this backup can go now.
            self.files.request_checkpoint();
        }
    }
}

impl PagedFile {
    /// Keeps a checkpoint from removing the file after a drop. Under the catalog's lock, and before any drop.
    fn hold(&self) {
        self.holders.fetch_add(1, Ordering::AcqRel);
    }

    fn let_go(&self) {
        self.holders.fetch_sub(1, Ordering::AcqRel);
    }

    /// True while a backup needs the file.
    pub(super) fn is_held(&self) -> bool {
        self.holders.load(Ordering::Acquire) > 0
    }
}

/// How far a backup has come, and who wants to know.
struct Told<'a> {
    done: u64,
    total: u64,
    /// What the caller knows of.
    told: u64,
    step: u64,
    progress: Progress<'a>,
    mark: ForkMark,
}

impl<'a> Told<'a> {
    fn new(cut: &BackupCut, progress: Progress<'a>, step: u64, mark: ForkMark) -> Told<'a> {
        let size = |image: &FileImage| image.length.next_multiple_of(u64::from(image.page_size));
        Told { done: 0, total: cut.images.iter().map(size).sum(), told: 0, step, progress, mark }
    }

    fn add(&mut self, bytes: u64) -> Result<()> {
        self.done += bytes;
        if self.done - self.told < self.step { Ok(()) } else { self.tell() }
    }

    fn tell_the_rest(&mut self) -> Result<()> {
        if self.done == self.told { Ok(()) } else { self.tell() }
    }

    fn tell(&mut self) -> Result<()> {
        self.told = self.done;
        let answer = (self.progress)(self.done, self.total);
        if self.mark.forked() {
            return Err(Error::Forked("the process was forked during a backup, which goes on in the parent".into()));
        }
        match answer {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled("the backup was called off by its caller".into())),
        }
    }
}

/// A copy that is not whole yet. Dropped before it is, it takes away what it made, as far as the disk allows.
struct Draft<'a> {
    disk: &'a dyn Disk,
    name: String,
    uuid: [u8; 16],
    piece: u64,
    mark: ForkMark,
    lock: Option<Box<dyn DiskLock>>,
    made: Vec<String>,
    state: State,
}

/// What is to be done with a draft that is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Somebody else makes something of the folder: only the mark is ours.
    Foreign,
    Begun,
    /// The mark may have been renamed.
    Published,
    Whole,
}

impl<'a> Draft<'a> {
    /// Marks and locks an empty folder.
    fn begin(disk: &'a dyn Disk, mark: ForkMark, piece: usize) -> Result<Draft<'a>> {
        let name = disk.describe();
        let names = || disk.list("").map_err(|error| Error::io("list", &name, &error));
        if let Some(stranger) = names()?.iter().min_by_key(|name| *name != UNFINISHED) {
            return Err(not_empty(disk, stranger));
        }
        // Of two backups to one folder, one makes this file; the other must not take it away.
        disk.open(UNFINISHED, Open::New).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => unfinished_backup(disk),
            _ => Error::allocation("make", &format!("{name}/{UNFINISHED}"), &error),
        })?;
        let mut uuid = [0; 16];
        disk.entropy(&mut uuid);
        let (made, piece) = (Vec::new(), piece as u64);
        let mut draft = Draft { disk, name: name.clone(), uuid, piece, mark, lock: None, made, state: State::Begun };
        draft.sync_folder("")?;
        match disk.open("LOCK", Open::New) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => drop(other.map_err(|error| draft.refused("make", "LOCK", &error))?),
        }
        let lock = disk.lock(true).map_err(|error| draft.refused("lock", "LOCK", &error))?;
        let lock = lock.map_err(|holder| draft.leave_it_to_others(Error::locked(&name, holder)))?;
        // Somebody may have made a database here before the mark was there to be seen.
        if let Some(stranger) = names()?.iter().find(|name| ![UNFINISHED, "LOCK"].contains(&name.as_str())) {
            return Err(draft.leave_it_to_others(not_empty(disk, stranger)));
        }
        draft.lock = Some(lock);
        make_folders(disk)?;
        Ok(draft)
    }

    fn leave_it_to_others(&mut self, why: Error) -> Error {
        self.state = State::Foreign;
        why
    }

    /// A new file of the copy.
    fn stream(&mut self, name: &str) -> Result<Stream> {
        self.made.push(name.to_owned());
        let file = self.disk.open(name, Open::Create).map_err(|error| self.refused("make", name, &error))?;
        Ok(Stream { file, name: format!("{}/{name}", self.name), piece: self.piece, offset: 0, buffer: Vec::new() })
    }

    /// Makes the copy a database. Rule 1.
    fn publish(mut self, manifest: &Manifest) -> Result<()> {
        let mut blocks = manifest.encode();
        blocks.resize(2 * BLOCK_SIZE as usize, 0);
        let file = self.disk.open(UNFINISHED, Open::Write);
        let file = file.map_err(|error| self.refused("open", UNFINISHED, &error))?;
        let written = write_all_at(&*file, &blocks, 0).and_then(|()| retry(|| file.sync()));
        written.map_err(|error| self.refused("write", UNFINISHED, &error))?;
        for folder in ["wal", "data", ""] {
            self.sync_folder(folder)?;
        }
        self.state = State::Published;
        let renamed = self.disk.rename(UNFINISHED, MANIFEST);
        renamed.map_err(|error| self.refused("rename", UNFINISHED, &error))?;
        self.sync_folder("")?;
        self.state = State::Whole;
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> Result<()> {
        retry(|| self.disk.sync_folder(folder)).map_err(|error| self.refused("sync the folder", folder, &error))
    }

    fn refused(&self, act: &str, name: &str, error: &std::io::Error) -> Error {
        Error::allocation(act, &format!("{}/{name}", self.name), error)
    }

    /// Takes the name MANIFEST away again. False if it may still be there after a crash.
    fn withdraw(&self) -> bool {
        match self.disk.rename(MANIFEST, UNFINISHED) {
            Ok(()) => retry(|| self.disk.sync_folder("")).is_ok(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        }
    }

    /// Removes what was made. False where something is left.
    fn remove_all(&self) -> bool {
        let is_gone = |removed: std::io::Result<()>| match removed {
            Ok(()) => true,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        self.made.iter().filter(|name| !is_gone(self.disk.remove(name))).count() == 0
            && is_gone(self.disk.remove_folder("data"))
            && is_gone(self.disk.remove_folder("wal"))
            && is_gone(self.disk.remove("LOCK"))
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        let is_clean = !self.mark.forked()
            && match self.state {
                State::Foreign => true,
                State::Begun => self.remove_all(),
                State::Published => self.withdraw() && self.remove_all(),
                State::Whole => false,
            };
        // The mark goes last: where something is left, it keeps that from being taken for a database.
        if is_clean {
            let _ = self.disk.remove(UNFINISHED);
        }
    }
}

fn not_empty(disk: &dyn Disk, stranger: &str) -> Error {
    if stranger == UNFINISHED {
        return unfinished_backup(disk);
    }
    let name = disk.describe();
    let text = format!("{name} is not empty: there is {stranger}; name a folder that is empty or not there yet");
    Error::Invalid(text.into())
}

/// The error for a folder in which a backup was begun: somebody is at it still, or it came to nothing.
pub fn unfinished_backup(disk: &dyn Disk) -> Error {
    let name = disk.describe();
    if let Ok(Err(holder)) = disk.lock(false) {
        return Error::locked(&name, holder);
    }
    let text = format!("{name} holds a backup that was not finished ({UNFINISHED}): remove the folder, make another");
    Error::Format(text.into())
}

/// A file that is written from its start to its end, in large pieces.
struct Stream {
    file: Arc<dyn DiskFile>,
    name: String,
    piece: u64,
    /// Where the buffer's bytes go.
    offset: u64,
    buffer: Vec<u8>,
}

impl Stream {
    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            // Pieces end at multiples of their size, so that whole blocks are written.
            let room = (self.piece - self.offset % self.piece) as usize - self.buffer.len();
            let (now, rest) = bytes.split_at(bytes.len().min(room));
            let refused = |_| Error::NoMemory(format!("no memory to write {}", self.name).into());
            self.buffer.try_reserve(now.len()).map_err(refused)?;
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if now.len() == room {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Leaves a hole.
    fn skip(&mut self, size: u64) -> Result<()> {
        self.flush()?;
        self.offset += size;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let size = self.buffer.len() as u64;
        write_all_at(&*self.file, &self.buffer, self.offset).map_err(|error| self.refused("write", &error))?;
        self.file.start_writeback(self.offset, size);
        self.offset += size;
        self.buffer.clear();
        Ok(())
    }

    /// Ends and syncs the file.
    fn finish(mut self) -> Result<()> {
        self.flush()?;
        // What it ends with may be a hole.
        retry(|| self.file.set_size(self.offset)).map_err(|error| self.refused("lengthen", &error))?;
        retry(|| self.file.sync()).map_err(|error| self.refused("sync", &error))
    }

    fn refused(&self, act: &str, error: &std::io::Error) -> Error {
        Error::allocation(act, &self.name, error)
    }
}
