//! Power cuts: a process writes to a database on a real file system, whose device loses its power time and again.
//!
//! The device keeps what was written since the last flush in a volatile cache. At a cut, each sector of that survives
//! or not; what is left is mounted again, the file system repairs itself, the database is opened, and what had been
//! acknowledged before the cut must be there. Needs root, FUSE and loop devices.
//!
//! `DIAMOND_CUTS` is the number of cuts in each durability mode and file system (20 if not given), `DIAMOND_SEED` the
//! first seed, `DIAMOND_FILE_SYSTEMS` the file systems (`ext4` if not given; `xfs` needs xfsprogs).

#[path = "../kit/mod.rs"]
mod kit;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use diamonddb::{Database, Durability, OpenOptions};
use diamonddb_power::{Device, FILE_NAME, Served};
use kit::Folder;
use kit::writer::{self, Random, Witness};

/// One process lives through so many cuts: each leaves an image, and the process does not notice.
const CUTS_PER_PROCESS: u64 = 10;

fn text_from_env(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn number_from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// An empty file system, as the bytes of its device.
fn formatted(kind: &str, folder: &Path) -> Vec<u8> {
    let image = folder.join("image");
    let size = if kind == "xfs" { 320 << 20 } else { 96 << 20 };
    fs::File::create(&image).unwrap().set_len(size).unwrap();
    match kind {
        "ext4" => run(Command::new("mkfs.ext4").args(["-q", "-F", "-J", "size=4"]).arg(&image)),
        _ => run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image)),
    };
    fs::read(image).unwrap()
}

/// A file system that is mounted from a device of ours, until drop.
struct Mounted {
    at: PathBuf,
    device: Device,
    loop_device: String,
    served: PathBuf,
    _session: Served,
}

impl Mounted {
    fn new(contents: Vec<u8>, folder: &Path) -> Mounted {
        let (served, at) = (folder.join("served"), folder.join("mounted"));
        fs::create_dir_all(&served).unwrap();
        fs::create_dir_all(&at).unwrap();
        let device = Device::new(contents);
        let session = device.serve(&served).unwrap_or_else(|error| panic!("FUSE does not work here: {error}"));
        let loop_device = run(Command::new("losetup").args(["-f", "--show"]).arg(served.join(FILE_NAME)));
        run(Command::new("mount").arg(&loop_device).arg(&at));
        Mounted { at, device, loop_device, served, _session: session }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for arguments in [
            vec!["umount", "-l", self.at.to_str().unwrap()],
            vec!["losetup", "-d", &self.loop_device],
            vec!["umount", "-l", self.served.to_str().unwrap()],
        ] {
            let _ = Command::new(arguments[0]).args(&arguments[1..]).output();
        }
    }
}

#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(folder) = std::env::var("POWER_FOLDER") else { return };
    let number = |name| number_from_env(name, 0);
    let durability = durability_from(&std::env::var("POWER_DURABILITY").unwrap());
    writer::write_until_killed(Path::new(&folder), number("POWER_SEED"), durability, number("POWER_ROUND"));
}

fn durability_from(text: &str) -> Durability {
    match text {
        "sync" => Durability::Sync,
        "os" => Durability::Os,
        "async" => Durability::Async,
        other => panic!("there is no durability {other}"),
    }
}

fn start(folder: &Path, mode: &str, seed: u64, round: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child_that_writes_until_it_is_killed", "--exact", "--nocapture"])
        .env("POWER_FOLDER", folder)
        .env("POWER_DURABILITY", mode)
        .env("POWER_SEED", seed.to_string())
        .env("POWER_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// One process on one device, and what the cuts left, each with what had been said before it.
fn live(kind: &str, mode: &str, seed: u64, cuts: u64) -> Vec<(Vec<u8>, Witness)> {
    let folder = Folder::new();
    fs::create_dir_all(folder.path()).unwrap();
    let disk = Mounted::new(formatted(kind, folder.path()), folder.path());
    let mut random = Random::new(seed);
    let mut child = start(&disk.at.join("db"), mode, seed, seed);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let heard = Arc::new(Mutex::new(Witness::new(durability_from(mode))));
    let mut left = Vec::new();
    for _ in 0..cuts {
        // The database is used for a while first; also its making is cut.
        let patience = if random.below(8) == 0 { 1 } else { 1 + random.below(400) };
        for line in lines.by_ref().filter(|line| !line.is_empty()).take(patience as usize) {
            heard.lock().unwrap().hear(&line);
        }
        std::thread::sleep(std::time::Duration::from_micros(random.below(5000)));
        let kept_in_a_hundred = [0, 50, 90, 100][random.below(4) as usize];
        let witness = heard.lock().unwrap().clone();
        let image = disk.device.cut(|count| match random.below(100) < kept_in_a_hundred {
            true => count - 1 - random.below(2).min(count - 1),
            false => 0,
        });
        left.push((image, witness));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    left
}

/// What a cut left is mounted, opened and judged.
fn judge(kind: &str, mode: &str, seed: u64, image: Vec<u8>, witness: &mut Witness) {
    let folder = Folder::new();
    fs::create_dir_all(folder.path()).unwrap();
    let disk = Mounted::new(image, folder.path());
    let path = disk.at.join("db");
    let found = match path.exists() {
        true => {
            let db = Database::open(&path, &OpenOptions { durability: durability_from(mode), ..Default::default() });
            let db = db.unwrap_or_else(|error| panic!("{kind}, {mode}, seed {seed}: {error}"));
            let found = writer::steps_found(&db, seed);
            db.close().unwrap();
            found
        }
        false => Default::default(),
    };
    witness.judge_device(found);
}

fn cut_many(mode: &str) {
    let (cuts, first) = (number_from_env("DIAMOND_CUTS", 20), number_from_env("DIAMOND_SEED", 1));
    for kind in text_from_env("DIAMOND_FILE_SYSTEMS", "ext4").split(',') {
        let (mut done, mut acknowledged) = (0, 0);
        for seed in first.. {
            for (image, mut witness) in live(kind, mode, seed, CUTS_PER_PROCESS.min(cuts - done)) {
                judge(kind, mode, seed, image, &mut witness);
                acknowledged += witness.acknowledged;
                done += 1;
            }
            println!("{kind}, {mode}: seed {seed} done, {done} cuts, {acknowledged} steps acknowledged before them");
            if done == cuts {
                break;
            }
        }
        assert!(acknowledged > cuts, "the processes got something done before the cuts");
    }
}

#[test]
fn in_sync_mode_what_was_acknowledged_survives_a_power_cut() {
    cut_many("sync");
}

#[test]
fn in_os_mode_a_power_cut_leaves_a_prefix() {
    cut_many("os");
}

#[test]
fn in_async_mode_what_was_flushed_survives_a_power_cut() {
    cut_many("async");
}
