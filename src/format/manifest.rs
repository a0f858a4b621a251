//! The manifest: where everything starts.
//!
//! `MANIFEST` is two blocks, written in turn; the one with the higher generation counts. A crash while one is
//! written leaves the other, and nothing that the other names is touched before the new one is synced.
//!
//! ```text
//!      0        8         12             16           24      40            48
//!      | magic  | version | clean (0, 1) | generation | uuid  | checkpoint  | incompatible u64
//!      56                     64                 72                 80
//!      | read-only compatible | compatible u64   | wal segment u64  | wal salt u64
//!      88              96                 104               112             120
//!      | catalog place | catalog size u64 | catalog sum u64 | next file u64 | zeros ...  | xxh3 at 4088
//! ```
//!
//! `checkpoint` is the last LSN whose effect the data files hold; the wal goes on from there in `wal segment`.

use super::FORMAT_VERSION;
use super::bytes::{Put, Take};
use super::header::{open_sealed, seal};

const MAGIC: &[u8; 8] = b"DIAMONDM";

/// Feature flags. A bit that a library does not know says what it may still do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Unknown bit: the database cannot be opened.
    pub incompatible: u64,
    /// Unknown bit: the database can only be read.
    pub read_only_compatible: u64,
    /// Unknown bit: of no consequence.
    pub compatible: u64,
}

/// One slot of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The format version of the database.
    pub version: u32,
    /// True after a clean close: the wal holds nothing.
    pub clean: bool,
    /// Counts the writes of the manifest; its parity is the slot.
    pub generation: u64,
    /// The database's identity.
    pub uuid: [u8; 16],
    /// What an older library must know to leave alone.
    pub features: Features,
    /// The last LSN that the data files hold.
    pub checkpoint: u64,
    /// The wal segment that goes on from there.
    pub wal_segment: u64,
    /// The salt of that segment.
    pub wal_salt: u64,
    /// Where the catalog lies in file 1, in bytes.
    pub catalog_offset: u64,
    /// How many bytes it has.
    pub catalog_size: u64,
    /// Its checksum.
    pub catalog_sum: u64,
    /// The number that the next new file gets.
    pub next_file: u64,
}

impl Manifest {
    /// The block as it lies on disk.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(4096);
        block.put(MAGIC);
        block.put_u32(self.version);
        block.put_u32(u32::from(self.clean));
        block.put_u64(self.generation);
        block.put(&self.uuid);
        block.put_u64(self.checkpoint);
        block.put_u64(self.features.incompatible);
        block.put_u64(self.features.read_only_compatible);
        block.put_u64(self.features.compatible);
        block.put_u64(self.wal_segment);
        block.put_u64(self.wal_salt);
        block.put_u64(self.catalog_offset);
        block.put_u64(self.catalog_size);
        block.put_u64(self.catalog_sum);
        block.put_u64(self.next_file);
        seal(block)
    }

    /// A slot that verifies, or `None`.
    pub fn decode(block: &[u8]) -> Option<Manifest> {
        let mut take = Take(open_sealed(block)?);
        if take.bytes(8)? != MAGIC {
            return None;
        }
        let version = take.u32()?;
        let clean = take.u32()? != 0;
        let generation = take.u64()?;
        let uuid = take.bytes(16)?.try_into().ok()?;
        let checkpoint = take.u64()?;
        let features =
            Features { incompatible: take.u64()?, read_only_compatible: take.u64()?, compatible: take.u64()? };
        Some(Manifest {
            version,
            clean,
            generation,
            uuid,
            features,
            checkpoint,
            wal_segment: take.u64()?,
            wal_salt: take.u64()?,
            catalog_offset: take.u64()?,
            catalog_size: take.u64()?,
            catalog_sum: take.u64()?,
            next_file: take.u64()?,
        })
    }

    /// False for numbers that we never write, however well the checksum matches: counting on from them would overflow.
    pub fn is_possible(&self) -> bool {
        const LIMIT: u64 = 1 << 62;
        let counted = [self.generation, self.checkpoint, self.wal_segment, self.catalog_offset, self.catalog_size];
        counted.into_iter().all(|number| number < LIMIT) && self.next_file <= u64::from(u32::MAX)
    }

    /// An empty database's first manifest.
    pub fn first(uuid: [u8; 16]) -> Manifest {
        Manifest {
            version: FORMAT_VERSION,
            clean: true,
            generation: 0,
            uuid,
            features: Features::default(),
            checkpoint: 0,
            wal_segment: 0,
            wal_salt: 0,
            catalog_offset: 0,
            catalog_size: 0,
            catalog_sum: 0,
            next_file: 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_reads_back_as_it_was_written_and_any_flipped_bit_is_noticed() {
        let mut manifest = Manifest::first(*b"0123456789abcdef");
        manifest.checkpoint = 77;
        manifest.next_file = 9;
        let block = manifest.encode();
        assert_eq!(Manifest::decode(&block), Some(manifest));
        for bit in 0..block.len() * 8 {
            let mut damaged = block.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Manifest::decode(&damaged), None, "bit {bit}");
        }
    }
}
