//! The catalog: its image is changed or written anew, with a sum in the manifest that fits it.
#![no_main]

use diamonddb_fuzz::folder::{Folder, read, write};
use diamonddb_fuzz::forge::{
    BLOCK, CATALOG_PLACE, CATALOG_SIZE, CATALOG_SUM, catalog_sum, get, seal, set, slot_in_force,
};
use diamonddb_fuzz::{Feed, visit};
use libfuzzer_sys::fuzz_target;

/// Before the count: magic, sum, size of what follows, LSN.
const HEAD_SIZE: usize = 32;

/// What a file's entry says before its description, as sizes in bytes.
const FIELDS: [usize; 7] = [4, 4, 4, 4, 8, 8, 8];

fuzz_target!(|data: &[u8]| {
    let mut feed = Feed(data);
    let (folder, flags) = (Folder::pick(&mut feed), feed.byte());
    let disk = folder.disk();
    let mut manifest = read(&disk, "MANIFEST");
    let slot = slot_in_force(&manifest);
    let slot = &mut manifest[slot..][..BLOCK];
    let (place, size) = (get(slot, CATALOG_PLACE) as usize, get(slot, CATALOG_SIZE) as usize);
    let mut data = read(&disk, "data/1");
    let mut image = data.get(place..place + size).unwrap_or_default().to_vec();
    if image.len() < HEAD_SIZE + 8 {
        // There is none yet: an empty list.
        image.resize(HEAD_SIZE + 8, 0);
        image[..8].copy_from_slice(b"DIAMONDC");
    }
    // Behind the head, which is made to fit, or with it.
    let mut list = image.split_off(HEAD_SIZE);
    match flags & 3 {
        0 => scribble(&mut list, &mut feed),
        1 if flags & 8 == 0 => list = feed.bytes(usize::MAX).to_vec(),
        1 => image = feed.bytes(usize::MAX).to_vec(),
        2 => list = entries(&mut feed),
        _ => change_fields(&mut list, &mut feed),
    }
    if image.len() == HEAD_SIZE {
        set(&mut image, 16..24, list.len() as u64);
        image.append(&mut list);
        let sum = catalog_sum(&image[16..]);
        set(&mut image, 8..16, sum);
    }
    let place = place.max(BLOCK);
    data.resize(data.len().max(place + image.len()), 0);
    data[place..][..image.len()].copy_from_slice(&image);
    set(slot, CATALOG_PLACE, place as u64);
    set(slot, CATALOG_SIZE, image.len() as u64);
    set(slot, CATALOG_SUM, catalog_sum(&image));
    seal(slot);
    write(&disk, "data/1", &data);
    write(&disk, "MANIFEST", &manifest);
    visit::forged(&disk, flags & 4 != 0);
});

fn scribble(image: &mut [u8], feed: &mut Feed<'_>) {
    while !feed.is_empty() {
        let (at, byte) = (feed.below(4096), feed.byte());
        image.iter_mut().skip(at).take(1).for_each(|old| *old ^= byte);
    }
}

/// Entries that keep the form, with any numbers and descriptions.
fn entries(feed: &mut Feed<'_>) -> Vec<u8> {
    let mut image = feed.number().to_le_bytes().to_vec();
    while !feed.is_empty() {
        for size in FIELDS[..6].iter() {
            image.extend_from_slice(&feed.number().to_le_bytes()[..*size]);
        }
        let size = feed.below(256);
        let meta = feed.bytes(size);
        image.extend_from_slice(&(meta.len() as u64).to_le_bytes());
        image.extend_from_slice(meta);
    }
    let count = feed.0.len() as u64;
    image[..8].copy_from_slice(&count.max(1).to_le_bytes());
    image
}

/// Numbers of the entries that are there, each in its place; with 7, the entry comes a second time.
fn change_fields(image: &mut Vec<u8>, feed: &mut Feed<'_>) {
    while !feed.is_empty() {
        let (entry, field, number) = (feed.below(4), feed.below(8), feed.number());
        let mut at = 8;
        for _ in 0..entry {
            at += 40 + get(image, at + 32..at + 40) as usize % 4096;
        }
        if at + 40 > image.len() {
            continue;
        }
        if field == FIELDS.len() && image.len() > 4096 {
            continue;
        }
        if field == FIELDS.len() {
            let copy = image[at..].to_vec();
            image.extend_from_slice(&copy);
            let count = get(image, 0..8).wrapping_add(number % 4);
            set(image, 0..8, count);
            continue;
        }
        let start = at + FIELDS[..field].iter().sum::<usize>();
        set(image, start..start + FIELDS[field], number);
    }
}
