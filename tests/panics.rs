//! A panic is a defect of the library, and stops at its border: the call returns PANIC, its database writes nothing
//! more and goes on reading, other databases do not notice, and opening again recovers.
//!
//! Behind every function of the header one is let loose at every point where it borrows, takes or hands out a handle,
//! a module or a reply (feature `simulation`). Elsewhere a disk panics in the midst of a call.

#![cfg(feature = "simulation")]
#![allow(unsafe_code, reason = "a test reads a pin as C does")]

#[path = "kit/c_calls.rs"]
mod c_calls;
#[path = "kit/c_header.rs"]
mod c_header;
#[path = "kit/c_modules.rs"]
mod c_modules;
mod kit;

use std::cell::RefCell;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use c_calls::{OK, PANIC, POISONED, Role, World, invoke, message};
use c_header::Header;
use c_modules::destroyed;
use diamonddb::os::simulated::SimulatedDisk;
use diamonddb::os::{Open, RealDisk};
use diamonddb::{Database, Durability, Error, OpenOptions, RecordId, Table, panic_at_border_point};
use kit::meddler::{Call, Hook, Meddler};
use kit::{Folder, assert_error, fetch, numbers, quick, save, simulated};

fn header() -> Header {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/diamonddb.h");
    Header::parse(&fs::read_to_string(path).expect("the header is there"))
}

#[test]
fn a_panic_behind_any_export_poisons_its_database_and_no_other() {
    let header = header();
    let fallible = header.functions.iter().filter(|it| it.returns == "diamond_status");
    let mut panics = 0;
    for function in fallible {
        let points =
            (1..).find(|&point| !panics_at(&header, &function.name, point)).expect("some call has no point left");
        assert!(points > 1, "{} passes no point where it could be let panic", function.name);
        panics += points - 1;
    }
    println!("{panics} panics were stopped");
}

/// Lets `name` panic at its `point`th point, and looks at what is left. False if it has no such point.
fn panics_at(header: &Header, name: &str, point: u32) -> bool {
    let (mut world, other) = (World::new(header), World::new(header));
    let content = world.content();
    let mut call = world.prepare(name);
    let works_on_handle = call.slots.iter().any(|it| matches!(it.role, Role::Handle(_)));
    let status = call.run_while(&|is_running| panic_at_border_point(if is_running { point } else { 0 }));
    let sentence = call.said.clone();
    if status == OK {
        call.take_back();
        world.finish(call);
        return false;
    }
    assert_eq!(status, PANIC, "{name} at {point}: {sentence}");
    assert!(sentence.starts_with(&format!("{name}: a defect of DiamondDB")), "{sentence}");
    assert!(call.out_handles().iter().all(|&it| it == 0), "{name} at {point}: something came out");
    let filled = call.touched().into_iter().find(|it| matches!(it.role, Role::StructOut(_)));
    assert!(filled.is_none(), "{name} at {point}: {filled:?} was filled");
    let closed = world.finish_poisoned(call);
    assert!([OK, POISONED].contains(&closed), "{name} at {point}: {}", message());

    // Its database reads and does not write, and says why.
    assert_eq!(world.content(), content, "{name} at {point}");
    let written = world.run("diamond_table_save");
    if works_on_handle {
        assert_eq!(written, POISONED, "{name} at {point}: {}", message());
    } else {
        assert_eq!(written, OK, "{name} at {point}: {}", message());
    }
    assert_eq!(other.run("diamond_table_save"), OK, "{name} at {point}: {}", message());

    assert_eq!(world.close(), if works_on_handle { POISONED } else { OK }, "{name} at {point}");
    world.open();
    if works_on_handle {
        assert_eq!(world.content(), content, "{name} at {point}");
    }
    assert_eq!(world.run("diamond_table_save"), OK, "{name} at {point}: {}", message());
    true
}

#[test]
fn a_panic_of_an_open_destroys_its_modules_once_or_leaves_them() {
    let header = header();
    let world = World::new(&header);
    let mut seen = Vec::new();
    for point in 1.. {
        let mut call = world.prepare("diamond_open");
        call.hand_over("options->store");
        call.hand_over("options->cache");
        let contexts = call.modules();
        let status = call.run_while(&|is_running| panic_at_border_point(if is_running { point } else { 0 }));
        if status == OK {
            call.take_back();
            world.finish(call);
            break;
        }
        assert_eq!(status, PANIC, "at {point}: {}", call.said);
        seen.push(contexts.iter().map(|(context, _)| destroyed(*context)).collect::<Vec<_>>());
        world.finish(call);
    }
    assert!(seen.iter().all(|it| [[0, 0], [1, 1]].contains(&[it[0], it[1]])), "{seen:?}");
    assert!(seen.contains(&vec![0, 0]) && seen.contains(&vec![1, 1]), "{seen:?}");
}

#[test]
fn a_pin_outlives_a_panic_and_the_folder_recovers_once_it_is_closed() {
    let header = header();
    let mut world = World::new(&header);
    // As diamond_slots lies: its size, base, stride, three more, the count.
    let mut slots = [56u64, 0, 0, 0, 0, 0, 0];
    let mut call = world.prepare("diamond_pin_open");
    call.set("slots", slots.as_mut_ptr() as u64);
    assert_eq!(call.run(), OK, "{}", message());
    let pin = call.out_handles()[0];
    world.finish(call);
    let [_, base, stride, .., count] = slots;
    // SAFETY: the pin says so, and is open.
    let pinned = || unsafe { std::slice::from_raw_parts(base as *const u8, (stride * count) as usize) }.to_vec();
    let (before, content) = (pinned(), world.content());

    panic_at_border_point(1);
    assert_eq!(invoke("diamond_flush", &[world.db()]), PANIC);
    panic_at_border_point(0);
    assert_eq!(world.close(), POISONED);
    // Whoever opens it now shares what the pin keeps open.
    assert_eq!(world.run("diamond_flush"), POISONED, "{}", message());
    assert_eq!(pinned(), before);
    assert_eq!(invoke("diamond_pin_close", &[pin]), POISONED, "{}", message());

    world.open();
    assert_eq!(world.content(), content);
    assert_eq!(world.run("diamond_table_save"), OK, "{}", message());
}

/// A disk that panics, once, at a call of this kind to a file whose name starts so.
struct Panics {
    armed: AtomicBool,
    /// Only in the library's own threads.
    background: bool,
    call: Call,
    file: &'static str,
}

impl Hook for Panics {
    fn before(&self, call: Call, name: &str) -> io::Result<()> {
        let background = std::thread::current().name().is_some_and(|name| name.starts_with("diamonddb-"));
        let here = call == self.call && name.starts_with(self.file) && (background || !self.background);
        if here && self.armed.swap(false, Ordering::SeqCst) {
            panic!("the disk was let panic");
        }
        Ok(())
    }
}

fn on_panicking_disk(
    call: Call,
    file: &'static str,
    options: &OpenOptions,
) -> (Arc<SimulatedDisk>, Arc<Panics>, Database) {
    let disk = SimulatedDisk::new(1);
    let panics = Arc::new(Panics { armed: AtomicBool::new(false), background: !options.no_threads, call, file });
    let db = Database::open_on(Meddler::new(disk.clone(), panics.clone()), options).expect("an empty disk opens");
    (disk, panics, db)
}

/// What was acknowledged is there, what comes now is refused, and a new opening takes it again.
fn is_poisoned_and_recovers(disk: &SimulatedDisk, db: Database, table: &Table) {
    assert_error(save(table, 2), Error::Poisoned, &["because"]);
    assert_eq!(fetch(table, RecordId(0)), Ok(1));
    assert_error(db.close(), Error::Poisoned, &["because"]);
    let db = Database::open_on(disk.kill(), &simulated(Durability::Sync)).expect("it is opened again");
    let table = numbers(&db, "numbers");
    assert_eq!(fetch(&table, RecordId(0)), Ok(1));
    save(&table, 3).expect("it writes again");
}

#[test]
fn a_panic_of_whoever_writes_for_all_leaves_nobody_waiting() {
    for call in [Call::Write, Call::Sync] {
        let (disk, panics, db) = on_panicking_disk(call, "wal/", &simulated(Durability::Sync));
        let table = numbers(&db, "numbers");
        save(&table, 1).expect("the disk is well");
        panics.armed.store(true, Ordering::SeqCst);
        assert!(catch_unwind(AssertUnwindSafe(|| save(&table, 2))).is_err(), "{call:?}: the panic goes up");
        is_poisoned_and_recovers(&disk, db, &table);
    }
}

#[test]
fn a_panic_in_a_checkpoint_leaves_nothing_half_done() {
    let (disk, panics, db) = on_panicking_disk(Call::Write, "data/", &simulated(Durability::Sync));
    let table = numbers(&db, "numbers");
    save(&table, 1).expect("the disk is well");
    panics.armed.store(true, Ordering::SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| db.checkpoint())).is_err(), "the panic goes up");
    is_poisoned_and_recovers(&disk, db, &table);
}

#[test]
fn a_panic_in_a_background_thread_ends_writing() {
    let (write, make) = (Call::Write, Call::Open(Open::Create));
    // The wal of commits that nobody waits for, a checkpoint's files, and a segment made ahead.
    for (call, file, durability) in
        [(write, "wal/", Durability::Async), (write, "data/", Durability::Os), (make, "wal/", Durability::Os)]
    {
        let options = OpenOptions { no_threads: false, interval_ms: 1, ..simulated(durability) };
        let (disk, panics, db) = on_panicking_disk(call, file, &options);
        let table = numbers(&db, "numbers");
        save(&table, 1).expect("the disk is well");
        db.flush().expect("the disk is well");
        panics.armed.store(true, Ordering::SeqCst);
        while save(&table, 2).is_ok() {}
        is_poisoned_and_recovers(&disk, db, &table);
    }
}

#[test]
fn a_panic_in_a_close_leaves_the_folder_unlocked() {
    let folder = Folder::new();
    let panics =
        Arc::new(Panics { armed: AtomicBool::new(false), background: false, call: Call::Write, file: "data/" });
    let real = Arc::new(RealDisk::open(folder.path(), true).expect("a folder is made"));
    let db = Database::open_on(Meddler::new(real, panics.clone()), &quick()).expect("an empty folder opens");
    let table = numbers(&db, "numbers");
    save(&table, 1).expect("the disk is well");
    panics.armed.store(true, Ordering::SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| db.close())).is_err(), "the panic goes up");

    let again = Database::open(folder.path(), &quick()).expect("nobody holds it");
    assert_eq!(fetch(&numbers(&again, "numbers"), RecordId(0)), Ok(1));
    assert_error(save(&table, 2), Error::Closed, &[]);
}

/// Saves when it is dropped.
struct SavesLast(Table, mpsc::Sender<Result<RecordId, Error>>);

impl Drop for SavesLast {
    fn drop(&mut self) {
        let _ = self.1.send(save(&self.0, 7));
    }
}

#[test]
fn a_destructor_that_saves_while_its_thread_panics_poisons_nothing() {
    let (_folder, db) = kit::database();
    let table = numbers(&db, "numbers");
    let (sender, receiver) = mpsc::channel();
    let last = SavesLast(table.clone(), sender);
    let thread = std::thread::spawn(move || {
        let _last = last;
        panic!("the user's own");
    });
    assert!(thread.join().is_err());
    assert_eq!(receiver.recv(), Ok(Ok(RecordId(0))));
    db.checkpoint().expect("nothing is poisoned");
    assert_eq!(save(&table, 8), Ok(RecordId(1)));
    assert_eq!(fetch(&table, RecordId(0)), Ok(7));
}

thread_local! {
    static AT_THE_END: RefCell<Option<SavesLast>> = const { RefCell::new(None) };
}

#[test]
fn a_destructor_at_the_end_of_a_thread_may_save() {
    let (_folder, db) = kit::database();
    let table = numbers(&db, "numbers");
    for early in [true, false] {
        let (sender, receiver) = mpsc::channel();
        let (table, last) = (table.clone(), SavesLast(table.clone(), sender));
        let thread = std::thread::spawn(move || {
            // Before the library's own memory of this thread, or after it: one of them is gone when it runs.
            if early {
                AT_THE_END.set(Some(last));
                save(&table, 1).expect("a thread may save");
                table.replace_json(RecordId(0), "{}").expect("a thread may replace");
            } else {
                save(&table, 1).expect("a thread may save");
                AT_THE_END.set(Some(last));
            }
        });
        thread.join().expect("no panic");
        assert!(matches!(receiver.recv(), Ok(Ok(_))), "early: {early}");
    }
    db.checkpoint().expect("nothing is poisoned");
    assert_eq!(table.count(), Ok(4));
}
