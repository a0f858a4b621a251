//! The real disk: one folder of a Linux file system.
//!
//! The folder is held open and every name is looked up from there, one part at a time, so neither a symbolic link
//! inside the folder nor a new name for the folder itself leads anywhere else.
//!
//! What always holds here:
//!
//! 1. Every descriptor is closed by `exec`.
//! 2. Only regular files are opened, and none that has a second name is opened for writing: through that name
//!    another database, or a copy meant to stay as it was, would change too.
//! 3. Nothing here raises SIGXFSZ, which ends a host that does not expect it: a call that would pass the
//!    process's limit on file sizes is answered with EFBIG and not made.
//! 4. The system's errors are returned as they came, with their number. The layer above names the file.

// This is the system-call room: descriptors and numbers go in, numbers come out.
#![allow(unsafe_code)]

use super::direct::{Direct, Way, way};
use super::lock::LockFile;
use super::process::resource_limit;
use super::sync::Mutex;
use super::{Disk, DiskFile, DiskLock, Map, Open, StillMap, read_exact_at, retry, write_all_at};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// A folder of the real file system, held open.
#[derive(Debug)]
pub struct RealDisk {
    folder: File,
    /// The folders in it that were looked into, held open likewise: a process that has used up its descriptors can
    /// still sync them, and a sync that could not even begin is not taken for one that failed.
    inner: Mutex<HashMap<String, Arc<OwnedFd>>>,
    path: PathBuf,
    identity: FileIdentity,
}

/// What tells one folder or file from all others of the machine, whatever names lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    /// The file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

impl RealDisk {
    /// Opens a folder. With `create` it is made if it is not there, and its name made durable; its parents are
    /// not made.
    pub fn open(path: &Path, create: bool) -> io::Result<RealDisk> {
        if create {
            make_durable_folder(path)?;
        }
        let folder = open_folder(path)?;
        let facts = folder.metadata()?;
        let identity = FileIdentity { device: facts.dev(), inode: facts.ino() };
        Ok(RealDisk { folder, inner: Mutex::default(), path: path.to_owned(), identity })
    }

    /// The folder's identity, by which a second opening in this process is noticed.
    pub fn identity(&self) -> FileIdentity {
        self.identity
    }

    /// The kind of network file system that the folder lies on, or `None` on a local one. Locks and syncs of the
    /// former are promises of another machine. (A file system in user space counts as local.)
    pub fn network_file_system(&self) -> io::Result<Option<&'static str>> {
        // SAFETY: all zeros is a valid value of this plain struct.
        let mut facts: libc::statfs = unsafe { std::mem::zeroed() };
        retry(|| {
            // SAFETY: the descriptor is ours and open, and `facts` is ours to be written to.
            check(unsafe { libc::fstatfs(self.folder.as_raw_fd(), &mut facts) })
        })?;
        // The number has 32 bits; in the wider field it may come with its sign extended.
        let kind = facts.f_type as u32;
        Ok(NETWORK_FILE_SYSTEMS.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name))
    }

    fn open_file(&self, name: &str, how: Open) -> io::Result<RealFile> {
        let (folder, name) = self.locate(name)?;
        let access = match how {
            Open::Read => libc::O_RDONLY,
            Open::Write => libc::O_RDWR,
            // Not emptied by the opening itself: first we look at what was opened.
            Open::Create => libc::O_RDWR | libc::O_CREAT,
            Open::New => libc::O_RDWR | libc::O_CREAT | libc::O_EXCL,
        };
        // Without O_NONBLOCK the opening of a pipe would wait. For regular files it means nothing.
        let file = File::from(open_at(folder.as_fd(), &name, access | libc::O_NONBLOCK)?);
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        if how != Open::Read && facts.nlink() > 1 {
            let text = "it has more than one name (a hard link), so writing it would change another file too";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        if how == Open::Create && facts.len() > 0 {
            file.set_len(0)?;
        }
        Ok(RealFile::of(file))
    }

    /// The folder that holds `name`, and the last part of the name.
    fn locate(&self, name: &str) -> io::Result<(Folder<'_>, CString)> {
        let (folder, last) = name.rsplit_once('/').unwrap_or(("", name));
        Ok((self.walk(folder)?, part(last)?))
    }

    /// A folder below this one (`""` is this one), opened part by part: O_NOFOLLOW looks only at the last part.
    fn walk(&self, name: &str) -> io::Result<Folder<'_>> {
        if name.is_empty() {
            return Ok(Folder::Top(self.folder.as_fd()));
        }
        let mut inner = self.inner.lock();
        if let Some(folder) = inner.get(name) {
            return Ok(Folder::Inner(Arc::clone(folder)));
        }
        let mut folder = Folder::Top(self.folder.as_fd());
        for name in name.split('/') {
            let opened = open_at(folder.as_fd(), &part(name)?, libc::O_RDONLY | libc::O_DIRECTORY)?;
            folder = Folder::Inner(Arc::new(opened));
        }
        if let Folder::Inner(folder) = &folder {
            inner.insert(name.to_owned(), Arc::clone(folder));
        }
        Ok(folder)
    }
}

/// The magic numbers of statfs(2), and of file systems whose numbers it does not list.
const NETWORK_FILE_SYSTEMS: [(u32, &str); 14] = [
    (0x0000_6969, "nfs"),
    (0x0000_517b, "smb"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "ceph"),
    (0x5346_414f, "afs"),
    (0x6b41_4653, "afs"),
    (0x7375_7245, "coda"),
    (0x0000_564c, "ncp"),
    (0x7461_636f, "ocfs2"),
    (0x0116_1970, "gfs2"),
    (0x0bd0_0bd0, "lustre"),
    (0x4750_4653, "gpfs"),
];

enum Folder<'a> {
    Top(BorrowedFd<'a>),
    Inner(Arc<OwnedFd>),
}

impl AsFd for Folder<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Folder::Top(folder) => *folder,
            Folder::Inner(folder) => folder.as_fd(),
        }
    }
}

impl Disk for RealDisk {
    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.open_file(name, how)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (source, from) = self.locate(from)?;
        let (target, to) = self.locate(to)?;
        let (source, target) = (source.as_fd().as_raw_fd(), target.as_fd().as_raw_fd());
        // SAFETY: both descriptors are open and both names end in a NUL, until the call returns.
        check(unsafe { libc::renameat(source, from.as_ptr(), target, to.as_ptr()) })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (folder, name) = self.locate(name)?;
        // SAFETY: the descriptor is open and the name ends in a NUL, until the call returns.
        check(unsafe { libc::unlinkat(folder.as_fd().as_raw_fd(), name.as_ptr(), 0) })
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        let (folder, name) = self.locate(name)?;
        // SAFETY: the descriptor is open and the name ends in a NUL, until the call returns.
        check(unsafe { libc::mkdirat(folder.as_fd().as_raw_fd(), name.as_ptr(), 0o777) })
    }

    fn remove_folder(&self, name: &str) -> io::Result<()> {
        self.inner.lock().remove(name);
        let (folder, name) = self.locate(name)?;
        // SAFETY: the descriptor is open and the name ends in a NUL, until the call returns.
        check(unsafe { libc::unlinkat(folder.as_fd().as_raw_fd(), name.as_ptr(), libc::AT_REMOVEDIR) })
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        // Opened anew even for the top: the position of a listing belongs to the descriptor.
        let folder = self.walk(folder)?;
        list(open_at(folder.as_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY)?)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let folder = self.walk(folder)?;
        // SAFETY: the descriptor is open until the call returns.
        check(unsafe { libc::fsync(folder.as_fd().as_raw_fd()) })
    }

    fn lock(&self, exclusive: bool) -> io::Result<Result<Box<dyn DiskLock>, Option<u32>>> {
        let how = if exclusive { Open::Write } else { Open::Read };
        let lock = LockFile::lock(|| self.open_file("LOCK", how), exclusive)?;
        Ok(lock.map(|lock| Box::new(lock) as Box<dyn DiskLock>))
    }

    fn entropy(&self, bytes: &mut [u8]) {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &mut bytes[done..];
            // SAFETY: `rest` is ours to be written to, for its whole length.
            let count = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
            match usize::try_from(count) {
                Ok(count) => done += count,
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return entropy_of_last_resort(rest),
            }
        }
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

/// An open file of the real file system.
#[derive(Debug)]
pub(super) struct RealFile {
    pub(super) file: File,
    /// Made by the first write that wants it; none if the system has no such way.
    direct: OnceLock<Option<Direct>>,
}

impl RealFile {
    fn of(file: File) -> RealFile {
        RealFile { file, direct: OnceLock::new() }
    }

    /// `fallocate`, or false where the file system does not know it.
    fn fallocate(&self, mode: libc::c_int, offset: u64, size: u64) -> io::Result<bool> {
        // Larger numbers than the call can say are too big for any file.
        let too_big = || io::Error::from_raw_os_error(libc::EFBIG);
        let (Ok(offset), Ok(size)) = (libc::off_t::try_from(offset), libc::off_t::try_from(size)) else {
            return Err(too_big());
        };
        offset.checked_add(size).ok_or_else(too_big)?;
        // SAFETY: the descriptor is ours and open until the call returns.
        match check(unsafe { libc::fallocate(self.file.as_raw_fd(), mode, offset, size) }) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes zeros from `start` to `end`.
    fn write_zeros(&self, start: u64, end: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut offset = start;
        while offset < end {
            let count = (end - offset).min(ZEROS.len() as u64);
            write_all_at(self, &ZEROS[..count as usize], offset)?;
            offset += count;
        }
        Ok(())
    }
}

impl DiskFile for RealFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        check_size_limit(offset.saturating_add(bytes.len() as u64))?;
        self.file.write_at(bytes, offset)
    }

    fn write_past_cache_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let count = match way(bytes.len(), offset) {
            Way::Cached(count) => return self.write_at(&bytes[..count], offset),
            Way::Past(count) => count,
        };
        check_size_limit(offset.saturating_add(count as u64))?;
        if let Some(direct) = self.direct.get_or_init(|| Direct::open(&self.file)) {
            match direct.write_at(&bytes[..count], offset) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
                written => return written,
            }
        }
        self.write_at(bytes, offset)
    }

    fn allocate(&self, offset: u64, size: u64) -> io::Result<()> {
        if size == 0 {
            return Ok(()); // The system calls that an error.
        }
        let end = offset.saturating_add(size);
        check_size_limit(end)?;
        if self.fallocate(0, offset, size)? {
            return Ok(());
        }
        // What lies inside the file may be a hole, and stays one: to write there could undo another's write.
        self.write_zeros(self.size()?.max(offset), end)
    }

    fn punch(&self, offset: u64, size: u64) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        if self.fallocate(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, offset, size)? {
            return Ok(());
        }
        self.write_zeros(offset, self.size()?.min(offset.saturating_add(size)))
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        // Only growth is limited: a file that is too large already may be cut to any size.
        if let Err(error) = check_size_limit(size)
            && size > self.size()?
        {
            return Err(error);
        }
        self.file.set_len(size)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn start_writeback(&self, offset: u64, size: u64) {
        // A size of 0 would mean the whole rest of the file.
        if let (Ok(offset), Ok(size @ 1..)) = (libc::off64_t::try_from(offset), libc::off64_t::try_from(size)) {
            // SAFETY: the descriptor is ours and open until the call returns. As a hint it may fail.
            unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset, size, libc::SYNC_FILE_RANGE_WRITE) };
        }
    }

    fn map(&self, size: u64) -> io::Result<Option<Map>> {
        Map::new(self.file.as_fd(), size).map(Some)
    }

    fn map_still(&self, covered: u64, size: u64) -> io::Result<Option<StillMap>> {
        StillMap::over(self.file.as_fd(), covered, size).map(Some)
    }
}

/// Rule 3. A write or growth up to `end` is refused as the system would refuse it, but without the signal.
fn check_size_limit(end: u64) -> io::Result<()> {
    match end > resource_limit(libc::RLIMIT_FSIZE) {
        true => Err(io::Error::from_raw_os_error(libc::EFBIG)),
        false => Ok(()),
    }
}

/// Makes a folder and its name durable. A folder that was there may have been made by a process that was killed
/// before it could sync the name, so that is done again; where the parent cannot be opened, it is not ours.
pub(super) fn make_durable_folder(path: &Path) -> io::Result<()> {
    let made = match fs::create_dir(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    // A path without a parent is the root, or a single name in the current folder.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match open_folder(parent) {
        Ok(parent) => parent.sync_all(),
        Err(error) if made => Err(error),
        Err(_) => Ok(()),
    }
}

fn open_folder(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)
}

/// One part of a name as the system takes it. Names come from us and are numbers or fixed words, so a part that
/// leads upwards or nowhere is refused.
fn part(name: &str) -> io::Result<CString> {
    if matches!(name, "" | "." | "..") || name.contains('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a name here has no empty, '.' or '..' part"));
    }
    CString::new(name).map_err(io::Error::from)
}

fn open_at(folder: BorrowedFd<'_>, name: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    let flags = flags | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    retry(|| {
        // SAFETY: `folder` is open and `name` ends in a NUL, until the call returns.
        let file = unsafe { libc::openat(folder.as_raw_fd(), name.as_ptr(), flags, 0o666) };
        check(file)?;
        // SAFETY: the call has just made this descriptor, for us alone.
        Ok(unsafe { OwnedFd::from_raw_fd(file) })
    })
}

/// The names in an open folder.
fn list(folder: OwnedFd) -> io::Result<Vec<String>> {
    let mut listing = Listing::new(folder)?;
    let mut names = Vec::new();
    while let Some(name) = listing.next()? {
        // A folder may have more names than there is memory.
        names.try_reserve(1).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        names.push(name);
    }
    Ok(names)
}

struct Listing(*mut libc::DIR);

impl Listing {
    fn new(folder: OwnedFd) -> io::Result<Listing> {
        let descriptor = folder.into_raw_fd();
        // SAFETY: the descriptor is open and we gave it up; the stream owns it when the call succeeds.
        let stream = unsafe { libc::fdopendir(descriptor) };
        if stream.is_null() {
            let error = io::Error::last_os_error();
            // SAFETY: the call has failed, so the descriptor is still ours to close.
            drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
            return Err(error);
        }
        Ok(Listing(stream))
    }

    fn next(&mut self) -> io::Result<Option<String>> {
        loop {
            // SAFETY: errno is this thread's own; the end and an error differ in nothing else.
            unsafe { *libc::__errno_location() = 0 };
            // SAFETY: the stream is open until drop and used by this thread alone.
            let entry = unsafe { libc::readdir64(self.0) };
            if entry.is_null() {
                let error = io::Error::last_os_error();
                return if error.raw_os_error() == Some(0) { Ok(None) } else { Err(error) };
            }
            // SAFETY: an entry is valid until the next call for this stream, and its name ends in a NUL.
            let name = unsafe { CStr::from_ptr((&raw const (*entry).d_name).cast()) };
            if name != c"." && name != c".." {
                // A name that is not UTF-8 is none of ours; it is only told apart from those.
                return Ok(Some(name.to_string_lossy().into_owned()));
            }
        }
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, closed once.
        unsafe { libc::closedir(self.0) };
    }
}

/// Where the system gives no random bytes at all, those of its generator's file; and if that is missing too, of
/// the clock. Salts must differ from one another, and nothing depends on their being secret.
fn entropy_of_last_resort(bytes: &mut [u8]) {
    let read = File::open("/dev/urandom").and_then(|file| read_exact_at(&RealFile::of(file), bytes, 0));
    if read.is_err() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let mut state = now.as_nanos() as u64 ^ (u64::from(std::process::id()) << 40);
        for byte in bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
}

/// The result of a call that says 0 or more for success and -1 for failure.
fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
