//! One opening of an engine, and the list of engines that are open in this process.
//!
//! What always holds here:
//!
//! 1. One folder has at most one engine in a process. Descriptors of one process do not lock each other out
//!    reliably, so this list does, by the folder's identity.
//! 2. An engine is opened and shut down under its entry's lock; openings of other folders do not wait for it.
//! 3. A session counts its running writes. Closing waits for them. Reads need no count: what they read stays in
//!    place until the last handle is gone.
//! 4. In a forked child nothing of the parent's is touched: every call says `Forked`, and the child has a list of its
//!    own.
//! 5. A pin has a session of its own, so the engine stays until the last pin is closed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::memory;
use crate::os::sync::{AtomicBool, Mutex, Ordering, sleep};
use crate::os::{Disk, FileIdentity, ForkMark, Lane, Lanes, PerProcess, RealDisk};

use super::engine::Engine;
use super::options::OpenOptions;

/// The engines of this process. An entry lives as long as a session of it, or a handle that hangs on one.
static ENGINES: PerProcess<Mutex<HashMap<FileIdentity, Weak<Mutex<Shared>>>>> = PerProcess::empty();

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
    writes: Lanes,
}

/// A running write, until it is dropped.
pub struct Writing<'a>(&'a Session, Lane);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.writes.take_back(self.1, 1);
    }
}

impl Session {
    /// Opens the folder's engine, or shares the one that is open.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Arc<Session>> {
        if options.store.module().is_some() {
            let engine = || Engine::open_kept(options);
            return Session::enter(Arc::default(), None, options, &path.display().to_string(), engine);
        }
        let name = path.display();
        let disk =
            RealDisk::open(path, !options.must_exist && !options.read_only).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound if options.must_exist || options.read_only => {
                    Error::NotFound(format!("there is no database {name}").into())
                }
                std::io::ErrorKind::NotFound => {
                    Error::NotFound(format!("the folder that is to hold {name} does not exist").into())
                }
                std::io::ErrorKind::InvalidFilename => {
                    Error::Invalid(format!("no file system takes the path {name}: it is too long").into())
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
        let engine = || Engine::open(Arc::new(disk), options);
        Session::enter(entry_of(folder)?, Some(folder), options, &name.to_string(), engine)
    }

    /// Opens an engine of its own on a disk.
    pub fn open_on(disk: Arc<dyn Disk>, options: &OpenOptions) -> Result<Arc<Session>> {
        let name = disk.describe();
        Session::enter(Arc::default(), None, options, &name, || Engine::open(disk, options))
    }

    fn enter(
        shared: Arc<Mutex<Shared>>,
        folder: Option<FileIdentity>,
        options: &OpenOptions,
        name: &str,
        open: impl FnOnce() -> Result<Arc<Engine>>,
    ) -> Result<Arc<Session>> {
        let mark = ForkMark::new().map_err(|error| Error::io("prepare", "fork detection", &error))?;
        let mut entry = shared.lock();
        let engine = match &entry.engine {
            Some(engine) if Shared::same(&entry.options, options) => Arc::clone(engine),
            Some(_) => {
                let text = format!("{name} is open in this process with other options");
                return Err(Error::Busy(text.into()));
            }
            None => {
                let engine = open()?;
                entry.engine = Some(Arc::clone(&engine));
                entry.options = options.clone();
                engine
            }
        };
        entry.sessions += 1;
        drop(entry);
        let (closed, writes) = (AtomicBool::new(false), Lanes::default());
        Ok(Arc::new(Session { engine, folder, shared, mark, closed, writes }))
    }

    /// Another opening of the same engine, for what is to outlive this one. While a write of this one runs.
    pub fn share(&self) -> Arc<Session> {
        self.shared.lock().sessions += 1;
        let (engine, shared) = (Arc::clone(&self.engine), Arc::clone(&self.shared));
        let (closed, writes) = (AtomicBool::new(false), Lanes::default());
        Arc::new(Session { engine, folder: self.folder, shared, mark: self.mark, closed, writes })
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
        if self.may_read() { Ok(()) } else { Err(self.refusal()) }
    }

    /// True if `read` admits a read.
    #[inline]
    pub fn may_read(&self) -> bool {
        !self.closed.load(Ordering::Acquire) && !self.mark.forked()
    }

    /// Admits a write, or whatever else closing must wait for.
    pub fn write(&self) -> Result<Writing<'_>> {
        let writing = Writing(self, self.writes.add(1));
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
        // Closing would wait for the call that is here.
        self.engine.refuse_inside()?;
        if self.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        while self.writes.sum() > 0 {
            sleep(Duration::from_micros(50));
        }
        let mut entry = self.shared.lock();
        entry.sessions -= 1;
        if entry.sessions > 0 {
            return self.engine.settle();
        }
        entry.engine = None;
        // Modules end with the engine, though handles keep this entry.
        entry.options = OpenOptions::default();
        self.engine.shut_down()
    }

    /// Ends all writing of the engine, after a defect that may have left something half done in it.
    pub fn poison(&self, why: &str) {
        // A child has a copy of the engine, with locks in it that nobody releases any more.
        if !self.mark.forked() {
            self.engine.poison(why);
        }
    }

    /// Refuses a forked child, and nothing else.
    pub fn refuse_fork(&self) -> Result<()> {
        if self.mark.forked() { Err(self.refusal()) } else { Ok(()) }
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

impl Drop for Session {
    /// Rule 4: what a fork has copied may be halfway through a change by another thread, which is not there to finish
    /// it. So a child keeps it as it is.
    fn drop(&mut self) {
        if self.mark.forked() {
            std::mem::forget((Arc::clone(&self.engine), Arc::clone(&self.shared)));
        }
    }
}

/// The entry of a folder, found or made. Dead ones are forgotten on the way, so that there are never many more than
/// folders in use.
fn entry_of(folder: FileIdentity) -> Result<Arc<Mutex<Shared>>> {
    let mut engines = ENGINES.get().map_err(|error| Error::io("prepare", "fork detection", &error))?.lock();
    if let Some(entry) = engines.get(&folder).and_then(Weak::upgrade) {
        return Ok(entry);
    }
    engines.retain(|_, entry| entry.strong_count() > 0);
    engines.try_reserve(1).map_err(memory::refused("the list of open databases"))?;
    let entry = Arc::default();
    engines.insert(folder, Arc::downgrade(&entry));
    Ok(entry)
}

impl Shared {
    /// Whether a second opening may share the engine: it must exist, so whether it had to does not matter.
    fn same(one: &OpenOptions, other: &OpenOptions) -> bool {
        let plain = |options: &OpenOptions| OpenOptions { must_exist: false, force: false, ..options.clone() };
        plain(one) == plain(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_no_longer_in_use_are_forgotten() {
        let top = std::env::temp_dir().join(format!("diamonddb-session-{}", std::process::id()));
        std::fs::create_dir_all(&top).unwrap();
        let open = |name: &str| Session::open(&top.join(name), &OpenOptions::default()).unwrap();
        let listed = |session: &Session| ENGINES.get().unwrap().lock().contains_key(&session.folder().unwrap());
        let (kept, again) = (open("kept"), open("kept"));
        let handle = open("handle");
        handle.close().unwrap();
        again.close().unwrap();
        for _ in 0..5 {
            let brief = open("brief");
            assert!(listed(&brief));
            brief.close().unwrap();
            let folder = brief.folder().unwrap();
            drop(brief);
            // The next opening of whatever folder forgets it; of those in use it forgets none.
            open("other").close().unwrap();
            assert!(!ENGINES.get().unwrap().lock().contains_key(&folder));
            assert!(listed(&kept));
            assert!(listed(&handle), "it shares its entry with an opening to come");
        }
        kept.close().unwrap();
        std::fs::remove_dir_all(&top).unwrap();
    }
}
