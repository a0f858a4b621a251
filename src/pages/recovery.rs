//! Opening: from a folder to files that readers and writers can use.
//!
//! After a clean close nothing is read but the manifest and the catalog. Otherwise the wal is replayed into frames
//! and a checkpoint is made of them before anyone can use the files.
//!
//! What always holds here:
//!
//! 1. Replay writes blindly: it never looks at a page to see whether a change is already there. After a failed sync
//!    the cache can show what the disk does not have.
//! 2. Before a page is changed by replay, it matches its stored sum; or else it must match the sum that an
//!    unfinished checkpoint logged, once everything up to that checkpoint's line was replayed on it. A page that
//!    does neither is damaged.
//! 3. Bytes past the checkpointed length count as zero, whatever the file holds, unless a frame adopted them.
//! 4. What is read from the manifest and from the unproven end of the wal is written again, byte for byte, and
//!    synced, before anything is built on it.
//! 5. A frame goes on where its files end, and leaves them as long as it says. So after replay every page below a
//!    length is in a frame or in the data file, and no number in a frame, however well its checksum matches, makes
//!    the file longer than what was written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::format::FORMAT_VERSION;
use crate::format::bytes::Take;
use crate::format::checksum::page_sum;
use crate::format::manifest::Manifest;
use crate::memory;
use crate::mutant::{Mutant, broken};
use crate::os::sync::{AtomicBool, AtomicU64, Mutex, Ordering, RwLock};
use crate::os::{Bell, Disk, ForkMark, Open, retry, write_all_at};
use crate::wal::Wal;
use crate::wal::frame::{Frame, Kind};
use crate::wal::replay::{Start, Tail, goes_on_after, replay, rewrite_unproven, segment_numbers};
use crate::wal::segment::{Link, segment_name};

use super::cache::{Cache, PageKey};
use super::file::{Descriptors, FileImage, FileShared, LENGTH_LIMIT, PagedFile};
use super::pin::Pins;
use super::redo::{Redo, sums_of};
use super::root::{MANIFEST, Root};
use super::{Catalog, FileId, PageOptions, PageStats, PagedFiles};

/// What a folder holds before it is a database.
pub struct NewDatabase;

impl NewDatabase {
    const DRAFT: &'static str = "MANIFEST.new";

    /// Makes an empty database in a folder that holds at most what an interrupted making left. Under the lock. The
    /// manifest's name is not durable yet: `sync_names` has to follow.
    pub fn make(disk: &dyn Disk) -> Result<()> {
        make_folders(disk)?;
        let mut uuid = [0; 16];
        disk.entropy(&mut uuid);
        let mut blocks = memory::zeros(2 * BLOCK_SIZE as usize, "the manifest")?;
        blocks[..BLOCK_SIZE as usize].copy_from_slice(&Manifest::first(uuid).encode());
        let draft = disk.open(Self::DRAFT, Open::Create);
        let draft = draft.map_err(|error| Error::allocation("make", Self::DRAFT, &error))?;
        let refused = |error: std::io::Error| Error::allocation("write", Self::DRAFT, &error);
        write_all_at(&*draft, &blocks, 0).map_err(refused)?;
        if !broken(Mutant::DraftNotSynced) {
            retry(|| draft.sync()).map_err(refused)?;
        }
        // The manifest's name says that all is there: a crash must not leave it where another name is lost.
        if !broken(Mutant::ManifestNamedFirst) {
            Self::sync_names(disk)?;
        }
        disk.rename(Self::DRAFT, MANIFEST).map_err(|error| Error::allocation("rename", Self::DRAFT, &error))
    }

    /// Makes the names durable. Each opening does it until the database has its second manifest, since the making, or
    /// the opening after it, may have been cut short: what is made in the folders must not outlive their names.
    fn sync_names(disk: &dyn Disk) -> Result<()> {
        for folder in ["wal", "data", ""] {
            let refused = |error: std::io::Error| Error::io("sync the folder", folder, &error);
            retry(|| disk.sync_folder(folder)).map_err(refused)?;
        }
        Ok(())
    }

    /// What lies in the folder that is neither a database nor the start of one.
    pub fn strangers(disk: &dyn Disk) -> Result<Vec<String>> {
        let ours = ["LOCK", "wal", "data", Self::DRAFT];
        let names = disk.list("").map_err(|error| Error::io("list", &disk.describe(), &error))?;
        let mut strangers: Vec<String> = names.into_iter().filter(|name| !ours.contains(&name.as_str())).collect();
        for folder in ["wal", "data"] {
            strangers.extend(disk.list(folder).unwrap_or_default().into_iter().map(|name| format!("{folder}/{name}")));
        }
        Ok(strangers)
    }
}

/// Makes the folders of a database.
pub(super) fn make_folders(disk: &dyn Disk) -> Result<()> {
    for folder in ["wal", "data"] {
        match disk.make_folder(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            other => other.map_err(|error| {
                Error::allocation("make the folder", &format!("{}/{folder}", disk.describe()), &error)
            })?,
        }
    }
    Ok(())
}

impl PagedFiles {
    /// Opens the files of a database. Under its lock.
    pub fn open(disk: Arc<dyn Disk>, options: PageOptions) -> Result<Arc<PagedFiles>> {
        let how = if options.read_only { Open::Read } else { Open::Write };
        let root = Arc::new(Root::read(Arc::clone(&disk), how)?);
        let manifest = root.manifest();
        check_version(&manifest, options.read_only)?;
        if manifest.generation == 0 && !options.read_only && !broken(Mutant::RootNamesNotMadeCertain) {
            NewDatabase::sync_names(&*disk)?;
        }
        let mark = ForkMark::new().map_err(|error| Error::io("prepare", "fork detection", &error))?;
        let start = Start { segment: manifest.wal_segment, salt: manifest.wal_salt, checkpoint: manifest.checkpoint };
        if manifest.clean && goes_on_after(&*disk, &manifest.uuid, start)? {
            let what = "it says that the database was closed cleanly, but the wal goes on after that";
            return Err(Error::corrupt(MANIFEST, what));
        }
        let survey = if manifest.clean { None } else { Some(Survey::of(&*disk, &manifest, start)?) };
        let link = match &survey {
            Some(survey) => survey.tail.link,
            None => Link { segment: manifest.wal_segment, lsn: manifest.checkpoint, crc: 0 },
        };
        let awaken = {
            let root = Arc::clone(&root);
            move |segment: u64, salt: u64| awaken(&root, segment, salt)
        };
        let numbers = segment_numbers(&*disk)?;
        let (uuid, awaken) = (manifest.uuid, Box::new(awaken));
        let wal = Arc::new(Wal::new(Arc::clone(&disk), uuid, options.wal.clone(), link, &numbers, awaken));
        let shared = Arc::new(FileShared {
            disk,
            wal: Arc::clone(&wal),
            uuid,
            pread: options.pread,
            growth_min: options.growth_min,
            growth_max: options.growth_max,
            descriptors: Descriptors::new(options.open_files, options.read_only),
            dirty_bytes: AtomicU64::new(0),
            page_loads: AtomicU64::new(0),
            syncing: RwLock::new(()),
            mark,
        });
        let files = PagedFiles {
            shared,
            cache: Cache::new(options.stripe_count)?,
            options,
            wal,
            root,
            catalog: Mutex::default(),
            pools: Mutex::default(),
            pins: Pins::default(),
            checkpointing: Mutex::new(()),
            wanted: AtomicBool::new(false),
            bell: Bell::default(),
            refused: Mutex::default(),
            settled: AtomicU64::new(0),
            stats: PageStats::default(),
        };
        files.load_catalog(&manifest)?;
        if let Some(survey) = survey {
            files.recover(&manifest, start, survey)?;
        }
        Ok(Arc::new(files))
    }

    /// Makes everything durable and leaves the folder so that the next opening has nothing to replay. With no one
    /// else using the files.
    pub fn close(&self) -> Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        if self.wal.failure().is_some() {
            return Err(self.wal.poisoned());
        }
        self.flush()?;
        let _one = self.checkpointing.lock();
        let made = if broken(Mutant::ClosedWithoutCheckpoint) { Ok(()) } else { self.checkpoint_locked() };
        match made {
            // All is durable; the next opening replays what the files lack.
            Err(Error::Full(_)) => return Ok(()),
            other => other?,
        }
        let manifest = self.root.manifest();
        if manifest.clean {
            return Ok(());
        }
        for file in self.files()? {
            file.cut_to_size().map_err(|error| self.broken("cut", &file.id.name(), &error))?;
        }
        let end = self.wal.end();
        let closed = self.root.advance(|manifest| {
            manifest.clean = true;
            // LSNs go on after all that were given, the last checkpoint's own frames among them.
            manifest.checkpoint = end.lsn;
            // The last checkpoint may have gone on into another segment; nothing of the wal lies behind this one.
            manifest.wal_segment = end.segment;
        });
        closed.map_err(|error| self.broken("write", MANIFEST, &error))?;
        self.wal.leave_one_small(end.segment)
    }

    fn load_catalog(&self, manifest: &Manifest) -> Result<()> {
        let mut catalog = self.lock_catalog();
        catalog.next = u32::try_from(manifest.next_file).unwrap_or(u32::MAX).max(2);
        for image in self.root.read_catalog()? {
            self.enter(&mut catalog, image);
        }
        Ok(())
    }

    fn enter(&self, catalog: &mut Catalog, image: FileImage) -> Arc<PagedFile> {
        let pool = self.pool(image.page_size as usize);
        let id = image.id;
        let file = PagedFile::new(Arc::clone(&self.shared), image, pool);
        catalog.files.insert(id, Arc::clone(&file));
        catalog.next = catalog.next.max(id.0.saturating_add(1));
        file
    }

    fn recover(&self, manifest: &Manifest, start: Start, survey: Survey) -> Result<()> {
        let disk = &*self.shared.disk;
        if !self.options.read_only {
            self.root.make_certain().map_err(|error| self.broken("write", MANIFEST, &error))?;
            rewrite_unproven(disk, &survey.tail)?;
        }
        let mut replaying = Replaying {
            files: self,
            survey: &survey,
            suspects: HashMap::new(),
            next_line: u64::MAX,
            dirty: HashSet::new(),
            ends: HashMap::new(),
        };
        replay(disk, &manifest.uuid, start, &mut |frame| replaying.apply(frame))?;
        replaying.clear_suspects(u64::MAX)?;
        let dirty = std::mem::take(&mut replaying.dirty);
        if self.options.read_only {
            return Ok(());
        }
        self.wal.keep_for_sums(dirty.len() as i64);
        for key in dirty {
            let mut stripe = self.cache.lock(self.cache.stripe_of(key));
            memory::reserve(&mut stripe.dirty, 1, "the list of dirty pages")?;
            stripe.dirty.push((key, REPLAY_EPOCH));
        }
        for file in self.files()? {
            self.sync_crowd()?;
            file.allocate(file.pages_of(file.length()))?;
        }
        self.settled.store(u64::MAX, Ordering::Release);
        self.checkpoint()?;
        self.wal.remove_strays(self.root.manifest().wal_segment)?;
        self.remove_files_without_entry(u32::MAX, |id| self.file(id).is_some())
    }
}

/// Changes by replay belong to the first epoch, before any cut.
const REPLAY_EPOCH: u64 = 1;

/// A wal that slept since a clean close is about to be written: the close is no longer the last word.
fn awaken(root: &Root, segment: u64, salt: u64) -> std::io::Result<()> {
    if !root.manifest().clean {
        return Ok(());
    }
    root.advance(|manifest| {
        manifest.clean = false;
        manifest.wal_segment = segment;
        manifest.wal_salt = salt;
    })
}

pub(super) fn check_version(manifest: &Manifest, read_only: bool) -> Result<()> {
    if manifest.version != FORMAT_VERSION {
        let found = manifest.version;
        let text = format!("the database has format version {found}; this library knows version {FORMAT_VERSION}");
        return Err(Error::Format(text.into()));
    }
    if manifest.features.incompatible != 0 {
        let flags = manifest.features.incompatible;
        let text = format!("the database uses features ({flags:#x}) that this library does not know");
        return Err(Error::Format(text.into()));
    }
    if manifest.features.read_only_compatible != 0 && !read_only {
        let flags = manifest.features.read_only_compatible;
        let text = format!(
            "the database uses features ({flags:#x}) that this library can only leave alone; open it read-only"
        );
        return Err(Error::Format(text.into()));
    }
    Ok(())
}

/// What a first reading of the wal tells the second.
struct Survey {
    tail: Tail,
    /// Sums that checkpoints logged: by page, each with the LSN of its line.
    logged: HashMap<PageKey, Vec<(u64, u64)>>,
    /// Files that are dropped later on: their pages do not matter any more.
    doomed: HashSet<FileId>,
}

impl Survey {
    fn of(disk: &dyn Disk, manifest: &Manifest, start: Start) -> Result<Survey> {
        const WHAT: &str = "what the wal says of pages";
        let mut logged: HashMap<PageKey, Vec<(u64, u64)>> = HashMap::new();
        let mut doomed = HashSet::new();
        let tail = replay(disk, &manifest.uuid, start, &mut |frame| {
            let mut take = Take(frame.payload);
            let line = if frame.kind == Some(Kind::Sums) { take.u64() } else { None };
            while !take.is_empty() {
                match (Redo::take(&mut take), line) {
                    (None, _) => return Err(malformed(frame, start.segment)),
                    (Some(Redo::Drop { file }), None) => {
                        doomed.try_reserve(1).map_err(memory::refused(WHAT))?;
                        doomed.insert(file);
                    }
                    (Some(Redo::Adopt { file, first, sums }), Some(line)) => {
                        if first.checked_add(sums.len() as u64 / 8).is_none() {
                            return Err(malformed(frame, start.segment));
                        }
                        for (page, sum) in (first..).zip(sums_of(sums)) {
                            logged.try_reserve(1).map_err(memory::refused(WHAT))?;
                            let lines = logged.entry(PageKey { file, page }).or_default();
                            memory::reserve(lines, 1, WHAT)?;
                            lines.push((line, sum));
                        }
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        Ok(Survey { tail, logged, doomed })
    }
}

fn malformed(frame: &Frame<'_>, segment: u64) -> Error {
    let what = format!("frame {} verifies, but what it says breaks the format", frame.lsn);
    Error::corrupt(&segment_name(segment), what)
}

/// What memory of the second reading is for, in messages.
const REPLAYED: &str = "the pages that the wal changes";

/// What the floor above remembers of a file, kept beyond the frame that says it.
fn kept(meta: &[u8]) -> Result<Arc<Vec<u8>>> {
    memory::collect(meta.len(), meta.iter().copied(), "the catalog").map(Arc::new)
}

/// The second reading: changes are made in frames.
struct Replaying<'a> {
    files: &'a PagedFiles,
    survey: &'a Survey,
    /// Rule 2: pages that did not match their stored sums, with the lines at which they may still.
    suspects: HashMap<PageKey, Vec<(u64, u64)>>,
    /// The lowest line of any suspect.
    next_line: u64,
    dirty: HashSet<PageKey>,
    /// Rule 5: where the files that the frame changes end, as far as it was gone through.
    ends: HashMap<FileId, u64>,
}

impl Replaying<'_> {
    fn apply(&mut self, frame: &Frame<'_>) -> Result<()> {
        self.files.stats.recovered_frames.fetch_add(1, Ordering::Relaxed);
        if frame.kind != Some(Kind::Commit) {
            return Ok(());
        }
        self.clear_suspects(frame.lsn)?;
        let mut take = Take(frame.payload);
        while !take.is_empty() {
            let redo = Redo::take(&mut take).expect("the first reading went over the same frame");
            self.redo(frame, redo)?;
        }
        let files = self.files;
        let is_elsewhere = |(id, end)| files.file(id).is_some_and(|file| file.length() != end);
        if self.ends.drain().any(is_elsewhere) {
            return Err(malformed(frame, self.survey.tail.link.segment));
        }
        Ok(())
    }

    fn redo(&mut self, frame: &Frame<'_>, redo: Redo<'_>) -> Result<()> {
        if let Redo::Create { file, kind, page_size, meta } = redo {
            let image = FileImage { id: file, kind, page_size, length: 0, tally: 0, meta: kept(meta)? };
            let mut catalog = self.files.lock_catalog();
            // A number is given once.
            if !image.is_possible() || file.0 < catalog.next {
                return Err(malformed(frame, self.survey.tail.link.segment));
            }
            self.files.enter(&mut catalog, image);
            return Ok(());
        }
        let (Redo::Write { file: id, .. }
        | Redo::Length { file: id, .. }
        | Redo::Describe { file: id, .. }
        | Redo::Drop { file: id }
        | Redo::Adopt { file: id, .. }
        | Redo::Tally { file: id, .. }
        | Redo::Create { file: id, .. }) = redo;
        let Some(file) = self.files.file(id) else {
            return Err(malformed(frame, self.survey.tail.link.segment));
        };
        if !self.goes_on(&file, &redo) {
            return Err(malformed(frame, self.survey.tail.link.segment));
        }
        match redo {
            Redo::Write { .. } | Redo::Adopt { .. } if self.survey.doomed.contains(&id) => {}
            Redo::Write { offset, bytes, .. } => self.write(&file, offset, bytes)?,
            Redo::Length { length, .. } => {
                file.length.store(length, Ordering::Release);
                file.committed.store(length, Ordering::Release);
            }
            Redo::Tally { added, .. } => {
                file.tally.fetch_add(added, Ordering::AcqRel);
            }
            Redo::Describe { meta, .. } => *file.meta.lock() = kept(meta)?,
            Redo::Drop { .. } => {
                file.dropped.store(true, Ordering::Release);
                self.files.lock_catalog().files.remove(&id);
            }
            // A bulk append that filled no page: nothing was written to the data file, which perhaps is not there.
            Redo::Adopt { sums: [], .. } => {}
            Redo::Adopt { first, sums, .. } => {
                if !self.files.options.read_only {
                    self.files.sync_crowd()?;
                    file.recover_made()?;
                }
                file.adopt(first, sums);
            }
            Redo::Create { .. } => unreachable!("handled above"),
        }
        Ok(())
    }

    /// Rule 5, for one change of a file.
    fn goes_on(&mut self, file: &PagedFile, redo: &Redo<'_>) -> bool {
        let end = self.ends.entry(file.id).or_insert(file.length());
        let reached = match *redo {
            Redo::Write { offset, bytes, .. } if offset <= *end => offset.checked_add(bytes.len() as u64),
            Redo::Adopt { first, sums, .. } => {
                let page_size = file.page_size as u64;
                let pages = sums.len() as u64 / 8;
                let follows = pages == 0 || first.checked_mul(page_size) == Some(*end);
                if follows { pages.checked_mul(page_size).and_then(|size| size.checked_add(*end)) } else { None }
            }
            Redo::Length { length, .. } if length == *end => Some(length),
            Redo::Write { .. } | Redo::Length { .. } => None,
            _ => return true,
        };
        *end = reached.unwrap_or(u64::MAX).max(*end);
        *end <= LENGTH_LIMIT
    }

    fn write(&mut self, file: &Arc<PagedFile>, offset: u64, bytes: &[u8]) -> Result<()> {
        let page_size = file.page_size as u64;
        let mut start = 0;
        while start < bytes.len() {
            let page = (offset + start as u64) / page_size;
            let at = ((offset + start as u64) % page_size) as usize;
            let count = (bytes.len() - start).min(file.page_size - at);
            if broken(Mutant::ReplaySkipsWhatIsThere)
                && self.seems_done(file, page, at, &bytes[start..start + count])?
            {
                start += count;
                continue;
            }
            self.bring_in(file, page)?;
            let entry = file.entry(page)?;
            entry.write(file.page_size, at, &bytes[start..start + count]);
            entry.settle();
            start += count;
        }
        Ok(())
    }

    /// For a mutant: does the data file show the change already, and nothing before it changed the page?
    fn seems_done(&self, file: &Arc<PagedFile>, page: u64, at: usize, bytes: &[u8]) -> Result<bool> {
        if file.entry(page)?.has_frame() || page >= file.disk_pages.load(Ordering::Acquire) {
            return Ok(false);
        }
        let mut found = memory::zeros(file.page_size, "a page")?;
        file.load(page, &mut found)?;
        Ok(found[at..at + bytes.len()] == *bytes)
    }

    /// Rules 2 and 3.
    fn bring_in(&mut self, file: &Arc<PagedFile>, page: u64) -> Result<()> {
        let entry = file.entry(page)?;
        if entry.has_frame() {
            return Ok(());
        }
        let key = PageKey { file: file.id, page };
        self.suspects.try_reserve(1).map_err(memory::refused(REPLAYED))?;
        self.dirty.try_reserve(1).map_err(memory::refused(REPLAYED))?;
        let meta = file.metas.get_or_make(page)?;
        let mut bytes = memory::zeros(file.page_size, "a page")?;
        if page < file.disk_pages.load(Ordering::Acquire) || broken(Mutant::PagesPastLengthRead) {
            file.load(page, &mut bytes)?;
            if page_sum(file.id.0, page, &bytes) != file.stored_sum(page)? {
                let lines = self.survey.logged.get(&key).cloned().unwrap_or_default();
                self.next_line = lines.iter().map(|(line, _)| *line).min().unwrap_or(0).min(self.next_line);
                self.suspects.insert(key, lines);
            }
        }
        entry.install(file.pool.frame(&bytes)?);
        meta.epoch.store(REPLAY_EPOCH, Ordering::Relaxed);
        meta.listed.store(REPLAY_EPOCH, Ordering::Relaxed);
        self.files.shared.dirty_bytes.fetch_add(file.page_size as u64, Ordering::Relaxed);
        self.dirty.insert(key);
        Ok(())
    }

    /// Compares suspect pages at the lines below `lsn`, which lie behind replay now.
    fn clear_suspects(&mut self, lsn: u64) -> Result<()> {
        if self.suspects.is_empty() || lsn <= self.next_line {
            return Ok(());
        }
        let mut failed = None;
        let files = self.files;
        self.suspects.retain(|key, lines| {
            let Some(file) = files.file(key.file) else { return false };
            let mut bytes = match memory::zeros(file.page_size, "a page") {
                Ok(bytes) => bytes,
                Err(error) => {
                    failed = Some(error);
                    return true;
                }
            };
            let held = file.entries.get(key.page).is_some_and(|entry| entry.read_frame(file.page_size, 0, &mut bytes));
            debug_assert!(held);
            let sum = page_sum(key.file.0, key.page, &bytes);
            let passed: Vec<u64> = lines.iter().filter(|(line, _)| *line < lsn).map(|(_, sum)| *sum).collect();
            lines.retain(|(line, _)| *line >= lsn);
            if passed.contains(&sum) || broken(Mutant::SuspectsForgiven) {
                return false;
            }
            if lines.is_empty() {
                failed = Some(file.damaged(key.page));
            }
            true
        });
        let lines = self.suspects.values().flatten().map(|(line, _)| *line);
        self.next_line = lines.min().unwrap_or(u64::MAX);
        failed.map_or(Ok(()), Err)
    }
}
