//! The locks, atomics, futex and threads of `sync.rs`, under a deterministic scheduler (`--cfg shuttle`, for tests).
//!
//! Shuttle runs all threads of a test on one, and switches between them where one of these is used, as a seed says.
//! It has std's interfaces; what stands here gives them parking_lot's and the kernel's.
//!
//! 1. Time does not pass. To sleep is to let another run, and a wait with a timeout may time out at any moment.
//! 2. A wait without a timeout ends only when it was woken: a wake that is forgotten is reported as a deadlock.
//! 3. Orders of memory are not explored: every access is seen by all threads in the order in which it was made.

use std::ops::{Deref, DerefMut};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use shuttle::hint::spin_loop;
pub use shuttle::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, fence};
pub use shuttle::thread::{Builder, JoinHandle, yield_now};
pub use shuttle::thread_local;

/// Lets another thread run.
pub fn sleep(_time: Duration) {
    yield_now();
}

/// A lock that a panic does not poison.
#[derive(Debug, Default)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// An open lock around `value`.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { lock: self, held: Some(held) }
    }

    /// The lock, if nobody holds it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = self.0.try_lock().ok()?;
        Some(MutexGuard { lock: self, held: Some(held) })
    }
}

/// A held lock.
pub struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    /// `None` only while a [`Condvar`] waits.
    held: Option<shuttle::sync::MutexGuard<'a, T>>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.held.as_ref().expect("a guard in use is held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.held.as_mut().expect("a guard in use is held")
    }
}

/// What waits for a change of what a lock guards.
#[derive(Default)]
pub struct Condvar(shuttle::sync::Condvar);

impl Condvar {
    /// Lets the lock go until it is notified.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.held.take().expect("a guard in use is held");
        guard.held = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
    }

    /// Lets the lock go for a moment, which is how long any time takes here.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _time: Duration) {
        guard.held = None;
        yield_now();
        *guard = guard.lock.lock();
    }

    /// Wakes one who waits.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A lock for many readers or one writer.
#[derive(Default)]
pub struct RwLock<T>(shuttle::sync::RwLock<T>);

impl<T> RwLock<T> {
    /// An open lock around `value`.
    pub const fn new(value: T) -> RwLock<T> {
        RwLock(shuttle::sync::RwLock::new(value))
    }

    /// Waits for the writer.
    pub fn read(&self) -> shuttle::sync::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for everybody.
    pub fn write(&self) -> shuttle::sync::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number on which threads sleep until another changes it: the kernel's futex, waking in the order of sleeping.
pub struct Futex {
    value: AtomicU32,
    sleepers: Mutex<Vec<Sleeper>>,
}

struct Sleeper {
    mask: u32,
    thread: shuttle::thread::Thread,
}

impl Futex {
    /// A futex that holds `value`.
    pub const fn new(value: u32) -> Futex {
        Futex { value: AtomicU32::new(value), sleepers: Mutex::new(Vec::new()) }
    }

    /// The value now.
    pub fn load(&self, order: Ordering) -> u32 {
        self.value.load(order)
    }

    /// Adds to the value, wrapping, and returns what it was. Wakes nobody.
    pub fn fetch_add(&self, value: u32, order: Ordering) -> u32 {
        self.value.fetch_add(value, order)
    }

    /// Sleeps while the value is `expected`, until a wake whose mask shares a bit with `mask`. False after the
    /// timeout, which is over at any moment.
    pub fn wait(&self, expected: u32, mask: u32, timeout: Option<Duration>) -> bool {
        let me = shuttle::thread::current();
        {
            // To look and to fall asleep is one step: whoever changes the value and then wakes finds the sleeper.
            let mut sleepers = self.sleepers.lock();
            if self.value.load(Ordering::SeqCst) != expected {
                return true;
            }
            sleepers.push(Sleeper { mask, thread: me.clone() });
        }
        let sleeps = |sleeper: &Sleeper| sleeper.thread.id() == me.id();
        if timeout.is_some() {
            yield_now();
            let mut sleepers = self.sleepers.lock();
            let count = sleepers.len();
            sleepers.retain(|sleeper| !sleeps(sleeper));
            // Whoever is not there any more was woken.
            return sleepers.len() == count;
        }
        while self.sleepers.lock().iter().any(sleeps) {
            shuttle::thread::park();
        }
        true
    }

    /// Wakes at most `count` sleepers whose mask shares a bit with `mask`, and says how many.
    pub fn wake(&self, count: i32, mask: u32) -> u32 {
        let mut sleepers = self.sleepers.lock();
        let mut woken = Vec::new();
        sleepers.retain(|sleeper| {
            let wakes = woken.len() < count.max(0) as usize && sleeper.mask & mask != 0;
            if wakes {
                woken.push(sleeper.thread.clone());
            }
            !wakes
        });
        drop(sleepers);
        woken.iter().for_each(shuttle::thread::Thread::unpark);
        woken.len() as u32
    }
}

/// A moment at which another thread may run: the middle of a copy, say.
pub fn switch() {
    AtomicBool::new(false).load(Ordering::SeqCst);
}
