//! The form of a table's records: its schema under its name, and what is said where a record does not fit.
//!
//! It is all that a table is above the place where its records lie: the same whether that is a paged file of ours or
//! a store of somebody else's.

use std::cell::Cell;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::memory;
use crate::os::sync::{RwLock, thread_local};

use super::json::{JsonStyle, decode_json, encode_json, encode_json_many};
use super::record::{Record, RecordMut, STATE_LIVE, decode_packed, encode_packed};
use super::{Layout, RecordId, Schema};

/// How many bytes the records of one JSON array take at most: a few letters of it may stand for 64 KiB.
const ARRAY_SIZE_MAX: usize = 256 << 20;

/// How many tables a database may have: each is a file.
const COUNT_MAX: usize = 65_536;

/// Name and schema of a table.
pub struct TableForm {
    schema: Schema,
    name: RwLock<Arc<str>>,
}

thread_local! {
    /// A thread's slots under construction.
    static SLOTS: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl TableForm {
    /// Refuses one more table where there are so many.
    pub fn admit(count: usize) -> Result<()> {
        if count < COUNT_MAX {
            return Ok(());
        }
        Err(Error::TooLarge(format!("a database has at most {COUNT_MAX} tables").into()))
    }

    /// Records of this schema, in a table of this name.
    pub fn new(name: Arc<str>, schema: Schema) -> TableForm {
        TableForm { schema, name: RwLock::new(name) }
    }

    /// The table's name now.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.name.read())
    }

    /// The table has another name from now on.
    pub fn set_name(&self, name: &str) {
        *self.name.write() = Arc::from(name);
    }

    /// Names and types of the fields.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Where everything of a record lies.
    pub fn layout(&self) -> &Layout {
        self.schema.layout()
    }

    /// Packs a record into a slot, which has `slot_size` bytes.
    pub fn encode(&self, record: Record<'_>, slot: &mut [u8]) -> Result<()> {
        // The name is looked up only where a message needs it.
        encode_packed(self.layout(), "", record, slot)
            .or_else(|_| encode_packed(self.layout(), &self.name(), record, slot))
    }

    /// Packs a record's JSON into a slot.
    pub fn encode_json(&self, json: &str, slot: &mut [u8]) -> Result<()> {
        encode_json(&self.schema, &self.name(), json, slot)
    }

    /// Packs an array of records into slots, one after the other. Returns how many.
    pub fn encode_json_many(&self, json: &str, slots: &mut Vec<u8>) -> Result<usize> {
        encode_json_many(&self.schema, &self.name(), json, |index, slot| {
            if slots.len() + slot.len() > ARRAY_SIZE_MAX {
                let (name, size) = (self.name(), slot.len());
                let text = format!(
                    "an array of records of table {name}, which take {size} bytes each, has at most {index} of them"
                );
                return Err(Error::TooLarge(text.into()));
            }
            memory::reserve(slots, slot.len(), "the records of this array")?;
            slots.extend_from_slice(slot);
            Ok(())
        })
    }

    /// Copies the record out of a slot.
    pub fn decode(&self, slot: &[u8], record: RecordMut<'_>) -> Result<()> {
        decode_packed(self.layout(), "", slot, record).map_err(|_| self.wrong_nulls())
    }

    /// The record in a slot as JSON.
    pub fn decode_json(&self, slot: &[u8], style: JsonStyle, out: &mut String) -> Result<()> {
        decode_json(&self.schema, slot, style, out)
    }

    /// Fills a slot with a record that was once encoded, so that its bytes keep all rules.
    pub fn restore(&self, record: &[u8], nulls: &[u8], slot: &mut [u8]) {
        let layout = self.layout();
        slot.fill(0);
        slot[..layout.record_size].copy_from_slice(record);
        slot[layout.nulls()].copy_from_slice(nulls);
        slot[layout.state_offset] = STATE_LIVE;
    }

    /// Refuses another schema than its own.
    pub fn expect_schema(&self, schema: &Schema) -> Result<()> {
        self.schema.difference(schema).map_or(Ok(()), |difference| {
            let text = format!("table {} exists with another schema: {difference}", self.name());
            Err(Error::SchemaDiffers(text.into()))
        })
    }

    /// The error for a new name that another table has.
    #[cold]
    pub fn name_taken(&self, to: &str) -> Error {
        let text = format!("table {} cannot be renamed to {to}: there is a table of that name", self.name());
        Error::Conflict(text.into())
    }

    /// The error for an id that was never given, where `next` is the next to be.
    #[cold]
    pub fn out_of_range(&self, id: RecordId, next: u64) -> Error {
        let name = self.name();
        let text = match next {
            0 => format!("no record {} in table {name}: the table is empty", id.0),
            _ => format!("no record {} in table {name}: its ids go from 0 to {}", id.0, next - 1),
        };
        Error::OutOfRange(text.into())
    }

    /// The error for a record that was deleted.
    #[cold]
    pub fn deleted(&self, id: RecordId) -> Error {
        Error::NotFound(format!("record {} of table {} was deleted", id.0, self.name()).into())
    }

    /// The error for a table that was dropped.
    #[cold]
    pub fn dropped(&self) -> Error {
        Error::NotFound(format!("table {} was dropped", self.name()).into())
    }

    /// The error for a record that is not what it was expected to be.
    #[cold]
    pub fn changed(&self, id: RecordId) -> Error {
        let text = format!("record {} of table {} is no longer what was expected; read it again", id.0, self.name());
        Error::Conflict(text.into())
    }

    /// The error for memory of another size than a record's.
    #[cold]
    pub fn wrong_size(&self, given: usize) -> Error {
        let (name, right) = (self.name(), self.layout().record_size);
        Error::Invalid(format!("a record of table {name} has {right} bytes, not {given}").into())
    }

    #[cold]
    fn wrong_nulls(&self) -> Error {
        let (name, right) = (self.name(), self.layout().nulls_size);
        Error::Invalid(format!("the null bitmap of a record of table {name} has {right} bytes").into())
    }

    /// Lends a buffer for `count` slots, with unspecified bytes.
    pub fn with_slots<T>(&self, count: usize, act: impl FnOnce(&mut [u8]) -> Result<T>) -> Result<T> {
        let refused = || Error::NoMemory(format!("no memory for {count} records of table {}", self.name()).into());
        let size = count.checked_mul(self.layout().slot_size).ok_or_else(refused)?;
        // A destructor of this thread may call us when the buffer is gone: then a new one serves.
        let mut buffer = SLOTS.try_with(Cell::take).unwrap_or_default();
        if buffer.len() < size {
            buffer.try_reserve(size - buffer.len()).map_err(|_| refused())?;
            buffer.resize(size, 0);
        }
        let result = act(&mut buffer[..size]);
        // One large batch must not keep its memory for the life of the thread.
        if buffer.len() <= 1 << 20 {
            let _ = SLOTS.try_with(|slots| slots.set(buffer));
        }
        result
    }
}
