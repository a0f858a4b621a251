//! The whole engine under a scheduler that decides, at each use of a lock, an atomic or the disk, which thread runs
//! next. Each schedule runs some threads to their end on a simulated disk with small sizes, compares all that they saw
//! with the one order of their commits (`support/history.rs`), and opens some of what crashes would have left.
//!
//! ```text
//! RUSTFLAGS='--cfg shuttle' cargo test --features simulation --target-dir target/schedules --test schedules
//! ```
//!
//! `DIAMOND_SCHEDULES` is how many schedules each test runs, about; `DIAMOND_SEED` is where to begin. A round of
//! [`ROUND`] schedules has one seed, the next round the next one, so a run goes on where another ended. A failure
//! prints the seed of its round, which repeats it. Half of the rounds let any thread go on at any moment; the others
//! run one thread as long as it can and step in at a few moments only (PCT), which finds what needs long delays.
#![cfg(all(shuttle, feature = "simulation"))]

mod support;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diamonddb::os::simulated::{FailKind, Failure, Rng, SimulatedDisk};
use diamonddb::{
    CacheChoice, Committed, Database, Durability, Error, JsonStyle, Lsn, OpenOptions, RecordId, Records, ScanRange,
    StoreChoice, Table,
};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
use support::history::{Change, History, TableNumber};
use support::model::Kind;
use support::modules::Queueing;
use support::script::abandon;
use support::{number_from_env, oracle, small_sizes};

/// Schedules with one seed.
const ROUND: usize = 16;

/// How much time a step of upkeep may take: any.
const AGES: Duration = Duration::from_secs(1 << 30);

/// What happened in all schedules of a test.
#[derive(Default)]
struct Counts {
    schedules: AtomicU64,
    commits: AtomicU64,
    conflicts: AtomicU64,
    groups: AtomicU64,
    bulk_appends: AtomicU64,
    reads: AtomicU64,
    scans: AtomicU64,
    checkpoints: AtomicU64,
    segments: AtomicU64,
    growths: AtomicU64,
    flushes: AtomicU64,
    drops: AtomicU64,
    renames: AtomicU64,
    late_writes: AtomicU64,
    unknown_commits: AtomicU64,
    refused_writes: AtomicU64,
    timeouts: AtomicU64,
    crashes: AtomicU64,
    closings: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn counted(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (&self.schedules, "schedules"),
            (&self.commits, "commits"),
            (&self.conflicts, "conflicts"),
            (&self.groups, "shared groups"),
            (&self.bulk_appends, "bulk appends"),
            (&self.reads, "reads"),
            (&self.scans, "scans"),
            (&self.checkpoints, "checkpoints"),
            (&self.segments, "new segments"),
            (&self.growths, "growths"),
            (&self.flushes, "flushes"),
            (&self.drops, "drops"),
            (&self.renames, "renames"),
            (&self.late_writes, "writes to dropped tables"),
            (&self.unknown_commits, "commits with unknown outcome"),
            (&self.refused_writes, "refused writes"),
            (&self.timeouts, "timeouts"),
            (&self.crashes, "crash states"),
            (&self.closings, "calls that came too late"),
        ];
        let told = all.iter().map(|(counter, name)| (counted(counter), name)).filter(|(count, _)| *count > 0);
        write!(f, "{}", told.map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(", "))
    }
}

type Role = fn(&mut Hand);

/// What the schedules of one test have in common.
#[derive(Clone, Copy)]
struct Play {
    name: &'static str,
    /// One schedule has one of these.
    modes: &'static [Durability],
    /// A thread each.
    roles: &'static [Role],
    /// The engine has its own threads, and so little memory that writers wait for them.
    own_threads: bool,
    /// One schedule in so many has syncs that fail. 0: none.
    failing_one_in: u64,
    /// How many crash states each schedule ends in.
    crashes: u64,
}

const PLAIN: Play =
    Play { name: "", modes: &[Durability::Sync], roles: &[], own_threads: false, failing_one_in: 0, crashes: 2 };

/// Runs the schedules of a play, `default` of them if the environment does not say.
fn explore(play: Play, default: u64) -> Arc<Counts> {
    run(play.name, default, move |seed, counts| schedule(play, seed, counts))
}

/// Runs the schedules of a test, each with a seed of its own.
fn run(
    name: &'static str,
    default: u64,
    schedule: impl Fn(u64, &Arc<Counts>) + Copy + Send + Sync + 'static,
) -> Arc<Counts> {
    let schedules = number_from_env("DIAMOND_SCHEDULES", default);
    let first = number_from_env("DIAMOND_SEED", 0xD1A0);
    run_rounds(name, first..first + schedules.div_ceil(ROUND as u64), schedule)
}

/// Runs the rounds with these seeds.
fn run_rounds(
    name: &'static str,
    seeds: impl IntoIterator<Item = u64>,
    schedule: impl Fn(u64, &Arc<Counts>) + Copy + Send + Sync + 'static,
) -> Arc<Counts> {
    let counts = Arc::new(Counts::default());
    for seed in seeds {
        let told = Told { name, seed };
        let (counts, number) = (Arc::clone(&counts), AtomicU64::new(0));
        let run = move || {
            let number = number.fetch_add(1, Ordering::Relaxed);
            schedule(Rng::new(seed << 8 ^ number).next(), &counts);
            count(&counts.schedules);
        };
        let mut config = shuttle::Config::new();
        config.stack_size = 1 << 20;
        config.silence_warnings = true;
        config.failure_persistence = shuttle::FailurePersistence::None;
        if seed.is_multiple_of(2) {
            shuttle::Runner::new(RandomScheduler::new_from_seed(seed, ROUND), config).run(run);
        } else {
            let depth = 2 + (seed / 2 % 4) as usize;
            shuttle::Runner::new(PctScheduler::new_from_seed(seed, depth, ROUND), config).run(run);
        }
        drop(told);
    }
    println!("{name}: {counts}");
    counts
}

/// Tells how to repeat a failure, when there is one.
struct Told {
    name: &'static str,
    seed: u64,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("a schedule of '{}' fails; repeat it with:", self.name);
            eprintln!("DIAMOND_SEED={:#x} DIAMOND_SCHEDULES=1", self.seed);
        }
    }
}

/// One schedule: threads to their end, then crashes, then a close.
fn schedule(play: Play, seed: u64, counts: &Arc<Counts>) {
    let mut rng = Rng::new(seed);
    let durability = play.modes[rng.below(play.modes.len() as u64) as usize];
    let mut options = small_sizes(durability);
    options.no_threads = !play.own_threads;
    if play.own_threads || rng.chance(1, 4) {
        (options.dirty_soft, options.dirty_hard) = (3 << 10, 6 << 10);
    }
    let disk = SimulatedDisk::new(rng.next());
    let db = Database::open_on(Arc::clone(&disk) as _, &options).expect("an empty folder opens");
    let (db, history) = (Arc::new(db), Arc::new(History::default()));
    let mut first = Hand::first(Arc::clone(&db), Arc::clone(&disk), durability, &history, counts);
    first.set_up(play.roles.len() as u64, &mut rng);
    let begun = disk.events();
    let failing = play.failing_one_in > 0 && rng.chance(1, play.failing_one_in);
    if failing {
        let at = disk.calls() + rng.below(60);
        // What hides a failure best is a success right after it.
        let count = [1, 2, 4, 100][rng.below(4) as usize];
        let fail = |at| disk.fail(Failure { at, kind: FailKind::LostSync, from_then_on: count == 100 });
        (at..at + count).for_each(fail);
    }
    let threads: Vec<_> = play
        .roles
        .iter()
        .enumerate()
        .map(|(index, role)| {
            let mut hand = first.another(index + 1, &mut rng);
            thread::spawn(move || role(&mut hand))
        })
        .collect();
    for thread in threads {
        thread.join().expect("a thread that panics ends the schedule");
    }
    drop(first);
    history.check_reads();
    let figures: serde_json::Value = serde_json::from_str(&db.stats_json().expect("open")).expect("figures are JSON");
    let figure = |name: &str| figures[name].as_u64().expect("a figure is a number");
    counts.checkpoints.fetch_add(figure("checkpoints"), Ordering::Relaxed);
    counts.groups.fetch_add(u64::from(figure("group_commits_max") > 1), Ordering::Relaxed);

    let killed = (durability != Durability::Async && !failing && rng.chance(1, 4)).then(|| disk.kill());
    let db = Arc::into_inner(db).expect("every thread let its handle go");
    let closed = db.close();
    let found_by = |disk: &Arc<SimulatedDisk>, event| {
        let options = OpenOptions { no_threads: true, ..options.clone() };
        let db = Database::open_on(Arc::clone(disk) as _, &options);
        let db = db.unwrap_or_else(|error| panic!("opening what was left at {event:?}: {error:?}"));
        let found = oracle::read(&db).unwrap_or_else(|error| panic!("reading what was left at {event:?}: {error:?}"));
        history.check_found(&found, event);
        (db, found)
    };
    let recording = disk.recording();
    for event in (begun..recording.len()).map(|event| recording.describe(event)) {
        let is_segment = event.starts_with("create wal/") || event.starts_with("rename wal/");
        counts.segments.fetch_add(u64::from(is_segment), Ordering::Relaxed);
        counts.growths.fetch_add(u64::from(event.starts_with("allocate")), Ordering::Relaxed);
    }
    for _ in 0..play.crashes {
        // Where something was just promised, a crash hurts most.
        let promised = history.kept_from();
        let event = match promised.as_slice() {
            [_, ..] if rng.chance(1, 2) => promised[rng.below(promised.len() as u64) as usize],
            _ => begun + rng.below((recording.len() - begun) as u64 + 1) as usize,
        };
        let point = recording.at(event);
        let choice = if rng.chance(1, 3) { point.choice(false) } else { point.random_choice(&mut rng) };
        let left = point.state(&choice);
        let (db, found) = found_by(&left, Some(event));
        if rng.chance(1, 4) {
            oracle::agree(&db, &found).unwrap_or_else(|what| panic!("after a crash at event {event}: {what}"));
        }
        abandon(&left, Some(Arc::new(db)));
        count(&counts.crashes);
    }
    for (disk, closed) in [(Some(disk), closed), (killed, Ok(()))] {
        let Some(disk) = disk.filter(|_| !failing) else { continue };
        closed.expect("what did not fail closes");
        let (db, found) = found_by(&disk, None);
        oracle::agree(&db, &found).unwrap_or_else(|what| panic!("after all: {what}"));
        abandon(&disk, Some(Arc::new(db)));
    }
}

/// One thread's hand on the database.
struct Hand {
    me: usize,
    db: Arc<Database>,
    disk: Arc<SimulatedDisk>,
    durability: Durability,
    history: Arc<History>,
    counts: Arc<Counts>,
    rng: Rng,
    /// The tables that are never dropped.
    tables: Vec<(TableNumber, Kind, Table)>,
    /// Has a record for each thread.
    marks: Option<(TableNumber, Table)>,
}

impl Hand {
    fn first(
        db: Arc<Database>,
        disk: Arc<SimulatedDisk>,
        durability: Durability,
        history: &Arc<History>,
        counts: &Arc<Counts>,
    ) -> Hand {
        let (history, counts) = (Arc::clone(history), Arc::clone(counts));
        Hand { me: 0, db, disk, durability, history, counts, rng: Rng::new(0), tables: Vec::new(), marks: None }
    }

    fn another(&self, me: usize, rng: &mut Rng) -> Hand {
        Hand {
            me,
            db: Arc::clone(&self.db),
            disk: Arc::clone(&self.disk),
            durability: self.durability,
            history: Arc::clone(&self.history),
            counts: Arc::clone(&self.counts),
            rng: Rng::new(rng.next()),
            tables: self.tables.clone(),
            marks: self.marks.clone(),
        }
    }

    /// Two tables with some records, all, a part or none of them on disk. Tables of one kind share their frames.
    fn set_up(&mut self, threads: u64, rng: &mut Rng) {
        let (number, marks) = self.make(Kind::Small);
        let second = if rng.chance(1, 2) { Kind::Small } else { Kind::Wide };
        self.tables = [Kind::Small, second]
            .into_iter()
            .map(|kind| {
                let (number, table) = self.make(kind);
                (number, kind, table)
            })
            .collect();
        let records: Vec<Step> = (0..=threads).map(|_| Step::Save(0)).collect();
        let tables = std::mem::replace(&mut self.tables, vec![(number, Kind::Small, marks.clone())]);
        self.commit(&records, false);
        self.tables = tables;
        self.marks = Some((number, marks));
        for _ in 0..2 {
            self.commit(&[Step::Save(0), Step::Save(1), Step::Save(0), Step::Save(0), Step::Save(1)], false);
            if rng.chance(1, 2) {
                self.db.checkpoint().expect("nothing fails yet");
            }
        }
    }

    /// What returned well is kept from now on, if the mode says so.
    fn promise(&self, commits: &[usize]) {
        if self.durability == Durability::Sync {
            self.history.keep(commits, self.disk.events());
        }
    }

    /// A commit that is not told its LSN.
    fn noting<T>(
        &mut self,
        act: impl FnOnce(&Database) -> Result<T, Error>,
        changes: impl FnOnce(&T) -> Vec<Change>,
    ) -> Option<T> {
        let before = self.history.moment();
        match act(&self.db) {
            Ok(done) => {
                let commit = self.history.other(&before, changes(&done), true);
                self.promise(&[commit]);
                count(&self.counts.commits);
                Some(done)
            }
            Err(error) => {
                self.expect_refusal(&error);
                None
            }
        }
    }

    /// The error of a write that did not happen.
    fn expect_refusal(&self, error: &Error) {
        match error {
            Error::NotFound(_) => count(&self.counts.late_writes),
            Error::Conflict(_) => count(&self.counts.conflicts),
            Error::Poisoned(_) | Error::Full(_) => count(&self.counts.refused_writes),
            other => panic!("thread {}: {other:?}", self.me),
        }
    }

    /// Steps this thread's own record: a commit with an LSN, which shows where those of others lie.
    fn mark(&mut self) {
        let Some((number, marks)) = self.marks.clone() else { return };
        let tables = std::mem::replace(&mut self.tables, vec![(number, Kind::Small, marks)]);
        self.commit(&[Step::Replace(0, self.me as u64)], false);
        self.tables = tables;
    }

    /// Commits a batch, and notes it.
    fn commit(&mut self, steps: &[Step], no_wait: bool) {
        let mut batch = self.db.batch().expect("the database is open");
        let mut changes = Vec::new();
        for step in steps {
            let n = self.history.numbers(1);
            let (number, kind, table) = &self.tables[step.table()];
            let added = match step {
                Step::Save(_) => {
                    changes.push(Change::Put(*number, u64::MAX, n));
                    batch.save_json(table, &kind.json(n))
                }
                Step::Replace(_, id) => {
                    changes.push(Change::Put(*number, *id, n));
                    batch.replace_json(table, RecordId(*id), &kind.json(n))
                }
                Step::Delete(_, id) => {
                    changes.push(Change::Delete(*number, *id));
                    batch.delete(table, RecordId(*id))
                }
                Step::Expect(_, id, json) => {
                    changes.push(Change::Expect(*number, *id, json.clone()));
                    batch.expect_json(table, RecordId(*id), json)
                }
            };
            if let Err(error) = added {
                return self.expect_refusal(&error);
            }
        }
        let before = self.history.moment();
        match batch.commit(no_wait) {
            Ok(Committed { lsn, ids }) => {
                let mut ids = ids.into_iter();
                for change in &mut changes {
                    if let Change::Put(_, id @ u64::MAX, _) = change {
                        *id = ids.next().expect("every save gets an id").0;
                    }
                }
                let commit = self.history.batch(&before, lsn.0, changes, !no_wait);
                count(&self.counts.commits);
                if no_wait {
                    self.wait_for(commit, lsn);
                } else {
                    self.promise(&[commit]);
                }
            }
            Err(Error::CommitUnknown(_)) => {
                assert!(!steps.iter().any(|step| matches!(step, Step::Save(_))), "its ids are not known");
                self.history.other(&before, changes, false);
                count(&self.counts.unknown_commits);
            }
            Err(error) => self.expect_refusal(&error),
        }
    }

    /// Waits for a commit that did not wait itself.
    fn wait_for(&mut self, commit: usize, lsn: Lsn) {
        loop {
            let timeout = self.rng.chance(1, 2).then_some(Duration::ZERO);
            match self.db.wait_durable(lsn, timeout) {
                Ok(()) => break,
                Err(Error::Timeout(_)) => count(&self.counts.timeouts),
                Err(Error::CommitUnknown(_)) => return count(&self.counts.unknown_commits),
                Err(error) => return self.expect_refusal(&error),
            }
        }
        self.history.acknowledge(commit);
        // In async mode this was a sync.
        if self.durability != Durability::Os {
            self.history.keep(&[commit], self.disk.events());
        }
    }

    fn some_table(&mut self) -> usize {
        self.rng.below(self.tables.len() as u64) as usize
    }

    /// An id that was given.
    fn some_id(&mut self, table: usize) -> u64 {
        let count = self.tables[table].2.next_id().expect("the table is there").0;
        self.rng.below(count)
    }

    fn some_step(&mut self) -> Step {
        let table = self.some_table();
        let id = self.some_id(table);
        match self.rng.below(8) {
            0..3 => Step::Save(table),
            3..7 => Step::Replace(table, id),
            _ => Step::Delete(table, id),
        }
    }

    fn read(&mut self, table: usize, id: u64) -> Option<String> {
        let before = self.history.moment();
        let (number, _, table) = &self.tables[table];
        let found = match table.fetch_json(RecordId(id), JsonStyle::default()) {
            Ok(json) => Some(json),
            Err(Error::NotFound(_)) => None,
            Err(error) => panic!("thread {} reads record {id} of table {number}: {error:?}", self.me),
        };
        self.history.read(self.me, *number, id, found.clone(), before);
        count(&self.counts.reads);
        found
    }

    fn make(&mut self, kind: Kind) -> (TableNumber, Table) {
        let number = self.history.numbers(1);
        let name = format!("t{number}");
        let schema = kind.schema();
        let made = self.noting(|db| db.make_table(&name, &schema), |_| vec![Change::Make(number, kind, name.clone())]);
        (number, made.expect("a new table is made"))
    }
}

/// A part of a batch. Tables are named by their place in [`Hand::tables`].
enum Step {
    Save(usize),
    Replace(usize, u64),
    Delete(usize, u64),
    Expect(usize, u64, String),
}

impl Step {
    fn table(&self) -> usize {
        match self {
            Step::Save(table) | Step::Replace(table, _) | Step::Delete(table, _) | Step::Expect(table, ..) => *table,
        }
    }
}

/// Batches of all kinds.
fn write(hand: &mut Hand) {
    for _ in 0..4 {
        let steps: Vec<Step> = (0..=hand.rng.below(3)).map(|_| hand.some_step()).collect();
        let no_wait = hand.rng.chance(1, 3);
        hand.commit(&steps, no_wait);
    }
}

/// Single records, as a group commit gathers them.
fn save(hand: &mut Hand) {
    for _ in 0..3 {
        let table = hand.some_table();
        let no_wait = hand.rng.chance(1, 3);
        hand.commit(&[Step::Save(table)], no_wait);
    }
}

/// Replaces the same few records again and again, on so many pages that frames are freed and used again.
fn replace(hand: &mut Hand) {
    for _ in 0..5 {
        let table = hand.some_table();
        let id = if hand.rng.chance(1, 2) { hand.rng.below(2) } else { hand.some_id(table).min(4) };
        hand.commit(&[Step::Replace(table, id)], false);
    }
}

/// Replaces a record twice in one batch, with a step for another page in between.
fn replace_twice(hand: &mut Hand) {
    for _ in 0..3 {
        let (first, second) = (hand.some_table(), hand.some_table());
        hand.commit(&[Step::Replace(first, 0), Step::Replace(second, 3), Step::Replace(first, 0)], false);
    }
}

/// Replaces a record of its own, so that an unknown outcome has only one author.
fn replace_own(hand: &mut Hand) {
    for _ in 0..4 {
        hand.mark();
    }
}

/// Reads and then replaces what it read, unless it changed meanwhile.
fn step_up(hand: &mut Hand) {
    for _ in 0..3 {
        let (table, id) = (hand.some_table(), hand.rng.below(2));
        if let Some(json) = hand.read(table, id) {
            hand.commit(&[Step::Expect(table, id, json), Step::Replace(table, id)], false);
        }
    }
}

/// So many records that their pages go straight to the file.
fn append_in_bulk(hand: &mut Hand) {
    for _ in 0..2 {
        let place = hand.some_table();
        let (number, kind, table) = hand.tables[place].clone();
        let records = 5 + hand.rng.below(25);
        let n = hand.history.numbers(records);
        let (mut bytes, mut nulls) = (Vec::new(), Vec::new());
        let mut stride = 0;
        for index in 0..records {
            let (packed, null) = kind.packed(n + index);
            stride = table.layout().record_size;
            bytes.extend_from_slice(&packed[..stride]);
            nulls.push(null);
        }
        let many = Records { bytes: &bytes, stride, nulls: Some(&nulls), null_stride: 1, count: records as usize };
        hand.noting(
            |_| table.save_many(many),
            |first| (0..records).map(|index| Change::Put(number, first.0 + index, n + index)).collect(),
        );
        count(&hand.counts.bulk_appends);
        hand.mark();
    }
}

/// Reads some records, the same few more often than others.
fn read(hand: &mut Hand) {
    for _ in 0..8 {
        let table = hand.some_table();
        let id = if hand.rng.chance(1, 2) { hand.rng.below(2) } else { hand.some_id(table) };
        hand.read(table, id);
    }
}

/// Scans with others between any two of its steps.
fn scan(hand: &mut Hand) {
    for _ in 0..3 {
        let place = hand.some_table();
        let (number, _, table) = hand.tables[place].clone();
        let before = hand.history.moment();
        let reverse = hand.rng.chance(1, 3);
        let mut cursor = table.scan(ScanRange { reverse, ..ScanRange::default() }).expect("the table is there");
        let mut found = BTreeMap::new();
        while let Some((id, json)) = cursor.next_json(JsonStyle::default()).expect("nothing is damaged") {
            assert!(found.insert(id.0, json).is_none(), "record {} comes twice", id.0);
        }
        hand.history.scan(number, found, before);
        count(&hand.counts.scans);
    }
}

/// Checkpoints, with all that they change: the manifest, segments, frames.
fn checkpoint(hand: &mut Hand) {
    for _ in 0..3 {
        settle(hand, |db| db.checkpoint());
    }
}

/// Flushes, others at the same time.
fn flush(hand: &mut Hand) {
    for _ in 0..3 {
        settle(hand, |db| db.flush());
        count(&hand.counts.flushes);
    }
}

/// The upkeep that a host does.
fn tend(hand: &mut Hand) {
    for _ in 0..4 {
        if hand.rng.chance(1, 2) {
            settle(hand, |db| db.flush());
        } else if let Err(error) = hand.db.step(AGES) {
            hand.expect_refusal(&error);
        }
    }
}

/// What makes durable all that was acknowledged before, in every mode.
fn settle(hand: &mut Hand, act: impl FnOnce(&Database) -> Result<(), Error>) {
    let before = hand.history.moment();
    match act(&hand.db) {
        Ok(()) => hand.history.keep(&before.acknowledged, hand.disk.events()),
        Err(Error::CommitUnknown(_)) => {}
        Err(error) => hand.expect_refusal(&error),
    }
}

/// Makes tables, renames and drops them, while others may write there.
fn name(hand: &mut Hand) {
    for _ in 0..2 {
        let kind = if hand.rng.chance(1, 2) { Kind::Small } else { Kind::Wide };
        let (number, table) = hand.make(kind);
        let tables = std::mem::replace(&mut hand.tables, vec![(number, kind, table)]);
        hand.commit(&[Step::Save(0), Step::Save(0)], false);
        hand.tables = tables;
        let name = format!("r{number}");
        hand.noting(
            |db| db.rename_table(&format!("t{number}"), &name),
            |()| vec![Change::Rename(number, name.clone())],
        );
        count(&hand.counts.renames);
        hand.mark();
        if hand.rng.chance(2, 3) {
            hand.noting(|db| db.drop_table(&name), |()| vec![Change::Drop(number)]);
            count(&hand.counts.drops);
            hand.mark();
        }
    }
}

/// Writes to whatever tables there are, which others may drop meanwhile.
fn write_anywhere(hand: &mut Hand) {
    let stable = hand.tables.clone();
    for _ in 0..4 {
        let infos = hand.db.tables().expect("the database is open");
        let place = hand.rng.below(infos.len() as u64) as usize;
        let name = &infos[place].name;
        let number: TableNumber = name[1..].parse().expect("a table is called by its number");
        match hand.db.table(name) {
            Ok(table) if Some(number) != hand.marks.as_ref().map(|(marks, _)| *marks) => {
                let kind = Kind::of(table.schema()).expect("there are two kinds");
                let filled = table.next_id().is_ok_and(|next| next.0 > 0);
                hand.tables = vec![(number, kind, table)];
                let step = if filled && hand.rng.chance(1, 2) { Step::Replace(0, 0) } else { Step::Save(0) };
                hand.commit(&[step], false);
            }
            _ => {}
        }
    }
    hand.tables = stable;
}

#[test]
fn whatever_threads_do_there_is_one_order_and_a_crash_leaves_its_beginning() {
    let counts = explore(
        Play {
            name: "everything at once",
            modes: &[Durability::Sync, Durability::Os, Durability::Async],
            roles: &[write, write, append_in_bulk, read, scan, checkpoint, tend, name],
            ..PLAIN
        },
        960,
    );
    for counter in [&counts.commits, &counts.bulk_appends, &counts.reads, &counts.scans, &counts.crashes] {
        assert!(counted(counter) > 0);
    }
    for counter in [&counts.checkpoints, &counts.segments, &counts.growths, &counts.drops, &counts.renames] {
        assert!(counted(counter) > 0);
    }
}

#[test]
fn a_page_is_read_as_one_commit_left_it_while_it_changes_and_its_frame_is_used_again() {
    let roles: &[Role] = &[read, read, replace, replace, checkpoint, checkpoint];
    let counts = explore(Play { name: "page reads", roles, crashes: 0, ..PLAIN }, 2880);
    assert!(counted(&counts.reads) > 0);
    assert!(counted(&counts.checkpoints) > 0);
}

#[test]
fn in_a_group_commit_everyone_is_woken_and_nobody_too_early() {
    let modes = &[Durability::Sync, Durability::Sync, Durability::Os];
    let roles: &[Role] = &[save, save, save, save, step_up, step_up];
    let counts = explore(Play { name: "group commit", modes, roles, ..PLAIN }, 960);
    for counter in [&counts.groups, &counts.timeouts, &counts.conflicts, &counts.crashes] {
        assert!(counted(counter) > 0);
    }
}

#[test]
fn a_failed_sync_is_told_to_everyone_in_the_group_and_ends_all_writing() {
    let roles: &[Role] = &[replace_own, replace_own, replace_own, checkpoint];
    let counts = explore(Play { name: "failed syncs", roles, failing_one_in: 1, crashes: 3, ..PLAIN }, 960);
    for counter in [&counts.unknown_commits, &counts.refused_writes, &counts.crashes] {
        assert!(counted(counter) > 0);
    }
}

#[test]
fn a_flush_keeps_all_that_was_acknowledged_before_it_and_no_failed_sync_passes_for_one() {
    let modes = &[Durability::Os, Durability::Async];
    let roles: &[Role] = &[replace_own, replace_own, flush, flush, flush];
    let counts = explore(Play { name: "flushes", modes, roles, failing_one_in: 2, crashes: 3, ..PLAIN }, 960);
    for counter in [&counts.commits, &counts.flushes, &counts.refused_writes, &counts.crashes] {
        assert!(counted(counter) > 0);
    }
}

#[test]
fn scans_and_checkpoints_keep_their_cuts_while_pages_change() {
    let roles: &[Role] = &[scan, scan, write, replace, checkpoint];
    let counts = explore(Play { name: "copies before changes", roles, ..PLAIN }, 2400);
    for counter in [&counts.scans, &counts.checkpoints, &counts.crashes] {
        assert!(counted(counter) > 0);
    }
}

#[test]
fn a_record_that_a_batch_replaces_twice_is_seen_by_nobody_in_between() {
    let roles: &[Role] = &[replace_twice, replace_twice, read];
    let counts = explore(Play { name: "twice in a batch", roles, ..PLAIN }, 320);
    assert!(counted(&counts.reads) > 0);
}

#[test]
fn tables_come_and_go_beside_those_who_write_to_them() {
    let modes = &[Durability::Sync, Durability::Async];
    let roles: &[Role] = &[name, name, write_anywhere, write_anywhere, checkpoint];
    let counts = explore(Play { name: "tables come and go", modes, roles, ..PLAIN }, 1280);
    for counter in [&counts.drops, &counts.renames, &counts.late_writes, &counts.checkpoints, &counts.crashes] {
        assert!(counted(counter) > 0);
    }
}

#[test]
fn a_bulk_append_is_there_as_a_whole_beside_saves_and_checkpoints() {
    let roles: &[Role] = &[append_in_bulk, append_in_bulk, save, read, scan, checkpoint];
    let counts = explore(Play { name: "bulk appends", roles, ..PLAIN }, 960);
    for counter in [&counts.bulk_appends, &counts.checkpoints, &counts.crashes] {
        assert!(counted(counter) > 0);
    }
}

#[test]
fn the_engines_own_threads_keep_up_with_little_memory_and_stop_when_it_is_closed() {
    let counts = explore(OWN_THREADS, 960);
    for counter in [&counts.checkpoints, &counts.crashes] {
        assert!(counted(counter) > 0);
    }
}

const OWN_THREADS: Play = Play {
    name: "own threads",
    modes: &[Durability::Sync, Durability::Os, Durability::Async],
    roles: &[write, write, append_in_bulk, scan],
    own_threads: true,
    ..PLAIN
};

/// One schedule in some six thousand comes to it: these are three that did.
#[test]
fn a_page_that_a_checkpoint_is_writing_is_never_taken_for_damaged() {
    let seeds = [0x20_002D, 0x31_001B, 0x32_00F3];
    let counts = run_rounds(OWN_THREADS.name, seeds, |seed, counts| schedule(OWN_THREADS, seed, counts));
    assert_eq!(counted(&counts.schedules), (seeds.len() * ROUND) as u64);
}

#[test]
fn a_record_that_was_saved_is_read_by_everyone_over_any_pair_of_store_and_cache() {
    let counts = run("modules", 960, read_through_modules);
    for counter in [&counts.commits, &counts.reads] {
        assert!(counted(counter) > 0);
    }
}

/// Each record has one writer, who counts up in it. Whoever reads it afterwards sees that or more.
fn read_through_modules(seed: u64, counts: &Arc<Counts>) {
    let mut rng = Rng::new(seed);
    let durability = [Durability::Sync, Durability::Os, Durability::Async][rng.below(3) as usize];
    let cache = [CacheChoice::Lru(2000), CacheChoice::Lru(1 << 20), CacheChoice::None][rng.below(3) as usize].clone();
    let store: StoreChoice = match rng.below(3) {
        0 => StoreChoice::Native,
        1 => StoreChoice::Memory,
        _ => StoreChoice::Module(Arc::new(Queueing::default())),
    };
    let options = OpenOptions { no_threads: true, store: store.clone(), cache, ..small_sizes(durability) };
    let db = match store {
        StoreChoice::Native => Database::open_on(SimulatedDisk::new(rng.next()) as _, &options),
        _ => Database::open("", &options),
    };
    let db = Arc::new(db.expect("it is new"));
    let table = db.make_table("t", &Kind::Small.schema()).expect("a new table is made");
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..2).map(|_| AtomicU64::new(0)).collect());
    for _ in 0..2 {
        table.save_json(&Kind::Small.json(0)).expect("nothing fails");
    }
    let writer = |id: u64| {
        let (table, acknowledged, counts) = (table.clone(), Arc::clone(&acknowledged), Arc::clone(counts));
        thread::spawn(move || {
            for n in 1..5 {
                table.replace_json(RecordId(id), &Kind::Small.json(n)).expect("nothing fails");
                acknowledged[id as usize].store(n, Ordering::SeqCst);
                count(&counts.commits);
            }
        })
    };
    let reader = || {
        let (table, acknowledged, counts) = (table.clone(), Arc::clone(&acknowledged), Arc::clone(counts));
        thread::spawn(move || {
            for round in 0..8 {
                let id = round % 2;
                let least = acknowledged[id as usize].load(Ordering::SeqCst);
                let found = table.fetch_json(RecordId(id), JsonStyle::default()).expect("it is there");
                let allowed: Vec<String> = (least..5).map(|n| Kind::Small.json(n)).collect();
                assert!(allowed.contains(&found), "record {id} is {found}, and {least} was acknowledged");
                count(&counts.reads);
            }
        })
    };
    let others = Arc::clone(&db);
    let persister = thread::spawn(move || (0..2).for_each(|_| others.flush().expect("nothing fails")));
    let threads = [writer(0), writer(1), reader(), reader(), reader(), persister];
    threads.into_iter().for_each(|thread| thread.join().expect("a thread that panics ends the schedule"));
    for id in 0..2 {
        let found = table.fetch_json(RecordId(id), JsonStyle::default()).expect("it is there");
        assert_eq!(found, Kind::Small.json(4));
    }
}

#[test]
fn closing_waits_for_running_writes_keeps_them_all_and_nothing_is_written_after_it() {
    let counts = run("closing", 480, close_beside_others);
    for counter in [&counts.commits, &counts.reads, &counts.closings] {
        assert!(counted(counter) > 0);
    }
}

fn close_beside_others(seed: u64, counts: &Arc<Counts>) {
    let mut rng = Rng::new(seed);
    let mode = [Durability::Sync, Durability::Os, Durability::Async][rng.below(3) as usize];
    let options = OpenOptions { no_threads: rng.chance(1, 2), ..small_sizes(mode) };
    let disk = SimulatedDisk::new(rng.next());
    let db = Database::open_on(Arc::clone(&disk) as _, &options).expect("an empty folder opens");
    let table = db.make_table("t", &Kind::Small.schema()).expect("a new table is made");
    let is_closed = |counts: &Counts, error: Error| {
        assert!(matches!(error, Error::Closed(_)), "{error:?}");
        count(&counts.closings);
    };
    let writer = |writer: u64| {
        let (table, counts) = (table.clone(), Arc::clone(counts));
        thread::spawn(move || {
            let mut saved = Vec::new();
            for n in writer * 10..writer * 10 + 4 {
                match table.save_json(&Kind::Small.json(n)) {
                    Ok(id) => saved.push((id.0, Kind::Small.json(n))),
                    Err(error) => is_closed(&counts, error),
                }
            }
            counts.commits.fetch_add(saved.len() as u64, Ordering::Relaxed);
            saved
        })
    };
    let writers: Vec<_> = (1..4).map(writer).collect();
    let reader = {
        let (table, counts) = (table.clone(), Arc::clone(counts));
        thread::spawn(move || {
            for _ in 0..4 {
                match table.next_id() {
                    Ok(next) if next.0 > 0 => match table.fetch_json(RecordId(next.0 - 1), JsonStyle::default()) {
                        Ok(_) => count(&counts.reads),
                        Err(error) => is_closed(&counts, error),
                    },
                    Ok(_) => {}
                    Err(error) => is_closed(&counts, error),
                }
            }
        })
    };
    for _ in 0..rng.below(60) {
        thread::yield_now();
    }
    db.close().expect("nothing fails");
    let end = disk.events();
    let saved = writers.into_iter().flat_map(|writer| writer.join().expect("it ends"));
    let saved: BTreeMap<u64, String> = saved.collect();
    reader.join().expect("it ends");
    drop(table);
    assert_eq!(disk.events(), end, "nothing touches the disk after a close");
    let recording = disk.recording();
    let left = recording.at(end).state(&recording.at(end).choice(false));
    for disk in [disk, left] {
        let db = Database::open_on(Arc::clone(&disk) as _, &OpenOptions { no_threads: true, ..options.clone() });
        let db = db.expect("what was closed opens");
        let found = oracle::read(&db).expect("nothing is damaged");
        assert_eq!(found.tables["t"].records, saved);
        abandon(&disk, Some(Arc::new(db)));
    }
}
