//! What the tests of the public interface have in common: folders that remove themselves, small sizes that bring the
//! engine to its edges quickly, and a table of one number a record, in which a wrong record is seen at a glance.

#![allow(dead_code, reason = "each test file uses its own part of this one")]

pub mod installed;
pub mod meddler;
pub mod sampling;
pub mod witness;
pub mod writer;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use diamonddb::{
    Database, Durability, Error, JsonStyle, OpenOptions, Record, RecordId, RecordMut, Records, ScanRange, Schema,
    Sizes, Table,
};

/// A folder of one test's own, removed with everything in it when the test ends.
pub struct Folder(PathBuf);

impl Folder {
    /// The name of a folder that is not there yet.
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kit-{}-{number}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    /// The same in memory, where the machine has such a place: for tests with thousands of openings.
    pub fn in_memory() -> Folder {
        let name = Folder::new().0.file_name().unwrap().to_owned();
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Folder(memory.join(name)) } else { Folder::new() }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A new folder with the same files: what a kill at this moment would leave.
    pub fn copy(&self) -> Folder {
        let copy = if self.0.starts_with("/dev/shm") { Folder::in_memory() } else { Folder::new() };
        for folder in ["wal", "data"] {
            fs::create_dir_all(copy.0.join(folder)).unwrap();
        }
        for (name, bytes) in files(&self.0) {
            let path = copy.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        copy
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// All files below a folder, by name, with their bytes.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                found.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned(), bytes);
            }
        }
    }
    found
}

/// Sizes with which a few hundred records fill segments, grow files and append in bulk.
pub fn small_sizes() -> Sizes {
    Sizes {
        page: 256,
        segment_min: 8 << 10,
        segment_max: 32 << 10,
        wal_soft: 64 << 10,
        growth_min: 4 << 10,
        growth_max: 16 << 10,
        bulk_min: 8 << 10,
        chunk: 2 << 10,
        stripes: 4,
        buffer: 8 << 10,
        open_files: 16,
        ..Sizes::default()
    }
}

/// Options for the simulated disk: small, and with no thread but the test's.
pub fn simulated(durability: Durability) -> OpenOptions {
    OpenOptions {
        no_threads: true,
        durability,
        dirty_soft: 64 << 10,
        dirty_hard: 256 << 10,
        sizes: small_sizes(),
        ..OpenOptions::default()
    }
}

/// The usual options, but commits do not wait for the device: for tests of what verbs do.
pub fn quick() -> OpenOptions {
    OpenOptions { durability: Durability::Os, ..OpenOptions::default() }
}

/// A database in a new folder, with the quick options.
pub fn database() -> (Folder, Database) {
    let folder = Folder::new();
    let db = Database::open(folder.path(), &quick()).unwrap();
    (folder, db)
}

pub fn schema(json: &str) -> Schema {
    Schema::parse(json).unwrap()
}

/// The table of numbers called `name`.
pub fn numbers(db: &Database, name: &str) -> Table {
    db.make_table(name, &schema(r#"{"value": ["i64"]}"#)).unwrap()
}

/// A number as a packed record.
pub fn packed(value: &[u8; 8]) -> Record<'_> {
    Record { bytes: value, nulls: None }
}

pub fn save(table: &Table, value: i64) -> Result<RecordId, Error> {
    table.save(packed(&value.to_le_bytes()))
}

pub fn replace(table: &Table, id: RecordId, value: i64) -> Result<(), Error> {
    table.replace(id, packed(&value.to_le_bytes()))
}

pub fn fetch(table: &Table, id: RecordId) -> Result<i64, Error> {
    let mut bytes = [0; 8];
    table.fetch(id, RecordMut { bytes: &mut bytes, nulls: None })?;
    Ok(i64::from_le_bytes(bytes))
}

pub fn save_many(table: &Table, values: impl IntoIterator<Item = i64>) -> Result<RecordId, Error> {
    let bytes: Vec<u8> = values.into_iter().flat_map(i64::to_le_bytes).collect();
    table.save_many(many(&bytes))
}

/// Packed numbers, one after the other.
pub fn many(bytes: &[u8]) -> Records<'_> {
    Records { bytes, stride: 8, nulls: None, null_stride: 0, count: bytes.len() / 8 }
}

/// All numbers of a table, by id.
pub fn scanned(table: &Table) -> Result<Vec<(u64, i64)>, Error> {
    scanned_range(table, ScanRange::default())
}

pub fn scanned_range(table: &Table, range: ScanRange) -> Result<Vec<(u64, i64)>, Error> {
    let mut cursor = table.scan(range)?;
    let (mut found, mut bytes) = (Vec::new(), [0; 8]);
    while let Some(id) = cursor.next(RecordMut { bytes: &mut bytes, nulls: None })? {
        found.push((id.0, i64::from_le_bytes(bytes)));
    }
    Ok(found)
}

pub fn json(table: &Table, id: RecordId) -> Result<String, Error> {
    table.fetch_json(id, JsonStyle::default())
}

/// One of the figures of `stats_json`.
pub fn figure(db: &Database, name: &str) -> u64 {
    let stats: serde_json::Value = serde_json::from_str(&db.stats_json().unwrap()).unwrap();
    stats[name].as_u64().unwrap_or_else(|| panic!("{name} is not a number in {stats}"))
}

/// Insists on an error of one kind whose sentence has all of these words.
#[track_caller]
pub fn assert_error<T>(result: Result<T, Error>, kind: fn(diamonddb::Message) -> Error, words: &[&str]) {
    let Err(error) = result else { panic!("an error with {words:?} was expected") };
    let expected = kind("".into());
    assert_eq!(error.status(), expected.status(), "{error:?} is of another kind than expected");
    for word in words {
        assert!(error.message().contains(word), "{word:?} is missing in: {error}");
    }
}
