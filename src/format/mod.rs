//! Bytes on disk: how numbers, checksums, file headers and the manifest are written, the same in every file.

pub mod bytes;
pub mod checksum;
pub mod header;
pub mod manifest;

/// The version of everything on disk. A library refuses a version that it does not know.
pub const FORMAT_VERSION: u32 = 1;

/// The unit in which disks and the page cache of the system work; headers take one, data starts at the second.
pub const BLOCK_SIZE: u64 = 4096;
