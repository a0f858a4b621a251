//! A scan: the records of a table in id order, as of one cut.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory;
use crate::pages::{Racing, ReaderKind};

use super::json::{JsonStyle, decode_json};
use super::layout::Parts;
use super::record::{RecordMut, STATE_LIVE, decode_packed, is_live, unpack};
use super::{Cut, RecordId, RecordsMut, TableFile, TableForm};

/// Which ids a scan covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanRange {
    /// The first id.
    pub from: u64,
    /// The id after the last.
    pub to: u64,
    /// From the highest id down.
    pub reverse: bool,
}

impl Default for ScanRange {
    fn default() -> Self {
        ScanRange { from: 0, to: u64::MAX, reverse: false }
    }
}

/// A scan under way. It sees exactly what was committed when it began, or before the table's cut.
pub struct TableScan {
    table: Arc<TableFile>,
    cut: Cut,
    /// The ids that are left.
    from: u64,
    to: u64,
    reverse: bool,
    /// The page in `bytes`, if any.
    page: Option<u64>,
    bytes: Vec<u8>,
}

impl TableScan {
    /// Begins a scan now.
    pub fn new(table: &Arc<TableFile>, range: ScanRange) -> Result<TableScan> {
        let file = table.file();
        let bytes = memory::zeros(file.page_size, &format!("a scan of table {}", table.name()))?;
        let cut = table.cut(ReaderKind::Scan);
        let end = cut.length / table.slot_size as u64;
        let (from, to) = (range.from.min(end), range.to.min(end));
        let table = Arc::clone(table);
        Ok(TableScan { table, cut, from, to: to.max(from), reverse: range.reverse, page: None, bytes })
    }

    /// How many records were there when the scan began.
    pub fn count_at_start(&self) -> u64 {
        self.cut.tally.max(0) as u64
    }

    /// Goes on behind the page that could not be read, going forwards.
    pub fn skip_page(&mut self) {
        let (page, _) = self.table.place(RecordId(self.from));
        self.from = ((page + 1) << self.table.page_shift).min(self.to);
    }

    /// The table that is scanned.
    pub fn table(&self) -> &Arc<TableFile> {
        &self.table
    }

    /// Copies the next record; `None` at the end.
    pub fn next(&mut self, record: RecordMut<'_>) -> Result<Option<RecordId>> {
        if record.bytes.len() != self.table.layout().record_size {
            return Err(self.table.form().wrong_size(record.bytes.len()));
        }
        self.retracing(|scan| {
            let Some((id, at)) = scan.advance()? else { return Ok(None) };
            let slot = &scan.bytes[at..at + scan.table.slot_size];
            decode_packed(scan.table.layout(), &scan.table.name(), slot, record)?;
            Ok(Some(id))
        })
    }

    /// Copies as many records as `ids` has places; returns how many there were.
    pub fn next_many(&mut self, ids: &mut [RecordId], mut records: RecordsMut<'_>) -> Result<usize> {
        records.check(ids.len(), self.table.form())?;
        self.retracing(|scan| {
            let mut count = 0;
            while count < ids.len() && scan.from < scan.to {
                count += scan.next_in_page(&mut ids[count..], count, &mut records)?;
            }
            Ok(count)
        })
    }

    /// Copies those that the next page has, straight from there; the first of them is number `first` of `records`.
    fn next_in_page(&mut self, ids: &mut [RecordId], first: usize, records: &mut RecordsMut<'_>) -> Result<usize> {
        let next = if self.reverse { self.to - 1 } else { self.from };
        let (page, _) = self.table.place(RecordId(next));
        self.table.file().read_ahead(page, self.reverse);
        let (page_from, page_to) = (page << self.table.page_shift, (page + 1) << self.table.page_shift);
        let (from, to) = (self.from.max(page_from), self.to.min(page_to));
        let table = Arc::clone(&self.table);
        let walk = Walk {
            parts: table.layout().parts(),
            next,
            at: table.place(RecordId(next)).1,
            left: to - from,
            step: if self.reverse { -1 } else { 1 },
            stride: table.slot_size as isize * if self.reverse { -1 } else { 1 },
        };
        let (mut count, mut passed) = (0, 0);
        let mut copy = |page: Racing<'_>| (count, passed) = walk.copy(page, ids, first, records);
        if !self.cut.snapshot.look(table.file(), page, &mut copy).map_err(|error| table.named(error))? {
            self.page = None;
            let read = self.cut.snapshot.read(table.file(), page, 0, &mut self.bytes);
            read.map_err(|error| table.named(error))?;
            self.page = Some(page);
            copy(Racing::of(&self.bytes));
        }
        if self.reverse {
            self.to -= passed;
        } else {
            self.from += passed;
        }
        Ok(count)
    }

    /// The next record as JSON; `None` at the end.
    pub fn next_json(&mut self, style: JsonStyle) -> Result<Option<(RecordId, String)>> {
        self.retracing(|scan| {
            let Some((id, at)) = scan.advance()? else { return Ok(None) };
            let mut json = String::new();
            decode_json(scan.table.schema(), &scan.bytes[at..at + scan.table.slot_size], style, &mut json)?;
            Ok(Some((id, json)))
        })
    }

    /// The next slot, live or not, with its id; `None` at the end.
    pub fn next_slot(&mut self) -> Result<Option<(RecordId, &[u8])>> {
        if self.from == self.to {
            return Ok(None);
        }
        let (id, at) = self.retracing(|scan| {
            let id = scan.step();
            Ok((id, scan.load(id)?))
        })?;
        Ok(Some((RecordId(id), &self.bytes[at..at + self.table.slot_size])))
    }

    /// An error loses no record: the scan stands where it stood before the call.
    fn retracing<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let (from, to) = (self.from, self.to);
        let result = act(self);
        if result.is_err() {
            (self.from, self.to) = (from, to);
        }
        result
    }

    /// Moves to the next record that is there.
    fn advance(&mut self) -> Result<Option<(RecordId, usize)>> {
        while self.from < self.to {
            let id = self.step();
            let at = self.load(id)?;
            if is_live(self.table.layout(), &self.bytes[at..at + self.table.slot_size]) {
                return Ok(Some((RecordId(id), at)));
            }
        }
        Ok(None)
    }

    fn step(&mut self) -> u64 {
        if self.reverse {
            self.to -= 1;
            self.to
        } else {
            self.from += 1;
            self.from - 1
        }
    }

    /// Brings the page of `id` into `bytes`; returns where the slot lies there.
    fn load(&mut self, id: u64) -> Result<usize> {
        let (page, at) = self.table.place(RecordId(id));
        if self.page != Some(page) {
            self.page = None;
            self.table.file().read_ahead(page, self.reverse);
            self.cut
                .snapshot
                .read(self.table.file(), page, 0, &mut self.bytes)
                .map_err(|error| self.table.named(error))?;
            self.page = Some(page);
        }
        Ok(at)
    }
}

/// Slots of one page, one after the other.
#[derive(Clone, Copy)]
struct Walk {
    parts: Parts,
    /// The first id, and where its slot lies in the page.
    next: u64,
    at: usize,
    /// How many slots there are to pass.
    left: u64,
    /// From one id to the next, and from one slot.
    step: i64,
    stride: isize,
}

impl Walk {
    /// Copies the records on the way until the places for ids are used up, the first as number `first` of `records`.
    /// Returns how many there were, and how many slots were passed.
    #[inline(never)]
    fn copy(self, page: Racing<'_>, ids: &mut [RecordId], first: usize, records: &mut RecordsMut<'_>) -> (usize, u64) {
        let Walk { parts, mut next, mut at, left, step, stride } = self;
        let (mut count, mut passed) = (0, 0);
        while count < ids.len() && passed < left {
            if page.byte(at + parts.state_offset) == STATE_LIVE {
                unpack(parts, page, at, records.get_mut(first + count, parts));
                ids[count] = RecordId(next);
                count += 1;
            }
            passed += 1;
            next = next.wrapping_add_signed(step);
            at = at.wrapping_add_signed(stride);
        }
        (count, passed)
    }
}

impl RecordsMut<'_> {
    /// Refuses memory that does not hold `count` records.
    pub(crate) fn check(&self, count: usize, table: &TableForm) -> Result<()> {
        let layout = table.layout();
        check_room("records", &table.name(), count, self.bytes.len(), self.stride, layout.record_size)?;
        match &self.nulls {
            Some(nulls) => {
                check_room("null bitmaps", &table.name(), count, nulls.len(), self.null_stride, layout.nulls_size)
            }
            None => Ok(()),
        }
    }

    /// The place of one of them. After `check`.
    #[inline]
    fn get_mut(&mut self, index: usize, parts: Parts) -> RecordMut<'_> {
        let nulls = self.nulls.as_mut();
        RecordMut {
            bytes: &mut self.bytes[index * self.stride..][..parts.record_size],
            nulls: nulls.map(|nulls| &mut nulls[index * self.null_stride..][..parts.nulls_size]),
        }
    }
}

impl super::Records<'_> {
    /// Refuses memory that does not hold what it should.
    pub(crate) fn check(&self, table: &TableForm) -> Result<()> {
        let layout = table.layout();
        check_room("records", &table.name(), self.count, self.bytes.len(), self.stride, layout.record_size)?;
        match &self.nulls {
            Some(nulls) => {
                check_room("null bitmaps", &table.name(), self.count, nulls.len(), self.null_stride, layout.nulls_size)
            }
            None => Ok(()),
        }
    }

    /// One of the records. After `check`.
    pub(crate) fn get(&self, index: usize, table: &TableForm) -> super::Record<'_> {
        let layout = table.layout();
        super::Record {
            bytes: &self.bytes[index * self.stride..][..layout.record_size],
            nulls: self.nulls.map(|nulls| &nulls[index * self.null_stride..][..layout.nulls_size]),
        }
    }
}

fn check_room(what: &str, table: &str, count: usize, size: usize, stride: usize, item: usize) -> Result<()> {
    if count == 0 {
        return Ok(());
    }
    if stride < item && count > 1 {
        let text = format!("{what} of table {table} have {item} bytes each, more than the stride of {stride}");
        return Err(Error::Invalid(text.into()));
    }
    let needed = (count - 1).checked_mul(stride).and_then(|start| start.checked_add(item));
    if needed.is_none_or(|needed| needed > size) {
        let text = format!("{count} {what} of table {table}, {stride} bytes apart, do not fit into {size} bytes");
        return Err(Error::Invalid(text.into()));
    }
    Ok(())
}
