//! The lock on a database folder: an open-file-description lock on its file `LOCK`.
//!
//! Such a lock belongs to what `open` made, and a forked child has a copy of that: the lock would outlive the
//! parent in the child, and the child could even drop it. So every lock's descriptor is on a list, and a handler
//! that runs in the child right after `fork` closes the child's copies.
//!
//! What always holds here:
//!
//! 1. A descriptor that may carry a lock is on the list, or a fork is held up until it is.
//! 2. A child never unlocks: what it inherited was closed by the handler, and drop does nothing there.

// This is part of the system-call room: `fcntl` and `pthread_atfork` have no safe form.
#![allow(unsafe_code)]

use super::process::ForkMark;
use super::real::RealFile;
use super::{DiskFile, DiskLock};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

/// A lock, or an attempt at one, on an open `LOCK`.
pub(super) struct LockFile {
    file: ManuallyDrop<RealFile>,
    slot: &'static AtomicI32,
    mark: ForkMark,
    exclusive: bool,
}

impl LockFile {
    /// Opens `LOCK` by `open` and locks it without waiting. The inner error is the holder, where it is known.
    pub(super) fn lock(
        open: impl FnOnce() -> io::Result<RealFile>,
        exclusive: bool,
    ) -> io::Result<Result<LockFile, Option<u32>>> {
        let mark = ForkMark::new()?;
        let (file, slot) = open_listed(open)?;
        // From here on, drop closes the file and takes it off the list, locked or not.
        let mut lock = LockFile { file: ManuallyDrop::new(file), slot, mark, exclusive: false };
        let kind = if exclusive { libc::F_WRLCK } else { libc::F_RDLCK };
        // A holder writes its id right after it has locked, and takes it away right before it unlocks.
        for _ in 0..50 {
            match set_lock(&lock.file, libc::F_OFD_SETLK, kind) {
                Ok(_) => {
                    lock.exclusive = exclusive;
                    lock.write_holder();
                    return Ok(Ok(lock));
                }
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {}
                Err(error) => return Err(error),
            }
            // Those who share a lock leave no ids.
            let found = set_lock(&lock.file, libc::F_OFD_GETLK, kind)?;
            let holder = holder(&lock.file);
            if holder.is_some() || found == libc::F_RDLCK {
                return Ok(Err(holder.filter(|_| found != libc::F_RDLCK)));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Err(None))
    }

    /// Leaves this process's id for those who find the database locked; the system does not tell them. A failure
    /// costs them only that, so it is none.
    fn write_holder(&self) {
        if self.exclusive && self.file.set_size(0).is_ok() {
            self.file.write_at(std::process::id().to_string().as_bytes(), 0).ok();
        }
    }
}

impl DiskLock for LockFile {}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Rule 2.
        if self.mark.forked() {
            return;
        }
        if self.exclusive {
            self.file.set_size(0).ok();
        }
        // Unlocked by name and not only by closing: a fork between the next two lines gets a copy that is on no
        // list, and it must not carry the lock.
        set_lock(&self.file, libc::F_OFD_SETLK, libc::F_UNLCK).ok();
        self.slot.store(FREE, Ordering::Release);
        // SAFETY: the file is not used after this, and drop runs once.
        unsafe { ManuallyDrop::drop(&mut self.file) };
    }
}

/// The id that an exclusive holder has written.
fn holder(file: &RealFile) -> Option<u32> {
    let mut text = [0; 16];
    let count = file.read_at(&mut text, 0).ok()?;
    str::from_utf8(&text[..count]).ok()?.trim().parse().ok()
}

/// Sets or asks for a lock on the whole file; returns the kind of lock in the answer.
fn set_lock(file: &RealFile, command: libc::c_int, kind: libc::c_int) -> io::Result<libc::c_int> {
    // The process id must be 0 for this family of locks; a length of 0 is everything.
    let mut lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    // SAFETY: the descriptor is open while `file` is borrowed, and `lock` is ours to be read and written.
    match unsafe { libc::fcntl(file.file.as_raw_fd(), command, &mut lock) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(libc::c_int::from(lock.l_type)),
    }
}

/// The descriptors to close in a child, each plus 1, so that the table is all zeros at first.
static LISTED: [AtomicI32; 1024] = [const { AtomicI32::new(FREE) }; 1024];
const FREE: i32 = 0;
/// Held while a descriptor is opened and listed, and across every fork.
static BUSY: AtomicBool = AtomicBool::new(false);
static HANDLERS_INSTALLED: AtomicBool = AtomicBool::new(false);

/// Opens a file and puts it on the list, as one step for every fork.
fn open_listed(open: impl FnOnce() -> io::Result<RealFile>) -> io::Result<(RealFile, &'static AtomicI32)> {
    hold_forks();
    let result = install_handlers().and_then(|()| {
        let file = open()?;
        let slot = LISTED.iter().find(|slot| slot.load(Ordering::Relaxed) == FREE);
        let slot = slot.ok_or_else(|| io::Error::from_raw_os_error(libc::ENOLCK))?;
        slot.store(file.file.as_raw_fd() + 1, Ordering::Release);
        Ok((file, slot))
    });
    release_forks();
    result
}

/// Must be called while forks are held up.
fn install_handlers() -> io::Result<()> {
    if !HANDLERS_INSTALLED.load(Ordering::Relaxed) {
        // SAFETY: the handlers are functions for the life of the library, and the C library forgets them when it
        // unloads the library. They touch only atomics and `close`.
        let error = unsafe { libc::pthread_atfork(Some(before_fork), Some(after_fork), Some(in_child)) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        HANDLERS_INSTALLED.store(true, Ordering::Relaxed);
    }
    Ok(())
}

// A spinning flag and no mutex: the child must be able to let go of what another thread of the parent might have
// been waiting for, and nothing but an atomic is sure to work there.
fn hold_forks() {
    while BUSY.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        thread::yield_now();
    }
}

fn release_forks() {
    BUSY.store(false, Ordering::Release);
}

extern "C" fn before_fork() {
    hold_forks();
}

extern "C" fn after_fork() {
    release_forks();
}

extern "C" fn in_child() {
    for slot in &LISTED {
        let listed = slot.swap(FREE, Ordering::Relaxed);
        if listed != FREE {
            // SAFETY: a listed descriptor is open, and in this child nobody else closes it (rule 2).
            unsafe { libc::close(listed - 1) };
        }
    }
    release_forks();
}
