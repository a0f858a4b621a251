//! The first block of every data and sum file.
//!
//! ```text
//!      0          8          12         16          20         24          40
//!      | magic    | kind     | version  | page size | file     | uuid      | zeros ...          | xxh3 |
//!      | 8 bytes  | u32      | u32      | u32       | u32      | 16 bytes  |                    4088   4096
//! ```
//!
//! It says whose file this is, so that a file of another database, or under another name, is never read as data.

use crate::mutant::{Mutant, broken};

use super::bytes::{Put, Take};
use super::checksum::xxh3;
use super::{BLOCK_SIZE, FORMAT_VERSION};

const MAGIC: &[u8; 8] = b"DIAMOND\n";

/// What a numbered file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// Pages.
    Data,
    /// The sums of another file's pages.
    Sums,
}

/// What the first block of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Pages or sums.
    pub contents: Contents,
    /// Size of a page in bytes.
    pub page_size: u32,
    /// The number that is the file's name.
    pub file: u32,
    /// The database it belongs to.
    pub uuid: [u8; 16],
}

impl Header {
    /// The block as it lies on disk.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_SIZE as usize);
        block.put(MAGIC);
        block.put_u32(match self.contents {
            Contents::Data => 1,
            Contents::Sums => 2,
        });
        block.put_u32(FORMAT_VERSION);
        block.put_u32(self.page_size);
        block.put_u32(self.file);
        block.put(&self.uuid);
        seal(block)
    }

    /// The header in `block`, if one verifies there.
    pub fn decode(block: &[u8]) -> Option<Header> {
        let mut take = Take(open_sealed(block)?);
        let (magic, kind) = (take.bytes(8)?, take.u32()?);
        let contents = [Contents::Data, Contents::Sums].into_iter().zip(1..).find(|(_, number)| *number == kind);
        let (version, page_size, file) = (take.u32()?, take.u32()?, take.u32()?);
        let uuid = take.bytes(16)?.try_into().ok()?;
        (magic == MAGIC && version == FORMAT_VERSION).then_some(Header { contents: contents?.0, page_size, file, uuid })
    }

    /// What is wrong with `block`, if it is not exactly this header.
    pub fn check(&self, block: &[u8]) -> Result<(), &'static str> {
        if block == self.encode() || broken(Mutant::FileHeaderNotCompared) {
            return Ok(());
        }
        if open_sealed(block).is_none() {
            return Err("its header does not match its checksum");
        }
        let mut take = Take(&block[8..]);
        if &block[..8] != MAGIC {
            return Err("it does not start as a file of this kind does");
        }
        let (_, version) = (take.u32(), take.u32());
        if version != Some(FORMAT_VERSION) {
            return Err("its header names another format version");
        }
        Err("its header belongs to another file")
    }
}

/// Fills a block with zeros and ends it with the sum of all before.
pub fn seal(mut block: Vec<u8>) -> Vec<u8> {
    block.resize(BLOCK_SIZE as usize - 8, 0);
    let sum = xxh3(&block);
    block.put_u64(sum);
    block
}

/// The bytes of a sealed block without its sum, if the sum matches.
pub fn open_sealed(block: &[u8]) -> Option<&[u8]> {
    if block.len() != BLOCK_SIZE as usize {
        return None;
    }
    let (content, sum) = block.split_at(BLOCK_SIZE as usize - 8);
    (sum == xxh3(content).to_le_bytes() || broken(Mutant::BlockSumNotCompared)).then_some(content)
}
