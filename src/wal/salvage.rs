//! Reading a damaged wal: every frame that verifies, wherever it lies.
//!
//! What always holds here:
//!
//! 1. Frames are given in the order of their LSNs, each once, and each is whole.
//! 2. A frame counts if it was synced, as a later one or a segment's header proves, or if nothing is missing between it
//!    and what was synced. So what a torn tail leaves behind does not count, just as when a database is opened.
//! 3. What is known to be missing is said. The end of the wal may be missing without a trace.
//!
//! A segment is told by its header, whatever its file is called; without a header of its own, by the frame that names
//! it, or by its own first frame.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::format::BLOCK_SIZE;
use crate::os::{Disk, Open, read_what_can_be_read};

use super::frame::{FRAME_HEADER_SIZE, Frame, Kind, peek_frame, take_frame};
use super::replay::{SEGMENT_SIZE_LIMIT, buffer, may_go_on, segment_numbers};
use super::segment::{Next, SegmentHeader, segment_name};

/// What is left of a wal.
#[derive(Default)]
pub struct WalRemains {
    segments: Vec<Remnant>,
    /// The highest LSN that is proven to have been synced.
    durable: u64,
    /// The LSNs after which segments begin: each was a checkpoint's, or the end of a segment.
    pub begins: Vec<u64>,
    /// The identities of the databases that segments name.
    pub uuids: Vec<[u8; 16]>,
    /// What is missing as far as files go: name and sentence.
    pub lost: Vec<(String, String)>,
}

/// A segment and where its frames lie.
struct Remnant {
    name: String,
    frames: Vec<Place>,
}

impl Remnant {
    /// The LSN of its last frame.
    fn last(&self) -> Option<u64> {
        self.frames.last().map(|place| place.lsn)
    }
}

#[derive(Clone, Copy)]
struct Place {
    lsn: u64,
    at: usize,
}

/// Frames that were synced and are not there: the first and the last LSN.
pub type Gap = (u64, u64);

impl WalRemains {
    /// Looks for frames in all files of the wal. With a `uuid`, other databases' segments are left out.
    pub fn find(disk: &dyn Disk, uuid: Option<&[u8; 16]>) -> WalRemains {
        let mut remains = WalRemains::default();
        let numbers = match segment_numbers(disk) {
            Ok(numbers) => numbers,
            Err(error) => {
                remains.lost.push(("wal".into(), error.message().to_owned()));
                return remains;
            }
        };
        let mut headed = Vec::new();
        let mut headless = Vec::new();
        for number in numbers {
            let name = segment_name(number);
            match load_noting(disk, &name, &mut remains.lost) {
                Err(error) => remains.lost.push((name, error.message().to_owned())),
                Ok(bytes) => match bytes.get(..BLOCK_SIZE as usize).and_then(SegmentHeader::decode) {
                    Some(header) if uuid.is_some_and(|uuid| *uuid != header.uuid) => {}
                    Some(header) => headed.push((name, header)),
                    None => headless.push((name, number)),
                },
            }
        }
        headed.sort_by_key(|(_, header)| header.number);
        let mut named: HashMap<u64, (Next, u64)> = HashMap::new();
        for (index, (name, header)) in headed.iter().enumerate() {
            remains.durable = remains.durable.max(header.durable);
            remains.begins.push(header.previous.lsn);
            remains.uuids.push(header.uuid);
            // What lies behind the frame that a later segment continues was cut off by a recovery.
            let limit = headed[index + 1..].iter().map(|(_, later)| later.previous.lsn).min().unwrap_or(u64::MAX);
            let bytes = match load(disk, name) {
                Ok(bytes) => bytes,
                Err(error) => {
                    remains.lost.push((name.clone(), error.message().to_owned()));
                    continue;
                }
            };
            let scan = Scan::of(&bytes, header.salt, header.previous.lsn, limit);
            if scan.frames.is_empty() && segment_name(header.number) != *name {
                // Another segment's header came to lie here.
                headless
                    .extend(name.strip_prefix("wal/").and_then(|number| Some((name.clone(), number.parse().ok()?))));
            }
            let is_cut = (bytes.len() as u64) < header.size && may_go_on(&bytes[scan.end..], header.salt);
            if scan.next.is_none() && limit == u64::MAX && is_cut {
                let what =
                    format!("it has {} of {} bytes: the newest commits may be missing", bytes.len(), header.size);
                remains.lost.push((name.clone(), what));
            }
            remains.keep(name, scan, &mut named);
        }
        for (name, number) in headless {
            let bytes = match load(disk, &name) {
                Ok(bytes) => bytes,
                Err(error) => {
                    remains.lost.push((name, error.message().to_owned()));
                    continue;
                }
            };
            let first = bytes.get(BLOCK_SIZE as usize..).and_then(take_frame).map(|(frame, _)| frame.salt);
            let Some(salt) = named.get(&number).map(|(next, _)| next.salt as u32).or(first) else { continue };
            let scan = Scan::of(&bytes, u64::from(salt), 0, u64::MAX);
            remains.keep(&name, scan, &mut named);
        }
        // The newest frame says that the wal goes on: then there is a file for that, as large as it says.
        let newest = remains.segments.iter().filter_map(Remnant::last).max().unwrap_or(0);
        let open = named.values().find(|(_, end)| *end == newest && remains.begins.iter().all(|lsn| lsn < end));
        if let Some((next, _)) = open {
            let name = segment_name(next.number);
            let size = load(disk, &name).map_or(0, |bytes| bytes.len() as u64);
            if size < next.size {
                let what = format!("it has {size} of {} bytes: the newest commits may be missing", next.size);
                remains.lost.push((name, what));
            }
        }
        remains.segments.sort_by_key(|segment| segment.frames.first().map_or(u64::MAX, |place| place.lsn));
        remains
    }

    /// Keeps what is left of a segment, and what it says of the next one.
    fn keep(&mut self, name: &str, scan: Scan, named: &mut HashMap<u64, (Next, u64)>) {
        self.durable = self.durable.max(scan.durable);
        let remnant = Remnant { name: name.to_owned(), frames: scan.frames };
        if let (Some(next), Some(end)) = (scan.next, remnant.last()) {
            named.insert(next.number, (next, end));
        }
        self.segments.push(remnant);
    }

    /// True if there is a frame with an LSN above this one.
    pub fn goes_beyond(&self, lsn: u64) -> bool {
        self.segments.iter().any(|segment| segment.last().is_some_and(|last| last > lsn))
    }

    /// Gives the frames after `base` that count, and returns what is missing among them. Where it is not known that
    /// the wal begins at `base`, what is missing before the first frame is not counted.
    pub fn replay(
        &self,
        disk: &dyn Disk,
        base: u64,
        begins_here: bool,
        each: &mut dyn FnMut(&Frame<'_>) -> Result<()>,
    ) -> Result<Vec<Gap>> {
        let mut gaps = Vec::new();
        let mut last = base;
        let mut begun = begins_here;
        'segments: for segment in &self.segments {
            let is_new = |place: &&Place| place.lsn > last;
            let places: Vec<Place> = segment.frames.iter().filter(is_new).copied().collect();
            if places.is_empty() {
                continue;
            }
            let bytes = match load(disk, &segment.name) {
                Ok(bytes) => bytes,
                Err(Error::NoMemory(why)) => return Err(Error::NoMemory(why)),
                // It could be read a moment ago.
                Err(_) => {
                    gaps.push((places[0].lsn, places[places.len() - 1].lsn));
                    (last, begun) = (places[places.len() - 1].lsn, true);
                    continue;
                }
            };
            for place in places {
                if begun && place.lsn - 1 > last {
                    gaps.push((last + 1, self.durable.min(place.lsn - 1)));
                    // Rule 2: a gap behind what was synced is where the wal ends.
                    if place.lsn - 1 > self.durable {
                        break 'segments;
                    }
                }
                let frame = bytes.get(place.at..).and_then(take_frame);
                let Some((frame, _)) = frame.filter(|(frame, _)| frame.lsn == place.lsn) else { continue };
                (last, begun) = (place.lsn, true);
                each(&frame)?;
            }
        }
        if last < self.durable && gaps.last().is_none_or(|(_, to)| *to < self.durable) {
            gaps.push((last + 1, self.durable));
        }
        gaps.retain(|(from, to)| from <= to);
        Ok(gaps)
    }
}

/// The frames of one segment.
struct Scan {
    frames: Vec<Place>,
    durable: u64,
    /// Where the last frame ends.
    end: usize,
    next: Option<Next>,
}

impl Scan {
    fn of(bytes: &[u8], salt: u64, after: u64, limit: u64) -> Scan {
        let mut scan = Scan { frames: Vec::new(), durable: 0, end: (BLOCK_SIZE as usize).min(bytes.len()), next: None };
        let (mut at, mut last) = (scan.end, after);
        // Bytes that only look like frames could make this take for ever.
        let mut patience = bytes.len().saturating_mul(16);
        while let Some(peek) = bytes.get(at..).and_then(peek_frame) {
            let is_likely = peek.salt == salt as u32 && peek.lsn > last && peek.lsn <= limit;
            let is_sized = peek.size >= FRAME_HEADER_SIZE && peek.size <= bytes.len() - at;
            if !is_likely || !is_sized || patience < peek.size {
                at += 8;
                continue;
            }
            let Some((frame, space)) = take_frame(&bytes[at..]) else {
                patience -= peek.size;
                at += 8;
                continue;
            };
            scan.frames.push(Place { lsn: frame.lsn, at });
            scan.durable = scan.durable.max(frame.durable);
            last = frame.lsn;
            at += space;
            scan.end = at;
            if frame.kind == Some(Kind::End) {
                scan.next = Next::decode(frame.payload);
                break;
            }
        }
        scan
    }
}

/// A file of the wal, with zeros where it cannot be read.
fn load(disk: &dyn Disk, name: &str) -> Result<Vec<u8>> {
    load_noting(disk, name, &mut Vec::new())
}

/// The same, and where something could not be read, that is noted.
fn load_noting(disk: &dyn Disk, name: &str, lost: &mut Vec<(String, String)>) -> Result<Vec<u8>> {
    let file = disk.open(name, Open::Read).map_err(|error| Error::io("open", name, &error))?;
    let size = file.size().map_err(|error| Error::io("ask the size of", name, &error))?;
    if size > SEGMENT_SIZE_LIMIT {
        return Err(Error::corrupt(name, format!("{size} bytes are more than a segment can have")));
    }
    let mut bytes = buffer(size)?;
    if !read_what_can_be_read(&*file, &mut bytes, 0) {
        lost.push((name.to_owned(), "some of it cannot be read: commits may be missing".into()));
    }
    Ok(bytes)
}
