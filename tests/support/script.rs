//! Scripts: steps that are done to a database on a simulated disk and to its model alike.
//!
//! For each step it is noted at which event of the disk it began, at which it was acknowledged, and what the model
//! says then. With this, [`Phase::window`] tells which states a crash before any event may leave.

use std::sync::Arc;

use diamonddb::os::simulated::{FailKind, Failure, Recording, Rng, SimulatedDisk};
use diamonddb::{Database, Durability, Error, OpenOptions, Pin, Record, RecordId, Records, ScanRange, Table};
use parking_lot::Mutex;

use super::model::{Kind, Model};
use super::oracle;
use super::watched::{Moment, WatchedDisk};

/// One thing that a user does.
#[derive(Clone, Debug)]
pub enum Step {
    Make(String, Kind),
    Save(String),
    SaveMany(String, usize),
    Replace(String, u64),
    /// With the right expectation, or with a wrong one.
    ReplaceIf(String, u64, bool),
    Delete(String, u64),
    DeleteMany(String, Vec<u64>),
    Batch(Vec<Part>),
    /// Does not wait for durability, whatever the mode.
    BatchNoWait(Vec<Part>),
    Drop(String),
    Rename(String, String),
    Checkpoint,
    Flush,
    /// `Database::step`.
    Upkeep,
    Verify,
    /// A checkpoint, and steps in the midst of it: before the call with this number among those watched.
    During(usize, Vec<Step>),
    /// A flush, and steps in the midst of it: after the wal was synced, before the flush hears of it. In `sync` mode
    /// these can only be batches that do not wait.
    InFlush(Vec<Step>),
    /// A scan that is begun before these steps and read after them.
    Scanning(String, Vec<Step>),
    /// A snapshot and a pin that are taken before these steps and read after them.
    Holding(String, Vec<Step>),
    /// A clean close, and opening again.
    Reopen,
    /// The process dies, and another one opens.
    Kill,
    /// The power was cut so many events ago, and the database is opened on what that left.
    PowerCut(usize),
}

/// One part of a batch.
#[derive(Clone, Debug)]
pub enum Part {
    Save(String),
    Replace(String, u64),
    Delete(String, u64),
    /// What the record is, or something else.
    Expect(String, u64, bool),
}

impl Part {
    pub fn table(&self) -> &str {
        match self {
            Part::Save(name) | Part::Replace(name, _) | Part::Delete(name, _) | Part::Expect(name, ..) => name,
        }
    }
}

/// What happened between two deaths of the process.
pub struct Phase {
    pub recording: Recording,
    pub options: OpenOptions,
    states: Vec<Model>,
    marks: Vec<Mark>,
}

/// Neighbouring states of the model, with a number that tells them from others of the phase.
#[derive(Clone, Copy)]
pub struct Window<'a> {
    pub states: &'a [Model],
    pub key: u64,
}

/// When a step happened, counted in events of the disk, and the place of the model's state after it.
#[derive(Clone, Copy, Debug)]
struct Mark {
    begun: usize,
    acked: usize,
    state: usize,
    /// The state that nothing may take back any more once the step was acknowledged.
    sure: usize,
    /// The state that the end of the process alone does not take back.
    handed: usize,
}

impl Phase {
    /// The states that may be found after a crash just before the event `index`.
    pub fn window(&self, index: usize) -> Window<'_> {
        let sure = self.marks.iter().filter(|mark| mark.acked <= index).map(|mark| mark.sure).max().unwrap_or(0);
        let begun = self.marks.iter().filter(|mark| mark.begun < index || mark.acked == 0).map(|mark| mark.state);
        let last = begun.max().unwrap_or(0).max(sure);
        Window { states: &self.states[sure..=last], key: (sure as u64) << 32 | last as u64 }
    }
}

/// Does a script, and gives the phases that it had. Every answer must be the model's.
pub fn run(options: &OpenOptions, seed: u64, steps: &[Step]) -> Vec<Phase> {
    let mut run = Run::new(options, SimulatedDisk::new(seed));
    run.open().expect("an empty folder opens");
    for (index, step) in steps.iter().enumerate() {
        run.step(step).unwrap_or_else(|error| panic!("step {index}, {step:?}: {error}"));
    }
    run.finish()
}

/// A script under way.
pub struct Run {
    options: OpenOptions,
    pub disk: Arc<SimulatedDisk>,
    watched: Arc<WatchedDisk>,
    db: Option<Arc<Database>>,
    notes: Arc<Mutex<Notes>>,
    phases: Vec<Phase>,
}

/// What is known of the phase under way.
#[derive(Default)]
struct Notes {
    states: Vec<Model>,
    marks: Vec<Mark>,
    /// The number of the next record.
    next: u64,
    /// The state that an earlier process left for sure, as long as the machine runs.
    handed: usize,
}

impl Notes {
    fn last(&self) -> usize {
        self.states.len() - 1
    }
}

impl Run {
    pub fn new(options: &OpenOptions, disk: Arc<SimulatedDisk>) -> Run {
        let notes = Notes { states: vec![Model::default()], ..Notes::default() };
        let watched = WatchedDisk::new(Arc::clone(&disk));
        let notes = Arc::new(Mutex::new(notes));
        Run { options: options.clone(), disk, watched, db: None, notes, phases: Vec::new() }
    }

    /// The open database.
    pub fn db(&self) -> &Database {
        self.db.as_deref().expect("the database is open")
    }

    /// What the database shows now, as far as its answers tell.
    pub fn model(&self) -> Model {
        self.notes.lock().states.last().expect("there is a first state").clone()
    }

    /// Whether all writing must have ended, by the calls that failed since the last opening; `None` where it may.
    pub fn must_be_poisoned(&self) -> Option<bool> {
        self.watched.must_be_poisoned()
    }

    /// True unless the last opening failed.
    pub fn is_open(&self) -> bool {
        self.db.is_some()
    }

    /// Opens the database, and compares it with what may be there: from then on it is certain.
    pub fn open(&mut self) -> Result<(), Error> {
        let begun = self.disk.events();
        self.watched.forget_failures();
        let db = Database::open_on(Arc::clone(&self.watched) as _, &self.options)?;
        let found = match oracle::read(&db) {
            Err(error) if error.status() == 500 => return Err(error),
            other => other.unwrap_or_else(|error| panic!("after opening: {error:?}")),
        };
        let mut notes = self.notes.lock();
        let sure = notes.marks.iter().map(|mark| mark.sure.max(mark.handed)).max().unwrap_or(0).max(notes.handed);
        let place = (sure..notes.states.len()).rev().find(|place| notes.states[*place] == found);
        let Some(_) = place else {
            panic!("after opening: {}", notes.states[notes.last()].difference(&found));
        };
        // Whatever was begun before and is not there will not be there again.
        notes.states.push(found);
        let state = notes.last();
        notes.marks.push(Mark { begun, acked: self.disk.events(), state, sure: state, handed: state });
        drop(notes);
        self.db = Some(Arc::new(db));
        Ok(())
    }

    pub fn step(&mut self, step: &Step) -> Result<(), Error> {
        match step {
            _ if self.db.is_none() => self.open(),
            Step::Reopen => {
                let closed = self.close();
                self.open()?;
                closed
            }
            Step::Kill => {
                self.kill();
                self.open()
            }
            Step::PowerCut(back) => {
                self.cut_power(*back);
                self.open()
            }
            _ => self.hand().step(step),
        }
    }

    /// A clean close.
    pub fn close(&mut self) -> Result<(), Error> {
        let (begun, sure) = (self.disk.events(), self.notes.lock().last());
        let db = Arc::into_inner(self.db.take().expect("the database is open")).expect("nobody else has it");
        db.close()?;
        self.note(Mark { begun, acked: self.disk.events(), state: sure, sure, handed: sure });
        Ok(())
    }

    /// The process dies: another disk, on which all that was written can still be seen.
    pub fn kill(&mut self) {
        let after = self.disk.kill();
        let phase = self.end_phase();
        let sure = phase.marks.iter().map(|mark| mark.sure).max().unwrap_or(0);
        let handed = phase.marks.iter().map(|mark| mark.handed).max().unwrap_or(0).max(sure);
        // What the disk has for certain, and what may be there besides.
        let states = phase.states[sure..].to_vec();
        self.go_on(phase, states, handed - sure, after);
    }

    /// The power was cut `back` events ago: another disk, with some state that this may have left.
    pub fn cut_power(&mut self, back: usize) {
        let phase = self.end_phase();
        let point = phase.recording.at(phase.recording.len().saturating_sub(back));
        let mut rng = Rng::new(self.disk.fingerprint());
        let after = point.state(&point.random_choice(&mut rng));
        let states = phase.window(point.index()).states.to_vec();
        self.go_on(phase, states, 0, after);
    }

    /// A new phase begins, on another disk, in one of these states, the one numbered `handed` or a later one.
    fn go_on(&mut self, ended: Phase, states: Vec<Model>, handed: usize, after: Arc<SimulatedDisk>) {
        self.phases.push(ended);
        let last = states.len() - 1;
        let first = Mark { begun: 0, acked: 0, state: last, sure: 0, handed: 0 };
        let mut notes = self.notes.lock();
        *notes = Notes { states, marks: Vec::new(), next: notes.next, handed };
        // A new window begins: everything that was begun before may be there before the first event already.
        notes.marks.push(first);
        drop(notes);
        abandon(&self.disk, self.db.take());
        self.disk = after;
        self.watched = WatchedDisk::new(Arc::clone(&self.disk));
    }

    /// The phases so far, the last one without a clean close.
    pub fn finish(mut self) -> Vec<Phase> {
        let phase = self.end_phase();
        self.phases.push(phase);
        abandon(&self.disk, self.db.take());
        self.phases
    }

    fn end_phase(&self) -> Phase {
        let notes = self.notes.lock();
        let (states, marks) = (notes.states.clone(), notes.marks.clone());
        Phase { recording: self.disk.recording(), options: self.options.clone(), states, marks }
    }

    fn note(&self, mark: Mark) {
        self.notes.lock().marks.push(mark);
    }

    fn hand(&self) -> Hand {
        Hand {
            db: Arc::clone(self.db.as_ref().expect("the database is open")),
            disk: Arc::clone(&self.disk),
            watched: Arc::clone(&self.watched),
            notes: Arc::clone(&self.notes),
            durability: self.options.durability,
        }
    }
}

/// Ends a process without a clean close: whatever it still tries fails.
pub fn abandon(disk: &SimulatedDisk, db: Option<Arc<Database>>) {
    disk.clear_failures();
    disk.fail(Failure { at: 0, kind: FailKind::InputOutput, from_then_on: true });
    drop(db);
}

/// What a step needs, also in the midst of another.
#[derive(Clone)]
struct Hand {
    db: Arc<Database>,
    disk: Arc<SimulatedDisk>,
    watched: Arc<WatchedDisk>,
    notes: Arc<Mutex<Notes>>,
    durability: Durability,
}

impl Hand {
    /// Does a step. A refusal that the model foretells is right; any other error is handed on.
    fn step(&self, step: &Step) -> Result<(), Error> {
        match step {
            Step::During(countdown, steps) => {
                return self.during(Moment::InCheckpoint, *countdown, steps, Database::checkpoint);
            }
            Step::InFlush(steps) => return self.during(Moment::WalSynced, 0, steps, Database::flush),
            Step::Scanning(name, steps) => return self.scanning(name, steps),
            Step::Holding(name, steps) => return self.holding(name, steps),
            _ => {}
        }
        let (before, n) = {
            let mut notes = self.notes.lock();
            let n = notes.next;
            notes.next += 1 + step.record_count();
            (notes.states[notes.last()].clone(), n)
        };
        let planned = before.after(step, n);
        let begun = self.disk.events();
        let result = call(&self.db, step, n, &before);
        let after = match (planned, &result) {
            (Ok(after), Ok(())) => after,
            (Err(status), Err(error)) if error.status() == status => before,
            (Err(status), Ok(())) => panic!("{step:?} was done, and should be refused with {status}"),
            (planned, Err(error)) => {
                let is_answer = (200..300).contains(&error.status());
                assert!(!is_answer, "{step:?} was refused with {error:?}, where the model says {:?}", planned.err());
                // Perhaps it is there, perhaps not.
                if let (400, Ok(after)) = (error.status(), planned) {
                    let mut notes = self.notes.lock();
                    notes.states.push(after);
                    // What was acknowledged before has marks of its own; what nobody waited for is not sure.
                    let mark = Mark { begun, acked: usize::MAX, state: notes.last(), sure: 0, handed: 0 };
                    notes.marks.push(mark);
                }
                return result;
            }
        };
        let mut notes = self.notes.lock();
        notes.states.push(after);
        let state = notes.last();
        let waits = match step {
            Step::BatchNoWait(_) => false,
            // Nothing was written, and so nothing was waited for.
            Step::Rename(from, to) if from == to => false,
            _ => result.is_ok(),
        };
        let sure = match step {
            Step::Flush | Step::Checkpoint => state,
            Step::Upkeep | Step::Verify => 0,
            _ if waits && self.durability == Durability::Sync => state,
            _ => 0,
        };
        let handed = if waits && self.durability == Durability::Os { state } else { sure };
        notes.marks.push(Mark { begun, acked: self.disk.events(), state, sure, handed });
        Ok(())
    }

    fn during(
        &self,
        moment: Moment,
        countdown: usize,
        steps: &[Step],
        outer: fn(&Database) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let failure = Arc::new(Mutex::new(None));
        let act = {
            let (hand, steps, failure) = (self.clone(), steps.to_vec(), Arc::clone(&failure));
            move || *failure.lock() = steps.iter().try_for_each(|step| hand.step(step)).err()
        };
        let (begun, sure) = (self.disk.events(), self.notes.lock().last());
        self.watched.during(moment, countdown, Box::new(act));
        let result = outer(&self.db);
        if let Some(act) = self.watched.call_off() {
            act();
        }
        let mut notes = self.notes.lock();
        let state = notes.last();
        result?;
        notes.marks.push(Mark { begun, acked: self.disk.events(), state, sure, handed: sure });
        let failure = failure.lock().take();
        failure.map_or(Ok(()), Err)
    }

    fn scanning(&self, name: &str, steps: &[Step]) -> Result<(), Error> {
        let before = self.notes.lock().states.last().expect("there is a first state").clone();
        // Its making may have failed.
        let Some(expected) = before.tables.get(name) else { return Ok(()) };
        let mut cursor = self.db.table(name)?.scan(ScanRange::default())?;
        steps.iter().try_for_each(|step| self.step(step))?;
        let mut found = Vec::new();
        while let Some((id, json)) = cursor.next_json(Default::default())? {
            found.push((id.0, json));
        }
        let expected: Vec<_> = expected.records.iter().map(|(id, json)| (*id, json.clone())).collect();
        assert_eq!(found, expected, "a scan of {name} sees what was there when it began");
        Ok(())
    }

    fn holding(&self, name: &str, steps: &[Step]) -> Result<(), Error> {
        let before = self.notes.lock().states.last().expect("there is a first state").clone();
        // Its making may have failed.
        let Some(expected) = before.tables.get(name) else { return Ok(()) };
        let list: Vec<_> = expected.records.iter().map(|(id, json)| (*id, json.clone())).collect();
        let snapshot = self.db.snapshot()?;
        let (begun, sure) = (self.disk.events(), self.notes.lock().last());
        let pin = self.db.table(name)?.pin()?;
        // A pin makes a checkpoint; it does not say whether that went well.
        self.notes.lock().marks.push(Mark { begun, acked: self.disk.events(), state: sure, sure: 0, handed: 0 });
        steps.iter().try_for_each(|step| self.step(step))?;
        assert_eq!(pinned(&pin, expected.kind), list, "a pin of {name} stands still");
        let table = match snapshot.table(name) {
            Err(Error::NotFound(_)) => return Ok(()), // It was dropped among the steps.
            table => table?,
        };
        assert_eq!(pinned(&table.pin()?, expected.kind), list, "a pin of a snapshot's {name} is as of then");
        let mut cursor = table.scan(ScanRange::default())?;
        let mut found = Vec::new();
        while let Some((id, json)) = cursor.next_json(Default::default())? {
            found.push((id.0, json));
        }
        assert_eq!(found, list, "a snapshot's {name} is as of then");
        Ok(())
    }
}

/// The records that a pin shows, as JSON: the number in each says what the rest of it is.
fn pinned(pin: &Pin, kind: Kind) -> Vec<(u64, String)> {
    let live = (0..pin.slot_count()).filter_map(|id| {
        let record = pin.record(RecordId(id)).ok()?;
        let at = pin.layout().fields.iter().find(|field| field.name == "n").expect("both schemas have it").offset;
        let size = if kind == Kind::Small { 8 } else { 4 };
        let mut number = [0; 8];
        number[..size].copy_from_slice(&record.bytes[at..at + size]);
        Some((id, kind.json(u64::from_le_bytes(number))))
    });
    live.collect()
}

/// Does a step that has none inside. Its records have the numbers from `n` on.
pub fn call(db: &Database, step: &Step, n: u64, before: &Model) -> Result<(), Error> {
    match step {
        Step::Make(name, kind) => db.make_table(name, &kind.schema()).map(|_| ()),
        Step::Save(name) => {
            let (table, kind) = open(db, name)?;
            let next = before.tables[name].next_id;
            let id = if n.is_multiple_of(2) {
                table.save_json(&kind.json(n))?
            } else {
                let (bytes, nulls) = kind.packed(n);
                table.save(Record { bytes: &bytes, nulls: Some(&[nulls]) })?
            };
            assert_eq!(id.0, next, "ids are dense");
            Ok(())
        }
        Step::SaveMany(name, count) => {
            let (table, kind) = open(db, name)?;
            let first = if n.is_multiple_of(2) {
                let records: Vec<String> = (0..*count as u64).map(|index| kind.json(n + index)).collect();
                table.save_many_json(&format!("[{}]", records.join(",")))?.0
            } else {
                let (mut bytes, mut nulls) = (Vec::new(), Vec::new());
                for index in 0..*count as u64 {
                    let (record, null) = kind.packed(n + index);
                    bytes.extend(record);
                    nulls.push(null);
                }
                let stride = table.layout().record_size;
                let (nulls, count) = (Some(&nulls[..]), *count);
                table.save_many(Records { bytes: &bytes, stride, nulls, null_stride: 1, count })?
            };
            assert_eq!(first.0, before.tables[name].next_id, "ids are dense");
            Ok(())
        }
        Step::Replace(name, id) => {
            let (table, kind) = open(db, name)?;
            if n.is_multiple_of(2) {
                return table.replace_json(RecordId(*id), &kind.json(n));
            }
            let (bytes, nulls) = kind.packed(n);
            table.replace(RecordId(*id), Record { bytes: &bytes, nulls: Some(&[nulls]) })
        }
        Step::ReplaceIf(name, id, right) => {
            let (table, kind) = open(db, name)?;
            let there = before.tables[name].records.get(id).cloned().filter(|_| *right);
            let expected = there.unwrap_or_else(|| kind.json(u64::from(u32::MAX)));
            table.replace_if_json(RecordId(*id), &expected, &kind.json(n))
        }
        Step::Delete(name, id) => open(db, name)?.0.delete(RecordId(*id)),
        Step::DeleteMany(name, ids) => {
            let ids: Vec<RecordId> = ids.iter().map(|id| RecordId(*id)).collect();
            open(db, name)?.0.delete_many(&ids)
        }
        Step::Batch(parts) => batch(db, parts, n, before, false),
        Step::BatchNoWait(parts) => batch(db, parts, n, before, true),
        Step::Drop(name) => db.drop_table(name),
        Step::Rename(from, to) => db.rename_table(from, to),
        Step::Checkpoint => db.checkpoint(),
        Step::Flush => db.flush(),
        Step::Upkeep => db.step(std::time::Duration::from_secs(3600)).map(|_| ()),
        Step::Verify => oracle::agree(db, before).map_err(|what| panic!("{what}")),
        Step::During(..) | Step::InFlush(..) | Step::Scanning(..) | Step::Holding(..) => unreachable!("done by others"),
        Step::Reopen | Step::Kill | Step::PowerCut(..) => unreachable!("done by the run"),
    }
}

fn batch(db: &Database, parts: &[Part], n: u64, before: &Model, no_wait: bool) -> Result<(), Error> {
    let mut batch = db.batch()?;
    for (index, part) in parts.iter().enumerate() {
        let n = n + index as u64;
        let (table, kind) = open(db, part.table())?;
        match part {
            Part::Save(_) => batch.save_json(&table, &kind.json(n))?,
            Part::Replace(_, id) => batch.replace_json(&table, RecordId(*id), &kind.json(n))?,
            Part::Delete(_, id) => batch.delete(&table, RecordId(*id))?,
            Part::Expect(name, id, right) => {
                let there = before.tables[name].records.get(id).cloned().filter(|_| *right);
                let expected = there.unwrap_or_else(|| kind.json(u64::from(u32::MAX)));
                batch.expect_json(&table, RecordId(*id), &expected)?;
            }
        }
    }
    batch.commit(no_wait).map(|_| ())
}

fn open(db: &Database, name: &str) -> Result<(Table, Kind), Error> {
    let table = db.table(name)?;
    let kind = Kind::of(table.schema()).expect("scripts use two schemas only");
    Ok((table, kind))
}

impl Step {
    /// How many numbers of records the step uses up, but one.
    fn record_count(&self) -> u64 {
        match self {
            Step::SaveMany(_, count) => *count as u64,
            Step::Batch(parts) | Step::BatchNoWait(parts) => parts.len() as u64,
            _ => 0,
        }
    }
}

/// The steps as scripts write them.
pub mod words {
    use super::super::model::Kind;
    use super::{Part, Step};

    pub fn make(name: &str) -> Step {
        Step::Make(name.into(), Kind::Small)
    }
    pub fn make_wide(name: &str) -> Step {
        Step::Make(name.into(), Kind::Wide)
    }
    pub fn save(name: &str) -> Step {
        Step::Save(name.into())
    }
    pub fn save_many(name: &str, count: usize) -> Step {
        Step::SaveMany(name.into(), count)
    }
    pub fn replace(name: &str, id: u64) -> Step {
        Step::Replace(name.into(), id)
    }
    pub fn replace_if(name: &str, id: u64, right: bool) -> Step {
        Step::ReplaceIf(name.into(), id, right)
    }
    pub fn delete(name: &str, id: u64) -> Step {
        Step::Delete(name.into(), id)
    }
    pub fn delete_many(name: &str, ids: impl IntoIterator<Item = u64>) -> Step {
        Step::DeleteMany(name.into(), ids.into_iter().collect())
    }
    pub fn drop_table(name: &str) -> Step {
        Step::Drop(name.into())
    }
    pub fn rename(from: &str, to: &str) -> Step {
        Step::Rename(from.into(), to.into())
    }
    pub fn scanning(name: &str, steps: impl IntoIterator<Item = Step>) -> Step {
        Step::Scanning(name.into(), steps.into_iter().collect())
    }
    pub fn holding(name: &str, steps: impl IntoIterator<Item = Step>) -> Step {
        Step::Holding(name.into(), steps.into_iter().collect())
    }
    pub fn during(countdown: usize, steps: impl IntoIterator<Item = Step>) -> Step {
        Step::During(countdown, steps.into_iter().collect())
    }
    pub fn in_save(name: &str) -> Part {
        Part::Save(name.into())
    }
    pub fn in_replace(name: &str, id: u64) -> Part {
        Part::Replace(name.into(), id)
    }
    pub fn in_delete(name: &str, id: u64) -> Part {
        Part::Delete(name.into(), id)
    }
    pub fn in_expect(name: &str, id: u64, right: bool) -> Part {
        Part::Expect(name.into(), id, right)
    }
}
