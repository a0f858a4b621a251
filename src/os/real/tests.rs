//! What the real disk keeps of the promises of [`Disk`](super::Disk), on a folder of the machine.

use super::super::write_all_past_cache_at;
use super::*;
use parking_lot::Mutex;
use std::io::{Read, Write};
use std::ops::Deref;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};

/// A disk in a folder of its own, which goes away with it.
struct Fresh {
    disk: RealDisk,
    path: PathBuf,
}

impl Fresh {
    fn new() -> Fresh {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("diamonddb-os-{}-{count}", std::process::id()));
        Fresh { disk: RealDisk::open(&path, true).unwrap(), path }
    }
}

impl Deref for Fresh {
    type Target = RealDisk;

    fn deref(&self) -> &RealDisk {
        &self.disk
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.path).ok();
    }
}

/// Held by tests whose children wait for a pipe: a child of one would keep the other's pipe open, and so on.
static WAITING_CHILDREN: Mutex<()> = Mutex::new(());

fn error_number<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn a_file_reads_as_it_was_written_and_keeps_its_bytes_under_a_new_name() {
    let disk = Fresh::new();
    disk.make_folder("data").unwrap();
    let file = disk.open("data/1", Open::Create).unwrap();
    write_all_at(&*file, b"diamond", 10).unwrap();
    file.sync().unwrap();
    file.start_writeback(0, 17);
    disk.rename("data/1", "2").unwrap();
    disk.sync_folder("data").unwrap();
    disk.sync_folder("").unwrap();
    let mut bytes = [1; 20];
    let file = disk.open("2", Open::Read).unwrap();
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 17);
    assert_eq!(&bytes[..17], b"\0\0\0\0\0\0\0\0\0\0diamond");
    assert_eq!(error_number(file.write_at(b"x", 0)), Some(libc::EBADF));
    let mut names = disk.list("").unwrap();
    names.sort();
    assert_eq!(names, ["2", "data"]);
    assert_eq!(disk.list("").unwrap().len(), 2);
    assert!(disk.list("data").unwrap().is_empty());
    disk.remove("2").unwrap();
    assert_eq!(error_number(disk.open("2", Open::Write)), Some(libc::ENOENT));
    assert_eq!(disk.make_folder("data").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn what_is_written_past_the_cache_reads_back_beside_what_was_not() {
    let disk = Fresh::new();
    let file = disk.open("1", Open::Create).unwrap();
    file.allocate(0, 8 << 20).unwrap();
    let mut expected = vec![0; 8 << 20];
    let (mut offset, mut size) = (0, 1);
    for round in 1..60 {
        let bytes: Vec<u8> = (0..size).map(|at| (at * 7 + round) as u8).collect();
        let write = if round % 5 == 0 { write_all_at } else { write_all_past_cache_at };
        write(&*file, &bytes, offset as u64).unwrap();
        expected[offset..offset + size].copy_from_slice(&bytes);
        // One behind the other at first, as a log grows, and then anywhere.
        offset = if round < 20 { offset + size } else { round * 7919 * 64 % (5 << 20) };
        size = [100, 128 << 10, 1 << 20, 4096, 300_001, 2_500_000][round % 6];
        size = size.min(expected.len() - offset);
        if round % 11 == 0 {
            file.sync().unwrap();
        }
    }
    let mut found = vec![1; expected.len()];
    read_exact_at(&*file, &mut found, 0).unwrap();
    assert!(found == expected, "the file has what was written last in every place");
}

#[test]
fn creating_empties_a_file_that_is_there() {
    let disk = Fresh::new();
    write_all_at(&*disk.open("1", Open::Create).unwrap(), b"old", 0).unwrap();
    assert_eq!(disk.open("1", Open::Create).unwrap().size().unwrap(), 0);
}

#[test]
fn a_new_file_is_made_by_one_alone_and_only_an_empty_folder_is_removed() {
    let disk = Fresh::new();
    write_all_at(&*disk.open("1", Open::New).unwrap(), b"mine", 0).unwrap();
    assert_eq!(disk.open("1", Open::New).err().map(|error| error.kind()), Some(io::ErrorKind::AlreadyExists));
    assert_eq!(disk.open("1", Open::Read).unwrap().size().unwrap(), 4);
    disk.make_folder("data").unwrap();
    drop(disk.open("data/1", Open::New).unwrap());
    assert_eq!(error_number(disk.remove_folder("data")), Some(libc::ENOTEMPTY));
    disk.remove("data/1").unwrap();
    disk.remove_folder("data").unwrap();
    assert_eq!(disk.list("").unwrap(), ["1"]);
    assert_eq!(error_number(disk.remove_folder("1")), Some(libc::ENOTDIR));
}

#[test]
fn a_symbolic_link_is_refused_as_file_and_as_folder() {
    let disk = Fresh::new();
    disk.make_folder("real").unwrap();
    drop(disk.open("real/1", Open::Create).unwrap());
    symlink("real/1", disk.path.join("1")).unwrap();
    symlink("real", disk.path.join("wal")).unwrap();
    for how in [Open::Read, Open::Write, Open::Create] {
        assert_eq!(error_number(disk.open("1", how)), Some(libc::ELOOP));
        assert!(disk.open("wal/1", how).is_err());
    }
    assert!(disk.list("wal").is_err());
    assert!(disk.sync_folder("wal").is_err());
}

#[test]
fn a_name_never_leads_out_of_the_folder() {
    let disk = Fresh::new();
    for name in ["", ".", "..", "../x", "/etc/passwd", "a//b", "data/../..", "nul\0"] {
        let error = disk.open(name, Open::Create).err().unwrap();
        let known = [io::ErrorKind::InvalidInput, io::ErrorKind::NotFound];
        assert!(known.contains(&error.kind()), "{name:?} was answered with {error}");
    }
    assert!(disk.list("").unwrap().is_empty());
}

#[test]
fn a_file_with_two_names_and_what_is_no_file_are_refused() {
    let disk = Fresh::new();
    write_all_at(&*disk.open("1", Open::Create).unwrap(), b"kept", 0).unwrap();
    fs::hard_link(disk.path.join("1"), disk.path.join("2")).unwrap();
    for how in [Open::Write, Open::Create] {
        assert_eq!(disk.open("1", how).err().unwrap().kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(disk.open("1", Open::Read).unwrap().size().unwrap(), 4);
    disk.make_folder("folder").unwrap();
    assert_eq!(disk.open("folder", Open::Read).err().unwrap().kind(), io::ErrorKind::InvalidInput);
    let pipe = CString::new(disk.path.join("pipe").to_str().unwrap()).unwrap();
    // SAFETY: the name ends in a NUL.
    assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
    assert!(disk.open("pipe", Open::Read).is_err());
}

#[test]
fn a_punched_hole_reads_as_zeros_and_the_size_stays() {
    let disk = Fresh::new();
    let file = disk.open("1", Open::Create).unwrap();
    write_all_at(&*file, &[7; 16384], 0).unwrap();
    file.punch(100, 9000).unwrap();
    file.punch(16000, 1 << 20).unwrap();
    file.punch(0, 0).unwrap();
    let mut bytes = [1; 16384];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    let punched = |index| (100..9100).contains(&index) || index >= 16000;
    assert!(bytes.iter().enumerate().all(|(index, &byte)| byte == if punched(index) { 0 } else { 7 }));
    assert_eq!(file.size().unwrap(), 16384);
}

#[test]
fn allocating_lengthens_a_file_and_keeps_its_bytes() {
    let disk = Fresh::new();
    let file = disk.open("1", Open::Create).unwrap();
    write_all_at(&*file, b"diamond", 0).unwrap();
    file.allocate(3, 1 << 16).unwrap();
    file.allocate(0, 0).unwrap();
    assert_eq!(file.size().unwrap(), 3 + (1 << 16));
    let mut bytes = [1; 9];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"diamond\0\0");
    file.set_size(4).unwrap();
    file.set_size(7).unwrap();
    read_exact_at(&*file, &mut bytes[..7], 0).unwrap();
    assert_eq!(&bytes[..7], b"diam\0\0\0");
    assert_eq!(error_number(file.allocate(u64::MAX - 1, 9)), Some(libc::EFBIG));
}

#[test]
fn zeros_stand_in_for_holes_where_the_file_system_knows_none() {
    let disk = Fresh::new();
    let file = disk.open_file("1", Open::Create).unwrap();
    write_all_at(&file, &[7; 100_000], 0).unwrap();
    file.write_zeros(10, 99_990).unwrap();
    let mut bytes = vec![1; 100_000];
    read_exact_at(&file, &mut bytes, 0).unwrap();
    assert!(bytes[..10].iter().chain(&bytes[99_990..]).all(|&byte| byte == 7));
    assert!(bytes[10..99_990].iter().all(|&byte| byte == 0));
}

#[test]
fn a_write_past_the_limit_on_file_sizes_is_an_error_and_no_signal() {
    let disk = Fresh::new();
    let file = disk.open("1", Open::Create).unwrap();
    // The limit belongs to the process, so a child takes it.
    // SAFETY: the child makes plain calls on an open file and leaves with `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let limit = libc::rlimit { rlim_cur: 1000, rlim_max: libc::RLIM_INFINITY };
        // SAFETY: `limit` is a local variable that the call only reads.
        unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) };
        let fine = file.write_at(&[1; 1000], 0).is_ok()
            && error_number(file.write_at(&[1; 2], 999)) == Some(libc::EFBIG)
            && error_number(file.allocate(0, 1001)) == Some(libc::EFBIG)
            && error_number(file.set_size(1001)) == Some(libc::EFBIG)
            && file.set_size(5).is_ok();
        // SAFETY: ends the child at once, without running the parent's exit handlers.
        unsafe { libc::_exit(if fine { 7 } else { 1 }) };
    }
    assert_eq!(exit_code(child), Some(7));
}

#[test]
fn a_map_may_be_longer_than_its_file_and_shows_what_is_written_later() {
    let disk = Fresh::new();
    let file = disk.open("1", Open::Create).unwrap();
    for size in [1u64 << 14, 5 << 20] {
        let mut map = file.map(size).unwrap().unwrap();
        map.advise_random();
        map.will_need(5000, 4096);
        map.will_need(size as usize - 1, usize::MAX);
        map.will_need(usize::MAX, 1);
        assert_eq!(map.size() as u64, size);
        assert!(size < 2 << 20 || map.as_ptr().addr().is_multiple_of(2 << 20));
        write_all_at(&*file, &size.to_le_bytes(), 8192).unwrap();
        // SAFETY: the write above made the file cover these bytes, and nobody writes them now.
        let seen = unsafe { std::slice::from_raw_parts(map.as_ptr().add(8192), 8) };
        assert_eq!(seen, size.to_le_bytes());
    }
    assert_eq!(error_number(file.map(0)), Some(libc::EINVAL));
}

#[test]
fn an_exclusive_lock_keeps_all_others_out_and_names_its_holder() {
    let disk = Fresh::new();
    assert_eq!(error_number(disk.lock(true)), Some(libc::ENOENT));
    drop(disk.open("LOCK", Open::Create).unwrap());
    let lock = disk.lock(true).unwrap().ok().unwrap();
    let again = RealDisk::open(&disk.path, false).unwrap();
    for exclusive in [true, false] {
        assert_eq!(again.lock(exclusive).unwrap().err().unwrap(), Some(std::process::id()));
    }
    drop(lock);
    assert!(again.lock(true).unwrap().is_ok());
}

#[test]
fn shared_locks_coexist_and_keep_writers_out() {
    let disk = Fresh::new();
    // What an earlier holder left does not make it the holder of a shared lock.
    write_all_at(&*disk.open("LOCK", Open::Create).unwrap(), b"12345", 0).unwrap();
    let first = disk.lock(false).unwrap().ok().unwrap();
    let second = disk.lock(false).unwrap().ok().unwrap();
    assert_eq!(disk.lock(true).unwrap().err().unwrap(), None);
    drop(first);
    assert_eq!(disk.lock(true).unwrap().err().unwrap(), None);
    drop(second);
    assert!(disk.lock(true).unwrap().is_ok());
}

#[test]
fn a_child_neither_drops_nor_keeps_its_parents_lock() {
    let _alone = WAITING_CHILDREN.lock();
    let disk = Fresh::new();
    drop(disk.open("LOCK", Open::Create).unwrap());
    let lock = disk.lock(true).unwrap().ok().unwrap();
    let (mut stop, stopped) = io::pipe().unwrap();
    // SAFETY: the child drops its copy of the lock, waits for the pipe to close and leaves with `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        drop(stopped);
        let locked = matches!(disk.lock(true), Ok(Err(_)));
        drop(lock);
        let still_locked = matches!(disk.lock(true), Ok(Err(_)));
        stop.read_exact(&mut [0]).ok(); // Nothing comes but the end.
        // SAFETY: ends the child at once, without running the parent's exit handlers.
        unsafe { libc::_exit(if locked && still_locked { 7 } else { 1 }) };
    }
    // While the child lives, the lock is the parent's alone. (A dead parent's is freed in the same way, by the
    // kernel's closing of what is the last descriptor.)
    assert!(disk.lock(true).unwrap().is_err());
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(disk.lock(true).unwrap().is_err());
    drop(stopped);
    assert_eq!(exit_code(child), Some(7));
    drop(lock);
    assert!(disk.lock(true).unwrap().is_ok());
}

#[test]
fn the_death_of_a_parent_frees_its_lock_though_a_child_lives() {
    let _alone = WAITING_CHILDREN.lock();
    let disk = Fresh::new();
    drop(disk.open("LOCK", Open::Create).unwrap());
    let (mut stop, stopped) = io::pipe().unwrap();
    let (mut ready, mut readied) = io::pipe().unwrap();
    // SAFETY: the child locks, forks and leaves with `_exit`.
    let parent = unsafe { libc::fork() };
    if parent == 0 {
        drop(stopped);
        let lock = disk.lock(true);
        // SAFETY: the child's child says that it runs, waits for the pipe to close and leaves with `_exit`.
        if unsafe { libc::fork() } == 0 {
            readied.write_all(b"1").ok();
            stop.read_exact(&mut [0]).ok(); // Nothing comes but the end.
        }
        // SAFETY: ends the process at once, with the lock still held in the parent.
        unsafe { libc::_exit(if matches!(lock, Ok(Ok(_))) { 7 } else { 1 }) };
    }
    assert_eq!(exit_code(parent), Some(7));
    // The lock goes with the later of two things: the parent's death, and the child's first steps, in which it
    // closes its copy.
    ready.read_exact(&mut [0]).unwrap();
    assert!(disk.lock(true).unwrap().is_ok());
    drop(stopped);
}

#[test]
fn a_folder_is_made_only_when_asked_and_is_one_by_any_path() {
    let disk = Fresh::new();
    let inner = disk.path.join("inner");
    assert_eq!(error_number(RealDisk::open(&inner, false)), Some(libc::ENOENT));
    assert_eq!(error_number(RealDisk::open(&inner.join("deeper"), true)), Some(libc::ENOENT));
    let made = RealDisk::open(&inner, true).unwrap();
    symlink(&inner, disk.path.join("link")).unwrap();
    let same = RealDisk::open(&disk.path.join("link"), true).unwrap();
    assert_eq!(made.identity(), same.identity());
    assert_ne!(made.identity(), disk.identity());
    assert_eq!(made.describe(), inner.to_str().unwrap());
    made.network_file_system().unwrap();
}

#[test]
fn entropy_differs() {
    let disk = Fresh::new();
    let mut bytes = [[0; 16]; 3];
    disk.entropy(&mut bytes[0]);
    disk.entropy(&mut bytes[1]);
    entropy_of_last_resort(&mut bytes[2]);
    assert_ne!(bytes[0], bytes[1]);
    assert_ne!(bytes[2], [0; 16]);
}

fn exit_code(child: libc::pid_t) -> Option<i32> {
    let mut status = 0;
    // SAFETY: `child` is ours to wait for, `status` ours to be written to.
    let waited = unsafe { libc::waitpid(child, &mut status, 0) };
    (waited == child && libc::WIFEXITED(status)).then(|| libc::WEXITSTATUS(status))
}
