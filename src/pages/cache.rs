//! The lock-striped page cache: who may change a page, which pages are dirty, and what older readers still need.
//!
//! A stripe is one lock's share of all pages, on a cache line of its own. Under it lie, besides the right to change
//! the pages, three lists:
//!
//! - `dirty`: pages that the next checkpoint has to write, each once;
//! - `visitors`: pages that were brought into a frame by a writer who perhaps did not change them;
//! - `old`: images of pages from before a change, for a checkpoint or a snapshot that reads as of an earlier cut.
//!
//! What always holds here:
//!
//! 1. Stripes are locked in ascending order, and no disk is waited for under them.
//! 2. For a live cut, a page's image is the one in `old` whose epochs cover it, and if there is none, the page
//!    itself: a writer who is about to change a page that a live cut still needs leaves a copy first.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::os::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

use crate::error::Result;
use crate::memory;

use crate::mutant::{Mutant, broken};

use super::copy::Frame;
use super::file::FileId;
use super::snapshot::Reader;

/// A page of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PageKey {
    pub file: FileId,
    pub page: u64,
}

/// What one lock guards.
#[derive(Default)]
pub(super) struct Stripe {
    /// Dirty pages, each with the epoch in which it was put here.
    pub dirty: Vec<(PageKey, u64)>,
    /// Pages that got a frame before anyone changed them.
    pub visitors: Vec<PageKey>,
    /// Images from before a change.
    pub old: HashMap<PageKey, Vec<OldImage>>,
}

/// A page as it was in the epochs `first..=last`.
#[derive(Clone)]
pub(super) struct OldImage {
    pub first: u64,
    pub last: u64,
    pub page: Arc<Frame>,
}

/// All stripes, and the cuts that are alive.
pub(super) struct Cache {
    stripes: Box<[CachePadded<Mutex<Stripe>>]>,
    /// Every reader's cut has an epoch of its own.
    live: Mutex<BTreeMap<u64, Reader>>,
    /// The newest snapshot's cut, or 0.
    snapshot: AtomicU64,
    /// The cut of the checkpoint that is being taken, or 0, and the one before it.
    checkpoint: AtomicU64,
    checkpoint_before: AtomicU64,
    old_bytes: AtomicU64,
}

impl Cache {
    pub fn new(stripe_count: usize) -> Result<Cache> {
        let stripes = memory::collect(stripe_count, std::iter::repeat_with(CachePadded::default), "the page cache")?;
        Ok(Cache {
            stripes: stripes.into_boxed_slice(),
            live: Mutex::default(),
            snapshot: AtomicU64::new(0),
            checkpoint: AtomicU64::new(0),
            checkpoint_before: AtomicU64::new(0),
            old_bytes: AtomicU64::new(0),
        })
    }

    /// Neighbouring pages lie in different stripes, so that a scan does not queue on one lock.
    pub fn stripe_of(&self, key: PageKey) -> u32 {
        let spread = u64::from(key.file.0).wrapping_mul(0x9E37_79B9);
        (key.page.wrapping_add(spread) % self.stripes.len() as u64) as u32
    }

    pub fn lock(&self, stripe: u32) -> MutexGuard<'_, Stripe> {
        self.stripes[stripe as usize].lock()
    }

    pub fn stripe_count(&self) -> u32 {
        self.stripes.len() as u32
    }

    /// A reader's cut becomes alive. Called under the wal's lock, before anything is written after the cut.
    pub fn add_cut(&self, epoch: u64, reader: Reader) {
        let mut live = self.live.lock();
        live.insert(epoch, reader);
        self.snapshot.fetch_max(epoch, Ordering::AcqRel);
    }

    /// How many readers' cuts are alive, and the oldest.
    pub fn readers(&self) -> (usize, Option<Reader>) {
        let live = self.live.lock();
        (live.len(), live.values().next().copied())
    }

    /// A reader's cut is no longer needed; nor are the images that only it could see.
    pub fn remove_cut(&self, epoch: u64) {
        {
            let mut live = self.live.lock();
            live.remove(&epoch);
            let newest = live.keys().next_back().copied().unwrap_or(0);
            self.snapshot.store(newest, Ordering::Release);
        }
        self.sweep();
    }

    /// A checkpoint's cut becomes alive. Called under the wal's lock.
    pub fn begin_checkpoint(&self, epoch: u64, before: u64) {
        self.checkpoint_before.store(before, Ordering::Release);
        self.checkpoint.store(epoch, Ordering::Release);
    }

    pub fn end_checkpoint(&self) {
        self.checkpoint.store(0, Ordering::Release);
        self.sweep();
    }

    /// Rule 2: true if a page in this state must be copied before it changes in a later epoch.
    pub fn needs_copy(&self, epoch: u64, listed: u64, taken: u64) -> bool {
        let snapshot = self.snapshot.load(Ordering::Acquire);
        let checkpoint = self.checkpoint.load(Ordering::Acquire);
        let dirty = listed > self.checkpoint_before.load(Ordering::Acquire);
        let scanned = snapshot != 0 && snapshot >= epoch && !broken(Mutant::ScanCopyOmitted);
        let to_be_taken = checkpoint != 0 && checkpoint >= epoch && dirty && taken < checkpoint;
        scanned || to_be_taken && !broken(Mutant::CheckpointCopyOmitted)
    }

    /// Leaves an image for the cuts `image.first..=image.last`.
    pub fn leave(&self, stripe: &mut Stripe, key: PageKey, image: OldImage) -> Result<()> {
        const WHAT: &str = "the list of pages as they were";
        stripe.old.try_reserve(1).map_err(memory::refused(WHAT))?;
        let images = stripe.old.entry(key).or_default();
        memory::reserve(images, 1, WHAT)?;
        self.old_bytes.fetch_add(image.page.size() as u64, Ordering::Relaxed);
        images.push(image);
        Ok(())
    }

    /// Takes back the image that was left last, before anyone could see it.
    pub fn take_back(&self, stripe: &mut Stripe, key: PageKey) {
        if let Some(image) = stripe.old.get_mut(&key).and_then(Vec::pop) {
            self.old_bytes.fetch_sub(image.page.size() as u64, Ordering::Relaxed);
        }
    }

    /// Bytes of old images.
    pub fn old_bytes(&self) -> u64 {
        self.old_bytes.load(Ordering::Relaxed)
    }

    /// Drops the images that no live cut can see.
    fn sweep(&self) {
        if self.old_bytes() == 0 {
            return;
        }
        for stripe in &self.stripes {
            let mut stripe = stripe.lock();
            if stripe.old.is_empty() {
                continue;
            }
            let live = self.live.lock();
            let checkpoint = self.checkpoint.load(Ordering::Acquire);
            let mut freed = 0;
            stripe.old.retain(|_, images| {
                images.retain(|image| {
                    let scanned = live.range(image.first..=image.last).next().is_some();
                    let seen = scanned && !broken(Mutant::OldImagesThrownAway)
                        || (image.first..=image.last).contains(&checkpoint) && checkpoint != 0;
                    freed += if seen { 0 } else { image.page.size() as u64 };
                    seen
                });
                !images.is_empty()
            });
            self.old_bytes.fetch_sub(freed, Ordering::Relaxed);
        }
    }
}

impl Stripe {
    /// The image of a page as of a cut, if a later change left one.
    pub fn image(&self, key: PageKey, cut: u64) -> Option<Arc<Frame>> {
        let images = self.old.get(&key)?;
        let image = images.iter().find(|image| (image.first..=image.last).contains(&cut))?;
        Some(Arc::clone(&image.page))
    }
}
