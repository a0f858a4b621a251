//! Reading as of one cut, whatever is committed meanwhile.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::os::sync::Ordering;

use super::PagedFiles;
use super::cache::PageKey;
use super::copy::{Seen, Source};
use super::file::PagedFile;

/// A line between two commits. While it lives, the page images that it can see are kept.
pub struct Snapshot {
    files: Arc<PagedFiles>,
    /// The last epoch before the line.
    pub(super) epoch: u64,
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
    pub fn snapshot(self: &Arc<PagedFiles>, capture: impl FnOnce()) -> Snapshot {
        let epoch = self.wal.cut_for_reading(|epoch| {
            self.cache.add_cut(epoch);
            capture();
        });
        Snapshot { files: Arc::clone(self), epoch }
    }
}

impl PagedFile {
    /// The length as of the newest commit: for `capture`, where no commit is under way between log and length.
    pub fn committed_length(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }
}

impl Snapshot {
    /// Copies a whole page, as it was at the line.
    pub fn read_page(&self, file: &PagedFile, page: u64, out: &mut [u8]) -> Result<()> {
        let key = PageKey { file: file.id, page };
        let stripe_number = self.files.cache.stripe_of(key);
        // Before the lock, since it may have to look at the file.
        let entry = file.entry(page)?;
        for round in 0_u32.. {
            // Commits before the line that are still being applied hold the stripe; so this waits for them.
            let stripe = self.files.cache.lock(stripe_number);
            if let Some(image) = stripe.image(key, self.epoch) {
                drop(stripe);
                out.copy_from_slice(&image);
                return Ok(());
            }
            if round > 8 && entry.read_frame(file.page_size, 0, out) {
                // Writers keep changing it: then it is in a frame, and copying that under the lock is short.
                return Ok(());
            }
            let version = entry.version();
            drop(stripe);
            let source = Source { mapping: &file.mapping, page, page_size: file.page_size };
            if entry.read(source, 0, out, None) == Seen::Copied && entry.version() == version {
                // The frames of a dropped file are freed, and then the map shows what an older checkpoint wrote.
                let dropped = || Error::NotFound("the table was dropped".into());
                return if file.is_dropped() { Err(dropped()) } else { Ok(()) };
            }
            // Not verified or not mapped yet, or changed meanwhile: the plain read sees to the first two.
            file.read(page, 0, out, None)?;
            if entry.version() == version {
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

    #[test]
    fn a_page_of_a_dropped_file_is_not_read_as_an_older_checkpoint_left_it() {
        let folder = std::env::temp_dir().join(format!("diamonddb_dropped_{}", std::process::id()));
        let disk = Arc::new(RealDisk::open(&folder, true).expect("a folder can be made"));
        NewDatabase::make(&*disk).expect("an empty folder");
        let (durability, size) = (Durability::Os, 1 << 20);
        let wal = WalOptions { durability, segment_size_min: size, segment_size_max: size, buffer_size_max: 4096 };
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
        let files = PagedFiles::open(disk, options).expect("a database");
        let (file, _) = files.create_file(1, 512, Arc::default()).expect("a file");
        let write = |edit| files.commit(&[edit], |_, _| {}).expect("a commit");
        write(Edit::Append { file: &file, bytes: &[1; 512], tally: 0 });
        files.checkpoint().expect("a checkpoint");
        let mut out = [0; 512];
        file.read(0, 0, &mut out, None).expect("the map has the page");
        write(Edit::Write { file: &file, offset: 0, bytes: &[2; 512], given: None, tally: 0 });

        let snapshot = files.snapshot(|| {});
        snapshot.read_page(&file, 0, &mut out).expect("a page");
        assert_eq!(out, [2; 512]);
        files.drop_file(&file).expect("a drop");
        files.checkpoint().expect("a checkpoint");
        assert!(matches!(snapshot.read_page(&file, 0, &mut out), Err(Error::NotFound(_))), "it read {}", out[0]);
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
