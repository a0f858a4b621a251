//! What threads did to a database and saw of it, and whether the one explains the other.
//!
//! Each thread notes its commits and what it read. When all are done, the commits stand in the order of their LSNs, and
//! then:
//!
//! 1. whatever a crash left, and whatever a scan returned, is the database after some first commits in that order;
//!    these include every commit that had to be kept, or was acknowledged before the scan began;
//! 2. whatever a read returned was written there as a whole by one commit, none older than the newest that was
//!    acknowledged before the read began, nor than what the same thread saw there before.
//!
//! Only a batch is told its LSN. Of other commits it is known that they come after whatever had returned when they
//! began, and before whatever began when they had returned: where a crash falls in between, they may be there or not.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::model::{Kind, Model, TableModel};

/// A table, whatever it is called at the time.
pub type TableNumber = u64;

/// What a commit changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Make(TableNumber, Kind, String),
    Rename(TableNumber, String),
    Drop(TableNumber),
    /// The record with this id becomes the one with number `n`.
    Put(TableNumber, u64, u64),
    Delete(TableNumber, u64),
    /// The record is exactly so before the commit.
    Expect(TableNumber, u64, String),
}

/// A commit, known by its place in the notes.
#[derive(Clone, Debug)]
struct Commit {
    /// Its LSN is one of these.
    first: u64,
    last: u64,
    changes: Vec<Change>,
    /// Its call returned.
    acknowledged: bool,
    /// From this event of the disk on it survives every crash.
    kept_from: Option<usize>,
}

/// A moment in the notes, to compare with what is seen later.
#[derive(Clone, Debug)]
pub struct Moment {
    /// How many commits had returned by then.
    returned: usize,
    /// Those of them that were acknowledged.
    pub acknowledged: Vec<usize>,
}

struct Read {
    thread: usize,
    table: TableNumber,
    id: u64,
    found: Option<String>,
    before: Moment,
}

struct Scan {
    table: TableNumber,
    found: BTreeMap<u64, String>,
    before: Moment,
}

#[derive(Default)]
struct Notes {
    commits: Vec<Commit>,
    reads: Vec<Read>,
    scans: Vec<Scan>,
}

/// All that is noted. Shared by all threads.
#[derive(Default)]
pub struct History {
    notes: Mutex<Notes>,
    last_number: AtomicU64,
}

impl History {
    /// A number that no other record or table has: the first of `count` neighbours.
    pub fn numbers(&self, count: u64) -> u64 {
        self.last_number.fetch_add(count, Ordering::Relaxed) + 1
    }

    /// Notes a batch of which the LSN is known. `acknowledged`: durability was waited for as the mode promises.
    pub fn batch(&self, before: &Moment, lsn: u64, changes: Vec<Change>, acknowledged: bool) -> usize {
        let mut notes = self.notes();
        for commit in &mut notes.commits[..before.returned] {
            assert!(commit.first < lsn, "a commit got LSN {lsn}, and one that had returned got {}", commit.first);
            commit.last = commit.last.min(lsn - 1);
        }
        notes.commits.push(Commit { first: lsn, last: lsn, changes, acknowledged, kept_from: None });
        notes.commits.len() - 1
    }

    /// Notes a commit that was not told its LSN. `acknowledged`: its call returned well; otherwise nobody knows
    /// whether it happened.
    pub fn other(&self, before: &Moment, changes: Vec<Change>, acknowledged: bool) -> usize {
        let mut notes = self.notes();
        let newest = notes.commits[..before.returned].iter().map(|commit| commit.first).max().unwrap_or(0);
        notes.commits.push(Commit { first: newest + 1, last: u64::MAX, changes, acknowledged, kept_from: None });
        notes.commits.len() - 1
    }

    /// A commit's durability was waited for after all.
    pub fn acknowledge(&self, commit: usize) {
        self.notes().commits[commit].acknowledged = true;
    }

    /// From this event on, these commits survive every crash.
    pub fn keep(&self, commits: &[usize], event: usize) {
        let mut notes = self.notes();
        for index in commits {
            let kept = notes.commits[*index].kept_from.get_or_insert(event);
            *kept = event.min(*kept);
        }
    }

    /// Now, for what begins here.
    pub fn moment(&self) -> Moment {
        let notes = self.notes();
        let acknowledged = (0..notes.commits.len()).filter(|index| notes.commits[*index].acknowledged).collect();
        Moment { returned: notes.commits.len(), acknowledged }
    }

    /// Notes what was read; `None`: there was no record.
    pub fn read(&self, thread: usize, table: TableNumber, id: u64, found: Option<String>, before: Moment) {
        self.notes().reads.push(Read { thread, table, id, found, before });
    }

    /// Notes what a whole scan returned.
    pub fn scan(&self, table: TableNumber, found: BTreeMap<u64, String>, before: Moment) {
        self.notes().scans.push(Scan { table, found, before });
    }

    /// The events from which on something had to be kept.
    pub fn kept_from(&self) -> Vec<usize> {
        self.notes().commits.iter().filter_map(|commit| commit.kept_from).collect()
    }

    /// How many commits there are.
    pub fn len(&self) -> usize {
        self.notes().commits.len()
    }

    /// Rules 1 and 2 for all reads and scans. With every thread done.
    pub fn check_reads(&self) {
        let notes = self.notes();
        let order = Order::of(&notes);
        let mut seen: HashMap<(usize, TableNumber, u64), u64> = HashMap::new();
        for read in &notes.reads {
            let floor = seen.entry((read.thread, read.table, read.id)).or_default();
            notes.check_read(read, floor);
        }
        for scan in &notes.scans {
            let must = |index: usize| scan.before.acknowledged.contains(&index);
            let shows = |state: &State| state.tables.get(&scan.table).map(|t| &t.records) == Some(&scan.found);
            if !order.explains(must, shows) {
                let (table, found) = (scan.table, &scan.found);
                panic!("a scan of table {table} shows no state that ever was: {found:?}\n{}", notes.told());
            }
        }
    }

    /// Rule 1 for what is found after a crash before an event, or after a kill or a close (`None`), which lose
    /// nothing that was acknowledged.
    pub fn check_found(&self, found: &Model, event: Option<usize>) {
        let notes = self.notes();
        let must = |index: usize| match event {
            Some(event) => notes.commits[index].kept_from.is_some_and(|from| from <= event),
            None => notes.commits[index].acknowledged,
        };
        if !Order::of(&notes).explains(must, |state| state.model() == *found) {
            panic!("what was found at {event:?} is no state with all that had to be kept: {found:?}\n{}", notes.told());
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Notes {
    /// What a commit leaves in a record's place, if it touches it; the last word counts.
    fn written(&self, commit: &Commit, table: TableNumber, id: u64) -> Option<Option<String>> {
        commit.changes.iter().rev().find_map(|change| match change {
            Change::Put(at, there, n) if (*at, *there) == (table, id) => Some(Some(self.kind(table).json(*n))),
            Change::Delete(at, there) if (*at, *there) == (table, id) => Some(None),
            _ => None,
        })
    }

    fn kind(&self, table: TableNumber) -> Kind {
        let made = self.commits.iter().flat_map(|commit| &commit.changes).find_map(|change| match change {
            Change::Make(made, kind, _) if *made == table => Some(*kind),
            _ => None,
        });
        made.expect("a table is made before it is used")
    }

    fn check_read(&self, read: &Read, floor: &mut u64) {
        let writes = |index: &usize| self.written(&self.commits[*index], read.table, read.id).is_some();
        let newest = read.before.acknowledged.iter().filter(|index| writes(index));
        let newest = newest.map(|index| self.commits[*index].first).max().unwrap_or(0);
        let oldest = newest.max(*floor);
        let left = |commit: &&Commit| {
            commit.last >= oldest && self.written(commit, read.table, read.id).is_some_and(|left| left == read.found)
        };
        match self.commits.iter().filter(left).map(|commit| commit.first).min() {
            Some(first) => *floor = first.max(*floor),
            None if oldest == 0 && read.found.is_none() => {}
            None => {
                let Read { thread, table, id, found, .. } = read;
                let told = self.told();
                panic!(
                    "thread {thread} read {found:?} as record {id} of table {table}, and no commit from {oldest} on \
                     left that there\n{told}"
                );
            }
        }
    }

    /// All commits, for the reader of a failure.
    fn told(&self) -> String {
        let mut commits: Vec<&Commit> = self.commits.iter().collect();
        commits.sort_by_key(|commit| (commit.first, commit.last));
        let line = |commit: &&Commit| {
            let Commit { first, last, changes, acknowledged, kept_from } = commit;
            format!("  LSN {first}..={last}, acknowledged: {acknowledged}, kept from {kept_from:?}: {changes:?}")
        };
        commits.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// The commits in the order of their LSNs, as far as that is known.
struct Order<'a> {
    commits: Vec<(usize, &'a Commit)>,
}

impl<'a> Order<'a> {
    fn of(notes: &'a Notes) -> Order<'a> {
        let mut commits: Vec<(usize, &Commit)> = notes.commits.iter().enumerate().collect();
        commits.sort_by_key(|(_, commit)| (commit.first, commit.last));
        Order { commits }
    }

    /// True if some first commits, among them all that `must` be there, lead to a state that is so.
    fn explains(&self, must: impl Fn(usize) -> bool, is_so: impl Fn(&State) -> bool) -> bool {
        let floor = self.commits.iter().filter(|(index, _)| must(*index)).map(|(_, commit)| commit.first).max();
        let mut ends: Vec<u64> = self.commits.iter().flat_map(|(_, commit)| [commit.first - 1, commit.first]).collect();
        ends.sort_unstable();
        ends.dedup();
        let sufficient = ends.into_iter().filter(|end| *end >= floor.unwrap_or(0));
        sufficient.into_iter().any(|end| {
            let begun = self.commits.iter().filter(|(_, commit)| commit.first <= end);
            let is_open = |(index, commit): &(usize, &Commit)| commit.last > end && !must(*index);
            let open: Vec<usize> = begun.clone().filter(|item| is_open(item)).map(|(index, _)| *index).collect();
            // Of those in doubt, each may be there or not.
            (0..1_u32 << open.len().min(16)).any(|chosen| {
                let absent = |index: &usize| {
                    open.iter().position(|other| other == index).is_some_and(|place| chosen >> place & 1 == 0)
                };
                let mut state = State::default();
                begun.clone().filter(|(index, _)| !absent(index)).for_each(|(_, commit)| state.apply(&commit.changes));
                !state.is_wrong && is_so(&state)
            })
        })
    }
}

/// A database as maps, its tables by number.
#[derive(Clone, Default)]
struct State {
    names: BTreeMap<TableNumber, String>,
    /// Also those that were dropped.
    tables: BTreeMap<TableNumber, Arc<TableModel>>,
    /// A commit expected something else, and yet happened.
    is_wrong: bool,
}

impl State {
    fn apply(&mut self, changes: &[Change]) {
        let there = |(table, id, _): &(&u64, &u64, &String)| self.tables.get(*table)?.records.get(*id);
        let expected = changes.iter().filter_map(|change| match change {
            Change::Expect(table, id, json) => Some((table, id, json)),
            _ => None,
        });
        self.is_wrong |= expected.into_iter().any(|expect| there(&expect) != Some(expect.2));
        for change in changes {
            match change {
                Change::Expect(..) => {}
                Change::Make(table, kind, name) => {
                    self.names.insert(*table, name.clone());
                    let made = TableModel { kind: *kind, next_id: 0, records: BTreeMap::new() };
                    self.tables.insert(*table, Arc::new(made));
                }
                Change::Rename(table, name) => {
                    self.names.insert(*table, name.clone());
                }
                Change::Drop(table) => {
                    self.names.remove(table);
                }
                Change::Put(table, id, n) => self.change(*table, |table| {
                    table.records.insert(*id, table.kind.json(*n));
                    table.next_id = table.next_id.max(id + 1);
                }),
                Change::Delete(table, id) => self.change(*table, |table| {
                    table.records.remove(id);
                }),
            }
        }
    }

    /// A commit whose table is not there leads to a state that nothing matches.
    fn change(&mut self, table: TableNumber, act: impl FnOnce(&mut TableModel)) {
        if let Some(table) = self.tables.get_mut(&table) {
            act(Arc::make_mut(table));
        }
    }

    fn model(&self) -> Model {
        let named = self.names.iter().filter_map(|(number, name)| Some((name.clone(), self.tables.get(number)?)));
        Model { tables: named.map(|(name, table)| (name, Arc::clone(table))).collect() }
    }
}
