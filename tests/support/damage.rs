//! Damage to what a disk holds durably: bits that flip, files that are lost or stand in another's place, writes that
//! went to the wrong one. Whatever is damaged, a database answers what it held, or `CORRUPT`.

use std::io;
use std::sync::Arc;

use diamonddb::os::simulated::{Rng, SimulatedDisk};
use diamonddb::os::{Disk, Open};
use diamonddb::{Database, Error, OpenOptions};

use super::model::Model;
use super::oracle;
use super::script::{Run, Step, abandon, words::*};

const CORRUPT: i32 = 501;
const FORMAT: i32 = 503;
const BLOCK_SIZE: usize = 4096;

/// A database as a power cut left it, with what it must hold, and another one of the same shape.
pub struct Victim {
    options: OpenOptions,
    disk: Arc<SimulatedDisk>,
    stranger: Arc<SimulatedDisk>,
    model: Model,
    names: Vec<String>,
    rng: Rng,
    rounds: u64,
}

impl Victim {
    /// A database with pages on disk, a wal that changes some of them, and a watermark behind its last commit.
    pub fn new(options: &OpenOptions, seed: u64) -> Victim {
        let (disk, model) = make_one(options, seed, 1);
        let (stranger, _) = make_one(options, !seed, 2);
        let mut names = vec!["MANIFEST".to_owned()];
        for folder in ["data", "wal"] {
            let mut found = disk.list(folder).expect("the folder is there");
            found.sort();
            names.extend(found.into_iter().map(|name| format!("{folder}/{name}")));
        }
        let (options, rng) = (options.clone(), Rng::new(seed));
        Victim { options, disk, stranger, model, names, rng, rounds: 0 }
    }

    /// Damages the database in one way, and looks at it. Panics where that is not noticed.
    pub fn suffer(&mut self) {
        let disk = self.disk.kill();
        self.rounds += 1;
        if let Some(what) = self.harm(&disk, self.rounds) {
            self.look(&disk, &what);
        }
    }

    /// What was read is right, or else it is said to be damaged.
    fn look(&self, disk: &Arc<SimulatedDisk>, what: &str) {
        let is_right = |error: &Error| assert!(matches!(error.status(), CORRUPT | FORMAT), "{what}: {error:?}");
        let db = match Database::open_on(Arc::clone(disk) as _, &self.options) {
            Ok(db) => db,
            Err(error) => return is_right(&error),
        };
        match oracle::read(&db) {
            Ok(found) => {
                assert!(found == self.model, "{what}: {}", self.model.difference(&found));
                // What is right may still lie in a wrong place, where only `verify` looks.
                let _ = db.verify();
            }
            Err(error) => is_right(&error),
        }
        abandon(disk, Some(Arc::new(db)));
    }

    /// Does some damage, and says which. `None` if it turned out to be none.
    fn harm(&mut self, disk: &SimulatedDisk, round: u64) -> Option<String> {
        let name = self.names[self.rng.below(self.names.len() as u64) as usize].clone();
        let bytes = read(disk, &name).expect("the file is there");
        match round % 8 {
            0..4 => {
                let at = self.some_used_byte(&bytes);
                let bit = self.rng.below(8);
                write(disk, &name, at, &[bytes[at] ^ 1 << bit]).expect("a bit is flipped");
                Some(format!("bit {bit} of byte {at} of {name} is flipped"))
            }
            4 if round % 16 < 8 => {
                disk.remove(&name).expect("the file was there");
                Some(format!("{name} is lost"))
            }
            4 => {
                let size = self.some_used_byte(&bytes);
                disk.open(&name, Open::Write).and_then(|file| file.set_size(size as u64)).expect("a file is cut");
                Some(format!("{name} is cut to {size} bytes"))
            }
            5 => {
                // With its sums, where it has any.
                let names = if round % 16 < 8 { vec![name] } else { vec!["data/2".into(), "data/2.sum".into()] };
                for name in &names {
                    let other = read(&self.stranger, name).ok()?;
                    write(disk, name, 0, &other).expect("the file is there");
                }
                Some(format!("{names:?} are those of another database"))
            }
            6 => self.misplace(disk, &name, &bytes),
            _ => self.misplace_page(disk, round / 8),
        }
    }

    /// A byte that is not zero or stands beside one, so that most damage hits what is in use.
    fn some_used_byte(&mut self, bytes: &[u8]) -> usize {
        let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
        let at = used.get(self.rng.below(used.len() as u64) as usize).copied().unwrap_or(0);
        (at + self.rng.below(4) as usize / 3).min(bytes.len() - 1)
    }

    /// What belongs to one place of a file lies in another: whole sectors, or of the wal whole frames.
    fn misplace(&mut self, disk: &SimulatedDisk, name: &str, bytes: &[u8]) -> Option<String> {
        let frames = if name.starts_with("wal/") { frames(bytes) } else { Vec::new() };
        let (from, to) = if frames.len() > 2 {
            let (from, to) = (self.rng.below(frames.len() as u64), self.rng.below(frames.len() as u64));
            (frames[from as usize].clone(), frames[to as usize].clone())
        } else {
            let count = (bytes.len() / 512) as u64;
            let (from, to) = (self.rng.below(count) as usize * 512, self.rng.below(count) as usize * 512);
            (from..from + 512, to..to + 512)
        };
        if from.len() != to.len() || bytes[from.clone()] == bytes[to.clone()] {
            return None;
        }
        write(disk, name, to.start, &bytes[from.clone()]).expect("the file is there");
        Some(format!("bytes {from:?} of {name} stand at {to:?} too"))
    }

    /// Two pages of a table changed places, and their sums too.
    fn misplace_page(&mut self, disk: &SimulatedDisk, round: u64) -> Option<String> {
        let (name, page_size) = ("data/2", self.options.sizes.page);
        let (data, sums) = (read(disk, name).ok()?, read(disk, "data/2.sum").ok()?);
        let count = ((data.len() - BLOCK_SIZE) / page_size).min((sums.len() - BLOCK_SIZE) / 8) as u64;
        let (one, other) = (round % count, self.rng.below(count));
        let page = |number: u64| BLOCK_SIZE + number as usize * page_size;
        let sum = |number: u64| BLOCK_SIZE + number as usize * 8;
        for (one, other) in [(one, other), (other, one)] {
            write(disk, name, page(one), &data[page(other)..][..page_size]).expect("the file is there");
            write(disk, "data/2.sum", sum(one), &sums[sum(other)..][..8]).expect("the file is there");
        }
        Some(format!("pages {one} and {other} of {name} changed places, with their sums"))
    }
}

/// The records of databases with another `first` are others.
fn make_one(options: &OpenOptions, seed: u64, first: usize) -> (Arc<SimulatedDisk>, Model) {
    let mut run = Run::new(options, SimulatedDisk::new(seed));
    run.open().expect("an empty folder opens");
    let before = [make("a"), make_wide("b"), save_many("b", first), save_many("a", 20), save_many("b", 4 - first)];
    let after = [
        Step::Reopen,
        save("a"),
        replace("a", 3),
        replace("a", 4),
        save("b"),
        replace("b", 1),
        rename("b", "c"),
        save("a"),
        save("a"),
    ];
    let end = [Step::Checkpoint, replace("a", 6), replace("a", 9), replace("a", 2), save("a"), Step::Upkeep];
    // So much that the wal goes on in a second segment.
    let much = (0..60).map(|id| replace("a", id % 6)).chain([Step::Upkeep]).collect::<Vec<_>>();
    for step in before.iter().chain(&after).chain(&end).chain(&much) {
        run.step(step).expect("nothing fails");
    }
    let model = run.model();
    let recording = run.disk.recording();
    let point = recording.at(recording.len());
    let left = point.state(&point.choice(true));
    run.finish();
    (left, model)
}

/// Where the frames of a segment lie.
fn frames(segment: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut frames = Vec::new();
    let mut at = BLOCK_SIZE;
    while let Some(size) = segment.get(at..at + 4) {
        let size = u32::from_le_bytes(size.try_into().expect("four bytes")) as usize;
        if !(32..segment.len() - at).contains(&size) {
            break;
        }
        frames.push(at..at + size.next_multiple_of(8));
        at += size.next_multiple_of(8);
    }
    frames
}

fn read(disk: &SimulatedDisk, name: &str) -> io::Result<Vec<u8>> {
    let file = disk.open(name, Open::Read)?;
    let mut bytes = vec![0; file.size()? as usize];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}

fn write(disk: &SimulatedDisk, name: &str, at: usize, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(name, Open::Write)?;
    file.write_at(bytes, at as u64).map(|_| ())
}
