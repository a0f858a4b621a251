//! DiamondDB: an embedded storage engine.
#![allow(missing_docs)]
mod database;
mod error;
mod ffi;
mod format;
pub mod os;
mod pages;
mod table;
mod wal;

pub use database::{
    Batch, Committed, Cursor, Database, Durability, Finding, Lsn, OpenOptions, Sizes, Table, TableInfo, VerifyReport,
};
pub use error::{Error, Message, Result};
pub use table::{
    Field, FieldKind, JsonStyle, Layout, Record, RecordId, RecordMut, Records, RecordsMut, ScanRange, Schema,
};
/// The version of this library, `major.minor.patch`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
