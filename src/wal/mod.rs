//! The write-ahead log: one sequence of checksummed frames, made durable for many writers at once.
//!
//! A frame is given its LSN and put into the open group by [`Wal::append`], which never waits for a disk; it is made
//! durable by [`Wal::wait`], in which the first of the waiting threads becomes the leader and writes and syncs for
//! all. What a frame means is the business of the floor above.
//!
//! What always holds here:
//!
//! 1. LSNs are dense, and their order is the order in the files.
//! 2. A frame is appended whole or not at all, and only where room for it was prepared before: a write into the wal
//!    cannot run out of disk space.
//! 3. One leader at a time writes and syncs, holding no lock; every member of its group gets its result.
//! 4. After a failed write or sync nothing is ever written again (`failed` is set for good).
//! 5. A commit goes into a new segment only where one more is ready for the next checkpoint, and room for the sums
//!    of all dirty pages is kept in the open segment or in the one behind it, and in the one that the next checkpoint
//!    begins: a full disk does not keep a checkpoint from making room.

mod commit;
pub mod frame;
pub mod replay;
pub mod salvage;
pub mod segment;

pub use commit::{Append, Cut, Durability, Need, PoisonOnPanic, Wal, WalOptions, WalStats};
