//! How to open a database.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::modules::{Cache, LruCache, MemoryStore, Store};
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
    /// Where the records lie.
    pub store: StoreChoice,
    /// What remembers records nearer by.
    pub cache: CacheChoice,
    /// Sizes that only the simulation changes.
    #[doc(hidden)]
    pub sizes: Sizes,
}

/// Where the records of a database lie.
#[derive(Clone, Default)]
pub enum StoreChoice {
    /// In the database's folder, as this library keeps them.
    #[default]
    Native,
    /// In memory, and nowhere else. The path is only a name.
    Memory,
    /// Where a module puts them. The path is only a name. What a store cannot do is `Unsupported`: snapshots, pins,
    /// backups and, where it does not take batches as one, commits of more than one change.
    Module(Arc<dyn Store>),
}

/// What remembers the records of a database nearer by. The native store needs nothing: it reads from memory already.
#[derive(Clone, Default)]
pub enum CacheChoice {
    /// Nothing.
    #[default]
    None,
    /// The records used last, in so many bytes.
    Lru(u64),
    /// A module.
    Module(Arc<dyn Cache>),
}

impl StoreChoice {
    /// The store, where it is not the native one.
    pub(super) fn module(&self) -> Option<Arc<dyn Store>> {
        match self {
            StoreChoice::Native => None,
            StoreChoice::Memory => Some(Arc::new(MemoryStore::new())),
            StoreChoice::Module(store) => Some(Arc::clone(store)),
        }
    }
}

impl CacheChoice {
    /// The cache, if there is one.
    pub(super) fn module(&self) -> Option<Arc<dyn Cache>> {
        match self {
            CacheChoice::None => None,
            CacheChoice::Lru(bytes) => Some(Arc::new(LruCache::new(*bytes))),
            CacheChoice::Module(cache) => Some(Arc::clone(cache)),
        }
    }
}

impl PartialEq for StoreChoice {
    fn eq(&self, other: &StoreChoice) -> bool {
        match (self, other) {
            (StoreChoice::Native, StoreChoice::Native) | (StoreChoice::Memory, StoreChoice::Memory) => true,
            (StoreChoice::Module(one), StoreChoice::Module(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl PartialEq for CacheChoice {
    fn eq(&self, other: &CacheChoice) -> bool {
        match (self, other) {
            (CacheChoice::None, CacheChoice::None) => true,
            (CacheChoice::Lru(one), CacheChoice::Lru(other)) => one == other,
            (CacheChoice::Module(one), CacheChoice::Module(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for StoreChoice {}
impl Eq for CacheChoice {}

impl fmt::Debug for StoreChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreChoice::Native => f.write_str("Native"),
            StoreChoice::Memory => f.write_str("Memory"),
            StoreChoice::Module(store) => write!(f, "Module({})", store.name()),
        }
    }
}

impl fmt::Debug for CacheChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CacheChoice::None => f.write_str("None"),
            CacheChoice::Lru(bytes) => write!(f, "Lru({bytes})"),
            CacheChoice::Module(cache) => write!(f, "Module({})", cache.name()),
        }
    }
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

/// The largest page, where the options do not say otherwise: two blocks. Larger ones are fewer, and so dearer to bring
/// into memory for a change; smaller ones are cheaper to bring in, and dearer in checkpoints.
const PAGE_SIZE_MAX: usize = 8 << 10;

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
                spare_max: or(sizes.wal_soft, 256 << 20),
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
