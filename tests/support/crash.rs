//! Visits what power cuts may leave of a run, opens each state, and compares it with what may be there.

use std::collections::HashSet;
use std::sync::Arc;

use diamonddb::os::simulated::{Choice, CrashPoint, Recording, Rng, SimulatedDisk};
use diamonddb::{Database, OpenOptions};

use super::model::Model;
use super::oracle;
use super::script::{Phase, Window, abandon};

/// Up to so many things to choose from, every choice is visited.
const PENDING_COUNT_FOR_ALL: usize = 10;

/// How much is visited.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub seed: u64,
    /// Choices at a crash point with too many of them to visit all.
    pub samples: u64,
    /// Visit all choices where they are few.
    pub all: bool,
    /// One state in so many is crashed again while it recovers.
    pub again_one_in: u64,
}

/// One workload's crash states.
pub struct Crashes<'a> {
    name: &'a str,
    effort: Effort,
    rng: Rng,
    seen: HashSet<u64>,
    path: Vec<String>,
}

/// A state is told by where it was cut: `event:choice`, and after a `/` the same for its recovery.
impl<'a> Crashes<'a> {
    pub fn new(name: &'a str, effort: Effort) -> Crashes<'a> {
        Crashes { name, effort, rng: Rng::new(effort.seed), seen: HashSet::new(), path: Vec::new() }
    }

    /// How many different states were visited.
    pub fn count(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Visits the states of every point of every phase.
    pub fn visit(&mut self, phases: &[Phase]) {
        for (number, phase) in phases.iter().enumerate() {
            for point in phase.recording.walk() {
                self.visit_at(number, phase, &point);
            }
        }
    }

    /// Visits the states of about so many points.
    pub fn visit_some(&mut self, phases: &[Phase], count: u64) {
        for (number, phase) in phases.iter().enumerate() {
            let last = phase.recording.len() as u64;
            for _ in 0..count {
                let point = phase.recording.at(self.rng.below(last + 1) as usize);
                self.visit_at(number, phase, &point);
            }
            self.visit_at(number, phase, &phase.recording.at(last as usize));
        }
    }

    /// Visits one state, as a failure told it.
    pub fn replay(&mut self, phases: &[Phase], path: &str) {
        let mut parts = path.split('/');
        let first = parts.next().expect("a split has a first part");
        let (number, rest) = first.split_once('.').expect("the phase stands before the event");
        let phase = &phases[number.parse::<usize>().expect("the phase is a number")];
        let (point, choice) = place(&phase.recording, rest);
        println!("the crash comes before: {}", phase.recording.describe(point.index()));
        let mut disk = point.state(&choice);
        let mut window = phase.window(point.index()).states.to_vec();
        for part in parts {
            let found = self.open(&phase.options, &disk, &window);
            abandon(&disk, Some(Arc::new(found.0)));
            window = vec![found.1];
            let recording = disk.recording();
            let (point, choice) = place(&recording, part);
            println!("and then before: {}", recording.describe(point.index()));
            disk = point.state(&choice);
        }
        self.check(&phase.options, &disk, &window, true);
    }

    fn visit_at(&mut self, number: usize, phase: &Phase, point: &CrashPoint) {
        let window = phase.window(point.index());
        let window = Window { key: window.key ^ (number as u64) << 60, ..window };
        let all = self.effort.all && point.pending_sectors() <= PENDING_COUNT_FOR_ALL;
        let samples = if all { 2 } else { self.effort.samples };
        self.visit_point(&format!("{number}."), &phase.options, point, window, (all, samples, 0));
    }

    fn visit_point(
        &mut self,
        prefix: &str,
        options: &OpenOptions,
        point: &CrashPoint,
        window: Window<'_>,
        how: (bool, u64, u64),
    ) {
        let (all, samples, depth) = how;
        let all = all.then(|| point.all_choices());
        for choice in all.into_iter().flatten() {
            self.visit_state(prefix, options, point, &choice, window, depth);
        }
        for kept in [false, true] {
            self.visit_state(prefix, options, point, &point.choice(kept), window, depth);
        }
        for _ in 0..samples {
            let choice = point.random_choice(&mut self.rng);
            self.visit_state(prefix, options, point, &choice, window, depth);
        }
    }

    fn visit_state(
        &mut self,
        prefix: &str,
        options: &OpenOptions,
        point: &CrashPoint,
        choice: &Choice,
        window: Window<'_>,
        depth: u64,
    ) {
        let disk = point.state(choice);
        if !self.seen.insert(Rng::new(disk.fingerprint() ^ Rng::new(window.key).next()).next()) {
            return;
        }
        self.path.push(format!("{prefix}{}:{choice}", point.index()));
        let again = depth < 3 && self.rng.chance(1, self.effort.again_one_in << (3 * depth.min(1)));
        let thorough = self.rng.chance(1, 8);
        let found = self.check(options, &disk, window.states, thorough);
        if again {
            // Its recovery reads only what is certain now, so whatever becomes of it, the same must be found.
            let key = Rng::new(window.key ^ disk.fingerprint()).next();
            let window = Window { states: &[found], key };
            for point in self.recovery(options, point, choice).walk() {
                self.visit_point("", options, &point, window, (false, 2, depth + 1));
            }
        }
        self.path.pop();
    }

    /// What an opening does to a state.
    fn recovery(&self, options: &OpenOptions, point: &CrashPoint, choice: &Choice) -> Recording {
        let disk = point.state(choice);
        let db = Database::open_on(Arc::clone(&disk) as _, options).expect("it opened before");
        let recording = disk.recording();
        abandon(&disk, Some(Arc::new(db)));
        recording
    }

    /// Opens a state, compares it, and returns what was found.
    fn check(&self, options: &OpenOptions, disk: &Arc<SimulatedDisk>, window: &[Model], thorough: bool) -> Model {
        let _told = Told(self);
        let (db, found) = self.open(options, disk, window);
        if !thorough {
            abandon(disk, Some(Arc::new(db)));
            return found;
        }
        oracle::agree(&db, &found).unwrap_or_else(|what| panic!("{what}"));
        self.go_on(options, disk, db, &found);
        found
    }

    fn open(&self, options: &OpenOptions, disk: &Arc<SimulatedDisk>, window: &[Model]) -> (Database, Model) {
        let db = Database::open_on(Arc::clone(disk) as _, options).unwrap_or_else(|error| panic!("opening: {error:?}"));
        let found = oracle::read(&db).unwrap_or_else(|error| panic!("reading: {error:?}"));
        if !window.contains(&found) {
            let [first, .., last] = window else { panic!("found: {}", window[0].difference(&found)) };
            let (first, last) = (first.difference(&found), last.difference(&found));
            panic!("none of {} states: from the first: {first}; from the last: {last}", window.len());
        }
        (db, found)
    }

    /// A recovered database can be written, closed and opened again.
    fn go_on(&self, options: &OpenOptions, disk: &Arc<SimulatedDisk>, db: Database, found: &Model) {
        let mut expected = found.clone();
        for (name, table) in &mut expected.tables {
            let n = 1_000_000 + table.next_id;
            let table = Arc::make_mut(table);
            let saved = db.table(name).and_then(|there| there.save_json(&table.kind.json(n)));
            assert_eq!(saved.unwrap_or_else(|error| panic!("saving: {error:?}")).0, table.next_id);
            table.records.insert(table.next_id, table.kind.json(n));
            table.next_id += 1;
        }
        db.close().unwrap_or_else(|error| panic!("closing: {error:?}"));
        let db = Database::open_on(Arc::clone(disk) as _, options);
        let db = db.unwrap_or_else(|error| panic!("opening again: {error:?}"));
        let again = oracle::read(&db).unwrap_or_else(|error| panic!("after opening again: {error:?}"));
        assert!(again == expected, "after opening again: {}", expected.difference(&again));
        oracle::agree(&db, &again).unwrap_or_else(|what| panic!("after opening again: {what}"));
        abandon(disk, Some(Arc::new(db)));
    }
}

/// Tells how to repeat a failure, when there is one.
struct Told<'a>(&'a Crashes<'a>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.0.path.is_empty() {
            let (name, seed, path) = (self.0.name, self.0.effort.seed, self.0.path.join("/"));
            eprintln!("a crash state of '{name}' fails; repeat it with:");
            eprintln!("DIAMOND_SEED={seed:#x} DIAMOND_REPLAY='{name}:{path}'");
        }
    }
}

/// `event:choice`.
fn place(recording: &Recording, text: &str) -> (CrashPoint, Choice) {
    let (event, choice) = text.split_once(':').expect("the choice follows the event");
    let point = recording.at(event.parse().expect("the event is a number"));
    (point, choice.parse().expect("the choice can be read"))
}
