//! Group commit: how frames get from many threads into the segments.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;

use crate::error::{Error, Message, Result};
use crate::format::BLOCK_SIZE;
use crate::format::checksum::crc32c;
use crate::memory;
use crate::mutant::{Mutant, broken, heard_unless};
use crate::os::sync::{AtomicBool, AtomicU32, AtomicU64, Futex, Mutex, MutexGuard, Ordering, sleep, spin_loop};
use crate::os::{Bell, Disk, DiskFile, Open, is_full, retry, write_all_at, write_all_past_cache_at};

use super::frame::{Kind, Place, frame_space, put_frame};
use super::segment::{END_SPACE, Link, Next, Segment, SegmentHeader, segment_name};

/// How often a committer looks whether the wal is free before it falls asleep.
const SPINS: u32 = 100;

/// How long a commit that nobody waits for may lie until it is written and synced for its own sake.
const GRACE: Duration = Duration::from_millis(2);

/// Space of the wal that is kept for the sum of one dirty page, which the next checkpoint logs: a frame of its own
/// at worst.
const SUM_SPACE: u64 = 80;

/// Space that is kept for the list of a checkpoint without dirty pages.
const LIST_SPACE: u64 = frame_space(8) as u64;

/// What a commit waits for, and so what it survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A power cut: a sync of the disk covers the commit before it returns.
    #[default]
    Sync,
    /// A `kill -9` of the process: the commit was handed to the operating system before it returns.
    Os,
    /// Neither, until the next interval or flush.
    Async,
}

/// Sizes and habits of the wal.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// What commits wait for.
    pub durability: Durability,
    /// The size of the first segments, in bytes.
    pub segment_size_min: u64,
    /// The size up to which they grow.
    pub segment_size_max: u64,
    /// Files of segments that wait to be used again, in bytes: those beyond it are removed.
    pub spare_max: u64,
    /// Frames waiting to be written, in bytes, above which writers wait.
    pub buffer_size_max: usize,
}

/// The two things one can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A write call covers it: it survives the process.
    Written,
    /// A sync covers it: it survives a power cut.
    Synced,
}

/// What came of an attempt to append. Except in `Done`, nothing has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// Appended, with this LSN.
    Done(u64),
    /// Call `make_room` with no lock held, and try again.
    NeedRoom,
    /// A cut was made since the caller looked at the epoch: look again.
    EpochMoved,
    /// Failed for good; `failure` says why.
    Failed,
}

/// A line between two frames: all before it is one state of the database.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// The last LSN before the line.
    pub lsn: u64,
    /// The last epoch before it.
    pub epoch: u64,
    /// The segment that starts after it, and its salt.
    pub segment: u64,
    /// The salt of that segment.
    pub salt: u64,
    /// How many commits were appended before it, since opening.
    pub commits: u64,
}

/// Counters since opening.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct WalStats {
    /// Frames of commits.
    pub commits: u64,
    /// Bytes of frames.
    pub bytes: u64,
    /// Groups written.
    pub groups: u64,
    /// Commits in the largest group.
    pub group_commits_max: u64,
    /// Syncs of segments by leaders.
    pub syncs: u64,
    /// Their time in all.
    pub sync_us_total: u64,
    /// The longest of them.
    pub sync_us_max: u64,
    /// Bytes of segments that a recovery would read.
    pub live_bytes: u64,
}

/// Called before the first frame since opening is written, with the segment and salt it goes to.
pub type Awaken = Box<dyn Fn(u64, u64) -> std::io::Result<()> + Send + Sync>;

/// The write-ahead log of one database.
pub struct Wal {
    disk: Arc<dyn Disk>,
    uuid: [u8; 16],
    options: WalOptions,
    awaken: Awaken,
    state: CachePadded<Mutex<State>>,
    /// Prepares segments; held while the disk works, so never together with `state` except briefly inside.
    supply: Mutex<Supply>,
    /// Held during every sync of segments: of two at the same time on one file, one could hear of success while the
    /// other took the error.
    syncing: Mutex<()>,
    /// How many groups were finished. Waiters sleep on it, each group on its own bit of the mask.
    groups: Futex,
    written: AtomicU64,
    durable: AtomicU64,
    epoch: AtomicU64,
    checkpoint_epoch: AtomicU64,
    failed: OnceLock<Message>,
    /// Wakes the background writer.
    bell: Bell,
    /// The background writer sleeps until it is rung.
    asleep: AtomicBool,
    waiters: AtomicU32,
}

/// What every commit changes comes first: it passes from one processor to the next in as few cache lines as can be.
#[repr(C)]
struct State {
    next_lsn: u64,
    /// Where the next frame goes in the current segment.
    position: u64,
    /// The newest frame that is not a watermark.
    newest: u64,
    /// The durable LSN that the newest frame carries.
    noted: u64,
    /// Bytes kept for the sums of dirty pages.
    sums_space: u64,
    last_crc: u32,
    leading: bool,
    stats: WalStats,
    group: Group,
    /// `None` until the first frame since opening.
    current: Option<Segment>,
    ready: VecDeque<Segment>,
    /// Full segments that a checkpoint has not yet made superfluous.
    past: VecDeque<Segment>,
    /// Link to the segment before the wal was awakened.
    link: Link,
    /// The buffer of the group before, for reuse.
    spare: Vec<u8>,
    /// Files written since their last sync, in the order of their segments, with the last LSN that went there.
    unsynced: Vec<(Arc<dyn DiskFile>, u64)>,
}

/// Frames that wait to be written together.
#[derive(Default)]
struct Group {
    number: u32,
    first_lsn: u64,
    bytes: Vec<u8>,
    runs: Vec<Run>,
    commits: u64,
}

/// Neighbouring bytes of one segment.
struct Run {
    file: Arc<dyn DiskFile>,
    offset: u64,
    /// Where the run starts in the group's bytes; it ends where the next one starts.
    start: usize,
}

struct Supply {
    next_number: u64,
    /// Files of segments that are no longer needed: number and capacity.
    spares: Vec<(u64, u64)>,
}

impl Supply {
    /// Keeps the files of segments that were not used.
    fn set_aside(&mut self, unused: &mut VecDeque<Segment>) {
        self.spares.extend(unused.drain(..).map(|segment| (segment.number, segment.capacity)));
    }
}

impl Wal {
    /// A wal that goes on after `link`. Nothing is written until the first frame.
    pub fn new(
        disk: Arc<dyn Disk>,
        uuid: [u8; 16],
        options: WalOptions,
        link: Link,
        numbers: &[u64],
        awaken: Awaken,
    ) -> Wal {
        let next_number = numbers.iter().copied().max().unwrap_or(0).max(link.segment) + 1;
        let supply = Supply { next_number, spares: Vec::new() };
        let state = State::asleep(link);
        Wal {
            disk,
            uuid,
            options,
            awaken,
            state: CachePadded::new(Mutex::new(state)),
            supply: Mutex::new(supply),
            syncing: Mutex::new(()),
            groups: Futex::new(0),
            written: AtomicU64::new(link.lsn),
            durable: AtomicU64::new(link.lsn),
            epoch: AtomicU64::new(1),
            checkpoint_epoch: AtomicU64::new(0),
            failed: OnceLock::new(),
            bell: Bell::default(),
            asleep: AtomicBool::new(false),
            waiters: AtomicU32::new(0),
        }
    }

    /// The epoch that frames appended now belong to. Cuts begin a new one.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The last epoch before the newest checkpoint's cut.
    pub fn checkpoint_epoch(&self) -> u64 {
        self.checkpoint_epoch.load(Ordering::Acquire)
    }

    /// The newest LSN of a frame that matters, which a watermark does not.
    pub fn last(&self) -> u64 {
        self.state.lock().newest
    }

    /// The last frame that was appended at all.
    pub fn end(&self) -> Link {
        let state = self.state.lock();
        let segment = state.current.as_ref().map_or(state.link.segment, |segment| segment.number);
        Link { segment, lsn: state.next_lsn - 1, crc: state.last_crc }
    }

    /// Why nothing is written any more, if so.
    pub fn failure(&self) -> Option<&Message> {
        self.failed.get()
    }

    /// Ends all writing for good (promise 7) and wakes whoever waits.
    pub fn fail(&self, why: Message) {
        let _ = self.failed.set(why);
        let _state = self.state.lock();
        self.groups.fetch_add(1, Ordering::Release);
        self.groups.wake(i32::MAX, u32::MAX);
        self.ring();
    }

    /// The error for calls after a failure.
    pub fn poisoned(&self) -> Error {
        let why = self.failed.get().map_or("", |why| why);
        Error::Poisoned(format!("nothing more is written until the database is opened again, because {why}").into())
    }

    /// Puts a frame into the open group and gives it the next LSN. The caller holds the stripes of the pages that
    /// the frame changes, so that LSN order is the order of every conflict. `epoch` is what the caller saw before;
    /// `dirtied` counts the pages that become dirty. `then` runs under the wal's lock.
    pub fn append(&self, payload: &[u8], payload_crc: u32, epoch: u64, dirtied: u64, then: impl FnOnce(u64)) -> Append {
        let mut state = self.lock_soon();
        if self.epoch.load(Ordering::Relaxed) != epoch {
            return Append::EpochMoved;
        }
        if self.failed.get().is_some() {
            return Append::Failed;
        }
        let space = frame_space(payload.len()) as u64;
        if state.group.bytes.len() >= self.options.buffer_size_max || !state.admits(space, dirtied * SUM_SPACE) {
            return Append::NeedRoom;
        }
        if state.reserve(space).is_err() {
            return Append::NeedRoom;
        }
        if state.remaining() < space {
            self.roll(&mut state);
        }
        let waited = state.group.bytes.len();
        let lsn = self.put(&mut state, Kind::Commit, payload, payload_crc);
        state.sums_space += if broken(Mutant::SumsSpaceNotKept) { 0 } else { dirtied * SUM_SPACE };
        state.group.commits += 1;
        state.stats.commits += 1;
        then(lsn);
        let waiting = state.group.bytes.len();
        drop(state);
        if self.options.durability == Durability::Async {
            // Once as a group grows large: the bell remembers.
            let large = self.options.buffer_size_max / 16;
            if waited < large && waiting >= large { self.ring() } else { self.ring_if_asleep() }
        }
        Append::Done(lsn)
    }

    /// Frames are put in less time than it takes to fall asleep and be woken.
    fn lock_soon(&self) -> MutexGuard<'_, State> {
        for _ in 0..SPINS {
            if let Some(state) = self.state.try_lock() {
                return state;
            }
            spin_loop();
        }
        self.state.lock()
    }

    /// Logs the sums of `pages` dirty pages, in the space that was kept for them. After an error nothing is logged.
    pub fn append_sums(&self, payload: &[u8], pages: u64) -> Result<u64> {
        let crc = crc32c(0, payload);
        let mut state = self.state.lock();
        if self.failed.get().is_some() {
            return Err(self.poisoned());
        }
        state.reserve(frame_space(payload.len()) as u64)?;
        if state.remaining() < frame_space(payload.len()) as u64 {
            if state.ready.is_empty() {
                return Err(Error::Full("no segment of the wal is left for a checkpoint".into()));
            }
            self.roll(&mut state);
        }
        state.sums_space = state.sums_space.saturating_sub(pages * SUM_SPACE);
        Ok(self.put(&mut state, Kind::Sums, payload, crc))
    }

    /// Keeps room for the sums of more pages, or of fewer.
    pub fn keep_for_sums(&self, pages: i64) {
        let mut state = self.state.lock();
        state.sums_space = state.sums_space.saturating_add_signed(pages * SUM_SPACE as i64);
    }

    /// How many commits were appended since opening.
    pub fn commits(&self) -> u64 {
        self.state.lock().stats.commits
    }

    /// Prepares segments until a frame with this payload fits, or writes out a full buffer. The one place that can
    /// say `Full`, and then nothing has changed.
    pub fn make_room(&self, payload_size: usize, dirtied: u64) -> Result<()> {
        let space = frame_space(payload_size) as u64;
        let sums = dirtied * SUM_SPACE;
        loop {
            if self.failed.get().is_some() {
                return Err(self.poisoned());
            }
            let state = self.state.lock();
            if state.group.bytes.len() >= self.options.buffer_size_max {
                let last = state.newest;
                drop(state);
                // Should it fail, the caller's own commit has not even begun.
                self.wait(last, Need::Written, None).map_err(|_| self.poisoned())?;
                continue;
            }
            if state.current.is_some() && state.admits(space, sums) {
                drop(state);
                return self.reserve_buffer(space);
            }
            // A frame that begins a segment needs another behind it.
            let count = if space + sums + state.sums_space <= state.remaining() { 1 } else { 2 };
            drop(state);
            self.supply_segments(space + sums, count)?;
        }
    }

    /// Prepares segments ahead of need. True if there was something to do.
    pub fn stock(&self) -> Result<bool> {
        {
            let state = self.state.lock();
            if state.current.is_none() || state.ready.len() >= 2 || self.failed.get().is_some() {
                return Ok(false);
            }
        }
        self.supply_segments(0, 2)?;
        Ok(true)
    }

    /// Makes sure that a segment is ready to go on in after a checkpoint's line.
    pub fn prepare_cut(&self) -> Result<()> {
        self.supply_segments(0, 1)
    }

    /// Draws a checkpoint's line: ends the segment, so that the rest of the wal starts with a new one. `capture`
    /// runs under the wal's lock, when exactly the frames up to the line have been appended, and is given the last
    /// epoch before it. `None`: `prepare_cut` is needed again.
    pub fn cut(&self, capture: impl FnOnce(u64)) -> Result<Option<Cut>> {
        let mut state = self.state.lock();
        if self.failed.get().is_some() {
            return Err(self.poisoned());
        }
        let fits = state.ready.front().is_some_and(|next| state.sums_space <= next.usable());
        if state.current.is_none() || !fits {
            return Ok(None);
        }
        state.reserve(0)?;
        self.roll(&mut state);
        let segment = state.current.as_ref().expect("a segment follows the one that was ended");
        let (segment, salt) = (segment.number, segment.salt);
        let epoch = self.epoch.load(Ordering::Relaxed);
        // Whoever sees the new epoch must see what the line changed.
        self.checkpoint_epoch.store(epoch, Ordering::Release);
        capture(epoch);
        self.epoch.store(epoch + 1, Ordering::Release);
        Ok(Some(Cut { lsn: state.next_lsn - 1, epoch, segment, salt, commits: state.stats.commits }))
    }

    /// Under the wal's lock: whoever looked at the epoch before must look again at what it builds on.
    pub fn begin_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// Draws a line for a reader: returns the last epoch before it. `capture` is told that and the last LSN.
    pub fn cut_for_reading(&self, capture: impl FnOnce(u64, u64)) -> u64 {
        let state = self.state.lock();
        let epoch = self.epoch.load(Ordering::Relaxed);
        // Whoever sees the new epoch must see what the line changed.
        capture(epoch, state.next_lsn - 1);
        self.epoch.store(epoch + 1, Ordering::Release);
        epoch
    }

    /// Waits until `lsn` is written or synced. `Ok(false)`: not by the deadline. Where that is over already, it only
    /// asks, and leaves all work to others.
    pub fn wait(&self, lsn: u64, need: Need, deadline: Option<Instant>) -> Result<bool> {
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) && self.failed.get().is_none() {
            return Ok(self.reached(lsn, need));
        }
        if need == Need::Synced && self.options.durability != Durability::Sync {
            // Nobody else waits for this sync, so nobody is to wait behind it: frames go on being written meanwhile.
            return match self.wait(lsn, Need::Written, deadline)? {
                true => self.sync_behind(lsn).map(|()| true),
                false => Ok(false),
            };
        }
        loop {
            if self.reached(lsn, need) {
                return Ok(true);
            }
            let state = self.state.lock();
            if self.reached(lsn, need) {
                return Ok(true);
            }
            if let Some(why) = self.failed.get() {
                let text = format!("the commit may or may not be there after the next opening, because {why}");
                return Err(Error::CommitUnknown(text.into()));
            }
            if !state.leading {
                self.lead(state, need);
                continue;
            }
            let open = state.group.covers(lsn);
            let number = if open { state.group.number } else { state.group.number.wrapping_sub(1) };
            let seen = self.groups.load(Ordering::Acquire);
            drop(state);
            let left = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => {
                    self.pass_the_lead_on();
                    return Ok(self.reached(lsn, need));
                }
                left => left,
            };
            self.waiters.fetch_add(1, Ordering::SeqCst);
            self.groups.wait(seen, group_bit(number), left);
            self.waiters.fetch_sub(1, Ordering::Relaxed);
            if broken(Mutant::FollowerHearsNothing) && self.failed.get().is_some() {
                return Ok(true);
            }
        }
    }

    /// Adds a frame that says how far the wal is synced, if the newest frame does not say it, and writes it
    /// without a sync. It keeps short the stretch in which damage cannot be told from a torn tail.
    pub fn watermark(&self) -> Result<()> {
        let lsn = {
            let mut state = self.state.lock();
            let durable = self.durable.load(Ordering::Acquire);
            let idle = durable >= state.newest && state.noted < durable;
            let space = frame_space(0) as u64;
            let idle = idle && !broken(Mutant::WatermarkOmitted);
            let fits = state.current.is_some() && state.admits(space, 0) && state.remaining() >= space;
            if !idle || !fits || state.reserve(space).is_err() {
                return Ok(());
            }
            self.put(&mut state, Kind::Watermark, &[], 0)
        };
        // Nobody was promised this frame: it counts as durable only with the next sync, but must not keep the
        // engine from being idle.
        self.wait(lsn, Need::Written, None).map(|_| ())
    }

    /// True if frames wait to be written, or to be synced after the interval, or a watermark is due.
    pub fn is_restless(&self) -> bool {
        let state = self.state.lock();
        let durable = self.durable.load(Ordering::Acquire);
        let unsynced = self.options.durability == Durability::Async && durable < state.newest;
        !state.group.bytes.is_empty() || state.noted < durable || unsynced
    }

    /// Bytes that wait to be written.
    pub fn buffered(&self) -> usize {
        self.state.lock().group.bytes.len()
    }

    /// The background writer's rest: for `time` while there is something to watch, else until it is rung, and `time`
    /// from then on unless it is to stop. So whoever commits one thing after the other wakes it once and not each time.
    pub fn rest(&self, time: Duration, is_to_stop: impl Fn() -> bool) {
        self.asleep.store(true, Ordering::SeqCst);
        if self.is_restless() {
            self.asleep.store(false, Ordering::SeqCst);
            self.bell.wait(Some(time));
        } else {
            self.bell.wait(None);
            self.asleep.store(false, Ordering::SeqCst);
            if !is_to_stop() && !self.is_due() {
                self.bell.wait(Some(time));
            }
        }
        // Those who do not wait for one commit come in crowds, and one wait for all of them mostly comes behind.
        if !is_to_stop() && self.is_due() {
            sleep(GRACE);
        }
    }

    /// True if frames wait in a mode in which their commits did not return: those of commits that nobody waits for.
    fn is_due(&self) -> bool {
        self.options.durability != Durability::Async && self.buffered() > 0
    }

    /// Wakes the background writer.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Wakes the background writer if it sleeps until it is rung.
    pub fn ring_if_asleep(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            self.bell.ring();
        }
    }

    /// Gives up the segments before `segment`, which a manifest no longer names: their files are used again.
    pub fn recycle(&self, segment: u64) -> Result<()> {
        let mut supply = self.supply.lock();
        {
            let mut state = self.state.lock();
            while state.past.front().is_some_and(|past| past.number < segment) {
                let past = state.past.pop_front().expect("the front was there");
                state.unsynced.retain(|(file, _)| !Arc::ptr_eq(file, &past.file));
                supply.spares.push((past.number, past.capacity));
            }
        }
        // A file that is written again takes no new memory of the system's, which may cost ten times what the copy
        // does. The largest are worth most.
        supply.spares.sort_by_key(|(_, capacity)| std::cmp::Reverse(*capacity));
        let total = |spares: &[(u64, u64)]| spares.iter().map(|(_, capacity)| capacity).sum::<u64>();
        while total(&supply.spares) > self.options.spare_max {
            let (number, _) = supply.spares[supply.spares.len() - 1];
            self.remove(number)?;
            supply.spares.pop();
        }
        self.sync_names()
    }

    /// After the last checkpoint of a clean close: leaves one small file, whose number stays taken.
    pub fn leave_one_small(&self, keep: u64) -> Result<()> {
        let _supply = self.supply.lock();
        let end = self.end();
        *self.state.lock() = State::asleep(end);
        for number in super::replay::segment_numbers(&*self.disk)? {
            if number != keep {
                self.remove(number)?;
                continue;
            }
            let name = segment_name(number);
            let file = self.disk.open(&name, Open::Write).map_err(|error| Error::io("open", &name, &error))?;
            let cut = file.size().and_then(|size| file.set_size(size.min(self.options.segment_size_min)));
            cut.and_then(|()| retry(|| file.sync())).map_err(|error| self.broken("cut", &name, &error))?;
        }
        self.sync_names()
    }

    /// Removes segments that no history needs: leftovers of a recovery.
    pub fn remove_strays(&self, before: u64) -> Result<()> {
        let mut supply = self.supply.lock();
        // Recovery's own first segment is among them: its file is not there to be used again.
        supply.spares.retain(|(number, _)| *number >= before);
        for number in super::replay::segment_numbers(&*self.disk)?.into_iter().filter(|number| *number < before) {
            self.remove(number)?;
        }
        self.sync_names()
    }

    fn remove(&self, number: u64) -> Result<()> {
        let name = segment_name(number);
        self.disk.remove(&name).map_err(|error| Error::io("remove", &name, &error))
    }

    /// Counters since opening.
    pub fn stats(&self) -> WalStats {
        let state = self.state.lock();
        let past: u64 = state.past.iter().map(|segment| segment.capacity).sum();
        WalStats { live_bytes: past + state.position, ..state.stats }
    }

    /// Bytes of the wal that the next recovery would have to read.
    pub fn live_bytes(&self) -> u64 {
        self.stats().live_bytes
    }

    fn reached(&self, lsn: u64, need: Need) -> bool {
        let mark = match need {
            Need::Written => &self.written,
            Need::Synced => &self.durable,
        };
        mark.load(Ordering::Acquire) >= lsn
    }

    /// Writes the open group, and syncs it if `need` says so, for all who wait. Consumes the lock: rule 3.
    fn lead(&self, mut state: MutexGuard<'_, State>, need: Need) {
        state.leading = true;
        let bytes = std::mem::take(&mut state.spare);
        let next = Group { number: state.group.number.wrapping_add(1), bytes, ..Group::default() };
        let group = std::mem::replace(&mut state.group, next);
        let last = state.next_lsn - 1;
        for run in &group.runs {
            match state.unsynced.iter_mut().find(|(file, _)| Arc::ptr_eq(file, &run.file)) {
                Some((_, newest)) => *newest = last,
                None => state.unsynced.push((Arc::clone(&run.file), last)),
            }
        }
        let synced = need == Need::Synced && !broken(Mutant::WalNotSynced);
        let files = if synced { state.unsynced_files() } else { Vec::new() };
        drop(state);
        // A leader that goes without a word would be waited for.
        let _unfinished = PoisonOnPanic::new(self);

        let result = heard_unless(Mutant::WalWriteErrorIgnored, group.write());
        let result = result.map_err(|error| self.broken("write", "the wal", &error));
        // Who only writes does not wait for a sync that runs behind.
        let synced = || if need == Need::Synced { self.sync(&files) } else { Ok(Duration::ZERO) };
        let result = result.and_then(|()| synced());

        let mut state = self.state.lock();
        let last = if broken(Mutant::SyncCoversWhatFollows) { state.next_lsn - 1 } else { last };
        if let Ok(time) = result {
            self.written.store(last, Ordering::Release);
            if need == Need::Synced {
                self.note_synced(&mut state, last, time);
            }
        }
        state.stats.groups += 1;
        state.stats.group_commits_max = state.stats.group_commits_max.max(group.commits);
        state.leading = false;
        let mut bytes = group.bytes;
        bytes.clear();
        if bytes.capacity() <= 2 * self.options.buffer_size_max {
            state.spare = bytes;
        }
        let next = state.group.number;
        drop(state);
        self.groups.fetch_add(1, Ordering::SeqCst);
        if self.failed.get().is_some() {
            self.groups.wake(i32::MAX, u32::MAX);
        } else if self.waiters.load(Ordering::SeqCst) > 0 {
            // The next leader first: its sync can start while the members of this group wake up.
            self.groups.wake(1, group_bit(next));
            self.groups.wake(i32::MAX, group_bit(group.number));
        }
    }

    /// Syncs what is written up to `lsn`, while others go on writing.
    fn sync_behind(&self, lsn: u64) -> Result<()> {
        if self.reached(lsn, Need::Synced) {
            return Ok(());
        }
        let (files, target) = {
            let state = self.state.lock();
            (state.unsynced_files(), self.written.load(Ordering::Acquire))
        };
        let time = self.sync(&files)?;
        let target = match broken(Mutant::SyncBehindCoversWhatFollows) {
            true => self.written.load(Ordering::Acquire),
            false => target,
        };
        self.note_synced(&mut self.state.lock(), target, time);
        Ok(())
    }

    /// Syncs files one after the other. An error is noted before anyone else may try: rule 4.
    fn sync(&self, files: &[Arc<dyn DiskFile>]) -> Result<Duration> {
        let _one = self.syncing.lock();
        if self.failed.get().is_some() {
            return Err(self.poisoned());
        }
        let _unfinished = PoisonOnPanic::new(self);
        let started = Instant::now();
        for file in files {
            let synced = heard_unless(Mutant::WalSyncErrorIgnored, retry(|| file.sync()));
            let synced = if broken(Mutant::WalSyncTriedAgain) { synced.or_else(|_| file.sync()) } else { synced };
            synced.map_err(|error| self.broken("sync", "the wal", &error))?;
        }
        Ok(started.elapsed())
    }

    fn note_synced(&self, state: &mut State, lsn: u64, time: Duration) {
        self.durable.fetch_max(lsn, Ordering::AcqRel);
        // What was written since the sync began stays to be synced.
        state.unsynced.retain(|(_, newest)| *newest > lsn);
        let sync_us = time.as_micros() as u64;
        state.stats.syncs += 1;
        state.stats.sync_us_total += sync_us;
        state.stats.sync_us_max = state.stats.sync_us_max.max(sync_us);
        self.ring_if_asleep();
    }

    /// Whoever stops waiting may have been the one who was woken to lead: wake another.
    fn pass_the_lead_on(&self) {
        let state = self.state.lock();
        if !state.leading {
            self.groups.wake(1, group_bit(state.group.number));
        }
    }

    fn put(&self, state: &mut State, kind: Kind, payload: &[u8], crc: u32) -> u64 {
        let segment = state.current.as_ref().expect("a frame is put only where room was found");
        let (salt, file) = (segment.salt, &segment.file);
        if state.group.bytes.is_empty() {
            state.group.first_lsn = state.next_lsn;
        }
        let continues = state.group.runs.last().is_some_and(|run| Arc::ptr_eq(&run.file, file));
        if !continues {
            let run = Run { file: Arc::clone(file), offset: state.position, start: state.group.bytes.len() };
            state.group.runs.push(run);
        }
        let durable = match broken(Mutant::FramesVouchTooMuch) {
            true => state.next_lsn - 1,
            false => self.durable.load(Ordering::Acquire),
        };
        let place = Place { lsn: state.next_lsn, durable, salt: salt as u32 };
        state.last_crc = put_frame(&mut state.group.bytes, place, kind, payload, crc);
        state.position += frame_space(payload.len()) as u64;
        state.next_lsn += 1;
        if kind != Kind::Watermark {
            state.newest = place.lsn;
        }
        state.noted = place.durable;
        state.stats.bytes += frame_space(payload.len()) as u64;
        place.lsn
    }

    /// Ends the current segment and begins the next prepared one.
    fn roll(&self, state: &mut State) {
        let next = state.ready.pop_front().expect("a segment is prepared before one is ended");
        let end = Next { number: next.number, salt: next.salt, size: next.capacity }.encode();
        self.put(state, Kind::End, &end, crc32c(0, &end));
        let ended = state.current.take().expect("only an open segment is ended");
        let previous = Link { segment: ended.number, lsn: state.next_lsn - 1, crc: state.last_crc };
        state.past.push_back(ended);
        let header = self.header(&next, previous);
        let run = Run { file: Arc::clone(&next.file), offset: 0, start: state.group.bytes.len() };
        state.group.runs.push(run);
        state.group.bytes.extend_from_slice(&header.encode());
        state.position = BLOCK_SIZE;
        state.current = Some(next);
        self.ring();
    }

    fn header(&self, segment: &Segment, previous: Link) -> SegmentHeader {
        let (number, salt, size) = (segment.number, segment.salt, segment.capacity);
        let durable = self.durable.load(Ordering::Acquire);
        SegmentHeader { uuid: self.uuid, number, salt, previous, durable, size }
    }

    /// Prepares until `count` segments are ready, each with room for `space` and for all sums.
    fn supply_segments(&self, space: u64, count: usize) -> Result<()> {
        let mut supply = self.supply.lock();
        if self.state.lock().current.is_none() {
            let first = self.prepare(&mut supply, space)?;
            self.begin(first)?;
        }
        let mut fresh = VecDeque::new();
        loop {
            let wanted = {
                let mut state = self.state.lock();
                let wanted = space + state.sums_space;
                let fit = |ready: &VecDeque<Segment>| ready.iter().take(count).all(|next| next.usable() >= wanted);
                if fit(&state.ready) {
                    state.ready.append(&mut fresh);
                } else if fresh.len() >= count {
                    // Those that are too small for what is to come stayed until now, since a checkpoint under way may
                    // need them. They are used again later, under other numbers.
                    std::mem::swap(&mut state.ready, &mut fresh);
                    supply.set_aside(&mut fresh);
                }
                if state.ready.len() >= count && fit(&state.ready) {
                    return Ok(());
                }
                wanted
            };
            match self.prepare(&mut supply, wanted) {
                Ok(segment) => fresh.push_back(segment),
                Err(error) => {
                    supply.set_aside(&mut fresh);
                    return Err(error);
                }
            }
        }
    }

    /// Opens the wal for the first frame since opening: what was closed cleanly is so no longer.
    fn begin(&self, first: Segment) -> Result<()> {
        let link = self.state.lock().link;
        let name = segment_name(first.number);
        let header = self.header(&first, link).encode();
        write_all_at(&*first.file, &header, 0).map_err(|error| self.broken("write", &name, &error))?;
        if !broken(Mutant::FirstSegmentNotSynced) {
            retry(|| first.file.sync()).map_err(|error| self.broken("sync", &name, &error))?;
        }
        if !broken(Mutant::CleanMarkNotWithdrawn) {
            (self.awaken)(first.number, first.salt).map_err(|error| self.broken("write", "MANIFEST", &error))?;
        }
        let mut state = self.state.lock();
        state.position = BLOCK_SIZE;
        state.current = Some(first);
        Ok(())
    }

    /// A segment with room for at least `wanted` bytes of frames: a spare file if one is large enough, or a new
    /// one. Where each commit waits for a sync it is zero-written, so that the sync has no metadata to journal; where
    /// none does, having the room is enough, and writing it twice would keep writers waiting.
    fn prepare(&self, supply: &mut Supply, wanted: u64) -> Result<Segment> {
        let overhead = BLOCK_SIZE + END_SPACE;
        // A long wal is better in large pieces, and a short one takes no more room than it needs.
        let (smallest, largest) = (self.options.segment_size_min, self.options.segment_size_max);
        let fitting = (self.live_bytes() / 4).next_power_of_two().clamp(smallest, largest.max(smallest));
        // A quarter more than is wanted now, so that the next to want a little more need no larger one.
        let size = fitting.max((wanted + wanted / 4 + overhead).next_multiple_of(BLOCK_SIZE));
        let number = supply.next_number;
        supply.next_number += 1;
        let name = segment_name(number);
        let (file, capacity) = match self.reuse_segment(supply, &name, size)? {
            Some(reused) => reused,
            None => match self.make_segment(&name, size) {
                // Where there is no room for a larger file, one that is just large enough does.
                Err(Error::Full(why)) => {
                    self.reuse_segment(supply, &name, wanted + overhead)?.ok_or(Error::Full(why))?
                }
                made => made?,
            },
        };
        if !broken(Mutant::SegmentNameNotSynced) {
            self.sync_names()?;
        }
        let mut salt = [0; 8];
        if !broken(Mutant::SaltNeverChanges) {
            self.disk.entropy(&mut salt);
        }
        Ok(Segment { number, salt: u64::from_le_bytes(salt), capacity, file })
    }

    fn sync_names(&self) -> Result<()> {
        retry(|| self.disk.sync_folder("wal")).map_err(|error| self.broken("sync the folder", "wal", &error))
    }

    /// Gives a spare file of at least `size` bytes its new name, if there is one.
    fn reuse_segment(&self, supply: &mut Supply, name: &str, size: u64) -> Result<Option<(Arc<dyn DiskFile>, u64)>> {
        let Some(index) = supply.spares.iter().position(|(_, capacity)| *capacity >= size) else { return Ok(None) };
        let (old, capacity) = supply.spares.swap_remove(index);
        let old = segment_name(old);
        // After an error nobody knows what the file is called; whatever that is, it was never begun, and the next
        // opening removes it.
        self.disk.rename(&old, name).map_err(|error| Error::allocation("rename", &old, &error))?;
        let file = self.disk.open(name, Open::Write).map_err(|error| Error::io("open", name, &error))?;
        Ok(Some((file, capacity)))
    }

    fn make_segment(&self, name: &str, size: u64) -> Result<(Arc<dyn DiskFile>, u64)> {
        let filled = if self.options.durability == Durability::Sync { size } else { 0 };
        let zeros = memory::zeros(filled.min(1 << 20) as usize, "a new segment of the wal")?;
        let file = self.disk.open(name, Open::Create).map_err(|error| Error::allocation("make", name, &error))?;
        let allocated = retry(|| file.allocate(0, size));
        let allocated = allocated.map_err(|error| Error::allocation("make room for the wal in", name, &error));
        let fill = || write_zeros(&*file, &zeros, filled).map_err(|error| self.unwritten(name, &error));
        if let Err(error) = allocated.and_then(|()| fill()) {
            drop(file);
            let _ = self.disk.remove(name);
            return Err(error);
        }
        retry(|| file.sync()).map_err(|error| self.broken("sync", name, &error))?;
        Ok((file, size))
    }

    fn reserve_buffer(&self, space: u64) -> Result<()> {
        self.state.lock().reserve(space)
    }

    /// Promise 7: a failed write or sync ends all writing.
    pub fn broken(&self, act: &str, name: &str, error: &std::io::Error) -> Error {
        self.fail(format!("it could not {act} {name}: {error}").into());
        self.poisoned()
    }

    /// Promise 7, for the write that is to take the room which nobody has reserved: there a full disk is `Full`.
    pub fn unwritten(&self, name: &str, error: &std::io::Error) -> Error {
        if is_full(error) { Error::allocation("write", name, error) } else { self.broken("write", name, error) }
    }
}

/// Ends all writing when a panic passes through what must be done wholly.
pub struct PoisonOnPanic<'a> {
    wal: &'a Wal,
    /// Called by a destructor of a thread that panics already: then that is not about us.
    panicking: bool,
}

impl PoisonOnPanic<'_> {
    /// From here on.
    pub fn new(wal: &Wal) -> PoisonOnPanic<'_> {
        PoisonOnPanic { wal, panicking: std::thread::panicking() }
    }
}

impl Drop for PoisonOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.panicking {
            self.wal.fail("a defect of the library stopped a change halfway".into());
        }
    }
}

impl State {
    fn asleep(link: Link) -> State {
        State {
            next_lsn: link.lsn + 1,
            last_crc: link.crc,
            current: None,
            position: 0,
            ready: VecDeque::new(),
            past: VecDeque::new(),
            link,
            group: Group::default(),
            spare: Vec::new(),
            leading: false,
            unsynced: Vec::new(),
            sums_space: LIST_SPACE,
            newest: link.lsn,
            noted: link.lsn,
            stats: WalStats::default(),
        }
    }

    fn unsynced_files(&self) -> Vec<Arc<dyn DiskFile>> {
        let skipped = if broken(Mutant::OnlyNewestSegmentSynced) { self.unsynced.len().saturating_sub(1) } else { 0 };
        self.unsynced.iter().skip(skipped).map(|(file, _)| Arc::clone(file)).collect()
    }

    /// Memory for a frame, and for what ends a segment and begins the next.
    fn reserve(&mut self, space: u64) -> Result<()> {
        let size = space as usize + 2 * BLOCK_SIZE as usize;
        memory::reserve(&mut self.group.bytes, size, "frames of the wal that wait to be written")
    }

    /// Room for frames in the current segment.
    fn remaining(&self) -> u64 {
        self.current.as_ref().map_or(0, |segment| segment.capacity.saturating_sub(self.position + END_SPACE))
    }

    /// Rule 5: true if a frame fits so that the sums of all dirty pages still do, in the open segment or in the one
    /// behind it, and also in the one that the next checkpoint begins.
    fn admits(&self, space: u64, sums: u64) -> bool {
        let sums = sums + self.sums_space;
        let has_room = |ahead: usize, size: u64| self.ready.get(ahead).is_some_and(|next| size <= next.usable());
        // A checkpoint that has just taken the last one that was ready gives back those before it.
        let comes_back = || self.ready.is_empty() && self.past.iter().any(|past| sums <= past.usable());
        let fits_here = space + sums <= self.remaining() && (has_room(0, sums) || comes_back());
        let fits_behind = has_room(0, space + sums) && (has_room(1, sums) || broken(Mutant::LastSegmentTaken));
        self.current.is_some() && (fits_here || fits_behind)
    }
}

impl Group {
    fn covers(&self, lsn: u64) -> bool {
        !self.bytes.is_empty() && lsn >= self.first_lsn
    }

    fn write(&self) -> std::io::Result<()> {
        for (index, run) in self.runs.iter().enumerate() {
            let end = self.runs.get(index + 1).map_or(self.bytes.len(), |next| next.start);
            write_all_past_cache_at(&*run.file, &self.bytes[run.start..end], run.offset)?;
        }
        Ok(())
    }
}

fn group_bit(number: u32) -> u32 {
    1 << (number % 32)
}

fn write_zeros(file: &dyn DiskFile, zeros: &[u8], size: u64) -> std::io::Result<()> {
    let mut at = 0;
    while at < size {
        let count = (size - at).min(zeros.len() as u64);
        write_all_at(file, &zeros[..count as usize], at)?;
        at += count;
    }
    Ok(())
}
