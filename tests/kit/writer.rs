//! A process that writes until it dies, and what must be found of it afterwards.
//!
//! Each of its threads has a table of its own and shares another one. What a thread does in its step k follows from
//! the seed, the thread and k alone, so what its table holds after k steps can be computed by anyone: that is the
//! record of the outside, beside what the process said on its standard output before it died:
//!
//! ```text
//! found 1 34          thread 1 found its first 34 steps done when the process opened the database
//! done 1 35 4711      its step 35 was acknowledged, with this LSN; 0 where the verb does not tell it
//! flushed 1 35        a flush behind step 35 was acknowledged
//! ```
//!
//! An even step is a batch that also notes k in the thread's record of `clocks` and saves it in `shared`, so that it
//! shows whether a batch is there wholly; an odd one is a single verb.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use diamonddb::{Database, Durability, Error, OpenOptions, RecordId, Table};

use super::{fetch, many, packed, replace, save, save_many, scanned, schema, small_sizes};

/// Threads that write.
pub const THREADS: usize = 3;

/// A process stops by itself after so many steps, if nobody kills it.
const STEP_COUNT_MAX: u64 = 20_000;

/// Numbers that follow from a seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1A_301D)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// What a thread's own table must hold after some of its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    /// By id; a deleted record is none.
    values: Vec<Option<i64>>,
    live: Vec<u64>,
}

#[derive(Clone, Debug)]
enum Change {
    Save(Vec<i64>),
    Replace(u64, i64),
    Delete(u64),
}

impl Model {
    fn after(seed: u64, thread: usize, steps: u64) -> Model {
        let mut model = Model::default();
        for step in 0..steps {
            for change in model.changes(seed, thread, step) {
                model.apply(&change);
            }
        }
        model
    }

    /// What a step does; the changes of a batch touch different records.
    fn changes(&self, seed: u64, thread: usize, step: u64) -> Vec<Change> {
        let mut random = Random::new(seed ^ (step << 8) ^ thread as u64);
        let value = |part: u64| ((thread as i64) << 48) | ((step as i64) << 12) | part as i64;
        let count = if step.is_multiple_of(2) { 1 + random.below(4) } else { 1 };
        let mut touched = BTreeSet::new();
        let mut changes = Vec::new();
        for part in 0..count {
            let id = self.live.get(random.below(self.live.len().max(1) as u64) as usize).copied();
            let change = match (random.below(100), id) {
                // Enough for an append in bulk.
                (0..3, _) if step % 2 == 1 => Change::Save((0..1500).map(value).collect()),
                (3..40, Some(id)) if touched.insert(id) => Change::Replace(id, value(part)),
                (40..55, Some(id)) if touched.insert(id) => Change::Delete(id),
                _ => Change::Save(vec![value(part)]),
            };
            changes.push(change);
        }
        changes
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Save(values) => {
                for value in values {
                    self.live.push(self.values.len() as u64);
                    self.values.push(Some(*value));
                }
            }
            Change::Replace(id, value) => self.values[*id as usize] = Some(*value),
            Change::Delete(id) => {
                self.values[*id as usize] = None;
                self.live.retain(|live| live != id);
            }
        }
    }

    fn records(&self) -> Vec<(u64, i64)> {
        let live = |(id, value): (usize, &Option<i64>)| value.map(|value| (id as u64, value));
        self.values.iter().enumerate().filter_map(live).collect()
    }
}

/// The tables of the process.
struct Tables {
    clocks: Table,
    shared: Table,
    own: Vec<Table>,
}

impl Tables {
    /// `None` where the process was killed before it had made them all.
    fn open(db: &Database) -> Option<Tables> {
        let table = |name: &str| match db.table(name) {
            Ok(table) => Some(table),
            Err(Error::NotFound(_)) => None,
            Err(other) => panic!("table {name}: {other}"),
        };
        let own = (0..THREADS).map(|thread| table(&format!("own {thread}"))).collect::<Option<Vec<_>>>()?;
        let tables = Tables { shared: table("shared")?, own, clocks: table("clocks")? };
        (tables.clocks.count().unwrap() == THREADS as u64).then_some(tables)
    }

    fn make(db: &Database) -> Result<Tables, Error> {
        let own = (0..THREADS).map(|thread| numbers(db, &format!("own {thread}"))).collect::<Result<_, _>>()?;
        let tables = Tables { shared: numbers(db, "shared")?, own, clocks: numbers(db, "clocks")? };
        while tables.clocks.count()? < THREADS as u64 {
            save(&tables.clocks, 0)?;
        }
        Ok(tables)
    }
}

fn numbers(db: &Database, name: &str) -> Result<Table, Error> {
    db.make_table(name, &schema(r#"{"value": ["i64"]}"#))
}

/// Which steps of each thread a database holds. Panics where it holds anything else.
pub fn steps_found(db: &Database, seed: u64) -> [u64; THREADS] {
    assert_eq!(db.verify().unwrap().findings, []);
    let Some(tables) = Tables::open(db) else { return [0; THREADS] };
    let mut shared = Vec::new();
    let steps = std::array::from_fn(|thread| {
        let noted = fetch(&tables.clocks, RecordId(thread as u64)).unwrap() as u64;
        shared.extend((0..noted).step_by(2).map(|step| noted_as(thread, step)));
        let mut model = Model::after(seed, thread, noted);
        let found = scanned(&tables.own[thread]).unwrap();
        if found == model.records() {
            return noted;
        }
        for change in model.changes(seed, thread, noted) {
            model.apply(&change);
        }
        // The batch of an even step would be noted.
        assert!(noted % 2 == 1, "thread {thread}: the batch of step {noted} is there, and its note is not");
        assert!(found == model.records(), "thread {thread}: this is not its table after step {noted} or the next");
        noted + 1
    });
    let mut found: Vec<i64> = scanned(&tables.shared).unwrap().into_iter().map(|(_, value)| value).collect();
    found.sort_unstable();
    shared.sort_unstable();
    assert!(found == shared, "the shared table does not hold exactly what the batches that are there saved");
    steps
}

fn noted_as(thread: usize, step: u64) -> i64 {
    ((thread as i64) << 48) | step as i64
}

/// The options of one process: another mixture each time.
pub fn options(durability: Durability, round: u64) -> OpenOptions {
    let mut random = Random::new(round);
    let small = random.below(3) > 0;
    OpenOptions {
        durability,
        interval_ms: 1 + random.below(30) as u32,
        no_threads: random.below(5) == 0,
        pread: random.below(3) == 0,
        dirty_soft: if small { 400 << 10 } else { 0 },
        dirty_hard: if small { 800 << 10 } else { 0 },
        sizes: if small { small_sizes() } else { Default::default() },
        ..OpenOptions::default()
    }
}

/// Opens the database, says what is there, and writes until it is killed.
pub fn write_until_killed(folder: &Path, seed: u64, durability: Durability, round: u64) {
    say("opening");
    let options = options(durability, round);
    let db = Database::open(folder, &options).unwrap();
    let found = steps_found(&db, seed);
    let writers = Writer::all(&db, seed, found).unwrap();
    for (thread, steps) in found.iter().enumerate() {
        say(&format!("found {thread} {steps}"));
    }
    let write = |writer: &mut Writer| {
        let lsn = writer.step().unwrap();
        say(&format!("done {} {} {lsn}", writer.thread, writer.steps));
        if durability == Durability::Async && writer.steps % 11 == 3 {
            db.flush().unwrap();
            say(&format!("flushed {} {}", writer.thread, writer.steps));
        }
        writer.keep_house().unwrap();
    };
    if options.no_threads {
        // One thread does what three would do otherwise, and the upkeep.
        let mut writers = writers;
        for round in 0..STEP_COUNT_MAX {
            write(&mut writers[round as usize % THREADS]);
            if round % 5 == 0 {
                db.step(std::time::Duration::from_micros(100)).unwrap();
            }
        }
        return;
    }
    std::thread::scope(|scope| {
        for mut writer in writers {
            scope.spawn(move || (0..STEP_COUNT_MAX).for_each(|_| write(&mut writer)));
        }
    });
}

/// One thread of the process.
pub struct Writer<'a> {
    db: &'a Database,
    clocks: Table,
    shared: Table,
    own: Table,
    seed: u64,
    thread: usize,
    /// How many steps it has done.
    pub steps: u64,
    model: Model,
}

impl<'a> Writer<'a> {
    /// One for each thread, to go on from what was found. Makes the tables that are missing.
    pub fn all(db: &'a Database, seed: u64, found: [u64; THREADS]) -> Result<Vec<Writer<'a>>, Error> {
        let tables = Tables::make(db)?;
        let one = |(thread, steps): (usize, u64)| Writer {
            db,
            clocks: tables.clocks.clone(),
            shared: tables.shared.clone(),
            own: tables.own[thread].clone(),
            seed,
            thread,
            steps,
            model: Model::after(seed, thread, steps),
        };
        Ok(found.into_iter().enumerate().map(one).collect())
    }

    /// Does the next step; returns its LSN, or 0 where the verb does not tell it. After an error it is still the next.
    pub fn step(&mut self) -> Result<u64, Error> {
        let changes = self.model.changes(self.seed, self.thread, self.steps);
        let lsn = if self.steps.is_multiple_of(2) { self.commit(&changes)? } else { self.change(&changes[0])? };
        changes.iter().for_each(|change| self.model.apply(change));
        self.steps += 1;
        Ok(lsn)
    }

    /// Now and then a checkpoint, and tables that come and go beside the others.
    pub fn keep_house(&self) -> Result<(), Error> {
        if self.steps % 32 == 9 * self.thread as u64 {
            self.db.checkpoint()?;
        }
        if self.steps % 64 == 31 {
            let (name, other) = (format!("passing {}", self.thread), format!("gone {}", self.thread));
            save_many(&numbers(self.db, &name)?, 0..200)?;
            // One that a killed process had left is in the way.
            if self.db.table(&other).is_ok() {
                self.db.drop_table(&other)?;
            }
            self.db.rename_table(&name, &other)?;
            self.db.drop_table(&other)?;
        }
        Ok(())
    }

    fn commit(&self, changes: &[Change]) -> Result<u64, Error> {
        let mut batch = self.db.batch()?;
        for change in changes {
            match change {
                Change::Save(values) => {
                    values.iter().try_for_each(|value| batch.save(&self.own, packed(&value.to_le_bytes())))?;
                }
                Change::Replace(id, value) => {
                    batch.replace(&self.own, RecordId(*id), packed(&value.to_le_bytes()))?;
                }
                Change::Delete(id) => batch.delete(&self.own, RecordId(*id))?,
            }
        }
        // The step is counted, and so noted, once it is done.
        let done = self.steps as i64 + 1;
        batch.replace(&self.clocks, RecordId(self.thread as u64), packed(&done.to_le_bytes()))?;
        batch.save(&self.shared, packed(&noted_as(self.thread, self.steps).to_le_bytes()))?;
        Ok(batch.commit(false)?.lsn.0)
    }

    fn change(&self, change: &Change) -> Result<u64, Error> {
        match change {
            Change::Save(values) => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                self.own.save_many(many(&bytes)).map(|_| 0)
            }
            Change::Replace(id, value) => replace(&self.own, RecordId(*id), *value).map(|()| 0),
            Change::Delete(id) => self.own.delete(RecordId(*id)).map(|()| 0),
        }
    }
}

/// One line in one write, so that what was said before a kill is said wholly.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What one history of processes has said so far.
#[derive(Clone)]
pub struct Witness {
    durability: Durability,
    /// By thread: steps and LSNs that were acknowledged.
    done: [Vec<(u64, u64)>; THREADS],
    flushed: [u64; THREADS],
    pub acknowledged: u64,
}

impl Witness {
    pub fn new(durability: Durability) -> Witness {
        Witness { durability, done: Default::default(), flushed: [0; THREADS], acknowledged: 0 }
    }

    /// Takes one line of a process.
    pub fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let what = words.next().unwrap_or_default();
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        match (what, number(), number(), number()) {
            ("found", Some(thread), Some(steps), None) => self.judge_thread(thread as usize, steps),
            ("done", Some(thread), Some(steps), Some(lsn)) => {
                self.done[thread as usize].push((steps, lsn));
                self.acknowledged += 1;
            }
            ("flushed", Some(thread), Some(steps), None) => self.flushed[thread as usize] = steps,
            _ => {}
        }
    }

    /// Insists that what was promised is there, and that what is there is a prefix.
    pub fn judge(&mut self, found: [u64; THREADS]) {
        let lsns = |kept: bool| {
            let one = move |(done, found): (&Vec<(u64, u64)>, u64)| {
                done.iter().filter(move |(steps, _)| (*steps <= found) == kept).map(|(_, lsn)| *lsn).collect::<Vec<_>>()
            };
            self.done.iter().zip(found).flat_map(one).filter(|lsn| *lsn > 0).collect::<Vec<_>>()
        };
        let (newest_kept, oldest_lost) = (lsns(true).into_iter().max(), lsns(false).into_iter().min());
        if let (Some(kept), Some(lost)) = (newest_kept, oldest_lost) {
            assert!(kept < lost, "the commit {kept} is there, and the earlier one {lost} is not");
        }
        for (thread, steps) in found.into_iter().enumerate() {
            self.judge_thread(thread, steps);
        }
    }

    /// As `judge`, where the machine lost its power and not only the process its life.
    pub fn judge_device(&mut self, found: [u64; THREADS]) {
        if self.durability == Durability::Os {
            // Only a flush promises something here.
            self.durability = Durability::Async;
        }
        self.judge(found);
    }

    fn judge_thread(&mut self, thread: usize, found: u64) {
        let promised = match self.durability {
            Durability::Async => self.flushed[thread],
            _ => self.done[thread].last().map_or(0, |(steps, _)| *steps),
        };
        assert!(found >= promised, "thread {thread}: {promised} steps were acknowledged, and {found} are there");
        // What is there goes on from here; what was lost is done again, under another LSN.
        self.done[thread].clear();
        self.done[thread].push((found, 0));
        self.flushed[thread] = self.flushed[thread].min(found);
    }
}
