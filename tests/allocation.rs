//! Memory is refused: each request whose size depends on data, once and from then on.
//!
//! Whatever is refused: the call answers `NoMemory` or does without, nothing aborts, nothing is lost, and what was
//! refused is not there. With memory again everything goes on, without an opening between.
//!
//! Data-sized is what is larger than a block of 4 KiB: the engine asks for nothing of a fixed size that is larger, and
//! every list, buffer and text that grows with data gets there in this workload. Below that, a refusal ends the
//! process, as it does in every Rust program: then there is no memory for anything.
//!
//! `DIAMOND_FAULTS` says how many requests are refused (a number, or `all`), `DIAMOND_SEED` which, and
//! `DIAMOND_REPLAY` repeats one that failed.

#![allow(unsafe_code, reason = "an allocator is unsafe by its nature")]

mod kit;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use diamonddb::{Database, Durability, Error, JsonStyle, OpenOptions, Record, RecordId, RecordMut, Records};
use diamonddb::{ScanRange, Sizes, Table};
use kit::sampling;
use kit::{Folder, schema};

/// Larger requests count.
const BLOCK: usize = 4096;

const NO_MEMORY: i32 = 600;

/// Refuses what it is told to, and leaves the rest to the system.
struct Refusing;

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

/// Requests are counted.
static ARMED: AtomicBool = AtomicBool::new(false);
/// How many were counted.
static COUNT: AtomicU64 = AtomicU64::new(0);
/// The number of the one to refuse, and whether all after it are.
static AT: AtomicU64 = AtomicU64::new(u64::MAX);
static LASTING: AtomicBool = AtomicBool::new(false);
static REFUSED: AtomicU64 = AtomicU64::new(0);
/// The largest of them.
static LARGEST: AtomicU64 = AtomicU64::new(0);
/// Held by the test that runs: refusals are the whole process's.
static ONE: Mutex<()> = Mutex::new(());

thread_local! {
    /// The test's own requests are none of the engine's. Threads of the engine begin with `false`.
    static OWN: Cell<bool> = const { Cell::new(false) };
}

impl Refusing {
    fn refuses(size: usize) -> bool {
        if size <= BLOCK || !ARMED.load(Ordering::SeqCst) || OWN.try_with(Cell::get).unwrap_or(true) {
            return false;
        }
        LARGEST.fetch_max(size as u64, Ordering::SeqCst);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let at = AT.load(Ordering::SeqCst);
        let refused = number == at || number > at && LASTING.load(Ordering::SeqCst);
        REFUSED.fetch_add(u64::from(refused), Ordering::SeqCst);
        refused
    }
}

// SAFETY: every request goes to the system's allocator as it is, or is answered with null, which is allowed.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if Refusing::refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if Refusing::refuses(layout.size()) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > layout.size() && Refusing::refuses(size) {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Asks the engine for something: what it needs for that may be refused.
fn ask<T>(act: impl FnOnce() -> T) -> T {
    OWN.set(false);
    let answer = act();
    OWN.set(true);
    answer
}

/// One refusal.
#[derive(Clone, Copy)]
struct Place {
    threads: bool,
    at: u64,
    lasting: bool,
}

/// What an abort says, since nothing else can: the place under way, for `DIAMOND_REPLAY`.
static PLACE: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

extern "C" fn tell_of_abort(_: libc::c_int) {
    let mut line = *b"memory was refused, and the process aborts; repeat it with DIAMOND_REPLAY=0:00000000:0\n";
    let [threads, at, lasting] = [0, 1, 2].map(|index: usize| PLACE[index].load(Ordering::SeqCst));
    let end = line.len();
    line[end - 13] = b'0' + threads as u8;
    for digit in 0..8_u32 {
        line[end - 4 - digit as usize] = b'0' + (at / 10_u64.pow(digit) % 10) as u8;
    }
    line[end - 2] = b'0' + lasting as u8;
    // SAFETY: the line is ours; `write` may be called in a signal handler.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}

/// The tables as they should be: for each id its number, or none if it was deleted.
type Model = BTreeMap<String, Vec<Option<i64>>>;

/// A database and what it should hold.
struct Work {
    folder: Folder,
    options: OpenOptions,
    db: Option<Database>,
    model: Model,
    /// Numbers of records are never given twice.
    next: i64,
}

/// How wide the field beside the number is: in a wide table, too wide for any buffer of a fixed size.
fn width_of(table: &str) -> usize {
    if table.starts_with("wide") { 6000 } else { 40 }
}

fn schema_of(table: &str) -> diamonddb::Schema {
    schema(&format!(r#"{{"n": ["i64"], "t": ["string", {}]}}"#, width_of(table)))
}

fn text_of(table: &str, n: i64) -> String {
    // Quotes, since text with escapes goes another way.
    format!("\"{n}\" ").repeat(width_of(table) / 12)
}

fn packed_of(table: &str, n: i64) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.extend(text_of(table, n).bytes());
    bytes.resize(8 + width_of(table).next_multiple_of(8), 0);
    bytes
}

fn json_of(table: &str, n: i64) -> String {
    let text = serde_json::to_string(&text_of(table, n)).unwrap();
    format!(r#"{{"n":{n},"t":{text}}}"#)
}

/// The number of a record, which must be whole.
fn number_in(table: &str, json: &str) -> i64 {
    let n = serde_json::from_str::<serde_json::Value>(json).unwrap()["n"].as_i64().unwrap();
    assert_eq!(json, json_of(table, n), "a record of {table} is whole");
    n
}

impl Work {
    fn new(threads: bool) -> Work {
        let options = OpenOptions {
            durability: Durability::Sync,
            no_threads: !threads,
            dirty_soft: 8 << 20,
            dirty_hard: 32 << 20,
            sizes: Sizes {
                // Small pages and few stripes, so that lists of pages are long.
                page: 512,
                stripes: 2,
                segment_min: 256 << 10,
                segment_max: 512 << 10,
                wal_soft: 1 << 20,
                growth_min: 64 << 10,
                growth_max: 256 << 10,
                bulk_min: 128 << 10,
                chunk: 128 << 10,
                buffer: 64 << 10,
                open_files: 600,
                ..Sizes::default()
            },
            ..OpenOptions::default()
        };
        Work { folder: Folder::in_memory(), options, db: None, model: Model::new(), next: 0 }
    }

    fn db(&self) -> &Database {
        self.db.as_ref().expect("the database is open")
    }

    fn open(&mut self) -> Result<(), Error> {
        let (path, options) = (self.folder.path().to_owned(), self.options.clone());
        self.db = Some(ask(|| Database::open(path, &options))?);
        Ok(())
    }

    fn numbers(&mut self, count: usize) -> Vec<i64> {
        self.next += count as i64;
        (self.next - count as i64..self.next).collect()
    }

    /// The table, with what it holds; `None` if its making was refused.
    fn table(&self, name: &str) -> Option<Table> {
        self.model.contains_key(name).then(|| self.db().table(name).expect("a table is found without memory"))
    }

    fn make(&mut self, name: &str) -> Result<(), Error> {
        let schema = schema_of(name);
        ask(|| self.db().make_table(name, &schema))?;
        self.model.insert(name.to_owned(), Vec::new());
        Ok(())
    }

    fn save_many(&mut self, name: &str, count: usize) -> Result<(), Error> {
        let Some(table) = self.table(name) else { return Ok(()) };
        let numbers = self.numbers(count);
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| packed_of(name, *n)).collect();
        let records = Records { bytes: &bytes, stride: bytes.len() / count, nulls: None, null_stride: 0, count };
        let first = ask(|| table.save_many(records))?;
        self.saved(name, first, numbers);
        Ok(())
    }

    fn save_many_json(&mut self, name: &str, count: usize) -> Result<(), Error> {
        let Some(table) = self.table(name) else { return Ok(()) };
        let numbers = self.numbers(count);
        let records: Vec<String> = numbers.iter().map(|n| json_of(name, *n)).collect();
        let json = format!("[{}]", records.join(","));
        let (first, _) = ask(|| table.save_many_json(&json))?;
        self.saved(name, first, numbers);
        Ok(())
    }

    fn saved(&mut self, name: &str, first: RecordId, numbers: Vec<i64>) {
        let records = self.model.get_mut(name).unwrap();
        assert_eq!(first.0, records.len() as u64, "ids are dense");
        records.extend(numbers.into_iter().map(Some));
    }

    /// Every `step`th record that is there.
    fn some(&self, name: &str, step: usize) -> Vec<RecordId> {
        let Some(records) = self.model.get(name) else { return Vec::new() };
        let there = records.iter().enumerate().filter(|(_, record)| record.is_some());
        there.step_by(step).map(|(id, _)| RecordId(id as u64)).collect()
    }

    fn changed(&mut self, name: &str, ids: &[RecordId], numbers: &[i64]) {
        let records = self.model.get_mut(name).unwrap();
        ids.iter().zip(numbers).for_each(|(id, n)| records[id.0 as usize] = Some(*n));
    }

    /// Of many pages, in one commit.
    fn replace_many(&mut self, name: &str, step: usize) -> Result<(), Error> {
        let Some(table) = self.table(name) else { return Ok(()) };
        let ids = self.some(name, step);
        let numbers = self.numbers(ids.len());
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| packed_of(name, *n)).collect();
        let stride = packed_of(name, 0).len();
        let records = Records { bytes: &bytes, stride, nulls: None, null_stride: 0, count: ids.len() };
        ask(|| table.replace_many(&ids, records))?;
        self.changed(name, &ids, &numbers);
        Ok(())
    }

    fn delete_many(&mut self, name: &str, step: usize) -> Result<(), Error> {
        let Some(table) = self.table(name) else { return Ok(()) };
        let ids = self.some(name, step);
        ask(|| table.delete_many(&ids))?;
        let records = self.model.get_mut(name).unwrap();
        ids.iter().for_each(|id| records[id.0 as usize] = None);
        Ok(())
    }

    /// Saves, replaces and deletes in two tables at once, if records still are as they should be.
    fn batch(&mut self) -> Result<(), Error> {
        let (Some(small), Some(wide)) = (self.table("small"), self.table("wide")) else { return Ok(()) };
        let ids = self.some("small", 7);
        let (changed, deleted) = ids.split_at(ids.len() / 2);
        let numbers = self.numbers(changed.len());
        let saved = self.numbers(600);
        let wide_saved = self.numbers(1);
        let mut batch = ask(|| self.db().batch())?;
        for (id, n) in changed.iter().zip(&numbers) {
            let old = packed_of("small", self.model["small"][id.0 as usize].unwrap());
            let new = packed_of("small", *n);
            ask(|| batch.expect(&small, *id, Record { bytes: &old, nulls: None }))?;
            ask(|| batch.replace(&small, *id, Record { bytes: &new, nulls: None }))?;
        }
        for id in deleted {
            ask(|| batch.delete(&small, *id))?;
        }
        for n in &saved {
            let json = json_of("small", *n);
            ask(|| batch.save_json(&small, &json))?;
        }
        let bytes = packed_of("wide", wide_saved[0]);
        ask(|| batch.save(&wide, Record { bytes: &bytes, nulls: None }))?;
        let first = ask(|| batch.commit(false))?.ids;
        self.changed("small", changed, &numbers);
        deleted.iter().for_each(|id| self.model.get_mut("small").unwrap()[id.0 as usize] = None);
        if let (Some(first), Some(last)) = (first.first(), first.last()) {
            self.saved("small", *first, saved);
            self.saved("wide", *last, wide_saved);
        }
        Ok(())
    }

    /// One wide record by each verb that is about one.
    fn one_by_one(&mut self) -> Result<(), Error> {
        let Some(table) = self.table("wide") else { return Ok(()) };
        let [first, second] = self.numbers(2)[..] else { unreachable!("two numbers") };
        let json = json_of("wide", first);
        let id = ask(|| table.save_json(&json))?;
        self.saved("wide", id, vec![first]);
        let bytes = packed_of("wide", second);
        ask(|| table.replace_if_json(id, &json, &json))?;
        ask(|| table.replace(id, Record { bytes: &bytes, nulls: None }))?;
        self.changed("wide", &[id], &[second]);
        let fetched = ask(|| table.fetch_json(id, JsonStyle::default()))?;
        assert_eq!(number_in("wide", &fetched), second);
        let mut room = vec![0; bytes.len()];
        let mut nulls = [0];
        ask(|| table.fetch(id, RecordMut { bytes: &mut room, nulls: Some(&mut nulls) }))?;
        assert_eq!(room, bytes);
        ask(|| table.delete_if(id, Record { bytes: &bytes, nulls: None }))?;
        self.model.get_mut("wide").unwrap()[id.0 as usize] = None;
        Ok(())
    }

    fn fetch_many_json(&mut self, name: &str) -> Result<(), Error> {
        let Some(table) = self.table(name) else { return Ok(()) };
        let ids = self.some(name, 3);
        let mut statuses = vec![-1; ids.len()];
        let (json, result) = ask(|| table.fetch_many_json(&ids, JsonStyle::default(), Some(&mut statuses)));
        if let Err(error) = &result {
            assert!(statuses.contains(&error.status()), "{statuses:?}");
        }
        if !json.is_empty() {
            let found: Vec<serde_json::Value> = serde_json::from_str(&json).expect("what comes out is JSON");
            for ((id, record), status) in ids.iter().zip(&found).zip(&statuses) {
                let n = record.get("n").and_then(serde_json::Value::as_i64);
                assert_eq!(n, self.model[name][id.0 as usize].filter(|_| *status == 0));
            }
        }
        result
    }

    /// A scan sees what was there when it began, whatever `act` changes meanwhile.
    fn scan_beside(&mut self, name: &str, act: impl FnOnce(&mut Work) -> Result<(), Error>) -> Result<(), Error> {
        let Some(table) = self.table(name) else { return act(self) };
        let expected = self.model[name].clone();
        let mut cursor = ask(|| table.scan(ScanRange::default()))?;
        let acted = act(self);
        let mut found = vec![None; expected.len()];
        while let Some((id, json)) = ask(|| cursor.next_json(JsonStyle::default()))? {
            found[id.0 as usize] = Some(number_in(name, &json));
        }
        assert!(found == expected, "a scan of {name} sees what was there when it began");
        acted
    }

    /// Everything is as it should be.
    fn check(&mut self) -> Result<(), Error> {
        let tables = ask(|| self.db().tables())?;
        assert!(tables.iter().map(|it| &it.name).eq(self.model.keys()), "all tables are there, and no other");
        for name in ["small", "wide"] {
            self.scan_beside(name, |_| Ok(()))?;
        }
        let report = ask(|| self.db().verify())?;
        assert_eq!(report.findings, [], "everything verifies");
        Ok(())
    }

    /// The same folder as a kill would leave it, recovered: what was acknowledged is there.
    fn recover_a_copy(&mut self) -> Result<(), Error> {
        if !self.options.no_threads {
            // A copy that is made while a thread writes is nothing that a kill leaves.
            return Ok(());
        }
        let mut copy = Work {
            folder: self.folder.copy(),
            options: self.options.clone(),
            db: None,
            model: self.model.clone(),
            next: self.next,
        };
        copy.open()?;
        copy.check()?;
        ask(|| copy.db.take().expect("it was opened").close())
    }

    fn reopen(&mut self) -> Result<(), Error> {
        let db = self.db.take().expect("the database is open");
        let closed = ask(|| db.close());
        self.open()?;
        closed
    }

    fn do_step(&mut self, number: usize) -> Result<(), Error> {
        if self.db.is_none() {
            return self.open();
        }
        match number {
            0 => self.make("small"),
            1 => self.make("wide"),
            2 => self.save_many("small", 600),
            3 => self.save_many("wide", 3),
            4 => self.save_many("small", 7000),
            5 => self.scan_beside("small", |work| work.replace_many("small", 11)),
            6 => ask(|| self.db().checkpoint()),
            7 => self.batch(),
            8 => self.one_by_one(),
            9 => (0..90).try_for_each(|number| self.make(&format!("table {number} of many"))),
            10 => self.scan_beside("small", |work| {
                let checkpointed = ask(|| work.db().checkpoint());
                work.replace_many("small", 5)?;
                work.delete_many("small", 9)?;
                checkpointed
            }),
            11 => self.save_many_json("small", 500),
            12 => self.fetch_many_json("small"),
            13 => self.fetch_many_json("wide"),
            14 => self.recover_a_copy(),
            15 => self.reopen(),
            16 => self.replace_many("small", 4),
            17 => self.drop_many(),
            18 => self.save_many("wide", 40),
            19 => ask(|| self.db().checkpoint()),
            20 => self.save_many("small", 3000),
            21 => self.check(),
            22 => ask(|| self.db().flush()),
            _ => self.reopen(),
        }
    }

    fn drop_many(&mut self) -> Result<(), Error> {
        let names: Vec<String> = self.model.keys().filter(|name| name.contains("many")).cloned().collect();
        for (index, name) in names.iter().enumerate() {
            if index % 10 == 0 {
                let to = format!("{name}, renamed");
                ask(|| self.db().rename_table(name, &to))?;
                let records = self.model.remove(name).unwrap();
                self.model.insert(to, records);
            } else {
                ask(|| self.db().drop_table(name))?;
                self.model.remove(name);
            }
        }
        Ok(())
    }
}

const STEP_COUNT: usize = 24;

/// Runs the workload with one refusal; how many requests there were, and how many were refused.
fn run(place: Place) -> (u64, u64) {
    OWN.set(true);
    PLACE[0].store(place.threads.into(), Ordering::SeqCst);
    PLACE[1].store(place.at, Ordering::SeqCst);
    PLACE[2].store(place.lasting.into(), Ordering::SeqCst);
    let mut work = Work::new(place.threads);
    COUNT.store(0, Ordering::SeqCst);
    REFUSED.store(0, Ordering::SeqCst);
    AT.store(place.at, Ordering::SeqCst);
    LASTING.store(place.lasting, Ordering::SeqCst);
    ARMED.store(true, Ordering::SeqCst);
    let _ = work.open().map_err(|error| judge("opening", &error, place, 0));
    for number in 0..STEP_COUNT {
        let refused_before = REFUSED.load(Ordering::SeqCst);
        if let Err(error) = work.do_step(number) {
            judge(&format!("step {number}"), &error, place, refused_before);
        }
    }
    ARMED.store(false, Ordering::SeqCst);
    let counts = (COUNT.load(Ordering::SeqCst), REFUSED.load(Ordering::SeqCst));
    // There is memory again.
    if work.db.is_none() {
        work.open().unwrap();
    }
    for name in ["small", "wide"] {
        if !work.model.contains_key(name) {
            work.make(name).unwrap();
        }
        work.save_many(name, 5).unwrap();
    }
    work.check().unwrap();
    work.recover_a_copy().unwrap();
    work.reopen().unwrap();
    work.check().unwrap();
    work.reopen().unwrap();
    counts
}

/// Is this an answer that a refusal may lead to?
fn judge(what: &str, error: &Error, place: Place, refused_before: u64) {
    let Place { at, lasting, .. } = place;
    assert_eq!(error.status(), NO_MEMORY, "{what}, request {at} refused (lasting: {lasting}): {error:?}");
    assert!(error.message().contains("memory for "), "{what}: it does not say what for: {error}");
    assert!(lasting || refused_before == 0, "{what} fails after the refusal: {error:?}");
}

fn refuse_some(threads: bool, default: u64) {
    // SAFETY: the handler only writes a line; the signal then ends the process as before.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = tell_of_abort as *const () as usize;
        action.sa_flags = libc::SA_RESETHAND;
        libc::sigaction(libc::SIGABRT, &action, std::ptr::null_mut());
    }
    // A message of a test that fails needs memory too.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        ARMED.store(false, Ordering::SeqCst);
        hook(info);
    }));
    let seed = sampling::seed(0xA110C);
    println!("DIAMOND_SEED={seed:#x}");
    let told = |place: Place| {
        let counts = std::panic::catch_unwind(|| run(place));
        let Place { at, lasting, .. } = place;
        let replay = format!("DIAMOND_REPLAY={}:{at}:{}", u8::from(threads), u8::from(lasting));
        counts.unwrap_or_else(|_| panic!("a refused request breaks a promise; repeat it with {replay}"))
    };
    if let Some(text) = sampling::replay() {
        let parts: Vec<u64> = text.split(':').map(|part| part.parse().expect("a replay is three numbers")).collect();
        if (parts[0] == 1) == threads {
            told(Place { threads, at: parts[1], lasting: parts[2] == 1 });
        }
        return;
    }
    let (count, refused) = told(Place { threads, at: u64::MAX, lasting: false });
    assert_eq!(refused, 0);
    assert!(count > 300, "the workload asks for much memory: {count} requests");
    let chosen = sampling::places(2 * count, default, seed);
    let struck =
        chosen.iter().filter(|place| told(Place { threads, at: **place / 2, lasting: **place % 2 == 1 }).1 > 0);
    println!("{} runs of which {} met a refusal, among {count} requests", chosen.len(), struck.count());
}

#[test]
fn whichever_memory_is_refused_the_promises_are_kept() {
    let _one = ONE.lock();
    refuse_some(false, 250);
    refuse_some(true, 60);
}

/// Where a manifest names the catalog's image: place, size and sum.
const CATALOG_AT: usize = 88;

/// Where the catalog has the length of its first file, and the sum of all behind it.
const LENGTH_AT: usize = 56;
const SUM_AT: usize = 8;

/// Puts `bytes` into a sealed block, and seals it again.
fn reseal(block: &mut [u8], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
    let sum = xxhash_rust::xxh3::xxh3_64(&block[..4088]);
    block[4088..4096].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn a_forged_length_is_damage_and_takes_no_memory() {
    let _one = ONE.lock();
    OWN.set(true);
    let mut work = Work::new(false);
    work.open().unwrap();
    work.make("small").unwrap();
    work.save_many("small", 10).unwrap();
    let db = work.db.take().unwrap();
    let slot_size = db.tables().unwrap()[0].slot_size;
    db.close().unwrap();
    let manifest = std::fs::read(work.folder.path().join("MANIFEST")).unwrap();
    let catalog = std::fs::read(work.folder.path().join("data/1")).unwrap();
    let number = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let slot = usize::from(number(&manifest, 16) < number(&manifest, 4096 + 16));
    let (place, size) = (number(&manifest, slot * 4096 + CATALOG_AT), number(&manifest, slot * 4096 + CATALOG_AT + 8));
    let image = place as usize..(place + size) as usize;
    for shift in [30, 40, 50, 59] {
        // The next record needs a page of its own.
        let length = (1_u64 << shift) / slot_size * slot_size;
        let mut forged = catalog.clone();
        forged[image.start + LENGTH_AT..][..8].copy_from_slice(&length.to_le_bytes());
        let own = xxhash_rust::xxh3::xxh3_64(&forged[image.clone()][SUM_AT + 8..]).to_le_bytes();
        forged[image.start + SUM_AT..][..8].copy_from_slice(&own);
        let sum = xxhash_rust::xxh3::xxh3_64(&forged[image.clone()]).to_le_bytes();
        std::fs::write(work.folder.path().join("data/1"), &forged).unwrap();
        let mut forged = manifest.clone();
        reseal(&mut forged[slot * 4096..][..4096], CATALOG_AT + 16, &sum);
        std::fs::write(work.folder.path().join("MANIFEST"), &forged).unwrap();

        AT.store(u64::MAX, Ordering::SeqCst);
        LARGEST.store(0, Ordering::SeqCst);
        ARMED.store(true, Ordering::SeqCst);
        let db = ask(|| Database::open(work.folder.path(), &work.options)).unwrap();
        let table = db.table("small").unwrap();
        let bytes = packed_of("small", 1);
        let last = RecordId(table.next_id().unwrap().0 - 1);
        let damaged = |what: &str, result: Result<(), Error>| {
            let error = result.expect_err(what);
            assert!(matches!(error, Error::Corrupt(_)), "{what}: {error:?}");
            assert!(error.message().contains("data/2"), "{what}: {error}");
        };
        damaged("a fetch", ask(|| table.fetch_json(last, JsonStyle::default())).map(|_| ()));
        damaged(
            "a scan",
            ask(|| table.scan(ScanRange { reverse: true, ..ScanRange::default() })?.next_json(JsonStyle::default()))
                .map(|_| ()),
        );
        let record = Record { bytes: &bytes, nulls: None };
        damaged("a replacement", ask(|| table.replace(last, record)));
        damaged("a save", ask(|| table.save(record)).map(|_| ()));
        // What is there can be read all the same.
        assert_eq!(number_in("small", &ask(|| table.fetch_json(RecordId(3), JsonStyle::default())).unwrap()), 3);
        ARMED.store(false, Ordering::SeqCst);
        assert!(LARGEST.load(Ordering::SeqCst) < 2 << 20, "memory was asked for as if the pages were there");
        drop(db);
    }
}

#[test]
fn a_folder_that_was_closed_leaves_nothing_behind() {
    let _one = ONE.lock();
    OWN.set(true);
    AT.store(u64::MAX, Ordering::SeqCst);
    let requests = |_: u32| {
        let mut work = Work::new(false);
        COUNT.store(0, Ordering::SeqCst);
        ARMED.store(true, Ordering::SeqCst);
        work.open().unwrap();
        ask(|| work.db.take().unwrap().close()).unwrap();
        ARMED.store(false, Ordering::SeqCst);
        COUNT.load(Ordering::SeqCst)
    };
    let first = requests(0);
    for number in 1..500 {
        assert_eq!(requests(number), first, "the folder with number {number} costs more than the first");
    }
}
