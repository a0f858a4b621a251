//! What a cache is asked, and what it promises.

use super::{Change, Fault, Habits, Key, Stamp, Value};

/// What remembers records nearer by than their store.
///
/// A cache promises, and [`super::check_cache`] looks whether it does:
///
/// 1. What it has of a record is the newest change that it was told, byte for byte. A change that is older than what
///    it has is ignored; a deleted record is not found.
/// 2. It may forget whatever it likes, but it never answers for one record with another.
/// 3. After `clear` it has nothing.
/// 4. It copies what it keeps; the memory is the caller's.
///
/// It is never the truth: where it fails it is bypassed and counted, and what it answers is compared with the stamp.
/// The database calls it from any thread, many at once, as far as its [`Habits`] allow, and it must not call that
/// database. A panic is a failed call.
pub trait Cache: Send + Sync {
    /// What messages call it.
    fn name(&self) -> String;

    /// How it may be called.
    fn habits(&self) -> Habits;

    /// A record was saved, fetched or deleted.
    fn store(&self, change: &Change<'_>) -> Result<(), Fault>;

    /// Gives a record to `reply`, if it is there.
    fn fetch(&self, key: Key, reply: &mut CacheReply<'_>) -> Result<(), Fault>;

    /// Forgets everything.
    fn clear(&self) -> Result<(), Fault>;

    /// What it says of itself.
    fn figures(&self) -> CacheFigures {
        CacheFigures::default()
    }
}

/// A cache's own figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// Records in it.
    pub records: u64,
    /// Bytes that they take.
    pub bytes: u64,
    /// Records that went for want of room.
    pub evicted: u64,
}

/// Where a cached record goes.
pub struct CacheReply<'a> {
    pub(super) record_size: usize,
    /// The record, then its null bitmap.
    pub(super) bytes: &'a mut [u8],
    pub(super) stamp: Option<Stamp>,
    /// An answer was refused.
    pub(super) refused: bool,
}

impl CacheReply<'_> {
    /// True if the record was put.
    pub fn is_there(&self) -> bool {
        self.stamp.is_some()
    }

    /// The record. Not called where it is not there. False: the answer is refused.
    pub fn put(&mut self, stamp: Stamp, value: Value<'_>) -> bool {
        let (record, nulls) = self.bytes.split_at_mut(self.record_size);
        if self.stamp.is_some() || value.record.len() != record.len() || value.nulls.len() != nulls.len() {
            self.refused = true;
            return false;
        }
        record.copy_from_slice(value.record);
        nulls.copy_from_slice(value.nulls);
        self.stamp = Some(stamp);
        true
    }
}
