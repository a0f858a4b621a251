//! The two checksums: CRC32C for wal frames, xxh3-64 for everything that is read in larger pieces.
//!
//! CRC32C (Castagnoli, as in RFC 3720) is sure to find any burst of up to 32 bits and is computed in hardware.
//! XXH3 (Yann Collet) is faster over pages. A page's sum is keyed by its file and number, so that a page which the
//! disk put in another page's place does not verify there.

use crate::mutant::{Mutant, broken};

/// Continues a CRC32C over more bytes; start from 0.
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    crate::os::crc32c(crc, bytes)
}

/// The sum of a block that has no place of its own: a header, a manifest slot, the catalog.
pub fn xxh3(bytes: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(bytes)
}

/// The sum of bytes that lie in two places, under numbers that are no part of them.
pub fn seal(numbers: [u64; 3], first: &[u8], second: &[u8]) -> u64 {
    let mut head = [0; 24];
    for (place, number) in head.chunks_exact_mut(8).zip(numbers) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let seal = xxhash_rust::xxh3::xxh3_64_with_seed(first, xxh3(&head));
    xxhash_rust::xxh3::xxh3_64_with_seed(second, seal)
}

/// The sum of page `page` of file `file`.
pub fn page_sum(file: u32, page: u64, bytes: &[u8]) -> u64 {
    if broken(Mutant::PageSumNotKeyed) {
        return xxh3(bytes);
    }
    // Multiplying by an odd constant spreads the file number over the high bits, where page numbers do not reach.
    let key = u64::from(file).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ page;
    xxhash_rust::xxh3::xxh3_64_with_seed(bytes, key)
}
