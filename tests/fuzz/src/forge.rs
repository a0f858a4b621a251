//! Bytes of the format with checksums that fit, written here a second time and by hand: see the drawings at the top of
//! `src/format/manifest.rs`, `src/wal/segment.rs`, `src/wal/frame.rs` and `src/pages/root.rs`.

use std::ops::Range;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

pub const BLOCK: usize = 4096;

/// The fields of a manifest slot, as places in it, but for magic and checksum.
pub const MANIFEST_FIELDS: [Range<usize>; 15] = [
    8..12,
    12..16,
    16..24,
    24..32,
    32..40,
    40..48,
    48..56,
    56..64,
    64..72,
    72..80,
    80..88,
    88..96,
    96..104,
    104..112,
    112..120,
];
pub const GENERATION: Range<usize> = 16..24;
pub const UUID: Range<usize> = 24..40;
pub const CHECKPOINT: Range<usize> = 40..48;
pub const WAL_SEGMENT: Range<usize> = 72..80;
pub const WAL_SALT: Range<usize> = 80..88;
pub const CATALOG_PLACE: Range<usize> = 88..96;
pub const CATALOG_SIZE: Range<usize> = 96..104;
pub const CATALOG_SUM: Range<usize> = 104..112;

/// Places in a header of a segment.
pub const SEGMENT_FIELDS: [Range<usize>; 9] = [8..12, 16..32, 32..40, 40..48, 48..56, 56..64, 64..72, 72..80, 80..88];
/// Places in a header of a data or sum file.
pub const HEADER_FIELDS: [Range<usize>; 5] = [8..12, 12..16, 16..20, 20..24, 24..40];

/// A number of at most eight bytes at a place, or 0 where the bytes end before.
pub fn get(bytes: &[u8], place: Range<usize>) -> u64 {
    let part = bytes.get(place).unwrap_or_default();
    part.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Puts a number at a place, as many of its bytes as fit.
pub fn set(bytes: &mut [u8], place: Range<usize>, number: u64) {
    let part = &mut bytes[place];
    let size = part.len().min(8);
    part[..size].copy_from_slice(&number.to_le_bytes()[..size]);
}

/// Makes the sum at the end of a block fit.
pub fn seal(block: &mut [u8]) {
    let sum = xxh3_64(&block[..BLOCK - 8]);
    block[BLOCK - 8..BLOCK].copy_from_slice(&sum.to_le_bytes());
}

/// Where the slot of the manifest that is in force starts.
pub fn slot_in_force(manifest: &[u8]) -> usize {
    let generation = |slot: usize| get(&manifest[slot..], GENERATION);
    if generation(BLOCK) > generation(0) { BLOCK } else { 0 }
}

/// The sum of a catalog.
pub fn catalog_sum(image: &[u8]) -> u64 {
    xxh3_64(image)
}

/// The sum of a page.
pub fn page_sum(file: u32, page: u64, bytes: &[u8]) -> u64 {
    let key = u64::from(file).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ page;
    xxh3_64_with_seed(bytes, key)
}

/// What stands in the first block of a segment. Its file has at least one block, and says no more of its size.
pub struct Segment<'a> {
    pub uuid: &'a [u8],
    pub number: u64,
    pub salt: u64,
    pub previous: (u64, u64, u32),
    pub durable: u64,
}

impl Segment<'_> {
    pub fn block(&self) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        block[..8].copy_from_slice(b"DIAMONDW");
        set(&mut block, 8..12, 1);
        block[16..32].copy_from_slice(self.uuid);
        let (segment, lsn, crc) = self.previous;
        let numbers = [self.number, self.salt, segment, lsn, u64::from(crc), self.durable, BLOCK as u64];
        for (place, number) in SEGMENT_FIELDS[2..].iter().zip(numbers) {
            set(&mut block, place.clone(), number);
        }
        seal(&mut block);
        block
    }
}

/// Appends a frame to a segment.
pub fn put_frame(segment: &mut Vec<u8>, lsn: u64, durable: u64, salt: u64, kind: u32, payload: &[u8]) -> u32 {
    let mut header = [0; 32];
    set(&mut header, 0..4, 32 + payload.len() as u64);
    set(&mut header, 8..16, lsn);
    set(&mut header, 16..24, durable);
    set(&mut header, 24..28, salt);
    set(&mut header, 28..32, u64::from(kind));
    let crc = crc32c::crc32c(payload);
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, &header[0..4]), &header[8..32]);
    set(&mut header, 4..8, u64::from(crc));
    segment.extend_from_slice(&header);
    segment.extend_from_slice(payload);
    segment.resize(segment.len().next_multiple_of(8), 0);
    crc
}
