//! One opening of an engine, and the list of engines that are open in this process.
//!
//! What always holds here:
//!
//! 1. One folder has at most one engine in a process. Descriptors of one process do not lock each other out
//!    reliably, so this list does, by the folder's identity.
//! 2. An engine is opened and shut down under its entry's lock; openings of other folders do not wait for it.
//! 3. A session counts its running writes. Closing waits for them. Reads need no count: what they read stays in
//!    place until the last handle is gone.
//! 4. In a forked child nothing is touched: every call says `Forked`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crossbeam::utils::CachePadded;

use crate::error::{Error, Result};
use crate::memory;
use crate::os::sync::{AtomicBool, AtomicUsize, Mutex, Ordering, sleep};
use crate::os::{Disk, FileIdentity, ForkMark, RealDisk};

use super::engine::Engine;
use super::options::OpenOptions;

/// The engines of this process.
static ENGINES: LazyLock<Mutex<HashMap<FileIdentity, Arc<Mutex<Shared>>>>> = LazyLock::new(Mutex::default);

/// One folder's engine, while it is open.
#[derive(Default)]
struct Shared {
    engine: Option<Arc<Engine>>,
    options: OpenOptions,
    sessions: usize,
}

/// One opening of a database.
pub struct Session {
    engine: Arc<Engine>,
    /// The folder, where it is a real one that was opened by its path.
    folder: Option<FileIdentity>,
    shared: Arc<Mutex<Shared>>,
    mark: ForkMark,
    closed: AtomicBool,
    /// On a cache line of its own: what readers look at must not move with every write.
    writes: CachePadded<AtomicUsize>,
}

/// A running write, until it is dropped.
pub struct Writing<'a>(&'a Session);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.writes.fetch_sub(1, Ordering::Release);
    }
}

impl Session {
    /// Opens the folder's engine, or shares the one that is open.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Arc<Session>> {
        let name = path.display();
        let disk =
            RealDisk::open(path, !options.must_exist && !options.read_only).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound if options.must_exist || options.read_only => {
                    Error::NotFound(format!("there is no database {name}").into())
                }
                std::io::ErrorKind::NotFound => {
                    Error::NotFound(format!("the folder that is to hold {name} does not exist").into())
                }
                _ => Error::io("open the folder", &name.to_string(), &error),
            })?;
        if let (Ok(Some(kind)), false) = (disk.network_file_system(), options.force) {
            let text = format!(
                "{name} is on a network file system ({kind}), where locks and syncs may not hold; \
                 force it if you know better"
            );
            return Err(Error::Unsupported(text.into()));
        }
        let folder = disk.identity();
        let shared = {
            let mut engines = ENGINES.lock();
            // Whoever opens a folder here has its entry too. In a fork the parent's engines stay where they are.
            let is_used = |shared: &Mutex<Shared>| shared.try_lock().is_none_or(|entry| entry.engine.is_some());
            engines.retain(|_, shared| Arc::strong_count(shared) > 1 || is_used(shared));
            engines.try_reserve(1).map_err(memory::refused("the list of open databases"))?;
            Arc::clone(engines.entry(folder).or_default())
        };
        Session::enter(shared, Some(folder), options, Arc::new(disk))
    }

    /// Opens an engine of its own on a disk.
    pub fn open_on(disk: Arc<dyn Disk>, options: &OpenOptions) -> Result<Arc<Session>> {
        Session::enter(Arc::default(), None, options, disk)
    }

    fn enter(
        shared: Arc<Mutex<Shared>>,
        folder: Option<FileIdentity>,
        options: &OpenOptions,
        disk: Arc<dyn Disk>,
    ) -> Result<Arc<Session>> {
        let mark = ForkMark::new().map_err(|error| Error::io("prepare", "fork detection", &error))?;
        let mut entry = shared.lock();
        // An engine that a fork copied from the parent is not this process's.
        if entry.engine.as_ref().is_some_and(|engine| engine.is_forked()) {
            std::mem::forget(entry.engine.take());
            entry.sessions = 0;
        }
        let engine = match &entry.engine {
            Some(engine) if Shared::same(&entry.options, options) => Arc::clone(engine),
            Some(_) => {
                let text = format!("{} is open in this process with other options", disk.describe());
                return Err(Error::Busy(text.into()));
            }
            None => {
                let engine = Engine::open(disk, options, mark)?;
                entry.engine = Some(Arc::clone(&engine));
                entry.options = options.clone();
                engine
            }
        };
        entry.sessions += 1;
        drop(entry);
        let (closed, writes) = (AtomicBool::new(false), CachePadded::default());
        Ok(Arc::new(Session { engine, folder, shared, mark, closed, writes }))
    }

    /// The engine, whether or not the session is closed.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The folder's identity, where it was opened by its path.
    pub fn folder(&self) -> Option<FileIdentity> {
        self.folder
    }

    /// Admits a read.
    #[inline]
    pub fn read(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) || self.mark.forked() {
            return Err(self.refusal());
        }
        Ok(())
    }

    /// Admits a write, or whatever else closing must wait for.
    pub fn write(&self) -> Result<Writing<'_>> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        let writing = Writing(self);
        if self.closed.load(Ordering::SeqCst) || self.mark.forked() {
            return Err(self.refusal());
        }
        Ok(writing)
    }

    /// Closes the session; the last one shuts the engine down.
    pub fn close(&self) -> Result<()> {
        if self.mark.forked() {
            return Err(self.refusal());
        }
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        while self.writes.load(Ordering::Acquire) > 0 {
            sleep(Duration::from_micros(50));
        }
        let mut entry = self.shared.lock();
        entry.sessions -= 1;
        if entry.sessions > 0 {
            return self.engine.settle();
        }
        entry.engine = None;
        self.engine.shut_down()
    }

    #[cold]
    fn refusal(&self) -> Error {
        if self.mark.forked() {
            let text = "this process is a fork of the one that opened the database; open it again here";
            return Error::Forked(text.into());
        }
        Error::Closed("the database was closed".into())
    }
}

impl Shared {
    /// Whether a second opening may share the engine: it must exist, so whether it had to does not matter.
    fn same(one: &OpenOptions, other: &OpenOptions) -> bool {
        let plain = |options: &OpenOptions| OpenOptions { must_exist: false, force: false, ..options.clone() };
        plain(one) == plain(other)
    }
}
