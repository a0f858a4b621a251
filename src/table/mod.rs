//! Records of fixed width: a layout on one paged file.
//!
//! ```text
//! data/N:  | header, 4 KiB | slot 0 | slot 1 | slot 2 | ...
//! slot:    | record | state | null bits | up to a multiple of 8 |      (see `layout`)
//! ```
//!
//! Record `id` lies at `4096 + id × slot size`. A page is a power-of-two number of slots, so that a slot never
//! crosses pages and finding one is a shift. The next id is the file's length; the file's tally counts the records
//! that are there. A slot without a record is all zeros, and so a page without one becomes a hole.
//!
//! [`TableFile`] speaks slots and LSNs; what a user calls is `database::Table`. It reads the table as it is now, or as
//! of a cut: then it is one of many for its file, and nothing writes through it.

mod field;
mod form;
mod json;
mod layout;
mod number;
#[cfg(test)]
mod random;
mod record;
mod scan;
mod schema;
mod timestamp;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::bytes::{Put, Take};
use crate::memory;
use crate::pages::{Edit, FileImage, Outcome, PagedFile, PagedFiles, Pin, ReaderKind, Snapshot};

pub use field::{Field, FieldKind};
pub use form::TableForm;
pub use json::JsonStyle;
pub use layout::Layout;
pub use record::{Record, RecordMut};
pub use scan::{ScanRange, TableScan};
pub use schema::Schema;

use record::{STATE_LIVE, unpack};
pub(crate) use record::{check_slot, is_live};

/// What the files of tables are to the floor below.
pub const KIND_TABLE: u32 = 1;

/// A record's number in its table: dense from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct RecordId(pub u64);

/// Many packed records, `stride` bytes apart, and their null bitmaps likewise. The last needs no full stride.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// The records.
    pub bytes: &'a [u8],
    /// From one record to the next, in bytes.
    pub stride: usize,
    /// The null bitmaps; `None`: nothing is null.
    pub nulls: Option<&'a [u8]>,
    /// From one null bitmap to the next, in bytes.
    pub null_stride: usize,
    /// How many records.
    pub count: usize,
}

/// Where to write many packed records.
#[derive(Debug)]
pub struct RecordsMut<'a> {
    /// Room for the records.
    pub bytes: &'a mut [u8],
    /// From one record to the next, in bytes.
    pub stride: usize,
    /// Room for the null bitmaps, if they are wanted.
    pub nulls: Option<&'a mut [u8]>,
    /// From one null bitmap to the next, in bytes.
    pub null_stride: usize,
}

/// One table's file.
pub struct TableFile {
    files: Arc<PagedFiles>,
    file: Arc<PagedFile>,
    form: Arc<TableForm>,
    slot_size: usize,
    /// A page has two to this power slots.
    page_shift: u32,
    /// None: as it is now.
    cut: Option<Cut>,
}

/// A table's state between two commits.
#[derive(Clone)]
struct Cut {
    snapshot: Arc<Snapshot>,
    /// The file's length, in bytes.
    length: u64,
    tally: i64,
}

impl TableFile {
    /// The page size for slots of this size: as many slots, a power of two, as fit into `page_size_max` bytes, but
    /// at least one.
    pub fn page_size(slot_size: usize, page_size_max: usize) -> usize {
        let slots = (page_size_max / slot_size).max(1);
        slot_size << slots.ilog2()
    }

    /// What the file's description holds: name and schema.
    pub fn describe(name: &str, schema: &str) -> Result<Arc<Vec<u8>>> {
        let mut meta = Vec::new();
        memory::reserve(&mut meta, 4 + name.len() + schema.len(), "the schema of a table")?;
        meta.put_u32(name.len() as u32);
        meta.put(name.as_bytes());
        meta.put(schema.as_bytes());
        Ok(Arc::new(meta))
    }

    /// Name and schema from a file's description; or what is wrong with it.
    pub fn described(meta: &[u8], page_size: usize) -> std::result::Result<(Arc<str>, Schema), String> {
        let (name, schema) = TableFile::read_description(meta).ok_or("it names no table")?;
        let schema = Schema::parse(schema).map_err(|error| error.message().to_owned())?;
        let slot_size = schema.layout().slot_size;
        if !page_size.is_multiple_of(slot_size) || !(page_size / slot_size).is_power_of_two() {
            return Err("its page size does not go with its schema".into());
        }
        Ok((Arc::from(name), schema))
    }

    /// The name in a file's description, and the schema's text.
    fn read_description(meta: &[u8]) -> Option<(&str, &str)> {
        let mut take = Take(meta);
        let size = take.u32()? as usize;
        let name = take.bytes(size)?;
        Some((std::str::from_utf8(name).ok()?, std::str::from_utf8(take.0).ok()?))
    }

    /// True if a file's description is that of the table `name`.
    pub fn is_named(meta: &[u8], name: &str) -> bool {
        TableFile::read_description(meta).is_some_and(|(found, _)| found == name)
    }

    /// The table in a file.
    pub fn open(files: &Arc<PagedFiles>, file: Arc<PagedFile>) -> Result<TableFile> {
        let meta = file.meta();
        TableFile::with(files, file, &meta, None)
    }

    /// The table in a file, as it was at a cut.
    pub fn open_as_of(snapshot: &Arc<Snapshot>, file: &Arc<PagedFile>, image: &FileImage) -> Result<TableFile> {
        let cut = Cut { snapshot: Arc::clone(snapshot), length: image.length, tally: image.tally };
        TableFile::with(snapshot.files(), Arc::clone(file), &image.meta, Some(cut))
    }

    fn with(files: &Arc<PagedFiles>, file: Arc<PagedFile>, meta: &[u8], cut: Option<Cut>) -> Result<TableFile> {
        let damaged = |what: &str| Error::corrupt(&format!("the catalog's entry of file {}", file.id.0), what);
        let (name, schema) = TableFile::described(meta, file.page_size).map_err(|what| damaged(&what))?;
        let slot_size = schema.layout().slot_size;
        // A commit moves the length before the tally: read the other way round, the length is never behind.
        let tally = cut.as_ref().map_or_else(|| file.tally(), |cut| cut.tally);
        let length = cut.as_ref().map_or_else(|| file.committed_length(), |cut| cut.length);
        if !length.is_multiple_of(slot_size as u64) {
            return Err(damaged("its length is no whole number of records"));
        }
        if !u64::try_from(tally).is_ok_and(|count| count <= length / slot_size as u64) {
            return Err(damaged("it counts more records than there can be"));
        }
        let page_shift = (file.page_size / slot_size).ilog2();
        let form = Arc::new(TableForm::new(name, schema));
        Ok(TableFile { files: Arc::clone(files), file, form, slot_size, page_shift, cut })
    }

    /// The table's name now.
    pub fn name(&self) -> Arc<str> {
        self.form.name()
    }

    /// Gives the table another name. Under the lock of the names. Returns the LSN.
    pub fn rename(&self, name: &str) -> Result<u64> {
        let lsn = self.files.describe_file(&self.file, TableFile::describe(name, &self.schema().to_json())?)?;
        self.form.set_name(name);
        Ok(lsn)
    }

    /// The file that holds the table.
    pub fn file(&self) -> &Arc<PagedFile> {
        &self.file
    }

    /// The files of the table's database.
    pub fn files(&self) -> &Arc<PagedFiles> {
        &self.files
    }

    /// Names and types of the fields.
    pub fn schema(&self) -> &Schema {
        self.form.schema()
    }

    /// The form of its records.
    pub fn form(&self) -> &Arc<TableForm> {
        &self.form
    }

    /// Where everything of a record lies.
    pub fn layout(&self) -> &Layout {
        self.form.layout()
    }

    /// Records that are there.
    pub fn count(&self) -> u64 {
        self.cut.as_ref().map_or_else(|| self.file.tally(), |cut| cut.tally).max(0) as u64
    }

    /// The first id whose page the data file should have and has no room for.
    pub fn lost_from(&self) -> Result<Option<u64>> {
        Ok(self.file.lost_from()?.map(|page| page << self.page_shift))
    }

    /// The id that the next save gets.
    #[inline]
    pub fn next_id(&self) -> u64 {
        self.cut.as_ref().map_or_else(|| self.file.length(), |cut| cut.length) / self.slot_size as u64
    }

    /// The cut as of which the table is read, or, where that is now, one that is drawn for this reader.
    fn cut(&self, kind: ReaderKind) -> Cut {
        self.cut.clone().unwrap_or_else(|| {
            let (mut length, mut tally) = (0, 0);
            let capture = || (length, tally) = (self.file.committed_length(), self.file.tally());
            let snapshot = Arc::new(self.files.snapshot(kind, capture));
            Cut { snapshot, length, tally }
        })
    }

    /// Refuses to write through a table as of a cut.
    #[inline]
    pub fn check_writable(&self) -> Result<()> {
        if self.cut.is_some() { Err(self.only_read()) } else { Ok(()) }
    }

    /// All slots in one piece of memory, as of the table's cut or of now.
    pub fn pin(&self) -> Result<Pin> {
        let cut = self.cut(ReaderKind::Pin);
        self.files.pin(&cut.snapshot, &self.file, cut.length).map_err(|error| match self.named(error) {
            Error::Corrupt(text) => Error::Corrupt(format!("table {} cannot be pinned: {text}", self.name()).into()),
            Error::Full(text) => Error::Full(format!("table {} cannot be pinned: {text}", self.name()).into()),
            error => error,
        })
    }

    /// Saves one record; returns its id and LSN.
    pub fn save(&self, encode: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<(RecordId, u64)> {
        self.form.with_slots(1, |slots| {
            encode(slots)?;
            self.append(slots)
        })
    }

    /// Saves slots that follow each other, in one commit; returns the first id and the LSN.
    pub fn append(&self, slots: &[u8]) -> Result<(RecordId, u64)> {
        let mut first = 0;
        let tally = (slots.len() / self.slot_size) as i64;
        let edit = Edit::Append { file: &self.file, bytes: slots, tally };
        match self.files.commit(&[edit], |_, offset| first = offset).map_err(|error| self.named(error))? {
            Outcome::Done(lsn) => Ok((RecordId(first / self.slot_size as u64), lsn)),
            Outcome::Refused(_) => unreachable!("an append expects nothing"),
        }
    }

    /// Appends slots as they are, of which `live` hold records: those of another table with this schema.
    pub fn append_slots(&self, slots: &[u8], live: u64) -> Result<()> {
        let size = slots.len() as u64;
        if size < self.files.options().bulk_min {
            let edit = Edit::Append { file: &self.file, bytes: slots, tally: live as i64 };
            return self.files.commit(&[edit], |_, _| {}).map(|_| ());
        }
        let copy = |at: u64, out: &mut [u8]| {
            out.copy_from_slice(&slots[at as usize..][..out.len()]);
            Ok(())
        };
        self.files.append_in_bulk(&self.file, size, live as i64, copy).map(|_| ())
    }

    /// Saves `count` records, packed piece by piece by `encode`, in one commit.
    pub fn save_many(
        &self,
        count: usize,
        mut encode: impl FnMut(usize, &mut [u8]) -> Result<()>,
    ) -> Result<(RecordId, u64)> {
        let mut pack = |from: usize, slots: &mut [u8]| {
            slots.chunks_exact_mut(self.slot_size).enumerate().try_for_each(|(index, slot)| encode(from + index, slot))
        };
        let size = count as u64 * self.slot_size as u64;
        if size < self.files.options().bulk_min {
            return self.form.with_slots(count, |slots| {
                pack(0, slots)?;
                self.append(slots)
            });
        }
        let (offset, lsn) = self
            .files
            .append_in_bulk(&self.file, size, count as i64, |at, slots| pack(at as usize / self.slot_size, slots))
            .map_err(|error| self.named(error))?;
        Ok((RecordId(offset / self.slot_size as u64), lsn))
    }

    /// Copies a record into the caller's memory.
    #[inline]
    pub fn fetch(&self, id: RecordId, mut record: RecordMut<'_>) -> Result<()> {
        if self.fetch_at_once(id, &mut record) { Ok(()) } else { self.fetch_with_patience(id, record) }
    }

    /// Copies a record straight from its page. False where it is not there, or does not go that way.
    #[inline(always)]
    pub fn fetch_at_once(&self, id: RecordId, record: &mut RecordMut<'_>) -> bool {
        let parts = self.layout().parts();
        // Offsets are compared, since a length is a number of bytes and a division takes its time.
        let is_below = id.0.checked_mul(self.slot_size as u64).is_some_and(|offset| offset < self.file.length());
        if !is_below || !record.fits(parts) || self.cut.is_some() {
            return false;
        }
        let (page, at) = self.place(id);
        let Some(bytes) = self.file.look(page) else { return false };
        let is_live = bytes.byte(at + parts.state_offset) == STATE_LIVE;
        unpack(parts, bytes, at, record.reborrow());
        self.file.stood_still(bytes) && is_live
    }

    /// The same by way of a copy of its slot, with a sentence for whatever is wrong.
    #[cold]
    #[inline(never)]
    fn fetch_with_patience(&self, id: RecordId, record: RecordMut<'_>) -> Result<()> {
        if record.bytes.len() != self.layout().record_size {
            return Err(self.form.wrong_size(record.bytes.len()));
        }
        self.form.with_slots(1, |slot| {
            self.fetch_slot(id, slot)?;
            self.form.decode(slot, record)
        })
    }

    /// Brings what a later `fetch` or `replace` needs near: first its page's state, then its bytes.
    #[inline]
    pub fn prefetch(&self, id: RecordId, bytes: bool) {
        if id.0 < self.next_id() {
            let (page, at) = self.place(id);
            self.file.prefetch(page, bytes.then_some((at, self.slot_size)));
        }
    }

    /// Copies a whole slot that holds a record.
    pub fn fetch_slot(&self, id: RecordId, slot: &mut [u8]) -> Result<()> {
        if id.0 >= self.next_id() {
            return Err(self.out_of_range(id));
        }
        let (page, at) = self.place(id);
        let read = match &self.cut {
            None => self.file.read(page, at, slot),
            Some(cut) => cut.snapshot.read(&self.file, page, at, slot),
        };
        read.map_err(|error| self.named(error))?;
        if is_live(self.layout(), slot) { Ok(()) } else { Err(self.deleted(id)) }
    }

    /// Replaces a record that is there, or, with `expected`, that still is so. Returns the LSN.
    pub fn replace(&self, id: RecordId, slot: &[u8], expected: Option<&[u8]>) -> Result<u64> {
        self.change(id, slot, expected, 0)
    }

    /// Deletes a record that is there, or, with `expected`, that still is so. Returns the LSN.
    pub fn delete(&self, id: RecordId, expected: Option<&[u8]>) -> Result<u64> {
        self.form.with_slots(1, |zeros| {
            zeros.fill(0);
            self.change(id, zeros, expected, -1)
        })
    }

    fn change(&self, id: RecordId, slot: &[u8], expected: Option<&[u8]>, tally: i64) -> Result<u64> {
        self.check_range(id)?;
        let write = self.write_edit(id, slot, tally);
        let outcome = match expected {
            None => self.files.commit(&[write], |_, _| {}),
            Some(expected) => self.files.commit(&[write, self.expect_edit(id, expected)], |_, _| {}),
        };
        match outcome.map_err(|error| self.named(error))? {
            Outcome::Done(lsn) => Ok(lsn),
            Outcome::Refused(0) => Err(self.deleted(id)),
            Outcome::Refused(_) => Err(self.form.changed(id)),
        }
    }

    /// The edit that puts a slot in the place of a record that is there.
    pub fn write_edit<'a>(&'a self, id: RecordId, slot: &'a [u8], tally: i64) -> Edit<'a> {
        let given = Some((self.layout().state_offset, STATE_LIVE));
        Edit::Write { file: &self.file, offset: self.offset(id), bytes: slot, given, tally }
    }

    /// The edit that expects a record to be exactly so.
    pub fn expect_edit<'a>(&'a self, id: RecordId, slot: &'a [u8]) -> Edit<'a> {
        Edit::Expect { file: &self.file, offset: self.offset(id), bytes: slot }
    }

    /// What is wrong with a stored slot, if anything.
    pub fn check_slot(&self, slot: &[u8]) -> std::result::Result<(), String> {
        check_slot(self.layout(), slot)
    }

    /// Refuses an id that was never given.
    pub fn check_range(&self, id: RecordId) -> Result<()> {
        if id.0 < self.next_id() { Ok(()) } else { Err(self.out_of_range(id)) }
    }

    /// The error for an id that was never given.
    #[cold]
    pub fn out_of_range(&self, id: RecordId) -> Error {
        self.form.out_of_range(id, self.next_id())
    }

    /// The error for a record that was deleted.
    #[cold]
    pub fn deleted(&self, id: RecordId) -> Error {
        if self.file.is_dropped() {
            return self.dropped();
        }
        self.form.deleted(id)
    }

    /// Refuses a table that was dropped.
    #[inline]
    pub fn check_there(&self) -> Result<()> {
        if self.file.is_dropped() { Err(self.dropped()) } else { Ok(()) }
    }

    /// The error for a table that was dropped.
    #[cold]
    pub fn dropped(&self) -> Error {
        if self.cut.is_none() {
            return self.form.dropped();
        }
        let name = self.name();
        let text = format!("table {name} was dropped since the snapshot was taken, and its pages are gone");
        Error::NotFound(text.into())
    }

    #[cold]
    fn only_read(&self) -> Error {
        let text = format!("table {} of a snapshot is only read; open it in the database to write", self.name());
        Error::Unsupported(text.into())
    }

    /// The same error, with the table's name where the floor below, which knows no names, says that it was dropped.
    pub fn named(&self, error: Error) -> Error {
        if matches!(error, Error::NotFound(_)) && self.file.is_dropped() { self.dropped() } else { error }
    }

    #[inline]
    fn place(&self, id: RecordId) -> (u64, usize) {
        let in_page = id.0 & ((1 << self.page_shift) - 1);
        (id.0 >> self.page_shift, in_page as usize * self.slot_size)
    }

    fn offset(&self, id: RecordId) -> u64 {
        id.0 * self.slot_size as u64
    }
}
