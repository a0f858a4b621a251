//! Pages and their sums: both are changed; where the sums are made to fit, records are whatever the bytes are.
#![no_main]

use diamonddb_fuzz::folder::{Folder, names, read, write};
use diamonddb_fuzz::forge::{BLOCK, page_sum, set};
use diamonddb_fuzz::{Feed, visit};
use libfuzzer_sys::fuzz_target;

/// With the sizes in use, pages have 64 bytes where two slots fit, and 112 where one slot is a page.
const PAGE_SIZES: [usize; 2] = [64, 112];

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed(data);
    let (folder, flags) = (Folder::pick(&mut feed), feed.byte());
    let disk = folder.disk();
    let files: Vec<String> = names(&disk).into_iter().filter(|name| is_table(name)).collect();
    let fits = flags & 1 != 0;
    while !feed.is_empty() && !files.is_empty() {
        let name = &files[feed.below(files.len())];
        let sums_name = format!("{name}.sum");
        let (mut pages, mut sums) = (read(&disk, name), read(&disk, &sums_name));
        let (what, at, size) = (feed.byte(), feed.below(2048), 1 + feed.below(32));
        let bytes = feed.bytes(size);
        let target = if what & 1 == 0 { &mut pages } else { &mut sums };
        match what >> 1 & 7 {
            0 => target.truncate(BLOCK + at),
            1 => target.resize(target.len() + at, 0),
            _ => {
                for (byte, new) in target.iter_mut().skip(BLOCK + at).zip(bytes) {
                    *byte ^= new;
                }
            }
        }
        if fits {
            let file = name["data/".len()..].parse().expect("names are numbers");
            let page_size = PAGE_SIZES[usize::from(what >> 4 & 1)];
            for (number, page) in pages.get(BLOCK..).unwrap_or_default().chunks_exact(page_size).enumerate() {
                let place = BLOCK + number * 8;
                if place + 8 <= sums.len() {
                    set(&mut sums, place..place + 8, page_sum(file, number as u64, page));
                }
            }
        }
        write(&disk, name, &pages);
        write(&disk, &sums_name, &sums);
    }
    match fits {
        true => visit::forged(&disk, flags & 2 != 0),
        false => visit::damaged(&disk, flags & 2 != 0, &folder.states),
    }
});

fn is_table(name: &str) -> bool {
    name.starts_with("data/") && !name.ends_with(".sum") && name != "data/1"
}
