//! What the machine refuses: room on a disk, sizes of files, descriptors, memory, writing at all. On real file systems.
//!
//! Each test runs in a process of its own, most in a mount namespace of its own, where a file system in memory is
//! mounted with just so much room. Without the right to do so (neither root nor user namespaces), these tests say so
//! and do nothing.
//!
//! `DIAMOND_LIMITS` is the number of sizes that are tried (200 if not given).

#![allow(unsafe_code, reason = "limits and mounts are system calls")]

mod kit;

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use diamonddb::{Database, Durability, Error, OpenOptions, RecordId, Sizes, Table};
use kit::writer::{self, THREADS, Writer, steps_found};
use kit::{Folder, numbers, save, save_many};

const SEED: u64 = 20;
const MODES: [Durability; 3] = [Durability::Sync, Durability::Os, Durability::Async];

/// How many sizes are tried.
fn size_count() -> u64 {
    std::env::var("DIAMOND_LIMITS").map_or(200, |text| text.parse().expect("DIAMOND_LIMITS is a number"))
}

/// Runs the part called `part` of this file in another process, which must come to a good end.
fn apart(part: &str, in_namespace: bool) {
    let own = std::env::current_exe().unwrap();
    let arguments = ["the_part_that_runs_apart", "--exact", "--nocapture"];
    let mut command = if in_namespace {
        // SAFETY: it only asks.
        let root = unsafe { libc::geteuid() } == 0;
        let flags = if root { "-m" } else { "-Urm" };
        if !Command::new("unshare").args([flags, "true"]).status().is_ok_and(|status| status.success()) {
            eprintln!(
                "not tested: {part} needs the right to mount (root, or user namespaces) and unshare (util-linux)"
            );
            return;
        }
        let mut command = Command::new("unshare");
        command.arg(flags).arg(own);
        command
    } else {
        Command::new(own)
    };
    let folder = Folder::in_memory();
    fs::create_dir_all(folder.path()).unwrap();
    let output = command.args(arguments).env("LIMITS_PART", part).env("LIMITS_FOLDER", folder.path()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.signal(), None, "{part}: it was killed by a signal\n{said}");
    assert!(output.status.success(), "{part}: {}\n{said}", output.status);
    assert!(said.contains("part done"), "{part} did not run to its end\n{said}");
}

#[test]
fn the_part_that_runs_apart() {
    let Ok(part) = std::env::var("LIMITS_PART") else { return };
    let folder = PathBuf::from(std::env::var("LIMITS_FOLDER").unwrap());
    match part.as_str() {
        "disk_size" => disk_size(&folder),
        "disk_filled" => disk_filled(&folder),
        "file_size" => file_size(&folder),
        "descriptors" => descriptors(&folder),
        "many_tables" => many_tables(&folder),
        "used_up" => used_up(&folder),
        "memory" => memory(&folder),
        "read_only" => read_only(&folder),
        other => panic!("there is no part {other}"),
    }
    println!("part done");
}

#[test]
fn a_disk_of_any_size_runs_full_without_loss_and_writing_goes_on_when_there_is_room() {
    apart("disk_size", true);
}

#[test]
fn a_disk_that_is_filled_by_others_at_any_moment_loses_nothing() {
    apart("disk_filled", true);
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_no_signal() {
    apart("file_size", false);
}

#[test]
fn few_descriptors_are_enough_or_an_error() {
    apart("descriptors", false);
}

#[test]
fn a_checkpoint_of_more_tables_than_there_are_descriptors_goes_through() {
    apart("many_tables", false);
}

#[test]
fn a_host_that_has_used_up_its_descriptors_poisons_no_database() {
    apart("used_up", false);
}

#[test]
fn little_address_space_is_an_error_and_not_the_end_of_the_process() {
    apart("memory", false);
}

#[test]
fn a_folder_that_cannot_be_written_opens_read_only_and_says_so_otherwise() {
    apart("read_only", true);
}

/// A file system in memory, mounted where only this process sees it.
struct Mount(PathBuf);

impl Mount {
    fn new(at: &Path, size: u64) -> Mount {
        fs::create_dir_all(at).unwrap();
        Mount::call(at, 0, &format!("size={size}")).unwrap();
        Mount(at.to_owned())
    }

    fn resize(&self, size: u64) {
        Mount::call(&self.0, libc::MS_REMOUNT, &format!("size={size}")).unwrap();
    }

    fn call(at: &Path, flags: u64, options: &str) -> io::Result<()> {
        let text = |text: &str| std::ffi::CString::new(text).unwrap();
        let (kind, at, options) = (text("tmpfs"), text(at.to_str().unwrap()), text(options));
        // SAFETY: all texts end in NUL and live until the call returns.
        let done = unsafe { libc::mount(kind.as_ptr(), at.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let at = std::ffi::CString::new(self.0.to_str().unwrap()).unwrap();
        // SAFETY: the text ends in NUL. What is still open keeps the file system alive unseen.
        unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) };
    }
}

/// A process's limit.
fn limit(resource: libc::__rlimit_resource_t, value: u64) {
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the struct is ours.
    let done = unsafe {
        libc::getrlimit(resource, &mut limits);
        limits.rlim_cur = value.min(limits.rlim_max);
        libc::setrlimit(resource, &limits)
    };
    assert_eq!(done, 0, "the limit is set");
}

type Files = std::collections::BTreeMap<String, Vec<u8>>;

/// Makes a folder of these files, and nothing else.
fn lay_down(files: &Files, folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    for (name, bytes) in files {
        let target = folder.join(name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
}

/// What a kill left holds exactly these steps.
fn judge_kill(killed: &Files, copy: &Path, steps: &[u64], durability: Durability) {
    lay_down(killed, copy);
    let db = Database::open(copy, &OpenOptions::default()).unwrap();
    let found = steps_found(&db, SEED);
    if durability != Durability::Async {
        assert_eq!(found, steps, "what was acknowledged is there, and nothing else");
    }
}

/// Steps until one is refused or all are done; only a full disk refuses.
fn write(writers: &mut [Writer], db: &Database, rounds: u64, no_threads: bool) -> Result<(), Error> {
    let full = |result: Result<(), Error>| match result {
        Err(Error::Full(text)) => Err(Error::Full(text)),
        other => {
            other.unwrap();
            Ok(())
        }
    };
    for _ in 0..rounds {
        for writer in writers.iter_mut() {
            full(writer.step().map(|_| ()))?;
            full(writer.keep_house())?;
        }
        if no_threads {
            full(db.step(std::time::Duration::ZERO).map(|_| ()))?;
        }
    }
    Ok(())
}

/// Writes with little room until that is used up, then with more. `squeeze` and `relax` take and give room.
fn squeezed(path: &Path, copy: &Path, round: u64, squeeze: impl Fn(), relax: impl Fn(), before: u64) -> bool {
    let durability = MODES[round as usize % 3];
    let options = writer::options(durability, round);
    let mut refused = 0;
    let mut again = |error: Error| {
        assert!(matches!(error, Error::Full(_)), "round {round}: {error}");
        refused += 1;
        relax();
    };
    let open = || Database::open(path, &options);
    let db = open().or_else(|error| {
        again(error);
        open()
    });
    let db = db.unwrap();
    let make = || Writer::all(&db, SEED, [0; THREADS]);
    let writers = make().or_else(|error| {
        again(error);
        make()
    });
    let mut writers = writers.unwrap();
    write(&mut writers, &db, before, options.no_threads).unwrap_or_else(again);
    squeeze();
    for _ in 0..8 {
        // Whatever was refused once may be asked for again, and be refused or not.
        refused += write(&mut writers, &db, 20, options.no_threads).is_err() as u64;
    }
    let steps: Vec<u64> = writers.iter().map(|writer| writer.steps).collect();
    assert_eq!(steps_found(&db, SEED).as_slice(), steps, "round {round}: what is read on a full disk");
    let killed = kit::files(path);
    relax();
    // With threads, the files were read at different moments, and no kill leaves them so.
    if options.no_threads {
        judge_kill(&killed, copy, &steps, durability);
    }
    // A checkpoint that had failed for want of room is made again by itself.
    write(&mut writers, &db, 30, options.no_threads).unwrap_or_else(|error| panic!("round {round}: {error}"));
    let steps: Vec<u64> = writers.iter().map(|writer| writer.steps).collect();
    drop(writers);
    db.close().unwrap();
    let db = Database::open(path, &options).unwrap();
    assert_eq!(steps_found(&db, SEED).as_slice(), steps, "round {round}: what is there after reopening");
    refused > 0
}

fn disk_size(folder: &Path) {
    let (count, mut refused) = (size_count(), 0);
    for round in 0..count {
        let at = folder.join(format!("disk {round}"));
        // From less than a new database needs to about what the steps write; each size in pages.
        let mount = Mount::new(&at, 4096 * (2 + round * 300 / count));
        refused += squeezed(&at, &folder.join("copy"), round, || {}, || mount.resize(64 << 20), 0) as u64;
    }
    println!("{refused} of {count} disks ran full");
    assert!(refused > count / 4, "disks run full");
}

fn disk_filled(folder: &Path) {
    let (count, mut refused) = (size_count(), 0);
    for round in 0..count {
        let at = folder.join(format!("disk {round}"));
        let _mount = Mount::new(&at, 64 << 20);
        let (path, ballast) = (at.join("db"), at.join("ballast"));
        let squeeze = || {
            // All that is left, to the last page.
            let file = fs::File::create(&ballast).unwrap();
            let mut bytes = 64 << 20;
            while bytes >= 4096 {
                let size = file.metadata().unwrap().len();
                // SAFETY: the descriptor is open.
                let done = unsafe { libc::fallocate(std::os::fd::AsRawFd::as_raw_fd(&file), 0, size as i64, bytes) };
                bytes = if done == 0 { bytes } else { bytes / 2 };
            }
        };
        let relax = || drop(fs::remove_file(&ballast));
        refused += squeezed(&path, &folder.join("copy"), round, squeeze, relax, round % 50) as u64;
    }
    println!("{refused} of {count} disks ran full");
    assert!(refused > count / 4, "disks run full");
}

fn file_size(folder: &Path) {
    let (count, mut refused) = (size_count() / 3, 0);
    for round in 0..count {
        let (path, copy) = (folder.join(format!("db {round}")), folder.join("copy"));
        limit(libc::RLIMIT_FSIZE, 4096 + 600_000 * round / count);
        let relax = || limit(libc::RLIMIT_FSIZE, libc::RLIM_INFINITY);
        refused += squeezed(&path, &copy, round, || {}, relax, 0) as u64;
    }
    println!("{refused} of {count} limits were met");
    assert!(refused > count / 4, "files reach the limit");
}

fn descriptors(folder: &Path) {
    let mut worked = 0;
    for count in (3..64_u64).step_by(4) {
        let path = folder.join(format!("db {count}"));
        let options = OpenOptions { durability: Durability::Os, ..OpenOptions::default() };
        limit(libc::RLIMIT_NOFILE, count);
        let told = |error: Error| assert!(matches!(error, Error::Io(_)), "{count} descriptors: {error}");
        let outcome = Database::open(&path, &options).and_then(|db| {
            let tables = (0..40).map(|number| {
                let table = db.make_table(&number.to_string(), &kit::schema(r#"{"value": ["i64"]}"#))?;
                (0..3).try_for_each(|value| save(&table, value).map(|_| ()))?;
                Ok(table)
            });
            let tables = tables.collect::<Result<Vec<_>, Error>>()?;
            db.checkpoint()?;
            tables.iter().try_for_each(|table| kit::fetch(table, RecordId(2)).map(|_| ()))?;
            db.close()
        });
        limit(libc::RLIMIT_NOFILE, 1024);
        worked += outcome.is_ok() as u64;
        if let Err(error) = &outcome {
            println!("{count} descriptors: {error}");
        }
        outcome.unwrap_or_else(told);
        // Whatever happened: with descriptors enough, everything that was made is there.
        let db = Database::open(&path, &options).unwrap();
        assert_eq!(db.verify().unwrap().findings, [], "{count} descriptors");
        let whole = |info: &diamonddb::TableInfo| info.count <= 3;
        assert!(db.tables().unwrap().iter().all(whole));
    }
    println!("it worked with {worked} of 16 limits");
    assert!(worked > 3, "40 tables need no descriptor each");
}

/// Every table has two files, and all of them wait for the same checkpoint.
fn many_tables(folder: &Path) {
    limit(libc::RLIMIT_NOFILE, 128);
    for (first, second) in [(64, 0), (200, 31), (200, 64)] {
        let path = folder.join(format!("db {first} {second}"));
        let options = OpenOptions { durability: Durability::Os, no_threads: true, ..OpenOptions::default() };
        let db = Database::open(&path, &options).unwrap();
        let made = |name: String| {
            let table = numbers(&db, &name);
            save_many(&table, 0..3).unwrap();
            table
        };
        let tables: Vec<Table> = (0..first).map(|number| made(format!("first {number}"))).collect();
        db.checkpoint().unwrap();
        (0..second).for_each(|number| drop(made(format!("second {number}"))));
        tables.iter().for_each(|table| kit::replace(table, RecordId(1), 7).unwrap());
        db.checkpoint().unwrap();
        db.close().unwrap();
        let db = Database::open(&path, &options).unwrap();
        assert_eq!(db.verify().unwrap().findings, []);
    }
}

/// The host opens files of its own until so few descriptors are left, and closes them again.
fn used_up(folder: &Path) {
    limit(libc::RLIMIT_NOFILE, 128);
    for (durability, left) in MODES.into_iter().flat_map(|mode| (0..6).map(move |left| (mode, left))) {
        let sizes = Sizes { segment_min: 16 << 10, segment_max: 16 << 10, bulk_min: 16 << 10, ..Sizes::default() };
        let options = OpenOptions { durability, no_threads: true, sizes, ..OpenOptions::default() };
        let db = Database::open(folder.join(format!("db {durability:?} {left}")), &options).unwrap();
        let table = numbers(&db, "numbers");
        save_many(&table, 0..3000).unwrap();
        let mut taken: Vec<fs::File> = std::iter::from_fn(|| fs::File::open("/dev/null").ok()).collect();
        taken.truncate(taken.len() - left);
        let told = |outcome: Result<(), Error>| {
            assert!(matches!(outcome, Ok(()) | Err(Error::Io(_))), "{left} descriptors: {outcome:?}");
        };
        told(db.checkpoint());
        told((0..1000).try_for_each(|id| kit::replace(&table, RecordId(id), 7)));
        told(db.checkpoint());
        told(save_many(&table, 0..3000).map(drop));
        told(db.make_table("other", &kit::schema(r#"{"value": ["i64"]}"#)).and_then(|other| save(&other, 1).map(drop)));
        drop(taken);
        save(&table, 1).unwrap();
        db.close().unwrap();
    }
}

fn memory(folder: &Path) {
    let mut refused = 0;
    for step in 0..24_u64 {
        let path = folder.join(format!("db {step}"));
        let options = OpenOptions { durability: Durability::Os, ..OpenOptions::default() };
        let db = Database::open(&path, &options).unwrap();
        let table = numbers(&db, "numbers");
        save(&table, 7).unwrap();
        save_many(&table, 0..1_000_000).unwrap();
        // Small allocations come from what the process has already.
        let reserve: Vec<u8> = Vec::with_capacity(64 << 10);
        limit(libc::RLIMIT_AS, address_space() + (step << 18));
        drop(reserve);
        let mut count = 1_000_001;
        let mut refuse = |result: Result<u64, Error>| match result {
            Ok(added) => count += added,
            Err(error) => {
                assert!(matches!(error, Error::NoMemory(_)), "{} KiB: {error}", step << 8);
                refused += 1;
            }
        };
        // A page each: memory for all of them.
        for id in (0..1_000_000).step_by(1000) {
            refuse(kit::replace(&table, RecordId(id), 7).map(|()| 0));
        }
        let mut batch = db.batch().unwrap();
        let added = (0..100_000_i64).try_for_each(|value| batch.save(&table, kit::packed(&value.to_le_bytes())));
        refuse(added.and_then(|()| batch.commit(false)).map(|committed| committed.ids.len() as u64));
        refuse(db.verify().map(|_| 0));
        refuse(db.checkpoint().map(|()| 0));
        let fetched = kit::fetch(&table, RecordId(0));
        limit(libc::RLIMIT_AS, libc::RLIM_INFINITY);
        assert_eq!(fetched, Ok(7));
        assert_eq!(table.count(), Ok(count));
        save(&table, 8).unwrap();
        db.close().unwrap();
        let db = Database::open(&path, &options).unwrap();
        assert_eq!(db.table("numbers").unwrap().count(), Ok(count + 1));
        drop(db);
        fs::remove_dir_all(&path).unwrap();
    }
    println!("{refused} calls were refused");
    assert!(refused > 10, "the limit is felt");
}

/// Bytes of address space that this process has.
fn address_space() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    4096 * pages.split(' ').next().unwrap().parse::<u64>().unwrap()
}

fn read_only(folder: &Path) {
    let mount = Mount::new(&folder.join("disk"), 512 << 20);
    let (closed, killed) = (mount.0.join("closed"), mount.0.join("killed"));
    let options = OpenOptions::default();
    let db = Database::open(&closed, &options).unwrap();
    let mut writers = Writer::all(&db, SEED, [0; THREADS]).unwrap();
    write(&mut writers, &db, 40, false).unwrap();
    let steps: Vec<u64> = writers.iter().map(|writer| writer.steps).collect();
    lay_down(&kit::files(&closed), &killed);
    drop(writers);
    db.close().unwrap();
    Mount::call(&mount.0, libc::MS_REMOUNT | libc::MS_RDONLY, "").unwrap();
    for path in [&closed, &killed] {
        let before = kit::files(path);
        let refusal = Database::open(path, &options).map(|_| ()).unwrap_err();
        assert!(refusal.message().contains("read-only") || refusal.message().contains("Read-only"), "{refusal}");
        let db = Database::open(path, &OpenOptions { read_only: true, ..OpenOptions::default() }).unwrap();
        assert_eq!(steps_found(&db, SEED).as_slice(), steps, "{}", path.display());
        let refusal = save(&db.table("shared").unwrap(), 1).unwrap_err();
        assert!(matches!(refusal, Error::Unsupported(_)), "{refusal}");
        db.close().unwrap();
        assert!(before == kit::files(path), "{} was written to", path.display());
    }
}
