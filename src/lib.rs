//! DiamondDB: an embedded storage engine.
//!
//! A database is one folder, opened inside the process that uses it: no server, no SQL. It holds *tables*, whose
//! records have a fixed width, lie as a C compiler lays the struct out, and are found by a dense integer id. A commit
//! that returned survives what the database's [`Durability`] says, a crash leaves a prefix of the commits, and bytes
//! that fail their checksum are reported and never returned as data.
//!
//! C and C++ programs, and every language with a foreign function interface, use the same through
//! `include/diamonddb.h`. The README has the first five minutes, `src/README.md` the tour of this source.
//!
//! ```
//! use diamonddb::{Database, OpenOptions, Record, Schema};
//!
//! # let folder = std::env::temp_dir().join(format!("diamonddb-example-{}", std::process::id()));
//! let database = Database::open(&folder, &OpenOptions::default())?;
//! let people = database.make_table("people", &Schema::parse(r#"{"name": ["string", 15], "age": ["number", 3]}"#)?)?;
//!
//! let abby = people.save_json(r#"{"name": "Abby", "age": 29}"#)?; // On disk when it returns.
//! assert_eq!(people.fetch_json(abby, Default::default())?, r#"{"name":"Abby","age":29}"#);
//!
//! let mut bob = vec![0; people.layout().record_size]; // The C struct, char[15] and a double at 16.
//! bob[..3].copy_from_slice(b"Bob");
//! bob[16..].copy_from_slice(&31_f64.to_le_bytes());
//! people.save(Record { bytes: &bob, nulls: None })?;
//! assert_eq!(people.count()?, 2);
//! database.close()?;
//! # std::fs::remove_dir_all(&folder).expect("the folder was made above");
//! # Ok::<(), diamonddb::Error>(())
//! ```

// In the order of the floors: a module uses only what stands above it here. tests/tidy.rs holds that.
mod error;
mod format;
mod memory;
#[cfg(not(feature = "simulation"))]
mod mutant;
#[cfg(feature = "simulation")]
pub mod mutant;
pub mod os;

mod wal;

mod pages;

pub mod modules;
mod table;

mod database;

mod ffi;

pub use database::{
    Batch, CacheChoice, Committed, Cursor, Database, Durability, Finding, Loss, Lsn, NativeStore, OpenOptions, Pin,
    SalvageOptions, SalvageReport, SalvagedTable, Sizes, Snapshot, StoreChoice, Table, TableInfo, VerifyReport,
    salvage, salvage_on,
};
pub use error::{Error, Message, Result};
#[cfg(feature = "simulation")]
pub use ffi::panic_at_border_point;
pub use table::{
    Field, FieldKind, JsonStyle, Layout, Record, RecordId, RecordMut, Records, RecordsMut, ScanRange, Schema,
};

/// The version of this library, `major.minor.patch`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
