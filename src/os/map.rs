//! Mapped memory: files read in place, and the private memory of page frames.
//!
//! Both kinds start at a multiple of 2 MiB when they are that large, so that the kernel can use huge pages, and
//! both are left out of a child made by `fork`. There the addresses may by then belong to something else, so a
//! child that drops such a value leaves the addresses alone.

// This is part of the system-call room: a mapping is nothing but an address and a promise about its size.
#![allow(unsafe_code)]

use super::process::{ForkMark, page_size};
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

const HUGE_PAGE_SIZE: usize = 2 << 20;

/// A read-only map of the first bytes of a file, which shows every later write to the file.
///
/// The map may be longer than the file. Whoever reads through [`Map::as_ptr`] promises to touch only bytes that
/// the file covers: beyond its end, and where the device fails, the process gets SIGBUS.
#[derive(Debug)]
pub struct Map {
    region: Region,
    is_random: bool,
}

impl Map {
    /// Maps the first `size` bytes of a file that is open for reading.
    pub(super) fn new(file: BorrowedFd<'_>, size: u64) -> io::Result<Map> {
        let size = usize::try_from(size).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let region = Region::new(size, |address, flags| {
            // SAFETY: `address` is null or inside a region that `Region::new` has reserved for us, and `flags`
            // replaces what is there only in the latter case.
            unsafe { libc::mmap(address, size, libc::PROT_READ, libc::MAP_SHARED | flags, file.as_raw_fd(), 0) }
        })?;
        Ok(Map { region, is_random: false })
    }

    /// The first byte. Valid until the map is dropped, and not in a child of the process that made it.
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        self.region.start.as_ptr()
    }

    /// How many bytes are mapped.
    #[inline]
    pub fn size(&self) -> usize {
        self.region.size
    }

    /// Says that reads will come in no order, so that the kernel reads nothing beside what is asked for. A hint.
    pub fn advise_random(&mut self) {
        self.is_random = self.region.advise(0, self.region.size, libc::MADV_RANDOM).is_ok();
    }

    /// Says that bytes will be read soon, where that is not to be guessed from what was read before. A hint.
    pub fn will_need(&self, offset: usize, size: usize) {
        let size = size.min(self.region.size.saturating_sub(offset));
        if self.is_random && size > 0 {
            let before = offset % page_size();
            self.region.advise(offset - before, size + before, libc::MADV_WILLNEED).ok();
        }
    }
}

/// Read-only memory that begins as a map of a file's first bytes. What is *kept* or *laid* there is the map's own from
/// then on: no later write to the file reaches it. The rest shows every write, so whoever wants the map to stand still
/// keeps a range before it writes to the file.
///
/// Whoever reads through [`StillMap::as_ptr`] promises to touch only mapped bytes that the file covers or that were
/// laid: elsewhere, and where the device fails, the process gets SIGBUS.
#[derive(Debug)]
pub struct StillMap {
    region: Region,
    /// Held while a part can be written, so that nobody protects what another is about to write.
    changing: Mutex<()>,
}

impl StillMap {
    /// `size` bytes of zeros, none of them a file's.
    pub fn new(size: usize) -> io::Result<StillMap> {
        let region = Region::new(size, |address, flags| {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | flags;
            // SAFETY: `address` is null or inside a region that `Region::new` has reserved for us, and `flags`
            // replaces what is there only in the latter case.
            unsafe { libc::mmap(address, size, libc::PROT_READ, flags, -1, 0) }
        })?;
        Ok(StillMap { region, changing: Mutex::new(()) })
    }

    /// The same, and the first `covered` bytes are those of a file that is open for reading and at least so long.
    pub(super) fn over(file: BorrowedFd<'_>, covered: u64, size: u64) -> io::Result<StillMap> {
        let no_memory = |_| io::Error::from_raw_os_error(libc::ENOMEM);
        let (covered, size) = (usize::try_from(covered).map_err(no_memory)?, usize::try_from(size).map_err(no_memory)?);
        assert!(covered <= size, "the file's part lies in the map");
        let map = StillMap::new(size)?;
        if covered > 0 {
            let flags = libc::MAP_PRIVATE | libc::MAP_NORESERVE | libc::MAP_FIXED;
            let start = map.region.start.as_ptr().cast();
            // SAFETY: replaces the first part of the region made above, which nobody has seen; what the system adds
            // to fill a page is the region's too.
            known(unsafe { libc::mmap(start, covered, libc::PROT_READ, flags, file.as_raw_fd(), 0) })?;
            map.region.advise(0, covered, libc::MADV_DONTFORK)?;
        }
        Ok(map)
    }

    /// The first byte. Valid until the map is dropped, and not in a child of the process that made it.
    #[inline]
    pub fn as_ptr(&self) -> *const u8 {
        self.region.start.as_ptr()
    }

    /// How many bytes are mapped.
    #[inline]
    pub fn size(&self) -> usize {
        self.region.size
    }

    /// Makes this range the map's own, as it is now; the system's pages that it touches become so as a whole.
    pub fn keep(&self, offset: usize, size: usize) -> io::Result<()> {
        self.change(offset, size, || {})
    }

    /// Puts bytes into the map.
    pub fn lay(&mut self, offset: usize, bytes: &[u8]) -> io::Result<()> {
        let start = self.region.start.as_ptr();
        self.change(offset, bytes.len(), || {
            // SAFETY: the range was checked, is writable and in memory now, and nobody else has the map.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(offset), bytes.len()) };
        })
    }

    /// Calls `act` while the system's pages of a range are writable and the map's own.
    fn change(&self, offset: usize, size: usize, act: impl FnOnce()) -> io::Result<()> {
        assert!(offset <= self.region.size, "a change lies in the map");
        assert!(size <= self.region.size - offset, "a change ends in the map");
        if size == 0 || self.region.mark.forked() {
            return Ok(());
        }
        let _one = self.changing.lock();
        let (first, last) = (offset / page_size() * page_size(), offset + size);
        // SAFETY: `first` lies in the region.
        let start = unsafe { self.region.start.as_ptr().add(first) };
        let protect = |protection| {
            // SAFETY: whole pages of the region, which stay readable; to write is left to `act` and the next line.
            let result = unsafe { libc::mprotect(start.cast(), last - first, protection) };
            if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        };
        protect(libc::PROT_READ | libc::PROT_WRITE)?;
        let own = self.populate(first, last);
        if own.is_ok() {
            act();
        }
        own.and(protect(libc::PROT_READ))
    }

    /// Copies the system's pages of a writable range away from the file. Where the device fails this is an error,
    /// and no signal, on every kernel that can do it by itself.
    fn populate(&self, first: usize, last: usize) -> io::Result<()> {
        match self.region.advise(first, last - first, libc::MADV_POPULATE_WRITE) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
            other => return other,
        }
        for offset in (first..last).step_by(page_size()) {
            // SAFETY: the byte is in the region and writable, and gets the value that it has: whoever reads it
            // meanwhile sees no change.
            unsafe {
                let byte = self.region.start.as_ptr().add(offset);
                byte.write_volatile(byte.read_volatile());
            }
        }
        Ok(())
    }
}

/// Private memory straight from the system: zeroed, not counted against Rust's allocator, and given back in part
/// or as a whole.
#[derive(Debug)]
pub struct Memory {
    region: Region,
}

impl Memory {
    /// Reserves `size` bytes of zeros. The system takes real memory for a page when it is first touched.
    pub fn new(size: usize) -> io::Result<Memory> {
        let region = Region::new(size, |address, flags| {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
            // SAFETY: `address` is null or inside a region that `Region::new` has reserved for us, and `flags`
            // replaces what is there only in the latter case.
            unsafe { libc::mmap(address, size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) }
        })?;
        if size >= HUGE_PAGE_SIZE {
            // A kernel without huge pages refuses; small ones do as well.
            region.advise(0, size, libc::MADV_HUGEPAGE).ok();
        }
        Ok(Memory { region })
    }

    /// The first byte. Valid until the memory is dropped, and not in a child of the process that made it. Whoever
    /// uses it keeps to `size()` bytes and orders its own threads.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.region.start.as_ptr()
    }

    /// How many bytes there are.
    #[inline]
    pub fn size(&self) -> usize {
        self.region.size
    }

    /// Gives the whole system pages inside this range back; they read as zeros afterwards. The caller sees to it
    /// that nobody needs or writes these bytes meanwhile, as for a write through the pointer. What lies outside
    /// the memory is left out.
    pub fn give_back(&self, offset: usize, size: usize) {
        let page = page_size();
        let end = offset.saturating_add(size).min(self.region.size);
        let (first, last) = (offset.min(end).next_multiple_of(page), end / page * page);
        if first < last {
            self.region.advise(first, last - first, libc::MADV_DONTNEED).ok();
        }
    }
}

/// A mapping, until drop.
#[derive(Debug)]
struct Region {
    start: NonNull<u8>,
    size: usize,
    mark: ForkMark,
}

// SAFETY: a region is an address range that belongs to the process and not to a thread; all it does by itself is
// unmap in drop, where nobody else has it. Reads and writes are the promise of whoever uses the pointer.
unsafe impl Send for Region {}
// SAFETY: as above; the methods taken by shared reference change nothing but what their callers answer for.
unsafe impl Sync for Region {}

impl Region {
    /// Maps by `map(address, flags)`: anywhere for a small size, at a multiple of 2 MiB for a large one.
    fn new(size: usize, map: impl FnOnce(*mut libc::c_void, libc::c_int) -> *mut libc::c_void) -> io::Result<Region> {
        // The kernel refuses 0, and a reservation must not overflow.
        if size == 0 || size > isize::MAX as usize - 2 * HUGE_PAGE_SIZE {
            return Err(io::Error::from_raw_os_error(if size == 0 { libc::EINVAL } else { libc::ENOMEM }));
        }
        let mark = ForkMark::new()?;
        let start = match size < HUGE_PAGE_SIZE {
            true => known(map(ptr::null_mut(), 0))?,
            false => map_aligned(size, map)?,
        };
        let region = Region { start, size, mark };
        region.advise(0, size, libc::MADV_DONTFORK)?;
        Ok(region)
    }

    /// Advises the kernel about `size` bytes from `offset`, which the caller has checked to be inside.
    fn advise(&self, offset: usize, size: usize, advice: libc::c_int) -> io::Result<()> {
        debug_assert!(offset <= self.size && size <= self.size - offset);
        // In a child the addresses are not ours any more.
        if self.mark.forked() {
            return Ok(());
        }
        // SAFETY: the range lies in this mapping, and the advices used keep it mapped. The one that changes bytes
        // (`give_back`) has its caller's promise that nobody uses them.
        let result = unsafe { libc::madvise(self.start.as_ptr().add(offset).cast(), size, advice) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if !self.mark.forked() {
            // SAFETY: mapped with this size by `Region::new` in this process, and dropped once.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
        }
    }
}

/// Reserves more addresses than asked for, maps at the first multiple of 2 MiB in them, and frees the rest.
fn map_aligned(
    size: usize,
    map: impl FnOnce(*mut libc::c_void, libc::c_int) -> *mut libc::c_void,
) -> io::Result<NonNull<u8>> {
    let size = size.next_multiple_of(page_size());
    let reserved = size + HUGE_PAGE_SIZE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at a place that the kernel chooses touches no memory in use.
    let area = known(unsafe { libc::mmap(ptr::null_mut(), reserved, libc::PROT_NONE, flags, -1, 0) })?;
    let before = area.addr().get().next_multiple_of(HUGE_PAGE_SIZE) - area.addr().get();
    let after = reserved - before - size;
    // SAFETY: `before` is less than 2 MiB, so `start` and `size` bytes after it lie in the reserved area.
    let start = unsafe { area.add(before) };
    let mapped = known(map(start.as_ptr().cast(), libc::MAP_FIXED));
    if mapped.is_err() {
        // SAFETY: the area reserved above, which nobody has seen.
        unsafe { libc::munmap(area.as_ptr().cast(), reserved) };
        return mapped;
    }
    if before > 0 {
        // SAFETY: the part of the reserved area before the map; both ends are page-aligned.
        unsafe { libc::munmap(area.as_ptr().cast(), before) };
    }
    if after > 0 {
        // SAFETY: the part of the reserved area behind the map; both ends are page-aligned.
        unsafe { libc::munmap(start.as_ptr().add(size).cast(), after) };
    }
    mapped
}

fn known(address: *mut libc::c_void) -> io::Result<NonNull<u8>> {
    match NonNull::new(address.cast()) {
        Some(start) if address != libc::MAP_FAILED => Ok(start),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_aligned_and_given_back_by_whole_pages() {
        for size in [1, 4096, 3 << 20] {
            let memory = Memory::new(size).unwrap();
            assert_eq!(memory.size(), size);
            let alignment = if size >= HUGE_PAGE_SIZE { HUGE_PAGE_SIZE } else { 4096 };
            assert_eq!(memory.as_ptr().addr() % alignment, 0);
            // SAFETY: nobody else has this memory, and `size` bytes are mapped.
            let bytes = || unsafe { std::slice::from_raw_parts_mut(memory.as_ptr(), size) };
            assert!(bytes().iter().all(|&byte| byte == 0));
            bytes().fill(1);
            memory.give_back(1, usize::MAX);
            let page = page_size();
            let kept = |index: usize| index < page || index >= size / page * page;
            assert!(bytes().iter().enumerate().all(|(index, &byte)| byte == u8::from(kept(index))));
        }
    }

    fn bytes_of(map: &StillMap) -> &[u8] {
        // SAFETY: the tests map only what their file covers, and change it between two looks.
        unsafe { std::slice::from_raw_parts(map.as_ptr(), map.size()) }
    }

    #[test]
    fn a_still_map_keeps_what_it_is_told_to_and_shows_the_rest_of_the_file() {
        use std::os::fd::AsFd;
        use std::os::unix::fs::FileExt;

        let page = page_size();
        for pages in [8, 3 * HUGE_PAGE_SIZE / page] {
            let name = format!("diamonddb_still_{}_{pages}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            file.write_all_at(&vec![1; pages * page], 0).unwrap();
            let size = (pages + 2) * page;
            let mut map = StillMap::over(file.as_fd(), (pages * page) as u64, size as u64).unwrap();
            map.keep(page + 5, page).unwrap();
            map.lay(4 * page - 1, &[7, 7]).unwrap();
            map.lay(size - 1, &[9]).unwrap();
            file.write_all_at(&vec![2; pages * page], 0).unwrap();
            let expected = |index: usize| match index {
                _ if index == 4 * page - 1 || index == 4 * page => 7,
                _ if index == size - 1 => 9,
                _ if index >= pages * page => 0,
                // The pages that the changes touched are as they were.
                _ if (page..5 * page).contains(&index) => 1,
                _ => 2,
            };
            let found = bytes_of(&map).iter().enumerate().find(|(index, byte)| **byte != expected(*index));
            assert_eq!(found, None, "of {pages} pages");
            // Nobody can write there, and the changes did not leave a map each.
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let range = map.as_ptr().addr()..map.as_ptr().addr() + size;
            let is_ours =
                |line: &&str| range.contains(&usize::from_str_radix(&line[..line.find('-').unwrap()], 16).unwrap());
            let ours: Vec<&str> = maps.lines().filter(is_ours).collect();
            assert!(ours.len() == 2 && ours.iter().all(|line| line.contains(" r--p ")), "{ours:?}");
        }
    }

    #[test]
    fn a_still_map_is_no_map_of_what_the_file_does_not_have() {
        use std::os::fd::AsFd;

        let file = std::fs::File::open("/dev/zero").unwrap();
        assert!(StillMap::over(file.as_fd(), 0, 0).is_err());
        let path = std::env::temp_dir().join(format!("diamonddb_short_{}", std::process::id()));
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let map = StillMap::over(file.as_fd(), 4096, 8192).unwrap();
        // No signal where the kernel can look first.
        assert_eq!(map.keep(0, 1).unwrap_err().raw_os_error(), Some(libc::EFAULT));
        map.keep(page_size().max(4096), 1).unwrap();
    }

    #[test]
    fn no_memory_at_all_is_an_error_and_so_is_too_much() {
        assert_eq!(Memory::new(0).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(Memory::new(usize::MAX).unwrap_err().raw_os_error(), Some(libc::ENOMEM));
        assert_eq!(Memory::new(1 << 60).unwrap_err().raw_os_error(), Some(libc::ENOMEM));
    }
}
