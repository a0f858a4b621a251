//! A commit to a store: from steps to changes that it accepts all or none of.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory;
use crate::os::sync::Ordering;
use crate::table::{RecordId, RecordMut};

use super::controller::{Controller, KeptTable, failed};
use super::queue::{Known, Queue, Queued};
use super::{Change, Fault, Item, Key, Stamp, Value};

/// What memory of a commit is for, in messages.
const COMMIT: &str = "the records of a commit";

/// One part of a commit.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub table: &'a Arc<KeptTable>,
    pub what: What<'a>,
}

/// What a step does, with slots.
#[derive(Clone, Copy)]
pub(crate) enum What<'a> {
    Save(&'a [u8]),
    Replace(RecordId, &'a [u8]),
    Delete(RecordId),
    Expect(RecordId, &'a [u8]),
}

impl Controller {
    /// Commits all steps or, where one expects something else, none. Returns the ids of the saves, in their order, and
    /// the LSN. Does not wait for durability.
    pub fn commit(&self, steps: &[Step<'_>]) -> Result<(Vec<RecordId>, u64)> {
        self.admit_writer()?;
        let writes = steps.iter().filter(|step| !matches!(step.what, What::Expect(..))).count();
        if writes > 1 && !self.store.habits().atomic {
            let text = format!("{} does not take {writes} changes as one; commit them one by one", self.store.name());
            return Err(Error::Unsupported(text.into()));
        }
        if self.queue.bytes() >= self.options.queue_max {
            self.persist_through(self.accepted.load(Ordering::SeqCst), None)?;
        }
        // The ids of saves are given before it is known whether they will be there: nobody else has them, and where
        // the commit comes to nothing they go back, if they are still the last.
        let commit = Commit::new(self, steps)?;
        let mut keys = memory::collect(steps.len(), steps.iter().filter_map(Step::key), COMMIT)?;
        memory::reserve(&mut keys, commit.writes.len(), COMMIT)?;
        keys.extend(commit.writes.iter().map(|write| write.key));
        let tables = commit.tables.iter().map(|(table, ..)| *table);
        let mut tables = memory::collect(commit.tables.len(), tables, COMMIT)?;
        tables.sort_unstable_by_key(|table| table.number);
        let _counting: Vec<_> = tables.iter().map(|table| table.counting.read()).collect();
        let result = self.front.write(
            &keys,
            || commit.carry_out(),
            |done, tell| done.changes.iter().for_each(|change| tell(*change)),
        );
        match result.map(|done| done.lsn) {
            Ok(lsn) => Ok((commit.ids, lsn)),
            Err(error) => {
                match error {
                    Error::CommitUnknown(_) => tables.iter().for_each(|table| table.doubt()),
                    _ => commit.take_ids_back(),
                }
                Err(error)
            }
        }
    }

    /// Hands changes to the store; all are done, or none, or it is an unknown commit.
    pub(super) fn store_all(&self, changes: &[Change<'_>]) -> Result<()> {
        let mut items = memory::collect(changes.len(), changes.iter().map(|_| Item::Done), COMMIT)?;
        let answer = self.store.call(|store| store.store(changes, &mut items))?;
        let done = items.iter().filter(|item| **item == Item::Done).count();
        let error = match answer {
            Ok(()) if done == changes.len() => return Ok(()),
            Err(fault) => unknown_if(matches!(fault, Fault::Ambiguous(_)), failed(self.store.name(), "store", &fault)),
            Ok(()) => {
                let is_unknown = done > 0 || items.contains(&Item::Ambiguous);
                let text = format!("{} stored {done} of {} changes", self.store.name(), changes.len());
                unknown_if(is_unknown, Error::Module(text.into()))
            }
        };
        Err(self.count_failure(error))
    }
}

fn unknown_if(is_unknown: bool, error: Error) -> Error {
    if !is_unknown {
        return error;
    }
    Error::CommitUnknown(format!("the commit may or may not be there: {}", error.message()).into())
}

impl Step<'_> {
    /// The record that is there already.
    fn key(&self) -> Option<Key> {
        match self.what {
            What::Save(_) => None,
            What::Replace(id, _) | What::Delete(id) | What::Expect(id, _) => Some(self.table.key(id)),
        }
    }
}

/// A commit under way.
struct Commit<'a> {
    controller: &'a Controller,
    steps: &'a [Step<'a>],
    /// Each once: with the first id that it gives, and how many.
    tables: Vec<(&'a Arc<KeptTable>, u64, u64)>,
    /// Of the saves, in their order.
    ids: Vec<RecordId>,
    /// One of each record, the last: nobody sees the state between two steps.
    writes: Vec<Write<'a>>,
    /// What the writes write: of each the record, then its null bitmap.
    bytes: Vec<u8>,
}

/// What a commit does to one record.
struct Write<'a> {
    key: Key,
    table: &'a Arc<KeptTable>,
    /// Where its bytes are; none: it is deleted.
    at: Option<usize>,
    /// What it does to the number of records.
    tally: i64,
}

/// A commit that the store accepted.
struct Done<'a> {
    lsn: u64,
    changes: Vec<Change<'a>>,
}

impl<'a> Commit<'a> {
    fn new(controller: &'a Controller, steps: &'a [Step<'a>]) -> Result<Commit<'a>> {
        let mut commit =
            Commit { controller, steps, tables: Vec::new(), ids: Vec::new(), writes: Vec::new(), bytes: Vec::new() };
        for step in steps {
            if step.table.is_dropped() {
                return Err(step.table.form.dropped());
            }
            let place = match commit.tables.iter().position(|(table, ..)| Arc::ptr_eq(table, step.table)) {
                Some(place) => place,
                None => {
                    memory::reserve(&mut commit.tables, 1, COMMIT)?;
                    commit.tables.push((step.table, 0, 0));
                    commit.tables.len() - 1
                }
            };
            commit.tables[place].2 += u64::from(matches!(step.what, What::Save(_)));
        }
        commit.give_ids();
        let planned = commit.plan();
        if planned.is_err() {
            commit.take_ids_back();
        }
        planned.map(|()| commit)
    }

    fn give_ids(&mut self) {
        for (table, first, count) in &mut self.tables {
            *first = table.next.fetch_add(*count, Ordering::SeqCst);
        }
    }

    /// So that the next save gets them, unless others got some since.
    fn take_ids_back(&self) {
        for (table, first, count) in &self.tables {
            let _ = table.next.compare_exchange(first + count, *first, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    fn plan(&mut self) -> Result<()> {
        let mut places = HashMap::new();
        let mut given: Vec<u64> = self.tables.iter().map(|(_, first, _)| *first).collect();
        memory::reserve(&mut self.writes, self.steps.len(), COMMIT)?;
        memory::reserve(&mut self.ids, self.steps.len(), COMMIT)?;
        for step in self.steps {
            let (id, slot, tally) = match step.what {
                What::Expect(..) => continue,
                What::Replace(id, slot) => (id, Some(slot), 0),
                What::Delete(id) => (id, None, -1),
                What::Save(slot) => {
                    let place = self.tables.iter().position(|(table, ..)| Arc::ptr_eq(table, step.table));
                    let next = &mut given[place.expect("every step's table is listed")];
                    let id = RecordId(*next);
                    *next += 1;
                    self.ids.push(id);
                    (id, Some(slot), 1)
                }
            };
            let at = slot.map(|slot| self.add_bytes(step.table, slot)).transpose()?;
            let write = Write { key: step.table.key(id), table: step.table, at, tally };
            places.try_reserve(1).map_err(memory::refused(COMMIT))?;
            match places.get(&write.key) {
                Some(place) => self.writes[*place] = write,
                None => {
                    places.insert(write.key, self.writes.len());
                    self.writes.push(write);
                }
            }
        }
        Ok(())
    }

    fn add_bytes(&mut self, table: &KeptTable, slot: &[u8]) -> Result<usize> {
        let (at, layout) = (self.bytes.len(), table.form.layout());
        let size = layout.record_size + layout.nulls_size;
        memory::reserve(&mut self.bytes, size, COMMIT)?;
        self.bytes.resize(at + size, 0);
        let (bytes, nulls) = self.bytes[at..].split_at_mut(layout.record_size);
        table.form.decode(slot, RecordMut { bytes, nulls: Some(nulls) })?;
        Ok(at)
    }

    /// In the turns of all its records.
    fn carry_out(&self) -> Result<Done<'_>> {
        self.compare()?;
        let controller = self.controller;
        let first = controller.version.fetch_add(self.writes.len() as u64, Ordering::SeqCst) + 1;
        let changes = (first..).zip(&self.writes).map(|(version, write)| {
            let layout = write.table.form.layout();
            let value = write.at.map(|at| {
                let (record, rest) = self.bytes[at..].split_at(layout.record_size);
                Value { record, nulls: &rest[..layout.nulls_size] }
            });
            let stamp = match value {
                Some(value) => Stamp::new(write.key, version, value),
                None => Stamp { version, seal: 0 },
            };
            Change { key: write.key, stamp, value }
        });
        let changes = memory::collect(self.writes.len(), changes, COMMIT)?;
        if changes.is_empty() {
            return Ok(Done { lsn: controller.last_lsn(), changes });
        }
        // Nothing may fail once the store has accepted it.
        let mut queued: Vec<Queued> = Vec::new();
        if !controller.store.habits().immediate {
            memory::reserve(&mut queued, changes.len(), COMMIT)?;
            for change in &changes {
                controller.queue.reserve(change.key)?;
                queued.push(Queue::prepare(change)?);
            }
        }
        let losses = controller.persisting.losses();
        controller.store_all(&changes)?;
        let lsn = controller.accept_queued(losses, changes.iter().map(|change| change.key).zip(queued));
        controller.figures.commits.fetch_add(1, Ordering::Relaxed);
        for write in self.writes.iter().filter(|write| write.table.counted.load(Ordering::Acquire)) {
            write.table.count.fetch_add(write.tally, Ordering::AcqRel);
        }
        Ok(Done { lsn, changes })
    }

    /// Is every record that is to be there, and is it as expected?
    fn compare(&self) -> Result<()> {
        for step in self.steps {
            let (id, expected) = match step.what {
                What::Save(_) => continue,
                What::Replace(id, _) | What::Delete(id) => (id, None),
                What::Expect(id, slot) => (id, Some(slot)),
            };
            let form = &step.table.form;
            step.table.check(id)?;
            form.with_slots(1, |slot| {
                let key = step.table.key(id);
                let here = match self.controller.queue.fetch(key, form, slot) {
                    Known::Copied => Ok(()),
                    Known::Deleted => Err(form.deleted(id)),
                    Known::Nothing => {
                        let mut loaded = self.controller.load(step.table, &[id.0])?;
                        let loaded = loaded.pop().expect("one was asked for");
                        loaded.map(|loaded| form.restore(&loaded.record, &loaded.nulls, slot))
                    }
                };
                match (here, expected) {
                    (Ok(()), Some(expected)) if slot != expected => Err(form.changed(id)),
                    // A record that is not there is not as expected.
                    (Err(Error::NotFound(_)), Some(_)) => Err(form.changed(id)),
                    (here, _) => here,
                }
            })?;
        }
        Ok(())
    }
}
