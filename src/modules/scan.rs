//! A scan over a store.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory;
use crate::table::{RecordId, ScanRange};

use super::controller::{Controller, KeptTable};

/// How many records a scan fetches at once.
const BATCH: usize = 256;

/// A scan of a table over a store: it fetches by ranges of ids, and sees each record as it is then.
pub(crate) struct KeptScan {
    controller: Arc<Controller>,
    table: Arc<KeptTable>,
    /// The ids that are left to be fetched.
    from: u64,
    to: u64,
    reverse: bool,
    /// Of the records that were fetched last: the ids, in the order of the scan, which of them are there, and their
    /// slots.
    ids: Vec<RecordId>,
    found: Vec<Result<()>>,
    slots: Vec<u8>,
    /// Which of them is next.
    place: usize,
}

impl KeptScan {
    /// Begins a scan of the ids that were given so far.
    pub fn new(controller: &Arc<Controller>, table: &Arc<KeptTable>, range: ScanRange) -> Result<KeptScan> {
        let end = table.next_id();
        let (from, to) = (range.from.min(end), range.to.min(end));
        Ok(KeptScan {
            controller: Arc::clone(controller),
            table: Arc::clone(table),
            from,
            to: to.max(from),
            reverse: range.reverse,
            ids: Vec::new(),
            found: Vec::new(),
            slots: memory::zeros(BATCH * table.form.layout().slot_size, "a scan")?,
            place: 0,
        })
    }

    /// The table that is scanned.
    pub fn table(&self) -> &Arc<KeptTable> {
        &self.table
    }

    /// The next record that is there; `None` at the end. After an error the next call tries the same record again.
    pub fn next_slot(&mut self) -> Result<Option<(RecordId, &[u8])>> {
        if self.table.is_dropped() {
            return Err(self.table.form.dropped());
        }
        loop {
            while self.place < self.ids.len() {
                let place = self.place;
                match &self.found[place] {
                    Err(Error::NotFound(_)) => self.place += 1,
                    Err(error) => {
                        let error = error.clone();
                        self.go_back();
                        return Err(error);
                    }
                    Ok(()) => {
                        self.place += 1;
                        let size = self.table.form.layout().slot_size;
                        return Ok(Some((self.ids[place], &self.slots[place * size..][..size])));
                    }
                }
            }
            if self.from == self.to {
                return Ok(None);
            }
            self.fetch()?;
        }
    }

    /// Takes back the record that was given last, which the caller had no room for.
    pub fn take_back(&mut self) {
        self.place -= 1;
    }

    /// What was fetched and not given is to be fetched again.
    fn go_back(&mut self) {
        let Some(next) = self.ids.get(self.place) else { return };
        if self.reverse {
            self.to = next.0 + 1
        } else {
            self.from = next.0
        }
        self.ids.clear();
        self.place = 0;
    }

    fn fetch(&mut self) -> Result<()> {
        let count = (self.to - self.from).min(BATCH as u64);
        self.ids.clear();
        self.place = 0;
        memory::reserve(&mut self.ids, BATCH, "a scan")?;
        let (from, to) = (self.from, self.to);
        match self.reverse {
            false => self.ids.extend((from..from + count).map(RecordId)),
            true => self.ids.extend((to - count..to).rev().map(RecordId)),
        }
        match self.controller.read_many(&self.table, &self.ids, &mut self.slots) {
            Ok(found) => self.found = found,
            Err(error) => {
                self.ids.clear();
                return Err(error);
            }
        }
        if self.reverse {
            self.to -= count
        } else {
            self.from += count
        }
        Ok(())
    }
}
