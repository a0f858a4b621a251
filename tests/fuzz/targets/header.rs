//! The first blocks of data files, sum files and segments: changed, with or without a sum that fits.
#![no_main]

use diamonddb_fuzz::folder::{Folder, names, read, write};
use diamonddb_fuzz::forge::{BLOCK, HEADER_FIELDS, SEGMENT_FIELDS, seal, set};
use diamonddb_fuzz::{Feed, visit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed(data);
    let (folder, flags) = (Folder::pick(&mut feed), feed.byte());
    let disk = folder.disk();
    let files: Vec<String> = names(&disk).into_iter().filter(|name| name != "MANIFEST").collect();
    let sealed = flags & 1 != 0;
    while !feed.is_empty() && !files.is_empty() {
        let name = &files[feed.below(files.len())];
        let fields: &[_] = if name.starts_with("wal/") { &SEGMENT_FIELDS } else { &HEADER_FIELDS };
        let mut bytes = read(&disk, name);
        let block = &mut bytes[..BLOCK];
        match feed.below(16) {
            0..4 => block[feed.below(BLOCK)] ^= feed.byte(),
            field => set(block, fields[field % fields.len()].clone(), feed.number()),
        }
        if sealed {
            seal(block);
        }
        write(&disk, name, &bytes);
    }
    match sealed {
        true => visit::forged(&disk, flags & 2 != 0),
        false => visit::damaged(&disk, flags & 2 != 0, &folder.states),
    }
});
