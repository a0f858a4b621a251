//! One frame of the wal, as it lies on disk.
//!
//! ```text
//!      0         4         8        16                24        28        32
//!      | size    | crc32c  | lsn    | durable lsn     | salt    | kind    | payload ... | zeros up to 8 |
//! ```
//!
//! `size` counts header and payload. The checksum covers all but itself: the payload first, so that it can be
//! computed before the wal's lock is taken, then the header. `durable lsn` is the highest LSN known to be synced
//! when the frame was built: a later frame that says so proves that an earlier one had been whole.

use crate::format::bytes::{Put, Take, round_up_8};
use crate::format::checksum::crc32c;
use crate::mutant::{Mutant, broken};

/// Size of a frame's header.
pub const FRAME_HEADER_SIZE: usize = 32;
const _: () = assert!(FRAME_HEADER_SIZE == size_of::<u32>() * 4 + size_of::<u64>() * 2);

/// What a frame means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// One commit: changes of files.
    Commit = 1,
    /// The sums of pages that a checkpoint is about to write.
    Sums = 2,
    /// The last frame of its segment.
    End = 3,
    /// Nothing happened, but its `durable lsn` is newer.
    Watermark = 4,
}

/// A frame that verified.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Its place in the order of all frames.
    pub lsn: u64,
    /// All up to here was synced when it was built.
    pub durable: u64,
    /// The low half of its segment's salt.
    pub salt: u32,
    /// What it means; `None` is a kind that this version does not know.
    pub kind: Option<Kind>,
    /// Its checksum.
    pub crc: u32,
    /// What it says.
    pub payload: &'a [u8],
}

/// The space that a frame with this payload takes.
pub const fn frame_space(payload_size: usize) -> usize {
    round_up_8(FRAME_HEADER_SIZE + payload_size)
}

/// Appends a frame to `out` and returns its checksum; `payload_crc` is the payload's CRC32C.
pub fn put_frame(out: &mut Vec<u8>, place: Place, kind: Kind, payload: &[u8], payload_crc: u32) -> u32 {
    let size = (FRAME_HEADER_SIZE + payload.len()) as u32;
    let mut header = Aligned([0; FRAME_HEADER_SIZE]);
    let header = &mut header.0;
    header[0..4].copy_from_slice(&size.to_le_bytes());
    header[8..16].copy_from_slice(&place.lsn.to_le_bytes());
    header[16..24].copy_from_slice(&place.durable.to_le_bytes());
    header[24..28].copy_from_slice(&place.salt.to_le_bytes());
    header[28..32].copy_from_slice(&(kind as u32).to_le_bytes());
    let crc = header_crc(payload_crc, header);
    header[4..8].copy_from_slice(&crc.to_le_bytes());
    out.put(header);
    out.put_padded(payload);
    crc
}

/// So that its sum is taken by words.
#[repr(align(8))]
struct Aligned([u8; FRAME_HEADER_SIZE]);

/// Where a new frame stands.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its LSN.
    pub lsn: u64,
    /// What is known to be synced.
    pub durable: u64,
    /// The low half of the segment's salt.
    pub salt: u32,
}

/// The frame at the start of `bytes`, if one verifies there, and the space it takes.
pub fn take_frame(bytes: &[u8]) -> Option<(Frame<'_>, usize)> {
    let header = bytes.get(..FRAME_HEADER_SIZE)?;
    let mut take = Take(header);
    let (size, crc) = (take.u32()? as usize, take.u32()?);
    let (lsn, durable) = (take.u64()?, take.u64()?);
    let (salt, kind) = (take.u32()?, take.u32()?);
    let payload = bytes.get(FRAME_HEADER_SIZE..size)?;
    if header_crc(crc32c(0, payload), header) != crc && !broken(Mutant::FrameSumNotCompared) {
        return None;
    }
    let kind = [Kind::Commit, Kind::Sums, Kind::End, Kind::Watermark].into_iter().find(|known| *known as u32 == kind);
    Some((Frame { lsn, durable, salt, kind, crc, payload }, round_up_8(size).min(bytes.len())))
}

/// What a frame's header says, verified or not.
#[derive(Clone, Copy, Debug)]
pub struct Peek {
    /// The size of header and payload.
    pub size: usize,
    /// The LSN.
    pub lsn: u64,
    /// What it says was synced.
    pub durable: u64,
    /// The salt.
    pub salt: u32,
}

/// The cheap part of `take_frame`. `None` only where the bytes end before a header does.
pub fn peek_frame(bytes: &[u8]) -> Option<Peek> {
    let mut take = Take(bytes.get(..FRAME_HEADER_SIZE)?);
    let (size, _) = (take.u32()? as usize, take.u32()?);
    Some(Peek { size, lsn: take.u64()?, durable: take.u64()?, salt: take.u32()? })
}

/// The size of a frame with this salt and an LSN above `lsn`, which vouches for it, if one might start here.
pub fn may_vouch_for(bytes: &[u8], lsn: u64, salt: u32) -> Option<usize> {
    let vouches = |peek: &Peek| {
        peek.lsn > lsn && ((lsn..peek.lsn).contains(&peek.durable) || broken(Mutant::TornTailTakenForDamage))
    };
    may_start(bytes, salt).filter(vouches).map(|peek| peek.size)
}

/// What the header of a frame with this salt says, if one might start here.
pub fn may_start(bytes: &[u8], salt: u32) -> Option<Peek> {
    peek_frame(bytes).filter(|peek| peek.salt == salt && (FRAME_HEADER_SIZE..=bytes.len()).contains(&peek.size))
}

fn header_crc(payload_crc: u32, header: &[u8]) -> u32 {
    crc32c(crc32c(payload_crc, &header[0..4]), &header[8..FRAME_HEADER_SIZE])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_and_any_flipped_bit_is_noticed() {
        let payload = b"every bit counts";
        let mut bytes = Vec::new();
        let place = Place { lsn: 7, durable: 5, salt: 0xABCD };
        put_frame(&mut bytes, place, Kind::Commit, payload, crc32c(0, payload));
        assert_eq!(bytes.len(), frame_space(payload.len()));
        let (frame, space) = take_frame(&bytes).expect("whole");
        assert_eq!((frame.lsn, frame.durable, frame.salt, frame.kind), (7, 5, 0xABCD, Some(Kind::Commit)));
        assert_eq!((frame.payload, space), (&payload[..], bytes.len()));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(take_frame(&damaged).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn zeros_and_short_bytes_are_no_frame() {
        assert!(take_frame(&[0; 4096]).is_none());
        assert!(take_frame(&[]).is_none());
        assert!(take_frame(&[255; 31]).is_none());
    }
}
