//! What an open database promises: how it is opened, shared, refused, closed; what it tells about itself; and what it
//! does with the disk space it no longer needs.
//!
//! Locks between processes need processes: the test program starts itself again for one named test, which does its
//! part only if it finds its folder in the environment.

mod kit;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use diamonddb::{
    Database, Durability, Error, JsonStyle, Lsn, OpenOptions, RecordId, RecordMut, ScanRange, VerifyReport,
};
use kit::{Folder, assert_error, database, fetch, figure, files, numbers, packed, quick, replace, save, save_many};
use kit::{scanned, schema};

fn open(folder: &Folder, options: OpenOptions) -> Result<Database, Error> {
    Database::open(folder.path(), &options)
}

fn read_only() -> OpenOptions {
    OpenOptions { read_only: true, ..quick() }
}

#[test]
fn opening_makes_a_database_where_there_is_none_unless_it_must_exist() {
    let folder = Folder::new();
    let path = folder.path().display().to_string();
    for options in [OpenOptions { must_exist: true, ..quick() }, read_only()] {
        assert_error(open(&folder, options.clone()).map(|_| ()), Error::NotFound, &[&path]);
        assert!(!folder.path().exists(), "refusing makes nothing");
    }
    let below = Database::open(folder.path().join("below"), &quick());
    assert_error(below.map(|_| ()), Error::NotFound, &["below", "does not exist"]);
    fs::create_dir(folder.path()).unwrap();
    for options in [OpenOptions { must_exist: true, ..quick() }, read_only()] {
        assert_error(open(&folder, options).map(|_| ()), Error::NotFound, &[&path]);
        assert_eq!(files(folder.path()).len(), 0, "refusing makes nothing");
    }
    let db = open(&folder, quick()).unwrap();
    assert_eq!(db.tables().unwrap(), []);
    assert_eq!(db.verify().unwrap(), VerifyReport::default());
    db.close().unwrap();
    open(&folder, OpenOptions { must_exist: true, ..quick() }).unwrap();
}

#[test]
fn a_folder_with_other_things_in_it_is_refused_and_left_alone() {
    for name in ["notes.txt", "data/0", "wal/1", "data/sub/file", "manifest", "MANIFEST.old"] {
        let folder = Folder::new();
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "precious").unwrap();
        let before = files(folder.path());
        let word = name.split('/').take(2).collect::<Vec<_>>().join("/");
        assert_error(open(&folder, quick()).map(|_| ()), Error::Format, &[&word, "empty"]);
        assert_eq!(files(folder.path()), before, "{name}");
    }
}

#[test]
fn an_interrupted_making_is_finished_by_the_next_opening() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path().join("wal")).unwrap();
    fs::write(folder.path().join("LOCK"), "").unwrap();
    fs::write(folder.path().join("MANIFEST.new"), "half of i").unwrap();
    let db = open(&folder, quick()).unwrap();
    save(&numbers(&db, "numbers"), 1).unwrap();
    db.close().unwrap();
    assert_eq!(open(&folder, quick()).unwrap().tables().unwrap().len(), 1);
}

#[test]
fn reading_only_writes_nothing_even_where_a_kill_left_much_to_recover() {
    let (folder, db) = database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..1000).unwrap();
    db.checkpoint().unwrap();
    save_many(&table, 1000..50_000).unwrap();
    replace(&table, RecordId(5), -5).unwrap();
    table.delete(RecordId(6)).unwrap();
    numbers(&db, "other");
    let killed = folder.copy();
    db.close().unwrap();
    for (folder, recovered) in [(killed, true), (folder, false)] {
        let before = files(folder.path());
        let times = |name: &String| fs::metadata(folder.path().join(name)).unwrap().mtime_nsec();
        let times_before: Vec<i64> = before.keys().map(times).collect();
        let db = open(&folder, read_only()).unwrap();
        let shared = open(&folder, read_only()).unwrap();
        assert_eq!(figure(&db, "recovered_frames") > 0, recovered);
        let table = db.table("numbers").unwrap();
        assert_eq!(fetch(&table, RecordId(5)).unwrap(), -5);
        assert_error(fetch(&table, RecordId(6)), Error::NotFound, &["6"]);
        assert_eq!(scanned(&table).unwrap().len(), 49_999);
        assert_eq!(scanned(&shared.table("numbers").unwrap()).unwrap().len(), 49_999);
        assert_eq!(db.verify().unwrap().findings, []);
        // Every way to write is refused, and says why.
        let words = &["read-only"];
        assert_error(save(&table, 1), Error::Unsupported, words);
        assert_error(save_many(&table, 0..40_000), Error::Unsupported, words);
        assert_error(replace(&table, RecordId(1), 1), Error::Unsupported, words);
        assert_error(table.delete(RecordId(1)), Error::Unsupported, words);
        assert_error(db.make_table("new", table.schema()).map(|_| ()), Error::Unsupported, words);
        assert_error(db.drop_table("numbers"), Error::Unsupported, words);
        assert_error(db.rename_table("numbers", "x"), Error::Unsupported, words);
        assert_error(db.checkpoint(), Error::Unsupported, words);
        let mut batch = db.batch().unwrap();
        batch.save(&table, packed(&[0; 8])).unwrap();
        assert_error(batch.commit(false), Error::Unsupported, words);
        // What is there can be opened by making it, and there is nothing to wait for.
        assert_eq!(db.make_table("numbers", table.schema()).unwrap().count().unwrap(), 49_999);
        db.wait_durable(Lsn(0), None).unwrap();
        db.flush().unwrap();
        assert!(!db.step(Duration::from_secs(1)).unwrap());
        db.close().unwrap();
        shared.close().unwrap();
        assert!(files(folder.path()) == before, "reading changed a file");
        assert_eq!(before.keys().map(times).collect::<Vec<_>>(), times_before, "reading touched a file");
    }
}

#[test]
fn a_second_opening_shares_the_database_and_has_its_own_close() {
    let (folder, first) = database();
    let table = numbers(&first, "numbers");
    save(&table, 1).unwrap();
    let link = Folder::new();
    std::os::unix::fs::symlink(folder.path(), link.path()).unwrap();
    let second = Database::open(link.path(), &OpenOptions { must_exist: true, ..quick() }).unwrap();
    let same = second.table("numbers").unwrap();
    save(&same, 2).unwrap();
    assert_eq!(scanned(&table).unwrap(), [(0, 1), (1, 2)]);
    // A table of one opening works in a batch of the other.
    let mut batch = first.batch().unwrap();
    batch.save(&same, packed(&3_i64.to_le_bytes())).unwrap();
    batch.commit(false).unwrap();
    first.close().unwrap();
    assert_error(fetch(&table, RecordId(0)), Error::Closed, &["closed"]);
    assert_eq!(scanned(&same).unwrap().len(), 3);
    save(&same, 4).unwrap();
    second.close().unwrap();
    assert_error(save(&same, 5), Error::Closed, &["closed"]);
    fs::remove_file(link.path()).unwrap();
    assert_eq!(open(&folder, quick()).unwrap().table("numbers").unwrap().count().unwrap(), 4);
}

#[test]
fn other_options_while_it_is_open_are_busy() {
    let (folder, db) = database();
    let path = folder.path().display().to_string();
    let others = [
        OpenOptions::default(),
        read_only(),
        OpenOptions { no_threads: true, ..quick() },
        OpenOptions { pread: true, ..quick() },
        OpenOptions { dirty_hard: 1 << 30, ..quick() },
    ];
    for options in others {
        assert_error(open(&folder, options).map(|_| ()), Error::Busy, &[&path, "other options"]);
    }
    save(&numbers(&db, "numbers"), 1).unwrap();
    db.close().unwrap();
    // Once it is closed, any options will do.
    let db = open(&folder, OpenOptions { pread: true, no_threads: true, ..OpenOptions::default() }).unwrap();
    assert_eq!(scanned(&db.table("numbers").unwrap()).unwrap(), [(0, 1)]);
}

/// The part of another process: opens, says so, and holds the database until its input ends.
#[test]
fn child_that_holds_the_database() {
    let Ok(folder) = std::env::var("DATABASE_FOLDER") else { return };
    let options = if std::env::var("DATABASE_READ_ONLY").is_ok() { read_only() } else { quick() };
    match Database::open(folder, &options) {
        Ok(db) => {
            println!("\nheld");
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
            db.close().unwrap();
        }
        Err(error) => println!("\n{}: {error}", error.status()),
    }
}

/// Starts the child, and returns what it says.
fn hold(folder: &Path, read_only: bool) -> (Child, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["child_that_holds_the_database", "--exact", "--nocapture"]).env("DATABASE_FOLDER", folder);
    if read_only {
        command.env("DATABASE_READ_ONLY", "1");
    }
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let is_said = |line: &String| line == "held" || line.starts_with(|first: char| first.is_ascii_digit());
    let said = lines.map_while(Result::ok).find(is_said).unwrap_or_default();
    (child, said)
}

fn let_go(mut child: Child) {
    writeln!(child.stdin.take().unwrap()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn another_process_finds_the_database_locked_and_is_told_by_whom() {
    let (folder, db) = database();
    save(&numbers(&db, "numbers"), 1).unwrap();
    let locked = Error::Locked("".into()).status().to_string();
    let own = std::process::id().to_string();
    for reads in [false, true] {
        let (child, said) = hold(folder.path(), reads);
        assert!(said.starts_with(&locked), "{said}");
        assert!(said.contains(&own), "{said}");
        let_go_of_the_refused(child);
    }
    db.close().unwrap();

    let (child, said) = hold(folder.path(), false);
    assert_eq!(said, "held");
    let pid = child.id().to_string();
    for options in [quick(), read_only()] {
        assert_error(open(&folder, options).map(|_| ()), Error::Locked, &[&pid]);
    }
    let_go(child);

    // Readers share with readers, and keep writers out.
    let (child, said) = hold(folder.path(), true);
    assert_eq!(said, "held");
    assert_error(open(&folder, quick()).map(|_| ()), Error::Locked, &["held by"]);
    let db = open(&folder, read_only()).unwrap();
    assert_eq!(scanned(&db.table("numbers").unwrap()).unwrap(), [(0, 1)]);
    let_go(child);
    db.close().unwrap();

    // A process that was killed holds nothing.
    let (mut child, said) = hold(folder.path(), false);
    assert_eq!(said, "held");
    child.kill().unwrap();
    child.wait().unwrap();
    open(&folder, quick()).unwrap();
}

fn let_go_of_the_refused(mut child: Child) {
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_forked_child_is_told_to_open_the_database_again() {
    // Rust has no safe fork, so this asks Python, where there is one.
    let library = std::env::current_exe().unwrap().parent().unwrap().join("libdiamonddb.so");
    let folder = Folder::new();
    let script = concat!(
        "import ctypes, os, sys\n",
        "d = ctypes.CDLL(sys.argv[1])\n",
        "path, name = sys.argv[2].encode(), b'numbers'\n",
        "schema, record = b'{\"value\": [\"i64\"]}', b'{\"value\": 5}'\n",
        "db, table, count = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_uint64()\n",
        "size = ctypes.c_size_t\n",
        "def open_it():\n",
        "    return d.diamond_open(path, size(len(path)), None, ctypes.byref(db))\n",
        "def use():\n",
        "    return [d.diamond_table_save_json(table, record, size(len(record)), ctypes.byref(count)),\n",
        "        d.diamond_table_count(table, ctypes.byref(count)), d.diamond_flush(db), d.diamond_checkpoint(db)]\n",
        "assert open_it() == 0\n",
        "assert d.diamond_table_make(db, name, size(7), schema, size(len(schema)), ctypes.byref(table)) == 0\n",
        "assert use() == [0] * 4\n",
        "child = os.fork()\n",
        "if child == 0:\n",
        "    ok = use() == [102] * 4 and d.diamond_close(db) == 102\n",
        // The parent still holds it.
        "    ok = ok and open_it() == 301\n",
        "    os._exit(0 if ok else 1)\n",
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n",
        "assert use() == [0] * 4\n",
        "assert d.diamond_close(db) == 0\n",
        "print('ok')\n",
    );
    if !library.exists() {
        println!("skipped: there is no {}", library.display());
        return;
    }
    let output = Command::new("python3").args(["-c", script]).arg(library).arg(folder.path()).output();
    let Ok(output) = output else { return println!("skipped: there is no python3") };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n", "{errors}");
    let db = open(&folder, quick()).unwrap();
    assert_eq!(db.table("numbers").unwrap().count().unwrap(), 2);
}

/// The database's folder with a manifest that says something else, rightly sealed.
fn with_manifest(folder: &Folder, at: usize, bytes: &[u8]) -> Folder {
    let copy = folder.copy();
    let path = copy.path().join("MANIFEST");
    let mut manifest = fs::read(&path).unwrap();
    for block in manifest.chunks_exact_mut(4096) {
        if block.starts_with(b"DIAMONDM") {
            block[at..at + bytes.len()].copy_from_slice(bytes);
            let sum = xxhash_rust::xxh3::xxh3_64(&block[..4088]);
            block[4088..].copy_from_slice(&sum.to_le_bytes());
        }
    }
    fs::write(path, manifest).unwrap();
    copy
}

#[test]
fn a_database_of_another_version_is_refused_with_both_versions_and_unknown_features_as_they_ask() {
    let (folder, db) = database();
    save(&numbers(&db, "numbers"), 1).unwrap();
    db.close().unwrap();
    let version = 99_u32.to_le_bytes();
    for options in [quick(), read_only()] {
        let result = open(&with_manifest(&folder, 8, &version), options.clone());
        assert_error(result.map(|_| ()), Error::Format, &["99", "version 1"]);
        let incompatible = with_manifest(&folder, 48, &[0x10]);
        let before = files(incompatible.path());
        assert_error(open(&incompatible, options).map(|_| ()), Error::Format, &["0x10"]);
        assert!(files(incompatible.path()) == before);
    }
    let reading = with_manifest(&folder, 56, &[4]);
    assert_error(open(&reading, quick()).map(|_| ()), Error::Format, &["0x4", "read-only"]);
    for folder in [(reading, read_only()), (with_manifest(&folder, 64, &[8]), quick())] {
        let db = open(&folder.0, folder.1).unwrap();
        assert_eq!(scanned(&db.table("numbers").unwrap()).unwrap(), [(0, 1)]);
    }
    let copy = folder.copy();
    fs::write(copy.path().join("MANIFEST"), "not a manifest").unwrap();
    assert_error(open(&copy, quick()).map(|_| ()), Error::Format, &["MANIFEST", "14"]);
}

#[test]
fn what_hangs_on_a_closed_database_answers_closed() {
    let (_folder, db) = database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..10).unwrap();
    let mut cursor = table.scan(ScanRange::default()).unwrap();
    cursor.next_json(JsonStyle::default()).unwrap();
    let mut batch = db.batch().unwrap();
    batch.save(&table, packed(&[0; 8])).unwrap();
    let clone = table.clone();
    db.close().unwrap();
    for table in [&table, &clone] {
        assert_error(fetch(table, RecordId(0)), Error::Closed, &[]);
        assert_error(fetch(table, RecordId(99)), Error::Closed, &[]);
        assert_error(kit::json(table, RecordId(0)), Error::Closed, &[]);
        assert_error(save(table, 1), Error::Closed, &[]);
        assert_error(save_many(table, 0..40_000), Error::Closed, &[]);
        assert_error(save_many(table, []), Error::Closed, &[]);
        assert_error(table.save_json("{}"), Error::Closed, &[]);
        assert_error(replace(table, RecordId(0), 1), Error::Closed, &[]);
        assert_error(table.delete(RecordId(0)), Error::Closed, &[]);
        assert_error(table.delete_many(&[]), Error::Closed, &[]);
        assert_error(table.count(), Error::Closed, &[]);
        assert_error(table.next_id(), Error::Closed, &[]);
        assert_error(table.scan(ScanRange::default()).map(|_| ()), Error::Closed, &[]);
        assert_eq!(table.name(), "numbers");
        assert_eq!(table.layout().record_size, 8);
    }
    assert_error(cursor.next_json(JsonStyle::default()), Error::Closed, &[]);
    assert_error(cursor.next(RecordMut { bytes: &mut [0; 8], nulls: None }), Error::Closed, &[]);
    assert_error(batch.save(&table, packed(&[0; 8])), Error::Closed, &[]);
    assert_error(batch.commit(false), Error::Closed, &[]);
    assert_eq!(batch.len(), 1);
}

#[test]
fn handles_may_be_closed_in_any_order_and_the_database_opened_again_meanwhile() {
    for order in 0..6 {
        let (folder, db) = database();
        let table = numbers(&db, "numbers");
        save_many(&table, 0..1000).unwrap();
        let cursor = table.scan(ScanRange::default()).unwrap();
        let mut batch = db.batch().unwrap();
        batch.save(&table, packed(&[0; 8])).unwrap();
        let mut handles: Vec<Box<dyn std::any::Any>> =
            vec![Box::new(db), Box::new(table), Box::new(cursor), Box::new(batch)];
        handles.rotate_left(order % 4);
        if order > 3 {
            handles.reverse();
        }
        while let Some(handle) = handles.pop() {
            let was_the_database = handle.is::<Database>();
            drop(handle);
            if was_the_database {
                let again = open(&folder, OpenOptions::default()).unwrap();
                let table = again.table("numbers").unwrap();
                assert_eq!(scanned(&table).unwrap().len(), 1000);
                save(&table, 1000).unwrap();
            }
        }
        assert_eq!(open(&folder, quick()).unwrap().table("numbers").unwrap().count().unwrap(), 1001);
    }
}

#[test]
fn closing_waits_for_running_writes_and_says_that_all_is_durable() {
    let folder = Folder::new();
    let db = open(&folder, OpenOptions { durability: Durability::Async, ..OpenOptions::default() }).unwrap();
    let table = numbers(&db, "numbers");
    let saved: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let table = &table;
                scope.spawn(move || {
                    (0..).find_map(|value| match save(table, value) {
                        Ok(_) => None,
                        Err(Error::Closed(_)) => Some(value as usize),
                        Err(other) => panic!("{other:?}"),
                    })
                })
            })
            .collect();
        while table.count().unwrap() < 1000 {
            std::thread::yield_now();
        }
        db.close().unwrap();
        writers.into_iter().map(|writer| writer.join().unwrap().unwrap()).sum()
    });
    let db = open(&folder, quick()).unwrap();
    assert_eq!(db.table("numbers").unwrap().count().unwrap(), saved as u64);
    assert_eq!(figure(&db, "recovered_frames"), 0, "a clean close leaves nothing to replay");
}

#[test]
fn many_threads_open_one_folder_at_once_and_share_one_database() {
    for round in 0..5 {
        let folder = Folder::new();
        if round > 2 {
            // A database that is there, left by a kill.
            let db = open(&folder, quick()).unwrap();
            numbers(&db, "numbers");
            let killed = folder.copy();
            drop(db);
            fs::remove_dir_all(folder.path()).unwrap();
            fs::rename(killed.path(), folder.path()).unwrap();
        }
        let start = std::sync::Barrier::new(32);
        std::thread::scope(|scope| {
            for value in 0..32 {
                let (folder, start) = (&folder, &start);
                scope.spawn(move || {
                    start.wait();
                    let db = open(folder, quick()).unwrap();
                    save(&numbers(&db, "numbers"), value).unwrap();
                    // Half close and tell, half just go.
                    if value % 2 == 0 {
                        db.close().unwrap();
                    }
                });
            }
        });
        let db = open(&folder, quick()).unwrap();
        let mut values: Vec<i64> =
            scanned(&db.table("numbers").unwrap()).unwrap().iter().map(|(_, value)| *value).collect();
        values.sort_unstable();
        assert_eq!(values, (0..32).collect::<Vec<_>>());
    }
}

#[test]
fn the_figures_have_names_and_move() {
    const NAMES: [&str; 29] = [
        "tables",
        "commits",
        "groups",
        "group_commits_mean",
        "group_commits_max",
        "syncs",
        "sync_us_mean",
        "sync_us_max",
        "wal_bytes",
        "wal_live_bytes",
        "dirty_bytes",
        "dirty_bytes_soft",
        "dirty_bytes_hard",
        "old_image_bytes",
        "snapshots",
        "oldest_snapshot_age_ms",
        "oldest_snapshot_lsn",
        "pins",
        "pin_bytes_kept",
        "pin_bytes_mapped",
        "writers_slowed",
        "checkpoints",
        "checkpoint_us_mean",
        "checkpoint_us_max",
        "checkpoint_pages",
        "page_loads",
        "cache_hit_rate",
        "recovered_frames",
        "poisoned",
    ];
    let folder = Folder::new();
    let options = OpenOptions { no_threads: true, dirty_soft: 1 << 20, dirty_hard: 4 << 20, ..OpenOptions::default() };
    let db = open(&folder, options.clone()).unwrap();
    let stats: BTreeMap<String, serde_json::Value> = serde_json::from_str(&db.stats_json().unwrap()).unwrap();
    let mut names = NAMES.to_vec();
    names.sort_unstable();
    assert_eq!(stats.keys().map(String::as_str).collect::<Vec<_>>(), names);
    assert_eq!(stats["poisoned"], serde_json::Value::Null);
    assert_eq!((figure(&db, "dirty_bytes_soft"), figure(&db, "dirty_bytes_hard")), (1 << 20, 4 << 20));
    for name in ["tables", "commits", "groups", "syncs", "dirty_bytes", "checkpoints", "page_loads"] {
        assert_eq!(figure(&db, name), 0, "{name}");
    }
    let table = numbers(&db, "numbers");
    for value in 0..10 {
        save(&table, value).unwrap();
    }
    assert_eq!((figure(&db, "tables"), figure(&db, "commits")), (1, 11));
    assert_eq!((figure(&db, "groups"), figure(&db, "syncs"), figure(&db, "group_commits_max")), (11, 11, 1));
    let (dirty, wal) = (figure(&db, "dirty_bytes"), figure(&db, "wal_live_bytes"));
    assert!(dirty > 0);
    assert!(figure(&db, "wal_bytes") > 0);
    let cursor = table.scan(ScanRange::default()).unwrap();
    replace(&table, RecordId(0), 5).unwrap();
    assert_eq!(figure(&db, "old_image_bytes"), dirty);
    drop(cursor);
    assert_eq!(figure(&db, "old_image_bytes"), 0);
    db.checkpoint().unwrap();
    assert_eq!((figure(&db, "checkpoints"), figure(&db, "checkpoint_pages"), figure(&db, "dirty_bytes")), (1, 1, 0));
    assert!(figure(&db, "wal_live_bytes") <= wal);
    save(&table, 1).unwrap();
    let killed = folder.copy();
    drop(db);
    let db = open(&killed, options).unwrap();
    // The commit, and the sums and the end that the checkpoint left after its cut, as they may be.
    assert!((1..5).contains(&figure(&db, "recovered_frames")));
    fetch(&db.table("numbers").unwrap(), RecordId(0)).unwrap();
    assert!(figure(&db, "page_loads") > 0);
}

fn blocks(path: &Path) -> u64 {
    fs::metadata(path).unwrap().blocks()
}

#[test]
fn pages_whose_records_are_all_deleted_give_their_blocks_back() {
    let (folder, db) = database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..200_000).unwrap();
    db.checkpoint().unwrap();
    let data = folder.path().join("data/2");
    let full = blocks(&data);
    assert!(full * 512 >= 200_000 * 16);
    // The first half, but for one record in the middle of it.
    let gone: Vec<RecordId> = (0..100_000).filter(|id| *id != 50_000).map(RecordId).collect();
    for ids in gone.chunks(20_000) {
        table.delete_many(ids).unwrap();
    }
    db.checkpoint().unwrap();
    let half = blocks(&data);
    assert!(half < full * 52 / 100, "{full} blocks became {half}");
    assert_eq!(fetch(&table, RecordId(50_000)).unwrap(), 50_000);
    assert_error(fetch(&table, RecordId(49_999)), Error::NotFound, &[]);
    assert_eq!(db.verify().unwrap().findings, []);
    db.close().unwrap();
    let db = open(&folder, quick()).unwrap();
    assert_eq!(db.verify().unwrap().findings, []);
    assert_eq!(scanned(&db.table("numbers").unwrap()).unwrap().len(), 100_001);
    assert!(blocks(&data) < full * 52 / 100);
}

#[test]
fn a_dropped_table_gives_its_files_back() {
    let (folder, db) = database();
    let (kept, gone) = (numbers(&db, "kept"), numbers(&db, "gone"));
    save_many(&kept, 0..10).unwrap();
    save_many(&gone, 0..100_000).unwrap();
    db.checkpoint().unwrap();
    assert!(folder.path().join("data/3").exists());
    db.drop_table("gone").unwrap();
    db.checkpoint().unwrap();
    assert!(!folder.path().join("data/3").exists());
    assert!(!folder.path().join("data/3.sum").exists());
    assert!(folder.path().join("data/2").exists());
    // One that was dropped before it ever reached a checkpoint leaves nothing either.
    save_many(&numbers(&db, "brief"), 0..100_000).unwrap();
    db.drop_table("brief").unwrap();
    db.close().unwrap();
    let names: Vec<String> = files(folder.path()).into_keys().filter(|name| name.starts_with("data/")).collect();
    assert_eq!(names, ["data/1", "data/2", "data/2.sum"]);
}

#[test]
fn a_clean_close_leaves_little_more_than_the_records() {
    for chunk in [50_000, 1_000] {
        let folder = Folder::new();
        let db = open(&folder, quick()).unwrap();
        let table = numbers(&db, "numbers");
        const COUNT: i64 = 2_000_000;
        let count = if chunk < 50_000 { COUNT / 4 } else { COUNT };
        for from in (0..count).step_by(chunk) {
            save_many(&table, from..from + chunk as i64).unwrap();
        }
        db.close().unwrap();
        let slots = count as u64 * 16;
        let mut total = 0;
        for name in files(folder.path()).into_keys() {
            let facts = fs::metadata(folder.path().join(name)).unwrap();
            total += facts.len().max(facts.blocks() * 512);
        }
        // One small segment of the wal stays, whatever the size of the database.
        let ratio = (total - (1 << 20)) as f64 / slots as f64;
        assert!(ratio <= 1.03, "{total} bytes for {slots} bytes of records");
        let wal = files(folder.path()).into_keys().filter(|name| name.starts_with("wal/")).count();
        assert_eq!(wal, 1);
    }
}

#[test]
fn an_open_and_a_close_without_a_write_change_no_file() {
    let (folder, db) = database();
    save(&db.make_table("numbers", &schema(r#"{"value": ["i64"]}"#)).unwrap(), 1).unwrap();
    db.close().unwrap();
    let before = files(folder.path());
    for _ in 0..3 {
        let db = open(&folder, quick()).unwrap();
        assert_eq!(scanned(&db.table("numbers").unwrap()).unwrap(), [(0, 1)]);
        db.flush().unwrap();
        db.checkpoint().unwrap();
        db.close().unwrap();
    }
    assert!(files(folder.path()) == before, "nothing was written, and yet files changed");
}

#[test]
fn a_wal_takes_no_more_room_than_it_needs_however_often_a_checkpoint_is_made() {
    let (folder, db) = database();
    let table = numbers(&db, "numbers");
    for value in 0..40 {
        save(&table, value).unwrap();
        db.checkpoint().unwrap();
    }
    let wal = kit::files(&folder.path().join("wal"));
    let sizes: Vec<_> = wal.values().map(Vec::len).collect();
    assert!(sizes.iter().sum::<usize>() <= 8 << 20, "forty small commits take a wal of {sizes:?} bytes");
}
