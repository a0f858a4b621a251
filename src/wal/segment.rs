//! The first block of a wal segment, and the files of the wal.
//!
//! ```text
//!      0        8         12      16      32       40       48          56
//!      | magic  | version | zero  | uuid  | number | salt   | previous  | previous's last lsn
//!      64                        72            80            88
//!      | previous's last crc     | durable lsn | file size   | zeros ...         | xxh3 at 4088
//! ```
//!
//! The frame that ends a segment names the next one: `| number u64 | salt u64 | file size u64 |`. That file was there,
//! and synced, before the frame was written. So a segment that is missing or cut short is damage and not the end.
//!
//! `previous` names the segment that this one continues, with the LSN and checksum of the last frame which counts
//! there. So the segments of one history form a chain, and whatever else lies in the folder is not part of it.
//! Numbers rise but need not be dense.

use std::sync::Arc;

use crate::format::bytes::{Put, Take};
use crate::format::header::{open_sealed, seal};
use crate::format::{BLOCK_SIZE, FORMAT_VERSION};
use crate::os::DiskFile;

use super::frame::frame_space;

const MAGIC: &[u8; 8] = b"DIAMONDW";

/// The name of a segment's file.
pub fn segment_name(number: u64) -> String {
    format!("wal/{number}")
}

/// A segment whose file is at hand.
#[derive(Clone)]
pub struct Segment {
    /// Its number, which is its file's name.
    pub number: u64,
    /// What makes its frames its own, although the file was used before.
    pub salt: u64,
    /// The size of its file.
    pub capacity: u64,
    /// The file, zero-written or recycled.
    pub file: Arc<dyn DiskFile>,
}

impl Segment {
    /// How many bytes of frames fit, with room left for the frame that ends it.
    pub fn usable(&self) -> u64 {
        self.capacity - BLOCK_SIZE - END_SPACE
    }
}

/// The space of the frame that ends a segment.
pub const END_SPACE: u64 = frame_space(Next::SIZE) as u64;

/// The segment that goes on where another ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Next {
    /// Its number.
    pub number: u64,
    /// Its salt.
    pub salt: u64,
    /// How many bytes its file has at least.
    pub size: u64,
}

impl Next {
    const SIZE: usize = 24;

    /// What the frame that ends a segment says.
    pub fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(Next::SIZE);
        payload.put_u64(self.number);
        payload.put_u64(self.salt);
        payload.put_u64(self.size);
        payload
    }

    /// The same from such a frame.
    pub fn decode(payload: &[u8]) -> Option<Next> {
        let mut take = Take(payload);
        let next = Next { number: take.u64()?, salt: take.u64()?, size: take.u64()? };
        take.is_empty().then_some(next)
    }
}

/// The last frame of a segment, by which the next one continues it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The segment's number.
    pub segment: u64,
    /// The LSN of its last frame.
    pub lsn: u64,
    /// The checksum of its last frame.
    pub crc: u32,
}

/// What the first block of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The database it belongs to.
    pub uuid: [u8; 16],
    /// The segment's number.
    pub number: u64,
    /// Its salt.
    pub salt: u64,
    /// What it continues.
    pub previous: Link,
    /// All up to here was synced when the segment was begun.
    pub durable: u64,
    /// How many bytes its file had when it was begun; it gets no shorter while the segment counts.
    pub size: u64,
}

impl SegmentHeader {
    /// The block as it lies on disk.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_SIZE as usize);
        block.put(MAGIC);
        block.put_u32(FORMAT_VERSION);
        block.put_u32(0);
        block.put(&self.uuid);
        block.put_u64(self.number);
        block.put_u64(self.salt);
        block.put_u64(self.previous.segment);
        block.put_u64(self.previous.lsn);
        block.put_u64(u64::from(self.previous.crc));
        block.put_u64(self.durable);
        block.put_u64(self.size);
        seal(block)
    }

    /// The header in `block`, if one verifies there.
    pub fn decode(block: &[u8]) -> Option<SegmentHeader> {
        let mut take = Take(open_sealed(block)?);
        if take.bytes(8)? != MAGIC || take.u32()? != FORMAT_VERSION {
            return None;
        }
        take.u32()?;
        Some(SegmentHeader {
            uuid: take.bytes(16)?.try_into().ok()?,
            number: take.u64()?,
            salt: take.u64()?,
            previous: Link { segment: take.u64()?, lsn: take.u64()?, crc: u32::try_from(take.u64()?).ok()? },
            durable: take.u64()?,
            size: take.u64()?,
        })
    }
}
