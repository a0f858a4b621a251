//! One fault of a device: what it does to the files of a database.

use std::fmt;

use diamonddb::os::simulated::{Rng, SimulatedDisk};
use diamonddb::os::{Disk, Open, read_exact_at, write_all_at};

use super::shape::Shape;

const SECTOR: u64 = 512;
const PAGE: u64 = 4096;

/// What happens to which file. Places are in bytes.
#[derive(Clone, Debug)]
pub enum Fault {
    FlippedBit {
        file: String,
        at: u64,
        bit: u8,
    },
    Zeroed {
        file: String,
        at: u64,
        size: u64,
    },
    /// Pieces of two files, or of one, in each other's places.
    SwappedPieces {
        file: String,
        at: u64,
        other: String,
        other_at: u64,
        size: u64,
    },
    SwappedFiles {
        file: String,
        other: String,
    },
    Truncated {
        file: String,
        size: u64,
    },
    Extended {
        file: String,
        size: u64,
        garbage: u64,
    },
    Removed {
        file: String,
    },
    /// An older version of the file is back.
    Stale {
        file: String,
        bytes: Stale,
    },
}

/// The bytes of an older version, which a message does not show.
#[derive(Clone)]
pub struct Stale {
    moment: usize,
    bytes: Vec<u8>,
}

impl fmt::Debug for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes as of moment {}", self.bytes.len(), self.moment)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Fault {
    /// Some fault. Flipped bits make up a third of them; of their places, half hold bytes that are not zero.
    pub fn random(shape: &Shape, rng: &mut Rng) -> Fault {
        let names: Vec<&String> = shape.files.keys().collect();
        let pick = |rng: &mut Rng| names[rng.below(names.len() as u64) as usize].clone();
        let (file, other) = (pick(rng), pick(rng));
        let bytes = &shape.files[&file];
        let (size, other_size) = (bytes.len() as u64, shape.files[&other].len() as u64);
        let piece = |rng: &mut Rng, size: u64, piece: u64| rng.below(size.div_ceil(piece).max(1)) * piece;
        match rng.below(12) {
            0..4 => {
                let mut at = rng.below(size);
                if rng.chance(1, 2) {
                    at = (at..size).find(|at| bytes[*at as usize] != 0).unwrap_or(at);
                }
                Fault::FlippedBit { file, at, bit: rng.below(8) as u8 }
            }
            4 => Fault::Zeroed { at: piece(rng, size, SECTOR), size: SECTOR, file },
            5 => Fault::Zeroed { at: piece(rng, size, PAGE), size: PAGE, file },
            kind @ (6 | 7) => {
                let (other, other_size) = if kind == 6 { (file.clone(), size) } else { (other, other_size) };
                let unit = if rng.chance(1, 2) { SECTOR } else { PAGE };
                let (at, other_at) = (piece(rng, size, unit), piece(rng, other_size, unit));
                Fault::SwappedPieces { file, at, other, other_at, size: unit }
            }
            8 => Fault::Truncated { size: rng.below(size), file },
            9 => Fault::Extended { size: 1 + rng.below(3 * PAGE), garbage: rng.next(), file },
            10 if rng.chance(1, 16) => Fault::Removed { file },
            10 => Fault::SwappedFiles { file, other },
            _ => {
                let moment = rng.below(shape.past.len() as u64) as usize;
                match shape.past.get(moment).and_then(|past| past.get(&file)) {
                    Some(bytes) => Fault::Stale { file, bytes: Stale { moment, bytes: bytes.clone() } },
                    None => Fault::FlippedBit { at: rng.below(size), file, bit: 0 },
                }
            }
        }
    }

    /// The files that it strikes.
    pub fn files(&self) -> Vec<&str> {
        match self {
            Fault::FlippedBit { file, .. }
            | Fault::Zeroed { file, .. }
            | Fault::Truncated { file, .. }
            | Fault::Extended { file, .. }
            | Fault::Removed { file }
            | Fault::Stale { file, .. } => vec![file],
            Fault::SwappedPieces { file, other, .. } | Fault::SwappedFiles { file, other } => vec![file, other],
        }
    }

    /// Does it.
    pub fn strike(&self, disk: &SimulatedDisk) {
        match self {
            Fault::FlippedBit { file, at, bit } => {
                for byte in read(disk, file, *at, 1) {
                    write(disk, file, *at, &[byte ^ 1 << bit]);
                }
            }
            Fault::Zeroed { file, at, size } => {
                let count = read(disk, file, *at, *size).len();
                write(disk, file, *at, &vec![0; count]);
            }
            Fault::SwappedPieces { file, at, other, other_at, size } => {
                let (one, two) = (read(disk, file, *at, *size), read(disk, other, *other_at, *size));
                let count = one.len().min(two.len());
                write(disk, file, *at, &two[..count]);
                write(disk, other, *other_at, &one[..count]);
            }
            Fault::SwappedFiles { file, other } => {
                let (one, two) = (read(disk, file, 0, u64::MAX), read(disk, other, 0, u64::MAX));
                replace(disk, file, &two);
                replace(disk, other, &one);
            }
            Fault::Truncated { file, size } => open(disk, file).set_size(*size).expect("no failures are planned"),
            Fault::Extended { file, size, garbage } => {
                let mut rng = Rng::new(*garbage);
                let bytes: Vec<u8> = (0..*size).map(|_| rng.next() as u8).collect();
                write(disk, file, open(disk, file).size().expect("no failures are planned"), &bytes);
            }
            Fault::Removed { file } => disk.remove(file).expect("no failures are planned"),
            Fault::Stale { file, bytes } => replace(disk, file, &bytes.bytes),
        }
    }
}

fn open(disk: &SimulatedDisk, file: &str) -> std::sync::Arc<dyn diamonddb::os::DiskFile> {
    disk.open(file, Open::Write).expect("the file is there")
}

/// At most `size` bytes.
fn read(disk: &SimulatedDisk, name: &str, at: u64, size: u64) -> Vec<u8> {
    let file = open(disk, name);
    let there = file.size().expect("no failures are planned");
    let mut bytes = vec![0; there.saturating_sub(at).min(size) as usize];
    read_exact_at(&*file, &mut bytes, at).expect("no failures are planned");
    bytes
}

fn write(disk: &SimulatedDisk, name: &str, at: u64, bytes: &[u8]) {
    write_all_at(&*open(disk, name), bytes, at).expect("no failures are planned");
}

fn replace(disk: &SimulatedDisk, name: &str, bytes: &[u8]) {
    open(disk, name).set_size(0).expect("no failures are planned");
    write(disk, name, 0, bytes);
}
