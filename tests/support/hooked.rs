//! Stores and caches that ask a test before and after each call: it may wait there, or say how the call fails.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use diamonddb::modules::{Cache, CacheReply, Change, Fault, Fetched, Found, Habits, Item, Key, Store};

/// What a store is asked.
pub enum Asked<'a> {
    MakeTable,
    UpdateMeta,
    Store(&'a [Change<'a>]),
    Fetch(&'a [u64]),
    Persist,
}

/// What a cache is asked.
pub enum Told<'a> {
    Store(&'a Change<'a>),
    Fetch(Key),
    Clear,
}

type StoreHook = Box<dyn Fn(&Asked<'_>) -> Result<(), Fault> + Send + Sync>;
type CacheHook = Box<dyn Fn(&Told<'_>) -> Result<(), Fault> + Send + Sync>;

/// A store with a hook before each call, and one after it.
pub struct HookedStore {
    inner: Arc<dyn Store>,
    habits: Habits,
    before: StoreHook,
    after: StoreHook,
}

impl HookedStore {
    pub fn new(inner: Arc<dyn Store>) -> HookedStore {
        let habits = inner.habits();
        HookedStore { inner, habits, before: Box::new(|_| Ok(())), after: Box::new(|_| Ok(())) }
    }

    pub fn habits(self, habits: Habits) -> HookedStore {
        HookedStore { habits, ..self }
    }

    pub fn before(self, hook: impl Fn(&Asked<'_>) -> Result<(), Fault> + Send + Sync + 'static) -> HookedStore {
        HookedStore { before: Box::new(hook), ..self }
    }

    pub fn after(self, hook: impl Fn(&Asked<'_>) -> Result<(), Fault> + Send + Sync + 'static) -> HookedStore {
        HookedStore { after: Box::new(hook), ..self }
    }

    fn around(&self, asked: &Asked<'_>, act: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        (self.before)(asked)?;
        act()?;
        (self.after)(asked)
    }
}

impl Store for HookedStore {
    fn name(&self) -> String {
        "hooked".into()
    }

    fn habits(&self) -> Habits {
        self.habits
    }

    fn initialize(&self, found: &mut Found) -> Result<(), Fault> {
        self.inner.initialize(found)
    }

    fn make_table(&self, table: u32, meta: &str) -> Result<(), Fault> {
        self.around(&Asked::MakeTable, || self.inner.make_table(table, meta))
    }

    fn update_meta(&self, tables: &str) -> Result<(), Fault> {
        self.around(&Asked::UpdateMeta, || self.inner.update_meta(tables))
    }

    fn store(&self, changes: &[Change<'_>], items: &mut [Item]) -> Result<(), Fault> {
        self.around(&Asked::Store(changes), || self.inner.store(changes, items))
    }

    fn fetch(&self, table: u32, ids: &[u64], found: &mut Fetched<'_>) -> Result<(), Fault> {
        self.around(&Asked::Fetch(ids), || self.inner.fetch(table, ids, found))
    }

    fn persist_all(&self) -> Result<(), Fault> {
        self.around(&Asked::Persist, || self.inner.persist_all())
    }
}

/// A cache with a hook before each call, and one after it.
pub struct HookedCache {
    pub inner: Arc<dyn Cache>,
    habits: Habits,
    before: CacheHook,
    after: CacheHook,
}

impl HookedCache {
    pub fn new(inner: Arc<dyn Cache>) -> HookedCache {
        let habits = inner.habits();
        HookedCache { inner, habits, before: Box::new(|_| Ok(())), after: Box::new(|_| Ok(())) }
    }

    pub fn habits(self, habits: Habits) -> HookedCache {
        HookedCache { habits, ..self }
    }

    pub fn before(self, hook: impl Fn(&Told<'_>) -> Result<(), Fault> + Send + Sync + 'static) -> HookedCache {
        HookedCache { before: Box::new(hook), ..self }
    }

    pub fn after(self, hook: impl Fn(&Told<'_>) -> Result<(), Fault> + Send + Sync + 'static) -> HookedCache {
        HookedCache { after: Box::new(hook), ..self }
    }

    fn around(&self, told: &Told<'_>, act: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
        (self.before)(told)?;
        act()?;
        (self.after)(told)
    }
}

impl Cache for HookedCache {
    fn name(&self) -> String {
        "hooked".into()
    }

    fn habits(&self) -> Habits {
        self.habits
    }

    fn store(&self, change: &Change<'_>) -> Result<(), Fault> {
        self.around(&Told::Store(change), || self.inner.store(change))
    }

    fn fetch(&self, key: Key, reply: &mut CacheReply<'_>) -> Result<(), Fault> {
        self.around(&Told::Fetch(key), || self.inner.fetch(key, reply))
    }

    fn clear(&self) -> Result<(), Fault> {
        self.around(&Told::Clear, || self.inner.clear())
    }
}

/// Calls that come to it wait until it is opened; then it stays open.
#[derive(Default)]
pub struct Gate {
    state: Mutex<(bool, usize)>,
    moved: Condvar,
}

/// Far more than anything here takes.
const TOO_LONG: Duration = Duration::from_secs(20);

impl Gate {
    /// Waits until it is open.
    pub fn pass(&self) {
        assert!(self.pass_or_go_on(TOO_LONG), "nobody opened the gate");
    }

    /// The same, though not for ever; true: it is open.
    pub fn pass_or_go_on(&self, patience: Duration) -> bool {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.moved.notify_all();
        let (state, _) = self.moved.wait_timeout_while(state, patience, |state| !state.0).unwrap();
        state.0
    }

    /// Waits until so many have come.
    pub fn wait_for(&self, count: usize) {
        let state = self.state.lock().unwrap();
        let (state, _) = self.moved.wait_timeout_while(state, TOO_LONG, |state| state.1 < count).unwrap();
        assert!(state.1 >= count, "only {} came to the gate", state.1);
    }

    pub fn open(&self) {
        self.state.lock().unwrap().0 = true;
        self.moved.notify_all();
    }
}
