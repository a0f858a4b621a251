//! Numbers as bytes, little-endian, one after the other.
//!
//! Writing appends to a `Vec`; reading takes from the front of a slice and answers `None` where the bytes end, so
//! that a decoder of hostile bytes is a chain of `?`.

/// Appends numbers to a buffer.
pub trait Put {
    /// Appends one byte string as it is.
    fn put(&mut self, bytes: &[u8]);
    /// Appends bytes, and zeros up to the next multiple of 8.
    fn put_padded(&mut self, bytes: &[u8]) {
        self.put(bytes);
        self.put(&[0; 8][..round_up_8(bytes.len()) - bytes.len()]);
    }
    /// Appends a 32-bit number.
    fn put_u32(&mut self, number: u32) {
        self.put(&number.to_le_bytes());
    }
    /// Appends a 64-bit number.
    fn put_u64(&mut self, number: u64) {
        self.put(&number.to_le_bytes());
    }
}

impl Put for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Takes numbers from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a>(pub &'a [u8]);

impl<'a> Take<'a> {
    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// The next four bytes as a number.
    pub fn u32(&mut self) -> Option<u32> {
        let bytes = self.bytes(4)?;
        Some(u32::from_le_bytes(bytes.try_into().expect("four bytes were taken")))
    }

    /// The next eight bytes as a number.
    pub fn u64(&mut self) -> Option<u64> {
        let bytes = self.bytes(8)?;
        Some(u64::from_le_bytes(bytes.try_into().expect("eight bytes were taken")))
    }

    /// True when nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The next multiple of 8. Wal frames and slots are 8-byte aligned.
pub const fn round_up_8(size: usize) -> usize {
    (size + 7) & !7
}
