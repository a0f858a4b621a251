//! The bytes of one simulated file, in chunks that copies share until one of them is written.
//!
//! What always holds here:
//!
//! 1. A chunk that is not there is all zeros.
//! 2. `raw` holds the ranges that were allocated and never written. They read as zeros; a crash fills them.

use super::{Rng, mix};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

const CHUNK_SIZE: usize = 4096;

/// A part of a file, with its hash once somebody wanted it: most chunks are the same in many worlds.
#[derive(Debug)]
struct Chunk {
    bytes: [u8; CHUNK_SIZE],
    hash: OnceLock<Option<u64>>,
}

impl Default for Chunk {
    fn default() -> Chunk {
        Chunk { bytes: [0; CHUNK_SIZE], hash: OnceLock::new() }
    }
}

impl Clone for Chunk {
    fn clone(&self) -> Chunk {
        Chunk { bytes: self.bytes, hash: OnceLock::new() }
    }
}

impl Chunk {
    /// The bytes of a chunk that nobody else has, to be changed.
    fn change(chunk: &mut Arc<Chunk>) -> &mut [u8; CHUNK_SIZE] {
        let chunk = Arc::make_mut(chunk);
        chunk.hash.take();
        &mut chunk.bytes
    }

    /// `None` for a chunk of zeros.
    fn hash(&self) -> Option<u64> {
        *self.hash.get_or_init(|| hash_of(&self.bytes))
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) size: u64,
    chunks: Vec<Option<Arc<Chunk>>>,
    raw: Vec<Range<u64>>,
}

impl Content {
    /// Copies out what lies in the file and says how much that was.
    pub(super) fn read(&self, bytes: &mut [u8], offset: u64) -> usize {
        let count = self.size.saturating_sub(offset).min(bytes.len() as u64) as usize;
        for (index, inside, part) in pieces(offset, count) {
            let target = &mut bytes[part];
            match self.chunks.get(index).and_then(Option::as_ref) {
                Some(chunk) => target.copy_from_slice(&chunk.bytes[inside]),
                None => target.fill(0),
            }
        }
        count
    }

    /// Puts bytes in place. They may lie beyond the size, which stays; `cut` removes what is left there.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) {
        self.remove_raw(offset..offset + bytes.len() as u64);
        for (index, inside, part) in pieces(offset, bytes.len()) {
            if self.chunks.len() <= index {
                self.chunks.resize(index + 1, None);
            }
            let chunk = self.chunks[index].get_or_insert_with(Arc::default);
            Chunk::change(chunk)[inside].copy_from_slice(&bytes[part]);
        }
    }

    /// Makes a range zeros. The size stays.
    pub(super) fn punch(&mut self, range: Range<u64>) {
        let end = range.end.min((self.chunks.len() * CHUNK_SIZE) as u64);
        for (index, inside, _) in pieces(range.start, end.saturating_sub(range.start) as usize) {
            if inside.len() == CHUNK_SIZE {
                self.chunks[index] = None;
            } else if let Some(chunk) = &mut self.chunks[index] {
                Chunk::change(chunk)[inside].fill(0);
            }
        }
        self.remove_raw(range);
    }

    /// Lengthens the file; what is new is zeros, or raw. Never cuts it.
    pub(super) fn grow(&mut self, size: u64, raw: bool) {
        if size > self.size {
            if raw {
                self.add_raw(self.size..size);
            }
            self.size = size;
        }
    }

    /// Cuts the file to at most `size` bytes, and forgets all bytes behind that.
    pub(super) fn cut(&mut self, size: u64) {
        self.size = self.size.min(size);
        self.punch(size..u64::MAX);
        self.chunks.truncate(size.div_ceil(CHUNK_SIZE as u64) as usize);
    }

    /// Takes space for a range. Within the file, holes become raw; what is written stays.
    pub(super) fn allocate(&mut self, range: Range<u64>) {
        let inside = range.start.min(self.size)..range.end.min(self.size);
        for (index, part, _) in pieces(inside.start, (inside.end - inside.start) as usize) {
            if self.chunks.get(index).is_none_or(Option::is_none) {
                let start = (index * CHUNK_SIZE) as u64;
                self.add_raw(start + part.start as u64..start + part.end as u64);
            }
        }
        if range.end > self.size {
            self.size = self.size.max(range.start);
            self.grow(range.end, true);
        }
    }

    pub(super) fn is_raw(&self) -> bool {
        !self.raw.is_empty()
    }

    /// Fills what was never written with what the device held before, and forgets all bytes behind the end.
    pub(super) fn settle(&mut self, garbage: &Garbage, removed: &[Arc<Content>]) {
        self.cut(self.size);
        for range in std::mem::take(&mut self.raw) {
            let mut offset = range.start;
            while offset < range.end {
                let end = range.end.min((offset / CHUNK_SIZE as u64 + 1) * CHUNK_SIZE as u64);
                let mut bytes = [0; CHUNK_SIZE];
                let bytes = &mut bytes[..(end - offset) as usize];
                garbage.fill(bytes, offset, removed);
                self.put(offset, bytes);
                offset = end;
            }
        }
    }

    /// A hash of the size and the bytes, the same whether zeros are written or holes.
    pub(super) fn hash(&self) -> u64 {
        let chunks = self.chunks.iter().enumerate().filter_map(|(index, chunk)| Some((index, chunk.as_ref()?)));
        chunks.fold(mix(self.size), |sum, (index, chunk)| match chunk.hash() {
            None => sum,
            Some(hash) => mix(sum ^ mix(hash ^ index as u64)),
        })
    }

    fn add_raw(&mut self, range: Range<u64>) {
        self.remove_raw(range.clone());
        // Mostly ranges come in order, and one that goes on where the last one ended becomes part of it.
        match self.raw.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ if !range.is_empty() => self.raw.push(range),
            _ => {}
        }
    }

    fn remove_raw(&mut self, range: Range<u64>) {
        if range.is_empty() || self.raw.iter().all(|raw| raw.end <= range.start || range.end <= raw.start) {
            return;
        }
        let parts =
            self.raw.iter().flat_map(|raw| [raw.start..raw.end.min(range.start), raw.start.max(range.end)..raw.end]);
        self.raw = parts.filter(|part| !part.is_empty()).collect();
    }
}

/// What is found after a crash in space that was allocated and never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Garbage {
    /// Zeros, as file systems that mark such space give them.
    Zeros,
    /// Bytes from a fixed pseudo-random pattern, never all zeros.
    Pattern(u64),
    /// What one of the files that were last removed, replaced or emptied had at the same place, the seed says which;
    /// the pattern beyond its end.
    Removed(u64),
}

impl Garbage {
    fn fill(&self, bytes: &mut [u8], offset: u64, removed: &[Arc<Content>]) {
        let (seed, from_removed) = match *self {
            Garbage::Zeros => return,
            Garbage::Pattern(seed) => (seed, 0),
            Garbage::Removed(seed) => {
                let removed = removed.get(seed as usize % removed.len().max(1));
                (seed, removed.map_or(0, |removed| removed.read(bytes, offset)))
            }
        };
        let mut rng = Rng::new(seed ^ mix(offset));
        for part in bytes[from_removed..].chunks_mut(8) {
            // No byte of the pattern is zero, so that even one byte of it is seen.
            let word = rng.next() | 0x0101_0101_0101_0101;
            part.copy_from_slice(&word.to_le_bytes()[..part.len()]);
        }
    }
}

/// `None` for a chunk of zeros.
fn hash_of(chunk: &[u8; CHUNK_SIZE]) -> Option<u64> {
    let (mut sum, mut any) = (0u64, 0);
    for word in chunk.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*word);
        any |= word;
        sum = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    (any != 0).then(|| mix(sum))
}

/// The pieces of a range by chunk: the chunk's index, the range in the chunk, and the range in the whole.
fn pieces(offset: u64, count: usize) -> impl Iterator<Item = (usize, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == count {
            return None;
        }
        let place = offset + done as u64;
        let (index, start) = ((place / CHUNK_SIZE as u64) as usize, (place % CHUNK_SIZE as u64) as usize);
        let part = done..count.min(done + CHUNK_SIZE - start);
        done = part.end;
        Some((index, start..start + part.len(), part))
    })
}
