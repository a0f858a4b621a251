//! The databases that are edited: small ones, closed cleanly or not, each with all states that it ever had.

use std::sync::{Arc, OnceLock};

use diamonddb::Durability;
use diamonddb::os::simulated::SimulatedDisk;
use diamonddb::os::{Disk, DiskFile, Open, read_exact_at, write_all_at};

use crate::Feed;
use crate::support::model::Model;
use crate::support::script::{Run, Step, words::*};
use crate::support::small_sizes;

/// A database on a simulated disk.
pub struct Folder {
    disk: Arc<SimulatedDisk>,
    /// From an empty one to the last.
    pub states: Vec<Model>,
}

impl Folder {
    /// One of them.
    pub fn pick(feed: &mut Feed<'_>) -> &'static Folder {
        static ALL: OnceLock<Vec<Folder>> = OnceLock::new();
        let all = ALL.get_or_init(all);
        &all[feed.below(all.len())]
    }

    /// Its disk, as a new process finds it. What happens to that does not happen to the next one.
    pub fn disk(&self) -> Arc<SimulatedDisk> {
        self.disk.kill()
    }
}

fn all() -> Vec<Folder> {
    let setup =
        vec![make("a"), make_wide("b"), save("a"), save_many("a", 5), save_many("b", 3), make("gone"), save("gone")];
    let changes = vec![
        replace("a", 1),
        delete("a", 2),
        save_many("a", 24),
        Step::Batch(vec![in_save("b"), in_replace("a", 0), in_delete("b", 1), in_save("a")]),
        drop_table("gone"),
        make("late"),
        save_many("late", 3),
        rename("late", "later"),
        save("later"),
    ];
    let both = || [setup.clone(), vec![Step::Checkpoint], changes.clone()].concat();
    let often = [both(), vec![Step::Checkpoint, replace("a", 3), save("b"), Step::Checkpoint, delete("a", 3)]].concat();
    vec![
        build(&[], Durability::Sync, |run| run.close().expect("a clean close")),
        build(&both(), Durability::Sync, |run| run.close().expect("a clean close")),
        build(&both(), Durability::Sync, |_| {}),
        build(&often, Durability::Sync, |_| {}),
        build(&often, Durability::Async, |_| {}),
        midway(&both(), 4),
        midway(&both(), 2),
        midway(&both(), 1),
    ]
}

/// Does the steps, ends as it is told, and stops as if killed.
fn build(steps: &[Step], durability: Durability, end: impl Fn(&mut Run)) -> Folder {
    let mut run = Run::new(&small_sizes(durability), SimulatedDisk::new(7));
    run.open().expect("an empty folder opens");
    let mut states = vec![run.model()];
    for step in steps {
        run.step(step).expect("a step of ours");
        states.push(run.model());
    }
    end(&mut run);
    let disk = run.disk.kill();
    run.finish();
    Folder { disk, states }
}

/// Killed during a last checkpoint, so many events before its end.
fn midway(steps: &[Step], events: usize) -> Folder {
    let mut run = Run::new(&small_sizes(Durability::Sync), SimulatedDisk::new(7));
    run.open().expect("an empty folder opens");
    let mut states = vec![run.model()];
    for step in steps {
        run.step(step).expect("a step of ours");
        states.push(run.model());
    }
    let begun = run.disk.events();
    run.step(&Step::Checkpoint).expect("a checkpoint");
    let recording = run.disk.recording();
    let disk = recording.at(recording.len() - (recording.len() - begun) * events / 5).killed();
    run.finish();
    Folder { disk, states }
}

/// The names of all files, in order, but for the lock.
pub fn names(disk: &SimulatedDisk) -> Vec<String> {
    let mut names = vec!["MANIFEST".to_owned()];
    for folder in ["data", "wal"] {
        names.extend(disk.list(folder).unwrap_or_default().into_iter().map(|name| format!("{folder}/{name}")));
    }
    names
}

/// The bytes of a file; none where there is none.
pub fn read(disk: &SimulatedDisk, name: &str) -> Vec<u8> {
    let Ok(file) = disk.open(name, Open::Read) else { return Vec::new() };
    let mut bytes = vec![0; file.size().expect("a size") as usize];
    read_exact_at(&*file, &mut bytes, 0).expect("the whole file");
    bytes
}

/// Makes a file, or replaces what it held.
pub fn write(disk: &SimulatedDisk, name: &str, bytes: &[u8]) {
    let file: Arc<dyn DiskFile> = disk.open(name, Open::Create).expect("its folder is there");
    write_all_at(&*file, bytes, 0).expect("a disk in memory takes all");
}
