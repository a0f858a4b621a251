//! Reading what is left of damaged files: whatever verifies, and nothing else.
//!
//! An opening refuses a database whose manifest, catalog or wal is damaged. This reading goes around the damage, and
//! says what is missing. It writes nothing, and it can be given any bytes.
//!
//! What always holds here:
//!
//! 1. The catalog is the newest image that verifies, found by the manifest or without it. Where it may not be the last
//!    one, files are read as far as their sums go, past the length that the image names.
//! 2. Frames of the wal are repeated in their order, as recovery does. Where some are missing, those behind them are
//!    repeated all the same: each holds whole records, so a record is always as one commit left it, but one that a
//!    missing frame changed is older than it was.
//! 3. Bytes count as known if they matched a sum, or if a frame wrote them. What lies within a file's length and is not
//!    known is lost, not empty.
//! 4. Sums are keyed by file and page, so a page that matches is believed even where its file's header is damaged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::format::bytes::Take;
use crate::format::checksum::{page_sum, xxh3};
use crate::format::header::Header;
use crate::format::manifest::Manifest;
use crate::memory;
use crate::os::sync::Mutex;
use crate::os::{Disk, DiskFile, Open, read_exact_at, read_what_can_be_read};
use crate::wal::frame::Kind;
use crate::wal::salvage::WalRemains;

use super::cache::PageKey;
use super::file::{FileId, FileImage, LENGTH_LIMIT};
use super::redo::{Redo, sums_of};
use super::root::{self, CATALOG, MANIFEST};

/// What is left of a database's files.
pub struct Remains {
    disk: Arc<dyn Disk>,
    uuid: Option<[u8; 16]>,
    files: BTreeMap<FileId, FileRemains>,
    /// Pages that the wal changed.
    pages: HashMap<PageKey, PageRemains>,
    /// These and the pages that the wal made part of a file.
    touched: BTreeSet<PageKey>,
    /// Sums of pages that the wal made part of a file.
    adopted: HashMap<PageKey, u64>,
    /// Sums that checkpoints logged, each with the LSN of its line.
    logged: HashMap<PageKey, Vec<(u64, u64)>>,
    /// The file that was read last, open.
    open: Mutex<Option<(FileId, Handles)>>,
    /// What is missing besides records: the file, and a sentence.
    pub lost: Vec<(String, String)>,
}

struct FileRemains {
    image: FileImage,
    /// The length as of the catalog, up to which the data file has what the wal need not say.
    settled: u64,
}

#[derive(Clone, Default)]
struct Handles {
    data: Option<Arc<dyn DiskFile>>,
    sums: Option<Arc<dyn DiskFile>>,
    /// Why there is no data.
    why: Option<Error>,
}

struct PageRemains {
    bytes: Vec<u8>,
    known: Known,
    /// Something was read from the disk, whether or not it is known.
    is_read: bool,
    /// Why the disk's page is not known.
    why: Option<Error>,
    /// The lines at which the page may still match a sum.
    lines: Vec<(u64, u64)>,
}

/// What can be had of one page.
pub struct PageFound {
    /// The bytes that are known.
    pub known: Known,
    /// The disk has bytes for the rest of the page too, which match no sum.
    pub is_read: bool,
    /// Why not all is known.
    pub why: Option<Error>,
}

/// Which bytes of a page are known: ranges, ascending, that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known(Vec<Range<usize>>);

impl Known {
    /// True if all of these are.
    pub fn has(&self, range: Range<usize>) -> bool {
        self.0.iter().any(|known| known.start <= range.start && range.end <= known.end)
    }

    fn add(&mut self, range: Range<usize>) {
        let mut range = range;
        self.0.retain(|known| {
            let apart = known.end < range.start || range.end < known.start;
            if !apart {
                range = known.start.min(range.start)..known.end.max(range.end);
            }
            apart
        });
        let place = self.0.partition_point(|known| known.start < range.start);
        self.0.insert(place, range);
    }
}

/// Where everything starts, as far as that can be told.
struct Start {
    files: Vec<FileImage>,
    /// The last LSN that the data files hold.
    checkpoint: u64,
    /// The catalog is surely the last one.
    is_last: bool,
}

impl Remains {
    /// Reads the root and the wal. An error only where nothing is left of a database, where it is of a version that
    /// this library does not know, or where memory runs out.
    pub fn read(disk: Arc<dyn Disk>) -> Result<Remains> {
        let mut lost = Vec::new();
        let manifests = read_manifests(&*disk, &mut lost);
        manifests.iter().try_for_each(|manifest| super::recovery::check_version(manifest, true))?;
        let uuid = manifests.first().map(|manifest| manifest.uuid).or_else(|| uuid_of_headers(&*disk));
        let wal = WalRemains::find(&*disk, uuid.as_ref());
        let uuid = uuid.or(wal.uuids.first().copied());
        let images = find_images(&*disk, &manifests);
        if manifests.is_empty() && images.is_empty() && !wal.goes_beyond(0) && uuid.is_none() {
            let text = format!("{} holds nothing of a database that could be read", disk.describe());
            return Err(Error::Format(text.into()));
        }
        let start = find_start(&manifests, images, &wal, &mut lost);
        lost.extend(wal.lost.iter().cloned());
        let mut remains = Remains {
            disk,
            uuid,
            files: BTreeMap::new(),
            pages: HashMap::new(),
            touched: BTreeSet::new(),
            adopted: HashMap::new(),
            logged: HashMap::new(),
            open: Mutex::default(),
            lost,
        };
        for image in start.files {
            let settled = if start.is_last { image.length } else { image.length.max(remains.extent_of_sums(&image)) };
            let image = FileImage { length: settled, ..image };
            remains.files.insert(image.id, FileRemains { image, settled });
        }
        remains.replay(&wal, start.checkpoint, start.is_last)?;
        Ok(remains)
    }

    /// The files that the catalog or the wal knows, the newest first.
    pub fn files(&self) -> impl Iterator<Item = &FileImage> {
        self.files.values().rev().map(|file| &file.image)
    }

    /// How many pages of a file to look for. Fewer than its length needs where neither the disk nor the wal has
    /// anything so far out: then the second number says how many bytes of the length that leaves.
    pub fn page_count(&self, file: FileId) -> (u64, u64) {
        let Some(found) = self.files.get(&file) else { return (0, 0) };
        let (page_size, length) = (u64::from(found.image.page_size), found.image.length);
        let handles = self.open(file);
        let pages_in = |handle: &Option<Arc<dyn DiskFile>>, size: u64| {
            let bytes = handle.as_ref().and_then(|handle| handle.size().ok()).unwrap_or(0);
            bytes.saturating_sub(BLOCK_SIZE).div_ceil(size)
        };
        let on_disk = pages_in(&handles.data, page_size).max(pages_in(&handles.sums, 8));
        // A frame can name any page; one that is far from all others is not followed there.
        const GAP_MAX: u64 = 64;
        let mut seen = on_disk;
        for key in self.touched.range(PageKey { file, page: on_disk }..=PageKey { file, page: u64::MAX }) {
            if key.page > seen + GAP_MAX {
                break;
            }
            seen = seen.max(key.page + 1);
        }
        let needed = length.div_ceil(page_size);
        if seen >= needed { (needed, length) } else { (seen, seen * page_size) }
    }

    /// Reads one page of a file into `bytes`, as far as it can be had.
    pub fn page(&self, file: FileId, page: u64, bytes: &mut [u8]) -> Result<PageFound> {
        let key = PageKey { file, page };
        if let Some(found) = self.pages.get(&key) {
            bytes.copy_from_slice(&found.bytes);
            return Ok(PageFound { known: found.known.clone(), is_read: found.is_read, why: found.why.clone() });
        }
        self.base(key, bytes)
    }

    /// A page as the disk has it.
    fn base(&self, key: PageKey, bytes: &mut [u8]) -> Result<PageFound> {
        let PageKey { file, page } = key;
        let settled = self.files.get(&file).map_or(0, |found| found.settled);
        let start = page * bytes.len() as u64;
        let (adopted, logged) = (self.adopted.get(&key), self.logged.get(&key));
        if start >= settled && adopted.is_none() && logged.is_none() {
            bytes.fill(0);
            let why = Error::corrupt(&file.name(), format!("page {page} was to come from the wal"));
            return Ok(PageFound { known: Known::default(), is_read: false, why: Some(why) });
        }
        let handles = self.open(file);
        let nothing = |why: Error| Ok(PageFound { known: Known::default(), is_read: false, why: Some(why) });
        let Some(data) = &handles.data else {
            bytes.fill(0);
            return nothing(handles.why.unwrap_or_else(|| Error::corrupt(&file.name(), "it is missing")));
        };
        match read_exact_at(&**data, bytes, BLOCK_SIZE + start) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                bytes.fill(0);
                return nothing(Error::corrupt(&file.name(), format!("it ends before page {page}")));
            }
            Err(error) => {
                bytes.fill(0);
                return nothing(Error::io("read", &file.name(), &error));
            }
        }
        let sum = page_sum(file.0, page, bytes);
        let is_logged = logged.is_some_and(|lines| lines.iter().any(|(_, logged)| *logged == sum));
        let stored = match adopted {
            Some(adopted) => Ok(*adopted),
            None => stored_sum(&handles, file, page),
        };
        let mut known = Known::default();
        if is_logged || stored.as_ref().is_ok_and(|stored| *stored == sum) {
            // Rule 3: what lies past the settled length is for the wal to say.
            let end = if is_logged || adopted.is_some() { u64::MAX } else { settled.saturating_sub(start) };
            known.add(0..bytes.len().min(usize::try_from(end).unwrap_or(usize::MAX)));
            let why = Error::corrupt(&file.name(), format!("the end of page {page} was to come from the wal"));
            let why = Some(why).filter(|_| !known.has(0..bytes.len()));
            return Ok(PageFound { known, is_read: true, why });
        }
        let mismatch = || Error::corrupt(&file.name(), format!("page {page} does not match its checksum"));
        Ok(PageFound { known, is_read: true, why: Some(stored.err().unwrap_or_else(mismatch)) })
    }

    /// Repeats the wal, twice: the sums that checkpoints logged are needed before the pages that they vouch for.
    fn replay(&mut self, wal: &WalRemains, base: u64, begins_here: bool) -> Result<()> {
        let disk = Arc::clone(&self.disk);
        let mut dropped = BTreeSet::new();
        wal.replay(&*disk, base, begins_here, &mut |frame| {
            let mut take = Take(frame.payload);
            let line = if frame.kind == Some(Kind::Sums) { take.u64() } else { None };
            while let Some(redo) = Redo::take(&mut take) {
                match (redo, line) {
                    (Redo::Drop { file }, None) => {
                        dropped.insert(file);
                    }
                    (Redo::Adopt { file, first, sums }, Some(line)) => {
                        for (page, sum) in (first..).zip(sums_of(sums)) {
                            self.logged.entry(PageKey { file, page }).or_default().push((line, sum));
                        }
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
        let mut unknown = BTreeSet::new();
        let gaps = wal.replay(&*disk, base, begins_here, &mut |frame| {
            self.pass_lines(frame.lsn);
            if frame.kind != Some(Kind::Commit) {
                return Ok(());
            }
            let mut take = Take(frame.payload);
            while let Some(redo) = Redo::take(&mut take) {
                if self.redo(redo, &dropped)?.is_none() {
                    unknown.insert(file_of(&redo));
                }
            }
            if !take.is_empty() {
                let what = format!("frame {} verifies, but what it says breaks the format", frame.lsn);
                self.lost.push(("wal".into(), what));
            }
            Ok(())
        })?;
        self.pass_lines(u64::MAX);
        for (from, to) in &gaps {
            let what = format!("commits {from} to {to} are missing: what they changed is older than it was, or lost");
            self.lost.push(("wal".into(), what));
        }
        let is_whole = begins_here && gaps.is_empty();
        for id in self.files_on_disk().into_iter().filter(|id| !self.files.contains_key(id) && !dropped.contains(id)) {
            // Where nothing else is missing, such a file is what a dropped table or a bulk append left.
            if !is_whole || unknown.contains(&id) {
                let size = self.open(id).data.and_then(|data| data.size().ok()).unwrap_or(0);
                let what = format!("no catalog says what its {size} bytes are");
                self.lost.push((id.name(), what));
            }
        }
        Ok(())
    }

    /// Makes one change; `None` if its file is not known, or the change is impossible.
    fn redo(&mut self, redo: Redo<'_>, dropped: &BTreeSet<FileId>) -> Result<Option<()>> {
        let id = file_of(&redo);
        if let Redo::Create { kind, page_size, meta, .. } = redo {
            let image = FileImage { id, kind, page_size, length: 0, tally: 0, meta: Arc::new(meta.to_vec()) };
            if !image.is_possible() {
                return Ok(None);
            }
            self.files.entry(id).or_insert(FileRemains { image, settled: 0 });
            return Ok(Some(()));
        }
        if dropped.contains(&id) {
            if let Redo::Drop { .. } = redo {
                self.files.remove(&id);
            }
            return Ok(Some(()));
        }
        let Some(found) = self.files.get_mut(&id) else { return Ok(None) };
        let page_size = u64::from(found.image.page_size);
        match redo {
            Redo::Length { length, .. } if length <= LENGTH_LIMIT => {
                found.image.length = found.image.length.max(length);
            }
            Redo::Describe { meta, .. } => found.image.meta = Arc::new(meta.to_vec()),
            Redo::Write { offset, bytes, .. }
                if offset.checked_add(bytes.len() as u64).is_some_and(|end| end <= LENGTH_LIMIT) =>
            {
                self.write(id, page_size as usize, offset, bytes)?;
            }
            Redo::Adopt { first, sums, .. } if first.checked_mul(page_size).is_some_and(|at| at <= LENGTH_LIMIT) => {
                for (page, sum) in (first..).zip(sums_of(sums)) {
                    self.adopted.insert(PageKey { file: id, page }, sum);
                    self.touched.insert(PageKey { file: id, page });
                }
            }
            Redo::Tally { .. } | Redo::Drop { .. } => {}
            _ => return Ok(None),
        }
        Ok(Some(()))
    }

    fn write(&mut self, file: FileId, page_size: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let place = offset + done as u64;
            let key = PageKey { file, page: place / page_size as u64 };
            let at = (place % page_size as u64) as usize;
            let count = (bytes.len() - done).min(page_size - at);
            self.bring_in(key, page_size)?;
            let page = self.pages.get_mut(&key).expect("the page was just brought in");
            page.bytes[at..at + count].copy_from_slice(&bytes[done..done + count]);
            page.known.add(at..at + count);
            done += count;
        }
        Ok(())
    }

    fn bring_in(&mut self, key: PageKey, page_size: usize) -> Result<()> {
        if self.pages.contains_key(&key) {
            return Ok(());
        }
        let mut bytes = memory::zeros(page_size, "a page")?;
        let found = self.base(key, &mut bytes)?;
        // A page that was torn by a checkpoint is made whole by the frames before the checkpoint's line.
        let is_doubtful = found.is_read && found.known == Known::default();
        let lines = self.logged.get(&key).filter(|_| is_doubtful).cloned().unwrap_or_default();
        let PageFound { known, is_read, why } = found;
        self.pages.insert(key, PageRemains { bytes, known, is_read, why, lines });
        self.touched.insert(key);
        Ok(())
    }

    /// Compares doubtful pages at the lines below `lsn`, which lie behind the replay now.
    fn pass_lines(&mut self, lsn: u64) {
        for (key, page) in self.pages.iter_mut().filter(|(_, page)| !page.lines.is_empty()) {
            if !page.lines.iter().any(|(line, _)| *line < lsn) {
                continue;
            }
            let sum = page_sum(key.file.0, key.page, &page.bytes);
            if page.lines.iter().any(|(line, logged)| *line < lsn && *logged == sum) {
                page.known.add(0..page.bytes.len());
                page.lines.clear();
            }
            page.lines.retain(|(line, _)| *line >= lsn);
        }
    }

    /// Where the sums of a file say that its last page ends, in bytes.
    fn extent_of_sums(&self, image: &FileImage) -> u64 {
        const PIECE: u64 = 1 << 16;
        let Some(sums) = self.open(image.id).sums else { return 0 };
        let size = sums.size().unwrap_or(0).saturating_sub(BLOCK_SIZE) / 8 * 8;
        let mut end = size;
        while end > 0 {
            let start = (end - 1) / PIECE * PIECE;
            let mut bytes = vec![0; (end - start) as usize];
            read_what_can_be_read(&*sums, &mut bytes, BLOCK_SIZE + start);
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                let pages = (start + last as u64) / 8 + 1;
                return pages.saturating_mul(u64::from(image.page_size)).min(LENGTH_LIMIT);
            }
            end = start;
        }
        0
    }

    /// The two files, as far as they can be opened.
    fn open(&self, file: FileId) -> Handles {
        let mut open = self.open.lock();
        if let Some((id, handles)) = &*open
            && *id == file
        {
            return handles.clone();
        }
        let (data, sums) = (self.open_one(&file.name()), self.open_one(&file.sums_name()));
        let why = data.as_ref().err().cloned();
        let handles = Handles { data: data.ok(), sums: sums.ok(), why };
        *open = Some((file, handles.clone()));
        handles
    }

    fn open_one(&self, name: &str) -> Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(name, Open::Read).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::corrupt(name, "it is missing"),
            _ => Error::io("open", name, &error),
        })?;
        let mut block = vec![0; BLOCK_SIZE as usize];
        read_what_can_be_read(&*file, &mut block, 0);
        match (Header::decode(&block), self.uuid) {
            (Some(header), Some(uuid)) if header.uuid != uuid => {
                Err(Error::corrupt(name, "its header belongs to another database"))
            }
            _ => Ok(file),
        }
    }

    fn files_on_disk(&self) -> BTreeSet<FileId> {
        let names = self.disk.list("data").unwrap_or_default();
        let ids = names.iter().filter_map(|name| name.parse().ok().map(FileId).filter(|id| id.0.to_string() == *name));
        ids.filter(|id| *id != CATALOG).collect()
    }
}

fn stored_sum(handles: &Handles, file: FileId, page: u64) -> Result<u64> {
    let name = file.sums_name();
    let Some(sums) = &handles.sums else { return Err(Error::corrupt(&name, "it is missing or unreadable")) };
    let mut bytes = [0; 8];
    match read_exact_at(&**sums, &mut bytes, BLOCK_SIZE + 8 * page) {
        Ok(()) => Ok(u64::from_le_bytes(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Error::corrupt(&name, format!("it ends before the sum of page {page}")))
        }
        Err(error) => Err(Error::io("read", &name, &error)),
    }
}

fn file_of(redo: &Redo<'_>) -> FileId {
    let (Redo::Write { file, .. }
    | Redo::Length { file, .. }
    | Redo::Describe { file, .. }
    | Redo::Drop { file }
    | Redo::Adopt { file, .. }
    | Redo::Tally { file, .. }
    | Redo::Create { file, .. }) = *redo;
    file
}

/// The slots that verify, the newer one first.
fn read_manifests(disk: &dyn Disk, lost: &mut Vec<(String, String)>) -> Vec<Manifest> {
    let mut blocks = vec![0; 2 * BLOCK_SIZE as usize];
    match disk.open(MANIFEST, Open::Read) {
        Ok(file) => {
            read_what_can_be_read(&*file, &mut blocks, 0);
        }
        Err(error) => lost.push((MANIFEST.into(), Error::io("open", MANIFEST, &error).message().to_owned())),
    }
    let mut manifests: Vec<Manifest> = root::slots(&blocks).filter(Manifest::is_possible).collect();
    manifests.sort_by_key(|manifest| std::cmp::Reverse(manifest.generation));
    manifests
}

/// The identity that a header of a data file names.
fn uuid_of_headers(disk: &dyn Disk) -> Option<[u8; 16]> {
    let names = disk.list("data").ok()?;
    names.iter().find_map(|name| {
        let mut block = vec![0; BLOCK_SIZE as usize];
        read_exact_at(&*disk.open(&format!("data/{name}"), Open::Read).ok()?, &mut block, 0).ok()?;
        Some(Header::decode(&block)?.uuid)
    })
}

/// An image of the catalog that verifies.
struct Image {
    checkpoint: u64,
    sum: u64,
    files: Vec<FileImage>,
}

/// All images in the catalog's file, wherever they lie; first those that manifests lead to.
fn find_images(disk: &dyn Disk, manifests: &[Manifest]) -> Vec<Image> {
    let Ok(file) = disk.open(&CATALOG.name(), Open::Read) else { return Vec::new() };
    let size = file.size().unwrap_or(0);
    let mut images = Vec::new();
    // Bytes that only look like images could make this take for ever.
    let mut patience = size.saturating_mul(4);
    let mut look = |offset: u64, images: &mut Vec<Image>| {
        let mut head = [0; 32];
        read_exact_at(&*file, &mut head, offset).ok()?;
        let image_size = root::size_of_image(&head)?;
        patience = patience.checked_sub(image_size)?;
        offset.checked_add(image_size).filter(|end| *end <= size)?;
        let mut bytes = memory::zeros(usize::try_from(image_size).ok()?, "the catalog").ok()?;
        read_exact_at(&*file, &mut bytes, offset).ok()?;
        let (checkpoint, files) = root::open_image(&bytes).ok()??;
        images.push(Image { checkpoint, sum: xxh3(&bytes), files });
        Some(image_size)
    };
    for manifest in manifests {
        look(manifest.catalog_offset, &mut images);
    }
    let mut offset = BLOCK_SIZE;
    while offset < size {
        let found = look(offset, &mut images).unwrap_or(1);
        offset += found.next_multiple_of(BLOCK_SIZE);
    }
    images
}

/// Rule 1.
fn find_start(manifests: &[Manifest], images: Vec<Image>, wal: &WalRemains, lost: &mut Vec<(String, String)>) -> Start {
    let newest = manifests.first();
    let has_catalog = newest.is_some_and(|manifest| manifest.catalog_size > 0);
    let Some(image) = images.into_iter().max_by_key(|image| image.checkpoint) else {
        // Before the first checkpoint there is no image, and the wal has all.
        let checkpoint = newest.map_or(0, |manifest| if has_catalog { manifest.checkpoint } else { 0 });
        let is_last = !has_catalog && (wal.begins.contains(&0) || newest.is_some_and(|manifest| manifest.clean));
        if !is_last {
            lost.push((CATALOG.name(), "no image of the catalog verifies: tables are known by the wal alone".into()));
        }
        return Start { files: Vec::new(), checkpoint, is_last };
    };
    let is_named = has_catalog && newest.is_some_and(|manifest| manifest.catalog_sum == image.sum);
    // An image may be newer than the manifest: then its checkpoint was cut short, or the newest slot is damaged.
    let checkpoint = newest.map_or(0, |manifest| manifest.checkpoint).max(image.checkpoint);
    let is_last = is_named || checkpoint == image.checkpoint && wal.begins.contains(&image.checkpoint);
    if !is_last {
        let what = format!("the catalog is as of commit {}, and there may have been a newer one", image.checkpoint);
        lost.push((CATALOG.name(), what));
    }
    let closed_cleanly = newest.is_some_and(|manifest| manifest.clean) && !wal.goes_beyond(checkpoint);
    let begins = is_last && (closed_cleanly || wal.begins.contains(&checkpoint) || wal.goes_beyond(checkpoint));
    if is_last && !begins {
        lost.push(("wal".into(), format!("it is missing: commits after {checkpoint} are lost, if there were any")));
    }
    Start { files: image.files, checkpoint, is_last }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_become_one() {
        let mut known = Known::default();
        for range in [8..12, 0..4, 20..24, 4..8] {
            known.add(range);
        }
        assert_eq!(known, Known(vec![0..12, 20..24]));
        assert!(known.has(2..12));
        assert!(!known.has(10..22));
    }
}
