//! What a power cut may leave: recordings, the points in them, and the states that a point may end in.
//!
//! At a point there are *units*, each of which survives or not: every 512-byte sector of every unsynced write,
//! every write's change of size, every other change of a file. So do the unsynced changes of the names in each
//! folder. A [`Choice`] settles all of these, and with it what is torn and what garbage is found.
//!
//! What always holds here:
//!
//! 1. Units are numbered by file, then in the order of events, so that a choice means the same in every run.
//! 2. Surviving units are done in the order of events, so a byte written twice never ends older than the newest
//!    write that survives.

use super::content::{Content, Garbage};
use super::world::{Entry, Event, FileChange, Folder, Inode, InodeId, NameChange, Pending, World, split};
use super::{Rng, SimulatedDisk, mix};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

const SECTOR_SIZE: u64 = 512;

/// All that happened on a disk: the state that it began in, and the events since.
#[derive(Clone, Debug)]
pub struct Recording {
    initial: World,
    events: Arc<[Event]>,
    seed: u64,
}

impl Recording {
    pub(super) fn new(initial: World, events: Arc<[Event]>, seed: u64) -> Recording {
        Recording { initial, events, seed }
    }

    /// How many events there are. There is one crash point more than that: the end.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// True if nothing happened.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The point just before an event, or the end. Replays all events before it: to visit many, walk.
    pub fn at(&self, index: usize) -> CrashPoint {
        assert!(index <= self.len(), "the recording has {} events, not {index}", self.len());
        let mut walk = self.walk();
        for event in &self.events[..index] {
            walk.step(event);
        }
        walk.point()
    }

    /// All points in order, each from the one before.
    pub fn walk(&self) -> Walk<'_> {
        Walk { recording: self, world: self.initial.clone(), next: 0 }
    }

    /// An event in words, for messages.
    pub fn describe(&self, index: usize) -> String {
        self.events.get(index).map_or("the end".to_owned(), Event::to_string)
    }
}

/// The crash points of a recording, in order.
pub struct Walk<'a> {
    recording: &'a Recording,
    world: World,
    next: usize,
}

impl Walk<'_> {
    fn step(&mut self, event: &Event) {
        self.world.apply(event);
        // Files that no crash can bring back are forgotten, so that a long recording does not gather them.
        if matches!(event, Event::SyncFolder { .. }) {
            self.world.prune(|_| false);
        }
        self.next += 1;
    }

    fn point(&self) -> CrashPoint {
        let seed = mix(self.recording.seed ^ mix(self.next as u64 + 1));
        CrashPoint { world: self.world.clone(), index: self.next, seed, plan: OnceLock::new() }
    }
}

impl Iterator for Walk<'_> {
    type Item = CrashPoint;

    fn next(&mut self) -> Option<CrashPoint> {
        if self.next > self.recording.len() {
            return None;
        }
        let point = self.point();
        match self.recording.events.get(self.next) {
            Some(event) => self.step(event),
            None => self.next += 1,
        }
        Some(point)
    }
}

/// A moment at which the power may fail.
#[derive(Clone, Debug)]
pub struct CrashPoint {
    world: World,
    index: usize,
    seed: u64,
    plan: OnceLock<Plan>,
}

/// What there is to choose at a point.
#[derive(Clone, Debug, Default)]
struct Plan {
    units: Vec<Unit>,
    /// The units of each file that has any.
    files: BTreeMap<InodeId, Range<usize>>,
    /// When each pending change of a name was made, folder by folder in the order of paths.
    names: Vec<u64>,
}

/// Something that survives or not, whatever becomes of the rest.
#[derive(Clone, Debug)]
struct Unit {
    clock: u64,
    /// Which of the file's pending changes it belongs to.
    pending: usize,
    part: Part,
}

#[derive(Clone, Debug)]
enum Part {
    /// The bytes of a write that lie in one sector.
    Sector(Range<usize>),
    /// That a write made the file longer.
    Growth,
    /// A change that is no write.
    Whole,
}

impl CrashPoint {
    /// The event that the crash comes before; the recording's length at its end.
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many things there are to choose: units, and unsynced changes of names.
    pub fn pending_sectors(&self) -> usize {
        self.plan().units.len() + self.plan().names.len()
    }

    /// The disk that a crash leaves. All on it is durable, and what happens to it is recorded anew.
    pub fn state(&self, choice: &Choice) -> Arc<SimulatedDisk> {
        let folders = self.surviving_folders(choice);
        let mut inodes = BTreeMap::new();
        for id in folders.values().flat_map(|folder| folder.cache.values()).filter_map(|entry| entry.file()) {
            inodes.entry(id).or_insert_with(|| self.surviving_file(id, choice));
        }
        let world = self.world.after_crash(inodes, folders);
        SimulatedDisk::with_world(world, mix(self.seed ^ choice.hash()))
    }

    /// The disk that a kill of the process at this point leaves, while the machine runs on.
    pub fn killed(&self) -> Arc<SimulatedDisk> {
        let mut world = self.world.clone();
        world.prune(|_| false);
        SimulatedDisk::with_world(world, mix(!self.seed))
    }

    /// Every set of surviving units and names. There are 2^n of them: meant for at most some ten things to choose.
    /// Nothing is torn inside a sector, and garbage is never zeros.
    pub fn all_choices(&self) -> AllChoices {
        AllChoices { next: Some(self.choice(false)) }
    }

    /// The choice by which all survives that can, or nothing does.
    pub fn choice(&self, kept: bool) -> Choice {
        let plan = self.plan();
        let (units, names) = (vec![kept; plan.units.len()], vec![kept; plan.names.len()]);
        Choice { units, names, tears: Vec::new(), garbage: Garbage::Pattern(self.seed) }
    }

    /// Some choice, with a liking for those that find most: all, nothing, a prefix of the order of events, all
    /// but one, one alone, a few and many, often torn.
    pub fn random_choice(&self, rng: &mut Rng) -> Choice {
        let plan = self.plan();
        let mut choice = self.choice(false);
        choice.garbage = match rng.below(4) {
            0 => Garbage::Zeros,
            1 => Garbage::Pattern(rng.next()),
            _ => Garbage::Removed(rng.next()),
        };
        match rng.below(8) {
            0 => choice.units.fill(true),
            1 => {}
            2 | 3 => self.keep_prefix(&mut choice, rng),
            4 => {
                choice.units.fill(true);
                flip_one(&mut choice.units, rng);
            }
            5 => flip_one(&mut choice.units, rng),
            _ => {
                let density = [1, 4, 7][rng.below(3) as usize];
                choice.units.fill_with(|| rng.chance(density, 8));
            }
        }
        // Names go their own way, but for one time in three, when they stay as the units' choice left them: with
        // a prefix of all events, or lost.
        match rng.below(6) {
            0 | 1 => choice.names.fill(true),
            2 => {
                let last = plan.names.get(rng.below(plan.names.len() as u64) as usize);
                choice.names = plan.names.iter().map(|clock| Some(clock) <= last).collect();
            }
            3 => choice.names.fill_with(|| rng.chance(1, 2)),
            _ => {}
        }
        if rng.chance(1, 2) {
            self.tear_some(&mut choice, rng);
        }
        choice
    }

    fn plan(&self) -> &Plan {
        self.plan.get_or_init(|| Plan::new(&self.world))
    }

    /// Keeps what came before some moment, files and names alike; of a write at that moment, its first sectors.
    fn keep_prefix(&self, choice: &mut Choice, rng: &mut Rng) {
        let plan = self.plan();
        let clocks: BTreeSet<u64> =
            plan.units.iter().map(|unit| unit.clock).chain(plan.names.iter().copied()).collect();
        let Some(last) = clocks.iter().nth(rng.below(clocks.len() as u64) as usize) else { return };
        for (unit, kept) in plan.units.iter().zip(&mut choice.units) {
            *kept = unit.clock <= *last;
        }
        for (clock, kept) in plan.names.iter().zip(&mut choice.names) {
            *kept = clock <= last;
        }
        let cut = plan.units.iter().filter(|unit| unit.clock == *last).count() as u64;
        let first = plan.units.iter().position(|unit| unit.clock == *last).unwrap_or(0);
        choice.units[first..][rng.below(cut + 1) as usize..cut as usize].fill(false);
    }

    /// Tears the last surviving unit, or some of all that survive.
    fn tear_some(&self, choice: &mut Choice, rng: &mut Rng) {
        let plan = self.plan();
        let torn_by = |unit: &usize| choice.units[*unit] && !matches!(plan.units[*unit].part, Part::Growth);
        let kept: Vec<usize> = (0..plan.units.len()).filter(torn_by).collect();
        let Some(last) = kept.iter().max_by_key(|unit| (plan.units[**unit].clock, **unit)) else { return };
        let mut torn = BTreeSet::from([*last]);
        for _ in 0..rng.below(3) {
            torn.insert(kept[rng.below(kept.len() as u64) as usize]);
        }
        choice.tears = torn
            .into_iter()
            .map(|unit| Tear { unit, bytes: rng.below(SECTOR_SIZE) as u32, tail: rng.chance(1, 4) })
            .collect();
    }

    /// The folders that surviving names lead to, with the names in them.
    fn surviving_folders(&self, choice: &Choice) -> BTreeMap<Arc<str>, Arc<Folder>> {
        let mut kept = choice.names.as_slice();
        let mut folders: BTreeMap<Arc<str>, Arc<Folder>> = BTreeMap::new();
        for (path, folder) in &self.world.folders {
            let (own, rest) = kept.split_at(folder.pending.len().min(kept.len()));
            kept = rest;
            let (parent, name) = split(path);
            let named = |parent: &Arc<Folder>| parent.cache.get(name) == Some(&Entry::Folder);
            if path.is_empty() || folders.get(parent).is_some_and(named) {
                folders.insert(path.clone(), surviving_names(folder, own));
            }
        }
        folders
    }

    fn surviving_file(&self, id: InodeId, choice: &Choice) -> Arc<Inode> {
        let Some(inode) = self.world.inodes.get(&id) else { return Arc::default() };
        if inode.is_settled() && !inode.durable.is_raw() {
            return inode.clone();
        }
        let mut content = inode.durable.clone();
        for number in self.plan().files.get(&id).cloned().unwrap_or_default() {
            if choice.units.get(number).copied().unwrap_or(false) {
                let unit = &self.plan().units[number];
                let tear = choice.tears.iter().find(|tear| tear.unit == number);
                unit.survive(&inode.pending[unit.pending].change, tear, &mut content);
            }
        }
        content.settle(&choice.garbage, &self.world.removed);
        Arc::new(Inode::settled(content))
    }
}

impl Plan {
    fn new(world: &World) -> Plan {
        let mut plan = Plan::default();
        let mut named = BTreeSet::new();
        for folder in world.folders.values() {
            named.extend(folder.entries().filter_map(Entry::file));
            plan.names.extend(folder.pending.iter().map(|(clock, _)| *clock));
        }
        // Files that no crash can bring back have nothing to choose.
        for id in named {
            let first = plan.units.len();
            let changes = world.inodes.get(&id).map_or(&[][..], |inode| &inode.pending);
            for (index, pending) in changes.iter().enumerate() {
                plan.add_units(index, pending);
            }
            if plan.units.len() > first {
                plan.files.insert(id, first..plan.units.len());
            }
        }
        plan
    }

    fn add_units(&mut self, index: usize, pending: &Pending) {
        let mut add = |part| self.units.push(Unit { clock: pending.clock, pending: index, part });
        let FileChange::Write { offset, bytes } = &pending.change else { return add(Part::Whole) };
        if pending.grows {
            add(Part::Growth);
        }
        let mut start = 0;
        while start < bytes.len() {
            let room = SECTOR_SIZE - (offset + start as u64) % SECTOR_SIZE;
            let end = bytes.len().min(start + room as usize);
            add(Part::Sector(start..end));
            start = end;
        }
    }
}

impl Unit {
    /// Does this unit, or what a tear leaves of it. What a file gains in length is raw until data comes.
    fn survive(&self, change: &FileChange, tear: Option<&Tear>, content: &mut Content) {
        match (change, &self.part) {
            (FileChange::Write { offset, bytes }, Part::Growth) => content.grow(offset + bytes.len() as u64, true),
            (FileChange::Write { offset, bytes }, Part::Sector(sector)) => {
                let part = torn(sector.start as u64..sector.end as u64, tear);
                content.put(offset + part.start, &bytes[part.start as usize..part.end as usize]);
            }
            (FileChange::Punch { offset, size }, _) => {
                content.punch(torn(*offset..(offset + size).min(content.size).max(*offset), tear));
            }
            (FileChange::SetSize { size }, _) => {
                content.cut(*size);
                content.grow(*size, true);
            }
            (FileChange::Allocate { offset, size }, _) => {
                content.grow(*offset, true);
                content.allocate(*offset..offset + size);
            }
            (FileChange::Write { .. }, Part::Whole) => unreachable!("a write has sectors"),
        }
    }
}

fn torn(range: Range<u64>, tear: Option<&Tear>) -> Range<u64> {
    let size = range.end - range.start;
    match tear {
        None => range,
        Some(tear) if tear.tail => range.start + size.min(u64::from(tear.bytes))..range.end,
        Some(tear) => range.start..range.start + size.min(u64::from(tear.bytes)),
    }
}

fn surviving_names(folder: &Arc<Folder>, kept: &[bool]) -> Arc<Folder> {
    if folder.pending.is_empty() {
        return folder.clone();
    }
    let mut names = folder.durable.clone();
    for ((_, change), _) in folder.pending.iter().zip(kept).filter(|(_, kept)| **kept) {
        NameChange::apply(change, Arc::make_mut(&mut names));
    }
    Arc::new(Folder::settled(names))
}

fn flip_one(units: &mut [bool], rng: &mut Rng) {
    let index = rng.below(units.len() as u64) as usize;
    if let Some(unit) = units.get_mut(index) {
        *unit = !*unit;
    }
}

/// Which of the things that may survive a crash do. Its text (`Display`) reads back (`FromStr`), and with the
/// disk's seed and the event gives the same state again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Choice {
    /// For each unit, whether it survives.
    pub units: Vec<bool>,
    /// For each unsynced change of a name, whether it survives.
    pub names: Vec<bool>,
    /// The surviving units of which only a part does.
    pub tears: Vec<Tear>,
    /// What is found in space that was never written.
    pub garbage: Garbage,
}

/// A unit of which only a part survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tear {
    /// The unit's number.
    pub unit: usize,
    /// Where it is torn, in bytes from its start.
    pub bytes: u32,
    /// True if what lies behind that place survives, false for what lies before it.
    pub tail: bool,
}

impl Choice {
    fn hash(&self) -> u64 {
        let word = |part: &[bool]| {
            part.iter().rev().fold(1, |word: u64, kept| word << 1 | u64::from(*kept)) ^ part.len() as u64
        };
        let units = self.units.chunks(64).map(word);
        let names = self.names.chunks(63).map(|part| !word(part));
        let tears =
            self.tears.iter().map(|tear| mix(tear.unit as u64) ^ u64::from(tear.bytes) ^ (u64::from(tear.tail) << 41));
        let garbage = match self.garbage {
            Garbage::Zeros => 0,
            Garbage::Pattern(seed) => mix(seed),
            Garbage::Removed(seed) => !mix(seed),
        };
        units.chain(names).chain(tears).fold(garbage, |sum, word| mix(sum ^ word).wrapping_add(1))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = |flags: &[bool]| flags.iter().map(|kept| if *kept { '1' } else { '0' }).collect::<String>();
        let tears: Vec<String> = self.tears.iter().map(Tear::to_string).collect();
        let (units, names) = (digits(&self.units), digits(&self.names));
        write!(f, "units={units} names={names} tears={} garbage=", tears.join(","))?;
        match self.garbage {
            Garbage::Zeros => write!(f, "zeros"),
            Garbage::Pattern(seed) => write!(f, "pattern:{seed:x}"),
            Garbage::Removed(seed) => write!(f, "removed:{seed:x}"),
        }
    }
}

impl fmt::Display for Tear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.unit, self.bytes, if self.tail { "tail" } else { "head" })
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Choice, String> {
        let parts: BTreeMap<&str, &str> = text.split_whitespace().filter_map(|part| part.split_once('=')).collect();
        let part = |name| parts.get(name).copied().ok_or_else(|| format!("the choice has no '{name}='"));
        let wrong = |what: &str| format!("'{what}' is not part of a choice");
        let items = |list: &'static str| Ok::<_, String>(part(list)?.split(',').filter(|item| !item.is_empty()));
        let garbage = part("garbage")?;
        let seed = |seed| u64::from_str_radix(seed, 16).map_err(|_| wrong(garbage));
        Ok(Choice {
            units: part("units")?.chars().map(|kept| kept == '1').collect(),
            names: part("names")?.chars().map(|kept| kept == '1').collect(),
            tears: items("tears")?.map(|tear| tear.parse().map_err(|()| wrong(tear))).collect::<Result<_, _>>()?,
            garbage: match garbage.split_once(':') {
                None if garbage == "zeros" => Garbage::Zeros,
                Some(("pattern", text)) => Garbage::Pattern(seed(text)?),
                Some(("removed", text)) => Garbage::Removed(seed(text)?),
                _ => return Err(wrong(garbage)),
            },
        })
    }
}

impl FromStr for Tear {
    type Err = ();

    fn from_str(text: &str) -> Result<Tear, ()> {
        let mut parts = text.split(':');
        let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok()).ok_or(());
        let (unit, bytes) = (number()?, number()? as u32);
        match parts.next() {
            Some("head") => Ok(Tear { unit, bytes, tail: false }),
            Some("tail") => Ok(Tear { unit, bytes, tail: true }),
            _ => Err(()),
        }
    }
}

/// All choices of a crash point, one after the other.
pub struct AllChoices {
    next: Option<Choice>,
}

impl Iterator for AllChoices {
    type Item = Choice;

    fn next(&mut self) -> Option<Choice> {
        let choice = self.next.take()?;
        self.next = Self::after(&choice);
        Some(choice)
    }
}

impl AllChoices {
    /// Counts on by one, in binary: the units are the lowest digits of the number, the names the highest.
    fn after(choice: &Choice) -> Option<Choice> {
        let mut next = choice.clone();
        for kept in next.units.iter_mut().chain(&mut next.names) {
            *kept = !*kept;
            if *kept {
                return Some(next);
            }
        }
        None
    }
}
