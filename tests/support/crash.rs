//! Visits what power cuts and kills may leave of a run, opens each state, and compares it with what may be there.

use std::collections::HashSet;
use std::fmt;
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
    /// At one point in so many the process is killed, and the power cut while another one recovers.
    pub kill_one_in: u64,
}

/// One workload's crash states.
pub struct Crashes<'a> {
    name: &'a str,
    effort: Effort,
    rng: Rng,
    seen: HashSet<u64>,
    path: Vec<String>,
}

/// How a run ends at a point.
enum Cut<'a> {
    Power(&'a Choice),
    Kill,
}

impl Cut<'_> {
    fn disk(&self, point: &CrashPoint) -> Arc<SimulatedDisk> {
        match self {
            Cut::Power(choice) => point.state(choice),
            Cut::Kill => point.killed(),
        }
    }
}

impl fmt::Display for Cut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Power(choice) => write!(f, "{choice}"),
            Cut::Kill => write!(f, "kill"),
        }
    }
}

/// A state is told by where it was cut: `event:choice`, or `event:kill`, and after a `/` the same for its recovery.
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

    /// Visits about so many states, spread over all points of every phase; fewer only where there are no more.
    pub fn visit_up_to(&mut self, phases: &[Phase], count: u64) {
        const STRIDE: usize = 32;
        let mut before = u64::MAX;
        for round in (0..STRIDE).cycle() {
            if round == 0 && std::mem::replace(&mut before, self.count()) == self.count() {
                return;
            }
            for (number, phase) in phases.iter().enumerate() {
                // Neighbouring points are visited in rounds that lie far apart.
                for point in phase.recording.walk().filter(|point| point.index() * 13 % STRIDE == round) {
                    self.visit_at(number, phase, &point);
                    if self.count() >= count {
                        return;
                    }
                }
            }
        }
    }

    /// Visits the states of so many points at the end of the last phase.
    pub fn visit_last(&mut self, phases: &[Phase], count: usize) {
        let phase = phases.last().expect("a run has a phase");
        for point in phase.recording.walk().skip(phase.recording.len().saturating_sub(count - 1)) {
            self.visit_at(phases.len() - 1, phase, &point);
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
        let (point, mut disk) = place(&phase.recording, rest);
        println!("the crash comes before: {}", phase.recording.describe(point.index()));
        let mut window = phase.window(point.index()).states.to_vec();
        let mut is_certain = !first.ends_with(":kill");
        for part in parts {
            let found = self.open(&phase.options, &disk, &window);
            abandon(&disk, Some(Arc::new(found.0)));
            let recording = disk.recording();
            let (point, next) = place(&recording, part);
            if is_certain || point.index() == recording.len() {
                window = vec![found.1];
            }
            is_certain = !part.ends_with(":kill");
            println!("and then before: {}", recording.describe(point.index()));
            disk = next;
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
            self.visit_state(prefix, options, point, Cut::Power(&choice), window, depth);
        }
        for kept in [false, true] {
            self.visit_state(prefix, options, point, Cut::Power(&point.choice(kept)), window, depth);
        }
        for _ in 0..samples {
            let choice = point.random_choice(&mut self.rng);
            self.visit_state(prefix, options, point, Cut::Power(&choice), window, depth);
        }
        if depth < 2 && self.rng.chance(1, self.effort.kill_one_in << (6 * depth)) {
            self.visit_state(prefix, options, point, Cut::Kill, window, depth);
        }
    }

    fn visit_state(
        &mut self,
        prefix: &str,
        options: &OpenOptions,
        point: &CrashPoint,
        cut: Cut<'_>,
        window: Window<'_>,
        depth: u64,
    ) {
        let disk = cut.disk(point);
        if !self.seen.insert(Rng::new(disk.fingerprint() ^ Rng::new(window.key).next()).next()) {
            return;
        }
        self.path.push(format!("{prefix}{}:{cut}", point.index()));
        let is_killed = matches!(cut, Cut::Kill);
        let again = depth < 3 && self.rng.chance(1, self.effort.again_one_in << (3 * depth.min(1)));
        let again = again || is_killed && depth < 3;
        let thorough = self.rng.chance(1, 8);
        let found = self.check(options, &disk, window.states, thorough);
        if again {
            let key = Rng::new(window.key ^ disk.fingerprint()).next();
            let found = Window { states: &[found], key };
            let recovery = self.recovery(options, point, &cut);
            for point in recovery.walk() {
                // After a power cut a recovery reads only what is certain now, so whatever becomes of it, the same
                // must be found. After a kill that holds once it is over.
                let is_certain = !is_killed || point.index() == recovery.len();
                let window = if is_certain { found } else { Window { key: !key, ..window } };
                self.visit_point("", options, &point, window, (false, 2, depth + 1));
            }
        }
        self.path.pop();
    }

    /// What an opening does to a state.
    fn recovery(&self, options: &OpenOptions, point: &CrashPoint, cut: &Cut<'_>) -> Recording {
        let disk = cut.disk(point);
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

/// `event:choice`, or `event:kill`: the point, and the disk that is left there.
fn place(recording: &Recording, text: &str) -> (CrashPoint, Arc<SimulatedDisk>) {
    let (event, cut) = text.split_once(':').expect("the choice follows the event");
    let point = recording.at(event.parse().expect("the event is a number"));
    let disk = match cut {
        "kill" => point.killed(),
        choice => point.state(&choice.parse().expect("the choice can be read")),
    };
    (point, disk)
}
