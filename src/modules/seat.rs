//! How a module is called: by which thread, how many at once, never by itself, and not after its end.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::ThreadId;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::os::sync::{AtomicUsize, Mutex, Ordering, RwLock, sleep, thread_local};

use super::{Fault, Habits};

thread_local! {
    /// The databases whose modules are running on this thread, the innermost last.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Refuses whatever a module asks of the database that is calling it.
pub(crate) fn refuse_inside(database: usize) -> Result<()> {
    let is_inside = INSIDE.try_with(|inside| inside.borrow().contains(&database)).unwrap_or(false);
    if !is_inside {
        return Ok(());
    }
    Err(Error::Misuse("a module must not call the database that is calling it".into()))
}

/// A module's place in a database.
pub(super) struct Seat<M> {
    /// None once the database was closed: a module ends there, though handles of the database are left.
    module: RwLock<Option<M>>,
    /// What messages call it: "the store plain".
    name: String,
    habits: Habits,
    /// The database, as `refuse_inside` knows it.
    database: usize,
    opened_by: ThreadId,
    one: Mutex<()>,
    calls: AtomicUsize,
}

impl<M: Clone> Seat<M> {
    pub fn new(module: M, name: String, habits: Habits, database: usize) -> Seat<M> {
        Seat {
            module: RwLock::new(Some(module)),
            name,
            habits,
            database,
            opened_by: std::thread::current().id(),
            one: Mutex::new(()),
            calls: AtomicUsize::new(0),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn habits(&self) -> Habits {
        self.habits
    }

    /// Refuses a thread on which it cannot be called.
    pub fn refuse_elsewhere(&self) -> Result<()> {
        if self.habits.opening_thread && std::thread::current().id() != self.opened_by {
            let text = format!("{} works only on the thread that opened the database", self.name);
            return Err(Error::WrongThread(text.into()));
        }
        Ok(())
    }

    /// Calls the module. The outer error says that it could not be called, the inner one what it says itself.
    pub fn call<T>(
        &self,
        act: impl FnOnce(&M) -> std::result::Result<T, Fault>,
    ) -> Result<std::result::Result<T, Fault>> {
        // It would wait for the call that it is in.
        refuse_inside(self.database)?;
        self.refuse_elsewhere()?;
        // Let go before whoever closes hears that the call has ended.
        let (_running, module) = self.enter()?;
        let _alone = self.habits.one_at_a_time.then(|| self.one.lock());
        let _inside = Inside::enter(self.database);
        let answer = catch_unwind(AssertUnwindSafe(|| act(&module)));
        Ok(answer.unwrap_or_else(|_| Err(Fault::Ambiguous("it panicked".to_owned()))))
    }

    fn enter(&self) -> Result<(Running<'_>, M)> {
        let module = self.module.read();
        let module = module.as_ref().ok_or_else(|| Error::Closed("the database was closed".into()))?;
        // Under the lock, so that whoever closes counts it.
        self.calls.fetch_add(1, Ordering::SeqCst);
        Ok((Running(&self.calls), module.clone()))
    }

    /// Waits for running calls, and lets the module go; later calls say `Closed`.
    pub fn close(&self) {
        let module = self.module.write().take();
        while self.calls.load(Ordering::SeqCst) > 0 {
            sleep(Duration::from_micros(50));
        }
        drop(module);
    }
}

struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Inside;

impl Inside {
    fn enter(database: usize) -> Inside {
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(database));
        Inside
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().pop());
    }
}
