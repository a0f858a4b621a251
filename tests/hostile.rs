//! Files whose checksums match and whose numbers were never written by us: what the fuzz targets found, each with the
//! rule that keeps it out. Such a folder is `CORRUPT`, at once and in little memory.
//!
//! The forged bytes follow the drawings at the top of `src/pages/root.rs`, `src/pages/redo.rs` and `src/wal/frame.rs`.
#![cfg(feature = "simulation")]

mod kit;

use std::sync::Arc;

use diamonddb::os::simulated::SimulatedDisk;
use diamonddb::os::{Disk, Open, read_exact_at, write_all_at};
use diamonddb::{Database, Durability, Error, OpenOptions, RecordId};
use kit::{assert_error, fetch, numbers, save, save_many, simulated};

const BLOCK: usize = 4096;

/// The slot size of a table of numbers, and the records of one page with the sizes in use.
const SLOT: u64 = 16;
const PAGE_RECORDS: u64 = 16;

#[test]
fn a_length_that_the_file_does_not_have_costs_no_memory_and_ends_a_verification() {
    for pages in [1 << 20, 1 << 28, 1 << 40_u64] {
        let disk = closed();
        forge_catalog(&disk, |entry| put(entry, 16, pages * PAGE_RECORDS * SLOT));
        let db = open(&disk).unwrap();
        let table = db.table("a").unwrap();
        assert_eq!(fetch(&table, RecordId(3)), Ok(3), "what the file has is read");
        let last = table.next_id().unwrap().0 - 1;
        for id in [48, 40_000, last] {
            assert_error(fetch(&table, RecordId(id)), Error::Corrupt, &["data/2", "ends before page"]);
            assert_error(kit::replace(&table, RecordId(id), 1), Error::Corrupt, &["data/2", "ends before page"]);
        }
        assert_error(save(&table, 1), Error::Corrupt, &["data/2", "ends before page"]);
        let findings = db.verify().unwrap().findings;
        assert!(!findings.is_empty() && findings.len() < 5, "{findings:?}");
        assert!(findings[0].message.contains("ends before page"), "{findings:?}");
    }
}

#[test]
fn a_file_that_was_cut_does_not_grow_again_with_zeros_in_the_place_of_what_is_lost() {
    let disk = closed();
    let db = open(&disk).unwrap();
    save_many(&numbers(&db, "a"), 40..48).unwrap();
    db.close().unwrap();
    disk.open("data/2", Open::Write).unwrap().set_size(BLOCK as u64 + 256).unwrap();
    let db = open(&disk).unwrap();
    let table = db.table("a").unwrap();
    assert_error(save(&table, 1), Error::Corrupt, &["data/2", "ends before page"]);
    assert_error(fetch(&table, RecordId(39)), Error::Corrupt, &["data/2", "ends before page"]);
    assert_eq!(fetch(&table, RecordId(15)), Ok(15));
}

#[test]
fn a_length_or_a_count_that_goes_with_no_records_is_corrupt() {
    for (at, number, words) in [
        (16, 40 * SLOT + 8, "no whole number of records"),
        (24, 41, "more records than there can be"),
        (24, u64::MAX, "more records than there can be"),
    ] {
        let disk = closed();
        forge_catalog(&disk, |entry| put(entry, at, number));
        assert_error(open(&disk), Error::Corrupt, &["file 2", words]);
    }
}

#[test]
fn a_catalog_names_every_file_once_and_every_table_once() {
    for number in [2, 3] {
        let disk = closed();
        let copy = |image: &mut Vec<u8>| {
            let mut entry = image[8..].to_vec();
            entry[0] = number;
            image.extend(entry);
            put(image, 0, 2);
        };
        forge_image(&disk, copy);
        assert_error(open(&disk), Error::Corrupt, &[if number == 2 { "breaks its format" } else { "same table" }]);
    }
    let disk = closed();
    forge_catalog(&disk, |entry| entry[44] = 7);
    assert_error(open(&disk), Error::Corrupt, &["file 2", "control characters"]);
}

#[test]
fn a_frame_that_does_not_go_on_where_its_files_end_is_corrupt() {
    let (write, length, create, adopt) = (1, 2, 3, 6);
    let head = |what: u64, file: u64| what | file << 32;
    let meta = [head(create, 2), 1 | 256 << 32, 0];
    let far = 1 << 38;
    let cases: [(&str, &[u64]); 8] = [
        ("a write far behind the end", &[head(write, 2), far, 8, 1, head(length, 2), far + 8]),
        ("a length far behind the end", &[head(length, 2), far]),
        ("a length that cuts", &[head(length, 2), 0]),
        ("a write behind the end that is in no length", &[head(write, 2), 40 * SLOT, 8, 1]),
        ("pages adopted far behind the end", &[head(adopt, 2), far, 1, 0, head(length, 2), (far + 1) * 256]),
        ("pages adopted before the end", &[head(adopt, 2), 0, 1, 0]),
        ("the number of a file given again", &meta),
        ("a file that is not there", &[head(length, 9), 16]),
    ];
    for (what, words) in cases {
        let disk = unclean();
        append_frame(&disk, 1, words);
        let result = open(&disk);
        assert!(result.is_err(), "{what} is taken");
        assert_error(result, Error::Corrupt, &["wal/", "breaks the format"]);
    }
}

#[test]
fn sums_of_pages_behind_the_last_number_are_corrupt() {
    let disk = unclean();
    append_frame(&disk, 2, &[1, 6 | 2 << 32, u64::MAX, 2, 0, 0]);
    assert_error(open(&disk), Error::Corrupt, &["wal/", "breaks the format"]);
}

#[test]
fn a_segment_full_of_beginnings_of_frames_is_corrupt_and_not_a_long_wait() {
    let disk = unclean();
    let (name, mut segment, end, lsn, salt) = last_segment(&disk);
    // At every place where one may start: the header of a frame that reaches to the end and vouches for the next.
    segment.resize(512 << 10, 0);
    let mut at = end + 32;
    while at + 32 <= segment.len() {
        let size = (segment.len() - at) as u64;
        put(&mut segment, at, size);
        put(&mut segment, at + 8, lsn + 2);
        put(&mut segment, at + 16, lsn + 1);
        put(&mut segment, at + 24, salt | 1 << 32);
        at += 32;
    }
    write(&disk, &name, &segment);
    assert_error(open(&disk), Error::Corrupt, &["wal/", "does not verify"]);
}

/// A table of 40 numbers, closed cleanly.
fn closed() -> Arc<SimulatedDisk> {
    let disk = SimulatedDisk::new(1);
    let db = open(&disk).unwrap();
    save_many(&numbers(&db, "a"), 0..40).unwrap();
    db.close().unwrap();
    disk
}

/// The same, opened again and killed after another save.
fn unclean() -> Arc<SimulatedDisk> {
    let disk = closed();
    let db = open(&disk).unwrap();
    kit::replace(&numbers(&db, "a"), RecordId(0), 7).unwrap();
    disk.kill()
}

fn open(disk: &Arc<SimulatedDisk>) -> Result<Database, Error> {
    let options = OpenOptions { must_exist: false, ..simulated(Durability::Sync) };
    Database::open_on(Arc::clone(disk) as _, &options)
}

fn read(disk: &SimulatedDisk, name: &str) -> Vec<u8> {
    let file = disk.open(name, Open::Read).unwrap();
    let mut bytes = vec![0; file.size().unwrap() as usize];
    read_exact_at(&*file, &mut bytes, 0).unwrap();
    bytes
}

fn write(disk: &SimulatedDisk, name: &str, bytes: &[u8]) {
    write_all_at(&*disk.open(name, Open::Create).unwrap(), bytes, 0).unwrap();
}

fn get(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn put(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// Changes the one entry of the catalog.
fn forge_catalog(disk: &SimulatedDisk, change: impl FnOnce(&mut [u8])) {
    forge_image(disk, |image| change(&mut image[8..]));
}

/// Where an image of the catalog has its count of files: behind magic, sum, size and LSN.
const HEAD_SIZE: usize = 32;

/// Changes the catalog behind its head, and makes head and manifest vouch for it.
fn forge_image(disk: &SimulatedDisk, change: impl FnOnce(&mut Vec<u8>)) {
    let mut manifest = read(disk, "MANIFEST");
    let newer = usize::from(get(&manifest, BLOCK + 16) > get(&manifest, 16)) * BLOCK;
    let slot = &mut manifest[newer..newer + BLOCK];
    let (place, size) = (get(slot, 88) as usize, get(slot, 96) as usize);
    let mut data = read(disk, "data/1");
    let mut list = data[place + HEAD_SIZE..place + size].to_vec();
    change(&mut list);
    let mut image = data[place..place + HEAD_SIZE].to_vec();
    put(&mut image, 16, list.len() as u64);
    image.extend(list);
    let sum = xxhash_rust::xxh3::xxh3_64(&image[16..]);
    put(&mut image, 8, sum);
    data.resize(data.len().max(place + image.len()), 0);
    data[place..place + image.len()].copy_from_slice(&image);
    put(slot, 96, image.len() as u64);
    put(slot, 104, xxhash_rust::xxh3::xxh3_64(&image));
    let sum = xxhash_rust::xxh3::xxh3_64(&slot[..BLOCK - 8]);
    put(slot, BLOCK - 8, sum);
    write(disk, "data/1", &data);
    write(disk, "MANIFEST", &manifest);
}

/// The segment in use: its name, bytes, where its frames end, the last LSN, and the low half of its salt.
fn last_segment(disk: &SimulatedDisk) -> (String, Vec<u8>, usize, u64, u64) {
    let manifest = read(disk, "MANIFEST");
    let newer = usize::from(get(&manifest, BLOCK + 16) > get(&manifest, 16)) * BLOCK;
    let name = format!("wal/{}", get(&manifest, newer + 72));
    let segment = read(disk, &name);
    let (mut end, mut lsn, salt) = (BLOCK, get(&manifest, newer + 40), get(&manifest, newer + 80) & 0xFFFF_FFFF);
    while get(&segment, end + 8) == lsn + 1 && get(&segment, end + 24) & 0xFFFF_FFFF == salt {
        lsn += 1;
        end += (get(&segment, end) & 0xFFFF_FFFF).next_multiple_of(8) as usize;
    }
    assert!(end > BLOCK, "there is a frame");
    (name, segment, end, lsn, salt)
}

/// Appends a frame that is whole and follows the last one.
fn append_frame(disk: &SimulatedDisk, kind: u64, words: &[u64]) {
    let (name, mut segment, end, lsn, salt) = last_segment(disk);
    let payload: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut frame = vec![0; 32];
    put(&mut frame, 0, 32 + payload.len() as u64);
    put(&mut frame, 8, lsn + 1);
    put(&mut frame, 16, lsn);
    put(&mut frame, 24, salt | kind << 32);
    let crc = crc32c::crc32c(&payload);
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(crc, &frame[..4]), &frame[8..]);
    frame[4..8].copy_from_slice(&crc.to_le_bytes());
    frame.extend(payload);
    segment[end..end + frame.len()].copy_from_slice(&frame);
    write(disk, &name, &segment);
}
