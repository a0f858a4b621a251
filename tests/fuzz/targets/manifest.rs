//! The manifest: fields and bytes of both slots are changed, with or without the sums that fit.
#![no_main]

use diamonddb_fuzz::folder::{Folder, read, write};
use diamonddb_fuzz::forge::{BLOCK, MANIFEST_FIELDS, seal, set};
use diamonddb_fuzz::{Feed, visit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed(data);
    let (folder, flags) = (Folder::pick(&mut feed), feed.byte());
    let disk = folder.disk();
    let mut manifest = read(&disk, "MANIFEST");
    let (sealed, read_only) = (flags & 1 != 0, flags & 2 != 0);
    if flags & 4 != 0 {
        let (first, second) = manifest.split_at_mut(BLOCK);
        first.swap_with_slice(second);
    }
    while !feed.is_empty() {
        let what = feed.byte();
        let slot = &mut manifest[usize::from(what & 1) * BLOCK..][..BLOCK];
        match what >> 1 {
            0..8 => slot[feed.below(BLOCK)] ^= feed.byte(),
            field => set(slot, MANIFEST_FIELDS[usize::from(field) % MANIFEST_FIELDS.len()].clone(), feed.number()),
        }
    }
    if sealed {
        manifest.chunks_mut(BLOCK).for_each(seal);
    }
    let size = if flags & 24 == 24 { feed.below(manifest.len() + 1) } else { manifest.len() };
    write(&disk, "MANIFEST", &manifest[..size]);
    match sealed {
        true => visit::forged(&disk, read_only),
        false => visit::damaged(&disk, read_only, &folder.states),
    }
});
