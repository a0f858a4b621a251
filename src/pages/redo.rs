//! What a commit's frame says: the changes of files, as a replay repeats them.
//!
//! ```text
//! write    | 1 u32 | file u32 | offset u64 | size u64  | bytes, zeros up to 8 |
//! length   | 2 u32 | file u32 | new length u64 |
//! create   | 3 u32 | file u32 | kind u32 | page size u32 | meta size u64 | meta, zeros up to 8 |
//! describe | 4 u32 | file u32 | meta size u64 | meta, zeros up to 8 |
//! drop     | 5 u32 | file u32 |
//! adopt    | 6 u32 | file u32 | first page u64 | page count u64 | sums, 8 bytes each |
//! tally    | 7 u32 | file u32 | added to the tally i64 |
//! ```
//!
//! A `sums` frame has the same shape: `adopt` entries are then the sums of pages that a checkpoint is about to
//! write, and the first eight bytes are the checkpoint's LSN.
//!
//! All writes are whole after-images at absolute offsets, so that repeating them twice is repeating them once.

use crate::error::Result;
use crate::format::bytes::{Put, Take, round_up_8};
use crate::memory;

use super::file::FileId;

/// No entry has more numbers than that before its bytes.
const NUMBERS_SIZE_MAX: usize = 32;

/// One change, as read from a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redo<'a> {
    Write { file: FileId, offset: u64, bytes: &'a [u8] },
    Length { file: FileId, length: u64 },
    Create { file: FileId, kind: u32, page_size: u32, meta: &'a [u8] },
    Describe { file: FileId, meta: &'a [u8] },
    Drop { file: FileId },
    Adopt { file: FileId, first: u64, sums: &'a [u8] },
    Tally { file: FileId, added: i64 },
}

impl Redo<'_> {
    /// Appends the change to a payload. After an error nothing is appended.
    pub fn put(&self, out: &mut Vec<u8>) -> Result<()> {
        let size = NUMBERS_SIZE_MAX + round_up_8(self.bytes().len());
        memory::reserve(out, size, "what a commit writes into the wal")?;
        match *self {
            Redo::Write { file, offset, bytes } => {
                // At once, since this is what almost every commit says.
                let numbers = [head(1, file), offset, bytes.len() as u64];
                out.put(numbers.map(u64::to_le_bytes).as_flattened());
                out.put_padded(bytes);
            }
            Redo::Length { file, length } => {
                put_head(out, 2, file);
                out.put_u64(length);
            }
            Redo::Create { file, kind, page_size, meta } => {
                put_head(out, 3, file);
                out.put_u32(kind);
                out.put_u32(page_size);
                put_bytes(out, meta);
            }
            Redo::Describe { file, meta } => {
                put_head(out, 4, file);
                put_bytes(out, meta);
            }
            Redo::Drop { file } => put_head(out, 5, file),
            Redo::Tally { file, added } => {
                put_head(out, 7, file);
                out.put_u64(added as u64);
            }
            Redo::Adopt { file, first, sums } => {
                put_head(out, 6, file);
                out.put_u64(first);
                out.put_u64(sums.len() as u64 / 8);
                out.put(sums);
            }
        }
        Ok(())
    }

    /// What follows its numbers.
    fn bytes(&self) -> &[u8] {
        match self {
            Redo::Write { bytes, .. } => bytes,
            Redo::Create { meta, .. } | Redo::Describe { meta, .. } => meta,
            Redo::Adopt { sums, .. } => sums,
            Redo::Length { .. } | Redo::Drop { .. } | Redo::Tally { .. } => &[],
        }
    }

    /// Takes the next change off a payload; `None` where the bytes break the format.
    pub fn take<'a>(take: &mut Take<'a>) -> Option<Redo<'a>> {
        let what = take.u32()?;
        let file = FileId(take.u32()?);
        Some(match what {
            1 => Redo::Write { file, offset: take.u64()?, bytes: take_bytes(take)? },
            2 => Redo::Length { file, length: take.u64()? },
            3 => Redo::Create { file, kind: take.u32()?, page_size: take.u32()?, meta: take_bytes(take)? },
            4 => Redo::Describe { file, meta: take_bytes(take)? },
            5 => Redo::Drop { file },
            6 => {
                let first = take.u64()?;
                let size = take.u64()?.checked_mul(8)?;
                Redo::Adopt { file, first, sums: take.bytes(usize::try_from(size).ok()?)? }
            }
            7 => Redo::Tally { file, added: take.u64()? as i64 },
            _ => return None,
        })
    }
}

/// The sums in an `adopt` entry.
pub(super) fn sums_of(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(|sum| u64::from_le_bytes(sum.try_into().expect("chunks of eight")))
}

fn head(what: u32, file: FileId) -> u64 {
    u64::from(what) | u64::from(file.0) << 32
}

fn put_head(out: &mut Vec<u8>, what: u32, file: FileId) {
    out.put_u64(head(what, file));
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u64(bytes.len() as u64);
    out.put_padded(bytes);
}

fn take_bytes<'a>(take: &mut Take<'a>) -> Option<&'a [u8]> {
    let size = usize::try_from(take.u64()?).ok()?;
    let bytes = take.bytes(size)?;
    take.bytes(size.checked_next_multiple_of(8)? - size)?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_read_back_as_they_were_written() {
        let file = FileId(7);
        let changes = [
            Redo::Write { file, offset: 4096, bytes: b"abc" },
            Redo::Length { file, length: 99 },
            Redo::Tally { file, added: -3 },
            Redo::Create { file, kind: 1, page_size: 512, meta: b"{}" },
            Redo::Describe { file, meta: b"renamed!" },
            Redo::Drop { file },
            Redo::Adopt { file, first: 3, sums: &[1; 16] },
        ];
        let mut payload = Vec::new();
        changes.iter().for_each(|change| change.put(&mut payload).expect("memory"));
        let mut take = Take(&payload);
        for change in changes {
            assert_eq!(Redo::take(&mut take), Some(change));
        }
        assert!(take.is_empty());
        for end in 0..payload.len() {
            let mut take = Take(&payload[..end]);
            while !take.is_empty() && Redo::take(&mut take).is_some() {}
        }
    }
}
