//! The one error type. Each variant is one `diamond_status` and tells the reader what to do.
//!
//! A status's hundreds are its class: 1xx the caller's fault, 2xx an answer, 3xx nothing changed and trying again
//! may help, 4xx the outcome is unknown, 5xx the disk, 6xx memory, a panic or a module. The message is a sentence
//! that names the table, field, id or file concerned, and what would be right.

use std::borrow::Cow;
use std::fmt;

/// What every fallible call of this crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// The sentence an error carries.
pub type Message = Cow<'static, str>;

/// Why a call did not do what was asked.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The call breaks a rule of the interface.
    Misuse(Message),
    /// The database, or the parent of this handle, was closed.
    Closed(Message),
    /// The process is a fork of the one that opened the database. Open it again there.
    Forked(Message),
    /// Called on another thread than the one it is bound to.
    WrongThread(Message),
    /// A name, schema, record or argument is not valid. Nothing changed.
    Invalid(Message),
    /// This database cannot do that: it was opened read-only, or a module lacks it.
    Unsupported(Message),
    /// Larger than a stated limit. Nothing changed.
    TooLarge(Message),
    /// Nothing by that name, or the record was deleted.
    NotFound(Message),
    /// The id was never given.
    OutOfRange(Message),
    /// The table exists with another schema.
    SchemaDiffers(Message),
    /// An expectation did not hold: the record is not what it was read as, or a name is taken. Nothing changed.
    Conflict(Message),
    /// A cursor has no more records.
    End(Message),
    /// In use in a way that excludes this call. Nothing changed.
    Busy(Message),
    /// Another process holds the database.
    Locked(Message),
    /// The disk or the memory set aside is full. Nothing changed; room makes it work again.
    Full(Message),
    /// A service that a module needs is not there at the moment.
    Unavailable(Message),
    /// Not done in the time given.
    Timeout(Message),
    /// Given up because the caller asked for it.
    Cancelled(Message),
    /// The commit may or may not be there after the next opening.
    CommitUnknown(Message),
    /// Reading failed, or the operating system refused something. Nothing changed.
    Io(Message),
    /// Bytes on disk break a rule of the format or do not match their checksum.
    Corrupt(Message),
    /// A sync or a write failed earlier: nothing more is written until the database is opened again.
    Poisoned(Message),
    /// Not a DiamondDB database, or one of a version that this library does not know.
    Format(Message),
    /// Not enough memory for this request.
    NoMemory(Message),
    /// A defect of this library, stopped at its border.
    Panic(Message),
    /// A module failed or broke its contract.
    Module(Message),
}

impl Error {
    /// The number of this error in the C interface.
    pub fn status(&self) -> i32 {
        match self {
            Error::Misuse(_) => 100,
            Error::Closed(_) => 101,
            Error::Forked(_) => 102,
            Error::WrongThread(_) => 103,
            Error::Invalid(_) => 104,
            Error::Unsupported(_) => 105,
            Error::TooLarge(_) => 106,
            Error::NotFound(_) => 200,
            Error::OutOfRange(_) => 201,
            Error::SchemaDiffers(_) => 202,
            Error::Conflict(_) => 203,
            Error::End(_) => 204,
            Error::Busy(_) => 300,
            Error::Locked(_) => 301,
            Error::Full(_) => 302,
            Error::Unavailable(_) => 303,
            Error::Timeout(_) => 304,
            Error::Cancelled(_) => 305,
            Error::CommitUnknown(_) => 400,
            Error::Io(_) => 500,
            Error::Corrupt(_) => 501,
            Error::Poisoned(_) => 502,
            Error::Format(_) => 503,
            Error::NoMemory(_) => 600,
            Error::Panic(_) => 601,
            Error::Module(_) => 602,
        }
    }

    /// A failed call of the operating system: `cannot {act} {name}: …`.
    pub(crate) fn io(act: &str, name: &str, error: &std::io::Error) -> Error {
        if error.kind() == std::io::ErrorKind::OutOfMemory {
            return Error::NoMemory(format!("no memory for what is needed to {act} {name}").into());
        }
        Error::Io(format!("cannot {act} {name}: {error}").into())
    }

    /// A failed allocation: `Full` where the system says that there is no room, `Io` otherwise.
    pub(crate) fn allocation(act: &str, name: &str, error: &std::io::Error) -> Error {
        if crate::os::is_full(error) {
            Error::Full(format!("cannot {act} {name}: {error}; free some space and try again").into())
        } else {
            Error::io(act, name, error)
        }
    }

    /// A rule of the format that bytes on disk break.
    pub(crate) fn corrupt(name: &str, what: impl std::fmt::Display) -> Error {
        Error::Corrupt(format!("{name} is damaged: {what}").into())
    }

    /// The folder `name` is held by another process, whose id is not always known.
    pub(crate) fn locked(name: &str, holder: Option<u32>) -> Error {
        let who = holder.map_or("another process".to_owned(), |pid| format!("process {pid}"));
        Error::Locked(format!("{name} is held by {who}").into())
    }

    /// The same error, its sentence after another text.
    pub(crate) fn with_prefix(self, prefix: &str) -> Error {
        let make = match &self {
            Error::Invalid(_) => Error::Invalid,
            Error::TooLarge(_) => Error::TooLarge,
            _ => return self,
        };
        make(format!("{prefix}{}", self.message()).into())
    }

    /// The sentence alone.
    pub fn message(&self) -> &str {
        match self {
            Error::Misuse(text)
            | Error::Closed(text)
            | Error::Forked(text)
            | Error::WrongThread(text)
            | Error::Invalid(text)
            | Error::Unsupported(text)
            | Error::TooLarge(text)
            | Error::NotFound(text)
            | Error::OutOfRange(text)
            | Error::SchemaDiffers(text)
            | Error::Conflict(text)
            | Error::End(text)
            | Error::Busy(text)
            | Error::Locked(text)
            | Error::Full(text)
            | Error::Unavailable(text)
            | Error::Timeout(text)
            | Error::Cancelled(text)
            | Error::CommitUnknown(text)
            | Error::Io(text)
            | Error::Corrupt(text)
            | Error::Poisoned(text)
            | Error::Format(text)
            | Error::NoMemory(text)
            | Error::Panic(text)
            | Error::Module(text) => text,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}
