//! What only some processors do, with what stands in for it elsewhere.
//!
//! The checksum of short things: a commit sums its frame's header while it holds the lock of the wal, and the crate
//! crc32c takes ten times as long to get ready for 24 bytes as their sum takes.

// One instruction, behind a question whether the processor has it.
#![allow(unsafe_code)]

/// Beyond this many bytes the crate's three sums at a time are faster.
#[cfg(all(target_arch = "x86_64", not(miri)))]
const SHORT: usize = 512;

/// Continues a CRC32C over more bytes; start from 0.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[inline]
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    if bytes.len() > SHORT || !is_x86_feature_detected!("sse4.2") {
        return crc32c::crc32c_append(crc, bytes);
    }
    // SAFETY: the processor has the instruction.
    unsafe { crc32c_of_short(crc, bytes) }
}

/// The same, where there is no such instruction.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc, bytes)
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "sse4.2")]
fn crc32c_of_short(crc: u32, bytes: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u32, _mm_crc32_u64};
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(u64::from(!crc), |sum, word| _mm_crc32_u64(sum, u64::from_le_bytes(*word))) as u32;
    let (half, rest) = rest.split_at(rest.len() & 4);
    let sum = half.first_chunk().map_or(sum, |half| _mm_crc32_u32(sum, u32::from_le_bytes(*half)));
    !rest.iter().fold(sum, |sum, byte| _mm_crc32_u8(sum, *byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_sums_are_those_of_the_crate() {
        // From RFC 3720, appendix B.4.
        assert_eq!(crc32c(0, &[0; 32]), 0x8A91_36AA);
        let bytes: Vec<u8> = (0..1100_u32).map(|at| (at * 7 + at / 256) as u8).collect();
        for end in 0..bytes.len() {
            let start = end / 3 * (end % 2);
            let expected = crc32c::crc32c_append(77, &bytes[start..end]);
            assert_eq!(crc32c(77, &bytes[start..end]), expected, "from {start} to {end}");
        }
    }
}
