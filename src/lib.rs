//! DiamondDB: an embedded storage engine.
mod database;
mod error;
mod format;
pub mod os;
mod pages;
mod table;
mod wal;
pub use error::{Error, Message, Result};
