//! A whole folder: several of its files are changed, cut, lengthened, removed, exchanged or copied. Then, or not, all
//! sums of blocks are made to fit.
#![no_main]

use diamonddb::os::Disk;
use diamonddb::os::simulated::SimulatedDisk;
use diamonddb_fuzz::folder::{Folder, names, read, write};
use diamonddb_fuzz::forge::{BLOCK, seal};
use diamonddb_fuzz::{Feed, visit};
use libfuzzer_sys::fuzz_target;

/// Nothing grows beyond this.
const SIZE_MAX: usize = 64 << 10;

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed(data);
    let (folder, flags) = (Folder::pick(&mut feed), feed.byte());
    let disk = folder.disk();
    while !feed.is_empty() {
        edit(&disk, &mut feed);
    }
    if flags & 1 == 0 {
        return visit::damaged(&disk, flags & 2 != 0, &folder.states);
    }
    for name in names(&disk) {
        let mut bytes = read(&disk, &name);
        let count = if name == "MANIFEST" { 2 } else { 1 };
        bytes.chunks_exact_mut(BLOCK).take(count).for_each(seal);
        write(&disk, &name, &bytes);
    }
    visit::forged(&disk, flags & 2 != 0);
});

fn edit(disk: &SimulatedDisk, feed: &mut Feed<'_>) {
    let names: Vec<String> =
        names(disk).into_iter().filter(|name| disk.open(name, diamonddb::os::Open::Read).is_ok()).collect();
    if names.is_empty() {
        feed.bytes(usize::MAX);
        return;
    }
    let (what, name) = (feed.below(16), &names[feed.below(names.len())]);
    let mut bytes = read(disk, name);
    let at = feed.below(bytes.len().clamp(1, SIZE_MAX));
    match what {
        0..4 => bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= feed.byte()),
        4..6 => {
            let size = 1 + feed.below(64);
            bytes[at..].iter_mut().zip(feed.bytes(size)).for_each(|(byte, new)| *byte = *new);
        }
        6 => {
            let size = feed.below(8192);
            bytes[at..].iter_mut().take(size).for_each(|byte| *byte = 0);
        }
        7 => {
            let (to, size) = (feed.below(bytes.len().clamp(1, SIZE_MAX)), feed.below(4097));
            let size = size.min(bytes.len() - at).min(bytes.len().saturating_sub(to));
            bytes.copy_within(at..at + size, to);
        }
        8 => bytes.truncate(at),
        9 => {
            let (size, byte) = (feed.below(8192), feed.byte());
            bytes.resize((bytes.len() + size).min(SIZE_MAX), byte);
        }
        10 => bytes.splice(..0, feed.bytes(8).iter().copied()).for_each(drop),
        11 => {
            let other = &names[feed.below(names.len())];
            let exchanged = read(disk, other);
            write(disk, other, &bytes);
            bytes = exchanged;
        }
        12 => {
            let (folder, number) = (["wal", "data"][feed.below(2)], feed.below(12));
            let end = ["", ".sum", "0", ".new"][feed.below(4)];
            let copy = format!("{folder}/{number}{end}");
            let _ = disk.open(&copy, diamonddb::os::Open::Create).map(|_| write(disk, &copy, &bytes));
        }
        13 => return disk.remove(name).expect("it was just listed"),
        _ => {
            let bit = feed.below(8);
            bytes[at..].iter_mut().take(1).for_each(|byte| *byte ^= 1 << bit);
        }
    }
    write(disk, name, &bytes);
}
