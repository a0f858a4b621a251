//! What the engine asks of its process: has it forked, may a thread sleep here, how much may it use.

// This is part of the system-call room: nothing here is reachable without a raw system call below it.
#![allow(unsafe_code)]

use std::io;
use std::path::Path;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Remembers the process that made it, and tells in a child made by `fork` that this is another one.
///
/// The mark is a number on a page that the kernel wipes in every child. Asking costs one load. A child that wants
/// marks of its own makes them: the first one there writes a number that no ancestor used.
#[derive(Clone, Copy, Debug)]
pub struct ForkMark {
    page: &'static AtomicU64,
    generation: u64,
}

/// The wiped page; null until the first mark is made. It is never unmapped.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
/// The last generation given. An ordinary variable, so a child goes on counting where its parent was.
static LAST_GENERATION: AtomicU64 = AtomicU64::new(0);

impl ForkMark {
    /// A mark of this process. Fails only where the system refuses a page of memory or cannot wipe it.
    pub fn new() -> io::Result<ForkMark> {
        let page = wiped_page()?;
        let mut generation = page.load(Ordering::Acquire);
        if generation == 0 {
            let fresh = LAST_GENERATION.fetch_add(1, Ordering::Relaxed) + 1;
            generation = match page.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => fresh,
                Err(other) => other,
            };
        }
        Ok(ForkMark { page, generation })
    }

    /// True in a child, or a child's child, of the process that made this mark.
    #[inline]
    pub fn forked(&self) -> bool {
        self.page.load(Ordering::Relaxed) != self.generation
    }
}

/// A value that each process has for itself: a child made by `fork` begins with a new one. What another thread of the
/// parent was doing with the old one at that moment, it would do for ever, holding its locks.
pub struct PerProcess<T> {
    /// Null until the first use. Never freed, since it is handed out for good.
    current: AtomicPtr<Owned<T>>,
}

struct Owned<T> {
    mark: ForkMark,
    value: T,
}

impl<T: Default + Send + Sync> PerProcess<T> {
    /// Nothing yet.
    pub const fn empty() -> PerProcess<T> {
        PerProcess { current: AtomicPtr::new(ptr::null_mut()) }
    }

    /// This process's value. Fails only where a fork mark does.
    pub fn get(&'static self) -> io::Result<&'static T> {
        loop {
            let current = self.current.load(Ordering::Acquire);
            // SAFETY: a pointer that is not null was made below from a box, and is never freed.
            if let Some(owned) = unsafe { current.as_ref() }
                && !owned.mark.forked()
            {
                return Ok(&owned.value);
            }
            let fresh = Box::into_raw(Box::new(Owned { mark: ForkMark::new()?, value: T::default() }));
            if self.current.compare_exchange(current, fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
                // SAFETY: made just now, and nobody else has seen it.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}

/// The page, mapped on first use. No lock guards this: a fork in the middle of it must not leave one held.
fn wiped_page() -> io::Result<&'static AtomicU64> {
    let mut page = PAGE.load(Ordering::Acquire);
    if page.is_null() {
        let fresh = map_wiped_page()?;
        page = match PAGE.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => fresh,
            Err(other) => {
                // SAFETY: `fresh` was mapped by us just now with this size, and nobody else has seen it.
                unsafe { libc::munmap(fresh.cast(), page_size()) };
                other
            }
        };
    }
    // SAFETY: the page is mapped readable and writable until the process ends, is aligned, and is only ever
    // used as one atomic number, for which all zeros is a valid value.
    Ok(unsafe { &*page })
}

fn map_wiped_page() -> io::Result<*mut AtomicU64> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at a place that the kernel chooses touches no memory in use.
    let page = unsafe { libc::mmap(ptr::null_mut(), page_size(), libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range is the mapping made above.
    if unsafe { libc::madvise(page, page_size(), libc::MADV_WIPEONFORK) } != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: the mapping made above, which nobody else has seen.
        unsafe { libc::munmap(page, page_size()) };
        return Err(error);
    }
    Ok(page.cast())
}

/// A number on which threads of this process can sleep until another thread changes it.
#[derive(Debug)]
#[repr(transparent)]
pub struct Futex(AtomicU32);

impl Futex {
    /// A futex that holds `value`.
    pub const fn new(value: u32) -> Futex {
        Futex(AtomicU32::new(value))
    }

    /// The value now.
    #[inline]
    pub fn load(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }

    /// Sets the value. Wakes nobody.
    #[inline]
    pub fn store(&self, value: u32, order: Ordering) {
        self.0.store(value, order);
    }

    /// Adds to the value, wrapping, and returns what it was. Wakes nobody.
    #[inline]
    pub fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.0.fetch_add(value, order)
    }

    /// Sleeps while the value is `expected`, until a wake whose mask shares a bit with `mask` (which must not be
    /// 0). False after the timeout; true otherwise, which may also be for no reason: look at the value again.
    pub fn wait(&self, expected: u32, mask: u32, timeout: Option<Duration>) -> bool {
        debug_assert!(mask != 0, "a wait that no wake can reach");
        // This form of the call takes a moment of the monotonic clock, not a duration. One too far away to be
        // said is never.
        let deadline = timeout.and_then(deadline_after);
        let deadline = deadline.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: `self.0` is borrowed and `deadline` is null or a local variable, both until the call returns.
        let result = unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.0.as_ptr(),
                libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
                expected,
                deadline,
                ptr::null::<u32>(),
                mask,
            )
        };
        result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ETIMEDOUT)
    }

    /// Wakes at most `count` sleepers whose mask shares a bit with `mask`, and says how many.
    pub fn wake(&self, count: i32, mask: u32) -> u32 {
        // SAFETY: the kernel uses the address only to find the sleepers, and `self.0` is borrowed meanwhile.
        let woken = unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.0.as_ptr(),
                libc::FUTEX_WAKE_BITSET | libc::FUTEX_PRIVATE_FLAG,
                count,
                ptr::null::<libc::timespec>(),
                ptr::null::<u32>(),
                mask,
            )
        };
        u32::try_from(woken).unwrap_or(0)
    }
}

fn deadline_after(timeout: Duration) -> Option<libc::timespec> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is ours to be written to.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    let nanoseconds = now.tv_nsec + i64::from(timeout.subsec_nanos());
    let seconds = i64::try_from(timeout.as_secs()).ok()?.checked_add(now.tv_sec)?;
    let seconds = seconds.checked_add(nanoseconds / 1_000_000_000)?;
    Some(libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds % 1_000_000_000 })
}

/// The memory in bytes that this process may use: the machine's, its control group's, or its own limit on
/// addresses, whichever is least.
pub fn memory_limit() -> u64 {
    physical_memory().min(control_group_limit()).min(resource_limit(libc::RLIMIT_AS))
}

/// How many descriptors this process may have open.
pub fn open_files_limit() -> u64 {
    resource_limit(libc::RLIMIT_NOFILE)
}

/// A soft limit of this process; `u64::MAX` is none.
pub(super) fn resource_limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `limit` is ours to be written to. A failure leaves it at "none".
    unsafe { libc::getrlimit(resource, &mut limit) };
    limit.rlim_cur
}

/// The size of the system's pages.
pub(super) fn page_size() -> usize {
    // SAFETY: asks for a constant and touches no memory of ours.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

fn physical_memory() -> u64 {
    // SAFETY: asks for a number and touches no memory of ours.
    let pages = unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) };
    u64::try_from(pages).map_or(u64::MAX, |pages| pages.saturating_mul(page_size() as u64))
}

/// The least limit of the control groups that this process is in, of version 2 or 1.
fn control_group_limit() -> u64 {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
        match controllers {
            "" => Some(least_limit(Path::new("/sys/fs/cgroup"), group, "memory.max")),
            _ if controllers.split(',').any(|name| name == "memory") => {
                Some(least_limit(Path::new("/sys/fs/cgroup/memory"), group, "memory.limit_in_bytes"))
            }
            _ => None,
        }
    });
    limits.min().unwrap_or(u64::MAX)
}

/// The least number in the files `name` of a group and of all above it. Inside a container the group's own path
/// may not be visible; its limit is then in the root, which is looked at last.
fn least_limit(root: &Path, group: &str, name: &str) -> u64 {
    let group = Path::new(group.trim_start_matches('/'));
    let limits = group.ancestors().filter_map(|group| {
        let text = std::fs::read_to_string(root.join(group).join(name)).ok()?;
        text.trim().parse::<u64>().ok() // "max" is no number, and no limit.
    });
    limits.min().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn a_fork_mark_tells_the_child_from_its_maker() {
        let mark = ForkMark::new().unwrap();
        assert!(!mark.forked());
        // SAFETY: the child only looks at its marks and leaves with `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let forked = mark.forked();
            let own = ForkMark::new();
            let fine = forked && own.is_ok_and(|own| !own.forked()) && mark.forked();
            // SAFETY: ends the child at once, without running the parent's exit handlers.
            unsafe { libc::_exit(if fine { 7 } else { 1 }) };
        }
        let mut status = 0;
        // SAFETY: `child` is ours to wait for, `status` ours to be written to.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert!(libc::WIFEXITED(status));
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert!(!mark.forked());
        assert!(!ForkMark::new().unwrap().forked());
    }

    #[test]
    fn a_child_has_a_value_of_its_own_though_its_parents_was_locked() {
        static NUMBERS: PerProcess<parking_lot::Mutex<Vec<u32>>> = PerProcess::empty();
        let numbers = NUMBERS.get().unwrap();
        numbers.lock().push(1);
        assert_eq!(*NUMBERS.get().unwrap().lock(), [1]);
        let held = numbers.lock();
        // SAFETY: the child looks at its value and leaves with `_exit`.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let fine = NUMBERS.get().is_ok_and(|own| own.try_lock().is_some_and(|own| own.is_empty()));
            // SAFETY: ends the child at once, without running the parent's exit handlers.
            unsafe { libc::_exit(if fine { 7 } else { 1 }) };
        }
        drop(held);
        let mut status = 0;
        // SAFETY: `child` is ours to wait for, `status` ours to be written to.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(libc::WEXITSTATUS(status), 7);
        assert_eq!(*NUMBERS.get().unwrap().lock(), [1]);
    }

    #[test]
    fn a_sleeper_is_woken_only_by_its_mask() {
        let futex = Arc::new(Futex::new(0));
        let sleeper = thread::spawn({
            let futex = Arc::clone(&futex);
            move || {
                while futex.load(Ordering::Acquire) == 0 {
                    futex.wait(0, 0b10, None);
                }
            }
        });
        // Nobody sleeps with this bit, however long the other thread takes to fall asleep.
        assert_eq!(futex.wake(i32::MAX, 0b01), 0);
        assert_eq!(futex.fetch_add(1, Ordering::Release), 0);
        futex.wake(i32::MAX, 0b10);
        sleeper.join().unwrap();
    }

    #[test]
    fn a_wait_ends_at_its_timeout_and_at_once_when_the_value_differs() {
        let futex = Futex::new(5);
        assert!(!futex.wait(5, 1, Some(Duration::from_millis(5))));
        assert!(futex.wait(4, 1, None));
        futex.store(6, Ordering::Relaxed);
        assert!(futex.wait(5, 1, Some(Duration::MAX)));
    }

    #[test]
    fn limits_are_known() {
        assert!(memory_limit() > 1 << 20);
        assert!(memory_limit() <= physical_memory());
        assert!(open_files_limit() > 3);
    }
}
