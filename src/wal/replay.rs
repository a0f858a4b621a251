//! Reading the wal after a crash.
//!
//! What always holds here:
//!
//! 1. Frames are given in LSN order without a hole, from the one after the checkpoint on.
//! 2. A frame that fails ends the wal only if nothing later says that it had been synced; otherwise it is damage.
//!    A crash tears only what was written since the last sync, and that nobody was promised.
//! 3. A read that fails is an error, never the end of the wal. Nor is a segment that is missing or cut short.

use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::memory;
use crate::mutant::{Mutant, broken, heard_unless};
use crate::os::{Disk, Open, read_exact_at, retry, write_all_at};

use super::frame::{FRAME_HEADER_SIZE, Frame, Kind, may_start, may_vouch_for, peek_frame, take_frame};
use super::segment::{Link, Next, SegmentHeader, segment_name};

/// A segment larger than this was not written by us.
pub(super) const SEGMENT_SIZE_LIMIT: u64 = 2 << 30;

/// A segment with a number as large as this was not made by us.
const SEGMENT_NUMBER_LIMIT: u64 = 1 << 62;

/// Where the manifest says that the wal goes on.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The first segment.
    pub segment: u64,
    /// Its salt.
    pub salt: u64,
    /// The LSN that the data files hold; the first frame has the next.
    pub checkpoint: u64,
}

/// Where the wal ends.
#[derive(Clone, Debug)]
pub struct Tail {
    /// The last frame that counts.
    pub link: Link,
    /// The highest LSN that the frames themselves prove to have been synced.
    pub durable: u64,
    /// The segments that were read, with the bytes that count in each and their last LSN.
    pub segments: Vec<(u64, u64, u64)>,
}

/// The numbers of all files in the wal's folder, ascending.
pub fn segment_numbers(disk: &dyn Disk) -> Result<Vec<u64>> {
    let names = disk.list("wal").map_err(|error| Error::io("list", "wal", &error))?;
    // Names that we do not write (`007`, `+7`, and numbers that one could not count on from) are not ours.
    let number_of = |name: &String| {
        name.parse().ok().filter(|number: &u64| *number < SEGMENT_NUMBER_LIMIT && number.to_string() == *name)
    };
    let mut numbers = memory::collect(names.len(), names.iter().filter_map(number_of), "the names in wal")?;
    numbers.sort_unstable();
    Ok(numbers)
}

/// Gives every frame that counts to `each`, in order, and says where the wal ends.
pub fn replay(
    disk: &dyn Disk,
    uuid: &[u8; 16],
    start: Start,
    each: &mut dyn FnMut(&Frame<'_>) -> Result<()>,
) -> Result<Tail> {
    let folder = Folder::read(disk, uuid)?;
    let Some(first) = folder.headers.iter().find(|header| header.number == start.segment) else {
        if broken(Mutant::MissingWalIsEmpty) {
            let link = Link { segment: start.segment, lsn: start.checkpoint, crc: 0 };
            return Ok(Tail { link, durable: start.checkpoint, segments: Vec::new() });
        }
        let what = "the manifest names it as the start of the wal, and it is missing or unreadable";
        return Err(Error::corrupt(&segment_name(start.segment), what));
    };
    if first.salt != start.salt || first.previous.lsn != start.checkpoint {
        let what = "it is not the segment that the manifest names as the start of the wal";
        return Err(Error::corrupt(&segment_name(start.segment), what));
    }
    let mut header = *first;
    let mut tail = Tail {
        link: Link { segment: header.number, ..header.previous },
        durable: header.durable.max(start.checkpoint),
        segments: Vec::new(),
    };
    let mut room = Vec::new();
    loop {
        let bytes = folder.load(disk, header.number, &mut room)?;
        let (end, next) = walk(bytes, &header, &mut tail, each)?;
        // A clean close cuts what lies behind the last frame; damage may cut the frames.
        if next.is_none() && may_go_on(&bytes[end..], header.salt) && !broken(Mutant::CutSegmentTaken) {
            refuse_if_cut(bytes, header.number, header.size)?;
        }
        memory::reserve(&mut tail.segments, 1, "the segments of the wal")?;
        tail.segments.push((header.number, end as u64, tail.link.lsn));
        match folder.successor(&tail.link) {
            Some(next) => {
                header = *next;
                tail.durable = tail.durable.max(header.durable);
                tail.link.segment = header.number;
            }
            None => {
                let missing = tail.link.lsn + 1;
                if let Some(next) = next.filter(|_| !broken(Mutant::MissingSegmentEndsWal)) {
                    folder.refuse_if_begun(disk, next, missing)?;
                }
                let rest = if next.is_some() { bytes.len() } else { end };
                folder.refuse_if_vouched_for(disk, &bytes[rest..], &header, missing)?;
                return Ok(tail);
            }
        }
    }
}

/// Writes the frames that may be in the system's cache only, byte for byte as they were read, and syncs them: after
/// a failed sync the cache shows what the disk does not have, and what is built on them must not outlive them.
pub fn rewrite_unproven(disk: &dyn Disk, tail: &Tail) -> Result<()> {
    if broken(Mutant::WalNotWrittenAgain) {
        return Ok(());
    }
    // A segment without a frame has nothing that could prove its header, and what continues it needs the header.
    let is_unproven = |&&(_, end, last): &&(u64, u64, u64)| last > tail.durable || end <= BLOCK_SIZE;
    for &(number, end, _) in tail.segments.iter().filter(is_unproven) {
        let name = segment_name(number);
        let file = disk.open(&name, Open::Write).map_err(|error| Error::io("open", &name, &error))?;
        let mut bytes = buffer(end)?;
        read_exact_at(&*file, &mut bytes, 0).map_err(|error| Error::io("read", &name, &error))?;
        write_all_at(&*file, &bytes, 0).map_err(|error| Error::io("write", &name, &error))?;
        if !broken(Mutant::WalWrittenAgainNotSynced) {
            retry(|| file.sync()).map_err(|error| Error::io("sync", &name, &error))?;
        }
    }
    Ok(())
}

/// True if a segment after the first holds a frame: then a newer manifest than the one in hand was once synced.
/// A segment without its header is the first one's successor if its first frame is.
pub fn goes_on_after(disk: &dyn Disk, uuid: &[u8; 16], start: Start) -> Result<bool> {
    let folder = Folder::read(disk, uuid)?;
    let mut room = Vec::new();
    for header in folder.headers.iter().filter(|header| header.number > start.segment) {
        if holds_a_frame(folder.load(disk, header.number, &mut room)?, header.salt) {
            return Ok(true);
        }
    }
    let begun = |headless: &&Headless| headless.has_begun && headless.number > start.segment;
    for Headless { number, .. } in folder.headless.iter().filter(begun) {
        let bytes = folder.load(disk, *number, &mut room)?;
        let first = bytes.get(BLOCK_SIZE as usize..).and_then(take_frame);
        if first.is_some_and(|(frame, _)| frame.lsn == start.checkpoint + 1) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives the frames of one segment; returns where they end, and the next segment if a frame names it.
fn walk(
    bytes: &[u8],
    header: &SegmentHeader,
    tail: &mut Tail,
    each: &mut dyn FnMut(&Frame<'_>) -> Result<()>,
) -> Result<(usize, Option<Next>)> {
    let malformed = |what: String| Err(Error::corrupt(&segment_name(header.number), what));
    let mut at = BLOCK_SIZE as usize;
    while let Some((frame, space)) = bytes.get(at..).and_then(take_frame) {
        let is_ours = frame.salt == header.salt as u32 || broken(Mutant::FrameSaltNotCompared);
        let is_next = frame.lsn == tail.link.lsn + 1 || broken(Mutant::FrameOrderNotCompared);
        if !is_ours || !is_next {
            break;
        }
        at += space;
        tail.link.lsn = frame.lsn;
        tail.link.crc = frame.crc;
        tail.durable = tail.durable.max(frame.durable);
        match frame.kind {
            Some(Kind::End) => match Next::decode(frame.payload) {
                Some(next) => return Ok((at, Some(next))),
                None => return malformed(format!("frame {} ends it and names no next segment", frame.lsn)),
            },
            Some(_) => each(&frame)?,
            None => return malformed(format!("frame {} is of a kind that this version does not know", frame.lsn)),
        }
    }
    Ok((at, None))
}

/// The segments of one database: their headers, by number.
struct Folder {
    headers: Vec<SegmentHeader>,
    /// Those without a valid header: prepared and never begun, or damaged.
    headless: Vec<Headless>,
}

struct Headless {
    number: u64,
    /// Something is where its first frame would be.
    has_begun: bool,
}

impl Folder {
    /// Reads the header of every segment.
    fn read(disk: &dyn Disk, uuid: &[u8; 16]) -> Result<Folder> {
        let (mut headers, mut headless) = (Vec::new(), Vec::new());
        let numbers = segment_numbers(disk)?;
        memory::reserve(&mut headers, numbers.len(), "the headers of the wal")?;
        memory::reserve(&mut headless, numbers.len(), "the headers of the wal")?;
        for number in numbers {
            let name = segment_name(number);
            let file = disk.open(&name, Open::Read).map_err(|error| Error::io("open", &name, &error))?;
            let mut start = [0; BLOCK_SIZE as usize + FRAME_HEADER_SIZE];
            match read_exact_at(&*file, &mut start, 0) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(Error::io("read", &name, &error)),
            }
            let (block, frame) = start.split_at(BLOCK_SIZE as usize);
            match SegmentHeader::decode(block) {
                Some(header) if header.number == number && header.uuid == *uuid => headers.push(header),
                _ => headless.push(Headless { number, has_begun: frame.iter().any(|byte| *byte != 0) }),
            }
        }
        Ok(Folder { headers, headless })
    }

    /// The segment that says it continues `link`.
    fn successor(&self, link: &Link) -> Option<&SegmentHeader> {
        self.headers.iter().find(|header| header.number > link.segment && header.previous == *link)
    }

    /// A segment's file, read into `room`. Memory is found, and zeroed, once for all that are read.
    fn load<'r>(&self, disk: &dyn Disk, number: u64, room: &'r mut Vec<u8>) -> Result<&'r [u8]> {
        let name = segment_name(number);
        let file = disk.open(&name, Open::Read).map_err(|error| Error::io("open", &name, &error))?;
        let size = file.size().map_err(|error| Error::io("ask the size of", &name, &error))?;
        if size > SEGMENT_SIZE_LIMIT {
            return Err(Error::corrupt(&name, format!("{size} bytes are more than a segment can have")));
        }
        let size = size as usize;
        if room.len() < size {
            *room = buffer(size as u64)?;
        }
        let bytes = &mut room[..size];
        let read = heard_unless(Mutant::ReadErrorEndsWal, read_exact_at(&*file, bytes, 0));
        read.map_err(|error| Error::io("read", &name, &error))?;
        Ok(bytes)
    }

    /// Rules 2 and 3, for a segment that was named and that no header makes the next one. A crash may have kept its
    /// first bytes from the disk, but not its file, and not what was synced in it.
    fn refuse_if_begun(&self, disk: &dyn Disk, next: Next, missing: u64) -> Result<()> {
        let name = segment_name(next.number);
        let mut numbers =
            self.headers.iter().map(|header| header.number).chain(self.headless.iter().map(|it| it.number));
        if !numbers.any(|number| number == next.number) {
            return Err(Error::corrupt(&name, "the wal goes on in it, and it is missing"));
        }
        let mut room = Vec::new();
        let bytes = self.load(disk, next.number, &mut room)?;
        refuse_if_cut(bytes, next.number, next.size)?;
        if vouches(bytes, missing, next.salt) {
            let what = format!("its header does not verify, although frame {missing} in it had been synced");
            return Err(Error::corrupt(&name, what));
        }
        Ok(())
    }

    /// Rule 2. `rest` is what follows the last good frame in its segment; frame `missing` should start it.
    fn refuse_if_vouched_for(&self, disk: &dyn Disk, rest: &[u8], header: &SegmentHeader, missing: u64) -> Result<()> {
        if broken(Mutant::DamageTakenForTornTail) {
            return Ok(());
        }
        let damaged = |witness: &str| {
            let what = format!("frame {missing} does not verify, although {witness} says that it had been synced");
            Err(Error::corrupt(&segment_name(header.number), what))
        };
        if vouches(rest, missing, header.salt) {
            return damaged("a later frame");
        }
        let mut room = Vec::new();
        for later in self.headers.iter().filter(|later| later.number > header.number) {
            let name = segment_name(later.number);
            if later.durable >= missing || vouches(self.load(disk, later.number, &mut room)?, missing, later.salt) {
                return damaged(&name);
            }
        }
        // A segment that was begun and lost its header, or its name, continues nothing, but its frames still tell.
        for Headless { number, .. } in self.headless.iter().filter(|headless| headless.has_begun) {
            if begins_with_a_voucher(self.load(disk, *number, &mut room)?, missing) {
                return damaged(&segment_name(*number));
            }
        }
        Ok(())
    }
}

/// Rule 3. A segment's file had its full size, and was synced, before the segment was begun.
fn refuse_if_cut(bytes: &[u8], number: u64, size: u64) -> Result<()> {
    if bytes.len() as u64 >= size {
        return Ok(());
    }
    let what = format!("it has {} bytes, and was begun with {size}", bytes.len());
    Err(Error::corrupt(&segment_name(number), what))
}

/// True if no frame is seen to be missing here: the bytes end, or they start as a frame of the segment does.
pub(super) fn may_go_on(rest: &[u8], salt: u64) -> bool {
    peek_frame(rest).is_none_or(|peek| peek.salt == salt as u32)
}

/// True if a frame of the segment with this salt anywhere in `bytes` says that `lsn` had been synced. What a recycled
/// file still holds has another salt, and so has what looks like a frame in someone's record.
fn vouches(bytes: &[u8], lsn: u64, salt: u64) -> bool {
    any_frame(bytes, |bytes| may_vouch_for(bytes, lsn, salt as u32))
}

/// True if a frame starts anywhere in `bytes` where `may_start` says that one of some size might.
fn any_frame(bytes: &[u8], may_start: impl Fn(&[u8]) -> Option<usize>) -> bool {
    // Frames that were written do not overlap. Where so many claim to start, the bytes were made to be slow.
    let mut budget = 2 * bytes.len();
    (0..bytes.len()).step_by(8).any(|at| match may_start(&bytes[at..]) {
        None => false,
        Some(size) => match budget.checked_sub(size) {
            None => true,
            Some(left) => {
                budget = left;
                take_frame(&bytes[at..]).is_some()
            }
        },
    })
}

/// True if anywhere in `bytes` is a frame of the segment with this salt.
fn holds_a_frame(bytes: &[u8], salt: u64) -> bool {
    any_frame(bytes, |bytes| may_start(bytes, salt as u32).map(|peek| peek.size))
}

/// The same as `vouches`, for a segment whose salt is lost with its header. Only where frames follow each other from
/// the start, all with one salt, are they surely the wal's own: behind them a recycled file holds what it held before,
/// and that may be someone's record. The frames of a recycled file are older than what is missing.
fn begins_with_a_voucher(bytes: &[u8], lsn: u64) -> bool {
    let mut rest = bytes.get(BLOCK_SIZE as usize..).unwrap_or_default();
    let Some(first) = peek_frame(rest) else { return false };
    while peek_frame(rest).is_some_and(|peek| peek.salt == first.salt)
        && let Some((frame, space)) = take_frame(rest)
    {
        if frame.lsn > lsn && (lsn..frame.lsn).contains(&frame.durable) {
            return true;
        }
        rest = &rest[space..];
    }
    false
}

pub(super) fn buffer(size: u64) -> Result<Vec<u8>> {
    let size = usize::try_from(size).map_err(|_| Error::NoMemory("a wal segment is too large".into()))?;
    memory::zeros(size, "a segment of the wal")
}
