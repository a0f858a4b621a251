//! The databases that are damaged: small, and yet with every structure that files can have.

use std::collections::BTreeMap;
use std::sync::Arc;

use diamonddb::os::simulated::{FailKind, Failure, SimulatedDisk};
use diamonddb::os::{Disk, Open, read_exact_at};
use diamonddb::{Database, Durability, OpenOptions, RecordId, Schema, Sizes, Table};

use super::Model;

/// A database as it lies on its disk, and what is known of it.
pub struct Shape {
    pub name: &'static str,
    pub disk: Arc<SimulatedDisk>,
    pub fingerprint: u64,
    /// What its commits made of it since the wal begins, the last state last.
    pub states: Vec<Model>,
    /// Earlier states.
    pub history: Vec<Model>,
    pub files: BTreeMap<String, Vec<u8>>,
    /// The files at earlier moments of its life.
    pub past: Vec<BTreeMap<String, Vec<u8>>>,
    pub wal: Wal,
}

/// Pages of a few records, small segments, bulk appends of a few pages.
pub fn options() -> OpenOptions {
    OpenOptions {
        no_threads: true,
        durability: Durability::Sync,
        interval_ms: u32::MAX,
        dirty_soft: 16 << 20,
        dirty_hard: 32 << 20,
        sizes: Sizes {
            page: 256,
            segment_min: 8192,
            segment_max: 12288,
            wal_soft: 1 << 20,
            growth_min: 512,
            growth_max: 2048,
            bulk_min: 900,
            commit_max: 8192,
            chunk: 1024,
            stripes: 4,
            buffer: 4096,
            open_files: 6,
        },
        ..OpenOptions::default()
    }
}

/// All files of a disk, by name, but for `LOCK`.
pub fn files(disk: &dyn Disk) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in ["", "wal", "data"] {
        for name in disk.list(folder).expect("the folder is there") {
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let Ok(file) = disk.open(&name, Open::Read) else { continue };
            let mut bytes = vec![0; file.size().expect("the file is open") as usize];
            read_exact_at(&*file, &mut bytes, 0).expect("the file is read");
            if name != "LOCK" {
                files.insert(name, bytes);
            }
        }
    }
    files
}

/// Every shape. Each is built anew, always the same.
pub fn shapes() -> Vec<Shape> {
    let closed = |name, build: fn(&mut Life)| {
        let mut life = Life::new();
        build(&mut life);
        life.closed(name)
    };
    let killed = |name, build: fn(&mut Life)| {
        let mut life = Life::new();
        build(&mut life);
        life.killed(name)
    };
    vec![
        closed("tables of all kinds, closed", of_all_kinds),
        closed("many tables, closed", many_tables),
        closed("written to, then opened and closed again", opened_often),
        killed("killed with a wal of several segments", with_a_wal),
        killed("killed before the first checkpoint", with_nothing_but_a_wal),
        killed("killed in the midst of a checkpoint", in_a_checkpoint),
        killed("killed soon after a clean close", soon_after_a_close),
    ]
}

/// A database being built.
struct Life {
    disk: Arc<SimulatedDisk>,
    db: Option<Database>,
    states: Vec<Model>,
    history: Vec<Model>,
    past: Vec<BTreeMap<String, Vec<u8>>>,
    count: u64,
}

impl Life {
    fn new() -> Life {
        let mut life = Life {
            disk: SimulatedDisk::new(7),
            db: None,
            states: Vec::new(),
            history: Vec::new(),
            past: Vec::new(),
            count: 0,
        };
        life.open();
        life
    }

    fn open(&mut self) {
        self.db = Some(Database::open_on(Arc::clone(&self.disk) as _, &options()).expect("it opens"));
        self.settled();
    }

    fn db(&self) -> &Database {
        self.db.as_ref().expect("it is open")
    }

    fn close(&mut self) {
        self.db.take().expect("it is open").close().expect("it closes");
        self.remember();
    }

    fn reopen(&mut self) {
        self.close();
        self.open();
    }

    fn checkpoint(&mut self) {
        self.db().checkpoint().expect("a checkpoint");
        self.settled();
        self.remember();
    }

    /// All so far is in the files: no damage to the wal takes it back.
    fn settled(&mut self) {
        self.history.append(&mut self.states);
        self.states = vec![Model::of(self.db())];
    }

    /// The files as they are now may come back later, as a fault.
    fn remember(&mut self) {
        self.past.push(files(&*self.disk));
    }

    /// A commit was made.
    fn committed(&mut self) {
        let state = Model::of(self.db());
        self.states.push(state);
        if self.states.len().is_multiple_of(16) {
            self.remember();
        }
    }

    fn make(&mut self, name: &str, schema: &str) -> Table {
        let table = self.db().make_table(name, &Schema::parse(schema).expect("the schema is right"));
        self.committed();
        table.expect("the table is made")
    }

    fn save(&mut self, table: &Table, json: impl Fn(u64) -> String) {
        self.count += 1;
        table.save_json(&json(self.count)).expect("saved");
        self.committed();
    }

    fn save_many(&mut self, table: &Table, count: u64, json: impl Fn(u64) -> String) {
        let records: Vec<String> = (1..=count).map(|index| json(self.count + index)).collect();
        self.count += count;
        table.save_many_json(&format!("[{}]", records.join(","))).expect("saved");
        self.committed();
    }

    fn replace(&mut self, table: &Table, id: u64, json: impl Fn(u64) -> String) {
        self.count += 1;
        table.replace_json(RecordId(id), &json(self.count)).expect("replaced");
        self.committed();
    }

    fn delete(&mut self, table: &Table, ids: std::ops::Range<u64>) {
        table.delete_many(&ids.map(RecordId).collect::<Vec<_>>()).expect("deleted");
        self.committed();
    }

    fn closed(mut self, name: &'static str) -> Shape {
        self.settled();
        self.close();
        let disk = Arc::clone(&self.disk);
        self.shape(name, disk)
    }

    fn killed(mut self, name: &'static str) -> Shape {
        let disk = self.disk.kill();
        self.disk.fail(Failure { at: 0, kind: FailKind::InputOutput, from_then_on: true });
        self.db = None;
        self.shape(name, disk)
    }

    fn shape(self, name: &'static str, disk: Arc<SimulatedDisk>) -> Shape {
        let disk = disk.kill();
        let db = Database::open_on(disk.kill() as _, &options()).expect("the sound database opens");
        assert_eq!(Some(&Model::of(&db)), self.states.last(), "{name}: all is there");
        let files = files(&*disk);
        let wal = Wal::of(&files);
        let Life { states, history, past, .. } = self;
        Shape { name, fingerprint: disk.fingerprint(), states, history, files, past, wal, disk }
    }
}

const NUMBERS: &str = r#"{"n": ["i64"]}"#;
const PEOPLE: &str = r#"{"name": ["string", 20, "required"], "age": ["number", 3], "born": ["timestamp"]}"#;
const WIDE: &str = r#"{"text": ["string", 400], "n": ["u32"]}"#;
const ALL: &str = r#"{"s": ["string", 7], "c": ["string", 3, "characters"], "b": ["bytes", 5], "n": ["number", 4],
    "i8": ["i8"], "i16": ["i16"], "i32": ["i32"], "i64": ["i64"], "u8": ["u8"], "u16": ["u16"], "u32": ["u32"],
    "u64": ["u64"], "f32": ["f32"], "f64": ["f64"], "is": ["bool"], "t": ["timestamp"]}"#;

fn number(n: u64) -> String {
    format!(r#"{{"n":{n}}}"#)
}

fn person(n: u64) -> String {
    match n % 4 {
        0 => format!(r#"{{"name":"person {n}"}}"#),
        _ => format!(r#"{{"name":"person {n}","age":{},"born":{}}}"#, n % 99, n * 86_400_000_000),
    }
}

fn wide(n: u64) -> String {
    format!(r#"{{"text":"{}","n":{n}}}"#, format!("{n} bottles, ").repeat(20))
}

fn all(n: u64) -> String {
    format!(
        r#"{{"s":"s{n}","c":"çé{}","b":"AAEC{}wQ=","n":{}.5,"i8":{},"i16":-{n},"i32":{n},"i64":-{n},"u8":{},
        "u16":{n},"u32":{n},"u64":{n},"f32":{n}.25,"f64":-{n}.125,"is":{},"t":{n}}}"#,
        n % 10,
        ["A", "B", "w"][n as usize % 3],
        n % 10,
        n % 100,
        n % 200,
        n.is_multiple_of(2),
    )
}

fn of_all_kinds(life: &mut Life) {
    let (numbers, everything) = (life.make("numbers", NUMBERS), life.make("everything", ALL));
    let (people, wides) = (life.make("people", PEOPLE), life.make("wide", WIDE));
    life.make("empty", NUMBERS);
    life.save_many(&numbers, 40, number);
    (0..7).for_each(|_| life.save(&everything, all));
    life.save_many(&people, 90, person);
    life.save_many(&wides, 5, wide);
    life.checkpoint();
    // Whole pages of deleted records become holes.
    life.delete(&people, 10..50);
    life.delete(&numbers, 3..5);
    life.delete(&wides, 2..3);
    life.checkpoint();
    let passing = life.make("passing", PEOPLE);
    life.save_many(&passing, 30, person);
    life.checkpoint();
    life.db().drop_table("passing").expect("dropped");
    life.db().rename_table("numbers", "figures").expect("renamed");
    life.reopen();
    let figures = life.db().table("figures").expect("it has a new name");
    life.replace(&figures, 0, number);
    life.save_many(&figures, 100, number);
}

fn many_tables(life: &mut Life) {
    for index in 0..24 {
        let table = life.make(&format!("table {index}"), if index % 3 == 0 { ALL } else { PEOPLE });
        if index % 2 == 0 {
            life.save_many(&table, index % 5 + 1, if index % 3 == 0 { all } else { person });
        }
        if index % 8 == 7 {
            life.checkpoint();
        }
    }
}

fn opened_often(life: &mut Life) {
    let (numbers, people) = (life.make("numbers", NUMBERS), life.make("people", PEOPLE));
    life.save_many(&numbers, 20, number);
    life.save_many(&people, 20, person);
    for round in 0..3 {
        life.reopen();
        let numbers = life.db().table("numbers").expect("it is there");
        life.replace(&numbers, round, number);
        life.save(&numbers, number);
    }
    life.reopen();
}

fn with_a_wal(life: &mut Life) {
    let (numbers, people) = (life.make("numbers", NUMBERS), life.make("people", PEOPLE));
    life.save_many(&numbers, 20, number);
    life.save_many(&people, 20, person);
    life.checkpoint();
    life.save_many(&people, 3, person);
    life.checkpoint();
    for round in 0..12 {
        life.save_many(&people, 4, person);
        life.replace(&people, round % 10, person);
        life.replace(&numbers, 3, number);
        life.save(&numbers, number);
        life.delete(&people, 10 + round..11 + round);
    }
    let added = life.make("added", WIDE);
    life.save_many(&added, 3, wide);
    life.save_many(&numbers, 120, number);
    life.replace(&numbers, 60, number);
    life.db().rename_table("added", "renamed").expect("renamed");
    life.committed();
    life.make("doomed", NUMBERS);
    life.db().drop_table("doomed").expect("dropped");
    life.committed();
    for _ in 0..10 {
        life.save(&added, wide);
        life.save(&people, person);
    }
}

fn with_nothing_but_a_wal(life: &mut Life) {
    let people = life.make("people", PEOPLE);
    for id in 0..12 {
        life.save(&people, person);
        life.replace(&people, id, person);
    }
    life.delete(&people, 2..4);
}

fn in_a_checkpoint(life: &mut Life) {
    let (numbers, people) = (life.make("numbers", NUMBERS), life.make("people", PEOPLE));
    life.save_many(&numbers, 20, number);
    life.save_many(&people, 60, person);
    life.checkpoint();
    for id in 0..10 {
        life.replace(&people, id * 5, person);
        life.save(&numbers, number);
    }
    life.save_many(&numbers, 100, number);
    // Pages and sums are written, the manifest is not.
    let at = life.disk.calls() + 40;
    life.disk.fail(Failure { at, kind: FailKind::InputOutput, from_then_on: true });
    life.db().checkpoint().expect_err("the disk fails in its midst");
}

fn soon_after_a_close(life: &mut Life) {
    let people = life.make("people", PEOPLE);
    life.save_many(&people, 30, person);
    life.reopen();
    let people = life.db().table("people").expect("it is there");
    for id in 0..4 {
        life.save(&people, person);
        life.replace(&people, id, person);
    }
}

/// The frames of a wal, as they were before the damage.
pub struct Wal {
    frames: Vec<Frame>,
    files: BTreeMap<String, Vec<u8>>,
}

struct Frame {
    file: String,
    place: std::ops::Range<usize>,
    lsn: u64,
    durable: u64,
}

impl Wal {
    fn of(files: &BTreeMap<String, Vec<u8>>) -> Wal {
        let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        // Of the newer slot: frames up to its checkpoint do not count any more.
        let manifest = files["MANIFEST"].chunks(4096).max_by_key(|slot| word(slot, 16)).expect("there are two");
        let checkpoint = word(manifest, 40);
        let files: BTreeMap<_, _> = files.clone().into_iter().filter(|(name, _)| name.starts_with("wal/")).collect();
        let mut frames = Vec::new();
        for (name, bytes) in &files {
            let (mut at, mut last) = (4096, None);
            while at + 32 <= bytes.len() {
                let (size, lsn) = (word(bytes, at) as u32 as usize, word(bytes, at + 8));
                // Behind the last frame of a file that is used again lie older ones.
                if size < 32 || at + size > bytes.len() || last.is_some_and(|last| lsn != last + 1) {
                    break;
                }
                let durable = word(bytes, at + 16);
                if lsn > checkpoint {
                    frames.push(Frame { file: name.clone(), place: at..at + size, lsn, durable });
                }
                at = (at + size).next_multiple_of(8);
                last = Some(lsn);
            }
        }
        Wal { frames, files }
    }

    /// The file with the newest frame.
    pub fn newest_file(&self) -> &str {
        let newest = self.frames.iter().max_by_key(|frame| frame.lsn);
        &newest.expect("there are frames").file
    }

    /// True if commits may be missing without a word: of the frames from the first damaged one on, none is left that
    /// says that the first had been synced.
    pub fn lost_in_silence(&self, disk: &SimulatedDisk) -> bool {
        let now = files(disk);
        let is_intact = |frame: &&Frame| {
            let bytes = |files: &BTreeMap<String, Vec<u8>>| {
                files.get(&frame.file).and_then(|bytes| bytes.get(frame.place.clone()).map(<[u8]>::to_vec))
            };
            bytes(&self.files) == bytes(&now)
        };
        let Some(first) = self.frames.iter().filter(|frame| !is_intact(frame)).map(|frame| frame.lsn).min() else {
            return false;
        };
        !self.frames.iter().filter(is_intact).any(|frame| frame.lsn > first && frame.durable >= first)
    }
}
