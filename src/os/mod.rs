//! The seam to the operating system: everything the engine asks of files and folders.
//!
//! A [`Disk`] is one database folder. The real one talks to Linux; the simulated one keeps every unsynced write
//! apart and can crash at any event. All names are relative to the folder, with `/` between its parts (`wal/7`).
//!
//! What a disk promises, and no more:
//!
//! 1. A write is seen by later reads and maps at once, and survives a crash only once its file was synced.
//!    Until then any part of it may survive, in any order.
//! 2. A name that was created, renamed or removed survives a crash only once its folder was synced.
//! 3. After a failed sync nothing is known of the writes it covered, and a later success says nothing about them.
//! 4. Bytes of allocated space that were never written are unspecified after a crash.

mod bell;
mod direct;
mod draft;
mod lanes;
mod lock;
mod map;
// Under shuttle its futex rests: `scheduled.rs` has another.
#[cfg_attr(shuttle, allow(dead_code))]
mod process;
mod processor;
mod real;
#[cfg(shuttle)]
mod scheduled;
#[cfg(feature = "simulation")]
pub mod simulated;
pub mod sync;

use std::io;
use std::sync::Arc;

use crate::mutant::{Mutant, broken};

pub use bell::Bell;
pub use draft::Draft;
pub use lanes::{Lane, Lanes};
pub use map::{Map, Memory, StillMap};
pub use process::{ForkMark, PerProcess, memory_limit, open_files_limit};
pub use processor::crc32c;
pub use real::{FileIdentity, RealDisk};

/// One database folder, and the few things besides files that must not differ between two simulated runs.
pub trait Disk: Send + Sync {
    /// Opens the file `name`. Never follows a symbolic link.
    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives `from` the name `to`, replacing what is there.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Its space is given back when the last descriptor and map are gone.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes a folder; one that is there already is an error of kind `AlreadyExists`.
    fn make_folder(&self, name: &str) -> io::Result<()>;
    /// Removes an empty folder, where the disk can do that.
    fn remove_folder(&self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    /// The names in a folder (`""` is the database folder itself), in no order.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    /// Makes the names in a folder durable (`""` is the database folder itself).
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// Locks `LOCK`, which must exist, without waiting, until the returned value is dropped. Shared locks exclude
    /// only exclusive ones. `Err(Some(pid))` names a holder, where the system knows it; `Err(None)` is not known.
    fn lock(&self, exclusive: bool) -> io::Result<std::result::Result<Box<dyn DiskLock>, Option<u32>>>;
    /// Fills `bytes` with unpredictable bytes (the simulated disk: from its seed).
    fn entropy(&self, bytes: &mut [u8]);
    /// A name for messages: the folder's path.
    fn describe(&self) -> String;
}

/// An open file. Closed when the last reference is dropped. All offsets and sizes are in bytes.
pub trait DiskFile: Send + Sync {
    /// Reads at most `bytes.len()` bytes; fewer only at the end of the file or by whim, 0 at the end.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes at most `bytes.len()` bytes and says how many. Writing past the end makes the file longer.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// The same for bytes of which there are many and that nobody reads soon: they need not be kept in memory.
    fn write_past_cache_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.write_at(bytes, offset)
    }
    /// Takes disk space for this range, making the file longer where it ends before; existing bytes stay.
    fn allocate(&self, offset: u64, size: u64) -> io::Result<()>;
    /// Gives the whole blocks of this range back; the range reads as zeros. The size stays.
    fn punch(&self, offset: u64, size: u64) -> io::Result<()>;
    /// Cuts or lengthens the file; what is new reads as zeros.
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// The size now.
    fn size(&self) -> io::Result<u64>;
    /// Makes all earlier writes, allocations and size changes of this file durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
    /// Asks the system to start writing this range to the device. A hint: nothing is promised.
    fn start_writeback(&self, _offset: u64, _size: u64) {}
    /// A read-only map of the first `size` bytes, which may lie beyond the end of the file (such bytes must not be
    /// touched until the file covers them). `None` where this disk has no maps: read with `read_at` then.
    fn map(&self, size: u64) -> io::Result<Option<Map>>;
    /// Memory of `size` bytes whose first `covered` are this file's, which must be so long. `None` as for `map`.
    fn map_still(&self, _covered: u64, _size: u64) -> io::Result<Option<StillMap>> {
        Ok(None)
    }
}

/// A held lock. Dropping it unlocks.
pub trait DiskLock: Send + Sync {}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// For reading; must exist.
    Read,
    /// For reading and writing; must exist.
    Write,
    /// For reading and writing; made if it is not there; emptied if it is.
    Create,
    /// For reading and writing; made now. One that is there already is an error of kind `AlreadyExists`.
    New,
}

/// Fills `bytes` from `offset`; bytes beyond the end of the file are `UnexpectedEof`.
pub fn read_exact_at(file: &dyn DiskFile, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.read_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                bytes = &mut bytes[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills `bytes` from `offset` as far as that goes, block by block where reading fails; the rest becomes zeros.
/// Returns true if all was read.
pub fn read_what_can_be_read(file: &dyn DiskFile, bytes: &mut [u8], offset: u64) -> bool {
    const BLOCK: usize = 4096;
    if read_exact_at(file, bytes, offset).is_ok() {
        return true;
    }
    let mut is_whole = true;
    for (block, at) in bytes.chunks_mut(BLOCK).zip((offset..).step_by(BLOCK)) {
        let mut done = 0;
        while done < block.len() {
            match file.read_at(&mut block[done..], at + done as u64) {
                Ok(count) if count > 0 => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        block[done..].fill(0);
        is_whole &= done == block.len();
    }
    is_whole
}

/// Writes all of `bytes` at `offset`, however many calls it takes.
pub fn write_all_at(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    write_all(bytes, offset, |bytes, offset| file.write_at(bytes, offset))
}

/// The same past the system's cache, where there are many.
pub fn write_all_past_cache_at(file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    write_all(bytes, offset, |bytes, offset| file.write_past_cache_at(bytes, offset))
}

fn write_all(
    mut bytes: &[u8],
    mut offset: u64,
    mut write: impl FnMut(&[u8], u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(_) if broken(Mutant::ShortWriteTakenForWhole) => return Ok(()),
            Ok(count) => {
                bytes = &bytes[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Repeats a call that a signal interrupted. (For `sync`: EINTR says that nothing was tried.)
pub fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// True for the errors that say "no room": of the device, of a quota, of a file's size limit.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG))
}
