//! Pin
//!
//! A pin lays all slots of a table open in one piece of memory, as they were at one moment, for programs that read
//! the array itself:
//!
//! ```text
//!     diamond_slots slots = {.struct_size = sizeof slots};
//!     diamond_pin *pin;
//!
//!     if (diamond_pin_open(people, &slots, &pin)) puts(diamond_error_message());
//!     for (uint64_t id = 0; id < slots.count; id++) {
//!         const uint8_t *slot = slots.base + id * slots.stride;
//!         if (slot[slots.state_offset] == 0) continue;                             // Never there, or deleted.
//!         int no_age = slot[slots.nulls_offset + 1 / 8] & 1 << 1 % 8;              // Field 1 is null.
//!         sum += no_age ? 0 : ((const person *)slot)->age;
//!     }
//!     diamond_pin_close(pin);
//! ```
//!
//! The memory is only to be read. It stays as it is until diamond_pin_close, whatever is written, and even after the
//! table was dropped or the database closed. A child of fork() does not have it.
//!
//! The memory is a map of the table's file. Every page was compared with its checksum before; pages that are changed
//! afterwards are kept for the pin in memory and count as for a snapshot. Any number of pins may be open, each at its
//! own moment. With DIAMOND_OPEN_READ_WITH_PREAD a pin is a copy; else a bad sector of the device is a SIGBUS where it
//! is touched, as with any map.

use super::borrow::{Handle, Struct};
use super::guard::guard;
use super::status::diamond_status;
use super::table::diamond_table;
use crate::database::Pin;

/// An open pin.
pub struct diamond_pin {
    _opaque: (),
}

impl Handle for diamond_pin {
    type Value = Pin;
    const NAME: &'static str = "diamond_pin";
    const MARK: u64 = u64::from_le_bytes(*b"diam.pn\0");
}

/// Where the slots of a pinned table lie.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct diamond_slots {
    pub struct_size: usize,
    /// Slot 0, which begins with the record of id 0. Aligned for every type. NULL if count is 0.
    pub base: *const u8,
    /// From one slot to the next.
    pub stride: usize,
    /// The size of a packed record.
    pub record_size: usize,
    /// Where in a slot the byte is that is 1 if the record is there and 0 if not. It and the null bitmap may lie in
    /// the record's tail padding.
    pub state_offset: usize,
    /// Where in a slot the null bitmap is.
    pub nulls_offset: usize,
    /// How many slots there are. Only these may be read.
    pub count: u64,
}

// SAFETY: as the trait asks; 0 and NULL are values of numbers and pointers.
unsafe impl Struct for diamond_slots {
    const NAME: &'static str = "diamond_slots";
    const REQUIRED_SIZE: usize = size_of::<diamond_slots>();
}

/// Pins the table as of now, or a table of a snapshot as of then, and fills slots. Makes a checkpoint, if the database
/// is not read-only, and reads the whole table.
///
/// CORRUPT: a page does not match its checksum; the message names it. FULL: what would have to be kept in memory is
/// over diamond_options.dirty_hard. NO_MEMORY: no memory or no addresses.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_pin_open(
    table: *mut diamond_table,
    slots: *mut diamond_slots,
    pin: *mut *mut diamond_pin,
) -> diamond_status {
    guard("diamond_pin_open", |call| {
        // SAFETY: the conventions.
        let (pin, table, slots) = unsafe {
            let pin = call.handle_out(pin, "pin")?;
            (pin, call.handle(table, "table")?, call.struct_out(slots, "slots")?)
        };
        let made = table.table.pin()?;
        let laid_out = slots_of(&made)?;
        pin.put(made);
        slots.put(laid_out);
        Ok(())
    })
}

fn slots_of(pin: &Pin) -> crate::error::Result<diamond_slots> {
    let (bytes, layout) = (pin.slots()?, pin.layout());
    Ok(diamond_slots {
        struct_size: size_of::<diamond_slots>(),
        base: if bytes.is_empty() { std::ptr::null() } else { bytes.as_ptr() },
        stride: layout.slot_size,
        record_size: layout.record_size,
        state_offset: layout.state_offset,
        nulls_offset: layout.nulls_offset,
        count: pin.slot_count(),
    })
}

/// Closes the pin and gives its memory back. If the database was closed before and nothing else has it open, this
/// shuts it down and unlocks the folder, and says whether that went well.
///
/// FORKED: in a child of fork() nothing is touched, and the parent's pin stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_pin_close(pin: *mut diamond_pin) -> diamond_status {
    guard("diamond_pin_close", |call| {
        // SAFETY: the conventions.
        let pin = unsafe { call.take(pin, "pin")? };
        pin.map_or(Ok(()), Pin::close)
    })
}
