//! Reading as of one cut, whatever is committed meanwhile.
//!
//! A cut is a line between two commits, drawn under the wal's lock. While someone reads as of it, writers leave copies
//! of the pages that they change. That costs memory, so every reader says what it is and since when it reads: where
//! writers are refused for want of memory, the oldest reader is named.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use crate::error::{Error, Result};
use crate::mutant::{Mutant, broken};
use crate::os::sync::Ordering;

use super::PagedFiles;
use super::cache::PageKey;
use super::copy::{Racing, Source};
use super::file::{FileImage, PagedFile};

/// What reads as of an earlier moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderKind {
    /// A scan of a table.
    Scan,
    /// A snapshot of all tables.
    Snapshot,
    /// A pin of a table, or one that is being made.
    Pin,
    /// A backup that is under way.
    Backup,
}

/// Who keeps memory for an earlier moment, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// What it is.
    pub kind: ReaderKind,
    /// When it began.
    pub since: Instant,
    /// The last commit that it sees.
    pub lsn: u64,
}

/// A line between two commits. While it lives, the page images that it can see are kept.
pub struct Snapshot {
    files: Arc<PagedFiles>,
    /// The last epoch before the line.
    pub(super) epoch: u64,
    reader: Reader,
}

impl fmt::Display for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ReaderKind::Scan => "scan",
            ReaderKind::Snapshot => "snapshot",
            ReaderKind::Pin => "pin",
            ReaderKind::Backup => "backup",
        };
        write!(f, "a {kind} as of LSN {}, {} seconds old", self.lsn, self.since.elapsed().as_secs())
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !self.files.shared.mark.forked() {
            self.files.cache.remove_cut(self.epoch);
        }
    }
}

impl PagedFiles {
    /// Draws the line now. `capture` runs when exactly the commits before the line have been made, so that lengths
    /// read there belong to it.
    pub fn snapshot(self: &Arc<PagedFiles>, kind: ReaderKind, capture: impl FnOnce()) -> Snapshot {
        let since = Instant::now();
        let mut reader = Reader { kind, since, lsn: 0 };
        let epoch = self.wal.cut_for_reading(|epoch, lsn| {
            reader.lsn = lsn;
            self.cache.add_cut(epoch, reader);
            capture();
        });
        Snapshot { files: Arc::clone(self), epoch, reader }
    }

    /// Draws the line now, through all files: gives each with its state there.
    pub fn snapshot_of_all(self: &Arc<PagedFiles>, kind: ReaderKind) -> (Snapshot, Vec<(Arc<PagedFile>, FileImage)>) {
        let catalog = self.lock_catalog();
        let mut images = Vec::with_capacity(catalog.files.len());
        let capture = || images.extend(catalog.files.values().map(|file| (Arc::clone(file), file.image())));
        let snapshot = self.snapshot(kind, capture);
        (snapshot, images)
    }
}

impl PagedFile {
    /// The length as of the newest commit: for `capture`, where no commit is under way between log and length.
    pub fn committed_length(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    /// The file as of a cut. Under the wal's lock, and the catalog's.
    pub(super) fn image(&self) -> FileImage {
        FileImage {
            id: self.id,
            kind: self.kind,
            page_size: self.page_size as u32,
            length: self.committed.load(Ordering::Relaxed),
            tally: self.tally.load(Ordering::Relaxed),
            meta: self.meta(),
        }
    }
}

impl Snapshot {
    /// The files that it is of.
    pub fn files(&self) -> &Arc<PagedFiles> {
        &self.files
    }

    /// Who holds it.
    pub fn reader(&self) -> Reader {
        self.reader
    }

    /// True if the data file may lack the page as it was at the line, though it has the page. While no checkpoint runs.
    pub(super) fn differs_from_disk(&self, file: &PagedFile, page: u64) -> Result<bool> {
        let key = PageKey { file: file.id, page };
        let entry = file.entry(page)?;
        let stripe = self.files.cache.lock(self.files.cache.stripe_of(key));
        Ok(stripe.image(key, self.epoch).is_some() || entry.has_frame())
    }

    /// Lets `act` copy from a page as it was at the line, if nobody is in the way. What it copied counts only if the
    /// answer is true; where it is false, `read` has the page.
    #[inline]
    pub fn look(&self, file: &PagedFile, page: u64, act: impl FnOnce(Racing<'_>)) -> Result<bool> {
        let key = PageKey { file: file.id, page };
        // Before the lock, since it may have to look at the file.
        let entry = file.entry(page)?;
        // Commits before the line that are still being applied hold the stripe; so this waits for them.
        let stripe = self.files.cache.lock(self.files.cache.stripe_of(key));
        if let Some(image) = stripe.image(key, self.epoch) {
            drop(stripe);
            act(image.bytes());
            return Ok(true);
        }
        let version = entry.version();
        drop(stripe);
        let source = Source { mapping: &file.mapping, page, page_size: file.page_size };
        let is_right = entry.look(source).is_ok_and(|page| {
            act(page);
            page.stood_still() && entry.version() == version
        });
        // The frames of a dropped file are freed, and then the map shows what an older checkpoint wrote.
        if is_right && file.is_dropped() {
            return Err(Error::NotFound("the table was dropped".into()));
        }
        Ok(is_right)
    }

    /// Copies bytes of a page, from `at` on, as they were at the line.
    pub fn read(&self, file: &PagedFile, page: u64, at: usize, out: &mut [u8]) -> Result<()> {
        if self.look(file, page, |bytes| bytes.copy(at, out))? {
            return Ok(());
        }
        // It was not verified or not mapped yet, which a plain read sees to, or changed meanwhile.
        let key = PageKey { file: file.id, page };
        let stripe_number = self.files.cache.stripe_of(key);
        let entry = file.entry(page)?;
        for round in 1_u32.. {
            let stripe = self.files.cache.lock(stripe_number);
            if let Some(image) = stripe.image(key, self.epoch) {
                drop(stripe);
                image.bytes().copy(at, out);
                return Ok(());
            }
            if round > 8 && entry.read_frame(file.page_size, at, out) {
                // Writers keep changing it: then it is in a frame, and copying that under the lock is short.
                return Ok(());
            }
            let version = entry.version();
            drop(stripe);
            file.read(page, at, out)?;
            if entry.version() == version || broken(Mutant::ScanVersionNotCompared) {
                return Ok(());
            }
        }
        unreachable!("the rounds do not end before the page is read")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Edit, NewDatabase, PageOptions};
    use super::*;
    use crate::os::RealDisk;
    use crate::wal::{Durability, WalOptions};

    /// Files in a new folder with this name, without threads of their own.
    fn files_in(name: &str) -> (std::path::PathBuf, Arc<PagedFiles>) {
        let folder = std::env::temp_dir().join(format!("diamonddb_{name}_{}", std::process::id()));
        let disk = Arc::new(RealDisk::open(&folder, true).expect("a folder can be made"));
        NewDatabase::make(&*disk).expect("an empty folder");
        let (durability, size) = (Durability::Os, 1 << 20);
        let wal = WalOptions {
            durability,
            segment_size_min: size,
            segment_size_max: size,
            spare_max: size,
            buffer_size_max: 4096,
        };
        let options = PageOptions {
            wal,
            read_only: false,
            pread: false,
            stripe_count: 4,
            dirty_soft: size,
            dirty_hard: size,
            wal_soft: size,
            growth_min: 4096,
            growth_max: 4096,
            bulk_min: size,
            commit_max: size,
            chunk_size: 4096,
            open_files: 16,
            no_threads: true,
        };
        (folder, PagedFiles::open(disk, options).expect("a database"))
    }

    #[test]
    fn a_page_of_a_dropped_file_is_not_read_as_an_older_checkpoint_left_it() {
        let (folder, files) = files_in("dropped");
        let (file, _) = files.create_file(1, 512, Arc::default()).expect("a file");
        let write = |edit| files.commit(&[edit], |_, _| {}).expect("a commit");
        write(Edit::Append { file: &file, bytes: &[1; 512], tally: 0 });
        files.checkpoint().expect("a checkpoint");
        let mut out = [0];
        file.read(0, 0, &mut out).expect("the map has the page");
        write(Edit::Write { file: &file, offset: 0, bytes: &[2; 512], given: None, tally: 0 });

        let snapshot = files.snapshot(ReaderKind::Scan, || {});
        snapshot.read(&file, 0, 0, &mut out).expect("a page");
        assert_eq!(out, [2]);
        files.drop_file(&file).expect("a drop");
        files.checkpoint().expect("a checkpoint");
        assert!(matches!(snapshot.read(&file, 0, 0, &mut out), Err(Error::NotFound(_))), "it read {out:?}");
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }

    #[test]
    fn a_file_that_is_dropped_before_it_is_pinned_is_not_shown_as_an_older_checkpoint_left_it() {
        let (folder, files) = files_in("dropped_and_pinned");
        let (file, _) = files.create_file(1, 512, Arc::default()).expect("a file");
        let write = |edit| files.commit(&[edit], |_, _| {}).expect("a commit");
        write(Edit::Append { file: &file, bytes: &[1; 512], tally: 0 });
        files.checkpoint().expect("a checkpoint");
        write(Edit::Write { file: &file, offset: 0, bytes: &[2; 512], given: None, tally: 0 });

        // The drop comes between the cut of the pin and its checkpoint.
        let snapshot = files.snapshot(ReaderKind::Pin, || {});
        files.drop_file(&file).expect("a drop");
        match files.pin(&snapshot, &file, 512) {
            Err(error) => assert!(matches!(error, Error::NotFound(_)), "{error}"),
            Ok(pin) => panic!("it shows {}, and the commits before it left 2", pin.bytes()[0]),
        }
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
