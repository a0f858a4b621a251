//! Where a table's records lie: a file of ours, the same behind a cache, or a store of somebody else's. The verbs that
//! all of them have, in terms of slots and LSNs.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory;
use crate::modules::{Change, Controller, Front, KeptScan, KeptTable, Key, Loaded, Stamp, Step, Value, What};
use crate::pages::Outcome;
use crate::table::{JsonStyle, Layout, RecordId, RecordMut, RecordsMut, ScanRange, TableFile, TableForm, TableScan};

/// Where a table's records lie.
#[derive(Clone)]
pub enum Home {
    File(Arc<TableFile>),
    Fronted(Arc<TableFile>, Arc<Front>),
    Kept(Arc<Controller>, Arc<KeptTable>),
}

/// What memory of a call is for, in messages.
const RECORDS: &str = "the records of this call";

impl Home {
    /// A file of ours, behind a cache if there is one.
    pub fn native(file: Arc<TableFile>, front: &Option<Arc<Front>>) -> Home {
        match front {
            None => Home::File(file),
            Some(front) => Home::Fronted(file, Arc::clone(front)),
        }
    }

    /// The form of the records.
    #[inline]
    pub fn form(&self) -> &Arc<TableForm> {
        match self {
            Home::File(file) | Home::Fronted(file, _) => file.form(),
            Home::Kept(_, table) => &table.form,
        }
    }

    /// The file, where the native store has it; `what` is what only that can do.
    pub fn file(&self, what: &str) -> Result<&Arc<TableFile>> {
        match self {
            Home::File(file) | Home::Fronted(file, _) => Ok(file),
            Home::Kept(controller, _) => {
                let text = format!("{} has no {what}; the native store has", controller.store_name());
                Err(Error::Unsupported(text.into()))
            }
        }
    }

    /// The number that no other table of the database has.
    pub fn number(&self) -> u32 {
        match self {
            Home::File(file) | Home::Fronted(file, _) => file.file().id.0,
            Home::Kept(_, table) => table.number,
        }
    }

    pub fn next_id(&self) -> u64 {
        match self {
            Home::File(file) | Home::Fronted(file, _) => file.next_id(),
            Home::Kept(_, table) => table.next_id(),
        }
    }

    /// Records that are there.
    pub fn count(&self) -> Result<u64> {
        match self {
            Home::File(file) | Home::Fronted(file, _) => Ok(file.count()),
            Home::Kept(controller, table) => controller.count(table),
        }
    }

    /// Refuses a table that was dropped.
    #[inline]
    pub fn check_there(&self) -> Result<()> {
        match self {
            Home::File(file) | Home::Fronted(file, _) => file.check_there(),
            Home::Kept(_, table) if table.is_dropped() => Err(table.form.dropped()),
            Home::Kept(..) => Ok(()),
        }
    }

    /// Refuses to write through a table as of a snapshot.
    pub fn check_writable(&self) -> Result<()> {
        if let Home::File(file) = self { file.check_writable() } else { Ok(()) }
    }

    /// Refuses an id that was never given.
    pub fn check_range(&self, id: RecordId) -> Result<()> {
        match self {
            Home::File(file) | Home::Fronted(file, _) => file.check_range(id),
            Home::Kept(_, table) => table.check(id),
        }
    }

    /// The error for a record that was deleted.
    pub fn deleted(&self, id: RecordId) -> Error {
        match self {
            Home::File(file) | Home::Fronted(file, _) => file.deleted(id),
            Home::Kept(_, table) => table.form.deleted(id),
        }
    }

    /// Waits as a commit in the database's mode does.
    pub fn wait(&self, lsn: u64) -> Result<()> {
        match self {
            Home::File(file) | Home::Fronted(file, _) => file.files().wait_as_promised(lsn),
            Home::Kept(controller, _) => controller.wait_as_promised(lsn),
        }
    }

    /// Saves records in one commit, packed by `pack`; returns the first id and the LSN.
    pub fn save_many(
        &self,
        count: usize,
        mut pack: impl FnMut(usize, &mut [u8]) -> Result<()>,
    ) -> Result<(RecordId, u64)> {
        if let Home::File(file) = self {
            return file.save_many(count, pack);
        }
        let size = self.form().layout().slot_size;
        self.form().with_slots(count, |slots| {
            slots.chunks_exact_mut(size).enumerate().try_for_each(|(index, slot)| pack(index, slot))?;
            let slots = || slots.chunks_exact(size);
            match self {
                Home::File(_) => unreachable!("handled above"),
                Home::Fronted(file, front) => front.write(
                    &[],
                    || file.save_many(count, |index, slot| pack(index, slot)),
                    |&(first, lsn), tell| {
                        let ids = (first.0..).map(RecordId);
                        slots().zip(ids).for_each(|(slot, id)| self.tell(id, lsn, Some(slot), tell));
                    },
                ),
                Home::Kept(controller, table) => {
                    let steps = slots().map(|slot| Step { table, what: What::Save(slot) });
                    let steps = memory::collect(count, steps, RECORDS)?;
                    let (ids, lsn) = controller.commit(&steps)?;
                    Ok((ids[0], lsn))
                }
            }
        })
    }

    /// Copies a record into the caller's memory.
    pub fn fetch(&self, id: RecordId, record: RecordMut<'_>) -> Result<()> {
        if let Home::File(file) = self {
            return file.fetch(id, record);
        }
        let form = self.form();
        if record.bytes.len() != form.layout().record_size {
            return Err(form.wrong_size(record.bytes.len()));
        }
        form.with_slots(1, |slot| {
            self.fetch_slot(id, slot)?;
            form.decode(slot, record)
        })
    }

    /// Copies a whole slot that holds a record.
    pub fn fetch_slot(&self, id: RecordId, slot: &mut [u8]) -> Result<()> {
        match self {
            Home::File(file) => file.fetch_slot(id, slot),
            Home::Fronted(file, front) => {
                file.check_range(id)?;
                front.fetch(self.key(id), file.form(), slot, || Ok(()), || load(file, id))
            }
            Home::Kept(controller, table) => controller.fetch(table, id, slot),
        }
    }

    /// Copies many records into slots, and says of each how that went.
    pub fn fetch_slots(&self, ids: &[RecordId], slots: &mut [u8]) -> Result<Vec<Result<()>>> {
        if let Home::Kept(controller, table) = self {
            return controller.fetch_many(table, ids, slots);
        }
        let size = self.form().layout().slot_size;
        let fetched = ids.iter().zip(slots.chunks_exact_mut(size)).map(|(id, slot)| self.fetch_slot(*id, slot));
        memory::collect(ids.len(), fetched, RECORDS)
    }

    /// Brings what a fetch or a replace needs near.
    #[inline]
    pub fn prefetch(&self, id: RecordId, bytes: bool) {
        if let Home::File(file) = self {
            file.prefetch(id, bytes);
        }
    }

    /// Replaces a record that is there or, without a slot, deletes it; with `expected`, if it still is so.
    pub fn change(&self, id: RecordId, slot: Option<&[u8]>, expected: Option<&[u8]>) -> Result<u64> {
        let change = |file: &TableFile| match slot {
            Some(slot) => file.replace(id, slot, expected),
            None => file.delete(id, expected),
        };
        match self {
            Home::File(file) => change(file),
            Home::Fronted(file, front) => {
                front.write(&[self.key(id)], || change(file), |&lsn, tell| self.tell(id, lsn, slot, tell))
            }
            Home::Kept(controller, table) => {
                let what = slot.map_or(What::Delete(id), |slot| What::Replace(id, slot));
                let expect = expected.map(|slot| Step { table, what: What::Expect(id, slot) });
                let steps = [Some(Step { table, what }), expect];
                let steps: Vec<Step<'_>> = steps.into_iter().flatten().collect();
                controller.commit(&steps).map(|(_, lsn)| lsn)
            }
        }
    }

    /// Puts slots in the places of records that are there or, without slots, deletes them, in one commit.
    pub fn change_many(&self, ids: &[RecordId], slots: Option<&[u8]>) -> Result<u64> {
        let size = self.form().layout().slot_size;
        let slot = |index: usize| slots.map(|slots| &slots[index * size..][..size]);
        for id in ids {
            self.check_range(*id)?;
        }
        match self {
            Home::File(file) => change_files(file, ids, slots),
            Home::Fronted(file, front) => {
                let keys = memory::collect(ids.len(), ids.iter().map(|id| self.key(*id)), RECORDS)?;
                front.write(
                    &keys,
                    || change_files(file, ids, slots),
                    |&lsn, tell| (0..ids.len()).for_each(|index| self.tell(ids[index], lsn, slot(index), tell)),
                )
            }
            Home::Kept(controller, table) => {
                let what = |(index, id): (usize, &RecordId)| match slot(index) {
                    Some(slot) => What::Replace(*id, slot),
                    None => What::Delete(*id),
                };
                let steps = ids.iter().enumerate().map(|item| Step { table, what: what(item) });
                let steps = memory::collect(ids.len(), steps, RECORDS)?;
                controller.commit(&steps).map(|(_, lsn)| lsn)
            }
        }
    }

    /// A record's key, for what stands before the files.
    pub fn key(&self, id: RecordId) -> Key {
        Key { table: self.number(), id: id.0 }
    }

    /// Tells a cache what a commit of the native store left: a commit's LSN is the version of all that it changed.
    pub fn tell(&self, id: RecordId, lsn: u64, slot: Option<&[u8]>, tell: &mut dyn FnMut(Change<'_>)) {
        let key = self.key(id);
        let Some(slot) = slot else {
            return tell(Change { key, stamp: Stamp { version: lsn, seal: 0 }, value: None });
        };
        let layout = self.form().layout();
        let (mut record, mut nulls) = (vec![0; layout.record_size], vec![0; layout.nulls_size]);
        let unpacked = self.form().decode(slot, RecordMut { bytes: &mut record, nulls: Some(&mut nulls) });
        unpacked.expect("a slot of the table's own unpacks");
        let value = Value { record: &record, nulls: &nulls };
        tell(Change { key, stamp: Stamp::new(key, lsn, value), value: Some(value) });
    }

    /// Begins a scan.
    pub fn scan(&self, range: ScanRange) -> Result<Scan> {
        match self {
            Home::File(file) | Home::Fronted(file, _) => Ok(Scan::File(TableScan::new(file, range)?)),
            Home::Kept(controller, table) => {
                controller.refuse_inside()?;
                Ok(Scan::Kept(KeptScan::new(controller, table, range)?))
            }
        }
    }
}

/// A record of the native store, for a cache. Whoever changes it later has a higher LSN, and whoever changed it before
/// has none above the last one now.
fn load(file: &TableFile, id: RecordId) -> Result<Loaded> {
    let version = file.files().last_lsn();
    let layout = file.layout();
    file.form().with_slots(1, |slot| {
        file.fetch_slot(id, slot)?;
        let mut record = memory::zeros(layout.record_size, RECORDS)?;
        let mut nulls = memory::zeros(layout.nulls_size, RECORDS)?;
        file.form().decode(slot, RecordMut { bytes: &mut record, nulls: Some(&mut nulls) })?;
        let key = Key { table: file.file().id.0, id: id.0 };
        Ok(Loaded { stamp: Stamp::new(key, version, Value { record: &record, nulls: &nulls }), record, nulls })
    })
}

fn change_files(file: &TableFile, ids: &[RecordId], slots: Option<&[u8]>) -> Result<u64> {
    let size = file.layout().slot_size;
    let tally = if slots.is_some() { 0 } else { -1 };
    let zeros = memory::zeros(if slots.is_some() { 0 } else { size }, RECORDS)?;
    let slot = |index: usize| slots.map_or(&zeros[..], |slots| &slots[index * size..][..size]);
    let edits = ids.iter().enumerate().map(|(index, id)| file.write_edit(*id, slot(index), tally));
    let edits = memory::collect(ids.len(), edits, RECORDS)?;
    match file.files().commit(&edits, |_, _| {}).map_err(|error| file.named(error))? {
        Outcome::Done(lsn) => Ok(lsn),
        Outcome::Refused(index) => Err(file.deleted(ids[index])),
    }
}

/// A scan under way.
pub enum Scan {
    File(TableScan),
    Kept(KeptScan),
}

impl Scan {
    /// Copies the next record; `None` at the end.
    pub fn next(&mut self, record: RecordMut<'_>) -> Result<Option<RecordId>> {
        match self {
            Scan::File(scan) => scan.next(record),
            Scan::Kept(scan) => {
                let table = Arc::clone(scan.table());
                if record.bytes.len() != table.form.layout().record_size {
                    return Err(table.form.wrong_size(record.bytes.len()));
                }
                let Some((id, slot)) = scan.next_slot()? else { return Ok(None) };
                let unpacked = table.form.decode(slot, record);
                if unpacked.is_err() {
                    scan.take_back();
                }
                unpacked.map(|()| Some(id))
            }
        }
    }

    /// Copies as many records as `ids` has places; returns how many there were.
    pub fn next_many(&mut self, ids: &mut [RecordId], records: RecordsMut<'_>) -> Result<usize> {
        match self {
            Scan::File(scan) => scan.next_many(ids, records),
            Scan::Kept(scan) => {
                let table = Arc::clone(scan.table());
                let (record_size, nulls_size) = (table.form.layout().record_size, table.form.layout().nulls_size);
                records.check(ids.len(), &table.form)?;
                let RecordsMut { bytes, stride, mut nulls, null_stride } = records;
                for (index, place) in ids.iter_mut().enumerate() {
                    let next = match scan.next_slot() {
                        // What was copied is handed out first; the next call meets the error again.
                        Err(_) if index > 0 => return Ok(index),
                        next => next?,
                    };
                    let Some((id, slot)) = next else { return Ok(index) };
                    let bytes = &mut bytes[index * stride..][..record_size];
                    let nulls = nulls.as_mut().map(|nulls| &mut nulls[index * null_stride..][..nulls_size]);
                    table.form.decode(slot, RecordMut { bytes, nulls })?;
                    *place = id;
                }
                Ok(ids.len())
            }
        }
    }

    /// The next record as JSON; `None` at the end.
    pub fn next_json(&mut self, style: JsonStyle) -> Result<Option<(RecordId, String)>> {
        match self {
            Scan::File(scan) => scan.next_json(style),
            Scan::Kept(scan) => {
                let table = Arc::clone(scan.table());
                let Some((id, slot)) = scan.next_slot()? else { return Ok(None) };
                let mut json = String::new();
                let told = table.form.decode_json(slot, style, &mut json);
                if told.is_err() {
                    scan.take_back();
                }
                told.map(|()| Some((id, json)))
            }
        }
    }

    /// Where everything of a record lies.
    pub fn layout(&self) -> &Layout {
        match self {
            Scan::File(scan) => scan.table().layout(),
            Scan::Kept(scan) => scan.table().form.layout(),
        }
    }

    /// Refuses a table that was dropped.
    pub fn check_there(&self) -> Result<()> {
        match self {
            Scan::File(scan) if scan.table().file().is_dropped() => Err(scan.table().dropped()),
            Scan::Kept(scan) if scan.table().is_dropped() => Err(scan.table().form.dropped()),
            _ => Ok(()),
        }
    }
}
