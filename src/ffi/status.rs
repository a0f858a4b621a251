//! Statuses, messages, versions

use std::ffi::{c_char, c_void};

use super::guard;

/// What a call ended with: one of the constants below.
pub type diamond_status = i32;

/// A status divided by 100 is its class.
#[repr(C)]
#[allow(dead_code, clippy::enum_variant_names)] // The header needs them all.
#[derive(Clone, Copy)]
pub enum anonymous_status {
    /// Done.
    DIAMOND_STATUS_OK = 0,

    /// 1xx, the caller's fault: nothing changed. The call breaks a rule of this file.
    DIAMOND_STATUS_MISUSE = 100,
    /// The database of this handle was closed.
    DIAMOND_STATUS_CLOSED = 101,
    /// This process is a fork of the one that opened the database.
    DIAMOND_STATUS_FORKED = 102,
    /// Called on another thread than the one it is bound to.
    DIAMOND_STATUS_WRONG_THREAD = 103,
    /// A name, schema, record, JSON text or option is not valid.
    DIAMOND_STATUS_INVALID = 104,
    /// This database or this version of the library cannot do that.
    DIAMOND_STATUS_UNSUPPORTED = 105,
    /// Larger than a stated limit.
    DIAMOND_STATUS_TOO_LARGE = 106,

    /// 2xx, an answer: nothing changed. There is nothing by that name, or the record was deleted.
    DIAMOND_STATUS_NOT_FOUND = 200,
    /// The id was never given.
    DIAMOND_STATUS_OUT_OF_RANGE = 201,
    /// The table exists with another schema.
    DIAMOND_STATUS_SCHEMA_DIFFERS = 202,
    /// A record is not what the caller expected it to be, or a name is taken.
    DIAMOND_STATUS_CONFLICT = 203,
    /// The cursor has no more records.
    DIAMOND_STATUS_END = 204,

    /// 3xx, not now: nothing changed, trying again may help. In use in a way that excludes this call.
    DIAMOND_STATUS_BUSY = 300,
    /// Another process holds the database.
    DIAMOND_STATUS_LOCKED = 301,
    /// The disk, or the memory set aside, is full.
    DIAMOND_STATUS_FULL = 302,
    /// A service that a module needs is not there at the moment.
    DIAMOND_STATUS_UNAVAILABLE = 303,
    /// Not done in the time given.
    DIAMOND_STATUS_TIMEOUT = 304,
    /// Given up because the caller asked for it.
    DIAMOND_STATUS_CANCELLED = 305,

    /// 4xx, unknown: the commit may or may not be there after the next opening.
    DIAMOND_STATUS_COMMIT_UNKNOWN = 400,

    /// 5xx, the disk. Reading failed, or the operating system refused something; nothing changed.
    DIAMOND_STATUS_IO = 500,
    /// Bytes on disk break a rule of the format or do not match their checksum.
    DIAMOND_STATUS_CORRUPT = 501,
    /// A write or sync failed earlier: nothing more is written until the database is opened again.
    DIAMOND_STATUS_POISONED = 502,
    /// Not a DiamondDB database, or one of a version that this library does not know.
    DIAMOND_STATUS_FORMAT = 503,

    /// 6xx, memory, library, modules. Not enough memory for this request.
    DIAMOND_STATUS_NO_MEMORY = 600,
    /// A defect of the library, stopped at its border.
    DIAMOND_STATUS_PANIC = 601,
    /// A module failed or broke its contract.
    DIAMOND_STATUS_MODULE = 602,
}

/// The version of this interface. It rises when a program compiled against an older header must be compiled again;
/// compare with diamond_abi_version() where header and library can differ.
pub const DIAMOND_ABI_VERSION: i32 = 1;

/// The sentence of this thread's last call that failed, or "" if none has. UTF-8, never NULL, not to be freed. Read
/// it right after the failure: it is valid until this thread's next call. Calls that run on threads which the
/// caller does not choose can take an error buffer (see diamond_options): the sentence is copied there as well,
/// cut to whole characters and error_size bytes, its NUL included, and only when the call fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_error_message() -> *const c_char {
    guard::message()
}

/// Frees a text that the library returned through a char **. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_free(text: *mut c_void) {
    // SAFETY: the conventions: `text` is NULL or came from `TextOut::put`, which takes it from malloc.
    unsafe { libc::free(text) }
}

/// The library's version, "major.minor.patch". Not to be freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The library's DIAMOND_ABI_VERSION. A binding refuses to load a library of another than it was written for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn diamond_abi_version() -> i32 {
    DIAMOND_ABI_VERSION
}

#[cfg(test)]
mod tests {
    use super::anonymous_status::*;
    use crate::error::Error;

    #[test]
    fn every_error_has_its_constant() {
        let pairs = [
            (Error::Misuse("".into()), DIAMOND_STATUS_MISUSE),
            (Error::Closed("".into()), DIAMOND_STATUS_CLOSED),
            (Error::Forked("".into()), DIAMOND_STATUS_FORKED),
            (Error::WrongThread("".into()), DIAMOND_STATUS_WRONG_THREAD),
            (Error::Invalid("".into()), DIAMOND_STATUS_INVALID),
            (Error::Unsupported("".into()), DIAMOND_STATUS_UNSUPPORTED),
            (Error::TooLarge("".into()), DIAMOND_STATUS_TOO_LARGE),
            (Error::NotFound("".into()), DIAMOND_STATUS_NOT_FOUND),
            (Error::OutOfRange("".into()), DIAMOND_STATUS_OUT_OF_RANGE),
            (Error::SchemaDiffers("".into()), DIAMOND_STATUS_SCHEMA_DIFFERS),
            (Error::Conflict("".into()), DIAMOND_STATUS_CONFLICT),
            (Error::End("".into()), DIAMOND_STATUS_END),
            (Error::Busy("".into()), DIAMOND_STATUS_BUSY),
            (Error::Locked("".into()), DIAMOND_STATUS_LOCKED),
            (Error::Full("".into()), DIAMOND_STATUS_FULL),
            (Error::Unavailable("".into()), DIAMOND_STATUS_UNAVAILABLE),
            (Error::Timeout("".into()), DIAMOND_STATUS_TIMEOUT),
            (Error::Cancelled("".into()), DIAMOND_STATUS_CANCELLED),
            (Error::CommitUnknown("".into()), DIAMOND_STATUS_COMMIT_UNKNOWN),
            (Error::Io("".into()), DIAMOND_STATUS_IO),
            (Error::Corrupt("".into()), DIAMOND_STATUS_CORRUPT),
            (Error::Poisoned("".into()), DIAMOND_STATUS_POISONED),
            (Error::Format("".into()), DIAMOND_STATUS_FORMAT),
            (Error::NoMemory("".into()), DIAMOND_STATUS_NO_MEMORY),
            (Error::Panic("".into()), DIAMOND_STATUS_PANIC),
            (Error::Module("".into()), DIAMOND_STATUS_MODULE),
        ];
        for (error, status) in pairs {
            assert_eq!(error.status(), status as i32, "{error:?}");
        }
    }
}
