//! Writes past the system's cache, for much that nobody reads soon: the wal, as it grows.
//!
//! An ordinary write copies into memory of the cache. Where the system has to find that memory first, it costs far
//! more than the copy: in virtual machines, which get theirs page by page from the host, ten times as much, so that a
//! wal that is written faster than its files come round again would wait for memory and not for the disk. `O_DIRECT`
//! hands the bytes to the device instead, from one piece of memory that stays.
//!
//! What such a write promises is what every write does: the system has it, and a sync makes it durable. Both kinds
//! meet in one file at block boundaries only, so no block is ever in the cache and written past it at once.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use super::sync::Mutex;

/// Offsets, sizes and addresses are multiples of this: the largest block that devices ask for.
const BLOCK: usize = 4096;

/// The most that goes to the device at once.
const PIECE: usize = 1 << 20;

/// Less than this is not worth a way of its own: the device's answer takes longer than the copy.
const LEAST: usize = 128 << 10;

/// A file's second descriptor, and memory as the device wants it.
#[derive(Debug)]
pub(super) struct Direct {
    file: File,
    room: Mutex<Vec<u8>>,
}

/// How the next bytes are written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// So many of them as always.
    Cached(usize),
    /// So many of them past the cache.
    Past(usize),
}

/// The way of the first of `size` bytes at `offset`.
pub(super) fn way(size: usize, offset: u64) -> Way {
    let before = (offset.next_multiple_of(BLOCK as u64) - offset) as usize;
    match size < before + LEAST {
        true => Way::Cached(size),
        false if before > 0 => Way::Cached(before),
        false => Way::Past(size.min(PIECE) / BLOCK * BLOCK),
    }
}

impl Direct {
    /// For an open file; none where the system has no such way to it.
    pub fn open(file: &File) -> Option<Direct> {
        let mut room = Vec::new();
        room.try_reserve_exact(PIECE + BLOCK).ok()?;
        room.resize(PIECE + BLOCK, 0);
        // The file itself, whatever its name is by now.
        let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
        let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(itself).ok()?;
        Some(Direct { file, room: Mutex::new(room) })
    }

    /// Writes what `way` said. `EINVAL`: the file system wants none of this after all, and nothing was written.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut room = self.room.lock();
        let start = room.as_ptr().align_offset(BLOCK);
        let piece = &mut room[start..][..bytes.len()];
        piece.copy_from_slice(bytes);
        self.file.write_at(piece, offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_blocks_in_bulk_go_past_the_cache() {
        assert_eq!(way(100, 0), Way::Cached(100));
        assert_eq!(way(LEAST - 1, 4096), Way::Cached(LEAST - 1));
        assert_eq!(way(LEAST, 4096), Way::Past(LEAST));
        assert_eq!(way(LEAST + 100, 8192), Way::Past(LEAST));
        assert_eq!(way(LEAST, 4095), Way::Cached(LEAST));
        assert_eq!(way(LEAST + 1, 4095), Way::Cached(1));
        assert_eq!(way(3 * PIECE + 5, 0), Way::Past(PIECE));
    }
}
