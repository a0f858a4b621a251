//! Memory whose size depends on data: on what a caller gives, on what a file says, on how much is kept.
//!
//! A host must not end because such a request is refused, so each is made here, or by `try_reserve` where it is
//! needed, and a refusal is `NoMemory` with what the memory was for. It comes before anything has changed: a commit
//! has all its memory before it gets its LSN, a checkpoint before it logs and writes.
//!
//! What has a fixed size, a block at most, is taken as all of Rust takes it. Where not even that is left, the process
//! ends as it does everywhere else.

use std::collections::TryReserveError;

use crate::error::{Error, Result};

/// The error for memory that was refused.
pub fn refused(what: &str) -> impl FnOnce(TryReserveError) -> Error {
    move |_| Error::NoMemory(format!("no memory for {what}").into())
}

/// `size` bytes of zeros.
pub fn zeros(size: usize, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let refused = |_| Error::NoMemory(format!("no memory for {what}: {size} bytes").into());
    bytes.try_reserve_exact(size).map_err(refused)?;
    bytes.resize(size, 0);
    Ok(bytes)
}

/// Room for `count` more items.
pub fn reserve<T>(items: &mut Vec<T>, count: usize, what: &str) -> Result<()> {
    items.try_reserve(count).map_err(refused(what))
}

/// All items as a vector. There may be fewer than `count`, and not more.
pub fn collect<T>(count: usize, items: impl Iterator<Item = T>, what: &str) -> Result<Vec<T>> {
    let mut all = Vec::new();
    all.try_reserve_exact(count).map_err(refused(what))?;
    all.extend(items.take(count));
    Ok(all)
}
