//! A disk that calls back in the middle of its work, so that a single thread can do things while a checkpoint runs.
//!
//! Only calls around which the engine promises to hold no lock that a commit needs are watched: writes and syncs of
//! data files, syncs of their folder, and writes of the manifest.

use std::io;
use std::sync::Arc;

use diamonddb::os::simulated::SimulatedDisk;
use diamonddb::os::{Disk, DiskFile, DiskLock, Map, Open};
use parking_lot::Mutex;

type Act = Box<dyn FnOnce() + Send>;

/// A disk, and what is to be done during one of its calls.
pub struct WatchedDisk {
    disk: Arc<dyn Disk>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default)]
struct Plan {
    /// How many watched calls pass before `act` runs.
    countdown: usize,
    act: Option<Act>,
}

impl WatchedDisk {
    pub fn new(disk: Arc<SimulatedDisk>) -> Arc<WatchedDisk> {
        Arc::new(WatchedDisk { disk, plan: Arc::default() })
    }

    /// Runs `act` just before the watched call number `countdown` from now.
    pub fn during(&self, countdown: usize, act: Act) {
        *self.plan.lock() = Plan { countdown, act: Some(act) };
    }

    /// Takes the plan back. True if it was not carried out.
    pub fn call_off(&self) -> Option<Act> {
        self.plan.lock().act.take()
    }
}

fn notice(plan: &Mutex<Plan>) {
    let act = {
        let mut plan = plan.lock();
        if plan.act.is_none() {
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
        let watched = name.starts_with("data/") || name == "MANIFEST";
        let plan = watched.then(|| Arc::clone(&self.plan));
        Ok(Arc::new(WatchedFile { file, plan, is_root: name == "MANIFEST" || name == "data/1" }))
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
            notice(&self.plan);
        }
        self.disk.sync_folder(folder)
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
    plan: Option<Arc<Mutex<Plan>>>,
    is_root: bool,
}

impl WatchedFile {
    fn notice(&self) {
        if let Some(plan) = &self.plan {
            notice(plan);
        }
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        // A page of a table is written under a lock that a bulk append needs.
        if self.is_root {
            self.notice();
        }
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, offset: u64, size: u64) -> io::Result<()> {
        self.file.allocate(offset, size)
    }

    fn punch(&self, offset: u64, size: u64) -> io::Result<()> {
        self.file.punch(offset, size)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_size(size)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn sync(&self) -> io::Result<()> {
        self.notice();
        self.file.sync()
    }

    fn map(&self, size: u64) -> io::Result<Option<Map>> {
        self.file.map(size)
    }
}
