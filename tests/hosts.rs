//! One engine, whoever opens it: many threads, many processes, by whatever name, and whatever becomes of the folder.
//!
//! Other processes are this test program again, started for one named test, which does its part only if it finds its
//! orders in the environment. Forks are in `tests/c/forks.c`, since Rust has no safe one. `DIAMOND_ROUNDS` (24 if not
//! given) says how often the processes race.

mod kit;

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use diamonddb::{Database, Durability, Error, JsonStyle, OpenOptions, RecordId, ScanRange, Table};
use kit::{Folder, assert_error, database, fetch, files, numbers, packed, quick, replace, save, save_many, scanned};

fn rounds() -> usize {
    std::env::var("DIAMOND_ROUNDS").map_or(24, |text| text.parse().expect("DIAMOND_ROUNDS is a number"))
}

/// The part of another process: opens each folder it is told, says what came of it, and holds it until it is told to
/// go on.
#[test]
fn child_that_opens_what_it_is_told() {
    if std::env::var("HOSTS_CHILD").is_err() {
        return;
    }
    println!("\nready");
    let mut orders = std::io::stdin().lines().map_while(Result::ok);
    while let Some(folder) = orders.next() {
        match Database::open(folder, &quick()) {
            Err(error) => println!("\n{}: {error}", error.status()),
            Ok(db) => {
                save(&numbers(&db, "numbers"), i64::from(std::process::id())).unwrap();
                println!("\nheld");
                orders.next().unwrap();
                db.close().unwrap();
                println!("\nclosed");
            }
        }
    }
}

/// Another process.
struct Host {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Host {
    fn new() -> Host {
        Host::in_folder(Path::new("."))
    }

    fn in_folder(folder: &Path) -> Host {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child_that_opens_what_it_is_told", "--exact", "--nocapture"]).env("HOSTS_CHILD", "1");
        let mut child =
            command.current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut host = Host { child, lines };
        assert_eq!(host.hear(), "ready");
        host
    }

    fn tell(&mut self, order: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{order}").unwrap();
    }

    /// The next line that is one of the child's own.
    fn hear(&mut self) -> String {
        let own = |line: &String| {
            ["ready", "held", "closed"].contains(&line.as_str()) || line.get(3..5).is_some_and(|part| part == ": ")
        };
        self.lines.by_ref().map_while(Result::ok).find(own).expect("the child lives")
    }

    fn open(&mut self, folder: &Path) -> String {
        self.tell(folder.to_str().unwrap());
        self.hear()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn of_processes_that_race_to_make_or_open_a_database_one_wins_and_the_others_are_told_by_whom() {
    let mut hosts: Vec<Host> = (0..3).map(|_| Host::new()).collect();
    for round in 0..rounds() {
        let folder = Folder::new();
        // First it has to be made, then it is there.
        for turn in 1..=2 {
            let (path, count) = (folder.path().to_str().unwrap(), hosts.len());
            for number in 0..count {
                hosts[(round + number) % count].tell(path);
            }
            let said: Vec<String> = hosts.iter_mut().map(Host::hear).collect();
            let winners: Vec<usize> = (0..count).filter(|number| said[*number] == "held").collect();
            let [winner] = winners[..] else { panic!("round {round}, turn {turn}: {said:?}") };
            let locked = format!("301: {path} is held by process {}", hosts[winner].child.id());
            assert!(said.iter().all(|said| *said == "held" || *said == locked), "round {round}, turn {turn}: {said:?}");
            hosts[winner].tell("go on");
            assert_eq!(hosts[winner].hear(), "closed");
            let db = Database::open(folder.path(), &quick()).unwrap();
            assert_eq!(db.table("numbers").unwrap().count().unwrap(), turn);
            assert_eq!(db.verify().unwrap().findings, []);
        }
    }
}

#[test]
fn thirty_two_threads_that_race_with_another_process_all_have_the_database_or_none() {
    let mut host = Host::new();
    let mut won = [0, 0];
    for round in 0..rounds() {
        let folder = Folder::new();
        let start = Barrier::new(33);
        let opened: Vec<Result<Database, Error>> = std::thread::scope(|scope| {
            let open = || {
                start.wait();
                Database::open(folder.path(), &quick())
            };
            let threads: Vec<_> = (0..32).map(|_| scope.spawn(open)).collect();
            // Sometimes a little earlier than the threads, sometimes with them.
            if round % 2 == 0 {
                host.tell(folder.path().to_str().unwrap());
            }
            start.wait();
            if round % 2 == 1 {
                host.tell(folder.path().to_str().unwrap());
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let said = host.hear();
        won[usize::from(said == "held")] += 1;
        if said == "held" {
            let pid = host.child.id().to_string();
            opened.into_iter().for_each(|opened| assert_error(opened.map(drop), Error::Locked, &[&pid]));
            host.tell("go on");
            assert_eq!(host.hear(), "closed");
            continue;
        }
        assert_eq!(said, format!("301: {} is held by process {}", folder.path().display(), std::process::id()));
        // What one saves, all have.
        let databases: Vec<Database> = opened.into_iter().map(Result::unwrap).collect();
        save(&numbers(&databases[0], "numbers"), 5).unwrap();
        assert!(databases.iter().all(|db| fetch(&db.table("numbers").unwrap(), RecordId(0)).unwrap() == 5));
        // Until the last of them is closed, the folder is taken.
        for (number, db) in databases.into_iter().enumerate() {
            if number == 31 {
                assert!(host.open(folder.path()).starts_with("301"));
            }
            db.close().unwrap();
        }
        assert_eq!(host.open(folder.path()), "held");
        host.tell("go on");
        assert_eq!(host.hear(), "closed");
    }
    println!("the threads won {} times, the other process {}", won[0], won[1]);
}

/// What the threads below were told is saved, replaced and deleted.
#[derive(Default)]
struct Acknowledged {
    saved: Vec<(RecordId, i64)>,
    replaced: Option<(RecordId, i64)>,
    deleted: Vec<RecordId>,
}

#[test]
fn calls_in_flight_while_a_database_is_closed_end_well_or_as_closed_and_what_was_well_is_kept() {
    for round in 0..rounds() as u64 {
        let folder = Folder::new();
        let durability = [Durability::Sync, Durability::Os, Durability::Async][round as usize % 3];
        let options = OpenOptions { durability, sizes: kit::small_sizes(), ..OpenOptions::default() };
        let db = Database::open(folder.path(), &options).unwrap();
        let table = numbers(&db, "numbers");
        save_many(&table, 0..2000).unwrap();
        let batches: Vec<_> = (0..200).map(|_| db.batch().unwrap()).collect();
        let calls = AtomicU64::new(0);
        let told: Vec<Acknowledged> = std::thread::scope(|scope| {
            let (table, calls) = (&table, &calls);
            let repeat = |act: &mut dyn FnMut(i64) -> Result<(), Error>| {
                for step in 0.. {
                    calls.fetch_add(1, Ordering::Relaxed);
                    match act(step) {
                        Ok(()) => {}
                        Err(Error::Closed(_)) => return,
                        Err(other) => panic!("{other:?}"),
                    }
                }
            };
            let saver = move |count: i64| {
                let mut told = Acknowledged::default();
                repeat(&mut |step| {
                    let first = match count {
                        1 => save(table, step)?,
                        _ => save_many(table, step..step + count)?,
                    };
                    told.saved.extend((0..count).map(|index| (RecordId(first.0 + index as u64), step + index)));
                    Ok(())
                });
                told
            };
            let replacer = move || {
                let mut told = Acknowledged::default();
                repeat(&mut |step| {
                    replace(table, RecordId(7), step)?;
                    told.replaced = Some((RecordId(7), step));
                    Ok(())
                });
                told
            };
            let deleter = move || {
                let mut told = Acknowledged::default();
                repeat(&mut |step| {
                    // Ids 1000 and up; when they are used up, a delete that fails as it should.
                    let id = RecordId(1000 + step as u64 % 1000);
                    match table.delete(id) {
                        Err(Error::NotFound(_)) => Ok(()),
                        other => other.map(|()| told.deleted.push(id)),
                    }
                });
                told
            };
            let reader = move || {
                repeat(&mut |step| {
                    assert_eq!(fetch(table, RecordId(step as u64 % 7))?, step % 7);
                    let mut cursor = table.scan(ScanRange::default())?;
                    while cursor.next_json(JsonStyle::default())?.is_some() {}
                    table.count().map(drop)
                });
                Acknowledged::default()
            };
            let committer = move || {
                let mut told = Acknowledged::default();
                let mut batches = batches.into_iter();
                repeat(&mut |step| {
                    let Some(mut batch) = batches.next() else { return table.count().map(drop) };
                    let value = 1_000_000 + step;
                    batch.save(table, packed(&value.to_le_bytes()))?;
                    batch.save(table, packed(&value.to_le_bytes()))?;
                    let done = batch.commit(false)?;
                    told.saved.extend(done.ids.iter().map(|id| (*id, value)));
                    Ok(())
                });
                told
            };
            let threads = [
                scope.spawn(move || saver(1)),
                scope.spawn(move || saver(1)),
                scope.spawn(move || saver(1500)),
                scope.spawn(replacer),
                scope.spawn(deleter),
                scope.spawn(reader),
                scope.spawn(committer),
            ];
            while calls.load(Ordering::Relaxed) < 20 + round * 13 {
                std::thread::yield_now();
            }
            db.close().unwrap();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let db = Database::open(folder.path(), &options).unwrap();
        assert_eq!(kit::figure(&db, "recovered_frames"), 0, "a clean close leaves nothing to replay");
        assert_eq!(db.verify().unwrap().findings, []);
        let found = db.table("numbers").unwrap();
        let mut saved = 0;
        for told in told {
            saved += told.saved.len() as u64;
            told.saved.iter().for_each(|(id, value)| assert_eq!(fetch(&found, *id).unwrap(), *value));
            told.deleted.iter().for_each(|id| assert_error(fetch(&found, *id), Error::NotFound, &[]));
            told.replaced.iter().for_each(|(id, value)| assert_eq!(fetch(&found, *id).unwrap(), *value));
        }
        // And what was answered otherwise is not there.
        assert_eq!(found.next_id().unwrap(), RecordId(2000 + saved));
        assert_error(save(&table, 1), Error::Closed, &[]);
    }
}

/// A database with one record, and its folder's path by other names.
fn with_names() -> (Folder, Folder, Vec<PathBuf>) {
    let (folder, other) = (Folder::new(), Folder::new());
    fs::create_dir_all(other.path().join("inner")).unwrap();
    let db = Database::open(folder.path(), &quick()).unwrap();
    save(&numbers(&db, "numbers"), 5).unwrap();
    let (path, other_path) = (folder.path().to_owned(), other.path().to_owned());
    symlink(&path, other_path.join("link")).unwrap();
    symlink("link", other_path.join("link-to-link")).unwrap();
    symlink("..", other_path.join("inner/up")).unwrap();
    let text = path.to_str().unwrap();
    let names = vec![
        path.clone(),
        format!("{text}/").into(),
        format!("{text}///").into(),
        format!("{text}/.").into(),
        format!("{text}/data/..").into(),
        format!("/{text}").into(),
        path.join("../").join(path.file_name().unwrap()),
        other_path.join("link"),
        other_path.join("link/"),
        other_path.join("link-to-link"),
        other_path.join("inner/up/link"),
        format!("/proc/self/cwd/{}", from_here(&path).display()).into(),
        from_here(&path),
    ];
    (folder, other, names)
}

/// The same place, as seen from the current folder.
fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap();
    let ups = here.components().skip(1).map(|_| "..").collect::<PathBuf>();
    ups.join(path.strip_prefix("/").unwrap())
}

#[test]
fn every_name_of_a_folder_leads_to_the_same_engine() {
    let (folder, _other, names) = with_names();
    let first = Database::open(folder.path(), &quick()).unwrap();
    let table = first.table("numbers").unwrap();
    for (count, name) in names.iter().enumerate() {
        let db = Database::open(name, &quick()).unwrap_or_else(|error| panic!("{}: {error}", name.display()));
        assert_eq!(save(&db.table("numbers").unwrap(), 6).unwrap(), RecordId(count as u64 + 1));
        assert_eq!(table.count().unwrap(), count as u64 + 2, "{} is another engine", name.display());
        let others = OpenOptions { pread: true, ..quick() };
        assert_error(Database::open(name, &others).map(drop), Error::Busy, &["other options"]);
    }
    // For another process too, whose current folder it may be.
    let mut host = Host::in_folder(folder.path());
    let own = std::process::id().to_string();
    for name in [Path::new("."), Path::new("data/.."), &names[7]] {
        let said = host.open(name);
        assert!(said.starts_with("301") && said.contains(&own), "{said}");
    }
    // A new name while it is open changes nothing either.
    let moved = Folder::new();
    fs::rename(folder.path(), moved.path()).unwrap();
    save(&table, 7).unwrap();
    first.checkpoint().unwrap();
    let by_new_name = Database::open(moved.path(), &quick()).unwrap();
    assert_eq!(by_new_name.table("numbers").unwrap().count().unwrap(), names.len() as u64 + 2);
    assert!(host.open(moved.path()).starts_with("301"));
}

#[test]
fn a_copy_made_of_hard_links_is_refused_and_the_first_stays_as_it_was() {
    let folder = Folder::new();
    let db = Database::open(folder.path(), &quick()).unwrap();
    save_many(&numbers(&db, "numbers"), 0..1000).unwrap();
    db.close().unwrap();
    let before = files(folder.path());
    for linked in ["LOCK", "MANIFEST", "data/2", "wal"] {
        let copy = Folder::new();
        for name in before.keys() {
            let (from, to) = (folder.path().join(name), copy.path().join(name));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            match name.starts_with(linked) {
                true => fs::hard_link(from, to).unwrap(),
                false => fs::copy(from, to).map(drop).unwrap(),
            }
        }
        let change = || -> Result<(), Error> {
            let db = Database::open(copy.path(), &quick())?;
            (0..100).try_for_each(|id| replace(&db.table("numbers")?, RecordId(id), -1))?;
            db.checkpoint()?;
            db.close()
        };
        let result = change();
        // A segment of the wal is not written again, but removed; all else must not be touched.
        if linked != "wal" {
            let error = result.expect_err(linked);
            assert!(error.message().contains("more than one name"), "{linked}: {error}");
        }
        assert!(files(folder.path()) == before, "{linked}: the first has changed");
        let db = Database::open(copy.path(), &OpenOptions { read_only: true, ..quick() });
        drop(db.unwrap_or_else(|error| panic!("{linked}: reading is harmless: {error}")));
        drop(copy);
        let db = Database::open(folder.path(), &OpenOptions { read_only: true, ..quick() }).unwrap();
        assert_eq!(scanned(&db.table("numbers").unwrap()).unwrap().len(), 1000);
    }
}

#[test]
fn a_copied_folder_opens_and_one_without_its_lock_file_says_what_to_do() {
    let folder = Folder::new();
    let db = Database::open(folder.path(), &quick()).unwrap();
    save_many(&numbers(&db, "numbers"), 0..1000).unwrap();
    db.close().unwrap();
    let copy = Folder::new();
    assert!(Command::new("cp").arg("-r").args([folder.path(), copy.path()]).status().unwrap().success());
    let open = |options| Database::open(copy.path(), &options);
    for options in [OpenOptions { read_only: true, ..quick() }, quick()] {
        assert_eq!(open(options).unwrap().table("numbers").unwrap().count().unwrap(), 1000);
    }
    // Making it here would let a second process in, where somebody removed the file of a lock that is held.
    let held = open(quick()).unwrap();
    fs::remove_file(copy.path().join("LOCK")).unwrap();
    let said = Host::new().open(copy.path());
    assert!(said.starts_with("500: ") && said.contains("no file LOCK"), "{said}");
    held.close().unwrap();
    let path = copy.path().to_str().unwrap();
    for options in [OpenOptions { read_only: true, ..quick() }, quick()] {
        assert_error(open(options).map(drop), Error::Io, &[path, "no file LOCK", "make an empty one"]);
    }
    fs::write(copy.path().join("LOCK"), "").unwrap();
    assert_eq!(open(quick()).unwrap().table("numbers").unwrap().count().unwrap(), 1000);
}

fn use_it(db: &Database, table: &Table) -> Result<(), Error> {
    (0..500).try_for_each(|value| save(table, value).map(drop))?;
    numbers(db, "another");
    db.checkpoint()?;
    save_many(table, 0..100_000)?;
    db.checkpoint()
}

#[test]
fn a_folder_that_is_removed_under_an_open_database_ends_in_errors_and_nothing_else() {
    let (folder, db) = database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..1000).unwrap();
    db.checkpoint().unwrap();
    fs::remove_dir_all(folder.path()).unwrap();
    // What is open can be read still.
    assert_eq!(fetch(&table, RecordId(999)).unwrap(), 999);
    let error = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| use_it(&db, &table)));
    let error = error.expect("no panic").expect_err("there is nowhere to write to");
    assert!(matches!(error, Error::Io(_) | Error::Poisoned(_) | Error::CommitUnknown(_)), "{error:?}");
    // The same path is free for a new database, in this process and in others.
    let mut host = Host::new();
    assert_eq!(host.open(folder.path()), "held");
    host.tell("go on");
    assert_eq!(host.hear(), "closed");
    let fresh = Database::open(folder.path(), &quick()).unwrap();
    assert_eq!(fresh.table("numbers").unwrap().count().unwrap(), 1);
    assert_eq!(fetch(&table, RecordId(999)).unwrap(), 999);
    assert!(db.close().is_err(), "not all is durable");
    save(&fresh.table("numbers").unwrap(), 2).unwrap();
    fresh.close().unwrap();
}

#[test]
fn a_folder_that_is_replaced_under_an_open_database_leaves_both_as_they_are() {
    let (folder, db) = database();
    let table = numbers(&db, "numbers");
    save_many(&table, 0..1000).unwrap();
    let moved = Folder::new();
    fs::rename(folder.path(), moved.path()).unwrap();
    let other = Database::open(folder.path(), &quick()).unwrap();
    save(&numbers(&other, "other"), 1).unwrap();
    use_it(&db, &table).unwrap();
    other.checkpoint().unwrap();
    db.close().unwrap();
    other.close().unwrap();
    let db = Database::open(moved.path(), &quick()).unwrap();
    assert_eq!(db.table("numbers").unwrap().count().unwrap(), 101_500);
    assert_eq!(db.verify().unwrap().findings, []);
    let other = Database::open(folder.path(), &quick()).unwrap();
    assert_eq!(other.tables().unwrap().len(), 1);
    assert_eq!(scanned(&other.table("other").unwrap()).unwrap(), [(0, 1)]);
}
