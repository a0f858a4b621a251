//! The bytes of one run, taken from the front: every choice of a target comes from here. Where they end, zeros follow.

/// What is left of them.
pub struct Feed<'a>(pub &'a [u8]);

impl<'a> Feed<'a> {
    /// True when every choice from here on is 0.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At most `count` bytes.
    pub fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    /// A number below `limit`, which is at least 1 and at most 65,536.
    pub fn below(&mut self, limit: usize) -> usize {
        let high = if limit > 256 { self.byte() } else { 0 };
        usize::from(u16::from_be_bytes([high, self.byte()])) % limit
    }

    /// A number of any size, more often one that means trouble: small, near a power of two, or near the largest.
    pub fn number(&mut self) -> u64 {
        let (kind, small) = (self.byte(), u64::from(self.byte()));
        match kind {
            0..128 => small,
            128..160 => small * 8,
            160..192 => small << 12,
            192..224 => (1_u64 << (small % 64)).wrapping_add(u64::from(kind % 8)).wrapping_sub(4),
            224..240 => u64::MAX - small,
            _ => self.bytes(8).iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        }
    }
}
