//! Reading as of one cut, whatever is committed meanwhile.

use std::sync::Arc;

use crate::error::Result;
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
                return Ok(());
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
