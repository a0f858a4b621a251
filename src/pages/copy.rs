//! The memory of pages: the optimistic copy out of a page that may be changing.
//!
//! This is the one file of `pages` with `unsafe` in it. Everything that touches page memory through a pointer is
//! here, behind functions that are safe to call; the rules below are what makes them so.
//!
//! A page's bytes are in a private *frame* while it is dirty, and in the read-only *mapping* of its file otherwise.
//! Readers take no lock. They note the page's version, copy from wherever the bytes are, and look at the version
//! again: if it moved, they threw away what they copied. (A sequence lock; see Hans Boehm, "Can seqlocks get along
//! with programming language memory models?", 2012.) The version is odd when the page is at rest, even while it
//! changes, and 0 until the page was verified.
//!
//! What always holds here:
//!
//! 1. Bytes of an installed frame change only through `PageEntry::write`, under the page's stripe lock.
//! 2. Memory that a reader may still be copying from stays readable: frames return to a pool whose memory is
//!    unmapped only with the last file that uses it, and mappings are kept until their file is dropped.
//! 3. Frames are written and read through `copy` alone. A copy that races with a write is made by instructions that
//!    the compiler does not see into (or, where a tool must see them, by atomic bytes), so that the race has no
//!    meaning in the language; its result is used only if the version stood still.
//! 4. What a pin shows stands still: whoever overwrites a page of its file keeps the page for it first (`pin`).

#![allow(unsafe_code)]

use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::mutant::{Mutant, broken, midst_of_read};
use crate::os::sync::{AtomicPtr, AtomicU64, Mutex, Ordering, fence};
use crate::os::{Map, Memory, StillMap};

/// Where a page is now: its version and, while it is dirty, its frame.
#[derive(Debug, Default)]
pub struct PageEntry {
    version: AtomicU64,
    frame: AtomicPtr<u8>,
}

/// Why a page could not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The page changed meanwhile: try again.
    Changed,
    /// The page must be verified first.
    Unverified,
    /// Neither a frame nor the mapping has the page.
    Elsewhere,
}

impl PageEntry {
    /// The page as it is now, to copy from. What was copied is worth nothing unless the page `stood_still`.
    #[inline(always)]
    pub fn look<'a>(&'a self, source: Source<'a>) -> std::result::Result<Racing<'a>, Seen> {
        let version = self.version.load(Ordering::Acquire);
        if version & 1 == 0 {
            return Err(if version == 0 { Seen::Unverified } else { Seen::Changed });
        }
        let frame = self.frame.load(Ordering::Acquire);
        let bytes = if frame.is_null() { source.mapping.page(source.page, source.page_size) } else { frame };
        if bytes.is_null() {
            return Err(Seen::Elsewhere);
        }
        midst_of_read();
        // `bytes` points to `page_size` readable bytes, which rule 2 keeps readable.
        Ok(Racing { bytes, size: source.page_size, seen: Some((self, version)) })
    }

    /// The version now.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// True while the page has a frame. Certain under the stripe lock, a hint otherwise.
    pub fn has_frame(&self) -> bool {
        !self.frame.load(Ordering::Acquire).is_null()
    }

    /// Brings the entry's cache line near.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(std::ptr::from_ref(self).cast());
    }

    /// Brings `size` of the page's bytes at `at` near, or the first of them: the hardware sees to long runs.
    #[inline]
    pub fn prefetch_bytes(&self, source: Source<'_>, at: usize, size: usize) {
        let frame = self.frame.load(Ordering::Relaxed);
        let page = if frame.is_null() { source.mapping.page(source.page, source.page_size) } else { frame };
        (0..size.min(256)).step_by(64).for_each(|line| prefetch(page.wrapping_add(at + line)));
        prefetch(page.wrapping_add(at + size.clamp(1, 256) - 1));
    }

    /// Marks a page as verified that no one had touched.
    pub fn set_verified(&self) {
        let _ = self.version.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Gives the page a frame that holds its bytes. Under the stripe lock, and only where there is none.
    pub fn install(&self, frame: Frame) {
        assert!(!self.has_frame(), "a page has at most one frame");
        let bytes = frame.into_raw();
        self.change_frame(bytes.as_ptr());
    }

    /// Takes the frame away: from now on the mapping has the page's bytes. Under the stripe lock.
    pub fn retire(&self, pool: &Arc<FramePool>) -> Option<Frame> {
        let bytes = NonNull::new(self.frame.load(Ordering::Acquire))?;
        match broken(Mutant::VersionKeptOnRetirement) {
            true => self.frame.store(null_mut(), Ordering::Release),
            false => self.change_frame(null_mut()),
        }
        Some(Frame { bytes, pool: Arc::clone(pool) })
    }

    /// Writes into the page's frame, which readers keep away from until it is settled. Under the stripe lock (rule 1).
    pub fn write(&self, page_size: usize, at: usize, bytes: &[u8]) {
        let frame = self.frame.load(Ordering::Acquire);
        assert!(!frame.is_null(), "a page is written in its frame");
        assert!(at + bytes.len() <= page_size, "a write stays within its page");
        self.unsettle();
        // SAFETY: an installed frame has `page_size` bytes, the range was checked, and by rule 1 no other thread
        // writes; readers that race notice by the version.
        unsafe { copy(bytes.as_ptr(), frame.add(at), bytes.len()) };
    }

    /// Readers may see what was written, all of it at once. Under the same stripe lock.
    pub fn settle(&self) {
        let version = self.version.load(Ordering::Relaxed);
        if version != 0 && version & 1 == 0 {
            self.version.store(version + 1, Ordering::Release);
        }
    }

    /// The version is even while the page changes.
    fn unsettle(&self) {
        let version = self.version.load(Ordering::Relaxed);
        if version == 0 || version & 1 == 1 {
            self.version.store((version + 2) & !1, Ordering::Relaxed);
            fence(Ordering::Release);
        }
    }

    /// Copies out of the page's frame while nobody can change it. Under the stripe lock; false without a frame.
    pub fn read_frame(&self, page_size: usize, at: usize, out: &mut [u8]) -> bool {
        let frame = self.frame.load(Ordering::Acquire);
        assert!(at + out.len() <= page_size, "a read stays within its page");
        if !frame.is_null() {
            // SAFETY: an installed frame has `page_size` bytes and the range was checked.
            unsafe { copy(frame.add(at), out.as_mut_ptr(), out.len()) };
        }
        !frame.is_null()
    }

    /// True if the page's frame holds these bytes at `at`. Under the stripe lock.
    pub fn frame_holds(&self, page_size: usize, at: usize, expected: &[u8]) -> bool {
        let mut found = [0; 256];
        expected.chunks(found.len()).enumerate().all(|(index, expected)| {
            let found = &mut found[..expected.len()];
            self.read_frame(page_size, at + index * 256, found) && found == expected
        })
    }

    /// Puts a frame in its place, or none.
    fn change_frame(&self, frame: *mut u8) {
        self.unsettle();
        self.frame.store(frame, Ordering::Release);
        self.settle();
    }
}

/// The bytes of a page, which may change while they are copied.
#[derive(Clone, Copy)]
pub struct Racing<'a> {
    bytes: *const u8,
    size: usize,
    /// Whose bytes they are, and which version of it; none if nobody changes them.
    seen: Option<(&'a PageEntry, u64)>,
}

impl<'a> Racing<'a> {
    /// Bytes that nobody changes.
    pub fn of(bytes: &'a [u8]) -> Racing<'a> {
        Racing { bytes: bytes.as_ptr(), size: bytes.len(), seen: None }
    }

    /// Copies the bytes from `at` on.
    #[inline(always)]
    pub fn copy(&self, at: usize, out: &mut [u8]) {
        assert!(at + out.len() <= self.size, "a read stays within its page");
        // SAFETY: whoever made it vouches for `size` readable bytes while it lives; the range was checked.
        unsafe { copy(self.bytes.add(at), out.as_mut_ptr(), out.len()) };
    }

    /// The byte at `at`.
    #[inline(always)]
    pub fn byte(&self, at: usize) -> u8 {
        assert!(at < self.size, "a read stays within its page");
        // SAFETY: as in `copy`.
        unsafe { load(self.bytes.add(at)) }
    }

    /// True if all that was copied is of one version.
    #[inline(always)]
    pub fn stood_still(&self) -> bool {
        fence(Ordering::Acquire);
        let stood = |(entry, version): (&PageEntry, u64)| entry.version.load(Ordering::Relaxed) == version;
        self.seen.is_none_or(stood) || broken(Mutant::ReadVersionNotCompared)
    }
}

/// What a reader needs to find a page that has no frame.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    /// The file's mapping.
    pub mapping: &'a Mapping,
    /// The page's number.
    pub page: u64,
    /// The size of a page.
    pub page_size: usize,
}

/// The map of a data file, which is replaced by a larger one as the file grows.
#[derive(Default)]
pub struct Mapping {
    /// How many pages the map covers. Stored after `base`, loaded before it: a count never goes with an older base.
    pages: AtomicU64,
    base: AtomicPtr<u8>,
    /// All maps, the old ones for readers that still copy (rule 2). They double, so together they are at most as
    /// large as the newest.
    maps: Mutex<Vec<Map>>,
}

impl Mapping {
    /// How many pages can be read from the map.
    pub fn pages(&self) -> u64 {
        self.pages.load(Ordering::Acquire)
    }

    /// Replaces the map by a larger one; a smaller one is dropped.
    pub fn replace(&self, map: Map) {
        let mut maps = self.maps.lock();
        // Two readers may have made one at the same time; a count that a larger map allowed must not meet a smaller.
        if maps.last().is_some_and(|newest| newest.size() >= map.size()) {
            return;
        }
        self.base.store(map.as_ptr().cast_mut(), Ordering::Release);
        maps.push(map);
    }

    /// Lets readers use the map for the first `pages` pages, which the file now covers.
    pub fn extend(&self, pages: u64, page_size: usize) {
        let maps = self.maps.lock();
        let room = maps.last().map_or(0, |map| (map.size() as u64 - BLOCK_SIZE) / page_size as u64);
        self.pages.fetch_max(pages.min(room), Ordering::AcqRel);
    }

    /// Has the system read pages that will be read soon, where it does not guess so by itself.
    pub fn will_need(&self, first: u64, count: u64, page_size: usize) {
        if let Some(map) = self.maps.lock().last() {
            map.will_need(BLOCK_SIZE as usize + first as usize * page_size, count as usize * page_size);
        }
    }

    /// The size of the newest map in bytes.
    pub fn size(&self) -> u64 {
        self.maps.lock().last().map_or(0, |map| map.size() as u64)
    }

    /// Where a page lies, or null.
    #[inline]
    fn page(&self, page: u64, page_size: usize) -> *mut u8 {
        if page >= self.pages.load(Ordering::Acquire) {
            return null_mut();
        }
        self.base.load(Ordering::Acquire).wrapping_add(BLOCK_SIZE as usize + page as usize * page_size)
    }
}

/// `size` bytes at `at` in the memory of a pin.
pub fn still(map: &StillMap, at: usize, size: usize) -> &[u8] {
    assert!(at <= map.size(), "a pin is read where it is");
    assert!(size <= map.size() - at, "a pin is read to its end at most");
    // SAFETY: the range was checked, and by rule 4 its bytes do not change. The map lives as long as the borrow.
    unsafe { std::slice::from_raw_parts(map.as_ptr().add(at), size) }
}

/// The private memory of one page, not yet or no longer in use by the page's entry.
pub struct Frame {
    bytes: NonNull<u8>,
    pool: Arc<FramePool>,
}

// SAFETY: a frame is the only owner of its bytes until it is installed.
unsafe impl Send for Frame {}
// SAFETY: a shared frame is only read.
unsafe impl Sync for Frame {}

impl Frame {
    /// Its bytes. Nobody changes them: it is not installed.
    pub fn bytes(&self) -> Racing<'_> {
        Racing { bytes: self.bytes.as_ptr(), size: self.pool.page_size, seen: None }
    }

    /// How many they are.
    pub fn size(&self) -> usize {
        self.pool.page_size
    }

    fn into_raw(self) -> NonNull<u8> {
        let mut frame = std::mem::ManuallyDrop::new(self);
        // SAFETY: the frame itself is not dropped, so its pool is dropped here once. Whoever retires the frame
        // names the pool again, which the file keeps alive.
        unsafe { std::ptr::drop_in_place(&raw mut frame.pool) };
        frame.bytes
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        self.pool.state.lock().free.push(Free(self.bytes));
    }
}

/// Frames of one size. Their memory is taken in growing chunks and kept: rule 2.
pub struct FramePool {
    page_size: usize,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    /// With room for all frames of the pool: to give one back never needs memory.
    free: Vec<Free>,
    chunks: Vec<Memory>,
    frame_count: usize,
}

struct Free(NonNull<u8>);

// SAFETY: a free frame is a place in the pool's own memory, owned by the list that holds it.
unsafe impl Send for Free {}

impl FramePool {
    /// An empty pool of frames of `page_size` bytes.
    pub fn new(page_size: usize) -> FramePool {
        FramePool { page_size, state: Mutex::default() }
    }

    /// A frame that holds these bytes, a page of them.
    pub fn frame(self: &Arc<FramePool>, bytes: &[u8]) -> Result<Frame> {
        assert!(bytes.len() == self.page_size, "a frame holds one page");
        // SAFETY: the slice is a page of readable bytes.
        unsafe { self.holding(bytes.as_ptr()) }
    }

    /// A frame that holds what the page's own does. Under the stripe lock, and only where it has one.
    pub fn twin(self: &Arc<FramePool>, entry: &PageEntry) -> Result<Frame> {
        let frame = entry.frame.load(Ordering::Acquire);
        assert!(!frame.is_null(), "a page is copied from its frame");
        // SAFETY: an installed frame has a page of bytes, which by rule 1 nobody changes meanwhile.
        unsafe { self.holding(frame) }
    }

    /// # Safety
    /// `source` has a page of readable bytes.
    unsafe fn holding(self: &Arc<FramePool>, source: *const u8) -> Result<Frame> {
        let frame = {
            let mut state = self.state.lock();
            if state.free.is_empty() {
                self.grow(&mut state)?;
            }
            let Free(bytes) = state.free.pop().expect("a chunk has at least one frame");
            Frame { bytes, pool: Arc::clone(self) }
        };
        // A reader may still be copying from the frame's former life. Whatever it sees of these bytes, it sees the
        // step of the version that ended that life as well.
        fence(Ordering::Release);
        // SAFETY: the caller vouches for the source, and the pool gave `page_size` bytes to this frame alone; readers
        // that race are those of rule 3.
        unsafe { copy(source, frame.bytes.as_ptr(), self.page_size) };
        Ok(frame)
    }

    fn grow(&self, state: &mut PoolState) -> Result<()> {
        // Below the size of a huge page, on purpose: the system would have to find one for the next frame, and in a
        // virtual machine it may have to ask the host for all of it, page by page, while a commit waits.
        const LARGEST: usize = 1 << 20;
        let stride = self.page_size.next_multiple_of(64);
        // Chunks double, so that a small table stays small and a busy one has few.
        let count = (1 << state.chunks.len().min(20)).min((LARGEST / stride).max(1));
        let refused = |_| Error::NoMemory(format!("no memory for {count} page frames").into());
        let memory = Memory::new(count * stride).map_err(|_| refused(()))?;
        state.free.try_reserve(state.frame_count + count).map_err(|_| refused(()))?;
        state.chunks.try_reserve(1).map_err(|_| refused(()))?;
        let base = NonNull::new(memory.as_ptr()).expect("memory has an address");
        for index in 0..count {
            // SAFETY: `index * stride` lies within the chunk.
            state.free.push(Free(unsafe { base.add(index * stride) }));
        }
        state.chunks.push(memory);
        state.frame_count += count;
        Ok(())
    }
}

/// Copies `count` bytes, of which the source or the target may be in use by another thread (rule 3).
///
/// # Safety
/// `source` is readable and `target` writable for `count` bytes, and they do not overlap.
#[cfg(all(target_arch = "x86_64", not(any(miri, shuttle, tsan))))]
#[inline(always)]
unsafe fn copy(source: *const u8, target: *mut u8, count: usize) {
    use std::arch::asm;

    /// Moves as many bytes as its instructions do.
    macro_rules! step {
        ($class:ident, $load:literal, $store:literal, $at:expr) => {
            asm!($load, $store, word = out($class) _,
                source = in(reg) source, target = in(reg) target, at = in(reg) $at, options(nostack, preserves_flags))
        };
    }

    // No two steps overlap: a caller who looks at what was copied at once reads words that one step wrote, which the
    // processor hands over before they are in its cache.
    // SAFETY: all steps together are the `count` bytes that the caller vouches for.
    unsafe {
        if count >= 1024 {
            asm!("rep movsb", inout("rsi") source => _, inout("rdi") target => _, inout("rcx") count => _,
                options(nostack, preserves_flags));
            return;
        }
        let mut at = 0;
        while at + 64 <= count {
            asm!(
                "movups {a}, [{source} + {at}]",
                "movups {b}, [{source} + {at} + 16]",
                "movups {c}, [{source} + {at} + 32]",
                "movups {d}, [{source} + {at} + 48]",
                "movups [{target} + {at}], {a}",
                "movups [{target} + {at} + 16], {b}",
                "movups [{target} + {at} + 32], {c}",
                "movups [{target} + {at} + 48], {d}",
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                source = in(reg) source, target = in(reg) target, at = in(reg) at,
                options(nostack, preserves_flags));
            at += 64;
        }
        while at + 16 <= count {
            step!(xmm_reg, "movups {word}, [{source} + {at}]", "movups [{target} + {at}], {word}", at);
            at += 16;
        }
        if count & 8 != 0 {
            step!(reg, "mov {word}, [{source} + {at}]", "mov [{target} + {at}], {word}", at);
            at += 8;
        }
        if count & 4 != 0 {
            step!(reg, "mov {word:e}, [{source} + {at}]", "mov [{target} + {at}], {word:e}", at);
            at += 4;
        }
        if count & 2 != 0 {
            step!(reg, "mov {word:x}, [{source} + {at}]", "mov [{target} + {at}], {word:x}", at);
            at += 2;
        }
        if count & 1 != 0 {
            step!(reg_byte, "mov {word}, [{source} + {at}]", "mov [{target} + {at}], {word}", at);
        }
    }
}

/// Loads a byte that may be in use by another thread (rule 3).
///
/// # Safety
/// `source` is readable.
#[cfg(all(target_arch = "x86_64", not(any(miri, shuttle, tsan))))]
#[inline(always)]
unsafe fn load(source: *const u8) -> u8 {
    let byte: u32;
    // SAFETY: the caller's promise is ours.
    unsafe {
        std::arch::asm!("movzx {byte:e}, byte ptr [{source}]", byte = out(reg) byte, source = in(reg) source,
            options(nostack, preserves_flags, readonly));
    }
    byte as u8
}

/// The same, as the `copy` below.
///
/// # Safety
/// `source` is readable.
#[cfg(not(all(target_arch = "x86_64", not(any(miri, shuttle, tsan)))))]
unsafe fn load(source: *const u8) -> u8 {
    // SAFETY: the caller's promise is ours.
    unsafe { (*source.cast::<std::sync::atomic::AtomicU8>()).load(Ordering::Relaxed) }
}

/// Copies `count` bytes by atomic bytes: for Miri and the thread sanitizer, which see into every access, and for other
/// machines. Under shuttle, where no copy is interrupted by itself, another thread may run in its middle.
///
/// # Safety
/// `source` is readable and `target` writable for `count` bytes, and they do not overlap.
#[cfg(not(all(target_arch = "x86_64", not(any(miri, shuttle, tsan)))))]
unsafe fn copy(source: *const u8, target: *mut u8, count: usize) {
    use std::sync::atomic::AtomicU8;
    for at in 0..count {
        #[cfg(shuttle)]
        if at == count / 2 {
            crate::os::sync::switch();
        }
        // SAFETY: both places are within `count` bytes, which the caller vouches for.
        unsafe {
            let byte = (*source.add(at).cast::<AtomicU8>()).load(Ordering::Relaxed);
            (*target.add(at).cast::<AtomicU8>()).store(byte, Ordering::Relaxed);
        }
    }
}

#[inline]
fn prefetch(place: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch of any address has no effect but on caches.
    unsafe {
        std::arch::x86_64::_mm_prefetch(place.cast(), std::arch::x86_64::_MM_HINT_T0);
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = place;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_every_size_are_exact_and_touch_nothing_else() {
        let source: Vec<u8> = (0..4096).map(|i| (i * 7 + i / 256) as u8).collect();
        for count in (0..200).chain([511, 512, 1023, 1024, 1025, 4096]) {
            let mut target = vec![0xEE; 4096 + 32];
            // SAFETY: both vectors are longer than `count`.
            unsafe { copy(source.as_ptr(), target.as_mut_ptr().add(16), count) };
            assert_eq!(&target[16..16 + count], &source[..count], "count {count}");
            assert!(target[..16].iter().all(|byte| *byte == 0xEE));
            assert!(target[16 + count..].iter().all(|byte| *byte == 0xEE), "count {count}");
        }
    }

    #[test]
    fn readers_never_see_half_of_a_change() {
        let pool = Arc::new(FramePool::new(512));
        let entry = PageEntry::default();
        entry.install(pool.frame(&[0; 512]).expect("memory"));
        let mapping = Mapping::default();
        let rounds = if cfg!(miri) { 50 } else { 100_000 };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..rounds).for_each(|round| {
                    // A commit may change a page more than once.
                    entry.write(512, 256, &[!round as u8; 256]);
                    entry.write(512, 0, &[round as u8; 512]);
                    entry.settle();
                });
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut out = [0; 512];
                    for _ in 0..rounds {
                        let source = Source { mapping: &mapping, page: 0, page_size: 512 };
                        let Ok(page) = entry.look(source) else { continue };
                        page.copy(0, &mut out);
                        if page.stood_still() {
                            assert!(out.iter().all(|byte| *byte == out[0]));
                        }
                    }
                });
            }
        });
    }
}
