//! A batch: writes and expectations across tables, committed together or not at all.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory;
use crate::pages::{Edit, FileId, Outcome};
use crate::table::{Record, RecordId, TableFile};

use super::Lsn;
use super::session::Session;
use super::table::Table;

/// What a batch's commit gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Its place in the order of all commits.
    pub lsn: Lsn,
    /// The ids of its saves, in their order.
    pub ids: Vec<RecordId>,
}

/// Writes and expectations, committed together or not at all. Dropping it aborts it. One thread at a time.
///
/// Expectations look at the database as it is before the whole batch; writes apply in their order.
pub struct Batch {
    session: Arc<Session>,
    steps: Vec<Step>,
    /// The slots of all steps, one after the other.
    bytes: Vec<u8>,
    /// Records that this batch deletes, so that a later step does not bring them back.
    deleted: HashMap<(FileId, u64), ()>,
}

/// What memory of a batch is for, in messages.
const STEPS: &str = "the steps of a batch";

struct Step {
    table: Arc<TableFile>,
    what: What,
    slot: Range<usize>,
}

#[derive(Clone, Copy)]
enum What {
    Save,
    Replace(RecordId),
    Delete(RecordId),
    Expect(RecordId),
}

impl Batch {
    pub(super) fn new(session: Arc<Session>) -> Batch {
        Batch { session, steps: Vec::new(), bytes: Vec::new(), deleted: HashMap::new() }
    }

    /// Adds a save. The id is given by the commit.
    pub fn save(&mut self, table: &Table, record: Record<'_>) -> Result<()> {
        self.add(table, What::Save, |file, slot| file.encode(record, slot))
    }

    /// Adds a save of a JSON object.
    pub fn save_json(&mut self, table: &Table, json: &str) -> Result<()> {
        self.add(table, What::Save, |file, slot| file.encode_json(json, slot))
    }

    /// Adds the replacing of a record.
    pub fn replace(&mut self, table: &Table, id: RecordId, record: Record<'_>) -> Result<()> {
        self.add(table, What::Replace(id), |file, slot| file.encode(record, slot))
    }

    /// Adds the replacing of a record by a JSON object.
    pub fn replace_json(&mut self, table: &Table, id: RecordId, json: &str) -> Result<()> {
        self.add(table, What::Replace(id), |file, slot| file.encode_json(json, slot))
    }

    /// Adds the deleting of a record.
    pub fn delete(&mut self, table: &Table, id: RecordId) -> Result<()> {
        self.deleted.try_reserve(1).map_err(memory::refused(STEPS))?;
        self.add(table, What::Delete(id), |_, _| Ok(()))?;
        self.deleted.insert((table.file().file().id, id.0), ());
        Ok(())
    }

    /// At the commit this record must be exactly so, nulls included; else the commit is a `Conflict`.
    pub fn expect(&mut self, table: &Table, id: RecordId, record: Record<'_>) -> Result<()> {
        self.add(table, What::Expect(id), |file, slot| file.encode(record, slot))
    }

    /// As `expect`, with a JSON object.
    pub fn expect_json(&mut self, table: &Table, id: RecordId, json: &str) -> Result<()> {
        self.add(table, What::Expect(id), |file, slot| file.encode_json(json, slot))
    }

    /// How many writes and expectations are in it.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// How many saves are in it, and so how many ids its commit will give.
    pub fn save_count(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.what, What::Save)).count()
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Commits everything in it. With `no_wait` it does not wait for durability: wait for the LSN, or for a later
    /// one. A commit that succeeds empties the batch; one that is refused (an answer, or "try again") leaves it as
    /// it was.
    pub fn commit(&mut self, no_wait: bool) -> Result<Committed> {
        let session = Arc::clone(&self.session);
        let _writing = session.write()?;
        let files = Arc::clone(&self.session.engine().files);
        let saved = self.save_count();
        let mut ids = memory::collect(saved, std::iter::repeat(RecordId(0)), STEPS)?;
        let mut saves = 0;
        // Where each edit's id goes.
        let mut places = Vec::new();
        memory::reserve(&mut places, self.steps.len(), STEPS)?;
        let edits = self.steps.iter().map(|step| step.edit(&self.bytes));
        let edits: Vec<Edit<'_>> = memory::collect(self.steps.len(), edits, STEPS)?;
        for step in &self.steps {
            places.push(saves);
            saves += usize::from(matches!(step.what, What::Save));
        }
        let steps = &self.steps;
        let outcome = files.commit(&edits, |index, offset| {
            ids[places[index]] = RecordId(offset / steps[index].table.layout().slot_size as u64);
        });
        let name = |error| steps.iter().fold(error, |error, step| step.table.named(error));
        let lsn = match outcome.map_err(name)? {
            Outcome::Done(lsn) => lsn,
            Outcome::Refused(index) => return Err(self.steps[index].refusal()),
        };
        drop(edits);
        self.clear();
        if no_wait {
            files.nudge();
        } else {
            files.wait_as_promised(lsn)?;
        }
        Ok(Committed { lsn: Lsn(lsn), ids })
    }

    /// Empties the batch.
    pub fn clear(&mut self) {
        self.steps.clear();
        self.bytes.clear();
        self.deleted.clear();
    }

    fn add(&mut self, table: &Table, what: What, pack: impl FnOnce(&TableFile, &mut [u8]) -> Result<()>) -> Result<()> {
        self.session.read()?;
        if !table.belongs_to(&self.session) {
            let text = format!("table {} belongs to another database than the batch", table.name());
            return Err(Error::Misuse(text.into()));
        }
        let file = table.file();
        file.check_writable()?;
        if let What::Replace(id) | What::Delete(id) | What::Expect(id) = what {
            file.check_range(id)?;
            if self.deleted.contains_key(&(file.file().id, id.0)) && !matches!(what, What::Expect(_)) {
                return Err(file.deleted(id));
            }
        }
        let limit = self.session.engine().files.options().commit_max;
        let (start, size) = (self.bytes.len(), file.layout().slot_size);
        if (start + size) as u64 > limit {
            let text = format!("a batch has at most {limit} bytes of records; commit this one and begin another");
            return Err(Error::TooLarge(text.into()));
        }
        memory::reserve(&mut self.bytes, size, STEPS)?;
        memory::reserve(&mut self.steps, 1, STEPS)?;
        self.bytes.resize(start + size, 0);
        if let Err(error) = pack(file, &mut self.bytes[start..]) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.steps.push(Step { table: Arc::clone(file), what, slot: start..start + size });
        Ok(())
    }
}

impl Step {
    fn edit<'a>(&'a self, bytes: &'a [u8]) -> Edit<'a> {
        let slot = &bytes[self.slot.clone()];
        match self.what {
            What::Save => Edit::Append { file: self.table.file(), bytes: slot, tally: 1 },
            What::Replace(id) => self.table.write_edit(id, slot, 0),
            What::Delete(id) => self.table.write_edit(id, slot, -1),
            What::Expect(id) => self.table.expect_edit(id, slot),
        }
    }

    fn refusal(&self) -> Error {
        match self.what {
            What::Save => unreachable!("a save expects nothing"),
            What::Replace(id) | What::Delete(id) => self.table.deleted(id),
            What::Expect(id) => self.table.changed(id),
        }
    }
}
