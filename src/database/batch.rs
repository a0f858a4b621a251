//! A batch: writes and expectations across tables, committed together or not at all.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory;
use crate::modules::{self, Controller, KeptTable};
use crate::pages::{Edit, Outcome};
use crate::table::{Record, RecordId, TableForm};

use super::Lsn;
use super::engine::Engine;
use super::home::Home;
use super::native::NativeEngine;
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
    deleted: HashMap<(u32, u64), ()>,
}

/// What memory of a batch is for, in messages.
const STEPS: &str = "the steps of a batch";

struct Step {
    home: Home,
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
        self.add(table, What::Save, |form, slot| form.encode(record, slot))
    }

    /// Adds a save of a JSON object.
    pub fn save_json(&mut self, table: &Table, json: &str) -> Result<()> {
        self.add(table, What::Save, |form, slot| form.encode_json(json, slot))
    }

    /// Adds the replacing of a record.
    pub fn replace(&mut self, table: &Table, id: RecordId, record: Record<'_>) -> Result<()> {
        self.add(table, What::Replace(id), |form, slot| form.encode(record, slot))
    }

    /// Adds the replacing of a record by a JSON object.
    pub fn replace_json(&mut self, table: &Table, id: RecordId, json: &str) -> Result<()> {
        self.add(table, What::Replace(id), |form, slot| form.encode_json(json, slot))
    }

    /// Adds the deleting of a record.
    pub fn delete(&mut self, table: &Table, id: RecordId) -> Result<()> {
        self.deleted.try_reserve(1).map_err(memory::refused(STEPS))?;
        self.add(table, What::Delete(id), |_, _| Ok(()))?;
        self.deleted.insert((table.home().number(), id.0), ());
        Ok(())
    }

    /// At the commit this record must be exactly so, nulls included; else the commit is a `Conflict`.
    pub fn expect(&mut self, table: &Table, id: RecordId, record: Record<'_>) -> Result<()> {
        self.add(table, What::Expect(id), |form, slot| form.encode(record, slot))
    }

    /// As `expect`, with a JSON object.
    pub fn expect_json(&mut self, table: &Table, id: RecordId, json: &str) -> Result<()> {
        self.add(table, What::Expect(id), |form, slot| form.encode_json(json, slot))
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
        let (lsn, ids) = match session.engine() {
            Engine::Native(native) => self.commit_to_files(native)?,
            Engine::Kept(controller) => self.commit_to_store(controller)?,
        };
        self.clear();
        if no_wait {
            session.engine().nudge();
        } else {
            session.engine().wait_as_promised(lsn)?;
        }
        Ok(Committed { lsn: Lsn(lsn), ids })
    }

    fn commit_to_files(&self, native: &NativeEngine) -> Result<(u64, Vec<RecordId>)> {
        let saved = self.save_count();
        let mut ids = memory::collect(saved, std::iter::repeat(RecordId(0)), STEPS)?;
        let mut saves = 0;
        // Where each edit's id goes.
        let mut places = Vec::new();
        memory::reserve(&mut places, self.steps.len(), STEPS)?;
        let mut edits: Vec<Edit<'_>> = Vec::new();
        memory::reserve(&mut edits, self.steps.len(), STEPS)?;
        for step in &self.steps {
            edits.push(step.edit(&self.bytes)?);
            places.push(saves);
            saves += usize::from(matches!(step.what, What::Save));
        }
        let steps = &self.steps;
        let commit = || -> Result<(u64, Vec<RecordId>)> {
            let outcome = native.files.commit(&edits, |index, offset| {
                ids[places[index]] = RecordId(offset / steps[index].home.form().layout().slot_size as u64);
            });
            let name = |error| steps.iter().fold(error, |error, step| step.named(error));
            match outcome.map_err(name)? {
                Outcome::Done(lsn) => Ok((lsn, ids)),
                Outcome::Refused(index) => Err(steps[index].refusal()),
            }
        };
        let Some(front) = &native.front else { return commit() };
        let keys = steps.iter().filter_map(|step| Some(step.home.key(step.id()?)));
        let keys = memory::collect(steps.len(), keys, STEPS)?;
        front.write(&keys, commit, |(lsn, ids), tell| {
            let mut saved = ids.iter();
            for step in steps {
                let slot = &self.bytes[step.slot.clone()];
                match step.what {
                    What::Save => step.home.tell(*saved.next().expect("an id a save"), *lsn, Some(slot), tell),
                    What::Replace(id) => step.home.tell(id, *lsn, Some(slot), tell),
                    What::Delete(id) => step.home.tell(id, *lsn, None, tell),
                    What::Expect(_) => {}
                }
            }
        })
    }

    fn commit_to_store<'a>(&'a self, controller: &Arc<Controller>) -> Result<(u64, Vec<RecordId>)> {
        let step = |step: &'a Step| {
            let slot = &self.bytes[step.slot.clone()];
            let what = match step.what {
                What::Save => modules::What::Save(slot),
                What::Replace(id) => modules::What::Replace(id, slot),
                What::Delete(id) => modules::What::Delete(id),
                What::Expect(id) => modules::What::Expect(id, slot),
            };
            modules::Step { table: step.kept(), what }
        };
        let steps = memory::collect(self.steps.len(), self.steps.iter().map(step), STEPS)?;
        controller.commit(&steps).map(|(ids, lsn)| (lsn, ids))
    }

    /// Empties the batch.
    pub fn clear(&mut self) {
        self.steps.clear();
        self.bytes.clear();
        self.deleted.clear();
    }

    fn add(&mut self, table: &Table, what: What, pack: impl FnOnce(&TableForm, &mut [u8]) -> Result<()>) -> Result<()> {
        self.session.read()?;
        if !table.belongs_to(&self.session) {
            let text = format!("table {} belongs to another database than the batch", table.name());
            return Err(Error::Misuse(text.into()));
        }
        let home = table.home();
        home.check_writable()?;
        if let What::Replace(id) | What::Delete(id) | What::Expect(id) = what {
            home.check_range(id)?;
            if self.deleted.contains_key(&(home.number(), id.0)) && !matches!(what, What::Expect(_)) {
                return Err(home.deleted(id));
            }
        }
        let limit = self.session.engine().commit_max();
        let (start, size) = (self.bytes.len(), home.form().layout().slot_size);
        if (start + size) as u64 > limit {
            let text = format!("a batch has at most {limit} bytes of records; commit this one and begin another");
            return Err(Error::TooLarge(text.into()));
        }
        memory::reserve(&mut self.bytes, size, STEPS)?;
        memory::reserve(&mut self.steps, 1, STEPS)?;
        self.bytes.resize(start + size, 0);
        if let Err(error) = pack(home.form(), &mut self.bytes[start..]) {
            self.bytes.truncate(start);
            return Err(error);
        }
        self.steps.push(Step { home: home.clone(), what, slot: start..start + size });
        Ok(())
    }
}

impl Step {
    /// The record that is there already.
    fn id(&self) -> Option<RecordId> {
        match self.what {
            What::Save => None,
            What::Replace(id) | What::Delete(id) | What::Expect(id) => Some(id),
        }
    }

    fn edit<'a>(&'a self, bytes: &'a [u8]) -> Result<Edit<'a>> {
        let (slot, file) = (&bytes[self.slot.clone()], self.home.file("files")?);
        Ok(match self.what {
            What::Save => Edit::Append { file: file.file(), bytes: slot, tally: 1 },
            What::Replace(id) => file.write_edit(id, slot, 0),
            What::Delete(id) => file.write_edit(id, slot, -1),
            What::Expect(id) => file.expect_edit(id, slot),
        })
    }

    /// The table, where a store of somebody else's has it.
    fn kept(&self) -> &Arc<KeptTable> {
        match &self.home {
            Home::Kept(_, table) => table,
            Home::File(_) | Home::Fronted(..) => unreachable!("all tables of a batch have one database"),
        }
    }

    fn named(&self, error: Error) -> Error {
        self.home.file("files").map_or(error.clone(), |file| file.named(error))
    }

    fn refusal(&self) -> Error {
        match self.what {
            What::Save => unreachable!("a save expects nothing"),
            What::Replace(id) | What::Delete(id) => self.home.deleted(id),
            What::Expect(id) => self.home.form().changed(id),
        }
    }
}
