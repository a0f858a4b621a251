//! How to open a database.

use crate::error::{Error, Result};
use crate::os::{memory_limit, open_files_limit};
use crate::pages::PageOptions;
pub use crate::wal::Durability;
use crate::wal::WalOptions;

/// How to open a database. The default is right for most; a zero means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Refuse to make a database where there is none (`NotFound`).
    pub must_exist: bool,
    /// Write nothing, neither records nor files. Refused while a writer has the database.
    pub read_only: bool,
    /// Start no threads: the host calls `step`, and writers do what cannot wait.
    pub no_threads: bool,
    /// Open even where the folder lies on a network file system, whose locks and syncs may not hold.
    pub force: bool,
    /// Read clean pages by system calls instead of a map: slower, but a bad sector is an error and not a SIGBUS.
    pub pread: bool,
    /// What commits wait for.
    pub durability: Durability,
    /// In `async` mode: how often everything is synced, in milliseconds. 0: 1,000.
    pub interval_ms: u32,
    /// Dirty memory that starts a checkpoint, in bytes. 0: half of `dirty_hard`.
    pub dirty_soft: u64,
    /// Dirty memory at which writers wait for a checkpoint, in bytes. 0: a quarter of the memory that the process
    /// may use.
    pub dirty_hard: u64,
    /// Sizes that only the simulation changes.
    #[doc(hidden)]
    pub sizes: Sizes,
}

/// The sizes of things inside. The simulation runs the real paths with small ones; a zero means the default.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub page: usize,
    pub segment_min: u64,
    pub segment_max: u64,
    pub wal_soft: u64,
    pub growth_min: u64,
    pub growth_max: u64,
    pub bulk_min: u64,
    pub commit_max: u64,
    pub chunk: usize,
    pub stripes: usize,
    pub buffer: usize,
    pub open_files: usize,
}

/// The largest page, where the options do not say otherwise: four blocks.
const PAGE_SIZE_MAX: usize = 16 << 10;

impl OpenOptions {
    /// The sizes and habits of the floors below.
    pub(super) fn page_options(&self) -> Result<PageOptions> {
        let sizes = &self.sizes;
        // The system is asked only where its answer is wanted: that takes as long as a small recovery.
        let dirty_hard = if self.dirty_hard > 0 { self.dirty_hard } else { memory_limit() / 4 };
        let dirty_soft = or(self.dirty_soft, dirty_hard / 2);
        if dirty_soft > dirty_hard {
            let text = format!("dirty_soft ({dirty_soft}) must not be larger than dirty_hard ({dirty_hard})");
            return Err(Error::Invalid(text.into()));
        }
        let open_files = (open_files_limit() / 4).clamp(2, 4096) as usize;
        Ok(PageOptions {
            wal: WalOptions {
                durability: self.durability,
                segment_size_min: or(sizes.segment_min, 1 << 20),
                segment_size_max: or(sizes.segment_max, 64 << 20),
                buffer_size_max: or(sizes.buffer as u64, 4 << 20) as usize,
            },
            read_only: self.read_only,
            pread: self.pread,
            stripe_count: or(sizes.stripes as u64, 256) as usize,
            dirty_soft,
            dirty_hard,
            wal_soft: or(sizes.wal_soft, 256 << 20),
            growth_min: or(sizes.growth_min, 64 << 10),
            growth_max: or(sizes.growth_max, 64 << 20),
            bulk_min: or(sizes.bulk_min, 512 << 10),
            commit_max: or(sizes.commit_max, 64 << 20),
            chunk_size: or(sizes.chunk as u64, 4 << 20) as usize,
            open_files: if sizes.open_files > 0 { sizes.open_files } else { open_files },
            no_threads: self.no_threads,
        })
    }

    /// The largest page of a new table.
    pub(super) fn page_size_max(&self) -> usize {
        or(self.sizes.page as u64, PAGE_SIZE_MAX as u64) as usize
    }

    /// How often `async` mode syncs by itself.
    pub(super) fn interval(&self) -> std::time::Duration {
        std::time::Duration::from_millis(or(u64::from(self.interval_ms), 1000))
    }
}

fn or(given: u64, default: u64) -> u64 {
    if given == 0 { default } else { given }
}
