//! A table as its users call it.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory;
use crate::table::{JsonStyle, Layout, Record, RecordId, RecordMut, Records, RecordsMut, ScanRange, Schema, TableForm};

use super::Database;
use super::home::{Home, Scan};
use super::pin::Pin;
use super::session::{Session, Writing};

/// How many records ahead `fetch_many` brings near.
const FETCH_AHEAD: usize = 16;

/// How many records `fetch_many` asks of a store at once.
const FETCHED_AT_ONCE: usize = 4096;

/// An open table. Works from every thread; clone it for another owner.
///
/// Packed records lie as a C compiler lays the struct out (see `layout`). A null bitmap has bit `f % 8` of byte
/// `f / 8` set where field `f` is null. Every verb that writes returns when its commit is as durable as the
/// database's mode says; a verb that fails has changed nothing, except after `CommitUnknown`. A table of a snapshot
/// reads as of the snapshot, and every verb that writes is `Unsupported`.
#[derive(Clone)]
pub struct Table {
    session: Arc<Session>,
    home: Home,
    form: Arc<TableForm>,
}

impl Table {
    pub(super) fn new(session: Arc<Session>, home: Home) -> Table {
        let form = Arc::clone(home.form());
        Table { session, home, form }
    }

    /// Its name now, or as of its snapshot.
    pub fn name(&self) -> String {
        self.form.name().to_string()
    }

    /// Names and types of its fields.
    pub fn schema(&self) -> &Schema {
        self.form.schema()
    }

    /// Where everything of a record lies.
    pub fn layout(&self) -> &Layout {
        self.form.layout()
    }

    /// How many records are there, saved and not deleted.
    pub fn count(&self) -> Result<u64> {
        self.read()?;
        self.home.count()
    }

    /// The id that the next save gets.
    pub fn next_id(&self) -> Result<RecordId> {
        self.read()?;
        Ok(RecordId(self.home.next_id()))
    }

    /// Saves a record; returns its id.
    pub fn save(&self, record: Record<'_>) -> Result<RecordId> {
        let _writing = self.write()?;
        let encode = |slot: &mut [u8]| self.form.encode(record, slot);
        let (id, lsn) = match &self.home {
            Home::File(file) => file.save(encode)?,
            home => home.save_many(1, |_, slot| encode(slot))?,
        };
        self.wait(lsn)?;
        Ok(id)
    }

    /// Saves records in one commit. Their ids follow each other; returns the first (of none: the next id).
    pub fn save_many(&self, records: Records<'_>) -> Result<RecordId> {
        let _writing = self.write()?;
        records.check(&self.form)?;
        if records.count == 0 {
            return self.next_id();
        }
        let (id, lsn) = self.home.save_many(records.count, |index, slot| {
            let record = records.get(index, &self.form);
            self.form.encode(record, slot).map_err(|error| in_item(index, error))
        })?;
        self.wait(lsn)?;
        Ok(id)
    }

    /// Saves a JSON object; returns its id. What it leaves out is null.
    pub fn save_json(&self, json: &str) -> Result<RecordId> {
        let _writing = self.write()?;
        let (id, lsn) = self.home.save_many(1, |_, slot| self.form.encode_json(json, slot))?;
        self.wait(lsn)?;
        Ok(id)
    }

    /// Saves an array of JSON objects in one commit; returns the first id and how many.
    pub fn save_many_json(&self, json: &str) -> Result<(RecordId, usize)> {
        let _writing = self.write()?;
        let slot_size = self.layout().slot_size;
        let mut slots = Vec::new();
        let count = self.form.encode_json_many(json, &mut slots)?;
        if count == 0 {
            return Ok((self.next_id()?, 0));
        }
        let (id, lsn) = self.home.save_many(count, |index, slot| {
            slot.copy_from_slice(&slots[index * slot_size..][..slot_size]);
            Ok(())
        })?;
        self.wait(lsn)?;
        Ok((id, count))
    }

    /// Copies a record into the caller's memory, which has exactly `record_size` bytes. After an error its bytes
    /// mean nothing.
    pub fn fetch(&self, id: RecordId, record: RecordMut<'_>) -> Result<()> {
        self.read()?;
        self.home.fetch(id, record)
    }

    /// `fetch`, where it can be done at once: false if there is anything to wait for, to ask, or to say.
    #[inline(always)]
    pub(crate) fn fetch_at_once(&self, id: RecordId, record: &mut RecordMut<'_>) -> bool {
        let Home::File(file) = &self.home else { return false };
        self.session.may_read() && file.fetch_at_once(id, record)
    }

    /// Copies many records; `statuses`, if given, is told the `diamond_status` of each. Does every item and returns
    /// the first failure.
    pub fn fetch_many(
        &self,
        ids: &[RecordId],
        records: RecordsMut<'_>,
        mut statuses: Option<&mut [i32]>,
    ) -> Result<()> {
        self.read()?;
        records.check(ids.len(), &self.form)?;
        if statuses.as_ref().is_some_and(|statuses| statuses.len() < ids.len()) {
            return Err(Error::Invalid("there are fewer places for statuses than ids".into()));
        }
        let RecordsMut { bytes, stride, mut nulls, null_stride } = records;
        let (record_size, nulls_size) = (self.layout().record_size, self.layout().nulls_size);
        let mut first = Ok(());
        if let Home::Kept(..) = self.home {
            let slot_size = self.layout().slot_size;
            let mut slots = memory::zeros(ids.len().min(FETCHED_AT_ONCE) * slot_size, "the records of this call")?;
            for (part, ids) in ids.chunks(FETCHED_AT_ONCE).enumerate() {
                let fetched = self.home.fetch_slots(ids, &mut slots)?;
                for (at, fetched) in fetched.into_iter().enumerate() {
                    let index = part * FETCHED_AT_ONCE + at;
                    let bytes = &mut bytes[index * stride..][..record_size];
                    let nulls = nulls.as_mut().map(|nulls| &mut nulls[index * null_stride..][..nulls_size]);
                    let slot = &slots[at * slot_size..][..slot_size];
                    let copied = fetched.and_then(|()| self.form.decode(slot, RecordMut { bytes, nulls }));
                    if let Some(statuses) = &mut statuses {
                        statuses[index] = copied.as_ref().map_or_else(Error::status, |()| 0);
                    }
                    first = first.and(copied);
                }
            }
            return first;
        }
        ids.iter().take(2 * FETCH_AHEAD).for_each(|id| self.home.prefetch(*id, false));
        ids.iter().take(FETCH_AHEAD).for_each(|id| self.home.prefetch(*id, true));
        for (index, id) in ids.iter().enumerate() {
            // The page's state has to be near before its bytes can be looked for.
            if let Some(later) = ids.get(index + 2 * FETCH_AHEAD) {
                self.home.prefetch(*later, false);
            }
            if let Some(next) = ids.get(index + FETCH_AHEAD) {
                self.home.prefetch(*next, true);
            }
            let bytes = &mut bytes[index * stride..][..record_size];
            let nulls = nulls.as_mut().map(|nulls| &mut nulls[index * null_stride..][..nulls_size]);
            let fetched = self.home.fetch(*id, RecordMut { bytes, nulls });
            if let Some(statuses) = &mut statuses {
                statuses[index] = fetched.as_ref().map_or_else(Error::status, |()| 0);
            }
            if first.is_ok() {
                first = fetched;
            }
        }
        first
    }

    /// A record as a JSON object, its fields in the schema's order.
    pub fn fetch_json(&self, id: RecordId, style: JsonStyle) -> Result<String> {
        self.read()?;
        let mut json = String::new();
        self.fetch_as_json(id, style, &mut json)?;
        Ok(json)
    }

    /// Many records as a JSON array, with `null` where one could not be fetched; statuses and failure as in
    /// `fetch_many`. No text where nothing was tried.
    pub fn fetch_many_json(
        &self,
        ids: &[RecordId],
        style: JsonStyle,
        mut statuses: Option<&mut [i32]>,
    ) -> (String, Result<()>) {
        if let Err(error) = self.read() {
            return (String::new(), Err(error));
        }
        let mut json = String::from("[");
        let mut first = Ok(());
        for (index, id) in ids.iter().enumerate() {
            if let Err(refusal) = json.try_reserve(", null ]".len()) {
                let error = memory::refused("records as JSON")(refusal);
                statuses.into_iter().flatten().for_each(|status| *status = error.status());
                return (String::new(), Err(error));
            }
            json.push_str(if index == 0 { "" } else { "," });
            let start = json.len();
            let fetched = self.read().and_then(|()| self.fetch_as_json(*id, style, &mut json));
            if fetched.is_err() {
                json.truncate(start);
                json.push_str("null");
            }
            if let Some(status) = statuses.as_mut().and_then(|statuses| statuses.get_mut(index)) {
                *status = fetched.as_ref().map_or_else(Error::status, |()| 0);
            }
            if first.is_ok() {
                first = fetched;
            }
        }
        json.push(']');
        (json, first)
    }

    /// Replaces a record.
    pub fn replace(&self, id: RecordId, record: Record<'_>) -> Result<()> {
        self.replace_slot(id, |slot| self.form.encode(record, slot))
    }

    /// Replaces a record if it still is `expected`, nulls included; else `Conflict`.
    pub fn replace_if(&self, id: RecordId, expected: Record<'_>, record: Record<'_>) -> Result<()> {
        let pack = |slot: &mut [u8]| self.form.encode(expected, slot);
        self.replace_slot_if(id, pack, |slot| self.form.encode(record, slot))
    }

    /// Replaces many records in one commit, all or none.
    pub fn replace_many(&self, ids: &[RecordId], records: Records<'_>) -> Result<()> {
        self.home.check_writable()?;
        if records.count != ids.len() {
            return Err(different_counts(ids.len(), records.count));
        }
        records.check(&self.form)?;
        let mut slots = Vec::new();
        for index in 0..ids.len() {
            let record = records.get(index, &self.form);
            self.push_slot(&mut slots, |slot| self.form.encode(record, slot)).map_err(|error| in_item(index, error))?;
        }
        self.change_many(ids, Some(&slots))
    }

    /// Replaces a record by a JSON object. What it leaves out becomes null.
    pub fn replace_json(&self, id: RecordId, json: &str) -> Result<()> {
        self.replace_slot(id, |slot| self.form.encode_json(json, slot))
    }

    /// Replaces a record by a JSON object if it still is `expected`; else `Conflict`.
    pub fn replace_if_json(&self, id: RecordId, expected: &str, json: &str) -> Result<()> {
        let pack = |slot: &mut [u8]| self.form.encode_json(expected, slot);
        self.replace_slot_if(id, pack, |slot| self.form.encode_json(json, slot))
    }

    /// Replaces many records by an array of JSON objects in one commit, all or none.
    pub fn replace_many_json(&self, ids: &[RecordId], json: &str) -> Result<()> {
        self.home.check_writable()?;
        let mut slots = Vec::new();
        let count = self.form.encode_json_many(json, &mut slots)?;
        if count != ids.len() {
            return Err(different_counts(ids.len(), count));
        }
        self.change_many(ids, Some(&slots))
    }

    /// Deletes a record. Its id is not given again.
    pub fn delete(&self, id: RecordId) -> Result<()> {
        let _writing = self.write()?;
        let lsn = self.home.change(id, None, None)?;
        self.wait(lsn)
    }

    /// Deletes a record if it still is `expected`; else `Conflict`.
    pub fn delete_if(&self, id: RecordId, expected: Record<'_>) -> Result<()> {
        let _writing = self.write()?;
        let mut slot = memory::zeros(self.layout().slot_size, "a record")?;
        self.form.encode(expected, &mut slot)?;
        let lsn = self.home.change(id, None, Some(&slot))?;
        self.wait(lsn)
    }

    /// Deletes many records in one commit, all or none.
    pub fn delete_many(&self, ids: &[RecordId]) -> Result<()> {
        self.change_many(ids, None)
    }

    /// Scans the table as of now, or as of its snapshot: the records that were committed before, whatever is written
    /// meanwhile. Over a store that is not the native one, it sees each record as it is when the scan comes to it.
    pub fn scan(&self, range: ScanRange) -> Result<Cursor> {
        self.read()?;
        Ok(Cursor { session: Arc::clone(&self.session), scan: self.home.scan(range)? })
    }

    /// Pins the table as of now, or as of its snapshot: all slots in one piece of memory. Makes a checkpoint and reads
    /// every page. `Corrupt` names a page that does not match its checksum.
    pub fn pin(&self) -> Result<Pin> {
        // Closing waits for it, so that the pin's own opening begins before this one ends.
        let _making = self.session.write()?;
        self.read()?;
        Pin::new(self.home.file("pins")?, Database { session: self.session.share() })
    }

    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    pub(super) fn belongs_to(&self, session: &Session) -> bool {
        std::ptr::eq(self.session.engine(), session.engine())
    }

    /// Admits a read.
    #[inline]
    pub(crate) fn read(&self) -> Result<()> {
        self.session.read()?;
        self.home.check_there()
    }

    fn write(&self) -> Result<Writing<'_>> {
        let writing = self.session.write()?;
        self.home.check_writable()?;
        Ok(writing)
    }

    fn wait(&self, lsn: u64) -> Result<()> {
        self.home.wait(lsn)
    }

    fn replace_slot(&self, id: RecordId, pack: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<()> {
        let _writing = self.write()?;
        // It comes near while the new record is packed and its frame is summed.
        self.home.prefetch(id, true);
        let lsn = self.form.with_slots(1, |slot| {
            pack(slot)?;
            self.home.change(id, Some(slot), None)
        })?;
        self.wait(lsn)
    }

    fn replace_slot_if(
        &self,
        id: RecordId,
        expect: impl FnOnce(&mut [u8]) -> Result<()>,
        pack: impl FnOnce(&mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let _writing = self.write()?;
        let lsn = self.form.with_slots(2, |slots| {
            let (expected, slot) = slots.split_at_mut(self.layout().slot_size);
            expect(expected)?;
            pack(slot)?;
            self.home.change(id, Some(slot), Some(expected))
        })?;
        self.wait(lsn)
    }

    fn push_slot(&self, slots: &mut Vec<u8>, pack: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<()> {
        let at = slots.len();
        let size = self.layout().slot_size;
        memory::reserve(slots, size, "the records of this call")?;
        slots.resize(at + size, 0);
        pack(&mut slots[at..])
    }

    fn fetch_as_json(&self, id: RecordId, style: JsonStyle, out: &mut String) -> Result<()> {
        let mut slot = memory::zeros(self.layout().slot_size, "a record")?;
        self.home.fetch_slot(id, &mut slot)?;
        self.form.decode_json(&slot, style, out)
    }

    /// Puts slots in the places of records that are there or, without slots, deletes them, in one commit.
    fn change_many(&self, ids: &[RecordId], slots: Option<&[u8]>) -> Result<()> {
        let _writing = self.write()?;
        if slots.is_none() {
            refuse_twins(ids)?;
        }
        self.wait(self.home.change_many(ids, slots)?)
    }
}

/// A scan under way, as of the cut where it began. One thread at a time.
///
/// While it is open, pages that are changed are kept in memory as they were; close it soon.
pub struct Cursor {
    session: Arc<Session>,
    scan: Scan,
}

impl Cursor {
    /// Copies the next record that is there into the caller's memory; `None` at the end.
    pub fn next(&mut self, record: RecordMut<'_>) -> Result<Option<RecordId>> {
        self.read()?;
        self.scan.next(record)
    }

    /// Copies up to `ids.len()` records; returns how many, 0 at the end.
    pub fn next_many(&mut self, ids: &mut [RecordId], records: RecordsMut<'_>) -> Result<usize> {
        self.read()?;
        self.scan.next_many(ids, records)
    }

    /// The next record that is there as a JSON object; `None` at the end.
    pub fn next_json(&mut self, style: JsonStyle) -> Result<Option<(RecordId, String)>> {
        self.read()?;
        self.scan.next_json(style)
    }

    /// Where everything of a record lies.
    pub fn layout(&self) -> &Layout {
        self.scan.layout()
    }

    fn read(&self) -> Result<()> {
        self.session.read()?;
        self.scan.check_there()
    }
}

fn different_counts(ids: usize, records: usize) -> Error {
    Error::Invalid(format!("{ids} ids go with {records} records; there must be as many of both").into())
}

/// The same record cannot be deleted twice in one call.
fn refuse_twins(ids: &[RecordId]) -> Result<()> {
    let mut sorted = memory::collect(ids.len(), ids.iter().copied(), "the ids of this call")?;
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(Error::Invalid(format!("id {} is named twice", pair[0].0).into())),
    }
}

/// Says which item of a call an error is about.
fn in_item(index: usize, error: Error) -> Error {
    error.with_prefix(&format!("Record {index} of the call: "))
}
