//! A table's slots in one piece of memory.

use crate::error::{Error, Result};
use crate::pages;
use crate::table::{Layout, Record, RecordId, Schema, TableFile};

use super::Database;

/// All slots of a table as they were at one moment, in one piece of memory that stays as it is until the pin is closed:
/// through writes and checkpoints, the drop of the table, and the close of the database. Works from every thread.
///
/// The memory is a map of the table's file, so pinning costs addresses and one reading of the file; every page was
/// compared with its checksum. What is changed in the file afterwards is kept for the pin in memory, as for a snapshot,
/// and counts against `OpenOptions::dirty_hard`. With `OpenOptions::pread` the pin is a copy instead, and a table for
/// which that is too large cannot be pinned (`Full`).
///
/// A pin counts as an opening of the database: the folder is unlocked when the last opening and the last pin are
/// closed. Dropping a pin closes it, but then nobody hears of errors.
pub struct Pin {
    // Dropped in this order: an engine that shuts down has no pins.
    pages: pages::Pin,
    database: Database,
    schema: Schema,
    name: String,
}

impl Pin {
    pub(super) fn new(table: &TableFile, database: Database) -> Result<Pin> {
        let (schema, name) = (table.schema().clone(), table.name().to_string());
        Ok(Pin { pages: table.pin()?, database, schema, name })
    }

    /// Names and types of the fields.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where everything of a slot lies.
    pub fn layout(&self) -> &Layout {
        self.schema.layout()
    }

    /// How many slots there are, with a record or without: the id that the next save would have got.
    pub fn slot_count(&self) -> u64 {
        (self.pages.bytes().len() / self.layout().slot_size) as u64
    }

    /// The slots, one after the other, `slot_size` bytes each. A record is there if its byte at `state_offset` is 1;
    /// the null bits start at `nulls_offset`. Both may lie in the record's tail padding.
    pub fn slots(&self) -> Result<&[u8]> {
        self.database.session.refuse_fork()?;
        Ok(self.pages.bytes())
    }

    /// A record, where it lies. Its tail padding need not be zeros.
    pub fn record(&self, id: RecordId) -> Result<Record<'_>> {
        let (layout, count, name) = (self.layout(), self.slot_count(), &self.name);
        let slots = self.slots()?;
        if id.0 >= count {
            let text = format!("no record {} in the pin of table {name}, which has {count} slots", id.0);
            return Err(Error::OutOfRange(text.into()));
        }
        let slot = &slots[id.0 as usize * layout.slot_size..][..layout.slot_size];
        if slot[layout.state_offset] == 0 {
            let text = format!("record {} of table {name} was deleted before the pin was made", id.0);
            return Err(Error::NotFound(text.into()));
        }
        let nulls = Some(&slot[layout.nulls_offset..][..layout.nulls_size]);
        Ok(Record { bytes: &slot[..layout.record_size], nulls })
    }

    /// Gives the memory back. Where the database was closed before, and nothing else has it open, this shuts it down:
    /// `Ok` then says that it left everything in order.
    pub fn close(self) -> Result<()> {
        drop(self.pages);
        self.database.close()
    }
}
