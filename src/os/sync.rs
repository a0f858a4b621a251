//! What threads share and wait on: locks, atomics, the futex, and threads themselves.
//!
//! The engine takes them from here and from nowhere else, so that they can be exchanged as a whole. In an ordinary
//! build they are parking_lot's, std's and the kernel's, under their own names. A build with `--cfg shuttle` takes
//! them from `scheduled.rs`, where every use of one is a moment at which a scheduler decides who runs next:
//! `tests/schedules.rs` runs the engine so, thousands of times, each time in another order that a seed repeats.

#[cfg(not(shuttle))]
pub use super::process::Futex;
#[cfg(not(shuttle))]
pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};
#[cfg(not(shuttle))]
pub use std::hint::spin_loop;
#[cfg(not(shuttle))]
pub use std::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence};
#[cfg(not(shuttle))]
pub use std::thread::{Builder, JoinHandle, sleep, yield_now};
#[cfg(not(shuttle))]
pub use std::thread_local;

#[cfg(shuttle)]
pub use super::scheduled::*;

// Orders are only names. Under shuttle every one of them means the strongest.
pub use std::sync::atomic::Ordering;
