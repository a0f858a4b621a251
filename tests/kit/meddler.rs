//! A disk that asks before it acts: every call goes through a hook, which may let it pass, fail it, hold it up for as
//! long as it likes, or lose what it writes. Everything else is left to the disk behind it.

#![allow(dead_code, reason = "each test file uses its own part of this one")]

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use diamonddb::os::{Disk, DiskFile, DiskLock, Map, Open};

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    Open(Open),
    Read,
    Write,
    /// `grows`: behind the end of the file.
    Allocate {
        grows: bool,
    },
    SetSize,
    Punch,
    Sync,
    SyncFolder,
    Rename,
    Remove,
}

/// What is asked before each call.
pub trait Hook: Send + Sync + 'static {
    fn before(&self, call: Call, name: &str) -> io::Result<()>;

    /// A file was closed.
    fn closed(&self, _name: &str) {}

    /// True if a write to this file is to be lost, though it is said to be done.
    fn loses(&self, _name: &str) -> bool {
        false
    }
}

pub struct Meddler {
    disk: Arc<dyn Disk>,
    hook: Arc<dyn Hook>,
}

impl Meddler {
    pub fn new(disk: Arc<dyn Disk>, hook: Arc<dyn Hook>) -> Arc<Meddler> {
        Arc::new(Meddler { disk, hook })
    }
}

impl Disk for Meddler {
    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.hook.before(Call::Open(how), name)?;
        let file = self.disk.open(name, how)?;
        Ok(Arc::new(MeddledFile { name: name.to_owned(), file, hook: Arc::clone(&self.hook) }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.hook.before(Call::Rename, from)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.hook.before(Call::Remove, name)?;
        self.disk.remove(name)
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        self.disk.make_folder(name)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.hook.before(Call::SyncFolder, folder)?;
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

struct MeddledFile {
    name: String,
    file: Arc<dyn DiskFile>,
    hook: Arc<dyn Hook>,
}

impl Drop for MeddledFile {
    fn drop(&mut self) {
        self.hook.closed(&self.name);
    }
}

impl DiskFile for MeddledFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.hook.before(Call::Read, &self.name)?;
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.hook.before(Call::Write, &self.name)?;
        if self.hook.loses(&self.name) {
            return Ok(bytes.len());
        }
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, offset: u64, size: u64) -> io::Result<()> {
        let grows = offset + size > self.file.size()?;
        self.hook.before(Call::Allocate { grows }, &self.name)?;
        self.file.allocate(offset, size)
    }

    fn punch(&self, offset: u64, size: u64) -> io::Result<()> {
        self.hook.before(Call::Punch, &self.name)?;
        self.file.punch(offset, size)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.hook.before(Call::SetSize, &self.name)?;
        self.file.set_size(size)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn sync(&self) -> io::Result<()> {
        self.hook.before(Call::Sync, &self.name)?;
        self.file.sync()
    }

    fn map(&self, size: u64) -> io::Result<Option<Map>> {
        self.file.map(size)
    }
}

/// Holds up syncs, of files and folders, while it is shut.
#[derive(Default)]
pub struct Gate {
    /// How many syncs may still pass; `None`: all.
    left: Mutex<Option<usize>>,
    changed: Condvar,
    held: AtomicUsize,
}

impl Gate {
    /// Shuts the gate after `count` more syncs.
    pub fn shut_after(&self, count: usize) {
        *self.left.lock().unwrap() = Some(count);
    }

    /// Lets everyone pass.
    pub fn open(&self) {
        *self.left.lock().unwrap() = None;
        self.changed.notify_all();
    }

    /// How many are held up now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }
}

impl Hook for Gate {
    fn before(&self, call: Call, _name: &str) -> io::Result<()> {
        if !matches!(call, Call::Sync | Call::SyncFolder) {
            return Ok(());
        }
        let mut left = self.left.lock().unwrap();
        while *left == Some(0) {
            self.held.fetch_add(1, Ordering::SeqCst);
            left = self.changed.wait(left).unwrap();
            self.held.fetch_sub(1, Ordering::SeqCst);
        }
        if let Some(count) = &mut *left {
            *count -= 1;
        }
        Ok(())
    }
}

/// Has room for so many more allocations and new files; `i64::MAX` is plenty.
pub struct Room(pub AtomicI64);

impl Hook for Room {
    fn before(&self, call: Call, _name: &str) -> io::Result<()> {
        let takes = matches!(call, Call::Allocate { .. } | Call::Open(Open::Create));
        if takes && self.0.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }
}

/// While it is set, no file grows; space that a file has already may be used.
#[derive(Default)]
pub struct Full(pub AtomicBool);

impl Hook for Full {
    fn before(&self, call: Call, _name: &str) -> io::Result<()> {
        if call == (Call::Allocate { grows: true }) && self.0.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }
}

/// Counts the open files of pages and sums, and keeps the highest count.
pub struct OpenFiles {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl OpenFiles {
    pub const fn new() -> OpenFiles {
        OpenFiles { now: AtomicUsize::new(0), most: AtomicUsize::new(0) }
    }

    /// How many were open at once.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

impl Hook for OpenFiles {
    fn before(&self, call: Call, name: &str) -> io::Result<()> {
        if matches!(call, Call::Open(_)) && name.starts_with("data/") {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
        }
        Ok(())
    }

    fn closed(&self, name: &str) {
        if name.starts_with("data/") {
            self.now.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// While it is set, writes of sums are lost, and no file of pages can be synced: a checkpoint ends between the two.
#[derive(Default)]
pub struct SumsLost(pub AtomicBool);

impl Hook for SumsLost {
    fn before(&self, call: Call, name: &str) -> io::Result<()> {
        if call == Call::Sync && name.starts_with("data/") && self.0.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }

    fn loses(&self, name: &str) -> bool {
        name.ends_with(".sum") && self.0.load(Ordering::SeqCst)
    }
}

/// While it is set, no sync of the manifest succeeds.
#[derive(Default)]
pub struct ManifestUnsynced(pub AtomicBool);

impl Hook for ManifestUnsynced {
    fn before(&self, call: Call, name: &str) -> io::Result<()> {
        if call == Call::Sync && name == "MANIFEST" && self.0.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        Ok(())
    }
}
