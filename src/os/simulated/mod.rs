//! A disk in memory that can fail any call and crash at any event.
//!
//! Every change is an event on record. From the recording come *crash points* (the moment before each event), and
//! from a crash point *crash states*: new disks that hold what a power cut there may have left (`crash.rs`). All
//! follows from a seed and the calls made, so that a finding is repeated by its seed, event and choice.
//!
//! What a crash may do, all of which the promises of [`Disk`] allow:
//!
//! 1. Of the writes to a file since its last successful sync, any set of 512-byte sectors survives, in any order,
//!    and any of these may be torn at any byte.
//! 2. A change of size survives or not, whatever becomes of its data: a file may be longer than what was written.
//! 3. Space that was allocated and not written holds garbage, synced or not. So does what a file gained in
//!    length without a sync, where the data did not survive.
//! 4. Of the changes to the names in a folder since its last sync, any set survives. A rename within a folder is one
//!    change, between two folders it is a change in each. A file that no surviving name leads to is gone, synced or
//!    not.
//!
//! What calls may do, by [`SimulatedDisk::fail`]: fail with EIO, ENOSPC or EINTR and change nothing; write only
//! half; or, for a sync, fail and drop the changes, so that reads still see them, the device never gets them, and
//! the next sync succeeds.
//!
//! What is not modelled: damage to bytes that no write touched, sectors that read as errors later, writes that go
//! to the wrong place, a sync that succeeds without effect, maps ([`DiskFile::map`] has none), time, the removal
//! of folders, the renaming of folders, and the space that a disk has (ENOSPC comes only when it is asked for).
//! A failed folder sync drops nothing. A hole punched and an allocation survive as a whole, but for tears of the
//! former. Files should stay below some hundred megabytes, since there is a pointer for each 4 KiB.

mod content;
mod crash;
#[cfg(test)]
mod tests;
mod world;

use super::sync::{Mutex, MutexGuard};
use super::{Disk, DiskFile, DiskLock, Map, Open};
pub use content::Garbage;
pub use crash::{AllChoices, Choice, CrashPoint, Recording, Tear, Walk};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use world::{Entry, Event, FileChange, InodeId, World, split};

/// A [`Disk`] in memory, with a past.
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

/// One thing that shall go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The number of the call, counted from 0 over all calls that can fail.
    pub at: u64,
    /// What happens to it. A kind that does not fit the call leaves it alone.
    pub kind: FailKind,
    /// Also what happens to all fitting calls after it. (EINTR then strikes every second one: else whoever
    /// retries, as is right, would never end.)
    pub from_then_on: bool,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailKind {
    /// EIO; nothing is done. Fits every call. After a sync the changes are still waiting for the next one.
    InputOutput,
    /// ENOSPC; nothing is done. Fits what changes or syncs a file or folder.
    NoSpace,
    /// EINTR; nothing is done. Fits every call.
    Interrupted,
    /// Half of the bytes are written. Fits a write of two bytes or more.
    ShortWrite,
    /// EIO, and the changes are dropped: still to be seen, never on the device, and the next sync reports
    /// success. Fits the sync of a file.
    LostSync,
}

/// What a call is, as far as failing it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Look,
    Change,
    Write,
    Sync,
    SyncFolder,
}

struct State {
    /// The world before the first event.
    initial: World,
    world: World,
    events: Vec<Event>,
    seed: u64,
    entropy: Rng,
    kills: u64,
    calls: u64,
    failed_calls: u64,
    failures: Vec<Failure>,
    holders: BTreeMap<InodeId, u32>,
    exclusive: bool,
    shared: u32,
}

impl SimulatedDisk {
    /// An empty disk. The seed decides its entropy, and what lies in space that was never written.
    pub fn new(seed: u64) -> Arc<SimulatedDisk> {
        SimulatedDisk::with_world(World::new(), seed)
    }

    fn with_world(world: World, seed: u64) -> Arc<SimulatedDisk> {
        let state = State {
            initial: world.clone(),
            world,
            events: Vec::new(),
            seed,
            entropy: Rng::new(mix(seed)),
            kills: 0,
            calls: 0,
            failed_calls: 0,
            failures: Vec::new(),
            holders: BTreeMap::new(),
            exclusive: false,
            shared: 0,
        };
        Arc::new(SimulatedDisk { state: Arc::new(Mutex::new(state)) })
    }

    /// Plans a failure. Where several fit a call, the first planned strikes.
    pub fn fail(&self, failure: Failure) {
        self.state.lock().failures.push(failure);
    }

    /// Forgets all planned failures.
    pub fn clear_failures(&self) {
        self.state.lock().failures.clear();
    }

    /// How many calls were made that can fail.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// How many calls a planned failure struck. 0 tells that a plan fitted no call.
    pub fn failed_calls(&self) -> u64 {
        self.state.lock().failed_calls
    }

    /// How many events are on record.
    pub fn events(&self) -> usize {
        self.state.lock().events.len()
    }

    /// What a new process finds after this one was killed, on a machine that runs on: all that could be read
    /// before, changes still waiting for their sync, what a failed sync dropped still only to be seen, no locks.
    /// This disk stays as it is.
    pub fn kill(&self) -> Arc<SimulatedDisk> {
        let mut state = self.state.lock();
        state.kills += 1;
        let seed = mix(state.seed ^ mix(state.events.len() as u64) ^ mix(!state.kills));
        let mut world = state.world.clone();
        world.prune(|_| false);
        SimulatedDisk::with_world(world, seed)
    }

    /// All that happened on this disk so far, to be crashed at any point of it.
    pub fn recording(&self) -> Recording {
        let state = self.state.lock();
        Recording::new(state.initial.clone(), state.events.as_slice().into(), state.seed)
    }

    /// A hash of all names and bytes, as seen and as durable. Equal disks have equal ones.
    pub fn fingerprint(&self) -> u64 {
        self.state.lock().world.hash()
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, name: &str, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let may_make = matches!(how, Open::Create | Open::New);
        state.call(if may_make { Call::Change } else { Call::Look })?;
        let inode = match state.find(name)? {
            Some(_) if how == Open::New => return Err(error(libc::EEXIST)),
            Some(Entry::Folder) => return Err(error(libc::EISDIR)),
            Some(Entry::File(inode)) => {
                if how == Open::Create && state.world.inodes[&inode].cache.size > 0 {
                    state.record(Event::Change { inode, change: FileChange::SetSize { size: 0 } });
                }
                inode
            }
            None if may_make => {
                let inode = state.world.next_inode();
                state.record(Event::Create { path: name.into(), inode });
                inode
            }
            None => return Err(error(libc::ENOENT)),
        };
        *state.holders.entry(inode).or_default() += 1;
        Ok(Arc::new(SimulatedFile { state: self.state.clone(), inode, writable: how != Open::Read }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(Call::Change)?;
        match (state.find(from)?, state.find(to)?) {
            (None, _) => Err(error(libc::ENOENT)),
            (Some(Entry::Folder), _) | (_, Some(Entry::Folder)) => Err(error(libc::EISDIR)),
            _ => {
                state.record(Event::Rename { from: from.into(), to: to.into() });
                Ok(())
            }
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(Call::Change)?;
        match state.find(name)? {
            None => Err(error(libc::ENOENT)),
            Some(Entry::Folder) => Err(error(libc::EISDIR)),
            Some(Entry::File(_)) => {
                state.record(Event::Remove { path: name.into() });
                Ok(())
            }
        }
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(Call::Change)?;
        if state.find(name)?.is_some() {
            return Err(error(libc::EEXIST));
        }
        state.record(Event::MakeFolder { path: name.into() });
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.call(Call::Look)?;
        let folder = state.world.folders.get(folder).ok_or_else(|| error(libc::ENOENT))?;
        Ok(folder.cache.keys().map(|name| name.to_string()).collect())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.call(Call::SyncFolder)?;
        let pending = &state.world.folders.get(folder).ok_or_else(|| error(libc::ENOENT))?.pending;
        let settles = !pending.is_empty();
        state.record(Event::SyncFolder { path: folder.into() });
        if settles {
            let State { world, holders, .. } = &mut *state;
            world.prune(|id| holders.contains_key(&id));
        }
        Ok(())
    }

    fn lock(&self, exclusive: bool) -> io::Result<Result<Box<dyn DiskLock>, Option<u32>>> {
        let mut state = self.state.lock();
        state.call(Call::Look)?;
        if state.find("LOCK")?.is_none() {
            return Err(error(libc::ENOENT));
        }
        if state.exclusive {
            return Ok(Err(Some(1))); // There is one process in this world.
        }
        if exclusive && state.shared > 0 {
            return Ok(Err(None));
        }
        match exclusive {
            true => state.exclusive = true,
            false => state.shared += 1,
        }
        state.record(Event::Lock { exclusive });
        Ok(Ok(Box::new(SimulatedLock { state: self.state.clone(), exclusive })))
    }

    fn entropy(&self, bytes: &mut [u8]) {
        let mut state = self.state.lock();
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&state.entropy.next().to_le_bytes()[..part.len()]);
        }
    }

    fn describe(&self) -> String {
        format!("simulated disk {:016x}", self.state.lock().seed)
    }
}

impl State {
    /// Counts a call and lets it fail, if that is planned. A kind that the call itself must act on is returned.
    fn call(&mut self, call: Call) -> io::Result<Option<FailKind>> {
        let number = self.calls;
        self.calls += 1;
        let Some(failure) = self.failures.iter().find(|failure| failure.strikes(number, call)) else {
            return Ok(None);
        };
        self.failed_calls += 1;
        match failure.kind {
            FailKind::InputOutput => Err(error(libc::EIO)),
            FailKind::NoSpace => Err(error(libc::ENOSPC)),
            FailKind::Interrupted => Err(error(libc::EINTR)),
            kind @ (FailKind::ShortWrite | FailKind::LostSync) => Ok(Some(kind)),
        }
    }

    fn record(&mut self, event: Event) {
        self.world.apply(&event);
        self.events.push(event);
    }

    /// What a name leads to; an error if its folder is not there or a part of it is no name.
    fn find(&self, name: &str) -> io::Result<Option<Entry>> {
        if name.split('/').any(|part| matches!(part, "" | "." | "..") || part.contains('\0')) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        match self.world.folders.contains_key(split(name).0) {
            true => Ok(self.world.find(name)),
            false => Err(error(libc::ENOENT)),
        }
    }
}

impl Failure {
    fn strikes(&self, number: u64, call: Call) -> bool {
        let fits = match self.kind {
            FailKind::InputOutput | FailKind::Interrupted => true,
            FailKind::NoSpace => call != Call::Look,
            FailKind::ShortWrite => call == Call::Write,
            FailKind::LostSync => call == Call::Sync,
        };
        let due = match (self.from_then_on, self.kind) {
            (false, _) => number == self.at,
            (true, FailKind::Interrupted) => number >= self.at && (number - self.at).is_multiple_of(2),
            (true, _) => number >= self.at,
        };
        fits && due
    }
}

/// An open file. Two openings of one name share the file; a removed one lives until it is closed.
struct SimulatedFile {
    state: Arc<Mutex<State>>,
    inode: InodeId,
    writable: bool,
}

impl SimulatedFile {
    /// The state, once the call was counted and found to be allowed.
    fn call(&self, call: Call) -> io::Result<(MutexGuard<'_, State>, Option<FailKind>)> {
        let mut state = self.state.lock();
        let failure = state.call(call)?;
        if !self.writable && matches!(call, Call::Change | Call::Write) {
            return Err(error(libc::EBADF));
        }
        Ok((state, failure))
    }

    fn change(&self, state: &mut State, change: FileChange) {
        state.record(Event::Change { inode: self.inode, change });
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let (state, _) = self.call(Call::Look)?;
        Ok(state.world.inodes[&self.inode].cache.read(bytes, offset))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        // A single byte has no half, and a write of nothing would look like a full device.
        let (mut state, failure) = self.call(if bytes.len() < 2 { Call::Change } else { Call::Write })?;
        check_end(offset, bytes.len() as u64)?;
        let count = if failure == Some(FailKind::ShortWrite) { bytes.len() / 2 } else { bytes.len() };
        if count > 0 {
            self.change(&mut state, FileChange::Write { offset, bytes: bytes[..count].into() });
        }
        Ok(count)
    }

    fn allocate(&self, offset: u64, size: u64) -> io::Result<()> {
        let (mut state, _) = self.call(Call::Change)?;
        check_end(offset, size)?;
        if size > 0 {
            self.change(&mut state, FileChange::Allocate { offset, size });
        }
        Ok(())
    }

    fn punch(&self, offset: u64, size: u64) -> io::Result<()> {
        let (mut state, _) = self.call(Call::Change)?;
        check_end(offset, size)?;
        if size > 0 {
            self.change(&mut state, FileChange::Punch { offset, size });
        }
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let (mut state, _) = self.call(Call::Change)?;
        check_end(size, 0)?;
        self.change(&mut state, FileChange::SetSize { size });
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        let (state, _) = self.call(Call::Look)?;
        Ok(state.world.inodes[&self.inode].cache.size)
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, failure) = self.call(Call::Sync)?;
        if failure == Some(FailKind::LostSync) {
            state.record(Event::LoseSync { inode: self.inode });
            return Err(error(libc::EIO));
        }
        state.record(Event::Sync { inode: self.inode });
        Ok(())
    }

    fn map(&self, _size: u64) -> io::Result<Option<Map>> {
        self.call(Call::Look).map(|_| None)
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let count = state.holders.get_mut(&self.inode).expect("an open file is counted");
        *count -= 1;
        // A file without a name is forgotten at the next sync of a folder, and not here, where it would cost more.
        if *count == 0 {
            state.holders.remove(&self.inode);
        }
    }
}

struct SimulatedLock {
    state: Arc<Mutex<State>>,
    exclusive: bool,
}

impl DiskLock for SimulatedLock {}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        match self.exclusive {
            true => state.exclusive = false,
            false => state.shared -= 1,
        }
    }
}

/// A small generator of pseudo-random numbers (splitmix64), for this disk and for tests.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator; equal seeds give equal numbers.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "these numbers never end, so they are no iterator")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// True `times` out of `of`.
    pub fn chance(&mut self, times: u64, of: u64) -> bool {
        self.below(of) < times
    }
}

/// Spreads a number over all bits.
fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Sizes end where the real system's do.
fn check_end(offset: u64, size: u64) -> io::Result<()> {
    match offset.checked_add(size) {
        Some(end) if end <= i64::MAX as u64 => Ok(()),
        _ => Err(error(libc::EFBIG)),
    }
}

fn error(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}
