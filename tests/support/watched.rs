//! A disk that calls back in the middle of its work, so that a single thread can do things while another call runs.
//!
//! Only calls around which the engine promises to hold no lock that a commit needs are watched; [`Moment`] has them.
//!
//! It also notes whether a call failed that must end all writing (promise 7), so that tests can compare.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diamonddb::os::simulated::SimulatedDisk;
use diamonddb::os::{Disk, DiskFile, DiskLock, Map, Open};
use parking_lot::Mutex;

type Act = Box<dyn FnOnce() + Send>;

/// The calls that can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Calls of a checkpoint: before a write or sync of the manifest, the catalog or sums, and before a sync of a data
    /// file or of their folder.
    InCheckpoint,
    /// After a segment of the wal was synced, before its leader hears of it. Whoever waits for a sync of the wal then
    /// waits for ever.
    WalSynced,
    /// Before a read of a data file.
    DataRead,
}

/// A disk, and what is to be done during one of its calls.
pub struct WatchedDisk {
    disk: Arc<dyn Disk>,
    plan: Arc<Mutex<Plan>>,
    broken: Arc<Broken>,
}

/// What promise 7 says of the calls that failed so far.
#[derive(Default)]
struct Broken {
    /// A sync failed, or a write did, and not for want of room.
    surely: AtomicBool,
    /// A write failed for want of room: poison where the room was reserved before.
    perhaps: AtomicBool,
}

impl Broken {
    fn write<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && error.kind() != io::ErrorKind::Interrupted
        {
            let full = error.kind() == io::ErrorKind::StorageFull;
            if full { &self.perhaps } else { &self.surely }.store(true, Ordering::SeqCst);
        }
        result
    }

    fn sync(&self, result: io::Result<()>) -> io::Result<()> {
        if result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            self.surely.store(true, Ordering::SeqCst);
        }
        result
    }
}

#[derive(Default)]
struct Plan {
    moment: Option<Moment>,
    /// How many watched calls pass before `act` runs.
    countdown: usize,
    act: Option<Act>,
}

impl WatchedDisk {
    pub fn new(disk: Arc<SimulatedDisk>) -> Arc<WatchedDisk> {
        Arc::new(WatchedDisk { disk, plan: Arc::default(), broken: Arc::default() })
    }

    /// Whether all writing must have ended, by the calls that failed since the last opening; `None` where it may.
    pub fn must_be_poisoned(&self) -> Option<bool> {
        let surely = self.broken.surely.load(Ordering::SeqCst);
        (surely || !self.broken.perhaps.load(Ordering::SeqCst)).then_some(surely)
    }

    /// An opening begins: it starts anew.
    pub fn forget_failures(&self) {
        self.broken.surely.store(false, Ordering::SeqCst);
        self.broken.perhaps.store(false, Ordering::SeqCst);
    }

    /// Runs `act` at the call of this kind with the number `countdown` from now.
    pub fn during(&self, moment: Moment, countdown: usize, act: Act) {
        *self.plan.lock() = Plan { moment: Some(moment), countdown, act: Some(act) };
    }

    /// Takes the plan back. True if it was not carried out.
    pub fn call_off(&self) -> Option<Act> {
        self.plan.lock().act.take()
    }
}

fn notice(plan: &Mutex<Plan>, moment: Moment) {
    let act = {
        let mut plan = plan.lock();
        if plan.act.is_none() || plan.moment != Some(moment) {
            return;
        }
        if plan.countdown > 0 {
            plan.countdown -= 1;
            return;
        }
        plan.act.take()
    };
    // The plan is unlocked: what is done here uses the disk again.
    if let Some(act) = act {
        act();
    }
}

impl Disk for WatchedDisk {
    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.open(name, how)?;
        let kind = match name {
            "MANIFEST" | "data/1" => Kind::Root,
            _ if name.ends_with(".sum") => Kind::Sums,
            _ if name.starts_with("data/") => Kind::Data,
            _ if name.starts_with("wal/") => Kind::Wal,
            _ => Kind::Other,
        };
        let (plan, broken) = (Arc::clone(&self.plan), Arc::clone(&self.broken));
        Ok(Arc::new(WatchedFile { file, plan, broken, kind }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        self.disk.make_folder(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        if folder == "data" {
            notice(&self.plan, Moment::InCheckpoint);
        }
        self.broken.sync(self.disk.sync_folder(folder))
    }

    fn lock(&self, exclusive: bool) -> io::Result<Result<Box<dyn DiskLock>, Option<u32>>> {
        self.disk.lock(exclusive)
    }

    fn entropy(&self, bytes: &mut [u8]) {
        self.disk.entropy(bytes);
    }

    fn describe(&self) -> String {
        self.disk.describe()
    }
}

struct WatchedFile {
    file: Arc<dyn DiskFile>,
    plan: Arc<Mutex<Plan>>,
    broken: Arc<Broken>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The manifest and the catalog.
    Root,
    Sums,
    Data,
    Wal,
    Other,
}

impl DiskFile for WatchedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.kind == Kind::Data {
            notice(&self.plan, Moment::DataRead);
        }
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        // A page of a table is written under a lock that a bulk append needs.
        if matches!(self.kind, Kind::Root | Kind::Sums) {
            notice(&self.plan, Moment::InCheckpoint);
        }
        self.broken.write(self.file.write_at(bytes, offset))
    }

    fn allocate(&self, offset: u64, size: u64) -> io::Result<()> {
        self.file.allocate(offset, size)
    }

    fn punch(&self, offset: u64, size: u64) -> io::Result<()> {
        self.broken.write(self.file.punch(offset, size))
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_size(size)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn sync(&self) -> io::Result<()> {
        if matches!(self.kind, Kind::Root | Kind::Sums | Kind::Data) {
            notice(&self.plan, Moment::InCheckpoint);
        }
        self.broken.sync(self.file.sync())?;
        if self.kind == Kind::Wal {
            notice(&self.plan, Moment::WalSynced);
        }
        Ok(())
    }

    fn map(&self, size: u64) -> io::Result<Option<Map>> {
        self.file.map(size)
    }
}
