//! A block device in memory with a volatile write cache, as a file: what was written since the last flush can be lost
//! in a power cut, each sector for itself.
//!
//! The file lies in a file system in user space (FUSE); a loop device makes it a disk, on which the machine's own file
//! systems are mounted. A flush of theirs arrives here as an `fsync`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    MountOption, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};

/// What survives or not as a whole.
const SECTOR_SIZE: usize = 512;

/// The name of the one file.
pub const FILE_NAME: &str = "disk";

/// The device is visible until this is dropped.
pub type Served = BackgroundSession;

/// The device.
#[derive(Clone, Default)]
pub struct Device(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// As of the last flush.
    durable: Vec<u8>,
    /// By sector: its contents since, oldest first.
    pending: BTreeMap<usize, Vec<Box<[u8]>>>,
    flushes: u64,
}

impl Device {
    /// A device with these contents.
    pub fn new(contents: Vec<u8>) -> Device {
        Device(Arc::new(Mutex::new(State { durable: contents, ..State::default() })))
    }

    /// Makes the device visible as `folder/disk`, until the session is dropped.
    pub fn serve(&self, folder: &Path) -> io::Result<Served> {
        let mut config = fuser::Config::default();
        config.mount_options = vec![MountOption::FSName("power".into())];
        fuser::spawn_mount(Files(self.clone()), folder, &config)
    }

    /// What a power cut at this moment leaves: of each sector that was written since the last flush, what it held
    /// then or any of what was written since, as `choose(how many)` says.
    pub fn cut(&self, mut choose: impl FnMut(u64) -> u64) -> Vec<u8> {
        let state = self.lock();
        let mut left = state.durable.clone();
        for (sector, contents) in &state.pending {
            if let Some(kept) = choose(contents.len() as u64 + 1).checked_sub(1) {
                left[sector * SECTOR_SIZE..][..SECTOR_SIZE].copy_from_slice(&contents[kept as usize]);
            }
        }
        left
    }

    /// How many flushes have reached the device, and how many sectors wait for the next.
    pub fn traffic(&self) -> (u64, usize) {
        let state = self.lock();
        (state.flushes, state.pending.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder panics")
    }
}

impl State {
    fn sector(&self, sector: usize) -> &[u8] {
        match self.pending.get(&sector) {
            Some(contents) => contents.last().expect("a sector is pending with contents"),
            None => &self.durable[sector * SECTOR_SIZE..][..SECTOR_SIZE],
        }
    }

    fn read(&self, offset: usize, size: usize) -> Vec<u8> {
        let end = (offset + size).min(self.durable.len());
        let sectors = offset / SECTOR_SIZE..end.div_ceil(SECTOR_SIZE);
        let bytes: Vec<u8> = sectors.clone().flat_map(|sector| self.sector(sector).to_vec()).collect();
        let start = offset - sectors.start * SECTOR_SIZE;
        bytes[start..start + end.saturating_sub(offset)].to_vec()
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let (sector, at) = ((offset + done) / SECTOR_SIZE, (offset + done) % SECTOR_SIZE);
            let count = (SECTOR_SIZE - at).min(bytes.len() - done);
            let mut contents: Box<[u8]> = self.sector(sector).into();
            contents[at..at + count].copy_from_slice(&bytes[done..done + count]);
            self.pending.entry(sector).or_default().push(contents);
            done += count;
        }
    }

    fn flush(&mut self) {
        for (sector, contents) in std::mem::take(&mut self.pending) {
            let newest = contents.last().expect("a sector is pending with contents");
            self.durable[sector * SECTOR_SIZE..][..SECTOR_SIZE].copy_from_slice(newest);
        }
        self.flushes += 1;
    }
}

/// The file system that shows the device.
struct Files(Device);

impl Files {
    fn attributes(&self, inode: INodeNo) -> FileAttr {
        let is_file = inode != INodeNo::ROOT;
        let size = if is_file { self.0.lock().durable.len() as u64 } else { 0 };
        FileAttr {
            ino: inode,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: if is_file { 0o600 } else { 0o700 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

const DISK: INodeNo = INodeNo(2);
const FOREVER: Duration = Duration::from_secs(3600);

impl Filesystem for Files {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name == FILE_NAME {
            true => reply.entry(&FOREVER, &self.attributes(DISK), Generation(0)),
            false => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&FOREVER, &self.attributes(inode));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Nothing is kept by the kernel: what it writes arrives here.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        reply.data(&self.0.lock().read(offset as usize, size as usize));
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = self.0.lock();
        if offset as usize + data.len() > state.durable.len() {
            return reply.error(Errno::ENOSPC);
        }
        state.write(offset as usize, data);
        reply.written(data.len() as u32);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.0.lock().flush();
        reply.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flushed_survives_and_each_sector_written_since_survives_or_not() {
        let device = Device::new(vec![0; 4096]);
        device.lock().write(100, &[1; 600]);
        device.lock().flush();
        device.lock().write(512, &[2; 512]);
        device.lock().write(512, &[3; 512]);
        device.lock().write(1024, &[4; 10]);
        assert_eq!(device.lock().read(90, 20), [[0; 10], [1; 10]].concat());
        assert_eq!(device.lock().read(1020, 8), [3, 3, 3, 3, 4, 4, 4, 4]);
        let nothing = device.cut(|_| 0);
        assert_eq!((nothing[99], nothing[100], nothing[699], nothing[700]), (0, 1, 1, 0));
        let everything = device.cut(|count| count - 1);
        assert_eq!((everything[512], everything[1033], everything[1034]), (3, 4, 0));
        assert_eq!(device.cut(|_| 1)[512], 2);
    }
}
